// An arena: many small allocations, freed as a whole. One per request.
#ifndef CC_ARENA_H
#define CC_ARENA_H

#include "base/slice.h"

struct cc_arena {
    struct cc_arena_block *head;
    size_t n_bytes; // handed out in all, for limits
};

void cc_arena_init(struct cc_arena *arena);
void cc_arena_finish(struct cc_arena *arena);
// Frees what was handed out, but keeps a block, unless it is large, for what is asked for next.
void cc_arena_clear(struct cc_arena *arena);
// Zeroed, aligned for any type, never NULL (out of memory aborts).
void *cc_arena_alloc(struct cc_arena *arena, size_t n);
void *cc_arena_array(struct cc_arena *arena, size_t count, size_t size); // overflow aborts
char *cc_arena_text(struct cc_arena *arena, const char *text);
char *cc_arena_text_n(struct cc_arena *arena, const void *data, size_t n); // NUL-terminated copy
struct cc_slice cc_arena_slice(struct cc_arena *arena, struct cc_slice slice); // copy; NULL stays NULL
char *cc_arena_printf(struct cc_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
