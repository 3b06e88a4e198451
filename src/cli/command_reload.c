// caucus reload: brings the cluster's members in line with config.json, one change at a time.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/members.h"
#include "proxy/config.h"
#include "proxy/keys.h"

static const struct cli_option options[] = {
    {.name = "config", .argument = "FILE", .fallback = "config.json", .help = "The edited configuration."},
    {.name = "dry-run", .help = "Only say what would be done."},
    {.name = "wait", .argument = "SECONDS", .fallback = "300", .help = "How long to try each change."},
};

struct reload {
    struct cli_replicas replicas; // of the file, and those that the cluster has besides
    uint32_t wait_s;
    bool dry_run;
    size_t n_changes;
};

static enum cli_exit make_change(struct reload *reload, const char *action, uint32_t id, json_t *change)
{
    reload->n_changes++;
    (void)printf("%s replica %" PRIu32 "%s\n", action, id, reload->dry_run ? " (not done)" : "");
    (void)fflush(stdout);
    enum cli_exit code = reload->dry_run ? CLI_OK : members_change(&reload->replicas, change, reload->wait_s);
    json_decref(change);
    return code;
}

static enum cli_exit set_member(struct reload *reload, const struct config_replica *listed, const json_t *member)
{
    char key[KEYS_TEXT_BYTES];
    keys_to_text(listed->public_key, key);
    const char *http = json_string_value(json_object_get(member, "http"));
    const char *peer = json_string_value(json_object_get(member, "peer"));
    const char *known = json_string_value(json_object_get(member, "public_key"));
    bool same = http != NULL && peer != NULL && strcmp(http, listed->http.text) == 0 && strcmp(peer, listed->peer.text) == 0 &&
                (known == NULL || strcmp(known, key) == 0);
    if (same) {
        return CLI_OK;
    }
    json_t *change = json_pack("{s:s, s:I, s:s, s:s, s:s}", "action", "add", "id", (json_int_t)listed->id, "http", listed->http.text, "peer",
                               listed->peer.text, "public_key", key);
    enum cli_exit code = make_change(reload, member == NULL ? "add" : "change", listed->id, change);
    if (code == CLI_OK && member == NULL && !reload->dry_run) {
        code = members_wait_voter(&reload->replicas, listed->id, reload->wait_s);
    }
    return code;
}

// New ones first, so that there are never fewer than needed.
static enum cli_exit apply(struct reload *reload, const struct config *config, const json_t *status)
{
    enum cli_exit code = CLI_OK;
    for (size_t i = 0; code == CLI_OK && i < config->n_replicas; i++) {
        code = set_member(reload, &config->replicas[i], members_find(status, config->replicas[i].id));
    }
    const json_t *members = json_object_get(status, "replicas");
    for (size_t i = 0; code == CLI_OK && i < json_array_size(members); i++) {
        uint32_t id = (uint32_t)json_integer_value(json_object_get(json_array_get(members, i), "id"));
        if (config_find_replica(config, id) == NULL) {
            code = make_change(reload, "remove", id, json_pack("{s:s, s:I}", "action", "remove", "id", (json_int_t)id));
        }
    }
    return code;
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

// Who is to be removed may lead.
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

static enum cli_exit run(const struct cli_arguments *arguments)
{
    struct reload reload = {.dry_run = cli_is_given(arguments, "dry-run")};
    struct config config;
    struct config_error error;
    if (!cli_number(arguments, "wait", 1, 86400, &reload.wait_s)) {
        return CLI_USAGE;
    }
    if (config_load_file(cli_text(arguments, "config"), &config, &error) != CC_OK) {
        return cli_fail(CLI_CONFIG, "%s", error.text);
    }
    enum cli_exit code = cli_replicas_find(arguments, &reload.replicas);
    if (code == CLI_OK) {
        add_known(&reload.replicas);
        json_t *status = members_leader_status(&reload.replicas);
        code = status == NULL ? cli_fail(CLI_REFUSED, "reload: no leader can be reached: nothing was changed") : apply(&reload, &config, status);
        json_decref(status);
        cli_replicas_finish(&reload.replicas);
    }
    if (code == CLI_OK && reload.n_changes == 0) {
        (void)puts("nothing to change");
    }
    config_finish(&config);
    return code;
}

const struct cli_command command_reload = {
    .name = "reload",
    .summary = "Bring the members in line with config.json.",
    .description = "Compares the replicas in config.json with the members in the cluster's log and makes the changes one after the other:\n"
                   "new replicas (started with caucus serve --join) are added as learners and vote once they have caught up, then changed\n"
                   "addresses and keys, then removals. What is done stays done when a later one is refused; run it again.\n"
                   "Exit code 69 when a change was refused or not done in time.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
