// Decimal numbers of any length: sums, order, what is none.
// `test_crdt_decimal CASES` runs that many cases of each property instead of the few of the normal run.
#include "base/prng.h"
#include "crdt/decimal.h"
#include "crdt/parts_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { CASES_DEFAULT = 10000 };

static long n_cases = CASES_DEFAULT;

static void sums_are_exact(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"1", "2", "3"},
        {"-1", "1", "0"},
        {"-1.5", "0.5", "-1.0"},
        {"0.1", "0.2", "0.3"},
        {"999", "1", "1000"},
        {"-1000", "1", "-999"},
        {"9223372036854775807", "9223372036854775807", "18446744073709551614"},
        {"123456789012345678901234567890.25", "-0.75", "123456789012345678901234567889.50"},
        {"0.00", "-0.00", "0.00"},
        {"007", "+3", "10"},
        {"5.", ".5", "5.5"},
    };
    struct cc_arena arena;
    cc_arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cc_slice a = text(cases[i][0]), b = text(cases[i][1]);
        assert_string_equal(show(crdt_decimal_add(a, b, &arena), &arena), cases[i][2]);
        assert_string_equal(show(crdt_decimal_add(b, a, &arena), &arena), cases[i][2]);
        struct cc_slice back = crdt_decimal_subtract(text(cases[i][2]), b, &arena);
        assert_int_equal(crdt_decimal_compare(back, a), 0);
    }
    cc_arena_finish(&arena);
}

static void sums_and_order_are_those_of_integers(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 21);
    struct cc_arena arena;
    for (long i = 0; i < n_cases; i++) {
        cc_arena_init(&arena);
        int64_t a = (int64_t)cc_prng_below(&prng, 2000001) - 1000000, b = (int64_t)cc_prng_below(&prng, 2001) - 1000;
        struct cc_slice left = text(cc_arena_printf(&arena, "%lld", (long long)a)), right = text(cc_arena_printf(&arena, "%lld", (long long)b));
        assert_string_equal(show(crdt_decimal_add(left, right, &arena), &arena), cc_arena_printf(&arena, "%lld", (long long)(a + b)));
        assert_int_equal(crdt_decimal_compare(left, right) > 0, a > b);
        assert_int_equal(crdt_decimal_compare(left, right) < 0, a < b);
        cc_arena_finish(&arena);
    }
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "-", ".", "1e5", "NaN", "Infinity", "1.2.3", " 1", "1 ", "0x1", "--1"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_false(crdt_decimal_is_valid(text(cases[i])));
    }
    assert_false(crdt_decimal_is_valid((struct cc_slice){0}));
}

int main(int argc, char **argv)
{
    n_cases = argc > 1 ? strtol(argv[1], NULL, 10) : CASES_DEFAULT;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(sums_and_order_are_those_of_integers),
        cmocka_unit_test(what_is_no_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
