// Each of the harness's features, used to show something that must hold.
#include "harness/harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static struct harness *make(uint64_t seed)
{
    return harness_create(&(struct harness_options){.seed = seed});
}

static void add_fault(struct harness *harness, struct faults_rule rule)
{
    assert_int_not_equal(harness_add_fault(harness, &rule), 0);
}

static uint32_t other_than(uint32_t replica)
{
    return replica == 1 ? 2 : 1;
}

static uint64_t put(struct harness *harness, uint32_t replica, const char *statement)
{
    uint64_t request = harness_write(harness, replica, statement);
    assert_true(harness_wait(harness, request));
    return harness_answer(harness, request)->index;
}

static void assert_row(struct harness *harness, uint32_t replica, const char *key, const char *expected)
{
    struct cc_buffer value = {0};
    bool found = harness_look(harness, replica, key, &value);
    assert_string_equal(found ? cc_buffer_text(&value) : "none", expected);
    cc_buffer_finish(&value);
}

static void settle(struct harness *harness)
{
    struct cc_buffer why_not = {0};
    bool settled = harness_settle(harness, &why_not);
    if (!settled) {
        print_message("not settled: %s\n", cc_buffer_text(&why_not));
    }
    cc_buffer_finish(&why_not);
    assert_true(settled);
}

static uint64_t term_of(struct harness *harness, uint32_t replica)
{
    return raft_term(node_raft(harness_node(harness, replica)));
}

// -- Time -----------------------------------------------------------------------------------------------------------

static void equal_seeds_run_alike_step_by_step_and_others_do_not(void **state)
{
    (void)state;
    struct harness *one = make(1), *same = make(1), *other = make(2);
    unsigned n_differing = 0;
    for (int i = 0; i < 2000; i++) {
        assert_true(harness_step(one));
        assert_true(harness_step(same));
        assert_true(harness_step(other));
        assert_int_equal(harness_now_us(one), harness_now_us(same));
        n_differing += harness_now_us(one) != harness_now_us(other);
    }
    assert_true(n_differing > 1000);
    harness_destroy(one);
    harness_destroy(same);
    harness_destroy(other);
}

static void while_one_replica_steps_the_others_stand_still(void **state)
{
    (void)state;
    struct harness *harness = make(3);
    uint32_t leader = harness_wait_for_leader(harness);
    settle(harness);
    uint32_t lonely = other_than(leader), third = 6 - leader - lonely;
    uint64_t term = term_of(harness, third);
    for (int i = 0; i < 2000 && raft_role(node_raft(harness_node(harness, lonely))) == RAFT_FOLLOWER; i++) {
        assert_true(harness_step_replica(harness, lonely));
    }
    assert_int_equal(raft_role(node_raft(harness_node(harness, lonely))), RAFT_PRE_CANDIDATE); // it heard nobody
    assert_int_equal(harness_leader(harness), leader);
    assert_int_equal(term_of(harness, third), term);
    settle(harness);
    harness_destroy(harness);
}

// -- Own chance -----------------------------------------------------------------------------------------------------

struct drawer {
    uint64_t n;
};

static uint64_t draw_lowest(void *context, uint64_t low, uint64_t high)
{
    (void)high;
    ((struct drawer *)context)->n++;
    return low;
}

static void chance_can_be_the_tests_own(void **state)
{
    (void)state;
    uint64_t leader_us[2];
    for (uint64_t seed = 0; seed < 2; seed++) { // the seed decides nothing any more
        struct drawer drawer = {0};
        struct harness *harness =
            harness_create(&(struct harness_options){.seed = seed, .draw = draw_lowest, .draw_context = &drawer});
        harness_wait_for_leader(harness);
        leader_us[seed] = harness_now_us(harness);
        assert_true(drawer.n > 20);
        put(harness, 2, "put orders 1");
        harness_destroy(harness);
    }
    assert_int_equal(leader_us[0], leader_us[1]);
}

// -- Pause, stop, start ---------------------------------------------------------------------------------------------

static void a_leader_that_stands_still_is_replaced_and_follows_when_it_goes_on(void **state)
{
    (void)state;
    struct harness *harness = make(4);
    uint32_t old = harness_wait_for_leader(harness);
    harness_pause(harness, old);
    harness_run_ms(harness, 4000);
    assert_int_equal(raft_role(node_raft(harness_node(harness, old))), RAFT_LEADER); // it does not know
    uint32_t leader = harness_leader(harness);
    assert_int_not_equal(leader, old);
    put(harness, leader, "put orders 1");
    harness_resume(harness, old);
    settle(harness);
    assert_int_not_equal(term_of(harness, old), 1);
    assert_row(harness, old, "orders", "1");
    harness_destroy(harness);
}

static void what_was_acknowledged_survives_a_power_cut_everywhere(void **state)
{
    (void)state;
    struct harness *harness = make(5);
    harness_wait_for_leader(harness);
    put(harness, 1, "put orders 1");
    put(harness, 2, "append list x");
    for (uint32_t id = 1; id <= 3; id++) {
        harness_stop(harness, id, HARNESS_CUT_POWER);
        assert_null(harness_node(harness, id));
    }
    for (uint32_t id = 1; id <= 3; id++) {
        harness_start(harness, id);
    }
    settle(harness);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_row(harness, id, "orders", "1");
        assert_row(harness, id, "list", "x ");
    }
    harness_destroy(harness);
}

static void what_a_database_lost_in_a_crash_is_applied_again_from_the_log(void **state)
{
    (void)state;
    struct harness *harness = make(17);
    uint32_t leader = harness_wait_for_leader(harness);
    settle(harness);
    harness_run_ms(harness, 1000); // everything is flushed
    uint32_t follower = other_than(leader);
    put(harness, leader, "put orders 1");
    harness_run_ms(harness, 50);
    assert_row(harness, follower, "orders", "1");
    harness_crash_database(harness, follower);
    uint64_t read = harness_read(harness, follower, "orders"); // waits until it is there again
    assert_true(harness_wait(harness, read));
    assert_true(cc_slice_equal_text(harness_answer(harness, read)->value, "1"));
    settle(harness);
    harness_destroy(harness);
}

static uint64_t applied_at(struct harness *harness, uint32_t replica)
{
    struct node_status status;
    node_describe(harness_node(harness, replica), harness_now_us(harness), &status);
    return status.applied;
}

static void a_leaders_transaction_stays_open_for_writes_until_somebody_reads_or_a_moment_has_passed(void **state)
{
    (void)state;
    struct harness *harness = make(29);
    uint32_t leader = harness_wait_for_leader(harness);
    settle(harness);
    uint64_t first = put(harness, leader, "put orders 1");
    uint64_t second = put(harness, leader, "put orders 2");
    assert_true(applied_at(harness, leader) < first); // both are answered, and nothing is committed in its database
    uint64_t read = harness_read(harness, leader, "orders");
    assert_true(harness_wait(harness, read));
    assert_true(cc_slice_equal_text(harness_answer(harness, read)->value, "2"));
    assert_true(applied_at(harness, leader) >= second);
    uint64_t third = put(harness, leader, "put orders 3");
    harness_run_ms(harness, 50);
    assert_true(applied_at(harness, leader) >= third);
    harness_destroy(harness);
}

static void a_replica_that_was_away_while_the_log_was_cut_gets_a_snapshot(void **state)
{
    (void)state;
    struct harness *harness = harness_create(&(struct harness_options){.seed = 18, .log_bytes = 1});
    uint32_t leader = harness_wait_for_leader(harness);
    settle(harness);
    uint32_t away = other_than(leader);
    uint64_t last = harness_disk(harness, away)->last_index;
    harness_stop(harness, away, HARNESS_CUT_POWER);
    for (int i = 0; i < 3000 && harness_disk(harness, leader)->base_index <= last; i++) {
        put(harness, leader, "put orders 1234567890");
    }
    assert_true(harness_disk(harness, leader)->base_index > last);
    for (uint32_t id = 1; id <= 3; id++) { // what they still have in memory would do as well
        harness_stop(harness, id, HARNESS_KILL);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        harness_start(harness, id);
    }
    settle(harness);
    assert_true(harness_disk(harness, away)->base_index > last);
    assert_row(harness, away, "orders", "1234567890");
    harness_destroy(harness);
}

struct death {        // where somebody is to die
    uint32_t replica; // 0: nobody
    enum sim_stage stage;
    enum sim_moment moment;
    enum harness_fate fate;
    unsigned nth;
};

static enum harness_fate die_there(void *context, struct harness *harness, uint32_t replica, enum sim_stage stage,
                                   enum sim_moment moment, const struct node_effects *effects)
{
    (void)harness;
    (void)effects;
    struct death *death = context;
    if (replica != death->replica || stage != death->stage || moment != death->moment || --death->nth > 0) {
        return HARNESS_GO_ON;
    }
    death->replica = 0;
    return death->fate;
}

static void what_is_written_and_not_synced_survives_a_kill_but_no_power_cut(void **state)
{
    (void)state;
    const enum harness_fate fates[] = {HARNESS_KILL, HARNESS_CUT_POWER};
    for (size_t i = 0; i < 2; i++) {
        struct harness *harness = make(6);
        uint32_t leader = harness_wait_for_leader(harness);
        settle(harness);
        harness_run_ms(harness, 2000); // nothing is left to write
        uint32_t follower = other_than(leader);
        struct death death = {follower, SIM_STAGE_SYNC, SIM_BEFORE, fates[i], 1};
        harness_set_hooks(harness, &(struct harness_hooks){.context = &death, .stage = die_there});
        uint64_t index = put(harness, leader, "put orders 1");
        harness_run_ms(harness, 100);
        assert_int_equal(death.replica, 0);
        assert_null(harness_node(harness, follower));
        add_fault(harness,
                  (struct faults_rule){.kind = FAULTS_ISOLATE, .replica = follower}); // it is told nothing anew
        harness_start(harness, follower);
        uint64_t on_disk = harness_disk(harness, follower)->last_index;
        assert_int_equal(on_disk, fates[i] == HARNESS_KILL ? index : index - 1);
        harness_heal(harness);
        settle(harness);
        assert_row(harness, follower, "orders", "1");
        harness_destroy(harness);
    }
}

// -- Stages ---------------------------------------------------------------------------------------------------------

struct watch {
    unsigned n_votes, n_acknowledgements;
};

static void check_vote(struct harness *harness, struct watch *watch, uint32_t replica,
                       const struct raft_message *message)
{
    const struct wal_state *disk = harness_disk(harness, replica);
    if (message->kind == RAFT_VOTE_REPLY && !message->reject) {
        assert_true(disk->hard_state.term == message->term && disk->hard_state.vote == message->to);
        watch->n_votes++;
    }
    if (message->kind == RAFT_APPEND_REPLY && !message->reject && message->term == disk->hard_state.term) {
        assert_true(disk->last_index >= message->log_index);
        watch->n_acknowledgements++;
    }
}

static enum harness_fate watch_sends(void *context, struct harness *harness, uint32_t replica, enum sim_stage stage,
                                     enum sim_moment moment, const struct node_effects *effects)
{
    for (size_t i = 0; stage == SIM_STAGE_SEND && moment == SIM_BEFORE && i < effects->n_sends; i++) {
        struct raft_message message;
        if (harness_raft_message(effects->sends[i].frame, &message)) {
            check_vote(harness, context, replica, &message);
            raft_message_finish(&message);
        }
    }
    return HARNESS_GO_ON;
}

static void votes_and_acknowledgements_are_on_disk_before_they_are_sent(void **state)
{
    (void)state;
    struct watch watch = {0};
    struct harness *harness = make(7);
    harness_set_hooks(harness, &(struct harness_hooks){.context = &watch, .stage = watch_sends});
    for (int round = 0; round < 3; round++) {
        uint32_t leader = harness_wait_for_leader(harness);
        put(harness, leader, "append list x");
        harness_stop(harness, leader, HARNESS_KILL);
        harness_run_ms(harness, 4000);
        harness_start(harness, leader);
    }
    assert_true(watch.n_votes >= 3);
    assert_true(watch.n_acknowledgements >= 6);
    harness_destroy(harness);
}

static void die_and_come_back(uint32_t victim_rank, struct death death)
{
    struct harness *harness = make(8);
    uint32_t leader = harness_wait_for_leader(harness);
    settle(harness);
    death.replica = victim_rank == 0 ? leader : other_than(leader);
    harness_set_hooks(harness, &(struct harness_hooks){.context = &death, .stage = die_there});
    uint64_t writes[3];
    const char *const statements[] = {"append list a", "append list b", "append list c"};
    for (size_t i = 0; i < 3; i++) {
        writes[i] = harness_write(harness, (uint32_t)i + 1, statements[i]);
        harness_run_ms(harness, 2);
    }
    harness_run_ms(harness, 6000);
    for (uint32_t id = 1; id <= 3; id++) {
        harness_start(harness, id);
    }
    settle(harness);
    struct cc_buffer list = {0};
    harness_look(harness, 1, "list", &list);
    for (size_t i = 0; i < 3; i++) {
        const char *text = cc_buffer_text(&list);
        const char *found = strchr(text, statements[i][strlen(statements[i]) - 1]);
        enum harness_outcome kind = harness_answer(harness, writes[i])->kind;
        assert_false(kind == HARNESS_DONE && found == NULL);    // lost
        assert_false(kind == HARNESS_REFUSED && found != NULL); // executed although it was said not to be
        assert_true(found == NULL || strchr(found + 1, *found) == NULL);
    }
    assert_row(harness, 2, "list", cc_buffer_text(&list));
    assert_row(harness, 3, "list", cc_buffer_text(&list));
    cc_buffer_finish(&list);
    harness_destroy(harness);
}

static void whoever_dies_between_any_two_stages_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    for (uint32_t victim_rank = 0; victim_rank < 2; victim_rank++) {
        for (int stage = SIM_STAGE_LOG; stage <= SIM_STAGE_ANSWER; stage++) {
            for (int moment = SIM_BEFORE; moment <= SIM_AFTER; moment++) {
                for (unsigned nth = 1; nth <= 3; nth++) {
                    die_and_come_back(victim_rank, (struct death){0, (enum sim_stage)stage, (enum sim_moment)moment,
                                                                  HARNESS_KILL, nth});
                    die_and_come_back(victim_rank, (struct death){0, (enum sim_stage)stage, (enum sim_moment)moment,
                                                                  HARNESS_CUT_POWER, nth});
                }
            }
        }
    }
}

static void a_leader_that_dies_between_sync_and_answer_loses_nothing(void **state)
{
    (void)state;
    struct harness *harness = make(9);
    uint32_t leader = harness_wait_for_leader(harness);
    settle(harness);
    struct death death = {leader, SIM_STAGE_ANSWER, SIM_BEFORE, HARNESS_CUT_POWER, 1};
    harness_set_hooks(harness, &(struct harness_hooks){.context = &death, .stage = die_there});
    uint64_t write = harness_write(harness, leader, "put orders 1");
    harness_run_ms(harness, 4000);
    assert_int_equal(harness_answer(harness, write)->kind, HARNESS_UNKNOWN);
    harness_start(harness, leader);
    settle(harness);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_row(harness, id, "orders", "1");
    }
    harness_destroy(harness);
}

// -- Applied --------------------------------------------------------------------------------------------------------

struct applied {
    uint64_t last[4];
};

static void note_applied(void *context, struct harness *harness, uint32_t replica, uint64_t index)
{
    (void)harness;
    struct applied *applied = context;
    assert_int_equal(index, applied->last[replica] + 1);
    applied->last[replica] = index;
}

static void every_replica_applies_every_entry_once_and_in_order(void **state)
{
    (void)state;
    struct applied applied = {0};
    struct harness *harness =
        harness_create(&(struct harness_options){.seed = 10, .hooks = {.context = &applied, .applied = note_applied}});
    harness_wait_for_leader(harness);
    for (uint32_t i = 0; i < 30; i++) {
        put(harness, i % 3 + 1, "append list x");
    }
    settle(harness);
    assert_true(applied.last[1] >= 31);
    assert_int_equal(applied.last[2], applied.last[1]);
    assert_int_equal(applied.last[3], applied.last[1]);
    harness_destroy(harness);
}

// -- Election timeouts ----------------------------------------------------------------------------------------------

static void forced_timeouts_elect_at_once_when_the_leader_is_gone(void **state)
{
    (void)state;
    struct harness *harness = make(11);
    uint32_t old = harness_wait_for_leader(harness);
    uint32_t next = other_than(old), third = 6 - old - next;
    harness_stop(harness, old, HARNESS_KILL);
    uint64_t began_us = harness_now_us(harness);
    assert_true(harness_time_out(harness, third)); // so that it no longer believes in the old one
    harness_run_ms(harness, 20);                   // its question is refused: the other does still
    assert_true(harness_time_out(harness, next));
    for (int i = 0; i < 1000 && harness_leader(harness) == 0; i++) {
        harness_run_ms(harness, 1);
    }
    assert_int_not_equal(harness_leader(harness), 0);
    assert_true(harness_now_us(harness) - began_us < 100 * 1000);
    harness_destroy(harness);
}

static void a_timeout_while_others_hear_the_leader_disturbs_nobody(void **state)
{
    (void)state;
    struct harness *harness = make(12);
    uint32_t leader = harness_wait_for_leader(harness);
    settle(harness);
    uint64_t term = term_of(harness, leader);
    for (int i = 0; i < 5; i++) {
        assert_true(harness_time_out(harness, other_than(leader)));
        harness_run_ms(harness, 300);
    }
    assert_false(harness_time_out(harness, leader)); // who leads has none
    assert_int_equal(harness_leader(harness), leader);
    assert_int_equal(term_of(harness, leader), term);
    harness_destroy(harness);
}

// -- Faults ---------------------------------------------------------------------------------------------------------

static void an_isolated_leader_neither_reads_nor_writes_and_the_others_go_on(void **state)
{
    (void)state;
    struct harness *harness = make(13);
    uint32_t old = harness_wait_for_leader(harness);
    settle(harness);
    add_fault(harness, (struct faults_rule){.kind = FAULTS_ISOLATE, .replica = old});
    uint64_t lost = harness_write(harness, old, "put lost 1");
    uint64_t read = harness_read(harness, old, "orders");
    harness_run_ms(harness, 7000);
    assert_int_equal(harness_answer(harness, read)->kind, HARNESS_REFUSED);
    assert_int_not_equal(harness_answer(harness, lost)->kind, HARNESS_DONE);
    uint32_t leader = harness_leader(harness);
    assert_int_not_equal(leader, old);
    put(harness, leader, "put orders 1");
    harness_heal(harness);
    settle(harness);
    assert_row(harness, old, "orders", "1");
    harness_destroy(harness);
}

static void both_sides_of_a_split_take_weak_writes_and_are_equal_afterwards(void **state)
{
    (void)state;
    struct harness *harness = harness_create(&(struct harness_options){.n_replicas = 4, .seed = 14});
    harness_wait_for_leader(harness);
    settle(harness);
    add_fault(harness,
              (struct faults_rule){.kind = FAULTS_SPLIT, .n_listed = 2, .listed = {{1, 1}, {2, 1}}}); // 1 2 | 3 4
    assert_true(harness_wait(harness, harness_write_weak(harness, 1, "upsert anna a 1")));
    assert_true(harness_wait(harness, harness_write_weak(harness, 3, "upsert anna b 2")));
    harness_run_ms(harness, 3000);
    struct cc_buffer here = {0}, there = {0};
    assert_true(harness_look_weak(harness, 2, "anna", &here));
    assert_true(harness_look_weak(harness, 4, "anna", &there));
    assert_string_not_equal(cc_buffer_text(&here), cc_buffer_text(&there));
    harness_heal(harness);
    settle(harness);
    cc_buffer_clear(&here);
    cc_buffer_clear(&there);
    harness_look_weak(harness, 2, "anna", &here);
    harness_look_weak(harness, 4, "anna", &there);
    assert_string_equal(cc_buffer_text(&here), cc_buffer_text(&there));
    cc_buffer_finish(&here);
    cc_buffer_finish(&there);
    harness_destroy(harness);
}

static void writes_commit_under(struct faults_rule rule, uint64_t n_hits_min)
{
    struct harness *harness = make(15);
    uint32_t leader = harness_wait_for_leader(harness);
    settle(harness);
    add_fault(harness, rule);
    for (int i = 0; i < 20; i++) {
        uint64_t write = harness_write(harness, leader, "append list x");
        assert_true(harness_wait(harness, write));
    }
    assert_true(harness_faults(harness)->rules[0].n_hit >= n_hits_min);
    harness_heal(harness);
    settle(harness);
    harness_destroy(harness);
}

static void writes_go_on_whatever_happens_to_some_messages(void **state)
{
    (void)state;
    writes_commit_under((struct faults_rule){.kind = FAULTS_DROP, .pick = FAULTS_NTH, .n = 1}, 1);
    writes_commit_under((struct faults_rule){.kind = FAULTS_DROP, .pick = FAULTS_EVERY, .n = 5}, 8);
    writes_commit_under((struct faults_rule){.kind = FAULTS_DROP, .pick = FAULTS_CHANCE, .n = 200000}, 4);
    writes_commit_under((struct faults_rule){.kind = FAULTS_DELAY, .delay_ms = 30, .jitter_ms = 20}, 40);
    writes_commit_under((struct faults_rule){.kind = FAULTS_REORDER, .delay_ms = 40, .pick = FAULTS_EVERY, .n = 3}, 15);
}

static void latency_is_as_long_as_asked(void **state)
{
    (void)state;
    struct harness *harness = make(16);
    uint32_t leader = harness_wait_for_leader(harness);
    settle(harness);
    add_fault(harness, (struct faults_rule){.kind = FAULTS_DELAY, .from = leader, .delay_ms = 100});
    uint64_t began_us = harness_now_us(harness);
    put(harness, leader, "put orders 1");
    uint64_t took_us = harness_now_us(harness) - began_us;
    assert_in_range(took_us, 100 * 1000, 120 * 1000);
    harness_destroy(harness);
}

// -- One-way cuts ---------------------------------------------------------------------------------------------------

struct offices {
    uint64_t terms[100];
    unsigned n;
};

static void note_office(void *context, struct harness *harness, uint32_t replica, enum raft_role role, uint64_t term,
                        uint32_t leader)
{
    (void)harness;
    (void)replica;
    (void)leader;
    struct offices *offices = context;
    bool is_new = role == RAFT_LEADER && (offices->n == 0 || offices->terms[offices->n - 1] < term);
    if (is_new && offices->n < sizeof(offices->terms) / sizeof(offices->terms[0])) {
        offices->terms[offices->n++] = term;
    }
}

static unsigned leader_changes(uint64_t seed, uint32_t from, uint32_t to)
{
    struct offices offices = {0};
    struct harness *harness = harness_create(&(struct harness_options){.seed = seed, .ranked = true});
    harness_wait_for_leader(harness);
    settle(harness);
    harness_run_ms(harness, 10000); // the first in line has its office by now
    harness_set_hooks(harness, &(struct harness_hooks){.context = &offices, .role = note_office});
    add_fault(harness, (struct faults_rule){.kind = FAULTS_DROP, .from = from, .to = to});
    harness_run_ms(harness, 60000);
    put(harness, harness_leader(harness), "put orders 1"); // and the cluster serves
    harness_heal(harness);
    settle(harness);
    harness_destroy(harness);
    return offices.n;
}

static void a_one_way_cut_of_any_link_changes_the_leader_at_most_once_in_a_minute(void **state)
{
    (void)state;
    for (uint32_t from = 1; from <= 3; from++) {
        for (uint32_t to = 1; to <= 3; to++) {
            for (uint64_t seed = 1; from != to && seed <= 5; seed++) {
                unsigned n = leader_changes(seed, from, to);
                if (n > 1) {
                    print_message("cut %u -> %u, seed %u: %u leader changes\n", from, to, (unsigned)seed, n);
                }
                assert_true(n <= 1);
            }
        }
    }
}

// Longer than executed writes are remembered: what the replica had last heard of commits itself is long past then.
static void a_replica_that_does_not_hear_the_leader_or_is_not_heard_takes_writes_for_as_long_as_that_lasts(void **state)
{
    (void)state;
    for (int direction = 0; direction < 2; direction++) {
        struct harness *harness = make(1);
        harness_wait_for_leader(harness);
        settle(harness);
        harness_run_ms(harness, 10000);
        uint32_t leader = harness_leader(harness), deaf = leader == 2 ? 3 : 2, third = 6 - leader - deaf;
        add_fault(harness, direction == 0 ? (struct faults_rule){.kind = FAULTS_DROP, .from = leader, .to = deaf}
                                          : (struct faults_rule){.kind = FAULTS_DROP, .from = deaf, .to = leader});
        for (int i = 0; i < 180; i++) {
            put(harness, third, "put orders 1");
            harness_run_ms(harness, 500);
        }
        uint64_t write = harness_write(harness, deaf, "put stock 1");
        harness_run_ms(harness, 3000);
        assert_int_equal(harness_answer(harness, write)->kind, HARNESS_DONE);
        harness_heal(harness);
        settle(harness);
        harness_destroy(harness);
    }
}

// -- Rank -----------------------------------------------------------------------------------------------------------

static struct harness *make_ranked(uint64_t seed)
{
    struct harness *harness = harness_create(&(struct harness_options){.seed = seed, .ranked = true});
    harness_wait_for_leader(harness);
    settle(harness);
    harness_run_ms(harness, 5000);
    assert_int_equal(harness_leader(harness), 1);
    return harness;
}

static void the_first_in_line_leads_within_seconds_after_it_is_back_and_keeps_the_office(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct harness *harness = make_ranked(seed);
        harness_stop(harness, 1, HARNESS_KILL);
        harness_run_ms(harness, 5000);
        assert_int_equal(harness_leader(harness), 2);
        put(harness, 2, "put orders 1");
        harness_start(harness, 1);
        harness_run_ms(harness, 5000);
        assert_int_equal(harness_leader(harness), 1);
        struct offices offices = {0};
        harness_set_hooks(harness, &(struct harness_hooks){.context = &offices, .role = note_office});
        harness_run_ms(harness, 120000);
        assert_int_equal(offices.n, 0);
        harness_destroy(harness);
    }
}

// Each time that it leads it stands still.
static void who_falls_again_and_again_is_asked_to_lead_more_and_more_seldom(void **state)
{
    (void)state;
    struct harness *harness = make_ranked(1);
    uint64_t led_us[16];
    unsigned n = 0;
    for (uint64_t end_us = harness_now_us(harness) + 600 * UINT64_C(1000000); harness_now_us(harness) < end_us && n < 16;) {
        harness_run_ms(harness, 100);
        if (harness_leader(harness) == 1) {
            led_us[n++] = harness_now_us(harness);
            harness_pause(harness, 1);
            harness_run_ms(harness, 4000);
            harness_resume(harness, 1);
        }
    }
    assert_in_range(n, 5, 8); // after 15 s, 30 s, 60 s and so on, at least
    for (unsigned i = 2; i < n; i++) {
        assert_true(led_us[i] - led_us[i - 1] >= (15 * UINT64_C(1000000) << (i - 2)));
    }
    harness_destroy(harness);
}

// -- Members --------------------------------------------------------------------------------------------------------

// Writes come to both replicas that go, one each millisecond, from before the first is removed until the leader, which goes as well, has
// handed over and is removed.
static void every_write_at_replicas_that_leave_is_answered_within_a_second(void **state)
{
    (void)state;
    enum { WRITES = 400 };
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct harness *harness = harness_create(&(struct harness_options){.n_replicas = 5, .seed = seed});
        uint32_t old = harness_wait_for_leader(harness), gone = old == 3 ? 4 : 3, next = old == 2 ? 1 : 2;
        settle(harness);
        add_fault(harness, (struct faults_rule){.kind = FAULTS_DELAY, .from = old, .delay_ms = 20, .jitter_ms = 10});
        bool handed_over = false;
        unsigned n_done = 0;
        uint64_t requests[2 * WRITES], asked_us[2 * WRITES], done_us[2 * WRITES] = {0};
        for (uint32_t i = 0; i < WRITES + 1000; i++) {
            if (i == 100) {
                assert_int_equal(harness_change_members(harness, NODE_MEMBER_REMOVE, gone), CC_OK);
            }
            if (!handed_over && !node_is_member(harness_node(harness, gone))) { // its writes are under way at the leader
                handed_over = true;
                assert_int_equal(harness_change_members(harness, NODE_MEMBER_TRANSFER, next), CC_OK);
            }
            if (i == 350) {
                assert_int_equal(harness_change_members(harness, NODE_MEMBER_REMOVE, old), CC_OK);
            }
            for (uint32_t at = 0; i < WRITES && at < 2; at++) {
                char text[32];
                snprintf(text, sizeof(text), "put k%u %u", at, i);
                requests[2 * i + at] = harness_write(harness, at == 0 ? gone : old, text);
                asked_us[2 * i + at] = harness_now_us(harness);
            }
            harness_run_ms(harness, 1);
            for (uint32_t w = 0; w < 2 * (i < WRITES ? i + 1 : WRITES); w++) {
                enum harness_outcome kind = harness_answer(harness, requests[w])->kind;
                assert_int_not_equal(kind, HARNESS_UNKNOWN);
                n_done += done_us[w] == 0 && kind == HARNESS_DONE;
                done_us[w] = done_us[w] == 0 && kind != HARNESS_WAITS ? harness_now_us(harness) : done_us[w];
            }
        }
        for (uint32_t w = 0; w < 2 * WRITES; w++) {
            assert_int_not_equal(done_us[w], 0);
            assert_true(done_us[w] - asked_us[w] < 1000 * 1000);
        }
        assert_true(n_done > 250);
        assert_int_equal(harness_leader(harness), next);
        harness_destroy(harness);
    }
}

static void a_replica_whose_office_was_moved_away_votes_again_when_it_was_removed_and_comes_back(void **state)
{
    (void)state;
    struct harness *harness = harness_create(&(struct harness_options){.n_replicas = 4, .seed = 1});
    uint32_t old = harness_wait_for_leader(harness), next = old == 2 ? 1 : 2;
    settle(harness);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_TRANSFER, next), CC_OK);
    harness_run_ms(harness, 3000);
    assert_int_equal(harness_leader(harness), next);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_REMOVE, old), CC_OK);
    harness_run_ms(harness, 3000);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_ADD, old), CC_OK); // as a learner
    harness_run_ms(harness, 10000);
    const struct raft_member *member = raft_member_find(raft_membership(node_raft(harness_node(harness, next))), old);
    assert_non_null(member);
    assert_true(member->voter);
    harness_destroy(harness);
}

static void who_has_the_longest_log_and_a_sick_database_leads_for_a_moment_when_nobody_else_can_be_elected(void **state)
{
    (void)state;
    struct harness *harness = harness_create(&(struct harness_options){.n_replicas = 3, .seed = 1});
    uint32_t leader = harness_wait_for_leader(harness), longer = leader == 3 ? 2 : 3, other = 6 - leader - longer;
    settle(harness);
    add_fault(harness, (struct faults_rule){.kind = FAULTS_DROP, .from = leader, .to = other});
    uint64_t write = harness_write(harness, leader, "put k 1");
    harness_run_ms(harness, 200);
    assert_int_equal(harness_answer(harness, write)->kind, HARNESS_DONE);
    harness_stop(harness, leader, HARNESS_KILL);
    struct node_time now = {harness_now_us(harness), UINT64_C(1700000000000) + harness_now_us(harness) / 1000};
    node_set_sick(harness_node(harness, longer), now, true);
    harness_run_ms(harness, 20000);
    assert_int_equal(harness_leader(harness), other);
    write = harness_write(harness, other, "put k 2");
    harness_run_ms(harness, 2000);
    assert_int_equal(harness_answer(harness, write)->kind, HARNESS_DONE);
    harness_destroy(harness);
}

static void a_learner_is_promoted_although_one_that_does_not_come_is_before_it_in_the_list(void **state)
{
    (void)state;
    struct harness *harness = harness_create(&(struct harness_options){.n_replicas = 5, .seed = 1});
    uint32_t leader = harness_wait_for_leader(harness), gone = leader == 1 ? 2 : 1;
    settle(harness);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_REMOVE, gone), CC_OK);
    harness_run_ms(harness, 1000);
    uint32_t back = leader == 5 ? 4 : 5;
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_REMOVE, back), CC_OK);
    harness_run_ms(harness, 1000);
    harness_stop(harness, gone, HARNESS_KILL);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_ADD, gone), CC_OK);
    harness_run_ms(harness, 1000);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_ADD, back), CC_OK);
    harness_run_ms(harness, 10000);
    const struct raft_membership *membership = raft_membership(node_raft(harness_node(harness, leader)));
    assert_false(raft_member_find(membership, gone)->voter);
    assert_true(raft_member_find(membership, back)->voter);
    harness_destroy(harness);
}

// -- Members that come back -------------------------------------------------------------------------------------------

enum { AWAY = 3, WRITTEN_ALONE = 12 };

static void write_weak(struct harness *harness, uint32_t replica, const char *statement)
{
    uint64_t request = harness_write_weak(harness, replica, statement);
    if (!harness_wait(harness, request)) {
        fail_msg("%s at %u was not done: %s", statement, (unsigned)replica, harness_outcome_name(harness_answer(harness, request)->kind));
    }
}

static void assert_weak_row(struct harness *harness, const char *key, const char *expected)
{
    for (uint32_t id = 1; id <= harness_size(harness); id++) {
        struct cc_buffer row = {0};
        bool found = harness_look_weak(harness, id, key, &row);
        if (found != (expected != NULL) || (found && strcmp(cc_buffer_text(&row), expected) != 0)) {
            fail_msg("%s at %u: %s", key, (unsigned)id, found ? cc_buffer_text(&row) : "none");
        }
        cc_buffer_finish(&row);
    }
}

// From when it is told that it must begin anew.
static enum harness_fate die_on_the_way_back(void *context, struct harness *harness, uint32_t replica, enum sim_stage stage,
                                             enum sim_moment moment, const struct node_effects *effects)
{
    struct death *death = context;
    if (replica != AWAY || death->replica == 0 || harness_node(harness, AWAY) == NULL) {
        return HARNESS_GO_ON;
    }
    struct node_status status;
    node_describe(harness_node(harness, AWAY), harness_now_us(harness), &status);
    bool on_its_way = status.must_rejoin || status.n_aside + status.n_renewed > 0;
    return on_its_way ? die_there(context, harness, replica, stage, moment, effects) : HARNESS_GO_ON;
}

// It votes when everybody knows: who loses their log while it is promoted makes more than the one failure of which two are left.
static bool must_begin_anew_and_votes(struct harness *harness)
{
    for (uint32_t id = 1; id <= harness_size(harness); id++) {
        uint64_t index = 0;
        const struct node *node = harness_node(harness, id);
        const struct raft_member *away = node == NULL ? NULL : raft_member_find(raft_membership_committed(node_raft(node), &index), AWAY);
        if (index == 0 || away == NULL || !away->voter) {
            return false;
        }
    }
    struct node_status status;
    node_describe(harness_node(harness, AWAY), harness_now_us(harness), &status);
    return status.must_rejoin;
}

// Six rows, which all have; replica 3 does not lead.
static struct harness *begin_with_rows(const struct harness_options *options)
{
    struct harness *harness = harness_create(options);
    (void)harness_wait_for_leader(harness);
    settle(harness);
    if (harness_leader(harness) == AWAY) {
        assert_int_equal(harness_change_members(harness, NODE_MEMBER_TRANSFER, 1), CC_OK);
        harness_run_ms(harness, 2000);
    }
    for (unsigned i = 1; i <= 6; i++) {
        char text[32];
        snprintf(text, sizeof(text), "insert W%u %u", i, 10 + i);
        write_weak(harness, 1, text);
    }
    settle(harness);
    return harness;
}

// Replica 3 writes alone; if it starts again in the middle of that, it goes on under another origin, as nobody tells it what it has written.
static void write_alone(struct harness *harness, bool starts_again)
{
    add_fault(harness, (struct faults_rule){.kind = FAULTS_ISOLATE, .replica = AWAY});
    harness_run_ms(harness, 100);
    static const char *const alone[WRITTEN_ALONE] = {"update W1 a 21", "update W2 a 22", "update W3 a 23", "delete W4", "insert W7 24",   "update W7 b 25",
                                                     "insert W8 26",   "delete W8",      "update W5 b 27", "insert W9 28", "update W6 n 29", "upsert W6 c 30"};
    for (size_t i = 0; i < WRITTEN_ALONE; i++) {
        if (i == WRITTEN_ALONE / 2 && starts_again) {
            harness_run_ms(harness, 2000);
            harness_stop(harness, AWAY, HARNESS_KILL);
            harness_start(harness, AWAY);
        }
        write_weak(harness, AWAY, alone[i]);
    }
    harness_run_ms(harness, 2000);
}

// It is removed meanwhile, and the others forget what it would have to be told; if they cut their logs, these no longer reach back to it.
static void forget_it(struct harness *harness, bool cut_logs)
{
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_REMOVE, AWAY), CC_OK);
    harness_run_ms(harness, 2000);
    write_weak(harness, 1, "update W2 b 42");
    write_weak(harness, 2, "update W3 a 43");
    write_weak(harness, 1, "delete W5");
    uint64_t last = harness_disk(harness, AWAY)->last_index;
    for (int i = 0; i < 3000 && cut_logs && harness_disk(harness, harness_leader(harness))->base_index <= last; i++) {
        put(harness, 1, "put orders 1234567890");
    }
    harness_run_ms(harness, 20000);
    harness_heal(harness);
}

static struct harness *write_alone_with(const struct harness_options *options, bool starts_again)
{
    struct harness *harness = begin_with_rows(options);
    write_alone(harness, starts_again);
    forget_it(harness, options->log_bytes > 0);
    return harness;
}

static struct harness *write_alone_and_be_added(uint64_t seed, bool starts_again)
{
    return write_alone_with(&(struct harness_options){.seed = seed, .garbage_ms = 100}, starts_again);
}

static void assert_written_again(struct harness *harness)
{
    settle(harness);
    assert_int_equal(harness_check_renewals(harness), WRITTEN_ALONE);
    assert_weak_row(harness, "W1", "a=21 b=11 n=11 c=11");
    assert_weak_row(harness, "W2", "a=22 b=42 n=12 c=12");
    assert_weak_row(harness, "W3", "a=43 b=13 n=13 c=13");
    assert_weak_row(harness, "W4", NULL);
    assert_weak_row(harness, "W5", NULL);
    assert_weak_row(harness, "W6", "a=16 b=16 n=29 c=30");
    assert_weak_row(harness, "W7", "a=24 b=25 n=24 c=24");
    assert_weak_row(harness, "W8", NULL);
    assert_weak_row(harness, "W9", "a=28 b=28 n=28 c=28");
    struct node_status status;
    node_describe(harness_node(harness, AWAY), harness_now_us(harness), &status);
    assert_false(status.must_rejoin);
    assert_int_equal(status.n_aside, 0);
    write_weak(harness, AWAY, "update W1 a 51");
    settle(harness);
    assert_weak_row(harness, "W1", "a=51 b=11 n=11 c=11");
}

static bool write_alone_and_come_back(struct death death)
{
    struct harness *harness = write_alone_and_be_added(4, false);
    harness_set_hooks(harness, &(struct harness_hooks){.context = &death, .stage = die_on_the_way_back});
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_ADD, AWAY), CC_OK);
    for (int i = 0; i < 40; i++) {
        harness_run_ms(harness, 500);
        harness_start(harness, AWAY); // whenever it has died
    }
    harness_set_hooks(harness, &(struct harness_hooks){0});
    assert_written_again(harness);
    harness_destroy(harness);
    return death.replica == 0; // it died, if it was to
}

// Who recovers waits for what the others hold, and who must begin anew until the others are well. What the latter has written is not held by
// the former when that has taken over its rows, which lack it by then: seeds 3 and 21.
static void begin_anew_while_another_one_recovers(uint64_t seed, bool meets_it_first, bool starts_again)
{
    struct harness *harness = write_alone_and_be_added(seed, starts_again);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_ADD, AWAY), CC_OK);
    for (int i = 0; i < 1000 && !must_begin_anew_and_votes(harness); i++) {
        harness_run_ms(harness, 10);
    }
    assert_true(must_begin_anew_and_votes(harness));
    harness_stop(harness, 2, HARNESS_KILL);
    harness_wipe(harness, 2);
    if (meets_it_first) { // and has forgotten that it was told
        harness_stop(harness, AWAY, HARNESS_KILL);
        add_fault(harness, (struct faults_rule){.kind = FAULTS_DROP, .from = 1, .to = AWAY});
        add_fault(harness, (struct faults_rule){.kind = FAULTS_DROP, .from = AWAY, .to = 1});
        harness_start(harness, AWAY);
    }
    harness_start(harness, 2);
    harness_run_ms(harness, 3000);
    harness_heal(harness);
    for (int i = 0; i < 60; i++) {
        harness_run_ms(harness, 500);
        harness_start(harness, AWAY);
    }
    assert_written_again(harness);
    harness_destroy(harness);
}

static void a_member_that_must_begin_anew_and_one_that_has_lost_all_do_not_wait_for_each_other(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        begin_anew_while_another_one_recovers(seed, false, false);
    }
}

// One that has lost all refuses nothing, until it knows what the others refuse: seeds 12, 14 and 35. In every second one the removed member has
// written under two origins: what it wrote under the earlier one is not passed on either.
static void what_a_removed_member_wrote_alone_is_not_held_by_one_that_has_lost_all_before_others_take_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        begin_anew_while_another_one_recovers(seed, true, seed % 2 == 0);
    }
}

// The others could send a snapshot only if they had what it has, and they no longer take that.
static void a_removed_member_that_needs_a_snapshot_begins_anew_first(void **state)
{
    (void)state;
    struct harness *harness = write_alone_with(&(struct harness_options){.seed = 4, .garbage_ms = 100, .log_bytes = 1}, false);
    assert_true(harness_disk(harness, harness_leader(harness))->base_index > harness_disk(harness, AWAY)->last_index);
    harness_run_ms(harness, 5000); // the others tell it that it was removed
    struct node_status status;
    node_describe(harness_node(harness, AWAY), harness_now_us(harness), &status);
    assert_false(status.is_member);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_ADD, AWAY), CC_OK);
    for (int i = 0; i < 60; i++) {
        harness_run_ms(harness, 500);
        harness_start(harness, AWAY);
    }
    assert_written_again(harness);
    harness_destroy(harness);
}

// Of the voters that it knows, one is gone; one that it knows as a learner votes by now, without which there were no majority.
static void a_removed_member_that_needs_a_snapshot_counts_who_has_come_to_vote_since(void **state)
{
    (void)state;
    enum { LATE = 4, GONE = 5 };
    struct harness *harness = begin_with_rows(&(struct harness_options){.n_replicas = 5, .seed = 4, .garbage_ms = 100, .log_bytes = 1});
    if (harness_leader(harness) >= LATE) {
        assert_int_equal(harness_change_members(harness, NODE_MEMBER_TRANSFER, 1), CC_OK);
        harness_run_ms(harness, 2000);
    }
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_REMOVE, LATE), CC_OK);
    harness_run_ms(harness, 2000);
    harness_stop(harness, LATE, HARNESS_KILL);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_ADD, LATE), CC_OK);
    harness_run_ms(harness, 2000);
    write_alone(harness, false);
    harness_start(harness, LATE);
    harness_run_ms(harness, 5000);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_REMOVE, GONE), CC_OK);
    harness_run_ms(harness, 2000);
    harness_stop(harness, GONE, HARNESS_KILL);
    forget_it(harness, true);
    uint64_t index;
    assert_false(raft_member_find(raft_membership_committed(node_raft(harness_node(harness, AWAY)), &index), LATE)->voter);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_ADD, AWAY), CC_OK);
    for (int i = 0; i < 60; i++) {
        harness_run_ms(harness, 500);
        harness_start(harness, AWAY);
    }
    struct node_status status;
    node_describe(harness_node(harness, AWAY), harness_now_us(harness), &status);
    assert_false(status.must_rejoin || status.recovering || status.n_aside > 0);
    harness_start(harness, GONE);
    assert_int_equal(harness_change_members(harness, NODE_MEMBER_ADD, GONE), CC_OK);
    harness_run_ms(harness, 5000);
    assert_written_again(harness);
    harness_destroy(harness);
}

static void what_a_removed_member_wrote_alone_is_written_again_wherever_it_dies_on_its_way_back(void **state)
{
    (void)state;
    unsigned n_died = 0;
    assert_true(write_alone_and_come_back((struct death){.replica = 0}));
    static const unsigned nths[] = {1, 2, 3, 5, 10, 40, 150};
    for (int stage = SIM_STAGE_LOG; stage <= SIM_STAGE_ANSWER; stage++) {
        for (size_t n = 0; n < sizeof(nths) / sizeof(nths[0]); n++) {
            enum harness_fate fate = n % 2 == 0 ? HARNESS_KILL : HARNESS_CUT_POWER;
            n_died += write_alone_and_come_back((struct death){AWAY, (enum sim_stage)stage, n % 3 == 0 ? SIM_BEFORE : SIM_AFTER, fate, nths[n]});
        }
    }
    if (n_died <= 24) {
        fail_msg("only %u died", n_died);
    }
}

// -- Rows that a deletion has cleared, which everybody else has forgotten ------------------------------------------------

enum { FILLERS = 60, OLD = 3 };

static bool garbage_is_gone(void *context, struct harness *harness)
{
    (void)context;
    uint64_t n_tombstones, n_sets, n = 0;
    for (uint32_t id = 1; id <= harness_size(harness); id++) {
        harness_count_garbage(harness, id, &n_tombstones, &n_sets);
        n += n_tombstones + n_sets;
    }
    return n == 0;
}

static void write_fillers(struct harness *harness, const char *prefix)
{
    for (unsigned i = 0; i < FILLERS; i++) {
        char text[32];
        snprintf(text, sizeof(text), "insert %s%u %u", prefix, i, i);
        write_weak(harness, 2, text);
    }
}

// Replica 3 has the database that it had before much was written and deleted at replica 2, which nobody's history has any more.
static struct harness *with_an_old_database(void)
{
    struct harness *harness = harness_create(&(struct harness_options){.seed = 5, .garbage_ms = 100, .log_bytes = 8 << 10});
    (void)harness_wait_for_leader(harness);
    write_weak(harness, 1, "insert W1 old");
    write_weak(harness, 1, "insert W2 old");
    settle(harness);
    harness_copy_database(harness, OLD);
    write_weak(harness, 1, "insert W3 old");
    settle(harness);
    for (unsigned i = 1; i <= 3; i++) {
        char text[32];
        snprintf(text, sizeof(text), "delete W%u", i);
        write_weak(harness, 2, text);
    }
    write_fillers(harness, "F");
    settle(harness);
    assert_true(harness_run_until(harness, garbage_is_gone, NULL, 60000));
    harness_stop(harness, 2, HARNESS_KILL); // what it wrote it has in memory
    harness_start(harness, 2);
    harness_run_ms(harness, 3000);
    harness_restore_database(harness, OLD);
    return harness;
}

static void assert_no_row(struct harness *harness, uint32_t replica, const char *key)
{
    struct cc_buffer row = {0};
    if (harness_look_weak(harness, replica, key, &row)) {
        fail_msg("%s at %u: %s", key, (unsigned)replica, cc_buffer_text(&row));
    }
    cc_buffer_finish(&row);
}

static bool compares(struct harness *harness, uint32_t replica, bool whole)
{
    struct node_status status;
    node_describe(harness_node(harness, replica), harness_now_us(harness), &status);
    return status.repair.running && status.repair.catching_up == whole;
}

static bool has_compared(void *context, struct harness *harness)
{
    return !compares(harness, *(const uint32_t *)context, false);
}

static bool takes_over(void *context, struct harness *harness)
{
    return compares(harness, *(const uint32_t *)context, true);
}

static void a_comparison_takes_nothing_from_who_lacks_deletions_that_are_forgotten_here(void **state)
{
    (void)state;
    struct harness *harness = with_an_old_database();
    harness_start(harness, OLD);
    harness_run_ms(harness, 1000);
    uint32_t asker = 1;
    assert_true(harness_compare(harness, asker));
    assert_true(harness_run_until(harness, has_compared, &asker, 30000));
    assert_no_row(harness, 1, "W1");
    settle(harness);
    assert_weak_row(harness, "W1", NULL);
    assert_weak_row(harness, "W2", NULL);
    harness_destroy(harness);
}

static void what_arrives_while_rows_are_taken_over_does_not_bring_back_what_was_deleted(void **state)
{
    (void)state;
    struct harness *harness = with_an_old_database();
    add_fault(harness, (struct faults_rule){.kind = FAULTS_DROP, .from = 1, .to = OLD});
    add_fault(harness, (struct faults_rule){.kind = FAULTS_DROP, .from = OLD, .to = 1});
    harness_start(harness, OLD);
    uint32_t asker = OLD;
    assert_true(harness_run_until(harness, takes_over, &asker, 60000));
    harness_heal(harness); // replica 1 still has the insert of W3
    settle(harness);
    assert_weak_row(harness, "W3", NULL);
    struct node_status status;
    node_describe(harness_node(harness, OLD), harness_now_us(harness), &status);
    assert_int_equal(status.repair.n_adopted, 1);
    harness_destroy(harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_seeds_run_alike_step_by_step_and_others_do_not),
        cmocka_unit_test(while_one_replica_steps_the_others_stand_still),
        cmocka_unit_test(chance_can_be_the_tests_own),
        cmocka_unit_test(a_leader_that_stands_still_is_replaced_and_follows_when_it_goes_on),
        cmocka_unit_test(what_was_acknowledged_survives_a_power_cut_everywhere),
        cmocka_unit_test(what_a_database_lost_in_a_crash_is_applied_again_from_the_log),
        cmocka_unit_test(a_leaders_transaction_stays_open_for_writes_until_somebody_reads_or_a_moment_has_passed),
        cmocka_unit_test(a_replica_that_was_away_while_the_log_was_cut_gets_a_snapshot),
        cmocka_unit_test(what_is_written_and_not_synced_survives_a_kill_but_no_power_cut),
        cmocka_unit_test(votes_and_acknowledgements_are_on_disk_before_they_are_sent),
        cmocka_unit_test(whoever_dies_between_any_two_stages_nothing_acknowledged_is_lost),
        cmocka_unit_test(a_removed_member_that_needs_a_snapshot_begins_anew_first),
        cmocka_unit_test(a_removed_member_that_needs_a_snapshot_counts_who_has_come_to_vote_since),
        cmocka_unit_test(what_a_removed_member_wrote_alone_is_written_again_wherever_it_dies_on_its_way_back),
        cmocka_unit_test(a_member_that_must_begin_anew_and_one_that_has_lost_all_do_not_wait_for_each_other),
        cmocka_unit_test(what_a_removed_member_wrote_alone_is_not_held_by_one_that_has_lost_all_before_others_take_it),
        cmocka_unit_test(a_comparison_takes_nothing_from_who_lacks_deletions_that_are_forgotten_here),
        cmocka_unit_test(what_arrives_while_rows_are_taken_over_does_not_bring_back_what_was_deleted),
        cmocka_unit_test(a_leader_that_dies_between_sync_and_answer_loses_nothing),
        cmocka_unit_test(every_replica_applies_every_entry_once_and_in_order),
        cmocka_unit_test(forced_timeouts_elect_at_once_when_the_leader_is_gone),
        cmocka_unit_test(a_timeout_while_others_hear_the_leader_disturbs_nobody),
        cmocka_unit_test(an_isolated_leader_neither_reads_nor_writes_and_the_others_go_on),
        cmocka_unit_test(both_sides_of_a_split_take_weak_writes_and_are_equal_afterwards),
        cmocka_unit_test(writes_go_on_whatever_happens_to_some_messages),
        cmocka_unit_test(latency_is_as_long_as_asked),
        cmocka_unit_test(a_one_way_cut_of_any_link_changes_the_leader_at_most_once_in_a_minute),
        cmocka_unit_test(a_replica_that_does_not_hear_the_leader_or_is_not_heard_takes_writes_for_as_long_as_that_lasts),
        cmocka_unit_test(the_first_in_line_leads_within_seconds_after_it_is_back_and_keeps_the_office),
        cmocka_unit_test(who_falls_again_and_again_is_asked_to_lead_more_and_more_seldom),
        cmocka_unit_test(every_write_at_replicas_that_leave_is_answered_within_a_second),
        cmocka_unit_test(who_has_the_longest_log_and_a_sick_database_leads_for_a_moment_when_nobody_else_can_be_elected),
        cmocka_unit_test(a_learner_is_promoted_although_one_that_does_not_come_is_before_it_in_the_list),
        cmocka_unit_test(a_replica_whose_office_was_moved_away_votes_again_when_it_was_removed_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
