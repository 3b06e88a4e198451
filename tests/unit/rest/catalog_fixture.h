// A small catalog for tests of the planner: a shop's tables, as PostgreSQL would describe them.
#ifndef TESTS_REST_CATALOG_FIXTURE_H
#define TESTS_REST_CATALOG_FIXTURE_H

#include "rest/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIXTURE_COLUMN(name, type, more)                                 \
    "{\"name\":\"" name "\",\"type\":\"" type "\",\"base_type\":\"" type \
    "\",\"not_null\":false,\"generated\":false,\"identity\":\"\"" more "}"
#define FIXTURE_TABLE(name, kind, comment, columns, uniques)                                                        \
    "{\"schema\":\"public\",\"name\":\"" name "\",\"kind\":\"" kind "\",\"comment\":" comment                       \
    ",\"insertable\":true,\"updatable\":true,\"deletable\":true,\"capture_insert\":false,\"capture_update\":false," \
    "\"capture_delete\":false,\"capture_key_update\":false,\"row_by_row\":false,\"set_wise\":true,\"columns\":[" columns              \
    "],\"uniques\":[" uniques "]}"
#define FIXTURE_KEY(columns) "{\"primary\":true,\"columns\":[" columns "]}"
#define FIXTURE_FOREIGN_KEY(name, from, from_column, to, to_column)                                                 \
    "{\"name\":\"" name "\",\"from_schema\":\"public\",\"from\":\"" from "\",\"to_schema\":\"public\",\"to\":\"" to \
    "\",\"from_columns\":[\"" from_column "\"],\"to_columns\":[\"" to_column "\"]}"

static const char fixture_catalog_json
    [] = "{\"version\":3,\"schemas\":[\"public\"],\"has_deferrable\":false,\"has_sequences\":true,\"tables\":"
         "[" FIXTURE_TABLE("keyless", "r", "null", FIXTURE_COLUMN("v", "text", ""), "") "," FIXTURE_TABLE(
             "mechanics", "r", "null",
             FIXTURE_COLUMN("id", "integer", ",\"default_sql\":\"nextval('public.mechanics_id_seq'::regclass)\",\"sequence\":\"public.mechanics_id_seq\"") "," FIXTURE_COLUMN(
                 "shop_id", "integer",
                 "") "," FIXTURE_COLUMN("name", "text",
                                        ",\"default_sql\":\"'no''body'::text\"") "," FIXTURE_COLUMN("meta", "jsonb",
                                                                                                    "") "," FIXTURE_COLUMN("skills",
                                                                                                                           "text[]",
                                                                                                                           ""),
             FIXTURE_KEY(
                 "\"id\"")) "," FIXTURE_TABLE("presence", "r", "\"@caucus weak\\nWho is there.\"",
                                              FIXTURE_COLUMN("id", "uuid", "") "," FIXTURE_COLUMN("status", "text", ""),
                                              FIXTURE_KEY(
                                                  "\"id\"")) "," FIXTURE_TABLE("shops", "r", "\"Where.\"",
                                                                               FIXTURE_COLUMN("id", "integer", "") "," FIXTURE_COLUMN(
                                                                                   "name", "text",
                                                                                   "") "," FIXTURE_COLUMN("city",
                                                                                                          "text", ""),
                                                                               FIXTURE_KEY(
                                                                                   "\"id\"") ",{\"primary\":false,"
                                                                                             "\"columns\":[\"name\"]}") "," FIXTURE_TABLE("transfers",
                                                                                                                                          "r",
                                                                                                                                          "null",
                                                                                                                                          FIXTURE_COLUMN("id", "integer", "") "," FIXTURE_COLUMN("a", "integer", "") "," FIXTURE_COLUMN("b", "integer", ""), FIXTURE_KEY("\"id\"")) "],\"foreign_keys\":[" FIXTURE_FOREIGN_KEY("mechanics_shop_id_fkey",
                                                                                                                                                                                                                                                                                                                               "mechanics",
                                                                                                                                                                                                                                                                                                                               "shop_id", "shops", "id") "," FIXTURE_FOREIGN_KEY("transfers_a", "transfers", "a",
                                                                                                                                                                                                                                                                                                                                                                                 "shops",
                                                                                                                                                                                                                                                                                                                                                                                 "id") "," FIXTURE_FOREIGN_KEY("transfers_b", "transfers", "b", "shops",
                                                                                                                                                                                                                                                                                                                                                                                                               "id") "],\"functions\":["
                                                                                                                                                                                                                                                                                                                                                                                                                     "{\"schema\":\"public\",\"name\":\"add\",\"volatility\":\"i\",\"returns_set\":false,\"returns_void\":false,\"returns_row\":false,"
                                                                                                                                                                                                                                                                                                                                                                                                                     "\"return_type\":\"integer\",\"arguments\":[{\"name\":\"a\",\"type\":\"integer\",\"has_default\":false,\"variadic\":false},"
                                                                                                                                                                                                                                                                                                                                                                                                                     "{\"name\":\"b\",\"type\":\"integer\",\"has_default\":true,\"variadic\":false}],\"outs\":[]},"
                                                                                                                                                                                                                                                                                                                                                                                                                     "{\"schema\":\"public\",\"name\":\"bump\",\"volatility\":\"v\",\"returns_set\":false,\"returns_void\":false,\"returns_row\":false,"
                                                                                                                                                                                                                                                                                                                                                                                                                     "\"return_type\":\"integer\",\"arguments\":[],\"outs\":[]}"
    ",{\"schema\":\"public\",\"name\":\"page\",\"volatility\":\"v\",\"returns_set\":false,\"returns_void\":false,\"returns_row\":false,"
    "\"return_type\":\"\\\"text/html\\\"\",\"return_base\":\"text\",\"media_type\":\"text/html\",\"arguments\":[],\"outs\":[]}"
                                                                                                                                                                                                                                                                                                                                                                                                                     "],\"geojson\":\"public.st_asgeojson\",\"handlers\":[{\"media_type\":\"text/x-lines\",\"base_type\":\"text\",\"schema\":\"public\","
    "\"name\":\"lines\",\"table_schema\":\"public\",\"table\":\"shops\"}]}";

static inline struct rest_catalog *fixture_catalog_create(void)
{
    struct rest_catalog *catalog = NULL;
    char error[REST_CATALOG_ERROR_BYTES] = "";
    if (rest_catalog_create(cc_slice_text(fixture_catalog_json), &catalog, error) != CC_OK) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    return catalog;
}

#endif
