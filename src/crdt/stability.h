// Stability: up to which stamp everything is settled among all members, so that tombstones may go. Pure.
//
// Each member claims, again and again: "I have numbered my changes up to `sequence`; all later ones have stamps above `hlc`; and I
// hold on disk every change with a stamp up to `held`". A claim has been reached by who holds the claimant's changes up to
// that sequence on disk. Hence two bounds, here:
//   held   every change with a stamp up to this is on disk here: the least `hlc` of the claims reached
//   bound  every member has all of these on disk, and what a member wrote before it had them is on disk here, too: the least `held`
//          of the claims reached. Whatever still arrives was written by somebody who knew of every deletion up to here.
// A member that is away holds both back. Changes of origins that write no more (earlier incarnations, removed replicas) have nobody
// who claims: they count as held when no member is known to have more of them.
#ifndef CRDT_STABILITY_H
#define CRDT_STABILITY_H

#include "base/limits.h"
#include "crdt/frontier.h"

struct crdt_claim {
    uint64_t sequence, hlc, held;
};

struct crdt_stability_member {
    uint32_t replica, incarnation; // incarnation 0: not heard of
    uint32_t n_told;               // since it or another member was new
    bool waits, has_reached;
    struct crdt_claim waiting, reached;
    struct crdt_frontier flushed; // what it has on disk
};

struct crdt_stability {
    uint32_t n, self;
    struct crdt_stability_member members[CC_REPLICAS_MAX]; // `self` among them
    uint64_t held, bound; // never fall
};

// Zero-initialise first. Who the members are: what is known of those that stay, stays.
void crdt_stability_set_members(struct crdt_stability *stability, uint32_t self, const uint32_t *ids, uint32_t n);
// A member's claim, with what it has on disk; also our own.
void crdt_stability_told(struct crdt_stability *stability, struct crdt_origin member, const struct crdt_claim *claim,
                         const struct crdt_frontier *flushed);
// Of each origin, what every member has on disk. Empty while some member has not told.
void crdt_stability_common(const struct crdt_stability *stability, struct crdt_frontier *frontier_out);

#endif
