// See weak_bench.h.
#include "proxy/weak_bench.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

const struct crdt_origin far = {2, 1};

void database_answers(struct bench *bench, struct db_event event)
{
    event.lane = DB_WEAK;
    node_db_event(bench->node, bench->time, &event);
    turn(bench);
}

struct crdt_frontier frontier_of(uint32_t replica, uint64_t sequence)
{
    struct crdt_frontier frontier = {.n = 0};
    assert_int_equal(crdt_frontier_raise(&frontier, (struct crdt_origin){replica, 1}, sequence), CC_OK);
    return frontier;
}

static struct node *create(bool is_new, bool merges_apart)
{
    struct node_options options = {.raft = {.id = 1, .election_us = 1000000, .heartbeat_us = 100000, .seed = 1},
                                   .incarnation = 1,
                                   .next_incarnation = 9,
                                   .is_new = is_new,
                                   .merges_apart = merges_apart,
                                   .clock_skew_ms_max = SKEW_MS,
                                   .own_changes_bytes_max = 1000,
                                   .facts_of_database = cc_slice_text("facts")};
    options.raft.membership.n_members = LEARNER;
    for (uint32_t i = 0; i < LEARNER; i++) {
        options.raft.membership.members[i].id = i + 1;
        options.raft.membership.members[i].voter = i + 1 != LEARNER;
    }
    return node_create(&options);
}

void begin_as(struct bench *bench, uint64_t wall_ms, bool is_new)
{
    bench_init(bench, wall_ms);
    bench->node = create(is_new, false);
    node_log_begun(bench->node);
}

void begin(struct bench *bench, uint64_t wall_ms)
{
    begin_as(bench, wall_ms, false);
}

void begin_apart(struct bench *bench, uint64_t wall_ms)
{
    bench_init(bench, wall_ms);
    bench->node = create(false, true);
    node_log_begun(bench->node);
}

void start_with(struct bench *bench, const struct crdt_frontier *held)
{
    node_start(bench->node, bench->time.now_us, bench->time.wall_ms);
    node_peer_up(bench->node, bench->time, 2, 1);
    node_peer_up(bench->node, bench->time, 3, 1);
    database_up(bench, held);
}

void start(struct bench *bench)
{
    static const struct crdt_frontier nothing;
    start_with(bench, &nothing);
}

void begin_up(struct bench *bench)
{
    begin(bench, WALL_MS);
    start(bench);
}

void deliver(struct bench *bench, uint32_t peer, uint8_t kind, uint64_t wall_ms, struct cc_slice body)
{
    deliver_frame(bench, peer, &(struct wire_head){.kind = kind, .hlc = clock_hlc_of_ms(wall_ms), .wall_ms = wall_ms}, body);
}

struct cc_slice change_of(struct bench *bench, uint32_t replica, uint64_t sequence, uint64_t hlc, const char *value)
{
    return change_with(bench, (struct crdt_change_set){.origin = {replica, 1}, .sequence = sequence, .stamp = {hlc, replica, 1}}, value);
}

void deliver_change(struct bench *bench, uint32_t peer, uint64_t wall_ms, struct cc_slice change)
{
    struct cc_buffer body = {0};
    cc_put_varint(&body, 1);
    cc_put_string(&body, change);
    deliver(bench, peer, FRAME_CHANGES, wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static void deliver_told_frontier(struct bench *bench, uint32_t peer, const struct crdt_frontier *frontier, const struct crdt_frontier *received,
                                  uint64_t membership_index)
{
    deliver_word(bench, peer, &(struct word){.held = frontier, .received = received, .membership_index = membership_index});
}

void deliver_frontier(struct bench *bench, uint32_t peer, const struct crdt_frontier *frontier)
{
    static const struct crdt_frontier nothing;
    deliver_told_frontier(bench, peer, frontier, &nothing, 0);
}

const struct db_job *await_job(struct bench *bench, enum db_job_kind kind)
{
    if (find_job(bench, kind) == NULL) {
        turn(bench);
    }
    for (int i = 0; i < 20 && find_job(bench, kind) == NULL; i++) {
        pass(bench, 50);
    }
    return find_job(bench, kind);
}

void merged(struct bench *bench, uint64_t number, const struct crdt_frontier *frontier)
{
    database_answers(bench, (struct db_event){.kind = DB_MERGED, .number = number, .frontier = frontier});
}

void submit(struct bench *bench, uint64_t token)
{
    submit_weak(bench, token, 5000, OPERATION_LOCAL);
}

const char *refusal(const struct bench *bench)
{
    static char code[16];
    code[0] = '\0';
    struct rest_outcome outcome;
    for (size_t i = 0; i < bench->effects.n_answers; i++) {
        if (rest_outcome_read(bench->effects.answers[i].outcome, &outcome) == CC_OK && outcome.kind == REST_REFUSED) {
            snprintf(code, sizeof(code), "%.*s", (int)outcome.code.n, (const char *)outcome.code.data);
        }
    }
    return code;
}

void execute_here(struct bench *bench, enum operation_durability durability)
{
    struct rest_outcome done = {.kind = REST_DONE};
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, &done);
    struct cc_slice outcome = cc_buffer_slice(&bytes), change = change_of(bench, 1, 0, clock_hlc_of_ms(WALL_MS), "here");
    submit_weak(bench, 1, 5000, durability);
    const struct db_job *job = await_job(bench, DB_WEAK_EXECUTE);
    assert_non_null(job);
    database_answers(bench, (struct db_event){.kind = DB_WEAK_EXECUTED, .number = job->number, .n_outcomes = 1, .outcomes = &outcome, .changes = &change, .n_changes = 1});
    cc_buffer_finish(&bytes);
}

void sync_log(struct bench *bench)
{
    node_log_synced(bench->node, bench->time, bench->effects.log_number);
    turn(bench);
}

void write_here(struct bench *bench, enum operation_durability durability)
{
    execute_here(bench, durability);
    sync_log(bench);
}

void committed(struct bench *bench, const struct db_job *job, const struct crdt_frontier *frontier)
{
    assert_non_null(job);
    database_answers(bench, (struct db_event){.kind = DB_WEAK_COMMITTED, .number = job->number, .frontier = frontier});
}

void deliver_refusal(struct bench *bench, uint32_t peer, struct crdt_origin origin, uint64_t sequence)
{
    struct cc_buffer body = {0};
    cc_put_u32(&body, origin.replica);
    cc_put_u32(&body, origin.incarnation);
    cc_put_u64(&body, sequence);
    deliver(bench, peer, FRAME_TOO_OLD, WALL_MS, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

void deliver_too_old(struct bench *bench, uint32_t peer, uint32_t incarnation, uint64_t sequence)
{
    deliver_refusal(bench, peer, (struct crdt_origin){1, incarnation}, sequence);
}

bool sends(const struct bench *bench, uint32_t peer, uint8_t kind)
{
    for (size_t i = 0; i < bench->effects.n_sends; i++) {
        const struct node_send *send = &bench->effects.sends[i];
        if (send->peer == peer && send->frame.n > 1 && send->frame.data[1] == kind) {
            return true;
        }
    }
    return false;
}

void deliver_snapshot_wish(struct bench *bench, uint32_t leader)
{
    struct raft_message message = {.kind = RAFT_SNAPSHOT, .from = leader, .to = 1, .term = 5, .log_index = 100, .log_term = 5};
    struct cc_buffer body = {0};
    raft_message_put(&body, &message);
    deliver(bench, leader, FRAME_RAFT, bench->time.wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

void deliver_claim(struct bench *bench, uint32_t peer, const struct crdt_frontier *flushed)
{
    struct cc_buffer body = {0};
    cc_put_u32(&body, 1); // incarnation
    cc_put_u64(&body, crdt_frontier_get(flushed, (struct crdt_origin){peer, 1}));
    cc_put_u64(&body, clock_hlc_of_ms(bench->time.wall_ms)); // it writes nothing earlier
    cc_put_u64(&body, clock_hlc_of_ms(bench->time.wall_ms)); // of what it knows nobody does
    crdt_frontier_put(&body, flushed);
    deliver(bench, peer, FRAME_STABLE, bench->time.wall_ms, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

uint64_t settle(struct bench *bench, const struct crdt_frontier *held)
{
    struct node_garbage garbage;
    for (int i = 0; i < 10; i++) {
        for (uint32_t peer = 2; peer <= 4; peer++) {
            deliver_word(bench, peer, &(struct word){.held = held});
            deliver_claim(bench, peer, held);
        }
        pass(bench, 1000);
        if (bench->effects.log_number > 0) {
            node_log_synced(bench->node, bench->time, bench->effects.log_number);
        }
    }
    node_garbage(bench->node, &garbage);
    return garbage.bound;
}
