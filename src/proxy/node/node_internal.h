// Inside of the node: shared by node_*.c only.
#ifndef PROXY_NODE_INTERNAL_H
#define PROXY_NODE_INTERNAL_H

#include "base/memory.h"
#include "crdt/stability.h"
#include "base/mutant.h"
#include "proxy/node/member.h"
#include "proxy/node/node.h"

#include <string.h>
#include <uthash.h>
#include <utlist.h>

// Timers that are nobody's configuration.
enum {
    NODE_HOUSEKEEPING_US = 20 * 1000, // retries of what had no leader, deadlines
    NODE_TRANSACTION_BATCHES_MAX = 32,     // batches executed into one open transaction before it must be committed: each time nothing executes
                                           // until a majority has the last one, and PostgreSQL keeps no more than 64 subtransactions at hand.
                                           // From half of them on, the first moment that allows it is taken. Of weak writes likewise
    NODE_AHEAD_BYTES = 64 << 10,
    NODE_APPLY_BYTES_MAX = 4 << 20,   // effects in one APPLY or MERGE job
    NODE_APPLY_ENTRIES_MAX = 512,
    NODE_QUEUE_US_MAX = 1000 * 1000,  // writes that come while others have waited for so long are refused: the queue only grows
    NODE_STAND_IN_ELECTIONS = 8, // without a leader for so many election timeouts
    NODE_GATHER_US = 5 * 1000, // what nobody waits for (changes of others, the end of an open transaction) gathers for so long: half the
                               // transactions, half the CPU
    NODE_FOLLOW_GATHER_US = 20 * 1000, // committed entries at a follower: a transaction costs it as much as 50 rows
    NODE_FOLLOW_GATHER_MAX = 256,      // or until there are so many
    NODE_FOLLOW_GATHER_BYTES_MAX = 256 << 10, // or so much, so that a read that comes does not wait long for it
    NODE_CHANGES_FRAME_BYTES = 512 << 10,
    NODE_OWN_CHANGES_BYTES_MAX = 64 << 20, // own change sets kept in memory for peers and for a database that lost commits
    NODE_SEEN_SETS = 256,
    NODE_PEERS_MAX = 2 * CC_REPLICAS_MAX, // members, and others whose connection is up
};

// -- Growing arrays of the outbox ------------------------------------------------------------------------------------

#define NODE_ARRAY(type)                                                                                               \
    struct {                                                                                                           \
        type *at;                                                                                                      \
        size_t n, capacity;                                                                                            \
    }
#define NODE_PUSH(array, value)                                                                                        \
    do {                                                                                                               \
        (array).at = cc_grow((array).at, &(array).capacity, (array).n + 1, sizeof(*(array).at));                       \
        (array).at[(array).n++] = (value);                                                                             \
    } while (0)

struct node_outbox {
    struct cc_arena arena; // frames and outcomes
    struct wal_batch log;
    uint64_t log_number;
    uint64_t truncate_index, truncate_record;
    NODE_ARRAY(struct node_load) loads;
    bool load_changes;
    NODE_ARRAY(struct node_send) sends;
    NODE_ARRAY(struct db_job *) jobs[DB_LANES];
    NODE_ARRAY(struct snapshot_job) snapshots;
    NODE_ARRAY(struct repair_job) repairs;
    bool snapshot_cancel;
    bool recovered, forgot;
    NODE_ARRAY(struct node_answer) answers;
    NODE_ARRAY(struct node_fact) facts;
    bool catalog_changed;
    bool members_changed;
    bool removed_changed;
};

// -- Writes on their way (node_forward.c) ----------------------------------------------------------------------------
//
//   QUEUED --leader here--> EXECUTING --effects logged--> LOGGED --committed--> answered
//     |  ^                      |                            |
//     |  +----------------------+----------------------------+   office or database lost
//     +--leader elsewhere--> SENT --reply--> answered            (the same id makes a second execution impossible)
//           ^                  |
//           +--refused, leader changed, connection lost  (of one that is only passed on: its sender is told to ask again)

enum forward_flag { FORWARD_UNCERTAIN = 1, FORWARD_RELAYED = 2 }; // in FRAME_FORWARD

enum pending_state { PENDING_QUEUED, PENDING_SENT, PENDING_EXECUTING, PENDING_LOGGED };
enum { PENDING_STATES = PENDING_LOGGED + 1 };

struct pending {
    uint8_t id[OPERATION_ID_BYTES];
    enum pending_state state;
    struct cc_blob *operation;
    uint64_t deadline_us;
    uint64_t since_us;  // in its state
    uint64_t retry_us;  // not before this, after a refusal
    uint64_t token;     // of the local asker, if peer == 0
    uint32_t peer;      // who forwarded it here
    uint32_t sent_to;
    uint64_t after;     // its entry can only come after this index
    uint32_t schema_version;
    bool migration;
    bool alone;            // its batch was too large: runs by itself
    bool uncertain;        // may have been executed by somebody
    uint64_t look_again;   // uncertain: entries up to here must be told first, one of them may be its own
    bool uncertain_before; // the same, before the present attempt
    bool relayed;          // SENT only: it is `peer`'s, passed on to the leader
    bool answered;         // as unknown: it stays only to be known again until its entry is committed or lost
    struct pending *prev, *next; // in node->queue while QUEUED
    UT_hash_handle hh;
};

// An executed operation, remembered for retries.
struct executed {
    uint8_t id[OPERATION_ID_BYTES];
    uint64_t hlc, index;
    struct executed *next;       // the next younger one
    struct executed *next_alike; // in the same bucket
    size_t n_outcome;
    uint8_t outcome[];
};

// -- Database jobs (node_job.c) --------------------------------------------------------------------------------------

struct job {
    struct db_job job; // first: effects hand out its address
    struct cc_arena arena;
    NODE_ARRAY(struct cc_blob *) blobs;
    uint32_t n_items_max;
    bool abandoned; // its answer is of no interest any more
    struct job *prev, *next;
};

// -- Work that waits for more of its kind (node.c) ------------------------------------------------------------------------

struct gather {
    uint64_t until_us; // 0: nothing waits
    bool over;         // that time has come
};

// -- Strong tables (node_strong.c) -----------------------------------------------------------------------------------
//
//   DOWN --DB_UP--> FOLLOW --leader, settled, everything in the log applied--> LEAD
//    ^                ^  \--DB_DIVERGED--> HALTED                               |
//    |                +---- office lost, batch too large: ROLLBACK -------------+
//    +-------------------- DB_DOWN (from every state but HALTED) ---------------+

enum strong_state { STRONG_DOWN, STRONG_FOLLOW, STRONG_LEAD, STRONG_HALTED };
enum { STRONG_STATES = STRONG_HALTED + 1 };

struct strong {
    enum strong_state state;
    uint64_t applied;         // committed in the database, as far as it said
    uint64_t planned;         // what it will have committed when the jobs under way are done
    uint32_t schema_version;  // at `applied`
    struct job *applying;     // FOLLOW: at most one
    bool loading;             // entries to apply were asked for from disk
    struct gather gather;     // FOLLOW: committed entries, before they are applied; LEAD: batches, before the open transaction ends
    uint64_t executed;        // LEAD: state of the open transaction
    uint32_t executed_schema; // LEAD: schema version in the open transaction
    uint64_t lead_term;       // LEAD: of this office
    uint32_t n_open;          // LEAD: batches executed since the last COMMIT
    bool migrating;           // LEAD: the open transaction holds a migration: nothing more goes in
    struct job *executing;    // LEAD: at most one
    bool executing_migration; // and it is one
    struct job *ahead;        // LEAD: a large batch behind it, which is made ready meanwhile
    NODE_ARRAY(uint8_t) executing_ids; // of both, in their order
    uint64_t replay_until;    // what was committed here before a crash of PostgreSQL: applied again up to here
    uint64_t told;            // commit index up to which operations were answered and remembered
    char halted[256];
};

// -- Reads (node_read.c) ---------------------------------------------------------------------------------------------

struct read_waiter {
    uint64_t token;
    uint64_t deadline_us;
};

// Reads that share one read index.
struct read_group {
    uint64_t context;
    uint64_t since_us, asked_us;
    uint64_t index; // 0: not known yet, or of no interest to a session
    struct crdt_frontier *frontier; // of a session, or what was heard; NULL: of no interest
    bool writes;    // what is acknowledged here counts as held, though it is not committed
    uint32_t heard[CC_REPLICAS_MAX]; // replicas that have told their frontier
    uint32_t n_heard;
    NODE_ARRAY(struct read_waiter) waiters;
    struct read_group *prev, *next;
};

// -- Weak tables (node_weak*.c) --------------------------------------------------------------------------------------

struct weak_write {
    uint64_t token;
    uint64_t since_us; // in the queue
    uint64_t deadline_us;
    uint32_t schema_version;
    struct cc_blob *operation;
    struct cc_blob *outcome;    // once executed
    uint64_t sequence;          // of its change set; 0: changed nothing
    bool keyed;                 // has an Idempotency-Key
    struct cc_blob *saw;        // keyed, changed nothing: frontier of what it was executed upon, crdt_frontier_put form
    enum operation_durability durability; // waited for
    bool answered;              // its deadline has passed
    struct weak_write *prev, *next;
};

struct own_change {
    uint64_t sequence;
    uint64_t log_number;
    struct cc_blob *bytes;
};

// Change sets of one origin that arrived and wait to be merged, without gaps.
struct incoming {
    struct crdt_origin origin;
    uint64_t next; // sequence expected next
    uint64_t highest; // that ever came
    NODE_ARRAY(struct cc_blob *) sets;
    size_t head;
    struct {
        uint64_t sequence;
        uint32_t crc;
    } seen[NODE_SEEN_SETS]; // the last ones that came, by sequence: what comes again must be the same
};

// What a merge is made of: change sets that were just written, those that come late since somebody was away, states of rows.
enum merge_kind { MERGE_FRESH, MERGE_OLD, MERGE_ROWS };
enum { MERGE_KINDS = MERGE_ROWS + 1 };

struct weak {
    bool up;
    struct crdt_frontier frontier; // committed in the database
    struct crdt_frontier merged;   // the same, with what was merged into the open transaction
    struct crdt_origin self;
    uint64_t next_sequence;
    uint64_t given;                // the last number that this replica has given, or its log or database has; others may know of later ones
    uint64_t synced;               // log number that is durable
    struct wal_cursor log_cursor;  // where to go on reading own change sets that are no longer in memory
    bool loading;                  // that was asked for
    bool load_again;               // from the beginning, whatever the answer under way says
    bool log_lacks;                // all of it was looked at since the database came up,
    uint64_t log_looked_for;       // in vain for this one; later ones were passed over
    uint64_t replay_until;         // own sequences up to here may be missing in the database: they are merged before new writes
    struct weak_write *queue;      // not executed yet
    uint32_t n_queued;
    struct weak_write *executed;   // in order of execution, not known to be durable
    struct weak_write *spreading;  // in the log: answered when enough others have them on disk, or at the deadline
    struct job *executing;
    uint32_t n_open;               // batches executed and merges since the last COMMIT
    NODE_ARRAY(uint64_t) open;     // sequences of what the batches changed
    NODE_ARRAY(struct cc_blob *) open_merged; // change sets of the merges
    size_t open_merged_bytes;
    struct gather stay;            // batches, before the open transaction ends
    uint64_t told;                 // own changes up to this one are acknowledged, but may not be committed yet
    uint64_t read_us;              // when somebody last asked for what was written here
    struct job *merging;
    bool merged_last;              // the last thing that was begun is a merge, not a batch of local writes
    uint64_t executed_us;          // when the last batch was begun
    uint64_t behind_since_us;      // much waits to be merged since then; 0: it does not
    uint64_t rush_until_us;        // no pauses between merges
    uint64_t merge_began_us;
    size_t merge_bytes;            // of the merge under way
    enum merge_kind merge_kind;    // of the last one of change sets
    size_t gentle_bytes[MERGE_KINDS]; // at most, of the next one, while clients write
    bool merging_durable;          // somebody waits for the frontier that follows
    struct gather gather;          // incoming change sets, before they are merged
    struct job *committing_job;
    NODE_ARRAY(struct own_change) own; // tail of this replica's change sets, by sequence; from `own_head`
    size_t own_head;
    size_t own_bytes;
    NODE_ARRAY(struct incoming) incoming;
    size_t incoming_bytes;
    uint64_t frontier_told_us;
    bool frontier_moved;           // since it was told
    uint64_t too_old;              // own change set that others refuse, and with it all later ones: this replica was removed for a time; 0: none
    struct crdt_origin too_old_origin;
    bool too_old_gone;             // from the rows, which were taken over from others: then it counts no more that somebody has it
    uint64_t n_alarms, alarmed_us; // one number for two contents, or numbers that were given by a life we do not know of
};

// -- The origin of own changes (node_origin.c) -----------------------------------------------------------------------------

enum { NODE_ORIGINS_MAX = CC_ORIGINS_MAX / 4 }; // in the frontier: with more of them no replica begins a new one because it is cut off

struct origin {
    bool confirmed;               // no other copy of this replica can have given the numbers that come
    bool in_log;                  // some change set of ours is in the log
    uint64_t up_us;               // when the database was up the first time
    struct crdt_frontier earlier; // own origins whose change sets may be in the log, and their last ones
    uint64_t n_begun;             // since the start
};

// -- Peers (node_peer.c) ---------------------------------------------------------------------------------------------

enum { PEER_LIVES_MAX = WAL_MEMORIES_MAX / CC_REPLICAS_MAX - 1 };

// How much a log holds: neither falls in one life of it.
struct log_extent {
    uint64_t index;   // of its last entry
    uint64_t promise; // its promise_number (struct wal_state): also tells entries and votes that were replaced since
};

struct peer {
    uint32_t id;
    bool member;         // else it was one, or we do not know yet that it is: it is forgotten when its connection goes down
    bool up;
    bool stopping;
    bool deaf;           // it leads, and says that it has not heard us for a while
    bool told_deaf;      // and we have told it so
    bool relays;         // it leads, or would pass writes on to a leader
    bool may_lead;       // it says so: its database is up, and no operator has moved the office away from it
    uint32_t incarnation;
    const char *refused;
    bool understood;     // a frame of our version has come over this connection
    uint64_t heard_us;
    uint64_t applied;
    uint32_t schema_version;
    enum raft_role role;
    bool clock_known;
    struct clock_window { // its wall clock minus our monotonic one, as heard within some seconds: what comes late makes it smaller
        int64_t least_ms, greatest_ms;
    } clock, clock_before;
    uint64_t clock_window_us; // when the window began
    uint64_t clock_told_us;  // when it was last told that its clock is ahead
    bool clock_is_ahead;     // its stamps are from further in the future than is tolerated
    bool database_up;    // its weak tables', when it told its frontier last
    bool frontier_known;
    uint64_t backlog;        // changes of its own that it held when it connected, known like its frontier
    struct crdt_frontier frontier;
    struct crdt_frontier frontier_before; // about a second ago, to see who is stuck
    uint64_t frontier_before_us;
    struct crdt_frontier lacks; // others' change sets that we send it: from these numbers on, the last one next
    uint64_t pushed;       // own sequence sent on this connection; 0: its frontier is not known yet
    bool fetching;         // a FETCH for it is under way
    struct crdt_frontier refuses; // change sets from these on come too late for it; those that it holds by now do not count
    uint64_t asked_us;     // when we last told it our frontier out of turn
    uint64_t gap_told_us;
    bool fresh, used, recovering; // what it says of its log and database
    uint64_t term;                // in which it was then
    uint32_t remembered_incarnation;
    struct log_extent remembered; // its log had at least this, in that incarnation
    bool origin_told;             // since this process began, in its present life: what it has of our changes,
    uint64_t received;            // the last of them that it has, merged or not
    uint64_t membership_index;    // of the membership that is in force there
    uint32_t writes_as;           // the incarnation of its origin
    struct log_extent told;       // how much ours holds, as it was told last over this connection
    uint32_t over[PEER_LIVES_MAX]; // earlier incarnations, the newest first: who comes as one of these is an older copy
};

// -- The log's upkeep (node_log.c) -----------------------------------------------------------------------------------

struct log_checkpoint { // records up to `record` hold own weak changes up to `sequence` only
    uint64_t sequence;
    uint64_t record;
};

struct upkeep {
    struct node_durable durable;
    uint64_t started_us;
    struct wal_mark mark; // the last one, in this batch
    bool memory_moved;    // what is remembered of others is more than it says
    uint64_t marked_us, mark_number;
    NODE_ARRAY(struct log_checkpoint) checkpoints; // not yet durable in PostgreSQL
    uint64_t record_cut; // weak changes in records below this are
};

// -- What is settled among all members (node_stable.c) ---------------------------------------------------------------

struct stable {
    struct crdt_stability stability;
    struct crdt_frontier flushed; // in this replica's PostgreSQL, on disk
    bool flushed_known;
    uint64_t mark_hlc, mark_number; // a mark on its way to the disk; number 0: none
    uint64_t marked_hlc, marked_us; // the last one there
    uint64_t claimed_us;            // when claims were told last
    uint64_t moved_us;              // when the frontier moved last
    uint64_t collected;             // tombstones up to this stamp may be gone
    struct crdt_frontier below;     // covers every write up to there; every member once held it
    uint64_t n_refused, told_us;
};

// -- Anti-entropy (node_repair.c) ------------------------------------------------------------------------------------

enum repair_state {
    REPAIR_IDLE,
    REPAIR_LISTING,
    REPAIR_SUMMING,
    REPAIR_ASKING,
    REPAIR_SIFTING,
    REPAIR_JOINING,
    REPAIR_PAUSING,
    REPAIR_ADOPTING,
    REPAIR_RENEWING
};

// Of comparisons that were asked for (node_repair_owed.c).
struct repair_owed_member {
    uint32_t id;
    uint64_t asked; // the last time that it was asked for
};

struct repair_owed {
    struct repair_owed_member members[CC_REPLICAS_MAX];
    uint32_t n;
    uint64_t n_asked, begun; // times that all were asked for; of these when the comparison under way began
    uint64_t job;            // that reads or writes them; 0: none
    bool is_read;            // what an earlier life of this process left
    bool is_of_earlier_life; // which is to be told when it goes on
    bool is_new;             // to be written
    uint64_t read_us, next_us, pause_us;
};

struct repair {
    enum repair_state state;
    uint64_t next_job, job; // the last one given; the one waited for
    uint64_t round;
    struct cc_buffer tables, sums; // names, each followed by NUL; of the table now
    size_t table_at;
    uint32_t peer, from, next;
    bool is_partial; // a table could not be read in this comparison with the peer
    struct repair_owed owed;
    struct cc_blob *states; // to be joined: lists, each with its length before it
    size_t states_at;       // those before are joined or under way
    uint32_t n_asked;
    uint64_t asked_us, answered_us, pause_until_us;
    uint64_t n_rounds, n_compared, n_repaired, n_repaired_ever, n_skipped;
    struct cc_buffer kept;     // own digests, as REPAIR_KEPT tells them, of a while ago
    uint64_t kept_us;          // when they were asked for
    uint64_t difference;       // of the digests for which this comparison was begun
    uint64_t vain_us, vain_difference; // when one found nothing, and for which difference
    bool suspected;            // somebody's digests differ from ours at the same frontier
    uint64_t n_suspected;
    bool whole;                  // this comparison is to take over the peer's frontier, because its history does not reach back
    bool has_moment;             // the following
    uint64_t bound;              // of the last whole answer: up to there tombstones may be gone at the peer
    struct repair_moment moment; // of the first answer: every later one must hold as much
    uint64_t n_adopted;
    struct { // a change set that this replica lacks, and a peer's history has no longer
        struct crdt_origin origin;
        uint64_t sequence;
        uint64_t since_us, told_us;
    } gap;
};

// -- The way back of a member that was removed (node_renew.c) --------------------------------------------------------

enum renewal_state { RENEWAL_IDLE, RENEWAL_TOLD, RENEWAL_LEAVING, RENEWAL_WAITING, RENEWAL_DECIDING };

struct renewal {
    enum renewal_state state;
    uint64_t since_us, again_us; // TOLD: since then; when to try again to hand over
    uint64_t n_aside;            // change sets that are to be renewed
    uint64_t n_renewed, n_lost;  // since the start: sets of which something was written again; of which something was not
};

// -- Own changes that are missing (node_loss.c) ------------------------------------------------------------------------

struct loss {
    uint64_t first;           // own change that neither database nor log has; 0: none
    uint64_t since_us;        // it has been the first one since then
    uint64_t nobody_since_us; // every member has said since then that it does not have it; 0: not all do
    bool told;
    bool leaving;             // this life ends: what the log has behind the gap is gathered,
    NODE_ARRAY(struct cc_blob *) kept; // here, and put aside
    size_t kept_bytes;
    uint64_t n_lost_ever;     // in all lives that this database remembers
};

// -- Amnesia (node_recovery.c) ----------------------------------------------------------------------------------------

enum recovery_state { RECOVERY_DONE, RECOVERY_ASKING, RECOVERY_CATCHING_UP };

struct recovery {
    enum recovery_state state;
    bool forgot;
    bool told;        // the peers, that this replica is fresh
    uint64_t context; // of the question to the leader
    uint64_t index;   // its answer; 0: none yet
    uint64_t asked_us;
    uint64_t held;    // the log ended here when this process began; UINT64_MAX: that was compared with the database
};

enum frontier_flag { // in FRAME_FRONTIER
    FRONTIER_HELD = 1,       // the frontier counts: the database is up
    FRONTIER_STOPPING = 2,   // an orderly shutdown: do not hand leadership over to it
    FRONTIER_FRESH = 4,      // log and database are empty
    FRONTIER_USED = 8,       // one of them is not; neither flag: not known yet
    FRONTIER_RECOVERING = 16, // neither votes nor counts
    FRONTIER_MAY_LEAD = 32,  // it would lead if asked
    FRONTIER_RELAYS = 64,    // writes for the leader can be sent to it
    FRONTIER_DEAF = 128,     // it leads and has not heard the receiver for an election timeout
};

// -- Snapshots (node_snapshot.c) -------------------------------------------------------------------------------------

enum source_state { SOURCE_NONE, SOURCE_MAKING, SOURCE_READY };

struct snapshot_source { // what this replica offers
    enum source_state state;
    uint64_t id; // of the file
    uint64_t index, term; // MAKING: at least
    uint32_t schema_version;
    uint64_t n_bytes;
    struct crdt_frontier frontier;
    struct raft_membership membership; // committed, not older than the snapshot
    uint64_t pulled_us, retry_us;
};

enum target_state { TARGET_IDLE, TARGET_PULLING, TARGET_DRAINING, TARGET_LOGGING, TARGET_INSTALLING, TARGET_RECONNECTING };
enum { TARGET_STATES = TARGET_RECONNECTING + 1 };

struct snapshot_target { // what this replica takes
    enum target_state state;
    uint32_t from;
    struct crdt_frontier frontier; // at the start; the snapshot covers it
    uint64_t keep_own;             // own changes above this are needed afterwards
    bool overrun;                  // they were too many
    uint64_t id, index, term, total;
    struct raft_membership membership;
    uint64_t offset; // pulled up to here
    bool writing;
    uint64_t write_number;
    uint64_t again_us; // when to pull again, or to start
    uint64_t log_number;
    unsigned lanes_up;
};

struct snapshot_pull { // a request
    uint64_t id; // 0: any
    uint64_t offset;
    uint64_t above; // applied at the receiver
    struct crdt_frontier frontier;
};

struct snapshot_piece { // its answer
    uint64_t id, index, term;
    uint32_t schema_version;
    struct raft_membership membership;
    uint64_t total; // UINT64_MAX: there is none yet
    uint64_t offset;
    struct cc_slice bytes;
};

// -- Membership (node_membership.c) --------------------------------------------------------------------------------------

//   stranger --ADD--> learner --stores within a second what had been committed, or PROMOTE--> voter --REMOVE--> removed: told, notes it
//                        ^                                                                                      |
//                        +-------------------- ADD: taken back, with what it has -------------------------------+

enum { MEMBERS_BEHIND_MAX = 2000 }; // entries, in its log and in its database, of whoever is to be promoted or to lead

struct members {
    bool known;             // the following
    uint64_t index, term, committed; // of the memberships that peers and log were last brought in line with
    uint64_t written;       // index of the last MEMBERSHIP record
    uint64_t removed_at;    // a peer says that the change at this index took us away
    bool has_self;
    uint64_t check_us;
    uint32_t round_of;      // leader: the learner that is watched, and
    uint64_t round_term, round_target, round_began_us; // what it must have stored within a second
};

// -- The office (node_office.c) --------------------------------------------------------------------------------------------

struct node_office {
    uint64_t check_us;
    uint32_t before;        // leader: who comes before us in line and is fit to lead
    uint64_t before_term, before_since_us, yield_again_us;
    uint32_t n_yields;
    uint64_t disk_again_us; // leader: its disk is slow or full; when to try again to hand over
    uint64_t declines_until_us;
};

// -- Reloads (node_reload.c) -----------------------------------------------------------------------------------------------

struct reload {
    enum node_reload_state state;
    uint32_t n_wanted;
    struct member wanted[CC_REPLICAS_MAX];
    uint32_t n_steps, n_left;
    uint64_t until_us, again_us;
    uint64_t settled_us; // a step of the list before has been made, or is lost, by then
    bool replaces;       // the list before, whose last step may have made a difference to this one
    uint64_t request;   // that the leader has not answered
    char why[160];      // it does not go on
};

struct persist { // what becomes durable with one log batch
    uint64_t log_number;
    uint64_t raft_number;
};

struct node {
    struct node_options options;
    struct node_time time;
    struct raft *raft;
    bool started, stopping, sick;
    struct clock_hlc clock;
    struct cc_buffer facts_of_database;
    struct node_outbox outboxes[2];
    struct node_outbox *out;
    uint64_t log_number;
    uint64_t log_promise; // promise_number of the log on disk
    NODE_ARRAY(struct persist) persists;
    uint64_t next_job;
    struct job *jobs[DB_LANES]; // under way, in order

    struct pending *pendings;  // by id
    struct pending *queue;     // QUEUED
    uint32_t n_queued;
    size_t queued_bytes;
    struct executed **executed_by_id; // CC_REQUEST_WINDOW buckets: one look at memory that is rarely in a cache, and never made anew
    struct executed *executed, *executed_last; // oldest first
    uint32_t n_executed;
    uint64_t forgotten;        // operations executed up to this index may have been forgotten

    struct strong strong;
    struct read_group *asking; // index not known
    struct read_group *waiting; // for the database
    struct read_group *fresh;  // to be asked at the end of this turn
    uint64_t read_us;          // when the last read of strong tables was asked for here
    struct read_group *fresh_weak, *hearing; // the same of weak tables; a majority's frontiers are not known yet
    uint32_t n_reads;
    uint64_t next_context;
    struct weak weak;
    struct origin origin;
    struct upkeep upkeep;
    struct members members;
    struct node_office office;
    struct reload reload;
    struct recovery recovery;
    struct stable stable;
    struct repair repair;
    struct renewal renewal;
    struct loss loss;
    struct snapshot_source source;
    struct snapshot_target target;
    uint64_t next_snapshot_job;
    struct peer peers[NODE_PEERS_MAX];
    uint32_t n_peers;
    uint64_t led_us; // when there was a leader the last time
    uint64_t housekeeping_us;
    uint64_t restored_hlc; // the greatest of the entries in the log
    uint32_t known_leader;
    uint64_t leader_reached_us; // when a leader could last be asked
    struct node_status counters;
};

// node.c
void node_update_eligible(struct node *node); // to lead: its database is up and answers, the log goes on from what it holds, and it is not stopping
void node_fact(struct node *node, enum node_fact_kind kind, uint64_t a, uint64_t b, uint64_t c, const char *text);
// True while work should wait for more of its kind, for so long at most; in a hurry it does not.
bool node_gathers(struct node *node, struct gather *gather, uint64_t wait_us, bool hurry);
void node_send(struct node *node, uint32_t peer, struct cc_slice frame);
// Answers a local asker; `outcome` is copied.
void node_answer_outcome(struct node *node, uint64_t token, struct cc_slice outcome, uint64_t index);
// Outcomes that the node itself gives; encoded into the outbox.
struct cc_slice node_refusal(struct node *node, enum cc_status status, const char *code, const char *message, const char *hint);
struct cc_slice node_unknown(struct node *node);
struct cc_slice node_ask_again(struct node *node); // to another replica: what became of its write only the leader can tell
struct cc_slice node_not_a_member(struct node *node);
struct cc_slice node_copy(struct node *node, struct cc_slice bytes);

// node_log.c
void log_put_mark(struct node *node);
void log_mark(struct node *node); // now and then
// A write is refused because the disk is nearly full: the refusal; else an empty slice.
struct cc_slice log_refusal(struct node *node);
// Slow or nearly full: another replica should lead, if one can.
bool disk_is_sick(const struct node *node);
void log_finish(struct node *node);

// node_repair_owed.c
bool repair_owes(const struct node *node, uint32_t member);
void repair_owe_all(struct node *node);                   // they are asked for now
void repair_owed_begins(struct node *node);               // one with some of them
uint32_t repair_owed_ends(struct node *node);             // how many of them it leaves
void repair_paid(struct node *node, uint32_t member);     // that was compared
void repair_paid_all(struct node *node);                  // there is nothing to compare
void repair_owed_event(struct node *node, const struct repair_event *event);
bool repair_owed_is_due(struct node *node);               // some are owed, and one of them is there
uint32_t repair_owed_now(const struct node *node, bool reachable_only, uint32_t members[CC_REPLICAS_MAX]); // their count

// node_repair.c
uint64_t repair_submit(struct node *node, const struct repair_job *job); // its number
bool repair_is_there(const struct peer *peer);                           // it can be asked
void repair_tick(struct node *node);
void repair_compared(struct node *node, const struct peer *peer, const struct repair_job *question); // a peer compares with us
void repair_states(struct node *node, const struct peer *peer, const struct repair_event *answer);
bool repair_has_states(const struct node *node);
struct job *repair_take_job(struct node *node, size_t *n_bytes_out); // some of the states that are to be joined
void repair_digests(struct node *node, const struct peer *peer, struct cc_slice digests); // a peer's
void repair_joined(struct node *node, uint32_t n_changed);
bool repair_holds_back(const struct node *node, const struct crdt_change_set *set); // it is not to be merged now
bool repair_holds_garbage(const struct node *node); // an answer is waited for, or being joined: no further tombstones may go
void repair_gap(struct node *node, const struct peer *peer, struct crdt_origin origin, uint64_t sequence); // that peer's history lacks this set
void repair_database_lost(struct node *node); // it may have lost what was joined
bool repair_is_at_rest(const struct node *node); // nothing of it is under way in the own database: it is over, or waits for another member
bool repair_is_whole(const struct node *node); // what is joined belongs to a frontier that is being taken over
void repair_describe(const struct node *node, struct node_status *status);
void repair_finish(struct node *node);

// node_renew.c
void renewal_tick(struct node *node);
bool renewal_is_done(const struct node *node); // weak writes may be taken
void renewal_database_up(struct node *node, const struct db_event *event);
void renewal_database_down(struct node *node);
bool renewal_wants_turn(const struct node *node);
struct job *renewal_take_job(struct node *node); // once it has its turn
void renewal_decided(struct node *node, const struct db_event *event);
void renewal_begun_anew(struct node *node, const struct db_event *event);

// node_origin.c
void origin_tick(struct node *node);
bool origin_is_confirmed(const struct node *node);
bool origin_may_number(struct node *node); // own changes may be numbered; begins a new origin if it is time to
bool origin_has_room(const struct node *node); // for one more in the frontier
bool origin_may_change(const struct node *node); // what is missing of the present one need not be waited for
bool origin_is_own(const struct node *node, struct crdt_origin origin); // some of its change sets may be in our log
uint32_t origin_first_own(const struct crdt_frontier *frontier, uint32_t replica); // position of the first origin of a replica, or of a later one
// At start, for each change set and the mark of the log. CC_CORRUPT: origins do not follow on each other.
enum cc_status origin_restore(struct node *node, struct crdt_origin origin) CC_CHECKED;
void origin_restore_mark(struct node *node, const struct wal_mark *mark);
void origin_describe(const struct node *node, struct node_status *status);

// node_loss.c
void loss_tick(struct node *node);
bool loss_is_noticed(const struct node *node); // own changes have been missing for a while: weak writes are refused
bool loss_is_certain(const struct node *node); // and no member has them
void loss_leave(struct node *node); // puts aside what the log holds behind them; answered as BEGIN_ANEW
void loss_loaded(struct node *node, const struct wal_record *changes, size_t n_changes, struct wal_cursor next, bool done);
void loss_forget(struct node *node); // the database went away; also frees
void loss_database_up(struct node *node, const struct db_event *event);
void loss_describe(const struct node *node, struct node_status *status);

// node_stable.c
void stable_tick(struct node *node);
void stable_received(struct node *node, struct crdt_origin member, const struct crdt_claim *claim, const struct crdt_frontier *flushed);
void stable_flushed(struct node *node, const struct crdt_frontier *flushed);
void stable_moved(struct node *node); // weak tables have changed
// The set is not held, and what it would have to be compared with may be gone: it comes from a replica that was removed, or had forgotten.
bool stable_is_too_late(const struct node *node, const struct crdt_change_set *set);
bool stable_refuses(struct node *node, const struct crdt_change_set *set); // the same, and says so
void stable_database_up(struct node *node, const struct db_event *event);
// Whether the sender of rows, as it was then, held every write whose deletion may be forgotten here. A moment of NULL: not known.
bool stable_trusts(const struct node *node, const struct repair_moment *moment);

// node_recovery.c
void recovery_start(struct node *node);
void recovery_tick(struct node *node);
bool recovery_is_over(const struct node *node);
bool recovery_compare(struct node *node, uint64_t applied); // with what the database that is up has. False: the log lacks some of it
void recovery_recall(struct node *node); // what the log says of others' logs
void recovery_memorise(const struct node *node, struct wal_mark *mark);
void recovery_told(const struct node *node, struct peer *peer); // in a frontier, how much the log holds
void recovery_reminded(struct node *node, const struct peer *peer, struct log_extent had);
uint8_t recovery_flags(const struct node *node);
void recovery_heard(struct node *node, struct peer *peer, uint8_t flags, struct log_extent log);
void recovery_confirmed(struct node *node, const struct raft_read_result *result);

// node_snapshot.c
void snapshot_pump(struct node *node);
void snapshot_pulled(struct node *node, struct peer *peer, const struct snapshot_pull *pull);
void snapshot_piece(struct node *node, const struct peer *peer, const struct snapshot_piece *piece);
void snapshot_lane(struct node *node, enum db_lane lane, bool up);
void snapshot_cancel(struct node *node);                 // a migration comes
void snapshot_describe(const struct node *node, struct node_status *status);
bool snapshot_waits(const struct node *node);            // whoever leads would send one, and has none yet
bool snapshot_is_installing(const struct node *node);    // the database may be replaced at any time
bool snapshot_blocks(const struct node *node);           // no new jobs on either lane
uint64_t snapshot_hold(const struct node *node);         // the log must not be cut above this
uint64_t snapshot_keep_own(const struct node *node);     // nor own weak changes forgotten above this

// node_job.c
struct job *node_job_create(struct node *node, enum db_job_kind kind, uint32_t n_items_max);
void node_job_item(struct job *job, struct cc_blob *blob); // references the blob
void node_job_submit(struct node *node, enum db_lane lane, struct job *job);
// The job that an answer belongs to; jobs before it are freed. NULL when it is not known (any more).
struct job *node_job_answered(struct node *node, enum db_lane lane, uint64_t number);
void node_job_free(struct node *node, enum db_lane lane, struct job *job);
void node_jobs_forget(struct node *node, enum db_lane lane);

// node_forward.c
void forward_submit(struct node *node, uint64_t token, uint32_t peer, uint8_t flags, const struct operation *operation, struct cc_slice bytes);
void forward_reply(struct node *node, uint32_t peer, struct cc_slice body);
void forward_pump(struct node *node);            // sends what belongs to the leader
bool forward_relays(struct node *node);          // others may send here what belongs to the leader
void forward_peer_lost(struct node *node, uint32_t peer);
void forward_leader_changed(struct node *node);
void forward_deadlines(struct node *node);
void forward_refuse_queued(struct node *node); // this replica was removed: what nobody has executed is refused
void forward_requeue(struct node *node, const uint8_t *ids, size_t n, bool uncertain);
struct pending *forward_find(struct node *node, const uint8_t id[OPERATION_ID_BYTES]);
void forward_finish(struct node *node, struct pending *pending, struct cc_slice outcome, uint64_t index);
void forward_move(struct node *node, struct pending *pending, enum pending_state state);
void forward_remember(struct node *node, const uint8_t id[OPERATION_ID_BYTES], struct cc_slice outcome, uint64_t hlc, uint64_t index);
const struct executed *forward_executed(struct node *node, const uint8_t id[OPERATION_ID_BYTES]);
void forward_init(struct node *node);       // for node_create
void forward_finish_all(struct node *node); // frees, for node_destroy

// node_strong.c
void strong_pump(struct node *node);
void strong_event(struct node *node, const struct db_event *event);
void strong_committed(struct node *node);   // the commit index moved
void strong_role_changed(struct node *node);
void strong_loaded(struct node *node, const struct raft_entry *entries, size_t n_entries);

void strong_step_back(struct node *node); // an entry that it did not execute was logged: follow until that is applied

// node_membership.c
enum cc_status membership_restore(struct node *node, struct cc_slice body) CC_CHECKED;
void membership_refresh(struct node *node);                 // after the core may have changed it
void membership_removed(struct node *node, uint64_t index); // a peer says so
bool membership_has_self(const struct node *node);
// By the newest membership that is known to be committed.
bool membership_votes(const struct node *node, uint32_t id);
uint32_t membership_n_voters(const struct node *node);
bool membership_is_alone(const struct node *node); // there are no other members
bool membership_is_before(const struct member *a, const struct member *b); // in line to lead
bool membership_hears(const struct node *node, uint32_t id);       // leader: lately
void membership_tick(struct node *node);

// node_office.c
// To `to`, or 0: to the best of the others. An operator wants it: the office is not taken back for a while. As node_member_change.
enum cc_status office_transfer(struct node *node, uint32_t to, const char **why_out) CC_CHECKED;
bool office_declines(const struct node *node); // an operator has moved the office away from here
void office_tick(struct node *node);

// node_reload.c
void reload_tick(struct node *node);
void reload_asked(struct node *node, uint32_t peer, uint64_t request, const struct node_member_change *change);
void reload_answered(struct node *node, uint64_t request, uint8_t verdict, struct cc_slice why);

// node_read.c
// index 0 without a frontier: the read index is to be found out.
struct read_wish { // nothing of it: the newest
    uint64_t index;
    const struct crdt_frontier *frontier;
    bool heard;  // and what a majority holds
    bool writes; // not to read, but to write
};
void read_submit(struct node *node, uint64_t token, const struct read_wish *wish, uint32_t timeout_ms);
void read_submit_weak(struct node *node, uint64_t token, uint32_t timeout_ms);
void read_told(struct node *node, uint32_t peer, uint64_t context, const struct crdt_frontier *frontier);
void read_flush(struct node *node); // asks for the fresh reads' index, once a turn
void read_result(struct node *node, const struct raft_read_result *result);
void read_applied(struct node *node);
bool read_wants_commit(const struct node *node, uint64_t applied); // somebody waits for more than this
bool read_was_asked_lately(const struct node *node); // so others may follow
bool read_wants_merge(const struct node *node); // somebody waits for changes of weak tables
void read_deadlines(struct node *node);
void read_finish_all(struct node *node);

// node_weak.c
void weak_init(struct node *node);
void weak_event(struct node *node, const struct db_event *event);
void weak_pump(struct node *node); // starts what may be started
void weak_deadlines(struct node *node);
bool weak_is_replaying(const struct node *node);
void weak_held(const struct node *node, struct crdt_frontier *frontier_out); // committed, or acknowledged in the open transaction
void weak_acknowledged(const struct node *node, struct crdt_frontier *frontier_out); // covers all that this replica has acknowledged
bool weak_is_idle(const struct node *node);
void weak_finish_all(struct node *node);

// node_weak_write.c
void weak_submit(struct node *node, uint64_t token, const struct operation *operation, struct cc_slice bytes);

// node_weak_own.c
// A change set from the log, at start. CC_CORRUPT: no change set, or numbers that do not rise.
enum cc_status weak_restore(struct node *node, struct cc_slice change) CC_CHECKED;
// Up to here numbers were given under the present origin, though the log no longer holds all of their changes.
void weak_restore_sequence(struct node *node, uint64_t sequence);
// From the beginning of the log, as far as it takes; what is not the next one is passed over.
void weak_loaded(struct node *node, const struct wal_record *changes, size_t n_changes, struct wal_cursor next, bool done);

// node_weak_gossip.c
void weak_synced(struct node *node, uint64_t log_number);
void weak_peer_frontier(struct node *node, struct peer *peer);
void weak_incoming_settled(struct node *node); // what waits to be merged and would be refused by now is; what follows it comes again
void weak_too_old(struct node *node, struct peer *peer, struct crdt_origin origin, uint64_t sequence); // this change set, of whichever origin, came too late for that peer
bool weak_must_rejoin(const struct node *node);
bool weak_doubts(const struct node *node, const struct peer *peer); // others may refuse what that one wrote while it was away
void weak_put_received(struct node *node, const struct peer *peer, struct cc_buffer *frame); // of the peer's own changes, merged or not
void weak_put_frontier(const struct node *node, struct cc_buffer *frame); // as others are told: without what they will never take
uint64_t weak_missing_at(const struct node *node, const struct peer *peer);

// node_weak_merge.c
void weak_changes(struct node *node, struct peer *peer, struct cc_reader *reader);
size_t weak_join_bytes_max(const struct node *node); // of states of rows, in one transaction

// node_peer.c
struct peer *peer_find(struct node *node, uint32_t id);
void peer_send_raft(struct node *node, const struct raft_message *message);
void peer_send_hello(struct node *node, struct peer *peer);
void peer_send_frontier(struct node *node, struct peer *peer);
void peer_send_stable(struct node *node, struct peer *peer, const struct crdt_claim *claim, const struct crdt_frontier *flushed);
void peer_send_compare(struct node *node, const struct peer *peer, const struct repair_job *question);
void peer_send_too_old(struct node *node, const struct peer *peer, struct crdt_origin origin, uint64_t sequence);
void peer_send_gap(struct node *node, const struct peer *peer, struct crdt_origin origin, uint64_t sequence);
void peer_send_digests(struct node *node, const struct peer *peer, struct cc_slice digests);
void peer_send_states(struct node *node, const struct peer *peer, const struct repair_event *states);
void peer_send_removed(struct node *node, uint32_t id, uint64_t index);
void peer_send_member(struct node *node, uint32_t id, uint64_t request, const struct node_member_change *change);
void peer_send_member_reply(struct node *node, uint32_t id, uint64_t request, uint8_t verdict, const char *why);
void peer_tell_frontier(struct node *node); // to all
void peer_tell_deaf(struct node *node);     // those who lead tell who is not heard, or is again
void peer_ask_frontier(struct node *node, struct peer *peer, uint64_t context); // read_told gets the answer
void peer_send_forward(struct node *node, struct peer *peer, const struct pending *pending);
void peer_send_forward_reply(struct node *node, uint32_t peer, const uint8_t id[OPERATION_ID_BYTES], uint64_t index, struct cc_slice outcome);
void peer_send_changes(struct node *node, struct peer *peer, const struct cc_slice *sets, size_t n_sets);
void peer_send_forgotten(struct node *node, const struct peer *peer, struct log_extent had);
void peer_send_pull(struct node *node, uint32_t peer, const struct snapshot_pull *pull);
void peer_send_piece(struct node *node, uint32_t peer, const struct snapshot_piece *piece);

// node_peer_clock.c
void peer_clock_heard(struct node *node, struct peer *peer, uint64_t hlc, uint64_t wall_ms); // in a frame that has just come
int64_t peer_clock_offset_ms(const struct node *node, const struct peer *peer); // its wall clock less ours, as little as what was heard lately allows
bool peer_clock_is_off(const struct node *node, int64_t *median_ms_out); // this replica against the median of all

#endif
