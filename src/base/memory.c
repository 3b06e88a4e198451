// Allocation that aborts when there is no memory.
#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { GROW_ELEMENTS_MIN = 8 };

void *cc_alloc(size_t n)
{
    return cc_alloc_array(1, n);
}

void *cc_alloc_array(size_t count, size_t size)
{
    bool empty = count == 0 || size == 0;
    void *memory = empty ? calloc(1, 1) : calloc(count, size);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

void *cc_grow(void *array, size_t *capacity, size_t n_needed, size_t size)
{
    assert(size > 0);
    if (n_needed <= *capacity) {
        return array;
    }
    size_t n = *capacity < GROW_ELEMENTS_MIN ? GROW_ELEMENTS_MIN : *capacity;
    while (n < n_needed) {
        n = n > SIZE_MAX / 2 ? n_needed : n * 2;
    }
    void *grown = reallocarray(array, n, size);
    if (grown == NULL) {
        abort();
    }
    *capacity = n;
    return grown;
}

char *cc_strdup(const char *text)
{
    return cc_strndup(text, strlen(text));
}

char *cc_strndup(const void *data, size_t n)
{
    if (n == SIZE_MAX) {
        abort();
    }
    char *copy = cc_alloc(n + 1);
    if (n > 0) {
        memcpy(copy, data, n);
    }
    return copy;
}

char *cc_path_join(const char *directory, const char *name)
{
    size_t n_directory = strlen(directory), n_name = strlen(name);
    char *path = cc_alloc(n_directory + 1 + n_name + 1);
    memcpy(path, directory, n_directory);
    path[n_directory] = '/';
    memcpy(path + n_directory + 1, name, n_name);
    return path;
}
