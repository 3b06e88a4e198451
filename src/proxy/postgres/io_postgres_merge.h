// The parts of a merge: io_postgres_merge.c decides and goes from step to step, io_postgres_merge_read.c reads the rows,
// io_postgres_merge_rows.c writes them, io_postgres_merge_states.c joins states of rows. Everything belongs to the merge, or to its arena, which an attempt begins anew.
#ifndef PROXY_IO_POSTGRES_MERGE_H
#define PROXY_IO_POSTGRES_MERGE_H

#include "proxy/node/row_state.h"
#include "proxy/postgres/io_postgres_records.h"
#include "proxy/postgres/io_postgres_weak.h"

struct merge_set {
    struct crdt_change_set set;
    struct cc_slice bytes;
    bool skipped; // held already, or behind a gap or a failed one of its origin
    struct row_state *states; // in place of changes: one for each row of `set`
};

// The rows that states were found to contradict: a write under one stamp has one value, which the history may tell.
struct merge_truths {
    struct merge_truth *at; // by key
    size_t n, capacity;
    PGresult *result;
};

struct merge_truth {
    const struct crdt_change_set *set;
    const struct crdt_row_change *row;
};

// A row that the sets touch.
struct merge_row {
    struct cc_slice key;      // crdt_key_put form
    struct cc_slice *values;  // of the key
    struct crdt_row row;
    bool inserted, not_new;   // by one of the sets; a deletion or a state speaks of it
    bool exists;              // in the table
    bool had_tombstone;
    bool wrong;               // a column with a merge type does not show what its parts amount to
    bool changed;
    uint64_t digest_before; // as it was to be seen
};

struct merge_table {
    const struct pg_table *table; // NULL or not found or not weak: its rows are skipped
    struct cc_slice name;
    struct merge_row **rows;
    size_t n_rows, capacity;
    struct merge_table *next;
};

struct merge {
    struct pg_job *job;
    struct pg_lane *lane;
    struct merge_set *sets;
    uint32_t n;
    uint32_t first, end; // the sets of this attempt
    bool presumes;   // that rows which are inserted are not there: should one be, PostgreSQL refuses it
    bool one_by_one;
    bool saved;      // this attempt began in an open transaction, at a savepoint
    bool has_settings, as_replica; // it has changed these in its transaction
    bool failed;
    bool passing; // the error says something about the server's condition, nothing about the change sets
    char error[300];
    struct merge_table *tables;
    struct merge_row **slots; // hash of rows
    size_t n_slots;
    struct cc_arena arena; // of this attempt
    struct pg_digests digests;
    struct cc_slice *asked;
    size_t n_asked;
    PGresult **row_results; // kept while their values are looked at
    size_t n_row_results;
    PGresult *tombstones;
    struct merge_truths truths;
    uint32_t n_changed; // rows, by states
    struct crdt_change_set *renewed; // RENEW: what takes the place of each set; nothing is committed. NULL: a merge
};

// io_postgres_merge.c
// A statement of the open transaction; an error fails the attempt.
void pg_merge_send(struct merge *merge, const char *sql, uint32_t n, const struct cc_slice *parameters, const uint8_t *binary);
// The attempt has failed, for this reason unless there was one before.
void pg_merge_note_error(struct merge *merge, const PGresult *result);
struct merge_table *pg_merge_table(struct merge *merge, struct cc_slice name);
// The row of a change; created at its first mention. NULL: a key that the table cannot have (an older shape of it).
struct merge_row *pg_merge_row(struct merge *merge, struct merge_table *table, struct cc_slice key);

// The job's, with room for n sets.
struct merge *pg_merge_create(struct pg_job *job, uint32_t n);
// The sets are in place.
void pg_merge_begin(struct merge *merge);

// io_postgres_merge_read.c
bool pg_merge_needs_reading(const struct merge *merge); // else all rows are presumed to be new, and to have no tombstones
void pg_merge_send_reads(struct merge *merge);          // the caller syncs; errors fail the attempt
bool pg_merge_take_read(struct merge *merge);           // what came, into the rows. False: stamps or tombstones are damaged

// io_postgres_renew.c
void pg_renew_decide(struct merge *merge);          // the rows of this attempt are there: decides what remains, and merges that into them
void pg_renew_answer(struct merge *merge, uint32_t n); // of the first n sets: nothing of it fails when it is written
void pg_renew_failed(struct merge *merge);          // the first set alone cannot be written

// io_postgres_merge_rows.c
// Of what the row shows: registers hold it, also for key columns in their own place.
uint64_t pg_merge_digest(const struct pg_table *table, const struct merge_row *row);
// Sends what has changed of the table's rows, set-wise; what is to be remembered of rows that are not to be seen goes to `tombstones`.
void pg_merge_write_table(struct merge *merge, const struct merge_table *merged, struct pg_tombstones *tombstones);

// io_postgres_merge_states.c
bool pg_merge_same_value(struct cc_slice a, struct cc_slice b); // NULL equals NULL only
void pg_merge_join_row(struct merge *merge, const struct merge_table *table, struct merge_row *row, const struct row_state *state);
// The stamps of which rows and states tell different values, as texts, and the hashes of rows that do so without a stamp: the history may
// tell what was written, or that it was deleted.
void pg_merge_contradictions(struct merge *merge, struct pg_array *stamps, struct pg_array *hashes);
void pg_merge_take_truths(struct merge *merge, PGresult *result); // change sets; the result stays with the merge

#endif
