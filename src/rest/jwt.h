// Tokens: who sends a request, from a signed JSON Web Token (RFC 7519). Pure: keys and time are given.
//
// The pitfalls of RFC 8725 are closed: every key has one algorithm, and a token is checked with keys of its own algorithm
// only; "none", critical extensions and the header's own keys (jwk, jku, x5u, x5c) mean nothing here; what a token says
// counts only once its signature is found good.
#ifndef REST_JWT_H
#define REST_JWT_H

#include "base/arena.h"
#include "base/status.h"
#include "rest/jwt_keys.h"

enum { JWT_BYTES_MAX = 8192, JWT_LEEWAY_S = 30 };

// Name, code of the answer, message. The words are PostgREST's where it has the case.
#define JWT_VERDICTS(X)                                                     \
    X(JWT_GOOD, "", "")                                                     \
    X(JWT_EMPTY, "PGRST301", "Empty JWT is sent in Authorization header")   \
    X(JWT_TOO_LARGE, "PGRST301", "JWT is longer than 8192 bytes")           \
    X(JWT_PARTS, "PGRST301", "Expected 3 parts in JWT; got %u")             \
    X(JWT_UNREADABLE, "PGRST301", "JWT couldn't be decoded")                \
    X(JWT_ALGORITHM, "PGRST301", "Wrong or unsupported encoding algorithm") \
    X(JWT_TYPE, "PGRST301", "Unsupported token type")                       \
    X(JWT_KEY, "PGRST301", "No suitable key or wrong key type")             \
    X(JWT_CLAIMS, "PGRST303", "Parsing claims failed")                      \
    X(JWT_EXPIRED, "PGRST303", "JWT expired")                               \
    X(JWT_NOT_YET, "PGRST303", "JWT not yet valid")                         \
    X(JWT_FROM_FUTURE, "PGRST303", "JWT issued at future")                  \
    X(JWT_AUDIENCE, "PGRST303", "JWT not in audience")                      \
    X(JWT_ISSUER, "PGRST303", "JWT not from the expected issuer")           \
    X(JWT_NO_EXPIRY, "PGRST303", "JWT without an expiry is not accepted")

enum jwt_verdict {
#define JWT_VERDICT_ENUM(name, code, message) name,
    JWT_VERDICTS(JWT_VERDICT_ENUM)
#undef JWT_VERDICT_ENUM
};

struct jwt_rules { // borrowed
    const struct jwt_keys *keys;
    const char *audience;     // "": any
    const char *issuer;       // "": any
    const char *role_claim;   // where the role is: ".role", ".app_metadata.roles[0]", ".\"https://example.org/role\""
    const char *default_role; // of tokens that name none; "": none
    bool expiry_required;
};

struct jwt_claims {
    struct cc_slice json; // all of them, an object, with the role as "role" when there is one
    struct cc_slice role; // NULL slice: neither the token names one, nor is there a default
    bool is_default_role;
    struct cc_slice subject; // "sub", or NULL
    int64_t not_before_s;    // the latest of nbf and iat with leeway; INT64_MIN without
    int64_t expires_s;       // no longer good from here on, with leeway; INT64_MAX: never
};

// Checks a token (the header's value behind "Bearer"). What is handed out lives in the arena. Of JWT_PARTS, n_parts_out
// is how many there were.
enum jwt_verdict jwt_check(const struct jwt_rules *rules, struct cc_slice token, int64_t now_s, struct cc_arena *arena,
                           struct jwt_claims *claims_out, uint32_t *n_parts_out);
// Whether claims that were good once are good now: JWT_GOOD, JWT_EXPIRED, JWT_NOT_YET.
enum jwt_verdict jwt_check_time(const struct jwt_claims *claims, int64_t now_s);
const char *jwt_verdict_code(enum jwt_verdict verdict);
const char *jwt_verdict_message(enum jwt_verdict verdict, uint32_t n_parts, struct cc_arena *arena);

// Whether a role_claim can be read.
bool jwt_is_claim_path(const char *path);

#endif
