// See one_point.h.
//
//   SETTLE --all at one point--> ASK --one point--> done
//     |  ^                        |
//     |  \------- moving ---------/
//     \--not within a second--> PAUSE: writes wait --all at one point, or the pause is over--> ASK
#include "cli/one_point.h"

#include "cli/monotonic.h"

#include <stdio.h>
#include <string.h>

enum {
    STATUS_MS = 5000,
    LOOK_AGAIN_MS = 20,
    SETTLE_MS = 1000,    // before writes are asked to wait
    PAUSE_MS_FIRST = 100, // then twice as long each time
    PAUSE_MS_MAX = 1600,
    TRY_AGAIN_MS = 200,
};

bool cli_is_same(const json_t *a, const json_t *b, const char *name)
{
    const json_t *x = json_object_get(a, name), *y = json_object_get(b, name);
    return x == y || json_equal(x, y) == 1;
}

static void forget(const struct cli_replicas *replicas, json_t **answers)
{
    for (size_t i = 0; i < replicas->n; i++) {
        json_decref(answers[i]);
        answers[i] = NULL;
    }
}

// Whether all databases have what all the others have, as far as their proxies say.
static bool are_settled(const struct cli_replicas *replicas)
{
    struct http_response responses[CC_REPLICAS_MAX];
    json_t *statuses[CC_REPLICAS_MAX] = {0};
    cli_replicas_get(replicas, "/_caucus/status", STATUS_MS, responses);
    bool settled = true;
    for (size_t i = 0; i < replicas->n; i++) {
        statuses[i] = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        settled = settled && statuses[i] != NULL && cli_is_same(statuses[0], statuses[i], "applied") && cli_is_same(statuses[0], statuses[i], "frontier") &&
                  json_equal(json_object_get(statuses[i], "applied"), json_object_get(statuses[0], "commit")) == 1;
        http_response_finish(&responses[i]);
    }
    forget(replicas, statuses);
    return settled;
}

static bool settle(const struct cli_replicas *replicas, uint32_t ms)
{
    uint64_t until = cli_now_ms() + ms;
    while (!are_settled(replicas)) {
        if (cli_now_ms() >= until) {
            return false;
        }
        cli_sleep_ms(LOOK_AGAIN_MS);
    }
    return true;
}

static void pause_writes(const struct cli_replicas *replicas, uint32_t ms)
{
    char path[64];
    struct http_response responses[CC_REPLICAS_MAX];
    (void)snprintf(path, sizeof(path), "/_caucus/pause?ms=%u", ms);
    cli_replicas_post(replicas, path, STATUS_MS, responses);
    for (size_t i = 0; i < replicas->n; i++) { // who did not hear it goes on writing: then the answers are of different points
        http_response_finish(&responses[i]);
    }
}

static enum cli_point ask_once(const struct cli_replicas *replicas, const char *path, uint32_t answer_ms, json_t **answers_out, char *text_out,
                               size_t n_text)
{
    struct http_response responses[CC_REPLICAS_MAX];
    enum cli_point point = CLI_POINT_SAME;
    cli_replicas_get(replicas, path, answer_ms, responses);
    for (size_t i = 0; i < replicas->n; i++) {
        answers_out[i] = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        if (answers_out[i] == NULL && point == CLI_POINT_SAME) {
            point = responses[i].status >= 400 && responses[i].status < 500 ? CLI_POINT_REFUSED : CLI_POINT_UNREACHABLE;
            (void)snprintf(text_out, n_text, "replica %u: %s", replicas->ids[i], http_response_problem(&responses[i]));
        }
        http_response_finish(&responses[i]);
    }
    for (size_t i = 1; i < replicas->n && point == CLI_POINT_SAME; i++) {
        if (!cli_is_same(answers_out[0], answers_out[i], "consistency") || !cli_is_same(answers_out[0], answers_out[i], "index") ||
            !cli_is_same(answers_out[0], answers_out[i], "frontier")) {
            point = CLI_POINT_MOVING;
            (void)snprintf(text_out, n_text, "replicas %u and %u are not at the same point", replicas->ids[0], replicas->ids[i]);
        }
    }
    return point;
}

enum cli_point cli_ask_at_one_point(const struct cli_replicas *replicas, const char *path, const struct cli_point_options *options,
                                    void (*tell)(const char *about, const char *text), const char *about, json_t **answers_out, char *text_out,
                                    size_t n_text)
{
    uint32_t pause_ms = PAUSE_MS_FIRST;
    for (;;) {
        bool pause = !settle(replicas, SETTLE_MS) && options->may_pause;
        if (pause) {
            pause_writes(replicas, pause_ms);
            (void)settle(replicas, pause_ms / 2); // the other half is for the question to arrive
        }
        enum cli_point point = ask_once(replicas, path, options->answer_ms, answers_out, text_out, n_text);
        if (point == CLI_POINT_SAME || cli_now_ms() >= options->give_up_ms) {
            return point;
        }
        forget(replicas, answers_out);
        if (tell != NULL) {
            tell(about, text_out);
        }
        pause_ms = pause && pause_ms < PAUSE_MS_MAX ? pause_ms * 2 : pause_ms;
        cli_sleep_ms(TRY_AGAIN_MS);
    }
}
