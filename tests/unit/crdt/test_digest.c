// Digests of weak rows.
#include "crdt/digest.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

static void the_hash_is_that_of_postgresql(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t seed;
        int64_t hash; // SELECT hashtextextended(text, seed)
    } cases[] = {
        {"", 0, -6939563903564495251},
        {"abc", 0, -6747756470228489321},
        {"abcdefghijklmno", 0, 9043359162837317271},
        {"abcdefghijkl", 12345678901234567, -844387719842142272},
        {"abcdefghijklmnopqrstuvwxyz0123456789", (uint64_t)-5, -4568768302394649607},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true((int64_t)crdt_digest_hash(cc_slice_text(cases[i].text), cases[i].seed) == cases[i].hash);
    }
}

static void a_field_counts_by_its_row_its_column_and_its_value(void **state)
{
    (void)state;
    struct cc_slice keys[2] = {cc_slice_text("a"), cc_slice_text("b")};
    uint64_t a = crdt_digest_key(keys, 1), b = crdt_digest_key(keys + 1, 1);
    struct cc_slice x = cc_slice_text("x"), y = cc_slice_text("y"), one = cc_slice_text("1"), two = cc_slice_text("2");
    uint64_t field = crdt_digest_field(a, x, one);
    assert_true(field != crdt_digest_field(b, x, one));
    assert_true(field != crdt_digest_field(a, y, one));
    assert_true(field != crdt_digest_field(a, x, two));
    // Values that change places do not cancel out.
    assert_true((crdt_digest_field(a, x, one) ^ crdt_digest_field(a, y, two)) != (crdt_digest_field(a, x, two) ^ crdt_digest_field(a, y, one)));
}

static void null_counts_nothing_and_the_empty_text_does(void **state)
{
    (void)state;
    struct cc_slice key = cc_slice_text("a");
    assert_true(crdt_digest_field(crdt_digest_key(&key, 1), cc_slice_text("x"), (struct cc_slice){0}) == 0);
    assert_true(crdt_digest_field(crdt_digest_key(&key, 1), cc_slice_text("x"), cc_slice_text("")) != 0);
}

static void keys_of_two_columns_are_not_their_concatenation(void **state)
{
    (void)state;
    struct cc_slice one[2] = {cc_slice_text("ab"), cc_slice_text("c")}, other[2] = {cc_slice_text("a"), cc_slice_text("bc")};
    assert_true(crdt_digest_key(one, 2) != crdt_digest_key(other, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_that_of_postgresql),
        cmocka_unit_test(a_field_counts_by_its_row_its_column_and_its_value),
        cmocka_unit_test(null_counts_nothing_and_the_empty_text_does),
        cmocka_unit_test(keys_of_two_columns_are_not_their_concatenation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
