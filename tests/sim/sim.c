// Time, events, trace, and the run of one seed.
#include "sim/sim.h"

#include "base/memory.h"
#include "base/mutant.h"
#include "proxy/node/node_internal.h"
#include "sim/sim_states.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONVERGE_US = 60 * 1000 * 1000,  // after healing everything must be equal within this
    CONVERGE_LOOK_US = 20 * 1000,
    LEADER_ELECTIONS = 20,           // a leader within ten times the longest election timeout, which is twice the shortest
    RECONNECTED_US = 2500 * 1000,    // after healing the last broken connection is noticed and made anew within this
    HAND_OVER_US = 15 * 1000 * 1000, // thrice the time between two attempts
    RANK_US = 25 * 1000 * 1000,      // a leader that has tried in vain tries again after 15 s
    STEADY_US = 10 * 1000 * 1000,
    QUIET_US = 300 * 1000,           // after convergence was first seen
    TIMER_LATE_US_MAX = 5 * 1000,
};

// -- Chance ---------------------------------------------------------------------------------------------------------

uint64_t sim_draw(struct sim *sim, uint64_t low, uint64_t high)
{
    return sim->hooks.draw != NULL ? sim->hooks.draw(sim->hooks.context, low, high) : cc_prng_between(&sim->prng, low, high);
}

bool sim_chance(struct sim *sim, uint64_t per_million)
{
    return sim->hooks.draw != NULL ? sim_draw(sim, 0, 999999) < per_million : cc_prng_chance(&sim->prng, (uint32_t)per_million);
}

uint64_t sim_spread(struct sim *sim, uint64_t mean_us)
{
    // Mostly short, now and then four times the mean.
    uint64_t highest = sim_chance(sim, 250000) ? 4 * mean_us : mean_us;
    return sim_draw(sim, mean_us / 8, highest);
}

// -- Trace ----------------------------------------------------------------------------------------------------------

void sim_hash(struct sim *sim, uint64_t what)
{
    uint64_t hash = (sim->trace_hash ^ what) * UINT64_C(0x9e3779b97f4a7c15);
    sim->trace_hash = hash ^ hash >> 29;
}

void sim_trace_line(struct sim *sim, const char *format, ...)
{
    char *line = sim->trace[sim->n_trace % SIM_TRACE_LINES];
    int n = snprintf(line, SIM_TRACE_BYTES, "%9.3f ms #%" PRIu64 " ", (double)sim->now_us / 1000.0, sim->step);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + n, SIM_TRACE_BYTES - (size_t)n, format, arguments);
    va_end(arguments);
    sim->n_trace++;
    if (sim->print_trace) {
        printf("%s\n", line);
    }
}

const char *sim_ignored = NULL;

bool sim_is_ignored(const char *invariant)
{
    return sim_ignored != NULL && strcmp(invariant, sim_ignored) == 0;
}

void sim_fail(struct sim *sim, const char *invariant, const char *format, ...)
{
    if (sim->is_told) {
        sim_tell_end(sim);
    }
    printf("FAILED seed %" PRIu64 " step %" PRIu64 " time %.3f ms invariant %s: ", sim->seed, sim->step,
           (double)sim->now_us / 1000.0, invariant);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\nagain: sim%s --seed %" PRIu64 " --trace", (int)cc_mutant_chosen == 0 ? "" : "_mutants", sim->seed);
    if ((int)cc_mutant_chosen != 0) {
        printf(" --mutant %d", (int)cc_mutant_chosen);
    }
    printf("\n");
    fflush(stdout);
    _Exit(sim->is_told ? SIM_FAILED : SIM_FAILED_UNTOLD);
}

// -- Events: a binary heap ------------------------------------------------------------------------------------------

static bool is_before(const struct sim_waiting *a, const struct sim_waiting *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void push(struct sim *sim, struct sim_event *event)
{
    sim->heap = cc_grow(sim->heap, &sim->heap_capacity, sim->n_heap + 1, sizeof(*sim->heap));
    struct sim_waiting waiting = {event->at_us, event->order, event};
    size_t at = sim->n_heap++;
    while (at > 0 && is_before(&waiting, &sim->heap[(at - 1) / 2])) {
        sim->heap[at] = sim->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->heap[at] = waiting;
}

static struct sim_event *pop(struct sim *sim)
{
    struct sim_event *first = sim->heap[0].event;
    struct sim_waiting last = sim->heap[--sim->n_heap];
    size_t at = 0;
    for (;;) {
        size_t least = 2 * at + 1;
        if (least >= sim->n_heap) {
            break;
        }
        least += least + 1 < sim->n_heap && is_before(&sim->heap[least + 1], &sim->heap[least]) ? 1 : 0;
        if (!is_before(&sim->heap[least], &last)) {
            break;
        }
        sim->heap[at] = sim->heap[least];
        at = least;
    }
    sim->heap[at] = last;
    return first;
}

static void event_free(struct sim *sim, struct sim_event *event)
{
    cc_blob_unref(event->blob);
    if (event->free_data != NULL) {
        event->free_data(event->data);
    }
    event->next_free = sim->free_events;
    sim->free_events = event;
}

static struct sim_event *event_create(struct sim *sim)
{
    struct sim_event *event = sim->free_events;
    if (event == NULL) {
        return cc_alloc(sizeof(*event));
    }
    sim->free_events = event->next_free;
    *event = (struct sim_event){0};
    return event;
}

struct sim_event *sim_after(struct sim *sim, uint64_t delay_us, void (*run)(struct sim *, struct sim_event *), uint32_t replica)
{
    struct sim_event *event = event_create(sim);
    event->at_us = sim->now_us + delay_us;
    event->order = sim->next_order++;
    event->run = run;
    event->replica = replica;
    event->life = replica == 0 ? 0 : sim_replica_of(sim, replica)->life;
    push(sim, event);
    return event;
}

static void handle_next(struct sim *sim)
{
    struct sim_event *event = pop(sim);
    assert(event->at_us >= sim->now_us);
    const struct sim_replica *replica = event->replica == 0 ? NULL : sim_replica_of(sim, event->replica);
    if (replica != NULL && replica->life == event->life && replica->paused_until_us > event->at_us) {
        event->at_us = replica->paused_until_us; // keeps its place among the others that wait
        event->at_us += event->is_timer ? sim_draw(sim, 0, TIMER_LATE_US_MAX) : 0;
        push(sim, event);
        return;
    }
    sim->now_us = event->at_us;
    if (replica == NULL || replica->life == event->life) {
        sim->step++;
        sim->counters.events++;
        sim_hash(sim, event->at_us ^ event->order << 32 ^ (uint64_t)event->replica << 60);
        event->run(sim, event);
    }
    event_free(sim, event);
}

// -- The run --------------------------------------------------------------------------------------------------------

struct sim_replica *sim_replica_of(struct sim *sim, uint32_t id)
{
    assert(id >= 1 && id <= sim->n_replicas);
    return &sim->replicas[id - 1];
}

static void run_until(struct sim *sim, uint64_t until_us)
{
    while (sim->n_heap > 0 && sim->heap[0].at_us <= until_us) {
        handle_next(sim);
    }
    sim->now_us = until_us;
}

static void enter(struct sim *sim, enum sim_phase phase)
{
    static const char *const names[] = {"faults", "healing", "probing", "done"};
    sim->phase = phase;
    sim->phase_us = sim->now_us;
    sim_trace(sim, "phase %s", names[phase]);
}

static struct sim_replica *leader_of(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        if (replica->alive && raft_role(node_raft(replica->node)) == RAFT_LEADER) {
            return replica;
        }
    }
    return NULL;
}

static void wait_for_leader(struct sim *sim)
{
    // Those who were down start within two election timeouts, and databases come up.
    uint64_t deadline_us = sim->now_us + LEADER_ELECTIONS * sim->knobs.election_us + 4 * 1000 * 1000;
    while (leader_of(sim) == NULL) {
        SIM_CHECK(sim, "L1", sim->now_us < deadline_us, "no leader although everything is whole again");
        run_until(sim, sim->now_us + CONVERGE_LOOK_US);
    }
}

static void wait_for_convergence(struct sim *sim)
{
    uint64_t deadline_us = sim->now_us + CONVERGE_US;
    struct cc_buffer why_not = {0};
    while (!sim_clients_are_idle(sim) || !sim_check_converged(sim, &why_not)) {
        SIM_CHECK(sim, "L1", sim->now_us < deadline_us, "not converged: %s",
                  sim_clients_are_idle(sim) ? cc_buffer_text(&why_not) : "a client waits");
        run_until(sim, sim->now_us + CONVERGE_LOOK_US);
        sim_check_spread(sim);
        sim_check_serves(sim);
        cc_buffer_clear(&why_not);
    }
    cc_buffer_finish(&why_not);
}

// A leader that is told that its disk is slow gives its office to one of the others, all of which are fit now. Not where an operator
// has moved the office about: who has given it away does not take it back.
static void wait_for_hand_over(struct sim *sim)
{
    struct sim_replica *slow = leader_of(sim);
    if (slow == NULL || sim->knobs.slow_told == 0 || sim->knobs.member_mean_us > 0) {
        return;
    }
    uint64_t deadline_us = sim->now_us + HAND_OVER_US;
    slow->told_slow = true;
    while (leader_of(sim) == slow) {
        SIM_CHECK(sim, "H2", sim->now_us < deadline_us, "r%u keeps its office although its disk is slow", slow->id);
        run_until(sim, sim->now_us + CONVERGE_LOOK_US);
    }
    slow->told_slow = false;
    sim->counters.hand_overs++;
    wait_for_convergence(sim);
}

// All are fit now. Who has moved the office away for an operator does not want it back.
static struct sim_replica *before_in_line(struct sim *sim, const struct sim_replica *leader)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        if (!replica->absent && replica->id < leader->id && !office_declines(replica->node)) {
            return replica;
        }
    }
    return NULL;
}

// Whoever is first in line leads, and goes on leading.
static void wait_for_rank(struct sim *sim)
{
    if (sim->knobs.ranked == 0) {
        return;
    }
    uint64_t deadline_us = sim->now_us + RANK_US;
    struct sim_replica *leader = leader_of(sim);
    while (leader == NULL || before_in_line(sim, leader) != NULL) {
        SIM_CHECK(sim, "L2", sim->now_us < deadline_us, "r%u leads although others come before it", leader == NULL ? 0 : leader->id);
        run_until(sim, sim->now_us + CONVERGE_LOOK_US);
        leader = leader_of(sim);
    }
    uint64_t term = raft_term(node_raft(leader->node));
    for (uint64_t until_us = sim->now_us + STEADY_US; sim->now_us < until_us;) {
        run_until(sim, sim->now_us + CONVERGE_LOOK_US);
        bool leads = raft_role(node_raft(leader->node)) == RAFT_LEADER && raft_term(node_raft(leader->node)) == term;
        SIM_CHECK(sim, "L2", leads, "r%u, first in line, has lost the office that it had in term %" PRIu64, leader->id, term);
    }
    wait_for_convergence(sim);
}

static void create(struct sim *sim)
{
    sim->n_replicas = (uint32_t)sim->knobs.n_replicas;
    uint32_t n_founders = sim->knobs.n_founders > 0 ? (uint32_t)sim->knobs.n_founders : sim->n_replicas;
    struct raft_membership founders = {.n_members = n_founders};
    for (uint32_t i = 0; i < n_founders; i++) {
        founders.members[i] = (struct raft_member){.id = i + 1, .voter = true};
        if (sim->knobs.ranked != 0) {
            struct member member = sim_member(i + 1);
            member.voter = true;
            member_put(&member, &founders.members[i]);
        }
    }
    sim->network = sim_network_create(sim);
    sim->check = sim_check_create();
    sim->weak_check = sim_weak_check_create();
    sim->states = sim_states_create();
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        replica->id = i + 1;
        replica->incarnation = ++sim->n_incarnations;
        replica->is_new = sim->knobs.born_new != 0;
        replica->sim = sim;
        replica->clock_offset_ms = (int64_t)sim_draw(sim, 0, 2 * sim->knobs.clock_offset_ms) - (int64_t)sim->knobs.clock_offset_ms;
        sim_disk_init(&replica->disk);
        replica->database = sim_database_create(sim, replica->id);
    }
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        replica->absent = replica->id > n_founders;
        replica->is_new = replica->is_new || replica->absent;
        replica->founders = founders;
        if (!replica->absent) {
            sim_replica_start(sim, replica);
        }
    }
    sim->clients = sim_clients_create(sim);
    sim_fault_start(sim);
}

static void destroy(struct sim *sim)
{
    sim_clients_destroy(sim->clients);
    sim_network_destroy(sim->network);
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        sim_replica_finish(&sim->replicas[i]);
    }
    sim_check_destroy(sim->check);
    sim_weak_check_destroy(sim->weak_check);
    sim_states_destroy(sim->states);
    while (sim->n_heap > 0) {
        event_free(sim, sim->heap[--sim->n_heap].event);
    }
    while (sim->free_events != NULL) {
        struct sim_event *next = sim->free_events->next_free;
        free(sim->free_events);
        sim->free_events = next;
    }
    free(sim->heap);
}

void sim_run(struct sim *sim, uint64_t seed, enum sim_tell tell)
{
    *sim = (struct sim){.seed = seed, .is_told = tell != SIM_TELL_NOTHING, .print_trace = tell == SIM_TELL_ALL, .trace_hash = UINT64_C(0xcbf29ce484222325)};
    cc_prng_seed(&sim->prng, seed);
    sim_knobs_draw(&sim->knobs, &sim->prng);
    create(sim);

    enter(sim, SIM_FAULTS);
    run_until(sim, sim->knobs.fault_us);

    enter(sim, SIM_HEALING);
    sim_fault_heal(sim);
    wait_for_leader(sim);
    run_until(sim, sim->phase_us + RECONNECTED_US);
    wait_for_convergence(sim);
    wait_for_hand_over(sim);
    wait_for_rank(sim);

    enter(sim, SIM_PROBING);
    sim_clients_probe(sim);
    wait_for_convergence(sim);
    run_until(sim, sim->now_us + QUIET_US);

    enter(sim, SIM_DONE);
    sim_check_end(sim);
    sim_clients_check(sim);
    sim_hash(sim, cc_prng_next(&sim->prng)); // every draw was the same
    sim->counters.simulated_us = sim->now_us;
    sim->counters.world = sim->trace_hash;
    destroy(sim);
}

// -- The same under a test's hand -----------------------------------------------------------------------------------

void sim_open(struct sim *sim)
{
    create(sim);
}

void sim_close(struct sim *sim)
{
    destroy(sim);
}

bool sim_step(struct sim *sim, uint64_t until_us)
{
    if (sim->n_heap == 0 || sim->heap[0].at_us > until_us) {
        sim->now_us = until_us > sim->now_us ? until_us : sim->now_us;
        return false;
    }
    handle_next(sim);
    return true;
}

uint64_t sim_next_event_us(const struct sim *sim, const struct sim_replica *replica)
{
    uint64_t next_us = UINT64_MAX;
    for (size_t i = 0; i < sim->n_heap; i++) {
        const struct sim_event *event = sim->heap[i].event;
        bool its_own = event->replica == replica->id && event->life == replica->life;
        next_us = its_own && event->at_us < next_us ? event->at_us : next_us;
    }
    return next_us;
}

void sim_pause_until(struct sim *sim, struct sim_replica *replica, uint64_t until_us)
{
    bool was_for_ever = replica->paused_until_us == SIM_FOR_EVER;
    replica->paused_until_us = until_us;
    size_t n = sim->n_heap;
    sim->n_heap = 0;
    for (size_t i = 0; i < n; i++) { // in place: what is pushed back never passes what is still to be read
        struct sim_event *event = sim->heap[i].event;
        if (was_for_ever && event->replica == replica->id && event->at_us >= SIM_FOR_EVER) {
            event->at_us = until_us > sim->now_us ? until_us : sim->now_us;
        }
        push(sim, event);
    }
}

bool sim_stage(struct sim_replica *replica, enum sim_stage stage, enum sim_moment moment, const struct node_effects *effects)
{
    const struct sim_hooks *hooks = &replica->sim->hooks;
    if (!replica->doomed && hooks->stage != NULL && !hooks->stage(hooks->context, replica->id, stage, moment, effects)) {
        sim_trace(replica->sim, "r%u dies %s stage %d", replica->id, moment == SIM_BEFORE ? "before" : "after", (int)stage);
        replica->doomed = true;
    }
    return !replica->doomed;
}
