// Parts of columns with merge types: what each type promises; the algebra of parts over random writers; what is shown at every moment.
// `test_crdt_parts CASES` runs that many cases of each property instead of the few of the normal run.
#include "base/prng.h"
#include "crdt/decimal.h"
#include "crdt/parts_fixture.h"

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

// -- Kinds ------------------------------------------------------------------------------------------------------------

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

// -- Stored form ------------------------------------------------------------------------------------------------------

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
        cmocka_unit_test(stored_parts_that_are_malformed_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
