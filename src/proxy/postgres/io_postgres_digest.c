// Digests of weak tables, kept up by the transactions that change them.
#include "proxy/postgres/io_postgres_digest.h"

#include "base/memory.h"
#include "crdt/digest.h"
#include "proxy/postgres/io_postgres_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEY_COLUMNS_MAX = 32 }; // PostgreSQL's limit of an index

void pg_digests_finish(struct pg_digests *digests)
{
    for (size_t i = 0; i < digests->n; i++) {
        free(digests->at[i].table);
    }
    free(digests->at);
    *digests = (struct pg_digests){0};
}

static void add(struct pg_digests *digests, struct cc_slice table, int64_t rows, uint64_t sum)
{
    size_t i = 0;
    while (i < digests->n && !cc_slice_equal_text(table, digests->at[i].table)) {
        i++;
    }
    if (i == digests->n) {
        digests->at = cc_grow(digests->at, &digests->capacity, i + 1, sizeof(*digests->at));
        digests->at[digests->n++] = (struct pg_digest){.table = cc_strndup(table.data, table.n)};
    }
    digests->at[i].rows += rows;
    digests->at[i].sum ^= sum;
}

void pg_digests_add(struct pg_digests *digests, const struct pg_table *table, int64_t rows, uint64_t sum)
{
    if (rows != 0 || sum != 0) {
        add(digests, table->name, rows, sum);
    }
}

void pg_digests_join(struct pg_digests *digests, const struct pg_digests *more)
{
    for (size_t i = 0; i < more->n; i++) {
        add(digests, cc_slice_text(more->at[i].table), more->at[i].rows, more->at[i].sum);
    }
}

void pg_digests_send(struct pg_digests *digests, struct pg_lane *lane)
{
    struct pg_array tables, rows, sums;
    pg_array_init(&tables, PG_TEXT);
    pg_array_init(&rows, PG_INT8);
    pg_array_init(&sums, PG_INT8);
    for (size_t i = 0; i < digests->n; i++) {
        const struct pg_digest *digest = &digests->at[i];
        if (digest->rows != 0 || digest->sum != 0) {
            pg_array_put(&tables, cc_slice_text(digest->table));
            pg_array_put_int8(&rows, digest->rows);
            pg_array_put_int8(&sums, (int64_t)digest->sum);
        }
    }
    struct pg_array *arrays[3] = {&tables, &rows, &sums};
    if (tables.n > 0) {
        // Statements may have waited for the locks of a migration: then rows have columns that nobody here knew of.
        char version[16];
        struct cc_slice parameters[4];
        uint8_t binary[4] = {0};
        struct cc_buffer sql = {0};
        cc_buffer_append_text(&sql, "UPDATE caucus.digests d SET sum = d.sum # u.s, rows = CASE WHEN EXISTS (SELECT FROM caucus.migrations "
                                    "WHERE position > $4::bigint) THEN caucus.refuse('schema version', $4::bigint, NULL) ELSE d.rows + u.r END FROM ");
        pg_arrays_source(&sql, arrays, 3, parameters, binary);
        cc_buffer_append_text(&sql, " AS u(t, r, s) WHERE d.\"table\" = u.t");
        snprintf(version, sizeof(version), "%" PRIu32, lane->planned_for);
        parameters[3] = cc_slice_text(version);
        pg_lane_must(lane, cc_buffer_text(&sql), 4, parameters, binary);
        cc_buffer_finish(&sql);
    }
    for (size_t i = 0; i < 3; i++) {
        pg_array_finish(arrays[i]);
    }
    pg_digests_finish(digests);
}

uint64_t pg_digest_key(const struct pg_table *table, const struct cc_slice *values)
{
    struct cc_slice key[KEY_COLUMNS_MAX];
    uint32_t n = table->n_key < KEY_COLUMNS_MAX ? table->n_key : KEY_COLUMNS_MAX;
    for (uint32_t i = 0; i < n; i++) {
        key[i] = values[table->key[i]];
    }
    return crdt_digest_key(key, n);
}

uint64_t pg_digest_row(const struct pg_table *table, const struct cc_slice *values)
{
    uint64_t key = pg_digest_key(table, values), sum = key;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct pg_column *column = &table->columns[table->fields[i]];
        if (column->key_position == 0) {
            sum ^= crdt_digest_field(key, column->name, values[table->fields[i]]);
        }
    }
    return sum;
}
