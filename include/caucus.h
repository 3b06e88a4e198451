// libcaucus: a client for a Caucus cluster.
//
// It knows several replicas and goes on at the next one when one fails. Every write carries an Idempotency-Key, so that
// repeating it can never apply it twice, and every request carries the session token, so that a client reads its own
// writes at whichever replica. Link with `pkg-config --cflags --libs caucus`.
//
// A struct caucus may be used by one thread at a time; several may exist.
#ifndef CAUCUS_H
#define CAUCUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAUCUS_API __attribute__((visibility("default")))

enum caucus_status {
    CAUCUS_OK,          // answered with 2xx
    CAUCUS_REFUSED,     // answered with an error: nothing was changed; see status, code, message
    CAUCUS_UNAVAILABLE, // no replica could do it in time: nothing was changed, trying later is safe
    CAUCUS_UNKNOWN, // a write may or may not have taken effect; send it again with the same idempotency key, or look
    CAUCUS_USAGE,   // the arguments are wrong: nothing was sent; see message
};

struct caucus_options {        // zeros are the defaults
    const char *const *urls;   // of the replicas: "http://127.0.0.1:7101"; copied
    size_t n_urls;             // at least 1
    uint32_t timeout_ms;       // for a whole call, with all its attempts; 15000
    uint32_t attempt_ms;       // for one attempt, then the next replica is tried; 5000
    uint32_t connect_ms;       // 1000
    const char *bearer;        // token for "Authorization: Bearer ..."; NULL: none
    const char *session;       // session token to begin with; NULL: none
    size_t response_bytes_max; // 64 MB
};

struct caucus;

// The client, or NULL and why not in message_out (256 bytes; may be NULL). Sends nothing yet.
CAUCUS_API struct caucus *caucus_open(const struct caucus_options *options, char *message_out);
CAUCUS_API void caucus_close(struct caucus *client); // NULL is fine

struct caucus_request {
    const char *method;          // "GET", "POST", "PATCH", "DELETE", "PUT", "HEAD"
    const char *path;            // "/orders?id=eq.1", already percent-encoded where needed, see caucus_escape
    const char *body;            // NULL: none
    size_t n_body;               // 0: strlen(body)
    const char *content_type;    // NULL: application/json
    const char *accept;          // NULL: application/json
    const char *prefer;          // "return=representation,consistency=local"; NULL: none
    const char *idempotency_key; // NULL: a new one is made for each write
    const char *const *headers;  // further ones: "If-Match: \"7\""
    size_t n_headers;
};

struct caucus_response {
    int status; // HTTP status of the last answer; 0: there was none
    char *body; // NUL-terminated, never NULL
    size_t n_body;
    char *code;               // of a refusal: SQLSTATE, PGRSTnnn or CCnnn; else ""
    char *message;            // in words, for every result but CAUCUS_OK
    char *details, *hint;     // or ""
    char *content_range;      // "0-9/57", or ""
    char idempotency_key[64]; // that the write carried; "" for reads
    const char *url;          // of the replica that answered last; lives as long as the client
    uint32_t n_attempts;
};

// Sends one request and repeats it, at the next replica, as long as that is safe and there is time. The response is
// filled in any case; free it with caucus_response_finish.
CAUCUS_API enum caucus_status caucus_send(struct caucus *client, const struct caucus_request *request,
                                          struct caucus_response *response_out);
CAUCUS_API void caucus_response_finish(struct caucus_response *response); // NULL and finished ones are fine

// The usual cases.
CAUCUS_API enum caucus_status caucus_get(struct caucus *client, const char *path, struct caucus_response *response_out);
// POST of a JSON row or list of rows; the answer holds the rows as stored.
CAUCUS_API enum caucus_status caucus_insert(struct caucus *client, const char *path, const char *json,
                                            struct caucus_response *response_out);
CAUCUS_API enum caucus_status caucus_update(struct caucus *client, const char *path, const char *json,
                                            struct caucus_response *response_out);
CAUCUS_API enum caucus_status caucus_delete(struct caucus *client, const char *path,
                                            struct caucus_response *response_out);

// What this client has seen, to be handed to another client (another process, the next page of a user). "" at first.
CAUCUS_API const char *caucus_session(const struct caucus *client); // borrowed until the next call
CAUCUS_API void caucus_session_set(struct caucus *client, const char *token);

// `text` percent-encoded, for use as a value in a path: "/orders?customer=eq." + caucus_escape("a&b"). free() it.
CAUCUS_API char *caucus_escape(const char *text);

// "refused" for CAUCUS_REFUSED, and so on; a constant.
CAUCUS_API const char *caucus_status_text(enum caucus_status status);

#ifdef __cplusplus
}
#endif

#endif
