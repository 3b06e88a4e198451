// Tests of entity tags and of cross-origin headers.
#include "rest/cors.h"
#include "rest/etag.h"
#include "rest/sha256.h"

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

static void assert_digest(const char *text, size_t n, const char *hex)
{
    uint8_t digest[REST_SHA256_BYTES];
    char got[2 * REST_SHA256_BYTES + 1] = "";
    rest_sha256(cc_slice_of(text, n), digest);
    for (size_t i = 0; i < REST_SHA256_BYTES; i++) {
        static const char digits[] = "0123456789abcdef";
        got[2 * i] = digits[digest[i] >> 4];
        got[2 * i + 1] = digits[digest[i] & 15];
    }
    assert_string_equal(got, hex);
}

// Vectors of FIPS 180-4, and lengths around the padding.
static void sha256_gives_the_standard_digests(void **state)
{
    (void)state;
    char many[1000];
    memset(many, 'a', sizeof(many));
    assert_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    assert_digest(many, 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
    assert_digest(many, 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
    assert_digest(many, 1000, "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3");
}

static void a_row_and_the_array_of_it_have_one_hash_and_two_tags(void **state)
{
    const char *object = rest_etag_of_body(cc_slice_text("{\"id\":1}"), false, *state);
    const char *array = rest_etag_of_body(cc_slice_text("[{\"id\":1}]"), true, *state);
    assert_string_not_equal(object, array);
    assert_memory_equal(object, array, REST_ETAG_HASH_CHARS + 1);
    struct cc_slice of_object = rest_etag_hashes(cc_slice_text(object), *state);
    struct cc_slice of_array = rest_etag_hashes(cc_slice_text(array), *state);
    assert_true(cc_slice_equal(of_object, of_array));
}

static void what_is_no_row_has_no_tag(void **state)
{
    assert_null(rest_etag_of_body(cc_slice_text("[]"), true, *state));
    assert_null(rest_etag_of_body(cc_slice_text("7"), false, *state));
    assert_null(rest_etag_of_body((struct cc_slice){0}, true, *state));
}

static void a_list_has_the_tags_that_it_names(void **state)
{
    (void)state;
    assert_true(rest_etag_listed(cc_slice_text("\"a\", \"b\""), "\"b\"", false));
    assert_false(rest_etag_listed(cc_slice_text("\"a\", \"bc\""), "\"b\"", false));
    assert_false(rest_etag_listed(cc_slice_text("W/\"b\""), "\"b\"", false));
    assert_true(rest_etag_listed(cc_slice_text("W/\"b\""), "\"b\"", true));
    assert_true(rest_etag_listed(cc_slice_text(" * "), NULL, false));
    assert_false(rest_etag_listed(cc_slice_text("b"), "\"b\"", true));
    assert_false(rest_etag_listed(cc_slice_text("\"b"), "\"b\"", true));
}

static void only_hashes_get_into_the_array_literal(void **state)
{
    struct cc_slice hashes = rest_etag_hashes(
        cc_slice_text("\"x},{\", W/\"0123456789abcdef0123456789abcdef\", \"0123456789abcdef0123456789abcdef-a\""), *state);
    assert_true(cc_slice_equal_text(hashes, "{0123456789abcdef0123456789abcdef}"));
}

static const struct rest_header *header_of(const struct rest_reply *reply, const char *name)
{
    for (uint32_t i = 0; i < reply->n_headers; i++) {
        if (cc_slice_equal_text(reply->headers[i].name, name)) {
            return &reply->headers[i];
        }
    }
    return NULL;
}

static struct rest_reply answer_to(const char *origin, const char *origins, struct cc_arena *arena)
{
    struct rest_header header = {cc_slice_text("Origin"), cc_slice_text(origin)};
    struct rest_request request = {.method = cc_slice_text("GET"), .n_headers = origin == NULL ? 0 : 1, .headers = &header};
    struct rest_reply reply = {.status = 200};
    rest_cors_add(&request, origins, arena, &reply);
    return reply;
}

static void pages_of_allowed_origins_only_may_read(void **state)
{
    struct rest_reply any = answer_to("https://a.example", "*", *state);
    assert_true(cc_slice_equal_text(header_of(&any, "Access-Control-Allow-Origin")->value, "*"));
    struct rest_reply listed = answer_to("https://a.example", "https://b.example, https://a.example", *state);
    assert_true(cc_slice_equal_text(header_of(&listed, "Access-Control-Allow-Origin")->value, "https://a.example"));
    assert_non_null(header_of(&listed, "Vary"));
    struct rest_reply other = answer_to("https://a.example.org", "https://a.example", *state);
    assert_null(header_of(&other, "Access-Control-Allow-Origin"));
    assert_non_null(header_of(&other, "Vary"));
    struct rest_reply none = answer_to("https://a.example", "", *state);
    assert_int_equal(none.n_headers, 0);
    struct rest_reply no_page = answer_to(NULL, "*", *state);
    assert_int_equal(no_page.n_headers, 0);
}

static void pages_of_other_origins_may_not_change_anything(void **state)
{
    (void)state;
    struct rest_header headers[] = {{cc_slice_text("Origin"), cc_slice_text("http://a.example:80")},
                                    {cc_slice_text("Host"), cc_slice_text("b.example")}};
    struct rest_request request = {.method = cc_slice_text("POST"), .n_headers = 2, .headers = headers};
    assert_true(rest_cors_permits(&request, "*"));
    assert_true(rest_cors_permits(&request, "http://x, http://a.example:80"));
    assert_false(rest_cors_permits(&request, "http://a.example"));
    assert_false(rest_cors_permits(&request, ""));
    headers[1].value = cc_slice_text("a.example:80");
    assert_true(rest_cors_permits(&request, ""));
    headers[0].value = cc_slice_text("null");
    assert_false(rest_cors_permits(&request, ""));
    request.method = cc_slice_text("GET");
    assert_true(rest_cors_permits(&request, ""));
    request.method = cc_slice_text("POST");
    request.n_headers = 0;
    assert_true(rest_cors_permits(&request, ""));
}

static void preflight_tells_methods_and_headers(void **state)
{
    struct rest_header headers[] = {{cc_slice_text("Origin"), cc_slice_text("https://a.example")},
                                    {cc_slice_text("Access-Control-Request-Method"), cc_slice_text("POST")},
                                    {cc_slice_text("Access-Control-Request-Headers"), cc_slice_text("Foo,Bar")}};
    struct rest_request request = {.method = cc_slice_text("OPTIONS"), .n_headers = 3, .headers = headers};
    struct rest_reply reply;
    assert_true(rest_cors_is_preflight(&request));
    rest_cors_preflight(&request, "*", *state, &reply);
    assert_int_equal(reply.status, 200);
    assert_true(cc_slice_equal_text(header_of(&reply, "Access-Control-Allow-Methods")->value,
                                    "GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD"));
    assert_true(cc_slice_equal_text(header_of(&reply, "Access-Control-Allow-Headers")->value,
                                    "Authorization, Foo,Bar, Accept, Accept-Language, Content-Language"));
    rest_cors_preflight(&request, "https://b.example", *state, &reply);
    assert_null(header_of(&reply, "Access-Control-Allow-Origin"));
    request.n_headers = 1;
    assert_false(rest_cors_is_preflight(&request));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_standard_digests),
        cmocka_unit_test_setup_teardown(a_row_and_the_array_of_it_have_one_hash_and_two_tags, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_row_has_no_tag, setup, teardown),
        cmocka_unit_test(a_list_has_the_tags_that_it_names),
        cmocka_unit_test_setup_teardown(only_hashes_get_into_the_array_literal, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_of_allowed_origins_only_may_read, setup, teardown),
        cmocka_unit_test(pages_of_other_origins_may_not_change_anything),
        cmocka_unit_test_setup_teardown(preflight_tells_methods_and_headers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
