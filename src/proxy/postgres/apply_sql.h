// Effects of log entries as few set-wise SQL statements, for a session with session_replication_role = replica. Pure.
//
// Rows of one table, shape and kind that follow each other are joined, over all entries. Changes of different tables commute
// in such a session (no triggers, no foreign keys), so a row of another table does not break a run; DDL ends all runs.
// An update or delete that does not find each of its rows raises CCDIV (function caucus.expect).
#ifndef PROXY_APPLY_SQL_H
#define PROXY_APPLY_SQL_H

#include "proxy/node/effect.h"

struct apply_statement { // borrowed during the call
    const char *sql;
    bool once; // text of a migration: not to be prepared
    uint32_t n_parameters;
    const struct cc_slice *parameters;
    const uint8_t *binary; // per parameter; NULL: all text
};
typedef void apply_sink(void *context, const struct apply_statement *statement);

struct apply_run;
struct apply_sql {
    apply_sink *sink;
    void *context;
    struct apply_run *runs; // open ones, one per table
    uint32_t n_migrations;  // completed so far
};

void apply_sql_init(struct apply_sql *apply, apply_sink *sink, void *context);
void apply_sql_finish(struct apply_sql *apply); // frees what is left after an error
// Statements may be held back until apply_sql_flush. `index` is the entry's. CC_MALFORMED, CC_TOO_LARGE.
enum cc_status apply_sql_effects(struct apply_sql *apply, uint64_t index, struct cc_slice effects) CC_CHECKED;
void apply_sql_flush(struct apply_sql *apply);

// Appends a name quoted as an SQL identifier.
void apply_sql_identifier(struct cc_buffer *sql, struct cc_slice name);

#endif
