// Merge types: which types of columns can have them, and how values are compared.
#include "crdt/kind.h"

#include "crdt/decimal.h"

#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 10000 }; // of a numeric, and more than PostgreSQL takes

static const char *const merge_texts[] = {"lww", "counter", "max", "min", "set"};
enum { N_MERGES = sizeof(merge_texts) / sizeof(merge_texts[0]) };

enum cc_status crdt_merge_of_text(struct cc_slice text, enum crdt_merge *merge_out)
{
    for (size_t i = 0; i < N_MERGES; i++) {
        if (cc_slice_equal_text(text, merge_texts[i])) {
            *merge_out = (enum crdt_merge)i;
            return CC_OK;
        }
    }
    return CC_INVALID;
}

// -- Types ------------------------------------------------------------------------------------------------------------

static bool is_one_of(struct cc_slice type, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (cc_slice_equal_text(type, names[i])) {
            return true;
        }
    }
    return false;
}

// Without "(3)": "timestamp(3) with time zone" is "timestamp with time zone".
static struct cc_slice without_modifier(struct cc_slice type, struct cc_arena *arena)
{
    const uint8_t *open = memchr(type.data, '(', type.n);
    const uint8_t *close = open == NULL ? NULL : memchr(open, ')', (size_t)(type.data + type.n - open));
    if (close == NULL) {
        return type;
    }
    size_t n_before = (size_t)(open - type.data), n_behind = (size_t)(type.data + type.n - close - 1);
    uint8_t *name = cc_arena_alloc(arena, type.n);
    memcpy(name, type.data, n_before);
    memcpy(name + n_before, close + 1, n_behind);
    return cc_slice_of(name, n_before + n_behind);
}

// numeric(p,s): p digits, s of them behind the point.
static bool limits_of_numeric(struct cc_slice type, struct cc_arena *arena, struct crdt_kind *kind)
{
    static const char prefix[] = "numeric(";
    struct cc_slice rest = cc_slice_of(type.data + sizeof(prefix) - 1, type.n - (sizeof(prefix) - 1));
    uint64_t precision = 0, scale = 0;
    bool read = cc_slice_take_number(&rest, DIGITS_MAX, &precision) && cc_slice_take_byte(&rest, ',') &&
                cc_slice_take_number(&rest, DIGITS_MAX, &scale) && cc_slice_take_byte(&rest, ')') && rest.n == 0;
    if (!read || precision == 0 || scale > precision) {
        return false;
    }
    struct cc_buffer text = {0};
    cc_buffer_append_text(&text, precision == scale ? "-0" : "-");
    for (uint64_t i = 0; i < precision; i++) {
        cc_buffer_append_text(&text, i == precision - scale ? ".9" : "9");
    }
    kind->least = cc_arena_slice(arena, cc_buffer_slice(&text));
    kind->greatest = cc_slice_of(kind->least.data + 1, kind->least.n - 1);
    cc_buffer_finish(&text);
    return true;
}

static bool counter_of(struct cc_slice type, struct cc_arena *arena, struct crdt_kind *kind)
{
    static const struct {
        const char *type, *least, *greatest;
    } integers[] = {{"smallint", "-32768", "32767"},
                    {"integer", "-2147483648", "2147483647"},
                    {"bigint", "-9223372036854775808", "9223372036854775807"}};
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        if (cc_slice_equal_text(type, integers[i].type)) {
            kind->least = cc_slice_text(integers[i].least);
            kind->greatest = cc_slice_text(integers[i].greatest);
            return true;
        }
    }
    return cc_slice_equal_text(type, "numeric") || (cc_slice_starts_with(type, "numeric(") && limits_of_numeric(type, arena, kind));
}

static bool order_of(struct cc_slice type, enum crdt_order *order_out)
{
    static const char *const numbers[] = {"smallint", "integer", "bigint", "numeric", "real", "double precision"};
    static const char *const times[] = {"date", "timestamp without time zone", "timestamp with time zone"};
    static const char *const others[] = {"text", "character varying", "uuid", "boolean", "bytea", "time without time zone"};
    if (is_one_of(type, numbers, sizeof(numbers) / sizeof(numbers[0]))) {
        *order_out = CRDT_ORDER_NUMBER;
        return true;
    }
    if (is_one_of(type, times, sizeof(times) / sizeof(times[0]))) {
        *order_out = CRDT_ORDER_TIME;
        return true;
    }
    *order_out = CRDT_ORDER_BYTES;
    return is_one_of(type, others, sizeof(others) / sizeof(others[0]));
}

static bool is_array(struct cc_slice type)
{
    return type.n > 2 && memcmp(type.data + type.n - 2, "[]", 2) == 0 && !cc_slice_starts_with(type, "box"); // boxes have another delimiter
}

enum cc_status crdt_kind_of(enum crdt_merge merge, struct cc_slice type, struct cc_arena *arena, struct crdt_kind *kind_out)
{
    struct crdt_kind kind = {.merge = merge};
    bool ok = false;
    switch (merge) {
    case CRDT_LWW:
        ok = true;
        break;
    case CRDT_COUNTER:
        ok = counter_of(type, arena, &kind);
        break;
    case CRDT_MAX:
    case CRDT_MIN:
        ok = order_of(without_modifier(type, arena), &kind.order);
        break;
    case CRDT_SET:
        ok = is_array(type);
        break;
    }
    if (!ok) {
        return CC_INVALID;
    }
    *kind_out = kind;
    return CC_OK;
}

// -- Order of values --------------------------------------------------------------------------------------------------

// "1e+20" as PostgreSQL shows real and double precision: written out.
static struct cc_slice without_exponent(struct cc_slice text, struct cc_arena *arena)
{
    const uint8_t *e = memchr(text.data, 'e', text.n);
    if (e == NULL) {
        return text;
    }
    size_t n_mantissa = (size_t)(e - text.data);
    int exponent = atoi(cc_arena_text_n(arena, e + 1, text.n - n_mantissa - 1));
    if (exponent > 400 || exponent < -400) {
        return text;
    }
    struct cc_buffer digits = {0}, out = {0};
    int point = -1;
    for (size_t i = 0; i < n_mantissa; i++) {
        if (text.data[i] >= '0' && text.data[i] <= '9') {
            cc_put_u8(&digits, text.data[i]);
        } else if (text.data[i] == '.') {
            point = (int)digits.n;
        }
    }
    point = (point < 0 ? (int)digits.n : point) + exponent;
    cc_buffer_append_text(&out, text.data[0] == '-' ? "-0" : "0");
    for (int i = point < 0 ? point : 0; i < (int)digits.n || i < point; i++) {
        cc_buffer_append_text(&out, i == point ? "." : "");
        cc_put_u8(&out, i >= 0 && i < (int)digits.n ? digits.data[i] : '0');
    }
    struct cc_slice written = cc_arena_slice(arena, cc_buffer_slice(&out));
    cc_buffer_finish(&digits);
    cc_buffer_finish(&out);
    return written;
}

// -Infinity, numbers, Infinity, NaN; what is none of these before all.
static int number_class(struct cc_slice text)
{
    if (crdt_decimal_is_valid(text)) {
        return 2;
    }
    return cc_slice_equal_text(text, "-Infinity")  ? 1
           : cc_slice_equal_text(text, "Infinity") ? 3
           : cc_slice_equal_text(text, "NaN")      ? 4
                                                   : 0;
}

static int compare_numbers(struct cc_slice a, struct cc_slice b, struct cc_arena *arena)
{
    struct cc_slice left = without_exponent(a, arena), right = without_exponent(b, arena);
    int left_class = number_class(left), right_class = number_class(right);
    if (left_class != right_class || left_class != 2) {
        return left_class - right_class;
    }
    return crdt_decimal_compare(left, right);
}

// -infinity, years before Christ, years, infinity.
static int time_class(struct cc_slice text)
{
    if (cc_slice_equal_text(text, "-infinity")) {
        return 0;
    }
    if (cc_slice_equal_text(text, "infinity")) {
        return 3;
    }
    return text.n >= 3 && memcmp(text.data + text.n - 3, " BC", 3) == 0 ? 1 : 2;
}

static size_t year_digits(struct cc_slice text)
{
    size_t n = 0;
    while (n < text.n && text.data[n] >= '0' && text.data[n] <= '9') {
        n++;
    }
    return n;
}

// ISO texts, in UTC: "2026-11-22 10:00:00.5+00". The year's digits, then the rest as bytes: '+' and the end come before '.'.
static int compare_times(struct cc_slice a, struct cc_slice b)
{
    int left_class = time_class(a), right_class = time_class(b);
    if (left_class != right_class || left_class == 0 || left_class == 3) {
        return left_class - right_class;
    }
    size_t n_left = year_digits(a), n_right = year_digits(b);
    struct cc_slice left_year = cc_slice_of(a.data, n_left), right_year = cc_slice_of(b.data, n_right);
    int years = n_left != n_right ? (n_left < n_right ? -1 : 1) : cc_slice_compare(left_year, right_year);
    if (years != 0) {
        return left_class == 1 ? -years : years;
    }
    return cc_slice_compare(cc_slice_of(a.data + n_left, a.n - n_left), cc_slice_of(b.data + n_right, b.n - n_right));
}

int crdt_value_compare(enum crdt_order order, struct cc_slice a, struct cc_slice b, struct cc_arena *arena)
{
    switch (order) {
    case CRDT_ORDER_NUMBER:
        return compare_numbers(a, b, arena);
    case CRDT_ORDER_TIME:
        return compare_times(a, b);
    case CRDT_ORDER_BYTES:
        break;
    }
    return cc_slice_compare(a, b);
}
