// Merge types: what a column of a weak row merges to, other than the last writer's value. Pure.
//
// Such a column is a set of parts, one for each origin that wrote it. A part is written by its origin only, and whole: of two
// parts of one origin the one with the greater stamp holds, so merging parts is commutative, associative and idempotent,
// whatever is in them. A deletion of the row clears the parts with smaller stamps. The value shown is a function of the parts
// and of the column's constant default (its base):
//   counter   base + what each origin has counted; increments under one Idempotency-Key count once, at whichever origins
//   max, min  the greatest or smallest of base and parts
//   set       elements that an origin has added, unless somebody who saw this very addition removed it (an addition wins over a
//             concurrent removal); the base must be empty
// See docs/adr/merge-types.md.
#ifndef CRDT_PARTS_H
#define CRDT_PARTS_H

#include "crdt/frontier.h"
#include "crdt/kind.h"

// What a part remembers at most of what is not settled among the members (crdt/stability.h): while one of them is away, that is.
enum {
    CRDT_KEYED_MAX = 256,   // increments under a key, one by one; older ones count for themselves
    CRDT_REMOVED_MAX = 256, // removals of elements that their origin does not list any more; older ones are forgotten
};

struct crdt_part {
    struct clock_stamp stamp; // of the write; its replica and incarnation are the origin
    struct cc_slice bytes;
};

struct crdt_parts { // sorted by origin
    uint32_t n;
    struct crdt_part *at;
};

// Takes a part in. False when nothing changed: an equal or later one of its origin is held, or it is malformed. Borrows the bytes.
bool crdt_parts_take(const struct crdt_kind *kind, struct crdt_parts *parts, const struct crdt_part *part, struct cc_arena *arena);
// Drops those written at or before the row's death. False: there were none.
bool crdt_parts_clear(struct crdt_parts *parts, const struct clock_stamp *death);
// Drops those written up to `bound` (hybrid logical time) of which `other` has neither this one nor a later one of its origin. False: there were none.
bool crdt_parts_forget(struct crdt_parts *parts, const struct crdt_parts *other, uint64_t bound);
// What they show, as PostgreSQL writes it; NULL slice: SQL NULL. Lives in the arena or borrows.
struct cc_slice crdt_parts_value(const struct crdt_kind *kind, const struct crdt_parts *parts, struct cc_arena *arena);

// What a write makes of the writer's own part, so that the column shows `value` (what the writer's statement set) at once: a counter
// counts the difference to what was shown before, a set adds and removes the differences, max and min take the value if it exceeds.
struct crdt_part_write {
    struct clock_stamp stamp;
    struct cc_slice value;
    uint64_t settled; // every member has all writes up to this hybrid logical time, and what it wrote before it had them is here; 0: not known
    bool keyed;       // counted once for all writes with this key
    uint64_t key;
};
// CC_INVALID: the column cannot take the value (a counter NaN). bytes_out: the NULL slice when the parts stay as they are.
enum cc_status crdt_part_make(const struct crdt_kind *kind, const struct crdt_parts *before, const struct crdt_part_write *write,
                              struct cc_arena *arena, struct cc_slice *bytes_out) CC_CHECKED;

// The value that a column shows after a change from `before` to `after` that was made where it showed something else: a counter adds the
// difference, a set adds and removes the differences, max and min take `after`. NULL slices: SQL NULL. False: these are no such values.
bool crdt_value_move(const struct crdt_kind *kind, struct cc_slice shown, struct cc_slice before, struct cc_slice after,
                     struct cc_arena *arena, struct cc_slice *value_out);

// Stored form of all parts of a column, as rows and tombstones hold it. Reading borrows. CC_MALFORMED, CC_TOO_LARGE.
void crdt_parts_put(struct cc_buffer *out, const struct crdt_parts *parts);
enum cc_status crdt_parts_read(struct cc_slice bytes, struct cc_arena *arena, struct crdt_parts *parts_out) CC_CHECKED;

#endif
