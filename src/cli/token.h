// Tokens that the command line makes itself, for who may read the secret of config.json.
#ifndef CLI_TOKEN_H
#define CLI_TOKEN_H

#include "base/slice.h"
#include "base/status.h"
#include "proxy/config/config.h"

enum { TOKEN_PROBLEM_BYTES = 512 };

// Appends a JSON Web Token (HS256) for a role, good from now_s (seconds since 1970) for some seconds. claims: a JSON object of further
// ones, NULL: none; audience and issuer are those that config.json asks for. The token was checked as a replica would.
// CC_NOT_FOUND: no secret is configured or its file is not there. CC_IO, CC_TOO_LARGE: it cannot be read. CC_INVALID: claims,
// or a replica would not take it. A sentence in problem_out.
enum cc_status token_make(const struct config_auth *config, const char *role, const char *claims, int64_t now_s,
                          uint32_t seconds, struct cc_buffer *token_out,
                          char problem_out[static TOKEN_PROBLEM_BYTES]) CC_CHECKED;

// The requests of this program carry a token for the operator from now on, if there is a secret and this process may read it: who may
// needs no token of somebody else. Otherwise the replicas say what they think of its requests.
void token_use_own(const struct config_auth *config);

#endif
