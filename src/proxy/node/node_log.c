// The log's upkeep: marks now and then, and truncation. The log is cut below what this replica's PostgreSQL has on disk and what
// every other replica has applied; a replica that is away for long, or makes the log too large, does not count.
#include "proxy/node/node_internal.h"

#include <stdlib.h>

enum { MARK_INTERVAL_US = 1000 * 1000, CHECKPOINTS_MAX = 256 };

void log_put_mark(struct node *node)
{
    struct upkeep *upkeep = &node->upkeep;
    uint64_t commit = cc_mutant(CC_MUTANT_MARK_AHEAD) ? raft_last_index(node->raft) : raft_commit(node->raft);
    upkeep->mark.commit = commit;
    upkeep->mark.hlc = node->clock.last;
    upkeep->mark.own_incarnation = node->weak.self.incarnation;
    upkeep->mark.own_sequence = node->weak.given;
    recovery_memorise(node, &upkeep->mark);
    upkeep->memory_moved = false;
    upkeep->marked_us = node->time.now_us;
    upkeep->mark_number = node->log_number + 1;
    wal_put_mark(&node->out->log, &upkeep->mark);
}

void log_mark(struct node *node)
{
    struct upkeep *upkeep = &node->upkeep;
    bool same = raft_commit(node->raft) == upkeep->mark.commit && node->weak.self.incarnation == upkeep->mark.own_incarnation && node->weak.given == upkeep->mark.own_sequence && !upkeep->memory_moved;
    if (!same && node->time.now_us >= upkeep->marked_us + MARK_INTERVAL_US) {
        log_put_mark(node);
    }
}

struct cc_slice log_refusal(struct node *node)
{
    if (!node->upkeep.durable.space_low || cc_mutant(CC_MUTANT_SPACE_IGNORED)) {
        return (struct cc_slice){0};
    }
    return node_refusal(node, CC_NO_SPACE, "CC219", "The disk of the replica that takes the write is nearly full: the write was not executed",
                        "Make space; service returns by itself");
}

bool disk_is_sick(const struct node *node)
{
    return node->upkeep.durable.disk_slow || node->upkeep.durable.space_low;
}

void log_finish(struct node *node)
{
    free(node->upkeep.checkpoints.at);
}

// -- Weak changes: which records hold only what PostgreSQL has ---------------------------------------------------------

// The last own change that is in a batch up to `log_number`.
static uint64_t own_logged(const struct node *node, uint64_t log_number)
{
    const struct weak *weak = &node->weak;
    uint64_t sequence = weak->given;
    for (size_t i = weak->own.n; i > weak->own_head && weak->own.at[i - 1].log_number > log_number; i--) {
        sequence = weak->own.at[i - 1].sequence - 1;
    }
    return sequence;
}

// Of the present origin; else one that is cut off would be given again.
static bool is_origin_marked(const struct node *node)
{
    const struct upkeep *upkeep = &node->upkeep;
    return upkeep->mark_number <= upkeep->durable.log_number && upkeep->mark.own_incarnation == node->weak.self.incarnation;
}

static void add_checkpoint(struct node *node)
{
    struct upkeep *upkeep = &node->upkeep;
    if (node->weak.given == 0 && node->origin.n_begun > 0 && !is_origin_marked(node)) {
        return; // the log tells only by the changes of the origin before that there is one
    }
    struct log_checkpoint fresh = {own_logged(node, upkeep->durable.log_number), upkeep->durable.record_number};
    struct log_checkpoint *last = upkeep->checkpoints.n > 0 ? &upkeep->checkpoints.at[upkeep->checkpoints.n - 1] : NULL;
    if (last != NULL && (last->sequence == fresh.sequence || upkeep->checkpoints.n == CHECKPOINTS_MAX)) {
        *last = fresh;
        return;
    }
    NODE_PUSH(upkeep->checkpoints, fresh);
}

// What is cut off is remembered in the mark: should the database be lost, its numbers must not be given again.
static void drop_checkpoints(struct node *node, uint64_t in_database)
{
    struct upkeep *upkeep = &node->upkeep;
    size_t n_done = 0;
    uint64_t marked = is_origin_marked(node) ? upkeep->mark.own_sequence : 0;
    uint64_t limit = marked < in_database ? marked : in_database;
    while (n_done < upkeep->checkpoints.n && upkeep->checkpoints.at[n_done].sequence <= limit) {
        upkeep->record_cut = upkeep->checkpoints.at[n_done].record + 1;
        n_done++;
    }
    upkeep->checkpoints.n -= n_done;
    memmove(upkeep->checkpoints.at, upkeep->checkpoints.at + n_done, upkeep->checkpoints.n * sizeof(*upkeep->checkpoints.at));
}

// -- Entries -----------------------------------------------------------------------------------------------------------

static bool counts(const struct node *node, const struct peer *peer)
{
    uint64_t heard_us = peer->heard_us > node->upkeep.started_us ? peer->heard_us : node->upkeep.started_us;
    return peer->up || node->options.log_keep_us == 0 || node->time.now_us - heard_us < node->options.log_keep_us;
}

// Entries up to here may go.
static uint64_t cut_index(const struct node *node)
{
    uint64_t base = raft_first_index(node->raft) - 1;
    uint64_t commit = raft_commit(node->raft);
    uint64_t flushed = cc_mutant(CC_MUTANT_CUT_UNFLUSHED) ? node->strong.applied : node->upkeep.durable.applied;
    uint64_t limit = flushed < commit ? flushed : commit;
    uint64_t cut = limit;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].member && counts(node, &node->peers[i]) && node->peers[i].applied < cut) {
            cut = node->peers[i].applied;
        }
    }
    bool too_large = node->options.log_bytes_max > 0 && node->upkeep.durable.log_bytes > node->options.log_bytes_max;
    if (too_large && limit > base) { // half of it; perhaps again the next time
        uint64_t half = base + (limit - base + 1) / 2;
        cut = half > cut ? half : cut;
    }
    uint64_t hold = snapshot_hold(node);
    cut = cut < hold ? cut : hold;
    return cut > base ? cut : base;
}

void node_durable(struct node *node, struct node_time time, const struct node_durable *durable)
{
    node->time = time;
    struct upkeep *upkeep = &node->upkeep;
    upkeep->durable = *durable;
    if (durable->frontier != NULL) {
        stable_flushed(node, durable->frontier);
    }
    add_checkpoint(node);
    if (snapshot_keep_own(node) == UINT64_MAX) { // afterwards PostgreSQL may have less than now
        drop_checkpoints(node, durable->frontier == NULL ? 0 : crdt_frontier_get(durable->frontier, node->weak.self));
    }
    if (durable->log_base > raft_first_index(node->raft) - 1) {
        raft_compact(node->raft, durable->log_base);
    }
    node->out->truncate_index = cut_index(node) + 1;
    node->out->truncate_record = upkeep->record_cut;
}
