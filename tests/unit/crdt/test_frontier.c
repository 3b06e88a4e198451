// The frontier: get, raise, cover, and its bytes.
#include "crdt/frontier.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static struct crdt_origin origin(uint32_t replica, uint32_t incarnation)
{
    return (struct crdt_origin){.replica = replica, .incarnation = incarnation};
}

static void raise_to(struct crdt_frontier *frontier, uint32_t replica, uint32_t incarnation, uint64_t sequence)
{
    assert_int_equal(crdt_frontier_raise(frontier, origin(replica, incarnation), sequence), CC_OK);
}

static void an_empty_frontier_holds_nothing(void **state)
{
    (void)state;
    struct crdt_frontier frontier = {0};
    assert_int_equal(crdt_frontier_get(&frontier, origin(1, 1)), 0);
    assert_true(crdt_frontier_covers(&frontier, &frontier));
}

static void raising_never_lowers(void **state)
{
    (void)state;
    struct crdt_frontier frontier = {0};
    raise_to(&frontier, 2, 1, 7);
    raise_to(&frontier, 2, 1, 3);
    raise_to(&frontier, 2, 1, 0);
    assert_int_equal(crdt_frontier_get(&frontier, origin(2, 1)), 7);
    assert_int_equal(frontier.n, 1);
}

static void origins_stay_sorted_and_incarnations_apart(void **state)
{
    (void)state;
    struct crdt_frontier frontier = {0};
    raise_to(&frontier, 2, 2, 5);
    raise_to(&frontier, 1, 9, 6);
    raise_to(&frontier, 2, 1, 4);
    assert_int_equal(frontier.n, 3);
    assert_int_equal(frontier.at[0].sequence, 6);
    assert_int_equal(frontier.at[1].sequence, 4);
    assert_int_equal(frontier.at[2].sequence, 5);
    assert_int_equal(crdt_frontier_get(&frontier, origin(2, 2)), 5);
    assert_int_equal(crdt_frontier_get(&frontier, origin(2, 3)), 0);
}

static void covering_is_a_partial_order(void **state)
{
    (void)state;
    struct crdt_frontier a = {0};
    struct crdt_frontier b = {0};
    raise_to(&a, 1, 1, 5);
    raise_to(&b, 1, 1, 4);
    assert_true(crdt_frontier_covers(&a, &b));
    assert_false(crdt_frontier_covers(&b, &a));

    raise_to(&b, 2, 1, 1);
    assert_false(crdt_frontier_covers(&a, &b));
    assert_false(crdt_frontier_covers(&b, &a));

    raise_to(&a, 2, 1, 1);
    raise_to(&b, 1, 1, 5);
    assert_true(crdt_frontier_equal(&a, &b));
}

static void too_many_origins_are_refused_and_change_nothing(void **state)
{
    (void)state;
    struct crdt_frontier frontier = {0};
    for (uint32_t i = 0; i < CC_ORIGINS_MAX; i++) {
        raise_to(&frontier, i, 1, 1);
    }
    assert_int_equal(crdt_frontier_raise(&frontier, origin(CC_ORIGINS_MAX, 1), 1), CC_TOO_LARGE);
    assert_int_equal(frontier.n, CC_ORIGINS_MAX);
    raise_to(&frontier, 3, 1, 2);
}

static void joining_raises_to_all_that_the_other_holds(void **state)
{
    (void)state;
    struct crdt_frontier frontier = {0};
    struct crdt_frontier other = {0};
    raise_to(&frontier, 1, 1, 5);
    raise_to(&frontier, 3, 1, 2);
    raise_to(&other, 1, 1, 4);
    raise_to(&other, 2, 1, 6);
    raise_to(&other, 3, 1, 7);
    assert_int_equal(crdt_frontier_join(&frontier, &other), CC_OK);
    assert_int_equal(frontier.n, 3);
    assert_int_equal(crdt_frontier_get(&frontier, origin(1, 1)), 5);
    assert_int_equal(crdt_frontier_get(&frontier, origin(2, 1)), 6);
    assert_int_equal(crdt_frontier_get(&frontier, origin(3, 1)), 7);
}

static void joining_stops_at_the_first_origin_that_does_not_fit(void **state)
{
    (void)state;
    struct crdt_frontier frontier = {0};
    for (uint32_t i = 0; i < CC_ORIGINS_MAX; i++) {
        raise_to(&frontier, i, 1, 1);
    }
    struct crdt_frontier other = {0};
    raise_to(&other, 1, 1, 9);
    raise_to(&other, 1, 2, 9);
    raise_to(&other, 2, 1, 9);
    assert_int_equal(crdt_frontier_join(&frontier, &other), CC_TOO_LARGE);
    assert_int_equal(frontier.n, CC_ORIGINS_MAX);
    assert_int_equal(crdt_frontier_get(&frontier, origin(1, 1)), 9);
    assert_int_equal(crdt_frontier_get(&frontier, origin(2, 1)), 1);
}

static void a_frontier_is_read_from_text_in_any_order(void **state)
{
    (void)state;
    struct crdt_frontier frontier = {.n = 1};
    crdt_frontier_of_text("2 1 7 1 3 18446744073709551615 4 1 0", &frontier);
    assert_int_equal(frontier.n, 2);
    assert_int_equal(crdt_frontier_get(&frontier, origin(1, 3)), UINT64_MAX);
    assert_int_equal(crdt_frontier_get(&frontier, origin(2, 1)), 7);
    crdt_frontier_of_text("", &frontier);
    assert_int_equal(frontier.n, 0);
}

static void text_that_is_no_frontier_says_less(void **state)
{
    (void)state;
    static const char *const broken[] = {"2 1 7 x", "2 1 7  3 1 1", "2 1 7 -3 1 1", "2 1 7 3", "2 1 7 3 1", "2 1 7 3 x 1", "2 1 7 4294967296 1 1", "2 1 7 1 4294967296 1"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct crdt_frontier frontier;
        crdt_frontier_of_text(broken[i], &frontier);
        assert_int_equal(frontier.n, 1);
        assert_int_equal(crdt_frontier_get(&frontier, origin(2, 1)), 7);
    }
}

static void what_was_put_is_read_again(void **state)
{
    (void)state;
    struct crdt_frontier frontier = {0};
    raise_to(&frontier, 1, 1, 1);
    raise_to(&frontier, 1, 2, UINT64_MAX);
    raise_to(&frontier, 15, 4, 1234567);
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, &frontier);

    struct cc_reader reader = cc_reader_of(cc_buffer_slice(&bytes));
    struct crdt_frontier again;
    assert_int_equal(crdt_frontier_read(&reader, &again), CC_OK);
    assert_int_equal(cc_reader_end(&reader), CC_OK);
    assert_true(crdt_frontier_equal(&frontier, &again));

    for (size_t n = 0; n < bytes.n; n++) {
        reader = cc_reader_of(cc_slice_of(bytes.data, n));
        assert_int_equal(crdt_frontier_read(&reader, &again), CC_MALFORMED);
    }
    cc_buffer_finish(&bytes);
}

static void unsorted_double_or_zero_entries_are_malformed(void **state)
{
    (void)state;
    static const struct {
        uint32_t first, second;
        uint64_t sequence;
    } cases[] = {{2, 1, 1}, {1, 1, 1}, {1, 2, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct crdt_frontier frontier = {.n = 2};
        frontier.at[0].origin = origin(cases[i].first, 1);
        frontier.at[0].sequence = 1;
        frontier.at[1].origin = origin(cases[i].second, 1);
        frontier.at[1].sequence = cases[i].sequence;
        struct cc_buffer bytes = {0};
        crdt_frontier_put(&bytes, &frontier);
        struct cc_reader reader = cc_reader_of(cc_buffer_slice(&bytes));
        assert_int_equal(crdt_frontier_read(&reader, &frontier), CC_MALFORMED);
        assert_false(cc_reader_ok(&reader));
        cc_buffer_finish(&bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_frontier_holds_nothing),
        cmocka_unit_test(raising_never_lowers),
        cmocka_unit_test(origins_stay_sorted_and_incarnations_apart),
        cmocka_unit_test(covering_is_a_partial_order),
        cmocka_unit_test(too_many_origins_are_refused_and_change_nothing),
        cmocka_unit_test(joining_raises_to_all_that_the_other_holds),
        cmocka_unit_test(joining_stops_at_the_first_origin_that_does_not_fit),
        cmocka_unit_test(a_frontier_is_read_from_text_in_any_order),
        cmocka_unit_test(text_that_is_no_frontier_says_less),
        cmocka_unit_test(what_was_put_is_read_again),
        cmocka_unit_test(unsorted_double_or_zero_entries_are_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
