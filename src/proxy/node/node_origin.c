// Under which origin this replica numbers its weak changes (docs/adr/origins.md).
//
//   UNHEARD --every member has told what it has of this origin, and that is here--> CONFIRMED
//      |                                                                               ^
//      +--a write has waited for long enough: a new origin, which nobody can have-------+
//
// After a start the log and the database may be older copies, whose replica has given further numbers since. Only the others can tell.
#include "proxy/node/node_weak.h"

enum { PATIENCE_ELECTIONS = 2 }; // election timeouts, from when the database is up: by then members that are well have told

bool origin_is_confirmed(const struct node *node)
{
    return node->origin.confirmed;
}

bool origin_is_own(const struct node *node, struct crdt_origin origin)
{
    return crdt_origin_compare(origin, node->weak.self) == 0 || crdt_frontier_get(&node->origin.earlier, origin) > 0;
}

uint32_t origin_first_own(const struct crdt_frontier *frontier, uint32_t replica)
{
    uint32_t at = 0;
    while (at < frontier->n && frontier->at[at].origin.replica < replica) {
        at++;
    }
    return at;
}

// -- At the start, from the log ------------------------------------------------------------------------------------------

static void write_under(struct node *node, uint32_t incarnation)
{
    node->weak.self.incarnation = incarnation;
    node->clock.incarnation = incarnation;
}

// CC_TOO_LARGE: more origins than there can be.
static enum cc_status note_earlier(struct node *node)
{
    return crdt_frontier_raise(&node->origin.earlier, node->weak.self, node->weak.next_sequence - 1);
}

enum cc_status origin_restore(struct node *node, struct crdt_origin origin)
{
    node->origin.in_log = true;
    if (crdt_origin_compare(origin, node->weak.self) == 0) {
        return CC_OK;
    }
    if (crdt_frontier_get(&node->origin.earlier, origin) > 0 || note_earlier(node) != CC_OK) {
        return CC_CORRUPT;
    }
    weak_own_clear(node);
    node->weak.next_sequence = 1;
    node->weak.replay_until = 0;
    write_under(node, origin.incarnation);
    return CC_OK;
}

void origin_restore_mark(struct node *node, const struct wal_mark *mark)
{
    if (!node->origin.in_log && mark->own_incarnation != 0) { // all of its change sets were cut off, and so those of earlier ones
        write_under(node, mark->own_incarnation);
    }
    if (mark->own_incarnation == 0 || mark->own_incarnation == node->weak.self.incarnation) {
        weak_restore_sequence(node, mark->own_sequence);
    }
}

void node_log_begun(struct node *node)
{
    node->origin.confirmed = true;
}

// -- Confirmed, or another one -------------------------------------------------------------------------------------------

// Also by members that a change which we do not know yet has added.
static bool all_have_told(const struct node *node)
{
    uint64_t index = raft_membership_index(node->raft);
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        if (peer->member && (!peer->origin_told || peer->membership_index > index)) {
            return false;
        }
    }
    return membership_has_self(node);
}

void origin_tick(struct node *node)
{
    struct origin *origin = &node->origin;
    const struct weak *weak = &node->weak;
    if (origin->confirmed || !weak->up) {
        return;
    }
    origin->up_us = origin->up_us == 0 ? node->time.now_us : origin->up_us;
    bool is_unasked = cc_mutant(CC_MUTANT_ORIGIN_UNASKED);
    if (is_unasked || (all_have_told(node) && weak_own_committed(node) + 1 >= weak->next_sequence)) {
        origin->confirmed = true;
    }
}

// What this replica itself has given is in its database for good: from now on it is like any other origin's.
static bool may_begin(const struct node *node)
{
    const struct weak *weak = &node->weak;
    bool is_whole = weak_own_committed(node) >= weak->given;
    bool is_flushed = weak->given == 0 || crdt_frontier_get(&node->stable.flushed, weak->self) >= weak->given;
    bool is_idle = weak->executing == NULL && weak->merging == NULL && weak->n_open == 0 && weak->committing_job == NULL;
    return weak->up && is_whole && is_flushed && is_idle && !snapshot_blocks(node) && !node->loss.leaving;
}

bool origin_has_room(const struct node *node)
{
    return node->weak.frontier.n < NODE_ORIGINS_MAX;
}

bool origin_may_change(const struct node *node)
{
    return !node->origin.confirmed && origin_has_room(node) && weak_own_committed(node) >= node->weak.given;
}

static void begin(struct node *node)
{
    struct weak *weak = &node->weak;
    struct crdt_origin before = weak->self;
    if (weak->given > 0) {
        weak->next_sequence = weak->given + 1;
        (void)!note_earlier(node); // there is room: the frontier has more than these
    }
    loss_forget(node);
    weak_own_clear(node);
    weak->next_sequence = 1;
    weak->given = weak->told = weak->replay_until = 0;
    node->upkeep.checkpoints.n = 0; // later ones cover what these do
    write_under(node, node->options.next_incarnation);
    for (uint32_t i = 0; i < node->n_peers; i++) {
        node->peers[i].pushed = node->peers[i].received = 0;
    }
    node->origin.confirmed = true;
    node->origin.n_begun++;
    node_fact(node, NODE_FACT_ORIGIN, before.incarnation, crdt_frontier_get(&weak->frontier, before), weak->self.incarnation, NULL);
    peer_tell_frontier(node);
}

bool origin_may_number(struct node *node)
{
    struct origin *origin = &node->origin;
    origin_tick(node);
    bool is_late = origin->up_us > 0 && node->time.now_us >= origin->up_us + PATIENCE_ELECTIONS * node->options.raft.election_us;
    if (!origin->confirmed && is_late && origin_has_room(node) && may_begin(node)) {
        begin(node);
    }
    return origin->confirmed;
}

void origin_describe(const struct node *node, struct node_status *status)
{
    status->origin = node->weak.self;
    status->origin_confirmed = node->origin.confirmed;
    status->n_origins_begun = node->origin.n_begun;
}
