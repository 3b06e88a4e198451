// When a disk counts as slow.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/node/disk_watch.h"

struct disk { // what is told at each check
    struct disk_watch watch;
    uint64_t n_syncs, n_slow;
};

static bool check(struct disk *disk, uint64_t n_syncs, uint64_t n_slow, bool waits)
{
    disk->n_syncs += n_syncs;
    disk->n_slow += n_slow;
    return disk_watch_check(&disk->watch, disk->n_syncs, disk->n_slow, waits);
}

static bool run(struct disk *disk, uint32_t n_checks, uint64_t n_syncs, uint64_t n_slow, bool waits)
{
    bool slow = disk->watch.slow;
    for (uint32_t i = 0; i < n_checks; i++) {
        slow = check(disk, n_syncs, n_slow, waits);
    }
    return slow;
}

static void a_disk_is_slow_when_more_than_half_of_the_last_syncs_were(void **state)
{
    (void)state;
    struct disk disk = {0};
    assert_false(run(&disk, 3 * DISK_WATCH_CHECKS, 10, 5, true));
    assert_true(run(&disk, DISK_WATCH_CHECKS, 10, 6, true));
    struct disk from_the_start = {0};
    assert_false(run(&from_the_start, DISK_WATCH_CHECKS, 10, 10, true)); // not before there is something to look back to
    assert_true(check(&from_the_start, 10, 10, true));
}

static void a_few_slow_syncs_say_nothing(void **state)
{
    (void)state;
    struct disk disk = {0};
    assert_false(run(&disk, 2 * DISK_WATCH_CHECKS, 0, 0, false));
    assert_false(check(&disk, DISK_WATCH_SYNCS_MIN - 1, DISK_WATCH_SYNCS_MIN - 1, false));
    assert_false(run(&disk, 4 * DISK_WATCH_CHECKS, 0, 0, false));
}

static void a_disk_that_ends_no_sync_is_slow_only_while_one_is_waited_for(void **state)
{
    (void)state;
    struct disk disk = {0};
    assert_false(run(&disk, 3 * DISK_WATCH_CHECKS, 0, 0, false));
    struct disk hung = {0};
    assert_false(run(&hung, 2 * DISK_WATCH_CHECKS, 3, 0, true));
    assert_false(run(&hung, DISK_WATCH_CHECKS - 1, 0, 0, true));
    assert_true(check(&hung, 0, 0, true));
}

static void a_slow_disk_is_trusted_again_only_after_a_while(void **state)
{
    (void)state;
    struct disk disk = {0};
    assert_true(run(&disk, 2 * DISK_WATCH_CHECKS, 10, 10, true));
    assert_true(run(&disk, DISK_WATCH_GOOD_CHECKS - 1, 10, 0, true));
    assert_true(run(&disk, DISK_WATCH_CHECKS, 10, 10, true));
    assert_true(run(&disk, DISK_WATCH_GOOD_CHECKS - 1, 10, 0, true));
    assert_false(run(&disk, DISK_WATCH_CHECKS, 10, 0, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_is_slow_when_more_than_half_of_the_last_syncs_were),
        cmocka_unit_test(a_few_slow_syncs_say_nothing),
        cmocka_unit_test(a_disk_that_ends_no_sync_is_slow_only_while_one_is_waited_for),
        cmocka_unit_test(a_slow_disk_is_trusted_again_only_after_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
