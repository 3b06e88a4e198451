// Frontier: a version vector.
#include "crdt/frontier.h"

#include <string.h>

enum { FEW = 8 }; // are looked through faster than halved

static uint64_t rank_of(struct crdt_origin origin)
{
    return (uint64_t)origin.replica << 32 | origin.incarnation;
}

int crdt_origin_compare(struct crdt_origin a, struct crdt_origin b)
{
    uint64_t rank_a = rank_of(a), rank_b = rank_of(b);
    return (rank_a > rank_b) - (rank_a < rank_b);
}

// Position of the first entry whose origin is not less.
static uint32_t lower_bound(const struct crdt_frontier *frontier, struct crdt_origin origin)
{
    uint64_t rank = rank_of(origin);
    uint32_t low = 0;
    uint32_t high = frontier->n;
    while (high - low > FEW) {
        uint32_t middle = low + (high - low) / 2;
        if (rank_of(frontier->at[middle].origin) < rank) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    while (low < high && rank_of(frontier->at[low].origin) < rank) {
        low++;
    }
    return low;
}

static bool holds_at(const struct crdt_frontier *frontier, uint32_t position, struct crdt_origin origin)
{
    return position < frontier->n && rank_of(frontier->at[position].origin) == rank_of(origin);
}

uint64_t crdt_frontier_get(const struct crdt_frontier *frontier, struct crdt_origin origin)
{
    uint32_t position = lower_bound(frontier, origin);
    return holds_at(frontier, position, origin) ? frontier->at[position].sequence : 0;
}

enum cc_status crdt_frontier_raise(struct crdt_frontier *frontier, struct crdt_origin origin, uint64_t sequence)
{
    if (sequence == 0) {
        return CC_OK;
    }
    uint32_t position = lower_bound(frontier, origin);
    if (holds_at(frontier, position, origin)) {
        if (frontier->at[position].sequence < sequence) {
            frontier->at[position].sequence = sequence;
        }
        return CC_OK;
    }
    if (frontier->n == CC_ORIGINS_MAX) {
        return CC_TOO_LARGE;
    }
    memmove(&frontier->at[position + 1], &frontier->at[position],
            (frontier->n - position) * sizeof(frontier->at[0]));
    frontier->at[position].origin = origin;
    frontier->at[position].sequence = sequence;
    frontier->n++;
    return CC_OK;
}

enum cc_status crdt_frontier_join(struct crdt_frontier *frontier, const struct crdt_frontier *other)
{
    enum cc_status status = CC_OK;
    for (uint32_t i = 0; i < other->n && status == CC_OK; i++) {
        status = crdt_frontier_raise(frontier, other->at[i].origin, other->at[i].sequence);
    }
    return status;
}

bool crdt_frontier_covers(const struct crdt_frontier *a, const struct crdt_frontier *b)
{
    uint32_t in_a = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        while (in_a < a->n && crdt_origin_compare(a->at[in_a].origin, b->at[i].origin) < 0) {
            in_a++;
        }
        if (!holds_at(a, in_a, b->at[i].origin) || a->at[in_a].sequence < b->at[i].sequence) {
            return false;
        }
    }
    return true;
}

bool crdt_frontier_equal(const struct crdt_frontier *a, const struct crdt_frontier *b)
{
    return a->n == b->n && crdt_frontier_covers(a, b) && crdt_frontier_covers(b, a);
}

void crdt_frontier_put(struct cc_buffer *out, const struct crdt_frontier *frontier)
{
    cc_put_varint(out, frontier->n);
    for (uint32_t i = 0; i < frontier->n; i++) {
        cc_put_u32(out, frontier->at[i].origin.replica);
        cc_put_u32(out, frontier->at[i].origin.incarnation);
        cc_put_varint(out, frontier->at[i].sequence);
    }
}

enum cc_status crdt_frontier_read(struct cc_reader *reader, struct crdt_frontier *frontier_out)
{
    struct crdt_frontier frontier;
    frontier.n = (uint32_t)cc_read_count(reader, CC_ORIGINS_MAX);
    for (uint32_t i = 0; i < frontier.n; i++) {
        frontier.at[i].origin.replica = cc_read_u32(reader);
        frontier.at[i].origin.incarnation = cc_read_u32(reader);
        frontier.at[i].sequence = cc_read_varint(reader);
        bool sorted = i == 0 || crdt_origin_compare(frontier.at[i - 1].origin, frontier.at[i].origin) < 0;
        if (!sorted || frontier.at[i].sequence == 0) {
            cc_reader_fail(reader);
        }
        if (!cc_reader_ok(reader)) {
            return CC_MALFORMED;
        }
    }
    if (!cc_reader_ok(reader)) {
        return CC_MALFORMED;
    }
    frontier_out->n = frontier.n;
    memcpy(frontier_out->at, frontier.at, frontier.n * sizeof(frontier.at[0]));
    return CC_OK;
}

void crdt_frontier_of_text(const char *text, struct crdt_frontier *frontier_out)
{
    frontier_out->n = 0;
    struct cc_slice rest = cc_slice_text(text);
    bool good = true;
    while (good && rest.n > 0) {
        uint64_t replica = 0, incarnation = 0, sequence = 0;
        good = cc_slice_take_number(&rest, UINT32_MAX, &replica) && cc_slice_take_byte(&rest, ' ') &&
               cc_slice_take_number(&rest, UINT32_MAX, &incarnation) && cc_slice_take_byte(&rest, ' ') &&
               cc_slice_take_number(&rest, UINT64_MAX, &sequence) && (rest.n == 0 || cc_slice_take_byte(&rest, ' '));
        struct crdt_origin origin = {(uint32_t)replica, (uint32_t)incarnation};
        good = good && crdt_frontier_raise(frontier_out, origin, sequence) == CC_OK;
    }
}
