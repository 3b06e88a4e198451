// When what breaks. Each kind of fault is a chain of events of its own, until the healing.
#include "sim/sim.h"

#include <inttypes.h>

enum { JUMP_MS = 120 };

static bool is_over(const struct sim *sim)
{
    return sim->phase != SIM_FAULTS;
}

static struct sim_replica *any_replica(struct sim *sim)
{
    bool aims = sim_draw(sim, 0, 99) < sim->knobs.aim_percent;
    for (uint32_t i = 0; aims && i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        if (replica->alive && raft_role(node_raft(replica->node)) == RAFT_LEADER) {
            return replica;
        }
    }
    return &sim->replicas[sim_draw(sim, 0, sim->n_replicas - 1)];
}

static void again(struct sim *sim, uint64_t mean_us, void (*run)(struct sim *, struct sim_event *))
{
    if (mean_us > 0) {
        sim_after(sim, sim_spread(sim, mean_us), run, 0);
    }
}

// -- Processes and machines -----------------------------------------------------------------------------------------

static void restart(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, (uint32_t)event->a);
    if (!replica->alive && !replica->absent) {
        sim_replica_start(sim, replica);
    }
}

void sim_fault_restart_later(struct sim *sim, uint32_t id)
{
    sim_after(sim, sim_spread(sim, sim->knobs.crash_length_us), restart, 0)->a = id;
}

static void crash(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    if (sim_amnesia_is_pending(sim)) {
        again(sim, sim->knobs.crash_mean_us, crash);
        return;
    }
    // Sometimes all at once: a power cut of the room.
    bool everybody = sim_chance(sim, 50000);
    uint32_t chosen = any_replica(sim)->id;
    for (uint32_t id = 1; id <= sim->n_replicas; id++) {
        struct sim_replica *replica = sim_replica_of(sim, id);
        if (replica->alive && (everybody || id == chosen)) {
            bool power = everybody || (sim->knobs.crash_machine && sim_chance(sim, 500000));
            sim_replica_crash(sim, replica, power ? SIM_POWER_LOST : SIM_KILLED);
            sim_fault_restart_later(sim, id);
        }
    }
    again(sim, sim->knobs.crash_mean_us, crash);
}

static void pause(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    struct sim_replica *replica = any_replica(sim);
    if (replica->alive && replica->paused_until_us <= sim->now_us) {
        uint64_t until_us = sim->now_us + sim_spread(sim, sim->knobs.pause_length_us);
        replica->paused_until_us = until_us < sim->knobs.fault_us ? until_us : sim->knobs.fault_us;
        sim->counters.pauses++;
        sim_trace(sim, "r%u paused until %" PRIu64, replica->id, replica->paused_until_us);
    }
    again(sim, sim->knobs.pause_mean_us, pause);
}

void sim_fault_jump_clock(struct sim *sim, struct sim_replica *replica)
{
    uint64_t span_ms = sim->knobs.clock_wild_ms > 0 && sim_chance(sim, 500000) ? sim->knobs.clock_wild_ms : JUMP_MS;
    replica->clock_offset_ms = (int64_t)sim_draw(sim, 0, 2 * span_ms) - (int64_t)span_ms;
    sim->counters.clock_jumps++;
    sim_trace(sim, "r%u clock is off by %" PRId64 " ms", replica->id, replica->clock_offset_ms);
}

static void jump_clock(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    sim_fault_jump_clock(sim, any_replica(sim));
    again(sim, sim->knobs.clock_jump_mean_us, jump_clock);
}

// -- Versions -------------------------------------------------------------------------------------------------------

// A replica starts again under another program, or under the one before.
static void upgrade(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    struct sim_replica *replica = any_replica(sim);
    if (replica->alive && !sim_amnesia_is_pending(sim)) {
        sim_replica_crash(sim, replica, SIM_KILLED);
        sim_fault_restart_later(sim, replica->id);
        replica->is_later = !replica->is_later;
        sim->counters.upgrades++;
        sim_trace(sim, "r%u is of version %u from now on", replica->id, replica->is_later ? 2 : 1);
    }
    again(sim, sim->knobs.upgrade_mean_us, upgrade);
}

static void end_upgrades(struct sim *sim)
{
    bool different = false;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        different = different || sim->replicas[i].is_later;
        sim->replicas[i].is_later = false;
    }
    for (uint32_t a = 1; a <= sim->n_replicas && different; a++) {
        for (uint32_t b = a + 1; b <= sim->n_replicas; b++) {
            sim_network_reset(sim, a, b);
        }
    }
}

// -- Disks ----------------------------------------------------------------------------------------------------------

static void make_space(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *replica = sim_replica_of(sim, (uint32_t)event->a);
    replica->space_low = replica->disk.full = false;
}

static void fill_disk(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    struct sim_replica *replica = any_replica(sim);
    replica->space_low = true;
    replica->disk.full = replica->disk.full || sim_draw(sim, 0, 99) < sim->knobs.full_percent;
    sim->counters.full_disks++;
    sim_trace(sim, "r%u disk %s", replica->id, replica->disk.full ? "full" : "nearly full");
    sim_after(sim, sim_spread(sim, sim->knobs.space_length_us), make_space, 0)->a = replica->id;
    again(sim, sim->knobs.space_mean_us, fill_disk);
}

// -- Databases ------------------------------------------------------------------------------------------------------

static void crash_database(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    sim_database_crash(sim, any_replica(sim)->database);
    again(sim, sim->knobs.database_crash_mean_us, crash_database);
}

static void drop_lane(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    enum db_lane lane = sim_chance(sim, 500000) ? DB_STRONG : DB_WEAK;
    sim_database_drop_lane(sim, any_replica(sim)->database, lane);
    again(sim, sim->knobs.lane_drop_mean_us, drop_lane);
}

// -- Network --------------------------------------------------------------------------------------------------------

enum { CUT_HALVES, CUT_ISOLATE, CUT_ONE_WAY, CUT_BRIDGE, CUT_RING, CUT_RANDOM, CUT_KINDS };

static bool is_cut(uint64_t kind, uint32_t n, uint32_t chosen, uint64_t sides, uint32_t from, uint32_t to)
{
    switch (kind) {
    case CUT_HALVES:
        return (sides >> from & 1) != (sides >> to & 1);
    case CUT_ISOLATE:
        return from == chosen || to == chosen;
    case CUT_ONE_WAY:
        return (sides & 1) != 0 ? from == chosen : to == chosen;
    case CUT_BRIDGE: // two halves that only one replica can reach
        return from != chosen && to != chosen && (sides >> from & 1) != (sides >> to & 1);
    case CUT_RING: // everybody reaches only the neighbours
        return (from % n) + 1 != to && (to % n) + 1 != from;
    case CUT_RANDOM: // every direction for itself
        return (sides >> (from * (n + 1) + to) & 1) != 0;
    default: // drawn below CUT_KINDS
        return false;
    }
}

static void mend(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    bool cut[SIM_REPLICAS_MAX + 1][SIM_REPLICAS_MAX + 1] = {0};
    sim_trace(sim, "cut mended");
    sim_network_cut(sim, cut);
}

void sim_fault_isolate(struct sim *sim, uint32_t replica, uint64_t length_us)
{
    bool cut[SIM_REPLICAS_MAX + 1][SIM_REPLICAS_MAX + 1] = {0};
    for (uint32_t other = 1; other <= sim->n_replicas; other++) {
        cut[replica][other] = cut[other][replica] = other != replica;
    }
    sim_trace(sim, "r%u is isolated", replica);
    sim_network_cut(sim, cut);
    sim_after(sim, length_us, mend, 0);
}

static void cut_network(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    bool cut[SIM_REPLICAS_MAX + 1][SIM_REPLICAS_MAX + 1] = {0};
    uint64_t kind = sim_draw(sim, 0, CUT_KINDS - 1);
    uint32_t chosen = any_replica(sim)->id;
    uint64_t sides = cc_prng_next(&sim->prng);
    for (uint32_t from = 1; from <= sim->n_replicas; from++) {
        for (uint32_t to = 1; to <= sim->n_replicas; to++) {
            cut[from][to] = from != to && is_cut(kind, sim->n_replicas, chosen, sides, from, to);
        }
    }
    sim->counters.cuts++;
    sim_trace(sim, "cut kind %" PRIu64 " around r%u", kind, chosen);
    sim_network_cut(sim, cut);
    uint64_t length_us = sim_spread(sim, sim->knobs.cut_length_us);
    sim_after(sim, length_us, mend, 0);
    again(sim, length_us + sim->knobs.cut_mean_us, cut_network);
}

static void reset(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (is_over(sim)) {
        return;
    }
    uint32_t a = any_replica(sim)->id;
    uint32_t b = any_replica(sim)->id;
    if (a != b) {
        sim->counters.resets++;
        sim_network_reset(sim, a, b);
    }
    again(sim, sim->knobs.reset_mean_us, reset);
}

// -- All ------------------------------------------------------------------------------------------------------------

void sim_fault_start(struct sim *sim)
{
    again(sim, sim->knobs.crash_mean_us, crash);
    again(sim, sim->knobs.pause_mean_us, pause);
    again(sim, sim->knobs.clock_jump_mean_us, jump_clock);
    again(sim, sim->knobs.space_mean_us, fill_disk);
    sim_amnesia_start(sim);
    sim_members_start(sim);
    sim_garbage_start(sim);
    sim_repair_start(sim);
    struct sim_replica *slow = any_replica(sim);
    slow->slow_disk = sim->knobs.slow_disk > 0;
    slow->told_slow = slow->slow_disk && sim->knobs.slow_told != 0;
    again(sim, sim->knobs.database_crash_mean_us, crash_database);
    again(sim, sim->knobs.lane_drop_mean_us, drop_lane);
    again(sim, sim->knobs.cut_mean_us, cut_network);
    again(sim, sim->knobs.reset_mean_us, reset);
    again(sim, sim->knobs.upgrade_mean_us, upgrade);
}

void sim_fault_heal(struct sim *sim)
{
    end_upgrades(sim);
    sim_network_heal(sim);
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        replica->clock_offset_ms = 0;
        replica->slow_disk = replica->told_slow = replica->space_low = replica->disk.full = false;
        sim_database_heal(sim, replica->database);
        if (!replica->alive && !replica->absent) {
            sim_replica_start(sim, replica);
        }
    }
}
