// The rows that the load generator writes.
#include "cli/bench_row.h"

#include <assert.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static uint64_t mix(uint64_t x) // the finaliser of splitmix64: a bijection
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static struct bench_key as_version_4(uint64_t high, uint64_t low)
{
    return (struct bench_key){.high = (high & ~0xf000ull) | 0x4000, .low = (low & ~(3ull << 62)) | 2ull << 62};
}

struct bench_key bench_key_random(struct cc_prng *prng)
{
    uint64_t high = cc_prng_next(prng);
    return as_version_4(high, cc_prng_next(prng));
}

struct bench_key bench_key_at(uint64_t position)
{
    return as_version_4(mix(position + 0x9e3779b97f4a7c15ull), mix(~position));
}

static void put_hex(char *at, uint64_t value, unsigned n_digits)
{
    for (unsigned i = 0; i < n_digits; i++) {
        at[i] = digits[value >> 4 * (n_digits - 1 - i) & 15];
    }
}

void bench_key_put(struct cc_buffer *out, struct bench_key key)
{
    char text[BENCH_UUID_CHARS];
    put_hex(text, key.high >> 32, 8);
    text[8] = '-';
    put_hex(text + 9, key.high >> 16, 4);
    text[13] = '-';
    put_hex(text + 14, key.high, 4);
    text[18] = '-';
    put_hex(text + 19, key.low >> 48, 4);
    text[23] = '-';
    put_hex(text + 24, key.low, 12);
    cc_buffer_append(out, text, sizeof(text));
}

// Ten characters from each 64 bits of a sequence that starts at the key.
static void fill(char *at, size_t n, struct bench_key key)
{
    uint64_t state = key.low;
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++, bits >>= 6) {
        if (i % 10 == 0) {
            state += 0x9e3779b97f4a7c15ull;
            bits = mix(state ^ key.high);
        }
        at[i] = alphabet[bits & 63];
    }
}

static void put_tag(char tag[BENCH_VALUE_BYTES_MIN], struct bench_key key, uint32_t writer)
{
    put_hex(tag, key.high, 16);
    put_hex(tag + 16, key.low, 16);
    tag[32] = '.';
    put_hex(tag + 33, writer, 8);
    tag[41] = '.';
}

void bench_value_put(struct cc_buffer *out, struct bench_key key, uint32_t writer, size_t n_bytes)
{
    assert(n_bytes >= BENCH_VALUE_BYTES_MIN);
    cc_buffer_reserve(out, n_bytes);
    char *at = (char *)out->data + out->n;
    put_tag(at, key, writer);
    fill(at + BENCH_VALUE_BYTES_MIN, n_bytes - BENCH_VALUE_BYTES_MIN, key);
    out->n += n_bytes;
}

bool bench_value_is_of(struct cc_slice value, struct bench_key key, size_t n_bytes)
{
    char expected[512];
    char tag[BENCH_VALUE_BYTES_MIN];
    put_tag(tag, key, 0);
    if (value.n != n_bytes || memcmp(value.data, tag, 33) != 0 || value.data[41] != '.') {
        return false;
    }
    // Long values are checked at their beginning: the generator must not become the bottleneck.
    size_t n = n_bytes - BENCH_VALUE_BYTES_MIN < sizeof(expected) ? n_bytes - BENCH_VALUE_BYTES_MIN : sizeof(expected);
    fill(expected, n, key);
    return memcmp(value.data + BENCH_VALUE_BYTES_MIN, expected, n) == 0;
}
