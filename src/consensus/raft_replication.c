// Log replication (thesis 3.5, 10.2), the commit rule (3.6.2), check-quorum (6.2), snapshots asked for (5).
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "consensus/raft_internal.h"

enum { PROBE_BYTES_MAX = 64 << 10 }; // while the logs' agreement is unknown, entries may be sent in vain

// -- Leader: office -------------------------------------------------------------------------------------------------

void raft_peer_start(struct raft *raft, struct raft_peer *peer)
{
    raft_peer_forget_loaded(peer);
    *peer = (struct raft_peer){
        .id = peer->id,
        .voter = peer->voter,
        .recovering = peer->recovering,
        .flow = RAFT_FLOW_PROBE,
        .next = raft_log_last(&raft->log) + 1,
        .heard_us = raft->now_us,
        .fed_us = raft->now_us,
    };
}

static uint64_t count_uncommitted_bytes(const struct raft *raft)
{
    uint64_t n_bytes = 0;
    for (uint64_t index = raft->commit + 1; index <= raft_log_last(&raft->log); index++) {
        const struct raft_entry *entry = raft_log_entry(&raft->log, index);
        n_bytes += entry != NULL ? raft_log_entry_bytes(entry) : 0;
    }
    return n_bytes;
}

// "Upon election: [...] a leader appends a no-op entry at the start of its term" (thesis 6.4 and 3.6.2): with it commits
// everything before it.
void raft_leader_start(struct raft *raft)
{
    raft->role = RAFT_LEADER;
    raft->leader = raft->options.id;
    raft->campaign_transfer = false;
    raft->transfer_failed_to = 0;
    raft_transfer_clear(raft);
    raft->snapshot_wanted = 0;
    raft->round = 1;
    raft->heartbeat_due_us = raft->now_us + raft->options.heartbeat_us;
    raft->notice_due_us = 0;
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        raft_peer_start(raft, &raft->peers[i]);
    }
    struct raft_entry entry = {.index = raft_log_last(&raft->log) + 1, .term = raft->term, .kind = RAFT_ENTRY_NOOP};
    raft->term_start = entry.index;
    raft->uncommitted_bytes = count_uncommitted_bytes(raft) + raft_log_entry_bytes(&entry);
    raft_append_entry(raft, &entry);
    raft->feed_due = true;
    raft_commit_noted(raft);
}

// "a leader steps down if an election timeout elapses without a successful round of heartbeats to a majority" (thesis 6.2).
// Only answers count: they prove both directions (FAILURES A5).
static bool has_quorum_contact(const struct raft *raft)
{
    uint64_t heard[CC_REPLICAS_MAX];
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        heard[i] = raft->peers[i].heard_us;
    }
    return raft->now_us - raft_quorum_value(raft, raft->now_us, heard) <= raft->options.election_us;
}

void raft_leader_tick(struct raft *raft)
{
    if (!has_quorum_contact(raft)) {
        raft_become_follower(raft, raft->term, 0);
        return;
    }
    raft_transfer_tick(raft);
    raft->feed_due = raft->feed_due || (raft->notice_due_us != 0 && raft->now_us >= raft->notice_due_us);
    if (raft->now_us < raft->heartbeat_due_us) {
        return;
    }
    raft->heartbeat_due_us = raft->now_us + raft->options.heartbeat_us;
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        struct raft_peer *peer = &raft->peers[i];
        peer->heartbeat_due = true;
        peer->probe_sent = false;
        peer->snapshot_due = peer->flow == RAFT_FLOW_SNAPSHOT;
    }
    raft->feed_due = true;
}

// -- Leader: proposals ----------------------------------------------------------------------------------------------

static enum cc_status check_config_proposal(struct raft *raft, const struct cc_blob *payload)
{
    struct raft_membership membership;
    if (raft_membership_read(cc_blob_slice(payload), &membership) != CC_OK) {
        return CC_INVALID;
    }
    // Not before an entry of the own term is committed: D. Ongaro, raft-dev, 10 July 2015 (FAILURES A9).
    bool settled = raft_is_settled(raft) || cc_mutant(CC_MUTANT_CONFIG_UNSETTLED);
    if (!settled || raft_config_index(raft) > raft->commit) {
        return CC_UNAVAILABLE;
    }
    return raft_membership_check(raft, &membership);
}

enum cc_status raft_propose(struct raft *raft, enum raft_entry_kind kind, uint64_t hlc, struct cc_blob *payload,
                            uint64_t *index_out)
{
    if (raft->role != RAFT_LEADER) {
        return CC_NOT_LEADER;
    }
    struct raft_entry entry = {
        .index = raft_log_last(&raft->log) + 1,
        .term = raft->term,
        .hlc = hlc,
        .kind = kind,
        .payload = payload,
    };
    if (kind != RAFT_ENTRY_DATA && kind != RAFT_ENTRY_CONFIG) {
        return CC_INVALID;
    }
    if (cc_blob_slice(payload).n > CC_ENTRY_BYTES_MAX) {
        return CC_TOO_LARGE;
    }
    size_t n_bytes = raft_log_entry_bytes(&entry);
    if (raft->transfer_to != 0 || raft->uncommitted_bytes + n_bytes > RAFT_UNCOMMITTED_BYTES_MAX) {
        return CC_UNAVAILABLE;
    }
    enum cc_status status = kind == RAFT_ENTRY_CONFIG ? check_config_proposal(raft, payload) : CC_OK;
    if (status != CC_OK) {
        return status;
    }
    raft->uncommitted_bytes += n_bytes;
    raft_append_entry(raft, &entry);
    raft->feed_due = true;
    *index_out = entry.index;
    return CC_OK;
}

// -- Leader: commit -------------------------------------------------------------------------------------------------

static void forget_uncommitted_bytes(struct raft *raft, uint64_t first, uint64_t last)
{
    for (uint64_t index = first; index <= last; index++) {
        const struct raft_entry *entry = raft_log_entry(&raft->log, index);
        raft->uncommitted_bytes -= entry != NULL ? raft_log_entry_bytes(entry) : 0;
    }
}

// A leader that the committed membership no longer has as a voter leaves: "steps down [...] once C_new is committed" (thesis
// 4.2.2). The best of the others need not wait for a timeout.
static void leave_office(struct raft *raft)
{
    struct raft_peer *successor = NULL;
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (peer->voter && peer->match == raft_log_last(&raft->log)) {
            successor = peer;
        }
    }
    if (successor != NULL) {
        struct raft_message message = {.kind = RAFT_TIMEOUT_NOW, .to = successor->id, .term = raft->term};
        raft_queue(raft, &message, 0);
    }
    raft_become_follower(raft, raft->term, 0);
}

void raft_commit_to(struct raft *raft, uint64_t index)
{
    if (index <= raft->commit) {
        return;
    }
    assert(index <= raft_log_last(&raft->log));
    if (raft->role == RAFT_LEADER) {
        forget_uncommitted_bytes(raft, raft->commit + 1, index);
        raft->feed_due = true;
    }
    raft->commit = index;
    raft_config_committed(raft);
    if (raft->role == RAFT_LEADER && !raft->self_voter && raft_config_index(raft) <= index) {
        leave_office(raft);
    }
}

// Follower: up to here the log is the leader's.
static uint64_t agreed_index(const struct raft *raft)
{
    uint64_t last = raft_log_last(&raft->log);
    return raft->agreed < last ? raft->agreed : last;
}

// A log that is an older copy may hold other entries under these indexes. That of a leader holds all that is committed.
void raft_commit_noted(struct raft *raft)
{
    uint64_t known = raft->role == RAFT_LEADER ? raft->persisted_index : agreed_index(raft);
    raft_commit_to(raft, raft->noted < known ? raft->noted : known);
}

// "only log entries from the leader's current term are committed by counting replicas; once an entry from the current term has
// been committed in this way, then all prior entries are committed indirectly" (thesis 3.6.2). The leader's own copy counts when
// it is on disk (10.2.1).
void raft_commit_try(struct raft *raft)
{
    if (raft->role != RAFT_LEADER) {
        return;
    }
    uint64_t match[CC_REPLICAS_MAX];
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        match[i] = raft->peers[i].match;
    }
    uint64_t own = cc_mutant(CC_MUTANT_COMMIT_UNSYNCED) ? raft_log_last(&raft->log) : raft->persisted_index;
    uint64_t index = raft_quorum_value(raft, own, match);
    bool own_term = raft_log_term_at(&raft->log, index) == raft->term;
    if (index > raft->commit && (own_term || cc_mutant(CC_MUTANT_COMMIT_OLD_TERM))) {
        raft_commit_to(raft, index);
    }
}

// -- Leader: answers of followers -----------------------------------------------------------------------------------

static void start_probe(struct raft *raft, struct raft_peer *peer, uint64_t next)
{
    raft_peer_forget_loaded(peer);
    peer->flow = RAFT_FLOW_PROBE;
    peer->next = next;
    peer->probe_sent = false;
    peer->nudge_due = false;
    peer->load_pending = false;
    peer->n_in_flight = 0;
    raft->feed_due = true;
}

// Skips whole terms: "the leader will decrement nextIndex to bypass all of the conflicting entries in that term" (thesis 3.5).
static void on_append_refused(struct raft *raft, struct raft_peer *peer, const struct raft_message *message)
{
    uint64_t refused = message->context; // the entry before those that were refused
    bool stale = peer->flow == RAFT_FLOW_PROBE ? refused != peer->next - 1 : refused <= peer->match;
    if (stale || refused == 0 || peer->flow == RAFT_FLOW_SNAPSHOT) {
        return;
    }
    uint64_t agreed = raft_log_agreement(&raft->log, message->log_index, message->log_term);
    if (agreed >= refused) {
        agreed = refused - 1;
    }
    start_probe(raft, peer, (agreed > peer->match ? agreed : peer->match) + 1);
}

static void free_in_flight(struct raft_peer *peer, uint64_t index)
{
    while (peer->n_in_flight > 0 && peer->in_flight[peer->in_flight_head] <= index) {
        peer->in_flight_head = (peer->in_flight_head + 1) % CC_APPEND_IN_FLIGHT_MAX;
        peer->n_in_flight--;
    }
}

void raft_on_append_reply(struct raft *raft, struct raft_peer *peer, const struct raft_message *message)
{
    peer->heard_us = raft->now_us;
    peer->fed_us = raft->now_us;
    if (message->reject && !cc_mutant(CC_MUTANT_HINT_IS_MATCH)) {
        on_append_refused(raft, peer, message);
        return;
    }
    if (message->log_index > raft_log_last(&raft->log)) {
        return; // nobody can have what was never sent
    }
    free_in_flight(peer, message->log_index);
    if (message->log_index > peer->match) {
        peer->match = message->log_index;
    }
    if (peer->flow != RAFT_FLOW_PIPELINE) {
        start_probe(raft, peer, peer->match + 1);
        peer->flow = RAFT_FLOW_PIPELINE;
    }
    if (peer->next <= peer->match) {
        peer->next = peer->match + 1;
    }
    raft->feed_due = true;
    raft_commit_try(raft);
    if (raft->role == RAFT_LEADER) {
        raft_transfer_try(raft);
    }
}

void raft_on_heartbeat_reply(struct raft *raft, struct raft_peer *peer, const struct raft_message *message)
{
    peer->heard_us = raft->now_us;
    // It hears us, but does not answer the last append: that, or its answer, may be lost. Or it has started again and waits for one.
    bool overdue = raft->now_us - peer->fed_us >= raft->options.heartbeat_us;
    bool in_flight = peer->match + 1 < peer->next;
    if (peer->flow == RAFT_FLOW_PIPELINE && (in_flight ? overdue : message->reject)) {
        peer->nudge_due = true;
        raft->feed_due = true;
    }
    if (message->context > peer->round_acked && message->context <= raft->round) {
        peer->round_acked = message->context;
        raft_reads_confirm(raft);
    }
}

void raft_on_snapshot_reply(struct raft *raft, struct raft_peer *peer, const struct raft_message *message)
{
    peer->heard_us = raft->now_us;
    uint64_t last = raft_log_last(&raft->log);
    if (peer->flow != RAFT_FLOW_SNAPSHOT || message->reject || message->log_index < raft->log.base_index) {
        return;
    }
    start_probe(raft, peer, (message->log_index < last ? message->log_index : last) + 1);
}

void raft_peer_reset(struct raft *raft, uint64_t now_us, uint32_t peer_id)
{
    raft_advance(raft, now_us);
    if (raft->role != RAFT_LEADER) {
        if (peer_id == raft->leader) {
            raft_reads_fail(raft); // requests or answers may be lost
        }
        return;
    }
    struct raft_peer *peer = raft_peer_find(raft, peer_id);
    if (peer != NULL && peer->flow != RAFT_FLOW_SNAPSHOT) {
        start_probe(raft, peer, peer->flow == RAFT_FLOW_PROBE ? peer->next : peer->match + 1);
        peer->heartbeat_due = true;
    }
}

// -- Leader: feeding ------------------------------------------------------------------------------------------------

static void push_message(struct raft *raft, const struct raft_message *message)
{
    raft->messages = cc_grow(raft->messages, &raft->messages_capacity, raft->n_messages + 1, sizeof(*raft->messages));
    struct raft_message *place = &raft->messages[raft->n_messages++];
    *place = *message;
    place->from = raft->options.id;
    place->term = raft->term;
}

// How many of `entries` go into one append: at least the first, unless that one is not welcome.
static size_t count_within(const struct raft_entry *entries, size_t n, size_t n_bytes_max, bool at_least_one)
{
    size_t n_bytes = 0;
    size_t count = 0;
    while (count < n && count < CC_APPEND_ENTRIES_MAX) {
        n_bytes += raft_log_entry_bytes(&entries[count]);
        if (n_bytes > n_bytes_max && (count > 0 || !at_least_one)) {
            break;
        }
        count++;
    }
    return count;
}

static void push_append(struct raft *raft, struct raft_peer *peer, const struct raft_entry *entries, size_t n)
{
    uint64_t last = peer->next - 1 + n;
    struct raft_message message = {
        .kind = RAFT_APPEND,
        .to = peer->id,
        .log_index = peer->next - 1,
        .log_term = raft_log_term_at(&raft->log, peer->next - 1),
        .commit = raft->commit,
        .entries = n > 0 ? entries : NULL,
        .n_entries = n,
    };
    push_message(raft, &message);
    peer->fed_us = raft->now_us;
    uint64_t told = raft->commit < last ? raft->commit : last;
    if (peer->flow == RAFT_FLOW_PIPELINE && told > peer->commit_told) {
        peer->commit_told = told;
    }
}

static void ask_for_load(struct raft *raft, struct raft_peer *peer)
{
    if (peer->load_pending) {
        return;
    }
    peer->load_pending = true;
    peer->load_first = peer->next;
    uint64_t last = raft->log.cache_first - 1;
    if (last - peer->next >= CC_APPEND_ENTRIES_MAX) {
        last = peer->next + CC_APPEND_ENTRIES_MAX - 1;
    }
    raft->loads = cc_grow(raft->loads, &raft->loads_capacity, raft->n_loads + 1, sizeof(*raft->loads));
    raft->loads[raft->n_loads++] = (struct raft_load){.peer = peer->id, .first = peer->next, .last = last};
}

// The entries from `next` on, from memory or as they came from disk. NULL: not at hand.
static const struct raft_entry *entries_at_hand(struct raft *raft, struct raft_peer *peer, size_t *n_out)
{
    uint64_t last = raft_log_last(&raft->log);
    const struct raft_entry *cached = raft_log_entry(&raft->log, peer->next);
    if (cached != NULL) {
        *n_out = (size_t)(last - peer->next + 1);
        return cached;
    }
    if (peer->n_loaded > 0 && !peer->loaded_sent && peer->loaded[0].index == peer->next) {
        peer->loaded_sent = true;
        *n_out = peer->n_loaded;
        return peer->loaded;
    }
    return NULL;
}

static void feed_pipeline(struct raft *raft, struct raft_peer *peer)
{
    uint64_t last = raft_log_last(&raft->log);
    while (peer->next <= last && peer->n_in_flight < CC_APPEND_IN_FLIGHT_MAX) {
        size_t n = 0;
        const struct raft_entry *entries = entries_at_hand(raft, peer, &n);
        if (entries == NULL) {
            ask_for_load(raft, peer);
            break;
        }
        n = count_within(entries, n, CC_APPEND_BYTES_MAX, true);
        push_append(raft, peer, entries, n);
        peer->next += n;
        uint32_t slot = (peer->in_flight_head + peer->n_in_flight) % CC_APPEND_IN_FLIGHT_MAX;
        peer->in_flight[slot] = peer->next - 1;
        peer->n_in_flight++;
        peer->nudge_due = false;
    }
    if (peer->nudge_due) {
        push_append(raft, peer, NULL, 0);
        peer->nudge_due = false;
    }
}

static void feed_probe(struct raft *raft, struct raft_peer *peer)
{
    if (peer->probe_sent) {
        return;
    }
    peer->probe_sent = true;
    const struct raft_entry *entries = raft_log_entry(&raft->log, peer->next);
    size_t n = entries != NULL ? (size_t)(raft_log_last(&raft->log) - peer->next + 1) : 0;
    push_append(raft, peer, entries, count_within(entries, n, PROBE_BYTES_MAX, false));
}

static void feed_snapshot(struct raft *raft, struct raft_peer *peer)
{
    if (!peer->snapshot_due) {
        return;
    }
    peer->snapshot_due = false;
    struct raft_message message = {
        .kind = RAFT_SNAPSHOT,
        .to = peer->id,
        .log_index = raft->log.base_index,
        .log_term = raft->log.base_term,
        .commit = raft->commit,
    };
    push_message(raft, &message);
}

static void feed_entries(struct raft *raft, struct raft_peer *peer)
{
    if (peer->flow != RAFT_FLOW_SNAPSHOT && peer->next <= raft->log.base_index) {
        peer->flow = RAFT_FLOW_SNAPSHOT;
        peer->snapshot_due = true;
    }
    switch (peer->flow) {
    case RAFT_FLOW_PROBE:
        feed_probe(raft, peer);
        break;
    case RAFT_FLOW_PIPELINE:
        feed_pipeline(raft, peer);
        break;
    case RAFT_FLOW_SNAPSHOT:
        feed_snapshot(raft, peer);
        break;
    }
}

// A heartbeat names no entries, so its commit index is capped at what the follower is known to have. Under load the next append
// tells it soon enough, and the follower need not wake up for it. True: it has not been told yet.
static bool feed_heartbeat(struct raft *raft, struct raft_peer *peer, bool notices_due)
{
    bool capped = peer->match < raft->commit && !cc_mutant(CC_MUTANT_HEARTBEAT_UNCAPPED);
    uint64_t commit = capped ? peer->match : raft->commit;
    bool untold = peer->commit_told < commit;
    if (cc_mutant(CC_MUTANT_NOTICE_FORGOTTEN) && raft->options.notice_us > 0) {
        untold = false;
        commit = peer->commit_told;
    }
    peer->notice_due = peer->notice_due && peer->commit_told < raft->commit;
    if (!peer->heartbeat_due && !(untold && (notices_due || peer->notice_due))) {
        return untold;
    }
    struct raft_message message = {
        .kind = RAFT_HEARTBEAT,
        .to = peer->id,
        .commit = commit,
        .context = peer->heartbeat_due ? raft->round : 0, // 0: nothing but a notice of the commit index, not answered
    };
    push_message(raft, &message);
    peer->heartbeat_due = false;
    peer->notice_due = false;
    peer->commit_told = commit > peer->commit_told ? commit : peer->commit_told;
    return false;
}

void raft_feed(struct raft *raft)
{
    if (raft->role != RAFT_LEADER || !raft->feed_due) {
        return;
    }
    raft->feed_due = false;
    bool notices_due = raft->options.notice_us == 0 || (raft->notice_due_us != 0 && raft->now_us >= raft->notice_due_us);
    bool untold = false;
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        feed_entries(raft, &raft->peers[i]);
        untold = feed_heartbeat(raft, &raft->peers[i], notices_due) || untold;
    }
    if (!untold) {
        raft->notice_due_us = 0;
    } else if (raft->notice_due_us == 0) {
        raft->notice_due_us = raft->now_us + raft->options.notice_us;
    }
}

void raft_tell_commit(struct raft *raft, uint32_t peer_id)
{
    struct raft_peer *peer = raft_peer_find(raft, peer_id);
    if (raft->role == RAFT_LEADER && peer != NULL) {
        peer->notice_due = true;
        raft->feed_due = true;
    }
}

void raft_loaded(struct raft *raft, uint64_t now_us, uint32_t peer_id, const struct raft_entry *entries,
                 size_t n_entries)
{
    raft_advance(raft, now_us);
    struct raft_peer *peer = raft_peer_find(raft, peer_id);
    if (raft->role != RAFT_LEADER || peer == NULL || !peer->load_pending) {
        return;
    }
    if (n_entries > 0 && entries[0].index != peer->load_first) {
        return; // of an earlier request
    }
    peer->load_pending = false;
    raft_peer_forget_loaded(peer);
    size_t n = count_within(entries, n_entries, CC_APPEND_BYTES_MAX, true);
    for (size_t i = 0; i < n; i++) {
        if (!raft_log_matches(&raft->log, entries[i].index, entries[i].term) ||
            entries[i].index != entries[0].index + i) {
            n = i;
        }
    }
    if (n == 0) {
        return;
    }
    peer->loaded = cc_alloc_array(n, sizeof(*peer->loaded));
    peer->n_loaded = n;
    for (size_t i = 0; i < n; i++) {
        peer->loaded[i] = entries[i];
        (void)cc_blob_ref(entries[i].payload);
    }
    raft->feed_due = true;
}

// -- Follower -------------------------------------------------------------------------------------------------------

static void refuse_append(struct raft *raft, const struct raft_message *message)
{
    uint64_t hint = raft_log_agreement(&raft->log, message->log_index, message->log_term);
    struct raft_message reply = {
        .kind = RAFT_APPEND_REPLY,
        .to = message->from,
        .term = raft->term,
        .log_index = hint,
        .log_term = raft_log_term_at(&raft->log, hint),
        .context = message->log_index,
        .reject = true,
    };
    raft_queue(raft, &reply, 0);
}

// "If an existing entry conflicts with a new one (same index but different terms), delete the existing entry and all that
// follow it. Append any new entries not already in the log" (thesis figure 3.1). A message that is merely short deletes
// nothing (FAILURES A14).
static void take_entries(struct raft *raft, const struct raft_message *message)
{
    size_t i = 0;
    while (i < message->n_entries) {
        const struct raft_entry *entry = &message->entries[i];
        bool known =
            raft_log_matches(&raft->log, entry->index, entry->term) && !cc_mutant(CC_MUTANT_TRUNCATE_ALWAYS);
        if (entry->index > raft->log.base_index && !known) {
            break;
        }
        i++;
    }
    if (i < message->n_entries) {
        raft_truncate(raft, message->entries[i].index - 1);
    }
    for (; i < message->n_entries; i++) {
        raft_append_entry(raft, &message->entries[i]);
    }
}

void raft_on_append(struct raft *raft, const struct raft_message *message)
{
    uint64_t previous = message->log_index;
    bool committed_here = previous < raft->log.base_index; // so every leader has it
    bool unchecked = cc_mutant(CC_MUTANT_PREVIOUS_UNCHECKED) && previous <= raft_log_last(&raft->log);
    if (!committed_here && !unchecked && !raft_log_matches(&raft->log, previous, message->log_term)) {
        refuse_append(raft, message);
        return;
    }
    take_entries(raft, message);
    raft->snapshot_wanted = 0;
    uint64_t agreed = previous + message->n_entries;
    raft->agreed = agreed > raft->agreed ? agreed : raft->agreed;
    uint64_t known = cc_mutant(CC_MUTANT_COMMIT_UNCAPPED) ? raft_log_last(&raft->log) : agreed;
    raft_commit_to(raft, message->commit < known ? message->commit : known);
    raft_commit_noted(raft);
    if (agreed < raft->commit) {
        agreed = raft->commit;
    }
    bool durable = agreed <= raft->persisted_index || cc_mutant(CC_MUTANT_ACK_NOT_DURABLE);
    struct raft_message reply = {
        .kind = RAFT_APPEND_REPLY,
        .to = message->from,
        .term = raft->term,
        .log_index = agreed,
    };
    raft_queue(raft, &reply, durable ? 0 : raft->number_entries);
}

// The leader caps the commit index at what this replica has acknowledged, perhaps before a restart: if the log is an older copy, it may
// hold something else there. So it counts as far as appends have shown in this life that the logs agree.
void raft_on_heartbeat(struct raft *raft, const struct raft_message *message)
{
    uint64_t known = cc_mutant(CC_MUTANT_HEARTBEAT_UNCAPPED) ? raft_log_last(&raft->log) : agreed_index(raft);
    raft_commit_to(raft, message->commit < known ? message->commit : known);
    if (message->context == 0) {
        return;
    }
    struct raft_message reply = {
        .kind = RAFT_HEARTBEAT_REPLY,
        .to = message->from,
        .term = raft->term,
        .context = message->context,
        .reject = message->commit > raft->commit,
    };
    raft_queue(raft, &reply, 0);
}

void raft_on_snapshot(struct raft *raft, const struct raft_message *message)
{
    if (message->log_index > raft->commit) {
        raft->snapshot_wanted = message->log_index;
        return;
    }
    struct raft_message reply = {
        .kind = RAFT_SNAPSHOT_REPLY,
        .to = message->from,
        .term = raft->term,
        .log_index = raft->commit,
    };
    raft_queue(raft, &reply, 0);
}
