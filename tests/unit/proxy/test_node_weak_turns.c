// The node and weak tables, event by event: the open transaction, turns of merges and local writes.
#include "proxy/weak_bench.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

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
    database_answers(bench, (struct db_event){.kind = DB_MERGED, .number = merge->number, .frontier = &nothing, .merged = &merged});
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
    database_answers(&bench, (struct db_event){.kind = DB_DOWN});
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
    database_answers(&bench, (struct db_event){.kind = DB_WEAK_EXECUTED, .number = job->number, .n_outcomes = 1, .outcomes = &outcome, .changes = &change});
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
        cmocka_unit_test(a_change_whose_writer_waits_is_merged_at_once),
        cmocka_unit_test(writes_behind_one_that_has_waited_for_a_second_are_refused),
        cmocka_unit_test(a_local_write_does_not_wait_for_all_that_is_to_be_merged),
        cmocka_unit_test(merges_pause_while_clients_write),
        cmocka_unit_test(merges_of_what_was_just_written_pause_for_half_as_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
