// The node and weak tables, event by event: rows and snapshots from others, where the histories do not reach back.
#include "proxy/weak_bench.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

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

static void who_must_begin_anew_takes_over_nobodys_rows(void **state)
{
    (void)state;
    for (int must = 0; must <= 1; must++) {
        struct bench bench;
        struct crdt_frontier held = frontier_of(1, 1);
        begin(&bench, WALL_MS);
        start_with(&bench, &held);
        if (must) {
            deliver_too_old(&bench, 3, 1, 1);
        }
        deliver_gap(&bench, 1);
        pass(&bench, 3000);
        deliver_gap(&bench, 1);
        assert_int_equal(begins_to_compare(&bench), !must);
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
    database_answers(&bench, (struct db_event){.kind = DB_DOWN});
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
        database_answers(&bench, (struct db_event){.kind = DB_FETCHED, .number = job->number, .origin = job->origin, .peer = 2});
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
    database_answers(bench, (struct db_event){.kind = DB_BEGUN_ANEW, .number = job->number, .n_aside = 1});
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
        database_answers(&bench, (struct db_event){.kind = DB_FETCHED, .number = job->number, .origin = job->origin, .peer = 2});
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
    database_answers(&bench, (struct db_event){.kind = DB_DOWN});
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_who_refuses_what_others_have_taken_are_not_taken_over),
        cmocka_unit_test(who_must_begin_anew_takes_over_nobodys_rows),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
