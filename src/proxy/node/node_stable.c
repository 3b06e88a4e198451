// What is settled among all members (crdt/stability.h): claims told every second, and how far garbage may go.
//
// A claim about the stamps to come must hold after a crash, too: it is the clock that a durable mark of the log has.
#include "proxy/node/node_internal.h"

enum {
    MARK_US = 1000 * 1000,
    IDLE_US = 120ll * 1000 * 1000, // nothing weak has happened for so long: no more marks
};

static uint64_t stamps_above(const struct node *node)
{
    uint64_t hlc = node->clock.last;
    const struct job *job = node->weak.executing;
    for (uint32_t i = 0; job != NULL && i < job->job.n_items; i++) { // not numbered yet
        hlc = job->job.stamps[i].hlc <= hlc ? job->job.stamps[i].hlc - 1 : hlc;
    }
    const struct job *merging = node->weak.merging;
    if (merging != NULL && merging->job.kind == DB_RENEW && merging->job.stamps[0].hlc <= hlc) {
        hlc = merging->job.stamps[0].hlc - 1;
    }
    return hlc;
}

static void mark(struct node *node)
{
    struct stable *stable = &node->stable;
    if (stable->mark_number > 0 && node->weak.synced >= stable->mark_number) {
        stable->marked_hlc = stable->mark_hlc;
        stable->mark_number = 0;
    }
    bool idle = node->time.now_us >= stable->moved_us + IDLE_US || node->weak.frontier.n == 0;
    if (idle || stable->mark_number > 0 || node->time.now_us < stable->marked_us + MARK_US) {
        return;
    }
    stable->marked_us = node->time.now_us;
    stable->mark_hlc = stamps_above(node);
    stable->mark_number = node->log_number + 1;
    log_put_mark(node);
}

static void note_members(struct node *node)
{
    uint64_t index;
    const struct raft_membership *membership = raft_membership_committed(node->raft, &index);
    const struct raft_membership *in_force = raft_membership(node->raft);
    uint32_t ids[CC_REPLICAS_MAX], n = 0;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        const struct peer *peer = peer_find(node, membership->members[i].id);
        bool ignored = cc_mutant(CC_MUTANT_GARBAGE_AWAY_IGNORED) && peer != NULL && !peer->up;
        ids[n] = membership->members[i].id;
        n += ignored ? 0 : 1;
    }
    for (uint32_t i = 0; i < in_force->n_members && n < CC_REPLICAS_MAX; i++) { // one that comes counts from the start
        if (raft_member_find(membership, in_force->members[i].id) == NULL) {
            ids[n++] = in_force->members[i].id;
        }
    }
    crdt_stability_set_members(&node->stable.stability, node->options.raft.id, ids, n);
}

// In its own time: while somebody writes, frontiers are told out of turn, and their turn never comes.
void stable_tick(struct node *node)
{
    struct stable *stable = &node->stable;
    if (node->time.now_us < stable->claimed_us + node->options.frontier_interval_us) {
        return;
    }
    stable->claimed_us = node->time.now_us;
    note_members(node);
    bool is_pulling = node->target.state != TARGET_IDLE; // what is merged meanwhile goes when the snapshot is installed, and comes again
    if (!node->weak.up || !stable->flushed_known || weak_is_replaying(node) || is_pulling) {
        return;
    }
    mark(node);
    struct crdt_claim claim = {node->weak.next_sequence - 1, stable->marked_hlc, stable->stability.held};
    if (cc_mutant(CC_MUTANT_GARBAGE_CLAIM_AHEAD)) {
        claim.hlc = clock_hlc_of_ms(node->time.wall_ms);
    }
    if (!origin_is_confirmed(node)) { // nothing, for another copy of this replica may have written under this origin
        claim = (struct crdt_claim){0};
    }
    crdt_stability_told(&stable->stability, node->weak.self, &claim, &stable->flushed);
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].up) {
            peer_send_stable(node, &node->peers[i], &claim, &stable->flushed);
        }
    }
}

void stable_received(struct node *node, struct crdt_origin member, const struct crdt_claim *claim, const struct crdt_frontier *flushed)
{
    crdt_stability_told(&node->stable.stability, member, claim, flushed);
}

void stable_flushed(struct node *node, const struct crdt_frontier *flushed)
{
    node->stable.flushed = cc_mutant(CC_MUTANT_GARBAGE_UNFLUSHED) ? node->weak.frontier : *flushed;
    node->stable.flushed_known = true;
}

void stable_moved(struct node *node)
{
    node->stable.moved_us = node->time.now_us;
}

bool stable_is_too_late(const struct node *node, const struct crdt_change_set *set)
{
    return node->stable.collected > 0 && set->stamp.hlc <= node->stable.collected;
}

bool stable_refuses(struct node *node, const struct crdt_change_set *set)
{
    struct stable *stable = &node->stable;
    bool refused = stable_is_too_late(node, set);
    if (refused && node->time.now_us >= stable->told_us + MARK_US) {
        stable->told_us = node->time.now_us;
        stable->n_refused++;
        node_fact(node, NODE_FACT_TOO_OLD, set->origin.replica, set->origin.incarnation, set->sequence, NULL);
    }
    return refused;
}

// -- For the shell -------------------------------------------------------------------------------------------------------

void node_garbage(const struct node *node, struct node_garbage *garbage_out)
{
    garbage_out->bound = repair_holds_garbage(node) ? node->stable.collected : node->stable.stability.bound;
    crdt_stability_common(&node->stable.stability, &garbage_out->history);
    if (cc_mutant(CC_MUTANT_GARBAGE_SELF_ONLY)) {
        garbage_out->history = node->stable.flushed;
    }
}

void node_garbage_collected(struct node *node, struct node_time time, uint64_t bound)
{
    struct stable *stable = &node->stable;
    node->time = time;
    if (bound > stable->collected) {
        struct crdt_frontier common;
        crdt_stability_common(&stable->stability, &common);
        stable->collected = bound;
        weak_incoming_settled(node);
        if (crdt_frontier_join(&stable->below, &common) != CC_OK) { // too many origins
            stable->below = node->weak.frontier;
        }
    }
}

void stable_database_up(struct node *node, const struct db_event *event)
{
    struct stable *stable = &node->stable;
    if (!crdt_frontier_covers(event->frontier, &stable->flushed)) { // another database than before: what it once held counts no more
        stable->stability = (struct crdt_stability){0};
        stable->flushed_known = false;
        stable->flushed.n = 0;
    }
    stable->collected = event->collected;
    stable->below = *event->frontier;
}

bool stable_trusts(const struct node *node, const struct repair_moment *moment)
{
    const struct stable *stable = &node->stable;
    return moment != NULL && (moment->bound >= stable->collected || crdt_frontier_covers(&moment->frontier, &stable->below));
}
