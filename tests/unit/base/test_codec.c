// The codec: what is written is read again; short and malformed input fails and stays failed.
#include "base/codec.h"
#include "base/prng.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static void what_was_put_is_read_again(void **state)
{
    (void)state;
    struct cc_buffer out = {0};
    cc_put_u8(&out, 0xfe);
    cc_put_u16(&out, 0xfedc);
    cc_put_u32(&out, 0xfedcba98);
    cc_put_u64(&out, UINT64_C(0xfedcba9876543210));
    cc_put_varint(&out, 300);
    cc_put_string(&out, cc_slice_text("text"));
    cc_put_nullable(&out, cc_slice_text(NULL));
    cc_put_nullable(&out, cc_slice_text(""));
    cc_put_nullable(&out, cc_slice_text("x"));
    cc_put_bytes(&out, cc_slice_text("raw"));

    struct cc_reader reader = cc_reader_of(cc_buffer_slice(&out));
    assert_int_equal(cc_read_u8(&reader), 0xfe);
    assert_int_equal(cc_read_u16(&reader), 0xfedc);
    assert_int_equal(cc_read_u32(&reader), 0xfedcba98);
    assert_true(cc_read_u64(&reader) == UINT64_C(0xfedcba9876543210));
    assert_int_equal(cc_read_varint(&reader), 300);
    assert_true(cc_slice_equal_text(cc_read_string(&reader), "text"));
    assert_null(cc_read_nullable(&reader).data);
    struct cc_slice empty = cc_read_nullable(&reader);
    assert_non_null(empty.data);
    assert_int_equal(empty.n, 0);
    assert_true(cc_slice_equal_text(cc_read_nullable(&reader), "x"));
    assert_true(cc_slice_equal_text(cc_read_bytes(&reader, 3), "raw"));
    assert_int_equal(cc_reader_end(&reader), CC_OK);
    cc_buffer_finish(&out);
}

static void numbers_are_little_endian(void **state)
{
    (void)state;
    struct cc_buffer out = {0};
    cc_put_u32(&out, 0x01020304);
    assert_memory_equal(out.data, "\x04\x03\x02\x01", 4);
    cc_buffer_finish(&out);
}

static void every_varint_comes_back(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 1);
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t value = cc_prng_next(&prng);
        value >>= cc_prng_below(&prng, 64);
        value = i == 0 ? UINT64_MAX : i == 1 ? 0 : value;
        struct cc_buffer out = {0};
        cc_put_varint(&out, value);
        struct cc_reader reader = cc_reader_of(cc_buffer_slice(&out));
        assert_true(cc_read_varint(&reader) == value);
        assert_int_equal(cc_reader_end(&reader), CC_OK);
        cc_buffer_finish(&out);
    }
}

static void expect_bad_varint(const char *bytes, size_t n)
{
    struct cc_reader reader = cc_reader_of(cc_slice_of(bytes, n));
    assert_int_equal(cc_read_varint(&reader), 0);
    assert_false(cc_reader_ok(&reader));
}

static void a_varint_that_is_padded_too_long_or_cut_fails(void **state)
{
    (void)state;
    expect_bad_varint("\x80\x00", 2);
    expect_bad_varint("\xff", 1);
    expect_bad_varint("", 0);
    expect_bad_varint("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
    expect_bad_varint("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01", 11);
}

static void a_short_read_yields_zero_and_stays_failed(void **state)
{
    (void)state;
    struct cc_reader reader = cc_reader_of(cc_slice_of("abc", 3));
    assert_int_equal(cc_read_u32(&reader), 0);
    assert_int_equal(cc_read_u8(&reader), 0);
    assert_null(cc_read_bytes(&reader, 0).data);
    assert_false(cc_reader_ok(&reader));
    assert_int_equal(cc_reader_end(&reader), CC_MALFORMED);
}

static void a_length_beyond_the_end_fails_before_anything_is_taken(void **state)
{
    (void)state;
    struct cc_reader reader = cc_reader_of(cc_slice_of("\x05"
                                                       "abc",
                                                       4));
    assert_int_equal(cc_read_string(&reader).n, 0);
    assert_int_equal(cc_reader_end(&reader), CC_MALFORMED);
    struct cc_reader huge = cc_reader_of(cc_slice_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                                                     "abc",
                                                     13));
    assert_int_equal(cc_read_string(&huge).n, 0);
    assert_false(cc_reader_ok(&huge));
}

static void a_count_above_its_maximum_fails(void **state)
{
    (void)state;
    struct cc_reader reader = cc_reader_of(cc_slice_of("\x0a\x0b", 2));
    assert_int_equal(cc_read_count(&reader, 10), 10);
    assert_int_equal(cc_read_count(&reader, 10), 0);
    assert_false(cc_reader_ok(&reader));
}

static void bytes_left_over_are_malformed(void **state)
{
    (void)state;
    struct cc_reader reader = cc_reader_of(cc_slice_of("ab", 2));
    cc_read_u8(&reader);
    assert_int_equal(cc_reader_left(&reader), 1);
    assert_true(cc_reader_ok(&reader));
    assert_int_equal(cc_reader_end(&reader), CC_MALFORMED);
}

static void the_empty_input_reads_as_its_end(void **state)
{
    (void)state;
    struct cc_reader reader = cc_reader_of((struct cc_slice){0});
    assert_int_equal(cc_reader_end(&reader), CC_OK);
    assert_int_equal(cc_read_u8(&reader), 0);
    assert_false(cc_reader_ok(&reader));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_read_again),
        cmocka_unit_test(numbers_are_little_endian),
        cmocka_unit_test(every_varint_comes_back),
        cmocka_unit_test(a_varint_that_is_padded_too_long_or_cut_fails),
        cmocka_unit_test(a_short_read_yields_zero_and_stays_failed),
        cmocka_unit_test(a_length_beyond_the_end_fails_before_anything_is_taken),
        cmocka_unit_test(a_count_above_its_maximum_fails),
        cmocka_unit_test(bytes_left_over_are_malformed),
        cmocka_unit_test(the_empty_input_reads_as_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
