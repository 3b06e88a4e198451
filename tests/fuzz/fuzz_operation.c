// Whatever bytes a peer forwards as an operation, or stand as an outcome: refused, or read and written back the same.
#include "proxy/node/operation.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_operation(struct cc_slice bytes)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct operation operation;
    struct operation peeked;
    bool peeks = operation_peek(bytes, &peeked) == CC_OK;
    if (operation_read(bytes, &arena, &operation) == CC_OK) {
        struct cc_buffer again = {0};
        operation_put(&again, &operation);
        if (!peeks || !cc_slice_equal(cc_buffer_slice(&again), bytes)) {
            abort();
        }
        cc_buffer_finish(&again);
    }
    cc_arena_finish(&arena);
}

static void check_outcome(struct cc_slice bytes)
{
    struct rest_outcome outcome;
    if (rest_outcome_read(bytes, &outcome) == CC_OK) {
        struct cc_buffer again = {0};
        rest_outcome_put(&again, &outcome);
        if (!cc_slice_equal(cc_buffer_slice(&again), bytes)) {
            abort();
        }
        cc_buffer_finish(&again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    check_operation(cc_slice_of(data, n));
    check_outcome(cc_slice_of(data, n));
    return 0;
}
