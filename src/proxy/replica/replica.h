// A replica's process: everything that `caucus serve` runs, until it is told to stop.
#ifndef PROXY_REPLICA_H
#define PROXY_REPLICA_H

#include "proxy/config/config.h"

struct replica_peer_address { // --peer ID=host:port
    uint32_t id;
    const char *host;
    uint32_t port;
};

struct replica_options {
    const struct config *config; // borrowed
    const char *config_path;     // from where; its members are read again on SIGHUP
    uint32_t replica;            // an id of config->replicas
    const struct replica_peer_address *peers; // overrides of where other replicas are dialled
    size_t n_peers;
    bool join;             // with an empty directory: into a cluster that has data, as a learner; config.json lists it already
    bool restart_postgres; // a managed server that died is started again
};

// Runs until SIGINT or SIGTERM (0), or a failure: an exit code of sysexits.h (65 damaged data, 69 refused, 74 I/O, 78
// configuration), said on stderr and in the log before.
int replica_run(const struct replica_options *options);

#endif
