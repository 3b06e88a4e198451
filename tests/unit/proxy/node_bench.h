// A node under the hand of a test, event by event: time, its database and the frames of other replicas are what the test says.
#ifndef TESTS_NODE_BENCH_H
#define TESTS_NODE_BENCH_H

#include "proxy/node/node.h"

enum wire_kind { // of frames: part of the protocol, so that numbers stand here again
    FRAME_HELLO = 1,
    FRAME_RAFT = 2,
    FRAME_FRONTIER = 5,
    FRAME_CHANGES = 6,
    FRAME_REMOVED = 7,
    FRAME_ASK = 8,
    FRAME_TOLD = 9,
    FRAME_STABLE = 10,
    FRAME_COMPARE = 14,
    FRAME_STATES = 15,
    FRAME_GAP = 17,
    FRAME_TOO_OLD = 18,
    FRAME_FORGOTTEN = 19,
    FRAME_PULL = 20,
};

struct bench {
    struct node *node;
    struct node_time time;
    struct node_effects effects; // of the last turn
    struct cc_arena arena;
};

// Without a node, which is the test's to make.
void bench_init(struct bench *bench, uint64_t wall_ms);
void end(struct bench *bench);
void turn(struct bench *bench);
void pass(struct bench *bench, uint64_t ms);

// Both lanes of its database are connected; the database holds this much.
void database_up(struct bench *bench, const struct crdt_frontier *frontier);
// Among the effects of the last turn; NULL: there is none.
const struct db_job *find_job(const struct bench *bench, enum db_job_kind kind); // of the weak lane
const struct node_fact *find_fact(const struct bench *bench, enum node_fact_kind kind);
void submit_weak(struct bench *bench, uint64_t token, uint32_t timeout_ms, enum operation_durability durability);

struct wire_head {
    uint8_t version; // 0: NODE_FRAME_VERSION
    uint8_t kind;
    uint64_t hlc, wall_ms;
};
void deliver_frame(struct bench *bench, uint32_t peer, const struct wire_head *head, struct cc_slice body);

struct word { // what a peer in its first life says of itself, in FRAME_FRONTIER
    const struct crdt_frontier *held, *received; // what it holds, and what it has received, merged or not, of our changes; NULL: nothing
    uint64_t membership_index;
    bool database_down, is_empty, recovers;
    uint64_t applied, last_index, promise, term;
};
void deliver_word(struct bench *bench, uint32_t peer, const struct word *word);

// The set, of the row "a" of public.t inserted with this status; in the bench's arena.
struct cc_slice change_with(struct bench *bench, struct crdt_change_set set, const char *value);

#endif
