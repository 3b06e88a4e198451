// Weak tables: this replica's own change sets. They are numbered when they are logged; the last ones stay in memory, for peers and for a
// database that has lost commits, older ones are read again from the log.
#include "proxy/node/node_weak.h"

#include <stdlib.h>

enum { OWN_BYTES_FACTOR = 4 }; // in memory while a snapshot is pulled, against the usual limit

uint64_t weak_own_committed(const struct node *node)
{
    return crdt_frontier_get(&node->weak.frontier, node->weak.self);
}

struct own_change *weak_own_find(struct node *node, uint64_t sequence)
{
    struct weak *weak = &node->weak;
    if (weak->own_head == weak->own.n || sequence < weak->own.at[weak->own_head].sequence) {
        return NULL;
    }
    size_t at = weak->own_head + (size_t)(sequence - weak->own.at[weak->own_head].sequence);
    if (at < weak->own.n && weak->own.at[at].sequence == sequence) {
        return &weak->own.at[at];
    }
    size_t low = weak->own_head, high = weak->own.n; // numbers that an unknown life gave are missing
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (weak->own.at[middle].sequence < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < weak->own.n && weak->own.at[low].sequence == sequence ? &weak->own.at[low] : NULL;
}

void weak_own_trim(struct node *node, bool only_committed)
{
    struct weak *weak = &node->weak;
    while (weak->own_bytes > node->options.own_changes_bytes_max && weak->own_head < weak->own.n) {
        struct own_change *oldest = &weak->own.at[weak->own_head];
        if (only_committed && oldest->sequence > weak_own_committed(node)) {
            break;
        }
        if (oldest->sequence > snapshot_keep_own(node)) {
            if (weak->own_bytes <= OWN_BYTES_FACTOR * node->options.own_changes_bytes_max || snapshot_blocks(node)) {
                break;
            }
            node->target.overrun = true;
        }
        weak->own_bytes -= oldest->bytes->n;
        cc_blob_unref(oldest->bytes);
        weak->own_head++;
    }
    if (weak->own_head > 1024 && weak->own_head > weak->own.n / 2) {
        weak->own.n -= weak->own_head;
        memmove(weak->own.at, weak->own.at + weak->own_head, weak->own.n * sizeof(*weak->own.at));
        weak->own_head = 0;
    }
}

static void own_add(struct node *node, uint64_t sequence, uint64_t log_number, struct cc_blob *bytes)
{
    struct own_change change = {sequence, log_number, bytes};
    NODE_PUSH(node->weak.own, change);
    node->weak.own_bytes += bytes->n;
}

uint64_t weak_log_change(struct node *node, struct cc_slice bytes)
{
    struct weak *weak = &node->weak;
    struct cc_blob *set = cc_blob_create(bytes.data, bytes.n);
    uint64_t sequence = weak->given = weak->next_sequence++;
    crdt_change_set_number(set->data, set->n, sequence);
    wal_put_change(&node->out->log, cc_blob_slice(set));
    own_add(node, sequence, node->log_number + 1, set);
    return sequence;
}

void weak_own_clear(struct node *node)
{
    struct weak *weak = &node->weak;
    for (size_t i = weak->own_head; i < weak->own.n; i++) {
        cc_blob_unref(weak->own.at[i].bytes);
    }
    weak->own_head = weak->own.n = 0;
    weak->own_bytes = 0;
}

enum cc_status weak_restore(struct node *node, struct cc_slice bytes)
{
    struct weak *weak = &node->weak;
    struct crdt_change_set set;
    if (crdt_change_set_peek(bytes, &set) != CC_OK) {
        return CC_CORRUPT;
    }
    clock_hlc_floor(&node->clock, set.stamp.hlc);
    if (set.origin.replica != weak->self.replica || origin_restore(node, set.origin) != CC_OK || set.sequence < weak->next_sequence) {
        return CC_CORRUPT;
    }
    if (set.sequence != weak->next_sequence) { // the log was cut below: what is gone is durable in the database
        weak_own_clear(node);
    }
    if (cc_mutant(CC_MUTANT_SEQUENCE_REUSED)) {
        return CC_OK;
    }
    own_add(node, set.sequence, 0, cc_blob_create(bytes.data, bytes.n));
    weak->next_sequence = set.sequence + 1;
    weak->given = weak->replay_until = set.sequence;
    weak_own_trim(node, false);
    return CC_OK;
}

void weak_restore_sequence(struct node *node, uint64_t sequence)
{
    struct weak *weak = &node->weak;
    if (sequence >= weak->next_sequence && !cc_mutant(CC_MUTANT_SEQUENCE_REUSED)) {
        weak->next_sequence = sequence + 1;
        weak->given = weak->replay_until = sequence;
    }
}

void weak_load_log(struct node *node, struct wal_cursor from)
{
    node->weak.log_cursor = from;
    node->weak.loading = true;
    node->out->load_changes = true;
}

void weak_look_again(struct node *node)
{
    node->weak.log_lacks = false;
    node->weak.log_cursor = (struct wal_cursor){0};
}

uint64_t weak_first_missing(struct node *node)
{
    struct weak *weak = &node->weak;
    uint64_t next = weak_own_committed(node) + 1;
    if (!weak->up || !weak->log_lacks || weak->loading || next > weak->replay_until) {
        return 0;
    }
    const struct incoming *incoming = weak_incoming_of(node, weak->self);
    return incoming != NULL && incoming->next == next && weak_own_find(node, next) == NULL ? next : 0;
}

static void load_own(struct node *node, uint64_t next)
{
    struct weak *weak = &node->weak;
    if (!weak->loading && weak->incoming_bytes < WEAK_GATHER_BYTES_MAX) {
        bool is_start = weak->log_cursor.sequence == 0 && weak->log_cursor.offset == 0;
        weak->log_looked_for = is_start ? next : weak->log_looked_for;
        weak_load_log(node, weak->log_cursor);
    }
}

void weak_loaded(struct node *node, const struct wal_record *changes, size_t n_changes, struct wal_cursor next, bool done)
{
    struct weak *weak = &node->weak;
    weak->loading = false;
    if (weak->load_again) { // asked for before the database went away
        weak->load_again = false;
        return;
    }
    if (node->loss.leaving) {
        loss_loaded(node, changes, n_changes, next, done);
        return;
    }
    weak->log_cursor = done ? (struct wal_cursor){0} : next; // what is not in the log others send
    weak->log_lacks = done;
    for (size_t i = 0; i < n_changes && weak->up; i++) {
        struct crdt_change_set set;
        bool is_own = crdt_change_set_peek(changes[i].body, &set) == CC_OK && origin_is_own(node, set.origin);
        struct incoming *incoming = is_own ? weak_incoming_of(node, set.origin) : NULL;
        bool is_self = is_own && crdt_origin_compare(set.origin, weak->self) == 0;
        if (incoming != NULL && set.sequence == incoming->next && (!is_self || set.sequence <= weak->replay_until)) {
            struct cc_blob *blob = cc_blob_create(changes[i].body.data, changes[i].body.n);
            weak_incoming_add(node, incoming, blob);
            cc_blob_unref(blob);
        }
    }
}

bool weak_earlier_missing(const struct node *node)
{
    return !node->weak.log_lacks && !crdt_frontier_covers(&node->weak.frontier, &node->origin.earlier);
}

void weak_replay_own(struct node *node)
{
    struct weak *weak = &node->weak;
    if (weak_earlier_missing(node)) {
        load_own(node, weak_own_committed(node) + 1);
    }
    if (weak->replay_until <= weak_own_committed(node)) {
        return;
    }
    struct incoming *incoming = weak_incoming_of(node, weak->self);
    while (incoming != NULL && incoming->next <= weak->replay_until) {
        struct own_change *change = weak_own_find(node, incoming->next);
        if (change == NULL && !weak->log_lacks) {
            load_own(node, incoming->next);
        }
        if (change == NULL || change->log_number > weak->synced) {
            return;
        }
        weak_incoming_add(node, incoming, change->bytes);
    }
}

void weak_own_finish(struct node *node)
{
    struct weak *weak = &node->weak;
    weak_own_clear(node);
    free(weak->own.at);
}
