// Read indexes: when they are given, and when they must not be.
#include "raft_fixture.h"

#include "base/limits.h"

static const struct raft_hard_state fresh;

static void round_ack(struct fixture *fixture, uint32_t from, uint64_t round)
{
    fixture_receive(
        fixture, (struct raft_message){
                     .kind = RAFT_HEARTBEAT_REPLY, .from = from, .term = raft_term(fixture->raft), .context = round});
}

static uint64_t ask(struct fixture *fixture, uint64_t context)
{
    raft_read(fixture->raft, fixture->now_us, context);
    fixture_pump(fixture);
    const struct raft_message *heartbeat = fixture_sent(fixture, RAFT_HEARTBEAT, 2);
    return heartbeat != NULL ? heartbeat->context : 0;
}

static struct fixture settled_leader(uint32_t n_voters)
{
    struct fixture fixture = fixture_leader(n_voters, fresh, NULL, 0);
    for (uint32_t id = 2; id <= n_voters; id++) {
        fixture_ack(&fixture, id, 1);
    }
    assert_true(raft_is_settled(fixture.raft));
    return fixture;
}

static void a_fresh_leader_answers_only_after_an_entry_of_its_term_is_committed(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, (struct raft_hard_state){.term = 4}, (uint64_t[]){1, 4}, 2);
    assert_int_equal(ask(&fixture, 11), 0); // no round yet
    round_ack(&fixture, 2, 1);
    round_ack(&fixture, 3, 1);
    assert_int_equal(fixture.n_reads, 0);
    fixture_ack(&fixture, 2, 3); // commits: the round begins
    const struct raft_message *heartbeat = fixture_sent(&fixture, RAFT_HEARTBEAT, 3);
    assert_non_null(heartbeat);
    round_ack(&fixture, 3, heartbeat->context);
    assert_int_equal(fixture.n_reads, 1);
    assert_int_equal(fixture.reads[0].context, 11);
    assert_int_equal(fixture.reads[0].index, 3); // everything of former leaders included
    raft_destroy(fixture.raft);
}

static void a_read_may_only_join_a_round_that_was_not_sent_yet(void **state)
{
    (void)state;
    struct fixture fixture = settled_leader(5);
    uint64_t first = ask(&fixture, 1);
    uint64_t second = ask(&fixture, 2);
    assert_true(second > first);
    round_ack(&fixture, 2, first);
    round_ack(&fixture, 3, first);
    assert_int_equal(fixture.n_reads, 1);
    assert_int_equal(fixture.reads[0].context, 1);
    round_ack(&fixture, 2, second);
    assert_int_equal(fixture.n_reads, 0);
    round_ack(&fixture, 2, second); // twice the same server is not a majority
    assert_int_equal(fixture.n_reads, 0);
    round_ack(&fixture, 4, second);
    assert_int_equal(fixture.n_reads, 1);
    assert_int_equal(fixture.reads[0].context, 2);
    raft_destroy(fixture.raft);
}

static void a_later_round_also_answers_the_earlier_ones(void **state)
{
    (void)state;
    struct fixture fixture = settled_leader(3);
    (void)ask(&fixture, 1);
    (void)ask(&fixture, 2);
    uint64_t third = ask(&fixture, 3);
    round_ack(&fixture, 3, third);
    assert_int_equal(fixture.n_reads, 3);
    raft_destroy(fixture.raft);
}

static void answers_to_rounds_that_were_never_sent_do_not_count(void **state)
{
    (void)state;
    struct fixture fixture = settled_leader(3);
    uint64_t round = ask(&fixture, 1);
    round_ack(&fixture, 2, round + 100);
    assert_int_equal(fixture.n_reads, 0);
    raft_destroy(fixture.raft);
}

static void a_deposed_leader_fails_all_reads_its_own_and_those_of_followers(void **state)
{
    (void)state;
    struct fixture fixture = settled_leader(3);
    (void)ask(&fixture, 1);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_READ, .from = 3, .term = 1, .context = 77});
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 2, .term = 2, .context = 1});
    assert_int_equal(fixture.n_reads, 1);
    assert_int_equal(fixture.reads[0].index, 0);
    const struct raft_message *reply = fixture_sent(&fixture, RAFT_READ_REPLY, 3);
    assert_true(reply->reject);
    assert_int_equal(reply->context, 77);
    raft_destroy(fixture.raft);
}

static void acknowledgements_of_an_older_term_do_not_confirm_a_round(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, (struct raft_hard_state){.term = 4}, (uint64_t[]){4}, 1);
    fixture_ack(&fixture, 2, 2);
    uint64_t round = ask(&fixture, 1);
    fixture_receive(&fixture,
                    (struct raft_message){.kind = RAFT_HEARTBEAT_REPLY, .from = 2, .term = 4, .context = round});
    assert_int_equal(fixture.n_reads, 0);
    raft_destroy(fixture.raft);
}

static struct fixture follower_of_2(uint64_t seed)
{
    struct raft_options options = fixture_options(3);
    options.seed = seed;
    struct fixture fixture = {.raft = raft_create(&options, (struct raft_hard_state){.term = 5}), .persist = true};
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 2, .term = 5, .context = 1});
    return fixture;
}

static void a_follower_asks_its_leader_once_for_all_reads_of_a_turn(void **state)
{
    (void)state;
    struct fixture fixture = follower_of_2(1);
    raft_read(fixture.raft, 0, 1);
    raft_read(fixture.raft, 0, 2);
    fixture_pump(&fixture);
    assert_int_equal(fixture_count(&fixture, RAFT_READ), 1);
    const struct raft_message *asked = fixture_sent(&fixture, RAFT_READ, 2);
    struct raft_message reply = {
        .kind = RAFT_READ_REPLY, .from = 2, .term = 5, .context = asked->context, .log_index = 9};
    fixture_receive(&fixture, reply);
    assert_int_equal(fixture.n_reads, 2);
    assert_int_equal(fixture.reads[1].context, 2);
    assert_int_equal(fixture.reads[1].index, 9);
    fixture_receive(&fixture, reply); // once more
    assert_int_equal(fixture.n_reads, 0);
    raft_destroy(fixture.raft);
}

// FAILURES A16: a reply to a request of an earlier life must not answer one of this life.
static void a_late_reply_to_a_former_life_of_the_follower_answers_nothing(void **state)
{
    (void)state;
    struct fixture before = follower_of_2(1);
    raft_read(before.raft, 0, 1);
    fixture_pump(&before);
    uint64_t old_context = fixture_sent(&before, RAFT_READ, 2)->context;
    raft_destroy(before.raft);
    struct fixture fixture = follower_of_2(2);
    raft_read(fixture.raft, 0, 1);
    fixture_pump(&fixture);
    fixture_receive(
        &fixture,
        (struct raft_message){.kind = RAFT_READ_REPLY, .from = 2, .term = 5, .context = old_context, .log_index = 3});
    assert_int_equal(fixture.n_reads, 0);
    raft_destroy(fixture.raft);
}

static void forwarded_reads_fail_when_the_leader_changes_is_lost_or_does_not_answer(void **state)
{
    (void)state;
    struct fixture fixture = follower_of_2(1);
    raft_read(fixture.raft, 0, 1);
    fixture_pump(&fixture);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 3, .term = 6, .context = 1});
    assert_int_equal(fixture.n_reads, 1);
    assert_int_equal(fixture.reads[0].index, 0);

    raft_read(fixture.raft, 0, 2);
    fixture_pump(&fixture);
    raft_peer_reset(fixture.raft, 0, 3);
    fixture_pump(&fixture);
    assert_int_equal(fixture.n_reads, 1);

    raft_read(fixture.raft, 0, 3);
    fixture_pump(&fixture);
    for (unsigned i = 0; i < 9; i++) {
        fixture_tick(&fixture, FIXTURE_HEARTBEAT_US);
        fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 3, .term = 6, .context = 1});
        assert_int_equal(fixture.n_reads, 0);
    }
    assert_true(raft_next_tick_us(fixture.raft) == FIXTURE_ELECTION_US);
    fixture_tick(&fixture, FIXTURE_HEARTBEAT_US);
    assert_int_equal(fixture.n_reads, 1);
    assert_int_equal(fixture.reads[0].index, 0);
    raft_destroy(fixture.raft);
}

static void without_a_leader_a_read_fails_at_once(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, fresh, NULL, 0);
    raft_read(fixture.raft, 0, 1);
    fixture_pump(&fixture);
    assert_int_equal(fixture.n_reads, 1);
    assert_int_equal(fixture.reads[0].index, 0);
    raft_destroy(fixture.raft);
}

static void a_single_server_answers_at_once(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(1, fresh, NULL, 0);
    fixture_tick(&fixture, 2 * FIXTURE_ELECTION_US);
    assert_true(raft_is_settled(fixture.raft));
    raft_read(fixture.raft, fixture.now_us, 1);
    fixture_pump(&fixture);
    assert_int_equal(fixture.n_reads, 1);
    assert_int_equal(fixture.reads[0].index, 1);
    raft_destroy(fixture.raft);
}

static void reads_above_the_limit_fail_and_the_others_do_not(void **state)
{
    (void)state;
    struct fixture fixture = follower_of_2(1);
    for (uint64_t i = 0; i < CC_READS_WAITING_MAX + 3; i++) {
        raft_read(fixture.raft, 0, i);
    }
    fixture_pump(&fixture);
    assert_int_equal(fixture.n_reads, 3);
    assert_int_equal(fixture.reads[0].context, CC_READS_WAITING_MAX);
    raft_destroy(fixture.raft);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_leader_answers_only_after_an_entry_of_its_term_is_committed),
        cmocka_unit_test(a_read_may_only_join_a_round_that_was_not_sent_yet),
        cmocka_unit_test(a_later_round_also_answers_the_earlier_ones),
        cmocka_unit_test(answers_to_rounds_that_were_never_sent_do_not_count),
        cmocka_unit_test(a_deposed_leader_fails_all_reads_its_own_and_those_of_followers),
        cmocka_unit_test(acknowledgements_of_an_older_term_do_not_confirm_a_round),
        cmocka_unit_test(a_follower_asks_its_leader_once_for_all_reads_of_a_turn),
        cmocka_unit_test(a_late_reply_to_a_former_life_of_the_follower_answers_nothing),
        cmocka_unit_test(forwarded_reads_fail_when_the_leader_changes_is_lost_or_does_not_answer),
        cmocka_unit_test(without_a_leader_a_read_fails_at_once),
        cmocka_unit_test(a_single_server_answers_at_once),
        cmocka_unit_test(reads_above_the_limit_fail_and_the_others_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
