// Settings of the node's sessions: those that every transaction has, and those of a request in the open one.
#include "proxy/postgres/io_postgres_internal.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

// What every session of ours has: the text forms of values must be the same on all replicas, nothing may time out on its own.
const char *const pg_session_settings[][3] = {
    {"synchronous_commit", "off"},
    {"statement_timeout", "0"},
    {"lock_timeout", "0"},
    {"idle_in_transaction_session_timeout", "0"},
    {"idle_session_timeout", "0"},
    {"client_connection_check_interval", "1000"}, // a backend that was left behind ends, and frees our lock
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_read_only", "off"},
    {"default_transaction_deferrable", "off"},
    {"TimeZone", "UTC"},
    {"DateStyle", "ISO, YMD"},
    {"IntervalStyle", "postgres"},
    {"extra_float_digits", "1"},
    {"bytea_output", "hex"},
    {"xmloption", "content"},
    {"lc_monetary", "C"},
    {"standard_conforming_strings", "on"},
    {"quote_all_identifiers", "off"},
    {"check_function_bodies", "on"},
    {"row_security", "on"},
    {"default_tablespace", ""},
    {"default_table_access_method", "heap"},
    {"jit", "off"},
    {"plan_cache_mode", "auto"},
    {"client_min_messages", "error"},
    {"session_replication_role", "origin", "main"},
    {"caucus.writer", "on", "main"},
    {"caucus.capture", "off", "main"},
    {NULL},
};

static const char *session_value(const struct pg_lane *lane, const char *name)
{
    if (strcmp(name, "role") == 0) {
        return "none";
    }
    if (strcasecmp(name, "search_path") == 0) {
        return lane->postgres->search_path;
    }
    if (strcmp(name, PG_MODE_SETTING) == 0) {
        return PG_MODE_OWN;
    }
    for (size_t i = 0; pg_session_settings[i][0] != NULL; i++) {
        if (strcasecmp(pg_session_settings[i][0], name) == 0) {
            return pg_session_settings[i][1];
        }
    }
    return strchr(name, '.') != NULL ? "" : NULL; // request.* and other names of users; else what the server says
}

// "SELECT set_config($1, $2, true), set_config($3, $4, true)": in this order.
struct settings_list {
    struct pg_lane *lane;
    bool local; // for the open transaction
    struct cc_buffer sql;
    struct cc_slice *parameters;
    size_t capacity;
    uint32_t n;
};

static void settings_list_put(struct settings_list *list, struct cc_slice name, struct cc_slice value)
{
    bool mode = cc_slice_equal_text(name, PG_MODE_SETTING);
    cc_buffer_printf(&list->sql, "%s%s($%u, $%u, %s)", list->n == 0 ? "SELECT " : ", ", mode ? "caucus.mode" : "pg_catalog.set_config",
                     list->n + 1, list->n + 2, list->local ? "true" : "false");
    list->parameters = cc_grow(list->parameters, &list->capacity, list->n + 2, sizeof(*list->parameters));
    list->parameters[list->n++] = mode ? cc_slice_text(list->lane->postgres->token) : name;
    list->parameters[list->n++] = value;
}

static void settings_list_send(struct settings_list *list, io_postgres_on_result *on_result, void *context, uint64_t number)
{
    struct io_postgres_query query = {.sql = cc_buffer_text(&list->sql), .n_parameters = list->n, .parameters = list->parameters};
    if (list->n > 0 && on_result != NULL) {
        io_postgres_link_send(list->lane->link, &query, on_result, context, number);
    } else if (list->n > 0) {
        pg_lane_must(list->lane, query.sql, query.n_parameters, query.parameters, NULL);
    }
    cc_buffer_finish(&list->sql);
    free(list->parameters);
}

void pg_lane_as_replica(struct pg_lane *lane, bool as_replica)
{
    if (lane->as_replica == as_replica) {
        return;
    }
    assert(!lane->in_transaction);
    lane->as_replica = as_replica;
    // Plans of what is applied are made once, perhaps while the table is small: they must find rows by key all the same.
    pg_lane_must_text(lane, as_replica ? "SELECT pg_catalog.set_config('session_replication_role', 'replica', false), "
                                         "pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', false), "
                                         "pg_catalog.set_config('enable_hashjoin', 'off', false), "
                                         "pg_catalog.set_config('enable_mergejoin', 'off', false), "
                                         "pg_catalog.set_config('enable_seqscan', 'off', false)"
                                       : "SELECT pg_catalog.set_config('session_replication_role', 'origin', false), "
                                         "pg_catalog.set_config('plan_cache_mode', 'auto', false), "
                                         "pg_catalog.set_config('enable_hashjoin', 'on', false), "
                                         "pg_catalog.set_config('enable_mergejoin', 'on', false), "
                                         "pg_catalog.set_config('enable_seqscan', 'on', false)");
    io_postgres_link_sync(lane->link, NULL, NULL, 0); // or it would be part of the transaction that comes, and of its rollback
}

void pg_lane_pin_settings(struct pg_lane *lane)
{
    lane->as_replica = false;
    struct settings_list list = {.lane = lane};
    for (size_t i = 0; pg_session_settings[i][0] != NULL; i++) {
        settings_list_put(&list, cc_slice_text(pg_session_settings[i][0]), cc_slice_text(pg_session_settings[i][1]));
    }
    settings_list_put(&list, cc_slice_text("search_path"), cc_slice_text(lane->postgres->search_path));
    settings_list_send(&list, NULL, NULL, 0);
}

static bool settings_equal(const struct pg_lane *lane, const struct rest_setting *settings, size_t n)
{
    if (lane->n_settings != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!cc_slice_equal_text(settings[i].name, lane->settings[i].name) ||
            !cc_slice_equal_text(settings[i].value, lane->settings[i].value)) {
            return false;
        }
    }
    return true;
}

static bool settings_contain(const struct rest_setting *settings, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (cc_slice_equal_text(settings[i].name, name)) {
            return true;
        }
    }
    return false;
}

void pg_lane_settings(struct pg_lane *lane, const struct rest_setting *settings, size_t n, io_postgres_on_result *on_result,
                      void *context, uint64_t number)
{
    if (settings_equal(lane, settings, n)) {
        return;
    }
    struct settings_list list = {.lane = lane, .local = true};
    for (size_t i = 0; i < lane->n_settings; i++) {
        if (!settings_contain(settings, n, lane->settings[i].name)) {
            settings_list_put(&list, cc_slice_text(lane->settings[i].name), cc_slice_text(session_value(lane, lane->settings[i].name)));
        }
    }
    for (size_t i = 0; i < n; i++) {
        settings_list_put(&list, settings[i].name, settings[i].value);
    }
    settings_list_send(&list, on_result, context, number);
    pg_lane_settings_forget(lane);
    lane->settings = cc_grow(lane->settings, &lane->settings_capacity, n, sizeof(*lane->settings));
    for (size_t i = 0; i < n; i++) {
        lane->settings[i].name = cc_strndup(settings[i].name.data, settings[i].name.n);
        lane->settings[i].value = cc_strndup(settings[i].value.data, settings[i].value.n);
    }
    lane->n_settings = n;
}

void pg_lane_settings_forget(struct pg_lane *lane)
{
    for (size_t i = 0; i < lane->n_settings; i++) {
        free(lane->settings[i].name);
        free(lane->settings[i].value);
    }
    lane->n_settings = 0;
}

// -- Deferrable constraints --------------------------------------------------------------------------------------------

static const char sql_deferrable[] =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE condeferrable), "
    "EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE condeferred)";

static void on_deferrable(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (!pg_result_ok(result)) {
        pg_lane_drop(lane, "cannot read the constraints", result);
    } else {
        lane->postgres->has_deferrable = cc_slice_equal_text(pg_result_value(result, 0, 0), "t");
        lane->postgres->has_deferred = cc_slice_equal_text(pg_result_value(result, 0, 1), "t");
    }
    PQclear(result);
}

void pg_lane_ask_deferrable(struct pg_lane *lane)
{
    io_postgres_link_send_text(lane->main, sql_deferrable, on_deferrable, lane, 0);
}
