// A weak row as registers, and how changes merge into it. Pure; the single source of truth of what a weak row becomes.
//
// A row is: a stamp of life (greatest insert or upsert), a stamp of death (greatest delete), and per column a register
// (value, stamp). The row is visible iff life > death and every sticky column has a value. A register not written after
// death is cleared: it holds the column's constant default or NULL, and no stamp; except a "sticky" column (NOT NULL without
// constant default), which keeps its register: without it the row could not be shown (an upsert may arrive before the
// insert that it was made upon; the row waits, hidden, for the value).
// A column with a merge type (parts.h) has parts in place of a stamp, and shows what they amount to; its parts are cleared like
// registers, and it is never sticky.
// Every part is a maximum over stamps, so merging is commutative, associative and idempotent. Between equal stamps (which
// only a broken replica makes) the greater value wins, and death wins over life: never "the one I had first".
#ifndef CRDT_ROW_H
#define CRDT_ROW_H

#include "crdt/change.h"
#include "crdt/parts.h"

struct crdt_column {
    struct cc_slice name;
    bool key;
    bool sticky;
    struct cc_slice cleared; // value shown when cleared (text form of a constant default); NULL slice: SQL NULL
    struct crdt_kind kind;   // merge type; zero: the last writer wins
};

struct crdt_register {
    struct cc_slice value;
    struct clock_stamp stamp; // zero: cleared, never written, or from before the table became weak; not used with a merge type
    struct crdt_parts parts;  // with a merge type only
};

struct crdt_row {
    struct clock_stamp life, death;
    uint32_t n_columns;
    const struct crdt_column *columns;
    struct crdt_register *registers; // one per column; key columns unused. In a visible row: what it shows
    struct cc_arena *arena;          // for parts and what they show
};

// A row of which nothing is known: no life, no death, all registers cleared. Columns, registers and arena stay the caller's; the
// arena may be NULL if no column has a merge type.
void crdt_row_init(struct crdt_row *row, const struct crdt_column *columns, uint32_t n_columns, struct crdt_register *registers,
                   struct cc_arena *arena);
bool crdt_row_is_visible(const struct crdt_row *row);

struct crdt_outcome {
    bool changed;   // anything differs, also when nothing visible does
    uint32_t n_won; // fields of the change that are now in the row
    uint32_t n_lost;
};
// Merges one change under `stamp` (not zero) into the row. Columns that the row does not know (dropped since) and key columns
// are ignored and count as lost. A field of a new column that the change does not name keeps its register. Values are borrowed.
struct crdt_outcome crdt_row_merge(struct crdt_row *row, const struct crdt_row_change *change, const struct clock_stamp *stamp);

// The join of two states of one row, of the same columns: what both have taken in. True when `row` changed. Values of `other` are borrowed.
bool crdt_row_join(struct crdt_row *row, const struct crdt_row *other);
// Before a join with the whole state of whoever holds every write up to `bound` (hybrid logical time), whose tombstones up to there may be
// gone: takes back what `row` has from up to there, its life too, and `other` has neither so nor later; a deletion cleared it there. True
// when `row` changed.
bool crdt_row_forget(struct crdt_row *row, const struct crdt_row *other, uint64_t bound);
// Whether a visible row was written after its table became weak, and may have been deleted before without its death being known still:
// a deletion in its history then says that registers without a stamp are cleared.
bool crdt_row_may_have_died(const struct crdt_row *row);

// The stamps of a visible row, as its `_caucus` column holds them (jsonb text):
//   {"": "<stamp>", "+": "<life, if it differs from \"\">", "status": "<stamp>", ...}
// "" is the stamp of every column not named; absent: zero. "+" absent: life is "", or {1, 0, 0}, the smallest stamp above
// zero, when that is absent too (rows that were there before the table became weak; they may have NULL for all of this).
// Local writes make these with SQL's || operator: an insert writes {"": s}, an update adds {"col": s, ...}, an upsert that
// updates also {"+": s}. So a weak table cannot have a column named "+". A column with a merge type has a member "*views", the base64url
// of crdt_parts_put; while it has none, its value is the part that its stamp's origin wrote (an insert that nothing else touched).
void crdt_stamps_put(struct cc_buffer *out, const struct crdt_row *row);
// After crdt_row_init, and after the registers were given their values: sets life and every register's stamp or parts; death is the
// caller's. A column with a merge type then shows what its parts amount to, which is another value than before only if somebody wrote past
// Caucus. Columns that the row does not know are ignored. text.data == NULL: the column is NULL. CC_MALFORMED.
enum cc_status crdt_stamps_read(struct cc_slice text, struct crdt_row *row) CC_CHECKED;

// What remains of a row that is not visible, as caucus.tombstones.remains holds it (binary): life and the registers that
// are not cleared. death is a column of its own there.
void crdt_remains_put(struct cc_buffer *out, const struct crdt_row *row);
// After crdt_row_init: sets life and the registers. Values borrow from bytes. Columns that the row does not know are ignored.
enum cc_status crdt_remains_read(struct cc_slice bytes, struct crdt_row *row) CC_CHECKED;

// Whether a tombstone may be dropped, once every write with a stamp up to `bound` (hybrid logical time) is held here, and whoever
// writes later knows of all of them. Not when something in it is newer; nor when it holds parts that were written after the
// death, by who had not heard of it: they count when the row is inserted again, at every replica. CC_MALFORMED, CC_TOO_LARGE.
enum cc_status crdt_remains_may_go(struct cc_slice bytes, const struct clock_stamp *death, uint64_t bound, struct cc_arena *arena,
                                   bool *may_go_out) CC_CHECKED;

// "*views": the member of a row's stamps that holds the parts of a column, and its text.
void crdt_parts_name_put(struct cc_buffer *out, struct cc_slice column);
void crdt_parts_text_put(struct cc_buffer *out, const struct crdt_parts *parts);

#endif
