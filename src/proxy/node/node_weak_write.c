// Weak tables: local writes, from the queue to the answer, with the durability that was asked for and the one that was reached.
#include "proxy/node/node_weak.h"

#include <assert.h>
#include <stdlib.h>

static void write_free(struct weak_write *write)
{
    cc_blob_unref(write->operation);
    cc_blob_unref(write->outcome);
    cc_blob_unref(write->saw);
    free(write);
}

// How many voters have the change set on disk. What a peer's frontier says of sets like this survives a crash of its PostgreSQL.
static enum operation_durability durability_of(const struct node *node, const struct weak_write *write)
{
    uint32_t n_voters = membership_n_voters(node), n_holding = membership_votes(node, node->options.raft.id);
    n_holding += cc_mutant(CC_MUTANT_DURABILITY_COUNTED_WRONG) ? 1 : 0;
    for (uint32_t i = 0; write->durability != OPERATION_LOCAL && i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        n_holding += membership_votes(node, peer->id) && crdt_frontier_get(&peer->frontier, node->weak.self) >= write->sequence;
    }
    if (n_holding == n_voters) {
        return OPERATION_ALL;
    }
    return n_holding > n_voters / 2 ? OPERATION_MAJORITY : OPERATION_LOCAL;
}

static void write_answer(struct node *node, struct weak_write *write)
{
    if (!write->answered) {
        struct node_answer answer = {.token = write->token,
                                     .kind = NODE_ANSWER_OUTCOME,
                                     .outcome = node_copy(node, cc_blob_slice(write->outcome)),
                                     .frontier = write->saw == NULL ? (struct cc_slice){0} : node_copy(node, cc_blob_slice(write->saw)),
                                     .origin = node->weak.self,
                                     .sequence = write->sequence,
                                     .durability = write->sequence == 0 ? OPERATION_LOCAL : durability_of(node, write)};
        NODE_PUSH(node->out->answers, answer);
    }
}

// With as many as it can hold, or with such as have waited for long although the database takes writes.
static bool queue_is_full(const struct node *node)
{
    const struct weak_write *oldest = node->weak.queue;
    bool busy = node->weak.executing != NULL || node->weak.merging != NULL;
    bool slow = busy && oldest != NULL && node->time.now_us - oldest->since_us >= NODE_QUEUE_US_MAX;
    return slow || node->weak.n_queued >= CC_QUEUE_OPERATIONS_MAX;
}

static bool refuse_if_unfit(struct node *node, uint64_t token, const struct operation *operation, struct cc_slice bytes)
{
    int64_t off_ms;
    struct cc_slice refusal = log_refusal(node);
    if (refusal.n > 0) {
        node_answer_outcome(node, token, refusal, 0);
        return true;
    }
    if (node->strong.state == STRONG_HALTED) {
        refusal = node_refusal(node, CC_UNAVAILABLE, "CC204", node->strong.halted, "Write at another replica");
    } else if (peer_clock_is_off(node, &off_ms)) {
        refusal = node_refusal(node, CC_UNAVAILABLE, "CC205", "This replica's clock is too far from the other replicas' clocks",
                               "Correct its clock, or write at another replica");
    } else if (weak_must_rejoin(node)) {
        refusal = node_refusal(node, CC_UNAVAILABLE, "CC225", "This replica was no member for a time: the others no longer take what it wrote then, nor anything later",
                               "Write at another replica; this one takes over the others' rows, and then writes again what is still of use");
    } else if (!origin_is_confirmed(node) && !origin_has_room(node)) {
        refusal = node_refusal(node, CC_UNAVAILABLE, "CC228", "This replica was started anew, does not hear every member, and has begun too many origins already",
                               "Write at another replica; this one goes on when every member has told what it has of this one's writes");
    } else if (loss_is_noticed(node)) {
        refusal = node_refusal(node, CC_UNAVAILABLE, "CC226", "This replica's PostgreSQL has lost changes of its own, and no other replica has sent them",
                               "Write at another replica; this one goes on when they have come, or when every member has said that it does not have them");
    } else if (!renewal_is_done(node)) {
        refusal = node_refusal(node, CC_UNAVAILABLE, "CC225", "This replica comes back after it was no member for a time: what it wrote then is written again first",
                               "Try again in a while, or write at another replica");
    } else if (operation->schema_version != node->strong.schema_version) {
        refusal = node_refusal(node, CC_STALE, "CC208", "The schema has changed", "Send the request again");
    } else if (queue_is_full(node) || bytes.n > CC_BATCH_BYTES_MAX * 2) {
        refusal = node_refusal(node, CC_UNAVAILABLE, "CC202", "Too many writes are waiting: the write was not executed",
                               "Try again later or at a lower rate");
    } else {
        return false;
    }
    node_answer_outcome(node, token, refusal, 0);
    return true;
}

void weak_submit(struct node *node, uint64_t token, const struct operation *operation, struct cc_slice bytes)
{
    if (refuse_if_unfit(node, token, operation, bytes)) {
        return;
    }
    struct weak_write *write = cc_alloc(sizeof(*write));
    write->token = token;
    write->since_us = node->time.now_us;
    write->deadline_us = node->time.now_us + operation->timeout_ms * 1000ull;
    write->schema_version = operation->schema_version;
    write->durability = operation->durability;
    write->keyed = operation->key.data != NULL;
    write->operation = cc_blob_create(bytes.data, bytes.n);
    DL_APPEND(node->weak.queue, write);
    node->weak.n_queued++;
    node->counters.counters.weak_writes++;
}

static void refuse_stale(struct node *node, struct weak_write *write)
{
    node_answer_outcome(node, write->token, node_refusal(node, CC_STALE, "CC208", "The schema has changed", "Send the request again"), 0);
    write_free(write);
}

void weak_execute(struct node *node)
{
    struct weak *weak = &node->weak;
    uint32_t n_max = weak->n_queued < node->options.batch_operations_max ? weak->n_queued : node->options.batch_operations_max;
    struct job *job = node_job_create(node, DB_WEAK_EXECUTE, n_max);
    job->job.stamps = cc_arena_array(&job->arena, n_max, sizeof(*job->job.stamps));
    job->job.settled = node->stable.stability.bound;
    size_t n_bytes = 0;
    while (weak->queue != NULL && job->job.n_items < n_max) {
        struct weak_write *write = weak->queue;
        if (n_bytes > 0 && n_bytes + write->operation->n > CC_BATCH_BYTES_MAX) {
            break;
        }
        DL_DELETE(weak->queue, write);
        weak->n_queued--;
        if (write->schema_version != node->strong.schema_version) {
            refuse_stale(node, write);
            continue;
        }
        n_bytes += write->operation->n;
        job->job.stamps[job->job.n_items] = clock_hlc_tick(&node->clock, node->time.wall_ms);
        node_job_item(job, write->operation);
        DL_APPEND(weak->executed, write);
    }
    if (job->job.n_items == 0) {
        cc_arena_finish(&job->arena);
        free(job);
        return;
    }
    weak->executing = job;
    weak->merged_last = false;
    weak->executed_us = node->time.now_us;
    node_job_submit(node, DB_WEAK, job);
}

static struct weak_write *first_without_outcome(struct weak_write *write)
{
    while (write != NULL && write->outcome != NULL) {
        write = write->next;
    }
    return write;
}

// The outcome may be that of an earlier write under the same key, here or elsewhere, that has just been executed or merged, perhaps into the
// transaction that is still open: its client has seen that one then, and comes back with a session that says so.
static struct cc_blob *executed_upon(const struct node *node)
{
    struct crdt_frontier frontier = node->weak.merged;
    struct cc_blob *blob = NULL;
    if (node->weak.given == 0 || crdt_frontier_raise(&frontier, node->weak.self, node->weak.given) == CC_OK) {
        struct cc_buffer bytes = {0};
        crdt_frontier_put(&bytes, &frontier);
        blob = cc_blob_create(bytes.data, bytes.n);
        cc_buffer_finish(&bytes);
    }
    return blob;
}

void weak_executed(struct node *node, const struct db_event *event)
{
    struct weak *weak = &node->weak;
    struct weak_write *write = first_without_outcome(weak->executed);
    for (uint32_t i = 0; i < event->n_outcomes; i++) {
        assert(write != NULL);
        write->outcome = cc_blob_create(event->outcomes[i].data, event->outcomes[i].n);
        write->sequence = event->changes[i].n > 0 ? weak_log_change(node, event->changes[i]) : 0;
        if (write->sequence > 0) {
            NODE_PUSH(weak->open, write->sequence);
        } else if (write->keyed) {
            write->saw = executed_upon(node);
        }
        write = write->next;
    }
    weak->executing = NULL;
    weak->n_open++;
}

static bool is_synced(struct node *node, uint64_t sequence)
{
    const struct own_change *change = weak_own_find(node, sequence);
    return change != NULL && (change->log_number <= node->weak.synced || cc_mutant(CC_MUTANT_WEAK_COMMIT_UNSYNCED));
}

bool weak_is_logged(struct node *node)
{
    const struct weak *weak = &node->weak;
    return weak->open.n == 0 || is_synced(node, weak->open.at[weak->open.n - 1]);
}

void weak_commit(struct node *node)
{
    struct weak *weak = &node->weak;
    struct job *job = node_job_create(node, DB_WEAK_COMMIT, (uint32_t)(weak->open.n + weak->open_merged.n));
    for (size_t i = 0; i < weak->open.n; i++) {
        node_job_item(job, weak_own_find(node, weak->open.at[i])->bytes);
    }
    for (size_t i = 0; i < weak->open_merged.n; i++) {
        node_job_item(job, weak->open_merged.at[i]);
    }
    weak_open_forget(node);
    weak->open.n = 0;
    weak->n_open = 0;
    weak->stay = (struct gather){0};
    weak->committing_job = job;
    node_job_submit(node, DB_WEAK, job);
}

void weak_answer_spread(struct node *node)
{
    struct weak_write *write, *next;
    DL_FOREACH_SAFE(node->weak.spreading, write, next)
    {
        bool is_late = node->time.now_us >= write->deadline_us || node->stopping;
        if (write->sequence == 0 || is_late || write->answered || durability_of(node, write) >= write->durability) {
            DL_DELETE(node->weak.spreading, write);
            write_answer(node, write);
            write_free(write);
        }
    }
}

// The log is what makes a write durable; its transaction may end later. In the order of execution: an outcome may tell of a write before it.
void weak_tell_synced(struct node *node)
{
    struct weak *weak = &node->weak;
    struct weak_write *write;
    bool any = false;
    while ((write = weak->executed) != NULL && write->outcome != NULL && (write->sequence == 0 || is_synced(node, write->sequence))) {
        weak->told = write->sequence > weak->told ? write->sequence : weak->told;
        DL_DELETE(weak->executed, write);
        DL_APPEND(weak->spreading, write);
        any = true;
    }
    if (any) {
        weak_answer_spread(node);
    }
}

void weak_writes_rolled_back(struct node *node)
{
    struct weak *weak = &node->weak;
    struct weak_write *unlogged = first_without_outcome(weak->executed), *write, *next;
    struct weak_write *again = NULL;
    DL_FOREACH_SAFE(unlogged, write, next)
    {
        DL_DELETE(weak->executed, write);
        if (write->answered) {
            write_free(write);
        } else {
            DL_APPEND(again, write);
            weak->n_queued++;
        }
    }
    DL_CONCAT(again, weak->queue);
    weak->queue = again;
    weak->open.n = 0;
    weak_open_forget(node);
    weak->stay = (struct gather){0};
}

static void expire_executed(struct node *node, struct weak_write *writes)
{
    struct weak_write *write;
    DL_FOREACH(writes, write)
    {
        if (!write->answered && node->time.now_us >= write->deadline_us) {
            node_answer_outcome(node, write->token, node_unknown(node), 0);
            write->answered = true;
        }
    }
}

void weak_writes_expire(struct node *node)
{
    struct weak *weak = &node->weak;
    struct weak_write *write, *next;
    DL_FOREACH_SAFE(weak->queue, write, next)
    {
        if (node->time.now_us >= write->deadline_us) {
            const char *message = origin_is_confirmed(node) || !weak->up
                                      ? "This replica's database did not take the write in time: it was not executed"
                                      : "This replica was started a moment ago and waits for what the others have of its writes: the write was not executed";
            struct cc_slice refusal = node_refusal(node, CC_UNAVAILABLE, "CC210", message, "Try again, or write at another replica");
            node_answer_outcome(node, write->token, refusal, 0);
            DL_DELETE(weak->queue, write);
            weak->n_queued--;
            write_free(write);
        }
    }
    expire_executed(node, weak->executed);
    weak_answer_spread(node);
}

static void free_writes(struct weak_write *writes)
{
    struct weak_write *write, *next;
    DL_FOREACH_SAFE(writes, write, next)
    {
        write_free(write);
    }
}

void weak_writes_finish(struct node *node)
{
    free_writes(node->weak.queue);
    free_writes(node->weak.executed);
    free_writes(node->weak.spreading);
    free(node->weak.open.at);
    weak_open_forget(node);
    free(node->weak.open_merged.at);
}
