// The row merge: examples by name, then its algebra over permutations, duplications and random changes; then stored forms.
#include "base/prng.h"
#include "crdt/row.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N_COLUMNS = 5, ID = 0, STATUS = 1, SEEN = 2, NAME = 3, COUNT = 4, FIELDS_MAX = 4 };

// name is NOT NULL without a default; count has the default 0.
static struct crdt_column columns[N_COLUMNS];

static struct cc_slice text(const char *characters)
{
    return cc_slice_text(characters);
}

static int set_up_columns(void **state)
{
    (void)state;
    columns[ID] = (struct crdt_column){.name = text("id"), .key = true};
    columns[STATUS] = (struct crdt_column){.name = text("status")};
    columns[SEEN] = (struct crdt_column){.name = text("seen")};
    columns[NAME] = (struct crdt_column){.name = text("name"), .sticky = true};
    columns[COUNT] = (struct crdt_column){.name = text("count"), .cleared = text("0")};
    return 0;
}

struct case_row {
    struct crdt_row row;
    struct crdt_register registers[N_COLUMNS];
};

static void init(struct case_row *row)
{
    crdt_row_init(&row->row, columns, N_COLUMNS, row->registers, NULL);
}

static struct clock_stamp stamp_of(uint64_t hlc)
{
    return (struct clock_stamp){.hlc = hlc, .replica = 1, .incarnation = 1};
}

struct write { // a change with its own fields
    enum crdt_operation operation;
    struct clock_stamp stamp;
    uint32_t n_fields;
    struct crdt_field fields[FIELDS_MAX];
};

static struct crdt_outcome merge(struct case_row *row, struct write write)
{
    struct crdt_row_change change = {.operation = write.operation, .fields = write.fields, .n_fields = write.n_fields};
    return crdt_row_merge(&row->row, &change, &write.stamp);
}

static struct write insert(uint64_t hlc, const char *status, const char *name)
{
    return (struct write){CRDT_INSERT,
                          stamp_of(hlc),
                          4,
                          {{text("status"), text(status), {0}, {0}},
                           {text("seen"), text(NULL), {0}, {0}},
                           {text("name"), text(name), {0}, {0}},
                           {text("count"), text("1"), {0}, {0}}}};
}

static struct write set(enum crdt_operation operation, uint64_t hlc, const char *column, const char *value)
{
    return (struct write){operation, stamp_of(hlc), 1, {{text(column), text(value), {0}, {0}}}};
}

static struct write delete_at(uint64_t hlc)
{
    return (struct write){.operation = CRDT_DELETE, .stamp = stamp_of(hlc)};
}

static void assert_shows(const struct case_row *row, uint32_t column, const char *value)
{
    assert_true(crdt_row_is_visible(&row->row));
    struct cc_slice shown = row->registers[column].value;
    assert_int_equal(shown.data == NULL, value == NULL);
    assert_true(cc_slice_equal_text(shown, value));
}

static bool equal(const struct case_row *a, const struct case_row *b)
{
    if (clock_stamp_compare(&a->row.life, &b->row.life) != 0 || clock_stamp_compare(&a->row.death, &b->row.death) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < N_COLUMNS; i++) {
        const struct crdt_register *left = &a->registers[i];
        const struct crdt_register *right = &b->registers[i];
        bool same_value =
            (left->value.data == NULL) == (right->value.data == NULL) && cc_slice_equal(left->value, right->value);
        if (!same_value || clock_stamp_compare(&left->stamp, &right->stamp) != 0) {
            return false;
        }
    }
    return true;
}

// -- Examples -------------------------------------------------------------------------------------------------------

static void each_field_goes_to_the_write_with_the_greatest_stamp(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(10, "free", "ann"));
    merge(&row, set(CRDT_UPDATE, 30, "status", "busy"));
    struct crdt_outcome late = merge(&row, set(CRDT_UPDATE, 20, "status", "away"));
    struct crdt_outcome other = merge(&row, set(CRDT_UPDATE, 20, "seen", "noon"));
    assert_shows(&row, STATUS, "busy");
    assert_shows(&row, SEEN, "noon");
    assert_int_equal(late.n_lost, 1);
    assert_false(late.changed);
    assert_int_equal(other.n_won, 1);
    assert_true(other.changed);
}

static void a_deleted_row_is_gone_and_an_older_update_does_not_bring_it_back(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(10, "free", "ann"));
    merge(&row, delete_at(20));
    assert_false(crdt_row_is_visible(&row.row));
    struct crdt_outcome outcome = merge(&row, set(CRDT_UPDATE, 15, "status", "busy"));
    assert_false(crdt_row_is_visible(&row.row));
    assert_false(outcome.changed);
    assert_int_equal(outcome.n_lost, 1);
}

static void a_newer_update_does_not_bring_a_deleted_row_back_but_is_kept_for_its_revival(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(10, "free", "ann"));
    merge(&row, delete_at(20));
    merge(&row, set(CRDT_UPDATE, 30, "status", "busy"));
    assert_false(crdt_row_is_visible(&row.row));
    merge(&row, set(CRDT_UPSERT, 25, "seen", "noon"));
    assert_shows(&row, STATUS, "busy");
    assert_shows(&row, SEEN, "noon");
}

static void a_later_insert_revives_the_row_with_only_later_values(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(10, "free", "ann"));
    merge(&row, set(CRDT_UPDATE, 15, "count", "7"));
    merge(&row, delete_at(20));
    merge(&row, set(CRDT_UPSERT, 30, "seen", "noon"));
    assert_shows(&row, STATUS, NULL);
    assert_shows(&row, COUNT, "0");
    assert_shows(&row, SEEN, "noon");
}

static void a_sticky_column_keeps_its_value_over_a_delete(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(10, "free", "ann"));
    merge(&row, delete_at(20));
    merge(&row, set(CRDT_UPSERT, 30, "status", "busy"));
    assert_shows(&row, NAME, "ann");
}

static void an_upsert_that_arrives_before_the_insert_waits_for_the_sticky_value(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, set(CRDT_UPSERT, 20, "status", "busy"));
    assert_false(crdt_row_is_visible(&row.row));
    merge(&row, insert(10, "free", "ann"));
    assert_shows(&row, NAME, "ann");
    assert_shows(&row, STATUS, "busy");
}

static void a_delete_that_arrives_before_the_insert_wins_if_it_is_later(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, delete_at(20));
    merge(&row, insert(10, "free", "ann"));
    assert_false(crdt_row_is_visible(&row.row));
    merge(&row, insert(21, "free", "bob"));
    assert_shows(&row, NAME, "bob");
}

static void a_delete_older_than_the_insert_changes_no_field(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(10, "free", "ann"));
    merge(&row, delete_at(5));
    assert_shows(&row, STATUS, "free");
    assert_shows(&row, COUNT, "1");
}

static void a_write_under_the_stamp_of_the_delete_loses_to_it(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(20, "free", "ann"));
    merge(&row, delete_at(20));
    assert_false(crdt_row_is_visible(&row.row));
}

static void unknown_and_key_columns_are_ignored_and_count_as_lost(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(10, "free", "ann"));
    struct crdt_outcome unknown = merge(&row, set(CRDT_UPDATE, 20, "dropped", "x"));
    struct crdt_outcome key = merge(&row, set(CRDT_UPDATE, 20, "id", "x"));
    assert_false(unknown.changed || key.changed);
    assert_int_equal(unknown.n_lost + key.n_lost, 2);
}

static void a_row_from_before_the_table_became_weak_lives_and_loses_to_any_write(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    assert_int_equal(crdt_stamps_read((struct cc_slice){0}, &row.row), CC_OK);
    row.registers[STATUS].value = text("old");
    row.registers[NAME].value = text("ann");
    assert_shows(&row, STATUS, "old");
    merge(&row, set(CRDT_UPDATE, 2, "status", "new"));
    assert_shows(&row, STATUS, "new");
    merge(&row, delete_at(3));
    assert_false(crdt_row_is_visible(&row.row));
}

// -- Algebra --------------------------------------------------------------------------------------------------------

static const char *const values[] = {NULL, "", "a", "b", "ab"};

// Few stamps, columns and values, so that everything collides with everything.
static struct write random_write(struct cc_prng *prng, uint64_t n_stamps)
{
    static const enum crdt_operation operations[] = {CRDT_INSERT, CRDT_UPDATE, CRDT_UPSERT, CRDT_DELETE};
    struct write write = {.operation = operations[cc_prng_below(prng, 4)]};
    write.stamp.hlc = cc_prng_between(prng, 1, n_stamps);
    write.stamp.replica = (uint32_t)cc_prng_between(prng, 1, 2);
    write.stamp.incarnation = 1;
    if (write.operation == CRDT_DELETE) {
        return write;
    }
    for (uint32_t column = STATUS; column < N_COLUMNS; column++) {
        if (write.operation == CRDT_INSERT || cc_prng_below(prng, 2) == 0) {
            write.fields[write.n_fields].column = columns[column].name;
            write.fields[write.n_fields++].value = text(values[cc_prng_below(prng, 5)]);
        }
    }
    return write;
}

static void merge_in_order(struct case_row *row, const struct write *writes, const uint32_t *order, uint32_t n)
{
    init(row);
    for (uint32_t i = 0; i < n; i++) {
        merge(row, writes[order[i]]);
    }
}

// Heap's algorithm; returns the number of orders tried.
static uint32_t check_all_orders(const struct write *writes, uint32_t *order, uint32_t n_fixed, uint32_t n,
                                 const struct case_row *expected)
{
    if (n_fixed == 1) {
        struct case_row row;
        merge_in_order(&row, writes, order, n);
        assert_true(equal(&row, expected));
        return 1;
    }
    uint32_t n_tried = 0;
    for (uint32_t i = 0; i < n_fixed; i++) {
        n_tried += check_all_orders(writes, order, n_fixed - 1, n, expected);
        uint32_t other = n_fixed % 2 == 0 ? i : 0;
        uint32_t swapped = order[other];
        order[other] = order[n_fixed - 1];
        order[n_fixed - 1] = swapped;
    }
    return n_tried;
}

// As a repair finds them: what somebody wrote past Caucus into fields that have no stamp.
static void joined(struct case_row *row, const char *count, const struct case_row *other, const char *others_count, const char *expected)
{
    struct case_row a = *row, b = *other;
    a.row.registers = a.registers;
    b.row.registers = b.registers;
    a.registers[COUNT].value = text(count);
    b.registers[COUNT].value = text(others_count);
    assert_int_equal(crdt_row_join(&a.row, &b.row), strcmp(count, expected) != 0 || !clock_stamp_is_zero(&b.row.death));
    assert_true(cc_slice_equal(a.registers[COUNT].value, text(expected)));
    assert_true(clock_stamp_is_zero(&a.registers[COUNT].stamp));
    assert_false(crdt_row_join(&a.row, &b.row));
}

static void values_without_stamps_become_equal(void **state)
{
    (void)state;
    struct case_row old, deleted;
    init(&old);
    init(&deleted);
    old.registers[NAME].value = deleted.registers[NAME].value = text("Ann");
    (void)merge(&old, set(CRDT_UPSERT, 20, "status", "on"));
    deleted = old;
    deleted.row.registers = deleted.registers;
    // Nobody knows of a deletion: a value wins over the default, then the greater one.
    joined(&old, "7", &old, "0", "7");
    joined(&old, "0", &old, "7", "7");
    joined(&old, "7", &old, "-1", "7");
    joined(&old, "-1", &old, "0", "-1");
    assert_true(crdt_row_may_have_died(&old.row));
    // A deletion cleared the field.
    (void)merge(&deleted, delete_at(10));
    assert_true(crdt_row_is_visible(&deleted.row));
    assert_false(crdt_row_may_have_died(&deleted.row));
    joined(&old, "7", &deleted, "0", "0");
    struct case_row a = deleted, b = deleted;
    a.row.registers = a.registers;
    b.row.registers = b.registers;
    a.registers[COUNT].value = text("7");
    assert_false(crdt_row_join(&b.row, &a.row));
    assert_true(crdt_row_join(&a.row, &b.row));
    assert_true(cc_slice_equal(a.registers[COUNT].value, text("0")));
    // Who does not know the row gets what it held before its table became weak, and is asked for nothing.
    struct case_row unknown;
    init(&unknown);
    struct crdt_register *held = &old.registers[COUNT];
    held->value = text("5");
    assert_true(crdt_row_join(&unknown.row, &old.row));
    assert_true(cc_slice_equal(unknown.registers[COUNT].value, text("5")));
    assert_false(crdt_row_join(&old.row, &unknown.row));
}

static void any_order_of_a_few_changes_gives_one_row(void **state)
{
    (void)state;
    enum { N = 6, ROUNDS = 300 };
    struct cc_prng prng;
    cc_prng_seed(&prng, 1);
    for (int round = 0; round < ROUNDS; round++) {
        struct write writes[N];
        uint32_t order[N];
        for (uint32_t i = 0; i < N; i++) {
            writes[i] = random_write(&prng, 4);
            order[i] = i;
        }
        struct case_row expected;
        merge_in_order(&expected, writes, order, N);
        assert_int_equal(check_all_orders(writes, order, N, N, &expected), 720);
    }
}

// Every order of six changes under one stamp, each followed by every subset of them a second time.
static void equal_stamps_give_one_row_in_every_order_and_duplication(void **state)
{
    (void)state;
    enum { N = 6, ROUNDS = 4 };
    struct cc_prng prng;
    cc_prng_seed(&prng, 2);
    for (int round = 0; round < ROUNDS; round++) {
        struct write writes[2 * N];
        uint32_t order[2 * N];
        for (uint32_t i = 0; i < N; i++) {
            writes[i] = random_write(&prng, 1);
            writes[i].stamp.replica = 1;
            order[i] = i;
        }
        struct case_row expected;
        merge_in_order(&expected, writes, order, N);
        for (uint32_t subset = 0; subset < 1u << N; subset++) {
            uint32_t n = N;
            for (uint32_t i = 0; i < N; i++) {
                order[i] = i;
                if ((subset >> i & 1) != 0) {
                    writes[n] = writes[i];
                    order[n] = n;
                    n++;
                }
            }
            assert_int_equal(check_all_orders(writes, order, N, n, &expected), 720);
        }
    }
}

static void random_changes_in_random_order_with_duplicates_give_one_row(void **state)
{
    (void)state;
    enum { N = 12, TWICE = 2 * N, ROUNDS = 40000 }; // about 10^6 merges
    struct cc_prng prng;
    cc_prng_seed(&prng, 3);
    for (int round = 0; round < ROUNDS; round++) {
        struct write writes[N];
        uint32_t order[TWICE];
        for (uint32_t i = 0; i < N; i++) {
            writes[i] = random_write(&prng, 6);
            order[i] = i;
            order[N + i] = (uint32_t)cc_prng_below(&prng, N);
        }
        struct case_row expected;
        merge_in_order(&expected, writes, order, N);
        for (uint32_t i = TWICE - 1; i > 0; i--) {
            uint32_t other = (uint32_t)cc_prng_below(&prng, i + 1);
            uint32_t swapped = order[i];
            order[i] = order[other];
            order[other] = swapped;
        }
        struct case_row row;
        merge_in_order(&row, writes, order, TWICE);
        assert_true(equal(&row, &expected));
    }
}

static void a_change_that_is_held_already_changes_nothing(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 4);
    for (int round = 0; round < 100000; round++) {
        struct case_row row;
        init(&row);
        struct write writes[3];
        for (uint32_t i = 0; i < 3; i++) {
            writes[i] = random_write(&prng, 4);
            merge(&row, writes[i]);
        }
        assert_false(merge(&row, writes[round % 3]).changed);
    }
}

// -- Stored forms ---------------------------------------------------------------------------------------------------

static void reload(struct case_row *row, struct cc_buffer *scratch)
{
    struct case_row again;
    init(&again);
    cc_buffer_clear(scratch);
    if (crdt_row_is_visible(&row->row)) {
        crdt_stamps_put(scratch, &row->row);
        for (uint32_t i = 0; i < N_COLUMNS; i++) {
            again.registers[i].value = row->registers[i].value;
        }
        assert_int_equal(crdt_stamps_read(cc_buffer_slice(scratch), &again.row), CC_OK);
    } else {
        crdt_remains_put(scratch, &row->row);
        assert_int_equal(crdt_remains_read(cc_buffer_slice(scratch), &again.row), CC_OK);
    }
    again.row.death = row->row.death;
    assert_true(equal(row, &again));
}

static void a_row_is_read_back_from_what_is_stored_of_it(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 5);
    struct cc_buffer scratch = {0};
    for (int round = 0; round < 50000; round++) {
        struct case_row row;
        init(&row);
        for (uint64_t n = cc_prng_below(&prng, 6); n > 0; n--) {
            merge(&row, random_write(&prng, 8));
        }
        reload(&row, &scratch);
    }
    cc_buffer_finish(&scratch);
}

static void an_insert_is_stored_as_one_stamp(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(10, "free", "ann"));
    struct cc_buffer out = {0};
    crdt_stamps_put(&out, &row.row);
    assert_string_equal(cc_buffer_text(&out), "{\"\": \"000000000000000a.1.1\"}");
    cc_buffer_clear(&out);
    merge(&row, set(CRDT_UPSERT, 11, "status", "x"));
    crdt_stamps_put(&out, &row.row);
    assert_string_equal(cc_buffer_text(&out),
                        "{\"\": \"000000000000000a.1.1\", \"+\": \"000000000000000b.1.1\", \"status\": \"000000000000000b.1.1\"}");
    cc_buffer_finish(&out);
}

static void stamps_written_by_sql_are_understood(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    // Members in any order: PostgreSQL sorts jsonb keys by length, then bytes.
    const char *json = " { \"count\" : \"0000000000000003.1.1\",\"\":\"0000000000000001.2.1\", \"gone\": \"0000000000000009.1.1\" } ";
    assert_int_equal(crdt_stamps_read(text(json), &row.row), CC_OK);
    assert_int_equal(row.row.life.hlc, 1);
    assert_int_equal(row.row.life.replica, 2);
    assert_int_equal(row.registers[COUNT].stamp.hlc, 3);
    assert_int_equal(row.registers[STATUS].stamp.hlc, 1);
    assert_true(clock_stamp_is_zero(&row.registers[ID].stamp));

    init(&row);
    assert_int_equal(crdt_stamps_read(text("{}"), &row.row), CC_OK);
    assert_int_equal(row.row.life.hlc, 1);
    assert_true(clock_stamp_is_zero(&row.registers[STATUS].stamp));
}

static void column_names_are_escaped_as_json(void **state)
{
    (void)state;
    struct crdt_column strange[2] = {{.name = text("a\"\\\n\xc3\xa4\xf0\x9f\x90\x98")}, {.name = text("plain")}};
    struct crdt_register registers[2];
    struct crdt_row row;
    crdt_row_init(&row, strange, 2, registers, NULL);
    row.life = stamp_of(5);
    registers[0].stamp = stamp_of(6);
    registers[1].stamp = stamp_of(5);
    struct cc_buffer out = {0};
    crdt_stamps_put(&out, &row);
    crdt_row_init(&row, strange, 2, registers, NULL);
    assert_int_equal(crdt_stamps_read(cc_buffer_slice(&out), &row), CC_OK);
    assert_int_equal(registers[0].stamp.hlc, 6);
    const char *escaped = "{\"\":\"0000000000000005.1.1\",\"a\\\"\\\\\\n\\u00e4\\ud83d\\udc18\":\"0000000000000007.1.1\"}";
    assert_int_equal(crdt_stamps_read(text(escaped), &row), CC_OK);
    assert_int_equal(registers[0].stamp.hlc, 7);
    cc_buffer_finish(&out);
}

static void stamps_that_are_not_an_object_of_stamps_are_malformed(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "{",
        "[]",
        "null",
        "{}x",
        "{\"a\"}",
        "{\"a\":1}",
        "{\"a\":\"\"}",
        "{\"a\":\"0000000000000005.1\"}",
        "{\"a\":\"0000000000000000.0.0\"}",
        "{\"a\":\"0000000000000005.1.1\",}",
        "{\"a\":\"0000000000000005.1.1\" \"b\":\"0000000000000005.1.1\"}",
        "{\"\\ud800\":\"0000000000000005.1.1\"}",
        "{\"\\udc00\":\"0000000000000005.1.1\"}",
        "{\"\\u0000\":\"0000000000000005.1.1\"}",
        "{\"\\x\":\"0000000000000005.1.1\"}",
        "{\"a\n\":\"0000000000000005.1.1\"}",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct case_row row;
        init(&row);
        assert_int_equal(crdt_stamps_read(text(cases[i]), &row.row), CC_MALFORMED);
        assert_true(clock_stamp_is_zero(&row.row.life));
    }
}

static void remains_cut_anywhere_are_malformed_and_set_nothing(void **state)
{
    (void)state;
    struct case_row row;
    init(&row);
    merge(&row, insert(10, "free", "ann"));
    struct cc_buffer bytes = {0};
    crdt_remains_put(&bytes, &row.row);
    for (size_t n = 0; n < bytes.n; n++) {
        struct case_row again;
        struct case_row untouched;
        init(&again);
        init(&untouched);
        assert_int_equal(crdt_remains_read(cc_slice_of(bytes.data, n), &again.row), CC_MALFORMED);
        assert_true(equal(&again, &untouched));
    }
    cc_buffer_finish(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_goes_to_the_write_with_the_greatest_stamp),
        cmocka_unit_test(a_deleted_row_is_gone_and_an_older_update_does_not_bring_it_back),
        cmocka_unit_test(a_newer_update_does_not_bring_a_deleted_row_back_but_is_kept_for_its_revival),
        cmocka_unit_test(a_later_insert_revives_the_row_with_only_later_values),
        cmocka_unit_test(a_sticky_column_keeps_its_value_over_a_delete),
        cmocka_unit_test(an_upsert_that_arrives_before_the_insert_waits_for_the_sticky_value),
        cmocka_unit_test(a_delete_that_arrives_before_the_insert_wins_if_it_is_later),
        cmocka_unit_test(a_delete_older_than_the_insert_changes_no_field),
        cmocka_unit_test(a_write_under_the_stamp_of_the_delete_loses_to_it),
        cmocka_unit_test(unknown_and_key_columns_are_ignored_and_count_as_lost),
        cmocka_unit_test(a_row_from_before_the_table_became_weak_lives_and_loses_to_any_write),
        cmocka_unit_test(values_without_stamps_become_equal),
        cmocka_unit_test(any_order_of_a_few_changes_gives_one_row),
        cmocka_unit_test(equal_stamps_give_one_row_in_every_order_and_duplication),
        cmocka_unit_test(random_changes_in_random_order_with_duplicates_give_one_row),
        cmocka_unit_test(a_change_that_is_held_already_changes_nothing),
        cmocka_unit_test(a_row_is_read_back_from_what_is_stored_of_it),
        cmocka_unit_test(an_insert_is_stored_as_one_stamp),
        cmocka_unit_test(stamps_written_by_sql_are_understood),
        cmocka_unit_test(column_names_are_escaped_as_json),
        cmocka_unit_test(stamps_that_are_not_an_object_of_stamps_are_malformed),
        cmocka_unit_test(remains_cut_anywhere_are_malformed_and_set_nothing),
    };
    return cmocka_run_group_tests(tests, set_up_columns, NULL);
}
