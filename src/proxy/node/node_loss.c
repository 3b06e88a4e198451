// Own weak changes that are missing: this replica's PostgreSQL has lost them, its log holds them no longer, and nobody has sent them.
//
//   NONE --the log was looked through--> MISSING --every member says, for a while, that it does not have them--> LOST
//    ^                                     |  ^                                                                   |
//    +-------------they came---------------+  +-----------somebody has them, or does not answer any more----------+
//
// What is LOST nobody can bring back: more was lost than is promised against. Numbers are never given twice, and frontiers have no gaps,
// so no weak write could follow in this life of the replica, and it ends (node_renew.c): what the log still holds behind the gap is put aside
// first, and written again by the next life.
#include "proxy/node/node_weak.h"

#include <stdlib.h>

enum {
    LOOK_AGAIN_US = 1 * 1000 * 1000,
    PATIENCE_US = 5 * 1000 * 1000,   // others may be about to send or to merge them
    KEPT_BYTES_MAX = 256 << 20,      // what is behind the gap, put aside in one transaction
};

void loss_forget(struct node *node)
{
    struct loss *loss = &node->loss;
    for (size_t i = 0; i < loss->kept.n; i++) {
        cc_blob_unref(loss->kept.at[i]);
    }
    free(loss->kept.at);
    *loss = (struct loss){.n_lost_ever = loss->n_lost_ever};
}

// Members whose word is missing, or who have the change.
static uint32_t n_silent(struct node *node, bool *held_out)
{
    uint32_t n = 0;
    *held_out = false;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        bool tells = peer->up && peer->refused == NULL && peer->frontier_known && peer->database_up;
        n += peer->member && !tells;
        *held_out = *held_out || (tells && crdt_frontier_get(&peer->frontier, node->weak.self) >= node->loss.first);
    }
    return n;
}

void loss_tick(struct node *node)
{
    struct loss *loss = &node->loss;
    uint64_t now_us = node->time.now_us;
    if (loss->leaving || cc_mutant(CC_MUTANT_LOSS_AWAITED)) {
        return;
    }
    uint64_t first = origin_may_change(node) ? 0 : weak_first_missing(node); // what others have given, it could do without
    if (first == 0 || first != loss->first) {
        loss->first = first;
        loss->since_us = now_us;
        loss->nobody_since_us = 0;
        loss->told = false;
    }
    if (first == 0) {
        return;
    }
    if (first != node->weak.log_looked_for && now_us >= loss->since_us + LOOK_AGAIN_US) { // others have sent what comes before it
        weak_look_again(node);
        return;
    }
    bool held;
    uint32_t n = n_silent(node, &held);
    if (held || n > 0) {
        loss->nobody_since_us = 0;
    } else if (loss->nobody_since_us == 0) {
        loss->nobody_since_us = now_us;
    }
    if (loss_is_noticed(node) && !loss->told) {
        loss->told = true;
        node_fact(node, NODE_FACT_CHANGES_MISSING, first, node->weak.replay_until, n, NULL);
    }
}

static bool is_missing(const struct node *node)
{
    const struct loss *loss = &node->loss;
    return loss->first > 0 && crdt_frontier_get(&node->weak.frontier, node->weak.self) < loss->first;
}

bool loss_is_noticed(const struct node *node)
{
    return is_missing(node) && node->time.now_us >= node->loss.since_us + PATIENCE_US;
}

bool loss_is_certain(const struct node *node)
{
    const struct loss *loss = &node->loss;
    return loss->leaving || (is_missing(node) && loss->nobody_since_us > 0 && node->time.now_us >= loss->nobody_since_us + PATIENCE_US);
}

// -- The end of this life --------------------------------------------------------------------------------------------

void loss_leave(struct node *node)
{
    node->loss.leaving = true;
    weak_load_log(node, (struct wal_cursor){0});
}

static struct job *put_aside_job(struct node *node)
{
    struct loss *loss = &node->loss;
    struct job *job = node_job_create(node, DB_PUT_ASIDE, (uint32_t)loss->kept.n);
    for (size_t i = 0; i < loss->kept.n; i++) {
        node_job_item(job, loss->kept.at[i]);
    }
    uint64_t n_missing = node->weak.replay_until - loss->first + 1;
    job->job.origin = node->weak.self;
    job->job.sequence = loss->first;
    job->job.n_lost = n_missing - (loss->kept.n < n_missing ? loss->kept.n : n_missing);
    return job;
}

void loss_loaded(struct node *node, const struct wal_record *changes, size_t n_changes, struct wal_cursor next, bool done)
{
    struct loss *loss = &node->loss;
    for (size_t i = 0; i < n_changes; i++) {
        struct crdt_change_set set;
        bool is_own = crdt_change_set_peek(changes[i].body, &set) == CC_OK && crdt_origin_compare(set.origin, node->weak.self) == 0;
        bool fits = loss->kept_bytes + changes[i].body.n <= KEPT_BYTES_MAX && loss->kept.n < UINT32_MAX;
        if (is_own && set.sequence > loss->first && fits) {
            struct cc_blob *kept = cc_blob_create(changes[i].body.data, changes[i].body.n);
            NODE_PUSH(loss->kept, kept);
            loss->kept_bytes += kept->n;
        }
    }
    if (!done) {
        weak_load_log(node, next);
        return;
    }
    struct job *job = put_aside_job(node);
    node_fact(node, NODE_FACT_CHANGES_LOST, loss->first, job->job.n_lost, loss->kept.n, NULL);
    node->weak.merging = job;
    node_job_submit(node, DB_WEAK, job);
}

void loss_database_up(struct node *node, const struct db_event *event)
{
    node->loss.n_lost_ever = event->n_lost;
}

void loss_describe(const struct node *node, struct node_status *status)
{
    bool missing = loss_is_noticed(node);
    status->missing_first = missing ? node->loss.first : 0;
    status->missing_last = missing ? node->weak.replay_until : 0;
    status->n_changes_lost = node->loss.n_lost_ever;
}
