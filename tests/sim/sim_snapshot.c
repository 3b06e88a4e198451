// The snapshot thread in virtual time: a snapshot is what the store has committed.
#include "sim/sim.h"

#include "base/codec.h"
#include "base/memory.h"
#include "sim/sim_rows.h"

#include <stdlib.h>

struct work {
    struct snapshot_job job;
    struct cc_buffer bytes;
};

static void work_free(void *data)
{
    struct work *work = data;
    cc_buffer_finish(&work->bytes);
    free(work);
}

static enum cc_status make(struct sim_replica *replica, struct snapshot_event *event, struct crdt_frontier *frontier)
{
    if (!sim_database_is_up(replica->database)) {
        return CC_UNAVAILABLE;
    }
    struct sim_rows *rows = sim_database_rows(replica->database);
    cc_buffer_clear(&replica->snapshot_out);
    cc_put_u64(&replica->snapshot_out, (uint64_t)rows->sequence);
    sim_store_export(rows->store, &replica->snapshot_out);
    sim_rows_frontier(rows, frontier);
    event->index = sim_rows_applied(rows);
    event->n_bytes = replica->snapshot_out.n;
    event->frontier = frontier;
    return CC_OK;
}

static enum cc_status read_piece(struct sim_replica *replica, struct snapshot_event *event, const struct snapshot_job *job)
{
    if (job->offset > replica->snapshot_out.n) {
        return CC_NOT_FOUND;
    }
    size_t left = replica->snapshot_out.n - (size_t)job->offset;
    event->bytes = cc_slice_of(replica->snapshot_out.data + job->offset, left < job->n_bytes ? left : job->n_bytes);
    return CC_OK;
}

static enum cc_status write_piece(struct sim *sim, struct sim_replica *replica, const struct work *work)
{
    if (work->job.offset == 0) {
        cc_buffer_clear(&replica->snapshot_in);
    }
    SIM_CHECK(sim, "snapshot", replica->snapshot_in.n == work->job.offset, "r%u writes a piece at the wrong place", replica->id);
    cc_buffer_append_slice(&replica->snapshot_in, cc_buffer_slice(&work->bytes));
    return CC_OK;
}

static enum cc_status install(struct sim *sim, struct sim_replica *replica, uint64_t index)
{
    if (!sim_database_is_up(replica->database) || sim_chance(sim, 100000)) {
        return CC_UNAVAILABLE;
    }
    struct sim_rows *rows = sim_database_rows(replica->database);
    uint64_t applied = sim_rows_applied(rows);
    SIM_CHECK(sim, "A12", index >= applied, "r%u installs a snapshot of an older index", replica->id);
    struct cc_reader reader = cc_reader_of(cc_buffer_slice(&replica->snapshot_in));
    rows->sequence = rows->sequence_flushed = (int64_t)cc_read_u64(&reader);
    sim_store_rollback(rows->store, DB_STRONG); // of a leader that was; its connection has said so, and may not have done it yet
    sim_store_import(rows->store, cc_slice_of(reader.at, cc_reader_left(&reader)));
    sim_rows_flush(rows);
    SIM_CHECK(sim, "A13", sim_rows_applied(rows) == index, "r%u: the snapshot is of another index", replica->id);
    sim_check_strong_state(sim, replica->id, index, sim_store_digest(rows->store, DB_STRONG));
    struct crdt_frontier frontier;
    sim_rows_frontier(rows, &frontier);
    sim_check_weak_state(sim, replica->id, &frontier, rows->store);
    return CC_OK;
}

static void done(struct sim *sim, struct sim_event *sim_event)
{
    struct work *work = sim_event->data;
    struct sim_replica *replica = sim_replica_of(sim, sim_event->replica);
    struct crdt_frontier frontier;
    struct snapshot_event event = {.kind = work->job.kind, .number = work->job.number, .peer = work->job.peer, .offset = work->job.offset,
                                   .text = cc_slice_text("simulated")};
    switch (work->job.kind) {
    case SNAPSHOT_MAKE:
        event.status = make(replica, &event, &frontier);
        break;
    case SNAPSHOT_READ:
        event.status = read_piece(replica, &event, &work->job);
        break;
    case SNAPSHOT_WRITE:
        event.status = write_piece(sim, replica, work);
        break;
    case SNAPSHOT_INSTALL:
        event.status = install(sim, replica, work->job.index);
        break;
    case SNAPSHOT_FORGET:
        cc_buffer_clear(&replica->snapshot_out);
        break;
    }
    node_snapshot_event(replica->node, sim_replica_time(sim, replica), &event);
    if (event.kind == SNAPSHOT_INSTALL && event.status == CC_OK) {
        sim_database_reconnect(sim, replica->database);
    }
    sim_replica_settle(sim, replica);
}

void sim_snapshot_submit(struct sim *sim, struct sim_replica *replica, const struct snapshot_job *job)
{
    struct work *work = cc_alloc(sizeof(*work));
    work->job = *job;
    cc_buffer_append_slice(&work->bytes, job->bytes);
    bool slow = job->kind == SNAPSHOT_MAKE || job->kind == SNAPSHOT_INSTALL;
    uint64_t begin_us = replica->snapshot_busy_us > sim->now_us ? replica->snapshot_busy_us : sim->now_us;
    replica->snapshot_busy_us = begin_us + sim_spread(sim, sim->knobs.job_us) * (slow ? 20 : 1) + 1;
    struct sim_event *event = sim_after(sim, replica->snapshot_busy_us - sim->now_us, done, replica->id);
    event->data = work;
    event->free_data = work_free;
}

void sim_snapshot_died(struct sim_replica *replica)
{
    cc_buffer_finish(&replica->snapshot_out);
    cc_buffer_finish(&replica->snapshot_in);
    replica->snapshot_busy_us = 0;
}
