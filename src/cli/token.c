// Tokens that the command line makes itself.
#include "cli/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <jansson.h>
#include <sodium.h>

#include "base/base64.h"
#include "cli/http_client.h"
#include "proxy/gateway/io_auth.h"
#include "rest/jwt.h"

static enum cc_status complain(enum cc_status status, char problem[static TOKEN_PROBLEM_BYTES], const char *text)
{
    (void)snprintf(problem, TOKEN_PROBLEM_BYTES, "%s", text);
    return status;
}

static void put_signed(struct cc_buffer *out, struct cc_slice secret, const json_t *claims)
{
    char *text = json_dumps(claims, JSON_COMPACT);
    size_t start = out->n;
    cc_base64url_put(out, cc_slice_text("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"));
    cc_buffer_append_text(out, ".");
    cc_base64url_put(out, cc_slice_text(text));
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, secret.data, secret.n);
    crypto_auth_hmacsha256_update(&state, out->data + start, out->n - start);
    crypto_auth_hmacsha256_final(&state, mac);
    cc_buffer_append_text(out, ".");
    cc_base64url_put(out, cc_slice_of(mac, sizeof(mac)));
    free(text);
}

// As a replica checks it: a role claim elsewhere, say, or a secret that is too short would make it worthless.
static enum cc_status check(const struct config_auth *config, struct cc_slice secret, struct cc_slice token, int64_t now_s,
                            const char *role, char problem[static TOKEN_PROBLEM_BYTES])
{
    char why[JWT_KEYS_ERROR_BYTES];
    struct jwt_keys *keys = jwt_keys_create();
    enum cc_status status = jwt_keys_add_secret(keys, secret, why);
    if (status != CC_OK) {
        jwt_keys_destroy(keys);
        return complain(status, problem, why);
    }
    const struct jwt_rules rules = {.keys = keys,
                                    .audience = config->jwt_audience,
                                    .issuer = config->jwt_issuer,
                                    .role_claim = config->role_claim,
                                    .default_role = "",
                                    .expiry_required = config->require_expiry};
    struct cc_arena arena = {0};
    struct jwt_claims claims;
    uint32_t n_parts = 0;
    enum jwt_verdict verdict = jwt_check(&rules, token, now_s, &arena, &claims, &n_parts);
    if (verdict != JWT_GOOD) {
        status = complain(CC_INVALID, problem, jwt_verdict_message(verdict, n_parts, &arena));
    } else if (!cc_slice_equal_text(claims.role, role)) {
        (void)snprintf(problem, TOKEN_PROBLEM_BYTES, "auth.role_claim is %.100s: give the role %.100s there, in --claims",
                       config->role_claim, role);
        status = CC_INVALID;
    }
    cc_arena_finish(&arena);
    jwt_keys_destroy(keys);
    return status;
}

enum cc_status token_make(const struct config_auth *config, const char *role, const char *claims, int64_t now_s,
                          uint32_t seconds, struct cc_buffer *token_out, char problem_out[static TOKEN_PROBLEM_BYTES])
{
    struct cc_buffer secret = {0};
    struct io_auth_problem problem;
    enum cc_status status = io_auth_read_secret(config, &secret, &problem);
    if (status != CC_OK) {
        return complain(status, problem_out, problem.text);
    }
    json_t *more = claims == NULL ? json_object() : json_loads(claims, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(more)) {
        json_decref(more);
        sodium_memzero(secret.data, secret.n);
        cc_buffer_finish(&secret);
        return complain(CC_INVALID, problem_out, "the claims are no JSON object");
    }
    json_t *all = json_pack("{s:s, s:I, s:I}", "role", role, "iat", (json_int_t)now_s, "exp", (json_int_t)(now_s + seconds));
    if (config->jwt_audience[0] != '\0') {
        json_object_set_new(all, "aud", json_string(config->jwt_audience));
    }
    if (config->jwt_issuer[0] != '\0') {
        json_object_set_new(all, "iss", json_string(config->jwt_issuer));
    }
    json_object_update(all, more);
    size_t start = token_out->n;
    put_signed(token_out, cc_buffer_slice(&secret), all);
    struct cc_slice token = cc_slice_of(token_out->data + start, token_out->n - start);
    status = check(config, cc_buffer_slice(&secret), token, now_s, role, problem_out);
    json_decref(all);
    json_decref(more);
    sodium_memzero(secret.data, secret.n);
    cc_buffer_finish(&secret);
    return status;
}

void token_use_own(const struct config_auth *config)
{
    enum { TOKEN_SECONDS = 24 * 3600 };
    struct cc_buffer token = {0};
    char problem[TOKEN_PROBLEM_BYTES];
    if (token_make(config, config->operator_role, NULL, time(NULL), TOKEN_SECONDS, &token, problem) == CC_OK) {
        http_use_token(cc_buffer_text(&token));
    }
    cc_buffer_finish(&token);
}
