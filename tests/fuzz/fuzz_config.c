// Any bytes as a configuration file: loaded or refused with a message; and the line scanner on text that is not JSON.
#include "proxy/config/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cc_slice text = cc_slice_of(data, n);
    struct config config;
    struct config_error error = {0};
    enum cc_status status = config_load_text(text, "fuzz", &config, &error);
    if (status == CC_OK) {
        check(config.n_replicas >= 1 && config.n_replicas <= CC_REPLICAS_MAX);
        check(config.timeouts.heartbeat_ms <= config.timeouts.election_ms / 2);
        check(config_find_replica(&config, config.replicas[0].id) == &config.replicas[0]);
        config_finish(&config);
    } else {
        check(strncmp(error.text, "fuzz:", 5) == 0 && memchr(error.text, '\n', sizeof(error.text)) == NULL);
    }
    size_t n_lines = 1;
    for (size_t i = 0; i < n; i++) {
        n_lines += data[i] == '\n';
    }
    size_t line = config_line_of(text, "replicas[1].postgres.conninfo");
    check(line >= 1 && line <= n_lines);
    return 0;
}
