// Values in PostgreSQL's own forms: see the header.
#include "proxy/postgres/pg_value.h"

#include <string.h>

enum { ARRAY_HEAD_BYTES = 20, ARRAY_NULLS_AT = 4, ARRAY_COUNT_AT = 12 };

static void set_be32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

void pg_array_init(struct pg_array *array, enum pg_type type)
{
    *array = (struct pg_array){.type = type};
}

enum pg_type pg_array_type_of(struct cc_slice column_type)
{
    return cc_slice_equal_text(column_type, "uuid") ? PG_UUID : PG_TEXT;
}

void pg_array_finish(struct pg_array *array)
{
    cc_buffer_finish(&array->bytes);
}

static void put_head(struct pg_array *array)
{
    cc_buffer_reserve(&array->bytes, ARRAY_HEAD_BYTES);
    uint8_t *at = array->bytes.data;
    set_be32(at, 1); // dimensions
    set_be32(at + ARRAY_NULLS_AT, 0);
    set_be32(at + 8, array->type);
    set_be32(at + ARRAY_COUNT_AT, 0);
    set_be32(at + 16, 1); // lower bound
    array->bytes.n = ARRAY_HEAD_BYTES;
}

// Where an element of n bytes is to be put, behind its length.
static uint8_t *put_element(struct pg_array *array, size_t n, uint32_t length)
{
    struct cc_buffer *bytes = &array->bytes;
    if (bytes->n == 0) {
        put_head(array);
    }
    if (n + 4 > bytes->capacity - bytes->n) {
        cc_buffer_reserve(bytes, n + 4);
    }
    uint8_t *at = bytes->data + bytes->n;
    set_be32(at, length);
    bytes->n += n + 4;
    array->n++;
    return at + 4;
}

void pg_array_put(struct pg_array *array, struct cc_slice value)
{
    if (value.data == NULL) {
        array->has_null = true;
        (void)put_element(array, 0, UINT32_MAX);
        return;
    }
    uint8_t *at = put_element(array, value.n, (uint32_t)value.n);
    if (value.n > 0) {
        memcpy(at, value.data, value.n);
    }
}

// By character: the digit's value with this bit; 0: it is none.
enum { IS_DIGIT = 16 };
static const uint8_t hex_digits[256] = {
    ['0'] = 16, ['1'] = 17, ['2'] = 18, ['3'] = 19, ['4'] = 20, ['5'] = 21, ['6'] = 22, ['7'] = 23, ['8'] = 24, ['9'] = 25, ['a'] = 26,
    ['b'] = 27, ['c'] = 28, ['d'] = 29, ['e'] = 30, ['f'] = 31, ['A'] = 26, ['B'] = 27, ['C'] = 28, ['D'] = 29, ['E'] = 30, ['F'] = 31,
};

static uint8_t byte_of(uint8_t high, uint8_t low)
{
    return (uint8_t)((high & 15) << 4 | (low & 15));
}

enum cc_status pg_array_put_uuid(struct pg_array *array, struct cc_slice text)
{
    enum { UUID_BYTES = 16, UUID_CHARS = 36 };
    static const uint8_t digits_at[UUID_BYTES] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    if (text.data == NULL) {
        pg_array_put(array, text);
        return CC_OK;
    }
    if (text.n != UUID_CHARS) {
        return CC_MALFORMED;
    }
    const uint8_t *chars = text.data;
    uint8_t bytes[UUID_BYTES];
    uint8_t all = IS_DIGIT;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        uint8_t high = hex_digits[chars[digits_at[i]]], low = hex_digits[chars[digits_at[i] + 1]];
        all &= high & low;
        bytes[i] = byte_of(high, low);
    }
    if (all == 0 || chars[8] != '-' || chars[13] != '-' || chars[18] != '-' || chars[23] != '-') {
        return CC_MALFORMED;
    }
    pg_array_put(array, cc_slice_of(bytes, sizeof(bytes)));
    return CC_OK;
}

enum cc_status pg_array_put_value(struct pg_array *array, struct cc_slice text)
{
    if (array->type == PG_UUID) {
        return pg_array_put_uuid(array, text);
    }
    pg_array_put(array, text);
    return CC_OK;
}

void pg_array_put_int8(struct pg_array *array, int64_t value)
{
    uint8_t *at = put_element(array, 8, 8);
    set_be32(at, (uint32_t)((uint64_t)value >> 32));
    set_be32(at + 4, (uint32_t)(uint64_t)value);
}

struct cc_slice pg_array_slice(struct pg_array *array)
{
    if (array->bytes.n == 0) {
        put_head(array);
    }
    set_be32(array->bytes.data + ARRAY_NULLS_AT, array->has_null);
    set_be32(array->bytes.data + ARRAY_COUNT_AT, array->n);
    return cc_buffer_slice(&array->bytes);
}

static const char *type_name(enum pg_type type)
{
    switch (type) {
    case PG_BOOL:
        return "boolean";
    case PG_BYTEA:
        return "bytea";
    case PG_INT8:
        return "bigint";
    case PG_TEXT:
        return "text";
    case PG_UUID:
        return "uuid";
    }
    return NULL;
}

static struct cc_slice only_element(const struct pg_array *array)
{
    const size_t at = ARRAY_HEAD_BYTES + 4;
    return array->has_null ? (struct cc_slice){0} : cc_slice_of(array->bytes.data + at, array->bytes.n - at);
}

void pg_arrays_source(struct cc_buffer *sql, struct pg_array *const *arrays, uint32_t n, struct cc_slice *parameters_out, uint8_t *binary_out)
{
    bool single = arrays[0]->n == 1;
    for (uint32_t i = 0; i < n; i++) {
        const char *type = type_name(arrays[i]->type);
        cc_buffer_append_text(sql, i == 0 ? "(SELECT " : ", ");
        if (single) {
            cc_buffer_printf(sql, "$%u::%s", i + 1, type);
        } else {
            cc_buffer_printf(sql, "unnest($%u::%s[])", i + 1, type);
        }
        parameters_out[i] = single ? only_element(arrays[i]) : pg_array_slice(arrays[i]);
        binary_out[i] = 1;
    }
    cc_buffer_append_text(sql, ")");
}

// A quoted field from its opening quote on: quotes and backslashes inside are doubled (or escaped by a backslash).
static enum cc_status read_quoted(struct cc_slice text, size_t *at, struct cc_arena *arena, struct cc_slice *field_out)
{
    uint8_t *bytes = cc_arena_alloc(arena, text.n - *at + 1);
    size_t n = 0;
    for (size_t i = *at + 1; i < text.n; i++) {
        uint8_t c = text.data[i];
        bool has_next = i + 1 < text.n;
        if (c == '"' && !(has_next && text.data[i + 1] == '"')) {
            *at = i + 1;
            *field_out = cc_slice_of(bytes, n);
            return CC_OK;
        }
        if ((c == '"' || c == '\\') && has_next) {
            c = text.data[++i];
        }
        bytes[n++] = c;
    }
    return CC_MALFORMED;
}

static enum cc_status read_field(struct cc_slice text, size_t *at, struct cc_arena *arena, struct cc_slice *field_out)
{
    if (*at < text.n && text.data[*at] == '"') {
        return read_quoted(text, at, arena, field_out);
    }
    size_t start = *at;
    while (*at < text.n && text.data[*at] != ',' && text.data[*at] != ')') {
        (*at)++;
    }
    *field_out = *at == start ? (struct cc_slice){0} : cc_slice_of(text.data + start, *at - start);
    return CC_OK;
}

enum cc_status pg_record_read(struct cc_slice text, struct cc_arena *arena, struct cc_slice *fields_out, size_t n)
{
    if (text.n < 2 || text.data[0] != '(') {
        return CC_MALFORMED;
    }
    if (n == 0) {
        return text.n == 2 && text.data[1] == ')' ? CC_OK : CC_INVALID;
    }
    size_t at = 1;
    for (size_t i = 0; i < n; i++) {
        enum cc_status status = read_field(text, &at, arena, &fields_out[i]);
        if (status != CC_OK) {
            return status;
        }
        if (at >= text.n) {
            return CC_MALFORMED;
        }
        bool last = i + 1 == n;
        if (text.data[at] != (last ? ')' : ',')) {
            return CC_INVALID;
        }
        at++;
    }
    return at == text.n ? CC_OK : CC_MALFORMED;
}

enum cc_status pg_bytea_read(struct cc_slice text, struct cc_arena *arena, struct cc_slice *bytes_out)
{
    if (text.n < 2 || text.n % 2 != 0 || memcmp(text.data, "\\x", 2) != 0) {
        return CC_MALFORMED;
    }
    size_t n = text.n / 2 - 1;
    uint8_t *bytes = cc_arena_alloc(arena, n + 1);
    for (size_t i = 0; i < n; i++) {
        uint8_t high = hex_digits[text.data[2 + 2 * i]], low = hex_digits[text.data[3 + 2 * i]];
        if ((high & low & IS_DIGIT) == 0) {
            return CC_MALFORMED;
        }
        bytes[i] = byte_of(high, low);
    }
    *bytes_out = cc_slice_of(bytes, n);
    return CC_OK;
}

enum cc_status pg_int8_read(struct cc_slice text, int64_t *value_out)
{
    bool negative = text.n > 0 && text.data[0] == '-';
    size_t i = negative;
    if (i == text.n) {
        return CC_MALFORMED;
    }
    int64_t value = 0;
    for (; i < text.n; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return CC_MALFORMED;
        }
        int digit = text.data[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_sub_overflow(value, digit, &value)) {
            return CC_MALFORMED;
        }
    }
    if (!negative && __builtin_sub_overflow(0, value, &value)) {
        return CC_MALFORMED;
    }
    *value_out = value;
    return CC_OK;
}
