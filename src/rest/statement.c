// Statement codec.
//
// Bytes: u8 kind, u8 flags, string sql, parameters, shape, varint rows_max, settings, sequences, varint row_at, row_n, row_parameters; with
// FLAG_GIVEN a varint per column of the shape, string brief_end; string many; if not empty varint many_key_at. Lists start with a varint count.
#include "rest/statement.h"

#include "base/limits.h"

#include <assert.h>
#include <string.h>

enum {
    FLAG_WEAK = 1,
    FLAG_CAPTURED = 2,
    FLAG_SINGLE = 4,
    FLAG_ARRAY = 8,
    FLAG_ROLL_BACK = 16,
    FLAG_PRECONDITION = 32,
    FLAG_RUNS_CODE = 64,
    FLAG_GIVEN = 128,

    SHAPE_ROW_BY_ROW = 1,
    SHAPE_WITH_OLD = 2,
    SHAPE_FLAGS_KNOWN = 3,

    COLUMN_FLAGS_KNOWN = REST_COLUMN_KEY | REST_COLUMN_GENERATED | REST_COLUMN_SET,
    COLUMN_BYTES_MIN = 3,
    COLUMNS_MAX = 1664, // PostgreSQL's own limit of a result row
};

// -- Shape ----------------------------------------------------------------------------------------------------------

void rest_shape_put(struct cc_buffer *out, const struct rest_shape *shape)
{
    cc_put_string(out, shape->table);
    cc_put_u8(out, (uint8_t)((shape->row_by_row ? SHAPE_ROW_BY_ROW : 0) | (shape->with_old ? SHAPE_WITH_OLD : 0)));
    cc_put_varint(out, shape->n_columns);
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        cc_put_string(out, shape->columns[i].name);
        cc_put_string(out, shape->columns[i].type);
        cc_put_u8(out, shape->columns[i].flags);
    }
}

static void read_shape_column(struct cc_reader *reader, struct rest_shape_column *column)
{
    column->name = cc_read_string(reader);
    column->type = cc_read_string(reader);
    column->flags = cc_read_u8(reader);
    if (column->name.n == 0 || (column->flags & ~COLUMN_FLAGS_KNOWN) != 0) {
        cc_reader_fail(reader);
    }
}

// Counts are bounded by what could still follow, before anything is allocated.
static uint32_t read_count(struct cc_reader *reader, size_t bytes_min, uint64_t max)
{
    uint64_t possible = cc_reader_left(reader) / bytes_min;
    return (uint32_t)cc_read_count(reader, possible < max ? possible : max);
}

enum cc_status rest_shape_read(struct cc_reader *reader, struct cc_arena *arena, struct rest_shape *shape_out)
{
    struct rest_shape shape = {0};
    shape.table = cc_read_string(reader);
    uint8_t flags = cc_read_u8(reader);
    shape.row_by_row = (flags & SHAPE_ROW_BY_ROW) != 0;
    shape.with_old = (flags & SHAPE_WITH_OLD) != 0;
    if ((flags & ~SHAPE_FLAGS_KNOWN) != 0) {
        cc_reader_fail(reader);
    }
    shape.n_columns = read_count(reader, COLUMN_BYTES_MIN, COLUMNS_MAX);
    shape.columns = cc_arena_array(arena, shape.n_columns, sizeof(*shape.columns));
    for (uint32_t i = 0; i < shape.n_columns; i++) {
        read_shape_column(reader, &shape.columns[i]);
    }
    if (!cc_reader_ok(reader)) {
        return CC_MALFORMED;
    }
    *shape_out = shape;
    return CC_OK;
}

// -- Statement ------------------------------------------------------------------------------------------------------

void rest_statement_put_row(struct cc_buffer *out, struct cc_slice row, const char *prefix, uint32_t before)
{
    size_t from = 0;
    for (size_t i = 0; i < row.n; i++) {
        if (row.data[i] != '$') {
            continue;
        }
        uint32_t number = 0;
        size_t end = i + 1;
        while (end < row.n && row.data[end] >= '0' && row.data[end] <= '9') {
            number = number * 10 + (uint32_t)(row.data[end++] - '0');
        }
        cc_buffer_append(out, row.data + from, i - from);
        cc_buffer_printf(out, "%s%u", prefix, before + number);
        from = end;
    }
    cc_buffer_append(out, row.data + from, row.n - from);
}

bool rest_statement_is_uuid(const struct rest_statement *statement, uint32_t parameter)
{
    for (uint32_t i = 0; statement->given != NULL && i < statement->shape.n_columns; i++) {
        if (statement->given[i] == parameter + 1) {
            return cc_slice_equal_text(statement->shape.columns[i].type, "uuid");
        }
    }
    return false;
}

// By character: 1 where PostgreSQL writes such a one in a uuid.
static const uint8_t uuid_digits[256] = {
    ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
    ['8'] = 1, ['9'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1,
};

// Without branches on the digits: it is asked for each row of a bulk insert, twice.
static bool is_uuid(struct cc_slice text)
{
    enum { UUID_CHARS = 36, UUID_DIGITS = 32 };
    static const uint8_t digits_at[UUID_DIGITS] = {0,  1,  2,  3,  4,  5,  6,  7,  9,  10, 11, 12, 14, 15, 16, 17,
                                                   19, 20, 21, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35};
    if (text.n != UUID_CHARS || text.data[8] != '-' || text.data[13] != '-' || text.data[18] != '-' || text.data[23] != '-') {
        return false;
    }
    uint8_t all = 1;
    for (size_t i = 0; i < UUID_DIGITS; i++) {
        all &= uuid_digits[text.data[digits_at[i]]];
    }
    return all == 1;
}

static bool is_integer(struct cc_slice text)
{
    size_t first = text.n > 1 && text.data[0] == '-'; // of the digits
    for (size_t i = first; i < text.n; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return text.n > 0 && (text.data[first] != '0' || text.n == 1);
}

bool rest_value_is_plain(struct cc_slice type, struct cc_slice text)
{
    if (text.data == NULL || cc_slice_equal_text(type, "text")) {
        return true;
    }
    if (cc_slice_equal_text(type, "uuid")) {
        return is_uuid(text);
    }
    return (cc_slice_equal_text(type, "integer") || cc_slice_equal_text(type, "bigint") || cc_slice_equal_text(type, "smallint")) &&
           is_integer(text);
}

// "SELECT row FROM (SELECT unnest($1::text[]), ...) AS u(p1, ...)" in place of "VALUES (row)".
void rest_statement_put_rows(struct cc_buffer *out, const struct rest_statement *statement, bool brief)
{
    assert(statement->row_parameters > 0);
    struct cc_slice row = cc_slice_of(statement->sql.data + statement->row_at, statement->row_n);
    uint32_t n = statement->row_parameters + statement->weak;
    cc_buffer_append(out, statement->sql.data, statement->row_at - REST_VALUES_BYTES);
    cc_buffer_append_text(out, "SELECT ");
    rest_statement_put_row(out, cc_slice_of(row.data + 1, row.n - 2), "u.p", 0);
    for (uint32_t i = 1; i <= n; i++) {
        bool uuid = brief && rest_statement_is_uuid(statement, i - 1);
        cc_buffer_printf(out, "%sunnest($%u::%s[])", i == 1 ? " FROM (SELECT " : ", ", i, uuid ? "uuid" : "text");
    }
    for (uint32_t i = 1; i <= n; i++) {
        cc_buffer_printf(out, "%sp%u", i == 1 ? ") AS u(" : ", ", i);
    }
    cc_buffer_append_text(out, ")");
    struct cc_slice end = cc_slice_of(row.data + row.n, statement->sql.n - statement->row_at - row.n);
    cc_buffer_append_slice(out, brief ? statement->brief_end : end);
}

// ", q.n FROM unnest((SELECT $1::text[]), ...) WITH ORDINALITY AS q(p1, ..., n)" behind it; $1 becomes q.p1::type. The row is looked
// up by a select of its own for each key, as in the single statement: a join might be planned to read the whole table, and the
// plan is kept while the table grows. The inner SELECT hides the length of the arrays from PostgreSQL's planner, which would plan
// each time anew when there are fewer elements than it assumes.
void rest_statement_put_lookups(struct cc_buffer *out, const struct rest_statement *statement)
{
    const struct rest_lookup *lookup = statement->lookup;
    struct cc_slice sql = statement->sql;
    size_t at = 0;
    for (uint32_t i = 1; i <= statement->n_parameters; i++) {
        cc_buffer_append(out, sql.data + at, lookup->parameter_at[i - 1] - at);
        cc_buffer_printf(out, "q.p%u::%s", i, lookup->types[i - 1]);
        for (at = lookup->parameter_at[i - 1] + 1; at < sql.n && sql.data[at] >= '0' && sql.data[at] <= '9';) {
            at++; // the number behind the $
        }
    }
    cc_buffer_append(out, sql.data + at, sql.n - at);
    for (uint32_t i = 1; i <= statement->n_parameters; i++) {
        cc_buffer_printf(out, "%s(SELECT $%u::text[])", i == 1 ? ", q.n FROM unnest(" : ", ", i);
    }
    cc_buffer_append_text(out, ") WITH ORDINALITY AS q(");
    for (uint32_t i = 1; i <= statement->n_parameters; i++) {
        cc_buffer_printf(out, "p%u, ", i);
    }
    cc_buffer_append_text(out, "n)");
}

static uint8_t flags_of(const struct rest_statement *statement)
{
    return (uint8_t)((statement->weak ? FLAG_WEAK : 0) | (statement->captured ? FLAG_CAPTURED : 0) |
                     (statement->single ? FLAG_SINGLE : 0) | (statement->body_is_array ? FLAG_ARRAY : 0) |
                     (statement->roll_back ? FLAG_ROLL_BACK : 0) |
                     (statement->precondition ? FLAG_PRECONDITION : 0) | (statement->runs_code ? FLAG_RUNS_CODE : 0) |
                     (statement->given != NULL ? FLAG_GIVEN : 0));
}

void rest_statement_put(struct cc_buffer *out, const struct rest_statement *statement)
{
    cc_put_u8(out, (uint8_t)statement->kind);
    cc_put_u8(out, flags_of(statement));
    cc_put_string(out, statement->sql);
    cc_put_varint(out, statement->n_parameters);
    for (uint32_t i = 0; i < statement->n_parameters; i++) {
        cc_put_nullable(out, statement->parameters[i]);
    }
    rest_shape_put(out, &statement->shape);
    cc_put_varint(out, statement->rows_max);
    cc_put_varint(out, statement->n_settings);
    for (uint32_t i = 0; i < statement->n_settings; i++) {
        cc_put_string(out, statement->settings[i].name);
        cc_put_nullable(out, statement->settings[i].value);
    }
    cc_put_varint(out, statement->n_sequences);
    for (uint32_t i = 0; i < statement->n_sequences; i++) {
        cc_put_string(out, statement->sequences[i]);
    }
    cc_put_varint(out, statement->row_at);
    cc_put_varint(out, statement->row_n);
    cc_put_varint(out, statement->row_parameters);
    for (uint32_t i = 0; statement->given != NULL && i < statement->shape.n_columns; i++) {
        cc_put_varint(out, statement->given[i]);
    }
    if (statement->given != NULL) {
        cc_put_string(out, statement->brief_end);
    }
    cc_put_string(out, statement->many);
    if (statement->many.n > 0) {
        cc_put_varint(out, statement->many_key_at);
    }
}

static uint8_t read_kind_and_flags(struct cc_reader *reader, struct rest_statement *statement)
{
    uint8_t kind = cc_read_u8(reader);
    uint8_t flags = cc_read_u8(reader);
    if (kind < REST_READ || kind > REST_CALL) {
        cc_reader_fail(reader);
        return 0;
    }
    statement->kind = (enum rest_statement_kind)kind;
    statement->weak = (flags & FLAG_WEAK) != 0;
    statement->captured = (flags & FLAG_CAPTURED) != 0;
    statement->single = (flags & FLAG_SINGLE) != 0;
    statement->body_is_array = (flags & FLAG_ARRAY) != 0;
    statement->roll_back = (flags & FLAG_ROLL_BACK) != 0;
    statement->precondition = (flags & FLAG_PRECONDITION) != 0;
    statement->runs_code = (flags & FLAG_RUNS_CODE) != 0;
    return flags;
}

static void read_parameters(struct cc_reader *reader, struct cc_arena *arena, struct rest_statement *statement)
{
    statement->n_parameters = read_count(reader, 1, CC_PARAMETERS_MAX);
    statement->parameters = cc_arena_array(arena, statement->n_parameters, sizeof(*statement->parameters));
    for (uint32_t i = 0; i < statement->n_parameters; i++) {
        statement->parameters[i] = cc_read_nullable(reader);
    }
}

static void read_settings(struct cc_reader *reader, struct cc_arena *arena, struct rest_statement *statement)
{
    statement->n_settings = read_count(reader, 2, UINT32_MAX);
    statement->settings = cc_arena_array(arena, statement->n_settings, sizeof(*statement->settings));
    for (uint32_t i = 0; i < statement->n_settings; i++) {
        statement->settings[i].name = cc_read_string(reader);
        statement->settings[i].value = cc_read_nullable(reader);
    }
}

static void read_sequences(struct cc_reader *reader, struct cc_arena *arena, struct rest_statement *statement)
{
    statement->n_sequences = read_count(reader, 1, UINT32_MAX);
    statement->sequences = cc_arena_array(arena, statement->n_sequences, sizeof(*statement->sequences));
    for (uint32_t i = 0; i < statement->n_sequences; i++) {
        statement->sequences[i] = cc_read_string(reader);
    }
}

// "VALUES (...)", with parameters for one or more of it.
static bool is_row(const struct rest_statement *statement, uint64_t at, uint64_t n, uint64_t n_parameters)
{
    const uint8_t *row = statement->sql.data + at;
    return n_parameters <= statement->n_parameters && statement->n_parameters % n_parameters == 0 && at >= REST_VALUES_BYTES && n >= 2 &&
           memcmp(row - REST_VALUES_BYTES, "VALUES ", REST_VALUES_BYTES) == 0 && row[0] == '(' && row[n - 1] == ')';
}

static void read_row(struct cc_reader *reader, struct rest_statement *statement)
{
    uint64_t at = cc_read_varint(reader);
    uint64_t n = cc_read_varint(reader);
    uint64_t n_parameters = cc_read_varint(reader);
    if (n == 0 && n_parameters == 0) {
        return;
    }
    bool fits = n > 0 && statement->sql.n <= UINT32_MAX && at < statement->sql.n && n <= statement->sql.n - at;
    if (!fits || (n_parameters > 0 && !is_row(statement, at, n, n_parameters))) {
        cc_reader_fail(reader);
        return;
    }
    statement->row_parameters = (uint32_t)n_parameters;
    statement->row_at = (uint32_t)at;
    statement->row_n = (uint32_t)n;
}

// What a peer says of its values is looked at again: effects are made of them.
static bool column_is_given(const struct rest_statement *statement, uint32_t column)
{
    uint32_t given = statement->given[column];
    bool plain = given <= statement->row_parameters;
    for (uint32_t at = given; plain && given > 0 && at <= statement->n_parameters; at += statement->row_parameters) {
        plain = rest_value_is_plain(statement->shape.columns[column].type, statement->parameters[at - 1]);
    }
    return plain;
}

static void read_given(struct cc_reader *reader, struct cc_arena *arena, struct rest_statement *statement)
{
    bool ok = statement->row_parameters > 0 && statement->kind == REST_INSERT && !statement->captured &&
              !statement->shape.with_old;
    statement->given = cc_arena_array(arena, statement->shape.n_columns + 1, sizeof(*statement->given));
    for (uint32_t i = 0; ok && i < statement->shape.n_columns; i++) {
        statement->given[i] = (uint32_t)cc_read_count(reader, statement->row_parameters);
        ok = column_is_given(statement, i);
    }
    statement->brief_end = cc_read_string(reader);
    if (!ok) {
        cc_reader_fail(reader);
    }
}

static void read_many(struct cc_reader *reader, struct rest_statement *statement)
{
    statement->many = cc_read_string(reader);
    if (statement->many.n > 0) {
        uint64_t key_at = cc_read_varint(reader);
        if (statement->kind != REST_UPDATE || statement->captured || key_at >= statement->n_parameters) {
            cc_reader_fail(reader);
        }
        statement->many_key_at = (uint32_t)key_at;
    }
}

enum cc_status rest_statement_read(struct cc_reader *reader, struct cc_arena *arena, struct rest_statement *statement_out)
{
    struct rest_statement statement = {0};
    uint8_t flags = read_kind_and_flags(reader, &statement);
    statement.sql = cc_read_string(reader);
    read_parameters(reader, arena, &statement);
    enum cc_status status = rest_shape_read(reader, arena, &statement.shape);
    if (status != CC_OK) {
        return status;
    }
    statement.rows_max = cc_read_varint(reader);
    read_settings(reader, arena, &statement);
    read_sequences(reader, arena, &statement);
    read_row(reader, &statement);
    if (flags & FLAG_GIVEN) {
        read_given(reader, arena, &statement);
    }
    read_many(reader, &statement);
    if (!cc_reader_ok(reader)) {
        return CC_MALFORMED;
    }
    *statement_out = statement;
    return CC_OK;
}
