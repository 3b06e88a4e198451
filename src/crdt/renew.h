// Renewing: what remains of weak writes that nobody else took in, when their replica comes back after it was no member. Pure.
//
// A member that was removed may have written while it was away, and the others may have dropped tombstones that such old changes would have to be
// compared with, so they do not take them any more. The replica then takes over the others' rows, and writes again, as new changes of
// its new life, what of its old ones wins over these rows by the rules of docs/CONSISTENCY.md:
//   a field          its stamp was greater than the one that the others have
//   an insert, an    brings the row to life, unless the others deleted it later, as far as they still know; where the row
//   upsert           lives, its fields count one by one
//   an update        of a row that the others do not have any more has lost
//   a delete         unless the row was brought to life later
//   merge types      the difference that it made there is made here; greatest and smallest values if they still are that
// Old changes are renewed one by one, in their order: what an earlier one has renewed counts as older than the next.
#ifndef CRDT_RENEW_H
#define CRDT_RENEW_H

#include "crdt/change.h"
#include "crdt/row.h"

// The set that takes the place of `old`, under a new stamp of the new life, unnumbered: the winning rows are its `rows`, which are merged into
// what row_of gave; the rest of `old` is in its `lost`. A change that makes no difference any more is in neither. seen and schema_version are
// those of the new set. Lives in the arena, borrows from `old`. row_of: the row of a change as the others have it, with what was renewed so far; NULL: its
// table is gone, or takes no weak changes.
void crdt_change_set_renew(const struct crdt_change_set *old, const struct clock_stamp *stamp, struct cc_slice seen, uint32_t schema_version,
                           struct crdt_row *(*row_of)(void *context, const struct crdt_row_change *change), void *context, struct cc_arena *arena, struct crdt_change_set *set_out);
// The same where nothing of `old` can be written any more: all of it has lost.
void crdt_change_set_renounce(const struct crdt_change_set *old, const struct clock_stamp *stamp, struct cc_slice seen,
                              uint32_t schema_version, struct cc_arena *arena, struct crdt_change_set *set_out);

#endif
