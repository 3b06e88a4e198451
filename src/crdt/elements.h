// Elements of sets as PostgreSQL writes them in arrays. Pure.
#ifndef CRDT_ELEMENTS_H
#define CRDT_ELEMENTS_H

#include "base/arena.h"
#include "base/slice.h"

struct crdt_elements { // sorted by their bytes, each once
    struct cc_slice *at;
    size_t n;
};

// Of an array's text; dimensions do not matter, NULLs are left out. In the arena. False: it is no array.
bool crdt_elements_read(struct cc_slice text, struct cc_arena *arena, struct crdt_elements *elements_out);
// Sorts what was put there in any order, and drops what is there twice.
void crdt_elements_sort(struct crdt_elements *elements);
bool crdt_elements_have(const struct crdt_elements *elements, struct cc_slice element);
// As array_out writes them; in the arena.
struct cc_slice crdt_elements_text(const struct crdt_elements *elements, struct cc_arena *arena);

#endif
