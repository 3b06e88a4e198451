// CRC-32C against published values, and both implementations against each other.
#include "base/crc32c.h"
#include "base/prng.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void published_values_are_met(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0};
    uint8_t ones[32];
    memset(ones, 0xff, sizeof(ones));
    assert_int_equal(cc_crc32c(0, "123456789", 9), 0xe3069283); // the check value of the polynomial
    assert_int_equal(cc_crc32c(0, zeros, 32), 0x8a9136aa);      // RFC 3720 B.4
    assert_int_equal(cc_crc32c(0, ones, 32), 0x62a8ab43);       // RFC 3720 B.4
    assert_int_equal(cc_crc32c(0, "", 0), 0);
}

static void both_implementations_agree_at_every_length_and_cut(void **state)
{
    (void)state;
    struct cc_prng prng;
    uint8_t bytes[300];
    cc_prng_seed(&prng, 2);
    cc_prng_bytes(&prng, bytes, sizeof(bytes));
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        uint32_t whole = cc_crc32c(0, bytes, n);
        size_t cut = (size_t)cc_prng_between(&prng, 0, n);
        assert_int_equal(whole, cc_crc32c_portable(0, bytes, n));
        assert_int_equal(whole, cc_crc32c(cc_crc32c(0, bytes, cut), bytes + cut, n - cut));
    }
}

static void a_flipped_bit_changes_the_sum(void **state)
{
    (void)state;
    uint8_t bytes[64] = {0};
    uint32_t before = cc_crc32c(0, bytes, sizeof(bytes));
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] = (uint8_t)(1u << bit % 8);
        assert_int_not_equal(cc_crc32c(0, bytes, sizeof(bytes)), before);
        bytes[bit / 8] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values_are_met),
        cmocka_unit_test(both_implementations_agree_at_every_length_and_cut),
        cmocka_unit_test(a_flipped_bit_changes_the_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
