// The PostgreSQL that the node owns: its two writer connections ("lanes") and the database jobs of proxy/database.h, on the
// core thread's event loop. Connects by itself, again with back-off whenever a connection is lost, and makes the schema
// `caucus` when it is not there.
#ifndef PROXY_IO_POSTGRES_H
#define PROXY_IO_POSTGRES_H

#include "proxy/node/database.h"

struct event_base;
struct io_postgres;

struct io_postgres_options { // texts are copied
    struct event_base *base;
    const char *conninfo;
    const char *search_path; // as the setting of that name; NULL: public
    // Role as which writes of requests execute; NULL: as conninfo says. It exists, or keeps_executor: it is LOGIN_ROLE_WRITES
    // (proxy/login_role.h), which is made, and granted what requests may name.
    const char *executor;
    bool keeps_executor;
    const char *cluster;
    uint32_t replica, incarnation;
    // Each event as it comes, from the loop (not from within a call here); io_postgres_submit may be called in it.
    void (*on_event)(void *context, const struct db_event *event);
    void *context;
};

struct io_postgres *io_postgres_create(const struct io_postgres_options *options);
void io_postgres_destroy(struct io_postgres *postgres); // no events any more; NULL is fine
// Connects now instead of at the next attempt: the server has just become ready.
void io_postgres_connect(struct io_postgres *postgres);
// Loses both connections on purpose: what they know of the database is of the past.
void io_postgres_reconnect(struct io_postgres *postgres, const char *why);
// Jobs stay the caller's until their answer or the lane's DB_DOWN; ROLLBACK and WEAK_ROLLBACK are copied.
// Ignored while the lane is down: its DB_DOWN has been told, or comes.
void io_postgres_submit(struct io_postgres *postgres, enum db_lane lane, struct db_job *const *jobs, size_t n_jobs);
// Version, encoding and collation of the database: the same bytes on all replicas of a cluster. Known before the first DB_UP.
struct cc_slice io_postgres_facts(const struct io_postgres *postgres);
// The server's version number (150020), 0 while unknown.
int io_postgres_version(const struct io_postgres *postgres);

// SQL of a digest over a table: one row (rows, digest), both text, the same on all replicas that hold the same rows, whatever
// their order on disk. Stamps and other things of ours are left out. `qualified` is the quoted, qualified name; columns are
// the quoted names of the columns to compare.
void io_postgres_digest_sql(struct cc_buffer *out, const char *qualified, const char *const *columns, size_t n_columns);

#endif
