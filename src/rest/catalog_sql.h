// Catalog query: the SQL text that makes the JSON document for rest_catalog_create.
#ifndef REST_CATALOG_SQL_H
#define REST_CATALOG_SQL_H

// Parameter $1: text[], the exposed schemas, the default first. Result: one row, one text column. Run it with
// search_path = pg_catalog, so that every name in it is qualified and can be written into SQL that runs anywhere.
extern const char rest_catalog_sql[];

#endif
