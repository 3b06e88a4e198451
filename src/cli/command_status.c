// caucus status: what every replica says of itself, as a table.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/replicas.h"

static const struct cli_option options[] = {
    CLI_REPLICAS_OPTIONS,
    {.name = "json",
     .help = "One JSON document: a list with each replica's url, whether it is reachable, and its status."},
};

static uint64_t number(const json_t *status, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(status, name));
}

static const char *text_of(const json_t *status, const char *name)
{
    const char *text = json_string_value(json_object_get(status, name));
    return text == NULL ? "-" : text;
}

static void put_frontier(struct cc_buffer *out, const json_t *status)
{
    const char *origin = NULL;
    json_t *sequence = NULL;
    json_object_foreach(json_object_get(status, "frontier"), origin, sequence)
    {
        cc_buffer_printf(out, "%s%s:%" JSON_INTEGER_FORMAT, out->n == 0 ? "" : " ", origin,
                         json_integer_value(sequence));
    }
    if (out->n == 0) {
        cc_buffer_append_text(out, "-");
    }
}

static void print_note(bool holds, const char *text)
{
    if (holds) {
        (void)printf("         %s\n", text);
    }
}

static void print_repair(const json_t *repair)
{
    const char *table = json_string_value(json_object_get(repair, "table"));
    if (table != NULL) {
        bool whole = json_is_true(json_object_get(repair, "catching_up"));
        (void)printf("         %s replica %" PRIu64 ": table %s, %" PRIu64 " %%, %" PRIu64 " rows made equal\n",
                     whole ? "takes over rows of weak tables from" : "compares its weak tables with", number(repair, "member"), table,
                     number(repair, "table_percent"), number(repair, "rows_repaired"));
    }
}

// Where that is not plain: which of its origins it writes under, or that it has not been confirmed.
static void print_origin(const json_t *status)
{
    char own[16];
    const char *name = NULL, *origin = text_of(status, "origin");
    json_t *sequence = NULL;
    size_t n = 0;
    snprintf(own, sizeof(own), "%" PRIu64 ".", number(status, "replica"));
    json_object_foreach(json_object_get(status, "frontier"), name, sequence)
    {
        n += strncmp(name, own, strlen(own)) == 0;
    }
    if (json_is_false(json_object_get(status, "origin_confirmed"))) {
        (void)printf("         origin %s: not every member has told, since the start, what it has of its weak changes; a weak write begins a new one\n", origin);
    } else if (n > 1) {
        (void)printf("         writes weak changes under origin %s\n", origin);
    }
}

// What an operator should know, below the row.
static void print_notes(const json_t *status)
{
    const char *halted = json_string_value(json_object_get(status, "halted"));
    if (halted != NULL) {
        (void)printf("         refuses service: %s\n", halted);
    }
    const json_t *database_up = json_object_get(json_object_get(status, "postgres"), "up");
    print_note(json_is_false(database_up), "its PostgreSQL is not connected: its log says why (database_down)");
    const json_t *member = json_object_get(status, "member");
    print_note(json_is_false(member), "is no member of the cluster: refuses service");
    print_note(json_is_true(json_object_get(status, "recovering")), "recovering: its log is new, it does not vote until it has caught up");
    print_note(json_is_true(json_object_get(status, "must_rejoin")), "must rejoin: refuses weak writes until it has written its own again");
    print_note(json_object_get(status, "changes_missing") != NULL, "its PostgreSQL has lost weak changes that nobody has sent yet: refuses weak writes");
    print_note(json_object_get(status, "changes_lost") != NULL, "weak changes of its own are lost for good: its log says which (changes_lost)");
    print_origin(status);
    print_note(json_is_true(json_object_get(status, "clock_off")), "its clock is off: refuses weak writes");
    print_note(json_is_true(json_object_get(status, "space_low")), "its disk is nearly full: takes no writes");
    print_note(json_is_true(json_object_get(status, "disk_slow")), "its disk is slow: does not lead if another can");
    print_repair(json_object_get(status, "repair"));
    size_t i;
    const json_t *difference;
    json_array_foreach(json_object_get(status, "config_differs"), i, difference)
    {
        (void)printf("         config.json: %s\n", json_string_value(difference));
    }
}

static void print_row(uint32_t id, const char *url, const struct http_response *response, const json_t *status,
                      uint64_t commit_max)
{
    if (status == NULL) {
        bool answered = response->status != 0;
        (void)printf("%-8" PRIu32 " %-28s %s%s\n", id, url, answered ? "refuses to tell: " : "not reachable",
                     answered ? http_response_problem(response) : "");
        return;
    }
    struct cc_buffer frontier = {0};
    uint64_t applied = number(status, "applied");
    put_frontier(&frontier, status);
    (void)printf("%-8" PRIu32 " %-28s %-10s %6" PRIu64 " %7" PRIu64 " %9" PRIu64 " %9" PRIu64 " %7" PRIu64 " %7" PRIu64
                 "  %s\n",
                 id, url, text_of(status, "role"), number(status, "term"), number(status, "leader"),
                 number(status, "commit"), applied, commit_max > applied ? commit_max - applied : 0,
                 number(status, "schema_version"), cc_buffer_text(&frontier));
    print_notes(status);
    cc_buffer_finish(&frontier);
}

static void print_table(const struct cli_replicas *replicas, const struct http_response *responses,
                        json_t *const *statuses)
{
    uint64_t commit_max = 0;
    const char *cluster = NULL;
    for (size_t i = 0; i < replicas->n; i++) {
        commit_max = number(statuses[i], "commit") > commit_max ? number(statuses[i], "commit") : commit_max;
        cluster = cluster == NULL && statuses[i] != NULL ? text_of(statuses[i], "cluster") : cluster;
    }
    (void)printf("cluster %s\n%-8s %-28s %-10s %6s %7s %9s %9s %7s %7s  %s\n", cluster == NULL ? "?" : cluster,
                 "replica", "http", "role", "term", "leader", "commit", "applied", "behind", "schema", "frontier");
    for (size_t i = 0; i < replicas->n; i++) {
        print_row(replicas->ids[i], replicas->urls[i], &responses[i], statuses[i], commit_max);
    }
}

static void print_json(const struct cli_replicas *replicas, json_t *const *statuses)
{
    json_t *list = json_array();
    for (size_t i = 0; i < replicas->n; i++) {
        json_array_append_new(list,
                              json_pack("{s:I, s:s, s:b, s:O?}", "id", (json_int_t)replicas->ids[i], "url",
                                        replicas->urls[i], "reachable", statuses[i] != NULL, "status", statuses[i]));
    }
    char *text = json_dumps(list, JSON_INDENT(2));
    (void)puts(text);
    free(text);
    json_decref(list);
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    struct cli_replicas replicas;
    enum cli_exit code = cli_replicas_find(arguments, &replicas);
    if (code != CLI_OK) {
        return code;
    }
    struct http_response responses[CC_REPLICAS_MAX];
    json_t *statuses[CC_REPLICAS_MAX];
    size_t n_reachable = 0;
    cli_replicas_get(&replicas, "/_caucus/status", 3000, responses);
    for (size_t i = 0; i < replicas.n; i++) {
        statuses[i] = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        n_reachable += statuses[i] != NULL;
    }
    if (cli_is_given(arguments, "json")) {
        print_json(&replicas, statuses);
    } else {
        print_table(&replicas, responses, statuses);
    }
    for (size_t i = 0; i < replicas.n; i++) {
        json_decref(statuses[i]);
        http_response_finish(&responses[i]);
    }
    cli_replicas_finish(&replicas);
    return n_reachable > 0 ? CLI_OK : CLI_REFUSED;
}

const struct cli_command command_status = {
    .name = "status",
    .summary = "Who leads, and how far each replica is.",
    .description =
        "Asks every replica and prints one line for each: its role and term, whom it takes for the leader, the index "
        "up to\n"
        "which the log is committed and the index that its database has applied, how many entries it is behind, its\n"
        "schema version (number of migrations), and its frontier: for every origin of weak writes the last one it "
        "holds.\n"
        "Exit code 69 when no replica answers.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
