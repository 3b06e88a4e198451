// Descriptions of tables, read from PostgreSQL's catalog when they are needed first and kept until the schema changes.
#include "proxy/postgres/io_postgres_internal.h"

#include "base/memory.h"

#include <string.h>

// One row per column, in the order of record_out. Partitions go by the name of their root: effects name the same table
// whether they come from RETURNING or from a capture trigger.
#define SQL_DESCRIBE(names, more) \
    "SELECT g.n, r.name, caucus.is_weak(r.oid), " \
    "EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND NOT x.indisprimary AND (x.indisunique OR x.indisexclusion)), " \
    "EXISTS (SELECT FROM pg_catalog.pg_trigger x WHERE x.tgrelid = c.oid AND NOT x.tgisinternal AND x.tgname !~ '^!?caucus_'), " \
    "a.attname, caucus.type_name(a.atttypid, a.atttypmod), " \
    "(SELECT k.n FROM pg_catalog.pg_index x, unnest(x.indkey::smallint[]) WITH ORDINALITY AS k(attnum, n) " \
    " WHERE x.indrelid = c.oid AND x.indisprimary AND k.attnum = a.attnum AND k.n <= x.indnkeyatts), " \
    "a.attnotnull, a.attgenerated <> '', " \
    "CASE WHEN caucus.is_weak(r.oid) THEN caucus.constant_default(c.oid, a.attnum) END, " \
    "CASE WHEN caucus.is_weak(r.oid) THEN caucus.merge_of(c.oid, a.attnum) END " more \
    " FROM " names " " \
    "JOIN pg_catalog.pg_class c ON c.oid = CASE WHEN g.name ~ '^[0-9]+$' THEN g.name::oid ELSE pg_catalog.to_regclass(g.name)::oid END " \
    "CROSS JOIN LATERAL (SELECT rc.oid, pg_catalog.format('%I.%I', rn.nspname, rc.relname) AS name FROM pg_catalog.pg_class rc " \
    " JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace " \
    " WHERE rc.oid = CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid ELSE c.oid END) r " \
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped " \
    "ORDER BY g.n, a.attnum"
static const char sql_describe[] = SQL_DESCRIBE("unnest($1::text[]) WITH ORDINALITY AS g(name, n)", "");
static const char sql_describe_captured[] =
    SQL_DESCRIBE("(SELECT relation::text, pg_catalog.row_number() OVER () FROM (SELECT DISTINCT relation FROM caucus.capture) d) AS g(name, n)",
                 ", g.name");
enum describe_column { D_N, D_NAME, D_WEAK, D_ROW_BY_ROW, D_TRIGGERS, D_COLUMN, D_TYPE, D_KEY, D_NOT_NULL, D_GENERATED, D_DEFAULT, D_MERGE };

const struct pg_table *pg_table_find(struct io_postgres *postgres, struct cc_slice asked)
{
    for (const struct pg_table *table = postgres->tables; table != NULL; table = table->next) {
        if (cc_slice_equal_text(asked, table->asked)) {
            return table;
        }
    }
    return NULL;
}

const struct pg_table *pg_table_by_name(struct io_postgres *postgres, struct cc_slice name)
{
    for (const struct pg_table *table = postgres->tables; table != NULL; table = table->next) {
        if (table->found ? cc_slice_equal(table->name, name) : cc_slice_equal_text(name, table->asked)) {
            return table;
        }
    }
    return NULL;
}

void pg_tables_ask(struct pg_lane *lane, const struct cc_slice *asked, size_t n, io_postgres_on_result *on_result, void *context,
                   uint64_t number)
{
    struct pg_array names;
    pg_array_init(&names, PG_TEXT);
    for (size_t i = 0; i < n; i++) {
        pg_array_put(&names, asked[i]);
    }
    struct cc_slice parameter = pg_array_slice(&names);
    struct io_postgres_query query = {.sql = sql_describe, .n_parameters = 1, .parameters = &parameter, .binary = (const uint8_t[]){1}};
    io_postgres_link_send(lane->main, &query, on_result, context, number);
    pg_array_finish(&names);
}

void pg_tables_ask_captured(struct pg_lane *lane, io_postgres_on_result *on_result, void *context, uint64_t number)
{
    struct io_postgres_query query = {.sql = sql_describe_captured};
    io_postgres_link_send(lane->link, &query, on_result, context, number);
}

static bool is_true(const PGresult *result, int row, int column)
{
    return cc_slice_equal_text(pg_result_value(result, row, column), "t");
}

static void read_columns(struct pg_table *table, const PGresult *result, int row)
{
    table->columns = cc_arena_array(&table->arena, table->n_columns, sizeof(*table->columns));
    table->stamps = -1;
    for (uint32_t i = 0; i < table->n_columns; i++, row++) {
        struct pg_column *column = &table->columns[i];
        column->name = cc_arena_slice(&table->arena, pg_result_value(result, row, D_COLUMN));
        column->type = cc_arena_slice(&table->arena, pg_result_value(result, row, D_TYPE));
        column->key_position = (uint32_t)pg_result_u64(result, row, D_KEY);
        column->not_null = is_true(result, row, D_NOT_NULL);
        column->generated = is_true(result, row, D_GENERATED);
        column->constant_default = cc_arena_slice(&table->arena, pg_result_value(result, row, D_DEFAULT));
        column->merge = cc_arena_slice(&table->arena, pg_result_value(result, row, D_MERGE));
        table->n_key += column->key_position > 0;
        if (cc_slice_equal_text(column->name, "_caucus")) {
            table->stamps = (int32_t)i;
        }
    }
}

static enum cc_status read_key(struct pg_table *table)
{
    table->key = cc_arena_array(&table->arena, table->n_key, sizeof(*table->key));
    for (uint32_t i = 0; i < table->n_columns; i++) {
        uint32_t position = table->columns[i].key_position;
        if (position > table->n_key) {
            return CC_MALFORMED;
        }
        if (position > 0) {
            table->key[position - 1] = i;
        }
    }
    return CC_OK;
}

// Migrations have seen to it that the declaration fits; one that does not is none.
static struct crdt_kind kind_of(struct pg_table *table, const struct pg_column *column)
{
    enum crdt_merge merge = CRDT_LWW;
    struct crdt_kind kind = {0};
    if (column->merge.data == NULL || column->key_position > 0 || crdt_merge_of_text(column->merge, &merge) != CC_OK ||
        crdt_kind_of(merge, column->type, &table->arena, &kind) != CC_OK) {
        return (struct crdt_kind){0};
    }
    kind.base = column->constant_default;
    kind.not_null = column->not_null;
    return kind;
}

// The registers of a weak row: what crdt_row_merge works on.
static void read_fields(struct pg_table *table)
{
    table->fields = cc_arena_array(&table->arena, table->n_columns, sizeof(*table->fields));
    table->registers = cc_arena_array(&table->arena, table->n_columns, sizeof(*table->registers));
    for (uint32_t i = 0; i < table->n_columns; i++) {
        const struct pg_column *column = &table->columns[i];
        if (column->generated || (int32_t)i == table->stamps) {
            continue;
        }
        bool key = column->key_position > 0;
        struct crdt_kind kind = kind_of(table, column);
        bool typed = kind.merge != CRDT_LWW;
        table->has_merge_types = table->has_merge_types || typed;
        table->registers[table->n_fields] = (struct crdt_column){.name = column->name,
                                                                 .key = key,
                                                                 .sticky = !key && !typed && column->not_null && column->constant_default.data == NULL,
                                                                 .cleared = column->constant_default,
                                                                 .kind = kind};
        table->fields[table->n_fields++] = i;
    }
}

static void table_free(struct pg_table *table)
{
    cc_arena_finish(&table->arena);
    free(table->asked);
    free(table);
}

static enum cc_status table_take(struct io_postgres *postgres, struct cc_slice asked, const PGresult *result, int row, int n_rows)
{
    struct pg_table *table = cc_alloc(sizeof(*table));
    cc_arena_init(&table->arena);
    table->asked = cc_strndup(asked.data, asked.n);
    table->found = n_rows > 0;
    table->stamps = -1;
    if (table->found) {
        table->name = cc_arena_slice(&table->arena, pg_result_value(result, row, D_NAME));
        table->weak = is_true(result, row, D_WEAK);
        table->row_by_row = is_true(result, row, D_ROW_BY_ROW);
        table->has_triggers = is_true(result, row, D_TRIGGERS);
        table->n_columns = (uint32_t)n_rows;
        read_columns(table, result, row);
        if (read_key(table) != CC_OK) {
            table_free(table);
            return CC_MALFORMED;
        }
        read_fields(table);
    }
    table->next = postgres->tables;
    postgres->tables = table;
    return CC_OK;
}

enum cc_status pg_tables_take(struct io_postgres *postgres, const struct cc_slice *asked, size_t n, const PGresult *result)
{
    int row = 0;
    for (size_t i = 0; i < n; i++) {
        int first = row;
        while (row < PQntuples(result) && pg_result_u64(result, row, D_N) == i + 1) {
            row++;
        }
        if (pg_table_find(postgres, asked[i]) != NULL) {
            continue;
        }
        enum cc_status status = table_take(postgres, asked[i], result, first, row - first);
        if (status != CC_OK) {
            return status;
        }
    }
    return row == PQntuples(result) ? CC_OK : CC_MALFORMED;
}

void pg_tables_forget(struct io_postgres *postgres)
{
    while (postgres->tables != NULL) {
        struct pg_table *table = postgres->tables;
        postgres->tables = table->next;
        table->next = postgres->retired;
        postgres->retired = table;
    }
}

void pg_tables_free_retired(struct io_postgres *postgres)
{
    while (postgres->retired != NULL) {
        struct pg_table *table = postgres->retired;
        postgres->retired = table->next;
        table_free(table);
    }
}
