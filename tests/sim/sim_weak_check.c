// The invariants of weak tables. W1 one content per (origin, sequence), W2 equal frontiers have equal rows, W3 rows are the merge of
// the changes covered, W4 what goes is on the disks of all members, and nobody writes below it any more, W6 stamps rise with the sequence.
#include "sim/sim.h"

#include "base/memory.h"
#include "proxy/node/member.h"
#include "proxy/node/node_internal.h"
#include "sim/sim_weak.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum { MERGE_CHECK_PPM = 500 };

struct digests {
    uint64_t rows, tombstones;
};

struct weak_state {
    uint64_t frontier_hash;
    struct digests digests;
    uint32_t replica;
    UT_hash_handle hh;
};

struct change_key {
    struct crdt_origin origin;
    uint64_t sequence;
};

struct change {
    struct change_key key;
    struct cc_blob *bytes;
    struct clock_stamp stamp;
    struct cc_slice request_key; // in its bytes
    UT_hash_handle hh;
};

struct value {
    char text[24];
    uint32_t n_sets;
    UT_hash_handle hh;
};

struct stamps { // the greatest that a replica has given
    uint32_t incarnation;
    uint64_t hlc;
};

struct ended { // an origin whose disk is lost, or was taken away
    struct crdt_origin origin;
    uint64_t floor; // its changes up to here are on the disks of others
};

struct aside { // a change set that its replica has put aside, or that it alone had when it was taken away
    uint32_t replica;
    struct crdt_origin origin;
    uint64_t sequence;
    bool lost; // with the database
};

struct sim_weak_check {
    struct stamps stamps[SIM_REPLICAS_MAX + 1];
    struct ended *ended;
    size_t n_ended, ended_capacity;
    struct weak_state *weak_states;
    struct change *changes;
    struct crdt_frontier known; // of all changes
    struct value *values;
    uint64_t bound; // the greatest up to which somebody collects
    struct aside *aside;
    size_t n_aside, aside_capacity;
};

struct sim_weak_check *sim_weak_check_create(void)
{
    return cc_alloc(sizeof(struct sim_weak_check));
}

void sim_weak_check_destroy(struct sim_weak_check *check)
{
    struct weak_state *state, *next_state;
    HASH_ITER(hh, check->weak_states, state, next_state)
    {
        HASH_DEL(check->weak_states, state);
        free(state);
    }
    struct change *change, *next_change;
    HASH_ITER(hh, check->changes, change, next_change)
    {
        HASH_DEL(check->changes, change);
        cc_blob_unref(change->bytes);
        free(change);
    }
    struct value *value, *next_value;
    HASH_ITER(hh, check->values, value, next_value)
    {
        HASH_DEL(check->values, value);
        free(value);
    }
    free(check->ended);
    free(check->aside);
    free(check);
}

// -- Changes ----------------------------------------------------------------------------------------------------------

static bool has_ended(const struct sim_weak_check *check, struct crdt_origin origin)
{
    for (size_t i = 0; i < check->n_ended; i++) {
        if (crdt_origin_compare(check->ended[i].origin, origin) == 0) {
            return true;
        }
    }
    return false;
}

// Of a replica that was taken away with what it has, and came back as it was: also those origins that it begins until it begins anew.
static bool is_of_exile(const struct sim *sim, struct crdt_origin origin)
{
    const struct sim_weak_check *check = sim->weak_check;
    uint32_t life = sim->replicas[origin.replica - 1].incarnation;
    bool is_exile = has_ended(check, origin);
    for (size_t i = 0; i < check->n_ended; i++) {
        is_exile = is_exile || (check->ended[i].origin.replica == origin.replica && check->ended[i].origin.incarnation >= life);
    }
    return is_exile;
}

static struct change *find_change(const struct sim_weak_check *check, struct crdt_origin origin, uint64_t sequence)
{
    struct change_key key = {origin, sequence};
    struct change *change;
    HASH_FIND(hh, check->changes, &key, sizeof(key), change);
    return change;
}

static void count_value(struct sim_weak_check *check, struct cc_slice text)
{
    char name[sizeof(((struct value *)NULL)->text)];
    snprintf(name, sizeof(name), "%.*s", (int)text.n, (const char *)text.data);
    struct value *value;
    HASH_FIND_STR(check->values, name, value);
    if (value == NULL) {
        value = cc_alloc(sizeof(*value));
        memcpy(value->text, name, sizeof(name));
        HASH_ADD_STR(check->values, text, value);
    }
    value->n_sets++;
}

uint32_t sim_check_value_count(const struct sim *sim, struct cc_slice text)
{
    char name[sizeof(((struct value *)NULL)->text)];
    snprintf(name, sizeof(name), "%.*s", (int)text.n, (const char *)text.data);
    const struct value *value;
    HASH_FIND_STR(sim->weak_check->values, name, value);
    return value == NULL ? 0 : value->n_sets;
}

static void add_change(struct sim *sim, struct cc_slice bytes, const struct crdt_change_set *head)
{
    struct sim_weak_check *check = sim->weak_check;
    struct change *change = cc_alloc(sizeof(*change));
    change->key = (struct change_key){head->origin, head->sequence};
    change->bytes = cc_blob_create(bytes.data, bytes.n);
    change->stamp = head->stamp;
    HASH_ADD(hh, check->changes, key, sizeof(change->key), change);
    // Who was taken away may bring a change that is as old: nobody takes it, and it is written again.
    bool late = head->stamp.hlc > check->bound || is_of_exile(sim, head->origin);
    SIM_CHECK(sim, "W4", late, "change %u.%u/%" PRIu64 " has a stamp up to which tombstones are gone", head->origin.replica,
              head->origin.incarnation, head->sequence);
    struct stamps *stamps = &check->stamps[head->origin.replica];
    bool greater = stamps->incarnation != head->origin.incarnation || stamps->hlc < head->stamp.hlc;
    if (greater && head->origin.incarnation >= stamps->incarnation) {
        *stamps = (struct stamps){head->origin.incarnation, head->stamp.hlc};
    }
    enum cc_status status = crdt_frontier_raise(&check->known, head->origin, head->sequence);
    SIM_CHECK(sim, "W1", status == CC_OK, "too many origins");

    struct cc_arena arena;
    cc_arena_init(&arena);
    struct crdt_change_set set;
    status = crdt_change_set_read(cc_blob_slice(change->bytes), &arena, &set);
    SIM_CHECK(sim, "codec", status == CC_OK, "a change set cannot be read");
    for (uint32_t i = 0; i < set.n_rows && set.renews.sequence == 0; i++) {
        if (set.rows[i].n_fields > 0) { // its writer's id; of many rows, each has it
            count_value(check, set.rows[i].fields[0].value);
            break;
        }
    }
    change->request_key = set.request_key; // borrows
    cc_arena_finish(&arena);
}

// Nobody has the change that had this number first: it was on its writer's disk only, which was replaced by an older copy. Then that number
// stands for one change all the same.
static bool is_gone(struct sim *sim, uint32_t writer, const struct crdt_change_set *set)
{
    bool is_gone = set->origin.replica == writer;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *other = &sim->replicas[i];
        struct crdt_frontier held;
        sim_rows_frontier(sim_database_rows(other->database), &held);
        const struct weak *weak = other->alive ? &other->node->weak : NULL;
        for (size_t line = 0; weak != NULL && line < weak->incoming.n; line++) {
            const struct incoming *incoming = &weak->incoming.at[line];
            bool has = crdt_origin_compare(incoming->origin, set->origin) == 0 && incoming->highest >= set->sequence;
            is_gone = is_gone && (!has || other->id == writer);
        }
        is_gone = is_gone && crdt_frontier_get(&held, set->origin) < set->sequence;
    }
    return is_gone;
}

static void forget_content(struct sim_weak_check *check, struct change *change)
{
    HASH_DEL(check->changes, change);
    cc_blob_unref(change->bytes);
    free(change);
}

void sim_check_change(struct sim *sim, uint32_t replica, struct cc_slice bytes)
{
    struct crdt_change_set set;
    enum cc_status status = crdt_change_set_peek(bytes, &set);
    SIM_CHECK(sim, "codec", status == CC_OK, "r%u: a change set cannot be read", replica);
    struct change *known = find_change(sim->weak_check, set.origin, set.sequence);
    if (known == NULL) {
        add_change(sim, bytes, &set);
        const struct change *before = find_change(sim->weak_check, set.origin, set.sequence - 1);
        bool rises = before == NULL || clock_stamp_compare(&before->stamp, &set.stamp) < 0;
        SIM_CHECK(sim, "W6", rises, "r%u: the stamp of change %" PRIu64 " is not above the one before", set.origin.replica, set.sequence);
        return;
    }
    bool same = cc_slice_equal(cc_blob_slice(known->bytes), bytes);
    if (!same && is_gone(sim, replica, &set)) {
        forget_content(sim->weak_check, known);
        add_change(sim, bytes, &set);
        sim->counters.gone++;
        return;
    }
    SIM_CHECK(sim, "W1", same, "r%u holds another content of change %u.%u/%" PRIu64, replica, set.origin.replica, set.origin.incarnation, set.sequence);
}

void sim_check_logged_changes(struct sim *sim, const struct sim_replica *replica, uint64_t before, uint64_t number)
{
    const struct weak *weak = &replica->node->weak;
    size_t first = weak->own.n;
    while (first > weak->own_head && weak->own.at[first - 1].log_number > before) {
        first--;
    }
    for (size_t i = first; i < weak->own.n && weak->own.at[i].log_number <= number; i++) {
        sim_check_change(sim, replica->id, cc_blob_slice(weak->own.at[i].bytes));
    }
}

void sim_weak_check_key(struct sim *sim, const struct sim_rows *rows, struct cc_slice key)
{
    struct crdt_frontier held, adopted;
    sim_rows_frontier(rows, &held);
    sim_rows_adopted(rows, &adopted);
    const struct change *change, *next;
    HASH_ITER(hh, sim->weak_check->changes, change, next)
    {
        struct crdt_origin self = sim_replica_of(sim, rows->replica)->node->weak.self;
        bool is_own = crdt_origin_compare(change->key.origin, self) == 0;
        bool is_held = change->request_key.data != NULL && cc_slice_equal(change->request_key, key) &&
                       (is_own || crdt_frontier_get(&held, change->key.origin) >= change->key.sequence);
        bool is_adopted = !is_own && crdt_frontier_get(&adopted, change->key.origin) >= change->key.sequence;
        is_held = is_held && (!is_adopted || sim_rows_history(rows, change->key.origin, change->key.sequence) != NULL);
        SIM_CHECK(sim, "D6", !is_held, "r%u executes a request again that it holds as change %u.%u/%" PRIu64, rows->replica, change->key.origin.replica,
                  change->key.origin.incarnation, change->key.sequence);
    }
}

static struct digests digests_of(const struct sim_store *store)
{
    return (struct digests){sim_store_digest(store, DB_WEAK), sim_store_digest(store, SIM_STORE_TOMBSTONES)};
}

void sim_weak_check_each(struct sim *sim, const struct crdt_frontier *frontier, struct cc_arena *arena,
                         void (*visit)(void *context, const struct crdt_change_set *set), void *context)
{
    struct change *change, *next;
    HASH_ITER(hh, sim->weak_check->changes, change, next)
    {
        if (change->key.sequence <= crdt_frontier_get(frontier, change->key.origin)) {
            struct crdt_change_set *set = cc_arena_alloc(arena, sizeof(*set));
            enum cc_status status = crdt_change_set_read(cc_blob_slice(change->bytes), arena, set);
            SIM_CHECK(sim, "codec", status == CC_OK, "a change set cannot be read");
            visit(context, set);
        }
    }
}

struct merging {
    struct sim *sim;
    struct sim_store *store;
};

static void merge_one(void *context, const struct crdt_change_set *set)
{
    const struct merging *merging = context;
    sim_rows_merge_rows(merging->sim, merging->store, set);
}

// The rows that all changes up to the frontier merge to, made from nothing; to be destroyed by the caller.
static struct sim_store *merge_all(struct sim *sim, const struct crdt_frontier *frontier)
{
    struct merging merging = {sim, sim_store_create()};
    struct cc_arena arena;
    cc_arena_init(&arena);
    sim_weak_check_each(sim, frontier, &arena, merge_one, &merging);
    cc_arena_finish(&arena);
    sim_store_commit(merging.store, DB_WEAK);
    sim_store_flush(merging.store);
    return merging.store;
}

static struct digests digest_of_merge(struct sim *sim, const struct crdt_frontier *frontier)
{
    struct sim_store *store = merge_all(sim, frontier);
    struct digests digests = digests_of(store);
    sim_store_destroy(store);
    return digests;
}

// -- Telling what differs -----------------------------------------------------------------------------------------------

struct comparison {
    struct sim *sim;
    const char *whose, *whose_other;
    const struct sim_store *store, *other;
    struct cc_buffer *out;
};

static void tell_row(const struct comparison *comparison, const char *whose, const struct sim_store *store, const char *key)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct sim_weak_row row;
    sim_weak_row_load(comparison->sim, store, cc_slice_text(key), &arena, &row);
    char life[CLOCK_STAMP_TEXT_BYTES], death[CLOCK_STAMP_TEXT_BYTES];
    clock_stamp_text(&row.row.life, life);
    clock_stamp_text(&row.row.death, death);
    cc_buffer_printf(comparison->out, "\nrow %s %s: %s life %s death %s", key, whose,
                     row.exists ? "there" : row.had_tombstone ? "tombstone" : "nothing", life, death);
    for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
        struct cc_slice value = row.registers[i].value, name = sim_weak_columns[i].name;
        cc_buffer_printf(comparison->out, " %.*s=%.*s", (int)name.n, (const char *)name.data, value.data == NULL ? 4 : (int)value.n,
                         value.data == NULL ? "null" : (const char *)value.data);
        for (uint32_t p = 0; p < row.registers[i].parts.n; p++) {
            char stamp[CLOCK_STAMP_TEXT_BYTES];
            clock_stamp_text(&row.registers[i].parts.at[p].stamp, stamp);
            cc_buffer_printf(comparison->out, "%s%s", p == 0 ? "@" : ",", stamp);
        }
        if (i < SIM_WEAK_PLAIN) {
            char stamp[CLOCK_STAMP_TEXT_BYTES];
            clock_stamp_text(&row.registers[i].stamp, stamp);
            cc_buffer_printf(comparison->out, "@%s", stamp);
        }
    }
    cc_arena_finish(&arena);
}

static void tell_key(void *context, const char *name)
{
    const struct comparison *comparison = context;
    const struct cc_blob *a = sim_store_get(comparison->store, name), *b = sim_store_get(comparison->other, name);
    if ((a == NULL) != (b == NULL) || !cc_slice_equal(cc_blob_slice(a), cc_blob_slice(b))) {
        tell_row(comparison, comparison->whose, comparison->store, name + 2);
        tell_row(comparison, comparison->whose_other, comparison->other, name + 2);
    }
}

static void tell_keys(struct comparison *comparison)
{
    sim_store_scan(comparison->store, "w/", tell_key, comparison);
    sim_store_scan(comparison->other, "w/", tell_key, comparison);
    if (comparison->sim->knobs.garbage_us == 0) {
        sim_store_scan(comparison->store, "t/", tell_key, comparison);
    }
}

// The rows of this replica that are not the merge of what it holds. None: it is the other one that is wrong.
static void tell_differences(struct sim *sim, const struct sim_store *store, const struct crdt_frontier *frontier)
{
    struct cc_buffer text = {0};
    struct sim_store *merged = merge_all(sim, frontier);
    struct comparison comparison = {sim, "as merged from all changes", "as it is", merged, store, &text};
    tell_keys(&comparison);
    printf("%s\n", cc_buffer_text(&text));
    cc_buffer_finish(&text);
    sim_store_destroy(merged);
}

// Tombstones may be gone here and still be there, where they are collected.
static bool are_equal(const struct sim *sim, const struct digests *a, const struct digests *b)
{
    return a->rows == b->rows && (sim->knobs.garbage_us > 0 || a->tombstones == b->tombstones);
}

void sim_check_weak_state(struct sim *sim, uint32_t replica, const struct crdt_frontier *frontier, const struct sim_store *store)
{
    struct crdt_frontier ahead;
    sim_rows_ahead(sim_database_rows(sim_replica_of(sim, replica)->database), &ahead);
    if (sim->counters.tampered > 0 || !crdt_frontier_covers(frontier, &ahead)) {
        return; // rows that somebody wrote past us, or that were joined and hold more than the frontier says
    }
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, frontier);
    uint64_t hash = sim_hash_of(bytes.data, bytes.n);
    cc_buffer_finish(&bytes);
    struct weak_state *state;
    struct digests digests = digests_of(store);
    HASH_FIND(hh, sim->weak_check->weak_states, &hash, sizeof(hash), state);
    if (state == NULL) {
        state = cc_alloc(sizeof(*state));
        *state = (struct weak_state){.frontier_hash = hash, .digests = digests, .replica = replica};
        HASH_ADD(hh, sim->weak_check->weak_states, frontier_hash, sizeof(state->frontier_hash), state);
    }
    if (sim->is_told && !are_equal(sim, &state->digests, &digests)) {
        tell_differences(sim, store, frontier);
    }
    SIM_CHECK(sim, "W2", are_equal(sim, &state->digests, &digests), "r%u and r%u hold the same changes and differ", replica, state->replica);
    if (sim_chance(sim, MERGE_CHECK_PPM)) {
        struct digests merged = digest_of_merge(sim, frontier);
        if (sim->is_told && !are_equal(sim, &merged, &digests)) {
            tell_differences(sim, store, frontier);
        }
        SIM_CHECK(sim, "W3", are_equal(sim, &merged, &digests), "r%u: rows are not the merge of the changes", replica);
    }
}

// -- Garbage ------------------------------------------------------------------------------------------------------------

// Who belongs to the cluster, as far as this replica and the committed log agree.
static bool is_member_for(const struct sim *sim, const struct sim_replica *replica, uint32_t id)
{
    uint64_t index;
    return raft_member_find(raft_membership_committed(node_raft(replica->node), &index), id) != NULL && sim_check_is_member(sim, id);
}

static uint64_t flushed_of(const struct sim_replica *replica, struct crdt_origin origin)
{
    return crdt_frontier_get(&sim_database_rows(replica->database)->frontier_flushed, origin);
}

static void check_on_all_disks(struct sim *sim, const struct sim_replica *replica, struct crdt_origin origin, uint64_t sequence)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *member = &sim->replicas[i];
        bool held = !is_member_for(sim, replica, member->id) || flushed_of(member, origin) >= sequence;
        SIM_CHECK(sim, "W4", held, "r%u drops what belongs to change %u.%u/%" PRIu64 ", which r%u does not have on disk", replica->id,
                  origin.replica, origin.incarnation, sequence, member->id);
    }
}

// Otherwise what was held may be lost since (a snapshot may hold less than the database that it replaces), or is still to come to
// a new member: as a state, if the histories are gone.
static bool disks_stay(const struct sim *sim)
{
    return sim->knobs.amnesia_mean_us == 0 && !sim_members_change(sim);
}

void sim_weak_check_bound(struct sim *sim, const struct sim_replica *replica, uint64_t bound)
{
    struct sim_weak_check *check = sim->weak_check;
    check->bound = bound > check->bound ? bound : check->bound;
    const struct change *change, *next;
    HASH_ITER(hh, check->changes, change, next)
    {
        if (disks_stay(sim) && change->stamp.hlc <= bound) {
            check_on_all_disks(sim, replica, change->key.origin, change->key.sequence);
        }
    }
}

void sim_weak_check_drop(struct sim *sim, const struct sim_replica *replica, struct crdt_origin origin, uint64_t sequence)
{
    if (disks_stay(sim)) {
        check_on_all_disks(sim, replica, origin, sequence);
    }
}

// -- Where changes are ----------------------------------------------------------------------------------------------------

// What of it stays in this database: a snapshot that is being pulled replaces what was merged since it was asked for, which is not told as flushed.
static uint64_t held_for_good(const struct sim_replica *replica, struct crdt_origin origin)
{
    uint64_t held = flushed_of(replica, origin);
    bool is_replaced = replica->alive && replica->node->target.state != TARGET_IDLE && replica->node->target.state != TARGET_RECONNECTING;
    uint64_t stays = is_replaced ? crdt_frontier_get(&replica->node->target.frontier, origin) : held;
    return stays < held ? stays : held;
}

// How much of it some database has on disk, of those that are there.
static uint64_t held_somewhere(struct sim *sim, struct crdt_origin origin)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        uint64_t held = sim->replicas[i].absent ? 0 : held_for_good(&sim->replicas[i], origin);
        most = held > most ? held : most;
    }
    return most;
}

bool sim_weak_check_is_held(struct sim *sim, struct crdt_origin origin, uint64_t sequence)
{
    return held_somewhere(sim, origin) >= sequence;
}

// -- What was put aside ---------------------------------------------------------------------------------------------------

static void expect_renewal(struct sim_weak_check *check, const struct aside *expected)
{
    for (size_t i = 0; i < check->n_aside; i++) {
        const struct aside *aside = &check->aside[i];
        if (crdt_origin_compare(aside->origin, expected->origin) == 0 && aside->sequence == expected->sequence) { // once more
            return;
        }
    }
    check->aside = cc_grow(check->aside, &check->aside_capacity, check->n_aside + 1, sizeof(*check->aside));
    check->aside[check->n_aside++] = *expected;
}

void sim_weak_check_aside(struct sim *sim, uint32_t replica, const struct crdt_change_set *set)
{
    expect_renewal(sim->weak_check, &(struct aside){.replica = replica, .origin = set->origin, .sequence = set->sequence});
}

void sim_weak_check_exiled(struct sim *sim, const struct sim_replica *replica)
{
    struct aside aside = {.replica = replica->id, .origin = {replica->id, replica->incarnation}};
    uint64_t last = crdt_frontier_get(&sim->weak_check->known, aside.origin);
    for (aside.sequence = held_somewhere(sim, aside.origin) + 1; aside.sequence <= last; aside.sequence++) {
        expect_renewal(sim->weak_check, &aside);
        sim->counters.exiled++;
    }
}

void sim_weak_check_aside_lost(struct sim *sim, uint32_t replica)
{
    for (size_t i = 0; i < sim->weak_check->n_aside; i++) {
        sim->weak_check->aside[i].lost = sim->weak_check->aside[i].lost || sim->weak_check->aside[i].replica == replica;
    }
}

struct counting {
    const struct aside *aside;
    unsigned n;
};

static void count_renewal(void *context, const struct crdt_change_set *set)
{
    struct counting *counting = context;
    counting->n += set->renews.sequence == counting->aside->sequence && crdt_origin_compare(set->renews.origin, counting->aside->origin) == 0;
}

void sim_weak_check_renewals(struct sim *sim, const struct crdt_frontier *held)
{
    for (size_t i = 0; i < sim->weak_check->n_aside; i++) {
        struct counting counting = {.aside = &sim->weak_check->aside[i]};
        const struct aside *aside = counting.aside;
        if (sim_replica_of(sim, aside->replica)->absent) {
            continue; // it did not come back
        }
        struct cc_arena arena;
        cc_arena_init(&arena);
        sim_weak_check_each(sim, held, &arena, count_renewal, &counting);
        cc_arena_finish(&arena);
        bool known = crdt_frontier_get(held, aside->origin) >= aside->sequence;
        SIM_CHECK(sim, "W9", counting.n <= 1 && (counting.n == 1 || known || aside->lost),
                  "change %u.%u/%" PRIu64 ", which only r%u had, is renewed %u times", aside->origin.replica, aside->origin.incarnation,
                  aside->sequence, aside->replica, counting.n);
    }
}

// -- What must have arrived -----------------------------------------------------------------------------------------------

void sim_check_database_ends(struct sim *sim)
{
    struct sim_weak_check *check = sim->weak_check;
    for (size_t i = 0; i < check->n_ended; i++) {
        uint64_t held = held_somewhere(sim, check->ended[i].origin);
        check->ended[i].floor = held < check->ended[i].floor ? held : check->ended[i].floor;
    }
}

static void origin_ends(struct sim *sim, struct crdt_origin origin)
{
    struct sim_weak_check *check = sim->weak_check;
    struct ended ended = {.origin = origin, .floor = held_somewhere(sim, origin)};
    check->ended = cc_grow(check->ended, &check->ended_capacity, check->n_ended + 1, sizeof(*check->ended));
    check->ended[check->n_ended++] = ended;
}

void sim_check_origins_end(struct sim *sim, uint32_t replica)
{
    const struct crdt_frontier *known = &sim->weak_check->known;
    for (uint32_t i = origin_first_own(known, replica); i < known->n && known->at[i].origin.replica == replica; i++) {
        origin_ends(sim, known->at[i].origin);
    }
    struct crdt_origin life = {replica, sim_replica_of(sim, replica)->incarnation};
    if (crdt_frontier_get(known, life) == 0) { // it has written nothing yet, and may before it hears of its removal
        origin_ends(sim, life);
    }
}

// From where on the changes of an origin may be gone.
static uint64_t floor_of(const struct sim_weak_check *check, struct crdt_origin origin, uint64_t known)
{
    uint64_t floor = known;
    for (size_t i = 0; i < check->n_ended; i++) {
        if (crdt_origin_compare(check->ended[i].origin, origin) == 0 && check->ended[i].floor < floor) {
            floor = check->ended[i].floor;
        }
    }
    return floor;
}

bool sim_weak_check_holds(const struct sim *sim, const struct crdt_frontier *frontier, const struct crdt_frontier *wanted)
{
    for (uint32_t i = 0; i < wanted->n; i++) {
        struct crdt_origin origin = wanted->at[i].origin;
        if (crdt_frontier_get(frontier, origin) < floor_of(sim->weak_check, origin, wanted->at[i].sequence)) {
            return false;
        }
    }
    return true;
}

bool sim_weak_check_is_complete(const struct sim *sim, const struct crdt_frontier *frontier)
{
    return sim_weak_check_holds(sim, frontier, &sim->weak_check->known);
}

static bool is_in_a_history(const struct sim *sim, struct crdt_origin origin, uint64_t sequence)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *replica = &sim->replicas[i];
        if (!replica->absent && sim_rows_history(sim_database_rows(replica->database), origin, sequence) != NULL) {
            return true;
        }
    }
    return false;
}

// Its replica is about to begin anew, and sends them to nobody.
static bool are_refused(const struct sim *sim, struct crdt_origin origin)
{
    const struct sim_replica *writer = &sim->replicas[origin.replica - 1];
    return writer->alive && weak_must_rejoin(writer->node);
}

// It takes over the rows of somebody who has it.
static bool is_too_late(const struct sim *sim, const struct sim_replica *replica, struct crdt_origin origin, uint64_t sequence)
{
    const struct change *change = find_change(sim->weak_check, origin, sequence);
    return change != NULL && change->stamp.hlc <= replica->node->stable.collected;
}

bool sim_weak_check_is_owed(const struct sim *sim, const struct sim_replica *replica, const struct crdt_frontier *frontier)
{
    const struct sim_weak_check *check = sim->weak_check;
    for (uint32_t i = 0; i < check->known.n; i++) {
        struct crdt_origin origin = check->known.at[i].origin;
        uint64_t held = crdt_frontier_get(frontier, origin);
        bool lacks = held < floor_of(check, origin, check->known.at[i].sequence) && !are_refused(sim, origin);
        if (lacks && is_in_a_history(sim, origin, held + 1) && !is_too_late(sim, replica, origin, held + 1)) {
            return true;
        }
    }
    return false;
}

uint64_t sim_weak_check_stamp(const struct sim *sim, struct crdt_origin origin)
{
    const struct stamps *stamps = &sim->weak_check->stamps[origin.replica];
    return stamps->incarnation == origin.incarnation ? stamps->hlc : 0;
}

void sim_weak_check_tell_missing(const struct sim *sim, const struct crdt_frontier *frontier, struct cc_buffer *out)
{
    for (uint32_t i = 0; i < sim->weak_check->known.n; i++) {
        struct crdt_origin origin = sim->weak_check->known.at[i].origin;
        cc_buffer_printf(out, " r%u %" PRIu64 " of %" PRIu64, origin.replica, crdt_frontier_get(frontier, origin),
                         sim->weak_check->known.at[i].sequence);
    }
}

// Who writes past us may take away what does not show: a repair compares what shows.
static bool show_the_same(const struct sim *sim, const struct sim_store *a, const struct sim_store *b)
{
    return sim_store_digest(a, DB_WEAK) == sim_store_digest(b, DB_WEAK) ||
           (sim->counters.tampered > 0 && sim_weak_values_digest(a) == sim_weak_values_digest(b));
}

bool sim_weak_check_are_equal(struct sim *sim, struct cc_buffer *why_not)
{
    const struct sim_store *first = sim_database_rows(sim_present(sim)->database)->store;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *replica = &sim->replicas[i];
        const struct sim_store *store = sim_database_rows(replica->database)->store;
        if (!replica->absent && !show_the_same(sim, store, first)) {
            cc_buffer_printf(why_not, "weak rows of r%u and r%u differ", sim_present(sim)->id, replica->id);
            if (sim->is_told) {
                tell_keys(&(struct comparison){sim, "of the first", "of the other", first, store, why_not});
            }
            return false;
        }
    }
    return true;
}

void sim_check_end(struct sim *sim)
{
    const struct sim_rows *rows = sim_database_rows(sim_present(sim)->database); // as everybody's
    struct crdt_frontier held, ahead;
    sim_rows_frontier(rows, &held);
    sim_rows_ahead(rows, &ahead);
    struct sim_store *merged = merge_all(sim, &held);
    struct digests as_merged = digests_of(merged), digests = digests_of(rows->store);
    bool equal = are_equal(sim, &as_merged, &digests) || (sim->counters.tampered + sim->counters.rows_repaired > 0 && show_the_same(sim, merged, rows->store));
    sim_store_destroy(merged);
    equal = equal || !crdt_frontier_covers(&held, &ahead); // a state of what was lost with its origin's disk was joined
    if (sim->is_told && !equal) {
        tell_differences(sim, rows->store, &held);
    }
    SIM_CHECK(sim, "W3", equal, "rows are not the merge of all changes");
    sim_weak_check_renewals(sim, &held);
    if (crdt_frontier_covers(&held, &ahead)) {
        // What was written upon a change that is lost with all disks that had it says more than is left.
        bool whole = sim->counters.tampered == 0 && crdt_frontier_covers(&held, &sim->weak_check->known);
        sim_oracle_check(sim, &held, rows->store, whole);
    }
}
