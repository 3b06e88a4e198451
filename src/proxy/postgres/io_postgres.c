// The PostgreSQL that the node owns: connecting, setting up, and the queue of jobs of each lane.
//
//   DOWN --connected--> PREPARING: settings, lock, schema `caucus`, state --> UP --connection lost--> DOWN
//                                                                             UP --diverged--> HALTED
#include "proxy/postgres/io_postgres_internal.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "base/memory.h"
#include "proxy/postgres/bootstrap_sql.h"
#include "proxy/config/io_keys.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

// Advisory locks, one per lane: a backend of an earlier connection may still be committing.
enum { LOCK_CLASS = PG_LOCK_CLASS, N_FUNCTIONS = sizeof(bootstrap_functions) / sizeof(bootstrap_functions[0]) };

static const char *const lane_names[DB_LANES] = {"strong", "weak"};

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

void pg_lane_emit(struct pg_lane *lane, struct db_event *event)
{
    event->lane = lane->lane;
    event->applied = lane->applied;
    event->schema_version = lane->schema_version;
    event->frontier = &lane->frontier;
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

void pg_lane_settings_forget(struct pg_lane *lane)
{
    for (size_t i = 0; i < lane->n_settings; i++) {
        free(lane->settings[i].name);
        free(lane->settings[i].value);
    }
    lane->n_settings = 0;
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
    cc_log(CC_LOG_ERROR, "database_diverged", "lane=%s text=%s", lane_names[lane->lane], cc_log_quote(text));
    lane->state = PG_LANE_HALTED;
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

// -- Settings ----------------------------------------------------------------------------------------------------------

// What every session of ours has: the text forms of values must be the same on all replicas, nothing may time out on its own.
const char *const pg_session_settings[][3] = {
    {"synchronous_commit", "off"},
    {"statement_timeout", "0"},
    {"lock_timeout", "0"},
    {"idle_in_transaction_session_timeout", "0"},
    {"idle_session_timeout", "0"},
    {"client_connection_check_interval", "1000"}, // a backend that was left behind ends, and frees our lock
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_read_only", "off"},
    {"default_transaction_deferrable", "off"},
    {"TimeZone", "UTC"},
    {"DateStyle", "ISO, YMD"},
    {"IntervalStyle", "postgres"},
    {"extra_float_digits", "1"},
    {"bytea_output", "hex"},
    {"xmloption", "content"},
    {"lc_monetary", "C"},
    {"standard_conforming_strings", "on"},
    {"quote_all_identifiers", "off"},
    {"check_function_bodies", "on"},
    {"row_security", "on"},
    {"default_tablespace", ""},
    {"default_table_access_method", "heap"},
    {"jit", "off"},
    {"plan_cache_mode", "auto"},
    {"client_min_messages", "error"},
    {"session_replication_role", "origin", "main"},
    {"caucus.writer", "on", "main"},
    {"caucus.capture", "off", "main"},
    {NULL},
};

static const char *session_value(const struct pg_lane *lane, const char *name)
{
    if (strcmp(name, "role") == 0) {
        return "none";
    }
    if (strcasecmp(name, "search_path") == 0) {
        return lane->postgres->search_path;
    }
    if (strcmp(name, PG_MODE_SETTING) == 0) {
        return PG_MODE_OWN;
    }
    for (size_t i = 0; pg_session_settings[i][0] != NULL; i++) {
        if (strcasecmp(pg_session_settings[i][0], name) == 0) {
            return pg_session_settings[i][1];
        }
    }
    return strchr(name, '.') != NULL ? "" : NULL; // request.* and other names of users; else what the server says
}

// "SELECT set_config($1, $2, true), set_config($3, $4, true)": in this order.
struct settings_list {
    struct pg_lane *lane;
    bool local; // for the open transaction
    struct cc_buffer sql;
    struct cc_slice *parameters;
    size_t capacity;
    uint32_t n;
};

static void settings_list_put(struct settings_list *list, struct cc_slice name, struct cc_slice value)
{
    bool mode = cc_slice_equal_text(name, PG_MODE_SETTING);
    cc_buffer_printf(&list->sql, "%s%s($%u, $%u, %s)", list->n == 0 ? "SELECT " : ", ", mode ? "caucus.mode" : "pg_catalog.set_config",
                     list->n + 1, list->n + 2, list->local ? "true" : "false");
    list->parameters = cc_grow(list->parameters, &list->capacity, list->n + 2, sizeof(*list->parameters));
    list->parameters[list->n++] = mode ? cc_slice_text(list->lane->postgres->token) : name;
    list->parameters[list->n++] = value;
}

static void settings_list_send(struct settings_list *list, io_postgres_on_result *on_result, void *context, uint64_t number)
{
    if (list->n > 0) {
        struct io_postgres_query query = {.sql = cc_buffer_text(&list->sql), .n_parameters = list->n, .parameters = list->parameters};
        io_postgres_link_send(list->lane->link, &query, on_result == NULL ? on_must : on_result, on_result == NULL ? list->lane : context,
                              number);
    }
    cc_buffer_finish(&list->sql);
    free(list->parameters);
}

void pg_lane_as_replica(struct pg_lane *lane, bool as_replica)
{
    if (lane->as_replica == as_replica) {
        return;
    }
    assert(!lane->in_transaction);
    lane->as_replica = as_replica;
    // Plans of what is applied are made once, perhaps while the table is small: they must find rows by key all the same.
    pg_lane_must_text(lane, as_replica ? "SELECT pg_catalog.set_config('session_replication_role', 'replica', false), "
                                         "pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', false), "
                                         "pg_catalog.set_config('enable_hashjoin', 'off', false), "
                                         "pg_catalog.set_config('enable_mergejoin', 'off', false), "
                                         "pg_catalog.set_config('enable_seqscan', 'off', false)"
                                       : "SELECT pg_catalog.set_config('session_replication_role', 'origin', false), "
                                         "pg_catalog.set_config('plan_cache_mode', 'auto', false), "
                                         "pg_catalog.set_config('enable_hashjoin', 'on', false), "
                                         "pg_catalog.set_config('enable_mergejoin', 'on', false), "
                                         "pg_catalog.set_config('enable_seqscan', 'on', false)");
    io_postgres_link_sync(lane->link, NULL, NULL, 0); // or it would be part of the transaction that comes, and of its rollback
}

void pg_lane_pin_settings(struct pg_lane *lane)
{
    lane->as_replica = false;
    struct settings_list list = {.lane = lane};
    for (size_t i = 0; pg_session_settings[i][0] != NULL; i++) {
        settings_list_put(&list, cc_slice_text(pg_session_settings[i][0]), cc_slice_text(pg_session_settings[i][1]));
    }
    settings_list_put(&list, cc_slice_text("search_path"), cc_slice_text(lane->postgres->search_path));
    settings_list_send(&list, NULL, NULL, 0);
}

static bool settings_equal(const struct pg_lane *lane, const struct rest_setting *settings, size_t n)
{
    if (lane->n_settings != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!cc_slice_equal_text(settings[i].name, lane->settings[i].name) ||
            !cc_slice_equal_text(settings[i].value, lane->settings[i].value)) {
            return false;
        }
    }
    return true;
}

static bool settings_contain(const struct rest_setting *settings, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (cc_slice_equal_text(settings[i].name, name)) {
            return true;
        }
    }
    return false;
}

void pg_lane_settings(struct pg_lane *lane, const struct rest_setting *settings, size_t n, io_postgres_on_result *on_result,
                      void *context, uint64_t number)
{
    if (settings_equal(lane, settings, n)) {
        return;
    }
    struct settings_list list = {.lane = lane, .local = true};
    for (size_t i = 0; i < lane->n_settings; i++) {
        if (!settings_contain(settings, n, lane->settings[i].name)) {
            settings_list_put(&list, cc_slice_text(lane->settings[i].name), cc_slice_text(session_value(lane, lane->settings[i].name)));
        }
    }
    for (size_t i = 0; i < n; i++) {
        settings_list_put(&list, settings[i].name, settings[i].value);
    }
    settings_list_send(&list, on_result, context, number);
    pg_lane_settings_forget(lane);
    lane->settings = cc_grow(lane->settings, &lane->settings_capacity, n, sizeof(*lane->settings));
    for (size_t i = 0; i < n; i++) {
        lane->settings[i].name = cc_strndup(settings[i].name.data, settings[i].name.n);
        lane->settings[i].value = cc_strndup(settings[i].value.data, settings[i].value.n);
    }
    lane->n_settings = n;
}

// -- Deferrable constraints --------------------------------------------------------------------------------------------

static const char sql_deferrable[] =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE condeferrable), "
    "EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE condeferred)";

static void on_deferrable(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (!pg_result_ok(result)) {
        pg_lane_drop(lane, "cannot read the constraints", result);
    } else {
        lane->has_deferrable = cc_slice_equal_text(pg_result_value(result, 0, 0), "t");
        lane->has_deferred = cc_slice_equal_text(pg_result_value(result, 0, 1), "t");
    }
    PQclear(result);
}

void pg_lane_ask_deferrable(struct pg_lane *lane)
{
    io_postgres_link_send_text(lane->link, sql_deferrable, on_deferrable, lane, 0);
}

void pg_schema_changed(struct io_postgres *postgres)
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
        cc_log(CC_LOG_WARN, "database_slow", "lane=%s job=%d ms=%" PRIu64, lane_names[lane->lane], (int)job->job.kind, ms);
    }
    if (job->limit_ms == 0 || ms < job->limit_ms) {
        return;
    }
    if (job->cancellable && !job->cancelled) {
        job->cancelled = true;
        io_postgres_link_cancel(lane->link);
    } else if (!job->cancellable || ms >= job->limit_ms + CANCEL_MS_MAX) {
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

// A new schema: what is known of the old one is forgotten. Who is told of it next may use its roles.
void pg_lane_take_schema(struct pg_job *job, io_postgres_on_sync *on_taken)
{
    struct pg_lane *lane = job->lane;
    pg_schema_changed(lane->postgres);
    pg_lane_ask_deferrable(lane);
    bool granted = pg_executor_grant(lane);
    io_postgres_link_sync(lane->main, granted ? on_taken : NULL, job, 0);
    if (!granted) {
        on_taken(job, 0);
    }
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
    pg_lane_must(lane,
                 "UPDATE caucus.applied SET applied = CASE WHEN applied < $1::bigint THEN $1::bigint "
                 "ELSE caucus.refuse('applied index, to be raised to ' || $1::bigint, $1::bigint - 1, applied) END",
                 1, &last, NULL);
    struct io_postgres_query query = {.sql = "COMMIT"};
    io_postgres_link_send(lane->link, &query, on_commit, job, 0);
    io_postgres_link_sync(lane->link, NULL, NULL, 0);
    lane->in_transaction = false;
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
        pg_lane_settings_forget(lane);
    }
    if (lane->migrated) { // descriptions may be of tables that never were
        lane->migrated = false;
        pg_tables_forget(lane->postgres);
    }
    pg_lane_sequences_forget(lane);
    pg_job_finish(job);
}

// -- Queue ---------------------------------------------------------------------------------------------------------------

static void start(struct pg_job *job)
{
    job->started = true;
    if (!job->lane->in_transaction) {
        job->lane->link = pg_executor_link_for(job->lane, job);
    }
    pg_job_progress(job, 0, false);
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
    case DB_RENEW:
        pg_renew_start(job);
        return;
    }
}

static void pump(struct pg_lane *lane);

static void on_left(void *context, uint64_t number)
{
    (void)number;
    struct pg_lane *lane = context;
    lane->leaving = false;
    pump(lane);
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
    bool is_apart = job->job.kind == DB_MERGE || job->job.kind == DB_BEGIN_ANEW || job->job.kind == DB_RENEW;
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

static void pump(struct pg_lane *lane)
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
    pump(lane);
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
    pump(lane);
}

// -- Setting up a connection -------------------------------------------------------------------------------------------------

static void ask_state(struct pg_lane *lane);

static bool setup_failed(struct pg_lane *lane, const char *what, PGresult *result)
{
    if (pg_result_ok(result)) {
        return false;
    }
    pg_lane_drop(lane, what, result);
    PQclear(result);
    return true;
}

static void on_facts(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (setup_failed(lane, "cannot read the server's version", result)) {
        return;
    }
    struct io_postgres *postgres = lane->postgres;
    postgres->version = PQserverVersion(io_postgres_link_connection(lane->link));
    snprintf(postgres->facts, sizeof(postgres->facts), "version=%d %s", postgres->version / 10000, PQgetvalue(result, 0, 0));
    PQclear(result);
    if (postgres->version < 150000) {
        pg_lane_drop(lane, "PostgreSQL 15 or later is required", NULL);
    }
}

static const char sql_facts[] =
    "SELECT pg_catalog.format('encoding=%s provider=%s collate=%s ctype=%s locale=%s collation_version=%s', "
    "pg_catalog.pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype, daticulocale, "
    "pg_catalog.pg_database_collation_actual_version(oid)) FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";

static void on_has_schema(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (!setup_failed(lane, "cannot look for the schema caucus", result)) {
        lane->has_schema = cc_slice_equal_text(pg_result_value(result, 0, 0), "t");
        PQclear(result);
    }
}

static uint32_t functions_crc(void)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        crc = cc_crc32c(crc, bootstrap_functions[i], strlen(bootstrap_functions[i]));
    }
    return crc;
}

static void put_functions(struct pg_lane *lane)
{
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        pg_lane_must_text(lane, bootstrap_functions[i]);
    }
    struct cc_buffer crc = {0};
    cc_buffer_printf(&crc, "%" PRIu32, functions_crc());
    struct cc_buffer format = {0};
    cc_buffer_printf(&format, "%d", (int)BOOTSTRAP_FORMAT);
    struct cc_slice parameters[2] = {cc_buffer_slice(&crc), cc_buffer_slice(&format)};
    pg_lane_must(lane, "UPDATE caucus.meta SET functions = $1::bigint, format = $2::integer", 2, parameters, NULL);
    cc_buffer_finish(&format);
    cc_buffer_finish(&crc);
}

static void bootstrap(struct pg_lane *lane)
{
    struct io_postgres *postgres = lane->postgres;
    pg_lane_must_text(lane, "BEGIN");
    pg_lane_commit_durably(lane);
    for (size_t i = 0; i < sizeof(bootstrap_tables) / sizeof(bootstrap_tables[0]); i++) {
        pg_lane_must_text(lane, bootstrap_tables[i]);
    }
    struct cc_buffer numbers = {0};
    cc_buffer_printf(&numbers, "%d", (int)BOOTSTRAP_FORMAT);
    size_t replica_at = numbers.n;
    cc_buffer_printf(&numbers, "%u", postgres->options.replica);
    size_t incarnation_at = numbers.n;
    cc_buffer_printf(&numbers, "%u", postgres->options.incarnation);
    struct cc_slice parameters[4] = {
        cc_slice_of(numbers.data, replica_at), cc_slice_text(postgres->cluster),
        cc_slice_of(numbers.data + replica_at, incarnation_at - replica_at),
        cc_slice_of(numbers.data + incarnation_at, numbers.n - incarnation_at)};
    pg_lane_must(lane,
                 "INSERT INTO caucus.meta (format, cluster, replica, incarnation) VALUES ($1::integer, $2::text, $3::bigint, $4::bigint)",
                 4, parameters, NULL);
    cc_buffer_finish(&numbers);
    put_functions(lane);
    pg_lane_must_text(lane, "COMMIT");
    cc_log(CC_LOG_INFO, "database_set_up", "format=%d", (int)BOOTSTRAP_FORMAT);
}

static void on_looked(void *context, uint64_t number)
{
    (void)number;
    struct pg_lane *lane = context;
    if (lane->state != PG_LANE_PREPARING) {
        return;
    }
    if (!lane->has_schema && lane->lane == DB_WEAK) {
        pg_lane_drop(lane, "the strong lane has not yet set the database up", NULL);
        return;
    }
    if (!lane->has_schema) {
        bootstrap(lane);
    }
    ask_state(lane);
}

static void on_state(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    struct io_postgres *postgres = lane->postgres;
    if (setup_failed(lane, "cannot read the state of the database", result)) {
        return;
    }
    lane->applied = pg_result_u64(result, 0, 0);
    lane->schema_version = (uint32_t)pg_result_u64(result, 0, 1);
    uint64_t format = pg_result_u64(result, 0, 2);
    bool ours = cc_slice_equal_text(pg_result_value(result, 0, 3), postgres->cluster) &&
                pg_result_u64(result, 0, 4) == postgres->options.replica;
    lane->functions = (uint32_t)pg_result_u64(result, 0, 5);
    PQclear(result);
    if (!ours) {
        pg_lane_drop(lane, "this database belongs to another cluster or replica (see caucus.meta)", NULL);
    } else if (format == 0 || format > BOOTSTRAP_FORMAT) {
        pg_lane_drop(lane, "this database was written by a newer version of Caucus (see caucus.meta)", NULL);
    }
}

static void on_frontier(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (setup_failed(lane, "cannot read the frontier", result)) {
        return;
    }
    lane->frontier.n = 0;
    lane->hlc_floor = 0;
    for (int i = 0; i < PQntuples(result); i++) {
        struct crdt_origin origin = {(uint32_t)pg_result_u64(result, i, 0), (uint32_t)pg_result_u64(result, i, 1)};
        struct clock_stamp stamp;
        if (crdt_frontier_raise(&lane->frontier, origin, pg_result_u64(result, i, 2)) != CC_OK ||
            clock_stamp_parse(pg_result_value(result, i, 3), &stamp) != CC_OK) {
            pg_lane_drop(lane, "the table caucus.frontier is damaged", NULL);
            break;
        }
        if (stamp.hlc > lane->hlc_floor) {
            lane->hlc_floor = stamp.hlc;
        }
    }
    PQclear(result);
}

void pg_lane_tombstoned_add(struct pg_lane *lane, struct cc_slice table)
{
    if (!pg_lane_tombstoned_has(lane, table)) {
        lane->tombstoned = cc_grow(lane->tombstoned, &lane->tombstoned_capacity, lane->n_tombstoned + 1, sizeof(char *));
        lane->tombstoned[lane->n_tombstoned++] = cc_strndup(table.data, table.n);
    }
}

bool pg_lane_tombstoned_has(const struct pg_lane *lane, struct cc_slice table)
{
    for (size_t i = 0; i < lane->n_tombstoned; i++) {
        if (cc_slice_equal_text(table, lane->tombstoned[i])) {
            return true;
        }
    }
    return false;
}

static void tombstoned_forget(struct pg_lane *lane)
{
    for (size_t i = 0; i < lane->n_tombstoned; i++) {
        free(lane->tombstoned[i]);
    }
    lane->n_tombstoned = 0;
}

static void on_tombstoned(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (setup_failed(lane, "cannot read the tombstones", result)) {
        return;
    }
    tombstoned_forget(lane);
    for (int i = 0; i < PQntuples(result); i++) {
        pg_lane_tombstoned_add(lane, pg_result_value(result, i, 0));
    }
    PQclear(result);
}

// From name to name: there may be millions of tombstones.
static const char sql_tombstoned[] =
    "WITH RECURSIVE t AS ((SELECT \"table\" FROM caucus.tombstones ORDER BY \"table\" LIMIT 1) UNION ALL "
    "SELECT (SELECT m.\"table\" FROM caucus.tombstones m WHERE m.\"table\" > t.\"table\" ORDER BY m.\"table\" LIMIT 1) FROM t "
    "WHERE t.\"table\" IS NOT NULL) SELECT \"table\" FROM t WHERE \"table\" IS NOT NULL";

static void on_aside(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (setup_failed(lane, "cannot read what was put aside", result)) {
        return;
    }
    lane->n_aside = pg_result_u64(result, 0, 0);
    lane->aside_own = pg_result_u64(result, 0, 1) > 0;
    PQclear(result);
}

static void on_ready(void *context, uint64_t number)
{
    (void)number;
    pg_lane_ready(context);
}

static void prepare(struct pg_lane *lane)
{
    lane->prepared = true;
    if (lane->functions != functions_crc()) { // of an older program
        lane->functions = functions_crc();
        pg_lane_must_text(lane, "BEGIN");
        put_functions(lane);
        pg_lane_must_text(lane, "COMMIT");
        io_postgres_link_sync(lane->main, NULL, NULL, 0);
    }
    pg_executor_set_up(lane);
    io_postgres_link_sync(lane->main, on_ready, lane, 0);
}

void pg_lane_ready(struct pg_lane *lane)
{
    struct io_postgres *postgres = lane->postgres;
    if (lane->state != PG_LANE_PREPARING || io_postgres_link_connection(lane->main) == NULL) {
        return;
    }
    if (lane->lane == DB_STRONG && !lane->prepared) {
        prepare(lane);
        return;
    }
    postgres->prepared = postgres->prepared || lane->lane == DB_STRONG;
    lane->prepared = true;
    if (!postgres->prepared) {
        return; // the strong lane calls here again
    }
    if (lane->executor != NULL && !lane->executor_up) {
        pg_executor_connect(lane);
        return;
    }
    lane->state = PG_LANE_UP;
    io_postgres_link_good(lane->main);
    cc_log(CC_LOG_INFO, "database_up", "lane=%s applied=%" PRIu64 " schema=%u", lane_names[lane->lane], lane->applied,
           lane->schema_version);
    pg_lane_emit(lane, &(struct db_event){.kind = DB_UP, .hlc_floor = lane->hlc_floor, .n_aside = lane->n_aside, .aside_own = lane->aside_own});
    if (lane->lane == DB_STRONG) { // the weak lane may be waiting for the schema or the rights to be there
        struct pg_lane *weak = &postgres->lanes[DB_WEAK];
        io_postgres_link_connect(weak->main);
        if (weak->prepared) {
            pg_lane_ready(weak);
        }
    }
    pump(lane);
}

static void ask_state(struct pg_lane *lane)
{
    io_postgres_link_send_text(lane->link,
                               "SELECT (SELECT applied FROM caucus.applied), (SELECT count(*) FROM caucus.migrations), format, cluster, "
                               "replica, functions FROM caucus.meta",
                               on_state, lane, 0);
    io_postgres_link_send_text(lane->link, "SELECT replica, incarnation, sequence, stamp FROM caucus.frontier", on_frontier, lane, 0);
    if (lane->lane == DB_WEAK) {
        io_postgres_link_send_text(lane->link, sql_tombstoned, on_tombstoned, lane, 0);
    }
    struct cc_buffer incarnation = {0};
    cc_buffer_printf(&incarnation, "%u", lane->postgres->options.incarnation);
    struct cc_slice parameter = cc_buffer_slice(&incarnation);
    if (lane->lane == DB_WEAK) {
        struct io_postgres_query query = {.sql = pg_sql_aside_count, .n_parameters = 1, .parameters = &parameter};
        pg_lane_must_once(lane, pg_sql_aside);
        io_postgres_link_send(lane->link, &query, on_aside, lane, 0);
    }
    if (lane->lane == DB_STRONG) {
        pg_lane_must(lane, "UPDATE caucus.meta SET incarnation = $1::bigint WHERE incarnation <> $1::bigint", 1, &parameter, NULL);
    }
    cc_buffer_finish(&incarnation);
    pg_lane_ask_deferrable(lane);
    io_postgres_link_sync(lane->link, on_ready, lane, 0);
}

static void on_connected(void *context)
{
    struct pg_lane *lane = context;
    lane->state = PG_LANE_PREPARING;
    lane->link = lane->main;
    lane->prepared = lane->leaving = false;
    lane->in_transaction = false;
    lane->migrated = false;
    pg_lane_sequences_forget(lane);
    pg_lane_settings_forget(lane);
    pg_lane_pin_settings(lane);
    char lock[80];
    snprintf(lock, sizeof(lock), "SELECT pg_catalog.pg_advisory_lock(%d, %d)", (int)LOCK_CLASS, (int)lane->lane);
    pg_lane_must_text(lane, lock);
    // A snapshot that an earlier process was installing comes to its end first.
    snprintf(lock, sizeof(lock), "SELECT pg_catalog.pg_advisory_xact_lock_shared(%d, %d)", (int)LOCK_CLASS, (int)PG_LOCK_SNAPSHOT);
    pg_lane_must_text(lane, lock);
    pg_executor_end_earlier(lane);
    io_postgres_link_send_text(lane->link, sql_facts, on_facts, lane, 0);
    io_postgres_link_send_text(lane->link, "SELECT pg_catalog.to_regclass('caucus.meta') IS NOT NULL", on_has_schema, lane, 0);
    io_postgres_link_sync(lane->link, on_looked, lane, 0);
}

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
    cc_log(was_up ? CC_LOG_WARN : CC_LOG_INFO, "database_down", "lane=%s why=%s", lane_names[lane->lane], cc_log_quote(why));
    if (was_up) {
        pg_lane_emit(lane, &(struct db_event){.kind = DB_DOWN});
    }
}

// -- Life ----------------------------------------------------------------------------------------------------------------------

static void lane_init(struct io_postgres *postgres, enum db_lane which)
{
    struct pg_lane *lane = &postgres->lanes[which];
    lane->postgres = postgres;
    lane->lane = which;
    struct io_postgres_link_options options = {
        .base = postgres->options.base,
        .conninfo = postgres->options.conninfo,
        .application_name = which == DB_STRONG ? "caucus strong" : "caucus weak",
        .on_connected = on_connected,
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
        tombstoned_forget(lane);
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
