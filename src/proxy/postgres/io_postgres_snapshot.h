// The content of a database into a file and back, over a blocking connection of its own: called by the snapshot thread.
//
// snapshot_file.h says what is in the file, docs/adr/snapshots.md why it is made so.
#ifndef PROXY_IO_POSTGRES_SNAPSHOT_H
#define PROXY_IO_POSTGRES_SNAPSHOT_H

#include "crdt/frontier.h"

#include <stdatomic.h>
#include <stdio.h>

struct pg_snapshot_context {
    const char *conninfo;
    const char *cluster;
    const char *search_path; // of migrations
    const atomic_bool *cancel;
    void (*pace)(void *context, size_t n_bytes); // called for what is made or installed, may sleep; NULL: as fast as possible
    void *pace_context;
    char error[300]; // what failed, for people
};

struct pg_snapshot_made {
    uint64_t index;
    uint32_t schema_version;
    struct crdt_frontier frontier;
};

// CC_UNAVAILABLE: cancelled, or a migration is under way. CC_IO, CC_NO_SPACE.
enum cc_status pg_snapshot_make(struct pg_snapshot_context *context, FILE *out, struct pg_snapshot_made *made_out) CC_CHECKED;
// One transaction, durable when it returns CC_OK. CC_CORRUPT: the file is damaged; CC_REFUSED: it does not suit this database
// (another cluster, other migrations); CC_IO: anything else. The database is as it was then.
enum cc_status pg_snapshot_install(struct pg_snapshot_context *context, FILE *in, uint64_t index) CC_CHECKED;

#endif
