// The state of weak rows on its way between replicas: what a replica knows of a row, to be joined with what another knows
// (crdt_row_join). A list of states of one table is bytes. Pure.
#ifndef PROXY_ROW_STATE_H
#define PROXY_ROW_STATE_H

#include "base/arena.h"
#include "base/codec.h"

struct row_state {
    struct cc_slice key;     // crdt_key_put form
    bool hidden;
    bool settled; // hidden: it is all that its sender has of the row, who held every write up to a bound
    struct cc_slice stamps;  // of a row that is there: its column _caucus; NULL slice: NULL
    struct cc_slice *names, *values;
    uint32_t n_fields;
    // NULL: the histories of this replica were not asked. Per field: they tell that this value was written under the field's stamp; false:
    // they do not tell.
    bool *told;
    struct cc_slice death, remains; // of a tombstone: as in caucus.tombstones
};

enum { ROW_STATES_MAX = 200000, ROW_STATE_FIELDS_MAX = 1600 };

// The list's head; then so many states.
void row_states_begin(struct cc_buffer *out, struct cc_slice table, uint32_t n);
void row_state_put(struct cc_buffer *out, const struct row_state *state);
// States live in the arena and borrow from the bytes. CC_MALFORMED, CC_TOO_LARGE.
enum cc_status row_states_read(struct cc_slice bytes, struct cc_arena *arena, struct cc_slice *table_out, struct row_state **states_out,
                               uint32_t *n_out) CC_CHECKED;
// Whether it is a deletion that whoever knows nothing of the row has forgotten, as tombstones up to this hybrid logical time may be gone there: it is
// not to come back. The arena is for what has to be read meanwhile.
bool row_state_is_forgotten(const struct row_state *state, uint64_t dropped, struct cc_arena *arena);

#endif
