// caucus reload: brings the cluster's members in line with config.json.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/members.h"
#include "cli/monotonic.h"
#include "proxy/config/config.h"
#include "proxy/config/keys.h"

static const struct cli_option options[] = {
    {.name = "config", .argument = "FILE", .fallback = "config.json", .help = "The edited configuration."},
    {.name = "dry-run", .help = "Only say what would be done."},
    {.name = "wait", .argument = "SECONDS", .fallback = "300", .help = "How long to try."},
};

// The body of POST /_caucus/reload.
static json_t *make_body(const struct config *config, bool dry_run, uint32_t wait_s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config->n_replicas; i++) {
        const struct config_replica *replica = &config->replicas[i];
        char key[KEYS_TEXT_BYTES];
        keys_to_text(replica->public_key, key);
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s}", "id", (json_int_t)replica->id, "http", replica->http.text, "peer",
                                              replica->peer.text, "public_key", key));
    }
    return json_pack("{s:o, s:b, s:I}", "replicas", list, "dry_run", dry_run, "wait_s", (json_int_t)wait_s);
}

static bool knows(const struct cli_replicas *replicas, uint32_t id)
{
    for (size_t i = 0; i < replicas->n; i++) {
        if (replicas->ids[i] == id) {
            return true;
        }
    }
    return false;
}

// The file may list nobody who is a member yet.
static void add_known(struct cli_replicas *replicas)
{
    struct http_response responses[CC_REPLICAS_MAX];
    size_t n = replicas->n;
    cli_replicas_get(replicas, "/_caucus/status", 3000, responses);
    for (size_t i = 0; i < n; i++) {
        json_t *status = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        const json_t *members = json_object_get(status, "replicas");
        for (size_t m = 0; m < json_array_size(members) && replicas->n < CC_REPLICAS_MAX; m++) {
            const json_t *member = json_array_get(members, m);
            uint32_t id = (uint32_t)json_integer_value(json_object_get(member, "id"));
            const char *http = json_string_value(json_object_get(member, "http"));
            if (http != NULL && !knows(replicas, id)) {
                struct cc_buffer url = {0};
                http_put_base(&url, http);
                replicas->ids[replicas->n] = id;
                replicas->urls[replicas->n++] = cc_strdup(cc_buffer_text(&url));
                cc_buffer_finish(&url);
            }
        }
        json_decref(status);
        http_response_finish(&responses[i]);
    }
}

// Who makes the changes: a member, of those that stay if there is one, and of these the leader if it is one.
static int fitness(const json_t *status, const struct config *config, uint32_t id)
{
    if (!json_is_true(json_object_get(status, "member"))) {
        return 0;
    }
    bool leads = strcmp(json_string_value(json_object_get(status, "role")), "leader") == 0;
    return 1 + (config_find_replica(config, id) != NULL ? 2 : 0) + (leads ? 1 : 0);
}

// Its place among the replicas; replicas->n: none can be reached.
static size_t choose(const struct cli_replicas *replicas, const struct config *config)
{
    struct http_response responses[CC_REPLICAS_MAX];
    size_t best = replicas->n;
    int best_fitness = 0;
    cli_replicas_get(replicas, "/_caucus/status", 3000, responses);
    for (size_t i = 0; i < replicas->n; i++) {
        json_t *status = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        int fit = status == NULL ? 0 : fitness(status, config, replicas->ids[i]);
        if (fit > best_fitness) {
            best = i;
            best_fitness = fit;
        }
        json_decref(status);
        http_response_finish(&responses[i]);
    }
    return best;
}

static json_t *fetch(const char *base, const char *path, const char *method, const char *body, struct cc_buffer *problem_out)
{
    struct cc_buffer url = {0};
    cc_buffer_printf(&url, "%s%s", base, path);
    struct http_request request = {.url = cc_buffer_text(&url),
                                   .method = method,
                                   .body = cc_slice_text(body == NULL ? "" : body),
                                   .content_type = body == NULL ? NULL : "application/json",
                                   .timeout_ms = 5000};
    struct http_response response;
    http_fetch(&request, &response, 1, NULL, NULL);
    bool good = response.status == 200 || response.status == 202;
    json_t *answer = good ? http_response_json(&response) : NULL;
    if (answer == NULL) {
        cc_buffer_clear(problem_out);
        cc_buffer_append_text(problem_out, http_response_problem(&response));
    }
    http_response_finish(&response);
    cc_buffer_finish(&url);
    return answer;
}

static void print_changes(const json_t *changes, bool dry_run)
{
    for (size_t i = 0; i < json_array_size(changes); i++) {
        const json_t *change = json_array_get(changes, i);
        (void)printf("%s replica %" JSON_INTEGER_FORMAT "%s\n", json_string_value(json_object_get(change, "action")),
                     json_integer_value(json_object_get(change, "id")), dry_run ? " (not done)" : "");
    }
    if (json_array_size(changes) == 0) {
        (void)puts("nothing to change");
    }
    (void)fflush(stdout);
}

// Until the replica that makes the changes says that they are made, or why not.
static enum cli_exit wait_done(const char *url, uint32_t wait_s)
{
    uint64_t deadline_ms = cli_now_ms() + (wait_s + 5) * UINT64_C(1000);
    struct cc_buffer problem = {0}, why = {0};
    enum cli_exit code = CLI_REFUSED;
    bool ended = false;
    cc_buffer_append_text(&why, "it was not done in time");
    while (!ended && cli_now_ms() < deadline_ms) {
        json_t *status = fetch(url, "/_caucus/status", "GET", NULL, &problem);
        const json_t *reload = json_object_get(status, "reload");
        const char *state = json_string_value(json_object_get(reload, "state"));
        bool running = state != NULL && strcmp(state, "running") == 0;
        if (status != NULL && !running) {
            ended = true;
            code = state != NULL && strcmp(state, "done") == 0 ? CLI_OK : CLI_REFUSED;
            cc_buffer_clear(&why);
            const char *told = json_string_value(json_object_get(reload, "why"));
            cc_buffer_append_text(&why, told == NULL ? "the replica that made the changes was started again" : told);
        }
        json_decref(status);
        if (!ended) {
            cli_sleep_ms(MEMBERS_POLL_MS);
        }
    }
    if (code != CLI_OK) {
        (void)cli_fail(code, "reload: %s. What is done stays done; run it again", cc_buffer_text(&why));
    }
    cc_buffer_finish(&problem);
    cc_buffer_finish(&why);
    return code;
}

static enum cli_exit reload(const struct cli_replicas *replicas, const struct config *config, bool dry_run, uint32_t wait_s)
{
    size_t at = choose(replicas, config);
    if (at == replicas->n) {
        return cli_fail(CLI_REFUSED, "reload: no member of the cluster can be reached: nothing was changed");
    }
    json_t *json = make_body(config, dry_run, wait_s);
    char *body = json_dumps(json, JSON_COMPACT);
    struct cc_buffer problem = {0};
    json_t *answer = fetch(replicas->urls[at], "/_caucus/reload", "POST", body, &problem);
    const json_t *changes = json_object_get(answer, "changes");
    enum cli_exit code = CLI_OK;
    if (answer == NULL) {
        code = cli_fail(CLI_REFUSED, "reload: %s", cc_buffer_text(&problem));
    } else {
        print_changes(changes, dry_run);
        code = json_array_size(changes) > 0 && !dry_run ? wait_done(replicas->urls[at], wait_s) : CLI_OK;
    }
    json_decref(answer);
    json_decref(json);
    free(body);
    cc_buffer_finish(&problem);
    return code;
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    uint32_t wait_s = 0;
    struct config config;
    struct config_error error;
    struct cli_replicas replicas;
    if (!cli_number(arguments, "wait", 1, 86400, &wait_s)) {
        return CLI_USAGE;
    }
    if (config_load_file(cli_text(arguments, "config"), &config, &error) != CC_OK) {
        return cli_fail(CLI_CONFIG, "%s", error.text);
    }
    enum cli_exit code = cli_replicas_find(arguments, &replicas);
    if (code == CLI_OK) {
        add_known(&replicas);
        code = reload(&replicas, &config, cli_is_given(arguments, "dry-run"), wait_s);
        cli_replicas_finish(&replicas);
    }
    config_finish(&config);
    return code;
}

const struct cli_command command_reload = {
    .name = "reload",
    .summary = "Bring the members in line with config.json.",
    .description = "Compares the replicas in config.json with the members in the cluster's log and makes the changes one after the other:\n"
                   "new replicas (started with caucus serve --join) are added as learners and vote once they have caught up, addresses and\n"
                   "keys change, then removals. One of the replicas does it: SIGHUP, or POST /_caucus/reload, has the same effect with the\n"
                   "replica's own config.json. What is done stays done when a later change is refused; run it again.\n"
                   "Exit code 69 when a change was refused or not done in time.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
