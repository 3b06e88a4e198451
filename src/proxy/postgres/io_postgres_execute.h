// The parts of EXECUTE: io_postgres_execute.c goes from chunk to chunk, io_postgres_items.c sends the items' statements,
// io_postgres_sequences.c tells where sequences are. Everything belongs to the job; what is not in its arena goes in dispose().
#ifndef PROXY_IO_POSTGRES_EXECUTE_H
#define PROXY_IO_POSTGRES_EXECUTE_H

#include "proxy/postgres/io_postgres_internal.h"
#include "proxy/postgres/io_postgres_weak.h"

struct execute_rows; // io_postgres_items.c

// An operation of the batch.
struct execute_item {
    struct operation operation;
    PGresult **results;  // per statement; of a run that is not weak only the first item's, for all
    struct pg_rows *rows; // per statement, what it wrote
    PGresult **captured; // per statement, and one at the end (deferred triggers)
    bool settled;        // its outcome is known, it does not run (again)
    bool stored;         // the outcome came from caucus.requests
    uint32_t n_run;      // it and those behind it that its statement speaks for; 0: itself only
    uint32_t twin;       // 1 + the item of this batch that has the same Idempotency-Key
    struct cc_slice outcome, change;
    struct execute_rows **ready; // per statement; NULL: nothing is ready
};

// The state of the job.
struct execute {
    struct pg_job *job;
    struct pg_lane *lane;
    bool weak;
    uint32_t n;
    struct execute_item *items;
    uint32_t first, end, chunk_max; // the chunk: [first, end)
    bool saved;                     // it began with a savepoint
    bool looked_up;
    bool plans_forgotten;
    bool failed;
    uint32_t failed_item;
    struct cc_slice failure; // its outcome
    bool retry;              // nobody's fault: the chunk again
    bool one_by_one;         // a statement for several items has failed, or was not what it should be
    bool run_failed;
    PGresult *lookup;
    PGresult *sequences;
    struct pg_parts parts;  // of the chunk's rows in tables with merge types
    struct pg_digests digests; // of weak tables, as far as the chunk has changed them
    struct cc_slice *asked; // tables to be described
    size_t n_asked;
    struct effect_builder effects;
    bool ended; // nothing more will be sent
};

// What an answer is of: packed into its number.
enum answer { ANSWER_STATEMENT, ANSWER_CAPTURE, ANSWER_OTHER, ANSWER_CLEAN, ANSWER_LOOKUP, ANSWER_SEQUENCES, ANSWER_TOMBSTONES };

// -- io_postgres_execute.c ------------------------------------------------------------------------------------------------

uint64_t pg_execute_answer_number(uint32_t item, uint32_t statement, enum answer what);
// Takes each answer to what a chunk sends. context: the execute, number: pg_execute_answer_number.
void pg_execute_on_result(void *context, uint64_t number, PGresult *result);
bool pg_slice_listed(const struct cc_slice *list, size_t n, struct cc_slice value);

// -- io_postgres_items.c --------------------------------------------------------------------------------------------------

// It may run code of users: whatever that leaves in the session must not meet the next one.
bool pg_item_needs_cleaning(const struct execute *execute, uint32_t index);
// The settings that the statement runs with. statement NULL: those of the session. capture: triggers write down what it changes.
void pg_item_send_settings(struct execute *execute, uint32_t item, const struct rest_statement *statement, bool capture);
void pg_item_send(struct execute *execute, uint32_t index); // with statements of its own
// The arrays of items that write many rows, before it is their turn. What of them is not sent goes with pg_items_forget.
void pg_items_prepare(struct execute *execute);
void pg_items_forget(struct execute *execute);
// A result without error, which it takes over.
void pg_item_take(struct execute *execute, uint32_t index, uint32_t number, PGresult *result);
// So many items from `first` on can be one statement; 1: it has its own.
uint32_t pg_run_length(const struct execute *execute, uint32_t first);
void pg_run_send(struct execute *execute, uint32_t first, uint32_t n);
// The answer to a run, an error as well; takes it over. run_failed is set when it is not what it should be.
void pg_run_take(struct execute *execute, uint32_t first, PGresult *result);

// -- io_postgres_sequences.c ----------------------------------------------------------------------------------------------

// What asks for the positions of all sequences that the chunk may draw from, in the arena; NULL: of none.
const char *pg_sequences_sql(struct execute *execute);
// The answer to that, in `sequences`: what is new goes to the effects.
void pg_sequences_put(struct execute *execute);

#endif
