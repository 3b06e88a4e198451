// What the supervisor needs of the machine: PostgreSQL's binaries, the user to run it as, directories, its settings file and what
// its postmaster.pid says. Blocking, but short.
#ifndef PROXY_SUPERVISOR_FILES_H
#define PROXY_SUPERVISOR_FILES_H

#include <sys/types.h>

#include "proxy/supervisor/supervisor.h"

enum { SUPERVISOR_GROUPS_MAX = 64, SUPERVISOR_ERROR_BYTES = 300 };

struct supervisor_user {
    bool switches; // we are root and become this user
    uid_t uid;
    gid_t gid;
    int n_groups;
    gid_t groups[SUPERVISOR_GROUPS_MAX];
};

struct supervisor_place { // absolute paths; texts are owned
    char *bin_directory;
    char *postgres; // PostgreSQL's data directory
    char *fresh;    // where a new one is made, beside it
    char *sockets;
    char *log;
    bool tried_lz4, has_lz4; // whether the binaries compress values with lz4: supervisor_write_settings finds out, once
};

void supervisor_place_finish(struct supervisor_place *place);

// As root: `wanted`, or else postgres or nobody. CC_NOT_FOUND: there is none of them. error_out is a sentence, here and below.
enum cc_status supervisor_find_user(const char *wanted, struct supervisor_user *user_out,
                                    char error_out[static SUPERVISOR_ERROR_BYTES]) CC_CHECKED;
// Becomes the user for good; only calls that are safe after fork.
bool supervisor_become(const struct supervisor_user *user);
// Fills and makes everything but bin_directory. CC_INVALID: the user cannot get there, or the data are another one's; CC_IO.
enum cc_status supervisor_make_place(const char *data_directory, const struct supervisor_user *user,
                                     struct supervisor_place *place,
                                     char error_out[static SUPERVISOR_ERROR_BYTES]) CC_CHECKED;
// Fills bin_directory: 15 or later, and the very version that made the data if there is some. CC_NOT_FOUND.
enum cc_status supervisor_find_binaries(const char *wanted, struct supervisor_place *place,
                                        char error_out[static SUPERVISOR_ERROR_BYTES]) CC_CHECKED;

bool supervisor_has_data(const struct supervisor_place *place);
// An empty directory `fresh` that the user owns; removes what an interrupted attempt left. CC_IO.
enum cc_status supervisor_make_fresh(const struct supervisor_place *place,
                                     const struct supervisor_user *user) CC_CHECKED;
// Makes the fresh directory the data directory, durably. CC_IO.
enum cc_status supervisor_adopt_fresh(const struct supervisor_place *place) CC_CHECKED;
// caucus.conf of the data directory, and postgresql.conf includes it. CC_IO.
enum cc_status supervisor_write_settings(struct supervisor_place *place, const struct supervisor_user *user, uint32_t connections_max,
                                         const struct supervisor_setting *settings, size_t n_settings) CC_CHECKED;
// Text of caucus.conf. What the operator has set comes last, and wins.
void supervisor_put_settings(struct cc_buffer *out, const struct supervisor_place *place, uint32_t connections_max,
                             const struct supervisor_setting *settings, size_t n_settings);

// The server that runs on the data directory according to its postmaster.pid: its pid, 0 if none does.
pid_t supervisor_server_pid(const struct supervisor_place *place);
// What postmaster.pid says although no server runs there, as after the death of the machine; 0 if it says nothing like that. By now it
// may be the number of a process that has nothing to do with it.
pid_t supervisor_stale_pid(const struct supervisor_place *place);
// Whether server `pid` says there that it accepts connections.
bool supervisor_server_ready(const struct supervisor_place *place, pid_t pid);
int supervisor_open_log(const struct supervisor_place *place); // for appending; -1 on failure
// The last FATAL or else the last line of the log after byte `from`, for messages.
void supervisor_last_words(const struct supervisor_place *place, long from, char *text_out, size_t n);

#endif
