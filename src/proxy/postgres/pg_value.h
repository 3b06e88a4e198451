// Values in PostgreSQL's own forms: binary arrays (parameters of set-wise statements) and the text of composite rows. Pure.
#ifndef PROXY_PG_VALUE_H
#define PROXY_PG_VALUE_H

#include "base/arena.h"
#include "base/codec.h"

enum pg_type { PG_BOOL = 16, PG_BYTEA = 17, PG_INT8 = 20, PG_TEXT = 25, PG_UUID = 2950 }; // oids of element types; part of PostgreSQL's protocol

// A one-dimensional array in the making, in array_send form: a parameter in binary format. Zero-initialised is not valid.
struct pg_array {
    struct cc_buffer bytes;
    enum pg_type type;
    uint32_t n;
    bool has_null;
};

void pg_array_init(struct pg_array *array, enum pg_type type);
// What the values of a column of this type are put as. PostgreSQL reads texts of uuids slowly (PostgreSQL 15: by a call of strtoul for
// each byte); other values go to it as texts.
enum pg_type pg_array_type_of(struct cc_slice column_type);
void pg_array_finish(struct pg_array *array);
void pg_array_put(struct pg_array *array, struct cc_slice value); // TEXT, BYTEA; the NULL slice is SQL NULL
// Of a uuid its text as uuid_out writes it; the NULL slice is SQL NULL. CC_MALFORMED: it is another text; nothing was put.
enum cc_status pg_array_put_uuid(struct pg_array *array, struct cc_slice text) CC_CHECKED;
// A value of the element type by its text; of other types than uuid the text is put as it is. CC_MALFORMED as above.
enum cc_status pg_array_put_value(struct pg_array *array, struct cc_slice text) CC_CHECKED;
void pg_array_put_int8(struct pg_array *array, int64_t value);
struct cc_slice pg_array_slice(struct pg_array *array); // borrowed until the next change

// Appends a FROM item whose rows are the elements of n arrays of equal, non-zero length, for the parameters from $1 on:
// "(SELECT unnest($1::text[]), ...)", or "(SELECT $1::text, ...)" for one row, which PostgreSQL starts three times as fast.
// The caller names it. Parameters are borrowed from the arrays.
void pg_arrays_source(struct cc_buffer *sql, struct pg_array *const *arrays, uint32_t n, struct cc_slice *parameters_out, uint8_t *binary_out);

// Splits the text of a composite value (record_out) into its fields; a NULL field has data == NULL. Unquoted fields borrow
// from the text, others live in the arena. CC_MALFORMED, or CC_INVALID when there are not exactly n fields.
enum cc_status pg_record_read(struct cc_slice text, struct cc_arena *arena, struct cc_slice *fields_out, size_t n) CC_CHECKED;

// bytea text in hex form ("\x0a1b"). CC_MALFORMED.
enum cc_status pg_bytea_read(struct cc_slice text, struct cc_arena *arena, struct cc_slice *bytes_out) CC_CHECKED;
// Decimal integer without blanks or plus. CC_MALFORMED also when it does not fit.
enum cc_status pg_int8_read(struct cc_slice text, int64_t *value_out) CC_CHECKED;

#endif
