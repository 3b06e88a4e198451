// The rows that the load generator writes: keys spread like random uuids, and values from which a reader can tell that they belong
// to their key and are whole. The same for every system that is measured. Pure.
#ifndef CLI_BENCH_ROW_H
#define CLI_BENCH_ROW_H

#include "base/prng.h"
#include "base/slice.h"

enum {
    BENCH_UUID_CHARS = 36,
    BENCH_VALUE_BYTES_MIN = 42, // 32 hexadecimal digits of the key, '.', 8 of the writer, '.'
    BENCH_VALUE_BYTES_MAX = 4 << 20,
};

struct bench_key {
    uint64_t high, low;
};

struct bench_key bench_key_random(struct cc_prng *prng); // a version 4 uuid
// Key number `position` of the rows that are there from the beginning; always the same for the same number.
struct bench_key bench_key_at(uint64_t position);

void bench_key_put(struct cc_buffer *out, struct bench_key key); // 36 characters
// A value of exactly n_bytes: the key, who wrote it, and characters that do not compress. Nothing in it needs escaping in JSON.
void bench_value_put(struct cc_buffer *out, struct bench_key key, uint32_t writer, size_t n_bytes);
// Is this a value of this key with this length, whoever wrote it?
bool bench_value_is_of(struct cc_slice value, struct bench_key key, size_t n_bytes);

#endif
