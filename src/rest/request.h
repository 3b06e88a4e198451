// Request: one HTTP request to the row protocol, as the planner sees it. Plain data; everything is borrowed.
#ifndef REST_REQUEST_H
#define REST_REQUEST_H

#include "base/slice.h"

struct rest_header {
    struct cc_slice name, value;
};

struct rest_setting { // SET LOCAL: role, request.jwt.claims, ...
    struct cc_slice name, value;
};

// Who asks. The shell finds it out (token, configuration) before it plans.
struct rest_identity {
    struct cc_slice role;   // NULL slice: the connection's own role
    struct cc_slice claims; // JSON object text for request.jwt.claims, or NULL
    bool anonymous;         // no token: 42501 becomes 401 instead of 403
};

struct rest_options {
    uint64_t rows_max;      // of a read and of each embedded list; 0: no limit
    bool aggregates;        // sum(), avg(), ...: off upstream by default
    bool roll_back_allowed; // honour Prefer: tx=
    bool plans_allowed;     // Accept: application/vnd.pgrst.plan
    const char *pre_request; // name of a function to be called first, schema.name; NULL, "": none
    uint32_t n_settings;     // of every statement: app.settings.*
    const struct rest_setting *settings;
};

struct rest_request {
    struct cc_slice method; // as received: "GET"
    struct cc_slice path;   // undecoded, starts with '/', without query
    struct cc_slice query;  // undecoded, without '?'
    uint32_t n_headers;
    const struct rest_header *headers;
    struct cc_slice body;
    struct rest_identity identity;
    struct rest_options options;
};

// Value of the first header of that name (any letter case), or the NULL slice. Blanks around it are removed.
struct cc_slice rest_request_header(const struct rest_request *request, const char *name);
struct cc_slice rest_text_trim(struct cc_slice text); // blanks and tabs

#endif
