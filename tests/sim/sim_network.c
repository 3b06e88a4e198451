// Connections between replicas. Streams keep frames in order and lose them only with the connection, as TCP; otherwise
// frames may be lost, come twice or overtake each other. A connection that is cut for long breaks.
#include "sim/sim.h"

#include "base/crc32c.h"
#include "base/memory.h"
#include "consensus/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    NOTICE_US_MAX = 20 * 1000,       // until an end notices that the connection is closed
    SILENCE_US_MAX = 2000 * 1000,    // until it notices that nothing comes any more
    RECONNECT_US_MAX = 300 * 1000,
    FRAME_HEAD_BYTES = 18,
    FRAME_RAFT = 2,
    FRAME_FORWARD = 3,
    FRAME_UNKNOWN = 100,             // and above
    PATIENCE_US = 1500 * 1000,       // a connection breaks when it was cut for so long
};

struct frames {
    struct cc_blob **at;
    size_t n, capacity;
};

struct link { // from one to another, half of a connection
    bool up;                 // the sender believes that it is connected
    bool cut;
    uint64_t last_arrival_us;
    struct frames stalled;   // streams: waiting for the end of the cut
};

struct connection {
    uint64_t generation; // rises when it breaks: frames of an earlier one never arrive
    bool trying;         // a connection attempt is scheduled
};

struct sim_network {
    struct link links[SIM_REPLICAS_MAX + 1][SIM_REPLICAS_MAX + 1];          // [from][to]
    struct connection connections[SIM_REPLICAS_MAX + 1][SIM_REPLICAS_MAX + 1]; // [smaller id][greater id]
    bool reliable;
};

static struct connection *connection_of(struct sim *sim, uint32_t a, uint32_t b)
{
    return a < b ? &sim->network->connections[a][b] : &sim->network->connections[b][a];
}

struct sim_network *sim_network_create(struct sim *sim)
{
    (void)sim;
    return cc_alloc(sizeof(struct sim_network));
}

static void forget_stalled(struct link *link)
{
    for (size_t i = 0; i < link->stalled.n; i++) {
        cc_blob_unref(link->stalled.at[i]);
    }
    link->stalled.n = 0;
}

void sim_network_destroy(struct sim_network *network)
{
    for (uint32_t from = 1; from <= SIM_REPLICAS_MAX; from++) {
        for (uint32_t to = 1; to <= SIM_REPLICAS_MAX; to++) {
            forget_stalled(&network->links[from][to]);
            free(network->links[from][to].stalled.at);
        }
    }
    free(network);
}

// -- Frames ---------------------------------------------------------------------------------------------------------

static bool is_stream(const struct sim *sim)
{
    return sim->network->reliable || sim->knobs.stream != 0;
}

static void stall(struct link *link, struct cc_blob *frame)
{
    link->stalled.at = cc_grow(link->stalled.at, &link->stalled.capacity, link->stalled.n + 1, sizeof(struct cc_blob *));
    link->stalled.at[link->stalled.n++] = cc_blob_ref(frame);
}

// A frame as a later version might send it: other fields, or a kind that nobody here knows.
static struct cc_buffer strange_frame(struct sim *sim, const struct cc_blob *blob)
{
    struct cc_buffer frame = {0};
    struct raft_message message;
    bool is_raft = blob->data[1] == FRAME_RAFT && raft_message_read(cc_slice_of(blob->data + FRAME_HEAD_BYTES, blob->n - FRAME_HEAD_BYTES), &message) == CC_OK;
    cc_buffer_append(&frame, blob->data, FRAME_HEAD_BYTES);
    if (is_raft) { // where indexes count from elsewhere
        message.log_index += 1000;
        message.commit += 1000;
        raft_message_put(&frame, &message);
        raft_message_finish(&message);
    } else {
        cc_put_u8(&frame, (uint8_t)sim_draw(sim, 0, 255));
        cc_buffer_append(&frame, blob->data + FRAME_HEAD_BYTES, blob->n - FRAME_HEAD_BYTES);
    }
    if (is_raft || sim_chance(sim, 500000)) {
        frame.data[0]++;
    } else {
        frame.data[1] = (uint8_t)sim_draw(sim, FRAME_UNKNOWN, 255);
    }
    return frame;
}

static void meet_stranger(struct sim *sim, struct sim_replica *to, uint32_t from, const struct cc_blob *blob)
{
    struct sim_belief before;
    struct cc_buffer frame = strange_frame(sim, blob);
    sim->counters.strangers++;
    sim_trace(sim, "r%u <- r%u frame of version %u, kind %u", to->id, from, frame.data[0], frame.data[1]);
    sim_check_belief(to, &before);
    node_peer_frame(to->node, sim_replica_time(sim, to), from, cc_buffer_slice(&frame));
    sim_check_unmoved(sim, to, &before);
    cc_buffer_finish(&frame);
}

// Whole replicas of another version: nothing that they say is understood, though they answer at the same address under the same key.
static void meet_other_version(struct sim *sim, struct sim_replica *to, uint32_t from, const struct cc_blob *blob)
{
    struct sim_belief before;
    struct cc_buffer frame = {0};
    cc_buffer_append(&frame, blob->data, blob->n);
    frame.data[0]++;
    sim->counters.skewed++;
    sim_check_belief(to, &before);
    node_peer_frame(to->node, sim_replica_time(sim, to), from, cc_buffer_slice(&frame));
    sim_check_unmoved(sim, to, &before);
    sim_check_stranger(sim, to, from);
    sim_replica_settle(sim, to);
    cc_buffer_finish(&frame);
}

static void deliver(struct sim *sim, struct sim_event *event)
{
    uint32_t from = (uint32_t)event->a;
    struct sim_replica *to = sim_replica_of(sim, event->replica);
    struct link *link = &sim->network->links[from][to->id];
    if (event->b != connection_of(sim, from, to->id)->generation) {
        return;
    }
    if (link->cut || link->stalled.n > 0) {
        if (is_stream(sim)) {
            stall(link, event->blob);
        }
        return;
    }
    if (to->is_later != sim_replica_of(sim, from)->is_later) {
        meet_other_version(sim, to, from, event->blob);
        return;
    }
    if (sim->phase == SIM_FAULTS && sim->knobs.stranger_ppm > 0 && sim_chance(sim, sim->knobs.stranger_ppm)) {
        meet_stranger(sim, to, from, event->blob);
    }
    sim->counters.frames++;
    sim_hash(sim, cc_crc32c(0, event->blob->data, event->blob->n));
    if (sim->is_told) {
        sim_tell_frame(sim, from, to->id, cc_blob_slice(event->blob));
    }
    node_peer_frame(to->node, sim_replica_time(sim, to), from, cc_blob_slice(event->blob));
    sim_replica_settle(sim, to);
}

// Held: for how long a test holds the frame back; then later ones may overtake it, or not.
static void schedule(struct sim *sim, uint32_t from, uint32_t to, struct cc_blob *frame, struct faults_decision held)
{
    struct link *link = &sim->network->links[from][to];
    uint64_t delay_us = sim_draw(sim, sim->knobs.delay_us / 2, sim->knobs.delay_us * 2) + held.delay_us;
    if (sim->phase == SIM_FAULTS && sim->knobs.jitter_us > 0 && sim_chance(sim, 200000)) {
        delay_us += sim_draw(sim, 0, sim->knobs.jitter_us);
    }
    if (is_stream(sim) && !held.overtaken) {
        uint64_t arrival_us = sim->now_us + delay_us;
        arrival_us = arrival_us < link->last_arrival_us ? link->last_arrival_us : arrival_us;
        link->last_arrival_us = arrival_us;
        delay_us = arrival_us - sim->now_us;
    }
    struct sim_event *event = sim_after(sim, delay_us, deliver, to);
    event->a = from;
    event->b = connection_of(sim, from, to)->generation;
    event->blob = cc_blob_ref(frame);
}

void sim_network_send(struct sim *sim, uint32_t from, uint32_t to, struct cc_slice frame)
{
    struct link *link = &sim->network->links[from][to];
    if (!link->up || !sim_replica_of(sim, to)->alive) {
        return;
    }
    if (!is_stream(sim) && sim_chance(sim, sim->knobs.loss_ppm)) {
        return;
    }
    struct faults_decision held = {FAULTS_DELIVER, 0, false};
    if (sim->hooks.faults != NULL) {
        held = faults_decide(sim->hooks.faults, from, to, sim->now_us);
    }
    if (held.verdict == FAULTS_LOSE) {
        sim_trace(sim, "r%u -> r%u frame kind %u is dropped", from, to, frame.data[1]);
        return;
    }
    struct cc_blob *blob = cc_blob_create(frame.data, frame.n);
    if (is_stream(sim) && link->stalled.n > 0) {
        stall(link, blob);
    } else {
        schedule(sim, from, to, blob, held);
        bool is_forward = frame.data[1] == FRAME_FORWARD; // its refusal is final: that it comes once is what streams are for
        if (!is_stream(sim) && !is_forward && sim_chance(sim, sim->knobs.duplicate_ppm)) {
            schedule(sim, from, to, blob, held);
        }
    }
    cc_blob_unref(blob);
}

// -- Connections ----------------------------------------------------------------------------------------------------

static void try_connect(struct sim *sim, struct sim_event *event);

static void plan_connect(struct sim *sim, uint32_t a, uint32_t b)
{
    struct connection *connection = connection_of(sim, a, b);
    if (connection->trying) {
        return;
    }
    connection->trying = true;
    struct sim_event *event = sim_after(sim, sim_draw(sim, 1000, RECONNECT_US_MAX), try_connect, 0);
    event->a = a;
    event->b = b;
}

static void end_down(struct sim *sim, uint32_t id, uint32_t peer)
{
    struct link *link = &sim->network->links[id][peer];
    struct sim_replica *replica = sim_replica_of(sim, id);
    if (!link->up) {
        return;
    }
    link->up = false;
    if (replica->alive) {
        sim_trace(sim, "r%u lost r%u", id, peer);
        node_peer_down(replica->node, sim_replica_time(sim, replica), peer);
        sim_replica_settle(sim, replica);
    }
}

static void end_up(struct sim *sim, uint32_t id, uint32_t peer)
{
    struct sim_replica *replica = sim_replica_of(sim, id);
    end_down(sim, id, peer); // an end that had not noticed
    sim->network->links[id][peer].up = true;
    sim_trace(sim, "r%u reached r%u", id, peer);
    node_peer_up(replica->node, sim_replica_time(sim, replica), peer, sim_replica_of(sim, peer)->incarnation);
    sim_replica_settle(sim, replica);
}

static bool is_paused(const struct sim *sim, const struct sim_replica *replica)
{
    return replica->paused_until_us > sim->now_us;
}

static void try_connect(struct sim *sim, struct sim_event *event)
{
    uint32_t a = (uint32_t)event->a;
    uint32_t b = (uint32_t)event->b;
    struct connection *connection = connection_of(sim, a, b);
    const struct sim_replica *one = sim_replica_of(sim, a);
    const struct sim_replica *other = sim_replica_of(sim, b);
    connection->trying = false;
    if (!one->alive || !other->alive) {
        return; // the next start tries again
    }
    if (sim->network->links[a][b].up && sim->network->links[b][a].up) {
        return;
    }
    bool cut = sim->network->links[a][b].cut || sim->network->links[b][a].cut;
    if (cut || is_paused(sim, one) || is_paused(sim, other)) {
        plan_connect(sim, a, b);
        return;
    }
    connection->generation++;
    forget_stalled(&sim->network->links[a][b]);
    forget_stalled(&sim->network->links[b][a]);
    uint32_t first = sim_chance(sim, 500000) ? a : b;
    end_up(sim, first, first == a ? b : a);
    end_up(sim, first == a ? b : a, first);
}

static void notice(struct sim *sim, struct sim_event *event)
{
    uint32_t peer = (uint32_t)event->a;
    if (event->b != connection_of(sim, event->replica, peer)->generation) {
        return;
    }
    end_down(sim, event->replica, peer);
    plan_connect(sim, event->replica, peer);
}

static void break_connection(struct sim *sim, uint32_t a, uint32_t b, uint64_t notice_us_max)
{
    struct connection *connection = connection_of(sim, a, b);
    connection->generation++;
    const uint32_t ends[2][2] = {{a, b}, {b, a}};
    for (size_t i = 0; i < 2; i++) {
        struct link *link = &sim->network->links[ends[i][0]][ends[i][1]];
        forget_stalled(link);
        link->last_arrival_us = 0;
        if (link->up && sim_replica_of(sim, ends[i][0])->alive) {
            struct sim_event *event = sim_after(sim, sim_draw(sim, 1, notice_us_max), notice, ends[i][0]);
            event->a = ends[i][1];
            event->b = connection->generation;
        }
    }
}

void sim_network_reset(struct sim *sim, uint32_t a, uint32_t b)
{
    sim_trace(sim, "connection r%u-r%u reset", a, b);
    break_connection(sim, a, b, NOTICE_US_MAX);
}

void sim_network_replica_up(struct sim *sim, uint32_t id)
{
    for (uint32_t other = 1; other <= sim->n_replicas; other++) {
        if (other != id) {
            plan_connect(sim, id, other);
        }
    }
}

void sim_network_replica_down(struct sim *sim, uint32_t id, bool silently)
{
    for (uint32_t other = 1; other <= sim->n_replicas; other++) {
        if (other != id) {
            sim->network->links[id][other].up = false;
            break_connection(sim, id, other, silently ? SILENCE_US_MAX : NOTICE_US_MAX);
        }
    }
}

// -- Cuts -----------------------------------------------------------------------------------------------------------

static void lose_patience(struct sim *sim, struct sim_event *event)
{
    uint32_t from = (uint32_t)event->a;
    uint32_t to = (uint32_t)event->b;
    if (sim->network->links[from][to].cut && event->c == connection_of(sim, from, to)->generation) {
        sim_trace(sim, "connection r%u-r%u breaks", from, to);
        break_connection(sim, from, to, NOTICE_US_MAX);
    }
}

static void release_stalled(struct sim *sim, uint32_t from, uint32_t to)
{
    struct frames stalled = sim->network->links[from][to].stalled;
    sim->network->links[from][to].stalled = (struct frames){0};
    for (size_t i = 0; i < stalled.n; i++) {
        schedule(sim, from, to, stalled.at[i], (struct faults_decision){FAULTS_DELIVER, 0, false});
        cc_blob_unref(stalled.at[i]);
    }
    free(stalled.at);
}

static void set_cut(struct sim *sim, uint32_t from, uint32_t to, bool cut)
{
    struct link *link = &sim->network->links[from][to];
    if (link->cut == cut) {
        return;
    }
    link->cut = cut;
    if (!cut) {
        release_stalled(sim, from, to);
        return;
    }
    struct sim_event *event = sim_after(sim, sim_draw(sim, PATIENCE_US / 4, PATIENCE_US), lose_patience, 0);
    event->a = from;
    event->b = to;
    event->c = connection_of(sim, from, to)->generation;
}

void sim_network_cut(struct sim *sim, bool cut[SIM_REPLICAS_MAX + 1][SIM_REPLICAS_MAX + 1])
{
    for (uint32_t from = 1; from <= sim->n_replicas; from++) {
        for (uint32_t to = 1; to <= sim->n_replicas; to++) {
            set_cut(sim, from, to, cut[from][to]);
        }
    }
}

void sim_network_heal(struct sim *sim)
{
    bool cut[SIM_REPLICAS_MAX + 1][SIM_REPLICAS_MAX + 1] = {0};
    sim_network_cut(sim, cut);
    bool was_stream = is_stream(sim);
    sim->network->reliable = true;
    for (uint32_t a = 1; a <= sim->n_replicas && !was_stream; a++) {
        for (uint32_t b = a + 1; b <= sim->n_replicas; b++) {
            break_connection(sim, a, b, NOTICE_US_MAX); // what was lost is made good by connecting again
        }
    }
}

void sim_network_tell(const struct sim *sim)
{
    for (uint32_t from = 1; from <= sim->n_replicas; from++) {
        for (uint32_t to = 1; to <= sim->n_replicas; to++) {
            const struct link *link = &sim->network->links[from][to];
            if (from != to && (link->cut || !link->up)) {
                printf("r%u -> r%u: %s, %zu frames wait\n", from, to, link->cut ? "cut" : "not connected", link->stalled.n);
            }
        }
    }
}
