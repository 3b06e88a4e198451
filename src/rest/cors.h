// Cross-origin requests from browsers (the CORS part of the Fetch standard).
#ifndef REST_CORS_H
#define REST_CORS_H

#include "rest/plan.h"

// OPTIONS with Access-Control-Request-Method: the browser asks before it sends the real request. It comes without a token.
bool rest_cors_is_preflight(const struct rest_request *request);
// origins: "*", or origins separated by blanks or commas; "" allows none.
void rest_cors_preflight(const struct rest_request *request, const char *origins, struct cc_arena *arena,
                         struct rest_reply *reply_out);
// Adds what lets a page of an allowed origin read the answer. The headers move to an array of the arena.
void rest_cors_add(const struct rest_request *request, const char *origins, struct cc_arena *arena,
                   struct rest_reply *reply);

#endif
