// Gateway: histories of weak rows under /_caucus/: history, conflicts, history/restore.
//
//   history:   table, key --types--> key as PostgreSQL writes it --> change sets of the row --> entries
//   restore:   the same; then a write of the row protocol with the old values
//   conflicts: change sets since a time --> the entries that lost
#include "proxy/gateway/io_gateway_internal.h"

#include "crdt/history.h"
#include "proxy/postgres/pg_value.h"
#include "rest/syntax.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SETS_MAX = 10000, ENTRIES_DEFAULT = 100, ENTRIES_MAX = 10000, TIME_BYTES = 40 };

struct history { // a request about histories, in the exchange's arena
    const struct rest_table *table; // NULL: all
    struct cc_slice *key_values;    // of the table's key columns, in key order
    struct cc_slice key;            // crdt_key_put form
    struct cc_slice column;         // NULL slice: all
    uint64_t n_entries_max;
    bool restores;
    struct clock_stamp stamp; // restore: of the write whose values are wanted
    struct crdt_change_set *sets;
    size_t n_sets;
    bool truncated; // there are older change sets, which were not read
    struct clock_stamp dropped; // older ones than this may be gone from the history; zero: none are
};

static struct cc_slice column_name(const struct rest_table *table, uint32_t key_index)
{
    return cc_slice_text(table->columns[table->key[key_index]].name);
}

static json_t *json_text(struct cc_slice text)
{
    return text.data == NULL ? json_null() : json_stringn((const char *)text.data, text.n);
}

// -- Entries as JSON ---------------------------------------------------------------------------------------------------

static json_t *stamp_json(const struct clock_stamp *stamp)
{
    char text[CLOCK_STAMP_TEXT_BYTES];
    clock_stamp_text(stamp, text);
    return json_string(text);
}

static json_t *time_json(const struct clock_stamp *stamp)
{
    uint64_t ms = clock_hlc_ms(stamp->hlc);
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    char text[TIME_BYTES], whole[TIME_BYTES + 8];
    if (gmtime_r(&seconds, &parts) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts) == 0) {
        return json_null();
    }
    snprintf(whole, sizeof(whole), "%s.%03uZ", text, (unsigned)(ms % 1000));
    return json_string(whole);
}

// As in status and digest.
static json_t *origin_json(struct crdt_origin origin)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRIu32 ".%" PRIx32, origin.replica, origin.incarnation);
    return json_string(text);
}

static json_t *key_json(struct exchange *exchange, const struct rest_table *table, struct cc_slice key)
{
    enum { KEY_COLUMNS_MAX = 64 };
    struct cc_slice values[KEY_COLUMNS_MAX];
    size_t n = 0;
    (void)exchange;
    if (crdt_key_read(key, values, KEY_COLUMNS_MAX, &n) != CC_OK) {
        return json_null();
    }
    bool named = table != NULL && table->n_key == n;
    json_t *json = named ? json_object() : json_array();
    for (size_t i = 0; i < n; i++) {
        if (named) {
            json_object_set_new(json, table->columns[table->key[i]].name, json_text(values[i]));
        } else {
            json_array_append_new(json, json_text(values[i]));
        }
    }
    return json;
}

static json_t *superseded_json(const struct crdt_history_entry *entry)
{
    if (entry->fate == CRDT_FATE_NOT_RENEWED) {
        return json_pack("{s:s}", "reason", crdt_fate_text(entry->fate));
    }
    if (entry->fate == CRDT_FATE_CURRENT || entry->by == NULL) {
        return json_null();
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:I}", "reason", crdt_fate_text(entry->fate), "operation",
                     crdt_operation_text(entry->by_operation), "stamp", stamp_json(&entry->by->stamp), "time", time_json(&entry->by->stamp),
                     "origin", origin_json(entry->by->origin), "sequence", (json_int_t)entry->by->sequence);
}

// The write of an earlier life whose place this one takes.
static json_t *renews_json(const struct crdt_change_set *set)
{
    const struct crdt_old_number *old = &set->renews;
    struct clock_stamp stamp = {.hlc = old->hlc, .replica = old->origin.replica, .incarnation = old->origin.incarnation};
    return json_pack("{s:o, s:o, s:o, s:I}", "stamp", stamp_json(&stamp), "time", time_json(&stamp), "origin", origin_json(old->origin), "sequence",
                     (json_int_t)old->sequence);
}

static json_t *entry_json(const struct crdt_history_entry *entry)
{
    const struct crdt_change_set *set = entry->set;
    bool of_field = entry->field != NULL;
    struct cc_slice none = {0};
    bool current = entry->fate == CRDT_FATE_CURRENT;
    bool knows_old = of_field && entry->change->operation != CRDT_INSERT;
    json_t *json = json_pack("{s:o, s:s, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:b, s:o}", "column",
                     json_text(of_field ? entry->field->column : none), "operation", crdt_operation_text(entry->change->operation), "stamp",
                     stamp_json(&set->stamp), "time", time_json(&set->stamp), "origin", origin_json(set->origin), "replica",
                     (json_int_t)set->origin.replica, "sequence", (json_int_t)set->sequence, "old",
                     json_text(knows_old ? entry->field->old_value : none), "new", json_text(of_field ? entry->field->value : none),
                     "principal", set->principal.n == 0 ? json_null() : json_text(set->principal), "request", json_text(set->request_key),
                     "current", current, "superseded_by", superseded_json(entry));
    if (set->renews.sequence > 0) {
        json_object_set_new(json, "renews", renews_json(set));
    }
    return json;
}

// Of the row; entries that only tell what was not written again know nothing of it.
static bool is_visible(const struct crdt_history_entry *entries, size_t n)
{
    size_t i = 0;
    while (i < n && entries[i].fate == CRDT_FATE_NOT_RENEWED) {
        i++;
    }
    return i < n && entries[i].row_visible;
}

// Histories are kept for a time only (weak.history_hours): whoever reads one is told where it may begin.
static json_t *dropped_json(const struct history *history)
{
    return clock_stamp_is_zero(&history->dropped) ? json_null() : time_json(&history->dropped);
}

static void reply_json(struct exchange *exchange, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    exchange_reply_json(exchange, 200, cc_slice_text(text));
    free(text);
    json_decref(json);
}

// -- Change sets out of PostgreSQL -------------------------------------------------------------------------------------

// False: answered.
static bool take_sets(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    struct history *history = exchange->history;
    if (rows->status != CC_OK) {
        exchange_fail_rows(exchange, rows);
        return false;
    }
    history->truncated = rows->n_rows > SETS_MAX;
    history->sets = cc_arena_array(&exchange->arena, (size_t)rows->n_rows + 1, sizeof(*history->sets));
    if (rows->n_rows > 0 && clock_stamp_parse(io_postgres_read_value(rows, 0, 1), &history->dropped) != CC_OK) {
        history->dropped = (struct clock_stamp){0};
    }
    for (uint32_t i = 0; i < rows->n_rows && i < SETS_MAX; i++) {
        struct cc_slice bytes;
        struct cc_slice text = cc_arena_slice(&exchange->arena, io_postgres_read_value(rows, i, 0));
        if (text.data == NULL) {
            continue; // the row that tells what was dropped, beside no change set
        }
        if (pg_bytea_read(text, &exchange->arena, &bytes) != CC_OK ||
            crdt_change_set_read(bytes, &exchange->arena, &history->sets[history->n_sets++]) != CC_OK) {
            exchange_fail(exchange, 500, "CC240", "A stored change set cannot be read", "Report this as a bug");
            return false;
        }
    }
    return true;
}

static void query(struct exchange *exchange, struct cc_slice sql, uint32_t n_parameters, struct cc_slice *parameters,
                  void (*on_rows)(struct exchange *exchange, const struct io_postgres_read_result *rows))
{
    exchange->statement = (struct rest_statement){
        .kind = REST_READ, .sql = cc_arena_slice(&exchange->arena, sql), .n_parameters = n_parameters, .parameters = parameters};
    exchange->on_rows = on_rows;
    exchange_query_as_owner(exchange);
}

// -- One row -----------------------------------------------------------------------------------------------------------

static void restore(struct exchange *exchange, const struct crdt_history_entry *entries, size_t n);

static void reply_history(struct exchange *exchange, const struct crdt_history_entry *entries, size_t n)
{
    const struct history *history = exchange->history;
    json_t *list = json_array();
    for (size_t i = 0; i < n && json_array_size(list) < history->n_entries_max; i++) {
        const struct crdt_field *field = entries[i].field;
        if (history->column.data == NULL || (field != NULL && cc_slice_equal(field->column, history->column))) {
            json_array_append_new(list, entry_json(&entries[i]));
        }
    }
    bool more = history->truncated || json_array_size(list) >= history->n_entries_max;
    reply_json(exchange, json_pack("{s:s, s:s, s:o, s:o, s:b, s:o, s:o}", "schema", history->table->schema, "table", history->table->name, "key",
                                   key_json(exchange, history->table, history->key), "visible",
                                   n == 0 ? json_null() : json_boolean(is_visible(entries, n)), "truncated", more, "dropped_until",
                                   dropped_json(history), "entries", list));
}

static void on_row_sets(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    struct history *history = exchange->history;
    if (!take_sets(exchange, rows)) {
        return;
    }
    struct crdt_history_entry *entries = NULL;
    size_t n = 0;
    crdt_history_create(history->sets, history->n_sets, cc_slice_text(history->table->qualified), history->key, &exchange->arena, &entries, &n);
    if (history->restores) {
        restore(exchange, entries, n);
    } else {
        reply_history(exchange, entries, n);
    }
}

// The key's values as PostgreSQL writes them: so they are in the change sets.
static void on_key(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    struct history *history = exchange->history;
    if (rows->status != CC_OK || rows->n_rows != 1 || rows->n_columns != history->table->n_key) {
        exchange_fail_rows(exchange, rows);
        return;
    }
    for (uint32_t i = 0; i < rows->n_columns; i++) {
        history->key_values[i] = cc_arena_slice(&exchange->arena, io_postgres_read_value(rows, 0, i));
    }
    struct cc_buffer key = {0};
    crdt_key_put(&key, history->key_values, history->table->n_key);
    history->key = cc_arena_slice(&exchange->arena, cc_buffer_slice(&key));
    cc_buffer_finish(&key);
    int64_t hash = crdt_row_hash(cc_slice_text(history->table->qualified), history->key);
    struct cc_slice *parameters = cc_arena_array(&exchange->arena, 2, sizeof(*parameters));
    parameters[0] = cc_slice_text(cc_arena_printf(&exchange->arena, "%" PRId64, hash));
    parameters[1] = cc_slice_text(cc_arena_printf(&exchange->arena, "%d", SETS_MAX + 1));
    query(exchange,
          cc_slice_text("SELECT h.change, d.stamp FROM (SELECT max(stamp COLLATE \"C\") AS stamp FROM caucus.dropped) d LEFT JOIN (SELECT change, stamp "
                        "FROM caucus.history_of($1::bigint) ORDER BY stamp COLLATE \"C\" DESC LIMIT $2::bigint) h ON true "
                        "ORDER BY h.stamp COLLATE \"C\" DESC"),
          2, parameters, on_row_sets);
}

static void ask_key(struct exchange *exchange)
{
    const struct history *history = exchange->history;
    struct cc_buffer sql = {0};
    for (uint32_t i = 0; i < history->table->n_key; i++) {
        cc_buffer_printf(&sql, "%s$%u::text::%s::text", i == 0 ? "SELECT " : ", ", i + 1, history->table->columns[history->table->key[i]].type);
    }
    query(exchange, cc_buffer_slice(&sql), history->table->n_key, history->key_values, on_key);
    cc_buffer_finish(&sql);
}

// The weak table of a request, in history->table. False: answered, or asked again once the catalog is current.
static bool find_weak_table(struct exchange *exchange, struct cc_slice name)
{
    const struct rest_table *table = operator_table(exchange, name);
    if (table == NULL && !exchange->barrier_passed) {
        exchange_make_current(exchange);
        return false;
    }
    if (table == NULL) {
        exchange_fail(exchange, 404, "PGRST205", "There is no such table", "Name one of GET /_caucus/tables, as ?table=name or ?table=schema.name");
        return false;
    }
    if (table->consistency != REST_WEAK || table->n_key == 0) {
        exchange_fail(exchange, 400, "CC241", "Only weak tables have histories", "GET /_caucus/tables tells which tables are weak");
        return false;
    }
    exchange->history->table = table;
    exchange->history->key_values = cc_arena_array(&exchange->arena, table->n_key, sizeof(struct cc_slice));
    return true;
}

// False: answered.
static bool take_limit(struct exchange *exchange)
{
    struct cc_slice text = operator_parameter(exchange, "limit", 0);
    int64_t limit = ENTRIES_DEFAULT;
    if (text.data != NULL && (pg_int8_read(text, &limit) != CC_OK || limit < 1 || limit > ENTRIES_MAX)) {
        exchange_fail(exchange, 400, "CC242", "limit must be between 1 and 10000", NULL);
        return false;
    }
    exchange->history->n_entries_max = (uint64_t)limit;
    return true;
}

void history_get(struct exchange *exchange)
{
    exchange->history = cc_arena_alloc(&exchange->arena, sizeof(*exchange->history));
    struct history *history = exchange->history;
    if (!operator_has_catalog(exchange) || !take_limit(exchange) || !find_weak_table(exchange, operator_parameter(exchange, "table", 0))) {
        return;
    }
    uint32_t n = 0;
    for (struct cc_slice value; (value = operator_parameter(exchange, "key", n)).data != NULL; n++) {
        if (n < history->table->n_key) {
            history->key_values[n] = value;
        }
    }
    if (n != history->table->n_key) {
        exchange_fail(exchange, 400, "CC243", "A history is of one row: give its key", "?table=name&key=value, key= once for each column of the primary key, in its order");
        return;
    }
    history->column = operator_parameter(exchange, "column", 0);
    ask_key(exchange);
}

// -- Conflicts ---------------------------------------------------------------------------------------------------------

static void on_conflict_sets(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    struct history *history = exchange->history;
    if (!take_sets(exchange, rows)) {
        return;
    }
    struct crdt_history_entry *entries = NULL;
    size_t n = 0;
    struct cc_slice table = cc_slice_text(history->table == NULL ? NULL : history->table->qualified);
    crdt_history_create(history->sets, history->n_sets, table, (struct cc_slice){0}, &exchange->arena, &entries, &n);
    json_t *list = json_array();
    for (size_t i = 0; i < n && json_array_size(list) < history->n_entries_max; i++) {
        if (!crdt_fate_is_conflict(entries[i].fate)) {
            continue;
        }
        json_t *entry = entry_json(&entries[i]);
        json_object_set_new(entry, "table", json_text(entries[i].change->table));
        json_object_set_new(entry, "key", key_json(exchange, history->table, entries[i].change->key));
        json_array_append_new(list, entry);
    }
    bool more = history->truncated || json_array_size(list) >= history->n_entries_max;
    reply_json(exchange, json_pack("{s:b, s:o, s:o}", "truncated", more, "dropped_until", dropped_json(history), "conflicts", list));
}

void history_get_conflicts(struct exchange *exchange)
{
    exchange->history = cc_arena_alloc(&exchange->arena, sizeof(*exchange->history));
    struct cc_slice table = operator_parameter(exchange, "table", 0);
    if (!operator_has_catalog(exchange) || !take_limit(exchange) || (table.data != NULL && !find_weak_table(exchange, table))) {
        return;
    }
    struct cc_slice *parameters = cc_arena_array(&exchange->arena, 2, sizeof(*parameters));
    parameters[0] = operator_parameter(exchange, "since", 0);
    parameters[1] = cc_slice_text(cc_arena_printf(&exchange->arena, "%d", SETS_MAX + 1));
    query(exchange,
          cc_slice_text("SELECT h.change, d.stamp FROM (SELECT max(stamp COLLATE \"C\") AS stamp FROM caucus.dropped) d LEFT JOIN (SELECT s.change, s.stamp FROM "
                        "(SELECT c.change, caucus.time_of(c.change) AS stamp, b.since FROM (SELECT t.since, b.changes FROM "
                        "(SELECT coalesce(lpad(to_hex((extract(epoch FROM $1::timestamptz) * 1000)::bigint << 16), 16, '0'), '') AS since) t, "
                        "LATERAL (SELECT changes FROM caucus.history WHERE stamp COLLATE \"C\" >= t.since ORDER BY stamp COLLATE \"C\" DESC LIMIT $2::bigint) b) b, "
                        "unnest(b.changes) AS c(change)) s WHERE s.stamp COLLATE \"C\" >= s.since ORDER BY s.stamp COLLATE \"C\" DESC LIMIT $2::bigint) h ON true "
                        "ORDER BY h.stamp COLLATE \"C\" DESC"),
          2, parameters, on_conflict_sets);
}

// -- Restore -----------------------------------------------------------------------------------------------------------

static bool is_json(const struct rest_table *table, struct cc_slice column)
{
    int32_t at = rest_table_column(table, column);
    const char *type = at < 0 ? "" : table->columns[at].base_type;
    return strcmp(type, "json") == 0 || strcmp(type, "jsonb") == 0;
}

// A value as a request would bring it: the row protocol reads texts as PostgreSQL's input functions do, except JSON.
static json_t *value_json(const struct rest_table *table, const struct crdt_field *field)
{
    if (field->value.data != NULL && is_json(table, field->column)) {
        return json_loadb((const char *)field->value.data, field->value.n, JSON_DECODE_ANY, NULL);
    }
    return json_text(field->value);
}

// The row's fields as they were after the write under history->stamp; entries are newest first. NULL: there was no row then.
static json_t *row_as_of(const struct history *history, const struct crdt_history_entry *entries, size_t n)
{
    json_t *row = json_object();
    bool dead = false;
    for (size_t i = 0; i < n; i++) {
        const struct crdt_history_entry *entry = &entries[i];
        if (clock_stamp_compare(&entry->set->stamp, &history->stamp) > 0 || entry->fate == CRDT_FATE_NOT_RENEWED) {
            continue;
        }
        if (entry->change->operation == CRDT_DELETE) {
            dead = json_object_size(row) == 0;
            break;
        }
        const struct crdt_field *field = entry->field;
        bool wanted = field != NULL && (history->column.data == NULL || cc_slice_equal(history->column, field->column));
        char name[CC_NAME_BYTES_MAX + 1];
        if (!wanted || field->column.n >= sizeof(name) || rest_table_column(history->table, field->column) < 0) {
            continue;
        }
        memcpy(name, field->column.data, field->column.n);
        name[field->column.n] = '\0';
        if (json_object_get(row, name) == NULL) {
            json_object_set_new(row, name, value_json(history->table, field));
        }
    }
    if (dead) {
        json_decref(row);
        return NULL;
    }
    return row;
}

static bool has_stamp(const struct history *history, const struct crdt_history_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool matches = history->column.data == NULL || (entries[i].field != NULL && cc_slice_equal(entries[i].field->column, history->column));
        if (matches && entries[i].fate != CRDT_FATE_NOT_RENEWED && clock_stamp_compare(&entries[i].set->stamp, &history->stamp) == 0) {
            return true;
        }
    }
    return false;
}

// The exchange goes on as a request of the row protocol: one row inserted, or the named columns of it updated.
static void write_row(struct exchange *exchange, json_t *row, bool whole)
{
    const struct history *history = exchange->history;
    struct cc_arena *arena = &exchange->arena;
    struct cc_buffer path = {0}, filter = {0};
    cc_buffer_append_text(&path, "/");
    rest_percent_encode(&path, cc_slice_text(history->table->name));
    for (uint32_t i = 0; i < history->table->n_key; i++) {
        struct cc_slice name = column_name(history->table, i);
        if (whole) {
            json_object_set_new(row, (const char *)name.data, json_text(history->key_values[i]));
            continue;
        }
        cc_buffer_append_text(&filter, i == 0 ? "" : "&");
        rest_percent_encode(&filter, name);
        cc_buffer_append_text(&filter, "=eq.");
        rest_percent_encode(&filter, history->key_values[i]);
    }
    char *body = json_dumps(row, JSON_COMPACT);
    struct rest_header *headers = cc_arena_array(arena, 5, sizeof(*headers));
    const char *prefer = whole ? "return=representation, resolution=merge-duplicates" : "return=representation";
    uint32_t n = 0;
    headers[n++] = (struct rest_header){cc_slice_text("Content-Type"), cc_slice_text("application/json")};
    headers[n++] = (struct rest_header){cc_slice_text("Prefer"), cc_slice_text(prefer)};
    headers[n++] = (struct rest_header){cc_slice_text("Content-Profile"), cc_slice_text(history->table->schema)};
    const char *kept[] = {"Idempotency-Key", "Caucus-Session"};
    for (size_t i = 0; i < 2; i++) {
        struct cc_slice value = rest_request_header(&exchange->request, kept[i]);
        if (value.n > 0) {
            headers[n++] = (struct rest_header){cc_slice_text(kept[i]), value};
        }
    }
    exchange->request.method = cc_slice_text(whole ? "POST" : "PATCH");
    exchange->request.path = cc_arena_slice(arena, cc_buffer_slice(&path));
    exchange->request.query = whole ? cc_slice_text("") : cc_arena_slice(arena, cc_buffer_slice(&filter));
    exchange->request.headers = headers;
    exchange->request.n_headers = n;
    exchange->request.body = cc_slice_text(cc_arena_text(arena, body));
    free(body);
    cc_buffer_finish(&path);
    cc_buffer_finish(&filter);
    exchange_move(exchange, EXCHANGE_PLAN);
    rows_begin(exchange);
}

static void restore(struct exchange *exchange, const struct crdt_history_entry *entries, size_t n)
{
    const struct history *history = exchange->history;
    if (!has_stamp(history, entries, n)) {
        exchange_fail(exchange, 404, "CC244", "The row's history has no such write", "Take the stamp of an entry of GET /_caucus/history");
        return;
    }
    bool whole = history->column.data == NULL;
    if (!whole && !is_visible(entries, n)) {
        exchange_fail(exchange, 409, "CC245", "The row is deleted: one column of it cannot be restored", "Leave column out, to restore the row");
        return;
    }
    json_t *row = row_as_of(history, entries, n);
    if (row == NULL || json_object_size(row) == 0) {
        json_decref(row);
        exchange_fail(exchange, 409, "CC246", "There was no row after that write", "Take the stamp of an earlier entry, or delete the row");
        return;
    }
    write_row(exchange, row, whole);
    json_decref(row);
}

// {"table": "t", "key": "v" | ["v", ...] | {"column": "v", ...}, "stamp": "...", "column": "c"?}. False: not so.
static bool take_key(struct exchange *exchange, const json_t *key)
{
    struct history *history = exchange->history;
    for (uint32_t i = 0; i < history->table->n_key; i++) {
        const json_t *value = json_is_object(key)  ? json_object_get(key, history->table->columns[history->table->key[i]].name)
                              : json_is_array(key) ? json_array_get(key, i)
                              : i == 0             ? key
                                                   : NULL;
        if (json_is_integer(value)) {
            history->key_values[i] = cc_slice_text(cc_arena_printf(&exchange->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value)));
        } else if (json_is_string(value)) {
            history->key_values[i] = cc_slice_text(cc_arena_text(&exchange->arena, json_string_value(value)));
        } else {
            return false;
        }
    }
    size_t n = json_is_object(key) ? json_object_size(key) : json_is_array(key) ? json_array_size(key) : 1;
    return n == history->table->n_key;
}

void history_post_restore(struct exchange *exchange)
{
    exchange->history = cc_arena_alloc(&exchange->arena, sizeof(*exchange->history));
    struct history *history = exchange->history;
    if (!operator_has_catalog(exchange)) {
        return;
    }
    history->restores = true;
    json_t *json = json_loadb((const char *)exchange->request.body.data, exchange->request.body.n, JSON_REJECT_DUPLICATES, NULL);
    const char *table = json_string_value(json_object_get(json, "table"));
    const char *stamp = json_string_value(json_object_get(json, "stamp"));
    const char *column = json_string_value(json_object_get(json, "column"));
    bool good = table != NULL && stamp != NULL && clock_stamp_parse(cc_slice_text(stamp), &history->stamp) == CC_OK;
    history->column = cc_slice_text(column == NULL ? NULL : cc_arena_text(&exchange->arena, column));
    if (good && !find_weak_table(exchange, cc_slice_text(cc_arena_text(&exchange->arena, table)))) {
        json_decref(json);
        return;
    }
    good = good && take_key(exchange, json_object_get(json, "key"));
    json_decref(json);
    if (!good) {
        exchange_fail(exchange, 400, "CC247", "The request does not say what to restore",
                      "{\"table\": \"t\", \"key\": \"k\" or {\"column\": \"k\", ...}, \"stamp\": \"of an entry of the history\"}, and \"column\": \"c\" for one column only");
        return;
    }
    ask_key(exchange);
}
