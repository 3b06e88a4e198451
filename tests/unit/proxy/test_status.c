// What the status says of members that hold garbage back.
#include "proxy/gateway/status.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { HOUR_MS = 3600 * 1000 };

struct described {
    struct config config;
    struct node_status status;
    struct status_shell shell;
};

// Two others: 2 was heard so many milliseconds ago, 3 never.
static struct described *describe(uint64_t heard_ms_ago, uint64_t up_ms)
{
    struct described *described = calloc(1, sizeof(*described));
    assert_non_null(described);
    described->config.weak.away_hours = 2;
    described->config.cluster = "unit";
    described->status.replica = 1;
    described->status.n_peers = 2;
    described->status.peers[0] = (struct node_peer_status){.id = 2, .heard_us_ago = heard_ms_ago * 1000};
    described->status.peers[1] = (struct node_peer_status){.id = 3, .heard_us_ago = UINT64_MAX};
    described->shell.started_ms = UINT64_C(1700000000000);
    described->shell.now_ms = described->shell.started_ms + up_ms;
    described->shell.config_why = "";
    return described;
}

static void assert_metric(const struct described *described, const char *line)
{
    struct cc_buffer metrics = {0};
    status_put_metrics(&metrics, &described->config, &described->status, &described->shell);
    assert_non_null(strstr(cc_buffer_text(&metrics), line));
    cc_buffer_finish(&metrics);
}

static void a_member_is_away_when_it_was_not_heard_for_as_long_as_configured(void **state)
{
    (void)state;
    struct described *described = describe(2 * HOUR_MS - 1, 2 * HOUR_MS - 1);
    assert_false(status_is_away(&described->config, &described->status.peers[0], &described->shell));
    assert_metric(described, "caucus_members_away 0\n");
    described->status.peers[0].heard_us_ago = 2ull * HOUR_MS * 1000;
    assert_true(status_is_away(&described->config, &described->status.peers[0], &described->shell));
    assert_metric(described, "caucus_members_away 1\n");
    free(described);
}

static void one_that_was_never_heard_is_away_since_this_replica_started(void **state)
{
    (void)state;
    struct described *described = describe(0, 2 * HOUR_MS);
    assert_true(status_is_away(&described->config, &described->status.peers[1], &described->shell));
    described->shell.now_ms--;
    assert_false(status_is_away(&described->config, &described->status.peers[1], &described->shell));
    free(described);
}

static void a_member_that_is_connected_is_not_away(void **state)
{
    (void)state;
    struct described *described = describe(50 * HOUR_MS, 50ull * HOUR_MS);
    described->status.peers[0].reachable = true;
    assert_false(status_is_away(&described->config, &described->status.peers[0], &described->shell));
    assert_metric(described, "caucus_members_away 1\n"); // the other one
    struct cc_buffer json = {0};
    status_put_json(&json, &described->config, &described->status, &described->shell);
    assert_non_null(strstr(cc_buffer_text(&json), "\"away\":[3]"));
    cc_buffer_finish(&json);
    free(described);
}

static void a_file_that_cannot_be_read_is_told(void **state)
{
    (void)state;
    struct described *described = describe(0, 0);
    described->shell.config_why = "line 3: } expected";
    struct cc_buffer json = {0};
    status_put_json(&json, &described->config, &described->status, &described->shell);
    assert_non_null(strstr(cc_buffer_text(&json), "the file cannot be read: line 3: } expected"));
    cc_buffer_finish(&json);
    free(described);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_is_away_when_it_was_not_heard_for_as_long_as_configured),
        cmocka_unit_test(one_that_was_never_heard_is_away_since_this_replica_started),
        cmocka_unit_test(a_member_that_is_connected_is_not_away),
        cmocka_unit_test(a_file_that_cannot_be_read_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
