// The write-ahead log in ordinary times: append, roll over, reopen, read back, truncate.
#include "wal_fixture.h"

static void an_empty_directory_gives_an_empty_log(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 64 << 10);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_false(wal_state_of(f.wal)->has_identity);
    assert_int_equal(wal_state_of(f.wal)->next_number, 1);
    assert_int_equal(fixture_open(&f), CC_OK); // and again, with the empty segment
    assert_false(f.seen->identity);
    fixture_finish(&f);
}

static void what_was_appended_is_replayed_in_order(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 5, 100);
    struct wal_batch batch = {0};
    put_change(&batch, 11, 50);
    put_entry(&batch, 6, 2, 0);
    put_change(&batch, 12, 50);
    wal_put_mark(&batch, &(struct wal_mark){.commit = 5, .hlc = 99, .own_sequence = 7, .own_incarnation = 5, .n_memories = 1, .memories = {{3, 8, 4, 40}}});
    wal_put_hard_state(&batch, (struct raft_hard_state){.term = 3, .vote = 0});
    fixture_append(&f, &batch);
    wal_batch_finish(&batch);

    assert_int_equal(fixture_open(&f), CC_OK);
    assert_true(f.seen->identity);
    assert_int_equal(f.seen->hard_state.term, 3);
    assert_int_equal(f.seen->mark.commit, 5);
    assert_int_equal(f.seen->mark.hlc, 99);
    assert_int_equal(f.seen->mark.own_sequence, 7);
    assert_int_equal(f.seen->mark.own_incarnation, 5);
    assert_int_equal(f.seen->mark.n_memories, 1);
    assert_int_equal(f.seen->mark.memories[0].replica, 3);
    assert_int_equal(f.seen->mark.memories[0].incarnation, 8);
    assert_int_equal(f.seen->mark.memories[0].index, 4);
    assert_int_equal(f.seen->mark.memories[0].promise, 40);
    assert_int_equal(f.seen->n_entries, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(f.seen->entries[i].index, i + 1);
        assert_int_equal(f.seen->entries[i].hlc, (i + 1) * 10);
    }
    assert_int_equal(f.seen->entries[5].term, 2);
    assert_int_equal(f.seen->n_changes, 2);
    assert_int_equal(f.seen->changes[1], 12);
    assert_int_equal(wal_state_of(f.wal)->identity.incarnation, 7);
    fixture_finish(&f);
}

static void the_last_number_of_own_changes_is_that_of_the_last_origin(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 1, 100);
    static const struct wal_mark marks[] = {{.own_sequence = 7}, // as an earlier version wrote it
                                            {.own_sequence = 9, .own_incarnation = 5},
                                            {.own_sequence = 3, .own_incarnation = 6},
                                            {.own_sequence = 2, .own_incarnation = 6}};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        struct wal_batch batch = {0};
        wal_put_mark(&batch, &marks[i]);
        fixture_append(&f, &batch);
        wal_batch_finish(&batch);
    }
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->mark.own_incarnation, 6);
    assert_int_equal(f.seen->mark.own_sequence, 3);
    fixture_finish(&f);
}

static uint64_t promised(const struct fixture *f)
{
    return wal_state_of(f->wal)->promise_number;
}

static void append_and_clear(struct fixture *f, struct wal_batch *batch)
{
    fixture_append(f, batch);
    wal_batch_finish(batch);
    *batch = (struct wal_batch){0};
}

static void what_a_log_promises_is_numbered_and_the_number_tells_replaced_entries_and_votes(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 5, 100);
    uint64_t before = promised(&f);
    assert_int_equal(before, wal_state_of(f.wal)->durable_number);

    struct wal_batch batch = {0};
    put_change(&batch, 11, 50);
    wal_put_mark(&batch, &(struct wal_mark){.commit = 3});
    wal_put_hard_state(&batch, (struct raft_hard_state){.term = 1, .vote = 2}); // said again
    append_and_clear(&f, &batch);
    assert_int_equal(promised(&f), before);

    put_entry(&batch, 5, 2, 0);
    append_and_clear(&f, &batch);
    uint64_t replaced = promised(&f);
    assert_true(replaced > before);
    assert_int_equal(wal_state_of(f.wal)->last_index, 5);

    wal_put_hard_state(&batch, (struct raft_hard_state){.term = 2, .vote = 3});
    append_and_clear(&f, &batch);
    uint64_t voted = promised(&f);
    assert_true(voted > replaced);

    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(promised(&f), voted);
    fixture_finish(&f);
}

static void a_new_segment_and_the_end_of_old_ones_take_back_no_promise(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4 << 10, 20, 300);
    uint64_t before = promised(&f);
    struct wal_batch batch = {0};
    for (uint32_t i = 0; i < 40; i++) { // rolls over more than once
        put_change(&batch, i, 300);
        append_and_clear(&f, &batch);
    }
    assert_int_equal(promised(&f), before);
    assert_int_equal(wal_truncate(f.wal, 21, wal_state_of(f.wal)->next_number), CC_OK);
    assert_int_equal(promised(&f), before);
    assert_int_equal(fixture_open(&f), CC_OK); // the records are gone: what is read is no less
    assert_true(promised(&f) >= before);
    assert_true(promised(&f) <= wal_state_of(f.wal)->durable_number);
    fixture_finish(&f);
}

static void a_later_entry_replaces_the_earlier_one_and_everything_above(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 10, 10);
    struct wal_batch batch = {0};
    put_entry(&batch, 7, 2, 20);
    put_entry(&batch, 8, 2, 20);
    fixture_append(&f, &batch);
    assert_int_equal(wal_state_of(f.wal)->last_index, 8);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 8);
    assert_int_equal(f.seen->entries[5].term, 1);
    assert_int_equal(f.seen->entries[6].term, 2);

    struct raft_entry entries[16];
    size_t n;
    assert_int_equal(wal_load_entries(f.wal, 5, 100, 1 << 20, entries, 16, &n), CC_OK);
    assert_int_equal(n, 4);
    assert_int_equal(entries[1].payload->n, 10);
    assert_int_equal(entries[2].payload->n, 20);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(entries[i].index, 5 + i);
        cc_blob_unref(entries[i].payload);
    }
    assert_int_equal(wal_load_entries(f.wal, 9, 10, 1 << 20, entries, 16, &n), CC_NOT_FOUND);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void one_batch_costs_one_sync(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 1 << 20, 1, 10);
    uint64_t before = f.disk.n_operations[SIM_DISK_SYNC];
    struct wal_batch batch = {0};
    for (uint64_t i = 2; i <= 100; i++) {
        put_entry(&batch, i, 1, 100);
    }
    fixture_append(&f, &batch);
    assert_int_equal(f.disk.n_operations[SIM_DISK_SYNC], before + 1);
    assert_int_equal(sim_disk_dirty(&f.disk, NULL, 0), 0);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void a_full_segment_is_followed_by_the_next(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 300, 200);
    assert_true(f.disk.n_files > 15);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 300);
    assert_int_equal(f.report.first_index, 1);
    assert_int_equal(f.report.last_index, 300);
    assert_int_equal(f.report.n_segments, f.disk.n_files);
    fixture_finish(&f);
}

static void a_batch_larger_than_a_segment_spans_several(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 1, 10);
    struct wal_batch batch = {0};
    for (uint64_t i = 2; i <= 100; i++) {
        put_entry(&batch, i, 1, 300);
    }
    fixture_append(&f, &batch);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 100);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void a_record_larger_than_a_segment_gets_a_larger_segment(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 12, 200);
    assert_true(wal_wants_prepare(f.wal));
    assert_int_equal(wal_prepare(f.wal), CC_OK); // an ordinary one, too small for what comes
    struct wal_batch batch = {0};
    put_entry(&batch, 13, 1, 100 << 10);
    put_entry(&batch, 14, 1, 10);
    fixture_append(&f, &batch);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 14);
    assert_int_equal(f.seen->payload_bytes[12], 100 << 10);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void a_prepared_segment_is_used_and_survives_reopening(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 10, 200);
    assert_true(wal_wants_prepare(f.wal));
    assert_int_equal(wal_prepare(f.wal), CC_OK);
    assert_false(wal_wants_prepare(f.wal));
    assert_int_equal(f.disk.n_files, 2);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_false(wal_wants_prepare(f.wal));
    struct wal_batch batch = {0};
    uint64_t n_created = f.disk.n_operations[SIM_DISK_CREATE];
    for (uint64_t i = 11; i <= 25; i++) {
        put_entry(&batch, i, 1, 200);
        fixture_append(&f, &batch);
    }
    assert_int_equal(f.disk.n_operations[SIM_DISK_CREATE], n_created);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 25);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void every_entry_can_be_loaded_wherever_it_stands(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 16 << 10, 400, 150);
    for (int round = 0; round < 2; round++) {
        for (uint64_t first = 1; first <= 400; first++) {
            struct raft_entry entries[50];
            size_t n;
            assert_int_equal(wal_load_entries(f.wal, first, first + 39, 1 << 20, entries, 50, &n), CC_OK);
            assert_int_equal(n, first + 39 <= 400 ? 40 : 400 - first + 1);
            for (size_t i = 0; i < n; i++) {
                assert_int_equal(entries[i].index, first + i);
                assert_int_equal(entries[i].payload->n, 150);
                assert_int_equal(entries[i].payload->data[149], (first + i) & 0xff);
                cc_blob_unref(entries[i].payload);
            }
        }
        assert_int_equal(fixture_open(&f), CC_OK); // the index is built again
    }
    fixture_finish(&f);
}

static void a_load_reads_no_more_than_it_was_allowed(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 1 << 20, 100, 1000);
    struct raft_entry entries[100];
    size_t n;
    assert_int_equal(wal_load_entries(f.wal, 1, 100, 5500, entries, 100, &n), CC_OK);
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) {
        cc_blob_unref(entries[i].payload);
    }
    assert_int_equal(wal_load_entries(f.wal, 50, 100, 1, entries, 100, &n), CC_OK);
    assert_int_equal(n, 1); // at least one
    cc_blob_unref(entries[0].payload);
    assert_int_equal(wal_load_entries(f.wal, 1, 100, 1 << 20, entries, 3, &n), CC_OK);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        cc_blob_unref(entries[i].payload);
    }
    assert_int_equal(wal_load_entries(f.wal, 101, 101, 1 << 20, entries, 3, &n), CC_NOT_FOUND);
    fixture_finish(&f);
}

static void a_load_does_not_scan_the_whole_log(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 1 << 20, 3000, 500);
    uint64_t before = f.disk.n_operations[SIM_DISK_READ];
    struct raft_entry entry;
    size_t n;
    assert_int_equal(wal_load_entries(f.wal, 1500, 1500, 1 << 20, &entry, 1, &n), CC_OK);
    cc_blob_unref(entry.payload);
    assert_true(f.disk.n_operations[SIM_DISK_READ] - before <= 2);
    fixture_finish(&f);
}

static void changes_are_read_back_in_order_and_in_parts(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 8 << 10, 20, 100);
    struct wal_batch batch = {0};
    for (uint32_t i = 1; i <= 200; i++) {
        put_change(&batch, i, 100);
        put_entry(&batch, 20 + i, 1, 50);
        fixture_append(&f, &batch);
    }
    *f.seen = (struct seen){0};
    struct wal_cursor cursor = {0};
    bool done = false;
    int n_parts = 0;
    while (!done) {
        assert_int_equal(wal_load_changes(f.wal, &cursor, 1000, see, f.seen, &done), CC_OK);
        n_parts++;
    }
    assert_true(n_parts >= 20);
    assert_int_equal(f.seen->n_changes, 200);
    for (uint32_t i = 1; i <= 200; i++) {
        assert_int_equal(f.seen->changes[i - 1], i);
    }
    put_change(&batch, 201, 100); // the cursor goes on where it was
    fixture_append(&f, &batch);
    assert_int_equal(wal_load_changes(f.wal, &cursor, 1000, see, f.seen, &done), CC_OK);
    assert_true(done);
    assert_int_equal(f.seen->n_changes, 201);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void truncation_removes_only_what_nobody_needs(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 100, 200);
    size_t n_files = f.disk.n_files;
    assert_int_equal(wal_truncate(f.wal, 1, UINT64_MAX), CC_OK);
    assert_int_equal(f.disk.n_files, n_files);
    assert_int_equal(wal_truncate(f.wal, 51, UINT64_MAX), CC_OK);
    assert_true(f.disk.n_files < n_files);
    for (int round = 0; round < 2; round++) {
        struct raft_entry entries[64];
        size_t n;
        assert_int_equal(wal_load_entries(f.wal, 51, 100, 1 << 20, entries, 64, &n), CC_OK);
        assert_int_equal(n, 50);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(entries[i].index, 51 + i);
            cc_blob_unref(entries[i].payload);
        }
        assert_int_equal(wal_load_entries(f.wal, 50, 50, 1 << 20, entries, 64, &n), CC_NOT_FOUND);
        assert_int_equal(fixture_open(&f), CC_OK);
        assert_int_equal(f.seen->base_index, 50);
        assert_int_equal(f.seen->base_term, 1);
        assert_int_equal(f.seen->hard_state.vote, 2);
        assert_true(f.seen->identity);
        assert_int_equal(f.seen->n_entries, 50);
        assert_int_equal(f.seen->entries[0].index, 51);
    }
    assert_int_equal(wal_truncate(f.wal, 102, UINT64_MAX), CC_INVALID);
    assert_int_equal(wal_truncate(f.wal, 101, UINT64_MAX), CC_OK);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(wal_state_of(f.wal)->last_index, 100);
    fixture_finish(&f);
}

static void the_membership_survives_the_segments_that_it_was_written_in(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 5, 200);
    struct raft_membership membership = {.n_members = 2, .members = {{.id = 1, .voter = true, .n_details = 3, .details = "abc"}, {.id = 4}}};
    struct wal_batch batch = {0};
    wal_put_membership(&batch, 5, &membership);
    fixture_append(&f, &batch);
    wal_batch_clear(&batch);
    for (uint64_t index = 6; index <= 600; index++) {
        put_entry(&batch, index, 1, 200);
    }
    fixture_append(&f, &batch);
    wal_batch_finish(&batch);
    size_t n_files = f.disk.n_files;
    assert_int_equal(wal_truncate(f.wal, 500, UINT64_MAX), CC_OK);
    assert_true(f.disk.n_files < n_files);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->base_index, 499);
    assert_int_equal(f.seen->membership_index, 5);
    assert_int_equal(f.seen->membership.n_members, 2);
    assert_int_equal(f.seen->membership.members[0].n_details, 3);
    assert_memory_equal(f.seen->membership.members[0].details, "abc", 3);
    fixture_finish(&f);
}

static void truncation_keeps_changes_that_are_not_yet_in_the_database(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 1, 10);
    struct wal_batch batch = {0};
    put_change(&batch, 1, 100);
    fixture_append(&f, &batch);
    uint64_t number = wal_state_of(f.wal)->next_number - 1;
    for (uint64_t i = 2; i <= 100; i++) {
        put_entry(&batch, i, 1, 200);
        fixture_append(&f, &batch);
    }
    size_t n_files = f.disk.n_files;
    assert_int_equal(wal_truncate(f.wal, 90, number), CC_OK);
    assert_int_equal(f.disk.n_files, n_files);
    assert_int_equal(wal_truncate(f.wal, 90, number + 1), CC_OK);
    assert_true(f.disk.n_files < n_files);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void a_snapshot_that_contradicts_the_log_starts_it_anew(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 30, 200);
    struct wal_batch batch = {0};
    wal_put_base(&batch, 20, 5); // the log has term 1 there
    put_entry(&batch, 21, 5, 10);
    fixture_append(&f, &batch);
    assert_int_equal(wal_state_of(f.wal)->last_index, 21);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->base_index, 20);
    assert_int_equal(f.seen->base_term, 5);
    assert_int_equal(f.seen->n_entries, 1);
    assert_int_equal(f.seen->entries[0].index, 21);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void a_snapshot_that_agrees_with_the_log_keeps_what_follows(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 30, 200);
    struct wal_batch batch = {0};
    wal_put_base(&batch, 20, 1);
    fixture_append(&f, &batch);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 10);
    assert_int_equal(f.seen->entries[0].index, 21);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void replaced_entries_do_not_come_back_after_truncation(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 60, 200);
    struct wal_batch batch = {0};
    for (uint64_t i = 31; i <= 80; i++) {
        put_entry(&batch, i, 3, 200);
        fixture_append(&f, &batch);
    }
    for (uint64_t index = 25; index <= 80; index += 5) {
        assert_int_equal(wal_truncate(f.wal, index, UINT64_MAX), CC_OK);
        assert_int_equal(fixture_open(&f), CC_OK);
        uint64_t expected = wal_state_of(f.wal)->base_index + 1;
        for (size_t i = 0; i < f.seen->n_entries; i++) {
            assert_int_equal(f.seen->entries[i].index, expected + i);
            assert_int_equal(f.seen->entries[i].term, expected + i <= 30 ? 1 : 3);
        }
        assert_int_equal(expected + f.seen->n_entries, 81);
    }
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void a_failing_disk_is_reported(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 3, 100);
    struct wal_batch batch = {0};
    put_entry(&batch, 4, 1, 100);
    sim_disk_fail(&f.disk, SIM_DISK_SYNC, 1, CC_IO);
    assert_int_equal(wal_append(f.wal, &batch), CC_IO);
    assert_int_equal(fixture_open(&f), CC_OK);
    struct wal_batch large = {0};
    put_entry(&large, wal_state_of(f.wal)->last_index + 1, 1, 8000);
    sim_disk_fail(&f.disk, SIM_DISK_CREATE, 1, CC_NO_SPACE);
    assert_int_equal(wal_append(f.wal, &large), CC_NO_SPACE);
    assert_int_equal(fixture_open(&f), CC_OK);
    sim_disk_fail(&f.disk, SIM_DISK_READ, 1, CC_IO);
    assert_int_equal(fixture_open(&f), CC_IO);
    assert_string_equal(f.report.segment, "0000000000000001.log");
    wal_batch_finish(&batch);
    wal_batch_finish(&large);
    fixture_finish(&f);
}

static enum cc_status refuse_entries(void *context, const struct wal_record *record)
{
    (void)context;
    return record->kind == WAL_ENTRY ? CC_INVALID : CC_OK;
}

static void the_visitor_may_refuse(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 3, 100);
    struct wal *wal = NULL;
    assert_int_equal(wal_open(&f.functions, &f.options, refuse_entries, NULL, &wal, &f.report), CC_INVALID);
    assert_null(wal);
    assert_non_null(f.report.reason);
    fixture_finish(&f);
}

static void verify_reads_everything_and_writes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 50, 200);
    uint64_t n_writes = f.disk.n_operations[SIM_DISK_WRITE];
    uint64_t n_syncs = f.disk.n_operations[SIM_DISK_SYNC];
    struct wal_state known;
    struct wal_report report;
    *f.seen = (struct seen){0};
    assert_int_equal(wal_verify(&f.functions, see, f.seen, &known, &report), CC_OK);
    assert_int_equal(known.last_index, 50);
    assert_int_equal(report.last_index, 50);
    assert_int_equal(f.seen->n_entries, 50);
    assert_int_equal(report.cut_bytes, 0);
    assert_int_equal(f.disk.n_operations[SIM_DISK_WRITE], n_writes);
    assert_int_equal(f.disk.n_operations[SIM_DISK_SYNC], n_syncs);
    fixture_finish(&f);
}

static void other_files_in_the_directory_are_left_alone(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 4096, 3, 100);
    assert_int_equal(f.functions.create(f.functions.context, "lost+found", 10), CC_OK);
    assert_int_equal(f.functions.create(f.functions.context, "0000000000000009.log.new", 10), CC_OK);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 3);
    assert_int_equal(f.disk.n_files, 3);
    fixture_finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_directory_gives_an_empty_log),
        cmocka_unit_test(what_was_appended_is_replayed_in_order),
        cmocka_unit_test(the_last_number_of_own_changes_is_that_of_the_last_origin),
        cmocka_unit_test(what_a_log_promises_is_numbered_and_the_number_tells_replaced_entries_and_votes),
        cmocka_unit_test(a_new_segment_and_the_end_of_old_ones_take_back_no_promise),
        cmocka_unit_test(a_later_entry_replaces_the_earlier_one_and_everything_above),
        cmocka_unit_test(one_batch_costs_one_sync),
        cmocka_unit_test(a_full_segment_is_followed_by_the_next),
        cmocka_unit_test(a_batch_larger_than_a_segment_spans_several),
        cmocka_unit_test(a_record_larger_than_a_segment_gets_a_larger_segment),
        cmocka_unit_test(a_prepared_segment_is_used_and_survives_reopening),
        cmocka_unit_test(every_entry_can_be_loaded_wherever_it_stands),
        cmocka_unit_test(a_load_reads_no_more_than_it_was_allowed),
        cmocka_unit_test(a_load_does_not_scan_the_whole_log),
        cmocka_unit_test(changes_are_read_back_in_order_and_in_parts),
        cmocka_unit_test(truncation_removes_only_what_nobody_needs),
        cmocka_unit_test(the_membership_survives_the_segments_that_it_was_written_in),
        cmocka_unit_test(truncation_keeps_changes_that_are_not_yet_in_the_database),
        cmocka_unit_test(a_snapshot_that_contradicts_the_log_starts_it_anew),
        cmocka_unit_test(a_snapshot_that_agrees_with_the_log_keeps_what_follows),
        cmocka_unit_test(replaced_entries_do_not_come_back_after_truncation),
        cmocka_unit_test(a_failing_disk_is_reported),
        cmocka_unit_test(the_visitor_may_refuse),
        cmocka_unit_test(verify_reads_everything_and_writes_nothing),
        cmocka_unit_test(other_files_in_the_directory_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
