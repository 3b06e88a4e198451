// The replica processes of `caucus up`: started, watched, started again, stopped. None outlives us, whatever happens.
#ifndef CLI_UP_CHILDREN_H
#define CLI_UP_CHILDREN_H

#include <sys/types.h>

#include "cli/up_directory.h"

struct up_child {
    uint32_t replica;
    pid_t pid; // 0: does not run
    char *log;
    uint64_t started_ms;
    uint64_t start_at_ms; // when it is to be started again; 0: not
    uint32_t back_off_ms;
    int exit_code; // of its last end, if it ended by itself; -1: by a signal
};

struct up_children {
    const struct up_directory *directory;
    bool no_restart;
    bool stopping;       // asked to stop
    bool killing;        // asked twice
    enum cli_exit fatal; // a replica ended for good before all were ready
    bool all_ready;
    bool had_terminal;
    size_t n;
    struct up_child children[CC_REPLICAS_MAX];
};

// Blocks the signals that up_children_turn takes.
void up_children_init(struct up_children *children, const struct up_directory *directory, bool no_restart);
enum cli_exit up_children_start(struct up_children *children);
// Waits up to `wait_ms` for something to happen, then handles signals, ended processes and due restarts. False when it is time to stop.
bool up_children_turn(struct up_children *children, uint32_t wait_ms);
// Stops all: SIGTERM, after a while or a second signal SIGKILL. Returns when no process is left.
void up_children_stop(struct up_children *children);
void up_children_finish(struct up_children *children);

#endif
