// Seeded pseudo-random numbers (xoshiro256**): the only source of chance in pure code.
#ifndef CC_PRNG_H
#define CC_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct cc_prng {
    uint64_t state[4];
};

void cc_prng_seed(struct cc_prng *prng, uint64_t seed); // splitmix64 spreads the seed
uint64_t cc_prng_next(struct cc_prng *prng);
uint64_t cc_prng_below(struct cc_prng *prng, uint64_t bound);                // [0, bound), unbiased; bound > 0
uint64_t cc_prng_between(struct cc_prng *prng, uint64_t low, uint64_t high); // [low, high]
bool cc_prng_chance(struct cc_prng *prng, uint32_t per_million);
void cc_prng_bytes(struct cc_prng *prng, void *out, uint64_t n);

#endif
