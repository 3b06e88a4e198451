// Weak tables: local writes through the log with a majority of one, change sets from peers merged, frontiers exchanged.
//
//   local:   queue -> WEAK_EXECUTE -> change set numbered and logged -> synced -> pushed to peers, WEAK_COMMIT -> answered
//   remote:  frame -> incoming, in order per origin -> MERGE -> frontier
//   after a crash of PostgreSQL: own change sets above its frontier are merged like remote ones.
#include "proxy/node/node_internal.h"

#include "base/crc32c.h"

#include <assert.h>
#include <stdlib.h>

enum {
    INCOMING_BYTES_MAX = 64 << 20,
    GATHER_BYTES_MAX = 256 << 10,
    PUSHED_SETS_MAX = 20000,       // sent to a peer and not yet in its frontier
    FRONTIER_GAP_US = 50 * 1000,   // between frontiers told out of turn
    OWN_BYTES_FACTOR = 4,          // own change sets in memory while a snapshot is pulled, against the usual limit
    AMONG_WRITES_US = 1000 * 1000, // clients have written within this
    // Meanwhile what others have written is merged in parts that take about so long, with pauses as long as the work: no write waits for
    // long, and half of the time is theirs; a repair, which is to end, comes in shorter parts with shorter pauses. Where nobody writes and
    // there is much to merge, a third is for those who read.
    GENTLE_MERGE_US = 4 * 1000,
    GENTLE_ROWS_US = 3 * 1000,
    GENTLE_PAUSE_US_MAX = 20 * 1000,
    GENTLE_BYTES_MIN = 16 << 10,     // less costs more for the transaction than for its rows
    GENTLE_ROW_BYTES_MIN = 8 << 10, // of states of rows, which cost more
    GENTLE_BYTES_MAX = 64 << 10,
    MERGE_BYTES_MAX = 256 << 10, // otherwise: some thousand rows, so that a first write does not wait for long either
    BEHIND_US_MAX = 8 * 1000 * 1000, // when that does not suffice: no more pauses
    RUSH_US = 60 * 1000 * 1000,      // for so long
    GAP_TOLD_US = 60 * 1000 * 1000,
    STUCK_US = 1000 * 1000,        // no progress for so long: somebody else than the origin sends
};

void weak_init(struct node *node)
{
    node->weak.self = (struct crdt_origin){node->options.raft.id, node->options.incarnation};
    node->weak.next_sequence = 1;
    node->weak.gentle_sets = GENTLE_BYTES_MIN;
    node->weak.gentle_rows = GENTLE_ROW_BYTES_MIN;
}

static uint64_t own_committed(const struct node *node)
{
    return crdt_frontier_get(&node->weak.frontier, node->weak.self);
}

// -- Own change sets -------------------------------------------------------------------------------------------------

static struct own_change *own_find(struct node *node, uint64_t sequence)
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

static void own_trim(struct node *node, bool only_committed)
{
    struct weak *weak = &node->weak;
    while (weak->own_bytes > node->options.own_changes_bytes_max && weak->own_head < weak->own.n) {
        struct own_change *oldest = &weak->own.at[weak->own_head];
        if (only_committed && oldest->sequence > own_committed(node)) {
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

enum cc_status weak_restore(struct node *node, struct cc_slice bytes)
{
    struct weak *weak = &node->weak;
    struct crdt_change_set set;
    if (crdt_change_set_peek(bytes, &set) != CC_OK) {
        return CC_CORRUPT;
    }
    clock_hlc_floor(&node->clock, set.stamp.hlc);
    if (crdt_origin_compare(set.origin, weak->self) != 0) {
        return CC_OK; // of an earlier life
    }
    if (set.sequence < weak->next_sequence) {
        return CC_CORRUPT;
    }
    if (set.sequence != weak->next_sequence) { // the log was cut below: what is gone is durable in the database
        while (weak->own_head < weak->own.n) {
            weak->own_bytes -= weak->own.at[weak->own_head].bytes->n;
            cc_blob_unref(weak->own.at[weak->own_head++].bytes);
        }
    }
    if (cc_mutant(CC_MUTANT_SEQUENCE_REUSED)) {
        return CC_OK;
    }
    own_add(node, set.sequence, 0, cc_blob_create(bytes.data, bytes.n));
    weak->next_sequence = set.sequence + 1;
    weak->replay_until = set.sequence;
    own_trim(node, false);
    return CC_OK;
}

void weak_restore_sequence(struct node *node, uint64_t sequence)
{
    struct weak *weak = &node->weak;
    if (sequence >= weak->next_sequence && !cc_mutant(CC_MUTANT_SEQUENCE_REUSED)) {
        weak->next_sequence = sequence + 1;
        weak->replay_until = sequence;
    }
}

// -- Sending to peers ------------------------------------------------------------------------------------------------

static void fetch_for(struct node *node, struct peer *peer, struct crdt_origin origin, uint64_t sequence)
{
    if (peer->fetching || !node->weak.up || snapshot_blocks(node)) {
        return;
    }
    struct job *job = node_job_create(node, DB_FETCH, 0);
    job->job.origin = origin;
    job->job.sequence = sequence;
    job->job.peer = peer->id;
    job->job.n_bytes_max = NODE_CHANGES_FRAME_BYTES;
    peer->fetching = true;
    node_job_submit(node, DB_WEAK, job);
}

// Sends own change sets that are durable in the log and that the peer was not sent yet.
static void push_to(struct node *node, struct peer *peer)
{
    struct weak *weak = &node->weak;
    if (!peer->up || !peer->frontier_known || peer->refused != NULL || weak_must_rejoin(node)) {
        return;
    }
    uint64_t acknowledged = crdt_frontier_get(&peer->frontier, weak->self);
    while (peer->pushed + 1 < weak->next_sequence && peer->pushed < acknowledged + PUSHED_SETS_MAX) {
        struct cc_slice sets[256];
        size_t n = 0, n_bytes = 0;
        struct own_change *change = own_find(node, peer->pushed + 1);
        if (change == NULL) { // no longer in memory
            if (peer->pushed + 1 <= own_committed(node)) {
                fetch_for(node, peer, weak->self, peer->pushed + 1);
            }
            return;
        }
        while (n < 256 && n_bytes < NODE_CHANGES_FRAME_BYTES && change != NULL &&
               (change->log_number <= weak->synced || cc_mutant(CC_MUTANT_PUSH_UNSYNCED))) {
            sets[n++] = cc_blob_slice(change->bytes);
            n_bytes += change->bytes->n;
            change = own_find(node, peer->pushed + 1 + n);
        }
        if (n == 0) {
            return;
        }
        peer_send_changes(node, peer, sets, n);
        peer->pushed += n;
    }
}

void weak_synced(struct node *node, uint64_t log_number)
{
    node->weak.synced = log_number;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        push_to(node, &node->peers[i]);
    }
    weak_pump(node);
}

// One origin after the other, whether the histories have its change sets or not.
static void relay_next(struct node *node, struct peer *peer)
{
    while (peer->lacks.n > 0 && !peer->fetching) {
        peer->lacks.n--;
        fetch_for(node, peer, peer->lacks.at[peer->lacks.n].origin, peer->lacks.at[peer->lacks.n].sequence);
    }
}

// Origins other than ourselves: their own replica sends, and we do when that does not help.
static void relay_to(struct node *node, struct peer *peer, bool is_second_look)
{
    const struct crdt_frontier *mine = &node->weak.frontier;
    peer->lacks.n = 0;
    for (uint32_t i = 0; i < mine->n; i++) {
        struct crdt_origin origin = mine->at[i].origin;
        uint64_t theirs = crdt_frontier_get(&peer->frontier, origin);
        if (theirs >= mine->at[i].sequence || crdt_origin_compare(origin, node->weak.self) == 0) {
            continue;
        }
        const struct peer *sender = peer_find(node, origin.replica);
        bool origin_sends = sender != NULL && sender->up && sender->incarnation == origin.incarnation && sender != peer;
        bool stuck = is_second_look && theirs == crdt_frontier_get(&peer->frontier_before, origin);
        if ((!origin_sends && !cc_mutant(CC_MUTANT_STUCK_FOR_LONG)) || stuck) {
            peer->lacks.at[peer->lacks.n].origin = origin;
            peer->lacks.at[peer->lacks.n++].sequence = theirs + 1;
        }
    }
    relay_next(node, peer);
}

static void answer_spread(struct node *node);

void weak_peer_frontier(struct node *node, struct peer *peer)
{
    answer_spread(node);
    struct weak *weak = &node->weak;
    uint64_t theirs = crdt_frontier_get(&peer->frontier, weak->self);
    if (theirs >= weak->next_sequence) { // they hold changes of ours that we do not know: never number those again
        weak->n_alarms++;
        node_fact(node, NODE_FACT_RESTORED, peer->id, theirs, weak->next_sequence - 1, NULL);
        weak->next_sequence = theirs + 1;
        weak->replay_until = theirs;
    }
    uint64_t stuck_us = (uint64_t)STUCK_US * (cc_mutant(CC_MUTANT_STUCK_FOR_LONG) ? 20 : 1);
    bool second_look = peer->frontier_before_us > 0 && node->time.now_us >= peer->frontier_before_us + stuck_us;
    bool stuck = second_look && theirs == crdt_frontier_get(&peer->frontier_before, weak->self);
    if (!peer->frontier_known || peer->pushed < theirs || (stuck && peer->pushed > theirs)) {
        peer->pushed = theirs;
    }
    peer->frontier_known = true;
    push_to(node, peer);
    relay_to(node, peer, second_look);
    if (second_look || peer->frontier_before_us == 0) {
        peer->frontier_before = peer->frontier;
        peer->frontier_before_us = node->time.now_us;
    }
}

// -- Receiving -------------------------------------------------------------------------------------------------------

static struct incoming *incoming_of(struct node *node, struct crdt_origin origin)
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
    if (weak->alarmed_us == 0 || node->time.now_us >= weak->alarmed_us + STUCK_US) {
        weak->alarmed_us = node->time.now_us;
        node_fact(node, NODE_FACT_TWO_CONTENTS, set->origin.replica, set->origin.incarnation, set->sequence, NULL);
    }
}

// A number stands for one change set, for ever: FAILURES F1, F2.
static void check_content(struct node *node, const struct incoming *incoming, const struct crdt_change_set *set, struct cc_slice bytes)
{
    bool is_own = crdt_origin_compare(set->origin, node->weak.self) == 0;
    const struct own_change *own = is_own ? own_find(node, set->sequence) : NULL;
    size_t at = set->sequence % NODE_SEEN_SETS;
    bool seen = incoming != NULL && incoming->seen[at].sequence == set->sequence;
    bool differs = (own != NULL && !cc_slice_equal(cc_blob_slice(own->bytes), bytes)) ||
                   (seen && incoming->seen[at].crc != cc_crc32c(0, bytes.data, bytes.n));
    if (differs) {
        alarm_two_contents(node, set);
    }
}

static void incoming_add(struct node *node, struct incoming *incoming, struct cc_blob *set)
{
    incoming->seen[incoming->next % NODE_SEEN_SETS].sequence = incoming->next;
    incoming->seen[incoming->next % NODE_SEEN_SETS].crc = cc_crc32c(0, set->data, set->n);
    NODE_PUSH(incoming->sets, cc_blob_ref(set));
    incoming->next++;
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

static void ask_again(struct node *node, struct peer *peer)
{
    if (node->time.now_us < peer->asked_us + FRONTIER_GAP_US) {
        return;
    }
    peer->asked_us = node->time.now_us;
    peer_send_frontier(node, peer);
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
    struct incoming *incoming = incoming_of(node, set.origin);
    if (incoming == NULL || set.sequence < incoming->next) {
        check_content(node, incoming, &set, bytes);
        return true;
    }
    if (is_own && set.sequence > weak->replay_until) {
        check_content(node, incoming, &set, bytes);
        return true;
    }
    if (!is_own && stable_refuses(node, &set)) {
        if (set.origin.replica != peer->id) { // another one has taken it: what that one made of it counts
            repair_gap(node, peer, set.origin, set.sequence);
        } else if (set.origin.incarnation == peer->incarnation) {
            peer_send_too_old(node, peer, set.sequence);
        }
        return true;
    }
    bool gap = set.sequence > incoming->next && !cc_mutant(CC_MUTANT_GAP_TAKEN);
    if (gap || weak->incoming_bytes > INCOMING_BYTES_MAX) {
        return false;
    }
    weak->gather.over = weak->gather.over || set.durable; // its writer waits
    struct cc_blob *blob = cc_blob_create(bytes.data, bytes.n);
    incoming_add(node, incoming, blob);
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

static void load_own(struct node *node)
{
    if (!node->weak.loading && node->weak.incoming_bytes < GATHER_BYTES_MAX) {
        node->weak.loading = true;
        node->out->load_changes = true;
    }
}

// From the beginning of the log, as far as it takes; what is not the next one is passed over.
void weak_loaded(struct node *node, const struct wal_record *changes, size_t n_changes, struct wal_cursor next, bool done)
{
    struct weak *weak = &node->weak;
    struct incoming *incoming = incoming_of(node, weak->self);
    weak->loading = false;
    if (weak->load_again) { // asked for before the database went away
        weak->load_again = false;
        return;
    }
    weak->log_cursor = done ? (struct wal_cursor){0} : next; // what is not in the log others send
    weak->log_lacks = done;
    for (size_t i = 0; incoming != NULL && i < n_changes && weak->up; i++) {
        struct crdt_change_set set;
        if (crdt_change_set_peek(changes[i].body, &set) == CC_OK && crdt_origin_compare(set.origin, weak->self) == 0 &&
            set.sequence == incoming->next && set.sequence <= weak->replay_until) {
            struct cc_blob *blob = cc_blob_create(changes[i].body.data, changes[i].body.n);
            incoming_add(node, incoming, blob);
            cc_blob_unref(blob);
        }
    }
}

// Own change sets that the database lost, or never got before a crash, as far as the log has them durably.
static void replay_own(struct node *node)
{
    struct weak *weak = &node->weak;
    if (weak->replay_until <= own_committed(node)) {
        return;
    }
    struct incoming *incoming = incoming_of(node, weak->self);
    while (incoming != NULL && incoming->next <= weak->replay_until) {
        struct own_change *change = own_find(node, incoming->next);
        if (change == NULL && !weak->log_lacks) {
            load_own(node);
        }
        if (change == NULL || change->log_number > weak->synced) {
            return;
        }
        incoming_add(node, incoming, change->bytes);
    }
}

static bool may_merge(const struct node *node, const struct crdt_change_set *set)
{
    bool is_own = crdt_origin_compare(set->origin, node->weak.self) == 0; // after a restart with an earlier clock
    uint64_t horizon = is_own || cc_mutant(CC_MUTANT_SKEW_TAKEN) ? UINT64_MAX : node->time.wall_ms + node->options.clock_skew_ms_max;
    bool has_schema = set->schema_version <= node->strong.schema_version || cc_mutant(CC_MUTANT_SCHEMA_IGNORED);
    bool stays = !set->durable || snapshot_keep_own(node) == UINT64_MAX; // a snapshot that is being pulled will replace it
    return has_schema && stays && !repair_holds_back(node, set) && clock_hlc_ms(set->stamp.hlc) <= horizon;
}

static bool is_among_writes(const struct node *node)
{
    return node->weak.executed_us > 0 && node->time.now_us < node->weak.executed_us + AMONG_WRITES_US;
}

static bool rushes(const struct node *node)
{
    return node->time.now_us < node->weak.rush_until_us;
}

// Whether there are pauses: for those who write here, and, where much is to be caught up with, for those who read.
static bool is_paced(const struct node *node)
{
    return !rushes(node) && (is_among_writes(node) || node->weak.incoming_bytes >= GATHER_BYTES_MAX);
}

static void note_behind(struct node *node)
{
    struct weak *weak = &node->weak;
    if (weak->incoming_bytes < GATHER_BYTES_MAX) {
        weak->behind_since_us = 0;
    } else if (weak->behind_since_us == 0) {
        weak->behind_since_us = node->time.now_us;
    } else if (node->time.now_us >= weak->behind_since_us + BEHIND_US_MAX) {
        weak->rush_until_us = node->time.now_us + RUSH_US;
    }
}

static size_t merge_bytes_max(const struct node *node, size_t gentle)
{
    if (is_paced(node)) {
        return is_among_writes(node) ? gentle : GENTLE_BYTES_MAX;
    }
    return is_among_writes(node) ? GENTLE_BYTES_MAX : MERGE_BYTES_MAX;
}

size_t weak_join_bytes_max(const struct node *node)
{
    return merge_bytes_max(node, node->weak.gentle_rows);
}

// The next part takes as long as it should, if it is like this one; not before a pause.
static void note_merged(struct node *node, bool rows)
{
    struct weak *weak = &node->weak;
    size_t *gentle = rows ? &weak->gentle_rows : &weak->gentle_sets, n_bytes_min = rows ? GENTLE_ROW_BYTES_MIN : GENTLE_BYTES_MIN;
    uint64_t took_us = node->time.now_us - weak->merge_began_us;
    if (!is_paced(node) || weak->merge_bytes == 0) {
        return;
    }
    uint64_t n_bytes = weak->merge_bytes * (rows ? GENTLE_ROWS_US : GENTLE_MERGE_US) / (took_us > 0 ? took_us : 1);
    n_bytes = n_bytes > 2 * *gentle ? 2 * *gentle : n_bytes;
    n_bytes = n_bytes < n_bytes_min ? n_bytes_min : n_bytes;
    *gentle = n_bytes > GENTLE_BYTES_MAX ? GENTLE_BYTES_MAX : n_bytes;
    uint64_t pause_us = !is_among_writes(node) ? took_us / 2 : rows ? took_us / 3 : took_us;
    weak->gather.until_us = node->time.now_us + (pause_us < GENTLE_PAUSE_US_MAX ? pause_us : GENTLE_PAUSE_US_MAX);
}

// Between two parts; node_tick sees the end of it.
static bool rests(const struct node *node)
{
    return is_paced(node) && node->weak.gather.until_us > node->time.now_us;
}

static void begin_merge(struct node *node, struct job *job, size_t n_bytes)
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
    size_t n_bytes_max = merge_bytes_max(node, node->weak.gentle_sets);
    bool full = job->job.n_items >= NODE_APPLY_ENTRIES_MAX || (*n_bytes > 0 && *n_bytes + blob->n > n_bytes_max);
    if (full || crdt_change_set_peek(cc_blob_slice(blob), &set) != CC_OK || !may_merge(node, &set)) {
        return false;
    }
    // A later local write must win over this one.
    bool is_own = crdt_origin_compare(set.origin, node->weak.self) == 0; // its stamp is below the clock's floor
    if (!is_own && clock_hlc_observe(&node->clock, set.stamp.hlc, node->time.wall_ms) != CC_OK) {
        return false;
    }
    node_job_item(job, blob);
    *n_bytes += blob->n;
    node->weak.merging_durable = node->weak.merging_durable || set.durable;
    return true;
}

static bool has_mergeable(struct node *node)
{
    struct weak *weak = &node->weak;
    for (size_t i = 0; i < weak->incoming.n; i++) {
        const struct incoming *incoming = &weak->incoming.at[i];
        struct crdt_change_set set;
        if (incoming->head < incoming->sets.n &&
            crdt_change_set_peek(cc_blob_slice(incoming->sets.at[incoming->head]), &set) == CC_OK && may_merge(node, &set)) {
            return true;
        }
    }
    return false;
}

static void merge(struct node *node)
{
    struct weak *weak = &node->weak;
    size_t n_sets = 0, n_bytes = 0;
    for (size_t i = 0; i < weak->incoming.n; i++) {
        n_sets += weak->incoming.at[i].sets.n - weak->incoming.at[i].head;
    }
    struct job *job = node_job_create(node, DB_MERGE, n_sets < NODE_APPLY_ENTRIES_MAX ? (uint32_t)n_sets : NODE_APPLY_ENTRIES_MAX);
    for (size_t i = 0; i < weak->incoming.n; i++) {
        struct incoming *incoming = &weak->incoming.at[i];
        size_t at = incoming->head;
        while (at < incoming->sets.n && add_to_merge(node, job, incoming->sets.at[at], &n_bytes)) {
            at++;
        }
    }
    begin_merge(node, job, n_bytes);
    node->counters.counters.merges++;
}

// -- Local writes ----------------------------------------------------------------------------------------------------

static void write_free(struct weak_write *write)
{
    cc_blob_unref(write->operation);
    cc_blob_unref(write->outcome);
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

// What some member is known to hold of our changes.
static uint64_t own_known(const struct node *node)
{
    uint64_t sequence = 0;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        uint64_t theirs = node->peers[i].member ? crdt_frontier_get(&node->peers[i].frontier, node->weak.self) : 0;
        sequence = theirs > sequence ? theirs : sequence;
    }
    return sequence;
}

bool weak_must_rejoin(const struct node *node)
{
    return node->weak.too_old > own_known(node);
}

void weak_put_frontier(const struct node *node, struct cc_buffer *frame)
{
    struct crdt_frontier frontier = node->weak.frontier;
    uint64_t known = weak_must_rejoin(node) ? own_known(node) : UINT64_MAX;
    for (uint32_t i = 0; i < frontier.n; i++) {
        if (crdt_origin_compare(frontier.at[i].origin, node->weak.self) == 0 && frontier.at[i].sequence > known) {
            frontier.at[i].sequence = known;
        }
        if (frontier.at[i].sequence == 0) {
            memmove(&frontier.at[i], &frontier.at[i + 1], (--frontier.n - i) * sizeof(frontier.at[0]));
        }
    }
    crdt_frontier_put(frame, &frontier);
}

void weak_too_old(struct node *node, const struct peer *peer, uint64_t sequence)
{
    struct weak *weak = &node->weak;
    if (sequence >= weak->next_sequence || sequence <= own_known(node) || weak_must_rejoin(node)) {
        return;
    }
    weak->too_old = sequence;
    node_fact(node, NODE_FACT_REJOIN, peer->id, sequence, weak->next_sequence - 1, NULL);
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

static void execute(struct node *node)
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

static uint64_t log_change(struct node *node, struct cc_slice bytes)
{
    struct weak *weak = &node->weak;
    struct cc_blob *set = cc_blob_create(bytes.data, bytes.n);
    uint64_t sequence = weak->next_sequence++;
    crdt_change_set_number(set->data, set->n, sequence);
    wal_put_change(&node->out->log, cc_blob_slice(set));
    own_add(node, sequence, node->log_number + 1, set);
    return sequence;
}

// They are merged when they are durable, like own ones that the database has lost.
static void log_renewed(struct node *node, const struct db_event *event)
{
    struct weak *weak = &node->weak;
    for (uint32_t i = 0; i < event->n_changes; i++) {
        weak->replay_until = log_change(node, event->changes[i]);
    }
    renewal_decided(node, event);
}

static void executed(struct node *node, const struct db_event *event)
{
    struct weak *weak = &node->weak;
    struct weak_write *write = first_without_outcome(weak->executed);
    for (uint32_t i = 0; i < event->n_outcomes; i++) {
        assert(write != NULL);
        write->outcome = cc_blob_create(event->outcomes[i].data, event->outcomes[i].n);
        write->sequence = event->changes[i].n > 0 ? log_change(node, event->changes[i]) : 0;
        write = write->next;
    }
    weak->executing = NULL;
    weak->n_open++;
}

// The open transaction may be committed: everything executed in it is durable in the log.
static bool is_logged(struct node *node)
{
    for (struct weak_write *write = node->weak.executed; write != NULL; write = write->next) {
        if (write->sequence > 0) {
            const struct own_change *change = own_find(node, write->sequence);
            bool synced = change != NULL && (change->log_number <= node->weak.synced || cc_mutant(CC_MUTANT_WEAK_COMMIT_UNSYNCED));
            if (!synced) {
                return false;
            }
        }
    }
    return true;
}

static void commit(struct node *node)
{
    struct weak *weak = &node->weak;
    uint32_t n = 0;
    struct weak_write *write;
    DL_FOREACH(weak->executed, write)
    {
        n += write->sequence > 0;
    }
    struct job *job = node_job_create(node, DB_WEAK_COMMIT, n);
    DL_FOREACH(weak->executed, write)
    {
        if (write->sequence > 0) {
            node_job_item(job, own_find(node, write->sequence)->bytes);
        }
    }
    DL_CONCAT(weak->committing, weak->executed);
    weak->executed = NULL;
    weak->n_open = 0;
    weak->committing_job = job;
    node_job_submit(node, DB_WEAK, job);
}

void weak_pump(struct node *node)
{
    struct weak *weak = &node->weak;
    if (!weak->up || node->renewal.state == RENEWAL_LEAVING) {
        return;
    }
    replay_own(node);
    if (weak->executing == NULL && weak->n_open > 0 && weak->committing_job == NULL && is_logged(node)) {
        commit(node);
    }
    if (snapshot_blocks(node)) {
        return;
    }
    bool replayed = own_committed(node) >= weak->replay_until;
    if (weak->merging == NULL && weak->executing == NULL && weak->n_open == 0 && renewal_wants_turn(node)) {
        weak->merging = renewal_take_job(node);
        node_job_submit(node, DB_WEAK, weak->merging);
    }
    note_behind(node);
    bool hurry = !replayed || node->stopping || (weak->incoming_bytes >= GATHER_BYTES_MAX && rushes(node)) || read_wants_merge(node);
    bool turn_of_writes = weak->merged_last && weak->queue != NULL && replayed; // by turns: neither is to wait for all of the other
    bool mergeable = weak->merging == NULL && !turn_of_writes && has_mergeable(node) && !node_gathers(node, &weak->gather, NODE_GATHER_US, hurry);
    if (mergeable && weak->executing == NULL && weak->n_open == 0) {
        merge(node);
        mergeable = false;
    } else if (mergeable) { // it waits for the local writes under way, not for more of its kind
        weak->gather.over = true;
    }
    bool had_its_turn = replayed || weak->log_lacks || repair_is_whole(node); // what the log lacks comes from others, or is taken over
    bool joinable = weak->merging == NULL && had_its_turn && !turn_of_writes && !mergeable && !rests(node) && repair_has_states(node);
    if (joinable && weak->executing == NULL && weak->n_open == 0) {
        size_t n_bytes = 0;
        struct job *job = repair_take_job(node, &n_bytes);
        begin_merge(node, job, n_bytes);
        joinable = false;
    }
    // A batch that were begun behind a merge would have the first write alone, and all others would come in a second one.
    bool idle = weak->executing == NULL && weak->merging == NULL && !mergeable && !joinable;
    if (idle && weak->queue != NULL && replayed && renewal_is_done(node) && weak->n_open < NODE_WEAK_TRANSACTION_BATCHES_MAX) {
        execute(node);
    }
}

// -- Events ----------------------------------------------------------------------------------------------------------

// Answers what is committed here and durable where it was to be; at the deadline, with what was reached.
static void answer_spread(struct node *node)
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

static void take_frontier(struct node *node, const struct crdt_frontier *frontier)
{
    struct weak *weak = &node->weak;
    weak->frontier = *frontier;
    weak->frontier_moved = true;
    stable_moved(node);
    for (size_t i = 0; i < weak->incoming.n; i++) {
        struct incoming *incoming = &weak->incoming.at[i];
        uint64_t held = crdt_frontier_get(frontier, incoming->origin);
        while (incoming->head < incoming->sets.n && incoming->next - (incoming->sets.n - incoming->head) <= held) {
            incoming_drop(node, incoming);
        }
        if (incoming->next <= held) {
            incoming->next = held + 1;
        }
    }
    struct weak_write *write, *next;
    DL_FOREACH_SAFE(weak->committing, write, next)
    {
        if (write->sequence <= own_committed(node)) {
            DL_DELETE(weak->committing, write);
            DL_APPEND(weak->spreading, write);
        }
    }
    answer_spread(node);
    own_trim(node, true);
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
    // What was executed and not logged is executed again; what was logged comes back as a replay.
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
    DL_CONCAT(weak->committing, weak->executed);
    weak->executed = NULL;
    weak->replay_until = cc_mutant(CC_MUTANT_REPLAY_MISSING) ? 0 : weak->next_sequence - 1;
    renewal_database_down(node);
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
    stable_database_up(node, event);
    if (node->strong.state == STRONG_DOWN) { // after a crash the database may have lost a migration, too
        node->strong.schema_version = event->schema_version;
    }
    uint64_t held = crdt_frontier_get(event->frontier, weak->self);
    if (held >= weak->next_sequence) {
        weak->next_sequence = held + 1;
    }
    weak->log_cursor = (struct wal_cursor){0};
    weak->load_again = weak->loading;
    weak->log_lacks = false;
    if (held < weak->replay_until) {
        node_fact(node, NODE_FACT_REPLAY, held + 1, weak->replay_until, 0, "weak");
    }
    // What was queued above the frontier before may no longer follow what the database holds now.
    for (size_t i = 0; i < weak->incoming.n; i++) {
        struct incoming *incoming = &weak->incoming.at[i];
        uint64_t first = incoming->next - (incoming->sets.n - incoming->head);
        uint64_t now = crdt_frontier_get(event->frontier, incoming->origin);
        if (first > now + 1) {
            incoming_clear(node, incoming);
            incoming->next = now + 1;
        }
    }
    snapshot_lane(node, DB_WEAK, true);
    take_frontier(node, event->frontier);
    peer_tell_frontier(node);
}

static void tell_gap(struct node *node, struct peer *peer, struct crdt_origin origin)
{
    peer_send_gap(node, peer, origin, crdt_frontier_get(&peer->frontier, origin) + 1);
    if (node->time.now_us >= peer->gap_told_us + GAP_TOLD_US) {
        peer->gap_told_us = node->time.now_us;
        node_fact(node, NODE_FACT_HISTORY_GAP, peer->id, origin.replica, origin.incarnation, NULL);
    }
}

static void fetched(struct node *node, const struct db_event *event)
{
    struct peer *peer = peer_find(node, event->peer);
    if (peer == NULL) {
        return;
    }
    peer->fetching = false;
    if (!peer->up) {
        peer->lacks.n = 0;
        return;
    }
    if (event->n_changes == 0) {
        tell_gap(node, peer, event->origin);
        relay_next(node, peer);
        return;
    }
    peer_send_changes(node, peer, event->changes, event->n_changes);
    struct crdt_change_set last;
    bool is_own = crdt_origin_compare(event->origin, node->weak.self) == 0;
    if (is_own && crdt_change_set_peek(event->changes[event->n_changes - 1], &last) == CC_OK && last.sequence > peer->pushed) {
        peer->pushed = last.sequence;
        push_to(node, peer);
    }
    relay_next(node, peer);
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
            executed(node, event);
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
            take_frontier(node, event->frontier);
            if (weak->merging_durable) {
                weak->merging_durable = false;
                peer_tell_frontier(node);
            }
            note_merged(node, job->job.states);
            if (job->job.states) {
                repair_joined(node, event->n_changed);
            }
        }
        break;
    case DB_FETCHED:
        job = node_job_answered(node, DB_WEAK, event->number);
        fetched(node, event);
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

void weak_deadlines(struct node *node)
{
    struct weak *weak = &node->weak;
    struct weak_write *write, *next;
    DL_FOREACH_SAFE(weak->queue, write, next)
    {
        if (node->time.now_us >= write->deadline_us) {
            struct cc_slice refusal = node_refusal(node, CC_UNAVAILABLE, "CC210", "This replica's database did not take the write in time: it was not executed",
                                                   "Try again, or write at another replica");
            node_answer_outcome(node, write->token, refusal, 0);
            DL_DELETE(weak->queue, write);
            weak->n_queued--;
            write_free(write);
        }
    }
    expire_executed(node, weak->executed);
    expire_executed(node, weak->committing);
    answer_spread(node);
    if (weak->frontier_moved && node->time.now_us >= weak->frontier_told_us + FRONTIER_GAP_US) {
        peer_tell_frontier(node);
    }
}

bool weak_is_replaying(const struct node *node)
{
    return own_committed(node) < node->weak.replay_until;
}

uint64_t weak_missing_at(const struct node *node, const struct peer *peer)
{
    const struct crdt_frontier *mine = &node->weak.frontier;
    uint64_t n = 0;
    for (uint32_t i = 0; i < mine->n; i++) {
        uint64_t theirs = crdt_frontier_get(&peer->frontier, mine->at[i].origin);
        n += mine->at[i].sequence > theirs ? mine->at[i].sequence - theirs : 0;
    }
    return n;
}

void weak_acknowledged(const struct node *node, struct crdt_frontier *frontier_out)
{
    *frontier_out = node->weak.frontier;
    // A database that has crashed may be behind what was acknowledged.
    if (crdt_frontier_raise(frontier_out, node->weak.self, node->weak.replay_until) != CC_OK) {
        frontier_out->n = 0; // too many origins: not reached, the frontier had to be raised before
    }
}

bool weak_is_idle(const struct node *node)
{
    const struct weak *weak = &node->weak;
    return weak->queue == NULL && weak->executed == NULL && weak->committing == NULL && weak->spreading == NULL &&
           weak->merging == NULL;
}

static void free_writes(struct weak_write *writes)
{
    struct weak_write *write, *next;
    DL_FOREACH_SAFE(writes, write, next)
    {
        write_free(write);
    }
}

void weak_finish_all(struct node *node)
{
    struct weak *weak = &node->weak;
    free_writes(weak->queue);
    free_writes(weak->executed);
    free_writes(weak->committing);
    free_writes(weak->spreading);
    for (size_t i = weak->own_head; i < weak->own.n; i++) {
        cc_blob_unref(weak->own.at[i].bytes);
    }
    free(weak->own.at);
    for (size_t i = 0; i < weak->incoming.n; i++) {
        incoming_clear(node, &weak->incoming.at[i]);
        free(weak->incoming.at[i].sets.at);
    }
    free(weak->incoming.at);
}
