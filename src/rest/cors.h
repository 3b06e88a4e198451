// Cross-origin requests from browsers (the CORS part of the Fetch standard).
#ifndef REST_CORS_H
#define REST_CORS_H

#include "rest/plan.h"

// OPTIONS with Access-Control-Request-Method: the browser asks before it sends the real request. It comes without a token.
bool rest_cors_is_preflight(const struct rest_request *request);
// Whether a page may send this request at all: a browser sends some without asking before, and only hides their answers. False:
// it changes something and comes from a page of another host that `origins` does not name.
bool rest_cors_permits(const struct rest_request *request, const char *origins);
// origins: "*", or origins separated by blanks or commas; "" allows none.
void rest_cors_preflight(const struct rest_request *request, const char *origins, struct cc_arena *arena,
                         struct rest_reply *reply_out);
// Adds what lets a page of an allowed origin read the answer. The headers move to an array of the arena.
void rest_cors_add(const struct rest_request *request, const char *origins, struct cc_arena *arena,
                   struct rest_reply *reply);

#endif
