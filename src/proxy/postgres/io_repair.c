// Comparing weak tables: sums of buckets and states of rows, read from PostgreSQL.
//
//   TABLES: two queries.   SUMS: DESCRIBE --> SUM.   STRAYS: DESCRIBE --> HIDDEN --> STRAYS
//   STATES: BEGIN --> MOMENT --> DESCRIBE --> SUM (unless just done) --> TOMBSTONES --> ROWS --> COMMIT
#include "proxy/postgres/io_repair.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/memory.h"
#include "crdt/change.h"
#include "crdt/digest.h"
#include "crdt/row.h"
#include "proxy/postgres/apply_sql.h"
#include "proxy/postgres/io_postgres_link.h"
#include "proxy/postgres/pg_value.h"
#include "proxy/node/row_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WAITING_MAX = 16,
    // Many: each answer costs a reading of all keys, and what was written together is looked up in the histories once for each.
    ROWS_PER_ANSWER = 50000,
    ANSWER_BYTES = 8 << 20,                       // about so many, unless a single bucket has more
    ANSWER_BYTES_MAX = CC_FRAME_BYTES_MAX - (1 << 20), // what goes with it is small
    // Joined in one transaction, at least.
    ROWS_PER_LIST = 25,
    LIST_BYTES = 8 << 10,
    ROWS_PER_TURN = 500,  // of the loop
    BUCKET_SHIFT = 52, // 64 less 12 bits of REPAIR_BUCKETS
    KEPT_SUMS_S = 60,
};

struct task {
    struct repair_job job;
    struct cc_buffer bytes; // table, sums, states, buckets
    struct task *next;
};

struct column {
    struct cc_slice name;
    uint32_t key; // position in the key from 1; 0: not of it
};

struct io_repair {
    struct io_repair_options options;
    char *search_path;
    struct io_postgres_link *link;
    bool up;
    struct task *first, *last;
    uint32_t n_tasks;
    bool busy;
    // Of the task under way:
    struct cc_arena arena;
    struct column *columns;
    uint32_t n_columns, n_key;
    uint32_t next, n_rows;
    uint64_t answer_bytes; // about what its buckets may have together
    PGresult *rows; // of an answer, of which `row` is the next
    int row;
    struct event *turn;
    uint32_t n_listed;    // rows in `list`
    struct cc_buffer list;
    struct cc_buffer buckets; // those whose rows are asked for, as an array's text
    struct cc_buffer states;
    bool wanted[REPAIR_BUCKETS];
    struct {
        struct told *at;
        size_t n, capacity;
    } told; // STRAYS: the rows of the answer, by key
    struct {
        struct cc_slice *at;
        size_t n, capacity;
    } hidden; // STRAYS: keys of own tombstones in buckets of the answer
    char no_death[CLOCK_STAMP_TEXT_BYTES];
    struct cc_buffer no_remains;
    bool in_transaction;
    struct repair_moment moment;
    // The last sums, and whose they are.
    char *summed;
    bool summed_whole;
    uint64_t summed_s;
    uint64_t sums[REPAIR_BUCKETS];
    uint32_t counts[REPAIR_BUCKETS];
    uint64_t sizes[REPAIR_BUCKETS]; // of their rows' states, about: as PostgreSQL stores them
};

static uint64_t now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static struct cc_slice value_at(const PGresult *result, int row, int column)
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

static void forget_states(struct io_repair *repair)
{
    forget_rows(repair);
    cc_buffer_clear(&repair->states);
    cc_buffer_clear(&repair->list);
    repair->n_listed = 0;
}

static void finish(struct io_repair *repair, const struct repair_event *result)
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
        io_postgres_link_send_text(repair->link, "COMMIT", on_set, repair, 0);
        io_postgres_link_sync(repair->link, NULL, NULL, 0);
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
    forget_states(repair);
    start_next(repair);
}

static void fail(struct io_repair *repair)
{
    finish(repair, &(struct repair_event){.failed = true});
}

static bool went_well(struct io_repair *repair, const PGresult *result)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        return true;
    }
    cc_log(CC_LOG_WARN, "repair_failed", "why=%s", cc_log_quote(PQresultErrorMessage(result)));
    fail(repair);
    return false;
}

static void ask(struct io_repair *repair, const char *sql, uint32_t n, const struct cc_slice *parameters, io_postgres_on_result *on_result)
{
    struct io_postgres_query query = {.sql = sql, .n_parameters = n, .parameters = parameters, .once = true};
    io_postgres_link_send(repair->link, &query, on_result, repair, 0);
    io_postgres_link_sync(repair->link, NULL, NULL, 0);
}

// -- SQL ---------------------------------------------------------------------------------------------------------------

static const struct column *key_column(const struct io_repair *repair, uint32_t position)
{
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        if (repair->columns[i].key == position) {
            return &repair->columns[i];
        }
    }
    return NULL;
}

// As crdt_digest_key.
static void put_key_hash(struct cc_buffer *sql, const struct io_repair *repair)
{
    for (uint32_t i = repair->n_key; i > 0; i--) {
        cc_buffer_append_text(sql, "pg_catalog.hashtextextended(pg_catalog.concat(t.");
        apply_sql_identifier(sql, key_column(repair, i)->name);
        cc_buffer_append_text(sql, ") COLLATE \"C\", ");
    }
    cc_buffer_append_text(sql, "0");
    for (uint32_t i = 0; i < repair->n_key; i++) {
        cc_buffer_append_text(sql, ")");
    }
}

// "FROM t, its key's hash as k.h"
static void put_from(struct cc_buffer *sql, const struct io_repair *repair, struct cc_slice table)
{
    cc_buffer_append_text(sql, " FROM ");
    cc_buffer_append_slice(sql, table);
    cc_buffer_append_text(sql, " AS t, LATERAL (SELECT ");
    put_key_hash(sql, repair);
    cc_buffer_append_text(sql, " AS h OFFSET 0) AS k");
}

// Of the values: stamps have several spellings, and decide when states are joined. Of the stamps, too, when the other's frontier is
// to be taken over: what is written twice with the same value counts.
static void put_sums_sql(struct cc_buffer *sql, const struct io_repair *repair, struct cc_slice table)
{
    cc_buffer_printf(sql, "SELECT (k.h >> %d) & %d, pg_catalog.bit_xor(k.h", (int)BUCKET_SHIFT, REPAIR_BUCKETS - 1);
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        const struct column *column = &repair->columns[i];
        if (column->key > 0) {
            continue;
        }
        cc_buffer_append_text(sql, " # CASE WHEN t.");
        apply_sql_identifier(sql, column->name);
        cc_buffer_append_text(sql, " IS NOT DISTINCT FROM NULL THEN 0 ELSE pg_catalog.hashtextextended(pg_catalog.concat(t.");
        apply_sql_identifier(sql, column->name);
        cc_buffer_printf(sql, ") COLLATE \"C\", k.h # (%" PRId64 ")::bigint) END", (int64_t)crdt_digest_hash(column->name, 0));
    }
    if (repair->first->job.whole) {
        cc_buffer_append_text(sql, " # pg_catalog.hashtextextended(coalesce(t._caucus::text, ''), k.h)");
    }
    cc_buffer_append_text(sql, "), pg_catalog.count(*), pg_catalog.sum(pg_catalog.pg_column_size(t.*))");
    put_from(sql, repair, table);
    cc_buffer_append_text(sql, " GROUP BY 1");
}

static void put_rows_sql(struct cc_buffer *sql, const struct io_repair *repair, struct cc_slice table)
{
    cc_buffer_append_text(sql, "SELECT t._caucus::text");
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        cc_buffer_append_text(sql, ", t.");
        apply_sql_identifier(sql, repair->columns[i].name);
    }
    put_from(sql, repair, table);
    // What was written together comes together: should it be looked up in the histories, then each change set once.
    cc_buffer_printf(sql, " WHERE (k.h >> %d) & %d = ANY ($1::bigint[]) ORDER BY t._caucus ->> ''", (int)BUCKET_SHIFT, REPAIR_BUCKETS - 1);
}

// -- Rows --------------------------------------------------------------------------------------------------------------

static struct cc_slice key_of(struct io_repair *repair, const PGresult *result, int row)
{
    struct cc_slice *values = cc_arena_array(&repair->arena, repair->n_key, sizeof(*values));
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        if (repair->columns[i].key > 0) {
            values[repair->columns[i].key - 1] = value_at(result, row, (int)(1 + i));
        }
    }
    struct cc_buffer key = {0};
    crdt_key_put(&key, values, repair->n_key);
    struct cc_slice copy = cc_arena_slice(&repair->arena, cc_buffer_slice(&key));
    cc_buffer_finish(&key);
    return copy;
}

static void end_list(struct io_repair *repair)
{
    if (repair->n_listed > 0) {
        struct cc_buffer list = {0};
        row_states_begin(&list, repair->first->job.table, repair->n_listed);
        cc_buffer_append_slice(&list, cc_buffer_slice(&repair->list));
        cc_put_string(&repair->states, cc_buffer_slice(&list));
        cc_buffer_finish(&list);
        cc_buffer_clear(&repair->list);
        repair->n_listed = 0;
    }
}

static void add_state(struct io_repair *repair, const struct row_state *state)
{
    row_state_put(&repair->list, state);
    repair->n_listed++;
    repair->n_rows++;
    if (repair->n_listed == ROWS_PER_LIST || repair->list.n >= LIST_BYTES) {
        end_list(repair);
    }
}

static void put_state(struct io_repair *repair, const PGresult *result, int row)
{
    struct row_state state = {.key = key_of(repair, result, row), .stamps = value_at(result, row, 0)};
    state.names = cc_arena_array(&repair->arena, repair->n_columns, sizeof(*state.names));
    state.values = cc_arena_array(&repair->arena, repair->n_columns, sizeof(*state.values));
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        if (repair->columns[i].key == 0) {
            state.names[state.n_fields] = repair->columns[i].name;
            state.values[state.n_fields++] = value_at(result, row, (int)(1 + i));
        }
    }
    add_state(repair, &state);
}

static void answer_states(struct io_repair *repair)
{
    uint8_t buckets[REPAIR_BITMAP_BYTES] = {0};
    for (size_t i = 0; i < REPAIR_BUCKETS; i++) {
        buckets[i / 8] |= (uint8_t)(repair->wanted[i] << i % 8);
    }
    finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&repair->states),
                                          .next = repair->next,
                                          .n_rows = repair->n_rows,
                                          .buckets = cc_slice_of(buckets, sizeof(buckets)),
                                          .moment = &repair->moment});
}

static void ask_for_states(struct io_repair *repair);

// Rows have grown since they were counted, or PostgreSQL had compressed them well: with fewer buckets.
static void ask_for_less(struct io_repair *repair)
{
    if (repair->next == repair->first->job.from + 1) {
        cc_log(CC_LOG_WARN, "repair_failed", "why=%s", cc_log_quote("a range of rows is too large for one message"));
        fail(repair);
        return;
    }
    repair->answer_bytes /= 4;
    forget_states(repair);
    ask_for_states(repair);
}

// Some of the rows, then everybody else's turn.
static void put_rows(struct io_repair *repair)
{
    int n = PQntuples(repair->rows), end = n - repair->row > ROWS_PER_TURN ? repair->row + ROWS_PER_TURN : n;
    while (repair->row < end) {
        put_state(repair, repair->rows, repair->row++);
    }
    if (repair->states.n + repair->list.n > ANSWER_BYTES_MAX) {
        ask_for_less(repair);
        return;
    }
    if (end < n) {
        event_add(repair->turn, &(struct timeval){0, 0});
        return;
    }
    end_list(repair);
    answer_states(repair);
}

static void on_turn(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    put_rows(context);
}

static void on_rows(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (went_well(repair, result)) {
        repair->rows = result;
        repair->row = 0;
        put_rows(repair);
    } else {
        PQclear(result);
    }
}

static uint32_t bucket_of(uint64_t hash)
{
    return (uint32_t)(hash >> BUCKET_SHIFT & (REPAIR_BUCKETS - 1));
}

// False: the key is not one of this table's.
static bool hash_of(struct io_repair *repair, struct cc_slice key, uint64_t *hash_out)
{
    struct cc_slice *values = cc_arena_array(&repair->arena, repair->n_key, sizeof(*values));
    size_t n = 0;
    if (crdt_key_read(key, values, repair->n_key, &n) != CC_OK || n != repair->n_key) {
        return false;
    }
    *hash_out = crdt_digest_key(values, n);
    return true;
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
        struct row_state state = {.hidden = true, .death = value_at(result, row, 1)};
        uint64_t hash;
        if (pg_bytea_read(value_at(result, row, 0), &repair->arena, &state.key) == CC_OK && hash_of(repair, state.key, &hash) &&
            pg_bytea_read(value_at(result, row, 2), &repair->arena, &state.remains) == CC_OK) {
            tombstones[row] = (struct tombstone){state, bucket_of(hash)};
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

static void on_tombstones(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (went_well(repair, result)) {
        int n = PQntuples(result);
        const struct tombstone *tombstones = read_tombstones(repair, result);
        choose_buckets(repair, tombstones, n);
        const struct repair_job *job = &repair->first->job;
        for (int i = 0; i < n; i++) {
            uint32_t bucket = tombstones[i].bucket;
            bool wanted = job->whole ? bucket >= job->from && bucket < repair->next : repair->wanted[bucket];
            if (wanted && tombstones[i].state.key.data != NULL) {
                add_state(repair, &tombstones[i].state);
            }
        }
        struct cc_buffer sql = {0};
        put_rows_sql(&sql, repair, job->table);
        struct cc_slice parameter = cc_buffer_slice(&repair->buckets);
        ask(repair, cc_buffer_text(&sql), 1, &parameter, on_rows);
        cc_buffer_finish(&sql);
    }
    PQclear(result);
}

static void ask_for_states(struct io_repair *repair)
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
    ask(repair, "SELECT key, death, remains FROM caucus.tombstones WHERE \"table\" = $1", 1, &job->table, on_tombstones);
}

// -- Sums --------------------------------------------------------------------------------------------------------------

static void answer_sums(struct io_repair *repair)
{
    struct cc_buffer bytes = {0};
    for (uint32_t i = 0; i < REPAIR_BUCKETS; i++) {
        cc_put_u64(&bytes, repair->sums[i]);
    }
    finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&bytes)});
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

static void on_sums(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (went_well(repair, result)) {
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
        repair->summed_s = now_s();
        repair->summed_whole = repair->first->job.whole;
        if (repair->first->job.kind == REPAIR_SUMS) {
            answer_sums(repair);
        } else {
            ask_for_states(repair);
        }
    }
    PQclear(result);
}

// -- Strays ------------------------------------------------------------------------------------------------------------

struct told { // of a row, by an answer
    struct cc_slice key;
    const struct row_state *hidden; // what is told of it if it is not there
};

static int compare_keys(const void *a, const void *b)
{
    return cc_slice_compare(*(const struct cc_slice *)a, *(const struct cc_slice *)b);
}

static int compare_told(const void *a, const void *b)
{
    return cc_slice_compare(((const struct told *)a)->key, ((const struct told *)b)->key);
}

static void read_told(struct io_repair *repair)
{
    repair->told.n = 0;
    struct cc_reader reader = cc_reader_of(repair->first->job.states);
    while (cc_reader_ok(&reader) && cc_reader_left(&reader) > 0) {
        struct cc_slice table = {0};
        struct row_state *states = NULL;
        uint32_t n_states = 0;
        if (row_states_read(cc_read_string(&reader), &repair->arena, &table, &states, &n_states) != CC_OK) {
            break;
        }
        for (uint32_t i = 0; i < n_states; i++) {
            repair->told.at = cc_grow(repair->told.at, &repair->told.capacity, repair->told.n + 1, sizeof(*repair->told.at));
            repair->told.at[repair->told.n++] = (struct told){states[i].key, states[i].hidden ? &states[i] : NULL};
        }
    }
    if (repair->told.n > 0) {
        qsort(repair->told.at, repair->told.n, sizeof(*repair->told.at), compare_told);
    }
}

// A tombstone may be told beside the row that came after it. False: the row is there.
static bool find_hidden(const struct io_repair *repair, struct cc_slice key, struct row_state *state_out)
{
    struct told wanted = {.key = key};
    const struct told *found =
        repair->told.n == 0 ? NULL : bsearch(&wanted, repair->told.at, repair->told.n, sizeof(wanted), compare_told);
    const struct told *first = repair->told.at, *end = first + repair->told.n;
    while (found != NULL && found > first && compare_told(found - 1, found) == 0) {
        found--;
    }
    for (; found != NULL && found < end && compare_told(found, &wanted) == 0; found++) {
        if (found->hidden == NULL) {
            return false;
        }
        *state_out = *found->hidden;
    }
    return true;
}

static void add_settled(struct io_repair *repair, struct cc_slice key)
{
    struct row_state state = {.key = key, .hidden = true, .death = cc_slice_text(repair->no_death), .remains = cc_buffer_slice(&repair->no_remains)};
    if (find_hidden(repair, key, &state)) {
        state.settled = true;
        add_state(repair, &state);
    }
}

static void on_strays(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (went_well(repair, result)) {
        const uint8_t *buckets = repair->first->job.buckets.data;
        size_t n_visible = (size_t)PQntuples(result);
        struct cc_slice *visible = cc_arena_array(&repair->arena, n_visible, sizeof(*visible));
        for (size_t i = 0; i < n_visible; i++) {
            visible[i] = key_of(repair, result, (int)i);
            unsigned long bucket = strtoul(PQgetvalue(result, (int)i, 0), NULL, 10);
            if (buckets[bucket / 8] >> bucket % 8 & 1) {
                add_settled(repair, visible[i]);
            }
        }
        if (n_visible > 0) {
            qsort(visible, n_visible, sizeof(*visible), compare_keys);
        }
        for (size_t i = 0; i < repair->hidden.n; i++) {
            if (n_visible == 0 || bsearch(&repair->hidden.at[i], visible, n_visible, sizeof(*visible), compare_keys) == NULL) {
                add_settled(repair, repair->hidden.at[i]);
            }
        }
        end_list(repair);
        finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&repair->states)});
    }
    PQclear(result);
}

// Rows here, of the buckets whose rows were told, and those that have tombstones.
static void ask_for_strays(struct io_repair *repair, struct cc_slice hashes)
{
    const struct repair_job *job = &repair->first->job;
    cc_buffer_clear(&repair->buckets);
    for (uint32_t i = 0; i < REPAIR_BUCKETS; i++) {
        if (job->buckets.data[i / 8] >> i % 8 & 1) {
            cc_buffer_printf(&repair->buckets, "%s%" PRIu32, repair->buckets.n == 0 ? "{" : ",", i);
        }
    }
    cc_buffer_append_text(&repair->buckets, repair->buckets.n == 0 ? "{}" : "}");
    struct cc_buffer sql = {0};
    cc_buffer_printf(&sql, "SELECT (k.h >> %d) & %d", (int)BUCKET_SHIFT, REPAIR_BUCKETS - 1);
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        cc_buffer_append_text(&sql, repair->columns[i].key > 0 ? ", t." : ", NULL");
        if (repair->columns[i].key > 0) {
            apply_sql_identifier(&sql, repair->columns[i].name);
        }
    }
    put_from(&sql, repair, job->table);
    cc_buffer_printf(&sql, " WHERE (k.h >> %d) & %d = ANY ($1::bigint[]) OR k.h = ANY ($2::bigint[])", (int)BUCKET_SHIFT, REPAIR_BUCKETS - 1);
    struct cc_slice parameters[2] = {cc_buffer_slice(&repair->buckets), hashes};
    ask(repair, cc_buffer_text(&sql), 2, parameters, on_strays);
    cc_buffer_finish(&sql);
}

static void on_hidden(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (went_well(repair, result)) {
        struct crdt_row nothing;
        crdt_row_init(&nothing, NULL, 0, NULL, NULL);
        clock_stamp_text(&nothing.death, repair->no_death);
        cc_buffer_clear(&repair->no_remains);
        crdt_remains_put(&repair->no_remains, &nothing);
        read_told(repair);
        cc_buffer_append_slice(&repair->states, repair->first->job.states);
        const struct repair_job *job = &repair->first->job;
        repair->hidden.n = 0;
        struct cc_buffer hashes = {0};
        for (int row = 0; row < PQntuples(result); row++) {
            struct cc_slice key = {0};
            uint64_t hash;
            bool is_key = pg_bytea_read(value_at(result, row, 0), &repair->arena, &key) == CC_OK && hash_of(repair, key, &hash);
            if (is_key && bucket_of(hash) >= job->from && bucket_of(hash) < job->next) {
                repair->hidden.at = cc_grow(repair->hidden.at, &repair->hidden.capacity, repair->hidden.n + 1, sizeof(*repair->hidden.at));
                repair->hidden.at[repair->hidden.n++] = key;
                cc_buffer_printf(&hashes, "%s%" PRId64, hashes.n == 0 ? "{" : ",", (int64_t)hash);
            }
        }
        cc_buffer_append_text(&hashes, hashes.n == 0 ? "{}" : "}");
        ask_for_strays(repair, cc_buffer_slice(&hashes));
        cc_buffer_finish(&hashes);
    }
    PQclear(result);
}

// In buckets whose rows were not told, both have the same rows: what is not visible here, is not there.
static void ask_for_hidden(struct io_repair *repair)
{
    ask(repair, "SELECT key FROM caucus.tombstones WHERE \"table\" = $1", 1, &repair->first->job.table, on_hidden);
}

static void on_described(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (!went_well(repair, result)) {
        PQclear(result);
        return;
    }
    const struct repair_job *job = &repair->first->job;
    repair->n_columns = (uint32_t)PQntuples(result);
    repair->n_key = 0;
    repair->columns = cc_arena_array(&repair->arena, repair->n_columns, sizeof(*repair->columns));
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        repair->columns[i].name = cc_arena_slice(&repair->arena, value_at(result, (int)i, 0));
        repair->columns[i].key = (uint32_t)strtoul(PQgetvalue(result, (int)i, 1), NULL, 10);
        repair->n_key += repair->columns[i].key > 0;
    }
    PQclear(result);
    if (repair->n_key == 0) { // not a weak table of ours
        fail(repair);
        return;
    }
    if (job->kind == REPAIR_STRAYS) {
        ask_for_hidden(repair);
        return;
    }
    bool known = repair->summed != NULL && cc_slice_equal_text(job->table, repair->summed) && now_s() - repair->summed_s < KEPT_SUMS_S &&
                 repair->summed_whole == job->whole;
    if (job->kind == REPAIR_STATES && job->from > 0 && known) {
        ask_for_states(repair);
        return;
    }
    struct cc_buffer sql = {0};
    put_sums_sql(&sql, repair, job->table);
    ask(repair, cc_buffer_text(&sql), 0, NULL, on_sums);
    cc_buffer_finish(&sql);
}

// The name is one of caucus.digests, or it is not found: a peer's bytes never become SQL.
static const char sql_describe[] =
    "SELECT a.attname, coalesce((SELECT k.n FROM pg_catalog.pg_index x, unnest(x.indkey::smallint[]) WITH ORDINALITY AS k(attnum, n) "
    "WHERE x.indrelid = c.oid AND x.indisprimary AND k.attnum = a.attnum AND k.n <= x.indnkeyatts), 0) "
    "FROM caucus.digests d JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(d.\"table\")::oid "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> '_caucus' "
    "WHERE d.\"table\" = $1::text ORDER BY a.attnum";

static void on_tables(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (went_well(repair, result)) {
        struct cc_buffer names = {0};
        for (int row = 0; row < PQntuples(result); row++) {
            cc_buffer_append(&names, PQgetvalue(result, row, 0), (size_t)PQgetlength(result, row, 0) + 1);
        }
        finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&names)});
        cc_buffer_finish(&names);
    }
    PQclear(result);
}

static void on_kept(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (went_well(repair, result)) {
        struct cc_buffer bytes = {0};
        struct crdt_frontier frontier;
        crdt_frontier_of_text(PQntuples(result) > 0 ? PQgetvalue(result, 0, 3) : "", &frontier);
        crdt_frontier_put(&bytes, &frontier);
        cc_put_varint(&bytes, (uint64_t)PQntuples(result));
        for (int row = 0; row < PQntuples(result); row++) {
            cc_put_string(&bytes, value_at(result, row, 0));
            cc_put_u64(&bytes, strtoull(PQgetvalue(result, row, 1), NULL, 10));
            cc_put_u64(&bytes, (uint64_t)strtoll(PQgetvalue(result, row, 2), NULL, 10));
        }
        finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&bytes)});
        cc_buffer_finish(&bytes);
    }
    PQclear(result);
}

static void on_renewed(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (went_well(repair, result)) {
        finish(repair, &(struct repair_event){0});
    }
    PQclear(result);
}

static void describe(struct io_repair *repair)
{
    ask(repair, sql_describe, 1, &repair->first->job.table, on_described);
}

#define SQL_FRONTIER \
    "(SELECT coalesce(pg_catalog.string_agg(pg_catalog.concat_ws(' ', replica, incarnation, sequence), ' '), '') FROM caucus.frontier)"

static void on_moment(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_repair *repair = context;
    if (went_well(repair, result)) {
        crdt_frontier_of_text(PQgetvalue(result, 0, 0), &repair->moment.frontier);
        repair->moment.bound = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
        repair->moment.schema_version = (uint32_t)strtoul(PQgetvalue(result, 0, 2), NULL, 10);
        describe(repair);
    }
    PQclear(result);
}

// The bound is written down before tombstones are dropped: in one snapshot both are seen, or neither.
static void ask_for_moment(struct io_repair *repair)
{
    repair->in_transaction = true;
    io_postgres_link_send_text(repair->link, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", on_set, repair, 0);
    ask(repair, "SELECT " SQL_FRONTIER ", (SELECT coalesce(max(bound), 0) FROM caucus.garbage), (SELECT count(*) FROM caucus.migrations)", 0, NULL, on_moment);
}

static void start_next(struct io_repair *repair)
{
    if (repair->busy || repair->first == NULL) {
        return;
    }
    if (!repair->up) {
        fail(repair);
        return;
    }
    repair->busy = true;
    repair->answer_bytes = ANSWER_BYTES;
    switch (repair->first->job.kind) {
    case REPAIR_TABLES:
        // What was written lately is looked up in the histories, too: it is not in that index before a vacuum.
        ask(repair, "SELECT pg_catalog.brin_summarize_new_values('caucus.history_stamp')", 0, NULL, on_set);
        ask(repair, "SELECT \"table\" FROM caucus.digests ORDER BY 1", 0, NULL, on_tables);
        return;
    case REPAIR_KEPT:
        ask(repair,
            "SELECT \"table\", rows, sum, " SQL_FRONTIER " FROM caucus.digests ORDER BY 1", 0, NULL, on_kept);
        return;
    case REPAIR_RENEW:
        ask(repair, "SELECT caucus.note_digests(true)", 0, NULL, on_renewed);
        return;
    case REPAIR_SUMS:
    case REPAIR_STRAYS:
        describe(repair);
        return;
    case REPAIR_STATES:
        ask_for_moment(repair);
        return;
    }
}

void io_repair_submit(struct io_repair *repair, const struct repair_job *job)
{
    if (repair->n_tasks >= WAITING_MAX && job->kind == REPAIR_STATES) {
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
        fail(repair);
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
    free(repair->summed);
    free(repair->search_path);
    free(repair);
}
