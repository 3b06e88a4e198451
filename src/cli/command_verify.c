// caucus verify: whether all replicas hold the same rows, table by table.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/monotonic.h"
#include "cli/one_point.h"
#include "cli/verify_rows.h"

enum { DIGEST_MS = 30 * 60 * 1000, ROWS_NAMED_MAX = 20, NAMING_MS = 30 * 1000 };

static const struct cli_option options[] = {
    CLI_REPLICAS_OPTIONS,
    {.name = "wait",
     .argument = "SECONDS",
     .fallback = "30",
     .help = "How long to wait for replicas that are still moving, in all."},
    {.name = "no-pause", .help = "Never let new writes wait for a moment, so that replicas come to one point while clients write."},
    {.name = "repair", .help = "Weak tables that differ are made equal, from the states and histories of their rows."},
    {.name = "json", .help = "One JSON document: a list with each table's result and the digests."},
};

enum verdict { VERDICT_EQUAL, VERDICT_DIFFERENT, VERDICT_MOVING, VERDICT_UNREACHABLE, VERDICT_FAILED };

struct comparison {
    enum verdict verdict;
    json_t *digests[CC_REPLICAS_MAX]; // NULL: no answer
    json_t *rows;                     // DIFFERENT: some of them
    char text[600];                   // what is wrong
};

static const char *verdict_name(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_EQUAL:
        return "equal";
    case VERDICT_DIFFERENT:
        return "DIFFERENT";
    case VERDICT_MOVING:
        return "still moving";
    case VERDICT_UNREACHABLE:
        return "unreachable";
    case VERDICT_FAILED:
        return "failed";
    }
    return "";
}

static void clear(struct comparison *comparison)
{
    for (size_t i = 0; i < CC_REPLICAS_MAX; i++) {
        json_decref(comparison->digests[i]);
    }
    json_decref(comparison->rows);
    *comparison = (struct comparison){0};
}

static void judge(const struct cli_replicas *replicas, struct comparison *comparison)
{
    comparison->verdict = VERDICT_EQUAL;
    for (size_t i = 1; i < replicas->n; i++) {
        const json_t *first = comparison->digests[0], *other = comparison->digests[i];
        if (!cli_is_same(first, other, "digest") || !cli_is_same(first, other, "rows")) {
            comparison->verdict = VERDICT_DIFFERENT;
            (void)snprintf(comparison->text, sizeof(comparison->text),
                           "replica %u has %lld rows, replica %u has %lld, digests %s", replicas->ids[0],
                           (long long)json_integer_value(json_object_get(first, "rows")), replicas->ids[i],
                           (long long)json_integer_value(json_object_get(other, "rows")),
                           cli_is_same(first, other, "digest") ? "equal" : "differ");
            return;
        }
    }
}

static void show_progress(const char *table, const char *text)
{
    if (isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\r\033[K%s: %s", table, text);
        (void)fflush(stderr);
    }
}

static void end_progress(void)
{
    if (isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\r\033[K");
    }
}

static void compare(const struct cli_replicas *replicas, const char *table, const struct cli_point_options *point_options, struct comparison *comparison)
{
    struct cc_buffer path = {0};
    cc_buffer_append_text(&path, "/_caucus/digest?table=");
    http_put_encoded(&path, table);
    cc_buffer_append_text(&path, "&full=true"); // from the rows, not what was kept up
    show_progress(table, "reading its rows");
    enum cli_point point = cli_ask_at_one_point(replicas, cc_buffer_text(&path), point_options, show_progress, table, comparison->digests, comparison->text,
                                                sizeof(comparison->text));
    cc_buffer_finish(&path);
    switch (point) {
    case CLI_POINT_SAME:
        judge(replicas, comparison);
        break;
    case CLI_POINT_MOVING:
        comparison->verdict = VERDICT_MOVING;
        break;
    case CLI_POINT_UNREACHABLE:
        comparison->verdict = VERDICT_UNREACHABLE;
        break;
    case CLI_POINT_REFUSED:
        comparison->verdict = VERDICT_FAILED;
        break;
    }
    if (comparison->verdict == VERDICT_DIFFERENT) {
        show_progress(table, "looking for the rows that differ");
        const char *consistency = json_string_value(json_object_get(comparison->digests[0], "consistency"));
        bool weak = consistency != NULL && strcmp(consistency, "weak") == 0;
        struct cli_point_options naming = *point_options; // what differs is worth the time
        uint64_t until = cli_now_ms() + NAMING_MS;
        naming.give_up_ms = until > naming.give_up_ms ? until : naming.give_up_ms;
        comparison->rows = verify_rows_find(replicas, &naming, table, weak, ROWS_NAMED_MAX);
    }
    end_progress();
}

static void print_result(const char *table, const struct cli_replicas *replicas, const struct comparison *comparison,
                         json_t *list)
{
    if (list == NULL) {
        const json_t *first = comparison->digests[0];
        const char *consistency = json_string_value(json_object_get(first, "consistency"));
        bool equal = comparison->verdict == VERDICT_EQUAL;
        (void)printf("%-30s %-7s ", table, consistency == NULL ? "" : consistency);
        if (equal) {
            (void)printf("equal, %lld rows\n", (long long)json_integer_value(json_object_get(first, "rows")));
        } else {
            (void)printf("%s: %s\n", verdict_name(comparison->verdict), comparison->text);
            verify_rows_print(comparison->rows);
            if (comparison->verdict == VERDICT_DIFFERENT && comparison->rows == NULL) {
                (void)puts("    which rows differ could not be read at one point; --wait gives it more time");
            }
        }
        return;
    }
    json_t *digests = json_object();
    for (size_t i = 0; i < replicas->n; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", replicas->ids[i]);
        json_object_set_new(digests, id,
                            comparison->digests[i] == NULL ? json_null() : json_incref(comparison->digests[i]));
    }
    json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:o, s:O?}", "table", table, "result",
                                          verdict_name(comparison->verdict), "reason",
                                          comparison->text[0] == '\0' ? NULL : comparison->text, "replicas", digests,
                                          "rows", comparison->rows));
}

static enum cli_exit worse(enum cli_exit a, enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_EQUAL:
        return a;
    case VERDICT_DIFFERENT:
        return CLI_CORRUPT;
    case VERDICT_MOVING:
    case VERDICT_UNREACHABLE:
    case VERDICT_FAILED:
        return a == CLI_CORRUPT ? a : CLI_REFUSED;
    }
    return a;
}

// "schema.name" of every table that any replica knows, each once. NULL with a message when one does not answer.
static json_t *list_tables(const struct cli_replicas *replicas)
{
    struct http_response responses[CC_REPLICAS_MAX];
    json_t *names = json_object(); // a set, in order
    cli_replicas_get(replicas, "/_caucus/tables", 10000, responses);
    for (size_t i = 0; i < replicas->n; i++) {
        json_t *tables = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        if (tables == NULL && names != NULL) {
            (void)cli_fail(CLI_REFUSED, "replica %u (%s): %s", replicas->ids[i], replicas->urls[i],
                           http_response_problem(&responses[i]));
            json_decref(names);
            names = NULL;
        }
        for (size_t k = 0; k < json_array_size(tables) && names != NULL; k++) {
            const json_t *table = json_array_get(tables, k);
            struct cc_buffer name = {0};
            cc_buffer_printf(&name, "%s.%s", json_string_value(json_object_get(table, "schema")),
                             json_string_value(json_object_get(table, "name")));
            json_object_set_new(names, cc_buffer_text(&name), json_true());
            cc_buffer_finish(&name);
        }
        json_decref(tables);
        http_response_finish(&responses[i]);
    }
    return names;
}

static enum cli_exit verify(const struct cli_replicas *replicas, uint32_t wait_s, bool may_pause, json_t *list)
{
    json_t *tables = list_tables(replicas);
    if (tables == NULL) {
        return CLI_REFUSED;
    }
    enum cli_exit code = CLI_OK;
    const struct cli_point_options point = {.answer_ms = DIGEST_MS, .give_up_ms = cli_now_ms() + wait_s * 1000ull, .may_pause = may_pause};
    const char *table = NULL;
    json_t *unused = NULL;
    json_object_foreach(tables, table, unused)
    {
        struct comparison comparison = {0};
        compare(replicas, table, &point, &comparison);
        print_result(table, replicas, &comparison, list);
        code = worse(code, comparison.verdict);
        clear(&comparison);
    }
    json_decref(tables);
    return code;
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    uint32_t wait_s = 0;
    if (!cli_number(arguments, "wait", 0, 86400, &wait_s)) {
        return CLI_USAGE;
    }
    struct cli_replicas replicas;
    enum cli_exit code = cli_replicas_find(arguments, &replicas);
    if (code != CLI_OK) {
        return code;
    }
    json_t *list = cli_is_given(arguments, "json") ? json_array() : NULL;
    bool may_pause = !cli_is_given(arguments, "no-pause");
    code = verify(&replicas, wait_s, may_pause, list);
    if (code != CLI_OK && cli_is_given(arguments, "repair")) { // also when one does not answer: the others compare what they have
        if (verify_rows_repair(&replicas)) {
            json_array_clear(list);
            code = verify(&replicas, wait_s, may_pause, list);
        } else {
            code = CLI_REFUSED;
        }
    }
    if (list != NULL) {
        char *text = json_dumps(list, JSON_INDENT(2));
        (void)puts(text);
        free(text);
        json_decref(list);
    } else if (code == CLI_OK) {
        (void)printf("all %zu replicas hold the same rows\n", replicas.n);
    }
    cli_replicas_finish(&replicas);
    return code;
}

const struct cli_command command_verify = {
    .name = "verify",
    .summary = "Whether all replicas hold the same rows.",
    .description = "Compares a digest of every table between all replicas: of strong tables at the same index of the "
                   "log, of weak tables at\n"
                   "the same frontier. Replicas that are still catching up are asked again. Where clients write all the time, new writes are\n"
                   "asked to wait at all replicas for a tenth of a second, so that there is such a point (at most 1.6 s, when that does not do).\n"
                   "Rows that differ are named, with a digest of each replica's and the last write of a weak row. --repair makes weak rows equal: "
                   "each field as the\n"
                   "greatest stamp has it, and as the history tells where two values have one stamp. A replica whose strong rows differ is to be "
                   "emptied: stop it,\n"
                   "remove its data directory, start it; it takes a snapshot. --repair goes on without replicas that do not answer; the others compare with\n"
                   "them by themselves later.\n"
                   "Exit code 0: all equal; 65: a table differs; 69: a replica does not answer, or they were never at "
                   "the same point,\n"
                   "or --repair could not compare two of them, which are named.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
