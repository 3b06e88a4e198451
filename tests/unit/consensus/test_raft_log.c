// The log in memory, against a plain array of terms.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/prng.h"
#include "consensus/raft_log.h"

enum { MODEL_MAX = 5000 };

struct model { // term of each index
    uint64_t base, last, cache_first;
    uint64_t terms[MODEL_MAX];
};

static uint64_t model_agreement(const struct model *model, uint64_t index, uint64_t term)
{
    uint64_t at = index < model->last ? index : model->last;
    while (at > model->base && model->terms[at] > term) {
        at--;
    }
    return at == model->base && model->terms[at] > term && at > 0 ? at - 1 : at;
}

static void append(struct raft_log *log, struct model *model, uint64_t term)
{
    struct cc_blob *payload = cc_blob_create("0123456789", 10);
    struct raft_entry entry = {.index = ++model->last, .term = term, .kind = RAFT_ENTRY_DATA, .payload = payload};
    raft_log_append(log, &entry);
    model->terms[model->last] = term;
    cc_blob_unref(payload);
}

static void change(struct raft_log *log, struct model *model, struct cc_prng *prng)
{
    uint64_t action = cc_prng_below(prng, 100);
    if (action < 80 && model->last + 1 < MODEL_MAX) {
        append(log, model, model->terms[model->last] + (cc_prng_chance(prng, 100000) ? cc_prng_below(prng, 3) : 0));
    } else if (action < 85) {
        model->last = cc_prng_between(prng, model->base + (model->last - model->base) / 2, model->last);
        raft_log_truncate(log, model->last);
        model->cache_first = model->cache_first > model->last + 1 ? model->last + 1 : model->cache_first;
    } else if (action < 98 && model->cache_first <= model->last) {
        raft_log_evict_first(log);
        model->cache_first++;
    } else if (action == 99) {
        model->base = cc_prng_between(prng, model->base, model->base + (model->last - model->base) / 4);
        raft_log_compact(log, model->base);
        model->cache_first = model->cache_first > model->base ? model->cache_first : model->base + 1;
    }
}

static void compare(const struct raft_log *log, const struct model *model, struct cc_prng *prng)
{
    assert_int_equal(raft_log_last(log), model->last);
    assert_int_equal(log->cache_bytes, (model->last + 1 - model->cache_first) * (sizeof(struct raft_entry) + 10));
    for (unsigned i = 0; i < 10; i++) {
        uint64_t index = cc_prng_between(prng, 0, model->last + 2);
        bool held = index >= model->base && index <= model->last;
        assert_int_equal(raft_log_term_at(log, index), held ? model->terms[index] : 0);
        const struct raft_entry *entry = raft_log_entry(log, index);
        assert_int_equal(entry != NULL, index >= model->cache_first && index <= model->last);
        assert_true(entry == NULL || entry->index == index);
        uint64_t from = cc_prng_between(prng, model->base, model->last + 2);
        uint64_t term = cc_prng_between(prng, 0, model->terms[model->last] + 1);
        assert_int_equal(raft_log_agreement(log, from, term), model_agreement(model, from, term));
    }
}

static void the_log_behaves_as_an_array_of_terms(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        static struct model model;
        model = (struct model){.cache_first = 1};
        struct raft_log log;
        raft_log_init(&log);
        struct cc_prng prng;
        cc_prng_seed(&prng, seed);
        append(&log, &model, 1);
        for (unsigned i = 0; i < 3000; i++) {
            change(&log, &model, &prng);
            compare(&log, &model, &prng);
        }
        raft_log_finish(&log);
    }
}

static void after_a_reset_the_log_goes_on_behind_the_base(void **state)
{
    (void)state;
    static struct model model;
    model = (struct model){.cache_first = 1};
    struct raft_log log;
    raft_log_init(&log);
    append(&log, &model, 1);
    append(&log, &model, 2);
    raft_log_reset(&log, 100, 7);
    assert_int_equal(raft_log_last(&log), 100);
    assert_int_equal(raft_log_term_at(&log, 100), 7);
    assert_int_equal(raft_log_term_at(&log, 2), 0);
    assert_true(raft_log_matches(&log, 100, 7));
    assert_false(raft_log_matches(&log, 99, 7));
    struct raft_entry entry = {.index = 101, .term = 7, .kind = RAFT_ENTRY_NOOP};
    raft_log_append(&log, &entry);
    assert_int_equal(raft_log_term_at(&log, 101), 7);
    raft_log_finish(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_behaves_as_an_array_of_terms),
        cmocka_unit_test(after_a_reset_the_log_goes_on_behind_the_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
