// Which replicas a command talks to.
#include "cli/replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/token.h"
#include "proxy/config/config.h"

static const char near_config[] = "caucus-data/config.json";
static const char near_url[] = "http://127.0.0.1:7101";

static void add(struct cli_replicas *replicas, uint32_t id, const char *address)
{
    if (replicas->n == CC_REPLICAS_MAX) {
        return;
    }
    struct cc_buffer url = {0};
    http_put_base(&url, address);
    replicas->ids[replicas->n] = id;
    replicas->urls[replicas->n] = cc_strdup(cc_buffer_text(&url));
    replicas->n++;
    cc_buffer_finish(&url);
}

static enum cli_exit from_config(const char *path, struct cli_replicas *replicas_out)
{
    struct config config;
    struct config_error error;
    if (config_load_file(path, &config, &error) != CC_OK) {
        return cli_fail(CLI_CONFIG, "%s", error.text);
    }
    for (size_t i = 0; i < config.n_replicas; i++) {
        add(replicas_out, config.replicas[i].id, config.replicas[i].http.text);
    }
    token_use_own(&config.auth);
    config_finish(&config);
    return CLI_OK;
}

static enum cli_exit from_status(const char *address, struct cli_replicas *replicas_out)
{
    struct cc_buffer url = {0};
    http_put_base(&url, address);
    cc_buffer_append_text(&url, "/_caucus/status");
    struct http_request request = {.url = cc_buffer_text(&url), .timeout_ms = 5000};
    struct http_response response;
    http_fetch(&request, &response, 1, NULL, NULL);
    cc_buffer_finish(&url);
    json_t *status = response.status == 200 ? http_response_json(&response) : NULL;
    const json_t *list = json_object_get(status, "replicas");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *replica = json_array_get(list, i);
        const char *http = json_string_value(json_object_get(replica, "http"));
        if (http != NULL) {
            add(replicas_out, (uint32_t)json_integer_value(json_object_get(replica, "id")), http);
        }
    }
    json_decref(status);
    enum cli_exit code =
        replicas_out->n > 0 ? CLI_OK : cli_fail(CLI_REFUSED, "%s: %s", address, http_response_problem(&response));
    http_response_finish(&response);
    return code;
}

enum cli_exit cli_replicas_find(const struct cli_arguments *arguments, struct cli_replicas *replicas_out)
{
    *replicas_out = (struct cli_replicas){0};
    const char *config = cli_text(arguments, "config");
    const char *url = cli_text(arguments, "url");
    if (config != NULL && url != NULL) {
        return cli_fail(CLI_USAGE, "--config and --url exclude each other");
    }
    if (config == NULL && url == NULL) {
        bool near = access(near_config, R_OK) == 0;
        config = near ? near_config : NULL;
        url = near ? NULL : near_url;
    }
    enum cli_exit code = config != NULL ? from_config(config, replicas_out) : from_status(url, replicas_out);
    if (code != CLI_OK) {
        cli_replicas_finish(replicas_out);
    }
    return code;
}

void cli_replicas_finish(struct cli_replicas *replicas)
{
    for (size_t i = 0; i < replicas->n; i++) {
        free(replicas->urls[i]);
    }
    *replicas = (struct cli_replicas){0};
}

static void ask(const struct cli_replicas *replicas, const char *method, const char *path, uint32_t timeout_ms,
                struct http_response *responses_out)
{
    struct http_request requests[CC_REPLICAS_MAX];
    struct cc_buffer urls[CC_REPLICAS_MAX] = {0};
    for (size_t i = 0; i < replicas->n; i++) {
        cc_buffer_printf(&urls[i], "%s%s", replicas->urls[i], path);
        requests[i] = (struct http_request){.url = cc_buffer_text(&urls[i]), .method = method, .timeout_ms = timeout_ms};
    }
    http_fetch(requests, responses_out, replicas->n, NULL, NULL);
    for (size_t i = 0; i < replicas->n; i++) {
        cc_buffer_finish(&urls[i]);
    }
}

void cli_replicas_get(const struct cli_replicas *replicas, const char *path, uint32_t timeout_ms,
                      struct http_response *responses_out)
{
    ask(replicas, NULL, path, timeout_ms, responses_out);
}

void cli_replicas_post(const struct cli_replicas *replicas, const char *path, uint32_t timeout_ms,
                       struct http_response *responses_out)
{
    ask(replicas, "POST", path, timeout_ms, responses_out);
}
