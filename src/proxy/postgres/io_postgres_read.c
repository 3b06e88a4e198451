// Read connections to PostgreSQL of one HTTP thread: a small pool on that thread's event loop.
//
// A connection:  DOWN -> CONNECTING -> PREPARING (session settings) -> IDLE <-> BUSY;  any -> DOWN, and again after a back-off.
// A query waits in the pool's queue or is part of a job on one connection; its own timer ends it wherever it is.
// When no connection is idle, a few jobs are sent behind the one that runs, each with a sync of its own: PostgreSQL goes on with
// the next one without having to be woken up. Nothing is sent behind a job that takes long, or that may change who the session is.
// Queries that look up rows by key and differ in the key only become one job when they wait at the same moment, which costs
// PostgreSQL a fraction. When it fails, for whatever reason, each of them runs again alone.
#include "proxy/postgres/io_postgres_read.h"

#include <assert.h>
#include <event2/event.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <uthash.h>
#include <utlist.h>

#include "base/arena.h"
#include "base/codec.h"
#include "base/memory.h"
#include "proxy/postgres/pg_value.h"

enum {
    CONNECTIONS_DEFAULT = 4,
    QUEUE_DEFAULT = 1024,
    PREPARED_DEFAULT = 256,
    PREPARED_MIN = 4, // identity, settings, what comes before and the statement must stay
    STATEMENT_TIMEOUT_DEFAULT_MS = 30000,
    CONNECT_MS_MAX = 5000,
    BACK_OFF_MS = 20,
    BACK_OFF_MS_MAX = 1000,
    STEPS_MAX = 12, // of one job on the wire: identity, settings, what comes before and the statement, each with DEALLOCATE and Parse
    JOBS_MAX = 4,     // on one connection
    LOOKUPS_MAX = 64, // in one job
    QUICK_MS = 20,    // a job that has run for longer has none sent behind it
};

enum connection_state {
    CONNECTION_DOWN,
    CONNECTION_CONNECTING,
    CONNECTION_PREPARING,
    CONNECTION_IDLE,
    CONNECTION_BUSY
};

enum step { STEP_DROP, STEP_PREPARE, STEP_SETTINGS, STEP_QUERY };

// What was sent up to a sync.
struct steps {
    enum step at[STEPS_MAX];
    uint32_t n, n_done;
    uint64_t reused; // number of the statement when it was prepared by earlier ones, else 0
};

struct prepared {
    char *sql; // key
    size_t n;
    uint64_t number;
    char name[16];
    const struct steps *fresh; // sent as one of these, its answer is not here yet
    UT_hash_handle hh;
};

struct query {
    const struct rest_statement *statement;
    io_postgres_read_done done;
    void *context;
    struct io_postgres_read *pool;
    struct job *job; // NULL: waits in the queue
    uint32_t place;  // among those that the job was sent with, from 1 on
    struct event *timer;
    unsigned n_lost; // connections that broke under it
    bool prepared_again;
    bool alone; // a job of several did not answer it
    struct query *prev, *next; // in the queue, or in the job
};

struct job {
    struct connection *connection;
    struct query *queries; // those that wait for it still
    uint32_t n_sent;       // more than 1: they were sent as one statement with a row for each
    struct steps steps;
    uint64_t sent_ms;
    bool keeps_identity; // leaves the session as it is
    bool may_change_identity;
    struct job *prev, *next; // on the connection
};

// Who a session's statements run as, and all that is not of a single request. Kept between statements, because most requests
// come from few roles.
struct identity {
    struct cc_buffer settings; // names and values in order
    bool is_known;             // else it may be anything, and is set again
    char **names;              // all that were ever set in this session: whoever does not have one must not inherit it
    size_t n_names, names_capacity;
};

struct connection {
    struct io_postgres_read *pool;
    enum connection_state state;
    PGconn *libpq;
    struct event *readable, *writable, *timer;
    uint32_t back_off_ms;
    struct prepared *prepared; // uthash, least recently used first
    uint64_t n_names;
    struct job *jobs; // the first one runs
    uint32_t n_jobs;
    bool unflushed;
    struct identity identity;
    struct steps setup;     // PREPARING
    PGresult *rows, *error; // of the first job so far
};

struct io_postgres_read {
    struct event_base *base;
    char *conninfo, *user, *search_path; // user: NULL when conninfo says it
    uint32_t n_connections, queue_max, prepared_max;
    char statement_timeout[16]; // in milliseconds
    struct connection *connections;
    struct event *turn; // ends: who has come meanwhile is sent together
    struct query *queue;
    uint32_t n_queue;
    struct io_postgres_read_stats stats;
};

static void connect_start(struct connection *connection);

static void set_timer(struct event *timer, uint32_t ms)
{
    struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(timer, &wait);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

// -- Queries and jobs ----------------------------------------------------------------------------------------------------

// At the end of this turn of the loop the queue is looked at, and what was sent leaves.
static void dispatch_later(struct io_postgres_read *pool)
{
    event_active(pool->turn, EV_TIMEOUT, 0);
}

static void query_answer(struct query *query, const struct io_postgres_read_result *result)
{
    io_postgres_read_done done = query->done;
    void *context = query->context;
    event_free(query->timer);
    free(query);
    done(context, result);
}

static void query_fail(struct query *query, enum cc_status status)
{
    struct io_postgres_read_result result = {.status = status};
    query_answer(query, &result);
}

static void fail_all(struct query *queries, enum cc_status status)
{
    while (queries != NULL) {
        struct query *query = queries;
        DL_DELETE(queries, query);
        query_fail(query, status);
    }
}

static struct query *dequeue(struct io_postgres_read *pool, struct query *query)
{
    DL_DELETE(pool->queue, query);
    pool->n_queue--;
    return query;
}

// Back to the head of the queue, in their order.
static void put_back(struct io_postgres_read *pool, struct job *job)
{
    while (job->queries != NULL) {
        struct query *query = job->queries->prev; // the last one: before those behind it
        DL_DELETE(job->queries, query);
        query->job = NULL;
        query->alone = query->alone || job->n_sent > 1;
        DL_PREPEND(pool->queue, query);
        pool->n_queue++;
    }
    dispatch_later(pool);
}

// -- Prepared statements -------------------------------------------------------------------------------------------------

static void forget(struct connection *connection, struct prepared *prepared)
{
    HASH_DEL(connection->prepared, prepared);
    free(prepared->sql);
    free(prepared);
}

static void forget_all(struct connection *connection)
{
    struct prepared *prepared, *next;
    HASH_ITER(hh, connection->prepared, prepared, next)
    {
        forget(connection, prepared);
    }
}

static struct prepared *lookup(struct connection *connection, struct cc_slice sql)
{
    struct prepared *prepared = NULL;
    HASH_FIND(hh, connection->prepared, sql.data, sql.n, prepared);
    if (prepared != NULL && prepared->fresh == NULL) { // to the end: used last
        HASH_DEL(connection->prepared, prepared);
        HASH_ADD_KEYPTR(hh, connection->prepared, prepared->sql, prepared->n, prepared);
    }
    return prepared;
}

static void add_step(struct steps *steps, enum step step)
{
    assert(steps->n < STEPS_MAX);
    steps->at[steps->n++] = step;
}

static bool drop_oldest(struct connection *connection, struct steps *steps)
{
    struct prepared *oldest = connection->prepared;
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "DEALLOCATE %s", oldest->name);
    forget(connection, oldest);
    add_step(steps, STEP_DROP);
    return PQsendQueryParams(connection->libpq, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

static struct prepared *prepare(struct connection *connection, struct steps *steps, struct cc_slice sql)
{
    struct prepared *prepared = cc_alloc(sizeof(*prepared));
    prepared->sql = cc_strndup(sql.data, sql.n);
    prepared->n = sql.n;
    prepared->fresh = steps;
    prepared->number = ++connection->n_names;
    (void)snprintf(prepared->name, sizeof(prepared->name), "r%llu", (unsigned long long)prepared->number);
    HASH_ADD_KEYPTR(hh, connection->prepared, prepared->sql, prepared->n, prepared);
    add_step(steps, STEP_PREPARE);
    if (PQsendPrepare(connection->libpq, prepared->name, prepared->sql, 0, NULL) != 1) {
        return NULL; // the connection is given up, and with it this
    }
    return prepared;
}

// -- Sending -------------------------------------------------------------------------------------------------------------

struct values {
    uint32_t n;
    const struct cc_slice *at; // NULL slices: SQL NULL
    bool binary;
};

static bool send_values(struct connection *connection, const struct prepared *prepared, const struct values *values)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    const char **texts = cc_arena_array(&arena, values->n, sizeof(*texts));
    int *lengths = cc_arena_array(&arena, values->n, sizeof(*lengths));
    int *formats = cc_arena_array(&arena, values->n, sizeof(*formats));
    for (uint32_t i = 0; i < values->n; i++) {
        struct cc_slice value = values->at[i];
        bool copies = !values->binary && value.data != NULL; // libpq wants texts with an end
        texts[i] = copies ? cc_arena_text_n(&arena, value.data, value.n) : (const char *)value.data;
        lengths[i] = (int)value.n;
        formats[i] = values->binary;
    }
    bool sent = PQsendQueryPrepared(connection->libpq, prepared->name, (int)values->n, texts, lengths, formats, 0) == 1;
    cc_arena_finish(&arena);
    return sent;
}

static bool send_text(struct connection *connection, struct steps *steps, enum step step, struct cc_slice sql, const struct values *values)
{
    struct prepared *prepared = lookup(connection, sql);
    steps->reused = prepared == NULL ? 0 : prepared->number;
    if (prepared == NULL) {
        if (HASH_COUNT(connection->prepared) >= connection->pool->prepared_max && !drop_oldest(connection, steps)) {
            return false;
        }
        prepared = prepare(connection, steps, sql);
        if (prepared == NULL) {
            return false;
        }
    }
    add_step(steps, step);
    return send_values(connection, prepared, values);
}

static bool is_text(struct cc_slice name, const char *text)
{
    return cc_slice_equal_text(name, text);
}

// What only one request has.
static bool is_of_request(struct cc_slice name)
{
    return is_text(name, "request.method") || is_text(name, "request.path") || is_text(name, "request.headers") || is_text(name, "request.cookies");
}

static bool has_setting(const struct rest_statement *statement, const char *name)
{
    for (uint32_t i = 0; i < statement->n_settings; i++) {
        if (is_text(statement->settings[i].name, name)) {
            return true;
        }
    }
    return false;
}

static bool has_identity_of(const struct connection *connection, const struct rest_statement *statement)
{
    struct cc_reader kept = cc_reader_of(cc_buffer_slice(&connection->identity.settings));
    bool same = connection->identity.is_known;
    for (uint32_t i = 0; same && i < statement->n_settings; i++) {
        const struct rest_setting *setting = &statement->settings[i];
        same = is_of_request(setting->name) || (cc_slice_equal(cc_read_string(&kept), setting->name) &&
                                                cc_slice_equal(cc_read_string(&kept), setting->value) && cc_reader_ok(&kept));
    }
    return same && cc_reader_left(&kept) == 0;
}

static void identity_finish(struct identity *identity)
{
    cc_buffer_finish(&identity->settings);
    while (identity->n_names > 0) {
        free(identity->names[--identity->n_names]);
    }
    free(identity->names);
    *identity = (struct identity){0};
}

static void remember_name(struct identity *identity, struct cc_slice name)
{
    for (size_t i = 0; i < identity->n_names; i++) {
        if (is_text(name, identity->names[i])) {
            return;
        }
    }
    identity->names = cc_grow(identity->names, &identity->names_capacity, identity->n_names + 1, sizeof(*identity->names));
    identity->names[identity->n_names++] = cc_strndup(name.data, name.n);
}

static struct cc_slice session_value(const struct io_postgres_read *pool, const char *name);

// "SELECT set_config($1, $2, false), ...".
struct settings_text {
    struct cc_buffer sql;
    struct cc_slice *values;
    size_t capacity;
    uint32_t n;
};

static void put_setting(struct settings_text *text, struct cc_slice name, struct cc_slice value, bool of_transaction)
{
    cc_buffer_printf(&text->sql, "%s pg_catalog.set_config($%u, $%u, %s)", text->n == 0 ? "SELECT" : ",", text->n + 1, text->n + 2,
                     of_transaction ? "true" : "false");
    text->values = cc_grow(text->values, &text->capacity, text->n + 2, sizeof(*text->values));
    text->values[text->n++] = name;
    text->values[text->n++] = value;
}

static bool send_settings_text(struct connection *connection, struct steps *steps, struct settings_text *text)
{
    struct values values = {.n = text->n, .at = text->values};
    bool sent = text->n == 0 || send_text(connection, steps, STEP_SETTINGS, cc_buffer_slice(&text->sql), &values);
    free(text->values);
    cc_buffer_finish(&text->sql);
    return sent;
}

// For the rest of the session. It counts as known once the job has succeeded: a failure undoes it. With it whatever code that may
// change it could have left behind for others: a session that writes, or that looks names up elsewhere.
static bool send_identity(struct connection *connection, struct steps *steps, const struct rest_statement *statement)
{
    struct identity *identity = &connection->identity;
    struct settings_text text = {0};
    remember_name(identity, cc_slice_text("role"));
    remember_name(identity, cc_slice_text("request.jwt.claims"));
    for (size_t i = 0; i < identity->n_names; i++) {
        if (!has_setting(statement, identity->names[i])) {
            put_setting(&text, cc_slice_text(identity->names[i]), session_value(connection->pool, identity->names[i]), false);
        }
    }
    cc_buffer_clear(&identity->settings);
    for (uint32_t i = 0; i < statement->n_settings; i++) {
        const struct rest_setting *setting = &statement->settings[i];
        if (!is_of_request(setting->name)) {
            remember_name(identity, setting->name);
            put_setting(&text, setting->name, setting->value, false);
            cc_put_string(&identity->settings, setting->name);
            cc_put_string(&identity->settings, setting->value);
        }
    }
    put_setting(&text, cc_slice_text("search_path"), cc_slice_text(connection->pool->search_path), false);
    cc_buffer_append_text(&text.sql, ", pg_catalog.set_config('default_transaction_read_only', 'on', false), "
                                     "pg_catalog.set_config('transaction_read_only', 'on', true), pg_catalog.set_config('caucus.writer', 'off', false)");
    return send_settings_text(connection, steps, &text);
}

// The others, in one statement; without BEGIN everything up to the sync is one transaction, with which they end.
static bool send_settings(struct connection *connection, struct steps *steps, const struct rest_statement *statement)
{
    struct settings_text text = {0};
    for (uint32_t i = 0; i < statement->n_settings; i++) {
        if (is_of_request(statement->settings[i].name)) {
            put_setting(&text, statement->settings[i].name, statement->settings[i].value, true);
        }
    }
    return send_settings_text(connection, steps, &text);
}

// Functions that look at requests are told of them by settings. Such a function may itself set who it runs as.
static bool may_change_identity(const struct rest_statement *statement)
{
    return has_setting(statement, "request.method");
}

static bool flush(struct connection *connection)
{
    int left = PQflush(connection->libpq);
    if (left > 0) {
        (void)event_add(connection->writable, NULL);
    }
    return left >= 0;
}

// An array per parameter, with an element per query.
static bool send_lookups(struct connection *connection, struct job *job)
{
    const struct rest_statement *first = job->queries->statement;
    struct pg_array *arrays = cc_alloc_array(first->n_parameters, sizeof(*arrays));
    struct cc_slice *parameters = cc_alloc_array(first->n_parameters, sizeof(*parameters));
    struct cc_buffer sql = {0};
    rest_statement_put_lookups(&sql, first);
    for (uint32_t i = 0; i < first->n_parameters; i++) {
        pg_array_init(&arrays[i], PG_TEXT);
        const struct query *query;
        DL_FOREACH(job->queries, query)
        {
            pg_array_put(&arrays[i], query->statement->parameters[i]);
        }
        parameters[i] = pg_array_slice(&arrays[i]);
    }
    struct values values = {.n = first->n_parameters, .at = parameters, .binary = true};
    bool sent = send_text(connection, &job->steps, STEP_QUERY, cc_buffer_slice(&sql), &values);
    for (uint32_t i = 0; i < first->n_parameters; i++) {
        pg_array_finish(&arrays[i]);
    }
    cc_buffer_finish(&sql);
    free(parameters);
    free(arrays);
    return sent;
}

static bool send_query(struct connection *connection, struct job *job)
{
    const struct rest_statement *statement = job->queries->statement;
    struct values values = {.n = statement->n_parameters, .at = statement->parameters};
    return send_text(connection, &job->steps, STEP_QUERY, statement->sql, &values);
}

// Puts the job on the connection, behind others that may be there. False: the connection is to be given up.
static bool send_job(struct connection *connection, struct job *job)
{
    const struct rest_statement *statement = job->queries->statement;
    bool has_identity = has_identity_of(connection, statement);
    static const struct values none;
    job->connection = connection;
    job->sent_ms = now_ms();
    job->may_change_identity = may_change_identity(statement);
    job->keeps_identity = has_identity && !job->may_change_identity;
    connection->state = CONNECTION_BUSY;
    connection->unflushed = true;
    DL_APPEND(connection->jobs, job);
    connection->n_jobs++;
    if (!has_identity && !send_identity(connection, &job->steps, statement)) {
        return false;
    }
    if (statement->n_settings > 0 && !send_settings(connection, &job->steps, statement)) {
        return false;
    }
    if (statement->before.n > 0 && !send_text(connection, &job->steps, STEP_SETTINGS, statement->before, &none)) {
        return false;
    }
    bool sent = job->n_sent > 1 ? send_lookups(connection, job) : send_query(connection, job);
    return sent && PQpipelineSync(connection->libpq) == 1;
}

static struct job *take_first(struct connection *connection)
{
    struct job *job = connection->jobs;
    DL_DELETE(connection->jobs, job);
    connection->n_jobs--;
    return job;
}

// -- Losing and answering ------------------------------------------------------------------------------------------------

static void clear_results(struct connection *connection)
{
    PQclear(connection->rows);
    PQclear(connection->error);
    connection->rows = connection->error = NULL;
}

static void close_connection(struct connection *connection)
{
    struct event **events[] = {&connection->readable, &connection->writable};
    for (size_t i = 0; i < 2; i++) {
        if (*events[i] != NULL) {
            event_free(*events[i]);
            *events[i] = NULL;
        }
    }
    clear_results(connection);
    forget_all(connection);
    identity_finish(&connection->identity);
    PQfinish(connection->libpq);
    connection->libpq = NULL;
    connection->unflushed = false;
    connection->state = CONNECTION_DOWN;
}

// A connection broke under these. They may be run again, but not one that ran, alone, when two connections broke: it is taken for the cause.
static void count_loss(struct job *job, struct query **causes)
{
    struct query *query, *next;
    DL_FOREACH_SAFE(job->queries, query, next)
    {
        query->n_lost += job->n_sent == 1;
        if (query->n_lost >= 2) {
            DL_DELETE(job->queries, query);
            DL_APPEND(*causes, query);
        }
    }
}

static void lose(struct connection *connection, bool was_running)
{
    struct io_postgres_read *pool = connection->pool;
    bool was_up = connection->state == CONNECTION_IDLE || connection->state == CONNECTION_BUSY;
    struct query *causes = NULL;
    close_connection(connection);
    pool->stats.reconnects += was_up;
    set_timer(connection->timer, connection->back_off_ms);
    connection->back_off_ms =
        connection->back_off_ms * 2 < BACK_OFF_MS_MAX ? connection->back_off_ms * 2 : BACK_OFF_MS_MAX;
    if (connection->jobs != NULL && was_running) {
        count_loss(connection->jobs, &causes);
    }
    while (connection->jobs != NULL) {
        struct job *job = connection->jobs->prev; // the last one: before those behind it
        DL_DELETE(connection->jobs, job);
        put_back(pool, job);
        free(job);
    }
    connection->n_jobs = 0;
    fail_all(causes, CC_UNAVAILABLE);
}

static struct cc_slice field(const PGresult *result, int code)
{
    return cc_slice_text(PQresultErrorField(result, code));
}

static bool code_starts(const PGresult *error, const char *prefix)
{
    const char *code = PQresultErrorField(error, PG_DIAG_SQLSTATE);
    return code != NULL && strncmp(code, prefix, strlen(prefix)) == 0;
}

// A migration has changed what the prepared statement returns, or something dropped it.
static bool is_outdated(const struct job *job, const PGresult *error)
{
    return error != NULL && job->steps.reused > 0 && (code_starts(error, "0A000") || code_starts(error, "26000"));
}

static void forget_number(struct connection *connection, uint64_t number)
{
    struct prepared *prepared, *next;
    HASH_ITER(hh, connection->prepared, prepared, next)
    {
        if (prepared->number == number) {
            forget(connection, prepared); // its name is never used again
        }
    }
}

static void settle_prepared(struct connection *connection, const struct steps *steps)
{
    struct prepared *prepared, *next;
    HASH_ITER(hh, connection->prepared, prepared, next)
    {
        if (prepared->fresh == steps) { // its preparation failed or was skipped
            forget(connection, prepared);
        }
    }
}

static void answer_rows(struct query *query, PGresult *rows)
{
    struct io_postgres_read_result result = {
        .status = CC_OK,
        .n_rows = (uint32_t)PQntuples(rows),
        .n_columns = (uint32_t)PQnfields(rows),
        .rows = rows,
    };
    query_answer(query, &result);
}

static void answer_error(struct query *query, PGresult *error)
{
    struct io_postgres_read_result result = {
        .status = CC_REFUSED,
        .code = field(error, PG_DIAG_SQLSTATE),
        .message = field(error, PG_DIAG_MESSAGE_PRIMARY),
        .details = field(error, PG_DIAG_MESSAGE_DETAIL),
        .hint = field(error, PG_DIAG_MESSAGE_HINT),
    };
    query_answer(query, &result);
}

// There is a row for each, in their order.
static bool are_rows_of(const struct job *job, const PGresult *rows)
{
    int last = PQnfields(rows) - 1;
    bool good = last > 0 && PQntuples(rows) == (int)job->n_sent;
    for (int i = 0; good && i < PQntuples(rows); i++) {
        good = strtoul(PQgetvalue(rows, i, last), NULL, 10) == (unsigned long)i + 1;
    }
    return good;
}

static void end_lookups(struct io_postgres_read *pool, struct job *job, PGresult *rows)
{
    if (rows == NULL || !are_rows_of(job, rows)) {
        put_back(pool, job);
        return;
    }
    while (job->queries != NULL) {
        struct query *query = job->queries;
        DL_DELETE(job->queries, query);
        struct io_postgres_read_result result = {
            .status = CC_OK,
            .n_rows = 1,
            .n_columns = (uint32_t)PQnfields(rows) - 1,
            .rows = rows,
            .first_row = query->place - 1,
        };
        query_answer(query, &result);
    }
}

static void end_query(struct io_postgres_read *pool, struct job *job, PGresult *rows, PGresult *error)
{
    struct query *query = job->queries;
    if (is_outdated(job, error) && !query->prepared_again) {
        query->prepared_again = true;
        put_back(pool, job);
        return;
    }
    DL_DELETE(job->queries, query);
    if (error != NULL) {
        pool->stats.errors++;
        answer_error(query, error);
    } else if (rows != NULL) {
        answer_rows(query, rows);
    } else {
        query_fail(query, CC_UNAVAILABLE); // an answer without rows: no statement that reads gives one
    }
}

// The sync has come: the next job's turn, whatever became of this one.
static void finish_job(struct connection *connection)
{
    struct job *job = take_first(connection);
    PGresult *rows = connection->rows, *error = connection->error;
    connection->rows = connection->error = NULL;
    connection->state = connection->jobs == NULL ? CONNECTION_IDLE : CONNECTION_BUSY;
    if (connection->jobs != NULL) {
        connection->jobs->sent_ms = now_ms();
    }
    if (!job->keeps_identity || error != NULL) {
        connection->identity.is_known = error == NULL && !job->may_change_identity;
    }
    settle_prepared(connection, &job->steps);
    if (is_outdated(job, error)) {
        forget_number(connection, job->steps.reused);
    }
    if (job->n_sent > 1) {
        end_lookups(connection->pool, job, rows);
    } else if (job->queries != NULL) {
        end_query(connection->pool, job, rows, error);
    }
    free(job);
    PQclear(rows);
    PQclear(error);
    dispatch_later(connection->pool);
}

// -- Receiving -----------------------------------------------------------------------------------------------------------

static struct steps *present_steps(struct connection *connection)
{
    return connection->jobs == NULL ? &connection->setup : &connection->jobs->steps;
}

static struct prepared *first_fresh(struct connection *connection, const struct steps *steps)
{
    struct prepared *prepared = connection->prepared;
    while (prepared != NULL && prepared->fresh != steps) {
        prepared = prepared->hh.next;
    }
    return prepared;
}

// One result of the present step. Takes the result.
static void take_result(struct connection *connection, PGresult *result)
{
    const struct steps *steps = present_steps(connection);
    enum step step = steps->n_done < steps->n ? steps->at[steps->n_done] : STEP_DROP;
    ExecStatusType status = PQresultStatus(result);
    struct prepared *fresh = first_fresh(connection, steps); // preparations come in the order of their statements
    if (status == PGRES_COMMAND_OK && step == STEP_PREPARE && fresh != NULL) {
        fresh->fresh = NULL;
    }
    if ((status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) && step == STEP_QUERY && connection->rows == NULL) {
        connection->rows = result;
        return;
    }
    if (status == PGRES_FATAL_ERROR && connection->error == NULL) {
        connection->error = result;
        return;
    }
    PQclear(result);
}

// False when the connection is to be given up.
static bool take_results(struct connection *connection)
{
    while (connection->state != CONNECTION_DOWN && PQisBusy(connection->libpq) == 0) {
        PGresult *result = PQgetResult(connection->libpq);
        if (result == NULL) {
            struct steps *steps = present_steps(connection);
            if (steps->n_done >= steps->n || PQstatus(connection->libpq) == CONNECTION_BAD) {
                return PQstatus(connection->libpq) != CONNECTION_BAD;
            }
            steps->n_done++;
            continue;
        }
        if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
            take_result(connection, result);
            continue;
        }
        PQclear(result);
        if (connection->error != NULL &&
            (code_starts(connection->error, "57P") || connection->state == CONNECTION_PREPARING)) {
            return false; // shut down, or it does not take our settings
        }
        if (connection->state == CONNECTION_PREPARING) {
            clear_results(connection);
            connection->state = CONNECTION_IDLE;
            connection->back_off_ms = BACK_OFF_MS;
            (void)event_del(connection->timer);
            dispatch_later(connection->pool);
        } else if (connection->state == CONNECTION_BUSY) {
            finish_job(connection);
        }
    }
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;
    (void)fd;
    (void)what;
    bool good = PQconsumeInput(connection->libpq) == 1 && flush(connection) && take_results(connection);
    if (connection->state != CONNECTION_DOWN && !good) {
        lose(connection, true);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;
    (void)fd;
    (void)what;
    if (!flush(connection)) {
        lose(connection, true);
    }
}

// One that needs no change of identity, if there is one.
static struct connection *find_idle(struct io_postgres_read *pool, const struct rest_statement *statement)
{
    struct connection *idle = NULL;
    for (uint32_t i = 0; i < pool->n_connections; i++) {
        if (pool->connections[i].state == CONNECTION_IDLE) {
            if (has_identity_of(&pool->connections[i], statement)) {
                return &pool->connections[i];
            }
            idle = &pool->connections[i];
        }
    }
    return idle;
}

static bool may_follow(const struct connection *connection, const struct rest_statement *statement)
{
    if (connection->state != CONNECTION_BUSY || connection->n_jobs >= JOBS_MAX || !has_identity_of(connection, statement) ||
        now_ms() - connection->jobs->sent_ms > QUICK_MS) {
        return false;
    }
    for (const struct job *job = connection->jobs; job != NULL; job = job->next) {
        if (!job->keeps_identity) {
            return false;
        }
    }
    return true;
}

// The one with the fewest jobs behind which the statement may be sent; NULL: none.
static struct connection *find_busy(struct io_postgres_read *pool, const struct rest_statement *statement)
{
    struct connection *best = NULL;
    for (uint32_t i = 0; i < pool->n_connections; i++) {
        struct connection *connection = &pool->connections[i];
        if (may_follow(connection, statement) && (best == NULL || connection->n_jobs < best->n_jobs)) {
            best = connection;
        }
    }
    return best;
}

static bool has_same_settings(const struct rest_statement *a, const struct rest_statement *b)
{
    bool same = a->n_settings == b->n_settings;
    for (uint32_t i = 0; same && i < a->n_settings; i++) {
        same = !is_of_request(a->settings[i].name) && cc_slice_equal(a->settings[i].name, b->settings[i].name) &&
               cc_slice_equal(a->settings[i].value, b->settings[i].value);
    }
    return same;
}

static bool may_join(const struct query *first, const struct query *query)
{
    const struct rest_statement *a = first->statement, *b = query->statement;
    return a->lookup != NULL && b->lookup != NULL && !first->alone && !query->alone && cc_slice_equal(a->sql, b->sql) &&
           a->n_parameters == b->n_parameters && has_same_settings(a, b);
}

// The query, and those of the queue that are answered by the same statement.
static struct job *make_job(struct io_postgres_read *pool, struct query *first)
{
    struct job *job = cc_alloc(sizeof(*job));
    struct query *query, *next;
    DL_FOREACH_SAFE(pool->queue, query, next)
    {
        if (job->n_sent < LOOKUPS_MAX && (query == first || may_join(first, query))) {
            (void)dequeue(pool, query);
            DL_APPEND(job->queries, query);
            query->job = job;
            query->place = ++job->n_sent;
        }
    }
    return job;
}

// NULL: it waits. Lookups wait for a connection that is idle: meanwhile more of them come together.
static struct connection *find_connection(struct io_postgres_read *pool, const struct query *query)
{
    struct connection *idle = find_idle(pool, query->statement);
    bool joins = query->statement->lookup != NULL && !query->alone;
    return idle != NULL || joins ? idle : find_busy(pool, query->statement);
}

static void dispatch(struct io_postgres_read *pool)
{
    struct query *query = pool->queue;
    while (query != NULL) {
        struct connection *connection = find_connection(pool, query);
        if (connection == NULL) {
            query = query->next;
            continue;
        }
        if (!send_job(connection, make_job(pool, query))) {
            lose(connection, false);
        }
        query = pool->queue; // any of them may be gone
    }
}

static void on_turn(evutil_socket_t fd, short what, void *context)
{
    struct io_postgres_read *pool = context;
    (void)fd;
    (void)what;
    dispatch(pool);
    for (uint32_t i = 0; i < pool->n_connections; i++) {
        struct connection *connection = &pool->connections[i];
        if (connection->unflushed) {
            connection->unflushed = false;
            if (!flush(connection)) {
                lose(connection, true);
            }
        }
    }
}

// -- Connecting ----------------------------------------------------------------------------------------------------------

static void ignore_notice(void *context, const PGresult *notice)
{
    (void)context;
    (void)notice;
}

// What every session has from its beginning; a client that leaves is noticed while its statement runs: a statement given up by
// closing the connection ends soon.
static const char *const session_settings[][2] = {
    {"default_transaction_read_only", "on"},
    {"client_connection_check_interval", "500ms"},
    {"idle_in_transaction_session_timeout", "60s"},
    {"TimeZone", "UTC"},
    {"DateStyle", "ISO, MDY"},
    {"IntervalStyle", "postgres"},
    {"extra_float_digits", "1"},
    {"bytea_output", "hex"},
    {"client_encoding", "UTF8"},
    {"standard_conforming_strings", "on"},
    {"lock_timeout", "0"},
    {"caucus.writer", "off"},
};
enum { N_SESSION_SETTINGS = sizeof(session_settings) / sizeof(session_settings[0]) };

// What a setting is when no request says otherwise. The NULL slice: what the server says.
static struct cc_slice session_value(const struct io_postgres_read *pool, const char *name)
{
    if (strcmp(name, "role") == 0) {
        return cc_slice_text("none");
    }
    if (strcasecmp(name, "statement_timeout") == 0) {
        return cc_slice_text(pool->statement_timeout);
    }
    for (size_t i = 0; i < N_SESSION_SETTINGS; i++) {
        if (strcasecmp(session_settings[i][0], name) == 0) {
            return cc_slice_text(session_settings[i][1]);
        }
    }
    return strchr(name, '.') != NULL ? cc_slice_text("") : (struct cc_slice){0};
}

static bool send_session_settings(struct connection *connection)
{
    struct cc_buffer sql = {0};
    const char *values[] = {connection->pool->search_path, connection->pool->statement_timeout};
    cc_buffer_append_text(&sql, "SELECT set_config('search_path', $1, false), set_config('statement_timeout', $2, false)");
    for (size_t i = 0; i < N_SESSION_SETTINGS; i++) {
        cc_buffer_printf(&sql, ", set_config('%s', '%s', false)", session_settings[i][0], session_settings[i][1]);
    }
    connection->setup = (struct steps){0};
    add_step(&connection->setup, STEP_SETTINGS);
    bool sent = PQsetnonblocking(connection->libpq, 1) == 0 && PQenterPipelineMode(connection->libpq) == 1 &&
                PQsendQueryParams(connection->libpq, cc_buffer_text(&sql), 2, NULL, values, NULL, NULL, 0) == 1 &&
                PQpipelineSync(connection->libpq) == 1 && flush(connection);
    cc_buffer_finish(&sql);
    return sent;
}

static void connected(struct connection *connection)
{
    int fd = PQsocket(connection->libpq);
    struct event_base *base = connection->pool->base;
    (void)PQsetNoticeReceiver(connection->libpq, ignore_notice, NULL);
    event_free(connection->readable);
    connection->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, connection);
    connection->writable = event_new(base, fd, EV_WRITE, on_writable, connection);
    (void)event_add(connection->readable, NULL);
    connection->state = CONNECTION_PREPARING;
    if (!send_session_settings(connection)) {
        lose(connection, true);
    }
}

static void on_connecting(evutil_socket_t fd, short what, void *context);

static void poll_connect(struct connection *connection, PostgresPollingStatusType status)
{
    short wanted = status == PGRES_POLLING_READING ? EV_READ : EV_WRITE;
    if (connection->readable != NULL && status != PGRES_POLLING_OK) {
        event_free(connection->readable);
        connection->readable = NULL;
    }
    switch (status) {
    case PGRES_POLLING_READING:
    case PGRES_POLLING_WRITING: // the socket may be another one each time
        connection->readable =
            event_new(connection->pool->base, PQsocket(connection->libpq), wanted, on_connecting, connection);
        (void)event_add(connection->readable, NULL);
        return;
    case PGRES_POLLING_OK:
        connected(connection);
        return;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        lose(connection, true);
        return;
    }
}

static void on_connecting(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;
    (void)fd;
    (void)what;
    poll_connect(connection, PQconnectPoll(connection->libpq));
}

static void connect_start(struct connection *connection)
{
    connection->state = CONNECTION_CONNECTING;
    const char *const names[] = {"dbname", "user", NULL};
    const char *const values[] = {connection->pool->conninfo, connection->pool->user, NULL};
    connection->libpq = PQconnectStartParams(names, values, 1); // 1: "dbname" may be a whole connection string
    if (connection->libpq == NULL || PQstatus(connection->libpq) == CONNECTION_BAD) {
        lose(connection, true);
        return;
    }
    set_timer(connection->timer, CONNECT_MS_MAX);
    poll_connect(connection, PGRES_POLLING_WRITING);
}

// The back-off has passed, or connecting takes too long.
static void on_connection_timer(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;
    (void)fd;
    (void)what;
    if (connection->state == CONNECTION_DOWN) {
        connect_start(connection);
    } else if (connection->state == CONNECTION_CONNECTING || connection->state == CONNECTION_PREPARING) {
        lose(connection, true);
    }
}

// -- Public --------------------------------------------------------------------------------------------------------------

struct io_postgres_read *io_postgres_read_create(const struct io_postgres_read_options *options)
{
    struct io_postgres_read *pool = cc_alloc(sizeof(*pool));
    pool->base = options->base;
    pool->conninfo = cc_strdup(options->conninfo);
    pool->user = options->user == NULL ? NULL : cc_strdup(options->user);
    pool->search_path = cc_strdup(options->search_path == NULL ? "pg_catalog" : options->search_path);
    pool->n_connections = options->n_connections == 0 ? CONNECTIONS_DEFAULT : options->n_connections;
    pool->queue_max = options->queue_max == 0 ? QUEUE_DEFAULT : options->queue_max;
    pool->prepared_max = options->prepared_max == 0 ? PREPARED_DEFAULT : options->prepared_max;
    (void)snprintf(pool->statement_timeout, sizeof(pool->statement_timeout), "%u",
                   options->statement_timeout_ms == 0 ? STATEMENT_TIMEOUT_DEFAULT_MS : options->statement_timeout_ms);
    if (pool->prepared_max < PREPARED_MIN) {
        pool->prepared_max = PREPARED_MIN;
    }
    pool->turn = evtimer_new(pool->base, on_turn, pool);
    pool->connections = cc_alloc_array(pool->n_connections, sizeof(*pool->connections));
    for (uint32_t i = 0; i < pool->n_connections; i++) {
        struct connection *connection = &pool->connections[i];
        connection->pool = pool;
        connection->back_off_ms = BACK_OFF_MS;
        connection->timer = evtimer_new(pool->base, on_connection_timer, connection);
        set_timer(connection->timer, 0);
    }
    return pool;
}

void io_postgres_read_destroy(struct io_postgres_read *pool)
{
    if (pool == NULL) {
        return;
    }
    pool->queue_max = 0; // nothing new from the callbacks
    while (pool->queue != NULL) {
        query_fail(dequeue(pool, pool->queue), CC_UNAVAILABLE);
    }
    for (uint32_t i = 0; i < pool->n_connections; i++) {
        struct connection *connection = &pool->connections[i];
        close_connection(connection);
        event_free(connection->timer);
        while (connection->jobs != NULL) {
            struct job *job = take_first(connection);
            fail_all(job->queries, CC_UNAVAILABLE);
            free(job);
        }
    }
    event_free(pool->turn);
    free(pool->connections);
    free(pool->conninfo);
    free(pool->user);
    free(pool->search_path);
    free(pool);
}

static uint32_t count_connections(const struct io_postgres_read *pool, enum connection_state state)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->n_connections; i++) {
        n += pool->connections[i].state == state;
    }
    return n;
}

// The statement is given up by closing its connection: cancelling would have to wait for a server that may not answer.
static void on_query_timer(evutil_socket_t fd, short what, void *context)
{
    struct query *query = context;
    struct io_postgres_read *pool = query->pool;
    struct job *job = query->job;
    (void)fd;
    (void)what;
    uint32_t n_up = count_connections(pool, CONNECTION_IDLE) + count_connections(pool, CONNECTION_BUSY);
    pool->stats.timeouts++;
    if (job == NULL) {
        query_fail(dequeue(pool, query), n_up > 0 ? CC_TIMEOUT : CC_UNAVAILABLE);
        return;
    }
    DL_DELETE(job->queries, query);
    if (job->connection->jobs == job) { // else it has not begun, and what runs before it has time left
        lose(job->connection, false);
    }
    query_fail(query, CC_TIMEOUT);
}

enum cc_status io_postgres_read_query(struct io_postgres_read *pool, const struct rest_statement *statement,
                                      uint32_t timeout_ms, io_postgres_read_done done, void *context)
{
    if (pool->n_queue >= pool->queue_max) {
        return CC_UNAVAILABLE;
    }
    struct query *query = cc_alloc(sizeof(*query));
    query->pool = pool;
    query->statement = statement;
    query->done = done;
    query->context = context;
    query->timer = evtimer_new(pool->base, on_query_timer, query);
    set_timer(query->timer, timeout_ms);
    pool->stats.queries++;
    DL_APPEND(pool->queue, query);
    pool->n_queue++;
    dispatch_later(pool);
    return CC_OK;
}

struct cc_slice io_postgres_read_value(const struct io_postgres_read_result *result, uint32_t row, uint32_t column)
{
    const PGresult *rows = result->rows;
    assert(row < result->n_rows && column < result->n_columns);
    struct cc_slice null = {0};
    int at = (int)(result->first_row + row);
    if (PQgetisnull(rows, at, (int)column)) {
        return null;
    }
    return cc_slice_of(PQgetvalue(rows, at, (int)column), (size_t)PQgetlength(rows, at, (int)column));
}

void io_postgres_read_describe(const struct io_postgres_read *pool, struct io_postgres_read_stats *stats_out)
{
    *stats_out = pool->stats;
    stats_out->n_busy = count_connections(pool, CONNECTION_BUSY);
    stats_out->n_connections_up = stats_out->n_busy + count_connections(pool, CONNECTION_IDLE);
    stats_out->n_waiting = pool->n_queue;
}
