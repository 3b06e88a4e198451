// Sums of buckets and states of rows, told to whoever compares its tables with ours.
//
//   SUMS: SUM.   STATES: SUM (unless just done) --> TOMBSTONES --> ROWS
#include "proxy/postgres/io_repair_internal.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/memory.h"
#include "proxy/postgres/apply_sql.h"
#include "proxy/postgres/pg_value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    // Many: each answer costs a reading of all keys at both ends.
    ROWS_PER_ANSWER = 100000,
    ANSWER_BYTES_MAX = CC_FRAME_BYTES_MAX - (1 << 20), // what goes with it is small
};

// -- SQL ---------------------------------------------------------------------------------------------------------------

// Of the values: stamps have several spellings, and decide when states are joined. Of the stamps, too, when the other's frontier is
// to be taken over: what is written twice with the same value counts.
static void put_sums_sql(struct cc_buffer *sql, const struct io_repair *repair, struct cc_slice table)
{
    cc_buffer_printf(sql, "SELECT (k.h >> %d) & %d, pg_catalog.bit_xor(", (int)REPAIR_BUCKET_SHIFT, REPAIR_BUCKETS - 1);
    io_repair_put_digest(sql, repair, repair->first->job.whole);
    cc_buffer_append_text(sql, "), pg_catalog.count(*), pg_catalog.sum(pg_catalog.pg_column_size(t.*))");
    io_repair_put_from(sql, repair, table);
    cc_buffer_append_text(sql, " GROUP BY 1");
}

static void put_rows_sql(struct cc_buffer *sql, const struct io_repair *repair, struct cc_slice table)
{
    cc_buffer_append_text(sql, "SELECT t._caucus::text");
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        cc_buffer_append_text(sql, ", t.");
        apply_sql_identifier(sql, repair->columns[i].name);
    }
    io_repair_put_from(sql, repair, table);
    cc_buffer_printf(sql, " WHERE (k.h >> %d) & %d = ANY ($1::bigint[])", (int)REPAIR_BUCKET_SHIFT, REPAIR_BUCKETS - 1);
    if (repair->first->job.whole) { // it is joined without a sift: what was written together comes together, to be looked up in the histories once
        cc_buffer_append_text(sql, " ORDER BY t._caucus ->> ''");
    }
}

// -- Rows --------------------------------------------------------------------------------------------------------------

static void put_state(struct io_repair *repair, const PGresult *result, int row)
{
    struct row_state state = {.key = io_repair_key(repair, result, row), .stamps = io_repair_value(result, row, 0)};
    state.names = cc_arena_array(&repair->arena, repair->n_columns, sizeof(*state.names));
    state.values = cc_arena_array(&repair->arena, repair->n_columns, sizeof(*state.values));
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        if (repair->columns[i].key == 0) {
            state.names[state.n_fields] = repair->columns[i].name;
            state.values[state.n_fields++] = io_repair_value(result, row, (int)(1 + i));
        }
    }
    io_repair_add_state(repair, &state);
}

static void answer_states(struct io_repair *repair)
{
    uint8_t buckets[REPAIR_BITMAP_BYTES] = {0};
    for (size_t i = 0; i < REPAIR_BUCKETS; i++) {
        buckets[i / 8] |= (uint8_t)(repair->wanted[i] << i % 8);
    }
    io_repair_finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&repair->states),
                                          .next = repair->next,
                                          .n_rows = repair->n_rows,
                                          .buckets = cc_slice_of(buckets, sizeof(buckets)),
                                          .moment = &repair->moment});
}

// Rows have grown since they were counted, or PostgreSQL had compressed them well: with fewer buckets.
static void ask_for_less(struct io_repair *repair)
{
    if (repair->next == repair->first->job.from + 1) {
        cc_log(CC_LOG_WARN, "repair_failed", "why=%s", cc_log_quote("a range of rows is too large for one message"));
        io_repair_fail(repair);
        return;
    }
    repair->answer_bytes /= 4;
    io_repair_forget_states(repair);
    io_repair_ask_for_states(repair);
}

// Some of the rows, then everybody else's turn.
static void put_rows(struct io_repair *repair)
{
    int n = PQntuples(repair->rows), end = n - repair->row > REPAIR_ROWS_PER_TURN ? repair->row + REPAIR_ROWS_PER_TURN : n;
    while (repair->row < end) {
        put_state(repair, repair->rows, repair->row++);
    }
    if (repair->states.n + repair->list.n > ANSWER_BYTES_MAX) {
        ask_for_less(repair);
        return;
    }
    if (end < n) {
        io_repair_turn(repair, put_rows);
        return;
    }
    io_repair_end_list(repair);
    answer_states(repair);
}

struct tombstone {
    struct row_state state; // without key: it cannot be read
    uint32_t bucket;
};

static struct tombstone *read_tombstones(struct io_repair *repair, const PGresult *result)
{
    int n = PQntuples(result);
    struct tombstone *tombstones = cc_arena_array(&repair->arena, (size_t)n, sizeof(*tombstones));
    for (int row = 0; row < n; row++) {
        struct row_state state = {.hidden = true, .death = io_repair_value(result, row, 1)};
        uint64_t hash;
        if (pg_bytea_read(io_repair_value(result, row, 0), &repair->arena, &state.key) == CC_OK && io_repair_hash(repair, state.key, &hash) &&
            pg_bytea_read(io_repair_value(result, row, 2), &repair->arena, &state.remains) == CC_OK) {
            tombstones[row] = (struct tombstone){state, io_repair_bucket(hash)};
        }
    }
    return tombstones;
}

static bool differs(const struct io_repair *repair, uint32_t bucket)
{
    struct cc_reader theirs = cc_reader_of(repair->first->job.sums);
    cc_read_bytes(&theirs, bucket * sizeof(uint64_t));
    return bucket >= repair->first->job.from && cc_read_u64(&theirs) != repair->sums[bucket];
}

// The differing buckets from `from` on, as many as fit into one answer. Of a whole one also the tombstones of the others there.
static void choose_buckets(struct io_repair *repair, const struct tombstone *tombstones, int n_tombstones)
{
    const struct repair_job *job = &repair->first->job;
    uint64_t *hidden = cc_arena_array(&repair->arena, REPAIR_BUCKETS, sizeof(*hidden)), n_bytes = 0;
    for (int i = 0; i < n_tombstones; i++) {
        const struct row_state *state = &tombstones[i].state;
        hidden[tombstones[i].bucket] += state->key.n + state->death.n + state->remains.n;
    }
    cc_buffer_clear(&repair->buckets);
    memset(repair->wanted, 0, sizeof(repair->wanted));
    cc_buffer_append_text(&repair->buckets, "{");
    uint32_t n = 0, n_rows = 0, bucket = job->from;
    for (; bucket < REPAIR_BUCKETS && n_rows < ROWS_PER_ANSWER; bucket++) {
        bool wanted = differs(repair, bucket);
        uint64_t size = (wanted ? repair->sizes[bucket] : 0) + (wanted || job->whole ? hidden[bucket] : 0);
        if (bucket > job->from && n_bytes + size > repair->answer_bytes) {
            break;
        }
        n_bytes += size;
        if (wanted) {
            cc_buffer_printf(&repair->buckets, "%s%" PRIu32, n++ == 0 ? "" : ",", bucket);
            repair->wanted[bucket] = true;
            n_rows += repair->counts[bucket] + 1;
        }
    }
    cc_buffer_append_text(&repair->buckets, "}");
    repair->next = bucket;
    repair->n_rows = 0;
}

static void on_tombstones(struct io_repair *repair)
{
    const PGresult *result = repair->rows;
    int n = PQntuples(result);
    const struct tombstone *tombstones = read_tombstones(repair, result);
    choose_buckets(repair, tombstones, n);
    const struct repair_job *job = &repair->first->job;
    for (int i = 0; i < n; i++) {
        uint32_t bucket = tombstones[i].bucket;
        bool wanted = job->whole ? bucket >= job->from && bucket < repair->next : repair->wanted[bucket];
        if (wanted && tombstones[i].state.key.data != NULL) {
            io_repair_add_state(repair, &tombstones[i].state);
        }
    }
    struct cc_buffer sql = {0};
    put_rows_sql(&sql, repair, job->table);
    struct cc_slice parameter = cc_buffer_slice(&repair->buckets);
    io_repair_ask(repair, cc_buffer_text(&sql), 1, &parameter, NULL, put_rows);
    cc_buffer_finish(&sql);
}

void io_repair_ask_for_states(struct io_repair *repair)
{
    const struct repair_job *job = &repair->first->job;
    uint32_t bucket = job->from;
    while (bucket < REPAIR_BUCKETS && !differs(repair, bucket)) {
        bucket++;
    }
    if (bucket == REPAIR_BUCKETS && !job->whole) {
        memset(repair->wanted, 0, sizeof(repair->wanted));
        repair->next = REPAIR_BUCKETS;
        repair->n_rows = 0;
        answer_states(repair);
        return;
    }
    io_repair_ask(repair, "SELECT key, death, remains FROM caucus.tombstones WHERE \"table\" = $1", 1, &job->table, NULL, on_tombstones);
}

// -- Sums --------------------------------------------------------------------------------------------------------------

static void answer_sums(struct io_repair *repair)
{
    struct cc_buffer bytes = {0};
    for (uint32_t i = 0; i < REPAIR_BUCKETS; i++) {
        cc_put_u64(&bytes, repair->sums[i]);
    }
    io_repair_finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&bytes)});
    cc_buffer_finish(&bytes);
}

// What a row's state has besides its values and stamps: names and lengths.
static size_t state_overhead(const struct io_repair *repair)
{
    size_t n_bytes = 0;
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        n_bytes += repair->columns[i].name.n + 2 * sizeof(uint32_t);
    }
    return n_bytes;
}

static void on_sums(struct io_repair *repair)
{
    const PGresult *result = repair->rows;
    memset(repair->sums, 0, sizeof(repair->sums));
    memset(repair->counts, 0, sizeof(repair->counts));
    memset(repair->sizes, 0, sizeof(repair->sizes));
    size_t row_bytes = state_overhead(repair);
    for (int row = 0; row < PQntuples(result); row++) {
        uint64_t bucket = strtoull(PQgetvalue(result, row, 0), NULL, 10) & (REPAIR_BUCKETS - 1);
        repair->sums[bucket] = (uint64_t)strtoll(PQgetvalue(result, row, 1), NULL, 10);
        repair->counts[bucket] = (uint32_t)strtoul(PQgetvalue(result, row, 2), NULL, 10);
        repair->sizes[bucket] = strtoull(PQgetvalue(result, row, 3), NULL, 10) + repair->counts[bucket] * row_bytes;
    }
    struct cc_slice table = repair->first->job.table;
    free(repair->summed);
    repair->summed = cc_strndup(table.data, table.n);
    repair->summed_s = io_repair_now_s();
    repair->summed_whole = repair->first->job.whole;
    if (repair->first->job.kind == REPAIR_SUMS) {
        answer_sums(repair);
    } else {
        io_repair_ask_for_states(repair);
    }
}

void io_repair_sum(struct io_repair *repair)
{
    struct cc_buffer sql = {0};
    put_sums_sql(&sql, repair, repair->first->job.table);
    io_repair_ask(repair, cc_buffer_text(&sql), 0, NULL, NULL, on_sums);
    cc_buffer_finish(&sql);
}
