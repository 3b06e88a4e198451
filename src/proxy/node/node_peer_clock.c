// Clocks of peers: how far each one's wall clock is from ours, by what its frames say, and whose is wrong.
//
// A frame that was under way for long makes its sender's clock look slow, so of the frames of some seconds the best one counts.
#include "proxy/node/node_internal.h"

#include <stdlib.h>

enum {
    CLOCK_TOLD_US = 60 * 1000 * 1000,
    CLOCK_WINDOW_US = 2000 * 1000, // of the frames in it, some come at once
};

static int64_t monotonic_ms(const struct node *node)
{
    return (int64_t)(node->time.now_us / 1000);
}

static void note_clock(struct node *node, struct peer *peer, uint64_t wall_ms)
{
    int64_t ahead_ms = (int64_t)wall_ms - monotonic_ms(node);
    uint64_t age_us = node->time.now_us - peer->clock_window_us;
    if (!peer->clock_known || age_us >= CLOCK_WINDOW_US) {
        struct clock_window now = {ahead_ms, ahead_ms};
        peer->clock_before = peer->clock_known && age_us < 2 * CLOCK_WINDOW_US ? peer->clock : now;
        peer->clock = now;
        peer->clock_window_us = node->time.now_us;
        peer->clock_known = true;
        return;
    }
    peer->clock.least_ms = ahead_ms < peer->clock.least_ms ? ahead_ms : peer->clock.least_ms;
    peer->clock.greatest_ms = ahead_ms > peer->clock.greatest_ms ? ahead_ms : peer->clock.greatest_ms;
}

void peer_clock_heard(struct node *node, struct peer *peer, uint64_t hlc, uint64_t wall_ms)
{
    note_clock(node, peer, wall_ms);
    peer->clock_is_ahead = clock_hlc_observe(&node->clock, hlc, node->time.wall_ms) != CC_OK;
    bool told = peer->clock_told_us > 0 && node->time.now_us - peer->clock_told_us < CLOCK_TOLD_US;
    if (peer->clock_is_ahead && !told) { // each of its frames says so
        peer->clock_told_us = node->time.now_us;
        node_fact(node, NODE_FACT_CLOCK, peer->id, clock_hlc_ms(hlc) - node->time.wall_ms, 0, NULL);
    }
}

static int compare_offsets(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t peer_clock_offset_ms(const struct node *node, const struct peer *peer)
{
    const struct clock_window *a = &peer->clock, *b = &peer->clock_before;
    int64_t own_ms = (int64_t)node->time.wall_ms - monotonic_ms(node);
    int64_t least = (a->least_ms < b->least_ms ? a->least_ms : b->least_ms) - own_ms;
    int64_t greatest = (a->greatest_ms > b->greatest_ms ? a->greatest_ms : b->greatest_ms) - own_ms;
    return least > 0 ? least : greatest < 0 ? greatest : 0;
}

bool peer_clock_is_off(const struct node *node, int64_t *median_ms_out)
{
    int64_t offsets[CC_REPLICAS_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].member && node->peers[i].up && node->peers[i].clock_known) {
            offsets[n++] = peer_clock_offset_ms(node, &node->peers[i]);
        }
    }
    if (n == 0) {
        return false;
    }
    qsort(offsets, n, sizeof(offsets[0]), compare_offsets);
    // The median of the others; of an even number the one closer to ours, so that two replicas cannot both be wrong.
    int64_t low = offsets[(n - 1) / 2], high = offsets[n / 2];
    *median_ms_out = llabs(low) < llabs(high) ? low : high;
    return llabs(*median_ms_out) > (int64_t)node->options.clock_skew_ms_max;
}
