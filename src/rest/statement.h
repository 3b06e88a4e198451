// Statement: one planned row operation, self-contained: it can be sent to another replica and run there.
//
// Result columns of a write, in this order (all text format):
//   tag                 'I', 'U' or 'D': what happened to this row
//   one per shape column: the row's new image (for 'D': the key, other columns NULL)
//   one per shape column, if shape.with_old: the row's image before (NULLs for 'I')
//   body                what this row contributes to the answer's body, NULL when none is wanted
// A captured write has no shape columns (tag, body); its effects come from the capture triggers.
// Rows come in the order in which they were written when the table's effects are applied row by row, else also in the order
// that the client asked for.
// A weak write takes one parameter more than n_parameters, the last: the text of its stamp, which the executor gives. It
// keeps the column _caucus: INSERT {"": stamp}; UPDATE adds {"column": stamp, ...} for what it sets; UPSERT of a row that is
// there {"+": stamp, "column": stamp, ...}. Of a REST_UPSERT, rows with tag 'I' are whole inserts, those with 'U' are merges
// of the SET columns.
// A REST_CALL has one row: tag 'C', and a body that rest_reply_write takes apart (rest_call_rows in reply.h counts).
// A read has one row, whose columns struct rest_read_result in reply.h describes; it must run in a read-only transaction.
#ifndef REST_STATEMENT_H
#define REST_STATEMENT_H

#include "base/arena.h"
#include "base/codec.h"
#include "rest/catalog.h"
#include "rest/request.h"

enum rest_statement_kind { REST_READ = 1, REST_INSERT, REST_UPSERT, REST_UPDATE, REST_DELETE, REST_CALL };

enum rest_column_flag {
    REST_COLUMN_KEY = 1,       // of the primary key
    REST_COLUMN_GENERATED = 2, // not to be written
    REST_COLUMN_SET = 4,       // named by an update or upsert: written even when the value stays the same
};

struct rest_shape_column {
    struct cc_slice name;
    struct cc_slice type; // SQL type name for casts
    uint8_t flags;
};

// How the rows of one statement become effects. Plain updates carry key and set columns only, inserts all columns.
struct rest_shape {
    struct cc_slice table; // quoted and qualified
    bool row_by_row;
    bool with_old; // old images follow: weak tables, and updates that set key columns
    uint32_t n_columns;
    struct rest_shape_column *columns;
};

enum { REST_VALUES_BYTES = 7 }; // of "VALUES "

// Of a read of the one row with a key, a list of expressions behind SELECT: how several such reads, which differ in their parameters
// only, become one.
struct rest_lookup {
    const uint32_t *parameter_at; // where in the text the $ of each parameter stands, in their order
    const char **types;           // of each parameter
};

struct rest_statement {
    enum rest_statement_kind kind;
    bool weak;     // writes a weak table
    bool captured; // effects come from the capture triggers
    struct cc_slice before; // of a read: SQL to be run first, in the same transaction, its result is of no use. Not part of the bytes
    bool runs_code; // may run code of users, which can change the session
    struct cc_slice sql;
    uint32_t n_parameters;
    struct cc_slice *parameters; // text form, NULL slice is SQL NULL; types are inferred or cast in the text
    struct rest_shape shape;
    uint64_t rows_max;  // more affected rows: refused, rolled back (Prefer: max-affected); UINT64_MAX: no limit
    bool precondition;  // If-Match, If-None-Match: other than exactly one row is refused, and so is an upsert that inserts
    bool single;        // other than exactly one row: refused, rolled back (object+json)
    bool body_is_array; // bodies of the rows are joined to a JSON array, else they are concatenated with '\n' (or single: the one)
    bool roll_back;     // Prefer: tx=rollback
    uint32_t n_settings; // for this statement only, in this order: the last of a name counts
    struct rest_setting *settings;
    uint32_t n_sequences;       // sequences that the statement may draw from: their positions are effects
    struct cc_slice *sequences; // qualified names
    // Of an insert of rows that look at no other row: where in the text the "(...)" of one row behind "VALUES " stands. Statements of
    // the same text may be run as one with several rows; what is not in there has no parameters. row_n 0: not so.
    uint32_t row_at, row_n;
    // Parameters of one such row, each of them cast, when SELECT may stand in place of VALUES; else 0. There may be parameters
    // for several rows: then the text is to be run for each row, or once with "SELECT row FROM unnest(...)" in place of the row.
    uint32_t row_parameters;
    // Of rows with row_parameters, per shape column: the parameter (from 1 on) whose text is the column's new image as it stands; 0:
    // none. Rows that run as one statement then may have `brief_end` behind them in place of the text's own end: what comes back is
    // only the columns without such a parameter, and the body; or nothing at all, when brief_end is empty. NULL: not so.
    uint32_t *given;
    struct cc_slice brief_end;
    // Of an update by key of at most one row that looks at no other: the text that runs once for several such updates, of different
    // keys. Its parameters are arrays of texts, one element per update, the last of stamps if it is weak; the result has a column more, the
    // last: which of them, from 1 on. The key is the parameters from many_key_at on: equal keys have equal texts. many.n 0: not so.
    struct cc_slice many;
    uint32_t many_key_at;
    const struct rest_lookup *lookup; // NULL: this is no such read. Not part of the bytes
};

// The shape alone, as effects carry it.
void rest_shape_put(struct cc_buffer *out, const struct rest_shape *shape);
enum cc_status rest_shape_read(struct cc_reader *reader, struct cc_arena *arena, struct rest_shape *shape_out) CC_CHECKED;

static inline uint32_t rest_statement_rows(const struct rest_statement *statement) // parameters for how many; 1 where it does not say
{
    return statement->row_parameters == 0 ? 1 : statement->n_parameters / statement->row_parameters;
}

// Appends the text that runs once for rows that are arrays, of equal length, one per parameter of the row ($1 to $row_parameters, and
// one of stamps when it is weak). They are of texts; if brief, those of rest_statement_is_uuid are of uuids. Only where row_parameters > 0.
void rest_statement_put_rows(struct cc_buffer *out, const struct rest_statement *statement, bool brief);
// Whether the row's parameter (from 0 on) is given to a column of type uuid.
bool rest_statement_is_uuid(const struct rest_statement *statement, uint32_t parameter);
// Whether a value of the type, read from this text, is written as this text. False also where that is not known.
bool rest_value_is_plain(struct cc_slice type, struct cc_slice text);
// Appends the text of a row with its parameters named anew: the prefix, and `before` more than their number.
void rest_statement_put_row(struct cc_buffer *out, struct cc_slice row, const char *prefix, uint32_t before);

// Appends the text that runs once for parameters that are arrays of texts, of equal length, one element per read. There is a row per
// read, with a column more behind those of the statement: its place in the arrays, from 1 on. Only where there is a lookup.
void rest_statement_put_lookups(struct cc_buffer *out, const struct rest_statement *statement);

void rest_statement_put(struct cc_buffer *out, const struct rest_statement *statement);
// Arrays live in the arena, slices borrow from the bytes. CC_MALFORMED, CC_TOO_LARGE.
enum cc_status rest_statement_read(struct cc_reader *reader, struct cc_arena *arena, struct rest_statement *statement_out) CC_CHECKED;

#endif
