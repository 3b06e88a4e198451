// A weak row as registers, and how changes merge into it. Pure; the single source of truth of what a weak row becomes.
//
// A row is: a stamp of life (greatest insert or upsert), a stamp of death (greatest delete), and per column a register
// (value, stamp). The row is visible iff life > death. A register written before death is cleared: it shows the column's
// constant default or NULL, except a "sticky" column (NOT NULL without constant default), which keeps its register.
// Every part is a maximum over stamps, so merging is commutative, associative and idempotent.
#ifndef CRDT_ROW_H
#define CRDT_ROW_H

#include "crdt/change.h"

struct crdt_column {
    struct cc_slice name;
    bool key;
    bool sticky;
    struct cc_slice cleared; // value shown when cleared (text form of a constant default); NULL slice: SQL NULL
};

struct crdt_register {
    struct cc_slice value;
    struct clock_stamp stamp; // zero: never written
};

struct crdt_row {
    struct clock_stamp life, death;
    uint32_t n_columns;
    const struct crdt_column *columns;
    struct crdt_register *registers; // one per column; key columns unused
};

bool crdt_row_is_visible(const struct crdt_row *row);
// What the column shows in a visible row.
struct cc_slice crdt_row_value(const struct crdt_row *row, uint32_t column);

struct crdt_outcome {
    bool changed;   // anything differs, also when nothing visible does
    uint32_t n_won; // fields of the change that are now in the row
    uint32_t n_lost;
};
// Merges one change under `stamp` into the row. Columns that the row does not know (dropped since) are ignored and
// count as lost. A field of a new column that the change does not name keeps its register. Values are borrowed.
struct crdt_outcome crdt_row_merge(struct crdt_row *row, const struct crdt_row_change *change, const struct clock_stamp *stamp);

// The stamps of a visible row, as its `_caucus` column holds them (jsonb text):
//   {"": "<stamp>", "+": "<life, if it differs from \"\">", "status": "<stamp>", ...}
// "" is the stamp of every column not named. Local writes make these with SQL's || operator: an insert writes {"": s},
// an update adds {"col": s, ...}, an upsert also {"+": s}. NULL: all stamps zero, but the row lives (rows that were there
// before the table became weak): life is then the smallest stamp above zero, {1, 0, 0}.
void crdt_stamps_put(struct cc_buffer *out, const struct crdt_row *row);
// Sets life and every register's stamp (values are the caller's). CC_MALFORMED.
enum cc_status crdt_stamps_read(struct cc_slice text, struct crdt_row *row) CC_CHECKED;

// What remains of a row that is not visible, as caucus.tombstones.remains holds it (binary): life and the registers that
// are not cleared. death is a column of its own there.
void crdt_remains_put(struct cc_buffer *out, const struct crdt_row *row);
enum cc_status crdt_remains_read(struct cc_slice bytes, struct crdt_row *row) CC_CHECKED; // values borrow from bytes

#endif
