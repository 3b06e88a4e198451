// Reading for a merge: the rows that its sets touch as they are, with their stamps, and their tombstones.
#include "proxy/postgres/io_postgres_merge.h"

#include "proxy/postgres/apply_sql.h"

enum { TOMBSTONES = UINT32_MAX }; // in the place of a table's number

static bool is_presumed_new(const struct merge *merge, const struct merge_row *row)
{
    return merge->presumes && row->inserted && !row->not_new;
}

bool pg_merge_needs_reading(const struct merge *merge)
{
    for (const struct merge_table *table = merge->tables; table != NULL; table = table->next) {
        bool tombstoned = pg_lane_tombstoned_has(merge->lane, table->name);
        for (size_t i = 0; i < table->n_rows; i++) {
            if (tombstoned || !is_presumed_new(merge, table->rows[i])) {
                return true;
            }
        }
    }
    return false;
}

// -- Asking ----------------------------------------------------------------------------------------------------------------

static void on_rows(void *context, uint64_t number, PGresult *result)
{
    struct merge *merge = context;
    if (!pg_result_ok(result)) {
        if (!pg_result_aborted(result)) {
            pg_merge_note_error(merge, result);
        }
        PQclear(result);
        return;
    }
    if (number == TOMBSTONES) {
        merge->tombstones = result;
    } else {
        merge->row_results[number] = result;
    }
}

// One column of the keys of the rows that are to be read. False: not all values are as texts of this type are; nothing is left of it.
static bool put_key_as(const struct merge *merge, const struct merge_table *table, uint32_t position, enum pg_type type, struct pg_array *keys)
{
    pg_array_init(keys, type);
    for (size_t r = 0; r < table->n_rows; r++) {
        const struct merge_row *row = table->rows[r];
        if (!is_presumed_new(merge, row) && pg_array_put_value(keys, row->values[position]) != CC_OK) {
            pg_array_finish(keys);
            return false;
        }
    }
    return true;
}

static void put_key(const struct merge *merge, const struct merge_table *table, uint32_t position, struct pg_array *keys)
{
    enum pg_type type = pg_array_type_of(table->table->columns[table->table->key[position]].type);
    if (!put_key_as(merge, table, position, type, keys)) { // PostgreSQL is to say what is wrong with it
        (void)put_key_as(merge, table, position, PG_TEXT, keys);
    }
}

static void send_read(struct merge *merge, const struct merge_table *table, uint64_t number)
{
    const struct pg_table *described = table->table;
    struct cc_buffer sql = {0};
    struct cc_buffer source = {0};
    uint32_t n_key = described->n_key;
    struct pg_array *keys = cc_arena_array(&merge->arena, n_key + 1, sizeof(*keys)); // and the row's number
    struct pg_array **arrays = cc_arena_array(&merge->arena, n_key + 1, sizeof(struct pg_array *));
    struct cc_slice *parameters = cc_arena_array(&merge->arena, n_key + 1, sizeof(*parameters));
    uint8_t *binary = cc_arena_array(&merge->arena, n_key + 1, sizeof(*binary));
    cc_buffer_append_text(&sql, "SELECT u.n, t._caucus::text");
    for (uint32_t i = 0; i < described->n_fields; i++) {
        cc_buffer_append_text(&sql, ", t.");
        apply_sql_identifier(&sql, described->columns[described->fields[i]].name);
    }
    for (uint32_t i = 0; i <= n_key; i++) {
        arrays[i] = &keys[i];
        if (i < n_key) {
            put_key(merge, table, i, &keys[i]);
            cc_buffer_printf(&source, "k%u, ", i);
        } else {
            cc_buffer_append_text(&source, "n");
        }
    }
    pg_array_init(&keys[n_key], PG_INT8);
    for (size_t r = 0; r < table->n_rows; r++) {
        if (!is_presumed_new(merge, table->rows[r])) {
            pg_array_put_int8(&keys[n_key], (int64_t)r + 1);
        }
    }
    cc_buffer_append_text(&sql, " FROM ");
    pg_arrays_source(&sql, arrays, n_key + 1, parameters, binary);
    cc_buffer_append_text(&sql, " AS u(");
    cc_buffer_append_slice(&sql, cc_buffer_slice(&source));
    cc_buffer_append_text(&sql, ") JOIN ");
    cc_buffer_append_slice(&sql, described->name);
    cc_buffer_append_text(&sql, " AS t ON ");
    for (uint32_t i = 0; i < n_key; i++) {
        const struct pg_column *column = &described->columns[described->key[i]];
        cc_buffer_append_text(&sql, i == 0 ? "t." : " AND t.");
        apply_sql_identifier(&sql, column->name);
        cc_buffer_printf(&sql, " = u.k%u::%.*s", i, (int)column->type.n, (const char *)column->type.data);
    }
    struct io_postgres_query query = {.sql = cc_buffer_text(&sql), .n_parameters = n_key + 1, .parameters = parameters, .binary = binary};
    if (keys[n_key].n > 0) {
        io_postgres_link_send(merge->lane->link, &query, on_rows, merge, number);
    }
    for (uint32_t i = 0; i <= n_key; i++) {
        pg_array_finish(&keys[i]);
    }
    cc_buffer_finish(&source);
    cc_buffer_finish(&sql);
}

static void send_tombstones_read(struct merge *merge)
{
    struct pg_array tables, keys;
    pg_array_init(&tables, PG_TEXT);
    pg_array_init(&keys, PG_BYTEA);
    for (const struct merge_table *table = merge->tables; table != NULL; table = table->next) {
        bool tombstoned = pg_lane_tombstoned_has(merge->lane, table->name);
        for (size_t i = 0; tombstoned && i < table->n_rows; i++) {
            pg_array_put(&tables, table->name);
            pg_array_put(&keys, table->rows[i]->key);
        }
    }
    struct pg_array *arrays[2] = {&tables, &keys};
    struct cc_slice parameters[2];
    uint8_t binary[2];
    struct cc_buffer sql = {0};
    cc_buffer_append_text(&sql, "SELECT m.\"table\", m.key, m.death, m.remains FROM ");
    if (keys.n > 0) {
        pg_arrays_source(&sql, arrays, 2, parameters, binary);
        cc_buffer_append_text(&sql, " AS u(t, k) JOIN caucus.tombstones m ON m.\"table\" = u.t AND m.key = u.k");
        struct io_postgres_query query = {.sql = cc_buffer_text(&sql), .n_parameters = 2, .parameters = parameters, .binary = binary};
        io_postgres_link_send(merge->lane->link, &query, on_rows, merge, TOMBSTONES);
    }
    cc_buffer_finish(&sql);
    pg_array_finish(&tables);
    pg_array_finish(&keys);
}

void pg_merge_send_reads(struct merge *merge)
{
    for (const struct merge_table *table = merge->tables; table != NULL; table = table->next) {
        merge->n_row_results++;
    }
    merge->row_results = cc_arena_array(&merge->arena, merge->n_row_results, sizeof(PGresult *));
    uint64_t i = 0;
    for (const struct merge_table *table = merge->tables; table != NULL; table = table->next, i++) {
        if (table->table != NULL) {
            send_read(merge, table, i);
        }
    }
    send_tombstones_read(merge);
}

// -- Taking ----------------------------------------------------------------------------------------------------------------

// Result: number of the row among the table's, its stamps, its fields.
static bool take_rows(struct merge_table *table, const PGresult *result)
{
    const struct pg_table *described = table->table;
    for (int i = 0; result != NULL && i < PQntuples(result); i++) {
        uint64_t n = pg_result_u64(result, i, 0);
        if (n == 0 || n > table->n_rows) {
            return false;
        }
        struct merge_row *row = table->rows[n - 1];
        row->exists = true;
        for (uint32_t f = 0; f < described->n_fields; f++) {
            row->row.registers[f].value = pg_result_value(result, i, (int)(2 + f));
        }
        row->digest_before = pg_merge_digest(described, row);
        if (crdt_stamps_read(pg_result_value(result, i, 1), &row->row) != CC_OK) {
            return false;
        }
        for (uint32_t f = 0; f < described->n_fields; f++) {
            row->wrong = row->wrong || !pg_merge_same_value(row->row.registers[f].value, pg_result_value(result, i, (int)(2 + f)));
        }
    }
    return true;
}

static bool take_tombstones(struct merge *merge)
{
    const PGresult *result = merge->tombstones;
    for (int i = 0; result != NULL && i < PQntuples(result); i++) {
        struct merge_table *table = pg_merge_table(merge, pg_result_value(result, i, 0));
        struct cc_slice key = {0}, remains = {0};
        if (table->table == NULL || pg_bytea_read(pg_result_value(result, i, 1), &merge->arena, &key) != CC_OK ||
            pg_bytea_read(pg_result_value(result, i, 3), &merge->arena, &remains) != CC_OK) {
            return false;
        }
        struct merge_row *row = pg_merge_row(merge, table, key);
        if (row == NULL) {
            continue;
        }
        row->had_tombstone = true;
        if (!row->exists && crdt_remains_read(remains, &row->row) != CC_OK) {
            return false;
        }
        if (clock_stamp_parse(pg_result_value(result, i, 2), &row->row.death) != CC_OK) {
            return false;
        }
    }
    return true;
}

bool pg_merge_take_read(struct merge *merge)
{
    size_t i = 0;
    bool ok = true;
    for (struct merge_table *table = merge->tables; ok && table != NULL; table = table->next, i++) {
        ok = table->table == NULL || take_rows(table, merge->row_results[i]);
    }
    return ok && take_tombstones(merge);
}
