// Leadership transfer (thesis 3.10).
#include "consensus/raft_internal.h"

static bool is_reachable(const struct raft *raft, const struct raft_peer *peer)
{
    return raft->now_us - peer->heard_us < raft->options.election_us;
}

// The reachable voter that has most of the log. One that failed to take over is asked again only when nobody else is there.
static struct raft_peer *choose_target(struct raft *raft)
{
    struct raft_peer *best = NULL;
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (!peer->voter || !is_reachable(raft, peer)) {
            continue;
        }
        bool best_failed = best != NULL && best->id == raft->transfer_failed_to;
        bool better =
            best == NULL || best_failed || (peer->match > best->match && peer->id != raft->transfer_failed_to);
        best = better ? peer : best;
    }
    return best;
}

void raft_transfer_clear(struct raft *raft)
{
    raft->transfer_to = 0;
    raft->transfer_sent = false;
}

// "The target is [...] up to date [...], then a TimeoutNow request" lets it campaign without waiting (thesis 3.10).
void raft_transfer_try(struct raft *raft)
{
    struct raft_peer *peer = raft->transfer_to != 0 ? raft_peer_find(raft, raft->transfer_to) : NULL;
    if (peer == NULL || raft->transfer_sent || peer->match != raft_log_last(&raft->log)) {
        return;
    }
    raft->transfer_sent = true;
    struct raft_message message = {.kind = RAFT_TIMEOUT_NOW, .to = peer->id, .term = raft->term};
    raft_queue(raft, &message, 0);
}

enum cc_status raft_transfer(struct raft *raft, uint64_t now_us, uint32_t target)
{
    raft_advance(raft, now_us);
    if (raft->role != RAFT_LEADER) {
        return CC_NOT_LEADER;
    }
    struct raft_peer *peer = target != 0 ? raft_peer_find(raft, target) : choose_target(raft);
    if (target != 0 && (peer == NULL || !peer->voter)) {
        return CC_INVALID;
    }
    if (peer == NULL || raft->transfer_to != 0 || !is_reachable(raft, peer)) {
        return CC_UNAVAILABLE;
    }
    raft->transfer_to = peer->id;
    raft->transfer_sent = false;
    raft->transfer_deadline_us = raft->now_us + raft->options.election_us;
    raft_transfer_try(raft);
    return CC_OK;
}

// "If leadership transfer does not complete after about an election timeout, the prior leader aborts the transfer and resumes
// accepting client requests" (thesis 3.10).
void raft_transfer_tick(struct raft *raft)
{
    if (raft->transfer_to != 0) {
        struct raft_peer *peer = raft_peer_find(raft, raft->transfer_to);
        if (raft->now_us >= raft->transfer_deadline_us || peer == NULL || !peer->voter) {
            raft->transfer_failed_to = raft->transfer_to;
            raft_transfer_clear(raft);
        }
    }
    if (raft->transfer_to == 0 && !raft->eligible) {
        (void)!raft_transfer(raft, raft->now_us, 0); // tried again at the next tick
    }
}

void raft_on_timeout_now(struct raft *raft, const struct raft_message *message)
{
    if (message->term == raft->term && raft->eligible && raft_may_campaign(raft)) { // who only stands in hands over, and does not take
        raft_campaign(raft, false, true);
    }
}
