// Fuzz target: tokens and key sets. The first byte says what the rest is: 'T' a token, 'C' claims that get a good signature,
// 'K' a key set.
#include "base/base64.h"
#include "rest/json_body.h"
#include "rest/jwt.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char secret[] = "0123456789abcdef0123456789abcdef";

static void check(struct cc_slice token)
{
    char error[JWT_KEYS_ERROR_BYTES];
    struct jwt_keys *keys = jwt_keys_create();
    struct jwt_rules rules = {
        .keys = keys, .audience = "", .issuer = "", .role_claim = ".app.roles[0]", .default_role = "web"};
    struct cc_arena arena;
    struct jwt_claims claims;
    struct rest_json json;
    const char *reason = NULL;
    uint32_t n_parts = 0;
    cc_arena_init(&arena);
    if (jwt_keys_add_secret(keys, cc_slice_text(secret), error) != CC_OK) {
        abort();
    }
    enum jwt_verdict verdict = jwt_check(&rules, token, 1700000000, &arena, &claims, &n_parts);
    // What goes to PostgreSQL is always an object, and names the role.
    if (verdict == JWT_GOOD &&
        (rest_json_scan(claims.json, &arena, &json, &reason) != CC_OK || json.value.kind != REST_JSON_OBJECT ||
         rest_json_find(json.n_members, json.members, "role") == NULL || claims.role.n == 0)) {
        abort();
    }
    cc_arena_finish(&arena);
    jwt_keys_destroy(keys);
}

static void check_claims(struct cc_slice payload)
{
    struct cc_buffer token = {0};
    uint8_t signature[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    cc_buffer_append_text(&token, "eyJhbGciOiJIUzI1NiJ9.");
    cc_base64url_put(&token, payload);
    HMAC(EVP_sha256(), secret, sizeof(secret) - 1, token.data, token.n, signature, &n);
    cc_buffer_append_text(&token, ".");
    cc_base64url_put(&token, cc_slice_of(signature, n));
    check(cc_buffer_slice(&token));
    cc_buffer_finish(&token);
}

static void check_keys(struct cc_slice text)
{
    char error[JWT_KEYS_ERROR_BYTES];
    struct jwt_keys *keys = jwt_keys_create();
    enum cc_status status = jwt_keys_add_jwks(keys, text, error);
    if ((status == CC_OK) != (jwt_keys_count(keys) > 0)) {
        abort();
    }
    jwt_keys_destroy(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) {
        return 0;
    }
    struct cc_slice rest = cc_slice_of(data + 1, n - 1);
    if (data[0] == 'T') {
        check(rest);
    } else if (data[0] == 'C') {
        check_claims(rest);
    } else if (data[0] == 'K') {
        check_keys(rest);
    }
    return 0;
}
