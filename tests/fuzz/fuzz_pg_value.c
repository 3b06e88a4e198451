// Forms of PostgreSQL values: whatever the bytes, a decoder answers with a status; what it takes has the fields it was asked for.
#include "proxy/postgres/pg_value.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) {
        return 0;
    }
    struct cc_arena arena;
    cc_arena_init(&arena);
    size_t n_fields = data[0] % 8;
    struct cc_slice text = cc_slice_of(data + 1, n - 1);
    struct cc_slice fields[8] = {0};
    if (pg_record_read(text, &arena, fields, n_fields) == CC_OK) {
        size_t total = 0;
        for (size_t i = 0; i < n_fields; i++) {
            total += fields[i].n;
        }
        assert(total <= text.n);
    }
    struct cc_slice bytes;
    if (pg_bytea_read(text, &arena, &bytes) == CC_OK) {
        assert(bytes.n * 2 + 2 == text.n);
    }
    int64_t number;
    (void)!pg_int8_read(text, &number);
    cc_arena_finish(&arena);
    return 0;
}
