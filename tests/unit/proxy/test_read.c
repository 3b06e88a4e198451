// Read connections with a real PostgreSQL: answers, errors, settings, prepared statements, time limits, lost connections.
#include "proxy/postgres/io_postgres_read.h"
#include "proxy/scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/supervisor/supervisor.h"

static struct {
    char directory[64];
    struct event_base *base;
    struct supervisor *supervisor;
    struct io_postgres_read *pool;
} fixture;

struct answer {
    unsigned n; // times called
    enum cc_status status;
    uint32_t n_rows;
    char value[200], code[8], message[200];
};

static unsigned n_awaited;

static void copy(char *to, size_t n, struct cc_slice text)
{
    (void)snprintf(to, n, "%.*s", (int)text.n, text.data == NULL ? "" : (const char *)text.data);
}

static void on_done(void *context, const struct io_postgres_read_result *result)
{
    struct answer *answer = context;
    answer->n++;
    answer->status = result->status;
    answer->n_rows = result->n_rows;
    copy(answer->code, sizeof(answer->code), result->code);
    copy(answer->message, sizeof(answer->message), result->message);
    if (result->n_rows > 0) {
        struct cc_slice value = io_postgres_read_value(result, 0, 0);
        copy(answer->value, sizeof(answer->value), value.data == NULL ? cc_slice_text("NULL") : value);
    }
    if (n_awaited > 0 && --n_awaited == 0) {
        (void)event_base_loopbreak(fixture.base);
    }
}

static void on_limit(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context;
    (void)event_base_loopbreak(fixture.base);
}

static void run_until(unsigned n_answers)
{
    struct event *limit = evtimer_new(fixture.base, on_limit, NULL);
    struct timeval wait = {.tv_sec = 60};
    (void)event_add(limit, &wait);
    n_awaited = n_answers;
    (void)event_base_dispatch(fixture.base);
    event_free(limit);
    assert_int_equal(n_awaited, 0);
}

static struct rest_statement statement_of(const char *sql)
{
    return (struct rest_statement){.kind = REST_READ, .sql = cc_slice_text(sql)};
}

static struct answer ask_statement(const struct rest_statement *statement, uint32_t timeout_ms)
{
    struct answer answer = {0};
    assert_int_equal(io_postgres_read_query(fixture.pool, statement, timeout_ms, on_done, &answer), CC_OK);
    assert_int_equal(answer.n, 0);
    run_until(1);
    assert_int_equal(answer.n, 1);
    return answer;
}

static struct answer ask(const char *sql)
{
    struct rest_statement statement = statement_of(sql);
    return ask_statement(&statement, 10000);
}

static void assert_value(const char *sql, const char *value)
{
    struct answer answer = ask(sql);
    assert_string_equal(answer.message, "");
    assert_int_equal(answer.status, CC_OK);
    assert_string_equal(answer.value, value);
}

static void run_directly(const char *sql)
{
    PGconn *connection = PQconnectdb(supervisor_conninfo(fixture.supervisor));
    PGresult *result = PQexec(connection, sql);
    assert_string_equal(PQerrorMessage(connection), "");
    PQclear(result);
    PQfinish(connection);
}

static void make_pool(uint32_t n_connections, uint32_t queue_max, uint32_t prepared_max)
{
    io_postgres_read_destroy(fixture.pool);
    struct io_postgres_read_options options = {
        .base = fixture.base,
        .conninfo = supervisor_conninfo(fixture.supervisor),
        .n_connections = n_connections,
        .queue_max = queue_max,
        .prepared_max = prepared_max,
    };
    fixture.pool = io_postgres_read_create(&options);
}

static void parameters_and_nulls_go_both_ways(void **state)
{
    (void)state;
    make_pool(2, 0, 0);
    struct cc_slice values[2] = {cc_slice_of("4xx", 1), {0}};
    struct rest_statement statement = statement_of("SELECT $1::int + 3, $2::text");
    statement.n_parameters = 2;
    statement.parameters = values;
    struct answer answer = ask_statement(&statement, 5000);
    assert_int_equal(answer.status, CC_OK);
    assert_string_equal(answer.value, "7");
    assert_value("SELECT NULL", "NULL");
    answer = ask("SELECT 1 WHERE false");
    assert_int_equal(answer.status, CC_OK);
    assert_int_equal(answer.n_rows, 0);
}

static void an_error_comes_with_its_fields_and_harms_nobody(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    struct answer answer = ask("SELECT 1 / 0");
    assert_int_equal(answer.status, CC_REFUSED);
    assert_string_equal(answer.code, "22012");
    assert_string_equal(answer.message, "division by zero");
    answer = ask("SELECT nonsense FROM");
    assert_string_equal(answer.code, "42601");
    assert_value("SELECT 2", "2");
    assert_string_equal(ask("SELECT 1 / 0").code, "22012");
}

static void nothing_can_be_written(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    run_directly("CREATE TABLE IF NOT EXISTS public.t (n int)");
    assert_string_equal(ask("INSERT INTO public.t VALUES (1) RETURNING n").code, "25006");
    assert_value("SELECT count(*) FROM public.t", "0");
}

static void settings_hold_for_one_statement_only(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    run_directly("DROP ROLE IF EXISTS reader; CREATE ROLE reader NOLOGIN");
    struct rest_setting settings[2] = {
        {cc_slice_text("request.jwt.claims"), cc_slice_text("{\"sub\":\"ann\"}")},
        {cc_slice_text("role"), cc_slice_text("reader")},
    };
    struct rest_statement statement =
        statement_of("SELECT current_user || current_setting('request.jwt.claims', true)");
    statement.n_settings = 2;
    statement.settings = settings;
    assert_string_equal(ask_statement(&statement, 5000).value, "reader{\"sub\":\"ann\"}");
    assert_string_equal(ask_statement(&statement, 5000).value, "reader{\"sub\":\"ann\"}");
    statement.n_settings = 0;
    assert_string_equal(ask_statement(&statement, 5000).value, "postgres");
    settings[1].value = cc_slice_text("nobody like that");
    statement.n_settings = 2;
    assert_string_equal(ask_statement(&statement, 5000).code, "22023");
    statement.n_settings = 0;
    assert_string_equal(ask_statement(&statement, 5000).value, "postgres");
}

static void a_function_that_changes_who_it_runs_as_changes_nothing_for_the_next_statement(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    run_directly("DROP ROLE IF EXISTS reader; CREATE ROLE reader NOLOGIN");
    struct rest_setting settings[3] = {
        {cc_slice_text("role"), cc_slice_text("reader")},
        {cc_slice_text("request.jwt.claims"), cc_slice_text("{}")},
        {cc_slice_text("request.method"), cc_slice_text("GET")}, // what functions are called with
    };
    struct rest_statement call =
        statement_of("SELECT set_config('role', 'none', false) || set_config('request.jwt.claims', 'forged', false)");
    call.n_settings = 3;
    call.settings = settings;
    assert_string_equal(ask_statement(&call, 5000).value, "noneforged");
    struct rest_statement next = statement_of("SELECT current_user || current_setting('request.jwt.claims', true)");
    next.n_settings = 2;
    next.settings = settings;
    assert_string_equal(ask_statement(&next, 5000).value, "reader{}");
}

static void what_fails_leaves_the_identity_to_be_set_again(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    run_directly("DROP ROLE IF EXISTS reader; CREATE ROLE reader NOLOGIN");
    struct rest_setting settings[1] = {{cc_slice_text("role"), cc_slice_text("reader")}};
    struct rest_statement failing = statement_of("SELECT 1 / 0");
    failing.n_settings = 1;
    failing.settings = settings;
    assert_string_equal(ask_statement(&failing, 5000).code, "22012"); // undoes the change of role, too
    struct rest_statement next = statement_of("SELECT current_user");
    next.n_settings = 1;
    next.settings = settings;
    assert_string_equal(ask_statement(&next, 5000).value, "reader");
}

static void a_prepared_statement_survives_a_migration(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    run_directly("DROP TABLE IF EXISTS public.m; CREATE TABLE public.m (a int); INSERT INTO public.m VALUES (1)");
    assert_value("SELECT * FROM public.m", "1");
    assert_value("SELECT * FROM public.m", "1");
    run_directly("ALTER TABLE public.m ALTER a TYPE text USING 'x' || a");
    assert_value("SELECT * FROM public.m", "x1");
    run_directly("DROP TABLE public.m");
    assert_string_equal(ask("SELECT * FROM public.m").code, "42P01");
    assert_string_equal(ask("SELECT * FROM public.m").code, "42P01");
}

static void the_oldest_prepared_statements_are_dropped(void **state)
{
    (void)state;
    make_pool(1, 0, 5);
    char sql[64], value[16];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(sql, sizeof(sql), "SELECT %d", i % 7);
        (void)snprintf(value, sizeof(value), "%d", i % 7);
        assert_value(sql, value);
    }
    assert_value("SELECT count(*) FROM pg_prepared_statements", "5");
    assert_value("SELECT count(*) FROM pg_prepared_statements", "5");
}

static void a_statement_over_its_time_is_given_up_and_ends_in_the_server(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    assert_value("SELECT 1", "1"); // to connect does not count
    struct rest_statement slow = statement_of("SELECT pg_sleep(60) /* slow */");
    struct answer answer = ask_statement(&slow, 100);
    assert_int_equal(answer.status, CC_TIMEOUT);
    for (int i = 0; i < 100; i++) {
        answer =
            ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%/* slow */%' AND pid <> pg_backend_pid()");
        assert_int_equal(answer.status, CC_OK);
        if (strcmp(answer.value, "0") == 0) {
            return;
        }
        (void)usleep(100000); // the server looks every half second whether its client is there
    }
    fail();
}

static void a_read_is_run_again_when_its_connection_breaks(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    assert_value("SELECT 1", "1");
    struct answer answer = {0};
    struct rest_statement statement = statement_of("SELECT 5 FROM pg_sleep(0.5) /* broken */");
    assert_int_equal(io_postgres_read_query(fixture.pool, &statement, 20000, on_done, &answer), CC_OK);
    (void)event_base_loop(fixture.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    run_directly("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
                 "backend_type = 'client backend'");
    run_until(1);
    assert_int_equal(answer.status, CC_OK);
    assert_string_equal(answer.value, "5");

    // One that breaks every connection is not run for ever.
    run_directly("CREATE OR REPLACE FUNCTION public.suicide() RETURNS bool LANGUAGE sql AS 'SELECT "
                 "pg_terminate_backend(pg_backend_pid()) FROM pg_sleep(0.05)'");
    assert_int_equal(ask("SELECT public.suicide()").status, CC_UNAVAILABLE);
    assert_value("SELECT 1", "1");
}

static void many_wait_in_order_and_too_many_are_refused(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct answer answers[N + 4];
    memset(answers, 0, sizeof(answers));
    make_pool(2, N, 0);
    struct rest_statement statement = statement_of("SELECT 9");
    for (unsigned i = 0; i < N; i++) { // nothing is connected yet: all wait
        assert_int_equal(io_postgres_read_query(fixture.pool, &statement, 20000, on_done, &answers[i]), CC_OK);
    }
    assert_int_equal(io_postgres_read_query(fixture.pool, &statement, 20000, on_done, &answers[N]), CC_UNAVAILABLE);
    struct io_postgres_read_stats stats;
    io_postgres_read_describe(fixture.pool, &stats);
    assert_int_equal(stats.n_waiting, N);
    run_until(N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(answers[i].n, 1);
        assert_string_equal(answers[i].value, "9");
    }
    assert_int_equal(answers[N].n, 0);
    io_postgres_read_describe(fixture.pool, &stats);
    assert_in_range(stats.n_connections_up, 1, 2); // the first may have done it all before the second is there
    assert_int_equal(stats.n_busy + stats.n_waiting, 0);
}

static void what_is_under_way_is_answered_when_the_pool_goes(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    assert_value("SELECT 1", "1");
    struct answer running = {0}, waiting = {0};
    struct rest_statement slow = statement_of("SELECT pg_sleep(60)");
    assert_int_equal(io_postgres_read_query(fixture.pool, &slow, 20000, on_done, &running), CC_OK);
    assert_int_equal(io_postgres_read_query(fixture.pool, &slow, 20000, on_done, &waiting), CC_OK);
    io_postgres_read_destroy(fixture.pool);
    fixture.pool = NULL;
    assert_int_equal(running.n + waiting.n, 2);
    assert_int_equal(running.status, CC_UNAVAILABLE);
    assert_int_equal(waiting.status, CC_UNAVAILABLE);
}

// However the role is set back, the session is nobody else's.
static void a_session_of_another_user_can_only_become_what_that_one_may(void **state)
{
    (void)state;
    run_directly("DROP ROLE IF EXISTS door; DROP ROLE IF EXISTS reader; DROP ROLE IF EXISTS owner_of_it;"
                 "CREATE ROLE door LOGIN NOINHERIT; CREATE ROLE reader NOLOGIN; CREATE ROLE owner_of_it NOLOGIN; GRANT reader TO door;"
                 "CREATE TABLE IF NOT EXISTS public.hidden (n int); REVOKE ALL ON public.hidden FROM PUBLIC");
    io_postgres_read_destroy(fixture.pool);
    struct io_postgres_read_options options = {
        .base = fixture.base, .conninfo = supervisor_conninfo(fixture.supervisor), .user = "door", .n_connections = 1};
    fixture.pool = io_postgres_read_create(&options);
    assert_value("SELECT concat(session_user, ' ', current_user)", "door door");
    struct rest_setting role = {cc_slice_text("role"), cc_slice_text("reader")};
    struct rest_statement statement = statement_of("SELECT current_user");
    statement.n_settings = 1;
    statement.settings = &role;
    assert_string_equal(ask_statement(&statement, 10000).value, "reader");
    assert_string_equal(ask("SELECT n FROM public.hidden").code, "42501");
    role.value = cc_slice_text("owner_of_it");
    assert_string_equal(ask_statement(&statement, 10000).code, "42501");
    assert_value("SELECT current_user", "door");
    run_directly("DROP TABLE public.hidden; DROP ROLE door; DROP ROLE reader; DROP ROLE owner_of_it");
}

static struct answer ask_with(const char *sql, const struct rest_setting *settings, uint32_t n)
{
    struct rest_statement statement = statement_of(sql);
    struct rest_setting copies[4];
    memcpy(copies, settings, n * sizeof(*settings));
    statement.n_settings = n;
    statement.settings = copies;
    return ask_statement(&statement, 10000);
}

static struct rest_setting setting_of(const char *name, const char *value)
{
    return (struct rest_setting){cc_slice_text(name), cc_slice_text(value)};
}

static void settings_of_one_statement_are_not_those_of_the_next(void **state)
{
    (void)state;
    static const char shown[] = "SELECT concat_ws(' ', current_setting('statement_timeout'), current_setting('work_mem'), current_setting('TimeZone'),"
                                " nullif(current_setting('app.x', true), ''))";
    make_pool(1, 0, 0);
    char usual[200];
    (void)snprintf(usual, sizeof(usual), "%s", ask(shown).value);
    struct rest_setting settings[] = {setting_of("work_mem", "8MB"), setting_of("statement_timeout", "7s"), setting_of("TimeZone", "Europe/Oslo"),
                                      setting_of("app.x", "1")};
    assert_string_equal(ask_with(shown, settings, 4).value, "7s 8MB Europe/Oslo 1");
    assert_string_equal(ask_with(shown, settings, 4).value, "7s 8MB Europe/Oslo 1");
    assert_string_equal(ask(shown).value, usual);
    // What failed is undone: the session has what it had before, and the next one must not inherit that either.
    assert_string_equal(ask_with(shown, settings, 2).code, "");
    struct rest_setting wrong[] = {setting_of("app.x", "2"), setting_of("TimeZone", "nowhere")};
    assert_string_equal(ask_with(shown, wrong, 2).code, "22023");
    assert_string_equal(ask(shown).value, usual);
    struct rest_setting twice[] = {setting_of("TimeZone", "Asia/Tokyo"), setting_of("timezone", "Europe/Oslo")};
    assert_string_equal(ask_with("SELECT current_setting('TimeZone')", twice, 2).value, "Europe/Oslo");
    assert_string_equal(ask_with("SELECT current_setting('TimeZone')", twice, 1).value, "Asia/Tokyo");
    assert_string_equal(ask(shown).value, usual);
    // PostgreSQL's own limit of a statement can be a setting.
    struct rest_setting limit = setting_of("statement_timeout", "50");
    assert_string_equal(ask_with("SELECT pg_sleep(20)", &limit, 1).code, "57014");
    assert_string_equal(ask(shown).value, usual);
}

static void what_comes_before_a_statement_is_of_its_transaction_only(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    struct rest_statement statement = statement_of("SELECT nullif(current_setting('app.before', true), '')");
    statement.before = cc_slice_text("SELECT set_config('app.before', 'seen', true)");
    for (int i = 0; i < 2; i++) {
        assert_string_equal(ask_statement(&statement, 10000).value, "seen");
        assert_value("SELECT nullif(current_setting('app.before', true), '')", "NULL");
    }
    statement.before = cc_slice_text("SELECT 1 / 0");
    assert_string_equal(ask_statement(&statement, 10000).code, "22012");
    assert_value("SELECT 1", "1");
}

// Asked for in the same turn, one connection: those behind the first are on their way before it is answered.
static void ask_together(const struct rest_statement *statements, const uint32_t *timeouts_ms, struct answer *answers, unsigned n)
{
    memset(answers, 0, n * sizeof(*answers));
    for (unsigned i = 0; i < n; i++) {
        uint32_t timeout_ms = timeouts_ms == NULL ? 10000 : timeouts_ms[i];
        assert_int_equal(io_postgres_read_query(fixture.pool, &statements[i], timeout_ms, on_done, &answers[i]), CC_OK);
    }
    run_until(n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(answers[i].n, 1);
    }
}

static void those_sent_behind_one_have_their_own_outcomes(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    assert_value("SELECT 1", "1");
    struct rest_statement statements[] = {
        statement_of("SELECT 1 FROM pg_sleep(0.05)"), statement_of("SELECT 1 / 0"), statement_of("SELECT 3"), statement_of("SELECT wrong"),
        statement_of("SELECT wrong"),                 statement_of("SELECT 1 / 0"), statement_of("SELECT 3")};
    struct answer answers[7];
    for (int round = 0; round < 2; round++) {
        ask_together(statements, NULL, answers, 7);
        assert_string_equal(answers[0].value, "1");
        assert_string_equal(answers[1].code, "22012");
        assert_string_equal(answers[2].value, "3");
        assert_string_equal(answers[3].code, "42703");
        assert_string_equal(answers[4].code, "42703");
        assert_string_equal(answers[5].code, "22012");
        assert_string_equal(answers[6].value, "3");
    }
}

static void one_that_waits_behind_another_is_given_up_alone(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    assert_value("SELECT 1", "1");
    struct rest_statement statements[] = {statement_of("SELECT 1 FROM pg_sleep(0.5)"), statement_of("SELECT 2"), statement_of("SELECT 3")};
    uint32_t timeouts_ms[] = {20000, 50, 20000};
    struct answer answers[3];
    ask_together(statements, timeouts_ms, answers, 3);
    assert_string_equal(answers[0].value, "1");
    assert_int_equal(answers[1].status, CC_TIMEOUT);
    assert_string_equal(answers[2].value, "3");
    struct io_postgres_read_stats stats;
    io_postgres_read_describe(fixture.pool, &stats);
    assert_int_equal(stats.reconnects, 0);
    assert_int_equal(stats.timeouts, 1);
}

static void those_behind_one_that_breaks_the_connection_run_again(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    run_directly("CREATE OR REPLACE FUNCTION public.suicide() RETURNS bool LANGUAGE sql AS 'SELECT "
                 "pg_terminate_backend(pg_backend_pid()) FROM pg_sleep(0.05)'");
    assert_value("SELECT 1", "1");
    struct rest_statement statements[] = {statement_of("SELECT public.suicide()"), statement_of("SELECT 2"), statement_of("SELECT 3")};
    struct answer answers[3];
    ask_together(statements, NULL, answers, 3);
    assert_int_equal(answers[0].status, CC_UNAVAILABLE);
    assert_string_equal(answers[1].value, "2");
    assert_string_equal(answers[2].value, "3");
}

static void nothing_is_sent_behind_one_that_may_change_who_it_runs_as(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    run_directly("DROP ROLE IF EXISTS reader; CREATE ROLE reader NOLOGIN");
    struct rest_setting settings[3] = {
        {cc_slice_text("role"), cc_slice_text("reader")},
        {cc_slice_text("request.jwt.claims"), cc_slice_text("{}")},
        {cc_slice_text("request.method"), cc_slice_text("GET")},
    };
    struct rest_statement statements[5] = {
        statement_of("SELECT current_user || current_setting('request.jwt.claims', true)"),
        statement_of("SELECT set_config('role', 'none', false) || set_config('request.jwt.claims', 'forged', false)"),
    };
    statements[2] = statements[3] = statements[4] = statements[0];
    for (unsigned i = 0; i < 4; i++) {
        statements[i].settings = settings;
        statements[i].n_settings = i == 1 ? 3 : 2;
    }
    struct answer answers[5];
    for (int round = 0; round < 2; round++) {
        ask_together(statements, NULL, answers, 5);
        assert_string_equal(answers[0].value, "reader{}");
        assert_string_equal(answers[1].value, "noneforged");
        assert_string_equal(answers[2].value, "reader{}");
        assert_string_equal(answers[3].value, "reader{}");
        assert_string_equal(answers[4].value, "postgres");
    }
}

// -- Lookups: reads of one row each that become one statement --

enum { LOOKUPS = 70 }; // more than one statement takes

static struct {
    struct rest_lookup lookup;
    uint32_t parameter_at[1];
    const char *types[1];
    struct cc_slice keys[LOOKUPS];
    char digits[LOOKUPS][12];
    struct rest_statement statements[LOOKUPS];
    struct answer answers[LOOKUPS];
} many;

// The column shown of the row of public.looked_up with key i + 1, for each i. There are rows with even keys.
static void make_lookups(const char *shown)
{
    static char sql[500];
    run_directly("CREATE TABLE IF NOT EXISTS public.looked_up (id int PRIMARY KEY);"
                 "INSERT INTO public.looked_up SELECT 2 * i FROM generate_series(1, 40) i ON CONFLICT DO NOTHING");
    (void)snprintf(sql, sizeof(sql), "SELECT (SELECT %s FROM public.looked_up AS t WHERE t.id = $1)", shown);
    many.lookup = (struct rest_lookup){.parameter_at = many.parameter_at, .types = many.types};
    many.parameter_at[0] = (uint32_t)(strchr(sql, '$') - sql);
    many.types[0] = "integer";
    for (unsigned i = 0; i < LOOKUPS; i++) {
        (void)snprintf(many.digits[i], sizeof(many.digits[i]), "%u", i + 1);
        many.keys[i] = cc_slice_text(many.digits[i]);
        many.statements[i] = statement_of(sql);
        many.statements[i].n_parameters = 1;
        many.statements[i].parameters = &many.keys[i];
        many.statements[i].lookup = &many.lookup;
    }
}

static void assert_looked_up(unsigned i)
{
    assert_string_equal(many.answers[i].message, "");
    assert_int_equal(many.answers[i].status, CC_OK);
    assert_int_equal(many.answers[i].n_rows, 1);
    assert_string_equal(many.answers[i].value, (i + 1) % 2 == 0 ? many.digits[i] : "NULL");
}

static void lookups_that_wait_together_are_one_statement(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    make_lookups("t.id");
    for (int round = 0; round < 3; round++) {
        ask_together(many.statements, NULL, many.answers, LOOKUPS);
        for (unsigned i = 0; i < LOOKUPS; i++) {
            assert_looked_up(i);
        }
    }
    make_lookups("now()"); // when the transaction began
    ask_together(many.statements, NULL, many.answers, LOOKUPS);
    assert_string_equal(many.answers[1].value, many.answers[63].value);
    assert_string_not_equal(many.answers[1].value, many.answers[65].value);
    assert_string_equal(many.answers[65].value, many.answers[69].value);
    assert_string_equal(many.answers[0].value, "NULL");
}

static void a_lookup_that_fails_harms_no_other(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    make_lookups("CASE WHEN t.id = 8 THEN 1 / (t.id - 8) ELSE t.id END");
    many.keys[4] = cc_slice_text("five");
    ask_together(many.statements, NULL, many.answers, LOOKUPS);
    assert_string_equal(many.answers[4].code, "22P02");
    assert_string_equal(many.answers[7].code, "22012");
    for (unsigned i = 0; i < LOOKUPS; i++) {
        if (i != 4 && i != 7) {
            assert_looked_up(i);
        }
    }
    // Also when the statement has become invalid, and when nothing at all can answer it.
    make_lookups("t.id");
    ask_together(many.statements, NULL, many.answers, 4);
    run_directly("ALTER TABLE public.looked_up ALTER id TYPE bigint");
    ask_together(many.statements, NULL, many.answers, 4);
    assert_looked_up(3);
    run_directly("DROP TABLE public.looked_up");
    ask_together(many.statements, NULL, many.answers, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_string_equal(many.answers[i].code, "42P01");
    }
}

static void lookups_of_others_are_not_joined(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    make_lookups("concat(current_setting('request.jwt.claims', true), current_setting('request.path', true), t.id)");
    struct rest_setting settings[6][1] = {{setting_of("request.jwt.claims", "ann")}, {setting_of("request.jwt.claims", "bob")},
                                          {setting_of("request.jwt.claims", "ann")}, {setting_of("request.jwt.claims", "bob")},
                                          {setting_of("request.path", "/a")},        {setting_of("request.path", "/b")}};
    static const char *const wanted[] = {"ann2", "bob2", "ann2", "bob2", "/a2", "/b2", "2", "2"};
    for (unsigned i = 0; i < 8; i++) {
        many.keys[i] = cc_slice_text("2");
        many.statements[i].n_settings = i < 6;
        many.statements[i].settings = settings[i < 6 ? i : 0];
    }
    for (int round = 0; round < 2; round++) {
        ask_together(many.statements, NULL, many.answers, 8);
        for (unsigned i = 0; i < 8; i++) {
            assert_string_equal(many.answers[i].value, wanted[i]);
        }
    }
}

static void a_lookup_over_its_time_is_given_up_alone(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    assert_value("SELECT 1", "1"); // to connect does not count
    make_lookups("CASE WHEN t.id = 4 THEN concat(pg_sleep(60), t.id) ELSE t.id::text END");
    uint32_t timeouts_ms[LOOKUPS];
    for (unsigned i = 0; i < LOOKUPS; i++) {
        timeouts_ms[i] = i == 3 ? 100 : 20000;
    }
    ask_together(many.statements, timeouts_ms, many.answers, 10);
    assert_int_equal(many.answers[3].status, CC_TIMEOUT);
    for (unsigned i = 0; i < 10; i++) {
        if (i != 3) {
            assert_looked_up(i);
        }
    }
}

static void a_lookup_that_breaks_the_connection_harms_no_other(void **state)
{
    (void)state;
    make_pool(1, 0, 0);
    make_lookups("CASE WHEN t.id = 4 THEN concat(pg_terminate_backend(pg_backend_pid()), pg_sleep(0.05)) ELSE t.id::text END");
    ask_together(many.statements, NULL, many.answers, 10);
    assert_int_equal(many.answers[3].status, CC_UNAVAILABLE);
    for (unsigned i = 0; i < 10; i++) {
        if (i != 3) {
            assert_looked_up(i);
        }
    }
}

static void without_a_server_reads_are_unavailable(void **state)
{
    (void)state;
    io_postgres_read_destroy(fixture.pool);
    struct io_postgres_read_options options = {.base = fixture.base, .conninfo = "host=/nonexistent dbname=x"};
    fixture.pool = io_postgres_read_create(&options);
    struct rest_statement statement = statement_of("SELECT 1");
    assert_int_equal(ask_statement(&statement, 200).status, CC_UNAVAILABLE);
}

// -- The server ----------------------------------------------------------------------------------------------------------

static void on_state(void *context, enum supervisor_state state, const char *text)
{
    (void)context;
    (void)text;
    if (state == SUPERVISOR_RUNNING) {
        (void)event_base_loopbreak(fixture.base);
    }
}

static int start_server(void **state)
{
    (void)state;
    static const struct supervisor_setting settings[] = {{"fsync", "off"}, {"shared_buffers", "16MB"}};
    scratch_make("read", fixture.directory);
    fixture.base = event_base_new();
    struct supervisor_options options = {.base = fixture.base,
                                         .data_directory = fixture.directory,
                                         .n_settings = 2,
                                         .settings = settings,
                                         .on_state = on_state};
    char error[300];
    assert_int_equal(supervisor_create(&options, &fixture.supervisor, error), CC_OK);
    supervisor_start(fixture.supervisor);
    (void)event_base_dispatch(fixture.base);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    io_postgres_read_destroy(fixture.pool);
    supervisor_destroy(fixture.supervisor);
    event_base_free(fixture.base);
    scratch_remove(fixture.directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_and_nulls_go_both_ways),
        cmocka_unit_test(an_error_comes_with_its_fields_and_harms_nobody),
        cmocka_unit_test(nothing_can_be_written),
        cmocka_unit_test(settings_hold_for_one_statement_only),
        cmocka_unit_test(a_function_that_changes_who_it_runs_as_changes_nothing_for_the_next_statement),
        cmocka_unit_test(what_fails_leaves_the_identity_to_be_set_again),
        cmocka_unit_test(a_prepared_statement_survives_a_migration),
        cmocka_unit_test(the_oldest_prepared_statements_are_dropped),
        cmocka_unit_test(a_statement_over_its_time_is_given_up_and_ends_in_the_server),
        cmocka_unit_test(a_read_is_run_again_when_its_connection_breaks),
        cmocka_unit_test(many_wait_in_order_and_too_many_are_refused),
        cmocka_unit_test(what_is_under_way_is_answered_when_the_pool_goes),
        cmocka_unit_test(settings_of_one_statement_are_not_those_of_the_next),
        cmocka_unit_test(what_comes_before_a_statement_is_of_its_transaction_only),
        cmocka_unit_test(those_sent_behind_one_have_their_own_outcomes),
        cmocka_unit_test(one_that_waits_behind_another_is_given_up_alone),
        cmocka_unit_test(a_session_of_another_user_can_only_become_what_that_one_may),
        cmocka_unit_test(those_behind_one_that_breaks_the_connection_run_again),
        cmocka_unit_test(nothing_is_sent_behind_one_that_may_change_who_it_runs_as),
        cmocka_unit_test(lookups_that_wait_together_are_one_statement),
        cmocka_unit_test(a_lookup_that_fails_harms_no_other),
        cmocka_unit_test(lookups_of_others_are_not_joined),
        cmocka_unit_test(a_lookup_over_its_time_is_given_up_alone),
        cmocka_unit_test(a_lookup_that_breaks_the_connection_harms_no_other),
        cmocka_unit_test(without_a_server_reads_are_unavailable),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
