// Rules of message faults, and their JSON.
#include "proxy/faults/faults_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct faults faults;

static int setup(void **state)
{
    (void)state;
    faults_init(&faults, 1);
    return 0;
}

static uint32_t add(struct faults_rule rule)
{
    uint32_t id = 0;
    assert_int_equal(faults_add(&faults, &rule, &id), CC_OK);
    return id;
}

static bool passes(uint32_t from, uint32_t to)
{
    return faults_decide(&faults, from, to, 0).verdict == FAULTS_DELIVER;
}

static void without_rules_everything_is_delivered(void **state)
{
    (void)state;
    assert_true(passes(1, 2));
    assert_int_equal(faults.n_paths, 0);
}

static void a_disabled_channel_loses_one_direction_only(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_DROP, .from = 1, .to = 2});
    assert_false(passes(1, 2));
    assert_true(passes(2, 1));
    assert_true(passes(1, 3));
}

static void an_open_end_of_a_channel_is_everybody(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_DROP, .from = 1});
    assert_false(passes(1, 2));
    assert_false(passes(1, 3));
    assert_true(passes(3, 1));
}

static void an_isolated_replica_neither_hears_nor_is_heard(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_ISOLATE, .replica = 2});
    assert_false(passes(1, 2));
    assert_false(passes(2, 3));
    assert_true(passes(1, 3));
}

static void messages_stay_within_their_segment(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_SPLIT, .n_listed = 3, .listed = {{1, 0}, {2, 0}, {3, 1}}});
    assert_true(passes(1, 2));
    assert_false(passes(2, 3));
    assert_false(passes(3, 4));
    assert_true(passes(4, 5)); // who is not listed
    assert_false(passes(5, 1));
}

static void just_the_nth_message_is_dropped(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_DROP, .from = 1, .to = 2, .pick = FAULTS_NTH, .n = 2});
    assert_true(passes(1, 2));
    assert_true(passes(2, 1)); // not counted
    assert_false(passes(1, 2));
    assert_true(passes(1, 2));
    assert_true(passes(1, 2));
}

static void every_nth_message_is_dropped(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_DROP, .pick = FAULTS_EVERY, .n = 3});
    for (int i = 1; i <= 9; i++) {
        assert_int_equal(passes(1, 2), i % 3 != 0);
    }
    assert_int_equal(faults.rules[0].n_seen, 9);
    assert_int_equal(faults.rules[0].n_hit, 3);
    assert_int_equal(faults.n_dropped, 3);
}

static unsigned drops_of(uint64_t seed, uint64_t *pattern_out)
{
    faults_init(&faults, seed);
    add((struct faults_rule){.kind = FAULTS_DROP, .pick = FAULTS_CHANCE, .n = 250000});
    unsigned n = 0;
    for (unsigned i = 0; i < 4000; i++) {
        bool dropped = !passes(1, 2);
        n += dropped;
        *pattern_out = *pattern_out * 31 + dropped;
    }
    return n;
}

static void chance_drops_about_as_many_as_asked_and_the_same_ones_for_a_seed(void **state)
{
    (void)state;
    uint64_t first = 0, again = 0, other = 0;
    unsigned n = drops_of(7, &first);
    assert_in_range(n, 850, 1150);
    assert_int_equal(drops_of(7, &again), n);
    drops_of(8, &other);
    assert_true(first == again);
    assert_true(first != other);
}

static void delays_add_up_and_keep_the_order_of_the_path(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_DELAY, .from = 1, .delay_ms = 20, .pick = FAULTS_NTH, .n = 1});
    add((struct faults_rule){.kind = FAULTS_DELAY, .to = 2, .delay_ms = 10, .pick = FAULTS_NTH, .n = 1});
    struct faults_decision first = faults_decide(&faults, 1, 2, 1000);
    assert_int_equal(first.verdict, FAULTS_HOLD);
    assert_int_equal(first.delay_us, 30000);
    assert_false(first.overtaken);
    struct faults_decision second =
        faults_decide(&faults, 1, 2, 6000); // matched by nothing any more, but behind the first
    assert_int_equal(second.verdict, FAULTS_HOLD);
    assert_int_equal(second.delay_us, 25000);
    assert_true(passes(2, 1));
    assert_int_equal(faults_decide(&faults, 1, 2, 31000).verdict, FAULTS_DELIVER);
}

static void jitter_stays_in_its_bounds(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_REORDER, .delay_ms = 5, .jitter_ms = 10});
    uint64_t lowest = UINT64_MAX, highest = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t delay_us = faults_decide(&faults, 1, 2, 0).delay_us;
        lowest = delay_us < lowest ? delay_us : lowest;
        highest = delay_us > highest ? delay_us : highest;
    }
    assert_in_range(lowest, 5000, 6000);
    assert_in_range(highest, 14000, 15000);
}

static void a_reordered_message_is_overtaken(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_REORDER, .delay_ms = 20, .pick = FAULTS_EVERY, .n = 2});
    assert_true(passes(1, 2));
    struct faults_decision held = faults_decide(&faults, 1, 2, 0);
    assert_int_equal(held.verdict, FAULTS_HOLD);
    assert_true(held.overtaken);
    assert_true(passes(1, 2));
}

static void a_dropped_message_is_counted_by_the_other_rules_too(void **state)
{
    (void)state;
    add((struct faults_rule){.kind = FAULTS_ISOLATE, .replica = 1});
    add((struct faults_rule){.kind = FAULTS_DROP, .from = 1, .to = 2, .pick = FAULTS_NTH, .n = 5});
    assert_false(passes(1, 2));
    assert_int_equal(faults.rules[1].n_seen, 1);
    assert_int_equal(faults.rules[1].n_hit, 0);
}

static void rules_go_one_by_one_or_all_at_once(void **state)
{
    (void)state;
    uint32_t one = add((struct faults_rule){.kind = FAULTS_DROP, .from = 1, .to = 2});
    uint32_t other = add((struct faults_rule){.kind = FAULTS_DROP, .from = 2, .to = 1});
    assert_int_equal(faults_remove(&faults, one), CC_OK);
    assert_int_equal(faults_remove(&faults, one), CC_NOT_FOUND);
    assert_true(passes(1, 2));
    assert_false(passes(2, 1));
    assert_int_equal(faults.rules[0].id, other);
    faults_clear(&faults);
    assert_true(passes(2, 1));
}

static void paths_that_lost_messages_are_told_once(void **state)
{
    (void)state;
    uint32_t from = 0, to = 0;
    add((struct faults_rule){.kind = FAULTS_DROP, .from = 3});
    passes(1, 3);
    passes(3, 1);
    passes(3, 1);
    faults_clear(&faults);
    assert_true(faults_take_lost(&faults, &from, &to));
    assert_int_equal(from, 3);
    assert_int_equal(to, 1);
    assert_false(faults_take_lost(&faults, &from, &to));
}

static void rules_that_mean_nothing_are_refused(void **state)
{
    (void)state;
    const struct faults_rule bad[] = {
        {.kind = FAULTS_ISOLATE},
        {.kind = FAULTS_SPLIT},
        {.kind = FAULTS_SPLIT, .n_listed = FAULTS_LISTED_MAX + 1},
        {.kind = FAULTS_DELAY},
        {.kind = FAULTS_REORDER, .delay_ms = FAULTS_DELAY_MS_MAX + 1},
        {.kind = FAULTS_DROP, .delay_ms = 1},
        {.kind = FAULTS_DROP, .pick = FAULTS_NTH},
        {.kind = FAULTS_DROP, .pick = FAULTS_EVERY},
        {.kind = FAULTS_DROP, .pick = FAULTS_CHANCE, .n = FAULTS_PPM + 1},
        {.kind = FAULTS_ISOLATE, .replica = 1, .pick = FAULTS_NTH, .n = 1},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint32_t id = 0;
        assert_int_equal(faults_add(&faults, &bad[i], &id), CC_INVALID);
    }
    assert_int_equal(faults.n_rules, 0);
}

static void there_is_a_limit_to_rules(void **state)
{
    (void)state;
    struct faults_rule rule = {.kind = FAULTS_DROP, .from = 1, .to = 2};
    for (int i = 0; i < FAULTS_RULES_MAX; i++) {
        add(rule);
    }
    uint32_t id = 0;
    assert_int_equal(faults_add(&faults, &rule, &id), CC_TOO_LARGE);
}

static const char *refusal_of(const char *json)
{
    const char *why = NULL;
    size_t n_before = faults.n_rules;
    assert_int_not_equal(faults_add_json(&faults, cc_slice_text(json), &why), CC_OK);
    assert_int_equal(faults.n_rules, n_before);
    assert_non_null(why);
    return why;
}

static void rules_are_taken_and_listed_as_json(void **state)
{
    (void)state;
    const char *why = NULL;
    const char *json =
        "[{\"fault\":\"drop\",\"from\":1,\"to\":2,\"every\":2},{\"fault\":\"split\",\"segments\":[[1,2],[3]]},"
        "{\"fault\":\"reorder\",\"from\":9,\"ms\":30,\"percent\":12.5}]";
    assert_int_equal(faults_add_json(&faults, cc_slice_text(json), &why), CC_OK);
    assert_int_equal(faults.n_rules, 3);
    passes(1, 2);
    passes(1, 2);
    struct cc_buffer listed = {0};
    faults_put_json(&listed, &faults);
    assert_string_equal(
        cc_buffer_text(&listed),
        "{\"rules\":[{\"id\":1,\"fault\":\"drop\",\"from\":1,\"to\":2,\"every\":2,\"seen\":2,\"hit\":1},"
        "{\"id\":2,\"fault\":\"split\",\"segments\":[[1,2],[3]],\"seen\":0,\"hit\":0},"
        "{\"id\":3,\"fault\":\"reorder\",\"from\":9,\"percent\":12.5,\"ms\":30,\"seen\":0,\"hit\":0}],"
        "\"dropped\":1,\"delayed\":0}");
    cc_buffer_finish(&listed);
}

static void json_that_means_nothing_is_refused_with_a_reason_and_changes_nothing(void **state)
{
    (void)state;
    assert_string_equal(refusal_of("{"), "the body must be a rule as a JSON object, or an array of them");
    assert_string_equal(refusal_of("[{\"fault\":\"drop\"},{\"fault\":\"flood\"}]"),
                        "fault must be drop, delay, reorder, isolate or split");
    assert_string_equal(
        refusal_of("{\"fault\":\"drop\",\"form\":1}"),
        "unknown key: there are fault, from, to, replica, segments, nth, every, percent, ms, jitter_ms and seed");
    assert_string_equal(refusal_of("{\"fault\":\"drop\",\"nth\":1,\"every\":2}"),
                        "only one of nth, every and percent picks messages");
    assert_string_equal(refusal_of("{\"fault\":\"isolate\",\"replica\":1,\"to\":2}"),
                        "isolate takes replica, and nothing else");
    assert_string_equal(refusal_of("{\"fault\":\"delay\",\"ms\":60001}"), "ms must be between 1 and 60000");
    assert_string_equal(refusal_of("{\"from\":1}"), "fault is missing: drop, delay, reorder, isolate or split");
    refusal_of("[]");
    refusal_of("[1]");
    refusal_of("{\"fault\":\"split\",\"segments\":[[0]]}");
    refusal_of("{\"fault\":\"drop\",\"percent\":0}");
}

#define CLAIM(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(without_rules_everything_is_delivered),
        CLAIM(a_disabled_channel_loses_one_direction_only),
        CLAIM(an_open_end_of_a_channel_is_everybody),
        CLAIM(an_isolated_replica_neither_hears_nor_is_heard),
        CLAIM(messages_stay_within_their_segment),
        CLAIM(just_the_nth_message_is_dropped),
        CLAIM(every_nth_message_is_dropped),
        CLAIM(chance_drops_about_as_many_as_asked_and_the_same_ones_for_a_seed),
        CLAIM(delays_add_up_and_keep_the_order_of_the_path),
        CLAIM(jitter_stays_in_its_bounds),
        CLAIM(a_reordered_message_is_overtaken),
        CLAIM(a_dropped_message_is_counted_by_the_other_rules_too),
        CLAIM(rules_go_one_by_one_or_all_at_once),
        CLAIM(paths_that_lost_messages_are_told_once),
        CLAIM(rules_that_mean_nothing_are_refused),
        CLAIM(there_is_a_limit_to_rules),
        CLAIM(rules_are_taken_and_listed_as_json),
        CLAIM(json_that_means_nothing_is_refused_with_a_reason_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
