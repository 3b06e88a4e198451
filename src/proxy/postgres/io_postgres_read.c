// Read connections to PostgreSQL of one HTTP thread: a small pool on that thread's event loop.
//
// A connection:  DOWN -> CONNECTING -> PREPARING (session settings) -> IDLE <-> BUSY;  any -> DOWN, and again after a back-off.
// A query waits in the pool's queue or is part of a job on one connection; its own timer ends it wherever it is.
// When no connection is idle, a few jobs are sent behind the one that runs, each with a sync of its own: PostgreSQL goes on with
// the next one without having to be woken up. Nothing is sent behind a job that takes long, or that may change who the session is.
// Queries that look up rows by key and differ in the key only become one job when they wait at the same moment, which costs
// PostgreSQL a fraction. When it fails, for whatever reason, each of them runs again alone.
#include "proxy/postgres/io_postgres_read_internal.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#include "base/memory.h"

enum {
    CONNECTIONS_DEFAULT = 4,
    QUEUE_DEFAULT = 1024,
    PREPARED_DEFAULT = 256,
    PREPARED_MIN = 4, // identity, settings, what comes before and the statement must stay
    STATEMENT_TIMEOUT_DEFAULT_MS = 30000,
    JOBS_MAX = 4,     // on one connection
    LOOKUPS_MAX = 64, // in one job
    QUICK_MS = 20,    // a job that has run for longer has none sent behind it
};

void pg_read_set_timer(struct event *timer, uint32_t ms)
{
    struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(timer, &wait);
}

uint64_t pg_read_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

// -- Queries and jobs ----------------------------------------------------------------------------------------------------

void pg_read_dispatch_later(struct io_postgres_read *pool)
{
    event_active(pool->turn, EV_TIMEOUT, 0);
}

void pg_read_query_answer(struct query *query, const struct io_postgres_read_result *result)
{
    io_postgres_read_done done = query->done;
    void *context = query->context;
    event_free(query->timer);
    free(query);
    done(context, result);
}

void pg_read_query_fail(struct query *query, enum cc_status status)
{
    struct io_postgres_read_result result = {.status = status};
    pg_read_query_answer(query, &result);
}

void pg_read_fail_all(struct query *queries, enum cc_status status)
{
    while (queries != NULL) {
        struct query *query = queries;
        DL_DELETE(queries, query);
        pg_read_query_fail(query, status);
    }
}

static struct query *dequeue(struct io_postgres_read *pool, struct query *query)
{
    DL_DELETE(pool->queue, query);
    pool->n_queue--;
    return query;
}

void pg_read_put_back(struct io_postgres_read *pool, struct job *job)
{
    while (job->queries != NULL) {
        struct query *query = job->queries->prev; // the last one: before those behind it
        DL_DELETE(job->queries, query);
        query->job = NULL;
        query->alone = query->alone || job->n_sent > 1;
        DL_PREPEND(pool->queue, query);
        pool->n_queue++;
    }
    pg_read_dispatch_later(pool);
}

// -- Dispatch ------------------------------------------------------------------------------------------------------------

// One that needs no change of identity, if there is one.
static struct connection *find_idle(struct io_postgres_read *pool, const struct rest_statement *statement)
{
    struct connection *idle = NULL;
    for (uint32_t i = 0; i < pool->n_connections; i++) {
        if (pool->connections[i].state == CONNECTION_IDLE) {
            if (pg_read_has_identity_of(&pool->connections[i], statement)) {
                return &pool->connections[i];
            }
            idle = &pool->connections[i];
        }
    }
    return idle;
}

static bool may_follow(const struct connection *connection, const struct rest_statement *statement)
{
    if (connection->state != CONNECTION_BUSY || connection->n_jobs >= JOBS_MAX || !pg_read_has_identity_of(connection, statement) ||
        pg_read_now_ms() - connection->jobs->sent_ms > QUICK_MS) {
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
        same = !pg_read_is_of_request(a->settings[i].name) && cc_slice_equal(a->settings[i].name, b->settings[i].name) &&
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
        if (!pg_read_send_job(connection, make_job(pool, query))) {
            pg_read_lose(connection, false);
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
            if (!pg_read_flush(connection)) {
                pg_read_lose(connection, true);
            }
        }
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
        connection->timer = evtimer_new(pool->base, pg_read_on_connection_timer, connection);
        pg_read_set_timer(connection->timer, 0);
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
        pg_read_query_fail(dequeue(pool, pool->queue), CC_UNAVAILABLE);
    }
    for (uint32_t i = 0; i < pool->n_connections; i++) {
        struct connection *connection = &pool->connections[i];
        pg_read_close_connection(connection);
        event_free(connection->timer);
        while (connection->jobs != NULL) {
            struct job *job = pg_read_take_first(connection);
            pg_read_fail_all(job->queries, CC_UNAVAILABLE);
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
        pg_read_query_fail(dequeue(pool, query), n_up > 0 ? CC_TIMEOUT : CC_UNAVAILABLE);
        return;
    }
    DL_DELETE(job->queries, query);
    if (job->connection->jobs == job) { // else it has not begun, and what runs before it has time left
        pg_read_lose(job->connection, false);
    }
    pg_read_query_fail(query, CC_TIMEOUT);
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
    pg_read_set_timer(query->timer, timeout_ms);
    pool->stats.queries++;
    DL_APPEND(pool->queue, query);
    pool->n_queue++;
    pg_read_dispatch_later(pool);
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
