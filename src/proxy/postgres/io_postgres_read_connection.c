// Read connections, their life: connecting, losing, receiving, and the answers of the jobs that end.
#include "proxy/postgres/io_postgres_read_internal.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    CONNECT_MS_MAX = 5000,
    BACK_OFF_MS_MAX = 1000,
};

// -- Losing and answering ------------------------------------------------------------------------------------------------

static void clear_results(struct connection *connection)
{
    PQclear(connection->rows);
    PQclear(connection->error);
    connection->rows = connection->error = NULL;
}

void pg_read_close_connection(struct connection *connection)
{
    struct event **events[] = {&connection->readable, &connection->writable};
    for (size_t i = 0; i < 2; i++) {
        if (*events[i] != NULL) {
            event_free(*events[i]);
            *events[i] = NULL;
        }
    }
    clear_results(connection);
    pg_read_forget_all(connection);
    pg_read_identity_finish(&connection->identity);
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

void pg_read_lose(struct connection *connection, bool was_running)
{
    struct io_postgres_read *pool = connection->pool;
    bool was_up = connection->state == CONNECTION_IDLE || connection->state == CONNECTION_BUSY;
    struct query *causes = NULL;
    pg_read_close_connection(connection);
    pool->stats.reconnects += was_up;
    pg_read_set_timer(connection->timer, connection->back_off_ms);
    connection->back_off_ms =
        connection->back_off_ms * 2 < BACK_OFF_MS_MAX ? connection->back_off_ms * 2 : BACK_OFF_MS_MAX;
    if (connection->jobs != NULL && was_running) {
        count_loss(connection->jobs, &causes);
    }
    while (connection->jobs != NULL) {
        struct job *job = connection->jobs->prev; // the last one: before those behind it
        DL_DELETE(connection->jobs, job);
        pg_read_put_back(pool, job);
        free(job);
    }
    connection->n_jobs = 0;
    pg_read_fail_all(causes, CC_UNAVAILABLE);
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

static void answer_rows(struct query *query, PGresult *rows)
{
    struct io_postgres_read_result result = {
        .status = CC_OK,
        .n_rows = (uint32_t)PQntuples(rows),
        .n_columns = (uint32_t)PQnfields(rows),
        .rows = rows,
    };
    pg_read_query_answer(query, &result);
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
    pg_read_query_answer(query, &result);
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
        pg_read_put_back(pool, job);
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
        pg_read_query_answer(query, &result);
    }
}

static void end_query(struct io_postgres_read *pool, struct job *job, PGresult *rows, PGresult *error)
{
    struct query *query = job->queries;
    if (is_outdated(job, error) && !query->prepared_again) {
        query->prepared_again = true;
        pg_read_put_back(pool, job);
        return;
    }
    DL_DELETE(job->queries, query);
    if (error != NULL) {
        pool->stats.errors++;
        answer_error(query, error);
    } else if (rows != NULL) {
        answer_rows(query, rows);
    } else {
        pg_read_query_fail(query, CC_UNAVAILABLE); // an answer without rows: no statement that reads gives one
    }
}

// The sync has come: the next job's turn, whatever became of this one.
static void finish_job(struct connection *connection)
{
    struct job *job = pg_read_take_first(connection);
    PGresult *rows = connection->rows, *error = connection->error;
    connection->rows = connection->error = NULL;
    connection->state = connection->jobs == NULL ? CONNECTION_IDLE : CONNECTION_BUSY;
    if (connection->jobs != NULL) {
        connection->jobs->sent_ms = pg_read_now_ms();
    }
    if (!job->keeps_identity || error != NULL) {
        connection->identity.is_known = error == NULL && !job->may_change_identity;
    }
    pg_read_settle_prepared(connection, &job->steps);
    if (is_outdated(job, error)) {
        pg_read_forget_number(connection, job->steps.reused);
    }
    if (job->n_sent > 1) {
        end_lookups(connection->pool, job, rows);
    } else if (job->queries != NULL) {
        end_query(connection->pool, job, rows, error);
    }
    free(job);
    PQclear(rows);
    PQclear(error);
    pg_read_dispatch_later(connection->pool);
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
            pg_read_dispatch_later(connection->pool);
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
    bool good = PQconsumeInput(connection->libpq) == 1 && pg_read_flush(connection) && take_results(connection);
    if (connection->state != CONNECTION_DOWN && !good) {
        pg_read_lose(connection, true);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;
    (void)fd;
    (void)what;
    if (!pg_read_flush(connection)) {
        pg_read_lose(connection, true);
    }
}

// -- Connecting ----------------------------------------------------------------------------------------------------------

static void ignore_notice(void *context, const PGresult *notice)
{
    (void)context;
    (void)notice;
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
    if (!pg_read_send_session_settings(connection)) {
        pg_read_lose(connection, true);
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
        pg_read_lose(connection, true);
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
        pg_read_lose(connection, true);
        return;
    }
    pg_read_set_timer(connection->timer, CONNECT_MS_MAX);
    poll_connect(connection, PGRES_POLLING_WRITING);
}

void pg_read_on_connection_timer(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;
    (void)fd;
    (void)what;
    if (connection->state == CONNECTION_DOWN) {
        connect_start(connection);
    } else if (connection->state == CONNECTION_CONNECTING || connection->state == CONNECTION_PREPARING) {
        pg_read_lose(connection, true);
    }
}
