// One asynchronous connection to PostgreSQL: see the header.
#include "proxy/postgres/io_postgres_link.h"

#include "base/hash.h"
#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum link_state { LINK_CLOSED, LINK_WAITING, LINK_CONNECTING, LINK_OPEN, LINK_FAILING };
enum { NAME_BYTES = 48, SECRET_BYTES = 16 };
enum { BACKOFF_MS_MIN = 50, BACKOFF_MS_MAX = 2000, CONNECT_MS_MAX = 10000, STATEMENTS_MAX = 500, N_BUCKETS = 1024 };

enum command_kind { COMMAND_QUERY, COMMAND_PREPARE, COMMAND_SYNC };

struct command {
    enum command_kind kind;
    io_postgres_on_result *on_result;
    io_postgres_on_sync *on_sync;
    void *context;
    uint64_t number;
    uint64_t statement;       // PREPARE: number of the prepared statement
    PGresult *prepare_failed; // QUERY: the error of the PREPARE in front of it, delivered in its place
};

struct statement {
    uint64_t number; // its name is "c<number>", with a secret "c<number>_<hash>"
    uint64_t used;   // for eviction: the least recently used one goes
    char *sql;
    size_t n_sql;
    struct statement *next;
};

struct io_postgres_link {
    struct io_postgres_link_options options;
    char *conninfo, *application_name, *user, *settings;
    bool has_secret;
    uint8_t secret[SECRET_BYTES];
    enum link_state state;
    PGconn *connection;
    struct event *readable, *writable, *timer;
    unsigned backoff_ms;
    char why[300];
    bool closing; // no new attempt after the failure
    bool cancelling; // asked for, and nothing has been cancelled so far
    bool unsynced; // commands follow the last sync: the server answers them at the next one, so they leave with it
    struct command *commands;
    size_t first, n, capacity; // a ring of commands in flight
    struct statement *buckets[N_BUCKETS];
    uint32_t n_statements;
    uint64_t n_prepared, clock;
    struct cc_buffer scratch; // NUL-terminated texts of parameters
    const char **values;
    int *lengths, *formats;
    size_t values_capacity, lengths_capacity, formats_capacity;
};

// -- Commands in flight ------------------------------------------------------------------------------------------------

static struct command *command_push(struct io_postgres_link *link, enum command_kind kind)
{
    if (link->n == link->capacity) {
        size_t capacity = link->capacity == 0 ? 64 : link->capacity * 2;
        struct command *commands = cc_alloc_array(capacity, sizeof(*commands));
        for (size_t i = 0; i < link->n; i++) {
            commands[i] = link->commands[(link->first + i) % link->capacity];
        }
        free(link->commands);
        link->commands = commands;
        link->capacity = capacity;
        link->first = 0;
    }
    struct command *command = &link->commands[(link->first + link->n++) % link->capacity];
    *command = (struct command){.kind = kind};
    return command;
}

static struct command *command_head(struct io_postgres_link *link)
{
    return link->n == 0 ? NULL : &link->commands[link->first];
}

static struct command command_pop(struct io_postgres_link *link)
{
    assert(link->n > 0);
    struct command command = link->commands[link->first];
    link->first = (link->first + 1) % link->capacity;
    link->n--;
    return command;
}

static void commands_forget(struct io_postgres_link *link)
{
    while (link->n > 0) {
        struct command command = command_pop(link);
        PQclear(command.prepare_failed);
    }
}

// -- Prepared statements -----------------------------------------------------------------------------------------------

// One name that has become known tells nothing about others.
static const char *statement_name(const struct io_postgres_link *link, uint64_t number, char name_out[NAME_BYTES])
{
    int n = snprintf(name_out, NAME_BYTES, "c%llu", (unsigned long long)number);
    if (link->has_secret) {
        uint64_t hash = cc_siphash(link->secret, &number, sizeof(number));
        (void)snprintf(name_out + n, NAME_BYTES - (size_t)n, "_%016llx", (unsigned long long)hash);
    }
    return name_out;
}

static size_t statement_bucket(const char *sql, size_t n)
{
    static const uint8_t key[16] = {1};
    return cc_siphash(key, sql, n) % N_BUCKETS;
}

static struct statement *statement_find(struct io_postgres_link *link, const char *sql, size_t n)
{
    struct statement *statement = link->buckets[statement_bucket(sql, n)];
    while (statement != NULL && (statement->n_sql != n || memcmp(statement->sql, sql, n) != 0)) {
        statement = statement->next;
    }
    return statement;
}

static struct statement *statement_add(struct io_postgres_link *link, const char *sql, size_t n)
{
    struct statement *statement = cc_alloc(sizeof(*statement));
    statement->number = ++link->n_prepared;
    statement->sql = cc_strndup(sql, n);
    statement->n_sql = n;
    struct statement **bucket = &link->buckets[statement_bucket(sql, n)];
    statement->next = *bucket;
    *bucket = statement;
    link->n_statements++;
    return statement;
}

static void statement_remove(struct io_postgres_link *link, uint64_t number)
{
    for (size_t i = 0; i < N_BUCKETS; i++) {
        for (struct statement **at = &link->buckets[i]; *at != NULL; at = &(*at)->next) {
            if ((*at)->number == number) {
                struct statement *statement = *at;
                *at = statement->next;
                free(statement->sql);
                free(statement);
                link->n_statements--;
                return;
            }
        }
    }
}

static void statements_forget(struct io_postgres_link *link)
{
    for (size_t i = 0; i < N_BUCKETS; i++) {
        while (link->buckets[i] != NULL) {
            struct statement *statement = link->buckets[i];
            link->buckets[i] = statement->next;
            free(statement->sql);
            free(statement);
        }
    }
    link->n_statements = 0;
}

static uint64_t statement_oldest(const struct io_postgres_link *link)
{
    uint64_t number = 0;
    uint64_t used = UINT64_MAX;
    for (size_t i = 0; i < N_BUCKETS; i++) {
        for (const struct statement *at = link->buckets[i]; at != NULL; at = at->next) {
            if (at->used < used) {
                used = at->used;
                number = at->number;
            }
        }
    }
    return number;
}

// -- Connecting and failing ----------------------------------------------------------------------------------------------

static void set_timer(struct io_postgres_link *link, unsigned ms)
{
    struct timeval after = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    event_add(link->timer, &after);
}

static void events_free(struct io_postgres_link *link)
{
    if (link->readable != NULL) {
        event_free(link->readable);
        link->readable = NULL;
    }
    if (link->writable != NULL) {
        event_free(link->writable);
        link->writable = NULL;
    }
}

static void tear_down(struct io_postgres_link *link)
{
    events_free(link);
    commands_forget(link);
    statements_forget(link);
    if (link->connection != NULL) {
        PQfinish(link->connection);
        link->connection = NULL;
    }
}

// From now on nothing is sent or heard; the loop tears down and tells the owner.
static void fail(struct io_postgres_link *link, const char *why)
{
    if (link->state != LINK_CONNECTING && link->state != LINK_OPEN) {
        return;
    }
    snprintf(link->why, sizeof(link->why), "%s", why);
    link->state = LINK_FAILING;
    events_free(link);
    set_timer(link, 0);
}

static void fail_with_message(struct io_postgres_link *link, const char *what)
{
    char text[300];
    const char *message = PQerrorMessage(link->connection);
    snprintf(text, sizeof(text), "%s: %.240s", what, message == NULL ? "" : message);
    for (size_t n = strlen(text); n > 0 && text[n - 1] == '\n'; n--) {
        text[n - 1] = '\0';
    }
    fail(link, text);
}

static void on_socket(evutil_socket_t socket, short what, void *context);
static void on_connecting(evutil_socket_t socket, short what, void *context);

static void watch_connecting(struct io_postgres_link *link, PostgresPollingStatusType status)
{
    events_free(link); // the socket may be another one after each step
    short what = status == PGRES_POLLING_READING ? EV_READ : EV_WRITE;
    link->readable = event_new(link->options.base, PQsocket(link->connection), what, on_connecting, link);
    event_add(link->readable, NULL);
}

static void opened(struct io_postgres_link *link)
{
    events_free(link);
    event_del(link->timer);
    if (PQsetnonblocking(link->connection, 1) != 0 || PQenterPipelineMode(link->connection) != 1) {
        fail_with_message(link, "cannot set up the connection");
        return;
    }
    link->state = LINK_OPEN;
    link->cancelling = false;
    link->unsynced = false;
    link->readable = event_new(link->options.base, PQsocket(link->connection), EV_READ | EV_PERSIST, on_socket, link);
    link->writable = event_new(link->options.base, PQsocket(link->connection), EV_WRITE, on_socket, link);
    event_add(link->readable, NULL);
    link->options.on_connected(link->options.context);
}

static void on_connecting(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct io_postgres_link *link = context;
    PostgresPollingStatusType status = PQconnectPoll(link->connection);
    if (status == PGRES_POLLING_OK) {
        opened(link);
    } else if (status == PGRES_POLLING_FAILED) {
        fail_with_message(link, "cannot connect");
    } else {
        watch_connecting(link, status);
    }
}

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static void connect_now(struct io_postgres_link *link)
{
    const char *name = link->settings == NULL ? "fallback_application_name" : "application_name";
    const char *keywords[] = {"dbname", "user", "options", name, "client_encoding", NULL};
    const char *values[] = {link->conninfo, link->user, link->settings, link->application_name, "UTF8", NULL};
    link->state = LINK_CONNECTING;
    link->connection = PQconnectStartParams(keywords, values, 1);
    assert(link->connection != NULL); // NULL: no memory
    if (PQstatus(link->connection) == CONNECTION_BAD) {
        fail_with_message(link, "cannot connect");
        return;
    }
    PQsetNoticeReceiver(link->connection, ignore_notice, NULL);
    watch_connecting(link, PGRES_POLLING_WRITING);
    set_timer(link, CONNECT_MS_MAX);
}

static void on_timer(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    (void)what;
    struct io_postgres_link *link = context;
    switch (link->state) {
    case LINK_WAITING:
        connect_now(link);
        return;
    case LINK_CONNECTING:
        fail(link, "cannot connect: no answer in time");
        return;
    case LINK_FAILING:
        tear_down(link);
        link->state = link->closing ? LINK_CLOSED : LINK_WAITING;
        if (!link->closing) {
            set_timer(link, link->backoff_ms);
            link->backoff_ms = link->backoff_ms * 2 > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : link->backoff_ms * 2;
        }
        link->options.on_down(link->options.context, link->why);
        return;
    case LINK_CLOSED:
    case LINK_OPEN:
        return;
    }
}

// -- Results -------------------------------------------------------------------------------------------------------------

static void flush(struct io_postgres_link *link)
{
    if (link->state != LINK_OPEN) {
        return;
    }
    int left = PQflush(link->connection);
    if (left < 0) {
        fail_with_message(link, "connection lost");
    } else if (left > 0) {
        event_add(link->writable, NULL);
    }
}

static bool is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK;
}

static bool is_fatal(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

static bool is_cancelled(const PGresult *result)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return code != NULL && strcmp(code, "57014") == 0;
}

static void deliver(struct io_postgres_link *link, PGresult *result)
{
    struct command *head = command_head(link);
    if (head->kind == COMMAND_QUERY) {
        struct command command = command_pop(link);
        if (command.prepare_failed != NULL) {
            PQclear(result);
            result = command.prepare_failed;
        }
        command.on_result(command.context, command.number, result);
        return;
    }
    // A PREPARE; the query that it is for is next.
    struct command command = command_pop(link);
    if (is_error(result)) {
        statement_remove(link, command.statement);
        if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
            command_head(link)->prepare_failed = result;
            return;
        }
    }
    PQclear(result);
}

static bool process_one(struct io_postgres_link *link)
{
    if (link->state != LINK_OPEN || link->n == 0 || PQisBusy(link->connection)) {
        return false;
    }
    PGresult *result = PQgetResult(link->connection);
    struct command *head = command_head(link);
    if (result == NULL) {
        fail(link, "connection lost: an answer is missing");
        return false;
    }
    if (head->kind == COMMAND_SYNC) {
        bool as_expected = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        PQclear(result);
        if (!as_expected) {
            fail_with_message(link, "connection lost");
            return false;
        }
        struct command command = command_pop(link);
        if (command.on_sync != NULL) {
            command.on_sync(command.context, command.number);
        }
        return true;
    }
    // An answer that ends the session (a crash of another backend, a shutdown) says nothing about the command.
    if (PQstatus(link->connection) == CONNECTION_BAD || is_fatal(result)) {
        PQclear(result);
        fail_with_message(link, "connection lost");
        return false;
    }
    link->cancelling = link->cancelling && !is_cancelled(result);
    deliver(link, result);
    if (link->state != LINK_OPEN) {
        return false;
    }
    PGresult *end = PQgetResult(link->connection); // the NULL that ends each query's results is there when the result is
    if (end != NULL) {
        PQclear(end);
        fail(link, "connection lost: one answer too many");
        return false;
    }
    return true;
}

// Code of users may listen; libpq would keep what comes for ever.
static void drop_notifications(struct io_postgres_link *link)
{
    PGnotify *notification;
    while (link->state == LINK_OPEN && (notification = PQnotifies(link->connection)) != NULL) {
        PQfreemem(notification);
    }
}

static void on_socket(evutil_socket_t socket, short what, void *context)
{
    (void)socket;
    struct io_postgres_link *link = context;
    if (what & EV_READ) {
        if (PQconsumeInput(link->connection) != 1) {
            fail_with_message(link, "connection lost");
            return;
        }
        while (process_one(link)) {
        }
        drop_notifications(link);
    }
    if (!link->unsynced || (what & EV_WRITE)) {
        flush(link);
    }
}

// -- Sending -------------------------------------------------------------------------------------------------------------

static void fill_parameters(struct io_postgres_link *link, const struct io_postgres_query *query)
{
    uint32_t n = query->n_parameters;
    link->values = cc_grow(link->values, &link->values_capacity, n, sizeof(*link->values));
    link->lengths = cc_grow(link->lengths, &link->lengths_capacity, n, sizeof(*link->lengths));
    link->formats = cc_grow(link->formats, &link->formats_capacity, n, sizeof(*link->formats));
    size_t n_bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_bytes += query->parameters[i].n + 1;
    }
    cc_buffer_clear(&link->scratch);
    cc_buffer_reserve(&link->scratch, n_bytes);
    for (uint32_t i = 0; i < n; i++) {
        struct cc_slice value = query->parameters[i];
        bool binary = query->binary != NULL && query->binary[i];
        link->formats[i] = binary;
        link->lengths[i] = (int)value.n;
        link->values[i] = (const char *)value.data;
        if (value.data != NULL && !binary) { // libpq wants text with its terminator
            link->values[i] = (const char *)link->scratch.data + link->scratch.n;
            cc_buffer_append(&link->scratch, value.data, value.n);
            cc_buffer_append(&link->scratch, "", 1);
        }
    }
}

static struct statement *prepare(struct io_postgres_link *link, const char *sql, size_t n_sql)
{
    struct statement *statement = statement_find(link, sql, n_sql);
    if (statement != NULL) {
        return statement;
    }
    statement = statement_add(link, sql, n_sql);
    char name[NAME_BYTES];
    if (PQsendPrepare(link->connection, statement_name(link, statement->number, name), statement->sql, 0, NULL) != 1) {
        fail_with_message(link, "cannot send");
        return NULL;
    }
    command_push(link, COMMAND_PREPARE)->statement = statement->number;
    return statement;
}

static void drop_result(void *context, uint64_t number, PGresult *result)
{
    (void)context;
    (void)number;
    PQclear(result);
}

static void evict(struct io_postgres_link *link)
{
    uint64_t number = statement_oldest(link);
    char name[NAME_BYTES], sql[NAME_BYTES + 16];
    snprintf(sql, sizeof(sql), "DEALLOCATE %s", statement_name(link, number, name));
    statement_remove(link, number);
    io_postgres_link_send_text(link, sql, drop_result, NULL, 0);
}

void io_postgres_link_prepare(struct io_postgres_link *link, const char *sql)
{
    if (link->state == LINK_OPEN) {
        (void)prepare(link, sql, strlen(sql));
    }
}

void io_postgres_link_send(struct io_postgres_link *link, const struct io_postgres_query *query, io_postgres_on_result *on_result,
                           void *context, uint64_t number)
{
    if (link->state != LINK_OPEN) {
        return;
    }
    size_t n_sql = query->n_sql == 0 ? strlen(query->sql) : query->n_sql;
    if (!query->once && link->n_statements >= link->options.n_statements_max && statement_find(link, query->sql, n_sql) == NULL) {
        evict(link);
    }
    fill_parameters(link, query);
    int sent = 0;
    if (query->once) {
        char *sql = cc_strndup(query->sql, n_sql);
        sent = PQsendQueryParams(link->connection, sql, (int)query->n_parameters, NULL, link->values, link->lengths, link->formats,
                                 query->binary_result);
        free(sql);
    } else {
        struct statement *statement = prepare(link, query->sql, n_sql);
        if (statement == NULL) {
            return;
        }
        statement->used = ++link->clock;
        char name[NAME_BYTES];
        sent = PQsendQueryPrepared(link->connection, statement_name(link, statement->number, name), (int)query->n_parameters,
                                   link->values, link->lengths, link->formats, query->binary_result);
    }
    if (sent != 1) {
        fail_with_message(link, "cannot send");
        return;
    }
    link->unsynced = true;
    struct command *command = command_push(link, COMMAND_QUERY);
    command->on_result = on_result;
    command->context = context;
    command->number = number;
}

void io_postgres_link_send_text(struct io_postgres_link *link, const char *sql, io_postgres_on_result *on_result, void *context,
                                uint64_t number)
{
    struct io_postgres_query query = {.sql = sql, .once = true};
    io_postgres_link_send(link, &query, on_result, context, number);
}

void io_postgres_link_sync(struct io_postgres_link *link, io_postgres_on_sync *on_sync, void *context, uint64_t number)
{
    if (link->state != LINK_OPEN) {
        return;
    }
    if (PQpipelineSync(link->connection) != 1) {
        fail_with_message(link, "cannot send");
        return;
    }
    link->unsynced = false;
    struct command *command = command_push(link, COMMAND_SYNC);
    command->on_sync = on_sync;
    command->context = context;
    command->number = number;
    flush(link);
}

void io_postgres_link_forget_statements(struct io_postgres_link *link)
{
    statements_forget(link);
    io_postgres_link_send_text(link, "DEALLOCATE ALL", drop_result, NULL, 0);
}

static void *cancel(void *context)
{
    PGcancel *request = context;
    char text[256];
    (void)PQcancel(request, text, sizeof(text)); // nothing else can be done
    PQfreeCancel(request);
    return NULL;
}

void io_postgres_link_cancel(struct io_postgres_link *link)
{
    if (link->state != LINK_OPEN) {
        return;
    }
    PGcancel *request = PQgetCancel(link->connection);
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, cancel, request) != 0) {
        PQfreeCancel(request);
    }
    pthread_attr_destroy(&attributes);
    link->cancelling = true;
}

bool io_postgres_link_is_cancelling(const struct io_postgres_link *link)
{
    return link->cancelling;
}

// -- Life ------------------------------------------------------------------------------------------------------------------

struct io_postgres_link *io_postgres_link_create(const struct io_postgres_link_options *options)
{
    struct io_postgres_link *link = cc_alloc(sizeof(*link));
    link->options = *options;
    link->conninfo = cc_strdup(options->conninfo);
    link->application_name = cc_strdup(options->application_name);
    link->user = options->user == NULL ? NULL : cc_strdup(options->user);
    link->settings = options->settings == NULL ? NULL : cc_strdup(options->settings);
    link->has_secret = options->secret != NULL;
    if (link->has_secret) {
        memcpy(link->secret, options->secret, SECRET_BYTES);
    }
    if (link->options.n_statements_max == 0) {
        link->options.n_statements_max = STATEMENTS_MAX;
    }
    link->timer = evtimer_new(options->base, on_timer, link);
    link->backoff_ms = BACKOFF_MS_MIN;
    return link;
}

void io_postgres_link_destroy(struct io_postgres_link *link)
{
    if (link == NULL) {
        return;
    }
    tear_down(link);
    event_free(link->timer);
    free(link->commands);
    free(link->values);
    free(link->lengths);
    free(link->formats);
    cc_buffer_finish(&link->scratch);
    free(link->conninfo);
    free(link->application_name);
    free(link->user);
    free(link->settings);
    free(link);
}

void io_postgres_link_connect(struct io_postgres_link *link)
{
    if (link->state == LINK_CLOSED || link->state == LINK_WAITING) {
        link->closing = false;
        link->state = LINK_WAITING;
        set_timer(link, 0);
    }
}

void io_postgres_link_drop(struct io_postgres_link *link, const char *why)
{
    fail(link, why);
}

void io_postgres_link_close(struct io_postgres_link *link, const char *why)
{
    link->closing = true;
    if (link->state == LINK_WAITING) {
        event_del(link->timer);
        link->state = LINK_CLOSED;
    }
    fail(link, why);
}

void io_postgres_link_good(struct io_postgres_link *link)
{
    link->backoff_ms = BACKOFF_MS_MIN;
}

PGconn *io_postgres_link_connection(struct io_postgres_link *link)
{
    return link->state == LINK_OPEN ? link->connection : NULL;
}
