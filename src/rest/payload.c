// Payload: the rows that a write brings, checked against the catalog.
#include "rest/body.h"
#include "rest/plan_internal.h"

#include <string.h>

static bool refuse_body(struct planner *planner, const char *message, const char *details)
{
    return plan_refuse(planner, REST_BODY, message, details, NULL);
}

// CSV and forms become JSON. A copy, because the plan outlives the request.
static bool body_as_json(struct planner *planner, struct cc_slice *out)
{
    struct cc_slice type = rest_request_header(planner->request, "Content-Type");
    struct cc_slice body = planner->request->body;
    const char *reason = NULL;
    switch (rest_body_type(type)) {
    case REST_BODY_JSON:
        *out = cc_arena_slice(planner->arena, body);
        return true;
    case REST_BODY_CSV:
        return rest_body_of_csv(body, planner->arena, out, &reason) == CC_OK ||
               (reason == rest_body_ragged ? refuse_body(planner, reason, NULL) : refuse_body(planner, "Empty or invalid csv", reason));
    case REST_BODY_FORM:
        return rest_body_of_form(body, planner->arena, out, &reason) == CC_OK ||
               refuse_body(planner, "Invalid form", reason);
    case REST_BODY_TEXT:
    case REST_BODY_XML:
    case REST_BODY_BYTES:
    case REST_BODY_OTHER:
        break;
    }
    return refuse_body(
        planner, plan_text(planner, "Content-Type not acceptable: %.*s", (int)type.n, (const char *)type.data), NULL);
}

bool plan_body_scan(struct planner *planner, struct rest_json *out)
{
    struct cc_slice json = {0};
    const char *reason = NULL;
    if (!body_as_json(planner, &json)) {
        return false;
    }
    enum cc_status status = rest_json_scan(json, planner->arena, out, &reason);
    bool is_plain = status == CC_MALFORMED; // as PostgREST says it; what only Caucus refuses is explained
    return status == CC_OK || refuse_body(planner, "Empty or invalid json", is_plain ? NULL : reason);
}

// ---- columns

static bool missing_column(struct planner *planner, const struct rest_table *table, struct cc_slice name)
{
    return plan_missing(planner, REST_NO_COLUMN,
                        plan_text(planner, "Could not find the '%.*s' column of '%s' in the schema cache", (int)name.n,
                                  (const char *)name.data, table->name),
                        NULL, NULL);
}

static bool add_column(struct planner *planner, const struct rest_table *table, struct cc_slice name,
                       struct plan_payload *out)
{
    int32_t column = rest_table_column(table, name);
    if (column < 0) {
        return missing_column(planner, table, name);
    }
    for (uint32_t i = 0; i < out->n_columns; i++) {
        if (out->columns[i] == (uint32_t)column) {
            return true;
        }
    }
    out->columns[out->n_columns++] = (uint32_t)column;
    return true;
}

static bool read_columns(struct planner *planner, const struct rest_table *table, const struct rest_json *json,
                         struct plan_payload *out)
{
    const struct rest_query *query = &planner->query;
    uint32_t n = query->has_columns ? query->n_columns : json->n_members;
    out->columns = cc_arena_array(planner->arena, n, sizeof(*out->columns));
    for (uint32_t i = 0; i < n; i++) {
        if (!add_column(planner, table, query->has_columns ? query->columns[i] : json->members[i].key, out)) {
            return false;
        }
    }
    return true;
}

static bool read_operators(struct planner *planner, const struct rest_table *table, struct plan_payload *out)
{
    out->operators = cc_arena_array(planner->arena, out->n_columns, sizeof(*out->operators));
    for (uint32_t i = 0; i < out->n_columns; i++) {
        const struct rest_column *column = &table->columns[out->columns[i]];
        const struct rest_json_member *member = rest_json_find(out->n_members, out->members, column->name);
        if (member != NULL && !plan_operator_read(planner, column, &member->value, &out->operators[i])) {
            return false;
        }
        out->has_operators = out->has_operators || out->operators[i].kind != PLAN_VALUE;
    }
    return !out->has_operators || !out->bulk ||
           plan_refuse(planner, REST_OPERATOR, "Several rows cannot have $inc, $add or $remove", NULL,
                       "Send one row, or several operations to /_caucus/transaction");
}

bool plan_payload_read(struct planner *planner, const struct rest_table *table, struct plan_payload *out)
{
    struct rest_json json;
    *out = (struct plan_payload){.missing_default = planner->preferences.missing == REST_MISSING_DEFAULT};
    if (!plan_body_scan(planner, &json)) {
        return false;
    }
    bool is_array = json.value.kind == REST_JSON_ARRAY;
    if (!is_array && json.value.kind != REST_JSON_OBJECT) {
        return plan_refuse(planner, REST_BODY, "Empty or invalid json",
                           "The body must be an object or an array of objects.", NULL);
    }
    if (is_array && (!json.objects_only || (!json.uniform && !planner->query.has_columns))) {
        return plan_refuse(planner, REST_BODY, "All object keys must match", NULL, NULL);
    }
    out->n_rows = is_array ? json.n_elements : 1;
    out->bulk = out->n_rows > 1;
    out->raw = json.value.raw;
    out->n_members = json.n_members;
    out->members = json.members;
    return read_columns(planner, table, &json, out) && read_operators(planner, table, out);
}

// ---- values

static bool keeps_json(const char *base_type)
{
    return strcmp(base_type, "json") == 0 || strcmp(base_type, "jsonb") == 0;
}

// Arrays and composites from JSON arrays and objects: PostgreSQL's own conversion.
static void put_converted(struct planner *planner, const char *type, const struct rest_json_value *value)
{
    struct cc_buffer wrapped = {0};
    cc_buffer_append_text(&wrapped, "{\"v\":");
    cc_buffer_append_slice(&wrapped, value->raw);
    cc_buffer_append_text(&wrapped, "}");
    rest_sql_text(&planner->sql, "(SELECT v FROM json_to_record(");
    rest_sql_parameter(&planner->sql, cc_slice_of(cc_arena_text_n(planner->arena, wrapped.data, wrapped.n), wrapped.n));
    rest_sql_text(&planner->sql, "::json) AS _(v ");
    rest_sql_text(&planner->sql, type);
    rest_sql_text(&planner->sql, "))");
    cc_buffer_finish(&wrapped);
}

struct cc_slice plan_value_text(struct planner *planner, const char *base_type, const struct rest_json_value *value)
{
    return value->kind != REST_JSON_NULL && keeps_json(base_type) ? value->raw : rest_json_text(value, planner->arena);
}

void plan_put_value(struct planner *planner, const char *type, const char *base_type,
                    const struct rest_json_value *value)
{
    bool nested = value->kind == REST_JSON_ARRAY || value->kind == REST_JSON_OBJECT;
    if (nested && !keeps_json(base_type) && strcmp(base_type, "text") != 0) {
        put_converted(planner, type, value);
    } else {
        rest_sql_parameter(&planner->sql, plan_value_text(planner, base_type, value));
    }
}

// A value of a domain that says itself how it is read.
static void put_parsed(struct planner *planner, const char *json_in, const struct rest_json_value *value)
{
    rest_sql_text(&planner->sql, json_in);
    rest_sql_text(&planner->sql, "(");
    rest_sql_parameter(&planner->sql, value->kind == REST_JSON_NULL ? (struct cc_slice){0} : value->raw);
    rest_sql_text(&planner->sql, "::json)");
}

void plan_put_payload_value(struct planner *planner, const struct rest_table *table, const struct plan_payload *payload,
                            uint32_t column)
{
    const struct rest_json_member *member =
        rest_json_find(payload->n_members, payload->members, table->columns[column].name);
    const struct rest_column *info = &table->columns[column];
    if (member != NULL && info->json_in != NULL) {
        put_parsed(planner, info->json_in, &member->value);
    } else if (member != NULL) {
        plan_put_value(planner, info->type, info->base_type, &member->value);
    } else {
        rest_sql_text(&planner->sql, payload->missing_default ? "DEFAULT" : "NULL");
    }
}
