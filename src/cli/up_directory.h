// The directory of a development cluster: config.json, and for each replica a directory with its key, data and logs.
#ifndef CLI_UP_DIRECTORY_H
#define CLI_UP_DIRECTORY_H

#include "cli/command.h"
#include "proxy/config/config.h"

struct up_wish {
    const char *directory;
    uint32_t n_replicas; // 0: what is there, else 3
    uint32_t port;       // 0: what is there, else 7100
};

struct up_directory {
    char *path; // absolute
    char *config_path;
    int lock; // held while we run
    struct config config;
};

enum { UP_REPLICAS_DEFAULT = 3, UP_PORT_DEFAULT = 7100, UP_PEER_OFFSET = 100 };

// Makes the cluster's files, or takes those that are there when they are as wished. CLI_OK, or an error that is already printed.
enum cli_exit up_directory_open(const struct up_wish *wish, struct up_directory *directory_out);
void up_directory_close(struct up_directory *directory);
// Nobody may listen on the replicas' ports yet.
enum cli_exit up_directory_check_ports(const struct up_directory *directory);

#endif
