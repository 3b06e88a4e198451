// Settings of a statement: who asks, what their role has, what the request was.
#include "rest/plan_internal.h"

#include "rest/vector.h"

#include <string.h>
#include <strings.h>

enum { SETTINGS_OF_ROLE_MAX = 32 };

static void add_setting(struct planner *planner, const char *name, struct cc_slice value)
{
    struct rest_statement *statement = &planner->plan->statement;
    statement->settings =
        rest_vector_room(planner->arena, statement->settings, statement->n_settings, sizeof(*statement->settings));
    statement->settings[statement->n_settings++] = (struct rest_setting){
        .name = cc_slice_text(name),
        .value = cc_arena_slice(planner->arena, value),
    };
}

static bool is_superuser(const struct rest_catalog *catalog, struct cc_slice role)
{
    for (uint32_t i = 0; i < catalog->n_superusers; i++) {
        if (cc_slice_equal_text(role, catalog->superusers[i])) {
            return true;
        }
    }
    return false;
}

// What a role may have set that requests cannot have: who they are, how transactions end, and what our own texts rely on.
static const char *const never_of_roles[] = {
    "role",
    "session_authorization",
    "search_path",
    "client_encoding",
    "standard_conforming_strings",
    "synchronous_commit",
    "client_connection_check_interval",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
    "transaction_deferrable",
    NULL,
};
// Of writes: what replicas exchange are texts of values, which must look the same everywhere; and locks are nobody's limit there.
static const char *const never_of_writers[] = {
    "datestyle",         "intervalstyle", "extra_float_digits",    "bytea_output",       "xmloption",
    "xmlbinary",         "lc_monetary",   "quote_all_identifiers", "default_tablespace", "default_table_access_method",
    "check_function_bodies", "row_security", "client_min_messages", "lock_timeout", NULL,
};

static bool is_listed(const char *const *names, const char *name)
{
    for (; *names != NULL; names++) {
        if (strcasecmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_ours(const char *name)
{
    return strncasecmp(name, "request.", 8) == 0 || strncasecmp(name, "response.", 9) == 0 || strncasecmp(name, "caucus.", 7) == 0;
}

// As a login of the role would have them. A write is known by its method only: what it calls is not looked up yet.
static void add_settings_of_role(struct planner *planner, struct cc_slice role)
{
    struct cc_slice method = planner->request->method;
    bool reads = cc_slice_equal_text(method, "GET") || cc_slice_equal_text(method, "HEAD");
    const struct rest_role *found = NULL;
    for (uint32_t i = 0; i < planner->catalog->n_roles && found == NULL; i++) {
        found = cc_slice_equal_text(role, planner->catalog->roles[i].name) ? &planner->catalog->roles[i] : NULL;
    }
    for (uint32_t i = 0; found != NULL && i < found->n_settings && i < SETTINGS_OF_ROLE_MAX; i++) {
        const char *name = found->settings[i].name;
        if (!is_listed(never_of_roles, name) && !is_ours(name) && (reads || !is_listed(never_of_writers, name))) {
            add_setting(planner, name, cc_slice_text(found->settings[i].value));
        }
    }
}

bool plan_add_identity(struct planner *planner)
{
    const struct rest_identity *identity = &planner->request->identity;
    if (identity->role.data != NULL && is_superuser(planner->catalog, identity->role)) {
        return plan_refuse(planner, REST_ROLE_REFUSED,
                           plan_text(planner, "permission denied to set role \"%.*s\"", (int)identity->role.n,
                                     (const char *)identity->role.data),
                           NULL, NULL);
    }
    if (identity->role.data != NULL) {
        add_setting(planner, "role", identity->role);
        add_settings_of_role(planner, identity->role);
    }
    if (identity->claims.data != NULL) {
        add_setting(planner, "request.jwt.claims", identity->claims);
    }
    if (planner->preferences.timezone.data != NULL) {
        add_setting(planner, "timezone", planner->preferences.timezone);
    }
    const struct rest_options *options = &planner->request->options;
    for (uint32_t i = 0; i < options->n_settings; i++) {
        add_setting(planner, cc_arena_text_n(planner->arena, options->settings[i].name.data, options->settings[i].name.n),
                         options->settings[i].value);
    }
    return true;
}

static void put_lower(struct cc_buffer *out, struct cc_slice name)
{
    struct cc_buffer lower = {0};
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.data[i];
        c = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
        cc_buffer_append(&lower, &c, 1);
    }
    rest_json_put_string(out, cc_buffer_slice(&lower));
    cc_buffer_finish(&lower);
}

// All headers but Cookie, which has a setting of its own.
static void add_header_setting(struct planner *planner)
{
    struct cc_buffer json = {0};
    cc_buffer_append_text(&json, "{");
    for (uint32_t i = 0; i < planner->request->n_headers; i++) {
        const struct rest_header *header = &planner->request->headers[i];
        if (cc_slice_equal_fold(header->name, "cookie")) {
            continue;
        }
        cc_buffer_append_text(&json, json.n == 1 ? "" : ",");
        put_lower(&json, header->name);
        cc_buffer_append_text(&json, ":");
        rest_json_put_string(&json, rest_text_trim(header->value));
    }
    cc_buffer_append_text(&json, "}");
    add_setting(planner, "request.headers", cc_buffer_slice(&json));
    cc_buffer_finish(&json);
}

// "a=1; b=2" (RFC 6265) as {"a":"1","b":"2"}.
static void put_cookies(struct cc_buffer *json, struct cc_slice text)
{
    size_t at = 0;
    while (at < text.n) {
        size_t end = at;
        while (end < text.n && text.data[end] != ';') {
            end++;
        }
        struct cc_slice pair = rest_text_trim(cc_slice_of(text.data + at, end - at));
        const uint8_t *sign = pair.n == 0 ? NULL : memchr(pair.data, '=', pair.n);
        if (sign != NULL) {
            size_t n_name = (size_t)(sign - pair.data);
            cc_buffer_append_text(json, json->n == 1 ? "" : ",");
            rest_json_put_string(json, cc_slice_of(pair.data, n_name));
            cc_buffer_append_text(json, ":");
            rest_json_put_string(json, cc_slice_of(sign + 1, pair.n - n_name - 1));
        }
        at = end + 1;
    }
}

static void add_cookie_setting(struct planner *planner)
{
    struct cc_buffer json = {0};
    cc_buffer_append_text(&json, "{");
    put_cookies(&json, rest_request_header(planner->request, "Cookie"));
    cc_buffer_append_text(&json, "}");
    add_setting(planner, "request.cookies", cc_buffer_slice(&json));
    cc_buffer_finish(&json);
}

void plan_add_request_settings(struct planner *planner)
{
    add_setting(planner, "request.method", planner->request->method);
    add_setting(planner, "request.path", planner->request->path);
    add_header_setting(planner);
    add_cookie_setting(planner);
}

void plan_add_function_settings(struct planner *planner, const struct rest_function *function)
{
    for (uint32_t i = 0; i < function->n_settings; i++) {
        add_setting(planner, function->settings[i].name, cc_slice_text(function->settings[i].value));
    }
}

// ---- the function that is called before each request

bool plan_has_pre_request(const struct planner *planner)
{
    const char *name = planner->request->options.pre_request;
    return name != NULL && name[0] != '\0';
}

// "schema.name" or "name", quoted.
static void put_pre_request_name(struct rest_sql *sql, const char *name)
{
    const char *dot = strchr(name, '.');
    if (dot != NULL) {
        rest_sql_identifier(sql, cc_slice_of(name, (size_t)(dot - name)));
        rest_sql_text(sql, ".");
    }
    rest_sql_name(sql, dot == NULL ? name : dot + 1);
    rest_sql_text(sql, "()");
}

static struct cc_slice take_text(struct planner *planner, struct rest_sql *sql)
{
    struct cc_slice text = cc_slice_of(cc_arena_text_n(planner->arena, sql->text.data, sql->text.n), sql->text.n);
    rest_sql_finish(sql);
    return text;
}

// A statement of the same transaction as the planned write, in the form of a call (statement.h).
static struct rest_statement make_call(struct planner *planner, struct rest_sql *sql)
{
    const struct rest_statement *statement = &planner->plan->statement;
    if (statement->weak) { // the executor binds the stamp to every weak write
        rest_sql_text(sql, " WHERE $1::text IS NOT NULL");
    }
    return (struct rest_statement){
        .kind = REST_CALL,
        .weak = statement->weak,
        .captured = true,
        .rows_max = UINT64_MAX,
        .sql = take_text(planner, sql),
        .n_settings = statement->n_settings,
        .settings = statement->settings,
    };
}

// Whoever says something leaves it in settings, which the transaction keeps: they are forgotten once they are told.
static void add_said(struct planner *planner)
{
    struct rest_sql sql;
    rest_sql_init(&sql, planner->arena);
    rest_sql_text(&sql, "SELECT 'C', concat(1, E'\\n\\n', " PLAN_RESPONSE_SETTING("response.status") ", E'\\n', replace(" PLAN_RESPONSE_SETTING(
                            "response.headers") ", E'\\n', ' '), E'\\n', " PLAN_FORGET_RESPONSE ")");
    planner->plan->said = make_call(planner, &sql);
}

static void add_call(struct planner *planner, const char *name)
{
    struct rest_sql sql;
    rest_sql_init(&sql, planner->arena);
    rest_sql_text(&sql, "SELECT 'C', concat(left(concat(");
    put_pre_request_name(&sql, name);
    rest_sql_text(&sql, "), 0), 1)");
    planner->plan->pre_request = make_call(planner, &sql);
}

void plan_add_pre_request(struct planner *planner)
{
    struct rest_plan *plan = planner->plan;
    const char *name = planner->request->options.pre_request;
    bool has_pre_request = plan_has_pre_request(planner);
    bool writes = plan->kind == REST_PLAN_WRITE;
    if (writes && has_pre_request) {
        add_call(planner, name);
    }
    if (writes && plan->facts.action != REST_ACTION_CALL && (has_pre_request || planner->may_say)) {
        add_said(planner);
    }
    if (!writes && has_pre_request) {
        struct rest_sql sql;
        rest_sql_init(&sql, planner->arena);
        rest_sql_text(&sql, "SELECT ");
        put_pre_request_name(&sql, name);
        plan->statement.before = take_text(planner, &sql);
    }
}
