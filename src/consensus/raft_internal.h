// What the files of the Raft core share. Nobody else includes this.
//
//   raft.c              life, events, time, durability, output
//   raft_log.c          the log in memory
//   raft_membership.c   members, peers, quorums, configuration entries
//   raft_election.c     pre-vote, votes, terms, roles
//   raft_replication.c  proposals, appends, flow control, the commit rule, snapshots
//   raft_read.c         read indexes
//   raft_transfer.c     leadership transfer
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

#include "base/mutant.h"
#include "consensus/raft.h"
#include "consensus/raft_log.h"

enum {
    RAFT_READ_ROUNDS_MAX = 16,                               // rounds of reads not yet answered
    RAFT_UNCOMMITTED_BYTES_MAX = CC_LOG_CACHE_BYTES_MAX / 2, // proposals not yet committed
    RAFT_RECENT_PART = 64, // of the cache, for entries that nobody is known to need
};

static const uint64_t raft_term_jump_max = UINT64_C(1) << 32; // a peer further ahead than this is broken

static_assert((int)CC_ENTRY_BYTES_MAX < (int)RAFT_UNCOMMITTED_BYTES_MAX, "the largest entry can be proposed");

enum raft_ballot { RAFT_BALLOT_NONE, RAFT_BALLOT_GRANTED, RAFT_BALLOT_REFUSED };

// How a leader feeds a follower.
//
//             agreement found                     gap, connection reset
//   PROBE ----------------------> PIPELINE --------------------------> PROBE
//     |  ^                                                               |
//     |  +------ follower says where it is ------ SNAPSHOT <-------------+   the log no longer reaches back
//     +----------------------------------------------^
enum raft_flow {
    RAFT_FLOW_PROBE,    // one append per heartbeat, looking for where the logs agree
    RAFT_FLOW_PIPELINE, // appends without waiting, up to CC_APPEND_IN_FLIGHT_MAX
    RAFT_FLOW_SNAPSHOT, // waits until the follower has installed a snapshot
};

// Another member, as seen from here. Everything below `ballot` counts on a leader only.
struct raft_peer {
    uint32_t id;
    bool voter;
    bool recovering; // it says so
    enum raft_ballot ballot;

    enum raft_flow flow;
    uint64_t match; // it has everything up to here on disk
    uint64_t next;  // the next entry to send
    uint64_t heard_us;
    uint64_t round_acked; // the latest read round it has answered
    uint64_t commit_told; // the commit index it was told last
    bool notice_due;      // it is to be told the commit index now: somebody there waits for it
    bool heartbeat_due;
    bool probe_sent; // PROBE: nothing more before the answer or the next heartbeat
    bool nudge_due;  // an append seems lost: send an empty one, its answer tells
    uint64_t fed_us; // when an append was last sent or answered
    bool snapshot_due;
    bool load_pending; // entries were asked for from disk
    uint64_t load_first;
    struct raft_entry *loaded; // entries that came from disk, to be sent next; references held
    size_t n_loaded;
    bool loaded_sent;                            // a message handed out points to them
    uint64_t in_flight[CC_APPEND_IN_FLIGHT_MAX]; // ring: last index of each append not yet answered
    uint32_t in_flight_head, n_in_flight;
};

struct raft_config { // a membership and the index of its entry (or the base of the log)
    uint64_t index;
    struct raft_membership membership;
};

// A message not yet handed out: it may leave once persist number `after` is done.
struct raft_held {
    struct raft_message message;
    uint64_t after;
};

struct raft_write { // handed out to be made durable
    uint64_t number;
    uint64_t last; // the log's last index in it, lowered when the log is cut
};

struct raft_pending_read {
    uint32_t from; // this replica or the follower that asked
    uint64_t context;
};

struct raft_round {
    uint64_t id;
    uint64_t index; // leader: the commit index when the round began
    uint64_t sent_us;
    size_t n_reads;
};

// Reads in order of arrival: first those of the rounds on their way, then those that wait for the next round.
struct raft_reads {
    struct raft_pending_read *reads;
    size_t head, n, capacity;
    struct raft_round rounds[RAFT_READ_ROUNDS_MAX];
    size_t n_rounds;
    size_t n_sent; // reads in rounds
};

struct raft_identity { // to notice role changes
    enum raft_role role;
    uint64_t term;
    uint32_t leader;
};

struct raft {
    struct raft_options options;
    struct cc_prng prng;
    uint64_t now_us;
    bool started; // the first event has come

    // Hard state and log.
    uint64_t term;
    uint32_t vote;
    struct raft_log log;
    uint64_t commit;
    uint64_t noted;    // the database has applied as much
    uint64_t agreed;   // follower: the log is the leader's up to here, as an append of this term has shown in this life
    uint64_t released; // entries up to here need not be in memory for the caller

    // Durability. Numbers count outputs that had something to persist.
    uint64_t number_last;    // given out
    uint64_t number_done;    // reported durable
    uint64_t number_hard;    // covers the last change of term or vote
    uint64_t number_entries; // covers the last appended entry
    uint64_t handed_index;   // entries up to here were given out
    uint64_t persisted_index;
    struct raft_write *writes; // given out, not yet durable
    size_t writes_head, n_writes, writes_capacity;

    // Membership. configs[0] is the newest committed one (as far as known), the last one is in force.
    struct raft_config *configs;
    size_t n_configs, configs_capacity;
    uint64_t membership_index; // of the one in the options
    bool self_voter;
    struct raft_peer peers[CC_REPLICAS_MAX];
    uint32_t n_peers;

    // Office.
    enum raft_role role;
    uint32_t leader;
    uint64_t leader_heard_us;
    uint64_t election_deadline_us;
    bool eligible, stand_in;
    bool recovering;
    bool self_granted;      // candidate: the own vote is durable
    bool campaign_transfer; // candidate: at the leader's request

    // Leader.
    uint64_t heartbeat_due_us;
    uint64_t notice_due_us; // then those are told the commit index whom no append has told; 0: there are none
    uint64_t term_start; // index of the first entry of the term
    uint64_t uncommitted_bytes;
    uint64_t round;       // of reads, from 1 in each term
    bool feed_due;        // there may be something to send to followers
    uint32_t transfer_to; // 0: no transfer under way
    uint32_t transfer_failed_to;
    uint64_t transfer_deadline_us;
    bool transfer_sent;

    uint64_t snapshot_wanted; // follower: the leader's log begins after this

    struct raft_reads reads;
    uint64_t read_id; // follower: of the last round sent to the leader; starts at a random number (FAILURES A16)

    // Output.
    struct raft_held *held;
    size_t n_held, held_capacity;
    struct raft_message *messages;
    size_t n_messages, messages_capacity;
    struct raft_load *loads;
    size_t n_loads, loads_capacity;
    struct raft_read_result *results; // collected, then handed out
    size_t n_results, results_capacity;
    struct raft_read_result *results_out;
    size_t n_results_out, results_out_capacity;
    uint64_t commit_out;
    struct raft_identity identity_out;
};

// raft.c
void raft_advance(struct raft *raft, uint64_t now_us); // takes over the time; the first event starts the timers
// Queues a message; `after`: the persist number that must be done first, besides the last change of term or vote.
void raft_queue(struct raft *raft, const struct raft_message *message, uint64_t after);
void raft_mark_hard_state(struct raft *raft);
// A configuration entry takes effect at once; its payload has been checked.
void raft_append_entry(struct raft *raft, const struct raft_entry *entry);
// Only above the commit index.
void raft_truncate(struct raft *raft, uint64_t last);
bool raft_hard_state_is_durable(const struct raft *raft);

// raft_membership.c (raft_membership: those in force)
uint64_t raft_config_index(const struct raft *raft); // of the membership in force
void raft_config_add(struct raft *raft, uint64_t index, const struct raft_membership *membership);
void raft_config_truncate(struct raft *raft, uint64_t last); // back to the newest at or below `last`
void raft_config_committed(struct raft *raft);               // forgets those before the newest committed one
void raft_config_reset(struct raft *raft, uint64_t index, const struct raft_membership *membership);
struct raft_peer *raft_peer_find(struct raft *raft, uint32_t id); // NULL: not a member, or this replica
bool raft_is_known_member(const struct raft *raft); // by the newest committed membership or a later one in the log
bool raft_is_leaving(const struct raft *raft);      // was a voter before the uncommitted membership in force
void raft_peer_forget_loaded(struct raft_peer *peer);
// Neither its votes nor its copies count.
static inline bool raft_peer_is_out(const struct raft_peer *peer)
{
    return peer->recovering && !cc_mutant(CC_MUTANT_RECOVERING_COUNTS);
}
uint32_t raft_n_voters(const struct raft *raft);
// The greatest value that a majority of the voters has reached. values[i] belongs to peers[i], `self` to this replica.
uint64_t raft_quorum_value(const struct raft *raft, uint64_t self, const uint64_t *values);
// One member may change at a time: added as a learner, removed, or voter <-> learner (thesis 4.1): CC_INVALID. A learner becomes
// a voter when its log says that it is a member: CC_UNAVAILABLE.
enum cc_status raft_membership_check(struct raft *raft, const struct raft_membership *next) CC_CHECKED;

// raft_election.c
void raft_election_reset(struct raft *raft); // draws a new election timeout
// Also the way to adopt a higher term.
void raft_become_follower(struct raft *raft, uint64_t term, uint32_t leader);
void raft_role_refresh(struct raft *raft); // after a change of membership: follower or learner
bool raft_may_campaign(const struct raft *raft);
void raft_campaign(struct raft *raft, bool pre_vote, bool transfer);
void raft_election_tick(struct raft *raft);
void raft_election_persisted(struct raft *raft);
bool raft_leader_is_heard(const struct raft *raft);
void raft_on_pre_vote(struct raft *raft, const struct raft_message *message);
void raft_on_vote(struct raft *raft, const struct raft_message *message);
void raft_on_vote_reply(struct raft *raft, const struct raft_message *message);

// raft_replication.c
void raft_leader_start(struct raft *raft);
void raft_leader_tick(struct raft *raft);
void raft_peer_start(struct raft *raft, struct raft_peer *peer);
void raft_commit_try(struct raft *raft); // leader: the commit rule
void raft_commit_to(struct raft *raft, uint64_t index);
void raft_commit_noted(struct raft *raft); // what the database has applied, as far as this log is known to hold it
void raft_on_append(struct raft *raft, const struct raft_message *message);
void raft_on_append_reply(struct raft *raft, struct raft_peer *peer, const struct raft_message *message);
void raft_on_heartbeat(struct raft *raft, const struct raft_message *message);
void raft_on_heartbeat_reply(struct raft *raft, struct raft_peer *peer, const struct raft_message *message);
void raft_on_snapshot(struct raft *raft, const struct raft_message *message);
void raft_on_snapshot_reply(struct raft *raft, struct raft_peer *peer, const struct raft_message *message);
void raft_feed(struct raft *raft); // fills messages and loads of the output

// raft_read.c
void raft_reads_fail(struct raft *raft);
void raft_reads_tick(struct raft *raft);
void raft_reads_begin_round(struct raft *raft); // those that wait, if any
void raft_reads_confirm(struct raft *raft);     // leader: answers the rounds that a majority has answered
bool raft_reads_wait(const struct raft *raft);  // a round could begin now
void raft_on_read(struct raft *raft, const struct raft_message *message);
void raft_on_read_reply(struct raft *raft, const struct raft_message *message);

// raft_transfer.c
void raft_transfer_tick(struct raft *raft);
void raft_transfer_try(struct raft *raft); // asks the target to campaign once it has the whole log
void raft_transfer_clear(struct raft *raft);
void raft_on_timeout_now(struct raft *raft, const struct raft_message *message);

#endif
