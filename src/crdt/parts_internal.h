// The bytes of parts of columns, and what the files of this module know of them.
//
// Part of a counter: string total, varint n = 0; or an empty string, string total, varint n, n times (u64 key, u64 hlc, string amount),
// ascending in time. An older form, without the empty string and the times, is read.
// Of max and min: string value. Of a set: varint n, n times (string element, u64 hlc): additions of this origin, elements
// ascending; varint n, n times (string element, u32 replica, u32 incarnation, u64 hlc): additions of others that it removed.
#ifndef CRDT_PARTS_INTERNAL_H
#define CRDT_PARTS_INTERNAL_H

#include "crdt/parts.h"

struct keyed {
    uint64_t key, hlc;
    struct cc_slice amount;
};

struct counted { // a counter's part
    struct cc_slice total;
    uint64_t n;
    struct keyed *at;
};

struct addition { // an element as one origin's write put it in
    struct cc_slice element;
    struct clock_stamp stamp;
};

struct membership { // a set's part
    uint64_t n_added, n_removed;
    struct addition *added, *removed;
};

// All memberships, and of them the additions that nobody who saw them has removed.
struct members {
    struct membership *sets; // per part
    struct addition *live;   // sorted by element, then stamp
    size_t n_live;
};

struct crdt_origin parts_origin(const struct clock_stamp *stamp);
// Reading borrows. CC_MALFORMED. There is room for one more increment in what is read.
enum cc_status parts_read_counted(const struct crdt_part *part, struct cc_arena *arena, struct counted *counted_out) CC_CHECKED;
struct cc_slice parts_put_counted(const struct counted *counted, struct cc_arena *arena);
enum cc_status parts_read_membership(const struct crdt_part *part, struct cc_arena *arena, struct membership *set_out) CC_CHECKED;
struct cc_slice parts_put_membership(struct membership *set, struct cc_arena *arena);
enum cc_status parts_read_exceeding(struct cc_slice bytes, struct cc_slice *value_out) CC_CHECKED;
struct cc_slice parts_put_exceeding(struct cc_slice value, struct cc_arena *arena);
bool parts_is_valid(const struct crdt_kind *kind, const struct crdt_part *part, struct cc_arena *arena);
int parts_compare_additions(const void *left, const void *right);
void parts_sort_additions(struct addition *additions, size_t n);

void parts_read_members(const struct crdt_parts *parts, struct cc_arena *arena, struct members *members);
// Whether a column shows `a` rather than `b`. Equal values that are written differently: the greater text, everywhere, if texts count.
bool parts_exceeds(const struct crdt_kind *kind, struct cc_slice a, struct cc_slice b, bool also_texts, struct cc_arena *arena);

#endif
