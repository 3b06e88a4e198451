// Faults of messages between replicas, for tests: rules that decide of each message whether it is delivered, dropped or delayed.
// Pure: time is an argument, chance comes from a seed. Used by the simulator's network and, in builds with testing hooks, by the
// peers' connections (io_faults.h). Plain data: the caller may copy it.
//
// All rules that match a message have their say: one that drops it is enough, delays add up. Messages of one path (from, to) stay in
// order, as those of a connection do, unless a reorder rule holds one back.
#ifndef PROXY_FAULTS_H
#define PROXY_FAULTS_H

#include "base/limits.h"
#include "base/prng.h"
#include "base/status.h"

#include <stddef.h>

enum {
    FAULTS_RULES_MAX = 64,
    FAULTS_LISTED_MAX = 2 * CC_REPLICAS_MAX,
    FAULTS_PATHS_MAX = CC_REPLICAS_MAX * CC_REPLICAS_MAX,
    FAULTS_DELAY_MS_MAX = 60 * 1000,
    FAULTS_PPM = 1000000,
};

enum faults_kind {
    FAULTS_DROP,    // on the channel from -> to
    FAULTS_DELAY,   // by delay_ms, and up to jitter_ms more
    FAULTS_REORDER, // held back for delay_ms, and up to jitter_ms more, so that later ones overtake it
    FAULTS_ISOLATE, // drop all from and to `replica`
    FAULTS_SPLIT,   // drop all between segments; replicas that are not listed make one more segment
};
enum { FAULTS_KINDS = FAULTS_SPLIT + 1 };

enum faults_pick { // of the messages that a drop, delay or reorder rule matches
    FAULTS_ALL,
    FAULTS_NTH,    // just one, the n-th from now
    FAULTS_EVERY,  // each n-th
    FAULTS_CHANCE, // n in a million
};

struct faults_listed {
    uint32_t replica, segment;
};

struct faults_rule {
    uint32_t id; // given by faults_add
    enum faults_kind kind;
    uint32_t from, to; // 0: any
    enum faults_pick pick;
    uint32_t n;
    uint32_t delay_ms, jitter_ms;
    uint32_t replica;
    uint32_t n_listed;
    struct faults_listed listed[FAULTS_LISTED_MAX];
    uint64_t n_seen, n_hit; // messages that it matched, that it dropped or delayed
};

struct faults_path { // that a rule has touched
    uint32_t from, to;
    uint64_t last_us; // the last message in order leaves then
    bool lost;        // since faults_take_lost
};

struct faults {
    struct cc_prng prng;
    uint32_t next_id;
    size_t n_rules;
    struct faults_rule rules[FAULTS_RULES_MAX];
    size_t n_paths;
    struct faults_path paths[FAULTS_PATHS_MAX];
    uint64_t n_dropped, n_delayed;
};

enum faults_verdict { FAULTS_DELIVER, FAULTS_LOSE, FAULTS_HOLD };

struct faults_decision {
    enum faults_verdict verdict;
    uint64_t delay_us; // HOLD
    bool overtaken;    // HOLD: later messages need not wait for this one
};

void faults_init(struct faults *faults, uint64_t seed);
// Where chance goes on from.
void faults_seed(struct faults *faults, uint64_t seed);
// A copy is kept, with an id of its own and counters at 0. CC_INVALID: out of range; CC_TOO_LARGE: as many rules as there may be.
enum cc_status faults_add(struct faults *faults, const struct faults_rule *rule, uint32_t *id_out) CC_CHECKED;
// CC_NOT_FOUND.
enum cc_status faults_remove(struct faults *faults, uint32_t id) CC_CHECKED;
// No rules from now on. What was held stays held for as long as was decided.
void faults_clear(struct faults *faults);
// Counts the message as seen. Called once for each message, in the order in which they are sent.
struct faults_decision faults_decide(struct faults *faults, uint32_t from, uint32_t to, uint64_t now_us);
// One path that has lost messages since it was last asked for, or false: connections do not lose single messages, so the one
// that did must be made anew when the fault is over.
bool faults_take_lost(struct faults *faults, uint32_t *from_out, uint32_t *to_out);

#endif
