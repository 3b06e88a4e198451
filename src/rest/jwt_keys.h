// Keys that tokens are signed with: a shared secret, or a JSON Web Key Set (RFC 7517). The only place that knows OpenSSL.
#ifndef REST_JWT_KEYS_H
#define REST_JWT_KEYS_H

#include "base/slice.h"
#include "base/status.h"

enum jwt_algorithm { JWT_HS256, JWT_RS256, JWT_ES256, JWT_EDDSA };
enum { JWT_ALGORITHMS = JWT_EDDSA + 1, JWT_SECRET_BYTES_MIN = 32, JWT_KEYS_MAX = 64, JWT_KEYS_ERROR_BYTES = 160 };

struct jwt_keys;

struct jwt_keys *jwt_keys_create(void);       // without keys
void jwt_keys_destroy(struct jwt_keys *keys); // NULL is fine
size_t jwt_keys_count(const struct jwt_keys *keys);

// A secret for HS256. CC_INVALID with a reason: too short, or not a secret at all (a PEM or JSON text, which may be public).
enum cc_status jwt_keys_add_secret(struct jwt_keys *keys, struct cc_slice secret,
                                   char error_out[JWT_KEYS_ERROR_BYTES]) CC_CHECKED;
// The keys of a JWKS document, or one JWK. Keys for other purposes and of other algorithms are left out. CC_MALFORMED or
// CC_INVALID with a reason: not such a document, a key that is damaged or too weak, or none that can be used.
enum cc_status jwt_keys_add_jwks(struct jwt_keys *keys, struct cc_slice json,
                                 char error_out[JWT_KEYS_ERROR_BYTES]) CC_CHECKED;

// False: no such algorithm. Names are compared exactly.
bool jwt_algorithm_of(struct cc_slice name, enum jwt_algorithm *out);
bool jwt_keys_has(const struct jwt_keys *keys, enum jwt_algorithm algorithm);
// Whether a key of this algorithm has made the signature. kid (NULL slice: none) leaves out keys with another id.
bool jwt_keys_verify(const struct jwt_keys *keys, enum jwt_algorithm algorithm, struct cc_slice kid,
                     struct cc_slice text, struct cc_slice signature);

#endif
