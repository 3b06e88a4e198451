// Identity of requests: keys from files, tokens checked once and remembered.
#include "proxy/gateway/io_auth.h"

#include "base/memory.h"
#include "rest/json_body.h"
#include "rest/jwt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

enum { KEY_FILE_BYTES_MAX = 1 << 20, CACHE_TOKENS_MAX = 1024 };

struct io_auth {
    bool is_on; // tokens or an anonymous role are configured
    struct jwt_keys *keys;
    struct jwt_rules rules;
    const char *anonymous_role, *operator_role;
};

struct cached {
    char *token; // key
    size_t n_token;
    struct cc_arena arena;
    struct jwt_claims claims;
    UT_hash_handle hh;
};

struct io_auth_cache {
    const struct io_auth *auth;
    struct cached *tokens; // least recently used first
};

// -- Keys ------------------------------------------------------------------------------------------------------------

static enum cc_status complain(struct io_auth_problem *problem, enum cc_status status, const char *what,
                               const char *why)
{
    (void)snprintf(problem->text, sizeof(problem->text), "%.200s: %.180s", what, why);
    return status;
}

static enum cc_status read_file(const char *path, struct cc_buffer *out, struct io_auth_problem *problem)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return complain(problem, errno == ENOENT ? CC_NOT_FOUND : CC_IO, path, strerror(errno));
    }
    uint8_t part[4096];
    size_t n = 0;
    while ((n = fread(part, 1, sizeof(part), file)) > 0 && out->n <= KEY_FILE_BYTES_MAX) {
        cc_buffer_append(out, part, n);
    }
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (failed) {
        return complain(problem, CC_IO, path, "cannot be read");
    }
    return out->n <= KEY_FILE_BYTES_MAX ? CC_OK : complain(problem, CC_TOO_LARGE, path, "is larger than 1 MiB");
}

static enum cc_status add_secret(struct io_auth *auth, struct cc_slice secret, const char *where,
                                 struct io_auth_problem *problem)
{
    char why[JWT_KEYS_ERROR_BYTES];
    enum cc_status status = jwt_keys_add_secret(auth->keys, secret, why);
    return status == CC_OK ? CC_OK : complain(problem, status, where, why);
}

static enum cc_status read_secret_file(const char *path, struct cc_buffer *out, struct io_auth_problem *problem)
{
    enum cc_status status = read_file(path, out, problem);
    if (status == CC_OK && out->n > 0 && out->data[out->n - 1] == '\n') {
        out->n--;
    }
    return status;
}

static enum cc_status add_secret_file(struct io_auth *auth, const char *path, struct io_auth_problem *problem)
{
    struct cc_buffer text = {0};
    enum cc_status status = read_secret_file(path, &text, problem);
    if (status == CC_OK) {
        status = add_secret(auth, cc_buffer_slice(&text), path, problem);
    }
    cc_buffer_finish(&text);
    return status;
}

enum cc_status io_auth_read_secret(const struct config_auth *config, struct cc_buffer *secret_out,
                                   struct io_auth_problem *problem_out)
{
    if (config->jwt_secret[0] != '\0') {
        cc_buffer_append_text(secret_out, config->jwt_secret);
        return CC_OK;
    }
    if (config->jwt_secret_file[0] == '\0') {
        return complain(problem_out, CC_NOT_FOUND, "auth.jwt_secret_file", "no secret is configured");
    }
    return read_secret_file(config->jwt_secret_file, secret_out, problem_out);
}

static enum cc_status add_jwks_file(struct io_auth *auth, const char *path, struct io_auth_problem *problem)
{
    struct cc_buffer text = {0};
    char why[JWT_KEYS_ERROR_BYTES];
    enum cc_status status = read_file(path, &text, problem);
    if (status == CC_OK) {
        status = jwt_keys_add_jwks(auth->keys, cc_buffer_slice(&text), why);
        status = status == CC_OK ? CC_OK : complain(problem, status, path, why);
    }
    cc_buffer_finish(&text);
    return status;
}

static enum cc_status read_keys(struct io_auth *auth, const struct config_auth *config, struct io_auth_problem *problem)
{
    enum cc_status status = CC_OK;
    if (config->jwt_secret[0] != '\0') {
        status = add_secret(auth, cc_slice_text(config->jwt_secret), "auth.jwt_secret", problem);
    }
    if (status == CC_OK && config->jwt_secret_file[0] != '\0') {
        status = add_secret_file(auth, config->jwt_secret_file, problem);
    }
    if (status == CC_OK && config->jwks_file[0] != '\0') {
        status = add_jwks_file(auth, config->jwks_file, problem);
    }
    return status;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6) != 0;
    }
    return strcmp(host, "localhost") == 0;
}

enum cc_status io_auth_create(const struct config *config, const struct config_replica *self, struct io_auth **auth_out,
                              struct io_auth_problem *problem_out)
{
    struct io_auth *auth = cc_alloc(sizeof(*auth));
    auth->keys = jwt_keys_create();
    auth->anonymous_role = config->auth.anonymous_role;
    auth->operator_role = config->auth.operator_role;
    enum cc_status status = read_keys(auth, &config->auth, problem_out);
    auth->is_on = jwt_keys_count(auth->keys) > 0 || auth->anonymous_role[0] != '\0';
    auth->rules = (struct jwt_rules){.keys = auth->keys,
                                     .audience = config->auth.jwt_audience,
                                     .issuer = config->auth.jwt_issuer,
                                     .role_claim = config->auth.role_claim,
                                     .default_role = config->auth.anonymous_role,
                                     .expiry_required = config->auth.require_expiry};
    if (status == CC_OK && !auth->is_on && !config->auth.allow_open && !is_loopback(self->http.host)) {
        status = complain(problem_out, CC_REFUSED, self->http.text,
                          "not a loopback address, and without tokens everybody could do everything: configure "
                          "auth.jwt_secret_file or "
                          "auth.jwks_file, or set auth.allow_open to true");
    }
    if (status != CC_OK) {
        io_auth_destroy(auth);
        return status;
    }
    *auth_out = auth;
    return CC_OK;
}

bool io_auth_is_on(const struct io_auth *auth)
{
    return auth->is_on;
}

void io_auth_destroy(struct io_auth *auth)
{
    if (auth != NULL) {
        jwt_keys_destroy(auth->keys);
        free(auth);
    }
}

// -- Cache -----------------------------------------------------------------------------------------------------------

struct io_auth_cache *io_auth_cache_create(const struct io_auth *auth)
{
    struct io_auth_cache *cache = cc_alloc(sizeof(*cache));
    cache->auth = auth;
    return cache;
}

static void forget(struct io_auth_cache *cache, struct cached *cached)
{
    HASH_DEL(cache->tokens, cached);
    cc_arena_finish(&cached->arena);
    free(cached->token);
    free(cached);
}

void io_auth_cache_destroy(struct io_auth_cache *cache)
{
    while (cache != NULL && cache->tokens != NULL) {
        forget(cache, cache->tokens);
    }
    free(cache);
}

static struct cached *lookup(struct io_auth_cache *cache, struct cc_slice token)
{
    struct cached *cached = NULL;
    HASH_FIND(hh, cache->tokens, token.data, token.n, cached);
    if (cached != NULL) { // to the end: used last
        HASH_DEL(cache->tokens, cached);
        HASH_ADD_KEYPTR(hh, cache->tokens, cached->token, cached->n_token, cached);
    }
    return cached;
}

static void remember(struct io_auth_cache *cache, struct cc_slice token, const struct jwt_claims *claims)
{
    if (HASH_COUNT(cache->tokens) >= CACHE_TOKENS_MAX) {
        forget(cache, cache->tokens);
    }
    struct cached *cached = cc_alloc(sizeof(*cached));
    cc_arena_init(&cached->arena);
    cached->token = cc_strndup(token.data, token.n);
    cached->n_token = token.n;
    cached->claims = *claims;
    cached->claims.json = cc_arena_slice(&cached->arena, claims->json);
    cached->claims.role = cc_arena_slice(&cached->arena, claims->role);
    cached->claims.subject = cc_arena_slice(&cached->arena, claims->subject);
    HASH_ADD_KEYPTR(hh, cache->tokens, cached->token, cached->n_token, cached);
}

static enum jwt_verdict check_token(struct io_auth_cache *cache, struct cc_slice token, int64_t now_s,
                                    struct cc_arena *arena, struct jwt_claims *claims_out, uint32_t *n_parts_out)
{
    struct cached *cached = lookup(cache, token);
    if (cached != NULL) {
        *claims_out = cached->claims;
        claims_out->json = cc_arena_slice(arena, cached->claims.json);
        claims_out->role = cc_arena_slice(arena, cached->claims.role);
        claims_out->subject = cc_arena_slice(arena, cached->claims.subject);
        return jwt_check_time(claims_out, now_s);
    }
    enum jwt_verdict verdict = jwt_check(&cache->auth->rules, token, now_s, arena, claims_out, n_parts_out);
    if (verdict == JWT_GOOD) {
        remember(cache, token, claims_out);
    }
    return verdict;
}

// -- Requests --------------------------------------------------------------------------------------------------------

// False: no header of the kind "Bearer x". With two of them nobody knows which one counts: an empty token, refused.
static bool find_token(const struct rest_request *request, struct cc_slice *token_out)
{
    static const char scheme[] = "bearer";
    size_t n_scheme = sizeof(scheme) - 1;
    uint32_t n = 0;
    for (uint32_t i = 0; i < request->n_headers; i++) {
        struct cc_slice value = rest_text_trim(request->headers[i].value);
        if (!cc_slice_equal_fold(request->headers[i].name, "authorization") || value.n < n_scheme ||
            !cc_slice_equal_fold(cc_slice_of(value.data, n_scheme), scheme) ||
            (value.n > n_scheme && value.data[n_scheme] != ' ')) {
            continue;
        }
        *token_out =
            n++ == 0 ? rest_text_trim(cc_slice_of(value.data + n_scheme, value.n - n_scheme)) : (struct cc_slice){0};
    }
    return n > 0;
}

static void refuse(struct io_auth_answer *answer, int status, const char *code, const char *message,
                   const char *challenge)
{
    *answer = (struct io_auth_answer){.status = status, .code = code, .message = message, .challenge = challenge};
}

static void refuse_token(struct io_auth_answer *answer, enum jwt_verdict verdict, uint32_t n_parts,
                         struct cc_arena *arena)
{
    const char *message = jwt_verdict_message(verdict, n_parts, arena);
    refuse(answer, 401, jwt_verdict_code(verdict), message,
           cc_arena_printf(arena, "Bearer error=\"invalid_token\", error_description=\"%s\"", message));
}

// Of a request without a token.
static void anonymous_claims(const struct io_auth *auth, struct cc_arena *arena, struct jwt_claims *claims_out)
{
    struct cc_buffer text = {0};
    cc_buffer_append_text(&text, "{\"role\":");
    rest_json_put_string(&text, cc_slice_text(auth->anonymous_role));
    cc_buffer_append_text(&text, "}");
    *claims_out = (struct jwt_claims){.json = cc_arena_slice(arena, cc_buffer_slice(&text)),
                                      .role = cc_slice_text(auth->anonymous_role),
                                      .is_default_role = true};
    cc_buffer_finish(&text);
}

// Role and subject, each with its length, so that no two pairs look alike.
static struct cc_slice principal_of(struct cc_slice role, struct cc_slice subject, struct cc_arena *arena)
{
    struct cc_buffer text = {0};
    cc_buffer_printf(&text, "%zu:", role.n);
    cc_buffer_append_slice(&text, role);
    cc_buffer_append_slice(&text, subject);
    struct cc_slice principal = cc_arena_slice(arena, cc_buffer_slice(&text));
    cc_buffer_finish(&text);
    return principal;
}

static void give_role(const struct io_auth *auth, const struct jwt_claims *claims, struct cc_arena *arena,
                      struct io_auth_answer *answer)
{
    struct cc_slice role = claims->role;
    bool anonymous = claims->is_default_role;
    if (role.n == 0) {
        refuse(answer, 401, "PGRST302", "Anonymous access is disabled", "Bearer");
        return;
    }
    if (memchr(role.data, 0, role.n) != NULL || role.n > CC_NAME_BYTES_MAX) {
        refuse_token(answer, JWT_CLAIMS, 0, arena);
        return;
    }
    *answer = (struct io_auth_answer){
        .identity = {.role = role, .claims = claims->json, .anonymous = anonymous},
        .principal = principal_of(role, claims->subject, arena),
        .is_operator = !anonymous && auth->operator_role[0] != '\0' && cc_slice_equal_text(role, auth->operator_role),
    };
}

void io_auth_identify(struct io_auth_cache *cache, const struct rest_request *request, int64_t now_s,
                      struct cc_arena *arena, struct io_auth_answer *answer_out)
{
    const struct io_auth *auth = cache->auth;
    struct cc_slice token = {0};
    struct jwt_claims claims = {0};
    uint32_t n_parts = 0;
    if (!auth->is_on) {
        *answer_out = (struct io_auth_answer){.principal = cc_slice_text(""), .is_operator = true};
        return;
    }
    if (!find_token(request, &token)) {
        anonymous_claims(auth, arena, &claims);
    } else {
        if (jwt_keys_count(auth->keys) == 0) {
            refuse(answer_out, 500, "PGRST300", "Server lacks JWT secret", NULL);
            return;
        }
        enum jwt_verdict verdict = check_token(cache, token, now_s, arena, &claims, &n_parts);
        if (verdict != JWT_GOOD) {
            refuse_token(answer_out, verdict, n_parts, arena);
            return;
        }
    }
    give_role(auth, &claims, arena, answer_out);
}
