// The node: a replica's whole logic as one deterministic state machine. Events in (node_* calls), effects out
// (node_take_effects). It owns no socket, file, thread, clock or random source.
//
//   HTTP threads --submit/read--> +------+ --log records--> log thread --log_synced--> node
//   peers --------frames--------> | node | --frames-------> peers
//   PostgreSQL ----db_event-----> +------+ --jobs---------> PostgreSQL;  --answers--> HTTP threads
//
// Effects are carried out in this order: make durable, start jobs, send, answer. Sends that depend on durability are held
// back by the node itself until node_log_synced.
#ifndef PROXY_NODE_H
#define PROXY_NODE_H

#include "consensus/raft.h"
#include "consensus/wal.h"
#include "crdt/change.h"
#include "proxy/node/database.h"
#include "proxy/node/operation.h"
#include "proxy/node/member.h"
#include "proxy/node/repair.h"
#include "proxy/node/snapshot.h"

struct node_options {
    struct raft_options raft;
    uint32_t incarnation;             // of the log
    uint32_t next_incarnation;        // drawn at random for this start: of a new origin of weak changes, should one be needed
    uint64_t removed_at;              // node_effects.removed_at of an earlier run of this replica
    bool is_new;                      // the log is new, and this replica has not yet made good for what it may have forgotten
    uint64_t clock_skew_ms_max;
    uint64_t frontier_interval_us;    // how often frontiers are told to peers; default 1 s
    uint64_t request_window_us;       // how long executed request ids are remembered for internal retries
    uint32_t request_buckets;         // of the table in which they are found; default CC_REQUEST_WINDOW
    struct cc_slice facts_of_database; // version, encoding, collation: compared with the peers' (opaque bytes, equal or refused)
    bool merges_apart;                // the database merges in another session than that in which it executes weak writes
    uint32_t batch_operations_max;    // default CC_BATCH_OPERATIONS_MAX
    size_t ahead_bytes;               // writes of so many bytes are made ready while others execute; default 64 KiB
    size_t own_changes_bytes_max;     // own weak change sets kept in memory; default 64 MB
    uint64_t log_bytes_max;           // a log that is larger is cut also above what other replicas still need; 0: never
    size_t snapshot_piece_bytes;      // default 512 KB
    uint64_t log_keep_us;             // for so long an unreachable replica's needs count; 0: for ever
};

struct node;

enum { NODE_FRAME_VERSION = 3 }; // the first byte of each frame between nodes: frames of another version are not understood

struct node *node_create(const struct node_options *options);
void node_destroy(struct node *node);
// Recovery: every record of the log in order, then node_start. CC_CORRUPT.
enum cc_status node_restore(struct node *node, const struct wal_record *record) CC_CHECKED;
// The promise_number of the log (struct wal_state) as it is on disk: told before node_start, and with each node_log_synced, before it.
void node_log_promises(struct node *node, uint64_t promise_number);
// Before node_start: the log is empty, and begun by this process.
void node_log_begun(struct node *node);
void node_start(struct node *node, uint64_t now_us, uint64_t wall_ms);
// Bytes that describe the database, once known (before its first DB_UP).
void node_set_facts(struct node *node, struct cc_slice facts);

// -- Events. Every call takes the time first: monotonic microseconds and wall milliseconds. ------------------------------

struct node_time {
    uint64_t now_us;
    uint64_t wall_ms;
};

void node_tick(struct node *node, struct node_time time);
uint64_t node_next_tick_us(const struct node *node);
void node_log_synced(struct node *node, struct node_time time, uint64_t number);
// What is on disk by now; told twice a second or so. The log is cut below it.
struct node_durable {
    uint64_t applied;       // index, in PostgreSQL
    uint64_t log_number;    // as in node_log_synced, of which
    uint64_t record_number; // was the last record
    uint64_t log_base;      // the log on disk begins after this index
    uint64_t log_bytes;
    const struct crdt_frontier *frontier; // of weak changes, in PostgreSQL; NULL: not known
    bool space_low; // the disk is nearly full: no more writes are taken
    bool disk_slow; // syncs take too long: a leader hands over to a replica whose disk is not slow
};
void node_durable(struct node *node, struct node_time time, const struct node_durable *durable);
void node_log_loaded(struct node *node, struct node_time time, uint32_t peer, const struct raft_entry *entries, size_t n_entries);
// The records that node_effects.load_changes asked for, where to go on, and whether that is the end of what is durable.
void node_changes_loaded(struct node *node, struct node_time time, const struct wal_record *changes, size_t n_changes, struct wal_cursor next, bool done);
void node_peer_up(struct node *node, struct node_time time, uint32_t peer, uint32_t incarnation);
void node_peer_down(struct node *node, struct node_time time, uint32_t peer);
void node_peer_frame(struct node *node, struct node_time time, uint32_t peer, struct cc_slice frame);
// The peer does not talk to us: by the membership that was committed at `index` this replica is no member.
void node_peer_removed(struct node *node, struct node_time time, uint32_t peer, uint64_t index);
void node_snapshot_event(struct node *node, struct node_time time, const struct snapshot_event *event);
void node_db_event(struct node *node, struct node_time time, const struct db_event *event);

// A write (encoded operation, copied). Answered once with NODE_ANSWER_OUTCOME.
void node_submit(struct node *node, struct node_time time, uint64_t token, struct cc_slice operation);
// A read of strong tables: answered with NODE_ANSWER_READ when this database has committed everything acknowledged before
// now, or with NODE_ANSWER_OUTCOME (REFUSED) at the deadline.
void node_read(struct node *node, struct node_time time, uint64_t token, uint32_t timeout_ms);
// A read wants the database to have applied `index` (it found that it had not).
void node_read_at(struct node *node, struct node_time time, uint64_t token, uint64_t index, uint32_t timeout_ms);
// A read of weak tables at level linearizable: answered as node_read when this database holds every change that one of a majority
// of the replicas had acknowledged when it was asked, which is after now.
void node_read_weak(struct node *node, struct node_time time, uint64_t token, uint32_t timeout_ms);
// A read of weak tables in this database, as soon as that has committed every weak write that this replica has acknowledged. Answered as
// node_read. Only worth asking when node_has_unread() says that there is such a write which it has not.
void node_read_own(struct node *node, struct node_time time, uint64_t token, uint32_t timeout_ms);
bool node_has_unread(const struct node *node);
// A read of a session wants this database to hold what the session has seen: the log up to `index` (0: nothing of it) and
// the frontier of weak changes (copied). `shortened`: also everything that a majority of the replicas holds now (session.h).
// Answered as node_read.
void node_read_session(struct node *node, struct node_time time, uint64_t token, uint64_t index,
                       const struct crdt_frontier *frontier, bool shortened, uint32_t timeout_ms);
// The same for a weak write of a session: what is executed in the open transaction, which it will execute in, is there for it.
void node_write_session(struct node *node, struct node_time time, uint64_t token, const struct crdt_frontier *frontier, uint32_t timeout_ms);
// PostgreSQL is connected but does not answer, or does again: a leader hands its office over meanwhile.
void node_set_sick(struct node *node, struct node_time time, bool sick);
enum node_member_action {
    NODE_MEMBER_ADD,     // a new one as a learner (promoted by itself once it keeps up), or other addresses or another key of a present one
    NODE_MEMBER_REMOVE,
    NODE_MEMBER_PROMOTE, // now, not waiting for it to catch up
    NODE_MEMBER_TRANSFER, // leadership to member.id, or 0: to the best of the others
};
struct node_member_change {
    enum node_member_action action;
    struct member member;
};
// On the leader. CC_OK: proposed as the entry `index_out` (or it is so already; 0: of a transfer); the status tells when it is
// committed. CC_NOT_LEADER; CC_INVALID, CC_EXISTS: never; CC_UNAVAILABLE: not now. why_out: constant text.
enum cc_status node_member_change(struct node *node, struct node_time time, const struct node_member_change *change, uint64_t *index_out,
                                  const char **why_out) CC_CHECKED;

// A reload: the members become these, by as many changes as it takes, which this replica asks the leader for.
enum node_reload_state { NODE_RELOAD_NONE, NODE_RELOAD_RUNNING, NODE_RELOAD_DONE, NODE_RELOAD_FAILED };
struct node_reload_step {
    enum node_member_action action; // ADD or REMOVE
    uint32_t id;
    bool is_new; // ADD: not a member yet; else its address or key changes
};
struct node_reload_plan {
    uint32_t n;
    struct node_reload_step steps[2 * CC_REPLICAS_MAX];
};
struct node_reload_wish {
    uint32_t n_members;
    struct member members[CC_REPLICAS_MAX]; // `voter` is of no meaning: all will vote
    uint32_t wait_ms; // for all of it
    bool dry_run;
};
// Says what will happen, and begins unless that is nothing or a dry run; node_status.reload tells how it goes. A new reload takes the place
// of one that runs. CC_INVALID, CC_UNAVAILABLE (no leader, no majority). why_out: constant text.
enum cc_status node_reload(struct node *node, struct node_time time, const struct node_reload_wish *wish, struct node_reload_plan *plan_out,
                           const char **why_out) CC_CHECKED;

// Orderly shutdown: hands over leadership, refuses new work. Done when node_is_idle.
void node_stop(struct node *node, struct node_time time);
bool node_is_idle(const struct node *node);
// Leadership is somewhere else, or nobody could take it.
bool node_is_handed_over(const struct node *node);

// -- Effects -------------------------------------------------------------------------------------------------------------

enum node_answer_kind { NODE_ANSWER_OUTCOME, NODE_ANSWER_READ };

struct node_answer {
    uint64_t token;
    enum node_answer_kind kind;
    struct cc_slice outcome; // OUTCOME: rest_outcome_put form
    uint64_t index;          // OUTCOME: of the entry (strong), 0 if unknown. READ: read at or after this
    uint32_t schema_version; // READ: catalog that the read needs at least
    // READ: changes of weak tables that the read needs. OUTCOME of a weak write under a key that changed nothing: those that it may tell of.
    // crdt_frontier_put form; empty: none
    struct cc_slice frontier;
    struct crdt_origin origin; // OUTCOME of a weak write that changed something: number of its change set; else sequence 0
    uint64_t sequence;
    enum operation_durability durability; // of that change set, as far as it had got
};

struct node_send {
    uint32_t peer;
    struct cc_slice frame;
};

struct node_load {
    uint32_t peer; // 0: this replica's own database
    uint64_t first, last;
};

enum node_fact_kind { // things worth a log line; the shell prints them
    NODE_FACT_ROLE,        // a: role, b: term, c: leader
    NODE_FACT_PEER_REFUSED, // a: peer; text: why
    NODE_FACT_DIVERGED,    // text
    NODE_FACT_SCHEMA,      // a: version, b: index
    NODE_FACT_CLOCK,       // a: peer, b: ms ahead
    NODE_FACT_REQUEUED,    // a: n operations whose entry was lost or never logged
    NODE_FACT_RECOVERED,          // a: log index; votes and counts from now on
    NODE_FACT_FORGOT,             // a: last index, b: applied; text: how that was found out
    NODE_FACT_SNAPSHOT_PULL,      // a: from whom, b: applied here, c: base of the log here
    NODE_FACT_SNAPSHOT_MADE,      // a: index, b: bytes
    NODE_FACT_SNAPSHOT_INSTALLED, // a: index, b: bytes
    NODE_FACT_SNAPSHOT_FAILED,    // a: index, 0: when making; text
    NODE_FACT_MEMBERS, // a: how many, b: index that they are committed at, c: index of those in force
    NODE_FACT_REMOVED, // a: index; this replica is no member any more
    NODE_FACT_PROMOTED, // a: member, b: index
    NODE_FACT_RELOAD, // a: node_reload_state, b: changes, c: of them not made yet; text: why it failed
    NODE_FACT_TWO_CONTENTS, // a: replica, b: incarnation, c: sequence: two change sets have this number
    NODE_FACT_RESTORED,     // a: peer, b: its last change of ours, c: our last one: this replica runs on an old copy of its data
    NODE_FACT_ORIGIN,       // a: incarnation of the origin before, b: the last change here of it, c: incarnation of the new one
    NODE_FACT_TOO_OLD, // a: replica, b: incarnation, c: sequence of a change set that comes too late to be merged
    NODE_FACT_HISTORY_GAP, // a: peer, b: replica, c: incarnation: it needs changes of this origin that our history has no longer
    NODE_FACT_REJOIN,         // a: peer, b: sequence of our change that it refuses because it comes too late, c: our last one: this replica must begin anew
    NODE_FACT_BEGIN_ANEW,     // a: own change sets that were put aside; the log follows, and the process ends
    NODE_FACT_CHANGES_MISSING, // a: first, b: last of our changes that the database has lost, the log does not have and nobody has sent; c: members who do not answer
    NODE_FACT_CHANGES_LOST,    // a: first of them, b: how many no member has; c: how many, behind them, are put aside
    NODE_FACT_RENEWED,        // a: change sets of an earlier life of which something was written again, b: of which something had lost
    NODE_FACT_CATCH_UP,       // a: peer, b: replica, c: incarnation: the rows are taken over from the peer, whose history lacks changes of this origin
    NODE_FACT_CAUGHT_UP,      // a: peer, b: rows changed, c: rows told
    NODE_FACT_CATCH_UP_ENDED, // a: peer; text: why it begins anew
    NODE_FACT_DIGESTS_DIFFER, // a: peer; text: the table. At equal frontiers: this should never be
    NODE_FACT_REPAIRED, // a: rows changed, b: rows compared, c: members that did not answer
    NODE_FACT_REPAIR_GOES_ON, // a: members: comparisons that the last life of this process was asked for, or that were in vain, begin again
    NODE_FACT_REPLAY,      // a: first index or sequence, b: last: applied again after a crash of PostgreSQL
};

struct node_fact {
    enum node_fact_kind kind;
    uint64_t a, b, c;
    const char *text;
};

struct node_effects { // borrowed until the next node_take_effects
    uint64_t log_number; // > 0: append the batch durably, then node_log_synced(log_number)
    const struct wal_batch *log;
    uint64_t truncate_index;  // > 0: behind the batch, entries below this and
    uint64_t truncate_record; // weak changes in records below this are not needed any more (wal_truncate)
    const struct node_load *loads;
    size_t n_loads;
    const struct wal_cursor *load_changes; // own weak changes from here on are wanted: node_changes_loaded; NULL: none
    const struct node_send *sends;
    size_t n_sends;
    struct db_job *const *jobs[DB_LANES]; // owned by the node until their answer
    size_t n_jobs[DB_LANES];
    const struct snapshot_job *snapshots;
    size_t n_snapshots;
    const struct repair_job *repairs;
    size_t n_repairs;
    bool recovered; // node_options.is_new holds no longer
    bool forgot;    // put the log aside and start again with a new one
    bool snapshot_cancel; // a snapshot that is being made is to be given up: it would block a migration
    const struct node_answer *answers;
    size_t n_answers;
    const struct node_fact *facts;
    size_t n_facts;
    bool members_changed; // raft_membership, node_is_member or the leader differs: perhaps others are to be dialled
    bool removed_changed; // remember `removed_at` over restarts: the members committed at this index do not have this replica; 0: it is one
    uint64_t removed_at;
    bool catalog_changed; // read the catalog again: schema_version rose
};

void node_take_effects(struct node *node, struct node_effects *effects_out);

// What is not needed any more by any member: tombstones whose newest stamp is at most `bound` (hybrid logical time), and change
// sets of the history up to this frontier.
struct node_garbage {
    uint64_t bound;
    struct crdt_frontier history;
};
void node_garbage(const struct node *node, struct node_garbage *garbage_out);
// Before tombstones up to the bound go, and when an earlier process's bound is found: older changes that were never seen are refused.
void node_garbage_collected(struct node *node, struct node_time time, uint64_t bound);

// Compares all weak tables with those of every other member, and joins what differs; with those that are away when they are back, also after a
// restart. False: one is under way already, and this one comes after it.
bool node_repair(struct node *node, struct node_time time);
void node_repair_event(struct node *node, struct node_time time, const struct repair_event *event);

// -- Questions -----------------------------------------------------------------------------------------------------------

struct node_peer_status {
    uint32_t id;
    bool voter;
    bool reachable;
    uint64_t applied;
    uint64_t weak_missing; // weak change sets that we hold and it has not told to hold
    uint32_t schema_version;
    uint64_t heard_us_ago;
    enum raft_role role;
    const char *refused; // why its frames are not taken, or NULL
    bool clock_known;
    int64_t clock_offset_ms; // its clock less this replica's, when it was heard
};

// Where a strong write that the leader takes spends its time, until its answer is ready.
enum node_stage {
    NODE_STAGE_QUEUE,     // waits for the batch before it
    NODE_STAGE_EXECUTE,   // in PostgreSQL
    NODE_STAGE_REPLICATE, // until a majority has it on disk
    NODE_STAGES
};
enum { NODE_STAGE_BUCKETS = 13 };
extern const uint32_t node_stage_limits_us[NODE_STAGE_BUCKETS]; // a bucket counts what took no longer than this; the rest is in the sum only
struct node_stage_times {
    uint64_t n[NODE_STAGE_BUCKETS]; // of this bucket alone
    uint64_t n_all, sum_us;
};

struct node_repair_status {
    bool running;
    bool catching_up;      // it is to take over what a peer holds
    uint64_t n_adopted;    // times that was done, since the start
    uint32_t peer;
    char table[160];       // compared now; empty: none
    uint32_t done_percent; // of that table's buckets
    uint64_t n_rounds;     // ended since the start
    uint64_t n_compared, n_repaired; // rows, in the present or last round
    uint64_t n_repaired_ever;        // rows, since the start
    uint64_t n_skipped;    // members that did not answer, in the present or last round
    uint32_t left[CC_REPLICAS_MAX]; // members with which a comparison is still to be done: it begins by itself
    uint32_t n_left;
    bool left_known; // what an earlier life of this process left has been read
    uint64_t n_suspected;  // times that digests differed at equal frontiers
};

struct node_status {
    uint32_t replica, incarnation;
    struct crdt_origin origin; // of its weak changes
    bool origin_confirmed;     // no copy of this replica can have given the numbers that come
    uint64_t n_origins_begun;  // since the start
    enum raft_role role;
    uint64_t term;
    uint32_t leader;
    uint64_t commit, applied, last_index;
    uint32_t schema_version;
    struct crdt_frontier frontier;
    uint64_t hlc;
    bool database_up[DB_LANES];
    bool replaying;     // what PostgreSQL lost in a crash is being applied again
    bool space_low;
    bool disk_slow;
    bool recovering; // neither votes nor counts, because it may have forgotten something
    const char *snapshot; // "pulling", "installing", "making", "serving", or NULL
    uint64_t snapshot_index, snapshot_bytes, snapshot_total; // bytes: of total, pulled so far
    struct node_repair_status repair;
    uint64_t missing_first, missing_last; // own changes that its database has lost and nobody has sent; 0: none
    uint64_t n_changes_lost;    // such that nobody has any more, as far as its database remembers
    bool must_rejoin;           // others no longer take its weak changes: it was removed for a time
    uint64_t n_aside;             // change sets of an earlier life that are to be written again
    uint64_t n_renewed, n_not_renewed; // since the start: of which something was; of which something had lost
    uint64_t n_identity_alarms; // NODE_FACT_TWO_CONTENTS and NODE_FACT_RESTORED
    bool clock_is_off;          // further from the other replicas' median than it may be: weak writes are refused
    int64_t clock_offset_ms;    // of that median to this replica's clock, as far as it is known
    const char *halted; // why this replica refuses service, or NULL
    bool is_member;
    struct raft_membership membership; // in force
    uint64_t membership_index, membership_committed; // of the one in force, of the newest that is committed
    struct { // the last one asked for here
        enum node_reload_state state;
        uint32_t n_steps, n_left;
        char why[160];
    } reload;
    uint32_t n_queued, n_waiting_reads;
    uint32_t n_peers;
    struct node_peer_status peers[CC_REPLICAS_MAX];
    struct { // counters since the start
        uint64_t strong_writes, weak_writes, reads, forwards, batches, entries, merges, requeues, refused;
    } counters;
    struct node_stage_times stages[NODE_STAGES];
};

void node_describe(const struct node *node, uint64_t now_us, struct node_status *status_out);
bool node_is_member(const struct node *node); // else it refuses service
// The index of the membership in force if it is committed and has this replica, else 0.
uint64_t node_settled_membership(const struct node *node);
const struct raft *node_raft(const struct node *node); // for checkers

#endif
