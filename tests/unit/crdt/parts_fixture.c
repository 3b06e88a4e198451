// See parts_fixture.h.
#include "crdt/parts_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

struct cc_slice text(const char *characters)
{
    return cc_slice_text(characters);
}

const char *show(struct cc_slice slice, struct cc_arena *arena)
{
    return slice.data == NULL ? "NULL" : cc_arena_text_n(arena, slice.data, slice.n);
}

struct crdt_kind kind_of(enum crdt_merge merge, const char *type, struct cc_arena *arena)
{
    struct crdt_kind kind;
    assert_int_equal(crdt_kind_of(merge, text(type), arena, &kind), CC_OK);
    return kind;
}

bool same_parts(const struct crdt_parts *a, const struct crdt_parts *b)
{
    for (uint32_t i = 0; a->n == b->n && i < a->n; i++) {
        if (clock_stamp_compare(&a->at[i].stamp, &b->at[i].stamp) != 0 || !cc_slice_equal(a->at[i].bytes, b->at[i].bytes)) {
            return false;
        }
    }
    return a->n == b->n;
}
