// Rows of writes: the shape of their images, and what a statement gives back (contract in statement.h).
//
// Two forms. Plain:     INSERT ... RETURNING tag, new, [old,] body
// Wrapped, when rows are to be ordered or old images come from a join after the fact (the main query of a WITH still sees
// the table as it was): WITH s AS (INSERT ... RETURNING tag, new, body, order keys) SELECT ... FROM s [LEFT JOIN t o] ORDER BY ...
#include "rest/plan_write_internal.h"

#include "rest/etag.h"
#include "rest/reply.h"
#include "rest/vector.h"

#include <assert.h>
#include <string.h>

void write_put_text(struct write *write, const char *text)
{
    rest_sql_text(&write->planner->sql, text);
}

void write_put_name(struct write *write, uint32_t column)
{
    rest_sql_name(&write->planner->sql, write->table->columns[column].name);
}

// Behind the table's columns in a shape: _caucus, from which the parts of columns with merge types are read.
static bool is_stamps(const struct write *write, uint32_t column)
{
    return column == write->table->n_columns;
}

void write_put_column_of(struct write *write, const char *alias, uint32_t column)
{
    write_put_text(write, alias);
    write_put_text(write, ".");
    if (is_stamps(write, column)) {
        write_put_text(write, "\"_caucus\"");
    } else {
        write_put_name(write, column);
    }
}

bool write_contains(uint32_t n, const uint32_t *columns, uint32_t column)
{
    for (uint32_t i = 0; i < n; i++) {
        if (columns[i] == column) {
            return true;
        }
    }
    return false;
}

bool write_is_weak(const struct write *write)
{
    return write->table->consistency == REST_WEAK;
}

bool write_is_blind(const struct write *write)
{
    struct cc_slice role = write->planner->request->identity.role;
    for (uint32_t i = 0; role.data != NULL && i < write->table->n_blind; i++) {
        if (cc_slice_equal_text(role, write->table->blind[i])) {
            return true;
        }
    }
    return false;
}

// ---- shape

static void add_shape_column(struct write *write, uint32_t column)
{
    if (!write_contains(write->n_shape, write->shape, column)) {
        write->shape[write->n_shape++] = column;
    }
}

void write_choose_shape(struct write *write, bool all_columns, bool with_set)
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
        bool set = with_set && write_contains(write->payload.n_columns, write->payload.columns, write->shape[i]);
        shape->columns[i] = (struct rest_shape_column){
            .name = cc_slice_text(column->name),
            .type = cc_slice_text(column->type),
            .flags = (uint8_t)((column->key_position > 0 ? REST_COLUMN_KEY : 0) |
                               (column->generated ? REST_COLUMN_GENERATED : 0) | (set ? REST_COLUMN_SET : 0)),
        };
    }
}

// Columns whose value the database draws from a sequence.
void write_give_sequences(struct write *write)
{
    struct rest_statement *statement = &write->planner->plan->statement;
    for (uint32_t i = 0; i < write->table->n_columns; i++) {
        const char *sequence = write->table->columns[i].sequence;
        bool given = write_contains(write->payload.n_columns, write->payload.columns, i) && !write->payload.missing_default;
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
    write_put_text(write, "json_build_array(");
    for (uint32_t i = 0; i < write->table->n_key; i++) {
        write_put_text(write, i == 0 ? "" : ", ");
        write_put_column_of(write, "t0", write->table->key[i]);
        write_put_text(write, "::text");
    }
    write_put_text(write, ")::text");
    return true;
}

static bool wants_location(const struct write *write)
{
    const struct planner *planner = write->planner;
    return planner->preferences.representation == REST_RETURN_HEADERS_ONLY && planner->plan->facts.action == REST_ACTION_INSERT &&
           write->table->n_key > 0;
}

static bool put_body(struct write *write)
{
    struct planner *planner = write->planner;
    write->body_at = planner->sql.text.n;
    if (planner->preferences.representation == REST_RETURN_REPRESENTATION) {
        return plan_put_row_body(planner, planner->root);
    }
    if (wants_location(write)) {
        return put_location_body(write);
    }
    write_put_text(write, "NULL::text");
    return true;
}

static bool is_wrapped(const struct write *write)
{
    return write->ordered || write->old == OLD_FROM_SNAPSHOT;
}

static void put_label(struct write *write, const char *prefix, uint32_t number)
{
    if (is_wrapped(write)) {
        write_put_text(write, " AS ");
        write_put_text(write, prefix);
        rest_sql_number(&write->planner->sql, number);
    }
}

static void put_new_image(struct write *write)
{
    for (uint32_t i = 0; i < write->n_shape; i++) {
        write_put_text(write, ", ");
        bool key = !is_stamps(write, write->shape[i]) && write->table->columns[write->shape[i]].key_position > 0;
        bool shown = !write->new_is_key_only || key;
        if (shown) {
            write_put_column_of(write, "t0", write->shape[i]);
        } else {
            write_put_text(write, "NULL");
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
        write_put_text(write, ", ");
        write_put_column_of(write, write->old == OLD_FROM_ROW ? "t0" : "o", write->shape[i]);
        put_label(write, "o", i);
    }
}

static bool put_returning(struct write *write)
{
    struct planner *planner = write->planner;
    write_put_text(write, " RETURNING ");
    write_put_text(write, write->tag);
    put_label(write, "tag", 0);
    put_new_image(write);
    put_old_image(write);
    write_put_text(write, ", ");
    if (!put_body(write)) {
        return false;
    }
    put_label(write, "body", 0);
    for (uint32_t i = 0; write->ordered && i < planner->root->n_orders; i++) {
        write_put_text(write, ", ");
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
        write_put_text(write, ", s.n");
        rest_sql_number(&write->planner->sql, i);
    }
    for (uint32_t i = 0; write->old != OLD_NONE && i < write->n_shape; i++) {
        write_put_text(write, ", ");
        if (write->old == OLD_FROM_SNAPSHOT) {
            write_put_column_of(write, "o", write->shape[i]);
        } else {
            write_put_text(write, "s.o");
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
    write_put_text(write, " LEFT JOIN ");
    write_put_text(write, write->table->qualified);
    write_put_text(write, " AS o ON ");
    for (uint32_t i = 0; i < write->n_target; i++) {
        write_put_text(write, i == 0 ? "" : " AND ");
        write_put_column_of(write, "o", write->target[i]);
        write_put_text(write, " = s.n");
        rest_sql_number(&write->planner->sql, shape_position(write, write->target[i]));
    }
}

static void put_outer_order(struct write *write)
{
    const struct plan_node *root = write->planner->root;
    write_put_text(write, " ORDER BY ");
    for (uint32_t i = 0; write->ordered && i < root->n_orders; i++) {
        write_put_text(write, "s.k");
        rest_sql_number(&write->planner->sql, i);
        plan_put_direction(write->planner, root->orders[i]);
        write_put_text(write, ", ");
    }
    write_put_text(write, "s.position");
}

// The text so far is the inner statement: wraps it.
static void put_outer(struct write *write)
{
    write_put_text(write, ") SELECT s.tag0");
    put_outer_images(write);
    write_put_text(write, ", s.body0 FROM (SELECT *, row_number() OVER () AS position FROM written) AS s");
    if (write->old == OLD_FROM_SNAPSHOT) {
        put_snapshot_join(write);
    }
    put_outer_order(write);
}

void write_begin(struct write *write)
{
    write_put_text(write, is_wrapped(write) ? "WITH written AS (" : "");
}

// Quoted names in the row (types) might hold what looks like a parameter.
static bool may_repeat_row(const struct write *write)
{
    const struct rest_sql *sql = &write->planner->sql;
    return write->row_end > 0 && write->table->set_wise && !write->captured && !is_wrapped(write) &&
           write->resolution == REST_RESOLUTION_NONE && write->n_row_parameters == sql->n_parameters &&
           memchr(sql->text.data + write->row_at, '"', write->row_end - write->row_at) == NULL;
}

// The text has the parameters of the first row: now those of all of them.
static void give_rows(struct write *write)
{
    const struct plan_payload *payload = &write->payload;
    struct rest_statement *statement = &write->planner->plan->statement;
    statement->n_parameters = (uint32_t)payload->n_rows * payload->n_columns;
    statement->parameters = cc_arena_array(write->planner->arena, statement->n_parameters, sizeof(*statement->parameters));
    for (uint32_t i = 0; i < statement->n_parameters; i++) {
        const struct rest_column *column = &write->table->columns[payload->columns[i % payload->n_columns]];
        statement->parameters[i] = plan_value_text(write->planner, column->base_type, &write->rows[i]);
    }
}

// The parameter (from 1 on) of the row whose text is the new image of the column, in all rows; 0: none is.
static uint32_t given_to(const struct write *write, uint32_t column)
{
    const struct rest_statement *statement = &write->planner->plan->statement;
    const struct plan_payload *payload = &write->payload;
    struct cc_slice type = cc_slice_text(write->table->columns[column].type);
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        if (payload->columns[i] != column) {
            continue;
        }
        bool plain = true;
        for (uint32_t at = i; plain && at < statement->n_parameters; at += statement->row_parameters) {
            plain = rest_value_is_plain(type, statement->parameters[at]);
        }
        return plain ? i + 1 : 0;
    }
    return 0;
}

// What need not come back. Tables whose triggers could change the row are captured.
static void give_given(struct write *write, size_t n_body)
{
    struct planner *planner = write->planner;
    struct rest_statement *statement = &planner->plan->statement;
    bool wants_body = planner->preferences.representation == REST_RETURN_REPRESENTATION || wants_location(write);
    uint32_t *given = cc_arena_array(planner->arena, write->n_shape, sizeof(*given));
    bool any = false;
    struct rest_sql end;
    rest_sql_init(&end, planner->arena);
    for (uint32_t i = 0; i < write->n_shape; i++) {
        given[i] = given_to(write, write->shape[i]);
        any = any || given[i] > 0;
        if (given[i] == 0) {
            rest_sql_text(&end, end.text.n == 0 ? " RETURNING t0." : ", t0.");
            rest_sql_name(&end, write->table->columns[write->shape[i]].name);
        }
    }
    if (end.text.n > 0 || wants_body) {
        rest_sql_text(&end, end.text.n == 0 ? " RETURNING " : ", ");
        rest_sql_slice(&end, cc_slice_of(statement->sql.data + statement->sql.n - n_body, n_body));
    }
    if (any) {
        statement->given = given;
        statement->brief_end = cc_arena_slice(planner->arena, cc_buffer_slice(&end.text));
    }
    rest_sql_finish(&end);
}

// A key whose equal values have equal texts.
static bool key_is_plain(const struct planner *planner, const struct rest_column *column)
{
    const struct rest_filter *filter = plan_equal_filter(planner, column->name);
    return filter != NULL && column->text_in == NULL && strcmp(column->type, "text") != 0 &&
           rest_value_is_plain(cc_slice_text(column->type), filter->value);
}

// Whether values by key are all that it sets and all that it asks for.
static bool is_update_by_key(const struct write *write)
{
    const struct planner *planner = write->planner;
    const struct rest_table *table = write->table;
    enum old_source old = write_is_weak(write) ? OLD_FROM_JOIN : OLD_NONE;
    bool alone = table->has_merge_types || table->row_by_row || write->old != old || is_wrapped(write) || planner->plan->facts.plan_type != NULL ||
                 planner->plan->statement.runs_code || planner->plan->statement.precondition;
    if (alone || table->n_key == 0 || planner->root->n_conditions != table->n_key || !write_may_cast(write) ||
        planner->sql.n_parameters != write->payload.n_columns + table->n_key) {
        return false;
    }
    for (uint32_t i = 0; i < table->n_key; i++) {
        if (!key_is_plain(planner, &table->columns[table->key[i]])) {
            return false;
        }
    }
    return true;
}

static void put_part(struct rest_sql *sql, const struct write *write, size_t from, size_t to)
{
    rest_sql_slice(sql, cc_slice_of(write->planner->sql.text.data + from, to - from));
}

static void put_many_value(struct rest_sql *many, uint32_t parameter, const char *type)
{
    rest_sql_text(many, "q.p");
    rest_sql_number(many, parameter);
    rest_sql_text(many, "::");
    rest_sql_text(many, type);
}

// SET, with columns of q in place of the parameters.
static void put_many_set(struct rest_sql *many, const struct write *write)
{
    const struct planner *planner = write->planner;
    const struct plan_payload *payload = &write->payload;
    size_t from = 0;
    for (uint32_t i = 0; i < payload->n_columns; i++) {
        put_part(many, write, from, planner->sql.parameter_at[i]);
        put_many_value(many, i + 1, write->table->columns[payload->columns[i]].base_type);
        for (from = planner->sql.parameter_at[i] + 1; planner->sql.text.data[from] >= '0' && planner->sql.text.data[from] <= '9';) {
            from++; // the number behind the $
        }
    }
    for (uint32_t i = 0; i < planner->n_stamps; i++) {
        put_part(many, write, from, planner->stamps[i] - 1); // the $ has no number yet
        rest_sql_text(many, "q.p");
        rest_sql_number(many, planner->sql.n_parameters + 1);
        from = planner->stamps[i];
    }
    put_part(many, write, from, write->set_end);
}

// What each row is found by, as `o`; with what it was before, if that is to come back.
static void put_many_rows(struct rest_sql *many, const struct write *write)
{
    const struct planner *planner = write->planner;
    rest_sql_text(many, ", LATERAL (SELECT k.ctid AS \"_caucus_at\"");
    for (uint32_t i = 0; write->old == OLD_FROM_JOIN && i < write->n_shape; i++) {
        rest_sql_text(many, ", k.");
        rest_sql_name(many, write->table->columns[write->shape[i]].name);
    }
    rest_sql_text(many, " FROM ");
    rest_sql_text(many, write->table->qualified);
    for (uint32_t i = 0; i < planner->root->n_conditions; i++) {
        struct cc_slice name = planner->root->conditions[i]->filter.field.name;
        int32_t column = rest_table_column(write->table, name);
        assert(column >= 0);
        rest_sql_text(many, i == 0 ? " AS k WHERE k." : " AND k.");
        rest_sql_identifier(many, name);
        rest_sql_text(many, " = ");
        put_many_value(many, write->payload.n_columns + i + 1, write->table->columns[column].base_type);
    }
    rest_sql_text(many, " OFFSET 0) AS o WHERE t0.ctid = o.\"_caucus_at\"");
}

// "UPDATE t AS t0 SET c = q.p1::type FROM unnest($1, ...) AS q(p1, ..., n), LATERAL (SELECT ctid ...) AS o WHERE t0.ctid = ... RETURNING ...,
// q.n". Rows are looked up in a loop (OFFSET 0), each by the index: as a plain join it might be planned to read the whole table, and the
// plan is kept while the table grows. The inner SELECT hides the length of the arrays from the planner.
static void give_many(struct write *write)
{
    const struct planner *planner = write->planner;
    uint32_t n = planner->sql.n_parameters + write_is_weak(write); // and stamps
    struct rest_sql many;
    rest_sql_init(&many, planner->arena);
    put_many_set(&many, write);
    for (uint32_t i = 1; i <= n; i++) {
        rest_sql_text(&many, i == 1 ? " FROM unnest((SELECT $" : ", (SELECT $");
        rest_sql_number(&many, i);
        rest_sql_text(&many, "::text[])");
    }
    for (uint32_t i = 1; i <= n; i++) {
        rest_sql_text(&many, i == 1 ? ") WITH ORDINALITY AS q(p" : ", p");
        rest_sql_number(&many, i);
    }
    rest_sql_text(&many, ", n)");
    put_many_rows(&many, write);
    put_part(&many, write, write->returning_at, planner->sql.text.n);
    rest_sql_text(&many, ", q.n");
    planner->plan->statement.many = cc_arena_slice(planner->arena, cc_buffer_slice(&many.text));
    planner->plan->statement.many_key_at = write->payload.n_columns;
    rest_sql_finish(&many);
}

bool write_finish(struct write *write, enum rest_statement_kind kind, bool with_set)
{
    write->returning_at = write->planner->sql.text.n;
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
    statement->weak = write_is_weak(write);
    statement->captured = write->captured;
    planner->may_say = write->captured && planner->catalog->writes_response;
    statement->runs_code = write->captured || planner->runs_code || planner->handler != NULL;
    statement->single = plan_is_singular(planner);
    statement->body_is_array = planner->preferences.representation == REST_RETURN_REPRESENTATION &&
                               (format == REST_FORMAT_ARRAY || format == REST_FORMAT_ARRAY_STRIPPED || format == REST_FORMAT_GEOJSON);
    if (!write->captured) {
        give_shape(write, with_set);
    } else {
        statement->shape.table = cc_slice_text(write->table->qualified);
    }
    if (kind == REST_UPDATE && is_update_by_key(write)) {
        give_many(write);
    }
    size_t n_behind_row = planner->sql.text.n - write->row_end, n_body = planner->sql.text.n - write->body_at;
    bool repeatable = may_repeat_row(write);
    plan_take_sql(planner);
    if (repeatable) { // the row may have become longer: numbers of stamps
        statement->row_at = (uint32_t)write->row_at;
        statement->row_n = (uint32_t)(statement->sql.n - n_behind_row - write->row_at);
        statement->row_parameters = write->cast ? write->n_row_parameters : 0;
    }
    if (write->rows != NULL) {
        assert(statement->row_parameters == write->payload.n_columns);
        give_rows(write);
    }
    if (statement->row_parameters > 0 && statement->row_parameters == write->payload.n_columns && !write->table->has_merge_types) {
        give_given(write, n_body);
    }
    return true;
}

// The answer of a write that has nothing to do.
bool write_answer_nothing(struct planner *planner)
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

bool write_start(struct planner *planner, struct write *write)
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

bool write_put_precondition(struct write *write, const char *before)
{
    struct planner *planner = write->planner;
    struct cc_slice if_match = planner->plan->facts.if_match;
    planner->plan->statement.precondition = planner->plan->statement.precondition || if_match.data != NULL;
    if (if_match.data == NULL || rest_etag_is_star(if_match)) {
        return true;
    }
    write_put_text(write, before);
    if (!plan_put_row_hash(planner, planner->root)) {
        return false;
    }
    write_put_text(write, " = ANY(");
    rest_sql_parameter(&planner->sql, rest_etag_hashes(if_match, planner->arena));
    write_put_text(write, "::text[])");
    return true;
}
