// Snapshots on disk and in PostgreSQL: does the jobs of proxy/snapshot.h in a thread of its own, one after the other.
//
//   <directory>/snapshot/out   what this replica offers        <directory>/snapshot/in   what it takes
//
// Nothing in these files is needed after a restart: they are removed at start.
#ifndef PROXY_IO_SNAPSHOT_H
#define PROXY_IO_SNAPSHOT_H

#include "proxy/node/snapshot.h"

struct event_base;
struct io_snapshot;

struct io_snapshot_options { // texts are copied
    struct event_base *base;
    const char *conninfo;
    const char *search_path; // of migrations
    const char *cluster;
    const char *directory; // the replica's data directory
    uint64_t bytes_per_s_max; // of what is made and read for others, but at least 4 MiB; 0: no limit
    void (*on_event)(void *context, const struct snapshot_event *event); // from the loop
    void *context;
};

struct io_snapshot *io_snapshot_create(const struct io_snapshot_options *options);
void io_snapshot_destroy(struct io_snapshot *snapshot); // gives up what runs; NULL is fine
void io_snapshot_submit(struct io_snapshot *snapshot, const struct snapshot_job *job); // copied
// Gives up the snapshot that is being made, if there is one: it is answered with CC_UNAVAILABLE.
void io_snapshot_cancel(struct io_snapshot *snapshot);

#endif
