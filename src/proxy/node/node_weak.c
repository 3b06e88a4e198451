// Weak tables in a node: a pipeline as that of strong writes, with a majority of one.
//
//   local:   queue -> WEAK_EXECUTE -> change set numbered and logged -> synced -> pushed to peers, answered; WEAK_COMMIT when somebody needs it
//   remote:  frame -> incoming, in order per origin -> MERGE -> frontier
//   after a crash of PostgreSQL: own change sets above its frontier are merged like remote ones.
//
// Here: whose turn it is at the database, and what follows from its answers. node_weak_write.c: local writes; node_weak_own.c: the change
// sets that they leave; node_weak_gossip.c: what others are sent and told; node_weak_merge.c: what comes from them.
#include "proxy/node/node_weak.h"

void weak_init(struct node *node)
{
    node->weak.self = (struct crdt_origin){node->options.raft.id, node->options.incarnation};
    node->weak.next_sequence = 1;
    weak_merge_init(node);
}

// COMMIT costs PostgreSQL as much as the rows of a few batches: as long as nobody needs its end, the transaction stays open for more of them.
// Where reads come, too, the next one may be of what was just written, and would have to wait.
static bool may_stay_open(struct node *node, bool is_needed)
{
    struct weak *weak = &node->weak;
    bool hurry = is_needed || node->stopping || weak->n_open >= NODE_TRANSACTION_BATCHES_MAX / 2 || weak_open_is_full(node) || snapshot_blocks(node) ||
                 read_wants_merge(node) || (weak->read_us != 0 && node->time.now_us - weak->read_us < NODE_GATHER_US);
    return node_gathers(node, &weak->stay, NODE_GATHER_US, hurry);
}

static void end_transaction(struct node *node, bool is_needed)
{
    struct weak *weak = &node->weak;
    bool idle = weak->executing == NULL && weak->merging == NULL;
    bool may_end = idle && weak->n_open > 0 && weak->committing_job == NULL && weak_is_logged(node);
    if (may_end && !may_stay_open(node, is_needed)) {
        weak_commit(node);
    }
}

void weak_pump(struct node *node)
{
    struct weak *weak = &node->weak;
    weak_tell_synced(node); // also while the database is down: what is in the log comes back
    if (!weak->up || node->renewal.state == RENEWAL_LEAVING) {
        return;
    }
    weak_replay_own(node);
    if (snapshot_blocks(node)) {
        end_transaction(node, true);
        return;
    }
    bool may_number = (weak->queue == NULL && !renewal_wants_turn(node)) || origin_may_number(node);
    bool replayed = !weak_is_replaying(node);
    if (weak->merging == NULL && weak->executing == NULL && weak->n_open == 0 && may_number && renewal_wants_turn(node)) {
        weak->merging = renewal_take_job(node);
        node_job_submit(node, DB_WEAK, weak->merging);
    }
    weak_note_behind(node);
    bool hurry = !replayed || node->stopping || (weak->incoming_bytes >= WEAK_GATHER_BYTES_MAX && weak_rushes(node)) || read_wants_merge(node);
    bool turn_of_writes = weak->merged_last && weak->queue != NULL && replayed; // by turns: neither is to wait for all of the other
    bool mergeable = weak->merging == NULL && !turn_of_writes && weak_has_mergeable(node) && !node_gathers(node, &weak->gather, NODE_GATHER_US, hurry);
    bool had_its_turn = replayed || weak->log_lacks || repair_is_whole(node); // what the log lacks comes from others, or is taken over
    bool joinable = weak->merging == NULL && had_its_turn && !turn_of_writes && !mergeable && !weak_rests(node) && repair_has_states(node);
    bool joins = mergeable && replayed && weak_may_join(node);
    end_transaction(node, (mergeable && !joins) || joinable || renewal_wants_turn(node));
    bool has_turn = weak->executing == NULL && weak->n_open == 0;
    if (mergeable && (has_turn || (joins && weak->executing == NULL))) {
        weak_merge(node, joins);
        mergeable = false;
    } else if (mergeable) { // it waits for the local writes under way, not for more of its kind
        weak->gather.over = true;
    } else if (joinable && has_turn) {
        size_t n_bytes = 0;
        struct job *job = repair_take_job(node, &n_bytes);
        weak_begin_merge(node, job, n_bytes);
        joinable = false;
    }
    // A batch that were begun behind a merge would have the first write alone, and all others would come in a second one.
    bool idle = weak->executing == NULL && weak->merging == NULL && !mergeable && !joinable;
    bool full = weak->n_open >= NODE_TRANSACTION_BATCHES_MAX || (weak->n_open > 0 && read_wants_merge(node));
    if (idle && weak->queue != NULL && replayed && may_number && renewal_is_done(node) && !full) {
        weak_execute(node);
    }
}

static void take_frontier(struct node *node, const struct crdt_frontier *frontier)
{
    struct weak *weak = &node->weak;
    weak->frontier = *frontier;
    weak->merged = *frontier;
    weak->frontier_moved = true;
    stable_moved(node);
    weak_incoming_held(node);
    weak_own_trim(node, true);
    read_applied(node);
}

static void database_down(struct node *node)
{
    struct weak *weak = &node->weak;
    node_jobs_forget(node, DB_WEAK);
    weak->up = false;
    weak->executing = weak->merging = weak->committing_job = NULL;
    weak->n_open = 0;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        node->peers[i].fetching = false;
    }
    weak_writes_rolled_back(node);
    weak->replay_until = cc_mutant(CC_MUTANT_REPLAY_MISSING) ? 0 : weak->next_sequence - 1;
    renewal_database_down(node);
    loss_forget(node);
    repair_database_lost(node);
    snapshot_lane(node, DB_WEAK, false);
}

static void database_up(struct node *node, const struct db_event *event)
{
    struct weak *weak = &node->weak;
    (void)recovery_compare(node, event->applied); // the other lane may come up much later
    clock_hlc_floor(&node->clock, cc_mutant(CC_MUTANT_FLOOR_FORGOTTEN) ? 0 : event->hlc_floor);
    weak->up = true;
    renewal_database_up(node, event);
    loss_database_up(node, event);
    stable_database_up(node, event);
    if (node->strong.state == STRONG_DOWN) { // after a crash the database may have lost a migration, too
        node->strong.schema_version = event->schema_version;
    }
    uint64_t held = crdt_frontier_get(event->frontier, weak->self);
    if (held >= weak->next_sequence) {
        weak->next_sequence = held + 1;
    }
    weak->given = held > weak->given ? held : weak->given;
    weak->log_cursor = (struct wal_cursor){0};
    weak->load_again = weak->loading;
    weak->log_lacks = false;
    if (held < weak->replay_until) {
        node_fact(node, NODE_FACT_REPLAY, held + 1, weak->replay_until, 0, "weak");
    }
    weak_incoming_follow(node, event->frontier);
    snapshot_lane(node, DB_WEAK, true);
    take_frontier(node, event->frontier);
    peer_tell_frontier(node);
}

// They are merged when they are durable, like own ones that the database has lost.
static void log_renewed(struct node *node, const struct db_event *event)
{
    struct weak *weak = &node->weak;
    for (uint32_t i = 0; i < event->n_changes; i++) {
        weak->replay_until = weak_log_change(node, event->changes[i]);
    }
    renewal_decided(node, event);
}

static void merged(struct node *node, const struct db_event *event, const struct job *job)
{
    struct weak *weak = &node->weak;
    if (job->job.open) {
        weak_merged_open(node, event, job);
        return;
    }
    take_frontier(node, event->frontier);
    if (weak->merging_durable) {
        weak->merging_durable = false;
        peer_tell_frontier(node);
    }
}

void weak_event(struct node *node, const struct db_event *event)
{
    struct weak *weak = &node->weak;
    struct job *job = NULL;
    switch (event->kind) {
    case DB_UP:
        database_up(node, event);
        return;
    case DB_DOWN:
        database_down(node);
        return;
    case DB_WEAK_EXECUTED:
        job = node_job_answered(node, DB_WEAK, event->number);
        if (job != NULL) {
            weak_executed(node, event);
        }
        break;
    case DB_WEAK_COMMITTED:
        job = node_job_answered(node, DB_WEAK, event->number);
        if (job != NULL) {
            weak->committing_job = NULL;
            take_frontier(node, event->frontier);
        }
        break;
    case DB_MERGED:
        job = node_job_answered(node, DB_WEAK, event->number);
        if (job != NULL) {
            weak->merging = NULL;
            merged(node, event, job);
            weak_note_merged(node, job->job.states);
            if (job->job.states) {
                repair_joined(node, event->n_changed);
            }
        }
        break;
    case DB_FETCHED:
        job = node_job_answered(node, DB_WEAK, event->number);
        weak_fetched(node, event);
        break;
    case DB_BEGUN_ANEW:
        job = node_job_answered(node, DB_WEAK, event->number);
        if (job != NULL) {
            weak->merging = NULL;
            renewal_begun_anew(node, event);
        }
        break;
    case DB_RENEWED:
        job = node_job_answered(node, DB_WEAK, event->number);
        if (job != NULL) {
            weak->merging = NULL;
            log_renewed(node, event);
        }
        break;
    case DB_EXECUTED:
    case DB_COMMITTED:
    case DB_APPLIED:
    case DB_DIVERGED:
        return;
    }
    if (job != NULL) {
        node_job_free(node, DB_WEAK, job);
    }
}

void weak_deadlines(struct node *node)
{
    weak_writes_expire(node);
    if (node->weak.frontier_moved && node->time.now_us >= node->weak.frontier_told_us + WEAK_FRONTIER_GAP_US) {
        peer_tell_frontier(node);
    }
}

bool weak_is_replaying(const struct node *node)
{
    return weak_own_committed(node) < node->weak.replay_until || weak_earlier_missing(node);
}

void weak_acknowledged(const struct node *node, struct crdt_frontier *frontier_out)
{
    *frontier_out = node->weak.frontier;
    // A database that has crashed, or whose transaction is still open, is behind what was acknowledged.
    uint64_t own = node->weak.told > node->weak.replay_until ? node->weak.told : node->weak.replay_until;
    bool good = crdt_frontier_raise(frontier_out, node->weak.self, own) == CC_OK;
    if (!node->weak.log_lacks) { // else what it has of them is there, or on its way to those who ask
        good = crdt_frontier_join(frontier_out, &node->origin.earlier) == CC_OK && good;
    }
    if (!good) {
        frontier_out->n = 0; // too many origins: not reached, the frontier had to be raised before
    }
}

bool node_has_unread(const struct node *node)
{
    return node->weak.up && node->weak.told > weak_own_committed(node) && !weak_is_replaying(node);
}

void weak_held(const struct node *node, struct crdt_frontier *frontier_out)
{
    *frontier_out = node->weak.frontier;
    if (node_has_unread(node) && crdt_frontier_raise(frontier_out, node->weak.self, node->weak.told) != CC_OK) {
        *frontier_out = node->weak.frontier; // too many origins: not reached, as there are none in the transaction but our own
    }
}

bool weak_is_idle(const struct node *node)
{
    const struct weak *weak = &node->weak;
    return weak->queue == NULL && weak->executed == NULL && weak->n_open == 0 && weak->committing_job == NULL &&
           weak->spreading == NULL && weak->merging == NULL;
}

void weak_finish_all(struct node *node)
{
    loss_forget(node);
    weak_writes_finish(node);
    weak_own_finish(node);
    weak_incoming_finish(node);
}
