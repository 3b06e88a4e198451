// Stability: claims of members, and what follows from them.
#include "crdt/stability.h"

#include "base/mutant.h"

enum { TOLD_MIN = 3 }; // what somebody holds of an origin that has just ended is told within so many messages

static struct crdt_stability_member *find(struct crdt_stability *stability, uint32_t replica)
{
    for (uint32_t i = 0; i < stability->n; i++) {
        if (stability->members[i].replica == replica) {
            return &stability->members[i];
        }
    }
    return NULL;
}

static void begin_anew(struct crdt_stability *stability)
{
    for (uint32_t i = 0; i < stability->n; i++) {
        stability->members[i].n_told = 0;
    }
}

void crdt_stability_set_members(struct crdt_stability *stability, uint32_t self, const uint32_t *ids, uint32_t n)
{
    bool same = self == stability->self && n == stability->n;
    for (uint32_t i = 0; i < n && same; i++) {
        same = stability->members[i].replica == ids[i];
    }
    if (same) {
        return; // as nearly always
    }
    struct crdt_stability before = *stability;
    stability->self = self;
    stability->n = 0;
    bool changed = n != before.n;
    for (uint32_t i = 0; i < n && i < CC_REPLICAS_MAX; i++) {
        const struct crdt_stability_member *known = find(&before, ids[i]);
        changed = changed || known == NULL;
        stability->members[stability->n++] = known == NULL ? (struct crdt_stability_member){.replica = ids[i]} : *known;
    }
    if (changed) {
        begin_anew(stability);
    }
}

static const struct crdt_frontier *own_flushed(struct crdt_stability *stability)
{
    const struct crdt_stability_member *self = find(stability, stability->self);
    return self == NULL || self->incarnation == 0 ? NULL : &self->flushed;
}

// Origins without a claimant: nobody has more of them than we.
static bool holds_ended(struct crdt_stability *stability, const struct crdt_frontier *own)
{
    for (uint32_t i = 0; i < stability->n; i++) {
        const struct crdt_frontier *flushed = &stability->members[i].flushed;
        for (uint32_t f = 0; f < flushed->n; f++) {
            const struct crdt_stability_member *writer = find(stability, flushed->at[f].origin.replica);
            bool writes = writer != NULL && writer->incarnation == flushed->at[f].origin.incarnation;
            if (!writes && crdt_frontier_get(own, flushed->at[f].origin) < flushed->at[f].sequence) {
                return false;
            }
        }
    }
    return true;
}

static void reach(struct crdt_stability *stability, const struct crdt_frontier *own)
{
    for (uint32_t i = 0; i < stability->n; i++) {
        struct crdt_stability_member *member = &stability->members[i];
        struct crdt_origin origin = {member->replica, member->incarnation};
        if (member->waits && crdt_frontier_get(own, origin) >= member->waiting.sequence) {
            member->reached = member->waiting;
            member->has_reached = true;
            member->waits = false;
        }
    }
}

static void raise(struct crdt_stability *stability)
{
    const struct crdt_frontier *own = own_flushed(stability);
    if (own == NULL) {
        return;
    }
    reach(stability, own);
    uint64_t held = UINT64_MAX, bound = UINT64_MAX;
    for (uint32_t i = 0; i < stability->n; i++) {
        const struct crdt_stability_member *member = &stability->members[i];
        if (!member->has_reached || member->n_told < TOLD_MIN) {
            return;
        }
        held = member->reached.hlc < held ? member->reached.hlc : held;
        bound = member->reached.held < bound ? member->reached.held : bound;
    }
    if (holds_ended(stability, own)) {
        stability->held = held > stability->held ? held : stability->held;
        bound = cc_mutant(CC_MUTANT_GARBAGE_ONE_ROUND) ? held : bound;
        stability->bound = bound > stability->bound ? bound : stability->bound;
    }
}

void crdt_stability_told(struct crdt_stability *stability, struct crdt_origin origin, const struct crdt_claim *claim,
                         const struct crdt_frontier *flushed)
{
    struct crdt_stability_member *member = find(stability, origin.replica);
    if (member == NULL) {
        return;
    }
    if (member->incarnation != origin.incarnation) {
        *member = (struct crdt_stability_member){.replica = origin.replica, .incarnation = origin.incarnation};
        begin_anew(stability);
    }
    member->flushed = *flushed;
    member->n_told++;
    if (!member->waits) { // a claim stays until it is reached: a later one would always be just out of reach
        member->waiting = *claim;
        member->waits = true;
    }
    raise(stability);
}

void crdt_stability_common(const struct crdt_stability *stability, struct crdt_frontier *frontier_out)
{
    frontier_out->n = 0;
    if (stability->n == 0) {
        return;
    }
    struct crdt_frontier common = stability->members[0].flushed;
    for (uint32_t i = 1; i < stability->n; i++) {
        const struct crdt_frontier *other = &stability->members[i].flushed;
        uint32_t n = 0;
        for (uint32_t f = 0; f < common.n; f++) {
            uint64_t sequence = crdt_frontier_get(other, common.at[f].origin);
            sequence = sequence < common.at[f].sequence ? sequence : common.at[f].sequence;
            if (sequence > 0) {
                common.at[n] = common.at[f];
                common.at[n++].sequence = sequence;
            }
        }
        common.n = n;
    }
    *frontier_out = common;
}
