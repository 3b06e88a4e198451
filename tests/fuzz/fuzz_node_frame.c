// Fuzz: frames from other replicas, given to a whole node. First byte: odd: the node leads. Then frames: {u8 peer, u16 length, kind and
// body}; version and clocks are put in front, so that the bodies are reached. What the node wants written, is written at once; its database
// is up, and does not answer.
#include <stdlib.h>

#include "proxy/node/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { N_MEMBERS = 3, ELECTION_US = 1000 * 1000, FRAMES_MAX = 64 };

struct stage {
    struct node *node;
    struct node_time time;
};

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void answer_snapshot(struct stage *stage, const struct snapshot_job *job)
{
    struct snapshot_event event = {.kind = job->kind, .number = job->number, .peer = job->peer, .offset = job->offset};
    event.status = job->kind == SNAPSHOT_MAKE || job->kind == SNAPSHOT_READ ? CC_IO : CC_OK;
    node_snapshot_event(stage->node, stage->time, &event);
}

static void carry_out(struct stage *stage)
{
    for (int i = 0; i < 8; i++) {
        struct node_effects effects;
        node_take_effects(stage->node, &effects);
        for (size_t s = 0; s < effects.n_sends; s++) {
            must(effects.sends[s].peer >= 1 && effects.sends[s].frame.n > 0);
        }
        struct snapshot_job jobs[8];
        size_t n_jobs = effects.n_snapshots < 8 ? effects.n_snapshots : 8;
        for (size_t s = 0; s < n_jobs; s++) {
            jobs[s] = effects.snapshots[s];
        }
        if (effects.log_number > 0) {
            node_log_synced(stage->node, stage->time, effects.log_number);
        }
        for (size_t s = 0; s < n_jobs; s++) {
            answer_snapshot(stage, &jobs[s]);
        }
    }
}

static void give(struct stage *stage, uint32_t peer, struct cc_slice kind_and_body)
{
    struct cc_buffer frame = {0};
    cc_put_u8(&frame, NODE_FRAME_VERSION);
    cc_put_u8(&frame, kind_and_body.n > 0 ? kind_and_body.data[0] : 0);
    cc_put_u64(&frame, 0);
    cc_put_u64(&frame, stage->time.wall_ms);
    if (kind_and_body.n > 1) {
        cc_put_bytes(&frame, cc_slice_of(kind_and_body.data + 1, kind_and_body.n - 1));
    }
    node_peer_frame(stage->node, stage->time, peer, cc_buffer_slice(&frame));
    cc_buffer_finish(&frame);
    carry_out(stage);
}

static void give_raft(struct stage *stage, struct raft_message message)
{
    struct cc_buffer body = {0};
    cc_put_u8(&body, 2);
    message.from = 2;
    message.to = 1;
    raft_message_put(&body, &message);
    give(stage, 2, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static struct stage make(void)
{
    struct node_options options = {.raft = {.id = 1, .election_us = ELECTION_US, .heartbeat_us = ELECTION_US / 10, .seed = 1}, .incarnation = 7, .clock_skew_ms_max = 500};
    for (uint32_t id = 1; id <= N_MEMBERS; id++) {
        options.raft.membership.members[options.raft.membership.n_members++] = (struct raft_member){.id = id, .voter = true};
    }
    struct stage stage = {.node = node_create(&options), .time = {.now_us = ELECTION_US, .wall_ms = 1000000}};
    node_start(stage.node, stage.time.now_us, stage.time.wall_ms);
    struct crdt_frontier none = {0};
    for (int lane = 0; lane < DB_LANES; lane++) {
        struct db_event up = {.kind = DB_UP, .lane = (enum db_lane)lane, .frontier = &none};
        node_db_event(stage.node, stage.time, &up);
    }
    for (uint32_t id = 2; id <= N_MEMBERS; id++) {
        node_peer_up(stage.node, stage.time, id, id);
    }
    carry_out(&stage);
    return stage;
}

static void lead(struct stage *stage)
{
    stage->time.now_us += 3 * ELECTION_US;
    node_tick(stage->node, stage->time);
    carry_out(stage);
    uint64_t term = raft_term(node_raft(stage->node)) + 1;
    give_raft(stage, (struct raft_message){.kind = RAFT_PRE_VOTE_REPLY, .term = term});
    give_raft(stage, (struct raft_message){.kind = RAFT_VOTE_REPLY, .term = term});
    must(raft_role(node_raft(stage->node)) == RAFT_LEADER);
    give_raft(stage, (struct raft_message){.kind = RAFT_APPEND_REPLY, .term = term, .log_index = raft_last_index(node_raft(stage->node))});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct stage stage = make();
    struct cc_reader reader = cc_reader_of(cc_slice_of(data, n));
    if (cc_read_u8(&reader) & 1) {
        lead(&stage);
    }
    for (int i = 0; i < FRAMES_MAX && cc_reader_ok(&reader) && cc_reader_left(&reader) > 0; i++) {
        uint32_t peer = 2 + cc_read_u8(&reader) % 3; // 4: a stranger
        size_t n_bytes = cc_read_u16(&reader);
        size_t n_left = cc_reader_left(&reader);
        struct cc_slice bytes = cc_read_bytes(&reader, n_bytes < n_left ? n_bytes : n_left);
        if (cc_reader_ok(&reader)) {
            give(&stage, peer, bytes);
        }
        stage.time.now_us += 10 * 1000;
        node_tick(stage.node, stage.time);
        carry_out(&stage);
    }
    node_destroy(stage.node);
    return 0;
}
