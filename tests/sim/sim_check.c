// The invariants. Strong: A1 a leader commits by counting only entries of its own term, A3 votes go only to logs that are as up to
// date, I1 one leader per term, I2 terms and commit indexes never fall, I3/I4 the committed log is one and every later leader has
// it, I6 what a message claims is durable, I7 equal states at equal indexes, I8 effects were computed on the entry before, I12 an
// operation is committed once. W6 stamps are not ahead of the clocks. Weak
// tables: sim_weak_check.c.
#include "sim/sim.h"

#include "base/memory.h"
#include "consensus/raft_internal.h"
#include "proxy/node/node_internal.h"
#include "sim/sim_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum { FRAME_HEAD_BYTES = 18, FRAME_RAFT = 2, FRAME_TOLD = 9, FRAME_PULL = 20, TOLD_MAX = 8, SPREAD_ROUNDS = 10, SERVE_US = 20 * 1000 * 1000 };

struct office {
    uint64_t term;
    uint32_t leader;
    UT_hash_handle hh;
};

struct committed {
    uint64_t term;
    uint64_t office; // the term in which it was committed
    uint32_t replica; // by whom,
    uint64_t at_us;   // and when
    struct cc_blob *payload; // as the first who committed it has it; NULL: nobody has shown it yet
};

struct digest {
    bool known;
    uint64_t digest;
    uint32_t replica;
};

struct seen { // of one life of a replica
    uint64_t term, commit, counted;
    enum raft_role role;
};

struct candidacy { // what a candidate said of its log when it last asked for votes
    uint64_t term, log_term, log_index;
};

struct sim_check {
    struct raft_membership members; // the last committed ones
    struct candidacy candidacies[SIM_REPLICAS_MAX + 1];
    struct office *offices;
    struct committed *log; // [index]
    size_t n_log, log_capacity;
    uint64_t commit;
    uint64_t served_us; // L3: all that are whole took weak writes then
    uint64_t spread_held, spread_us; // W7: what all hold together, and since when it is this
    struct digest *digests; // [index]
    size_t n_digests, digests_capacity;
    struct seen seen[SIM_REPLICAS_MAX + 1];
};

struct sim_check *sim_check_create(void)
{
    return cc_alloc(sizeof(struct sim_check));
}

void sim_check_destroy(struct sim_check *check)
{
    struct office *office, *next_office;
    HASH_ITER(hh, check->offices, office, next_office)
    {
        HASH_DEL(check->offices, office);
        free(office);
    }
    for (size_t i = 0; i < check->n_log; i++) {
        cc_blob_unref(check->log[i].payload);
    }
    free(check->log);
    free(check->digests);
    free(check);
}

// -- Strong ---------------------------------------------------------------------------------------------------------

uint64_t sim_check_commit(const struct sim *sim)
{
    return sim->check->commit;
}

void sim_check_tell(const struct sim *sim)
{
    const struct sim_check *check = sim->check;
    for (uint64_t index = check->commit > TOLD_MAX ? check->commit - TOLD_MAX : 1; index <= check->commit && index < check->n_log; index++) {
        const struct committed *committed = &check->log[index];
        printf("entry %" PRIu64 " of term %" PRIu64 ": first committed by r%u in term %" PRIu64 " at %.3f ms\n", index, committed->term,
               committed->replica, committed->office, (double)committed->at_us / 1000.0);
    }
}

static void check_office(struct sim *sim, const struct sim_replica *replica, const struct raft *raft)
{
    uint64_t term = raft_term(raft);
    struct office *office;
    HASH_FIND(hh, sim->check->offices, &term, sizeof(term), office);
    if (office == NULL) {
        office = cc_alloc(sizeof(*office));
        office->term = term;
        office->leader = replica->id;
        HASH_ADD(hh, sim->check->offices, term, sizeof(office->term), office);
    }
    SIM_CHECK(sim, "I1", office->leader == replica->id, "term %" PRIu64 " has two leaders: r%u and r%u", term, office->leader,
              replica->id);
}

// One who hears late that it was elected may become the leader of a term that is over already.
static void check_completeness(struct sim *sim, const struct sim_replica *replica, const struct raft *raft)
{
    const struct sim_check *check = sim->check;
    for (uint64_t index = raft_first_index(raft); index <= check->commit; index++) {
        bool owed = check->log[index].office < raft_term(raft);
        SIM_CHECK(sim, "I4", !owed || raft_term_at(raft, index) == check->log[index].term,
                  "new leader r%u has term %" PRIu64 " at committed index %" PRIu64 ", which was committed in term %" PRIu64,
                  replica->id, raft_term_at(raft, index), index, check->log[index].term);
    }
}

static void check_single_change(struct sim *sim, const struct raft_entry *entry);

static void read_committed(struct sim *sim, const struct raft_entry *raft_entry)
{
    if (raft_entry->kind == RAFT_ENTRY_CONFIG) {
        check_single_change(sim, raft_entry);
    }
    if (raft_entry->kind != RAFT_ENTRY_DATA) {
        return;
    }
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct entry entry;
    enum cc_status status = entry_read(cc_blob_slice(raft_entry->payload), &arena, &entry);
    SIM_CHECK(sim, "codec", status == CC_OK, "committed entry %" PRIu64 " cannot be read", raft_entry->index);
    SIM_CHECK(sim, "I8", entry.base_index == raft_entry->index - 1, "entry %" PRIu64 " was computed on %" PRIu64,
              raft_entry->index, entry.base_index);
    for (uint32_t i = 0; i < entry.n_operations; i++) {
        sim_clients_committed(sim, &entry.operations[i], raft_entry->index);
    }
    cc_arena_finish(&arena);
}

static void check_committed(struct sim *sim, const struct sim_replica *replica, const struct raft *raft, uint64_t index)
{
    struct sim_check *check = sim->check;
    check->log = cc_grow(check->log, &check->log_capacity, index + 1, sizeof(*check->log));
    while (check->n_log <= index) {
        check->log[check->n_log++] = (struct committed){0};
    }
    struct committed *committed = &check->log[index];
    uint64_t term = raft_term_at(raft, index);
    const struct raft_entry *entry = raft_entry_at(raft, index);
    if (committed->term == 0) {
        committed->term = term;
        committed->office = raft_term(raft);
        committed->replica = replica->id;
        committed->at_us = sim->now_us;
        check->commit = index > check->commit ? index : check->commit;
    }
    SIM_CHECK(sim, "I3", term == committed->term || term == 0,
              "r%u committed entry %" PRIu64 " of term %" PRIu64 ", elsewhere it is of term %" PRIu64, replica->id, index, term,
              committed->term);
    if (entry == NULL) {
        return;
    }
    if (committed->payload == NULL) {
        committed->payload = entry->payload == NULL ? cc_blob_create(NULL, 0) : cc_blob_ref(entry->payload);
        read_committed(sim, entry);
    }
    SIM_CHECK(sim, "I3", cc_slice_equal(cc_blob_slice(entry->payload), cc_blob_slice(committed->payload)), "r%u committed entry %" PRIu64 " with another content", replica->id, index);
}

// The leader is connected to this very life of the replica.
static bool is_met(struct sim *sim, const struct raft *leader, const struct sim_replica *replica)
{
    const struct sim_replica *self = sim_replica_of(sim, leader->options.id);
    const struct peer *peer = self == replica ? NULL : peer_find(self->node, replica->id);
    return peer != NULL && peer->up && peer->incarnation == replica->incarnation;
}

// What a leader commits is on the disks of a majority of the voters in force; whoever is dead, or has lost its log and the leader
// does not know, may have had it.
static void check_majority(struct sim *sim, const struct raft *raft)
{
    const struct raft_membership *membership = raft_membership(raft);
    uint32_t n_voters = 0, n_holding = 0;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        if (!membership->members[i].voter) {
            continue;
        }
        const struct sim_replica *replica = sim_replica_of(sim, membership->members[i].id);
        bool is_out = false;
        for (uint32_t p = 0; p < raft->n_peers; p++) {
            is_out = is_out || (raft->peers[p].id == replica->id && raft->peers[p].recovering);
        }
        bool may_hold = !replica->alive || replica->is_new || replica->is_copy || wal_state_of(replica->wal)->last_index >= raft->commit;
        may_hold = may_hold && !(replica->is_over && is_met(sim, raft, replica));
        n_voters++;
        n_holding += may_hold && !is_out ? 1 : 0;
    }
    SIM_CHECK(sim, "I14", n_holding > n_voters / 2, "r%u commits %" PRIu64 ", which only %u of %u voters can have", raft->options.id, raft->commit,
              n_holding, n_voters);
}

// The membership in force is the newest one in the own log.
static void check_membership(struct sim *sim, const struct sim_replica *replica, const struct raft *raft)
{
    uint64_t index = raft_membership_index(raft);
    const struct raft_entry *entry = raft_entry_at(raft, index);
    bool good = index <= raft_last_index(raft) && (entry == NULL || entry->kind == RAFT_ENTRY_CONFIG);
    SIM_CHECK(sim, "I10", good, "r%u works by members of entry %" PRIu64 ", which its log does not hold", replica->id, index);
}

// Two committed memberships that follow each other differ by one member.
static void check_single_change(struct sim *sim, const struct raft_entry *entry)
{
    struct raft_membership next, *known = &sim->check->members;
    enum cc_status status = raft_membership_read(cc_blob_slice(entry->payload), &next);
    SIM_CHECK(sim, "codec", status == CC_OK, "committed membership %" PRIu64 " cannot be read", entry->index);
    uint32_t n_changed = 0;
    for (uint32_t id = 1; id <= sim->n_replicas; id++) {
        const struct raft_member *before = raft_member_find(known, id), *after = raft_member_find(&next, id);
        n_changed += (before == NULL) != (after == NULL) || (before != NULL && after != NULL && before->voter != after->voter) ? 1 : 0;
    }
    SIM_CHECK(sim, "I10", n_changed <= 1, "the memberships before and with entry %" PRIu64 " differ by %u members", entry->index, n_changed);
    *known = next;
}

// The hybrid clock is never further ahead than the bound allows, of the latest time that this replica's clock has shown.
static void check_clock(struct sim *sim, struct sim_replica *replica)
{
    uint64_t wall_ms = sim_replica_time(sim, replica).wall_ms;
    replica->wall_max_ms = wall_ms > replica->wall_max_ms ? wall_ms : replica->wall_max_ms;
    uint64_t ms = clock_hlc_ms(replica->node->clock.last);
    bool good = ms <= replica->wall_max_ms + SIM_SKEW_MS;
    // Or a snapshot has brought rows with such stamps: what is written over them must be greater.
    good = good || ms <= clock_hlc_ms(sim_rows_hlc(sim_database_rows(replica->database))) + 1;
    // Or its log remembers what was good before, and a restart does not go back, although its database may have lost those rows.
    good = good || ms <= replica->stamp_max_ms;
    SIM_CHECK(sim, "W6", good, "r%u: its stamps are %" PRIu64 " ms ahead of its clock", replica->id,
              ms - replica->wall_max_ms);
    replica->stamp_max_ms = ms > replica->stamp_max_ms ? ms : replica->stamp_max_ms;
}

// Votes of a life that is over may have been given to somebody else by a later one.
static void check_ballots(struct sim *sim, const struct raft *raft)
{
    for (uint32_t p = 0; p < raft->n_peers; p++) {
        const struct raft_peer *peer = &raft->peers[p];
        bool counted = peer->voter && peer->ballot == RAFT_BALLOT_GRANTED && !raft_peer_is_out(peer);
        const struct sim_replica *voter = sim_replica_of(sim, peer->id);
        SIM_CHECK(sim, "B7", !counted || !(voter->is_over && is_met(sim, raft, voter)), "r%u is elected with a vote of an earlier life of r%u",
                  raft->options.id, peer->id);
    }
}

void sim_check_node(struct sim *sim, struct sim_replica *replica)
{
    const struct raft *raft = node_raft(replica->node);
    struct seen *seen = &sim->check->seen[replica->id];
    sim->check->members = sim->check->members.n_members == 0 ? replica->founders : sim->check->members;
    SIM_CHECK(sim, "I2", raft_term(raft) >= seen->term, "r%u: the term fell to %" PRIu64, replica->id, raft_term(raft));
    SIM_CHECK(sim, "I2", raft_commit(raft) >= seen->commit, "r%u: the commit index fell to %" PRIu64, replica->id, raft_commit(raft));
    if (raft_role(raft) == RAFT_LEADER) {
        check_office(sim, replica, raft);
        if (seen->role != RAFT_LEADER || seen->term != raft_term(raft)) {
            check_completeness(sim, replica, raft);
            check_ballots(sim, raft);
        }
    }
    bool led = seen->role == RAFT_LEADER && raft_role(raft) == RAFT_LEADER && seen->term == raft_term(raft);
    bool told = raft->commit <= replica->node->strong.applied; // by its database, which comes up: an earlier life knew it to be committed
    bool advanced = raft->commit > seen->counted && !told;       // before it is capped by what is durable here
    SIM_CHECK(sim, "A1", !led || !advanced || raft_term_at(raft, raft->commit) == raft_term(raft),
              "leader r%u of term %" PRIu64 " commits an entry of an older term by counting", replica->id, raft_term(raft));
    if (led && advanced) {
        check_majority(sim, raft);
    }
    for (uint64_t index = seen->commit + 1; index <= raft_commit(raft); index++) {
        check_committed(sim, replica, raft, index);
    }
    check_clock(sim, replica);
    SIM_CHECK(sim, "W1", replica->node->weak.n_alarms == 0, "r%u: others hold more of the origin that it writes under", replica->id);
    check_membership(sim, replica, raft);
    *seen = (struct seen){raft_term(raft), raft_commit(raft), raft->commit, raft_role(raft)};
}

// What PostgreSQL may lose of its own weak changes is in the log, and its clock is not below the stamps that it has given.
static void check_own_changes(struct sim *sim, const struct sim_replica *replica)
{
    struct crdt_origin self = replica->node->weak.self;
    const struct wal_mark *mark = &wal_state_of(replica->wal)->mark;
    uint64_t marked = mark->own_incarnation == self.incarnation ? mark->own_sequence : 0;
    if (replica->is_copy || replica->rebuilt_index > 0) {
        return; // the disk itself was lost
    }
    uint64_t flushed = crdt_frontier_get(&sim_database_rows(replica->database)->frontier_flushed, self);
    bool held = replica->last_change <= flushed || replica->first_change <= flushed + 1;
    held = held && (marked <= flushed || replica->last_change > 0);
    SIM_CHECK(sim, "I13", held, "r%u: PostgreSQL has flushed own changes up to %" PRIu64 ", but the log begins with %" PRIu64, replica->id, flushed,
              replica->first_change);
    SIM_CHECK(sim, "W6", replica->node->clock.last >= sim_weak_check_stamp(sim, self),
              "r%u starts with a clock below the stamps that it has given", replica->id);
}

void sim_check_replica_started(struct sim *sim, struct sim_replica *replica)
{
    check_own_changes(sim, replica);
    sim->check->seen[replica->id] = (struct seen){.term = wal_state_of(replica->wal)->hard_state.term};
}

// A vote goes only to a log that is at least as up to date: the term of the last entry counts first, then its index.
static void check_vote(struct sim *sim, const struct sim_replica *voter, const struct raft_message *reply)
{
    const struct candidacy *candidacy = &sim->check->candidacies[reply->to];
    const struct raft *raft = node_raft(voter->node);
    uint64_t index = raft_last_index(raft);
    uint64_t term = raft_term_at(raft, index);
    if (candidacy->term != reply->term || term >= reply->term) {
        return; // of an earlier candidacy, or the new leader has written here already
    }
    bool behind = candidacy->log_term < term || (candidacy->log_term == term && candidacy->log_index < index);
    SIM_CHECK(sim, "A3", !behind, "r%u votes for r%u, whose log ends earlier", voter->id, reply->to);
}

static void check_claim(struct sim *sim, const struct sim_replica *replica, const struct raft_message *message)
{
    const struct wal_state *durable = wal_state_of(replica->wal);
    bool before_vote = message->kind == RAFT_PRE_VOTE || message->kind == RAFT_PRE_VOTE_REPLY;
    SIM_CHECK(sim, "I6", before_vote || durable->hard_state.term >= message->term,
              "r%u sends term %" PRIu64 ", but only %" PRIu64 " is durable", replica->id, message->term, durable->hard_state.term);
    if (message->kind == RAFT_VOTE) {
        sim->check->candidacies[replica->id] = (struct candidacy){message->term, message->log_term, message->log_index};
    }
    if (message->kind == RAFT_VOTE_REPLY && !message->reject) {
        SIM_CHECK(sim, "B7", !replica->is_new, "r%u votes, though it may have voted in a life that it has forgotten", replica->id);
        check_vote(sim, replica, message);
        bool same = durable->hard_state.term > message->term || durable->hard_state.vote == message->to;
        SIM_CHECK(sim, "I6", same, "r%u's vote for r%u in term %" PRIu64 " is not durable", replica->id, message->to, message->term);
    }
    // A reply of an earlier term may leave after what it acknowledges was replaced: whoever voted since did so with the entry.
    bool present = message->term == durable->hard_state.term;
    if (message->kind == RAFT_APPEND_REPLY && !message->reject && present) {
        SIM_CHECK(sim, "I6", durable->last_index >= message->log_index,
                  "r%u acknowledges entry %" PRIu64 ", but only %" PRIu64 " is durable", replica->id, message->log_index,
                  durable->last_index);
    }
}

static void check_pull(struct sim *sim, const struct sim_replica *replica, struct cc_slice body)
{
    struct cc_reader reader = cc_reader_of(body);
    (void)cc_read_u64(&reader); // which
    (void)cc_read_u64(&reader); // offset
    uint64_t above = cc_read_u64(&reader);
    SIM_CHECK(sim, "A12", above + 1 >= raft_first_index(node_raft(replica->node)), "r%u asks for a snapshot that may end below the base of its log",
              replica->id);
}

bool sim_check_stands_in(const struct sim_replica *replica)
{
    return !node_raft(replica->node)->eligible;
}

void sim_check_stranger(struct sim *sim, const struct sim_replica *replica, uint32_t from)
{
    struct node_status status;
    node_describe(replica->node, sim->now_us, &status);
    for (uint32_t i = 0; i < status.n_peers; i++) {
        SIM_CHECK(sim, "H7", status.peers[i].id != from || !status.peers[i].reachable, "r%u takes r%u for reachable, which is of another version",
                  replica->id, from);
    }
}

void sim_check_belief(const struct sim_replica *replica, struct sim_belief *belief_out)
{
    const struct raft *raft = node_raft(replica->node);
    *belief_out = (struct sim_belief){.term = raft_term(raft),
                                      .commit = raft->commit,
                                      .last_index = raft_last_index(raft),
                                      .role = raft_role(raft),
                                      .leader = raft_leader(raft),
                                      .frontier = replica->node->weak.frontier};
}

void sim_check_unmoved(struct sim *sim, const struct sim_replica *replica, const struct sim_belief *before)
{
    struct sim_belief now;
    sim_check_belief(replica, &now);
    bool same = now.term == before->term && now.commit == before->commit && now.last_index == before->last_index && now.role == before->role &&
                now.leader == before->leader && crdt_frontier_equal(&now.frontier, &before->frontier);
    SIM_CHECK(sim, "H7", same, "r%u is moved by a frame of another version or kind", replica->id);
}

void sim_check_send(struct sim *sim, struct sim_replica *replica, struct cc_slice frame)
{
    if (frame.n > FRAME_HEAD_BYTES && frame.data[1] == FRAME_PULL) {
        check_pull(sim, replica, cc_slice_of(frame.data + FRAME_HEAD_BYTES, frame.n - FRAME_HEAD_BYTES));
    }
    SIM_CHECK(sim, "B7", frame.data[1] != FRAME_TOLD || !replica->is_new, "r%u tells what it has acknowledged, but may have forgotten some of it",
              replica->id);
    bool small = frame.n < 400; // appends are large, and claim nothing but their term
    if (!small || frame.n < FRAME_HEAD_BYTES || frame.data[1] != FRAME_RAFT) {
        return;
    }
    struct raft_message message;
    struct cc_slice body = cc_slice_of(frame.data + FRAME_HEAD_BYTES, frame.n - FRAME_HEAD_BYTES);
    enum cc_status status = raft_message_read(body, &message);
    SIM_CHECK(sim, "codec", status == CC_OK, "r%u sends a message that cannot be read", replica->id);
    check_claim(sim, replica, &message);
    raft_message_finish(&message);
}

void sim_check_strong_state(struct sim *sim, uint32_t replica, uint64_t index, uint64_t digest)
{
    struct sim_check *check = sim->check;
    SIM_CHECK(sim, "I7", index <= check->commit, "r%u applied entry %" PRIu64 ", which is not committed", replica, index);
    check->digests = cc_grow(check->digests, &check->digests_capacity, index + 1, sizeof(*check->digests));
    while (check->n_digests <= index) {
        check->digests[check->n_digests++] = (struct digest){0};
    }
    struct digest *known = &check->digests[index];
    if (!known->known) {
        *known = (struct digest){true, digest, replica};
    }
    SIM_CHECK(sim, "I7", known->digest == digest, "r%u and r%u differ after entry %" PRIu64, replica, known->replica, index);
}

bool sim_check_is_member(const struct sim *sim, uint32_t id)
{
    return raft_member_find(&sim->check->members, id) != NULL;
}

// -- Convergence ----------------------------------------------------------------------------------------------------

// Everything that is committed has arrived, and both connections to the database are there.
static bool has_log(struct sim *sim, const struct sim_replica *replica, const struct node_status *described, struct cc_buffer *why_not)
{
    struct node_status status = *described;
    struct cc_buffer ignored = {0};
    uint64_t applied = 0;
    bool up = sim_database_read(replica->database, "-", &ignored, &applied);
    cc_buffer_finish(&ignored);
    up = up && status.database_up[DB_STRONG] && status.database_up[DB_WEAK] && replica->node->target.state == TARGET_IDLE;
    if (!up || status.leader == 0 || status.commit != sim->check->commit || status.last_index != status.commit || applied != status.commit) {
        cc_buffer_printf(why_not,
                         "r%u: database %d leader r%u commit %" PRIu64 " last %" PRIu64 " applied %" PRIu64 ", the cluster's commit %" PRIu64,
                         replica->id, up, status.leader, status.commit, status.last_index, applied, sim->check->commit);
        return false;
    }
    return true;
}

static bool replica_converged(struct sim *sim, const struct sim_replica *replica, struct cc_buffer *why_not)
{
    struct node_status status;
    node_describe(replica->node, sim->now_us, &status);
    if (!has_log(sim, replica, &status, why_not)) {
        return false;
    }
    if (!sim_weak_check_is_complete(sim, &status.frontier)) {
        cc_buffer_printf(why_not, "r%u: frontier", replica->id);
        sim_weak_check_tell_missing(sim, &status.frontier, why_not);
        return false;
    }
    if (status.n_aside > 0 || !renewal_is_done(replica->node)) {
        cc_buffer_printf(why_not, "r%u: %" PRIu64 " change sets are still to be written again", replica->id, status.n_aside);
        return false;
    }
    return true;
}

bool sim_check_converged(struct sim *sim, struct cc_buffer *why_not)
{
    struct crdt_frontier first, frontier;
    const struct sim_replica *one = NULL;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *replica = &sim->replicas[i];
        if (replica->absent) {
            continue;
        }
        if (!replica->alive || replica->is_new || replica->is_copy || !replica_converged(sim, replica, why_not)) {
            cc_buffer_printf(why_not, "r%u: alive %d, new %d, copy %d", replica->id, replica->alive, replica->is_new, replica->is_copy);
            return false;
        }
        sim_database_frontier(replica->database, one == NULL ? &first : &frontier);
        if (one != NULL && !crdt_frontier_equal(&first, &frontier)) {
            cc_buffer_printf(why_not, "r%u and r%u hold other changes", one->id, replica->id);
            return false;
        }
        one = one == NULL ? replica : one;
    }
    return sim_weak_check_are_equal(sim, why_not) && sim_members_are_settled(sim, why_not);
}

void sim_check_spread(struct sim *sim)
{
    struct sim_check *check = sim->check;
    struct cc_buffer ignored = {0};
    uint64_t held = 0;
    bool ready = sim->knobs.clock_wild_ms == 0; // else stamps may have to wait until the clocks have come there
    bool owed = false;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *replica = &sim->replicas[i];
        struct node_status status;
        ready = ready && (replica->absent || (replica->alive && !replica->is_new && !replica->is_copy));
        if (!ready || replica->absent) {
            continue;
        }
        node_describe(replica->node, sim->now_us, &status);
        ready = has_log(sim, replica, &status, &ignored);
        owed = owed || sim_weak_check_is_owed(sim, replica, &status.frontier);
        for (uint32_t o = 0; o < status.frontier.n; o++) {
            held += status.frontier.at[o].sequence;
        }
    }
    cc_buffer_finish(&ignored);
    if (!ready || !owed || held != check->spread_held) {
        check->spread_held = held;
        check->spread_us = sim->now_us;
    }
    SIM_CHECK(sim, "W7", sim->now_us - check->spread_us < SPREAD_ROUNDS * SIM_FRONTIER_US, "weak changes do not get to who lacks them");
}

static bool takes_weak_writes(const struct sim_replica *replica)
{
    const struct node *node = replica->node;
    return node->weak.up && !weak_is_replaying(node) && !weak_must_rejoin(node) && renewal_is_done(node);
}

void sim_check_serves(struct sim *sim)
{
    struct cc_buffer ignored = {0};
    bool whole = true, all_take = true;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *replica = &sim->replicas[i];
        struct node_status status;
        if (replica->absent) {
            continue;
        }
        whole = whole && replica->alive && !replica->is_new && !replica->is_copy;
        if (whole) {
            node_describe(replica->node, sim->now_us, &status);
            whole = has_log(sim, replica, &status, &ignored);
            all_take = all_take && takes_weak_writes(replica);
        }
    }
    cc_buffer_finish(&ignored);
    uint64_t served_us = sim->check->served_us > sim->phase_us ? sim->check->served_us : sim->phase_us;
    sim->check->served_us = whole && !all_take ? served_us : sim->now_us;
    SIM_CHECK(sim, "L3", sim->now_us - sim->check->served_us < SERVE_US, "a replica refuses weak writes although everything is whole");
}

struct sim_replica *sim_present(struct sim *sim)
{
    struct sim_replica *replica = sim->replicas;
    while (replica->absent) {
        replica++;
    }
    return replica;
}
