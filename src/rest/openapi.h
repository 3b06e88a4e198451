// OpenAPI: the description of the row protocol at "/".
#ifndef REST_OPENAPI_H
#define REST_OPENAPI_H

#include "rest/plan.h"

// OpenAPI 2.0 of one schema's relations and functions.
void rest_openapi_reply(const struct rest_catalog *catalog, const char *schema, bool head, struct cc_arena *arena,
                        struct rest_reply *reply_out);

#endif
