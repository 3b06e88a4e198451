// The collector of garbage: one step at a time, each one short statement.
//
//   REST --every few seconds--> NOTE --bound durable--> TOMBSTONES (block by block) --> HISTORY (origin by origin) --> INDEX --> REQUESTS --> REST
#include "proxy/postgres/io_garbage.h"

#include "base/log.h"
#include "base/memory.h"
#include "crdt/row.h"
#include "proxy/postgres/io_postgres_link.h"
#include "proxy/postgres/pg_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    REST_MS = 3000,
    STEP_MS = 20,
    TOMBSTONE_BLOCKS = 64, // of 8 KB, per step
    ROWS_PER_STEP = 1000,
    REQUESTS_PER_STEP = 1000,
    SET_OVERHEAD_BYTES = 120, // of a change set's row, with its indexes
};

enum stage { STAGE_DOWN, STAGE_LOOK, STAGE_REST, STAGE_NOTE, STAGE_TOMBSTONES, STAGE_HISTORY, STAGE_INDEX, STAGE_REQUESTS };

// What to do with an answer of PostgreSQL.
typedef void io_garbage_take(struct io_garbage *garbage, PGresult *result);

struct io_garbage {
    struct io_garbage_options options;
    struct io_postgres_link *link;
    struct event *timer;
    enum stage stage;
    io_garbage_take *take;       // of the answer that is waited for
    struct node_garbage allowed; // of this round
    uint64_t noted, walked;      // bounds: written down, and up to which a whole pass over the tombstones was made
    uint64_t block;
    uint32_t origin;       // index in allowed.history
    double excess_bytes;   // of histories, above their limit
    struct io_garbage_stats stats;
};

// Plans are made once, maybe while the tables are small. One that reads or sorts all of a history would do so when it is large: by key always.
static const char *const session_sql =
    "SELECT pg_catalog.set_config(n, v, false) FROM (VALUES ('search_path', 'pg_catalog'), ('synchronous_commit', 'off'), ('lock_timeout', '2000'), "
    "('statement_timeout', '60000'), ('bytea_output', 'hex'), ('jit', 'off'), ('plan_cache_mode', 'force_generic_plan'), "
    "('enable_seqscan', 'off'), ('enable_sort', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off')) AS s(n, v)";

static void plan(struct io_garbage *garbage, enum stage stage, uint32_t ms)
{
    garbage->stage = stage;
    struct timeval wait = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    event_add(garbage->timer, &wait);
}

static uint64_t number_at(const PGresult *result, int row, int column)
{
    return strtoull(PQgetvalue(result, row, column), NULL, 10);
}

static struct cc_slice value_at(const PGresult *result, int row, int column)
{
    return cc_slice_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

// False: the round is over; what failed is tried again in the next one.
static bool went_well(struct io_garbage *garbage, const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        return true;
    }
    cc_log(CC_LOG_WARN, "garbage_failed", "why=%s", cc_log_quote(PQresultErrorMessage(result)));
    if (garbage->stage != STAGE_DOWN) {
        plan(garbage, STAGE_REST, REST_MS);
    }
    return false;
}

static void on_result(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_garbage *garbage = context;
    if (went_well(garbage, result)) {
        garbage->take(garbage, result);
    }
    PQclear(result);
}

static void ask(struct io_garbage *garbage, const char *sql, uint32_t n, const struct cc_slice *parameters, const uint8_t *binary,
                io_garbage_take *take)
{
    struct io_postgres_query query = {.sql = sql, .n_parameters = n, .parameters = parameters, .binary = binary};
    garbage->take = take;
    io_postgres_link_send(garbage->link, &query, on_result, garbage, 0);
    io_postgres_link_sync(garbage->link, NULL, NULL, 0);
}

// "019abc..." of the first stamp after the bound: texts of stamps compare as the stamps do.
static const char *after_text(uint64_t bound, char out[24])
{
    snprintf(out, 24, "%016" PRIx64, bound + 1);
    return out;
}

// -- Requests ----------------------------------------------------------------------------------------------------------

static void on_requests(struct io_garbage *garbage, PGresult *result)
{
    uint64_t n = number_at(result, 0, 0);
    garbage->stats.requests += n;
    plan(garbage, n < REQUESTS_PER_STEP ? STAGE_REST : STAGE_REQUESTS, n < REQUESTS_PER_STEP ? REST_MS : STEP_MS);
}

static void send_requests(struct io_garbage *garbage)
{
    char hours[16], limit[16];
    snprintf(hours, sizeof(hours), "%" PRIu32, garbage->options.request_hours);
    snprintf(limit, sizeof(limit), "%d", (int)REQUESTS_PER_STEP);
    struct cc_slice parameters[2] = {cc_slice_text(hours), cc_slice_text(limit)};
    ask(garbage,
        "WITH gone AS (DELETE FROM caucus.requests WHERE ctid = ANY (ARRAY(SELECT ctid FROM caucus.requests WHERE at < now() - $1::integer * "
        "interval '1 hour' LIMIT $2::integer)) AND at < now() - $1::integer * interval '1 hour' RETURNING 1) SELECT count(*) FROM gone",
        2, parameters, NULL, on_requests);
}

// -- What is in the histories --------------------------------------------------------------------------------------------

static void on_indexed(struct io_garbage *garbage, PGresult *result)
{
    plan(garbage, number_at(result, 0, 0) == 0 ? STAGE_REQUESTS : STAGE_INDEX, STEP_MS);
}

static void send_index(struct io_garbage *garbage)
{
    ask(garbage, "SELECT caucus.index_history()", 0, NULL, NULL, on_indexed);
}

// -- Histories ---------------------------------------------------------------------------------------------------------

static void on_history(struct io_garbage *garbage, PGresult *result)
{
    uint64_t n_rows = number_at(result, 0, 0), n = number_at(result, 0, 1), n_bytes = number_at(result, 0, 2);
    garbage->stats.sets += n;
    garbage->stats.set_bytes += n_bytes;
    garbage->excess_bytes -= (double)(n_bytes + n * SET_OVERHEAD_BYTES);
    garbage->origin += n_rows < ROWS_PER_STEP ? 1 : 0;
    bool done = garbage->origin >= garbage->allowed.history.n;
    plan(garbage, done ? STAGE_INDEX : STAGE_HISTORY, STEP_MS);
}

// The oldest sets of one origin, as long as they are older than is kept, or as long as there is too much.
static void send_history(struct io_garbage *garbage)
{
    const struct crdt_frontier *history = &garbage->allowed.history;
    if (garbage->origin >= history->n) {
        garbage->stage = STAGE_INDEX;
        send_index(garbage);
        return;
    }
    uint64_t kept_ms = (uint64_t)garbage->options.history_hours * 3600 * 1000, now_ms = (uint64_t)time(NULL) * 1000;
    uint64_t cutoff = garbage->excess_bytes > 0 ? UINT64_MAX - 1 : clock_hlc_of_ms(now_ms > kept_ms ? now_ms - kept_ms : 0);
    char texts[4][24], stamp[24];
    snprintf(texts[0], sizeof(texts[0]), "%" PRIu32, history->at[garbage->origin].origin.replica);
    snprintf(texts[1], sizeof(texts[1]), "%" PRIu32, history->at[garbage->origin].origin.incarnation);
    snprintf(texts[2], sizeof(texts[2]), "%" PRIu64, history->at[garbage->origin].sequence);
    snprintf(texts[3], sizeof(texts[3]), "%d", (int)ROWS_PER_STEP);
    struct cc_slice parameters[5] = {cc_slice_text(texts[0]), cc_slice_text(texts[1]), cc_slice_text(texts[2]), cc_slice_text(texts[3]),
                                     cc_slice_text(after_text(cutoff, stamp))};
    ask(garbage,
        "WITH oldest AS (SELECT sequence, stamp FROM caucus.history WHERE replica = $1::bigint AND incarnation = $2::bigint AND "
        "sequence <= $3::bigint ORDER BY sequence LIMIT $4::integer), "
        "gone AS (DELETE FROM caucus.history h WHERE h.replica = $1::bigint AND h.incarnation = $2::bigint AND "
        "h.sequence <= (SELECT max(o.sequence) FROM oldest o WHERE o.stamp COLLATE \"C\" < $5::text) AND h.stamp COLLATE \"C\" < $5::text "
        "RETURNING h.sequence, h.stamp, h.sets, h.bytes), "
        "noted AS (INSERT INTO caucus.dropped AS d (replica, incarnation, sequence, stamp, sets) SELECT $1::bigint, $2::bigint, max(sequence), "
        "max(stamp COLLATE \"C\"), sum(sets) FROM gone HAVING count(*) > 0 ON CONFLICT (replica, incarnation) DO UPDATE SET sequence = EXCLUDED.sequence, "
        "stamp = EXCLUDED.stamp, sets = d.sets + EXCLUDED.sets RETURNING 1), "
        "unindexed AS (DELETE FROM caucus.history_blocks b WHERE b.replica = $1::bigint AND b.incarnation = $2::bigint AND "
        "b.last <= (SELECT max(sequence) FROM gone)) "
        "SELECT count(*), coalesce(sum(sets), 0), coalesce(sum(bytes), 0) FROM gone",
        5, parameters, NULL, on_history);
}

static void on_size(struct io_garbage *garbage, PGresult *result)
{
    double n_bytes = (double)number_at(result, 0, 0) * (double)(number_at(result, 0, 1) + SET_OVERHEAD_BYTES);
    garbage->excess_bytes = n_bytes - (double)garbage->options.history_megabytes * 1048576.0;
    garbage->stage = STAGE_HISTORY;
    send_history(garbage);
}

static void begin_history(struct io_garbage *garbage)
{
    garbage->origin = 0;
    garbage->excess_bytes = 0;
    garbage->stage = STAGE_HISTORY;
    if (garbage->options.history_megabytes == 0) {
        send_history(garbage);
        return;
    }
    // How many there are is known; how large they are is estimated from some.
    ask(garbage,
        "SELECT coalesce(sum(f.sequence - coalesce(d.sequence, 0)), 0)::bigint, (SELECT coalesce(sum(s.bytes) / sum(s.sets), 0)::bigint FROM "
        "(SELECT bytes, sets FROM caucus.history LIMIT 500) s) FROM caucus.frontier f LEFT JOIN caucus.dropped d USING (replica, incarnation)",
        0, NULL, NULL, on_size);
}

// -- Tombstones --------------------------------------------------------------------------------------------------------

static void on_buried(struct io_garbage *garbage, PGresult *result)
{
    garbage->stats.tombstones += strtoull(PQcmdTuples(result), NULL, 10);
    plan(garbage, STAGE_TOMBSTONES, STEP_MS);
}

static bool may_go(const PGresult *result, int row, uint64_t bound, struct cc_arena *arena)
{
    struct cc_slice remains;
    struct clock_stamp death;
    bool may = false;
    return pg_bytea_read(value_at(result, row, 3), arena, &remains) == CC_OK && clock_stamp_parse(value_at(result, row, 2), &death) == CC_OK &&
           crdt_remains_may_go(remains, &death, bound, arena, &may) == CC_OK && may;
}

static void bury(struct io_garbage *garbage, const PGresult *result)
{
    struct pg_array columns[3];
    struct pg_array *arrays[3];
    struct cc_arena arena;
    cc_arena_init(&arena);
    for (int i = 0; i < 3; i++) {
        pg_array_init(&columns[i], PG_TEXT);
        arrays[i] = &columns[i];
    }
    for (int row = 0; row < PQntuples(result); row++) {
        for (int i = 0; may_go(result, row, garbage->allowed.bound, &arena) && i < 3; i++) {
            pg_array_put(&columns[i], value_at(result, row, i));
        }
    }
    if (columns[0].n > 0) {
        struct cc_slice parameters[3];
        uint8_t binary[3];
        struct cc_buffer sql = {0};
        cc_buffer_append_text(&sql, "DELETE FROM caucus.tombstones m USING ");
        pg_arrays_source(&sql, arrays, 3, parameters, binary);
        cc_buffer_append_text(&sql, " AS u(t, k, d) WHERE m.\"table\" = u.t AND m.key = u.k::bytea AND m.death = u.d");
        ask(garbage, cc_buffer_text(&sql), 3, parameters, binary, on_buried);
        cc_buffer_finish(&sql);
    } else {
        plan(garbage, STAGE_TOMBSTONES, STEP_MS);
    }
    for (int i = 0; i < 3; i++) {
        pg_array_finish(&columns[i]);
    }
    cc_arena_finish(&arena);
}

static void on_tombstones(struct io_garbage *garbage, PGresult *result)
{
    garbage->block += TOMBSTONE_BLOCKS;
    bury(garbage, result);
}

static void on_blocks(struct io_garbage *garbage, PGresult *result)
{
    uint64_t n_blocks = number_at(result, 0, 0);
    if (garbage->block >= n_blocks) {
        garbage->walked = garbage->allowed.bound;
        begin_history(garbage);
        return;
    }
    char from[40], to[40], stamp[24];
    snprintf(from, sizeof(from), "(%" PRIu64 ",0)", garbage->block);
    snprintf(to, sizeof(to), "(%" PRIu64 ",0)", garbage->block + TOMBSTONE_BLOCKS);
    struct cc_slice parameters[3] = {cc_slice_text(from), cc_slice_text(to), cc_slice_text(after_text(garbage->allowed.bound, stamp))};
    ask(garbage,
        "SELECT \"table\", key, death, remains FROM caucus.tombstones WHERE ctid >= $1::tid AND ctid < $2::tid AND death COLLATE \"C\" < $3::text", 3,
        parameters, NULL, on_tombstones);
}

static void send_tombstones(struct io_garbage *garbage)
{
    if (garbage->allowed.bound == 0 || garbage->allowed.bound <= garbage->walked) {
        begin_history(garbage);
        return;
    }
    ask(garbage, "SELECT pg_relation_size('caucus.tombstones') / current_setting('block_size')::bigint", 0, NULL, NULL, on_blocks);
}

static void on_noted(struct io_garbage *garbage, PGresult *result)
{
    (void)result;
    garbage->noted = garbage->allowed.bound;
    garbage->stats.bound = garbage->noted;
    garbage->options.collected(garbage->options.context, garbage->noted);
    garbage->block = 0;
    garbage->stage = STAGE_TOMBSTONES;
    send_tombstones(garbage);
}

static void begin_round(struct io_garbage *garbage)
{
    garbage->options.ask(garbage->options.context, &garbage->allowed);
    garbage->stage = STAGE_NOTE;
    if (garbage->allowed.bound <= garbage->noted) {
        garbage->allowed.bound = garbage->noted;
        garbage->block = 0;
        garbage->stage = STAGE_TOMBSTONES;
        send_tombstones(garbage);
        return;
    }
    char bound[24];
    snprintf(bound, sizeof(bound), "%" PRIu64, garbage->allowed.bound);
    struct cc_slice parameter = cc_slice_text(bound);
    ask(garbage, "INSERT INTO caucus.garbage AS g (bound) VALUES ($1::bigint) ON CONFLICT (one) DO UPDATE SET bound = greatest(g.bound, EXCLUDED.bound)", 1,
        &parameter, NULL, on_noted);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct io_garbage *garbage = context;
    switch (garbage->stage) {
    case STAGE_DOWN:
    case STAGE_LOOK:
    case STAGE_NOTE:
        return;
    case STAGE_REST:
        begin_round(garbage);
        return;
    case STAGE_TOMBSTONES:
        send_tombstones(garbage);
        return;
    case STAGE_HISTORY:
        send_history(garbage);
        return;
    case STAGE_INDEX:
        send_index(garbage);
        return;
    case STAGE_REQUESTS:
        send_requests(garbage);
        return;
    }
}

// -- Life --------------------------------------------------------------------------------------------------------------

static void on_looked(struct io_garbage *garbage, PGresult *result)
{
    io_postgres_link_good(garbage->link);
    garbage->noted = PQntuples(result) > 0 ? number_at(result, 0, 0) : 0;
    garbage->stats.bound = garbage->noted;
    garbage->options.collected(garbage->options.context, garbage->noted);
    plan(garbage, STAGE_REST, REST_MS);
}

static void on_session(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    (void)went_well(context, result);
    PQclear(result);
}

static void on_connected(void *context)
{
    struct io_garbage *garbage = context;
    garbage->stage = STAGE_LOOK;
    io_postgres_link_send_text(garbage->link, session_sql, on_session, garbage, 0);
    ask(garbage, "SELECT bound FROM caucus.garbage", 0, NULL, NULL, on_looked);
}

static void on_down(void *context, const char *why)
{
    struct io_garbage *garbage = context;
    garbage->stage = STAGE_DOWN;
    event_del(garbage->timer);
    cc_log(CC_LOG_DEBUG, "garbage_connection_lost", "why=%s", cc_log_quote(why));
}

struct io_garbage *io_garbage_create(const struct io_garbage_options *options)
{
    struct io_garbage *garbage = cc_alloc(sizeof(*garbage));
    garbage->options = *options;
    struct io_postgres_link_options link = {.base = options->base,
                                            .conninfo = options->conninfo,
                                            .application_name = "caucus garbage",
                                            .on_connected = on_connected,
                                            .on_down = on_down,
                                            .context = garbage};
    garbage->timer = event_new(options->base, -1, 0, on_timer, garbage);
    garbage->link = io_postgres_link_create(&link);
    garbage->options.conninfo = NULL; // the link has its copy
    return garbage;
}

void io_garbage_connect(struct io_garbage *garbage)
{
    io_postgres_link_connect(garbage->link);
}

void io_garbage_destroy(struct io_garbage *garbage)
{
    if (garbage == NULL) {
        return;
    }
    io_postgres_link_destroy(garbage->link);
    event_free(garbage->timer);
    free(garbage);
}

void io_garbage_describe(const struct io_garbage *garbage, struct io_garbage_stats *stats_out)
{
    *stats_out = garbage->stats;
}
