// The program: finds the command that is meant and runs it.
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

#ifndef CAUCUS_VERSION
#define CAUCUS_VERSION "unknown"
#endif

static const struct cli_command *const commands[] = {&command_up,      &command_serve,  &command_status,
                                                     &command_migrate, &command_verify, &command_keygen,
                                                     &command_token,   &command_log,    &command_member, &command_reload,
                                                     &command_bench};

static void print_overview(FILE *out)
{
    (void)fputs("Caucus makes one replicated database of several PostgreSQL servers, over HTTP.\n\n"
                "usage: caucus <command> [options]\n\ncommands:\n",
                out);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        (void)fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    }
    (void)fputs(
        "\nTo try it: caucus up\nMore about one: caucus <command> --help. Version: caucus --version\n\n"
        "exit codes: 0 done, 64 wrong command line, 65 damaged or differing data, 69 refused or not reachable,\n"
        "            74 a file or disk failed, 75 start again, 78 wrong configuration\n",
        out);
}

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static enum cli_exit run_command(const struct cli_command *command, int argc, char *const argv[])
{
    struct cli_arguments arguments;
    char error[200];
    if (!cli_parse(command, argc, argv, &arguments, error)) {
        return cli_fail(CLI_USAGE, "%s: %s. See: caucus %s --help", command->name, error, command->name);
    }
    if (cli_wants_help(&arguments)) {
        cli_print_help(command);
        return CLI_OK;
    }
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); // before any thread
    enum cli_exit code = command->run(&arguments);
    curl_global_cleanup();
    return fflush(stdout) == 0 ? code : CLI_IO;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
        (void)printf("caucus %s\n", CAUCUS_VERSION);
        return CLI_OK;
    }
    bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
    const char *name = help && argc > 2 ? argv[2] : word;
    const struct cli_command *command = find_command(name);
    if (command != NULL && help) {
        cli_print_help(command);
        return CLI_OK;
    }
    if (command != NULL) {
        return (int)run_command(command, argc - 2, argv + 2);
    }
    if (help && argc == 2) {
        print_overview(stdout);
        return CLI_OK;
    }
    if (*name != '\0') {
        (void)fprintf(stderr, "caucus: there is no command %s\n\n", name);
    }
    print_overview(stderr);
    return CLI_USAGE;
}
