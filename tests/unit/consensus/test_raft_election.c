// Elections: pre-vote, votes, terms, check-quorum, stickiness, durability of votes.
#include "raft_fixture.h"

#include "scenario/raft_cluster.h"

static const struct raft_hard_state fresh;

// -- Campaigns ------------------------------------------------------------------------------------------------------

static void a_follower_that_hears_no_leader_asks_for_pre_votes_and_raises_no_term(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 4}, (uint64_t[]){1, 4}, 2);
    fixture_tick(&fixture, FIXTURE_ELECTION_US - 1);
    assert_int_equal(fixture.n_sent, 0);
    fixture_tick(&fixture, FIXTURE_ELECTION_US);
    const struct raft_message *asked = fixture_sent(&fixture, RAFT_PRE_VOTE, 2);
    assert_non_null(asked);
    assert_int_equal(asked->term, 5);
    assert_int_equal(asked->log_index, 2);
    assert_int_equal(asked->log_term, 4);
    assert_non_null(fixture_sent(&fixture, RAFT_PRE_VOTE, 3));
    assert_int_equal(raft_term(fixture.raft), 4);
    assert_int_equal(fixture.persist_number, 0);
    raft_destroy(fixture.raft);
}

static void election_timeouts_lie_between_one_and_two_minimum_timeouts_in_the_order_of_ranks(void **state)
{
    (void)state;
    uint64_t latest_of_lower_rank = FIXTURE_ELECTION_US;
    for (uint32_t rank = 0; rank < 3; rank++) {
        uint64_t least = UINT64_MAX;
        uint64_t most = 0;
        for (uint64_t seed = 1; seed <= 500; seed++) {
            struct raft_options options = fixture_options(3);
            options.seed = seed;
            options.rank = rank;
            struct raft *raft = raft_create(&options, fresh);
            raft_tick(raft, 0);
            uint64_t timeout_us = raft_next_tick_us(raft);
            least = timeout_us < least ? timeout_us : least;
            most = timeout_us > most ? timeout_us : most;
            raft_destroy(raft);
        }
        assert_true(least >= latest_of_lower_rank);
        assert_true(most <= 2 * FIXTURE_ELECTION_US);
        assert_true(most - least > FIXTURE_ELECTION_US / 4); // and they differ
        latest_of_lower_rank = most;
    }
}

static void a_vote_that_is_spent_goes_to_nobody_in_that_term_or_before(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, fresh, NULL, 0);
    assert_false(raft_spend_vote(fixture.raft, 4)); // not on disk yet
    assert_int_equal(raft_term(fixture.raft), 4);
    fixture_pump(&fixture);
    assert_true(raft_spend_vote(fixture.raft, 4));
    for (uint64_t term = 3; term <= 5; term++) {
        fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 2, .term = term, .transfer = true});
        const struct raft_message *reply = fixture_sent(&fixture, RAFT_VOTE_REPLY, 2);
        assert_true(term == 5 ? reply != NULL && !reply->reject : reply == NULL || reply->reject);
    }
    assert_true(raft_spend_vote(fixture.raft, 4)); // of the past by now
    assert_int_equal(raft_term(fixture.raft), 5);
    raft_destroy(fixture.raft);
}

static void a_candidate_that_a_majority_refuses_is_a_follower_again(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(5, fresh, NULL, 0);
    fixture_tick(&fixture, 2 * FIXTURE_ELECTION_US);
    fixture_grant(&fixture, RAFT_PRE_VOTE_REPLY, 2, 1);
    fixture_grant(&fixture, RAFT_PRE_VOTE_REPLY, 3, 1);
    assert_int_equal(raft_role(fixture.raft), RAFT_CANDIDATE);
    for (uint32_t id = 2; id <= 4; id++) {
        assert_int_equal(raft_role(fixture.raft), RAFT_CANDIDATE);
        fixture_receive(&fixture,
                        (struct raft_message){.kind = RAFT_VOTE_REPLY, .from = id, .term = 1, .reject = true});
    }
    assert_int_equal(raft_role(fixture.raft), RAFT_FOLLOWER);
    raft_destroy(fixture.raft);
}

static void votes_of_one_server_count_once_and_those_of_strangers_never(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(5, fresh, NULL, 0);
    fixture_tick(&fixture, 2 * FIXTURE_ELECTION_US);
    for (unsigned i = 0; i < 5; i++) {
        fixture_grant(&fixture, RAFT_PRE_VOTE_REPLY, 2, 1);
        fixture_grant(&fixture, RAFT_PRE_VOTE_REPLY, 6 + i, 1);
    }
    assert_int_equal(raft_role(fixture.raft), RAFT_PRE_CANDIDATE);
    raft_destroy(fixture.raft);
}

static void a_candidate_follows_a_leader_of_its_own_term(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, fresh, NULL, 0);
    fixture_tick(&fixture, 2 * FIXTURE_ELECTION_US);
    fixture_grant(&fixture, RAFT_PRE_VOTE_REPLY, 2, 1);
    assert_int_equal(raft_role(fixture.raft), RAFT_CANDIDATE);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 3, .term = 1, .context = 1});
    assert_int_equal(raft_role(fixture.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_leader(fixture.raft), 3);
    raft_destroy(fixture.raft);
}

static void a_server_that_is_not_eligible_votes_but_does_not_campaign(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, fresh, NULL, 0);
    raft_set_eligible(fixture.raft, 0, false);
    for (unsigned i = 0; i < 20; i++) {
        fixture_tick(&fixture, FIXTURE_ELECTION_US);
        assert_int_equal(fixture.n_sent, 0);
        assert_true(raft_next_tick_us(fixture.raft) > fixture.now_us); // no busy loop
    }
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 2, .term = 1});
    assert_false(fixture_sent(&fixture, RAFT_VOTE_REPLY, 2)->reject);
    raft_destroy(fixture.raft);
}

static void who_stands_in_campaigns_when_nobody_leads_and_is_not_handed_the_office(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, fresh, NULL, 0);
    raft_set_eligible(fixture.raft, 0, false);
    raft_set_stand_in(fixture.raft, true);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 2, .term = 1});
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_TIMEOUT_NOW, .from = 2, .term = 1});
    assert_int_equal(raft_role(fixture.raft), RAFT_FOLLOWER);
    fixture_tick(&fixture, 2 * FIXTURE_ELECTION_US);
    assert_int_equal(raft_role(fixture.raft), RAFT_PRE_CANDIDATE);
    raft_destroy(fixture.raft);
}

// -- Voting ---------------------------------------------------------------------------------------------------------

struct vote_case {
    uint64_t last_term, last_index; // of the candidate; the voter has (3, 2), (3 entries of terms 1, 2, 2)
    bool granted;
};

static void votes_go_only_to_candidates_whose_log_is_at_least_as_up_to_date(void **state)
{
    (void)state;
    static const struct vote_case cases[] = {
        {2, 3, true},    {2, 4, true},  {3, 1, true},  {3, 3, true}, // later term wins with a shorter log
        {2, 2, false},   {1, 3, false}, {1, 9, false}, {0, 0, false},
        {1, 900, false}, // a longer log of an older term loses
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int kind = RAFT_PRE_VOTE; kind <= RAFT_VOTE; kind += RAFT_VOTE - RAFT_PRE_VOTE) {
            struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 3}, (uint64_t[]){1, 2, 2}, 3);
            fixture_receive(&fixture, (struct raft_message){.kind = (enum raft_message_kind)kind,
                                                            .from = 2,
                                                            .term = 4,
                                                            .log_index = cases[i].last_index,
                                                            .log_term = cases[i].last_term});
            const struct raft_message *reply = fixture_sent(&fixture, (enum raft_message_kind)(kind + 1), 2);
            assert_int_equal(reply->reject, !cases[i].granted);
            raft_destroy(fixture.raft);
        }
    }
}

static void each_server_votes_for_at_most_one_candidate_in_a_term_first_come_first_served(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, fresh, NULL, 0);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 3, .term = 7});
    assert_false(fixture_sent(&fixture, RAFT_VOTE_REPLY, 3)->reject);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 2, .term = 7});
    assert_true(fixture_sent(&fixture, RAFT_VOTE_REPLY, 2)->reject);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 3, .term = 7}); // asked again
    assert_false(fixture_sent(&fixture, RAFT_VOTE_REPLY, 3)->reject);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 2, .term = 8});
    assert_false(fixture_sent(&fixture, RAFT_VOTE_REPLY, 2)->reject);
    raft_destroy(fixture.raft);
}

static void a_vote_leaves_only_when_it_is_durable(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, fresh, NULL, 0);
    fixture.persist = false;
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 2, .term = 1});
    assert_int_equal(fixture.n_sent, 0);
    assert_true(fixture.persist_number > 0);
    // Neither does anything else that tells of the new term.
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 3, .term = 1});
    assert_int_equal(fixture.n_sent, 0);
    raft_persisted(fixture.raft, 0, fixture.persist_number);
    fixture_pump(&fixture);
    assert_false(fixture_sent(&fixture, RAFT_VOTE_REPLY, 2)->reject);
    assert_true(fixture_sent(&fixture, RAFT_VOTE_REPLY, 3)->reject);
    raft_destroy(fixture.raft);
}

static void a_vote_that_is_on_disk_binds_after_a_crash(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 1, .vote = 2}, NULL, 0);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 3, .term = 1});
    assert_true(fixture_sent(&fixture, RAFT_VOTE_REPLY, 3)->reject);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_VOTE, .from = 2, .term = 1});
    assert_false(fixture_sent(&fixture, RAFT_VOTE_REPLY, 2)->reject);
    raft_destroy(fixture.raft);
}

static void the_own_vote_counts_only_when_it_is_durable(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(1, fresh, NULL, 0); // its own vote is the majority
    fixture.persist = false;
    fixture_tick(&fixture, 2 * FIXTURE_ELECTION_US);
    assert_int_equal(raft_role(fixture.raft), RAFT_CANDIDATE);
    raft_persisted(fixture.raft, fixture.now_us, fixture.persist_number);
    assert_int_equal(raft_role(fixture.raft), RAFT_LEADER);
    fixture_pump(&fixture);
    assert_int_equal(raft_commit(fixture.raft), 0);
    raft_persisted(fixture.raft, fixture.now_us, fixture.persist_number);
    assert_int_equal(raft_commit(fixture.raft), 1);
    raft_destroy(fixture.raft);
}

static void a_server_that_its_log_does_not_mention_does_not_vote(void **state)
{
    (void)state;
    struct raft_options options = fixture_options(3);
    options.id = 4; // lost its disk, or joins
    struct fixture fixture = {.raft = raft_create(&options, fresh), .persist = true};
    struct raft_message request = {.kind = RAFT_VOTE, .from = 2, .to = 4, .term = 1};
    raft_receive(fixture.raft, 0, &request);
    fixture_pump(&fixture);
    assert_true(fixture_sent(&fixture, RAFT_VOTE_REPLY, 2)->reject);
    assert_int_equal(raft_role(fixture.raft), RAFT_LEARNER);
    fixture_tick(&fixture, 10 * FIXTURE_ELECTION_US);
    assert_null(fixture_sent(&fixture, RAFT_PRE_VOTE, 0));
    raft_destroy(fixture.raft);
}

// -- Stickiness and terms -------------------------------------------------------------------------------------------

static struct fixture make_follower_of_2(void)
{
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 5}, (uint64_t[]){5}, 1);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 2, .term = 5, .context = 1});
    assert_int_equal(raft_leader(fixture.raft), 2);
    return fixture;
}

static void a_vote_requested_while_a_leader_is_heard_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture = make_follower_of_2();
    fixture.now_us += FIXTURE_ELECTION_US - 1;
    fixture_receive(&fixture,
                    (struct raft_message){.kind = RAFT_VOTE, .from = 3, .term = 6, .log_index = 9, .log_term = 5});
    assert_int_equal(raft_term(fixture.raft), 5);
    assert_null(fixture_sent(&fixture, RAFT_VOTE_REPLY, 3));
    fixture_receive(&fixture,
                    (struct raft_message){.kind = RAFT_PRE_VOTE, .from = 3, .term = 6, .log_index = 9, .log_term = 5});
    assert_true(fixture_sent(&fixture, RAFT_PRE_VOTE_REPLY, 3)->reject);
    fixture.now_us += 1; // a minimum election timeout after the leader was heard
    fixture_receive(&fixture,
                    (struct raft_message){.kind = RAFT_VOTE, .from = 3, .term = 6, .log_index = 9, .log_term = 5});
    assert_false(fixture_sent(&fixture, RAFT_VOTE_REPLY, 3)->reject);
    raft_destroy(fixture.raft);
}

static void an_election_that_the_leader_asked_for_is_exempt_in_the_next_term_only(void **state)
{
    (void)state;
    struct fixture fixture = make_follower_of_2();
    struct raft_message request = {
        .kind = RAFT_VOTE, .from = 3, .term = 7, .log_index = 9, .log_term = 5, .transfer = true};
    fixture_receive(&fixture, request);
    assert_int_equal(raft_term(fixture.raft), 5);
    request.term = 6;
    fixture_receive(&fixture, request);
    assert_false(fixture_sent(&fixture, RAFT_VOTE_REPLY, 3)->reject);
    raft_destroy(fixture.raft);
}

static void a_lost_connection_to_the_leader_brings_an_election_forward_and_one_to_another_does_not(void **state)
{
    (void)state;
    struct fixture fixture = make_follower_of_2();
    fixture.now_us = 10 * FIXTURE_ELECTION_US;
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 2, .term = 5, .context = 2});
    uint64_t before_us = raft_next_tick_us(fixture.raft);
    raft_peer_lost(fixture.raft, fixture.now_us, 3);
    assert_int_equal(raft_next_tick_us(fixture.raft), before_us);
    raft_peer_lost(fixture.raft, fixture.now_us, 2);
    fixture_tick(&fixture, fixture.now_us + FIXTURE_HEARTBEAT_US);
    assert_non_null(fixture_sent(&fixture, RAFT_PRE_VOTE, 3));
    assert_int_equal(raft_term(fixture.raft), 5);
    raft_destroy(fixture.raft);
}

static void a_leader_whose_connection_is_lost_is_as_good_as_not_heard_until_it_is_heard_again(void **state)
{
    (void)state;
    struct fixture fixture = make_follower_of_2();
    struct raft_message asked = {.kind = RAFT_PRE_VOTE, .from = 3, .term = 6, .log_index = 9, .log_term = 9};
    fixture.now_us = 10 * FIXTURE_ELECTION_US;
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 2, .term = 5, .context = 2});
    fixture_receive(&fixture, asked);
    assert_true(fixture_sent(&fixture, RAFT_PRE_VOTE_REPLY, 3)->reject);
    raft_peer_lost(fixture.raft, fixture.now_us, 2);
    fixture_receive(&fixture, asked);
    assert_false(fixture_sent(&fixture, RAFT_PRE_VOTE_REPLY, 3)->reject);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 2, .term = 5, .context = 2});
    fixture_receive(&fixture, asked);
    assert_true(fixture_sent(&fixture, RAFT_PRE_VOTE_REPLY, 3)->reject);
    raft_destroy(fixture.raft);
}

static void a_leader_refuses_pre_votes_while_it_has_its_quorum(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, fresh, NULL, 0);
    fixture_receive(&fixture,
                    (struct raft_message){.kind = RAFT_PRE_VOTE, .from = 3, .term = 2, .log_index = 9, .log_term = 9});
    assert_true(fixture_sent(&fixture, RAFT_PRE_VOTE_REPLY, 3)->reject);
    assert_int_equal(raft_role(fixture.raft), RAFT_LEADER);
    raft_destroy(fixture.raft);
}

static void a_refused_pre_vote_with_a_higher_term_makes_the_asker_adopt_it(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, fresh, NULL, 0);
    fixture_tick(&fixture, 2 * FIXTURE_ELECTION_US);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_PRE_VOTE_REPLY, .from = 2, .term = 9, .reject = true});
    assert_int_equal(raft_term(fixture.raft), 9);
    assert_int_equal(raft_role(fixture.raft), RAFT_FOLLOWER);
    raft_destroy(fixture.raft);
}

static void a_leader_of_an_older_term_is_told_so_and_steps_down(void **state)
{
    (void)state;
    struct fixture fixture = make_follower_of_2();
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 3, .term = 4, .context = 1});
    const struct raft_message *reply = fixture_sent(&fixture, RAFT_APPEND_REPLY, 3);
    assert_true(reply->reject);
    assert_int_equal(reply->term, 5);
    assert_int_equal(raft_leader(fixture.raft), 2);
    raft_destroy(fixture.raft);
    struct fixture leader = fixture_leader(3, fresh, NULL, 0);
    fixture_receive(&leader, *reply);
    assert_int_equal(raft_role(leader.raft), RAFT_LEADER); // not for it: from itself
    fixture_receive(&leader, (struct raft_message){.kind = RAFT_APPEND_REPLY, .from = 3, .term = 5, .reject = true});
    assert_int_equal(raft_role(leader.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_term(leader.raft), 5);
    raft_destroy(leader.raft);
}

static void a_term_that_is_absurdly_far_ahead_is_ignored(void **state)
{
    (void)state;
    struct fixture fixture = make_follower_of_2();
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_APPEND, .from = 3, .term = UINT64_MAX});
    assert_int_equal(raft_term(fixture.raft), 5);
    raft_destroy(fixture.raft);
}

static void a_leader_steps_down_when_no_majority_answered_for_an_election_timeout(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(5, fresh, NULL, 0);
    for (unsigned i = 0; i < 30; i++) { // two of four answer: with itself a majority
        fixture_tick(&fixture, FIXTURE_HEARTBEAT_US);
        fixture_receive(&fixture,
                        (struct raft_message){.kind = RAFT_HEARTBEAT_REPLY, .from = 2, .term = 1, .context = 1});
        fixture_receive(&fixture,
                        (struct raft_message){.kind = RAFT_HEARTBEAT_REPLY, .from = 3, .term = 1, .context = 1});
        assert_int_equal(raft_role(fixture.raft), RAFT_LEADER);
    }
    for (unsigned i = 0; i < 10; i++) { // one is not enough
        fixture_tick(&fixture, FIXTURE_HEARTBEAT_US);
        fixture_receive(&fixture,
                        (struct raft_message){.kind = RAFT_HEARTBEAT_REPLY, .from = 2, .term = 1, .context = 1});
        assert_int_equal(raft_role(fixture.raft), RAFT_LEADER);
    }
    fixture_tick(&fixture, 1);
    assert_int_equal(raft_role(fixture.raft), RAFT_FOLLOWER);
    assert_int_equal(raft_leader(fixture.raft), 0); // and remembers no leader (etcd 9586)
    raft_destroy(fixture.raft);
}

// -- Whole clusters -------------------------------------------------------------------------------------------------

// etcd 8243: one with a higher term, a shorter log and pre-vote must not be stuck outside.
static void a_server_with_a_higher_term_and_a_shorter_log_finds_back(void **state)
{
    (void)state;
    static struct cluster cluster;
    cluster_start(&cluster,
                  &(struct cluster_options){.n_voters = 3, .election_us = 1000, .heartbeat_us = 100, .seed = 1});
    cluster_crash(&cluster, 3);
    assert_true(cluster_run_until_settled(&cluster, 10000));
    uint64_t index = 0;
    assert_int_equal(cluster_propose(&cluster, cluster_leader(&cluster), "a", &index), CC_OK);
    cluster_run(&cluster, 1000);
    cluster_server(&cluster, 3)->hard_state = (struct raft_hard_state){.term = 50, .vote = 3};
    cluster_restart(&cluster, 3, 7);
    cluster_run(&cluster, 20000);
    assert_string_equal(cluster.violation, "");
    uint32_t leader = cluster_leader(&cluster);
    assert_true(leader == 1 || leader == 2);
    assert_true(raft_term(cluster_raft(&cluster, leader)) > 50);
    assert_int_equal(raft_commit(cluster_raft(&cluster, 3)), raft_last_index(cluster_raft(&cluster, leader)));
    cluster_finish(&cluster);
}

// etcd 8498 asked for the permutations: whatever came before, each surviving majority has a working leader in ten timeouts.
static void every_surviving_majority_elects_a_leader_whatever_came_before(void **state)
{
    (void)state;
    enum { NOTHING, TRANSFER, PARTITION, INELIGIBLE, BEFORES };
    static struct cluster cluster;
    for (int before = NOTHING; before < BEFORES; before++) {
        for (uint32_t dead = 1; dead <= 5; dead++) {
            for (uint32_t also_dead = dead; also_dead <= 5; also_dead++) {
                cluster_start(&cluster, &(struct cluster_options){
                                            .n_voters = 5, .election_us = 1000, .heartbeat_us = 100, .seed = 9});
                assert_true(cluster_run_until_settled(&cluster, 10000));
                uint32_t leader = cluster_leader(&cluster);
                if (before == TRANSFER) {
                    (void)!cluster_transfer(&cluster, leader, leader % 5 + 1);
                } else if (before == PARTITION) {
                    cluster_isolate(&cluster, leader);
                    cluster_run(&cluster, 1500);
                } else if (before == INELIGIBLE) {
                    raft_set_eligible(cluster_raft(&cluster, leader), cluster.now_us, false);
                    cluster_pump(&cluster, leader);
                }
                cluster_crash(&cluster, dead);
                cluster_crash(&cluster, also_dead);
                cluster_heal(&cluster);
                cluster_run(&cluster, 10000);
                assert_string_equal(cluster.violation, "");
                leader = cluster_leader(&cluster);
                assert_true(leader != 0 && raft_is_settled(cluster_raft(&cluster, leader)));
                cluster_finish(&cluster);
            }
        }
    }
}

// FAILURES A5: with any one path dead in one direction there is a leader, and it does not change any more.
static void a_path_that_is_dead_in_one_direction_does_not_unsettle_the_cluster(void **state)
{
    (void)state;
    static struct cluster cluster;
    for (uint32_t from = 1; from <= 3; from++) {
        for (uint32_t to = 1; to <= 3; to++) {
            cluster_start(&cluster, &(struct cluster_options){
                                        .n_voters = 3, .election_us = 1000, .heartbeat_us = 100, .seed = 5});
            assert_true(cluster_run_until_settled(&cluster, 10000));
            cluster.cut[from - 1][to - 1] = from != to;
            cluster_run(&cluster, 20000);
            uint32_t leader = cluster_leader(&cluster);
            assert_int_not_equal(leader, 0);
            uint64_t term = raft_term(cluster_raft(&cluster, leader));
            cluster_run(&cluster, 100000);
            assert_int_equal(cluster_leader(&cluster), leader);
            assert_int_equal(raft_term(cluster_raft(&cluster, leader)), term);
            assert_true(term <= 3);
            cluster_finish(&cluster);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_that_hears_no_leader_asks_for_pre_votes_and_raises_no_term),
        cmocka_unit_test(election_timeouts_lie_between_one_and_two_minimum_timeouts_in_the_order_of_ranks),
        cmocka_unit_test(a_vote_that_is_spent_goes_to_nobody_in_that_term_or_before),
        cmocka_unit_test(a_candidate_that_a_majority_refuses_is_a_follower_again),
        cmocka_unit_test(votes_of_one_server_count_once_and_those_of_strangers_never),
        cmocka_unit_test(a_candidate_follows_a_leader_of_its_own_term),
        cmocka_unit_test(a_server_that_is_not_eligible_votes_but_does_not_campaign),
        cmocka_unit_test(who_stands_in_campaigns_when_nobody_leads_and_is_not_handed_the_office),
        cmocka_unit_test(votes_go_only_to_candidates_whose_log_is_at_least_as_up_to_date),
        cmocka_unit_test(each_server_votes_for_at_most_one_candidate_in_a_term_first_come_first_served),
        cmocka_unit_test(a_vote_leaves_only_when_it_is_durable),
        cmocka_unit_test(a_vote_that_is_on_disk_binds_after_a_crash),
        cmocka_unit_test(the_own_vote_counts_only_when_it_is_durable),
        cmocka_unit_test(a_server_that_its_log_does_not_mention_does_not_vote),
        cmocka_unit_test(a_vote_requested_while_a_leader_is_heard_changes_nothing),
        cmocka_unit_test(an_election_that_the_leader_asked_for_is_exempt_in_the_next_term_only),
        cmocka_unit_test(a_lost_connection_to_the_leader_brings_an_election_forward_and_one_to_another_does_not),
        cmocka_unit_test(a_leader_whose_connection_is_lost_is_as_good_as_not_heard_until_it_is_heard_again),
        cmocka_unit_test(a_leader_refuses_pre_votes_while_it_has_its_quorum),
        cmocka_unit_test(a_refused_pre_vote_with_a_higher_term_makes_the_asker_adopt_it),
        cmocka_unit_test(a_leader_of_an_older_term_is_told_so_and_steps_down),
        cmocka_unit_test(a_term_that_is_absurdly_far_ahead_is_ignored),
        cmocka_unit_test(a_leader_steps_down_when_no_majority_answered_for_an_election_timeout),
        cmocka_unit_test(a_server_with_a_higher_term_and_a_shorter_log_finds_back),
        cmocka_unit_test(every_surviving_majority_elects_a_leader_whatever_came_before),
        cmocka_unit_test(a_path_that_is_dead_in_one_direction_does_not_unsettle_the_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
