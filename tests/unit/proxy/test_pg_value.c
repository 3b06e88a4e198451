// Forms of PostgreSQL values: binary arrays and the text of composite rows.
#include "proxy/postgres/pg_value.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void assert_text(struct cc_slice slice, const char *text)
{
    assert_non_null(slice.data);
    assert_true(cc_slice_equal_text(slice, text));
}

static void a_uuid_is_put_as_its_bytes(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0x0b, 0x86, 0, 0, 0, 2, 0, 0, 0, 1, // one dimension, NULLs, uuid, 2, from 1
                                    0, 0, 0, 16, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0xff,
                                    0xff, 0xff, 0xff, 0xff};
    static const char *const wrong[] = {"", "01234567-89ab-cdef-0011-2233445566f", "01234567-89ab-cdef-0011-22334455666ff",
                                        "01234567-89ab-cdef-0011+2233445566ff", "g1234567-89ab-cdef-0011-2233445566ff"};
    struct pg_array array;
    pg_array_init(&array, PG_UUID);
    assert_int_equal(pg_array_put_uuid(&array, cc_slice_text("01234567-89ab-cdef-0011-2233445566ff")), CC_OK);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(pg_array_put_uuid(&array, cc_slice_text(wrong[i])), CC_MALFORMED);
    }
    assert_int_equal(pg_array_put_uuid(&array, (struct cc_slice){0}), CC_OK);
    assert_true(cc_slice_equal(pg_array_slice(&array), cc_slice_of(bytes, sizeof(bytes))));
    pg_array_finish(&array);
}

static void a_row_is_split_into_its_fields(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct cc_slice f[5];
    struct cc_slice row = cc_slice_text("(1,,\"\",\"a \"\"b\"\" \\\\ c, (d)\",{x})");
    assert_int_equal(pg_record_read(row, &arena, f, 5), CC_OK);
    assert_text(f[0], "1");
    assert_null(f[1].data);
    assert_text(f[2], "");
    assert_text(f[3], "a \"b\" \\ c, (d)");
    assert_text(f[4], "{x}");
    assert_int_equal(pg_record_read(cc_slice_text("(x)"), &arena, f, 1), CC_OK);
    assert_text(f[0], "x");
    assert_int_equal(pg_record_read(cc_slice_text("()"), &arena, f, 1), CC_OK);
    assert_null(f[0].data);
    assert_int_equal(pg_record_read(cc_slice_text("()"), &arena, f, 0), CC_OK);
    cc_arena_finish(&arena);
}

static void a_row_of_another_shape_is_refused(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct cc_slice f[3];
    assert_int_equal(pg_record_read(cc_slice_text("(1,2)"), &arena, f, 3), CC_INVALID);
    assert_int_equal(pg_record_read(cc_slice_text("(1,2,3)"), &arena, f, 2), CC_INVALID);
    static const char *const malformed[] = {"", "(", "1,2)", "(1,2", "(1,\"2", "(1,2)x", "(1,\"2\""};
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        assert_int_not_equal(pg_record_read(cc_slice_text(malformed[i]), &arena, f, 2), CC_OK);
    }
    cc_arena_finish(&arena);
}

static void bytea_and_numbers_are_read_strictly(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct cc_slice bytes;
    assert_int_equal(pg_bytea_read(cc_slice_text("\\x00fF5c"), &arena, &bytes), CC_OK);
    assert_int_equal(bytes.n, 3);
    assert_memory_equal(bytes.data, "\x00\xff\x5c", 3);
    assert_int_equal(pg_bytea_read(cc_slice_text("\\x0"), &arena, &bytes), CC_MALFORMED);
    assert_int_equal(pg_bytea_read(cc_slice_text("\\xzz"), &arena, &bytes), CC_MALFORMED);
    assert_int_equal(pg_bytea_read(cc_slice_text("00"), &arena, &bytes), CC_MALFORMED);
    int64_t n = 0;
    assert_int_equal(pg_int8_read(cc_slice_text("-9223372036854775808"), &n), CC_OK);
    assert_true(n == INT64_MIN);
    assert_int_equal(pg_int8_read(cc_slice_text("9223372036854775807"), &n), CC_OK);
    assert_true(n == INT64_MAX);
    static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "0x1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(pg_int8_read(cc_slice_text(bad[i]), &n), CC_MALFORMED);
    }
    cc_arena_finish(&arena);
}

static void an_array_has_the_form_of_array_send(void **state)
{
    (void)state;
    struct pg_array array;
    pg_array_init(&array, PG_TEXT);
    pg_array_put(&array, cc_slice_text("ab"));
    pg_array_put(&array, (struct cc_slice){0});
    pg_array_put(&array, cc_slice_text(""));
    static const uint8_t expected[] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 3, 0, 0, 0, 1,
                                       0, 0, 0, 2, 'a', 'b', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    struct cc_slice bytes = pg_array_slice(&array);
    assert_int_equal(bytes.n, sizeof(expected));
    assert_memory_equal(bytes.data, expected, sizeof(expected));
    pg_array_finish(&array);
}

static void rows_become_a_source_with_one_form_for_one_and_another_for_many(void **state)
{
    (void)state;
    struct pg_array names, numbers;
    pg_array_init(&names, PG_TEXT);
    pg_array_init(&numbers, PG_INT8);
    pg_array_put(&names, cc_slice_text("a"));
    pg_array_put_int8(&numbers, -2);
    struct pg_array *arrays[] = {&names, &numbers};
    struct cc_slice parameters[2];
    uint8_t binary[2];
    struct cc_buffer sql = {0};
    pg_arrays_source(&sql, arrays, 2, parameters, binary);
    assert_string_equal(cc_buffer_text(&sql), "(SELECT $1::text, $2::bigint)");
    assert_text(parameters[0], "a");
    assert_int_equal(parameters[1].n, 8);
    assert_memory_equal(parameters[1].data, "\xff\xff\xff\xff\xff\xff\xff\xfe", 8);
    pg_array_put(&names, (struct cc_slice){0});
    pg_array_put_int8(&numbers, 3);
    cc_buffer_clear(&sql);
    pg_arrays_source(&sql, arrays, 2, parameters, binary);
    assert_string_equal(cc_buffer_text(&sql), "(SELECT unnest($1::text[]), unnest($2::bigint[]))");
    assert_int_equal(binary[0] + binary[1], 2);
    cc_buffer_finish(&sql);
    pg_array_finish(&names);
    pg_array_finish(&numbers);
}

static void one_null_is_null(void **state)
{
    (void)state;
    struct pg_array array;
    pg_array_init(&array, PG_TEXT);
    pg_array_put(&array, (struct cc_slice){0});
    struct pg_array *arrays[] = {&array};
    struct cc_slice parameter;
    uint8_t binary;
    struct cc_buffer sql = {0};
    pg_arrays_source(&sql, arrays, 1, &parameter, &binary);
    assert_null(parameter.data);
    cc_buffer_finish(&sql);
    pg_array_finish(&array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uuid_is_put_as_its_bytes),
        cmocka_unit_test(a_row_is_split_into_its_fields),
        cmocka_unit_test(a_row_of_another_shape_is_refused),
        cmocka_unit_test(bytea_and_numbers_are_read_strictly),
        cmocka_unit_test(an_array_has_the_form_of_array_send),
        cmocka_unit_test(rows_become_a_source_with_one_form_for_one_and_another_for_many),
        cmocka_unit_test(one_null_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
