// Merge types: decimals and orders by example; the algebra of parts over random writers; then what each type promises.
// `test_crdt_parts CASES` runs that many cases of each property instead of the few of the normal run.
#include "base/prng.h"
#include "crdt/decimal.h"
#include "crdt/row.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { WRITERS = 3, PARTS_MAX = 24, CASES_DEFAULT = 10000 };

static long n_cases = CASES_DEFAULT;

static struct cc_slice text(const char *characters)
{
    return cc_slice_text(characters);
}

static const char *show(struct cc_slice slice, struct cc_arena *arena)
{
    return slice.data == NULL ? "NULL" : cc_arena_text_n(arena, slice.data, slice.n);
}

// -- Decimals ---------------------------------------------------------------------------------------------------------

static void sums_are_exact(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"1", "2", "3"},
        {"-1", "1", "0"},
        {"-1.5", "0.5", "-1.0"},
        {"0.1", "0.2", "0.3"},
        {"999", "1", "1000"},
        {"-1000", "1", "-999"},
        {"9223372036854775807", "9223372036854775807", "18446744073709551614"},
        {"123456789012345678901234567890.25", "-0.75", "123456789012345678901234567889.50"},
        {"0.00", "-0.00", "0.00"},
        {"007", "+3", "10"},
        {"5.", ".5", "5.5"},
    };
    struct cc_arena arena;
    cc_arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cc_slice a = text(cases[i][0]), b = text(cases[i][1]);
        assert_string_equal(show(crdt_decimal_add(a, b, &arena), &arena), cases[i][2]);
        assert_string_equal(show(crdt_decimal_add(b, a, &arena), &arena), cases[i][2]);
        struct cc_slice back = crdt_decimal_subtract(text(cases[i][2]), b, &arena);
        assert_int_equal(crdt_decimal_compare(back, a), 0);
    }
    cc_arena_finish(&arena);
}

static void sums_and_order_are_those_of_integers(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 21);
    struct cc_arena arena;
    for (long i = 0; i < n_cases; i++) {
        cc_arena_init(&arena);
        int64_t a = (int64_t)cc_prng_below(&prng, 2000001) - 1000000, b = (int64_t)cc_prng_below(&prng, 2001) - 1000;
        struct cc_slice left = text(cc_arena_printf(&arena, "%lld", (long long)a)), right = text(cc_arena_printf(&arena, "%lld", (long long)b));
        assert_string_equal(show(crdt_decimal_add(left, right, &arena), &arena), cc_arena_printf(&arena, "%lld", (long long)(a + b)));
        assert_int_equal(crdt_decimal_compare(left, right) > 0, a > b);
        assert_int_equal(crdt_decimal_compare(left, right) < 0, a < b);
        cc_arena_finish(&arena);
    }
}

static void what_is_no_number_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "-", ".", "1e5", "NaN", "Infinity", "1.2.3", " 1", "1 ", "0x1", "--1"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_false(crdt_decimal_is_valid(text(cases[i])));
    }
    assert_false(crdt_decimal_is_valid((struct cc_slice){0}));
}

// -- Kinds ------------------------------------------------------------------------------------------------------------

static struct crdt_kind kind_of(enum crdt_merge merge, const char *type, struct cc_arena *arena)
{
    struct crdt_kind kind;
    assert_int_equal(crdt_kind_of(merge, text(type), arena, &kind), CC_OK);
    return kind;
}

static void types_that_cannot_be_merged_so_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum crdt_merge merge;
        const char *type;
        bool ok;
    } cases[] = {
        {CRDT_COUNTER, "bigint", true},
        {CRDT_COUNTER, "numeric", true},
        {CRDT_COUNTER, "numeric(10,2)", true},
        {CRDT_COUNTER, "numeric(3,-2)", false},
        {CRDT_COUNTER, "numeric(2,5)", false},
        {CRDT_COUNTER, "text", false},
        {CRDT_COUNTER, "double precision", false},
        {CRDT_COUNTER, "bigint[]", false},
        {CRDT_MAX, "timestamp(3) with time zone", true},
        {CRDT_MAX, "character varying(20)", true},
        {CRDT_MIN, "numeric(10,2)", true},
        {CRDT_MIN, "real", true},
        {CRDT_MAX, "jsonb", false},
        {CRDT_MAX, "interval", false},
        {CRDT_SET, "text[]", true},
        {CRDT_SET, "character varying(10)[]", true},
        {CRDT_SET, "text", false},
        {CRDT_SET, "box[]", false},
    };
    struct cc_arena arena;
    cc_arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct crdt_kind kind;
        assert_int_equal(crdt_kind_of(cases[i].merge, text(cases[i].type), &arena, &kind) == CC_OK, cases[i].ok);
    }
    struct crdt_kind money = kind_of(CRDT_COUNTER, "numeric(5,2)", &arena);
    assert_string_equal(show(money.greatest, &arena), "999.99");
    assert_string_equal(show(money.least, &arena), "-999.99");
    assert_string_equal(show(kind_of(CRDT_COUNTER, "numeric(2,2)", &arena).greatest, &arena), "0.99");
    cc_arena_finish(&arena);
}

// -- Writers ----------------------------------------------------------------------------------------------------------

// A replica's view of one column, and a clock that is ahead of all it has seen.
struct writer {
    struct crdt_origin origin;
    uint64_t clock, settled;
    struct crdt_parts parts;
};

struct world {
    struct crdt_kind kind;
    struct cc_arena arena;
    struct writer writers[WRITERS];
    struct crdt_part sent[PARTS_MAX]; // every part that was ever written
    size_t n_sent;
};

static void world_init(struct world *world, enum crdt_merge merge, const char *type)
{
    memset(world, 0, sizeof(*world));
    cc_arena_init(&world->arena);
    world->kind = kind_of(merge, type, &world->arena);
    for (uint32_t i = 0; i < WRITERS; i++) {
        world->writers[i].origin = (struct crdt_origin){i + 1, 1};
        world->writers[i].clock = i + 1;
    }
}

static const char *shown(struct world *world, const struct crdt_parts *parts)
{
    return show(crdt_parts_value(&world->kind, parts, &world->arena), &world->arena);
}

static void hear(struct world *world, uint32_t to, const struct crdt_part *part)
{
    struct writer *writer = &world->writers[to];
    (void)crdt_parts_take(&world->kind, &writer->parts, part, &world->arena);
    writer->clock = writer->clock < part->stamp.hlc ? part->stamp.hlc : writer->clock;
}

// The writer's statement makes its column `value`; key 0: without.
static void write_value(struct world *world, uint32_t by, const char *value, uint64_t key)
{
    struct writer *writer = &world->writers[by];
    writer->clock += 10;
    struct clock_stamp stamp = {.hlc = writer->clock + by, .replica = writer->origin.replica, .incarnation = writer->origin.incarnation};
    struct crdt_part_write write = {.stamp = stamp, .value = value == NULL ? (struct cc_slice){0} : text(value), .settled = writer->settled, .keyed = key != 0, .key = key};
    struct cc_slice bytes = {0};
    assert_int_equal(crdt_part_make(&world->kind, &writer->parts, &write, &world->arena, &bytes), CC_OK);
    if (bytes.data != NULL) {
        assert_true(world->n_sent < PARTS_MAX);
        world->sent[world->n_sent] = (struct crdt_part){stamp, bytes};
        hear(world, by, &world->sent[world->n_sent++]);
    }
}

static void meet(struct world *world, uint32_t a, uint32_t b)
{
    struct crdt_parts from_a = world->writers[a].parts, from_b = world->writers[b].parts;
    for (uint32_t i = 0; i < from_b.n; i++) {
        hear(world, a, &from_b.at[i]);
    }
    for (uint32_t i = 0; i < from_a.n; i++) {
        hear(world, b, &from_a.at[i]);
    }
}

static void meet_all(struct world *world)
{
    for (int round = 0; round < 2; round++) {
        meet(world, 0, 1);
        meet(world, 1, 2);
    }
    assert_string_equal(shown(world, &world->writers[0].parts), shown(world, &world->writers[1].parts));
    assert_string_equal(shown(world, &world->writers[0].parts), shown(world, &world->writers[2].parts));
}

static const char *value_of(struct world *world)
{
    return shown(world, &world->writers[0].parts);
}

// -- What each type promises ------------------------------------------------------------------------------------------

static void counters_add_up(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_COUNTER, "bigint");
    write_value(&world, 0, "5", 0);
    meet_all(&world);
    write_value(&world, 0, "6", 0);  // + 1
    write_value(&world, 1, "15", 0); // + 10
    write_value(&world, 2, "3", 0);  // - 2
    write_value(&world, 2, "4", 0);  // + 1
    meet_all(&world);
    assert_string_equal(value_of(&world), "15");
    cc_arena_finish(&world.arena);
}

static void a_counter_has_its_default_as_base(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_COUNTER, "numeric(10,2)");
    world.kind.base = text("100.00");
    write_value(&world, 0, "100.00", 0); // inserted as the default: nothing counted
    write_value(&world, 1, "101.50", 0);
    write_value(&world, 2, "99.00", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "100.50");
    write_value(&world, 0, NULL, 0); // NULL is the base
    meet_all(&world);
    assert_string_equal(value_of(&world), "100.00");
    cc_arena_finish(&world.arena);
}

static void a_counter_without_anything_counted_is_null_unless_it_must_not_be(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_COUNTER, "numeric(10,2)");
    assert_string_equal(value_of(&world), "NULL");
    world.kind.not_null = true;
    assert_string_equal(value_of(&world), "0.00");
    cc_arena_finish(&world.arena);
}

static void a_counter_stops_at_the_limits_of_its_type(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_COUNTER, "smallint");
    write_value(&world, 0, "30000", 0);
    write_value(&world, 1, "30000", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "32767");
    write_value(&world, 0, "32667", 0); // - 100 of what is really 60000
    meet_all(&world);
    assert_string_equal(value_of(&world), "32767");
    cc_arena_finish(&world.arena);
}

static void twins_under_one_key_count_once(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_COUNTER, "integer");
    write_value(&world, 0, "1", 77);
    write_value(&world, 1, "1", 77); // the same request, sent again to a replica that is cut off
    write_value(&world, 1, "2", 78);
    write_value(&world, 2, "5", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "7");
    write_value(&world, 0, "8", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "8");
    cc_arena_finish(&world.arena);
}

static void old_keys_are_folded_and_still_count(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct crdt_kind kind = kind_of(CRDT_COUNTER, "bigint", &arena);
    struct crdt_parts parts = {0};
    size_t n_bytes_full = 0;
    for (uint64_t i = 1; i <= 3 * CRDT_KEYED_MAX; i++) {
        struct clock_stamp stamp = {.hlc = i, .replica = 1, .incarnation = 1};
        struct crdt_part_write write = {.stamp = stamp, .value = text(cc_arena_printf(&arena, "%d", (int)i)), .keyed = true, .key = i};
        struct cc_slice bytes;
        assert_int_equal(crdt_part_make(&kind, &parts, &write, &arena, &bytes), CC_OK);
        assert_true(crdt_parts_take(&kind, &parts, &(struct crdt_part){stamp, bytes}, &arena));
        n_bytes_full = i == CRDT_KEYED_MAX ? bytes.n : n_bytes_full;
        assert_true(n_bytes_full == 0 || bytes.n <= n_bytes_full + 4); // it stays as long as it is
    }
    assert_string_equal(show(crdt_parts_value(&kind, &parts, &arena), &arena), "768");
    cc_arena_finish(&arena);
}

static void settled_keys_are_folded_unless_they_have_a_twin(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_COUNTER, "integer");
    write_value(&world, 0, "1", 77);
    write_value(&world, 1, "1", 77);
    write_value(&world, 0, "2", 78);
    meet_all(&world);
    write_value(&world, 0, "3", 79);
    size_t n_before = world.sent[world.n_sent - 1].bytes.n;
    meet_all(&world);
    world.writers[0].settled = world.writers[0].clock;
    write_value(&world, 0, "4", 0);
    size_t n_after = world.sent[world.n_sent - 1].bytes.n;
    assert_int_equal(n_before - n_after, 2 * (8 + 8 + 2)); // 78 and 79; 77 still counts once
    meet_all(&world);
    assert_string_equal(value_of(&world), "4");
    cc_arena_finish(&world.arena);
}

static void a_counter_shows_the_digits_of_the_summand_that_has_most(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_COUNTER, "numeric");
    write_value(&world, 0, "1", 0);
    write_value(&world, 1, "1.0", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "2.0");
    write_value(&world, 2, "17", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "17.0");
    write_value(&world, 2, "17.00", 0); // 0.00 more
    meet_all(&world);
    assert_string_equal(value_of(&world), "17.00");
    size_t n_sent = world.n_sent;
    write_value(&world, 2, "17", 0);
    assert_int_equal(world.n_sent, n_sent);
    cc_arena_finish(&world.arena);
}

static void a_counter_cannot_take_what_is_no_number(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_COUNTER, "numeric");
    struct crdt_part_write write = {.stamp = {.hlc = 1, .replica = 1}, .value = text("NaN")};
    struct cc_slice bytes;
    assert_int_equal(crdt_part_make(&world.kind, &world.writers[0].parts, &write, &world.arena, &bytes), CC_INVALID);
    cc_arena_finish(&world.arena);
}

static void extremes_only_go_one_way(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_MAX, "integer");
    write_value(&world, 0, "9", 0);
    write_value(&world, 1, "10", 0);
    write_value(&world, 2, "-3", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "10");
    write_value(&world, 2, "5", 0); // not greater: nothing
    assert_int_equal(world.n_sent, 3);
    write_value(&world, 2, NULL, 0);
    assert_int_equal(world.n_sent, 3);
    cc_arena_finish(&world.arena);
    world_init(&world, CRDT_MIN, "timestamp with time zone");
    write_value(&world, 0, "2026-11-22 10:00:00.5+00", 0);
    write_value(&world, 1, "2026-11-22 10:00:00+00", 0);
    write_value(&world, 2, "infinity", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "2026-11-22 10:00:00+00");
    cc_arena_finish(&world.arena);
}

// Ascending, as PostgreSQL orders them.
static void check_order(const char *type, const char *const *values, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        struct world world;
        world_init(&world, CRDT_MAX, type);
        write_value(&world, 0, values[i + 1], 0);
        write_value(&world, 1, values[i], 0);
        meet_all(&world);
        assert_string_equal(value_of(&world), values[i + 1]);
        cc_arena_finish(&world.arena);
    }
}

static void values_are_ordered_as_postgresql_orders_them(void **state)
{
    (void)state;
    static const char *const numbers[] = {"-Infinity", "-10", "-9.5", "0.00", "0.1", "2", "10", "Infinity", "NaN"};
    static const char *const doubles[] = {"-1e+20", "-1.5e-07", "0", "1.5e-07", "2e-07", "0.5", "3", "1.25e+15", "1e+20", "Infinity"};
    static const char *const times[] = {"-infinity",           "0100-01-01 00:00:00 BC", "0044-03-14 00:00:00 BC", "0044-03-15 00:00:00 BC",
                                        "0800-12-25 00:00:00", "2026-11-22 10:00:00",    "2026-11-22 10:00:00.25", "2026-11-22 10:00:00.5",
                                        "2026-11-22 10:00:01", "12026-01-01 00:00:00",   "infinity"};
    static const char *const booleans[] = {"f", "t"};
    static const char *const texts[] = {"", "B", "a", "aa", "b"};
    check_order("numeric", numbers, sizeof(numbers) / sizeof(numbers[0]));
    check_order("double precision", doubles, sizeof(doubles) / sizeof(doubles[0]));
    check_order("timestamp without time zone", times, sizeof(times) / sizeof(times[0]));
    check_order("boolean", booleans, 2);
    check_order("text", texts, sizeof(texts) / sizeof(texts[0]));
}

static void sets_unite(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_SET, "text[]");
    write_value(&world, 0, "{b,a,b,NULL}", 0);
    assert_string_equal(value_of(&world), "{a,b}");
    write_value(&world, 1, "{c}", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "{a,b,c}");
    write_value(&world, 2, "{c,b}", 0); // removes a
    write_value(&world, 1, "{a,b,c,d}", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "{b,c,d}");
    write_value(&world, 0, "{}", 0);
    meet_all(&world);
    assert_string_equal(value_of(&world), "{}");
    cc_arena_finish(&world.arena);
}

static void an_addition_wins_over_a_concurrent_removal(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_SET, "text[]");
    write_value(&world, 0, "{x}", 0);
    meet_all(&world);
    write_value(&world, 1, "{}", 0);
    write_value(&world, 0, "{}", 0);
    write_value(&world, 0, "{x}", 0); // added anew: nobody else has seen this addition
    meet_all(&world);
    assert_string_equal(value_of(&world), "{x}");
    write_value(&world, 2, "{}", 0); // has seen it
    meet_all(&world);
    assert_string_equal(value_of(&world), "{}");
    cc_arena_finish(&world.arena);
}

static void a_removal_may_arrive_before_what_it_removes(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_SET, "text[]");
    write_value(&world, 0, "{x,y}", 0);
    meet(&world, 0, 1);
    write_value(&world, 1, "{y}", 0);
    hear(&world, 2, &world.sent[1]);
    assert_string_equal(shown(&world, &world.writers[2].parts), "{}");
    hear(&world, 2, &world.sent[0]);
    assert_string_equal(shown(&world, &world.writers[2].parts), "{y}");
    cc_arena_finish(&world.arena);
}

static void removals_are_forgotten_once_the_additions_are_gone_everywhere(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_SET, "integer[]");
    for (int i = 0; i < 5; i++) {
        world.n_sent = 0;
        write_value(&world, 0, "{1,2,3}", 0);
        meet_all(&world);
        write_value(&world, 1, "{}", 0);
        meet_all(&world);
    }
    write_value(&world, 0, "{9}", 0);
    meet_all(&world);
    write_value(&world, 1, "{8,9}", 0);
    assert_true(world.sent[world.n_sent - 1].bytes.n > 15 * (1 + 16)); // somebody may still show what was removed 15 times
    meet_all(&world);
    world.writers[1].settled = world.writers[1].clock;
    write_value(&world, 1, "{7,8,9}", 0);
    assert_true(world.sent[world.n_sent - 1].bytes.n < 30); // "7", "8", and no removals
    cc_arena_finish(&world.arena);
}

static void a_removal_holds_where_it_is_heard_before_the_part_that_follows_it(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_SET, "text[]");
    write_value(&world, 0, "{x}", 0);
    meet_all(&world);
    write_value(&world, 1, "{}", 0);
    meet(&world, 0, 1);
    write_value(&world, 0, "{a}", 0); // does not list x any more
    meet(&world, 0, 1);
    write_value(&world, 1, "{a,b}", 0);
    hear(&world, 2, &world.sent[3]); // before the third
    assert_string_equal(shown(&world, &world.writers[2].parts), "{b}");
    cc_arena_finish(&world.arena);
}

static void a_set_remembers_so_many_removals_at_most(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_SET, "integer[]");
    size_t n_bytes = 0;
    for (int i = 0; i < CRDT_REMOVED_MAX + 50; i++) {
        world.n_sent = 0;
        write_value(&world, 0, "{1}", 0);
        meet_all(&world);
        write_value(&world, 1, "{}", 0);
        meet_all(&world);
        n_bytes = world.sent[world.n_sent - 1].bytes.n;
    }
    assert_true(n_bytes < (CRDT_REMOVED_MAX + 2) * (2 + 16));
    cc_arena_finish(&world.arena);
}

static void elements_are_written_as_postgresql_writes_them(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, CRDT_SET, "text[]");
    write_value(&world, 0, "{\"\",\"NULL\",\"a b\",\"{\",\"\\\"\",\"\\\\\",\"a,b\",plain,\"\xc3\xa4\"}", 0);
    assert_string_equal(value_of(&world), "{\"\",\"\\\"\",\"NULL\",\"\\\\\",\"a b\",\"a,b\",plain,\"{\",\xc3\xa4}");
    write_value(&world, 0, "[0:1]={q,r}", 0);
    assert_string_equal(value_of(&world), "{q,r}");
    cc_arena_finish(&world.arena);
}

// -- Algebra ----------------------------------------------------------------------------------------------------------

static const char *random_value(struct world *world, struct cc_prng *prng)
{
    if (cc_prng_below(prng, 10) == 0) {
        return NULL;
    }
    switch (world->kind.merge) {
    case CRDT_SET: {
        uint64_t bits = cc_prng_below(prng, 16);
        return cc_arena_printf(&world->arena, "{%s%s%s%sz}", bits & 1 ? "a," : "", bits & 2 ? "b," : "", bits & 4 ? "c," : "", bits & 8 ? "d," : "");
    }
    case CRDT_LWW:
    case CRDT_COUNTER:
    case CRDT_MAX:
    case CRDT_MIN:
        break;
    }
    return cc_arena_printf(&world->arena, "%d", (int)cc_prng_below(prng, 200) - 100);
}

// Writers write and meet at random; what they sent is then delivered in any order, any number of times.
static void random_history(struct world *world, struct cc_prng *prng)
{
    for (uint64_t n = 1 + cc_prng_below(prng, 8); n > 0; n--) {
        uint32_t by = (uint32_t)cc_prng_below(prng, WRITERS);
        if (cc_prng_below(prng, 3) == 0) {
            meet(world, by, (by + 1) % WRITERS);
        } else {
            const char *value = random_value(world, prng);
            write_value(world, by, value, cc_prng_below(prng, 3) == 0 ? 1 + cc_prng_below(prng, 3) : 0);
        }
    }
}

static bool same_parts(const struct crdt_parts *a, const struct crdt_parts *b)
{
    for (uint32_t i = 0; a->n == b->n && i < a->n; i++) {
        if (clock_stamp_compare(&a->at[i].stamp, &b->at[i].stamp) != 0 || !cc_slice_equal(a->at[i].bytes, b->at[i].bytes)) {
            return false;
        }
    }
    return a->n == b->n;
}

static struct crdt_parts deliver(struct world *world, struct cc_prng *prng, bool repeat)
{
    struct crdt_parts parts = {0};
    size_t order[PARTS_MAX];
    for (size_t i = 0; i < world->n_sent; i++) {
        size_t at = (size_t)cc_prng_below(prng, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (size_t i = 0; i < world->n_sent; i++) {
        (void)crdt_parts_take(&world->kind, &parts, &world->sent[order[i]], &world->arena);
        if (repeat) {
            (void)crdt_parts_take(&world->kind, &parts, &world->sent[order[cc_prng_below(prng, i + 1)]], &world->arena);
        }
    }
    return parts;
}

static struct crdt_parts join(struct world *world, const struct crdt_parts *a, const struct crdt_parts *b)
{
    struct crdt_parts joined = {.n = a->n, .at = cc_arena_array(&world->arena, a->n, sizeof(*a->at))};
    for (uint32_t i = 0; i < a->n; i++) {
        joined.at[i] = a->at[i];
    }
    for (uint32_t i = 0; i < b->n; i++) {
        (void)crdt_parts_take(&world->kind, &joined, &b->at[i], &world->arena);
    }
    return joined;
}

static void check_algebra(enum crdt_merge merge, const char *type)
{
    struct cc_prng prng;
    cc_prng_seed(&prng, 1000 + (uint64_t)merge);
    for (long i = 0; i < n_cases; i++) {
        struct world world;
        world_init(&world, merge, type);
        random_history(&world, &prng);
        struct crdt_parts one = deliver(&world, &prng, false), other = deliver(&world, &prng, true);
        assert_true(same_parts(&one, &other)); // commutative and idempotent, write by write
        const struct crdt_parts *x = &world.writers[0].parts, *y = &world.writers[1].parts, *z = &world.writers[2].parts;
        struct crdt_parts xy = join(&world, x, y), yx = join(&world, y, x), yz = join(&world, y, z), xx = join(&world, x, x);
        struct crdt_parts left = join(&world, &xy, z), right = join(&world, x, &yz);
        assert_true(same_parts(&xy, &yx));
        assert_true(same_parts(&left, &right));
        assert_true(same_parts(&xx, x));
        assert_true(same_parts(&left, &one)); // the join of all states is the state of all writes
        assert_string_equal(shown(&world, &left), shown(&world, &one));
        cc_arena_finish(&world.arena);
    }
}

static void counters_merge_in_any_order_any_number_of_times(void **state)
{
    (void)state;
    check_algebra(CRDT_COUNTER, "numeric");
}

static void greatest_values_merge_in_any_order_any_number_of_times(void **state)
{
    (void)state;
    check_algebra(CRDT_MAX, "integer");
}

static void smallest_values_merge_in_any_order_any_number_of_times(void **state)
{
    (void)state;
    check_algebra(CRDT_MIN, "integer");
}

static void sets_merge_in_any_order_any_number_of_times(void **state)
{
    (void)state;
    check_algebra(CRDT_SET, "text[]");
}

// A model without parts: what was added to the value, by whom.
static void a_counter_is_the_sum_of_all_differences(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 31);
    for (long i = 0; i < n_cases; i++) {
        struct world world;
        world_init(&world, CRDT_COUNTER, "bigint");
        long sum = 0;
        for (uint64_t n = 1 + cc_prng_below(&prng, 10); n > 0; n--) {
            uint32_t by = (uint32_t)cc_prng_below(&prng, WRITERS);
            if (cc_prng_below(&prng, 3) == 0) {
                meet(&world, by, (by + 1) % WRITERS);
                continue;
            }
            const char *before = shown(&world, &world.writers[by].parts);
            long amount = (long)cc_prng_below(&prng, 9) - 4;
            long value = (strcmp(before, "NULL") == 0 ? 0 : strtol(before, NULL, 10)) + amount;
            write_value(&world, by, cc_arena_printf(&world.arena, "%ld", value), 0);
            sum += amount;
        }
        meet_all(&world);
        assert_int_equal(strtol(value_of(&world), NULL, 10), sum); // "NULL" is 0
        cc_arena_finish(&world.arena);
    }
}

static void a_writer_sees_what_it_wrote(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 41);
    for (long i = 0; i < n_cases; i++) {
        struct world world;
        world_init(&world, i % 2 == 0 ? CRDT_COUNTER : CRDT_SET, i % 2 == 0 ? "bigint" : "text[]");
        random_history(&world, &prng);
        const char *value = random_value(&world, &prng);
        write_value(&world, 1, value, 0);
        if (value != NULL) {
            assert_string_equal(shown(&world, &world.writers[1].parts), value);
        }
        cc_arena_finish(&world.arena);
    }
}

// -- At every moment, at every replica ----------------------------------------------------------------------------------
//
// Replicas hear each other's writes late, those of one in order, those of different ones in any. What is settled is known as
// crdt/stability.h has it: later than it is so.

enum { STEPS = 40, ELEMENTS = 4 };

struct settling { // every member has all writes up to hlc, at a moment when so many had been made
    uint64_t hlc;
    uint32_t made[WRITERS];
};

struct plain_write { // by the words of docs/CONSISTENCY.md, without parts
    uint32_t by, number;         // the number-th of its replica, from 1
    uint32_t view[WRITERS];      // what its replica held
    long amount;                 // of a counter
    uint64_t key;
    unsigned added;              // elements of a set
    uint32_t removed[ELEMENTS];  // whose additions it removed, as bits of writes
};

struct mail {
    struct world world;
    struct plain_write plain[PARTS_MAX];
    uint32_t made[WRITERS];
    size_t sent_as[WRITERS][PARTS_MAX + 1];
    uint32_t held[WRITERS][WRITERS]; // by whom, of whom
    struct settling settlings[STEPS];
    size_t n_settlings;
};

static bool is_in_view(const struct plain_write *write, const uint32_t *view)
{
    return write->number <= view[write->by];
}

static void note_settled(struct mail *mail)
{
    struct settling now = {.hlc = UINT64_MAX};
    for (uint32_t w = 0; w < WRITERS; w++) {
        now.hlc = mail->world.writers[w].clock < now.hlc ? mail->world.writers[w].clock : now.hlc;
        now.made[w] = mail->made[w];
        for (uint32_t by = 0; by < WRITERS; by++) {
            if (mail->held[w][by] < mail->made[by]) {
                uint64_t next = mail->world.sent[mail->sent_as[by][mail->held[w][by] + 1]].stamp.hlc;
                now.hlc = next <= now.hlc ? next - 1 : now.hlc;
            }
        }
    }
    mail->settlings[mail->n_settlings++] = now;
    for (uint32_t w = 0; w < WRITERS; w++) {
        for (size_t i = 0; i < mail->n_settlings; i++) {
            const struct settling *then = &mail->settlings[i];
            bool reached = then->hlc > mail->world.writers[w].settled;
            for (uint32_t by = 0; by < WRITERS; by++) {
                reached = reached && mail->held[w][by] >= then->made[by];
            }
            mail->world.writers[w].settled = reached ? then->hlc : mail->world.writers[w].settled;
        }
    }
}

static void deliver_next(struct mail *mail, uint32_t to, uint32_t by)
{
    if (to != by && mail->held[to][by] < mail->made[by]) {
        hear(&mail->world, to, &mail->world.sent[mail->sent_as[by][++mail->held[to][by]]]);
    }
}

static void deliver_all(struct mail *mail)
{
    for (uint32_t to = 0; to < WRITERS; to++) {
        for (uint32_t by = 0; by < WRITERS; by++) {
            while (to != by && mail->held[to][by] < mail->made[by]) {
                deliver_next(mail, to, by);
            }
        }
    }
}

// The write's plain form, unless it changes nothing; to be filled in.
static struct plain_write *write_by(struct mail *mail, uint32_t by, const char *value, uint64_t key)
{
    size_t number = mail->world.n_sent;
    uint32_t view[WRITERS];
    memcpy(view, mail->held[by], sizeof(view));
    write_value(&mail->world, by, value, key);
    if (mail->world.n_sent == number) {
        return NULL;
    }
    mail->made[by]++;
    mail->held[by][by]++;
    mail->sent_as[by][mail->made[by]] = number;
    struct plain_write *write = &mail->plain[number];
    *write = (struct plain_write){.by = by, .number = mail->made[by], .key = key};
    memcpy(write->view, view, sizeof(view));
    return write;
}

static void mail_init(struct mail *mail, enum crdt_merge merge, const char *type)
{
    memset(mail, 0, sizeof(*mail));
    world_init(&mail->world, merge, type);
}

// Of each element, the additions that somebody in the view has removed, as bits of writes; a replica's own write confirms what others
// have removed of its additions.
static uint32_t removed_in(const struct mail *mail, size_t n, const uint32_t *view, unsigned element)
{
    uint32_t removed = 0;
    for (size_t i = 0; i < n; i++) {
        removed |= is_in_view(&mail->plain[i], view) ? mail->plain[i].removed[element] : 0;
    }
    return removed;
}

static uint32_t live_in(const struct mail *mail, size_t n, const uint32_t *view, unsigned element)
{
    uint32_t live = 0, removed = removed_in(mail, n, view, element);
    for (size_t i = 0; i < n; i++) {
        bool added = is_in_view(&mail->plain[i], view) && (mail->plain[i].added >> element & 1) != 0;
        live |= added ? (uint32_t)1 << i & ~removed : 0;
    }
    return live;
}

static unsigned elements_in(const struct mail *mail, size_t n, const uint32_t *view)
{
    unsigned elements = 0;
    for (unsigned e = 0; e < ELEMENTS; e++) {
        elements |= live_in(mail, n, view, e) != 0 ? 1u << e : 0;
    }
    return elements;
}

static const char *set_text(unsigned elements, struct cc_arena *arena)
{
    struct cc_buffer out = {0};
    for (unsigned e = 0; e < ELEMENTS; e++) {
        if ((elements >> e & 1) != 0) {
            cc_buffer_printf(&out, "%s%c", out.n == 0 ? "" : ",", (char)('a' + e));
        }
    }
    const char *text_of = cc_arena_printf(arena, "{%s}", cc_buffer_text(&out));
    cc_buffer_finish(&out);
    return text_of;
}

static void write_set(struct mail *mail, uint32_t by, unsigned wanted)
{
    size_t n = mail->world.n_sent;
    struct plain_write *write = write_by(mail, by, set_text(wanted, &mail->world.arena), 0);
    for (unsigned e = 0; write != NULL && e < ELEMENTS; e++) {
        uint32_t live = live_in(mail, n, write->view, e);
        bool wants = (wanted >> e & 1) != 0;
        write->added |= wants && live == 0 ? 1u << e : 0;
        write->removed[e] = wants ? 0 : live;
        for (size_t i = 0; i < n; i++) {
            bool own = mail->plain[i].by == by;
            write->removed[e] |= own ? (uint32_t)1 << i & removed_in(mail, n, write->view, e) : 0;
        }
    }
}

static void check_sets(struct mail *mail)
{
    for (uint32_t w = 0; w < WRITERS; w++) {
        const struct crdt_parts *parts = &mail->world.writers[w].parts;
        const char *expected = set_text(elements_in(mail, mail->world.n_sent, mail->held[w]), &mail->world.arena);
        assert_string_equal(parts->n == 0 ? "{}" : shown(&mail->world, parts), expected);
    }
}

static void a_set_shows_what_was_added_and_not_removed_at_every_moment(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 51);
    for (long i = 0; i < (n_cases + 3) / 4; i++) {
        struct mail mail;
        mail_init(&mail, CRDT_SET, "text[]");
        for (int step = 0; step < STEPS && mail.world.n_sent < PARTS_MAX; step++) {
            uint32_t by = (uint32_t)cc_prng_below(&prng, WRITERS);
            if (cc_prng_below(&prng, 3) == 0) {
                write_set(&mail, by, (unsigned)cc_prng_below(&prng, 1u << ELEMENTS));
            } else {
                deliver_next(&mail, by, (uint32_t)cc_prng_below(&prng, WRITERS));
            }
            note_settled(&mail);
            check_sets(&mail);
        }
        deliver_all(&mail);
        check_sets(&mail);
        cc_arena_finish(&mail.world.arena);
    }
}

static bool knows_key(const struct mail *mail, const uint32_t *view, uint64_t key, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (mail->plain[i].key == key && is_in_view(&mail->plain[i], view)) {
            return true;
        }
    }
    return false;
}

static long sum_in(const struct mail *mail, const uint32_t *view)
{
    long sum = 0;
    for (size_t i = 0; i < mail->world.n_sent; i++) {
        const struct plain_write *write = &mail->plain[i];
        bool twin = write->key != 0 && knows_key(mail, view, write->key, i);
        sum += is_in_view(write, view) && !twin ? write->amount : 0;
    }
    return sum;
}

static void check_counters(struct mail *mail)
{
    for (uint32_t w = 0; w < WRITERS; w++) {
        const char *value = shown(&mail->world, &mail->world.writers[w].parts);
        assert_int_equal(strtol(value, NULL, 10), sum_in(mail, mail->held[w])); // "NULL" is 0
    }
}

// A replica that has heard of a key answers with the outcome.
static void increment(struct mail *mail, uint32_t by, uint64_t key)
{
    if (key != 0 && knows_key(mail, mail->held[by], key, mail->world.n_sent)) {
        return;
    }
    long amount = key == 0 ? 1000 : (long)key;
    long before = strtol(shown(&mail->world, &mail->world.writers[by].parts), NULL, 10);
    struct plain_write *write = write_by(mail, by, cc_arena_printf(&mail->world.arena, "%ld", before + amount), key);
    assert_non_null(write);
    write->amount = amount;
}

static void a_counter_counts_each_key_once_at_every_moment(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 61);
    for (long i = 0; i < (n_cases + 3) / 4; i++) {
        struct mail mail;
        mail_init(&mail, CRDT_COUNTER, "bigint");
        for (int step = 0; step < STEPS && mail.world.n_sent < PARTS_MAX; step++) {
            uint32_t by = (uint32_t)cc_prng_below(&prng, WRITERS);
            if (cc_prng_below(&prng, 3) == 0) {
                increment(&mail, by, cc_prng_below(&prng, 6));
            } else {
                deliver_next(&mail, by, (uint32_t)cc_prng_below(&prng, WRITERS));
            }
            note_settled(&mail);
            check_counters(&mail);
        }
        deliver_all(&mail);
        check_counters(&mail);
        cc_arena_finish(&mail.world.arena);
    }
}

// -- Rows with parts --------------------------------------------------------------------------------------------------

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

static void stored_parts_that_are_malformed_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {{"", 0}, {"\x01", 1}, {"\x01" "0123456789abcdef", 17}, {"\x00x", 2}, {"\xff\xff\xff\xff\xff", 5}};
    struct cc_arena arena;
    cc_arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct crdt_parts parts;
        assert_int_not_equal(crdt_parts_read(cc_slice_of(cases[i].bytes, cases[i].n), &arena, &parts), CC_OK);
    }
    cc_arena_finish(&arena);
}

int main(int argc, char **argv)
{
    n_cases = argc > 1 ? strtol(argv[1], NULL, 10) : CASES_DEFAULT;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(sums_and_order_are_those_of_integers),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(types_that_cannot_be_merged_so_are_refused),
        cmocka_unit_test(counters_add_up),
        cmocka_unit_test(a_counter_has_its_default_as_base),
        cmocka_unit_test(a_counter_without_anything_counted_is_null_unless_it_must_not_be),
        cmocka_unit_test(a_counter_stops_at_the_limits_of_its_type),
        cmocka_unit_test(twins_under_one_key_count_once),
        cmocka_unit_test(old_keys_are_folded_and_still_count),
        cmocka_unit_test(settled_keys_are_folded_unless_they_have_a_twin),
        cmocka_unit_test(a_counter_shows_the_digits_of_the_summand_that_has_most),
        cmocka_unit_test(a_counter_cannot_take_what_is_no_number),
        cmocka_unit_test(extremes_only_go_one_way),
        cmocka_unit_test(values_are_ordered_as_postgresql_orders_them),
        cmocka_unit_test(sets_unite),
        cmocka_unit_test(an_addition_wins_over_a_concurrent_removal),
        cmocka_unit_test(a_removal_may_arrive_before_what_it_removes),
        cmocka_unit_test(removals_are_forgotten_once_the_additions_are_gone_everywhere),
        cmocka_unit_test(a_removal_holds_where_it_is_heard_before_the_part_that_follows_it),
        cmocka_unit_test(a_set_remembers_so_many_removals_at_most),
        cmocka_unit_test(elements_are_written_as_postgresql_writes_them),
        cmocka_unit_test(counters_merge_in_any_order_any_number_of_times),
        cmocka_unit_test(greatest_values_merge_in_any_order_any_number_of_times),
        cmocka_unit_test(smallest_values_merge_in_any_order_any_number_of_times),
        cmocka_unit_test(sets_merge_in_any_order_any_number_of_times),
        cmocka_unit_test(a_counter_is_the_sum_of_all_differences),
        cmocka_unit_test(a_writer_sees_what_it_wrote),
        cmocka_unit_test(a_set_shows_what_was_added_and_not_removed_at_every_moment),
        cmocka_unit_test(a_counter_counts_each_key_once_at_every_moment),
        cmocka_unit_test(a_deletion_clears_what_was_counted_before),
        cmocka_unit_test(what_is_counted_after_a_concurrent_deletion_stays),
        cmocka_unit_test(a_tombstone_goes_when_all_that_it_holds_is_settled_and_nothing_counts_any_more),
        cmocka_unit_test(a_write_without_parts_is_one),
        cmocka_unit_test(malformed_parts_change_nothing),
        cmocka_unit_test(rows_with_parts_converge),
        cmocka_unit_test(who_joins_rows_whose_tombstones_are_gone_has_what_all_writes_amount_to),
        cmocka_unit_test(stored_rows_of_released_versions_are_read),
        cmocka_unit_test(few_writes_make_one_row_in_every_order_with_every_repetition),
        cmocka_unit_test(stored_parts_that_are_malformed_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
