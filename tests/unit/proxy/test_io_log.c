// The log thread on real files: what is told durable is there after reopening, group commit, loads, roll-over, verify, locks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/replica/io_disk.h"
#include "proxy/scratch.h"
#include "proxy/replica/io_log.h"

enum { WAIT_MS = 60000, SEGMENT_BYTES = 256 << 10 };

struct fixture {
    char root[SCRATCH_BYTES];
    char path[96];
    uint64_t quick_us;
    struct io_log *log;
    struct wal_report report;
    uint64_t n_replayed;
    uint64_t synced, synced_record, promised;
    size_t n_synced_calls;
    bool loaded;
    size_t n_loaded;
    uint64_t first_loaded;
    uint32_t loaded_peer;
    size_t n_changes;
    struct wal_cursor cursor;
    bool changes_told, changes_done;
    enum cc_status failure;
    char failure_text[256];
};

static enum cc_status count_entries(void *context, const struct wal_record *record)
{
    struct fixture *f = context;
    f->n_replayed += record->kind == WAL_ENTRY ? 1 : 0;
    return CC_OK;
}

static void on_synced(void *context, uint64_t number, uint64_t record_number, uint64_t promise_number)
{
    struct fixture *f = context;
    assert_true(number > f->synced);
    assert_true(record_number >= f->synced_record);
    f->synced = number;
    f->synced_record = record_number;
    f->promised = promise_number;
    f->n_synced_calls++;
}

static void on_loaded(void *context, uint32_t peer, const struct raft_entry *entries, size_t n_entries)
{
    struct fixture *f = context;
    f->loaded = true;
    f->loaded_peer = peer;
    f->n_loaded = n_entries;
    f->first_loaded = n_entries > 0 ? entries[0].index : 0;
    for (size_t i = 0; i < n_entries; i++) {
        assert_int_equal(entries[i].index, f->first_loaded + i);
    }
}

static void on_changes(void *context, const struct wal_record *changes, size_t n_changes, struct wal_cursor next,
                       bool done)
{
    struct fixture *f = context;
    for (size_t i = 0; i < n_changes; i++) {
        uint32_t value;
        memcpy(&value, changes[i].body.data, sizeof(value));
        assert_int_equal(value, f->n_changes + 1);
        f->n_changes++;
    }
    f->cursor = next;
    f->changes_told = true;
    f->changes_done = done;
}

static void on_failed(void *context, enum cc_status status, const char *what)
{
    struct fixture *f = context;
    assert_int_equal(f->failure, CC_OK); // told once
    f->failure = status;
    (void)snprintf(f->failure_text, sizeof(f->failure_text), "%s", what);
}

static void drain(struct fixture *f)
{
    struct pollfd wait = {.fd = io_log_descriptor(f->log), .events = POLLIN};
    assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
    const struct io_log_handler handler = {
        .context = f, .synced = on_synced, .loaded = on_loaded, .changes = on_changes, .failed = on_failed};
    io_log_drain(f->log, &handler);
}

static enum cc_status try_open(struct fixture *f)
{
    struct io_log_options options = {.directory = f->path, .segment_bytes = SEGMENT_BYTES, .quick_us = f->quick_us};
    f->n_replayed = f->synced = f->synced_record = 0;
    return io_log_open(&options, count_entries, f, &f->log, &f->report, NULL);
}

static void reopen(struct fixture *f)
{
    io_log_close(f->log);
    f->log = NULL;
    assert_int_equal(try_open(f), CC_OK);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    scratch_make("log", f->root);
    (void)snprintf(f->path, sizeof(f->path), "%s/log", f->root);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    io_log_close(f->log);
    scratch_remove(f->root);
    free(f);
    return 0;
}

static void put_entry(struct wal_batch *batch, uint64_t index, size_t n_payload)
{
    if (index == 1) {
        wal_put_identity(batch, &(struct wal_identity){.cluster = "shop", .replica = 1, .incarnation = 1});
    }
    uint8_t *payload = calloc(1, n_payload + 1);
    struct raft_entry entry = {.index = index, .term = 1, .kind = RAFT_ENTRY_DATA};
    entry.payload = n_payload > 0 ? cc_blob_create(payload, n_payload) : NULL;
    wal_put_entry(batch, &entry);
    cc_blob_unref(entry.payload);
    free(payload);
}

static void append_entry(struct fixture *f, uint64_t index, size_t n_payload, uint64_t number)
{
    struct wal_batch batch = {0};
    put_entry(&batch, index, n_payload);
    io_log_append(f->log, &batch, number);
    wal_batch_finish(&batch);
}

static bool append_entry_at_once(struct fixture *f, uint64_t index, size_t n_payload, uint64_t number)
{
    struct wal_batch batch = {0};
    put_entry(&batch, index, n_payload);
    bool done = io_log_append_at_once(f->log, &batch, number);
    wal_batch_finish(&batch);
    return done;
}

static void append_many(struct fixture *f, uint64_t n, size_t n_payload)
{
    for (uint64_t i = 1; i <= n; i++) {
        append_entry(f, i, n_payload, i);
    }
    while (f->synced < n && f->failure == CC_OK) {
        drain(f);
    }
}

static void what_is_told_durable_is_there_after_reopening(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 10, 100);
    assert_int_equal(f->synced_record, 11);
    assert_int_equal(f->promised, 11); // after the identity
    reopen(f);
    assert_int_equal(io_log_opened_state(f->log)->promise_number, 11);
    assert_int_equal(f->n_replayed, 10);
    assert_int_equal(io_log_opened_state(f->log)->last_index, 10);
}

static void batches_that_queue_share_a_sync(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 2000, 50);
    struct io_log_stats stats;
    io_log_describe(f->log, &stats);
    assert_int_equal(stats.n_batches, 2000);
    assert_true(stats.n_syncs < 1000);
    assert_int_equal(stats.n_queued_bytes, 0);
    reopen(f);
    assert_int_equal(f->n_replayed, 2000);
}

static void the_log_rolls_over_while_it_is_written(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 600, 3000);
    reopen(f);
    assert_int_equal(f->n_replayed, 600);
    assert_true(f->report.n_segments > 6);
    assert_int_equal(f->report.cut_bytes, 0);
}

static void entries_are_loaded_by_the_second_thread(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 300, 3000);
    io_log_load(f->log, 3, 17, 90);
    while (!f->loaded) {
        drain(f);
    }
    assert_int_equal(f->loaded_peer, 3);
    assert_int_equal(f->first_loaded, 17);
    assert_int_equal(f->n_loaded, 74);
    f->loaded = false;
    io_log_load(f->log, 3, 301, 302);
    while (!f->loaded) {
        drain(f);
    }
    assert_int_equal(f->n_loaded, 0);
}

static void truncated_segments_are_gone_and_their_entries_are_not_loaded(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 600, 3000);
    io_log_truncate(f->log, 500, UINT64_MAX);
    io_log_load(f->log, 2, 10, 11);
    while (!f->loaded) {
        drain(f);
    }
    assert_int_equal(f->n_loaded, 0);
    reopen(f);
    assert_true(f->report.n_segments < 6);
    assert_int_equal(io_log_opened_state(f->log)->base_index, 499);
    assert_int_equal(f->n_replayed, 101);
}

static void own_changes_come_back_in_parts(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 1, 10);
    struct wal_batch batch = {0};
    uint8_t body[4000] = {0};
    for (uint32_t i = 1; i <= 1000; i++) {
        memcpy(body, &i, sizeof(i));
        wal_put_change(&batch, cc_slice_of(body, sizeof(body)));
    }
    io_log_append(f->log, &batch, 2);
    wal_batch_finish(&batch);
    while (f->synced < 2) {
        drain(f);
    }
    int n_parts = 0;
    while (!f->changes_done) {
        f->changes_told = false;
        io_log_load_changes(f->log, f->cursor);
        while (!f->changes_told) {
            drain(f);
        }
        n_parts++;
    }
    assert_int_equal(f->n_changes, 1000);
    assert_true(n_parts > 3);
}

static void a_second_process_cannot_open_the_same_log(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    struct io_log_options options = {.directory = f->path};
    struct io_log *other = NULL;
    struct wal_report report;
    char *problem = NULL;
    assert_int_equal(io_log_open(&options, NULL, NULL, &other, &report, &problem), CC_EXISTS);
    assert_non_null(problem);
    assert_non_null(strstr(problem, f->path));
    free(problem);
}

static void half_made_files_are_removed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 3, 10);
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/0000000000000002.log.new", f->path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    reopen(f);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(f->n_replayed, 3);
}

// The file vanishes from under the log: the next append fails as it would on a dead disk.
static void a_failure_is_told_once_and_nothing_is_told_durable_after_it(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 60, 3000); // more than half: the next segment is being made, let it be there
    reopen(f);
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/0000000000000002.log", f->path);
    for (int i = 0; i < 1000 && access(path, F_OK) != 0; i++) {
        (void)poll(NULL, 0, 10);
    }
    (void)unlink(path);
    append_entry(f, 61, 200 << 10, 61); // rolls over into the missing file
    while (f->failure == CC_OK && f->synced < 61) {
        drain(f);
    }
    assert_int_not_equal(f->failure, CC_OK);
    assert_non_null(strstr(f->failure_text, "0000000000000002.log"));
    assert_int_equal(f->synced, 0);
    append_entry(f, 62, 10, 62);
    const struct io_log_handler handler = {.context = f, .synced = on_synced, .failed = on_failed};
    io_log_drain(f->log, &handler);
    assert_int_equal(f->synced, 0);
}

static enum cc_status verify(const struct fixture *f, struct wal_report *report_out)
{
    struct io_disk *disk = NULL;
    struct wal_state state = {0};
    enum cc_status status = io_disk_open(f->path, IO_DISK_READER, &disk);
    if (status == CC_OK) {
        struct wal_disk functions = io_disk_functions(disk);
        status = wal_verify(&functions, NULL, NULL, &state, report_out);
    }
    io_disk_close(disk);
    return status;
}

static void who_only_reads_tells_whole_from_damaged(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 100, 100);
    io_log_close(f->log);
    f->log = NULL;
    struct wal_report report = {0};
    assert_int_equal(verify(f, &report), CC_OK);
    assert_int_equal(report.first_index, 1);
    assert_int_equal(report.last_index, 100);

    char path[160];
    (void)snprintf(path, sizeof(path), "%s/0000000000000001.log", f->path);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, 2000), 1);
    (void)close(fd);
    assert_int_equal(verify(f, &report), CC_CORRUPT);
    assert_string_equal(report.segment, "0000000000000001.log");
    assert_true(report.offset > 1000 && report.offset <= 2000);
    assert_int_equal(try_open(f), CC_CORRUPT);
    assert_null(f->log);

    f->path[strlen(f->path) - 1] = 'X';
    assert_int_equal(verify(f, &report), CC_NOT_FOUND);
    f->path[strlen(f->path) - 1] = 'g';
}

static void new_segments_are_private_and_filled_with_real_zeros(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try_open(f), CC_OK);
    char path[160];
    (void)snprintf(path, sizeof(path), "%s/0000000000000001.log", f->path);
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_size, SEGMENT_BYTES);
    assert_true(facts.st_blocks * 512 >= SEGMENT_BYTES);
    assert_int_equal(facts.st_mode & 0777, 0600);
}

// Each is tried until the log has rested; where it would have to roll over, the log thread does it.
static uint64_t append_at_once_until(struct fixture *f, uint64_t first, uint64_t last, size_t n_payload)
{
    uint64_t n_at_once = 0;
    for (uint64_t i = first; i <= last; i++) {
        struct io_log_stats stats;
        io_log_describe(f->log, &stats);
        bool done = append_entry_at_once(f, i, n_payload, i);
        for (int n_tries = 0; !done && n_tries < 100; n_tries++) {
            (void)poll(NULL, 0, 1);
            done = append_entry_at_once(f, i, n_payload, i);
        }
        if (done) {
            struct io_log_stats now;
            io_log_describe(f->log, &now);
            assert_int_equal(now.n_syncs, stats.n_syncs + 1);
            assert_int_equal(now.n_queued_bytes, 0);
        } else {
            append_entry(f, i, n_payload, i);
        }
        n_at_once += done;
        while (f->synced < i && f->failure == CC_OK) {
            drain(f);
        }
    }
    return n_at_once;
}

static void what_is_appended_at_once_is_durable_then_over_many_segments(void **state)
{
    struct fixture *f = *state;
    f->quick_us = UINT64_MAX;
    assert_int_equal(try_open(f), CC_OK);
    for (uint64_t i = 1; i <= 20; i++) { // it takes a few quick ones
        append_entry(f, i, 100, i);
        while (f->synced < i) {
            drain(f);
        }
    }
    uint64_t n_at_once = append_at_once_until(f, 21, 60, 100);
    assert_true(n_at_once > 0);
    n_at_once = append_at_once_until(f, 61, 160, 30000);
    assert_true(n_at_once > 0);
    assert_int_equal(f->failure, CC_OK);
    reopen(f);
    assert_int_equal(f->n_replayed, 160);
    assert_true(f->report.n_segments > 3);
}

static void nothing_is_appended_at_once_where_syncs_are_not_quick(void **state)
{
    struct fixture *f = *state;
    f->quick_us = 0;
    assert_int_equal(try_open(f), CC_OK);
    append_many(f, 30, 100);
    (void)poll(NULL, 0, 50);
    assert_false(append_entry_at_once(f, 31, 100, 31));
    append_entry(f, 31, 100, 31);
    while (f->synced < 31) {
        drain(f);
    }
    reopen(f);
    assert_int_equal(f->n_replayed, 31);
}

// The log's own assertions hold each entry to follow the one before it.
static void what_is_appended_at_once_does_not_overtake_what_is_queued(void **state)
{
    struct fixture *f = *state;
    f->quick_us = UINT64_MAX;
    assert_int_equal(try_open(f), CC_OK);
    for (uint64_t i = 1; i <= 300; i++) {
        if (i % 2 == 0 || !append_entry_at_once(f, i, 100, i)) {
            append_entry(f, i, 100, i);
        }
    }
    while (f->synced < 300 && f->failure == CC_OK) {
        drain(f);
    }
    reopen(f);
    assert_int_equal(f->n_replayed, 300);
}

int main(void)
{
#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        LOG_TEST(what_is_told_durable_is_there_after_reopening),
        LOG_TEST(batches_that_queue_share_a_sync),
        LOG_TEST(the_log_rolls_over_while_it_is_written),
        LOG_TEST(entries_are_loaded_by_the_second_thread),
        LOG_TEST(truncated_segments_are_gone_and_their_entries_are_not_loaded),
        LOG_TEST(own_changes_come_back_in_parts),
        LOG_TEST(a_second_process_cannot_open_the_same_log),
        LOG_TEST(half_made_files_are_removed),
        LOG_TEST(a_failure_is_told_once_and_nothing_is_told_durable_after_it),
        LOG_TEST(who_only_reads_tells_whole_from_damaged),
        LOG_TEST(new_segments_are_private_and_filled_with_real_zeros),
        LOG_TEST(what_is_appended_at_once_is_durable_then_over_many_segments),
        LOG_TEST(nothing_is_appended_at_once_where_syncs_are_not_quick),
        LOG_TEST(what_is_appended_at_once_does_not_overtake_what_is_queued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
