// Changes of the cluster's members, as the commands send them.
#include "cli/members.h"

#include "cli/monotonic.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

json_t *members_leader_status(const struct cli_replicas *replicas)
{
    struct http_response responses[CC_REPLICAS_MAX];
    json_t *leader = NULL;
    cli_replicas_get(replicas, "/_caucus/status", 3000, responses);
    for (size_t i = 0; i < replicas->n; i++) {
        json_t *status = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        const char *role = json_string_value(json_object_get(status, "role"));
        bool newer = leader == NULL || json_integer_value(json_object_get(status, "term")) > json_integer_value(json_object_get(leader, "term"));
        if (role != NULL && strcmp(role, "leader") == 0 && newer) {
            json_decref(leader);
            leader = json_incref(status);
        }
        json_decref(status);
        http_response_finish(&responses[i]);
    }
    return leader;
}

static json_t *member_of(const json_t *status, uint32_t id)
{
    json_t *list = json_object_get(status, "replicas");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *member = json_array_get(list, i);
        if (json_integer_value(json_object_get(member, "id")) == (json_int_t)id) {
            return member;
        }
    }
    return NULL;
}

// The HTTP status; 0: no leader, or it does not answer. What is wrong goes to problem_out.
static long post(const json_t *leader, const json_t *change, int64_t *index_out, struct cc_buffer *problem_out)
{
    uint32_t id = (uint32_t)json_integer_value(json_object_get(leader, "replica"));
    const char *http = json_string_value(json_object_get(member_of(leader, id), "http"));
    cc_buffer_clear(problem_out);
    if (http == NULL) {
        cc_buffer_append_text(problem_out, "no leader can be reached");
        return 0;
    }
    struct cc_buffer url = {0};
    http_put_base(&url, http);
    cc_buffer_append_text(&url, "/_caucus/member");
    char *body = json_dumps(change, JSON_COMPACT);
    struct http_request request = {.url = cc_buffer_text(&url),
                                   .method = "POST",
                                   .body = cc_slice_text(body),
                                   .content_type = "application/json",
                                   .timeout_ms = 5000};
    struct http_response response;
    http_fetch(&request, &response, 1, NULL, NULL);
    json_t *answer = response.status == 200 ? http_response_json(&response) : NULL;
    *index_out = json_integer_value(json_object_get(answer, "index"));
    if (response.status != 200) {
        cc_buffer_append_text(problem_out, http_response_problem(&response));
    }
    long status = response.status;
    json_decref(answer);
    http_response_finish(&response);
    free(body);
    cc_buffer_finish(&url);
    return status;
}

static bool is_done(const json_t *leader, const json_t *change, int64_t index, json_int_t leader_before)
{
    const char *action = json_string_value(json_object_get(change, "action"));
    if (leader == NULL) {
        return false;
    }
    if (strcmp(action, "transfer") == 0) {
        json_int_t wanted = json_integer_value(json_object_get(change, "id"));
        json_int_t leads = json_integer_value(json_object_get(leader, "replica"));
        return wanted == 0 ? leads != leader_before : leads == wanted;
    }
    return json_is_true(json_object_get(leader, "membership_committed")) &&
           json_integer_value(json_object_get(leader, "membership_index")) >= index;
}

enum cli_exit members_change(const struct cli_replicas *replicas, const json_t *change, uint32_t wait_s)
{
    uint64_t deadline_ms = cli_now_ms() + wait_s * 1000ull;
    struct cc_buffer problem = {0};
    bool sent = false, done = false, refused = false;
    int64_t index = 0;
    json_int_t leader_before = 0;
    while (!done && !refused && cli_now_ms() < deadline_ms) {
        json_t *leader = members_leader_status(replicas);
        if (!sent) {
            leader_before = json_integer_value(json_object_get(leader, "replica"));
            long status = post(leader, change, &index, &problem);
            sent = status == 200;
            refused = status != 200 && status != 0 && status != 409 && status != 503; // these pass
        } else {
            done = is_done(leader, change, index, leader_before);
        }
        json_decref(leader);
        if (!done && !refused) {
            cli_sleep_ms(MEMBERS_POLL_MS);
        }
    }
    enum cli_exit code = done ? CLI_OK
                              : cli_fail(CLI_REFUSED, "%s", sent ? "the change was proposed, but not committed in time: look at caucus member list"
                                                                 : cc_buffer_text(&problem));
    cc_buffer_finish(&problem);
    return code;
}
