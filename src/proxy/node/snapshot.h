// Snapshots: what the node asks of the shell to make, pass on and install one. A snapshot is a file: the whole content of a
// replica's database at one index of the log, with its weak tables at one frontier. Implemented by io_snapshot.c and by the
// simulator's model. Jobs are done one after the other; each is answered once.
#ifndef PROXY_SNAPSHOT_H
#define PROXY_SNAPSHOT_H

#include "crdt/frontier.h"

enum snapshot_job_kind {
    SNAPSHOT_MAKE = 1, // of this replica's database, into the outgoing file
    SNAPSHOT_READ,     // a piece of the outgoing file
    SNAPSHOT_WRITE,    // a piece of the incoming file; offset 0 begins it anew
    // Replaces the content of the database by that of the incoming file, in one transaction that is durable when it ends.
    // Both lanes are reconnected behind it: DB_DOWN, DB_UP.
    SNAPSHOT_INSTALL,
    SNAPSHOT_FORGET, // removes the outgoing file
};

struct snapshot_job { // borrowed until the next node_take_effects
    enum snapshot_job_kind kind;
    uint64_t number;
    uint32_t peer;         // READ: echoed
    uint64_t offset;       // READ, WRITE
    size_t n_bytes;        // READ: at most
    struct cc_slice bytes; // WRITE
    uint64_t index;        // INSTALL: of the snapshot
};

struct snapshot_event { // borrowed by the node during the call
    enum snapshot_job_kind kind;
    uint64_t number;
    enum cc_status status;
    struct cc_slice text; // what failed
    uint32_t peer;
    uint64_t offset;
    struct cc_slice bytes; // READ
    // MAKE:
    uint64_t index, n_bytes;
    uint32_t schema_version;
    const struct crdt_frontier *frontier;
};

#endif
