// Weak tables: what others are sent and told. Own change sets are pushed as soon as they are durable; others' are relayed when their own
// replica does not send them; frontiers say who lacks what.
#include "proxy/node/node_weak.h"

enum {
    PUSHED_SETS_MAX = 20000, // sent to a peer and not yet in its frontier
    STUCK_US = 1000 * 1000, // no progress for so long: somebody else than the origin sends
    GAP_TOLD_US = 60 * 1000 * 1000,
};

// Own changes that some member refuses go to nobody any more, under whichever of its origins: who has dropped less than the others would take them.
static bool is_withheld(const struct node *node, struct crdt_origin origin)
{
    return weak_must_rejoin(node) && origin.replica == node->weak.self.replica;
}

static void fetch_for(struct node *node, struct peer *peer, struct crdt_origin origin, uint64_t sequence)
{
    if (peer->fetching || !node->weak.up || snapshot_blocks(node)) {
        return;
    }
    struct job *job = node_job_create(node, DB_FETCH, 0);
    job->job.origin = origin;
    job->job.sequence = sequence;
    job->job.peer = peer->id;
    job->job.n_bytes_max = NODE_CHANGES_FRAME_BYTES;
    peer->fetching = true;
    node_job_submit(node, DB_WEAK, job);
}

// Sends own change sets that are durable in the log and that the peer was not sent yet.
static void push_to(struct node *node, struct peer *peer)
{
    struct weak *weak = &node->weak;
    if (!peer->up || !peer->frontier_known || peer->refused != NULL || weak_must_rejoin(node)) {
        return;
    }
    uint64_t acknowledged = crdt_frontier_get(&peer->frontier, weak->self);
    while (peer->pushed + 1 < weak->next_sequence && peer->pushed < acknowledged + PUSHED_SETS_MAX) {
        struct cc_slice sets[256];
        size_t n = 0, n_bytes = 0;
        struct own_change *change = weak_own_find(node, peer->pushed + 1);
        if (change == NULL) { // no longer in memory
            if (peer->pushed + 1 <= weak_own_committed(node)) {
                fetch_for(node, peer, weak->self, peer->pushed + 1);
            }
            return;
        }
        while (n < 256 && n_bytes < NODE_CHANGES_FRAME_BYTES && change != NULL &&
               (change->log_number <= weak->synced || cc_mutant(CC_MUTANT_PUSH_UNSYNCED))) {
            sets[n++] = cc_blob_slice(change->bytes);
            n_bytes += change->bytes->n;
            change = weak_own_find(node, peer->pushed + 1 + n);
        }
        if (n == 0) {
            return;
        }
        peer_send_changes(node, peer, sets, n);
        peer->pushed += n;
    }
}

void weak_synced(struct node *node, uint64_t log_number)
{
    node->weak.synced = log_number;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        push_to(node, &node->peers[i]);
    }
    weak_pump(node);
}

// One origin after the other, whether the histories have its change sets or not.
static void relay_next(struct node *node, struct peer *peer)
{
    while (peer->lacks.n > 0 && !peer->fetching) {
        peer->lacks.n--;
        fetch_for(node, peer, peer->lacks.at[peer->lacks.n].origin, peer->lacks.at[peer->lacks.n].sequence);
    }
}

// Origins other than ourselves: their own replica sends, and we do when that does not help. What this replica itself wrote under an earlier
// origin is not passed on either while others refuse it: who has forgotten that it would have to refuse it would hold it alone.
static void relay_to(struct node *node, struct peer *peer, bool is_second_look)
{
    const struct crdt_frontier *mine = &node->weak.frontier;
    peer->lacks.n = 0;
    for (uint32_t i = 0; i < mine->n; i++) {
        struct crdt_origin origin = mine->at[i].origin;
        uint64_t theirs = crdt_frontier_get(&peer->frontier, origin);
        if (theirs >= mine->at[i].sequence || crdt_origin_compare(origin, node->weak.self) == 0 || is_withheld(node, origin)) {
            continue;
        }
        const struct peer *sender = peer_find(node, origin.replica);
        bool origin_sends = sender != NULL && sender->up && sender->writes_as == origin.incarnation && sender != peer;
        bool stuck = is_second_look && theirs == crdt_frontier_get(&peer->frontier_before, origin);
        if ((!origin_sends && !cc_mutant(CC_MUTANT_STUCK_FOR_LONG)) || stuck) {
            peer->lacks.at[peer->lacks.n].origin = origin;
            peer->lacks.at[peer->lacks.n++].sequence = theirs + 1;
        }
    }
    relay_next(node, peer);
}

void weak_peer_frontier(struct node *node, struct peer *peer)
{
    weak_answer_spread(node);
    struct weak *weak = &node->weak;
    uint64_t theirs = crdt_frontier_get(&peer->frontier, weak->self);
    uint64_t received = peer->received > theirs ? peer->received : theirs;
    if (received >= weak->next_sequence) { // they have changes of ours that we do not know: never number those again
        weak->n_alarms += origin_is_confirmed(node);
        node_fact(node, NODE_FACT_RESTORED, peer->id, received, weak->next_sequence - 1, NULL);
        weak->next_sequence = received + 1;
        weak->replay_until = received;
    }
    uint64_t stuck_us = (uint64_t)STUCK_US * (cc_mutant(CC_MUTANT_STUCK_FOR_LONG) ? 20 : 1);
    bool second_look = peer->frontier_before_us > 0 && node->time.now_us >= peer->frontier_before_us + stuck_us;
    bool stuck = second_look && theirs == crdt_frontier_get(&peer->frontier_before, weak->self);
    if (!peer->frontier_known || peer->pushed < theirs || (stuck && peer->pushed > theirs)) {
        peer->pushed = theirs;
    }
    if (!peer->frontier_known) {
        peer->frontier_known = true;
        peer->backlog = crdt_frontier_get(&peer->frontier, (struct crdt_origin){peer->id, peer->writes_as});
    }
    peer->origin_told = true;
    origin_tick(node);
    push_to(node, peer);
    relay_to(node, peer, second_look);
    if (second_look || peer->frontier_before_us == 0) {
        peer->frontier_before = peer->frontier;
        peer->frontier_before_us = node->time.now_us;
    }
}

static void tell_gap(struct node *node, struct peer *peer, struct crdt_origin origin)
{
    if (weak_must_rejoin(node)) { // its rows are not to be taken over instead
        return;
    }
    peer_send_gap(node, peer, origin, crdt_frontier_get(&peer->frontier, origin) + 1);
    if (node->time.now_us >= peer->gap_told_us + GAP_TOLD_US) {
        peer->gap_told_us = node->time.now_us;
        node_fact(node, NODE_FACT_HISTORY_GAP, peer->id, origin.replica, origin.incarnation, NULL);
    }
}

void weak_fetched(struct node *node, const struct db_event *event)
{
    struct peer *peer = peer_find(node, event->peer);
    if (peer == NULL) {
        return;
    }
    peer->fetching = false;
    if (!peer->up) {
        peer->lacks.n = 0;
        return;
    }
    if (event->n_changes == 0) {
        tell_gap(node, peer, event->origin);
        relay_next(node, peer);
        return;
    }
    if (is_withheld(node, event->origin)) { // asked for before it was told
        relay_next(node, peer);
        return;
    }
    peer_send_changes(node, peer, event->changes, event->n_changes);
    struct crdt_change_set last;
    bool is_own = crdt_origin_compare(event->origin, node->weak.self) == 0;
    if (is_own && crdt_change_set_peek(event->changes[event->n_changes - 1], &last) == CC_OK && last.sequence > peer->pushed) {
        peer->pushed = last.sequence;
        push_to(node, peer);
    }
    relay_next(node, peer);
}

// What some member is known to hold of changes of an own origin.
static uint64_t own_known(const struct node *node, struct crdt_origin origin)
{
    uint64_t sequence = 0;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        uint64_t theirs = node->peers[i].member ? crdt_frontier_get(&node->peers[i].frontier, origin) : 0;
        sequence = theirs > sequence ? theirs : sequence;
    }
    return sequence;
}

bool weak_must_rejoin(const struct node *node)
{
    const struct weak *weak = &node->weak;
    return weak->too_old > 0 && (weak->too_old_gone || weak->too_old > own_known(node, weak->too_old_origin));
}

void weak_too_old(struct node *node, struct peer *peer, struct crdt_origin origin, uint64_t sequence)
{
    struct weak *weak = &node->weak;
    bool is_self = crdt_origin_compare(origin, weak->self) == 0;
    uint64_t last = is_self ? weak->next_sequence - 1 : crdt_frontier_get(&weak->frontier, origin);
    bool is_first = crdt_frontier_get(&peer->refuses, origin) <= crdt_frontier_get(&peer->frontier, origin);
    if (is_first && crdt_frontier_raise(&peer->refuses, origin, sequence) != CC_OK) {
        return; // too many origins
    }
    if (origin.replica != weak->self.replica || sequence > last || sequence <= own_known(node, origin) || weak_must_rejoin(node)) {
        return;
    }
    weak->too_old = sequence;
    weak->too_old_origin = origin;
    node_fact(node, NODE_FACT_REJOIN, peer->id, sequence, last, NULL);
}

// All of a peer's own changes that it had when it connected.
static bool holds_backlog(const struct peer *other, const struct peer *peer)
{
    const struct crdt_frontier *frontier = &peer->frontier;
    for (uint32_t i = origin_first_own(frontier, peer->id); i < frontier->n && frontier->at[i].origin.replica == peer->id; i++) {
        bool is_written = frontier->at[i].origin.incarnation == peer->writes_as;
        if (crdt_frontier_get(&other->frontier, frontier->at[i].origin) < (is_written ? peer->backlog : frontier->at[i].sequence)) {
            return false;
        }
    }
    return true;
}

// A replica that has lost all refuses nothing: it has forgotten what it had forgotten. What a member wrote while it was removed would be held
// by it, so nobody would write it again; and it would go from its rows when it takes over those of the others, who refuse it.
bool weak_doubts(const struct node *node, const struct peer *peer)
{
    if (recovery_is_over(node)) {
        return false;
    }
    bool is_held = false, alone = membership_n_voters(node) > 0;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *other = &node->peers[i];
        bool counts = other != peer && membership_votes(node, other->id);
        alone = alone && !counts;
        is_held = is_held || (counts && other->frontier_known && !other->recovering && holds_backlog(other, peer));
    }
    return !alone && !(is_held && peer->frontier_known);
}

void weak_put_frontier(const struct node *node, struct cc_buffer *frame)
{
    struct crdt_frontier frontier = node->weak.frontier;
    uint32_t n = 0;
    for (uint32_t i = 0; i < frontier.n; i++) {
        uint64_t known = is_withheld(node, frontier.at[i].origin) ? own_known(node, frontier.at[i].origin) : UINT64_MAX;
        uint64_t sequence = frontier.at[i].sequence < known ? frontier.at[i].sequence : known;
        if (sequence > 0) {
            frontier.at[n].origin = frontier.at[i].origin;
            frontier.at[n++].sequence = sequence;
        }
    }
    frontier.n = n;
    crdt_frontier_put(frame, &frontier);
}

uint64_t weak_missing_at(const struct node *node, const struct peer *peer)
{
    struct crdt_frontier mine;
    weak_held(node, &mine);
    uint64_t n = 0;
    for (uint32_t i = 0; i < mine.n; i++) {
        uint64_t theirs = crdt_frontier_get(&peer->frontier, mine.at[i].origin);
        n += mine.at[i].sequence > theirs ? mine.at[i].sequence - theirs : 0;
    }
    return n;
}
