// Weak tables in the database: what an executed weak write has changed.
#ifndef PROXY_IO_POSTGRES_WEAK_H
#define PROXY_IO_POSTGRES_WEAK_H

#include "proxy/postgres/io_postgres_internal.h"
#include "proxy/postgres/io_postgres_parts.h"

struct pg_weak_write {
    struct pg_lane *lane;
    struct cc_arena *arena;
    const struct operation *operation;
    struct clock_stamp stamp;
    struct cc_slice outcome;
    const struct pg_rows *rows; // per statement
    PGresult *const *captured; // per statement and one more; NULL where nothing was captured
    struct pg_parts *parts;     // of the rows of the batch so far
    struct pg_digests *digests; // gets what the write has changed of them
};

// The encoded, unnumbered change set of an executed write, in the arena; the empty slice when it changed nothing.
// *failure_out gets an outcome when the write cannot be allowed. All its tables are described.
struct cc_slice pg_weak_change(const struct pg_weak_write *write, struct cc_slice *failure_out);
// What this database holds of origins other than the stamp's, in the arena. Merges and writes take turns, so it is what a write's transaction saw.
struct cc_slice pg_weak_seen(const struct pg_lane *lane, const struct clock_stamp *stamp, struct cc_arena *arena);
// What an accepted write leaves to be done in the same transaction: tombstones of deleted rows, stamps of rows that triggers changed.
void pg_weak_mend(struct pg_lane *lane, struct cc_arena *arena, struct cc_slice change, const struct operation *operation,
                  PGresult *const *captured);

#endif
