// Rows whose columns have merge types: deletions, tombstones, convergence, stored forms.
// `test_crdt_row_parts CASES` runs that many cases of each property instead of the few of the normal run.
#include "base/prng.h"
#include "crdt/parts_fixture.h"
#include "crdt/row.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { WRITERS = 3, CASES_DEFAULT = 10000 };

static long n_cases = CASES_DEFAULT;

enum { ROW_COLUMNS = 4, R_ID = 0, R_NAME = 1, R_VIEWS = 2, R_TAGS = 3 };

struct typed_row {
    struct crdt_column columns[ROW_COLUMNS];
    struct crdt_register registers[ROW_COLUMNS];
    struct crdt_row row;
};

static void typed_row_init(struct typed_row *typed, struct cc_arena *arena)
{
    memset(typed, 0, sizeof(*typed));
    typed->columns[R_ID] = (struct crdt_column){.name = text("id"), .key = true};
    typed->columns[R_NAME] = (struct crdt_column){.name = text("name")};
    typed->columns[R_VIEWS] = (struct crdt_column){.name = text("views"), .kind = kind_of(CRDT_COUNTER, "bigint", arena)};
    typed->columns[R_TAGS] = (struct crdt_column){.name = text("tags"), .kind = kind_of(CRDT_SET, "text[]", arena)};
    crdt_row_init(&typed->row, typed->columns, ROW_COLUMNS, typed->registers, arena);
}

// A write as a replica makes it: parts from what its row holds. hlc's replica: 1 + by.
static struct crdt_row_change typed_write(struct typed_row *typed, enum crdt_operation operation, struct clock_stamp stamp, const char *name,
                                          const char *views, const char *tags)
{
    struct cc_arena *arena = typed->row.arena;
    struct crdt_row_change change = {.operation = operation, .fields = cc_arena_array(arena, 3, sizeof(struct crdt_field))};
    const char *values[ROW_COLUMNS] = {NULL, name, views, tags};
    for (uint32_t i = R_NAME; i <= R_TAGS; i++) {
        struct crdt_field field = {.column = typed->columns[i].name, .value = values[i] == NULL ? (struct cc_slice){0} : text(values[i])};
        struct crdt_part_write write = {.stamp = stamp, .value = field.value};
        if (values[i] == NULL) {
            continue;
        }
        if (typed->columns[i].kind.merge != CRDT_LWW) {
            assert_int_equal(crdt_part_make(&typed->columns[i].kind, &typed->registers[i].parts, &write, arena, &field.part), CC_OK);
        }
        change.fields[change.n_fields++] = field;
    }
    (void)crdt_row_merge(&typed->row, &change, &stamp);
    return change;
}

static struct clock_stamp stamp_at(uint64_t hlc, uint32_t replica)
{
    return (struct clock_stamp){.hlc = hlc, .replica = replica, .incarnation = 1};
}

static void assert_shows(const struct typed_row *typed, uint32_t column, const char *value)
{
    assert_string_equal(show(typed->registers[column].value, typed->row.arena), value);
}

static void a_deletion_clears_what_was_counted_before(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct typed_row a, b;
    typed_row_init(&a, &arena);
    typed_row_init(&b, &arena);
    struct crdt_row_change first = typed_write(&a, CRDT_INSERT, stamp_at(10, 1), "ann", "5", "{x}");
    struct clock_stamp at = stamp_at(10, 1);
    crdt_row_merge(&b.row, &first, &at);
    struct crdt_row_change gone = {.operation = CRDT_DELETE};
    struct clock_stamp death = stamp_at(20, 2);
    crdt_row_merge(&b.row, &gone, &death);
    assert_false(crdt_row_is_visible(&b.row));
    struct crdt_row_change again = typed_write(&b, CRDT_INSERT, stamp_at(30, 2), "bob", "1", "{y}");
    assert_shows(&b, R_VIEWS, "1");
    at = stamp_at(30, 2);
    crdt_row_merge(&a.row, &again, &at); // before the deletion that it follows
    assert_shows(&a, R_VIEWS, "6");
    crdt_row_merge(&a.row, &gone, &death);
    assert_shows(&a, R_VIEWS, "1");
    assert_shows(&a, R_TAGS, "{y}");
    cc_arena_finish(&arena);
}

static void what_is_counted_after_a_concurrent_deletion_stays(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct typed_row a, b;
    typed_row_init(&a, &arena);
    typed_row_init(&b, &arena);
    struct crdt_row_change insert = typed_write(&a, CRDT_INSERT, stamp_at(10, 1), "ann", "5", NULL);
    struct clock_stamp at = stamp_at(10, 1);
    crdt_row_merge(&b.row, &insert, &at);
    struct crdt_row_change gone = {.operation = CRDT_DELETE};
    struct clock_stamp death = stamp_at(20, 1);
    crdt_row_merge(&a.row, &gone, &death);
    struct crdt_row_change more = typed_write(&b, CRDT_UPSERT, stamp_at(30, 2), "bob", "8", NULL); // + 3, not knowing
    at = stamp_at(30, 2);
    crdt_row_merge(&a.row, &more, &at);
    crdt_row_merge(&b.row, &gone, &death);
    assert_true(crdt_row_is_visible(&a.row));
    assert_shows(&a, R_VIEWS, "3");
    assert_shows(&b, R_VIEWS, "3");
    cc_arena_finish(&arena);
}

static bool may_go(const struct typed_row *typed, uint64_t bound, struct cc_arena *arena)
{
    struct cc_buffer bytes = {0};
    bool may = false;
    crdt_remains_put(&bytes, &typed->row);
    assert_int_equal(crdt_remains_may_go(cc_buffer_slice(&bytes), &typed->row.death, bound, arena, &may), CC_OK);
    cc_buffer_finish(&bytes);
    return may;
}

static void a_tombstone_goes_when_all_that_it_holds_is_settled_and_nothing_counts_any_more(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct typed_row a, b;
    typed_row_init(&a, &arena);
    typed_row_init(&b, &arena);
    struct clock_stamp insert = stamp_at(100, 1), delete = stamp_at(110, 1), late = stamp_at(120, 2), again = stamp_at(130, 1);
    struct crdt_row_change inserted = typed_write(&a, CRDT_INSERT, insert, "ann", "5", "{a}");
    crdt_row_merge(&b.row, &inserted, &insert);
    struct crdt_row_change deletion = {.operation = CRDT_DELETE};
    crdt_row_merge(&a.row, &deletion, &delete);
    assert_false(may_go(&a, delete.hlc - 1, &arena));
    assert_true(may_go(&a, delete.hlc, &arena));
    // b counts without having heard of the deletion: that counts when the row is inserted again, here as everywhere.
    struct crdt_row_change counted = typed_write(&b, CRDT_UPDATE, late, NULL, "7", "{a}");
    crdt_row_merge(&a.row, &counted, &late);
    assert_false(may_go(&a, late.hlc - 1, &arena));
    assert_false(may_go(&a, late.hlc, &arena));
    // A later deletion ends it.
    crdt_row_merge(&a.row, &deletion, &again);
    assert_true(may_go(&a, again.hlc, &arena));
    bool may = false;
    assert_int_equal(crdt_remains_may_go(cc_slice_of("\x07", 1), &delete, 1, &arena, &may), CC_MALFORMED);
    cc_arena_finish(&arena);
}

static void a_write_without_parts_is_one(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct typed_row a;
    typed_row_init(&a, &arena);
    struct crdt_field fields[2] = {{.column = text("views"), .value = text("7")}, {.column = text("tags"), .value = text("{b,a}")}};
    struct crdt_row_change change = {.operation = CRDT_INSERT, .fields = fields, .n_fields = 2};
    struct clock_stamp stamp = stamp_at(10, 1);
    crdt_row_merge(&a.row, &change, &stamp);
    assert_shows(&a, R_VIEWS, "7");
    assert_shows(&a, R_TAGS, "{a,b}");
    // What SQL left of it: the value and one stamp.
    struct typed_row b;
    typed_row_init(&b, &arena);
    b.registers[R_VIEWS].value = text("7");
    b.registers[R_TAGS].value = text("{b,a}");
    assert_int_equal(crdt_stamps_read(text("{\"\": \"000000000000000a.1.1\"}"), &b.row), CC_OK);
    assert_true(same_parts(&a.registers[R_VIEWS].parts, &b.registers[R_VIEWS].parts));
    assert_true(same_parts(&a.registers[R_TAGS].parts, &b.registers[R_TAGS].parts));
    cc_arena_finish(&arena);
}

static void malformed_parts_change_nothing(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct typed_row a;
    typed_row_init(&a, &arena);
    typed_write(&a, CRDT_INSERT, stamp_at(10, 1), "ann", "5", "{x}");
    struct crdt_field fields[2] = {{.column = text("views"), .value = text("7"), .part = text("junk")},
                                   {.column = text("tags"), .value = text("{q}"), .part = text("\xff\xff\xff")}};
    struct crdt_row_change change = {.operation = CRDT_UPDATE, .fields = fields, .n_fields = 2};
    struct clock_stamp stamp = stamp_at(20, 2);
    assert_false(crdt_row_merge(&a.row, &change, &stamp).changed);
    assert_shows(&a, R_VIEWS, "5");
    assert_shows(&a, R_TAGS, "{x}");
    cc_arena_finish(&arena);
}

static bool same_rows(const struct typed_row *a, const struct typed_row *b)
{
    bool same = clock_stamp_compare(&a->row.life, &b->row.life) == 0 && clock_stamp_compare(&a->row.death, &b->row.death) == 0;
    for (uint32_t i = R_NAME; same && i < ROW_COLUMNS; i++) {
        const struct crdt_register *x = &a->registers[i], *y = &b->registers[i];
        same = clock_stamp_compare(&x->stamp, &y->stamp) == 0 && (x->value.data == NULL) == (y->value.data == NULL) &&
               cc_slice_equal(x->value, y->value) && same_parts(&x->parts, &y->parts);
    }
    return same;
}

static struct typed_row stored_and_loaded(const struct typed_row *typed, struct cc_arena *arena)
{
    struct typed_row again;
    typed_row_init(&again, arena);
    struct cc_buffer bytes = {0};
    if (crdt_row_is_visible(&typed->row)) {
        for (uint32_t i = R_NAME; i < ROW_COLUMNS; i++) {
            again.registers[i].value = typed->registers[i].value;
        }
        crdt_stamps_put(&bytes, &typed->row);
        assert_int_equal(crdt_stamps_read(cc_arena_slice(arena, cc_buffer_slice(&bytes)), &again.row), CC_OK);
    } else {
        crdt_remains_put(&bytes, &typed->row);
        assert_int_equal(crdt_remains_read(cc_arena_slice(arena, cc_buffer_slice(&bytes)), &again.row), CC_OK);
    }
    again.row.death = typed->row.death;
    cc_buffer_finish(&bytes);
    return again;
}

struct follower { // of a replica that holds all writes up to a bound, and some later ones
    struct typed_row told, row, all; // what that one holds, what the follower holds, what both amount to
    struct typed_row later;          // of what the follower holds, the writes above the bound
};

static void follower_write(struct follower *follower, struct typed_row *writer, struct clock_stamp stamp, uint64_t bound, struct cc_prng *prng)
{
    static const enum crdt_operation operations[] = {CRDT_INSERT, CRDT_UPDATE, CRDT_UPSERT};
    struct crdt_row_change change = {.operation = CRDT_DELETE};
    uint64_t what = cc_prng_below(prng, 8);
    if (what < 2) {
        crdt_row_merge(&writer->row, &change, &stamp);
    } else {
        change = typed_write(writer, operations[what % 3], stamp, "n", what % 2 == 0 ? "4" : "9", what % 2 == 0 ? "{a,b}" : "{b,c}");
    }
    bool is_told = stamp.hlc <= bound || cc_prng_below(prng, 2) == 0, is_held = cc_prng_below(prng, 2) == 0;
    if (is_told) {
        crdt_row_merge(&follower->told.row, &change, &stamp);
    }
    if (is_held) {
        crdt_row_merge(&follower->row.row, &change, &stamp);
    }
    if (is_held && stamp.hlc > bound) {
        crdt_row_merge(&follower->later.row, &change, &stamp);
    }
    if (is_told || is_held) {
        crdt_row_merge(&follower->all.row, &change, &stamp);
    }
}

static void drop_tombstone(struct typed_row *typed, uint64_t bound)
{
    typed->row.death = typed->row.death.hlc <= bound ? (struct clock_stamp){0} : typed->row.death;
}

// What the collector leaves of a row that is not visible: all of it, or nothing.
static bool is_dropped(const struct typed_row *typed, uint64_t bound)
{
    struct cc_buffer remains = {0};
    crdt_remains_put(&remains, &typed->row);
    bool may_go = false;
    assert_int_equal(crdt_remains_may_go(cc_buffer_slice(&remains), &typed->row.death, bound, typed->row.arena, &may_go), CC_OK);
    cc_buffer_finish(&remains);
    return may_go;
}

// Equal, but for the lives of rows that are not alive.
static bool same_but_for_life(struct typed_row *a, struct typed_row *b)
{
    bool both_hidden = !crdt_row_is_visible(&a->row) && !crdt_row_is_visible(&b->row);
    if (both_hidden && clock_stamp_compare(&a->row.life, &a->row.death) <= 0 && clock_stamp_compare(&b->row.life, &b->row.death) <= 0) {
        a->row.life = b->row.life;
    }
    return same_rows(a, b);
}

static void who_joins_rows_whose_tombstones_are_gone_has_what_all_writes_amount_to(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 52);
    long n_cleared = 0, n_taken_back = 0;
    for (long round = 0; round < n_cases / 2; round++) {
        struct cc_arena arena;
        cc_arena_init(&arena);
        struct typed_row writers[WRITERS];
        struct follower follower;
        typed_row_init(&follower.told, &arena);
        typed_row_init(&follower.row, &arena);
        typed_row_init(&follower.all, &arena);
        typed_row_init(&follower.later, &arena);
        for (uint32_t i = 0; i < WRITERS; i++) {
            typed_row_init(&writers[i], &arena);
        }
        uint64_t bound = 10 * cc_prng_below(&prng, 10);
        for (uint64_t n = 1; n <= 8; n++) {
            uint32_t by = (uint32_t)cc_prng_below(&prng, WRITERS);
            follower_write(&follower, &writers[by], stamp_at(10 * n, by + 1), bound, &prng);
        }
        if (crdt_row_is_visible(&follower.told.row)) {
            drop_tombstone(&follower.told, bound);
            follower.told.row.columns = follower.row.columns;
            n_cleared += crdt_row_forget(&follower.row.row, &follower.told.row, bound) ? 1 : 0;
            (void)crdt_row_join(&follower.row.row, &follower.told.row);
            drop_tombstone(&follower.row, bound);
            drop_tombstone(&follower.all, bound);
            assert_true(same_rows(&follower.row, &follower.all));
        } else {
            struct typed_row nothing;
            typed_row_init(&nothing, &arena);
            struct typed_row *told = is_dropped(&follower.told, bound) ? &nothing : &follower.told;
            told->row.columns = follower.later.row.columns = follower.row.row.columns;
            n_taken_back += crdt_row_forget(&follower.row.row, &told->row, bound) ? 1 : 0;
            (void)crdt_row_join(&follower.row.row, &told->row);
            (void)crdt_row_join(&follower.later.row, &told->row);
            drop_tombstone(&follower.row, bound);
            drop_tombstone(&follower.later, bound);
            assert_true(same_but_for_life(&follower.row, &follower.later));
        }
        cc_arena_finish(&arena);
    }
    assert_true(n_cleared > 0 && n_taken_back > 0);
}

// Replicas write, delete, meet by joining their states, and are stored and loaded; in the end all are what the writes make in any order.
static void rows_with_parts_converge(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 51);
    for (long round = 0; round < n_cases / 2; round++) {
        struct cc_arena arena;
        cc_arena_init(&arena);
        struct typed_row rows[WRITERS], all;
        struct crdt_row_change changes[12];
        struct clock_stamp stamps[12];
        size_t n = 0;
        for (uint32_t i = 0; i < WRITERS; i++) {
            typed_row_init(&rows[i], &arena);
        }
        while (n < 8) {
            uint32_t by = (uint32_t)cc_prng_below(&prng, WRITERS);
            struct clock_stamp stamp = stamp_at(10 * (n + 1) + cc_prng_below(&prng, 10), by + 1);
            const char *views = cc_arena_printf(&arena, "%d", (int)cc_prng_below(&prng, 20));
            uint64_t what = cc_prng_below(&prng, 8);
            rows[by].row.columns = rows[by].columns;
            if (what == 0) {
                changes[n] = (struct crdt_row_change){.operation = CRDT_DELETE};
                crdt_row_merge(&rows[by].row, &changes[n], &stamp);
                stamps[n++] = stamp;
            } else if (what < 6) {
                enum crdt_operation operation = (enum crdt_operation[]){CRDT_INSERT, CRDT_UPDATE, CRDT_UPSERT}[what % 3];
                changes[n] = typed_write(&rows[by], operation, stamp, "n", views, what % 2 == 0 ? "{a,b}" : "{b,c}");
                stamps[n++] = stamp;
            } else {
                struct typed_row other = rows[(by + 1) % WRITERS];
                other.row.columns = rows[by].row.columns;
                other.row.registers = other.registers;
                (void)crdt_row_join(&rows[by].row, &other.row);
            }
        }
        typed_row_init(&all, &arena);
        for (size_t i = 0; i < 2 * n; i++) {
            size_t at = (size_t)cc_prng_below(&prng, n);
            crdt_row_merge(&all.row, &changes[at], &stamps[at]);
        }
        for (size_t i = 0; i < n; i++) {
            crdt_row_merge(&all.row, &changes[n - 1 - i], &stamps[n - 1 - i]);
        }
        for (uint32_t i = 1; i < WRITERS; i++) {
            rows[i].row.columns = rows[0].row.columns;
            assert_true(crdt_row_join(&rows[0].row, &rows[i].row) || true);
            assert_false(crdt_row_join(&rows[0].row, &rows[i].row));
        }
        assert_true(same_rows(&rows[0], &all));
        struct typed_row loaded = stored_and_loaded(&all, &arena);
        assert_true(!crdt_row_is_visible(&all.row) || same_rows(&loaded, &all));
        cc_arena_finish(&arena);
    }
}

// Rows and tombstones of released programs hold these.
static void stored_rows_of_released_versions_are_read(void **state)
{
    (void)state;
    static const char stamps[] =
        "{\"\": \"0000000000000067.2.1\", \"*views\": \"AmYAAAAAAAAAAQAAAAEAAAAPATABTQAAAAAAAAADMi41ZwAAAAAAAAACAAAAAQAAAAUDMC41AA\", "
        "\"*tags\": \"AmYAAAAAAAAAAQAAAAEAAAAgAQNjIGRmAAAAAAAAAAEBYQIAAAABAAAAZQAAAAAAAABnAAAAAAAAAAIAAAABAAAAIAEBeGcAAAAAAAAAAQNjIGQBAAAAAQAAAGYAAAAAAAAA\"}";
    static const char remains[] =
        "02670000000000000002000000010000000406737461747573036f6e670000000000000002000000010000000100046e616d65026e67000000000000"
        "000200000001000000010005766965777304332e30000000000000000000000000000000003702660000000000000001000000010000000f0130014d"
        "0000000000000003322e35670000000000000002000000010000000503302e35000474616773047b787d000000000000000000000000000000006302"
        "660000000000000001000000010000002001036320646600000000000000010161020000000100000065000000000000006700000000000000020000"
        "0001000000200101786700000000000000010363206401000000010000006600000000000000";
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct typed_row row;
    typed_row_init(&row, &arena);
    assert_int_equal(crdt_stamps_read(text(stamps), &row.row), CC_OK);
    assert_shows(&row, R_VIEWS, "3.0");
    assert_shows(&row, R_TAGS, "{x}");
    uint8_t bytes[sizeof(remains) / 2];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(remains + 2 * i, "%2x", &byte), 1);
        bytes[i] = (uint8_t)byte;
    }
    typed_row_init(&row, &arena);
    assert_int_equal(crdt_remains_read(cc_slice_of(bytes, sizeof(bytes)), &row.row), CC_OK);
    assert_shows(&row, R_VIEWS, "3.0");
    assert_shows(&row, R_TAGS, "{x}");
    cc_arena_finish(&arena);
}

enum { FEW = 6 };

// The next order of 0..FEW-1; false after the last one.
static bool next_order(size_t *order)
{
    size_t i = FEW - 1;
    while (i > 0 && order[i - 1] >= order[i]) {
        i--;
    }
    if (i == 0) {
        return false;
    }
    size_t j = FEW - 1;
    while (order[j] <= order[i - 1]) {
        j--;
    }
    size_t swapped = order[i - 1];
    order[i - 1] = order[j];
    order[j] = swapped;
    for (size_t left = i, right = FEW - 1; left < right; left++, right--) {
        swapped = order[left];
        order[left] = order[right];
        order[right] = swapped;
    }
    return true;
}

static void few_writes_make_one_row_in_every_order_with_every_repetition(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct typed_row a, b, expected;
    typed_row_init(&a, &arena);
    typed_row_init(&b, &arena);
    typed_row_init(&expected, &arena);
    struct crdt_row_change changes[FEW];
    struct clock_stamp stamps[FEW] = {stamp_at(10, 1), stamp_at(20, 1), stamp_at(25, 2), stamp_at(30, 2), stamp_at(35, 1), stamp_at(40, 2)};
    changes[0] = typed_write(&a, CRDT_INSERT, stamps[0], "x", "5", "{a,b}");
    crdt_row_merge(&b.row, &changes[0], &stamps[0]);
    changes[1] = typed_write(&a, CRDT_UPDATE, stamps[1], NULL, "6", "{b,c}");
    changes[2] = typed_write(&b, CRDT_UPDATE, stamps[2], "y", "2", "{a,b,d}");
    changes[3] = (struct crdt_row_change){.operation = CRDT_DELETE};
    crdt_row_merge(&b.row, &changes[3], &stamps[3]);
    changes[4] = typed_write(&a, CRDT_UPSERT, stamps[4], NULL, "9", "{c}");
    changes[5] = typed_write(&b, CRDT_INSERT, stamps[5], "z", "1", "{e}");
    for (size_t i = 0; i < FEW; i++) {
        crdt_row_merge(&expected.row, &changes[i], &stamps[i]);
    }
    assert_shows(&expected, R_VIEWS, "10"); // a counted on without having heard of the deletion: its 9 stay; b counted 1 behind it
    size_t order[FEW] = {0, 1, 2, 3, 4, 5};
    do {
        for (size_t repeated = 0; repeated < FEW * FEW; repeated++) {
            struct typed_row row;
            typed_row_init(&row, &arena);
            for (size_t i = 0; i < FEW; i++) {
                crdt_row_merge(&row.row, &changes[order[i]], &stamps[order[i]]);
                if (i == repeated % FEW) {
                    size_t again = order[repeated / FEW];
                    crdt_row_merge(&row.row, &changes[again], &stamps[again]);
                    crdt_row_merge(&row.row, &changes[order[i]], &stamps[order[i]]);
                }
            }
            assert_true(same_rows(&row, &expected));
        }
    } while (next_order(order));
    cc_arena_finish(&arena);
}

int main(int argc, char **argv)
{
    n_cases = argc > 1 ? strtol(argv[1], NULL, 10) : CASES_DEFAULT;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deletion_clears_what_was_counted_before),
        cmocka_unit_test(what_is_counted_after_a_concurrent_deletion_stays),
        cmocka_unit_test(a_tombstone_goes_when_all_that_it_holds_is_settled_and_nothing_counts_any_more),
        cmocka_unit_test(a_write_without_parts_is_one),
        cmocka_unit_test(malformed_parts_change_nothing),
        cmocka_unit_test(who_joins_rows_whose_tombstones_are_gone_has_what_all_writes_amount_to),
        cmocka_unit_test(rows_with_parts_converge),
        cmocka_unit_test(stored_rows_of_released_versions_are_read),
        cmocka_unit_test(few_writes_make_one_row_in_every_order_with_every_repetition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
