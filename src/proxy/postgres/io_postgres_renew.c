// The way back of a replica whose changes the others no longer take: BEGIN_ANEW puts them aside and empties the weak tables, RENEW decides in
// the next life what remains of them (crdt/renew.h).
//
//   RENEW: what the others have after all goes --> the oldest ones are read --> as a merge: DESCRIBE, READ, decided, written to see that
//   it can be --> ROLLBACK --> answered. A set that cannot be written has lost.
#include "crdt/renew.h"
#include "proxy/postgres/io_postgres_merge.h"

#include "base/log.h"

#include <inttypes.h>

enum { RENEW_BYTES = 256 << 10 };

// Of this database only: no snapshot carries them, none replaces them.
const char pg_sql_aside[] = "CREATE TABLE IF NOT EXISTS caucus.aside (replica bigint, incarnation bigint, sequence bigint, stamp text NOT NULL, "
                            "change bytea NOT NULL, PRIMARY KEY (replica, incarnation, sequence))";
const char pg_sql_lost[] = "CREATE TABLE IF NOT EXISTS caucus.lost (replica bigint, incarnation bigint, first bigint NOT NULL, sets bigint NOT NULL, "
                           "at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (replica, incarnation))";
const char pg_sql_aside_count[] = "SELECT count(*), (SELECT coalesce(sum(sets), 0)::bigint FROM caucus.lost), "
                                  "(SELECT string_agg(concat_ws(' ', o.replica, o.incarnation, o.sequence), ' ') FROM "
                                  "(SELECT replica, incarnation, max(sequence) AS sequence FROM caucus.aside GROUP BY 1, 2) o) FROM caucus.aside";

static void put_numbers(struct pg_job *job, const uint64_t *numbers, size_t n, struct cc_slice *parameters)
{
    for (size_t i = 0; i < n; i++) {
        parameters[i] = cc_slice_text(cc_arena_printf(&job->arena, "%" PRIu64, numbers[i]));
    }
}

static void end_transaction(struct pg_lane *lane)
{
    if (lane->in_transaction) { // executed writes that changed nothing may have left one
        pg_lane_must_text(lane, "COMMIT");
        pg_lane_settings_forget(lane);
        lane->in_transaction = false;
    }
}

// -- BEGIN_ANEW ----------------------------------------------------------------------------------------------------------

static void on_put_aside(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    if (!pg_result_ok(result)) {
        pg_lane_drop(job->lane, "changes cannot be put aside", result);
    } else {
        job->lane->n_aside = pg_result_u64(result, 0, 0);
    }
    PQclear(result);
}

static void on_begun_anew(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    struct pg_lane *lane = job->lane;
    if (!pg_lane_committed(lane, result)) {
        return;
    }
    lane->frontier.n = lane->merged.n = 0;
    pg_lane_emit(lane, &(struct db_event){.kind = DB_BEGUN_ANEW, .number = job->job.number, .n_aside = lane->n_aside});
    pg_job_finish(job);
}

void pg_begin_anew_start(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    const struct crdt_frontier *own = job->job.own;
    struct cc_buffer incarnations = {0}, firsts = {0};
    for (uint32_t i = 0; i < own->n; i++) {
        cc_buffer_printf(&incarnations, "%c%" PRIu32, i == 0 ? '{' : ',', own->at[i].origin.incarnation);
        cc_buffer_printf(&firsts, "%c%" PRIu64, i == 0 ? '{' : ',', own->at[i].sequence);
    }
    cc_buffer_append_text(&incarnations, own->n == 0 ? "{}" : "}");
    cc_buffer_append_text(&firsts, own->n == 0 ? "{}" : "}");
    struct cc_slice parameters[3] = {cc_slice_text(cc_arena_printf(&job->arena, "%" PRIu32, lane->postgres->options.replica)),
                                     cc_arena_slice(&job->arena, cc_buffer_slice(&incarnations)), cc_arena_slice(&job->arena, cc_buffer_slice(&firsts))};
    cc_buffer_finish(&incarnations);
    cc_buffer_finish(&firsts);
    end_transaction(lane);
    pg_lane_must_text(lane, "BEGIN");
    pg_lane_commit_durably(lane);
    pg_lane_must_text(lane, "SET LOCAL session_replication_role = replica");
    struct io_postgres_query query = {
        .sql = "SELECT caucus.begin_anew($1::bigint, $2::bigint[], $3::bigint[])", .n_parameters = 3, .parameters = parameters, .once = true};
    io_postgres_link_send(lane->link, &query, on_put_aside, job, 0);
    struct io_postgres_query commit = {.sql = "COMMIT"};
    io_postgres_link_send(lane->link, &commit, on_begun_anew, job, 0);
    io_postgres_link_sync(lane->link, NULL, NULL, 0);
}

// -- PUT_ASIDE -----------------------------------------------------------------------------------------------------------

static void on_sets_aside(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    if (pg_lane_committed(job->lane, result)) {
        pg_lane_emit(job->lane, &(struct db_event){.kind = DB_BEGUN_ANEW, .number = job->job.number, .n_aside = job->job.n_items});
        pg_job_finish(job);
    }
}

static void put_sets(struct pg_job *job)
{
    struct pg_array sequences, sets;
    struct pg_array *arrays[2] = {&sequences, &sets};
    pg_array_init(&sequences, PG_INT8);
    pg_array_init(&sets, PG_BYTEA);
    for (uint32_t i = 0; i < job->job.n_items; i++) {
        struct crdt_change_set set;
        if (crdt_change_set_peek(job->job.items[i], &set) == CC_OK) {
            pg_array_put_int8(&sequences, (int64_t)set.sequence);
            pg_array_put(&sets, job->job.items[i]);
        }
    }
    struct cc_buffer before = {0};
    cc_buffer_printf(&before, "INSERT INTO caucus.aside (replica, incarnation, sequence, stamp, change) SELECT %u, %u, u.q, caucus.time_of(u.c), u.c FROM ",
                     job->job.origin.replica, job->job.origin.incarnation);
    pg_lane_must_arrays(job->lane, cc_buffer_text(&before), arrays, 2, " AS u(q, c) ON CONFLICT DO NOTHING");
    cc_buffer_finish(&before);
    pg_array_finish(&sequences);
    pg_array_finish(&sets);
}

void pg_put_aside_start(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    uint64_t numbers[4] = {job->job.origin.replica, job->job.origin.incarnation, job->job.sequence, job->job.n_lost};
    struct cc_slice parameters[4];
    put_numbers(job, numbers, 4, parameters);
    end_transaction(lane);
    pg_lane_must_text(lane, "BEGIN");
    pg_lane_commit_durably(lane);
    pg_lane_must(lane, "INSERT INTO caucus.lost (replica, incarnation, first, sets) VALUES ($1::bigint, $2::bigint, $3::bigint, $4::bigint) "
                       "ON CONFLICT (replica, incarnation) DO UPDATE SET first = EXCLUDED.first, sets = EXCLUDED.sets, at = EXCLUDED.at",
                 4, parameters, NULL);
    if (job->job.n_items > 0) {
        put_sets(job);
    }
    struct io_postgres_query commit = {.sql = "COMMIT"};
    io_postgres_link_send(lane->link, &commit, on_sets_aside, job, 0);
    io_postgres_link_sync(lane->link, NULL, NULL, 0);
}

// -- RENEW ---------------------------------------------------------------------------------------------------------------

static void on_known_dropped(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    if (!pg_result_ok(result)) {
        pg_lane_drop(job->lane, "what was put aside cannot be looked through", result);
    }
    PQclear(result);
}

static void read_sets(struct pg_job *job, const PGresult *result)
{
    int n = PQntuples(result) < (int)job->job.n_stamps ? PQntuples(result) : (int)job->job.n_stamps;
    struct merge *merge = pg_merge_create(job, (uint32_t)n);
    merge->renewed = cc_arena_array(&job->arena, (size_t)n + 1, sizeof(*merge->renewed));
    merge->n = 0;
    size_t n_bytes = 0;
    for (int i = 0; i < n; i++) {
        struct merge_set *set = &merge->sets[merge->n];
        set->bytes = cc_arena_slice(&job->arena, pg_result_value(result, i, 0));
        n_bytes += set->bytes.n;
        if (merge->n > 0 && n_bytes > RENEW_BYTES) {
            break;
        }
        if (crdt_change_set_read(set->bytes, &job->arena, &set->set) != CC_OK) {
            cc_log(CC_LOG_ERROR, "merge_failed", "text=%s", cc_log_quote("a change set that was put aside cannot be decoded"));
            break;
        }
        merge->n++;
    }
    if (merge->n == 0) {
        pg_renew_answer(merge, 0);
    } else {
        pg_merge_begin(merge);
    }
}

static void on_aside_read(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    if (!pg_result_ok(result)) {
        pg_lane_drop(job->lane, "what was put aside cannot be read", result);
    } else {
        read_sets(job, result);
    }
    PQclear(result);
}

void pg_renew_start(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    end_transaction(lane);
    struct io_postgres_query known = {.sql = "DELETE FROM caucus.aside a USING caucus.frontier f WHERE f.replica = a.replica AND f.incarnation = a.incarnation "
                                             "AND a.sequence <= f.sequence"};
    io_postgres_link_send(lane->link, &known, on_known_dropped, job, 0);
    uint64_t numbers[1] = {job->job.n_stamps};
    struct cc_slice parameters[1];
    put_numbers(job, numbers, 1, parameters);
    struct io_postgres_query query = {.sql = "SELECT change FROM caucus.aside ORDER BY stamp COLLATE \"C\", sequence LIMIT $1::bigint",
                                      .n_parameters = 1,
                                      .parameters = parameters,
                                      .binary_result = true};
    io_postgres_link_send(lane->link, &query, on_aside_read, job, 0);
    io_postgres_link_sync(lane->link, NULL, NULL, 0);
}

static struct crdt_row *row_of(void *context, const struct crdt_row_change *change)
{
    struct merge *merge = context;
    struct merge_table *table = pg_merge_table(merge, change->table);
    struct merge_row *row = table->table == NULL ? NULL : pg_merge_row(merge, table, change->key);
    if (row == NULL) {
        return NULL;
    }
    row->changed = true;
    return &row->row;
}

static struct cc_slice seen_of(const struct merge *merge, uint32_t i)
{
    return pg_weak_seen(merge->lane, &merge->job->job.stamps[i], &merge->job->arena);
}

void pg_renew_decide(struct merge *merge)
{
    for (uint32_t i = merge->first; i < merge->end; i++) {
        crdt_change_set_renew(&merge->sets[i].set, &merge->job->job.stamps[i], seen_of(merge, i), merge->lane->schema_version, row_of, merge,
                              &merge->arena, &merge->renewed[i]);
    }
}

void pg_renew_answer(struct merge *merge, uint32_t n)
{
    struct pg_job *job = merge->job;
    struct db_event event = {.kind = DB_RENEWED, .number = job->job.number, .n_changes = n};
    struct cc_slice *changes = cc_arena_array(&job->arena, (size_t)n + 1, sizeof(*changes));
    for (uint32_t i = 0; i < n; i++) {
        struct cc_buffer bytes = {0};
        crdt_change_set_put(&bytes, &merge->renewed[i]);
        changes[i] = cc_arena_slice(&job->arena, cc_buffer_slice(&bytes));
        cc_buffer_finish(&bytes);
        event.n_changed += merge->renewed[i].n_rows > 0;
        event.n_lost += merge->renewed[i].n_lost > 0;
    }
    event.changes = changes;
    pg_lane_emit(merge->lane, &event);
    pg_job_finish(job);
}

void pg_renew_failed(struct merge *merge)
{
    const struct crdt_change_set *set = &merge->sets[0].set;
    cc_log(CC_LOG_WARN, "renewal_failed", "origin=%u.%" PRIx32 " sequence=%" PRIu64 " text=%s", set->origin.replica, set->origin.incarnation,
           set->sequence, cc_log_quote(merge->error));
    crdt_change_set_renounce(set, &merge->job->job.stamps[0], seen_of(merge, 0), merge->lane->schema_version, &merge->job->arena, &merge->renewed[0]);
    pg_renew_answer(merge, 1);
}
