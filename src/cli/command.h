// Commands of the program: what each one is called, takes and does. Parsing, --help and the list of commands come from these tables.
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Exit codes, after sysexits.h.
enum cli_exit {
    CLI_OK = 0,
    CLI_USAGE = 64,   // the command line is wrong
    CLI_CORRUPT = 65, // damaged or differing data
    CLI_REFUSED = 69, // not possible now, not reachable, or refused
    CLI_IO = 74,      // a file or disk failed
    CLI_CONFIG = 78,  // the configuration is wrong
};

enum { CLI_GIVEN_MAX = 64 };

struct cli_option {
    const char *name;     // "dir" for --dir
    const char *argument; // "DIR"; NULL: a flag
    const char *fallback; // what holds when it is not given; NULL: nothing
    const char *help;
};

struct cli_arguments;

struct cli_command {
    const char *name;
    const char *positional; // "FILE...", for the usage line
    const char *summary;    // one line
    const char *description;
    const struct cli_option *options;
    size_t n_options;
    void (*more_help)(void); // printed behind the options; may be NULL
    enum cli_exit (*run)(const struct cli_arguments *arguments);
};

struct cli_given {
    const struct cli_option *option;
    const char *value;
};

struct cli_arguments { // borrows from argv
    const struct cli_command *command;
    size_t n_given;
    struct cli_given given[CLI_GIVEN_MAX];
    size_t n_positional;
    const char *positional[CLI_GIVEN_MAX];
};

// The commands, in the order of the help.
extern const struct cli_command command_up, command_serve, command_status, command_migrate, command_verify,
    command_keygen, command_token, command_log, command_member, command_reload, command_bench;

// Reads what follows the command's name. False with a sentence in error_out. `--help` counts as given.
bool cli_parse(const struct cli_command *command, int argc, char *const argv[], struct cli_arguments *arguments_out,
               char error_out[static 200]);
bool cli_wants_help(const struct cli_arguments *arguments);

bool cli_is_given(const struct cli_arguments *arguments, const char *name);
// The last value given, else the fallback (maybe NULL).
const char *cli_text(const struct cli_arguments *arguments, const char *name);
// The values of an option that may be repeated; NULL behind the last.
const char *cli_nth(const struct cli_arguments *arguments, const char *name, size_t position);
// A whole number in [min, max]; false with a message on stderr when it is none.
bool cli_number(const struct cli_arguments *arguments, const char *name, uint32_t min, uint32_t max,
                uint32_t *number_out);

void cli_print_help(const struct cli_command *command);
// "caucus <command>: <text>" on stderr; gives the code back.
enum cli_exit cli_fail(enum cli_exit code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
