// Members of the cluster: what the log's configuration says is what holds. The leader changes it one member at a time and promotes
// learners that keep up.
#include "proxy/node/node_internal.h"

#include <stdlib.h>

enum {
    LAG_US_MAX = 1000 * 1000, // a learner that is further behind is not promoted
    LEAD_CHECK_US = 100 * 1000,
};

enum cc_status membership_restore(struct node *node, struct cc_slice body)
{
    uint64_t index;
    struct raft_membership membership;
    enum cc_status status = wal_read_membership(body, &index, &membership);
    if (status == CC_OK) {
        raft_restore_membership(node->raft, index, &membership);
        node->members.written = index;
    }
    return status;
}

bool membership_has_self(const struct node *node)
{
    uint32_t self = node->options.raft.id;
    if (raft_member_find(raft_membership(node->raft), self) != NULL) {
        return node->members.removed_at <= raft_membership_index(node->raft);
    }
    uint64_t index;
    return raft_member_find(raft_membership_committed(node->raft, &index), self) != NULL && node->members.removed_at <= index;
}

// Of the committed members: a change that is not committed may be lost again.
static const struct raft_membership *committed_members(const struct node *node)
{
    uint64_t index;
    return raft_membership_committed(node->raft, &index);
}

bool membership_votes(const struct node *node, uint32_t id)
{
    const struct raft_member *member = raft_member_find(committed_members(node), id);
    return member != NULL && member->voter;
}

uint32_t membership_n_voters(const struct node *node)
{
    const struct raft_membership *membership = committed_members(node);
    uint32_t n = 0;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        n += membership->members[i].voter;
    }
    return n;
}

bool membership_is_alone(const struct node *node)
{
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].member) {
            return false;
        }
    }
    return true;
}

// -- Following the configuration -------------------------------------------------------------------------------------

static bool is_listed(const struct node *node, uint32_t id)
{
    uint64_t index;
    return raft_member_find(raft_membership(node->raft), id) != NULL ||
           raft_member_find(raft_membership_committed(node->raft, &index), id) != NULL;
}

// One that is no member any more stays a peer while its connection lasts: its clients' writes under way are answered, and the
// weak changes that only it has come over.
static bool may_stay(struct node *node, struct peer *peer)
{
    bool was_member = peer->member;
    peer->member = is_listed(node, peer->id);
    if (peer->member) {
        return true;
    }
    if (peer->up && was_member && membership_has_self(node)) {
        peer_send_removed(node, peer->id, node->members.committed);
    }
    if (!peer->up) {
        forward_peer_lost(node, peer->id);
    }
    return peer->up;
}

// Members are those of the membership in force, and until a change is committed also those that it takes away.
static void follow_members(struct node *node)
{
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (may_stay(node, &node->peers[i])) {
            node->peers[n_kept++] = node->peers[i];
        }
    }
    node->n_peers = n_kept;
    const struct raft_membership *membership = raft_membership(node->raft);
    for (uint32_t i = 0; i < membership->n_members; i++) {
        uint32_t id = membership->members[i].id;
        if (id != node->options.raft.id && peer_find(node, id) == NULL && node->n_peers < NODE_PEERS_MAX) {
            node->peers[node->n_peers++] = (struct peer){.id = id, .member = true};
        }
    }
    node->out->members_changed = true;
}

bool membership_is_before(const struct member *a, const struct member *b)
{
    char host[MEMBER_ADDRESS_BYTES];
    uint32_t port_a = 0, port_b = 0;
    if (member_address_split(a->http, host, &port_a) != CC_OK || member_address_split(b->http, host, &port_b) != CC_OK) {
        return false;
    }
    return port_a < port_b || (port_a == port_b && a->id < b->id);
}

// The lowest port is first in line to lead. Where the log does not tell the addresses, config.json has done.
static void follow_rank(struct node *node)
{
    const struct raft_membership *membership = raft_membership(node->raft);
    const struct raft_member *own = raft_member_find(membership, node->options.raft.id);
    struct member self, other;
    if (own == NULL || member_read(own, &self) != CC_OK) {
        return;
    }
    uint32_t rank = 0;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        rank += membership->members[i].voter && member_read(&membership->members[i], &other) == CC_OK && membership_is_before(&other, &self);
    }
    raft_set_rank(node->raft, rank);
}

void membership_refresh(struct node *node)
{
    struct members *members = &node->members;
    uint64_t index = raft_membership_index(node->raft);
    uint64_t term = raft_term_at(node->raft, index);
    uint64_t committed;
    const struct raft_membership *known = raft_membership_committed(node->raft, &committed);
    if (members->known && index == members->index && term == members->term && committed == members->committed) {
        return;
    }
    members->known = true;
    members->index = index;
    members->term = term;
    members->committed = committed;
    if (committed > members->written) { // before its entry can be cut off the log
        wal_put_membership(&node->out->log, committed, known);
        members->written = committed;
    }
    follow_members(node);
    follow_rank(node);
    bool has_self = membership_has_self(node);
    if (has_self != members->has_self) {
        members->has_self = has_self;
        node->out->members_changed = true;
        node_update_eligible(node);
    }
    if (has_self && members->removed_at > 0) { // it was taken back
        members->removed_at = 0;
        node->out->removed_changed = true;
    }
    node_fact(node, NODE_FACT_MEMBERS, known->n_members, committed, index, NULL);
}

void membership_removed(struct node *node, uint64_t index)
{
    struct members *members = &node->members;
    if (!members->has_self) {
        return; // it knows, or is not one yet
    }
    members->removed_at = index;
    members->has_self = membership_has_self(node);
    if (members->has_self) { // the others' log is behind ours
        members->removed_at = 0;
        return;
    }
    node->out->removed_changed = true;
    node->out->members_changed = true;
    node_update_eligible(node);
    node_fact(node, NODE_FACT_REMOVED, members->removed_at, 0, 0, NULL);
    forward_refuse_queued(node);
    read_deadlines(node);
}

// -- Changes, on the leader ------------------------------------------------------------------------------------------

bool membership_hears(const struct node *node, uint32_t id)
{
    struct raft_progress progress;
    return id == node->options.raft.id || (raft_progress_of(node->raft, id, &progress) == CC_OK && progress.heard_us > 0 &&
                                           node->time.now_us - progress.heard_us < node->options.raft.election_us * 2);
}

// One that recovers from the loss of its log, or has not said yet whether it does, has no vote: as a voter it would only make the
// majority greater that the others need.
static bool can_vote(struct node *node, uint32_t id)
{
    const struct peer *peer = peer_find(node, id);
    if (id == node->options.raft.id) {
        return recovery_is_over(node);
    }
    return peer != NULL && peer->up && !peer->recovering && (peer->used || peer->fresh);
}

// After the change a majority must be there, or nothing could be committed any more.
static bool has_majority(struct node *node, const struct raft_membership *membership)
{
    uint32_t n_voters = 0, n_heard = 0;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        if (membership->members[i].voter) {
            n_voters++;
            n_heard += membership_hears(node, membership->members[i].id) && can_vote(node, membership->members[i].id);
        }
    }
    return n_voters > 0 && n_heard > n_voters / 2;
}

static enum cc_status refuse(enum cc_status status, const char *why, const char **why_out)
{
    *why_out = why;
    return status;
}

// Another member that has the same address or key.
static bool is_taken(const struct raft_membership *membership, const struct member *wanted)
{
    for (uint32_t i = 0; i < membership->n_members; i++) {
        struct member other;
        if (membership->members[i].id == wanted->id || member_read(&membership->members[i], &other) != CC_OK) {
            continue;
        }
        if (strcmp(other.http, wanted->http) == 0 || strcmp(other.peer, wanted->peer) == 0 ||
            memcmp(other.public_key, wanted->public_key, sizeof(other.public_key)) == 0) {
            return true;
        }
    }
    return false;
}

static enum cc_status change_add(struct raft_membership *next, const struct member *wanted, const char **why_out)
{
    const struct raft_member *present = raft_member_find(next, wanted->id);
    struct member member = *wanted;
    member.voter = present != NULL && present->voter;
    if (is_taken(next, &member)) {
        return refuse(CC_EXISTS, "another member has that http address, peer address or key", why_out);
    }
    if (present == NULL && next->n_members == CC_REPLICAS_MAX) {
        return refuse(CC_INVALID, "the cluster has as many members as it can have", why_out);
    }
    size_t at = present == NULL ? next->n_members++ : (size_t)(present - next->members);
    member_put(&member, &next->members[at]);
    return CC_OK;
}

static enum cc_status plan_change(struct node *node, const struct node_member_change *change, struct raft_membership *next,
                                  const char **why_out)
{
    struct raft_member *present = NULL;
    for (uint32_t i = 0; i < next->n_members; i++) {
        present = next->members[i].id == change->member.id ? &next->members[i] : present;
    }
    switch (change->action) {
    case NODE_MEMBER_ADD:
        return change_add(next, &change->member, why_out);
    case NODE_MEMBER_REMOVE:
        if (present != NULL) {
            *present = next->members[--next->n_members];
        }
        return has_majority(node, next) ? CC_OK
                                        : refuse(CC_UNAVAILABLE, "the members that would remain have no reachable majority of voters", why_out);
    case NODE_MEMBER_PROMOTE:
        if (present == NULL) {
            return refuse(CC_INVALID, "there is no such member", why_out);
        }
        present->voter = true;
        if (!can_vote(node, present->id)) {
            return refuse(CC_UNAVAILABLE, "it has not caught up since it lost its log, or is new", why_out);
        }
        return has_majority(node, next) ? CC_OK : refuse(CC_UNAVAILABLE, "it does not answer: there would be no reachable majority", why_out);
    case NODE_MEMBER_TRANSFER:
        break;
    }
    return refuse(CC_INVALID, "this is not a change of the members", why_out);
}

static bool is_equal(const struct raft_membership *a, const struct raft_membership *b)
{
    struct cc_buffer left = {0}, right = {0};
    raft_membership_put(&left, a);
    raft_membership_put(&right, b);
    bool equal = cc_slice_equal(cc_buffer_slice(&left), cc_buffer_slice(&right));
    cc_buffer_finish(&left);
    cc_buffer_finish(&right);
    return equal;
}

static enum cc_status propose(struct node *node, const struct raft_membership *next, uint64_t *index_out, const char **why_out)
{
    struct cc_buffer bytes = {0};
    raft_membership_put(&bytes, next);
    struct cc_blob *payload = cc_blob_create(bytes.data, bytes.n);
    cc_buffer_finish(&bytes);
    uint64_t hlc = clock_hlc_tick(&node->clock, node->time.wall_ms).hlc;
    enum cc_status status = raft_propose(node->raft, RAFT_ENTRY_CONFIG, hlc, payload, index_out);
    cc_blob_unref(payload);
    if (status == CC_UNAVAILABLE) {
        *why_out = "another change, an election or a transfer is under way, or the learner has not caught up";
    } else if (status != CC_OK) {
        *why_out = "members change one at a time, and new ones come as learners";
    } else {
        strong_step_back(node); // the open transaction was executed on a log without this entry
    }
    return status;
}

// A leader that is to be removed hands its writes under way over in order; the next leader removes it.
static enum cc_status leave_office_first(struct node *node, const char **why_out)
{
    enum cc_status status = office_transfer(node, 0, why_out);
    return status == CC_OK ? refuse(CC_UNAVAILABLE, "it leads: another replica takes over first, which can then remove it", why_out) : status;
}

enum cc_status node_member_change(struct node *node, struct node_time time, const struct node_member_change *change, uint64_t *index_out,
                                  const char **why_out)
{
    node->time = time;
    *index_out = 0;
    *why_out = "";
    if (raft_role(node->raft) != RAFT_LEADER) {
        return refuse(CC_NOT_LEADER, "this replica does not lead", why_out);
    }
    if (change->action == NODE_MEMBER_TRANSFER) {
        return office_transfer(node, change->member.id, why_out);
    }
    if (change->action == NODE_MEMBER_REMOVE && change->member.id == node->options.raft.id && membership_n_voters(node) > 1) {
        return leave_office_first(node, why_out);
    }
    const struct raft_membership *now = raft_membership(node->raft);
    struct raft_membership next = *now;
    enum cc_status status = plan_change(node, change, &next, why_out);
    if (status != CC_OK) {
        return status;
    }
    if (is_equal(now, &next)) {
        *index_out = raft_membership_index(node->raft);
        return CC_OK;
    }
    if (!has_majority(node, now)) {
        return refuse(CC_UNAVAILABLE, "a majority of the present members is not reachable", why_out);
    }
    return propose(node, &next, index_out, why_out);
}

// -- Promotion: in rounds, as the thesis has it (4.2.1): a learner that stores within a second what had been committed ----------

static void promote(struct node *node, uint32_t id)
{
    struct node_member_change change = {.action = NODE_MEMBER_PROMOTE, .member = {.id = id}};
    uint64_t index;
    const char *why;
    if (node_member_change(node, node->time, &change, &index, &why) == CC_OK) {
        node_fact(node, NODE_FACT_PROMOTED, id, index, 0, NULL);
    }
}

// It is there, and serves.
static bool is_learning(struct node *node, const struct raft_member *member)
{
    struct raft_progress progress;
    const struct peer *peer = peer_find(node, member->id);
    bool works = peer != NULL && peer->up && peer->refused == NULL && peer->may_lead && peer->schema_version == node->strong.schema_version;
    return works && !member->voter && membership_hears(node, member->id) && raft_progress_of(node->raft, member->id, &progress) == CC_OK;
}

// By turns: one that does not come, or does not keep up, must not keep the others waiting. 0: nobody learns.
static uint32_t next_learner(struct node *node, uint32_t last)
{
    const struct raft_membership *membership = raft_membership(node->raft);
    uint32_t next = 0, first = 0;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        uint32_t id = membership->members[i].id;
        if (!is_learning(node, &membership->members[i])) {
            continue;
        }
        first = first == 0 || id < first ? id : first;
        next = id > last && (next == 0 || id < next) ? id : next;
    }
    return next != 0 ? next : first;
}

static void begin_round(struct node *node, uint32_t id)
{
    struct members *members = &node->members;
    members->round_of = id;
    members->round_term = raft_term(node->raft);
    members->round_target = raft_commit(node->raft);
    members->round_began_us = node->time.now_us;
}

static void watch_learners(struct node *node)
{
    struct members *members = &node->members;
    struct raft_progress progress;
    const struct raft_member *member = raft_member_find(raft_membership(node->raft), members->round_of);
    const struct peer *peer = peer_find(node, members->round_of);
    bool in_time = node->time.now_us - members->round_began_us < LAG_US_MAX;
    if (!in_time || members->round_term != raft_term(node->raft) || member == NULL || !is_learning(node, member) ||
        raft_progress_of(node->raft, member->id, &progress) != CC_OK) {
        begin_round(node, next_learner(node, members->round_of));
        return;
    }
    if (progress.match >= members->round_target && peer->applied + MEMBERS_BEHIND_MAX >= members->round_target) {
        members->round_began_us = 0; // now, or after the others
        promote(node, member->id);
    }
}

void membership_tick(struct node *node)
{
    struct members *members = &node->members;
    if (node->time.now_us < members->check_us) {
        return;
    }
    members->check_us = node->time.now_us + LEAD_CHECK_US;
    if (!raft_is_settled(node->raft) || node->stopping) {
        members->round_of = 0;
        return;
    }
    watch_learners(node);
}
