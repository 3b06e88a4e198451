// Whether the disk of the log is slow.
#include "proxy/node/disk_watch.h"

static bool is_bad(struct disk_watch *watch, uint64_t n_syncs, uint64_t n_slow, bool waits)
{
    uint32_t at = watch->n_checks % DISK_WATCH_CHECKS;
    bool is_full = watch->n_checks >= DISK_WATCH_CHECKS;
    uint64_t before = watch->n_syncs[at], slow_before = watch->n_slow[at]; // the oldest
    watch->n_syncs[at] = n_syncs;
    watch->n_slow[at] = n_slow;
    watch->n_checks = is_full && at + 1 == DISK_WATCH_CHECKS ? DISK_WATCH_CHECKS : watch->n_checks + 1;
    if (!is_full) {
        return false;
    }
    uint64_t n = n_syncs - before;
    return (n == 0 && waits) || (n >= DISK_WATCH_SYNCS_MIN && (n_slow - slow_before) * 2 > n);
}

bool disk_watch_check(struct disk_watch *watch, uint64_t n_syncs, uint64_t n_slow, bool waits)
{
    if (is_bad(watch, n_syncs, n_slow, waits)) {
        watch->slow = true;
        watch->n_good = 0;
    } else if (watch->slow && ++watch->n_good >= DISK_WATCH_GOOD_CHECKS) {
        watch->slow = false;
    }
    return watch->slow;
}
