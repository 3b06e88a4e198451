// What the model of PostgreSQL holds and how statements change it. A statement is text, not SQL:
//   strong:  append KEY ID | put KEY ID | delete KEY | move KEY KEY2 | draw ID | fail
//   weak:    insert KEY ID | update KEY COLUMN ID | upsert KEY COLUMN ID | delete KEY | move KEY KEY2 ID | sweep COLUMN ID
// Keys of the store: s/row/KEY, s/request/PRINCIPAL/KEY, s/schema, s/migration/NAME, a (applied), w/KEY (weak rows), t/KEY (their
// tombstones), q/PRINCIPAL/KEY (weak requests), f (frontier), h/REPLICA.INCARNATION/SEQUENCE (history), g (greatest stamp), b (bound of
// the garbage that may be gone), x (what joined rows belong to), n/STAMP/REPLICA.INCARNATION/SEQUENCE (put aside).
#ifndef SIM_ROWS_H
#define SIM_ROWS_H

#include "proxy/node/effect.h"
#include "sim/sim.h"
#include "sim/sim_store.h"

struct sim_rows {
    struct sim_store *store;
    uint32_t replica;
    int64_t sequence;         // not transactional
    int64_t sequence_flushed;
    uint64_t applied_flushed; // what a crash leaves
    struct crdt_frontier frontier_flushed;
};

// -- Small things, shared by sim_rows.c and sim_weak.c

enum { SIM_KEY_BYTES = 120, SIM_WORDS_MAX = 4, SIM_WORD_BYTES = 24 };

struct sim_words { // of a statement
    size_t n;
    char at[SIM_WORDS_MAX][SIM_WORD_BYTES];
};
struct sim_words sim_split(struct cc_slice text);
bool sim_is(const char *a, const char *b);
uint64_t sim_rows_get_u64(const struct sim_store *store, const char *key); // committed; 0: not there
void sim_rows_put_u64(struct sim_store *store, unsigned lane, const char *key, uint64_t value);
void sim_rows_put_done(struct cc_buffer *out, uint64_t n_rows, struct cc_slice body); // outcomes
void sim_rows_put_failed(struct cc_buffer *out, const char *code);

// -- All rows

// Reading committed or own state.
uint64_t sim_rows_applied(const struct sim_rows *rows);
uint32_t sim_rows_schema(const struct sim_rows *rows);
void sim_rows_frontier(const struct sim_rows *rows, struct crdt_frontier *frontier_out);
void sim_rows_merged(const struct sim_rows *rows, struct crdt_frontier *frontier_out); // the same, and what the open transaction has merged
uint64_t sim_rows_hlc(const struct sim_rows *rows);

// Runs one operation in its own right. The outcome is appended in rest_outcome_put form. True: it was a migration.
bool sim_rows_execute(struct sim *sim, struct sim_rows *rows, struct cc_slice operation, struct effect_builder *effects,
                      struct cc_buffer *outcome_out);
// Strictly: what does not fit fails the simulation.
void sim_rows_apply(struct sim *sim, struct sim_rows *rows, uint64_t index, struct cc_slice payload);
void sim_rows_set_applied(struct sim_rows *rows, uint64_t index);

// -- Weak rows (sim_weak.c)

// Runs one weak operation under a stamp; change_out gets its change set, or nothing when nothing changed.
void sim_rows_weak_execute(struct sim *sim, struct sim_rows *rows, struct cc_slice operation, const struct clock_stamp *stamp, uint64_t settled,
                           struct cc_buffer *outcome_out, struct cc_buffer *change_out);
// Of a weak row, without its columns with merge types: "a=1 b=2 ...", appended. False: there is no such row.
bool sim_rows_show_weak(struct sim *sim, const struct sim_rows *rows, const char *key, struct cc_buffer *out);
// History, frontier and greatest stamp of a change set that comes next from its origin.
void sim_rows_record(struct sim *sim, struct sim_rows *rows, struct cc_slice change);
// Merges a change set, unless it is held already.
// open: it is noted (sim_rows_record) when the transaction that is open ends.
void sim_rows_merge(struct sim *sim, struct sim_rows *rows, struct cc_slice change, bool open);
const struct cc_blob *sim_rows_history(const struct sim_rows *rows, struct crdt_origin origin, uint64_t sequence);

// DB_BEGIN_ANEW and DB_RENEW. How many change sets are aside, of all lives or (not 0) of this one.
uint64_t sim_rows_aside(struct sim *sim, const struct sim_rows *rows, struct crdt_frontier *frontier_out); // how many, and their origins
uint64_t sim_rows_begin_anew(struct sim *sim, struct sim_rows *rows, const struct crdt_frontier *own);
void sim_rows_put_aside(struct sim *sim, struct sim_rows *rows, const struct cc_slice *changes, uint32_t n);
// Leaves an open transaction, to be rolled back.
struct cc_slice *sim_rows_renew(struct sim *sim, struct sim_rows *rows, const struct clock_stamp *stamps, uint32_t n_max, struct cc_arena *arena,
                                struct db_event *event);
void sim_rows_renewed(const struct sim_rows *rows, const struct crdt_old_number *old); // it is aside no more

// What is committed is durable from now on.
void sim_rows_flush(struct sim_rows *rows);

// Just the rows: merges into an otherwise empty store, for checking.
void sim_rows_merge_rows(struct sim *sim, struct sim_store *store, const struct crdt_change_set *set);

#endif
