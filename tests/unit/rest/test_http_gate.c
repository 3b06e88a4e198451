// The request gate: what it takes apart, what it refuses, and that the pieces in which bytes arrive do not matter.
#include "rest/http_gate.h"

#include "base/prng.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST "Host: a\r\n"

struct probe {
    const char *name;
    const char *bytes;
    enum http_refusal refusal;
};

// Each would be accepted, or read differently, by some other server (FAILURES J1 and the smuggling corpora).
static const struct probe refused_requests[] = {
    {"two different lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
     HTTP_REPEATED_HEADER},
    {"two equal lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
     HTTP_REPEATED_HEADER},
    {"a list of lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\nhello", HTTP_BAD_LENGTH},
    {"length with a plus", "POST / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello", HTTP_BAD_LENGTH},
    {"length with a minus", "POST / HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\nhello", HTTP_BAD_LENGTH},
    {"hexadecimal length", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\nhello", HTTP_BAD_LENGTH},
    {"length with letters", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5abc\r\n\r\nhello", HTTP_BAD_LENGTH},
    {"length with a blank inside", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\nhello", HTTP_BAD_LENGTH},
    {"empty length", "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", HTTP_BAD_LENGTH},
    {"length beyond 64 bits", "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551621\r\n\r\nhello",
     HTTP_BODY_TOO_LARGE},
    {"length of 17 GB", "POST / HTTP/1.1\r\n" HOST "Content-Length: 17179869184\r\n\r\n", HTTP_BODY_TOO_LARGE},
    {"length and encoding",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", HTTP_TWO_FRAMINGS},
    {"encoding and length",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", HTTP_TWO_FRAMINGS},
    {"two encodings",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     HTTP_REPEATED_HEADER},
    {"encoding identity, then chunked",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     HTTP_REPEATED_HEADER},
    {"encoding xchunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
     HTTP_BAD_TRANSFER_ENCODING},
    {"encoding gzip, chunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
     HTTP_BAD_TRANSFER_ENCODING},
    {"encoding chunked, identity", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
     HTTP_BAD_TRANSFER_ENCODING},
    {"encoding identity", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", HTTP_BAD_TRANSFER_ENCODING},
    {"encoding in quotes", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
     HTTP_BAD_TRANSFER_ENCODING},
    {"encoding after a vertical tab", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n",
     HTTP_BAD_HEADER_VALUE},
    {"encoding empty", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", HTTP_BAD_TRANSFER_ENCODING},
    {"blank before the colon", "POST / HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nhello", HTTP_BAD_HEADER_NAME},
    {"tab before the colon", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
     HTTP_BAD_HEADER_NAME},
    {"header without a colon", "GET / HTTP/1.1\r\n" HOST "Nothing\r\n\r\n", HTTP_BAD_HEADER_NAME},
    {"empty header name", "GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n", HTTP_BAD_HEADER_NAME},
    {"header name with a bracket", "GET / HTTP/1.1\r\n" HOST "X(Y): x\r\n\r\n", HTTP_BAD_HEADER_NAME},
    {"header name with UTF-8", "GET / HTTP/1.1\r\n" HOST "X\xc3\xa4: x\r\n\r\n", HTTP_BAD_HEADER_NAME},
    {"continued header", "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", HTTP_FOLDED_HEADER},
    {"continuation before the first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", HTTP_FOLDED_HEADER},
    {"no host", "GET / HTTP/1.1\r\n\r\n", HTTP_BAD_HOST},
    {"two hosts", "GET / HTTP/1.1\r\n" HOST "Host: b\r\n\r\n", HTTP_BAD_HOST},
    {"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", HTTP_BAD_HOST},
    {"host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HTTP_BAD_HOST},
    {"host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", HTTP_BAD_HOST},
    {"host list", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", HTTP_BAD_HOST},
    {"bare line feed after the request line", "GET / HTTP/1.1\nHost: a\n\n", HTTP_BAD_LINE_END},
    {"bare line feed after a header", "GET / HTTP/1.1\r\nHost: a\n\r\n", HTTP_BAD_LINE_END},
    {"bare line feed at the end of the head", "GET / HTTP/1.1\r\n" HOST "\n", HTTP_BAD_LINE_END},
    {"bare carriage return in a value", "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", HTTP_BAD_LINE_END},
    {"bare carriage return after the head", "GET / HTTP/1.1\r\n" HOST "\rX", HTTP_BAD_LINE_END},
    {"escape character in a value", "GET / HTTP/1.1\r\n" HOST "X: a\x1b[0m\r\n\r\n", HTTP_BAD_HEADER_VALUE},
    {"delete character in a value", "GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n", HTTP_BAD_HEADER_VALUE},
    {"unknown method", "BREW / HTTP/1.1\r\n" HOST "\r\n", HTTP_UNKNOWN_METHOD},
    {"lower-case method", "get / HTTP/1.1\r\n" HOST "\r\n", HTTP_UNKNOWN_METHOD},
    {"method TRACE", "TRACE / HTTP/1.1\r\n" HOST "\r\n", HTTP_UNKNOWN_METHOD},
    {"method CONNECT", "CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n", HTTP_UNKNOWN_METHOD},
    {"method prefix", "GE / HTTP/1.1\r\n" HOST "\r\n", HTTP_UNKNOWN_METHOD},
    {"method with a bracket", "G(T / HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"no method", " / HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"very long method", "GETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"empty first line", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"TLS hello", "\x16\x03\x01\x02", HTTP_BAD_REQUEST_LINE},
    {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_UNKNOWN_METHOD},
    {"two blanks after the method", "GET  / HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_TARGET},
    {"two blanks after the target", "GET /  HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"blank after the version", "GET / HTTP/1.1 \r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"tab instead of a blank", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"blank in the target", "GET /a b HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"HTTP/0.9", "GET /\r\n", HTTP_BAD_REQUEST_LINE},
    {"HTTP/1.0", "GET / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n", HTTP_BAD_VERSION},
    {"HTTP/1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", HTTP_BAD_VERSION},
    {"HTTP/2.0", "GET / HTTP/2.0\r\n" HOST "\r\n", HTTP_BAD_VERSION},
    {"HTTP/1.10", "GET / HTTP/1.10\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"lower-case version", "GET / http/1.1\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"other protocol", "GET / RTSP/1.0\r\n" HOST "\r\n", HTTP_BAD_REQUEST_LINE},
    {"absolute target", "GET http://b/ HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_TARGET},
    {"asterisk target", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_TARGET},
    {"empty target", "GET  HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_TARGET},
    {"fragment", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_TARGET},
    {"control character in the target", "GET /a\x01 HTTP/1.1\r\n" HOST "\r\n", HTTP_BAD_TARGET},
    {"encoded NUL", "GET /a%00b HTTP/1.1\r\n" HOST "\r\n", HTTP_NUL_IN_TARGET},
    {"encoded NUL in the query", "GET /a?b=eq.%00 HTTP/1.1\r\n" HOST "\r\n", HTTP_NUL_IN_TARGET},
    {"chunk size 0x5", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
     HTTP_BAD_CHUNK},
    {"chunk size +5", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
     HTTP_BAD_CHUNK},
    {"chunk size with a blank", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
     HTTP_BAD_CHUNK},
    {"empty chunk size", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
     HTTP_BAD_CHUNK},
    {"chunk size of 9 digits",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n000000005\r\nhello\r\n0\r\n\r\n", HTTP_BAD_CHUNK},
    {"chunk of 4 GB", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", HTTP_BODY_TOO_LARGE},
    {"chunk extension", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
     HTTP_BAD_CHUNK},
    {"chunk size with a bare line feed",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", HTTP_BAD_CHUNK},
    {"chunk longer than its size",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", HTTP_BAD_CHUNK},
    {"chunk without line end", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
     HTTP_BAD_CHUNK},
    {"trailer", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", HTTP_TRAILER},
    {"bare line feed after the last chunk", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\n",
     HTTP_TRAILER},
    {"carriage return without line feed at the very end",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\rX", HTTP_BAD_CHUNK},
    {"unknown expectation", "POST / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx",
     HTTP_BAD_EXPECTATION},
    {"two authorizations", "GET / HTTP/1.1\r\n" HOST "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
     HTTP_REPEATED_HEADER},
    {"two idempotency keys", "POST / HTTP/1.1\r\n" HOST "Idempotency-Key: a\r\nidempotency-key: b\r\n\r\n",
     HTTP_REPEATED_HEADER},
};

struct verdict {
    enum http_verdict kind;
    enum http_refusal refusal;
    size_t n_taken;
};

// Feeds the bytes in pieces of random length (0: all at once) until the gate stops.
static struct verdict feed(struct http_gate *gate, const char *bytes, size_t n, struct cc_prng *random,
                           size_t piece_max)
{
    struct verdict verdict = {.kind = HTTP_MORE};
    while (verdict.n_taken < n && verdict.kind == HTTP_MORE) {
        size_t n_left = n - verdict.n_taken;
        size_t piece = piece_max == 0 ? n_left : 1 + cc_prng_below(random, piece_max);
        if (piece > n_left) {
            piece = n_left;
        }
        size_t n_taken;
        verdict.kind = http_gate_feed(gate, bytes + verdict.n_taken, piece, &n_taken);
        verdict.n_taken += n_taken;
        if (verdict.kind == HTTP_MORE) {
            assert_int_equal(n_taken, piece);
        }
    }
    if (verdict.kind == HTTP_REFUSED) {
        verdict.refusal = http_gate_refusal(gate);
    }
    return verdict;
}

static struct http_gate *gate_default(void)
{
    struct http_limits limits = http_limits_default();
    return http_gate_create(&limits);
}

static void ambiguous_requests_are_refused_in_whatever_pieces_they_arrive(void **state)
{
    (void)state;
    struct cc_prng random;
    cc_prng_seed(&random, 7);
    for (size_t i = 0; i < sizeof(refused_requests) / sizeof(refused_requests[0]); i++) {
        const struct probe *probe = &refused_requests[i];
        for (size_t piece_max = 0; piece_max < 9; piece_max++) {
            struct http_gate *gate = gate_default();
            struct verdict verdict = feed(gate, probe->bytes, strlen(probe->bytes), &random, piece_max);
            if (verdict.kind != HTTP_REFUSED || verdict.refusal != probe->refusal) {
                fail_msg("%s: verdict %d, refusal %s, expected %s", probe->name, (int)verdict.kind,
                         verdict.kind == HTTP_REFUSED ? http_refusal_code(verdict.refusal) : "none",
                         http_refusal_code(probe->refusal));
            }
            size_t n_taken;
            assert_int_equal(http_gate_feed(gate, "GET / HTTP/1.1\r\n", 16, &n_taken), HTTP_REFUSED);
            assert_int_equal(n_taken, 0);
            http_gate_destroy(gate);
        }
    }
}

static void nul_bytes_are_refused_everywhere_but_in_the_body(void **state)
{
    (void)state;
    static const char head[] = "POST /a HTTP/1.1\r\nHost: a\r\nX: yy\r\nContent-Length: 3\r\n\r\n";
    for (size_t at = 0; at < sizeof(head) - 1; at++) {
        char bytes[sizeof(head)];
        memcpy(bytes, head, sizeof(head));
        bytes[at] = '\0';
        struct http_gate *gate = gate_default();
        struct verdict verdict = feed(gate, bytes, sizeof(head) - 1, NULL, 0);
        assert_int_equal(verdict.kind, HTTP_REFUSED);
        http_gate_destroy(gate);
    }
    struct http_gate *gate = gate_default();
    assert_int_equal(feed(gate, head, sizeof(head) - 1, NULL, 0).kind, HTTP_MORE);
    assert_int_equal(feed(gate, "a\0b", 3, NULL, 0).kind, HTTP_COMPLETE);
    assert_memory_equal(http_gate_request(gate).body.data, "a\0b", 3);
    http_gate_destroy(gate);
}

static void assert_slice(struct cc_slice slice, const char *text)
{
    if (!cc_slice_equal_text(slice, text)) {
        fail_msg("'%.*s' is not '%s'", (int)slice.n, (const char *)slice.data, text);
    }
}

static struct cc_slice header_of(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_headers; i++) {
        if (cc_slice_equal_fold(request->headers[i].name, name)) {
            return request->headers[i].value;
        }
    }
    return (struct cc_slice){0};
}

static void a_request_is_taken_apart(void **state)
{
    (void)state;
    static const char bytes[] =
        "PATCH /orders?id=eq.1&name=cs.{a,\"b\"}|\xc3\xa4 HTTP/1.1\r\nhOsT: [::1]:7101\r\nPrefer: a\r\n"
        "Prefer:\t b  \r\nEmpty:\r\nCONTENT-LENGTH: 5\r\n\r\nhelloGET /";
    struct cc_prng random;
    cc_prng_seed(&random, 1);
    for (size_t piece_max = 0; piece_max < 20; piece_max++) {
        struct http_gate *gate = gate_default();
        assert_true(http_gate_is_between_requests(gate));
        struct verdict verdict = feed(gate, bytes, sizeof(bytes) - 1, &random, piece_max);
        assert_int_equal(verdict.kind, HTTP_COMPLETE);
        assert_int_equal(verdict.n_taken, sizeof(bytes) - 1 - strlen("GET /"));
        struct http_request request = http_gate_request(gate);
        assert_int_equal(request.method, HTTP_PATCH);
        assert_slice(request.method_text, "PATCH");
        assert_slice(request.path, "/orders");
        assert_slice(request.query, "id=eq.1&name=cs.{a,\"b\"}|\xc3\xa4");
        assert_slice(request.body, "hello");
        assert_int_equal(request.n_headers, 5);
        assert_slice(request.headers[1].value, "a");
        assert_slice(request.headers[2].value, "b");
        assert_slice(header_of(&request, "host"), "[::1]:7101");
        assert_slice(header_of(&request, "Prefer"), "a");
        assert_non_null(header_of(&request, "empty").data);
        assert_int_equal(header_of(&request, "empty").n, 0);
        assert_null(header_of(&request, "accept").data);
        assert_false(request.close);
        http_gate_destroy(gate);
    }
}

static void a_missing_query_and_an_empty_query_differ(void **state)
{
    (void)state;
    struct http_gate *gate = gate_default();
    feed(gate, "GET /a HTTP/1.1\r\n" HOST "\r\n", 28, NULL, 0);
    assert_null(http_gate_request(gate).query.data);
    http_gate_next(gate);
    feed(gate, "GET /a? HTTP/1.1\r\n" HOST "\r\n", 29, NULL, 0);
    assert_non_null(http_gate_request(gate).query.data);
    assert_int_equal(http_gate_request(gate).query.n, 0);
    assert_slice(http_gate_request(gate).path, "/a");
    http_gate_destroy(gate);
}

static void a_chunked_body_is_joined(void **state)
{
    (void)state;
    static const char bytes[] = "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
                                "5\r\nhello\r\n00A\r\n, \r\nworld!\r\n1\r\n!\r\n0\r\n\r\n";
    struct cc_prng random;
    cc_prng_seed(&random, 2);
    for (size_t piece_max = 0; piece_max < 9; piece_max++) {
        struct http_gate *gate = gate_default();
        assert_int_equal(feed(gate, bytes, sizeof(bytes) - 1, &random, piece_max).kind, HTTP_COMPLETE);
        assert_slice(http_gate_request(gate).body, "hello, \r\nworld!!");
        http_gate_destroy(gate);
    }
}

static void requests_follow_each_other_and_leave_nothing_behind(void **state)
{
    (void)state;
    static const char bytes[] =
        "POST /1 HTTP/1.1\r\n" HOST "A: x\r\nContent-Length: 2\r\nConnection: keep-alive, Close\r\n\r\nab"
        "GET /2 HTTP/1.1\r\n" HOST "\r\n"
        "POST /3 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n"
        "DELETE /4 HTTP/1.1\r\n" HOST "\r\n";
    static const char *const bodies[] = {"ab", "", "c", ""};
    static const size_t header_counts[] = {4, 1, 2, 1};
    struct http_gate *gate = gate_default();
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        struct verdict verdict = feed(gate, bytes + at, sizeof(bytes) - 1 - at, NULL, 0);
        assert_int_equal(verdict.kind, HTTP_COMPLETE);
        at += verdict.n_taken;
        struct http_request request = http_gate_request(gate);
        assert_int_equal(request.path.data[1], '1' + (int)i);
        assert_slice(request.body, bodies[i]);
        assert_int_equal(request.n_headers, header_counts[i]);
        assert_int_equal(request.close, i == 0);
        http_gate_next(gate);
        assert_true(http_gate_is_between_requests(gate));
    }
    assert_int_equal(at, sizeof(bytes) - 1);
    http_gate_destroy(gate);
}

static void continue_is_wanted_once_and_only_before_the_body(void **state)
{
    (void)state;
    struct http_gate *gate = gate_default();
    static const char head[] = "POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    feed(gate, head, sizeof(head) - 1, NULL, 0);
    assert_true(http_gate_is_in_body(gate));
    assert_true(http_gate_take_continue(gate));
    assert_false(http_gate_take_continue(gate));
    assert_int_equal(feed(gate, "ab", 2, NULL, 0).kind, HTTP_COMPLETE);
    http_gate_next(gate);
    feed(gate, head, sizeof(head) - 1, NULL, 0);
    feed(gate, "a", 1, NULL, 0);
    assert_false(http_gate_take_continue(gate));
    http_gate_destroy(gate);
}

// One request with the given sizes; what the gate says.
static struct verdict sized(struct http_limits limits, size_t target, size_t header, size_t n_headers, size_t body,
                            bool chunked)
{
    struct cc_buffer bytes = {0};
    cc_buffer_append_text(&bytes, "POST /");
    for (size_t i = 1; i < target; i++) {
        cc_buffer_append_text(&bytes, "a");
    }
    cc_buffer_append_text(&bytes, " HTTP/1.1\r\n");
    size_t begin = bytes.n;
    cc_buffer_append_text(&bytes, "Host: a\r\n");
    if (chunked) {
        cc_buffer_append_text(&bytes, "Transfer-Encoding: chunked\r\n");
    } else {
        cc_buffer_printf(&bytes, "Content-Length: %zu\r\n", body);
    }
    for (size_t i = 2; i < n_headers; i++) {
        cc_buffer_append_text(&bytes, "X:\r\n");
    }
    if (header > 0) {
        cc_buffer_append_text(&bytes, "Y:");
        while (bytes.n - begin + 2 < header) {
            cc_buffer_append_text(&bytes, "y");
        }
        cc_buffer_append_text(&bytes, "\r\n");
    }
    cc_buffer_append_text(&bytes, "\r\n");
    if (chunked) {
        cc_buffer_printf(&bytes, "%zx\r\n", body - 1);
    }
    for (size_t i = 0; i < body; i++) {
        if (chunked && i == body - 1) {
            cc_buffer_append_text(&bytes, "\r\n1\r\n");
        }
        cc_buffer_append_text(&bytes, "b");
    }
    if (chunked) {
        cc_buffer_append_text(&bytes, "\r\n0\r\n\r\n");
    }
    struct http_gate *gate = http_gate_create(&limits);
    struct verdict verdict = feed(gate, (const char *)bytes.data, bytes.n, NULL, 0);
    http_gate_destroy(gate);
    cc_buffer_finish(&bytes);
    return verdict;
}

static void each_limit_holds_to_the_byte(void **state)
{
    (void)state;
    struct http_limits limits = {
        .target_bytes_max = 50, .header_bytes_max = 200, .headers_max = 8, .body_bytes_max = 100};
    for (size_t over = 0; over < 3; over++) { // limit-1, limit, limit+1
        enum http_verdict expected = over < 2 ? HTTP_COMPLETE : HTTP_REFUSED;
        struct verdict verdict = sized(limits, 49 + over, 0, 2, 5, false);
        assert_int_equal(verdict.kind, expected);
        assert_true(over < 2 || verdict.refusal == HTTP_TARGET_TOO_LONG);
        verdict = sized(limits, 5, 199 + over, 2, 5, false);
        assert_int_equal(verdict.kind, expected);
        assert_true(over < 2 || verdict.refusal == HTTP_HEADERS_TOO_LARGE);
        verdict = sized(limits, 5, 0, 7 + over, 5, false);
        assert_int_equal(verdict.kind, expected);
        assert_true(over < 2 || verdict.refusal == HTTP_TOO_MANY_HEADERS);
        verdict = sized(limits, 5, 0, 2, 99 + over, false);
        assert_int_equal(verdict.kind, expected);
        assert_true(over < 2 || verdict.refusal == HTTP_BODY_TOO_LARGE);
        verdict = sized(limits, 5, 0, 2, 99 + over, true);
        assert_int_equal(verdict.kind, expected);
        assert_true(over < 2 || verdict.refusal == HTTP_BODY_TOO_LARGE);
    }
}

static void an_endless_line_is_refused_before_it_is_stored(void **state)
{
    (void)state;
    static const char *const beginnings[] = {"GET /", "GET / HTTP/1.1\r\nHost: ", "GET / HTTP/1.1\r\n"};
    for (size_t i = 0; i < 3; i++) {
        struct http_gate *gate = gate_default();
        feed(gate, beginnings[i], strlen(beginnings[i]), NULL, 0);
        size_t n_sent = 0;
        while (feed(gate, "aaaaaaaaaaaaaaaa", 16, NULL, 0).kind == HTTP_MORE) {
            n_sent += 16;
            assert_true(n_sent <= CC_URI_BYTES_MAX);
        }
        http_gate_destroy(gate);
    }
}

static void a_large_body_gives_its_memory_back(void **state)
{
    (void)state;
    struct http_gate *gate = gate_default();
    static const char head[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n";
    feed(gate, head, sizeof(head) - 1, NULL, 0);
    char *body = calloc(1, 1000000);
    assert_int_equal(feed(gate, body, 1000000, NULL, 0).kind, HTTP_COMPLETE);
    assert_true(http_gate_memory_bytes(gate) >= 1000000);
    http_gate_next(gate);
    assert_int_equal(http_gate_memory_bytes(gate), 0);
    free(body);
    http_gate_destroy(gate);
}

static void every_refusal_has_its_own_code_and_an_error_status(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HTTP_REFUSAL_COUNT; i++) {
        assert_true(http_refusal_status((enum http_refusal)i) >= 400);
        assert_true(strlen(http_refusal_text((enum http_refusal)i)) > 10);
        for (unsigned j = 0; j < i; j++) {
            assert_string_not_equal(http_refusal_code((enum http_refusal)i), http_refusal_code((enum http_refusal)j));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ambiguous_requests_are_refused_in_whatever_pieces_they_arrive),
        cmocka_unit_test(nul_bytes_are_refused_everywhere_but_in_the_body),
        cmocka_unit_test(a_request_is_taken_apart),
        cmocka_unit_test(a_missing_query_and_an_empty_query_differ),
        cmocka_unit_test(a_chunked_body_is_joined),
        cmocka_unit_test(requests_follow_each_other_and_leave_nothing_behind),
        cmocka_unit_test(continue_is_wanted_once_and_only_before_the_body),
        cmocka_unit_test(each_limit_holds_to_the_byte),
        cmocka_unit_test(an_endless_line_is_refused_before_it_is_stored),
        cmocka_unit_test(a_large_body_gives_its_memory_back),
        cmocka_unit_test(every_refusal_has_its_own_code_and_an_error_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
