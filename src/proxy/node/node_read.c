// Linearizable reads: one ReadIndex for all reads of a turn (thesis 6.4), then wait until this database has committed it. Of weak
// tables: the frontiers of a majority, then wait until this database holds all that they say.
#include "proxy/node/node_internal.h"

#include <stdlib.h>

enum { GONE_PATIENCE_US = 5 * 1000 * 1000 }; // what nobody tells may be on its way into a database

static struct read_group *group_create(struct node *node)
{
    struct read_group *group = cc_alloc(sizeof(*group));
    group->context = ++node->next_context;
    group->since_us = node->time.now_us;
    return group;
}

static void group_free(struct read_group *group)
{
    free(group->waiters.at);
    free(group->frontier);
    free(group);
}

static void refuse(struct node *node, uint64_t token)
{
    struct cc_slice refusal;
    if (node->strong.state == STRONG_HALTED) {
        refusal = node_refusal(node, CC_UNAVAILABLE, "CC204", node->strong.halted, "Read at another replica");
    } else if (!node->members.has_self) {
        refusal = node_not_a_member(node);
    } else {
        refusal = node_refusal(node, CC_UNAVAILABLE, "CC209", "This replica could not make sure in time that it has what the request must see: nothing was executed",
                               "Try again, use another replica, or read with Prefer: consistency=local");
    }
    node_answer_outcome(node, token, refusal, 0);
}

static bool is_out_of_service(const struct node *node)
{
    return node->strong.state == STRONG_HALTED || !node->members.has_self;
}

// Every member, this one too, has told what it holds since the group began to wait.
static bool all_have_told(const struct node *node, const struct read_group *group)
{
    bool all = node->weak.up && !weak_is_replaying(node) && recovery_is_over(node) && node->renewal.state == RENEWAL_IDLE &&
               node->time.now_us >= group->since_us + GONE_PATIENCE_US;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        bool told = peer->up && peer->refused == NULL && peer->frontier_known && peer->origin_told && peer->database_up && !peer->recovering;
        all = all && (!peer->member || told);
    }
    return all;
}

// Nobody writes as this origin any more. Incarnations are drawn at random: which one is later they do not tell.
static bool is_over(const struct node *node, struct crdt_origin origin)
{
    if (origin.replica == node->options.raft.id) {
        return origin.incarnation != node->weak.self.incarnation;
    }
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        if (peer->id == origin.replica) {
            return peer->member && origin.incarnation != peer->writes_as;
        }
    }
    return false;
}

static bool is_held(const struct node *node, struct crdt_origin origin, uint64_t sequence)
{
    bool held = crdt_frontier_get(&node->weak.frontier, origin) >= sequence;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        held = held || (node->peers[i].member && crdt_frontier_get(&node->peers[i].frontier, origin) >= sequence);
    }
    return held;
}

// The session has seen weak writes of a life that is over, and no member has them: they were lost, or written again under other numbers.
static bool waits_for_what_is_gone(const struct node *node, const struct read_group *group)
{
    if (group->frontier == NULL || !all_have_told(node, group)) {
        return false;
    }
    for (uint32_t i = 0; i < group->frontier->n; i++) {
        struct crdt_origin origin = group->frontier->at[i].origin;
        uint64_t sequence = group->frontier->at[i].sequence;
        if (is_over(node, origin) && !is_held(node, origin, sequence)) {
            return true;
        }
    }
    return false;
}

static void refuse_waiter(struct node *node, uint64_t token, bool gone)
{
    if (gone) {
        node_answer_outcome(node, token,
                            node_refusal(node, CC_REFUSED, "CC218", "The session has seen weak writes that no member has any more: they were lost, or written again by a new life of their replica",
                                         "Begin a new session: send no Caucus-Session, and go on with the one in the answer"), 0);
    } else {
        refuse(node, token);
    }
}

static void ask(struct node *node, struct read_group *group)
{
    group->asked_us = node->time.now_us;
    raft_read(node->raft, node->time.now_us, group->context);
}

// What a session has seen was committed before: if a majority knows less, the whole cluster was set back, and waiting would not help.
static void doubt(struct node *node, struct read_group *group)
{
    if (group->index > raft_commit(node->raft)) {
        ask(node, group);
    }
}

static void refuse_from_future(struct node *node, struct read_group *group)
{
    for (size_t i = 0; i < group->waiters.n; i++) {
        node_answer_outcome(node, group->waiters.at[i].token,
                            node_refusal(node, CC_REFUSED, "CC218", "The session token has seen more than there is: the cluster was set back",
                                         "Begin a new session: send no Caucus-Session, and go on with the one in the answer"), 0);
    }
    node->n_reads -= (uint32_t)group->waiters.n;
    DL_DELETE(node->waiting, group);
    group_free(group);
}

// -- What a majority holds of weak tables --------------------------------------------------------------------------------

static bool has_heard(const struct read_group *group, uint32_t id)
{
    for (uint32_t i = 0; i < group->n_heard; i++) {
        if (group->heard[i] == id) {
            return true;
        }
    }
    return false;
}

static void ask_peers(struct node *node, struct read_group *group)
{
    group->asked_us = node->time.now_us;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        struct peer *peer = &node->peers[i];
        if (peer->up && membership_votes(node, peer->id) && !has_heard(group, peer->id)) {
            peer_ask_frontier(node, peer, group->context);
        }
    }
}

static void hear(struct read_group *group, uint32_t id, const struct crdt_frontier *frontier)
{
    if (crdt_frontier_join(group->frontier, frontier) != CC_OK) {
        return; // more origins than a frontier has places: such a change cannot be held here either
    }
    if (!has_heard(group, id) && group->n_heard < CC_REPLICAS_MAX) {
        group->heard[group->n_heard++] = id;
    }
}

// While this database is away nobody knows what it holds, though it may be what a majority has confirmed.
static void hear_self(const struct node *node, struct read_group *group)
{
    bool knows = recovery_is_over(node) || cc_mutant(CC_MUTANT_FORGOTTEN_COUNTS);
    if (node->weak.up && knows && !has_heard(group, node->options.raft.id)) {
        struct crdt_frontier frontier;
        weak_acknowledged(node, &frontier);
        hear(group, node->options.raft.id, &frontier);
    }
}

static bool heard_majority(const struct node *node, const struct read_group *group)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < group->n_heard; i++) {
        n += membership_votes(node, group->heard[i]);
    }
    return n > membership_n_voters(node) / 2;
}

static void wait_if_heard(struct node *node)
{
    struct read_group *group, *next;
    DL_FOREACH_SAFE(node->hearing, group, next)
    {
        hear_self(node, group);
        if (heard_majority(node, group)) {
            DL_DELETE(node->hearing, group);
            DL_APPEND(node->waiting, group);
        }
    }
}

// -- Asked for -----------------------------------------------------------------------------------------------------------

static void submit_wish(struct node *node, const struct read_waiter *waiter, const struct read_wish *wish)
{
    struct read_group *group = group_create(node);
    node->weak.read_us = wish->frontier == NULL || wish->writes ? node->weak.read_us : node->time.now_us;
    group->index = wish->index;
    group->writes = wish->writes;
    NODE_PUSH(group->waiters, *waiter);
    if (wish->frontier != NULL) {
        group->frontier = cc_alloc(sizeof(*group->frontier));
        *group->frontier = *wish->frontier;
    }
    if (wish->frontier != NULL && wish->heard) {
        DL_APPEND(node->hearing, group);
        ask_peers(node, group);
        read_applied(node);
        return;
    }
    DL_APPEND(node->waiting, group);
    doubt(node, group);
}

// False: refused.
static bool take_on(struct node *node, uint64_t token, uint32_t timeout_ms, struct read_waiter *waiter_out)
{
    if (node->n_reads >= CC_READS_WAITING_MAX || is_out_of_service(node)) {
        refuse(node, token);
        return false;
    }
    *waiter_out = (struct read_waiter){token, node->time.now_us + timeout_ms * 1000ull};
    node->n_reads++;
    node->counters.counters.reads++;
    return true;
}

void read_submit(struct node *node, uint64_t token, const struct read_wish *wish, uint32_t timeout_ms)
{
    struct read_waiter waiter;
    if (!take_on(node, token, timeout_ms, &waiter)) {
        return;
    }
    bool only_weak = wish->index == 0 && wish->frontier != NULL;
    node->read_us = only_weak ? node->read_us : node->time.now_us;
    if (wish->index > 0 || wish->frontier != NULL) {
        submit_wish(node, &waiter, wish);
        return;
    }
    if (node->fresh == NULL) {
        node->fresh = group_create(node);
    }
    NODE_PUSH(node->fresh->waiters, waiter);
}

// -- Weak tables -----------------------------------------------------------------------------------------------------

void read_submit_weak(struct node *node, uint64_t token, uint32_t timeout_ms)
{
    struct read_waiter waiter;
    if (!take_on(node, token, timeout_ms, &waiter)) {
        return;
    }
    if (node->fresh_weak == NULL) {
        node->fresh_weak = group_create(node);
    }
    node->weak.read_us = node->time.now_us;
    NODE_PUSH(node->fresh_weak->waiters, waiter);
}

void read_told(struct node *node, uint32_t peer, uint64_t context, const struct crdt_frontier *frontier)
{
    struct read_group *group;
    DL_FOREACH(node->hearing, group)
    {
        if (group->context == context) {
            break;
        }
    }
    if (group == NULL) {
        return;
    }
    hear(group, peer, frontier);
    read_applied(node);
}

static void flush_weak(struct node *node)
{
    struct read_group *group = node->fresh_weak;
    if (group == NULL) {
        return;
    }
    node->fresh_weak = NULL;
    group->frontier = cc_alloc(sizeof(*group->frontier));
    DL_APPEND(node->hearing, group);
    ask_peers(node, group);
    read_applied(node);
}

// --------------------------------------------------------------------------------------------------------------------

void read_flush(struct node *node)
{
    flush_weak(node);
    if (node->fresh == NULL) {
        return;
    }
    struct read_group *group = node->fresh;
    node->fresh = NULL;
    DL_APPEND(node->asking, group);
    ask(node, group);
}

static void session_doubted(struct node *node, const struct raft_read_result *result)
{
    struct read_group *group, *next;
    DL_FOREACH_SAFE(node->waiting, group, next)
    {
        if (group->context == result->context && result->index > 0 && result->index < group->index) {
            refuse_from_future(node, group);
        }
    }
}

void read_result(struct node *node, const struct raft_read_result *result)
{
    struct read_group *group;
    DL_FOREACH(node->asking, group)
    {
        if (group->context == result->context) {
            break;
        }
    }
    if (group == NULL) {
        session_doubted(node, result);
        return;
    }
    if (result->index == 0) {
        group->asked_us = 0; // asked again by the next housekeeping
        return;
    }
    DL_DELETE(node->asking, group);
    group->index = result->index;
    DL_APPEND(node->waiting, group);
    read_applied(node);
}

static void answer_group(struct node *node, struct read_group *group)
{
    struct cc_buffer frontier = {0};
    if (group->frontier != NULL) {
        crdt_frontier_put(&frontier, group->frontier);
    }
    struct cc_slice copy = node_copy(node, cc_buffer_slice(&frontier));
    cc_buffer_finish(&frontier);
    for (size_t i = 0; i < group->waiters.n; i++) {
        struct node_answer answer = {.token = group->waiters.at[i].token,
                                     .kind = NODE_ANSWER_READ,
                                     .index = group->index,
                                     .schema_version = node->strong.schema_version,
                                     .frontier = cc_mutant(CC_MUTANT_READ_UNBOUND) ? (struct cc_slice){0} : copy};
        NODE_PUSH(node->out->answers, answer);
    }
    node->n_reads -= (uint32_t)group->waiters.n;
}

static bool holds(const struct node *node, const struct read_group *group)
{
    if (!group->writes) {
        return node->weak.up && crdt_frontier_covers(&node->weak.frontier, group->frontier);
    }
    struct crdt_frontier held;
    weak_acknowledged(node, &held);
    return node->weak.up && crdt_frontier_covers(&held, group->frontier);
}

// This database holds what the group waits for.
static bool is_reached(const struct node *node, const struct read_group *group)
{
    const struct strong *strong = &node->strong;
    bool has_log = strong->state != STRONG_DOWN && strong->state != STRONG_HALTED && group->index <= strong->applied;
    has_log = has_log || cc_mutant(CC_MUTANT_READ_UNAPPLIED);
    bool has_changes = group->frontier == NULL || cc_mutant(CC_MUTANT_SESSION_IGNORED) || holds(node, group);
    return (group->index == 0 || has_log) && has_changes;
}

void read_applied(struct node *node)
{
    struct read_group *group, *next;
    wait_if_heard(node);
    DL_FOREACH_SAFE(node->waiting, group, next)
    {
        if (is_reached(node, group)) {
            DL_DELETE(node->waiting, group);
            answer_group(node, group);
            group_free(group);
        }
    }
}

bool read_wants_commit(const struct node *node, uint64_t applied)
{
    const struct read_group *group;
    DL_FOREACH(node->waiting, group)
    {
        if (group->index > applied) {
            return true;
        }
    }
    return false;
}

bool read_was_asked_lately(const struct node *node)
{
    return node->read_us != 0 && node->time.now_us - node->read_us < NODE_GATHER_US;
}

bool read_wants_merge(const struct node *node)
{
    const struct read_group *group;
    DL_FOREACH(node->waiting, group)
    {
        if (group->frontier != NULL) {
            return true;
        }
    }
    return false;
}

static void drop_late(struct node *node, struct read_group *group)
{
    size_t n_kept = 0;
    bool gone = !is_out_of_service(node) && waits_for_what_is_gone(node, group);
    for (size_t i = 0; i < group->waiters.n; i++) {
        struct read_waiter waiter = group->waiters.at[i];
        if (node->time.now_us >= waiter.deadline_us || is_out_of_service(node) || gone) {
            refuse_waiter(node, waiter.token, gone);
            node->n_reads--;
        } else {
            group->waiters.at[n_kept++] = waiter;
        }
    }
    group->waiters.n = n_kept;
}

// again: what a group does whose question, or the answer to it, was lost.
static void sweep(struct node *node, struct read_group **groups, void (*again)(struct node *node, struct read_group *group))
{
    struct read_group *group, *next;
    DL_FOREACH_SAFE(*groups, group, next)
    {
        drop_late(node, group);
        if (group->waiters.n == 0) {
            DL_DELETE(*groups, group);
            group_free(group);
        } else if (node->time.now_us >= group->asked_us + node->options.raft.election_us * 2) {
            again(node, group);
        }
    }
}

void read_deadlines(struct node *node)
{
    sweep(node, &node->asking, ask); // there may have been no leader
    sweep(node, &node->hearing, ask_peers);
    sweep(node, &node->waiting, doubt);
}

static void free_all(struct read_group **groups)
{
    struct read_group *group, *next;
    DL_FOREACH_SAFE(*groups, group, next)
    {
        DL_DELETE(*groups, group);
        group_free(group);
    }
}

void read_finish_all(struct node *node)
{
    free_all(&node->asking);
    free_all(&node->waiting);
    free_all(&node->hearing);
    if (node->fresh_weak != NULL) {
        group_free(node->fresh_weak);
        node->fresh_weak = NULL;
    }
    if (node->fresh != NULL) {
        group_free(node->fresh);
        node->fresh = NULL;
    }
}
