// Amnesia: a replica whose log is new may have voted and acknowledged in a life that it does not remember (its disk was lost, or
// replaced by an older copy). Until it has made good for that it neither votes nor counts.
//
//   ASKING --all members' logs and databases are empty: a new cluster----------------------> DONE
//     |                                                                                       ^
//     +--a member's is not--> CATCHING_UP --a majority of the others confirmed a leader after this start,
//                                           and everything committed until then is here--------+
//
// Why that is enough, and what is not covered: docs/adr/amnesia.md.
#include "proxy/node/node_internal.h"

#include "base/mutant.h"

enum {
    CANDIDACIES = 4,             // election timeouts for which a candidate that this replica voted for may still count that vote
    CONFIRM_AGAIN_US = 500 * 1000,
};

bool recovery_is_over(const struct node *node)
{
    return node->recovery.state == RECOVERY_DONE;
}

// Nothing was ever written here.
static bool is_fresh(const struct node *node)
{
    bool up = node->strong.state == STRONG_FOLLOW && node->weak.up;
    return up && node->strong.applied == 0 && node->weak.frontier.n == 0 && raft_last_index(node->raft) == 0;
}

static bool is_used(const struct node *node)
{
    bool database = (node->strong.state != STRONG_DOWN && node->strong.applied > 0) || (node->weak.up && node->weak.frontier.n > 0);
    return database || raft_last_index(node->raft) > 0;
}

uint8_t recovery_flags(const struct node *node)
{
    return (uint8_t)((is_fresh(node) ? FRONTIER_FRESH : 0) | (is_used(node) ? FRONTIER_USED : 0) |
                     (recovery_is_over(node) ? 0 : FRONTIER_RECOVERING));
}

void recovery_start(struct node *node)
{
    node->recovery.held = raft_last_index(node->raft);
    if (!node->options.is_new) {
        return;
    }
    node->recovery.state = RECOVERY_ASKING;
    raft_set_recovering(node->raft, true);
}

static void end(struct node *node)
{
    node->recovery.state = RECOVERY_DONE;
    node->out->recovered = true;
    raft_set_recovering(node->raft, false);
    node_fact(node, NODE_FACT_RECOVERED, node->recovery.index, 0, 0, NULL);
    peer_tell_frontier(node);
}

static struct log_extent extent_of(const struct node *node)
{
    return (struct log_extent){raft_last_index(node->raft), node->log_promise};
}

// A log that is what it was, or has grown: a kill and a power cut leave all that was told to others, because that was on disk.
static bool has_grown(struct log_extent log, struct log_extent had)
{
    return log.index >= had.index && (log.promise >= had.promise || cc_mutant(CC_MUTANT_REPLACED_UNNOTICED));
}

// This replica's log lacks what it once had: the shell puts it aside, and the next start is that of a new replica.
static void forget(struct node *node, const char *how)
{
    if (!node->recovery.forgot && recovery_is_over(node)) {
        node->recovery.forgot = true;
        node->out->forgot = true;
        node_fact(node, NODE_FACT_FORGOT, raft_last_index(node->raft), node->strong.applied, 0, how);
    }
}

void recovery_told(const struct node *node, struct peer *peer)
{
    peer->told = extent_of(node);
}

// What another one remembers it was told by this log, by this life of the process or, then the log was opened with it, by an earlier one. In
// both cases it is no more than what that one was told last. What the log holds by now says less: a copy is sent entries before it is reminded.
void recovery_reminded(struct node *node, const struct peer *peer, struct log_extent had)
{
    if (!has_grown(peer->told, had)) {
        forget(node, "another replica remembers more of this log than it held");
    }
}

// Entries are applied when they are on disk here, and a snapshot is installed when the log's new base is: no kill and no power cut leaves
// a database that is ahead of its log. What a leader has sent since the start says nothing about what the log held.
bool recovery_compare(struct node *node, uint64_t applied)
{
    uint64_t last = raft_last_index(node->raft);
    uint64_t held = node->recovery.held < last ? node->recovery.held : last;
    node->recovery.held = UINT64_MAX;
    if (applied <= held || !(recovery_is_over(node) || membership_is_alone(node))) {
        return true;
    }
    forget(node, "the database has applied more than the log holds: the log was lost or is an older copy");
    return false;
}

static bool is_over(const struct peer *peer, uint32_t incarnation)
{
    bool found = false;
    for (size_t i = 0; i < PEER_LIVES_MAX; i++) {
        found = found || (peer->over[i] == incarnation && incarnation != 0);
    }
    return found;
}

static void life_ended(struct peer *peer, uint32_t incarnation)
{
    if (incarnation != 0 && !is_over(peer, incarnation)) {
        memmove(peer->over + 1, peer->over, (PEER_LIVES_MAX - 1) * sizeof(peer->over[0]));
        peer->over[0] = incarnation;
    }
}

static void remember_life(struct node *node, struct peer *peer, uint32_t incarnation)
{
    if (peer->remembered_incarnation != incarnation) {
        peer->remembered_incarnation = incarnation;
        peer->remembered = (struct log_extent){0};
        node->upkeep.memory_moved = true;
    }
}

void recovery_heard(struct node *node, struct peer *peer, uint8_t flags, struct log_extent log)
{
    peer->fresh = flags & FRONTIER_FRESH;
    peer->used = flags & FRONTIER_USED;
    bool recovering = flags & FRONTIER_RECOVERING;
    peer->recovering = recovering;
    raft_peer_set_recovering(node->raft, peer->id, recovering);
    if (recovering) {
        if (peer->remembered_incarnation != peer->incarnation) { // a new life: the one before does not come back
            life_ended(peer, peer->remembered_incarnation);
            remember_life(node, peer, peer->incarnation);
        }
        return;
    }
    if (is_over(peer, peer->incarnation) && !cc_mutant(CC_MUTANT_ENDED_LIFE_RETURNS)) {
        raft_peer_set_recovering(node->raft, peer->id, true);
        peer_send_forgotten(node, peer, (struct log_extent){.index = UINT64_MAX});
        return;
    }
    remember_life(node, peer, peer->incarnation);
    if (!has_grown(log, peer->remembered)) { // or the frame is an old one: it knows
        raft_peer_set_recovering(node->raft, peer->id, true);
        peer_send_forgotten(node, peer, peer->remembered);
        return;
    }
    log.index = peer->applied < log.index ? peer->applied : log.index; // what is above may not be on disk, and may be replaced
    struct log_extent *had = &peer->remembered;
    bool more = log.index > had->index || log.promise > had->promise;
    had->index = log.index > had->index ? log.index : had->index;
    had->promise = log.promise > had->promise ? log.promise : had->promise;
    node->upkeep.memory_moved = node->upkeep.memory_moved || more;
}

void recovery_recall(struct node *node)
{
    const struct wal_mark *mark = &node->upkeep.mark;
    for (uint32_t i = 0; i < mark->n_memories; i++) {
        struct peer *peer = peer_find(node, mark->memories[i].replica);
        if (peer != NULL && mark->memories[i].index == UINT64_MAX) {
            life_ended(peer, mark->memories[i].incarnation);
        } else if (peer != NULL) {
            peer->remembered_incarnation = mark->memories[i].incarnation;
            peer->remembered = (struct log_extent){mark->memories[i].index, mark->memories[i].promise};
        }
    }
}

static void memorise(struct wal_mark *mark, struct wal_memory memory)
{
    if (memory.incarnation != 0 && mark->n_memories < WAL_MEMORIES_MAX) {
        mark->memories[mark->n_memories++] = memory;
    }
}

void recovery_memorise(const struct node *node, struct wal_mark *mark)
{
    mark->n_memories = 0;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        if (!peer->member) {
            continue;
        }
        for (size_t life = PEER_LIVES_MAX; life-- > 0;) { // the newest last, so that they come back in this order
            memorise(mark, (struct wal_memory){.replica = peer->id, .incarnation = peer->over[life], .index = UINT64_MAX});
        }
        memorise(mark, (struct wal_memory){.replica = peer->id, .incarnation = peer->remembered_incarnation,
                                           .index = peer->remembered.index, .promise = peer->remembered.promise});
    }
}

void recovery_confirmed(struct node *node, const struct raft_read_result *result)
{
    struct recovery *recovery = &node->recovery;
    if (recovery->state != RECOVERY_CATCHING_UP || recovery->context != result->context) {
        return;
    }
    recovery->index = result->index;
    recovery->asked_us = result->index == 0 ? 0 : recovery->asked_us;
}

static void ask_around(struct node *node)
{
    bool all_fresh = is_fresh(node), any_used = false;
    uint64_t term = 0;
    if (all_fresh && !node->recovery.told) { // the others wait for this
        node->recovery.told = true;
        peer_tell_frontier(node);
    }
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        all_fresh = all_fresh && (peer->fresh || !peer->member);
        any_used = any_used || peer->used;
        term = peer->term > term ? peer->term : term;
    }
    if (any_used && cc_mutant(CC_MUTANT_RECOVERY_AT_ONCE)) {
        end(node);
    } else if (any_used) {
        node->recovery.state = RECOVERY_CATCHING_UP;
    } else if (all_fresh && raft_spend_vote(node->raft, term)) {
        end(node); // nothing was promised but a vote, perhaps: by a log that was lost while the first leader was elected
    }
}

// A majority of the others have told their frontiers, and all that they hold is here: so it has what it once confirmed to hold.
static bool holds_changes(const struct node *node)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        bool counts = peer->up && peer->frontier_known && !peer->recovering && membership_votes(node, peer->id);
        n += counts && crdt_frontier_covers(&node->weak.frontier, &peer->frontier);
    }
    return n > membership_n_voters(node) / 2;
}

static void catch_up(struct node *node)
{
    struct recovery *recovery = &node->recovery;
    uint64_t now_us = node->time.now_us;
    uint32_t leader = raft_leader(node->raft);
    if (now_us < node->upkeep.started_us + CANDIDACIES * node->options.raft.election_us || leader == 0) {
        return;
    }
    if (recovery->index == 0) {
        if (recovery->asked_us == 0 || now_us >= recovery->asked_us + CONFIRM_AGAIN_US) {
            recovery->asked_us = now_us;
            recovery->context = ++node->next_context;
            raft_read(node->raft, now_us, recovery->context);
        }
        return;
    }
    bool has_database = node->strong.state == STRONG_FOLLOW && node->strong.applied + 1 >= raft_first_index(node->raft);
    if (raft_commit(node->raft) >= recovery->index && has_database && !snapshot_blocks(node) && holds_changes(node)) {
        end(node);
    }
}

void recovery_tick(struct node *node)
{
    switch (node->recovery.state) {
    case RECOVERY_DONE:
        return;
    case RECOVERY_ASKING:
        ask_around(node);
        return;
    case RECOVERY_CATCHING_UP:
        catch_up(node);
        return;
    }
}
