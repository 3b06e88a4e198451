// SipHash-2-4 against the reference vectors of its authors (key 00..0f, message 00, 01, ...).
#include "base/hash.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static void reference_vectors_are_met(void **state)
{
    (void)state;
    uint8_t key[16];
    uint8_t message[64];
    for (uint8_t i = 0; i < 64; i++) {
        message[i] = i;
    }
    for (uint8_t i = 0; i < 16; i++) {
        key[i] = i;
    }
    assert_true(cc_siphash(key, message, 0) == UINT64_C(0x726fdb47dd0e0e31));
    assert_true(cc_siphash(key, message, 1) == UINT64_C(0x74f839c593dc67fd));
    assert_true(cc_siphash(key, message, 8) == UINT64_C(0x93f5f5799a932462));
    assert_true(cc_siphash(key, message, 15) == UINT64_C(0xa129ca6149be45e5));
}

static void another_key_gives_another_hash(void **state)
{
    (void)state;
    const uint8_t one[16] = {1};
    const uint8_t two[16] = {2};
    assert_true(cc_siphash(one, "key", 3) != cc_siphash(two, "key", 3));
    assert_true(cc_siphash(one, NULL, 0) != cc_siphash(two, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_vectors_are_met),
        cmocka_unit_test(another_key_gives_another_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
