// The catalog as the HTTP threads see it: read from PostgreSQL after every migration, published as immutable snapshots.
// Also what the server has flushed, looked at now and then.
#ifndef PROXY_IO_CATALOG_H
#define PROXY_IO_CATALOG_H

#include "crdt/frontier.h"
#include "proxy/node/session.h"
#include "rest/catalog.h"

#include <stdatomic.h>

// What reads log in as, where Caucus manages PostgreSQL: it owns nothing, and may only become one of the roles of requests.

struct event_base;
struct io_catalog;

// A published catalog. Any thread; released by the last holder.
struct catalog_snapshot {
    atomic_uint n_references;
    struct rest_catalog *catalog;
};
void catalog_snapshot_release(struct catalog_snapshot *snapshot); // NULL is fine

struct io_catalog_options { // texts are copied, arrays too
    struct event_base *base; // the core thread's
    const char *conninfo;
    const char *const *schemas;
    size_t n_schemas;
    bool keeps_login_role; // makes LOGIN_ROLE_READS, and grants it what requests may run as
    void (*on_published)(void *context, uint32_t version); // on the core thread
    // The same: PostgreSQL is connected and has not answered for some seconds; or it does again.
    void (*on_sick)(void *context, bool sick);
    void (*on_no_session_key)(void *context);              // the same, now and then: the cluster has none yet
    // On the core thread, twice a second: what PostgreSQL has on disk, the log index applied and the frontier (NULL: not known yet; borrowed).
    void (*on_flushed)(void *context, uint64_t applied, const struct crdt_frontier *frontier);
    void *context;
};

struct io_catalog *io_catalog_create(const struct io_catalog_options *options);
void io_catalog_destroy(struct io_catalog *catalog); // NULL is fine
void io_catalog_connect(struct io_catalog *catalog);  // PostgreSQL is up, and the schema caucus is there
void io_catalog_refresh(struct io_catalog *catalog);  // reads it again
// Any thread. NULL before the first one. The caller releases it.
struct catalog_snapshot *io_catalog_acquire(struct io_catalog *catalog);
// Any thread. The key that session tokens are authenticated with; false while the cluster has none.
bool io_catalog_session_key(struct io_catalog *catalog, uint8_t key_out[SESSION_KEY_BYTES]);
// Core thread: the newest log index that is known to be on disk in PostgreSQL; 0 when not known.
uint64_t io_catalog_flushed(const struct io_catalog *catalog);

#endif
