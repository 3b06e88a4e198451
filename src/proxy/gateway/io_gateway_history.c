// Gateway: histories of weak rows under /_caucus/: history, conflicts, history/restore.
//
//   history:   table, key --types--> key as PostgreSQL writes it --> change sets of the row --> entries
//   restore:   the same; then a write of the row protocol with the old values
//   conflicts: change sets since a time --> the entries that lost
#include "proxy/gateway/io_gateway_internal.h"

#include "crdt/history.h"
#include "proxy/postgres/pg_value.h"
#include "rest/json_body.h"
#include "rest/prefer.h"
#include "rest/syntax.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Of conflicts, a page looks through as many sets as may have so many of them, or a few more.
enum { SETS_MAX = 10000, SETS_MIN = 1000, SETS_PER_ENTRY = 10, ENTRIES_DEFAULT = 100, ENTRIES_MAX = 10000, TIME_BYTES = 40 };

struct history { // a request about histories, in the exchange's arena
    const struct rest_table *table; // NULL: all
    struct cc_slice *key_values;    // of the table's key columns, in key order
    struct cc_slice key;            // crdt_key_put form
    struct cc_slice column;         // NULL slice: all
    uint64_t n_entries_max;
    size_t n_sets_max; // of which the page is made
    bool restores;
    struct rest_request asked; // restore: the client's request, once the exchange goes on as another
    struct clock_stamp stamp; // restore: of the write whose values are wanted
    struct cursor {           // where a page begins; hlc 0: at the newest entry
        struct clock_stamp stamp;
        uint64_t n_skipped; // so many entries under this stamp were told before
    } from;
    struct crdt_change_set *sets; // newest first: what is newer than the page and tells the fate of its entries, then what the page is made of
    size_t n_sets;
    bool newer_cut;               // not all newer ones were read
    bool older_cut;               // there are older ones, which were not read
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

static json_t *key_json(const struct rest_table *table, struct cc_slice key)
{
    enum { KEY_COLUMNS_MAX = 64 };
    struct cc_slice values[KEY_COLUMNS_MAX];
    size_t n = 0;
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

// PostgreSQL sorts by time: of the last time there may be more sets, of other replicas. They are of the next page, all of them.
static void leave_cut_time(struct history *history)
{
    uint64_t hlc = history->n_sets > 0 ? history->sets[history->n_sets - 1].stamp.hlc : 0;
    while (history->older_cut && history->n_sets > 1 && history->sets[history->n_sets - 1].stamp.hlc == hlc) {
        history->n_sets--;
    }
}

static const struct clock_stamp *oldest_stamp(const struct history *history)
{
    const struct clock_stamp *oldest = &history->sets[0].stamp;
    for (size_t i = 1; i < history->n_sets; i++) {
        oldest = clock_stamp_compare(&history->sets[i].stamp, oldest) < 0 ? &history->sets[i].stamp : oldest;
    }
    return oldest;
}

// Rows: change set, up to when sets were dropped, whether it is newer than the page. False: answered.
static bool take_sets(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    struct history *history = exchange->history;
    if (rows->status != CC_OK) {
        exchange_fail_rows(exchange, rows);
        return false;
    }
    history->sets = cc_arena_array(&exchange->arena, (size_t)rows->n_rows + 1, sizeof(*history->sets));
    if (rows->n_rows > 0 && clock_stamp_parse(io_postgres_read_value(rows, 0, 1), &history->dropped) != CC_OK) {
        history->dropped = (struct clock_stamp){0};
    }
    size_t n_newer = 0, n_paged = 0;
    for (uint32_t i = 0; i < rows->n_rows; i++) {
        struct cc_slice bytes;
        struct cc_slice text = cc_arena_slice(&exchange->arena, io_postgres_read_value(rows, i, 0));
        bool newer = cc_slice_equal_text(io_postgres_read_value(rows, i, 2), "t");
        n_newer += newer;
        n_paged += !newer;
        if (text.data == NULL) {
            continue; // the row that tells what was dropped, beside no change set
        }
        if (pg_bytea_read(text, &exchange->arena, &bytes) != CC_OK ||
            crdt_change_set_read(bytes, &exchange->arena, &history->sets[history->n_sets++]) != CC_OK) {
            exchange_fail(exchange, 500, "CC240", "A stored change set cannot be read", "Report this as a bug");
            return false;
        }
    }
    history->newer_cut = n_newer > SETS_MAX;
    history->older_cut = n_paged > history->n_sets_max;
    leave_cut_time(history);
    return true;
}

// -- Pages -------------------------------------------------------------------------------------------------------------

// "<stamp>" or "<stamp>~<entries under it that were told>", as the answer's "next" has it. False: answered.
static bool take_cursor(struct exchange *exchange)
{
    struct cc_slice text = operator_parameter(exchange, "next", 0);
    struct cursor *from = &exchange->history->from;
    const uint8_t *tilde = text.n == 0 ? NULL : memchr(text.data, '~', text.n);
    size_t n = tilde == NULL ? text.n : (size_t)(tilde - text.data);
    int64_t n_skipped = 0;
    bool good = text.data == NULL || clock_stamp_parse(cc_slice_of(text.data, n), &from->stamp) == CC_OK;
    if (good && tilde != NULL) {
        good = pg_int8_read(cc_slice_of(tilde + 1, text.n - n - 1), &n_skipped) == CC_OK && n_skipped >= 0;
    }
    if (!good) {
        exchange_fail(exchange, 400, "CC249", "next is not what an earlier answer told", "Send the same request again with next=<its \"next\">");
        return false;
    }
    from->n_skipped = (uint64_t)n_skipped;
    return true;
}

// The page's bound for SQL: texts of stamps are not greater, if they are of its time.
static struct cc_slice cursor_bound(struct exchange *exchange)
{
    const struct clock_stamp *stamp = &exchange->history->from.stamp;
    return cc_slice_text(clock_stamp_is_zero(stamp) ? "~" : cc_arena_printf(&exchange->arena, "%016" PRIx64 "~", stamp->hlc));
}

struct page { // entries told, newest first
    json_t *list;
    struct cursor next; // behind the last one; what is before history->from comes in no page
    bool cut;           // there is an entry behind it
};

// Whether the entry is to be told on this page.
static bool page_takes(struct page *page, const struct history *history, const struct crdt_history_entry *entry)
{
    int order = clock_stamp_is_zero(&history->from.stamp) ? -1 : clock_stamp_compare(&entry->set->stamp, &history->from.stamp);
    if (order > 0) {
        return false;
    }
    bool same = clock_stamp_compare(&entry->set->stamp, &page->next.stamp) == 0;
    struct cursor next = {entry->set->stamp, same ? page->next.n_skipped + 1 : 1};
    bool told_before = order == 0 && next.n_skipped <= history->from.n_skipped;
    page->cut = !told_before && json_array_size(page->list) >= history->n_entries_max;
    if (!page->cut) {
        page->next = next;
    }
    return !told_before && !page->cut;
}

// Null: this was the last page.
static json_t *next_json(const struct page *page, const struct history *history)
{
    char stamp[CLOCK_STAMP_TEXT_BYTES];
    if (!page->cut && !history->older_cut) {
        return json_null();
    }
    struct cursor next = page->next;
    const struct clock_stamp *oldest = oldest_stamp(history);
    if (!page->cut && clock_stamp_compare(&next.stamp, oldest) != 0) { // all is told that was read
        next = (struct cursor){.stamp = *oldest};
    }
    clock_stamp_text(&next.stamp, stamp);
    return json_sprintf("%s~%" PRIu64, stamp, next.n_skipped);
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

static bool is_of_column(const struct history *history, const struct crdt_history_entry *entry)
{
    return history->column.data == NULL || (entry->field != NULL && cc_slice_equal(entry->field->column, history->column));
}

// The table has the column, or had it. False: answered.
static bool knows_column(struct exchange *exchange, const struct crdt_history_entry *entries, size_t n)
{
    const struct history *history = exchange->history;
    bool known = history->column.data == NULL || rest_table_column(history->table, history->column) >= 0;
    for (size_t i = 0; i < n && !known; i++) {
        known = is_of_column(history, &entries[i]);
    }
    if (!known) {
        exchange_fail(exchange, 400, "PGRST204", "The table has no such column, and nobody has written to one in this row", "GET /_caucus/tables names the columns");
    }
    return known;
}

static void reply_history(struct exchange *exchange, const struct crdt_history_entry *entries, size_t n)
{
    const struct history *history = exchange->history;
    if (!knows_column(exchange, entries, n)) {
        return;
    }
    struct page page = {.list = json_array()};
    for (size_t i = 0; i < n && !page.cut; i++) {
        if (is_of_column(history, &entries[i]) && page_takes(&page, history, &entries[i])) {
            json_array_append_new(page.list, entry_json(&entries[i]));
        }
    }
    json_t *visible = n == 0 || history->newer_cut ? json_null() : json_boolean(is_visible(entries, n));
    json_t *next = next_json(&page, history);
    reply_json(exchange, json_pack("{s:s, s:s, s:o, s:o, s:b, s:o, s:o, s:o}", "schema", history->table->schema, "table", history->table->name, "key",
                                   key_json(history->table, history->key), "visible", visible, "truncated", !json_is_null(next), "next", next,
                                   "dropped_until", dropped_json(history), "entries", page.list));
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

// $1: the row's hash, $2: sets at most, $3: where the page begins.
static const char sql_row_sets[] =
    "WITH s AS MATERIALIZED (SELECT change, stamp COLLATE \"C\" AS stamp FROM caucus.history_of($1::bigint)) "
    "SELECT h.change, d.stamp, h.newer FROM (SELECT max(stamp COLLATE \"C\") AS stamp FROM caucus.dropped) d LEFT JOIN ("
    "(SELECT change, stamp, false AS newer FROM s WHERE stamp <= $3::text ORDER BY stamp DESC LIMIT $2::bigint) UNION ALL "
    "(SELECT change, stamp, true FROM s WHERE stamp > $3::text ORDER BY stamp LIMIT $2::bigint)) h ON true ORDER BY h.stamp DESC";

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
    struct cc_slice *parameters = cc_arena_array(&exchange->arena, 3, sizeof(*parameters));
    parameters[0] = cc_slice_text(cc_arena_printf(&exchange->arena, "%" PRId64, hash));
    history->n_sets_max = SETS_MAX;
    parameters[1] = cc_slice_text(cc_arena_printf(&exchange->arena, "%d", SETS_MAX + 1));
    parameters[2] = cursor_bound(exchange);
    query(exchange, cc_slice_text(sql_row_sets), 3, parameters, on_row_sets);
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
    if (!operator_has_catalog(exchange) || !take_limit(exchange) || !take_cursor(exchange) ||
        !find_weak_table(exchange, operator_parameter(exchange, "table", 0))) {
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

// NULL: there is none of that name any more.
static const struct rest_table *table_of(const struct exchange *exchange, struct cc_slice name)
{
    const struct rest_catalog *catalog = exchange->snapshot->catalog;
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        if (crdt_table_equal(cc_slice_text(catalog->tables[i].qualified), name)) {
            return &catalog->tables[i];
        }
    }
    return NULL;
}

// The page begins at `until`, if that is earlier than where it would begin.
static void take_until(struct exchange *exchange, struct cc_slice upto)
{
    char digits[17] = {0};
    struct clock_stamp *from = &exchange->history->from.stamp;
    if (upto.n == 17) {
        memcpy(digits, upto.data, 16);
        uint64_t hlc = strtoull(digits, NULL, 16);
        if (clock_stamp_is_zero(from) || hlc < from->hlc) {
            exchange->history->from = (struct cursor){.stamp = {.hlc = hlc, .replica = UINT32_MAX, .incarnation = UINT32_MAX}};
        }
    }
}

static void on_conflict_sets(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    struct history *history = exchange->history;
    if (!take_sets(exchange, rows)) {
        return;
    }
    take_until(exchange, rows->n_rows > 0 ? io_postgres_read_value(rows, 0, 3) : (struct cc_slice){0});
    struct crdt_history_entry *entries = NULL;
    size_t n = 0;
    struct cc_slice table = cc_slice_text(history->table == NULL ? NULL : history->table->qualified);
    crdt_history_create(history->sets, history->n_sets, table, (struct cc_slice){0}, &exchange->arena, &entries, &n);
    struct page page = {.list = json_array()};
    for (size_t i = 0; i < n && !page.cut; i++) {
        if (crdt_fate_is_conflict(entries[i].fate) && page_takes(&page, history, &entries[i])) {
            json_t *entry = entry_json(&entries[i]);
            json_object_set_new(entry, "table", json_text(entries[i].change->table));
            json_object_set_new(entry, "key", key_json(table_of(exchange, entries[i].change->table), entries[i].change->key));
            json_array_append_new(page.list, entry);
        }
    }
    json_t *next = next_json(&page, history);
    reply_json(exchange, json_pack("{s:b, s:o, s:o, s:o}", "truncated", !json_is_null(next), "next", next, "dropped_until", dropped_json(history),
                                   "conflicts", page.list));
}

// $1: since, $2: sets of the page at most, $3: where it begins, $4: until, $5: newer sets at most. The page is made of the newest sets up to there; of newer ones those are wanted
// that touch the same rows. A row of the history holds sets from `since` to `stamp`, with one hash for each unless it holds one set only.
static const char sql_conflict_sets[] =
    "WITH t AS (SELECT coalesce(lpad(to_hex(least(greatest(extract(epoch FROM $1::timestamptz) * 1000, 0), 140737488355327)::bigint << 16), 16, '0'), '') AS since, "
    "CASE WHEN $4::text IS NULL THEN $3::text ELSE least($3::text COLLATE \"C\", lpad(to_hex(least(greatest(floor(extract(epoch FROM $4::timestamptz) * 1000), 0), "
    "140737488355327)::bigint << 16 | 65535), 16, '0') || '~') END AS upto), "
    "r AS (SELECT h.changes, h.rows, h.sets FROM t, LATERAL ("
    "(SELECT * FROM caucus.history WHERE stamp COLLATE \"C\" >= t.since AND stamp COLLATE \"C\" <= t.upto ORDER BY stamp COLLATE \"C\" DESC LIMIT $2::bigint) UNION ALL "
    "(SELECT * FROM caucus.history WHERE stamp COLLATE \"C\" > t.upto AND since COLLATE \"C\" <= t.upto)) h), "
    "p AS MATERIALIZED (SELECT s.change, s.stamp, s.hashes FROM t, (SELECT c.change, caucus.time_of(c.change) COLLATE \"C\" AS stamp, "
    "CASE WHEN r.sets = 1 THEN r.rows ELSE r.rows[c.n:c.n] END AS hashes FROM r, unnest(r.changes) WITH ORDINALITY AS c(change, n)) s "
    "WHERE s.stamp >= t.since AND s.stamp <= t.upto ORDER BY s.stamp DESC LIMIT $2::bigint), "
    "w AS MATERIALIZED (SELECT DISTINCT unnest(p.hashes) AS hash FROM p), "
    "m AS MATERIALIZED (SELECT DISTINCT h.replica, h.incarnation, h.sequence, CASE WHEN h.sets = 1 THEN 1 ELSE x.n END AS place "
    "FROM t, caucus.history h, unnest(h.rows) WITH ORDINALITY AS x(hash, n) WHERE h.stamp COLLATE \"C\" > t.upto AND x.hash IN (SELECT hash FROM w)), "
    "n AS (SELECT s.change, s.stamp FROM t, (SELECT h.changes[m.place] AS change, caucus.time_of(h.changes[m.place]) COLLATE \"C\" AS stamp "
    "FROM m JOIN caucus.history h USING (replica, incarnation, sequence)) s WHERE s.stamp > t.upto ORDER BY s.stamp LIMIT $5::bigint) "
    "SELECT h.change, d.stamp, h.newer, (SELECT upto FROM t) FROM (SELECT max(stamp COLLATE \"C\") AS stamp FROM caucus.dropped) d LEFT JOIN "
    "(SELECT change, stamp, false AS newer FROM p UNION ALL SELECT change, stamp, true FROM n) h ON true ORDER BY h.stamp DESC";

void history_get_conflicts(struct exchange *exchange)
{
    exchange->history = cc_arena_alloc(&exchange->arena, sizeof(*exchange->history));
    struct cc_slice table = operator_parameter(exchange, "table", 0);
    if (!operator_has_catalog(exchange) || !take_limit(exchange) || !take_cursor(exchange) || (table.data != NULL && !find_weak_table(exchange, table))) {
        return;
    }
    struct history *history = exchange->history;
    size_t n_sets = SETS_PER_ENTRY * history->n_entries_max;
    history->n_sets_max = n_sets < SETS_MIN ? SETS_MIN : n_sets > SETS_MAX ? SETS_MAX : n_sets;
    struct cc_slice *parameters = cc_arena_array(&exchange->arena, 5, sizeof(*parameters));
    parameters[0] = operator_parameter(exchange, "since", 0);
    parameters[1] = cc_slice_text(cc_arena_printf(&exchange->arena, "%zu", history->n_sets_max + 1));
    parameters[2] = cursor_bound(exchange);
    parameters[3] = operator_parameter(exchange, "until", 0);
    parameters[4] = cc_slice_text(cc_arena_printf(&exchange->arena, "%d", SETS_MAX + 1));
    query(exchange, cc_slice_text(sql_conflict_sets), 5, parameters, on_conflict_sets);
}

// -- Restore -----------------------------------------------------------------------------------------------------------

static bool is_json(const struct rest_table *table, struct cc_slice column)
{
    int32_t at = rest_table_column(table, column);
    const char *type = at < 0 ? "" : table->columns[at].base_type;
    return strcmp(type, "json") == 0 || strcmp(type, "jsonb") == 0;
}

// A value as a request would bring it: the row protocol reads texts as PostgreSQL's input functions do, except JSON.
static void put_value(struct cc_buffer *out, const struct rest_table *table, const struct crdt_field *field)
{
    if (field->value.data == NULL) {
        cc_buffer_append_text(out, "null");
    } else if (is_json(table, field->column)) {
        cc_buffer_append_slice(out, field->value);
    } else {
        rest_json_put_string(out, field->value);
    }
}

static void put_member(struct cc_buffer *out, struct cc_slice column)
{
    cc_buffer_append_text(out, out->n == 0 ? "{" : ", ");
    rest_json_put_string(out, column);
    cc_buffer_append_text(out, ": ");
}

// Whether a request can write the column: it is still there, and not generated since.
static bool can_write(const struct rest_table *table, struct cc_slice column)
{
    int32_t at = rest_table_column(table, column);
    return at >= 0 && !table->columns[at].generated;
}

// The body of the request that writes these fields: the whole row with its key, or the one column. Empty: none of them can be written.
static void put_row(struct cc_buffer *out, const struct history *history, const struct crdt_field **fields, size_t n)
{
    bool whole = history->column.data == NULL;
    for (uint32_t i = 0; whole && i < history->table->n_key; i++) {
        put_member(out, column_name(history->table, i));
        rest_json_put_string(out, history->key_values[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if ((whole || cc_slice_equal(history->column, fields[i]->column)) && can_write(history->table, fields[i]->column)) {
            put_member(out, fields[i]->column);
            put_value(out, history->table, fields[i]);
        }
    }
    cc_buffer_append_text(out, out->n == 0 ? "" : "}");
}

static bool has_stamp(const struct history *history, const struct crdt_history_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_of_column(history, &entries[i]) && entries[i].fate != CRDT_FATE_NOT_RENEWED && clock_stamp_compare(&entries[i].set->stamp, &history->stamp) == 0) {
            return true;
        }
    }
    return false;
}

// The exchange goes on as a request of the row protocol: one row inserted, or the named columns of it updated.
static void write_row(struct exchange *exchange, struct cc_slice body)
{
    bool whole = exchange->history->column.data == NULL;
    const struct history *history = exchange->history;
    struct cc_arena *arena = &exchange->arena;
    struct cc_buffer path = {0}, filter = {0};
    cc_buffer_append_text(&path, "/");
    rest_percent_encode(&path, cc_slice_text(history->table->name));
    for (uint32_t i = 0; i < history->table->n_key; i++) {
        cc_buffer_append_text(&filter, i == 0 ? "" : "&");
        rest_percent_encode(&filter, column_name(history->table, i));
        cc_buffer_append_text(&filter, "=eq.");
        rest_percent_encode(&filter, history->key_values[i]);
    }
    struct rest_header *headers = cc_arena_array(arena, 5, sizeof(*headers));
    struct rest_preferences asked, preferences = {.representation = REST_RETURN_REPRESENTATION};
    rest_prefer_read(&exchange->request, arena, &asked);
    preferences.durability = asked.durability;
    preferences.resolution = whole ? REST_RESOLUTION_MERGE : REST_RESOLUTION_NONE;
    uint32_t n = 0;
    headers[n++] = (struct rest_header){cc_slice_text("Content-Type"), cc_slice_text("application/json")};
    headers[n++] = (struct rest_header){cc_slice_text("Prefer"), cc_slice_text(rest_prefer_applied(&preferences, arena))};
    headers[n++] = (struct rest_header){cc_slice_text("Content-Profile"), cc_slice_text(history->table->schema)};
    const char *kept[] = {"Idempotency-Key", "Caucus-Session"};
    for (size_t i = 0; i < 2; i++) {
        struct cc_slice value = rest_request_header(&exchange->request, kept[i]);
        if (value.n > 0) {
            headers[n++] = (struct rest_header){cc_slice_text(kept[i]), value};
        }
    }
    exchange->history->asked = exchange->request;
    exchange->request.method = cc_slice_text(whole ? "POST" : "PATCH");
    exchange->request.path = cc_arena_slice(arena, cc_buffer_slice(&path));
    exchange->request.query = whole ? cc_slice_text("") : cc_arena_slice(arena, cc_buffer_slice(&filter));
    exchange->request.headers = headers;
    exchange->request.n_headers = n;
    exchange->request.body = cc_arena_slice(arena, body);
    cc_buffer_finish(&path);
    cc_buffer_finish(&filter);
    exchange_move(exchange, EXCHANGE_PLAN);
    rows_begin(exchange);
}

// The schema is another one than the row was written for: a column may be gone.
void history_begin_again(struct exchange *exchange)
{
    if (exchange->history != NULL && exchange->history->asked.path.data != NULL) {
        exchange->request = exchange->history->asked;
    }
}

static void restore(struct exchange *exchange, const struct crdt_history_entry *entries, size_t n)
{
    const struct history *history = exchange->history;
    if (!has_stamp(history, entries, n)) {
        exchange_fail(exchange, 404, "CC244", "The row's history has no such write", "Take the stamp of an entry of GET /_caucus/history");
        return;
    }
    if (history->column.data != NULL && !is_visible(entries, n)) {
        exchange_fail(exchange, 409, "CC245", "The row is deleted: one column of it cannot be restored", "Leave column out, to restore the row");
        return;
    }
    const struct crdt_field **fields;
    size_t n_fields;
    if (!crdt_history_row_at(entries, n, &history->stamp, &exchange->arena, &fields, &n_fields)) {
        exchange_fail(exchange, 409, "CC246", "There was no row after that write", "Take the stamp of an earlier entry, or delete the row");
        return;
    }
    struct cc_buffer row = {0};
    put_row(&row, history, fields, n_fields);
    if (row.n > 0) {
        write_row(exchange, cc_buffer_slice(&row));
    } else {
        exchange_fail(exchange, 409, "CC248", "The table has no such column any more, or it cannot be written", NULL);
    }
    cc_buffer_finish(&row);
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
    history->from.stamp = history->stamp;
    json_decref(json);
    if (!good) {
        exchange_fail(exchange, 400, "CC247", "The request does not say what to restore",
                      "{\"table\": \"t\", \"key\": \"k\" or {\"column\": \"k\", ...}, \"stamp\": \"of an entry of the history\"}, and \"column\": \"c\" for one column only");
        return;
    }
    ask_key(exchange);
}
