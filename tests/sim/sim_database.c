// The model of PostgreSQL: two connections that work off jobs in order, asynchronous commits, crashes, lost connections.
#include "sim/sim.h"

#include "base/memory.h"
#include "sim/sim_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NOTICE_US_MAX = 20 * 1000,
    RECONNECT_US_MAX = 300 * 1000,
    RECOVERY_US_MAX = 1500 * 1000,
    ANSWER_US_MAX = 300,
    BUSY_RETRY_US = 50 * 1000,
    SLOW_US_MAX = 1000 * 1000,
    FLUSH_TOLD_US_MAX = 100 * 1000,
};

struct lane {
    uint64_t session; // rises when the connection ends: answers of an earlier one never arrive
    bool open;
    bool told_up; // the node believes that it is open
    bool busy;
    const struct db_job **queue;
    size_t n_queue, queue_capacity;
    uint64_t last_answer_us;
};

struct sim_database {
    uint32_t replica;
    bool up;
    uint64_t recover_at_us;
    uint64_t life;
    bool healed;
    struct sim_rows rows;
    struct lane lanes[DB_LANES];
};

struct answer {
    struct db_event event;
    struct crdt_frontier frontier, merged;
    struct cc_arena arena;
};

static const char *const lane_names[] = {"strong", "weak"};

static struct sim_database *database_of(struct sim *sim, uint64_t replica)
{
    return sim_replica_of(sim, (uint32_t)replica)->database;
}

// -- Jobs -----------------------------------------------------------------------------------------------------------

static void answer_free(void *data)
{
    struct answer *answer = data;
    cc_arena_finish(&answer->arena);
    free(answer);
}

static struct answer *answer_create(const struct db_job *job, enum db_lane lane, enum db_event_kind kind)
{
    struct answer *answer = cc_alloc(sizeof(*answer));
    cc_arena_init(&answer->arena);
    answer->event = (struct db_event){.kind = kind, .lane = lane, .number = job == NULL ? 0 : job->number};
    return answer;
}

static void fill_state(const struct sim_database *database, struct answer *answer)
{
    answer->event.applied = sim_rows_applied(&database->rows);
    answer->event.schema_version = sim_rows_schema(&database->rows);
    answer->event.hlc_floor = sim_rows_hlc(&database->rows);
    answer->event.collected = sim_rows_get_u64(database->rows.store, "b");
    sim_rows_frontier(&database->rows, &answer->frontier);
    answer->event.frontier = &answer->frontier;
    sim_rows_merged(&database->rows, &answer->merged);
    answer->event.merged = &answer->merged;
}

static struct answer *execute(struct sim *sim, struct sim_database *database, const struct db_job *job)
{
    struct answer *answer = answer_create(job, DB_STRONG, DB_EXECUTED);
    struct cc_slice *outcomes = cc_arena_array(&answer->arena, job->n_items, sizeof(*outcomes));
    struct effect_builder effects = {0};
    for (uint32_t i = 0; i < job->n_items; i++) {
        struct cc_buffer outcome = {0};
        answer->event.has_migration |= sim_rows_execute(sim, &database->rows, job->items[i], &effects, &outcome);
        outcomes[i] = cc_arena_slice(&answer->arena, cc_buffer_slice(&outcome));
        cc_buffer_finish(&outcome);
    }
    answer->event.n_outcomes = job->n_items;
    answer->event.outcomes = outcomes;
    answer->event.effects = cc_arena_slice(&answer->arena, effect_builder_slice(&effects));
    effect_builder_finish(&effects);
    return answer;
}

// NULL: the replica died before COMMIT was sent.
static struct answer *strong_done(struct sim *sim, struct sim_database *database, const struct db_job *job, enum db_event_kind kind)
{
    struct sim_replica *replica = sim_replica_of(sim, database->replica);
    uint64_t before = sim_rows_applied(&database->rows);
    if (!sim_stage(replica, SIM_STAGE_APPLY, SIM_BEFORE, NULL)) {
        return NULL;
    }
    sim_rows_set_applied(&database->rows, job->last);
    sim_store_commit(database->rows.store, DB_STRONG);
    sim_check_strong_state(sim, database->replica, job->last, sim_store_digest(database->rows.store, DB_STRONG));
    for (uint64_t index = before + 1; sim->hooks.applied != NULL && index <= job->last; index++) {
        sim->hooks.applied(sim->hooks.context, database->replica, index);
    }
    (void)sim_stage(replica, SIM_STAGE_APPLY, SIM_AFTER, NULL);
    struct answer *answer = answer_create(job, DB_STRONG, kind);
    fill_state(database, answer);
    return answer;
}

static struct answer *apply(struct sim *sim, struct sim_database *database, const struct db_job *job)
{
    SIM_CHECK(sim, "D5", sim_store_savepoint(database->rows.store, DB_STRONG) == 0, "r%u applies entries in a transaction that is open",
              database->replica);
    uint64_t applied = sim_rows_applied(&database->rows);
    SIM_CHECK(sim, "I7", job->first == applied + 1 && job->last >= job->first,
              "r%u applies entries %" PRIu64 " to %" PRIu64 " upon %" PRIu64, database->replica, job->first, job->last, applied);
    for (uint32_t i = 0; i < job->n_items; i++) {
        sim_rows_apply(sim, &database->rows, job->indexes[i], job->items[i]);
        sim_check_strong_state(sim, database->replica, job->indexes[i], sim_store_digest(database->rows.store, DB_STRONG));
    }
    return strong_done(sim, database, job, DB_APPLIED);
}

static struct answer *weak_execute(struct sim *sim, struct sim_database *database, const struct db_job *job)
{
    struct answer *answer = answer_create(job, DB_WEAK, DB_WEAK_EXECUTED);
    struct cc_slice *outcomes = cc_arena_array(&answer->arena, job->n_items, sizeof(*outcomes));
    struct cc_slice *changes = cc_arena_array(&answer->arena, job->n_items, sizeof(*changes));
    for (uint32_t i = 0; i < job->n_items; i++) {
        struct cc_buffer outcome = {0};
        struct cc_buffer change = {0};
        sim_rows_weak_execute(sim, &database->rows, job->items[i], &job->stamps[i], job->settled, &outcome, &change);
        outcomes[i] = cc_arena_slice(&answer->arena, cc_buffer_slice(&outcome));
        changes[i] = cc_arena_slice(&answer->arena, cc_buffer_slice(&change));
        cc_buffer_finish(&outcome);
        cc_buffer_finish(&change);
    }
    answer->event.n_outcomes = job->n_items;
    answer->event.outcomes = outcomes;
    answer->event.changes = changes;
    answer->event.n_changes = job->n_items;
    return answer;
}

static struct answer *weak_done(struct sim *sim, struct sim_database *database, const struct db_job *job, enum db_event_kind kind)
{
    sim_store_commit(database->rows.store, DB_WEAK);
    struct answer *answer = answer_create(job, DB_WEAK, kind);
    fill_state(database, answer);
    sim_check_weak_state(sim, database->replica, &answer->frontier, database->rows.store);
    return answer;
}

static struct answer *weak_commit(struct sim *sim, struct sim_database *database, const struct db_job *job)
{
    for (uint32_t i = 0; i < job->n_items; i++) {
        sim_rows_record(sim, &database->rows, job->items[i]);
    }
    return weak_done(sim, database, job, DB_WEAK_COMMITTED);
}

static struct answer *merge(struct sim *sim, struct sim_database *database, const struct db_job *job)
{
    SIM_CHECK(sim, "W2", job->open || sim_store_savepoint(database->rows.store, DB_WEAK) == 0,
              "r%u merges, and commits, what is in an open transaction", database->replica);
    bool durable = false;
    uint32_t n_changed = 0;
    if (job->adopt != NULL) {
        sim_repair_adopt(sim, &database->rows, job);
    }
    for (uint32_t i = 0; job->states && i < job->n_items; i++) {
        n_changed += sim_repair_join(sim, &database->rows, job->items[i], job);
    }
    for (uint32_t i = 0; !job->states && i < job->n_items; i++) {
        struct crdt_change_set set;
        durable = durable || (crdt_change_set_peek(job->items[i], &set) == CC_OK && set.durable);
        sim_rows_merge(sim, &database->rows, job->items[i], job->open);
    }
    if (job->open) {
        SIM_CHECK(sim, "W4", !durable, "r%u leaves open what somebody waits for", database->replica);
        struct answer *answer = answer_create(job, DB_WEAK, DB_MERGED);
        fill_state(database, answer);
        return answer;
    }
    struct answer *answer = weak_done(sim, database, job, DB_MERGED);
    answer->event.n_changed = n_changed;
    if (durable) { // commits that somebody waits for are synchronous, and take those before them along
        sim_rows_flush(&database->rows);
    }
    return answer;
}

static struct answer *fetch(struct sim_database *database, const struct db_job *job)
{
    enum { FETCH_MAX = 64 };
    struct answer *answer = answer_create(job, DB_WEAK, DB_FETCHED);
    struct cc_slice *changes = cc_arena_array(&answer->arena, FETCH_MAX, sizeof(*changes));
    uint32_t n = 0;
    size_t n_bytes = 0;
    const struct cc_blob *change = sim_rows_history(&database->rows, job->origin, job->sequence);
    while (change != NULL && n < FETCH_MAX && n_bytes < job->n_bytes_max) {
        changes[n++] = cc_arena_slice(&answer->arena, cc_blob_slice(change));
        n_bytes += change->n;
        change = sim_rows_history(&database->rows, job->origin, job->sequence + n);
    }
    answer->event.changes = changes;
    answer->event.n_changes = n;
    answer->event.origin = job->origin;
    answer->event.peer = job->peer;
    return answer;
}

static struct answer *begin_anew(struct sim *sim, struct sim_database *database, const struct db_job *job)
{
    struct answer *answer = answer_create(job, DB_WEAK, DB_BEGUN_ANEW);
    answer->event.n_aside = sim_rows_begin_anew(sim, &database->rows, job->own);
    sim_store_commit(database->rows.store, DB_WEAK);
    sim_rows_flush(&database->rows);
    fill_state(database, answer);
    return answer;
}

static struct answer *put_aside(struct sim *sim, struct sim_database *database, const struct db_job *job)
{
    struct answer *answer = answer_create(job, DB_WEAK, DB_BEGUN_ANEW);
    sim_rows_put_aside(sim, &database->rows, job->items, job->n_items);
    sim_store_commit(database->rows.store, DB_WEAK);
    sim_rows_flush(&database->rows);
    fill_state(database, answer);
    answer->event.n_aside = job->n_items;
    return answer;
}

static struct answer *renew(struct sim *sim, struct sim_database *database, const struct db_job *job)
{
    struct answer *answer = answer_create(job, DB_WEAK, DB_RENEWED);
    answer->event.changes = sim_rows_renew(sim, &database->rows, job->stamps, job->n_stamps, &answer->arena, &answer->event);
    sim_store_rollback(database->rows.store, DB_WEAK);
    return answer;
}

// NULL: no answer.
static struct answer *run_job(struct sim *sim, struct sim_database *database, const struct db_job *job)
{
    switch (job->kind) {
    case DB_EXECUTE:
        return execute(sim, database, job);
    case DB_COMMIT:
        return strong_done(sim, database, job, DB_COMMITTED);
    case DB_ROLLBACK:
        sim_store_rollback(database->rows.store, DB_STRONG);
        return NULL;
    case DB_APPLY:
        return apply(sim, database, job);
    case DB_WEAK_EXECUTE:
        return weak_execute(sim, database, job);
    case DB_WEAK_COMMIT:
        return weak_commit(sim, database, job);
    case DB_WEAK_ROLLBACK:
        sim_store_rollback(database->rows.store, DB_WEAK);
        return NULL;
    case DB_MERGE:
        return merge(sim, database, job);
    case DB_FETCH:
        return fetch(database, job);
    case DB_BEGIN_ANEW:
        return begin_anew(sim, database, job);
    case DB_PUT_ASIDE:
        return put_aside(sim, database, job);
    case DB_RENEW:
        return renew(sim, database, job);
    }
    return NULL;
}

// -- Lanes ----------------------------------------------------------------------------------------------------------

static void tell(struct sim *sim, struct sim_event *event)
{
    struct answer *answer = event->data;
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    struct lane *lane = &replica->database->lanes[answer->event.lane];
    if (lane->session != event->a) {
        return;
    }
    lane->told_up = answer->event.kind != DB_DOWN;
    sim_trace(sim, "r%u database %s event %d job %" PRIu64, replica->id, lane_names[answer->event.lane], (int)answer->event.kind,
              answer->event.number);
    node_db_event(replica->node, sim_replica_time(sim, replica), &answer->event);
    sim_replica_settle(sim, replica);
}

static void send_answer(struct sim *sim, struct sim_database *database, enum db_lane lane_of, struct answer *answer)
{
    struct lane *lane = &database->lanes[lane_of];
    uint64_t at_us = sim->now_us + sim_draw(sim, 1, ANSWER_US_MAX);
    at_us = at_us < lane->last_answer_us ? lane->last_answer_us : at_us;
    lane->last_answer_us = at_us;
    struct sim_event *event = sim_after(sim, at_us - sim->now_us, tell, database->replica);
    event->a = lane->session;
    event->data = answer;
    event->free_data = answer_free;
}

static void work(struct sim *sim, struct sim_event *event);

static void start_next(struct sim *sim, struct sim_database *database, enum db_lane lane_of)
{
    struct lane *lane = &database->lanes[lane_of];
    if (lane->busy || lane->n_queue == 0) {
        return;
    }
    lane->busy = true;
    bool slow = sim->phase == SIM_FAULTS && sim_chance(sim, sim->knobs.job_slow_ppm);
    uint64_t delay_us = sim_spread(sim, sim->knobs.job_us);
    delay_us += slow ? sim_draw(sim, 0, SLOW_US_MAX) : 0;
    struct sim_event *event = sim_after(sim, delay_us, work, 0);
    event->a = database->replica;
    event->b = lane_of;
    event->c = lane->session;
}

static struct answer *run_first(struct sim *sim, struct sim_database *database, enum db_lane lane_of)
{
    struct lane *lane = &database->lanes[lane_of];
    const struct db_job *job = lane->queue[0];
    memmove(lane->queue, lane->queue + 1, (lane->n_queue - 1) * sizeof(lane->queue[0]));
    lane->n_queue--;
    sim_trace(sim, "r%u database %s runs job %" PRIu64 ": %s, %u items, %" PRIu64 " to %" PRIu64, database->replica, lane_names[lane_of], job->number,
              sim_job_name(job->kind), job->n_items, job->first, job->last);
    return run_job(sim, database, job);
}

static void work(struct sim *sim, struct sim_event *event)
{
    struct sim_database *database = database_of(sim, event->a);
    enum db_lane lane_of = (enum db_lane)event->b;
    struct lane *lane = &database->lanes[lane_of];
    if (lane->session != event->c) {
        return;
    }
    lane->busy = false;
    struct answer *answer = run_first(sim, database, lane_of);
    if (answer != NULL) {
        send_answer(sim, database, lane_of, answer);
    }
    start_next(sim, database, lane_of);
}

void sim_database_submit(struct sim *sim, struct sim_database *database, enum db_lane lane_of, const struct db_job *job)
{
    struct lane *lane = &database->lanes[lane_of];
    if (!lane->open) {
        return; // the node will hear that the connection is lost
    }
    lane->queue = cc_grow(lane->queue, &lane->queue_capacity, lane->n_queue + 1, sizeof(lane->queue[0]));
    lane->queue[lane->n_queue++] = job;
    start_next(sim, database, lane_of);
}

static void open_lane(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    struct sim_database *database = replica->database;
    enum db_lane lane_of = (enum db_lane)event->b;
    struct lane *lane = &database->lanes[lane_of];
    if (lane->session != event->a) {
        return;
    }
    if (!database->up) {
        struct sim_event *later = sim_after(sim, BUSY_RETRY_US, open_lane, event->replica);
        later->a = event->a;
        later->b = event->b;
        return;
    }
    lane->open = lane->told_up = true;
    struct answer *answer = answer_create(NULL, lane_of, DB_UP);
    fill_state(database, answer);
    struct crdt_frontier aside;
    answer->event.n_aside = lane_of == DB_WEAK ? sim_rows_aside(sim, &database->rows, &aside) : 0;
    answer->event.aside = lane_of == DB_WEAK ? &aside : NULL;
    sim_trace(sim, "r%u database %s up: applied %" PRIu64, replica->id, lane_names[lane_of], answer->event.applied);
    node_db_event(replica->node, sim_replica_time(sim, replica), &answer->event);
    answer_free(answer);
    sim_replica_settle(sim, replica);
}

static void plan_open(struct sim *sim, struct sim_database *database, enum db_lane lane_of)
{
    struct sim_event *event = sim_after(sim, sim_draw(sim, NOTICE_US_MAX, RECONNECT_US_MAX), open_lane, database->replica);
    event->a = database->lanes[lane_of].session;
    event->b = lane_of;
}

static void end_session(struct sim_database *database, enum db_lane lane_of)
{
    struct lane *lane = &database->lanes[lane_of];
    sim_store_rollback(database->rows.store, lane_of);
    lane->session++;
    lane->open = false;
    lane->busy = false;
    lane->n_queue = 0;
    lane->last_answer_us = 0;
}

static void tell_down(struct sim *sim, struct sim_database *database, enum db_lane lane_of)
{
    struct sim_event *event = sim_after(sim, sim_draw(sim, 1, NOTICE_US_MAX), tell, database->replica);
    event->a = database->lanes[lane_of].session;
    event->data = answer_create(NULL, lane_of, DB_DOWN);
    event->free_data = answer_free;
}

void sim_database_drop_lane(struct sim *sim, struct sim_database *database, enum db_lane lane_of)
{
    struct lane *lane = &database->lanes[lane_of];
    if (!lane->open || !sim_replica_of(sim, database->replica)->alive) {
        return;
    }
    sim_trace(sim, "r%u database %s connection lost", database->replica, lane_names[lane_of]);
    sim->counters.lane_drops++;
    // Some of what was sent is still carried out: nobody hears of it.
    while (lane->n_queue > 0 && sim_chance(sim, 500000)) {
        struct answer *unheard = run_first(sim, database, lane_of);
        if (unheard != NULL) {
            answer_free(unheard);
        }
    }
    end_session(database, lane_of);
    tell_down(sim, database, lane_of);
    plan_open(sim, database, lane_of);
}

// -- Life -----------------------------------------------------------------------------------------------------------

// Told a while afterwards, when the database may be further or gone.
static void tell_flushed(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    if (replica->database->lanes[DB_STRONG].told_up && replica->database->lanes[DB_STRONG].session == event->c) {
        sim_replica_flushed(sim, replica, event->a, event->data);
    }
}

static void plan_tell_flushed(struct sim *sim, const struct sim_database *database)
{
    struct sim_replica *replica = sim_replica_of(sim, database->replica);
    if (replica->alive && database->lanes[DB_STRONG].told_up) {
        struct crdt_frontier *frontier = cc_alloc(sizeof(*frontier));
        *frontier = database->rows.frontier_flushed;
        struct sim_event *event = sim_after(sim, sim_draw(sim, 1, FLUSH_TOLD_US_MAX), tell_flushed, replica->id);
        event->a = database->rows.applied_flushed;
        event->data = frontier;
        event->free_data = free;
        event->c = database->lanes[DB_STRONG].session;
    }
}

static void flush(struct sim *sim, struct sim_event *event)
{
    struct sim_database *database = database_of(sim, event->a);
    if (database->up) {
        sim_rows_flush(&database->rows);
        plan_tell_flushed(sim, database);
    }
    sim_after(sim, sim_spread(sim, sim->knobs.flush_us), flush, 0)->a = event->a;
}

struct sim_database *sim_database_create(struct sim *sim, uint32_t replica)
{
    struct sim_database *database = cc_alloc(sizeof(*database));
    database->replica = replica;
    database->up = true;
    database->rows.store = sim_store_create();
    database->rows.replica = replica;
    sim_after(sim, sim_spread(sim, sim->knobs.flush_us), flush, 0)->a = replica;
    return database;
}

void sim_database_destroy(struct sim_database *database)
{
    if (database == NULL) {
        return;
    }
    sim_store_destroy(database->rows.store);
    for (unsigned lane = 0; lane < DB_LANES; lane++) {
        free(database->lanes[lane].queue);
    }
    free(database);
}

void sim_database_connect(struct sim *sim, struct sim_database *database)
{
    for (unsigned lane = 0; lane < DB_LANES; lane++) {
        plan_open(sim, database, (enum db_lane)lane);
    }
}

void sim_database_disconnect(struct sim *sim, struct sim_database *database)
{
    (void)sim;
    for (unsigned lane = 0; lane < DB_LANES; lane++) {
        end_session(database, (enum db_lane)lane);
        database->lanes[lane].told_up = false;
    }
}

static void recover(struct sim *sim, struct sim_event *event)
{
    struct sim_database *database = database_of(sim, event->a);
    if (!database->up && database->recover_at_us == event->b) {
        sim_trace(sim, "r%u database recovered", database->replica);
        database->up = true;
    }
}

void sim_database_crash(struct sim *sim, struct sim_database *database)
{
    if (!database->up) {
        return;
    }
    sim->counters.database_crashes++;
    database->life++;
    bool alive = sim_replica_of(sim, database->replica)->alive;
    for (unsigned lane = 0; lane < DB_LANES; lane++) {
        end_session(database, (enum db_lane)lane);
        if (alive && database->lanes[lane].told_up) {
            tell_down(sim, database, (enum db_lane)lane);
        }
        if (alive) {
            plan_open(sim, database, (enum db_lane)lane);
        }
    }
    size_t n_lost = sim_store_crash(database->rows.store);
    database->rows.sequence = database->rows.sequence_flushed;
    SIM_CHECK(sim, "M1", sim_rows_applied(&database->rows) == database->rows.applied_flushed, "r%u: the model lost another part than the unflushed one",
              database->replica);
    sim->counters.commits_lost += n_lost;
    sim_trace(sim, "r%u database crashed: %zu commits lost, applied %" PRIu64, database->replica, n_lost,
              sim_rows_applied(&database->rows));
    database->up = false;
    uint64_t delay_us = sim_draw(sim, RECOVERY_US_MAX / 100, RECOVERY_US_MAX);
    database->recover_at_us = sim->now_us + delay_us;
    struct sim_event *event = sim_after(sim, delay_us, recover, 0);
    event->a = database->replica;
    event->b = database->recover_at_us;
}

void sim_database_heal(struct sim *sim, struct sim_database *database)
{
    (void)sim;
    database->up = true;
}

void sim_database_frontier(const struct sim_database *database, struct crdt_frontier *frontier_out)
{
    sim_rows_frontier(&database->rows, frontier_out);
}

bool sim_database_read(struct sim_database *database, const char *key, struct cc_buffer *value_out, uint64_t *applied_out)
{
    if (!database->up) {
        return false;
    }
    char name[64];
    snprintf(name, sizeof(name), "s/row/%s", key);
    const struct cc_blob *value = sim_store_get_committed(database->rows.store, name);
    cc_buffer_append_slice(value_out, cc_blob_slice(value));
    *applied_out = sim_rows_applied(&database->rows);
    return true;
}

void sim_database_reconnect(struct sim *sim, struct sim_database *database)
{
    for (unsigned lane = 0; lane < DB_LANES; lane++) {
        sim_database_drop_lane(sim, database, (enum db_lane)lane);
    }
}

struct sim_rows *sim_database_rows(struct sim_database *database)
{
    return &database->rows;
}

uint64_t sim_database_life(const struct sim_database *database)
{
    return database->life;
}

bool sim_database_is_up(const struct sim_database *database)
{
    return database->up;
}
