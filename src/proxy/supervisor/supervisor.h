// Supervisor: makes and keeps alive the PostgreSQL server that a replica owns (managed mode). Asynchronous on a libevent loop:
// nothing here waits. All functions on the loop's thread, which must be the thread that lives as long as the process: the
// server dies with it (PR_SET_PDEATHSIG), so that nothing remains after kill -9.
//
//   IDLE -start-> CLEARING -> [INITIALISING ->] STARTING -> RUNNING --exit--> WAITING -> CLEARING ...
//   any -stop-> STOPPING -> STOPPED
//
// CLEARING stops a server that an earlier proxy left behind on the same data directory.
#ifndef PROXY_SUPERVISOR_H
#define PROXY_SUPERVISOR_H

#include <sys/types.h>

#include "base/slice.h"
#include "base/status.h"

struct event_base;
struct supervisor;

enum supervisor_state {
    SUPERVISOR_IDLE,
    SUPERVISOR_CLEARING,
    SUPERVISOR_INITIALISING, // initdb
    SUPERVISOR_STARTING,     // started, does not accept connections yet
    SUPERVISOR_RUNNING,      // accepts connections
    SUPERVISOR_WAITING,      // died; is started again after a back-off
    SUPERVISOR_STOPPING,
    SUPERVISOR_STOPPED,
};
enum { SUPERVISOR_STATES = SUPERVISOR_STOPPED + 1 };

struct supervisor_setting {
    const char *name, *value; // PostgreSQL's names; written after the own settings, so they win
};

struct supervisor_options { // copied
    struct event_base *base;
    const char
        *bin_directory; // NULL or "": found: pg_config --bindir, else the newest /usr/lib/postgresql/<15 or later>/bin
    const char *
        data_directory; // the replica's: <data_directory>/postgres is PostgreSQL's, <data_directory>/postgres.log its log
    const char *system_user;    // whom PostgreSQL runs as when we are root; NULL, "" or unknown: "postgres", else "nobody"
    const char *database;       // made with a new cluster; NULL or "": "postgres"
    uint32_t connections_max;   // 0: 100
    size_t n_settings;
    const struct supervisor_setting *settings;
    bool no_restart; // a server that died stays down (state STOPPED)
    // Told after each change of state, also from within supervisor_start and supervisor_stop. `text` says why (never NULL). Must
    // not call supervisor_destroy.
    void (*on_state)(void *context, enum supervisor_state state, const char *text);
    void *context;
};

// Finds the binaries, the user to run as and the directories; makes the directories. When that user cannot reach the data
// directory (it is below /root, say), <data_directory>/postgres becomes a link into /var/lib/caucus.
// Starts nothing. CC_NOT_FOUND (no PostgreSQL 15 or later), CC_INVALID (unusable directory), CC_IO; error_out gets a sentence.
enum cc_status supervisor_create(const struct supervisor_options *options, struct supervisor **supervisor_out,
                                 char error_out[static 300]) CC_CHECKED;
void supervisor_start(struct supervisor *supervisor);
// Orderly stop (fast shutdown, harder after a while); STOPPED is told through on_state when no process is left.
void supervisor_stop(struct supervisor *supervisor);
// Kills at once what still runs (immediate shutdown), waits for it. NULL is fine.
void supervisor_destroy(struct supervisor *supervisor);

enum supervisor_state supervisor_state(const struct supervisor *supervisor);
const char *supervisor_state_name(enum supervisor_state state);
pid_t supervisor_pid(const struct supervisor *supervisor); // the server's, 0 if there is none
// "host='<socket directory>' dbname='<database>' user=postgres": for libpq, as soon as it is created.
const char *supervisor_conninfo(const struct supervisor *supervisor);
const char *supervisor_socket_directory(const struct supervisor *supervisor);
uint32_t supervisor_restarts(const struct supervisor *supervisor);

#endif
