// The hybrid clock: always forward, close to wall time, never dragged away by a peer.
#include "base/prng.h"
#include "clock/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static const uint64_t now_ms = UINT64_C(1700000000000);

static struct clock_hlc new_clock(void)
{
    struct clock_hlc clock;
    clock_hlc_init(&clock, 2, 5, 500);
    return clock;
}

static void a_tick_follows_wall_time(void **state)
{
    (void)state;
    struct clock_hlc clock = new_clock();
    struct clock_stamp stamp = clock_hlc_tick(&clock, now_ms);
    assert_true(clock_hlc_ms(stamp.hlc) == now_ms);
    assert_int_equal(stamp.replica, 2);
    assert_int_equal(stamp.incarnation, 5);
}

static void ticks_grow_whatever_wall_time_does(void **state)
{
    (void)state;
    struct clock_hlc clock = new_clock();
    struct cc_prng prng;
    cc_prng_seed(&prng, 1);
    struct clock_stamp last = clock_hlc_tick(&clock, now_ms);
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t wall_ms = now_ms + cc_prng_below(&prng, 3) - 1;
        struct clock_stamp stamp = clock_hlc_tick(&clock, wall_ms);
        assert_true(clock_stamp_compare(&last, &stamp) < 0);
        last = stamp;
    }
}

static void a_full_counter_carries_into_the_milliseconds(void **state)
{
    (void)state;
    struct clock_hlc clock = new_clock();
    clock_hlc_floor(&clock, clock_hlc_of_ms(now_ms) | 0xffff);
    struct clock_stamp stamp = clock_hlc_tick(&clock, now_ms);
    assert_true(stamp.hlc == clock_hlc_of_ms(now_ms + 1));
}

static void a_tick_is_greater_than_what_was_observed(void **state)
{
    (void)state;
    struct clock_hlc clock = new_clock();
    uint64_t heard = clock_hlc_of_ms(now_ms + 500) + 9;
    assert_int_equal(clock_hlc_observe(&clock, heard, now_ms), CC_OK);
    assert_true(clock_hlc_tick(&clock, now_ms).hlc == heard + 1);
}

static void an_older_value_heard_changes_nothing(void **state)
{
    (void)state;
    struct clock_hlc clock = new_clock();
    uint64_t last = clock_hlc_tick(&clock, now_ms).hlc;
    assert_int_equal(clock_hlc_observe(&clock, clock_hlc_of_ms(1), now_ms), CC_OK);
    assert_true(clock.last == last);
}

static void peer_too_far_ahead_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct clock_hlc clock = new_clock();
    uint64_t last = clock_hlc_tick(&clock, now_ms).hlc;
    assert_int_equal(clock_hlc_observe(&clock, clock_hlc_of_ms(now_ms + 501), now_ms), CC_CLOCK_SKEW);
    assert_int_equal(clock_hlc_observe(&clock, UINT64_MAX, now_ms), CC_CLOCK_SKEW);
    assert_true(clock.last == last);
}

static void no_stamp_at_or_below_the_floor_is_given_out(void **state)
{
    (void)state;
    struct clock_hlc clock = new_clock();
    uint64_t floor = clock_hlc_of_ms(now_ms + 100000) + 3;
    clock_hlc_floor(&clock, floor);
    clock_hlc_floor(&clock, 1);
    assert_true(clock_hlc_tick(&clock, now_ms).hlc > floor);
}

static void an_absurd_wall_clock_stays_in_its_48_bits(void **state)
{
    (void)state;
    struct clock_hlc clock = new_clock();
    assert_true(clock_hlc_ms(clock_hlc_tick(&clock, UINT64_MAX).hlc) == (UINT64_C(1) << 48) - 1);
}

static void stamps_are_ordered_by_clock_then_replica_then_incarnation(void **state)
{
    (void)state;
    const struct clock_stamp ascending[] = {
        {0},
        {.hlc = 0, .replica = 1},
        {.hlc = 1},
        {.hlc = 1, .incarnation = 9},
        {.hlc = 1, .replica = 1},
        {.hlc = 1, .replica = UINT32_MAX},
        {.hlc = UINT64_MAX},
    };
    const size_t n = sizeof(ascending) / sizeof(ascending[0]);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(clock_stamp_is_zero(&ascending[i]), i == 0);
        for (size_t k = 0; k < n; k++) {
            int order = clock_stamp_compare(&ascending[i], &ascending[k]);
            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
        }
    }
}

static void a_stamp_survives_its_bytes_and_its_text(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 2);
    for (unsigned i = 0; i < 1000; i++) {
        struct clock_stamp stamp = {.hlc = cc_prng_next(&prng)};
        stamp.hlc >>= cc_prng_below(&prng, 64);
        stamp.replica = i == 0 ? UINT32_MAX : (uint32_t)cc_prng_below(&prng, 100);
        stamp.incarnation = i == 0 ? UINT32_MAX : (uint32_t)cc_prng_next(&prng);
        struct cc_buffer bytes = {0};
        clock_stamp_put(&bytes, &stamp);
        assert_int_equal(bytes.n, 16);
        struct cc_reader reader = cc_reader_of(cc_buffer_slice(&bytes));
        struct clock_stamp again = clock_stamp_read(&reader);
        assert_int_equal(cc_reader_end(&reader), CC_OK);
        assert_int_equal(clock_stamp_compare(&stamp, &again), 0);

        char text[CLOCK_STAMP_TEXT_BYTES];
        clock_stamp_text(&stamp, text);
        assert_int_equal(clock_stamp_parse(cc_slice_text(text), &again), CC_OK);
        assert_int_equal(clock_stamp_compare(&stamp, &again), 0);
        cc_buffer_finish(&bytes);
    }
}

static void the_text_form_is_stable(void **state)
{
    (void)state;
    const struct clock_stamp stamp = {.hlc = UINT64_C(0x018bcfe568000001), .replica = 3, .incarnation = 10};
    char text[CLOCK_STAMP_TEXT_BYTES];
    clock_stamp_text(&stamp, text);
    assert_string_equal(text, "018bcfe568000001.3.10");
}

static void a_malformed_stamp_text_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    const char *const bad[] = {
        "",
        "018bcfe568000001",
        "018bcfe568000001.3",
        "018bcfe568000001.3.",
        "018bcfe568000001..1",
        "018bcfe568000001.3.10 ",
        "018BCFE568000001.3.10",
        "18bcfe568000001.3.10",
        "018bcfe568000001.03.10",
        "018bcfe568000001.3.4294967296",
        "018bcfe568000001.3.99999999999",
        "018bcfe568000001.-3.1",
        "018bcfe568000001.3.10.1",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct clock_stamp stamp = {.hlc = 77};
        assert_int_equal(clock_stamp_parse(cc_slice_text(bad[i]), &stamp), CC_MALFORMED);
        assert_int_equal(stamp.hlc, 77);
    }
}

static void a_cut_stamp_reads_as_zero_and_fails(void **state)
{
    (void)state;
    struct cc_reader reader = cc_reader_of(cc_slice_of("123456789abcdef", 15));
    struct clock_stamp stamp = clock_stamp_read(&reader);
    assert_true(clock_stamp_is_zero(&stamp));
    assert_false(cc_reader_ok(&reader));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_follows_wall_time),
        cmocka_unit_test(ticks_grow_whatever_wall_time_does),
        cmocka_unit_test(a_full_counter_carries_into_the_milliseconds),
        cmocka_unit_test(a_tick_is_greater_than_what_was_observed),
        cmocka_unit_test(an_older_value_heard_changes_nothing),
        cmocka_unit_test(peer_too_far_ahead_is_refused_and_changes_nothing),
        cmocka_unit_test(no_stamp_at_or_below_the_floor_is_given_out),
        cmocka_unit_test(an_absurd_wall_clock_stays_in_its_48_bits),
        cmocka_unit_test(stamps_are_ordered_by_clock_then_replica_then_incarnation),
        cmocka_unit_test(a_stamp_survives_its_bytes_and_its_text),
        cmocka_unit_test(the_text_form_is_stable),
        cmocka_unit_test(a_malformed_stamp_text_is_refused_and_changes_nothing),
        cmocka_unit_test(a_cut_stamp_reads_as_zero_and_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
