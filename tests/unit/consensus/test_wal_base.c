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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_base_outlives_the_segment_that_it_was_written_in),
        cmocka_unit_test(an_old_base_at_the_beginning_of_a_segment_is_no_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
