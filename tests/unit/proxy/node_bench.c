// See node_bench.h.
#include "proxy/node_bench.h"

void bench_init(struct bench *bench, uint64_t wall_ms)
{
    *bench = (struct bench){.time = {.now_us = 1000000, .wall_ms = wall_ms}};
    cc_arena_init(&bench->arena);
}

void end(struct bench *bench)
{
    node_destroy(bench->node);
    cc_arena_finish(&bench->arena);
}

void turn(struct bench *bench)
{
    node_take_effects(bench->node, &bench->effects);
}

void pass(struct bench *bench, uint64_t ms)
{
    bench->time.now_us += ms * 1000;
    bench->time.wall_ms += ms;
    node_tick(bench->node, bench->time);
    turn(bench);
}

// -- Its database --------------------------------------------------------------------------------------------------------

void database_up(struct bench *bench, const struct crdt_frontier *frontier)
{
    struct db_event up = {.kind = DB_UP, .lane = DB_STRONG, .frontier = frontier};
    node_db_event(bench->node, bench->time, &up);
    up.lane = DB_WEAK;
    node_db_event(bench->node, bench->time, &up);
    turn(bench);
}

const struct db_job *find_job(const struct bench *bench, enum db_job_kind kind)
{
    for (size_t i = 0; i < bench->effects.n_jobs[DB_WEAK]; i++) {
        if (bench->effects.jobs[DB_WEAK][i]->kind == kind) {
            return bench->effects.jobs[DB_WEAK][i];
        }
    }
    return NULL;
}

const struct node_fact *find_fact(const struct bench *bench, enum node_fact_kind kind)
{
    for (size_t i = 0; i < bench->effects.n_facts; i++) {
        if (bench->effects.facts[i].kind == kind) {
            return &bench->effects.facts[i];
        }
    }
    return NULL;
}

void submit_weak(struct bench *bench, uint64_t token, uint32_t timeout_ms, enum operation_durability durability)
{
    struct operation operation = {.kind = OPERATION_STATEMENTS, .weak = true, .timeout_ms = timeout_ms, .durability = durability};
    struct cc_buffer bytes = {0};
    operation_put(&bytes, &operation);
    node_submit(bench->node, bench->time, token, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
}

// -- Frames of peers -----------------------------------------------------------------------------------------------------

void deliver_frame(struct bench *bench, uint32_t peer, const struct wire_head *head, struct cc_slice body)
{
    struct cc_buffer frame = {0};
    cc_put_u8(&frame, head->version == 0 ? NODE_FRAME_VERSION : head->version);
    cc_put_u8(&frame, head->kind);
    cc_put_u64(&frame, head->hlc);
    cc_put_u64(&frame, head->wall_ms);
    cc_put_bytes(&frame, body);
    node_peer_frame(bench->node, bench->time, peer, cc_buffer_slice(&frame));
    cc_buffer_finish(&frame);
}

void deliver_word(struct bench *bench, uint32_t peer, const struct word *word)
{
    enum { DATABASE_UP = 1, IS_EMPTY = 4, RECOVERS = 16 };
    static const struct crdt_frontier nothing;
    int flags = (word->database_down ? 0 : DATABASE_UP) | (word->is_empty ? IS_EMPTY : 0) | (word->recovers ? RECOVERS : 0);
    struct cc_buffer body = {0};
    cc_put_u64(&body, word->applied);
    cc_put_u32(&body, 0); // schema version
    cc_put_u8(&body, RAFT_FOLLOWER);
    cc_put_u8(&body, (uint8_t)flags);
    cc_put_u64(&body, word->last_index);
    cc_put_u64(&body, word->promise);
    cc_put_u64(&body, word->term);
    crdt_frontier_put(&body, word->held == NULL ? &nothing : word->held);
    cc_put_u32(&body, 1); // the incarnation that it writes under
    cc_put_u64(&body, word->membership_index);
    crdt_frontier_put(&body, word->received == NULL ? &nothing : word->received);
    struct wire_head head = {.kind = FRAME_FRONTIER, .hlc = clock_hlc_of_ms(bench->time.wall_ms), .wall_ms = bench->time.wall_ms};
    deliver_frame(bench, peer, &head, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

struct cc_slice change_with(struct bench *bench, struct crdt_change_set set, const char *value)
{
    struct crdt_field field = {.column = cc_slice_text("status"), .value = cc_slice_text(value)};
    struct cc_buffer key = {0}, bytes = {0};
    struct cc_slice id = cc_slice_text("a");
    crdt_key_put(&key, &id, 1);
    struct crdt_row_change row = {.operation = CRDT_INSERT, .table = cc_slice_text("public.t"), .key = cc_buffer_slice(&key), .fields = &field, .n_fields = 1};
    set.rows = &row;
    set.n_rows = 1;
    crdt_change_set_put(&bytes, &set);
    struct cc_slice copy = cc_arena_slice(&bench->arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&key);
    cc_buffer_finish(&bytes);
    return copy;
}
