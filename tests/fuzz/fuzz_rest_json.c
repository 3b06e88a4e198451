// Fuzz target: the JSON scanner, against jansson: what one accepts the other must, but for the limits that are ours alone.
#include "rest/json_rows.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool has_nested(const struct rest_json_member *members, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (members[i].value.kind == REST_JSON_ARRAY || members[i].value.kind == REST_JSON_OBJECT) {
            return true;
        }
    }
    return false;
}

// The rows of an array of objects are what looking at each object by itself gives.
static void check_rows(const struct rest_json *json, const struct rest_json_value *elements, struct cc_arena *arena)
{
    const char **names = cc_arena_array(arena, json->n_members + 1, sizeof(*names));
    for (uint32_t i = 0; i < json->n_members; i++) {
        names[i] = cc_arena_text_n(arena, json->members[i].key.data, json->members[i].key.n);
    }
    struct rest_json_value *values = cc_arena_array(arena, json->n_elements * json->n_members + 1, sizeof(*values));
    bool flat = rest_json_rows(json->value.raw, names, json->n_members, json->n_elements, arena, values);
    bool nested = false;
    for (uint64_t row = 0; row < json->n_elements; row++) {
        uint32_t n_members = 0;
        struct rest_json_member *members = NULL;
        rest_json_members(&elements[row], arena, &n_members, &members);
        nested = nested || has_nested(members, n_members);
        for (uint32_t i = 0; flat && i < json->n_members; i++) {
            const struct rest_json_member *member = rest_json_find(n_members, members, names[i]);
            const struct rest_json_value *value = &values[row * json->n_members + i];
            if (member == NULL ? value->kind != REST_JSON_NULL
                               : value->kind != member->value.kind || !cc_slice_equal(value->raw, member->value.raw)) {
                abort();
            }
        }
    }
    if (flat == nested) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cc_arena arena;
    struct rest_json json;
    const char *reason = NULL;
    json_error_t error;
    cc_arena_init(&arena);
    enum cc_status status = rest_json_scan(cc_slice_of(data, n), &arena, &json, &reason);
    json_t *other = json_loadb(n == 0 ? "" : (const char *)data, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    bool overflow =
        other == NULL && json_error_code(&error) == json_error_numeric_overflow; // ours keeps numbers as text
    if (status == CC_OK && other == NULL && !overflow) {
        abort();
    }
    bool has_nul = n > 0 && memchr(data, 0, n) != NULL; // jansson skips one behind a number
    if (status == CC_MALFORMED && other != NULL && !has_nul) {
        abort();
    }
    if (status == CC_OK && json.value.kind == REST_JSON_ARRAY) {
        uint32_t n_elements = 0;
        struct rest_json_value *elements = NULL;
        rest_json_elements(&json.value, &arena, &n_elements, &elements);
        if (n_elements != json.n_elements) {
            abort();
        }
        if (json.objects_only && json.n_elements > 0) {
            check_rows(&json, elements, &arena);
        }
    }
    json_decref(other);
    cc_arena_finish(&arena);
    return 0;
}
