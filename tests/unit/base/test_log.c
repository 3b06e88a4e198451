// The logger: one event is one line, and a full pipe never blocks.
#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int ends[2];

static int open_pipe(void **state)
{
    (void)state;
    return pipe(ends);
}

static int close_pipe(void **state)
{
    (void)state;
    cc_log_open(STDERR_FILENO, CC_LOG_INFO, 0);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

// What the pipe holds now, as text.
static const char *written(void)
{
    static char text[1 << 17];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static void a_line_has_time_level_event_replica_and_fields(void **state)
{
    (void)state;
    cc_log_open(ends[1], CC_LOG_INFO, 2);
    cc_log(CC_LOG_WARN, "applied", "term=%d index=%d", 7, 41);
    const char *line = written();
    assert_true(strncmp(line, "time=20", 7) == 0);
    assert_string_equal(strstr(line, "Z level="), "Z level=warn event=applied replica=2 term=7 index=41\n");
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    cc_log_open(ends[1], CC_LOG_WARN, 0);
    cc_log(CC_LOG_INFO, "quiet", "%s", "");
    cc_log(CC_LOG_ERROR, "loud", "%s", "x=1");
    const char *text = written();
    assert_null(strstr(text, "quiet"));
    assert_non_null(strstr(text, "event=loud x=1"));
    assert_null(strstr(text, "replica="));
}

static void a_line_break_in_a_value_does_not_make_a_second_line(void **state)
{
    (void)state;
    cc_log_open(ends[1], CC_LOG_INFO, 0);
    cc_log(CC_LOG_INFO, "refused", "reason=%s raw=%s", cc_log_quote("a \"b\"\nc\x01"), "x\ny");
    const char *text = written();
    assert_non_null(strstr(text, "reason=\"a \\\"b\\\"\\nc\\x01\" raw=x y\n"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void a_quoted_text_is_cut_and_null_is_empty(void **state)
{
    (void)state;
    char text[1000];
    memset(text, '\n', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_in_range(strlen(cc_log_quote(text)), 390, 406);
    assert_string_equal(cc_log_quote(NULL), "\"\"");
}

static void an_endless_line_is_cut_and_still_ends(void **state)
{
    (void)state;
    cc_log_open(ends[1], CC_LOG_INFO, 0);
    cc_log(CC_LOG_INFO, "long", "value=%020000d", 1);
    const char *text = written();
    assert_in_range(strlen(text), 1000, 4096);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void a_full_pipe_drops_lines_and_counts_them_instead_of_blocking(void **state)
{
    (void)state;
    cc_log_open(ends[1], CC_LOG_INFO, 0);
    uint64_t before = cc_log_dropped();
    for (unsigned i = 0; i < 1000; i++) {
        cc_log(CC_LOG_INFO, "flood", "value=%0500d", 1);
    }
    assert_true(cc_log_dropped() > before);
    written();
    uint64_t after = cc_log_dropped();
    cc_log(CC_LOG_INFO, "dry", "x=%d", 1);
    assert_int_equal(cc_log_dropped(), after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_event_replica_and_fields, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(lines_below_the_level_are_not_written, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(a_line_break_in_a_value_does_not_make_a_second_line, open_pipe, close_pipe),
        cmocka_unit_test(a_quoted_text_is_cut_and_null_is_empty),
        cmocka_unit_test_setup_teardown(an_endless_line_is_cut_and_still_ends, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(a_full_pipe_drops_lines_and_counts_them_instead_of_blocking, open_pipe,
                                        close_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
