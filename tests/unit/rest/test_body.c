// Tests of bodies that are not JSON.
#include "rest/body.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state)
{
    static struct cc_arena arena;
    cc_arena_init(&arena);
    *state = &arena;
    return 0;
}

static int teardown(void **state)
{
    cc_arena_finish(*state);
    return 0;
}

static void assert_csv(void *arena, const char *text, const char *json)
{
    struct cc_slice got;
    const char *reason = NULL;
    assert_int_equal(rest_body_of_csv(cc_slice_text(text), arena, &got, &reason), CC_OK);
    assert_string_equal((const char *)got.data, json);
}

static void csv_fields_are_strings_and_the_word_null_is_null(void **state)
{
    assert_csv(*state, "a,b\n1,NULL\n,x", "[{\"a\":\"1\",\"b\":null},{\"a\":\"\",\"b\":\"x\"}]");
}

static void csv_quotes_keep_commas_quotes_and_line_ends(void **state)
{
    assert_csv(*state, "\"a b\"\r\n\"1,\n\"\"2\"\"\"\r\n", "[{\"a b\":\"1,\\n\\\"2\\\"\"}]");
}

static void csv_of_a_header_alone_has_no_rows(void **state)
{
    assert_csv(*state, "a,b\n", "[]");
    assert_csv(*state, "\n\na,b\n\n\n", "[]");
}

static void malformed_csv_is_refused_with_a_reason(void **state)
{
    const char *const texts[] = {"", "\n", "a,b\n1", "a\n\"x", "a\n\"x\"y", "a\n1,2"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct cc_slice got;
        const char *reason = NULL;
        assert_int_equal(rest_body_of_csv(cc_slice_text(texts[i]), *state, &got, &reason), CC_MALFORMED);
        assert_non_null(reason);
    }
}

static void of_a_repeated_form_field_the_last_value_counts(void **state)
{
    struct cc_slice got;
    const char *reason = NULL;
    assert_int_equal(rest_body_of_form(cc_slice_text("a=1&b=x+y%21&&a=2&c"), *state, &got, &reason), CC_OK);
    assert_string_equal((const char *)got.data, "{\"b\":\"x y!\",\"a\":\"2\",\"c\":\"\"}");
    assert_int_equal(rest_body_of_form(cc_slice_text("a=%ff"), *state, &got, &reason), CC_MALFORMED);
}

// A megabyte of text, and what it would become.
static void csv_that_would_be_huge_as_json_is_refused(void **state)
{
    enum { N = 1 << 20 };
    static char text[N + 1];
    memset(text, 'n', N / 2); // the name, which every row repeats
    for (size_t i = N / 2; i < N; i++) {
        text[i] = i % 2 == 0 ? '\n' : '1';
    }
    struct cc_slice got;
    const char *reason = NULL;
    assert_int_equal(rest_body_of_csv(cc_slice_of(text, N), *state, &got, &reason), CC_MALFORMED);
    assert_string_equal(reason, "the rows are too large as JSON");
    memset(text, ',', N);
    assert_int_equal(rest_body_of_csv(cc_slice_of(text, N), *state, &got, &reason), CC_MALFORMED);
    assert_string_equal(reason, "a line has too many fields");
}

static void a_form_has_as_many_fields_as_a_row_at_most(void **state)
{
    enum { MAX = 1664 };
    static char text[2 * (MAX + 1) + 1];
    struct cc_slice got;
    const char *reason = NULL;
    for (size_t i = 0; i <= MAX; i++) {
        text[2 * i] = 'a';
        text[2 * i + 1] = '&';
    }
    assert_int_equal(rest_body_of_form(cc_slice_of(text, (size_t)2 * MAX), *state, &got, &reason), CC_OK);
    assert_int_equal(rest_body_of_form(cc_slice_of(text, (size_t)2 * (MAX + 1)), *state, &got, &reason), CC_MALFORMED);
    assert_string_equal(reason, "too many fields");
}

static void types_are_known_in_any_case_and_with_parameters(void **state)
{
    (void)state;
    assert_int_equal(rest_body_type((struct cc_slice){0}), REST_BODY_JSON);
    assert_int_equal(rest_body_type(cc_slice_text("Application/JSON; charset=utf-8")), REST_BODY_JSON);
    assert_int_equal(rest_body_type(cc_slice_text("text/csv ;header=present")), REST_BODY_CSV);
    assert_int_equal(rest_body_type(cc_slice_text("multipart/form-data; boundary=x")), REST_BODY_OTHER);
}

static void bytes_become_hex(void **state)
{
    struct cc_slice got = rest_body_of_bytes(cc_slice_of("\0\xff", 2), *state);
    assert_true(cc_slice_equal_text(got, "\\x00ff"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(csv_fields_are_strings_and_the_word_null_is_null, setup, teardown),
        cmocka_unit_test_setup_teardown(csv_quotes_keep_commas_quotes_and_line_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(csv_of_a_header_alone_has_no_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_csv_is_refused_with_a_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(of_a_repeated_form_field_the_last_value_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(csv_that_would_be_huge_as_json_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_form_has_as_many_fields_as_a_row_at_most, setup, teardown),
        cmocka_unit_test_setup_teardown(types_are_known_in_any_case_and_with_parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_become_hex, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
