// Inside of the harness: shared by harness*.c only.
#ifndef HARNESS_INTERNAL_H
#define HARNESS_INTERNAL_H

#include "harness/harness.h"
#include "sim/sim.h"

struct harness_seen { // of a replica, for hooks.role
    enum raft_role role;
    uint64_t term;
    uint32_t leader;
};

struct harness {
    struct sim sim;
    struct faults faults;
    struct harness_options options;
    struct harness_hooks hooks;
    struct harness_seen seen[SIM_REPLICAS_MAX + 1];
    enum harness_fate fates[SIM_REPLICAS_MAX + 1]; // of the doomed
};

#endif
