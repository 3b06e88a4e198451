// Writes to strong tables on their way: queued here, sent to the leader, executed once, answered once.
//
// Whoever took the request from its client is responsible for it: it sends it again after a change of leader, under the same
// id. A new leader knows all ids of the log once the first entry of its term is committed, so nothing executes twice.
//
// A replica that the leader does not hear, that hears no leader, or that is no member any more sends its writes by way of another
// replica. That one only passes them and their answers on: it tries once, and what it cannot tell the first one asks for again.
#include "proxy/node/node_internal.h"

#include "base/hash.h"

#include <assert.h>
#include <stdlib.h>

enum { SILENT_INTERVALS = 3 }; // without a word from a replica: what it said does not count any more

static const unsigned pending_next[PENDING_STATES] = {
    [PENDING_QUEUED] = 1u << PENDING_SENT | 1u << PENDING_EXECUTING,
    [PENDING_SENT] = 1u << PENDING_QUEUED,
    [PENDING_EXECUTING] = 1u << PENDING_QUEUED | 1u << PENDING_LOGGED,
    [PENDING_LOGGED] = 1u << PENDING_QUEUED,
};

const uint32_t node_stage_limits_us[NODE_STAGE_BUCKETS] = {100,    250,    500,    1000,   2500,    5000,   10000,
                                                           25000, 50000, 100000, 250000, 1000000, 5000000};

static void queue_add(struct node *node, struct pending *pending)
{
    DL_APPEND(node->queue, pending);
    node->n_queued++;
    node->queued_bytes += pending->operation->n;
}

static void queue_remove(struct node *node, struct pending *pending)
{
    DL_DELETE(node->queue, pending);
    node->n_queued--;
    node->queued_bytes -= pending->operation->n;
}

static void stage_ended(struct node *node, struct pending *pending, enum node_stage stage)
{
    struct node_stage_times *times = &node->counters.stages[stage];
    uint64_t us = node->time.now_us - pending->since_us;
    times->n_all++;
    times->sum_us += us;
    for (size_t i = 0; i < NODE_STAGE_BUCKETS; i++) {
        if (us <= node_stage_limits_us[i]) {
            times->n[i]++;
            return;
        }
    }
}

void forward_move(struct node *node, struct pending *pending, enum pending_state state)
{
    assert(pending_next[pending->state] & 1u << state);
    if (pending->state == PENDING_QUEUED) {
        queue_remove(node, pending);
    }
    if (state == PENDING_EXECUTING) {
        stage_ended(node, pending, NODE_STAGE_QUEUE);
    } else if (state == PENDING_LOGGED) {
        stage_ended(node, pending, NODE_STAGE_EXECUTE);
    }
    pending->since_us = node->time.now_us;
    pending->state = state;
    if (state == PENDING_QUEUED) {
        queue_add(node, pending);
    }
}

struct pending *forward_find(struct node *node, const uint8_t id[OPERATION_ID_BYTES])
{
    struct pending *pending;
    HASH_FIND(hh, node->pendings, id, OPERATION_ID_BYTES, pending);
    return pending;
}

static void pending_free(struct node *node, struct pending *pending)
{
    if (pending->state == PENDING_QUEUED) {
        queue_remove(node, pending);
    }
    HASH_DEL(node->pendings, pending);
    cc_blob_unref(pending->operation);
    free(pending);
}

static void answer(struct node *node, const struct pending *pending, struct cc_slice outcome, uint64_t index)
{
    if (pending->answered) {
        return;
    }
    if (pending->peer == 0) {
        node_answer_outcome(node, pending->token, outcome, index);
    } else {
        peer_send_forward_reply(node, pending->peer, pending->id, index, outcome);
    }
}

void forward_finish(struct node *node, struct pending *pending, struct cc_slice outcome, uint64_t index)
{
    if (pending->state == PENDING_LOGGED) {
        stage_ended(node, pending, NODE_STAGE_REPLICATE);
    }
    answer(node, pending, outcome, index);
    pending_free(node, pending);
}

static void answer_now(struct node *node, uint64_t token, uint32_t peer, const uint8_t *id, struct cc_slice outcome, uint64_t index)
{
    if (peer == 0) {
        node_answer_outcome(node, token, outcome, index);
    } else {
        peer_send_forward_reply(node, peer, id, index, outcome);
    }
}

static struct cc_slice not_leader(struct node *node)
{
    return node_refusal(node, CC_NOT_LEADER, "CC201", "No leader could be reached in time: the write was not executed", "Try again");
}

// Writes have waited for long, though nothing but others like them is in the way: no election, no migration.
static bool queue_is_slow(const struct node *node)
{
    const struct strong *strong = &node->strong;
    bool migrates = strong->migrating || (strong->executing != NULL && strong->executing_migration);
    return strong->state == STRONG_LEAD && !migrates && node->queue != NULL && node->time.now_us - node->queue->since_us >= NODE_QUEUE_US_MAX;
}

static bool queue_is_full(const struct node *node, size_t n_bytes)
{
    return queue_is_slow(node) || node->n_queued >= CC_QUEUE_OPERATIONS_MAX || node->queued_bytes + n_bytes > CC_QUEUE_BYTES_MAX;
}

// As far as this replica has heard, from the leader or from anybody else: it may be deaf to the leader for long.
static uint64_t committed_somewhere(const struct node *node)
{
    uint64_t index = raft_commit(node->raft);
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        index = peer->member && peer->applied > index ? peer->applied : index;
    }
    return index;
}

static struct pending *pending_create(struct node *node, uint64_t token, uint32_t peer, const struct operation *operation, struct cc_slice bytes)
{
    struct pending *pending = cc_alloc(sizeof(*pending));
    memcpy(pending->id, operation->id, OPERATION_ID_BYTES);
    pending->operation = cc_blob_create(bytes.data, bytes.n);
    pending->since_us = node->time.now_us;
    pending->deadline_us = node->time.now_us + operation->timeout_ms * 1000ull;
    pending->token = token;
    pending->peer = peer;
    pending->after = operation->after;
    if (peer == 0) {
        pending->after = committed_somewhere(node);
        operation_set_after(pending->operation->data, pending->operation->n, pending->after);
    }
    pending->schema_version = operation->schema_version;
    pending->migration = operation->kind == OPERATION_MIGRATION;
    HASH_ADD(hh, node->pendings, id, OPERATION_ID_BYTES, pending);
    queue_add(node, pending);
    return pending;
}

static void send_to(struct node *node, struct peer *peer, struct pending *pending)
{
    peer_send_forward(node, peer, pending);
    forward_move(node, pending, PENDING_SENT);
    pending->sent_to = peer->id;
    pending->uncertain_before = pending->uncertain;
    pending->uncertain = true;
    node->counters.counters.forwards++;
}

static bool is_reachable(const struct peer *peer)
{
    return peer != NULL && peer->up && peer->refused == NULL && !peer->deaf;
}

// The leader, if it can be asked.
static struct peer *leader_of(struct node *node)
{
    struct peer *leader = peer_find(node, raft_leader(node->raft)); // this replica is no peer of itself
    return membership_has_self(node) && is_reachable(leader) ? leader : NULL;
}

bool forward_relays(struct node *node)
{
    return !node->stopping && (raft_role(node->raft) == RAFT_LEADER || leader_of(node) != NULL);
}

// Who leads or knows a leader, as far as it has said lately.
static struct peer *relay_of(struct node *node)
{
    struct peer *relay = NULL;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        struct peer *peer = &node->peers[i];
        bool is_heard = node->time.now_us - peer->heard_us < SILENT_INTERVALS * node->options.frontier_interval_us;
        if (is_reachable(peer) && is_heard && peer->relays && (relay == NULL || peer->role == RAFT_LEADER)) {
            relay = peer;
        }
    }
    return relay;
}

// Where this replica's writes go; NULL: nowhere for now.
static struct peer *way_of(struct node *node)
{
    struct peer *leader = leader_of(node);
    if (leader != NULL) {
        node->leader_reached_us = node->time.now_us;
        return leader;
    }
    const struct peer *known = peer_find(node, raft_leader(node->raft));
    bool is_cut_off = (known != NULL && known->deaf) || !node->members.has_self;
    bool is_election = !is_cut_off && node->time.now_us - node->leader_reached_us < 2 * node->options.raft.election_us;
    return is_election ? NULL : relay_of(node);
}

// A write for the leader comes from another replica, though this one does not lead. False: not from here.
static bool relay(struct node *node, uint32_t from, uint8_t flags, const struct operation *operation, struct cc_slice bytes)
{
    struct peer *leader = leader_of(node);
    if ((flags & FORWARD_RELAYED) != 0 || node->stopping || leader == NULL || leader->id == from) {
        return false;
    }
    struct pending *pending = pending_create(node, 0, from, operation, bytes);
    pending->relayed = true;
    // It may be held up here while its sender asks elsewhere: the leader must not take it for one that nobody has executed.
    pending->uncertain = true;
    send_to(node, leader, pending);
    return true;
}

void forward_submit(struct node *node, uint64_t token, uint32_t peer, uint8_t flags, const struct operation *operation,
                    struct cc_slice bytes)
{
    struct pending *pending = forward_find(node, operation->id);
    if (pending != NULL) { // sent again over a new connection: answer there
        pending->token = token;
        pending->peer = peer;
        pending->uncertain = pending->uncertain || (flags & FORWARD_UNCERTAIN) != 0;
        pending->deadline_us = node->time.now_us + operation->timeout_ms * 1000ull;
        pending->answered = false;
        return;
    }
    if (peer != 0 && (raft_role(node->raft) != RAFT_LEADER || node->stopping)) {
        if (!relay(node, peer, flags, operation, bytes)) {
            answer_now(node, token, peer, operation->id, not_leader(node), 0);
        }
        return;
    }
    struct cc_slice no_space = log_refusal(node);
    if (no_space.n > 0) {
        answer_now(node, token, peer, operation->id, no_space, 0);
        return;
    }
    if (queue_is_full(node, bytes.n)) {
        struct cc_slice refusal = node_refusal(node, CC_UNAVAILABLE, "CC202", "Too many writes are waiting: the write was not executed",
                                               "Try again later or at a lower rate");
        answer_now(node, token, peer, operation->id, refusal, 0);
        return;
    }
    pending = pending_create(node, token, peer, operation, bytes);
    pending->uncertain = (flags & FORWARD_UNCERTAIN) != 0;
    if (peer == 0) {
        node->counters.counters.strong_writes++;
        forward_pump(node);
    }
}

void forward_pump(struct node *node)
{
    if (raft_role(node->raft) == RAFT_LEADER) {
        return;
    }
    struct peer *way = way_of(node);
    struct pending *pending, *next;
    DL_FOREACH_SAFE(node->queue, pending, next)
    {
        if (way != NULL && pending->peer == 0 && pending->retry_us <= node->time.now_us) {
            send_to(node, way, pending);
        }
    }
}

static void ask_again(struct node *node, struct pending *pending)
{
    pending->retry_us = node->time.now_us + NODE_HOUSEKEEPING_US;
    forward_move(node, pending, PENDING_QUEUED);
}

void forward_reply(struct node *node, uint32_t peer, struct cc_slice body)
{
    struct cc_reader reader = cc_reader_of(body);
    struct cc_slice id = cc_read_bytes(&reader, OPERATION_ID_BYTES);
    uint64_t index = cc_read_u64(&reader);
    struct cc_slice bytes = cc_read_string(&reader);
    struct rest_outcome outcome;
    if (cc_reader_end(&reader) != CC_OK || rest_outcome_read(bytes, &outcome) != CC_OK) {
        return;
    }
    struct pending *pending = forward_find(node, id.data);
    bool is_final = outcome.kind != REST_REFUSED && outcome.kind != REST_UNKNOWN;
    if (pending != NULL && pending->state == PENDING_QUEUED && is_final) { // asked before the leader was lost: what is committed is
        forward_finish(node, pending, bytes, index);
        return;
    }
    if (pending == NULL || pending->state != PENDING_SENT || pending->sent_to != peer) {
        return;
    }
    if (outcome.kind == REST_UNKNOWN && outcome.status == CC_NOT_LEADER && !pending->relayed) {
        ask_again(node, pending);
        return;
    }
    if (outcome.kind == REST_REFUSED && !pending->relayed) {
        // This attempt was not executed; an earlier one may have been, then only asking again can tell.
        pending->uncertain = pending->uncertain_before;
        if (outcome.status == CC_NOT_LEADER || pending->uncertain) {
            ask_again(node, pending);
            return;
        }
    }
    forward_finish(node, pending, bytes, index);
}

// Puts writes back into the queue that were executing or logged here. Forwarded ones are their sender's concern.
static void requeue(struct node *node, struct pending *pending, bool uncertain)
{
    if (pending->answered) {
        pending_free(node, pending);
        return;
    }
    pending->uncertain = pending->uncertain || uncertain;
    forward_move(node, pending, PENDING_QUEUED);
    node->counters.counters.requeues++;
}

static void leave_to_sender(struct node *node, struct pending *pending)
{
    bool is_open = pending->state == PENDING_LOGGED || pending->state == PENDING_SENT;
    answer(node, pending, is_open ? node_ask_again(node) : not_leader(node), 0);
    pending_free(node, pending);
}

// Whom it was sent to does not answer any more.
static void take_back(struct node *node, struct pending *pending)
{
    if (pending->relayed && raft_role(node->raft) != RAFT_LEADER) {
        leave_to_sender(node, pending);
        return;
    }
    pending->relayed = false;
    forward_move(node, pending, PENDING_QUEUED);
}

void forward_requeue(struct node *node, const uint8_t *ids, size_t n, bool uncertain)
{
    for (size_t i = 0; i < n; i++) {
        struct pending *pending = forward_find(node, ids + i * OPERATION_ID_BYTES);
        if (pending != NULL && pending->state == PENDING_EXECUTING) {
            requeue(node, pending, uncertain);
        }
    }
    if (n > 0) {
        node_fact(node, NODE_FACT_REQUEUED, n, 0, 0, NULL);
    }
}

void forward_leader_changed(struct node *node)
{
    bool leads = raft_role(node->raft) == RAFT_LEADER;
    struct pending *pending, *next;
    for (pending = node->pendings; pending != NULL; pending = next) {
        next = pending->hh.next;
        if (pending->state == PENDING_SENT && pending->sent_to != raft_leader(node->raft)) {
            take_back(node, pending);
        } else if (!leads && pending->peer != 0 && !pending->relayed) {
            leave_to_sender(node, pending);
        } else if (!leads && pending->state == PENDING_LOGGED) {
            requeue(node, pending, true);
        }
    }
    forward_pump(node);
}

void forward_peer_lost(struct node *node, uint32_t peer)
{
    struct pending *pending, *next;
    for (pending = node->pendings; pending != NULL; pending = next) {
        next = pending->hh.next;
        if (pending->state == PENDING_SENT && pending->sent_to == peer) {
            take_back(node, pending);
        }
    }
}

void forward_refuse_queued(struct node *node)
{
    struct pending *pending, *next;
    DL_FOREACH_SAFE(node->queue, pending, next)
    {
        if (pending->peer == 0 && !pending->uncertain) {
            forward_finish(node, pending, node_not_a_member(node), 0);
        }
    }
}

void forward_deadlines(struct node *node)
{
    struct pending *pending, *next;
    for (pending = node->pendings; pending != NULL; pending = next) {
        next = pending->hh.next;
        if (node->time.now_us < pending->deadline_us) {
            continue;
        }
        if (pending->state == PENDING_EXECUTING || pending->state == PENDING_LOGGED) {
            // Sent again meanwhile, it must not be taken for a new one.
            answer(node, pending, cc_mutant(CC_MUTANT_LOGGED_REFUSED) ? not_leader(node) : node_unknown(node), 0);
            pending->answered = true;
            pending->deadline_us = UINT64_MAX;
        } else if (pending->uncertain) {
            forward_finish(node, pending, node_unknown(node), 0);
        } else {
            struct cc_slice refusal = node_refusal(node, CC_UNAVAILABLE, "CC201",
                                                   "No leader could be reached in time: the write was not executed", "Try again");
            forward_finish(node, pending, refusal, 0);
        }
    }
}

// -- Memory of what was executed -------------------------------------------------------------------------------------

static struct executed **executed_bucket(struct node *node, const uint8_t id[OPERATION_ID_BYTES])
{
    static const uint8_t hash_key[16] = {3};
    return &node->executed_by_id[cc_siphash(hash_key, id, OPERATION_ID_BYTES) % node->options.request_buckets];
}

static struct executed *executed_in(struct executed *bucket, const uint8_t id[OPERATION_ID_BYTES])
{
    while (bucket != NULL && memcmp(bucket->id, id, OPERATION_ID_BYTES) != 0) {
        bucket = bucket->next_alike;
    }
    return bucket;
}

static void forget_oldest(struct node *node)
{
    struct executed *oldest = node->executed;
    node->forgotten = oldest->index > node->forgotten ? oldest->index : node->forgotten;
    struct executed **at = executed_bucket(node, oldest->id);
    while (*at != oldest) {
        at = &(*at)->next_alike;
    }
    *at = oldest->next_alike;
    node->executed = oldest->next;
    node->n_executed--;
    free(oldest);
}

void forward_remember(struct node *node, const uint8_t id[OPERATION_ID_BYTES], struct cc_slice outcome, uint64_t hlc, uint64_t index)
{
    struct executed **bucket = executed_bucket(node, id);
    if (executed_in(*bucket, id) != NULL) {
        return;
    }
    struct executed *executed = cc_alloc(sizeof(*executed) + outcome.n);
    memcpy(executed->id, id, OPERATION_ID_BYTES);
    executed->hlc = hlc;
    executed->index = index;
    executed->n_outcome = outcome.n;
    if (outcome.n > 0) {
        memcpy(executed->outcome, outcome.data, outcome.n);
    }
    executed->next_alike = *bucket;
    *bucket = executed;
    *(node->executed == NULL ? &node->executed : &node->executed_last->next) = executed;
    node->executed_last = executed;
    node->n_executed++;
    uint64_t window_ms = node->options.request_window_us / 1000;
    while (node->n_executed > CC_REQUEST_WINDOW ||
           clock_hlc_ms(node->executed->hlc) + window_ms < clock_hlc_ms(hlc)) {
        forget_oldest(node);
    }
}

const struct executed *forward_executed(struct node *node, const uint8_t id[OPERATION_ID_BYTES])
{
    return executed_in(*executed_bucket(node, id), id);
}

void forward_init(struct node *node)
{
    node->executed_by_id = cc_alloc_array(node->options.request_buckets, sizeof(struct executed *));
}

void forward_finish_all(struct node *node)
{
    struct pending *pending, *next;
    for (pending = node->pendings; pending != NULL; pending = next) {
        next = pending->hh.next;
        pending_free(node, pending);
    }
    while (node->executed != NULL) {
        forget_oldest(node);
    }
    free(node->executed_by_id);
}
