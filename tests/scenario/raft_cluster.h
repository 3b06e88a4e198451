// A cluster of Raft cores in one process: simulated network, time and disks, and checkers of Raft's invariants after every step.
// Everything is decided by the caller; nothing here draws random numbers.
#ifndef RAFT_CLUSTER_H
#define RAFT_CLUSTER_H

#include "consensus/raft.h"

enum { CLUSTER_SERVERS_MAX = 7, CLUSTER_TERMS_MAX = 65536 };

struct cluster_entry {
    uint64_t term, hlc;
    enum raft_entry_kind kind;
    struct cc_blob *payload;
    uint64_t hash;        // of the whole log up to here
    uint64_t commit_term; // of the committed ones: the term of the server that said so first
};

// A log from `base` on, with hashes: once as a core has handed it out, once as it is on disk.
struct cluster_log {
    uint64_t base, base_term, base_hash;
    struct cluster_entry *entries;
    size_t n, capacity;
};

struct cluster_write { // handed out, not yet on disk
    uint64_t number;
    bool has_hard_state;
    struct raft_hard_state hard_state;
    struct raft_entry *entries;
    size_t n_entries;
};

struct cluster_server {
    uint32_t id;
    struct raft *raft; // NULL: down
    struct raft_options options;
    struct cluster_log memory, disk;
    struct raft_hard_state hard_state; // on disk
    struct raft_membership base_membership;
    struct cluster_write *writes;
    size_t n_writes, writes_capacity;
    uint64_t commit;         // as the core said last
    uint64_t commit_durable; // what is known after a crash
};

struct cluster_packet {
    uint64_t id;
    uint64_t due_us;
    struct raft_message message; // owns its entries
};

struct cluster_read {
    uint64_t context;
    uint32_t server;
    uint64_t floor; // committed when it began
};

struct cluster_term_hash { // of the log up to (index, term)
    uint64_t index, term, hash;
};

struct cluster {
    struct cluster_server servers[CLUSTER_SERVERS_MAX];
    uint32_t n_servers;
    uint64_t now_us;
    bool cut[CLUSTER_SERVERS_MAX][CLUSTER_SERVERS_MAX]; // [from][to]
    struct cluster_packet *packets;
    size_t n_packets, packets_capacity;
    uint64_t packet_last;
    uint64_t delay_us; // given to new packets
    struct cluster_read *reads;
    size_t n_reads, reads_capacity;
    uint64_t context_last;
    uint64_t n_reads_answered, n_reads_failed;

    // What was ever true.
    struct cluster_entry *committed; // index i is at [i - 1]
    size_t n_committed, committed_capacity;
    uint32_t leaders[CLUSTER_TERMS_MAX]; // by term; 0: none
    struct raft_membership *memberships; // that were ever in force anywhere
    size_t n_memberships, memberships_capacity;
    struct cluster_term_hash *hashes; // (index, term) -> hash
    size_t n_hashes, hashes_capacity;

    bool check_durability; // I6 too: what a message claims is on its sender's disk
    struct cc_buffer *trace;
    char violation[512]; // the first one; empty: none
};

struct cluster_options {
    uint32_t n_voters, n_learners;
    uint32_t n_outside; // further servers that are not members yet
    uint64_t election_us, heartbeat_us, notice_us;
    uint64_t seed;
};

void cluster_start(struct cluster *cluster, const struct cluster_options *options);
void cluster_finish(struct cluster *cluster);

struct cluster_server *cluster_server(struct cluster *cluster, uint32_t id);
struct raft *cluster_raft(struct cluster *cluster, uint32_t id);
uint32_t cluster_leader(const struct cluster *cluster); // the live one of the highest term; 0: none

// After every call on a core: takes its outputs. Writes and messages queue up.
void cluster_pump(struct cluster *cluster, uint32_t id);
bool cluster_sync(struct cluster *cluster, uint32_t id); // the oldest write of it reaches the disk; false: none
void cluster_deliver(struct cluster *cluster,
                     size_t packet); // also drops it, when its receiver is down or the path is cut
void cluster_drop(struct cluster *cluster, size_t packet);
void cluster_duplicate(struct cluster *cluster, size_t packet);
void cluster_crash(struct cluster *cluster, uint32_t id); // loses what is not on disk
void cluster_restart(struct cluster *cluster, uint32_t id, uint64_t seed);
void cluster_tick(struct cluster *cluster, uint32_t id);
enum cc_status cluster_propose(struct cluster *cluster, uint32_t id, const char *text, uint64_t *index_out);
enum cc_status cluster_propose_blob(struct cluster *cluster, uint32_t id, enum raft_entry_kind kind,
                                    struct cc_blob *payload, uint64_t *index_out);
enum cc_status cluster_propose_membership(struct cluster *cluster, uint32_t id,
                                          const struct raft_membership *membership);
void cluster_read(struct cluster *cluster, uint32_t id, unsigned n_reads); // together
enum cc_status cluster_transfer(struct cluster *cluster, uint32_t id, uint32_t target);
void cluster_reset_path(struct cluster *cluster, uint32_t from, uint32_t to); // as a lost connection
void cluster_compact(struct cluster *cluster, uint32_t id, uint64_t index);
// Installs the committed state at `index` at a server.
void cluster_install(struct cluster *cluster, uint32_t id, uint64_t index);

void cluster_cut(struct cluster *cluster, uint32_t a, uint32_t b); // both ways
void cluster_isolate(struct cluster *cluster, uint32_t id);
void cluster_heal(struct cluster *cluster);

// Syncs and delivers in order of sending until nothing is left.
void cluster_settle(struct cluster *cluster);
// Lets time pass in order of the servers' timers; everything settles at each instant.
void cluster_run(struct cluster *cluster, uint64_t duration_us);
// Runs until a leader has committed an entry of its term; false after `limit_us`.
bool cluster_run_until_settled(struct cluster *cluster, uint64_t limit_us);

void cluster_describe_entry(const struct raft_entry *entry, struct cc_buffer *out); // "3/1:text"
// One line without its end: "1->2 APPEND term=1 ...".
void cluster_describe(const struct raft_message *message, struct cc_buffer *out);

#endif
