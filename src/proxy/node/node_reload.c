// A reload: an operator's list of members is made true by single changes through the log, one after the other. Whoever got the list
// drives it, whoever leads makes the changes; each step is what still differs, so a change of leader or a lost frame does no harm.
//
//   new members and other addresses or keys -> wait until all of the list vote -> removals: the leader's last but one, our own last
#include "proxy/node/node_internal.h"

#include <stdio.h>

enum {
    STEP_AGAIN_US = 200 * 1000, // after a refusal
    STEP_LOST_US = 2000 * 1000, // an answer, or an entry, should have come by then
};

enum member_verdict { VERDICT_DONE = 0, VERDICT_NOT_NOW = 1, VERDICT_NEVER = 2 }; // in FRAME_MEMBER_REPLY

static enum member_verdict verdict_of(enum cc_status status)
{
    if (status == CC_OK) {
        return VERDICT_DONE;
    }
    return status == CC_UNAVAILABLE || status == CC_NOT_LEADER ? VERDICT_NOT_NOW : VERDICT_NEVER;
}

static const struct member *wanted_find(const struct reload *reload, uint32_t id)
{
    for (size_t i = 0; i < reload->n_wanted; i++) {
        if (reload->wanted[i].id == id) {
            return &reload->wanted[i];
        }
    }
    return NULL;
}

static bool is_as_wanted(const struct raft_member *present, const struct member *wanted)
{
    struct member member;
    return member_read(present, &member) == CC_OK && strcmp(member.http, wanted->http) == 0 && strcmp(member.peer, wanted->peer) == 0 &&
           memcmp(member.public_key, wanted->public_key, sizeof(member.public_key)) == 0;
}

static void add_step(struct node_reload_plan *plan, enum node_member_action action, uint32_t id, bool is_new)
{
    plan->steps[plan->n++] = (struct node_reload_step){.action = action, .id = id, .is_new = is_new};
}

// Who leads goes after the others, and we, who drive this, at the very end.
static uint32_t removal_turn(const struct node *node, uint32_t id)
{
    return id == node->options.raft.id ? 2 : id == raft_leader(node->raft) ? 1 : 0;
}

// What differs from the members in force.
static void make_plan(const struct node *node, const struct reload *reload, struct node_reload_plan *plan_out)
{
    const struct raft_membership *membership = raft_membership(node->raft);
    plan_out->n = 0;
    for (size_t i = 0; i < reload->n_wanted; i++) {
        const struct raft_member *present = raft_member_find(membership, reload->wanted[i].id);
        if (present == NULL || !is_as_wanted(present, &reload->wanted[i])) {
            add_step(plan_out, NODE_MEMBER_ADD, reload->wanted[i].id, present == NULL);
        }
    }
    for (uint32_t turn = 0; turn <= 2; turn++) {
        for (uint32_t i = 0; i < membership->n_members; i++) {
            uint32_t id = membership->members[i].id;
            if (wanted_find(reload, id) == NULL && removal_turn(node, id) == turn) {
                add_step(plan_out, NODE_MEMBER_REMOVE, id, false);
            }
        }
    }
}

static bool has_majority(const struct node *node)
{
    uint32_t n = membership_votes(node, node->options.raft.id);
    for (uint32_t i = 0; i < node->n_peers; i++) {
        n += node->peers[i].up && membership_votes(node, node->peers[i].id);
    }
    return n > membership_n_voters(node) / 2;
}

static enum cc_status refuse(enum cc_status status, const char *why, const char **why_out)
{
    *why_out = why;
    return status;
}

enum cc_status node_reload(struct node *node, struct node_time time, const struct node_reload_wish *wish, struct node_reload_plan *plan_out,
                           const char **why_out)
{
    node->time = time;
    *why_out = "";
    plan_out->n = 0;
    struct reload next = {.n_wanted = wish->n_members, .state = NODE_RELOAD_RUNNING};
    memcpy(next.wanted, wish->members, wish->n_members * sizeof(next.wanted[0]));
    if (wish->n_members == 0) {
        return refuse(CC_INVALID, "no replica would be left", why_out);
    }
    if (!node->members.has_self) {
        return refuse(CC_UNAVAILABLE, "this replica is not a member of the cluster: ask another one", why_out);
    }
    make_plan(node, &next, plan_out);
    if (plan_out->n > 0 && !has_majority(node)) {
        return refuse(CC_UNAVAILABLE, "a majority of the present members is not reachable", why_out);
    }
    if (plan_out->n > 0 && raft_leader(node->raft) == 0) {
        return refuse(CC_UNAVAILABLE, "there is no leader", why_out);
    }
    bool replaces = node->reload.state == NODE_RELOAD_RUNNING; // also by a list that needs no change: the rest of the other is not wanted
    if (wish->dry_run || (plan_out->n == 0 && !replaces)) {
        return CC_OK;
    }
    next.n_steps = next.n_left = plan_out->n;
    next.replaces = replaces;
    next.settled_us = replaces ? node->reload.again_us : 0;
    next.until_us = time.now_us + wish->wait_ms * UINT64_C(1000);
    node->reload = next;
    node_fact(node, NODE_FACT_RELOAD, NODE_RELOAD_RUNNING, next.n_steps, next.n_left, NULL);
    return CC_OK;
}

static void end(struct node *node, enum node_reload_state state, const char *why)
{
    node->reload.state = state;
    (void)snprintf(node->reload.why, sizeof(node->reload.why), "%s", why);
    node_fact(node, NODE_FACT_RELOAD, state, node->reload.n_steps, node->reload.n_left, why);
}

static void take_verdict(struct node *node, enum member_verdict verdict, const char *why)
{
    struct reload *reload = &node->reload;
    reload->request = 0;
    switch (verdict) {
    case VERDICT_DONE: // proposed: what is left tells when it is committed
        reload->again_us = node->time.now_us + STEP_LOST_US;
        return;
    case VERDICT_NOT_NOW:
        reload->again_us = node->time.now_us + STEP_AGAIN_US;
        (void)snprintf(reload->why, sizeof(reload->why), "%s", why);
        return;
    case VERDICT_NEVER:
        end(node, NODE_RELOAD_FAILED, why);
        return;
    }
}

static void take_step(struct node *node, const struct node_reload_step *step)
{
    struct reload *reload = &node->reload;
    const struct member *wanted = wanted_find(reload, step->id);
    struct node_member_change change = {.action = step->action, .member = {.id = step->id}};
    if (wanted != NULL) {
        change.member = *wanted;
    }
    uint32_t leader = raft_leader(node->raft);
    const struct peer *peer = leader == 0 ? NULL : peer_find(node, leader);
    if (leader == node->options.raft.id) {
        uint64_t index;
        const char *why;
        enum cc_status status = node_member_change(node, node->time, &change, &index, &why);
        take_verdict(node, verdict_of(status), why);
    } else if (peer == NULL || !peer->up) {
        take_verdict(node, VERDICT_NOT_NOW, "no leader can be reached");
    } else {
        reload->request = ++node->next_context;
        reload->again_us = node->time.now_us + STEP_LOST_US;
        peer_send_member(node, leader, reload->request, &change);
    }
}

// The first of the list that does not vote yet; 0: all do.
static uint32_t still_learning(const struct node *node, const struct reload *reload)
{
    for (size_t i = 0; i < reload->n_wanted; i++) {
        if (!membership_votes(node, reload->wanted[i].id)) {
            return reload->wanted[i].id;
        }
    }
    return 0;
}

static void look_again(struct node *node)
{
    struct reload *reload = &node->reload;
    struct node_reload_plan plan;
    if (node->time.now_us < reload->settled_us) {
        return;
    }
    make_plan(node, reload, &plan);
    if (plan.n > reload->n_left && !reload->replaces) {
        end(node, NODE_RELOAD_FAILED, "somebody else changes the members, too");
        return;
    }
    if (plan.n < reload->n_left) {
        reload->again_us = 0;
    }
    reload->n_left = plan.n;
    reload->replaces = false;
    if (node->time.now_us < reload->again_us) {
        return;
    }
    uint32_t learner = cc_mutant(CC_MUTANT_RELOAD_DONE_EARLY) ? 0 : still_learning(node, reload);
    bool adds = plan.n > 0 && plan.steps[0].action == NODE_MEMBER_ADD;
    if (!adds && learner != 0) {
        (void)snprintf(reload->why, sizeof(reload->why), "replica %u has not caught up yet: it votes, and removals begin, once it has", learner);
    } else if (plan.n == 0) {
        end(node, NODE_RELOAD_DONE, "");
    } else {
        take_step(node, &plan.steps[0]);
    }
}

void reload_tick(struct node *node)
{
    struct reload *reload = &node->reload;
    if (reload->state != NODE_RELOAD_RUNNING) {
        return;
    }
    if (!node->members.has_self) {
        bool done = reload->n_left <= 1 && wanted_find(reload, node->options.raft.id) == NULL;
        end(node, done ? NODE_RELOAD_DONE : NODE_RELOAD_FAILED, done ? "" : "this replica was removed");
    } else if (node->time.now_us >= reload->until_us) {
        char why[sizeof(reload->why)];
        memcpy(why, reload->why, sizeof(why));
        end(node, NODE_RELOAD_FAILED, why[0] == '\0' ? "it was not done in time" : why);
    } else if (node->members.index == node->members.committed) { // else a change is under way
        look_again(node);
    }
}

// -- The leader's part -----------------------------------------------------------------------------------------------------

void reload_asked(struct node *node, uint32_t peer, uint64_t request, const struct node_member_change *change)
{
    uint64_t index;
    const char *why;
    enum cc_status status = node_member_change(node, node->time, change, &index, &why);
    peer_send_member_reply(node, peer, request, (uint8_t)verdict_of(status), why);
}

void reload_answered(struct node *node, uint64_t request, uint8_t verdict, struct cc_slice why)
{
    struct reload *reload = &node->reload;
    if (reload->state != NODE_RELOAD_RUNNING || request == 0 || request != reload->request || verdict > VERDICT_NEVER) {
        return;
    }
    char text[sizeof(reload->why)];
    (void)snprintf(text, sizeof(text), "%.*s", (int)(why.n < sizeof(text) ? why.n : sizeof(text) - 1), (const char *)why.data);
    take_verdict(node, (enum member_verdict)verdict, text);
}
