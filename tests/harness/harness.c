// The cluster under a test's hand: time, life, faults, looks inside.
#include "harness/harness_internal.h"

#include "base/memory.h"
#include "consensus/raft_internal.h"
#include "sim/sim_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MS = 1000,
    S = 1000 * MS,
    ELECTION_MS = 1000,
    HEARTBEAT_MS = 100,
    TIMEOUT_MS = 5000,
    LEADER_US = 30 * S,
    SETTLE_US = 60 * S,
    LOOK_US = 20 * MS,
    FRAME_HEAD_BYTES = 18, // node_peer.c
    FRAME_RAFT = 2,
};

// -- Hooks of the simulator -----------------------------------------------------------------------------------------

static uint64_t on_draw(void *context, uint64_t low, uint64_t high)
{
    const struct harness *harness = context;
    uint64_t drawn = harness->options.draw(harness->options.draw_context, low, high);
    assert(drawn >= low && drawn <= high);
    return drawn;
}

static bool on_stage(void *context, uint32_t replica, enum sim_stage stage, enum sim_moment moment,
                     const struct node_effects *effects)
{
    struct harness *harness = context;
    if (harness->hooks.stage == NULL) {
        return true;
    }
    harness->fates[replica] = harness->hooks.stage(harness->hooks.context, harness, replica, stage, moment, effects);
    return harness->fates[replica] == HARNESS_GO_ON;
}

static void on_applied(void *context, uint32_t replica, uint64_t index)
{
    struct harness *harness = context;
    if (harness->hooks.applied != NULL) {
        harness->hooks.applied(harness->hooks.context, harness, replica, index);
    }
}

static void tell_roles(struct harness *harness)
{
    for (uint32_t id = 1; id <= harness->sim.n_replicas; id++) {
        const struct node *node = harness_node(harness, id);
        if (node == NULL) {
            continue;
        }
        const struct raft *raft = node_raft(node);
        struct harness_seen now = {raft_role(raft), raft_term(raft), raft_leader(raft)};
        struct harness_seen *seen = &harness->seen[id];
        if (now.role != seen->role || now.term != seen->term || now.leader != seen->leader) {
            *seen = now;
            if (harness->hooks.role != NULL) {
                harness->hooks.role(harness->hooks.context, harness, id, now.role, now.term, now.leader);
            }
        }
    }
}

// -- Life -----------------------------------------------------------------------------------------------------------

static struct sim_knobs knobs_of(const struct harness_options *options)
{
    return (struct sim_knobs){
        .n_replicas = options->n_replicas,
        .election_us = options->election_ms * UINT64_C(1000),
        .heartbeat_us = options->heartbeat_ms * UINT64_C(1000),
        .batch_operations_max = 1000,
        .stream = 1,
        .delay_us = 1 * MS,
        .sync_us = 1 * MS,
        .segment_bytes = options->log_bytes > 0 ? 8 << 10 : 256 << 10, // the log is cut by segments
        .log_bytes = options->log_bytes,
        .job_us = 300,
        .flush_us = 200 * MS,
        .garbage_us = options->garbage_ms * UINT64_C(1000),
        .drops_history = options->garbage_ms > 0,
        .ranked = options->ranked,
    };
}

struct harness *harness_create(const struct harness_options *options)
{
    struct harness *harness = cc_alloc(sizeof(*harness));
    struct harness_options *kept = &harness->options;
    *kept = *options;
    kept->n_replicas = options->n_replicas == 0 ? 3 : options->n_replicas;
    kept->election_ms = options->election_ms == 0 ? ELECTION_MS : options->election_ms;
    kept->heartbeat_ms = options->heartbeat_ms == 0 ? HEARTBEAT_MS : options->heartbeat_ms;
    kept->timeout_ms = options->timeout_ms == 0 ? TIMEOUT_MS : options->timeout_ms;
    assert(kept->n_replicas <= SIM_REPLICAS_MAX);
    harness->hooks = options->hooks;
    faults_init(&harness->faults, options->seed);
    harness->sim = (struct sim){
        .seed = options->seed,
        .is_told = true,
        .knobs = knobs_of(kept),
        .hooks = {.context = harness,
                  .draw = options->draw == NULL ? NULL : on_draw,
                  .stage = on_stage,
                  .applied = on_applied,
                  .faults = &harness->faults},
    };
    cc_prng_seed(&harness->sim.prng, options->seed);
    sim_open(&harness->sim);
    return harness;
}

void harness_destroy(struct harness *harness)
{
    if (harness != NULL) {
        sim_close(&harness->sim);
        free(harness);
    }
}

void harness_set_hooks(struct harness *harness, const struct harness_hooks *hooks)
{
    harness->hooks = *hooks;
}

static struct sim_replica *replica_of(struct harness *harness, uint32_t id)
{
    return sim_replica_of(&harness->sim, id);
}

void harness_stop(struct harness *harness, uint32_t id, enum harness_fate fate)
{
    struct sim_replica *replica = replica_of(harness, id);
    if (!replica->alive || fate == HARNESS_GO_ON) {
        return;
    }
    replica->doomed = true; // at a point of our choice, not somewhere in a write
    harness->seen[id] = (struct harness_seen){0};
    sim_replica_crash(&harness->sim, replica, SIM_KILLED);
    if (fate == HARNESS_CUT_POWER) {
        sim_disk_crash(&replica->disk, SIM_CRASH_LOSE_ALL, NULL);
        sim_database_crash(&harness->sim, replica->database);
    }
}

void harness_wipe(struct harness *harness, uint32_t id)
{
    struct sim_replica *replica = replica_of(harness, id);
    if (!replica->alive) {
        sim_amnesia_wipe(&harness->sim, replica);
    }
}

static void bury_the_doomed(struct harness *harness)
{
    for (uint32_t id = 1; id <= harness->sim.n_replicas; id++) {
        if (replica_of(harness, id)->doomed) {
            harness_stop(harness, id, harness->fates[id]);
        }
    }
}

void harness_start(struct harness *harness, uint32_t id)
{
    struct sim_replica *replica = replica_of(harness, id);
    if (!replica->alive) {
        sim_replica_start(&harness->sim, replica);
        bury_the_doomed(harness);
        tell_roles(harness);
    }
}

void harness_crash_database(struct harness *harness, uint32_t id)
{
    sim_database_crash(&harness->sim, replica_of(harness, id)->database);
}

void harness_copy_database(struct harness *harness, uint32_t id)
{
    sim_copy_take(&harness->sim, replica_of(harness, id));
}

void harness_restore_database(struct harness *harness, uint32_t id)
{
    harness_stop(harness, id, HARNESS_KILL);
    sim_copy_restore_database(&harness->sim, replica_of(harness, id));
}

bool harness_compare(struct harness *harness, uint32_t id)
{
    struct sim_replica *replica = replica_of(harness, id);
    bool begun = node_repair(replica->node, sim_replica_time(&harness->sim, replica));
    sim_replica_settle(&harness->sim, replica);
    return begun;
}

bool harness_is_paused(struct harness *harness, uint32_t id)
{
    return replica_of(harness, id)->paused_until_us > harness->sim.now_us;
}

void harness_pause(struct harness *harness, uint32_t id)
{
    sim_pause_until(&harness->sim, replica_of(harness, id), SIM_FOR_EVER);
}

void harness_resume(struct harness *harness, uint32_t id)
{
    sim_pause_until(&harness->sim, replica_of(harness, id), 0);
}

// -- Time -----------------------------------------------------------------------------------------------------------

uint64_t harness_now_us(const struct harness *harness)
{
    return harness->sim.now_us;
}

static bool step_until(struct harness *harness, uint64_t until_us)
{
    bool stepped = sim_step(&harness->sim, until_us);
    bury_the_doomed(harness);
    tell_roles(harness);
    return stepped;
}

bool harness_step(struct harness *harness)
{
    return step_until(harness, harness->sim.now_us + 1 * S);
}

bool harness_step_replica(struct harness *harness, uint32_t id)
{
    struct sim *sim = &harness->sim;
    const struct sim_replica *replica = replica_of(harness, id);
    uint64_t at_us = sim_next_event_us(sim, replica);
    if (!replica->alive || at_us == UINT64_MAX || replica->paused_until_us > at_us) {
        return false;
    }
    for (uint32_t other = 1; other <= sim->n_replicas; other++) {
        if (other != id && replica_of(harness, other)->paused_until_us <= at_us) {
            sim_pause_until(sim, replica_of(harness, other), at_us + 1); // also if it stands still for the step before
        }
    }
    uint64_t life = replica->life;
    bool goes_on = true;
    while (goes_on && replica->life == life && sim_next_event_us(sim, replica) == at_us) {
        goes_on = step_until(harness, at_us);
    }
    return true;
}

void harness_run_ms(struct harness *harness, uint64_t ms)
{
    uint64_t until_us = harness->sim.now_us + ms * MS;
    while (step_until(harness, until_us)) {
    }
}

bool harness_run_until(struct harness *harness, bool (*holds)(void *context, struct harness *harness), void *context,
                       uint64_t ms)
{
    uint64_t until_us = harness->sim.now_us + ms * MS;
    bool more = true;
    while (!holds(context, harness)) {
        if (!more) {
            return false;
        }
        more = step_until(harness, until_us);
    }
    return true;
}

void harness_set_clock(struct harness *harness, uint32_t replica, int64_t ms)
{
    replica_of(harness, replica)->clock_offset_ms = ms;
}

bool harness_time_out(struct harness *harness, uint32_t id)
{
    struct sim_replica *replica = replica_of(harness, id);
    if (!replica->alive || raft_role(node_raft(replica->node)) == RAFT_LEADER) {
        return false;
    }
    uint64_t deadline_us = node_raft(replica->node)->election_deadline_us;
    uint64_t local_us = sim_replica_time(&harness->sim, replica).now_us;
    replica->ahead_us += deadline_us > local_us ? deadline_us - local_us : 0;
    node_tick(replica->node, sim_replica_time(&harness->sim, replica));
    sim_replica_settle(&harness->sim, replica);
    bury_the_doomed(harness);
    tell_roles(harness);
    return true;
}

// -- Looks inside ---------------------------------------------------------------------------------------------------

uint32_t harness_size(const struct harness *harness)
{
    return harness->sim.n_replicas;
}

struct node *harness_node(struct harness *harness, uint32_t id)
{
    struct sim_replica *replica = replica_of(harness, id);
    return replica->alive ? replica->node : NULL;
}

const struct wal_state *harness_disk(struct harness *harness, uint32_t id)
{
    struct sim_replica *replica = replica_of(harness, id);
    return replica->alive ? wal_state_of(replica->wal) : NULL;
}

uint32_t harness_leader(struct harness *harness)
{
    uint32_t leader = 0;
    uint64_t term = 0;
    for (uint32_t id = 1; id <= harness->sim.n_replicas; id++) {
        const struct node *node = harness_node(harness, id);
        if (node != NULL && raft_role(node_raft(node)) == RAFT_LEADER && raft_term(node_raft(node)) > term) {
            leader = id;
            term = raft_term(node_raft(node));
        }
    }
    return leader;
}

static bool all_follow(void *context, struct harness *harness)
{
    (void)context;
    uint32_t leader = harness_leader(harness);
    for (uint32_t id = 1; id <= harness->sim.n_replicas && leader != 0; id++) {
        const struct node *node = harness_node(harness, id);
        leader = node != NULL && raft_leader(node_raft(node)) != leader ? 0 : leader;
    }
    return leader != 0;
}

uint32_t harness_wait_for_leader(struct harness *harness)
{
    bool found = harness_run_until(harness, all_follow, NULL, LEADER_US / MS);
    SIM_CHECK(&harness->sim, "L1", found, "no leader whom everybody follows");
    return harness_leader(harness);
}

bool harness_look(struct harness *harness, uint32_t id, const char *key, struct cc_buffer *out)
{
    char name[64];
    snprintf(name, sizeof(name), "s/row/%s", key);
    const struct sim_rows *rows = sim_database_rows(replica_of(harness, id)->database);
    const struct cc_blob *value = sim_store_get_committed(rows->store, name);
    cc_buffer_append_slice(out, cc_blob_slice(value));
    return value != NULL;
}

bool harness_look_weak(struct harness *harness, uint32_t id, const char *key, struct cc_buffer *out)
{
    return sim_rows_show_weak(&harness->sim, sim_database_rows(replica_of(harness, id)->database), key, out);
}

static bool is_settled(struct harness *harness, struct cc_buffer *why_not)
{
    if (!sim_clients_are_idle(&harness->sim)) {
        cc_buffer_append_text(why_not, "a request waits");
        return false;
    }
    return sim_check_converged(&harness->sim, why_not);
}

bool harness_settle(struct harness *harness, struct cc_buffer *why_not_out)
{
    uint64_t deadline_us = harness->sim.now_us + SETTLE_US;
    struct cc_buffer why_not = {0};
    bool settled = false;
    while (!(settled = is_settled(harness, &why_not)) && harness->sim.now_us < deadline_us) {
        harness_run_ms(harness, LOOK_US / MS);
        cc_buffer_clear(&why_not);
    }
    if (!settled && why_not_out != NULL) {
        cc_buffer_append_slice(why_not_out, cc_buffer_slice(&why_not));
    }
    cc_buffer_finish(&why_not);
    return settled;
}

static void count_one(void *context, const char *key)
{
    uint64_t *n = context;
    (void)key;
    (*n)++;
}

void harness_count_garbage(struct harness *harness, uint32_t id, uint64_t *n_tombstones_out, uint64_t *n_sets_out)
{
    const struct sim_store *store = sim_database_rows(replica_of(harness, id)->database)->store;
    *n_tombstones_out = *n_sets_out = 0;
    sim_store_scan(store, "t/", count_one, n_tombstones_out);
    sim_store_scan(store, "h/", count_one, n_sets_out);
}

uint64_t harness_check_renewals(struct harness *harness)
{
    struct crdt_frontier held;
    sim_database_frontier(replica_of(harness, 1)->database, &held);
    sim_weak_check_renewals(&harness->sim, &held);
    return harness->sim.counters.put_aside;
}

bool harness_wait(struct harness *harness, uint64_t request)
{
    uint64_t until_us = harness->sim.now_us + (harness->options.timeout_ms + ELECTION_MS) * UINT64_C(1000);
    while (harness_answer(harness, request)->kind == HARNESS_WAITS && step_until(harness, until_us)) {
    }
    return harness_answer(harness, request)->kind == HARNESS_DONE;
}

enum cc_status harness_change_members(struct harness *harness, enum node_member_action action, uint32_t id)
{
    uint32_t leader_id = harness_leader(harness);
    if (leader_id == 0) {
        return CC_NOT_LEADER;
    }
    struct sim_replica *leader = replica_of(harness, leader_id);
    struct node_member_change change = {.action = action, .member = {.id = id}};
    uint64_t index;
    const char *why;
    enum cc_status status = node_member_change(leader->node, sim_replica_time(&harness->sim, leader), &change, &index, &why);
    sim_replica_settle(&harness->sim, leader);
    bury_the_doomed(harness);
    tell_roles(harness);
    return status;
}

// -- Messages -------------------------------------------------------------------------------------------------------

const struct faults *harness_faults(const struct harness *harness)
{
    return &harness->faults;
}

uint32_t harness_add_fault(struct harness *harness, const struct faults_rule *rule)
{
    uint32_t id = 0;
    return faults_add(&harness->faults, rule, &id) == CC_OK ? id : 0;
}

bool harness_remove_fault(struct harness *harness, uint32_t id)
{
    return faults_remove(&harness->faults, id) == CC_OK;
}

void harness_heal(struct harness *harness)
{
    uint32_t from, to;
    faults_clear(&harness->faults);
    while (faults_take_lost(&harness->faults, &from, &to)) {
        sim_network_reset(&harness->sim, from, to);
    }
}

bool harness_raft_message(struct cc_slice frame, struct raft_message *message_out)
{
    if (frame.n < FRAME_HEAD_BYTES || frame.data[1] != FRAME_RAFT) {
        return false;
    }
    return raft_message_read(cc_slice_of(frame.data + FRAME_HEAD_BYTES, frame.n - FRAME_HEAD_BYTES), message_out) ==
           CC_OK;
}
