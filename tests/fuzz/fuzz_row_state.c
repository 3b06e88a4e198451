// Whatever bytes a peer sends as states of rows: refused, or read and written back as they were.
#include "proxy/node/row_state.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct cc_slice table;
    struct row_state *states;
    uint32_t n_states;
    if (row_states_read(cc_slice_of(data, n), &arena, &table, &states, &n_states) == CC_OK) {
        struct cc_buffer bytes = {0};
        row_states_begin(&bytes, table, n_states);
        for (uint32_t i = 0; i < n_states; i++) {
            row_state_put(&bytes, &states[i]);
        }
        struct cc_slice again_table;
        struct row_state *again;
        uint32_t n_again;
        if (row_states_read(cc_buffer_slice(&bytes), &arena, &again_table, &again, &n_again) != CC_OK || n_again != n_states ||
            !cc_slice_equal(table, again_table)) {
            abort();
        }
        for (uint32_t i = 0; i < n_states; i++) {
            if (!cc_slice_equal(states[i].key, again[i].key) || states[i].hidden != again[i].hidden || states[i].n_fields != again[i].n_fields ||
                (states[i].told != NULL) != (again[i].told != NULL)) {
                abort();
            }
        }
        cc_buffer_finish(&bytes);
    }
    cc_arena_finish(&arena);
    return 0;
}
