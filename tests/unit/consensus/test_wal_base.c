// Where the log begins is known however its segments come and go.
#include "wal_fixture.h"

static void append_change(struct fixture *f, uint32_t value)
{
    struct wal_batch batch = {0};
    put_change(&batch, value, 300);
    fixture_append(f, &batch);
    wal_batch_finish(&batch);
}

static void append_entry(struct fixture *f, uint64_t index)
{
    struct wal_batch batch = {0};
    put_entry(&batch, index, 1, 300);
    fixture_append(f, &batch);
    wal_batch_finish(&batch);
}

static void start(struct fixture *f)
{
    fixture_init(f, 4096);
    assert_int_equal(fixture_open(f), CC_OK);
    struct wal_batch batch = {0};
    put_identity(&batch);
    fixture_append(f, &batch);
    wal_batch_finish(&batch);
    for (uint64_t index = 1; index <= 40; index++) {
        append_entry(f, index);
    }
}

static void the_base_outlives_the_segment_that_it_was_written_in(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    append_change(&f, 1); // holds the segment in which the base is written
    assert_int_equal(wal_truncate(f.wal, 41, 1), CC_OK);
    for (uint32_t value = 2; value <= 60; value++) {
        append_change(&f, value);
    }
    // The base does not move, but the segment of its record goes.
    assert_int_equal(wal_truncate(f.wal, 41, UINT64_MAX), CC_OK);
    append_entry(&f, 41);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->base_index, 40);
    assert_int_equal(f.seen->n_entries, 1);
    assert_int_equal(f.seen->entries[0].index, 41);
    fixture_finish(&f);
}

static void an_old_base_at_the_beginning_of_a_segment_is_no_gap(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    assert_int_equal(wal_truncate(f.wal, 11, UINT64_MAX), CC_OK);
    for (uint64_t index = 41; index <= 80; index++) {
        append_entry(&f, index);
    }
    // What remains begins with a segment that knows only the base of then, and entries far above it.
    assert_int_equal(wal_truncate(f.wal, 61, UINT64_MAX), CC_OK);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->base_index, 60);
    assert_int_equal(f.seen->n_entries, 20);
    fixture_finish(&f);
}

static const char second_segment[] = "0000000000000002.log";

// The first segment is nearly full, and holds all that the next one is to begin with.
static void begin_with_a_state(struct fixture *f)
{
    fixture_init(f, 4096);
    assert_int_equal(fixture_open(f), CC_OK);
    struct raft_membership membership = {.n_members = 2, .members = {{.id = 1, .voter = true, .n_details = 3, .details = "abc"}, {.id = 4}}};
    struct wal_batch batch = {0};
    put_identity(&batch);
    wal_put_hard_state(&batch, (struct raft_hard_state){.term = 5, .vote = 3});
    wal_put_membership(&batch, 1, &membership);
    for (uint64_t index = 1; index <= 7; index++) {
        put_entry(&batch, index, 1, 400);
    }
    wal_put_mark(&batch, &(struct wal_mark){.commit = 6, .hlc = 77, .own_incarnation = 9, .own_sequence = 8});
    fixture_append(f, &batch);
    wal_batch_finish(&batch);
    assert_int_equal(f->disk.n_files, 1);
}

static void a_beginning_that_a_crash_has_torn_is_said_again_before_the_segments_before_it_go(void **state)
{
    (void)state;
    uint64_t n_bytes = 4096;
    for (uint64_t cut = 0; cut < n_bytes; cut += 8) {
        struct fixture f;
        begin_with_a_state(&f);
        struct wal_batch batch = {0};
        put_entry(&batch, 8, 1, 900);
        fixture_append(&f, &batch);
        (void)!sim_disk_bytes(&f.disk, second_segment, &n_bytes);
        for (uint64_t at = cut; at < n_bytes; at++) {
            sim_disk_poke(&f.disk, second_segment, at, 0);
        }
        assert_int_equal(fixture_open(&f), CC_OK);
        for (uint64_t index = wal_state_of(f.wal)->last_index + 1; index <= 9; index++) {
            put_entry(&batch, index, 1, 900);
        }
        fixture_append(&f, &batch);
        wal_batch_finish(&batch);
        assert_int_equal(wal_truncate(f.wal, 8, UINT64_MAX), CC_OK);
        assert_int_equal(fixture_open(&f), CC_OK);
        assert_int_equal(f.seen->base_index, 7);
        assert_int_equal(f.seen->hard_state.term, 5);
        assert_int_equal(f.seen->hard_state.vote, 3);
        assert_int_equal(f.seen->membership_index, 1);
        assert_int_equal(f.seen->membership.n_members, 2);
        assert_int_equal(f.seen->mark.commit, 6);
        assert_int_equal(f.seen->mark.own_sequence, 8);
        assert_int_equal(wal_state_of(f.wal)->last_index, 9);
        fixture_finish(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_base_outlives_the_segment_that_it_was_written_in),
        cmocka_unit_test(an_old_base_at_the_beginning_of_a_segment_is_no_gap),
        cmocka_unit_test(a_beginning_that_a_crash_has_torn_is_said_again_before_the_segments_before_it_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
