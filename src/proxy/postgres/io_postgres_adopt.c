// MERGE with `adopt`: the states of all rows were joined with those of another replica, so its frontier is ours, too. The change sets
// in between are not in the history: that is noted as if they had been dropped.
#include "proxy/postgres/io_postgres_internal.h"

#include <string.h>

enum { COLUMNS = 5 }; // replica, incarnation, sequence, stamp, change sets skipped

static void on_adopted(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    struct pg_lane *lane = job->lane;
    if (!pg_lane_committed(lane, result)) {
        return;
    }
    if (crdt_frontier_join(&lane->frontier, job->job.adopt) != CC_OK) {
        pg_lane_drop(lane, "a frontier cannot be taken over", NULL);
        return;
    }
    lane->merged = lane->frontier;
    pg_lane_emit(lane, &(struct db_event){.kind = DB_MERGED, .number = job->job.number});
    pg_job_finish(job);
}

static void send_raised(struct pg_lane *lane, const struct crdt_frontier *adopted, const struct clock_stamp *stamp)
{
    struct pg_array columns[COLUMNS];
    struct pg_array *arrays[COLUMNS];
    char text[CLOCK_STAMP_TEXT_BYTES];
    clock_stamp_text(stamp, text);
    for (int i = 0; i < COLUMNS; i++) {
        pg_array_init(&columns[i], i == 3 ? PG_TEXT : PG_INT8);
        arrays[i] = &columns[i];
    }
    for (uint32_t i = 0; i < adopted->n; i++) {
        struct crdt_origin origin = adopted->at[i].origin;
        uint64_t held = crdt_frontier_get(&lane->frontier, origin);
        if (adopted->at[i].sequence > held) {
            pg_array_put_int8(&columns[0], origin.replica);
            pg_array_put_int8(&columns[1], origin.incarnation);
            pg_array_put_int8(&columns[2], (int64_t)adopted->at[i].sequence);
            pg_array_put(&columns[3], cc_slice_text(text));
            pg_array_put_int8(&columns[4], (int64_t)(adopted->at[i].sequence - held));
        }
    }
    if (columns[0].n > 0) {
        pg_lane_must_arrays(lane, "INSERT INTO caucus.frontier (replica, incarnation, sequence, stamp) SELECT * FROM ", arrays, 4,
                    " AS u(r, i, q, s) ON CONFLICT (replica, incarnation) DO UPDATE SET sequence = EXCLUDED.sequence, stamp = EXCLUDED.stamp");
        pg_lane_must_arrays(lane, "INSERT INTO caucus.dropped AS d (replica, incarnation, sequence, stamp, sets) SELECT * FROM ", arrays, COLUMNS,
                    " AS u(r, i, q, s, n) ON CONFLICT (replica, incarnation) DO UPDATE SET sequence = EXCLUDED.sequence, stamp = EXCLUDED.stamp, "
                    "sets = d.sets + EXCLUDED.sets");
    }
    for (int i = 0; i < COLUMNS; i++) {
        pg_array_finish(&columns[i]);
    }
}

void pg_adopt_start(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    if (lane->in_transaction) { // executed writes that changed nothing may have left one
        pg_lane_must_text(lane, "COMMIT");
        pg_lane_settings_forget(lane);
        lane->in_transaction = false;
    }
    pg_lane_must_text(lane, "BEGIN");
    send_raised(lane, job->job.adopt, &job->job.stamps[0]);
    struct io_postgres_query query = {.sql = "COMMIT"};
    io_postgres_link_send(lane->link, &query, on_adopted, job, 0);
    io_postgres_link_sync(lane->link, NULL, NULL, 0);
}
