// Weak rows of the model, for those who look at them one by one: the collector, repairs, the checks.
#ifndef SIM_WEAK_H
#define SIM_WEAK_H

#include "crdt/row.h"
#include "sim/sim_rows.h"

#define SIM_WEAK_TABLE "public.presence"
// Behind SIM_WEAK_PLAIN come the columns with merge types: every write but a deletion adds one to `views`, changes the elements of
// `tags`, and sets `best` and `least`.
enum { SIM_WEAK_COLUMNS = 9, SIM_WEAK_PLAIN = 5, SIM_WEAK_VIEWS = 5, SIM_WEAK_TAGS, SIM_WEAK_BEST, SIM_WEAK_LEAST };
extern const struct crdt_column sim_weak_columns[SIM_WEAK_COLUMNS];

struct sim_weak_row {
    struct crdt_row row;
    struct crdt_register registers[SIM_WEAK_COLUMNS];
    bool exists, had_tombstone; // in the store
};

// What is stored under w/KEY and t/KEY (NULL slices: nothing). The row borrows from them and from the arena.
void sim_weak_row_read(struct sim *sim, struct cc_slice live, struct cc_slice tombstone, struct cc_arena *arena, struct sim_weak_row *row_out);
// As the weak connection sees it.
void sim_weak_row_load(struct sim *sim, const struct sim_store *store, struct cc_slice key, struct cc_arena *arena, struct sim_weak_row *row_out);
void sim_weak_row_store(struct sim *sim, struct sim_store *store, struct cc_slice key, const struct sim_weak_row *row);

// What a write with this id adds to `tags` (it takes out the digit after it), and sets `best` and `least` to.
unsigned sim_weak_digit(struct cc_slice id);
unsigned sim_weak_number(struct cc_slice id);

// Of what the rows show, whatever their stamps.
uint64_t sim_weak_values_digest(const struct sim_store *store);

// The change sets that the frontier covers, in any order; they live in the arena.
void sim_weak_check_each(struct sim *sim, const struct crdt_frontier *frontier, struct cc_arena *arena,
                         void (*visit)(void *context, const struct crdt_change_set *set), void *context);
// sim_oracle.c: the rows are what the rules say of all the writes that the frontier covers. `whole`: nothing that somebody wrote
// upon is lost, nor taken away past us: columns with merge types, too.
void sim_oracle_check(struct sim *sim, const struct crdt_frontier *frontier, const struct sim_store *store, bool whole);

// What the rows hold in part already, because states were joined (sim_repair.c).
void sim_rows_ahead(const struct sim_rows *rows, struct crdt_frontier *frontier_out);
void sim_rows_adopted(const struct sim_rows *rows, struct crdt_frontier *frontier_out); // with others' rows: of that it may lack histories and outcomes
void sim_rows_put_frontier(const struct sim_rows *rows, const struct crdt_frontier *frontier);
void sim_rows_drop_history(const struct sim_rows *rows, struct crdt_origin origin, uint64_t sequence);

#endif
