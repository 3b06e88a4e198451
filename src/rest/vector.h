// Vector: growing arrays in an arena, for lists whose length is not known before.
#ifndef REST_VECTOR_H
#define REST_VECTOR_H

#include "base/arena.h"

#include <string.h>

// Returns the array with room for element n. The room always is the next power of two, so no capacity is kept.
static inline void *rest_vector_room(struct cc_arena *arena, void *array, size_t n, size_t size)
{
    if (n != 0 && (n & (n - 1)) != 0) {
        return array;
    }
    void *grown = cc_arena_array(arena, n == 0 ? 1 : n * 2, size);
    if (n > 0) {
        memcpy(grown, array, n * size);
    }
    return grown;
}

#endif
