// Filters and orders as SQL: columns from the catalog, values as parameters.
#include "rest/plan_internal.h"

#include <string.h>

static void put_text(struct planner *planner, const char *text)
{
    rest_sql_text(&planner->sql, text);
}

static void put_alias(struct planner *planner, const struct plan_node *node)
{
    put_text(planner, "t");
    rest_sql_number(&planner->sql, node->number);
}

void plan_put_column(struct planner *planner, const struct plan_node *node, uint32_t column)
{
    put_alias(planner, node);
    put_text(planner, ".");
    rest_sql_name(&planner->sql, node->table->columns[column].name);
}

// ---- fields

// format_type() may leave out quotes that "qualified" has: compare without.
static bool same_type_name(const char *a, const char *b)
{
    for (;;) {
        a += *a == '"';
        b += *b == '"';
        if (*a != *b) {
            return false;
        }
        if (*a == '\0') {
            return true;
        }
        a++;
        b++;
    }
}

bool plan_takes_row(const struct rest_function *function, const struct rest_table *table)
{
    return function->n_arguments == 1 && same_type_name(function->arguments[0].type, table->qualified);
}

// A computed column: a function of that name over the table's row type.
static const struct rest_function *computed_column(const struct planner *planner, const struct rest_table *table,
                                                   struct cc_slice name)
{
    for (uint32_t i = 0; i < planner->catalog->n_functions; i++) {
        const struct rest_function *function = &planner->catalog->functions[i];
        bool fits = !function->returns_set && cc_slice_equal_text(name, function->name);
        if (fits && plan_takes_row(function, table)) {
            return function;
        }
    }
    return NULL;
}

static bool is_json(const char *type)
{
    return strcmp(type, "json") == 0 || strcmp(type, "jsonb") == 0;
}

static void put_step(struct planner *planner, const struct rest_path_step *step)
{
    put_text(planner, step->as_text ? "->>" : "->");
    rest_sql_parameter(&planner->sql, step->key);
    put_text(planner, step->is_index ? "::integer" : "::text");
}

// The column or computed column itself. base_type_out: NULL when unknown.
static bool put_base(struct planner *planner, const struct plan_node *node, struct cc_slice name,
                     const char **base_type_out)
{
    int32_t column = rest_table_column(node->table, name);
    if (column >= 0) {
        plan_put_column(planner, node, (uint32_t)column);
        *base_type_out = node->table->columns[column].base_type;
        return true;
    }
    const struct rest_function *function = computed_column(planner, node->table, name);
    if (function == NULL) {
        return plan_undefined_column(planner, node->table, name);
    }
    planner->reads_request = planner->reads_request || planner->catalog->reads_request;
    planner->runs_code = true;
    put_text(planner, function->qualified);
    put_text(planner, "(");
    put_alias(planner, node);
    put_text(planner, ".*)");
    *base_type_out = function->return_type;
    return true;
}

static const char *base_type_of(const struct planner *planner, const struct rest_table *table, struct cc_slice name)
{
    int32_t column = rest_table_column(table, name);
    if (column >= 0) {
        return table->columns[column].base_type;
    }
    const struct rest_function *function = computed_column(planner, table, name);
    return function == NULL ? "" : function->return_type;
}

bool plan_put_field(struct planner *planner, const struct plan_node *node, const struct rest_field *field)
{
    const char *base_type = NULL;
    if (field->n_steps == 0) {
        return put_base(planner, node, field->name, &base_type);
    }
    bool wrap = !is_json(base_type_of(planner, node->table, field->name));
    put_text(planner, wrap ? "(to_jsonb(" : "(");
    if (!put_base(planner, node, field->name, &base_type)) {
        return false;
    }
    put_text(planner, wrap ? ")" : "");
    for (uint32_t i = 0; i < field->n_steps; i++) {
        put_step(planner, &field->steps[i]);
    }
    put_text(planner, ")");
    return true;
}

// ---- values

static struct cc_slice star_to_percent(struct planner *planner, struct cc_slice value)
{
    uint8_t *text = (uint8_t *)cc_arena_text_n(planner->arena, value.data, value.n);
    for (size_t i = 0; i < value.n; i++) {
        if (text[i] == '*') {
            text[i] = '%';
        }
    }
    return cc_slice_of(text, value.n);
}

// A PostgreSQL array literal; every item is quoted, so none can be NULL.
static struct cc_slice array_literal(struct planner *planner, uint32_t n, const struct cc_slice *items)
{
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, "{");
    for (uint32_t i = 0; i < n; i++) {
        cc_buffer_append_text(&out, i == 0 ? "\"" : ",\"");
        for (size_t k = 0; k < items[i].n; k++) {
            uint8_t c = items[i].data[k];
            if (c == '"' || c == '\\') {
                cc_buffer_append_text(&out, "\\");
            }
            cc_buffer_append(&out, &c, 1);
        }
        cc_buffer_append_text(&out, "\"");
    }
    cc_buffer_append_text(&out, "}");
    struct cc_slice literal = cc_slice_of(cc_arena_text_n(planner->arena, out.data, out.n), out.n);
    cc_buffer_finish(&out);
    return literal;
}

// Elements of an array literal, each through the function that reads the domain's values.
static void put_parsed_elements(struct planner *planner, const char *text_in, struct cc_slice literal)
{
    put_text(planner, "SELECT ");
    put_text(planner, text_in);
    put_text(planner, "(v) FROM unnest(");
    rest_sql_parameter(&planner->sql, literal);
    put_text(planner, "::text[]) AS v");
}

static void put_parsed(struct planner *planner, const char *text_in, struct cc_slice value)
{
    put_text(planner, text_in);
    put_text(planner, "(");
    rest_sql_parameter(&planner->sql, value);
    put_text(planner, "::text)");
}

// text_in: reads the domain's values; NULL: PostgreSQL finds the value's type by itself.
static void put_compared(struct planner *planner, const struct rest_filter *filter, struct cc_slice value, const char *text_in)
{
    bool list = filter->quantifier != REST_QUANTIFIER_NONE;
    put_text(planner, " ");
    put_text(planner, rest_operator_info(filter->op)->sql);
    put_text(planner, filter->quantifier == REST_QUANTIFIER_ANY   ? " ANY("
                      : filter->quantifier == REST_QUANTIFIER_ALL ? " ALL("
                                                                  : " ");
    if (text_in == NULL) {
        rest_sql_parameter(&planner->sql, value);
    } else if (list) {
        put_parsed_elements(planner, text_in, value);
    } else {
        put_parsed(planner, text_in, value);
    }
    put_text(planner, list ? ")" : "");
}

// What reads values of the field's domain, NULL: nothing does.
static const char *reader_of(const struct plan_node *node, const struct rest_field *field)
{
    int32_t column = field->n_steps == 0 ? rest_table_column(node->table, field->name) : -1;
    return column < 0 ? NULL : node->table->columns[column].text_in;
}

static const char *is_text(enum rest_is is)
{
    switch (is) {
    case REST_IS_NULL:
        return " IS NULL";
    case REST_IS_NOT_NULL:
        return " IS NOT NULL";
    case REST_IS_TRUE:
        return " IS TRUE";
    case REST_IS_FALSE:
        return " IS FALSE";
    case REST_IS_UNKNOWN:
        return " IS UNKNOWN";
    }
    return "";
}

static void put_language(struct planner *planner, const struct rest_filter *filter)
{
    if (filter->language.data != NULL) {
        rest_sql_parameter(&planner->sql, filter->language);
        put_text(planner, "::regconfig, ");
    }
}

static bool put_text_search(struct planner *planner, const struct plan_node *node, const struct rest_filter *filter)
{
    bool is_vector =
        filter->field.n_steps == 0 && strcmp(base_type_of(planner, node->table, filter->field.name), "tsvector") == 0;
    if (!is_vector) {
        put_text(planner, "to_tsvector(");
        put_language(planner, filter);
    }
    if (!plan_put_field(planner, node, &filter->field)) {
        return false;
    }
    put_text(planner, is_vector ? " @@ " : ") @@ ");
    put_text(planner, rest_operator_info(filter->op)->sql);
    put_text(planner, "(");
    put_language(planner, filter);
    rest_sql_parameter(&planner->sql, filter->value);
    put_text(planner, ")");
    return true;
}

static void put_in(struct planner *planner, struct cc_slice literal, const char *reader)
{
    put_text(planner, " = ANY(");
    if (reader != NULL) {
        put_parsed_elements(planner, reader, literal);
    } else {
        rest_sql_parameter(&planner->sql, literal);
    }
    put_text(planner, ")");
}

static bool put_operation(struct planner *planner, const struct plan_node *node, const struct rest_filter *filter)
{
    enum rest_operator_form form = rest_operator_info(filter->op)->form;
    if (form == REST_FORM_FTS) {
        return put_text_search(planner, node, filter);
    }
    if (!plan_put_field(planner, node, &filter->field)) {
        return false;
    }
    const char *reader = reader_of(node, &filter->field);
    planner->reads_request = planner->reads_request || (reader != NULL && planner->catalog->reads_request);
    switch (form) {
    case REST_FORM_COMPARE:
        put_compared(planner, filter, filter->value, reader);
        return true;
    case REST_FORM_LIKE:
        put_compared(planner, filter, star_to_percent(planner, filter->value), NULL);
        return true;
    case REST_FORM_IN:
        put_in(planner, array_literal(planner, filter->n_items, filter->items), reader);
        return true;
    case REST_FORM_IS:
        put_text(planner, is_text(filter->is));
        return true;
    case REST_FORM_FTS:
        return true;
    }
    return true;
}

// embed=is.null: rows without, embed=not.is.null: rows with an embedded row.
static bool put_embed_filter(struct planner *planner, const struct plan_node *child, const struct rest_filter *filter)
{
    bool is_write =
        planner->plan->kind == REST_PLAN_WRITE && planner->plan->facts.action != REST_ACTION_CALL; // no joins there
    bool is_null = !is_write && filter->op == REST_IS && (filter->is == REST_IS_NULL || filter->is == REST_IS_NOT_NULL);
    if (!is_null) {
        return plan_refuse(planner, REST_EMBED_FILTER,
                           plan_text(planner, "Bad operator on the '%.*s' embedded resource", (int)child->name.n,
                                     (const char *)child->name.data),
                           "Only is null or not is null filters are allowed on embedded resources", NULL);
    }
    bool without = (filter->is == REST_IS_NULL) != filter->negated;
    plan_put_presence(planner, child);
    put_text(planner, without ? " IS NULL" : " IS NOT NULL");
    return true;
}

static bool put_filter(struct planner *planner, const struct plan_node *node, const struct rest_filter *filter)
{
    const struct plan_node *child = filter->field.n_steps == 0 && rest_table_column(node->table, filter->field.name) < 0
                                        ? plan_child(node, filter->field.name)
                                        : NULL;
    if (child != NULL) {
        return put_embed_filter(planner, child, filter);
    }
    put_text(planner, filter->negated ? "NOT (" : "");
    if (!put_operation(planner, node, filter)) {
        return false;
    }
    put_text(planner, filter->negated ? ")" : "");
    return true;
}

static bool put_condition(struct planner *planner, const struct plan_node *node, const struct rest_condition *condition)
{
    if (condition->kind == REST_CONDITION_FILTER) {
        return put_filter(planner, node, &condition->filter);
    }
    put_text(planner, condition->negated ? "NOT (" : "(");
    for (uint32_t i = 0; i < condition->n_members; i++) {
        put_text(planner, i == 0 ? "" : condition->kind == REST_CONDITION_AND ? " AND " : " OR ");
        if (!put_condition(planner, node, &condition->members[i])) {
            return false;
        }
    }
    put_text(planner, ")");
    return true;
}

bool plan_put_conditions(struct planner *planner, const struct plan_node *node, const char *before)
{
    for (uint32_t i = 0; i < node->n_conditions; i++) {
        put_text(planner, i == 0 ? before : " AND ");
        if (!put_condition(planner, node, node->conditions[i])) {
            return false;
        }
    }
    return true;
}

// ---- order

// order=rel(col): the embedded row's column, as a subquery of its own.
static bool put_related(struct planner *planner, const struct plan_node *node, const struct rest_order *order)
{
    const struct plan_node *child = plan_child(node, order->relation);
    int n = (int)order->relation.n;
    const char *name = (const char *)order->relation.data;
    if (child == NULL) {
        return plan_refuse(
            planner, REST_NOT_EMBEDDED,
            plan_text(planner, "'%.*s' is not an embedded resource in this request", n, name), NULL,
            plan_text(planner, "Verify that '%.*s' is included in the 'select' query parameter.", n, name));
    }
    if (plan_is_to_many(child)) {
        return plan_refuse(planner, REST_ORDER_BY_MANY,
                           plan_text(planner, "A related order on '%.*s' is not possible", n, name),
                           plan_text(planner, "'%s' and '%.*s' do not form a many-to-one or one-to-one relationship",
                                     node->table->name, n, name),
                           NULL);
    }
    struct plan_node other = *child; // under an alias of its own
    other.number = planner->n_nodes++;
    put_text(planner, "(SELECT ");
    if (!plan_put_field(planner, &other, &order->field)) {
        return false;
    }
    put_text(planner, " FROM ");
    plan_put_source(planner, &other);
    put_text(planner, " AS ");
    put_alias(planner, &other);
    const struct rest_foreign_key *key = other.relationship.key;
    if (key == NULL) {
        put_text(planner, " LIMIT 1)");
        return true;
    }
    bool forward = other.relationship.forward;
    const uint32_t *own = forward ? key->from_columns : key->to_columns;
    const uint32_t *theirs = forward ? key->to_columns : key->from_columns;
    for (uint32_t i = 0; i < key->n_columns; i++) {
        put_text(planner, i == 0 ? " WHERE " : " AND ");
        plan_put_column(planner, &other, theirs[i]);
        put_text(planner, " = ");
        plan_put_column(planner, node, own[i]);
    }
    put_text(planner, ")");
    return true;
}

bool plan_put_order_key(struct planner *planner, const struct plan_node *node, const struct rest_order *order)
{
    return order->relation.data != NULL ? put_related(planner, node, order)
                                        : plan_put_field(planner, node, &order->field);
}

void plan_put_direction(struct planner *planner, const struct rest_order *order)
{
    static const char *const directions[] = {
        [REST_DIRECTION_DEFAULT] = "", [REST_ASCENDING] = " ASC", [REST_DESCENDING] = " DESC"};
    static const char *const nulls[] = {
        [REST_NULLS_DEFAULT] = "", [REST_NULLS_FIRST] = " NULLS FIRST", [REST_NULLS_LAST] = " NULLS LAST"};
    put_text(planner, directions[order->direction]);
    put_text(planner, nulls[order->nulls]);
}

bool plan_put_order(struct planner *planner, const struct plan_node *node)
{
    for (uint32_t i = 0; i < node->n_orders; i++) {
        put_text(planner, i == 0 ? " ORDER BY " : ", ");
        if (!plan_put_order_key(planner, node, node->orders[i])) {
            return false;
        }
        plan_put_direction(planner, node->orders[i]);
    }
    return true;
}
