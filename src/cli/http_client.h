// HTTP requests of the commands, several at a time, on libcurl.
#ifndef CLI_HTTP_CLIENT_H
#define CLI_HTTP_CLIENT_H

#include <jansson.h>

#include "base/slice.h"

struct http_request { // borrowed
    const char *url;
    const char *method;       // NULL: GET
    struct cc_slice body;     // NULL slice: none
    const char *content_type; // with a body
    uint32_t timeout_ms;
};

struct http_response {
    long status; // 0: no answer, and error says why
    struct cc_buffer body;
    char error[256];
};

// The token that requests carry, unless the environment's CAUCUS_TOKEN says another; copied, "" for none.
void http_use_token(const char *token);

// Sends all at once and waits for all. `keep_going` (may be NULL) is asked several times a second; when it says false, what is not
// answered yet fails.
void http_fetch(const struct http_request *requests, struct http_response *responses_out, size_t n,
                bool (*keep_going)(void *context), void *context);
void http_response_finish(struct http_response *response);

// The body as JSON; NULL if it is none. The caller's.
json_t *http_response_json(const struct http_response *response);
// What went wrong, for people: the error's message, details and hint, or the transport's. Borrowed from a static buffer.
const char *http_response_problem(const struct http_response *response);
// Percent-encodes everything but unreserved characters, appended to out.
void http_put_encoded(struct cc_buffer *out, const char *text);
// "http://host:port" from "host:port", or the url itself without a slash at its end.
void http_put_base(struct cc_buffer *out, const char *address);

#endif
