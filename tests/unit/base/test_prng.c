// Seeded numbers: repeatable, in range, evenly spread.
#include "base/prng.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void the_same_seed_gives_the_same_numbers_for_ever(void **state)
{
    (void)state;
    struct cc_prng one;
    struct cc_prng two;
    cc_prng_seed(&one, 42);
    cc_prng_seed(&two, 42);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(cc_prng_next(&one) == cc_prng_next(&two));
    }
    // Simulator seeds in bug reports must mean the same in later versions.
    cc_prng_seed(&one, 0);
    assert_true(cc_prng_next(&one) == UINT64_C(0x99ec5f36cb75f2b4));
}

static void numbers_stay_below_their_bound(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 3);
    for (unsigned i = 0; i < 10000; i++) {
        assert_true(cc_prng_below(&prng, 7) < 7);
        uint64_t between = cc_prng_between(&prng, 10, 12);
        assert_true(between >= 10 && between <= 12);
    }
    assert_int_equal(cc_prng_below(&prng, 1), 0);
    assert_int_equal(cc_prng_between(&prng, 5, 5), 5);
    cc_prng_between(&prng, 0, UINT64_MAX);
}

static void small_numbers_come_about_equally_often(void **state)
{
    (void)state;
    struct cc_prng prng;
    unsigned counts[6] = {0};
    cc_prng_seed(&prng, 4);
    for (unsigned i = 0; i < 60000; i++) {
        counts[cc_prng_below(&prng, 6)]++;
    }
    for (unsigned i = 0; i < 6; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
}

static void chances_of_nothing_and_certainty_hold(void **state)
{
    (void)state;
    struct cc_prng prng;
    unsigned n_halves = 0;
    cc_prng_seed(&prng, 5);
    for (unsigned i = 0; i < 10000; i++) {
        assert_false(cc_prng_chance(&prng, 0));
        assert_true(cc_prng_chance(&prng, 1000000));
        n_halves += cc_prng_chance(&prng, 500000);
    }
    assert_in_range(n_halves, 4700, 5300);
}

static void bytes_fill_exactly_the_space_given(void **state)
{
    (void)state;
    struct cc_prng prng;
    uint8_t bytes[16] = {0};
    cc_prng_seed(&prng, 6);
    cc_prng_bytes(&prng, bytes, 13);
    assert_memory_equal(bytes + 13, "\0\0\0", 3);
    uint8_t zeros[13] = {0};
    assert_memory_not_equal(bytes, zeros, 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_numbers_for_ever),
        cmocka_unit_test(numbers_stay_below_their_bound),
        cmocka_unit_test(small_numbers_come_about_equally_often),
        cmocka_unit_test(chances_of_nothing_and_certainty_hold),
        cmocka_unit_test(bytes_fill_exactly_the_space_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
