// The states that weak rows take, remembered until the seed has ended. All replicas come by the same states in the same steps, and
// reading a row from what is stored, or merging a change into it, is a pure function of bytes: each is done once, by the product's
// own functions, and then looked up. What was merged is stored, and some of it read back and compared.
#ifndef SIM_STATES_H
#define SIM_STATES_H

#include "sim/sim_weak.h"

struct sim_states;

struct sim_state {
    struct cc_blob *live, *tombstone; // what is stored under w/KEY and t/KEY; NULL: nothing
    uint64_t hash;                    // of both
    bool is_read;
    struct sim_weak_row row; // borrows from the blobs, and lives as long as all states
    struct sim_state *next;
};

struct sim_states *sim_states_create(void);
void sim_states_destroy(struct sim_states *states); // NULL is fine

// The state that is stored so; the same for equal bytes. Its row is not to be changed: sim_weak_row_copy.
const struct sim_state *sim_states_find(struct sim *sim, const struct cc_blob *live, const struct cc_blob *tombstone);
// What a row is stored as.
const struct sim_state *sim_states_of_row(struct sim *sim, const struct sim_weak_row *row);
// What the change makes of the row.
const struct sim_state *sim_states_merge(struct sim *sim, const struct sim_state *from, const struct crdt_row_change *change,
                                         const struct clock_stamp *stamp);
// A row of one's own, to work on: it borrows values from the state.
void sim_state_copy(const struct sim_state *state, struct cc_arena *arena, struct sim_weak_row *row_out);
bool sim_weak_rows_equal(const struct sim_weak_row *a, const struct sim_weak_row *b); // values, stamps and parts

#endif
