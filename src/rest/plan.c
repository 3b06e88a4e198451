// Plan: from the request line and headers to the right planner.
#include "rest/plan_internal.h"

#include "rest/openapi.h"
#include "rest/reply.h"
#include "rest/similar.h"
#include "rest/vector.h"
#include "rest/visible.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// ---- shared by the planners

const char *plan_text(struct planner *planner, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(n >= 0);
    char *text = cc_arena_alloc(planner->arena, (size_t)n + 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)n + 1, format, arguments);
    va_end(arguments);
    return text;
}

static void answer(struct planner *planner, enum rest_plan_kind kind, enum rest_error_code code, const char *message,
                   const char *details, const char *hint)
{
    struct rest_error error = {
        .code = cc_slice_text(rest_error_code_text(code)),
        .message = cc_slice_text(message),
        .details = cc_slice_text(details),
        .hint = cc_slice_text(hint),
        .details_is_json = code == REST_MANY_RELATIONSHIPS,
    };
    planner->plan->kind = kind;
    rest_reply_refuse(&error, rest_error_code_status(code), planner->arena, &planner->plan->answer);
}

bool plan_refuse(struct planner *planner, enum rest_error_code code, const char *message, const char *details,
                 const char *hint)
{
    answer(planner, REST_PLAN_ANSWER, code, message, details, hint);
    return false;
}

bool plan_missing(struct planner *planner, enum rest_error_code code, const char *message, const char *details,
                  const char *hint)
{
    answer(planner, REST_PLAN_NOT_IN_CATALOG, code, message, details, hint);
    return false;
}

bool plan_undefined_column(struct planner *planner, const struct rest_table *table, struct cc_slice name)
{
    return plan_missing(
        planner, REST_UNDEFINED_COLUMN,
        plan_text(planner, "column %s.%.*s does not exist", table->name, (int)name.n, (const char *)name.data), NULL,
        NULL);
}

bool plan_is_singular(const struct planner *planner)
{
    enum rest_format format = planner->plan->facts.format;
    return format == REST_FORMAT_OBJECT || format == REST_FORMAT_OBJECT_STRIPPED;
}

void plan_put_stamp(struct planner *planner)
{
    planner->stamps = rest_vector_room(planner->arena, planner->stamps, planner->n_stamps, sizeof(*planner->stamps));
    rest_sql_text(&planner->sql, "$");
    planner->stamps[planner->n_stamps++] = planner->sql.text.n;
    rest_sql_text(&planner->sql, "::text");
}

// The stamp's number is known only now: one more than the others.
static struct cc_slice with_stamp_numbers(struct planner *planner)
{
    struct cc_slice text = cc_buffer_slice(&planner->sql.text);
    struct cc_buffer out = {0};
    size_t from = 0;
    for (uint32_t i = 0; i < planner->n_stamps; i++) {
        cc_buffer_append(&out, text.data + from, planner->stamps[i] - from);
        cc_buffer_printf(&out, "%u", planner->sql.n_parameters + 1);
        from = planner->stamps[i];
    }
    cc_buffer_append(&out, text.data + from, text.n - from);
    struct cc_slice copy = cc_slice_of(cc_arena_text_n(planner->arena, out.data, out.n), out.n);
    cc_buffer_finish(&out);
    return copy;
}

void plan_take_sql(struct planner *planner)
{
    struct rest_statement *statement = &planner->plan->statement;
    statement->sql = with_stamp_numbers(planner);
    statement->n_parameters = planner->sql.n_parameters;
    statement->parameters = planner->sql.parameters;
}

// ---- the path

// "/", "/relation", "/rpc/function".
static bool read_path(struct planner *planner, bool *is_call)
{
    struct cc_slice path = planner->request->path;
    *is_call = false;
    if (path.n > 0 && path.data[0] == '/') {
        path = cc_slice_of(path.data + 1, path.n - 1);
    }
    if (path.n > 4 && memcmp(path.data, "rpc/", 4) == 0) {
        *is_call = true;
        path = cc_slice_of(path.data + 4, path.n - 4);
    }
    if (path.n == 0) {
        return true;
    }
    bool nested = memchr(path.data, '/', path.n) != NULL;
    if (nested || rest_percent_decode(path, false, planner->arena, &planner->relation) != CC_OK) {
        return plan_refuse(planner, REST_PATH, "Invalid path specified in request URL", NULL, NULL);
    }
    return true;
}

static const char *list_schemas(struct planner *planner)
{
    const char *list = "";
    for (uint32_t i = 0; i < planner->catalog->n_schemas; i++) {
        list = plan_text(planner, "%s%s%s", list, i == 0 ? "" : ", ", planner->catalog->schemas[i]);
    }
    return list;
}

static bool is_reading(const struct planner *planner)
{
    struct cc_slice method = planner->request->method;
    return cc_slice_equal_text(method, "GET") || cc_slice_equal_text(method, "HEAD") ||
           cc_slice_equal_text(method, "OPTIONS");
}

static bool read_schema(struct planner *planner)
{
    const struct rest_catalog *catalog = planner->catalog;
    struct cc_slice profile =
        rest_request_header(planner->request, is_reading(planner) ? "Accept-Profile" : "Content-Profile");
    planner->schema = catalog->schemas[0];
    bool known = profile.n == 0;
    for (uint32_t i = 0; i < catalog->n_schemas && !known; i++) {
        if (cc_slice_equal_text(profile, catalog->schemas[i])) {
            planner->schema = catalog->schemas[i];
            known = true;
        }
    }
    if (!known) {
        return plan_refuse(planner, REST_SCHEMA,
                           plan_text(planner, "Invalid schema: %.*s", (int)profile.n, (const char *)profile.data), NULL,
                           plan_text(planner, "Only the following schemas are exposed: %s", list_schemas(planner)));
    }
    planner->plan->facts.content_profile = catalog->n_schemas > 1 ? planner->schema : NULL;
    return true;
}

// ---- preferences

static bool read_preferences(struct planner *planner)
{
    struct rest_preferences *preferences = &planner->preferences;
    rest_prefer_read(planner->request, planner->arena, preferences);
    if (preferences->handling == REST_HANDLING_STRICT && preferences->unknown != NULL) {
        return plan_refuse(planner, REST_STRICT, "Invalid preferences given with handling=strict",
                           plan_text(planner, "Invalid preferences: %s", preferences->unknown), NULL);
    }
    if (!planner->request->options.roll_back_allowed) {
        preferences->tx = REST_TX_NONE;
    }
    return true;
}

static bool is_limited(const struct planner *planner)
{
    enum rest_action action = planner->plan->facts.action;
    bool limits = action == REST_ACTION_UPDATE || action == REST_ACTION_DELETE || action == REST_ACTION_CALL;
    return limits && planner->preferences.has_max_affected && planner->preferences.handling == REST_HANDLING_STRICT;
}

static void apply_preferences(struct planner *planner)
{
    struct rest_plan *plan = planner->plan;
    enum rest_action action = plan->facts.action;
    bool writes_rows = action != REST_ACTION_READ && action != REST_ACTION_CALL;
    struct rest_preferences applied = planner->preferences;
    applied.resolution = REST_RESOLUTION_NONE; // said by the planner of inserts
    applied.has_max_affected = is_limited(planner);
    applied.missing = writes_rows && action != REST_ACTION_DELETE ? applied.missing : REST_MISSING_NONE;
    applied.representation = writes_rows ? applied.representation : REST_RETURN_NONE;
    applied.durability = writes_rows || action == REST_ACTION_CALL ? applied.durability : REST_DURABILITY_NONE;
    applied.level = action == REST_ACTION_READ || action == REST_ACTION_CALL ? applied.level : REST_LEVEL_NONE;
    plan->facts.applied = applied;
    plan->statement.rows_max = applied.has_max_affected ? applied.max_affected : UINT64_MAX;
    plan->statement.roll_back = applied.tx == REST_TX_ROLLBACK;
}

static void read_preconditions(struct planner *planner)
{
    struct rest_reply_facts *facts = &planner->plan->facts;
    facts->if_match = cc_arena_slice(planner->arena, rest_request_header(planner->request, "If-Match"));
    facts->if_none_match = cc_arena_slice(planner->arena, rest_request_header(planner->request, "If-None-Match"));
}

static void choose_level(struct planner *planner)
{
    struct rest_plan *plan = planner->plan;
    plan->level = planner->preferences.level;
    plan->bounded_ms = planner->preferences.bounded_ms;
    if (plan->level == REST_LEVEL_NONE) {
        plan->level = plan->touches_strong || !plan->touches_weak ? REST_LEVEL_LINEARIZABLE : REST_LEVEL_SESSION;
    }
}

// ---- dispatch

// Parameters sorted by key; the values of a repeated key are joined by commas.
static const char *canonical_location(struct planner *planner)
{
    uint32_t n = planner->query.n_pairs;
    struct rest_pair *pairs = cc_arena_array(planner->arena, n, sizeof(*pairs));
    for (uint32_t i = 0; i < n; i++) { // insertion sort: few, and stable
        struct rest_pair pair = planner->query.pairs[i];
        uint32_t k = i;
        for (; k > 0 && cc_slice_compare(pairs[k - 1].key, pair.key) > 0; k--) {
            pairs[k] = pairs[k - 1];
        }
        pairs[k] = pair;
    }
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, "/");
    rest_percent_encode(&out, planner->relation);
    for (uint32_t i = 0; i < n; i++) {
        bool repeated = i > 0 && cc_slice_equal(pairs[i].key, pairs[i - 1].key);
        cc_buffer_append_text(&out, repeated ? "," : i == 0 ? "?" : "&");
        if (!repeated) {
            rest_percent_encode(&out, pairs[i].key);
            cc_buffer_append_text(&out, "=");
        }
        rest_percent_encode(&out, pairs[i].value);
    }
    const char *location = cc_arena_text_n(planner->arena, out.data, out.n);
    cc_buffer_finish(&out);
    return location;
}

static const char *encoded(struct planner *planner, struct cc_slice text)
{
    struct cc_buffer out = {0};
    rest_percent_encode(&out, text);
    const char *copy = cc_arena_text_n(planner->arena, out.data, out.n);
    cc_buffer_finish(&out);
    return copy;
}

static void give_location_facts(struct planner *planner, const struct rest_table *table)
{
    struct rest_reply_facts *facts = &planner->plan->facts;
    facts->relation = encoded(planner, planner->relation);
    facts->n_location_keys = table->n_key;
    facts->location_keys = cc_arena_array(planner->arena, table->n_key, sizeof(*facts->location_keys));
    for (uint32_t i = 0; i < table->n_key; i++) {
        facts->location_keys[i] = encoded(planner, cc_slice_text(table->columns[table->key[i]].name));
    }
}

static const char *similar_table(struct planner *planner)
{
    struct rest_similar similar;
    rest_similar_init(&similar, planner->relation);
    for (uint32_t i = 0; i < planner->catalog->n_tables; i++) {
        if (strcmp(planner->catalog->tables[i].schema, planner->schema) == 0) {
            rest_similar_try(&similar, planner->catalog->tables[i].name);
        }
    }
    return similar.best == NULL ? NULL : plan_text(planner, "Perhaps you meant the table '%s.%s'", planner->schema, similar.best);
}

static bool find_table(struct planner *planner, const struct rest_table **out)
{
    *out = rest_catalog_table(planner->catalog, planner->schema, planner->relation);
    if (*out != NULL) {
        return true;
    }
    return plan_missing(planner, REST_NO_TABLE,
                        plan_text(planner, "Could not find the table '%s.%.*s' in the schema cache", planner->schema,
                                  (int)planner->relation.n, (const char *)planner->relation.data),
                        NULL, similar_table(planner));
}

enum method { METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE, METHOD_OPTIONS };

static bool read_method(struct planner *planner, enum method *out)
{
    static const char *const methods[] = {
        [METHOD_GET] = "GET",     [METHOD_HEAD] = "HEAD",     [METHOD_POST] = "POST",       [METHOD_PUT] = "PUT",
        [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE", [METHOD_OPTIONS] = "OPTIONS",
    };
    struct cc_slice method = planner->request->method;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (cc_slice_equal_text(method, methods[i])) {
            *out = (enum method)i;
            return true;
        }
    }
    return plan_refuse(planner, REST_VERB,
                       plan_text(planner, "Unsupported HTTP method: %.*s", (int)method.n, (const char *)method.data),
                       NULL, NULL);
}

bool plan_answer_options(struct planner *planner, const char *allow)
{
    planner->plan->kind = REST_PLAN_ANSWER;
    planner->plan->answer = (struct rest_reply){.status = 200, .body = cc_slice_of("", 0)};
    rest_reply_add_header(&planner->plan->answer, planner->arena, "Allow", allow);
    return false;
}

static bool answer_table_options(struct planner *planner, const struct rest_table *table)
{
    return plan_answer_options(
        planner, plan_text(planner, "OPTIONS,GET,HEAD%s%s%s%s", table->insertable ? ",POST" : "",
                           table->insertable && table->updatable && table->n_key > 0 ? ",PUT" : "",
                           table->updatable ? ",PATCH" : "", table->deletable ? ",DELETE" : ""));
}

static enum rest_action action_of(enum method method, bool is_call)
{
    if (is_call) {
        return REST_ACTION_CALL;
    }
    switch (method) {
    case METHOD_GET:
    case METHOD_HEAD:
    case METHOD_OPTIONS:
        return REST_ACTION_READ;
    case METHOD_POST:
        return REST_ACTION_INSERT;
    case METHOD_PUT:
        return REST_ACTION_PUT;
    case METHOD_PATCH:
        return REST_ACTION_UPDATE;
    case METHOD_DELETE:
        return REST_ACTION_DELETE;
    }
    return REST_ACTION_READ;
}

static bool plan_relation(struct planner *planner, enum method method)
{
    const struct rest_table *table = NULL;
    if (!find_table(planner, &table)) {
        return false;
    }
    give_location_facts(planner, table);
    switch (method) {
    case METHOD_GET:
    case METHOD_HEAD:
        planner->plan->facts.content_location = canonical_location(planner);
        return plan_read(planner);
    case METHOD_POST:
        return plan_insert(planner);
    case METHOD_PUT:
        return plan_put(planner);
    case METHOD_PATCH:
        return plan_update(planner);
    case METHOD_DELETE:
        return plan_delete(planner);
    case METHOD_OPTIONS:
        return answer_table_options(planner, table);
    }
    return false;
}

static bool parse_query(struct planner *planner, bool with_arguments)
{
    struct rest_parse_error error = {0};
    if (rest_query_parse(planner->request->query, with_arguments, planner->arena, &planner->query, &error) != CC_OK) {
        return plan_refuse(planner, REST_PARSE, error.message, error.details, NULL);
    }
    return true;
}

static bool plan_root(struct planner *planner, enum method method)
{
    if (method == METHOD_OPTIONS) {
        return plan_answer_options(planner, "OPTIONS,GET,HEAD");
    }
    if (method != METHOD_GET && method != METHOD_HEAD) {
        return plan_refuse(planner, REST_VERB, "Only GET and HEAD are possible here", NULL, NULL);
    }
    if (!plan_add_identity(planner)) {
        return false;
    }
    planner->plan->kind = REST_PLAN_NOT_IN_CATALOG; // what a migration at another replica has just made is in it, too
    planner->plan->facts.is_description = true;
    planner->plan->facts.is_openapi_3 = planner->openapi_3;
    planner->plan->facts.schema = planner->schema;
    planner->plan->statement.kind = REST_READ;
    planner->plan->statement.sql = cc_slice_text(rest_visible_sql);
    if (plan_has_pre_request(planner)) {
        plan_add_request_settings(planner);
        plan_add_pre_request(planner);
    }
    rest_openapi_reply(planner->catalog, planner->schema, planner->openapi_3 ? REST_OPENAPI_3 : REST_OPENAPI_2,
                       method == METHOD_HEAD, planner->arena, &planner->plan->answer);
    return false;
}

static bool plan_request(struct planner *planner)
{
    enum method method = METHOD_GET;
    bool is_call = false;
    if (!read_method(planner, &method) || !read_path(planner, &is_call) || !read_schema(planner) ||
        !read_preferences(planner)) {
        return false;
    }
    planner->plan->facts.action = action_of(method, is_call);
    planner->plan->facts.head = method == METHOD_HEAD;
    bool with_arguments = is_call && (method == METHOD_GET || method == METHOD_HEAD);
    if (!parse_query(planner, with_arguments) || (!is_call && !plan_negotiate(planner, NULL))) {
        return false;
    }
    apply_preferences(planner);
    read_preconditions(planner);
    if (planner->relation.data == NULL) {
        return plan_root(planner, method);
    }
    bool planned = plan_add_identity(planner) && (is_call ? plan_call(planner) : plan_relation(planner, method));
    if (planned && (planner->reads_request || plan_has_pre_request(planner))) {
        plan_add_request_settings(planner);
    }
    if (planned) {
        plan_add_pre_request(planner);
    }
    if (planner->plan->statement.weak) { // replicas compare texts of weak values: they are always in UTC
        planner->plan->facts.applied.timezone = (struct cc_slice){0};
    }
    return planned;
}

void rest_plan_create(const struct rest_catalog *catalog, const struct rest_request *request, struct cc_arena *arena,
                      struct rest_plan *plan_out)
{
    *plan_out = (struct rest_plan){.facts = {.anonymous = request->identity.anonymous}};
    struct planner planner = {.catalog = catalog, .request = request, .arena = arena, .plan = plan_out};
    rest_sql_init(&planner.sql, arena);
    if (plan_request(&planner)) {
        choose_level(&planner);
        if (plan_out->facts.plan_type != NULL) {
            plan_explain(&planner);
        }
    }
    rest_sql_finish(&planner.sql);
}
