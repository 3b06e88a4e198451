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

static const char all_items[] = "SELECT coalesce(json_agg(i ORDER BY id)::text, 'none') FROM items i";

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
    };
    return cmocka_run_group_tests(tests, fixture_group_set_up, fixture_group_tear_down);
}
