// The node and the origin of its weak changes: after a start, by whom it must be told before it numbers on, and when it begins another.
#include "proxy/node_bench.h"

#include "base/memory.h"
#include "rest/outcome.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { WALL_MS = 1700000000, N_MEMBERS = 3, ELECTION_MS = 1000, PATIENCE_MS = 2 * ELECTION_MS, ORIGINS_MAX = 64 };

static const struct crdt_origin first = {1, 1};
static const struct crdt_frontier nothing;

static void make(struct bench *bench, uint32_t next_incarnation)
{
    struct node_options options = {.raft = {.id = 1, .election_us = ELECTION_MS * 1000, .heartbeat_us = 100000, .seed = 1},
                                   .incarnation = first.incarnation,
                                   .next_incarnation = next_incarnation,
                                   .clock_skew_ms_max = 500,
                                   .facts_of_database = cc_slice_text("facts")};
    options.raft.membership.n_members = N_MEMBERS;
    for (uint32_t i = 0; i < N_MEMBERS; i++) {
        options.raft.membership.members[i] = (struct raft_member){.id = i + 1, .voter = true};
    }
    bench->node = node_create(&options);
}

static void begin(struct bench *bench)
{
    bench_init(bench, WALL_MS);
    make(bench, 9);
}

static void start(struct bench *bench, const struct crdt_frontier *frontier)
{
    node_start(bench->node, bench->time.now_us, bench->time.wall_ms);
    database_up(bench, frontier);
}

static void begin_up(struct bench *bench, const struct crdt_frontier *frontier)
{
    begin(bench);
    start(bench, frontier);
}

static struct crdt_frontier frontier_of(struct crdt_origin origin, uint64_t sequence)
{
    struct crdt_frontier frontier = {.n = 0};
    assert_int_equal(crdt_frontier_raise(&frontier, origin, sequence), CC_OK);
    return frontier;
}

// NULL: not within the time.
static const struct db_job *await_job(struct bench *bench, enum db_job_kind kind, uint64_t ms_max)
{
    turn(bench);
    for (uint64_t ms = 0; ms < ms_max && find_job(bench, kind) == NULL; ms += 50) {
        pass(bench, 50);
    }
    return find_job(bench, kind);
}

static void deliver(struct bench *bench, uint32_t peer, uint8_t kind, struct cc_slice body)
{
    uint64_t wall_ms = bench->time.wall_ms;
    deliver_frame(bench, peer, &(struct wire_head){.kind = kind, .hlc = clock_hlc_of_ms(wall_ms), .wall_ms = wall_ms}, body);
}

static void tell(struct bench *bench, uint32_t peer, struct word word)
{
    node_peer_up(bench->node, bench->time, peer, 1);
    deliver_word(bench, peer, &word);
}

static void submit(struct bench *bench)
{
    submit_weak(bench, 1, 60000, OPERATION_LOCAL);
}

static struct cc_slice change_of(struct bench *bench, struct crdt_origin origin, uint64_t sequence, uint64_t hlc)
{
    struct crdt_change_set set = {.origin = origin, .sequence = sequence, .stamp = {hlc, origin.replica, origin.incarnation}};
    return change_with(bench, set, "here");
}

// Change sets of the first origin, from one number to another, as a member sends them.
static void send_changes(struct bench *bench, uint32_t peer, uint64_t from, uint64_t to)
{
    struct cc_buffer body = {0};
    cc_put_varint(&body, to - from + 1);
    for (uint64_t sequence = from; sequence <= to; sequence++) {
        cc_put_string(&body, change_of(bench, first, sequence, clock_hlc_of_ms(WALL_MS) + sequence));
    }
    deliver(bench, peer, FRAME_CHANGES, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static void restore(struct bench *bench, struct crdt_origin origin, uint64_t sequence, enum cc_status expected)
{
    struct wal_record record = {.kind = WAL_CHANGE, .body = change_of(bench, origin, sequence, clock_hlc_of_ms(WALL_MS) + sequence)};
    assert_int_equal(node_restore(bench->node, &record), expected);
}

static void restore_mark(struct bench *bench, const struct wal_mark *mark)
{
    struct cc_buffer body = {0};
    cc_put_u64(&body, mark->commit);
    cc_put_u64(&body, mark->hlc);
    cc_put_u64(&body, mark->own_sequence);
    cc_put_u8(&body, 0);
    cc_put_u32(&body, mark->own_incarnation);
    struct wal_record record = {.kind = WAL_MARK, .body = cc_buffer_slice(&body)};
    assert_int_equal(node_restore(bench->node, &record), CC_OK);
    cc_buffer_finish(&body);
}

// A write that was executed is in the log, committed and in the answer under this number.
static void write_as(struct bench *bench, const struct db_job *job, struct crdt_origin origin, uint64_t sequence, struct crdt_frontier *held)
{
    assert_non_null(job);
    assert_int_equal(job->stamps[0].replica, origin.replica);
    assert_int_equal(job->stamps[0].incarnation, origin.incarnation);
    struct rest_outcome done = {.kind = REST_DONE};
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, &done);
    struct cc_slice outcome = cc_buffer_slice(&bytes), change = change_of(bench, origin, 0, job->stamps[0].hlc);
    struct db_event event = {.kind = DB_WEAK_EXECUTED, .lane = DB_WEAK, .number = job->number, .n_outcomes = 1, .outcomes = &outcome, .changes = &change, .n_changes = 1};
    node_db_event(bench->node, bench->time, &event);
    turn(bench);
    assert_true(bench->effects.log_number > 0);
    node_log_synced(bench->node, bench->time, bench->effects.log_number);
    turn(bench);
    assert_int_equal(bench->effects.n_answers, 1);
    assert_int_equal(crdt_origin_compare(bench->effects.answers[0].origin, origin), 0);
    assert_int_equal(bench->effects.answers[0].sequence, sequence);
    const struct db_job *commit = await_job(bench, DB_WEAK_COMMIT, 100);
    assert_non_null(commit);
    assert_int_equal(crdt_frontier_raise(held, origin, sequence), CC_OK);
    event = (struct db_event){.kind = DB_WEAK_COMMITTED, .lane = DB_WEAK, .number = commit->number, .frontier = held};
    node_db_event(bench->node, bench->time, &event);
    turn(bench);
    cc_buffer_finish(&bytes);
}

static struct node_status status_of(const struct bench *bench)
{
    struct node_status status;
    node_describe(bench->node, bench->time.now_us, &status);
    return status;
}

// -- Told in time --------------------------------------------------------------------------------------------------------

static void a_replica_that_was_started_numbers_nothing_before_every_member_has_told(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier held = nothing;
    begin_up(&bench, &nothing);
    submit(&bench);
    tell(&bench, 2, (struct word){0});
    tell(&bench, 3, (struct word){.database_down = true});
    assert_null(await_job(&bench, DB_WEAK_EXECUTE, PATIENCE_MS / 2));
    assert_false(status_of(&bench).origin_confirmed);
    tell(&bench, 3, (struct word){0});
    write_as(&bench, await_job(&bench, DB_WEAK_EXECUTE, 50), first, 1, &held);
    assert_true(status_of(&bench).origin_confirmed);
    end(&bench);
}

static void who_has_told_since_the_start_and_went_away_counts(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench, &nothing);
    tell(&bench, 2, (struct word){0});
    node_peer_down(bench.node, bench.time, 2);
    tell(&bench, 3, (struct word){0});
    assert_true(status_of(&bench).origin_confirmed);
    end(&bench);
}

static void who_went_away_and_came_in_a_new_life_must_tell_again(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench, &nothing);
    tell(&bench, 2, (struct word){0});
    node_peer_down(bench.node, bench.time, 2);
    node_peer_up(bench.node, bench.time, 2, 2);
    tell(&bench, 3, (struct word){0});
    assert_false(status_of(&bench).origin_confirmed);
    end(&bench);
}

// One that was added since the copy was made may be the only one that has more.
static void members_that_the_log_does_not_know_yet_are_waited_for(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench, &nothing);
    tell(&bench, 2, (struct word){0});
    tell(&bench, 3, (struct word){.membership_index = 7});
    submit(&bench);
    assert_null(await_job(&bench, DB_WEAK_EXECUTE, PATIENCE_MS / 2));
    assert_false(status_of(&bench).origin_confirmed);
    end(&bench);
}

static void check_goes_on_behind(struct word word)
{
    struct bench bench;
    struct crdt_frontier held = frontier_of(first, 7);
    begin_up(&bench, &nothing);
    submit(&bench);
    tell(&bench, 2, (struct word){0});
    tell(&bench, 3, word);
    turn(&bench);
    assert_non_null(find_fact(&bench, NODE_FACT_RESTORED));
    assert_null(await_job(&bench, DB_WEAK_EXECUTE, PATIENCE_MS / 2)); // first they come back
    send_changes(&bench, 3, 1, 7);
    const struct db_job *job = await_job(&bench, DB_MERGE, 100);
    assert_non_null(job);
    assert_int_equal(job->n_items, 7);
    struct db_event event = {.kind = DB_MERGED, .lane = DB_WEAK, .number = job->number, .frontier = &held};
    node_db_event(bench.node, bench.time, &event);
    write_as(&bench, await_job(&bench, DB_WEAK_EXECUTE, 50), first, 8, &held);
    assert_int_equal(status_of(&bench).n_identity_alarms, 0);
    end(&bench);
}

static void an_older_copy_that_is_told_takes_its_changes_back_and_goes_on_behind_them(void **state)
{
    (void)state;
    struct crdt_frontier seven = frontier_of(first, 7);
    check_goes_on_behind((struct word){.held = &seven});
}

static void what_a_member_has_received_and_not_merged_counts(void **state)
{
    (void)state;
    struct crdt_frontier seven = frontier_of(first, 7);
    check_goes_on_behind((struct word){.received = &seven});
}

static void nothing_is_claimed_for_stamps_to_come_before_the_origin_is_confirmed(void **state)
{
    (void)state;
    struct bench bench;
    begin_up(&bench, &nothing);
    node_durable(bench.node, bench.time, &(struct node_durable){.frontier = &nothing});
    tell(&bench, 2, (struct word){0});
    pass(&bench, 1100);
    bool told = false;
    for (size_t i = 0; i < bench.effects.n_sends; i++) {
        const struct node_send *send = &bench.effects.sends[i];
        if (send->frame.data[1] == FRAME_STABLE) {
            struct cc_reader reader = cc_reader_of(cc_slice_of(send->frame.data + 18, send->frame.n - 18));
            assert_int_equal(cc_read_u32(&reader), first.incarnation);
            assert_int_equal(cc_read_u64(&reader), 0); // sequence
            assert_int_equal(cc_read_u64(&reader), 0); // stamp
            told = true;
        }
    }
    assert_true(told);
    end(&bench);
}

// -- Another origin ------------------------------------------------------------------------------------------------------

static void a_write_that_has_waited_begins_a_new_origin(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier held = frontier_of(first, 3);
    begin_up(&bench, &held);
    node_durable(bench.node, bench.time, &(struct node_durable){.frontier = &held});
    tell(&bench, 2, (struct word){.held = &held});
    pass(&bench, 2 * PATIENCE_MS); // without a write there is no need of one
    assert_false(status_of(&bench).origin_confirmed);
    submit(&bench);
    const struct db_job *job = await_job(&bench, DB_WEAK_EXECUTE, 0); // and who has waited for long enough waits no more
    struct crdt_origin origin = {1, 9};
    write_as(&bench, job, origin, 1, &held);
    struct node_status status = status_of(&bench);
    assert_true(status.origin_confirmed);
    assert_int_equal(status.origin.incarnation, 9);
    assert_int_equal(status.n_origins_begun, 1);
    assert_int_equal(status.incarnation, first.incarnation); // the life of the log goes on
    // What others have of the one before is merged as anybody's, and is no alarm.
    struct crdt_frontier more = frontier_of(first, 5);
    tell(&bench, 3, (struct word){.held = &more});
    turn(&bench);
    assert_null(find_fact(&bench, NODE_FACT_RESTORED));
    send_changes(&bench, 3, 4, 4);
    assert_non_null(await_job(&bench, DB_MERGE, 100));
    submit(&bench);
    assert_int_equal(status_of(&bench).n_identity_alarms, 0);
    end(&bench);
}

static void no_origin_begins_before_the_database_has_the_one_before_on_disk(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier held = frontier_of(first, 3);
    begin_up(&bench, &held);
    submit(&bench);
    struct crdt_frontier less = frontier_of(first, 2);
    node_durable(bench.node, bench.time, &(struct node_durable){.frontier = &less});
    assert_null(await_job(&bench, DB_WEAK_EXECUTE, 3 * PATIENCE_MS));
    node_durable(bench.node, bench.time, &(struct node_durable){.frontier = &held});
    write_as(&bench, await_job(&bench, DB_WEAK_EXECUTE, 50), (struct crdt_origin){1, 9}, 1, &held);
    end(&bench);
}

// It was told of some that nobody sends: they would be waited for in vain, and this replica may be cut off again.
static void what_is_known_to_others_only_is_not_waited_for(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier seven = frontier_of(first, 7), held = nothing;
    begin_up(&bench, &nothing);
    tell(&bench, 2, (struct word){.received = &seven});
    submit(&bench);
    write_as(&bench, await_job(&bench, DB_WEAK_EXECUTE, PATIENCE_MS + 100), (struct crdt_origin){1, 9}, 1, &held);
    end(&bench);
}

// -- Starts --------------------------------------------------------------------------------------------------------------

static void a_log_that_has_just_begun_need_not_ask(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier held = nothing;
    begin(&bench);
    node_log_begun(bench.node);
    start(&bench, &nothing);
    submit(&bench);
    write_as(&bench, await_job(&bench, DB_WEAK_EXECUTE, 50), first, 1, &held);
    end(&bench);
}

// Answers the job to merge that is among the effects, if there is one.
static void merge(struct bench *bench, struct crdt_frontier *held)
{
    const struct db_job *job = find_job(bench, DB_MERGE);
    for (uint32_t item = 0; job != NULL && item < job->n_items; item++) {
        struct crdt_change_set set;
        assert_int_equal(crdt_change_set_peek(job->items[item], &set), CC_OK);
        assert_int_equal(crdt_frontier_raise(held, set.origin, set.sequence), CC_OK);
    }
    if (job != NULL) {
        struct db_event event = {.kind = DB_MERGED, .lane = DB_WEAK, .number = job->number, .frontier = held};
        node_db_event(bench->node, bench->time, &event);
    }
}

static void the_last_origin_in_the_log_goes_on_and_what_it_has_of_all_comes_back(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_origin second = {1, 8};
    begin(&bench);
    restore(&bench, first, 4, CC_OK);
    restore(&bench, first, 5, CC_OK);
    restore(&bench, second, 1, CC_OK);
    restore_mark(&bench, &(struct wal_mark){.own_incarnation = first.incarnation, .own_sequence = 5}); // written before the last change
    struct crdt_frontier held = frontier_of(first, 3);
    start(&bench, &held); // the database is older
    assert_int_equal(crdt_origin_compare(status_of(&bench).origin, second), 0);
    assert_true(status_of(&bench).replaying);
    assert_non_null(bench.effects.load_changes);
    struct wal_record records[3] = {{.kind = WAL_CHANGE, .body = change_of(&bench, first, 4, clock_hlc_of_ms(WALL_MS) + 4)},
                                    {.kind = WAL_CHANGE, .body = change_of(&bench, first, 5, clock_hlc_of_ms(WALL_MS) + 5)},
                                    {.kind = WAL_CHANGE, .body = change_of(&bench, second, 1, clock_hlc_of_ms(WALL_MS) + 6)}};
    merge(&bench, &held); // what is in memory may come first
    node_changes_loaded(bench.node, bench.time, records, 3, (struct wal_cursor){0}, true);
    turn(&bench);
    for (int i = 0; i < 20; i++) {
        merge(&bench, &held);
        pass(&bench, 10);
    }
    assert_int_equal(crdt_frontier_get(&held, first), 5);
    assert_int_equal(crdt_frontier_get(&held, second), 1);
    assert_false(status_of(&bench).replaying);
    tell(&bench, 2, (struct word){0});
    tell(&bench, 3, (struct word){0});
    submit(&bench);
    write_as(&bench, await_job(&bench, DB_WEAK_EXECUTE, 50), second, 2, &held);
    end(&bench);
}

static void origins_of_a_log_follow_on_each_other(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench);
    restore(&bench, first, 1, CC_OK);
    restore(&bench, (struct crdt_origin){1, 8}, 1, CC_OK);
    restore(&bench, first, 2, CC_CORRUPT);
    restore(&bench, (struct crdt_origin){2, 1}, 1, CC_CORRUPT);
    end(&bench);
}

static void a_log_without_changes_goes_on_under_the_origin_of_its_mark(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_origin second = {1, 8};
    begin(&bench);
    restore_mark(&bench, &(struct wal_mark){.own_incarnation = second.incarnation, .own_sequence = 6});
    struct crdt_frontier held = frontier_of(second, 6);
    start(&bench, &held);
    tell(&bench, 2, (struct word){0});
    tell(&bench, 3, (struct word){0});
    submit(&bench);
    write_as(&bench, await_job(&bench, DB_WEAK_EXECUTE, 50), second, 7, &held);
    end(&bench);
}

// While replica 3 is away. What a frontier, a token and a frame have of them ends at a number.
static void two_hundred_restarts_while_a_member_is_away_do_not_make_frontiers_grow_without_end(void **state)
{
    (void)state;
    struct bench bench;
    struct crdt_frontier held = nothing;
    begin(&bench);
    size_t n_written = 0;
    struct crdt_origin last = first;
    for (uint32_t i = 0; i < 200; i++) {
        node_destroy(bench.node);
        make(&bench, 100 + i);
        restore_mark(&bench, &(struct wal_mark){.own_incarnation = last.incarnation, .own_sequence = crdt_frontier_get(&held, last)});
        start(&bench, &held);
        node_durable(bench.node, bench.time, &(struct node_durable){.frontier = &held});
        tell(&bench, 2, (struct word){.held = &held});
        pass(&bench, PATIENCE_MS + 100);
        submit(&bench);
        turn(&bench);
        if (find_job(&bench, DB_WEAK_EXECUTE) == NULL) {
            struct rest_outcome outcome;
            assert_int_equal(bench.effects.n_answers, 1);
            assert_int_equal(rest_outcome_read(bench.effects.answers[0].outcome, &outcome), CC_OK);
            assert_true(cc_slice_equal_text(outcome.code, "CC228"));
            continue;
        }
        last.incarnation = 100 + i;
        write_as(&bench, find_job(&bench, DB_WEAK_EXECUTE), last, 1, &held);
        n_written++;
    }
    assert_int_equal(n_written, ORIGINS_MAX);
    assert_int_equal(held.n, ORIGINS_MAX);
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, &held);
    assert_true(bytes.n <= 2 + ORIGINS_MAX * 9);
    cc_buffer_finish(&bytes);
    tell(&bench, 3, (struct word){.held = &held});
    submit(&bench);
    write_as(&bench, await_job(&bench, DB_WEAK_EXECUTE, 50), last, 2, &held);
    end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_that_was_started_numbers_nothing_before_every_member_has_told),
        cmocka_unit_test(who_has_told_since_the_start_and_went_away_counts),
        cmocka_unit_test(who_went_away_and_came_in_a_new_life_must_tell_again),
        cmocka_unit_test(members_that_the_log_does_not_know_yet_are_waited_for),
        cmocka_unit_test(an_older_copy_that_is_told_takes_its_changes_back_and_goes_on_behind_them),
        cmocka_unit_test(what_a_member_has_received_and_not_merged_counts),
        cmocka_unit_test(nothing_is_claimed_for_stamps_to_come_before_the_origin_is_confirmed),
        cmocka_unit_test(a_write_that_has_waited_begins_a_new_origin),
        cmocka_unit_test(no_origin_begins_before_the_database_has_the_one_before_on_disk),
        cmocka_unit_test(what_is_known_to_others_only_is_not_waited_for),
        cmocka_unit_test(a_log_that_has_just_begun_need_not_ask),
        cmocka_unit_test(the_last_origin_in_the_log_goes_on_and_what_it_has_of_all_comes_back),
        cmocka_unit_test(origins_of_a_log_follow_on_each_other),
        cmocka_unit_test(a_log_without_changes_goes_on_under_the_origin_of_its_mark),
        cmocka_unit_test(two_hundred_restarts_while_a_member_is_away_do_not_make_frontiers_grow_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
