// Every rule of docs/CONSISTENCY.md about concurrent weak writes: the few change sets that it takes, delivered in every order with
// every one of them twice, give the same row, the one that the rule says. Once in memory, and once through MERGE with a real
// PostgreSQL, where each order is a row of its own and everything is written and read again between two deliveries.
#include "postgres_fixture.h"

#include "base/hash.h"
#include "base/memory.h"
#include "crdt/decimal.h"
#include "crdt/row.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WRITES_MAX = 4, DELIVERIES_MAX = 2 * WRITES_MAX, ORDERS_MAX = 2520, FIELDS_MAX = 8, ROWS_PER_WRITE = 2, N_KEYS = 2 };
enum { COLUMN_ID, COLUMN_A, COLUMN_B, COLUMN_N, COLUMN_VIEWS, COLUMN_TAGS, COLUMN_BEST, COLUMN_LEAST, N_COLUMNS };

static const char table_sql[] =
    "CREATE TABLE w (id text PRIMARY KEY, a text, b text DEFAULT 'home', n text NOT NULL, views bigint, tags text[], best integer, least integer);"
    "COMMENT ON TABLE w IS '@caucus weak';"
    "COMMENT ON COLUMN w.views IS '@caucus counter';"
    "COMMENT ON COLUMN w.tags IS '@caucus set';"
    "COMMENT ON COLUMN w.best IS '@caucus max';"
    "COMMENT ON COLUMN w.least IS '@caucus min';";

struct change { // of one row
    enum crdt_operation operation; // 0: none
    unsigned key;
    // By column: what the statement writes; NULL: not named; "~": SQL NULL. views: what it adds.
    const char *fields[N_COLUMNS];
};

struct write {
    uint32_t writer;
    uint64_t hlc;
    unsigned saw;     // bit i: its writer held write i
    const char *key;  // Idempotency-Key, or NULL
    struct change changes[ROWS_PER_WRITE];
};

struct rule {
    const char *name;
    struct write writes[WRITES_MAX];
    const char *rows[N_KEYS]; // what is to be seen under both keys: values with bars between them; NULL: no such row
};

#define A(value) [COLUMN_A] = (value)
#define B(value) [COLUMN_B] = (value)
#define N(value) [COLUMN_N] = (value)
#define VIEWS(value) [COLUMN_VIEWS] = (value)
#define TAGS(value) [COLUMN_TAGS] = (value)
#define BEST(value) [COLUMN_BEST] = (value)
#define LEAST(value) [COLUMN_LEAST] = (value)
#define INSERT(...) {CRDT_INSERT, 0, {__VA_ARGS__}}
#define UPDATE(...) {CRDT_UPDATE, 0, {__VA_ARGS__}}
#define UPSERT(...) {CRDT_UPSERT, 0, {__VA_ARGS__}}
#define DELETE {CRDT_DELETE, 0, {0}}
#define FIRST {1, 10, 0, NULL, {INSERT(A("new"), B("here"), N("ann"))}}

static const struct rule rules[] = {
    {"updates of different fields both survive", {FIRST, {1, 20, 1, NULL, {UPDATE(A("away"))}}, {2, 21, 1, NULL, {UPDATE(B("there"))}}}, {"away|there|ann|~|~|~|~", NULL}},
    {"of the same field the greater stamp wins", {FIRST, {1, 20, 1, NULL, {UPDATE(A("away"))}}, {2, 21, 1, NULL, {UPDATE(A("busy"))}}}, {"busy|here|ann|~|~|~|~", NULL}},
    {"of equal times the greater replica wins", {FIRST, {2, 20, 1, NULL, {UPDATE(A("two"))}}, {1, 20, 1, NULL, {UPDATE(A("one"))}}}, {"two|here|ann|~|~|~|~", NULL}},
    {"NULL is a value like others", {FIRST, {1, 20, 1, NULL, {UPDATE(A("away"))}}, {2, 21, 1, NULL, {UPDATE(A("~"))}}}, {"~|here|ann|~|~|~|~", NULL}},
    {"a later update does not bring a deleted row back", {FIRST, {1, 20, 1, NULL, {DELETE}}, {2, 30, 1, NULL, {UPDATE(A("busy"))}}}, {NULL, NULL}},
    {"a later delete wins over an update", {FIRST, {1, 20, 1, NULL, {UPDATE(A("away"))}}, {2, 30, 1, NULL, {DELETE}}}, {NULL, NULL}},
    {"a later insert wins over a delete, with its own values only",
     {FIRST, {1, 20, 1, NULL, {DELETE}}, {2, 15, 1, NULL, {DELETE}}, {2, 40, 5, NULL, {INSERT(A("newest"), N("bob"))}}},
     {"newest|home|bob|~|~|~|~", NULL}},
    {"a later delete wins over an insert",
     {FIRST, {1, 50, 1, NULL, {DELETE}}, {2, 15, 1, NULL, {DELETE}}, {2, 40, 5, NULL, {INSERT(A("newest"), N("bob"))}}},
     {NULL, NULL}},
    {"what was written between a delete and a re-insert is gone, what comes later counts",
     {FIRST, {1, 20, 1, NULL, {DELETE}}, {1, 30, 3, NULL, {INSERT(A("again"), B("~"), N("eve"))}}, {2, 25, 1, NULL, {UPDATE(A("between"))}}},
     {"again|~|eve|~|~|~|~", NULL}},
    {"an update of the old row counts on the new one when it is later",
     {FIRST, {1, 20, 1, NULL, {DELETE}}, {1, 30, 3, NULL, {INSERT(A("again"), B("~"), N("eve"))}}, {2, 35, 1, NULL, {UPDATE(A("later"))}}},
     {"later|~|eve|~|~|~|~", NULL}},
    {"an upsert brings a deleted row back: what was written before is cleared, or kept where NOT NULL has no default",
     {FIRST, {1, 20, 1, NULL, {DELETE}}, {2, 30, 1, NULL, {UPSERT(A("back"))}}},
     {"back|home|ann|~|~|~|~", NULL}},
    {"an upsert that is older than the delete stays deleted", {FIRST, {1, 20, 1, NULL, {DELETE}}, {2, 15, 1, NULL, {UPSERT(A("back"))}}}, {NULL, NULL}},
    {"two inserts of one key are one row, each field the later one's",
     {{1, 10, 0, NULL, {INSERT(A("one"), B("x"), N("ann"), VIEWS("2"))}}, {2, 11, 0, NULL, {INSERT(A("two"), B("~"), N("bob"), VIEWS("3"))}}},
     {"two|~|bob|5|~|~|~", NULL}},
    {"a change of the key is a deletion and an insert",
     {FIRST,
      {1, 20, 1, NULL, {DELETE, {CRDT_INSERT, 1, {A("new"), B("here"), N("ann")}}}},
      {2, 25, 1, NULL, {UPDATE(A("busy"))}}},
     {NULL, "new|here|ann|~|~|~|~"}},
    {"all rows of a request have one stamp",
     {{1, 10, 0, NULL, {INSERT(A("-"), B("-"), N("ann")), {CRDT_INSERT, 1, {A("-"), B("-"), N("bob")}}}},
      {1, 20, 1, NULL, {UPDATE(A("A")), {CRDT_UPDATE, 1, {A("A")}}}},
      {2, 21, 1, NULL, {UPDATE(A("B")), {CRDT_UPDATE, 1, {A("B")}}}}},
     {"B|-|ann|~|~|~|~", "B|-|bob|~|~|~|~"}},
    {"counters add up what each has counted",
     {{1, 10, 0, NULL, {INSERT(A("x"), B("x"), N("ann"), VIEWS("10"))}},
      {1, 20, 1, NULL, {UPDATE(VIEWS("1"))}},
      {2, 21, 1, NULL, {UPDATE(VIEWS("-5"))}},
      {3, 22, 7, NULL, {UPDATE(VIEWS("100"))}}},
     {"x|x|ann|106|~|~|~", NULL}},
    {"increments under one key count once",
     {{1, 10, 0, NULL, {INSERT(A("x"), B("x"), N("ann"), VIEWS("1"))}},
      {1, 20, 1, "k", {UPDATE(VIEWS("5"))}},
      {2, 21, 1, "k", {UPDATE(VIEWS("5"))}},
      {3, 22, 1, NULL, {UPDATE(VIEWS("5"))}}},
     {"x|x|ann|11|~|~|~", NULL}},
    {"a row that is inserted again counts from the beginning, and what was counted meanwhile by who had not heard of it",
     {{1, 10, 0, NULL, {INSERT(A("x"), B("x"), N("ann"), VIEWS("10"))}},
      {1, 20, 1, NULL, {DELETE}},
      {1, 30, 3, NULL, {INSERT(A("y"), B("y"), N("bob"), VIEWS("1"))}},
      {2, 25, 1, NULL, {UPDATE(VIEWS("3"))}}},
     {"y|y|bob|4|~|~|~", NULL}},
    {"sets unite additions and take out what was seen",
     {{1, 10, 0, NULL, {INSERT(A("x"), B("x"), N("ann"), TAGS("{a,b}"))}},
      {1, 20, 1, NULL, {UPDATE(TAGS("{b,c}"))}},
      {2, 21, 1, NULL, {UPDATE(TAGS("{a,b,d}"))}}},
     {"x|x|ann|~|{b,c,d}|~|~", NULL}},
    {"an addition wins over a removal that had not seen it",
     {{1, 10, 0, NULL, {INSERT(A("x"), B("x"), N("ann"), TAGS("{a,b}"))}},
      {1, 20, 1, NULL, {UPDATE(TAGS("{a}"))}},
      {2, 15, 1, NULL, {UPDATE(TAGS("{a}"))}},
      {2, 18, 5, NULL, {UPDATE(TAGS("{a,b}"))}}},
     {"x|x|ann|~|{a,b}|~|~", NULL}},
    {"the greatest and the smallest stay",
     {{1, 10, 0, NULL, {INSERT(A("x"), B("x"), N("ann"), BEST("5"), LEAST("5"))}},
      {1, 20, 1, NULL, {UPDATE(BEST("9"), LEAST("7"))}},
      {2, 21, 1, NULL, {UPDATE(BEST("7"), LEAST("-2"))}}},
     {"x|x|ann|~|~|9|-2", NULL}},
    {"a deletion takes the greatest and the smallest away",
     {{1, 10, 0, NULL, {INSERT(A("x"), B("x"), N("ann"), BEST("50"), LEAST("-50"))}},
      {2, 20, 1, NULL, {DELETE}},
      {2, 30, 3, NULL, {INSERT(A("y"), B("y"), N("bob"), BEST("3"), LEAST("3"))}},
      {1, 35, 1, NULL, {UPDATE(BEST("60"))}}},
     {"y|y|bob|~|~|60|3", NULL}},
};

// -- Writes as change sets ------------------------------------------------------------------------------------------------

struct made { // a rule's change sets
    struct cc_arena arena;
    struct crdt_column columns[N_COLUMNS];
    uint32_t n;
    struct clock_stamp stamps[WRITES_MAX];
    struct crdt_row_change changes[WRITES_MAX][ROWS_PER_WRITE];
};

struct case_row {
    struct crdt_row row;
    struct crdt_register registers[N_COLUMNS];
};

static void columns_init(struct made *made)
{
    static const struct {
        const char *name, *type;
        enum crdt_merge merge;
    } kinds[N_COLUMNS] = {{"id", "text", CRDT_LWW},         {"a", "text", CRDT_LWW},     {"b", "text", CRDT_LWW},    {"n", "text", CRDT_LWW},
                          {"views", "bigint", CRDT_COUNTER}, {"tags", "text[]", CRDT_SET}, {"best", "integer", CRDT_MAX}, {"least", "integer", CRDT_MIN}};
    for (uint32_t i = 0; i < N_COLUMNS; i++) {
        struct crdt_column *column = &made->columns[i];
        *column = (struct crdt_column){.name = cc_slice_text(kinds[i].name), .key = i == COLUMN_ID, .sticky = i == COLUMN_N};
        if (kinds[i].merge != CRDT_LWW) {
            assert_int_equal(crdt_kind_of(kinds[i].merge, cc_slice_text(kinds[i].type), &made->arena, &column->kind), CC_OK);
        }
    }
    made->columns[COLUMN_B].cleared = cc_slice_text("home");
}

static void row_init(struct made *made, struct case_row *row)
{
    crdt_row_init(&row->row, made->columns, N_COLUMNS, row->registers, &made->arena);
}

static struct cc_slice value_of(struct made *made, const struct change *change, uint32_t column, const struct case_row *held)
{
    const char *text = change->fields[column];
    if (column == COLUMN_VIEWS) {
        struct cc_slice shown = held->registers[column].value;
        return crdt_decimal_add(shown.data == NULL ? cc_slice_text("0") : shown, cc_slice_text(text), &made->arena);
    }
    return strcmp(text, "~") == 0 ? (struct cc_slice){0} : cc_slice_text(text);
}

static void make_change(struct made *made, const struct write *write, const struct clock_stamp *stamp, const struct change *change,
                        struct crdt_row_change *out)
{
    static const uint8_t hash_key[16];
    struct case_row held; // what its writer saw
    row_init(made, &held);
    for (uint32_t i = 0; i < WRITES_MAX; i++) {
        for (unsigned c = 0; (write->saw >> i & 1) != 0 && c < ROWS_PER_WRITE; c++) {
            const struct crdt_row_change *seen = &made->changes[i][c];
            if (seen->operation != 0 && seen->key.n == change->key + 1) {
                crdt_row_merge(&held.row, seen, &made->stamps[i]);
            }
        }
    }
    *out = (struct crdt_row_change){.operation = change->operation, .table = cc_slice_text("public.w")};
    out->key = cc_slice_of("kk", change->key + 1); // which one; the bytes are filled in for each order
    out->fields = cc_arena_array(&made->arena, FIELDS_MAX, sizeof(*out->fields));
    for (uint32_t column = COLUMN_A; column < N_COLUMNS; column++) {
        bool inserted = change->operation == CRDT_INSERT && column <= COLUMN_N; // writes all columns
        if (change->fields[column] == NULL && !inserted) {
            continue;
        }
        struct crdt_field field = {.column = made->columns[column].name};
        field.value = change->fields[column] != NULL ? value_of(made, change, column, &held) : made->columns[column].cleared;
        if (made->columns[column].kind.merge != CRDT_LWW) {
            struct crdt_part_write part = {.stamp = *stamp, .value = field.value, .keyed = write->key != NULL};
            part.key = write->key == NULL ? 0 : cc_siphash(hash_key, write->key, strlen(write->key));
            assert_int_equal(crdt_part_make(&made->columns[column].kind, &held.registers[column].parts, &part, &made->arena, &field.part), CC_OK);
            if (field.part.data == NULL) {
                continue;
            }
        }
        out->fields[out->n_fields++] = field;
    }
}

static void make(const struct rule *rule, struct made *made)
{
    memset(made, 0, sizeof(*made));
    cc_arena_init(&made->arena);
    columns_init(made);
    for (uint32_t i = 0; i < WRITES_MAX && rule->writes[i].hlc > 0; i++) {
        const struct write *write = &rule->writes[i];
        made->stamps[i] = (struct clock_stamp){write->hlc, write->writer, 1};
        for (unsigned c = 0; c < ROWS_PER_WRITE && write->changes[c].operation != 0; c++) {
            make_change(made, write, &made->stamps[i], &write->changes[c], &made->changes[i][c]);
        }
        made->n++;
    }
}

// -- Orders -----------------------------------------------------------------------------------------------------------------

struct orders {
    size_t n;
    uint8_t at[ORDERS_MAX][DELIVERIES_MAX];
};

// All orders of n writes, each twice.
static void put_orders(struct orders *orders, uint8_t *order, uint32_t length, uint8_t *left, uint32_t n)
{
    if (length == 2 * n) {
        assert_true(orders->n < ORDERS_MAX);
        memcpy(orders->at[orders->n++], order, DELIVERIES_MAX);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (left[i] > 0) {
            left[i]--;
            order[length] = (uint8_t)i;
            put_orders(orders, order, length + 1, left, n);
            left[i]++;
        }
    }
}

static void all_orders(struct orders *orders, uint32_t n)
{
    uint8_t order[DELIVERIES_MAX] = {0}, left[WRITES_MAX] = {2, 2, 2, 2};
    orders->n = 0;
    put_orders(orders, order, 0, left, n);
}

static char *shown(struct made *made, const struct case_row *row)
{
    struct cc_buffer out = {0};
    for (uint32_t i = COLUMN_A; i < N_COLUMNS; i++) {
        struct cc_slice value = row->registers[i].value;
        cc_buffer_append_text(&out, i == COLUMN_A ? "" : "|");
        cc_buffer_append_slice(&out, value.data == NULL ? cc_slice_text("~") : value);
    }
    char *text = cc_arena_text_n(&made->arena, out.data, out.n);
    cc_buffer_finish(&out);
    return text;
}

static void each_rule_holds_in_every_order_with_every_write_twice(void **state)
{
    (void)state;
    struct orders *orders = cc_alloc(sizeof(*orders));
    for (size_t r = 0; r < sizeof(rules) / sizeof(rules[0]); r++) {
        struct made made;
        make(&rules[r], &made);
        all_orders(orders, made.n);
        for (size_t o = 0; o < orders->n; o++) {
            struct case_row rows[N_KEYS];
            row_init(&made, &rows[0]);
            row_init(&made, &rows[1]);
            for (uint32_t d = 0; d < 2 * made.n; d++) {
                uint8_t i = orders->at[o][d];
                for (unsigned c = 0; c < ROWS_PER_WRITE && made.changes[i][c].operation != 0; c++) {
                    crdt_row_merge(&rows[made.changes[i][c].key.n - 1].row, &made.changes[i][c], &made.stamps[i]);
                }
            }
            for (unsigned k = 0; k < N_KEYS; k++) {
                bool visible = crdt_row_is_visible(&rows[k].row);
                if (visible != (rules[r].rows[k] != NULL) || (visible && strcmp(shown(&made, &rows[k]), rules[r].rows[k]) != 0)) {
                    fail_msg("%s: order %zu, key %u: %s", rules[r].name, o, k, visible ? shown(&made, &rows[k]) : "no row");
                }
            }
        }
        cc_arena_finish(&made.arena);
    }
    free(orders);
}

// -- Through PostgreSQL --------------------------------------------------------------------------------------------------------

static struct cc_slice key_of(struct cc_arena *arena, size_t rule, size_t order, size_t key)
{
    struct cc_buffer bytes = {0};
    char text[40];
    snprintf(text, sizeof(text), "%zu.%zu.%zu", rule, order, key);
    struct cc_slice value = cc_slice_text(text);
    crdt_key_put(&bytes, &value, 1);
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return copy;
}

// The set that brings write i to all the orders in which it comes as the d-th.
static bool put_set(struct fixture *fixture, const struct made *made, size_t rule, const struct orders *orders, uint32_t d, uint32_t i,
                    uint64_t sequence, struct cc_slice *bytes_out)
{
    struct crdt_change_set set = {.origin = {made->stamps[i].replica, 1}, .sequence = sequence, .stamp = made->stamps[i], .schema_version = 1};
    set.rows = cc_arena_array(&fixture->arena, ROWS_PER_WRITE * orders->n, sizeof(*set.rows));
    for (size_t o = 0; o < orders->n; o++) {
        for (unsigned c = 0; orders->at[o][d] == i && c < ROWS_PER_WRITE && made->changes[i][c].operation != 0; c++) {
            set.rows[set.n_rows] = made->changes[i][c];
            set.rows[set.n_rows++].key = key_of(&fixture->arena, rule, o, made->changes[i][c].key.n);
        }
    }
    struct cc_buffer bytes = {0};
    crdt_change_set_put(&bytes, &set);
    *bytes_out = cc_arena_slice(&fixture->arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return set.n_rows > 0;
}

static void assert_rows(struct fixture *fixture, const struct rule *rule, size_t number, size_t n_orders)
{
    for (unsigned key = 1; key <= N_KEYS; key++) {
        const char *row = rule->rows[key - 1];
        const char *sql = cc_arena_printf(
            &fixture->arena,
            "SELECT count(*) || ' ' || count(DISTINCT _caucus) || ' ' || coalesce(string_agg(DISTINCT concat_ws('|', coalesce(a, '~'), coalesce(b, '~'), n, "
            "coalesce(views::text, '~'), coalesce(tags::text, '~'), coalesce(best::text, '~'), coalesce(least::text, '~')), ' and '), '') FROM w "
            "WHERE id LIKE '%zu.%%.%u'",
            number, key);
        const char *expected = row == NULL ? "0 0 " : cc_arena_printf(&fixture->arena, "%zu 1 %s", n_orders, row);
        const char *found = site_query(&fixture->one, sql);
        if (strcmp(found, expected) != 0) {
            fail_msg("%s: key %u: %s instead of %s", rule->name, key, found, expected);
        }
        // What remains of a row that is not there is the same, too.
        sql = cc_arena_printf(&fixture->arena,
                              "SELECT count(DISTINCT (death, remains)) <= 1 FROM caucus.tombstones m WHERE convert_from(substr(key, 2), 'UTF8') LIKE '%%%zu.%%.%u' "
                              "AND NOT EXISTS (SELECT FROM w WHERE m.key = set_byte('\\x00', 0, length(id)) || convert_to(id, 'UTF8'))",
                              number, key);
        assert_true(row != NULL || strcmp(site_query(&fixture->one, sql), "t") == 0);
    }
}

static void each_rule_holds_in_every_order_through_the_database(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(migrate(fixture, "0001", table_sql)->kind, REST_DONE);
    struct orders *orders = cc_alloc(sizeof(*orders));
    uint64_t sequences[4] = {0}; // of each writer: a delivery is a change set of its own, under the same stamp
    for (size_t r = 0; r < sizeof(rules) / sizeof(rules[0]); r++) {
        struct made made;
        make(&rules[r], &made);
        all_orders(orders, made.n);
        for (uint32_t d = 0; d < 2 * made.n; d++) {
            struct cc_slice sets[WRITES_MAX];
            uint32_t n = 0;
            for (uint32_t i = 0; i < made.n; i++) {
                uint64_t *sequence = &sequences[made.stamps[i].replica];
                if (put_set(fixture, &made, r, orders, d, i, *sequence + 1, &sets[n])) {
                    (*sequence)++;
                    n++;
                }
            }
            struct db_job job = {.kind = DB_MERGE, .n_items = n, .items = sets};
            (void)site_run(&fixture->one, DB_WEAK, &job, DB_MERGED);
        }
        assert_int_equal(crdt_frontier_get(&fixture->one.frontier, (struct crdt_origin){1, 1}), sequences[1]);
        assert_rows(fixture, &rules[r], r, orders->n);
        cc_arena_finish(&made.arena);
    }
    free(orders);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_holds_in_every_order_with_every_write_twice),
        cmocka_unit_test_setup_teardown(each_rule_holds_in_every_order_through_the_database, fixture_set_up, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, fixture_group_set_up, fixture_group_tear_down);
}
