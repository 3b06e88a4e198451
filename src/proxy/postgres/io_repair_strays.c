// STRAYS: for a whole answer of another replica, the rows of which only this one knows. HIDDEN (own tombstones) --> STRAYS (own rows)
#include "proxy/postgres/io_repair_internal.h"

#include "base/memory.h"
#include "crdt/row.h"
#include "proxy/postgres/apply_sql.h"
#include "proxy/postgres/pg_value.h"

#include <inttypes.h>
#include <stdlib.h>

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
        io_repair_add_state(repair, &state);
    }
}

static void on_strays(struct io_repair *repair)
{
    const PGresult *result = repair->rows;
    const uint8_t *buckets = repair->first->job.buckets.data;
    size_t n_visible = (size_t)PQntuples(result);
    struct cc_slice *visible = cc_arena_array(&repair->arena, n_visible, sizeof(*visible));
    for (size_t i = 0; i < n_visible; i++) {
        visible[i] = io_repair_key(repair, result, (int)i);
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
    io_repair_end_list(repair);
    io_repair_finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&repair->states)});
}

// Rows here, of the buckets whose rows were told, and those that have tombstones.
static void ask_for_strays(struct io_repair *repair, struct cc_slice hashes)
{
    const struct repair_job *job = &repair->first->job;
    io_repair_put_buckets(repair);
    struct cc_buffer sql = {0};
    cc_buffer_printf(&sql, "SELECT (k.h >> %d) & %d", (int)REPAIR_BUCKET_SHIFT, REPAIR_BUCKETS - 1);
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        cc_buffer_append_text(&sql, repair->columns[i].key > 0 ? ", t." : ", NULL");
        if (repair->columns[i].key > 0) {
            apply_sql_identifier(&sql, repair->columns[i].name);
        }
    }
    io_repair_put_from(&sql, repair, job->table);
    cc_buffer_printf(&sql, " WHERE (k.h >> %d) & %d = ANY ($1::bigint[]) OR k.h = ANY ($2::bigint[])", (int)REPAIR_BUCKET_SHIFT, REPAIR_BUCKETS - 1);
    struct cc_slice parameters[2] = {cc_buffer_slice(&repair->buckets), hashes};
    io_repair_ask(repair, cc_buffer_text(&sql), 2, parameters, NULL, on_strays);
    cc_buffer_finish(&sql);
}

static void on_hidden(struct io_repair *repair)
{
    const PGresult *result = repair->rows;
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
        bool is_key = pg_bytea_read(io_repair_value(result, row, 0), &repair->arena, &key) == CC_OK && io_repair_hash(repair, key, &hash);
        if (is_key && io_repair_bucket(hash) >= job->from && io_repair_bucket(hash) < job->next) {
            repair->hidden.at = cc_grow(repair->hidden.at, &repair->hidden.capacity, repair->hidden.n + 1, sizeof(*repair->hidden.at));
            repair->hidden.at[repair->hidden.n++] = key;
            cc_buffer_printf(&hashes, "%s%" PRId64, hashes.n == 0 ? "{" : ",", (int64_t)hash);
        }
    }
    cc_buffer_append_text(&hashes, hashes.n == 0 ? "{}" : "}");
    ask_for_strays(repair, cc_buffer_slice(&hashes));
    cc_buffer_finish(&hashes);
}

// In buckets whose rows were not told, both have the same rows: what is not visible here, is not there.
void io_repair_ask_for_hidden(struct io_repair *repair)
{
    io_repair_ask(repair, "SELECT key FROM caucus.tombstones WHERE \"table\" = $1", 1, &repair->first->job.table, NULL, on_hidden);
}
