// The node and weak tables, event by event: clocks, numbers of change sets, turns of merges and local writes.
#include "proxy/node_bench.h"

#include "base/memory.h"
#include "consensus/message.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WALL_MS = 1700000000, SKEW_MS = 500, LEARNER = 4 };

static void weak_event(struct bench *bench, struct db_event event)
{
    event.lane = DB_WEAK;
    node_db_event(bench->node, bench->time, &event);
    turn(bench);
}

static const struct crdt_origin far = {2, 1};

// Of a replica in its first life, all up to this change set.
static struct crdt_frontier frontier_of(uint32_t replica, uint64_t sequence)
{
    struct crdt_frontier frontier = {.n = 0};
    assert_int_equal(crdt_frontier_raise(&frontier, (struct crdt_origin){replica, 1}, sequence), CC_OK);
    return frontier;
}

static struct node *create(bool is_new, bool merges_apart)
{
    struct node_options options = {.raft = {.id = 1, .election_us = 1000000, .heartbeat_us = 100000, .seed = 1},
                                   .incarnation = 1,
                                   .next_incarnation = 9,
                                   .is_new = is_new,
                                   .merges_apart = merges_apart,
                                   .clock_skew_ms_max = SKEW_MS,
                                   .own_changes_bytes_max = 1000,
                                   .facts_of_database = cc_slice_text("facts")};
    options.raft.membership.n_members = LEARNER;
    for (uint32_t i = 0; i < LEARNER; i++) {
        options.raft.membership.members[i].id = i + 1;
        options.raft.membership.members[i].voter = i + 1 != LEARNER;
    }
    return node_create(&options);
}

static void begin_as(struct bench *bench, uint64_t wall_ms, bool is_new)
{
    bench_init(bench, wall_ms);
    bench->node = create(is_new, false);
    node_log_begun(bench->node);
}

static void begin(struct bench *bench, uint64_t wall_ms)
{
    begin_as(bench, wall_ms, false);
}

// The database executes local writes in one session and merges in another one.
static void begin_apart(struct bench *bench, uint64_t wall_ms)
{
    bench_init(bench, wall_ms);
    bench->node = create(false, true);
    node_log_begun(bench->node);
}

static void start_with(struct bench *bench, const struct crdt_frontier *held)
{
    node_start(bench->node, bench->time.now_us, bench->time.wall_ms);
    node_peer_up(bench->node, bench->time, 2, 1);
    node_peer_up(bench->node, bench->time, 3, 1);
    database_up(bench, held);
}

static void start(struct bench *bench)
{
    static const struct crdt_frontier nothing;
    start_with(bench, &nothing);
}

// Nothing is in its log and in its database; all replicas are connected, their clocks agree.
static void begin_up(struct bench *bench)
{
    begin(bench, WALL_MS);
    start(bench);
}

// -- Frames of peers -----------------------------------------------------------------------------------------------------

static void deliver(struct bench *bench, uint32_t peer, uint8_t kind, uint64_t wall_ms, struct cc_slice body)
{
    deliver_frame(bench, peer, &(struct wire_head){.kind = kind, .hlc = clock_hlc_of_ms(wall_ms), .wall_ms = wall_ms}, body);
}

static struct cc_slice change_of(struct bench *bench, uint32_t replica, uint64_t sequence, uint64_t hlc, const char *value)
{
    return change_with(bench, (struct crdt_change_set){.origin = {replica, 1}, .sequence = sequence, .stamp = {hlc, replica, 1}}, value);
}

static void deliver_change(struct bench *bench, uint32_t peer, uint64_t wall_ms, struct cc_slice change)
{
    struct cc_buffer body = {0};
    cc_put_varint(&body, 1);
    cc_put_string(&body, change);
    deliver(bench, peer, FRAME_CHANGES, wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static void deliver_told_frontier(struct bench *bench, uint32_t peer, const struct crdt_frontier *frontier, const struct crdt_frontier *received,
                                  uint64_t membership_index)
{
    deliver_word(bench, peer, &(struct word){.held = frontier, .received = received, .membership_index = membership_index});
}

static void deliver_frontier(struct bench *bench, uint32_t peer, const struct crdt_frontier *frontier)
{
    static const struct crdt_frontier nothing;
    deliver_told_frontier(bench, peer, frontier, &nothing, 0);
}

// Until there is a job of this kind; NULL: not within a second.
static const struct db_job *await_job(struct bench *bench, enum db_job_kind kind)
{
    if (find_job(bench, kind) == NULL) {
        turn(bench);
    }
    for (int i = 0; i < 20 && find_job(bench, kind) == NULL; i++) {
        pass(bench, 50);
    }
    return find_job(bench, kind);
}

// The job of the last effects is answered: they are of the past.
static void merged(struct bench *bench, uint64_t number, const struct crdt_frontier *frontier)
{
    weak_event(bench, (struct db_event){.kind = DB_MERGED, .number = number, .frontier = frontier});
}

static void submit(struct bench *bench, uint64_t token)
{
    submit_weak(bench, token, 5000, OPERATION_LOCAL);
}

static const char *refusal(const struct bench *bench)
{
    static char code[16];
    code[0] = '\0';
    struct rest_outcome outcome;
    for (size_t i = 0; i < bench->effects.n_answers; i++) {
        if (rest_outcome_read(bench->effects.answers[i].outcome, &outcome) == CC_OK && outcome.kind == REST_REFUSED) {
            snprintf(code, sizeof(code), "%.*s", (int)outcome.code.n, (const char *)outcome.code.data);
        }
    }
    return code;
}

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

// A weak write that asks for this durability is executed here, in a transaction that is still open.
static void execute_here(struct bench *bench, enum operation_durability durability)
{
    struct rest_outcome done = {.kind = REST_DONE};
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, &done);
    struct cc_slice outcome = cc_buffer_slice(&bytes), change = change_of(bench, 1, 0, clock_hlc_of_ms(WALL_MS), "here");
    submit_weak(bench, 1, 5000, durability);
    const struct db_job *job = await_job(bench, DB_WEAK_EXECUTE);
    assert_non_null(job);
    weak_event(bench, (struct db_event){.kind = DB_WEAK_EXECUTED, .number = job->number, .n_outcomes = 1, .outcomes = &outcome, .changes = &change, .n_changes = 1});
    cc_buffer_finish(&bytes);
}

static void sync_log(struct bench *bench)
{
    node_log_synced(bench->node, bench->time, bench->effects.log_number);
    turn(bench);
}

// A weak write was executed, and is in the log.
static void write_here(struct bench *bench, enum operation_durability durability)
{
    execute_here(bench, durability);
    sync_log(bench);
}

static void committed(struct bench *bench, const struct db_job *job, const struct crdt_frontier *frontier)
{
    assert_non_null(job);
    weak_event(bench, (struct db_event){.kind = DB_WEAK_COMMITTED, .number = job->number, .frontier = frontier});
}

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

static void deliver_refusal(struct bench *bench, uint32_t peer, struct crdt_origin origin, uint64_t sequence)
{
    struct cc_buffer body = {0};
    cc_put_u32(&body, origin.replica);
    cc_put_u32(&body, origin.incarnation);
    cc_put_u64(&body, sequence);
    deliver(bench, peer, FRAME_TOO_OLD, WALL_MS, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static void deliver_too_old(struct bench *bench, uint32_t peer, uint32_t incarnation, uint64_t sequence)
{
    deliver_refusal(bench, peer, (struct crdt_origin){1, incarnation}, sequence);
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
    weak_event(&bench, (struct db_event){.kind = DB_BEGUN_ANEW, .number = job->number, .n_aside = 1});
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

// True when a frame of this kind is sent to the peer.
static bool sends(const struct bench *bench, uint32_t peer, uint8_t kind)
{
    for (size_t i = 0; i < bench->effects.n_sends; i++) {
        const struct node_send *send = &bench->effects.sends[i];
        if (send->peer == peer && send->frame.n > 1 && send->frame.data[1] == kind) {
            return true;
        }
    }
    return false;
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

// The leader's log does not reach back to what this replica has.
static void deliver_snapshot_wish(struct bench *bench, uint32_t leader)
{
    struct raft_message message = {.kind = RAFT_SNAPSHOT, .from = leader, .to = 1, .term = 5, .log_index = 100, .log_term = 5};
    struct cc_buffer body = {0};
    raft_message_put(&body, &message);
    deliver(bench, leader, FRAME_RAFT, bench->time.wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
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

static void deliver_claim(struct bench *bench, uint32_t peer, const struct crdt_frontier *flushed)
{
    struct cc_buffer body = {0};
    cc_put_u32(&body, 1); // incarnation
    cc_put_u64(&body, crdt_frontier_get(flushed, (struct crdt_origin){peer, 1}));
    cc_put_u64(&body, clock_hlc_of_ms(bench->time.wall_ms)); // it writes nothing earlier
    cc_put_u64(&body, clock_hlc_of_ms(bench->time.wall_ms)); // of what it knows nobody does
    crdt_frontier_put(&body, flushed);
    deliver(bench, peer, FRAME_STABLE, bench->time.wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

// Up to where garbage may go by then, when everybody has told for some seconds that it holds this.
static uint64_t settle(struct bench *bench, const struct crdt_frontier *held)
{
    struct node_garbage garbage;
    for (int i = 0; i < 10; i++) {
        for (uint32_t peer = 2; peer <= 4; peer++) {
            deliver_word(bench, peer, &(struct word){.held = held});
            deliver_claim(bench, peer, held);
        }
        pass(bench, 1000);
        if (bench->effects.log_number > 0) {
            node_log_synced(bench->node, bench->time, bench->effects.log_number);
        }
    }
    node_garbage(bench->node, &garbage);
    return garbage.bound;
}

// -- Catching up without a history -----------------------------------------------------------------------------------------

static void deliver_gap(struct bench *bench, uint64_t sequence)
{
    struct cc_buffer body = {0};
    cc_put_u32(&body, far.replica);
    cc_put_u32(&body, far.incarnation);
    cc_put_u64(&body, sequence);
    deliver(bench, 2, FRAME_GAP, bench->time.wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
    turn(bench);
}

static void repaired(struct bench *bench, enum repair_job_kind kind, struct cc_slice bytes)
{
    assert_in_range(bench->effects.n_repairs, 1, 2);
    const struct repair_job *job = &bench->effects.repairs[bench->effects.n_repairs - 1]; // before it: what is to be remembered
    assert_int_equal(job->kind, kind);
    struct repair_event event = {.kind = kind, .number = job->number, .bytes = bytes};
    node_repair_event(bench->node, bench->time, &event);
    turn(bench);
}

static void deliver_states(struct bench *bench, uint64_t round, uint32_t from, uint32_t next, uint64_t held, struct cc_slice states)
{
    static const uint8_t buckets[REPAIR_BITMAP_BYTES];
    struct crdt_frontier frontier = frontier_of(far.replica, held);
    struct cc_buffer body = {0};
    cc_put_u64(&body, round);
    cc_put_string(&body, cc_slice_text("public.t"));
    cc_put_u32(&body, from);
    cc_put_u32(&body, next);
    cc_put_u32(&body, 0);
    cc_put_string(&body, states);
    cc_put_u8(&body, 1);
    cc_put_u64(&body, 77); // bound
    cc_put_u32(&body, 0);  // schema version
    cc_put_string(&body, cc_slice_of(buckets, sizeof(buckets)));
    crdt_frontier_put(&body, &frontier);
    deliver(bench, 2, FRAME_STATES, bench->time.wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
    turn(bench);
}

// A whole answer of replica 2, which held so many changes of its own at that moment, to the question in the last effects.
static void deliver_answer(struct bench *bench, uint64_t round, uint32_t from, uint32_t next, uint64_t held)
{
    deliver_states(bench, round, from, next, held, cc_slice_text(""));
}

// The round and the first bucket of the question in the last effects; false: there is none.
static bool question(const struct bench *bench, uint64_t *round_out, uint32_t *from_out)
{
    for (size_t i = 0; i < bench->effects.n_sends; i++) {
        struct cc_reader reader = cc_reader_of(bench->effects.sends[i].frame);
        (void)cc_read_u8(&reader);
        uint8_t kind = cc_read_u8(&reader);
        (void)cc_read_u64(&reader);
        (void)cc_read_u64(&reader);
        if (kind == FRAME_COMPARE) {
            *round_out = cc_read_u64(&reader);
            (void)cc_read_string(&reader);
            *from_out = cc_read_u32(&reader);
            return cc_reader_ok(&reader);
        }
    }
    return false;
}

static bool begins_to_compare(const struct bench *bench)
{
    bool begins = false;
    for (size_t i = 0; i < bench->effects.n_repairs; i++) {
        begins = begins || bench->effects.repairs[i].kind == REPAIR_TABLES;
    }
    return begins;
}

// Replica 2 lacks change 1 in its history, again and again: it is asked for its rows.
static void ask_for_rows(struct bench *bench, uint64_t *round_out)
{
    static uint8_t sums[REPAIR_SUMS_BYTES];
    uint32_t from = 1;
    deliver_gap(bench, 1);
    assert_int_equal(bench->effects.n_repairs, 0); // somebody else may still have it
    pass(bench, 3000);
    deliver_gap(bench, 1);
    repaired(bench, REPAIR_TABLES, cc_slice_of("public.t", 9));
    assert_true(bench->effects.repairs[0].whole);
    repaired(bench, REPAIR_SUMS, cc_slice_of(sums, sizeof(sums)));
    assert_true(question(bench, round_out, &from));
    assert_int_equal(from, 0);
}

static void begin_catching_up(struct bench *bench, uint64_t *round_out)
{
    begin_up(bench);
    ask_for_rows(bench, round_out);
}

// 2 refuses what is here, and at 3: its rows would take it from ours. 3 refuses nothing.
static void rows_of_who_refuses_what_others_have_taken_are_not_taken_over(void **state)
{
    (void)state;
    static const struct crdt_frontier nothing;
    struct crdt_frontier taken = frontier_of(8, 4);
    for (int held = 0; held <= 1; held++) {
        struct bench bench;
        begin(&bench, WALL_MS);
        start_with(&bench, &taken);
        deliver_frontier(&bench, 2, &nothing);
        deliver_frontier(&bench, 3, held ? &taken : &nothing);
        deliver_refusal(&bench, 2, taken.at[0].origin, 2);
        deliver_gap(&bench, 1);
        pass(&bench, 3000);
        deliver_gap(&bench, 1);
        assert_int_equal(begins_to_compare(&bench), !held);
        struct crdt_frontier two = frontier_of(8, 2);
        deliver_frontier(&bench, 2, &two); // it has taken it over
        deliver_gap(&bench, 1);
        assert_int_equal(begins_to_compare(&bench), held);
        end(&bench);
    }
}

static void a_replica_takes_over_the_frontier_of_the_first_answer_when_all_rows_are_joined(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t round = 0;
    uint32_t from = 0;
    begin_catching_up(&bench, &round);
    deliver_answer(&bench, round, 0, 100, 5);
    assert_int_equal(bench.effects.repairs[0].bound, 77);
    repaired(&bench, REPAIR_STRAYS, cc_slice_text(""));
    // The other one goes away and comes back: it is asked for what comes next.
    node_peer_down(bench.node, bench.time, 2);
    pass(&bench, 2000);
    assert_false(question(&bench, &round, &from));
    node_peer_up(bench.node, bench.time, 2, 1);
    for (int i = 0; i < 20 && !question(&bench, &round, &from); i++) {
        pass(&bench, 100);
    }
    assert_int_equal(from, 100);
    deliver_answer(&bench, round, 100, REPAIR_BUCKETS, 9);
    repaired(&bench, REPAIR_STRAYS, cc_slice_text(""));
    const struct db_job *job = find_job(&bench, DB_MERGE);
    assert_non_null(job);
    assert_non_null(job->adopt);
    assert_int_equal(crdt_frontier_get(job->adopt, far), 5);
    struct crdt_frontier adopted = *job->adopt;
    merged(&bench, job->number, &adopted);
    assert_non_null(find_fact(&bench, NODE_FACT_CAUGHT_UP));
    // Changes come as usual again.
    deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, 6, clock_hlc_of_ms(WALL_MS), "next"));
    assert_non_null(await_job(&bench, DB_MERGE));
    end(&bench);
}

static void what_is_joined_on_the_way_comes_with_the_bound_up_to_which_tombstones_may_be_gone(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t round = 0;
    begin_catching_up(&bench, &round);
    deliver_answer(&bench, round, 0, 100, 5);
    struct cc_buffer lists = {0};
    cc_put_string(&lists, cc_slice_text("states of rows"));
    repaired(&bench, REPAIR_STRAYS, cc_buffer_slice(&lists));
    cc_buffer_finish(&lists);
    const struct db_job *job = await_job(&bench, DB_MERGE);
    assert_non_null(job);
    assert_true(job->states);
    assert_int_equal(job->bound, 77);
    end(&bench);
}

// It may be of before its sender heard of a deletion; and it would never be trusted, if it takes longer than the collector rests.
static void while_the_answer_of_a_comparison_is_waited_for_and_joined_nothing_more_is_forgotten(void **state)
{
    (void)state;
    static uint8_t sums[REPAIR_SUMS_BYTES];
    struct bench bench;
    uint64_t round = 0;
    uint32_t from = 1;
    struct crdt_frontier held = frontier_of(2, 1);
    begin(&bench, WALL_MS);
    start_with(&bench, &held);
    node_peer_up(bench.node, bench.time, 4, 1);
    node_durable(bench.node, bench.time, &(struct node_durable){.frontier = &held});
    uint64_t before = settle(&bench, &held);
    assert_true(before > 0);
    node_garbage_collected(bench.node, bench.time, before);
    assert_true(node_repair(bench.node, bench.time));
    turn(&bench);
    repaired(&bench, REPAIR_TABLES, cc_slice_of("public.t", 9));
    repaired(&bench, REPAIR_SUMS, cc_slice_of(sums, sizeof(sums)));
    assert_true(question(&bench, &round, &from));
    assert_int_equal(settle(&bench, &held), before);
    struct cc_buffer lists = {0};
    cc_put_string(&lists, cc_slice_text("states of rows"));
    deliver_states(&bench, round, 0, REPAIR_BUCKETS, 1, cc_buffer_slice(&lists));
    assert_int_equal(settle(&bench, &held), before);
    cc_buffer_finish(&lists);
    end(&bench);
}

static void an_answer_is_sifted_before_it_is_joined_and_asked_for_again_if_that_fails(void **state)
{
    (void)state;
    static uint8_t sums[REPAIR_SUMS_BYTES];
    struct bench bench;
    uint64_t round = 0;
    uint32_t from = 1;
    begin_up(&bench);
    assert_true(node_repair(bench.node, bench.time));
    turn(&bench);
    repaired(&bench, REPAIR_TABLES, cc_slice_of("public.t", 9));
    repaired(&bench, REPAIR_SUMS, cc_slice_of(sums, sizeof(sums)));
    assert_true(question(&bench, &round, &from));
    struct cc_buffer lists = {0};
    cc_put_string(&lists, cc_slice_text("states of rows"));
    deliver_states(&bench, round, 0, REPAIR_BUCKETS, 0, cc_buffer_slice(&lists));
    assert_int_equal(bench.effects.n_repairs, 1);
    assert_int_equal(bench.effects.repairs[0].kind, REPAIR_SIFT);
    assert_true(cc_slice_equal(bench.effects.repairs[0].states, cc_buffer_slice(&lists)));
    assert_null(find_job(&bench, DB_MERGE));
    struct repair_event failed = {.kind = REPAIR_SIFT, .number = bench.effects.repairs[0].number, .failed = true};
    node_repair_event(bench.node, bench.time, &failed);
    turn(&bench);
    for (int i = 0; i < 20 && !question(&bench, &round, &from); i++) {
        pass(&bench, 100);
    }
    assert_int_equal(from, 0);
    deliver_states(&bench, round, 0, REPAIR_BUCKETS, 0, cc_buffer_slice(&lists));
    repaired(&bench, REPAIR_SIFT, cc_buffer_slice(&lists));
    const struct db_job *job = await_job(&bench, DB_MERGE);
    assert_non_null(job);
    assert_true(job->states);
    cc_buffer_finish(&lists);
    end(&bench);
}

static void a_replica_that_cannot_answer_is_asked_again_soon(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t round = 0;
    uint32_t from = 1;
    begin_catching_up(&bench, &round);
    for (int i = 0; i < 20; i++) { // its PostgreSQL takes long to start
        deliver_answer(&bench, round, 0, 0, 5);
        from = 1;
        pass(&bench, 250);
        assert_true(question(&bench, &round, &from));
        assert_int_equal(from, 0);
    }
    deliver_answer(&bench, round, 0, 100, 5);
    assert_int_equal(bench.effects.repairs[0].bound, 77);
    end(&bench);
}

static void deliver_question(struct bench *bench)
{
    static const uint8_t sums[REPAIR_SUMS_BYTES];
    struct cc_buffer body = {0};
    cc_put_u64(&body, 7); // round
    cc_put_string(&body, cc_slice_text("public.t"));
    cc_put_u32(&body, 0);
    cc_put_string(&body, cc_slice_of(sums, sizeof(sums)));
    cc_put_u8(&body, 1);
    deliver(bench, 2, FRAME_COMPARE, bench->time.wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
    turn(bench);
}

// Replica 2 is told that its question leads nowhere.
static bool refuses_to_answer(const struct bench *bench)
{
    for (size_t i = 0; i < bench->effects.n_sends; i++) {
        struct cc_reader reader = cc_reader_of(bench->effects.sends[i].frame);
        (void)cc_read_u8(&reader);
        uint8_t kind = cc_read_u8(&reader);
        (void)cc_read_bytes(&reader, 2 * sizeof(uint64_t));
        if (bench->effects.sends[i].peer == 2 && kind == FRAME_STATES) {
            (void)cc_read_u64(&reader); // round
            (void)cc_read_string(&reader);
            uint32_t from = cc_read_u32(&reader);
            return cc_read_u32(&reader) == from && cc_reader_ok(&reader);
        }
    }
    return false;
}

static void who_asks_a_replica_whose_database_is_down_is_told_at_once(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    weak_event(&bench, (struct db_event){.kind = DB_DOWN});
    deliver_question(&bench);
    assert_true(refuses_to_answer(&bench));
    end(&bench);
}

// Its frontier has its own changes; its rows may lack them when it has taken over those of the others.
static void who_must_begin_anew_gives_its_rows_to_nobody(void **state)
{
    (void)state;
    static const struct crdt_frontier nothing;
    struct crdt_frontier held = frontier_of(1, 1);
    assert_int_equal(crdt_frontier_raise(&held, (struct crdt_origin){9, 7}, 3), CC_OK);
    for (int must = 0; must <= 1; must++) {
        struct bench bench;
        begin(&bench, WALL_MS);
        struct wal_record record = {.kind = WAL_CHANGE, .body = change_of(&bench, 1, 1, clock_hlc_of_ms(WALL_MS), "own")};
        assert_int_equal(node_restore(bench.node, &record), CC_OK);
        start(&bench);
        database_up(&bench, &held);
        turn(&bench);
        deliver_question(&bench);
        assert_int_equal(bench.effects.n_repairs, 1);
        struct repair_event answer = {.kind = REPAIR_STATES, .round = 7, .table = cc_slice_text("public.t"), .next = REPAIR_BUCKETS, .peer = 2};
        if (must) {
            deliver_too_old(&bench, 3, 1, 1);
        }
        node_repair_event(bench.node, bench.time, &answer); // begun before it was told
        turn(&bench);
        assert_int_equal(refuses_to_answer(&bench), must);
        deliver_question(&bench);
        assert_int_equal(bench.effects.n_repairs, !must);
        assert_int_equal(refuses_to_answer(&bench), must);
        deliver_frontier(&bench, 2, &nothing);
        turn(&bench);
        const struct db_job *job = find_job(&bench, DB_FETCH);
        assert_non_null(job);
        weak_event(&bench, (struct db_event){.kind = DB_FETCHED, .number = job->number, .origin = job->origin, .peer = 2});
        assert_int_equal(sends(&bench, 2, FRAME_GAP), !must);
        end(&bench);
    }
}

// It holds its own change 1 in its database, and 3 refuses that.
static void must_begin_anew(struct bench *bench, bool is_new)
{
    struct crdt_frontier held = frontier_of(1, 1);
    begin_as(bench, WALL_MS, is_new);
    struct wal_record record = {.kind = WAL_CHANGE, .body = change_of(bench, 1, 1, clock_hlc_of_ms(WALL_MS), "own")};
    assert_int_equal(node_restore(bench->node, &record), CC_OK);
    start_with(bench, &held);
    deliver_too_old(bench, 3, 1, 1);
    turn(bench);
}

// Its origin is another one by now. Who has dropped less than those that refuse would take the change from it, and from its frontier all would
// hold it by name.
static void who_must_begin_anew_passes_on_no_change_of_its_earlier_origins(void **state)
{
    (void)state;
    static const struct crdt_frontier nothing;
    struct crdt_origin earlier = {1, 7};
    struct crdt_frontier held = {.n = 0};
    assert_int_equal(crdt_frontier_raise(&held, earlier, 3), CC_OK);
    for (int must = 0; must <= 1; must++) {
        struct bench bench;
        begin(&bench, WALL_MS);
        start(&bench);
        database_up(&bench, &held);
        turn(&bench);
        if (must) {
            deliver_too_old(&bench, 3, earlier.incarnation, 2);
        }
        deliver_frontier(&bench, 2, &nothing);
        turn(&bench);
        assert_int_equal(find_job(&bench, DB_FETCH) != NULL, !must);
        end(&bench);
    }
}

static void begun_anew(struct bench *bench)
{
    const struct db_job *job = find_job(bench, DB_BEGIN_ANEW);
    assert_non_null(job);
    weak_event(bench, (struct db_event){.kind = DB_BEGUN_ANEW, .number = job->number, .n_aside = 1});
    assert_true(bench->effects.forgot);
}

// The others have dropped less than it has, and do not go on as long as they lack its changes: it takes none of their rows.
static void who_must_begin_anew_does_not_wait_for_a_comparison_that_leads_nowhere(void **state)
{
    (void)state;
    static uint8_t sums[REPAIR_SUMS_BYTES];
    struct bench bench;
    uint64_t round = 0;
    uint32_t from = 1;
    must_begin_anew(&bench, false);
    assert_true(node_repair(bench.node, bench.time));
    turn(&bench);
    struct repair_event listed = {.kind = REPAIR_TABLES, .number = bench.effects.repairs[bench.effects.n_repairs - 1].number};
    for (int i = 0; i < 20; i++) {
        pass(&bench, 100);
        assert_null(find_job(&bench, DB_BEGIN_ANEW)); // its PostgreSQL is at work
    }
    listed.bytes = cc_slice_of("public.t", 9);
    node_repair_event(bench.node, bench.time, &listed);
    turn(&bench);
    repaired(&bench, REPAIR_SUMS, cc_slice_of(sums, sizeof(sums)));
    assert_true(question(&bench, &round, &from));
    for (int i = 0; i < 5 && find_job(&bench, DB_BEGIN_ANEW) == NULL; i++) {
        deliver_answer(&bench, round, 0, 0, 5);
        pass(&bench, 250);
    }
    begun_anew(&bench);
    end(&bench);
}

// The recovery waits for the snapshot, and that for somebody who has what nobody takes.
static void who_must_begin_anew_and_recovers_waits_for_that_unless_a_snapshot_is_wanted(void **state)
{
    (void)state;
    for (int wanted = 0; wanted <= 1; wanted++) {
        struct bench bench;
        must_begin_anew(&bench, true);
        for (int i = 0; i < 50 && find_job(&bench, DB_BEGIN_ANEW) == NULL; i++) {
            if (wanted) {
                deliver_snapshot_wish(&bench, 2);
            }
            pass(&bench, 100);
        }
        assert_int_equal(find_job(&bench, DB_BEGIN_ANEW) != NULL, wanted);
        if (wanted) {
            begun_anew(&bench);
        }
        end(&bench);
    }
}

// It was removed and added again, and its log ends before that: members that the log names are gone, others have come. Voters 1, 2, 3 by it.
static bool begins_anew_with(uint32_t n_others, bool wants_snapshot, bool one_recovers)
{
    struct bench bench;
    must_begin_anew(&bench, false);
    node_peer_down(bench.node, bench.time, 3);
    for (uint32_t i = 0; i < n_others; i++) {
        node_peer_up(bench.node, bench.time, LEARNER + 1 + i, 1);
        deliver_word(&bench, LEARNER + 1 + i, &(struct word){.database_down = true, .recovers = one_recovers && i == 0});
    }
    for (int i = 0; i < 50 && find_job(&bench, DB_BEGIN_ANEW) == NULL; i++) {
        if (wants_snapshot) {
            deliver_snapshot_wish(&bench, 2);
        }
        pass(&bench, 100);
    }
    bool begins = find_job(&bench, DB_BEGIN_ANEW) != NULL;
    end(&bench);
    return begins;
}

static void who_must_begin_anew_and_needs_a_snapshot_counts_on_members_that_its_log_does_not_know(void **state)
{
    (void)state;
    assert_false(begins_anew_with(0, true, false));
    assert_false(begins_anew_with(1, true, false)); // two of four
    assert_true(begins_anew_with(2, true, false));
    assert_false(begins_anew_with(2, false, false)); // its log may still tell it who is a member
    assert_true(begins_anew_with(3, true, false));
    assert_false(begins_anew_with(3, true, true)); // that one may need this one's word
}

// Replica 2 has written 5 changes, or more, while it was away perhaps: who has lost all would not refuse what 3 refuses.
static void who_recovers_takes_what_a_member_wrote_when_another_one_has_taken_it(void **state)
{
    (void)state;
    struct crdt_frontier five = frontier_of(far.replica, 5), nine = frontier_of(far.replica, 9);
    struct bench bench;
    begin_as(&bench, WALL_MS, true);
    start(&bench);
    struct cc_slice change = change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS), "alone");
    deliver_frontier(&bench, 2, &five);
    deliver_change(&bench, 2, bench.time.wall_ms, change);
    assert_null(await_job(&bench, DB_MERGE));
    for (int i = 0; i < 5; i++) {
        deliver_gap(&bench, 1);
        pass(&bench, 1000);
        assert_int_equal(bench.effects.n_repairs, 0);
    }
    deliver_frontier(&bench, 3, &five);
    uint64_t round = 0;
    ask_for_rows(&bench, &round);
    node_peer_down(bench.node, bench.time, 2);
    node_peer_up(bench.node, bench.time, 2, 1);
    deliver_frontier(&bench, 2, &nine);
    turn(&bench);
    deliver_answer(&bench, round, 0, 100, 9);
    assert_int_equal(bench.effects.n_repairs, 0);
    uint32_t from = 1;
    for (int ms = 0; ms < 1000 && !question(&bench, &round, &from); ms += 100) {
        pass(&bench, 100);
    }
    deliver_frontier(&bench, 3, &nine);
    turn(&bench);
    deliver_answer(&bench, round, 0, 100, 9);
    assert_int_equal(bench.effects.n_repairs, 1);
    end(&bench);
    begin_as(&bench, WALL_MS, true);
    start(&bench);
    change = change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS), "alone");
    deliver_frontier(&bench, 2, &five);
    deliver_frontier(&bench, 3, &five);
    deliver_change(&bench, 2, bench.time.wall_ms, change);
    assert_non_null(await_job(&bench, DB_MERGE));
    end(&bench);
}

// One that was removed long ago, and another one: nobody else sends what they wrote.
static void what_is_lacking_of_one_origin_does_not_keep_back_another(void **state)
{
    (void)state;
    static const struct crdt_frontier nothing;
    struct crdt_frontier held = {.n = 0};
    struct bench bench;
    begin_up(&bench);
    for (uint32_t incarnation = 7; incarnation <= 9; incarnation++) {
        assert_int_equal(crdt_frontier_raise(&held, (struct crdt_origin){9, incarnation}, 3), CC_OK);
    }
    database_up(&bench, &held);
    deliver_frontier(&bench, 2, &nothing);
    turn(&bench);
    bool asked[3] = {false};
    for (size_t i = 0; i < 3; i++) {
        const struct db_job *job = find_job(&bench, DB_FETCH);
        assert_non_null(job);
        assert_int_equal(job->sequence, 1);
        asked[job->origin.incarnation - 7] = true;
        weak_event(&bench, (struct db_event){.kind = DB_FETCHED, .number = job->number, .origin = job->origin, .peer = 2});
        assert_true(sends(&bench, 2, FRAME_GAP));
    }
    assert_true(asked[0] && asked[1] && asked[2]);
    assert_null(find_job(&bench, DB_FETCH));
    end(&bench);
}

static void a_database_that_has_lost_something_ends_the_catching_up(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t round = 0;
    begin_catching_up(&bench, &round);
    deliver_answer(&bench, round, 0, 100, 5);
    repaired(&bench, REPAIR_STRAYS, cc_slice_text(""));
    uint32_t from = 0;
    for (int i = 0; i < 20 && !question(&bench, &round, &from); i++) {
        pass(&bench, 100);
    }
    deliver_answer(&bench, round, 100, REPAIR_BUCKETS, 4); // its PostgreSQL crashed
    assert_non_null(find_fact(&bench, NODE_FACT_CATCH_UP_ENDED));
    assert_null(find_job(&bench, DB_MERGE));
    end(&bench);
    // The same of its own.
    begin_catching_up(&bench, &round);
    weak_event(&bench, (struct db_event){.kind = DB_DOWN});
    assert_non_null(find_fact(&bench, NODE_FACT_CATCH_UP_ENDED));
    deliver_answer(&bench, round, 0, REPAIR_BUCKETS, 5);
    assert_int_equal(bench.effects.n_repairs, 0);
    end(&bench);
}

// -- Snapshots -----------------------------------------------------------------------------------------------------------

static void deliver_pull(struct bench *bench, uint32_t peer)
{
    struct crdt_frontier nothing = {.n = 0};
    struct cc_buffer body = {0};
    cc_put_u64(&body, 0); // of none yet
    cc_put_u64(&body, 0);
    cc_put_u64(&body, 0);
    crdt_frontier_put(&body, &nothing);
    deliver(bench, peer, FRAME_PULL, bench->time.wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
    turn(bench);
}

static const struct snapshot_job *find_snapshot(const struct bench *bench, enum snapshot_job_kind kind)
{
    for (size_t i = 0; i < bench->effects.n_snapshots; i++) {
        if (bench->effects.snapshots[i].kind == kind) {
            return &bench->effects.snapshots[i];
        }
    }
    return NULL;
}

static void a_snapshot_that_takes_minutes_to_make_is_sent_and_goes_when_nobody_pulls(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    deliver_pull(&bench, 2);
    const struct snapshot_job *make = find_snapshot(&bench, SNAPSHOT_MAKE);
    assert_non_null(make);
    struct crdt_frontier nothing = {.n = 0};
    struct snapshot_event made = {.kind = SNAPSHOT_MAKE, .number = make->number, .n_bytes = 1000, .frontier = &nothing};
    for (int i = 0; i < 240; i++) {
        pass(&bench, 500);
        deliver_pull(&bench, 2); // not ready
    }
    node_snapshot_event(bench.node, bench.time, &made);
    turn(&bench);
    assert_null(find_snapshot(&bench, SNAPSHOT_FORGET));
    deliver_pull(&bench, 2);
    assert_non_null(find_snapshot(&bench, SNAPSHOT_READ));
    pass(&bench, 40 * 1000);
    assert_non_null(find_snapshot(&bench, SNAPSHOT_FORGET));
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

// -- The open transaction ----------------------------------------------------------------------------------------------------

static void a_weak_write_is_answered_when_it_is_in_the_log_though_its_transaction_stays_open(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    execute_here(&bench, OPERATION_LOCAL);
    assert_int_equal(bench.effects.n_answers, 0);
    assert_false(node_has_unread(bench.node));
    sync_log(&bench);
    assert_int_equal(bench.effects.n_answers, 1);
    assert_true(node_has_unread(bench.node));
    struct node_status status;
    node_describe(bench.node, bench.time.now_us, &status);
    assert_int_equal(crdt_frontier_get(&status.frontier, (struct crdt_origin){1, 1}), 1); // it holds it: in the log
    assert_null(find_job(&bench, DB_WEAK_COMMIT));
    pass(&bench, 4);
    assert_null(find_job(&bench, DB_WEAK_COMMIT));
    pass(&bench, 2);
    struct crdt_frontier frontier = frontier_of(1, 1);
    committed(&bench, find_job(&bench, DB_WEAK_COMMIT), &frontier);
    assert_false(node_has_unread(bench.node));
    end(&bench);
}

static void who_reads_waits_for_what_was_answered_and_ends_the_open_transaction(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    write_here(&bench, OPERATION_LOCAL);
    node_read_own(bench.node, bench.time, 7, 1000);
    turn(&bench);
    assert_int_equal(bench.effects.n_answers, 0);
    struct crdt_frontier frontier = frontier_of(1, 1);
    committed(&bench, find_job(&bench, DB_WEAK_COMMIT), &frontier);
    assert_int_equal(bench.effects.n_answers, 1);
    assert_int_equal(bench.effects.answers[0].token, 7);
    assert_int_equal(bench.effects.answers[0].kind, NODE_ANSWER_READ);
    end(&bench);
}

// A set of replica 2 is due 6 ms after its arrival, when the transaction of a write here is 3 ms old.
static void begin_due(struct bench *bench)
{
    start(bench);
    deliver_change(bench, 2, WALL_MS, change_of(bench, 2, 1, clock_hlc_of_ms(WALL_MS), "x"));
    pass(bench, 3);
    write_here(bench, OPERATION_LOCAL);
    pass(bench, 1);
    assert_null(find_job(bench, DB_WEAK_COMMIT));
    assert_null(find_job(bench, DB_MERGE));
    pass(bench, 2);
}

static void a_merge_in_a_session_of_its_own_ends_the_open_transaction(void **state)
{
    (void)state;
    struct bench bench;
    begin_apart(&bench, WALL_MS);
    begin_due(&bench);
    assert_non_null(find_job(&bench, DB_WEAK_COMMIT));
    assert_non_null(find_job(&bench, DB_MERGE));
    assert_false(find_job(&bench, DB_MERGE)->open);
    end(&bench);
}

// The first set of replica 2 is in the open transaction, behind a write of this one.
static struct crdt_frontier begin_joined(struct bench *bench)
{
    begin(bench, WALL_MS);
    begin_due(bench);
    assert_null(find_job(bench, DB_WEAK_COMMIT));
    const struct db_job *merge = find_job(bench, DB_MERGE);
    assert_non_null(merge);
    assert_true(merge->open);
    struct crdt_frontier nothing = {.n = 0}, merged = frontier_of(2, 1);
    weak_event(bench, (struct db_event){.kind = DB_MERGED, .number = merge->number, .frontier = &nothing, .merged = &merged});
    return merged;
}

static void a_merge_that_is_due_joins_the_open_transaction_and_is_noted_when_that_ends(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier merged = begin_joined(&bench);
    struct node_status status;
    node_describe(bench.node, bench.time.now_us, &status);
    assert_int_equal(crdt_frontier_get(&status.frontier, far), 0); // not held before it is committed
    write_here(&bench, OPERATION_LOCAL);
    pass(&bench, 6);
    const struct db_job *commit = find_job(&bench, DB_WEAK_COMMIT);
    assert_non_null(commit);
    assert_int_equal(commit->n_items, 3);
    struct crdt_change_set set;
    assert_int_equal(crdt_change_set_peek(commit->items[2], &set), CC_OK);
    assert_int_equal(set.origin.replica, 2);
    struct crdt_frontier frontier = frontier_of(1, 2);
    assert_int_equal(crdt_frontier_join(&frontier, &merged), CC_OK);
    committed(&bench, commit, &frontier);
    pass(&bench, 10);
    assert_null(find_job(&bench, DB_MERGE));
    node_describe(bench.node, bench.time.now_us, &status);
    assert_int_equal(crdt_frontier_get(&status.frontier, far), 1);
    end(&bench);
}

static void what_is_in_the_open_transaction_is_not_merged_once_more(void **state)
{
    (void)state;
    struct bench bench;
    (void)begin_joined(&bench);
    deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, 2, clock_hlc_of_ms(WALL_MS) + 1, "y"));
    const struct db_job *merge = await_job(&bench, DB_MERGE);
    assert_non_null(merge);
    assert_int_equal(merge->n_items, 1);
    struct crdt_change_set set;
    assert_int_equal(crdt_change_set_peek(merge->items[0], &set), CC_OK);
    assert_int_equal(set.sequence, 2);
    end(&bench);
}

static void what_was_merged_into_a_transaction_that_is_lost_is_merged_again(void **state)
{
    (void)state;
    struct bench bench;
    (void)begin_joined(&bench);
    struct db_event down = {.kind = DB_DOWN, .lane = DB_WEAK};
    node_db_event(bench.node, bench.time, &down);
    turn(&bench);
    struct crdt_frontier nothing = {.n = 0};
    database_up(&bench, &nothing);
    const struct db_job *merge = await_job(&bench, DB_MERGE);
    assert_non_null(merge);
    assert_false(merge->open); // our own write is missing, too
    assert_int_equal(merge->n_items, 2);
    end(&bench);
}

static void who_waits_for_what_was_merged_ends_the_open_transaction(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier merged = begin_joined(&bench);
    assert_null(find_job(&bench, DB_WEAK_COMMIT));
    node_read_session(bench.node, bench.time, 78, 0, &merged, false, 1000);
    turn(&bench);
    const struct db_job *commit = find_job(&bench, DB_WEAK_COMMIT);
    assert_non_null(commit);
    assert_int_equal(bench.effects.n_answers, 0);
    struct crdt_frontier frontier = frontier_of(1, 1);
    assert_int_equal(crdt_frontier_join(&frontier, &merged), CC_OK);
    committed(&bench, commit, &frontier);
    assert_int_equal(bench.effects.n_answers, 1);
    assert_int_equal(bench.effects.answers[0].token, 78);
    end(&bench);
}

static void a_set_whose_writer_waits_for_others_is_committed_by_itself(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    write_here(&bench, OPERATION_LOCAL);
    struct crdt_change_set set;
    assert_int_equal(crdt_change_set_read(change_of(&bench, 2, 1, clock_hlc_of_ms(WALL_MS), "x"), &bench.arena, &set), CC_OK);
    set.durable = true;
    struct cc_buffer bytes = {0};
    crdt_change_set_put(&bytes, &set);
    deliver_change(&bench, 2, WALL_MS, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    turn(&bench);
    assert_non_null(find_job(&bench, DB_WEAK_COMMIT));
    const struct db_job *merge = find_job(&bench, DB_MERGE);
    assert_non_null(merge);
    assert_false(merge->open);
    end(&bench);
}

static void sixteen_batches_end_the_open_transaction(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    for (int i = 1; i < 16; i++) {
        write_here(&bench, OPERATION_LOCAL);
        assert_null(find_job(&bench, DB_WEAK_COMMIT));
    }
    write_here(&bench, OPERATION_LOCAL);
    const struct db_job *commit = find_job(&bench, DB_WEAK_COMMIT);
    assert_non_null(commit);
    assert_int_equal(commit->n_items, 16);
    end(&bench);
}

static void what_was_answered_and_not_committed_comes_back_from_the_log(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    write_here(&bench, OPERATION_LOCAL);
    assert_int_equal(bench.effects.n_answers, 1);
    weak_event(&bench, (struct db_event){.kind = DB_DOWN});
    struct crdt_frontier nothing = {.n = 0};
    database_up(&bench, &nothing);
    const struct db_job *merge = await_job(&bench, DB_MERGE);
    assert_non_null(merge);
    assert_int_equal(merge->n_items, 1);
    end(&bench);
}

// -- Turns ---------------------------------------------------------------------------------------------------------------

static void a_local_write_does_not_wait_for_all_that_is_to_be_merged(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    for (uint64_t i = 1; i <= 2000; i++) {
        deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, i, clock_hlc_of_ms(WALL_MS), "x"));
    }
    const struct db_job *merge = await_job(&bench, DB_MERGE);
    assert_non_null(merge);
    uint64_t n = merge->n_items, number = merge->number;
    assert_true(n < 2000);
    // Behind the merge that is under way, together with what comes meanwhile, and before the next one.
    submit(&bench, 1);
    submit(&bench, 2);
    turn(&bench);
    assert_null(find_job(&bench, DB_WEAK_EXECUTE));
    struct crdt_frontier frontier = frontier_of(2, n);
    merged(&bench, number, &frontier);
    const struct db_job *writes = find_job(&bench, DB_WEAK_EXECUTE);
    assert_non_null(writes);
    assert_int_equal(writes->n_items, 2);
    assert_null(find_job(&bench, DB_MERGE));
    end(&bench);
}

static void a_change_whose_writer_waits_is_merged_at_once(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    struct crdt_change_set set = {.origin = {2, 1}, .sequence = 1, .stamp = {clock_hlc_of_ms(WALL_MS), 2, 1}};
    deliver_change(&bench, 2, WALL_MS, change_with(&bench, set, "nobody waits"));
    turn(&bench);
    assert_null(find_job(&bench, DB_MERGE)); // more may come
    set.sequence = 2;
    set.durable = true;
    deliver_change(&bench, 2, WALL_MS, change_with(&bench, set, "somebody waits"));
    turn(&bench);
    const struct db_job *merge = find_job(&bench, DB_MERGE);
    assert_non_null(merge);
    assert_int_equal(merge->n_items, 2);
    end(&bench);
}

static void writes_behind_one_that_has_waited_for_a_second_are_refused(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench);
    submit(&bench, 1);
    turn(&bench);
    assert_non_null(find_job(&bench, DB_WEAK_EXECUTE)); // and PostgreSQL does not answer
    submit(&bench, 2);
    pass(&bench, 900);
    submit(&bench, 3);
    turn(&bench);
    assert_string_equal(refusal(&bench), "");
    pass(&bench, 100);
    submit(&bench, 4);
    turn(&bench);
    assert_string_equal(refusal(&bench), "CC202");
    end(&bench);
}

static const struct db_job *answered(struct bench *bench, const struct db_job *merge, uint64_t took_us, uint64_t *held)
{
    uint64_t number = merge->number;
    *held += merge->n_items;
    struct crdt_frontier frontier = {.n = 0};
    assert_int_equal(crdt_frontier_raise(&frontier, (struct crdt_origin){2, 1}, *held), CC_OK);
    bench->time.now_us += took_us;
    merged(bench, number, &frontier);
    return find_job(bench, DB_MERGE);
}

// Change sets of so long ago are merged while clients write here: the pause behind a merge of 8 ms is over after so long, and not before.
static void check_pauses(uint64_t age_ms, uint64_t pause_ms)
{
    struct bench bench;
    begin_apart(&bench, WALL_MS);
    start(&bench);
    submit(&bench, 1);
    turn(&bench);
    const struct db_job *job = find_job(&bench, DB_WEAK_EXECUTE);
    assert_non_null(job);
    struct cc_slice outcome = cc_slice_text(""), change = {0};
    weak_event(&bench, (struct db_event){.kind = DB_WEAK_EXECUTED, .number = job->number, .n_outcomes = 1, .outcomes = &outcome, .changes = &change});
    struct crdt_frontier nothing = {.n = 0};
    committed(&bench, await_job(&bench, DB_WEAK_COMMIT), &nothing);
    for (uint64_t i = 1; i <= 20000; i++) {
        deliver_change(&bench, 2, WALL_MS, change_of(&bench, 2, i, clock_hlc_of_ms(WALL_MS - age_ms), "x"));
    }
    uint64_t held = 0;
    const struct db_job *merge = await_job(&bench, DB_MERGE);
    assert_non_null(merge);
    uint32_t first = merge->n_items;
    assert_null(answered(&bench, merge, 8000, &held)); // a pause
    pass(&bench, pause_ms - 2);
    assert_null(find_job(&bench, DB_MERGE));
    pass(&bench, 4);
    merge = find_job(&bench, DB_MERGE);
    assert_non_null(merge);
    assert_true(merge->n_items <= first); // it took longer than it should
    bench.time.now_us += 2000 * 1000;     // nobody writes any more
    assert_null(answered(&bench, merge, 0, &held));
    pass(&bench, 20);
    merge = find_job(&bench, DB_MERGE);
    assert_non_null(merge);
    assert_null(answered(&bench, merge, 8000, &held)); // a shorter pause
    pass(&bench, 3);
    assert_null(find_job(&bench, DB_MERGE));
    pass(&bench, 2);
    assert_non_null(find_job(&bench, DB_MERGE));
    end(&bench);
}

static void merges_pause_while_clients_write(void **state)
{
    (void)state;
    check_pauses(60 * 1000, 8);
}

static void merges_of_what_was_just_written_pause_for_half_as_long(void **state)
{
    (void)state;
    check_pauses(0, 4);
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
        cmocka_unit_test(a_weak_write_is_answered_when_it_is_in_the_log_though_its_transaction_stays_open),
        cmocka_unit_test(who_reads_waits_for_what_was_answered_and_ends_the_open_transaction),
        cmocka_unit_test(sixteen_batches_end_the_open_transaction),
        cmocka_unit_test(a_merge_in_a_session_of_its_own_ends_the_open_transaction),
        cmocka_unit_test(a_merge_that_is_due_joins_the_open_transaction_and_is_noted_when_that_ends),
        cmocka_unit_test(what_is_in_the_open_transaction_is_not_merged_once_more),
        cmocka_unit_test(what_was_merged_into_a_transaction_that_is_lost_is_merged_again),
        cmocka_unit_test(who_waits_for_what_was_merged_ends_the_open_transaction),
        cmocka_unit_test(a_set_whose_writer_waits_for_others_is_committed_by_itself),
        cmocka_unit_test(what_was_answered_and_not_committed_comes_back_from_the_log),
        cmocka_unit_test(a_weak_write_is_said_to_be_on_as_many_voters_as_have_told_that_they_hold_it),
        cmocka_unit_test(a_replica_whose_changes_come_too_late_for_the_others_refuses_more_of_them),
        cmocka_unit_test(own_changes_that_no_member_has_are_given_up_and_what_follows_them_is_put_aside),
        cmocka_unit_test(own_changes_that_a_member_has_are_waited_for_and_followed_by_what_the_log_has),
        cmocka_unit_test(all_are_told_of_a_change_that_comes_too_late),
        cmocka_unit_test(a_change_that_has_become_too_late_while_it_waited_is_not_merged),
        cmocka_unit_test(a_replica_that_pulls_a_snapshot_does_not_tell_what_it_holds),
        cmocka_unit_test(claims_are_told_while_the_frontier_moves_all_the_time),
        cmocka_unit_test(rows_of_who_refuses_what_others_have_taken_are_not_taken_over),
        cmocka_unit_test(a_replica_takes_over_the_frontier_of_the_first_answer_when_all_rows_are_joined),
        cmocka_unit_test(what_is_joined_on_the_way_comes_with_the_bound_up_to_which_tombstones_may_be_gone),
        cmocka_unit_test(while_the_answer_of_a_comparison_is_waited_for_and_joined_nothing_more_is_forgotten),
        cmocka_unit_test(an_answer_is_sifted_before_it_is_joined_and_asked_for_again_if_that_fails),
        cmocka_unit_test(a_replica_that_cannot_answer_is_asked_again_soon),
        cmocka_unit_test(who_asks_a_replica_whose_database_is_down_is_told_at_once),
        cmocka_unit_test(who_must_begin_anew_gives_its_rows_to_nobody),
        cmocka_unit_test(who_must_begin_anew_passes_on_no_change_of_its_earlier_origins),
        cmocka_unit_test(who_must_begin_anew_does_not_wait_for_a_comparison_that_leads_nowhere),
        cmocka_unit_test(who_must_begin_anew_and_recovers_waits_for_that_unless_a_snapshot_is_wanted),
        cmocka_unit_test(who_must_begin_anew_and_needs_a_snapshot_counts_on_members_that_its_log_does_not_know),
        cmocka_unit_test(who_recovers_takes_what_a_member_wrote_when_another_one_has_taken_it),
        cmocka_unit_test(what_is_lacking_of_one_origin_does_not_keep_back_another),
        cmocka_unit_test(a_database_that_has_lost_something_ends_the_catching_up),
        cmocka_unit_test(a_snapshot_that_takes_minutes_to_make_is_sent_and_goes_when_nobody_pulls),
        cmocka_unit_test(a_session_of_a_shortened_token_waits_for_all_that_a_majority_holds),
        cmocka_unit_test(a_change_whose_writer_waits_is_merged_at_once),
        cmocka_unit_test(writes_behind_one_that_has_waited_for_a_second_are_refused),
        cmocka_unit_test(a_local_write_does_not_wait_for_all_that_is_to_be_merged),
        cmocka_unit_test(merges_pause_while_clients_write),
        cmocka_unit_test(merges_of_what_was_just_written_pause_for_half_as_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
