// Selects as SQL: lists, embedded relations as lateral joins, counts and bodies.
#include "rest/plan_internal.h"

#include "rest/vector.h"

#include <stdio.h>

static void put_text(struct planner *planner, const char *text)
{
    rest_sql_text(&planner->sql, text);
}

static void put_numbered(struct planner *planner, const char *letter, uint32_t number)
{
    rest_sql_text(&planner->sql, letter);
    rest_sql_number(&planner->sql, number);
}

// ---- output names

static const char *aggregate_name(enum rest_aggregate aggregate)
{
    switch (aggregate) {
    case REST_AGGREGATE_NONE:
        return "";
    case REST_SUM:
        return "sum";
    case REST_AVG:
        return "avg";
    case REST_COUNT:
        return "count";
    case REST_MAX:
        return "max";
    case REST_MIN:
        return "min";
    }
    return "";
}

// The alias, the aggregate, the last textual key of a path, or the column.
static struct cc_slice output_name(const struct rest_select *item)
{
    if (item->alias.data != NULL) {
        return item->alias;
    }
    if (item->aggregate != REST_AGGREGATE_NONE) {
        return cc_slice_text(aggregate_name(item->aggregate));
    }
    for (uint32_t i = item->field.n_steps; i > 0; i--) {
        if (!item->field.steps[i - 1].is_index) {
            return item->field.steps[i - 1].key;
        }
    }
    return item->field.name;
}

struct names {
    uint32_t n;
    struct cc_slice *names;
};

static void add_name(struct planner *planner, struct names *names, struct cc_slice name)
{
    names->names = rest_vector_room(planner->arena, names->names, names->n, sizeof(name));
    names->names[names->n++] = name;
}

static void add_all(struct planner *planner, struct names *names, const struct rest_table *table)
{
    for (uint32_t i = 0; i < table->n_columns; i++) {
        add_name(planner, names, cc_slice_text(table->columns[i].name));
    }
}

static void add_names(struct planner *planner, struct names *names, const struct plan_node *node)
{
    if (node->is_star) {
        add_all(planner, names, node->table);
    }
    uint32_t child = 0;
    for (uint32_t i = 0; i < node->n_items; i++) {
        const struct rest_select *item = &node->items[i];
        switch (item->kind) {
        case REST_SELECT_ALL:
            add_all(planner, names, node->table);
            break;
        case REST_SELECT_FIELD:
            add_name(planner, names, output_name(item));
            break;
        case REST_SELECT_EMBED:
            if (node->children[child++]->n_items > 0) {
                add_name(planner, names, node->children[child - 1]->name);
            }
            break;
        case REST_SELECT_SPREAD:
            add_names(planner, names, node->children[child++]);
            break;
        }
    }
}

static void put_csv_name(struct cc_buffer *out, struct cc_slice name)
{
    bool quote = false;
    for (size_t i = 0; i < name.n; i++) {
        quote = quote || name.data[i] == '"' || name.data[i] == ',' || name.data[i] == '\n' || name.data[i] == '\r';
    }
    cc_buffer_append_text(out, quote ? "\"" : "");
    for (size_t i = 0; i < name.n; i++) {
        cc_buffer_append(out, &name.data[i], 1);
        if (name.data[i] == '"') {
            cc_buffer_append(out, "\"", 1);
        }
    }
    cc_buffer_append_text(out, quote ? "\"" : "");
}

const char *plan_csv_header(struct planner *planner, const struct plan_node *node)
{
    struct names names = {0};
    add_names(planner, &names, node);
    struct cc_buffer out = {0};
    for (uint32_t i = 0; i < names.n; i++) {
        cc_buffer_append_text(&out, i == 0 ? "" : ",");
        put_csv_name(&out, names.names[i]);
    }
    const char *header = cc_arena_text_n(planner->arena, out.data, out.n);
    cc_buffer_finish(&out);
    return header;
}

// ---- lists

static bool put_cast(struct planner *planner, struct cc_slice name)
{
    if (name.data == NULL) {
        return true;
    }
    const char *type = plan_cast_type(planner, name);
    if (type == NULL) {
        return plan_missing(planner, REST_UNDEFINED_TYPE,
                           plan_text(planner, "type \"%.*s\" does not exist", (int)name.n, (const char *)name.data),
                           NULL, NULL);
    }
    put_text(planner, "::");
    put_text(planner, type);
    return true;
}

// The domain's own look of a column: the function that makes it; NULL: the value as it is. In CSV JSON would be quoted twice.
static const char *writer_of(struct planner *planner, const struct rest_column *column, bool *is_json)
{
    bool csv = planner->plan->facts.format == REST_FORMAT_CSV;
    const char *writer = csv && column->text_out != NULL ? column->text_out : column->json_out;
    *is_json = csv && writer != NULL && column->text_out == NULL;
    planner->reads_request = planner->reads_request || (writer != NULL && planner->catalog->reads_request);
    return writer;
}

static void put_shown_column(struct planner *planner, const struct plan_node *node, uint32_t column)
{
    bool is_json = false;
    const char *writer = writer_of(planner, &node->table->columns[column], &is_json);
    if (writer != NULL) {
        put_text(planner, is_json ? "(" : "");
        put_text(planner, writer);
        put_text(planner, "(");
    }
    plan_put_column(planner, node, column);
    put_text(planner, writer == NULL ? "" : is_json ? ") #>> '{}')" : ")");
}

// A column of the relation by its bare name, which is shown as its domain says; else -1.
static int32_t shown_column(const struct plan_node *node, const struct rest_select *item)
{
    bool bare = item->aggregate == REST_AGGREGATE_NONE && item->field.n_steps == 0;
    return bare ? rest_table_column(node->table, item->field.name) : -1;
}

static bool put_field_item(struct planner *planner, const struct plan_node *node, const struct rest_select *item)
{
    bool aggregate = item->aggregate != REST_AGGREGATE_NONE;
    int32_t shown = shown_column(node, item);
    put_text(planner, aggregate_name(item->aggregate));
    put_text(planner, aggregate ? "(" : "");
    if (shown >= 0) {
        put_shown_column(planner, node, (uint32_t)shown);
    } else if (aggregate && item->field.name.data == NULL) {
        put_text(planner, "*");
    } else if (!plan_put_field(planner, node, &item->field)) {
        return false;
    }
    if (!put_cast(planner, item->cast)) {
        return false;
    }
    put_text(planner, aggregate ? ")" : "");
    if (!put_cast(planner, item->aggregate_cast)) {
        return false;
    }
    put_text(planner, " AS ");
    rest_sql_identifier(&planner->sql, output_name(item));
    return true;
}

static void put_all(struct planner *planner, const struct plan_node *node)
{
    for (uint32_t i = 0; i < node->table->n_columns; i++) {
        put_text(planner, i == 0 ? "" : ", ");
        put_shown_column(planner, node, i);
        put_text(planner, " AS ");
        rest_sql_name(&planner->sql, node->table->columns[i].name);
    }
}

static void put_embedded(struct planner *planner, const struct plan_node *child)
{
    bool many = plan_is_to_many(child);
    put_text(planner, many ? "coalesce(" : "");
    put_numbered(planner, "e", child->number);
    put_text(planner, many ? ".j, '[]') AS " : ".j AS ");
    rest_sql_identifier(&planner->sql, child->name);
}

static void put_spread(struct planner *planner, const struct plan_node *child)
{
    bool many = plan_is_to_many(child);
    struct names names = {0};
    add_names(planner, &names, child);
    for (uint32_t i = 0; i < names.n; i++) {
        put_text(planner, i == 0 ? "" : ", ");
        put_text(planner, many ? "coalesce(" : "");
        put_numbered(planner, "e", child->number);
        put_text(planner, ".");
        rest_sql_identifier(&planner->sql, names.names[i]);
        put_text(planner, many ? ", '[]') AS " : " AS ");
        rest_sql_identifier(&planner->sql, names.names[i]);
    }
}

static bool item_is_empty(const struct rest_select *item)
{
    return (item->kind == REST_SELECT_EMBED || item->kind == REST_SELECT_SPREAD) && item->n_items == 0;
}

static bool put_item(struct planner *planner, const struct plan_node *node, const struct rest_select *item,
                     const struct plan_node *child)
{
    switch (item->kind) {
    case REST_SELECT_ALL:
        put_all(planner, node);
        return true;
    case REST_SELECT_FIELD:
        return put_field_item(planner, node, item);
    case REST_SELECT_EMBED:
        put_embedded(planner, child);
        return true;
    case REST_SELECT_SPREAD:
        put_spread(planner, child);
        return true;
    }
    return true;
}

static bool put_list(struct planner *planner, const struct plan_node *node)
{
    if (node->is_star) {
        put_all(planner, node);
    }
    uint32_t child = 0;
    bool first = !node->is_star;
    for (uint32_t i = 0; i < node->n_items; i++) {
        const struct rest_select *item = &node->items[i];
        bool is_child = item->kind == REST_SELECT_EMBED || item->kind == REST_SELECT_SPREAD;
        const struct plan_node *of_item = is_child ? node->children[child++] : NULL;
        if (item_is_empty(item)) {
            continue;
        }
        put_text(planner, first ? "" : ", ");
        first = false;
        if (!put_item(planner, node, item, of_item)) {
            return false;
        }
    }
    return true;
}

// ---- aggregates

static bool has_aggregate(const struct plan_node *node)
{
    for (uint32_t i = 0; i < node->n_items; i++) {
        if (node->items[i].aggregate != REST_AGGREGATE_NONE) {
            return true;
        }
    }
    return false;
}

static uint32_t outputs_of(struct planner *planner, const struct plan_node *node, const struct rest_select *item,
                           const struct plan_node *child)
{
    struct names names = {0};
    if (item->kind == REST_SELECT_ALL) {
        return node->table->n_columns;
    }
    if (item->kind == REST_SELECT_SPREAD) {
        add_names(planner, &names, child);
        return names.n;
    }
    return item_is_empty(item) ? 0 : 1;
}

// By its position in the list, or by the column itself where the list shows something made of it: JSON cannot be compared.
static void put_group_key(struct planner *planner, const struct plan_node *node, const struct rest_select *item, uint32_t nth,
                          uint32_t position)
{
    int32_t column = item->kind == REST_SELECT_ALL     ? (int32_t)nth
                     : item->kind == REST_SELECT_FIELD ? shown_column(node, item)
                                                       : -1;
    bool made = column >= 0 && item->cast.data == NULL && node->table->columns[column].json_out != NULL;
    if (made) {
        plan_put_column(planner, node, (uint32_t)column);
    } else {
        rest_sql_number(&planner->sql, position);
    }
}

// What is not aggregated is grouped by.
static void put_group_by(struct planner *planner, const struct plan_node *node)
{
    if (!has_aggregate(node)) {
        return;
    }
    uint32_t position = 0;
    uint32_t child = 0;
    bool first = true;
    for (uint32_t i = 0; i < node->n_items; i++) {
        const struct rest_select *item = &node->items[i];
        bool is_child = item->kind == REST_SELECT_EMBED || item->kind == REST_SELECT_SPREAD;
        uint32_t n = outputs_of(planner, node, item, is_child ? node->children[child++] : NULL);
        for (uint32_t k = 0; k < n; k++) {
            position++;
            if (item->aggregate == REST_AGGREGATE_NONE) {
                put_text(planner, first ? " GROUP BY " : ", ");
                put_group_key(planner, node, item, k, position);
                first = false;
            }
        }
    }
}

// ---- joins

static bool names_child(const struct rest_condition *condition, const struct plan_node *child)
{
    if (condition->kind == REST_CONDITION_FILTER) {
        struct cc_slice name = condition->filter.field.name;
        return cc_slice_equal(name, child->name) || cc_slice_equal(name, child->target);
    }
    for (uint32_t i = 0; i < condition->n_members; i++) {
        if (names_child(&condition->members[i], child)) {
            return true;
        }
    }
    return false;
}

// Joins that decide which rows of the node there are.
static bool decides(const struct plan_node *node, const struct plan_node *child)
{
    if (child->join == REST_JOIN_INNER) {
        return true;
    }
    for (uint32_t i = 0; i < node->n_conditions; i++) {
        if (names_child(node->conditions[i], child)) {
            return true;
        }
    }
    return false;
}

// Whether there is a row, as a column of a spread child, which has no column for all of it. No other column is called so.
static void put_presence_name(struct planner *planner)
{
    put_text(planner, "\"_caucus\"");
}

void plan_put_presence(struct planner *planner, const struct plan_node *child)
{
    put_numbered(planner, "e", child->number);
    put_text(planner, ".");
    if (child->spread) {
        put_presence_name(planner);
    } else {
        put_text(planner, "j");
    }
}

static bool put_spread_many(struct planner *planner, const struct plan_node *child)
{
    struct names names = {0};
    add_names(planner, &names, child);
    put_text(planner, "SELECT ");
    for (uint32_t i = 0; i < names.n; i++) {
        put_text(planner, "json_agg(r.");
        rest_sql_identifier(&planner->sql, names.names[i]);
        put_text(planner, ") AS ");
        rest_sql_identifier(&planner->sql, names.names[i]);
        put_text(planner, ", ");
    }
    put_text(planner, "nullif(count(*) > 0, false) AS ");
    put_presence_name(planner);
    put_text(planner, " FROM (");
    bool ok = plan_put_select(planner, child);
    put_text(planner, ") r");
    return ok;
}

static bool put_child(struct planner *planner, const struct plan_node *child)
{
    bool many = plan_is_to_many(child);
    if (child->spread && many && has_aggregate(child)) {
        return plan_refuse(planner, REST_SPREAD_AGGREGATE, "Feature not implemented",
                           "Aggregates are not implemented for one-to-many or many-to-many spreads.", NULL);
    }
    if (child->spread && many) {
        return put_spread_many(planner, child);
    }
    if (child->spread) {
        put_text(planner, "SELECT r.*, TRUE AS ");
        put_presence_name(planner);
        put_text(planner, " FROM (");
        bool ok = plan_put_select(planner, child);
        put_text(planner, ") r");
        return ok;
    }
    put_text(planner, many ? "SELECT json_agg(r.*) AS j FROM (" : "SELECT row_to_json(r.*) AS j FROM (");
    bool ok = plan_put_select(planner, child);
    put_text(planner, ") r");
    return ok;
}

static bool put_joins(struct planner *planner, const struct plan_node *node, bool counting)
{
    for (uint32_t i = 0; i < node->n_children; i++) {
        const struct plan_node *child = node->children[i];
        if (counting && !decides(node, child)) {
            continue;
        }
        bool inner = child->join == REST_JOIN_INNER;
        put_text(planner, inner ? " JOIN LATERAL (" : " LEFT JOIN LATERAL (");
        if (!put_child(planner, child)) {
            return false;
        }
        put_text(planner, ") AS ");
        put_numbered(planner, "e", child->number);
        put_text(planner, " ON ");
        if (inner && plan_is_to_many(child)) {
            plan_put_presence(planner, child);
            put_text(planner, " IS NOT NULL");
        } else {
            put_text(planner, "TRUE");
        }
    }
    return true;
}

// ---- selects

static void put_junction_column(struct planner *planner, const struct plan_node *node, uint32_t column)
{
    put_numbered(planner, "j", node->number);
    put_text(planner, ".");
    rest_sql_name(&planner->sql, node->relationship.junction->columns[column].name);
}

void plan_put_source(struct planner *planner, const struct plan_node *node)
{
    const struct rest_function *function = node->relationship.function;
    if (function != NULL) {
        put_text(planner, function->qualified);
        put_text(planner, "(");
        put_numbered(planner, "t", node->parent->number);
        put_text(planner, ".*)");
    } else if (node->parent == NULL && planner->source.data != NULL) {
        rest_sql_slice(&planner->sql, planner->source);
    } else {
        put_text(planner, node->table->qualified);
    }
}

static void put_from(struct planner *planner, const struct plan_node *node)
{
    put_text(planner, " FROM ");
    plan_put_source(planner, node);
    put_text(planner, " AS ");
    put_numbered(planner, "t", node->number);
    const struct rest_foreign_key *second = node->relationship.second;
    if (second == NULL) {
        return;
    }
    put_text(planner, " JOIN ");
    put_text(planner, node->relationship.junction->qualified);
    put_text(planner, " AS ");
    put_numbered(planner, "j", node->number);
    for (uint32_t i = 0; i < second->n_columns; i++) {
        put_text(planner, i == 0 ? " ON " : " AND ");
        put_junction_column(planner, node, second->from_columns[i]);
        put_text(planner, " = ");
        plan_put_column(planner, node, second->to_columns[i]);
    }
}

// The equalities with the parent. False when there is no parent.
static bool put_relationship(struct planner *planner, const struct plan_node *node)
{
    const struct rest_foreign_key *key = node->relationship.key;
    if (key == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < key->n_columns; i++) {
        put_text(planner, i == 0 ? " WHERE " : " AND ");
        if (node->relationship.junction != NULL) {
            put_junction_column(planner, node, key->from_columns[i]);
        } else {
            plan_put_column(planner, node, node->relationship.forward ? key->to_columns[i] : key->from_columns[i]);
        }
        put_text(planner, " = ");
        bool parent_is_from = node->relationship.forward;
        plan_put_column(planner, node->parent, parent_is_from ? key->from_columns[i] : key->to_columns[i]);
    }
    return true;
}

static bool put_where(struct planner *planner, const struct plan_node *node)
{
    bool related = put_relationship(planner, node);
    return plan_put_conditions(planner, node, related ? " AND " : " WHERE ");
}

static void put_limit(struct planner *planner, const struct plan_node *node)
{
    if (node->has_limit) {
        put_text(planner, " LIMIT ");
        rest_sql_parameter(&planner->sql, cc_slice_text(plan_text(planner, "%lld", (long long)node->limit)));
        put_text(planner, "::bigint");
    }
    if (node->offset > 0) {
        put_text(planner, " OFFSET ");
        rest_sql_parameter(&planner->sql, cc_slice_text(plan_text(planner, "%lld", (long long)node->offset)));
        put_text(planner, "::bigint");
    }
}

bool plan_put_select(struct planner *planner, const struct plan_node *node)
{
    put_text(planner, "SELECT ");
    if (!put_list(planner, node)) {
        return false;
    }
    put_from(planner, node);
    if (!put_joins(planner, node, false) || !put_where(planner, node)) {
        return false;
    }
    put_group_by(planner, node);
    if (!plan_put_order(planner, node)) {
        return false;
    }
    put_limit(planner, node);
    return true;
}

bool plan_put_countable(struct planner *planner, const struct plan_node *node)
{
    bool grouped = has_aggregate(node);
    put_text(planner, grouped ? "SELECT " : "SELECT 1");
    if (grouped && !put_list(planner, node)) {
        return false;
    }
    put_from(planner, node);
    if (!put_joins(planner, node, !grouped) || !put_where(planner, node)) {
        return false;
    }
    if (grouped) {
        put_group_by(planner, node);
    }
    return true;
}

bool plan_put_count(struct planner *planner, const struct plan_node *node)
{
    put_text(planner, "(SELECT count(*) FROM (");
    bool ok = plan_put_countable(planner, node);
    put_text(planner, ") g)");
    return ok;
}

// ---- bodies. `r.*` and not `r`: a column called r would be meant.

// The aggregate takes rows of the relation's own type.
static void put_handled(struct planner *planner)
{
    bool bytes = planner->plan->facts.raw_is_bytes;
    put_text(planner, bytes ? "encode(" : "");
    put_text(planner, planner->handler->qualified);
    put_text(planner, "((r.*)::");
    put_text(planner, planner->root->table->qualified);
    put_text(planner, bytes ? "), 'hex')" : ")::text");
}

void plan_put_aggregate(struct planner *planner)
{
    switch (planner->plan->facts.format) {
    case REST_FORMAT_RAW:
        put_handled(planner);
        return;
    case REST_FORMAT_ARRAY:
    case REST_FORMAT_OPENAPI:
        put_text(planner, "coalesce(json_agg(r.*), '[]')::text");
        return;
    case REST_FORMAT_GEOJSON:
        put_text(planner, "coalesce(json_agg(");
        put_text(planner, planner->catalog->geojson);
        put_text(planner, "(r.*)::json), '[]')::text");
        return;
    case REST_FORMAT_OBJECT:
        put_text(planner, "(json_agg(r.*)->0)::text");
        return;
    case REST_FORMAT_ARRAY_STRIPPED:
        put_text(planner, "json_strip_nulls(coalesce(json_agg(r.*), '[]'))::text");
        return;
    case REST_FORMAT_OBJECT_STRIPPED:
        put_text(planner, "json_strip_nulls(json_agg(r.*)->0)::text");
        return;
    case REST_FORMAT_CSV:
        put_text(planner, "string_agg(substring((r.*)::text, 2, length((r.*)::text) - 2), E'\\n')");
        return;
    }
}

static void put_row_of_format(struct planner *planner)
{
    switch (planner->plan->facts.format) {
    case REST_FORMAT_ARRAY:
    case REST_FORMAT_OBJECT:
    case REST_FORMAT_OPENAPI:
    case REST_FORMAT_RAW:
        put_text(planner, "row_to_json(r.*)::text");
        return;
    case REST_FORMAT_GEOJSON:
        put_text(planner, planner->catalog->geojson);
        put_text(planner, "(r.*)::text");
        return;
    case REST_FORMAT_ARRAY_STRIPPED:
    case REST_FORMAT_OBJECT_STRIPPED:
        put_text(planner, "json_strip_nulls(row_to_json(r.*))::text");
        return;
    case REST_FORMAT_CSV:
        put_text(planner, "substring((r.*)::text, 2, length((r.*)::text) - 2)");
        return;
    }
}

static void put_hash_begin(struct planner *planner)
{
    put_text(planner, "left(encode(sha256(convert_to(");
}

static void put_hash_end(struct planner *planner)
{
    put_text(planner, ", 'UTF8')), 'hex'), 32)");
}

// The rows are read again when it is one: those of a large answer are only counted.
bool plan_put_head(struct planner *planner)
{
    enum rest_format format = planner->plan->facts.format;
    if (format != REST_FORMAT_ARRAY && format != REST_FORMAT_OBJECT) {
        put_text(planner, "NULL::text");
        return true;
    }
    put_text(planner, "CASE WHEN count(*) = 1 THEN (SELECT ");
    put_hash_begin(planner);
    put_text(planner, "row_to_json(q.*)::text");
    put_hash_end(planner);
    put_text(planner, " FROM (");
    bool ok = plan_put_select(planner, planner->root);
    put_text(planner, ") q) END");
    return ok;
}

bool plan_put_row_hash(struct planner *planner, const struct plan_node *node)
{
    enum rest_format format = planner->plan->facts.format;
    put_hash_begin(planner);
    planner->plan->facts.format = REST_FORMAT_OBJECT;
    bool ok = plan_put_row_body(planner, node);
    planner->plan->facts.format = format;
    put_hash_end(planner);
    return ok;
}

bool plan_put_row_body(struct planner *planner, const struct plan_node *node)
{
    if (has_aggregate(node)) {
        return plan_refuse(planner, REST_AGGREGATES_OFF, "Use of aggregate functions is not allowed",
                           "A write answers with rows.", NULL);
    }
    put_text(planner, "(SELECT ");
    put_row_of_format(planner);
    put_text(planner, " FROM (SELECT ");
    if (!put_list(planner, node)) {
        return false;
    }
    if (node->n_children > 0) {
        put_text(planner, " FROM (SELECT) AS one");
        if (!put_joins(planner, node, false)) {
            return false;
        }
    }
    put_text(planner, ") r)");
    return true;
}
