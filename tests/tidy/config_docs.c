// Prints what is generated from the table of configuration keys: config_docs table|example|help
#include "proxy/config/config.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    struct cc_buffer out = {0};
    if (strcmp(what, "table") == 0) {
        config_put_table(&out);
    } else if (strcmp(what, "example") == 0) {
        config_put_example(&out);
    } else if (strcmp(what, "help") == 0) {
        config_put_help(&out);
    } else {
        fprintf(stderr, "usage: config_docs table|example|help\n");
        return 64;
    }
    fputs(cc_buffer_text(&out), stdout);
    cc_buffer_finish(&out);
    return 0;
}
