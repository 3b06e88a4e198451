// Raft: one replica's consensus state as a pure state machine. Events in (the raft_* calls), effects out (raft_take_output).
// After D. Ongaro, "Consensus: Bridging Theory and Practice" (2014): "thesis" below. No socket, file, clock or random source.
//
//                 timeout               pre-quorum                quorum
//   FOLLOWER ----------------> PRE_CANDIDATE --------> CANDIDATE --------> LEADER
//      ^   ^                        |                      |                  |
//      |   +--- leader heard -------+---- higher term -----+-- check-quorum --+
//   LEARNER (promoted by a committed configuration)
//
// Durability: the core itself holds back every message that reveals a vote, a term or stored entries until the
// caller has said raft_persisted() for them. What raft_take_output hands out may be sent at once.
#ifndef RAFT_H
#define RAFT_H

#include "base/limits.h"
#include "base/prng.h"
#include "consensus/message.h"

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER, RAFT_LEARNER };
enum { RAFT_ROLES = RAFT_LEARNER + 1 };
const char *raft_role_name(enum raft_role role); // "follower", ...; a pre-candidate is "candidate" too

enum { RAFT_DETAILS_BYTES_MAX = 250 };

struct raft_member {
    uint32_t id; // > 0
    bool voter;  // false: learner
    uint8_t n_details;
    uint8_t details[RAFT_DETAILS_BYTES_MAX]; // the caller's, of no meaning here: where it is reached and its key
};

// The members that count. The newest one in the log is in force, committed or not (thesis 4.1).
struct raft_membership {
    uint32_t n_members;
    struct raft_member members[CC_REPLICAS_MAX];
};

const struct raft_member *raft_member_find(const struct raft_membership *membership, uint32_t id); // NULL: none

// The payload of a RAFT_ENTRY_CONFIG: version 1 without details, else 2; members are written in the order of their ids.
void raft_membership_put(struct cc_buffer *out, const struct raft_membership *membership);
// CC_MALFORMED; also without a voter, or with ids that do not ascend.
enum cc_status raft_membership_read(struct cc_slice bytes, struct raft_membership *membership_out) CC_CHECKED;

// What survives a crash besides the entries.
struct raft_hard_state {
    uint64_t term;
    uint32_t vote; // 0: none
};

struct raft_options {
    uint32_t id;
    struct raft_membership membership; // at the start of the log; one that joins, or has lost its disk, is not in it and does not vote
    uint64_t election_us;  // minimum election timeout; drawn from [1, 2) times this, biased by rank
    uint64_t heartbeat_us;
    uint64_t notice_us; // for so long a new commit index may wait for a message that goes to the follower anyway; 0: not at all
    uint64_t seed;         // another one at every start: also read requests are numbered from it
    size_t cache_bytes_max; // payloads kept in memory; 0: CC_LOG_CACHE_BYTES_MAX
    uint32_t rank;         // 0: first in line. Rank r waits r/n_members of election_us longer
};

struct raft;

// `hard_state` and the entries with index > 0 are what the log held (raft_restore_entry, in order, before the first
// event). known_commit: entries up to here are known to be committed (applied in PostgreSQL); 0 if unknown.
struct raft *raft_create(const struct raft_options *options, struct raft_hard_state hard_state);
void raft_destroy(struct raft *raft); // NULL is fine
// Takes a reference on the payload. Replaces what was at entry->index and above; ignored at or below the base. CC_CORRUPT when it
// leaves a gap, the term falls or is above the hard state's, known commits would be replaced, or a membership is malformed.
enum cc_status raft_restore_entry(struct raft *raft, const struct raft_entry *entry) CC_CHECKED;
// The membership committed at `index`, before the base and the entries: it takes the place of that in the options, and of all
// that the log says up to there.
void raft_restore_membership(struct raft *raft, uint64_t index, const struct raft_membership *membership);
// The log begins after a snapshot at (index, term): what was restored before is dropped unless it holds (index, term).
void raft_restore_base(struct raft *raft, uint64_t index, uint64_t term);
// Replaces the hard state given to raft_create, before the first event.
void raft_restore_hard_state(struct raft *raft, struct raft_hard_state hard_state);
// After the entries.
void raft_restore_commit(struct raft *raft, uint64_t known_commit);

// -- Events. now_us: monotonic microseconds, never falling. ---------------------------------------------------------

void raft_tick(struct raft *raft, uint64_t now_us);
// When raft_tick should be called next at the latest.
uint64_t raft_next_tick_us(const struct raft *raft);
// Replies from non-members are ignored; their requests are served, since a new member may be ahead of this log (thesis 4.1).
// Messages that contradict themselves are ignored. The entries' payloads are referenced as needed.
void raft_receive(struct raft *raft, uint64_t now_us, const struct raft_message *message);
// Appends an entry. CC_NOT_LEADER, CC_UNAVAILABLE (transfer under way, too much in flight), CC_TOO_LARGE. The payload is referenced.
// RAFT_ENTRY_CONFIG (payload: raft_membership_put): one member (its role or its details) may change at a time, a new one comes as a
// learner: CC_INVALID. Not before
// the last change and an entry of this term are committed, nor a learner promoted that has not stored that it is one: CC_UNAVAILABLE
// (thesis 4.1 and the correction of 2015).
enum cc_status raft_propose(struct raft *raft, enum raft_entry_kind kind, uint64_t hlc, struct cc_blob *payload,
                            uint64_t *index_out) CC_CHECKED;
// Everything handed out with persist_number <= number is durable.
void raft_persisted(struct raft *raft, uint64_t now_us, uint64_t number);
// On a leader: the peer is told the commit index with the next output, somebody there waits for it.
void raft_tell_commit(struct raft *raft, uint32_t peer_id);
// Asks for a read index (thesis 6.4); the result comes in raft_output.reads under the same context.
void raft_read(struct raft *raft, uint64_t now_us, uint64_t context);
// Hands leadership to `target`, or to the most advanced voter when 0 (thesis 3.10). Time-boxed to one election timeout.
// CC_NOT_LEADER, CC_INVALID (not another voter), CC_UNAVAILABLE (one is under way, or the target has not answered lately).
enum cc_status raft_transfer(struct raft *raft, uint64_t now_us, uint32_t target) CC_CHECKED;
// A replica that is not eligible (its PostgreSQL is down) votes and stores, but does not campaign.
// A leader that becomes ineligible transfers leadership away.
void raft_set_eligible(struct raft *raft, uint64_t now_us, bool eligible);
// It campaigns all the same: nobody has led for long, so what its log has may be what keeps the others from being elected. As the leader
// it brings that to them and transfers leadership away.
void raft_set_stand_in(struct raft *raft, bool stand_in);
void raft_set_rank(struct raft *raft, uint32_t rank); // in place of that in the options, from the next election timeout on
// A replica that may have forgotten what it promised: it stores, but neither votes nor campaigns.
void raft_set_recovering(struct raft *raft, bool recovering);
// This replica may have voted in the term, nobody knows for whom: it does not vote in it, nor in an earlier one. True: that is on disk.
// Not for a leader.
bool raft_spend_vote(struct raft *raft, uint64_t term) CC_CHECKED;
// The same of a member: it counts in no majority, though the majority is that of all voters.
void raft_peer_set_recovering(struct raft *raft, uint32_t peer, bool recovering);
// A member comes back with a new log: what it acknowledged before does not count any more.
void raft_peer_forget(struct raft *raft, uint64_t now_us, uint32_t peer);
// The payloads of entries [entries[0].index, ...) asked for by raft_output.loads arrive from disk; at most CC_APPEND_BYTES_MAX
// of them are used. None: they could not be read, asked for again at the next heartbeat. Payloads are referenced.
void raft_loaded(struct raft *raft, uint64_t now_us, uint32_t peer, const struct raft_entry *entries, size_t n_entries);
// The connection to a peer was lost or made: flow control starts again for it.
void raft_peer_reset(struct raft *raft, uint64_t now_us, uint32_t peer);
// The connection to a peer was closed or broke. If it leads, its process has probably ended: it counts as not heard, and an election
// is asked for within about (1 + rank) heartbeats. Pre-votes of those that still hear it keep a lost connection from doing harm.
void raft_peer_lost(struct raft *raft, uint64_t now_us, uint32_t peer);
// The caller needs no payload at or below `index` any more; the core may drop what followers do not need from memory.
// Above it payloads stay in memory as long as they fit into CC_LOG_CACHE_BYTES_MAX.
void raft_release(struct raft *raft, uint64_t index);
// The database has applied the entries up to here: so they are committed, though a restart has forgotten it. Where this log may hold
// others under these indexes, it counts later: as far as the log agrees with the leader's, or when this replica leads.
void raft_note_committed(struct raft *raft, uint64_t index);
// The log on disk begins after `index` now, which is committed and stored here.
void raft_compact(struct raft *raft, uint64_t index);
// The log goes on after a snapshot of the state at (index, term); the caller writes the log's new base in front of the next output
// that is to become durable, and installs the snapshot afterwards. Ignored at or below the commit index.
void raft_install_snapshot(struct raft *raft, uint64_t now_us, uint64_t index, uint64_t term, const struct raft_membership *membership);

// -- Effects --------------------------------------------------------------------------------------------------------

struct raft_read_result {
    uint64_t context;
    uint64_t index; // read after applying this; 0: failed, ask again (no leader, or it changed)
};

struct raft_load { // read these entries from disk and call raft_loaded
    uint32_t peer;
    uint64_t first, last;
};

// In the order of handling: make durable, send, load, apply, answer. Everything is borrowed until the next call on this raft.
struct raft_output {
    uint64_t persist_number; // > 0: hard state (if changed) and entries must become durable, then raft_persisted(number)
    bool hard_state_changed;
    struct raft_hard_state hard_state;
    const struct raft_entry *entries; // to append to the log; the first may replace a suffix of it (never a committed one)
    size_t n_entries;
    const struct raft_message *messages;
    size_t n_messages;
    const struct raft_load *loads;
    size_t n_loads;
    uint64_t commit; // entries up to here are committed, and durable here: they may be applied
    const struct raft_read_result *reads;
    size_t n_reads;
    bool role_changed; // role, term or leader differ from the last output
};

void raft_take_output(struct raft *raft, struct raft_output *output_out);
bool raft_has_output(const struct raft *raft);

// -- Questions ------------------------------------------------------------------------------------------------------

enum raft_role raft_role(const struct raft *raft);
uint64_t raft_term(const struct raft *raft);
uint32_t raft_leader(const struct raft *raft); // 0: unknown
uint64_t raft_commit(const struct raft *raft); // as in the output: committed and durable here
uint64_t raft_first_index(const struct raft *raft); // of the first entry that the log holds
uint64_t raft_last_index(const struct raft *raft);
uint64_t raft_persisted_index(const struct raft *raft);
// 0 when the log does not hold the index.
uint64_t raft_term_at(const struct raft *raft, uint64_t index);
// NULL when the log does not hold it or its payload is no longer in memory. Borrowed until the next event.
const struct raft_entry *raft_entry_at(const struct raft *raft, uint64_t index);
// True on a leader that has committed an entry of its own term.
bool raft_is_settled(const struct raft *raft);
const struct raft_membership *raft_membership(const struct raft *raft); // in force
uint64_t raft_membership_index(const struct raft *raft); // of the one in force: its entry, the snapshot's, or 0
// The newest one that is known to be committed, with its index.
const struct raft_membership *raft_membership_committed(const struct raft *raft, uint64_t *index_out);
// > 0: the leader's log begins after this index, and this replica needs a snapshot at or above it.
uint64_t raft_snapshot_wanted(const struct raft *raft);

struct raft_progress {
    uint32_t id;
    bool voter;
    uint64_t match, next;
    uint64_t heard_us; // when it last answered
    uint32_t n_in_flight;
    bool probing; // looking for the common prefix
};
// Leader only: CC_NOT_FOUND otherwise or for unknown ids.
enum cc_status raft_progress_of(const struct raft *raft, uint32_t id, struct raft_progress *progress_out) CC_CHECKED;

#endif
