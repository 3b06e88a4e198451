// Replicas that forget: the log, the database or both are wiped, or replaced by older copies (docs/adr/amnesia.md). What is done
// here stays within what can be made good: a minority of the voters at a time, and older copies of a log only where every other replica
// remembers more (entries, or only that something was promised since) and goes on doing so until it has said so.
#include "sim/sim.h"

#include "base/memory.h"
#include "proxy/node/node_internal.h"
#include "sim/sim_rows.h"

#include <inttypes.h>
#include <stdlib.h>

enum sim_loss {
    LOSE_BOTH,
    LOSE_LOG,
    LOSE_DATABASE,
    OLD_LOG,
    OLD_DATABASE,
    OLD_BOTH,
    LOSSES,
};

struct sim_copy {
    struct sim_disk disk;
    uint32_t incarnation;
    uint64_t last_index, promise_number, stamp_max_ms;
    struct cc_buffer store;
    int64_t sequence;
};

static bool is_over(const struct sim *sim)
{
    return sim->phase != SIM_FAULTS;
}

static struct sim_replica *draw_replica(struct sim *sim)
{
    return &sim->replicas[sim_draw(sim, 0, sim->n_replicas - 1)];
}

// -- Copies ---------------------------------------------------------------------------------------------------------

void sim_copy_destroy(struct sim_copy *copy)
{
    if (copy != NULL) {
        sim_disk_finish(&copy->disk);
        cc_buffer_finish(&copy->store);
        free(copy);
    }
}

// Changes of its own, under whichever of its origins.
static uint64_t n_own_of(const struct sim_replica *replica, const struct crdt_frontier *frontier)
{
    uint64_t n = 0;
    for (uint32_t i = origin_first_own(frontier, replica->id); i < frontier->n && frontier->at[i].origin.replica == replica->id; i++) {
        n += frontier->at[i].sequence;
    }
    return n;
}

void sim_copy_take(struct sim *sim, struct sim_replica *replica)
{
    struct sim_rows *rows = sim_database_rows(replica->database);
    sim_copy_destroy(replica->copy);
    struct sim_copy *copy = replica->copy = cc_alloc(sizeof(*copy));
    sim_disk_copy(&copy->disk, &replica->disk);
    sim_store_export(rows->store, &copy->store);
    copy->incarnation = replica->incarnation;
    copy->last_index = wal_state_of(replica->wal)->last_index;
    copy->promise_number = wal_state_of(replica->wal)->promise_number;
    copy->stamp_max_ms = replica->stamp_max_ms;
    copy->sequence = rows->sequence;
    sim_trace(sim, "r%u is copied: log up to %" PRIu64 ", database up to %" PRIu64, replica->id, copy->last_index, sim_rows_applied(rows));
}

static void take_copy(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    struct sim_replica *replica = draw_replica(sim);
    if (replica->alive && !replica->is_new && !replica->is_copy) {
        sim_copy_take(sim, replica);
    }
    sim_after(sim, sim_spread(sim, sim->knobs.amnesia_mean_us / 2), take_copy, 0);
}

// -- What may be lost -----------------------------------------------------------------------------------------------

static bool is_impaired(const struct sim_replica *replica)
{
    return replica->is_new || replica->is_copy || sim_database_rows(replica->database)->applied_flushed < replica->rebuilt_index;
}

static uint32_t n_others_impaired(const struct sim *sim, const struct sim_replica *replica)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *other = &sim->replicas[i];
        n += other != replica && is_impaired(other) ? 1 : 0;
    }
    return n;
}

// The node has heard of a later life.
static bool is_over_for(const struct peer *peer, uint32_t incarnation)
{
    bool over = false;
    for (size_t i = 0; i < PEER_LIVES_MAX; i++) {
        over = over || peer->over[i] == incarnation;
    }
    return over;
}

// Everybody else runs and would notice that the log has become shorter, or is one of an earlier life.
static bool others_remember(const struct sim *sim, const struct sim_replica *replica)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *other = &sim->replicas[i];
        if (other == replica) {
            continue;
        }
        const struct peer *peer = other->alive ? peer_find(other->node, replica->id) : NULL;
        uint32_t incarnation = replica->copy->incarnation;
        bool remembers = peer != NULL && (incarnation == replica->incarnation
                                              ? peer->remembered_incarnation == incarnation && peer->remembered.promise > replica->copy->promise_number
                                              : is_over_for(peer, incarnation));
        if (!remembers || other->is_new) {
            return false;
        }
    }
    return true;
}

static bool holds_own(const struct sim_replica *replica, const struct crdt_frontier *frontier, const struct crdt_frontier *own)
{
    bool holds = true;
    for (uint32_t i = origin_first_own(own, replica->id); i < own->n && own->at[i].origin.replica == replica->id; i++) {
        holds = holds && crdt_frontier_get(frontier, own->at[i].origin) >= own->at[i].sequence;
    }
    return holds;
}

// Its log may have been cut below what the database lacks then: others must hold these changes.
static bool others_hold_changes(const struct sim *sim, const struct sim_replica *replica)
{
    struct crdt_frontier own;
    sim_rows_frontier(sim_database_rows(replica->database), &own);
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *other = &sim->replicas[i];
        const struct sim_rows *rows = sim_database_rows(other->database);
        if (other != replica && holds_own(replica, &rows->frontier_flushed, &own)) {
            return true;
        }
    }
    return false;
}

// Also when the next change of the members comes before its leader hears of the loss: it may take out one who is whole, or give
// the vote to the learner whose data are lost.
static bool has_majority_without(struct sim *sim, const struct sim_replica *replica, const struct raft_membership *membership)
{
    uint32_t n_voters = 0, n_whole = 0;
    bool learns = false;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        const struct raft_member *member = &membership->members[i];
        const struct sim_replica *who = sim_replica_of(sim, member->id);
        n_voters += member->voter ? 1 : 0;
        n_whole += member->voter && who != replica && !is_impaired(who) ? 1 : 0;
        learns = learns || (who == replica && !member->voter);
    }
    bool after_removal = n_voters <= SIM_VOTERS_MIN || sim->knobs.member_mean_us == 0 || n_whole - 1 > (n_voters - 1) / 2;
    bool after_promotion = !learns || n_whole > (n_voters + 1) / 2;
    return n_voters == 0 || (n_whole > n_voters / 2 && after_removal && after_promotion);
}

// Of the voters that anybody's log names, committed or not: two of five may lose their data, but of four only one.
static bool leaves_majority(struct sim *sim, const struct sim_replica *replica)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *witness = &sim->replicas[i];
        sim_replica_note_members(witness);
        if (!has_majority_without(sim, replica, &witness->in_force) || !has_majority_without(sim, replica, &witness->committed)) {
            return false;
        }
    }
    return true;
}

// The copy lacks weak changes only: nobody remembers more of its log.
static bool is_as_promised(const struct sim_replica *replica)
{
    return replica->alive && replica->copy != NULL && replica->copy->incarnation == replica->incarnation &&
           wal_state_of(replica->wal)->promise_number == replica->copy->promise_number;
}

static bool may_lose(struct sim *sim, const struct sim_replica *replica, enum sim_loss loss)
{
    bool has_copy = replica->copy != NULL && replica->copy->incarnation == replica->incarnation;
    if (is_impaired(replica) || !leaves_majority(sim, replica)) {
        return false;
    }
    switch (loss) {
    case LOSE_BOTH:
    case LOSE_LOG:
        return true;
    case LOSE_DATABASE:
        return others_hold_changes(sim, replica);
    case OLD_DATABASE:
        return has_copy && others_hold_changes(sim, replica);
    case OLD_BOTH:
        if (is_as_promised(replica)) {
            return true;
        } // fall through
    case OLD_LOG:
        return replica->copy != NULL && sim->knobs.stream != 0 && n_others_impaired(sim, replica) == 0 && others_remember(sim, replica);
    case LOSSES:
        break;
    }
    return false;
}

// -- Losing ---------------------------------------------------------------------------------------------------------

static void forget_log(struct sim *sim, struct sim_replica *replica)
{
    sim_disk_finish(&replica->disk);
    sim_disk_init(&replica->disk);
    replica->incarnation = ++sim->n_incarnations;
    replica->is_new = true;
    replica->is_copy = replica->is_over = false;
    replica->removed_at = 0;
    replica->stamp_max_ms = 0;
}

static void forget_database(struct sim *sim, const struct sim_replica *replica)
{
    sim_weak_check_aside_lost(sim, replica->id);
    struct sim_rows *rows = sim_database_rows(replica->database);
    sim_store_destroy(rows->store);
    rows->store = sim_store_create();
    rows->sequence = 0;
    sim_rows_flush(rows);
}

static void restore_log(struct sim_replica *replica)
{
    sim_disk_finish(&replica->disk);
    sim_disk_copy(&replica->disk, &replica->copy->disk);
    sim_disk_settle(&replica->disk);
    replica->is_copy = true;
    replica->is_over = replica->incarnation != replica->copy->incarnation;
    replica->incarnation = replica->copy->incarnation;
    replica->stamp_max_ms = replica->copy->stamp_max_ms;
}

static void restore_database(struct sim *sim, const struct sim_replica *replica)
{
    forget_database(sim, replica);
    struct sim_rows *rows = sim_database_rows(replica->database);
    sim_store_import(rows->store, cc_buffer_slice(&replica->copy->store));
    rows->sequence = replica->copy->sequence;
    sim_rows_flush(rows);
}

void sim_amnesia_wipe(struct sim *sim, struct sim_replica *replica)
{
    sim->counters.copies -= replica->is_copy ? 1 : 0; // nobody reminds one that was removed
    forget_log(sim, replica);
    forget_database(sim, replica);
    sim_check_database_ends(sim);
}

static void lose(struct sim *sim, struct sim_replica *replica, enum sim_loss loss)
{
    bool keeps_log = loss == LOSE_DATABASE || loss == OLD_DATABASE;
    sim_rows_flush(sim_database_rows(replica->database));
    uint64_t applied = sim_rows_applied(sim_database_rows(replica->database));
    replica->rebuilt_index = applied > 0 ? applied : 1;
    switch (loss) {
    case LOSE_BOTH:
        sim_amnesia_wipe(sim, replica);
        break;
    case LOSE_LOG:
        forget_log(sim, replica);
        break;
    case LOSE_DATABASE:
        forget_database(sim, replica);
        break;
    case OLD_LOG:
        restore_log(replica);
        break;
    case OLD_DATABASE:
        restore_database(sim, replica);
        break;
    case OLD_BOTH:
        restore_log(replica);
        restore_database(sim, replica);
        break;
    case LOSSES:
        break;
    }
    sim_check_database_ends(sim);
    if (!keeps_log) {
        sim_check_origins_end(sim, replica->id);
    }
}

void sim_copy_restore_database(struct sim *sim, struct sim_replica *replica)
{
    lose(sim, replica, OLD_DATABASE);
}

enum { ALONE_ELECTIONS = 6 }; // so many election timeouts: an origin begins after two

// False: that could not be made good.
static bool try_to_lose(struct sim *sim, struct sim_replica *replica, enum sim_loss loss)
{
    static const char *const names[LOSSES] = {"log and database", "log", "database", "log for a copy", "database for a copy",
                                              "log and database for copies"};
    if (!may_lose(sim, replica, loss)) {
        return false;
    }
    bool unnoticed = loss == OLD_BOTH && is_as_promised(replica);
    if (replica->alive) {
        sim_replica_crash(sim, replica, SIM_KILLED);
        sim_fault_restart_later(sim, replica->id);
    }
    sim_trace(sim, "r%u loses its %s", replica->id, names[loss]);
    sim->counters.amnesias++;
    sim->counters.databases_lost += loss == LOSE_DATABASE || loss == OLD_DATABASE ? 1 : 0;
    lose(sim, replica, loss);
    if (unnoticed) {
        replica->is_copy = false;
        sim->counters.unnoticed++;
    }
    sim->counters.copies += replica->is_copy ? 1 : 0;
    if ((loss == OLD_LOG || loss == OLD_BOTH) && sim_chance(sim, 500000)) { // it may write before it meets anybody
        sim_fault_isolate(sim, replica->id, sim_spread(sim, sim->knobs.crash_length_us + ALONE_ELECTIONS * sim->knobs.election_us));
    }
    sim->counters.ended_lives += replica->is_over ? 1 : 0;
    return true;
}

enum { LEAD_MIN = 40 }; // changes: more than the log keeps beyond what it may drop

// Who alone, but for their writer, has many of a replica's changes; NULL: nobody does.
static struct sim_replica *only_holder(struct sim *sim, const struct sim_replica *of)
{
    struct sim_replica *best = NULL;
    uint64_t most = 0, second = 0;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *other = &sim->replicas[i];
        uint64_t held = other == of ? 0 : n_own_of(of, &sim_database_rows(other->database)->frontier_flushed);
        second = held > most ? most : held > second ? held : second;
        best = held > most ? other : best;
        most = held > most ? held : most;
    }
    return most >= second + LEAD_MIN ? best : NULL;
}

// A database, and the only other one that has its newest weak changes: no disk has them any more.
static void lose_two(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        struct sim_replica *holder = only_holder(sim, replica);
        if (holder != NULL && try_to_lose(sim, replica, LOSE_DATABASE)) {
            (void)try_to_lose(sim, holder, LOSE_BOTH);
            return;
        }
    }
}

static void lose_data(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    bool aims = sim->knobs.second_percent > 0 && sim_draw(sim, 0, 99) < sim->knobs.second_percent;
    if (aims) {
        lose_two(sim);
    } else {
        struct sim_replica *replica = draw_replica(sim);
        (void)try_to_lose(sim, replica, (enum sim_loss)sim_draw(sim, 0, LOSSES - 1));
    }
    sim_after(sim, sim_spread(sim, sim->knobs.amnesia_mean_us), lose_data, 0);
}

void sim_amnesia_start(struct sim *sim)
{
    if (sim->knobs.amnesia_mean_us > 0) {
        sim_after(sim, sim_spread(sim, sim->knobs.amnesia_mean_us), lose_data, 0);
        sim_after(sim, sim_spread(sim, sim->knobs.amnesia_mean_us / 2), take_copy, 0);
    }
}

// -- Being told -----------------------------------------------------------------------------------------------------

static void put_aside(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    if (!replica->alive) { // it was quicker to die; its next start finds the same
        return;
    }
    sim_replica_crash(sim, replica, SIM_KILLED);
    lose(sim, replica, LOSE_LOG);
    sim_fault_restart_later(sim, replica->id);
}

void sim_amnesia_noticed(struct sim *sim, struct sim_replica *replica)
{
    bool begins_anew = replica->node->renewal.state == RENEWAL_LEAVING;
    bool has_lost = replica->node->loss.leaving;
    SIM_CHECK(sim, "B7", replica->is_copy || begins_anew || has_lost, "r%u is told that it forgot something", replica->id);
    sim->counters.dead_ends += has_lost ? 1 : 0;
    sim->counters.noticed += replica->is_copy ? 1 : 0;
    sim_after(sim, 0, put_aside, replica->id);
}

bool sim_amnesia_is_pending(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        if (sim->replicas[i].is_copy) {
            return true;
        }
    }
    return false;
}
