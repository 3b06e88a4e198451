// The node and weak tables, event by event: clocks, numbers of change sets, durability, sessions.
#include "proxy/weak_bench.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

// -- Clocks --------------------------------------------------------------------------------------------------------------

static void a_replica_whose_clock_is_off_from_the_median_refuses_weak_writes_until_it_is_right(void **state)
{
    (void)state;
    struct bench bench;
    struct node_status status;
    begin_up(&bench);
    deliver(&bench, 2, FRAME_FRONTIER, WALL_MS + 10000, cc_slice_text(""));
    deliver(&bench, 3, FRAME_FRONTIER, WALL_MS, cc_slice_text(""));
    submit(&bench, 1); // one of the others is off: it is not we
    turn(&bench);
    assert_string_equal(refusal(&bench), "");
    for (int i = 0; i < 3; i++) {
        pass(&bench, 2000);
        deliver(&bench, 2, FRAME_FRONTIER, bench.time.wall_ms + 10000, cc_slice_text(""));
        deliver(&bench, 3, FRAME_FRONTIER, bench.time.wall_ms + 9000, cc_slice_text(""));
    }
    submit(&bench, 2);
    turn(&bench);
    assert_string_equal(refusal(&bench), "CC205");
    node_describe(bench.node, bench.time.now_us, &status);
    assert_true(status.clock_is_off);
    assert_int_equal(status.clock_offset_ms, 9000);
    bench.time.wall_ms += 9500; // set right: what was heard before tells
    submit(&bench, 3);
    turn(&bench);
    assert_string_equal(refusal(&bench), "");
    end(&bench);
}

static void frames_that_come_late_do_not_make_the_clock_look_wrong(void **state)
{
    (void)state;
    struct bench bench;
    struct node_status status;
    begin_up(&bench);
    deliver(&bench, 2, FRAME_FRONTIER, bench.time.wall_ms, cc_slice_text(""));
    deliver(&bench, 3, FRAME_FRONTIER, bench.time.wall_ms, cc_slice_text(""));
    bench.time.wall_ms += 1500; // this process did not run for so long
    bench.time.now_us += 1500 * 1000;
    deliver(&bench, 2, FRAME_FRONTIER, bench.time.wall_ms - 1400, cc_slice_text(""));
    deliver(&bench, 3, FRAME_FRONTIER, bench.time.wall_ms - 1400, cc_slice_text(""));
    submit(&bench, 1);
    turn(&bench);
    assert_string_equal(refusal(&bench), "");
    for (int i = 0; i < 5; i++) { // all of them are late: rather the clock
        bench.time.wall_ms += 1000;
        bench.time.now_us += 1000 * 1000;
        deliver(&bench, 2, FRAME_FRONTIER, bench.time.wall_ms - 1400, cc_slice_text(""));
        deliver(&bench, 3, FRAME_FRONTIER, bench.time.wall_ms - 1400, cc_slice_text(""));
    }
    submit(&bench, 2);
    turn(&bench);
    assert_string_equal(refusal(&bench), "CC205");
    node_describe(bench.node, bench.time.now_us, &status);
    assert_int_equal(status.clock_offset_ms, -1400);
    end(&bench);
}

static void a_change_set_from_the_future_is_held_and_its_stamp_is_not_taken_over(void **state)
{
    (void)state;
    struct bench bench;
    struct node_status status;
    begin_up(&bench);
    deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS + 60000), "later"));
    deliver_change(&bench, 3, WALL_MS, change_of(&bench, 3, 1, clock_hlc_of_ms(WALL_MS), "now"));
    const struct db_job *job = await_job(&bench, DB_MERGE);
    assert_non_null(job);
    assert_int_equal(job->n_items, 1); // the other origin's stream goes on
    struct crdt_frontier frontier = frontier_of(3, 1);
    merged(&bench, job->number, &frontier);
    assert_null(await_job(&bench, DB_MERGE));
    node_describe(bench.node, bench.time.now_us, &status);
    assert_true(clock_hlc_ms(status.hlc) < WALL_MS + 60000);
    pass(&bench, 60000);
    assert_non_null(await_job(&bench, DB_MERGE));
    end(&bench);
}

static void a_restart_with_an_earlier_clock_does_not_go_back(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, WALL_MS - 3600000);
    struct cc_slice change = change_of(&bench, 1, 1, clock_hlc_of_ms(WALL_MS + 5), "own");
    struct wal_record record = {.kind = WAL_CHANGE, .body = change};
    assert_int_equal(node_restore(bench.node, &record), CC_OK);
    start(&bench);
    // What PostgreSQL does not have of it comes first.
    const struct db_job *merge = await_job(&bench, DB_MERGE);
    assert_non_null(merge);
    struct crdt_frontier frontier = frontier_of(1, 1);
    merged(&bench, merge->number, &frontier);
    submit(&bench, 1);
    const struct db_job *job = await_job(&bench, DB_WEAK_EXECUTE);
    assert_non_null(job);
    assert_true(job->stamps[0].hlc > clock_hlc_of_ms(WALL_MS + 5));
    end(&bench);
}

static void own_changes_that_memory_does_not_hold_are_replayed_from_the_log(void **state)
{
    (void)state;
    enum { N = 200 };
    struct bench bench;
    begin(&bench, WALL_MS);
    struct wal_record records[N];
    for (uint64_t i = 0; i < N; i++) {
        records[i] = (struct wal_record){.kind = WAL_CHANGE, .body = change_of(&bench, 1, i + 1, clock_hlc_of_ms(WALL_MS) + i, "own")};
        assert_int_equal(node_restore(bench.node, &records[i]), CC_OK);
    }
    start(&bench);
    assert_null(find_job(&bench, DB_MERGE));
    assert_non_null(bench.effects.load_changes);
    assert_true(bench.effects.load_changes->sequence == 0 && bench.effects.load_changes->offset == 0);
    // The log tells in parts, also of what was asked for before the database went away and came back.
    static struct crdt_frontier nothing;
    struct db_event event = {.kind = DB_DOWN, .lane = DB_WEAK};
    node_db_event(bench.node, bench.time, &event);
    event = (struct db_event){.kind = DB_UP, .lane = DB_WEAK, .frontier = &nothing};
    node_db_event(bench.node, bench.time, &event);
    node_changes_loaded(bench.node, bench.time, records, 3, (struct wal_cursor){1, 300}, false);
    turn(&bench);
    assert_non_null(bench.effects.load_changes);
    assert_int_equal(bench.effects.load_changes->offset, 0);
    node_changes_loaded(bench.node, bench.time, records, 50, (struct wal_cursor){1, 5000}, false);
    const struct db_job *merge = await_job(&bench, DB_MERGE);
    assert_non_null(merge);
    assert_int_equal(merge->n_items, 50);
    assert_non_null(bench.effects.load_changes);
    assert_int_equal(bench.effects.load_changes->offset, 5000);
    uint64_t number = merge->number;
    node_changes_loaded(bench.node, bench.time, records + 50, N - 50, (struct wal_cursor){1, 9000}, true);
    struct crdt_frontier frontier = frontier_of(1, 50);
    merged(&bench, number, &frontier);
    merge = await_job(&bench, DB_MERGE);
    assert_non_null(merge);
    assert_int_equal(merge->n_items, N - 50);
    end(&bench);
}

// -- Numbers -------------------------------------------------------------------------------------------------------------

static void one_number_for_two_contents_is_told_and_the_first_one_counts(void **state)
{
    (void)state;
    struct bench bench;
    struct node_status status;
    begin_up(&bench);
    deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS), "one"));
    deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS), "one")); // twice is no harm
    turn(&bench);
    assert_null(find_fact(&bench, NODE_FACT_TWO_CONTENTS));
    deliver_change(&bench, 3, WALL_MS, change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS), "another"));
    turn(&bench);
    const struct node_fact *fact = find_fact(&bench, NODE_FACT_TWO_CONTENTS);
    assert_non_null(fact);
    assert_true(fact->a == 2 && fact->b == 1 && fact->c == 1);
    node_describe(bench.node, bench.time.now_us, &status);
    assert_int_equal(status.n_identity_alarms, 1);
    const struct db_job *job = await_job(&bench, DB_MERGE);
    assert_non_null(job);
    assert_int_equal(job->n_items, 1);
    assert_true(cc_slice_equal(job->items[0], change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS), "one")));
    end(&bench);
}

static size_t count_facts(const struct bench *bench, enum node_fact_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < bench->effects.n_facts; i++) {
        n += bench->effects.facts[i].kind == kind;
    }
    return n;
}

static void a_clock_that_is_ahead_is_told_once_a_minute_not_with_every_frame(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    size_t n = 0;
    for (int i = 0; i < 90; i++) { // a second each
        for (int frame = 0; frame < 5; frame++) {
            deliver(&bench, 2, FRAME_CHANGES, bench.time.wall_ms + 3600000, cc_slice_text(""));
        }
        turn(&bench);
        n += count_facts(&bench, NODE_FACT_CLOCK);
        bench.time.now_us += 1000 * 1000;
        bench.time.wall_ms += 1000;
    }
    assert_int_equal(n, 2);
    end(&bench);
}

static void numbers_that_an_earlier_life_gave_are_not_given_again(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    struct crdt_frontier theirs = frontier_of(1, 7);
    deliver_frontier(&bench, 2, &theirs);
    turn(&bench);
    const struct node_fact *fact = find_fact(&bench, NODE_FACT_RESTORED);
    assert_non_null(fact);
    assert_true(fact->a == 2 && fact->b == 7 && fact->c == 0);
    submit(&bench, 1);
    assert_null(await_job(&bench, DB_WEAK_EXECUTE)); // first what it does not know comes back
    end(&bench);
}

// -- Durability ------------------------------------------------------------------------------------------------------------

// What it asks for is reached when these have it, one after the other, and is called `told`: 1 counts itself, a learner never counts.
static void answered_with(enum operation_durability asked, const uint32_t *holders, size_t n_holders, enum operation_durability told)
{
    struct bench bench;
    begin_up(&bench);
    node_peer_up(bench.node, bench.time, LEARNER, 1);
    struct crdt_frontier frontier = frontier_of(1, 1);
    write_here(&bench, asked);
    for (size_t i = 0; i < n_holders; i++) {
        assert_int_equal(bench.effects.n_answers, 0);
        deliver_frontier(&bench, holders[i], &frontier);
        turn(&bench);
    }
    for (int ms = 0; ms < 10000 && bench.effects.n_answers == 0; ms += 100) {
        pass(&bench, 100); // at the latest when its time is over: nobody waits for ever
    }
    assert_int_equal(bench.effects.n_answers, 1);
    assert_int_equal(bench.effects.answers[0].sequence, 1);
    assert_int_equal(bench.effects.answers[0].durability, told);
    end(&bench);
}

static void a_weak_write_is_said_to_be_on_as_many_voters_as_have_told_that_they_hold_it(void **state)
{
    (void)state;
    answered_with(OPERATION_LOCAL, NULL, 0, OPERATION_LOCAL);
    answered_with(OPERATION_MAJORITY, (uint32_t[]){LEARNER, 2}, 2, OPERATION_MAJORITY);
    answered_with(OPERATION_MAJORITY, (uint32_t[]){LEARNER}, 1, OPERATION_LOCAL); // in time there was no more
    answered_with(OPERATION_ALL, (uint32_t[]){LEARNER, 2, 3}, 3, OPERATION_ALL);
    answered_with(OPERATION_ALL, (uint32_t[]){3, LEARNER}, 2, OPERATION_MAJORITY);
}

static void a_weak_write_that_repeats_an_earlier_one_tells_what_that_one_did(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, WALL_MS);
    struct crdt_frontier held = frontier_of(far.replica, 7);
    start_with(&bench, &held);
    write_here(&bench, OPERATION_LOCAL); // 1, in a transaction that is open
    assert_int_equal(bench.effects.answers[0].sequence, 1);
    assert_int_equal(bench.effects.answers[0].frontier.n, 0);
    struct operation operation = {.kind = OPERATION_STATEMENTS, .weak = true, .timeout_ms = 5000, .principal = cc_slice_text("someone"), .key = cc_slice_text("k")};
    struct cc_buffer bytes = {0}, done = {0};
    operation_put(&bytes, &operation);
    node_submit(bench.node, bench.time, 2, cc_buffer_slice(&bytes));
    const struct db_job *job = await_job(&bench, DB_WEAK_EXECUTE);
    assert_non_null(job);
    rest_outcome_put(&done, &(struct rest_outcome){.kind = REST_DONE});
    struct cc_slice outcome = cc_buffer_slice(&done), change = {0};
    database_answers(&bench, (struct db_event){.kind = DB_WEAK_EXECUTED, .number = job->number, .n_outcomes = 1, .outcomes = &outcome, .changes = &change, .n_changes = 1});
    assert_int_equal(bench.effects.n_answers, 1);
    assert_int_equal(bench.effects.answers[0].sequence, 0);
    struct crdt_frontier told;
    struct cc_reader reader = cc_reader_of(bench.effects.answers[0].frontier);
    assert_int_equal(crdt_frontier_read(&reader, &told), CC_OK);
    assert_int_equal(crdt_frontier_get(&told, far), 7);
    assert_int_equal(crdt_frontier_get(&told, (struct crdt_origin){1, 1}), 1);
    cc_buffer_finish(&bytes);
    cc_buffer_finish(&done);
    end(&bench);
}

static void a_replica_whose_changes_come_too_late_for_the_others_refuses_more_of_them(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, WALL_MS);
    struct wal_record record = {.kind = WAL_CHANGE, .body = change_of(&bench, 1, 1, clock_hlc_of_ms(WALL_MS), "own")};
    assert_int_equal(node_restore(bench.node, &record), CC_OK);
    start(&bench);
    deliver_too_old(&bench, 2, 7, 1); // of another life
    deliver_too_old(&bench, 2, 1, 2); // there is no such change
    turn(&bench);
    assert_null(find_fact(&bench, NODE_FACT_REJOIN));
    deliver_too_old(&bench, 2, 1, 1);
    turn(&bench);
    assert_non_null(find_fact(&bench, NODE_FACT_REJOIN));
    submit(&bench, 1);
    turn(&bench);
    assert_string_equal(refusal(&bench), "CC225");
    struct node_status status;
    node_describe(bench.node, bench.time.now_us, &status);
    assert_true(status.must_rejoin);
    end(&bench);
}

// What the log holds is told when it is asked for: own change 4.
static void log_is_read(struct bench *bench, struct cc_slice change)
{
    struct wal_record record = {.kind = WAL_CHANGE, .body = change};
    assert_non_null(bench->effects.load_changes);
    node_changes_loaded(bench->node, bench->time, &record, 1, (struct wal_cursor){0}, true);
    turn(bench);
}

// The log was cut below own change 4; the database is lost. Others have 1 and 2, and send them.
static struct cc_slice begin_with_a_gap(struct bench *bench, struct crdt_frontier *held)
{
    begin(bench, WALL_MS);
    uint64_t hlc = clock_hlc_of_ms(WALL_MS);
    struct cc_slice four = change_of(bench, 1, 4, hlc + 4, "four");
    struct wal_record record = {.kind = WAL_CHANGE, .body = four};
    assert_int_equal(node_restore(bench->node, &record), CC_OK);
    start(bench);
    log_is_read(bench, four);
    held->n = 0;
    assert_int_equal(crdt_frontier_raise(held, (struct crdt_origin){1, 1}, 2), CC_OK);
    for (uint64_t sequence = 1; sequence <= 2; sequence++) {
        struct crdt_frontier now = frontier_of(1, sequence);
        deliver_change(bench, 2, WALL_MS, change_of(bench, 1, sequence, hlc + sequence, "earlier"));
        const struct db_job *job = await_job(bench, DB_MERGE);
        assert_non_null(job);
        merged(bench, job->number, &now);
    }
    deliver_frontier(bench, 2, held);
    deliver_frontier(bench, 3, held);
    for (int ms = 0; ms < 2000 && bench->effects.load_changes == NULL; ms += 100) {
        pass(bench, 100); // it was passed over when 1 was looked for
    }
    log_is_read(bench, four);
    return four;
}

// Or NULL: not within the time.
static const struct node_fact *await_fact(struct bench *bench, enum node_fact_kind kind, int ms_max)
{
    for (int ms = 0; ms < ms_max && find_fact(bench, kind) == NULL; ms += 100) {
        pass(bench, 100);
    }
    return find_fact(bench, kind);
}

static void own_changes_that_no_member_has_are_given_up_and_what_follows_them_is_put_aside(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier held;
    struct cc_slice four = begin_with_a_gap(&bench, &held);
    const struct node_fact *fact = await_fact(&bench, NODE_FACT_CHANGES_MISSING, 6000);
    assert_non_null(fact);
    assert_int_equal(fact->a, 3);
    assert_int_equal(fact->b, 4);
    assert_int_equal(fact->c, 1); // the learner does not answer: it may have them
    submit(&bench, 1);
    turn(&bench);
    assert_string_equal(refusal(&bench), "CC226");
    for (int ms = 0; ms < 20000; ms += 100) {
        pass(&bench, 100);
        assert_null(bench.effects.load_changes);
    }
    node_peer_up(bench.node, bench.time, LEARNER, 1);
    deliver_frontier(&bench, LEARNER, &held);
    for (int ms = 0; ms < 10000 && bench.effects.load_changes == NULL; ms += 100) {
        pass(&bench, 100);
    }
    log_is_read(&bench, four);
    fact = find_fact(&bench, NODE_FACT_CHANGES_LOST);
    assert_non_null(fact);
    assert_int_equal(fact->a, 3);
    assert_int_equal(fact->b, 1);
    assert_int_equal(fact->c, 1);
    const struct db_job *job = find_job(&bench, DB_PUT_ASIDE);
    assert_non_null(job);
    assert_int_equal(job->n_items, 1);
    assert_true(cc_slice_equal(job->items[0], four));
    assert_int_equal(job->sequence, 3);
    assert_int_equal(job->n_lost, 1);
    assert_false(bench.effects.forgot);
    database_answers(&bench, (struct db_event){.kind = DB_BEGUN_ANEW, .number = job->number, .n_aside = 1});
    assert_true(bench.effects.forgot); // only when that is on disk
    end(&bench);
}

static void own_changes_that_a_member_has_are_waited_for_and_followed_by_what_the_log_has(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier held, more;
    struct cc_slice four = begin_with_a_gap(&bench, &held);
    more.n = 0;
    assert_int_equal(crdt_frontier_raise(&more, (struct crdt_origin){1, 1}, 3), CC_OK);
    node_peer_up(bench.node, bench.time, LEARNER, 1);
    deliver_frontier(&bench, LEARNER, &more);
    for (int ms = 0; ms < 20000; ms += 100) {
        pass(&bench, 100);
        assert_null(find_fact(&bench, NODE_FACT_CHANGES_LOST));
    }
    deliver_change(&bench, LEARNER, bench.time.wall_ms, change_of(&bench, 1, 3, clock_hlc_of_ms(WALL_MS) + 3, "three"));
    const struct db_job *job = await_job(&bench, DB_MERGE);
    assert_non_null(job);
    merged(&bench, job->number, &more);
    job = await_job(&bench, DB_MERGE);
    assert_non_null(job);
    assert_true(cc_slice_equal(job->items[0], four));
    assert_int_equal(crdt_frontier_raise(&more, (struct crdt_origin){1, 1}, 4), CC_OK);
    merged(&bench, job->number, &more);
    submit(&bench, 1);
    assert_non_null(await_job(&bench, DB_WEAK_EXECUTE));
    end(&bench);
}

static void all_are_told_of_a_change_that_comes_too_late(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    node_garbage_collected(bench.node, bench.time, clock_hlc_of_ms(WALL_MS - 1000));
    deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS - 500), "later"));
    turn(&bench);
    assert_false(sends(&bench, 2, FRAME_TOO_OLD));
    deliver_change(&bench, 3, WALL_MS, change_of(&bench, 3, 1, clock_hlc_of_ms(WALL_MS - 2000), "earlier"));
    turn(&bench);
    assert_true(sends(&bench, 3, FRAME_TOO_OLD));
    assert_true(sends(&bench, 2, FRAME_TOO_OLD)); // it may have it, and would take over rows without it
    assert_non_null(find_fact(&bench, NODE_FACT_TOO_OLD));
    end(&bench);
}

// It came when it was not too old yet, and waited for its turn.
static void a_change_that_has_become_too_late_while_it_waited_is_not_merged(void **state)
{
    (void)state;
    for (int late = 0; late <= 1; late++) {
        struct bench bench;
        begin_up(&bench);
        uint64_t hlc = clock_hlc_of_ms(WALL_MS);
        struct cc_slice change = change_of(&bench, 3, 1, hlc, "waits");
        deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, 1, hlc, "at work"));
        const struct db_job *job = await_job(&bench, DB_MERGE);
        assert_non_null(job);
        uint64_t number = job->number;
        deliver_change(&bench, 3, bench.time.wall_ms, change);
        node_garbage_collected(bench.node, bench.time, late ? hlc : hlc - 1);
        struct crdt_frontier held = frontier_of(2, 1);
        merged(&bench, number, &held);
        assert_int_equal(await_job(&bench, DB_MERGE) != NULL, !late);
        deliver_change(&bench, 3, bench.time.wall_ms, change);
        turn(&bench);
        assert_int_equal(sends(&bench, 3, FRAME_TOO_OLD), late);
        end(&bench);
    }
}

// What is merged meanwhile goes when the snapshot is installed: nobody may drop what it would be sent again from.
static void a_replica_that_pulls_a_snapshot_does_not_tell_what_it_holds(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    static const struct crdt_frontier nothing;
    node_durable(bench.node, bench.time, &(struct node_durable){.frontier = &nothing});
    pass(&bench, 1100);
    assert_true(sends(&bench, 3, FRAME_STABLE));
    deliver_snapshot_wish(&bench, 2);
    bool pulls = false;
    for (int i = 0; i < 50; i++) {
        pass(&bench, 100);
        deliver_snapshot_wish(&bench, 2); // it goes on leading
        pulls = pulls || find_fact(&bench, NODE_FACT_SNAPSHOT_PULL) != NULL;
        assert_false(pulls && sends(&bench, 3, FRAME_STABLE));
    }
    assert_true(pulls);
    end(&bench);
}

// Garbage waits for claims: it must go while others write, too.
static void claims_are_told_while_the_frontier_moves_all_the_time(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    static const struct crdt_frontier nothing;
    node_durable(bench.node, bench.time, &(struct node_durable){.frontier = &nothing});
    uint64_t begun_us = bench.time.now_us;
    int n_told = 0;
    for (uint64_t sequence = 1; sequence <= 50; sequence++) {
        deliver_change(&bench, 2, bench.time.wall_ms, change_of(&bench, 2, sequence, clock_hlc_of_ms(WALL_MS) + sequence, "more"));
        for (int i = 0; i < 10 && find_job(&bench, DB_MERGE) == NULL; i++) {
            pass(&bench, 20);
            n_told += sends(&bench, 3, FRAME_STABLE);
        }
        assert_non_null(find_job(&bench, DB_MERGE));
        struct crdt_frontier held = frontier_of(2, sequence);
        merged(&bench, find_job(&bench, DB_MERGE)->number, &held);
        pass(&bench, 60);
        n_told += sends(&bench, 3, FRAME_STABLE);
    }
    assert_in_range(bench.time.now_us - begun_us, 4000000, 20000000);
    assert_true(n_told >= 3);
    end(&bench);
}

// -- Sessions ------------------------------------------------------------------------------------------------------------

// The number of the question to this peer; 0: none was sent.
static uint64_t asked(const struct bench *bench, uint32_t peer)
{
    for (size_t i = 0; i < bench->effects.n_sends; i++) {
        const struct node_send *send = &bench->effects.sends[i];
        if (send->peer == peer && send->frame.data[1] == FRAME_ASK) {
            struct cc_reader reader = cc_reader_of(cc_slice_of(send->frame.data + 18, send->frame.n - 18));
            return cc_read_u64(&reader);
        }
    }
    return 0;
}

static void deliver_told(struct bench *bench, uint32_t peer, uint64_t question, const struct crdt_frontier *frontier)
{
    struct cc_buffer body = {0};
    cc_put_u64(&body, question);
    crdt_frontier_put(&body, frontier);
    deliver(bench, peer, FRAME_TOLD, bench->time.wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
    turn(bench);
}

// A token that leaves out what every member held: this replica may have become one later.
static void a_session_of_a_shortened_token_waits_for_all_that_a_majority_holds(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    struct crdt_frontier named = {.n = 0}, theirs = frontier_of(2, 1);
    node_read_session(bench.node, bench.time, 77, 0, &named, false, 1000);
    turn(&bench);
    assert_int_equal(bench.effects.n_answers, 1); // a whole one that names nothing has seen nothing
    node_read_session(bench.node, bench.time, 78, 0, &named, true, 1000);
    turn(&bench);
    uint64_t question = asked(&bench, 2);
    assert_true(question > 0);
    assert_int_equal(bench.effects.n_answers, 0);
    deliver_told(&bench, 2, question, &theirs);
    assert_int_equal(bench.effects.n_answers, 0);
    deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS), "left out"));
    const struct db_job *merge = await_job(&bench, DB_MERGE);
    assert_non_null(merge);
    merged(&bench, merge->number, &theirs);
    assert_int_equal(bench.effects.n_answers, 1);
    assert_int_equal(bench.effects.answers[0].token, 78);
    end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_whose_clock_is_off_from_the_median_refuses_weak_writes_until_it_is_right),
        cmocka_unit_test(frames_that_come_late_do_not_make_the_clock_look_wrong),
        cmocka_unit_test(a_change_set_from_the_future_is_held_and_its_stamp_is_not_taken_over),
        cmocka_unit_test(a_restart_with_an_earlier_clock_does_not_go_back),
        cmocka_unit_test(own_changes_that_memory_does_not_hold_are_replayed_from_the_log),
        cmocka_unit_test(one_number_for_two_contents_is_told_and_the_first_one_counts),
        cmocka_unit_test(a_clock_that_is_ahead_is_told_once_a_minute_not_with_every_frame),
        cmocka_unit_test(numbers_that_an_earlier_life_gave_are_not_given_again),
        cmocka_unit_test(a_weak_write_is_said_to_be_on_as_many_voters_as_have_told_that_they_hold_it),
        cmocka_unit_test(a_weak_write_that_repeats_an_earlier_one_tells_what_that_one_did),
        cmocka_unit_test(a_replica_whose_changes_come_too_late_for_the_others_refuses_more_of_them),
        cmocka_unit_test(own_changes_that_no_member_has_are_given_up_and_what_follows_them_is_put_aside),
        cmocka_unit_test(own_changes_that_a_member_has_are_waited_for_and_followed_by_what_the_log_has),
        cmocka_unit_test(all_are_told_of_a_change_that_comes_too_late),
        cmocka_unit_test(a_change_that_has_become_too_late_while_it_waited_is_not_merged),
        cmocka_unit_test(a_replica_that_pulls_a_snapshot_does_not_tell_what_it_holds),
        cmocka_unit_test(claims_are_told_while_the_frontier_moves_all_the_time),
        cmocka_unit_test(a_session_of_a_shortened_token_waits_for_all_that_a_majority_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
