// JSON body: a strict check of a request's JSON text, and a look at its top level. The text itself goes to PostgreSQL as it
// came; numbers stay text. RFC 8259, and stricter: no duplicate keys, no \u0000, no lone surrogates, bounded depth.
#ifndef REST_JSON_BODY_H
#define REST_JSON_BODY_H

#include "base/arena.h"
#include "base/status.h"

enum rest_json_kind {
    REST_JSON_NULL,
    REST_JSON_FALSE,
    REST_JSON_TRUE,
    REST_JSON_NUMBER,
    REST_JSON_STRING,
    REST_JSON_ARRAY,
    REST_JSON_OBJECT,
};

struct rest_json_value {
    enum rest_json_kind kind;
    struct cc_slice raw; // of the body's bytes
};

struct rest_json_member {
    struct cc_slice key; // decoded
    struct rest_json_value value;
};

struct rest_json {
    struct rest_json_value value; // the whole
    // Of an object: its members. Of an array whose first element is an object: that one's members.
    uint32_t n_members;
    struct rest_json_member *members;
    uint64_t n_elements;          // of an array
    struct rest_json_value first; // element of an array with n_elements > 0
    bool objects_only;            // all elements are objects
    bool uniform;                 // and all have the keys of the first
};

// CC_MALFORMED, CC_TOO_LARGE (deeper than CC_JSON_DEPTH_MAX), CC_REFUSED (others take it: duplicate keys, \u0000, lone surrogates), with a
// reason (a constant) in reason_out.
enum cc_status rest_json_scan(struct cc_slice text, struct cc_arena *arena, struct rest_json *json_out,
                              const char **reason_out) CC_CHECKED;
// What a scalar means: the decoded string, the number as written, true, false; NULL slice for null. Arrays and objects: raw.
struct cc_slice rest_json_text(const struct rest_json_value *value, struct cc_arena *arena);
// All elements of a scanned array, or members of a scanned object (which must be one).
void rest_json_elements(const struct rest_json_value *array, struct cc_arena *arena, uint32_t *n_out,
                        struct rest_json_value **values_out);
void rest_json_members(const struct rest_json_value *object, struct cc_arena *arena, uint32_t *n_out,
                       struct rest_json_member **members_out);
const struct rest_json_member *rest_json_find(uint32_t n, const struct rest_json_member *members,
                                              const char *key); // NULL: none
// Appends text as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD.
void rest_json_put_string(struct cc_buffer *out, struct cc_slice text);

#endif
