// Tokens: parts, header, signature, claims; in this order, so that nothing unsigned is believed.
#include "rest/jwt.h"

#include "base/base64.h"
#include "rest/character.h"
#include "rest/json_body.h"
#include "rest/request.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_CHARS_MAX = 32 };

static const struct {
    const char *code, *message;
} verdicts[] = {
#define JWT_VERDICT_TEXT(name, code, message) {code, message},
    JWT_VERDICTS(JWT_VERDICT_TEXT)
#undef JWT_VERDICT_TEXT
};

const char *jwt_verdict_code(enum jwt_verdict verdict)
{
    return verdicts[verdict].code;
}

const char *jwt_verdict_message(enum jwt_verdict verdict, uint32_t n_parts, struct cc_arena *arena)
{
    if (verdict == JWT_PARTS) {
        return cc_arena_printf(arena, "Expected 3 parts in JWT; got %u", n_parts);
    }
    return verdicts[verdict].message;
}

// -- Path to the role ------------------------------------------------------------------------------------------------

struct claim_step {       // .name, ."name" or [index]
    struct cc_slice name; // NULL slice: an index
    uint32_t index;
};

static bool is_name_char(char c)
{
    return rest_is_alphanumeric((uint8_t)c) || c == '_' || c == '-' || c == '$' || c == '@';
}

static bool read_name(const char **path, struct claim_step *out)
{
    const char *start = *path;
    if (*start == '"') {
        const char *end = strchr(start + 1, '"');
        if (end == NULL) {
            return false;
        }
        out->name = cc_slice_of(start + 1, (size_t)(end - start) - 1);
        *path = end + 1;
        return true;
    }
    while (is_name_char(**path)) {
        ++*path;
    }
    out->name = cc_slice_of(start, (size_t)(*path - start));
    return *path > start;
}

// One step; false when the path is none or at its end.
static bool read_step(const char **path, struct claim_step *out)
{
    *out = (struct claim_step){0};
    if (**path == '.') {
        ++*path;
        return read_name(path, out);
    }
    if (**path != '[') {
        return false;
    }
    char *end = NULL;
    unsigned long index = (*path)[1] >= '0' && (*path)[1] <= '9' ? strtoul(*path + 1, &end, 10) : ULONG_MAX;
    if (index > UINT16_MAX || *end != ']') {
        return false;
    }
    out->index = (uint32_t)index;
    *path = end + 1;
    return true;
}

bool jwt_is_claim_path(const char *path)
{
    struct claim_step step;
    bool any = false;
    while (read_step(&path, &step)) {
        any = true;
    }
    return any && *path == '\0';
}

static bool take_step(const struct claim_step *step, struct cc_arena *arena, struct rest_json_value *value)
{
    if (step->name.data == NULL) {
        uint32_t n = 0;
        struct rest_json_value *elements = NULL;
        if (value->kind != REST_JSON_ARRAY) {
            return false;
        }
        rest_json_elements(value, arena, &n, &elements);
        if (step->index >= n) {
            return false;
        }
        *value = elements[step->index];
        return true;
    }
    uint32_t n = 0;
    struct rest_json_member *members = NULL;
    if (value->kind != REST_JSON_OBJECT) {
        return false;
    }
    rest_json_members(value, arena, &n, &members);
    const struct rest_json_member *member =
        rest_json_find(n, members, cc_arena_text_n(arena, step->name.data, step->name.n));
    if (member == NULL) {
        return false;
    }
    *value = member->value;
    return true;
}

// The text there, or the NULL slice.
static struct cc_slice find_role(const char *path, const struct rest_json *json, struct cc_arena *arena)
{
    struct rest_json_value value = json->value;
    struct claim_step step;
    while (read_step(&path, &step)) {
        if (!take_step(&step, arena, &value)) {
            return (struct cc_slice){0};
        }
    }
    struct cc_slice role = value.kind == REST_JSON_STRING ? rest_json_text(&value, arena) : (struct cc_slice){0};
    return role.n == 0 ? (struct cc_slice){0} : role;
}

// -- Parts -----------------------------------------------------------------------------------------------------------

struct parts {
    struct cc_slice header, payload, signature; // as they came
    struct cc_slice signed_text;                // header.payload
};

static enum jwt_verdict split(struct cc_slice token, struct parts *out, uint32_t *n_parts_out)
{
    size_t dots[2] = {0};
    uint32_t n = 0;
    for (size_t i = 0; i < token.n; i++) {
        if (token.data[i] == '.') {
            if (n < 2) {
                dots[n] = i;
            }
            n++;
        }
    }
    *n_parts_out = n + 1;
    if (n != 2) {
        return JWT_PARTS;
    }
    out->header = cc_slice_of(token.data, dots[0]);
    out->payload = cc_slice_of(token.data + dots[0] + 1, dots[1] - dots[0] - 1);
    out->signature = cc_slice_of(token.data + dots[1] + 1, token.n - dots[1] - 1);
    out->signed_text = cc_slice_of(token.data, dots[1]);
    return JWT_GOOD;
}

static bool decode(struct cc_slice text, struct cc_arena *arena, struct cc_slice *out)
{
    struct cc_buffer bytes = {0};
    bool good = cc_base64url_read(text, &bytes) == CC_OK;
    if (good) {
        *out = cc_slice_of(cc_arena_text_n(arena, bytes.data, bytes.n), bytes.n);
    }
    cc_buffer_finish(&bytes);
    return good;
}

static bool decode_object(struct cc_slice text, struct cc_arena *arena, struct cc_slice *bytes_out,
                          struct rest_json *json_out)
{
    const char *reason = NULL;
    return decode(text, arena, bytes_out) && rest_json_scan(*bytes_out, arena, json_out, &reason) == CC_OK &&
           json_out->value.kind == REST_JSON_OBJECT;
}

static struct cc_slice text_of(const struct rest_json *json, const char *name, struct cc_arena *arena)
{
    const struct rest_json_member *member = rest_json_find(json->n_members, json->members, name);
    bool is_text = member != NULL && member->value.kind == REST_JSON_STRING;
    return is_text ? rest_json_text(&member->value, arena) : (struct cc_slice){0};
}

// -- Header ----------------------------------------------------------------------------------------------------------

// Other kinds of tokens that an issuer signs with the same key (log-out, events, proof of possession) are none for us.
static bool is_access_token(const struct rest_json *header, struct cc_arena *arena)
{
    if (rest_json_find(header->n_members, header->members, "typ") == NULL) {
        return true;
    }
    struct cc_slice type = text_of(header, "typ", arena);
    return cc_slice_equal_fold(type, "JWT") || cc_slice_equal_fold(type, "at+jwt") ||
           cc_slice_equal_fold(type, "application/at+jwt");
}

static enum jwt_verdict check_header(const struct jwt_rules *rules, const struct parts *parts, struct cc_arena *arena,
                                     enum jwt_algorithm *algorithm_out, struct cc_slice *kid_out)
{
    struct rest_json header;
    struct cc_slice bytes;
    if (!decode_object(parts->header, arena, &bytes, &header)) {
        return JWT_UNREADABLE;
    }
    if (!jwt_algorithm_of(text_of(&header, "alg", arena), algorithm_out) ||
        !jwt_keys_has(rules->keys, *algorithm_out)) {
        return JWT_ALGORITHM;
    }
    if (!is_access_token(&header, arena)) {
        return JWT_TYPE;
    }
    if (rest_json_find(header.n_members, header.members, "crit") != NULL) { // what must be understood, is not
        return JWT_UNREADABLE;
    }
    *kid_out = text_of(&header, "kid", arena);
    return JWT_GOOD;
}

// -- Claims ----------------------------------------------------------------------------------------------------------

// Seconds since 1970, whole. False: there, but no number that can be a time.
static bool read_time(const struct rest_json *claims, const char *name, bool *has_out, int64_t *out)
{
    const struct rest_json_member *member = rest_json_find(claims->n_members, claims->members, name);
    *has_out = member != NULL;
    if (member == NULL) {
        return true;
    }
    char digits[NUMBER_CHARS_MAX + 1] = {0};
    if (member->value.kind != REST_JSON_NUMBER || member->value.raw.n > NUMBER_CHARS_MAX) {
        return false;
    }
    memcpy(digits, member->value.raw.data, member->value.raw.n);
    double seconds = strtod(digits, NULL);
    if (!(seconds >= 0 && seconds < 1e15)) {
        return false;
    }
    *out = (int64_t)seconds;
    return true;
}

static enum jwt_verdict check_times(const struct jwt_rules *rules, const struct rest_json *json, int64_t now_s,
                                    struct jwt_claims *claims)
{
    bool has_exp = false, has_nbf = false, has_iat = false;
    int64_t exp = 0, nbf = 0, iat = 0;
    if (!read_time(json, "exp", &has_exp, &exp) || !read_time(json, "nbf", &has_nbf, &nbf) ||
        !read_time(json, "iat", &has_iat, &iat)) {
        return JWT_CLAIMS;
    }
    if (rules->expiry_required && !has_exp) {
        return JWT_NO_EXPIRY;
    }
    claims->expires_s = has_exp ? exp + JWT_LEEWAY_S : INT64_MAX;
    claims->not_before_s = has_nbf ? nbf - JWT_LEEWAY_S : INT64_MIN;
    enum jwt_verdict verdict = jwt_check_time(claims, now_s);
    if (verdict == JWT_GOOD && has_iat && iat - JWT_LEEWAY_S > now_s) {
        return JWT_FROM_FUTURE;
    }
    return verdict;
}

enum jwt_verdict jwt_check_time(const struct jwt_claims *claims, int64_t now_s)
{
    return now_s >= claims->expires_s ? JWT_EXPIRED : now_s < claims->not_before_s ? JWT_NOT_YET : JWT_GOOD;
}

// One text, or one of a list of texts. A rule that is set must be met: a token without the claim is for nobody.
static bool is_for(const char *wanted, const struct rest_json *claims, const char *name, struct cc_arena *arena)
{
    const struct rest_json_member *member = rest_json_find(claims->n_members, claims->members, name);
    if (member == NULL || member->value.kind == REST_JSON_STRING) {
        return cc_slice_equal_text(text_of(claims, name, arena), wanted);
    }
    uint32_t n = 0;
    struct rest_json_value *values = NULL;
    if (member->value.kind == REST_JSON_ARRAY) {
        rest_json_elements(&member->value, arena, &n, &values);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (values[i].kind == REST_JSON_STRING && cc_slice_equal_text(rest_json_text(&values[i], arena), wanted)) {
            return true;
        }
    }
    return false;
}

// The claims with this role as their "role": the bytes of the token when they say so themselves.
static struct cc_slice with_role(struct cc_slice bytes, const struct rest_json *json, struct cc_slice role,
                                 struct cc_arena *arena)
{
    struct cc_slice own = text_of(json, "role", arena);
    if (role.data == NULL || (own.data != NULL && cc_slice_equal(own, role))) {
        return bytes;
    }
    struct cc_buffer text = {0};
    cc_buffer_append_text(&text, "{\"role\":");
    rest_json_put_string(&text, role);
    for (uint32_t i = 0; i < json->n_members; i++) {
        const struct rest_json_member *member = &json->members[i];
        if (!cc_slice_equal_text(member->key, "role")) {
            cc_buffer_append_text(&text, ",");
            rest_json_put_string(&text, member->key);
            cc_buffer_append_text(&text, ":");
            cc_buffer_append_slice(&text, member->value.raw);
        }
    }
    cc_buffer_append_text(&text, "}");
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&text));
    cc_buffer_finish(&text);
    return copy;
}

static enum jwt_verdict check_claims(const struct jwt_rules *rules, struct cc_slice payload, int64_t now_s,
                                     struct cc_arena *arena, struct jwt_claims *claims)
{
    struct rest_json json;
    struct cc_slice bytes;
    if (!decode_object(payload, arena, &bytes, &json)) {
        return JWT_CLAIMS;
    }
    enum jwt_verdict verdict = check_times(rules, &json, now_s, claims);
    if (verdict != JWT_GOOD) {
        return verdict;
    }
    if (rules->audience[0] != '\0' && !is_for(rules->audience, &json, "aud", arena)) {
        return JWT_AUDIENCE;
    }
    if (rules->issuer[0] != '\0' && !cc_slice_equal_text(text_of(&json, "iss", arena), rules->issuer)) {
        return JWT_ISSUER;
    }
    claims->role = find_role(rules->role_claim, &json, arena);
    if (claims->role.data == NULL && rules->default_role[0] != '\0') {
        claims->role = cc_slice_text(rules->default_role);
        claims->is_default_role = true;
    }
    claims->subject = text_of(&json, "sub", arena);
    claims->json = with_role(bytes, &json, claims->role, arena);
    return JWT_GOOD;
}

enum jwt_verdict jwt_check(const struct jwt_rules *rules, struct cc_slice token, int64_t now_s, struct cc_arena *arena,
                           struct jwt_claims *claims_out, uint32_t *n_parts_out)
{
    struct parts parts;
    enum jwt_algorithm algorithm = JWT_HS256;
    struct cc_slice kid = {0}, signature = {0};
    struct jwt_claims claims = {0};
    *n_parts_out = 0;
    if (token.n == 0) {
        return JWT_EMPTY;
    }
    if (token.n > JWT_BYTES_MAX) {
        return JWT_TOO_LARGE;
    }
    enum jwt_verdict verdict = split(token, &parts, n_parts_out);
    if (verdict == JWT_GOOD) {
        verdict = check_header(rules, &parts, arena, &algorithm, &kid);
    }
    if (verdict != JWT_GOOD) {
        return verdict;
    }
    if (!decode(parts.signature, arena, &signature)) {
        return JWT_UNREADABLE;
    }
    if (!jwt_keys_verify(rules->keys, algorithm, kid, parts.signed_text, signature)) {
        return JWT_KEY;
    }
    verdict = check_claims(rules, parts.payload, now_s, arena, &claims);
    if (verdict == JWT_GOOD) {
        *claims_out = claims;
    }
    return verdict;
}
