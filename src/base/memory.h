// Allocation that aborts when there is no memory: a replica without memory restarts and recovers from its log.
#ifndef CC_MEMORY_H
#define CC_MEMORY_H

#include <stddef.h>

void *cc_alloc(size_t n);                       // zeroed
void *cc_alloc_array(size_t count, size_t size); // zeroed, overflow aborts
// Grows *array to hold at least n_needed elements (amortised doubling); capacity is updated.
void *cc_grow(void *array, size_t *capacity, size_t n_needed, size_t size);
char *cc_strdup(const char *text);
char *cc_strndup(const void *data, size_t n);
char *cc_path_join(const char *directory, const char *name); // "directory/name"

#endif
