// What the model of PostgreSQL does for a replica that begins anew (io_postgres_renew.c).
#include "sim/sim_weak.h"

#include "base/memory.h"
#include "crdt/renew.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEY_BYTES = SIM_KEY_BYTES, RENEWED_MAX = 16 };

struct names {
    char (*at)[KEY_BYTES];
    size_t n, capacity;
};

static void take_name(void *context, const char *name)
{
    struct names *names = context;
    names->at = cc_grow(names->at, &names->capacity, names->n + 1, sizeof(*names->at));
    snprintf(names->at[names->n++], KEY_BYTES, "%s", name);
}

static struct names names_of(const struct sim_rows *rows, const char *prefix)
{
    struct names names = {0};
    sim_store_scan(rows->store, prefix, take_name, &names);
    return names;
}

// In the order of stamps.
static void aside_name(const struct crdt_change_set *set, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "n/%016" PRIx64 "/%u.%u/%012" PRIu64, set->stamp.hlc, set->origin.replica, set->origin.incarnation, set->sequence);
}

uint64_t sim_rows_aside(struct sim *sim, const struct sim_rows *rows, struct crdt_frontier *frontier_out)
{
    struct names names = names_of(rows, "n/");
    uint64_t n = 0;
    frontier_out->n = 0;
    for (size_t i = 0; i < names.n; i++) {
        struct crdt_change_set set;
        const struct cc_blob *change = sim_store_get_committed(rows->store, names.at[i]);
        if (change != NULL && crdt_change_set_peek(cc_blob_slice(change), &set) == CC_OK) {
            enum cc_status status = crdt_frontier_raise(frontier_out, set.origin, set.sequence);
            SIM_CHECK(sim, "W9", status == CC_OK, "too many origins");
            n++;
        }
    }
    free(names.at);
    return n;
}

static void drop_all(const struct sim_rows *rows, const char *prefix)
{
    struct names names = names_of(rows, prefix);
    for (size_t i = 0; i < names.n; i++) {
        sim_store_put(rows->store, DB_WEAK, names.at[i], (struct cc_slice){0});
    }
    free(names.at);
}

static void put_aside(struct sim *sim, const struct sim_rows *rows, struct cc_slice change)
{
    struct crdt_change_set set;
    char name[KEY_BYTES];
    enum cc_status status = crdt_change_set_peek(change, &set);
    SIM_CHECK(sim, "codec", status == CC_OK, "r%u: a change set cannot be read", rows->replica);
    aside_name(&set, name);
    sim_store_put(rows->store, DB_WEAK, name, change);
    sim_weak_check_aside(sim, rows->replica, &set);
    sim->counters.put_aside++;
}

void sim_rows_put_aside(struct sim *sim, struct sim_rows *rows, const struct cc_slice *changes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        put_aside(sim, rows, changes[i]);
    }
}

// Those of an earlier life it may hold without their history, from others.
static uint64_t put_origin_aside(struct sim *sim, struct sim_rows *rows, struct crdt_origin origin, uint64_t first, uint64_t last)
{
    uint64_t n = 0;
    bool is_of_life = origin.incarnation >= sim_replica_of(sim, rows->replica)->incarnation;
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        const struct cc_blob *change = sim_rows_history(rows, origin, sequence);
        bool is_kept = change != NULL || !is_of_life || sim_weak_check_is_held(sim, origin, sequence);
        SIM_CHECK(sim, "W9", is_kept, "r%u has dropped its change %" PRIu64 ", which nobody has", rows->replica, sequence);
        if (change != NULL) {
            put_aside(sim, rows, cc_blob_slice(change));
            n++;
        }
    }
    return n;
}

uint64_t sim_rows_begin_anew(struct sim *sim, struct sim_rows *rows, const struct crdt_frontier *own)
{
    struct crdt_frontier held;
    sim_rows_frontier(rows, &held);
    uint64_t n = 0;
    for (uint32_t i = 0; i < own->n; i++) {
        n += put_origin_aside(sim, rows, own->at[i].origin, own->at[i].sequence, crdt_frontier_get(&held, own->at[i].origin));
    }
    static const char *const prefixes[] = {"w/", "t/", "h/", "f", "o", "x", "b", "k"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        drop_all(rows, prefixes[i]);
    }
    sim->counters.begun_anew++;
    return n;
}

void sim_rows_renewed(const struct sim_rows *rows, const struct crdt_old_number *old)
{
    char name[KEY_BYTES];
    struct crdt_change_set set = {.origin = old->origin, .sequence = old->sequence, .stamp.hlc = old->hlc};
    aside_name(&set, name);
    if (sim_store_get(rows->store, name) != NULL) {
        sim_store_put(rows->store, DB_WEAK, name, (struct cc_slice){0});
    }
}

struct renewing {
    struct sim *sim;
    struct sim_rows *rows;
    struct cc_arena *arena;
};

static struct crdt_row *row_of(void *context, const struct crdt_row_change *change)
{
    const struct renewing *renewing = context;
    struct sim_weak_row *row = cc_arena_alloc(renewing->arena, sizeof(*row));
    struct cc_slice key = {0};
    size_t n = 0;
    enum cc_status status = crdt_key_read(change->key, &key, 1, &n);
    SIM_CHECK(renewing->sim, "codec", status == CC_OK, "r%u: a key cannot be read", renewing->rows->replica);
    sim_weak_row_load(renewing->sim, renewing->rows->store, key, renewing->arena, row);
    return &row->row;
}

struct cc_slice *sim_rows_renew(struct sim *sim, struct sim_rows *rows, const struct clock_stamp *stamps, uint32_t n_max, struct cc_arena *arena,
                                struct db_event *event)
{
    struct renewing renewing = {sim, rows, arena};
    struct crdt_frontier held;
    sim_rows_frontier(rows, &held);
    struct cc_slice *changes = cc_arena_array(arena, RENEWED_MAX, sizeof(*changes));
    struct names names = names_of(rows, "n/");
    for (size_t i = 0; i < names.n && event->n_changes < RENEWED_MAX && event->n_changes < n_max; i++) {
        const struct cc_blob *change = sim_store_get(rows->store, names.at[i]);
        struct crdt_change_set old, set;
        enum cc_status status = crdt_change_set_read(cc_arena_slice(arena, cc_blob_slice(change)), arena, &old);
        SIM_CHECK(sim, "codec", status == CC_OK, "r%u: a change set cannot be read", rows->replica);
        if (crdt_frontier_get(&held, old.origin) >= old.sequence) { // somebody had it after all
            continue;
        }
        struct cc_buffer bytes = {0}, seen = {0};
        crdt_frontier_put(&seen, &held);
        crdt_change_set_renew(&old, &stamps[event->n_changes], cc_arena_slice(arena, cc_buffer_slice(&seen)), sim_rows_schema(rows), row_of, &renewing,
                              arena, &set);
        sim_rows_merge_rows(sim, rows->store, &set);
        crdt_change_set_put(&bytes, &set);
        event->n_changed += set.n_rows > 0;
        event->n_lost += set.n_lost > 0;
        changes[event->n_changes++] = cc_arena_slice(arena, cc_buffer_slice(&bytes));
        cc_buffer_finish(&bytes);
        cc_buffer_finish(&seen);
    }
    sim->counters.renewed += event->n_changed;
    sim->counters.not_renewed += event->n_lost;
    free(names.at);
    return changes;
}
