// Where the log's living entries stand: a sparse, sorted list of points. Internal to wal*.c.
//
// A point stands for itself and for the entries that follow it without a gap, in the same segment and term, up to the next point.
#ifndef WAL_INDEX_H
#define WAL_INDEX_H

#include "consensus/wal.h"

struct wal_index {
    struct wal_point *points;
    size_t n_points;
    size_t capacity;
    uint64_t last; // index of the last entry; 0: none
};

void wal_index_finish(struct wal_index *index);
void wal_index_clear(struct wal_index *index);
bool wal_index_is_empty(const struct wal_index *index);
// An entry replaces what was at its index and above.
void wal_index_put(struct wal_index *index, const struct wal_point *entry);
// The point that stands for the entry; NULL when there is none. Borrowed until the next change.
const struct wal_point *wal_index_find(const struct wal_index *index, uint64_t entry);
// True when the record `number` is the living one of this entry (not replaced by a later record).
bool wal_index_lives(const struct wal_index *index, uint64_t entry, uint64_t number);
// Forgets points that stand only for entries below `entry`.
void wal_index_drop_below(struct wal_index *index, uint64_t entry);

#endif
