// Histories tell which write won, and why.
#include "crdt/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SETS_MAX = 8 };

struct fixture {
    struct cc_arena arena;
    struct crdt_change_set sets[SETS_MAX];
    size_t n;
};

static struct cc_slice text(const char *s)
{
    return cc_slice_text(s);
}

// A write of replica `replica` with its sequence, at time `hlc`, that held `seen` sets of replica `of`.
static void write_field(struct fixture *fixture, uint32_t replica, uint64_t sequence, uint64_t hlc, enum crdt_operation operation,
                        const char *column, const char *value, uint32_t of, uint64_t seen)
{
    struct crdt_change_set *set = &fixture->sets[fixture->n++];
    struct crdt_frontier frontier = {0};
    assert_int_equal(crdt_frontier_raise(&frontier, (struct crdt_origin){of, 1}, seen), CC_OK);
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, &frontier);
    *set = (struct crdt_change_set){.origin = {replica, 1}, .sequence = sequence, .stamp = {hlc, replica, 1}, .n_rows = 1};
    set->seen = cc_arena_slice(&fixture->arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    set->rows = cc_arena_array(&fixture->arena, 1, sizeof(*set->rows));
    set->rows[0] = (struct crdt_row_change){.operation = operation, .table = text("public.t"), .key = text("k")};
    if (column != NULL) {
        set->rows[0].fields = cc_arena_array(&fixture->arena, 1, sizeof(struct crdt_field));
        set->rows[0].fields[0] = (struct crdt_field){.column = text(column), .value = text(value)};
        set->rows[0].n_fields = 1;
    }
}

static const struct crdt_history_entry *entry_of(const struct crdt_history_entry *entries, size_t n, uint64_t hlc, const char *column)
{
    for (size_t i = 0; i < n; i++) {
        bool same = column == NULL ? entries[i].field == NULL : entries[i].field != NULL && cc_slice_equal_text(entries[i].field->column, column);
        if (entries[i].set->stamp.hlc == hlc && same) {
            return &entries[i];
        }
    }
    fail_msg("no such entry");
    return NULL;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    cc_arena_init(&fixture->arena);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    cc_arena_finish(&fixture->arena);
    free(fixture);
    return 0;
}

static struct crdt_history_entry *history(struct fixture *fixture, size_t *n_out)
{
    struct crdt_history_entry *entries = NULL;
    crdt_history_create(fixture->sets, fixture->n, text("\"public\".\"t\""), text("k"), &fixture->arena, &entries, n_out);
    return entries;
}

static void a_write_that_was_known_is_overwritten_and_one_that_was_not_has_lost(void **state)
{
    struct fixture *fixture = *state;
    size_t n;
    write_field(fixture, 1, 1, 10, CRDT_INSERT, "a", "x", 2, 0);
    write_field(fixture, 2, 1, 20, CRDT_UPDATE, "a", "y", 1, 1); // knew of it
    write_field(fixture, 1, 2, 30, CRDT_UPDATE, "a", "z", 2, 0); // did not know of replica 2
    const struct crdt_history_entry *entries = history(fixture, &n);
    assert_int_equal(n, 4);
    assert_int_equal(entries[0].set->stamp.hlc, 30);
    assert_int_equal(entries[0].fate, CRDT_FATE_CURRENT);
    assert_int_equal(entries[1].fate, CRDT_FATE_LOST);
    assert_int_equal(entries[1].by->stamp.hlc, 30);
    assert_int_equal(entry_of(entries, n, 10, "a")->fate, CRDT_FATE_OVERWRITTEN);
    assert_int_equal(entry_of(entries, n, 10, NULL)->fate, CRDT_FATE_CURRENT);
}

static void other_fields_do_not_matter(void **state)
{
    struct fixture *fixture = *state;
    size_t n;
    write_field(fixture, 1, 1, 10, CRDT_UPDATE, "a", "x", 2, 0);
    write_field(fixture, 2, 1, 20, CRDT_UPDATE, "b", "y", 1, 0);
    const struct crdt_history_entry *entries = history(fixture, &n);
    assert_int_equal(n, 2);
    assert_int_equal(entries[0].fate, CRDT_FATE_CURRENT);
    assert_int_equal(entries[1].fate, CRDT_FATE_CURRENT);
    assert_true(entries[0].row_visible);
}

static void an_update_does_not_bring_its_row_back_and_says_so(void **state)
{
    struct fixture *fixture = *state;
    size_t n;
    write_field(fixture, 1, 1, 10, CRDT_INSERT, "a", "x", 2, 0);
    write_field(fixture, 1, 2, 20, CRDT_DELETE, NULL, NULL, 2, 0);
    write_field(fixture, 2, 1, 30, CRDT_UPDATE, "a", "y", 1, 1);
    write_field(fixture, 2, 2, 15, CRDT_UPDATE, "a", "w", 1, 1);
    const struct crdt_history_entry *entries = history(fixture, &n);
    assert_int_equal(entry_of(entries, n, 30, "a")->fate, CRDT_FATE_HIDDEN);
    assert_int_equal(entry_of(entries, n, 30, "a")->by->stamp.hlc, 20);
    assert_int_equal(entry_of(entries, n, 15, "a")->fate, CRDT_FATE_LOST_DELETED);
    assert_int_equal(entry_of(entries, n, 10, NULL)->fate, CRDT_FATE_DELETED);
    assert_int_equal(entry_of(entries, n, 20, NULL)->fate, CRDT_FATE_CURRENT);
    assert_false(entries[0].row_visible);
    assert_true(crdt_fate_is_conflict(CRDT_FATE_HIDDEN));
    assert_false(crdt_fate_is_conflict(CRDT_FATE_OVERWRITTEN));
}

static void a_writer_that_does_not_tell_what_it_knew_is_not_called_concurrent(void **state)
{
    struct fixture *fixture = *state;
    size_t n;
    write_field(fixture, 1, 1, 10, CRDT_UPDATE, "a", "x", 2, 0);
    write_field(fixture, 2, 1, 20, CRDT_UPDATE, "a", "y", 1, 0);
    fixture->sets[1].seen = (struct cc_slice){0};
    const struct crdt_history_entry *entries = history(fixture, &n);
    assert_int_equal(entries[1].fate, CRDT_FATE_SUPERSEDED);
}

static void what_is_counted_does_not_lose_until_the_row_is_deleted(void **state)
{
    struct fixture *fixture = *state;
    size_t n;
    write_field(fixture, 1, 1, 10, CRDT_UPDATE, "views", "1", 2, 0);
    write_field(fixture, 2, 1, 20, CRDT_UPDATE, "views", "1", 1, 0);
    write_field(fixture, 1, 2, 25, CRDT_UPDATE, "views", "2", 2, 0);
    for (size_t i = 0; i < fixture->n; i++) {
        fixture->sets[i].rows[0].fields[0].part = text("a part");
    }
    const struct crdt_history_entry *entries = history(fixture, &n);
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(entries[i].fate, CRDT_FATE_CURRENT);
    }
    write_field(fixture, 1, 3, 30, CRDT_DELETE, NULL, NULL, 2, 0);
    entries = history(fixture, &n);
    assert_int_equal(entry_of(entries, n, 20, "views")->fate, CRDT_FATE_LOST_DELETED);
    assert_int_equal(entry_of(entries, n, 25, "views")->fate, CRDT_FATE_DELETED);
}

// "a=x b=y", "" for a row without fields, or NULL: there was no row.
static const char *row_at(struct fixture *fixture, uint32_t replica, uint64_t hlc)
{
    size_t n, n_fields;
    const struct crdt_field **fields;
    const struct crdt_history_entry *entries = history(fixture, &n);
    struct clock_stamp stamp = {hlc, replica, 1};
    if (!crdt_history_row_at(entries, n, &stamp, &fixture->arena, &fields, &n_fields)) {
        return NULL;
    }
    const char *row = "";
    for (size_t i = 0; i < n_fields; i++) {
        row = cc_arena_printf(&fixture->arena, "%s%s%s=%s", row, *row == '\0' ? "" : " ", (const char *)fields[i]->column.data, (const char *)fields[i]->value.data);
    }
    return row;
}

static void a_row_at_a_write_is_what_its_writer_knew(void **state)
{
    struct fixture *fixture = *state;
    write_field(fixture, 1, 1, 10, CRDT_INSERT, "a", "x", 2, 0);
    write_field(fixture, 1, 2, 20, CRDT_UPDATE, "b", "early", 2, 0);
    write_field(fixture, 2, 1, 30, CRDT_UPDATE, "a", "y", 1, 1); // did not know of b
    write_field(fixture, 1, 3, 40, CRDT_UPDATE, "b", "late", 2, 1);
    assert_string_equal(row_at(fixture, 1, 10), "a=x");
    assert_string_equal(row_at(fixture, 1, 20), "b=early a=x");
    assert_string_equal(row_at(fixture, 2, 30), "a=y");
    assert_string_equal(row_at(fixture, 1, 40), "b=late a=y");
    assert_null(row_at(fixture, 1, 35)); // nobody wrote then
}

static void a_row_at_an_update_that_lost_to_a_deletion_is_whole(void **state)
{
    struct fixture *fixture = *state;
    write_field(fixture, 1, 1, 10, CRDT_INSERT, "a", "x", 2, 0);
    write_field(fixture, 1, 2, 20, CRDT_DELETE, NULL, NULL, 2, 0);
    write_field(fixture, 2, 1, 30, CRDT_UPDATE, "b", "y", 1, 1); // had not heard of the deletion
    write_field(fixture, 1, 3, 40, CRDT_UPSERT, "b", "z", 2, 1);
    write_field(fixture, 1, 4, 50, CRDT_DELETE, NULL, NULL, 2, 1);
    assert_string_equal(row_at(fixture, 2, 30), "b=y a=x");
    assert_null(row_at(fixture, 1, 20));
    assert_string_equal(row_at(fixture, 1, 40), "b=z");
    assert_null(row_at(fixture, 1, 50));
}

static void a_row_at_a_write_that_does_not_tell_what_it_knew_has_all_that_is_earlier(void **state)
{
    struct fixture *fixture = *state;
    write_field(fixture, 1, 1, 10, CRDT_INSERT, "a", "x", 2, 0);
    write_field(fixture, 2, 1, 20, CRDT_UPDATE, "b", "y", 1, 0);
    write_field(fixture, 1, 2, 30, CRDT_UPDATE, "a", "z", 2, 0);
    fixture->sets[1].seen = (struct cc_slice){0};
    assert_string_equal(row_at(fixture, 2, 20), "b=y a=x");
}

static void a_row_without_fields_is_a_row(void **state)
{
    struct fixture *fixture = *state;
    write_field(fixture, 1, 1, 10, CRDT_INSERT, NULL, NULL, 2, 0);
    write_field(fixture, 1, 2, 20, CRDT_DELETE, NULL, NULL, 2, 0);
    assert_string_equal(row_at(fixture, 1, 10), "");
    assert_null(row_at(fixture, 1, 20));
}

static void names_of_tables_are_the_same_with_and_without_quotes(void **state)
{
    (void)state;
    assert_true(crdt_row_hash(text("\"public\".\"t\""), text("k")) == crdt_row_hash(text("public.t"), text("k")));
    assert_true(crdt_row_hash(text("public.t"), text("k")) != crdt_row_hash(text("public.t"), text("l")));
    assert_true(crdt_table_equal(text("\"Ab\".c"), text("\"Ab\".\"c\"")));
    assert_false(crdt_table_equal(text("ab"), text("ab.c")));
    // Hashes are stored in PostgreSQL: they stay as they are.
    assert_true(crdt_row_hash(text("public.t"), text("k")) == INT64_C(-2929919611526239942));
    char key[1000];
    memset(key, 'k', sizeof(key));
    struct cc_slice whole = cc_slice_of(key, sizeof(key)), but_last = cc_slice_of(key, sizeof(key) - 1);
    assert_true(crdt_row_hash(text("\"public\".\"t\""), whole) == crdt_row_hash(text("public.t"), whole));
    assert_true(crdt_row_hash(text("public.t"), whole) != crdt_row_hash(text("public.t"), but_last));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_write_that_was_known_is_overwritten_and_one_that_was_not_has_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_fields_do_not_matter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_update_does_not_bring_its_row_back_and_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_that_does_not_tell_what_it_knew_is_not_called_concurrent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_counted_does_not_lose_until_the_row_is_deleted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_row_at_a_write_is_what_its_writer_knew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_row_at_an_update_that_lost_to_a_deletion_is_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_row_at_a_write_that_does_not_tell_what_it_knew_has_all_that_is_earlier, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_row_without_fields_is_a_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_of_tables_are_the_same_with_and_without_quotes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
