// Snapshots: a replica that needs entries which no log holds any more, or whose database is empty, gets the content of the
// leader's database. It pulls piece by piece, so nothing is sent that was not asked for, and a lost piece is asked for again.
//
//   source:  NONE --pulled--> MAKING --made--> READY --nobody pulls any more--> NONE
//                                \--failed, cancelled--> NONE
//   target:  IDLE --> PULLING --all pieces here--> DRAINING --lanes idle--> LOGGING --base record synced--> INSTALLING
//              ^         |                                                                                      |
//              +---------+----- log suffices, failed <----------------------------------------------------------+
//              +---------------------------- RECONNECTING <--installed------------------------------------------+
//
// A snapshot covers the frontier that its receiver had when it asked. What the receiver wrote since stays in its log and is merged
// again afterwards; what it received since, others still have.
#include "proxy/node/node_internal.h"

#include <assert.h>
#include <stdio.h>

enum {
    SOURCE_IDLE_US = 30 * 1000 * 1000,  // nobody has pulled for so long: the file is removed
    SOURCE_RETRY_US = 500 * 1000,       // after a failure
    PULL_AGAIN_US = 1000 * 1000,        // no answer
    PULL_NOT_READY_US = 100 * 1000,
    INSTALL_RETRY_US = 2 * 1000 * 1000,
    PIECE_BYTES = 512 << 10,
};

static const unsigned target_next[TARGET_STATES] = {
    [TARGET_IDLE] = 1u << TARGET_PULLING,
    [TARGET_PULLING] = 1u << TARGET_DRAINING | 1u << TARGET_IDLE,
    [TARGET_DRAINING] = 1u << TARGET_LOGGING | 1u << TARGET_IDLE,
    [TARGET_LOGGING] = 1u << TARGET_INSTALLING,
    [TARGET_INSTALLING] = 1u << TARGET_RECONNECTING | 1u << TARGET_IDLE,
    [TARGET_RECONNECTING] = 1u << TARGET_IDLE,
};

static void move(struct node *node, enum target_state state)
{
    assert(target_next[node->target.state] & 1u << state);
    node->target.state = state;
}

static void submit(struct node *node, const struct snapshot_job *job)
{
    struct snapshot_job copy = *job;
    copy.number = ++node->next_snapshot_job;
    copy.bytes = node_copy(node, job->bytes);
    NODE_PUSH(node->out->snapshots, copy);
}

static uint64_t log_base(const struct node *node)
{
    return raft_first_index(node->raft) - 1;
}

// -- Source --------------------------------------------------------------------------------------------------------------

static size_t piece_bytes(const struct node *node)
{
    return node->options.snapshot_piece_bytes > 0 ? node->options.snapshot_piece_bytes : PIECE_BYTES;
}

uint64_t snapshot_hold(const struct node *node)
{
    return node->source.state == SOURCE_NONE ? UINT64_MAX : node->source.index;
}

void snapshot_cancel(struct node *node)
{
    if (node->source.state == SOURCE_MAKING) {
        node->out->snapshot_cancel = true;
    }
}

static void source_drop(struct node *node)
{
    submit(node, &(struct snapshot_job){.kind = SNAPSHOT_FORGET});
    node->source.state = SOURCE_NONE;
}

static void source_make(struct node *node)
{
    struct snapshot_source *source = &node->source;
    if (node->strong.state != STRONG_FOLLOW && node->strong.state != STRONG_LEAD) {
        return;
    }
    if (node->time.now_us < source->retry_us || node->strong.applied < log_base(node) || node->target.state != TARGET_IDLE) {
        return;
    }
    *source = (struct snapshot_source){.state = SOURCE_MAKING,
                                       .id = clock_hlc_tick(&node->clock, node->time.wall_ms).hlc,
                                       .index = node->strong.applied, // at least
                                       .pulled_us = node->time.now_us};
    submit(node, &(struct snapshot_job){.kind = SNAPSHOT_MAKE});
}

static void source_made(struct node *node, const struct snapshot_event *event)
{
    struct snapshot_source *source = &node->source;
    if (source->state != SOURCE_MAKING) {
        return;
    }
    uint64_t term = event->status == CC_OK ? raft_term_at(node->raft, event->index) : 0;
    bool good = event->status == CC_OK && (term > 0 || event->index == 0) && event->index <= raft_commit(node->raft);
    if (!good) {
        char text[200];
        snprintf(text, sizeof(text), "%.*s", (int)(event->text.n < 190 ? event->text.n : 190), (const char *)event->text.data);
        node_fact(node, NODE_FACT_SNAPSHOT_FAILED, 0, 0, 0, text);
        source->state = SOURCE_NONE;
        source->retry_us = node->time.now_us + SOURCE_RETRY_US;
        return;
    }
    source->state = SOURCE_READY;
    source->pulled_us = node->time.now_us; // those who wait for it ask again and again, and were not told yet that it is there
    source->index = event->index;
    source->term = term;
    source->schema_version = event->schema_version;
    source->n_bytes = event->n_bytes;
    source->frontier = *event->frontier;
    uint64_t ignored;
    source->membership = *raft_membership_committed(node->raft, &ignored);
    node_fact(node, NODE_FACT_SNAPSHOT_MADE, source->index, source->n_bytes, 0, NULL);
}

static void send_piece(struct node *node, uint32_t peer, uint64_t offset, struct cc_slice bytes)
{
    const struct snapshot_source *source = &node->source;
    struct snapshot_piece piece = {.total = UINT64_MAX};
    if (source->state == SOURCE_READY && bytes.n > 0) {
        piece = (struct snapshot_piece){.id = source->id,
                                        .index = source->index,
                                        .term = source->term,
                                        .schema_version = source->schema_version,
                                        .membership = source->membership,
                                        .total = source->n_bytes,
                                        .offset = offset,
                                        .bytes = bytes};
    }
    peer_send_piece(node, peer, &piece);
}

void snapshot_pulled(struct node *node, struct peer *peer, const struct snapshot_pull *pull)
{
    struct snapshot_source *source = &node->source;
    if (weak_must_rejoin(node) && node->weak.too_old_gone) { // its frontier has changes that its rows lack by now
        send_piece(node, peer->id, 0, (struct cc_slice){0});
        return;
    }
    bool fits = source->state == SOURCE_READY && source->index >= pull->above && source->index >= log_base(node) &&
                crdt_frontier_covers(&source->frontier, &pull->frontier);
    if (fits) {
        source->pulled_us = node->time.now_us;
        uint64_t offset = pull->id == source->id && pull->offset < source->n_bytes ? pull->offset : 0;
        submit(node, &(struct snapshot_job){.kind = SNAPSHOT_READ, .peer = peer->id, .offset = offset, .n_bytes = piece_bytes(node)});
        return;
    }
    bool may_make = node->strong.applied >= pull->above && node->weak.up && crdt_frontier_covers(&node->weak.frontier, &pull->frontier);
    if (source->state != SOURCE_MAKING && may_make) {
        source_make(node);
    }
    send_piece(node, peer->id, 0, (struct cc_slice){0}); // not ready
}

static void source_read(struct node *node, const struct snapshot_event *event)
{
    if (event->status != CC_OK) {
        if (node->source.state == SOURCE_READY) {
            source_drop(node);
        }
        return;
    }
    send_piece(node, event->peer, event->offset, event->bytes);
}

// -- Target --------------------------------------------------------------------------------------------------------------

// The log does not lead from the database to the commit index.
static bool is_wanted(const struct node *node)
{
    uint64_t applied = node->strong.applied;
    return applied < log_base(node) || raft_snapshot_wanted(node->raft) > raft_commit(node->raft);
}

bool snapshot_is_installing(const struct node *node)
{
    return node->target.state >= TARGET_LOGGING;
}

bool snapshot_blocks(const struct node *node)
{
    return node->target.state >= TARGET_DRAINING;
}

uint64_t snapshot_keep_own(const struct node *node)
{
    return node->target.state == TARGET_IDLE ? UINT64_MAX : node->target.keep_own;
}

static void pull(struct node *node)
{
    struct snapshot_target *target = &node->target;
    target->again_us = node->time.now_us + PULL_AGAIN_US;
    // One below the base of the log here would leave a gap: it is of no use.
    bool has_base = node->strong.applied >= log_base(node) || cc_mutant(CC_MUTANT_SNAPSHOT_TOO_OLD);
    uint64_t above = has_base ? node->strong.applied : log_base(node);
    struct snapshot_pull request = {.id = target->id, .offset = target->offset, .above = above, .frontier = target->frontier};
    peer_send_pull(node, target->from, &request);
}

static void give_up(struct node *node, uint64_t pause_us)
{
    move(node, TARGET_IDLE);
    node->target.again_us = node->time.now_us + pause_us;
    node_update_eligible(node);
}

static const struct peer *leading_peer(struct node *node)
{
    const struct peer *peer = peer_find(node, raft_leader(node->raft));
    return peer != NULL && peer->up && peer->refused == NULL ? peer : NULL;
}

bool snapshot_waits(const struct node *node)
{
    return node->target.state == TARGET_PULLING && node->target.id == 0 && raft_leader(node->raft) == node->target.from;
}

static void start_pulling(struct node *node)
{
    struct snapshot_target *target = &node->target;
    const struct peer *leader = leading_peer(node);
    bool merges_durably = node->weak.merging != NULL && node->weak.merging_durable; // its writer is told that it stays
    if (leader == NULL || node->strong.state != STRONG_FOLLOW || !node->weak.up || node->time.now_us < target->again_us ||
        node->source.state == SOURCE_MAKING || merges_durably) {
        return;
    }
    *target = (struct snapshot_target){.state = TARGET_IDLE, .from = leader->id, .frontier = node->weak.frontier};
    target->keep_own = crdt_frontier_get(&node->weak.frontier, node->weak.self);
    move(node, TARGET_PULLING);
    node_fact(node, NODE_FACT_SNAPSHOT_PULL, leader->id, node->strong.applied, log_base(node), NULL);
    pull(node);
}

static void continue_pulling(struct node *node)
{
    struct snapshot_target *target = &node->target;
    bool down = node->strong.state != STRONG_FOLLOW || !node->weak.up;
    if (!is_wanted(node) || down || target->overrun) {
        give_up(node, 0);
        return;
    }
    const struct peer *leader = leading_peer(node);
    if (leader == NULL) {
        return;
    }
    if (leader->id != target->from) { // its snapshot is another one
        target->from = leader->id;
        target->writing = false;
        pull(node);
    } else if (node->time.now_us >= target->again_us && !target->writing) {
        pull(node);
    }
}

void snapshot_piece(struct node *node, const struct peer *peer, const struct snapshot_piece *piece)
{
    struct snapshot_target *target = &node->target;
    if (target->state != TARGET_PULLING || peer->id != target->from || target->writing) {
        return;
    }
    if (piece->total == UINT64_MAX) {
        uint64_t again_us = node->time.now_us + PULL_NOT_READY_US;
        target->again_us = again_us < target->again_us ? again_us : target->again_us;
        return;
    }
    bool is_new = piece->id != target->id;
    if (is_new && piece->offset == 0) {
        target->id = piece->id;
        target->index = piece->index;
        target->term = piece->term;
        target->total = piece->total;
        target->membership = piece->membership;
        target->offset = 0;
    }
    bool next = piece->id == target->id && piece->offset == target->offset && piece->bytes.n > 0 &&
                piece->bytes.n <= target->total - target->offset && piece->index == target->index;
    if (!next) {
        return; // late or twice; asked for again
    }
    target->writing = true;
    submit(node, &(struct snapshot_job){.kind = SNAPSHOT_WRITE, .offset = piece->offset, .bytes = piece->bytes});
    target->write_number = node->next_snapshot_job;
    target->offset += piece->bytes.n;
}

static void written(struct node *node, const struct snapshot_event *event)
{
    struct snapshot_target *target = &node->target;
    if (target->state != TARGET_PULLING || event->number != target->write_number) {
        return;
    }
    target->writing = false;
    if (event->status != CC_OK) {
        give_up(node, INSTALL_RETRY_US);
        return;
    }
    if (target->offset < target->total) {
        pull(node);
        return;
    }
    move(node, TARGET_DRAINING);
}

static bool lane_is_idle(const struct job *jobs)
{
    const struct job *job;
    DL_FOREACH(jobs, job)
    {
        if (job->job.kind != DB_ROLLBACK && job->job.kind != DB_WEAK_ROLLBACK) { // these have no answer
            return false;
        }
    }
    return true;
}

static bool lanes_are_idle(const struct node *node)
{
    return lane_is_idle(node->jobs[DB_STRONG]) && lane_is_idle(node->jobs[DB_WEAK]) && node->weak.n_open == 0 && !node->strong.loading;
}

// The log first: a replica whose database is behind the base of its log knows that it needs a snapshot.
static void begin_installing(struct node *node)
{
    struct snapshot_target *target = &node->target;
    uint64_t applied = node->strong.applied, commit = raft_commit(node->raft);
    bool is_newer = target->index > applied || (target->index == applied && target->index > commit); // FAILURES A12
    if (node->strong.state != STRONG_FOLLOW || !node->weak.up || !is_newer || target->index < log_base(node) ||
        raft_role(node->raft) == RAFT_LEADER) {
        give_up(node, 0);
        return;
    }
    move(node, TARGET_LOGGING);
    target->log_number = 0;
    node_update_eligible(node);
    if (target->index > commit) {
        raft_install_snapshot(node->raft, node->time.now_us, target->index, target->term, &target->membership);
        wal_put_base(&node->out->log, target->index, target->term);
        target->log_number = node->log_number + 1;
    }
}

static void install(struct node *node)
{
    if (node->weak.synced < node->target.log_number) {
        return;
    }
    move(node, TARGET_INSTALLING);
    submit(node, &(struct snapshot_job){.kind = SNAPSHOT_INSTALL, .index = node->target.index});
}

static void installed(struct node *node, const struct snapshot_event *event)
{
    struct snapshot_target *target = &node->target;
    if (target->state != TARGET_INSTALLING) {
        return;
    }
    if (event->status != CC_OK) {
        char text[200];
        snprintf(text, sizeof(text), "%.*s", (int)(event->text.n < 190 ? event->text.n : 190), (const char *)event->text.data);
        node_fact(node, NODE_FACT_SNAPSHOT_FAILED, target->index, 0, 0, text);
        give_up(node, INSTALL_RETRY_US);
        return;
    }
    node_fact(node, NODE_FACT_SNAPSHOT_INSTALLED, target->index, target->total, 0, NULL);
    target->lanes_up = 0;
    move(node, TARGET_RECONNECTING);
}

void snapshot_lane(struct node *node, enum db_lane lane, bool up)
{
    struct snapshot_target *target = &node->target;
    unsigned bit = 1u << lane;
    target->lanes_up = up ? target->lanes_up | bit : target->lanes_up & ~bit;
    if (target->state == TARGET_RECONNECTING && target->lanes_up == (1u << DB_LANES) - 1) {
        move(node, TARGET_IDLE);
        node_update_eligible(node);
    }
}

// -- Both ----------------------------------------------------------------------------------------------------------------

void snapshot_pump(struct node *node)
{
    struct snapshot_source *source = &node->source;
    if (source->state == SOURCE_READY && node->time.now_us >= source->pulled_us + SOURCE_IDLE_US) {
        source_drop(node);
    }
    switch (node->target.state) {
    case TARGET_IDLE:
        if (is_wanted(node)) {
            start_pulling(node);
        }
        break;
    case TARGET_PULLING:
        continue_pulling(node);
        break;
    case TARGET_DRAINING:
        if (lanes_are_idle(node)) {
            begin_installing(node);
        }
        break;
    case TARGET_LOGGING:
        install(node);
        break;
    case TARGET_INSTALLING:
    case TARGET_RECONNECTING:
        break;
    }
}

void node_snapshot_event(struct node *node, struct node_time time, const struct snapshot_event *event)
{
    node->time = time;
    switch (event->kind) {
    case SNAPSHOT_MAKE:
        source_made(node, event);
        break;
    case SNAPSHOT_READ:
        source_read(node, event);
        break;
    case SNAPSHOT_WRITE:
        written(node, event);
        break;
    case SNAPSHOT_INSTALL:
        installed(node, event);
        break;
    case SNAPSHOT_FORGET:
        break;
    }
    snapshot_pump(node);
}

void snapshot_describe(const struct node *node, struct node_status *status)
{
    static const char *const target_names[TARGET_STATES] = {
        [TARGET_PULLING] = "pulling",       [TARGET_DRAINING] = "installing",     [TARGET_LOGGING] = "installing",
        [TARGET_INSTALLING] = "installing", [TARGET_RECONNECTING] = "installing",
    };
    const struct snapshot_source *source = &node->source;
    const struct snapshot_target *target = &node->target;
    status->space_low = node->upkeep.durable.space_low;
    status->disk_slow = node->upkeep.durable.disk_slow;
    status->recovering = !recovery_is_over(node);
    status->snapshot = target_names[target->state];
    if (status->snapshot != NULL) {
        status->snapshot_index = target->index;
        status->snapshot_bytes = target->offset;
        status->snapshot_total = target->total;
    } else if (source->state != SOURCE_NONE) {
        status->snapshot = source->state == SOURCE_MAKING ? "making" : "serving";
        status->snapshot_index = source->index;
        status->snapshot_bytes = status->snapshot_total = source->n_bytes;
    }
}
