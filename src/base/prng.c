// xoshiro256** 1.0 (Blackman, Vigna), seeded by splitmix64.
#include "base/prng.h"

#include <assert.h>
#include <string.h>

static uint64_t rotate_left(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

static uint64_t splitmix64(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void cc_prng_seed(struct cc_prng *prng, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++) {
        prng->state[i] = splitmix64(&seed);
    }
}

uint64_t cc_prng_next(struct cc_prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t cc_prng_below(struct cc_prng *prng, uint64_t bound)
{
    assert(bound > 0);
    // The first (2^64 mod bound) values would make small results more likely: draw again.
    uint64_t biased = -bound % bound;
    uint64_t value = cc_prng_next(prng);
    while (value < biased) {
        value = cc_prng_next(prng);
    }
    return value % bound;
}

uint64_t cc_prng_between(struct cc_prng *prng, uint64_t low, uint64_t high)
{
    assert(low <= high);
    if (high - low == UINT64_MAX) {
        return cc_prng_next(prng);
    }
    return low + cc_prng_below(prng, high - low + 1);
}

bool cc_prng_chance(struct cc_prng *prng, uint32_t per_million)
{
    return cc_prng_below(prng, 1000000) < per_million;
}

void cc_prng_bytes(struct cc_prng *prng, void *out, uint64_t n)
{
    uint8_t *bytes = out;
    while (n > 0) {
        uint64_t value = cc_prng_next(prng);
        uint64_t n_now = n < sizeof(value) ? n : sizeof(value);
        memcpy(bytes, &value, (size_t)n_now);
        bytes += n_now;
        n -= n_now;
    }
}
