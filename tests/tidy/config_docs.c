// What is generated from the table of configuration keys, and whether a configuration is accepted: config_docs table|help|check FILE
#include "proxy/config/config.h"

#include <stdio.h>
#include <string.h>

static int check(const char *path)
{
    struct config config;
    struct config_error error;
    if (config_load_file(path, &config, &error) != CC_OK) {
        puts(error.text);
        return 1;
    }
    config_finish(&config);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc >= 2 ? argv[1] : "";
    struct cc_buffer out = {0};
    if (argc == 3 && strcmp(what, "check") == 0) {
        return check(argv[2]);
    }
    if (argc == 2 && strcmp(what, "table") == 0) {
        config_put_table(&out);
    } else if (argc == 2 && strcmp(what, "help") == 0) {
        config_put_help(&out);
    } else {
        fprintf(stderr, "usage: config_docs table|help|check FILE\n");
        return 64;
    }
    fputs(cc_buffer_text(&out), stdout);
    cc_buffer_finish(&out);
    return 0;
}
