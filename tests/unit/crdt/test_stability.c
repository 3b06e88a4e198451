// Stability: what the bounds promise holds in random runs, and who holds them back.
#include "base/prng.h"
#include "crdt/stability.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS = 3, CHANGES_MAX = 2000, MESSAGES_MAX = 256 };

struct change {
    uint64_t hlc;
    uint64_t writer_held; // what its writer had as `held` when it wrote
};

struct message { // a claim under way
    uint32_t to, from;
    struct crdt_claim claim;
    struct crdt_frontier flushed;
};

struct world {
    struct cc_prng prng;
    uint64_t now;
    struct change changes[MEMBERS][CHANGES_MAX]; // by writer, by sequence - 1
    uint64_t n_changes[MEMBERS];
    uint64_t has[MEMBERS][MEMBERS], flushed[MEMBERS][MEMBERS]; // at a member, of a writer
    uint64_t clock[MEMBERS];
    struct crdt_stability stability[MEMBERS];
    struct message messages[MESSAGES_MAX];
    size_t n_messages;
};

static uint64_t draw(struct world *world, uint64_t n)
{
    return cc_prng_below(&world->prng, n);
}

static void write_one(struct world *world, uint32_t m)
{
    if (world->n_changes[m] == CHANGES_MAX) {
        return;
    }
    world->clock[m] = world->clock[m] + 1 + draw(world, 5);
    world->changes[m][world->n_changes[m]++] = (struct change){world->clock[m], world->stability[m].held};
    world->has[m][m] = world->n_changes[m];
}

static struct crdt_frontier flushed_of(const struct world *world, uint32_t m)
{
    struct crdt_frontier frontier;
    frontier.n = 0;
    for (uint32_t w = 0; w < MEMBERS; w++) {
        if (world->flushed[m][w] > 0) {
            assert_int_equal(crdt_frontier_raise(&frontier, (struct crdt_origin){w + 1, 1}, world->flushed[m][w]), CC_OK);
        }
    }
    return frontier;
}

static void claim(struct world *world, uint32_t m)
{
    struct crdt_claim own = {world->n_changes[m], world->clock[m], world->stability[m].held};
    struct crdt_frontier flushed = flushed_of(world, m);
    crdt_stability_told(&world->stability[m], (struct crdt_origin){m + 1, 1}, &own, &flushed);
    for (uint32_t to = 0; to < MEMBERS && world->n_messages < MESSAGES_MAX; to++) {
        if (to != m) {
            world->messages[world->n_messages++] = (struct message){to, m, own, flushed};
        }
    }
}

static void deliver(struct world *world)
{
    if (world->n_messages == 0) {
        return;
    }
    size_t i = (size_t)draw(world, world->n_messages);
    struct message message = world->messages[i];
    world->messages[i] = world->messages[--world->n_messages];
    if (draw(world, 5) > 0) { // lost else
        crdt_stability_told(&world->stability[message.to], (struct crdt_origin){message.from + 1, 1}, &message.claim, &message.flushed);
    }
}

static void receive(struct world *world, uint32_t m)
{
    uint32_t w = (uint32_t)draw(world, MEMBERS);
    if (world->has[m][w] < world->n_changes[w]) {
        uint64_t hlc = world->changes[w][world->has[m][w]++].hlc;
        world->clock[m] = hlc > world->clock[m] ? hlc : world->clock[m];
    }
}

static void check(const struct world *world, uint32_t m)
{
    const struct crdt_stability *stability = &world->stability[m];
    for (uint32_t w = 0; w < MEMBERS; w++) {
        for (uint64_t c = 0; c < world->n_changes[w]; c++) {
            const struct change *change = &world->changes[w][c];
            if (change->hlc <= stability->held) {
                assert_true(world->flushed[m][w] > c);
            }
            for (uint32_t o = 0; o < MEMBERS && change->hlc <= stability->bound; o++) {
                assert_true(world->flushed[o][w] > c);
            }
            if (world->flushed[m][w] <= c) { // still to come: its writer knew of all that is settled
                assert_true(change->writer_held >= stability->bound);
            }
        }
    }
}

static void run(uint64_t seed, uint64_t *bound_out)
{
    struct world *world = calloc(1, sizeof(*world));
    cc_prng_seed(&world->prng, seed);
    const uint32_t ids[MEMBERS] = {1, 2, 3};
    for (uint32_t m = 0; m < MEMBERS; m++) {
        crdt_stability_set_members(&world->stability[m], m + 1, ids, MEMBERS);
        world->clock[m] = 1 + draw(world, 50);
    }
    for (int step = 0; step < 3000; step++) {
        uint32_t m = (uint32_t)draw(world, MEMBERS);
        switch (draw(world, 7)) {
        case 0:
            write_one(world, m);
            break;
        case 1:
            claim(world, m);
            break;
        case 2:
        case 3:
            receive(world, m);
            break;
        case 4:
            memcpy(world->flushed[m], world->has[m], sizeof(world->has[m]));
            break;
        default:
            deliver(world);
            break;
        }
        if (step % 10 == 0) {
            check(world, m);
        }
    }
    *bound_out = world->stability[0].bound;
    free(world);
}

static void what_is_settled_is_everywhere_and_whoever_writes_later_knew_of_it(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t bound;
        run(seed, &bound);
        assert_true(bound > 0);
    }
}

static void tell(struct crdt_stability *stability, uint32_t replica, uint64_t n, struct crdt_claim claim, const struct crdt_frontier *flushed)
{
    for (uint64_t i = 0; i < n; i++) {
        crdt_stability_told(stability, (struct crdt_origin){replica, 1}, &claim, flushed);
    }
}

static void a_member_that_is_away_holds_everything_back_until_it_is_none(void **state)
{
    (void)state;
    struct crdt_stability *stability = calloc(1, sizeof(*stability));
    struct crdt_frontier flushed;
    flushed.n = 0;
    crdt_stability_set_members(stability, 1, (const uint32_t[]){1, 2, 3}, 3);
    tell(stability, 1, 5, (struct crdt_claim){0, 100, 90}, &flushed);
    tell(stability, 2, 5, (struct crdt_claim){0, 110, 80}, &flushed);
    assert_true(stability->held == 0 && stability->bound == 0);
    crdt_stability_set_members(stability, 1, (const uint32_t[]){1, 2}, 2);
    tell(stability, 1, 5, (struct crdt_claim){0, 100, 90}, &flushed);
    tell(stability, 2, 5, (struct crdt_claim){0, 110, 80}, &flushed);
    assert_true(stability->held == 100 && stability->bound == 80);
    free(stability);
}

static void what_somebody_holds_of_an_origin_that_ended_is_waited_for(void **state)
{
    (void)state;
    struct crdt_stability *stability = calloc(1, sizeof(*stability));
    struct crdt_frontier mine, theirs;
    mine.n = theirs.n = 0;
    assert_int_equal(crdt_frontier_raise(&theirs, (struct crdt_origin){9, 4}, 7), CC_OK);
    crdt_stability_set_members(stability, 1, (const uint32_t[]){1, 2}, 2);
    tell(stability, 1, 5, (struct crdt_claim){0, 100, 90}, &mine);
    tell(stability, 2, 5, (struct crdt_claim){0, 100, 90}, &theirs);
    assert_true(stability->bound == 0);
    tell(stability, 1, 3, (struct crdt_claim){0, 100, 90}, &theirs);
    assert_true(stability->bound == 90);
    free(stability);
}

static void histories_are_common_up_to_the_least_that_anybody_has_on_disk(void **state)
{
    (void)state;
    struct crdt_stability *stability = calloc(1, sizeof(*stability));
    struct crdt_frontier one, two, common;
    one.n = two.n = 0;
    assert_int_equal(crdt_frontier_raise(&one, (struct crdt_origin){1, 1}, 10), CC_OK);
    assert_int_equal(crdt_frontier_raise(&one, (struct crdt_origin){2, 1}, 5), CC_OK);
    assert_int_equal(crdt_frontier_raise(&two, (struct crdt_origin){1, 1}, 8), CC_OK);
    crdt_stability_set_members(stability, 1, (const uint32_t[]){1, 2}, 2);
    tell(stability, 1, 1, (struct crdt_claim){0}, &one);
    crdt_stability_common(stability, &common);
    assert_int_equal(common.n, 0);
    tell(stability, 2, 1, (struct crdt_claim){0}, &two);
    crdt_stability_common(stability, &common);
    assert_int_equal(common.n, 1);
    assert_true(common.at[0].sequence == 8);
    free(stability);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_settled_is_everywhere_and_whoever_writes_later_knew_of_it),
        cmocka_unit_test(a_member_that_is_away_holds_everything_back_until_it_is_none),
        cmocka_unit_test(what_somebody_holds_of_an_origin_that_ended_is_waited_for),
        cmocka_unit_test(histories_are_common_up_to_the_least_that_anybody_has_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
