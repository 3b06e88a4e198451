// Gateway: the operators' endpoints under /_caucus/. Two path segments, which PostgREST does not know, so nothing collides.
#include "proxy/gateway/io_gateway_internal.h"

#include "proxy/postgres/io_postgres.h"
#include "proxy/postgres/pg_value.h"
#include "rest/error.h"
#include "rest/syntax.h"
#include "rest/sql.h"
#include "rest/types.h"
#include "rest/visible.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MIGRATION_MS = 600 * 1000, PAUSE_MS_MAX = 2000 };

static const char prefix[] = "/_caucus/";

bool operator_owns(struct cc_slice path)
{
    return cc_slice_starts_with(path, prefix);
}

static void reply_text(struct exchange *exchange, int status, const char *type, struct cc_slice body)
{
    struct rest_header headers[2] = {{cc_slice_text("Content-Type"), cc_slice_text(type)},
                                     {cc_slice_text("Retry-After"), cc_slice_text("1")}};
    struct rest_reply reply = {.status = status, .n_headers = status == 503 ? 2 : 1, .headers = headers, .body = body};
    exchange_reply(exchange, &reply);
}

static void reply_json(struct exchange *exchange, int status, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    exchange_reply_json(exchange, status, cc_slice_text(text));
    free(text);
    json_decref(json);
}

struct cc_slice operator_parameter(struct exchange *exchange, const char *name, uint32_t number)
{
    struct cc_slice query = exchange->request.query;
    size_t at = 0, n_name = strlen(name);
    while (query.data != NULL && at < query.n) {
        const uint8_t *end = memchr(query.data + at, '&', query.n - at);
        size_t n = end == NULL ? query.n - at : (size_t)(end - query.data) - at;
        bool found = n > n_name && memcmp(query.data + at, name, n_name) == 0 && query.data[at + n_name] == '=';
        if (found && number-- == 0) {
            struct cc_slice raw = cc_slice_of(query.data + at + n_name + 1, n - n_name - 1), decoded;
            bool good = rest_percent_decode(raw, true, &exchange->arena, &decoded) == CC_OK;
            return good ? decoded : cc_slice_of(NULL, 0);
        }
        at += n + 1;
    }
    return cc_slice_of(NULL, 0);
}

// -- Status, readiness, metrics --------------------------------------------------------------------------------------

static void on_status(struct exchange *exchange, const struct node_status *status, const struct status_shell *shell)
{
    struct cc_buffer body = {0};
    status_put_json(&body, exchange->worker->gateway->options.config, status, shell);
    exchange_reply_json(exchange, 200, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static void on_metrics(struct exchange *exchange, const struct node_status *status, const struct status_shell *shell)
{
    struct cc_buffer body = {0};
    status_put_metrics(&body, exchange->worker->gateway->options.config, status, shell);
    reply_text(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static bool has_session_key(const struct exchange *exchange)
{
    uint8_t key[SESSION_KEY_BYTES];
    return io_catalog_session_key(exchange->worker->gateway->options.catalog, key);
}

static void on_ready(struct exchange *exchange, const struct node_status *status, const struct status_shell *shell)
{
    (void)shell;
    const char *why = status->halted != NULL                                                  ? status->halted
                      : !(status->database_up[DB_STRONG] && status->database_up[DB_WEAK]) ? "PostgreSQL is not up"
                      : status->replaying                                                 ? "changes that PostgreSQL lost in a crash are being applied again"
                      : exchange->snapshot == NULL                                        ? "the catalog is not read yet"
                      : !has_session_key(exchange)                                        ? "the session key is not known yet"
                      : !status->is_member                                                ? "this replica is not a member of the cluster"
                      : status->leader == 0                                               ? "there is no leader"
                                                                                          : NULL;
    json_t *json = json_pack("{s:b, s:s?}", "ready", why == NULL, "reason", why);
    reply_json(exchange, why == NULL ? 200 : 503, json);
}

static void ask_status(struct exchange *exchange,
                       void (*done)(struct exchange *exchange, const struct node_status *status, const struct status_shell *shell))
{
    exchange->on_status = done;
    exchange_move(exchange, EXCHANGE_STATUS);
    exchange_ask_core(exchange, INBOX_STATUS, 0, NULL);
}

static void get_status(struct exchange *exchange)
{
    ask_status(exchange, on_status);
}

static void on_repair(struct exchange *exchange, const struct node_status *status, const struct status_shell *shell)
{
    (void)shell;
    struct cc_buffer body = {0};
    status_put_repair(&body, status);
    exchange_reply_json(exchange, 202, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static void post_repair(struct exchange *exchange)
{
    exchange->on_status = on_repair;
    exchange_move(exchange, EXCHANGE_STATUS);
    exchange_ask_core(exchange, INBOX_REPAIR, 0, NULL);
}

static void get_metrics(struct exchange *exchange)
{
    ask_status(exchange, on_metrics);
}

static void get_ready(struct exchange *exchange)
{
    ask_status(exchange, on_ready);
}

static void get_live(struct exchange *exchange)
{
    exchange_reply_json(exchange, 200, cc_slice_text("{\"live\":true}"));
}

// -- Tables and digests ----------------------------------------------------------------------------------------------

bool operator_has_catalog(struct exchange *exchange)
{
    if (exchange->snapshot != NULL) {
        return true;
    }
    exchange_fail(exchange, 503, "CC213", "This replica has not read its catalog yet", "Try again in a moment, or use another replica");
    return false;
}

static json_t *table_json(const struct rest_table *table)
{
    json_t *key = json_array();
    for (uint32_t i = 0; i < table->n_key; i++) {
        json_array_append_new(key, json_string(table->columns[table->key[i]].name));
    }
    json_t *columns = json_array();
    for (uint32_t i = 0; i < table->n_columns; i++) {
        const struct rest_column *column = &table->columns[i];
        json_array_append_new(columns, json_pack("{s:s, s:s, s:b}", "name", column->name, "type", column->type, "not_null", column->not_null));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "schema", table->schema, "name", table->name, "consistency",
                     table->consistency == REST_WEAK ? "weak" : "strong", "key", key, "columns", columns);
}

static bool is_stored(const struct rest_table *table)
{
    return table->kind == REST_TABLE || table->kind == REST_PARTITIONED;
}

static void get_tables(struct exchange *exchange)
{
    if (!operator_has_catalog(exchange)) {
        return;
    }
    const struct rest_catalog *catalog = exchange->snapshot->catalog;
    json_t *tables = json_array();
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        if (is_stored(&catalog->tables[i])) {
            json_array_append_new(tables, table_json(&catalog->tables[i]));
        }
    }
    reply_json(exchange, 200, tables);
}

const struct rest_table *operator_table(struct exchange *exchange, struct cc_slice name)
{
    const struct rest_catalog *catalog = exchange->snapshot->catalog;
    const struct rest_table *table = rest_catalog_table(catalog, catalog->schemas[0], name);
    const uint8_t *dot = name.n == 0 ? NULL : memchr(name.data, '.', name.n);
    if (table == NULL && dot != NULL) {
        size_t n = (size_t)(dot - name.data);
        const char *schema = cc_arena_text_n(&exchange->arena, name.data, n);
        table = rest_catalog_table(catalog, schema, cc_slice_of(dot + 1, name.n - n - 1));
    }
    return table != NULL && is_stored(table) ? table : NULL;
}

static const char *quote_identifier(struct cc_arena *arena, const char *name)
{
    struct rest_sql sql;
    rest_sql_init(&sql, arena);
    rest_sql_name(&sql, name);
    const char *text = cc_arena_text_n(arena, sql.text.data, sql.text.n);
    rest_sql_finish(&sql);
    return text;
}

static void query_text(struct exchange *exchange, const char *sql,
                       void (*on_rows)(struct exchange *exchange, const struct io_postgres_read_result *rows))
{
    exchange->statement = (struct rest_statement){.kind = REST_READ, .sql = cc_slice_text(cc_arena_text(&exchange->arena, sql))};
    exchange->on_rows = on_rows;
    exchange_query_as_owner(exchange);
}

// The one text value of a result, as JSON.
static void on_json(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    if (rows->status != CC_OK || rows->n_rows != 1) {
        exchange_fail_rows(exchange, rows);
        return;
    }
    exchange_reply_json(exchange, 200, io_postgres_read_value(rows, 0, 0));
}

// All is read in one statement, hence in one snapshot: what is said of the rows, and the point that it belongs to.
static const char sql_digest_begin[] = "SELECT json_build_object('table', $1::text, 'consistency', $2::text, ";
static const char sql_strong_point[] = "'index', (SELECT applied FROM caucus.applied), ";
static const char sql_weak_point[] = "'frontier', (SELECT coalesce(json_object_agg(replica || '.' || to_hex(incarnation), sequence ORDER BY replica, "
                                     "incarnation), '{}') FROM caucus.frontier), ";

static void put_strong_digest(struct exchange *exchange, const struct rest_table *table, struct cc_buffer *out)
{
    const char **columns = cc_arena_array(&exchange->arena, table->n_columns, sizeof(*columns));
    for (uint32_t i = 0; i < table->n_columns; i++) {
        columns[i] = quote_identifier(&exchange->arena, table->columns[i].name);
    }
    cc_buffer_append_text(out, "'rows', d.rows::bigint, 'digest', d.digest)::text FROM (");
    io_postgres_digest_sql(out, table->qualified, columns, table->n_columns);
    cc_buffer_append_text(out, ") d(rows, digest)");
}

static const char sql_weak_digest[] = "'rows', d.rows, 'digest', to_hex(d.sum))::text FROM ";
// Kept up by every transaction, or computed from all rows.
static const char sql_weak_kept[] =
    "caucus.digests d WHERE d.\"table\" = (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.oid = $3::regclass)";
static const char sql_weak_full[] = "caucus.digest($3::regclass) d";

// Which rows differ is found in two steps: by buckets, then by the rows of the buckets that differ. Any table with a primary key.
static const char sql_digest_buckets[] = "'buckets', caucus.digest_buckets($3::regclass))::text";
static const char sql_digest_rows[] = "'rows', caucus.digest_rows($3::regclass, $4::bigint[]))::text";

// "1,5,9" as an array; the NULL slice when it is not a list of numbers.
static struct cc_slice bucket_array(struct exchange *exchange, struct cc_slice list)
{
    for (size_t i = 0; i < list.n; i++) {
        if (!(list.data[i] == ',' || (list.data[i] >= '0' && list.data[i] <= '9'))) {
            return (struct cc_slice){0};
        }
    }
    return cc_slice_text(cc_arena_printf(&exchange->arena, "{%.*s}", (int)list.n, (const char *)list.data));
}

static bool has_flag(struct exchange *exchange, const char *name)
{
    const struct cc_slice query = exchange->request.query;
    size_t n = strlen(name);
    for (size_t at = 0; query.data != NULL && at < query.n;) {
        const uint8_t *end = memchr(query.data + at, '&', query.n - at);
        size_t length = end == NULL ? query.n - at : (size_t)(end - query.data) - at;
        if (length == n && memcmp(query.data + at, name, n) == 0) {
            return true;
        }
        at += length + 1;
    }
    return cc_slice_equal_text(operator_parameter(exchange, name, 0), "true");
}

static void get_digest(struct exchange *exchange)
{
    if (!operator_has_catalog(exchange)) {
        return;
    }
    struct cc_slice name = operator_parameter(exchange, "table", 0);
    const struct rest_table *table = operator_table(exchange, name);
    if (table == NULL && !exchange->barrier_passed) {
        exchange_make_current(exchange);
        return;
    }
    if (table == NULL) {
        exchange_fail(exchange, 404, "PGRST205", "There is no such table", "Name one of GET /_caucus/tables, as ?table=name or ?table=schema.name");
        return;
    }
    struct cc_buffer sql = {0};
    bool weak = table->consistency == REST_WEAK;
    struct cc_slice rows = operator_parameter(exchange, "rows", 0), buckets = {0};
    bool in_parts = rows.data != NULL || has_flag(exchange, "buckets");
    if (rows.data != NULL && (buckets = bucket_array(exchange, rows)).data == NULL) {
        exchange_fail(exchange, 400, "CC252", "rows must be numbers of buckets, with commas between", "Take them from ?buckets");
        return;
    }
    if (in_parts && table->n_key == 0) {
        exchange_fail(exchange, 400, "CC253", "A table without primary key has no buckets", "Ask for its digest only");
        return;
    }
    bool kept = weak && !in_parts && !has_flag(exchange, "full"); // one look-up, not all rows
    cc_buffer_append_text(&sql, sql_digest_begin);
    cc_buffer_append_text(&sql, weak ? sql_weak_point : sql_strong_point);
    if (in_parts) {
        cc_buffer_append_text(&sql, rows.data != NULL ? sql_digest_rows : sql_digest_buckets);
    } else if (weak) {
        cc_buffer_append_text(&sql, sql_weak_digest);
        cc_buffer_append_text(&sql, kept ? sql_weak_kept : sql_weak_full);
    } else {
        put_strong_digest(exchange, table, &sql);
    }
    exchange->statement = (struct rest_statement){.kind = REST_READ,
                                                  .sql = cc_arena_slice(&exchange->arena, cc_buffer_slice(&sql)),
                                                  .n_parameters = rows.data != NULL ? 4 : in_parts || weak ? 3 : 2,
                                                  .parameters = cc_arena_array(&exchange->arena, 4, sizeof(struct cc_slice))};
    exchange->statement.parameters[0] = name;
    exchange->statement.parameters[1] = cc_slice_text(weak ? "weak" : "strong");
    exchange->statement.parameters[2] = cc_slice_text(table->qualified);
    exchange->statement.parameters[3] = buckets;
    cc_buffer_finish(&sql);
    exchange->on_rows = on_json;
    if (kept) {
        exchange_query_as_owner(exchange);
    } else {
        exchange_query_for_long(exchange);
    }
}

// Who compares replicas wants them at one point, which they do not reach while clients write.
static void post_pause(struct exchange *exchange)
{
    struct cc_slice text = operator_parameter(exchange, "ms", 0);
    int64_t ms = 0;
    if (text.data == NULL || pg_int8_read(text, &ms) != CC_OK || ms < 0 || ms > PAUSE_MS_MAX) {
        exchange_fail(exchange, 400, "CC255", "A pause needs a number of milliseconds", "POST /_caucus/pause?ms=100; at most 2000, 0 ends it");
        return;
    }
    gateway_pause(exchange->worker->gateway, gateway_now_us() + (uint64_t)ms * 1000);
    exchange_reply_json(exchange, 200, cc_slice_text(cc_arena_printf(&exchange->arena, "{\"paused_ms\": %" PRId64 "}", ms)));
}

// -- Types -----------------------------------------------------------------------------------------------------------

static void reply_types(struct exchange *exchange, const struct rest_catalog *catalog)
{
    bool plain = cc_slice_equal_text(exchange->request.path, "/_caucus/types.js");
    struct cc_buffer text = {0};
    rest_types_put(&text, catalog, plain ? REST_TYPES_JSDOC : REST_TYPES_TYPESCRIPT);
    reply_text(exchange, 200, plain ? "text/javascript; charset=utf-8" : "application/typescript; charset=utf-8", cc_buffer_slice(&text));
    cc_buffer_finish(&text);
}

static void on_visible(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    struct rest_catalog visible;
    if (rows->status != CC_OK || rows->n_rows != 1 ||
        rest_visible_catalog(exchange->snapshot->catalog, io_postgres_read_value(rows, 0, 0), &exchange->arena, &visible) != CC_OK) {
        exchange_fail_rows(exchange, rows);
        return;
    }
    reply_types(exchange, &visible);
}

static void get_types(struct exchange *exchange)
{
    if (!operator_has_catalog(exchange)) {
        return;
    }
    if (exchange->sees_all) {
        reply_types(exchange, exchange->snapshot->catalog);
        return;
    }
    struct rest_setting *role = cc_arena_alloc(&exchange->arena, sizeof(*role));
    *role = (struct rest_setting){cc_slice_text("role"), exchange->request.identity.role};
    exchange->statement = (struct rest_statement){
        .kind = REST_READ, .sql = cc_slice_text(rest_visible_sql), .n_settings = 1, .settings = role};
    exchange->on_rows = on_visible;
    exchange_query(exchange, &exchange->statement);
}

// -- Migrations ------------------------------------------------------------------------------------------------------

static void get_migrations(struct exchange *exchange)
{
    query_text(exchange,
               "SELECT coalesce(json_agg(json_build_object('name', name, 'index', index) ORDER BY position), '[]')::text"
               " FROM caucus.migrations",
               on_json);
}

// DONE: n_rows 1 when it was applied now, 0 when it was there with the same text; the body is its index then.
static void on_migrated(struct exchange *exchange, const struct rest_outcome *outcome, uint64_t index)
{
    if (outcome->kind != REST_DONE) {
        exchange_fail_outcome(exchange, outcome);
        return;
    }
    bool fresh = outcome->n_rows > 0;
    if (!fresh) {
        index = strtoull(cc_arena_text_n(&exchange->arena, outcome->body.data, outcome->body.n), NULL, 10);
    }
    reply_json(exchange, fresh ? 201 : 200, json_pack("{s:s, s:I}", "name", exchange->name, "index", (json_int_t)index));
}

static void post_migration(struct exchange *exchange)
{
    struct cc_slice name = operator_parameter(exchange, "name", 0);
    if (name.n == 0 || name.n > CC_NAME_BYTES_MAX * 4) {
        exchange_fail(exchange, 400, "CC216", "A migration needs a name", "POST /_caucus/migrations?name=0001_init with the SQL as the body");
        return;
    }
    if (exchange->request.body.n == 0) {
        exchange_fail(exchange, 400, "CC217", "The migration is empty", "Send its SQL as the body, with Content-Type: application/sql");
        return;
    }
    exchange->name = cc_arena_text_n(&exchange->arena, name.data, name.n);
    exchange->on_outcome = on_migrated;
    exchange->deadline_us = gateway_now_us() + MIGRATION_MS * 1000ull;
    struct operation operation = {.kind = OPERATION_MIGRATION, .migration_name = name, .migration_sql = exchange->request.body};
    exchange_submit(exchange, &operation);
}

// -- Routes ----------------------------------------------------------------------------------------------------------

static const struct route { // those of one name stand together
    const char *method, *name;
    void (*begin)(struct exchange *exchange);
    enum access access;
} routes[] = {
    {"GET", "live", get_live, ACCESS_OPEN},
    {"GET", "ready", get_ready, ACCESS_OPEN},
    {"GET", "tables", get_tables, ACCESS_CLIENT},
    {"GET", "types.ts", get_types, ACCESS_CLIENT},
    {"GET", "types.js", get_types, ACCESS_CLIENT},
    {"POST", "transaction", transaction_begin, ACCESS_CLIENT},
    {"GET", "status", get_status, ACCESS_OPERATOR},
    {"GET", "metrics", get_metrics, ACCESS_OPERATOR},
    {"GET", "migrations", get_migrations, ACCESS_OPERATOR},
    {"POST", "migrations", post_migration, ACCESS_OPERATOR},
    {"POST", "member", member_post, ACCESS_OPERATOR},
    {"POST", "reload", member_reload, ACCESS_OPERATOR},
    {"GET", "digest", get_digest, ACCESS_OPERATOR},
    {"POST", "pause", post_pause, ACCESS_OPERATOR},
    {"POST", "repair", post_repair, ACCESS_OPERATOR},
    {"GET", "history", history_get, ACCESS_OPERATOR},
    {"POST", "history/restore", history_post_restore, ACCESS_OPERATOR},
    {"GET", "conflicts", history_get_conflicts, ACCESS_OPERATOR},
};
enum { N_ROUTES = sizeof(routes) / sizeof(routes[0]) };

static struct cc_slice name_of(struct cc_slice path)
{
    return cc_slice_of(path.data + sizeof(prefix) - 1, path.n - (sizeof(prefix) - 1));
}

static const char *list_of_routes(struct exchange *exchange)
{
    struct cc_buffer list = {0};
    cc_buffer_append_text(&list, "See /_caucus/");
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (i == 0 || strcmp(routes[i].name, routes[i - 1].name) != 0) {
            cc_buffer_printf(&list, "%s%s", i == 0 ? "" : ", ", routes[i].name);
        }
    }
    const char *text = cc_arena_text_n(&exchange->arena, list.data, list.n);
    cc_buffer_finish(&list);
    return text;
}

enum access operator_access(struct cc_slice path)
{
    struct cc_slice name = name_of(path);
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (cc_slice_equal_text(name, routes[i].name)) {
            return routes[i].access;
        }
    }
    return ACCESS_OPERATOR;
}

void operator_begin(struct exchange *exchange)
{
    struct cc_slice name = name_of(exchange->request.path);
    bool known = cc_slice_equal_text(name, "faults") && faults_begin(exchange);
    if (known) {
        return;
    }
    for (size_t i = 0; i < N_ROUTES; i++) {
        if (!cc_slice_equal_text(name, routes[i].name)) {
            continue;
        }
        known = true;
        if (cc_slice_equal_text(exchange->request.method, routes[i].method)) {
            routes[i].begin(exchange);
            return;
        }
    }
    if (known) {
        exchange_fail(exchange, 405, "PGRST117", "This endpoint does not take this method", NULL);
    } else {
        exchange_fail(exchange, 404, "PGRST125", "There is no such operator endpoint", list_of_routes(exchange));
    }
}
