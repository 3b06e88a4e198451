// What is written again of a life that is over: each rule by an example, then against the merge that would have been.
#include "base/prng.h"
#include "crdt/renew.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ID, STATUS, PLACE, SEEN, VIEWS, TAGS, BEST, N_COLUMNS };
enum { HERE = 3, OLD_LIFE = 1, NEW_LIFE = 2, NEW_HLC = 1000, FIELDS_MAX = 4, RANDOM_CASES = 10000, STEPS_MAX = 12 };

static struct crdt_column columns[N_COLUMNS];

struct bench {
    struct cc_arena arena;
    struct crdt_row row; // as the others have it
    struct crdt_register registers[N_COLUMNS];
    bool table_is_gone;
    uint64_t new_hlc;
    struct crdt_change_set set; // the last one that was made
};

static struct cc_slice text(const char *characters)
{
    return characters == NULL ? (struct cc_slice){0} : cc_slice_text(characters);
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    cc_arena_init(&bench->arena);
    static const char *const names[N_COLUMNS] = {"id", "status", "place", "seen", "views", "tags", "best"};
    memset(columns, 0, sizeof(columns));
    for (size_t i = 0; i < N_COLUMNS; i++) {
        columns[i].name = text(names[i]);
    }
    columns[ID].key = true;
    columns[SEEN].sticky = true;
    columns[VIEWS].cleared = text("0");
    assert_int_equal(crdt_kind_of(CRDT_COUNTER, text("bigint"), &bench->arena, &columns[VIEWS].kind), CC_OK);
    columns[VIEWS].kind.base = text("0");
    assert_int_equal(crdt_kind_of(CRDT_SET, text("text[]"), &bench->arena, &columns[TAGS].kind), CC_OK);
    assert_int_equal(crdt_kind_of(CRDT_MAX, text("integer"), &bench->arena, &columns[BEST].kind), CC_OK);
    crdt_row_init(&bench->row, columns, N_COLUMNS, bench->registers, &bench->arena);
    bench->new_hlc = NEW_HLC;
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    cc_arena_finish(&bench->arena);
    free(bench);
    return 0;
}

static struct clock_stamp stamp_of(uint64_t hlc, uint32_t replica, uint32_t incarnation)
{
    return (struct clock_stamp){.hlc = hlc, .replica = replica, .incarnation = incarnation};
}

struct field {
    const char *column, *before, *after;
};

static struct crdt_row_change *change_of(struct bench *bench, enum crdt_operation operation, const struct field *fields)
{
    struct crdt_row_change *change = cc_arena_alloc(&bench->arena, sizeof(*change));
    change->operation = operation;
    change->table = text("public.t");
    change->key = text("\x01k");
    change->fields = cc_arena_array(&bench->arena, FIELDS_MAX, sizeof(*change->fields));
    for (; fields != NULL && fields->column != NULL; fields++) {
        change->fields[change->n_fields++] = (struct crdt_field){.column = text(fields->column), .value = text(fields->after), .old_value = text(fields->before)};
    }
    return change;
}

#define FIELDS(...) (const struct field[]){__VA_ARGS__, {0}}

static void others(struct bench *bench, uint64_t hlc, enum crdt_operation operation, const struct field *fields)
{
    struct clock_stamp stamp = stamp_of(hlc, 1, 1);
    (void)crdt_row_merge(&bench->row, change_of(bench, operation, fields), &stamp);
}

static void others_insert(struct bench *bench, uint64_t hlc)
{
    others(bench, hlc, CRDT_INSERT, FIELDS({"status", NULL, "old"}, {"place", NULL, "old"}, {"seen", NULL, "old"}));
}

static struct crdt_row *row_of(void *context, const struct crdt_row_change *change)
{
    struct bench *bench = context;
    assert_true(change->table.n > 0);
    return bench->table_is_gone ? NULL : &bench->row;
}

static struct crdt_change_set old_set(const struct bench *bench, uint64_t hlc, struct crdt_row_change *change)
{
    (void)bench;
    return (struct crdt_change_set){.origin = {HERE, OLD_LIFE}, .sequence = hlc, .stamp = stamp_of(hlc, HERE, OLD_LIFE), .schema_version = 1, .durable = true, .rows = change, .n_rows = 1};
}

static const struct crdt_change_set *renew_set(struct bench *bench, const struct crdt_change_set *old)
{
    struct clock_stamp stamp = stamp_of(bench->new_hlc++, HERE, NEW_LIFE);
    crdt_change_set_renew(old, &stamp, (struct cc_slice){0}, 7, row_of, bench, &bench->arena, &bench->set);
    return &bench->set;
}

static const struct crdt_change_set *renew(struct bench *bench, uint64_t hlc, enum crdt_operation operation, const struct field *fields)
{
    struct crdt_change_set *old = cc_arena_alloc(&bench->arena, sizeof(*old));
    *old = old_set(bench, hlc, change_of(bench, operation, fields));
    return renew_set(bench, old);
}

static void assert_shows(const struct bench *bench, uint32_t column, const char *value)
{
    assert_true(crdt_row_is_visible(&bench->row));
    struct cc_slice shown = bench->registers[column].value;
    assert_true((shown.data == NULL) == (value == NULL) && cc_slice_equal(shown, text(value)));
}

static void assert_counts(const struct crdt_change_set *set, uint32_t n_rows, uint32_t n_lost)
{
    assert_int_equal(set->n_rows, n_rows);
    assert_int_equal(set->n_lost, n_lost);
}

// -- Rules --------------------------------------------------------------------------------------------------------------

static void an_update_of_a_field_that_nobody_wrote_later_is_written_again(void **state)
{
    struct bench *bench = *state;
    others_insert(bench, 1);
    const struct crdt_change_set *set = renew(bench, 5, CRDT_UPDATE, FIELDS({"status", "old", "here"}));
    assert_counts(set, 1, 0);
    assert_shows(bench, STATUS, "here");
    assert_int_equal(bench->registers[STATUS].stamp.hlc, NEW_HLC);
    assert_int_equal(set->renews.sequence, 5);
    assert_int_equal(set->renews.hlc, 5);
    assert_int_equal(set->renews.origin.incarnation, OLD_LIFE);
    assert_int_equal(set->origin.incarnation, NEW_LIFE);
    assert_int_equal(set->schema_version, 7);
    assert_false(set->durable);
}

static void of_an_update_only_the_fields_that_nobody_wrote_later_are_written_again(void **state)
{
    struct bench *bench = *state;
    others_insert(bench, 1);
    others(bench, 9, CRDT_UPDATE, FIELDS({"place", "old", "there"}));
    const struct crdt_change_set *set = renew(bench, 5, CRDT_UPDATE, FIELDS({"status", "old", "here"}, {"place", "old", "here"}));
    assert_counts(set, 1, 1);
    assert_true(cc_slice_equal_text(set->rows[0].fields[0].column, "status"));
    assert_true(cc_slice_equal_text(set->lost[0].fields[0].column, "place"));
    assert_shows(bench, PLACE, "there");
}

static void an_update_of_a_row_that_the_others_do_not_have_has_lost(void **state)
{
    struct bench *bench = *state;
    assert_counts(renew(bench, 5, CRDT_UPDATE, FIELDS({"status", "old", "here"})), 0, 1); // forgotten
    others_insert(bench, 1);
    others(bench, 3, CRDT_DELETE, NULL);
    assert_counts(renew(bench, 5, CRDT_UPDATE, FIELDS({"status", "old", "here"})), 0, 1);
    assert_false(crdt_row_is_visible(&bench->row));
}

static void an_update_from_before_a_deletion_does_not_count_for_the_row_that_was_inserted_after_it(void **state)
{
    struct bench *bench = *state;
    others(bench, 7, CRDT_DELETE, NULL);
    others(bench, 9, CRDT_UPSERT, FIELDS({"seen", NULL, "again"}));
    assert_counts(renew(bench, 5, CRDT_UPDATE, FIELDS({"status", "old", "here"})), 0, 1);
    assert_shows(bench, STATUS, NULL);
}

static void an_insert_of_a_row_that_nobody_has_is_written_again(void **state)
{
    struct bench *bench = *state;
    const struct crdt_change_set *set = renew(bench, 5, CRDT_INSERT, FIELDS({"status", NULL, "here"}, {"seen", NULL, "here"}));
    assert_counts(set, 1, 0);
    assert_int_equal(set->rows[0].operation, CRDT_INSERT);
    assert_shows(bench, STATUS, "here");
}

static void an_insert_against_an_insert_makes_one_row_field_by_field(void **state)
{
    struct bench *bench = *state;
    others_insert(bench, 9);
    const struct crdt_change_set *set = renew(bench, 5, CRDT_INSERT, FIELDS({"status", NULL, "here"}, {"seen", NULL, "here"}));
    assert_counts(set, 0, 1);
    assert_shows(bench, STATUS, "old");
}

static void an_upsert_brings_back_a_row_that_was_deleted_before_or_forgotten_if_it_has_all_that_a_row_needs(void **state)
{
    struct bench *bench = *state;
    assert_counts(renew(bench, 5, CRDT_UPSERT, FIELDS({"status", "old", "here"})), 0, 1); // no value for `seen`
    assert_counts(renew(bench, 6, CRDT_UPSERT, FIELDS({"status", "old", "here"}, {"seen", "old", "here"})), 1, 0);
    assert_shows(bench, PLACE, NULL);
}

static void an_upsert_of_a_row_that_was_deleted_later_has_lost(void **state)
{
    struct bench *bench = *state;
    others_insert(bench, 1);
    others(bench, 9, CRDT_DELETE, NULL);
    assert_counts(renew(bench, 5, CRDT_UPSERT, FIELDS({"status", "old", "here"}, {"seen", "old", "here"})), 0, 1);
    assert_false(crdt_row_is_visible(&bench->row));
}

static void an_upsert_of_a_row_that_lives_longer_does_not_make_it_outlive_more(void **state)
{
    struct bench *bench = *state;
    others_insert(bench, 9);
    others(bench, 10, CRDT_DELETE, NULL);
    others_insert(bench, 11);
    bench->registers[STATUS].stamp = (struct clock_stamp){0};
    bench->row.death = (struct clock_stamp){0}; // forgotten
    const struct crdt_change_set *set = renew(bench, 5, CRDT_UPSERT, FIELDS({"status", "old", "here"}));
    assert_int_equal(set->rows[0].operation, CRDT_UPDATE);
    assert_int_equal(bench->row.life.hlc, 11);
}

static void a_deletion_counts_unless_the_row_was_brought_to_life_later(void **state)
{
    struct bench *bench = *state;
    assert_counts(renew(bench, 4, CRDT_DELETE, NULL), 0, 0); // there is no such row: it is done
    others_insert(bench, 1);
    others(bench, 9, CRDT_UPDATE, FIELDS({"status", "old", "there"}));
    assert_counts(renew(bench, 5, CRDT_DELETE, NULL), 1, 0);
    assert_false(crdt_row_is_visible(&bench->row));
    others_insert(bench, bench->new_hlc + 1);
    assert_counts(renew(bench, 6, CRDT_DELETE, NULL), 0, 1);
    assert_true(crdt_row_is_visible(&bench->row));
}

static void what_was_renewed_counts_as_older_than_what_is_renewed_next(void **state)
{
    struct bench *bench = *state;
    assert_counts(renew(bench, 5, CRDT_INSERT, FIELDS({"status", NULL, "first"}, {"seen", NULL, "here"})), 1, 0);
    assert_counts(renew(bench, 6, CRDT_UPDATE, FIELDS({"status", "first", "second"})), 1, 0);
    assert_shows(bench, STATUS, "second");
    assert_counts(renew(bench, 7, CRDT_DELETE, NULL), 1, 0);
    assert_counts(renew(bench, 8, CRDT_INSERT, FIELDS({"status", NULL, "third"}, {"seen", NULL, "here"})), 1, 0);
    assert_shows(bench, STATUS, "third");
}

static void counters_and_sets_are_changed_by_what_was_changed_and_extremes_if_they_still_are(void **state)
{
    struct bench *bench = *state;
    others(bench, 1, CRDT_INSERT, FIELDS({"seen", NULL, "old"}, {"views", NULL, "10"}, {"tags", NULL, "{a,b}"}, {"best", NULL, "5"}));
    others(bench, 9, CRDT_UPDATE, FIELDS({"best", "5", "7"}));
    struct field fields[] = {{"views", "10", "13"}, {"tags", "{a,b}", "{b,x}"}, {"best", "5", "6"}, {0}};
    const struct crdt_change_set *set = renew(bench, 5, CRDT_UPDATE, fields);
    assert_counts(set, 1, 1);
    assert_shows(bench, VIEWS, "13");
    assert_shows(bench, TAGS, "{b,x}");
    assert_shows(bench, BEST, "7");
    assert_true(cc_slice_equal_text(set->lost[0].fields[0].column, "best"));
    assert_counts(renew(bench, 6, CRDT_UPDATE, FIELDS({"views", "13", "12"}, {"best", "6", "8"})), 1, 0);
    assert_shows(bench, VIEWS, "12");
    assert_shows(bench, BEST, "8");
}

static void an_increment_under_a_key_that_somebody_else_has_counted_counts_once(void **state)
{
    struct bench *bench = *state;
    others(bench, 1, CRDT_INSERT, FIELDS({"seen", NULL, "old"}));
    struct crdt_change_set *old = cc_arena_alloc(&bench->arena, sizeof(*old));
    *old = old_set(bench, 5, change_of(bench, CRDT_UPDATE, FIELDS({"views", "0", "4"})));
    old->principal = text("");
    old->request_key = text("key");
    struct crdt_part_write write = {.stamp = stamp_of(8, 1, 1), .value = text("4"), .keyed = true, .key = crdt_change_set_request(old)};
    struct crdt_row_change *twin = change_of(bench, CRDT_UPDATE, FIELDS({"views", "0", "4"}));
    assert_int_equal(crdt_part_make(&columns[VIEWS].kind, &bench->registers[VIEWS].parts, &write, &bench->arena, &twin->fields[0].part), CC_OK);
    (void)crdt_row_merge(&bench->row, twin, &write.stamp);
    assert_shows(bench, VIEWS, "4");
    const struct crdt_change_set *set = renew_set(bench, old);
    assert_true(cc_slice_equal_text(set->request_key, "key"));
    assert_shows(bench, VIEWS, "4");
}

static void what_belongs_to_a_table_or_column_that_is_gone_has_lost(void **state)
{
    struct bench *bench = *state;
    others_insert(bench, 1);
    assert_counts(renew(bench, 5, CRDT_UPDATE, FIELDS({"dropped", "old", "here"}, {"status", "old", "here"})), 1, 1);
    bench->table_is_gone = true;
    assert_counts(renew(bench, 6, CRDT_UPDATE, FIELDS({"status", "old", "here"})), 0, 1);
}

static void what_a_renewal_told_as_lost_is_told_again_when_it_is_renewed_itself(void **state)
{
    struct bench *bench = *state;
    others_insert(bench, 9);
    struct crdt_change_set first = *renew(bench, 5, CRDT_UPDATE, FIELDS({"status", "old", "here"}));
    assert_counts(&first, 0, 1);
    first.sequence = 1;
    struct clock_stamp stamp = stamp_of(bench->new_hlc + 1, HERE, NEW_LIFE + 1);
    crdt_change_set_renew(&first, &stamp, (struct cc_slice){0}, 7, row_of, bench, &bench->arena, &bench->set);
    assert_counts(&bench->set, 0, 1);
    assert_int_equal(bench->set.renews.origin.incarnation, NEW_LIFE);
    crdt_change_set_renounce(&first, &stamp, (struct cc_slice){0}, 7, &bench->arena, &bench->set);
    assert_counts(&bench->set, 0, 1);
}

static void a_renewal_reads_as_it_was_written(void **state)
{
    struct bench *bench = *state;
    others_insert(bench, 1);
    others(bench, 9, CRDT_UPDATE, FIELDS({"place", "old", "there"}));
    struct crdt_change_set set = *renew(bench, 5, CRDT_UPDATE, FIELDS({"status", "old", "here"}, {"place", "old", "here"})), read;
    struct cc_buffer bytes = {0};
    crdt_change_set_put(&bytes, &set);
    crdt_change_set_number(bytes.data, bytes.n, 3);
    assert_int_equal(crdt_change_set_read(cc_buffer_slice(&bytes), &bench->arena, &read), CC_OK);
    assert_int_equal(read.sequence, 3);
    assert_memory_equal(&read.renews, &set.renews, sizeof(read.renews));
    assert_counts(&read, 1, 1);
    assert_true(cc_slice_equal_text(read.lost[0].fields[0].value, "here"));
    for (size_t n = 0; n < bytes.n; n++) {
        assert_int_not_equal(crdt_change_set_read(cc_slice_of(bytes.data, n), &bench->arena, &read), CC_OK);
    }
    cc_buffer_finish(&bytes);
}

// -- Against the merge that would have been ---------------------------------------------------------------------------------

struct model {
    struct crdt_row row;
    struct crdt_register registers[N_COLUMNS];
};

static struct cc_slice number(struct bench *bench, uint64_t value)
{
    return cc_slice_text(cc_arena_printf(&bench->arena, "%u", (unsigned)value));
}

// A write of this replica upon what it shows: its values, and the parts that travel.
static struct crdt_row_change *draw_write(struct bench *bench, struct cc_prng *prng, struct model *writer, const struct clock_stamp *stamp, bool here)
{
    struct crdt_row_change *change = change_of(bench, CRDT_UPDATE, NULL);
    uint32_t column = (uint32_t)cc_prng_between(prng, STATUS, BEST);
    struct crdt_field *field = &change->fields[change->n_fields++];
    struct cc_slice shown = writer->registers[column].value;
    *field = (struct crdt_field){.column = columns[column].name, .old_value = shown};
    switch (column) {
    case VIEWS:
        field->value = number(bench, strtoul(cc_arena_printf(&bench->arena, "%.*s", (int)shown.n, (const char *)shown.data), NULL, 10) + cc_prng_between(prng, 1, 9));
        break;
    case TAGS: { // each side has elements of its own, which come and go
        struct cc_slice element = cc_slice_text(cc_arena_printf(&bench->arena, "{%c%u}", here ? 'h' : 'o', (unsigned)cc_prng_between(prng, 1, 3)));
        bool adds = cc_prng_between(prng, 0, 1) == 0;
        assert_true(crdt_value_move(&columns[TAGS].kind, shown, adds ? text(NULL) : element, adds ? element : text(NULL), &bench->arena, &field->value));
        break;
    }
    case BEST:
        field->value = number(bench, cc_prng_between(prng, 1, 100));
        break;
    default:
        field->value = number(bench, cc_prng_between(prng, 1, 1000000));
        break;
    }
    if (columns[column].kind.merge != CRDT_LWW) {
        struct crdt_part_write write = {.stamp = *stamp, .value = field->value};
        assert_int_equal(crdt_part_make(&columns[column].kind, &writer->registers[column].parts, &write, &bench->arena, &field->part), CC_OK);
        if (field->part.data == NULL) {
            return NULL;
        }
    }
    (void)crdt_row_merge(&writer->row, change, stamp);
    field->value = writer->registers[column].value;
    return change;
}

static void run_random_case(struct bench *bench, uint64_t seed)
{
    struct cc_prng prng;
    cc_prng_seed(&prng, seed);
    struct model merged, here;
    struct model *models[2] = {&merged, &here};
    struct clock_stamp first = stamp_of(1, 1, 1);
    const struct crdt_row_change *insert = change_of(bench, CRDT_INSERT, FIELDS({"status", NULL, "old"}, {"seen", NULL, "old"}, {"views", NULL, "5"}));
    crdt_row_init(&bench->row, columns, N_COLUMNS, bench->registers, &bench->arena);
    (void)crdt_row_merge(&bench->row, insert, &first);
    for (size_t i = 0; i < 2; i++) {
        crdt_row_init(&models[i]->row, columns, N_COLUMNS, models[i]->registers, &bench->arena);
        (void)crdt_row_merge(&models[i]->row, insert, &first);
    }
    struct crdt_change_set olds[STEPS_MAX];
    size_t n_olds = 0;
    struct model others_model;
    crdt_row_init(&others_model.row, columns, N_COLUMNS, others_model.registers, &bench->arena);
    (void)crdt_row_merge(&others_model.row, insert, &first);
    for (uint64_t step = 2; step < 2 + STEPS_MAX; step++) {
        bool is_here = cc_prng_between(&prng, 0, 1) == 0;
        struct clock_stamp stamp = is_here ? stamp_of(step, HERE, OLD_LIFE) : stamp_of(step, 1, 1);
        struct crdt_row_change *change = draw_write(bench, &prng, is_here ? &here : &others_model, &stamp, is_here);
        if (change == NULL) {
            continue;
        }
        (void)crdt_row_merge(&merged.row, change, &stamp);
        if (is_here) {
            olds[n_olds++] = old_set(bench, step, change);
        } else {
            (void)crdt_row_merge(&bench->row, change, &stamp);
        }
    }
    for (size_t i = 0; i < n_olds; i++) {
        (void)renew_set(bench, &olds[i]);
    }
    for (uint32_t i = STATUS; i < N_COLUMNS; i++) {
        struct cc_slice a = merged.registers[i].value, b = bench->registers[i].value;
        if ((a.data == NULL) != (b.data == NULL) || !cc_slice_equal(a, b)) {
            fail_msg("seed %u: %.*s shows %.*s, merged %.*s", (unsigned)seed, (int)columns[i].name.n, (const char *)columns[i].name.data, (int)b.n,
                     (const char *)b.data, (int)a.n, (const char *)a.data);
        }
    }
}

static void where_nothing_was_deleted_the_row_shows_what_a_merge_would_have_made_of_it(void **state)
{
    for (uint64_t seed = 1; seed <= RANDOM_CASES; seed++) {
        run_random_case(*state, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_update_of_a_field_that_nobody_wrote_later_is_written_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_an_update_only_the_fields_that_nobody_wrote_later_are_written_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_update_of_a_row_that_the_others_do_not_have_has_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_update_from_before_a_deletion_does_not_count_for_the_row_that_was_inserted_after_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_insert_of_a_row_that_nobody_has_is_written_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_insert_against_an_insert_makes_one_row_field_by_field, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_upsert_brings_back_a_row_that_was_deleted_before_or_forgotten_if_it_has_all_that_a_row_needs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_upsert_of_a_row_that_was_deleted_later_has_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_upsert_of_a_row_that_lives_longer_does_not_make_it_outlive_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_deletion_counts_unless_the_row_was_brought_to_life_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_renewed_counts_as_older_than_what_is_renewed_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counters_and_sets_are_changed_by_what_was_changed_and_extremes_if_they_still_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_increment_under_a_key_that_somebody_else_has_counted_counts_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_belongs_to_a_table_or_column_that_is_gone_has_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_renewal_told_as_lost_is_told_again_when_it_is_renewed_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_renewal_reads_as_it_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(where_nothing_was_deleted_the_row_shows_what_a_merge_would_have_made_of_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
