// The gateway's part of POST /_caucus/member: {"action", "id", "http", "peer", "public_key"}, and of POST /_caucus/reload:
// {"replicas": [{"id", "http", "peer", "public_key"}], "dry_run", "wait_s"}, of which everything may be left out.
#include "proxy/gateway/io_gateway_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RELOAD_S = 300, RELOAD_S_MAX = 86400 };

static bool read_address(const json_t *json, const char *name, char out[static MEMBER_ADDRESS_BYTES])
{
    const char *text = json_string_value(json_object_get(json, name));
    char host[MEMBER_ADDRESS_BYTES];
    uint32_t port;
    if (text == NULL || member_address_split(text, host, &port) != CC_OK) {
        return false;
    }
    snprintf(out, MEMBER_ADDRESS_BYTES, "%s", text);
    return true;
}

// What is wrong, or NULL.
static const char *read_member(const json_t *json, struct member *member_out)
{
    const json_t *id = json_object_get(json, "id");
    const char *key = json_string_value(json_object_get(json, "public_key"));
    if (!json_is_integer(id) || json_integer_value(id) < 1 || json_integer_value(id) > CONFIG_REPLICA_ID_MAX) {
        return "id must be the number of a replica";
    }
    member_out->id = (uint32_t)json_integer_value(id);
    if (!read_address(json, "http", member_out->http) || !read_address(json, "peer", member_out->peer)) {
        return "http and peer must be addresses: host:port";
    }
    if (key == NULL || keys_from_text(cc_slice_text(key), member_out->public_key) != CC_OK) {
        return "public_key must be 64 hex digits";
    }
    return NULL;
}

// NULL, or what is wrong.
static const char *read_change(const json_t *json, struct node_member_change *change)
{
    static const char *const actions[] = {
        [NODE_MEMBER_ADD] = "add", [NODE_MEMBER_REMOVE] = "remove", [NODE_MEMBER_PROMOTE] = "promote", [NODE_MEMBER_TRANSFER] = "transfer"};
    const char *action = json_string_value(json_object_get(json, "action"));
    size_t at = 0, n = sizeof(actions) / sizeof(actions[0]);
    while (at < n && (action == NULL || strcmp(action, actions[at]) != 0)) {
        at++;
    }
    if (at == n) {
        return "action must be add, remove, promote or transfer";
    }
    change->action = (enum node_member_action)at;
    if (change->action == NODE_MEMBER_ADD) {
        return read_member(json, &change->member);
    }
    const json_t *id = json_object_get(json, "id");
    bool any = change->action == NODE_MEMBER_TRANSFER && id == NULL;
    if (!any && (!json_is_integer(id) || json_integer_value(id) < 1 || json_integer_value(id) > CONFIG_REPLICA_ID_MAX)) {
        return "id must be the number of a replica";
    }
    change->member.id = (uint32_t)json_integer_value(id);
    return NULL;
}

static void fail_not_leader(struct exchange *exchange, const struct node_status *status)
{
    struct member leader;
    const struct raft_member *member = raft_member_find(&status->membership, status->leader);
    char hint[200] = "No leader is known: try again";
    if (member != NULL && member_read(member, &leader) == CC_OK) {
        snprintf(hint, sizeof(hint), "Replica %" PRIu32 " leads: send it to %s", leader.id, leader.http);
    }
    exchange_fail(exchange, 409, "CC221", "Only the leader changes the members", hint);
}

static void on_changed(struct exchange *exchange, const struct node_status *status, const struct status_shell *shell)
{
    switch ((int)shell->member_status) {
    case CC_OK: {
        json_t *json = json_pack("{s:I}", "index", (json_int_t)shell->member_index);
        char *text = json_dumps(json, JSON_COMPACT);
        exchange_reply_json(exchange, 200, cc_slice_text(text));
        free(text);
        json_decref(json);
        return;
    }
    case CC_NOT_LEADER:
        fail_not_leader(exchange, status);
        return;
    case CC_UNAVAILABLE:
        exchange_fail(exchange, 503, "CC223", "The members cannot be changed now", shell->member_why);
        return;
    default: // refused for good
        exchange_fail(exchange, 400, "CC222", "This change of the members is not possible", shell->member_why);
        return;
    }
}

// -- Reload --------------------------------------------------------------------------------------------------------------

static const char *read_list(const json_t *list, struct node_reload_wish *wish)
{
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > CC_REPLICAS_MAX) {
        return "replicas must be a list of replicas";
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *wrong = read_member(json_array_get(list, i), &wish->members[i]);
        if (wrong != NULL) {
            return wrong;
        }
        for (size_t before = 0; before < i; before++) {
            if (wish->members[before].id == wish->members[i].id) {
                return "a replica is listed twice";
            }
        }
    }
    wish->n_members = (uint32_t)json_array_size(list);
    return NULL;
}

static const char *read_reload(const json_t *json, struct gateway_reload *reload)
{
    const json_t *dry_run = json_object_get(json, "dry_run"), *wait = json_object_get(json, "wait_s"), *list = json_object_get(json, "replicas");
    json_int_t wait_s = wait == NULL ? RELOAD_S : json_integer_value(wait);
    if ((dry_run != NULL && !json_is_boolean(dry_run)) || wait_s < 1 || wait_s > RELOAD_S_MAX) {
        return "dry_run must be true or false, wait_s a number of seconds of at most a day";
    }
    reload->wish.dry_run = json_is_true(dry_run);
    reload->wish.wait_ms = (uint32_t)wait_s * 1000;
    reload->has_list = list != NULL;
    return list == NULL ? NULL : read_list(list, &reload->wish);
}

static void on_reloaded(struct exchange *exchange, const struct node_status *status, const struct status_shell *shell)
{
    (void)status;
    if (shell->reload_status != CC_OK) {
        bool later = shell->reload_status == CC_UNAVAILABLE;
        exchange_fail(exchange, later ? 503 : 400, later ? "CC223" : "CC222",
                      later ? "The members cannot be changed now" : "This change of the members is not possible", shell->reload_why);
        return;
    }
    json_t *changes = json_array();
    for (uint32_t i = 0; i < shell->reload_plan.n; i++) {
        const struct node_reload_step *step = &shell->reload_plan.steps[i];
        const char *action = step->action == NODE_MEMBER_REMOVE ? "remove" : step->is_new ? "add" : "change";
        json_array_append_new(changes, json_pack("{s:s, s:I}", "action", action, "id", (json_int_t)step->id));
    }
    bool begun = shell->reload_plan.n > 0 && !shell->reload_dry_run;
    json_t *json = json_pack("{s:o, s:b}", "changes", changes, "dry_run", shell->reload_dry_run);
    char *text = json_dumps(json, JSON_COMPACT);
    exchange_reply_json(exchange, begun ? 202 : 200, cc_slice_text(text));
    free(text);
    json_decref(json);
}

void member_reload(struct exchange *exchange)
{
    struct gateway_reload reload = {.wish = {.wait_ms = RELOAD_S * 1000}};
    struct cc_slice body = exchange->request.body;
    json_t *json = body.n == 0 ? json_object() : json_loadb((const char *)body.data, body.n, JSON_REJECT_DUPLICATES, NULL);
    const char *wrong = json_is_object(json) ? read_reload(json, &reload) : "the body must be a JSON object";
    json_decref(json);
    if (wrong != NULL) {
        exchange_fail(exchange, 400, "CC222", "This change of the members is not possible", wrong);
        return;
    }
    struct cc_buffer bytes = {0};
    cc_buffer_append(&bytes, &reload, sizeof(reload)); // within this process
    exchange->on_status = on_reloaded;
    exchange_move(exchange, EXCHANGE_STATUS);
    exchange_ask_core(exchange, INBOX_RELOAD, 0, &bytes);
}

// -- One change ------------------------------------------------------------------------------------------------------------

void member_post(struct exchange *exchange)
{
    struct node_member_change change = {0};
    struct cc_slice body = exchange->request.body;
    json_t *json = body.n == 0 ? NULL : json_loadb((const char *)body.data, body.n, JSON_REJECT_DUPLICATES, NULL);
    const char *wrong = json_is_object(json) ? read_change(json, &change) : "the body must be a JSON object";
    json_decref(json);
    if (wrong != NULL) {
        exchange_fail(exchange, 400, "CC222", "This change of the members is not possible", wrong);
        return;
    }
    struct cc_buffer bytes = {0};
    cc_buffer_append(&bytes, &change, sizeof(change)); // within this process
    exchange->on_status = on_changed;
    exchange_move(exchange, EXCHANGE_STATUS);
    exchange_ask_core(exchange, INBOX_MEMBER, 0, &bytes);
}
