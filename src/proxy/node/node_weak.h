// Inside of the weak tables: shared by node_weak*.c and node_loss.c only. What the rest of the node calls stands in node_internal.h.
#ifndef PROXY_NODE_WEAK_H
#define PROXY_NODE_WEAK_H

#include "proxy/node/node_internal.h"

enum {
    WEAK_GATHER_BYTES_MAX = 256 << 10, // so much to merge is much
    WEAK_FRONTIER_GAP_US = 50 * 1000,  // between frontiers told out of turn
};

// node_weak_own.c
uint64_t weak_own_committed(const struct node *node); // the last one that the database has committed; 0: none
struct own_change *weak_own_find(struct node *node, uint64_t sequence); // borrowed until the next one is logged or dropped; NULL: not in memory
void weak_own_trim(struct node *node, bool only_committed); // drops the oldest above the limit
uint64_t weak_log_change(struct node *node, struct cc_slice bytes); // a copy, numbered, into the log's batch of this turn; its sequence
// An own change that the database lacks, and neither log nor queue has; 0: there is none, or that is not known yet.
uint64_t weak_first_missing(struct node *node);
void weak_look_again(struct node *node); // through the log, for what was passed over
void weak_load_log(struct node *node, struct wal_cursor from); // own changes: for replaying, or into loss_loaded while a life ends
bool weak_earlier_missing(const struct node *node); // of earlier own origins; the log may have it
void weak_replay_own(struct node *node); // what the database lacks of them is merged again, as far as the log has it durably
void weak_own_clear(struct node *node); // nothing of them stays in memory
void weak_own_finish(struct node *node);

// node_weak_gossip.c
void weak_fetched(struct node *node, const struct db_event *event); // DB_FETCHED

// node_weak_merge.c
void weak_merge_init(struct node *node);
struct incoming *weak_incoming_of(struct node *node, struct crdt_origin origin); // NULL: too many origins
void weak_incoming_add(struct node *node, struct incoming *incoming, struct cc_blob *set); // the next one; takes a reference
void weak_incoming_held(struct node *node); // drops what the database's frontier covers
// The database came up with this frontier: what was queued above an earlier one may no longer follow what it holds.
void weak_incoming_follow(struct node *node, const struct crdt_frontier *frontier);
void weak_incoming_finish(struct node *node);
bool weak_has_mergeable(struct node *node);
// What is to be merged next may become part of the open transaction, or begin one that stays open.
bool weak_may_join(struct node *node);
void weak_merge(struct node *node, bool joins);
void weak_merged_open(struct node *node, const struct db_event *event, const struct job *job); // into the open transaction
bool weak_open_is_full(const struct node *node); // of what was merged into it
void weak_open_forget(struct node *node);        // what was merged into it
void weak_begin_merge(struct node *node, struct job *job, size_t n_bytes); // the job is the database's from now on
void weak_note_merged(struct node *node, bool rows); // the merge under way has ended: how long was it?
void weak_note_behind(struct node *node);
bool weak_rests(const struct node *node);  // between two parts; node_tick sees the end of it
bool weak_rushes(const struct node *node); // far behind: no pauses for a time

// node_weak_write.c
void weak_execute(struct node *node); // a batch of the queue
void weak_executed(struct node *node, const struct db_event *event);
bool weak_is_logged(struct node *node); // the open transaction may be committed: everything executed in it is durable in the log
void weak_commit(struct node *node);
void weak_tell_synced(struct node *node);        // answers what is in the log
void weak_writes_rolled_back(struct node *node); // what was executed and not logged is executed again; what was logged comes back as a replay
void weak_answer_spread(struct node *node); // what is in the log here and durable where it was to be; at the deadline, with what was reached
void weak_writes_expire(struct node *node);
void weak_writes_finish(struct node *node);

#endif
