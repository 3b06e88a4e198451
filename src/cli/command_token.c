// caucus token: a token for a role, signed with the secret of config.json.
#include <stdio.h>
#include <time.h>

#include "cli/command.h"
#include "cli/token.h"

enum { HOURS_MAX = 24 * 365, HOUR_S = 3600 };

static const struct cli_option options[] = {
    {.name = "config", .argument = "FILE", .fallback = "config.json", .help = "The cluster's configuration, which names the secret."},
    {.name = "role", .argument = "ROLE", .help = "The role of requests. Default: auth.operator_role of the configuration."},
    {.name = "claims", .argument = "JSON", .help = "Further claims, an object: '{\"sub\":\"ann\"}'. Row security sees them as request.jwt.claims."},
    {.name = "hours", .argument = "N", .fallback = "1", .help = "How long it is good."},
};

static enum cli_exit run(const struct cli_arguments *arguments)
{
    uint32_t hours = 0;
    if (!cli_number(arguments, "hours", 1, HOURS_MAX, &hours)) {
        return CLI_USAGE;
    }
    struct config config;
    struct config_error error;
    if (config_load_file(cli_text(arguments, "config"), &config, &error) != CC_OK) {
        return cli_fail(CLI_CONFIG, "%s", error.text);
    }
    const char *role = cli_text(arguments, "role");
    struct cc_buffer token = {0};
    char problem[TOKEN_PROBLEM_BYTES];
    enum cc_status status = token_make(&config.auth, role == NULL ? config.auth.operator_role : role,
                                       cli_text(arguments, "claims"), time(NULL), hours * HOUR_S, &token, problem);
    enum cli_exit code = CLI_OK;
    if (status == CC_OK) {
        (void)puts(cc_buffer_text(&token));
    } else {
        code = cli_fail(status == CC_IO ? CLI_IO : CLI_CONFIG, "token: %s", problem);
    }
    cc_buffer_finish(&token);
    config_finish(&config);
    return code;
}

const struct cli_command command_token = {
    .name = "token",
    .summary = "Make a token for a role, with the secret of config.json.",
    .description = "Prints a JSON Web Token signed with auth.jwt_secret_file (or auth.jwt_secret), for whoever may read that:\n"
                   "  curl -H \"Authorization: Bearer $(caucus token --role web)\" http://127.0.0.1:7101/orders\n"
                   "Commands that are given --config make the operator's token by themselves, unless CAUCUS_TOKEN is set.\n"
                   "Exit code 78 when there is no secret, or a replica would not take the token.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
