// Read connections to PostgreSQL of one HTTP thread: a small pool on that thread's event loop. Everything here is called on
// that thread, also the callbacks. Statements go in one round trip each, prepared by their text; those with a lookup that wait at
// the same moment and differ in their parameters only go as one.
#ifndef PROXY_IO_POSTGRES_READ_H
#define PROXY_IO_POSTGRES_READ_H

#include "base/status.h"
#include "rest/statement.h"

struct event_base;
struct io_postgres_read;

struct io_postgres_read_options { // texts are copied
    struct event_base *base;
    const char *conninfo;
    const char *user;              // NULL: as conninfo says
    uint32_t n_connections;        // 0: 4
    uint32_t queue_max;            // statements waiting for a connection; 0: 1024
    uint32_t prepared_max;         // per connection; 0: 256
    uint32_t statement_timeout_ms; // PostgreSQL's own limit, behind the caller's; 0: 30000
    const char *search_path;       // NULL: pg_catalog
};

struct io_postgres_read_result { // borrowed during the callback
    // CC_OK: rows. CC_REFUSED: PostgreSQL's error (code to hint). CC_TIMEOUT. CC_UNAVAILABLE: no connection, or it broke.
    enum cc_status status;
    uint32_t n_rows, n_columns;
    struct cc_slice code, message, details, hint; // SQLSTATE and its texts; NULL slices where absent
    const void *rows;                             // opaque: io_postgres_read_value
    uint32_t first_row;                           // opaque
};

// May start further reads, but not destroy the pool.
typedef void (*io_postgres_read_done)(void *context, const struct io_postgres_read_result *result);

// Connects in the background, again with back-off whenever a connection is lost. The conninfo is not checked here.
struct io_postgres_read *io_postgres_read_create(const struct io_postgres_read_options *options);
// Every statement under way or waiting is answered with CC_UNAVAILABLE first. NULL is fine.
void io_postgres_read_destroy(struct io_postgres_read *pool);

// Runs the statement's sql with its parameters under its settings (which hold for this statement only, but are set in the session
// only when they change, those of single requests excepted), read only. The
// statement is borrowed until `done` is called, which happens exactly once, and never before this function has returned.
// CC_OK; CC_UNAVAILABLE: the queue is full (done is not called).
enum cc_status io_postgres_read_query(struct io_postgres_read *pool, const struct rest_statement *statement,
                                      uint32_t timeout_ms, io_postgres_read_done done, void *context) CC_CHECKED;

// Text of one value; the NULL slice for SQL NULL. Borrowed during the callback.
struct cc_slice io_postgres_read_value(const struct io_postgres_read_result *result, uint32_t row, uint32_t column);

struct io_postgres_read_stats {
    uint32_t n_connections_up, n_busy, n_waiting;
    uint64_t queries, errors, timeouts, reconnects;
};
void io_postgres_read_describe(const struct io_postgres_read *pool, struct io_postgres_read_stats *stats_out);

#endif
