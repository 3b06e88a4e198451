// caucus keygen: makes the key pair of a replica.
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cli/command.h"
#include "proxy/config/io_keys.h"

static const struct cli_option options[] = {
    {.name = "out", .argument = "FILE", .fallback = "key", .help = "Where the private key goes; must not exist."},
    {.name = "json", .help = "One JSON document."},
};

static enum cli_exit run(const struct cli_arguments *arguments)
{
    const char *path = cli_text(arguments, "out");
    struct keys_pair pair;
    struct io_keys_problem problem;
    char public_key[KEYS_TEXT_BYTES];
    if (io_keys_generate(&pair) != CC_OK) {
        return cli_fail(CLI_IO, "keygen: the system gives no random numbers");
    }
    enum cc_status status = io_keys_save(path, &pair, &problem);
    keys_to_text(pair.public_key, public_key);
    keys_forget(&pair);
    if (status != CC_OK) {
        return cli_fail(status == CC_EXISTS ? CLI_REFUSED : CLI_IO, "keygen: %s", problem.text);
    }
    if (cli_is_given(arguments, "json")) {
        json_t *json = json_pack("{s:s, s:s}", "key_file", path, "public_key", public_key);
        char *text = json_dumps(json, JSON_INDENT(2));
        (void)puts(text);
        free(text);
        json_decref(json);
    } else {
        (void)printf("public_key: %s\nprivate key: %s\n", public_key, path);
    }
    return CLI_OK;
}

const struct cli_command command_keygen = {
    .name = "keygen",
    .summary = "Make the key pair of a replica.",
    .description = "Writes a new private key (Ed25519) to a file of mode 0600, which stays on the machine of its "
                   "replica, and prints the\n"
                   "public key, which goes into config.json. Replicas know each other by these keys.\n"
                   "Exit code 69 when the file exists.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
