// SipHash-2-4 (Aumasson, Bernstein 2012).
#include "base/hash.h"

struct sip {
    uint64_t v0;
    uint64_t v1;
    uint64_t v2;
    uint64_t v3;
};

static uint64_t rotate_left(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

static uint64_t load_u64(const uint8_t *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static void sip_rounds(struct sip *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotate_left(s->v1, 13) ^ s->v0;
        s->v3 = rotate_left(s->v3, 16) ^ s->v2;
        s->v0 = rotate_left(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = rotate_left(s->v1, 17) ^ s->v2;
        s->v3 = rotate_left(s->v3, 21) ^ s->v0;
        s->v2 = rotate_left(s->v2, 32);
    }
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_rounds(s, 2);
    s->v0 ^= word;
}

uint64_t cc_siphash(const uint8_t key[16], const void *data, size_t n)
{
    uint64_t k0 = load_u64(key, 8);
    uint64_t k1 = load_u64(key + 8, 8);
    struct sip s = {
        .v0 = k0 ^ 0x736f6d6570736575u,
        .v1 = k1 ^ 0x646f72616e646f6du,
        .v2 = k0 ^ 0x6c7967656e657261u,
        .v3 = k1 ^ 0x7465646279746573u,
    };
    const uint8_t *bytes = data;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        sip_word(&s, load_u64(bytes + i, 8));
    }
    uint64_t tail = n == i ? 0 : load_u64(bytes + i, n - i);
    sip_word(&s, tail | (uint64_t)n << 56);
    s.v2 ^= 0xff;
    sip_rounds(&s, 4);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
