// Inside of io_postgres_read*.c: the pool, what waits and runs in it, and what each of the files does for the others.
// io_postgres_read.c: the pool, its queue and which connection gets what. io_postgres_read_send.c: what is sent.
// io_postgres_read_connection.c: connecting, receiving, losing.
#ifndef PROXY_IO_POSTGRES_READ_INTERNAL_H
#define PROXY_IO_POSTGRES_READ_INTERNAL_H

#include "proxy/postgres/io_postgres_read.h"

#include <event2/util.h>
#include <libpq-fe.h>
#include <uthash.h>

#include "base/slice.h"

struct event;

enum {
    BACK_OFF_MS = 20,
    STEPS_MAX = 12, // of one job on the wire: identity, settings, what comes before and the statement, each with DEALLOCATE and Parse
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

// A statement that the session knows, or is being told.
struct prepared {
    char *sql; // key
    size_t n;
    uint64_t number;
    char name[16];
    const struct steps *fresh; // sent as one of these, its answer is not here yet
    UT_hash_handle hh;
};

// A statement of the pool's user, until it is answered.
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

// What a connection does up to one sync: a query, or lookups that became one statement.
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

// -- io_postgres_read.c --------------------------------------------------------------------------------------------------

void pg_read_set_timer(struct event *timer, uint32_t ms);
uint64_t pg_read_now_ms(void);

// At the end of this turn of the loop the queue is looked at, and what was sent leaves.
void pg_read_dispatch_later(struct io_postgres_read *pool);

// These call the query's callback and free it. It is in no list any more; of fail_all: all those of the list.
void pg_read_query_answer(struct query *query, const struct io_postgres_read_result *result);
void pg_read_query_fail(struct query *query, enum cc_status status);
void pg_read_fail_all(struct query *queries, enum cc_status status);

// The job's queries go back to the head of the queue, in their order. The job stays the caller's.
void pg_read_put_back(struct io_postgres_read *pool, struct job *job);

// -- io_postgres_read_send.c ---------------------------------------------------------------------------------------------

void pg_read_forget_all(struct connection *connection);
void pg_read_forget_number(struct connection *connection, uint64_t number);
// The steps have ended: statements whose preparation among them failed or was skipped are forgotten.
void pg_read_settle_prepared(struct connection *connection, const struct steps *steps);

// A setting that only one request has.
bool pg_read_is_of_request(struct cc_slice name);
// The session is already who the statement wants to run as.
bool pg_read_has_identity_of(const struct connection *connection, const struct rest_statement *statement);
void pg_read_identity_finish(struct identity *identity);

// Each of these: false when the connection is to be given up.
bool pg_read_flush(struct connection *connection);
bool pg_read_send_session_settings(struct connection *connection); // those that every session begins with
bool pg_read_send_job(struct connection *connection, struct job *job); // puts it on the connection, behind others that may be there

// The job that runs, off the connection: the caller's.
struct job *pg_read_take_first(struct connection *connection);

// -- io_postgres_read_connection.c ---------------------------------------------------------------------------------------

// The session ends; jobs stay on the connection.
void pg_read_close_connection(struct connection *connection);
// The session ends, its queries go back to the queue, and after a back-off it connects again. was_running: the first job may be the
// cause; its queries that have lost two connections alone are answered with CC_UNAVAILABLE.
void pg_read_lose(struct connection *connection, bool was_running);
// The back-off has passed, or connecting takes too long. The context is the connection.
void pg_read_on_connection_timer(evutil_socket_t fd, short what, void *context);

#endif
