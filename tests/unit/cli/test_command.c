// Command lines: what is understood, and what is refused with which words.
#include "cli/command.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static enum cli_exit run(const struct cli_arguments *arguments)
{
    (void)arguments;
    return CLI_OK;
}

static const struct cli_option options[] = {
    {.name = "dir", .argument = "DIR", .fallback = "here"},
    {.name = "peer", .argument = "X"},
    {.name = "number", .argument = "N"},
    {.name = "json"},
};

static const struct cli_command command = {
    .name = "do", .positional = "FILE...", .options = options, .n_options = 4, .run = run};
static const struct cli_command bare = {.name = "bare", .options = options, .n_options = 4, .run = run};

static bool parse(const struct cli_command *which, struct cli_arguments *arguments, char error[static 200], int argc,
                  const char *const *words)
{
    char *argv[16];
    static char texts[16][64];
    for (int i = 0; i < argc; i++) {
        (void)strcpy(texts[i], words[i]);
        argv[i] = texts[i];
    }
    error[0] = '\0';
    return cli_parse(which, argc, argv, arguments, error);
}

#define PARSE(which, ...)                                                                                \
    parse(which, &arguments, error, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)), \
          (const char *[]){__VA_ARGS__})

static void options_and_files_come_in_any_order(void **state)
{
    (void)state;
    struct cli_arguments arguments;
    char error[200];
    assert_true(PARSE(&command, "a.sql", "--dir", "x", "b.sql", "--json", "--", "--c.sql"));
    assert_string_equal(cli_text(&arguments, "dir"), "x");
    assert_true(cli_is_given(&arguments, "json"));
    assert_int_equal(arguments.n_positional, 3);
    assert_string_equal(arguments.positional[1], "b.sql");
    assert_string_equal(arguments.positional[2], "--c.sql");
}

static void the_last_value_holds_and_repeated_ones_can_be_listed(void **state)
{
    (void)state;
    struct cli_arguments arguments;
    char error[200];
    assert_true(PARSE(&command, "--peer=1", "--peer", "2", "--dir=", "--peer=a=b"));
    assert_string_equal(cli_text(&arguments, "peer"), "a=b");
    assert_string_equal(cli_nth(&arguments, "peer", 0), "1");
    assert_string_equal(cli_nth(&arguments, "peer", 1), "2");
    assert_null(cli_nth(&arguments, "peer", 3));
    assert_string_equal(cli_text(&arguments, "dir"), "");
}

static void what_is_not_given_falls_back(void **state)
{
    (void)state;
    struct cli_arguments arguments;
    char error[200];
    assert_true(PARSE(&command, "x"));
    assert_string_equal(cli_text(&arguments, "dir"), "here");
    assert_null(cli_text(&arguments, "peer"));
    assert_false(cli_is_given(&arguments, "dir"));
}

static void wrong_words_are_refused_by_name(void **state)
{
    (void)state;
    struct cli_arguments arguments;
    char error[200];
    assert_false(PARSE(&command, "--dri", "x"));
    assert_string_equal(error, "there is no option --dri");
    assert_false(PARSE(&command, "-x"));
    assert_string_equal(error, "there is no option -x");
    assert_false(PARSE(&command, "--dir"));
    assert_string_equal(error, "--dir needs a value: DIR");
    assert_false(PARSE(&command, "--json=1"));
    assert_string_equal(error, "--json takes no value");
    assert_false(PARSE(&bare, "x"));
    assert_string_equal(error, "what is x? This command takes options only");
}

static void help_is_understood_everywhere(void **state)
{
    (void)state;
    struct cli_arguments arguments;
    char error[200];
    assert_true(PARSE(&bare, "--json", "--help"));
    assert_true(cli_wants_help(&arguments));
    assert_true(PARSE(&bare, "-h", "x"));
    assert_true(cli_wants_help(&arguments));
}

static void numbers_are_whole_and_within_their_range(void **state)
{
    (void)state;
    struct cli_arguments arguments;
    char error[200];
    uint32_t number = 7;
    static const char *const wrong[] = {"", "x", "1x", "0", "16", "-1", "99999999999999999999", "1.5"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_true(PARSE(&command, "--number", wrong[i]));
        assert_false(cli_number(&arguments, "number", 1, 15, &number));
        assert_int_equal(number, 7);
    }
    assert_true(PARSE(&command, "--number", "15"));
    assert_true(cli_number(&arguments, "number", 1, 15, &number));
    assert_int_equal(number, 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_files_come_in_any_order),
        cmocka_unit_test(the_last_value_holds_and_repeated_ones_can_be_listed),
        cmocka_unit_test(what_is_not_given_falls_back),
        cmocka_unit_test(wrong_words_are_refused_by_name),
        cmocka_unit_test(help_is_understood_everywhere),
        cmocka_unit_test(numbers_are_whole_and_within_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
