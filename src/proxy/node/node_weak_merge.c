// Weak tables: what comes from others. Change sets wait in order, one line per origin, are held back until they may be merged, and are merged
// in parts whose size and pauses leave room for those who write and read here.
#include "proxy/node/node_weak.h"

#include "base/crc32c.h"

#include <stdlib.h>

enum {
    INCOMING_BYTES_MAX = 64 << 20,
    ALARM_GAP_US = 1000 * 1000,
    AMONG_WRITES_US = 1000 * 1000, // clients have written within this
    // Meanwhile what others have written is merged in parts, with pauses. What is fresh is to stay so, however much is written here. What is
    // old, because its replica or this one was away, has waited anyhow, and there may be much of it: half of the time is for those who write,
    // and none of them waits for long. A repair, which is to end, has no pauses: a write that has come meanwhile is the next all the same.
    // Where nobody writes and there is much to merge, a third is for those who read.
    FRESH_MS = 2000,
    GENTLE_PAUSE_US_MAX = 20 * 1000,
    GENTLE_BYTES_MAX = 64 << 10,
    MERGE_BYTES_MAX = 256 << 10, // otherwise: some thousand rows, so that a first write does not wait for long either
    OPEN_BYTES_MAX = 128 << 10,  // of what is merged into one transaction that stays open
    BEHIND_US_MAX = 8 * 1000 * 1000, // when that does not suffice: no more pauses
    RUSH_US = 60 * 1000 * 1000,      // for so long
};

// Of a part that is merged while clients write: how long it takes, how long the pause behind it is, in percent of that, and the least that
// it has, since fewer bytes cost more for the transaction than for their rows (of states of rows: bytes that cost more).
static const struct {
    uint64_t us, pause_percent;
    size_t n_bytes_min;
} paces[MERGE_KINDS] = {
    [MERGE_FRESH] = {.us = 4 * 1000, .pause_percent = 50, .n_bytes_min = 16 << 10},
    [MERGE_OLD] = {.us = 1500, .pause_percent = 100, .n_bytes_min = 4 << 10},
    [MERGE_ROWS] = {.us = 2 * 1000, .pause_percent = 0, .n_bytes_min = 8 << 10},
};

void weak_merge_init(struct node *node)
{
    for (size_t kind = 0; kind < MERGE_KINDS; kind++) {
        node->weak.gentle_bytes[kind] = paces[kind].n_bytes_min;
    }
}

struct incoming *weak_incoming_of(struct node *node, struct crdt_origin origin)
{
    struct weak *weak = &node->weak;
    for (size_t i = 0; i < weak->incoming.n; i++) {
        if (crdt_origin_compare(weak->incoming.at[i].origin, origin) == 0) {
            return &weak->incoming.at[i];
        }
    }
    if (weak->incoming.n >= CC_ORIGINS_MAX) {
        return NULL;
    }
    struct incoming incoming = {.origin = origin, .next = crdt_frontier_get(&weak->frontier, origin) + 1};
    NODE_PUSH(weak->incoming, incoming);
    return &weak->incoming.at[weak->incoming.n - 1];
}

static void alarm_two_contents(struct node *node, const struct crdt_change_set *set)
{
    struct weak *weak = &node->weak;
    weak->n_alarms++;
    if (weak->alarmed_us == 0 || node->time.now_us >= weak->alarmed_us + ALARM_GAP_US) {
        weak->alarmed_us = node->time.now_us;
        node_fact(node, NODE_FACT_TWO_CONTENTS, set->origin.replica, set->origin.incarnation, set->sequence, NULL);
    }
}

// A number stands for one change set, for ever: FAILURES F1, F2.
static void check_content(struct node *node, const struct incoming *incoming, const struct crdt_change_set *set, struct cc_slice bytes)
{
    bool is_own = crdt_origin_compare(set->origin, node->weak.self) == 0;
    const struct own_change *own = is_own ? weak_own_find(node, set->sequence) : NULL;
    size_t at = set->sequence % NODE_SEEN_SETS;
    bool seen = incoming != NULL && incoming->seen[at].sequence == set->sequence;
    bool differs = (own != NULL && !cc_slice_equal(cc_blob_slice(own->bytes), bytes)) ||
                   (seen && incoming->seen[at].crc != cc_crc32c(0, bytes.data, bytes.n));
    if (differs) {
        alarm_two_contents(node, set);
    }
}

void weak_incoming_add(struct node *node, struct incoming *incoming, struct cc_blob *set)
{
    incoming->seen[incoming->next % NODE_SEEN_SETS].sequence = incoming->next;
    incoming->seen[incoming->next % NODE_SEEN_SETS].crc = cc_crc32c(0, set->data, set->n);
    NODE_PUSH(incoming->sets, cc_blob_ref(set));
    incoming->next++;
    incoming->highest = incoming->next > incoming->highest ? incoming->next - 1 : incoming->highest;
    node->weak.incoming_bytes += set->n;
}

static void incoming_drop(struct node *node, struct incoming *incoming)
{
    struct cc_blob *set = incoming->sets.at[incoming->head++];
    node->weak.incoming_bytes -= set->n;
    cc_blob_unref(set);
    if (incoming->head == incoming->sets.n) {
        incoming->head = incoming->sets.n = 0;
    }
}

static void incoming_clear(struct node *node, struct incoming *incoming)
{
    while (incoming->head < incoming->sets.n) {
        incoming_drop(node, incoming);
    }
}

// Its number; where none waits, that of the next one to come.
static uint64_t first_waiting(const struct incoming *incoming)
{
    return incoming->next - (incoming->sets.n - incoming->head);
}

void weak_incoming_held(struct node *node)
{
    struct weak *weak = &node->weak;
    for (size_t i = 0; i < weak->incoming.n; i++) {
        struct incoming *incoming = &weak->incoming.at[i];
        uint64_t held = crdt_frontier_get(&weak->frontier, incoming->origin);
        while (incoming->head < incoming->sets.n && first_waiting(incoming) <= held) {
            incoming_drop(node, incoming);
        }
        if (incoming->next <= held) {
            incoming->next = held + 1;
        }
    }
}

void weak_incoming_follow(struct node *node, const struct crdt_frontier *frontier)
{
    struct weak *weak = &node->weak;
    for (size_t i = 0; i < weak->incoming.n; i++) {
        struct incoming *incoming = &weak->incoming.at[i];
        uint64_t now = crdt_frontier_get(frontier, incoming->origin);
        if (first_waiting(incoming) > now + 1) {
            incoming_clear(node, incoming);
            incoming->next = now + 1;
        }
    }
}

// Of one set, whether it is refused by now; sets that were read from our log are not.
static bool is_settled(const struct node *node, const struct incoming *incoming, const struct cc_blob *bytes)
{
    struct crdt_change_set set;
    bool is_read = crdt_change_set_peek(cc_blob_slice(bytes), &set) == CC_OK;
    return is_read && !origin_is_own(node, incoming->origin) && stable_is_too_late(node, &set);
}

void weak_incoming_settled(struct node *node)
{
    for (size_t i = 0; i < node->weak.incoming.n; i++) {
        struct incoming *incoming = &node->weak.incoming.at[i];
        size_t kept = incoming->head;
        while (kept < incoming->sets.n && !is_settled(node, incoming, incoming->sets.at[kept])) {
            kept++;
        }
        while (incoming->sets.n > kept) {
            struct cc_blob *last = incoming->sets.at[--incoming->sets.n];
            incoming->next--;
            node->weak.incoming_bytes -= last->n;
            cc_blob_unref(last);
        }
        if (incoming->head == incoming->sets.n) {
            incoming->head = incoming->sets.n = 0;
        }
    }
}

void weak_put_received(struct node *node, const struct peer *peer, struct cc_buffer *frame)
{
    struct crdt_frontier received = {.n = 0};
    for (size_t i = 0; i < node->weak.incoming.n; i++) {
        const struct incoming *incoming = &node->weak.incoming.at[i];
        if (incoming->origin.replica == peer->id) {
            (void)!crdt_frontier_raise(&received, incoming->origin, incoming->highest); // there are no more lines than places
        }
    }
    crdt_frontier_put(frame, &received);
}

void weak_incoming_finish(struct node *node)
{
    struct weak *weak = &node->weak;
    for (size_t i = 0; i < weak->incoming.n; i++) {
        incoming_clear(node, &weak->incoming.at[i]);
        free(weak->incoming.at[i].sets.at);
    }
    free(weak->incoming.at);
}

static void ask_again(struct node *node, struct peer *peer)
{
    if (node->time.now_us < peer->asked_us + WEAK_FRONTIER_GAP_US) {
        return;
    }
    peer->asked_us = node->time.now_us;
    peer_send_frontier(node, peer);
}

// Those who have taken it are not to take over our rows, which lack it.
static void tell_too_old(struct node *node, const struct peer *sender, const struct crdt_change_set *set, const struct incoming *incoming)
{
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        if (peer == sender || (peer->up && peer->member && set->sequence == incoming->next)) {
            peer_send_too_old(node, peer, set->origin, set->sequence);
        }
    }
}

// False when the set does not follow what is held: the sender must start again from our frontier.
static bool receive_set(struct node *node, const struct peer *peer, struct cc_slice bytes)
{
    struct weak *weak = &node->weak;
    struct crdt_change_set set;
    if (crdt_change_set_peek(bytes, &set) != CC_OK || set.stamp.replica != set.origin.replica ||
        set.stamp.incarnation != set.origin.incarnation || set.sequence == 0) {
        return true; // from a broken sender: asking again would bring the same
    }
    bool is_own = crdt_origin_compare(set.origin, weak->self) == 0;
    struct incoming *incoming = weak_incoming_of(node, set.origin);
    if (incoming == NULL || set.sequence < incoming->next) {
        check_content(node, incoming, &set, bytes);
        return true;
    }
    if (is_own && set.sequence > weak->replay_until) {
        check_content(node, incoming, &set, bytes);
        return true;
    }
    if (!is_own && stable_refuses(node, &set)) {
        tell_too_old(node, peer, &set, incoming);
        if (set.origin.replica != peer->id) { // another one has taken it: what that one made of it counts
            repair_gap(node, peer, set.origin, set.sequence);
        }
        return true;
    }
    if (set.origin.replica == peer->id && weak_doubts(node, peer)) { // it comes again
        return true;
    }
    bool gap = set.sequence > incoming->next && !cc_mutant(CC_MUTANT_GAP_TAKEN);
    if (gap || weak->incoming_bytes > INCOMING_BYTES_MAX) {
        return false;
    }
    weak->gather.over = weak->gather.over || set.durable; // its writer waits
    struct cc_blob *blob = cc_blob_create(bytes.data, bytes.n);
    weak_incoming_add(node, incoming, blob);
    cc_blob_unref(blob);
    return true;
}

void weak_changes(struct node *node, struct peer *peer, struct cc_reader *reader)
{
    uint64_t n = cc_read_count(reader, CC_CHANGES_HELD_MAX);
    bool gap = false;
    for (uint64_t i = 0; i < n && cc_reader_ok(reader); i++) {
        struct cc_slice bytes = cc_read_string(reader);
        if (cc_reader_ok(reader) && !receive_set(node, peer, bytes)) {
            gap = true;
        }
    }
    if (gap) {
        ask_again(node, peer);
    }
    weak_pump(node);
}

static bool may_merge(const struct node *node, const struct crdt_change_set *set)
{
    bool is_own = origin_is_own(node, set->origin); // after a restart with an earlier clock
    uint64_t horizon = is_own || cc_mutant(CC_MUTANT_SKEW_TAKEN) ? UINT64_MAX : node->time.wall_ms + node->options.clock_skew_ms_max;
    bool has_schema = set->schema_version <= node->strong.schema_version || cc_mutant(CC_MUTANT_SCHEMA_IGNORED);
    bool stays = !set->durable || snapshot_keep_own(node) == UINT64_MAX; // a snapshot that is being pulled will replace it
    return has_schema && stays && !repair_holds_back(node, set) && clock_hlc_ms(set->stamp.hlc) <= horizon;
}

static bool is_among_writes(const struct node *node)
{
    return node->weak.executed_us > 0 && node->time.now_us < node->weak.executed_us + AMONG_WRITES_US;
}

bool weak_rushes(const struct node *node)
{
    return node->time.now_us < node->weak.rush_until_us;
}

// Whether there are pauses: for those who write here, and, where much is to be caught up with, for those who read.
static bool is_paced(const struct node *node)
{
    return !weak_rushes(node) && (is_among_writes(node) || node->weak.incoming_bytes >= WEAK_GATHER_BYTES_MAX);
}

void weak_note_behind(struct node *node)
{
    struct weak *weak = &node->weak;
    if (weak->incoming_bytes < WEAK_GATHER_BYTES_MAX) {
        weak->behind_since_us = 0;
    } else if (weak->behind_since_us == 0) {
        weak->behind_since_us = node->time.now_us;
    } else if (node->time.now_us >= weak->behind_since_us + BEHIND_US_MAX) {
        weak->rush_until_us = node->time.now_us + RUSH_US;
    }
}

static size_t merge_bytes_max(const struct node *node, enum merge_kind kind)
{
    if (is_paced(node)) {
        return is_among_writes(node) ? node->weak.gentle_bytes[kind] : GENTLE_BYTES_MAX;
    }
    return is_among_writes(node) ? GENTLE_BYTES_MAX : MERGE_BYTES_MAX;
}

size_t weak_join_bytes_max(const struct node *node)
{
    return merge_bytes_max(node, MERGE_ROWS);
}

// The next part takes as long as it should, if it is like this one; not before a pause.
void weak_note_merged(struct node *node, bool rows)
{
    struct weak *weak = &node->weak;
    enum merge_kind kind = rows ? MERGE_ROWS : weak->merge_kind;
    uint64_t took_us = node->time.now_us - weak->merge_began_us;
    if (!is_paced(node) || weak->merge_bytes == 0) {
        return;
    }
    size_t *gentle = &weak->gentle_bytes[kind];
    uint64_t n_bytes = weak->merge_bytes * paces[kind].us / (took_us > 0 ? took_us : 1);
    n_bytes = n_bytes > 2 * *gentle ? 2 * *gentle : n_bytes;
    n_bytes = n_bytes < paces[kind].n_bytes_min ? paces[kind].n_bytes_min : n_bytes;
    *gentle = n_bytes > GENTLE_BYTES_MAX ? GENTLE_BYTES_MAX : n_bytes;
    uint64_t pause_us = took_us * (is_among_writes(node) ? paces[kind].pause_percent : 50) / 100;
    weak->gather.until_us = node->time.now_us + (pause_us < GENTLE_PAUSE_US_MAX ? pause_us : GENTLE_PAUSE_US_MAX);
}

bool weak_rests(const struct node *node)
{
    return is_paced(node) && node->weak.gather.until_us > node->time.now_us;
}

void weak_begin_merge(struct node *node, struct job *job, size_t n_bytes)
{
    struct weak *weak = &node->weak;
    weak->merging = job;
    weak->merged_last = true;
    weak->merge_bytes = n_bytes;
    weak->merge_began_us = node->time.now_us;
    node_job_submit(node, DB_WEAK, job);
}

static bool add_to_merge(struct node *node, struct job *job, struct cc_blob *blob, size_t *n_bytes)
{
    struct crdt_change_set set;
    bool full = job->job.n_items >= NODE_APPLY_ENTRIES_MAX ||
                (*n_bytes > 0 && *n_bytes + blob->n > merge_bytes_max(node, node->weak.merge_kind));
    if (full || crdt_change_set_peek(cc_blob_slice(blob), &set) != CC_OK || !may_merge(node, &set) || (set.durable && job->job.open)) {
        return false;
    }
    if (*n_bytes == 0) {
        bool fresh = clock_hlc_ms(set.stamp.hlc) + FRESH_MS >= node->time.wall_ms;
        node->weak.merge_kind = fresh ? MERGE_FRESH : MERGE_OLD;
    }
    // A later local write must win over this one.
    bool is_own = origin_is_own(node, set.origin); // its stamp is below the clock's floor
    if (!is_own && clock_hlc_observe(&node->clock, set.stamp.hlc, node->time.wall_ms) != CC_OK) {
        return false;
    }
    node_job_item(job, blob);
    *n_bytes += blob->n;
    node->weak.merging_durable = node->weak.merging_durable || set.durable;
    return true;
}

// The first set behind those that the database holds, or that are in the open transaction; incoming->sets.n: there is none.
static size_t first_unmerged(const struct node *node, const struct incoming *incoming)
{
    uint64_t first = first_waiting(incoming);
    uint64_t merged = crdt_frontier_get(&node->weak.merged, incoming->origin);
    uint64_t n_merged = merged < first ? 0 : merged - first + 1;
    size_t n_waiting = incoming->sets.n - incoming->head;
    return incoming->head + (n_merged < n_waiting ? (size_t)n_merged : n_waiting);
}

// False: nothing of this origin may be merged now.
static bool next_to_merge(const struct node *node, const struct incoming *incoming, struct crdt_change_set *set_out)
{
    size_t at = first_unmerged(node, incoming);
    return at < incoming->sets.n && crdt_change_set_peek(cc_blob_slice(incoming->sets.at[at]), set_out) == CC_OK && may_merge(node, set_out);
}

bool weak_has_mergeable(struct node *node)
{
    const struct weak *weak = &node->weak;
    for (size_t i = 0; i < weak->incoming.n; i++) {
        struct crdt_change_set set;
        if (next_to_merge(node, &weak->incoming.at[i], &set)) {
            return true;
        }
    }
    return false;
}

// A commit for each merge would make those wait who write here meanwhile: for the log, without which the open transaction cannot end, and for
// what PostgreSQL does to end it. Where nobody writes, or somebody reads, what was merged is to be seen at once; a set whose writer waits
// for us needs a commit of its own kind.
bool weak_may_join(struct node *node)
{
    const struct weak *weak = &node->weak;
    bool was_read = weak->n_open == 0 && weak->read_us != 0 && node->time.now_us - weak->read_us < NODE_GATHER_US;
    if (node->options.merges_apart || !is_among_writes(node) || node->stopping || was_read || read_wants_merge(node) || weak_open_is_full(node)) {
        return false;
    }
    for (size_t i = 0; i < weak->incoming.n; i++) {
        struct crdt_change_set set;
        if (next_to_merge(node, &weak->incoming.at[i], &set) && set.durable) {
            return false;
        }
    }
    return true;
}

bool weak_open_is_full(const struct node *node)
{
    return node->weak.open_merged_bytes >= OPEN_BYTES_MAX;
}

void weak_open_forget(struct node *node)
{
    struct weak *weak = &node->weak;
    for (size_t i = 0; i < weak->open_merged.n; i++) {
        cc_blob_unref(weak->open_merged.at[i]);
    }
    weak->open_merged.n = 0;
    weak->open_merged_bytes = 0;
}

void weak_merged_open(struct node *node, const struct db_event *event, const struct job *job)
{
    struct weak *weak = &node->weak;
    weak->merged = event->merged != NULL ? *event->merged : *event->frontier;
    weak->n_open++;
    for (size_t i = 0; i < job->blobs.n; i++) {
        struct cc_blob *blob = job->blobs.at[i];
        struct crdt_change_set set;
        if (crdt_change_set_peek(cc_blob_slice(blob), &set) == CC_OK && set.sequence <= crdt_frontier_get(&weak->merged, set.origin)) {
            NODE_PUSH(weak->open_merged, cc_blob_ref(blob));
            weak->open_merged_bytes += blob->n;
        }
    }
}

void weak_merge(struct node *node, bool joins)
{
    struct weak *weak = &node->weak;
    size_t n_sets = 0, n_bytes = 0;
    for (size_t i = 0; i < weak->incoming.n; i++) {
        n_sets += weak->incoming.at[i].sets.n - weak->incoming.at[i].head;
    }
    struct job *job = node_job_create(node, DB_MERGE, n_sets < NODE_APPLY_ENTRIES_MAX ? (uint32_t)n_sets : NODE_APPLY_ENTRIES_MAX);
    job->job.open = joins;
    for (size_t i = 0; i < weak->incoming.n; i++) {
        struct incoming *incoming = &weak->incoming.at[i];
        size_t at = first_unmerged(node, incoming);
        while (at < incoming->sets.n && add_to_merge(node, job, incoming->sets.at[at], &n_bytes)) {
            at++;
        }
    }
    weak_begin_merge(node, job, n_bytes);
    node->counters.counters.merges++;
}
