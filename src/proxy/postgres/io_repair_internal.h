// The parts of comparing weak tables: io_repair.c takes tasks and describes tables, io_repair_states.c tells sums and states,
// io_repair_strays.c and io_repair_sift.c look at what another replica has told. All on one connection, one task after the other;
// everything of a task is in its arena, or forgotten at its end.
#ifndef PROXY_IO_REPAIR_INTERNAL_H
#define PROXY_IO_REPAIR_INTERNAL_H

#include "proxy/postgres/io_repair.h"

#include "base/arena.h"
#include "clock/clock.h"
#include "proxy/node/row_state.h"
#include "proxy/postgres/io_postgres_link.h"

enum {
    REPAIR_ROWS_PER_TURN = 500, // of the loop
    REPAIR_BUCKET_SHIFT = 52,   // 64 less 12 bits of REPAIR_BUCKETS
};

struct io_repair;

struct task {
    struct repair_job job;
    struct cc_buffer bytes; // table, sums, states, buckets
    struct task *next;
};

// A part of a task, after which others have their turn or PostgreSQL is asked.
typedef void io_repair_step(struct io_repair *repair);

struct column {
    struct cc_slice name;
    uint32_t key; // position in the key from 1; 0: not of it
};

struct io_repair {
    struct io_repair_options options;
    char *search_path;
    struct io_postgres_link *link;
    bool up;
    struct task *first, *last;
    uint32_t n_tasks;
    bool busy;
    // Of the task under way:
    struct cc_arena arena;
    struct column *columns;
    uint32_t n_columns, n_key;
    uint32_t next, n_rows;
    uint64_t answer_bytes; // about what its buckets may have together
    PGresult *rows; // PostgreSQL's last answer, of which `row` is the next
    int row;
    io_repair_step *step; // when the answer is there, or at the turn
    struct event *turn;
    uint32_t n_listed;    // rows in `list`
    struct cc_buffer list;
    struct cc_buffer buckets; // those whose rows are asked for, as an array's text
    struct cc_buffer states;
    bool wanted[REPAIR_BUCKETS];
    struct {
        struct told *at;
        size_t n, capacity;
    } told; // STRAYS: the rows of the answer, by key
    struct {
        struct cc_slice *at;
        size_t n, capacity;
    } hidden; // STRAYS: keys of own tombstones in buckets of the answer
    char no_death[CLOCK_STAMP_TEXT_BYTES];
    struct cc_buffer no_remains;
    struct sift *sift; // SIFT
    bool in_transaction;
    struct repair_moment moment;
    // The last sums, and whose they are.
    char *summed;
    bool summed_whole;
    uint64_t summed_s;
    uint64_t sums[REPAIR_BUCKETS];
    uint32_t counts[REPAIR_BUCKETS];
    uint64_t sizes[REPAIR_BUCKETS]; // of their rows' states, about: as PostgreSQL stores them
};

// io_repair.c
struct cc_slice io_repair_value(const PGresult *result, int row, int column); // NULL slice: SQL NULL
// The step is taken when the answer is in `rows`, where it stays until the next one or the end of the task; if PostgreSQL refuses, the
// task fails. Statements are of this task; binary: per parameter, NULL: all are texts.
void io_repair_ask(struct io_repair *repair, const char *sql, uint32_t n, const struct cc_slice *parameters, const uint8_t *binary,
                   io_repair_step *step);
void io_repair_ask_query(struct io_repair *repair, const struct io_postgres_query *query, io_repair_step *step);
void io_repair_set(struct io_repair *repair, const char *sql); // nobody waits for its answer
void io_repair_turn(struct io_repair *repair, io_repair_step *step); // goes on with it when everybody else had a turn
void io_repair_finish(struct io_repair *repair, const struct repair_event *result);
void io_repair_fail(struct io_repair *repair);
void io_repair_forget_states(struct io_repair *repair);
uint64_t io_repair_now_s(void);

// io_repair_rows.c
// " FROM t, its key's hash as k.h": the same as crdt_digest_key's.
void io_repair_put_from(struct cc_buffer *sql, const struct io_repair *repair, struct cc_slice table);
// Digest of a row of that, of its stamps, too, if asked for.
void io_repair_put_digest(struct cc_buffer *sql, const struct io_repair *repair, bool with_stamps);
// `buckets` becomes those of the answer that the task is about.
void io_repair_put_buckets(struct io_repair *repair);
// The key in a result that has the table's columns from its second one on. In the arena.
struct cc_slice io_repair_key(struct io_repair *repair, const PGresult *result, int row);
uint32_t io_repair_bucket(uint64_t hash);
// False: the key is not one of this table's.
bool io_repair_hash(struct io_repair *repair, struct cc_slice key, uint64_t *hash_out);
// `states` gets it with the list that it is in.
void io_repair_add_state(struct io_repair *repair, const struct row_state *state);
void io_repair_end_list(struct io_repair *repair);

// What follows the description of the task's table.
void io_repair_sum(struct io_repair *repair);            // io_repair_states.c: SUMS, STATES from the first bucket on
void io_repair_ask_for_states(struct io_repair *repair); // STATES whose sums are known
void io_repair_ask_for_hidden(struct io_repair *repair); // io_repair_strays.c
void io_repair_sift(struct io_repair *repair);           // io_repair_sift.c
void io_repair_forget_sift(struct io_repair *repair);

#endif
