// Whether the disk of the log is slow: a verdict over the last seconds of syncs, made from counters that only rise. Pure.
#ifndef PROXY_DISK_WATCH_H
#define PROXY_DISK_WATCH_H

#include <stdbool.h>
#include <stdint.h>

enum {
    DISK_WATCH_CHECKS = 10,      // that a verdict looks back
    DISK_WATCH_SYNCS_MIN = 5,    // fewer say nothing
    DISK_WATCH_GOOD_CHECKS = 60, // without a slow half before a slow disk is trusted again
};

struct disk_watch { // zero-initialised
    uint64_t n_syncs[DISK_WATCH_CHECKS], n_slow[DISK_WATCH_CHECKS]; // ring: the counters at the last checks
    uint32_t n_checks;
    uint32_t n_good;
    bool slow;
};

// Called at equal intervals with the counters since the start: syncs, those of them that took longer than the limit, and whether something
// waits to be synced now. The disk is slow when more than half of the last syncs were, or when none ended although one was waited for; it is
// so until none of this has been seen for DISK_WATCH_GOOD_CHECKS checks.
bool disk_watch_check(struct disk_watch *watch, uint64_t n_syncs, uint64_t n_slow, bool waits);

#endif
