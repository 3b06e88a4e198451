// The write-ahead log after crashes and damage: what was synced is there, what is damaged is refused with its place.
#include "wal_fixture.h"

enum { TAIL_BYTES = 4096 };

static const char first_segment[] = "0000000000000001.log";

// Opens a fork and expects the entries 1..n_min at least, in order, and a log that goes on.
static void expect_opens_with(struct fixture *fork, uint64_t n_min, uint64_t n_max)
{
    enum cc_status status = fixture_open(fork);
    if (status != CC_OK) {
        print_error("refused: %s at %s+%lu\n", fork->report.reason, fork->report.segment,
                    (unsigned long)fork->report.offset);
    }
    assert_int_equal(status, CC_OK);
    assert_in_range(fork->seen->n_entries, n_min, n_max);
    for (size_t i = 0; i < fork->seen->n_entries; i++) {
        assert_int_equal(fork->seen->entries[i].index, i + 1);
    }
    struct wal_batch batch = {0};
    uint64_t n = fork->seen->n_entries;
    if (!fork->seen->identity) {
        put_identity(&batch);
    }
    put_entry(&batch, n + 1, 9, 33);
    fixture_append(fork, &batch);
    wal_batch_finish(&batch);
    sim_disk_crash(&fork->disk, SIM_CRASH_LOSE_ALL, NULL);
    assert_int_equal(fixture_open(fork), CC_OK);
    assert_int_equal(fork->report.cut_bytes, 0);
    assert_int_equal(fork->seen->n_entries, n + 1);
    assert_int_equal(fork->seen->entries[n].term, 9);
}

static uint64_t end_of_log(struct fixture *f, uint64_t *start_of_last_out)
{
    uint64_t n_bytes;
    const uint8_t *data = sim_disk_bytes(&f->disk, first_segment, &n_bytes);
    uint64_t at = 0;
    while (at + 24 <= n_bytes && data[at + 20] != 0) {
        *start_of_last_out = at;
        uint64_t n_body = (uint64_t)data[at + 4] | (uint64_t)data[at + 5] << 8 | (uint64_t)data[at + 6] << 16;
        at += (24 + n_body + 7) / 8 * 8;
    }
    return at;
}

static void a_file_cut_at_any_byte_of_its_tail_opens(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 100, 150);
    uint64_t last;
    uint64_t end = end_of_log(&f, &last);
    for (uint64_t cut = end - TAIL_BYTES; cut <= end; cut++) {
        struct fixture fork;
        fixture_fork(&fork, &f);
        sim_disk_shorten(&fork.disk, first_segment, cut);
        uint64_t n_lost = (end - cut + 199) / 200; // a record of 150 bytes of payload takes 24 + 25 + 150 -> 200
        expect_opens_with(&fork, 100 - n_lost, 100 - n_lost);
        fixture_finish(&fork);
    }
    fixture_finish(&f);
}

static void a_tail_zeroed_from_any_byte_opens(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 100, 150);
    uint64_t last;
    uint64_t end = end_of_log(&f, &last);
    for (uint64_t cut = end - TAIL_BYTES; cut < end; cut++) {
        struct fixture fork;
        fixture_fork(&fork, &f);
        for (uint64_t at = cut; at < end; at++) {
            sim_disk_poke(&fork.disk, first_segment, at, 0);
        }
        uint64_t n_lost = (end - cut + 199) / 200;
        // zeros at the end of a record may be its own
        expect_opens_with(&fork, 100 - n_lost, 100 - n_lost + 1);
        fixture_finish(&fork);
    }
    fixture_finish(&f);
}

static void a_flipped_bit_in_the_last_record_costs_only_that_record(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 16 << 10, 20, 100);
    uint64_t last;
    uint64_t end = end_of_log(&f, &last);
    for (uint64_t bit = last * 8; bit < end * 8; bit++) {
        struct fixture fork;
        fixture_fork(&fork, &f);
        uint64_t n_bytes;
        uint8_t old = sim_disk_bytes(&fork.disk, first_segment, &n_bytes)[bit / 8];
        sim_disk_poke(&fork.disk, first_segment, bit / 8, (uint8_t)(old ^ 1u << bit % 8));
        expect_opens_with(&fork, 19, 19);
        fixture_finish(&fork);
    }
    fixture_finish(&f);
}

// Writes of several records over more than eight sectors; any of the last eight may be lost, the others stay.
static void lose_every_subset(struct fixture *f, size_t n_payload)
{
    struct wal_batch batch = {0};
    for (uint64_t i = 11; batch.bytes.n < 9 * SIM_SECTOR_BYTES; i++) {
        put_entry(&batch, i, 1, n_payload);
    }
    struct fixture whole; // its bytes are what the write would leave
    fixture_fork(&whole, f);
    assert_int_equal(fixture_open(&whole), CC_OK);
    uint64_t last;
    uint64_t end = end_of_log(&whole, &last);
    assert_int_equal(wal_append(whole.wal, &batch), CC_OK);
    uint64_t n_bytes;
    const uint8_t *bytes = sim_disk_bytes(&whole.disk, first_segment, &n_bytes) + end;
    for (uint64_t subset = 0; subset < 256; subset++) {
        struct fixture fork;
        fixture_fork(&fork, f);
        assert_int_equal(fork.functions.write(fork.functions.context, first_segment, end, bytes, batch.bytes.n), CC_OK);
        size_t n_before = sim_disk_dirty(&fork.disk, NULL, 0) - 8;
        sim_disk_crash_keeping(&fork.disk, subset << n_before | ((1ull << n_before) - 1));
        expect_opens_with(&fork, 10, 10 + batch.n_records);
        fixture_finish(&fork);
    }
    wal_batch_finish(&batch);
    fixture_finish(&whole);
}

static void any_subset_of_unsynced_sectors_may_be_lost(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 32 << 10, 10, 150);
    static const size_t payloads[] = {0, 20, 150, 463, 700, 1500, 5000};
    for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
        lose_every_subset(&f, payloads[i]);
    }
    fixture_finish(&f);
}

static void the_first_write_into_a_new_segment_may_lose_any_sector(void **state)
{
    (void)state;
    static const char second_segment[] = "0000000000000002.log";
    struct fixture f;
    fixture_with_entries(&f, 4096, 10, 150);
    assert_int_equal(wal_prepare(f.wal), CC_OK);
    struct fixture whole;
    fixture_fork(&whole, &f);
    assert_int_equal(fixture_open(&whole), CC_OK);
    struct wal_batch batch = {0};
    put_entry(&batch, 11, 1, 2600);
    put_entry(&batch, 12, 1, 600);
    assert_int_equal(wal_append(whole.wal, &batch), CC_OK);
    uint64_t n_bytes;
    const uint8_t *bytes = sim_disk_bytes(&whole.disk, second_segment, &n_bytes);
    for (uint64_t subset = 0; subset < 256; subset++) {
        struct fixture fork;
        fixture_fork(&fork, &f);
        assert_int_equal(fork.functions.write(fork.functions.context, second_segment, 0, bytes, 4096), CC_OK);
        sim_disk_crash_keeping(&fork.disk, subset);
        expect_opens_with(&fork, 10, 12);
        fixture_finish(&fork);
    }
    wal_batch_finish(&batch);
    fixture_finish(&whole);
    fixture_finish(&f);
}

static void expect_corrupt_at(struct fixture *fork, const char *segment, uint64_t low, uint64_t high)
{
    assert_int_equal(fixture_open(fork), CC_CORRUPT);
    assert_null(fork->wal);
    assert_string_equal(fork->report.segment, segment);
    assert_in_range(fork->report.offset, low, high);
    assert_non_null(fork->report.reason);
    assert_int_equal(fork->report.cut_bytes, 0);
    struct wal_report report;
    assert_int_equal(wal_verify(&fork->functions, NULL, NULL, NULL, &report), CC_CORRUPT);
    assert_string_equal(report.segment, segment);
}

static void a_flipped_bit_before_the_last_record_is_damage(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 16 << 10, 20, 100);
    uint64_t last;
    (void)end_of_log(&f, &last);
    for (uint64_t byte = 0; byte < last; byte++) {
        struct fixture fork;
        fixture_fork(&fork, &f);
        uint64_t n_bytes;
        uint8_t old = sim_disk_bytes(&fork.disk, first_segment, &n_bytes)[byte];
        sim_disk_poke(&fork.disk, first_segment, byte, (uint8_t)(old ^ 1u << byte % 8));
        uint64_t low = byte > 200 ? byte - 200 : 0;
        expect_corrupt_at(&fork, first_segment, low, byte);
        assert_true(fork.report.last_index < 20);
        fixture_finish(&fork);
    }
    fixture_finish(&f);
}

static void after_an_orderly_end_damage_to_the_last_write_is_told_from_a_torn_tail(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 16 << 10, 20, 100);
    uint64_t last;
    uint64_t end = end_of_log(&f, &last);
    assert_int_equal(wal_seal(f.wal), CC_OK);
    for (uint64_t byte = last; byte < end; byte++) {
        struct fixture fork;
        fixture_fork(&fork, &f);
        uint64_t n_bytes;
        uint8_t old = sim_disk_bytes(&fork.disk, first_segment, &n_bytes)[byte];
        sim_disk_poke(&fork.disk, first_segment, byte, (uint8_t)(old ^ 4));
        expect_corrupt_at(&fork, first_segment, last, byte);
        fixture_finish(&fork);
    }
    fixture_finish(&f);
}

static void a_flipped_bit_in_a_closed_segment_is_damage(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 2048, 40, 100);
    assert_true(f.disk.n_files > 3);
    for (uint64_t byte = 0; byte < 2048; byte++) { // its unused tail as well
        struct fixture fork;
        fixture_fork(&fork, &f);
        uint64_t n_bytes;
        uint8_t old = sim_disk_bytes(&fork.disk, "0000000000000002.log", &n_bytes)[byte];
        sim_disk_poke(&fork.disk, "0000000000000002.log", byte, (uint8_t)(old ^ 0x10));
        expect_corrupt_at(&fork, "0000000000000002.log", 0, byte);
        fixture_finish(&fork);
    }
    fixture_finish(&f);
}

static void a_zeroed_sector_in_the_middle_is_damage(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 16 << 10, 60, 100);
    for (uint64_t at = 2048; at < 2048 + 512; at++) {
        sim_disk_poke(&f.disk, first_segment, at, 0);
    }
    expect_corrupt_at(&f, first_segment, 1800, 2048);
    fixture_finish(&f);
}

static void a_missing_segment_is_damage(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 2048, 60, 100);
    struct fixture fork;
    fixture_fork(&fork, &f);
    assert_int_equal(fork.functions.remove(fork.functions.context, "0000000000000002.log"), CC_OK);
    expect_corrupt_at(&fork, "0000000000000002.log", 0, 0);
    fixture_finish(&fork);

    fixture_fork(&fork, &f); // the oldest: no base says that the log may begin later
    assert_int_equal(fork.functions.remove(fork.functions.context, first_segment), CC_OK);
    expect_corrupt_at(&fork, "0000000000000002.log", 0, 0);
    fixture_finish(&fork);
    fixture_finish(&f);
}

static void a_segment_zeroed_in_the_middle_is_damage(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 2048, 60, 100);
    for (uint64_t at = 0; at < 2048; at++) {
        sim_disk_poke(&f.disk, "0000000000000002.log", at, 0);
    }
    assert_int_equal(fixture_open(&f), CC_CORRUPT);
    assert_string_equal(f.report.reason, "records are missing");
    fixture_finish(&f);
}

static void entries_below_the_commit_mark_must_be_there(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 5, 100);
    struct wal_batch batch = {0};
    wal_put_mark(&batch, &(struct wal_mark){.commit = 6, .hlc = 1}); // as if the tail with entry 6 had been lost
    fixture_append(&f, &batch);
    wal_batch_finish(&batch);
    assert_int_equal(fixture_open(&f), CC_CORRUPT);
    assert_string_equal(f.report.reason, "entries below the commit mark are missing");
    fixture_finish(&f);
}

static void segments_of_another_replica_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 2048, 5, 10);
    struct wal_batch batch = {0};
    wal_put_identity(&batch, &(struct wal_identity){.cluster = "shop", .replica = 3, .incarnation = 7});
    // The log itself would not take it: write the sealed record as another log would have.
    struct fixture other;
    fixture_init(&other, 2048);
    assert_int_equal(fixture_open(&other), CC_OK);
    fixture_append(&other, &batch);
    uint64_t n_bytes;
    const uint8_t *bytes = sim_disk_bytes(&other.disk, first_segment, &n_bytes);
    assert_int_equal(f.functions.create(f.functions.context, "0000000000000002.log", 2048), CC_OK);
    assert_int_equal(f.functions.write(f.functions.context, "0000000000000002.log", 0, bytes, 2048), CC_OK);
    assert_int_equal(fixture_open(&f), CC_CORRUPT);
    wal_batch_finish(&batch);
    fixture_finish(&other);
    fixture_finish(&f);
}

static void what_opening_told_survives_a_power_cut_after_a_kill(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 10, 150);
    struct fixture longer;
    fixture_fork(&longer, &f);
    assert_int_equal(fixture_open(&longer), CC_OK);
    struct wal_batch batch = {0};
    put_entry(&batch, 11, 1, 700);
    put_entry(&batch, 12, 1, 700);
    uint64_t last;
    uint64_t end = end_of_log(&longer, &last);
    assert_int_equal(wal_append(longer.wal, &batch), CC_OK);
    uint64_t n_bytes;
    const uint8_t *bytes = sim_disk_bytes(&longer.disk, first_segment, &n_bytes);

    // Killed between write and sync; opened again; then the power fails.
    assert_int_equal(f.functions.write(f.functions.context, first_segment, end, bytes + end, batch.bytes.n), CC_OK);
    sim_disk_crash(&f.disk, SIM_CRASH_PROCESS, NULL);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 12);
    sim_disk_crash(&f.disk, SIM_CRASH_LOSE_ALL, NULL);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 12);
    wal_batch_finish(&batch);
    fixture_finish(&longer);
    fixture_finish(&f);
}

static void what_opening_told_survives_a_power_cut_after_a_failed_sync(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 64 << 10, 10, 150);
    struct wal_batch batch = {0};
    put_entry(&batch, 11, 1, 700);
    sim_disk_fail(&f.disk, SIM_DISK_SYNC, 1, CC_IO);
    assert_int_equal(wal_append(f.wal, &batch), CC_IO); // the pages are clean now, and not on the disk
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 11);
    sim_disk_crash(&f.disk, SIM_CRASH_LOSE_ALL, NULL);
    assert_int_equal(fixture_open(&f), CC_OK);
    assert_int_equal(f.seen->n_entries, 11);
    wal_batch_finish(&batch);
    fixture_finish(&f);
}

static void a_crash_while_opening_repairs_does_no_harm(void **state)
{
    (void)state;
    struct fixture f;
    fixture_with_entries(&f, 16 << 10, 20, 100);
    uint64_t last;
    uint64_t end = end_of_log(&f, &last);
    for (uint64_t at = last + 30; at < end; at += 7) {
        sim_disk_poke(&f.disk, first_segment, at, 0x55);
    }
    struct cc_prng prng;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        cc_prng_seed(&prng, seed);
        struct fixture fork;
        fixture_fork(&fork, &f);
        for (uint64_t nth = 1; nth <= 3; nth++) {
            sim_disk_fail(&fork.disk, seed % 2 == 0 ? SIM_DISK_SYNC : SIM_DISK_WRITE, nth % 2 + 1, CC_IO);
            (void)!fixture_open(&fork);
            sim_disk_crash(&fork.disk, SIM_CRASH_RANDOM, &prng);
        }
        expect_opens_with(&fork, 19, 19);
        fixture_finish(&fork);
    }
    fixture_finish(&f);
}

// -- At random ------------------------------------------------------------------------------------------------------

// Appends random batches until a chosen operation of the disk fails or some appends are done, crashes, opens: everything
// acknowledged is there, what is there is a prefix of what was written. Then again on the same disk.
struct model {
    uint64_t acknowledged; // entries
    uint64_t written;
    uint64_t removed; // truncated below
    uint32_t change_acknowledged;
    uint32_t change_written;
};

static void append_some(struct fixture *f, struct cc_prng *prng, struct model *model)
{
    struct wal_batch batch = {0};
    if (!wal_state_of(f->wal)->has_identity) {
        put_identity(&batch);
    }
    uint64_t n = cc_prng_between(prng, 1, 12);
    for (uint64_t i = 0; i < n; i++) {
        if (cc_prng_chance(prng, 300000)) {
            put_change(&batch, ++model->change_written, (size_t)cc_prng_below(prng, 300));
        } else {
            put_entry(&batch, ++model->written, 1,
                      (size_t)cc_prng_below(prng, cc_prng_chance(prng, 50000) ? 9000 : 400));
        }
    }
    if (wal_append(f->wal, &batch) == CC_OK) {
        model->acknowledged = model->written;
        model->change_acknowledged = model->change_written;
    }
    wal_batch_finish(&batch);
}

static void live_a_while(struct fixture *f, struct cc_prng *prng, struct model *model)
{
    for (int i = 0; i < SIM_DISK_OPERATIONS; i++) {
        if (i != SIM_DISK_READ && cc_prng_chance(prng, 300000)) {
            sim_disk_fail(&f->disk, (enum sim_disk_operation)i, cc_prng_between(prng, 1, 8), CC_IO);
        }
    }
    uint64_t n_appends = cc_prng_between(prng, 0, 30);
    for (uint64_t i = 0; i < n_appends && model->acknowledged == model->written; i++) {
        append_some(f, prng, model);
        if (model->acknowledged != model->written || model->change_acknowledged != model->change_written) {
            return; // a failure is final
        }
        if (cc_prng_chance(prng, 200000) && wal_wants_prepare(f->wal) && wal_prepare(f->wal) != CC_OK) {
            return;
        }
        if (cc_prng_chance(prng, 50000) && model->acknowledged > 0) {
            uint64_t index = cc_prng_between(prng, 1, model->acknowledged + 1);
            if (wal_truncate(f->wal, index, 0) != CC_OK) {
                return;
            }
        }
    }
}

static void expect_model(struct fixture *f, struct model *model)
{
    enum cc_status status = fixture_open(f);
    if (status != CC_OK) {
        print_error("refused: %s at %s+%lu\n", f->report.reason, f->report.segment, (unsigned long)f->report.offset);
    }
    assert_int_equal(status, CC_OK);
    uint64_t last = wal_state_of(f->wal)->last_index;
    assert_in_range(last, model->acknowledged, model->written);
    assert_int_equal(f->seen->n_entries + f->seen->base_index, last);
    assert_in_range(f->seen->n_changes, model->change_acknowledged, model->change_written);
    for (uint32_t i = 0; i < f->seen->n_changes; i++) {
        assert_int_equal(f->seen->changes[i], i + 1);
    }
    model->acknowledged = model->written = last;
    model->change_acknowledged = model->change_written = (uint32_t)f->seen->n_changes;
}

static void nothing_acknowledged_is_lost_whatever_the_crash(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct cc_prng prng;
        cc_prng_seed(&prng, seed);
        struct fixture f;
        fixture_init(&f, cc_prng_between(&prng, 2, 20) * 1024);
        struct model model = {0};
        assert_int_equal(fixture_open(&f), CC_OK);
        for (int life = 0; life < 8; life++) {
            live_a_while(&f, &prng, &model);
            wal_close(f.wal);
            f.wal = NULL;
            sim_disk_crash(&f.disk, (enum sim_crash)cc_prng_below(&prng, 3), &prng);
            expect_model(&f, &model);
        }
        fixture_finish(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_cut_at_any_byte_of_its_tail_opens),
        cmocka_unit_test(a_tail_zeroed_from_any_byte_opens),
        cmocka_unit_test(a_flipped_bit_in_the_last_record_costs_only_that_record),
        cmocka_unit_test(any_subset_of_unsynced_sectors_may_be_lost),
        cmocka_unit_test(the_first_write_into_a_new_segment_may_lose_any_sector),
        cmocka_unit_test(a_flipped_bit_before_the_last_record_is_damage),
        cmocka_unit_test(after_an_orderly_end_damage_to_the_last_write_is_told_from_a_torn_tail),
        cmocka_unit_test(a_flipped_bit_in_a_closed_segment_is_damage),
        cmocka_unit_test(a_zeroed_sector_in_the_middle_is_damage),
        cmocka_unit_test(a_missing_segment_is_damage),
        cmocka_unit_test(a_segment_zeroed_in_the_middle_is_damage),
        cmocka_unit_test(entries_below_the_commit_mark_must_be_there),
        cmocka_unit_test(segments_of_another_replica_are_refused),
        cmocka_unit_test(what_opening_told_survives_a_power_cut_after_a_kill),
        cmocka_unit_test(what_opening_told_survives_a_power_cut_after_a_failed_sync),
        cmocka_unit_test(a_crash_while_opening_repairs_does_no_harm),
        cmocka_unit_test(nothing_acknowledged_is_lost_whatever_the_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
