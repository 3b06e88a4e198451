// Types: the catalog as types of TypeScript, or of JSDoc for plain JavaScript: the `Database` that @supabase/postgrest-js
// takes as its generic parameter. Each table says how consistent it is, so that strong and weak tables are different types.
#ifndef REST_TYPES_H
#define REST_TYPES_H

#include "rest/catalog.h"

enum rest_types_language { REST_TYPES_TYPESCRIPT, REST_TYPES_JSDOC };

// Appends a whole module with the types of all exposed schemas. Pure.
void rest_types_put(struct cc_buffer *out, const struct rest_catalog *catalog, enum rest_types_language language);

#endif
