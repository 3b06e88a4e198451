// Members whose weak tables are still to be compared with this replica's: nobody has to ask again when a comparison was ended by a crash, or
// when a member was away. The database remembers them over a restart, and the comparison begins from the first range with each of them;
// ranges that are equal by then cost their sums only.
#include "proxy/node/node_internal.h"

enum {
    READ_US = 1000 * 1000,
    AGAIN_US = 5 * 1000 * 1000, // after an attempt in vain; twice as long after each
    AGAIN_US_MAX = 300 * 1000 * 1000,
};

static void add(struct repair_owed *owed, uint32_t member)
{
    uint32_t i = 0;
    while (i < owed->n && owed->members[i].id != member) {
        i++;
    }
    if (i < CC_REPLICAS_MAX) {
        owed->members[i].id = member;
        owed->members[i].asked = owed->n_asked;
        owed->n = i == owed->n ? i + 1 : owed->n;
    }
}

static void write_down(struct node *node)
{
    struct repair_owed *owed = &node->repair.owed;
    if (!owed->is_read || !owed->is_new || owed->job != 0) {
        return;
    }
    struct cc_buffer members = {0};
    for (uint32_t i = 0; i < owed->n; i++) {
        cc_put_u32(&members, owed->members[i].id);
    }
    owed->is_new = false;
    owed->job = repair_submit(node, &(struct repair_job){.kind = REPAIR_OWE, .states = cc_buffer_slice(&members)});
    cc_buffer_finish(&members);
}

static const struct repair_owed_member *find(const struct repair_owed *owed, uint32_t member)
{
    for (uint32_t i = 0; i < owed->n; i++) {
        if (owed->members[i].id == member) {
            return &owed->members[i];
        }
    }
    return NULL;
}

bool repair_owes(const struct node *node, uint32_t member)
{
    return find(&node->repair.owed, member) != NULL;
}

void repair_owe_all(struct node *node)
{
    struct repair_owed *owed = &node->repair.owed;
    owed->n = 0;
    owed->n_asked++;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].member) {
            add(owed, node->peers[i].id);
        }
    }
    owed->is_read = owed->is_new = true;
    owed->next_us = node->time.now_us;
    owed->pause_us = AGAIN_US;
    write_down(node);
}

void repair_owed_begins(struct node *node)
{
    node->repair.owed.begun = node->repair.owed.n_asked;
}

// It was asked for again meanwhile: then what was compared before that does not count.
void repair_paid(struct node *node, uint32_t member)
{
    struct repair_owed *owed = &node->repair.owed;
    const struct repair_owed_member *found = find(owed, member);
    if (found != NULL && found->asked <= owed->begun) {
        owed->members[found - owed->members] = owed->members[--owed->n];
        owed->is_new = true;
        owed->pause_us = AGAIN_US;
        write_down(node);
    }
}

void repair_paid_all(struct node *node)
{
    for (uint32_t i = 0; i < node->n_peers; i++) {
        repair_paid(node, node->peers[i].id);
    }
}

uint32_t repair_owed_ends(struct node *node)
{
    struct repair_owed *owed = &node->repair.owed;
    uint32_t n = 0;
    for (uint32_t i = 0; i < owed->n; i++) {
        n += owed->members[i].asked <= owed->begun;
    }
    if (owed->begun == owed->n_asked) {
        owed->next_us = node->time.now_us + owed->pause_us;
        owed->pause_us = 2 * owed->pause_us < AGAIN_US_MAX ? 2 * owed->pause_us : AGAIN_US_MAX;
    }
    return n;
}

static void read_of_earlier_life(struct node *node)
{
    struct repair_owed *owed = &node->repair.owed;
    if (!owed->is_read && owed->job == 0 && node->weak.up && node->n_peers > 0 && node->time.now_us >= owed->read_us + READ_US) {
        owed->read_us = node->time.now_us;
        owed->job = repair_submit(node, &(struct repair_job){.kind = REPAIR_OWED});
    }
}

void repair_owed_event(struct node *node, const struct repair_event *event)
{
    struct repair_owed *owed = &node->repair.owed;
    if (event->number != owed->job) {
        return;
    }
    owed->job = 0;
    if (event->kind == REPAIR_OWE) {
        owed->is_new = owed->is_new || event->failed;
        if (!event->failed) { // a failure is tried again with the next tick
            write_down(node);
        }
        return;
    }
    struct cc_reader reader = cc_reader_of(event->bytes);
    while (!event->failed && !owed->is_read && cc_reader_left(&reader) >= sizeof(uint32_t)) {
        add(owed, cc_read_u32(&reader));
    }
    if (!event->failed && !owed->is_read) {
        owed->is_read = true;
        owed->next_us = node->time.now_us;
        owed->pause_us = AGAIN_US;
        owed->is_of_earlier_life = owed->n > 0;
    }
}

uint32_t repair_owed_now(const struct node *node, bool reachable_only, uint32_t members[CC_REPLICAS_MAX])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < node->n_peers && n < CC_REPLICAS_MAX; i++) {
        const struct peer *peer = &node->peers[i];
        if (peer->member && repair_owes(node, peer->id) && (!reachable_only || repair_is_there(peer))) {
            members[n++] = peer->id;
        }
    }
    return n;
}

bool repair_owed_is_due(struct node *node)
{
    uint32_t members[CC_REPLICAS_MAX];
    read_of_earlier_life(node);
    write_down(node);
    return node->repair.owed.is_read && node->weak.up && node->time.now_us >= node->repair.owed.next_us && repair_owed_now(node, true, members) > 0;
}
