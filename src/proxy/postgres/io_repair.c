// Comparing weak tables: tasks, one after the other, and what begins them.
//
//   TABLES: two queries.   OWED, OWE, KEPT, RENEW: one.   SUMS: DESCRIBE --> SUM.   STRAYS: DESCRIBE --> HIDDEN --> STRAYS.   SIFT: DESCRIBE --> EQUAL --> HISTORY
//   STATES: BEGIN --> MOMENT --> DESCRIBE --> SUM (unless just done) --> TOMBSTONES --> ROWS --> COMMIT
#include "proxy/postgres/io_repair_internal.h"

#include "base/log.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WAITING_MAX = 16,
    ANSWER_BYTES = 16 << 20, // about so many, unless a single bucket has more
    KEPT_SUMS_S = 60,
};

uint64_t io_repair_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

struct cc_slice io_repair_value(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) {
        return (struct cc_slice){0};
    }
    return cc_slice_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

// -- Tasks -------------------------------------------------------------------------------------------------------------

static void start_next(struct io_repair *repair);

static void on_set(void *context, uint64_t number, PGresult *result)
{
    (void)context;
    (void)number;
    PQclear(result);
}

static void task_free(struct task *task)
{
    cc_buffer_finish(&task->bytes);
    free(task);
}

static void forget_rows(struct io_repair *repair)
{
    event_del(repair->turn);
    PQclear(repair->rows);
    repair->rows = NULL;
}

void io_repair_forget_states(struct io_repair *repair)
{
    forget_rows(repair);
    cc_buffer_clear(&repair->states);
    cc_buffer_clear(&repair->list);
    repair->n_listed = 0;
    io_repair_forget_sift(repair);
}

void io_repair_finish(struct io_repair *repair, const struct repair_event *result)
{
    struct task *task = repair->first;
    struct repair_event event = *result;
    event.kind = task->job.kind;
    event.number = task->job.number;
    event.peer = task->job.peer;
    event.round = task->job.round;
    event.table = task->job.table;
    event.from = task->job.from;
    if (repair->in_transaction) {
        repair->in_transaction = false;
        io_repair_set(repair, "COMMIT");
    }
    repair->first = task->next;
    repair->last = repair->first == NULL ? NULL : repair->last;
    repair->n_tasks--;
    repair->busy = false;
    forget_rows(repair);
    repair->options.on_event(repair->options.context, &event);
    task_free(task);
    cc_arena_finish(&repair->arena);
    cc_arena_init(&repair->arena);
    io_repair_forget_states(repair);
    start_next(repair);
}

void io_repair_fail(struct io_repair *repair)
{
    io_repair_finish(repair, &(struct repair_event){.failed = true});
}

void io_repair_set(struct io_repair *repair, const char *sql)
{
    io_postgres_link_send_text(repair->link, sql, on_set, repair, 0);
    io_postgres_link_sync(repair->link, NULL, NULL, 0);
}

static void on_rows(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    PQclear(repair->rows);
    repair->rows = result;
    repair->row = 0;
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        repair->step(repair);
        return;
    }
    cc_log(CC_LOG_WARN, "repair_failed", "why=%s", cc_log_quote(PQresultErrorMessage(result)));
    io_repair_fail(repair);
}

void io_repair_ask_query(struct io_repair *repair, const struct io_postgres_query *query, io_repair_step *step)
{
    repair->step = step;
    io_postgres_link_send(repair->link, query, on_rows, repair, 0);
    io_postgres_link_sync(repair->link, NULL, NULL, 0);
}

void io_repair_ask(struct io_repair *repair, const char *sql, uint32_t n, const struct cc_slice *parameters, const uint8_t *binary,
                   io_repair_step *step)
{
    struct io_postgres_query query = {.sql = sql, .n_parameters = n, .parameters = parameters, .binary = binary, .once = true};
    io_repair_ask_query(repair, &query, step);
}

static void on_turn(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct io_repair *repair = context;
    repair->step(repair);
}

void io_repair_turn(struct io_repair *repair, io_repair_step *step)
{
    repair->step = step;
    event_add(repair->turn, &(struct timeval){0, 0});
}

static void on_described(struct io_repair *repair)
{
    const PGresult *result = repair->rows;
    const struct repair_job *job = &repair->first->job;
    repair->n_columns = (uint32_t)PQntuples(result);
    repair->n_key = 0;
    repair->columns = cc_arena_array(&repair->arena, repair->n_columns, sizeof(*repair->columns));
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        repair->columns[i].name = cc_arena_slice(&repair->arena, io_repair_value(result, (int)i, 0));
        repair->columns[i].key = (uint32_t)strtoul(PQgetvalue(result, (int)i, 1), NULL, 10);
        repair->n_key += repair->columns[i].key > 0;
    }
    if (repair->n_key == 0) { // not a weak table of ours
        io_repair_fail(repair);
        return;
    }
    bool known = repair->summed != NULL && cc_slice_equal_text(job->table, repair->summed) &&
                 io_repair_now_s() - repair->summed_s < KEPT_SUMS_S && repair->summed_whole == job->whole;
    if (job->kind == REPAIR_STRAYS) {
        io_repair_ask_for_hidden(repair);
    } else if (job->kind == REPAIR_SIFT) {
        io_repair_sift(repair);
    } else if (job->kind == REPAIR_STATES && job->from > 0 && known) {
        io_repair_ask_for_states(repair);
    } else {
        io_repair_sum(repair);
    }
}

// The name is one of caucus.digests, or it is not found: a peer's bytes never become SQL.
static const char sql_describe[] =
    "SELECT a.attname, coalesce((SELECT k.n FROM pg_catalog.pg_index x, unnest(x.indkey::smallint[]) WITH ORDINALITY AS k(attnum, n) "
    "WHERE x.indrelid = c.oid AND x.indisprimary AND k.attnum = a.attnum AND k.n <= x.indnkeyatts), 0) "
    "FROM caucus.digests d JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(d.\"table\")::oid "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> '_caucus' "
    "WHERE d.\"table\" = $1::text ORDER BY a.attnum";

static void on_tables(struct io_repair *repair)
{
    const PGresult *result = repair->rows;
    struct cc_buffer names = {0};
    for (int row = 0; row < PQntuples(result); row++) {
        cc_buffer_append(&names, PQgetvalue(result, row, 0), (size_t)PQgetlength(result, row, 0) + 1);
    }
    io_repair_finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&names)});
    cc_buffer_finish(&names);
}

static void on_kept(struct io_repair *repair)
{
    const PGresult *result = repair->rows;
    struct cc_buffer bytes = {0};
    struct crdt_frontier frontier;
    crdt_frontier_of_text(PQntuples(result) > 0 ? PQgetvalue(result, 0, 3) : "", &frontier);
    crdt_frontier_put(&bytes, &frontier);
    cc_put_varint(&bytes, (uint64_t)PQntuples(result));
    for (int row = 0; row < PQntuples(result); row++) {
        cc_put_string(&bytes, io_repair_value(result, row, 0));
        cc_put_u64(&bytes, strtoull(PQgetvalue(result, row, 1), NULL, 10));
        cc_put_u64(&bytes, (uint64_t)strtoll(PQgetvalue(result, row, 2), NULL, 10));
    }
    io_repair_finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&bytes)});
    cc_buffer_finish(&bytes);
}

static void on_owed(struct io_repair *repair)
{
    const PGresult *result = repair->rows;
    struct cc_buffer members = {0};
    for (int row = 0; row < PQntuples(result); row++) {
        cc_put_u32(&members, (uint32_t)strtoul(PQgetvalue(result, row, 0), NULL, 10));
    }
    io_repair_finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&members)});
    cc_buffer_finish(&members);
}

static void on_done(struct io_repair *repair)
{
    io_repair_finish(repair, &(struct repair_event){0});
}

static void write_owed(struct io_repair *repair)
{
    struct cc_buffer text = {0};
    struct cc_reader reader = cc_reader_of(repair->first->job.states);
    cc_buffer_append_text(&text, "{");
    while (cc_reader_left(&reader) > 0) {
        cc_buffer_printf(&text, text.n > 1 ? ",%" PRIu32 : "%" PRIu32, cc_read_u32(&reader));
    }
    cc_buffer_append_text(&text, "}");
    struct cc_slice members = cc_buffer_slice(&text);
    io_repair_ask(repair,
        "WITH at_once AS (SELECT pg_catalog.set_config('synchronous_commit', 'on', true)), "
        "paid AS (DELETE FROM caucus.comparisons WHERE member <> ALL ($1::bigint[])), "
        "owed AS (INSERT INTO caucus.comparisons SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING) SELECT * FROM at_once", 1, &members, NULL, on_done);
    cc_buffer_finish(&text);
}

static void describe(struct io_repair *repair)
{
    io_repair_ask(repair, sql_describe, 1, &repair->first->job.table, NULL, on_described);
}

#define SQL_FRONTIER \
    "(SELECT coalesce(pg_catalog.string_agg(pg_catalog.concat_ws(' ', replica, incarnation, sequence), ' '), '') FROM caucus.frontier)"

static void on_moment(struct io_repair *repair)
{
    const PGresult *result = repair->rows;
    crdt_frontier_of_text(PQgetvalue(result, 0, 0), &repair->moment.frontier);
    repair->moment.bound = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    repair->moment.schema_version = (uint32_t)strtoul(PQgetvalue(result, 0, 2), NULL, 10);
    describe(repair);
}

// The bound is written down before tombstones are dropped: in one snapshot both are seen, or neither.
static void ask_for_moment(struct io_repair *repair)
{
    repair->in_transaction = true;
    io_postgres_link_send_text(repair->link, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", on_set, repair, 0);
    io_repair_ask(repair, "SELECT " SQL_FRONTIER ", (SELECT coalesce(max(bound), 0) FROM caucus.garbage), (SELECT count(*) FROM caucus.migrations)", 0, NULL, NULL, on_moment);
}

static void start_next(struct io_repair *repair)
{
    if (repair->busy || repair->first == NULL) {
        return;
    }
    if (!repair->up) {
        io_repair_fail(repair);
        return;
    }
    repair->busy = true;
    repair->answer_bytes = ANSWER_BYTES;
    switch (repair->first->job.kind) {
    case REPAIR_TABLES:
        // What was written lately is looked up in the histories, too: it is not in that index before a vacuum.
        io_repair_set(repair, "SELECT pg_catalog.brin_summarize_new_values('caucus.history_stamp')");
        io_repair_ask(repair, "SELECT \"table\" FROM caucus.digests ORDER BY 1", 0, NULL, NULL, on_tables);
        return;
    case REPAIR_KEPT:
        io_repair_ask(repair,
            "SELECT \"table\", rows, sum, " SQL_FRONTIER " FROM caucus.digests ORDER BY 1", 0, NULL, NULL, on_kept);
        return;
    case REPAIR_RENEW:
        io_repair_ask(repair, "SELECT caucus.note_digests(true)", 0, NULL, NULL, on_done);
        return;
    case REPAIR_OWED:
        io_repair_ask(repair, "SELECT member FROM caucus.comparisons ORDER BY 1", 0, NULL, NULL, on_owed);
        return;
    case REPAIR_OWE:
        write_owed(repair);
        return;
    case REPAIR_SUMS:
    case REPAIR_STRAYS:
    case REPAIR_SIFT:
        describe(repair);
        return;
    case REPAIR_STATES:
        ask_for_moment(repair);
        return;
    }
}

// Asked again by one whose question has not been answered yet: reading all rows twice would only keep it waiting.
static bool is_asked_again(const struct io_repair *repair, const struct repair_job *job)
{
    for (const struct task *task = repair->first; task != NULL; task = task->next) {
        const struct repair_job *other = &task->job;
        if (other->kind == job->kind && other->peer == job->peer && other->round == job->round && other->from == job->from && other->whole == job->whole &&
            cc_slice_equal(other->table, job->table)) {
            return true;
        }
    }
    return false;
}

void io_repair_submit(struct io_repair *repair, const struct repair_job *job)
{
    if (job->kind == REPAIR_STATES && (repair->n_tasks >= WAITING_MAX || is_asked_again(repair, job))) {
        return;
    }
    struct task *task = cc_alloc(sizeof(*task));
    task->job = *job;
    cc_buffer_append_slice(&task->bytes, job->table);
    cc_buffer_append_slice(&task->bytes, job->sums);
    cc_buffer_append_slice(&task->bytes, job->states);
    cc_buffer_append_slice(&task->bytes, job->buckets);
    const uint8_t *at = task->bytes.data;
    task->job.table = cc_slice_of(at, job->table.n);
    task->job.sums = cc_slice_of(at += job->table.n, job->sums.n);
    task->job.states = cc_slice_of(at += job->sums.n, job->states.n);
    task->job.buckets = cc_slice_of(at + job->states.n, job->buckets.n);
    *(repair->last == NULL ? &repair->first : &repair->last->next) = task;
    repair->last = task;
    repair->n_tasks++;
    start_next(repair);
}

// -- Life --------------------------------------------------------------------------------------------------------------

static const char *const session_sql =
    "SELECT pg_catalog.set_config(n, v, false) FROM (VALUES ('client_encoding', 'UTF8'), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), "
    "('TimeZone', 'UTC'), ('extra_float_digits', '1'), ('bytea_output', 'hex'), ('xmloption', 'content'), ('lc_monetary', 'C'), ('row_security', 'off'), "
    "('synchronous_commit', 'off'), ('statement_timeout', '0'), ('jit', 'off')) AS s(n, v)";

static void on_session(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        repair->up = true;
        io_postgres_link_good(repair->link);
    }
    PQclear(result);
}

static void on_connected(void *context)
{
    struct io_repair *repair = context;
    struct cc_buffer sql = {0};
    cc_buffer_printf(&sql, "SET search_path = %s", repair->search_path);
    io_postgres_link_send_text(repair->link, cc_buffer_text(&sql), on_set, repair, 0);
    io_postgres_link_send_text(repair->link, session_sql, on_session, repair, 0);
    io_postgres_link_sync(repair->link, NULL, NULL, 0);
    cc_buffer_finish(&sql);
}

static void on_down(void *context, const char *why)
{
    struct io_repair *repair = context;
    repair->up = repair->in_transaction = false;
    cc_log(CC_LOG_DEBUG, "repair_connection_lost", "why=%s", cc_log_quote(why));
    if (repair->busy) {
        io_repair_fail(repair);
    }
}

struct io_repair *io_repair_create(const struct io_repair_options *options)
{
    struct io_repair *repair = cc_alloc(sizeof(*repair));
    repair->options = *options;
    repair->search_path = cc_strdup(options->search_path);
    cc_arena_init(&repair->arena);
    repair->turn = evtimer_new(options->base, on_turn, repair);
    struct io_postgres_link_options link = {.base = options->base,
                                            .conninfo = options->conninfo,
                                            .application_name = "caucus repair",
                                            .on_connected = on_connected,
                                            .on_down = on_down,
                                            .context = repair};
    repair->link = io_postgres_link_create(&link);
    return repair;
}

void io_repair_connect(struct io_repair *repair)
{
    io_postgres_link_connect(repair->link);
}

void io_repair_destroy(struct io_repair *repair)
{
    if (repair == NULL) {
        return;
    }
    io_postgres_link_destroy(repair->link);
    forget_rows(repair);
    event_free(repair->turn);
    while (repair->first != NULL) {
        struct task *task = repair->first;
        repair->first = task->next;
        task_free(task);
    }
    cc_arena_finish(&repair->arena);
    cc_buffer_finish(&repair->buckets);
    cc_buffer_finish(&repair->states);
    cc_buffer_finish(&repair->list);
    cc_buffer_finish(&repair->no_remains);
    free(repair->told.at);
    free(repair->hidden.at);
    io_repair_forget_sift(repair);
    free(repair->summed);
    free(repair->search_path);
    free(repair);
}
