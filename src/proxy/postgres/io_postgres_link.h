// One asynchronous connection to PostgreSQL: libpq in non-blocking pipeline mode on a libevent base, with prepared statements
// kept by their SQL text. Used by the writer lanes and by the read pools.
//
// Commands are sent in order and answered in order. A failed command makes the ones behind it PGRES_PIPELINE_ABORTED up to
// the next synchronisation point. Who sends more behind a point before its answer is there must drop the link when something
// before the point fails: a statement that was to be prepared there is not.
#ifndef PROXY_IO_POSTGRES_LINK_H
#define PROXY_IO_POSTGRES_LINK_H

#include "base/slice.h"

#include <event2/event.h>
#include <libpq-fe.h>

struct io_postgres_link;

// The result is the callee's: PQclear. `number` is what the sender gave.
typedef void io_postgres_on_result(void *context, uint64_t number, PGresult *result);
typedef void io_postgres_on_sync(void *context, uint64_t number);

struct io_postgres_link_options {
    struct event_base *base;
    const char *conninfo;        // copied
    const char *application_name; // copied
    const char *user;             // copied; NULL: as conninfo says
    const char *settings;         // copied; libpq's "options", in place of conninfo's, as is then application_name; NULL: as conninfo says
    const uint8_t *secret;        // 16 bytes, copied: nobody can guess the names of prepared statements; NULL: c1, c2, ...
    uint32_t n_statements_max;   // prepared statements kept; 0: 500
    // Connected; nothing is set yet: the owner sends its settings first.
    void (*on_connected)(void *context);
    // The connection is gone, or could not be made; commands in flight are forgotten. It is tried again by itself, with
    // back-off (50 ms to 2 s). `why` is for the log.
    void (*on_down)(void *context, const char *why);
    void *context;
};

struct io_postgres_link *io_postgres_link_create(const struct io_postgres_link_options *options);
void io_postgres_link_destroy(struct io_postgres_link *link); // NULL is fine; no callbacks any more
// Starts connecting, at once when it waits for its next attempt.
void io_postgres_link_connect(struct io_postgres_link *link);
// Closes the connection (on_down follows from the loop, not from within the call) and connects again after back-off.
void io_postgres_link_drop(struct io_postgres_link *link, const char *why);
// As drop, without connecting again.
void io_postgres_link_close(struct io_postgres_link *link, const char *why);
// The owner found the session in order: back-off starts anew at the next failure.
void io_postgres_link_good(struct io_postgres_link *link);

struct io_postgres_query {
    const char *sql;
    size_t n_sql; // 0: strlen
    uint32_t n_parameters;
    const struct cc_slice *parameters; // NULL data: SQL NULL. Text must not hold NUL.
    const uint8_t *binary;             // per parameter; NULL: all text
    bool once;                         // not worth a prepared statement
    bool binary_result;
};

// Everything is copied. Ignored while the link is down (on_down has been or will be called).
void io_postgres_link_send(struct io_postgres_link *link, const struct io_postgres_query *query, io_postgres_on_result *on_result,
                           void *context, uint64_t number);
// Prepares it if it is not; another command must follow before the next synchronisation point, and gets its error.
void io_postgres_link_prepare(struct io_postgres_link *link, const char *sql);
// Text without parameters.
void io_postgres_link_send_text(struct io_postgres_link *link, const char *sql, io_postgres_on_result *on_result, void *context,
                                uint64_t number);
// A synchronisation point: everything so far is sent now. on_sync may be NULL.
void io_postgres_link_sync(struct io_postgres_link *link, io_postgres_on_sync *on_sync, void *context, uint64_t number);
// Forgets all prepared statements (after a change of the schema).
void io_postgres_link_forget_statements(struct io_postgres_link *link);
// Asks the server to cancel what runs now, in a thread and over a connection of its own (libpq 15 can do so only by waiting).
void io_postgres_link_cancel(struct io_postgres_link *link);
// That was asked for, and no answer has said since that something was cancelled: it may still come, and meet what is sent next.
bool io_postgres_link_is_cancelling(const struct io_postgres_link *link);
PGconn *io_postgres_link_connection(struct io_postgres_link *link); // NULL when down

#endif
