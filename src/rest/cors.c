// Cross-origin requests: which pages may ask, and which headers they may read.
#include "rest/cors.h"

#include "rest/reply.h"
#include "rest/vector.h"

#include <string.h>

static const char exposed[] =
    "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Server, Transfer-Encoding, "
    "Range-Unit, Preference-Applied, Proxy-Status, ETag, Retry-After, Caucus-Session";

bool rest_cors_is_preflight(const struct rest_request *request)
{
    return cc_slice_equal_text(request->method, "OPTIONS") &&
           rest_request_header(request, "Access-Control-Request-Method").data != NULL;
}

static bool is_separator(char c)
{
    return c == ' ' || c == ',' || c == '\t';
}

static bool is_listed(const char *origins, struct cc_slice origin)
{
    while (*origins != '\0') {
        size_t n = 0;
        while (origins[n] != '\0' && !is_separator(origins[n])) {
            n++;
        }
        if (n > 0 && cc_slice_equal(origin, cc_slice_of(origins, n))) {
            return true;
        }
        origins += n + (origins[n] != '\0');
    }
    return false;
}

// "https://host:port" of the very host that is asked.
static bool is_same_host(const struct rest_request *request, struct cc_slice origin)
{
    struct cc_slice host = rest_request_header(request, "Host");
    const uint8_t *mark = memmem(origin.data, origin.n, "://", 3);
    size_t n_scheme = mark == NULL ? 0 : (size_t)(mark - origin.data) + 3;
    return host.n > 0 && cc_slice_equal(host, cc_slice_of(origin.data + n_scheme, origin.n - n_scheme));
}

bool rest_cors_permits(const struct rest_request *request, const char *origins)
{
    static const char *const safe[] = {"GET", "HEAD", "OPTIONS"};
    struct cc_slice origin = rest_request_header(request, "Origin");
    for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++) {
        if (cc_slice_equal_text(request->method, safe[i])) {
            return true;
        }
    }
    return origin.n == 0 || strcmp(origins, "*") == 0 || is_listed(origins, origin) || is_same_host(request, origin);
}

// What Access-Control-Allow-Origin says; NULL: the browser keeps the answer to itself.
static const char *allowed_origin(const struct rest_request *request, const char *origins, struct cc_arena *arena)
{
    struct cc_slice origin = rest_request_header(request, "Origin");
    if (origin.n == 0) {
        return NULL;
    }
    if (strcmp(origins, "*") == 0) {
        return "*";
    }
    return is_listed(origins, origin) ? cc_arena_text_n(arena, origin.data, origin.n) : NULL;
}

static void add_vary(struct rest_reply *reply, struct cc_arena *arena, const char *name)
{
    for (uint32_t i = 0; i < reply->n_headers; i++) {
        if (cc_slice_equal_fold(reply->headers[i].name, "Vary")) {
            struct cc_slice old = reply->headers[i].value;
            reply->headers[i].value =
                cc_slice_text(cc_arena_printf(arena, "%.*s, %s", (int)old.n, (const char *)old.data, name));
            return;
        }
    }
    rest_reply_add_header(reply, arena, "Vary", name);
}

void rest_cors_preflight(const struct rest_request *request, const char *origins, struct cc_arena *arena,
                         struct rest_reply *reply_out)
{
    struct rest_reply reply = {.status = 200, .body = cc_slice_of("", 0)};
    const char *origin = allowed_origin(request, origins, arena);
    if (origin != NULL) {
        struct cc_slice asked = rest_request_header(request, "Access-Control-Request-Headers");
        rest_reply_add_header(&reply, arena, "Access-Control-Allow-Origin", origin);
        rest_reply_add_header(&reply, arena, "Access-Control-Allow-Methods",
                              "GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD");
        rest_reply_add_header(&reply, arena, "Access-Control-Allow-Headers",
                              cc_arena_printf(arena, "Authorization%s%.*s, Accept, Accept-Language, Content-Language",
                                              asked.n > 0 ? ", " : "", (int)asked.n,
                                              asked.n > 0 ? (const char *)asked.data : ""));
        rest_reply_add_header(&reply, arena, "Access-Control-Max-Age", "86400");
    }
    rest_reply_add_header(&reply, arena, "Vary",
                          "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    *reply_out = reply;
}

void rest_cors_add(const struct rest_request *request, const char *origins, struct cc_arena *arena,
                   struct rest_reply *reply)
{
    const char *origin = allowed_origin(request, origins, arena);
    const struct rest_header *old = reply->headers;
    uint32_t n = reply->n_headers;
    reply->headers = NULL;
    for (reply->n_headers = 0; reply->n_headers < n; reply->n_headers++) {
        reply->headers = rest_vector_room(arena, reply->headers, reply->n_headers, sizeof(*reply->headers));
        reply->headers[reply->n_headers] = old[reply->n_headers];
    }
    if (strcmp(origins, "*") != 0 && *origins != '\0') {
        add_vary(reply, arena, "Origin");
    }
    if (origin == NULL) {
        return;
    }
    rest_reply_add_header(reply, arena, "Access-Control-Allow-Origin", origin);
    rest_reply_add_header(reply, arena, "Access-Control-Expose-Headers", exposed);
}
