// The gateway's part of POST /_caucus/member: {"action", "id", "http", "peer", "public_key"}.
#include "proxy/io_gateway_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    const json_t *id = json_object_get(json, "id");
    bool any = change->action == NODE_MEMBER_TRANSFER && id == NULL;
    if (!any && (!json_is_integer(id) || json_integer_value(id) < 1 || json_integer_value(id) > CONFIG_REPLICA_ID_MAX)) {
        return "id must be the number of a replica";
    }
    change->member.id = (uint32_t)json_integer_value(id);
    if (change->action != NODE_MEMBER_ADD) {
        return NULL;
    }
    const char *key = json_string_value(json_object_get(json, "public_key"));
    if (!read_address(json, "http", change->member.http) || !read_address(json, "peer", change->member.peer)) {
        return "http and peer must be addresses: host:port";
    }
    if (key == NULL || keys_from_text(cc_slice_text(key), change->member.public_key) != CC_OK) {
        return "public_key must be 64 hex digits";
    }
    return NULL;
}

static void fail_not_leader(struct exchange *exchange, const struct node_status *status)
{
    struct member leader;
    const struct raft_member *member = member_find(&status->membership, status->leader);
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
