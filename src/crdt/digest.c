// Digests of weak rows.
#include "crdt/digest.h"

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

struct state {
    uint32_t a, b, c;
};

static void mix(struct state *s)
{
    s->a -= s->c, s->a ^= rotate(s->c, 4), s->c += s->b;
    s->b -= s->a, s->b ^= rotate(s->a, 6), s->a += s->c;
    s->c -= s->b, s->c ^= rotate(s->b, 8), s->b += s->a;
    s->a -= s->c, s->a ^= rotate(s->c, 16), s->c += s->b;
    s->b -= s->a, s->b ^= rotate(s->a, 19), s->a += s->c;
    s->c -= s->b, s->c ^= rotate(s->b, 4), s->b += s->a;
}

static void mix_finally(struct state *s)
{
    s->c ^= s->b, s->c -= rotate(s->b, 14);
    s->a ^= s->c, s->a -= rotate(s->c, 11);
    s->b ^= s->a, s->b -= rotate(s->a, 25);
    s->c ^= s->b, s->c -= rotate(s->b, 16);
    s->a ^= s->c, s->a -= rotate(s->c, 4);
    s->b ^= s->a, s->b -= rotate(s->a, 14);
    s->c ^= s->b, s->c -= rotate(s->b, 24);
}

// Up to 12 bytes, little endian. At the end of the input the lowest byte of the third word is left to the length.
static void add(struct state *s, const uint8_t *bytes, size_t n)
{
    uint32_t words[3] = {0};
    for (size_t i = 0; i < n; i++) {
        size_t at = n < 12 && i >= 8 ? i + 1 : i;
        words[at / 4] += (uint32_t)bytes[i] << 8 * (at % 4);
    }
    s->a += words[0];
    s->b += words[1];
    s->c += words[2];
}

uint64_t crdt_digest_hash(struct cc_slice bytes, uint64_t seed)
{
    uint32_t start = 0x9e3779b9u + (uint32_t)bytes.n + 3923095u;
    struct state s = {start, start, start};
    if (seed != 0) {
        s.a += (uint32_t)(seed >> 32);
        s.b += (uint32_t)seed;
        mix(&s);
    }
    size_t at = 0;
    for (; bytes.n - at >= 12; at += 12) {
        add(&s, bytes.data + at, 12);
        mix(&s);
    }
    add(&s, bytes.data + at, bytes.n - at);
    mix_finally(&s);
    return (uint64_t)s.b << 32 | s.c;
}

uint64_t crdt_digest_key(const struct cc_slice *values, size_t n)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < n; i++) {
        hash = crdt_digest_hash(values[i], hash);
    }
    return hash;
}

uint64_t crdt_digest_field(uint64_t key, struct cc_slice column, struct cc_slice value)
{
    return value.data == NULL ? 0 : crdt_digest_hash(value, key ^ crdt_digest_hash(column, 0));
}
