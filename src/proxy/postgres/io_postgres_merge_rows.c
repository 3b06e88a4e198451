// What a merge has changed of a table's rows: one statement for all that are inserted, one for those that are updated, one for those that go.
#include "proxy/postgres/io_postgres_merge.h"

#include "base/memory.h"
#include "crdt/digest.h"
#include "proxy/postgres/apply_sql.h"

struct row_writer {
    struct cc_buffer sql;
    struct pg_array *arrays; // per field, then stamps
    uint32_t n_arrays;
    const struct merge_row **rows;
    size_t n_rows;
};

static void row_writer_init(struct row_writer *writer, const struct merge_table *merged, struct cc_arena *arena)
{
    *writer = (struct row_writer){.n_arrays = merged->table->n_fields + 1};
    writer->arrays = cc_arena_array(arena, writer->n_arrays, sizeof(*writer->arrays));
    writer->rows = cc_arena_array(arena, merged->n_rows, sizeof(struct merge_row *));
}

static struct cc_slice field_value(const struct merge_row *row, const struct pg_table *table, uint32_t field)
{
    uint32_t position = table->columns[table->fields[field]].key_position;
    return position > 0 ? row->values[position - 1] : row->row.registers[field].value;
}

static void put_stamps(struct row_writer *writer, struct pg_array *stamps)
{
    struct cc_buffer text = {0};
    for (size_t i = 0; i < writer->n_rows; i++) {
        cc_buffer_clear(&text);
        crdt_stamps_put(&text, &writer->rows[i]->row);
        pg_array_put(stamps, cc_buffer_slice(&text));
    }
    cc_buffer_finish(&text);
}

static void put_field(struct row_writer *writer, const struct pg_table *table, uint32_t field, struct pg_array *array)
{
    pg_array_init(array, pg_array_type_of(table->columns[table->fields[field]].type));
    for (size_t i = 0; i < writer->n_rows; i++) {
        if (pg_array_put_value(array, field_value(writer->rows[i], table, field)) != CC_OK) { // PostgreSQL is to say what is wrong with it
            pg_array_finish(array);
            pg_array_init(array, PG_TEXT);
            for (i = 0; i < writer->n_rows; i++) {
                pg_array_put(array, field_value(writer->rows[i], table, field));
            }
        }
    }
}

static void put_rows(struct row_writer *writer, const struct pg_table *table, bool key_only)
{
    for (uint32_t i = 0; i < table->n_fields; i++) {
        if (!key_only || table->columns[table->fields[i]].key_position > 0) {
            put_field(writer, table, i, &writer->arrays[i]);
        }
    }
    if (!key_only) {
        pg_array_init(&writer->arrays[table->n_fields], PG_TEXT);
        put_stamps(writer, &writer->arrays[table->n_fields]);
    }
}

// (SELECT unnest($1::text[]), ...) AS u(c0, ...), and the parameters in their order.
static void append_rows(struct row_writer *writer, const struct pg_table *table, bool key_only, struct cc_slice *parameters,
                        uint8_t *binary, uint32_t *n_out)
{
    struct cc_buffer names = {0};
    struct pg_array **arrays = cc_alloc_array(writer->n_arrays, sizeof(struct pg_array *));
    uint32_t n = 0;
    for (uint32_t i = 0; i < writer->n_arrays; i++) {
        bool key = i < table->n_fields && table->columns[table->fields[i]].key_position > 0;
        if (key_only && !key) {
            continue;
        }
        cc_buffer_printf(&names, "%sc%u", n == 0 ? "" : ", ", i);
        arrays[n++] = &writer->arrays[i];
    }
    pg_arrays_source(&writer->sql, arrays, n, parameters, binary);
    cc_buffer_append_text(&writer->sql, " AS u(");
    cc_buffer_append_slice(&writer->sql, cc_buffer_slice(&names));
    cc_buffer_append_text(&writer->sql, ")");
    cc_buffer_finish(&names);
    free(arrays);
    *n_out = n;
}

static void append_key_condition(struct row_writer *writer, const struct pg_table *table)
{
    const char *before = " WHERE ";
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct pg_column *column = &table->columns[table->fields[i]];
        if (column->key_position > 0) {
            cc_buffer_append_text(&writer->sql, before);
            cc_buffer_append_text(&writer->sql, "t.");
            apply_sql_identifier(&writer->sql, column->name);
            cc_buffer_printf(&writer->sql, " = u.c%u::%.*s", i, (int)column->type.n, (const char *)column->type.data);
            before = " AND ";
        }
    }
}

static void write_insert(struct row_writer *writer, const struct pg_table *table, struct cc_slice *parameters, uint8_t *binary,
                         uint32_t *n_out)
{
    struct cc_buffer *sql = &writer->sql;
    cc_buffer_append_text(sql, "INSERT INTO ");
    cc_buffer_append_slice(sql, table->name);
    cc_buffer_append_text(sql, " (");
    for (uint32_t i = 0; i < table->n_fields; i++) {
        apply_sql_identifier(sql, table->columns[table->fields[i]].name);
        cc_buffer_append_text(sql, ", ");
    }
    cc_buffer_append_text(sql, "_caucus) OVERRIDING SYSTEM VALUE SELECT ");
    for (uint32_t i = 0; i < table->n_fields; i++) {
        cc_buffer_printf(sql, "u.c%u::", i);
        cc_buffer_append_slice(sql, table->columns[table->fields[i]].type);
        cc_buffer_append_text(sql, ", ");
    }
    cc_buffer_printf(sql, "u.c%u::pg_catalog.jsonb FROM ", table->n_fields);
    append_rows(writer, table, false, parameters, binary, n_out);
}

static void write_update(struct row_writer *writer, const struct pg_table *table, struct cc_slice *parameters, uint8_t *binary,
                         uint32_t *n_out)
{
    struct cc_buffer *sql = &writer->sql;
    cc_buffer_append_text(sql, "UPDATE ");
    cc_buffer_append_slice(sql, table->name);
    cc_buffer_append_text(sql, " AS t SET ");
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct pg_column *column = &table->columns[table->fields[i]];
        if (column->key_position == 0) {
            apply_sql_identifier(sql, column->name);
            cc_buffer_printf(sql, " = u.c%u::%.*s, ", i, (int)column->type.n, (const char *)column->type.data);
        }
    }
    cc_buffer_printf(sql, "_caucus = u.c%u::pg_catalog.jsonb FROM ", table->n_fields);
    append_rows(writer, table, false, parameters, binary, n_out);
    append_key_condition(writer, table);
}

static void write_delete(struct row_writer *writer, const struct pg_table *table, struct cc_slice *parameters, uint8_t *binary,
                         uint32_t *n_out)
{
    cc_buffer_append_text(&writer->sql, "DELETE FROM ");
    cc_buffer_append_slice(&writer->sql, table->name);
    cc_buffer_append_text(&writer->sql, " AS t USING ");
    append_rows(writer, table, true, parameters, binary, n_out);
    append_key_condition(writer, table);
}

enum row_action { ROW_INSERT, ROW_UPDATE, ROW_DELETE };
enum { ROW_ACTIONS = 3 };

static void row_writer_send(struct row_writer *writer, struct merge *merge, const struct pg_table *table, enum row_action action)
{
    struct cc_slice *parameters = cc_arena_array(&merge->arena, writer->n_arrays, sizeof(*parameters));
    uint8_t *binary = cc_arena_array(&merge->arena, writer->n_arrays, sizeof(*binary));
    uint32_t n = 0;
    if (writer->n_rows > 0) {
        put_rows(writer, table, action == ROW_DELETE);
        switch (action) {
        case ROW_INSERT:
            write_insert(writer, table, parameters, binary, &n);
            break;
        case ROW_UPDATE:
            write_update(writer, table, parameters, binary, &n);
            break;
        case ROW_DELETE:
            write_delete(writer, table, parameters, binary, &n);
            break;
        }
        pg_merge_send(merge, cc_buffer_text(&writer->sql), n, parameters, binary);
    }
    for (uint32_t i = 0; i < writer->n_arrays; i++) {
        pg_array_finish(&writer->arrays[i]);
    }
    cc_buffer_finish(&writer->sql);
}

uint64_t pg_merge_digest(const struct pg_table *table, const struct merge_row *row)
{
    uint64_t key = crdt_digest_key(row->values, table->n_key), sum = key;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct pg_column *column = &table->columns[table->fields[i]];
        if (column->key_position == 0) {
            sum ^= crdt_digest_field(key, column->name, row->row.registers[i].value);
        }
    }
    return sum;
}

static void note_digest(struct pg_digests *digests, const struct pg_table *table, const struct merge_row *row)
{
    bool visible = crdt_row_is_visible(&row->row);
    uint64_t sum = (row->exists ? row->digest_before : 0) ^ (visible ? pg_merge_digest(table, row) : 0);
    pg_digests_add(digests, table, (int64_t)visible - (int64_t)row->exists, sum);
}

void pg_merge_write_table(struct merge *merge, const struct merge_table *merged, struct pg_tombstones *tombstones)
{
    const struct pg_table *table = merged->table;
    struct row_writer writers[ROW_ACTIONS];
    for (size_t i = 0; i < ROW_ACTIONS; i++) {
        row_writer_init(&writers[i], merged, &merge->arena);
    }
    for (size_t i = 0; i < merged->n_rows; i++) {
        const struct merge_row *row = merged->rows[i];
        if (!row->changed) {
            continue;
        }
        note_digest(&merge->digests, table, row);
        bool visible = crdt_row_is_visible(&row->row);
        if (visible || row->exists) {
            struct row_writer *writer = &writers[!visible ? ROW_DELETE : row->exists ? ROW_UPDATE : ROW_INSERT];
            writer->rows[writer->n_rows++] = row;
        }
        // A death is remembered also under a row that was brought back: older writes must not come through.
        if (!visible || !clock_stamp_is_zero(&row->row.death) || row->had_tombstone) {
            pg_tombstones_put(tombstones, merged->name, row->key, &row->row);
        }
    }
    for (size_t i = 0; i < ROW_ACTIONS; i++) {
        row_writer_send(&writers[i], merge, table, (enum row_action)i);
    }
}
