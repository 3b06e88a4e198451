// Who asks: the role of a request, by its token and the configuration's keys.
#ifndef PROXY_IO_AUTH_H
#define PROXY_IO_AUTH_H

#include "proxy/config/config.h"
#include "rest/request.h"

struct io_auth;       // keys and rules; never changes, used by all threads
struct io_auth_cache; // tokens that were checked before; each thread has its own

enum { IO_AUTH_PROBLEM_BYTES = 400 };
struct io_auth_problem {
    char text[IO_AUTH_PROBLEM_BYTES];
};

// Reads the keys. CC_INVALID, CC_MALFORMED, CC_TOO_LARGE, CC_IO, CC_NOT_FOUND: with a sentence for the operator. CC_REFUSED: the replica would
// be open to everybody on an address that is not a loopback one.
enum cc_status io_auth_create(const struct config *config, const struct config_replica *self, struct io_auth **auth_out,
                              struct io_auth_problem *problem_out) CC_CHECKED;
// Appends the secret of config.json for HS256, as it stands there or in its file. CC_NOT_FOUND: none is configured, or its file is not there.
// CC_IO, CC_TOO_LARGE: as said in problem_out.
enum cc_status io_auth_read_secret(const struct config_auth *config, struct cc_buffer *secret_out,
                                   struct io_auth_problem *problem_out) CC_CHECKED;
bool io_auth_is_on(const struct io_auth *auth); // else everybody may do everything
void io_auth_destroy(struct io_auth *auth); // NULL is fine

struct io_auth_cache *io_auth_cache_create(const struct io_auth *auth); // borrowed
void io_auth_cache_destroy(struct io_auth_cache *cache);                // NULL is fine

struct io_auth_answer {
    // status 0: the identity is known. Its texts live in the arena.
    struct rest_identity identity;
    struct cc_slice principal; // who, for Idempotency-Key; never NULL
    bool is_operator;          // may use the operators' endpoints
    // Else: the answer.
    int status;
    const char *code, *message;
    const char *challenge; // WWW-Authenticate; NULL: none
};

// now_s: seconds since 1970.
void io_auth_identify(struct io_auth_cache *cache, const struct rest_request *request, int64_t now_s,
                      struct cc_arena *arena, struct io_auth_answer *answer_out);

#endif
