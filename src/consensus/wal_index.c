// Where the log's living entries stand: a sparse, sorted list of points.
#include "consensus/wal_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

// A load reads from a point on: these bound what it reads in vain.
enum { ENTRIES_PER_POINT = 32, BYTES_PER_POINT = 128 << 10 };

void wal_index_finish(struct wal_index *index)
{
    free(index->points);
    *index = (struct wal_index){0};
}

void wal_index_clear(struct wal_index *index)
{
    index->n_points = 0;
    index->last = 0;
}

bool wal_index_is_empty(const struct wal_index *index)
{
    return index->n_points == 0;
}

static bool needs_point(const struct wal_point *previous, const struct wal_point *entry)
{
    return previous->sequence != entry->sequence || previous->term != entry->term ||
           entry->index - previous->index >= ENTRIES_PER_POINT || entry->offset - previous->offset >= BYTES_PER_POINT;
}

void wal_index_put(struct wal_index *index, const struct wal_point *entry)
{
    bool replaces = !wal_index_is_empty(index) && entry->index <= index->last;
    while (index->n_points > 0 && index->points[index->n_points - 1].index >= entry->index) {
        index->n_points--;
    }
    index->last = entry->index;
    if (!replaces && index->n_points > 0 && !needs_point(&index->points[index->n_points - 1], entry)) {
        return;
    }
    index->points = cc_grow(index->points, &index->capacity, index->n_points + 1, sizeof(*index->points));
    index->points[index->n_points++] = *entry;
}

const struct wal_point *wal_index_find(const struct wal_index *index, uint64_t entry)
{
    if (wal_index_is_empty(index) || entry < index->points[0].index || entry > index->last) {
        return NULL;
    }
    size_t low = 0;
    size_t high = index->n_points; // the point sought is in [low, high)
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (index->points[middle].index <= entry) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &index->points[low];
}

bool wal_index_lives(const struct wal_index *index, uint64_t entry, uint64_t number)
{
    const struct wal_point *point = wal_index_find(index, entry);
    return point != NULL && number >= point->number;
}

void wal_index_drop_below(struct wal_index *index, uint64_t entry)
{
    if (entry > index->last) {
        wal_index_clear(index);
        return;
    }
    size_t n_drop = 0;
    while (n_drop + 1 < index->n_points && index->points[n_drop + 1].index <= entry) {
        n_drop++;
    }
    index->n_points -= n_drop;
    memmove(index->points, index->points + n_drop, index->n_points * sizeof(*index->points));
}
