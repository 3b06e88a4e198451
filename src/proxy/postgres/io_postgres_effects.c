// What executed statements changed, as effects.
#include "proxy/postgres/io_postgres_internal.h"

static uint32_t count_key(const struct rest_shape *shape)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        n += (shape->columns[i].flags & REST_COLUMN_KEY) != 0;
    }
    return n;
}

// The key columns of the old image when they differ from the new one; NULL when the key is what it was.
static const struct cc_slice *changed_key(const struct rest_shape *shape, const struct cc_slice *values, const PGresult *result, int row,
                                          struct cc_slice *old_key)
{
    bool changed = false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        if (shape->columns[i].flags & REST_COLUMN_KEY) {
            old_key[n] = pg_result_value(result, row, (int)(1 + shape->n_columns + i));
            changed = changed || !cc_slice_equal(old_key[n], values[i]);
            n++;
        }
    }
    return changed ? old_key : NULL;
}

void pg_rows_read_brief(const struct rest_statement *statement, const struct pg_rows *rows, int row, struct cc_slice *values_out)
{
    const struct cc_slice *parameters = statement->parameters + (size_t)row * statement->row_parameters;
    int column = 0;
    for (uint32_t i = 0; i < statement->shape.n_columns; i++) {
        uint32_t given = statement->given[i];
        values_out[i] = given > 0 ? parameters[given - 1] : pg_result_value(rows->result, rows->first + row, column++);
    }
}

static enum cc_status put_row(struct effect_builder *effects, const struct rest_shape *shape, uint32_t number, const PGresult *result, int row,
                              struct cc_slice *values, struct cc_slice *old_key)
{
    struct cc_slice tag = pg_result_value(result, row, 0);
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        values[i] = pg_result_value(result, row, (int)(1 + i));
    }
    if (cc_slice_equal_text(tag, "U")) {
        const struct cc_slice *old = shape->with_old ? changed_key(shape, values, result, row, old_key) : NULL;
        effect_put_row(effects, number, EFFECT_UPDATE, values, old);
    } else if (cc_slice_equal_text(tag, "I")) {
        effect_put_row(effects, number, EFFECT_INSERT, values, NULL);
    } else if (cc_slice_equal_text(tag, "D")) {
        effect_put_row(effects, number, EFFECT_DELETE, values, NULL);
    } else {
        return CC_INVALID;
    }
    return CC_OK;
}

static int count_expected(const struct rest_statement *statement, bool brief)
{
    const struct rest_shape *shape = &statement->shape;
    if (!brief) {
        return 2 + (int)shape->n_columns * (shape->with_old ? 2 : 1);
    }
    int n = statement->brief_end.n > 0; // the body
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        n += statement->given[i] == 0;
    }
    return n;
}

bool pg_rows_fit(const struct rest_statement *statement, const struct pg_rows *rows)
{
    return PQnfields(rows->result) - rows->n_hidden == count_expected(statement, rows->brief);
}

enum cc_status pg_effects_of_rows(struct effect_builder *effects, const struct rest_statement *statement, const struct pg_rows *rows)
{
    const struct rest_shape *shape = &statement->shape;
    if (rows->n == 0 || shape->n_columns == 0) {
        return CC_OK;
    }
    if (!pg_rows_fit(statement, rows)) {
        return CC_INVALID;
    }
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct cc_slice *values = cc_arena_array(&arena, shape->n_columns, sizeof(*values));
    struct cc_slice *old_key = cc_arena_array(&arena, count_key(shape) + 1, sizeof(*old_key));
    uint32_t number = effect_put_shape(effects, shape);
    enum cc_status status = CC_OK;
    for (int row = 0; row < rows->n && status == CC_OK; row++) {
        if (rows->brief) {
            pg_rows_read_brief(statement, rows, row, values);
            effect_put_row(effects, number, EFFECT_INSERT, values, NULL);
        } else {
            status = put_row(effects, shape, number, rows->result, rows->first + row, values, old_key);
        }
    }
    cc_arena_finish(&arena);
    return status;
}

// A shape of all columns, or of the key alone.
static void shape_of_table(const struct pg_table *table, bool key_only, struct cc_arena *arena, struct rest_shape *shape_out)
{
    *shape_out = (struct rest_shape){.table = table->name, .row_by_row = table->row_by_row};
    shape_out->columns = cc_arena_array(arena, table->n_columns, sizeof(*shape_out->columns));
    for (uint32_t i = 0; i < table->n_columns; i++) {
        const struct pg_column *column = &table->columns[i];
        if ((key_only && column->key_position == 0) || (int32_t)i == table->stamps) {
            continue;
        }
        uint8_t flags = (uint8_t)((column->key_position > 0 ? REST_COLUMN_KEY : 0) | (column->generated ? REST_COLUMN_GENERATED : 0));
        shape_out->columns[shape_out->n_columns++] = (struct rest_shape_column){column->name, column->type, flags};
    }
}

// The values of the shape's columns out of a whole row's.
static void pick_values(const struct pg_table *table, bool key_only, const struct cc_slice *fields, struct cc_slice *values_out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if ((key_only && table->columns[i].key_position == 0) || (int32_t)i == table->stamps) {
            continue;
        }
        values_out[n++] = fields[i];
    }
}

static void put_captured(struct effect_builder *effects, const struct pg_captured_row *captured, struct cc_arena *arena)
{
    const struct pg_table *table = captured->table;
    bool deleted = captured->operation == 'D';
    struct cc_slice *values = cc_arena_array(arena, table->n_columns, sizeof(*values));
    struct cc_slice *old_key = cc_arena_array(arena, table->n_columns, sizeof(*old_key));
    struct rest_shape shape;
    shape_of_table(table, deleted, arena, &shape);
    uint32_t number = effect_put_shape(effects, &shape);
    pick_values(table, deleted, deleted ? captured->old_values : captured->new_values, values);
    bool key_changed = false;
    for (uint32_t i = 0; captured->operation == 'U' && i < table->n_key; i++) {
        uint32_t at = table->key[i];
        key_changed = key_changed || !cc_slice_equal(captured->old_values[at], captured->new_values[at]);
    }
    if (key_changed) {
        pick_values(table, true, captured->old_values, old_key);
    }
    enum effect_tag tag = deleted ? EFFECT_DELETE : captured->operation == 'I' ? EFFECT_INSERT : EFFECT_UPDATE;
    effect_put_row(effects, number, tag, values, key_changed ? old_key : NULL);
}

enum cc_status pg_effects_of_capture(struct effect_builder *effects, struct io_postgres *postgres, const PGresult *captured,
                                     struct cc_arena *arena)
{
    struct pg_captured_row *rows = NULL;
    size_t n = 0;
    enum cc_status status = pg_capture_read(postgres, captured, arena, &rows, &n);
    for (size_t i = 0; status == CC_OK && i < n; i++) {
        if (rows[i].operation != 'I' && rows[i].table->n_key == 0) {
            return CC_UNSUPPORTED;
        }
        put_captured(effects, &rows[i], arena);
    }
    return status;
}
