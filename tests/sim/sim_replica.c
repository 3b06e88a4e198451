// One replica: a node on its log, and the shell's part in virtual time: making durable, sending, loading, starting jobs, answering.
#include "sim/sim.h"
#include "sim/sim_rows.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOAD_BYTES_MAX = 1 << 20,
    LOAD_ENTRIES_MAX = 256,
    WALL_START_MS = 1000 * 1000 * 1000,
    REQUEST_BUCKETS = 256, // made anew with every start, of which there are many
};

struct node_time sim_replica_time(const struct sim *sim, const struct sim_replica *replica)
{
    uint64_t wall_ms = UINT64_C(1700) * WALL_START_MS + sim->now_us / 1000;
    return (struct node_time){.now_us = sim->now_us + replica->ahead_us, .wall_ms = wall_ms + (uint64_t)replica->clock_offset_ms};
}

// -- Log thread -----------------------------------------------------------------------------------------------------

static void log_done(struct sim *sim, struct sim_event *event);

// Behind what was appended before it was asked for, as in io_log.c; the later one of two says it all.
static void truncate_log(struct sim *sim, struct sim_replica *replica, const struct sim_truncation *truncation)
{
    if (truncation->index == 0) {
        return;
    }
    uint64_t base = wal_state_of(replica->wal)->base_index;
    enum cc_status status = wal_truncate(replica->wal, truncation->index, truncation->record);
    bool expected = status == CC_OK || status == CC_INVALID || (status == CC_NO_SPACE && replica->disk.full);
    SIM_CHECK(sim, "log", expected, "r%u: truncate: %s", replica->id, cc_status_text(status));
    sim->counters.truncations += wal_state_of(replica->wal)->base_index > base ? 1 : 0;
}

static void log_start(struct sim *sim, struct sim_replica *replica)
{
    if (replica->log_busy) {
        return;
    }
    replica->truncation_writing = replica->truncation;
    replica->truncation = (struct sim_truncation){0};
    if (replica->log_queue.n_records == 0) {
        truncate_log(sim, replica, &replica->truncation_writing);
        return;
    }
    replica->log_busy = true;
    wal_batch_append(&replica->log_writing, &replica->log_queue);
    wal_batch_clear(&replica->log_queue);
    replica->log_number = replica->log_queued;
    uint64_t delay_us = sim_spread(sim, sim->knobs.sync_us) * (replica->slow_disk ? sim->knobs.slow_disk : 1);
    if (sim->phase == SIM_FAULTS && sim_chance(sim, sim->knobs.sync_slow_ppm)) {
        delay_us += sim_draw(sim, 10 * 1000, 1000 * 1000);
    }
    sim_after(sim, delay_us, log_done, replica->id);
}

// A failed sync is final for the process: nobody may try again on the same pages.
static void die_of_disk(struct sim *sim, struct sim_replica *replica)
{
    sim_disk_fail(&replica->disk, SIM_DISK_SYNC, 1, CC_IO);
    enum cc_status status = wal_append(replica->wal, &replica->log_writing);
    bool expected = status == CC_IO || (status == CC_NO_SPACE && replica->disk.full);
    SIM_CHECK(sim, "B2", expected, "r%u: a sync failed and append says %s", replica->id, cc_status_text(status));
    sim->counters.disk_failures++;
    sim_trace(sim, "r%u sync failed", replica->id);
    replica->log_busy = false;
    sim_replica_crash(sim, replica, SIM_KILLED);
    sim_fault_restart_later(sim, replica->id);
}

// Nor is a write that found no room tried again: the process ends, and its next start has the log as it was.
static void die_of_space(struct sim *sim, struct sim_replica *replica)
{
    sim->counters.no_space++;
    sim_trace(sim, "r%u log found no space", replica->id);
    replica->log_busy = false;
    sim_replica_crash(sim, replica, SIM_KILLED);
    sim_fault_restart_later(sim, replica->id);
}

static void log_done(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    if (sim->phase == SIM_FAULTS && sim_chance(sim, sim->knobs.disk_fail_ppm)) {
        die_of_disk(sim, replica);
        return;
    }
    if (!sim_stage(replica, SIM_STAGE_WRITE, SIM_BEFORE, NULL)) {
        return;
    }
    if (replica->disk.full && sim_chance(sim, 300000)) { // what was set aside for the log has gone, too
        sim_disk_fail(&replica->disk, SIM_DISK_WRITE, 1, CC_NO_SPACE);
    }
    enum cc_status status = wal_append(replica->wal, &replica->log_writing);
    if (status == CC_NO_SPACE && replica->disk.full) {
        die_of_space(sim, replica);
        return;
    }
    if (replica->doomed || !sim_stage(replica, SIM_STAGE_SYNC, SIM_AFTER, NULL)) {
        return;
    }
    SIM_CHECK(sim, "log", status == CC_OK, "r%u: append: %s", replica->id, cc_status_text(status));
    wal_batch_clear(&replica->log_writing);
    replica->log_busy = false;
    truncate_log(sim, replica, &replica->truncation_writing);
    if (wal_wants_prepare(replica->wal) && sim_chance(sim, 500000)) {
        status = wal_prepare(replica->wal);
        bool expected = status == CC_OK || (status == CC_NO_SPACE && replica->disk.full);
        SIM_CHECK(sim, "log", expected, "r%u: prepare: %s", replica->id, cc_status_text(status));
    }
    sim_trace(sim, "r%u log synced %" PRIu64, replica->id, replica->log_number);
    uint64_t number = replica->log_number;
    sim_check_logged_changes(sim, replica, replica->log_synced, number);
    replica->log_synced = number;
    replica->log_record = wal_state_of(replica->wal)->durable_number;
    log_start(sim, replica);
    node_log_promises(replica->node, wal_state_of(replica->wal)->promise_number);
    node_log_synced(replica->node, sim_replica_time(sim, replica), number);
    sim_replica_settle(sim, replica);
}

static void load_done(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    struct raft_entry entries[LOAD_ENTRIES_MAX];
    size_t n = 0;
    enum cc_status status =
        wal_load_entries(replica->wal, event->b, event->c, LOAD_BYTES_MAX, entries, LOAD_ENTRIES_MAX, &n);
    SIM_CHECK(sim, "log", status == CC_OK || status == CC_NOT_FOUND, "r%u: load: %s", replica->id, cc_status_text(status));
    sim->counters.loads++;
    sim_trace(sim, "r%u loaded %zu entries from %" PRIu64, replica->id, n, event->b);
    node_log_loaded(replica->node, sim_replica_time(sim, replica), (uint32_t)event->a, entries, n);
    for (size_t i = 0; i < n; i++) {
        cc_blob_unref(entries[i].payload);
    }
    sim_replica_settle(sim, replica);
}

struct loaded_changes {
    struct wal_record *at;
    size_t n, capacity;
    struct cc_arena arena;
};

static enum cc_status take_change(void *context, const struct wal_record *record)
{
    struct loaded_changes *changes = context;
    changes->at = cc_grow(changes->at, &changes->capacity, changes->n + 1, sizeof(*changes->at));
    changes->at[changes->n] = *record;
    changes->at[changes->n++].body = cc_arena_slice(&changes->arena, record->body);
    return CC_OK;
}

static void changes_done(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    struct wal_cursor cursor = {.sequence = event->a, .offset = event->b};
    struct loaded_changes changes = {0};
    cc_arena_init(&changes.arena);
    bool done = false;
    enum cc_status status = wal_load_changes(replica->wal, &cursor, LOAD_BYTES_MAX, take_change, &changes, &done);
    SIM_CHECK(sim, "log", status == CC_OK, "r%u: load changes: %s", replica->id, cc_status_text(status));
    sim_trace(sim, "r%u loaded %zu changes", replica->id, changes.n);
    node_changes_loaded(replica->node, sim_replica_time(sim, replica), changes.at, changes.n, cursor, done);
    cc_arena_finish(&changes.arena);
    free(changes.at);
    sim_replica_settle(sim, replica);
}

// -- Effects --------------------------------------------------------------------------------------------------------

static void tick(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    if (replica->tick_at_us != event->a) {
        return; // another one replaced it
    }
    replica->tick_at_us = 0;
    node_tick(replica->node, sim_replica_time(sim, replica));
    sim_replica_settle(sim, replica);
}

static void plan_tick(struct sim *sim, struct sim_replica *replica)
{
    uint64_t at_us = node_next_tick_us(replica->node);
    at_us = at_us <= sim->now_us + replica->ahead_us ? sim->now_us + 1 : at_us - replica->ahead_us;
    if (replica->tick_at_us != 0 && replica->tick_at_us <= at_us) {
        return;
    }
    replica->tick_at_us = at_us;
    struct sim_event *event = sim_after(sim, at_us - sim->now_us, tick, replica->id);
    event->a = at_us;
    event->is_timer = true;
}

static void tell_fact(struct sim *sim, struct sim_replica *replica, const struct node_fact *fact)
{
    if (sim->is_told) {
        sim_tell_fact(sim, replica, fact);
    }
    switch (fact->kind) {
    case NODE_FACT_ROLE:
        sim->counters.leaders += fact->a == RAFT_LEADER ? 1 : 0;
        sim->counters.stand_ins += fact->a == RAFT_LEADER && sim_check_stands_in(replica) ? 1 : 0;
        if (fact->a == RAFT_LEADER) {
            sim_members_new_leader(sim);
        }
        break;
    case NODE_FACT_DIVERGED:
        SIM_CHECK(sim, "I7", replica->is_copy, "r%u halted: %s", replica->id, fact->text);
        break;
    case NODE_FACT_TWO_CONTENTS:
        sim_fail(sim, "W1", "r%u sees two change sets with the number %" PRIu64 ".%" PRIu64 " %" PRIu64, replica->id, fact->a, fact->b, fact->c);
    case NODE_FACT_ORIGIN:
        sim->counters.origins_begun++;
        break;
    case NODE_FACT_REPLAY:
        sim->counters.replays++;
        break;
    case NODE_FACT_REQUEUED:
        sim->counters.requeues++;
        break;
    case NODE_FACT_SNAPSHOT_INSTALLED:
        sim->counters.snapshots++;
        break;
    case NODE_FACT_RECOVERED:
        sim->counters.recovered++;
        break;
    case NODE_FACT_HISTORY_GAP:
        SIM_CHECK(sim, "W4", sim->knobs.amnesia_mean_us > 0 || sim_members_change(sim) || sim->knobs.log_bytes > 0, "r%u has dropped from its history what r%" PRIu64 " needs", replica->id, fact->a);
        break;
    case NODE_FACT_TOO_OLD: // a member that was removed may come with what nobody waits for
        SIM_CHECK(sim, "W4", sim_members_change(sim), "r%u refuses change %" PRIu64 ".%" PRIu64 "/%" PRIu64 " as too old", replica->id,
                  fact->a, fact->b, fact->c);
        break;
    case NODE_FACT_RELOAD:
        if (fact->a == NODE_RELOAD_DONE) {
            sim_members_reloaded(sim, replica);
        }
        break;
    case NODE_FACT_FORGOT:
    case NODE_FACT_SNAPSHOT_PULL:
    case NODE_FACT_SNAPSHOT_MADE:
    case NODE_FACT_SNAPSHOT_FAILED:
    case NODE_FACT_PEER_REFUSED:
    case NODE_FACT_MEMBERS:
    case NODE_FACT_REMOVED:
    case NODE_FACT_PROMOTED:
    case NODE_FACT_SCHEMA:
    case NODE_FACT_RESTORED:
    case NODE_FACT_REJOIN:
    case NODE_FACT_BEGIN_ANEW:
    case NODE_FACT_CHANGES_MISSING:
    case NODE_FACT_CHANGES_LOST:
    case NODE_FACT_RENEWED:
    case NODE_FACT_CATCH_UP:
    case NODE_FACT_CAUGHT_UP:
    case NODE_FACT_CATCH_UP_ENDED:
    case NODE_FACT_DIGESTS_DIFFER:
    case NODE_FACT_REPAIRED:
    case NODE_FACT_REPAIR_GOES_ON:
    case NODE_FACT_CLOCK:
        break;
    }
}

static void carry_out(struct sim *sim, struct sim_replica *replica, const struct node_effects *effects)
{
    for (size_t i = 0; i < effects->n_facts; i++) {
        tell_fact(sim, replica, &effects->facts[i]);
    }
    if (effects->log_number > 0) {
        if (!sim_stage(replica, SIM_STAGE_LOG, SIM_BEFORE, effects)) {
            return;
        }
        wal_batch_append(&replica->log_queue, effects->log);
        replica->log_queued = effects->log_number;
        log_start(sim, replica);
        if (!sim_stage(replica, SIM_STAGE_LOG, SIM_AFTER, effects)) {
            return;
        }
    }
    if (effects->truncate_index > 0) {
        uint64_t flushed = sim_database_rows(replica->database)->applied_flushed;
        bool is_gone = effects->truncate_index <= raft_first_index(node_raft(replica->node)); // behind a snapshot that is still to be installed
        SIM_CHECK(sim, "I13", is_gone || effects->truncate_index <= flushed + 1, "r%u cuts its log below %" PRIu64 ", but PostgreSQL has flushed only %" PRIu64,
                  replica->id, effects->truncate_index, flushed);
        replica->truncation = (struct sim_truncation){effects->truncate_index, effects->truncate_record};
        log_start(sim, replica);
    }
    for (size_t i = 0; i < effects->n_loads; i++) {
        struct sim_event *event = sim_after(sim, sim_spread(sim, sim->knobs.sync_us), load_done, replica->id);
        event->a = effects->loads[i].peer;
        event->b = effects->loads[i].first;
        event->c = effects->loads[i].last;
    }
    if (effects->load_changes != NULL) {
        struct sim_event *event = sim_after(sim, sim_spread(sim, sim->knobs.sync_us), changes_done, replica->id);
        event->a = effects->load_changes->sequence;
        event->b = effects->load_changes->offset;
    }
    if (effects->n_sends > 0 && !sim_stage(replica, SIM_STAGE_SEND, SIM_BEFORE, effects)) {
        return;
    }
    for (size_t i = 0; i < effects->n_sends; i++) {
        sim_check_send(sim, replica, effects->sends[i].frame);
        sim_network_send(sim, replica->id, effects->sends[i].peer, effects->sends[i].frame);
    }
    if (effects->n_sends > 0 && !sim_stage(replica, SIM_STAGE_SEND, SIM_AFTER, effects)) {
        return;
    }
    bool has_jobs = effects->n_jobs[DB_STRONG] + effects->n_jobs[DB_WEAK] > 0;
    if (has_jobs && !sim_stage(replica, SIM_STAGE_JOBS, SIM_BEFORE, effects)) {
        return;
    }
    for (unsigned lane = 0; lane < DB_LANES; lane++) {
        for (size_t i = 0; i < effects->n_jobs[lane]; i++) {
            sim_database_submit(sim, replica->database, (enum db_lane)lane, effects->jobs[lane][i]);
        }
    }
    if (has_jobs && !sim_stage(replica, SIM_STAGE_JOBS, SIM_AFTER, effects)) {
        return;
    }
    replica->is_new = replica->is_new && !effects->recovered;
    replica->removed_at = effects->removed_changed ? effects->removed_at : replica->removed_at;
    if (effects->forgot) {
        sim_amnesia_noticed(sim, replica);
    }
    for (size_t i = 0; i < effects->n_snapshots; i++) {
        sim_snapshot_submit(sim, replica, &effects->snapshots[i]);
    }
    for (size_t i = 0; i < effects->n_repairs; i++) {
        sim_repair_submit(sim, replica, &effects->repairs[i]);
    }
    if (effects->n_answers > 0 && !sim_stage(replica, SIM_STAGE_ANSWER, SIM_BEFORE, effects)) {
        return;
    }
    for (size_t i = 0; i < effects->n_answers; i++) {
        sim_clients_answer(sim, replica, &effects->answers[i]);
    }
    if (effects->n_answers > 0) {
        (void)sim_stage(replica, SIM_STAGE_ANSWER, SIM_AFTER, effects);
    }
}

void sim_replica_settle(struct sim *sim, struct sim_replica *replica)
{
    struct node_effects effects;
    node_take_effects(replica->node, &effects);
    if (replica->doomed) {
        return; // it is dead already, the rest of the event is a dream
    }
    sim_check_node(sim, replica);
    carry_out(sim, replica, &effects);
    plan_tick(sim, replica);
}

void sim_replica_flushed(struct sim *sim, struct sim_replica *replica, uint64_t applied, const struct crdt_frontier *frontier)
{
    struct node_durable durable = {.applied = applied,
                                   .frontier = frontier,
                                   .log_number = replica->log_synced,
                                   .record_number = replica->log_record,
                                   .log_base = wal_state_of(replica->wal)->base_index,
                                   .log_bytes = wal_bytes(replica->wal),
                                   .space_low = replica->space_low,
                                   .disk_slow = replica->told_slow};
    replica->told_space_low = replica->space_low;
    node_durable(replica->node, sim_replica_time(sim, replica), &durable);
    sim_replica_settle(sim, replica);
}

// -- Life -----------------------------------------------------------------------------------------------------------

// The disk, with syncs that never come back when the process dies in one.
static enum cc_status sync_or_die(void *context, const char *name)
{
    struct sim_replica *replica = context;
    struct wal_disk real = sim_disk_functions(&replica->disk);
    bool writing = replica->log_busy && !replica->syncs_fail;
    bool goes_on = !writing || (sim_stage(replica, SIM_STAGE_WRITE, SIM_AFTER, NULL) && sim_stage(replica, SIM_STAGE_SYNC, SIM_BEFORE, NULL));
    return replica->syncs_fail || !goes_on ? CC_IO : real.sync(real.context, name);
}

static enum cc_status disk_list(void *context, struct cc_buffer *names_out)
{
    struct wal_disk real = sim_disk_functions(&((struct sim_replica *)context)->disk);
    return real.list(real.context, names_out);
}

static enum cc_status disk_read(void *context, const char *name, uint64_t offset, void *data, size_t n, size_t *n_read_out)
{
    struct wal_disk real = sim_disk_functions(&((struct sim_replica *)context)->disk);
    return real.read(real.context, name, offset, data, n, n_read_out);
}

static enum cc_status disk_write(void *context, const char *name, uint64_t offset, const void *data, size_t n)
{
    struct wal_disk real = sim_disk_functions(&((struct sim_replica *)context)->disk);
    return real.write(real.context, name, offset, data, n);
}

static enum cc_status disk_create(void *context, const char *name, uint64_t n_bytes)
{
    struct wal_disk real = sim_disk_functions(&((struct sim_replica *)context)->disk);
    return real.create(real.context, name, n_bytes);
}

static enum cc_status disk_remove(void *context, const char *name)
{
    struct wal_disk real = sim_disk_functions(&((struct sim_replica *)context)->disk);
    return real.remove(real.context, name);
}

static enum cc_status disk_size(void *context, const char *name, uint64_t *n_bytes_out)
{
    struct wal_disk real = sim_disk_functions(&((struct sim_replica *)context)->disk);
    return real.size(real.context, name, n_bytes_out);
}

static enum cc_status restore(void *context, const struct wal_record *record)
{
    struct sim_replica *replica = context;
    struct crdt_change_set set;
    if (record->kind == WAL_CHANGE && crdt_change_set_peek(record->body, &set) == CC_OK) { // of the last origin
        bool is_first = replica->first_change == 0 || replica->last_change >= set.sequence;
        replica->first_change = is_first ? set.sequence : replica->first_change;
        replica->last_change = set.sequence;
    }
    return node_restore(replica->node, record);
}

static struct node *create_node(struct sim *sim, const struct sim_replica *replica)
{
    struct node_options options = {
        .raft = {.id = replica->id,
                 .election_us = sim->knobs.election_us,
                 .heartbeat_us = sim->knobs.heartbeat_us,
                 .notice_us = sim->knobs.notice_us,
                 .seed = sim->hooks.draw != NULL ? sim_draw(sim, 0, UINT64_MAX) : cc_prng_next(&sim->prng),
                 .cache_bytes_max = sim->knobs.cache_bytes,
                 .rank = replica->id - 1},
        .incarnation = replica->incarnation,
        .next_incarnation = ++sim->n_incarnations,
        .is_new = replica->is_new,
        .removed_at = replica->removed_at,
        .clock_skew_ms_max = SIM_SKEW_MS,
        .frontier_interval_us = SIM_FRONTIER_US,
        .facts_of_database = cc_slice_text("model"),
        .log_bytes_max = sim->knobs.log_bytes,
        .snapshot_piece_bytes = 4000,
        .own_changes_bytes_max = sim->knobs.own_changes_bytes,
        .batch_operations_max = (uint32_t)sim->knobs.batch_operations_max,
        .ahead_bytes = sim->knobs.batch_operations_max < 4 ? 1 : 0, // where batches are small, there are others behind them
        .request_buckets = REQUEST_BUCKETS,
    };
    options.raft.membership = replica->founders;
    return node_create(&options);
}

static enum cc_status write_identity(struct sim_replica *replica)
{
    struct wal_identity identity = {.cluster = "sim", .replica = replica->id, .incarnation = replica->incarnation};
    struct wal_batch batch = {0};
    wal_put_identity(&batch, &identity);
    wal_put_membership(&batch, 0, raft_membership(node_raft(replica->node)));
    enum cc_status status = wal_append(replica->wal, &batch);
    wal_batch_finish(&batch);
    return status;
}

// False: there is no room for what a start writes.
static bool open_log(struct sim *sim, struct sim_replica *replica)
{
    struct wal_options options = {.segment_bytes = sim->knobs.segment_bytes};
    struct wal_report report;
    enum cc_status status = wal_open(&replica->files, &options, restore, replica, &replica->wal, &report);
    if (status == CC_OK && !wal_state_of(replica->wal)->has_identity) {
        status = write_identity(replica);
        node_log_begun(replica->node);
    }
    bool no_space = status == CC_NO_SPACE && replica->disk.full;
    SIM_CHECK(sim, "log", status == CC_OK || no_space, "r%u: log refused: %s: %s at %s:%" PRIu64, replica->id, cc_status_text(status),
              report.reason == NULL ? "" : report.reason, report.segment, report.offset);
    return status == CC_OK;
}

static void release(struct sim_replica *replica)
{
    wal_close(replica->wal);
    replica->wal = NULL;
    node_destroy(replica->node);
    replica->node = NULL;
    sim_snapshot_died(replica);
    wal_batch_clear(&replica->log_queue);
    wal_batch_clear(&replica->log_writing);
    replica->log_busy = false;
    replica->truncation = replica->truncation_writing = (struct sim_truncation){0};
}

void sim_replica_start(struct sim *sim, struct sim_replica *replica)
{
    replica->files = (struct wal_disk){.context = replica,
                                       .list = disk_list,
                                       .read = disk_read,
                                       .write = disk_write,
                                       .create = disk_create,
                                       .sync = sync_or_die,
                                       .remove = disk_remove,
                                       .size = disk_size};
    replica->node = create_node(sim, replica);
    replica->first_change = replica->last_change = 0;
    if (!open_log(sim, replica)) {
        sim_trace(sim, "r%u finds no space to start", replica->id);
        release(replica);
        sim_fault_restart_later(sim, replica->id);
        return;
    }
    sim_trace(sim, "r%u start, log up to %" PRIu64 " term %" PRIu64, replica->id, wal_state_of(replica->wal)->last_index,
              wal_state_of(replica->wal)->hard_state.term);
    replica->alive = true;
    replica->tick_at_us = 0;
    replica->log_queued = replica->log_synced = 0;
    replica->log_record = 0;
    replica->told_space_low = false;
    node_log_promises(replica->node, wal_state_of(replica->wal)->promise_number);
    struct node_time time = sim_replica_time(sim, replica);
    node_start(replica->node, time.now_us, time.wall_ms);
    sim_check_replica_started(sim, replica);
    sim_replica_settle(sim, replica);
    sim_database_connect(sim, replica->database);
    sim_network_replica_up(sim, replica->id);
}

// What the log thread was doing when the process died: nothing yet, or written and not yet synced.
static void die_in_log(struct sim *sim, struct sim_replica *replica)
{
    if (replica->log_busy && !replica->doomed && sim_chance(sim, 500000)) {
        replica->syncs_fail = true;
        enum cc_status status = wal_append(replica->wal, &replica->log_writing);
        replica->syncs_fail = false;
        sim_trace(sim, "r%u died in a log write: %s", replica->id, cc_status_name(status));
    }
}

static enum sim_crash crash_of(struct sim *sim, enum sim_replica_end end)
{
    switch (end) {
    case SIM_KILLED:
        return SIM_CRASH_PROCESS;
    case SIM_POWER_LOST:
        return sim_chance(sim, 300000) ? SIM_CRASH_LOSE_ALL : SIM_CRASH_RANDOM;
    }
    return SIM_CRASH_PROCESS;
}

void sim_replica_note_members(struct sim_replica *replica)
{
    if (replica->alive) {
        uint64_t index;
        replica->in_force = *raft_membership(node_raft(replica->node));
        replica->committed = *raft_membership_committed(node_raft(replica->node), &index);
    }
}

void sim_replica_crash(struct sim *sim, struct sim_replica *replica, enum sim_replica_end end)
{
    sim_replica_note_members(replica);
    sim_trace(sim, "r%u %s", replica->id, end == SIM_KILLED ? "killed" : "lost power");
    sim->counters.crashes++;
    sim->counters.machine_crashes += end == SIM_POWER_LOST ? 1 : 0;
    die_in_log(sim, replica);
    replica->alive = replica->doomed = false;
    replica->life++;
    replica->paused_until_us = 0;
    sim_network_replica_down(sim, replica->id, end == SIM_POWER_LOST);
    sim_database_disconnect(sim, replica->database);
    if (end == SIM_POWER_LOST) {
        sim_database_crash(sim, replica->database);
    }
    sim_clients_replica_died(sim, replica);
    release(replica);
    sim_disk_crash(&replica->disk, crash_of(sim, end), &sim->prng);
}

void sim_replica_finish(struct sim_replica *replica)
{
    release(replica);
    wal_batch_finish(&replica->log_queue);
    wal_batch_finish(&replica->log_writing);
    sim_disk_finish(&replica->disk);
    sim_copy_destroy(replica->copy);
    sim_garbage_destroy(replica->garbage);
    sim_repair_destroy(replica->repair);
    sim_database_destroy(replica->database);
}
