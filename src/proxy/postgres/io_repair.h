// Comparing weak tables: the reading side (repair.h), on a connection of its own. Joining is the weak lane's.
#ifndef PROXY_IO_REPAIR_H
#define PROXY_IO_REPAIR_H

#include "proxy/node/repair.h"

struct event_base;
struct io_repair;

struct io_repair_options { // texts are copied
    struct event_base *base;
    const char *conninfo;
    const char *search_path;
    void (*on_event)(void *context, const struct repair_event *event); // on the core thread
    void *context;
};

struct io_repair *io_repair_create(const struct io_repair_options *options);
void io_repair_destroy(struct io_repair *repair); // NULL is fine
void io_repair_connect(struct io_repair *repair); // PostgreSQL is up, and the schema caucus is there
// Copied. Without a connection, or when too many wait, it fails at once (REPAIR_STATES: silently, the peer asks again).
void io_repair_submit(struct io_repair *repair, const struct repair_job *job);

#endif
