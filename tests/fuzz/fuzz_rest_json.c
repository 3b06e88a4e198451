// Fuzz target: the JSON scanner, against jansson: what one accepts the other must, but for the limits that are ours alone.
#include "rest/json_body.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

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
    }
    json_decref(other);
    cc_arena_finish(&arena);
    return 0;
}
