// Tests of the Prefer header.
#include "rest/prefer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void read_headers(struct cc_arena *arena, const char *const *values, uint32_t n, struct rest_preferences *out)
{
    struct rest_header headers[4];
    for (uint32_t i = 0; i < n; i++) {
        headers[i] = (struct rest_header){cc_slice_text("PREFER"), cc_slice_text(values[i])};
    }
    struct rest_request request = {.n_headers = n, .headers = headers};
    rest_prefer_read(&request, arena, out);
}

static void all_headers_are_read_and_the_first_of_a_kind_wins(void **state)
{
    (void)state;
    struct cc_arena arena;
    struct rest_preferences preferences;
    const char *values[] = {"return=representation,count=exact", " return=minimal , resolution=merge-duplicates,, ",
                            "max-affected=7, max-affected=9"};
    cc_arena_init(&arena);
    read_headers(&arena, values, 3, &preferences);
    assert_int_equal(preferences.representation, REST_RETURN_REPRESENTATION);
    assert_int_equal(preferences.count, REST_COUNT_EXACT);
    assert_int_equal(preferences.resolution, REST_RESOLUTION_MERGE);
    assert_int_equal(preferences.max_affected, 7);
    assert_null(preferences.unknown);
    cc_arena_finish(&arena);
}

static void what_is_unknown_is_listed(void **state)
{
    (void)state;
    struct cc_arena arena;
    struct rest_preferences preferences;
    const char *values[] = {
        "sparkle, count=some, max-affected=x, consistency=best, consistency=bounded=5d, timezone=a b"};
    cc_arena_init(&arena);
    read_headers(&arena, values, 1, &preferences);
    assert_string_equal(preferences.unknown,
                        "sparkle, count=some, max-affected=x, consistency=best, consistency=bounded=5d, timezone=a b");
    cc_arena_finish(&arena);
}

static void the_echo_has_a_fixed_order(void **state)
{
    (void)state;
    struct cc_arena arena;
    struct rest_preferences preferences;
    const char *values[] = {
        "consistency=bounded=2s, max-affected=3, timezone=Europe/Oslo, handling=strict, tx=rollback, count=exact, "
        "return=headers-only, missing=default, resolution=ignore-duplicates"};
    cc_arena_init(&arena);
    read_headers(&arena, values, 1, &preferences);
    assert_string_equal(rest_prefer_applied(&preferences, &arena),
                        "resolution=ignore-duplicates, missing=default, return=headers-only, count=exact, tx=rollback, "
                        "handling=strict, "
                        "timezone=Europe/Oslo, max-affected=3, consistency=bounded=2000ms");
    assert_string_equal(rest_prefer_applied(&(struct rest_preferences){0}, &arena), "");
    cc_arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_headers_are_read_and_the_first_of_a_kind_wins),
        cmocka_unit_test(what_is_unknown_is_listed),
        cmocka_unit_test(the_echo_has_a_fixed_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
