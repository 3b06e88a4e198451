// Tree: the select list resolved over the catalog, with filters, orders and limits at their places.
#include "rest/plan_internal.h"

#include "rest/vector.h"

#include <string.h>

static bool build_children(struct planner *planner, struct plan_node *node);

bool plan_is_to_many(const struct plan_node *node)
{
    enum plan_cardinality cardinality = node->relationship.cardinality;
    bool holds_key = cardinality == PLAN_MANY_TO_ONE || cardinality == PLAN_ONE_TO_ONE;
    return !holds_key;
}

struct plan_node *plan_child(const struct plan_node *node, struct cc_slice name)
{
    for (uint32_t i = 0; i < node->n_children; i++) {
        if (cc_slice_equal(node->children[i]->name, name)) {
            return node->children[i];
        }
    }
    for (uint32_t i = 0; i < node->n_children; i++) {
        if (cc_slice_equal(node->children[i]->target, name)) {
            return node->children[i];
        }
    }
    return NULL;
}

static void note_class(struct planner *planner, const struct rest_table *table)
{
    bool weak = table->consistency == REST_WEAK || (rest_table_is_view(table) && table->reads_weak);
    bool strong = rest_table_is_view(table) ? table->reads_strong || !table->reads_weak : table->consistency == REST_STRONG;
    planner->plan->touches_weak = planner->plan->touches_weak || weak;
    planner->plan->touches_strong = planner->plan->touches_strong || strong;
    planner->reads_request = planner->reads_request || table->reads_request;
    planner->runs_code = planner->runs_code || table->runs_code;
}

static struct plan_node *new_node(struct planner *planner, const struct rest_table *table)
{
    struct plan_node *node = cc_arena_alloc(planner->arena, sizeof(*node));
    node->table = table;
    node->number = planner->n_nodes++;
    note_class(planner, table);
    return node;
}

static bool add_child(struct planner *planner, struct plan_node *parent, const struct rest_select *item)
{
    struct plan_relationship relationship;
    if (!plan_relationship_find(planner, parent->table, item, &relationship)) {
        return false;
    }
    struct plan_node *child = new_node(planner, relationship.target);
    if (relationship.junction != NULL) {
        note_class(planner, relationship.junction);
    }
    if (relationship.function != NULL) { // it may read any table, and look at the request
        planner->plan->touches_strong = true;
        planner->reads_request = planner->reads_request || planner->catalog->reads_request;
        planner->runs_code = true;
    }
    child->parent = parent;
    child->relationship = relationship;
    child->target = item->target;
    child->name = item->alias.data != NULL ? item->alias : item->target;
    child->spread = item->kind == REST_SELECT_SPREAD;
    child->join = item->join;
    child->n_items = item->n_items;
    child->items = item->items;
    parent->children =
        rest_vector_room(planner->arena, parent->children, parent->n_children, sizeof(struct plan_node *));
    parent->children[parent->n_children++] = child;
    return build_children(planner, child);
}

// "" is no name for PostgreSQL: as an alias, or as the last key of a path, which names the output.
static bool has_empty_name(const struct rest_select *item)
{
    if (item->alias.data != NULL) {
        return item->alias.n == 0;
    }
    for (uint32_t i = item->field.n_steps; i > 0; i--) {
        if (!item->field.steps[i - 1].is_index) {
            return item->field.steps[i - 1].key.n == 0;
        }
    }
    return false;
}

static bool check_names(struct planner *planner, const struct rest_select *item)
{
    if (has_empty_name(item)) {
        return plan_refuse(planner, REST_PARSE, "An output without a name", NULL, "Give it an alias: name:column->\"\"");
    }
    if (item->alias.n > 63) {
        return plan_refuse(planner, REST_PARSE, "An alias is longer than 63 bytes", NULL, NULL);
    }
    return true;
}

static bool may_aggregate(struct planner *planner, const struct plan_node *node)
{
    for (uint32_t i = 0; !planner->request->options.aggregates && i < node->n_items; i++) {
        if (node->items[i].aggregate != REST_AGGREGATE_NONE) {
            return plan_refuse(planner, REST_AGGREGATES_OFF, "Use of aggregate functions is not allowed", NULL, NULL);
        }
    }
    return true;
}

static bool is_bare_count(const struct rest_table *table, const struct rest_select *item)
{
    return item->kind == REST_SELECT_FIELD && item->aggregate == REST_AGGREGATE_NONE && item->field.n_steps == 0 &&
           cc_slice_equal_text(item->field.name, "count") && rest_table_column(table, item->field.name) < 0;
}

// `count` of old clients, where no column is called so, is count(), also where aggregates are off.
static void name_counts(struct planner *planner, struct plan_node *node)
{
    struct rest_select *items = NULL;
    for (uint32_t i = 0; i < node->n_items; i++) {
        if (!is_bare_count(node->table, &node->items[i])) {
            continue;
        }
        if (items == NULL) {
            items = cc_arena_array(planner->arena, node->n_items, sizeof(*items));
            memcpy(items, node->items, node->n_items * sizeof(*items));
        }
        items[i].aggregate = REST_COUNT;
        items[i].field = (struct rest_field){0};
        items[i].aggregate_cast = items[i].cast;
        items[i].cast = (struct cc_slice){0};
    }
    node->items = items == NULL ? node->items : items;
}

static bool build_children(struct planner *planner, struct plan_node *node)
{
    if (!may_aggregate(planner, node)) {
        return false;
    }
    name_counts(planner, node);
    for (uint32_t i = 0; i < node->n_items; i++) {
        const struct rest_select *item = &node->items[i];
        if (!check_names(planner, item)) {
            return false;
        }
        bool is_embed = item->kind == REST_SELECT_EMBED || item->kind == REST_SELECT_SPREAD;
        if (is_embed && !add_child(planner, node, item)) {
            return false;
        }
    }
    return true;
}

// As PostgREST warns.
static void warn_of_target(struct planner *planner, const struct plan_node *node, struct cc_slice name)
{
    if (!cc_slice_equal(node->name, name)) {
        int n = (int)node->name.n;
        planner->plan->facts.warning = plan_text(planner,
                                                 "299 caucus \"Embedded resource was referenced by relation name even though it has an alias. This is deprecated and will "
                                                 "stop working in a future release. Update `%.*s` to `%.*s` in query string filters, orders or limits.\"",
                                                 (int)name.n, (const char *)name.data, n, (const char *)node->name.data);
    }
}

// The node that a path names.
static bool find_node(struct planner *planner, const struct rest_embed_path *path, struct plan_node **out)
{
    struct plan_node *node = planner->root;
    for (uint32_t i = 0; i < path->n_names; i++) {
        struct cc_slice name = path->names[i];
        node = plan_child(node, name);
        if (node == NULL) {
            return plan_refuse(planner, REST_NOT_EMBEDDED,
                               plan_text(planner, "'%.*s' is not an embedded resource in this request", (int)name.n,
                                         (const char *)name.data),
                               NULL,
                               plan_text(planner, "Verify that '%.*s' is included in the 'select' query parameter.",
                                         (int)name.n, (const char *)name.data));
        }
        warn_of_target(planner, node, name);
    }
    *out = node;
    return true;
}

static bool place_conditions(struct planner *planner)
{
    for (uint32_t i = 0; i < planner->query.n_conditions; i++) {
        const struct rest_placed_condition *placed = &planner->query.conditions[i];
        struct plan_node *node = NULL;
        if (!find_node(planner, &placed->path, &node)) {
            return false;
        }
        node->conditions =
            rest_vector_room(planner->arena, node->conditions, node->n_conditions, sizeof(*node->conditions));
        node->conditions[node->n_conditions++] = &placed->condition;
    }
    return true;
}

// The first order of a node counts.
static bool place_orders(struct planner *planner)
{
    for (uint32_t i = 0; i < planner->query.n_orders; i++) {
        const struct rest_placed_order *placed = &planner->query.orders[i];
        struct plan_node *node = NULL;
        if (!find_node(planner, &placed->path, &node)) {
            return false;
        }
        for (uint32_t k = 0; k < placed->n_terms; k++) {
            node->orders = rest_vector_room(planner->arena, node->orders, node->n_orders, sizeof(*node->orders));
            node->orders[node->n_orders++] = &placed->terms[k];
        }
    }
    return true;
}

static bool place_ranges(struct planner *planner)
{
    for (uint32_t i = 0; i < planner->query.n_ranges; i++) {
        const struct rest_placed_range *placed = &planner->query.ranges[i];
        struct plan_node *node = NULL;
        if (!find_node(planner, &placed->path, &node)) {
            return false;
        }
        if (!placed->is_limit) {
            node->offset = placed->value < 0 ? 0 : placed->value;
        } else if (placed->value < 0) {
            return plan_refuse(planner, REST_RANGE, "Requested range not satisfiable",
                               "Limit should be greater than or equal to zero.", NULL);
        } else {
            node->has_limit = true;
            node->limit = placed->value;
        }
    }
    return true;
}

// Of the root, and of every list below it.
static void cap_rows(struct planner *planner, struct plan_node *node)
{
    uint64_t max = planner->request->options.rows_max;
    bool is_list = node->parent == NULL || plan_is_to_many(node);
    if (is_list && max > 0 && max < INT64_MAX && (!node->has_limit || (uint64_t)node->limit > max)) {
        node->has_limit = true;
        node->limit = (int64_t)max;
    }
    for (uint32_t i = 0; i < node->n_children; i++) {
        cap_rows(planner, node->children[i]);
    }
}

bool plan_tree_create(struct planner *planner, const struct rest_table *table)
{
    planner->table = table;
    planner->root = new_node(planner, table);
    planner->root->n_items = planner->query.n_items;
    planner->root->items = planner->query.items;
    planner->root->is_star = planner->query.n_items == 0;
    if (!build_children(planner, planner->root) || !place_conditions(planner) || !place_orders(planner) ||
        !place_ranges(planner)) {
        return false;
    }
    bool reads = planner->plan->facts.action == REST_ACTION_READ || planner->plan->facts.action == REST_ACTION_CALL;
    if (reads) { // a write answers with all of its rows
        cap_rows(planner, planner->root);
    }
    for (uint32_t i = 0; !reads && i < planner->root->n_children; i++) {
        cap_rows(planner, planner->root->children[i]);
    }
    return true;
}
