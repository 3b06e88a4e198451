// APPLY: the effects of committed entries in one transaction, sent in one go. An error other than a passing one means that
// the rows here are not what they should be: diverged.
#include "proxy/postgres/apply_sql.h"
#include "proxy/postgres/io_postgres_records.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct apply_job {
    struct pg_job *job;
    struct apply_sql apply;
    bool failed;
};

static void on_applied_one(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    struct apply_job *state = job->state;
    if (pg_result_ok(result) || pg_result_aborted(result) || state->failed) {
        PQclear(result);
        return;
    }
    state->failed = true;
    if (pg_error_passes(result)) {
        pg_lane_drop(job->lane, "cannot apply now", result);
        PQclear(result);
        return;
    }
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *table = PQresultErrorField(result, PG_DIAG_TABLE_NAME);
    const char *text = cc_arena_printf(&job->arena, "entries %" PRIu64 " to %" PRIu64 " cannot be applied: %s %s%s%s%s%s", job->job.first,
                                       job->job.last, PQresultErrorField(result, PG_DIAG_SQLSTATE), message == NULL ? "" : message,
                                       detail == NULL ? "" : ": ", detail == NULL ? "" : detail, table == NULL ? "" : ", table ",
                                       table == NULL ? "" : table);
    PQclear(result);
    pg_lane_halt(job->lane, text);
}

static void on_applied(void *context, uint64_t number)
{
    (void)number;
    struct pg_job *job = context;
    pg_lane_emit(job->lane, &(struct db_event){.kind = DB_APPLIED, .number = job->job.number});
    pg_job_finish(job);
}

static void on_apply_commit(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    struct apply_job *state = job->state;
    struct pg_lane *lane = job->lane;
    if (state->failed || pg_result_aborted(result)) {
        PQclear(result);
        return; // dropped or halted
    }
    if (!pg_lane_committed(lane, result)) {
        return;
    }
    lane->applied = job->job.last;
    lane->schema_on_its_way = false;
    if (state->apply.n_migrations > 0) {
        lane->schema_version += state->apply.n_migrations;
        pg_lane_take_schema(job, on_applied);
        return;
    }
    on_applied(job, 0);
}

static void sink(void *context, const struct apply_statement *statement)
{
    struct pg_job *job = context;
    struct io_postgres_query query = {.sql = statement->sql,
                                      .n_parameters = statement->n_parameters,
                                      .parameters = statement->parameters,
                                      .binary = statement->binary,
                                      .once = statement->once};
    io_postgres_link_send(job->lane->link, &query, on_applied_one, job, 0);
}

static void send_text(struct pg_job *job, const char *sql)
{
    struct io_postgres_query query = {.sql = sql};
    io_postgres_link_send(job->lane->link, &query, on_applied_one, job, 0);
}

static enum cc_status send_entry(struct pg_job *job, uint32_t item, struct pg_requests *requests)
{
    struct apply_job *state = job->state;
    struct entry entry;
    enum cc_status status = entry_read(job->job.items[item], &job->arena, &entry);
    if (status != CC_OK) {
        return status;
    }
    for (uint32_t i = 0; i < entry.n_operations; i++) {
        const struct entry_operation *operation = &entry.operations[i];
        if (operation->key.data != NULL) {
            pg_requests_put(requests, operation->principal, operation->key, operation->fingerprint, operation->outcome);
        }
    }
    return apply_sql_effects(&state->apply, job->job.indexes[item], entry.effects);
}

// Nothing but the entries after what is here may be applied.
static void send_applied(struct pg_job *job)
{
    struct cc_slice parameters[2] = {cc_slice_text(cc_arena_printf(&job->arena, "%" PRIu64, job->job.first)),
                                     cc_slice_text(cc_arena_printf(&job->arena, "%" PRIu64, job->job.last))};
    struct io_postgres_query query = {
        .sql = "UPDATE caucus.applied SET applied = CASE WHEN applied = $1::bigint - 1 THEN $2::bigint "
               "ELSE caucus.refuse('applied index, before entry ' || $1::bigint, $1::bigint - 1, applied) END",
        .n_parameters = 2,
        .parameters = parameters};
    io_postgres_link_send(job->lane->link, &query, on_applied_one, job, 0);
}

static void dispose(struct pg_job *job)
{
    struct apply_job *state = job->state;
    apply_sql_finish(&state->apply);
}

void pg_apply_start(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    struct apply_job *state = cc_arena_alloc(&job->arena, sizeof(*state));
    state->job = job;
    job->state = state;
    job->dispose = dispose;
    apply_sql_init(&state->apply, sink, job);
    if (lane->in_transaction) { // a leader's, which has lost its office without saying so
        pg_lane_drop(lane, "a transaction is open that should have been rolled back", NULL);
        return;
    }
    pg_lane_as_replica(lane, true);
    send_text(job, "BEGIN");
    struct pg_requests requests;
    pg_requests_init(&requests);
    enum cc_status status = CC_OK;
    for (uint32_t i = 0; status == CC_OK && i < job->job.n_items; i++) {
        status = send_entry(job, i, &requests);
    }
    apply_sql_flush(&state->apply);
    if (status == CC_OK) {
        pg_requests_send(&requests, lane);
    }
    if (status != CC_OK) {
        pg_requests_finish(&requests);
        pg_lane_halt(lane, cc_arena_printf(&job->arena, "entries %" PRIu64 " to %" PRIu64 " cannot be decoded: %s", job->job.first,
                                           job->job.last, cc_status_text(status)));
        return;
    }
    send_applied(job);
    if (state->apply.n_migrations > 0) {
        send_text(job, "RESET ALL");
        send_text(job, "RESET ROLE");
        pg_lane_pin_settings(lane);
        pg_lane_commit_durably(lane);
    }
    struct io_postgres_query query = {.sql = "COMMIT"};
    io_postgres_link_send(lane->link, &query, on_apply_commit, job, 0);
    io_postgres_link_sync(lane->link, NULL, NULL, 0);
    lane->schema_on_its_way = state->apply.n_migrations > 0;
    job->followed = !lane->schema_on_its_way;
}
