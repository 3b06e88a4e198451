// Exact decimals: digit by digit, in text.
#include "crdt/decimal.h"

#include <string.h>

// A text taken apart; borrows from it.
struct decimal {
    bool negative;
    struct cc_slice whole, fraction; // digits; whole without leading zeros
};

static size_t count_digits(struct cc_slice text, size_t from)
{
    size_t n = 0;
    while (from + n < text.n && text.data[from + n] >= '0' && text.data[from + n] <= '9') {
        n++;
    }
    return n;
}

static bool parse(struct cc_slice text, struct decimal *decimal_out)
{
    size_t at = text.n > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    size_t n_whole = count_digits(text, at);
    size_t point = at + n_whole;
    bool has_point = point < text.n && text.data[point] == '.';
    size_t n_fraction = has_point ? count_digits(text, point + 1) : 0;
    size_t end = point + (has_point ? 1 + n_fraction : 0);
    if (end != text.n || n_whole + n_fraction == 0) {
        return false;
    }
    size_t n_zeros = 0;
    while (n_zeros < n_whole && text.data[at + n_zeros] == '0') {
        n_zeros++;
    }
    *decimal_out = (struct decimal){.negative = text.data[0] == '-',
                                    .whole = cc_slice_of(text.data + at + n_zeros, n_whole - n_zeros),
                                    .fraction = cc_slice_of(text.data + (has_point ? point + 1 : point), n_fraction)};
    return true;
}

bool crdt_decimal_is_valid(struct cc_slice text)
{
    struct decimal decimal;
    return text.data != NULL && parse(text, &decimal);
}

static unsigned fraction_digit(const struct decimal *decimal, size_t position)
{
    return position < decimal->fraction.n ? (unsigned)(decimal->fraction.data[position] - '0') : 0;
}

static size_t longer_fraction(const struct decimal *a, const struct decimal *b)
{
    return a->fraction.n > b->fraction.n ? a->fraction.n : b->fraction.n;
}

static int compare_magnitudes(const struct decimal *a, const struct decimal *b)
{
    if (a->whole.n != b->whole.n) {
        return a->whole.n < b->whole.n ? -1 : 1;
    }
    int order = a->whole.n == 0 || b->whole.data == NULL ? 0 : memcmp(a->whole.data, b->whole.data, a->whole.n);
    for (size_t i = 0; order == 0 && i < longer_fraction(a, b); i++) {
        order = (int)fraction_digit(a, i) - (int)fraction_digit(b, i);
    }
    return order;
}

static bool is_zero(const struct decimal *decimal)
{
    static const struct decimal zero = {0};
    return compare_magnitudes(decimal, &zero) == 0;
}

static unsigned whole_digit(const struct decimal *decimal, size_t from_right)
{
    return from_right < decimal->whole.n ? (unsigned)(decimal->whole.data[decimal->whole.n - 1 - from_right] - '0') : 0;
}

// The digit at a place counted from the right end of a number with n_fraction digits behind the point.
static unsigned digit_at(const struct decimal *decimal, size_t n_fraction, size_t place)
{
    return place < n_fraction ? fraction_digit(decimal, n_fraction - 1 - place) : whole_digit(decimal, place - n_fraction);
}

// greater + or - less, in magnitude; greater is not the smaller one.
static struct cc_slice combine(const struct decimal *greater, const struct decimal *less, bool subtract, bool negative, struct cc_arena *arena)
{
    size_t n_fraction = longer_fraction(greater, less);
    size_t n_whole = (greater->whole.n > less->whole.n ? greater->whole.n : less->whole.n) + 1;
    size_t n_max = 1 + n_whole + 1 + n_fraction; // sign, digits, point
    uint8_t *text = cc_arena_alloc(arena, n_max);
    size_t at = n_max;
    int carry = 0;
    bool any = false;
    for (size_t place = 0; place < n_fraction + n_whole; place++) {
        if (place == n_fraction && n_fraction > 0) {
            text[--at] = '.';
        }
        int a = (int)digit_at(greater, n_fraction, place), b = (int)digit_at(less, n_fraction, place);
        int digit = subtract ? a - b - carry : a + b + carry;
        carry = subtract ? digit < 0 : digit >= 10;
        digit = subtract ? digit + 10 * carry : digit - 10 * carry;
        any = any || digit != 0;
        text[--at] = (uint8_t)('0' + digit);
    }
    size_t first_kept = n_max - n_fraction - (n_fraction > 0 ? 1 : 0) - 1; // the last digit before the point
    while (at < first_kept && text[at] == '0') {
        at++;
    }
    if (negative && any) {
        text[--at] = '-';
    }
    return cc_slice_of(text + at, n_max - at);
}

static struct cc_slice add(const struct decimal *a, const struct decimal *b, struct cc_arena *arena)
{
    bool a_is_greater = compare_magnitudes(a, b) >= 0;
    const struct decimal *greater = a_is_greater ? a : b, *less = a_is_greater ? b : a;
    return combine(greater, less, a->negative != b->negative, greater->negative, arena);
}

struct cc_slice crdt_decimal_add(struct cc_slice a, struct cc_slice b, struct cc_arena *arena)
{
    struct decimal left = {0}, right = {0};
    (void)parse(a, &left);
    (void)parse(b, &right);
    return add(&left, &right, arena);
}

struct cc_slice crdt_decimal_subtract(struct cc_slice a, struct cc_slice b, struct cc_arena *arena)
{
    struct decimal left = {0}, right = {0};
    (void)parse(a, &left);
    (void)parse(b, &right);
    right.negative = !right.negative;
    return add(&left, &right, arena);
}

int crdt_decimal_compare(struct cc_slice a, struct cc_slice b)
{
    struct decimal left = {0}, right = {0};
    (void)parse(a, &left);
    (void)parse(b, &right);
    bool left_negative = left.negative && !is_zero(&left), right_negative = right.negative && !is_zero(&right);
    if (left_negative != right_negative) {
        return left_negative ? -1 : 1;
    }
    int order = compare_magnitudes(&left, &right);
    return left_negative ? -order : order;
}
