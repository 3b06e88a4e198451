// Elections: pre-vote (thesis 9.6), votes (3.4, 3.6.1), leader stickiness (4.2.3), roles and terms.
#include <assert.h>

#include "consensus/raft_internal.h"

static uint64_t last_term(const struct raft *raft)
{
    return raft_log_term_at(&raft->log, raft_log_last(&raft->log));
}

// "Raft uses randomized election timeouts to ensure that split votes are rare" (thesis 3.4). Each rank draws from a slot of its own
// within [1, 2) minimum timeouts, so that the first in line normally asks first and alone.
void raft_election_reset(struct raft *raft)
{
    uint64_t n = raft_membership(raft)->n_members;
    uint64_t rank = raft->options.rank < n ? raft->options.rank : n - 1;
    uint64_t slot_us = raft->options.election_us / n;
    uint64_t timeout_us = raft->options.election_us + rank * slot_us + cc_prng_below(&raft->prng, slot_us + 1);
    raft->election_deadline_us = raft->now_us + timeout_us;
}

void raft_peer_lost(struct raft *raft, uint64_t now_us, uint32_t peer)
{
    raft_peer_reset(raft, now_us, peer);
    if (raft->role == RAFT_LEADER || raft->leader != peer) {
        return;
    }
    uint64_t heartbeat_us = raft->options.heartbeat_us;
    uint64_t wait_us = raft->options.rank * heartbeat_us + heartbeat_us / 2 + cc_prng_below(&raft->prng, heartbeat_us / 2 + 1);
    if (raft->now_us + wait_us < raft->election_deadline_us) {
        raft->election_deadline_us = raft->now_us + wait_us;
    }
    raft->leader_heard_us = raft->now_us > raft->options.election_us ? raft->now_us - raft->options.election_us : 0;
}

void raft_become_follower(struct raft *raft, uint64_t term, uint32_t leader)
{
    assert(term >= raft->term);
    bool was_leader = raft->role == RAFT_LEADER;
    if (was_leader || term != raft->term || leader != raft->leader) {
        raft_reads_fail(raft); // whoever was asked is no longer the leader (FAILURES A7)
    }
    if (term > raft->term) {
        raft->term = term;
        raft->vote = 0;
        raft->agreed = 0;
        if (!cc_mutant(CC_MUTANT_TERM_NOT_DURABLE)) {
            raft_mark_hard_state(raft);
        }
    }
    raft->role = raft->self_voter ? RAFT_FOLLOWER : RAFT_LEARNER;
    raft->leader = leader;
    raft->campaign_transfer = false;
    if (was_leader) {
        raft_transfer_clear(raft);
        for (uint32_t i = 0; i < raft->n_peers; i++) {
            raft_peer_forget_loaded(&raft->peers[i]);
        }
        raft_election_reset(raft);
    }
}

void raft_role_refresh(struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        return; // a leader that is no longer a voter stays until that is committed (thesis 4.2.2)
    }
    bool campaigning = raft->role == RAFT_PRE_CANDIDATE || raft->role == RAFT_CANDIDATE;
    if (!campaigning || !(raft->self_voter || raft_is_leaving(raft))) {
        raft->role = raft->self_voter ? RAFT_FOLLOWER : RAFT_LEARNER;
    }
}

bool raft_leader_is_heard(const struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        return true; // check-quorum would have ended its office
    }
    return raft->leader != 0 && raft->now_us - raft->leader_heard_us < raft->options.election_us;
}

bool raft_spend_vote(struct raft *raft, uint64_t term)
{
    assert(raft->role != RAFT_LEADER);
    if (term > raft->term) {
        raft_become_follower(raft, term, 0);
    }
    if (term == raft->term && term > 0 && raft->vote == 0) {
        raft->vote = raft->options.id; // nobody else gets it, and it stands for election only in the next term
        raft_mark_hard_state(raft);
    }
    return raft_hard_state_is_durable(raft);
}

// Counts the ballots; acts when the outcome is certain.
static void tally(struct raft *raft)
{
    uint32_t n_voters = raft_n_voters(raft);
    uint32_t majority = n_voters / 2 + (cc_mutant(CC_MUTANT_SMALL_MAJORITY) ? 0 : 1);
    bool self = raft->role == RAFT_PRE_CANDIDATE || raft->self_granted;
    uint32_t n_granted = self && raft->self_voter ? 1 : 0;
    uint32_t n_refused = 0;
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        n_granted += peer->voter && peer->ballot == RAFT_BALLOT_GRANTED ? 1 : 0;
        n_refused += peer->voter && peer->ballot == RAFT_BALLOT_REFUSED ? 1 : 0;
    }
    if (n_granted >= majority) {
        if (raft->role == RAFT_PRE_CANDIDATE) {
            raft_campaign(raft, false, false);
        } else {
            raft_leader_start(raft);
        }
        return;
    }
    if (n_refused > n_voters - majority) {
        raft_become_follower(raft, raft->term, 0);
    }
}

// "a server that is not part of its own latest configuration should still start new elections, as it might still be needed until
// the C_new entry is committed [...] It does not count its own vote" (thesis 4.2.2).
bool raft_may_campaign(const struct raft *raft)
{
    return (raft->eligible || raft->stand_in) && !raft->recovering && (raft->self_voter || raft_is_leaving(raft));
}

void raft_campaign(struct raft *raft, bool pre_vote, bool transfer)
{
    assert(raft->role != RAFT_LEADER);
    raft_reads_fail(raft);
    raft->leader = 0; // a leader that is remembered would make this replica refuse others (FAILURES A4)
    if (pre_vote) {
        raft->role = RAFT_PRE_CANDIDATE;
    } else {
        raft->role = RAFT_CANDIDATE;
        raft->term++;
        raft->vote = raft->options.id;
        raft->agreed = 0;
        raft->self_granted = false; // counts once it is durable
        raft_mark_hard_state(raft);
    }
    raft->campaign_transfer = transfer;
    raft_election_reset(raft);
    struct raft_message message = {
        .kind = pre_vote ? RAFT_PRE_VOTE : RAFT_VOTE,
        .term = pre_vote ? raft->term + 1 : raft->term,
        .log_index = raft_log_last(&raft->log),
        .log_term = last_term(raft),
        .transfer = transfer,
    };
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        raft->peers[i].ballot = RAFT_BALLOT_NONE;
        message.to = raft->peers[i].id;
        if (raft->peers[i].voter) {
            raft_queue(raft, &message, 0);
        }
    }
    tally(raft);
}

void raft_election_persisted(struct raft *raft)
{
    if (raft->role == RAFT_CANDIDATE && !raft->self_granted && raft_hard_state_is_durable(raft)) {
        raft->self_granted = true;
        tally(raft);
    }
}

void raft_election_tick(struct raft *raft)
{
    if (raft->now_us < raft->election_deadline_us) {
        return;
    }
    if (raft_may_campaign(raft)) {
        raft_campaign(raft, true, false);
        return;
    }
    raft_become_follower(raft, raft->term, 0); // may not campaign, but knows that there is no leader
    raft_election_reset(raft);
}

// "the voter denies its vote if its own log is more up-to-date than that of the candidate" (thesis 3.6.1).
static bool is_up_to_date(const struct raft *raft, const struct raft_message *message)
{
    uint64_t term = last_term(raft);
    uint64_t index = raft_log_last(&raft->log);
    if (cc_mutant(CC_MUTANT_COMPARE_INDEX_ONLY)) {
        return message->log_index >= index;
    }
    return message->log_term > term || (message->log_term == term && message->log_index >= index);
}

// A learner does vote: the candidate counts it only if it is a voter in the candidate's newer log, and then it may be needed. One that
// its own log does not mention does not: it is new, or has lost its disk and with it votes and entries that it once confirmed
// (FAILURES B7).
static bool may_vote(const struct raft *raft, const struct raft_message *message)
{
    return raft_is_known_member(raft) && is_up_to_date(raft, message);
}

static bool vote_is_free(const struct raft *raft, uint32_t candidate)
{
    return raft->vote == candidate || (raft->vote == 0 && raft->leader == 0) || cc_mutant(CC_MUTANT_VOTE_TWICE);
}

// "a server does not increase its term [...] until it has learned from a majority [...] that they would grant it their votes";
// a pre-vote changes nothing here (thesis 9.6). Refused while a leader is heard.
void raft_on_pre_vote(struct raft *raft, const struct raft_message *message)
{
    if (raft->recovering && !cc_mutant(CC_MUTANT_RECOVERING_VOTES)) {
        return;
    }
    bool term_free = message->term > raft->term || (message->term == raft->term && vote_is_free(raft, message->from));
    bool granted = term_free && !raft_leader_is_heard(raft) && may_vote(raft, message);
    struct raft_message reply = {
        .kind = RAFT_PRE_VOTE_REPLY,
        .to = message->from,
        .term = granted ? message->term : raft->term, // a refusal tells the asker of a higher term
        .reject = !granted,
    };
    raft_queue(raft, &reply, 0);
}

// The terms are equal. "each server will vote for at most one candidate in a given term, on a first-come-first-served basis"
// (thesis 3.4); the reply waits until the vote is on disk.
void raft_on_vote(struct raft *raft, const struct raft_message *message)
{
    if (raft->recovering && !cc_mutant(CC_MUTANT_RECOVERING_VOTES)) {
        return;
    }
    bool granted = vote_is_free(raft, message->from) && may_vote(raft, message);
    if (granted && raft->vote == 0) {
        raft->vote = message->from;
        raft_mark_hard_state(raft);
    }
    if (granted) {
        raft_election_reset(raft);
    }
    struct raft_message reply = {.kind = RAFT_VOTE_REPLY, .to = message->from, .term = raft->term, .reject = !granted};
    raft_queue(raft, &reply, 0);
}

void raft_on_vote_reply(struct raft *raft, const struct raft_message *message)
{
    bool pre_vote = message->kind == RAFT_PRE_VOTE_REPLY;
    struct raft_peer *peer = raft_peer_find(raft, message->from);
    if (peer == NULL || raft_peer_is_out(peer) || raft->role != (pre_vote ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE)) {
        return;
    }
    uint64_t asked = pre_vote && !message->reject ? raft->term + 1 : raft->term;
    if (message->term != asked) {
        return;
    }
    peer->ballot = message->reject ? RAFT_BALLOT_REFUSED : RAFT_BALLOT_GRANTED;
    tally(raft);
}
