// What an answer looks like on the wire: status line, headers, and the fixed answers of the request gate. Pure.
#ifndef REST_HTTP_RESPONSE_H
#define REST_HTTP_RESPONSE_H

#include "base/status.h"
#include "rest/http_gate.h"

struct http_response {
    unsigned status; // 200 .. 599
    // Besides these the server writes Server, Date, Content-Length, Connection and X-Content-Type-Options itself.
    const struct rest_header *headers;
    size_t n_headers;
    struct cc_slice body;         // copied, or ...
    struct cc_buffer *moved_body; // ... taken over and left empty; NULL: `body` counts
    bool close;                   // the connection ends with this answer
};

// "OK" for 200, and so on; "Unknown" for a status that has no name.
const char *http_status_text(unsigned status);

// "Sat, 21 Nov 2026 22:40:08 GMT" for seconds since 1970 (RFC 9110 5.6.7). `out` holds 30 bytes.
void http_date(int64_t seconds, char out[30]);

// Appends everything up to the body. Content-Length is left out where PostgREST leaves it out: HEAD, 204, 304.
// CC_INVALID: a header name or value would break the framing (control characters); nothing is appended.
enum cc_status http_response_put_head(struct cc_buffer *out, const struct http_response *response,
                                      enum http_method method, const char *date) CC_CHECKED;
bool http_response_has_body(unsigned status, enum http_method method);

// Appends the whole answer to a refused request, in PostgREST's error form; it ends the connection.
void http_refusal_put(struct cc_buffer *out, enum http_refusal refusal, const char *date);

#endif
