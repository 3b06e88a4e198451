// Effects and entries: rows in captured order, shapes once, old keys, sequences; cut bytes are malformed.
#include "proxy/node/effect.h"

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

static struct rest_shape_column order_columns[2];
static struct rest_shape_column stock_columns[1];

static struct rest_shape orders(void)
{
    order_columns[0] = (struct rest_shape_column){text("id"), text("bigint"), REST_COLUMN_KEY};
    order_columns[1] = (struct rest_shape_column){text("total"), text("numeric"), 0};
    return (struct rest_shape){.table = text("public.orders"), .n_columns = 2, .columns = order_columns};
}

static struct rest_shape stock(void)
{
    stock_columns[0] = (struct rest_shape_column){text("sku"), text("text"), REST_COLUMN_KEY};
    return (struct rest_shape){.table = text("public.stock"), .row_by_row = true, .n_columns = 1, .columns = stock_columns};
}

static struct effect_part next(struct effect_reader *reader, enum effect_part_kind kind)
{
    struct effect_part part;
    assert_int_equal(effect_reader_next(reader, &part), CC_OK);
    assert_int_equal(part.kind, kind);
    return part;
}

static void put_order(struct effect_builder *builder, enum effect_tag tag, const char *id, const char *total, const char *old_id)
{
    struct rest_shape shape = orders();
    struct cc_slice values[2] = {text(id), text(total)};
    struct cc_slice old_key = text(old_id);
    effect_put_row(builder, effect_put_shape(builder, &shape), tag, values, old_id == NULL ? NULL : &old_key);
}

static void put_example(struct effect_builder *builder)
{
    put_order(builder, EFFECT_INSERT, "1", "9.50", NULL);
    put_order(builder, EFFECT_INSERT, "2", NULL, NULL);
    put_order(builder, EFFECT_UPDATE, "3", "1", "2");
    struct rest_shape shape = stock();
    struct cc_slice sku = text("");
    effect_put_row(builder, effect_put_shape(builder, &shape), EFFECT_DELETE, &sku, NULL);
    put_order(builder, EFFECT_UPDATE, "1", "2", NULL);
    effect_put_sequence(builder, text("public.orders_id_seq"), -3, true);
    effect_put_ddl(builder, text("CREATE TABLE t ()"));
    effect_put_migration(builder, text("0001"), text("SQL"));
}

static void rows_are_read_in_captured_order_with_each_shape_once(void **state)
{
    (void)state;
    struct effect_builder builder = {0};
    put_example(&builder);
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct effect_reader reader;
    effect_reader_init(&reader, effect_builder_slice(&builder), &arena);

    struct effect_part part = next(&reader, EFFECT_SHAPE);
    assert_true(same(part.shape.table, text("public.orders")));
    part = next(&reader, EFFECT_ROWS);
    assert_int_equal(part.tag, EFFECT_INSERT);
    assert_int_equal(part.n_rows, 2);
    assert_true(same(part.rows[0].values[1], text("9.50")));
    assert_true(same(part.rows[1].values[0], text("2")));
    assert_null(part.rows[1].values[1].data);
    part = next(&reader, EFFECT_ROWS);
    assert_int_equal(part.tag, EFFECT_UPDATE);
    assert_true(same(part.rows[0].old_key[0], text("2")));
    part = next(&reader, EFFECT_SHAPE);
    assert_int_equal(part.shape_number, 1);
    assert_true(part.shape.row_by_row);
    part = next(&reader, EFFECT_ROWS);
    assert_int_equal(part.tag, EFFECT_DELETE);
    assert_true(same(part.rows[0].values[0], text("")));
    part = next(&reader, EFFECT_ROWS);
    assert_int_equal(part.shape_number, 0);
    assert_null(part.rows[0].old_key);
    part = next(&reader, EFFECT_SEQUENCES);
    assert_int_equal(part.n_sequences, 1);
    assert_true(part.sequences[0].value == -3 && part.sequences[0].is_called);
    part = next(&reader, EFFECT_DDL);
    assert_true(same(part.sql, text("CREATE TABLE t ()")));
    part = next(&reader, EFFECT_MIGRATION);
    assert_true(same(part.name, text("0001")) && same(part.sql, text("SQL")));
    assert_int_equal(effect_reader_next(&reader, &part), CC_NOT_FOUND);
    cc_arena_finish(&arena);
    effect_builder_finish(&builder);
}

static void a_cleared_builder_is_empty_and_starts_shapes_again(void **state)
{
    (void)state;
    struct effect_builder builder = {0};
    put_example(&builder);
    effect_builder_clear(&builder);
    assert_int_equal(effect_builder_slice(&builder).n, 0);
    put_order(&builder, EFFECT_INSERT, "1", "1", NULL);
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct effect_reader reader;
    effect_reader_init(&reader, effect_builder_slice(&builder), &arena);
    next(&reader, EFFECT_SHAPE);
    assert_int_equal(next(&reader, EFFECT_ROWS).n_rows, 1);
    cc_arena_finish(&arena);
    effect_builder_finish(&builder);
}

// Reads all parts. CC_NOT_FOUND at the end of whole effects.
static enum cc_status read_all(struct cc_slice effects)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct effect_reader reader;
    effect_reader_init(&reader, effects, &arena);
    struct effect_part part;
    enum cc_status status = CC_OK;
    while (status == CC_OK) {
        status = effect_reader_next(&reader, &part);
    }
    cc_arena_finish(&arena);
    return status;
}

static void effects_cut_inside_a_part_are_malformed(void **state)
{
    (void)state;
    struct effect_builder builder = {0};
    put_example(&builder);
    struct cc_slice effects = effect_builder_slice(&builder);
    unsigned n_whole = 0;
    for (size_t n = 0; n < effects.n; n++) {
        enum cc_status status = read_all(cc_slice_of(effects.data, n));
        assert_true(status == CC_MALFORMED || status == CC_NOT_FOUND);
        n_whole += status == CC_NOT_FOUND ? 1 : 0;
    }
    assert_int_equal(n_whole, 9); // nothing, and after each of the first eight of nine parts
    assert_int_equal(read_all(effects), CC_NOT_FOUND);
    effect_builder_finish(&builder);
}

static void rows_of_a_shape_that_was_not_given_are_malformed(void **state)
{
    (void)state;
    static const uint8_t rows_of_shape_0[] = {EFFECT_ROWS, 0, 'I', 1, 1};
    assert_int_equal(read_all(cc_slice_of(rows_of_shape_0, sizeof(rows_of_shape_0))), CC_MALFORMED);
}

static void an_entry_is_read_as_it_was_put(void **state)
{
    (void)state;
    struct entry_operation operations[2] = {{.outcome = text("o")}, {.key = text("k"), .outcome = text("p")}};
    memset(operations[1].id, 7, OPERATION_ID_BYTES);
    struct entry entry = {.base_index = 41,
                          .schema_version = 2,
                          .n_operations = 2,
                          .operations = operations,
                          .effects = text("effects")};
    struct cc_buffer bytes = {0};
    entry_put(&bytes, &entry);
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct entry again;
    assert_int_equal(entry_read(cc_buffer_slice(&bytes), &arena, &again), CC_OK);
    assert_int_equal(again.base_index, 41);
    assert_int_equal(again.schema_version, 2);
    assert_int_equal(again.n_operations, 2);
    assert_memory_equal(again.operations[1].id, operations[1].id, OPERATION_ID_BYTES);
    assert_null(again.operations[0].key.data);
    assert_true(same(again.operations[1].key, text("k")));
    assert_true(same(again.operations[1].outcome, text("p")));
    assert_true(same(again.effects, text("effects")));
    for (size_t n = 0; n < bytes.n; n++) {
        assert_int_equal(entry_read(cc_slice_of(bytes.data, n), &arena, &again), CC_MALFORMED);
    }
    cc_arena_finish(&arena);
    cc_buffer_finish(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_read_in_captured_order_with_each_shape_once),
        cmocka_unit_test(a_cleared_builder_is_empty_and_starts_shapes_again),
        cmocka_unit_test(effects_cut_inside_a_part_are_malformed),
        cmocka_unit_test(rows_of_a_shape_that_was_not_given_are_malformed),
        cmocka_unit_test(an_entry_is_read_as_it_was_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
