// Strong tables: the leader's pipeline (execute, log, commit) and everybody's application of committed entries.
#include "proxy/node/node_internal.h"

#include <assert.h>
#include <stdio.h>

static const unsigned strong_next[STRONG_STATES] = {
    [STRONG_DOWN] = 1u << STRONG_FOLLOW | 1u << STRONG_HALTED,
    [STRONG_FOLLOW] = 1u << STRONG_LEAD | 1u << STRONG_DOWN | 1u << STRONG_HALTED,
    [STRONG_LEAD] = 1u << STRONG_FOLLOW | 1u << STRONG_DOWN | 1u << STRONG_HALTED,
    [STRONG_HALTED] = 0,
};

static void move(struct node *node, enum strong_state state)
{
    assert(strong_next[node->strong.state] & 1u << state);
    node->strong.state = state;
}

static void halt(struct node *node, const char *text)
{
    struct strong *strong = &node->strong;
    if (strong->state == STRONG_HALTED) {
        return;
    }
    snprintf(strong->halted, sizeof(strong->halted), "%s", text);
    move(node, STRONG_HALTED);
    node_update_eligible(node);
    node_fact(node, NODE_FACT_DIVERGED, strong->applied, 0, 0, strong->halted);
}

// -- Following: committed entries into the database ------------------------------------------------------------------

static void ask_for_entries(struct node *node, uint64_t first)
{
    uint64_t last = raft_commit(node->raft);
    if (last - first >= NODE_APPLY_ENTRIES_MAX) {
        last = first + NODE_APPLY_ENTRIES_MAX - 1;
    }
    struct node_load load = {0, first, last};
    NODE_PUSH(node->out->loads, load);
    node->strong.loading = true;
}

static bool add_to_apply(struct job *job, const struct raft_entry *entry, size_t *n_bytes)
{
    if (job->job.n_items >= NODE_APPLY_ENTRIES_MAX || (*n_bytes > 0 && *n_bytes + cc_blob_slice(entry->payload).n > NODE_APPLY_BYTES_MAX)) {
        return false;
    }
    if (entry->kind == RAFT_ENTRY_DATA) {
        job->job.indexes[job->job.n_items] = entry->index;
        node_job_item(job, entry->payload);
        *n_bytes += entry->payload->n;
    }
    job->job.last = entry->index;
    return true;
}

static struct job *apply_job_create(struct node *node, uint64_t n_entries)
{
    uint32_t n_max = n_entries < NODE_APPLY_ENTRIES_MAX ? (uint32_t)n_entries : NODE_APPLY_ENTRIES_MAX;
    struct job *job = node_job_create(node, DB_APPLY, n_max);
    job->job.indexes = cc_arena_array(&job->arena, n_max, sizeof(*job->job.indexes));
    job->job.first = node->strong.planned + 1;
    return job;
}

static void apply_job_submit(struct node *node, struct job *job)
{
    node->strong.applying = job;
    node->strong.planned = job->job.last;
    node_job_submit(node, DB_STRONG, job);
}

static bool has_gathered(const struct node *node, uint64_t commit)
{
    uint64_t first = node->strong.planned + 1;
    if (commit - first + 1 >= NODE_FOLLOW_GATHER_MAX) {
        return true;
    }
    size_t n_bytes = 0;
    for (uint64_t index = first; index <= commit && n_bytes < NODE_FOLLOW_GATHER_BYTES_MAX; index++) {
        const struct raft_entry *entry = raft_entry_at(node->raft, index);
        if (entry == NULL) {
            return true; // no longer in memory: we are late
        }
        n_bytes += cc_blob_slice(entry->payload).n;
    }
    return n_bytes >= NODE_FOLLOW_GATHER_BYTES_MAX;
}

// Entries that nobody here waits for wait for more of them.
static bool may_gather(struct node *node, uint64_t commit)
{
    struct strong *strong = &node->strong;
    bool hurry = raft_role(node->raft) != RAFT_FOLLOWER || node->stopping || has_gathered(node, commit) || read_wants_commit(node, strong->planned);
    return node_gathers(node, &strong->gather, NODE_FOLLOW_GATHER_US, hurry);
}

static void follow(struct node *node)
{
    struct strong *strong = &node->strong;
    uint64_t commit = raft_commit(node->raft);
    if (strong->applying != NULL || strong->loading || strong->planned >= commit) {
        return;
    }
    if (snapshot_blocks(node) || strong->planned + 1 < raft_first_index(node->raft)) {
        return;
    }
    if (may_gather(node, commit)) {
        return;
    }
    if (raft_entry_at(node->raft, strong->planned + 1) == NULL) {
        ask_for_entries(node, strong->planned + 1);
        return;
    }
    struct job *job = apply_job_create(node, commit - strong->planned);
    size_t n_bytes = 0;
    for (uint64_t index = job->job.first; index <= commit; index++) {
        const struct raft_entry *entry = raft_entry_at(node->raft, index);
        if (entry == NULL || !add_to_apply(job, entry, &n_bytes)) {
            break;
        }
    }
    apply_job_submit(node, job);
}

void strong_loaded(struct node *node, const struct raft_entry *entries, size_t n_entries)
{
    struct strong *strong = &node->strong;
    if (!strong->loading) {
        return;
    }
    strong->loading = false;
    if (strong->state != STRONG_FOLLOW || strong->applying != NULL || snapshot_blocks(node)) {
        return;
    }
    if (n_entries == 0) {
        return; // cut away or not readable just now: the base of the log, or another attempt, will tell
    }
    if (entries[0].index != strong->planned + 1) {
        strong_pump(node);
        return;
    }
    struct job *job = apply_job_create(node, n_entries);
    size_t n_bytes = 0;
    for (size_t i = 0; i < n_entries && add_to_apply(job, &entries[i], &n_bytes); i++) {
    }
    apply_job_submit(node, job);
}

// -- Leading: execute, log, commit -----------------------------------------------------------------------------------

static bool may_lead(const struct node *node)
{
    const struct strong *strong = &node->strong;
    uint64_t last = raft_last_index(node->raft);
    bool applied = (strong->applied == last && strong->planned == last) || cc_mutant(CC_MUTANT_LEAD_UNAPPLIED);
    return raft_role(node->raft) == RAFT_LEADER && raft_is_settled(node->raft) && raft_commit(node->raft) == last &&
           strong->told == last && applied;
}

static void start_leading(struct node *node)
{
    struct strong *strong = &node->strong;
    move(node, STRONG_LEAD);
    strong->lead_term = raft_term(node->raft);
    strong->executed = strong->applied;
    strong->executed_schema = strong->schema_version;
    strong->n_open = 0;
    strong->migrating = false;
}

// Rolls back what the log may not keep; what it does keep comes back as entries to apply.
static void stop_leading(struct node *node)
{
    struct strong *strong = &node->strong;
    bool open = strong->executing != NULL || strong->n_open > 0;
    if (open && !cc_mutant(CC_MUTANT_ROLLBACK_MISSING)) {
        node_job_submit(node, DB_STRONG, node_job_create(node, DB_ROLLBACK, 0));
    }
    if (strong->executing != NULL) {
        strong->executing->abandoned = true;
        if (strong->ahead != NULL) {
            strong->ahead->abandoned = true;
        }
        strong->executing = strong->ahead = NULL;
        forward_requeue(node, strong->executing_ids.at, strong->executing_ids.n / OPERATION_ID_BYTES, false);
        strong->executing_ids.n = 0;
    }
    strong->n_open = 0;
    strong->migrating = false;
    move(node, STRONG_FOLLOW);
}

void strong_step_back(struct node *node)
{
    if (node->strong.state == STRONG_LEAD) {
        stop_leading(node);
    }
}

// COMMIT costs PostgreSQL as much as a few batches, and the next write would wait for it: as long as nobody needs its end, the transaction
// stays open for more of them. Where reads come, too, the next one may be of what was just written, and would have to wait.
static bool may_stay_open(struct node *node)
{
    struct strong *strong = &node->strong;
    bool migration_waits = node->queue != NULL && node->queue->migration;
    bool hurry = node->stopping || strong->migrating || migration_waits || strong->n_open >= NODE_TRANSACTION_BATCHES_MAX / 2 ||
                 read_was_asked_lately(node) || read_wants_commit(node, strong->planned);
    return node_gathers(node, &strong->gather, NODE_GATHER_US, hurry);
}

static void commit_open_transaction(struct node *node)
{
    struct strong *strong = &node->strong;
    bool committed = raft_commit(node->raft) >= strong->executed || cc_mutant(CC_MUTANT_COMMIT_EARLY);
    if (strong->n_open == 0 || strong->executing != NULL || !committed || may_stay_open(node)) {
        return;
    }
    struct job *job = node_job_create(node, DB_COMMIT, 0);
    job->job.last = strong->executed;
    node_job_submit(node, DB_STRONG, job);
    strong->planned = strong->executed;
    strong->n_open = 0;
    strong->migrating = false;
}

// True when the write needs no execution: it was executed before, or nobody can tell, or its plan is out of date.
static bool settle_without_executing(struct node *node, struct pending *pending)
{
    const struct executed *executed = forward_executed(node, pending->id);
    if (executed != NULL && !cc_mutant(CC_MUTANT_EXECUTED_FORGOTTEN)) {
        forward_finish(node, pending, cc_slice_of(executed->outcome, executed->n_outcome), executed->index);
        return true;
    }
    if (pending->uncertain) {
        if (pending->after < node->forgotten) {
            forward_finish(node, pending, node_unknown(node), 0);
            return true;
        }
        pending->uncertain = false;
    }
    bool stale = pending->schema_version != node->strong.executed_schema && !cc_mutant(CC_MUTANT_STALE_PLAN);
    if (!pending->migration && stale) {
        struct cc_slice refusal = node_refusal(node, CC_STALE, "CC208", "The schema has changed", "Send the request again");
        forward_finish(node, pending, refusal, 0);
        return true;
    }
    return false;
}

static void add_to_batch(struct node *node, struct job *job, struct pending *pending)
{
    node_job_item(job, pending->operation);
    node->strong.executing_migration = pending->migration;
    forward_move(node, pending, PENDING_EXECUTING);
    for (size_t i = 0; i < OPERATION_ID_BYTES; i++) {
        NODE_PUSH(node->strong.executing_ids, pending->id[i]);
    }
}

// A write that was sent again may be in an entry that is not committed yet, though nobody waits for it any more.
static bool must_wait(const struct strong *strong, struct pending *pending)
{
    if (!pending->uncertain) {
        return false;
    }
    if (strong->executing != NULL) {
        return true; // or in the entry that comes of what executes
    }
    if (pending->look_again == 0 || pending->look_again > strong->executed) {
        pending->look_again = strong->executed;
    }
    return strong->told < pending->look_again;
}

static struct job *batch_create(struct node *node)
{
    struct strong *strong = &node->strong;
    struct job *job = NULL;
    size_t n_bytes = 0;
    struct pending *pending, *next;
    DL_FOREACH_SAFE(node->queue, pending, next)
    {
        if (must_wait(strong, pending) || settle_without_executing(node, pending)) {
            continue;
        }
        bool alone = pending->migration || pending->alone;
        if (pending->migration) {
            snapshot_cancel(node);
        }
        if (pending->migration && (strong->n_open > 0 || strong->executing != NULL)) {
            break; // a migration begins its own transaction
        }
        bool full = job != NULL && (alone || job->job.n_items >= node->options.batch_operations_max ||
                                    n_bytes + pending->operation->n > CC_BATCH_BYTES_MAX);
        if (full) {
            break;
        }
        if (job == NULL) {
            uint32_t n_max = node->options.batch_operations_max;
            job = node_job_create(node, DB_EXECUTE, node->n_queued < n_max ? node->n_queued : n_max);
        }
        n_bytes += pending->operation->n;
        add_to_batch(node, job, pending);
        if (alone) {
            break;
        }
    }
    return job;
}

// While a batch executes, the writes behind it gather, since small batches cost more per write. Large ones cost the same whoever they are
// with, but take long to be made ready: that is done meanwhile. A read would have to wait for them, too.
static bool may_go_ahead(const struct node *node)
{
    const struct strong *strong = &node->strong;
    return strong->ahead == NULL && !strong->executing_migration && node->queued_bytes >= node->options.ahead_bytes &&
           !read_was_asked_lately(node) && !read_wants_commit(node, strong->planned);
}

static void execute_next_batch(struct node *node)
{
    struct strong *strong = &node->strong;
    bool busy = strong->executing != NULL;
    if (strong->migrating || node->queue == NULL || (busy && !may_go_ahead(node))) {
        return;
    }
    // Let the open transaction end first when it is long, or when a read waits for what it holds.
    if (strong->n_open + busy >= NODE_TRANSACTION_BATCHES_MAX || (strong->n_open > 0 && read_wants_commit(node, strong->planned))) {
        return;
    }
    struct job *job = batch_create(node);
    if (job == NULL) {
        return;
    }
    *(busy ? &strong->ahead : &strong->executing) = job;
    node_job_submit(node, DB_STRONG, job);
    node->counters.counters.batches++;
}

void strong_pump(struct node *node)
{
    struct strong *strong = &node->strong;
    switch (strong->state) {
    case STRONG_DOWN:
    case STRONG_HALTED:
        return;
    case STRONG_FOLLOW:
        if (!may_lead(node)) {
            follow(node);
            return;
        }
        start_leading(node);
        execute_next_batch(node);
        return;
    case STRONG_LEAD:
        commit_open_transaction(node);
        execute_next_batch(node);
        return;
    }
}

// The entry's operations, with the client keys that its outcomes are stored under.
static struct cc_blob *entry_create(struct node *node, const struct job *job, const struct db_event *event)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct entry entry = {.base_index = raft_last_index(node->raft),
                          .schema_version = node->strong.executed_schema,
                          .n_operations = event->n_outcomes,
                          .operations = cc_arena_array(&arena, event->n_outcomes, sizeof(struct entry_operation)),
                          .effects = event->effects};
    for (uint32_t i = 0; i < event->n_outcomes; i++) {
        struct operation operation;
        enum cc_status status = operation_peek(job->job.items[i], &operation);
        assert(status == CC_OK); // it was peeked at when it came
        struct entry_operation *executed = &entry.operations[i];
        memcpy(executed->id, operation.id, OPERATION_ID_BYTES);
        executed->principal = operation.principal;
        executed->key = operation.key;
        executed->fingerprint = operation.fingerprint;
        executed->outcome = event->outcomes[i];
    }
    struct cc_buffer bytes = {0};
    entry_put(&bytes, &entry);
    struct cc_blob *blob = cc_blob_create(bytes.data, bytes.n);
    cc_buffer_finish(&bytes);
    cc_arena_finish(&arena);
    return blob;
}

// The batch's effects do not fit into an entry: each operation by itself, and one that is too large alone fails.
static void batch_too_large(struct node *node, size_t n)
{
    const uint8_t *ids = node->strong.executing_ids.at;
    struct rest_outcome outcome = {.kind = REST_FAILED,
                                   .code = cc_slice_text("CC207"),
                                   .message = cc_slice_text("The write changes more than one log entry can hold"),
                                   .hint = cc_slice_text("Change fewer rows in one request")};
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, &outcome);
    for (size_t i = 0; i < n; i++) {
        struct pending *pending = forward_find(node, ids + i * OPERATION_ID_BYTES);
        if (pending != NULL && n == 1) {
            forward_finish(node, pending, cc_buffer_slice(&bytes), 0);
        } else if (pending != NULL) {
            pending->alone = true;
        }
    }
    cc_buffer_finish(&bytes);
}

static void mark_logged(struct node *node, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct pending *pending = forward_find(node, node->strong.executing_ids.at + i * OPERATION_ID_BYTES);
        if (pending != NULL) {
            forward_move(node, pending, PENDING_LOGGED);
        }
    }
}

static void batch_executed(struct node *node, struct job *job, const struct db_event *event)
{
    struct strong *strong = &node->strong;
    assert(job == strong->executing && strong->state == STRONG_LEAD && event->n_outcomes == job->job.n_items);
    size_t n = event->n_outcomes;
    struct cc_blob *payload = entry_create(node, job, event);
    uint64_t index = 0;
    enum cc_status status = CC_TOO_LARGE;
    if (payload->n <= CC_ENTRY_BYTES_MAX) {
        uint64_t hlc = clock_hlc_tick(&node->clock, node->time.wall_ms).hlc;
        status = raft_propose(node->raft, RAFT_ENTRY_DATA, hlc, payload, &index);
    } else {
        batch_too_large(node, n);
    }
    cc_blob_unref(payload);
    if (status != CC_OK) {
        stop_leading(node); // nothing of it was logged: back into the queue
        return;
    }
    strong->executing = strong->ahead;
    strong->ahead = NULL;
    mark_logged(node, n);
    for (size_t i = 0; cc_mutant(CC_MUTANT_ANSWER_EARLY) && i < n; i++) {
        forward_finish(node, forward_find(node, strong->executing_ids.at + i * OPERATION_ID_BYTES), event->outcomes[i], index);
    }
    strong->executing_ids.n -= n * OPERATION_ID_BYTES;
    memmove(strong->executing_ids.at, strong->executing_ids.at + n * OPERATION_ID_BYTES, strong->executing_ids.n);
    strong->executed = index;
    strong->n_open++;
    node->counters.counters.entries++;
    if (event->has_migration) {
        strong->migrating = true;
        strong->executed_schema++;
    }
}

// -- Events ----------------------------------------------------------------------------------------------------------

static void database_up(struct node *node, const struct db_event *event)
{
    struct strong *strong = &node->strong;
    if (strong->state == STRONG_HALTED) {
        return;
    }
    if (strong->state != STRONG_DOWN) {
        move(node, STRONG_DOWN);
    }
    bool remembers = cc_mutant(CC_MUTANT_APPLIED_FROM_MEMORY) && strong->applied > event->applied;
    strong->applied = strong->planned = remembers ? strong->applied : event->applied;
    strong->schema_version = event->schema_version;
    node->out->catalog_changed = true;
    if (!recovery_compare(node, event->applied)) {
        halt(node, "the database has applied more than the log holds: the log was lost or is an older copy");
        return;
    }
    if (recovery_is_over(node)) {
        raft_note_committed(node->raft, event->applied);
    }
    move(node, STRONG_FOLLOW);
    strong->replay_until = strong->told;
    if (event->applied < strong->told) {
        node_fact(node, NODE_FACT_REPLAY, event->applied + 1, strong->told, 0, "strong");
    }
    snapshot_lane(node, DB_STRONG, true);
    node_update_eligible(node);
    read_applied(node);
}

static void database_down(struct node *node)
{
    struct strong *strong = &node->strong;
    node_jobs_forget(node, DB_STRONG);
    snapshot_lane(node, DB_STRONG, false);
    strong->applying = NULL;
    strong->executing = strong->ahead = NULL;
    strong->n_open = 0;
    strong->migrating = false;
    if (strong->state == STRONG_HALTED || strong->state == STRONG_DOWN) {
        return;
    }
    move(node, STRONG_DOWN);
    forward_requeue(node, strong->executing_ids.at, strong->executing_ids.n / OPERATION_ID_BYTES, false);
    strong->executing_ids.n = 0;
    node_update_eligible(node);
}

static void database_advanced(struct node *node, const struct db_event *event)
{
    struct strong *strong = &node->strong;
    strong->applied = event->applied;
    if (event->schema_version != strong->schema_version) {
        strong->schema_version = event->schema_version;
        node->out->catalog_changed = true;
        node_fact(node, NODE_FACT_SCHEMA, event->schema_version, event->applied, 0, NULL);
    }
    uint64_t released = strong->applied < strong->told ? strong->applied : strong->told;
    raft_release(node->raft, released);
    read_applied(node);
}

void strong_event(struct node *node, const struct db_event *event)
{
    struct strong *strong = &node->strong;
    struct job *job = NULL;
    switch (event->kind) {
    case DB_UP:
        database_up(node, event);
        return;
    case DB_DOWN:
        database_down(node);
        return;
    case DB_EXECUTED:
        job = node_job_answered(node, DB_STRONG, event->number);
        if (job != NULL && !job->abandoned) {
            batch_executed(node, job, event);
        }
        break;
    case DB_COMMITTED:
        job = node_job_answered(node, DB_STRONG, event->number);
        database_advanced(node, event);
        break;
    case DB_APPLIED:
        job = node_job_answered(node, DB_STRONG, event->number);
        if (job == strong->applying) {
            strong->applying = NULL;
        }
        database_advanced(node, event);
        break;
    case DB_DIVERGED: {
        char text[256];
        snprintf(text, sizeof(text), "%.*s", (int)(event->text.n < 250 ? event->text.n : 250), (const char *)event->text.data);
        halt(node, text);
        return;
    }
    case DB_WEAK_EXECUTED:
    case DB_WEAK_COMMITTED:
    case DB_MERGED:
    case DB_FETCHED:
    case DB_BEGUN_ANEW:
    case DB_RENEWED:
        return;
    }
    if (job != NULL) {
        node_job_free(node, DB_STRONG, job);
    }
}

// Answers and remembers the operations of one committed entry. Where it was executed does not matter: an entry that survived a
// change of leader answers its askers here, too.
static bool tell_entry(struct node *node, const struct raft_entry *raft_entry)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct entry entry;
    bool good = entry_read(cc_blob_slice(raft_entry->payload), &arena, &entry) == CC_OK;
    for (uint32_t i = 0; good && i < entry.n_operations; i++) {
        const struct entry_operation *operation = &entry.operations[i];
        forward_remember(node, operation->id, operation->outcome, raft_entry->hlc, raft_entry->index);
        struct pending *pending = forward_find(node, operation->id);
        if (pending != NULL) {
            forward_finish(node, pending, operation->outcome, raft_entry->index);
        }
    }
    cc_arena_finish(&arena);
    return good;
}

void strong_committed(struct node *node)
{
    struct strong *strong = &node->strong;
    uint64_t commit = raft_commit(node->raft);
    while (strong->told < commit) {
        const struct raft_entry *entry = raft_entry_at(node->raft, strong->told + 1);
        if (entry == NULL) { // older than what is kept in memory (after a restart)
            node->forgotten = strong->told + 1;
        } else if (entry->kind == RAFT_ENTRY_DATA && !tell_entry(node, entry)) {
            halt(node, "a committed entry cannot be read: this replica runs an older version or its memory is damaged");
            return;
        }
        strong->told++;
    }
}

void strong_role_changed(struct node *node)
{
    const struct strong *strong = &node->strong;
    bool leads = raft_role(node->raft) == RAFT_LEADER && raft_term(node->raft) == strong->lead_term;
    if (strong->state == STRONG_LEAD && !leads) {
        stop_leading(node);
    }
    if (raft_role(node->raft) != RAFT_LEADER) {
        snapshot_cancel(node);
    }
}
