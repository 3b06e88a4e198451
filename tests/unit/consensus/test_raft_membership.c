// Membership changes, leadership transfer, snapshots: what the scenario files do not show.
#include "raft_fixture.h"

#include "scenario/raft_cluster.h"

enum { ELECTION_US = 1000, HEARTBEAT_US = 100 };

static void start(struct cluster *cluster, uint32_t n_voters, uint32_t n_learners, uint32_t n_outside)
{
    struct cluster_options options = {
        .n_voters = n_voters,
        .n_learners = n_learners,
        .n_outside = n_outside,
        .election_us = ELECTION_US,
        .heartbeat_us = HEARTBEAT_US,
        .seed = 1,
    };
    cluster_start(cluster, &options);
}

static struct raft_membership with(const struct raft_membership *now, uint32_t id, bool voter)
{
    struct raft_membership next = *now;
    uint32_t at = 0;
    while (at < next.n_members && next.members[at].id != id) {
        at++;
    }
    next.n_members = at == next.n_members ? at + 1 : next.n_members;
    next.members[at] = (struct raft_member){.id = id, .voter = voter};
    return next;
}

static struct raft_membership without(const struct raft_membership *now, uint32_t id)
{
    struct raft_membership next = *now;
    for (uint32_t i = 0; i < next.n_members; i++) {
        if (next.members[i].id == id) {
            next.members[i] = next.members[--next.n_members];
        }
    }
    return next;
}

static const struct raft_membership *members(struct cluster *cluster, uint32_t id)
{
    return raft_membership(cluster_raft(cluster, id));
}

static bool is_voter(struct cluster *cluster, uint32_t at, uint32_t id)
{
    const struct raft_membership *membership = members(cluster, at);
    for (uint32_t i = 0; i < membership->n_members; i++) {
        if (membership->members[i].id == id) {
            return membership->members[i].voter;
        }
    }
    return false;
}

// Delivers and syncs, but stops as soon as the server leads.
static void elect_but_do_not_settle(struct cluster *cluster, uint32_t id)
{
    cluster_tick(cluster, id);
    cluster->now_us = raft_next_tick_us(cluster_raft(cluster, id));
    cluster_tick(cluster, id);
    for (unsigned i = 0; i < 1000 && raft_role(cluster_raft(cluster, id)) != RAFT_LEADER; i++) {
        uint32_t other = i % cluster->n_servers + 1;
        if (!cluster_sync(cluster, other) && cluster->n_packets > 0) {
            cluster_deliver(cluster, 0);
        }
    }
    assert_int_equal(raft_role(cluster_raft(cluster, id)), RAFT_LEADER);
}

enum change { ADD, REMOVE };

// The counter-examples of 2015 (two changes by two leaders whose quorums do not meet): 1 leads {1,2,3,4} and makes a change that only it
// has; 2 is elected by 3 and 4 and wants another one. It has to commit an entry of its term first, and that ends 1's chance.
static void run_counter_example(enum change first, enum change second)
{
    static struct cluster cluster;
    start(&cluster, 4, 2, 0);
    assert_true(cluster_run_until_settled(&cluster, 10 * ELECTION_US));
    cluster_run(&cluster, 5 * HEARTBEAT_US);
    uint32_t one = cluster_leader(&cluster);
    assert_int_equal(one, 1);
    cluster_isolate(&cluster, 1);
    struct raft_membership next = first == ADD ? with(members(&cluster, 1), 5, true) : without(members(&cluster, 1), 2);
    assert_int_equal(cluster_propose_membership(&cluster, 1, &next), CC_OK);
    cluster_settle(&cluster);

    elect_but_do_not_settle(&cluster, 2);
    next = second == ADD ? with(members(&cluster, 2), 6, true) : without(members(&cluster, 2), 1);
    assert_int_equal(cluster_propose_membership(&cluster, 2, &next), CC_UNAVAILABLE);
    cluster_settle(&cluster);
    assert_true(raft_is_settled(cluster_raft(&cluster, 2)));
    cluster_run(&cluster, 2 * HEARTBEAT_US);
    assert_int_equal(cluster_propose_membership(&cluster, 2, &next), CC_OK);
    cluster_settle(&cluster);
    uint64_t committed = raft_commit(cluster_raft(&cluster, 2));
    assert_int_equal(committed, raft_last_index(cluster_raft(&cluster, 2)));

    cluster_heal(&cluster); // 1 and its new member cannot win
    cluster_run(&cluster, 20 * ELECTION_US);
    assert_string_equal(cluster.violation, "");
    if (second == ADD) { // A10: what 1 had made is gone again
        assert_false(is_voter(&cluster, 1, 5));
        assert_true(is_voter(&cluster, 1, 2));
        assert_true(is_voter(&cluster, 1, 6));
    }
    cluster_finish(&cluster);
}

static void no_change_is_made_before_an_entry_of_the_own_term_is_committed(void **state)
{
    (void)state;
    run_counter_example(ADD, ADD);
    run_counter_example(ADD, REMOVE);
    run_counter_example(REMOVE, REMOVE);
    run_counter_example(REMOVE, ADD);
}

static void the_newest_membership_in_the_log_is_in_force_at_once_and_rolled_back_with_it(void **state)
{
    (void)state;
    static struct cluster cluster;
    start(&cluster, 3, 0, 0);
    assert_true(cluster_run_until_settled(&cluster, 10 * ELECTION_US));
    cluster_isolate(&cluster, 1);
    struct raft_membership next = without(members(&cluster, 1), 3);
    assert_int_equal(cluster_propose_membership(&cluster, 1, &next), CC_OK);
    assert_int_equal(members(&cluster, 1)->n_members, 2);
    cluster_settle(&cluster);
    cluster_crash(&cluster, 1); // it is on disk
    cluster_restart(&cluster, 1, 5);
    assert_int_equal(members(&cluster, 1)->n_members, 2);
    cluster_run(&cluster, 5 * ELECTION_US);
    cluster_heal(&cluster);
    cluster_run(&cluster, 5 * ELECTION_US);
    assert_int_equal(members(&cluster, 1)->n_members, 3);
    cluster_crash(&cluster, 1);
    cluster_restart(&cluster, 1, 6);
    assert_int_equal(members(&cluster, 1)->n_members, 3);
    cluster_run(&cluster, 5 * ELECTION_US);
    assert_string_equal(cluster.violation, "");
    cluster_finish(&cluster);
}

static void changes_of_more_than_one_member_or_without_sense_are_refused(void **state)
{
    (void)state;
    static struct cluster cluster;
    start(&cluster, 3, 1, 1);
    assert_true(cluster_run_until_settled(&cluster, 10 * ELECTION_US));
    cluster_run(&cluster, 5 * HEARTBEAT_US);
    uint32_t leader = cluster_leader(&cluster);
    struct raft_membership now = *members(&cluster, leader);
    assert_int_equal(cluster_propose_membership(&cluster, leader, &now), CC_INVALID); // none
    struct raft_membership next = without(&now, 3);
    next = without(&next, 2);
    assert_int_equal(cluster_propose_membership(&cluster, leader, &next), CC_INVALID); // two
    next = with(&now, 4, true);
    next = with(&next, 3, false);
    assert_int_equal(cluster_propose_membership(&cluster, leader, &next), CC_INVALID);
    next = with(&now, 5, true); // a new one as a voter
    assert_int_equal(cluster_propose_membership(&cluster, leader, &next), CC_INVALID);
    uint64_t index = 0;
    struct cc_blob *nonsense = cc_blob_create("nonsense", 8);
    assert_int_equal(cluster_propose_blob(&cluster, leader, RAFT_ENTRY_CONFIG, nonsense, &index), CC_INVALID);
    cc_blob_unref(nonsense);
    next = with(&now, 4, true); // one
    assert_int_equal(cluster_propose_membership(&cluster, leader, &next), CC_OK);
    cluster_finish(&cluster);
}

static struct raft_options options_of(uint32_t n_members)
{
    struct raft_options options = {.id = 1, .election_us = ELECTION_US, .heartbeat_us = HEARTBEAT_US, .seed = 1};
    for (uint32_t i = 0; i < n_members; i++) {
        options.membership = with(&options.membership, i + 1, true);
    }
    return options;
}

// A log is cut and its replica started again, with a configuration file that says something else.
static void a_restored_membership_counts_and_not_what_the_options_or_older_entries_say(void **state)
{
    (void)state;
    struct raft_options options = options_of(5);
    struct raft *raft = raft_create(&options, (struct raft_hard_state){.term = 2});
    struct raft_options three = options_of(3), four = options_of(4);
    raft_restore_membership(raft, 8, &three.membership);
    raft_restore_base(raft, 6, 1);
    struct cc_buffer payload = {0};
    raft_membership_put(&payload, &four.membership);
    struct cc_blob *blob = cc_blob_create(payload.data, payload.n);
    for (uint64_t index = 7; index <= 9; index++) {
        struct raft_entry entry = {.index = index, .term = 2, .kind = index == 7 ? RAFT_ENTRY_CONFIG : RAFT_ENTRY_DATA, .payload = blob};
        assert_int_equal(raft_restore_entry(raft, &entry), CC_OK);
    }
    assert_int_equal(raft_membership(raft)->n_members, 3);
    raft_restore_commit(raft, 0);
    assert_int_equal(raft_commit(raft), 8);
    struct raft_entry entry = {.index = 10, .term = 2, .kind = RAFT_ENTRY_CONFIG, .payload = blob};
    assert_int_equal(raft_restore_entry(raft, &entry), CC_OK);
    assert_int_equal(raft_membership(raft)->n_members, 4);
    assert_int_equal(raft_membership_index(raft), 10);
    uint64_t index;
    assert_int_equal(raft_membership_committed(raft, &index)->n_members, 3);
    assert_int_equal(index, 8);
    cc_blob_unref(blob);
    cc_buffer_finish(&payload);
    raft_destroy(raft);
}

static void a_learner_that_has_not_heard_that_it_is_one_is_not_promoted(void **state)
{
    (void)state;
    static struct cluster cluster;
    start(&cluster, 1, 0, 1);
    assert_true(cluster_run_until_settled(&cluster, 10 * ELECTION_US));
    cluster_isolate(&cluster, 2);
    struct raft_membership next = with(members(&cluster, 1), 2, false);
    assert_int_equal(cluster_propose_membership(&cluster, 1, &next), CC_OK);
    cluster_settle(&cluster);
    next = with(members(&cluster, 1), 2, true);
    assert_int_equal(cluster_propose_membership(&cluster, 1, &next), CC_UNAVAILABLE);
    cluster_heal(&cluster);
    cluster_run(&cluster, 5 * HEARTBEAT_US);
    assert_int_equal(cluster_propose_membership(&cluster, 1, &next), CC_OK);
    // The leader crashes before the other one has the promotion: it needs, and gets, the vote of one that takes itself for a learner.
    while (cluster_sync(&cluster, 1)) {
    }
    while (cluster.n_packets > 0) {
        cluster_drop(&cluster, 0);
    }
    cluster_crash(&cluster, 1);
    cluster_restart(&cluster, 1, 3);
    assert_true(cluster_run_until_settled(&cluster, 10 * ELECTION_US));
    cluster_run(&cluster, 5 * HEARTBEAT_US);
    assert_true(is_voter(&cluster, 2, 2));
    assert_string_equal(cluster.violation, "");
    cluster_finish(&cluster);
}

// Thesis 4.2.2, figure 4.6: 1 removed itself, the entry is on its disk only; without it nobody could lead.
static void a_leader_that_removed_itself_and_crashed_finishes_what_it_began(void **state)
{
    (void)state;
    static struct cluster cluster;
    start(&cluster, 2, 0, 0);
    assert_true(cluster_run_until_settled(&cluster, 10 * ELECTION_US));
    cluster_run(&cluster, 5 * HEARTBEAT_US);
    assert_int_equal(cluster_leader(&cluster), 1);
    cluster_isolate(&cluster, 1);
    struct raft_membership next = without(members(&cluster, 1), 1);
    assert_int_equal(cluster_propose_membership(&cluster, 1, &next), CC_OK);
    cluster_settle(&cluster);
    cluster_crash(&cluster, 1);
    cluster_heal(&cluster);
    cluster_restart(&cluster, 1, 3);
    cluster_run(&cluster, 20 * ELECTION_US);
    assert_string_equal(cluster.violation, "");
    assert_int_equal(cluster_leader(&cluster), 2);
    assert_true(raft_is_settled(cluster_raft(&cluster, 2)));
    assert_int_equal(members(&cluster, 2)->n_members, 1);
    cluster_finish(&cluster);
}

// FAILURES A11.
static void a_server_that_was_removed_while_it_was_cut_off_does_not_disturb_the_others(void **state)
{
    (void)state;
    static struct cluster cluster;
    start(&cluster, 3, 0, 0);
    assert_true(cluster_run_until_settled(&cluster, 10 * ELECTION_US));
    cluster_run(&cluster, 5 * HEARTBEAT_US);
    cluster_isolate(&cluster, 3);
    struct raft_membership next = without(members(&cluster, 1), 3);
    assert_int_equal(cluster_propose_membership(&cluster, 1, &next), CC_OK);
    cluster_run(&cluster, 5 * ELECTION_US);
    cluster_heal(&cluster);
    uint64_t term = raft_term(cluster_raft(&cluster, 1));
    cluster_run(&cluster, 60 * ELECTION_US);
    assert_int_equal(cluster_leader(&cluster), 1);
    assert_int_equal(raft_term(cluster_raft(&cluster, 1)), term);
    cluster_finish(&cluster);
}

static void an_ineligible_leader_tries_another_target_when_the_first_does_not_take_over(void **state)
{
    (void)state;
    static struct cluster cluster;
    start(&cluster, 3, 0, 0);
    assert_true(cluster_run_until_settled(&cluster, 10 * ELECTION_US));
    cluster_run(&cluster, 5 * HEARTBEAT_US);
    for (uint32_t id = 1; id <= 2; id++) {
        raft_set_eligible(cluster_raft(&cluster, id), cluster.now_us, false);
        cluster_pump(&cluster, id);
    }
    cluster_run(&cluster, 5 * ELECTION_US);
    assert_int_equal(cluster_leader(&cluster), 3);
    cluster_finish(&cluster);
}

static void a_snapshot_at_or_below_the_commit_index_is_ignored_and_a_newer_one_replaces_the_log(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 3}, (uint64_t[]){1, 1, 2, 2}, 4);
    fixture_receive(&fixture,
                    (struct raft_message){.kind = RAFT_APPEND, .from = 2, .term = 3, .log_index = 2, .log_term = 1, .commit = 2});
    struct raft_membership membership = fixture_options(3).membership;
    raft_install_snapshot(fixture.raft, 0, 2, 1, &membership);
    assert_int_equal(raft_first_index(fixture.raft), 1);
    raft_install_snapshot(fixture.raft, 0, 3, 2, &membership); // agrees with the log: what follows stays
    assert_int_equal(raft_first_index(fixture.raft), 4);
    assert_int_equal(raft_last_index(fixture.raft), 4);
    fixture_pump(&fixture);
    membership.n_members = 2;
    raft_install_snapshot(fixture.raft, 0, 4, 3, &membership); // another entry 4 is right
    fixture_pump(&fixture);
    assert_int_equal(raft_last_index(fixture.raft), 4);
    assert_int_equal(raft_term_at(fixture.raft, 4), 3);
    assert_int_equal(raft_commit(fixture.raft), 4);
    assert_int_equal(raft_membership(fixture.raft)->n_members, 2);
    assert_int_equal(fixture_sent(&fixture, RAFT_SNAPSHOT_REPLY, 2)->log_index, 4);
    raft_destroy(fixture.raft);
}

static void what_follows_a_snapshot_that_replaced_the_log_is_acknowledged_when_it_is_on_disk(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 2}, (uint64_t[]){1, 1, 1}, 3);
    struct raft_membership membership = fixture_options(3).membership;
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_APPEND, .from = 2, .term = 2, .log_index = 2, .log_term = 2, .commit = 2});
    raft_install_snapshot(fixture.raft, 0, 2, 2, &membership); // another entry 2 is right, and 3 goes with it
    fixture_pump(&fixture);
    fixture.persist = false;
    struct raft_entry entry = {.index = 3, .term = 2, .kind = RAFT_ENTRY_DATA};
    fixture_receive(&fixture, (struct raft_message){
                                  .kind = RAFT_APPEND, .from = 2, .term = 2, .log_index = 2, .log_term = 2, .commit = 2, .entries = &entry, .n_entries = 1});
    assert_int_equal(raft_last_index(fixture.raft), 3);
    assert_null(fixture_sent(&fixture, RAFT_APPEND_REPLY, 2));
    raft_persisted(fixture.raft, 0, fixture.persist_number);
    fixture_pump(&fixture);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND_REPLY, 2)->log_index, 3);
    raft_destroy(fixture.raft);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_change_is_made_before_an_entry_of_the_own_term_is_committed),
        cmocka_unit_test(the_newest_membership_in_the_log_is_in_force_at_once_and_rolled_back_with_it),
        cmocka_unit_test(changes_of_more_than_one_member_or_without_sense_are_refused),
        cmocka_unit_test(a_restored_membership_counts_and_not_what_the_options_or_older_entries_say),
        cmocka_unit_test(a_learner_that_has_not_heard_that_it_is_one_is_not_promoted),
        cmocka_unit_test(a_leader_that_removed_itself_and_crashed_finishes_what_it_began),
        cmocka_unit_test(a_server_that_was_removed_while_it_was_cut_off_does_not_disturb_the_others),
        cmocka_unit_test(an_ineligible_leader_tries_another_target_when_the_first_does_not_take_over),
        cmocka_unit_test(a_snapshot_at_or_below_the_commit_index_is_ignored_and_a_newer_one_replaces_the_log),
        cmocka_unit_test(what_follows_a_snapshot_that_replaced_the_log_is_acknowledged_when_it_is_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
