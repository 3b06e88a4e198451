// Hooks of the simulator: what a test may see and decide (tests/harness). Without them nothing changes.
#ifndef SIM_HOOKS_H
#define SIM_HOOKS_H

#include "proxy/faults/faults.h"
#include "proxy/node/node.h"

// Of handling a node's effects, in order; WRITE and SYNC are the log thread's part of LOG, APPLY the database's of JOBS.
enum sim_stage { SIM_STAGE_LOG, SIM_STAGE_WRITE, SIM_STAGE_SYNC, SIM_STAGE_SEND, SIM_STAGE_JOBS, SIM_STAGE_APPLY, SIM_STAGE_ANSWER };
enum sim_moment { SIM_BEFORE, SIM_AFTER };

struct sim_hooks {
    void *context;
    // A number in [low, high]; NULL: from the seed.
    uint64_t (*draw)(void *context, uint64_t low, uint64_t high);
    // False: the replica dies at this very point, and nothing that would follow happens. LOG, SEND, JOBS, ANSWER: with the effects.
    bool (*stage)(void *context, uint32_t replica, enum sim_stage stage, enum sim_moment moment, const struct node_effects *effects);
    // Its database has committed the entry.
    void (*applied)(void *context, uint32_t replica, uint64_t index);
    struct faults *faults; // of messages; NULL: none but the seed's
};

#endif
