// Columns with merge types in executed weak writes: what a write makes of its origin's parts, and the stored rows set right.
//
// A statement leaves the value that it computed in the row; the parts (crdt/parts.h) follow from that value and from what the row held
// before. Several writes of a batch run before any of it is looked at, so what their rows hold is kept here until all is accepted.
#ifndef PROXY_IO_POSTGRES_PARTS_H
#define PROXY_IO_POSTGRES_PARTS_H

#include "proxy/postgres/io_postgres_digest.h"
#include "proxy/postgres/io_postgres_internal.h"

struct pg_parts_row;

enum { PG_PARTS_SLOTS = 256 };

struct pg_parts { // of the rows that a batch has touched in tables with merge types; zero-initialised is empty
    struct cc_arena *arena;
    uint64_t settled; // among the members, when the batch began
    struct pg_parts_row *slots[PG_PARTS_SLOTS];
    struct pg_parts_row *first, *last; // in the order in which they were touched
    uint32_t n_missing;                // inserted rows of which tombstones may tell more
    bool asked;
    PGresult *tombstones;
};

// Forgets rows, and with `all` what was asked about them, too.
void pg_parts_clear(struct pg_parts *parts, const struct db_job *job, struct cc_arena *arena, bool all);
// A row is about to be changed. `values`: its image before, by position in the table, with _caucus; NULL: it is inserted.
// CC_MALFORMED: its stamps are damaged.
enum cc_status pg_parts_note(struct pg_parts *parts, const struct pg_table *table, struct cc_slice key, const struct cc_slice *values) CC_CHECKED;
// The parts of one change of a joined set whose rows were all noted. A field that changes nothing is taken out; true: so is the whole
// row. *status_out CC_INVALID: a value that its column cannot take.
bool pg_parts_change(struct pg_parts *parts, const struct pg_table *table, struct crdt_row_change *change, const struct crdt_change_set *set,
                     enum cc_status *status_out);
// Asks for tombstones of inserted rows, once per batch. False: there is nothing to ask. The result goes to pg_parts.tombstones.
bool pg_parts_ask(struct pg_parts *parts, struct pg_lane *lane, io_postgres_on_result *on_result, void *context, uint64_t number);
// Writes parts, and values that are not what a statement wrote. All was accepted.
void pg_parts_mend(struct pg_parts *parts, struct pg_lane *lane);

#endif
