// Plan: what is to be done for one request, made from the request and the catalog alone. Pure.
#ifndef REST_PLAN_H
#define REST_PLAN_H

#include "rest/catalog.h"
#include "rest/prefer.h"
#include "rest/request.h"
#include "rest/statement.h"

enum rest_plan_kind {
    REST_PLAN_READ = 1,       // run statement on a read connection at `level`, then rest_reply_read
    REST_PLAN_WRITE,          // run statement through the log, then rest_reply_write
    REST_PLAN_ANSWER,         // `answer` is the answer
    REST_PLAN_NOT_IN_CATALOG, // a name is unknown: make sure that the catalog is current, plan again, else `answer`
};

struct rest_reply {
    int status;
    uint32_t n_headers;
    struct rest_header *headers;
    struct cc_slice body; // NULL slice: none
};

enum rest_action {
    REST_ACTION_READ,
    REST_ACTION_INSERT,
    REST_ACTION_PUT,
    REST_ACTION_UPDATE,
    REST_ACTION_DELETE,
    REST_ACTION_CALL
};

enum rest_format {
    REST_FORMAT_ARRAY,
    REST_FORMAT_OBJECT,
    REST_FORMAT_ARRAY_STRIPPED,
    REST_FORMAT_OBJECT_STRIPPED,
    REST_FORMAT_CSV,
    REST_FORMAT_OPENAPI,
    REST_FORMAT_GEOJSON,
    REST_FORMAT_RAW, // the value of a function as it is
};

// What the reply has to know of the request.
struct rest_reply_facts {
    enum rest_action action;
    enum rest_format format;
    bool head; // no body
    bool anonymous;
    struct rest_preferences applied; // for Preference-Applied
    const char *content_location;    // NULL: none
    const char *content_profile;     // NULL: none
    const char *warning;             // NULL: none
    int64_t offset;                  // of the page
    const char *csv_header;          // CSV
    const char *raw_type;            // RAW: its media type
    bool raw_is_bytes;               // RAW: the body is hex text
    const char *relation;            // percent-encoded name, for Location
    uint32_t n_location_keys;        // percent-encoded names of the key columns, for Location
    const char **location_keys;
    struct cc_slice if_match, if_none_match; // NULL slices: none
    bool wants_body;
    bool is_description;     // of `schema` at /: `answer` tells all, the statement asks what the role may see of it
    bool is_openapi_3;
    const char *schema;
    bool is_explained;       // the result is rows of text, for rest_reply_explained
    const char *plan_type;   // its media type
    uint64_t estimate_above; // the estimate is the total when more rows were counted than this
    bool is_scalar; // of a function: a bare value
    bool returns_void;
    bool returns_set;
};

struct rest_plan {
    enum rest_plan_kind kind;
    enum rest_level level;             // READ: what to wait for; never NONE
    uint32_t bounded_ms;               // REST_LEVEL_BOUNDED
    bool touches_strong, touches_weak; // classes of the tables read; functions count as strong
    struct rest_statement statement;   // READ, WRITE
    // WRITE: calls to be run before and behind, in the same transaction; no sql: none. The latter tells what was said about the answer.
    struct rest_statement pre_request, said;
    struct rest_statement estimate;    // READ: run before, its text goes to rest_read_result.estimate; no sql: not wanted
    struct rest_reply answer;          // ANSWER, NOT_IN_CATALOG
    struct rest_reply_facts facts;
};

// Always makes a plan. It lives in the arena and borrows from the catalog, but not from the request.
void rest_plan_create(const struct rest_catalog *catalog, const struct rest_request *request, struct cc_arena *arena,
                      struct rest_plan *plan_out);

#endif
