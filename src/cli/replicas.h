// Which replicas a command talks to: those of --config FILE, those of one replica's status (--url URL), or what is near.
#ifndef CLI_REPLICAS_H
#define CLI_REPLICAS_H

#include "base/limits.h"
#include "cli/command.h"
#include "cli/http_client.h"

struct cli_replicas {
    size_t n;
    uint32_t ids[CC_REPLICAS_MAX];
    char *urls[CC_REPLICAS_MAX]; // "http://127.0.0.1:7101", owned
};

// The options --config and --url, for the tables of the commands.
#define CLI_REPLICAS_OPTIONS                                                                                      \
    {.name = "config",                                                                                            \
     .argument = "FILE",                                                                                          \
     .help = "The cluster's config.json. Without both: ./caucus-data/config.json, if there is one."},             \
    {                                                                                                             \
        .name = "url", .argument = "URL",                                                                         \
        .help = "One replica, which knows the others. Without both and without that file: http://127.0.0.1:7101." \
    }

// CLI_OK, or an error that is already printed.
enum cli_exit cli_replicas_find(const struct cli_arguments *arguments, struct cli_replicas *replicas_out);
void cli_replicas_finish(struct cli_replicas *replicas);
// The same path of all replicas at once. responses_out has one per replica.
void cli_replicas_get(const struct cli_replicas *replicas, const char *path, uint32_t timeout_ms,
                      struct http_response *responses_out);
// The same with POST, without a body.
void cli_replicas_post(const struct cli_replicas *replicas, const char *path, uint32_t timeout_ms,
                       struct http_response *responses_out);

#endif
