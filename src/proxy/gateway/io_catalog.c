// The catalog: loading and publishing.
#include "proxy/gateway/io_catalog.h"

#include "base/log.h"
#include "base/memory.h"
#include "proxy/postgres/io_postgres_link.h"
#include "proxy/config/keys.h"
#include "proxy/postgres/login_role.h"
#include "rest/catalog_sql.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_CHECK_MS = 500, SICK_CHECKS = 4 }; // sick: so many checks without an answer

static const char session_sql[] = "SELECT set_config('search_path', 'pg_catalog', false), set_config('client_encoding', 'UTF8', false),"
                                  " set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', '0', false),"
                                  " set_config('TimeZone', 'UTC', false), set_config('jit', 'off', false)";
// An asynchronous commit is on disk when the flush position has passed the insert position seen after it.
static const char flush_sql[] = "SELECT (SELECT applied FROM caucus.applied), pg_current_wal_insert_lsn() - '0/0'::pg_lsn,"
                                " pg_current_wal_flush_lsn() - '0/0'::pg_lsn,"
                                " (SELECT string_agg(concat_ws(' ', replica, incarnation, sequence), ' ') FROM caucus.frontier)";

static const char session_key_sql[] = "SELECT value FROM caucus.cluster WHERE name = 'session_key'";

struct io_catalog {
    struct io_catalog_options options;
    struct io_postgres_link *link;
    struct cc_buffer schemas; // PostgreSQL array text
    bool loading, again;
    PGresult *read; // the catalog, until its roles are granted
    struct event *flush_timer;
    uint32_t n_unanswered; // checks since the one that is under way was sent; 0: none is
    bool sick;
    uint64_t seen_applied, seen_insert; // of an earlier look
    uint64_t flushed;
    struct crdt_frontier seen_frontier, flushed_frontier;
    bool frontier_known;
    pthread_mutex_t lock; // guards what follows
    struct catalog_snapshot *current;
    bool has_session_key;
    uint8_t session_key[SESSION_KEY_BYTES];
};

static struct cc_slice value_of(const PGresult *result, int column)
{
    if (PQgetisnull(result, 0, column)) {
        return cc_slice_of(NULL, 0);
    }
    return cc_slice_of(PQgetvalue(result, 0, column), (size_t)PQgetlength(result, 0, column));
}

void catalog_snapshot_release(struct catalog_snapshot *snapshot)
{
    if (snapshot != NULL && atomic_fetch_sub(&snapshot->n_references, 1) == 1) {
        rest_catalog_destroy(snapshot->catalog);
        free(snapshot);
    }
}

struct catalog_snapshot *io_catalog_acquire(struct io_catalog *catalog)
{
    pthread_mutex_lock(&catalog->lock);
    struct catalog_snapshot *snapshot = catalog->current;
    if (snapshot != NULL) {
        atomic_fetch_add(&snapshot->n_references, 1);
    }
    pthread_mutex_unlock(&catalog->lock);
    return snapshot;
}

static void publish(struct io_catalog *catalog, struct rest_catalog *fresh)
{
    struct catalog_snapshot *snapshot = cc_alloc(sizeof(*snapshot));
    atomic_init(&snapshot->n_references, 1);
    snapshot->catalog = fresh;
    pthread_mutex_lock(&catalog->lock);
    struct catalog_snapshot *old = catalog->current;
    catalog->current = snapshot;
    pthread_mutex_unlock(&catalog->lock);
    catalog_snapshot_release(old);
    cc_log(CC_LOG_INFO, "catalog", "version=%" PRIu32 " tables=%" PRIu32 " functions=%" PRIu32, fresh->version, fresh->n_tables,
           fresh->n_functions);
    catalog->options.on_published(catalog->options.context, fresh->version);
}

static void take_catalog(struct io_catalog *catalog, const PGresult *result)
{
    char error[256] = "";
    struct rest_catalog *fresh;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
        cc_log(CC_LOG_ERROR, "catalog_failed", "why=%s", cc_log_quote(PQresultErrorMessage(result)));
        return;
    }
    if (rest_catalog_create(value_of(result, 0), &fresh, error) != CC_OK) {
        cc_log(CC_LOG_ERROR, "catalog_failed", "why=%s", cc_log_quote(error));
        return;
    }
    io_postgres_link_good(catalog->link);
    publish(catalog, fresh);
}

static void on_catalog(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_catalog *catalog = context;
    PQclear(catalog->read);
    catalog->read = result;
}

static void on_loaded(void *context, uint64_t number)
{
    (void)number;
    struct io_catalog *catalog = context;
    catalog->loading = false;
    take_catalog(catalog, catalog->read);
    PQclear(catalog->read);
    catalog->read = NULL;
    if (catalog->again) {
        catalog->again = false;
        io_catalog_refresh(catalog);
    }
}

static void on_login_role(void *context, uint64_t number, PGresult *result)
{
    (void)context;
    (void)number;
    if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        cc_log(CC_LOG_ERROR, "login_role_failed", "role=%s why=%s", LOGIN_ROLE_READS, cc_log_quote(PQresultErrorMessage(result)));
    }
    PQclear(result);
}

static void send_login_role(struct io_catalog *catalog)
{
    const char *const texts[] = {"SET default_transaction_read_only = off", LOGIN_ROLE_SQL(LOGIN_ROLE_READS), "SET default_transaction_read_only = on"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        io_postgres_link_send_text(catalog->link, texts[i], on_login_role, catalog, 0);
        io_postgres_link_sync(catalog->link, NULL, NULL, 0); // each is a transaction of its own
    }
}

void io_catalog_refresh(struct io_catalog *catalog)
{
    if (io_postgres_link_connection(catalog->link) == NULL) {
        return; // it is read when the connection is there
    }
    if (catalog->loading) {
        catalog->again = true;
        return;
    }
    catalog->loading = true;
    struct cc_slice parameter = cc_buffer_slice(&catalog->schemas);
    struct io_postgres_query query = {.sql = rest_catalog_sql, .n_parameters = 1, .parameters = &parameter, .once = true};
    io_postgres_link_send(catalog->link, &query, on_catalog, catalog, 0);
    if (catalog->options.keeps_login_role) {
        io_postgres_link_sync(catalog->link, NULL, NULL, 0);
        send_login_role(catalog); // behind it: whoever sees this catalog can become every role of it
    }
    io_postgres_link_sync(catalog->link, on_loaded, catalog, 0);
}

static void on_ignored(void *context, uint64_t number, PGresult *result)
{
    (void)context;
    (void)number;
    PQclear(result);
}

static uint64_t number_of(const PGresult *result, int column)
{
    return strtoull(PQgetvalue(result, 0, column), NULL, 10);
}

static void set_sick(struct io_catalog *catalog, bool sick)
{
    if (catalog->sick != sick) {
        catalog->sick = sick;
        catalog->options.on_sick(catalog->options.context, sick);
    }
}

static void on_flush(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_catalog *catalog = context;
    catalog->n_unanswered = 0;
    set_sick(catalog, false);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        uint64_t applied = number_of(result, 0), insert = number_of(result, 1), flush = number_of(result, 2);
        if (catalog->seen_insert > 0 && flush >= catalog->seen_insert) {
            catalog->flushed = catalog->seen_applied;
            catalog->flushed_frontier = catalog->seen_frontier;
            catalog->frontier_known = true;
            catalog->seen_insert = 0;
        }
        if (catalog->seen_insert == 0 || applied < catalog->seen_applied) {
            catalog->seen_applied = applied;
            crdt_frontier_of_text(PQgetvalue(result, 0, 3), &catalog->seen_frontier);
            catalog->seen_insert = insert;
        }
    }
    PQclear(result);
    if (catalog->options.on_flushed != NULL && catalog->flushed + catalog->flushed_frontier.n > 0) {
        catalog->options.on_flushed(catalog->options.context, catalog->flushed,
                                    catalog->frontier_known ? &catalog->flushed_frontier : NULL);
    }
}

static void on_session_key(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct io_catalog *catalog = context;
    uint8_t key[SESSION_KEY_BYTES];
    bool answered = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (answered && PQntuples(result) == 1 && keys_from_text(value_of(result, 0), key) == CC_OK) {
        pthread_mutex_lock(&catalog->lock);
        memcpy(catalog->session_key, key, sizeof(key));
        catalog->has_session_key = true;
        pthread_mutex_unlock(&catalog->lock);
    } else if (answered) {
        catalog->options.on_no_session_key(catalog->options.context);
    }
    PQclear(result);
}

bool io_catalog_session_key(struct io_catalog *catalog, uint8_t key_out[SESSION_KEY_BYTES])
{
    pthread_mutex_lock(&catalog->lock);
    bool known = catalog->has_session_key;
    memcpy(key_out, catalog->session_key, SESSION_KEY_BYTES);
    pthread_mutex_unlock(&catalog->lock);
    return known;
}

static void on_flush_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct io_catalog *catalog = context;
    if (catalog->n_unanswered > 0) { // one at a time; reading a large catalog may take longer
        set_sick(catalog, ++catalog->n_unanswered > SICK_CHECKS && !catalog->loading);
        return;
    }
    if (io_postgres_link_connection(catalog->link) != NULL) {
        catalog->n_unanswered = 1;
        struct io_postgres_query query = {.sql = flush_sql};
        io_postgres_link_send(catalog->link, &query, on_flush, catalog, 0);
        if (!catalog->has_session_key) { // only this thread writes it
            struct io_postgres_query key = {.sql = session_key_sql};
            io_postgres_link_send(catalog->link, &key, on_session_key, catalog, 0);
        }
        io_postgres_link_sync(catalog->link, NULL, NULL, 0);
    }
}

static void on_connected(void *context)
{
    struct io_catalog *catalog = context;
    catalog->loading = catalog->again = false;
    catalog->seen_insert = 0;
    io_postgres_link_send_text(catalog->link, session_sql, on_ignored, catalog, 0);
    io_postgres_link_sync(catalog->link, NULL, NULL, 0);
    io_catalog_refresh(catalog);
}

static void on_down(void *context, const char *why)
{
    struct io_catalog *catalog = context;
    catalog->loading = false;
    PQclear(catalog->read);
    catalog->read = NULL;
    catalog->n_unanswered = 0;
    set_sick(catalog, false); // the lanes are down, too, and say so
    catalog->flushed = 0; // what was flushed is looked up again
    catalog->frontier_known = false;
    cc_log(CC_LOG_DEBUG, "catalog_connection_lost", "why=%s", cc_log_quote(why));
}

// {"public","other"}: names from the configuration, quoted as array elements.
static void put_schemas(struct cc_buffer *out, const struct io_catalog_options *options)
{
    cc_buffer_append_text(out, "{");
    for (size_t i = 0; i < options->n_schemas; i++) {
        cc_buffer_append_text(out, i == 0 ? "\"" : ",\"");
        for (const char *c = options->schemas[i]; *c != '\0'; c++) {
            if (*c == '"' || *c == '\\') {
                cc_buffer_append_text(out, "\\");
            }
            cc_buffer_append(out, c, 1);
        }
        cc_buffer_append_text(out, "\"");
    }
    cc_buffer_append_text(out, "}");
}

struct io_catalog *io_catalog_create(const struct io_catalog_options *options)
{
    struct io_catalog *catalog = cc_alloc(sizeof(*catalog));
    catalog->options = *options;
    put_schemas(&catalog->schemas, options);
    pthread_mutex_init(&catalog->lock, NULL);
    struct io_postgres_link_options link = {.base = options->base,
                                            .conninfo = options->conninfo,
                                            .application_name = "caucus catalog",
                                            .on_connected = on_connected,
                                            .on_down = on_down,
                                            .context = catalog};
    catalog->link = io_postgres_link_create(&link);
    catalog->flush_timer = event_new(options->base, -1, EV_PERSIST, on_flush_timer, catalog);
    struct timeval interval = {FLUSH_CHECK_MS / 1000, (FLUSH_CHECK_MS % 1000) * 1000};
    event_add(catalog->flush_timer, &interval);
    return catalog;
}

void io_catalog_connect(struct io_catalog *catalog)
{
    io_postgres_link_connect(catalog->link);
}

void io_catalog_destroy(struct io_catalog *catalog)
{
    if (catalog == NULL) {
        return;
    }
    event_free(catalog->flush_timer);
    io_postgres_link_destroy(catalog->link);
    PQclear(catalog->read);
    catalog_snapshot_release(catalog->current);
    pthread_mutex_destroy(&catalog->lock);
    cc_buffer_finish(&catalog->schemas);
    free(catalog);
}

uint64_t io_catalog_flushed(const struct io_catalog *catalog)
{
    return catalog->flushed;
}
