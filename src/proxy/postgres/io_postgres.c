// The PostgreSQL that the node owns: its life, and the queue of jobs of each lane.
//
//   DOWN --connected--> PREPARING: settings, lock, schema `caucus`, state --> UP --connection lost--> DOWN
//                                                                             UP --diverged--> HALTED
#include "proxy/postgres/io_postgres_internal.h"

#include "base/log.h"
#include "base/memory.h"
#include "proxy/config/io_keys.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

// -- Results -----------------------------------------------------------------------------------------------------------

bool pg_result_ok(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

bool pg_result_aborted(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_PIPELINE_ABORTED;
}

struct cc_slice pg_result_value(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) {
        return (struct cc_slice){0};
    }
    return cc_slice_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

uint64_t pg_result_u64(const PGresult *result, int row, int column)
{
    int64_t value = 0;
    if (pg_int8_read(pg_result_value(result, row, column), &value) != CC_OK || value < 0) {
        return 0;
    }
    return (uint64_t)value;
}

// -- Events ------------------------------------------------------------------------------------------------------------

const char *pg_lane_name(const struct pg_lane *lane)
{
    static const char *const names[DB_LANES] = {"strong", "weak"};
    return names[lane->lane];
}

void pg_lane_emit(struct pg_lane *lane, struct db_event *event)
{
    event->lane = lane->lane;
    event->applied = lane->applied;
    event->schema_version = lane->schema_version;
    event->frontier = &lane->frontier;
    event->merged = &lane->merged;
    lane->postgres->options.on_event(lane->postgres->options.context, event);
}

void pg_lane_drop(struct pg_lane *lane, const char *why, const PGresult *result)
{
    char text[300];
    const char *message = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *code = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(text, sizeof(text), "%s%s%s%s%.200s", why, code == NULL ? "" : " ", code == NULL ? "" : code, message == NULL ? "" : ": ",
             message == NULL ? "" : message);
    io_postgres_link_drop(lane->main, text);
    pg_executor_close(lane, text);
}

static void free_jobs(struct pg_lane *lane)
{
    while (lane->first != NULL) {
        struct pg_job *job = lane->first;
        lane->first = job->next;
        if (job->dispose != NULL) {
            job->dispose(job);
        }
        cc_arena_finish(&job->arena);
        free(job);
    }
    lane->last = NULL;
}

void pg_lane_sequences_forget(struct pg_lane *lane)
{
    while (lane->sequences != NULL) {
        struct pg_sequence_memo *memo = lane->sequences;
        lane->sequences = memo->next;
        free(memo->name);
        free(memo->value);
        free(memo);
    }
}

void pg_lane_halt(struct pg_lane *lane, const char *text)
{
    cc_log(CC_LOG_ERROR, "database_diverged", "lane=%s text=%s", pg_lane_name(lane), cc_log_quote(text));
    lane->state = PG_LANE_HALTED;
    lane->schema_on_its_way = false;
    io_postgres_link_close(lane->main, text);
    pg_executor_close(lane, text);
    pg_lane_emit(lane, &(struct db_event){.kind = DB_DIVERGED, .text = cc_slice_text(text)});
}

// -- Commands ----------------------------------------------------------------------------------------------------------

static void on_must(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    if (!pg_result_ok(result) && !pg_result_aborted(result)) { // what aborted it is somebody else's answer
        pg_lane_drop(context, "command failed", result);
    }
    PQclear(result);
}

bool pg_lane_committed(struct pg_lane *lane, PGresult *result)
{
    // A COMMIT of a transaction that has failed answers ROLLBACK.
    bool committed = pg_result_ok(result) && strcmp(PQcmdStatus(result), "COMMIT") == 0;
    if (!committed) {
        pg_lane_drop(lane, "COMMIT failed", result);
    }
    PQclear(result);
    return committed;
}

void pg_lane_must_text(struct pg_lane *lane, const char *sql)
{
    struct io_postgres_query query = {.sql = sql};
    io_postgres_link_send(lane->link, &query, on_must, lane, 0);
}

void pg_lane_must_once(struct pg_lane *lane, const char *sql)
{
    io_postgres_link_send_text(lane->link, sql, on_must, lane, 0);
}

void pg_lane_commit_durably(struct pg_lane *lane)
{
    pg_lane_must_text(lane, "SET LOCAL synchronous_commit = on");
}

void pg_lane_must(struct pg_lane *lane, const char *sql, uint32_t n, const struct cc_slice *parameters, const uint8_t *binary)
{
    struct io_postgres_query query = {.sql = sql, .n_parameters = n, .parameters = parameters, .binary = binary};
    io_postgres_link_send(lane->link, &query, on_must, lane, 0);
}

void pg_lane_must_arrays(struct pg_lane *lane, const char *before, struct pg_array *const *arrays, uint32_t n, const char *after)
{
    struct cc_slice parameters[PG_ARRAYS_MAX];
    uint8_t binary[PG_ARRAYS_MAX];
    assert(n <= PG_ARRAYS_MAX);
    struct cc_buffer sql = {0};
    cc_buffer_append_text(&sql, before);
    pg_arrays_source(&sql, arrays, n, parameters, binary);
    cc_buffer_append_text(&sql, after);
    pg_lane_must(lane, cc_buffer_text(&sql), n, parameters, binary);
    cc_buffer_finish(&sql);
}

void pg_lane_begin(struct pg_lane *lane)
{
    if (!lane->in_transaction) {
        if (lane->link == lane->main) {
            pg_lane_as_replica(lane, false);
        }
        pg_lane_must_text(lane, "BEGIN");
        lane->in_transaction = true;
        pg_digests_finish(&lane->digests);
        pg_lane_settings_forget(lane);
    }
}

static void schema_changed(struct io_postgres *postgres)
{
    pg_tables_forget(postgres);
    for (size_t i = 0; i < DB_LANES; i++) {
        io_postgres_link_forget_statements(postgres->lanes[i].main);
        if (postgres->lanes[i].executor != NULL) {
            io_postgres_link_forget_statements(postgres->lanes[i].executor);
        }
    }
}

// -- Patience --------------------------------------------------------------------------------------------------------------

enum { WATCH_MS = 250, COMPLAIN_MS = 5000, COMMIT_MS_MAX = 10000, CANCEL_MS_MAX = 5000 };

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void pg_job_progress(struct pg_job *job, uint32_t limit_ms, bool cancellable)
{
    job->progress_us = now_us();
    job->limit_ms = limit_ms;
    job->cancellable = cancellable;
    job->cancelled = false;
}

static void on_watch(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct pg_lane *lane = context;
    struct pg_job *job = lane->first;
    if (lane->state != PG_LANE_UP || job == NULL || !job->started) {
        return;
    }
    uint64_t ms = (now_us() - job->progress_us) / 1000;
    if (ms >= COMPLAIN_MS && !job->complained) {
        job->complained = true;
        cc_log(CC_LOG_WARN, "database_slow", "lane=%s job=%d ms=%" PRIu64, pg_lane_name(lane), (int)job->job.kind, ms);
    }
    if (job->limit_ms == 0 || ms < job->limit_ms) {
        return;
    }
    bool may_cancel = job->cancellable && !job->followed; // else it could meet what follows
    if (may_cancel && !job->cancelled) {
        job->cancelled = true;
        io_postgres_link_cancel(lane->link);
    } else if (!may_cancel || ms >= job->limit_ms + CANCEL_MS_MAX) {
        pg_lane_drop(lane, "no answer in time", NULL);
    }
}

static void watch_create(struct pg_lane *lane)
{
    struct timeval interval = {.tv_usec = WATCH_MS * 1000};
    lane->watch = event_new(lane->postgres->options.base, -1, EV_PERSIST, on_watch, lane);
    event_add(lane->watch, &interval);
}

// -- Commit and rollback -------------------------------------------------------------------------------------------------

// A new schema: what is known of the old one is forgotten. Who is told of it next may use its roles, and meets its deferred triggers.
void pg_lane_take_schema(struct pg_job *job, io_postgres_on_sync *on_taken)
{
    struct pg_lane *lane = job->lane;
    schema_changed(lane->postgres);
    pg_lane_ask_deferrable(lane);
    pg_executor_grant(lane);
    io_postgres_link_sync(lane->main, on_taken, job, 0);
}

static void on_committed(void *context, uint64_t number)
{
    (void)number;
    struct pg_job *job = context;
    pg_lane_emit(job->lane, &(struct db_event){.kind = DB_COMMITTED, .number = job->job.number});
    pg_job_finish(job);
}

static void on_commit(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    struct pg_lane *lane = job->lane;
    if (!pg_lane_committed(lane, result)) {
        return;
    }
    lane->applied = job->job.last;
    lane->schema_on_its_way = false;
    if (job->state != NULL) { // with a migration
        lane->schema_version++;
        pg_lane_take_schema(job, on_committed);
        return;
    }
    on_committed(job, 0);
}

static void commit_start(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    pg_lane_begin(lane);
    struct cc_slice last = cc_slice_text(cc_arena_printf(&job->arena, "%" PRIu64, job->job.last));
    if (lane->migrated) {
        job->state = lane;
        pg_lane_commit_durably(lane); // readers plan by a catalog that is never newer than the database
        pg_lane_must(lane, "UPDATE caucus.migrations SET index = $1::bigint WHERE index IS NULL", 1, &last, NULL);
    }
    // Without expressions of parameters only: PostgreSQL believes that it saves much by computing them for each call, and plans anew each time.
    struct cc_slice parameters[3] = {last, cc_slice_text(cc_arena_printf(&job->arena, "applied index, to be raised to %" PRIu64, job->job.last)),
                                     cc_slice_text(cc_arena_printf(&job->arena, "%" PRIu64, job->job.last - 1))};
    pg_lane_must(lane,
                 "UPDATE caucus.applied SET applied = CASE WHEN applied < $1::bigint THEN $1::bigint "
                 "ELSE caucus.refuse($2::text, $3::bigint, applied) END",
                 3, parameters, NULL);
    struct io_postgres_query query = {.sql = "COMMIT"};
    io_postgres_link_send(lane->link, &query, on_commit, job, 0);
    io_postgres_link_sync(lane->link, NULL, NULL, 0);
    lane->in_transaction = false;
    lane->schema_on_its_way = lane->migrated;
    lane->migrated = false;
    pg_lane_settings_forget(lane);
    job->followed = job->state == NULL;
    pg_job_progress(job, job->state == NULL ? COMMIT_MS_MAX : 0, false);
}

static void rollback_start(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    if (lane->in_transaction) {
        pg_lane_must_text(lane, "ROLLBACK");
        io_postgres_link_sync(lane->link, NULL, NULL, 0);
        lane->in_transaction = false;
        lane->merged = lane->frontier;
        pg_lane_settings_forget(lane);
    }
    if (lane->migrated) { // descriptions may be of tables that never were
        lane->migrated = false;
        pg_tables_forget(lane->postgres);
    }
    pg_lane_sequences_forget(lane);
    pg_job_finish(job);
}

bool pg_lane_is_cancelling(struct pg_lane *lane)
{
    if (!io_postgres_link_is_cancelling(lane->link)) {
        return false;
    }
    pg_lane_drop(lane, "what was to be cancelled has ended before", NULL);
    return true;
}

// -- Queue ---------------------------------------------------------------------------------------------------------------

static void start(struct pg_job *job)
{
    job->started = true;
    if (!job->lane->in_transaction) {
        job->lane->link = pg_executor_link_for(job->lane, job);
    }
    if (!job->lane->in_transaction || job->job.schema_version < job->lane->planned_for) {
        job->lane->planned_for = job->job.schema_version;
    }
    pg_job_progress(job, 0, false);
    if (pg_lane_is_cancelling(job->lane)) {
        return; // begun anew with the next connection
    }
    switch (job->job.kind) {
    case DB_EXECUTE:
    case DB_WEAK_EXECUTE:
        pg_execute_start(job);
        return;
    case DB_COMMIT:
        commit_start(job);
        return;
    case DB_ROLLBACK:
    case DB_WEAK_ROLLBACK:
        rollback_start(job);
        return;
    case DB_APPLY:
        pg_apply_start(job);
        return;
    case DB_WEAK_COMMIT:
        pg_weak_commit_start(job);
        return;
    case DB_MERGE:
        pg_merge_start(job);
        return;
    case DB_FETCH:
        pg_fetch_start(job);
        return;
    case DB_BEGIN_ANEW:
        pg_begin_anew_start(job);
        return;
    case DB_PUT_ASIDE:
        pg_put_aside_start(job);
        return;
    case DB_RENEW:
        pg_renew_start(job);
        return;
    }
}

static void on_left(void *context, uint64_t number)
{
    (void)number;
    struct pg_lane *lane = context;
    lane->leaving = false;
    pg_lane_pump(lane);
}

// Its session's turn comes when nothing is under way in the other one, whose transaction has ended.
static bool may_take_turn(struct pg_lane *lane, const struct pg_job *job)
{
    if (lane->leaving) {
        return false;
    }
    if (pg_executor_link_for(lane, job) == lane->link) {
        return true;
    }
    if (job != lane->first) {
        return false;
    }
    bool is_apart = job->job.kind == DB_MERGE || job->job.kind == DB_BEGIN_ANEW || job->job.kind == DB_PUT_ASIDE || job->job.kind == DB_RENEW;
    if (lane->in_transaction && is_apart) { // of executed writes that changed nothing
        pg_lane_must_text(lane, "COMMIT");
        io_postgres_link_sync(lane->link, on_left, lane, 0);
        lane->in_transaction = false;
        lane->leaving = true;
        return false;
    }
    return true;
}

static struct pg_job *next_startable(struct pg_lane *lane)
{
    if (lane->state != PG_LANE_UP) {
        return NULL;
    }
    for (struct pg_job *job = lane->first; job != NULL; job = job->next) {
        if (!job->started) {
            return may_take_turn(lane, job) ? job : NULL;
        }
        if (!job->followed) {
            return NULL;
        }
    }
    return NULL;
}

void pg_lane_pump(struct pg_lane *lane)
{
    if (lane->pumping) {
        return;
    }
    lane->pumping = true;
    struct pg_job *job;
    while ((job = next_startable(lane)) != NULL) {
        start(job);
    }
    lane->pumping = false;
}

static bool is_idle(const struct io_postgres *postgres)
{
    return postgres->lanes[DB_STRONG].first == NULL && postgres->lanes[DB_WEAK].first == NULL;
}

void pg_job_finish(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    struct pg_job **at = &lane->first;
    struct pg_job *before = NULL;
    while (*at != job) {
        before = *at;
        at = &(*at)->next;
    }
    *at = job->next;
    if (lane->last == job) {
        lane->last = before;
    }
    if (lane->first != NULL && lane->first->started) { // it had to wait for this one
        lane->first->progress_us = now_us();
    }
    if (job->dispose != NULL) {
        job->dispose(job);
    }
    cc_arena_finish(&job->arena);
    free(job);
    if (is_idle(lane->postgres)) {
        pg_tables_free_retired(lane->postgres);
    }
    pg_lane_pump(lane);
}

void io_postgres_submit(struct io_postgres *postgres, enum db_lane which, struct db_job *const *jobs, size_t n_jobs)
{
    struct pg_lane *lane = &postgres->lanes[which];
    if (lane->state != PG_LANE_UP) {
        return;
    }
    for (size_t i = 0; i < n_jobs; i++) {
        struct pg_job *job = cc_alloc(sizeof(*job));
        job->job = *jobs[i];
        job->lane = lane;
        cc_arena_init(&job->arena);
        *(lane->last == NULL ? &lane->first : &lane->last->next) = job;
        lane->last = job;
    }
    pg_lane_pump(lane);
    for (struct pg_job *job = lane->first; job != NULL; job = job->next) {
        if (!job->started && job->job.kind == DB_EXECUTE && job->state == NULL) {
            pg_execute_prepare(job);
        }
    }
}

// -- Life ----------------------------------------------------------------------------------------------------------------------

static void on_down(void *context, const char *why)
{
    struct pg_lane *lane = context;
    bool was_up = lane->state == PG_LANE_UP || lane->state == PG_LANE_HALTED;
    if (lane->state != PG_LANE_HALTED) {
        lane->state = PG_LANE_DOWN;
    }
    pg_executor_close(lane, why);
    lane->link = lane->main;
    lane->prepared = lane->leaving = false;
    free_jobs(lane);
    lane->in_transaction = false;
    lane->migrated = false;
    if (lane->lane == DB_STRONG) {
        pg_tables_forget(lane->postgres); // they may be of a transaction that never was
    }
    cc_log(was_up ? CC_LOG_WARN : CC_LOG_INFO, "database_down", "lane=%s why=%s", pg_lane_name(lane), cc_log_quote(why));
    if (was_up) {
        pg_lane_emit(lane, &(struct db_event){.kind = DB_DOWN});
    }
}

static void lane_init(struct io_postgres *postgres, enum db_lane which)
{
    struct pg_lane *lane = &postgres->lanes[which];
    lane->postgres = postgres;
    lane->lane = which;
    struct io_postgres_link_options options = {
        .base = postgres->options.base,
        .conninfo = postgres->options.conninfo,
        .application_name = which == DB_STRONG ? "caucus strong" : "caucus weak",
        .on_connected = pg_lane_set_up,
        .on_down = on_down,
        .context = lane,
    };
    lane->link = lane->main = io_postgres_link_create(&options);
    pg_executor_init(lane);
    watch_create(lane);
    io_postgres_link_connect(lane->main);
}

struct io_postgres *io_postgres_create(const struct io_postgres_options *options)
{
    struct io_postgres *postgres = cc_alloc(sizeof(*postgres));
    postgres->options = *options;
    postgres->search_path = cc_strdup(options->search_path == NULL ? "public" : options->search_path);
    postgres->cluster = cc_strdup(options->cluster);
    postgres->executor = cc_strdup(options->executor == NULL ? "" : options->executor);
    uint8_t token[KEYS_PUBLIC_BYTES];
    io_keys_random(token, sizeof(token));
    keys_to_text(token, postgres->token);
    for (int i = 0; i < DB_LANES; i++) {
        lane_init(postgres, (enum db_lane)i);
    }
    postgres->options.conninfo = NULL; // the links have their copies
    return postgres;
}

void io_postgres_destroy(struct io_postgres *postgres)
{
    if (postgres == NULL) {
        return;
    }
    for (size_t i = 0; i < DB_LANES; i++) {
        struct pg_lane *lane = &postgres->lanes[i];
        io_postgres_link_destroy(lane->main);
        io_postgres_link_destroy(lane->executor);
        event_free(lane->watch);
        free_jobs(lane);
        pg_lane_settings_forget(lane);
        pg_lane_sequences_forget(lane);
        pg_digests_finish(&lane->digests);
        free(lane->settings);
        pg_lane_tombstoned_forget(lane);
        free(lane->tombstoned);
    }
    pg_tables_forget(postgres);
    pg_tables_free_retired(postgres);
    free(postgres->search_path);
    free(postgres->cluster);
    free(postgres->executor);
    free(postgres);
}

void io_postgres_connect(struct io_postgres *postgres)
{
    for (size_t i = 0; i < DB_LANES; i++) {
        if (postgres->lanes[i].state != PG_LANE_HALTED) {
            io_postgres_link_connect(postgres->lanes[i].main);
        }
    }
}

void io_postgres_reconnect(struct io_postgres *postgres, const char *why)
{
    for (size_t i = 0; i < DB_LANES; i++) {
        if (postgres->lanes[i].state != PG_LANE_HALTED) {
            pg_lane_drop(&postgres->lanes[i], why, NULL);
        }
    }
}

struct cc_slice io_postgres_facts(const struct io_postgres *postgres)
{
    return cc_slice_text(postgres->facts);
}

int io_postgres_version(const struct io_postgres *postgres)
{
    return postgres->version;
}

void io_postgres_digest_sql(struct cc_buffer *out, const char *qualified, const char *const *columns, size_t n_columns)
{
    // A sum does not depend on the order of rows, and keeps equal rows apart from none (unlike exclusive or).
    cc_buffer_append_text(out, "SELECT count(*)::text, coalesce(sum(pg_catalog.hashtextextended(ROW(");
    for (size_t i = 0; i < n_columns; i++) {
        cc_buffer_printf(out, "%s%s", i == 0 ? "" : ", ", columns[i]);
    }
    cc_buffer_printf(out, ")::text, 0)::numeric), 0)::text FROM %s", qualified);
}
