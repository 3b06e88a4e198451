// caucus member: who belongs to the cluster, and changes of that.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/members.h"

static const struct cli_option options[] = {
    CLI_REPLICAS_OPTIONS,
    {.name = "http", .argument = "HOST:PORT", .help = "add: where the new replica serves HTTP."},
    {.name = "peer", .argument = "HOST:PORT", .help = "add: where the other replicas reach it."},
    {.name = "key", .argument = "HEX", .help = "add: its public key (caucus keygen)."},
    {.name = "wait", .argument = "SECONDS", .fallback = "60", .help = "How long to try."},
    {.name = "json", .help = "list: one JSON document."},
};

static enum cli_exit list(const struct cli_arguments *arguments, const struct cli_replicas *replicas)
{
    json_t *leader = members_leader_status(replicas);
    const json_t *members = json_object_get(leader, "replicas");
    if (leader == NULL) {
        return cli_fail(CLI_REFUSED, "member list: no leader can be reached");
    }
    if (cli_is_given(arguments, "json")) {
        char *text = json_dumps(members, JSON_INDENT(2));
        (void)puts(text);
        free(text);
        json_decref(leader);
        return CLI_OK;
    }
    (void)printf("%-8s %-8s %-24s %-24s %-10s %s\n", "member", "votes", "http", "peer", "role", "applied");
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *member = json_array_get(members, i);
        (void)printf("%-8" JSON_INTEGER_FORMAT " %-8s %-24s %-24s %-10s %" JSON_INTEGER_FORMAT "\n",
                     json_integer_value(json_object_get(member, "id")), json_is_true(json_object_get(member, "voter")) ? "yes" : "learner",
                     json_string_value(json_object_get(member, "http")), json_string_value(json_object_get(member, "peer")),
                     json_string_value(json_object_get(member, "role")), json_integer_value(json_object_get(member, "applied")));
    }
    json_decref(leader);
    return CLI_OK;
}

static enum cli_exit change(const struct cli_arguments *arguments, const struct cli_replicas *replicas, const char *action, uint32_t id)
{
    uint32_t wait_s = 0;
    if (!cli_number(arguments, "wait", 1, 86400, &wait_s)) {
        return CLI_USAGE;
    }
    json_t *json = json_pack("{s:s}", "action", action);
    if (id > 0) {
        json_object_set_new(json, "id", json_integer(id));
    }
    bool adds = strcmp(action, "add") == 0;
    if (adds) {
        json_object_set_new(json, "http", json_string(cli_text(arguments, "http")));
        json_object_set_new(json, "peer", json_string(cli_text(arguments, "peer")));
        json_object_set_new(json, "public_key", json_string(cli_text(arguments, "key")));
    }
    enum cli_exit code = members_change(replicas, json, wait_s);
    json_decref(json);
    if (code == CLI_OK) {
        (void)printf("%s: done%s\n", action, adds ? "; it votes once it has caught up (caucus member list)" : "");
    }
    return code;
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    const char *action = arguments->n_positional > 0 ? arguments->positional[0] : "list";
    bool is_list = strcmp(action, "list") == 0, is_transfer = strcmp(action, "transfer") == 0, is_add = strcmp(action, "add") == 0;
    bool known = is_list || is_transfer || is_add || strcmp(action, "remove") == 0 || strcmp(action, "promote") == 0;
    if (!known) {
        return cli_fail(CLI_USAGE, "member: list, add, remove, promote or transfer, not %s", action);
    }
    long id = arguments->n_positional > 1 ? strtol(arguments->positional[1], NULL, 10) : 0;
    bool needs_id = !is_list && !is_transfer;
    if (id < 0 || id > 65535 || (needs_id && id == 0)) {
        return cli_fail(CLI_USAGE, "member %s: say which replica: its id", action);
    }
    if (is_add && (cli_text(arguments, "http") == NULL || cli_text(arguments, "peer") == NULL || cli_text(arguments, "key") == NULL)) {
        return cli_fail(CLI_USAGE, "member add: --http, --peer and --key are needed");
    }
    struct cli_replicas replicas;
    enum cli_exit code = cli_replicas_find(arguments, &replicas);
    if (code != CLI_OK) {
        return code;
    }
    code = is_list ? list(arguments, &replicas) : change(arguments, &replicas, action, (uint32_t)id);
    cli_replicas_finish(&replicas);
    return code;
}

const struct cli_command command_member = {
    .name = "member",
    .positional = "list|add|remove|promote|transfer [ID]",
    .summary = "Show and change who belongs to the cluster.",
    .description = "list: the members as the log has them. add ID --http --peer --key: a new replica, which is a learner until it has caught\n"
                   "up; or other addresses of one that is there. remove ID. promote ID: lets a learner vote now. transfer [ID]: another\n"
                   "replica leads. Members change one at a time; a majority must be reachable. See also: caucus reload.\n"
                   "Exit code 69 when it was refused or not done in time.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
