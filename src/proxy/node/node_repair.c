// Anti-entropy: compares the weak tables of this replica with those of every other member, and joins what differs.
//
//   IDLE --asked for--> TABLES --> SUMS (own) --> ASKING (a peer) --states--> SIFTING --> JOINING --> PAUSE --> ASKING: the next buckets
//     ^                              ^                |   (what is equal, what the histories tell)                |
//     |                              +--next table, next peer-----------------------------------------------------+
//     +--all done; a peer that does not answer is left for later (node_repair_owed.c); after rows were changed, digests are RENEWed first
//
// A peer answers without remembering anything: every question names the sums and the bucket to go on from, so a lost one is asked
// again. Joining is idempotent and commutative, so it does no harm that both sides go on writing.
//
// A whole comparison is with one peer only, whose history no longer reaches back to what this replica lacks:
//
//   ... ASKING --states--> SIFTING (rows deleted there long ago) --> JOINING ... all tables done --> ADOPTING (its frontier) --> IDLE
//
// Every answer holds at least what the first one held, or the peer's database has lost something and all begins anew. So what
// was joined in the end covers the frontier of the first answer, and gossip goes on from there.
#include "proxy/node/node_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ASK_AGAIN_US = 10 * 1000 * 1000,
    ASKS_MAX = 12, // of one who is connected: it may have to read a huge table first
    REFUSED_PATIENCE_US = 10 * 1000 * 1000,
    REFUSED_PAUSE_US_MAX = 2 * 1000 * 1000,
    TABLES_MAX = 100000,
    LISTS_MAX = 64, // joined in one transaction
    PAUSE_US_MAX = 200 * 1000,
    KEPT_EVERY = 30,                    // digests are told once for so many times that frontiers are
    IN_VAIN_US = 600ll * 1000 * 1000,   // pause after a comparison that found nothing, if digests differ in the same way,
    IN_VAIN_OTHER_US = 30 * 1000 * 1000, // and in another
    GAP_PATIENCE_US = 2 * 1000 * 1000,  // another peer may still have it
    GAP_FORGOTTEN_US = 15 * 1000 * 1000,
    PEER_AWAY_US = 60 * 1000 * 1000,    // a whole comparison that has an answer waits so long for its peer's return
};

uint64_t repair_submit(struct node *node, const struct repair_job *job)
{
    struct repair_job copy = *job;
    copy.number = ++node->repair.next_job;
    copy.table = node_copy(node, job->table);
    copy.sums = node_copy(node, job->sums);
    copy.states = node_copy(node, job->states);
    copy.buckets = node_copy(node, job->buckets);
    NODE_PUSH(node->out->repairs, copy);
    return copy.number;
}

bool repair_is_there(const struct peer *peer)
{
    return peer->up && peer->refused == NULL;
}

static struct cc_slice table_now(const struct node *node)
{
    return cc_slice_text((const char *)node->repair.tables.data + node->repair.table_at);
}

static struct peer *peer_now(struct node *node)
{
    return peer_find(node, node->repair.peer);
}

static void end(struct node *node)
{
    struct repair *repair = &node->repair;
    if ((repair->n_repaired > 0 || repair->suspected) && repair->state != REPAIR_RENEWING && !repair->whole) {
        repair->state = REPAIR_RENEWING;
        repair->asked_us = node->time.now_us;
        repair_submit(node, &(struct repair_job){.kind = REPAIR_RENEW});
        return;
    }
    repair->state = REPAIR_IDLE;
    if (repair->suspected && repair->n_repaired == 0) {
        repair->vain_us = node->time.now_us;
        repair->vain_difference = repair->difference;
    }
    repair->suspected = false;
    cc_buffer_clear(&repair->kept);
    cc_blob_unref(repair->states);
    repair->states = NULL;
    repair->n_rounds++;
    if (!repair->whole) {
        repair->n_skipped = repair_owed_ends(node);
        node_fact(node, NODE_FACT_REPAIRED, repair->n_repaired, repair->n_compared, repair->n_skipped, NULL);
    }
    repair->whole = false;
}

// The member after this one, by id, that is owed and there; false: there is none.
static bool next_peer(struct node *node)
{
    const struct peer *best = NULL;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *peer = &node->peers[i];
        bool owed = peer->member && repair_owes(node, peer->id) && repair_is_there(peer);
        if (owed && peer->id > node->repair.peer && (best == NULL || peer->id < best->id)) {
            best = peer;
        }
    }
    node->repair.peer = best == NULL ? 0 : best->id;
    return best != NULL;
}

static void begin_table(struct node *node)
{
    struct repair *repair = &node->repair;
    if (repair->tables.n == 0) {
        end(node);
        return;
    }
    repair->from = 0;
    repair->n_asked = 0;
    repair->state = REPAIR_SUMMING;
    repair->asked_us = node->time.now_us;
    repair->job = repair_submit(node, &(struct repair_job){.kind = REPAIR_SUMS, .table = table_now(node), .whole = repair->whole});
}

// Something is not as the comparison needs it; a whole one begins anew when the gap is told again.
static void give_up(struct node *node, const char *why)
{
    node->repair.has_moment = false;
    node_fact(node, NODE_FACT_CATCH_UP_ENDED, node->repair.peer, 0, 0, why);
    end(node);
}

static void adopt(struct node *node)
{
    struct repair *repair = &node->repair;
    if (!repair->has_moment) { // there are no weak tables
        give_up(node, "nothing to compare");
        return;
    }
    repair->state = REPAIR_ADOPTING;
    weak_pump(node);
}

static void go_on_with_next_peer(struct node *node)
{
    if (node->repair.whole) {
        adopt(node);
        return;
    }
    node->repair.table_at = 0;
    node->repair.is_partial = false;
    if (next_peer(node)) {
        node->repair.answered_us = node->time.now_us;
        begin_table(node);
    } else {
        end(node);
    }
}

static void go_on_with_next_table(struct node *node)
{
    struct repair *repair = &node->repair;
    repair->table_at += table_now(node).n + 1;
    if (repair->table_at < repair->tables.n) {
        begin_table(node);
        return;
    }
    if (!repair->whole && !repair->is_partial) {
        repair_paid(node, repair->peer);
    }
    go_on_with_next_peer(node);
}

static void pause_for(struct node *node, uint64_t us)
{
    node->repair.state = REPAIR_PAUSING;
    node->repair.pause_until_us = node->time.now_us + us;
}

static bool is_peer_there(struct node *node)
{
    const struct peer *peer = peer_now(node);
    return peer != NULL && repair_is_there(peer);
}

static void ask(struct node *node)
{
    struct repair *repair = &node->repair;
    struct peer *peer = peer_now(node);
    bool there = is_peer_there(node);
    bool has_begun = repair->whole && repair->has_moment && peer != NULL && peer->member;
    if (has_begun && !there && node->time.now_us < repair->asked_us + PEER_AWAY_US) { // goes on where it was
        pause_for(node, PAUSE_US_MAX);
        return;
    }
    if (!there || repair->n_asked >= ASKS_MAX) {
        if (repair->whole) {
            give_up(node, "no answer");
        } else {
            go_on_with_next_peer(node);
        }
        return;
    }
    repair->state = REPAIR_ASKING;
    repair->asked_us = node->time.now_us;
    repair->n_asked++;
    struct repair_job question = {
        .round = repair->round, .table = table_now(node), .from = repair->from, .sums = cc_buffer_slice(&repair->sums), .whole = repair->whole};
    peer_send_compare(node, peer, &question);
}

static void begin(struct node *node)
{
    struct repair *repair = &node->repair;
    repair->round = clock_hlc_tick(&node->clock, node->time.wall_ms).hlc;
    repair->n_compared = repair->n_repaired = repair->n_skipped = 0;
    repair->state = REPAIR_LISTING;
    repair->asked_us = repair->answered_us = node->time.now_us;
    repair->job = repair_submit(node, &(struct repair_job){.kind = REPAIR_TABLES});
}

static void begin_owed(struct node *node)
{
    node->repair.peer = 0;
    repair_owed_begins(node);
    begin(node);
}

static void go_on(struct node *node)
{
    uint32_t members[CC_REPLICAS_MAX];
    node_fact(node, NODE_FACT_REPAIR_GOES_ON, repair_owed_now(node, true, members), node->repair.owed.is_of_earlier_life, 0, NULL);
    node->repair.owed.is_of_earlier_life = false;
    begin_owed(node);
}

bool node_repair(struct node *node, struct node_time time)
{
    node->time = time;
    struct repair *repair = &node->repair;
    repair_owe_all(node);
    if (repair->state != REPAIR_IDLE) {
        return false;
    }
    begin_owed(node);
    return true;
}

// -- Catching up without a history --------------------------------------------------------------------------------------

static bool is_held_beside(const struct node *node, const struct peer *peer, struct crdt_origin origin, uint64_t sequence)
{
    bool is_held = false;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        const struct peer *other = &node->peers[i];
        is_held = is_held || (other != peer && other->member && crdt_frontier_get(&other->frontier, origin) >= sequence);
    }
    return is_held;
}

// It refuses changes that are here and elsewhere: joined with its rows, ours would lose them, and differ from those of the others. It takes
// over rows that have them, and we take over those of another one, or its own then.
static bool would_take_away(const struct node *node, const struct peer *peer)
{
    if (weak_must_rejoin(node)) { // own ones: the next life takes over rows, and needs none before that, but to recover
        return recovery_is_over(node);
    }
    bool would = false;
    for (uint32_t i = 0; i < peer->refuses.n; i++) {
        struct crdt_origin origin = peer->refuses.at[i].origin;
        uint64_t sequence = peer->refuses.at[i].sequence;
        bool is_open = crdt_frontier_get(&peer->frontier, origin) < sequence && crdt_frontier_get(&node->weak.frontier, origin) >= sequence;
        would = would || (is_open && is_held_beside(node, peer, origin, sequence));
    }
    return would;
}

void repair_gap(struct node *node, const struct peer *peer, struct crdt_origin origin, uint64_t sequence)
{
    struct repair *repair = &node->repair;
    uint64_t now_us = node->time.now_us;
    if (!node->weak.up || weak_doubts(node, peer) || crdt_frontier_get(&node->weak.frontier, origin) + 1 != sequence) {
        return; // it came meanwhile
    }
    bool same = crdt_origin_compare(repair->gap.origin, origin) == 0 && repair->gap.sequence == sequence;
    bool held = crdt_frontier_get(&node->weak.frontier, repair->gap.origin) >= repair->gap.sequence;
    if (!same && !held && now_us < repair->gap.told_us + GAP_FORGOTTEN_US) {
        return; // one after the other
    }
    if (!same || now_us >= repair->gap.told_us + GAP_FORGOTTEN_US) {
        repair->gap.origin = origin;
        repair->gap.sequence = sequence;
        repair->gap.since_us = now_us;
    }
    repair->gap.told_us = now_us;
    bool own_to_come = weak_is_replaying(node) && !node->weak.log_lacks && crdt_origin_compare(origin, node->weak.self) != 0;
    bool may_begin = repair->state == REPAIR_IDLE && peer->schema_version == node->strong.schema_version && !would_take_away(node, peer);
    if (own_to_come || now_us < repair->gap.since_us + GAP_PATIENCE_US || !may_begin) {
        return;
    }
    node_fact(node, NODE_FACT_CATCH_UP, peer->id, origin.replica, origin.incarnation, NULL);
    repair->peer = peer->id;
    repair->whole = true;
    repair->has_moment = false;
    repair->table_at = 0;
    begin(node);
}

void repair_database_lost(struct node *node)
{
    if (node->repair.whole && node->repair.state != REPAIR_IDLE) {
        give_up(node, "the connection to PostgreSQL was lost");
    }
}

bool repair_is_at_rest(const struct node *node)
{
    enum repair_state state = node->repair.state;
    return state == REPAIR_IDLE || state == REPAIR_ASKING || state == REPAIR_PAUSING;
}

bool repair_is_whole(const struct node *node)
{
    return node->repair.whole;
}

// What will be taken over waits for that: merged now, behind a list that was joined, it could bring back what a deletion cleared that the
// other one has forgotten.
bool repair_holds_back(const struct node *node, const struct crdt_change_set *set)
{
    const struct repair *repair = &node->repair;
    if (!repair->whole || cc_mutant(CC_MUTANT_ADOPTED_MERGED)) {
        return false;
    }
    return !repair->has_moment || set->sequence <= crdt_frontier_get(&repair->moment.frontier, set->origin);
}

// An answer may be of before its sender heard of a deletion. If that is forgotten here meanwhile, the row would come back with the answer; and while
// clients write, one that takes longer than the collector rests could never be trusted.
bool repair_holds_garbage(const struct node *node)
{
    enum repair_state state = node->repair.state;
    return state == REPAIR_ASKING || state == REPAIR_SIFTING || state == REPAIR_JOINING || state == REPAIR_ADOPTING;
}

// Whether a whole answer leads on from the first one.
static bool follows(struct node *node, const struct repair_moment *moment)
{
    struct repair *repair = &node->repair;
    if (moment->schema_version != node->strong.schema_version) {
        give_up(node, "the schema has changed");
        return false;
    }
    if (!repair->has_moment) {
        repair->moment = *moment;
        repair->has_moment = true;
    } else if (moment->schema_version != repair->moment.schema_version || !crdt_frontier_covers(&moment->frontier, &repair->moment.frontier)) {
        give_up(node, "the other replica's PostgreSQL has lost something");
        return false;
    }
    return true;
}

static struct job *adopting_job(struct node *node)
{
    struct job *job = node_job_create(node, DB_MERGE, 0);
    struct crdt_frontier *adopted = cc_arena_alloc(&job->arena, sizeof(*adopted));
    *adopted = node->repair.moment.frontier;
    job->job.states = true;
    job->job.adopt = adopted;
    job->job.stamps = cc_arena_alloc(&job->arena, sizeof(*job->job.stamps));
    job->job.stamps[0] = clock_hlc_tick(&node->clock, node->time.wall_ms);
    return job;
}

static void adopted(struct node *node)
{
    struct repair *repair = &node->repair;
    repair->n_adopted++;
    uint64_t held = crdt_frontier_get(&repair->moment.frontier, node->weak.self);
    if (held >= node->weak.next_sequence) { // numbers of a life that the log does not know
        node->weak.next_sequence = held + 1;
    }
    node_fact(node, NODE_FACT_CAUGHT_UP, repair->peer, repair->n_repaired, repair->n_compared, NULL);
    end(node);
    peer_tell_frontier(node);
}

// -- Digests at equal frontiers ---------------------------------------------------------------------------------------

static void ask_kept(struct node *node)
{
    struct repair *repair = &node->repair;
    if (node->weak.up && node->weak.frontier.n > 0 && node->n_peers > 0 && node->time.now_us >= repair->kept_us + KEPT_EVERY * node->options.frontier_interval_us) {
        repair->kept_us = node->time.now_us;
        repair_submit(node, &(struct repair_job){.kind = REPAIR_KEPT});
    }
}

static void kept(struct node *node, struct cc_slice digests)
{
    cc_buffer_clear(&node->repair.kept);
    cc_buffer_append_slice(&node->repair.kept, digests);
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].up && node->peers[i].member) {
            peer_send_digests(node, &node->peers[i], digests);
        }
    }
}

// What was found in vain is not looked for again at once. A difference stays the same while both sides take the same writes.
static bool is_in_vain(const struct node *node, uint64_t difference)
{
    const struct repair *repair = &node->repair;
    uint64_t pause_us = difference == repair->vain_difference ? IN_VAIN_US : IN_VAIN_OTHER_US;
    return repair->vain_us != 0 && node->time.now_us < repair->vain_us + pause_us;
}

// The first table that differs; the NULL slice: none. Tables that only one of both knows are of another schema.
static struct cc_slice differing_table(struct cc_reader *ours, struct cc_reader *theirs, uint64_t *difference_out)
{
    uint64_t n = cc_read_count(ours, TABLES_MAX), m = cc_read_count(theirs, TABLES_MAX);
    for (uint64_t i = 0; n == m && i < n; i++) {
        struct cc_slice a = cc_read_string(ours), b = cc_read_string(theirs);
        uint64_t rows_a = cc_read_u64(ours), sum_a = cc_read_u64(ours);
        uint64_t rows_b = cc_read_u64(theirs), sum_b = cc_read_u64(theirs);
        if (!cc_reader_ok(ours) || !cc_reader_ok(theirs) || !cc_slice_equal(a, b)) {
            break;
        }
        if (rows_a != rows_b || sum_a != sum_b) {
            *difference_out = sum_a ^ sum_b;
            return a;
        }
    }
    return (struct cc_slice){0};
}

void repair_digests(struct node *node, const struct peer *peer, struct cc_slice digests)
{
    struct repair *repair = &node->repair;
    struct cc_reader ours = cc_reader_of(cc_buffer_slice(&repair->kept)), theirs = cc_reader_of(digests);
    struct crdt_frontier a, b;
    if (repair->kept.n == 0 || repair->state != REPAIR_IDLE || peer->schema_version != node->strong.schema_version || crdt_frontier_read(&ours, &a) != CC_OK ||
        crdt_frontier_read(&theirs, &b) != CC_OK || !crdt_frontier_equal(&a, &b)) {
        return;
    }
    uint64_t difference = 0;
    struct cc_slice table = differing_table(&ours, &theirs, &difference);
    if (table.data != NULL && !is_in_vain(node, difference)) {
        char name[200];
        snprintf(name, sizeof(name), "%.*s", (int)(table.n < 190 ? table.n : 190), (const char *)table.data);
        node_fact(node, NODE_FACT_DIGESTS_DIFFER, peer->id, 0, 0, name);
        repair->n_suspected++;
        repair->difference = difference;
        repair->suspected = node_repair(node, node->time);
    }
}

// -- Answers ---------------------------------------------------------------------------------------------------------

static void sifted(struct node *node, const struct repair_event *event);

static void listed(struct node *node, const struct repair_event *event)
{
    struct repair *repair = &node->repair;
    if (repair->state != REPAIR_LISTING || event->number != repair->job) {
        return;
    }
    cc_buffer_clear(&repair->tables);
    cc_buffer_append_slice(&repair->tables, event->bytes);
    if (!event->failed && !repair->whole && event->bytes.n == 0) {
        repair_paid_all(node);
    }
    if (repair->whole) {
        begin_table(node);
    } else {
        go_on_with_next_peer(node);
    }
}

static void summed(struct node *node, const struct repair_event *event)
{
    struct repair *repair = &node->repair;
    if (repair->state != REPAIR_SUMMING || event->number != repair->job) {
        return;
    }
    if (event->failed) { // the table is gone, or the database
        repair->is_partial = true;
        go_on_with_next_table(node);
        return;
    }
    cc_buffer_clear(&repair->sums);
    cc_buffer_append_slice(&repair->sums, event->bytes);
    ask(node);
}

// An answer that leads nowhere.
static void refuse(struct node *node, const struct peer *peer, uint64_t round, struct cc_slice table, uint32_t from)
{
    peer_send_states(node, peer, &(struct repair_event){.kind = REPAIR_STATES, .round = round, .table = table, .from = from, .next = from});
}

// Of one that must begin anew nobody takes rows: its frontier says that it holds changes of its own which its rows may lack by now, as it has
// taken over others' rows. Whoever adopted it would hold them, too, by name only, and nobody would write them again.
static bool may_answer(const struct node *node)
{
    return node->weak.up && !weak_must_rejoin(node);
}

void node_repair_event(struct node *node, struct node_time time, const struct repair_event *event)
{
    node->time = time;
    struct peer *peer;
    switch (event->kind) {
    case REPAIR_TABLES:
        listed(node, event);
        break;
    case REPAIR_SUMS:
        summed(node, event);
        break;
    case REPAIR_STATES:
        peer = peer_find(node, event->peer);
        if (peer != NULL && peer->up && !event->failed && may_answer(node)) {
            peer_send_states(node, peer, event);
        } else if (peer != NULL && peer->up) {
            refuse(node, peer, event->round, event->table, event->from);
        }
        break;
    case REPAIR_STRAYS:
    case REPAIR_SIFT:
        sifted(node, event);
        break;
    case REPAIR_KEPT:
        if (!event->failed) {
            kept(node, event->bytes);
        }
        break;
    case REPAIR_OWED:
    case REPAIR_OWE:
        repair_owed_event(node, event);
        break;
    case REPAIR_RENEW:
        if (node->repair.state == REPAIR_RENEWING) {
            end(node);
        }
        break;
    }
}

void repair_compared(struct node *node, const struct peer *peer, const struct repair_job *question)
{
    if (question->sums.n != REPAIR_SUMS_BYTES || question->from >= REPAIR_BUCKETS) {
        return; // of a broken sender
    }
    if (!may_answer(node)) {
        refuse(node, peer, question->round, question->table, question->from);
        return;
    }
    struct repair_job job = *question;
    job.kind = REPAIR_STATES;
    job.peer = peer->id;
    repair_submit(node, &job);
}

static void chunk_done(struct node *node)
{
    struct repair *repair = &node->repair;
    repair->from = repair->next;
    if (repair->from >= REPAIR_BUCKETS) {
        go_on_with_next_table(node);
        return;
    }
    // The other one has rested while this one joined.
    uint64_t worked_us = repair->answered_us - repair->asked_us, rested_us = node->time.now_us - repair->answered_us;
    uint64_t pause_us = worked_us > rested_us ? worked_us - rested_us : 0;
    repair->n_asked = 0;
    pause_for(node, pause_us < PAUSE_US_MAX ? pause_us : PAUSE_US_MAX);
}

static void join(struct node *node, struct cc_slice states)
{
    struct repair *repair = &node->repair;
    if (states.n == 0) {
        chunk_done(node);
        return;
    }
    repair->states = cc_blob_create(states.data, states.n);
    repair->states_at = 0;
    repair->state = REPAIR_JOINING;
    node->weak.too_old_gone = node->weak.too_old_gone || (repair->whole && weak_must_rejoin(node));
    if (!repair_has_states(node)) { // of a broken sender
        chunk_done(node);
    }
    weak_pump(node);
}

static void sift(struct node *node, enum repair_job_kind kind, const struct repair_event *answer)
{
    struct repair *repair = &node->repair;
    repair->state = REPAIR_SIFTING;
    repair_submit(node, &(struct repair_job){.kind = kind,
                                      .table = table_now(node),
                                      .from = answer->from,
                                      .next = answer->next,
                                      .states = answer->bytes,
                                      .buckets = answer->buckets,
                                      .bound = answer->moment->bound});
    repair->job = repair->next_job;
}

static void sifted(struct node *node, const struct repair_event *event)
{
    struct repair *repair = &node->repair;
    if (repair->state != REPAIR_SIFTING || event->number != repair->job) {
        return;
    }
    if (event->failed && repair->whole) {
        give_up(node, "own rows cannot be read");
        return;
    }
    if (event->failed) { // asked again, some times
        pause_for(node, PAUSE_US_MAX);
        return;
    }
    join(node, event->bytes);
}

// The other one cannot answer now: that may pass, and a whole comparison would have to begin anew. It may have read a whole table to say so.
static void refused(struct node *node)
{
    struct repair *repair = &node->repair;
    uint64_t patience_us = repair->whole && repair->has_moment ? PEER_AWAY_US : REFUSED_PATIENCE_US;
    uint64_t pause_us = repair->whole ? PAUSE_US_MAX : node->time.now_us - repair->asked_us + PAUSE_US_MAX;
    repair->n_asked = node->time.now_us < repair->answered_us + patience_us ? 0 : ASKS_MAX;
    pause_for(node, pause_us < REFUSED_PAUSE_US_MAX ? pause_us : REFUSED_PAUSE_US_MAX);
}

void repair_states(struct node *node, const struct peer *peer, const struct repair_event *answer)
{
    struct repair *repair = &node->repair;
    bool expected = repair->state == REPAIR_ASKING && peer->id == repair->peer && answer->round == repair->round &&
                    answer->from == repair->from && answer->next >= answer->from && cc_slice_equal(answer->table, table_now(node));
    if (!expected) {
        return;
    }
    if (answer->next == answer->from) {
        refused(node);
        return;
    }
    if (peer->clock_is_ahead && !cc_mutant(CC_MUTANT_REPAIR_SKEW_TAKEN)) { // rows may have stamps that no local write could exceed
        pause_for(node, PAUSE_US_MAX);
        return;
    }
    // It lacks deletions that are forgotten here: what it has of their rows is not to come back. Gossip, or a whole comparison of its own,
    // brings it what it lacks.
    if (!stable_trusts(node, answer->moment) || weak_doubts(node, peer)) {
        refused(node);
        return;
    }
    if (repair->whole && !follows(node, answer->moment)) {
        return;
    }
    repair->answered_us = node->time.now_us;
    repair->next = answer->next;
    repair->n_compared += answer->n_rows;
    if (repair->whole) {
        repair->bound = answer->moment->bound;
        sift(node, REPAIR_STRAYS, answer);
    } else if (answer->bytes.n > 0 && answer->buckets.n > 0) {
        sift(node, REPAIR_SIFT, answer);
    } else {
        join(node, answer->bytes);
    }
}

// The list there; false: there is none, or it is not whole.
static bool peek_list(const struct repair *repair, size_t at, struct cc_slice *list_out, size_t *next_out)
{
    if (repair->states == NULL) {
        return false;
    }
    struct cc_reader reader = cc_reader_of(cc_slice_of(repair->states->data + at, repair->states->n - at));
    *list_out = cc_read_string(&reader);
    *next_out = repair->states->n - cc_reader_left(&reader);
    return cc_reader_ok(&reader) && list_out->n > 0;
}

bool repair_has_states(const struct node *node)
{
    struct cc_slice list;
    size_t next;
    return node->repair.state == REPAIR_ADOPTING || (node->repair.state == REPAIR_JOINING && peek_list(&node->repair, node->repair.states_at, &list, &next));
}

// As many lists as one transaction may take; at least one.
struct job *repair_take_job(struct node *node, size_t *n_bytes_out)
{
    struct repair *repair = &node->repair;
    if (repair->state == REPAIR_ADOPTING) {
        *n_bytes_out = 0;
        return adopting_job(node);
    }
    struct job *job = node_job_create(node, DB_MERGE, LISTS_MAX);
    job->job.states = true;
    job->job.bound = repair->whole ? repair->bound : 0;
    job->job.dropped = repair->whole ? 0 : node->stable.collected; // a whole one is told all that there is
    struct cc_slice list;
    size_t next, n_bytes = 0;
    while (job->job.n_items < LISTS_MAX && peek_list(repair, repair->states_at, &list, &next) &&
           (n_bytes == 0 || n_bytes + list.n <= weak_join_bytes_max(node))) {
        struct cc_blob *blob = cc_blob_create(list.data, list.n);
        node_job_item(job, blob);
        cc_blob_unref(blob);
        n_bytes += list.n;
        repair->states_at = next;
    }
    *n_bytes_out = n_bytes;
    return job;
}

void repair_joined(struct node *node, uint32_t n_changed)
{
    struct repair *repair = &node->repair;
    if (repair->state == REPAIR_ADOPTING) {
        adopted(node);
        return;
    }
    if (repair->state != REPAIR_JOINING) {
        return;
    }
    repair->n_repaired += n_changed;
    repair->n_repaired_ever += n_changed;
    if (!repair_has_states(node)) {
        cc_blob_unref(repair->states);
        repair->states = NULL;
        chunk_done(node);
    }
}

void repair_tick(struct node *node)
{
    struct repair *repair = &node->repair;
    uint64_t now_us = node->time.now_us;
    bool late = now_us >= repair->asked_us + ASK_AGAIN_US;
    ask_kept(node);
    bool is_due = repair_owed_is_due(node);
    switch (repair->state) {
    case REPAIR_IDLE:
        if (is_due) {
            go_on(node);
        }
        break;
    case REPAIR_LISTING:
    case REPAIR_SUMMING:
    case REPAIR_RENEWING:
        if (late && now_us >= repair->asked_us + 12ull * ASK_AGAIN_US) { // the database went away meanwhile, or the table is huge
            end(node);
        }
        break;
    case REPAIR_ASKING:
        if (late || (repair->whole && !is_peer_there(node))) { // what others send waits behind a whole one
            ask(node);
        }
        break;
    case REPAIR_SIFTING:
        if (now_us < repair->asked_us + 12ull * ASK_AGAIN_US) {
            break;
        }
        if (repair->whole) {
            give_up(node, "own rows were not read in time");
        } else {
            ask(node);
        }
        break;
    case REPAIR_ADOPTING:
        weak_pump(node);
        break;
    case REPAIR_JOINING:
        if (node->weak.merging == NULL && !repair_has_states(node)) { // lost with the database's connection
            cc_blob_unref(repair->states);
            repair->states = NULL;
            ask(node);
        }
        break;
    case REPAIR_PAUSING:
        if (now_us >= repair->pause_until_us) {
            ask(node);
        }
        break;
    }
}

// Of the table, by buckets.
static uint32_t done_percent(const struct repair *repair)
{
    uint64_t done = repair->from;
    if (repair->state == REPAIR_JOINING && repair->states != NULL) {
        done += (repair->next - repair->from) * (uint64_t)repair->states_at / repair->states->n;
    }
    return (uint32_t)(done * 100 / REPAIR_BUCKETS);
}

void repair_describe(const struct node *node, struct node_status *status)
{
    const struct repair *repair = &node->repair;
    bool has_table = repair->state != REPAIR_IDLE && repair->state != REPAIR_LISTING && repair->state != REPAIR_RENEWING && repair->table_at < repair->tables.n;
    status->repair = (struct node_repair_status){
        .running = repair->state != REPAIR_IDLE,
        .catching_up = repair->whole,
        .n_adopted = repair->n_adopted,
        .peer = repair->peer,
        .done_percent = done_percent(repair),
        .n_rounds = repair->n_rounds,
        .n_compared = repair->n_compared,
        .n_repaired = repair->n_repaired,
        .n_repaired_ever = repair->n_repaired_ever,
        .n_skipped = repair->n_skipped,
        .n_suspected = repair->n_suspected,
    };
    status->repair.left_known = repair->owed.is_read;
    status->repair.n_left = repair_owed_now(node, false, status->repair.left);
    struct cc_slice table = has_table ? table_now(node) : (struct cc_slice){0};
    size_t n = table.n < sizeof(status->repair.table) - 1 ? table.n : sizeof(status->repair.table) - 1;
    if (n > 0) {
        memcpy(status->repair.table, table.data, n);
    }
}

void repair_finish(struct node *node)
{
    cc_blob_unref(node->repair.states);
    cc_buffer_finish(&node->repair.tables);
    cc_buffer_finish(&node->repair.sums);
    cc_buffer_finish(&node->repair.kept);
}
