// Operations, statements and outcomes: what is put is read again; cut bytes are malformed.
#include "proxy/node/operation.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cc_slice text(const char *characters)
{
    return cc_slice_text(characters);
}

static bool same(struct cc_slice a, struct cc_slice b)
{
    return (a.data == NULL) == (b.data == NULL) && cc_slice_equal(a, b);
}

static struct rest_statement example_statement(void)
{
    static struct cc_slice parameters[3];
    static struct rest_shape_column columns[2];
    static struct rest_setting settings[1];
    static struct cc_slice sequences[1];
    parameters[0] = text("one");
    parameters[1] = text(NULL);
    parameters[2] = text("");
    columns[0] = (struct rest_shape_column){text("id"), text("bigint"), REST_COLUMN_KEY};
    columns[1] = (struct rest_shape_column){text("total"), text("numeric"), REST_COLUMN_SET};
    settings[0] = (struct rest_setting){text("role"), text("web")};
    sequences[0] = text("public.orders_id_seq");
    return (struct rest_statement){
        .kind = REST_UPSERT,
        .weak = true,
        .single = true,
        .roll_back = true,
        .sql = text("INSERT INTO t VALUES ($1)"),
        .n_parameters = 3,
        .parameters = parameters,
        .shape = {.table = text("public.orders"), .with_old = true, .n_columns = 2, .columns = columns},
        .rows_max = UINT64_MAX,
        .n_settings = 1,
        .settings = settings,
        .n_sequences = 1,
        .sequences = sequences,
        .row_at = 21,
        .row_n = 4,
        .row_parameters = 1,
    };
}

static struct operation example(struct rest_statement *statements, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        statements[i] = example_statement();
    }
    struct operation operation = {.after = 77,
                                  .timeout_ms = 500,
                                  .kind = OPERATION_STATEMENTS,
                                  .schema_version = 3,
                                  .weak = true,
                                  .principal = text(""),
                                  .key = text("k"),
                                  .n_statements = n,
                                  .statements = statements};
    memset(operation.id, 0xab, sizeof(operation.id));
    return operation;
}

static void assert_same_statement(const struct rest_statement *a, const struct rest_statement *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(a->weak == b->weak && a->captured == b->captured && a->single == b->single);
    assert_true(a->body_is_array == b->body_is_array && a->roll_back == b->roll_back);
    assert_true(same(a->sql, b->sql));
    assert_int_equal(a->n_parameters, b->n_parameters);
    for (uint32_t i = 0; i < a->n_parameters; i++) {
        assert_true(same(a->parameters[i], b->parameters[i]));
    }
    assert_true(same(a->shape.table, b->shape.table));
    assert_true(a->shape.with_old == b->shape.with_old && a->shape.row_by_row == b->shape.row_by_row);
    assert_int_equal(a->shape.n_columns, b->shape.n_columns);
    for (uint32_t i = 0; i < a->shape.n_columns; i++) {
        assert_true(same(a->shape.columns[i].name, b->shape.columns[i].name));
        assert_true(same(a->shape.columns[i].type, b->shape.columns[i].type));
        assert_int_equal(a->shape.columns[i].flags, b->shape.columns[i].flags);
    }
    assert_true(a->rows_max == b->rows_max);
    assert_int_equal(a->n_settings, b->n_settings);
    assert_true(same(a->settings[0].name, b->settings[0].name) && same(a->settings[0].value, b->settings[0].value));
    assert_int_equal(a->n_sequences, b->n_sequences);
    assert_true(same(a->sequences[0], b->sequences[0]));
    assert_true(a->row_at == b->row_at && a->row_n == b->row_n && a->row_parameters == b->row_parameters);
}

static void an_operation_is_read_as_it_was_put(void **state)
{
    (void)state;
    struct rest_statement statements[2];
    struct operation operation = example(statements, 2);
    struct cc_buffer bytes = {0};
    operation_put(&bytes, &operation);
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct operation again;
    assert_int_equal(operation_read(cc_buffer_slice(&bytes), &arena, &again), CC_OK);
    assert_memory_equal(again.id, operation.id, OPERATION_ID_BYTES);
    assert_int_equal(again.after, 77);
    assert_int_equal(again.timeout_ms, 500);
    assert_int_equal(again.schema_version, 3);
    assert_true(again.weak);
    assert_true(same(again.principal, operation.principal));
    assert_true(same(again.key, operation.key));
    assert_true(same(again.fingerprint, operation.fingerprint));
    assert_int_equal(again.n_statements, 2);
    assert_same_statement(&again.statements[0], &statements[0]);
    assert_same_statement(&again.statements[1], &statements[1]);
    cc_arena_finish(&arena);
    cc_buffer_finish(&bytes);
}

static struct rest_statement insert_given(struct cc_slice *parameters, const char *type, uint32_t *given)
{
    static struct rest_shape_column columns[2];
    columns[0] = (struct rest_shape_column){text("at"), text("date"), 0};
    columns[1] = (struct rest_shape_column){text("id"), text(type), REST_COLUMN_KEY};
    return (struct rest_statement){.kind = REST_INSERT,
                                   .sql = text("INSERT INTO t VALUES ($1::x)"),
                                   .n_parameters = 2,
                                   .parameters = parameters,
                                   .shape = {.table = text("t"), .n_columns = 2, .columns = columns},
                                   .row_at = 21,
                                   .row_n = 7,
                                   .row_parameters = 1,
                                   .given = given,
                                   .brief_end = text(" RETURNING at, NULL")};
}

static enum cc_status read_again(const struct rest_statement *statement, struct cc_arena *arena, struct rest_statement *again)
{
    struct cc_buffer bytes = {0};
    rest_statement_put(&bytes, statement);
    struct cc_reader reader = cc_reader_of(cc_arena_slice(arena, cc_buffer_slice(&bytes)));
    cc_buffer_finish(&bytes);
    return rest_statement_read(&reader, arena, again);
}

static void what_a_statement_says_of_given_values_is_looked_at(void **state)
{
    (void)state;
    static const struct {
        const char *type, *value;
        bool plain;
    } cases[] = {{"text", " any\n", true},
                 {"integer", "-120", true},
                 {"bigint", "0", true},
                 {"integer", "-0", false},
                 {"integer", "01", false},
                 {"smallint", "-", false},
                 {"smallint", "", false},
                 {"integer", "1e3", false},
                 {"uuid", "5e5f5c2c-8f5b-4a6e-9e0a-00112233445a", true},
                 {"uuid", "5E5F5C2C-8f5b-4a6e-9e0a-00112233445a", false},
                 {"uuid", "5e5f5c2c08f5b-4a6e-9e0a-00112233445a", false},
                 {"uuid", "5e5f5c2c-8f5b-4a6e-9e0a-00112233445", false},
                 {"numeric", "1", false},
                 {"character(3)", "a", false}};
    struct cc_arena arena;
    cc_arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cc_slice parameters[2] = {{0}, text(cases[i].value)};
        uint32_t given[2] = {0, 1};
        struct rest_statement statement = insert_given(parameters, cases[i].type, given), again;
        assert_int_equal(read_again(&statement, &arena, &again), cases[i].plain ? CC_OK : CC_MALFORMED);
        if (cases[i].plain) {
            assert_memory_equal(again.given, given, sizeof(given));
            assert_true(same(again.brief_end, statement.brief_end));
            assert_true(rest_statement_is_uuid(&again, 0) == (strcmp(cases[i].type, "uuid") == 0));
        }
    }
    struct cc_slice parameters[2] = {text("a"), text("b")};
    uint32_t beyond[2] = {0, 2};
    struct rest_statement statement = insert_given(parameters, "text", beyond), again;
    assert_int_equal(read_again(&statement, &arena, &again), CC_MALFORMED);
    beyond[1] = 1;
    statement.kind = REST_UPDATE;
    assert_int_equal(read_again(&statement, &arena, &again), CC_MALFORMED);
    cc_arena_finish(&arena);
}

static void peeking_gives_what_routing_needs(void **state)
{
    (void)state;
    struct rest_statement statements[1];
    struct operation operation = example(statements, 1);
    struct cc_buffer bytes = {0};
    operation_put(&bytes, &operation);
    struct operation peeked;
    assert_int_equal(operation_peek(cc_buffer_slice(&bytes), &peeked), CC_OK);
    assert_memory_equal(peeked.id, operation.id, OPERATION_ID_BYTES);
    assert_int_equal(peeked.after, 77);
    operation_set_after(bytes.data, bytes.n, UINT64_C(0x0102030405060708));
    assert_int_equal(operation_peek(cc_buffer_slice(&bytes), &peeked), CC_OK);
    assert_true(peeked.after == UINT64_C(0x0102030405060708));
    assert_true(peeked.weak);
    assert_true(peeked.weak);
    assert_true(same(peeked.key, operation.key));
    assert_int_equal(peeked.n_statements, 0);
    cc_buffer_finish(&bytes);
}

static void a_migration_carries_its_name_and_text(void **state)
{
    (void)state;
    struct operation operation = {.kind = OPERATION_MIGRATION,
                                  .migration_name = text("0001_init"),
                                  .migration_sql = text("CREATE TABLE t (id int PRIMARY KEY)")};
    struct cc_buffer bytes = {0};
    operation_put(&bytes, &operation);
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct operation again;
    assert_int_equal(operation_read(cc_buffer_slice(&bytes), &arena, &again), CC_OK);
    assert_int_equal(again.kind, OPERATION_MIGRATION);
    assert_true(same(again.migration_name, operation.migration_name));
    assert_true(same(again.migration_sql, operation.migration_sql));
    cc_arena_finish(&arena);
    cc_buffer_finish(&bytes);
}

static void an_operation_cut_anywhere_is_malformed(void **state)
{
    (void)state;
    struct rest_statement statements[2];
    struct operation operation = example(statements, 2);
    struct cc_buffer bytes = {0};
    operation_put(&bytes, &operation);
    for (size_t n = 0; n < bytes.n; n++) {
        struct cc_arena arena;
        cc_arena_init(&arena);
        struct operation again;
        assert_int_equal(operation_read(cc_slice_of(bytes.data, n), &arena, &again), CC_MALFORMED);
        cc_arena_finish(&arena);
    }
    cc_buffer_finish(&bytes);
}

static void an_operation_without_statements_is_malformed(void **state)
{
    (void)state;
    struct operation operation = {.kind = OPERATION_STATEMENTS};
    struct cc_buffer bytes = {0};
    operation_put(&bytes, &operation);
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct operation again;
    assert_int_equal(operation_read(cc_buffer_slice(&bytes), &arena, &again), CC_MALFORMED);
    cc_arena_finish(&arena);
    cc_buffer_finish(&bytes);
}

static void an_outcome_is_read_as_it_was_put(void **state)
{
    (void)state;
    struct rest_outcome outcome = {.kind = REST_FAILED,
                                   .status = CC_STALE,
                                   .n_rows = 300,
                                   .n_inserted = 2,
                                   .body = text("[]"),
                                   .code = text("23505"),
                                   .message = text(""),
                                   .hint = text("h")};
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, &outcome);
    struct rest_outcome again;
    assert_int_equal(rest_outcome_read(cc_buffer_slice(&bytes), &again), CC_OK);
    assert_int_equal(again.kind, REST_FAILED);
    assert_int_equal(again.status, CC_STALE);
    assert_int_equal(again.n_rows, 300);
    assert_int_equal(again.n_inserted, 2);
    assert_true(same(again.body, outcome.body) && same(again.code, outcome.code));
    assert_true(same(again.message, outcome.message) && same(again.details, outcome.details));
    assert_true(same(again.hint, outcome.hint));
    for (size_t n = 0; n < bytes.n; n++) {
        assert_int_equal(rest_outcome_read(cc_slice_of(bytes.data, n), &again), CC_MALFORMED);
    }
    cc_buffer_finish(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operation_is_read_as_it_was_put),
        cmocka_unit_test(what_a_statement_says_of_given_values_is_looked_at),
        cmocka_unit_test(peeking_gives_what_routing_needs),
        cmocka_unit_test(a_migration_carries_its_name_and_text),
        cmocka_unit_test(an_operation_cut_anywhere_is_malformed),
        cmocka_unit_test(an_operation_without_statements_is_malformed),
        cmocka_unit_test(an_outcome_is_read_as_it_was_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
