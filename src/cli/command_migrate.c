// caucus migrate: applies SQL files, each once, in order of their names.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/migration_file.h"
#include "cli/replicas.h"

static const struct cli_option options[] = {
    CLI_REPLICAS_OPTIONS,
    {.name = "wait",
     .argument = "SECONDS",
     .fallback = "30",
     .help = "How long to try while no leader can be reached."},
    {.name = "json", .help = "One JSON document: a list with each file's name, result and index or error."},
};

static int compare_names(const void *left, const void *right)
{
    const char *a = *(const char *const *)left, *b = *(const char *const *)right;
    const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
    return strcmp(slash_a == NULL ? a : slash_a + 1, slash_b == NULL ? b : slash_b + 1);
}

static const char *result_name(enum migration_result result)
{
    switch (result) {
    case MIGRATION_FILE_APPLIED:
        return "applied";
    case MIGRATION_FILE_THERE:
        return "was applied before";
    case MIGRATION_FILE_REFUSED:
        return "refused";
    case MIGRATION_FILE_UNREADABLE:
        return "unreadable";
    }
    return "";
}

static void print_report(const char *path, const char *name, const struct migration_report *report, json_t *list)
{
    bool done = report->result == MIGRATION_FILE_APPLIED || report->result == MIGRATION_FILE_THERE;
    if (list != NULL) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:s?}", "file", path, "name", name, "result",
                                              result_name(report->result), "index", (json_int_t)report->index, "error",
                                              done ? NULL : report->text));
    } else if (done) {
        (void)printf("%s: %s (index %" PRIu64 ")\n", name, result_name(report->result), report->index);
    } else {
        (void)cli_fail(CLI_REFUSED, "%s: %s: %s", path, result_name(report->result), report->text);
    }
}

// Stops at the first that is not applied: later ones may need it.
static enum cli_exit apply_all(const struct cli_replicas *replicas, const char **paths, size_t n, uint32_t patience_ms,
                               json_t *list)
{
    for (size_t i = 0; i < n; i++) {
        struct cc_buffer name = {0};
        struct migration_report report;
        migration_file_send(paths[i], replicas->urls[0], patience_ms, NULL, NULL, &name, &report);
        print_report(paths[i], cc_buffer_text(&name), &report, list);
        cc_buffer_finish(&name);
        if (report.result == MIGRATION_FILE_UNREADABLE) {
            return CLI_IO;
        }
        if (report.result == MIGRATION_FILE_REFUSED) {
            return CLI_REFUSED;
        }
    }
    return CLI_OK;
}

// Only replicas that answer.
static enum cli_exit keep_reachable(struct cli_replicas *replicas)
{
    struct http_response responses[CC_REPLICAS_MAX];
    struct cli_replicas reachable = {0};
    cli_replicas_get(replicas, "/_caucus/live", 2000, responses);
    for (size_t i = 0; i < replicas->n; i++) {
        if (responses[i].status == 200) {
            reachable.ids[reachable.n] = replicas->ids[i];
            reachable.urls[reachable.n++] = cc_strdup(replicas->urls[i]);
        }
        http_response_finish(&responses[i]);
    }
    cli_replicas_finish(replicas);
    *replicas = reachable;
    return reachable.n > 0 ? CLI_OK : cli_fail(CLI_REFUSED, "no replica answers");
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    const char *paths[CLI_GIVEN_MAX];
    uint32_t wait_s = 0;
    if (arguments->n_positional == 0) {
        return cli_fail(CLI_USAGE, "migrate: name the SQL files to apply");
    }
    if (!cli_number(arguments, "wait", 0, 3600, &wait_s)) {
        return CLI_USAGE;
    }
    struct cli_replicas replicas;
    enum cli_exit code = cli_replicas_find(arguments, &replicas);
    if (code == CLI_OK) {
        code = keep_reachable(&replicas);
    }
    if (code != CLI_OK) {
        return code;
    }
    memcpy(paths, arguments->positional, sizeof(paths));
    qsort(paths, arguments->n_positional, sizeof(paths[0]), compare_names);
    json_t *list = cli_is_given(arguments, "json") ? json_array() : NULL;
    code = apply_all(&replicas, paths, arguments->n_positional, wait_s * 1000, list);
    if (list != NULL) {
        char *text = json_dumps(list, JSON_INDENT(2));
        (void)puts(text);
        free(text);
        json_decref(list);
    }
    cli_replicas_finish(&replicas);
    return code;
}

const struct cli_command command_migrate = {
    .name = "migrate",
    .positional = "FILE...",
    .summary = "Apply SQL files, each once.",
    .description = "Applies each file as a migration named after it (without .sql), in order of the names, through the "
                   "log: all replicas\n"
                   "have it at the same point. All of a file is applied, or nothing. A name that was applied before "
                   "with the same text is\n"
                   "fine; with another text it is refused: changes go into a new file.\n"
                   "Exit code 69 when one is refused or nobody could take it; the files behind it are not tried.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
