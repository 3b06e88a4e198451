// Random clusters from a seed: loss, reordering, duplication, partitions, crashes that lose what is not on disk, membership changes,
// snapshots; Raft's invariants are checked after every step, progress after everything is healed.
// usage: test_raft_random [FIRST-LAST [STEPS [STORM_PERCENT]]]    A build with a planted bug (-DCAUCUS_MUTANT=n) passes when some seed finds it.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mutant.h"
#include "scenario/raft_cluster.h"

enum {
    ELECTION_US = 100000,
    HEARTBEAT_US = 30000,
    TIME_STEP_US = 10000,
    PACKETS_MAX = 200,
    STEPS_DEFAULT = 4000,
    CAUGHT = 3,
    SEEDS_PER_CHILD = 50,
};

// What goes wrong in this seed, per million steps. Each is off in half of the seeds.
struct knobs {
    uint32_t drop, duplicate, reorder, crash, restart, cut, one_way, heal, transfer, reset, compact, member, ineligible,
        pause;
    uint32_t cut_new_leader; // not per step, but for each new leader
    uint32_t sync, tick, propose, read;
    bool large_payloads; // one entry per append
};

struct world {
    struct cluster cluster;
    struct cc_prng prng;
    struct knobs knobs;
    bool paused[CLUSTER_SERVERS_MAX];
    uint64_t seen_term; // of the newest leader
    unsigned steps_to_cut;
    struct cc_blob *large;
};

static uint32_t pick_knob(struct cc_prng *prng, uint32_t max)
{
    return cc_prng_chance(prng, 500000) ? 0 : (uint32_t)cc_prng_between(prng, max / 20 + 1, max);
}

static void draw_knobs(struct world *world)
{
    struct cc_prng *prng = &world->prng;
    struct knobs *knobs = &world->knobs;
    *knobs = (struct knobs){0};
    knobs->drop = pick_knob(prng, 60000);
    knobs->duplicate = pick_knob(prng, 50000);
    knobs->reorder = pick_knob(prng, 1000000);
    knobs->crash = pick_knob(prng, 10000);
    knobs->restart = (uint32_t)cc_prng_between(prng, 1000, 30000);
    knobs->cut = pick_knob(prng, 10000);
    knobs->one_way = pick_knob(prng, 10000);
    knobs->heal = (uint32_t)cc_prng_between(prng, 1000, 20000);
    knobs->transfer = pick_knob(prng, 5000);
    knobs->reset = pick_knob(prng, 10000);
    knobs->compact = pick_knob(prng, 10000);
    knobs->member = pick_knob(prng, 10000);
    knobs->ineligible = pick_knob(prng, 3000);
    knobs->pause = pick_knob(prng, 5000);
    knobs->sync = (uint32_t)cc_prng_between(prng, 50000, 500000);
    knobs->tick = (uint32_t)cc_prng_between(prng, 50000, 400000);
    knobs->propose = (uint32_t)cc_prng_between(prng, 10000, 100000);
    knobs->read = pick_knob(prng, 100000);
    knobs->large_payloads = cc_prng_chance(prng, 300000);
}

// Leaders that come and go before their entries have got far: what thesis figure 3.7 needs.
static void draw_storm(struct world *world)
{
    struct cc_prng *prng = &world->prng;
    struct knobs *knobs = &world->knobs;
    *knobs = (struct knobs){0};
    knobs->drop = (uint32_t)cc_prng_between(prng, 20000, 150000);
    knobs->reorder = pick_knob(prng, 200000);
    knobs->crash = (uint32_t)cc_prng_between(prng, 2000, 20000);
    knobs->restart = (uint32_t)cc_prng_between(prng, 10000, 60000);
    knobs->cut = pick_knob(prng, 5000);
    knobs->heal = (uint32_t)cc_prng_between(prng, 10000, 60000);
    knobs->cut_new_leader = (uint32_t)cc_prng_between(prng, 700000, 1000000);
    knobs->sync = (uint32_t)cc_prng_between(prng, 200000, 800000);
    knobs->tick = (uint32_t)cc_prng_between(prng, 200000, 800000);
    knobs->propose = (uint32_t)cc_prng_between(prng, 10000, 50000);
    knobs->read = pick_knob(prng, 100000);
    knobs->large_payloads = cc_prng_chance(prng, 700000);
}

static uint32_t any_server(struct world *world)
{
    return (uint32_t)cc_prng_between(&world->prng, 1, world->cluster.n_servers);
}

static bool chance(struct world *world, uint32_t per_million)
{
    return cc_prng_chance(&world->prng, per_million);
}

static void step_network(struct world *world)
{
    struct cluster *cluster = &world->cluster;
    if (cluster->n_packets == 0) {
        return;
    }
    size_t n = cluster->n_packets;
    bool any = chance(world, world->knobs.reorder) || n > PACKETS_MAX;
    size_t packet = any ? (size_t)cc_prng_below(&world->prng, n) : 0;
    uint32_t to = cluster->packets[packet].message.to;
    if (n > PACKETS_MAX || chance(world, world->knobs.drop)) {
        cluster_drop(cluster, packet);
        return;
    }
    if (chance(world, world->knobs.duplicate)) {
        cluster_duplicate(cluster, packet);
    }
    if (!world->paused[to - 1]) {
        cluster_deliver(cluster, packet);
    }
}

static void step_time(struct world *world)
{
    struct cluster *cluster = &world->cluster;
    cluster->now_us += cc_prng_between(&world->prng, 0, TIME_STEP_US);
    for (uint32_t id = 1; id <= cluster->n_servers; id++) {
        struct raft *raft = cluster_raft(cluster, id);
        if (raft != NULL && !world->paused[id - 1] && raft_next_tick_us(raft) <= cluster->now_us) {
            cluster_tick(cluster, id);
        }
    }
}

static uint32_t likely_leader(struct world *world)
{
    uint32_t leader = cluster_leader(&world->cluster);
    return leader != 0 && chance(world, 800000) ? leader : any_server(world);
}

static void step_propose(struct world *world)
{
    char text[32];
    uint64_t index = 0;
    uint32_t id = likely_leader(world);
    if (world->knobs.large_payloads) {
        (void)!cluster_propose_blob(&world->cluster, id, RAFT_ENTRY_DATA, world->large, &index);
        return;
    }
    unsigned n = (unsigned)cc_prng_between(&world->prng, 1, 3);
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(text, sizeof(text), "%" PRIx64, cc_prng_next(&world->prng));
        (void)!cluster_propose(&world->cluster, id, text, &index);
    }
}

static void step_crash(struct world *world)
{
    struct cluster *cluster = &world->cluster;
    if (chance(world, world->knobs.restart)) {
        uint32_t id = any_server(world);
        world->paused[id - 1] = false;
        cluster_restart(cluster, id, cc_prng_next(&world->prng));
    }
    if (!chance(world, world->knobs.crash)) {
        return;
    }
    bool all = chance(world, 50000);
    uint32_t chosen = likely_leader(world);
    for (uint32_t id = 1; id <= cluster->n_servers; id++) {
        if (!all && id != chosen) {
            continue;
        }
        struct cluster_server *server = cluster_server(cluster, id);
        if (server->raft != NULL && server->commit > server->commit_durable) { // what PostgreSQL had flushed
            server->commit_durable = cc_prng_between(&world->prng, server->commit_durable, server->commit);
        }
        cluster_crash(cluster, id);
    }
}

// At once, so that its first entry is on its own disk only, or at a later stage of what a new leader does.
static unsigned draw_steps_to_cut(struct world *world)
{
    if (!chance(world, world->knobs.cut_new_leader)) {
        return 0;
    }
    return (unsigned)(chance(world, 500000) ? cc_prng_between(&world->prng, 1, 3)
                                            : cc_prng_between(&world->prng, 10, 60));
}

static void cut_new_leader(struct world *world)
{
    uint32_t leader = cluster_leader(&world->cluster);
    uint64_t term = leader != 0 ? raft_term(cluster_raft(&world->cluster, leader)) : 0;
    if (term > world->seen_term) {
        world->seen_term = term;
        world->steps_to_cut = draw_steps_to_cut(world);
    }
    if (world->steps_to_cut > 0 && --world->steps_to_cut == 0 && leader != 0) {
        cluster_heal(&world->cluster);
        cluster_isolate(&world->cluster, leader);
    }
}

static void step_partition(struct world *world)
{
    struct cluster *cluster = &world->cluster;
    cut_new_leader(world);
    if (chance(world, world->knobs.heal)) {
        cluster_heal(cluster);
    }
    if (chance(world, world->knobs.cut)) {
        uint32_t id = likely_leader(world);
        cluster_isolate(cluster, id);
        if (chance(world, 500000)) { // two on that side
            uint32_t other = any_server(world);
            cluster_isolate(cluster, other);
            cluster->cut[id - 1][other - 1] = false;
            cluster->cut[other - 1][id - 1] = false;
        }
    }
    if (chance(world, world->knobs.one_way)) {
        uint32_t from = any_server(world);
        cluster->cut[from - 1][any_server(world) - 1] = true;
    }
    if (chance(world, world->knobs.reset)) {
        uint32_t from = any_server(world);
        uint32_t to = any_server(world);
        if (from != to) {
            cluster_reset_path(cluster, from, to);
        }
    }
    if (chance(world, world->knobs.pause)) {
        uint32_t id = likely_leader(world);
        world->paused[id - 1] = !world->paused[id - 1];
    }
}

// A random change of one member, valid or not: the leader judges.
static void step_membership(struct world *world)
{
    struct cluster *cluster = &world->cluster;
    uint32_t leader = cluster_leader(cluster);
    if (leader == 0 || !chance(world, world->knobs.member)) {
        return;
    }
    struct raft_membership next = *raft_membership(cluster_raft(cluster, leader));
    uint32_t id = any_server(world);
    uint32_t at = 0;
    while (at < next.n_members && next.members[at].id != id) {
        at++;
    }
    if (at == next.n_members) {
        next.members[next.n_members++] = (struct raft_member){.id = id, .voter = chance(world, 100000)};
    } else if (!next.members[at].voter || chance(world, 300000)) {
        next.members[at].voter = !next.members[at].voter;
    } else {
        next.members[at] = next.members[--next.n_members];
    }
    (void)!cluster_propose_membership(cluster, leader, &next);
}

static void install_wanted(struct world *world)
{
    struct cluster *cluster = &world->cluster;
    for (uint32_t id = 1; id <= cluster->n_servers; id++) {
        struct raft *raft = cluster_raft(cluster, id);
        uint64_t wanted = raft != NULL ? raft_snapshot_wanted(raft) : 0;
        if (wanted > 0) {
            cluster_install(cluster, id, cc_prng_between(&world->prng, wanted, cluster->n_committed));
        }
    }
}

static void step_rare(struct world *world)
{
    struct cluster *cluster = &world->cluster;
    uint32_t id = any_server(world);
    struct cluster_server *server = cluster_server(cluster, id);
    if (chance(world, world->knobs.transfer)) {
        uint32_t leader = likely_leader(world);
        (void)!cluster_transfer(cluster, leader, (uint32_t)cc_prng_between(&world->prng, 0, cluster->n_servers));
    }
    if (chance(world, world->knobs.compact) && server->raft != NULL) {
        raft_release(server->raft, server->commit);
        cluster_compact(cluster, id, cc_prng_between(&world->prng, 0, server->commit));
    }
    if (chance(world, world->knobs.ineligible) && server->raft != NULL) {
        raft_set_eligible(server->raft, cluster->now_us, chance(world, 700000));
        cluster_pump(cluster, id);
    }
    if (chance(world, 10000)) {
        install_wanted(world);
    }
    step_membership(world);
}

static void step(struct world *world)
{
    step_network(world);
    if (chance(world, world->knobs.sync)) {
        (void)cluster_sync(&world->cluster, any_server(world));
    }
    if (chance(world, world->knobs.tick)) {
        step_time(world);
    }
    if (chance(world, world->knobs.propose)) {
        step_propose(world);
    }
    if (chance(world, world->knobs.read)) {
        uint32_t id = any_server(world);
        cluster_read(&world->cluster, id, (unsigned)cc_prng_between(&world->prng, 1, 3));
    }
    step_crash(world);
    step_partition(world);
    step_rare(world);
}

// Every member has applied what the leader has.
static bool has_converged(struct world *world)
{
    struct cluster *cluster = &world->cluster;
    uint32_t leader = cluster_leader(cluster);
    if (leader == 0 || !raft_is_settled(cluster_raft(cluster, leader))) {
        return false;
    }
    uint64_t last = raft_last_index(cluster_raft(cluster, leader));
    const struct raft_membership *membership = raft_membership(cluster_raft(cluster, leader));
    for (uint32_t i = 0; i < membership->n_members; i++) {
        if (raft_commit(cluster_raft(cluster, membership->members[i].id)) != last) {
            return false;
        }
    }
    return true;
}

// L1: after everything is healed there is a leader within 10 election timeouts, and everybody catches up.
static void check_progress(struct world *world)
{
    struct cluster *cluster = &world->cluster;
    cluster_heal(cluster);
    for (uint32_t id = 1; id <= cluster->n_servers; id++) {
        cluster_restart(cluster, id, cc_prng_next(&world->prng));
        raft_set_eligible(cluster_raft(cluster, id), cluster->now_us, true);
        cluster_pump(cluster, id);
    }
    cluster_settle(cluster);
    bool settled = false;
    for (unsigned i = 0; i < 100 && !settled; i++) {
        settled = cluster_run_until_settled(cluster, ELECTION_US / 10);
        install_wanted(world);
    }
    if (!settled && cluster->violation[0] == '\0') {
        (void)snprintf(cluster->violation, sizeof(cluster->violation), "L1 no leader in 10 election timeouts");
    }
    for (unsigned i = 0; i < 200 && cluster->violation[0] == '\0' && !has_converged(world); i++) {
        cluster_run(cluster, ELECTION_US / 10);
        install_wanted(world);
    }
    if (cluster->violation[0] == '\0' && !has_converged(world)) {
        (void)snprintf(cluster->violation, sizeof(cluster->violation), "L1 the members do not catch up");
    }
}

struct totals {
    uint64_t n_committed, n_leaders, n_reads_answered, n_reads_failed;
};

static uint32_t storm_percent = 50; // of the seeds

static bool run_seed(uint64_t seed, unsigned n_steps, struct cc_buffer *trace, struct totals *totals)
{
    struct world *world = calloc(1, sizeof(*world));
    cc_prng_seed(&world->prng, seed);
    bool storm = chance(world, storm_percent * 10000);
    if (storm) {
        draw_storm(world);
    } else {
        draw_knobs(world);
    }
    uint8_t *payload = calloc(1, 600 << 10);
    world->large = cc_blob_create(payload, 600 << 10);
    free(payload);
    struct cluster_options options = {.election_us = ELECTION_US, .heartbeat_us = HEARTBEAT_US};
    options.n_voters = (uint32_t)cc_prng_between(&world->prng, 1, 5);
    options.n_learners = (uint32_t)cc_prng_below(&world->prng, 2);
    options.n_outside = (uint32_t)cc_prng_below(&world->prng, 2);
    options.seed = cc_prng_next(&world->prng);
    options.notice_us = options.seed % 2 == 0 ? HEARTBEAT_US / 20 : 0;
    if (storm || chance(world, 500000)) {
        options.n_voters = chance(world, 700000) ? 3 : 5;
    }
    struct cluster *cluster = &world->cluster;
    cluster_start(cluster, &options);
    cluster->check_durability = cc_mutant_chosen == 0; // a mutant must be found by its consequences
    cluster->trace = trace;
    for (unsigned i = 0; i < n_steps && cluster->violation[0] == '\0'; i++) {
        step(world);
    }
    if (cluster->violation[0] == '\0') {
        check_progress(world);
    }
    bool sound = cluster->violation[0] == '\0';
    if (!sound) {
        printf("seed %" PRIu64 ": %s\n", seed, cluster->violation);
    }
    totals->n_committed += cluster->n_committed;
    totals->n_reads_answered += cluster->n_reads_answered;
    totals->n_reads_failed += cluster->n_reads_failed;
    for (unsigned term = 0; term < CLUSTER_TERMS_MAX; term++) {
        totals->n_leaders += cluster->leaders[term] != 0 ? 1 : 0;
    }
    cluster_finish(cluster);
    cc_blob_unref(world->large);
    free(world);
    return sound;
}

static void print_tail(struct cc_buffer *trace)
{
    const char *text = cc_buffer_text(trace);
    size_t at = trace->n > 20000 ? trace->n - 20000 : 0;
    printf("%s", text + at);
}

static int run_sound_build(uint64_t first, uint64_t last, unsigned n_steps)
{
    struct totals totals = {0};
    for (uint64_t seed = first; seed <= last; seed++) {
        if (run_seed(seed, n_steps, NULL, &totals)) {
            continue;
        }
        struct cc_buffer trace = {0};
        (void)run_seed(seed, n_steps, &trace, &totals);
        print_tail(&trace);
        cc_buffer_finish(&trace);
        return 1;
    }
    printf("%" PRIu64 " seeds: %" PRIu64 " entries committed, %" PRIu64 " leaders, %" PRIu64 " reads answered, %" PRIu64
           " failed\n",
           last - first + 1, totals.n_committed, totals.n_leaders, totals.n_reads_answered, totals.n_reads_failed);
    // A run in which nothing happened proves nothing.
    uint64_t n = last - first + 1;
    return totals.n_committed > 20 * n && totals.n_leaders > n && totals.n_reads_answered > n ? 0 : 2;
}

// Up to SEEDS_PER_CHILD seeds in a process of their own: an assertion in the core counts as caught, too.
static int run_seeds_in_child(uint64_t first, uint64_t last, unsigned n_steps)
{
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct totals totals = {0};
        bool sound = true;
        for (uint64_t seed = first; seed <= last && sound; seed++) {
            sound = run_seed(seed, n_steps, NULL, &totals);
        }
        (void)fflush(stdout);
        _exit(sound ? 0 : CAUGHT);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return 2;
    }
    if (WIFSIGNALED(status)) {
        return WTERMSIG(status) == SIGABRT ? CAUGHT : 2;
    }
    return WEXITSTATUS(status);
}

static int run_mutant(uint64_t first, uint64_t last, unsigned n_steps)
{
    for (uint64_t seed = first; seed <= last; seed += SEEDS_PER_CHILD) {
        uint64_t end = seed + SEEDS_PER_CHILD - 1 < last ? seed + SEEDS_PER_CHILD - 1 : last;
        int result = run_seeds_in_child(seed, end, n_steps);
        if (result == CAUGHT) {
            printf("mutant %d is caught in the seeds %" PRIu64 "-%" PRIu64 "\n", (int)cc_mutant_chosen, seed, end);
            return 0;
        }
        if (result != 0) {
            return 2;
        }
    }
    printf("mutant %d is not caught\n", (int)cc_mutant_chosen);
    return 1;
}

int main(int argc, char **argv)
{
    uint64_t first = 1;
    uint64_t last = 300;
    unsigned n_steps = STEPS_DEFAULT;
    if (argc > 1 && sscanf(argv[1], "%" SCNu64 "-%" SCNu64, &first, &last) < 2) {
        last = first;
    }
    if (argc > 2) {
        n_steps = (unsigned)strtoul(argv[2], NULL, 10);
    }
    if (argc > 3) {
        storm_percent = (uint32_t)strtoul(argv[3], NULL, 10);
    }
    return cc_mutant_chosen == 0 ? run_sound_build(first, last, n_steps) : run_mutant(first, last, n_steps);
}
