// Visible: what a role may use, asked of PostgreSQL by number.
#include "rest/visible.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char rest_visible_sql[] =
    "WITH usable AS (SELECT n.oid FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'caucus')\n"
    "    AND has_schema_privilege(n.oid, 'USAGE'))\n"
    "SELECT json_build_object('tables', (SELECT coalesce(json_agg(c.oid::bigint ORDER BY c.oid), '[]') FROM pg_class c JOIN usable n ON n.oid = c.relnamespace\n"
    "    WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE')\n"
    "      OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))),\n"
    "  'functions', (SELECT coalesce(json_agg(p.oid::bigint ORDER BY p.oid), '[]') FROM pg_proc p JOIN usable n ON n.oid = p.pronamespace\n"
    "    WHERE has_function_privilege(p.oid, 'EXECUTE')))::text";

struct numbers { // sorted
    size_t n;
    uint32_t *at;
};

static bool read_numbers(const json_t *document, const char *key, struct cc_arena *arena, struct numbers *out)
{
    const json_t *list = json_object_get(document, key);
    out->n = json_array_size(list);
    out->at = cc_arena_array(arena, out->n, sizeof(*out->at));
    for (size_t i = 0; i < out->n; i++) {
        json_int_t number = json_integer_value(json_array_get(list, i));
        if (number <= 0 || number > UINT32_MAX || (i > 0 && (uint32_t)number <= out->at[i - 1])) {
            return false;
        }
        out->at[i] = (uint32_t)number;
    }
    return json_is_array(list);
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static bool contains(const struct numbers *numbers, uint32_t number)
{
    return numbers->n > 0 && bsearch(&number, numbers->at, numbers->n, sizeof(number), compare) != NULL;
}

// positions[i]: where table i is now, or -1.
static void take_tables(const struct rest_catalog *catalog, const struct numbers *tables, struct cc_arena *arena, int32_t *positions,
                        struct rest_catalog *visible)
{
    struct rest_table *kept = cc_arena_array(arena, catalog->n_tables, sizeof(*kept));
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        bool is_visible = contains(tables, catalog->tables[i].oid);
        positions[i] = is_visible ? (int32_t)visible->n_tables : -1;
        if (is_visible) {
            kept[visible->n_tables++] = catalog->tables[i];
        }
    }
    visible->tables = kept;
}

static void take_keys(const struct rest_catalog *catalog, struct cc_arena *arena, const int32_t *positions, struct rest_catalog *visible)
{
    struct rest_foreign_key *kept = cc_arena_array(arena, catalog->n_foreign_keys, sizeof(*kept));
    for (uint32_t i = 0; i < catalog->n_foreign_keys; i++) {
        struct rest_foreign_key key = catalog->foreign_keys[i];
        if (positions[key.from] >= 0 && positions[key.to] >= 0) {
            key.from = (uint32_t)positions[key.from];
            key.to = (uint32_t)positions[key.to];
            kept[visible->n_foreign_keys++] = key;
        }
    }
    visible->foreign_keys = kept;
}

static void take_functions(const struct rest_catalog *catalog, const struct numbers *functions, struct cc_arena *arena,
                           const int32_t *positions, struct rest_catalog *visible)
{
    struct rest_function *kept = cc_arena_array(arena, catalog->n_functions, sizeof(*kept));
    for (uint32_t i = 0; i < catalog->n_functions; i++) {
        struct rest_function function = catalog->functions[i];
        if (contains(functions, function.oid)) {
            function.return_table = function.return_table < 0 ? -1 : positions[function.return_table];
            kept[visible->n_functions++] = function;
        }
    }
    visible->functions = kept;
}

enum cc_status rest_visible_catalog(const struct rest_catalog *catalog, struct cc_slice text, struct cc_arena *arena,
                                    struct rest_catalog *visible_out)
{
    json_t *document = json_loadb(text.n == 0 ? "" : (const char *)text.data, text.n, JSON_REJECT_DUPLICATES, NULL);
    struct numbers tables;
    struct numbers functions;
    bool good = read_numbers(document, "tables", arena, &tables) && read_numbers(document, "functions", arena, &functions);
    json_decref(document);
    if (!good) {
        return CC_MALFORMED;
    }
    struct rest_catalog visible = {
        .version = catalog->version, .n_schemas = catalog->n_schemas, .schemas = catalog->schemas};
    int32_t *positions = cc_arena_array(arena, catalog->n_tables, sizeof(*positions));
    take_tables(catalog, &tables, arena, positions, &visible);
    take_keys(catalog, arena, positions, &visible);
    take_functions(catalog, &functions, arena, positions, &visible);
    *visible_out = visible;
    return CC_OK;
}
