// Frontier: a version vector. For every origin the highest sequence number up to which everything is held.
#ifndef CRDT_FRONTIER_H
#define CRDT_FRONTIER_H

#include "base/limits.h"
#include "clock/clock.h"

// Who numbered a change: a replica in one of its lives. A replica that may have forgotten something gets a new incarnation.
struct crdt_origin {
    uint32_t replica;
    uint32_t incarnation;
};

int crdt_origin_compare(struct crdt_origin a, struct crdt_origin b);

struct crdt_frontier { // sorted by origin; plain data, copy by assignment
    uint32_t n;
    struct {
        struct crdt_origin origin;
        uint64_t sequence; // > 0
    } at[CC_ORIGINS_MAX];
};

uint64_t crdt_frontier_get(const struct crdt_frontier *frontier, struct crdt_origin origin); // 0: nothing held
// Raises (never lowers). CC_TOO_LARGE when there are more than CC_ORIGINS_MAX origins.
enum cc_status crdt_frontier_raise(struct crdt_frontier *frontier, struct crdt_origin origin, uint64_t sequence) CC_CHECKED;
// Raises to all that `other` holds. CC_TOO_LARGE at the first origin that does not fit: those before it are raised, no others.
enum cc_status crdt_frontier_join(struct crdt_frontier *frontier, const struct crdt_frontier *other) CC_CHECKED;
// True when a holds everything that b holds.
bool crdt_frontier_covers(const struct crdt_frontier *a, const struct crdt_frontier *b);
bool crdt_frontier_equal(const struct crdt_frontier *a, const struct crdt_frontier *b);
void crdt_frontier_put(struct cc_buffer *out, const struct crdt_frontier *frontier);
// Sorted, no duplicates, no zero sequence: else CC_MALFORMED.
enum cc_status crdt_frontier_read(struct cc_reader *reader, struct crdt_frontier *frontier_out) CC_CHECKED;
// "replica incarnation sequence ...", as SQL gathers the rows of a table, in any order. Where the text is no such list, or has too many
// origins, the rest is passed over: the frontier then says less than is held, which is safe.
void crdt_frontier_of_text(const char *text, struct crdt_frontier *frontier_out);

#endif
