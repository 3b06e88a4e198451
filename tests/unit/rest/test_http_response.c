// Answers on the wire.
#include "rest/http_response.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static const char date[] = "Sat, 21 Nov 2026 22:40:08 GMT";

static void dates_have_the_form_of_the_standard(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},          {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},  {1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"},
        {1709251200, "Fri, 01 Mar 2024 00:00:00 GMT"}, {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"}, {-5, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[30];
        http_date(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void the_head_has_length_date_and_the_given_headers(void **state)
{
    (void)state;
    struct rest_header header = {cc_slice_text("Content-Type"), cc_slice_text("application/json")};
    struct http_response response = {.status = 200, .headers = &header, .n_headers = 1, .body = cc_slice_text("[1]")};
    struct cc_buffer out = {0};
    assert_int_equal(http_response_put_head(&out, &response, HTTP_GET, date), CC_OK);
    assert_string_equal(cc_buffer_text(&out),
                        "HTTP/1.1 200 OK\r\nServer: caucus\r\nDate: Sat, 21 Nov 2026 22:40:08 GMT\r\n"
                        "X-Content-Type-Options: nosniff\r\nContent-Type: application/json\r\n"
                        "Content-Length: 3\r\n\r\n");
    cc_buffer_finish(&out);
}

static void the_length_is_left_out_where_there_can_be_no_body(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        enum http_method method;
        bool has_length;
    } cases[] = {
        {200, HTTP_HEAD, false}, {204, HTTP_PATCH, false}, {304, HTTP_GET, false},
        {201, HTTP_POST, true},  {404, HTTP_GET, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_response response = {.status = cases[i].status, .close = true};
        struct cc_buffer out = {0};
        assert_int_equal(http_response_put_head(&out, &response, cases[i].method, date), CC_OK);
        assert_int_equal(strstr(cc_buffer_text(&out), "Content-Length: 0\r\n") != NULL, cases[i].has_length);
        assert_non_null(strstr(cc_buffer_text(&out), "Connection: close\r\n"));
        cc_buffer_finish(&out);
    }
}

static void headers_that_would_break_the_framing_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct cc_slice value;
    } cases[] = {
        {"Location", {(const uint8_t *)"/t?a=eq.1\r\nSet-Cookie: x", 24}},
        {"Location", {(const uint8_t *)"a\nb", 3}},
        {"Location", {(const uint8_t *)"a\rb", 3}},
        {"Location", {(const uint8_t *)"a\0b", 3}},
        {"A\r\nB", {(const uint8_t *)"x", 1}},
        {"A:B", {(const uint8_t *)"x", 1}},
        {"A B", {(const uint8_t *)"x", 1}},
        {"", {(const uint8_t *)"x", 1}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rest_header header = {cc_slice_text(cases[i].name), cases[i].value};
        struct http_response response = {.status = 200, .headers = &header, .n_headers = 1};
        struct cc_buffer out = {0};
        assert_int_equal(http_response_put_head(&out, &response, HTTP_GET, date), CC_INVALID);
        assert_int_equal(out.n, 0);
        cc_buffer_finish(&out);
    }
}

static void a_refusal_says_why_and_ends_the_connection(void **state)
{
    (void)state;
    struct cc_buffer out = {0};
    http_refusal_put(&out, HTTP_UNKNOWN_METHOD, date);
    const char *text = cc_buffer_text(&out);
    assert_non_null(strstr(text, "HTTP/1.1 405 Method Not Allowed\r\n"));
    assert_non_null(strstr(text, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"));
    assert_non_null(strstr(text, "Connection: close\r\n"));
    assert_non_null(strstr(text, "\r\n\r\n{\"code\":\"PGRST117\",\"message\":\"Unsupported"));
    cc_buffer_clear(&out);
    http_refusal_put(&out, HTTP_TOO_MANY_CONNECTIONS, date);
    assert_non_null(strstr(cc_buffer_text(&out), "Retry-After: 1\r\n"));
    cc_buffer_finish(&out);
}

static void every_refusal_has_a_named_status(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HTTP_REFUSAL_COUNT; i++) {
        assert_string_not_equal(http_status_text(http_refusal_status((enum http_refusal)i)), "Unknown");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_have_the_form_of_the_standard),
        cmocka_unit_test(the_head_has_length_date_and_the_given_headers),
        cmocka_unit_test(the_length_is_left_out_where_there_can_be_no_body),
        cmocka_unit_test(headers_that_would_break_the_framing_are_refused),
        cmocka_unit_test(a_refusal_says_why_and_ends_the_connection),
        cmocka_unit_test(every_refusal_has_a_named_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
