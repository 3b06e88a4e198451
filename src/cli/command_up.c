// caucus up: a whole cluster for development on this machine, from one command.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http_client.h"
#include "cli/migration_file.h"
#include "cli/monotonic.h"
#include "cli/token.h"
#include "cli/up_children.h"
#include "cli/up_directory.h"
#include "proxy/supervisor/supervisor_files.h"

enum { READY_MS = 120 * 1000, ASK_MS = 2000, PAUSE_MS = 50, SCHEMA_MS = 60 * 1000, TABLES_TRIES = 40 };

static const struct cli_option options[] = {
    {.name = "replicas", .argument = "N", .help = "How many replicas (1 to 15). Default: 3, or what DIR has."},
    {.name = "dir",
     .argument = "DIR",
     .fallback = "./caucus-data",
     .help = "Where configuration, keys, data and logs are."},
    {.name = "port",
     .argument = "BASE",
     .help = "HTTP at BASE+1, BASE+2, ..., peers at BASE+101, ... Default: 7100, or what DIR has."},
    {.name = "schema", .argument = "FILE", .help = "SQL file to apply as a migration named after it; may be repeated."},
    {.name = "no-restart", .help = "A replica or PostgreSQL that died stays down."},
};

static bool keep_going(void *context)
{
    return up_children_turn(context, 0);
}

// -- Waiting for all replicas --------------------------------------------------------------------------------------------

struct readiness {
    bool ready[CC_REPLICAS_MAX];
    char reasons[CC_REPLICAS_MAX][200];
    size_t n_ready;
};

static void note(struct readiness *readiness, size_t i, const struct http_response *response)
{
    json_t *json = http_response_json(response);
    const char *reason = json_string_value(json_object_get(json, "reason"));
    readiness->ready[i] = response->status == 200;
    readiness->n_ready += readiness->ready[i];
    (void)snprintf(readiness->reasons[i], sizeof(readiness->reasons[i]), "%s",
                   reason != NULL ? reason : http_response_problem(response));
    json_decref(json);
}

static void ask_ready(struct up_children *children, struct readiness *readiness_out)
{
    const struct config *config = &children->directory->config;
    struct http_request requests[CC_REPLICAS_MAX];
    struct http_response responses[CC_REPLICAS_MAX];
    char urls[CC_REPLICAS_MAX][300];
    for (size_t i = 0; i < config->n_replicas; i++) {
        (void)snprintf(urls[i], sizeof(urls[i]), "http://%.200s/_caucus/ready", config->replicas[i].http.text);
        requests[i] = (struct http_request){.url = urls[i], .timeout_ms = ASK_MS};
    }
    *readiness_out = (struct readiness){0};
    http_fetch(requests, responses, config->n_replicas, keep_going, children);
    for (size_t i = 0; i < config->n_replicas; i++) {
        note(readiness_out, i, &responses[i]);
        http_response_finish(&responses[i]);
    }
}

static void say_who_is_not_ready(const struct up_children *children, const struct readiness *readiness)
{
    for (size_t i = 0; i < children->n; i++) {
        if (!readiness->ready[i]) {
            (void)cli_fail(CLI_REFUSED, "replica %u is not ready: %s; see %s", children->children[i].replica,
                           readiness->reasons[i], children->children[i].log);
        }
    }
}

static enum cli_exit wait_ready(struct up_children *children)
{
    struct readiness readiness = {0};
    uint64_t give_up_ms = cli_now_ms() + READY_MS;
    while (up_children_turn(children, PAUSE_MS)) {
        ask_ready(children, &readiness);
        if (readiness.n_ready == children->n) {
            children->all_ready = true;
            return CLI_OK;
        }
        if (cli_now_ms() >= give_up_ms) {
            say_who_is_not_ready(children, &readiness);
            return CLI_REFUSED;
        }
    }
    return children->fatal;
}

// -- Schema --------------------------------------------------------------------------------------------------------------

static enum cli_exit apply_schema(struct up_children *children, const char *path)
{
    struct cc_buffer name = {0};
    struct migration_report report;
    enum cli_exit code = CLI_OK;
    migration_file_send(path, children->directory->config.replicas[0].http.text, SCHEMA_MS, keep_going, children, &name,
                        &report);
    switch (report.result) {
    case MIGRATION_FILE_APPLIED:
        (void)printf("schema %s is applied\n", cc_buffer_text(&name));
        break;
    case MIGRATION_FILE_THERE:
        (void)printf("schema %s was applied before\n", cc_buffer_text(&name));
        break;
    case MIGRATION_FILE_REFUSED:
        code = children->stopping ? CLI_OK : cli_fail(CLI_REFUSED, "%s: %s", path, report.text);
        break;
    case MIGRATION_FILE_UNREADABLE:
        code = cli_fail(CLI_IO, "%s: %s", path, report.text);
        break;
    }
    cc_buffer_finish(&name);
    return code;
}

static enum cli_exit apply_schemas(struct up_children *children, const struct cli_arguments *arguments)
{
    const char *path = NULL;
    enum cli_exit code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && (path = cli_nth(arguments, "schema", i)) != NULL; i++) {
        code = apply_schema(children, path);
    }
    return code;
}

static enum cli_exit check_schemas(const struct cli_arguments *arguments)
{
    const char *path = NULL;
    for (size_t i = 0; (path = cli_nth(arguments, "schema", i)) != NULL; i++) {
        FILE *file = fopen(path, "re");
        if (file == NULL) {
            return cli_fail(CLI_IO, "%s: cannot be read", path);
        }
        (void)fclose(file);
    }
    return CLI_OK;
}

// -- What runs where -----------------------------------------------------------------------------------------------------

static void print_psql(const struct config *config, const struct config_replica *replica)
{
    struct supervisor_user user;
    struct supervisor_place place = {0};
    char error[SUPERVISOR_ERROR_BYTES];
    bool managed = replica->conninfo[0] == '\0';
    if (!managed) {
        (void)printf("psql '%s'", replica->conninfo);
    } else if (supervisor_find_user(config->postgres.system_user, &user, error) == CC_OK &&
               supervisor_make_place(replica->data_directory, &user, &place, error) == CC_OK) {
        (void)printf("psql -h %s -U postgres %s", place.sockets, config->postgres.database);
    }
    supervisor_place_finish(&place);
}

// The tables that the replica serves; it may be a moment behind the schema just applied. NULL when it does not answer.
static json_t *get_tables(struct up_children *children, const char *http, unsigned n_tries)
{
    char url[300];
    json_t *tables = NULL;
    (void)snprintf(url, sizeof(url), "http://%.200s/_caucus/tables", http);
    struct http_request request = {.url = url, .timeout_ms = ASK_MS};
    for (unsigned i = 0; i < n_tries && json_array_size(tables) == 0 && up_children_turn(children, PAUSE_MS); i++) {
        struct http_response response;
        json_decref(tables);
        http_fetch(&request, &response, 1, NULL, NULL);
        tables = response.status == 200 ? http_response_json(&response) : NULL;
        http_response_finish(&response);
    }
    return tables;
}

// The first table of a class, to show how it is read.
static void print_example(const json_t *tables, const char *consistency, const struct config_replica *replica)
{
    for (size_t i = 0; i < json_array_size(tables); i++) {
        const json_t *table = json_array_get(tables, i);
        const char *class = json_string_value(json_object_get(table, "consistency"));
        const char *name = json_string_value(json_object_get(table, "name"));
        if (class != NULL && name != NULL && strcmp(class, consistency) == 0) {
            (void)printf("  curl 'http://%s/%s?limit=3'\n", replica->http.text, name);
            return;
        }
    }
}

static void print_overview(struct up_children *children, bool has_schema)
{
    const struct up_directory *directory = children->directory;
    const struct config *config = &directory->config;
    const struct config_replica *first = &config->replicas[0], *last = &config->replicas[config->n_replicas - 1];
    json_t *tables = get_tables(children, first->http.text, has_schema ? TABLES_TRIES : 1);
    (void)printf("\n%-8s %-26s %-18s %s\n", "replica", "http", "peers",
                 "PostgreSQL (to look at: writes go through http)");
    for (size_t i = 0; i < config->n_replicas; i++) {
        const struct config_replica *replica = &config->replicas[i];
        (void)printf("%-8u http://%-19s %-18s ", replica->id, replica->http.text, replica->peer.text);
        print_psql(config, replica);
        (void)printf("\n");
    }
    (void)printf("\nconfiguration: %s\nlogs: %s/N/caucus.log and postgres.log\n\ntry:\n", directory->config_path,
                 directory->path);
    (void)printf("  %s status --config %s\n", program_invocation_name, directory->config_path);
    (void)printf("  curl http://%s/_caucus/tables\n", first->http.text);
    print_example(tables, "strong", last);
    print_example(tables, "weak", last);
    json_decref(tables);
    (void)printf("\nCtrl-C stops everything; the same command goes on with the same data.\nready\n");
    (void)fflush(stdout);
}

// -- The command ---------------------------------------------------------------------------------------------------------

static enum cli_exit run_cluster(struct up_children *children, const struct cli_arguments *arguments)
{
    enum cli_exit code = up_children_start(children);
    if (code == CLI_OK) {
        (void)printf("starting %zu replicas in %s\n", children->n, children->directory->path);
        (void)fflush(stdout);
        code = wait_ready(children);
    }
    if (code == CLI_OK && !children->stopping) {
        code = apply_schemas(children, arguments);
    }
    if (code != CLI_OK || children->stopping) {
        return code;
    }
    print_overview(children, cli_is_given(arguments, "schema"));
    while (up_children_turn(children, 1000)) {
    }
    (void)printf("stopping\n");
    (void)fflush(stdout);
    return CLI_OK;
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    struct up_wish wish = {.directory = cli_text(arguments, "dir")};
    bool good = (!cli_is_given(arguments, "replicas") ||
                 cli_number(arguments, "replicas", 1, CC_REPLICAS_MAX, &wish.n_replicas)) &&
                (!cli_is_given(arguments, "port") ||
                 cli_number(arguments, "port", 1, 65535 - UP_PEER_OFFSET - CC_REPLICAS_MAX, &wish.port));
    if (!good) {
        return CLI_USAGE;
    }
    enum cli_exit code = check_schemas(arguments);
    struct up_directory directory;
    code = code == CLI_OK ? up_directory_open(&wish, &directory) : code;
    if (code != CLI_OK) {
        return code;
    }
    token_use_own(&directory.config.auth);
    code = up_directory_check_ports(&directory);
    if (code == CLI_OK) {
        struct up_children children;
        up_children_init(&children, &directory, cli_is_given(arguments, "no-restart"));
        code = run_cluster(&children, arguments);
        up_children_stop(&children);
        up_children_finish(&children);
    }
    up_directory_close(&directory);
    return code;
}

const struct cli_command command_up = {
    .name = "up",
    .summary = "Run a whole cluster on this machine, for development.",
    .description = "Makes and runs N replicas on 127.0.0.1, each with a PostgreSQL of its own (unix socket only), "
                   "applies the schema, prints\n"
                   "what runs where, then the line `ready`. Runs until Ctrl-C, which stops everything. With the same "
                   "DIR it goes on with the\n"
                   "same data. A replica or PostgreSQL that dies is started again.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
