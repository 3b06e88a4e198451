// The Raft core: life, events, time, durability, output.
#include "consensus/raft.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "consensus/raft_internal.h"

// -- Life -----------------------------------------------------------------------------------------------------------

struct raft *raft_create(const struct raft_options *options, struct raft_hard_state hard_state)
{
    assert(options->id > 0 && options->membership.n_members > 0);
    assert(options->election_us > 0 && options->heartbeat_us > 0 && options->heartbeat_us < options->election_us);
    struct raft *raft = cc_alloc(sizeof(*raft));
    raft->options = *options;
    if (raft->options.cache_bytes_max == 0) {
        raft->options.cache_bytes_max = CC_LOG_CACHE_BYTES_MAX;
    }
    raft->term = hard_state.term;
    raft->vote = hard_state.vote;
    raft->eligible = true;
    cc_prng_seed(&raft->prng, options->seed);
    raft->read_id = cc_prng_next(&raft->prng) >> 1;
    raft_log_init(&raft->log);
    raft_config_add(raft, 0, &options->membership);
    raft->identity_out = (struct raft_identity){.role = raft->role, .term = raft->term};
    return raft;
}

void raft_destroy(struct raft *raft)
{
    if (raft == NULL) {
        return;
    }
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        raft_peer_forget_loaded(&raft->peers[i]);
    }
    raft_log_finish(&raft->log);
    free(raft->configs);
    free(raft->writes);
    free(raft->reads.reads);
    free(raft->held);
    free(raft->messages);
    free(raft->loads);
    free(raft->results);
    free(raft->results_out);
    free(raft);
}

static bool config_entry_is_sound(const struct raft_entry *entry)
{
    struct raft_membership membership;
    return entry->kind != RAFT_ENTRY_CONFIG ||
           raft_membership_read(cc_blob_slice(entry->payload), &membership) == CC_OK;
}

static void settle_restored(struct raft *raft)
{
    raft->handed_index = raft_log_last(&raft->log);
    raft->persisted_index = raft->handed_index;
}

void raft_restore_hard_state(struct raft *raft, struct raft_hard_state hard_state)
{
    raft->term = hard_state.term;
    raft->vote = cc_mutant(CC_MUTANT_VOTE_FORGOTTEN) ? 0 : hard_state.vote;
    raft->identity_out.term = hard_state.term;
}

// Drops from memory what the caller has released and all followers have, beyond a recent tail; and in need of memory whatever
// is on disk. What the caller does not know to be committed stays: it will look at it when it hears so. That is bounded by what a
// leader may have in flight.
static void evict(struct raft *raft)
{
    uint64_t needed_from = UINT64_MAX;
    for (uint32_t i = 0; i < raft->n_peers && raft->role == RAFT_LEADER; i++) {
        uint64_t next = raft->peers[i].match + 1;
        needed_from = next < needed_from ? next : needed_from;
    }
    struct raft_log *log = &raft->log;
    while (log->n > 0 && log->cache_first <= raft->persisted_index) {
        bool needed = log->cache_first > raft->released || log->cache_first >= needed_from;
        size_t limit = raft->options.cache_bytes_max / (needed ? 1 : RAFT_RECENT_PART);
        bool unheard = raft->started && log->cache_first > raft->commit_out;
        if (log->cache_bytes <= limit || unheard) {
            break;
        }
        if (raft->role == RAFT_LEADER && log->cache_first > raft->commit) {
            raft->uncommitted_bytes -= raft_log_entry_bytes(raft_log_entry(log, log->cache_first));
        }
        raft_log_evict_first(log);
    }
}

enum cc_status raft_restore_entry(struct raft *raft, const struct raft_entry *entry)
{
    assert(!raft->started);
    uint64_t last = raft_log_last(&raft->log);
    if (entry->index <= raft->log.base_index) {
        return CC_OK;
    }
    if (entry->index > last + 1 || entry->term > raft->term || entry->index <= raft->commit) {
        return CC_CORRUPT;
    }
    if (entry->term < raft_log_term_at(&raft->log, entry->index - 1) || !config_entry_is_sound(entry)) {
        return CC_CORRUPT;
    }
    raft_truncate(raft, entry->index - 1);
    raft_append_entry(raft, entry);
    settle_restored(raft);
    evict(raft);
    return CC_OK;
}

void raft_restore_membership(struct raft *raft, uint64_t index, const struct raft_membership *membership)
{
    assert(!raft->started && raft->log.n == 0);
    raft->options.membership = *membership;
    raft->membership_index = index;
    raft_config_reset(raft, index, membership);
}

void raft_restore_base(struct raft *raft, uint64_t index, uint64_t term)
{
    assert(!raft->started);
    if (raft_log_matches(&raft->log, index, term)) {
        raft_log_compact(&raft->log, index);
    } else {
        raft_log_reset(&raft->log, index, term);
        raft->n_configs = 0; // those of the dropped entries are gone with them
        uint64_t known = raft->membership_index;
        raft_config_add(raft, known > 0 ? known : index, &raft->options.membership);
    }
    raft->commit = raft->commit > index ? raft->commit : index;
    settle_restored(raft);
}

void raft_restore_commit(struct raft *raft, uint64_t known_commit)
{
    assert(!raft->started);
    uint64_t last = raft_log_last(&raft->log);
    known_commit = known_commit > raft->membership_index ? known_commit : raft->membership_index;
    raft_commit_to(raft, known_commit < last ? known_commit : last);
}

// -- Log and durability ---------------------------------------------------------------------------------------------

void raft_append_entry(struct raft *raft, const struct raft_entry *entry)
{
    raft_log_append(&raft->log, entry);
    raft->number_entries = raft->number_last + 1;
    if (entry->kind == RAFT_ENTRY_CONFIG && entry->index > raft->membership_index) {
        struct raft_membership membership;
        enum cc_status status = raft_membership_read(cc_blob_slice(entry->payload), &membership);
        assert(status == CC_OK);
        raft_config_add(raft, entry->index, &membership);
    }
}

void raft_truncate(struct raft *raft, uint64_t last)
{
    assert(last >= raft->commit); // committed entries are never removed (FAILURES A14)
    if (last >= raft_log_last(&raft->log)) {
        return;
    }
    raft_log_truncate(&raft->log, last);
    raft_config_truncate(raft, last);
    raft->handed_index = raft->handed_index < last ? raft->handed_index : last;
    raft->persisted_index = raft->persisted_index < last ? raft->persisted_index : last;
    for (size_t i = 0; i < raft->n_writes; i++) {
        struct raft_write *write = &raft->writes[raft->writes_head + i];
        write->last = write->last < last ? write->last : last;
    }
}

void raft_release(struct raft *raft, uint64_t index)
{
    uint64_t known = raft_commit(raft);
    index = index < known ? index : known;
    raft->released = index > raft->released ? index : raft->released;
    evict(raft);
}

void raft_note_committed(struct raft *raft, uint64_t index)
{
    raft->noted = index > raft->noted ? index : raft->noted;
    raft_commit_noted(raft);
}

void raft_compact(struct raft *raft, uint64_t index)
{
    assert(index <= raft_commit(raft));
    if (index > raft->log.base_index) {
        raft_log_compact(&raft->log, index);
    }
}

void raft_install_snapshot(struct raft *raft, uint64_t now_us, uint64_t index, uint64_t term,
                           const struct raft_membership *membership)
{
    raft_advance(raft, now_us);
    if (index <= raft->commit || raft->role == RAFT_LEADER) {
        return;
    }
    if (raft_log_matches(&raft->log, index, term)) {
        raft_log_compact(&raft->log, index);
    } else {
        raft_log_reset(&raft->log, index, term); // what does not lead to the snapshot cannot be right (FAILURES A12)
        raft->n_configs = 0;
        raft->handed_index = index;
        raft->persisted_index = raft->persisted_index < index ? raft->persisted_index : index;
        for (size_t i = 0; i < raft->n_writes; i++) {
            raft->writes[raft->writes_head + i].last = raft->persisted_index; // nothing of them is left
        }
    }
    raft->handed_index = raft->handed_index > index ? raft->handed_index : index;
    if (!cc_mutant(CC_MUTANT_SNAPSHOT_NOT_DURABLE)) {
        raft_mark_hard_state(raft); // nothing leaves before the base is durable: it is written with this
    }
    raft->number_entries = raft->number_last + 1;
    raft->commit = index;
    raft->released = index;
    raft->snapshot_wanted = 0;
    raft_config_reset(raft, index, membership);
    if (raft->leader != 0) {
        struct raft_message reply = {
            .kind = RAFT_SNAPSHOT_REPLY,
            .to = raft->leader,
            .term = raft->term,
            .log_index = index,
        };
        raft_queue(raft, &reply, 0);
    }
}

void raft_mark_hard_state(struct raft *raft)
{
    raft->number_hard = raft->number_last + 1;
}

bool raft_hard_state_is_durable(const struct raft *raft)
{
    return raft->number_hard <= raft->number_done;
}

void raft_persisted(struct raft *raft, uint64_t now_us, uint64_t number)
{
    raft_advance(raft, now_us);
    assert(number <= raft->number_last);
    raft->number_done = number > raft->number_done ? number : raft->number_done;
    while (raft->n_writes > 0 && raft->writes[raft->writes_head].number <= number) {
        uint64_t last = raft->writes[raft->writes_head].last;
        raft->persisted_index = last > raft->persisted_index ? last : raft->persisted_index;
        raft->writes_head++;
        raft->n_writes--;
    }
    raft_election_persisted(raft);
    raft_commit_try(raft);
    evict(raft);
}

static void push_write(struct raft *raft, uint64_t number, uint64_t last)
{
    if (raft->n_writes == 0) {
        raft->writes_head = 0;
    }
    if (raft->writes_head > 0 && raft->writes_head + raft->n_writes == raft->writes_capacity) {
        memmove(raft->writes, raft->writes + raft->writes_head, raft->n_writes * sizeof(*raft->writes));
        raft->writes_head = 0;
    }
    size_t n_needed = raft->writes_head + raft->n_writes + 1;
    raft->writes = cc_grow(raft->writes, &raft->writes_capacity, n_needed, sizeof(*raft->writes));
    raft->writes[raft->writes_head + raft->n_writes++] = (struct raft_write){.number = number, .last = last};
}

// -- Time -----------------------------------------------------------------------------------------------------------

void raft_advance(struct raft *raft, uint64_t now_us)
{
    raft->now_us = now_us > raft->now_us ? now_us : raft->now_us;
    if (!raft->started) {
        raft->started = true;
        raft_election_reset(raft);
    }
}

void raft_tick(struct raft *raft, uint64_t now_us)
{
    raft_advance(raft, now_us);
    if (raft->role == RAFT_LEADER) {
        raft_leader_tick(raft);
        return;
    }
    raft_election_tick(raft);
    raft_reads_tick(raft);
}

uint64_t raft_next_tick_us(const struct raft *raft)
{
    if (!raft->started) {
        return 0;
    }
    if (raft->role == RAFT_LEADER) {
        bool transfer_first = raft->transfer_to != 0 && raft->transfer_deadline_us < raft->heartbeat_due_us;
        uint64_t next_us = transfer_first ? raft->transfer_deadline_us : raft->heartbeat_due_us;
        return raft->notice_due_us != 0 && raft->notice_due_us < next_us ? raft->notice_due_us : next_us;
    }
    uint64_t next_us = raft->election_deadline_us;
    if (raft->reads.n_rounds > 0) {
        uint64_t expires_us = raft->reads.rounds[0].sent_us + raft->options.election_us;
        next_us = expires_us < next_us ? expires_us : next_us;
    }
    return next_us;
}

void raft_set_rank(struct raft *raft, uint32_t rank)
{
    raft->options.rank = rank;
}

void raft_set_stand_in(struct raft *raft, bool stand_in)
{
    raft->stand_in = stand_in;
}

void raft_set_eligible(struct raft *raft, uint64_t now_us, bool eligible)
{
    raft_advance(raft, now_us);
    raft->eligible = eligible;
    bool campaigning = raft->role == RAFT_PRE_CANDIDATE || raft->role == RAFT_CANDIDATE;
    if (!eligible && !raft->stand_in && campaigning) {
        raft_become_follower(raft, raft->term, 0);
    }
    if (!eligible && raft->role == RAFT_LEADER) {
        raft_transfer_tick(raft);
    }
}

void raft_set_recovering(struct raft *raft, bool recovering)
{
    raft->recovering = recovering;
}

void raft_peer_set_recovering(struct raft *raft, uint32_t peer_id, bool recovering)
{
    struct raft_peer *peer = raft_peer_find(raft, peer_id);
    if (peer != NULL) {
        peer->recovering = recovering;
    }
}

void raft_peer_forget(struct raft *raft, uint64_t now_us, uint32_t peer_id)
{
    raft_advance(raft, now_us);
    struct raft_peer *peer = raft_peer_find(raft, peer_id);
    if (peer != NULL && raft->role == RAFT_LEADER) {
        raft_peer_start(raft, peer);
        raft->feed_due = true;
    }
}

// -- Messages in ----------------------------------------------------------------------------------------------------

static bool append_is_sane(const struct raft_message *message)
{
    if (message->n_entries > CC_APPEND_ENTRIES_MAX || message->log_index > UINT64_MAX - CC_APPEND_ENTRIES_MAX) {
        return false;
    }
    uint64_t term = message->log_term;
    for (size_t i = 0; i < message->n_entries; i++) {
        const struct raft_entry *entry = &message->entries[i];
        if (entry->index != message->log_index + 1 + i || entry->term < term || entry->term == 0) {
            return false;
        }
        if (!config_entry_is_sound(entry)) {
            return false;
        }
        term = entry->term;
    }
    return term <= message->term;
}

// What comes from outside is checked before it changes anything (FAILURES A17).
static bool message_is_sane(const struct raft *raft, const struct raft_message *message)
{
    if (message->to != raft->options.id || message->from == raft->options.id || message->from == 0) {
        return false;
    }
    if (message->term > raft->term && message->term - raft->term > raft_term_jump_max) {
        return false;
    }
    return message->kind == RAFT_APPEND ? append_is_sane(message) : message->n_entries == 0;
}

static bool is_reply(enum raft_message_kind kind)
{
    switch (kind) {
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
    case RAFT_APPEND_REPLY:
    case RAFT_HEARTBEAT_REPLY:
    case RAFT_READ_REPLY:
    case RAFT_SNAPSHOT_REPLY:
        return true;
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
    case RAFT_APPEND:
    case RAFT_HEARTBEAT:
    case RAFT_READ:
    case RAFT_TIMEOUT_NOW:
    case RAFT_SNAPSHOT:
        return false;
    }
    return false;
}

static bool is_from_leader(enum raft_message_kind kind)
{
    return kind == RAFT_APPEND || kind == RAFT_HEARTBEAT || kind == RAFT_SNAPSHOT || kind == RAFT_TIMEOUT_NOW;
}

// A request of an older term: its sender learns of the newer one. A deposed leader, or one that cannot raise its term because
// everybody refuses its pre-votes, would otherwise be stuck (FAILURES A4).
static void answer_stale(struct raft *raft, const struct raft_message *message)
{
    struct raft_message reply = {.to = message->from, .term = raft->term, .context = message->context, .reject = true};
    switch (message->kind) {
    case RAFT_APPEND:
    case RAFT_HEARTBEAT:
    case RAFT_SNAPSHOT:
        reply.kind = RAFT_APPEND_REPLY;
        break;
    case RAFT_PRE_VOTE:
        reply.kind = RAFT_PRE_VOTE_REPLY;
        break;
    case RAFT_VOTE:
        reply.kind = RAFT_VOTE_REPLY;
        break;
    case RAFT_READ:
        reply.kind = RAFT_READ_REPLY;
        break;
    case RAFT_TIMEOUT_NOW:
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
    case RAFT_APPEND_REPLY:
    case RAFT_HEARTBEAT_REPLY:
    case RAFT_READ_REPLY:
    case RAFT_SNAPSHOT_REPLY:
        return;
    }
    raft_queue(raft, &reply, 0);
}

// The leader of the very next term may be one that the present leader has asked to take over (FAILURES A15).
static bool is_ignored_vote(const struct raft *raft, const struct raft_message *message)
{
    bool asked_for = message->transfer && message->term == raft->term + 1;
    return message->kind == RAFT_VOTE && raft_leader_is_heard(raft) && !asked_for;
}

// Brings the terms into line (thesis 3.3). False: there is nothing more to do with the message.
static bool settle_terms(struct raft *raft, const struct raft_message *message)
{
    if (message->term < raft->term) {
        answer_stale(raft, message);
        return false;
    }
    if (message->term == raft->term) {
        return true;
    }
    if (message->kind == RAFT_PRE_VOTE || (message->kind == RAFT_PRE_VOTE_REPLY && !message->reject)) {
        return true; // these speak of a term that nobody has yet
    }
    // "if a server receives a RequestVote request within the minimum election timeout of hearing from a current leader, it does
    // not update its term or grant its vote" (thesis 4.2.3).
    if (is_ignored_vote(raft, message)) {
        return false;
    }
    raft_become_follower(raft, message->term, is_from_leader(message->kind) ? message->from : 0);
    return true;
}

// Of this term. False: not from the leader of the term.
static bool hear_leader(struct raft *raft, const struct raft_message *message)
{
    if (raft->role == RAFT_LEADER || (raft->leader != 0 && raft->leader != message->from)) {
        return false;
    }
    if (raft->leader == 0) {
        raft_become_follower(raft, raft->term, message->from);
    }
    raft->leader_heard_us = raft->now_us;
    raft_election_reset(raft);
    return true;
}

static void dispatch_to_leader(struct raft *raft, const struct raft_message *message)
{
    struct raft_peer *peer = raft_peer_find(raft, message->from);
    if (raft->role != RAFT_LEADER || peer == NULL) {
        return;
    }
    if (message->kind == RAFT_APPEND_REPLY) {
        raft_on_append_reply(raft, peer, message);
    } else if (message->kind == RAFT_HEARTBEAT_REPLY) {
        raft_on_heartbeat_reply(raft, peer, message);
    } else {
        raft_on_snapshot_reply(raft, peer, message);
    }
}

static void dispatch(struct raft *raft, const struct raft_message *message)
{
    switch (message->kind) {
    case RAFT_PRE_VOTE:
        raft_on_pre_vote(raft, message);
        break;
    case RAFT_VOTE:
        raft_on_vote(raft, message);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        raft_on_vote_reply(raft, message);
        break;
    case RAFT_APPEND:
        raft_on_append(raft, message);
        break;
    case RAFT_HEARTBEAT:
        raft_on_heartbeat(raft, message);
        break;
    case RAFT_SNAPSHOT:
        raft_on_snapshot(raft, message);
        break;
    case RAFT_TIMEOUT_NOW:
        raft_on_timeout_now(raft, message);
        break;
    case RAFT_APPEND_REPLY:
    case RAFT_HEARTBEAT_REPLY:
    case RAFT_SNAPSHOT_REPLY:
        dispatch_to_leader(raft, message);
        break;
    case RAFT_READ:
        raft_on_read(raft, message);
        break;
    case RAFT_READ_REPLY:
        raft_on_read_reply(raft, message);
        break;
    }
}

void raft_receive(struct raft *raft, uint64_t now_us, const struct raft_message *message)
{
    raft_advance(raft, now_us);
    if (!message_is_sane(raft, message)) {
        return;
    }
    if (is_reply(message->kind) && raft_peer_find(raft, message->from) == NULL) {
        return;
    }
    if (!settle_terms(raft, message)) {
        return;
    }
    if (is_from_leader(message->kind) && !hear_leader(raft, message)) {
        return;
    }
    dispatch(raft, message);
}

// -- Output ---------------------------------------------------------------------------------------------------------

// An acknowledgement that waits for the same write as the one before it says everything that that one says.
static bool merge_into_last(struct raft *raft, const struct raft_message *message, uint64_t after)
{
    if (raft->n_held == 0 || message->kind != RAFT_APPEND_REPLY || message->reject) {
        return false;
    }
    struct raft_held *last = &raft->held[raft->n_held - 1];
    const struct raft_message *known = &last->message;
    bool same =
        known->kind == RAFT_APPEND_REPLY && !known->reject && known->to == message->to && known->term == message->term;
    if (!same || last->after != after || known->log_index > message->log_index) {
        return false;
    }
    last->message.log_index = message->log_index;
    return true;
}

void raft_queue(struct raft *raft, const struct raft_message *message, uint64_t after)
{
    bool is_vote = message->kind == RAFT_VOTE || message->kind == RAFT_VOTE_REPLY;
    if (after < raft->number_hard && !(is_vote && cc_mutant(CC_MUTANT_VOTE_NOT_DURABLE))) {
        after = raft->number_hard;
    }
    if (merge_into_last(raft, message, after)) {
        return;
    }
    raft->held = cc_grow(raft->held, &raft->held_capacity, raft->n_held + 1, sizeof(*raft->held));
    struct raft_held *place = &raft->held[raft->n_held++];
    *place = (struct raft_held){.message = *message, .after = after};
    place->message.from = raft->options.id;
}

// Moves the messages that may leave to the output.
static void release_held(struct raft *raft)
{
    size_t n_needed = raft->n_messages + raft->n_held;
    raft->messages = cc_grow(raft->messages, &raft->messages_capacity, n_needed, sizeof(*raft->messages));
    size_t n_kept = 0;
    for (size_t i = 0; i < raft->n_held; i++) {
        if (raft->held[i].after <= raft->number_done) {
            raft->messages[raft->n_messages++] = raft->held[i].message;
        } else {
            raft->held[n_kept++] = raft->held[i];
        }
    }
    raft->n_held = n_kept;
}

static void forget_sent_loads(struct raft *raft)
{
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        if (raft->peers[i].loaded_sent) {
            raft_peer_forget_loaded(&raft->peers[i]);
        }
    }
}

static void take_persist(struct raft *raft, struct raft_output *output)
{
    uint64_t last = raft_log_last(&raft->log);
    output->hard_state = (struct raft_hard_state){.term = raft->term, .vote = raft->vote};
    output->hard_state_changed = raft->number_hard > raft->number_last;
    output->n_entries = (size_t)(last - raft->handed_index);
    output->entries = output->n_entries > 0 ? raft_log_entry(&raft->log, raft->handed_index + 1) : NULL;
    if (!output->hard_state_changed && output->n_entries == 0) {
        return;
    }
    raft->handed_index = last;
    raft->number_last++;
    output->persist_number = raft->number_last;
    push_write(raft, raft->number_last, last);
}

static void take_reads(struct raft *raft, struct raft_output *output)
{
    struct raft_read_result *results = raft->results;
    size_t capacity = raft->results_capacity;
    output->reads = results;
    output->n_reads = raft->n_results;
    raft->results = raft->results_out;
    raft->results_capacity = raft->results_out_capacity;
    raft->results_out = results;
    raft->results_out_capacity = capacity;
    raft->n_results = 0;
}

static bool identity_changed(const struct raft *raft)
{
    const struct raft_identity *out = &raft->identity_out;
    return out->role != raft->role || out->term != raft->term || out->leader != raft->leader;
}

void raft_take_output(struct raft *raft, struct raft_output *output_out)
{
    *output_out = (struct raft_output){0};
    forget_sent_loads(raft);
    raft->n_messages = 0;
    raft->n_loads = 0;
    take_persist(raft, output_out);
    if (raft_hard_state_is_durable(raft)) {
        raft_reads_begin_round(raft);
    }
    release_held(raft);
    if (raft_hard_state_is_durable(raft)) {
        raft_feed(raft);
    }
    take_reads(raft, output_out);
    output_out->messages = raft->messages;
    output_out->n_messages = raft->n_messages;
    output_out->loads = raft->loads;
    output_out->n_loads = raft->n_loads;
    output_out->commit = raft_commit(raft);
    output_out->role_changed = identity_changed(raft);
    raft->commit_out = output_out->commit;
    raft->identity_out = (struct raft_identity){.role = raft->role, .term = raft->term, .leader = raft->leader};
}

static bool held_is_ready(const struct raft *raft)
{
    for (size_t i = 0; i < raft->n_held; i++) {
        if (raft->held[i].after <= raft->number_done) {
            return true;
        }
    }
    return false;
}

bool raft_has_output(const struct raft *raft)
{
    bool to_persist = raft->number_hard > raft->number_last || raft_log_last(&raft->log) > raft->handed_index;
    bool to_answer = raft->n_results > 0 || raft_commit(raft) != raft->commit_out || identity_changed(raft);
    if (to_persist || to_answer || held_is_ready(raft)) {
        return true;
    }
    bool to_feed = raft->role == RAFT_LEADER && raft->feed_due;
    return raft_hard_state_is_durable(raft) && (to_feed || raft_reads_wait(raft));
}

// -- Questions ------------------------------------------------------------------------------------------------------

const char *raft_role_name(enum raft_role role)
{
    switch (role) {
    case RAFT_FOLLOWER:
        return "follower";
    case RAFT_PRE_CANDIDATE:
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_LEADER:
        return "leader";
    case RAFT_LEARNER:
        return "learner";
    }
    return "unknown";
}

enum raft_role raft_role(const struct raft *raft)
{
    return raft->role;
}

uint64_t raft_term(const struct raft *raft)
{
    return raft->term;
}

uint32_t raft_leader(const struct raft *raft)
{
    return raft->leader;
}

// Committed elsewhere, but not yet on disk here, does not count: PostgreSQL must never be ahead of the own log.
uint64_t raft_commit(const struct raft *raft)
{
    return raft->commit < raft->persisted_index ? raft->commit : raft->persisted_index;
}

uint64_t raft_first_index(const struct raft *raft)
{
    return raft->log.base_index + 1;
}

uint64_t raft_last_index(const struct raft *raft)
{
    return raft_log_last(&raft->log);
}

uint64_t raft_persisted_index(const struct raft *raft)
{
    return raft->persisted_index;
}

uint64_t raft_term_at(const struct raft *raft, uint64_t index)
{
    return raft_log_term_at(&raft->log, index);
}

const struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index)
{
    return raft_log_entry(&raft->log, index);
}

bool raft_is_settled(const struct raft *raft)
{
    return raft->role == RAFT_LEADER && raft->commit >= raft->term_start;
}

uint64_t raft_snapshot_wanted(const struct raft *raft)
{
    return raft->snapshot_wanted;
}

enum cc_status raft_progress_of(const struct raft *raft, uint32_t id, struct raft_progress *progress_out)
{
    if (raft->role != RAFT_LEADER) {
        return CC_NOT_FOUND;
    }
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id == id) {
            *progress_out = (struct raft_progress){
                .id = id,
                .voter = peer->voter,
                .match = peer->match,
                .next = peer->next,
                .heard_us = peer->heard_us,
                .n_in_flight = peer->n_in_flight,
                .probing = peer->flow != RAFT_FLOW_PIPELINE,
            };
            return CC_OK;
        }
    }
    return CC_NOT_FOUND;
}
