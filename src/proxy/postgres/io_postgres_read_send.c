// Read connections, what they are sent: prepared statements, the settings that say who a session is, and jobs.
#include "proxy/postgres/io_postgres_read_internal.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

#include "base/arena.h"
#include "base/codec.h"
#include "base/memory.h"
#include "proxy/postgres/pg_value.h"

// -- Prepared statements -------------------------------------------------------------------------------------------------

static void forget(struct connection *connection, struct prepared *prepared)
{
    HASH_DEL(connection->prepared, prepared);
    free(prepared->sql);
    free(prepared);
}

void pg_read_forget_all(struct connection *connection)
{
    struct prepared *prepared, *next;
    HASH_ITER(hh, connection->prepared, prepared, next)
    {
        forget(connection, prepared);
    }
}

void pg_read_forget_number(struct connection *connection, uint64_t number)
{
    struct prepared *prepared, *next;
    HASH_ITER(hh, connection->prepared, prepared, next)
    {
        if (prepared->number == number) {
            forget(connection, prepared); // its name is never used again
        }
    }
}

void pg_read_settle_prepared(struct connection *connection, const struct steps *steps)
{
    struct prepared *prepared, *next;
    HASH_ITER(hh, connection->prepared, prepared, next)
    {
        if (prepared->fresh == steps) { // its preparation failed or was skipped
            forget(connection, prepared);
        }
    }
}

static struct prepared *lookup(struct connection *connection, struct cc_slice sql)
{
    struct prepared *prepared = NULL;
    HASH_FIND(hh, connection->prepared, sql.data, sql.n, prepared);
    if (prepared != NULL && prepared->fresh == NULL) { // to the end: used last
        HASH_DEL(connection->prepared, prepared);
        HASH_ADD_KEYPTR(hh, connection->prepared, prepared->sql, prepared->n, prepared);
    }
    return prepared;
}

static void add_step(struct steps *steps, enum step step)
{
    assert(steps->n < STEPS_MAX);
    steps->at[steps->n++] = step;
}

static bool drop_oldest(struct connection *connection, struct steps *steps)
{
    struct prepared *oldest = connection->prepared;
    char sql[64];
    (void)snprintf(sql, sizeof(sql), "DEALLOCATE %s", oldest->name);
    forget(connection, oldest);
    add_step(steps, STEP_DROP);
    return PQsendQueryParams(connection->libpq, sql, 0, NULL, NULL, NULL, NULL, 0) == 1;
}

static struct prepared *prepare(struct connection *connection, struct steps *steps, struct cc_slice sql)
{
    struct prepared *prepared = cc_alloc(sizeof(*prepared));
    prepared->sql = cc_strndup(sql.data, sql.n);
    prepared->n = sql.n;
    prepared->fresh = steps;
    prepared->number = ++connection->n_names;
    (void)snprintf(prepared->name, sizeof(prepared->name), "r%llu", (unsigned long long)prepared->number);
    HASH_ADD_KEYPTR(hh, connection->prepared, prepared->sql, prepared->n, prepared);
    add_step(steps, STEP_PREPARE);
    if (PQsendPrepare(connection->libpq, prepared->name, prepared->sql, 0, NULL) != 1) {
        return NULL; // the connection is given up, and with it this
    }
    return prepared;
}

// -- Sending -------------------------------------------------------------------------------------------------------------

struct values {
    uint32_t n;
    const struct cc_slice *at; // NULL slices: SQL NULL
    bool binary;
};

static bool send_values(struct connection *connection, const struct prepared *prepared, const struct values *values)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    const char **texts = cc_arena_array(&arena, values->n, sizeof(*texts));
    int *lengths = cc_arena_array(&arena, values->n, sizeof(*lengths));
    int *formats = cc_arena_array(&arena, values->n, sizeof(*formats));
    for (uint32_t i = 0; i < values->n; i++) {
        struct cc_slice value = values->at[i];
        bool copies = !values->binary && value.data != NULL; // libpq wants texts with an end
        texts[i] = copies ? cc_arena_text_n(&arena, value.data, value.n) : (const char *)value.data;
        lengths[i] = (int)value.n;
        formats[i] = values->binary;
    }
    bool sent = PQsendQueryPrepared(connection->libpq, prepared->name, (int)values->n, texts, lengths, formats, 0) == 1;
    cc_arena_finish(&arena);
    return sent;
}

static bool send_text(struct connection *connection, struct steps *steps, enum step step, struct cc_slice sql, const struct values *values)
{
    struct prepared *prepared = lookup(connection, sql);
    steps->reused = prepared == NULL ? 0 : prepared->number;
    if (prepared == NULL) {
        if (HASH_COUNT(connection->prepared) >= connection->pool->prepared_max && !drop_oldest(connection, steps)) {
            return false;
        }
        prepared = prepare(connection, steps, sql);
        if (prepared == NULL) {
            return false;
        }
    }
    add_step(steps, step);
    return send_values(connection, prepared, values);
}

bool pg_read_flush(struct connection *connection)
{
    int left = PQflush(connection->libpq);
    if (left > 0) {
        (void)event_add(connection->writable, NULL);
    }
    return left >= 0;
}

// -- Settings ------------------------------------------------------------------------------------------------------------

static bool is_text(struct cc_slice name, const char *text)
{
    return cc_slice_equal_text(name, text);
}

// What only one request has.
bool pg_read_is_of_request(struct cc_slice name)
{
    return is_text(name, "request.method") || is_text(name, "request.path") || is_text(name, "request.headers") || is_text(name, "request.cookies");
}

static bool has_setting(const struct rest_statement *statement, const char *name)
{
    for (uint32_t i = 0; i < statement->n_settings; i++) {
        if (is_text(statement->settings[i].name, name)) {
            return true;
        }
    }
    return false;
}

bool pg_read_has_identity_of(const struct connection *connection, const struct rest_statement *statement)
{
    struct cc_reader kept = cc_reader_of(cc_buffer_slice(&connection->identity.settings));
    bool same = connection->identity.is_known;
    for (uint32_t i = 0; same && i < statement->n_settings; i++) {
        const struct rest_setting *setting = &statement->settings[i];
        same = pg_read_is_of_request(setting->name) || (cc_slice_equal(cc_read_string(&kept), setting->name) &&
                                                        cc_slice_equal(cc_read_string(&kept), setting->value) && cc_reader_ok(&kept));
    }
    return same && cc_reader_left(&kept) == 0;
}

void pg_read_identity_finish(struct identity *identity)
{
    cc_buffer_finish(&identity->settings);
    while (identity->n_names > 0) {
        free(identity->names[--identity->n_names]);
    }
    free(identity->names);
    *identity = (struct identity){0};
}

static void remember_name(struct identity *identity, struct cc_slice name)
{
    for (size_t i = 0; i < identity->n_names; i++) {
        if (is_text(name, identity->names[i])) {
            return;
        }
    }
    identity->names = cc_grow(identity->names, &identity->names_capacity, identity->n_names + 1, sizeof(*identity->names));
    identity->names[identity->n_names++] = cc_strndup(name.data, name.n);
}

// What every session has from its beginning; a client that leaves is noticed while its statement runs: a statement given up by
// closing the connection ends soon.
static const char *const session_settings[][2] = {
    {"default_transaction_read_only", "on"},
    {"client_connection_check_interval", "500ms"},
    {"idle_in_transaction_session_timeout", "60s"},
    {"TimeZone", "UTC"},
    {"DateStyle", "ISO, MDY"},
    {"IntervalStyle", "postgres"},
    {"extra_float_digits", "1"},
    {"bytea_output", "hex"},
    {"client_encoding", "UTF8"},
    {"standard_conforming_strings", "on"},
    {"lock_timeout", "0"},
    {"caucus.writer", "off"},
};
enum { N_SESSION_SETTINGS = sizeof(session_settings) / sizeof(session_settings[0]) };

// What a setting is when no request says otherwise. The NULL slice: what the server says.
static struct cc_slice session_value(const struct io_postgres_read *pool, const char *name)
{
    if (strcmp(name, "role") == 0) {
        return cc_slice_text("none");
    }
    if (strcasecmp(name, "statement_timeout") == 0) {
        return cc_slice_text(pool->statement_timeout);
    }
    for (size_t i = 0; i < N_SESSION_SETTINGS; i++) {
        if (strcasecmp(session_settings[i][0], name) == 0) {
            return cc_slice_text(session_settings[i][1]);
        }
    }
    return strchr(name, '.') != NULL ? cc_slice_text("") : (struct cc_slice){0};
}

// "SELECT set_config($1, $2, false), ...".
struct settings_text {
    struct cc_buffer sql;
    struct cc_slice *values;
    size_t capacity;
    uint32_t n;
};

static void put_setting(struct settings_text *text, struct cc_slice name, struct cc_slice value, bool of_transaction)
{
    cc_buffer_printf(&text->sql, "%s pg_catalog.set_config($%u, $%u, %s)", text->n == 0 ? "SELECT" : ",", text->n + 1, text->n + 2,
                     of_transaction ? "true" : "false");
    text->values = cc_grow(text->values, &text->capacity, text->n + 2, sizeof(*text->values));
    text->values[text->n++] = name;
    text->values[text->n++] = value;
}

static bool send_settings_text(struct connection *connection, struct steps *steps, struct settings_text *text)
{
    struct values values = {.n = text->n, .at = text->values};
    bool sent = text->n == 0 || send_text(connection, steps, STEP_SETTINGS, cc_buffer_slice(&text->sql), &values);
    free(text->values);
    cc_buffer_finish(&text->sql);
    return sent;
}

// For the rest of the session. It counts as known once the job has succeeded: a failure undoes it. With it whatever code that may
// change it could have left behind for others: a session that writes, or that looks names up elsewhere.
static bool send_identity(struct connection *connection, struct steps *steps, const struct rest_statement *statement)
{
    struct identity *identity = &connection->identity;
    struct settings_text text = {0};
    remember_name(identity, cc_slice_text("role"));
    remember_name(identity, cc_slice_text("request.jwt.claims"));
    for (size_t i = 0; i < identity->n_names; i++) {
        if (!has_setting(statement, identity->names[i])) {
            put_setting(&text, cc_slice_text(identity->names[i]), session_value(connection->pool, identity->names[i]), false);
        }
    }
    cc_buffer_clear(&identity->settings);
    for (uint32_t i = 0; i < statement->n_settings; i++) {
        const struct rest_setting *setting = &statement->settings[i];
        if (!pg_read_is_of_request(setting->name)) {
            remember_name(identity, setting->name);
            put_setting(&text, setting->name, setting->value, false);
            cc_put_string(&identity->settings, setting->name);
            cc_put_string(&identity->settings, setting->value);
        }
    }
    put_setting(&text, cc_slice_text("search_path"), cc_slice_text(connection->pool->search_path), false);
    cc_buffer_append_text(&text.sql, ", pg_catalog.set_config('default_transaction_read_only', 'on', false), "
                                     "pg_catalog.set_config('transaction_read_only', 'on', true), pg_catalog.set_config('caucus.writer', 'off', false)");
    return send_settings_text(connection, steps, &text);
}

// The others, in one statement; without BEGIN everything up to the sync is one transaction, with which they end.
static bool send_settings(struct connection *connection, struct steps *steps, const struct rest_statement *statement)
{
    struct settings_text text = {0};
    for (uint32_t i = 0; i < statement->n_settings; i++) {
        if (pg_read_is_of_request(statement->settings[i].name)) {
            put_setting(&text, statement->settings[i].name, statement->settings[i].value, true);
        }
    }
    return send_settings_text(connection, steps, &text);
}

bool pg_read_send_session_settings(struct connection *connection)
{
    struct cc_buffer sql = {0};
    const char *values[] = {connection->pool->search_path, connection->pool->statement_timeout};
    cc_buffer_append_text(&sql, "SELECT set_config('search_path', $1, false), set_config('statement_timeout', $2, false)");
    for (size_t i = 0; i < N_SESSION_SETTINGS; i++) {
        cc_buffer_printf(&sql, ", set_config('%s', '%s', false)", session_settings[i][0], session_settings[i][1]);
    }
    connection->setup = (struct steps){0};
    add_step(&connection->setup, STEP_SETTINGS);
    bool sent = PQsetnonblocking(connection->libpq, 1) == 0 && PQenterPipelineMode(connection->libpq) == 1 &&
                PQsendQueryParams(connection->libpq, cc_buffer_text(&sql), 2, NULL, values, NULL, NULL, 0) == 1 &&
                PQpipelineSync(connection->libpq) == 1 && pg_read_flush(connection);
    cc_buffer_finish(&sql);
    return sent;
}

// -- Jobs ----------------------------------------------------------------------------------------------------------------

// Functions that look at requests are told of them by settings. Such a function may itself set who it runs as.
static bool may_change_identity(const struct rest_statement *statement)
{
    return has_setting(statement, "request.method");
}

// An array per parameter, with an element per query.
static bool send_lookups(struct connection *connection, struct job *job)
{
    const struct rest_statement *first = job->queries->statement;
    struct pg_array *arrays = cc_alloc_array(first->n_parameters, sizeof(*arrays));
    struct cc_slice *parameters = cc_alloc_array(first->n_parameters, sizeof(*parameters));
    struct cc_buffer sql = {0};
    rest_statement_put_lookups(&sql, first);
    for (uint32_t i = 0; i < first->n_parameters; i++) {
        pg_array_init(&arrays[i], PG_TEXT);
        const struct query *query;
        DL_FOREACH(job->queries, query)
        {
            pg_array_put(&arrays[i], query->statement->parameters[i]);
        }
        parameters[i] = pg_array_slice(&arrays[i]);
    }
    struct values values = {.n = first->n_parameters, .at = parameters, .binary = true};
    bool sent = send_text(connection, &job->steps, STEP_QUERY, cc_buffer_slice(&sql), &values);
    for (uint32_t i = 0; i < first->n_parameters; i++) {
        pg_array_finish(&arrays[i]);
    }
    cc_buffer_finish(&sql);
    free(parameters);
    free(arrays);
    return sent;
}

static bool send_query(struct connection *connection, struct job *job)
{
    const struct rest_statement *statement = job->queries->statement;
    struct values values = {.n = statement->n_parameters, .at = statement->parameters};
    return send_text(connection, &job->steps, STEP_QUERY, statement->sql, &values);
}

// Puts the job on the connection, behind others that may be there. False: the connection is to be given up.
bool pg_read_send_job(struct connection *connection, struct job *job)
{
    const struct rest_statement *statement = job->queries->statement;
    bool has_identity = pg_read_has_identity_of(connection, statement);
    static const struct values none;
    job->connection = connection;
    job->sent_ms = pg_read_now_ms();
    job->may_change_identity = may_change_identity(statement);
    job->keeps_identity = has_identity && !job->may_change_identity;
    connection->state = CONNECTION_BUSY;
    connection->unflushed = true;
    DL_APPEND(connection->jobs, job);
    connection->n_jobs++;
    if (!has_identity && !send_identity(connection, &job->steps, statement)) {
        return false;
    }
    if (statement->n_settings > 0 && !send_settings(connection, &job->steps, statement)) {
        return false;
    }
    if (statement->before.n > 0 && !send_text(connection, &job->steps, STEP_SETTINGS, statement->before, &none)) {
        return false;
    }
    bool sent = job->n_sent > 1 ? send_lookups(connection, job) : send_query(connection, job);
    return sent && PQpipelineSync(connection->libpq) == 1;
}

struct job *pg_read_take_first(struct connection *connection)
{
    struct job *job = connection->jobs;
    DL_DELETE(connection->jobs, job);
    connection->n_jobs--;
    return job;
}
