// Inserts: POST with its conflicts, and PUT.
#include "rest/plan_write_internal.h"

#include "base/limits.h"
#include "rest/etag.h"
#include "rest/json_rows.h"

#include <string.h>

// ---- INSERT

static void put_column_list(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    write_put_text(write, "(");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        write_put_text(write, i == 0 ? "" : ", ");
        write_put_name(write, payload->columns[i]);
    }
    if (write_is_weak(write)) {
        write_put_text(write, payload->n_columns == 0 ? "\"_caucus\"" : ", \"_caucus\"");
    }
    write_put_text(write, ")");
}

static void put_insert_stamp(struct write *write, const char *before)
{
    if (write_is_weak(write)) {
        write_put_text(write, before);
        write_put_text(write, "jsonb_build_object('', ");
        plan_put_stamp(write->planner);
        write_put_text(write, ")");
    }
}

// What a column of the one row is set to. alias: of the row that is there, NULL: none.
void write_put_value(struct write *write, uint32_t position, const char *alias)
{
    const struct plan_payload *payload = &write->payload;
    uint32_t at = payload->columns[position];
    const struct rest_column *column = &write->table->columns[at];
    bool is_default = payload->missing_default && rest_json_find(payload->n_members, payload->members, column->name) == NULL;
    if (payload->operators[position].kind != PLAN_VALUE) {
        plan_put_operator(write->planner, column, &payload->operators[position], alias, column->merge == REST_MERGE_SET);
        return;
    }
    if (is_default) { // DEFAULT cannot stand in an expression
        plan_put_payload_value(write->planner, write->table, payload, at);
        return;
    }
    plan_open_merged(write->planner, column, alias);
    plan_put_payload_value(write->planner, write->table, payload, at);
    plan_close_merged(write->planner, column, alias);
}

// Types whose text means the same after a cast from text as it does as a parameter of the column. Not so: character and bit, whose
// names without a length mean a length of 1.
static bool is_castable(const struct rest_column *column)
{
    static const char *const types[] = {"uuid", "text", "character varying", "integer", "bigint", "smallint", "boolean", "numeric", "real",
                                        "double precision", "date", "timestamp with time zone", "timestamp without time zone",
                                        "time without time zone", "interval", "json", "jsonb", "bytea", "inet"};
    for (size_t i = 0; column->json_in == NULL && i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(column->base_type, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool write_may_cast(const struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    bool alone = !write->table->set_wise || write->captured || write->resolution != REST_RESOLUTION_NONE;
    if (alone || payload->has_operators || payload->missing_default || payload->n_columns == 0) {
        return false;
    }
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        const struct rest_column *column = &write->table->columns[payload->columns[i]];
        const struct rest_json_member *member = rest_json_find(payload->n_members, payload->members, column->name);
        bool nested = member != NULL && (member->value.kind == REST_JSON_ARRAY || member->value.kind == REST_JSON_OBJECT);
        if (member == NULL || nested || !is_castable(column)) {
            return false;
        }
    }
    return true;
}

// Rows whose values are parameters, or NULL: JSON may hold what only PostgreSQL can take apart, and a question for the
// plan has one row. What an answer shows of the rows may need parameters of its own.
static const struct rest_json_value *read_rows(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    struct planner *planner = write->planner;
    bool fits = payload->n_rows <= CC_PARAMETERS_MAX / payload->n_columns;
    if (!fits || planner->preferences.representation == REST_RETURN_REPRESENTATION || planner->plan->facts.plan_type != NULL) {
        return NULL;
    }
    const char **names = cc_arena_array(planner->arena, payload->n_columns, sizeof(*names));
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        names[i] = write->table->columns[payload->columns[i]].name;
    }
    struct rest_json_value *values = cc_arena_array(planner->arena, payload->n_rows * payload->n_columns, sizeof(*values));
    return rest_json_rows(payload->raw, names, payload->n_columns, payload->n_rows, planner->arena, values) ? values : NULL;
}

static void put_values(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    struct rest_sql *sql = &write->planner->sql;
    write_put_text(write, " VALUES ");
    write->row_at = sql->text.n;
    write_put_text(write, "(");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        write_put_text(write, i == 0 ? "" : ", ");
        write_put_value(write, i, NULL);
        if (write->cast) {
            write_put_text(write, "::");
            write_put_text(write, write->table->columns[payload->columns[i]].base_type);
        }
    }
    put_insert_stamp(write, payload->n_columns == 0 ? "" : ", ");
    write_put_text(write, ")");
    write->row_end = sql->text.n;
    write->n_row_parameters = sql->n_parameters;
}

static void put_record_type(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    write_put_text(write, " AS b(");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        write_put_text(write, i == 0 ? "" : ", ");
        write_put_name(write, payload->columns[i]);
        write_put_text(write, " ");
        const struct rest_column *column = &write->table->columns[payload->columns[i]];
        write_put_text(write, column->json_in != NULL ? "json" : column->type);
    }
    write_put_text(write, ")");
}

static void put_bulk_column(struct write *write, uint32_t column)
{
    const struct rest_column *info = &write->table->columns[column];
    bool by_default = write->payload.missing_default && info->default_sql != NULL;
    if (by_default) {
        write_put_text(write, "CASE WHEN e.o ? ");
        rest_sql_literal(&write->planner->sql, info->name);
        write_put_text(write, " THEN ");
    }
    plan_open_merged(write->planner, info, NULL);
    if (info->json_in != NULL) {
        write_put_text(write, info->json_in);
        write_put_text(write, "(");
    }
    write_put_column_of(write, "b", column);
    write_put_text(write, info->json_in != NULL ? ")" : "");
    plan_close_merged(write->planner, info, NULL);
    if (by_default) {
        write_put_text(write, " ELSE ");
        write_put_text(write, info->default_sql);
        write_put_text(write, " END");
    }
}

// The rows of a JSON array, bound once.
static void put_bulk(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    write_put_text(write, " SELECT ");
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        write_put_text(write, i == 0 ? "" : ", ");
        put_bulk_column(write, payload->columns[i]);
    }
    put_insert_stamp(write, payload->n_columns == 0 ? "" : ", ");
    write_put_text(write, payload->missing_default  ? " FROM jsonb_array_elements("
                    : payload->n_columns == 0 ? " FROM json_array_elements("
                                              : " FROM json_to_recordset(");
    rest_sql_parameter(&write->planner->sql, payload->raw);
    write_put_text(write, payload->missing_default  ? "::jsonb) AS e(o)"
                    : payload->n_columns == 0 ? "::json) AS e(o)"
                                              : "::json)");
    if (payload->n_columns > 0) {
        write_put_text(write, payload->missing_default ? ", LATERAL jsonb_to_record(e.o)" : "");
        put_record_type(write);
    }
}

static void put_insert(struct write *write)
{
    bool no_columns = write->payload.n_columns == 0 && !write_is_weak(write);
    write_put_text(write, "INSERT INTO ");
    write_put_text(write, write->table->qualified);
    write_put_text(write, " AS t0");
    if (!no_columns) {
        write_put_text(write, " ");
        put_column_list(write);
    }
    write->cast = write_may_cast(write);
    write->rows = write->cast && write->payload.bulk ? read_rows(write) : NULL;
    if (write->payload.bulk && write->rows == NULL) {
        put_bulk(write);
    } else if (no_columns) {
        write_put_text(write, " DEFAULT VALUES");
    } else {
        put_values(write);
    }
}

// ---- ON CONFLICT

// The stamps of the columns set by a weak update or merge, as jsonb. In chunks: a function takes 100 arguments.
void write_put_update_stamps(struct write *write, bool revives)
{
    enum { CHUNK = 40 };
    uint32_t n = 0;
    write_put_text(write, "\"_caucus\" = coalesce(t0.\"_caucus\", '{}'::jsonb) || jsonb_build_object(");
    if (revives) {
        write_put_text(write, "'+', ");
        plan_put_stamp(write->planner);
        n++;
    }
    for (uint32_t i = 0; i < write->payload.n_columns; i++) {
        if (write->table->columns[write->payload.columns[i]].key_position > 0) {
            continue;
        }
        write_put_text(write, n == 0 ? "" : n % CHUNK == 0 ? ") || jsonb_build_object(" : ", ");
        rest_sql_literal(&write->planner->sql, write->table->columns[write->payload.columns[i]].name);
        write_put_text(write, ", ");
        plan_put_stamp(write->planner);
        n++;
    }
    write_put_text(write, ")");
    if (n == 0) { // only key columns: the stamp is a parameter all the same; no field is called like this
        write_put_text(write, " - ('!' || ");
        plan_put_stamp(write->planner);
        write_put_text(write, ")");
    }
}

static void put_excluded(struct write *write, uint32_t column, bool *first)
{
    write_put_text(write, *first ? "" : ", ");
    *first = false;
    write_put_name(write, column);
    write_put_text(write, " = ");
    plan_open_merged(write->planner, &write->table->columns[column], "t0");
    write_put_column_of(write, "EXCLUDED", column);
    plan_close_merged(write->planner, &write->table->columns[column], "t0");
}

static void put_operated(struct write *write, uint32_t position, bool *first)
{
    write_put_text(write, *first ? "" : ", ");
    *first = false;
    write_put_name(write, write->payload.columns[position]);
    write_put_text(write, " = ");
    write_put_value(write, position, "t0");
}

// The target's columns are equal already; they are set only when nothing else is, so that the row comes back.
static void put_merge(struct write *write)
{
    bool first = true;
    write_put_text(write, " DO UPDATE SET ");
    for (uint32_t i = 0; i < write->payload.n_columns; i++) {
        uint32_t column = write->payload.columns[i];
        bool target = write_contains(write->n_target, write->target, column);
        if (!target && !write->payload.bulk && write->payload.operators[i].kind != PLAN_VALUE) {
            put_operated(write, i, &first);
        } else if (!target && !write->table->columns[column].generated) {
            put_excluded(write, column, &first);
        }
    }
    if (write_is_weak(write)) {
        write_put_text(write, first ? "" : ", ");
        write_put_update_stamps(write, true);
    } else if (first) {
        put_excluded(write, write->target[0], &first);
    }
}

static bool put_conflict(struct write *write)
{
    if (write->resolution == REST_RESOLUTION_NONE) {
        return true;
    }
    write_put_text(write, " ON CONFLICT (");
    for (uint32_t i = 0; i < write->n_target; i++) {
        write_put_text(write, i == 0 ? "" : ", ");
        write_put_name(write, write->target[i]);
    }
    write_put_text(write, ")");
    if (write->resolution == REST_RESOLUTION_MERGE) {
        put_merge(write);
        return write_put_precondition(write, " WHERE ");
    }
    write_put_text(write, " DO NOTHING");
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

bool write_refuse_no_key(struct planner *planner, const struct rest_table *table, const char *verb)
{
    return plan_refuse(
        planner, REST_NO_KEY,
        plan_text(planner, "cannot %s table \"%s\" because it does not have a primary key", verb, table->name),
        "Rows without a key cannot be told apart on the other replicas.", "Add a primary key to the table.");
}

bool write_needs_key(const struct rest_table *table)
{
    return (table->kind == REST_TABLE || table->kind == REST_PARTITIONED) && table->n_key == 0;
}

static bool sets_other_than_target(const struct write *write, uint32_t column)
{
    return write_contains(write->payload.n_columns, write->payload.columns, column) &&
           !write_contains(write->n_target, write->target, column);
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

// Rows of views and of partitioned tables do not tell whether they were there; the statement's snapshot does.
static const char *tag_by_snapshot(const struct write *write)
{
    struct rest_sql sql;
    rest_sql_init(&sql, write->planner->arena);
    rest_sql_text(&sql, "CASE WHEN EXISTS (SELECT FROM ");
    rest_sql_text(&sql, write->table->qualified);
    for (uint32_t i = 0; i < write->n_target; i++) {
        const char *name = write->table->columns[write->target[i]].name;
        rest_sql_text(&sql, i == 0 ? " AS o WHERE o." : " AND o.");
        rest_sql_name(&sql, name);
        rest_sql_text(&sql, " = t0.");
        rest_sql_name(&sql, name);
    }
    rest_sql_text(&sql, ") THEN 'U' ELSE 'I' END");
    const char *text = cc_arena_text_n(write->planner->arena, sql.text.data, sql.text.n);
    rest_sql_finish(&sql);
    return text;
}

static bool insert_rows(struct write *write)
{
    struct planner *planner = write->planner;
    bool merge = write->resolution == REST_RESOLUTION_MERGE;
    if (merge && write_needs_key(write->table)) {
        return write_refuse_no_key(planner, write->table, "update");
    }
    const struct rest_table *table = write->table;
    // The virtual rows of a partitioned table do not tell whether they were inserted.
    write->captured = table->capture_insert || (merge && (table->capture_update || table->kind == REST_PARTITIONED));
    bool hidden = table->hides_inserts && planner->request->identity.role.data != NULL;
    write->captured = write->captured || hidden || write_is_blind(write);
    if (merge && table->capture_key_update && merge_may_change_key(write)) {
        write->captured = true;
    }
    write->tag = !merge ? "'I'" : table->kind == REST_TABLE ? "CASE WHEN t0.xmax = 0 THEN 'I' ELSE 'U' END" : tag_by_snapshot(write);
    bool needs_old = merge && !write->captured && (write_is_weak(write) || merge_may_change_key(write));
    write->old = needs_old ? OLD_FROM_SNAPSHOT : OLD_NONE;
    // Rows of such a table must be applied in the order in which they were written.
    write->ordered = planner->root->n_orders > 0 && !table->row_by_row && planner->plan->facts.wants_body;
    write_choose_shape(write, true, false);
    write_begin(write);
    put_insert(write);
    if (!put_conflict(write)) {
        return false;
    }
    write_give_sequences(write);
    return write_finish(write, merge ? REST_UPSERT : REST_INSERT, merge);
}

bool plan_insert(struct planner *planner)
{
    struct write write;
    planner->plan->facts.if_match = (struct cc_slice){0}; // there is no row yet
    if (!write_start(planner, &write) || !plan_payload_read(planner, write.table, &write.payload)) {
        return false;
    }
    if (!choose_target(&write)) {
        return false;
    }
    return write.payload.n_rows == 0 ? write_answer_nothing(planner) : insert_rows(&write);
}

// ---- PUT

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
        all = all && plan_equal_filter(planner, table->columns[table->key[i]].name) != NULL;
    }
    return all || plan_refuse(planner, REST_PUT_FILTERS,
                              "Filters must include all and only primary key columns with 'eq' operators", NULL, NULL);
}

static bool check_put_keys(struct write *write)
{
    const struct rest_table *table = write->table;
    for (uint32_t i = 0; i < table->n_key; i++) {
        const char *name = table->columns[table->key[i]].name;
        const struct rest_filter *filter = plan_equal_filter(write->planner, name);
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
    if (!write_start(planner, &write) || !check_put(&write) || !plan_payload_read(planner, write.table, &write.payload)) {
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
    bool ok = choose_target(&write) && insert_rows(&write);
    planner->plan->facts.applied.resolution = REST_RESOLUTION_NONE;
    return ok;
}
