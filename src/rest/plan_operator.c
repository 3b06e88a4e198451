// Operators in the place of a value: {"$inc": 1}, {"$add": [...], "$remove": [...]}; and how columns with merge types are set.
#include "rest/plan_internal.h"

#include <string.h>

static bool is_number_type(const char *base_type)
{
    static const char *const types[] = {"smallint", "integer", "bigint", "numeric", "real", "double precision"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(base_type, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_array_type(const char *base_type)
{
    size_t n = strlen(base_type);
    return n > 2 && strcmp(base_type + n - 2, "[]") == 0;
}

static bool refuse(struct planner *planner, const struct rest_column *column, const char *what, const char *hint)
{
    return plan_refuse(planner, REST_OPERATOR, plan_text(planner, "The value of column %s %s", column->name, what), NULL, hint);
}

static bool read_increment(struct planner *planner, const struct rest_column *column, uint32_t n, const struct rest_json_value *amount,
                           struct plan_operator *out)
{
    static const char hint[] = "Write {\"$inc\": 1}, or another number";
    if (!is_number_type(column->base_type)) {
        return refuse(planner, column, "is an increment, and the column is no number", "$inc is for smallint, integer, bigint, numeric, real, double precision");
    }
    if (n > 1 || (amount->kind != REST_JSON_NUMBER && amount->kind != REST_JSON_STRING)) {
        return refuse(planner, column, "is no increment by one number", hint);
    }
    *out = (struct plan_operator){.kind = PLAN_INCREMENT, .amount = amount};
    return true;
}

static bool read_elements(struct planner *planner, const struct rest_column *column, uint32_t n, const struct rest_json_member *members,
                          struct plan_operator *out)
{
    static const char hint[] = "Write {\"$add\": [...], \"$remove\": [...]}, or one of the two";
    struct plan_operator operator = {.kind = PLAN_ELEMENTS};
    if (!is_array_type(column->base_type)) {
        return refuse(planner, column, "adds or removes elements, and the column is no array", "$add and $remove are for arrays");
    }
    for (uint32_t i = 0; i < n; i++) {
        bool adds = cc_slice_equal_text(members[i].key, "$add");
        if ((!adds && !cc_slice_equal_text(members[i].key, "$remove")) || members[i].value.kind != REST_JSON_ARRAY) {
            return refuse(planner, column, "does not add or remove elements of a list", hint);
        }
        *(adds ? &operator.added : &operator.removed) = &members[i].value;
    }
    *out = operator;
    return true;
}

static bool keeps_objects(const struct rest_column *column)
{
    return strcmp(column->base_type, "json") == 0 || strcmp(column->base_type, "jsonb") == 0;
}

bool plan_operator_read(struct planner *planner, const struct rest_column *column, const struct rest_json_value *value,
                        struct plan_operator *out)
{
    *out = (struct plan_operator){0};
    if (value->kind != REST_JSON_OBJECT || keeps_objects(column)) {
        return true;
    }
    uint32_t n = 0;
    struct rest_json_member *members = NULL;
    rest_json_members(value, planner->arena, &n, &members);
    if (n == 0 || members[0].key.n == 0 || members[0].key.data[0] != '$') {
        return true; // a composite, or PostgreSQL says what is wrong
    }
    if (cc_slice_equal_text(members[0].key, "$inc")) {
        return read_increment(planner, column, n, &members[0].value, out);
    }
    if (cc_slice_equal_text(members[0].key, "$add") || cc_slice_equal_text(members[0].key, "$remove")) {
        return read_elements(planner, column, n, members, out);
    }
    return refuse(planner, column, "names an operator that there is not", "Operators are $inc, $add and $remove");
}

// -- SQL --------------------------------------------------------------------------------------------------------------

static void put_cast(struct planner *planner, const char *type)
{
    rest_sql_text(&planner->sql, "::");
    rest_sql_text(&planner->sql, type);
}

// The column as it is; in a new row, its constant default.
static void put_current(struct planner *planner, const struct rest_column *column, const char *alias, const char *nothing)
{
    if (alias == NULL) {
        rest_sql_literal(&planner->sql, column->constant_default != NULL ? column->constant_default : nothing);
        put_cast(planner, column->type);
        return;
    }
    rest_sql_text(&planner->sql, "coalesce(");
    rest_sql_text(&planner->sql, alias);
    rest_sql_text(&planner->sql, ".");
    rest_sql_name(&planner->sql, column->name);
    rest_sql_text(&planner->sql, ", ");
    rest_sql_literal(&planner->sql, nothing);
    rest_sql_text(&planner->sql, ")");
}

static void put_increment(struct planner *planner, const struct rest_column *column, const struct plan_operator *operator, const char *alias)
{
    put_current(planner, column, alias, "0");
    rest_sql_text(&planner->sql, " + ");
    rest_sql_parameter(&planner->sql, rest_json_text(operator->amount, planner->arena));
    put_cast(planner, column->base_type);
}

static void put_list(struct planner *planner, const struct rest_column *column, const struct rest_json_value *list)
{
    if (list == NULL) {
        rest_sql_text(&planner->sql, "'{}'");
        put_cast(planner, column->type);
    } else {
        plan_put_value(planner, column->type, column->base_type, list);
    }
}

// Elements keep their order, what is new comes last; in a set all are in order.
static void put_elements(struct planner *planner, const struct rest_column *column, const struct plan_operator *operator, const char *alias,
                         bool is_set)
{
    rest_sql_text(&planner->sql, "(SELECT coalesce(array_agg(e ORDER BY ");
    rest_sql_text(&planner->sql, is_set ? "e::text COLLATE \"C\"" : "n");
    rest_sql_text(&planner->sql, "), '{}')");
    put_cast(planner, column->type);
    rest_sql_text(&planner->sql, " FROM (SELECT e, min(n) AS n FROM (SELECT e, n FROM unnest(");
    put_current(planner, column, alias, "{}");
    rest_sql_text(&planner->sql, ") WITH ORDINALITY AS h(e, n) UNION ALL SELECT e, n + 1000000000 FROM unnest(");
    put_list(planner, column, operator->added);
    rest_sql_text(&planner->sql, ") WITH ORDINALITY AS a(e, n)) u GROUP BY e) d WHERE e IS NOT NULL AND NOT EXISTS (SELECT FROM unnest(");
    put_list(planner, column, operator->removed);
    rest_sql_text(&planner->sql, ") AS r(e) WHERE r.e = d.e))");
}

void plan_put_operator(struct planner *planner, const struct rest_column *column, const struct plan_operator *operator, const char *alias,
                       bool is_set)
{
    switch (operator->kind) {
    case PLAN_VALUE:
        return;
    case PLAN_INCREMENT:
        put_increment(planner, column, operator, alias);
        return;
    case PLAN_ELEMENTS:
        put_elements(planner, column, operator, alias, is_set);
        return;
    }
}

// -- Plain values ---------------------------------------------------------------------------------------------------------

static void put_literal(struct planner *planner, const struct rest_column *column, const char *value)
{
    rest_sql_literal(&planner->sql, value);
    put_cast(planner, column->type);
}

static void put_column(struct planner *planner, const struct rest_column *column, const char *alias)
{
    rest_sql_text(&planner->sql, alias);
    rest_sql_text(&planner->sql, ".");
    rest_sql_name(&planner->sql, column->name);
}

// What NULL amounts to where the row shows something already.
static void put_when_shown(struct planner *planner, const struct rest_column *column, const char *alias, const char *nothing)
{
    rest_sql_text(&planner->sql, " WHEN ");
    put_column(planner, column, alias);
    rest_sql_text(&planner->sql, " IS NOT NULL THEN ");
    put_literal(planner, column, nothing);
}

// Each element once, in order, without NULLs; elements are the same when their texts are.
static void open_set(struct planner *planner, const struct rest_column *column, const char *alias)
{
    rest_sql_text(&planner->sql, "(SELECT CASE WHEN v IS NOT NULL THEN (SELECT coalesce(array_agg(e ORDER BY e::text COLLATE \"C\"), '{}')");
    put_cast(planner, column->type);
    rest_sql_text(&planner->sql, " FROM (SELECT DISTINCT ON (e::text COLLATE \"C\") e FROM unnest(v) AS a(e) WHERE e IS NOT NULL) d)");
    if (alias != NULL && !column->not_null) {
        put_when_shown(planner, column, alias, "{}");
    }
    rest_sql_text(&planner->sql, " END FROM (SELECT ");
}

static void put_shown_before(struct planner *planner, const struct rest_column *column, const char *alias)
{
    if (alias != NULL) {
        put_column(planner, column, alias);
    } else {
        put_literal(planner, column, column->constant_default);
    }
}

// Texts are merged by their bytes.
static void open_extreme(struct planner *planner, const struct rest_column *column, const char *alias)
{
    bool text = strcmp(column->base_type, "text") == 0 || strcmp(column->base_type, "character varying") == 0;
    rest_sql_text(&planner->sql, column->merge == REST_MERGE_MAX ? "GREATEST(" : "LEAST(");
    put_shown_before(planner, column, alias);
    rest_sql_text(&planner->sql, text ? " COLLATE \"C\", " : ", ");
}

static bool may_be_null_count(const struct rest_column *column, const char *alias)
{
    return column->merge == REST_MERGE_COUNTER && !column->not_null && (column->constant_default != NULL || alias != NULL);
}

static bool is_extreme(const struct rest_column *column, const char *alias)
{
    bool merges = column->merge == REST_MERGE_MAX || column->merge == REST_MERGE_MIN;
    return merges && (alias != NULL || column->constant_default != NULL);
}

// A sum shows as many digits behind the point as any of its summands, so that it is the same text everywhere.
static bool keeps_digits(const struct rest_column *column, const char *alias)
{
    bool any_scale = strcmp(column->base_type, "numeric") == 0 && strchr(column->type, '(') == NULL;
    return column->merge == REST_MERGE_COUNTER && any_scale && (alias != NULL || column->constant_default != NULL);
}

static void put_digits(struct planner *planner, const struct rest_column *column, const char *alias)
{
    rest_sql_text(&planner->sql, " + coalesce(");
    put_shown_before(planner, column, alias);
    rest_sql_text(&planner->sql, " - ");
    put_shown_before(planner, column, alias);
    rest_sql_text(&planner->sql, ", 0))");
}

void plan_open_merged(struct planner *planner, const struct rest_column *column, const char *alias)
{
    if (keeps_digits(column, alias)) {
        rest_sql_text(&planner->sql, "(");
    }
    if (column->merge == REST_MERGE_SET) {
        open_set(planner, column, alias);
    } else if (is_extreme(column, alias)) {
        open_extreme(planner, column, alias);
    } else if (may_be_null_count(column, alias)) {
        rest_sql_text(&planner->sql, "coalesce(");
    }
}

void plan_close_merged(struct planner *planner, const struct rest_column *column, const char *alias)
{
    if (column->merge == REST_MERGE_SET) {
        put_cast(planner, column->type);
        rest_sql_text(&planner->sql, ") AS s(v))");
    } else if (is_extreme(column, alias)) {
        rest_sql_text(&planner->sql, ")");
    } else if (may_be_null_count(column, alias)) {
        put_cast(planner, column->type);
        rest_sql_text(&planner->sql, ", ");
        if (column->constant_default != NULL) {
            put_literal(planner, column, column->constant_default);
        } else {
            rest_sql_text(&planner->sql, "CASE");
            put_when_shown(planner, column, alias, "0");
            rest_sql_text(&planner->sql, " END");
        }
        rest_sql_text(&planner->sql, ")");
    } else if (keeps_digits(column, alias)) {
        put_cast(planner, column->type);
    }
    if (keeps_digits(column, alias)) {
        put_digits(planner, column, alias);
    }
}
