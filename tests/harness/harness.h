// A whole cluster inside a test: nodes of the program over the simulator's network, disks, clocks and databases (tests/sim), under
// the test's hand. Virtual time is the only time; equal seeds and equal calls give equal runs. Meanwhile the simulator's invariants
// are checked: one that is violated prints the last events and ends the process with status 1.
//
//     struct harness *harness = harness_create(&(struct harness_options){.n_replicas = 3});
//     uint32_t leader = harness_wait_for_leader(harness);
//     struct faults_rule isolate = {.kind = FAULTS_ISOLATE, .replica = leader};
//     harness_add_fault(harness, &isolate);
//     uint64_t write = harness_write(harness, 2, "put orders 1");
//     harness_run_ms(harness, 3000);
//     harness_answer(harness, write)->kind == HARNESS_DONE ...
//
// Statements are the simulator's (sim/sim_rows.h). Strong: "put KEY VALUE", "append KEY VALUE", "delete KEY", "move KEY KEY2",
// "fail". Weak: "insert KEY VALUE", "update KEY COLUMN VALUE", "upsert KEY COLUMN VALUE", "delete KEY". Words have at most 23 bytes.
#ifndef HARNESS_H
#define HARNESS_H

#include "consensus/message.h"
#include "consensus/wal.h"
#include "proxy/faults/faults.h"
#include "sim/sim_hooks.h"

struct harness;

enum harness_fate { HARNESS_GO_ON, HARNESS_KILL, HARNESS_CUT_POWER };

struct harness_hooks { // each may be NULL
    void *context;
    // Before and after each stage of handling a node's effects. With another fate than GO_ON the replica ends at this very point.
    // Effects are borrowed, and NULL for WRITE, SYNC and APPLY. The hook may look at everything and change faults, no more.
    enum harness_fate (*stage)(void *context, struct harness *harness, uint32_t replica, enum sim_stage stage,
                               enum sim_moment moment, const struct node_effects *effects);
    // The replica's database has committed the entry. As for stage.
    void (*applied)(void *context, struct harness *harness, uint32_t replica, uint64_t index);
    // The role, term or leader of a replica is another one.
    void (*role)(void *context, struct harness *harness, uint32_t replica, enum raft_role role, uint64_t term,
                 uint32_t leader);
    // Just before harness_answer finds it.
    void (*answered)(void *context, struct harness *harness, uint64_t request);
};

struct harness_options {
    uint32_t n_replicas; // up to 5; 0: 3
    uint64_t seed;       // of all chance
    // Own randomness instead of the seed: a number in [low, high].
    uint64_t (*draw)(void *context, uint64_t low, uint64_t high);
    void *draw_context;
    uint32_t election_ms, heartbeat_ms; // 0: 1000, 100
    uint32_t timeout_ms;                // of requests; 0: 5000
    uint32_t garbage_ms;                // between steps of the collectors of weak tables' garbage, histories too; 0: there are none
    uint64_t log_bytes;                 // above it the log is cut also above what other replicas need; 0: never
    bool ranked;                        // members tell their ports, so that the first in line is to lead: 1, 2, ...
    struct harness_hooks hooks;
};

struct harness *harness_create(const struct harness_options *options);
void harness_destroy(struct harness *harness); // NULL is fine
void harness_set_hooks(struct harness *harness, const struct harness_hooks *hooks);

// -- Time -----------------------------------------------------------------------------------------------------------

uint64_t harness_now_us(const struct harness *harness);
// One event of the cluster (a message arrives, a sync is done, a timer rings ...). False: there is none within a second.
bool harness_step(struct harness *harness);
// The replica's next event (and those of the same instant), while all other replicas stand still; networks and databases do not.
// False: it has none, or is paused.
bool harness_step_replica(struct harness *harness, uint32_t replica);
void harness_run_ms(struct harness *harness, uint64_t ms);
// Until the condition holds; false: it did not within so long.
bool harness_run_until(struct harness *harness, bool (*holds)(void *context, struct harness *harness), void *context,
                       uint64_t ms);
// The replica's own clock jumps to where its election timeout is over. False: it is down or leads.
bool harness_time_out(struct harness *harness, uint32_t replica);
// Its wall clock is off by so much from now on; 0: right again.
void harness_set_clock(struct harness *harness, uint32_t replica, int64_t ms);

// -- Replicas: 1 to n -----------------------------------------------------------------------------------------------

uint32_t harness_size(const struct harness *harness);
struct node *harness_node(struct harness *harness, uint32_t replica); // NULL: it is down
// What its log has on disk. NULL: it is down.
const struct wal_state *harness_disk(struct harness *harness, uint32_t replica);
// The one with the highest term; 0: nobody.
uint32_t harness_leader(struct harness *harness);
uint32_t harness_wait_for_leader(struct harness *harness); // whom all replicas that run follow; fails after 30 s
bool harness_is_paused(struct harness *harness, uint32_t replica);
void harness_pause(struct harness *harness, uint32_t replica); // as SIGSTOP: its database goes on, what comes waits
void harness_resume(struct harness *harness, uint32_t replica);
// HARNESS_KILL: as kill -9. HARNESS_CUT_POWER: what was not synced is lost, of the log and of the database. Nothing if it is down.
void harness_stop(struct harness *harness, uint32_t replica, enum harness_fate fate);
// The log and the database of a replica that is down are lost.
void harness_wipe(struct harness *harness, uint32_t replica);
void harness_start(struct harness *harness, uint32_t replica); // nothing if it runs
// Its PostgreSQL dies and recovers without the commits that it had not flushed. Nothing if it is down.
void harness_crash_database(struct harness *harness, uint32_t replica);
// A copy of its PostgreSQL, and its PostgreSQL as it was then, for which the replica is killed.
void harness_copy_database(struct harness *harness, uint32_t replica);
void harness_restore_database(struct harness *harness, uint32_t replica);
// An operator asks for a comparison of its weak rows with all others'. False: one is under way.
bool harness_compare(struct harness *harness, uint32_t replica);

// Asks the leader for a change of the members, or to hand over to `replica`; new members have no machine behind them, so ADD is of
// use only for one that was removed. CC_NOT_LEADER: nobody leads; else as node_member_change.
enum cc_status harness_change_members(struct harness *harness, enum node_member_action action, uint32_t replica) CC_CHECKED;

// -- Messages: rules as in proxy/faults.h ---------------------------------------------------------------------------

const struct faults *harness_faults(const struct harness *harness);
uint32_t harness_add_fault(struct harness *harness, const struct faults_rule *rule); // its id; 0: refused
bool harness_remove_fault(struct harness *harness, uint32_t id);
// No faults any more; connections that lost messages are made anew.
void harness_heal(struct harness *harness);
// The Raft message in a frame, for a look at what is sent. False: it is of another kind. Ends with raft_message_finish.
bool harness_raft_message(struct cc_slice frame, struct raft_message *message_out);

// -- Requests -------------------------------------------------------------------------------------------------------

enum harness_outcome { HARNESS_WAITS, HARNESS_DONE, HARNESS_FAILED, HARNESS_REFUSED, HARNESS_UNKNOWN };
const char *harness_outcome_name(enum harness_outcome outcome);

struct harness_answer {
    uint32_t replica;
    const char *text; // as asked
    bool is_read;
    enum harness_outcome kind;
    uint64_t index;        // DONE: of the entry; of a read: what the database had applied
    uint64_t n_rows;       // of a write
    struct cc_slice value; // of a read; NULL data: no such row
    enum operation_durability asked, reached; // of a weak write
};

struct harness_session { // what a client has seen
    uint64_t index;
    struct crdt_frontier frontier;
};

// Statements are proposed at a replica, which forwards them to the leader. The number of the request.
uint64_t harness_write(struct harness *harness, uint32_t replica, const char *statement);
uint64_t harness_write_weak(struct harness *harness, uint32_t replica, const char *statement);
uint64_t harness_write_weak_to(struct harness *harness, uint32_t replica, const char *statement, enum operation_durability durability);
uint64_t harness_read(struct harness *harness, uint32_t replica, const char *key); // linearizable
uint64_t harness_read_weak(struct harness *harness, uint32_t replica, const char *key); // the same of a weak row
// The session has seen what this replica's database shows now, as if it had been answered by it. Nothing if it is down.
void harness_see(struct harness *harness, uint32_t replica, struct harness_session *session);
uint64_t harness_read_session(struct harness *harness, uint32_t replica, const char *key, bool weak, const struct harness_session *session);
const struct harness_answer *harness_answer(const struct harness *harness,
                                            uint64_t request); // borrowed until the next request
bool harness_wait(struct harness *harness,
                  uint64_t request); // until it is answered, its time limit at most; true: DONE
// What the replica's database holds of a strong row, or of a weak one ("a=1 b=1 n=1 c=1"): appended. False: there is no such row.
bool harness_look(struct harness *harness, uint32_t replica, const char *key, struct cc_buffer *out);
bool harness_look_weak(struct harness *harness, uint32_t replica, const char *key, struct cc_buffer *out);
// What the replica's database still has of deleted weak rows and of histories.
void harness_count_garbage(struct harness *harness, uint32_t replica, uint64_t *n_tombstones_out, uint64_t *n_sets_out);
// Everything that a replica has put aside is renewed once (invariant W9). How many change sets were put aside.
uint64_t harness_check_renewals(struct harness *harness);
// Until every replica is up, has applied the same log, holds the same changes, and no request waits; 60 s at most. why_not_out
// (may be NULL) says what is missing.
bool harness_settle(struct harness *harness, struct cc_buffer *why_not_out);

#endif
