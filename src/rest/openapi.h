// OpenAPI: the description of the row protocol at "/".
#ifndef REST_OPENAPI_H
#define REST_OPENAPI_H

#include "rest/plan.h"

enum rest_openapi_version { REST_OPENAPI_2, REST_OPENAPI_3 }; // 2.0 as PostgREST gives it, 3.1

// The relations and functions of one schema.
void rest_openapi_reply(const struct rest_catalog *catalog, const char *schema, enum rest_openapi_version version,
                        bool head, struct cc_arena *arena, struct rest_reply *reply_out);

#endif
