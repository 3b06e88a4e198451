// Replication: appends, conflicts, back-up, flow control, the commit rule, durability of acknowledgements.
#include "raft_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "scenario/raft_cluster.h"

static const struct raft_hard_state fresh;

static struct raft_message append_of(uint32_t from, uint64_t term, uint64_t after, uint64_t after_term,
                                     const struct raft_entry *entries, size_t n)
{
    return (struct raft_message){.kind = RAFT_APPEND,
                                 .from = from,
                                 .term = term,
                                 .log_index = after,
                                 .log_term = after_term,
                                 .entries = entries,
                                 .n_entries = n};
}

// -- Follower -------------------------------------------------------------------------------------------------------

static void an_append_that_leaves_a_gap_is_refused_with_a_hint(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 4}, (uint64_t[]){1, 1, 4}, 3);
    fixture_receive(&fixture, append_of(2, 5, 9, 5, NULL, 0));
    const struct raft_message *reply = fixture_sent(&fixture, RAFT_APPEND_REPLY, 2);
    assert_true(reply->reject);
    assert_int_equal(reply->context, 9);
    assert_int_equal(reply->log_index, 3);
    assert_int_equal(reply->log_term, 4);
    // The entry before is of another term: everything of that term and above is skipped.
    fixture_receive(&fixture, append_of(2, 5, 3, 2, NULL, 0));
    reply = fixture_sent(&fixture, RAFT_APPEND_REPLY, 2);
    assert_true(reply->reject);
    assert_int_equal(reply->log_index, 2);
    assert_int_equal(reply->log_term, 1);
    assert_int_equal(raft_last_index(fixture.raft), 3);
    raft_destroy(fixture.raft);
}

static void an_entry_that_conflicts_is_deleted_with_all_that_follow_it(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 2}, (uint64_t[]){1, 1, 2, 2, 2}, 5);
    struct raft_entry entries[] = {{.index = 2, .term = 1, .kind = RAFT_ENTRY_DATA},
                                   {.index = 3, .term = 3, .kind = RAFT_ENTRY_DATA}};
    fixture_receive(&fixture, append_of(2, 3, 1, 1, entries, 2));
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND_REPLY, 2)->log_index, 3);
    assert_int_equal(raft_last_index(fixture.raft), 3);
    assert_int_equal(raft_term_at(fixture.raft, 3), 3);
    raft_destroy(fixture.raft);
}

// FAILURES A14: an old, shorter message that comes late.
static void a_message_that_is_merely_short_deletes_nothing(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 1}, (uint64_t[]){1, 1, 1, 1}, 4);
    struct raft_entry entry = {.index = 2, .term = 1, .kind = RAFT_ENTRY_DATA};
    fixture_receive(&fixture, append_of(2, 1, 1, 1, &entry, 1));
    assert_int_equal(raft_last_index(fixture.raft), 4);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND_REPLY, 2)->log_index, 2);
    fixture_receive(&fixture, append_of(2, 1, 0, 0, NULL, 0));
    assert_int_equal(raft_last_index(fixture.raft), 4);
    assert_int_equal(fixture.persist_number, 0); // nothing to write either
    raft_destroy(fixture.raft);
}

static void a_truncation_at_or_below_the_commit_index_aborts(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        (void)freopen("/dev/null", "w", stderr);
        struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 1}, (uint64_t[]){1, 1}, 2);
        struct raft_message message = append_of(2, 1, 2, 1, NULL, 0);
        message.commit = 2;
        fixture_receive(&fixture, message);
        struct raft_entry entry = {.index = 2, .term = 2, .kind = RAFT_ENTRY_DATA};
        (void)signal(SIGABRT, SIG_DFL);
        fixture_receive(&fixture, append_of(3, 2, 1, 1, &entry, 1));
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void entries_are_acknowledged_when_they_are_durable(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 1}, NULL, 0);
    fixture.persist = false;
    struct raft_entry entries[] = {{.index = 1, .term = 1, .kind = RAFT_ENTRY_DATA},
                                   {.index = 2, .term = 1, .kind = RAFT_ENTRY_DATA}};
    fixture_receive(&fixture, append_of(2, 1, 0, 0, entries, 1));
    uint64_t first = fixture.persist_number;
    fixture_receive(&fixture, append_of(2, 1, 1, 1, entries + 1, 1));
    assert_int_equal(fixture_count(&fixture, RAFT_APPEND_REPLY), 0);
    raft_persisted(fixture.raft, 0, first);
    fixture_pump(&fixture);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND_REPLY, 2)->log_index, 1);
    raft_persisted(fixture.raft, 0, fixture.persist_number);
    fixture_pump(&fixture);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND_REPLY, 2)->log_index, 2);
    raft_destroy(fixture.raft);
}

static void what_is_committed_elsewhere_is_not_applied_before_it_is_durable_here(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 1}, NULL, 0);
    fixture.persist = false;
    struct raft_entry entry = {.index = 1, .term = 1, .kind = RAFT_ENTRY_DATA};
    struct raft_message message = append_of(2, 1, 0, 0, &entry, 1);
    message.commit = 1;
    fixture_receive(&fixture, message);
    assert_int_equal(raft_commit(fixture.raft), 0);
    raft_persisted(fixture.raft, 0, fixture.persist_number);
    assert_int_equal(raft_commit(fixture.raft), 1);
    raft_destroy(fixture.raft);
}

static void a_follower_commits_no_further_than_what_it_is_known_to_share(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 2}, (uint64_t[]){1, 2, 2}, 3);
    struct raft_message message = append_of(2, 3, 1, 1, NULL, 0);
    message.commit = 3;
    fixture_receive(&fixture, message);
    assert_int_equal(raft_commit(fixture.raft), 1);
    raft_destroy(fixture.raft);
}

static struct raft_message heartbeat_of(uint32_t from, uint64_t term, uint64_t commit)
{
    return (struct raft_message){.kind = RAFT_HEARTBEAT, .from = from, .term = term, .commit = commit};
}

// The leader knows what this replica acknowledged before it was started again, from an older copy of its log.
static void a_heartbeat_commits_nothing_that_no_append_has_shown_to_agree(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 3}, (uint64_t[]){1, 1, 3}, 3);
    fixture_receive(&fixture, heartbeat_of(2, 4, 3));
    assert_int_equal(raft_commit(fixture.raft), 0);
    struct raft_entry entries[] = {{.index = 3, .term = 4, .kind = RAFT_ENTRY_DATA}, {.index = 4, .term = 4, .kind = RAFT_ENTRY_DATA}};
    fixture_receive(&fixture, append_of(2, 4, 2, 1, entries, 1));
    fixture_receive(&fixture, heartbeat_of(2, 4, 4));
    assert_int_equal(raft_commit(fixture.raft), 3);
    fixture_receive(&fixture, heartbeat_of(3, 5, 4)); // another leader may have another log
    fixture_receive(&fixture, append_of(3, 5, 3, 4, entries + 1, 1));
    assert_int_equal(raft_commit(fixture.raft), 3);
    fixture_receive(&fixture, heartbeat_of(3, 5, 4));
    assert_int_equal(raft_commit(fixture.raft), 4);
    raft_destroy(fixture.raft);
}

static void what_the_database_has_applied_is_committed_once_the_log_is_known_to_hold_it(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 3}, (uint64_t[]){1, 1, 3}, 3);
    raft_note_committed(fixture.raft, 3); // as entry 3 of term 4: the log is an older copy
    assert_int_equal(raft_commit(fixture.raft), 0);
    fixture_receive(&fixture, append_of(2, 4, 1, 1, NULL, 0));
    assert_int_equal(raft_commit(fixture.raft), 1);
    struct raft_entry entry = {.index = 3, .term = 4, .kind = RAFT_ENTRY_DATA};
    fixture_receive(&fixture, append_of(2, 4, 2, 1, &entry, 1));
    assert_int_equal(raft_commit(fixture.raft), 3);
    assert_int_equal(raft_term_at(fixture.raft, 3), 4);
    raft_destroy(fixture.raft);
}

// Nobody may be there who could acknowledge: the others may need a snapshot, of what is known to be committed.
static void what_its_database_has_applied_is_committed_for_a_leader_at_once(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 1}, (uint64_t[]){1, 1, 1}, 3);
    raft_note_committed(fixture.raft, 2);
    assert_int_equal(raft_commit(fixture.raft), 0);
    fixture_tick(&fixture, 2 * FIXTURE_ELECTION_US);
    fixture_grant(&fixture, RAFT_PRE_VOTE_REPLY, 2, 2);
    fixture_grant(&fixture, RAFT_VOTE_REPLY, 2, 2);
    assert_int_equal(raft_role(fixture.raft), RAFT_LEADER);
    assert_int_equal(raft_commit(fixture.raft), 2);
    raft_note_committed(fixture.raft, 3);
    assert_int_equal(raft_commit(fixture.raft), 3);
    raft_destroy(fixture.raft);
}

static void messages_that_contradict_themselves_are_ignored(void **state)
{
    (void)state;
    struct fixture fixture = fixture_make(3, (struct raft_hard_state){.term = 2}, (uint64_t[]){1}, 1);
    struct raft_entry entries[] = {{.index = 2, .term = 2, .kind = RAFT_ENTRY_DATA},
                                   {.index = 4, .term = 2, .kind = RAFT_ENTRY_DATA}};
    fixture_receive(&fixture, append_of(2, 3, 1, 1, entries, 2)); // a gap
    entries[1] = (struct raft_entry){.index = 3, .term = 1, .kind = RAFT_ENTRY_DATA};
    fixture_receive(&fixture, append_of(2, 3, 1, 1, entries, 2)); // a falling term
    entries[0].term = 4;
    fixture_receive(&fixture, append_of(2, 3, 1, 1, entries, 1)); // a term after the leader's
    entries[0].term = 3;
    entries[0].kind = RAFT_ENTRY_CONFIG;
    fixture_receive(&fixture, append_of(2, 3, 1, 1, entries, 1)); // a membership that is none
    fixture_receive(&fixture, append_of(2, 3, UINT64_MAX, 1, entries, 1));
    fixture_receive(&fixture, append_of(1, 3, 1, 1, NULL, 0)); // from itself
    assert_int_equal(raft_last_index(fixture.raft), 1);
    assert_int_equal(raft_term(fixture.raft), 2);
    raft_destroy(fixture.raft);
}

// -- Leader ---------------------------------------------------------------------------------------------------------

static void proposals_of_one_turn_leave_in_one_append_per_follower(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, fresh, NULL, 0);
    fixture_ack(&fixture, 2, 1);
    fixture_ack(&fixture, 3, 1);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(fixture_propose(&fixture, "row"), CC_OK);
    }
    fixture_pump(&fixture);
    assert_int_equal(fixture_count(&fixture, RAFT_APPEND), 2);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND, 3)->n_entries, 100);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND, 3)->log_index, 1);
    raft_destroy(fixture.raft);
}

static void only_entries_of_the_own_term_are_committed_by_counting_replicas(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, (struct raft_hard_state){.term = 2}, (uint64_t[]){1, 2}, 2);
    fixture_ack(&fixture, 2, 2); // a majority has both old entries
    assert_int_equal(raft_commit(fixture.raft), 0);
    assert_false(raft_is_settled(fixture.raft));
    fixture_ack(&fixture, 2, 3); // the first of this term commits them all
    assert_int_equal(raft_commit(fixture.raft), 3);
    assert_true(raft_is_settled(fixture.raft));
    raft_destroy(fixture.raft);
}

static void the_own_copy_counts_when_it_is_durable(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, fresh, NULL, 0);
    fixture_ack(&fixture, 2, 1);
    fixture.persist = false;
    assert_int_equal(fixture_propose(&fixture, "a"), CC_OK);
    fixture_pump(&fixture);
    assert_non_null(fixture_sent(&fixture, RAFT_APPEND, 2)); // sent while the leader writes
    fixture_ack(&fixture, 2, 2);
    assert_int_equal(raft_commit(fixture.raft), 1);
    raft_persisted(fixture.raft, 0, fixture.persist_number);
    assert_int_equal(raft_commit(fixture.raft), 2);
    raft_destroy(fixture.raft);
}

static void acknowledgements_of_what_was_never_sent_or_by_strangers_do_not_count(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, fresh, NULL, 0);
    fixture_ack(&fixture, 2, 99);
    fixture_ack(&fixture, 7, 1);
    assert_int_equal(raft_commit(fixture.raft), 0);
    struct raft_progress progress;
    assert_int_equal(raft_progress_of(fixture.raft, 2, &progress), CC_OK);
    assert_int_equal(progress.match, 0);
    assert_int_equal(raft_progress_of(fixture.raft, 7, &progress), CC_NOT_FOUND);
    raft_destroy(fixture.raft);
}

static void no_more_appends_than_the_limit_are_in_flight(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, fresh, NULL, 0);
    fixture_ack(&fixture, 2, 1);
    unsigned n_sent = 0;
    for (unsigned i = 0; i < 2 * CC_APPEND_IN_FLIGHT_MAX; i++) {
        assert_int_equal(fixture_propose(&fixture, "row"), CC_OK);
        fixture_pump(&fixture);
        n_sent += fixture_sent(&fixture, RAFT_APPEND, 2) != NULL ? 1 : 0;
    }
    assert_int_equal(n_sent, CC_APPEND_IN_FLIGHT_MAX);
    struct raft_progress progress;
    assert_int_equal(raft_progress_of(fixture.raft, 2, &progress), CC_OK);
    assert_int_equal(progress.n_in_flight, CC_APPEND_IN_FLIGHT_MAX);
    fixture_ack(&fixture, 2, 2); // room for one: everything that waits goes into it
    assert_int_equal(fixture_count(&fixture, RAFT_APPEND), 1);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND, 2)->n_entries, CC_APPEND_IN_FLIGHT_MAX);
    raft_destroy(fixture.raft);
}

static void a_connection_that_was_lost_starts_over_behind_the_last_acknowledged_entry(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, fresh, NULL, 0);
    fixture_ack(&fixture, 2, 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(fixture_propose(&fixture, "row"), CC_OK);
        fixture_pump(&fixture);
    }
    raft_peer_reset(fixture.raft, 0, 2);
    fixture_pump(&fixture);
    const struct raft_message *append = fixture_sent(&fixture, RAFT_APPEND, 2);
    assert_int_equal(append->log_index, 1);
    assert_int_equal(append->n_entries, 5);
    raft_destroy(fixture.raft);
}

static void a_silent_follower_is_nudged_once_per_heartbeat_and_not_for_each_read(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, fresh, NULL, 0);
    fixture_ack(&fixture, 2, 1);
    fixture_ack(&fixture, 3, 1);
    assert_int_equal(fixture_propose(&fixture, "lost"), CC_OK);
    fixture_pump(&fixture);
    unsigned n_appends = 0;
    for (unsigned i = 1; i <= 50; i++) {
        raft_read(fixture.raft, fixture.now_us, i);
        fixture_pump(&fixture);
        fixture_receive(&fixture,
                        (struct raft_message){.kind = RAFT_HEARTBEAT_REPLY, .from = 2, .term = 1, .context = 1 + i});
        n_appends += (unsigned)fixture_count(&fixture, RAFT_APPEND);
    }
    assert_int_equal(n_appends, 0);
    fixture_tick(&fixture, FIXTURE_HEARTBEAT_US);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_HEARTBEAT_REPLY, .from = 2, .term = 1, .context = 51});
    assert_int_equal(fixture_count(&fixture, RAFT_APPEND), 1);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND, 2)->n_entries, 0);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND, 2)->log_index, 2);
    raft_destroy(fixture.raft);
}

// It has all entries, but no append of this leader has told it so since it started: the next one could be far away.
static void a_follower_that_started_again_asks_for_an_append_and_gets_one(void **state)
{
    (void)state;
    struct fixture follower = fixture_make(3, (struct raft_hard_state){.term = 1}, (uint64_t[]){1}, 1);
    struct raft_message heartbeat = heartbeat_of(2, 1, 1);
    heartbeat.context = 1;
    fixture_receive(&follower, heartbeat);
    struct raft_message answer = *fixture_sent(&follower, RAFT_HEARTBEAT_REPLY, 2);
    assert_true(answer.reject);
    struct fixture leader = fixture_leader(3, fresh, NULL, 0);
    fixture_ack(&leader, 2, 1);
    fixture_ack(&leader, 3, 1);
    answer.from = 2;
    fixture_receive(&leader, answer);
    assert_int_equal(fixture_count(&leader, RAFT_APPEND), 1);
    struct raft_message append = *fixture_sent(&leader, RAFT_APPEND, 2);
    append.from = 2;
    fixture_receive(&follower, append);
    assert_int_equal(raft_commit(follower.raft), 1);
    fixture_receive(&follower, heartbeat);
    assert_false(fixture_sent(&follower, RAFT_HEARTBEAT_REPLY, 2)->reject);
    raft_destroy(leader.raft);
    raft_destroy(follower.raft);
}

static void whole_terms_are_skipped_in_the_search_for_agreement(void **state)
{
    (void)state;
    uint64_t terms[301];
    for (unsigned i = 0; i < 301; i++) {
        terms[i] = 1 + i / 100; // leader: 100 entries each of terms 1, 2 and 3
    }
    struct fixture fixture = fixture_leader(3, (struct raft_hard_state){.term = 9}, terms, 300);
    // The follower has 50 entries of term 1 and 400 of term 2 (from 51 on).
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_APPEND_REPLY,
                                                    .from = 2,
                                                    .term = 10,
                                                    .reject = true,
                                                    .context = 300,
                                                    .log_index = 300,
                                                    .log_term = 2});
    const struct raft_message *probe = fixture_sent(&fixture, RAFT_APPEND, 2);
    assert_int_equal(probe->log_index, 200); // the last of term 2 here
    assert_int_equal(probe->log_term, 2);
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_APPEND_REPLY,
                                                    .from = 2,
                                                    .term = 10,
                                                    .reject = true,
                                                    .context = 200,
                                                    .log_index = 50,
                                                    .log_term = 1});
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND, 2)->log_index, 50);
    // A late copy of the first refusal changes nothing.
    fixture_receive(&fixture, (struct raft_message){.kind = RAFT_APPEND_REPLY,
                                                    .from = 2,
                                                    .term = 10,
                                                    .reject = true,
                                                    .context = 300,
                                                    .log_index = 300,
                                                    .log_term = 2});
    assert_int_equal(fixture_count(&fixture, RAFT_APPEND), 0);
    raft_destroy(fixture.raft);
}

// FAILURES B7: one that has less than it once acknowledged has lost its disk.
static void a_follower_that_lost_acknowledged_entries_is_not_fed_again_by_this_leader(void **state)
{
    (void)state;
    struct fixture fixture = fixture_leader(3, fresh, NULL, 0);
    fixture_ack(&fixture, 2, 1);
    fixture_receive(
        &fixture, (struct raft_message){.kind = RAFT_APPEND_REPLY, .from = 2, .term = 1, .reject = true, .context = 1});
    struct raft_progress progress;
    assert_int_equal(raft_progress_of(fixture.raft, 2, &progress), CC_OK);
    assert_int_equal(progress.match, 1);
    assert_int_equal(progress.next, 2);
    raft_destroy(fixture.raft);
}

static void proposals_are_refused_when_not_leader_too_large_or_too_much_is_uncommitted(void **state)
{
    (void)state;
    struct fixture follower = fixture_make(3, fresh, NULL, 0);
    assert_int_equal(fixture_propose(&follower, "a"), CC_NOT_LEADER);
    raft_destroy(follower.raft);

    struct fixture fixture = fixture_leader(3, fresh, NULL, 0);
    uint8_t *bytes = calloc(1, CC_ENTRY_BYTES_MAX + 1);
    struct cc_blob *large = cc_blob_create(bytes, CC_ENTRY_BYTES_MAX);
    struct cc_blob *too_large = cc_blob_create(bytes, CC_ENTRY_BYTES_MAX + 1);
    free(bytes);
    uint64_t index = 0;
    assert_int_equal(raft_propose(fixture.raft, RAFT_ENTRY_DATA, 0, too_large, &index), CC_TOO_LARGE);
    enum cc_status status = CC_OK;
    unsigned n = 0;
    while (n < 100 && status == CC_OK) {
        status = raft_propose(fixture.raft, RAFT_ENTRY_DATA, 0, large, &index);
        fixture_pump(&fixture);
        n += status == CC_OK ? 1 : 0;
    }
    assert_int_equal(status, CC_UNAVAILABLE);
    assert_true(n >= 2 && n * (size_t)CC_ENTRY_BYTES_MAX <= CC_LOG_CACHE_BYTES_MAX);
    fixture_ack(&fixture, 2, 1 + n); // committed: there is room again
    assert_int_equal(raft_propose(fixture.raft, RAFT_ENTRY_DATA, 0, large, &index), CC_OK);
    cc_blob_unref(large);
    cc_blob_unref(too_large);
    raft_destroy(fixture.raft);
}

static void entries_that_left_memory_are_asked_for_from_disk_and_sent(void **state)
{
    (void)state;
    static struct cluster cluster;
    cluster_start(&cluster,
                  &(struct cluster_options){.n_voters = 3, .election_us = 1000, .heartbeat_us = 100, .seed = 1});
    assert_true(cluster_run_until_settled(&cluster, 10000));
    uint32_t leader = cluster_leader(&cluster);
    uint32_t lagging = leader % 3 + 1;
    cluster_crash(&cluster, lagging);
    uint8_t *bytes = calloc(1, 1 << 20);
    struct cc_blob *payload = cc_blob_create(bytes, 1 << 20);
    free(bytes);
    uint64_t index = 0;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(cluster_propose_blob(&cluster, leader, RAFT_ENTRY_DATA, payload, &index), CC_OK);
        cluster_run(&cluster, 100);
    }
    cc_blob_unref(payload);
    // A leader keeps what the lagging one needs; the next leader has only a recent tail.
    struct raft *raft = cluster_raft(&cluster, leader);
    raft_release(raft, index);
    assert_non_null(raft_entry_at(raft, 2));
    uint32_t other = 6 - leader - lagging;
    raft_release(cluster_raft(&cluster, other), index);
    assert_null(raft_entry_at(cluster_raft(&cluster, other), 2));
    assert_non_null(raft_entry_at(cluster_raft(&cluster, other), index));
    assert_int_equal(cluster_transfer(&cluster, leader, other), CC_OK);
    cluster_run(&cluster, 500);
    assert_int_equal(cluster_leader(&cluster), other);
    cluster_restart(&cluster, lagging, 4);
    cluster_run(&cluster, 3000);
    assert_string_equal(cluster.violation, "");
    assert_int_equal(raft_commit(cluster_raft(&cluster, lagging)), raft_last_index(cluster_raft(&cluster, other)));
    cluster_finish(&cluster);
}

static void restoring_refuses_a_log_with_gaps_falling_terms_or_terms_nobody_voted_in(void **state)
{
    (void)state;
    struct raft_options options = fixture_options(3);
    struct raft *raft = raft_create(&options, (struct raft_hard_state){.term = 5});
    struct raft_entry entry = {.index = 1, .term = 3, .kind = RAFT_ENTRY_DATA};
    assert_int_equal(raft_restore_entry(raft, &entry), CC_OK);
    entry.index = 3;
    assert_int_equal(raft_restore_entry(raft, &entry), CC_CORRUPT);
    entry = (struct raft_entry){.index = 2, .term = 2, .kind = RAFT_ENTRY_DATA};
    assert_int_equal(raft_restore_entry(raft, &entry), CC_CORRUPT);
    entry.term = 6;
    assert_int_equal(raft_restore_entry(raft, &entry), CC_CORRUPT);
    entry.term = 4;
    assert_int_equal(raft_restore_entry(raft, &entry), CC_OK);
    entry = (struct raft_entry){.index = 1, .term = 4, .kind = RAFT_ENTRY_DATA}; // replaces both
    assert_int_equal(raft_restore_entry(raft, &entry), CC_OK);
    assert_int_equal(raft_last_index(raft), 1);
    raft_restore_commit(raft, 9);
    assert_int_equal(raft_commit(raft), 1);
    assert_int_equal(raft_restore_entry(raft, &entry), CC_CORRUPT); // committed
    raft_restore_base(raft, 10, 4);
    assert_int_equal(raft_first_index(raft), 11);
    assert_int_equal(raft_commit(raft), 10);
    raft_destroy(raft);
}

static void a_commit_is_told_with_the_next_append_or_after_a_while_or_when_somebody_waits(void **state)
{
    (void)state;
    struct raft_options options = fixture_options(3);
    options.notice_us = 20;
    struct fixture fixture = fixture_leader_with(options, fresh, NULL, 0);
    fixture_ack(&fixture, 2, 1);
    assert_int_equal(raft_commit(fixture.raft), 1);
    fixture_ack(&fixture, 3, 1);
    assert_int_equal(fixture_count(&fixture, RAFT_HEARTBEAT), 0);
    // With the next append.
    assert_int_equal(fixture_propose(&fixture, "a"), CC_OK);
    fixture_pump(&fixture);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND, 2)->commit, 1);
    assert_int_equal(fixture_sent(&fixture, RAFT_APPEND, 3)->commit, 1);
    // When somebody there waits: only there.
    fixture_ack(&fixture, 2, 2);
    fixture_ack(&fixture, 3, 2);
    raft_tell_commit(fixture.raft, 3);
    fixture_pump(&fixture);
    assert_int_equal(fixture_count(&fixture, RAFT_HEARTBEAT), 1);
    assert_int_equal(fixture_sent(&fixture, RAFT_HEARTBEAT, 3)->commit, 2);
    // After a while, without being asked for an answer.
    assert_true(raft_next_tick_us(fixture.raft) <= fixture.now_us + 20);
    fixture_tick(&fixture, 20);
    assert_int_equal(fixture_count(&fixture, RAFT_HEARTBEAT), 1);
    assert_int_equal(fixture_sent(&fixture, RAFT_HEARTBEAT, 2)->commit, 2);
    assert_int_equal(fixture_sent(&fixture, RAFT_HEARTBEAT, 2)->context, 0);
    fixture_tick(&fixture, 20);
    assert_int_equal(fixture_count(&fixture, RAFT_HEARTBEAT), 0);
    raft_destroy(fixture.raft);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_append_that_leaves_a_gap_is_refused_with_a_hint),
        cmocka_unit_test(an_entry_that_conflicts_is_deleted_with_all_that_follow_it),
        cmocka_unit_test(a_message_that_is_merely_short_deletes_nothing),
        cmocka_unit_test(a_truncation_at_or_below_the_commit_index_aborts),
        cmocka_unit_test(entries_are_acknowledged_when_they_are_durable),
        cmocka_unit_test(what_is_committed_elsewhere_is_not_applied_before_it_is_durable_here),
        cmocka_unit_test(a_follower_commits_no_further_than_what_it_is_known_to_share),
        cmocka_unit_test(a_heartbeat_commits_nothing_that_no_append_has_shown_to_agree),
        cmocka_unit_test(what_the_database_has_applied_is_committed_once_the_log_is_known_to_hold_it),
        cmocka_unit_test(what_its_database_has_applied_is_committed_for_a_leader_at_once),
        cmocka_unit_test(messages_that_contradict_themselves_are_ignored),
        cmocka_unit_test(proposals_of_one_turn_leave_in_one_append_per_follower),
        cmocka_unit_test(only_entries_of_the_own_term_are_committed_by_counting_replicas),
        cmocka_unit_test(the_own_copy_counts_when_it_is_durable),
        cmocka_unit_test(acknowledgements_of_what_was_never_sent_or_by_strangers_do_not_count),
        cmocka_unit_test(no_more_appends_than_the_limit_are_in_flight),
        cmocka_unit_test(a_connection_that_was_lost_starts_over_behind_the_last_acknowledged_entry),
        cmocka_unit_test(a_silent_follower_is_nudged_once_per_heartbeat_and_not_for_each_read),
        cmocka_unit_test(a_follower_that_started_again_asks_for_an_append_and_gets_one),
        cmocka_unit_test(whole_terms_are_skipped_in_the_search_for_agreement),
        cmocka_unit_test(a_follower_that_lost_acknowledged_entries_is_not_fed_again_by_this_leader),
        cmocka_unit_test(proposals_are_refused_when_not_leader_too_large_or_too_much_is_uncommitted),
        cmocka_unit_test(entries_that_left_memory_are_asked_for_from_disk_and_sent),
        cmocka_unit_test(a_commit_is_told_with_the_next_append_or_after_a_while_or_when_somebody_waits),
        cmocka_unit_test(restoring_refuses_a_log_with_gaps_falling_terms_or_terms_nobody_voted_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
