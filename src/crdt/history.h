// Histories: from the change sets that touched weak rows to who wrote what, which write won, and why. Pure.
//
// Two writes to one field are concurrent when neither writer held the other's change set. The greater stamp wins in any
// case; what differs is whether somebody may be surprised.
#ifndef CRDT_HISTORY_H
#define CRDT_HISTORY_H

#include "crdt/change.h"

enum crdt_fate {
    CRDT_FATE_CURRENT = 1, // the row shows it
    CRDT_FATE_OVERWRITTEN, // by a write that knew of it
    CRDT_FATE_LOST,        // to a concurrent write with a greater stamp
    CRDT_FATE_SUPERSEDED,  // by a write with a greater stamp that did not tell what it knew
    CRDT_FATE_DELETED,     // with its row, by a deletion that knew of it (or did not tell)
    CRDT_FATE_LOST_DELETED, // with its row, by a concurrent deletion with a greater stamp
    CRDT_FATE_HIDDEN,      // the greatest stamp of its field, but its row was deleted, and an update does not bring it back
    CRDT_FATE_NOT_RENEWED, // by the time its replica was a member again, the others had something later (renew.h); `set` is the one that says so
};

struct crdt_history_entry {
    const struct crdt_change_set *set;
    const struct crdt_row_change *change;
    const struct crdt_field *field; // NULL: the entry is about the row itself (insert, upsert, delete)
    enum crdt_fate fate;
    const struct crdt_change_set *by; // what superseded it; NULL: nothing, or not among the sets
    enum crdt_operation by_operation;
    bool row_visible; // the row is to be seen now
};

// The entries of all rows that the sets touch, newest first. The sets must be all that touched these rows since the oldest
// of them; `table` and `key`: of this row only, if not NULL. Entries live in the arena and borrow from the sets.
void crdt_history_create(const struct crdt_change_set *sets, size_t n_sets, struct cc_slice table, struct cc_slice key,
                         struct cc_arena *arena, struct crdt_history_entry **entries_out, size_t *n_out);

// The row as the writer of the set under `stamp` had it after that write: the newest value that it knew of each field. False: it had
// none, or there is no such set. Entries are those of one row, as crdt_history_create gives them; the list lives in the arena.
bool crdt_history_row_at(const struct crdt_history_entry *entries, size_t n, const struct clock_stamp *stamp, struct cc_arena *arena,
                         const struct crdt_field ***fields_out, size_t *n_fields_out);

// A concurrent write that lost: what GET /_caucus/conflicts lists.
bool crdt_fate_is_conflict(enum crdt_fate fate);
const char *crdt_fate_text(enum crdt_fate fate);
const char *crdt_operation_text(enum crdt_operation operation);

#endif
