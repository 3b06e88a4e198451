// Keys of tokens: reading them, and checking signatures.
#include "rest/jwt_keys.h"

#include "base/base64.h"
#include "base/memory.h"
#include "rest/json_body.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RSA_BITS_MIN = 2048,
    COORDINATE_BYTES = 32,
    ED25519_BYTES = 32,
    ES256_BYTES = 2 * COORDINATE_BYTES,
    HMAC_BYTES = 32
};

struct jwt_key {
    enum jwt_algorithm algorithm;
    char *kid;       // NULL: none
    uint8_t *secret; // HS256
    size_t n_secret;
    EVP_PKEY *public_key; // the others
};

struct jwt_keys {
    size_t n;
    struct jwt_key at[JWT_KEYS_MAX];
};

static const char *const algorithm_names[JWT_ALGORITHMS] = {
    [JWT_HS256] = "HS256", [JWT_RS256] = "RS256", [JWT_ES256] = "ES256", [JWT_EDDSA] = "EdDSA"};

struct jwt_keys *jwt_keys_create(void)
{
    return cc_alloc(sizeof(struct jwt_keys));
}

static void key_finish(struct jwt_key *key)
{
    if (key->secret != NULL) {
        OPENSSL_cleanse(key->secret, key->n_secret);
    }
    free(key->secret);
    free(key->kid);
    EVP_PKEY_free(key->public_key);
    *key = (struct jwt_key){0};
}

void jwt_keys_destroy(struct jwt_keys *keys)
{
    for (size_t i = 0; keys != NULL && i < keys->n; i++) {
        key_finish(&keys->at[i]);
    }
    free(keys);
}

size_t jwt_keys_count(const struct jwt_keys *keys)
{
    return keys->n;
}

bool jwt_algorithm_of(struct cc_slice name, enum jwt_algorithm *out)
{
    for (size_t i = 0; i < JWT_ALGORITHMS; i++) {
        if (cc_slice_equal_text(name, algorithm_names[i])) {
            *out = (enum jwt_algorithm)i;
            return true;
        }
    }
    return false;
}

bool jwt_keys_has(const struct jwt_keys *keys, enum jwt_algorithm algorithm)
{
    for (size_t i = 0; i < keys->n; i++) {
        if (keys->at[i].algorithm == algorithm) {
            return true;
        }
    }
    return false;
}

// -- Reading keys ----------------------------------------------------------------------------------------------------

static enum cc_status complain(char *error_out, enum cc_status status, const char *text)
{
    (void)snprintf(error_out, JWT_KEYS_ERROR_BYTES, "%s", text);
    return status;
}

static enum cc_status keep(struct jwt_keys *keys, const struct jwt_key *key, char *error_out)
{
    if (keys->n == JWT_KEYS_MAX) {
        return complain(error_out, CC_TOO_LARGE, "more than 64 keys");
    }
    keys->at[keys->n++] = *key;
    return CC_OK;
}

static enum cc_status add_secret(struct jwt_keys *keys, struct cc_slice secret, const char *kid, char *error_out)
{
    if (secret.n < JWT_SECRET_BYTES_MIN) {
        return complain(error_out, CC_INVALID, "a secret for HS256 must have at least 32 bytes");
    }
    struct jwt_key key = {.algorithm = JWT_HS256, .n_secret = secret.n};
    key.secret = cc_alloc(secret.n);
    memcpy(key.secret, secret.data, secret.n);
    key.kid = kid == NULL ? NULL : cc_strdup(kid);
    enum cc_status status = keep(keys, &key, error_out);
    if (status != CC_OK) {
        key_finish(&key);
    }
    return status;
}

enum cc_status jwt_keys_add_secret(struct jwt_keys *keys, struct cc_slice secret, char error_out[JWT_KEYS_ERROR_BYTES])
{
    static const char pem[] = "-----BEGIN";
    bool is_pem = cc_slice_starts_with(secret, pem);
    if (is_pem || (secret.n > 0 && secret.data[0] == '{')) {
        return complain(error_out, CC_INVALID,
                        "this is a key in PEM or JSON form, not a secret: put keys into a JWKS file");
    }
    return add_secret(keys, secret, NULL, error_out);
}

struct jwk {
    struct cc_arena *arena;
    uint32_t n;
    struct rest_json_member *members;
};

// A text member, or the NULL slice.
static struct cc_slice jwk_text(const struct jwk *jwk, const char *name)
{
    const struct rest_json_member *member = rest_json_find(jwk->n, jwk->members, name);
    bool is_text = member != NULL && member->value.kind == REST_JSON_STRING;
    return is_text ? rest_json_text(&member->value, jwk->arena) : (struct cc_slice){0};
}

// A base64url member, or the NULL slice.
static struct cc_slice jwk_bytes(const struct jwk *jwk, const char *name)
{
    struct cc_slice text = jwk_text(jwk, name);
    struct cc_buffer bytes = {0};
    bool good = text.n > 0 && cc_base64url_read(text, &bytes) == CC_OK;
    struct cc_slice copy = good ? cc_arena_slice(jwk->arena, cc_buffer_slice(&bytes)) : (struct cc_slice){0};
    cc_buffer_finish(&bytes);
    return copy;
}

// Fixed width, as curves have it.
static struct cc_slice jwk_fixed(const struct jwk *jwk, const char *name, size_t width)
{
    struct cc_slice bytes = jwk_bytes(jwk, name);
    return bytes.n == width ? bytes : (struct cc_slice){0};
}

static EVP_PKEY *from_parameters(const char *type, OSSL_PARAM_BLD *build)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    bool made = parameters != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
                EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) == 1;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(build);
    return made ? key : NULL;
}

static bool is_sound(EVP_PKEY *key)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
    bool sound = context != NULL && EVP_PKEY_public_check(context) == 1;
    EVP_PKEY_CTX_free(context);
    return sound;
}

static EVP_PKEY *read_rsa(const struct jwk *jwk)
{
    struct cc_slice n_bytes = jwk_bytes(jwk, "n"), e_bytes = jwk_bytes(jwk, "e");
    if (n_bytes.n == 0 || e_bytes.n == 0 || n_bytes.n > 1024 || e_bytes.n > 8) {
        return NULL;
    }
    BIGNUM *n = BN_bin2bn(n_bytes.data, (int)n_bytes.n, NULL), *e = BN_bin2bn(e_bytes.data, (int)e_bytes.n, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e);
    EVP_PKEY *key = from_parameters("RSA", build);
    BN_free(n);
    BN_free(e);
    if (key != NULL && (EVP_PKEY_get_bits(key) < RSA_BITS_MIN || !is_sound(key))) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

static EVP_PKEY *read_p256(const struct jwk *jwk)
{
    struct cc_slice x = jwk_fixed(jwk, "x", COORDINATE_BYTES), y = jwk_fixed(jwk, "y", COORDINATE_BYTES);
    if (x.data == NULL || y.data == NULL) {
        return NULL;
    }
    uint8_t point[1 + 2 * COORDINATE_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
    memcpy(point + 1, x.data, COORDINATE_BYTES);
    memcpy(point + 1 + COORDINATE_BYTES, y.data, COORDINATE_BYTES);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point));
    EVP_PKEY *key = from_parameters("EC", build);
    if (key != NULL && !is_sound(key)) { // a point that is not on the curve
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

static EVP_PKEY *read_ed25519(const struct jwk *jwk)
{
    struct cc_slice x = jwk_fixed(jwk, "x", ED25519_BYTES);
    return x.data == NULL ? NULL : EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.data, x.n);
}

// Which of our algorithms a key of this type and curve is for.
static bool natural_algorithm(const struct jwk *jwk, enum jwt_algorithm *out)
{
    static const struct {
        const char *type, *curve;
        enum jwt_algorithm algorithm;
    } types[] = {
        {"oct", NULL, JWT_HS256}, {"RSA", NULL, JWT_RS256}, {"EC", "P-256", JWT_ES256}, {"OKP", "Ed25519", JWT_EDDSA}};
    struct cc_slice type = jwk_text(jwk, "kty"), curve = jwk_text(jwk, "crv");
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (cc_slice_equal_text(type, types[i].type) &&
            (types[i].curve == NULL || cc_slice_equal_text(curve, types[i].curve))) {
            *out = types[i].algorithm;
            return true;
        }
    }
    return false;
}

static bool may_verify(const struct jwk *jwk)
{
    struct cc_slice use = jwk_text(jwk, "use");
    if (use.data != NULL && !cc_slice_equal_text(use, "sig")) {
        return false;
    }
    const struct rest_json_member *operations = rest_json_find(jwk->n, jwk->members, "key_ops");
    if (operations == NULL || operations->value.kind != REST_JSON_ARRAY) {
        return operations == NULL;
    }
    uint32_t n = 0;
    struct rest_json_value *values = NULL;
    rest_json_elements(&operations->value, jwk->arena, &n, &values);
    for (uint32_t i = 0; i < n; i++) {
        if (values[i].kind == REST_JSON_STRING &&
            cc_slice_equal_text(rest_json_text(&values[i], jwk->arena), "verify")) {
            return true;
        }
    }
    return false;
}

static EVP_PKEY *read_public_key(const struct jwk *jwk, enum jwt_algorithm algorithm)
{
    switch (algorithm) {
    case JWT_RS256:
        return read_rsa(jwk);
    case JWT_ES256:
        return read_p256(jwk);
    case JWT_EDDSA:
        return read_ed25519(jwk);
    case JWT_HS256:
        break;
    }
    return NULL;
}

static enum cc_status add_jwk(struct jwt_keys *keys, const struct jwk *jwk, char *error_out)
{
    enum jwt_algorithm algorithm = JWT_HS256, named = JWT_HS256;
    struct cc_slice name = jwk_text(jwk, "alg"), kid_text = jwk_text(jwk, "kid");
    if (!may_verify(jwk) || !natural_algorithm(jwk, &algorithm)) {
        return CC_OK;
    }
    if (name.data != NULL && (!jwt_algorithm_of(name, &named) || named != algorithm)) {
        return CC_OK; // RS512 and the like
    }
    const char *kid = kid_text.data == NULL ? NULL : cc_arena_text_n(jwk->arena, kid_text.data, kid_text.n);
    if (algorithm == JWT_HS256) {
        return add_secret(keys, jwk_bytes(jwk, "k"), kid, error_out);
    }
    struct jwt_key key = {.algorithm = algorithm, .public_key = read_public_key(jwk, algorithm)};
    if (key.public_key == NULL) {
        (void)snprintf(error_out, JWT_KEYS_ERROR_BYTES, "the %s key \"%.60s\" is damaged or too weak",
                       algorithm_names[algorithm], kid == NULL ? "" : kid);
        return CC_INVALID;
    }
    key.kid = kid == NULL ? NULL : cc_strdup(kid);
    enum cc_status status = keep(keys, &key, error_out);
    if (status != CC_OK) {
        key_finish(&key);
    }
    return status;
}

static enum cc_status add_object(struct jwt_keys *keys, const struct rest_json_value *object, struct cc_arena *arena,
                                 char *error_out)
{
    struct jwk jwk = {.arena = arena};
    if (object->kind != REST_JSON_OBJECT) {
        return complain(error_out, CC_MALFORMED, "a key must be an object in braces");
    }
    rest_json_members(object, arena, &jwk.n, &jwk.members);
    return add_jwk(keys, &jwk, error_out);
}

static enum cc_status add_document(struct jwt_keys *keys, struct cc_slice text, struct cc_arena *arena, char *error_out)
{
    struct rest_json json;
    const char *reason = NULL;
    if (rest_json_scan(text, arena, &json, &reason) != CC_OK) {
        (void)snprintf(error_out, JWT_KEYS_ERROR_BYTES, "not JSON: %s", reason);
        return CC_MALFORMED;
    }
    if (json.value.kind != REST_JSON_OBJECT) {
        return complain(error_out, CC_MALFORMED, "must be {\"keys\": [...]} or one key in braces");
    }
    const struct rest_json_member *list = rest_json_find(json.n_members, json.members, "keys");
    if (list == NULL) {
        return add_object(keys, &json.value, arena, error_out);
    }
    if (list->value.kind != REST_JSON_ARRAY) {
        return complain(error_out, CC_MALFORMED, "\"keys\" must be a list");
    }
    uint32_t n = 0;
    struct rest_json_value *values = NULL;
    rest_json_elements(&list->value, arena, &n, &values);
    enum cc_status status = CC_OK;
    for (uint32_t i = 0; i < n && status == CC_OK; i++) {
        status = add_object(keys, &values[i], arena, error_out);
    }
    return status;
}

enum cc_status jwt_keys_add_jwks(struct jwt_keys *keys, struct cc_slice json, char error_out[JWT_KEYS_ERROR_BYTES])
{
    size_t n_before = keys->n;
    struct cc_arena arena;
    cc_arena_init(&arena);
    enum cc_status status = add_document(keys, json, &arena, error_out);
    cc_arena_finish(&arena);
    if (status == CC_OK && keys->n == n_before) {
        status = complain(error_out, CC_INVALID, "has no key for HS256, RS256, ES256 or EdDSA");
    }
    while (status != CC_OK && keys->n > n_before) {
        key_finish(&keys->at[--keys->n]);
    }
    return status;
}

// -- Signatures ------------------------------------------------------------------------------------------------------

static bool verify_hmac(const struct jwt_key *key, struct cc_slice text, struct cc_slice signature)
{
    uint8_t expected[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    bool made = HMAC(EVP_sha256(), key->secret, (int)key->n_secret, text.data, text.n, expected, &n) != NULL;
    return made && n == HMAC_BYTES && signature.n == n && CRYPTO_memcmp(expected, signature.data, n) == 0;
}

static bool verify_digest(const struct jwt_key *key, const EVP_MD *digest, struct cc_slice text,
                          struct cc_slice signature)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestVerifyInit(context, NULL, digest, NULL, key->public_key) == 1 &&
                EVP_DigestVerify(context, signature.data, signature.n, text.data, text.n) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

// Tokens have r and s of fixed width, OpenSSL wants them in ASN.1.
static bool verify_p256(const struct jwt_key *key, struct cc_slice text, struct cc_slice signature)
{
    if (signature.n != ES256_BYTES) {
        return false;
    }
    BIGNUM *r = BN_bin2bn(signature.data, COORDINATE_BYTES, NULL);
    BIGNUM *s = BN_bin2bn(signature.data + COORDINATE_BYTES, COORDINATE_BYTES, NULL);
    ECDSA_SIG *pair = ECDSA_SIG_new();
    if (r == NULL || s == NULL || pair == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(pair);
        return false;
    }
    uint8_t *der = NULL;
    int n = i2d_ECDSA_SIG(pair, &der);
    ECDSA_SIG_free(pair);
    bool good = n > 0 && verify_digest(key, EVP_sha256(), text, cc_slice_of(der, (size_t)n));
    OPENSSL_free(der);
    return good;
}

static bool verify(const struct jwt_key *key, struct cc_slice text, struct cc_slice signature)
{
    switch (key->algorithm) {
    case JWT_HS256:
        return verify_hmac(key, text, signature);
    case JWT_RS256:
        return verify_digest(key, EVP_sha256(), text, signature);
    case JWT_ES256:
        return verify_p256(key, text, signature);
    case JWT_EDDSA:
        return verify_digest(key, NULL, text, signature);
    }
    return false;
}

bool jwt_keys_verify(const struct jwt_keys *keys, enum jwt_algorithm algorithm, struct cc_slice kid,
                     struct cc_slice text, struct cc_slice signature)
{
    for (size_t i = 0; i < keys->n; i++) {
        const struct jwt_key *key = &keys->at[i];
        bool other = kid.data != NULL && key->kid != NULL && !cc_slice_equal_text(kid, key->kid);
        if (key->algorithm == algorithm && !other && verify(key, text, signature)) {
            return true;
        }
    }
    return false;
}
