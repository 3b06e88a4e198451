// Ed25519 key pairs by which replicas know each other.
#include "proxy/config/keys.h"

#include <assert.h>
#include <sodium.h>

static_assert(KEYS_PUBLIC_BYTES == crypto_sign_PUBLICKEYBYTES, "the size of an Ed25519 public key");
static_assert(KEYS_SEED_BYTES == crypto_sign_SEEDBYTES, "the size of an Ed25519 seed");
static_assert(KEYS_SECRET_BYTES == crypto_sign_SECRETKEYBYTES, "the size of an Ed25519 secret key");

void keys_of_seed(const uint8_t seed[KEYS_SEED_BYTES], struct keys_pair *pair_out)
{
    int error = crypto_sign_seed_keypair(pair_out->public_key, pair_out->secret_key, seed);
    assert(error == 0);
}

void keys_seed_of(const struct keys_pair *pair, uint8_t seed_out[KEYS_SEED_BYTES])
{
    int error = crypto_sign_ed25519_sk_to_seed(seed_out, pair->secret_key);
    assert(error == 0);
}

void keys_forget(struct keys_pair *pair)
{
    sodium_memzero(pair, sizeof(*pair));
}

void keys_to_text(const uint8_t bytes[32], char text_out[KEYS_TEXT_BYTES])
{
    (void)sodium_bin2hex(text_out, KEYS_TEXT_BYTES, bytes, 32);
}

enum cc_status keys_from_text(struct cc_slice text, uint8_t bytes_out[32])
{
    if (text.n != KEYS_TEXT_BYTES - 1) {
        return CC_MALFORMED;
    }
    uint8_t bytes[32];
    size_t n;
    if (sodium_hex2bin(bytes, sizeof(bytes), (const char *)text.data, text.n, NULL, &n, NULL) != 0 ||
        n != sizeof(bytes)) {
        return CC_MALFORMED;
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes_out[i] = bytes[i];
    }
    sodium_memzero(bytes, sizeof(bytes));
    return CC_OK;
}
