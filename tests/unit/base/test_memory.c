// Allocation: zeroed, growing, never NULL.
#include "base/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

static void memory_comes_zeroed_and_is_never_null(void **state)
{
    (void)state;
    uint8_t *bytes = cc_alloc(100);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(bytes[i], 0);
    }
    free(bytes);
    void *nothing = cc_alloc_array(0, 16);
    assert_non_null(nothing);
    free(nothing);
}

static void growing_keeps_the_elements_and_doubles(void **state)
{
    (void)state;
    uint32_t *numbers = NULL;
    size_t capacity = 0;
    size_t n_growths = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        size_t before = capacity;
        numbers = cc_grow(numbers, &capacity, (size_t)i + 1, sizeof(*numbers));
        n_growths += capacity != before;
        numbers[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(numbers[i], i);
    }
    assert_true(n_growths < 12);
    free(numbers);
}

static void growing_within_the_capacity_changes_nothing(void **state)
{
    (void)state;
    size_t capacity = 0;
    char *first = cc_grow(NULL, &capacity, 5, 1);
    size_t before = capacity;
    assert_ptr_equal(cc_grow(first, &capacity, before, 1), first);
    assert_int_equal(capacity, before);
    free(first);
}

static void a_path_is_a_directory_and_a_name_with_one_slash_between_them(void **state)
{
    (void)state;
    char *path = cc_path_join("/var/lib/caucus", "log");
    assert_string_equal(path, "/var/lib/caucus/log");
    free(path);
    path = cc_path_join("", "");
    assert_string_equal(path, "/");
    free(path);
}

static void copies_of_text_are_terminated(void **state)
{
    (void)state;
    char *whole = cc_strdup("leader");
    char *part = cc_strndup("leadership", 6);
    char *empty = cc_strndup(NULL, 0);
    assert_string_equal(whole, part);
    assert_string_equal(empty, "");
    free(whole);
    free(part);
    free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_comes_zeroed_and_is_never_null),
        cmocka_unit_test(growing_keeps_the_elements_and_doubles),
        cmocka_unit_test(growing_within_the_capacity_changes_nothing),
        cmocka_unit_test(a_path_is_a_directory_and_a_name_with_one_slash_between_them),
        cmocka_unit_test(copies_of_text_are_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
