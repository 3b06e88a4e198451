// Writes: POST, PUT, PATCH and DELETE as one statement whose rows are the effects (contract in statement.h).
//
// Two forms. Plain:     INSERT ... RETURNING tag, new, [old,] body
// Wrapped, when rows are to be ordered or old images come from a join after the fact (the main query of a WITH still sees
// the table as it was): WITH s AS (INSERT ... RETURNING tag, new, body, order keys) SELECT ... FROM s [LEFT JOIN t o] ORDER BY ...
#include "rest/plan_internal.h"

#include "rest/etag.h"
#include "rest/reply.h"
#include "rest/vector.h"

#include <assert.h>
#include <string.h>

enum old_source { OLD_NONE, OLD_FROM_JOIN, OLD_FROM_ROW, OLD_FROM_SNAPSHOT };

struct write {
    struct planner *planner;
    const struct rest_table *table;
    struct plan_payload payload;
    const char *tag;  // SQL
    uint32_t n_shape; // positions of the shape's columns
    uint32_t *shape;
    bool captured;
    bool ordered;
    enum old_source old;
    bool new_is_key_only; // 'D': other columns are NULL
    uint32_t n_target;    // conflict target
    const uint32_t *target;
    enum rest_resolution resolution;
    size_t row_at, row_end; // in the text: the one row of VALUES
    uint32_t n_row_parameters;
};

static void put_text(struct write *write, const char *text)
{
    rest_sql_text(&write->planner->sql, text);
}

static void put_name(struct write *write, uint32_t column)
{
    rest_sql_name(&write->planner->sql, write->table->columns[column].name);
}

// Behind the table's columns in a shape: _caucus, from which the parts of columns with merge types are read.
static bool is_stamps(const struct write *write, uint32_t column)
{
    return column == write->table->n_columns;
}

static void put_column_of(struct write *write, const char *alias, uint32_t column)
{
    put_text(write, alias);
    put_text(write, ".");
    if (is_stamps(write, column)) {
        put_text(write, "\"_caucus\"");
    } else {
        put_name(write, column);
    }
}

static bool contains(uint32_t n, const uint32_t *columns, uint32_t column)
{
    for (uint32_t i = 0; i < n; i++) {
        if (columns[i] == column) {
            return true;
        }
    }
    return false;
}

static bool is_weak(const struct write *write)
{
    return write->table->consistency == REST_WEAK;
}

// ---- shape

static void add_shape_column(struct write *write, uint32_t column)
{
    if (!contains(write->n_shape, write->shape, column)) {
        write->shape[write->n_shape++] = column;
    }
}

static void choose_shape(struct write *write, bool all_columns, bool with_set)
{
    const struct rest_table *table = write->table;
    write->shape = cc_arena_array(write->planner->arena, (size_t)table->n_columns + 1, sizeof(*write->shape));
    if (write->captured) {
        return;
    }
    for (uint32_t i = 0; all_columns && i < table->n_columns; i++) {
        add_shape_column(write, i);
    }
    for (uint32_t i = 0; i < table->n_key; i++) {
        add_shape_column(write, table->key[i]);
    }
    for (uint32_t i = 0; with_set && i < write->payload.n_columns; i++) {
        add_shape_column(write, write->payload.columns[i]);
    }
    if (table->has_merge_types) {
        add_shape_column(write, table->n_columns);
    }
}

static void give_shape(struct write *write, bool with_set)
{
    struct rest_shape *shape = &write->planner->plan->statement.shape;
    shape->table = cc_slice_text(write->table->qualified);
    shape->row_by_row = write->table->row_by_row;
    shape->with_old = write->old != OLD_NONE;
    shape->n_columns = write->n_shape;
    shape->columns = cc_arena_array(write->planner->arena, write->n_shape, sizeof(*shape->columns));
    for (uint32_t i = 0; i < write->n_shape; i++) {
        if (is_stamps(write, write->shape[i])) {
            shape->columns[i] = (struct rest_shape_column){
                .name = cc_slice_text("_caucus"), .type = cc_slice_text("jsonb"), .flags = REST_COLUMN_GENERATED};
            continue;
        }
        const struct rest_column *column = &write->table->columns[write->shape[i]];
        bool set = with_set && contains(write->payload.n_columns, write->payload.columns, write->shape[i]);
        shape->columns[i] = (struct rest_shape_column){
            .name = cc_slice_text(column->name),
            .type = cc_slice_text(column->type),
            .flags = (uint8_t)((column->key_position > 0 ? REST_COLUMN_KEY : 0) |
                               (column->generated ? REST_COLUMN_GENERATED : 0) | (set ? REST_COLUMN_SET : 0)),
        };
    }
}

// Columns whose value the database draws from a sequence.
static void give_sequences(struct write *write)
{
    struct rest_statement *statement = &write->planner->plan->statement;
    for (uint32_t i = 0; i < write->table->n_columns; i++) {
        const char *sequence = write->table->columns[i].sequence;
        bool given = contains(write->payload.n_columns, write->payload.columns, i) && !write->payload.missing_default;
        if (sequence == NULL || given) {
            continue;
        }
        statement->sequences = rest_vector_room(write->planner->arena, statement->sequences, statement->n_sequences,
                                                sizeof(struct cc_slice));
        statement->sequences[statement->n_sequences++] = cc_slice_text(sequence);
    }
}

// ---- what comes back

static bool put_location_body(struct write *write)
{
    put_text(write, "json_build_array(");
    for (uint32_t i = 0; i < write->table->n_key; i++) {
        put_text(write, i == 0 ? "" : ", ");
        put_column_of(write, "t0", write->table->key[i]);
        put_text(write, "::text");
    }
    put_text(write, ")::text");
    return true;
}

static bool put_body(struct write *write)
{
    struct planner *planner = write->planner;
    enum rest_return representation = planner->preferences.representation;
    if (representation == REST_RETURN_REPRESENTATION) {
        return plan_put_row_body(planner, planner->root);
    }
    if (representation == REST_RETURN_HEADERS_ONLY && planner->plan->facts.action == REST_ACTION_INSERT &&
        write->table->n_key > 0) {
        return put_location_body(write);
    }
    put_text(write, "NULL::text");
    return true;
}

static bool is_wrapped(const struct write *write)
{
    return write->ordered || write->old == OLD_FROM_SNAPSHOT;
}

static void put_label(struct write *write, const char *prefix, uint32_t number)
{
    if (is_wrapped(write)) {
        put_text(write, " AS ");
        put_text(write, prefix);
        rest_sql_number(&write->planner->sql, number);
    }
}

static void put_new_image(struct write *write)
{
    for (uint32_t i = 0; i < write->n_shape; i++) {
        put_text(write, ", ");
        bool key = !is_stamps(write, write->shape[i]) && write->table->columns[write->shape[i]].key_position > 0;
        bool shown = !write->new_is_key_only || key;
        if (shown) {
            put_column_of(write, "t0", write->shape[i]);
        } else {
            put_text(write, "NULL");
        }
        put_label(write, "n", i);
    }
}

static void put_old_image(struct write *write)
{
    if (write->old != OLD_FROM_JOIN && write->old != OLD_FROM_ROW) {
        return;
    }
    for (uint32_t i = 0; i < write->n_shape; i++) {
        put_text(write, ", ");
        put_column_of(write, write->old == OLD_FROM_ROW ? "t0" : "o", write->shape[i]);
        put_label(write, "o", i);
    }
}

static bool put_returning(struct write *write)
{
    struct planner *planner = write->planner;
    put_text(write, " RETURNING ");
    put_text(write, write->tag);
    put_label(write, "tag", 0);
    put_new_image(write);
    put_old_image(write);
    put_text(write, ", ");
    if (!put_body(write)) {
        return false;
    }
    put_label(write, "body", 0);
    for (uint32_t i = 0; write->ordered && i < planner->root->n_orders; i++) {
        put_text(write, ", ");
        if (!plan_put_order_key(planner, planner->root, planner->root->orders[i])) {
            return false;
        }
        put_label(write, "k", i);
    }
    return true;
}

static void put_outer_images(struct write *write)
{
    for (uint32_t i = 0; i < write->n_shape; i++) {
        put_text(write, ", s.n");
        rest_sql_number(&write->planner->sql, i);
    }
    for (uint32_t i = 0; write->old != OLD_NONE && i < write->n_shape; i++) {
        put_text(write, ", ");
        if (write->old == OLD_FROM_SNAPSHOT) {
            put_column_of(write, "o", write->shape[i]);
        } else {
            put_text(write, "s.o");
            rest_sql_number(&write->planner->sql, i);
        }
    }
}

static uint32_t shape_position(const struct write *write, uint32_t column)
{
    for (uint32_t i = 0; i < write->n_shape; i++) {
        if (write->shape[i] == column) {
            return i;
        }
    }
    assert(false); // snapshots come with all columns
    return 0;
}

// The row as it was before: the one that has the same conflict target.
static void put_snapshot_join(struct write *write)
{
    put_text(write, " LEFT JOIN ");
    put_text(write, write->table->qualified);
    put_text(write, " AS o ON ");
    for (uint32_t i = 0; i < write->n_target; i++) {
        put_text(write, i == 0 ? "" : " AND ");
        put_column_of(write, "o", write->target[i]);
        put_text(write, " = s.n");
        rest_sql_number(&write->planner->sql, shape_position(write, write->target[i]));
    }
}

static void put_outer_order(struct write *write)
{
    const struct plan_node *root = write->planner->root;
    put_text(write, " ORDER BY ");
    for (uint32_t i = 0; write->ordered && i < root->n_orders; i++) {
        put_text(write, "s.k");
        rest_sql_number(&write->planner->sql, i);
        plan_put_direction(write->planner, root->orders[i]);
        put_text(write, ", ");
    }
    put_text(write, "s.position");
}

// The text so far is the inner statement: wraps it.
static void put_outer(struct write *write)
{
    put_text(write, ") SELECT s.tag0");
    put_outer_images(write);
    put_text(write, ", s.body0 FROM (SELECT *, row_number() OVER () AS position FROM written) AS s");
    if (write->old == OLD_FROM_SNAPSHOT) {
        put_snapshot_join(write);
    }
    put_outer_order(write);
}

static void begin(struct write *write)
{
    put_text(write, is_wrapped(write) ? "WITH written AS (" : "");
}

// Quoted names in the row (types) might hold what looks like a parameter.
static bool may_repeat_row(const struct write *write)
{
    const struct rest_sql *sql = &write->planner->sql;
    return write->row_end > 0 && write->table->set_wise && !write->captured && !is_wrapped(write) &&
           write->resolution == REST_RESOLUTION_NONE && write->n_row_parameters == sql->n_parameters &&
           memchr(sql->text.data + write->row_at, '"', write->row_end - write->row_at) == NULL;
}

static bool finish(struct write *write, enum rest_statement_kind kind, bool with_set)
{
    if (!put_returning(write)) {
        return false;
    }
    if (is_wrapped(write)) {
        put_outer(write);
    }
    struct planner *planner = write->planner;
    struct rest_statement *statement = &planner->plan->statement;
    enum rest_format format = planner->plan->facts.format;
    statement->kind = kind;
    statement->weak = is_weak(write);
    statement->captured = write->captured;
    statement->single = plan_is_singular(planner);
    statement->body_is_array = planner->preferences.representation == REST_RETURN_REPRESENTATION &&
                               (format == REST_FORMAT_ARRAY || format == REST_FORMAT_ARRAY_STRIPPED || format == REST_FORMAT_GEOJSON);
    if (!write->captured) {
        give_shape(write, with_set);
    } else {
        statement->shape.table = cc_slice_text(write->table->qualified);
    }
    size_t n_behind_row = planner->sql.text.n - write->row_end;
    bool repeatable = may_repeat_row(write);
    plan_take_sql(planner);
    if (repeatable) { // the row may have become longer: numbers of stamps
        statement->row_at = (uint32_t)write->row_at;
        statement->row_n = (uint32_t)(statement->sql.n - n_behind_row - write->row_at);
    }
    return true;
}

// The answer of a write that has nothing to do.
static bool answer_nothing(struct planner *planner)
{
    enum rest_format format = planner->plan->facts.format;
    bool is_array = format == REST_FORMAT_ARRAY || format == REST_FORMAT_ARRAY_STRIPPED || format == REST_FORMAT_GEOJSON;
    struct rest_outcome outcome = {.kind = REST_DONE};
    outcome.body = planner->plan->facts.wants_body && is_array ? cc_slice_text("[]") : (struct cc_slice){0};
    struct rest_statement *statement = &planner->plan->statement;
    statement->single = plan_is_singular(planner);
    (void)rest_outcome_check(statement, 0, 0, planner->arena, &outcome); // else the outcome is the refusal
    rest_reply_write(planner->plan, &outcome, planner->arena, &planner->plan->answer);
    planner->plan->kind = REST_PLAN_ANSWER;
    return false;
}

static bool start(struct planner *planner, struct write *write)
{
    *write = (struct write){.planner = planner};
    planner->plan->kind = REST_PLAN_WRITE;
    write->table = rest_catalog_table(planner->catalog, planner->schema, planner->relation);
    if (!plan_tree_create(planner, write->table)) {
        return false;
    }
    planner->plan->facts.wants_body = planner->preferences.representation == REST_RETURN_REPRESENTATION;
    return true;
}

// ---- If-Match: the row must still be what the client read, with the same select

static bool put_precondition(struct write *write, const char *before)
{
    struct planner *planner = write->planner;
    struct cc_slice if_match = planner->plan->facts.if_match;
    planner->plan->statement.precondition = planner->plan->statement.precondition || if_match.data != NULL;
    if (if_match.data == NULL || rest_etag_is_star(if_match)) {
        return true;
    }
    put_text(write, before);
    if (!plan_put_row_hash(planner, planner->root)) {
        return false;
    }
    put_text(write, " = ANY(");
    rest_sql_parameter(&planner->sql, rest_etag_hashes(if_match, planner->arena));
    put_text(write, "::text[])");
    return true;
}

// ---- INSERT

static void put_column_list(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    put_text(write, "(");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        put_text(write, i == 0 ? "" : ", ");
        put_name(write, payload->columns[i]);
    }
    if (is_weak(write)) {
        put_text(write, payload->n_columns == 0 ? "\"_caucus\"" : ", \"_caucus\"");
    }
    put_text(write, ")");
}

static void put_insert_stamp(struct write *write, const char *before)
{
    if (is_weak(write)) {
        put_text(write, before);
        put_text(write, "jsonb_build_object('', ");
        plan_put_stamp(write->planner);
        put_text(write, ")");
    }
}

static bool is_extreme(const struct rest_column *column)
{
    return column->merge == REST_MERGE_MAX || column->merge == REST_MERGE_MIN;
}

// Texts are merged by their bytes.
static void put_extreme(struct write *write, const char *alias, uint32_t at)
{
    const struct rest_column *column = &write->table->columns[at];
    bool text = strcmp(column->base_type, "text") == 0 || strcmp(column->base_type, "character varying") == 0;
    put_text(write, column->merge == REST_MERGE_MAX ? "GREATEST(" : "LEAST(");
    put_column_of(write, alias, at);
    put_text(write, text ? " COLLATE \"C\", " : ", ");
}

// What a column of the one row is set to. alias: of the row that is there, NULL: none. A greatest or smallest value stays one.
static void put_value(struct write *write, uint32_t position, const char *alias)
{
    const struct plan_payload *payload = &write->payload;
    uint32_t at = payload->columns[position];
    const struct rest_column *column = &write->table->columns[at];
    bool extreme = alias != NULL && is_extreme(column);
    if (payload->operators[position].kind != PLAN_VALUE) {
        plan_put_operator(write->planner, column, &payload->operators[position], alias, column->merge == REST_MERGE_SET);
        return;
    }
    if (extreme) {
        put_extreme(write, alias, at);
    }
    plan_put_payload_value(write->planner, write->table, payload, at);
    put_text(write, extreme ? ")" : "");
}

static void put_values(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    struct rest_sql *sql = &write->planner->sql;
    put_text(write, " VALUES ");
    write->row_at = sql->text.n;
    put_text(write, "(");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        put_text(write, i == 0 ? "" : ", ");
        put_value(write, i, NULL);
    }
    put_insert_stamp(write, payload->n_columns == 0 ? "" : ", ");
    put_text(write, ")");
    write->row_end = sql->text.n;
    write->n_row_parameters = sql->n_parameters;
}

static void put_record_type(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    put_text(write, " AS b(");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        put_text(write, i == 0 ? "" : ", ");
        put_name(write, payload->columns[i]);
        put_text(write, " ");
        put_text(write, write->table->columns[payload->columns[i]].type);
    }
    put_text(write, ")");
}

static void put_bulk_column(struct write *write, uint32_t column)
{
    const struct rest_column *info = &write->table->columns[column];
    bool by_default = write->payload.missing_default && info->default_sql != NULL;
    if (by_default) {
        put_text(write, "CASE WHEN e.o ? ");
        rest_sql_literal(&write->planner->sql, info->name);
        put_text(write, " THEN ");
    }
    put_column_of(write, "b", column);
    if (by_default) {
        put_text(write, " ELSE ");
        put_text(write, info->default_sql);
        put_text(write, " END");
    }
}

// The rows of a JSON array, bound once.
static void put_bulk(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    put_text(write, " SELECT ");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        put_text(write, i == 0 ? "" : ", ");
        put_bulk_column(write, payload->columns[i]);
    }
    put_insert_stamp(write, payload->n_columns == 0 ? "" : ", ");
    put_text(write, payload->missing_default  ? " FROM jsonb_array_elements("
                    : payload->n_columns == 0 ? " FROM json_array_elements("
                                              : " FROM json_to_recordset(");
    rest_sql_parameter(&write->planner->sql, payload->raw);
    put_text(write, payload->missing_default  ? "::jsonb) AS e(o)"
                    : payload->n_columns == 0 ? "::json) AS e(o)"
                                              : "::json)");
    if (payload->n_columns > 0) {
        put_text(write, payload->missing_default ? ", LATERAL jsonb_to_record(e.o)" : "");
        put_record_type(write);
    }
}

static void put_insert(struct write *write)
{
    bool no_columns = write->payload.n_columns == 0 && !is_weak(write);
    put_text(write, "INSERT INTO ");
    put_text(write, write->table->qualified);
    put_text(write, " AS t0");
    if (!no_columns) {
        put_text(write, " ");
        put_column_list(write);
    }
    if (write->payload.bulk) {
        put_bulk(write);
    } else if (no_columns) {
        put_text(write, " DEFAULT VALUES");
    } else {
        put_values(write);
    }
}

// ---- ON CONFLICT

// The stamps of the columns set by a weak update or merge, as jsonb. In chunks: a function takes 100 arguments.
static void put_update_stamps(struct write *write, bool revives)
{
    enum { CHUNK = 40 };
    uint32_t n = 0;
    put_text(write, "\"_caucus\" = coalesce(t0.\"_caucus\", '{}'::jsonb) || jsonb_build_object(");
    if (revives) {
        put_text(write, "'+', ");
        plan_put_stamp(write->planner);
        n++;
    }
    for (uint32_t i = 0; i < write->payload.n_columns; i++) {
        if (write->table->columns[write->payload.columns[i]].key_position > 0) {
            continue;
        }
        put_text(write, n == 0 ? "" : n % CHUNK == 0 ? ") || jsonb_build_object(" : ", ");
        rest_sql_literal(&write->planner->sql, write->table->columns[write->payload.columns[i]].name);
        put_text(write, ", ");
        plan_put_stamp(write->planner);
        n++;
    }
    put_text(write, ")");
    if (n == 0) { // only key columns: the stamp is a parameter all the same; no field is called like this
        put_text(write, " - ('!' || ");
        plan_put_stamp(write->planner);
        put_text(write, ")");
    }
}

static void put_excluded(struct write *write, uint32_t column, bool *first)
{
    put_text(write, *first ? "" : ", ");
    *first = false;
    put_name(write, column);
    put_text(write, " = ");
    bool extreme = is_extreme(&write->table->columns[column]);
    if (extreme) {
        put_extreme(write, "t0", column);
    }
    put_column_of(write, "EXCLUDED", column);
    put_text(write, extreme ? ")" : "");
}

static void put_operated(struct write *write, uint32_t position, bool *first)
{
    put_text(write, *first ? "" : ", ");
    *first = false;
    put_name(write, write->payload.columns[position]);
    put_text(write, " = ");
    put_value(write, position, "t0");
}

// The target's columns are equal already; they are set only when nothing else is, so that the row comes back.
static void put_merge(struct write *write)
{
    bool first = true;
    put_text(write, " DO UPDATE SET ");
    for (uint32_t i = 0; i < write->payload.n_columns; i++) {
        uint32_t column = write->payload.columns[i];
        bool target = contains(write->n_target, write->target, column);
        if (!target && !write->payload.bulk && write->payload.operators[i].kind != PLAN_VALUE) {
            put_operated(write, i, &first);
        } else if (!target && !write->table->columns[column].generated) {
            put_excluded(write, column, &first);
        }
    }
    if (is_weak(write)) {
        put_text(write, first ? "" : ", ");
        put_update_stamps(write, true);
    } else if (first) {
        put_excluded(write, write->target[0], &first);
    }
}

static bool put_conflict(struct write *write)
{
    if (write->resolution == REST_RESOLUTION_NONE) {
        return true;
    }
    put_text(write, " ON CONFLICT (");
    for (uint32_t i = 0; i < write->n_target; i++) {
        put_text(write, i == 0 ? "" : ", ");
        put_name(write, write->target[i]);
    }
    put_text(write, ")");
    if (write->resolution == REST_RESOLUTION_MERGE) {
        put_merge(write);
        return put_precondition(write, " WHERE ");
    }
    put_text(write, " DO NOTHING");
    return true;
}

// on_conflict=, else the primary key. A table without gets no conflict clause, and the preference is not echoed.
static bool choose_target(struct write *write)
{
    struct planner *planner = write->planner;
    const struct rest_query *query = &planner->query;
    write->resolution = planner->preferences.resolution;
    write->n_target = write->table->n_key;
    write->target = write->table->key;
    if (query->has_on_conflict) {
        uint32_t *target = cc_arena_array(planner->arena, query->n_on_conflict, sizeof(*target));
        for (uint32_t i = 0; i < query->n_on_conflict; i++) {
            int32_t column = rest_table_column(write->table, query->on_conflict[i]);
            if (column < 0) {
                return plan_undefined_column(planner, write->table, query->on_conflict[i]);
            }
            target[i] = (uint32_t)column;
        }
        write->n_target = query->n_on_conflict;
        write->target = target;
    }
    if (write->n_target == 0) {
        write->resolution = REST_RESOLUTION_NONE;
    }
    planner->plan->facts.applied.resolution = write->resolution;
    return true;
}

static bool refuse_no_key(struct planner *planner, const struct rest_table *table, const char *verb)
{
    return plan_refuse(
        planner, REST_NO_KEY,
        plan_text(planner, "cannot %s table \"%s\" because it does not have a primary key", verb, table->name),
        "Rows without a key cannot be told apart on the other replicas.", "Add a primary key to the table.");
}

static bool needs_key(const struct rest_table *table)
{
    return (table->kind == REST_TABLE || table->kind == REST_PARTITIONED) && table->n_key == 0;
}

static bool sets_other_than_target(const struct write *write, uint32_t column)
{
    return contains(write->payload.n_columns, write->payload.columns, column) &&
           !contains(write->n_target, write->target, column);
}

static bool merge_may_change_key(const struct write *write)
{
    for (uint32_t i = 0; i < write->table->n_key; i++) {
        if (sets_other_than_target(write, write->table->key[i])) {
            return true;
        }
    }
    return false;
}

static bool insert_rows(struct write *write)
{
    struct planner *planner = write->planner;
    if (!choose_target(write)) {
        return false;
    }
    bool merge = write->resolution == REST_RESOLUTION_MERGE;
    if (merge && needs_key(write->table)) {
        return refuse_no_key(planner, write->table, "update");
    }
    const struct rest_table *table = write->table;
    // The virtual rows of a partitioned table do not tell whether they were inserted.
    write->captured = table->capture_insert || (merge && (table->capture_update || table->kind == REST_PARTITIONED));
    if (merge && table->capture_key_update && merge_may_change_key(write)) {
        write->captured = true;
    }
    write->tag = merge && table->kind == REST_TABLE ? "CASE WHEN t0.xmax = 0 THEN 'I' ELSE 'U' END" : "'I'";
    bool needs_old = merge && !write->captured && (is_weak(write) || merge_may_change_key(write));
    write->old = needs_old ? OLD_FROM_SNAPSHOT : OLD_NONE;
    // Rows of such a table must be applied in the order in which they were written.
    write->ordered = planner->root->n_orders > 0 && !table->row_by_row && planner->plan->facts.wants_body;
    choose_shape(write, true, false);
    begin(write);
    put_insert(write);
    if (!put_conflict(write)) {
        return false;
    }
    give_sequences(write);
    return finish(write, merge ? REST_UPSERT : REST_INSERT, merge);
}

bool plan_insert(struct planner *planner)
{
    struct write write;
    planner->plan->facts.if_match = (struct cc_slice){0}; // there is no row yet
    if (!start(planner, &write) || !plan_payload_read(planner, write.table, &write.payload)) {
        return false;
    }
    if (write.payload.n_rows == 0) {
        return answer_nothing(planner);
    }
    return insert_rows(&write);
}

// ---- PUT

static const struct rest_filter *key_filter(const struct planner *planner, const char *column)
{
    for (uint32_t i = 0; i < planner->root->n_conditions; i++) {
        const struct rest_condition *condition = planner->root->conditions[i];
        const struct rest_filter *filter = &condition->filter;
        bool fits = condition->kind == REST_CONDITION_FILTER && filter->op == REST_EQ && !filter->negated &&
                    filter->quantifier == REST_QUANTIFIER_NONE && filter->field.n_steps == 0 &&
                    cc_slice_equal_text(filter->field.name, column);
        if (fits) {
            return filter;
        }
    }
    return NULL;
}

static bool check_put(struct write *write)
{
    struct planner *planner = write->planner;
    const struct rest_table *table = write->table;
    if (planner->root->has_limit || planner->root->offset > 0) {
        return plan_refuse(planner, REST_PUT_LIMIT, "limit/offset querystring parameters are not allowed for PUT", NULL,
                           NULL);
    }
    bool all = table->n_key > 0 && planner->root->n_conditions == table->n_key;
    for (uint32_t i = 0; i < table->n_key; i++) {
        all = all && key_filter(planner, table->columns[table->key[i]].name) != NULL;
    }
    return all || plan_refuse(planner, REST_PUT_FILTERS,
                              "Filters must include all and only primary key columns with 'eq' operators", NULL, NULL);
}

static bool check_put_keys(struct write *write)
{
    const struct rest_table *table = write->table;
    for (uint32_t i = 0; i < table->n_key; i++) {
        const char *name = table->columns[table->key[i]].name;
        const struct rest_filter *filter = key_filter(write->planner, name);
        const struct rest_json_member *member = rest_json_find(write->payload.n_members, write->payload.members, name);
        if (member == NULL || !cc_slice_equal(rest_json_text(&member->value, write->planner->arena), filter->value)) {
            return plan_refuse(write->planner, REST_PUT_KEY, "Payload values do not match URL in primary key column(s)",
                               NULL, NULL);
        }
    }
    return true;
}

bool plan_put(struct planner *planner)
{
    struct write write;
    if (!start(planner, &write) || !check_put(&write) || !plan_payload_read(planner, write.table, &write.payload)) {
        return false;
    }
    write.payload.bulk = false; // an array's first element
    if (write.payload.has_operators) {
        return plan_refuse(planner, REST_OPERATOR, "PUT replaces a row: it cannot have $inc, $add or $remove", NULL, "Use PATCH, or POST with Prefer: resolution=merge-duplicates");
    }
    if (!check_put_keys(&write)) {
        return false;
    }
    bool only_new = rest_etag_is_star(planner->plan->facts.if_none_match);
    planner->plan->statement.precondition = only_new;
    planner->preferences.resolution = only_new ? REST_RESOLUTION_IGNORE : REST_RESOLUTION_MERGE;
    planner->query.has_on_conflict = false;
    bool ok = insert_rows(&write);
    planner->plan->facts.applied.resolution = REST_RESOLUTION_NONE;
    return ok;
}

// ---- PATCH, DELETE

static bool check_filter(struct write *write, const char *statement)
{
    struct planner *planner = write->planner;
    bool limited = planner->plan->statement.rows_max != UINT64_MAX;
    if (planner->root->n_conditions > 0 || limited) {
        return true;
    }
    return plan_refuse(planner, REST_NO_WHERE, plan_text(planner, "%s requires a WHERE clause", statement), NULL,
                       "Add a filter, or Prefer: handling=strict, max-affected=<n>.");
}

static void put_old_join(struct write *write, const char *keyword)
{
    put_text(write, keyword);
    put_text(write, write->table->qualified);
    put_text(write, " AS o WHERE ");
    for (uint32_t i = 0; i < write->table->n_key; i++) {
        put_text(write, i == 0 ? "" : " AND ");
        put_column_of(write, "o", write->table->key[i]);
        put_text(write, " = ");
        put_column_of(write, "t0", write->table->key[i]);
    }
}

static bool sets_key(const struct write *write)
{
    for (uint32_t i = 0; i < write->table->n_key; i++) {
        if (contains(write->payload.n_columns, write->payload.columns, write->table->key[i])) {
            return true;
        }
    }
    return false;
}

static bool sets_unique(const struct write *write)
{
    for (uint32_t i = 0; i < write->table->n_uniques; i++) {
        const struct rest_unique *unique = &write->table->uniques[i];
        for (uint32_t k = 0; k < unique->n_columns; k++) {
            if (contains(write->payload.n_columns, write->payload.columns, unique->columns[k])) {
                return true;
            }
        }
    }
    return false;
}

static void put_set(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    put_text(write, " SET ");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        put_text(write, i == 0 ? "" : ", ");
        put_name(write, payload->columns[i]);
        put_text(write, " = ");
        put_value(write, i, "t0");
    }
    if (is_weak(write)) {
        put_text(write, ", ");
        put_update_stamps(write, false);
    }
}

static bool update_rows(struct write *write)
{
    struct planner *planner = write->planner;
    write->tag = "'U'";
    // A weak row under another key is another row: a deletion and an insert, for which all its columns must be known.
    write->captured = write->table->capture_update || (write->table->capture_key_update && sets_unique(write)) ||
                      (is_weak(write) && sets_key(write));
    bool needs_old = !write->captured && (is_weak(write) || sets_key(write));
    write->old = needs_old ? OLD_FROM_JOIN : OLD_NONE;
    write->ordered = planner->root->n_orders > 0 && planner->plan->facts.wants_body;
    choose_shape(write, is_weak(write), true);
    begin(write);
    put_text(write, "UPDATE ");
    put_text(write, write->table->qualified);
    put_text(write, " AS t0");
    put_set(write);
    if (needs_old) {
        put_old_join(write, " FROM ");
    }
    bool has_where = needs_old || planner->root->n_conditions > 0;
    if (!plan_put_conditions(planner, planner->root, needs_old ? " AND " : " WHERE ") ||
        !put_precondition(write, has_where ? " AND " : " WHERE ")) {
        return false;
    }
    return finish(write, REST_UPDATE, true);
}

bool plan_update(struct planner *planner)
{
    struct write write;
    if (!start(planner, &write) || !plan_payload_read(planner, write.table, &write.payload)) {
        return false;
    }
    write.payload.bulk = false; // an array's first element
    if (write.payload.n_columns == 0) {
        return answer_nothing(planner);
    }
    if (needs_key(write.table)) {
        return refuse_no_key(planner, write.table, "update");
    }
    return check_filter(&write, "UPDATE") && update_rows(&write);
}

bool plan_delete(struct planner *planner)
{
    struct write write;
    if (!start(planner, &write)) {
        return false;
    }
    if (needs_key(write.table)) {
        return refuse_no_key(planner, write.table, "delete from");
    }
    if (!check_filter(&write, "DELETE")) {
        return false;
    }
    write.tag = "'D'";
    write.captured = write.table->capture_delete;
    write.old = is_weak(&write) && !write.captured ? OLD_FROM_ROW : OLD_NONE;
    write.new_is_key_only = true;
    write.ordered = planner->root->n_orders > 0 && planner->plan->facts.wants_body;
    choose_shape(&write, is_weak(&write), false);
    begin(&write);
    put_text(&write, "DELETE FROM ");
    put_text(&write, write.table->qualified);
    put_text(&write, " AS t0");
    if (is_weak(&write)) { // the executor binds the stamp to every weak write
        put_text(&write, " WHERE ");
        plan_put_stamp(planner);
        put_text(&write, " IS NOT NULL");
    }
    bool has_where = is_weak(&write) || planner->root->n_conditions > 0;
    if (!plan_put_conditions(planner, planner->root, is_weak(&write) ? " AND " : " WHERE ") ||
        !put_precondition(&write, has_where ? " AND " : " WHERE ")) {
        return false;
    }
    return finish(&write, REST_DELETE, false);
}
