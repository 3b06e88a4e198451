// Tests of the strict JSON scanner.
#include "rest/json_rows.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum cc_status scan(const char *text, size_t n, struct cc_arena *arena, struct rest_json *json)
{
    const char *reason = NULL;
    enum cc_status status = rest_json_scan(cc_slice_of(text, n), arena, json, &reason);
    assert_true((status == CC_OK) == (reason == NULL));
    return status;
}

static enum cc_status verdict(const char *text, size_t n)
{
    struct cc_arena arena;
    struct rest_json json;
    cc_arena_init(&arena);
    enum cc_status status = scan(text, n, &arena, &json);
    cc_arena_finish(&arena);
    return status;
}

static void accepts(const char *text)
{
    if (verdict(text, strlen(text)) != CC_OK) {
        fail_msg("refused: %s", text);
    }
}

static void refuses(const char *text)
{
    if (verdict(text, strlen(text)) == CC_OK) {
        fail_msg("accepted: %s", text);
    }
}

static void valid_texts_are_accepted(void **state)
{
    (void)state;
    const char *texts[] = {"{}",
                           "[]",
                           " [ ] ",
                           "0",
                           "-0",
                           "-0.1e+5",
                           "1E9",
                           "\"\"",
                           "\"\\u00e9\\ud83d\\ude00\\/\\b\"",
                           "null",
                           "true",
                           "false",
                           "{\"a\":{\"a\":1},\"b\":[{\"a\":2},{\"a\":3}]}",
                           "[1,[2,[3]],{}]",
                           "\t\r\n 1 \n",
                           "\"\xf0\x9f\x98\x80\"",
                           "123456789012345678901234567890.5"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        accepts(texts[i]);
    }
}

static void malformed_texts_are_refused(void **state)
{
    (void)state;
    const char *texts[] = {"",
                           " ",
                           "{",
                           "[",
                           "[1",
                           "[1,",
                           "[1,]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{'a':1}",
                           "{1:1}",
                           "[,1]",
                           "[1 2]",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "-",
                           "1e",
                           "1e+",
                           "0x10",
                           "NaN",
                           "Infinity",
                           "nul",
                           "truex",
                           "tru",
                           "\"",
                           "\"\\",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u12g4\"",
                           "\"\t\"",
                           "\"\n\"",
                           "1 2",
                           "{} {}",
                           "[}",
                           "{]",
                           "]",
                           "}",
                           ",",
                           ":",
                           "\xef\xbb\xbf{}",
                           "[1]x",
                           "// c\n1",
                           "[1/**/]"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        refuses(texts[i]);
    }
}

static void bytes_that_postgresql_cannot_hold_are_refused(void **state)
{
    (void)state;
    refuses("\"\\u0000\"");
    refuses("\"\\ud800\"");
    refuses("\"\\udc00\"");
    refuses("\"\\ud800\\u0041\"");
    refuses("\"\\ud800x\"");
    refuses("\"\x80\"");
    refuses("\"\xc0\xaf\"");
    refuses("\"\xed\xa0\x80\"");
    refuses("\"\xf4\x90\x80\x80\"");
    refuses("\"\xe2\x82\"");
    assert_int_not_equal(verdict("\"a\0b\"", 5), CC_OK);
    assert_int_not_equal(verdict("1\0", 2), CC_OK);
}

static void duplicate_keys_are_refused_at_any_depth_and_however_written(void **state)
{
    (void)state;
    refuses("{\"a\":1,\"a\":2}");
    refuses("[{\"x\":{\"a\":1,\"b\":2,\"a\":2}}]");
    refuses("{\"a\":1,\"\\u0061\":2}");
    refuses("{\"\":1,\"\":2}");
    accepts("{\"a\":1,\"A\":2}");
    accepts("[{\"a\":1},{\"a\":2}]");
    accepts("{\"a\":{\"a\":{\"a\":1}}}");
}

static void many_keys_cost_no_more_than_sorting_them(void **state)
{
    (void)state;
    enum { KEYS = 100000 };
    char *text = malloc(KEYS * 16);
    size_t n = 0;
    text[n++] = '{';
    for (int i = 0; i < KEYS; i++) {
        n += (size_t)sprintf(text + n, "%s\"k%d\":1", i == 0 ? "" : ",", i);
    }
    text[n++] = '}';
    assert_int_equal(verdict(text, n), CC_OK);
    memcpy(text + n - 1, ",\"k77\":1}", 9);
    assert_int_equal(verdict(text, n + 8), CC_REFUSED);
    free(text);
}

static enum cc_status nested(size_t depth)
{
    char *text = malloc(2 * depth + 1);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    enum cc_status status = verdict(text, 2 * depth);
    free(text);
    return status;
}

static void depth_is_bounded_without_recursion(void **state)
{
    (void)state;
    assert_int_equal(nested(CC_JSON_DEPTH_MAX), CC_OK);
    assert_int_equal(nested(CC_JSON_DEPTH_MAX + 1), CC_TOO_LARGE);
    assert_int_equal(nested(1000000), CC_TOO_LARGE);
}

static void the_top_level_is_told(void **state)
{
    (void)state;
    struct cc_arena arena;
    struct rest_json json;
    cc_arena_init(&arena);
    const char *text = "{\"a\": 1.50, \"b\\u0062\": \"x\\ny\", \"c\": [1, {\"d\": 2}], \"e\": null}";
    assert_int_equal(scan(text, strlen(text), &arena, &json), CC_OK);
    assert_int_equal(json.n_members, 4);
    assert_true(cc_slice_equal_text(json.members[0].value.raw, "1.50"));
    assert_true(cc_slice_equal_text(json.members[1].key, "bb"));
    assert_true(cc_slice_equal_text(rest_json_text(&json.members[1].value, &arena), "x\ny"));
    assert_true(cc_slice_equal_text(json.members[2].value.raw, "[1, {\"d\": 2}]"));
    assert_null(rest_json_text(&json.members[3].value, &arena).data);
    cc_arena_finish(&arena);
}

static void rows_are_uniform_when_their_keys_are_the_same_in_any_order(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t n;
        bool objects_only, uniform;
    } cases[] = {
        {"[]", 0, true, true},
        {"[{\"a\":1,\"b\":2},{\"b\":1,\"a\":2}]", 2, true, true},
        {"[{\"a\":1},{\"b\":1}]", 2, true, false},
        {"[{\"a\":1},{\"a\":1,\"b\":1}]", 2, true, false},
        {"[{\"a\":{\"x\":1}},{\"a\":{\"y\":1}}]", 2, true, true},
        {"[{\"a\":1},2]", 2, false, true},
        {"[{},{}]", 2, true, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cc_arena arena;
        struct rest_json json;
        cc_arena_init(&arena);
        assert_int_equal(scan(cases[i].text, strlen(cases[i].text), &arena, &json), CC_OK);
        assert_int_equal(json.n_elements, cases[i].n);
        assert_int_equal(json.objects_only, cases[i].objects_only);
        assert_int_equal(json.uniform, cases[i].uniform);
        cc_arena_finish(&arena);
    }
}

static void elements_of_an_array_can_be_listed(void **state)
{
    (void)state;
    struct cc_arena arena;
    struct rest_json json;
    uint32_t n = 0;
    struct rest_json_value *values = NULL;
    cc_arena_init(&arena);
    const char *text = "[ 1 , \"a]\" ,[2,3] , {\"x\":[]} ]";
    assert_int_equal(scan(text, strlen(text), &arena, &json), CC_OK);
    rest_json_elements(&json.value, &arena, &n, &values);
    assert_int_equal(n, 4);
    assert_true(cc_slice_equal_text(values[1].raw, "\"a]\""));
    assert_true(cc_slice_equal_text(values[3].raw, "{\"x\":[]}"));
    cc_arena_finish(&arena);
}

static void rows_are_values_in_the_order_of_the_names(void **state)
{
    (void)state;
    static const char text[] = "[ {\"a\" : 1, \"b\":\"x,}]\"}, {\"c\":true,\"b\":null ,\"\\u0061\":\"q\\\"\\\\\"},{}\n,{\"b\":-1.5e3}]";
    static const char *const names[] = {"b", "a"};
    static const char *const expected[] = {"\"x,}]\"", "1", "null", "\"q\\\"\\\\\"", "", "", "-1.5e3", ""};
    static const enum rest_json_kind kinds[] = {REST_JSON_STRING, REST_JSON_NUMBER, REST_JSON_NULL, REST_JSON_STRING,
                                                REST_JSON_NULL,   REST_JSON_NULL,   REST_JSON_NUMBER, REST_JSON_NULL};
    struct cc_arena arena;
    struct rest_json json;
    cc_arena_init(&arena);
    assert_int_equal(scan(text, strlen(text), &arena, &json), CC_OK);
    struct rest_json_value values[8];
    assert_true(rest_json_rows(json.value.raw, names, 2, json.n_elements, &arena, values));
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(values[i].kind, kinds[i]);
        assert_true(cc_slice_equal_text(values[i].raw, expected[i]));
    }
    assert_false(rest_json_rows(cc_slice_text("[{\"a\":1},{\"a\":[2]}]"), names, 2, 2, &arena, values));
    assert_false(rest_json_rows(cc_slice_text("[{\"c\":{}},{\"a\":2}]"), names, 2, 2, &arena, values));
    cc_arena_finish(&arena);
}

static void strings_are_written_so_that_they_read_back(void **state)
{
    (void)state;
    struct cc_buffer out = {0};
    rest_json_put_string(&out, cc_slice_of("a\"\\\n\x01\xc3\xa9\xff", 8));
    assert_true(cc_slice_equal_text(cc_buffer_slice(&out), "\"a\\\"\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd\""));
    cc_buffer_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts_are_accepted),
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(bytes_that_postgresql_cannot_hold_are_refused),
        cmocka_unit_test(duplicate_keys_are_refused_at_any_depth_and_however_written),
        cmocka_unit_test(many_keys_cost_no_more_than_sorting_them),
        cmocka_unit_test(depth_is_bounded_without_recursion),
        cmocka_unit_test(the_top_level_is_told),
        cmocka_unit_test(rows_are_uniform_when_their_keys_are_the_same_in_any_order),
        cmocka_unit_test(elements_of_an_array_can_be_listed),
        cmocka_unit_test(rows_are_values_in_the_order_of_the_names),
        cmocka_unit_test(strings_are_written_so_that_they_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
