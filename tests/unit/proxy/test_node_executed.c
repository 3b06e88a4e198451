// What the node remembers of writes that were executed.
#include "proxy/node/node_internal.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

enum { WRITES = 200000, PER_MS = 100, WINDOW_MS = 1000, STILL_KNOWN = WINDOW_MS * PER_MS };

static void id_of(uint32_t number, uint8_t id_out[OPERATION_ID_BYTES])
{
    memset(id_out, 7, OPERATION_ID_BYTES);
    memcpy(id_out, &number, sizeof(number));
}

static void each_write_is_remembered_for_the_window_and_with_its_own_outcome(void **state)
{
    (void)state;
    struct node_options options = {.raft = {.id = 1, .election_us = 1000000, .heartbeat_us = 100000, .seed = 1},
                                   .incarnation = 1,
                                   .clock_skew_ms_max = 500,
                                   .request_window_us = WINDOW_MS * 1000};
    options.raft.membership = (struct raft_membership){.n_members = 1, .members = {{.id = 1, .voter = true}}};
    struct node *node = node_create(&options);
    uint8_t id[OPERATION_ID_BYTES];
    for (uint32_t i = 0; i < WRITES; i++) {
        id_of(i, id);
        forward_remember(node, id, cc_slice_of(&i, sizeof(i)), clock_hlc_of_ms(5000 + i / PER_MS), i + 1);
        forward_remember(node, id, cc_slice_text("another"), clock_hlc_of_ms(5000 + i / PER_MS), i + 2); // the first one counts
    }
    uint32_t n_known = 0;
    for (uint32_t i = 0; i < WRITES; i++) {
        id_of(i, id);
        const struct executed *executed = forward_executed(node, id);
        if (executed == NULL) {
            assert_true(i + 1 <= node->forgotten);
            continue;
        }
        n_known++;
        assert_int_equal(executed->index, i + 1);
        assert_int_equal(executed->n_outcome, sizeof(i));
        assert_memory_equal(executed->outcome, &i, sizeof(i));
    }
    assert_int_equal(n_known, node->n_executed);
    assert_true(n_known >= STILL_KNOWN && n_known <= STILL_KNOWN + PER_MS);
    assert_int_equal(node->forgotten, WRITES - n_known);
    node_destroy(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_write_is_remembered_for_the_window_and_with_its_own_outcome)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
