// What a seed decides before anything happens. Each kind of fault is off in half of the seeds, so that the others are seen alone.
#include "sim/sim.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static bool coin(struct cc_prng *prng)
{
    return cc_prng_below(prng, 2) == 0;
}

// As often between 10 and 100 as between 100 and 1000.
static uint64_t scaled(struct cc_prng *prng, uint64_t low, uint64_t high)
{
    uint64_t top = low;
    while (top * 2 < high && cc_prng_below(prng, 4) != 0) {
        top *= 2;
    }
    uint64_t above = top * 2 < high ? top * 2 : high;
    return cc_prng_between(prng, top, above);
}

// 0 in half of the seeds.
static uint64_t maybe(struct cc_prng *prng, uint64_t low, uint64_t high)
{
    uint64_t value = scaled(prng, low, high);
    return coin(prng) ? value : 0;
}

enum { MS = 1000, S = 1000 * 1000 };

static void draw_network(struct sim_knobs *knobs, struct cc_prng *prng)
{
    knobs->stream = coin(prng);
    knobs->loss_ppm = maybe(prng, 1000, 100000);
    knobs->duplicate_ppm = maybe(prng, 1000, 200000);
    knobs->delay_us = scaled(prng, 50, 20 * MS);
    knobs->jitter_us = maybe(prng, 100, knobs->election_us);
    knobs->aim_percent = maybe(prng, 10, 90);
    knobs->cut_mean_us = maybe(prng, 100 * MS, 4 * S);
    knobs->cut_length_us = scaled(prng, 20 * MS, 3 * S);
    knobs->reset_mean_us = maybe(prng, 100 * MS, 4 * S);
}

static void draw_machines(struct sim_knobs *knobs, struct cc_prng *prng)
{
    knobs->crash_mean_us = maybe(prng, 150 * MS, 6 * S);
    knobs->crash_length_us = scaled(prng, 10 * MS, 3 * S);
    knobs->crash_machine = coin(prng);
    knobs->pause_mean_us = maybe(prng, 200 * MS, 4 * S);
    knobs->pause_length_us = scaled(prng, 10 * MS, 4 * knobs->election_us);
    knobs->sync_us = scaled(prng, 50, 20 * MS);
    knobs->sync_slow_ppm = maybe(prng, 1000, 20000);
    knobs->slow_disk = cc_prng_below(prng, 4) == 0 ? cc_prng_between(prng, 5, 50) : 0;
    knobs->space_mean_us = maybe(prng, 300 * MS, 4 * S);
    knobs->space_length_us = scaled(prng, 50 * MS, 2 * S);
    knobs->born_new = coin(prng);
    knobs->amnesia_mean_us = maybe(prng, 300 * MS, 3 * S);
    knobs->segment_bytes = cc_prng_between(prng, 8, 256) << 10;
    knobs->disk_fail_ppm = maybe(prng, 100, 3000);
    knobs->log_bytes = cc_prng_below(prng, 4) == 0 ? 1 : maybe(prng, 1, 128) << 10;
    if (knobs->log_bytes > 0) { // cut often
        knobs->segment_bytes = cc_prng_between(prng, 2, 8) << 10;
    }
    knobs->cache_bytes = maybe(prng, 1, 64) << 10;
    knobs->own_changes_bytes = maybe(prng, 128 << 10, 512 << 10);
    knobs->clock_offset_ms = maybe(prng, 1, 120);
    knobs->clock_jump_mean_us = maybe(prng, 300 * MS, 4 * S);
    knobs->clock_wild_ms = cc_prng_below(prng, 4) == 0 ? cc_prng_between(prng, 500, 3000) : 0;
}

static void draw_databases(struct sim_knobs *knobs, struct cc_prng *prng)
{
    knobs->database_crash_mean_us = maybe(prng, 300 * MS, 5 * S);
    knobs->lane_drop_mean_us = maybe(prng, 150 * MS, 4 * S);
    knobs->job_us = scaled(prng, 20, 5 * MS);
    knobs->job_slow_ppm = maybe(prng, 500, 10000);
    knobs->flush_us = cc_prng_between(prng, 1 * MS, 600 * MS);
}

static void draw_workload(struct sim_knobs *knobs, struct cc_prng *prng)
{
    knobs->batch_operations_max = coin(prng) ? cc_prng_between(prng, 1, 3) : 1000;
    knobs->n_clients = cc_prng_between(prng, 2, 10);
    knobs->n_keys = cc_prng_between(prng, 1, 6);
    knobs->think_us = scaled(prng, 500, 100 * MS);
    knobs->timeout_ms = scaled(prng, 200, 5000);
    knobs->durable_percent = maybe(prng, 5, 60);
    knobs->weak_percent = cc_prng_between(prng, 0, 60);
    knobs->read_percent = cc_prng_between(prng, 5, 50);
    knobs->session_percent = maybe(prng, 10, 90);
    knobs->keyed_percent = maybe(prng, 10, 90);
    knobs->fail_percent = maybe(prng, 1, 20);
    knobs->migrate_percent = maybe(prng, 1, 3);
    knobs->garbage_us = maybe(prng, 50 * MS, 1 * S);
}

// Leaders come and go while many write, so that logs differ: isolated, paused, killed for about as long as an election takes.
static void storm(struct sim_knobs *knobs, struct cc_prng *prng)
{
    knobs->aim_percent = 90;
    knobs->cut_mean_us = cc_prng_between(prng, 1, 3) * knobs->election_us;
    knobs->cut_length_us = cc_prng_between(prng, 1, 3) * knobs->election_us;
    knobs->pause_mean_us = maybe(prng, 2 * knobs->election_us, 8 * knobs->election_us);
    knobs->pause_length_us = cc_prng_between(prng, 1, 4) * knobs->election_us;
    knobs->crash_mean_us = maybe(prng, 2 * knobs->election_us, 8 * knobs->election_us);
    knobs->crash_length_us = knobs->election_us / 4;
    knobs->batch_operations_max = 1;
    knobs->n_clients = 10;
    knobs->think_us = 1 * MS;
    knobs->job_us = 100;
    knobs->job_slow_ppm = 0;
    knobs->delay_us = 300;
    knobs->sync_us = 200;
    knobs->slow_disk = 0;
}

// Everybody writes the same few weak rows, apart from each other most of the time, and garbage is collected as soon as it may be.
static void weak_storm(struct sim_knobs *knobs, struct cc_prng *prng)
{
    knobs->fault_us = cc_prng_between(prng, 5 * S, 10 * S);
    knobs->cut_mean_us = cc_prng_between(prng, 100 * MS, 600 * MS);
    knobs->cut_length_us = cc_prng_between(prng, 50 * MS, 1 * S);
    knobs->slow_disk = 0;
    knobs->flush_us = cc_prng_between(prng, 20 * MS, 600 * MS);
    knobs->garbage_us = cc_prng_between(prng, 10 * MS, 60 * MS);
    knobs->n_clients = 10;
    knobs->n_keys = cc_prng_between(prng, 1, 4);
    knobs->think_us = cc_prng_between(prng, 5 * MS, 50 * MS);
    knobs->weak_percent = 95;
    knobs->read_percent = 10;
    knobs->migrate_percent = 0;
}

// Members that write weak rows while they are cut off are removed, and come back with that when the others have forgotten what those
// who have it would have to be told: it must be written again.
static void exile(struct sim_knobs *knobs, struct cc_prng *prng)
{
    knobs->n_replicas = 5;
    knobs->n_founders = cc_prng_between(prng, 3, 5);
    knobs->fault_us = cc_prng_between(prng, 10 * S, 15 * S);
    knobs->member_mean_us = cc_prng_between(prng, 100 * MS, 500 * MS);
    knobs->kept_percent = 100;
    knobs->reload_percent = 0;
    knobs->away_us = cc_prng_between(prng, 1 * S, 4 * S);
    knobs->amnesia_mean_us = knobs->cut_mean_us = knobs->tamper_mean_us = 0;
    knobs->garbage_us = cc_prng_between(prng, 10 * MS, 60 * MS);
    knobs->think_us = cc_prng_between(prng, 5 * MS, 50 * MS);
    knobs->weak_percent = 90;
    knobs->read_percent = 10;
    knobs->migrate_percent = 0;
}

// Databases and disks are lost one soon after the other, with weak writes that nobody waited for.
static void losses(struct sim_knobs *knobs, struct cc_prng *prng)
{
    knobs->amnesia_mean_us = cc_prng_between(prng, 300 * MS, 600 * MS);
    knobs->repair_mean_us = 300 * MS;
    knobs->tamper_mean_us = knobs->member_mean_us = knobs->kept_percent = knobs->durable_percent = knobs->migrate_percent = 0;
    knobs->n_replicas = knobs->n_founders = 5;
    knobs->cut_mean_us = cc_prng_between(prng, 100 * MS, 600 * MS);
    knobs->fault_us = cc_prng_between(prng, 6 * S, 12 * S);
    knobs->think_us = cc_prng_between(prng, 2 * MS, 10 * MS);
    knobs->n_clients = 10;
    knobs->cut_length_us = cc_prng_between(prng, 2 * S, 5 * S); // longer than the log keeps what it may drop
    knobs->second_percent = 80;
    knobs->crash_length_us = cc_prng_between(prng, 500 * MS, 3 * S);
    knobs->log_bytes = 1;
    knobs->segment_bytes = cc_prng_between(prng, 2, 4) << 10;
    knobs->clock_wild_ms = 0;
    knobs->drops_history = 1;
    knobs->garbage_us = knobs->flush_us = 20 * MS;
    knobs->weak_percent = 95;
    knobs->read_percent = 5;
    knobs->n_keys = 2;
}

enum { FIXED_MAX = 32 };

static struct {
    size_t n;
    struct {
        size_t offset;
        uint64_t value;
    } at[FIXED_MAX];
} fixed;

bool sim_knobs_fix(const char *setting)
{
    static const struct {
        const char *name;
        size_t offset;
    } names[] = {
#define SIM_KNOB_NAME(name) {#name, offsetof(struct sim_knobs, name)},
        SIM_KNOBS(SIM_KNOB_NAME)
#undef SIM_KNOB_NAME
    };
    const char *equals = strchr(setting, '=');
    for (size_t i = 0; equals != NULL && fixed.n < FIXED_MAX && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(setting, names[i].name, (size_t)(equals - setting)) == 0 && names[i].name[equals - setting] == '\0') {
            fixed.at[fixed.n].offset = names[i].offset;
            fixed.at[fixed.n++].value = strtoull(equals + 1, NULL, 10);
            return true;
        }
    }
    return false;
}

static void draw(struct sim_knobs *knobs, struct cc_prng *prng)
{
    *knobs = (struct sim_knobs){0};
    knobs->n_replicas = coin(prng) ? 3 : 5;
    knobs->fault_us = cc_prng_between(prng, 3 * S, 10 * S);
    knobs->election_us = cc_prng_between(prng, 100 * MS, 400 * MS);
    knobs->n_founders = knobs->n_replicas;
    knobs->heartbeat_us = knobs->election_us / cc_prng_between(prng, 4, 10);
    draw_network(knobs, prng);
    draw_machines(knobs, prng);
    draw_databases(knobs, prng);
    draw_workload(knobs, prng);
    if (cc_prng_below(prng, 6) == 0) {
        storm(knobs, prng);
    }
    if (cc_prng_below(prng, 8) == 0) {
        weak_storm(knobs, prng);
    }
    knobs->notice_us = maybe(prng, 100, knobs->heartbeat_us);
    knobs->stranger_ppm = maybe(prng, 1000, 20000);
    knobs->full_percent = maybe(prng, 10, 90);
    knobs->slow_told = coin(prng);
    knobs->reload_percent = maybe(prng, 10, 90);
    if (cc_prng_below(prng, 4) == 0) { // mostly not together with amnesia, of which a cluster of few bears less then
        knobs->n_replicas = 5;
        knobs->n_founders = cc_prng_between(prng, 3, 5);
        knobs->member_mean_us = scaled(prng, 50 * MS, 1 * S);
        knobs->amnesia_mean_us = 0;
    }
    knobs->drops_history = coin(prng);
    knobs->repair_mean_us = cc_prng_below(prng, knobs->clock_wild_ms > 0 ? 2 : 4) == 0 ? scaled(prng, 100 * MS, 4 * S) : 0;
    if (cc_prng_below(prng, 10) == 0) { // not where the wrong row could be the only one that is left, nor the history be gone
        knobs->tamper_mean_us = scaled(prng, 500 * MS, 5 * S);
        knobs->repair_mean_us = coin(prng) ? 2 * S : 0;
        knobs->amnesia_mean_us = knobs->member_mean_us = knobs->log_bytes = knobs->drops_history = 0;
        knobs->n_founders = knobs->n_replicas;
    }
}

void sim_knobs_draw(struct sim_knobs *knobs, struct cc_prng *prng)
{
    struct cc_prng later = *prng; // what came to the simulator later draws apart from the rest: other seeds stay what they are
    later.state[0] ^= UINT64_C(0x9e3779b97f4a7c15);
    draw(knobs, prng);
    knobs->upgrade_mean_us = cc_prng_below(&later, 10) == 0 ? scaled(&later, 300 * MS, 4 * S) : 0;
    knobs->ranked = cc_prng_below(&later, 8) == 0;
    if (knobs->member_mean_us > 0 && cc_prng_below(&later, 3) == 0) {
        knobs->amnesia_mean_us = scaled(&later, 300 * MS, 3 * S);
    }
    if (knobs->member_mean_us > 0 && knobs->amnesia_mean_us == 0) { // one of both, that is enough to take
        knobs->kept_percent = maybe(&later, 20, 100);
    }
    knobs->session_bytes = maybe(&later, 40, 110);
    if (cc_prng_below(&later, 24) == 0) {
        losses(knobs, &later);
    } else if (cc_prng_below(&later, 40) == 0) {
        exile(knobs, &later);
    }
    for (size_t i = 0; i < fixed.n; i++) {
        memcpy((char *)knobs + fixed.at[i].offset, &fixed.at[i].value, sizeof(uint64_t));
    }
    if (knobs->amnesia_mean_us > 0) { // the wrong row could be the only one that is left
        knobs->tamper_mean_us = 0;
    }
}
