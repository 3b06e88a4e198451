// The database lanes with a real PostgreSQL: what one executes, two applies, and both hold the same rows.
#include "postgres_fixture.h"

#include "base/prng.h"
#include "crdt/change.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}

static const char items_sql[] = "CREATE TABLE items (id bigint PRIMARY KEY, name text, n integer CHECK (n >= 0), at timestamptz DEFAULT now(),"
                                " twice integer GENERATED ALWAYS AS (n * 2) STORED);";

static struct rest_shape_column items_columns[] = {
    {TEXT("id"), TEXT("bigint"), REST_COLUMN_KEY},
    {TEXT("name"), TEXT("text"), 0},
    {TEXT("n"), TEXT("integer"), 0},
    {TEXT("at"), TEXT("timestamp with time zone"), 0},
    {TEXT("twice"), TEXT("integer"), REST_COLUMN_GENERATED},
};

static struct cc_slice insert_item(struct fixture *fixture, const char *id, const char *name, const char *n, const char *key)
{
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 3, sizeof(*parameters));
    parameters[0] = cc_slice_text(id);
    parameters[1] = cc_slice_text(name);
    parameters[2] = cc_slice_text(n);
    struct rest_statement statement = {
        .kind = REST_INSERT,
        .sql = TEXT("WITH s AS (INSERT INTO public.items (id, name, n) VALUES ($1, $2, $3) RETURNING *) "
                    "SELECT 'I', id, name, n, at, twice, row_to_json(s)::text FROM s"),
        .n_parameters = 3,
        .parameters = parameters,
        .rows_max = UINT64_MAX,
        .body_is_array = true,
        .shape = {.table = TEXT("\"public\".\"items\""), .n_columns = 5, .columns = items_columns}};
    const char *row = "($1, $2, $3)"; // several are one statement
    statement.row_at = (uint32_t)(strstr((const char *)statement.sql.data, row) - (const char *)statement.sql.data);
    statement.row_n = (uint32_t)strlen(row);
    return operation_of_statement(fixture, &statement, key);
}

static struct cc_slice update_items(struct fixture *fixture, const char *where, const char *n, uint64_t rows_max, bool single)
{
    static struct rest_shape_column columns[] = {{TEXT("id"), TEXT("bigint"), REST_COLUMN_KEY}, {TEXT("n"), TEXT("integer"), REST_COLUMN_SET}};
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 1, sizeof(*parameters));
    parameters[0] = cc_slice_text(n);
    const char *sql = cc_arena_printf(&fixture->arena,
                                      "WITH s AS (UPDATE public.items SET n = $1 WHERE %s RETURNING *) SELECT 'U', id, n, NULL::text FROM s", where);
    struct rest_statement statement = {.kind = REST_UPDATE,
                                       .sql = cc_slice_text(sql),
                                       .n_parameters = 1,
                                       .parameters = parameters,
                                       .rows_max = rows_max,
                                       .single = single,
                                       .shape = {.table = TEXT("\"public\".\"items\""), .n_columns = 2, .columns = columns}};
    return operation_of_statement(fixture, &statement, NULL);
}

static struct cc_slice delete_items(struct fixture *fixture, const char *where)
{
    const char *sql = cc_arena_printf(&fixture->arena, "WITH s AS (DELETE FROM public.items WHERE %s RETURNING *) SELECT 'D', id, NULL::text FROM s", where);
    struct rest_statement statement = {.kind = REST_DELETE,
                                       .sql = cc_slice_text(sql),
                                       .rows_max = UINT64_MAX,
                                       .shape = {.table = TEXT("\"public\".\"items\""), .n_columns = 1, .columns = items_columns}};
    return operation_of_statement(fixture, &statement, NULL);
}

// A write whose effects come from capture triggers.
static struct cc_slice captured(struct fixture *fixture, const char *sql, const char *key)
{
    const char *text = cc_arena_printf(&fixture->arena, "WITH s AS (%s RETURNING 1) SELECT NULL::text, NULL::text FROM s", sql);
    struct rest_statement statement = {.kind = REST_UPDATE, .captured = true, .sql = cc_slice_text(text), .rows_max = UINT64_MAX};
    return operation_of_statement(fixture, &statement, key);
}

static void assert_same(struct fixture *fixture, const char *sql)
{
    const char *one = site_query(&fixture->one, sql);
    const char *two = site_query(&fixture->two, sql);
    assert_string_equal(one, two);
}

static const char all_items[] = "SELECT coalesce(json_agg(i ORDER BY id)::text, 'none') FROM items i";

static void assert_code(const struct rest_outcome *outcome, const char *code)
{
    if (!cc_slice_equal_text(outcome->code, code)) {
        print_error("code %.*s: %.*s\n", (int)outcome->code.n, (const char *)outcome->code.data, (int)outcome->message.n,
                    (const char *)outcome->message.data);
    }
    assert_true(cc_slice_equal_text(outcome->code, code));
}

static void assert_done(const struct rest_outcome *outcome)
{
    if (outcome->kind != REST_DONE) {
        print_error("code %.*s: %.*s\n", (int)outcome->code.n, (const char *)outcome->code.data, (int)outcome->message.n,
                    (const char *)outcome->message.data);
    }
    assert_int_equal(outcome->kind, REST_DONE);
}

static void migrate_ok(struct fixture *fixture, const char *name, const char *sql)
{
    const struct rest_outcome *outcome = migrate(fixture, name, sql);
    if (outcome->kind != REST_DONE) {
        print_error("%.*s\n", (int)outcome->message.n, (const char *)outcome->message.data);
    }
    assert_int_equal(outcome->kind, REST_DONE);
}

// -- Strong --------------------------------------------------------------------------------------------------------------

static void what_one_executes_two_applies(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct rest_outcome outcomes[8];
    struct cc_slice operations[] = {
        insert_item(fixture, "1", "one, \"quoted\" \\ and {braced}", "10", NULL), insert_item(fixture, "2", NULL, NULL, NULL),
        insert_item(fixture, "3", "", "30", NULL),      update_items(fixture, "id = 1", "11", UINT64_MAX, false),
        update_items(fixture, "true", "12", UINT64_MAX, false), delete_items(fixture, "id = 3"),
        insert_item(fixture, "3", "again", "31", NULL)};
    replicate(fixture, operations, 7, outcomes);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(outcomes[i].kind, REST_DONE);
    }
    assert_int_equal(outcomes[0].n_inserted, 1);
    assert_int_equal(outcomes[4].n_rows, 3);
    assert_null(outcomes[4].body.data);
    assert_memory_equal(outcomes[0].body.data, "[{\"id\":1,", 9);
    assert_string_equal(site_query(&fixture->one, "SELECT count(*) FROM items"), "3");
    assert_same(fixture, all_items);
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(id || '=' || coalesce(twice::text, '-'), ' ' ORDER BY id) FROM items"), "1=24 2=24 3=62");
    assert_string_equal(site_query(&fixture->two, "SELECT applied FROM caucus.applied"), "2");
}

// An insert whose text may be run for many rows at once. With given: two of the columns need not come back.
static struct cc_slice insert_items_given(struct fixture *fixture, uint32_t n, const char *const *values, bool given)
{
    static uint32_t given_columns[5] = {1, 2, 0, 0, 0};
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, (size_t)n * 3, sizeof(*parameters));
    for (uint32_t i = 0; i < n * 3; i++) {
        parameters[i] = values[i] == NULL ? (struct cc_slice){0} : cc_slice_text(values[i]);
    }
    struct rest_statement statement = {
        .kind = REST_INSERT,
        .sql = TEXT("INSERT INTO public.items AS t0 (id, name, n) VALUES ($1::bigint, $2::text, $3::integer) "
                    "RETURNING 'I', t0.id, t0.name, t0.n, t0.at, t0.twice, t0.name || '!'"),
        .n_parameters = 3 * n,
        .parameters = parameters,
        .rows_max = UINT64_MAX,
        .body_is_array = true,
        .shape = {.table = TEXT("\"public\".\"items\""), .n_columns = 5, .columns = items_columns},
        .row_parameters = 3};
    const char *row = "($1::bigint, $2::text, $3::integer)";
    statement.row_at = (uint32_t)(strstr((const char *)statement.sql.data, row) - (const char *)statement.sql.data);
    statement.row_n = (uint32_t)strlen(row);
    if (given) {
        statement.given = given_columns;
        statement.brief_end = cc_slice_text(" RETURNING t0.n, t0.at, t0.twice, t0.name || '!'");
    }
    return operation_of_statement(fixture, &statement, NULL);
}

static struct cc_slice insert_items(struct fixture *fixture, uint32_t n, const char *const *values)
{
    return insert_items_given(fixture, n, values, false);
}

static void what_rows_are_given_need_not_come_back(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct cc_slice operations[] = {insert_items_given(fixture, 3, (const char *const[]){"3", "c{\"", "3", "1", NULL, NULL, "2", "", "2"}, true),
                                    insert_items_given(fixture, 1, (const char *const[]){"5", "e", "05"}, true),
                                    insert_items_given(fixture, 1, (const char *const[]){"4", "d", "4"}, true),
                                    insert_items_given(fixture, 1, (const char *const[]){"5", "again", "5"}, true),
                                    insert_items(fixture, 1, (const char *const[]){"6", "f", "6"})};
    struct rest_outcome outcomes[5];
    replicate(fixture, operations, 5, outcomes);
    assert_done(&outcomes[0]);
    assert_int_equal(outcomes[0].n_rows, 3);
    assert_int_equal(outcomes[0].n_inserted, 3);
    assert_true(cc_slice_equal_text(outcomes[0].body, "[c{\"!, \n !]"));
    assert_true(cc_slice_equal_text(outcomes[1].body, "[e!]"));
    assert_int_equal(outcomes[1].n_inserted, 1);
    assert_code(&outcomes[3], "23505");
    assert_true(cc_slice_equal_text(outcomes[4].body, "[f!]"));
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(id || coalesce(name, '-') || coalesce(twice::text, ''), ' ' ORDER BY id) FROM items"),
                        "1- 24 3c{\"6 4d8 5e10 6f12");
    assert_same(fixture, all_items);
}

// An update by key that may run together with others.
static struct cc_slice update_by_key(struct fixture *fixture, const char *id, const char *n)
{
    static struct rest_shape_column columns[] = {{TEXT("id"), TEXT("bigint"), REST_COLUMN_KEY}, {TEXT("n"), TEXT("integer"), REST_COLUMN_SET}};
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 2, sizeof(*parameters));
    parameters[0] = cc_slice_text(n);
    parameters[1] = cc_slice_text(id);
    struct rest_statement statement = {
        .kind = REST_UPDATE,
        .sql = TEXT("UPDATE public.items AS t0 SET n = $1 WHERE t0.id = $2 RETURNING 'U', t0.id, t0.n, t0.n || '!'"),
        .n_parameters = 2,
        .parameters = parameters,
        .rows_max = UINT64_MAX,
        .shape = {.table = TEXT("\"public\".\"items\""), .n_columns = 2, .columns = columns},
        .many = TEXT("UPDATE public.items AS t0 SET n = q.p1::integer FROM unnest((SELECT $1::text[]), (SELECT $2::text[])) WITH ORDINALITY AS q(p1, p2, n), "
                     "LATERAL (SELECT k.ctid AS at FROM public.items AS k WHERE k.id = q.p2::bigint OFFSET 0) AS f WHERE t0.ctid = f.at "
                     "RETURNING 'U', t0.id, t0.n, t0.n || '!', q.n"),
        .many_key_at = 1};
    return operation_of_statement(fixture, &statement, NULL);
}

static void updates_by_different_keys_are_one_statement_and_each_gets_its_own_answer(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct rest_outcome outcomes[9];
    struct cc_slice rows[] = {insert_items(fixture, 3, (const char *const[]){"1", "a", "1", "2", "b", "2", "3", "c", "3"})};
    replicate(fixture, rows, 1, outcomes);
    // The third finds no row; the fifth is of a row again.
    struct cc_slice operations[] = {update_by_key(fixture, "3", "30"), update_by_key(fixture, "1", "10"),    update_by_key(fixture, "9", "90"),
                                    update_by_key(fixture, "2", NULL), update_by_key(fixture, "3", "31")};
    replicate(fixture, operations, 5, outcomes);
    static const char *const bodies[] = {"30!", "10!", NULL, NULL, "31!"};
    static const int n_rows[] = {1, 1, 0, 1, 1};
    for (size_t i = 0; i < 5; i++) {
        assert_done(&outcomes[i]);
        assert_int_equal(outcomes[i].n_rows, n_rows[i]);
        assert_int_equal(outcomes[i].n_inserted, 0);
        assert_true(bodies[i] == NULL ? outcomes[i].body.data == NULL : cc_slice_equal_text(outcomes[i].body, bodies[i]));
    }
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(id || '=' || coalesce(n::text, '-'), ' ' ORDER BY id) FROM items"), "1=10 2=- 3=31");
    struct cc_slice more[] = {update_by_key(fixture, "1", "11"), update_by_key(fixture, "2", "-1"), update_by_key(fixture, "3", "x"), update_by_key(fixture, "9", "1")};
    replicate(fixture, more, 4, outcomes);
    assert_done(&outcomes[0]);
    assert_code(&outcomes[1], "23514");
    assert_code(&outcomes[2], "22P02");
    assert_int_equal(outcomes[3].n_rows, 0);
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(id || '=' || coalesce(n::text, '-'), ' ' ORDER BY id) FROM items"), "1=11 2=- 3=31");
    assert_same(fixture, all_items);
}

// Nothing comes back at all.
static struct cc_slice insert_notes(struct fixture *fixture, uint32_t n, const char *const *values)
{
    static struct rest_shape_column columns[] = {{TEXT("id"), TEXT("uuid"), REST_COLUMN_KEY}, {TEXT("text"), TEXT("text"), 0}};
    static uint32_t given[2] = {2, 1};
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, (size_t)n * 2, sizeof(*parameters));
    for (uint32_t i = 0; i < n * 2; i++) {
        parameters[i] = values[i] == NULL ? (struct cc_slice){0} : cc_slice_text(values[i]);
    }
    struct rest_statement statement = {.kind = REST_INSERT,
                                       .sql = TEXT("INSERT INTO public.notes AS t0 (text, id) VALUES ($1::text, $2::uuid) RETURNING 'I', t0.id, t0.text, NULL"),
                                       .n_parameters = 2 * n,
                                       .parameters = parameters,
                                       .rows_max = n == 3 ? 2 : UINT64_MAX,
                                       .shape = {.table = TEXT("\"public\".\"notes\""), .n_columns = 2, .columns = columns},
                                       .row_at = (uint32_t)strlen("INSERT INTO public.notes AS t0 (text, id) VALUES "),
                                       .row_n = (uint32_t)strlen("($1::text, $2::uuid)"),
                                       .row_parameters = 2,
                                       .given = given};
    return operation_of_statement(fixture, &statement, NULL);
}

static void rows_of_which_nothing_comes_back_are_counted_all_the_same(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", "CREATE TABLE notes (id uuid PRIMARY KEY, text text)");
    static const char one[] = "5e5f5c2c-8f5b-4a6e-9e0a-00112233445a", two[] = "00000000-0000-0000-0000-00000000000f",
                      three[] = "ffffffff-ffff-ffff-ffff-ffffffffffff", four[] = "4e5f5c2c-8f5b-4a6e-9e0a-001122334455";
    struct cc_slice operations[] = {insert_notes(fixture, 1, (const char *const[]){"a", one}),
                                    insert_notes(fixture, 2, (const char *const[]){NULL, two, "c", three}),
                                    insert_notes(fixture, 1, (const char *const[]){"d", four}),
                                    insert_notes(fixture, 1, (const char *const[]){"e", one}),
                                    insert_notes(fixture, 3, (const char *const[]){"f", one, "g", two, "h", three}),
                                    insert_notes(fixture, 1, (const char *const[]){"i", NULL})};
    struct rest_outcome outcomes[6];
    replicate(fixture, operations, 2, outcomes);
    assert_int_equal(outcomes[0].n_rows, 1);
    assert_int_equal(outcomes[1].n_inserted, 2);
    assert_null(outcomes[1].body.data);
    replicate(fixture, operations + 2, 4, outcomes + 2);
    assert_done(&outcomes[2]);
    assert_code(&outcomes[3], "23505");
    assert_code(&outcomes[4], "23505");
    assert_code(&outcomes[5], "23502");
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(left(id::text, 4) || coalesce(text, '-'), ' ' ORDER BY id) FROM notes"), "0000- 4e5fd 5e5fa ffffc");
    assert_same(fixture, "SELECT json_agg(n ORDER BY id)::text FROM notes n");
    struct cc_slice many[] = {insert_notes(fixture, 3, (const char *const[]){"f", "11111111-0000-0000-0000-000000000000", "g",
                                                                             "22222222-0000-0000-0000-000000000000", "h",
                                                                             "33333333-0000-0000-0000-000000000000"})};
    replicate(fixture, many, 1, outcomes);
    assert_code(&outcomes[0], "PGRST124");
    assert_same(fixture, "SELECT count(*)::text FROM notes");
}

static void rows_of_many_parameters_are_one_statement_in_their_order(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    static const char *const first[] = {"3", "c{\"", "3", "1", NULL, NULL, "2", "", "2"};
    static const char *const bad[] = {"8", "x", "1", "9", "y", "-9"};
    struct cc_slice operations[] = {insert_items(fixture, 3, first),
                                    insert_items(fixture, 1, (const char *const[]){"5", "e", "5"}),
                                    insert_items(fixture, 1, (const char *const[]){"4", "d", "4"}),
                                    insert_items(fixture, 2, bad),
                                    insert_items(fixture, 1, (const char *const[]){"5", "again", "5"}),
                                    insert_items(fixture, 1, (const char *const[]){"6", "f", "nonsense"})};
    struct rest_outcome outcomes[6];
    replicate(fixture, operations, 6, outcomes);
    assert_done(&outcomes[0]);
    assert_int_equal(outcomes[0].n_inserted, 3);
    assert_true(cc_slice_equal_text(outcomes[0].body, "[c{\"!, \n !]"));
    assert_true(cc_slice_equal_text(outcomes[1].body, "[e!]"));
    assert_true(cc_slice_equal_text(outcomes[2].body, "[d!]"));
    assert_code(&outcomes[3], "23514");
    assert_code(&outcomes[4], "23505");
    assert_code(&outcomes[5], "22P02");
    assert_string_equal(site_query(&fixture->one, "SELECT string_agg(id::text, ' ' ORDER BY ctid) FROM items WHERE id < 4"), "3 1 2");
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(id || coalesce(name, '-'), ' ' ORDER BY id) FROM items"), "1- 2 3c{\" 4d 5e");
    assert_same(fixture, all_items);
}

static void a_failing_operation_does_not_harm_its_neighbours(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct cc_slice operations[60];
    struct rest_outcome outcomes[60];
    for (size_t i = 0; i < 60; i++) {
        char *id = cc_arena_printf(&fixture->arena, "%zu", i % 7 == 3 ? 0 : i);
        operations[i] = insert_item(fixture, id, "x", i % 10 == 9 ? "-1" : "1", NULL);
    }
    replicate(fixture, operations, 60, outcomes);
    size_t n = 0;
    for (size_t i = 0; i < 60; i++) {
        if (i % 10 == 9) {
            assert_code(&outcomes[i], "23514");
        } else if (i % 7 == 3) {
            assert_code(&outcomes[i], "23505");
        } else {
            assert_int_equal(outcomes[i].kind, REST_DONE);
            n++;
        }
    }
    char expected[20];
    (void)snprintf(expected, sizeof(expected), "%zu", n);
    assert_string_equal(site_query(&fixture->one, "SELECT count(*) FROM items"), expected);
    assert_same(fixture, all_items);
}

static void limits_on_affected_rows_roll_the_write_back(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct rest_outcome outcomes[5];
    struct cc_slice operations[] = {insert_item(fixture, "1", "a", "1", NULL), insert_item(fixture, "2", "b", "1", NULL),
                                    update_items(fixture, "true", "5", 1, false), update_items(fixture, "id = 9", "6", UINT64_MAX, true),
                                    update_items(fixture, "id = 2", "7", UINT64_MAX, true)};
    replicate(fixture, operations, 5, outcomes);
    assert_code(&outcomes[2], "PGRST124");
    assert_code(&outcomes[3], "PGRST116");
    assert_int_equal(outcomes[4].kind, REST_DONE);
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(n::text, ' ' ORDER BY id) FROM items"), "1 7");
    assert_same(fixture, all_items);
}

static void a_key_takes_effect_once(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct rest_outcome outcomes[3];
    struct cc_slice first[] = {insert_item(fixture, "1", "a", "1", "k1"), insert_item(fixture, "1", "a", "1", "k1"),
                               insert_item(fixture, "2", "b", "-5", "k2")};
    replicate(fixture, first, 3, outcomes);
    assert_int_equal(outcomes[0].kind, REST_DONE);
    assert_int_equal(outcomes[1].kind, REST_DONE);
    assert_code(&outcomes[2], "23514");
    struct cc_slice again[] = {insert_item(fixture, "1", "a", "1", "k1"), insert_item(fixture, "2", "b", "-5", "k2"),
                               insert_item(fixture, "7", "c", "1", NULL)};
    replicate(fixture, again, 3, outcomes);
    assert_int_equal(outcomes[0].kind, REST_DONE);
    assert_int_equal(outcomes[0].n_inserted, 1);
    assert_code(&outcomes[1], "23514");
    assert_int_equal(outcomes[2].kind, REST_DONE);
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM items"), "1 7");
    assert_same(fixture, "SELECT json_agg(json_build_array(key, fingerprint, outcome) ORDER BY key) FROM caucus.requests");
    // Another request under the same key.
    struct cc_slice other[] = {update_items(fixture, "id = 1", "2", UINT64_MAX, false)};
    struct operation operation;
    assert_int_equal(operation_read(other[0], &fixture->arena, &operation), CC_OK);
    operation.principal = cc_slice_text("someone");
    operation.key = cc_slice_text("k1");
    operation.fingerprint = cc_slice_text("something else");
    other[0] = operation_of(fixture, &operation);
    replicate(fixture, other, 1, outcomes);
    assert_code(&outcomes[0], "CC301");
    // The same key of somebody else has nothing to do with it.
    other[0] = insert_item(fixture, "9", "d", "1", "k1");
    assert_int_equal(operation_read(other[0], &fixture->arena, &operation), CC_OK);
    operation.principal = cc_slice_text("someone else");
    other[0] = operation_of(fixture, &operation);
    replicate(fixture, other, 1, outcomes);
    assert_int_equal(outcomes[0].n_inserted, 1);
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM items"), "1 7 9");
}

static void triggers_cascades_and_sequences_give_the_same_rows(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001",
               "CREATE TABLE parent (id serial PRIMARY KEY, name text UNIQUE, total integer NOT NULL DEFAULT 0);\n"
               "CREATE TABLE child (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent integer REFERENCES parent ON UPDATE CASCADE ON DELETE CASCADE,"
               " v double precision DEFAULT random());\n"
               "CREATE TABLE audit (n bigserial PRIMARY KEY, what text, at timestamptz DEFAULT clock_timestamp());\n"
               "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n"
               "  INSERT INTO audit (what) VALUES (TG_OP || ' ' || TG_TABLE_NAME);\n"
               "  IF TG_OP = 'INSERT' THEN UPDATE parent SET total = total + 1 WHERE id = NEW.parent; END IF;\n"
               "  RETURN NULL; END $$;\n"
               "CREATE TRIGGER a_first AFTER INSERT OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION note();\n");
    struct rest_outcome outcomes[8];
    struct cc_slice operations[] = {
        captured(fixture, "INSERT INTO parent (id, name) VALUES (1, 'a, \"b\" \\ c'), (2, NULL), (3, '')", NULL),
        captured(fixture, "INSERT INTO child (parent) VALUES (1), (1), (2), (3)", NULL),
        captured(fixture, "UPDATE parent SET id = id + 100 WHERE id = 1", NULL),
        captured(fixture, "INSERT INTO child (parent) VALUES (77)", NULL),
        captured(fixture, "DELETE FROM parent WHERE id = 101", NULL),
    };
    replicate(fixture, operations, 5, outcomes);
    for (size_t i = 0; i < 5; i++) {
        if (i == 3) {
            assert_code(&outcomes[i], "23503");
        } else {
            assert_done(&outcomes[i]);
        }
    }
    assert_same(fixture, "SELECT json_agg(p ORDER BY id)::text FROM parent p");
    assert_same(fixture, "SELECT json_agg(c ORDER BY id)::text FROM child c");
    assert_same(fixture, "SELECT json_agg(a ORDER BY n)::text FROM audit a");
    assert_same(fixture, "SELECT string_agg(sequencename || last_value, ' ' ORDER BY sequencename) FROM pg_sequences WHERE schemaname = 'public'");
    assert_string_equal(site_query(&fixture->one, "SELECT count(*) FROM audit"), "6");
    assert_string_equal(site_query(&fixture->one, "SELECT count(*) FROM caucus.capture"), "0");
}

static void deferred_triggers_act_before_the_effects_are_taken(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001",
               "CREATE TABLE t (id integer PRIMARY KEY, v integer);\nCREATE TABLE log (id serial PRIMARY KEY, t integer);\n"
               "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log (t) VALUES (NEW.id); IF NEW.v < 0 THEN RAISE EXCEPTION ''negative''; END IF; RETURN NULL; END';\n"
               "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();\n");
    struct rest_outcome outcomes[3];
    struct cc_slice operations[] = {captured(fixture, "INSERT INTO t VALUES (1, 1)", NULL), captured(fixture, "INSERT INTO t VALUES (2, -1)", NULL),
                                    captured(fixture, "INSERT INTO t VALUES (3, 1)", NULL)};
    replicate(fixture, operations, 3, outcomes);
    assert_int_equal(outcomes[0].kind, REST_DONE);
    assert_code(&outcomes[1], "P0001");
    assert_int_equal(outcomes[2].kind, REST_DONE);
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(t::text, ' ' ORDER BY id) FROM log"), "1 3");
    assert_same(fixture, "SELECT json_agg(l ORDER BY id)::text FROM log l");
}

static void the_first_write_after_a_migration_meets_its_deferred_triggers(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    struct operation migration = {.kind = OPERATION_MIGRATION,
                                  .migration_name = cc_slice_text("0001"),
                                  .migration_sql = cc_slice_text("CREATE TABLE t (id integer PRIMARY KEY, v integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")};
    struct cc_slice items[] = {operation_of(fixture, &migration), captured(fixture, "INSERT INTO t VALUES (1, 1), (2, 1)", NULL)};
    struct db_job create = {.kind = DB_EXECUTE, .n_items = 1, .items = &items[0]};
    (void)site_run(one, DB_STRONG, &create, DB_EXECUTED);
    struct db_job commit = {.kind = DB_COMMIT, .last = ++one->index};
    (void)site_run(one, DB_STRONG, &commit, DB_COMMITTED);
    struct db_job insert = {.kind = DB_EXECUTE, .n_items = 1, .items = &items[1]};
    struct rest_outcome outcome;
    assert_int_equal(rest_outcome_read(site_run(one, DB_STRONG, &insert, DB_EXECUTED)->outcomes[0], &outcome), CC_OK);
    assert_code(&outcome, "23505");
}

static void triggers_that_touch_other_rows_of_their_statement_keep_the_order(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001",
               "CREATE TABLE list (id integer PRIMARY KEY, next integer, seen integer NOT NULL DEFAULT 0);\n"
               "CREATE FUNCTION link() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n"
               "  IF TG_OP = 'INSERT' THEN UPDATE list SET seen = seen + 1, next = NEW.id WHERE id <> NEW.id;\n"
               "  ELSIF TG_OP = 'DELETE' THEN UPDATE list SET seen = seen + 100; END IF;\n"
               "  RETURN NULL; END $$;\n"
               "CREATE TRIGGER a_link AFTER INSERT OR DELETE ON list FOR EACH ROW EXECUTE FUNCTION link();\n"
               "CREATE FUNCTION renumber() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n"
               "  IF pg_trigger_depth() < 2 AND NEW.id < 100 THEN UPDATE list SET id = id + 100 WHERE id = NEW.id; END IF; RETURN NULL; END $$;\n"
               "CREATE TRIGGER renumber AFTER UPDATE OF id ON list FOR EACH ROW EXECUTE FUNCTION renumber();\n");
    struct rest_outcome outcomes[5];
    struct cc_slice operations[] = {captured(fixture, "INSERT INTO list (id) VALUES (1), (2), (3), (4)", NULL),
                                    captured(fixture, "UPDATE list SET id = id + 10", NULL),
                                    captured(fixture, "DELETE FROM list WHERE id IN (111, 112)", NULL),
                                    captured(fixture, "INSERT INTO list (id) VALUES (1), (2)", NULL), captured(fixture, "DELETE FROM list", NULL)};
    replicate(fixture, operations, 4, outcomes);
    for (size_t i = 0; i < 4; i++) {
        assert_done(&outcomes[i]);
    }
    assert_string_equal(site_query(&fixture->one, "SELECT count(*) FROM list"), "4");
    assert_same(fixture, "SELECT json_agg(l ORDER BY id)::text FROM list l");
    replicate(fixture, operations + 4, 1, outcomes);
    assert_done(&outcomes[0]);
    assert_string_equal(site_query(&fixture->two, "SELECT count(*) FROM list"), "0");
}

static void unique_values_can_move_between_rows(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", "CREATE TABLE u (id integer PRIMARY KEY, k integer UNIQUE);\nINSERT INTO u VALUES (1, 2), (2, 1);\n");
    assert_same(fixture, "SELECT json_agg(u ORDER BY id)::text FROM u");
    static struct rest_shape_column columns[] = {{TEXT("id"), TEXT("integer"), REST_COLUMN_KEY}, {TEXT("k"), TEXT("integer"), REST_COLUMN_SET}};
    struct rest_statement statement = {.kind = REST_UPDATE,
                                       .sql = TEXT("WITH s AS (UPDATE u SET k = k + 1 RETURNING *) SELECT 'U', id, k, NULL::text FROM s"),
                                       .rows_max = UINT64_MAX,
                                       .shape = {.table = TEXT("\"public\".\"u\""), .row_by_row = true, .n_columns = 2, .columns = columns}};
    struct cc_slice operation = operation_of_statement(fixture, &statement, NULL);
    struct rest_outcome outcome;
    replicate(fixture, &operation, 1, &outcome);
    assert_int_equal(outcome.kind, REST_DONE);
    assert_same(fixture, "SELECT json_agg(u ORDER BY id)::text FROM u");
}

static uint64_t seed_of_run(void)
{
    const char *text = getenv("CAUCUS_TEST_SEED");
    return text == NULL ? 1 : strtoull(text, NULL, 10);
}

// Random writes: unique values that wander, cascades, triggers, failures, keys that change.
static void random_batches_give_the_same_rows(void **state)
{
    struct fixture *fixture = *state;
    struct cc_prng prng;
    cc_prng_seed(&prng, seed_of_run());
    migrate_ok(fixture, "0001",
               "CREATE TABLE item (id integer PRIMARY KEY, rank integer UNIQUE DEFERRABLE INITIALLY IMMEDIATE, v integer CHECK (v < 90), code text UNIQUE);\n"
               "CREATE TABLE part (item integer REFERENCES item ON UPDATE CASCADE ON DELETE CASCADE, n integer, PRIMARY KEY (item, n));\n"
               "CREATE TABLE tally (item integer PRIMARY KEY, n integer NOT NULL, at timestamptz NOT NULL);\n"
               "CREATE FUNCTION count_parts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n"
               "  INSERT INTO tally VALUES (coalesce(NEW.item, OLD.item), 1, clock_timestamp()) ON CONFLICT (item) DO UPDATE SET n = tally.n + 1, at = clock_timestamp();\n"
               "  DELETE FROM tally WHERE n > 5; RETURN NULL; END $$;\n"
               "CREATE TRIGGER count_parts AFTER INSERT OR UPDATE OR DELETE ON part FOR EACH ROW EXECUTE FUNCTION count_parts();\n");
    for (int batch = 0; batch < 40; batch++) {
        struct cc_slice operations[24];
        struct rest_outcome outcomes[24];
        uint32_t n = 1 + (uint32_t)cc_prng_below(&prng, 24);
        for (uint32_t i = 0; i < n; i++) {
            unsigned a = (unsigned)cc_prng_below(&prng, 12), b = (unsigned)cc_prng_below(&prng, 12), c = (unsigned)cc_prng_below(&prng, 100);
            static const char *const forms[] = {
                "INSERT INTO item (id, rank, v, code) VALUES (%u, %u, %u, 'c' || random())",
                "UPDATE item SET rank = rank + 1 WHERE rank >= %u AND id <> %u AND v <> %u",
                "UPDATE item SET id = id + 1 WHERE id > %u AND id < %u + %u",
                "UPDATE item SET v = %u + %u + %u",
                "DELETE FROM item WHERE id = %u OR id = %u OR v = %u",
                "INSERT INTO part SELECT id, %u %% 3 FROM item WHERE id %% 3 = %u %% 3 OR id = %u ON CONFLICT DO NOTHING",
                "UPDATE part SET n = n + %u WHERE item = %u AND n < %u",
                "DELETE FROM part WHERE item = %u AND n <> %u AND n <> %u",
                "INSERT INTO item (id, rank, v, code) SELECT g, g + %u, %u, 'm' || g || random() FROM generate_series(20, 20 + %u %% 5) g",
                "DELETE FROM item WHERE id >= 20 AND %u + %u + %u > 0",
            };
            size_t form = (size_t)cc_prng_below(&prng, sizeof(forms) / sizeof(forms[0]));
            char sql[400];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            (void)snprintf(sql, sizeof(sql), forms[form], a, b, c);
#pragma GCC diagnostic pop
            operations[i] = captured(fixture, sql, NULL);
        }
        replicate(fixture, operations, n, outcomes);
        assert_same(fixture, "SELECT coalesce(json_agg(i ORDER BY id)::text, '') FROM item i");
        assert_same(fixture, "SELECT coalesce(json_agg(p ORDER BY item, n)::text, '') FROM part p");
        assert_same(fixture, "SELECT coalesce(json_agg(t ORDER BY item)::text, '') FROM tally t");
    }
    assert_int_not_equal(atoi(site_query(&fixture->one, "SELECT count(*) FROM item")), 0);
}

static void every_type_survives_as_text(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001",
               "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"');\nCREATE TYPE pair AS (a integer, b text);\nCREATE DOMAIN positive AS integer CHECK (VALUE > 0);\n"
               "CREATE TABLE zoo (id integer PRIMARY KEY, a smallint, b numeric(10,2), c numeric, d real, e double precision, f boolean, g char(5), h varchar(5),"
               " i text[], j integer[][], k json, l jsonb, m bytea, n date, o time, p timetz, q timestamp, r timestamptz, s interval, t uuid, u inet, v macaddr,"
               " w bit(5), x varbit, y point, z int4range, aa tstzrange, bb mood, cc pair, dd positive, ee tsvector, ff money, gg \"char\", hh xml, ii name, jj pair[], kk int4multirange);\n"
               "INSERT INTO zoo VALUES (1, -1, 1.10, 'NaN', '-0', 'infinity', true, 'ab', 'abc', '{\"a,b\",NULL,\"q\\\"\\\\\",\"\"}', '{{1,2},{3,4}}',"
               " '{\"a\": 1,  \"a\":2}', '{\"x\": [1, null]}', '\\x00ff5c', '2024-02-29', '12:34:56.789', '12:34:56+02', '1999-01-08 04:05:06.000001',"
               " '2024-03-31 02:30:00 Europe/Berlin', '1 year -2 mons 3 days 04:05:06.7', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1/8', '08:00:2b:01:02:03',"
               " B'10101', B'101', '(1.5,-2)', '[1,5)', '[2024-01-01 00:00:00+00,)', 'it''s \"ok\"', '(7,\"a \"\"b\"\", c\\\\\")', 5, 'a:1 b:2', '12.34', 'x', '<a>1</a>',"
               " 'some_name', ARRAY[ROW(1,'x')::pair, ROW(NULL,'')::pair], '{[1,2),[5,9)}');\n"
               "INSERT INTO zoo (id, l) VALUES (2, 'null');\n");
    struct rest_outcome outcomes[2];
    struct cc_slice operations[] = {captured(fixture, "INSERT INTO zoo SELECT 3, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, aa, bb, cc, dd, ee, ff, gg, hh, ii, jj, kk FROM zoo WHERE id = 1", NULL),
                                    captured(fixture, "UPDATE zoo SET h = 'z' WHERE id = 1", NULL)};
    replicate(fixture, operations, 2, outcomes);
    assert_int_equal(outcomes[0].kind, REST_DONE);
    assert_int_equal(outcomes[1].kind, REST_DONE);
    assert_same(fixture, "SELECT string_agg(zoo::text, E'\\n' ORDER BY id) FROM zoo");
    assert_string_equal(site_query(&fixture->two, "SELECT count(*) FROM zoo"), "3");
}

static void a_change_of_schema_is_seen_by_prepared_statements_and_captures(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct rest_outcome outcomes[2];
    struct cc_slice before[] = {insert_item(fixture, "1", "a", "1", NULL), captured(fixture, "UPDATE items SET n = 5 WHERE id = 1", NULL)};
    replicate(fixture, before, 2, outcomes);
    migrate_ok(fixture, "0002", "ALTER TABLE items ADD COLUMN more text DEFAULT 'x'; ALTER TABLE items DROP COLUMN name; ALTER TABLE items ADD COLUMN name varchar(20)");
    assert_int_equal(fixture->two.schema_version, 2);
    struct cc_slice after[] = {insert_item(fixture, "2", "b", "1", NULL), captured(fixture, "UPDATE items SET more = 'y', n = 6 WHERE id = 1", NULL)};
    replicate(fixture, after, 2, outcomes);
    assert_int_equal(outcomes[0].kind, REST_DONE);
    assert_int_equal(outcomes[1].kind, REST_DONE);
    assert_same(fixture, all_items);
}

static void rows_that_are_missing_stop_the_follower(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct rest_outcome outcome;
    struct cc_slice insert = insert_item(fixture, "1", "a", "1", NULL);
    replicate(fixture, &insert, 1, &outcome);
    assert_string_equal(site_query(&fixture->two, "DELETE FROM items"), "42501"); // the guard
    assert_string_equal(site_query(&fixture->two, "SET caucus.writer = on; DELETE FROM items"), "");
    struct cc_slice update = update_items(fixture, "id = 1", "2", UINT64_MAX, false);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &update};
    struct db_event event = *site_run(&fixture->one, DB_STRONG, &execute, DB_EXECUTED);
    struct entry entry = {.base_index = 2, .effects = event.effects};
    struct cc_buffer bytes = {0};
    entry_put(&bytes, &entry);
    struct cc_slice payload = cc_buffer_slice(&bytes);
    uint64_t index = 3;
    struct db_job apply = {.kind = DB_APPLY, .first = 3, .last = 3, .n_items = 1, .items = &payload, .indexes = &index};
    site_submit(&fixture->two, DB_STRONG, &apply);
    site_wait_event(&fixture->two, DB_DIVERGED, 1);
    assert_non_null(strstr((const char *)cc_arena_text_n(&fixture->arena, fixture->two.last.text.data, fixture->two.last.text.n), "public\".\"items"));
    site_wait_event(&fixture->two, DB_DOWN, 1);
    assert_string_equal(site_query(&fixture->two, "SELECT applied FROM caucus.applied"), "2");
    cc_buffer_finish(&bytes);
}

static void what_is_cancelled_while_it_is_applied_is_applied_again(void **state)
{
    struct fixture *fixture = *state;
    struct site *two = &fixture->two;
    migrate_ok(fixture, "0001", items_sql);
    struct cc_slice insert = insert_item(fixture, "1", "a", "1", NULL);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &insert};
    struct db_event event = *site_run(&fixture->one, DB_STRONG, &execute, DB_EXECUTED);
    struct entry entry = {.base_index = 1, .effects = event.effects};
    struct cc_buffer bytes = {0};
    entry_put(&bytes, &entry);
    struct cc_slice payload = cc_buffer_slice(&bytes);
    uint64_t index = 2;
    struct db_job apply = {.kind = DB_APPLY, .first = 2, .last = 2, .n_items = 1, .items = &payload, .indexes = &index};
    (void)site_query(two, "BEGIN; LOCK TABLE items");
    uint32_t n_down = two->n_events[DB_DOWN];
    site_submit(two, DB_STRONG, &apply);
    static const char cancel[] = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE application_name = 'caucus strong' AND "
                                 "datname = 'two' AND wait_event_type = 'Lock'";
    while (strcmp(site_query(two, cancel), "1") != 0) {
    }
    (void)site_query(two, "ROLLBACK");
    site_wait_event(two, DB_DOWN, n_down + 1);
    assert_int_equal(two->n_events[DB_DIVERGED], 0);
    site_wait_up(two);
    (void)site_run(two, DB_STRONG, &apply, DB_APPLIED);
    assert_string_equal(site_query(two, "SELECT count(*) FROM items"), "1");
    cc_buffer_finish(&bytes);
}

static void entries_out_of_order_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct db_job apply = {.kind = DB_APPLY, .first = 7, .last = 9};
    site_submit(&fixture->two, DB_STRONG, &apply);
    site_wait_event(&fixture->two, DB_DIVERGED, 1);
    assert_string_equal(site_query(&fixture->two, "SELECT applied FROM caucus.applied"), "0");
}

static void a_rollback_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct cc_slice operation = insert_item(fixture, "1", "a", "1", "k");
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &operation};
    (void)site_run(&fixture->one, DB_STRONG, &execute, DB_EXECUTED);
    struct cc_slice second = insert_item(fixture, "2", "a", "1", NULL);
    struct db_job execute_again = {.kind = DB_EXECUTE, .n_items = 1, .items = &second};
    (void)site_run(&fixture->one, DB_STRONG, &execute_again, DB_EXECUTED);
    struct db_job rollback = {.kind = DB_ROLLBACK};
    site_submit(&fixture->one, DB_STRONG, &rollback);
    struct rest_outcome outcome;
    struct cc_slice third = insert_item(fixture, "1", "c", "1", "k");
    replicate(fixture, &third, 1, &outcome);
    assert_int_equal(outcome.kind, REST_DONE);
    assert_same(fixture, all_items);
    assert_string_equal(site_query(&fixture->one, "SELECT string_agg(name, ' ') FROM items"), "c");
}

static void many_batches_share_one_transaction(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    for (int i = 0; i < 5; i++) {
        struct cc_slice operations[2] = {insert_item(fixture, cc_arena_printf(&fixture->arena, "%d", i), "a", "1", NULL),
                                         insert_item(fixture, "0", "b", "1", NULL)};
        struct db_job execute = {.kind = DB_EXECUTE, .n_items = 2, .items = operations};
        const struct db_event *event = site_run(&fixture->one, DB_STRONG, &execute, DB_EXECUTED);
        struct rest_outcome outcome;
        assert_int_equal(rest_outcome_read(event->outcomes[1], &outcome), CC_OK);
        assert_code(&outcome, "23505");
    }
    struct db_job commit = {.kind = DB_COMMIT, .last = 6};
    (void)site_run(&fixture->one, DB_STRONG, &commit, DB_COMMITTED);
    assert_string_equal(site_query(&fixture->one, "SELECT count(*) FROM items"), "5");
    assert_string_equal(site_query(&fixture->one, "SELECT applied FROM caucus.applied"), "6");
}

static void batches_that_wait_for_each_other_have_their_own_outcomes(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct cc_slice first[] = {insert_items_given(fixture, 3, (const char *const[]){"1", "a", "1", "2", "b", "2", "3", "c", "3"}, true),
                               insert_item(fixture, "9", "once", "1", "k")};
    struct cc_slice second[] = {insert_items_given(fixture, 2, (const char *const[]){"4", "d", "4", "2", "again", "2"}, true),
                                insert_items(fixture, 2, (const char *const[]){"5", "e", "5", "6", "f", "6"}), insert_item(fixture, "9", "once", "1", "k")};
    struct cc_slice third[] = {insert_items_given(fixture, 2, (const char *const[]){"7", "g", "7", "8", "h", "8"}, true),
                               insert_item(fixture, "9", "once", "1", "k"), update_items(fixture, "id = 5", "50", UINT64_MAX, false)};
    struct rest_outcome outcomes[3][3];
    const struct batch batches[] = {{first, 2, outcomes[0]}, {second, 3, outcomes[1]}, {third, 3, outcomes[2]}};
    replicate_batches(fixture, batches, 3);
    assert_true(cc_slice_equal_text(outcomes[0][0].body, "[a!, \n b!, \n c!]"));
    assert_done(&outcomes[0][1]);
    assert_code(&outcomes[1][0], "23505");
    assert_true(cc_slice_equal_text(outcomes[1][1].body, "[e!, \n f!]"));
    assert_done(&outcomes[2][0]);
    assert_true(cc_slice_equal(outcomes[1][2].body, outcomes[0][1].body)); // what the first batch stored under the key
    assert_true(cc_slice_equal(outcomes[2][1].body, outcomes[0][1].body));
    assert_int_equal(outcomes[2][2].n_rows, 1);
    assert_same(fixture, all_items);
    assert_string_equal(site_query(&fixture->two, "SELECT string_agg(id || name || n, ' ' ORDER BY id) FROM items"), "1a1 2b2 3c3 5e50 6f6 7g7 8h8 9once1");
}

static void batches_that_wait_for_each_other_are_lost_together(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", items_sql);
    struct rest_statement sleep = {.kind = REST_CALL, .sql = TEXT("SELECT NULL::text, pg_sleep(60)::text"), .rows_max = UINT64_MAX};
    struct cc_slice operation = operation_of_statement(fixture, &sleep, NULL);
    struct cc_slice rows = insert_items_given(fixture, 2, (const char *const[]){"1", "a", "1", "2", "b", "2"}, true);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &operation}, ahead = {.kind = DB_EXECUTE, .n_items = 1, .items = &rows};
    uint32_t n_down = one->n_events[DB_DOWN], n_executed = one->n_events[DB_EXECUTED];
    site_submit(one, DB_STRONG, &execute);
    site_submit(one, DB_STRONG, &ahead);
    while (strcmp(site_query(one, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "1") != 0) {
    }
    (void)site_query(one, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'caucus strong' AND datname = 'one'");
    site_wait_event(one, DB_DOWN, n_down + 1);
    site_wait_up(one);
    assert_int_equal(one->n_events[DB_EXECUTED], n_executed);
    assert_string_equal(site_query(one, "SELECT count(*) FROM items"), "0");
}

// -- Failures of the server ----------------------------------------------------------------------------------------------

static void a_killed_backend_loses_the_open_transaction_and_comes_back(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", items_sql);
    struct cc_slice operation = insert_item(fixture, "1", "a", "1", NULL);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &operation};
    (void)site_run(one, DB_STRONG, &execute, DB_EXECUTED);
    uint32_t n_down = one->n_events[DB_DOWN];
    (void)site_query(one, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'caucus strong' AND datname = 'one'");
    struct db_job commit = {.kind = DB_COMMIT, .last = 2};
    site_submit(one, DB_STRONG, &commit);
    site_wait_event(one, DB_DOWN, n_down + 1);
    site_wait_up(one);
    assert_int_equal(one->applied, 1);
    assert_string_equal(site_query(one, "SELECT count(*) FROM items"), "0");
    struct rest_outcome outcome;
    struct cc_slice again = insert_item(fixture, "1", "a", "1", NULL);
    replicate(fixture, &again, 1, &outcome);
    assert_int_equal(outcome.kind, REST_DONE);
}

static void a_statement_under_way_at_a_crash_is_not_answered(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    struct rest_statement statement = {.kind = REST_CALL, .sql = TEXT("SELECT NULL::text, pg_sleep(60)::text"), .rows_max = UINT64_MAX};
    struct cc_slice operation = operation_of_statement(fixture, &statement, NULL);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &operation};
    uint32_t n_down = one->n_events[DB_DOWN];
    site_submit(one, DB_STRONG, &execute);
    while (strcmp(site_query(one, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "1") != 0) {
    }
    (void)site_query(one, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'caucus strong' AND datname = 'one'");
    site_wait_event(one, DB_DOWN, n_down + 1);
    assert_int_equal(one->n_events[DB_EXECUTED], 0);
    site_wait_up(one);
}

static void a_write_that_takes_too_long_is_cancelled(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", items_sql);
    struct rest_statement statement = {.kind = REST_CALL, .sql = TEXT("SELECT NULL::text, pg_sleep(60)::text"), .rows_max = UINT64_MAX};
    struct operation operation = {.kind = OPERATION_STATEMENTS, .n_statements = 1, .statements = &statement, .timeout_ms = 600};
    struct operation quick;
    struct cc_slice operations[] = {insert_item(fixture, "1", "a", "1", NULL), operation_of(fixture, &operation), insert_item(fixture, "2", "b", "1", NULL)};
    for (size_t i = 0; i < 3; i += 2) {
        assert_int_equal(operation_read(operations[i], &fixture->arena, &quick), CC_OK);
        quick.timeout_ms = 600;
        operations[i] = operation_of(fixture, &quick);
    }
    struct rest_outcome outcomes[3];
    replicate(fixture, operations, 3, outcomes);
    assert_done(&outcomes[0]);
    assert_code(&outcomes[1], "57014");
    assert_done(&outcomes[2]);
    assert_same(fixture, all_items);
}

static void a_cancellation_that_comes_too_late_meets_nothing_else(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", items_sql);
    struct rest_statement statement = {.kind = REST_CALL, .sql = TEXT("SELECT NULL::text, pg_sleep(1.5)::text"), .rows_max = UINT64_MAX};
    struct operation operation = {.kind = OPERATION_STATEMENTS, .n_statements = 1, .statements = &statement, .timeout_ms = 600};
    struct cc_slice slow = operation_of(fixture, &operation);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &slow};
    // Whoever cancels asks the postmaster, which stands still until the write has ended by itself.
    pid_t postmaster = (pid_t)atoi(site_query(one, "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)"));
    assert_true(postmaster > 1);
    uint32_t n_down = one->n_events[DB_DOWN], n_executed = one->n_events[DB_EXECUTED];
    assert_int_equal(kill(postmaster, SIGSTOP), 0);
    site_submit(one, DB_STRONG, &execute);
    site_wait_event(one, DB_DOWN, n_down + 1);
    assert_int_equal(kill(postmaster, SIGCONT), 0);
    assert_int_equal(one->n_events[DB_EXECUTED], n_executed); // it is executed again on another connection, which nobody cancels
    site_wait_up(one);
    struct cc_slice insert = insert_item(fixture, "1", "a", "1", NULL);
    struct rest_outcome outcome;
    replicate(fixture, &insert, 1, &outcome);
    assert_done(&outcome);
}

static void a_commit_that_hangs_drops_the_connection(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", items_sql);
    struct cc_slice operation = insert_item(fixture, "1", "a", "1", NULL);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &operation};
    (void)site_run(one, DB_STRONG, &execute, DB_EXECUTED);
    (void)site_query(one, "BEGIN; LOCK TABLE caucus.applied IN SHARE MODE");
    uint32_t n_down = one->n_events[DB_DOWN];
    struct db_job commit = {.kind = DB_COMMIT, .last = 2};
    site_submit(one, DB_STRONG, &commit);
    site_wait_event(one, DB_DOWN, n_down + 1);
    assert_int_equal(one->n_events[DB_COMMITTED], 1);
    (void)site_query(one, "ROLLBACK");
    site_wait_up(one);
    // The backend that was left behind may have committed once the lock was gone; the new connection waited for its end.
    assert_int_equal(one->applied, strtoull(site_query(one, "SELECT applied FROM caucus.applied"), NULL, 10));
    assert_string_equal(site_query(one, "SELECT count(*) FROM items"), one->applied == 2 ? "1" : "0");
}

static void a_database_of_another_replica_is_refused(void **state)
{
    struct fixture *fixture = *state;
    site_close(&fixture->one);
    assert_string_equal(site_query(&fixture->one, "UPDATE caucus.meta SET replica = 9"), "");
    (void)site_query(&fixture->one, "UPDATE caucus.meta SET replica = 1");
    site_open(&fixture->one);
    assert_string_equal(site_query(&fixture->one, "SELECT replica FROM caucus.meta"), "1");
}

// -- Migrations ------------------------------------------------------------------------------------------------------------

static void a_migration_is_all_or_nothing_and_once(void **state)
{
    struct fixture *fixture = *state;
    const struct rest_outcome *outcome = migrate(fixture, "0001", "CREATE TABLE a (id integer PRIMARY KEY);\n\nINSERT INTO a VALUES (1);\nINSERT INTO a VALUES ('x');\n");
    assert_int_equal(outcome->kind, REST_FAILED);
    assert_code(outcome, "22P02");
    assert_non_null(strstr(cc_arena_text_n(&fixture->arena, outcome->message.data, outcome->message.n), "statement 3 (line 4)"));
    assert_string_equal(site_query(&fixture->one, "SELECT to_regclass('a') IS NULL"), "t");
    assert_int_equal(fixture->one.schema_version, 0);
    static const char good[] = "CREATE TABLE a (id integer PRIMARY KEY, at timestamptz DEFAULT clock_timestamp());\nINSERT INTO a VALUES (1), (2);\nUPDATE a SET id = id + 10;";
    migrate_ok(fixture, "0001", good);
    assert_int_equal(fixture->two.schema_version, 1);
    assert_same(fixture, "SELECT json_agg(a ORDER BY id)::text FROM a");
    assert_same(fixture, "SELECT json_agg(json_build_array(position, name, sql, index)) FROM caucus.migrations");
    outcome = migrate(fixture, "0001", good);
    assert_int_equal(outcome->kind, REST_DONE);
    assert_int_equal(outcome->n_rows, 0);
    assert_true(cc_slice_equal_text(outcome->body, "2"));
    outcome = migrate(fixture, "0001", "CREATE TABLE b ()");
    assert_code(outcome, "CC306");
    assert_int_equal(fixture->two.schema_version, 1);
}

static void what_a_weak_table_cannot_have_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *sql, *says;
    } cases[] = {
        {"CREATE TABLE w (id uuid); COMMENT ON TABLE w IS '@caucus weak'", "has no primary key"},
        {"CREATE TABLE w (id uuid PRIMARY KEY, m text UNIQUE); COMMENT ON TABLE w IS '@caucus weak'", "unique or exclusion index"},
        {"CREATE TABLE w (id uuid PRIMARY KEY, m uuid REFERENCES w); COMMENT ON TABLE w IS '@caucus weak'", "foreign key"},
        {"CREATE TABLE w (id uuid PRIMARY KEY); COMMENT ON TABLE w IS '@caucus weak'; CREATE TABLE s (w uuid REFERENCES w)", "is referenced"},
        {"CREATE TABLE w (id uuid PRIMARY KEY, a int, b int, CHECK (a < b)); COMMENT ON TABLE w IS '@caucus weak'", "several columns"},
        {"CREATE TABLE w (id serial PRIMARY KEY); COMMENT ON TABLE w IS '@caucus weak'", "from a sequence"},
        {"CREATE TABLE w (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY); COMMENT ON TABLE w IS '@caucus weak'", "from a sequence"},
        {"CREATE TABLE w (id numeric PRIMARY KEY); COMMENT ON TABLE w IS '@caucus weak'", "written differently"},
        {"CREATE TABLE s (id int PRIMARY KEY); INSERT INTO s VALUES (1); COMMENT ON TABLE s IS '@caucus weak'", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct rest_outcome *outcome = migrate(fixture, "m", cases[i].sql);
        if (cases[i].says == NULL) {
            assert_int_equal(outcome->kind, REST_DONE);
            continue;
        }
        assert_int_equal(outcome->kind, REST_FAILED);
        assert_code(outcome, "CC307");
        const char *message = cc_arena_text_n(&fixture->arena, outcome->message.data, outcome->message.n);
        assert_non_null(strstr(message, cases[i].says));
    }
    assert_code(migrate(fixture, "n", "COMMENT ON TABLE s IS NULL"), "CC307");
    assert_code(migrate(fixture, "n", "ALTER TABLE s RENAME COLUMN id TO key"), "0A000");
}

// -- Weak ------------------------------------------------------------------------------------------------------------------

static const char presence_sql[] = "CREATE TABLE presence (id text PRIMARY KEY, status text, place text NOT NULL DEFAULT 'home', who text NOT NULL);"
                                   "COMMENT ON TABLE presence IS E'@caucus weak\\nWho is online.';";

static struct rest_shape_column presence_columns[] = {
    {TEXT("id"), TEXT("text"), REST_COLUMN_KEY}, {TEXT("status"), TEXT("text"), 0}, {TEXT("place"), TEXT("text"), 0}, {TEXT("who"), TEXT("text"), 0}};
static struct rest_shape_column presence_set_status[] = {{TEXT("id"), TEXT("text"), REST_COLUMN_KEY},
                                                         {TEXT("status"), TEXT("text"), REST_COLUMN_SET},
                                                         {TEXT("place"), TEXT("text"), 0},
                                                         {TEXT("who"), TEXT("text"), 0}};
static struct rest_shape_column presence_set_place[] = {{TEXT("id"), TEXT("text"), REST_COLUMN_KEY},
                                                        {TEXT("status"), TEXT("text"), 0},
                                                        {TEXT("place"), TEXT("text"), REST_COLUMN_SET},
                                                        {TEXT("who"), TEXT("text"), 0}};

static struct cc_slice weak_insert(struct fixture *fixture, const char *id, const char *status)
{
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 2, sizeof(*parameters));
    parameters[0] = cc_slice_text(id);
    parameters[1] = cc_slice_text(status);
    struct rest_statement statement = {
        .kind = REST_INSERT,
        .weak = true,
        .sql = TEXT("WITH s AS (INSERT INTO presence (id, status, who, _caucus) VALUES ($1, $2, 'w' || $1, jsonb_build_object('', $3::text)) RETURNING *) "
                    "SELECT 'I', id, status, place, who, NULL::text FROM s"),
        .n_parameters = 2,
        .parameters = parameters,
        .rows_max = UINT64_MAX,
        .shape = {.table = TEXT("\"public\".\"presence\""), .n_columns = 4, .columns = presence_columns}};
    return operation_of_statement(fixture, &statement, NULL);
}

static struct cc_slice weak_update(struct fixture *fixture, const char *id, bool status, const char *value)
{
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 2, sizeof(*parameters));
    parameters[0] = cc_slice_text(id);
    parameters[1] = cc_slice_text(value);
    const char *column = status ? "status" : "place";
    const char *sql = cc_arena_printf(&fixture->arena,
                                      "WITH o AS (SELECT * FROM presence WHERE id = $1 FOR UPDATE), s AS (UPDATE presence t SET %s = $2, _caucus = "
                                      "coalesce(t._caucus, '{}') || jsonb_build_object('%s', $3::text) FROM o WHERE t.id = o.id RETURNING t.*, o AS o) "
                                      "SELECT 'U', id, status, place, who, (o).id, (o).status, (o).place, (o).who, NULL::text FROM s",
                                      column, column);
    struct rest_statement statement = {.kind = REST_UPDATE,
                                       .weak = true,
                                       .sql = cc_slice_text(sql),
                                       .n_parameters = 2,
                                       .parameters = parameters,
                                       .rows_max = UINT64_MAX,
                                       .shape = {.table = TEXT("\"public\".\"presence\""),
                                                 .with_old = true,
                                                 .n_columns = 4,
                                                 .columns = status ? presence_set_status : presence_set_place}};
    return operation_of_statement(fixture, &statement, NULL);
}

static struct cc_slice weak_delete(struct fixture *fixture, const char *id)
{
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 1, sizeof(*parameters));
    parameters[0] = cc_slice_text(id);
    struct rest_statement statement = {.kind = REST_DELETE,
                                       .weak = true,
                                       .sql = TEXT("WITH s AS (DELETE FROM presence WHERE id = $1 AND $2::text IS NOT NULL RETURNING *) SELECT 'D', id, NULL, NULL, NULL, "
                                                   "id, status, place, who, NULL::text FROM s"),
                                       .n_parameters = 1,
                                       .parameters = parameters,
                                       .rows_max = UINT64_MAX,
                                       .shape = {.table = TEXT("\"public\".\"presence\""), .with_old = true, .n_columns = 4, .columns = presence_columns}};
    return operation_of_statement(fixture, &statement, NULL);
}

// Executes a weak write at a site under a stamp, in the open transaction; the change set, the number of which follows on those that are committed and n_before others.
static struct cc_slice weak_execute(struct site *site, struct cc_slice operation, uint64_t hlc, uint64_t n_before)
{
    struct fixture *fixture = site->fixture;
    uint32_t replica = site == &fixture->one ? 1 : 2;
    struct clock_stamp stamp = {hlc, replica, 1};
    struct db_job execute = {.kind = DB_WEAK_EXECUTE, .n_items = 1, .items = &operation, .stamps = &stamp};
    const struct db_event *event = site_run(site, DB_WEAK, &execute, DB_WEAK_EXECUTED);
    struct rest_outcome outcome;
    assert_int_equal(rest_outcome_read(event->outcomes[0], &outcome), CC_OK);
    if (outcome.kind != REST_DONE) {
        print_error("%.*s\n", (int)outcome.message.n, (const char *)outcome.message.data);
    }
    assert_int_equal(outcome.kind, REST_DONE);
    assert_true(event->changes[0].n > 0);
    uint8_t *bytes = (uint8_t *)cc_arena_slice(&fixture->arena, event->changes[0]).data;
    size_t n = event->changes[0].n;
    crdt_change_set_number(bytes, n, crdt_frontier_get(&site->frontier, (struct crdt_origin){replica, 1}) + n_before + 1);
    return (struct cc_slice){bytes, n};
}

static void weak_commit(struct site *site, struct cc_slice *changes, uint32_t n)
{
    struct db_job commit = {.kind = DB_WEAK_COMMIT, .n_items = n, .items = changes};
    (void)site_run(site, DB_WEAK, &commit, DB_WEAK_COMMITTED);
}

// The same, committed.
static struct cc_slice weak_write(struct site *site, struct cc_slice operation, uint64_t hlc)
{
    struct cc_slice change = weak_execute(site, operation, hlc, 0);
    weak_commit(site, &change, 1);
    return change;
}

// A weak update by key that may run together with others; what it answers tells whether it did.
static struct cc_slice weak_update_by_key(struct fixture *fixture, const char *id, const char *status)
{
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 2, sizeof(*parameters));
    parameters[0] = cc_slice_text(status);
    parameters[1] = cc_slice_text(id);
    struct rest_statement statement = {
        .kind = REST_UPDATE,
        .weak = true,
        .sql = TEXT("UPDATE presence AS t0 SET status = $1, _caucus = coalesce(t0._caucus, '{}') || jsonb_build_object('status', $3::text) FROM presence AS o "
                    "WHERE o.id = t0.id AND t0.id = $2 RETURNING 'U', t0.id, t0.status, t0.place, t0.who, o.id, o.status, o.place, o.who, 'alone'"),
        .n_parameters = 2,
        .parameters = parameters,
        .rows_max = UINT64_MAX,
        .shape = {.table = TEXT("\"public\".\"presence\""), .with_old = true, .n_columns = 4, .columns = presence_set_status},
        .many = TEXT("UPDATE presence AS t0 SET status = q.p1::text, _caucus = coalesce(t0._caucus, '{}') || jsonb_build_object('status', q.p3::text) "
                     "FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::text[])) WITH ORDINALITY AS q(p1, p2, p3, n), "
                     "LATERAL (SELECT k.ctid AS \"_caucus_at\", k.* FROM presence AS k WHERE k.id = q.p2::text OFFSET 0) AS o WHERE t0.ctid = o.\"_caucus_at\" "
                     "RETURNING 'U', t0.id, t0.status, t0.place, t0.who, o.id, o.status, o.place, o.who, 'together', q.n"),
        .many_key_at = 1};
    return operation_of_statement(fixture, &statement, NULL);
}

static void merge(struct site *site, struct cc_slice *changes, uint32_t n)
{
    struct db_job job = {.kind = DB_MERGE, .n_items = n, .items = changes};
    (void)site_run(site, DB_WEAK, &job, DB_MERGED);
}

static const char all_presence[] = "SELECT coalesce(json_agg(p ORDER BY id)::text, 'none') FROM presence p";
static const char shown_presence[] = "SELECT coalesce(string_agg(concat_ws('/', id, status, place, who), ' ' ORDER BY id), 'none') FROM presence";

static void replicas_that_were_apart_end_with_equal_rows(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice seen = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    merge(two, &seen, 1);
    assert_string_equal(site_query(two, shown_presence), "a/new/home/wa");
    struct cc_slice ones[3], twos[3];
    ones[0] = weak_write(one, weak_update(fixture, "a", true, "busy"), 200);
    twos[0] = weak_write(two, weak_update(fixture, "a", false, "work"), 150);
    twos[1] = weak_write(two, weak_update(fixture, "a", true, "idle"), 210);
    ones[1] = weak_write(one, weak_update(fixture, "a", false, "away"), 140);
    twos[2] = weak_write(two, weak_insert(fixture, "b", NULL), 220);
    merge(one, twos, 3);
    merge(two, ones, 2);
    assert_string_equal(site_query(one, shown_presence), "a/idle/work/wa b/home/wb");
    assert_same(fixture, all_presence);
    assert_int_equal(crdt_frontier_equal(&one->frontier, &two->frontier), true);
    merge(one, twos, 3); // once more: nothing changes
    assert_same(fixture, all_presence);
    assert_string_equal(site_query(one, "SELECT sum(sets) FROM caucus.history"), "6");
    assert_same(fixture, "SELECT json_agg(c ORDER BY replica, c)::text FROM caucus.history h, unnest(changes) c");
}

static void weak_updates_by_different_keys_are_one_statement_and_each_has_its_own_change(void **state)
{
    enum { N = 5 };
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice inserts[3], changes[N];
    static const char *const ids[3] = {"a", "b", "c"};
    for (uint32_t i = 0; i < 3; i++) {
        inserts[i] = weak_write(one, weak_insert(fixture, ids[i], "new"), 100 + i);
    }
    // The third finds no row; the fifth is of a row again.
    struct cc_slice operations[N] = {weak_update_by_key(fixture, "c", "busy"), weak_update_by_key(fixture, "a", NULL), weak_update_by_key(fixture, "z", "gone"),
                                     weak_update_by_key(fixture, "b", "idle"), weak_update_by_key(fixture, "c", "away")};
    static const char *const bodies[N] = {"together", "together", NULL, "together", "alone"};
    static const char *const old_values[N] = {"new", "new", NULL, "new", "busy"};
    struct clock_stamp stamps[N];
    for (uint32_t i = 0; i < N; i++) {
        stamps[i] = (struct clock_stamp){200 + i, 1, 1};
    }
    struct db_job execute = {.kind = DB_WEAK_EXECUTE, .n_items = N, .items = operations, .stamps = stamps};
    const struct db_event *event = site_run(one, DB_WEAK, &execute, DB_WEAK_EXECUTED);
    uint32_t n = 0;
    for (uint32_t i = 0; i < N; i++) {
        struct rest_outcome outcome;
        struct crdt_change_set set;
        assert_int_equal(rest_outcome_read(event->outcomes[i], &outcome), CC_OK);
        assert_int_equal(outcome.kind, REST_DONE);
        assert_int_equal(outcome.n_rows, bodies[i] != NULL);
        assert_true(bodies[i] == NULL ? event->changes[i].n == 0 : cc_slice_equal_text(outcome.body, bodies[i]));
        if (bodies[i] != NULL) {
            changes[n] = cc_arena_slice(&fixture->arena, event->changes[i]);
            crdt_change_set_number((uint8_t *)changes[n].data, changes[n].n, 4 + n);
            assert_int_equal(crdt_change_set_read(changes[n++], &fixture->arena, &set), CC_OK);
            assert_int_equal(set.stamp.hlc, stamps[i].hlc);
            assert_int_equal(set.rows[0].n_fields, 1);
            assert_true(cc_slice_equal_text(set.rows[0].fields[0].old_value, old_values[i]));
        }
    }
    struct db_job commit = {.kind = DB_WEAK_COMMIT, .n_items = n, .items = changes};
    (void)site_run(one, DB_WEAK, &commit, DB_WEAK_COMMITTED);
    merge(two, inserts, 3);
    merge(two, changes, n);
    assert_string_equal(site_query(two, shown_presence), "a/home/wa b/idle/home/wb c/away/home/wc");
    assert_same(fixture, "SELECT json_agg(p ORDER BY id)::text FROM presence p"); // with the stamps
    assert_same(fixture, "SELECT sum::text FROM caucus.digests");
}

static void a_delete_and_a_later_insert_meet_in_any_order(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice first = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    merge(two, &first, 1);
    struct cc_slice ones[2], twos[2];
    ones[0] = weak_write(one, weak_delete(fixture, "a"), 300);
    twos[0] = weak_write(two, weak_update(fixture, "a", true, "older than the delete"), 200);
    twos[1] = weak_write(two, weak_update(fixture, "a", false, "newer"), 400);
    merge(one, twos, 2);
    merge(two, ones, 1);
    assert_string_equal(site_query(one, all_presence), "none");
    assert_same(fixture, all_presence);
    assert_same(fixture, "SELECT json_agg(t)::text FROM caucus.tombstones t");
    ones[1] = weak_write(one, weak_insert(fixture, "a", "back"), 500);
    merge(two, &ones[1], 1);
    assert_string_equal(site_query(two, shown_presence), "a/back/home/wa");
    assert_same(fixture, all_presence);
}

// The digest that every transaction keeps up is that of the rows.
static void assert_digest_kept(struct site *site)
{
    assert_string_equal(site_query(site, "SELECT rows || ' ' || sum FROM caucus.digests"),
                        site_query(site, "SELECT rows || ' ' || sum FROM caucus.digest('presence'::regclass)"));
}

// What replica 2 has written is put aside, under its second origin from this number on, and its weak tables are empty.
static void begin_anew_from(struct fixture *fixture, uint64_t second, uint64_t n_expected)
{
    struct crdt_frontier own = {.n = 2, .at = {{{2, 1}, 1}, {{2, 2}, second}}};
    struct db_job job = {.kind = DB_BEGIN_ANEW, .own = &own};
    assert_int_equal(site_run(&fixture->two, DB_WEAK, &job, DB_BEGUN_ANEW)->n_aside, n_expected);
    assert_int_equal(fixture->two.frontier.n, 0);
}

static void begin_anew(struct fixture *fixture, uint64_t n_expected)
{
    begin_anew_from(fixture, 1, n_expected);
}

// In its new life: decides what remains, numbered from `first` on; copies that live as long as the fixture.
static uint32_t renew(struct fixture *fixture, uint64_t first, struct cc_slice *sets_out)
{
    enum { STAMPS = 8 };
    struct clock_stamp stamps[STAMPS];
    for (uint32_t i = 0; i < STAMPS; i++) {
        stamps[i] = (struct clock_stamp){1000 + first + i, 2, 2};
    }
    struct db_job job = {.kind = DB_RENEW, .stamps = stamps, .n_stamps = STAMPS};
    const struct db_event *event = site_run(&fixture->two, DB_WEAK, &job, DB_RENEWED);
    for (uint32_t i = 0; i < event->n_changes; i++) {
        sets_out[i] = cc_arena_slice(&fixture->arena, event->changes[i]);
        crdt_change_set_number((uint8_t *)(uintptr_t)sets_out[i].data, sets_out[i].n, first + i);
    }
    return event->n_changes;
}

static void assert_aside(struct fixture *fixture, const char *n)
{
    assert_string_equal(site_query(&fixture->two, "SELECT count(*) FROM caucus.aside"), n);
}

static void what_is_put_aside_is_written_again_upon_the_others_rows(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice ones[4], sets[8];
    ones[0] = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    ones[1] = weak_write(one, weak_insert(fixture, "z", "new"), 101);
    merge(two, ones, 2);
    (void)weak_write(two, weak_update(fixture, "a", true, "here"), 200);
    (void)weak_write(two, weak_update(fixture, "a", false, "here"), 201);
    (void)weak_write(two, weak_insert(fixture, "b", "here"), 202);
    (void)weak_write(two, weak_delete(fixture, "z"), 203);
    ones[2] = weak_write(one, weak_update(fixture, "a", true, "there"), 300);
    ones[3] = weak_write(one, weak_delete(fixture, "z"), 301);
    begin_anew(fixture, 4);
    assert_string_equal(site_query(two, shown_presence), "none");
    assert_digest_kept(two);
    merge(two, ones, 4);
    assert_same(fixture, all_presence);
    assert_int_equal(renew(fixture, 1, sets), 4);
    assert_int_equal(two->last.n_changed, 2);
    assert_int_equal(two->last.n_lost, 1);
    assert_same(fixture, all_presence); // it was decided, no more
    assert_aside(fixture, "4");
    merge(two, sets, 3);
    assert_aside(fixture, "1");
    merge(two, &sets[3], 1); // of which nothing is left to tell
    merge(one, sets, 4);
    assert_aside(fixture, "0");
    assert_string_equal(site_query(two, shown_presence), "a/there/here/wa b/here/home/wb");
    assert_same(fixture, all_presence);
    assert_digest_kept(two);
    assert_int_equal(renew(fixture, 5, sets), 0);
    begin_anew_from(fixture, 3, 2);
    assert_string_equal(site_query(two, "SELECT string_agg(incarnation || '/' || sequence, ' ' ORDER BY sequence) FROM caucus.aside"), "2/3 2/4");
}

static void what_cannot_be_written_again_has_lost_and_what_others_have_after_all_is_not_written_twice(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice twos[3], sets[8];
    twos[0] = weak_write(two, weak_insert(fixture, "a", "known"), 100);
    twos[1] = weak_write(two, weak_insert(fixture, "b", "poison"), 101);
    twos[2] = weak_write(two, weak_insert(fixture, "c", "fine"), 102);
    merge(one, twos, 1);
    begin_anew(fixture, 3);
    merge(two, twos, 1);
    (void)site_query(two, "ALTER TABLE presence ADD CHECK (status <> 'poison')"); // past Caucus, say
    assert_int_equal(renew(fixture, 1, sets), 1);
    assert_int_equal(two->last.n_changed, 0);
    assert_int_equal(two->last.n_lost, 1);
    merge(two, sets, 1);
    assert_int_equal(renew(fixture, 2, sets + 1), 1);
    assert_int_equal(two->last.n_changed, 1);
    merge(two, &sets[1], 1);
    merge(one, sets, 2);
    assert_aside(fixture, "0");
    assert_string_equal(site_query(two, shown_presence), "a/known/home/wa c/fine/home/wc");
    assert_same(fixture, all_presence);
}

static void what_follows_lost_changes_is_put_aside_once_and_the_rows_stay(void **state)
{
    struct fixture *fixture = *state;
    struct site *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice sets[8], aside[2];
    aside[0] = weak_write(two, weak_insert(fixture, "a", "here"), 100);
    aside[1] = weak_write(two, weak_update(fixture, "a", true, "again"), 101);
    for (uint32_t i = 0; i < 2; i++) { // as if they had been written behind a gap
        crdt_change_set_number((uint8_t *)(uintptr_t)aside[i].data, aside[i].n, 7 + i);
    }
    struct db_job job = {.kind = DB_PUT_ASIDE, .origin = {2, 1}, .sequence = 3, .n_lost = 4, .n_items = 2, .items = aside};
    for (int i = 0; i < 2; i++) { // the process ended before its log was put aside, say
        assert_int_equal(site_run(two, DB_WEAK, &job, DB_BEGUN_ANEW)->n_aside, 2);
        assert_aside(fixture, "2");
        assert_string_equal(site_query(two, "SELECT first || ' ' || sets FROM caucus.lost"), "3 4");
    }
    assert_string_equal(site_query(two, shown_presence), "a/again/home/wa");
    assert_int_equal(renew(fixture, 1, sets), 2);
    merge(two, sets, 2);
    assert_aside(fixture, "0");
    job.n_items = 0;
    assert_int_equal(site_run(two, DB_WEAK, &job, DB_BEGUN_ANEW)->n_aside, 0);
}

// Random writes at both, merged in batches of random length.
static void random_weak_writes_converge(void **state)
{
    struct fixture *fixture = *state;
    struct cc_prng prng;
    cc_prng_seed(&prng, seed_of_run());
    migrate_ok(fixture, "0001", presence_sql);
    struct site *sites[2] = {&fixture->one, &fixture->two};
    struct cc_slice changes[2][400];
    uint32_t n_changes[2] = {0}, n_merged[2] = {0}; // merged at the other one
    uint64_t hlc = 1000;
    for (int round = 0; round < 300; round++) {
        size_t at = (size_t)cc_prng_below(&prng, 2);
        hlc += cc_prng_below(&prng, 3) + 1;
        const char *id = cc_arena_printf(&fixture->arena, "k%u", (unsigned)cc_prng_below(&prng, 4));
        const char *value = cc_arena_printf(&fixture->arena, "v%d", round);
        const char *exists = site_query(sites[at], cc_arena_printf(&fixture->arena, "SELECT count(*) FROM presence WHERE id = '%s'", id));
        struct cc_slice operation;
        if (strcmp(exists, "0") == 0) {
            operation = weak_insert(fixture, id, value);
        } else if (cc_prng_below(&prng, 4) == 0) {
            operation = weak_delete(fixture, id);
        } else {
            operation = weak_update(fixture, id, cc_prng_below(&prng, 2) == 0, value);
        }
        changes[at][n_changes[at]++] = weak_write(sites[at], operation, hlc);
        size_t from = (size_t)cc_prng_below(&prng, 2);
        uint32_t waiting = n_changes[from] - n_merged[from];
        if (waiting > 0 && cc_prng_below(&prng, 4) == 0) {
            uint32_t n = 1 + (uint32_t)cc_prng_below(&prng, waiting);
            merge(sites[1 - from], &changes[from][n_merged[from]], n);
            n_merged[from] += n;
        }
        if (round % 50 == 0) {
            assert_digest_kept(sites[at]);
        }
    }
    for (size_t from = 0; from < 2; from++) {
        merge(sites[1 - from], &changes[from][n_merged[from]], n_changes[from] - n_merged[from]);
    }
    assert_digest_kept(&fixture->one);
    assert_digest_kept(&fixture->two);
    assert_same(fixture, "SELECT sum::text FROM caucus.digests");
    assert_true(crdt_frontier_equal(&fixture->one.frontier, &fixture->two.frontier));
    assert_same(fixture, "SELECT coalesce(json_agg(json_build_array(id, status, place, who) ORDER BY id)::text, 'none') FROM presence");
}

static void history_can_be_fetched_from_a_sequence_on(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice changes[3];
    for (int i = 0; i < 3; i++) {
        changes[i] = weak_write(&fixture->one, weak_insert(fixture, cc_arena_printf(&fixture->arena, "k%d", i), "x"), 100 + (uint64_t)i);
    }
    struct db_job fetch = {.kind = DB_FETCH, .origin = {1, 1}, .sequence = 2, .n_bytes_max = 1 << 20, .peer = 2};
    const struct db_event *event = site_run(&fixture->one, DB_WEAK, &fetch, DB_FETCHED);
    assert_int_equal(event->n_changes, 2);
    assert_true(cc_slice_equal(event->changes[0], changes[1]));
    assert_true(cc_slice_equal(event->changes[1], changes[2]));
    fetch.sequence = 4;
    assert_int_equal(site_run(&fixture->one, DB_WEAK, &fetch, DB_FETCHED)->n_changes, 0);
    fetch.sequence = 1;
    fetch.n_bytes_max = 1;
    assert_int_equal(site_run(&fixture->one, DB_WEAK, &fetch, DB_FETCHED)->n_changes, 1);
}

static void a_poisoned_change_holds_up_its_origin_only(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", "CREATE TABLE presence (id text PRIMARY KEY, status text CHECK (status <> 'poison'), place text NOT NULL DEFAULT 'home', who text NOT NULL);"
                                "COMMENT ON TABLE presence IS '@caucus weak'");
    struct cc_slice items[4];
    for (uint32_t i = 0; i < 4; i++) {
        struct crdt_field fields[3] = {{cc_slice_text("status"), cc_slice_text(i == 1 ? "poison" : "fine"), {0}, {0}},
                                       {cc_slice_text("place"), cc_slice_text("x"), {0}, {0}},
                                       {cc_slice_text("who"), cc_slice_text("y"), {0}, {0}}};
        struct cc_buffer key = {0}, bytes = {0};
        struct cc_slice id = cc_slice_text(cc_arena_printf(&fixture->arena, "k%u", i));
        crdt_key_put(&key, &id, 1);
        struct crdt_row_change row = {CRDT_INSERT, cc_slice_text("public.presence"), cc_buffer_slice(&key), fields, 3};
        uint32_t replica = i < 3 ? 7 : 8;
        struct crdt_change_set set = {.origin = {replica, 1}, .sequence = i < 3 ? i + 1 : 1, .stamp = {100 + i, replica, 1}, .rows = &row, .n_rows = 1};
        crdt_change_set_put(&bytes, &set);
        items[i] = cc_arena_slice(&fixture->arena, cc_buffer_slice(&bytes));
        cc_buffer_finish(&key);
        cc_buffer_finish(&bytes);
    }
    merge(&fixture->one, items, 4);
    assert_int_equal(crdt_frontier_get(&fixture->one.frontier, (struct crdt_origin){7, 1}), 1);
    assert_int_equal(crdt_frontier_get(&fixture->one.frontier, (struct crdt_origin){8, 1}), 1);
    assert_string_equal(site_query(&fixture->one, "SELECT string_agg(id, ' ' ORDER BY id) FROM presence"), "k0 k3");
}

static bool weak_write_has_ended(void *context)
{
    const struct site *site = context;
    return site->n_events[DB_WEAK_EXECUTED] == 2 || site->n_events[DB_DOWN] == 1;
}

static void a_weak_write_that_waited_for_a_migration_of_its_table_is_executed_anew(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", presence_sql);
    (void)weak_write(one, weak_insert(fixture, "a", "here"), 100);
    // It holds the table until the majority has it.
    struct operation migration = {.kind = OPERATION_MIGRATION, .migration_name = cc_slice_text("0002"),
                                  .migration_sql = cc_slice_text("ALTER TABLE presence ADD COLUMN more text DEFAULT 'x';")};
    struct cc_slice operation = operation_of(fixture, &migration);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &operation};
    (void)site_run(one, DB_STRONG, &execute, DB_EXECUTED);
    struct clock_stamp stamp = {200, 1, 1};
    struct cc_slice insert = weak_insert(fixture, "b", "here");
    struct db_job write = {.kind = DB_WEAK_EXECUTE, .schema_version = 1, .n_items = 1, .items = &insert, .stamps = &stamp};
    site_submit(one, DB_WEAK, &write);
    while (strcmp(site_query(one, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'one' AND wait_event_type = 'Lock'"), "1") != 0) {
    }
    struct db_job commit = {.kind = DB_COMMIT, .last = 2};
    site_submit(one, DB_STRONG, &commit);
    fixture_wait(fixture, weak_write_has_ended, one, "the weak write's answer, or the end of its connection");
    if (one->last.kind == DB_WEAK_EXECUTED) { // its answer came before the migration's
        struct cc_slice change = cc_arena_slice(&fixture->arena, one->last.changes[0]);
        crdt_change_set_number((uint8_t *)(uintptr_t)change.data, change.n, 2);
        struct db_job weak_commit = {.kind = DB_WEAK_COMMIT, .n_items = 1, .items = &change};
        site_submit(one, DB_WEAK, &weak_commit);
        site_wait_event(one, DB_DOWN, 1);
    } else if (one->up[DB_WEAK]) { // both in one turn
        struct db_job rollback = {.kind = DB_WEAK_ROLLBACK};
        site_submit(one, DB_WEAK, &rollback);
    }
    site_wait_up(one);
    assert_string_equal(site_query(one, "SELECT string_agg(id, ' ') FROM presence"), "a");
    assert_string_equal(site_query(one, "SELECT rows || ' ' || sum FROM caucus.digests"),
                        site_query(one, "SELECT rows || ' ' || sum FROM caucus.digest('presence'::regclass)"));
}

static void a_weak_write_that_is_not_as_planned_while_a_schema_is_on_its_way_is_executed_anew(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", presence_sql);
    (void)weak_write(one, weak_insert(fixture, "a", "here"), 100);
    struct operation migration = {.kind = OPERATION_MIGRATION, .migration_name = cc_slice_text("0002"),
                                  .migration_sql = cc_slice_text("CREATE TABLE other (id integer PRIMARY KEY);")};
    struct cc_slice operation = operation_of(fixture, &migration);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &operation};
    (void)site_run(one, DB_STRONG, &execute, DB_EXECUTED);
    (void)site_query(one, "BEGIN");
    (void)site_query(one, "SELECT applied FROM caucus.applied FOR UPDATE"); // the answer to the COMMIT comes late
    struct db_job commit = {.kind = DB_COMMIT, .last = 2};
    site_submit(one, DB_STRONG, &commit);
    struct rest_shape_column columns[] = {{TEXT("id"), TEXT("text"), REST_COLUMN_KEY}, {TEXT("gone"), TEXT("text"), 0}};
    struct rest_statement statement = {.kind = REST_INSERT,
                                       .weak = true,
                                       .sql = TEXT("WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('b', 'w', jsonb_build_object('', $1::text)) "
                                                   "RETURNING *) SELECT 'I', id, who, NULL::text FROM s"),
                                       .rows_max = UINT64_MAX,
                                       .shape = {.table = TEXT("\"public\".\"presence\""), .n_columns = 2, .columns = columns}};
    struct cc_slice weak = operation_of_statement(fixture, &statement, NULL);
    struct clock_stamp stamp = {200, 1, 1};
    struct db_job write = {.kind = DB_WEAK_EXECUTE, .n_items = 1, .items = &weak, .stamps = &stamp};
    site_submit(one, DB_WEAK, &write);
    fixture_wait(fixture, weak_write_has_ended, one, "the weak write's answer, or the end of its connection");
    assert_int_equal(one->last.kind, DB_DOWN);
    (void)site_query(one, "ROLLBACK");
    site_wait_event(one, DB_COMMITTED, 2);
    site_wait_up(one);
    const struct db_event *event = site_run(one, DB_WEAK, &write, DB_WEAK_EXECUTED); // what it met is known: it is the plan that is wrong
    struct rest_outcome outcome;
    assert_int_equal(rest_outcome_read(event->outcomes[0], &outcome), CC_OK);
    assert_code(&outcome, "CC305");
}

static void a_weak_write_must_not_change_strong_tables(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", presence_sql);
    migrate_ok(fixture, "0002",
               "CREATE TABLE counts (id integer PRIMARY KEY, n integer); INSERT INTO counts VALUES (1, 0);"
               "CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE counts SET n = n + 1; RETURN NULL; END';"
               "CREATE TRIGGER count_it AFTER INSERT ON presence FOR EACH ROW EXECUTE FUNCTION count_it();");
    struct rest_statement statement = {
        .kind = REST_INSERT, .weak = true, .captured = true, .rows_max = UINT64_MAX,
        .sql = TEXT("WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('a', 'b', jsonb_build_object('', $1::text)) RETURNING *) SELECT 'I', NULL::text FROM s")};
    struct cc_slice operation = operation_of_statement(fixture, &statement, NULL);
    struct clock_stamp stamp = {100, 1, 1};
    struct db_job execute = {.kind = DB_WEAK_EXECUTE, .n_items = 1, .items = &operation, .stamps = &stamp};
    const struct db_event *event = site_run(&fixture->one, DB_WEAK, &execute, DB_WEAK_EXECUTED);
    struct rest_outcome outcome;
    assert_int_equal(rest_outcome_read(event->outcomes[0], &outcome), CC_OK);
    assert_code(&outcome, "CC303");
}

static void triggers_of_weak_tables_are_stamped_too(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice changes[2];
    changes[0] = weak_write(&fixture->one, weak_insert(fixture, "host", "x"), 100);
    migrate_ok(fixture, "0002",
               "CREATE FUNCTION welcome() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE presence SET place = ''here'' WHERE id = ''host''; RETURN NULL; END';"
               "CREATE TRIGGER welcome AFTER INSERT ON presence FOR EACH ROW EXECUTE FUNCTION welcome();");
    struct rest_statement statement = {
        .kind = REST_INSERT, .weak = true, .captured = true, .rows_max = UINT64_MAX,
        .sql = TEXT("WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('a', 'b', jsonb_build_object('', $1::text)) RETURNING *) SELECT 'I', NULL::text FROM s")};
    changes[1] = weak_write(&fixture->one, operation_of_statement(fixture, &statement, NULL), 200);
    merge(&fixture->two, changes, 2);
    assert_string_equal(site_query(&fixture->two, shown_presence), "a/home/b host/x/here/whost");
    assert_same(fixture, all_presence);
}

static void deferred_triggers_of_weak_tables_act_before_the_changes_are_taken(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice changes[2];
    changes[0] = weak_write(&fixture->one, weak_insert(fixture, "host", "x"), 100);
    migrate_ok(fixture, "0002",
               "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE presence SET place = ''here'' WHERE id = ''host''; "
               "IF NEW.who = ''nobody'' THEN RAISE EXCEPTION ''nobody''; END IF; RETURN NULL; END';"
               "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON presence DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();");
    struct rest_statement statement = {
        .kind = REST_INSERT, .weak = true, .captured = true, .rows_max = UINT64_MAX,
        .sql = TEXT("WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('a', 'b', jsonb_build_object('', $1::text)) RETURNING *) SELECT 'I', NULL::text FROM s")};
    changes[1] = weak_write(&fixture->one, operation_of_statement(fixture, &statement, NULL), 200);
    merge(&fixture->two, changes, 2);
    assert_string_equal(site_query(&fixture->two, shown_presence), "a/home/b host/x/here/whost");
    assert_same(fixture, all_presence);
    statement.sql = (struct cc_slice)TEXT(
        "WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('c', 'nobody', jsonb_build_object('', $1::text)) RETURNING *) SELECT 'I', NULL::text FROM s");
    struct cc_slice operation = operation_of_statement(fixture, &statement, NULL);
    struct clock_stamp stamp = {300, 1, 1};
    struct db_job execute = {.kind = DB_WEAK_EXECUTE, .n_items = 1, .items = &operation, .stamps = &stamp};
    struct rest_outcome outcome;
    assert_int_equal(rest_outcome_read(site_run(&fixture->one, DB_WEAK, &execute, DB_WEAK_EXECUTED)->outcomes[0], &outcome), CC_OK);
    assert_code(&outcome, "P0001");
}

static bool statistics_have_come(void *context)
{
    return strcmp(site_query(context, "SELECT n_tup_upd >= 10 FROM pg_stat_user_tables WHERE relname = 'presence'"), "t") == 0;
}

// A plan is made when the table is empty, and kept while it grows: rows must be looked for by key all the same.
static void merging_never_reads_the_whole_table(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    (void)site_query(two, "VACUUM ANALYZE presence"); // known to be empty: reading all of it costs nothing
    struct cc_slice change = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    merge(two, &change, 1);
    for (uint64_t i = 1; i <= 10; i++) {
        change = weak_write(one, weak_update(fixture, "a", true, i % 2 == 0 ? "even" : "odd"), 100 + i);
        merge(two, &change, 1);
    }
    site_close(two); // its backends tell their statistics when they end
    fixture_wait(fixture, statistics_have_come, two, "statistics");
    assert_string_equal(site_query(two, "SELECT seq_scan < 5 FROM pg_stat_user_tables WHERE relname = 'presence'"), "t");
    site_open(two);
}

// Sets that come together are one row of the history; each of them is found by itself.
static void sets_of_one_merge_are_told_apart_in_the_history(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    static const char *const ids[] = {"a", "b", "c", "d"};
    struct cc_slice changes[5];
    for (uint64_t i = 0; i < 4; i++) {
        changes[i] = weak_write(one, weak_insert(fixture, ids[i], "new"), 100 + i);
    }
    changes[4] = weak_write(one, weak_update(fixture, "b", true, "busy"), 200);
    merge(two, changes, 5);
    assert_string_equal(site_query(two, "SELECT string_agg(concat_ws('/', sequence, sets, cardinality(changes), cardinality(rows), left(since, 16), left(stamp, 16)), ' ') "
                                        "FROM caucus.history"),
                        "5/5/5/5/0000000000000064/00000000000000c8");
    assert_string_equal(site_query(two, "SELECT string_agg(n || ' ' || times, ', ' ORDER BY n) FROM (SELECT count(*) AS n, (SELECT string_agg(ltrim(o.stamp, '0'), ' ' ORDER BY o.stamp) "
                                        "FROM caucus.history_of(r) o) AS times FROM caucus.history h, unnest(h.rows) r GROUP BY r) t"),
                        "1 64, 1 66, 1 67, 2 65 c8");
    struct db_job fetch = {.kind = DB_FETCH, .origin = {1, 1}, .sequence = 3, .n_bytes_max = 1 << 20, .peer = 2};
    const struct db_event *event = site_run(two, DB_WEAK, &fetch, DB_FETCHED);
    assert_int_equal(event->n_changes, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(cc_slice_equal(event->changes[i], changes[2 + i]));
    }
}

static void rows_are_found_in_a_long_history_that_an_older_program_began(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    (void)site_query(one, "DROP TABLE caucus.history_blocks, caucus.history; CREATE TABLE caucus.history (replica bigint, incarnation bigint, sequence bigint, "
                          "stamp text NOT NULL, change bytea NOT NULL, rows bigint[], PRIMARY KEY (replica, incarnation, sequence)); "
                          "CREATE INDEX history_rows ON caucus.history USING gin (rows); UPDATE caucus.meta SET format = 1, functions = 0");
    site_close(one);
    (void)site_query(one, "INSERT INTO caucus.frontier VALUES (9, 1, 5000, '0000000000000001.9.1'); INSERT INTO caucus.history (replica, incarnation, sequence, stamp, change, rows) "
                          "SELECT 9, 1, g, lpad(g::text, 16, '0'), '', CASE WHEN g % 100 = 0 AND g < 2000 THEN ARRAY[g, -7] ELSE ARRAY[g] END FROM generate_series(1, 5000) g");
    site_open(one);
    assert_string_equal(site_query(one, "SELECT count(*) FROM pg_class WHERE relname = 'history_rows'"), "0");
    assert_string_equal(site_query(one, "SELECT format FROM caucus.meta"), "2");
    for (int i = 0; i < 5; i++) {
        assert_string_equal(site_query(one, "SELECT caucus.index_history()"), "1");
    }
    assert_string_equal(site_query(one, "SELECT caucus.index_history()"), "0"); // too few for a block: they are looked through
    assert_string_equal(site_query(one, "SELECT count(*) || ' ' || max(last) FROM caucus.history_blocks"), "5 4781");
    assert_string_equal(site_query(one, "SELECT string_agg(h || ' ' || (SELECT count(*) FROM caucus.history_of(h)), ', ' ORDER BY h) "
                                        "FROM unnest(ARRAY[-7, 1, 960, 961, 4781, 4782, 5001]) h"),
                        "-7 19, 1 1, 960 1, 961 1, 4781 1, 4782 1, 5001 0");
}

static void a_lost_weak_commit_is_merged_again_from_the_log(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice change = weak_write(one, weak_insert(fixture, "a", "x"), 100);
    char *before = cc_arena_text(&fixture->arena, site_query(one, all_presence));
    // As if PostgreSQL had lost the commit in a crash.
    (void)site_query(one, "SET session_replication_role = replica; DELETE FROM presence; DELETE FROM caucus.history; DELETE FROM caucus.frontier");
    site_close(one);
    site_open(one);
    assert_int_equal(one->frontier.n, 0);
    merge(one, &change, 1);
    assert_string_equal(site_query(one, all_presence), before);
    assert_int_equal(crdt_frontier_get(&one->frontier, (struct crdt_origin){1, 1}), 1);
}

static void merge_open(struct site *site, struct cc_slice *changes, uint32_t n)
{
    struct db_job job = {.kind = DB_MERGE, .n_items = n, .items = changes, .open = true};
    const struct db_event *event = site_run(site, DB_WEAK, &job, DB_MERGED);
    assert_int_equal(crdt_frontier_get(event->merged, (struct crdt_origin){1, 1}), n + crdt_frontier_get(event->frontier, (struct crdt_origin){1, 1}));
}

// Whether what is kept up of a table says what its rows do.
static const char digest_fits[] = "SELECT (d.rows = o.rows AND d.sum = o.sum)::text || ' ' || d.rows FROM caucus.digests d, caucus.digest('presence'::regclass) o";

static void merges_and_local_writes_share_one_transaction(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice theirs[3] = {weak_write(one, weak_insert(fixture, "a", "new"), 100), weak_write(one, weak_insert(fixture, "b", "new"), 101),
                                 weak_write(one, weak_update(fixture, "a", true, "busy"), 102)};
    struct cc_slice all[6]; // in the order of WEAK_COMMIT: own ones first
    all[0] = weak_execute(two, weak_insert(fixture, "c", "new"), 110, 0);
    merge_open(two, theirs, 3);
    all[1] = weak_execute(two, weak_update(fixture, "a", false, "away"), 120, 1); // upon what was merged
    all[2] = weak_execute(two, weak_delete(fixture, "b"), 130, 2);
    assert_string_equal(site_query(two, shown_presence), "none"); // nobody sees anything of it
    memcpy(all + 3, theirs, sizeof(theirs));
    weak_commit(two, all, 6);
    char *rows = cc_arena_text(&fixture->arena, site_query(two, all_presence));
    assert_int_equal(crdt_frontier_get(&two->frontier, (struct crdt_origin){1, 1}), 3);
    assert_int_equal(crdt_frontier_get(&two->frontier, (struct crdt_origin){2, 1}), 3);
    assert_string_equal(site_query(two, digest_fits), "true 2");
    assert_string_equal(site_query(two, "SELECT string_agg(replica || '/' || sequence || '/' || sets, ' ' ORDER BY replica) FROM caucus.history"), "1/3/3 2/3/3");
    merge(one, all, 3);
    assert_string_equal(site_query(one, all_presence), rows);
}

// The first attempt presumes that rows which are inserted are not there, and one is.
static void a_merge_that_fails_leaves_what_is_in_the_open_transaction(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice theirs = weak_write(one, weak_insert(fixture, "a", "theirs"), 200);
    struct cc_slice all[3] = {weak_execute(two, weak_insert(fixture, "a", "ours"), 110, 0)};
    merge_open(two, &theirs, 1);
    all[1] = weak_execute(two, weak_insert(fixture, "b", "ours"), 210, 1);
    all[2] = theirs;
    weak_commit(two, all, 3);
    char *rows = cc_arena_text(&fixture->arena, site_query(two, all_presence));
    assert_non_null(strstr(rows, "theirs"));
    assert_string_equal(site_query(two, digest_fits), "true 2");
    merge(one, all, 2);
    assert_string_equal(site_query(one, all_presence), rows);
}

static void what_was_merged_into_a_transaction_that_is_lost_can_be_merged_again(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice theirs = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    merge_open(two, &theirs, 1);
    site_close(two);
    site_open(two);
    assert_string_equal(site_query(two, shown_presence), "none");
    merge(two, &theirs, 1);
    assert_string_equal(site_query(two, digest_fits), "true 1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_one_executes_two_applies),
        TEST(rows_of_many_parameters_are_one_statement_in_their_order),
        TEST(what_rows_are_given_need_not_come_back),
        TEST(rows_of_which_nothing_comes_back_are_counted_all_the_same),
        TEST(updates_by_different_keys_are_one_statement_and_each_gets_its_own_answer),
        TEST(a_failing_operation_does_not_harm_its_neighbours),
        TEST(limits_on_affected_rows_roll_the_write_back),
        TEST(a_key_takes_effect_once),
        TEST(triggers_cascades_and_sequences_give_the_same_rows),
        TEST(deferred_triggers_act_before_the_effects_are_taken),
        TEST(the_first_write_after_a_migration_meets_its_deferred_triggers),
        TEST(triggers_that_touch_other_rows_of_their_statement_keep_the_order),
        TEST(unique_values_can_move_between_rows),
        TEST(random_batches_give_the_same_rows),
        TEST(every_type_survives_as_text),
        TEST(a_change_of_schema_is_seen_by_prepared_statements_and_captures),
        TEST(rows_that_are_missing_stop_the_follower),
        TEST(what_is_cancelled_while_it_is_applied_is_applied_again),
        TEST(entries_out_of_order_are_refused),
        TEST(a_rollback_leaves_nothing),
        TEST(many_batches_share_one_transaction),
        TEST(batches_that_wait_for_each_other_have_their_own_outcomes),
        TEST(batches_that_wait_for_each_other_are_lost_together),
        TEST(a_killed_backend_loses_the_open_transaction_and_comes_back),
        TEST(a_statement_under_way_at_a_crash_is_not_answered),
        TEST(a_write_that_takes_too_long_is_cancelled),
        TEST(a_cancellation_that_comes_too_late_meets_nothing_else),
        TEST(a_commit_that_hangs_drops_the_connection),
        TEST(a_database_of_another_replica_is_refused),
        TEST(a_migration_is_all_or_nothing_and_once),
        TEST(what_a_weak_table_cannot_have_is_refused),
        TEST(replicas_that_were_apart_end_with_equal_rows),
        TEST(weak_updates_by_different_keys_are_one_statement_and_each_has_its_own_change),
        TEST(a_delete_and_a_later_insert_meet_in_any_order),
        TEST(what_is_put_aside_is_written_again_upon_the_others_rows),
        TEST(what_cannot_be_written_again_has_lost_and_what_others_have_after_all_is_not_written_twice),
        TEST(what_follows_lost_changes_is_put_aside_once_and_the_rows_stay),
        TEST(random_weak_writes_converge),
        TEST(merges_and_local_writes_share_one_transaction),
        TEST(a_merge_that_fails_leaves_what_is_in_the_open_transaction),
        TEST(what_was_merged_into_a_transaction_that_is_lost_can_be_merged_again),
        TEST(history_can_be_fetched_from_a_sequence_on),
        TEST(sets_of_one_merge_are_told_apart_in_the_history),
        TEST(a_poisoned_change_holds_up_its_origin_only),
        TEST(a_weak_write_that_waited_for_a_migration_of_its_table_is_executed_anew),
        TEST(a_weak_write_that_is_not_as_planned_while_a_schema_is_on_its_way_is_executed_anew),
        TEST(a_weak_write_must_not_change_strong_tables),
        TEST(triggers_of_weak_tables_are_stamped_too),
        TEST(deferred_triggers_of_weak_tables_act_before_the_changes_are_taken),
        TEST(merging_never_reads_the_whole_table),
        TEST(rows_are_found_in_a_long_history_that_an_older_program_began),
        TEST(a_lost_weak_commit_is_merged_again_from_the_log),
    };
    return cmocka_run_group_tests(tests, fixture_group_set_up, fixture_group_tear_down);
}
