// Who leads: the lowest port that is fit does, within seconds. The leader leaves its office to a replica that comes before it in line, to any
// that is fit when its own disk is slow or full, and to whom an operator names.
#include "proxy/node/node_internal.h"

enum {
    CHECK_US = 100 * 1000,
    RANK_HOLD_US = 3 * 1000 * 1000,   // the one before us in line must have been fit for so long
    RANK_AGAIN_US = 15 * 1000 * 1000, // after an attempt, and doubled with every further one
    RANK_DOUBLINGS_MAX = 6,
    DISK_AGAIN_US = 5 * 1000 * 1000,
    DECLINE_US = 600 * 1000 * 1000, // an office that an operator has moved away is not taken back for so long
};

enum cc_status office_transfer(struct node *node, uint32_t to, const char **why_out)
{
    if (to == node->options.raft.id) {
        return CC_OK;
    }
    enum cc_status status = raft_transfer(node->raft, node->time.now_us, to);
    if (status == CC_INVALID) {
        *why_out = "only a voting member can lead";
    } else if (status == CC_UNAVAILABLE) {
        *why_out = "a transfer is under way, or the replica that is to lead does not answer, or there is no other one that votes";
    } else if (status == CC_OK) {
        node->office.declines_until_us = node->time.now_us + DECLINE_US;
        peer_tell_frontier(node); // that we do not want it back
    }
    return status;
}

// -- Rank: the lowest port leads -------------------------------------------------------------------------------------

static bool is_fit(const struct node *node, const struct peer *peer)
{
    struct raft_progress progress;
    uint64_t commit = raft_commit(node->raft);
    bool caught_up = raft_progress_of(node->raft, peer->id, &progress) == CC_OK && progress.voter && !progress.probing &&
                     progress.match + MEMBERS_BEHIND_MAX >= commit && peer->applied + MEMBERS_BEHIND_MAX >= commit;
    return caught_up && peer->up && peer->refused == NULL && peer->may_lead && membership_hears(node, peer->id) &&
           peer->schema_version == node->strong.schema_version;
}

static uint32_t first_in_line(struct node *node)
{
    const struct raft_membership *membership = raft_membership(node->raft);
    const struct raft_member *self = raft_member_find(membership, node->options.raft.id);
    struct member best;
    if (self == NULL || member_read(self, &best) != CC_OK) {
        return 0;
    }
    uint32_t id = 0;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        struct member other;
        const struct peer *peer = peer_find(node, membership->members[i].id);
        if (peer == NULL || member_read(&membership->members[i], &other) != CC_OK || !is_fit(node, peer) ||
            (!membership_is_before(&other, &best) && !cc_mutant(CC_MUTANT_OFFICE_GOES_ROUND))) {
            continue;
        }
        best = other;
        id = other.id;
    }
    return id;
}

// One that comes before us must have been fit for a while, and one that fails or falls again is not asked soon: no flapping.
static void yield_to_rank(struct node *node)
{
    struct node_office *office = &node->office;
    uint64_t now_us = node->time.now_us;
    uint32_t first = first_in_line(node);
    if (first == 0 || cc_mutant(CC_MUTANT_RANK_IGNORED) || first != office->before || office->before_term != raft_term(node->raft)) {
        office->before = first;
        office->before_term = raft_term(node->raft);
        office->before_since_us = now_us;
        return;
    }
    if (now_us - office->before_since_us < RANK_HOLD_US || now_us < office->yield_again_us) {
        return;
    }
    if (now_us > office->yield_again_us + DECLINE_US) {
        office->n_yields = 0;
    }
    office->yield_again_us = now_us + ((uint64_t)RANK_AGAIN_US << office->n_yields);
    office->n_yields += office->n_yields < RANK_DOUBLINGS_MAX;
    (void)!raft_transfer(node->raft, now_us, first);
}

// To any that is fit: one whose disk is slow or full, too, says that it may not lead.
static void yield_sick_disk(struct node *node)
{
    struct node_office *office = &node->office;
    if (!disk_is_sick(node) || node->time.now_us < office->disk_again_us || cc_mutant(CC_MUTANT_SLOW_DISK_STAYS)) {
        return;
    }
    office->disk_again_us = node->time.now_us + DISK_AGAIN_US;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].member && is_fit(node, &node->peers[i]) && raft_transfer(node->raft, node->time.now_us, node->peers[i].id) == CC_OK) {
            return;
        }
    }
}

void office_tick(struct node *node)
{
    struct node_office *office = &node->office;
    if (node->time.now_us < office->check_us) {
        return;
    }
    office->check_us = node->time.now_us + CHECK_US;
    if (!raft_is_settled(node->raft) || node->stopping) {
        office->before = 0;
        return;
    }
    yield_to_rank(node);
    yield_sick_disk(node);
}

bool office_declines(const struct node *node)
{
    bool votes = membership_votes(node, node->options.raft.id); // as a learner that was a member before it may be promoted again
    return votes && node->time.now_us < node->office.declines_until_us;
}
