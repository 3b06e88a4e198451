// Facts of the node as lines of the log.
#include "proxy/replica/fact_line.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void check(struct node_fact fact, enum cc_log_level level, const char *event, const char *fields)
{
    struct fact_line line;
    fact_line_make(&fact, &line);
    assert_int_equal(line.level, level);
    assert_string_equal(line.event, event);
    assert_string_equal(cc_buffer_text(&line.fields), fields);
    fact_line_finish(&line);
}

static void every_kind_of_fact_has_an_event_and_fields_without_gaps(void **state)
{
    (void)state;
    for (int kind = 0; kind <= NODE_FACT_REPLAY; kind++) {
        struct node_fact fact = {.kind = (enum node_fact_kind)kind, .text = "text"};
        struct fact_line line;
        fact_line_make(&fact, &line);
        assert_non_null(line.event);
        const char *fields = cc_buffer_text(&line.fields);
        assert_true(fields[0] != '\0');
        assert_null(strchr(fields, '%'));
        assert_null(strstr(fields, "= "));
        assert_true(fields[strlen(fields) - 1] != '=');
        fact_line_finish(&line);
    }
}

static void numbers_texts_and_names_stand_where_the_event_wants_them(void **state)
{
    (void)state;
    check((struct node_fact){.kind = NODE_FACT_ROLE, .a = RAFT_LEADER, .b = 7, .c = 2}, CC_LOG_INFO, "role", "role=leader term=7 leader=2");
    check((struct node_fact){.kind = NODE_FACT_TOO_OLD, .a = 3, .b = 0xbeef, .c = 12}, CC_LOG_ERROR, "change_too_old", "origin=3.beef sequence=12");
    check((struct node_fact){.kind = NODE_FACT_DIVERGED, .a = 41, .text = "no row \"x\""}, CC_LOG_ERROR, "halted", "applied=41 why=\"no row \\\"x\\\"\"");
    check((struct node_fact){.kind = NODE_FACT_REPLAY, .a = 5, .b = 9, .text = "weak"}, CC_LOG_INFO, "replay", "log=weak first=5 last=9");
    check((struct node_fact){.kind = NODE_FACT_REPAIR_GOES_ON, .a = 2, .b = 1}, CC_LOG_INFO, "repair_goes_on", "members=2 restarted=true");
}

static void a_percent_sign_in_a_text_is_no_field(void **state)
{
    (void)state;
    check((struct node_fact){.kind = NODE_FACT_PEER_REFUSED, .a = 2, .text = "100 %a"}, CC_LOG_ERROR, "peer_refused", "peer=2 why=\"100 %a\"");
}

static void what_ended_badly_is_louder(void **state)
{
    (void)state;
    check((struct node_fact){.kind = NODE_FACT_RELOAD, .a = NODE_RELOAD_DONE, .b = 2, .text = ""}, CC_LOG_INFO, "reload", "state=done changes=2 left=0 why=\"-\"");
    check((struct node_fact){.kind = NODE_FACT_RELOAD, .a = NODE_RELOAD_FAILED, .b = 2, .c = 1, .text = "no leader"}, CC_LOG_ERROR, "reload",
          "state=failed changes=2 left=1 why=\"no leader\"");
    check((struct node_fact){.kind = NODE_FACT_REPAIRED, .b = 10}, CC_LOG_INFO, "repaired", "rows=0 compared=10 members_skipped=0");
    check((struct node_fact){.kind = NODE_FACT_REPAIRED, .a = 1, .b = 10}, CC_LOG_WARN, "repaired", "rows=1 compared=10 members_skipped=0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_fact_has_an_event_and_fields_without_gaps),
        cmocka_unit_test(numbers_texts_and_names_stand_where_the_event_wants_them),
        cmocka_unit_test(a_percent_sign_in_a_text_is_no_field),
        cmocka_unit_test(what_ended_badly_is_louder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
