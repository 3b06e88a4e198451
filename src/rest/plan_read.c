// Reads: GET and HEAD of a relation as one statement.
#include "rest/plan_internal.h"

#include <stdlib.h>
#include <string.h>

static bool take_number(const char **at, int64_t *out)
{
    if (**at < '0' || **at > '9') {
        return false;
    }
    char *end = NULL;
    long long value = strtoll(*at, &end, 10);
    *at = end;
    *out = value > INT64_MAX / 4 ? INT64_MAX / 4 : value;
    return true;
}

// "a-b" or "a-"; anything else is ignored.
static bool read_range(struct planner *planner, int64_t *first, int64_t *last)
{
    struct cc_slice header = rest_request_header(planner->request, "Range");
    const char *at = cc_arena_text_n(planner->arena, header.data, header.n);
    if (!take_number(&at, first) || *at != '-') {
        return false;
    }
    at++;
    *last = INT64_MAX / 4;
    return *at == '\0' || (take_number(&at, last) && *at == '\0');
}

bool plan_read_range(struct planner *planner, struct plan_node *root)
{
    int64_t first = 0;
    int64_t last = 0;
    bool is_get = cc_slice_equal_text(planner->request->method, "GET");
    if (is_get && read_range(planner, &first, &last)) {
        if (first > last) {
            return plan_refuse(
                planner, REST_RANGE, "Requested range not satisfiable",
                "The lower boundary must be lower than or equal to the upper boundary in the Range header.", NULL);
        }
        int64_t end = root->has_limit ? root->offset + root->limit - 1 : INT64_MAX / 4;
        end = end < last ? end : last;
        root->offset = root->offset > first ? root->offset : first;
        root->has_limit = root->has_limit || end < INT64_MAX / 4;
        root->limit = end < root->offset ? 0 : end - root->offset + 1;
    }
    planner->plan->facts.offset = root->offset;
    return true;
}

// What this database holds, in the snapshot that is read: see rest_read_result.
void plan_put_position(struct planner *planner, bool with_frontier)
{
    rest_sql_text(&planner->sql, with_frontier ? "SELECT (SELECT concat(applied, (SELECT string_agg(concat(' ', replica, '.', incarnation, ':', sequence), '')"
                                                 " FROM caucus.frontier)) FROM caucus.applied)"
                                               : "SELECT (SELECT applied FROM caucus.applied)");
}

// count=estimated: exact up to rows_max, which one row more tells.
static bool put_bounded_total(struct planner *planner)
{
    uint64_t max = planner->request->options.rows_max;
    rest_sql_text(&planner->sql, "(SELECT count(*) FROM (");
    if (!plan_put_countable(planner, planner->root)) {
        return false;
    }
    rest_sql_text(&planner->sql, " LIMIT ");
    rest_sql_parameter(&planner->sql, cc_slice_text(plan_text(planner, "%llu", (unsigned long long)max + 1)));
    rest_sql_text(&planner->sql, "::bigint) g)");
    return true;
}

static bool put_total(struct planner *planner)
{
    const struct plan_node *root = planner->root;
    bool estimated = planner->preferences.count == REST_COUNT_ESTIMATED && planner->request->options.rows_max > 0;
    if (planner->preferences.count == REST_COUNT_NONE || planner->preferences.count == REST_COUNT_PLANNED) {
        rest_sql_text(&planner->sql, "NULL::bigint");
        return true;
    }
    if (estimated) {
        return put_bounded_total(planner);
    }
    if (!root->has_limit && root->offset == 0) {
        rest_sql_text(&planner->sql, "count(*)"); // the page is all
        return true;
    }
    return plan_put_count(planner, root);
}

// The statement that asks PostgreSQL's planner, made with a writer of its own.
static bool plan_estimate(struct planner *planner)
{
    enum rest_count count = planner->preferences.count;
    uint64_t max = planner->request->options.rows_max;
    if (count != REST_COUNT_PLANNED && !(count == REST_COUNT_ESTIMATED && max > 0)) {
        return true;
    }
    struct rest_sql saved = planner->sql;
    rest_sql_init(&planner->sql, planner->arena);
    rest_sql_text(&planner->sql, "EXPLAIN (FORMAT JSON) ");
    bool ok = plan_put_countable(planner, planner->root);
    const struct cc_buffer *text = &planner->sql.text;
    planner->plan->facts.estimate_above = count == REST_COUNT_ESTIMATED ? max : 0;
    planner->plan->estimate = (struct rest_statement){
        .kind = REST_READ,
        .sql = cc_slice_of(cc_arena_text_n(planner->arena, text->data, text->n), text->n),
        .n_parameters = planner->sql.n_parameters,
        .parameters = planner->sql.parameters,
        .n_settings = planner->plan->statement.n_settings,
        .settings = planner->plan->statement.settings,
    };
    rest_sql_finish(&planner->sql);
    planner->sql = saved;
    return ok;
}

const struct rest_filter *plan_equal_filter(const struct planner *planner, const char *column)
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

// At most one row, and nothing to be said of it but itself.
static bool is_one_row(const struct planner *planner)
{
    const struct plan_node *root = planner->root;
    enum rest_format format = planner->plan->facts.format;
    bool plain = root->table->kind == REST_TABLE && root->table->n_key > 0 && root->n_children == 0;
    bool is_json = format == REST_FORMAT_ARRAY || format == REST_FORMAT_OBJECT;
    bool only_row = !planner->plan->facts.head && planner->preferences.count == REST_COUNT_NONE && !plan_has_pre_request(planner);
    if (!plain || !is_json || !only_row) {
        return false;
    }
    for (uint32_t i = 0; i < root->table->n_key; i++) {
        if (plan_equal_filter(planner, root->table->columns[root->table->key[i]].name) == NULL) {
            return false;
        }
    }
    return true;
}

// Types whose values are the same whether their text is a parameter of its own or an element of an array that is cast.
static const char *type_of_lookup(const struct planner *planner, const struct rest_condition *condition)
{
    static const char *const types[] = {"uuid", "text", "character varying", "bigint", "integer", "smallint", "numeric"};
    const struct rest_table *table = planner->root->table;
    int32_t column = rest_table_column(table, condition->filter.field.name);
    bool has_reader = column < 0 || table->columns[column].text_in != NULL;
    for (size_t i = 0; !has_reader && i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(table->columns[column].base_type, types[i]) == 0) {
            return types[i];
        }
    }
    return NULL;
}

// NULL: not only the parameters decide what the row is.
static const struct rest_lookup *make_lookup(const struct planner *planner)
{
    uint32_t n = planner->root->n_conditions;
    bool by_key_only = n == planner->root->table->n_key && n == planner->sql.n_parameters; // each column of the key has a condition
    if (!by_key_only || planner->runs_code) {
        return NULL;
    }
    struct rest_lookup *lookup = cc_arena_alloc(planner->arena, sizeof(*lookup));
    *lookup = (struct rest_lookup){planner->sql.parameter_at, cc_arena_array(planner->arena, n, sizeof(*lookup->types))};
    for (uint32_t i = 0; i < n; i++) {
        lookup->types[i] = type_of_lookup(planner, planner->root->conditions[i]);
        if (lookup->types[i] == NULL) {
            return NULL;
        }
    }
    return lookup;
}

// Costs PostgreSQL a third less than an aggregate of one row: few columns, and no join.
static bool put_one_row(struct planner *planner)
{
    plan_put_position(planner, planner->plan->touches_weak);
    rest_sql_text(&planner->sql, ", (SELECT row_to_json(r.*)::text FROM (");
    if (!plan_put_select(planner, planner->root)) {
        return false;
    }
    rest_sql_text(&planner->sql, ") AS r)");
    planner->plan->statement.lookup = make_lookup(planner);
    return true;
}

static bool put_rows(struct planner *planner)
{
    plan_put_position(planner, planner->plan->touches_weak);
    rest_sql_text(&planner->sql, ", ");
    if (!planner->plan->facts.head) {
        plan_put_aggregate(planner);
    } else if (!plan_put_head(planner)) {
        return false;
    }
    rest_sql_text(&planner->sql, ", count(*), ");
    if (!put_total(planner)) {
        return false;
    }
    rest_sql_text(&planner->sql, plan_has_pre_request(planner) ? ", " PLAN_RESPONSE_SETTING("response.headers") ", " PLAN_RESPONSE_SETTING("response.status") " FROM ("
                                                               : " FROM (");
    if (!plan_put_select(planner, planner->root)) {
        return false;
    }
    rest_sql_text(&planner->sql, ") r");
    return true;
}

bool plan_read(struct planner *planner)
{
    struct rest_plan *plan = planner->plan;
    plan->kind = REST_PLAN_READ;
    plan->statement.kind = REST_READ;
    plan->facts.wants_body = !plan->facts.head;
    const struct rest_table *table = rest_catalog_table(planner->catalog, planner->schema, planner->relation);
    if (!plan_tree_create(planner, table) || !plan_read_range(planner, planner->root)) {
        return false;
    }
    if (plan->facts.format == REST_FORMAT_CSV) {
        plan->facts.csv_header = plan_csv_header(planner, planner->root);
    }
    if (!(is_one_row(planner) ? put_one_row(planner) : put_rows(planner))) {
        return false;
    }
    plan_take_sql(planner);
    return plan_estimate(planner);
}
