// The collector of garbage (io_garbage.c) in virtual time, one short statement at each step:
//
//   LOOK --bound found--> NOTE --written down, told--> CHOOSE --tombstones chosen--> BURY --> HISTORY --> NOTE ...
//
// What may go is the node's word (node_garbage); that it may is checked here. W4: nothing goes that a member does not have on disk.
#include "sim/sim_weak.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHOSEN_MAX = 64 };

enum stage { STAGE_LOOK, STAGE_NOTE, STAGE_CHOOSE, STAGE_BURY, STAGE_HISTORY };

struct chosen {
    char key[SIM_WORD_BYTES];
    struct clock_stamp death;
};

struct sim_garbage {
    enum stage stage;
    uint64_t life, database_life; // of the connection
    struct node_garbage allowed;
    uint64_t noted;
    struct chosen chosen[CHOSEN_MAX];
    size_t n_chosen;
    struct crdt_frontier dropped; // of histories, up to here
};

void sim_garbage_destroy(struct sim_garbage *garbage)
{
    free(garbage);
}

static void told(struct sim *sim, struct sim_replica *replica)
{
    node_garbage_collected(replica->node, sim_replica_time(sim, replica), replica->garbage->noted);
    sim_replica_settle(sim, replica);
}

static void look(struct sim *sim, struct sim_replica *replica)
{
    struct sim_garbage *garbage = replica->garbage;
    garbage->noted = sim_rows_get_u64(sim_database_rows(replica->database)->store, "b");
    garbage->stage = STAGE_NOTE;
    told(sim, replica);
}

static void note(struct sim *sim, struct sim_replica *replica)
{
    struct sim_garbage *garbage = replica->garbage;
    struct sim_store *store = sim_database_rows(replica->database)->store;
    node_garbage(replica->node, &garbage->allowed);
    garbage->stage = STAGE_CHOOSE;
    if (garbage->allowed.bound <= garbage->noted) {
        garbage->allowed.bound = garbage->noted;
        return;
    }
    sim_weak_check_bound(sim, replica, garbage->allowed.bound);
    garbage->noted = garbage->allowed.bound;
    sim_rows_put_u64(store, DB_WEAK, "b", garbage->noted);
    sim_store_commit(store, DB_WEAK);
    sim_trace(sim, "r%u garbage up to %" PRIx64, replica->id, garbage->noted);
    told(sim, replica);
}

// -- Tombstones -------------------------------------------------------------------------------------------------------

struct choice {
    struct sim *sim;
    struct sim_replica *replica;
};

static void choose_one(void *context, const char *name)
{
    struct choice *choice = context;
    struct sim_garbage *garbage = choice->replica->garbage;
    const struct cc_blob *value = sim_store_get_committed(sim_database_rows(choice->replica->database)->store, name);
    if (value == NULL || garbage->n_chosen == CHOSEN_MAX) {
        return;
    }
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct cc_reader reader = cc_reader_of(cc_blob_slice(value));
    struct chosen *chosen = &garbage->chosen[garbage->n_chosen];
    chosen->death = clock_stamp_read(&reader);
    struct cc_slice remains = cc_read_string(&reader);
    bool may_go = false;
    enum cc_status status = crdt_remains_may_go(remains, &chosen->death, garbage->allowed.bound, &arena, &may_go);
    SIM_CHECK(choice->sim, "codec", status == CC_OK, "r%u: a tombstone cannot be read", choice->replica->id);
    if (may_go) {
        snprintf(chosen->key, sizeof(chosen->key), "%s", name);
        garbage->n_chosen++;
    }
    cc_arena_finish(&arena);
}

static void choose(struct sim *sim, struct sim_replica *replica)
{
    struct choice choice = {sim, replica};
    replica->garbage->n_chosen = 0;
    sim_store_scan(sim_database_rows(replica->database)->store, "t/", choose_one, &choice);
    replica->garbage->stage = replica->garbage->n_chosen > 0 ? STAGE_BURY : STAGE_HISTORY;
}

// Those that are still as they were when they were chosen.
static void bury(struct sim *sim, struct sim_replica *replica)
{
    struct sim_garbage *garbage = replica->garbage;
    struct sim_store *store = sim_database_rows(replica->database)->store;
    for (size_t i = 0; i < garbage->n_chosen; i++) {
        const struct cc_blob *value = sim_store_get_committed(store, garbage->chosen[i].key);
        struct cc_reader reader = cc_reader_of(cc_blob_slice(value));
        struct clock_stamp death = clock_stamp_read(&reader);
        if (value != NULL && clock_stamp_compare(&death, &garbage->chosen[i].death) == 0) {
            sim_store_put(store, DB_WEAK, garbage->chosen[i].key, (struct cc_slice){0});
            sim->counters.tombstones_dropped++;
        }
    }
    sim_store_commit(store, DB_WEAK);
    garbage->stage = STAGE_HISTORY;
}

// -- Histories ----------------------------------------------------------------------------------------------------------

// Of each origin, the oldest sets: as if they had become too old, or too many.
static void drop_history(struct sim *sim, struct sim_replica *replica)
{
    struct sim_garbage *garbage = replica->garbage;
    const struct sim_rows *rows = sim_database_rows(replica->database);
    const struct crdt_frontier *allowed = &garbage->allowed.history;
    garbage->stage = STAGE_NOTE;
    for (uint32_t i = 0; sim->knobs.drops_history && i < allowed->n; i++) {
        struct crdt_origin origin = allowed->at[i].origin;
        uint64_t from = crdt_frontier_get(&garbage->dropped, origin) + 1;
        uint64_t to = from > allowed->at[i].sequence ? 0 : sim_draw(sim, from - 1, allowed->at[i].sequence);
        for (uint64_t sequence = from; sequence <= to; sequence++) {
            sim_weak_check_drop(sim, replica, origin, sequence);
            sim_rows_drop_history(rows, origin, sequence);
            sim->counters.sets_dropped++;
        }
        if (to >= from && crdt_frontier_raise(&garbage->dropped, origin, to) != CC_OK) {
            sim_fail(sim, "W4", "too many origins");
        }
    }
    sim_store_commit(rows->store, DB_WEAK);
}

// -- Life -------------------------------------------------------------------------------------------------------------

static void step(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, (uint32_t)event->a);
    struct sim_garbage *garbage = replica->garbage;
    if (sim->phase != SIM_DONE) {
        sim_after(sim, sim_spread(sim, sim->knobs.garbage_us), step, 0)->a = replica->id;
    }
    // A statement waits for the locks of the local writes under way.
    bool busy = sim_store_savepoint(sim_database_rows(replica->database)->store, DB_WEAK) > 0;
    if (!replica->alive || replica->paused_until_us > sim->now_us || !sim_database_is_up(replica->database) || busy) {
        return;
    }
    if (garbage->life != replica->life || garbage->database_life != sim_database_life(replica->database)) {
        *garbage = (struct sim_garbage){.life = replica->life, .database_life = sim_database_life(replica->database)};
    }
    switch (garbage->stage) {
    case STAGE_LOOK:
        look(sim, replica);
        break;
    case STAGE_NOTE:
        note(sim, replica);
        break;
    case STAGE_CHOOSE:
        choose(sim, replica);
        break;
    case STAGE_BURY:
        bury(sim, replica);
        break;
    case STAGE_HISTORY:
        drop_history(sim, replica);
        break;
    }
}

void sim_garbage_start(struct sim *sim)
{
    for (uint32_t id = 1; id <= sim->n_replicas; id++) {
        sim_replica_of(sim, id)->garbage = cc_alloc(sizeof(struct sim_garbage));
        if (sim->knobs.garbage_us > 0) {
            sim_after(sim, sim_spread(sim, sim->knobs.garbage_us), step, 0)->a = id;
        }
    }
}
