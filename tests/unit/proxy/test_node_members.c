// The node and the cluster's members, event by event: who counts for weak tables, and what a removed replica does.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/node_bench.h"

enum { LEARNER = 4, TIMEOUT_MS = 1000 };

static struct bench begin(uint64_t removed_at)
{
    struct node_options options = {.raft = {.id = 1, .election_us = 1000000, .heartbeat_us = 100000, .seed = 1},
                                   .incarnation = 1,
                                   .removed_at = removed_at,
                                   .clock_skew_ms_max = 500};
    for (uint32_t id = 1; id <= 4; id++) {
        options.raft.membership.members[options.raft.membership.n_members++] = (struct raft_member){.id = id, .voter = id != LEARNER};
    }
    struct bench bench = {.node = node_create(&options), .time = {.now_us = 1000000, .wall_ms = 1000000}};
    node_start(bench.node, bench.time.now_us, bench.time.wall_ms);
    struct crdt_frontier nothing = {0};
    for (int lane = 0; lane < DB_LANES; lane++) {
        struct db_event up = {.kind = DB_UP, .lane = (enum db_lane)lane, .frontier = &nothing};
        node_db_event(bench.node, bench.time, &up);
    }
    for (uint32_t id = 2; id <= 4; id++) {
        node_peer_up(bench.node, bench.time, id, id);
    }
    node_take_effects(bench.node, &bench.effects);
    return bench;
}

static void deliver_as(struct bench *bench, uint8_t version, uint32_t peer, uint8_t kind, struct cc_slice body)
{
    deliver_frame(bench, peer, &(struct wire_head){.version = version, .kind = kind, .wall_ms = bench->time.wall_ms}, body);
    turn(bench);
}

static void deliver(struct bench *bench, uint32_t peer, uint8_t kind, struct cc_slice body)
{
    deliver_as(bench, NODE_FRAME_VERSION, peer, kind, body);
}

static size_t count_sent(const struct bench *bench, uint8_t kind, uint32_t peer, uint64_t *context_out)
{
    size_t n = 0;
    for (size_t i = 0; i < bench->effects.n_sends; i++) {
        struct cc_reader reader = cc_reader_of(bench->effects.sends[i].frame);
        (void)cc_read_u8(&reader);
        if (cc_read_u8(&reader) == kind && bench->effects.sends[i].peer == peer) {
            (void)cc_read_u64(&reader);
            (void)cc_read_u64(&reader);
            *context_out = cc_read_u64(&reader);
            n++;
        }
    }
    return n;
}

static void tell_nothing(struct bench *bench, uint32_t peer, uint64_t context)
{
    struct crdt_frontier nothing = {0};
    struct cc_buffer body = {0};
    cc_put_u64(&body, context);
    crdt_frontier_put(&body, &nothing);
    deliver(bench, peer, FRAME_TOLD, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static void remove_us(struct bench *bench, uint64_t index)
{
    struct cc_buffer body = {0};
    cc_put_u64(&body, index);
    deliver(bench, 2, FRAME_REMOVED, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static void assert_refused_as_no_member(const struct bench *bench, uint64_t token)
{
    for (size_t i = 0; i < bench->effects.n_answers; i++) {
        struct rest_outcome outcome;
        if (bench->effects.answers[i].token == token) {
            assert_int_equal(rest_outcome_read(bench->effects.answers[i].outcome, &outcome), CC_OK);
            assert_int_equal(outcome.kind, REST_REFUSED); // not executed
            assert_true(cc_slice_equal_text(outcome.code, "CC220"));
            return;
        }
    }
    fail_msg("no answer");
}

// -------------------------------------------------------------------------------------------------------------------------

static void a_linearizable_read_of_weak_tables_hears_a_majority_of_voters_and_learners_do_not_count(void **state)
{
    (void)state;
    struct bench bench = begin(0);
    uint64_t context = 0, none = 0;
    node_read_weak(bench.node, bench.time, 7, TIMEOUT_MS);
    node_take_effects(bench.node, &bench.effects);
    assert_int_equal(count_sent(&bench, FRAME_ASK, LEARNER, &none), 0);
    assert_int_equal(count_sent(&bench, FRAME_ASK, 2, &context), 1);
    tell_nothing(&bench, LEARNER, context);
    assert_int_equal(bench.effects.n_answers, 0);
    tell_nothing(&bench, 3, context);
    assert_int_equal(bench.effects.n_answers, 1);
    assert_int_equal(bench.effects.answers[0].kind, NODE_ANSWER_READ);
    node_destroy(bench.node);
}

static void what_a_database_holds_that_comes_back_meanwhile_is_part_of_what_a_linearizable_read_of_weak_tables_waits_for(void **state)
{
    (void)state;
    struct bench bench = begin(0);
    struct db_event down = {.kind = DB_DOWN, .lane = DB_WEAK};
    node_db_event(bench.node, bench.time, &down);
    uint64_t context = 0;
    node_read_weak(bench.node, bench.time, 7, TIMEOUT_MS);
    node_take_effects(bench.node, &bench.effects);
    assert_int_equal(count_sent(&bench, FRAME_ASK, 2, &context), 1);
    tell_nothing(&bench, 3, context);
    assert_int_equal(bench.effects.n_answers, 0);
    // Half of the majority is this replica: what a change of replica 2 needed may be here and at replica 2 only.
    struct crdt_frontier held = {0}, wanted;
    assert_int_equal(crdt_frontier_raise(&held, (struct crdt_origin){2, 2}, 5), CC_OK);
    struct db_event up = {.kind = DB_UP, .lane = DB_WEAK, .frontier = &held};
    node_db_event(bench.node, bench.time, &up);
    node_take_effects(bench.node, &bench.effects);
    assert_int_equal(bench.effects.n_answers, 1);
    assert_int_equal(bench.effects.answers[0].kind, NODE_ANSWER_READ);
    struct cc_reader reader = cc_reader_of(bench.effects.answers[0].frontier);
    assert_int_equal(crdt_frontier_read(&reader, &wanted), CC_OK);
    assert_true(crdt_frontier_covers(&wanted, &held));
    node_destroy(bench.node);
}

static void a_learner_that_answers_twice_and_a_stranger_are_no_majority(void **state)
{
    (void)state;
    struct bench bench = begin(0);
    uint64_t context = 0;
    node_read_weak(bench.node, bench.time, 7, TIMEOUT_MS);
    node_take_effects(bench.node, &bench.effects);
    assert_int_equal(count_sent(&bench, FRAME_ASK, 2, &context), 1);
    tell_nothing(&bench, 9, context); // a stranger
    tell_nothing(&bench, LEARNER, context);
    tell_nothing(&bench, LEARNER, context);
    assert_int_equal(bench.effects.n_answers, 0);
    node_destroy(bench.node);
}

static void a_removed_replica_refuses_what_waits_and_what_comes_and_has_it_noted(void **state)
{
    (void)state;
    struct bench bench = begin(0);
    node_read(bench.node, bench.time, 7, TIMEOUT_MS);
    node_take_effects(bench.node, &bench.effects);
    remove_us(&bench, 9);
    assert_true(bench.effects.removed_changed);
    assert_int_equal(bench.effects.removed_at, 9);
    assert_false(node_is_member(bench.node));
    assert_refused_as_no_member(&bench, 7);
    node_read_at(bench.node, bench.time, 8, 1, TIMEOUT_MS);
    node_take_effects(bench.node, &bench.effects);
    assert_refused_as_no_member(&bench, 8);
    remove_us(&bench, 10);
    assert_false(bench.effects.removed_changed); // it knows
    node_destroy(bench.node);
}

static void a_removed_replica_knows_it_from_its_start_on_and_asks_for_no_election(void **state)
{
    (void)state;
    struct bench bench = begin(9);
    assert_false(node_is_member(bench.node));
    for (int i = 0; i < 100; i++) {
        bench.time.now_us += 100000;
        node_tick(bench.node, bench.time);
        node_take_effects(bench.node, &bench.effects);
        assert_int_not_equal(raft_role(node_raft(bench.node)), RAFT_PRE_CANDIDATE);
        assert_int_not_equal(raft_role(node_raft(bench.node)), RAFT_CANDIDATE);
    }
    assert_int_equal(raft_term(node_raft(bench.node)), 0);
    node_destroy(bench.node);
}

static void a_plan_says_what_a_reload_would_change_and_is_refused_without_a_leader(void **state)
{
    (void)state;
    struct bench bench = begin(0);
    struct node_reload_wish wish = {.n_members = 3, .wait_ms = TIMEOUT_MS, .dry_run = true};
    for (uint32_t i = 0; i < 3; i++) { // 2 and 3 stay with other details, 5 is new, 1 and 4 go
        wish.members[i] = (struct member){.id = i == 2 ? 5 : i + 2, .http = "10.0.0.1:80", .peer = "10.0.0.1:81"};
    }
    struct node_reload_plan plan;
    const char *why;
    assert_int_equal(node_reload(bench.node, bench.time, &wish, &plan, &why), CC_UNAVAILABLE);
    assert_string_equal(why, "there is no leader");
    assert_int_equal(plan.n, 5);
    assert_true(plan.steps[2].is_new && plan.steps[2].id == 5 && !plan.steps[0].is_new);
    assert_true(plan.steps[3].action == NODE_MEMBER_REMOVE && plan.steps[3].id == 4);
    assert_int_equal(plan.steps[4].id, 1); // who drives it goes last
    wish.n_members = 0;
    assert_int_equal(node_reload(bench.node, bench.time, &wish, &plan, &why), CC_INVALID);
    node_destroy(bench.node);
}

static void say_hello(struct bench *bench, uint32_t peer, const char *facts)
{
    struct cc_buffer body = {0};
    cc_put_u32(&body, peer); // its incarnation
    cc_put_string(&body, cc_slice_text(facts));
    deliver(bench, peer, FRAME_HELLO, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static const struct node_peer_status *status_of(const struct bench *bench, struct node_status *status, uint32_t peer)
{
    node_describe(bench->node, bench->time.now_us, status);
    for (uint32_t i = 0; i < status->n_peers; i++) {
        if (status->peers[i].id == peer) {
            return &status->peers[i];
        }
    }
    fail_msg("no such peer");
    return NULL;
}

static void a_replica_whose_database_sorts_differently_is_refused_and_told_from_the_others(void **state)
{
    (void)state;
    struct bench bench = begin(0);
    struct node_status status;
    node_set_facts(bench.node, cc_slice_text("15 UTF8 C"));
    say_hello(&bench, 2, "15 UTF8 C");
    assert_int_equal(bench.effects.n_facts, 0);
    say_hello(&bench, 3, "15 UTF8 de_DE");
    assert_int_equal(bench.effects.n_facts, 1);
    assert_int_equal(bench.effects.facts[0].kind, NODE_FACT_PEER_REFUSED);
    assert_int_equal(bench.effects.facts[0].a, 3);
    assert_null(status_of(&bench, &status, 2)->refused);
    assert_string_equal(status_of(&bench, &status, 3)->refused, "its PostgreSQL differs in version, encoding or collation");
    say_hello(&bench, 3, "15 UTF8 C"); // it has been put right
    assert_null(status_of(&bench, &status, 3)->refused);
    node_destroy(bench.node);
}

// Of a replica that is a cluster of its own: what it logs is durable at once.
static void turns(struct bench *bench, int n)
{
    for (int i = 0; i < n; i++) {
        bench->time.now_us += 100000;
        bench->time.wall_ms += 100;
        node_tick(bench->node, bench->time);
        for (int k = 0; k < 5; k++) {
            node_take_effects(bench->node, &bench->effects);
            node_log_synced(bench->node, bench->time, bench->effects.log_number);
        }
    }
}

static void reload(struct bench *bench, const struct node_reload_wish *wish, uint32_t n_changes)
{
    struct node_reload_plan plan;
    const char *why;
    assert_int_equal(node_reload(bench->node, bench->time, wish, &plan, &why), CC_OK);
    assert_int_equal(plan.n, n_changes);
}

static void a_list_that_needs_no_change_takes_the_place_of_one_that_runs(void **state)
{
    (void)state;
    struct node_options options = {.raft = {.id = 1, .election_us = 1000000, .heartbeat_us = 100000, .seed = 1}, .incarnation = 1, .clock_skew_ms_max = 500};
    options.raft.membership = (struct raft_membership){.n_members = 1, .members = {{.id = 1, .voter = true}}};
    struct bench bench = {.node = node_create(&options), .time = {.now_us = 1000000, .wall_ms = 1000000}};
    node_start(bench.node, bench.time.now_us, bench.time.wall_ms);
    struct crdt_frontier nothing = {0};
    for (int lane = 0; lane < DB_LANES; lane++) {
        node_db_event(bench.node, bench.time, &(struct db_event){.kind = DB_UP, .lane = (enum db_lane)lane, .frontier = &nothing});
    }
    turns(&bench, 50);
    assert_int_equal(raft_role(node_raft(bench.node)), RAFT_LEADER);
    struct node_reload_wish wish = {.n_members = 1, .wait_ms = 60000};
    wish.members[0] = (struct member){.id = 1, .http = "10.0.0.1:80", .peer = "10.0.0.1:81"};
    wish.members[1] = (struct member){.id = 5, .http = "10.0.0.5:80", .peer = "10.0.0.5:81", .public_key = {5}};
    reload(&bench, &wish, 1); // it has an address now
    turns(&bench, 50);
    wish.n_members = 2;
    reload(&bench, &wish, 1);
    wish.n_members = 1; // replica 5 is not wanted after all
    reload(&bench, &wish, 0);
    turns(&bench, 50);
    struct node_status status;
    node_describe(bench.node, bench.time.now_us, &status);
    assert_int_equal(status.reload.state, NODE_RELOAD_DONE);
    assert_int_equal(status.membership.n_members, 1);
    node_destroy(bench.node);
}

static bool is_reachable(const struct bench *bench, uint32_t id)
{
    struct node_status status;
    node_describe(bench->node, bench->time.now_us, &status);
    for (uint32_t i = 0; i < status.n_peers; i++) {
        if (status.peers[i].id == id) {
            return status.peers[i].reachable;
        }
    }
    fail_msg("no such replica");
    return false;
}

static void a_replica_of_which_no_frame_is_understood_is_not_reachable_and_one_such_frame_among_others_says_nothing(void **state)
{
    (void)state;
    struct bench bench = begin(0);
    assert_true(is_reachable(&bench, 2));
    deliver_as(&bench, NODE_FRAME_VERSION + 1, 2, FRAME_TOLD, (struct cc_slice){0});
    assert_false(is_reachable(&bench, 2));
    deliver(&bench, 3, FRAME_TOLD, (struct cc_slice){0});
    deliver_as(&bench, NODE_FRAME_VERSION + 1, 3, FRAME_TOLD, (struct cc_slice){0});
    assert_true(is_reachable(&bench, 3));
    deliver(&bench, 2, FRAME_TOLD, (struct cc_slice){0}); // it only came in the wrong order
    assert_true(is_reachable(&bench, 2));
    deliver_as(&bench, NODE_FRAME_VERSION + 1, 4, FRAME_TOLD, (struct cc_slice){0});
    node_peer_down(bench.node, bench.time, 4);
    node_peer_up(bench.node, bench.time, 4, 5); // started again as the program that we know
    assert_true(is_reachable(&bench, 4));
    node_destroy(bench.node);
}

// Its log ends with entry 33 of term 3; no database is up yet, and replica 2 is there.
static struct bench begin_with_log(void)
{
    struct node_options options = {.raft = {.id = 1, .election_us = 1000000, .heartbeat_us = 100000, .seed = 1}, .incarnation = 1, .clock_skew_ms_max = 500};
    options.raft.membership = (struct raft_membership){.n_members = 3, .members = {{.id = 1, .voter = true}, {.id = 2, .voter = true}, {.id = 3, .voter = true}}};
    struct bench bench = {.node = node_create(&options), .time = {.now_us = 1000000, .wall_ms = 1000000}};
    struct cc_buffer hard_state = {0}, base = {0};
    cc_put_u64(&hard_state, 3);
    cc_put_u32(&hard_state, 0);
    cc_put_u64(&base, 33);
    cc_put_u64(&base, 3);
    assert_int_equal(node_restore(bench.node, &(struct wal_record){.kind = WAL_HARD_STATE, .body = cc_buffer_slice(&hard_state)}), CC_OK);
    assert_int_equal(node_restore(bench.node, &(struct wal_record){.kind = WAL_BASE, .body = cc_buffer_slice(&base)}), CC_OK);
    cc_buffer_finish(&hard_state);
    cc_buffer_finish(&base);
    node_start(bench.node, bench.time.now_us, bench.time.wall_ms);
    node_peer_up(bench.node, bench.time, 2, 1);
    node_take_effects(bench.node, &bench.effects);
    return bench;
}

static void entry_34_comes(struct bench *bench)
{
    struct raft_entry entry = {.index = 34, .term = 3, .kind = RAFT_ENTRY_NOOP};
    struct raft_message append = {.kind = RAFT_APPEND, .from = 2, .to = 1, .term = 3, .log_index = 33, .log_term = 3, .entries = &entry, .n_entries = 1};
    struct cc_buffer body = {0};
    raft_message_put(&body, &append);
    deliver(bench, 2, FRAME_RAFT, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
    assert_int_equal(raft_last_index(node_raft(bench->node)), 34);
}

static bool forgets_when_up(struct bench *bench, enum db_lane lane, uint64_t applied)
{
    struct crdt_frontier nothing = {0};
    node_db_event(bench->node, bench->time, &(struct db_event){.kind = DB_UP, .lane = lane, .frontier = &nothing, .applied = applied});
    node_take_effects(bench->node, &bench->effects);
    return bench->effects.forgot;
}

static void a_log_that_was_behind_its_database_at_the_start_is_put_aside_whichever_lane_tells_and_whatever_a_leader_has_sent(void **state)
{
    (void)state;
    for (int lane = 0; lane < DB_LANES; lane++) {
        for (int fed = 0; fed < 2; fed++) {
            struct bench bench = begin_with_log();
            if (fed) {
                entry_34_comes(&bench);
            }
            assert_true(forgets_when_up(&bench, (enum db_lane)lane, 34));
            node_destroy(bench.node);
        }
    }
}

static void a_database_that_has_applied_what_came_after_the_start_is_no_sign_of_an_older_log(void **state)
{
    (void)state;
    struct bench bench = begin_with_log();
    assert_false(forgets_when_up(&bench, DB_STRONG, 33));
    entry_34_comes(&bench);
    assert_false(forgets_when_up(&bench, DB_WEAK, 34));
    node_destroy(bench.node);
}

// What replica 2 says of itself: entries up to 34 and so much promised. True: it is told that it had more.
static bool is_told_that_it_forgot(struct bench *bench, uint64_t promise)
{
    deliver_word(bench, 2, &(struct word){.database_down = true, .applied = 34, .last_index = 34, .promise = promise});
    turn(bench);
    uint64_t index = 0;
    bool told = count_sent(bench, FRAME_FORGOTTEN, 2, &index) > 0;
    assert_true(!told || index == 34);
    return told;
}

static void a_log_that_is_as_long_as_it_was_but_has_promised_less_is_told_so(void **state)
{
    (void)state;
    struct bench bench = begin(0);
    assert_false(is_told_that_it_forgot(&bench, 70));
    assert_false(is_told_that_it_forgot(&bench, 71));
    node_peer_down(bench.node, bench.time, 2);
    node_peer_up(bench.node, bench.time, 2, 2);
    assert_false(is_told_that_it_forgot(&bench, 71)); // it was killed, and nothing that it had told was lost
    assert_true(is_told_that_it_forgot(&bench, 70));
    node_peer_down(bench.node, bench.time, 2);
    node_peer_up(bench.node, bench.time, 2, 77); // another life, with a log of its own
    assert_false(is_told_that_it_forgot(&bench, 5));
    node_destroy(bench.node);
}

static bool forgets_when_told(struct bench *bench, uint64_t index, uint64_t promise)
{
    struct cc_buffer body = {0};
    cc_put_u64(&body, index);
    cc_put_u64(&body, promise);
    deliver(bench, 2, FRAME_FORGOTTEN, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
    return bench->effects.forgot;
}

// To replica 2, as every second.
static void tells(struct bench *bench)
{
    bench->time.now_us += 2000000;
    node_tick(bench->node, bench->time);
    node_take_effects(bench->node, &bench->effects);
    uint64_t applied;
    assert_true(count_sent(bench, FRAME_FRONTIER, 2, &applied) > 0);
}

static void a_replica_that_is_told_what_it_had_puts_its_log_aside_if_that_is_more_than_it_has(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        struct bench bench = begin_with_log();
        node_log_promises(bench.node, 70);
        tells(&bench);
        assert_false(forgets_when_told(&bench, 33, 70)); // an old frame has told that, or one that came late has asked
        assert_true(forgets_when_told(&bench, which == 0 ? 34 : which == 1 ? 33 : UINT64_MAX, which == 1 ? 71 : 0));
        node_destroy(bench.node);
    }
}

static void an_older_copy_that_a_leader_feeds_before_it_is_reminded_is_put_aside_nevertheless(void **state)
{
    (void)state;
    struct bench bench = begin_with_log();
    entry_34_comes(&bench);
    node_log_promises(bench.node, 70); // it is on disk, and nobody was told
    assert_true(forgets_when_told(&bench, 33, 69));
    node_destroy(bench.node);
}

// -- The first start of all ------------------------------------------------------------------------------------------------

static struct bench begin_new(void)
{
    struct node_options options = {.raft = {.id = 1, .election_us = 1000000, .heartbeat_us = 100000, .seed = 1}, .incarnation = 1, .is_new = true, .clock_skew_ms_max = 500};
    options.raft.membership = (struct raft_membership){.n_members = 3, .members = {{.id = 1, .voter = true}, {.id = 2, .voter = true}, {.id = 3, .voter = true}}};
    struct bench bench = {.node = node_create(&options), .time = {.now_us = 1000000, .wall_ms = 1000000}};
    node_start(bench.node, bench.time.now_us, bench.time.wall_ms);
    struct crdt_frontier nothing = {0};
    for (int lane = 0; lane < DB_LANES; lane++) {
        node_db_event(bench.node, bench.time, &(struct db_event){.kind = DB_UP, .lane = (enum db_lane)lane, .frontier = &nothing});
    }
    node_peer_up(bench.node, bench.time, 2, 2);
    node_peer_up(bench.node, bench.time, 3, 3);
    node_take_effects(bench.node, &bench.effects);
    return bench;
}

static void say_that_all_is_empty(struct bench *bench, uint32_t peer, uint64_t term)
{
    deliver_word(bench, peer, &(struct word){.database_down = true, .is_empty = true, .term = term});
    turn(bench);
}

// True: it has recovered with what was delivered last, or soon afterwards.
static bool recovers(struct bench *bench, bool syncs)
{
    bool recovered = bench->effects.recovered;
    for (int i = 0; i < 5; i++) {
        if (syncs && bench->effects.log_number > 0) {
            node_log_synced(bench->node, bench->time, bench->effects.log_number);
        }
        bench->time.now_us += 100 * 1000;
        node_tick(bench->node, bench->time);
        node_take_effects(bench->node, &bench->effects);
        recovered = recovered || bench->effects.recovered;
    }
    return recovered;
}

static void in_a_new_cluster_nobody_is_waited_for_and_nothing_written(void **state)
{
    (void)state;
    struct bench bench = begin_new();
    say_that_all_is_empty(&bench, 2, 0);
    assert_false(recovers(&bench, false));
    say_that_all_is_empty(&bench, 3, 0);
    assert_true(recovers(&bench, false));
    assert_int_equal(raft_term(node_raft(bench.node)), 0);
    node_destroy(bench.node);
}

static void a_new_log_does_not_vote_in_a_term_in_which_one_before_it_may_have_voted(void **state)
{
    (void)state;
    struct bench bench = begin_new();
    say_that_all_is_empty(&bench, 3, 4);
    say_that_all_is_empty(&bench, 2, 3);
    assert_false(recovers(&bench, false)); // not before that is on disk
    assert_int_equal(raft_term(node_raft(bench.node)), 4);
    node_destroy(bench.node);

    bench = begin_new();
    say_that_all_is_empty(&bench, 3, 4);
    say_that_all_is_empty(&bench, 2, 3);
    assert_true(recovers(&bench, true));
    assert_int_equal(raft_term(node_raft(bench.node)), 4);
    node_destroy(bench.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_that_was_behind_its_database_at_the_start_is_put_aside_whichever_lane_tells_and_whatever_a_leader_has_sent),
        cmocka_unit_test(a_database_that_has_applied_what_came_after_the_start_is_no_sign_of_an_older_log),
        cmocka_unit_test(a_log_that_is_as_long_as_it_was_but_has_promised_less_is_told_so),
        cmocka_unit_test(a_replica_that_is_told_what_it_had_puts_its_log_aside_if_that_is_more_than_it_has),
        cmocka_unit_test(an_older_copy_that_a_leader_feeds_before_it_is_reminded_is_put_aside_nevertheless),
        cmocka_unit_test(a_linearizable_read_of_weak_tables_hears_a_majority_of_voters_and_learners_do_not_count),
        cmocka_unit_test(what_a_database_holds_that_comes_back_meanwhile_is_part_of_what_a_linearizable_read_of_weak_tables_waits_for),
        cmocka_unit_test(a_learner_that_answers_twice_and_a_stranger_are_no_majority),
        cmocka_unit_test(a_removed_replica_refuses_what_waits_and_what_comes_and_has_it_noted),
        cmocka_unit_test(a_removed_replica_knows_it_from_its_start_on_and_asks_for_no_election),
        cmocka_unit_test(a_plan_says_what_a_reload_would_change_and_is_refused_without_a_leader),
        cmocka_unit_test(a_replica_whose_database_sorts_differently_is_refused_and_told_from_the_others),
        cmocka_unit_test(a_replica_of_which_no_frame_is_understood_is_not_reachable_and_one_such_frame_among_others_says_nothing),
        cmocka_unit_test(a_list_that_needs_no_change_takes_the_place_of_one_that_runs),
        cmocka_unit_test(in_a_new_cluster_nobody_is_waited_for_and_nothing_written),
        cmocka_unit_test(a_new_log_does_not_vote_in_a_term_in_which_one_before_it_may_have_voted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
