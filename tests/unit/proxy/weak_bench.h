// A node with weak tables on the bench: replica 1 of three voters and a learner.
#ifndef TESTS_WEAK_BENCH_H
#define TESTS_WEAK_BENCH_H

#include "proxy/node_bench.h"

enum { WALL_MS = 1700000000, SKEW_MS = 500, LEARNER = 4 };

extern const struct crdt_origin far; // of replica 2

// An event of its weak lane.
void database_answers(struct bench *bench, struct db_event event);
// Of a replica in its first life, all up to this change set.
struct crdt_frontier frontier_of(uint32_t replica, uint64_t sequence);
void begin_as(struct bench *bench, uint64_t wall_ms, bool is_new);
void begin(struct bench *bench, uint64_t wall_ms);
// The database executes local writes in one session and merges in another one.
void begin_apart(struct bench *bench, uint64_t wall_ms);
void start_with(struct bench *bench, const struct crdt_frontier *held);
void start(struct bench *bench);
// Nothing is in its log and in its database; all replicas are connected, their clocks agree.
void begin_up(struct bench *bench);
void deliver(struct bench *bench, uint32_t peer, uint8_t kind, uint64_t wall_ms, struct cc_slice body);
struct cc_slice change_of(struct bench *bench, uint32_t replica, uint64_t sequence, uint64_t hlc, const char *value);
void deliver_change(struct bench *bench, uint32_t peer, uint64_t wall_ms, struct cc_slice change);
void deliver_frontier(struct bench *bench, uint32_t peer, const struct crdt_frontier *frontier);
// Until there is a job of this kind; NULL: not within a second.
const struct db_job *await_job(struct bench *bench, enum db_job_kind kind);
// The job of the last effects is answered: they are of the past.
void merged(struct bench *bench, uint64_t number, const struct crdt_frontier *frontier);
void submit(struct bench *bench, uint64_t token);
const char *refusal(const struct bench *bench);
// A weak write that asks for this durability is executed here, in a transaction that is still open.
void execute_here(struct bench *bench, enum operation_durability durability);
void sync_log(struct bench *bench);
// A weak write was executed, and is in the log.
void write_here(struct bench *bench, enum operation_durability durability);
void committed(struct bench *bench, const struct db_job *job, const struct crdt_frontier *frontier);
void deliver_refusal(struct bench *bench, uint32_t peer, struct crdt_origin origin, uint64_t sequence);
void deliver_too_old(struct bench *bench, uint32_t peer, uint32_t incarnation, uint64_t sequence);
// True when a frame of this kind is sent to the peer.
bool sends(const struct bench *bench, uint32_t peer, uint8_t kind);
// The leader's log does not reach back to what this replica has.
void deliver_snapshot_wish(struct bench *bench, uint32_t leader);
void deliver_claim(struct bench *bench, uint32_t peer, const struct crdt_frontier *flushed);
// Up to where garbage may go by then, when everybody has told for some seconds that it holds this.
uint64_t settle(struct bench *bench, const struct crdt_frontier *held);

#endif
