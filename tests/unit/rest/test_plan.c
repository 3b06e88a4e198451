// Tests of the planner without a database: what is refused, what becomes SQL, what becomes a parameter.
#include "rest/catalog_fixture.h"

#include "rest/plan.h"
#include "rest/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct planned {
    struct rest_catalog *catalog;
    struct cc_arena arena;
    struct rest_plan plan;
};

struct asked {
    const char *method, *path, *query, *prefer, *accept, *body;
};

static int setup(void **state)
{
    struct planned *planned = calloc(1, sizeof(*planned));
    planned->catalog = fixture_catalog_create();
    cc_arena_init(&planned->arena);
    *state = planned;
    return 0;
}

static int teardown(void **state)
{
    struct planned *planned = *state;
    cc_arena_finish(&planned->arena);
    rest_catalog_destroy(planned->catalog);
    free(planned);
    return 0;
}

static const struct rest_plan *ask(struct planned *planned, struct asked asked)
{
    struct rest_header headers[2];
    uint32_t n = 0;
    if (asked.prefer != NULL) {
        headers[n++] = (struct rest_header){cc_slice_text("prefer"), cc_slice_text(asked.prefer)};
    }
    if (asked.accept != NULL) {
        headers[n++] = (struct rest_header){cc_slice_text("accept"), cc_slice_text(asked.accept)};
    }
    struct rest_request request = {
        .method = cc_slice_text(asked.method == NULL ? "GET" : asked.method),
        .path = cc_slice_text(asked.path),
        .query = cc_slice_text(asked.query),
        .n_headers = n,
        .headers = headers,
        .body = cc_slice_text(asked.body),
    };
    rest_plan_create(planned->catalog, &request, &planned->arena, &planned->plan);
    return &planned->plan;
}

static bool contains(struct cc_slice text, const char *part)
{
    return text.n > 0 && memmem(text.data, text.n, part, strlen(part)) != NULL;
}

static void assert_refused(const struct rest_plan *plan, int status, const char *code)
{
    char part[40];
    snprintf(part, sizeof(part), "\"code\":\"%s\"", code);
    assert_int_equal(plan->kind, REST_PLAN_ANSWER);
    assert_int_equal(plan->answer.status, status);
    assert_true(contains(plan->answer.body, part));
}

static void assert_missing(const struct rest_plan *plan, int status, const char *code)
{
    struct rest_plan copy = *plan;
    assert_int_equal(plan->kind, REST_PLAN_NOT_IN_CATALOG);
    copy.kind = REST_PLAN_ANSWER;
    assert_refused(&copy, status, code);
}

static void no_value_of_a_request_becomes_sql(void **state)
{
    struct planned *planned = *state;
    const char *query =
        "select=id,meta->>\"x')%3B DROP TABLE shops\"&name=eq.x')%3B DROP&shop_id=in.(1,\"x')%3B DROP\")"
        "&or=(name.like.\"x')%3B DROP\",name.fts(x').DROP)&order=meta->\"x')%3B DROP\"";
    const struct rest_plan *plan = ask(planned, (struct asked){.path = "/mechanics", .query = query});
    assert_int_equal(plan->kind, REST_PLAN_READ);
    // The output name of a path is the client's own: quoted, and the only text of the request in the statement.
    assert_true(contains(plan->statement.sql, " AS \"x'); DROP TABLE shops\""));
    assert_false(contains(plan->statement.sql, "= 'x"));
    assert_int_equal(plan->statement.n_parameters, 8);
}

static void a_quote_in_an_output_name_is_doubled(void **state)
{
    struct planned *planned = *state;
    const struct rest_plan *plan =
        ask(planned, (struct asked){.path = "/shops", .query = "select=\"a\\\" FROM x%3B --\":id"});
    assert_int_equal(plan->kind, REST_PLAN_READ);
    assert_true(contains(plan->statement.sql, " AS \"a\"\" FROM x; --\""));
}

static void sql_text_depends_on_the_shape_only(void **state)
{
    struct planned *planned = *state;
    const struct rest_plan *plan =
        ask(planned, (struct asked){.path = "/shops", .query = "id=in.(1,2)&limit=5&name=eq.a"});
    struct cc_slice first = plan->statement.sql;
    plan = ask(planned, (struct asked){.path = "/shops", .query = "id=in.(7,8,9,10)&limit=50&name=eq.bcd"});
    assert_true(cc_slice_equal(first, plan->statement.sql));
    plan = ask(planned, (struct asked){"POST", "/shops", "", NULL, NULL, "{\"id\":1,\"name\":\"a\"}"});
    first = plan->statement.sql;
    plan = ask(planned, (struct asked){"POST", "/shops", "", NULL, NULL, "{\"id\":222,\"name\":null}"});
    assert_true(cc_slice_equal(first, plan->statement.sql));
}

static void unknown_names_ask_for_a_fresh_catalog(void **state)
{
    struct planned *planned = *state;
    assert_missing(ask(planned, (struct asked){.path = "/shop"}), 404, "PGRST205");
    assert_true(contains(planned->plan.answer.body, "Perhaps you meant the table 'public.shops'"));
    assert_missing(ask(planned, (struct asked){.path = "/shops", .query = "select=zz"}), 400, "42703");
    assert_missing(ask(planned, (struct asked){.path = "/shops", .query = "zz=eq.1"}), 400, "42703");
    assert_missing(ask(planned, (struct asked){.path = "/shops", .query = "order=zz"}), 400, "42703");
    assert_missing(ask(planned, (struct asked){.path = "/shops", .query = "select=nope(id)"}), 400, "PGRST200");
    assert_missing(ask(planned, (struct asked){"POST", "/shops", "", NULL, NULL, "{\"zz\":1}"}), 400, "PGRST204");
    assert_missing(ask(planned, (struct asked){"POST", "/shops", "columns=zz", NULL, NULL, "{\"id\":1}"}), 400,
                   "PGRST204");
    assert_missing(ask(planned, (struct asked){"POST", "/rpc/add", "", NULL, NULL, "{\"c\":1}"}), 404, "PGRST202");
}

static void malformed_requests_are_refused(void **state)
{
    struct planned *planned = *state;
    assert_refused(ask(planned, (struct asked){.path = "/shops/1"}), 404, "PGRST125");
    assert_refused(ask(planned, (struct asked){.method = "BREW", .path = "/shops"}), 405, "PGRST117");
    assert_refused(ask(planned, (struct asked){.path = "/shops", .query = "id=5"}), 400, "PGRST100");
    assert_refused(ask(planned, (struct asked){.path = "/shops", .query = "x.id=eq.5"}), 400, "PGRST108");
    assert_refused(ask(planned, (struct asked){.path = "/shops", .query = "limit=-1"}), 416, "PGRST103");
    assert_missing(ask(planned, (struct asked){.path = "/shops", .accept = "image/png"}), 406, "PGRST107");
    assert_missing(ask(planned, (struct asked){.path = "/shops", .query = "select=id::nope"}), 400, "42704");
    assert_refused(ask(planned, (struct asked){.path = "/shops", .query = "select=id.sum()"}), 400, "PGRST123");
    assert_refused(ask(planned, (struct asked){.path = "/shops", .prefer = "handling=strict, x=1"}), 400, "PGRST122");
    assert_refused(ask(planned, (struct asked){.path = "/shops", .query = "select=id,transfers(id)"}), 300, "PGRST201");
    assert_refused(ask(planned, (struct asked){.path = "/shops", .query = "select=mechanics(id)&order=mechanics(id)"}),
                   400, "PGRST118");
    assert_refused(ask(planned, (struct asked){.path = "/shops", .query = "select=mechanics(id)&mechanics=eq.1"}), 400,
                   "PGRST120");
    const char *bodies[] = {
        "", "{", "1", "[1]", "{\"id\":1,\"id\":2}", "[{\"id\":1},{\"name\":\"a\"}]", "{\"id\":\"\\u0000\"}"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_refused(ask(planned, (struct asked){"POST", "/shops", "", NULL, NULL, bodies[i]}), 400, "PGRST102");
    }
}

static void writes_of_whole_tables_are_refused(void **state)
{
    struct planned *planned = *state;
    assert_refused(ask(planned, (struct asked){.method = "DELETE", .path = "/shops"}), 400, "21000");
    assert_refused(ask(planned, (struct asked){"PATCH", "/shops", "", NULL, NULL, "{\"name\":\"a\"}"}), 400, "21000");
    const struct rest_plan *plan =
        ask(planned, (struct asked){.method = "DELETE", .path = "/shops", .prefer = "handling=strict, max-affected=3"});
    assert_int_equal(plan->kind, REST_PLAN_WRITE);
    assert_int_equal(plan->statement.rows_max, 3);
    plan = ask(planned,
               (struct asked){.method = "DELETE", .path = "/shops", .query = "id=eq.1", .prefer = "max-affected=3"});
    assert_true(plan->statement.rows_max == UINT64_MAX);
}

static void rows_without_a_key_cannot_be_changed(void **state)
{
    struct planned *planned = *state;
    assert_refused(ask(planned, (struct asked){.method = "DELETE", .path = "/keyless", .query = "v=eq.1"}), 400,
                   "55000");
    assert_refused(ask(planned, (struct asked){"PATCH", "/keyless", "v=eq.1", NULL, NULL, "{\"v\":\"a\"}"}), 400,
                   "55000");
    assert_int_equal(ask(planned, (struct asked){"POST", "/keyless", "", NULL, NULL, "{\"v\":\"a\"}"})->kind,
                     REST_PLAN_WRITE);
}

static void a_change_of_a_weak_rows_key_needs_whole_rows(void **state)
{
    struct planned *planned = *state;
    const struct rest_plan *plan = ask(planned, (struct asked){"PATCH", "/presence", "status=eq.1", NULL, NULL, "{\"id\":\"a\"}"});
    assert_int_equal(plan->kind, REST_PLAN_WRITE);
    assert_true(plan->statement.captured);
    // The stamp is a parameter even where no field is set.
    assert_true(contains(plan->statement.sql, " - ('!' || $"));
    assert_false(ask(planned, (struct asked){"PATCH", "/presence", "status=eq.1", NULL, NULL, "{\"status\":\"a\"}"})->statement.captured);
}

static void levels_follow_the_classes_of_what_is_read(void **state)
{
    struct planned *planned = *state;
    assert_int_equal(ask(planned, (struct asked){.path = "/shops"})->level, REST_LEVEL_LINEARIZABLE);
    assert_int_equal(ask(planned, (struct asked){.path = "/presence"})->level, REST_LEVEL_SESSION);
    assert_int_equal(ask(planned, (struct asked){.path = "/rpc/add", .query = "a=1"})->level, REST_LEVEL_LINEARIZABLE);
    assert_int_equal(ask(planned, (struct asked){.path = "/shops", .prefer = "consistency=local"})->level,
                     REST_LEVEL_LOCAL);
    const struct rest_plan *plan = ask(planned, (struct asked){.path = "/shops", .prefer = "consistency=bounded=2s"});
    assert_int_equal(plan->level, REST_LEVEL_BOUNDED);
    assert_int_equal(plan->bounded_ms, 2000);
}

static void a_weak_write_leaves_the_last_parameter_to_its_stamp(void **state)
{
    struct planned *planned = *state;
    const struct rest_plan *plan =
        ask(planned, (struct asked){"PATCH", "/presence", "id=eq.7", NULL, NULL, "{\"status\":\"in\"}"});
    assert_int_equal(plan->kind, REST_PLAN_WRITE);
    assert_true(plan->statement.weak);
    assert_true(plan->statement.shape.with_old);
    assert_int_equal(plan->statement.n_parameters, 2);
    assert_true(contains(plan->statement.sql, "jsonb_build_object('status', $3::text)"));
    plan = ask(planned, (struct asked){.method = "DELETE", .path = "/presence", .query = "id=eq.7"});
    assert_true(contains(plan->statement.sql, "$2::text IS NOT NULL"));
}

static void operators_become_expressions_or_are_refused(void **state)
{
    struct planned *planned = *state;
    const struct rest_plan *plan = ask(planned, (struct asked){"PATCH", "/transfers", "id=eq.7", NULL, NULL, "{\"a\":{\"$inc\":-2}}"});
    assert_true(contains(plan->statement.sql, "\"a\" = coalesce(t0.\"a\", '0') + $1::integer"));
    plan = ask(planned, (struct asked){"POST", "/transfers", "", "resolution=merge-duplicates", NULL, "{\"id\":1,\"a\":{\"$inc\":\"3\"}}"});
    assert_true(contains(plan->statement.sql, "'0'::integer + $2::integer"));
    assert_true(contains(plan->statement.sql, "DO UPDATE SET \"a\" = coalesce(t0.\"a\", '0') + $3::integer"));
    plan = ask(planned, (struct asked){"PATCH", "/mechanics", "id=eq.7", NULL, NULL, "{\"skills\":{\"$add\":[\"x\"]},\"meta\":{\"$inc\":1}}"});
    assert_true(contains(plan->statement.sql, "unnest(coalesce(t0.\"skills\", '{}'))"));
    assert_true(contains(plan->statement.sql, "\"meta\" = $"));
    static const char *const wrong[] = {"{\"a\":{\"$inc\":[1]}}",        "{\"a\":{\"$inc\":1,\"$inc2\":1}}", "{\"a\":{\"$add\":[1]}}",
                                        "{\"a\":{\"$multiply\":2}}", "{\"a\":{\"$inc\":null}}"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        plan = ask(planned, (struct asked){"PATCH", "/transfers", "id=eq.7", NULL, NULL, wrong[i]});
        assert_int_equal(plan->kind, REST_PLAN_ANSWER);
        assert_int_equal(plan->answer.status, 400);
        assert_true(contains(plan->answer.body, "CC310"));
    }
    plan = ask(planned, (struct asked){"POST", "/transfers", "", NULL, NULL, "[{\"id\":1,\"a\":{\"$inc\":1}},{\"id\":2,\"a\":{\"$inc\":1}}]"});
    assert_true(contains(plan->answer.body, "CC310"));
    plan = ask(planned, (struct asked){"PUT", "/transfers", "id=eq.1", NULL, NULL, "{\"id\":1,\"a\":{\"$inc\":1}}"});
    assert_true(contains(plan->answer.body, "CC310"));
}

static const char *row_of(const struct rest_plan *plan)
{
    static char text[200];
    snprintf(text, sizeof(text), "%.*s", (int)plan->statement.row_n, (const char *)plan->statement.sql.data + plan->statement.row_at);
    return text;
}

static void rows_are_counted_without_aggregates_in_the_old_way_only(void **state)
{
    struct planned *planned = *state;
    const struct rest_plan *plan = ask(planned, (struct asked){.path = "/shops", .query = "select=count"});
    assert_int_equal(plan->kind, REST_PLAN_READ);
    assert_true(contains(plan->statement.sql, "count("));
    assert_refused(ask(planned, (struct asked){.path = "/shops", .query = "select=count()"}), 400, "PGRST123");
}

static void an_insert_of_one_row_tells_where_its_row_stands(void **state)
{
    struct planned *planned = *state;
    assert_string_equal(row_of(ask(planned, (struct asked){"POST", "/mechanics", "", NULL, NULL, "{\"id\":5,\"name\":\"a\"}"})), "($1::integer, $2::text)");
    assert_string_equal(row_of(ask(planned, (struct asked){"POST", "/presence", "", NULL, NULL, "{\"id\":\"7\",\"status\":\"in\"}"})),
                        "($1::uuid, $2::text, jsonb_build_object('', $3::text))");
    const char *upsert = "resolution=merge-duplicates", *ignore = "resolution=ignore-duplicates";
    assert_string_equal(row_of(ask(planned, (struct asked){"POST", "/mechanics", "", upsert, NULL, "{\"id\":5,\"name\":\"a\"}"})), "");
    assert_string_equal(row_of(ask(planned, (struct asked){"POST", "/mechanics", "", ignore, NULL, "{\"id\":5,\"name\":\"a\"}"})), "");
}

static void what_is_one_row_at_most_is_read_without_an_aggregate(void **state)
{
    struct planned *planned = *state;
    const char *aggregate = "json_agg";
    assert_false(contains(ask(planned, (struct asked){.path = "/mechanics", .query = "id=eq.5&select=name"})->statement.sql, aggregate));
    assert_false(contains(ask(planned, (struct asked){.path = "/presence", .query = "status=neq.in&id=eq.5"})->statement.sql, aggregate));
    static const char *const others[] = {"id=gt.5", "id=not.eq.5", "name=eq.a", "or=(id.eq.5,id.eq.6)"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_true(contains(ask(planned, (struct asked){.path = "/mechanics", .query = others[i]})->statement.sql, aggregate));
    }
    struct asked counted = {.path = "/mechanics", .query = "id=eq.5", .prefer = "count=exact"};
    assert_true(contains(ask(planned, counted)->statement.sql, aggregate));
}

static void the_values_of_many_rows_are_parameters(void **state)
{
    struct planned *planned = *state;
    const struct rest_plan *plan = ask(planned, (struct asked){"POST", "/mechanics", "", NULL, NULL,
                                                               "[{\"id\":5,\"name\":\"a\\n\"},{\"name\":null,\"id\":6}]"});
    assert_string_equal(row_of(plan), "($1::integer, $2::text)");
    assert_int_equal(plan->statement.row_parameters, 2);
    assert_int_equal(rest_statement_rows(&plan->statement), 2);
    assert_true(cc_slice_equal_text(plan->statement.parameters[1], "a\n"));
    assert_true(cc_slice_equal_text(plan->statement.parameters[2], "6"));
    assert_null(plan->statement.parameters[3].data);
    // What only PostgreSQL can take apart, and what may need parameters of its own, goes to it as JSON.
    plan = ask(planned, (struct asked){"POST", "/mechanics", "", NULL, NULL, "[{\"id\":5,\"name\":{}},{\"id\":6,\"name\":\"a\"}]"});
    assert_int_equal(plan->statement.row_parameters, 0);
    assert_true(contains(plan->statement.sql, "json_to_recordset($1::json)"));
    plan = ask(planned, (struct asked){"POST", "/mechanics", "", "return=representation", NULL, "[{\"id\":5},{\"id\":6}]"});
    assert_int_equal(plan->statement.n_parameters, 1);
    plan = ask(planned, (struct asked){"POST", "/mechanics", "", "missing=default", NULL, "[{\"id\":5},{\"id\":6}]"});
    assert_int_equal(plan->statement.row_parameters, 0);
}

static void what_a_row_is_given_is_told_where_its_text_stays_the_same(void **state)
{
    struct planned *planned = *state;
    const struct rest_statement *statement = &ask(planned, (struct asked){"POST", "/mechanics", "", NULL, NULL, "[{\"name\":\"a\",\"id\":5},{\"id\":6,\"name\":null}]"})->statement;
    const struct rest_shape *shape = &statement->shape;
    assert_non_null(statement->given);
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        bool id = cc_slice_equal_text(shape->columns[i].name, "id"), name = cc_slice_equal_text(shape->columns[i].name, "name");
        assert_int_equal(statement->given[i] > 0, id || name);
        assert_int_equal(contains(statement->brief_end, cc_arena_printf(&planned->arena, "t0.\"%.*s\"", (int)shape->columns[i].name.n, (const char *)shape->columns[i].name.data)), !id && !name);
    }
    // "5.0" would be refused or come back as another text.
    statement = &ask(planned, (struct asked){"POST", "/mechanics", "", NULL, NULL, "[{\"name\":\"a\",\"id\":5},{\"id\":\"06\",\"name\":null}]"})->statement;
    assert_true(contains(statement->brief_end, "RETURNING t0.\"id\""));
    assert_null(ask(planned, (struct asked){"POST", "/mechanics", "", "resolution=merge-duplicates", NULL, "{\"id\":5,\"name\":\"a\"}"})->statement.given);
    // Of a weak row all is known but for what has a default; the stamp is in the row.
    statement = &ask(planned, (struct asked){"POST", "/presence", "", "return=representation", NULL, "{\"id\":\"7\",\"status\":\"in\"}"})->statement;
    assert_non_null(statement->given);
    assert_true(contains(statement->brief_end, " RETURNING "));
    assert_false(contains(statement->brief_end, "VALUES"));
}

static void a_value_is_plain_where_it_comes_back_as_it_was_given(void **state)
{
    (void)state;
    static const char uuid[] = "01234567-89ab-cdef-0123-456789abcdef";
    assert_true(rest_value_is_plain(cc_slice_text("uuid"), cc_slice_text(uuid)));
    for (size_t i = 0; i < sizeof(uuid) - 1; i++) {
        char other[sizeof(uuid)];
        for (const char *c = "gA-/:`@ "; *c != '\0'; c++) {
            memcpy(other, uuid, sizeof(uuid));
            other[i] = *c;
            assert_int_equal(rest_value_is_plain(cc_slice_text("uuid"), cc_slice_text(other)), uuid[i] == *c);
        }
        assert_false(rest_value_is_plain(cc_slice_text("uuid"), cc_slice_of((const uint8_t *)uuid, i)));
    }
    assert_false(rest_value_is_plain(cc_slice_text("uuid"), cc_slice_text("01234567-89ab-cdef-0123-456789abcdef0")));
    assert_true(rest_value_is_plain(cc_slice_text("uuid"), (struct cc_slice){0}));
}

static void updates_by_key_tell_the_text_of_many(void **state)
{
    struct planned *planned = *state;
    const char *body = "{\"name\":\"a\"}";
    const struct rest_statement *statement = &ask(planned, (struct asked){"PATCH", "/mechanics", "id=eq.5", NULL, NULL, body})->statement;
    assert_true(contains(statement->many, " SET \"name\" = q.p1::text FROM unnest((SELECT $1::text[]), (SELECT $2::text[])) WITH ORDINALITY AS q(p1, p2, n)"));
    assert_true(contains(statement->many, "k.\"id\" = q.p2::integer OFFSET 0) AS o WHERE t0.ctid = o.\"_caucus_at\" RETURNING 'U', t0.\"id\""));
    assert_true(contains(statement->many, ", q.n"));
    assert_int_equal(statement->many_key_at, 1);
    static const char *const others[] = {"id=eq.05", "id=gt.5", "name=eq.a", "id=eq.5&name=eq.b", "id=not.eq.5", "id=eq.5&id=eq.5"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(ask(planned, (struct asked){"PATCH", "/mechanics", others[i], NULL, NULL, body})->statement.many.n, 0);
    }
    assert_int_equal(ask(planned, (struct asked){"PATCH", "/mechanics", "id=eq.5", NULL, NULL, "{\"id\":6}"})->statement.many.n, 0);
}

static void weak_updates_by_key_tell_the_text_of_many_with_stamps(void **state)
{
    struct planned *planned = *state;
    static const char *const by_key = "id=eq.5e5f5c2c-8f5b-4a6e-9e0a-00112233445a";
    const struct rest_statement *statement = &ask(planned, (struct asked){"PATCH", "/presence", by_key, NULL, NULL, "{\"status\":\"in\"}"})->statement;
    assert_true(contains(statement->many, "SET \"status\" = q.p1::text, \"_caucus\" = coalesce(t0.\"_caucus\", '{}'::jsonb) || jsonb_build_object('status', q.p3::text) FROM unnest("));
    assert_true(contains(statement->many, "(SELECT $3::text[])) WITH ORDINALITY AS q(p1, p2, p3, n), LATERAL (SELECT k.ctid AS \"_caucus_at\", k.\"id\", k.\"status\""));
    assert_true(contains(statement->many, " WHERE k.\"id\" = q.p2::uuid OFFSET 0) AS o WHERE t0.ctid = o.\"_caucus_at\" RETURNING 'U', t0.\"id\""));
    assert_true(contains(statement->many, ", o.\"status\""));
    assert_int_equal(statement->many_key_at, 1);
    assert_int_equal(ask(planned, (struct asked){"PATCH", "/presence", "status=eq.in", NULL, NULL, "{\"status\":\"out\"}"})->statement.many.n, 0);
}

static void sequences_are_told_when_the_database_draws(void **state)
{
    struct planned *planned = *state;
    assert_int_equal(
        ask(planned, (struct asked){"POST", "/mechanics", "", NULL, NULL, "{\"name\":\"a\"}"})->statement.n_sequences,
        1);
    assert_int_equal(
        ask(planned, (struct asked){"POST", "/mechanics", "", NULL, NULL, "{\"id\":5}"})->statement.n_sequences, 0);
}

static void functions_that_may_write_go_through_the_log_unless_called_by_get(void **state)
{
    struct planned *planned = *state;
    const struct rest_plan *plan = ask(planned, (struct asked){"POST", "/rpc/bump", "", NULL, NULL, "{}"});
    assert_int_equal(plan->kind, REST_PLAN_WRITE);
    assert_int_equal(plan->statement.kind, REST_CALL);
    assert_true(plan->statement.captured);
    assert_int_equal(ask(planned, (struct asked){.path = "/rpc/bump"})->kind, REST_PLAN_READ);
    assert_int_equal(ask(planned, (struct asked){"POST", "/rpc/add", "", NULL, NULL, "{\"a\":1}"})->kind,
                     REST_PLAN_READ);
    assert_refused(ask(planned, (struct asked){.method = "PUT", .path = "/rpc/add"}), 405, "PGRST101");
}

static void a_plan_does_not_borrow_from_its_request(void **state)
{
    struct planned *planned = *state;
    char body[] = "[{\"id\":1,\"name\":\"abc\"},{\"id\":2,\"name\":\"d\"}]";
    const struct rest_plan *plan = ask(planned, (struct asked){"POST", "/shops", "", NULL, NULL, body});
    memset(body, 'x', sizeof(body) - 1);
    assert_true(contains(plan->statement.parameters[1], "abc"));
    char query[] = "name=eq.abc";
    plan = ask(planned, (struct asked){.path = "/shops", .query = query});
    memset(query, 'x', sizeof(query) - 1);
    assert_true(cc_slice_equal_text(plan->statement.parameters[0], "abc"));
}

static void statuses_follow_the_code(void **state)
{
    (void)state;
    static const struct {
        const char *code, *message;
        bool anonymous;
        int status;
    } cases[] = {
        {"23505", "", false, 409},
        {"23503", "", false, 409},
        {"23502", "", false, 400},
        {"22P02", "", false, 400},
        {"42501", "", true, 401},
        {"42501", "", false, 403},
        {"42P01", "", false, 404},
        {"42883", "", false, 404},
        {"25006", "", false, 405},
        {"40001", "", false, 500},
        {"53300", "", false, 503},
        {"53400", "", false, 500},
        {"57014", "", false, 500},
        {"57P01", "", false, 503},
        {"P0001", "", false, 400},
        {"P0002", "", false, 500},
        {"XX000", "", false, 500},
        {"08006", "", false, 503},
        {"21000", "", false, 500},
        {"28P01", "", false, 403},
        {"21000", "UPDATE requires a WHERE clause", false, 400},
        {"22023", "role \"x\" does not exist", false, 401},
        {"22023", "", false, 400},
        {"PT418", "", false, 418},
        {"PT999", "", false, 500},
        {"PTabc", "", false, 500},
        {"PGRST116", "", false, 406},
        {"42703", "", false, 400},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status =
            rest_error_status(cc_slice_text(cases[i].code), cc_slice_text(cases[i].message), cases[i].anonymous);
        assert_int_equal(status, cases[i].status);
    }
}

static const char *header(const struct rest_reply *reply, const char *name)
{
    for (uint32_t i = 0; i < reply->n_headers; i++) {
        if (cc_slice_equal_fold(reply->headers[i].name, name)) {
            return (const char *)reply->headers[i].value.data; // headers end with NUL in the arena
        }
    }
    return NULL;
}

static void a_retryable_refusal_says_so(void **state)
{
    struct planned *planned = *state;
    struct rest_reply reply;
    const struct rest_plan *plan = ask(planned, (struct asked){"POST", "/shops", "", NULL, NULL, "{\"id\":1}"});
    struct rest_outcome outcome = {
        .kind = REST_REFUSED, .status = CC_UNAVAILABLE, .code = cc_slice_text("CC201"), .message = cc_slice_text("m")};
    rest_reply_write(plan, &outcome, &planned->arena, &reply);
    assert_int_equal(reply.status, 503);
    assert_string_equal(header(&reply, "Retry-After"), "1");
    outcome = (struct rest_outcome){.kind = REST_UNKNOWN};
    rest_reply_write(plan, &outcome, &planned->arena, &reply);
    assert_int_equal(reply.status, 504);
}

static void headers_of_a_function_cannot_break_framing(void **state)
{
    struct planned *planned = *state;
    const struct rest_plan *plan = ask(planned, (struct asked){.path = "/rpc/add", .query = "a=1"});
    static const struct {
        const char *headers;
        int status;
    } cases[] = {
        {"[{\"X-A\":\"b\"}]", 200},
        {"[{\"X-A\":\"b\\r\\nEvil: 1\"}]", 500},
        {"[{\"Content-Length\":\"1\"}]", 500},
        {"[{\"X A\":\"b\"}]", 500},
        {"[1]", 500},
        {"{}", 500},
        {"[", 500},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rest_reply reply;
        struct rest_read_result result = {
            .page = cc_slice_text("1"), .body = cc_slice_text("3"), .headers = cc_slice_text(cases[i].headers)};
        rest_reply_read(plan, &result, &planned->arena, &reply);
        assert_int_equal(reply.status, cases[i].status);
    }
}

static void location_names_the_one_inserted_row(void **state)
{
    struct planned *planned = *state;
    struct rest_reply reply;
    const struct rest_plan *plan =
        ask(planned, (struct asked){"POST", "/shops", "", "return=headers-only", NULL, "{\"id\":1}"});
    struct rest_outcome outcome = {
        .kind = REST_DONE, .n_rows = 1, .n_inserted = 1, .body = cc_slice_text("[\"a b\\r\\n&c\"]")};
    rest_reply_write(plan, &outcome, &planned->arena, &reply);
    assert_int_equal(reply.status, 201);
    assert_string_equal(header(&reply, "Location"), "/shops?id=eq.a%20b%0D%0A%26c");
}

static void defaults_that_are_constants_are_known(void **state)
{
    struct planned *planned = *state;
    const struct rest_table *table = rest_catalog_table(planned->catalog, "public", cc_slice_text("mechanics"));
    assert_string_equal(table->columns[2].constant_default, "no'body");
    assert_null(table->columns[0].constant_default);
    assert_true(table->columns[0].has_default);
}

static void a_comment_states_the_class(void **state)
{
    (void)state;
    enum rest_class class = REST_WEAK;
    const char *rest = NULL;
    assert_int_equal(rest_class_of_comment(NULL, &class, &rest), CC_OK);
    assert_int_equal(class, REST_STRONG);
    assert_int_equal(rest_class_of_comment("@caucus  weak \r\nText", &class, &rest), CC_OK);
    assert_int_equal(class, REST_WEAK);
    assert_string_equal(rest, "Text");
    assert_int_equal(rest_class_of_comment("@caucus strong", &class, &rest), CC_OK);
    assert_int_equal(class, REST_STRONG);
    assert_null(rest);
    assert_int_equal(rest_class_of_comment("@caucus wek", &class, &rest), CC_INVALID);
    assert_int_equal(rest_class_of_comment("Just a text", &class, &rest), CC_OK);
    assert_string_equal(rest, "Just a text");
}

static void a_damaged_catalog_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct rest_catalog *catalog = NULL;
    char error[REST_CATALOG_ERROR_BYTES] = "";
    const char *no_schema = "{\"version\":1,\"schemas\":[],\"tables\":[],\"foreign_keys\":[],\"functions\":[],"
                            "\"has_deferrable\":false,\"has_sequences\":false}";
    const char *texts[] = {"", "{}", "[]", no_schema};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        error[0] = '\0';
        assert_int_equal(rest_catalog_create(cc_slice_text(texts[i]), &catalog, error), CC_MALFORMED);
        assert_true(error[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_value_of_a_request_becomes_sql, setup, teardown),
        cmocka_unit_test_setup_teardown(a_quote_in_an_output_name_is_doubled, setup, teardown),
        cmocka_unit_test_setup_teardown(sql_text_depends_on_the_shape_only, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_names_ask_for_a_fresh_catalog, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_requests_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_of_whole_tables_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_without_a_key_cannot_be_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_of_a_weak_rows_key_needs_whole_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(levels_follow_the_classes_of_what_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_weak_write_leaves_the_last_parameter_to_its_stamp, setup, teardown),
        cmocka_unit_test_setup_teardown(operators_become_expressions_or_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_are_counted_without_aggregates_in_the_old_way_only, setup, teardown),
        cmocka_unit_test_setup_teardown(an_insert_of_one_row_tells_where_its_row_stands, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_one_row_at_most_is_read_without_an_aggregate, setup, teardown),
        cmocka_unit_test_setup_teardown(the_values_of_many_rows_are_parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_row_is_given_is_told_where_its_text_stays_the_same, setup, teardown),
        cmocka_unit_test(a_value_is_plain_where_it_comes_back_as_it_was_given),
        cmocka_unit_test_setup_teardown(updates_by_key_tell_the_text_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(weak_updates_by_key_tell_the_text_of_many_with_stamps, setup, teardown),
        cmocka_unit_test_setup_teardown(sequences_are_told_when_the_database_draws, setup, teardown),
        cmocka_unit_test_setup_teardown(functions_that_may_write_go_through_the_log_unless_called_by_get, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_plan_does_not_borrow_from_its_request, setup, teardown),
        cmocka_unit_test(statuses_follow_the_code),
        cmocka_unit_test_setup_teardown(a_retryable_refusal_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(headers_of_a_function_cannot_break_framing, setup, teardown),
        cmocka_unit_test_setup_teardown(location_names_the_one_inserted_row, setup, teardown),
        cmocka_unit_test_setup_teardown(defaults_that_are_constants_are_known, setup, teardown),
        cmocka_unit_test(a_comment_states_the_class),
        cmocka_unit_test(a_damaged_catalog_is_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
