// A private PostgreSQL for tests of io_postgres_*: see the header.
#include "postgres_fixture.h"

#include "base/log.h"
#include "proxy/supervisor/supervisor.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fixture shared; // of the whole group

// -- The loop ----------------------------------------------------------------------------------------------------------

static void give_up(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    *(bool *)context = true;
}

void fixture_wait(struct fixture *fixture, bool (*holds)(void *context), void *context, const char *what)
{
    bool late = false;
    struct event *limit = evtimer_new(fixture->base, give_up, &late);
    struct timeval wait = {.tv_sec = 90}; // the machine may be busy
    (void)event_add(limit, &wait);
    while (!late && !holds(context)) {
        (void)event_base_loop(fixture->base, EVLOOP_ONCE);
    }
    event_free(limit);
    if (late) {
        print_error("waited in vain for %s\n", what);
    }
    assert_false(late);
}

// -- Events ------------------------------------------------------------------------------------------------------------

static void on_event(void *context, const struct db_event *event)
{
    struct site *site = context;
    struct cc_arena *arena = &site->fixture->arena;
    site->n_events[event->kind]++;
    site->last = *event;
    site->last.effects = cc_arena_slice(arena, event->effects);
    site->last.text = cc_arena_slice(arena, event->text);
    uint32_t n_changes = event->kind == DB_WEAK_EXECUTED ? event->n_outcomes : event->n_changes;
    struct cc_slice *outcomes = cc_arena_array(arena, event->n_outcomes, sizeof(*outcomes));
    struct cc_slice *changes = cc_arena_array(arena, n_changes, sizeof(*changes));
    for (uint32_t i = 0; i < event->n_outcomes; i++) {
        outcomes[i] = cc_arena_slice(arena, event->outcomes[i]);
    }
    for (uint32_t i = 0; event->changes != NULL && i < n_changes; i++) {
        changes[i] = cc_arena_slice(arena, event->changes[i]);
    }
    site->last.outcomes = outcomes;
    site->last.changes = changes;
    site->frontier = *event->frontier;
    site->last.frontier = &site->frontier;
    site->applied = event->applied;
    site->schema_version = event->schema_version;
    if (event->kind == DB_EXECUTED) {
        site->executed[site->n_events[DB_EXECUTED] % 4] = site->last;
    }
    if (event->kind == DB_UP || event->kind == DB_DOWN) {
        site->up[event->lane] = event->kind == DB_UP;
    }
}

struct awaited {
    struct site *site;
    enum db_event_kind kind;
    uint32_t n;
};

static bool has_come(void *context)
{
    const struct awaited *awaited = context;
    return awaited->site->n_events[awaited->kind] >= awaited->n;
}

void site_wait_event(struct site *site, enum db_event_kind kind, uint32_t n)
{
    char what[64];
    (void)snprintf(what, sizeof(what), "event %d, %u times", (int)kind, n);
    struct awaited awaited = {site, kind, n};
    fixture_wait(site->fixture, has_come, &awaited, what);
}

static bool is_up(void *context)
{
    const struct site *site = context;
    return site->up[DB_STRONG] && site->up[DB_WEAK];
}

void site_wait_up(struct site *site)
{
    fixture_wait(site->fixture, is_up, site, "both lanes");
}

void site_submit(struct site *site, enum db_lane lane, struct db_job *job)
{
    job->number = ++site->n_jobs;
    job->schema_version = job->schema_version == 0 ? UINT32_MAX : job->schema_version; // whatever there is, unless the test says
    io_postgres_submit(site->postgres, lane, &job, 1);
}

const struct db_event *site_run(struct site *site, enum db_lane lane, struct db_job *job, enum db_event_kind answer)
{
    uint32_t n = site->n_events[answer] + 1;
    site_submit(site, lane, job);
    site_wait_event(site, answer, n);
    assert_int_equal(site->last.kind, answer);
    assert_int_equal(site->last.number, job->number);
    return &site->last;
}

// -- Sites -------------------------------------------------------------------------------------------------------------

static const char *conninfo_of(struct site *site, char *text, size_t n)
{
    (void)snprintf(text, n, "host=%s user=postgres dbname=%s", supervisor_socket_directory(shared.supervisor), site->name);
    return text;
}

void site_open(struct site *site)
{
    char conninfo[200];
    struct io_postgres_options options = {.base = site->fixture->base,
                                          .conninfo = conninfo_of(site, conninfo, sizeof(conninfo)),
                                          .cluster = "test",
                                          .replica = site == &site->fixture->one ? 1 : 2,
                                          .incarnation = 1,
                                          .on_event = on_event,
                                          .context = site};
    site->postgres = io_postgres_create(&options);
    site_wait_up(site);
}

void site_close(struct site *site)
{
    io_postgres_destroy(site->postgres);
    site->postgres = NULL;
    site->up[DB_STRONG] = site->up[DB_WEAK] = false;
}

const char *site_query(struct site *site, const char *sql)
{
    static char text[8][4000];
    static unsigned turn;
    char *value = text[turn++ % 8];
    PGresult *result = PQexec(site->watcher, sql);
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *found = code != NULL ? code : PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "";
    (void)snprintf(value, sizeof(text[0]), "%s", found);
    if (code != NULL && getenv("CAUCUS_TEST_VERBOSE") != NULL) {
        print_message("%s\n", PQresultErrorMessage(result));
    }
    PQclear(result);
    return value;
}

static void site_init(struct site *site, const char *name)
{
    *site = (struct site){.fixture = &shared, .name = name};
    char conninfo[200], sql[100];
    struct site maintenance = {.name = "postgres"};
    maintenance.watcher = PQconnectdb(conninfo_of(&maintenance, conninfo, sizeof(conninfo)));
    assert_int_equal(PQstatus(maintenance.watcher), CONNECTION_OK);
    (void)snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
    (void)site_query(&maintenance, sql);
    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    assert_string_equal(site_query(&maintenance, sql), "");
    PQfinish(maintenance.watcher);
    site->watcher = PQconnectdb(conninfo_of(site, conninfo, sizeof(conninfo)));
    assert_int_equal(PQstatus(site->watcher), CONNECTION_OK);
    site_open(site);
}

// -- Set up ------------------------------------------------------------------------------------------------------------

static void ignore_state(void *context, enum supervisor_state state, const char *text)
{
    (void)context;
    (void)state;
    (void)text;
}

static bool is_running(void *context)
{
    return supervisor_state(context) == SUPERVISOR_RUNNING;
}

int fixture_group_set_up(void **state)
{
    if (getenv("CAUCUS_TEST_VERBOSE") == NULL) {
        cc_log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), CC_LOG_ERROR, 0);
    }
    scratch_make("pg", shared.directory);
    shared.base = event_base_new();
    static const struct supervisor_setting settings[] = {{"fsync", "off"}, {"shared_buffers", "16MB"}};
    struct supervisor_options options = {.base = shared.base,
                                         .data_directory = shared.directory,
                                         .n_settings = 2,
                                         .settings = settings,
                                         .on_state = ignore_state};
    char error[300] = "";
    assert_int_equal(supervisor_create(&options, &shared.supervisor, error), CC_OK);
    supervisor_start(shared.supervisor);
    fixture_wait(&shared, is_running, shared.supervisor, "PostgreSQL");
    *state = &shared;
    return 0;
}

int fixture_group_tear_down(void **state)
{
    (void)state;
    supervisor_destroy(shared.supervisor);
    event_base_free(shared.base);
    scratch_remove(shared.directory);
    return 0;
}

int fixture_set_up(void **state)
{
    *state = &shared;
    cc_arena_init(&shared.arena);
    site_init(&shared.one, "one");
    site_init(&shared.two, "two");
    return 0;
}

int fixture_tear_down(void **state)
{
    (void)state;
    struct site *sites[] = {&shared.one, &shared.two};
    for (size_t i = 0; i < 2; i++) {
        site_close(sites[i]);
        PQfinish(sites[i]->watcher);
    }
    cc_arena_finish(&shared.arena);
    return 0;
}

// -- The way of a write --------------------------------------------------------------------------------------------------

struct cc_slice operation_of(struct fixture *fixture, const struct operation *operation)
{
    struct cc_buffer bytes = {0};
    operation_put(&bytes, operation);
    struct cc_slice copy = cc_arena_slice(&fixture->arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return copy;
}

struct cc_slice operation_of_statement(struct fixture *fixture, const struct rest_statement *statement, const char *key)
{
    struct rest_statement copy = *statement;
    struct operation operation = {.kind = OPERATION_STATEMENTS,
                                  .n_statements = 1,
                                  .statements = &copy,
                                  .weak = statement->weak,
                                  .schema_version = fixture->one.schema_version,
                                  .key = cc_slice_text(key)};
    if (key != NULL) {
        operation.principal = cc_slice_text("someone");
        operation.fingerprint = cc_slice_of(copy.sql.data, copy.sql.n);
    }
    return operation_of(fixture, &operation);
}

static struct cc_slice entry_of(struct site *site, const struct batch *batch, const struct db_event *event)
{
    struct cc_arena *arena = &site->fixture->arena;
    assert_int_equal(event->n_outcomes, batch->n);
    struct entry entry = {.base_index = site->index, .n_operations = batch->n, .effects = event->effects};
    entry.operations = cc_arena_array(arena, batch->n, sizeof(*entry.operations));
    for (uint32_t i = 0; i < batch->n; i++) {
        struct operation operation;
        assert_int_equal(operation_peek(batch->operations[i], &operation), CC_OK);
        entry.operations[i].principal = operation.principal;
        entry.operations[i].key = operation.key;
        entry.operations[i].fingerprint = operation.fingerprint;
        entry.operations[i].outcome = event->outcomes[i];
        assert_int_equal(rest_outcome_read(event->outcomes[i], &batch->outcomes_out[i]), CC_OK);
    }
    struct cc_buffer bytes = {0};
    entry_put(&bytes, &entry);
    struct cc_slice payload = cc_arena_slice(arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return payload;
}

void replicate_batches(struct fixture *fixture, const struct batch *batches, uint32_t n)
{
    struct site *one = &fixture->one;
    struct db_job executes[4] = {0};
    uint32_t n_before = one->n_events[DB_EXECUTED];
    assert_in_range(n, 1, 4);
    for (uint32_t i = 0; i < n; i++) {
        executes[i] = (struct db_job){.kind = DB_EXECUTE, .n_items = batches[i].n, .items = batches[i].operations};
        site_submit(one, DB_STRONG, &executes[i]);
    }
    site_wait_event(one, DB_EXECUTED, n_before + n);
    struct cc_slice payloads[4];
    uint64_t indexes[4];
    for (uint32_t i = 0; i < n; i++) {
        const struct db_event *event = &one->executed[(n_before + 1 + i) % 4];
        assert_int_equal(event->number, executes[i].number);
        payloads[i] = entry_of(one, &batches[i], event);
        indexes[i] = ++one->index;
    }
    fixture->two.index = one->index;
    struct db_job commit = {.kind = DB_COMMIT, .last = one->index};
    assert_int_equal(site_run(one, DB_STRONG, &commit, DB_COMMITTED)->applied, one->index);
    struct db_job apply = {.kind = DB_APPLY, .first = indexes[0], .last = one->index, .n_items = n, .items = payloads, .indexes = indexes};
    assert_int_equal(site_run(&fixture->two, DB_STRONG, &apply, DB_APPLIED)->applied, one->index);
    assert_int_equal(one->schema_version, fixture->two.schema_version);
}

void replicate(struct fixture *fixture, struct cc_slice *operations, uint32_t n, struct rest_outcome *outcomes_out)
{
    replicate_batches(fixture, &(struct batch){operations, n, outcomes_out}, 1);
}

const struct rest_outcome *migrate(struct fixture *fixture, const char *name, const char *sql)
{
    struct operation operation = {.kind = OPERATION_MIGRATION, .migration_name = cc_slice_text(name), .migration_sql = cc_slice_text(sql)};
    struct cc_slice bytes = operation_of(fixture, &operation);
    struct rest_outcome *outcome = cc_arena_alloc(&fixture->arena, sizeof(*outcome));
    replicate(fixture, &bytes, 1, outcome);
    if (outcome->kind == REST_FAILED && getenv("CAUCUS_TEST_VERBOSE") != NULL) {
        print_message("%.*s: %.*s\n", (int)outcome->code.n, (const char *)outcome->code.data, (int)outcome->message.n,
                      (const char *)outcome->message.data);
    }
    return outcome;
}

// -- Claims ----------------------------------------------------------------------------------------------------------

// A write whose effects come from capture triggers.
struct cc_slice captured(struct fixture *fixture, const char *sql, const char *key)
{
    const char *text = cc_arena_printf(&fixture->arena, "WITH s AS (%s RETURNING 1) SELECT NULL::text, NULL::text FROM s", sql);
    struct rest_statement statement = {.kind = REST_UPDATE, .captured = true, .sql = cc_slice_text(text), .rows_max = UINT64_MAX};
    return operation_of_statement(fixture, &statement, key);
}

void assert_same(struct fixture *fixture, const char *sql)
{
    const char *one = site_query(&fixture->one, sql);
    const char *two = site_query(&fixture->two, sql);
    assert_string_equal(one, two);
}

void assert_code(const struct rest_outcome *outcome, const char *code)
{
    if (!cc_slice_equal_text(outcome->code, code)) {
        print_error("code %.*s: %.*s\n", (int)outcome->code.n, (const char *)outcome->code.data, (int)outcome->message.n,
                    (const char *)outcome->message.data);
    }
    assert_true(cc_slice_equal_text(outcome->code, code));
}

void assert_done(const struct rest_outcome *outcome)
{
    if (outcome->kind != REST_DONE) {
        print_error("code %.*s: %.*s\n", (int)outcome->code.n, (const char *)outcome->code.data, (int)outcome->message.n,
                    (const char *)outcome->message.data);
    }
    assert_int_equal(outcome->kind, REST_DONE);
}

void migrate_ok(struct fixture *fixture, const char *name, const char *sql)
{
    const struct rest_outcome *outcome = migrate(fixture, name, sql);
    if (outcome->kind != REST_DONE) {
        print_error("%.*s\n", (int)outcome->message.n, (const char *)outcome->message.data);
    }
    assert_int_equal(outcome->kind, REST_DONE);
}

uint64_t seed_of_run(void)
{
    const char *text = getenv("CAUCUS_TEST_SEED");
    return text == NULL ? 1 : strtoull(text, NULL, 10);
}
