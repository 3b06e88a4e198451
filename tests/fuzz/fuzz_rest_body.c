// Fuzz target: CSV, forms and bytes as JSON. What is accepted must be JSON of the promised shape. The first byte chooses.
#include "rest/body.h"
#include "rest/json_body.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cc_arena arena;
    struct cc_slice json_text = {0};
    struct rest_json json;
    const char *reason = NULL;
    if (n == 0) {
        return 0;
    }
    bool is_csv = data[0] % 2 == 0;
    struct cc_slice text = cc_slice_of(data + 1, n - 1);
    cc_arena_init(&arena);
    (void)rest_body_type(text);
    enum cc_status status = is_csv ? rest_body_of_csv(text, &arena, &json_text, &reason)
                                   : rest_body_of_form(text, &arena, &json_text, &reason);
    if (status != CC_OK && reason == NULL) {
        abort();
    }
    if (status == CC_OK && rest_json_scan(json_text, &arena, &json, &reason) == CC_OK) {
        bool shaped = is_csv ? json.value.kind == REST_JSON_ARRAY && (json.n_elements == 0 || json.uniform)
                             : json.value.kind == REST_JSON_OBJECT;
        if (!shaped) {
            abort();
        }
    }
    if (rest_body_of_bytes(text, &arena).n != 2 * text.n + 2) {
        abort();
    }
    cc_arena_finish(&arena);
    return 0;
}
