// caucus serve: runs one replica.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/command.h"
#include "proxy/config/config.h"
#include "proxy/replica/replica.h"

static const struct cli_option options[] = {
    {.name = "config",
     .argument = "FILE",
     .fallback = "config.json",
     .help = "The cluster's configuration, the same on all machines."},
    {.name = "replica", .argument = "ID", .help = "Which of its replicas this is."},
    {.name = "peer",
     .argument = "ID=HOST:PORT",
     .help = "Reach another replica there instead of at its peer address; may be repeated."},
    {.name = "join", .help = "With an empty data directory: join a cluster that has data (see caucus reload and member add)."},
    {.name = "no-restart", .help = "Do not start a managed PostgreSQL again when it dies."},
};

// "2=host:port" or "2=[::1]:port"; the texts are the caller's to free.
static bool parse_peer(const char *text, struct replica_peer_address *peer_out)
{
    char *end = NULL;
    unsigned long id = strtoul(text, &end, 10);
    const char *host = end + 1;
    const char *colon = *end == '=' ? strrchr(host, ':') : NULL;
    if (end == text || colon == NULL || colon == host || id == 0 || id > CONFIG_REPLICA_ID_MAX) {
        return false;
    }
    char *port_end = NULL;
    unsigned long port = strtoul(colon + 1, &port_end, 10);
    if (port_end == colon + 1 || *port_end != '\0' || port == 0 || port > 65535) {
        return false;
    }
    bool bracketed = host[0] == '[' && colon[-1] == ']';
    size_t n = (size_t)(colon - host) - (bracketed ? 2 : 0);
    if (n == 0) {
        return false;
    }
    *peer_out = (struct replica_peer_address){
        .id = (uint32_t)id, .host = cc_strndup(bracketed ? host + 1 : host, n), .port = (uint32_t)port};
    return true;
}

static enum cli_exit parse_peers(const struct cli_arguments *arguments, const struct config *config,
                                 struct replica_peer_address *peers, size_t *n_out)
{
    const char *text = NULL;
    for (*n_out = 0; *n_out < CC_REPLICAS_MAX && (text = cli_nth(arguments, "peer", *n_out)) != NULL; ++*n_out) {
        if (!parse_peer(text, &peers[*n_out])) {
            return cli_fail(CLI_USAGE, "serve: --peer %s: must be ID=HOST:PORT", text);
        }
        if (config_find_replica(config, peers[*n_out].id) == NULL) {
            ++*n_out; // so that its host is freed
            return cli_fail(CLI_USAGE, "serve: --peer %s: there is no such replica", text);
        }
    }
    return CLI_OK;
}

static enum cli_exit serve(const struct cli_arguments *arguments, const struct config *config)
{
    uint32_t id = 0;
    if (!cli_number(arguments, "replica", 1, CONFIG_REPLICA_ID_MAX, &id)) {
        return CLI_USAGE;
    }
    if (config_find_replica(config, id) == NULL) {
        return cli_fail(CLI_CONFIG, "serve: there is no replica %u in %s", id, cli_text(arguments, "config"));
    }
    struct replica_peer_address peers[CC_REPLICAS_MAX];
    size_t n_peers = 0;
    enum cli_exit code = parse_peers(arguments, config, peers, &n_peers);
    if (code == CLI_OK) {
        struct replica_options replica = {
            .config = config,
            .config_path = cli_text(arguments, "config"),
            .replica = id,
            .peers = peers,
            .n_peers = n_peers,
            .join = cli_is_given(arguments, "join"),
            .restart_postgres = !cli_is_given(arguments, "no-restart"),
        };
        code = (enum cli_exit)replica_run(&replica);
    }
    for (size_t i = 0; i < n_peers; i++) {
        free((void *)(uintptr_t)peers[i].host);
    }
    return code;
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    struct config config;
    struct config_error error;
    if (!cli_is_given(arguments, "replica")) {
        return cli_fail(CLI_USAGE, "serve: say which replica this is: --replica ID");
    }
    if (config_load_file(cli_text(arguments, "config"), &config, &error) != CC_OK) {
        return cli_fail(CLI_CONFIG, "%s", error.text);
    }
    enum cli_exit code = serve(arguments, &config);
    config_finish(&config);
    return code;
}

static void print_keys(void)
{
    struct cc_buffer text = {0};
    config_put_help(&text);
    (void)printf("\nconfiguration file:\n%s", cc_buffer_text(&text));
    cc_buffer_finish(&text);
}

const struct cli_command command_serve = {
    .name = "serve",
    .summary = "Run one replica.",
    .description = "Runs one replica of the cluster until SIGINT or SIGTERM, with a PostgreSQL that it makes and "
                   "supervises, or with the one\n"
                   "that postgres.conninfo names. Writes its log to standard error.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .more_help = print_keys,
    .run = run,
};
