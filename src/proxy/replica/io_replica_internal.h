// Inside of the replica's process: shared by io_replica*.c only.
#ifndef PROXY_IO_REPLICA_INTERNAL_H
#define PROXY_IO_REPLICA_INTERNAL_H

#include "proxy/node/disk_watch.h"
#include "proxy/gateway/io_catalog.h"
#include "proxy/postgres/io_garbage.h"
#include "proxy/gateway/io_gateway.h"
#include "proxy/gateway/io_inbox.h"
#include "proxy/replica/io_log.h"
#include "proxy/peer/io_peer.h"
#include "proxy/postgres/io_postgres.h"
#include "proxy/postgres/io_repair.h"
#include "proxy/replica/io_snapshot.h"
#include "proxy/node/node.h"
#include "proxy/replica/replica.h"
#include "proxy/supervisor/supervisor.h"

#include <sys/stat.h>

// STARTING -> SERVING --signal--> HANDING_OVER -> STOPPING_POSTGRES -> DONE; a failure leads to DONE at once.
enum replica_stage { REPLICA_STARTING, REPLICA_SERVING, REPLICA_HANDING_OVER, REPLICA_STOPPING_POSTGRES, REPLICA_DONE };

struct replica {
    const struct replica_options *options;
    const struct config *config;
    const struct config_replica *self;
    enum replica_stage stage;
    int exit_code;
    uint64_t stop_by_us;
    struct wal_identity identity;
    struct event_base *base;
    struct event *timer, *inbox_readable, *log_readable, *interrupt, *terminate, *hangup;
    struct node *node;
    struct io_log *log;
    bool put_log_aside; // at the end of this process
    bool removed; // this replica is no member any more
    struct disk_watch disk_watch;
    struct member listed[CC_REPLICAS_MAX]; // in config.json as it stands, or stood when it could last be read
    uint32_t n_listed;
    struct stat config_file;            // of when it was read; zero at first
    char config_why[STATUS_WHY_BYTES]; // it cannot be read
    uint64_t log_number, log_record; // of the last batch that is synced
    struct io_peer *peers;
    struct io_postgres *postgres;
    struct io_snapshot *snapshot;
    struct supervisor *supervisor;
    struct io_catalog *catalog;
    struct io_garbage *garbage;
    struct io_repair *repair;
    uint32_t n_away; // members that were reported
    struct io_inbox *inbox;
    struct io_auth *auth;
    struct io_gateway *gateway;
    const char *conninfo;
    uint64_t started_ms;
};

struct node_time replica_now(void);
// Says what failed and ends the process with this code after the present turn.
void replica_fail(struct replica *replica, int exit_code, const char *what, const char *why);

// io_replica_start.c, in the order in which replica_run needs them. False: replica_fail was called.
bool replica_open_auth(struct replica *replica);
bool replica_open_log(struct replica *replica);
// Remembers, over restarts, that the log is new and what came before it is not known.
void replica_set_new(const struct replica *replica, bool is_new);
// Remembers, over restarts, that this replica was removed by the change at this index; 0: it is a member.
void replica_set_removed(const struct replica *replica, uint64_t index);
void replica_put_log_aside(const struct replica *replica); // when it is closed
bool replica_open_supervisor(struct replica *replica);
bool replica_open_peers(struct replica *replica);
// Whom to dial, and where; hosts is room for the names.
size_t replica_dialled_members(const struct replica *replica, struct io_peer_member members[static CC_REPLICAS_MAX],
                               char hosts[static CC_REPLICAS_MAX][MEMBER_ADDRESS_BYTES]);
void replica_open_database(struct replica *replica);
bool replica_open_gateway(struct replica *replica);

struct member replica_member(const struct config_replica *listed);

// io_replica_reload.c
void replica_take_listed(struct replica *replica);
void replica_look_at_file(struct replica *replica); // reads who is listed again when config.json is another
// Tells in `shell` what becomes of it.
void replica_reload(struct replica *replica, const struct gateway_reload *request, struct status_shell *shell);
void replica_on_hangup(evutil_socket_t fd, short what, void *context);

// io_replica.c: what the parts tell; `context` is the replica.
void replica_on_frame(void *context, uint32_t peer, uint32_t incarnation, struct cc_slice frame);
void replica_on_peer_up(void *context, uint32_t peer, uint32_t incarnation);
void replica_on_peer_down(void *context, uint32_t peer);
void replica_on_peer_removed(void *context, uint32_t peer, uint64_t index);
void replica_on_db_event(void *context, const struct db_event *event);
void replica_on_snapshot(void *context, const struct snapshot_event *event);
void replica_on_catalog(void *context, uint32_t version);
void replica_on_sick(void *context, bool sick);
void replica_on_no_session_key(void *context);
void replica_on_flushed(void *context, uint64_t applied, const struct crdt_frontier *frontier);
void replica_on_repair(void *context, const struct repair_event *event);
void replica_on_garbage_ask(void *context, struct node_garbage *garbage_out);
void replica_on_garbage_collected(void *context, uint64_t bound);
void replica_on_supervisor(void *context, enum supervisor_state state, const char *text);

#endif
