// The simulator: whole nodes over a simulated network, disk, clock and database. One seed decides everything, and virtual time
// is the only time. It links the same object files as the program.
//
//   sim.c           time, events, trace, the run: faults, healing, final checks
//   sim_knobs.c     what a seed decides
//   sim_replica.c   one replica: a node, its log thread, and the carrying out of effects
//   sim_network.c   connections between replicas, partitions
//   sim_fault.c     when what breaks; sim_amnesia.c: when what is lost; sim_members.c: who belongs to the cluster
//   sim_database.c  the model of PostgreSQL for struct db_job; sim_store.c: its transactions; sim_rows.c, sim_weak.c: its tables
//   sim_states.c    what weak rows merge to, remembered
//   sim_garbage.c   the collector of tombstones and histories
//   sim_oracle.c    what weak rows must show, said plainly
//   sim_repair.c    comparisons of weak tables, and rows changed past Caucus
//   sim_client.c    clients and the history of what they saw
//   sim_tell.c      what a failing seed tells
//   sim_check.c, sim_weak_check.c   the invariants (names as in docs/TESTING.md)
//   sim_disk.c      the disk
//   sim_hooks.h     what a test may see and decide: tests/harness
#ifndef SIM_H
#define SIM_H

#include "base/prng.h"
#include "proxy/node/node.h"
#include "sim/sim_disk.h"
#include "sim/sim_hooks.h"

enum { SIM_REPLICAS_MAX = 5, SIM_TRACE_LINES = 300, SIM_TRACE_BYTES = 260, SIM_SKEW_MS = 500, SIM_FRONTIER_US = 200 * 1000 };

struct sim;
struct sim_replica;

// -- Knobs ----------------------------------------------------------------------------------------------------------

// Times in microseconds; a mean of 0 turns the fault off.
#define SIM_KNOBS(X)                                                                                                   \
    X(n_replicas)                                                                                                      \
    X(fault_us) /* length of the phase with faults */                                                                  \
    X(election_us)                                                                                                     \
    X(heartbeat_us)                                                                                                    \
    X(batch_operations_max)                                                                                            \
    X(notice_us) /* commit indexes wait for so long for a message that goes there anyway */                            \
    X(stream)        /* connections as TCP's: in order, nothing is lost but with the connection */                     \
    X(loss_ppm)      /* otherwise frames are lost, */                                                                  \
    X(duplicate_ppm) /* come twice, */                                                                                 \
    X(stranger_ppm)  /* so often comes one of another version, or of an unknown kind */                                \
    X(delay_us)                                                                                                        \
    X(jitter_us)     /* and overtake each other */                                                                     \
    X(aim_percent) /* of faults hit the leader, if there is one */                                                     \
    X(cut_mean_us)                                                                                                     \
    X(cut_length_us)                                                                                                   \
    X(reset_mean_us)                                                                                                   \
    X(crash_mean_us)                                                                                                   \
    X(crash_length_us)                                                                                                 \
    X(crash_machine) /* crashes take the machine along: unsynced sectors and the database's last commits are lost */   \
    X(pause_mean_us)                                                                                                   \
    X(pause_length_us)                                                                                                 \
    X(sync_us)                                                                                                         \
    X(sync_slow_ppm)                                                                                                   \
    X(slow_disk)   /* one replica's syncs take so many times longer */                                                 \
    X(slow_told)   /* and it knows that, and hands its office over */                                                  \
    X(n_founders) /* the others are spare */                                                                           \
    X(ranked)     /* members tell their ports: the first in line is to lead */                                        \
    X(member_mean_us) /* until an operator adds, removes or promotes a member, or moves the office */                  \
    X(kept_percent) /* of those who were removed keep what they have, and come back with it */                        \
    X(away_us) /* so long stay away, at least, those who are removed; before that they are cut off for a while */     \
    X(reload_percent) /* of changes of members are lists that one of them makes true */                                \
    X(clock_wild_ms) /* clocks jump so far, beyond what is tolerated */                                                \
    X(born_new)      /* a first start is that of a new cluster, in which all ask each other */                         \
    X(amnesia_mean_us) /* until a log, a database or both are lost, or replaced by older copies */                     \
    X(second_percent) /* of losses take a database and whoever alone has its newest weak changes, if there is one */     \
    X(space_mean_us) /* until a disk is nearly full, */                                                                \
    X(space_length_us) /* and how long it stays so */                                                                  \
    X(full_percent)    /* of these are full: records find no room */                                                   \
    X(segment_bytes)                                                                                                   \
    X(disk_fail_ppm)     /* of syncs: the process ends and starts again */                                             \
    X(log_bytes)         /* of the log on disk, before replicas that are behind get a snapshot; 0: no limit */                 \
    X(cache_bytes)       /* of the log in memory; 0: the default */                                                    \
    X(own_changes_bytes) /* of own weak changes in memory; 0: the default */                                           \
    X(database_crash_mean_us)                                                                                          \
    X(lane_drop_mean_us)                                                                                               \
    X(job_us)                                                                                                          \
    X(job_slow_ppm)                                                                                                    \
    X(flush_us) /* commits are durable so much later */                                                                \
    X(clock_offset_ms)                                                                                                 \
    X(clock_jump_mean_us)                                                                                              \
    X(n_clients)                                                                                                       \
    X(n_keys)                                                                                                          \
    X(think_us)                                                                                                        \
    X(timeout_ms)                                                                                                      \
    X(durable_percent) /* of weak writes: wait until a majority, or all, have them */                                  \
    X(weak_percent)                                                                                                    \
    X(read_percent)                                                                                                    \
    X(session_percent) /* of reads: of what the client has seen, instead of linearizable */                            \
    X(session_bytes) /* tokens of sessions that would be longer leave out what all have; 0: the default */              \
    X(keyed_percent) /* with an Idempotency-Key, retried by the client */                                              \
    X(fail_percent)                                                                                                    \
    X(migrate_percent)                                                                                                 \
    X(garbage_us) /* between the steps of the collector of tombstones and histories */                                 \
    X(drops_history)                                                                                                   \
    X(tamper_mean_us) /* until a weak row is changed past us, at one replica */                                        \
    X(repair_mean_us) /* until an operator asks for a comparison of weak tables */                                     \
    X(upgrade_mean_us) /* until a replica starts again as one of another version, or goes back */

struct sim_knobs {
#define SIM_KNOB_FIELD(name) uint64_t name;
    SIM_KNOBS(SIM_KNOB_FIELD)
#undef SIM_KNOB_FIELD
};

void sim_knobs_draw(struct sim_knobs *knobs, struct cc_prng *prng);
// "name=value", which then holds for all seeds, whatever they draw. False: there is no such knob.
bool sim_knobs_fix(const char *setting);

// -- Events ---------------------------------------------------------------------------------------------------------

struct sim_event {
    uint64_t at_us, order;
    void (*run)(struct sim *sim, struct sim_event *event);
    uint32_t replica; // dropped when this replica has died since; 0: nobody's
    uint64_t life;
    uint64_t a, b, c;
    struct cc_blob *blob;        // released after the run
    void *data;                  // given to free_data after the run
    struct sim_event *next_free;
    bool is_timer; // fires a little late after a pause
    void (*free_data)(void *data);
};

struct sim_waiting { // in the heap: what its order depends on is beside it
    uint64_t at_us, order;
    struct sim_event *event;
};

// An event `delay_us` from now. The caller fills in what it carries.
struct sim_event *sim_after(struct sim *sim, uint64_t delay_us, void (*run)(struct sim *, struct sim_event *), uint32_t replica);
// Kept only when the seed runs for the second time, to tell why it failed: text is most of the work.
#define sim_trace(sim, ...)                                                                                            \
    do {                                                                                                               \
        if ((sim)->is_told) {                                                                                          \
            sim_trace_line(sim, __VA_ARGS__);                                                                          \
        }                                                                                                              \
    } while (0)
void sim_trace_line(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
// What happened goes into the hash by which two runs of a seed are compared.
void sim_hash(struct sim *sim, uint64_t what);
// An invariant is violated: prints everything needed to find out why, and ends the process with status 1.
_Noreturn void sim_fail(struct sim *sim, const char *invariant, const char *format, ...) __attribute__((format(printf, 3, 4)));
extern const char *sim_ignored; // the name of an invariant that is not looked at, or NULL
bool sim_is_ignored(const char *invariant);
// For what must hold; the text says what is wrong.
#define SIM_CHECK(sim, invariant, condition, ...)                                                                      \
    do {                                                                                                               \
        if (!(condition) && !sim_is_ignored(invariant)) {                                                                                         \
            sim_fail(sim, invariant, __VA_ARGS__);                                                                     \
        }                                                                                                              \
    } while (0)
// Uniform around the mean; exponential-like spread for the times between faults.
uint64_t sim_spread(struct sim *sim, uint64_t mean_us);
uint64_t sim_draw(struct sim *sim, uint64_t low, uint64_t high);
bool sim_chance(struct sim *sim, uint64_t per_million);

// -- Parts ----------------------------------------------------------------------------------------------------------

struct sim_database;
struct sim_network;
struct sim_clients;
struct sim_check;
struct sim_weak_check;
struct sim_rows;
struct sim_states;
struct sim_store;

struct sim_truncation { // of the log; 0: none
    uint64_t index, record;
};

struct sim_replica {
    uint32_t id;
    struct sim *sim;
    bool alive;
    bool doomed;   // a hook has let it die in the event that is being handled
    uint64_t life; // rises with every crash
    uint64_t paused_until_us;
    int64_t clock_offset_ms;
    uint64_t ahead_us; // its own count of time since the start is ahead of the others' by this
    uint64_t tick_at_us; // of the one tick event that counts
    struct node *node;
    struct sim_disk disk;
    struct wal_disk files;
    bool absent;            // not, or no longer, part of the cluster
    bool joins;             // started, and not yet a member
    struct raft_membership founders; // what its first start is told
    struct raft_membership in_force, committed; // by which it works, or worked when it died
    uint32_t incarnation;
    bool is_new;            // the file `recovering`
    bool is_copy;           // its log is an older copy, and nobody has told it yet
    bool is_over;           // and that copy is of an earlier life
    bool is_later;          // its program is of a later version: it and the others do not understand each other
    uint64_t first_change, last_change; // own weak changes that its log held when it started
    uint64_t rebuilt_index; // its database was lost, and is whole again when it has flushed this
    struct sim_copy *copy;  // taken at some time, or NULL
    struct sim_garbage *garbage;
    struct sim_repair *repair;
    bool syncs_fail; // the process dies between write and sync
    bool slow_disk, told_slow; // syncs take longer; the node is told so
    uint64_t back_at_us; // it was removed, and is not to come back before
    uint64_t removed_at; // what its node wants to know again at its next start
    uint32_t wished; // members of the list that it was told last, as bits
    bool space_low, told_space_low; // the disk is nearly full; the node knows
    uint64_t wall_max_ms;           // the latest time that its clock has ever shown
    uint64_t stamp_max_ms;          // the latest of its stamps in the lives of this log, whose marks remember it
    struct wal *wal;
    struct wal_batch log_queue, log_writing;
    struct sim_truncation truncation, truncation_writing; // what waits behind them
    uint64_t log_queued, log_number;
    uint64_t log_synced, log_record; // the last batch that is durable, and its last record
    bool log_busy;
    struct sim_database *database;
    struct cc_buffer snapshot_out, snapshot_in;
    uint64_t snapshot_busy_us; // the thread is busy until then
};

enum sim_phase { SIM_FAULTS, SIM_HEALING, SIM_PROBING, SIM_DONE };

struct sim_counters {
    uint64_t simulated_us, member_changes, reloads, full_disks, no_space, strangers, hand_overs, amnesias, databases_lost, copies, unnoticed, gone, noticed, recovered, weak_reads, skewed, upgrades, ended_lives, origins_begun, stand_ins, events, frames, crashes, machine_crashes, database_crashes, lane_drops, cuts, resets, pauses, clock_jumps, disk_failures, loads, truncations, snapshots;
    uint64_t leaders, replays, requeues, commits_lost, operations, acknowledged, unknown, refused, reads, session_reads, shortened_reads, migrations, key_hits;
    uint64_t weak_key_hits, tombstones_dropped, sets_dropped, tampered, rows_repaired, strays, adoptions; // weak tables
    uint64_t begun_anew, exiled, dead_ends, put_aside, renewed, not_renewed; // members that were away
    uint64_t world; // all that happened and was drawn, in one number
};

struct sim {
    uint64_t seed;
    struct sim_knobs knobs;
    struct cc_prng prng;
    struct sim_hooks hooks;
    uint64_t now_us;
    uint64_t step; // events handled
    enum sim_phase phase;
    uint64_t phase_us; // when it began
    uint32_t lonely;   // whom an operator has cut off, and is about to remove; 0: nobody
    struct sim_waiting *heap;
    size_t n_heap, heap_capacity;
    uint64_t next_order;
    uint32_t n_incarnations;
    struct sim_replica replicas[SIM_REPLICAS_MAX];
    uint32_t n_replicas;
    struct sim_network *network;
    struct sim_clients *clients;
    struct sim_check *check;
    struct sim_weak_check *weak_check;
    struct sim_states *states;
    struct sim_counters counters;
    bool is_told;     // keeps the trace,
    bool print_trace; // and prints it as it grows
    struct sim_event *free_events;
    char trace[SIM_TRACE_LINES][SIM_TRACE_BYTES];
    uint64_t n_trace;
    uint64_t trace_hash;
};

enum { SIM_FAILED = 1, SIM_FAILED_UNTOLD = 3 }; // exit status of a failing seed: the latter is to be run again with the trace
enum sim_tell { SIM_TELL_NOTHING, SIM_TELL_FAILURE, SIM_TELL_ALL };

// Runs one seed to its end, or fails. The trace hash is equal for equal seeds.
void sim_run(struct sim *sim, uint64_t seed, enum sim_tell tell);
struct sim_replica *sim_replica_of(struct sim *sim, uint32_t id);
// The parts of a run, for those who decide themselves what happens when: the caller has set seed, prng, knobs and hooks.
void sim_open(struct sim *sim);
void sim_close(struct sim *sim);
// Handles the next event, if there is one until then; a replica that a hook has let die is doomed, the caller crashes it.
bool sim_step(struct sim *sim, uint64_t until_us);
// When the replica has its next event; UINT64_MAX: none is planned.
uint64_t sim_next_event_us(const struct sim *sim, const struct sim_replica *replica);
// The replica handles no events before this; what waits comes then, in order. What waits for ever comes at once when that is over.
#define SIM_FOR_EVER (UINT64_MAX / 2)
void sim_pause_until(struct sim *sim, struct sim_replica *replica, uint64_t until_us);
// False: the replica is doomed. Asks the hook, if there is one.
bool sim_stage(struct sim_replica *replica, enum sim_stage stage, enum sim_moment moment, const struct node_effects *effects);

// sim_replica.c
void sim_replica_start(struct sim *sim, struct sim_replica *replica);
enum sim_replica_end { SIM_KILLED, SIM_POWER_LOST };
void sim_replica_crash(struct sim *sim, struct sim_replica *replica, enum sim_replica_end end);
void sim_replica_finish(struct sim_replica *replica);
// By which members it works, if it runs: into in_force and committed.
void sim_replica_note_members(struct sim_replica *replica);
struct node_time sim_replica_time(const struct sim *sim, const struct sim_replica *replica);
// Told after the database has flushed: what it has on disk.
void sim_replica_flushed(struct sim *sim, struct sim_replica *replica, uint64_t applied, const struct crdt_frontier *frontier);
// Takes and carries out the node's effects, after every call on it.
void sim_replica_settle(struct sim *sim, struct sim_replica *replica);

// sim_amnesia.c
struct sim_copy;
void sim_copy_destroy(struct sim_copy *copy);
void sim_copy_take(struct sim *sim, struct sim_replica *replica); // of its log and its database; in place of an earlier one
void sim_copy_restore_database(struct sim *sim, struct sim_replica *replica); // of one that is down
void sim_amnesia_start(struct sim *sim);
void sim_amnesia_wipe(struct sim *sim, struct sim_replica *replica); // its log and its database; it is a new one then
void sim_amnesia_noticed(struct sim *sim, struct sim_replica *replica); // the node says that its log lacks what it had
bool sim_amnesia_is_pending(const struct sim *sim);                     // the memory of others is needed

// sim_members.c
enum { SIM_VOTERS_MIN = 3 }; // an operator leaves so many
void sim_members_start(struct sim *sim);
struct member sim_member(uint32_t id); // the lowest id is first in line to lead
bool sim_members_change(const struct sim *sim); // they may: by chance, or by the hand of a test
void sim_members_new_leader(struct sim *sim); // the best moment for a change that comes too early
void sim_members_reloaded(struct sim *sim, struct sim_replica *replica); // it says that the list is made true
// Everybody who is there is a voter, and all know it.
bool sim_members_are_settled(const struct sim *sim, struct cc_buffer *why_not);

// sim_network.c
struct sim_network *sim_network_create(struct sim *sim);
void sim_network_destroy(struct sim_network *network);
void sim_network_send(struct sim *sim, uint32_t from, uint32_t to, struct cc_slice frame);
void sim_network_replica_up(struct sim *sim, uint32_t id);
void sim_network_replica_down(struct sim *sim, uint32_t id, bool silently);
void sim_network_cut(struct sim *sim, bool cut[SIM_REPLICAS_MAX + 1][SIM_REPLICAS_MAX + 1]); // [from][to]
void sim_network_reset(struct sim *sim, uint32_t a, uint32_t b);
void sim_network_heal(struct sim *sim); // from now on reliable

void sim_network_tell(const struct sim *sim); // which directions are cut or broken

// sim_tell.c
void sim_tell_frame(struct sim *sim, uint32_t from, uint32_t to, struct cc_slice frame);
void sim_tell_fact(struct sim *sim, const struct sim_replica *replica, const struct node_fact *fact);
const char *sim_job_name(enum db_job_kind kind);
void sim_tell_end(const struct sim *sim); // the last events, and how everything stands

// sim_fault.c
void sim_fault_start(struct sim *sim);
void sim_fault_heal(struct sim *sim);
void sim_fault_isolate(struct sim *sim, uint32_t replica, uint64_t length_us); // nobody hears it, until another cut comes in its place
void sim_fault_restart_later(struct sim *sim, uint32_t id);
void sim_fault_jump_clock(struct sim *sim, struct sim_replica *replica);

// sim_database.c. A database survives its replica; a connection does not.
struct sim_database *sim_database_create(struct sim *sim, uint32_t replica);
void sim_database_destroy(struct sim_database *database);
void sim_database_connect(struct sim *sim, struct sim_database *database);
void sim_database_disconnect(struct sim *sim, struct sim_database *database); // the replica died
void sim_database_submit(struct sim *sim, struct sim_database *database, enum db_lane lane, const struct db_job *job);
void sim_database_crash(struct sim *sim, struct sim_database *database);
void sim_database_drop_lane(struct sim *sim, struct sim_database *database, enum db_lane lane);
void sim_database_heal(struct sim *sim, struct sim_database *database);
// What a read sees: committed. False when the database is down.
bool sim_database_read(struct sim_database *database, const char *key, struct cc_buffer *value_out, uint64_t *applied_out);
void sim_database_frontier(const struct sim_database *database, struct crdt_frontier *frontier_out); // in the same snapshot

// Told to the database's lanes: the snapshot is in place.
void sim_database_reconnect(struct sim *sim, struct sim_database *database);
struct sim_rows *sim_database_rows(struct sim_database *database);
uint64_t sim_database_life(const struct sim_database *database); // rises with every crash
bool sim_database_is_up(const struct sim_database *database);

// sim_snapshot.c: the snapshot thread
void sim_snapshot_submit(struct sim *sim, struct sim_replica *replica, const struct snapshot_job *job);
void sim_snapshot_died(struct sim_replica *replica);

// sim_client.c
struct sim_clients *sim_clients_create(struct sim *sim);
void sim_clients_destroy(struct sim_clients *clients);
void sim_clients_answer(struct sim *sim, struct sim_replica *replica, const struct node_answer *answer);
void sim_clients_replica_died(struct sim *sim, struct sim_replica *replica);
void sim_clients_probe(struct sim *sim); // a last write and read at every replica, which must succeed
bool sim_clients_are_idle(const struct sim *sim);
// Of a strong attempt, by operation id: where it was committed and with what outcome. Write-once.
void sim_clients_committed(struct sim *sim, const struct entry_operation *operation, uint64_t index);
void sim_clients_check(struct sim *sim); // at the end

// sim_check.c
struct sim_check *sim_check_create(void);
void sim_check_destroy(struct sim_check *check);
void sim_check_node(struct sim *sim, struct sim_replica *replica); // after every call
// It was given a frame that is not for it: what it holds and believes is as before, but for the clock.
struct sim_belief {
    uint64_t term, commit, last_index;
    enum raft_role role;
    uint32_t leader;
    struct crdt_frontier frontier;
};
void sim_check_belief(const struct sim_replica *replica, struct sim_belief *belief_out);
void sim_check_unmoved(struct sim *sim, const struct sim_replica *replica, const struct sim_belief *before);
void sim_check_send(struct sim *sim, struct sim_replica *replica, struct cc_slice frame);
void sim_check_replica_started(struct sim *sim, struct sim_replica *replica);
void sim_check_tell(const struct sim *sim);                         // what was committed last
uint64_t sim_check_commit(const struct sim *sim);                   // highest index known to be committed by anybody
bool sim_check_is_member(const struct sim *sim, uint32_t id); // as last committed
void sim_check_strong_state(struct sim *sim, uint32_t replica, uint64_t index, uint64_t digest);
// W7: when nothing is in the way any more, ten rounds of frontiers do not pass without anybody getting what is missing and in a
// history. What no history has is taken over by comparing rows: that waits until another comparison is done, and is L1's.
void sim_check_spread(struct sim *sim);
// L3: when nothing is in the way any more, every replica takes weak writes within so long that it can begin anew.
void sim_check_serves(struct sim *sim);
// H7: nobody takes another for reachable who understands nothing of what it says.
bool sim_check_stands_in(const struct sim_replica *replica); // it leads, or would, although its database is not fit
void sim_check_stranger(struct sim *sim, const struct sim_replica *replica, uint32_t from);
bool sim_check_converged(struct sim *sim, struct cc_buffer *why_not);
struct sim_replica *sim_present(struct sim *sim); // one that belongs to the cluster
// sim_garbage.c
struct sim_garbage;
void sim_garbage_start(struct sim *sim);
void sim_garbage_destroy(struct sim_garbage *garbage);

// sim_repair.c
struct sim_repair;
void sim_repair_start(struct sim *sim);
void sim_repair_destroy(struct sim_repair *repair);
void sim_repair_submit(struct sim *sim, struct sim_replica *replica, const struct repair_job *job);
// MERGE of states: rows that were changed. Or of none, but a frontier to take over.
uint32_t sim_repair_join(struct sim *sim, struct sim_rows *rows, struct cc_slice list, const struct db_job *job);
void sim_repair_adopt(struct sim *sim, struct sim_rows *rows, const struct db_job *job);

// sim_weak_check.c
struct sim_weak_check *sim_weak_check_create(void);
void sim_weak_check_destroy(struct sim_weak_check *check);
// The committed weak rows of a replica, and what its frontier says that they are.
void sim_check_weak_state(struct sim *sim, uint32_t replica, const struct crdt_frontier *frontier, const struct sim_store *store);
void sim_check_change(struct sim *sim, uint32_t replica, struct cc_slice change); // about to be committed somewhere, or on a disk
// Own changes that this batch of the log, behind the one before, has brought to the disk: they may be acknowledged.
void sim_check_logged_changes(struct sim *sim, const struct sim_replica *replica, uint64_t before, uint64_t number);
// A database is lost: with it may be gone what only it had of origins whose disks were lost before.
void sim_check_database_ends(struct sim *sim);
// The disk of this replica is lost: what it wrote, and no other database has on disk, may be gone.
void sim_check_origins_end(struct sim *sim, uint32_t replica);
void sim_check_end(struct sim *sim);
// A request with this key is executed anew: nothing that this database, or this replica's log, holds was made under it.
void sim_weak_check_key(struct sim *sim, const struct sim_rows *rows, struct cc_slice key);
// Number of change sets in which a weak value occurs.
uint32_t sim_check_value_count(const struct sim *sim, struct cc_slice value);
// This replica is about to drop tombstones up to a bound, or a change set from its history: all members have it on disk.
// W9: what a replica puts aside is renewed once, unless its database is lost, or somebody had it.
void sim_weak_check_aside(struct sim *sim, uint32_t replica, const struct crdt_change_set *set);
// It is taken away with what it has: when it comes back, what nobody else had of its changes is held by all, or renewed once.
bool sim_weak_check_is_held(struct sim *sim, struct crdt_origin origin, uint64_t sequence); // by some database, on disk
void sim_weak_check_exiled(struct sim *sim, const struct sim_replica *replica);
void sim_weak_check_aside_lost(struct sim *sim, uint32_t replica);
void sim_weak_check_renewals(struct sim *sim, const struct crdt_frontier *held); // in the end
void sim_weak_check_bound(struct sim *sim, const struct sim_replica *replica, uint64_t bound);
void sim_weak_check_drop(struct sim *sim, const struct sim_replica *replica, struct crdt_origin origin, uint64_t sequence);
bool sim_weak_check_are_equal(struct sim *sim, struct cc_buffer *why_not); // all weak rows, at all who are there
// The greatest that the origin has given to a change; 0: none.
uint64_t sim_weak_check_stamp(const struct sim *sim, struct crdt_origin origin);
// All of it that can still be had is covered: what all disks that had it have lost never comes again.
bool sim_weak_check_holds(const struct sim *sim, const struct crdt_frontier *frontier, const struct crdt_frontier *wanted);
// Everything that can still be had is covered; and what is not, in words.
bool sim_weak_check_is_complete(const struct sim *sim, const struct crdt_frontier *frontier);
// The next change that it lacks of some origin can still be had, and is in somebody's history: it need not take over rows for it.
bool sim_weak_check_is_owed(const struct sim *sim, const struct sim_replica *replica, const struct crdt_frontier *frontier);
void sim_weak_check_tell_missing(const struct sim *sim, const struct crdt_frontier *frontier, struct cc_buffer *out);

#endif
