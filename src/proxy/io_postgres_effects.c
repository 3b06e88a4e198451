// What executed statements changed, as effects, and what they answered, as outcomes.
#include "proxy/io_postgres_internal.h"

#include <string.h>

// -- Effects -----------------------------------------------------------------------------------------------------------

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

enum cc_status pg_effects_of_rows(struct effect_builder *effects, const struct rest_statement *statement, const PGresult *result)
{
    const struct rest_shape *shape = &statement->shape;
    int n_rows = PQntuples(result);
    int n_expected = 2 + (int)shape->n_columns * (shape->with_old ? 2 : 1);
    if (n_rows == 0 || shape->n_columns == 0) {
        return CC_OK;
    }
    if (PQnfields(result) != n_expected) {
        return CC_INVALID;
    }
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct cc_slice *values = cc_arena_array(&arena, shape->n_columns, sizeof(*values));
    struct cc_slice *old_key = cc_arena_array(&arena, count_key(shape) + 1, sizeof(*old_key));
    uint32_t number = effect_put_shape(effects, shape);
    enum cc_status status = CC_OK;
    for (int row = 0; row < n_rows && status == CC_OK; row++) {
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
            status = CC_INVALID;
        }
    }
    cc_arena_finish(&arena);
    return status;
}

const char pg_sql_take_capture[] = "WITH d AS (DELETE FROM caucus.capture RETURNING seq, relation, operation, old, new) "
                                   "SELECT relation, operation, old, new FROM d ORDER BY seq";

const struct pg_table *pg_capture_table(struct io_postgres *postgres, const PGresult *captured, int row)
{
    return pg_table_find(postgres, pg_result_value(captured, row, PG_CAPTURE_RELATION));
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

static enum cc_status put_captured(struct effect_builder *effects, const struct pg_table *table, const PGresult *captured, int row,
                                   struct cc_arena *arena)
{
    char operation = PQgetvalue(captured, row, PG_CAPTURE_OPERATION)[0];
    if (operation != 'I' && table->n_key == 0) {
        return CC_UNSUPPORTED;
    }
    struct cc_slice *old_fields = cc_arena_array(arena, table->n_columns, sizeof(*old_fields));
    struct cc_slice *new_fields = cc_arena_array(arena, table->n_columns, sizeof(*new_fields));
    struct cc_slice *values = cc_arena_array(arena, table->n_columns, sizeof(*values));
    struct cc_slice *old_key = cc_arena_array(arena, table->n_columns, sizeof(*old_key));
    enum cc_status status = CC_OK;
    if (operation != 'I') {
        status = pg_record_read(pg_result_value(captured, row, PG_CAPTURE_OLD), arena, old_fields, table->n_columns);
        pick_values(table, true, old_fields, old_key);
    }
    if (status == CC_OK && operation != 'D') {
        status = pg_record_read(pg_result_value(captured, row, PG_CAPTURE_NEW), arena, new_fields, table->n_columns);
    }
    if (status != CC_OK) {
        return status;
    }
    struct rest_shape shape;
    shape_of_table(table, operation == 'D', arena, &shape);
    uint32_t number = effect_put_shape(effects, &shape);
    pick_values(table, operation == 'D', operation == 'D' ? old_fields : new_fields, values);
    bool key_changed = false;
    for (uint32_t i = 0; operation == 'U' && i < table->n_key; i++) {
        key_changed = key_changed || !cc_slice_equal(old_fields[table->key[i]], new_fields[table->key[i]]);
    }
    enum effect_tag tag = operation == 'I' ? EFFECT_INSERT : operation == 'U' ? EFFECT_UPDATE : EFFECT_DELETE;
    effect_put_row(effects, number, tag, values, key_changed ? old_key : NULL);
    return CC_OK;
}

enum cc_status pg_effects_of_capture(struct effect_builder *effects, struct io_postgres *postgres, const PGresult *captured,
                                     struct cc_arena *arena)
{
    for (int row = 0; row < PQntuples(captured); row++) {
        const struct pg_table *table = pg_capture_table(postgres, captured, row);
        if (table == NULL || !table->found) {
            return CC_NOT_FOUND;
        }
        enum cc_status status = put_captured(effects, table, captured, row, arena);
        if (status != CC_OK) {
            return status;
        }
    }
    return CC_OK;
}

// -- Outcomes ------------------------------------------------------------------------------------------------------------

static struct cc_slice encode(struct cc_arena *arena, const struct rest_outcome *outcome)
{
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, outcome);
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return copy;
}

struct cc_slice pg_outcome_failed(struct cc_arena *arena, const char *code, const char *message, const char *details, const char *hint)
{
    return encode(arena, &(struct rest_outcome){.kind = REST_FAILED,
                                                .code = cc_slice_text(code),
                                                .message = cc_slice_text(message),
                                                .details = cc_slice_text(details),
                                                .hint = cc_slice_text(hint)});
}

// Errors that say something about the server's condition, not about the request: nothing was executed, another time it may be.
static bool is_passing(const char *sqlstate)
{
    static const char *const classes[] = {"08", "40", "53", "57", "58"};
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (strncmp(sqlstate, classes[i], 2) == 0) {
            return true;
        }
    }
    return strcmp(sqlstate, "55P03") == 0; // a lock was not available
}

struct cc_slice pg_outcome_of_error(struct cc_arena *arena, const PGresult *result)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    code = code == NULL ? "XX000" : code;
    struct rest_outcome outcome = {.kind = is_passing(code) ? REST_REFUSED : REST_FAILED,
                                   .code = cc_slice_text(code),
                                   .message = cc_slice_text(message == NULL ? "unknown error" : message),
                                   .details = cc_slice_text(PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL)),
                                   .hint = cc_slice_text(PQresultErrorField(result, PG_DIAG_MESSAGE_HINT))};
    if (outcome.kind == REST_REFUSED) {
        outcome.status = CC_UNAVAILABLE;
    }
    return encode(arena, &outcome);
}

static void join_bodies(const struct rest_statement *statement, const PGresult *result, struct cc_buffer *body_out, bool *has_body_out)
{
    int column = PQnfields(result) - 1;
    bool array = statement->body_is_array;
    *has_body_out = array;
    if (array) {
        cc_buffer_append_text(body_out, "[");
    }
    size_t n = 0;
    for (int row = 0; row < PQntuples(result); row++) {
        struct cc_slice body = pg_result_value(result, row, column);
        if (body.data == NULL) {
            continue;
        }
        if (n++ > 0) {
            cc_buffer_append_text(body_out, array ? ", \n " : "\n"); // as json_agg writes it
        }
        cc_buffer_append_slice(body_out, body);
        *has_body_out = true;
    }
    if (array) {
        cc_buffer_append_text(body_out, "]");
    }
}

static void put_one(struct cc_buffer *out, const struct rest_statement *statement, const PGresult *result, uint64_t *n_rows,
                    uint64_t *n_inserted)
{
    struct rest_outcome outcome = {.kind = REST_DONE, .n_rows = (uint64_t)PQntuples(result)};
    for (int row = 0; row < PQntuples(result); row++) {
        outcome.n_inserted += cc_slice_equal_text(pg_result_value(result, row, 0), "I");
    }
    struct cc_buffer body = {0};
    bool has_body = false;
    cc_buffer_reserve(&body, 1);
    join_bodies(statement, result, &body, &has_body);
    if (has_body) {
        outcome.body = cc_buffer_slice(&body);
    }
    rest_outcome_put(out, &outcome);
    cc_buffer_finish(&body);
    *n_rows += outcome.n_rows;
    *n_inserted += outcome.n_inserted;
}

struct cc_slice pg_outcome_done(struct cc_arena *arena, const struct rest_statement *statements, PGresult *const *results, uint32_t n)
{
    struct rest_outcome all = {.kind = REST_DONE};
    struct cc_buffer one = {0};
    struct cc_buffer body = {0}; // of several: each one's outcome, as a string
    for (uint32_t i = 0; i < n; i++) {
        cc_buffer_clear(&one);
        put_one(&one, &statements[i], results[i], &all.n_rows, &all.n_inserted);
        cc_put_string(&body, cc_buffer_slice(&one));
    }
    struct cc_slice outcome;
    if (n == 1) {
        outcome = cc_arena_slice(arena, cc_buffer_slice(&one));
    } else {
        all.body = cc_buffer_slice(&body);
        outcome = encode(arena, &all);
    }
    cc_buffer_finish(&one);
    cc_buffer_finish(&body);
    return outcome;
}
