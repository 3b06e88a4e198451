// Merge types of columns: which there are, for which types, and the order of values. Pure. What they mean: parts.h.
#ifndef CRDT_KIND_H
#define CRDT_KIND_H

#include "base/arena.h"
#include "base/codec.h"

enum crdt_merge { CRDT_LWW, CRDT_COUNTER, CRDT_MAX, CRDT_MIN, CRDT_SET };

// How texts of a type are compared: bytes (text, uuid, boolean, ...), numbers, or dates and times as PostgreSQL shows them (ISO, UTC).
enum crdt_order { CRDT_ORDER_BYTES, CRDT_ORDER_NUMBER, CRDT_ORDER_TIME };

struct crdt_kind { // of a column
    enum crdt_merge merge;
    enum crdt_order order;           // max, min
    struct cc_slice least, greatest; // counter: values of its type, where the sum stops; NULL slices: no limit
    struct cc_slice base;            // its constant default; NULL slice: none
    bool not_null;                   // without parts and base, it shows nothing counted ("0", "{}"), not NULL
};

// "counter", "max", "min", "set", "lww". CC_INVALID: none of these.
enum cc_status crdt_merge_of_text(struct cc_slice text, enum crdt_merge *merge_out) CC_CHECKED;
// The kind of a column of this type (as format_type shows it). Texts live in the arena. CC_INVALID: the type cannot be merged so.
enum cc_status crdt_kind_of(enum crdt_merge merge, struct cc_slice type, struct cc_arena *arena, struct crdt_kind *kind_out) CC_CHECKED;
// <0, 0, >0. Texts as PostgreSQL shows values of a type of this order; what is none comes first. The arena is for scratch.
int crdt_value_compare(enum crdt_order order, struct cc_slice a, struct cc_slice b, struct cc_arena *arena);

#endif
