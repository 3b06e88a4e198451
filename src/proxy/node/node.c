// The node's frame: creation, recovery, the turn (events in, effects out), and what its parts share.
#include "proxy/node/node_internal.h"

#include <assert.h>
#include <stdlib.h>

static void outbox_init(struct node_outbox *out)
{
    cc_arena_init(&out->arena);
}

static void outbox_clear(struct node_outbox *out)
{
    cc_arena_finish(&out->arena);
    cc_arena_init(&out->arena);
    wal_batch_clear(&out->log);
    out->log_number = 0;
    out->truncate_index = out->truncate_record = 0;
    out->loads.n = 0;
    out->load_changes = false;
    out->sends.n = 0;
    out->jobs[DB_STRONG].n = 0;
    out->jobs[DB_WEAK].n = 0;
    out->snapshots.n = 0;
    out->repairs.n = 0;
    out->snapshot_cancel = false;
    out->recovered = out->forgot = false;
    out->answers.n = 0;
    out->facts.n = 0;
    out->catalog_changed = false;
    out->members_changed = false;
    out->removed_changed = false;
}

static void outbox_finish(struct node_outbox *out)
{
    cc_arena_finish(&out->arena);
    wal_batch_finish(&out->log);
    free(out->loads.at);
    free(out->sends.at);
    free(out->jobs[DB_STRONG].at);
    free(out->jobs[DB_WEAK].at);
    free(out->snapshots.at);
    free(out->repairs.at);
    free(out->answers.at);
    free(out->facts.at);
}

struct node *node_create(const struct node_options *options)
{
    struct node *node = cc_alloc(sizeof(*node));
    node->options = *options;
    node->options.facts_of_database = cc_slice_of(NULL, 0);
    if (node->options.ahead_bytes == 0) {
        node->options.ahead_bytes = NODE_AHEAD_BYTES;
    }
    if (node->options.batch_operations_max == 0) {
        node->options.batch_operations_max = CC_BATCH_OPERATIONS_MAX;
    }
    if (node->options.own_changes_bytes_max == 0) {
        node->options.own_changes_bytes_max = NODE_OWN_CHANGES_BYTES_MAX;
    }
    if (node->options.frontier_interval_us == 0) {
        node->options.frontier_interval_us = 1000 * 1000;
    }
    if (node->options.request_window_us == 0) {
        node->options.request_window_us = 60ull * 1000 * 1000;
    }
    if (node->options.request_buckets == 0) {
        node->options.request_buckets = CC_REQUEST_WINDOW;
    }
    node_set_facts(node, options->facts_of_database);
    node->raft = raft_create(&options->raft, (struct raft_hard_state){0});
    node->members.removed_at = options->removed_at;
    clock_hlc_init(&node->clock, options->raft.id, options->incarnation, options->clock_skew_ms_max);
    for (size_t i = 0; i < 2; i++) {
        outbox_init(&node->outboxes[i]);
    }
    node->out = &node->outboxes[0];
    for (uint32_t i = 0; i < options->raft.membership.n_members; i++) {
        uint32_t id = options->raft.membership.members[i].id;
        if (id != options->raft.id) {
            node->peers[node->n_peers++] = (struct peer){.id = id, .member = true};
        }
    }
    forward_init(node);
    weak_init(node);
    return node;
}

void node_destroy(struct node *node)
{
    if (node == NULL) {
        return;
    }
    forward_finish_all(node);
    read_finish_all(node);
    weak_finish_all(node);
    repair_finish(node);
    for (size_t lane = 0; lane < DB_LANES; lane++) {
        node_jobs_forget(node, (enum db_lane)lane);
    }
    free(node->strong.executing_ids.at);
    free(node->persists.at);
    log_finish(node);
    raft_destroy(node->raft);
    cc_buffer_finish(&node->facts_of_database);
    for (size_t i = 0; i < 2; i++) {
        outbox_finish(&node->outboxes[i]);
    }
    free(node);
}

static enum cc_status restore_entry(struct node *node, struct cc_slice body)
{
    struct raft_entry entry;
    enum cc_status status = wal_read_entry(body, &entry);
    if (status != CC_OK) {
        return status;
    }
    node->restored_hlc = entry.hlc > node->restored_hlc ? entry.hlc : node->restored_hlc;
    status = raft_restore_entry(node->raft, &entry);
    cc_blob_unref(entry.payload);
    return status;
}

enum cc_status node_restore(struct node *node, const struct wal_record *record)
{
    assert(!node->started);
    uint64_t index, term;
    struct wal_mark mark;
    struct raft_hard_state hard_state;
    enum cc_status status = CC_CORRUPT;
    switch (record->kind) {
    case WAL_IDENTITY: // the shell has compared it
        return CC_OK;
    case WAL_HARD_STATE:
        status = wal_read_hard_state(record->body, &hard_state);
        if (status == CC_OK) {
            raft_restore_hard_state(node->raft, hard_state);
        }
        return status;
    case WAL_ENTRY:
        return restore_entry(node, record->body);
    case WAL_CHANGE:
        return weak_restore(node, record->body);
    case WAL_BASE:
        status = wal_read_base(record->body, &index, &term);
        if (status == CC_OK) {
            raft_restore_base(node->raft, index, term);
        }
        return status;
    case WAL_MEMBERSHIP:
        return membership_restore(node, record->body);
    case WAL_MARK:
        status = wal_read_mark(record->body, &mark);
        if (status == CC_OK) {
            clock_hlc_floor(&node->clock, mark.hlc);
            raft_restore_commit(node->raft, mark.commit);
            origin_restore_mark(node, &mark);
            node->upkeep.mark.n_memories = mark.n_memories;
            memcpy(node->upkeep.mark.memories, mark.memories, sizeof(mark.memories));
        }
        return status;
    }
    return status;
}

void node_log_promises(struct node *node, uint64_t promise_number)
{
    node->log_promise = promise_number;
}

void node_start(struct node *node, uint64_t now_us, uint64_t wall_ms)
{
    node->started = true;
    node->time = (struct node_time){now_us, wall_ms};
    node->upkeep.started_us = now_us;
    node->led_us = now_us;
    (void)!clock_hlc_observe(&node->clock, node->restored_hlc, wall_ms); // not those of a leader whose clock was far ahead
    recovery_start(node);
    raft_set_eligible(node->raft, now_us, false); // until the database is up
    membership_refresh(node);
    recovery_recall(node);
    raft_tick(node->raft, now_us);
}

void node_set_facts(struct node *node, struct cc_slice facts)
{
    cc_buffer_clear(&node->facts_of_database);
    cc_buffer_append_slice(&node->facts_of_database, facts);
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].up) {
            peer_send_hello(node, &node->peers[i]);
        }
    }
}

// -- Shared by the parts ---------------------------------------------------------------------------------------------

void node_fact(struct node *node, enum node_fact_kind kind, uint64_t a, uint64_t b, uint64_t c, const char *text)
{
    struct node_fact fact = {kind, a, b, c, text == NULL ? NULL : cc_arena_text(&node->out->arena, text)};
    NODE_PUSH(node->out->facts, fact);
}

struct cc_slice node_copy(struct node *node, struct cc_slice bytes)
{
    return cc_arena_slice(&node->out->arena, bytes);
}

void node_send(struct node *node, uint32_t peer, struct cc_slice frame)
{
    struct node_send send = {peer, node_copy(node, frame)};
    NODE_PUSH(node->out->sends, send);
}

void node_answer_outcome(struct node *node, uint64_t token, struct cc_slice outcome, uint64_t index)
{
    struct node_answer answer = {.token = token, .kind = NODE_ANSWER_OUTCOME, .outcome = node_copy(node, outcome), .index = index};
    NODE_PUSH(node->out->answers, answer);
}

static struct cc_slice encode_outcome(struct node *node, const struct rest_outcome *outcome)
{
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, outcome);
    struct cc_slice copy = node_copy(node, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return copy;
}

// The schema version that a plan must be made for: a leader may have executed a migration that its database has not committed.
static uint32_t newest_schema(const struct node *node)
{
    const struct strong *strong = &node->strong;
    bool is_ahead = strong->state == STRONG_LEAD && strong->executed_schema > strong->schema_version;
    return is_ahead ? strong->executed_schema : strong->schema_version;
}

struct cc_slice node_refusal(struct node *node, enum cc_status status, const char *code, const char *message,
                             const char *hint)
{
    struct rest_outcome outcome = {.kind = REST_REFUSED,
                                   .status = status,
                                   .n_rows = status == CC_STALE ? newest_schema(node) : 0,
                                   .code = cc_slice_text(code),
                                   .message = cc_slice_text(message),
                                   .hint = cc_slice_text(hint)};
    node->counters.counters.refused++;
    return encode_outcome(node, &outcome);
}

struct cc_slice node_not_a_member(struct node *node)
{
    return node_refusal(node, CC_UNAVAILABLE, "CC220", "This replica is not a member of the cluster", "Use another replica");
}

struct cc_slice node_unknown(struct node *node)
{
    struct rest_outcome outcome = {.kind = REST_UNKNOWN,
                                   .status = CC_UNKNOWN_OUTCOME,
                                   .code = cc_slice_text("CC203"),
                                   .message = cc_slice_text("The outcome of this write is unknown: it may or may not take effect"),
                                   .hint = cc_slice_text("Send the same request again with the same Idempotency-Key, or read the row")};
    return encode_outcome(node, &outcome);
}

struct cc_slice node_ask_again(struct node *node)
{
    struct rest_outcome outcome = {.kind = REST_UNKNOWN, .status = CC_NOT_LEADER, .code = cc_slice_text("CC203")};
    return encode_outcome(node, &outcome);
}

// -- Events ----------------------------------------------------------------------------------------------------------

static void set_time(struct node *node, struct node_time time)
{
    assert(node->started);
    node->time = time;
}

bool node_gathers(struct node *node, struct gather *gather, uint64_t wait_us, bool hurry)
{
    bool over = hurry || gather->over || (gather->until_us != 0 && node->time.now_us >= gather->until_us);
    if (over) {
        *gather = (struct gather){0};
    } else if (gather->until_us == 0) {
        gather->until_us = node->time.now_us + wait_us;
    }
    return !over;
}

static bool gather_ends(struct gather *gather, uint64_t now_us)
{
    bool ends = gather->until_us != 0 && now_us >= gather->until_us;
    if (ends) {
        *gather = (struct gather){.over = true};
    }
    return ends;
}

// Whose database is lost, and whose log is the longest, leads for a moment when there is no other way: only a leader can bring the rest of
// that log to those who may lead, and only a leader has a snapshot to give.
static void stand_in(struct node *node)
{
    if (raft_leader(node->raft) != 0) {
        node->led_us = node->time.now_us;
    }
    bool for_long = node->time.now_us - node->led_us >= NODE_STAND_IN_ELECTIONS * node->options.raft.election_us;
    raft_set_stand_in(node->raft, for_long && !node->stopping && membership_has_self(node));
}

void node_tick(struct node *node, struct node_time time)
{
    set_time(node, time);
    if (time.now_us >= raft_next_tick_us(node->raft)) {
        raft_tick(node->raft, time.now_us);
    }
    if (gather_ends(&node->strong.gather, time.now_us)) {
        strong_pump(node);
    }
    bool merge_is_due = gather_ends(&node->weak.gather, time.now_us);
    if (gather_ends(&node->weak.stay, time.now_us) || merge_is_due) {
        weak_pump(node);
    }
    if (time.now_us < node->housekeeping_us) {
        return;
    }
    node->housekeeping_us = time.now_us + NODE_HOUSEKEEPING_US;
    peer_tell_deaf(node);
    forward_deadlines(node);
    read_deadlines(node);
    weak_deadlines(node);
    if (!node->members.has_self) {
        forward_refuse_queued(node);
    }
    forward_pump(node);
    if (time.now_us >= node->weak.frontier_told_us + node->options.frontier_interval_us) {
        peer_tell_frontier(node);
    }
    stable_tick(node);
    log_mark(node);
    membership_tick(node);
    office_tick(node);
    reload_tick(node);
    recovery_tick(node);
    snapshot_pump(node);
    repair_tick(node);
    origin_tick(node);
    loss_tick(node);
    renewal_tick(node);
    stand_in(node);
    strong_pump(node);
    weak_pump(node);
}

uint64_t node_next_tick_us(const struct node *node)
{
    uint64_t raft = raft_next_tick_us(node->raft);
    uint64_t next = raft < node->housekeeping_us ? raft : node->housekeeping_us;
    const uint64_t gathers[] = {node->strong.gather.until_us, node->weak.gather.until_us, node->weak.stay.until_us};
    for (size_t i = 0; i < sizeof(gathers) / sizeof(gathers[0]); i++) {
        next = gathers[i] != 0 && gathers[i] < next ? gathers[i] : next;
    }
    return next;
}

void node_log_synced(struct node *node, struct node_time time, uint64_t number)
{
    set_time(node, time);
    size_t n_done = 0;
    uint64_t raft_number = 0;
    while (n_done < node->persists.n && node->persists.at[n_done].log_number <= number) {
        if (node->persists.at[n_done].raft_number > 0) {
            raft_number = node->persists.at[n_done].raft_number;
        }
        n_done++;
    }
    node->persists.n -= n_done;
    if (n_done > 0) {
        memmove(node->persists.at, node->persists.at + n_done, node->persists.n * sizeof(*node->persists.at));
    }
    if (raft_number > 0) {
        raft_persisted(node->raft, time.now_us, raft_number);
    }
    weak_synced(node, number);
}

void node_log_loaded(struct node *node, struct node_time time, uint32_t peer, const struct raft_entry *entries, size_t n_entries)
{
    set_time(node, time);
    if (peer == 0) {
        strong_loaded(node, entries, n_entries);
    } else {
        raft_loaded(node->raft, time.now_us, peer, entries, n_entries);
    }
}

void node_changes_loaded(struct node *node, struct node_time time, const struct wal_record *changes, size_t n_changes, struct wal_cursor next, bool done)
{
    set_time(node, time);
    weak_loaded(node, changes, n_changes, next, done);
    weak_pump(node);
}

void node_submit(struct node *node, struct node_time time, uint64_t token, struct cc_slice bytes)
{
    set_time(node, time);
    struct operation operation;
    if (operation_peek(bytes, &operation) != CC_OK) {
        node_answer_outcome(node, token, node_refusal(node, CC_MALFORMED, "CC200", "The operation is malformed", NULL), 0);
        return;
    }
    if (node->stopping) {
        node_answer_outcome(node, token, node_refusal(node, CC_UNAVAILABLE, "CC206", "This replica is stopping", "Use another replica"), 0);
        return;
    }
    if (!node->members.has_self) {
        node_answer_outcome(node, token, node_not_a_member(node), 0);
        return;
    }
    if (operation.weak) {
        weak_submit(node, token, &operation, bytes);
        weak_pump(node);
        return;
    }
    forward_submit(node, token, 0, 0, &operation, bytes);
    strong_pump(node);
}

void node_read(struct node *node, struct node_time time, uint64_t token, uint32_t timeout_ms)
{
    set_time(node, time);
    read_submit(node, token, &(struct read_wish){0}, timeout_ms);
}

void node_read_at(struct node *node, struct node_time time, uint64_t token, uint64_t index, uint32_t timeout_ms)
{
    set_time(node, time);
    read_submit(node, token, &(struct read_wish){.index = index}, timeout_ms);
    read_applied(node);
    strong_pump(node);
}

void node_read_weak(struct node *node, struct node_time time, uint64_t token, uint32_t timeout_ms)
{
    set_time(node, time);
    read_submit_weak(node, token, timeout_ms);
    weak_pump(node);
}

void node_read_own(struct node *node, struct node_time time, uint64_t token, uint32_t timeout_ms)
{
    set_time(node, time);
    struct crdt_frontier own = {.n = 0};
    if (node_has_unread(node) && crdt_frontier_raise(&own, node->weak.self, node->weak.told) != CC_OK) {
        own.n = 0; // one origin always fits
    }
    read_submit(node, token, &(struct read_wish){.frontier = &own}, timeout_ms);
    read_applied(node);
    weak_pump(node);
}

void node_read_session(struct node *node, struct node_time time, uint64_t token, uint64_t index,
                       const struct crdt_frontier *frontier, bool shortened, uint32_t timeout_ms)
{
    set_time(node, time);
    bool asks = shortened && !cc_mutant(CC_MUTANT_SHORTENED_UNASKED);
    read_submit(node, token, &(struct read_wish){.index = index, .frontier = frontier, .heard = asks}, timeout_ms);
    read_applied(node);
    strong_pump(node);
    weak_pump(node);
}

void node_write_session(struct node *node, struct node_time time, uint64_t token, const struct crdt_frontier *frontier, uint32_t timeout_ms)
{
    set_time(node, time);
    read_submit(node, token, &(struct read_wish){.frontier = frontier, .writes = true}, timeout_ms);
    read_applied(node);
    weak_pump(node);
}

void node_db_event(struct node *node, struct node_time time, const struct db_event *event)
{
    set_time(node, time);
    switch (event->lane) {
    case DB_STRONG:
        strong_event(node, event);
        strong_pump(node);
        break;
    case DB_WEAK:
        weak_event(node, event);
        break;
    }
    weak_pump(node);
}

void node_update_eligible(struct node *node)
{
    bool has_database = node->strong.state == STRONG_FOLLOW || node->strong.state == STRONG_LEAD;
    bool has_log = node->strong.applied + 1 >= raft_first_index(node->raft) && !snapshot_is_installing(node);
    bool may = !node->sick && !node->stopping && membership_has_self(node);
    raft_set_eligible(node->raft, node->time.now_us, has_database && has_log && may);
}

void node_set_sick(struct node *node, struct node_time time, bool sick)
{
    set_time(node, time);
    node->sick = sick;
    node_update_eligible(node);
}

void node_stop(struct node *node, struct node_time time)
{
    set_time(node, time);
    node->stopping = true;
    node_update_eligible(node);
    peer_tell_frontier(node);
}

bool node_is_handed_over(const struct node *node)
{
    if (raft_role(node->raft) != RAFT_LEADER) {
        return true;
    }
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].member && node->peers[i].up && !node->peers[i].stopping) {
            return false;
        }
    }
    return true; // there is nobody to hand over to
}

bool node_is_idle(const struct node *node)
{
    return node->pendings == NULL && node->n_reads == 0 && node->strong.n_open == 0 && node->jobs[DB_STRONG] == NULL &&
           weak_is_idle(node);
}

// -- Effects ---------------------------------------------------------------------------------------------------------

static void take_persist(struct node *node, const struct raft_output *output)
{
    if (output->persist_number == 0) {
        return;
    }
    if (output->hard_state_changed) {
        wal_put_hard_state(&node->out->log, output->hard_state);
    }
    for (size_t i = 0; i < output->n_entries; i++) {
        wal_put_entry(&node->out->log, &output->entries[i]);
    }
    // Several raft outputs of one turn become durable together.
    struct persist persist = {node->log_number + 1, output->persist_number};
    if (node->persists.n > 0 && node->persists.at[node->persists.n - 1].log_number == persist.log_number) {
        node->persists.at[node->persists.n - 1] = persist;
    } else {
        NODE_PUSH(node->persists, persist);
    }
}

static void take_raft_output(struct node *node)
{
    struct raft_output output;
    raft_take_output(node->raft, &output);
    take_persist(node, &output);
    for (size_t i = 0; i < output.n_messages; i++) {
        peer_send_raft(node, &output.messages[i]);
    }
    for (size_t i = 0; i < output.n_loads; i++) {
        struct node_load load = {output.loads[i].peer, output.loads[i].first, output.loads[i].last};
        NODE_PUSH(node->out->loads, load);
    }
    for (size_t i = 0; i < output.n_reads; i++) {
        read_result(node, &output.reads[i]);
        recovery_confirmed(node, &output.reads[i]);
    }
    if (output.role_changed) {
        node_fact(node, NODE_FACT_ROLE, raft_role(node->raft), raft_term(node->raft), raft_leader(node->raft), NULL);
        strong_role_changed(node);
    }
    // Last: what follows may call the core again, and the output is borrowed.
    strong_committed(node);
    membership_refresh(node);
    if (raft_leader(node->raft) != node->known_leader) {
        node->out->members_changed = true; // see node_effects.members_changed
        node->known_leader = raft_leader(node->raft);
        forward_leader_changed(node);
    }
    strong_pump(node);
}

void node_take_effects(struct node *node, struct node_effects *effects_out)
{
    read_flush(node);
    while (raft_has_output(node->raft)) {
        take_raft_output(node);
    }
    struct node_outbox *out = node->out;
    if (out->log.n_records > 0) {
        out->log_number = ++node->log_number;
    }
    *effects_out = (struct node_effects){
        .log_number = out->log_number,
        .log = &out->log,
        .truncate_index = out->truncate_index,
        .truncate_record = out->truncate_record,
        .loads = out->loads.at,
        .n_loads = out->loads.n,
        .load_changes = out->load_changes ? &node->weak.log_cursor : NULL,
        .sends = out->sends.at,
        .n_sends = out->sends.n,
        .snapshots = out->snapshots.at,
        .n_snapshots = out->snapshots.n,
        .repairs = out->repairs.at,
        .n_repairs = out->repairs.n,
        .snapshot_cancel = out->snapshot_cancel,
        .recovered = out->recovered,
        .forgot = out->forgot,
        .answers = out->answers.at,
        .n_answers = out->answers.n,
        .facts = out->facts.at,
        .n_facts = out->facts.n,
        .catalog_changed = out->catalog_changed,
        .members_changed = out->members_changed,
        .removed_changed = out->removed_changed,
        .removed_at = node->members.removed_at,
    };
    for (size_t lane = 0; lane < DB_LANES; lane++) {
        effects_out->jobs[lane] = out->jobs[lane].at;
        effects_out->n_jobs[lane] = out->jobs[lane].n;
    }
    node->out = out == &node->outboxes[0] ? &node->outboxes[1] : &node->outboxes[0];
    outbox_clear(node->out);
}

// -- Questions -------------------------------------------------------------------------------------------------------

void node_describe(const struct node *node, uint64_t now_us, struct node_status *status_out)
{
    struct node_status *status = status_out;
    *status = (struct node_status){
        .replica = node->options.raft.id,
        .incarnation = node->options.incarnation,
        .role = raft_role(node->raft),
        .term = raft_term(node->raft),
        .leader = raft_leader(node->raft),
        .commit = raft_commit(node->raft),
        .applied = node->strong.applied,
        .last_index = raft_last_index(node->raft),
        .schema_version = node->strong.schema_version,
        .hlc = node->clock.last,
        .database_up = {node->strong.state != STRONG_DOWN, node->weak.up},
        .replaying = node->strong.applied < node->strong.replay_until || weak_is_replaying(node),
        .halted = node->strong.state == STRONG_HALTED ? node->strong.halted : NULL,
        .is_member = node->members.has_self,
        .membership = *raft_membership(node->raft),
        .membership_index = raft_membership_index(node->raft),
        .membership_committed = node->members.committed,
        .n_queued = node->n_queued + node->weak.n_queued,
        .n_waiting_reads = node->n_reads,
        .counters = node->counters.counters,
    };
    weak_held(node, &status->frontier);
    origin_describe(node, status);
    memcpy(status->stages, node->counters.stages, sizeof(status->stages));
    status->reload.state = node->reload.state;
    status->reload.n_steps = node->reload.n_steps;
    status->reload.n_left = node->reload.n_left;
    memcpy(status->reload.why, node->reload.why, sizeof(status->reload.why));
    snapshot_describe(node, status);
    repair_describe(node, status);
    status->n_identity_alarms = node->weak.n_alarms;
    status->must_rejoin = weak_must_rejoin(node);
    loss_describe(node, status);
    status->n_aside = node->renewal.n_aside;
    status->n_renewed = node->renewal.n_renewed;
    status->n_not_renewed = node->renewal.n_lost;
    status->clock_is_off = peer_clock_is_off(node, &status->clock_offset_ms);
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        const struct raft_member *member = raft_member_find(raft_membership(node->raft), peer->id);
        if (member == NULL) {
            continue;
        }
        status->peers[status->n_peers++] = (struct node_peer_status){
            .id = peer->id,
            .voter = member->voter,
            .reachable = peer->up && peer->refused == NULL,
            .applied = peer->applied,
            .weak_missing = weak_missing_at(node, peer),
            .schema_version = peer->schema_version,
            .heard_us_ago = peer->heard_us == 0 ? UINT64_MAX : now_us - peer->heard_us,
            .role = peer->role,
            .refused = peer->refused,
            .clock_known = peer->clock_known,
            .clock_offset_ms = peer->clock_known ? peer_clock_offset_ms(node, peer) : 0,
        };
    }
}

bool node_is_member(const struct node *node)
{
    return node->members.has_self;
}

uint64_t node_settled_membership(const struct node *node)
{
    const struct members *members = &node->members;
    return members->has_self && members->index == members->committed ? members->committed : 0;
}

const struct raft *node_raft(const struct node *node)
{
    return node->raft;
}
