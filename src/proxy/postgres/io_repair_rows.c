// What all comparisons of weak tables share: SQL of hashes and digests, keys, and lists of states in the making.
#include "proxy/postgres/io_repair_internal.h"

#include "crdt/change.h"
#include "crdt/digest.h"
#include "proxy/postgres/apply_sql.h"

#include <inttypes.h>

enum {
    // Joined in one transaction, at least.
    ROWS_PER_LIST = 25,
    LIST_BYTES = 8 << 10,
};

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

void io_repair_put_from(struct cc_buffer *sql, const struct io_repair *repair, struct cc_slice table)
{
    cc_buffer_append_text(sql, " FROM ");
    cc_buffer_append_slice(sql, table);
    cc_buffer_append_text(sql, " AS t, LATERAL (SELECT ");
    put_key_hash(sql, repair);
    cc_buffer_append_text(sql, " AS h OFFSET 0) AS k");
}

void io_repair_put_digest(struct cc_buffer *sql, const struct io_repair *repair, bool with_stamps)
{
    cc_buffer_append_text(sql, "k.h");
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
    if (with_stamps) {
        cc_buffer_append_text(sql, " # pg_catalog.hashtextextended(coalesce(t._caucus::text, ''), k.h)");
    }
}

void io_repair_put_buckets(struct io_repair *repair)
{
    cc_buffer_clear(&repair->buckets);
    for (uint32_t i = 0; i < REPAIR_BUCKETS; i++) {
        if (repair->first->job.buckets.data[i / 8] >> i % 8 & 1) {
            cc_buffer_printf(&repair->buckets, "%s%" PRIu32, repair->buckets.n == 0 ? "{" : ",", i);
        }
    }
    cc_buffer_append_text(&repair->buckets, repair->buckets.n == 0 ? "{}" : "}");
}

struct cc_slice io_repair_key(struct io_repair *repair, const PGresult *result, int row)
{
    struct cc_slice *values = cc_arena_array(&repair->arena, repair->n_key, sizeof(*values));
    for (uint32_t i = 0; i < repair->n_columns; i++) {
        if (repair->columns[i].key > 0) {
            values[repair->columns[i].key - 1] = io_repair_value(result, row, (int)(1 + i));
        }
    }
    struct cc_buffer key = {0};
    crdt_key_put(&key, values, repair->n_key);
    struct cc_slice copy = cc_arena_slice(&repair->arena, cc_buffer_slice(&key));
    cc_buffer_finish(&key);
    return copy;
}

void io_repair_end_list(struct io_repair *repair)
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

void io_repair_add_state(struct io_repair *repair, const struct row_state *state)
{
    row_state_put(&repair->list, state);
    repair->n_listed++;
    repair->n_rows++;
    if (repair->n_listed == ROWS_PER_LIST || repair->list.n >= LIST_BYTES) {
        io_repair_end_list(repair);
    }
}

uint32_t io_repair_bucket(uint64_t hash)
{
    return (uint32_t)(hash >> REPAIR_BUCKET_SHIFT & (REPAIR_BUCKETS - 1));
}

bool io_repair_hash(struct io_repair *repair, struct cc_slice key, uint64_t *hash_out)
{
    struct cc_slice *values = cc_arena_array(&repair->arena, repair->n_key, sizeof(*values));
    size_t n = 0;
    if (crdt_key_read(key, values, repair->n_key, &n) != CC_OK || n != repair->n_key) {
        return false;
    }
    *hash_out = crdt_digest_key(values, n);
    return true;
}
