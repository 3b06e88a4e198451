// Change sets: bytes, numbering, joining.
#include "crdt/change.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cc_slice text(const char *characters)
{
    return cc_slice_text(characters);
}

static struct crdt_change_set example(void)
{
    static struct crdt_field first[2];
    static struct crdt_field second[2];
    static struct crdt_row_change rows[3];
    first[0] = (struct crdt_field){text("status"), text("busy"), text(""), {0}};
    first[1] = (struct crdt_field){text("seen_at"), text(NULL), text("yesterday"), {0}};
    second[0] = (struct crdt_field){text("status"), text("away"), text(NULL), {0}};
    second[1] = (struct crdt_field){text("seen_at"), text("now"), text(NULL), {0}};
    rows[0] = (struct crdt_row_change){CRDT_UPDATE, text("public.presence"), text("\x01""a"), first, 2};
    rows[1] = (struct crdt_row_change){CRDT_UPSERT, text("public.presence"), text("\x01""b"), second, 2};
    rows[2] = (struct crdt_row_change){CRDT_DELETE, text("public.presence"), text("\x01""c"), NULL, 0};
    return (struct crdt_change_set){.origin = {3, 2},
                                    .sequence = 17,
                                    .stamp = {.hlc = 99, .replica = 3, .incarnation = 2},
                                    .schema_version = 5,
                                    .principal = text(""),
                                    .request_key = text("key"),
                                    .rows = rows,
                                    .n_rows = 3};
}

static bool same_value(struct cc_slice a, struct cc_slice b)
{
    return (a.data == NULL) == (b.data == NULL) && cc_slice_equal(a, b);
}

static void assert_same_row(const struct crdt_row_change *a, const struct crdt_row_change *b)
{
    assert_int_equal(a->operation, b->operation);
    assert_true(cc_slice_equal(a->table, b->table));
    assert_true(cc_slice_equal(a->key, b->key));
    assert_int_equal(a->n_fields, b->n_fields);
    for (uint32_t i = 0; i < a->n_fields; i++) {
        assert_true(cc_slice_equal(a->fields[i].column, b->fields[i].column));
        assert_true(same_value(a->fields[i].value, b->fields[i].value));
        assert_true(same_value(a->fields[i].old_value, b->fields[i].old_value));
    }
}

static void a_set_is_read_as_it_was_put(void **state)
{
    (void)state;
    struct crdt_change_set set = example();
    struct cc_buffer bytes = {0};
    crdt_change_set_put(&bytes, &set);
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct crdt_change_set again;
    assert_int_equal(crdt_change_set_read(cc_buffer_slice(&bytes), &arena, &again), CC_OK);
    assert_int_equal(crdt_origin_compare(again.origin, set.origin), 0);
    assert_int_equal(again.sequence, 17);
    assert_int_equal(again.schema_version, 5);
    assert_int_equal(clock_stamp_compare(&again.stamp, &set.stamp), 0);
    assert_true(same_value(again.principal, text("")));
    assert_true(same_value(again.request_key, text("key")));
    assert_null(again.fingerprint.data);
    assert_null(again.outcome.data);
    assert_false(crdt_change_set_saw(&again, (struct crdt_origin){7, 1}, 1)); // did not tell
    assert_true(crdt_change_set_saw(&again, again.origin, 16));
    assert_int_equal(again.n_rows, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_same_row(&again.rows[i], &set.rows[i]);
    }
    cc_arena_finish(&arena);
    cc_buffer_finish(&bytes);
}

static void a_set_tells_what_its_writer_had_seen(void **state)
{
    (void)state;
    struct crdt_frontier seen = {0};
    assert_int_equal(crdt_frontier_raise(&seen, (struct crdt_origin){7, 1}, 5), CC_OK);
    struct cc_buffer frontier = {0};
    crdt_frontier_put(&frontier, &seen);
    struct crdt_change_set set = example();
    set.seen = cc_buffer_slice(&frontier);
    struct cc_buffer bytes = {0};
    crdt_change_set_put(&bytes, &set);
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct crdt_change_set again;
    assert_int_equal(crdt_change_set_read(cc_buffer_slice(&bytes), &arena, &again), CC_OK);
    assert_true(crdt_change_set_saw(&again, (struct crdt_origin){7, 1}, 5));
    assert_false(crdt_change_set_saw(&again, (struct crdt_origin){7, 1}, 6));
    assert_false(crdt_change_set_saw(&again, (struct crdt_origin){7, 2}, 1));
    // Without the frontier and with version 1 it is a set as they were made before.
    cc_buffer_clear(&bytes);
    set.seen = (struct cc_slice){0};
    crdt_change_set_put(&bytes, &set);
    enum { SEEN_OFFSET = 1 + 4 + 4 + 8 + 8 + 4 };
    memmove(bytes.data + SEEN_OFFSET, bytes.data + SEEN_OFFSET + 1, bytes.n - SEEN_OFFSET - 1);
    bytes.data[0] = 1;
    bytes.n--;
    assert_int_equal(crdt_change_set_read(cc_buffer_slice(&bytes), &arena, &again), CC_OK);
    assert_int_equal(again.n_rows, 3);
    cc_arena_finish(&arena);
    cc_buffer_finish(&bytes);
    cc_buffer_finish(&frontier);
}

static void rows_of_one_shape_name_their_columns_once(void **state)
{
    (void)state;
    struct crdt_change_set set = example();
    struct cc_buffer two = {0};
    struct cc_buffer one = {0};
    set.n_rows = 1;
    crdt_change_set_put(&one, &set);
    set.n_rows = 2;
    crdt_change_set_put(&two, &set);
    assert_true(two.n - one.n < strlen("public.presence") + strlen("status") + strlen("seen_at"));
    cc_buffer_finish(&one);
    cc_buffer_finish(&two);
}

static void an_encoded_set_can_be_numbered_and_peeked(void **state)
{
    (void)state;
    struct crdt_change_set set = example();
    set.sequence = 0;
    struct cc_buffer bytes = {0};
    crdt_change_set_put(&bytes, &set);
    crdt_change_set_number(bytes.data, bytes.n, UINT64_C(0x0102030405060708));
    struct crdt_change_set peeked;
    assert_int_equal(crdt_change_set_peek(cc_buffer_slice(&bytes), &peeked), CC_OK);
    assert_true(peeked.sequence == UINT64_C(0x0102030405060708));
    assert_int_equal(peeked.stamp.hlc, 99);
    assert_int_equal(peeked.stamp.replica, 3);
    assert_int_equal(peeked.origin.incarnation, 2);
    assert_int_equal(peeked.schema_version, 5);
    cc_buffer_finish(&bytes);
}

static void a_set_cut_anywhere_is_malformed(void **state)
{
    (void)state;
    struct crdt_change_set set = example();
    struct cc_buffer bytes = {0};
    crdt_change_set_put(&bytes, &set);
    for (size_t n = 0; n < bytes.n; n++) {
        uint8_t *cut = malloc(n + 1);
        assert_non_null(cut);
        memcpy(cut, bytes.data, n);
        struct cc_arena arena;
        cc_arena_init(&arena);
        assert_int_equal(crdt_change_set_read(cc_slice_of(cut, n), &arena, &set), CC_MALFORMED);
        cc_arena_finish(&arena);
        free(cut);
    }
    cc_buffer_finish(&bytes);
}

static void a_key_is_the_texts_of_its_columns(void **state)
{
    (void)state;
    struct cc_slice values[3] = {text("a"), text(""), text("c c")};
    struct cc_buffer key = {0};
    crdt_key_put(&key, values, 3);
    struct cc_slice again[3];
    size_t n = 0;
    assert_int_equal(crdt_key_read(cc_buffer_slice(&key), again, 3, &n), CC_OK);
    assert_int_equal(n, 3);
    assert_true(cc_slice_equal(again[2], values[2]));
    assert_int_equal(crdt_key_read(cc_buffer_slice(&key), again, 2, &n), CC_TOO_LARGE);
    assert_int_equal(crdt_key_read(cc_slice_of(key.data, key.n - 1), again, 3, &n), CC_MALFORMED);
    assert_int_equal(crdt_key_read(cc_slice_of(key.data, 0), again, 3, &n), CC_MALFORMED);
    cc_buffer_finish(&key);
}

// -- Joining --------------------------------------------------------------------------------------------------------

struct step {
    enum crdt_operation operation;
    const char *column; // NULL: no fields
    const char *value;
};

static struct crdt_row_change row_of(const struct step *step, struct crdt_field *field)
{
    *field = (struct crdt_field){text(step->column), text(step->value), text("before"), {0}};
    return (struct crdt_row_change){step->operation, text("public.t"), text("\x01k"), field, step->column == NULL ? 0 : 1};
}

static struct crdt_row_change join(struct cc_arena *arena, const struct step *steps, size_t n)
{
    struct crdt_change_set set = {.n_rows = (uint32_t)n};
    set.rows = cc_arena_array(arena, n, sizeof(*set.rows));
    for (size_t i = 0; i < n; i++) {
        set.rows[i] = row_of(&steps[i], cc_arena_alloc(arena, sizeof(struct crdt_field)));
    }
    crdt_change_set_join(&set, arena);
    assert_int_equal(set.n_rows, 1);
    return set.rows[0];
}

static void joining_gives_what_the_statements_amount_to(void **state)
{
    (void)state;
    static const struct {
        struct step steps[3];
        size_t n_steps;
        enum crdt_operation operation;
        uint32_t n_fields;
        const char *last_value;
    } cases[] = {
        {{{CRDT_INSERT, "a", "1"}, {CRDT_UPDATE, "a", "2"}}, 2, CRDT_INSERT, 1, "2"},
        {{{CRDT_INSERT, "a", "1"}, {CRDT_UPSERT, "b", "2"}}, 2, CRDT_INSERT, 2, "2"},
        {{{CRDT_INSERT, "a", "1"}, {CRDT_DELETE, NULL, NULL}}, 2, CRDT_DELETE, 0, NULL},
        {{{CRDT_UPDATE, "a", "9"}, {CRDT_UPDATE, "a", "3"}}, 2, CRDT_UPDATE, 1, "3"},
        {{{CRDT_UPDATE, "a", "9"}, {CRDT_UPSERT, "b", "3"}}, 2, CRDT_UPSERT, 2, "3"},
        {{{CRDT_UPDATE, "a", "9"}, {CRDT_DELETE, NULL, NULL}}, 2, CRDT_DELETE, 0, NULL},
        {{{CRDT_UPSERT, "a", "9"}, {CRDT_UPDATE, "a", "4"}}, 2, CRDT_UPSERT, 1, "4"},
        {{{CRDT_UPDATE, "a", "9"}, {CRDT_DELETE, NULL, NULL}, {CRDT_INSERT, "b", "5"}}, 3, CRDT_INSERT, 1, "5"},
        {{{CRDT_DELETE, NULL, NULL}, {CRDT_INSERT, "b", "5"}, {CRDT_DELETE, NULL, NULL}}, 3, CRDT_DELETE, 0, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cc_arena arena;
        cc_arena_init(&arena);
        struct crdt_row_change row = join(&arena, cases[i].steps, cases[i].n_steps);
        assert_int_equal(row.operation, cases[i].operation);
        assert_int_equal(row.n_fields, cases[i].n_fields);
        if (row.n_fields > 0) {
            assert_true(cc_slice_equal_text(row.fields[row.n_fields - 1].value, cases[i].last_value));
            assert_true(cc_slice_equal_text(row.fields[0].old_value, "before"));
        }
        cc_arena_finish(&arena);
    }
}

static void joining_leaves_other_rows_alone_and_in_order(void **state)
{
    (void)state;
    enum { N = 100 };
    struct crdt_row_change rows[2 * N];
    char keys[N][3];
    for (uint32_t i = 0; i < 2 * N; i++) {
        keys[i % N][0] = 2;
        keys[i % N][1] = (char)('0' + i % N / 10);
        keys[i % N][2] = (char)('0' + i % 10);
        rows[i] = (struct crdt_row_change){.operation = i < N ? CRDT_INSERT : CRDT_DELETE,
                                           .table = text(i % 2 == 0 ? "public.even" : "public.odd"),
                                           .key = cc_slice_of(keys[i % N], 3)};
    }
    struct crdt_change_set set = {.rows = rows, .n_rows = N};
    struct cc_arena arena;
    cc_arena_init(&arena);
    crdt_change_set_join(&set, &arena);
    assert_int_equal(set.n_rows, N);
    set.n_rows = 2 * N;
    crdt_change_set_join(&set, &arena);
    assert_int_equal(set.n_rows, N);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(set.rows[i].operation, CRDT_DELETE);
        assert_memory_equal(set.rows[i].key.data, keys[i], 3);
    }
    cc_arena_finish(&arena);
}

static struct cc_slice bytes_of_hex(struct cc_arena *arena, const char *hex)
{
    size_t n = strlen(hex) / 2;
    uint8_t *bytes = cc_arena_alloc(arena, n);
    for (size_t i = 0; i < n; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (uint8_t)byte;
    }
    return cc_slice_of(bytes, n);
}

// Histories and peers of older programs hold these bytes: they stay readable.
static void sets_of_released_versions_are_read(void **state)
{
    (void)state;
    static const char version_2[] =
        "82020000000100000007000000000000002c010000000000000400000000000000000202087075626c69632e74010673746174757302016b036f6e04"
        "6f666604087075626c69632e7400020171";
    static const char version_3[] =
        "030100000001000000020000000000000066000000000000000000000000000000000243087075626c69632e740406737461747573046e616d650576"
        "69657773047461677302016b036f6e0000026e000004372e3500100130014d0000000000000003322e350a7b622c22632064227d0021010363206466"
        "000000000000000101610200000001000000650000000000000004087075626c69632e7400020171";
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct crdt_change_set set;
    assert_int_equal(crdt_change_set_read(bytes_of_hex(&arena, version_2), &arena, &set), CC_OK);
    assert_int_equal(set.sequence, 7);
    assert_true(set.durable);
    assert_int_equal(set.n_rows, 2);
    assert_true(cc_slice_equal_text(set.rows[0].fields[0].old_value, "off"));
    assert_null(set.rows[0].fields[0].part.data);
    struct cc_buffer again = {0};
    crdt_change_set_put(&again, &set); // without parts still as before
    assert_true(cc_slice_equal(cc_buffer_slice(&again), bytes_of_hex(&arena, version_2)));
    assert_int_equal(crdt_change_set_read(bytes_of_hex(&arena, version_3), &arena, &set), CC_OK);
    assert_int_equal(set.sequence, 2);
    assert_int_equal(set.rows[0].n_fields, 4);
    assert_true(cc_slice_equal_text(set.rows[0].fields[2].column, "views"));
    assert_true(cc_slice_equal_text(set.rows[0].fields[2].value, "7.5"));
    assert_int_equal(set.rows[0].fields[2].part.n, 15);
    assert_null(set.rows[0].fields[0].part.data);
    cc_buffer_clear(&again);
    crdt_change_set_put(&again, &set);
    assert_true(cc_slice_equal(cc_buffer_slice(&again), bytes_of_hex(&arena, version_3)));
    cc_buffer_finish(&again);
    cc_arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_is_read_as_it_was_put),
        cmocka_unit_test(a_set_tells_what_its_writer_had_seen),
        cmocka_unit_test(rows_of_one_shape_name_their_columns_once),
        cmocka_unit_test(sets_of_released_versions_are_read),
        cmocka_unit_test(an_encoded_set_can_be_numbered_and_peeked),
        cmocka_unit_test(a_set_cut_anywhere_is_malformed),
        cmocka_unit_test(a_key_is_the_texts_of_its_columns),
        cmocka_unit_test(joining_gives_what_the_statements_amount_to),
        cmocka_unit_test(joining_leaves_other_rows_alone_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
