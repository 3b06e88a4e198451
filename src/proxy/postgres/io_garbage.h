// The collector of garbage in PostgreSQL: tombstones and histories of weak tables that no member needs any more, and outcomes kept
// under Idempotency-Keys. On a connection of its own and in small steps, so that writers never wait for long.
#ifndef PROXY_IO_GARBAGE_H
#define PROXY_IO_GARBAGE_H

#include "proxy/node/node.h"

struct event_base;
struct io_garbage;

struct io_garbage_options { // texts are copied
    struct event_base *base;
    const char *conninfo;
    uint32_t history_hours;     // histories are kept for so long, and
    uint32_t history_megabytes; // if they are not larger; 0: no limit
    uint32_t request_hours;
    // All on the core thread. What may go.
    void (*ask)(void *context, struct node_garbage *garbage_out);
    // From now on tombstones up to this bound may be gone (also: were already, in an earlier life).
    void (*collected)(void *context, uint64_t bound);
    void *context;
};

struct io_garbage_stats { // since the start
    uint64_t tombstones, sets, set_bytes, requests;
    uint64_t bound; // tombstones up to this stamp have been looked at
};

struct io_garbage *io_garbage_create(const struct io_garbage_options *options);
void io_garbage_destroy(struct io_garbage *garbage); // NULL is fine
void io_garbage_connect(struct io_garbage *garbage); // PostgreSQL is up, and the schema caucus is there
void io_garbage_describe(const struct io_garbage *garbage, struct io_garbage_stats *stats_out);

#endif
