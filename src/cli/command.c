// Commands of the program: parsing and help from their tables.
#include "cli/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option help_option = {.name = "help", .help = "This text."};

static const struct cli_option *find_option(const struct cli_command *command, const char *name, size_t n)
{
    for (size_t i = 0; i < command->n_options; i++) {
        const struct cli_option *option = &command->options[i];
        if (strlen(option->name) == n && memcmp(option->name, name, n) == 0) {
            return option;
        }
    }
    bool help = n == strlen(help_option.name) && memcmp(name, help_option.name, n) == 0;
    return help ? &help_option : NULL;
}

static bool add(struct cli_arguments *arguments, const struct cli_option *option, const char *value)
{
    if (arguments->n_given == CLI_GIVEN_MAX) {
        return false;
    }
    arguments->given[arguments->n_given++] = (struct cli_given){option, value};
    return true;
}

// One option at argv[*at]; moves *at to its last word.
static bool parse_option(struct cli_arguments *arguments, int argc, char *const argv[], int *at, char *error_out)
{
    const char *name = argv[*at] + 2;
    size_t n = strcspn(name, "=");
    const char *value = name[n] == '=' ? name + n + 1 : NULL;
    const struct cli_option *option = find_option(arguments->command, name, n);
    if (option == NULL) {
        (void)snprintf(error_out, 200, "there is no option --%.*s", (int)(n < 100 ? n : 100), name);
        return false;
    }
    if (option->argument == NULL && value != NULL) {
        (void)snprintf(error_out, 200, "--%s takes no value", option->name);
        return false;
    }
    if (option->argument != NULL && value == NULL) {
        if (*at + 1 >= argc) {
            (void)snprintf(error_out, 200, "--%s needs a value: %s", option->name, option->argument);
            return false;
        }
        value = argv[++*at];
    }
    if (!add(arguments, option, value)) {
        (void)snprintf(error_out, 200, "too many options");
        return false;
    }
    return true;
}

bool cli_parse(const struct cli_command *command, int argc, char *const argv[], struct cli_arguments *arguments_out,
               char error_out[static 200])
{
    struct cli_arguments arguments = {.command = command};
    bool options = true;
    for (int at = 0; at < argc; at++) {
        if (options && strcmp(argv[at], "--") == 0) {
            options = false;
        } else if (options && strcmp(argv[at], "-h") == 0) {
            (void)add(&arguments, &help_option, NULL);
        } else if (options && strncmp(argv[at], "--", 2) == 0) {
            if (!parse_option(&arguments, argc, argv, &at, error_out)) {
                return false;
            }
        } else if (options && argv[at][0] == '-' && argv[at][1] != '\0') {
            (void)snprintf(error_out, 200, "there is no option %.100s", argv[at]);
            return false;
        } else if (arguments.n_positional < CLI_GIVEN_MAX) {
            arguments.positional[arguments.n_positional++] = argv[at];
        } else {
            (void)snprintf(error_out, 200, "too many arguments");
            return false;
        }
    }
    if (arguments.n_positional > 0 && command->positional == NULL && !cli_wants_help(&arguments)) {
        (void)snprintf(error_out, 200, "what is %.100s? This command takes options only", arguments.positional[0]);
        return false;
    }
    *arguments_out = arguments;
    return true;
}

bool cli_wants_help(const struct cli_arguments *arguments)
{
    return cli_is_given(arguments, "help");
}

bool cli_is_given(const struct cli_arguments *arguments, const char *name)
{
    for (size_t i = 0; i < arguments->n_given; i++) {
        if (strcmp(arguments->given[i].option->name, name) == 0) {
            return true;
        }
    }
    return false;
}

const char *cli_text(const struct cli_arguments *arguments, const char *name)
{
    const struct cli_option *option = find_option(arguments->command, name, strlen(name));
    const char *text = option == NULL ? NULL : option->fallback;
    for (size_t i = 0; i < arguments->n_given; i++) {
        if (strcmp(arguments->given[i].option->name, name) == 0) {
            text = arguments->given[i].value;
        }
    }
    return text;
}

const char *cli_nth(const struct cli_arguments *arguments, const char *name, size_t position)
{
    for (size_t i = 0; i < arguments->n_given; i++) {
        if (strcmp(arguments->given[i].option->name, name) == 0 && position-- == 0) {
            return arguments->given[i].value;
        }
    }
    return NULL;
}

bool cli_number(const struct cli_arguments *arguments, const char *name, uint32_t min, uint32_t max,
                uint32_t *number_out)
{
    const char *text = cli_text(arguments, name);
    char *end = NULL;
    errno = 0;
    long number = text == NULL ? -1 : strtol(text, &end, 10);
    if (text == NULL || end == text || *end != '\0' || errno != 0 || number < (long)min || number > (long)max) {
        (void)fprintf(stderr, "caucus: --%s: must be a whole number between %u and %u\n", name, min, max);
        return false;
    }
    *number_out = (uint32_t)number;
    return true;
}

// Text of several lines, each indented.
static void print_block(const char *text, int indent)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        (void)printf("%*s%.*s\n", n == 0 ? 0 : indent, "", (int)n, text);
        text += text[n] == '\n' ? n + 1 : n;
    }
}

static void print_option(const struct cli_option *option)
{
    char left[64];
    (void)snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument == NULL ? "" : " ",
                   option->argument == NULL ? "" : option->argument);
    (void)printf("  %-22s %s", left, option->help);
    if (option->fallback != NULL) {
        (void)printf(" Default: %s.", option->fallback);
    }
    (void)printf("\n");
}

void cli_print_help(const struct cli_command *command)
{
    (void)printf("usage: caucus %s [options]%s%s\n\n", command->name, command->positional == NULL ? "" : " ",
                 command->positional == NULL ? "" : command->positional);
    print_block(command->description, 0);
    (void)printf("\noptions:\n");
    for (size_t i = 0; i < command->n_options; i++) {
        print_option(&command->options[i]);
    }
    print_option(&help_option);
    if (command->more_help != NULL) {
        command->more_help();
    }
}

enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)fflush(stdout);
    (void)fputs("caucus: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    return code;
}
