// Effects as SQL: which rows are joined into one statement, and which must not be.
#include "proxy/postgres/apply_sql.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define TEXT(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}

static struct rest_shape_column key_value[] = {
    {TEXT("k"), TEXT("integer"), REST_COLUMN_KEY}, {TEXT("v"), TEXT("text"), 0}, {TEXT("g"), TEXT("text"), REST_COLUMN_GENERATED}};
static const struct rest_shape table_a = {.table = TEXT("\"a\""), .n_columns = 3, .columns = key_value};
static const struct rest_shape table_b = {.table = TEXT("\"b\""), .n_columns = 3, .columns = key_value};
static const struct rest_shape table_a_key = {.table = TEXT("\"a\""), .n_columns = 1, .columns = key_value};
static const struct rest_shape unique_a = {.table = TEXT("\"a\""), .row_by_row = true, .n_columns = 3, .columns = key_value};

struct fixture {
    struct effect_builder effects;
    struct cc_buffer out; // one line per statement: its first words, how many rows
};

static uint32_t n_rows(const struct apply_statement *statement)
{
    if (statement->n_parameters == 0) {
        return 0;
    }
    if (strstr(statement->sql, "unnest") == NULL) {
        return 1;
    }
    const uint8_t *n = statement->parameters[0].data + 12;
    return (uint32_t)n[2] << 8 | n[3];
}

static void sink(void *context, const struct apply_statement *statement)
{
    struct fixture *fixture = context;
    const char *words = strncmp(statement->sql, "WITH w AS (", 11) == 0 ? statement->sql + 11 : statement->sql;
    cc_buffer_printf(&fixture->out, "%.15s %u\n", words, n_rows(statement));
}

static const char *apply(struct fixture *fixture, bool twice)
{
    struct apply_sql apply_sql;
    apply_sql_init(&apply_sql, sink, fixture);
    for (int i = 0; i < (twice ? 2 : 1); i++) {
        assert_int_equal(apply_sql_effects(&apply_sql, 7, effect_builder_slice(&fixture->effects)), CC_OK);
    }
    apply_sql_flush(&apply_sql);
    apply_sql_finish(&apply_sql);
    return cc_buffer_text(&fixture->out);
}

static void put(struct fixture *fixture, const struct rest_shape *shape, enum effect_tag tag, const char *key, const char *old_key)
{
    struct cc_slice values[3] = {cc_slice_text(key), cc_slice_text("v"), cc_slice_text("g")};
    struct cc_slice old = cc_slice_text(old_key);
    effect_put_row(&fixture->effects, effect_put_shape(&fixture->effects, shape), tag, values, old_key == NULL ? NULL : &old);
}

static int set_up(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    effect_builder_finish(&fixture->effects);
    cc_buffer_finish(&fixture->out);
    return 0;
}

static void inserts_are_joined_over_entries_and_past_other_tables(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, &table_a, EFFECT_INSERT, "1", NULL);
    put(fixture, &table_b, EFFECT_INSERT, "1", NULL);
    put(fixture, &table_a, EFFECT_INSERT, "2", NULL);
    assert_string_equal(apply(fixture, true), "INSERT INTO \"a\" 4\nINSERT INTO \"b\" 2\n");
}

static void an_update_does_not_meet_a_row_twice(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, &table_a, EFFECT_UPDATE, "1", NULL);
    put(fixture, &table_a, EFFECT_UPDATE, "2", NULL);
    put(fixture, &table_a, EFFECT_UPDATE, "1", NULL);
    assert_string_equal(apply(fixture, false), "UPDATE \"a\" AS t 2\nUPDATE \"a\" AS t 1\n");
}

static void a_table_is_the_same_with_and_without_quotes(void **state)
{
    struct fixture *fixture = *state;
    static const struct rest_shape planned = {.table = TEXT("\"p\".\"a\""), .n_columns = 3, .columns = key_value};
    static const struct rest_shape captured = {.table = TEXT("p.a"), .n_columns = 3, .columns = key_value};
    put(fixture, &planned, EFFECT_INSERT, "1", NULL);
    put(fixture, &captured, EFFECT_UPDATE, "1", NULL);
    put(fixture, &planned, EFFECT_UPDATE, "1", NULL);
    put(fixture, &captured, EFFECT_UPDATE, "2", NULL);
    assert_string_equal(apply(fixture, false), "INSERT INTO \"p\" 1\nUPDATE p.a AS t 1\nUPDATE \"p\".\"a\"  2\n");
}

static void other_tables_are_others_whatever_their_quotes(void **state)
{
    struct fixture *fixture = *state;
    static const struct rest_shape dotted = {.table = TEXT("\"p.a\""), .n_columns = 3, .columns = key_value};
    static const struct rest_shape quote = {.table = TEXT("\"p\".\"\"\"a\""), .n_columns = 3, .columns = key_value};
    static const struct rest_shape plain = {.table = TEXT("p.a"), .n_columns = 3, .columns = key_value};
    put(fixture, &dotted, EFFECT_INSERT, "1", NULL);
    put(fixture, &quote, EFFECT_INSERT, "1", NULL);
    put(fixture, &plain, EFFECT_INSERT, "1", NULL);
    put(fixture, &dotted, EFFECT_INSERT, "2", NULL);
    assert_string_equal(apply(fixture, false), "INSERT INTO \"p. 2\nINSERT INTO \"p\" 1\nINSERT INTO p.a 1\n");
}

static void kinds_of_one_table_keep_their_order(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, &table_a, EFFECT_INSERT, "1", NULL);
    put(fixture, &table_a_key, EFFECT_DELETE, "1", NULL);
    put(fixture, &table_a, EFFECT_INSERT, "1", NULL);
    assert_string_equal(apply(fixture, false), "INSERT INTO \"a\" 1\nDELETE FROM \"a\" 1\nINSERT INTO \"a\" 1\n");
}

static void updates_of_tables_with_unique_values_go_row_by_row(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, &unique_a, EFFECT_INSERT, "1", NULL);
    put(fixture, &unique_a, EFFECT_INSERT, "2", NULL);
    put(fixture, &unique_a, EFFECT_UPDATE, "1", NULL);
    put(fixture, &unique_a, EFFECT_UPDATE, "2", NULL);
    assert_string_equal(apply(fixture, false), "INSERT INTO \"a\" 2\nUPDATE \"a\" AS t 1\nUPDATE \"a\" AS t 1\n");
}

static void a_row_whose_key_changes_goes_alone(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, &table_a, EFFECT_UPDATE, "1", NULL);
    put(fixture, &table_a, EFFECT_UPDATE, "3", "2");
    put(fixture, &table_a, EFFECT_UPDATE, "4", NULL);
    assert_string_equal(apply(fixture, false), "UPDATE \"a\" AS t 1\nUPDATE \"a\" AS t 1\nUPDATE \"a\" AS t 1\n");
}

static void a_change_of_schema_ends_all_runs(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, &table_a, EFFECT_INSERT, "1", NULL);
    effect_put_ddl(&fixture->effects, cc_slice_text("ALTER TABLE a x"));
    put(fixture, &table_a, EFFECT_INSERT, "2", NULL);
    effect_put_migration(&fixture->effects, cc_slice_text("0001"), cc_slice_text("..."));
    assert_string_equal(apply(fixture, false), "INSERT INTO \"a\" 1\nSET LOCAL sessi 0\nALTER TABLE a x 0\nSET LOCAL sessi 0\n"
                                               "INSERT INTO \"a\" 1\nINSERT INTO cau 1\nSELECT caucus.p 0\n");
}

struct capture {
    char sql[1000];
};

static void keep(void *context, const struct apply_statement *statement)
{
    struct capture *capture = context;
    (void)snprintf(capture->sql, sizeof(capture->sql), "%s", statement->sql);
}

static void generated_columns_are_not_written_and_names_are_quoted(void **state)
{
    struct fixture *fixture = *state;
    static struct rest_shape_column columns[] = {
        {TEXT("k\"x"), TEXT("integer"), REST_COLUMN_KEY}, {TEXT("v"), TEXT("text"), 0}, {TEXT("g"), TEXT("text"), REST_COLUMN_GENERATED}};
    const struct rest_shape shape = {.table = TEXT("\"a\""), .n_columns = 3, .columns = columns};
    put(fixture, &shape, EFFECT_UPDATE, "1", NULL);
    struct capture capture;
    struct apply_sql apply_sql;
    apply_sql_init(&apply_sql, keep, &capture);
    assert_int_equal(apply_sql_effects(&apply_sql, 1, effect_builder_slice(&fixture->effects)), CC_OK);
    apply_sql_flush(&apply_sql);
    assert_string_equal(capture.sql,
                        "WITH w AS (UPDATE \"a\" AS t SET \"v\" = u.c1::text FROM (SELECT $1::text, $2::text) AS u(c0, c1) "
                        "WHERE t.\"k\"\"x\" = u.c0::integer RETURNING 1) SELECT CASE WHEN count(*) <> $4::bigint THEN "
                        "caucus.refuse('update of ' || $3::text, $4::bigint, count(*)) END FROM w");
    apply_sql_finish(&apply_sql);
}

static void damaged_effects_are_refused(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, &table_a, EFFECT_INSERT, "1", NULL);
    struct cc_slice effects = effect_builder_slice(&fixture->effects);
    struct apply_sql apply_sql;
    apply_sql_init(&apply_sql, sink, fixture);
    assert_int_not_equal(apply_sql_effects(&apply_sql, 1, cc_slice_of(effects.data, effects.n - 1)), CC_OK);
    apply_sql_finish(&apply_sql);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(inserts_are_joined_over_entries_and_past_other_tables),
        TEST(an_update_does_not_meet_a_row_twice),
        TEST(a_table_is_the_same_with_and_without_quotes),
        TEST(other_tables_are_others_whatever_their_quotes),
        TEST(kinds_of_one_table_keep_their_order),
        TEST(updates_of_tables_with_unique_values_go_row_by_row),
        TEST(a_row_whose_key_changes_goes_alone),
        TEST(a_change_of_schema_ends_all_runs),
        TEST(generated_columns_are_not_written_and_names_are_quoted),
        TEST(damaged_effects_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
