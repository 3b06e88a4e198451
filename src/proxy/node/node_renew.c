// The way back of a replica whose weak changes the others no longer take (docs/adr/renewal.md).
//
//   in the life that ends:   IDLE --told--> TOLD --a majority is well without it, nothing is under way--> LEAVING --put aside, on disk--> the log
//                            is put aside, too, and the process ends; so do own changes that are lost (node_loss.c)
//   in the new life:         IDLE <--nothing is aside-- WAITING --all is here that others hold--> DECIDING --sets to log--> WAITING --merged,
//                            as own ones that the database lacks--> DECIDING ...
//
// What is aside leaves the database in the transaction that merges the set which renews it, wherever that set comes from. So a crash at any
// point leaves each old change either aside, or renewed in the log. Until all is renewed, no other weak writes are taken: what is
// stamped in the new life is a renewal, hence older than what is still aside.
#include "proxy/node/node_internal.h"

enum {
    SETS_MAX = 256,
    PATIENCE_US = 1000 * 1000, // and as much more for each member before us: two that begin anew do so after each other
    YIELD_AGAIN_US = 1000 * 1000,
};

bool renewal_is_done(const struct node *node)
{
    return node->renewal.state == RENEWAL_IDLE || node->renewal.state == RENEWAL_TOLD;
}

// -- The life that ends ---------------------------------------------------------------------------------------------------

// All but this replica could go on, and confirm a leader to it afterwards. By an old list of members there may be others by now, or learners of
// that list may vote: who is there counts, too.
static bool others_are_well(const struct node *node, bool is_list_old)
{
    uint32_t n = 0, n_voters = membership_n_voters(node);
    bool recovers = false;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        bool is_there = peer->up && peer->refused == NULL;
        bool votes = membership_votes(node, peer->id);
        bool is_other = is_list_old && is_there && !votes;
        recovers = recovers || (is_there && peer->recovering);
        n += is_there && !peer->recovering && (is_other || votes);
        n_voters += is_other;
    }
    return n > n_voters / 2 && !(is_list_old && recovers);
}

// Who was taken out, and taken back behind the end of its log, needs a snapshot that nobody can make: it would have to cover what only this
// replica has. Its own list of members is out of date. If it is not in there, nobody waits for its vote.
static bool may_end(const struct node *node)
{
    if (!membership_has_self(node)) {
        return snapshot_waits(node);
    }
    return others_are_well(node, false) || (snapshot_waits(node) && others_are_well(node, true));
}

static uint64_t patience_us(const struct node *node)
{
    uint64_t n_before = 0;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        n_before += node->peers[i].member && node->peers[i].id < node->options.raft.id;
    }
    return (1 + n_before) * PATIENCE_US;
}

// This life cannot go on: the others no longer take its changes, or some of them are lost.
static bool must_end(const struct node *node)
{
    return weak_must_rejoin(node) || loss_is_certain(node);
}

// A recovery that wants a snapshot is not waited for: see may_end(). The next life recovers, too.
static bool is_quiet(const struct node *node)
{
    bool recovered = recovery_is_over(node) || snapshot_waits(node);
    if (!node->weak.up || !repair_is_at_rest(node) || snapshot_blocks(node) || !recovered) {
        return false;
    }
    if (loss_is_certain(node)) { // who waits for an answer has waited in vain
        return node->weak.merging == NULL && node->weak.executing == NULL && !node->weak.loading;
    }
    bool whole = crdt_frontier_get(&node->weak.frontier, node->weak.self) + 1 == node->weak.next_sequence;
    return whole && weak_is_idle(node);
}

// Of the changes of an own origin, what some member has on disk.
static uint64_t own_flushed(const struct node *node, struct crdt_origin origin)
{
    const struct crdt_stability *stability = &node->stable.stability;
    uint64_t sequence = 0;
    for (uint32_t i = 0; i < stability->n; i++) {
        const struct crdt_stability_member *member = &stability->members[i];
        uint64_t theirs = member->replica == node->weak.self.replica ? 0 : crdt_frontier_get(&member->flushed, origin);
        sequence = theirs > sequence ? theirs : sequence;
    }
    return sequence;
}

// Of each own origin, from where on nobody else has its changes.
static const struct crdt_frontier *own_unsent(const struct node *node, struct cc_arena *arena)
{
    const struct crdt_frontier *held = &node->weak.frontier;
    struct crdt_frontier *own = cc_arena_alloc(arena, sizeof(*own));
    own->n = 0;
    uint32_t replica = node->weak.self.replica;
    for (uint32_t i = origin_first_own(held, replica); i < held->n && held->at[i].origin.replica == replica; i++) {
        own->at[own->n].origin = held->at[i].origin;
        own->at[own->n++].sequence = own_flushed(node, held->at[i].origin) + 1;
    }
    return own;
}

static void leave(struct node *node)
{
    if (loss_is_certain(node)) {
        node->renewal.state = RENEWAL_LEAVING;
        loss_leave(node);
        return;
    }
    struct job *job = node_job_create(node, DB_BEGIN_ANEW, 0);
    job->job.own = own_unsent(node, &job->arena);
    node->renewal.state = RENEWAL_LEAVING;
    node->weak.merging = job;
    node_job_submit(node, DB_WEAK, job);
}

static void end_life(struct node *node, uint64_t n_aside)
{
    if (!node->recovery.forgot) {
        node->recovery.forgot = true;
        node->out->forgot = true;
        node_fact(node, NODE_FACT_BEGIN_ANEW, n_aside, 0, 0, NULL);
    }
}

static void look_for_way_out(struct node *node)
{
    struct renewal *renewal = &node->renewal;
    const char *why;
    if (!must_end(node) || !may_end(node)) {
        renewal->state = renewal->n_aside > 0 ? RENEWAL_WAITING : RENEWAL_IDLE;
        return;
    }
    if (node->time.now_us < renewal->since_us + patience_us(node) || node->time.now_us < renewal->again_us || node->stopping) {
        return;
    }
    if (raft_role(node->raft) == RAFT_LEADER) {
        renewal->again_us = node->time.now_us + YIELD_AGAIN_US;
        (void)!office_transfer(node, 0, &why);
    } else if (is_quiet(node)) {
        leave(node);
    }
}

void renewal_tick(struct node *node)
{
    struct renewal *renewal = &node->renewal;
    // A life that recovers may have been given back what it has put aside, by one that begins anew, too: then it needs a snapshot that nobody makes.
    bool may_be_told = renewal->state == RENEWAL_IDLE || !recovery_is_over(node);
    switch (renewal->state) {
    case RENEWAL_IDLE:
    case RENEWAL_WAITING:
        if ((loss_is_certain(node) || (may_be_told && must_end(node))) && may_end(node)) {
            renewal->state = RENEWAL_TOLD;
            renewal->since_us = node->time.now_us;
        }
        return;
    case RENEWAL_TOLD:
        look_for_way_out(node);
        return;
    case RENEWAL_LEAVING:
    case RENEWAL_DECIDING:
        return;
    }
}

// -- The new life ---------------------------------------------------------------------------------------------------------

void renewal_database_up(struct node *node, const struct db_event *event)
{
    struct renewal *renewal = &node->renewal;
    bool is_own = false;
    for (uint32_t i = 0; event->aside != NULL && i < event->aside->n; i++) {
        is_own = is_own || origin_is_own(node, event->aside->at[i].origin);
    }
    if (is_own) { // put aside, but the process ended before the log was
        renewal->state = RENEWAL_LEAVING;
        end_life(node, event->n_aside);
        return;
    }
    renewal->n_aside = cc_mutant(CC_MUTANT_ASIDE_FORGOTTEN) ? 0 : event->n_aside;
    renewal->state = renewal->n_aside > 0 ? RENEWAL_WAITING : RENEWAL_IDLE;
}

void renewal_database_down(struct node *node)
{
    node->renewal.state = node->renewal.state == RENEWAL_DECIDING ? RENEWAL_WAITING : node->renewal.state;
}

bool renewal_wants_turn(const struct node *node)
{
    int64_t off_ms;
    bool here = recovery_is_over(node) && membership_has_self(node) && !weak_is_replaying(node) && !repair_is_whole(node);
    return node->renewal.state == RENEWAL_WAITING && here && !node->stopping && !peer_clock_is_off(node, &off_ms);
}

struct job *renewal_take_job(struct node *node)
{
    struct job *job = node_job_create(node, DB_RENEW, 0);
    job->job.stamps = cc_arena_array(&job->arena, SETS_MAX, sizeof(*job->job.stamps));
    job->job.n_stamps = SETS_MAX;
    for (uint32_t i = 0; i < SETS_MAX; i++) {
        job->job.stamps[i] = clock_hlc_tick(&node->clock, node->time.wall_ms);
    }
    node->renewal.state = RENEWAL_DECIDING;
    return job;
}

void renewal_decided(struct node *node, const struct db_event *event)
{
    struct renewal *renewal = &node->renewal;
    renewal->n_renewed += event->n_changed;
    renewal->n_lost += event->n_lost;
    renewal->n_aside -= event->n_changes < renewal->n_aside ? event->n_changes : renewal->n_aside;
    if (event->n_changes > 0) {
        renewal->state = RENEWAL_WAITING;
        return;
    }
    renewal->state = RENEWAL_IDLE;
    renewal->n_aside = 0;
    node_fact(node, NODE_FACT_RENEWED, renewal->n_renewed, renewal->n_lost, 0, NULL);
}

void renewal_begun_anew(struct node *node, const struct db_event *event)
{
    end_life(node, event->n_aside);
}
