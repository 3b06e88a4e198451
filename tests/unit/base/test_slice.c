// Slices, buffers and blobs.
#include "base/slice.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static void slices_compare_by_bytes_and_then_by_length(void **state)
{
    (void)state;
    assert_true(cc_slice_compare(cc_slice_text("a"), cc_slice_text("b")) < 0);
    assert_true(cc_slice_compare(cc_slice_text("ab"), cc_slice_text("a")) > 0);
    assert_true(cc_slice_compare(cc_slice_text(""), cc_slice_text("a")) < 0);
    assert_true(cc_slice_compare(cc_slice_text("\xff"), cc_slice_text("a")) > 0);
    assert_int_equal(cc_slice_compare(cc_slice_text("same"), cc_slice_text("same")), 0);
    assert_int_equal(cc_slice_compare(cc_slice_text(NULL), cc_slice_text("")), 0);
}

static void equality_needs_the_same_length(void **state)
{
    (void)state;
    assert_true(cc_slice_equal_text(cc_slice_of("abc", 3), "abc"));
    assert_false(cc_slice_equal_text(cc_slice_of("abc", 2), "abc"));
    assert_true(cc_slice_equal(cc_slice_of("a\0b", 3), cc_slice_of("a\0b", 3)));
    assert_false(cc_slice_equal(cc_slice_of("a\0b", 3), cc_slice_of("a\0c", 3)));
}

static void letters_may_differ_in_case_where_it_does_not_matter(void **state)
{
    (void)state;
    assert_true(cc_slice_equal_fold(cc_slice_text("Content-Type"), "content-TYPE"));
    assert_false(cc_slice_equal_fold(cc_slice_text("content-typ"), "content-type"));
    assert_false(cc_slice_equal_fold(cc_slice_text("content-types"), "content-type"));
    assert_false(cc_slice_equal_fold(cc_slice_text("@"), "`")); // a case apart, were they letters
    assert_true(cc_slice_equal_fold(cc_slice_text(NULL), ""));
    assert_true(cc_slice_starts_with_fold(cc_slice_text("ISO, MDY"), "iso"));
    assert_false(cc_slice_starts_with_fold(cc_slice_text("is"), "iso"));
}

static void a_prefix_is_all_of_it(void **state)
{
    (void)state;
    assert_true(cc_slice_starts_with(cc_slice_text("caucus_guard"), "caucus_"));
    assert_true(cc_slice_starts_with(cc_slice_text("caucus_"), "caucus_"));
    assert_false(cc_slice_starts_with(cc_slice_text("caucus"), "caucus_"));
    assert_false(cc_slice_starts_with(cc_slice_text("Caucus_"), "caucus_"));
    assert_true(cc_slice_starts_with(cc_slice_text(NULL), ""));
}

static void a_number_is_taken_off_the_beginning(void **state)
{
    (void)state;
    struct cc_slice text = cc_slice_text("007:18446744073709551615");
    uint64_t number = 0;
    assert_true(cc_slice_take_number(&text, 7, &number));
    assert_int_equal(number, 7);
    assert_false(cc_slice_take_byte(&text, '.'));
    assert_true(cc_slice_take_byte(&text, ':'));
    assert_true(cc_slice_take_number(&text, UINT64_MAX, &number));
    assert_int_equal(number, UINT64_MAX);
    assert_int_equal(text.n, 0);
    assert_false(cc_slice_take_byte(&text, ':'));
    assert_false(cc_slice_take_number(&text, UINT64_MAX, &number));
}

static void what_is_no_number_or_too_large_a_one_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t max;
    } cases[] = {{"x1", 9}, {"-1", 9}, {" 1", 9}, {"+1", 9}, {"10", 9}, {"5", 4}, {"256", 255}, {"18446744073709551616", UINT64_MAX}, {"99999999999999999999999", UINT64_MAX}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cc_slice text = cc_slice_text(cases[i].text);
        uint64_t number = 41;
        assert_false(cc_slice_take_number(&text, cases[i].max, &number));
        assert_int_equal(number, 41);
        assert_true(cc_slice_equal_text(text, cases[i].text));
    }
}

static void a_zeroed_buffer_is_empty_and_takes_all_kinds_of_content(void **state)
{
    (void)state;
    struct cc_buffer buffer = {0};
    assert_int_equal(cc_buffer_slice(&buffer).n, 0);
    cc_buffer_append(&buffer, NULL, 0);
    cc_buffer_append_text(&buffer, "term=");
    cc_buffer_printf(&buffer, "%d,%s", 7, "index");
    cc_buffer_append_slice(&buffer, cc_slice_of("=41!", 3));
    assert_string_equal(cc_buffer_text(&buffer), "term=7,index=41");
    assert_int_equal(buffer.n, 15);
    cc_buffer_clear(&buffer);
    assert_string_equal(cc_buffer_text(&buffer), "");
    cc_buffer_finish(&buffer);
    assert_null(buffer.data);
    cc_buffer_finish(&buffer);
}

static void a_long_print_is_not_cut(void **state)
{
    (void)state;
    struct cc_buffer buffer = {0};
    cc_buffer_printf(&buffer, "%05000d", 1);
    assert_int_equal(buffer.n, 5000);
    assert_int_equal(buffer.data[4999], '1');
    cc_buffer_finish(&buffer);
}

static void a_blob_lives_until_its_last_reference(void **state)
{
    (void)state;
    struct cc_blob *blob = cc_blob_create("row", 3);
    struct cc_blob *other = cc_blob_ref(blob);
    cc_blob_unref(blob);
    assert_true(cc_slice_equal_text(cc_blob_slice(other), "row"));
    cc_blob_unref(other);
    assert_null(cc_blob_ref(NULL));
    cc_blob_unref(NULL);
    assert_int_equal(cc_blob_slice(NULL).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare_by_bytes_and_then_by_length),
        cmocka_unit_test(equality_needs_the_same_length),
        cmocka_unit_test(letters_may_differ_in_case_where_it_does_not_matter),
        cmocka_unit_test(a_prefix_is_all_of_it),
        cmocka_unit_test(a_number_is_taken_off_the_beginning),
        cmocka_unit_test(what_is_no_number_or_too_large_a_one_changes_nothing),
        cmocka_unit_test(a_zeroed_buffer_is_empty_and_takes_all_kinds_of_content),
        cmocka_unit_test(a_long_print_is_not_cut),
        cmocka_unit_test(a_blob_lives_until_its_last_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
