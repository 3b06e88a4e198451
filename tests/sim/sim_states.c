// States of weak rows, and the steps between them, by content.
#include "sim/sim_states.h"

#include "base/memory.h"

#include <stdlib.h>

enum {
    BUCKETS = 2048,     // a seed has some hundreds of weak writes
    READ_BACK_EACH = 8, // states of so many that were merged
};

struct step {
    const struct sim_state *from, *to;
    uint64_t hash; // of the change
    struct step *next;
};

struct sim_states {
    struct cc_arena arena;
    struct sim_state *states[BUCKETS];
    struct step *steps[BUCKETS];
};

struct sim_states *sim_states_create(void)
{
    struct sim_states *states = cc_alloc(sizeof(*states));
    cc_arena_init(&states->arena);
    return states;
}

void sim_states_destroy(struct sim_states *states)
{
    for (size_t i = 0; states != NULL && i < BUCKETS; i++) {
        for (struct sim_state *state = states->states[i]; state != NULL; state = state->next) {
            cc_blob_unref(state->live);
            cc_blob_unref(state->tombstone);
        }
    }
    if (states != NULL) {
        cc_arena_finish(&states->arena);
    }
    free(states);
}

// -- States -----------------------------------------------------------------------------------------------------------

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

static uint64_t mix_slice(uint64_t hash, struct cc_slice slice) // NULL is not the empty one
{
    return mix(mix(hash, slice.data == NULL), sim_hash_of(slice.data, slice.n));
}

static bool same_blob(const struct cc_blob *a, const struct cc_blob *b)
{
    return a == b || (a != NULL && b != NULL && cc_slice_equal(cc_blob_slice(a), cc_blob_slice(b)));
}

// Takes over the references on the blobs.
static struct sim_state *intern(struct sim_states *states, struct cc_blob *live, struct cc_blob *tombstone)
{
    uint64_t hash = mix_slice(mix_slice(0, cc_blob_slice(live)), cc_blob_slice(tombstone));
    struct sim_state **bucket = &states->states[hash % BUCKETS];
    for (struct sim_state *state = *bucket; state != NULL; state = state->next) {
        if (state->hash == hash && same_blob(state->live, live) && same_blob(state->tombstone, tombstone)) {
            cc_blob_unref(live);
            cc_blob_unref(tombstone);
            return state;
        }
    }
    struct sim_state *state = cc_arena_alloc(&states->arena, sizeof(*state));
    *state = (struct sim_state){.live = live, .tombstone = tombstone, .hash = hash, .next = *bucket};
    *bucket = state;
    return state;
}

static struct cc_slice blob_or_null(const struct cc_blob *blob)
{
    return blob == NULL ? (struct cc_slice){0} : cc_blob_slice(blob);
}

// The row as it is, without anything that it borrows from elsewhere.
static void keep(struct cc_arena *arena, const struct sim_weak_row *row, struct sim_state *state)
{
    struct sim_weak_row *kept = &state->row;
    *kept = *row;
    kept->row.registers = kept->registers;
    kept->row.arena = NULL;
    kept->exists = state->live != NULL;
    kept->had_tombstone = state->tombstone != NULL;
    for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
        const struct crdt_parts *parts = &row->registers[i].parts;
        kept->registers[i].value = cc_arena_slice(arena, row->registers[i].value);
        kept->registers[i].parts.at = parts->n == 0 ? NULL : cc_arena_array(arena, parts->n, sizeof(*parts->at));
        for (uint32_t p = 0; p < parts->n; p++) {
            kept->registers[i].parts.at[p] = (struct crdt_part){parts->at[p].stamp, cc_arena_slice(arena, parts->at[p].bytes)};
        }
    }
    state->is_read = true;
}

static void read_state(struct sim *sim, struct sim_state *state)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct sim_weak_row row;
    sim_weak_row_read(sim, blob_or_null(state->live), blob_or_null(state->tombstone), &arena, &row);
    SIM_CHECK(sim, "codec", !state->is_read || sim_weak_rows_equal(&row, &state->row), "a weak row is read back as another one");
    keep(&sim->states->arena, &row, state);
    cc_arena_finish(&arena);
}

static bool same_parts(const struct crdt_parts *a, const struct crdt_parts *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n; i++) {
        same = clock_stamp_compare(&a->at[i].stamp, &b->at[i].stamp) == 0 && cc_slice_equal(a->at[i].bytes, b->at[i].bytes);
    }
    return same;
}

bool sim_weak_rows_equal(const struct sim_weak_row *a, const struct sim_weak_row *b)
{
    bool same = clock_stamp_compare(&a->row.life, &b->row.life) == 0 && clock_stamp_compare(&a->row.death, &b->row.death) == 0;
    for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
        const struct crdt_register *x = &a->registers[i], *y = &b->registers[i];
        bool same_value = (x->value.data == NULL) == (y->value.data == NULL) && cc_slice_equal(x->value, y->value);
        same = same && same_value && same_parts(&x->parts, &y->parts) && clock_stamp_compare(&x->stamp, &y->stamp) == 0;
    }
    return same;
}

const struct sim_state *sim_states_find(struct sim *sim, const struct cc_blob *live, const struct cc_blob *tombstone)
{
    struct sim_state *state = intern(sim->states, cc_blob_ref((struct cc_blob *)live), cc_blob_ref((struct cc_blob *)tombstone));
    if (!state->is_read) {
        read_state(sim, state);
    }
    return state;
}

void sim_state_copy(const struct sim_state *state, struct cc_arena *arena, struct sim_weak_row *row_out)
{
    *row_out = state->row;
    row_out->row.registers = row_out->registers;
    row_out->row.arena = arena;
    for (uint32_t i = SIM_WEAK_PLAIN; i < SIM_WEAK_COLUMNS; i++) {
        struct crdt_parts *parts = &row_out->registers[i].parts;
        const struct crdt_part *held = parts->at;
        parts->at = cc_arena_array(arena, parts->n, sizeof(*held));
        for (uint32_t p = 0; p < parts->n; p++) {
            parts->at[p] = held[p];
        }
    }
}

// -- Writing ------------------------------------------------------------------------------------------------------------

static struct cc_blob *blob_of(struct cc_buffer *bytes)
{
    struct cc_blob *blob = cc_blob_create(bytes->data, bytes->n);
    cc_buffer_clear(bytes);
    return blob;
}

static struct sim_state *write_row(struct sim *sim, const struct crdt_row *row)
{
    struct cc_buffer bytes = {0}, rest = {0};
    struct cc_blob *live = NULL, *tombstone = NULL;
    bool visible = crdt_row_is_visible(row);
    if (visible) {
        for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
            cc_put_nullable(&bytes, row->registers[i].value);
        }
        crdt_stamps_put(&rest, row);
        cc_put_string(&bytes, cc_buffer_slice(&rest));
        live = blob_of(&bytes);
    }
    // A death is remembered also under a row that was brought back: older writes must not come through.
    if (!visible || !clock_stamp_is_zero(&row->death)) {
        static const struct crdt_row nothing = {0};
        cc_buffer_clear(&rest);
        clock_stamp_put(&bytes, &row->death);
        crdt_remains_put(&rest, visible ? &nothing : row);
        cc_put_string(&bytes, cc_buffer_slice(&rest));
        tombstone = blob_of(&bytes);
    }
    cc_buffer_finish(&bytes);
    cc_buffer_finish(&rest);
    return intern(sim->states, live, tombstone);
}

const struct sim_state *sim_states_of_row(struct sim *sim, const struct sim_weak_row *row)
{
    struct sim_state *state = write_row(sim, &row->row);
    if (!state->is_read) {
        keep(&sim->states->arena, row, state);
        if (state->hash % READ_BACK_EACH == 0) {
            read_state(sim, state);
        }
    }
    return state;
}

// -- Steps --------------------------------------------------------------------------------------------------------------

static uint64_t hash_of_change(const struct crdt_row_change *change, const struct clock_stamp *stamp)
{
    uint64_t hash = mix(mix(stamp->hlc, (uint64_t)stamp->replica << 32 | stamp->incarnation), change->operation);
    for (uint32_t i = 0; i < change->n_fields; i++) {
        hash = mix_slice(hash, change->fields[i].column);
        hash = mix_slice(hash, change->fields[i].value);
        hash = mix_slice(hash, change->fields[i].part);
    }
    return hash;
}

static const struct sim_state *merged(struct sim *sim, const struct sim_state *from, const struct crdt_row_change *change,
                                      const struct clock_stamp *stamp)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct sim_weak_row row;
    sim_state_copy(from, &arena, &row);
    crdt_row_merge(&row.row, change, stamp);
    const struct sim_state *to = sim_states_of_row(sim, &row);
    cc_arena_finish(&arena);
    return to;
}

const struct sim_state *sim_states_merge(struct sim *sim, const struct sim_state *from, const struct crdt_row_change *change,
                                         const struct clock_stamp *stamp)
{
    struct sim_states *states = sim->states;
    uint64_t hash = hash_of_change(change, stamp);
    struct step **bucket = &states->steps[mix(hash, from->hash) % BUCKETS];
    for (const struct step *step = *bucket; step != NULL; step = step->next) {
        if (step->hash == hash && step->from == from) {
            return step->to;
        }
    }
    struct step *step = cc_arena_alloc(&states->arena, sizeof(*step));
    *step = (struct step){.from = from, .to = merged(sim, from, change, stamp), .hash = hash, .next = *bucket};
    *bucket = step;
    return step->to;
}
