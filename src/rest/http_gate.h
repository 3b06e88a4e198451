// The request gate: turns the byte stream of one HTTP/1.1 connection into requests, strictly, or refuses it.
//
// Pure. Bytes may arrive in any pieces, the verdict is the same. What two parsers could read differently is refused
// (RFC 9112 section 11.2, FAILURES J1): the first refusal is final, the connection is to be answered and closed.
#ifndef REST_HTTP_GATE_H
#define REST_HTTP_GATE_H

#include "base/limits.h"
#include "base/slice.h"
#include "rest/request.h"

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
};

// Why a request was refused before anybody saw it: (name, stable code, HTTP status, sentence for the client).
#define HTTP_REFUSALS(X)                                                                                             \
    X(HTTP_BAD_REQUEST_LINE, "CC101", 400, "the request line must be: method, blank, path, blank, HTTP/1.1")         \
    X(HTTP_BAD_LINE_END, "CC102", 400, "lines of the request must end with CR LF")                                   \
    X(HTTP_BAD_TARGET, "CC103", 400, "the request target must be a path that starts with / (no absolute URI, no #)") \
    X(HTTP_NUL_IN_TARGET, "CC104", 400, "the request target must not contain %00")                                   \
    X(HTTP_UNKNOWN_METHOD, "PGRST117", 405, "Unsupported HTTP method: not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") \
    X(HTTP_BAD_VERSION, "CC106", 505, "only HTTP/1.1 is spoken here")                                                \
    X(HTTP_BAD_HEADER_NAME, "CC107", 400, "a header name is empty, has a bad character or a blank before its colon") \
    X(HTTP_BAD_HEADER_VALUE, "CC108", 400, "a header value contains a control character")                            \
    X(HTTP_FOLDED_HEADER, "CC109", 400, "a header must not be continued on the next line")                           \
    X(HTTP_REPEATED_HEADER, "CC110", 400, "a header that may stand once only is repeated")                           \
    X(HTTP_BAD_HOST, "CC111", 400, "exactly one valid Host header is required")                                      \
    X(HTTP_BAD_LENGTH, "CC112", 400, "Content-Length must be one decimal number")                                    \
    X(HTTP_BAD_TRANSFER_ENCODING, "CC113", 400, "the only transfer encoding is: chunked")                            \
    X(HTTP_TWO_FRAMINGS, "CC114", 400, "Content-Length and Transfer-Encoding exclude each other")                    \
    X(HTTP_BAD_CHUNK, "CC115", 400, "a chunk is malformed (plain hexadecimal size, no extensions)")                  \
    X(HTTP_TRAILER, "CC116", 400, "trailers after the last chunk are not accepted")                                  \
    X(HTTP_BAD_EXPECTATION, "CC117", 417, "the only expectation that can be met is: 100-continue")                   \
    X(HTTP_TARGET_TOO_LONG, "CC118", 414, "the request target is too long")                                          \
    X(HTTP_HEADERS_TOO_LARGE, "CC119", 431, "the headers are too large")                                             \
    X(HTTP_TOO_MANY_HEADERS, "CC120", 431, "there are too many headers")                                             \
    X(HTTP_BODY_TOO_LARGE, "CC121", 413, "the body is too large")                                                    \
    X(HTTP_TOO_SLOW, "CC122", 408, "the request did not arrive in time")                                             \
    X(HTTP_TOO_MANY_CONNECTIONS, "CC123", 503, "too many connections, try again later")                              \
    X(HTTP_NO_MEMORY_FOR_BODY, "CC124", 503, "too many large requests at once, try again later")

enum http_refusal {
#define HTTP_REFUSAL_ENUM(name, code, status, text) name,
    HTTP_REFUSALS(HTTP_REFUSAL_ENUM)
#undef HTTP_REFUSAL_ENUM
        HTTP_REFUSAL_COUNT
};

unsigned http_refusal_status(enum http_refusal refusal);
const char *http_refusal_code(enum http_refusal refusal); // "CC101": stable
const char *http_refusal_text(enum http_refusal refusal);

struct http_limits {
    size_t target_bytes_max;
    size_t header_bytes_max; // all header lines together, line ends included
    size_t headers_max;
    size_t body_bytes_max; // after removal of chunk framing
};

struct http_limits http_limits_default(void); // from base/limits.h

// One complete request. Everything is borrowed from the gate until its next call, or from the caller in tests.
struct http_request {
    enum http_method method;
    struct cc_slice method_text;
    struct cc_slice target;            // path and query, still percent-encoded, may hold bytes above 0x7f
    struct cc_slice path;              // target up to '?'
    struct cc_slice query;             // after '?'; the NULL slice when there is none
    struct cc_slice body;              // without framing
    struct cc_slice remote;            // "192.0.2.7:50312" or "[2001:db8::1]:50312"; filled in by the server
    const struct rest_header *headers; // as sent, without the blanks around the values
    size_t n_headers;
    bool close; // the client said "Connection: close"
};

enum http_verdict {
    HTTP_MORE,     // everything was taken, no complete request yet
    HTTP_COMPLETE, // one request is complete: read it with http_gate_request, then call http_gate_next
    HTTP_REFUSED,  // see http_gate_refusal; nothing more is taken, ever
};

// Allocates what a request needs and keeps it from request to request.
struct http_gate *http_gate_create(const struct http_limits *limits);
void http_gate_destroy(struct http_gate *gate); // NULL is fine

// Takes at most n bytes and says how many in *n_taken_out: stops behind the last byte of a request.
enum http_verdict http_gate_feed(struct http_gate *gate, const void *data, size_t n, size_t *n_taken_out);
// After HTTP_COMPLETE, until http_gate_next.
struct http_request http_gate_request(const struct http_gate *gate);
// Forgets the complete request; large memory is given back.
void http_gate_next(struct http_gate *gate);
// After HTTP_REFUSED.
enum http_refusal http_gate_refusal(const struct http_gate *gate);

bool http_gate_is_between_requests(const struct http_gate *gate); // not a single byte of the next request yet
bool http_gate_is_in_body(const struct http_gate *gate);          // the headers are complete and acceptable
// True once per request that asked for "100 Continue" and whose body has not begun to arrive.
bool http_gate_take_continue(struct http_gate *gate);
size_t http_gate_body_bytes(const struct http_gate *gate);   // of the current request, arrived so far
size_t http_gate_memory_bytes(const struct http_gate *gate); // held for its body

#endif
