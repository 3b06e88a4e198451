// Tests of tokens: forged ones are refused, whatever they try (RFC 8725), good ones of each algorithm are taken.
#include "base/base64.h"
#include "rest/json_body.h"
#include "rest/jwt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include <cmocka.h>

enum { NOW = 1700000000 };

static const char secret[] = "0123456789abcdef0123456789abcdef-the-secret";

enum signer {
    BY_SECRET,
    BY_OTHER_SECRET,
    BY_EMPTY_SECRET,
    BY_RSA,
    BY_OTHER_RSA,
    BY_RSA_PSS,
    BY_EC,
    BY_EC_IN_ASN1, // the form of other libraries
    BY_EC_ZEROS,   // r = s = 0
    BY_ED,
    BY_PUBLIC_PEM, // HMAC with the text of the public RSA key
    BY_NOBODY,     // no signature
    BY_HALF,       // the first half of the right signature
};

struct suite {
    struct jwt_keys *keys;
    EVP_PKEY *rsa, *other_rsa, *ec, *ed;
    char *pem; // of the public RSA key
};

// -- Keys ------------------------------------------------------------------------------------------------------------

static void put_base64(struct cc_buffer *out, const void *data, size_t n)
{
    cc_base64url_put(out, cc_slice_of(data, n));
}

static void put_number(struct cc_buffer *out, EVP_PKEY *key, const char *name, int width)
{
    BIGNUM *number = NULL;
    uint8_t bytes[512];
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &number), 1);
    int n = width == 0 ? BN_bn2bin(number, bytes) : BN_bn2binpad(number, bytes, width);
    put_base64(out, bytes, (size_t)n);
    BN_free(number);
}

static void put_jwks(struct cc_buffer *out, const struct suite *suite)
{
    uint8_t raw[32];
    size_t n = sizeof(raw);
    cc_buffer_append_text(out,
                          "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"rsa\",\"alg\":\"RS256\",\"use\":\"sig\",\"n\":\"");
    put_number(out, suite->rsa, OSSL_PKEY_PARAM_RSA_N, 0);
    cc_buffer_append_text(out, "\",\"e\":\"");
    put_number(out, suite->rsa, OSSL_PKEY_PARAM_RSA_E, 0);
    cc_buffer_append_text(out,
                          "\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"ec\",\"key_ops\":[\"verify\"],\"x\":\"");
    put_number(out, suite->ec, OSSL_PKEY_PARAM_EC_PUB_X, 32);
    cc_buffer_append_text(out, "\",\"y\":\"");
    put_number(out, suite->ec, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
    cc_buffer_append_text(out, "\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
    assert_int_equal(EVP_PKEY_get_raw_public_key(suite->ed, raw, &n), 1);
    put_base64(out, raw, n);
    // Not for us: another purpose, other algorithms.
    cc_buffer_append_text(out, "\"},{\"kty\":\"oct\",\"use\":\"enc\",\"k\":\"AAAA\"},{\"kty\":\"RSA\",\"alg\":"
                               "\"RS512\",\"n\":\"AQAB\",\"e\":\"AQAB\"},"
                               "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\"},{\"kty\":\"future\"}]}");
}

static char *public_pem(EVP_PKEY *key)
{
    BIO *memory = BIO_new(BIO_s_mem());
    char *data = NULL;
    assert_int_equal(PEM_write_bio_PUBKEY(memory, key), 1);
    long n = BIO_get_mem_data(memory, &data);
    char *text = strndup(data, (size_t)n);
    BIO_free(memory);
    return text;
}

static int set_up(void **state)
{
    static struct suite suite;
    struct cc_buffer jwks = {0};
    char error[JWT_KEYS_ERROR_BYTES] = "";
    suite.rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    suite.other_rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    suite.ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    suite.ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    suite.pem = public_pem(suite.rsa);
    suite.keys = jwt_keys_create();
    put_jwks(&jwks, &suite);
    assert_int_equal(jwt_keys_add_jwks(suite.keys, cc_buffer_slice(&jwks), error), CC_OK);
    assert_int_equal(jwt_keys_add_secret(suite.keys, cc_slice_text(secret), error), CC_OK);
    assert_int_equal(jwt_keys_count(suite.keys), 4);
    cc_buffer_finish(&jwks);
    *state = &suite;
    return 0;
}

static int tear_down(void **state)
{
    struct suite *suite = *state;
    jwt_keys_destroy(suite->keys);
    EVP_PKEY_free(suite->rsa);
    EVP_PKEY_free(suite->other_rsa);
    EVP_PKEY_free(suite->ec);
    EVP_PKEY_free(suite->ed);
    free(suite->pem);
    return 0;
}

// -- Signing ---------------------------------------------------------------------------------------------------------

static size_t sign_hmac(const char *key, size_t n_key, const struct cc_buffer *text, uint8_t *out)
{
    unsigned n = 0;
    assert_non_null(HMAC(EVP_sha256(), key, (int)n_key, text->data, text->n, out, &n));
    return n;
}

static size_t sign_with(EVP_PKEY *key, const EVP_MD *digest, bool pss, const struct cc_buffer *text, uint8_t *out)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *parameters = NULL;
    size_t n = 512;
    assert_int_equal(EVP_DigestSignInit(context, &parameters, digest, NULL, key), 1);
    if (pss) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING), 1);
    }
    assert_int_equal(EVP_DigestSign(context, out, &n, text->data, text->n), 1);
    EVP_MD_CTX_free(context);
    return n;
}

static size_t sign_ec(EVP_PKEY *key, const struct cc_buffer *text, uint8_t *out)
{
    uint8_t der[512];
    const uint8_t *at = der;
    size_t n = sign_with(key, EVP_sha256(), false, text, der);
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)n);
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + 32, 32);
    ECDSA_SIG_free(pair);
    return 64;
}

static size_t sign(const struct suite *suite, enum signer signer, const struct cc_buffer *text, uint8_t *out)
{
    switch (signer) {
    case BY_SECRET:
        return sign_hmac(secret, sizeof(secret) - 1, text, out);
    case BY_OTHER_SECRET:
        return sign_hmac("0123456789abcdef0123456789abcdef-another", 40, text, out);
    case BY_EMPTY_SECRET:
        return sign_hmac("", 0, text, out);
    case BY_RSA:
        return sign_with(suite->rsa, EVP_sha256(), false, text, out);
    case BY_OTHER_RSA:
        return sign_with(suite->other_rsa, EVP_sha256(), false, text, out);
    case BY_RSA_PSS:
        return sign_with(suite->rsa, EVP_sha256(), true, text, out);
    case BY_EC:
        return sign_ec(suite->ec, text, out);
    case BY_EC_IN_ASN1:
        return sign_with(suite->ec, EVP_sha256(), false, text, out);
    case BY_EC_ZEROS:
        memset(out, 0, 64);
        return 64;
    case BY_ED:
        return sign_with(suite->ed, NULL, false, text, out);
    case BY_PUBLIC_PEM:
        return sign_hmac(suite->pem, strlen(suite->pem), text, out);
    case BY_NOBODY:
        return 0;
    case BY_HALF:
        return sign_hmac(secret, sizeof(secret) - 1, text, out) / 2;
    }
    return 0;
}

static void make_token(const struct suite *suite, const char *header, const char *payload, enum signer signer,
                       struct cc_buffer *out)
{
    uint8_t signature[512];
    put_base64(out, header, strlen(header));
    cc_buffer_append_text(out, ".");
    put_base64(out, payload, strlen(payload));
    size_t n = sign(suite, signer, out, signature);
    cc_buffer_append_text(out, ".");
    put_base64(out, signature, n);
}

// -- Checking --------------------------------------------------------------------------------------------------------

static struct jwt_rules plain_rules(const struct suite *suite)
{
    return (struct jwt_rules){
        .keys = suite->keys, .audience = "", .issuer = "", .role_claim = ".role", .default_role = ""};
}

static enum jwt_verdict check(const struct jwt_rules *rules, struct cc_slice token, struct cc_arena *arena,
                              struct jwt_claims *claims)
{
    uint32_t n_parts = 0;
    return jwt_check(rules, token, NOW, arena, claims, &n_parts);
}

static enum jwt_verdict verdict_of(const struct suite *suite, const struct jwt_rules *rules, const char *header,
                                   const char *payload, enum signer signer)
{
    struct cc_buffer token = {0};
    struct cc_arena arena;
    struct jwt_claims claims;
    cc_arena_init(&arena);
    make_token(suite, header, payload, signer, &token);
    enum jwt_verdict verdict = check(rules, cc_buffer_slice(&token), &arena, &claims);
    cc_buffer_finish(&token);
    cc_arena_finish(&arena);
    return verdict;
}

#define HS  "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define ANN "{\"role\":\"member\",\"sub\":\"ann\",\"exp\":1700000600}"

static const struct {
    const char *header, *payload;
    enum signer signer;
    enum jwt_verdict verdict;
} corpus[] = {
    // Good ones, one per algorithm, and harmless headers.
    {HS, ANN, BY_SECRET, JWT_GOOD},
    {"{\"alg\":\"RS256\",\"kid\":\"rsa\"}", ANN, BY_RSA, JWT_GOOD},
    {"{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", ANN, BY_EC, JWT_GOOD},
    {"{\"alg\":\"EdDSA\",\"typ\":\"jwt\"}", ANN, BY_ED, JWT_GOOD},
    {"{\"typ\":\"JWT\",\"alg\":\"HS256\",\"x\":{\"deep\":[1,2,{\"a\":null}]}}", ANN, BY_SECRET, JWT_GOOD},
    {"{\"alg\":\"HS256\",\"kid\":\"nobody knows\"}", ANN, BY_SECRET, JWT_GOOD}, // the secret has no id
    // Without a signature, in all spellings.
    {"{\"alg\":\"none\"}", ANN, BY_NOBODY, JWT_ALGORITHM},
    {"{\"alg\":\"None\"}", ANN, BY_NOBODY, JWT_ALGORITHM},
    {"{\"alg\":\"NONE\"}", ANN, BY_NOBODY, JWT_ALGORITHM},
    {"{\"alg\":\"nOnE\"}", ANN, BY_SECRET, JWT_ALGORITHM},
    {"{\"alg\":\"\"}", ANN, BY_NOBODY, JWT_ALGORITHM},
    {"{\"alg\":null}", ANN, BY_NOBODY, JWT_ALGORITHM},
    {"{\"alg\":[\"HS256\"]}", ANN, BY_SECRET, JWT_ALGORITHM},
    {"{}", ANN, BY_NOBODY, JWT_ALGORITHM},
    {HS, ANN, BY_NOBODY, JWT_KEY},
    {"{\"alg\":\"RS256\"}", ANN, BY_NOBODY, JWT_KEY},
    {"{\"alg\":\"ES256\"}", ANN, BY_NOBODY, JWT_KEY},
    {"{\"alg\":\"EdDSA\"}", ANN, BY_NOBODY, JWT_KEY},
    // A key used for another algorithm than its own.
    {"{\"alg\":\"HS256\",\"kid\":\"rsa\"}", ANN, BY_PUBLIC_PEM, JWT_KEY},
    {"{\"alg\":\"RS256\"}", ANN, BY_SECRET, JWT_KEY},
    {"{\"alg\":\"ES256\"}", ANN, BY_SECRET, JWT_KEY},
    {"{\"alg\":\"EdDSA\"}", ANN, BY_SECRET, JWT_KEY},
    {"{\"alg\":\"RS256\",\"kid\":\"ec\"}", ANN, BY_EC, JWT_KEY},
    {"{\"alg\":\"ES256\"}", ANN, BY_RSA, JWT_KEY},
    {"{\"alg\":\"EdDSA\"}", ANN, BY_EC, JWT_KEY},
    {"{\"alg\":\"PS256\"}", ANN, BY_RSA_PSS, JWT_ALGORITHM},
    {"{\"alg\":\"RS256\"}", ANN, BY_RSA_PSS, JWT_KEY},
    {"{\"alg\":\"HS512\"}", ANN, BY_SECRET, JWT_ALGORITHM},
    {"{\"alg\":\"hs256\"}", ANN, BY_SECRET, JWT_ALGORITHM},
    {"{\"alg\":\"HS256 \"}", ANN, BY_SECRET, JWT_ALGORITHM},
    {"{\"alg\":\"RS256\",\"kid\":\"ec\"}", ANN, BY_RSA, JWT_KEY}, // the right key under the wrong name
    // Wrong keys and mangled signatures.
    {HS, ANN, BY_OTHER_SECRET, JWT_KEY},
    {HS, ANN, BY_EMPTY_SECRET, JWT_KEY},
    {HS, ANN, BY_HALF, JWT_KEY},
    {"{\"alg\":\"RS256\"}", ANN, BY_OTHER_RSA, JWT_KEY},
    {"{\"alg\":\"ES256\"}", ANN, BY_EC_ZEROS, JWT_KEY},
    {"{\"alg\":\"ES256\"}", ANN, BY_EC_IN_ASN1, JWT_KEY},
    // Keys that the token brings along or points to.
    {"{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"\"}}", ANN, BY_EMPTY_SECRET, JWT_KEY},
    {"{\"alg\":\"HS256\",\"jku\":\"https://evil.example/keys\"}", ANN, BY_OTHER_SECRET, JWT_KEY},
    {"{\"alg\":\"RS256\",\"x5u\":\"file:///etc/passwd\"}", ANN, BY_OTHER_RSA, JWT_KEY},
    {"{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", ANN, BY_EMPTY_SECRET, JWT_KEY},
    {"{\"alg\":\"HS256\",\"kid\":\"' OR 1=1 --\"}", ANN, BY_OTHER_SECRET, JWT_KEY},
    // Headers that must be understood, other kinds of tokens, broken headers.
    {"{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", ANN, BY_SECRET, JWT_UNREADABLE},
    {"{\"alg\":\"HS256\",\"crit\":[]}", ANN, BY_SECRET, JWT_UNREADABLE},
    {"{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}", ANN, BY_SECRET, JWT_UNREADABLE},
    {"{\"alg\":\"HS256\",\"typ\":\"dpop+jwt\"}", ANN, BY_SECRET, JWT_TYPE},
    {"{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}", ANN, BY_SECRET, JWT_TYPE},
    {"{\"alg\":\"HS256\",\"typ\":7}", ANN, BY_SECRET, JWT_TYPE},
    {"{\"alg\":\"none\",\"alg\":\"HS256\"}", ANN, BY_SECRET, JWT_UNREADABLE},
    {"[\"HS256\"]", ANN, BY_SECRET, JWT_UNREADABLE},
    {"{\"alg\":\"HS256\"", ANN, BY_SECRET, JWT_UNREADABLE},
    {"", ANN, BY_SECRET, JWT_UNREADABLE},
    // Claims.
    {HS, "{\"role\":\"member\"}", BY_SECRET, JWT_GOOD},
    {HS, "{}", BY_SECRET, JWT_GOOD},
    {HS, "{\"exp\":1699999971}", BY_SECRET, JWT_GOOD}, // within the leeway
    {HS, "{\"exp\":1699999970}", BY_SECRET, JWT_EXPIRED},
    {HS, "{\"exp\":0}", BY_SECRET, JWT_EXPIRED},
    {HS, "{\"exp\":1700000600.75}", BY_SECRET, JWT_GOOD},
    {HS, "{\"exp\":\"1700000600\"}", BY_SECRET, JWT_CLAIMS},
    {HS, "{\"exp\":-1}", BY_SECRET, JWT_CLAIMS},
    {HS, "{\"exp\":1e400}", BY_SECRET, JWT_CLAIMS},
    {HS, "{\"exp\":null}", BY_SECRET, JWT_CLAIMS},
    {HS, "{\"nbf\":1700000030}", BY_SECRET, JWT_GOOD},
    {HS, "{\"nbf\":1700000031}", BY_SECRET, JWT_NOT_YET},
    {HS, "{\"nbf\":true}", BY_SECRET, JWT_CLAIMS},
    {HS, "{\"iat\":1700000031}", BY_SECRET, JWT_FROM_FUTURE},
    {HS, "{\"iat\":1500000000}", BY_SECRET, JWT_GOOD},
    {HS, "{\"role\":\"a\",\"role\":\"b\"}", BY_SECRET, JWT_CLAIMS},
    {HS, "{\"role\":\"a\\u0000b\"}", BY_SECRET, JWT_CLAIMS},
    {HS, "[]", BY_SECRET, JWT_CLAIMS},
    {HS, "", BY_SECRET, JWT_CLAIMS},
    {HS, "{\"exp\":1", BY_SECRET, JWT_CLAIMS},
};

static void tokens_of_the_corpus_get_their_verdict(void **state)
{
    const struct suite *suite = *state;
    struct jwt_rules rules = plain_rules(suite);
    unsigned n_wrong = 0;
    for (size_t i = 0; i < sizeof(corpus) / sizeof(corpus[0]); i++) {
        enum jwt_verdict verdict = verdict_of(suite, &rules, corpus[i].header, corpus[i].payload, corpus[i].signer);
        if (verdict != corpus[i].verdict) {
            print_error("%s %s signer %d: verdict %d, not %d\n", corpus[i].header, corpus[i].payload,
                        (int)corpus[i].signer, (int)verdict, (int)corpus[i].verdict);
            n_wrong++;
        }
    }
    assert_true(sizeof(corpus) / sizeof(corpus[0]) >= 60);
    assert_int_equal(n_wrong, 0);
}

static void every_changed_bit_of_a_token_makes_it_worthless(void **state)
{
    const struct suite *suite = *state;
    struct jwt_rules rules = plain_rules(suite);
    struct cc_buffer token = {0};
    make_token(suite, HS, ANN, BY_SECRET, &token);
    for (size_t i = 0; i < token.n * 8; i++) {
        struct cc_arena arena;
        struct jwt_claims claims;
        cc_arena_init(&arena);
        token.data[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_not_equal(check(&rules, cc_buffer_slice(&token), &arena, &claims), JWT_GOOD);
        token.data[i / 8] ^= (uint8_t)(1u << i % 8);
        cc_arena_finish(&arena);
    }
    cc_buffer_finish(&token);
}

static void what_is_no_token_at_all_is_refused(void **state)
{
    struct jwt_rules rules = plain_rules(*state);
    static const struct {
        const char *text;
        enum jwt_verdict verdict;
        uint32_t n_parts;
    } texts[] = {
        {"", JWT_EMPTY, 0},
        {"abc", JWT_PARTS, 1},
        {"abc.def", JWT_PARTS, 2},
        {"a.b.c.d", JWT_PARTS, 4},
        {"..", JWT_UNREADABLE, 3},
        {"a.b.c.d.e", JWT_PARTS, 5},
        {"{\"alg\"}.x.y", JWT_UNREADABLE, 3},
        {"eyJh=.e30.AA", JWT_UNREADABLE, 3},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct cc_arena arena;
        struct jwt_claims claims;
        uint32_t n_parts = 0;
        cc_arena_init(&arena);
        assert_int_equal(jwt_check(&rules, cc_slice_text(texts[i].text), NOW, &arena, &claims, &n_parts),
                         texts[i].verdict);
        assert_int_equal(n_parts, texts[i].n_parts);
        cc_arena_finish(&arena);
    }
}

static void a_token_of_more_than_8_kib_is_not_looked_at(void **state)
{
    const struct suite *suite = *state;
    struct jwt_rules rules = plain_rules(suite);
    struct cc_buffer payload = {0};
    cc_buffer_append_text(&payload, "{\"x\":\"");
    for (size_t i = 0; i < 6200; i++) {
        cc_buffer_append_text(&payload, "y");
    }
    cc_buffer_append_text(&payload, "\"}");
    assert_int_equal(verdict_of(suite, &rules, HS, cc_buffer_text(&payload), BY_SECRET), JWT_TOO_LARGE);
    cc_buffer_finish(&payload);
}

static void padding_and_stray_bits_are_refused_although_the_signature_is_good(void **state)
{
    const struct suite *suite = *state;
    struct jwt_rules rules = plain_rules(suite);
    struct cc_buffer token = {0};
    struct cc_arena arena;
    struct jwt_claims claims;
    cc_arena_init(&arena);
    make_token(suite, HS, ANN, BY_SECRET, &token);
    cc_buffer_append_text(&token, "=");
    assert_int_equal(check(&rules, cc_buffer_slice(&token), &arena, &claims), JWT_UNREADABLE);
    token.n--;
    token.data[token.n - 1]++; // 32 bytes leave two bits over
    assert_int_equal(check(&rules, cc_buffer_slice(&token), &arena, &claims), JWT_UNREADABLE);
    cc_buffer_finish(&token);
    cc_arena_finish(&arena);
}

static void a_configured_audience_issuer_and_expiry_must_be_there(void **state)
{
    const struct suite *suite = *state;
    struct jwt_rules rules = plain_rules(suite);
    rules.audience = "shop";
    assert_int_equal(verdict_of(suite, &rules, HS, "{}", BY_SECRET), JWT_AUDIENCE);
    assert_int_equal(verdict_of(suite, &rules, HS, "{\"aud\":\"other\"}", BY_SECRET), JWT_AUDIENCE);
    assert_int_equal(verdict_of(suite, &rules, HS, "{\"aud\":[\"other\",7]}", BY_SECRET), JWT_AUDIENCE);
    assert_int_equal(verdict_of(suite, &rules, HS, "{\"aud\":[]}", BY_SECRET), JWT_AUDIENCE);
    assert_int_equal(verdict_of(suite, &rules, HS, "{\"aud\":null}", BY_SECRET), JWT_AUDIENCE);
    assert_int_equal(verdict_of(suite, &rules, HS, "{\"aud\":\"shop\"}", BY_SECRET), JWT_GOOD);
    assert_int_equal(verdict_of(suite, &rules, HS, "{\"aud\":[\"other\",\"shop\"]}", BY_SECRET), JWT_GOOD);
    rules.audience = "";
    rules.issuer = "https://id.example";
    assert_int_equal(verdict_of(suite, &rules, HS, "{}", BY_SECRET), JWT_ISSUER);
    assert_int_equal(verdict_of(suite, &rules, HS, "{\"iss\":\"https://id.example/\"}", BY_SECRET), JWT_ISSUER);
    assert_int_equal(verdict_of(suite, &rules, HS, "{\"iss\":\"https://id.example\"}", BY_SECRET), JWT_GOOD);
    rules.issuer = "";
    rules.expiry_required = true;
    assert_int_equal(verdict_of(suite, &rules, HS, "{}", BY_SECRET), JWT_NO_EXPIRY);
    assert_int_equal(verdict_of(suite, &rules, HS, ANN, BY_SECRET), JWT_GOOD);
}

static void assert_claims(const struct suite *suite, const struct jwt_rules *rules, const char *payload,
                          const char *role, const char *json)
{
    struct cc_buffer token = {0};
    struct cc_arena arena;
    struct jwt_claims claims;
    cc_arena_init(&arena);
    make_token(suite, HS, payload, BY_SECRET, &token);
    assert_int_equal(check(rules, cc_buffer_slice(&token), &arena, &claims), JWT_GOOD);
    if (role == NULL) {
        assert_null(claims.role.data);
    } else {
        assert_true(cc_slice_equal_text(claims.role, role));
    }
    assert_string_equal(cc_arena_text_n(&arena, claims.json.data, claims.json.n), json);
    cc_buffer_finish(&token);
    cc_arena_finish(&arena);
}

static void the_role_is_found_where_the_path_says_and_is_told_as_role(void **state)
{
    const struct suite *suite = *state;
    struct jwt_rules rules = plain_rules(suite);
    assert_claims(suite, &rules, "{ \"role\": \"m\\u0065mber\" }", "member", "{ \"role\": \"m\\u0065mber\" }");
    assert_claims(suite, &rules, "{\"role\":7}", NULL, "{\"role\":7}");
    assert_claims(suite, &rules, "{\"role\":\"\"}", NULL, "{\"role\":\"\"}");
    rules.role_claim = ".app.roles[1]";
    assert_claims(suite, &rules, "{\"app\":{\"roles\":[\"a\",\"b\"]},\"role\":\"x\",\"n\":12345678901234567890123}",
                  "b", "{\"role\":\"b\",\"app\":{\"roles\":[\"a\",\"b\"]},\"n\":12345678901234567890123}");
    assert_claims(suite, &rules, "{\"app\":{\"roles\":[\"a\"]}}", NULL, "{\"app\":{\"roles\":[\"a\"]}}");
    rules.role_claim = ".\"https://example.org/role\"";
    assert_claims(suite, &rules, "{\"https://example.org/role\":\"c\"}", "c",
                  "{\"role\":\"c\",\"https://example.org/role\":\"c\"}");
    rules.default_role = "web";
    assert_claims(suite, &rules, "{\"sub\":\"1\"}", "web", "{\"role\":\"web\",\"sub\":\"1\"}");
}

static void paths_to_the_role_are_checked(void **state)
{
    (void)state;
    assert_true(jwt_is_claim_path(".role"));
    assert_true(jwt_is_claim_path(".a.b[0].\"c d\""));
    assert_false(jwt_is_claim_path(""));
    assert_false(jwt_is_claim_path("role"));
    assert_false(jwt_is_claim_path(".a["));
    assert_false(jwt_is_claim_path(".a[-1]"));
    assert_false(jwt_is_claim_path(".a[99999999999999999999]"));
    assert_false(jwt_is_claim_path(".\"open"));
    assert_false(jwt_is_claim_path(".a..b"));
    assert_false(jwt_is_claim_path(".a b"));
}

static void a_good_token_is_good_until_it_expires(void **state)
{
    (void)state;
    struct jwt_claims claims = {.not_before_s = NOW, .expires_s = NOW + 10};
    assert_int_equal(jwt_check_time(&claims, NOW - 1), JWT_NOT_YET);
    assert_int_equal(jwt_check_time(&claims, NOW), JWT_GOOD);
    assert_int_equal(jwt_check_time(&claims, NOW + 9), JWT_GOOD);
    assert_int_equal(jwt_check_time(&claims, NOW + 10), JWT_EXPIRED);
}

// -- Keys ------------------------------------------------------------------------------------------------------------

static void weak_and_mistaken_keys_are_refused(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "",
        "[]",
        "{\"keys\":7}",
        "{\"keys\":[]}",
        "{\"keys\":[7]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}]}",
        "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"!!\",\"e\":\"AQAB\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        // No point of the curve.
        ("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\",\"y\":"
        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}"),
        "{\"kty\":\"oct\",\"alg\":\"none\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}",
        "{\"kty\":\"oct\",\"key_ops\":[\"encrypt\"],\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}",
    };
    struct jwt_keys *keys = jwt_keys_create();
    char error[JWT_KEYS_ERROR_BYTES];
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        error[0] = '\0';
        assert_int_not_equal(jwt_keys_add_jwks(keys, cc_slice_text(documents[i]), error), CC_OK);
        assert_string_not_equal(error, "");
        assert_int_equal(jwt_keys_count(keys), 0);
    }
    assert_int_equal(jwt_keys_add_secret(keys, cc_slice_text("0123456789abcdef0123456789abcde"), error), CC_INVALID);
    assert_int_equal(
        jwt_keys_add_secret(keys, cc_slice_text("{\"kty\":\"RSA\",\"n\":\"0123456789abcdef0123456789abcde\"}"), error),
        CC_INVALID);
    assert_int_equal(
        jwt_keys_add_secret(keys, cc_slice_text("-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQ"), error),
        CC_INVALID);
    assert_int_equal(jwt_keys_count(keys), 0);
    jwt_keys_destroy(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_of_the_corpus_get_their_verdict),
        cmocka_unit_test(every_changed_bit_of_a_token_makes_it_worthless),
        cmocka_unit_test(what_is_no_token_at_all_is_refused),
        cmocka_unit_test(a_token_of_more_than_8_kib_is_not_looked_at),
        cmocka_unit_test(padding_and_stray_bits_are_refused_although_the_signature_is_good),
        cmocka_unit_test(a_configured_audience_issuer_and_expiry_must_be_there),
        cmocka_unit_test(the_role_is_found_where_the_path_says_and_is_told_as_role),
        cmocka_unit_test(paths_to_the_role_are_checked),
        cmocka_unit_test(a_good_token_is_good_until_it_expires),
        cmocka_unit_test(weak_and_mistaken_keys_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
