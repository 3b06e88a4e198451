// An operator who changes the members: adds spare replicas, which come as learners, removes some, moves the office. What is begun
// is brought to its end after the faults.
#include "sim/sim.h"

#include "consensus/raft_internal.h"
#include "proxy/node/node_internal.h"
#include "sim/sim_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { AGAIN_US = 300 * 1000, RELOAD_MS = 10 * 1000, ALONE_US_MAX = 1500 * 1000 };

// Or who takes itself for one, settled or not.
static struct sim_replica *leader_of(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        bool runs = replica->alive && !replica->doomed && replica->paused_until_us <= sim->now_us;
        if (runs && raft_role(node_raft(replica->node)) == RAFT_LEADER) {
            return replica;
        }
    }
    return NULL;
}

// Of one member, as the leader has committed it.
static bool is_committed(const struct sim_replica *leader, uint32_t id)
{
    uint64_t index;
    return raft_member_find(raft_membership_committed(node_raft(leader->node), &index), id) != NULL;
}

static uint32_t n_voters(const struct raft_membership *membership)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        n += membership->members[i].voter ? 1 : 0;
    }
    return n;
}

struct member sim_member(uint32_t id)
{
    struct member member = {.id = id};
    snprintf(member.http, sizeof(member.http), "10.0.0.%u:7101", (unsigned)id);
    snprintf(member.peer, sizeof(member.peer), "10.0.0.%u:7201", (unsigned)id);
    memset(member.public_key, (int)id, sizeof(member.public_key));
    return member;
}

static enum cc_status ask(struct sim *sim, struct sim_replica *leader, enum node_member_action action, uint32_t id)
{
    struct node_member_change change = {.action = action, .member = sim_member(id)};
    const struct raft *raft = node_raft(leader->node);
    uint64_t before = raft_last_index(raft), index = 0;
    bool settled = raft_term_at(raft, raft->commit) == raft->term;
    const char *why = "";
    enum cc_status status = node_member_change(leader->node, sim_replica_time(sim, leader), &change, &index, &why);
    bool proposed = status == CC_OK && raft_last_index(raft) > before;
    SIM_CHECK(sim, "A9", !proposed || settled, "r%u changes members before it has committed an entry of its term", leader->id);
    sim->counters.member_changes += proposed ? 1 : 0;
    sim_trace(sim, "r%u is asked for change %d of r%u: %s %s", leader->id, (int)action, id, cc_status_name(status), why);
    sim_replica_settle(sim, leader);
    if (proposed && sim->knobs.clock_jump_mean_us > 0 && sim->phase == SIM_FAULTS && sim_chance(sim, 300000)) {
        sim_fault_jump_clock(sim, sim_replica_of(sim, sim_chance(sim, 500000) ? id : leader->id));
    }
    return status;
}

// -- Steps ----------------------------------------------------------------------------------------------------------

// Nobody else hears it, nor it them. 0: all hear each other.
static void cut_off(struct sim *sim, uint32_t id)
{
    bool cut[SIM_REPLICAS_MAX + 1][SIM_REPLICAS_MAX + 1] = {0};
    for (uint32_t other = 1; other <= sim->n_replicas && id != 0; other++) {
        cut[id][other] = cut[other][id] = other != id;
    }
    sim_network_cut(sim, cut);
    sim->lonely = id;
}

static void stop(struct sim *sim, struct sim_replica *replica)
{
    if (replica->alive) {
        sim_replica_crash(sim, replica, SIM_KILLED);
    }
    replica->absent = true;
    replica->joins = false;
    bool keeps = sim->knobs.kept_percent > 0 && sim_draw(sim, 0, 99) < sim->knobs.kept_percent;
    sim_trace(sim, "r%u is taken away%s", replica->id, keeps ? " with what it has" : "");
    replica->back_at_us = sim->now_us + sim->knobs.away_us;
    if (sim->lonely == replica->id) {
        cut_off(sim, 0);
    }
    if (keeps) {
        sim_weak_check_exiled(sim, replica);
        sim_check_database_ends(sim); // it may never come back
    } else {
        sim_amnesia_wipe(sim, replica);
    }
    sim_check_origins_end(sim, replica->id);
}

static void begin_to_join(struct sim *sim, struct sim_replica *replica, const struct sim_replica *leader)
{
    uint64_t index;
    replica->founders = *raft_membership_committed(node_raft(leader->node), &index);
    replica->absent = false;
    replica->joins = true;
    sim_replica_start(sim, replica);
}

// Those who were taken out go, and those who were started come in. True: nothing is left to do.
static bool go_on(struct sim *sim, struct sim_replica *leader)
{
    bool done = true;
    uint32_t leader_id = leader->id;
    uint64_t life = leader->life;
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct sim_replica *replica = &sim->replicas[i];
        if (replica->absent || !leader->alive || leader->life != life) {
            continue;
        }
        bool listed = is_committed(leader, replica->id) || raft_member_find(raft_membership(node_raft(leader->node)), replica->id) != NULL;
        if (listed) {
            replica->joins = false;
        } else if (replica->joins) {
            done = false;
            (void)!ask(sim, leader, NODE_MEMBER_ADD, replica->id);
        } else if (replica->id != leader_id) {
            done = false;
            stop(sim, replica);
        }
    }
    return done;
}

static struct sim_replica *draw_replica(struct sim *sim)
{
    return &sim->replicas[sim_draw(sim, 0, sim->n_replicas - 1)];
}

// -- Lists --------------------------------------------------------------------------------------------------------------

// A list that an operator might write: some come, some go, enough stay. Bits.
static uint32_t draw_wish(struct sim *sim, const struct raft_membership *membership)
{
    uint32_t wish = 0, n = 0;
    for (uint32_t id = 1; id <= sim->n_replicas; id++) {
        bool takes = sim_chance(sim, raft_member_find(membership, id) != NULL ? 800000 : 400000);
        wish |= takes ? UINT32_C(1) << id : 0;
        n += takes ? 1 : 0;
    }
    return n >= SIM_VOTERS_MIN ? wish : 0;
}

// One of the members is told the list and drives the changes; those who are new are started.
static void reload(struct sim *sim, struct sim_replica *leader)
{
    struct sim_replica *driver = draw_replica(sim);
    uint32_t wish = draw_wish(sim, raft_membership(node_raft(leader->node)));
    bool runs = driver->alive && !driver->doomed && !driver->joins && driver->paused_until_us <= sim->now_us;
    if (wish == 0 || !runs) {
        return;
    }
    struct node_reload_wish wanted = {.wait_ms = RELOAD_MS};
    for (uint32_t id = 1; id <= sim->n_replicas; id++) {
        if ((wish >> id & 1) != 0) {
            wanted.members[wanted.n_members++] = sim_member(id);
        }
    }
    struct node_reload_plan plan;
    const char *why = "";
    enum cc_status status = node_reload(driver->node, sim_replica_time(sim, driver), &wanted, &plan, &why);
    sim_trace(sim, "r%u is told the list %x: %s %s, %u changes", driver->id, wish, cc_status_name(status), why, plan.n);
    driver->wished = status == CC_OK ? wish : driver->wished;
    sim->counters.reloads += status == CC_OK && plan.n > 0 ? 1 : 0;
    sim_replica_settle(sim, driver);
    for (uint32_t id = 1; id <= sim->n_replicas && status == CC_OK; id++) {
        struct sim_replica *replica = sim_replica_of(sim, id);
        if ((wish >> id & 1) != 0 && replica->absent && leader->alive) {
            begin_to_join(sim, replica, leader);
        }
    }
}

void sim_members_reloaded(struct sim *sim, struct sim_replica *replica)
{
    uint64_t index;
    const struct raft_membership *membership = raft_membership_committed(node_raft(replica->node), &index);
    bool has_self = (replica->wished >> replica->id & 1) != 0; // else it is not told how the last step ended
    for (uint32_t id = 1; id <= sim->n_replicas && has_self; id++) {
        const struct raft_member *member = raft_member_find(membership, id);
        bool wished = (replica->wished >> id & 1) != 0;
        bool good = wished ? member != NULL && member->voter : member == NULL;
        SIM_CHECK(sim, "R1", good, "r%u says that the list %x is made true, but r%u %s", replica->id, replica->wished, id,
                  member == NULL ? "is no member" : member->voter ? "is still a member" : "has no vote");
    }
}

// -- One change ---------------------------------------------------------------------------------------------------------

static void remove_lonely(struct sim *sim, struct sim_event *event)
{
    struct sim_replica *leader = leader_of(sim);
    if (sim->phase != SIM_FAULTS || sim->lonely != event->a) {
        return;
    }
    if (leader != NULL && leader->id != event->a && ask(sim, leader, NODE_MEMBER_REMOVE, (uint32_t)event->a) == CC_OK) {
        sim_after(sim, ALONE_US_MAX, remove_lonely, 0)->a = event->a; // mended when it is gone; unless the entry is lost
        return;
    }
    cut_off(sim, 0);
}

// It writes alone for a while before it goes.
static void send_into_exile(struct sim *sim, const struct sim_replica *replica)
{
    if (sim->lonely != 0) {
        return; // one after the other
    }
    cut_off(sim, replica->id);
    sim_trace(sim, "r%u is cut off, and is to go", replica->id);
    uint64_t delay_us = sim_draw(sim, ALONE_US_MAX / 8, ALONE_US_MAX);
    sim_after(sim, delay_us, remove_lonely, 0)->a = replica->id;
}

static void change(struct sim *sim, struct sim_replica *leader)
{
    if (sim_draw(sim, 0, 99) < sim->knobs.reload_percent) {
        reload(sim, leader);
        return;
    }
    struct sim_replica *replica = draw_replica(sim);
    const struct raft_membership *membership = raft_membership(node_raft(leader->node));
    const struct raft_member *member = raft_member_find(membership, replica->id);
    if (replica->absent) {
        if (sim->now_us >= replica->back_at_us) {
            begin_to_join(sim, replica, leader);
        }
        return;
    }
    bool may_go = member != NULL && (!member->voter || n_voters(membership) > SIM_VOTERS_MIN);
    if (may_go && sim->knobs.away_us > 0 && replica != leader) {
        send_into_exile(sim, replica);
    } else if (may_go && sim_chance(sim, 600000)) {
        (void)!ask(sim, leader, NODE_MEMBER_REMOVE, replica->id);
    } else if (member != NULL && member->voter) {
        (void)!ask(sim, leader, NODE_MEMBER_TRANSFER, replica->id);
    } else if (member != NULL) {
        (void)!ask(sim, leader, NODE_MEMBER_PROMOTE, replica->id);
    }
}

static void operate_once(struct sim *sim, struct sim_event *event)
{
    (void)event;
    struct sim_replica *leader = leader_of(sim);
    if (leader != NULL && go_on(sim, leader) && sim->phase == SIM_FAULTS) {
        change(sim, leader);
    }
}

static void operate(struct sim *sim, struct sim_event *event)
{
    operate_once(sim, event);
    if (sim->phase == SIM_FAULTS || sim->phase == SIM_HEALING) {
        sim_after(sim, sim->phase == SIM_FAULTS ? sim_spread(sim, sim->knobs.member_mean_us) : AGAIN_US, operate, 0);
    }
}

void sim_members_new_leader(struct sim *sim)
{
    if (sim->knobs.member_mean_us > 0 && sim->phase == SIM_FAULTS && sim_chance(sim, 300000)) {
        sim_after(sim, sim_draw(sim, 0, sim->knobs.sync_us + sim->knobs.delay_us), operate_once, 0);
    }
}

bool sim_members_change(const struct sim *sim)
{
    return sim->knobs.member_mean_us > 0 || sim->hooks.context != NULL;
}

void sim_members_start(struct sim *sim)
{
    if (sim->knobs.member_mean_us > 0) {
        sim_after(sim, sim_spread(sim, sim->knobs.member_mean_us), operate, 0);
    }
}

bool sim_members_are_settled(const struct sim *sim, struct cc_buffer *why_not)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        const struct sim_replica *replica = &sim->replicas[i];
        if (replica->absent) {
            continue;
        }
        const struct raft_membership *membership = replica->alive ? raft_membership(node_raft(replica->node)) : NULL;
        const struct raft_member *member = membership == NULL ? NULL : raft_member_find(membership, replica->id);
        uint64_t committed;
        bool agreed = membership != NULL && raft_membership_committed(node_raft(replica->node), &committed) != NULL &&
                      committed == raft_membership_index(node_raft(replica->node));
        if (member == NULL || !member->voter || !agreed) {
            cc_buffer_printf(why_not, "r%u is not a voter yet", replica->id);
            return false;
        }
        if (replica->node->reload.state == NODE_RELOAD_RUNNING) { // for a limited time
            cc_buffer_printf(why_not, "r%u still makes a list true", replica->id);
            return false;
        }
    }
    return true;
}
