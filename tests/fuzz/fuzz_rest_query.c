// Fuzz target: the query string's parser, in both modes.
#include "rest/syntax.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    for (int with_arguments = 0; with_arguments < 2; with_arguments++) {
        struct cc_arena arena;
        struct rest_query query;
        struct rest_parse_error error = {0};
        cc_arena_init(&arena);
        enum cc_status status = rest_query_parse(cc_slice_of(data, n), with_arguments == 1, &arena, &query, &error);
        if (status != CC_OK && (error.message == NULL || error.details == NULL)) {
            abort(); // a refusal without a reason
        }
        cc_arena_finish(&arena);
    }
    return 0;
}
