// Ed25519 key pairs by which replicas know each other. Files of them: io_keys.h.
#ifndef PROXY_KEYS_H
#define PROXY_KEYS_H

#include "base/slice.h"
#include "base/status.h"

enum { KEYS_PUBLIC_BYTES = 32, KEYS_SEED_BYTES = 32, KEYS_SECRET_BYTES = 64, KEYS_TEXT_BYTES = 2 * 32 + 1 };

struct keys_pair {
    uint8_t public_key[KEYS_PUBLIC_BYTES];
    uint8_t secret_key[KEYS_SECRET_BYTES];
};

// The pair that belongs to a seed (the part that is stored).
void keys_of_seed(const uint8_t seed[KEYS_SEED_BYTES], struct keys_pair *pair_out);
void keys_seed_of(const struct keys_pair *pair, uint8_t seed_out[KEYS_SEED_BYTES]);
void keys_forget(struct keys_pair *pair); // wipes it from memory

// 32 bytes as 64 lower-case hex digits, and back (either case). CC_MALFORMED.
void keys_to_text(const uint8_t bytes[32], char text_out[KEYS_TEXT_BYTES]);
enum cc_status keys_from_text(struct cc_slice text, uint8_t bytes_out[32]) CC_CHECKED;

#endif
