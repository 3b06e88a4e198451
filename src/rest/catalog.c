// Catalog: from the JSON document to arrays in one arena.
#include "rest/catalog.h"

#include "base/memory.h"
#include "rest/sql.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct load {
    struct rest_catalog *catalog;
    char *error;
    bool failed;
};

static void fail(struct load *load, const char *what)
{
    if (!load->failed) {
        snprintf(load->error, REST_CATALOG_ERROR_BYTES, "catalog: %s", what);
    }
    load->failed = true;
}

static const char *text_of(struct load *load, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_string(value)) {
        return cc_arena_text(&load->catalog->arena, json_string_value(value));
    }
    if (value != NULL && !json_is_null(value)) {
        fail(load, key);
    }
    return NULL;
}

static const char *required_text(struct load *load, const json_t *object, const char *key)
{
    const char *text = text_of(load, object, key);
    if (text == NULL) {
        fail(load, key);
        return "";
    }
    return text;
}

static bool bool_of(struct load *load, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value)) {
        fail(load, key);
    }
    return json_is_true(value);
}

static const json_t *list_of(struct load *load, const json_t *object, const char *key, uint32_t *n_out)
{
    const json_t *list = json_object_get(object, key);
    if (!json_is_array(list) || json_array_size(list) > UINT32_MAX) {
        fail(load, key);
        *n_out = 0;
        return NULL;
    }
    *n_out = (uint32_t)json_array_size(list);
    return list;
}

static char letter_of(struct load *load, const json_t *object, const char *key)
{
    return required_text(load, object, key)[0];
}

static const char *qualify(struct load *load, const char *schema, const char *name)
{
    struct rest_sql sql;
    rest_sql_init(&sql, &load->catalog->arena);
    rest_sql_name(&sql, schema);
    rest_sql_text(&sql, ".");
    rest_sql_name(&sql, name);
    const char *qualified = cc_arena_text_n(&load->catalog->arena, sql.text.data, sql.text.n);
    rest_sql_finish(&sql);
    return qualified;
}

// The word behind "@caucus" on the first line (n_out: its length), and what follows that line. NULL: there is no such line.
static const char *word_of_comment(const char *comment, size_t *n_out, const char **rest_out)
{
    static const char mark[] = "@caucus";
    *rest_out = comment;
    if (comment == NULL || strncmp(comment, mark, sizeof(mark) - 1) != 0) {
        return NULL;
    }
    const char *word = comment + sizeof(mark) - 1;
    const char *end = word + strcspn(word, "\r\n");
    word += strspn(word, " \t");
    size_t n = (size_t)(end - word);
    while (n > 0 && (word[n - 1] == ' ' || word[n - 1] == '\t')) {
        n--;
    }
    end += strspn(end, "\r\n");
    *n_out = n;
    *rest_out = *end == '\0' ? NULL : end;
    return word;
}

enum cc_status rest_class_of_comment(const char *comment, enum rest_class *class_out, const char **rest_out)
{
    size_t n = 0;
    const char *rest = NULL;
    const char *word = word_of_comment(comment, &n, &rest);
    bool weak = word != NULL && n == 4 && memcmp(word, "weak", 4) == 0;
    bool strong = word == NULL || (n == 6 && memcmp(word, "strong", 6) == 0);
    if (!weak && !strong) {
        return CC_INVALID;
    }
    *class_out = weak ? REST_WEAK : REST_STRONG;
    *rest_out = rest;
    return CC_OK;
}

static const char *const merge_texts[] = {"lww", "counter", "max", "min", "set"};

static void merge_of_comment(const char *comment, enum rest_merge *merge_out, const char **rest_out)
{
    size_t n = 0;
    const char *word = word_of_comment(comment, &n, rest_out);
    *merge_out = REST_MERGE_LWW;
    for (size_t i = 0; word != NULL && i < sizeof(merge_texts) / sizeof(merge_texts[0]); i++) {
        if (strlen(merge_texts[i]) == n && memcmp(word, merge_texts[i], n) == 0) {
            *merge_out = (enum rest_merge)i;
        }
    }
}

const char *rest_merge_text(enum rest_merge merge)
{
    return merge_texts[merge];
}

// ---- columns

// The value of 'text'::type, 12.5, true: what pg_get_expr writes for a constant. NULL when the expression is none.
static const char *quoted_constant(struct load *load, const char *sql)
{
    char *value = cc_arena_alloc(&load->catalog->arena, strlen(sql) + 1);
    size_t n = 0;
    const char *at = sql + 1;
    for (; *at != '\0'; at++) {
        if (*at == '\'' && at[1] != '\'') {
            break;
        }
        at += *at == '\'';
        value[n++] = *at;
    }
    bool only_a_cast =
        *at == '\'' && (at[1] == '\0' || (at[1] == ':' && at[2] == ':')) && strpbrk(at + 1, "'()+*/|&<>=") == NULL;
    return only_a_cast ? value : NULL;
}

static const char *constant_of(struct load *load, const char *sql)
{
    if (sql == NULL) {
        return NULL;
    }
    if (sql[0] == '\'') {
        return quoted_constant(load, sql);
    }
    if (strcmp(sql, "true") == 0 || strcmp(sql, "false") == 0) {
        return sql;
    }
    return sql[strspn(sql, "-0123456789.")] == '\0' && sql[0] != '\0' ? sql : NULL;
}

static const char *values_of_enum(struct load *load, const json_t *column)
{
    const json_t *values = json_object_get(column, "enum_values");
    if (!json_is_array(values)) {
        return NULL;
    }
    char *text = json_dumps(values, JSON_COMPACT);
    if (text == NULL) {
        fail(load, "enum_values");
        return NULL;
    }
    const char *copy = cc_arena_text(&load->catalog->arena, text);
    free(text);
    return copy;
}

static void load_column(struct load *load, const json_t *json, struct rest_column *column)
{
    char identity = letter_of(load, json, "identity");
    column->name = required_text(load, json, "name");
    column->type = required_text(load, json, "type");
    column->base_type = required_text(load, json, "base_type");
    column->not_null = bool_of(load, json, "not_null");
    column->generated = bool_of(load, json, "generated");
    column->identity_always = identity == 'a';
    column->default_sql = text_of(load, json, "default_sql");
    column->has_default = column->default_sql != NULL;
    column->constant_default = constant_of(load, column->default_sql);
    column->sequence = text_of(load, json, "sequence");
    merge_of_comment(text_of(load, json, "comment"), &column->merge, &column->comment);
    column->enum_values = values_of_enum(load, json);
    column->json_out = text_of(load, json, "json_out");
    column->text_out = text_of(load, json, "text_out");
    column->json_in = text_of(load, json, "json_in");
    column->text_in = text_of(load, json, "text_in");
}

int32_t rest_table_column(const struct rest_table *table, struct cc_slice name)
{
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if (cc_slice_equal_text(name, table->columns[i].name)) {
            return (int32_t)i;
        }
    }
    return -1;
}

// Positions of the named columns.
static const uint32_t *load_positions(struct load *load, const json_t *json, const char *key,
                                      const struct rest_table *table, uint32_t *n_out)
{
    const json_t *names = list_of(load, json, key, n_out);
    uint32_t *positions = cc_arena_array(&load->catalog->arena, *n_out, sizeof(*positions));
    for (uint32_t i = 0; i < *n_out; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        int32_t position = name == NULL ? -1 : rest_table_column(table, cc_slice_text(name));
        if (position < 0) {
            fail(load, "a key names an unknown column");
            return positions;
        }
        positions[i] = (uint32_t)position;
    }
    return positions;
}

// ---- tables

// A list of texts; absent: none.
static const char **load_names(struct load *load, const json_t *json, const char *key, uint32_t *n_out)
{
    const json_t *list = json_object_get(json, key);
    size_t n = json_array_size(list);
    const char **names = cc_arena_array(&load->catalog->arena, n, sizeof(*names));
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name == NULL) {
            fail(load, key);
            break;
        }
        names[(*n_out)++] = cc_arena_text(&load->catalog->arena, name);
    }
    return names;
}

static void load_uniques(struct load *load, const json_t *json, struct rest_table *table, struct rest_column *columns)
{
    const json_t *list = list_of(load, json, "uniques", &table->n_uniques);
    struct rest_unique *uniques = cc_arena_array(&load->catalog->arena, table->n_uniques, sizeof(*uniques));
    table->uniques = uniques;
    for (uint32_t i = 0; i < table->n_uniques; i++) {
        const json_t *unique = json_array_get(list, i);
        uniques[i].primary = bool_of(load, unique, "primary");
        uniques[i].columns = load_positions(load, unique, "columns", table, &uniques[i].n_columns);
        if (uniques[i].primary && !load->failed) {
            table->n_key = uniques[i].n_columns;
            table->key = uniques[i].columns;
            for (uint32_t k = 0; k < table->n_key; k++) {
                columns[table->key[k]].key_position = k + 1;
            }
        }
    }
}

static enum rest_relation_kind kind_of(struct load *load, char letter)
{
    switch (letter) {
    case 'r':
        return REST_TABLE;
    case 'v':
        return REST_VIEW;
    case 'm':
        return REST_MATERIALIZED_VIEW;
    case 'f':
        return REST_FOREIGN_TABLE;
    case 'p':
        return REST_PARTITIONED;
    default:
        fail(load, "kind");
        return REST_TABLE;
    }
}

static void load_class(struct load *load, const json_t *json, struct rest_table *table)
{
    const char *comment = text_of(load, json, "comment");
    if (rest_class_of_comment(comment, &table->consistency, &table->comment) != CC_OK) {
        fail(load, cc_arena_printf(&load->catalog->arena, "comment of %s: neither @caucus weak nor @caucus strong",
                                   table->qualified));
    }
}

static uint32_t oid_of(const json_t *json)
{
    json_int_t oid = json_integer_value(json_object_get(json, "oid"));
    return oid > 0 && oid <= UINT32_MAX ? (uint32_t)oid : 0;
}

static void load_table(struct load *load, const json_t *json, struct rest_table *table)
{
    table->oid = oid_of(json);
    table->schema = required_text(load, json, "schema");
    table->name = required_text(load, json, "name");
    table->qualified = qualify(load, table->schema, table->name);
    table->kind = kind_of(load, letter_of(load, json, "kind"));
    load_class(load, json, table);
    table->insertable = bool_of(load, json, "insertable");
    table->updatable = bool_of(load, json, "updatable");
    table->deletable = bool_of(load, json, "deletable");
    table->capture_insert = bool_of(load, json, "capture_insert");
    table->capture_update = bool_of(load, json, "capture_update");
    table->capture_key_update = bool_of(load, json, "capture_key_update");
    table->capture_delete = bool_of(load, json, "capture_delete");
    table->hides_inserts = json_is_true(json_object_get(json, "hides_inserts"));
    table->blind = load_names(load, json, "blind", &table->n_blind);
    table->reads_weak = json_is_true(json_object_get(json, "reads_weak"));
    table->reads_strong = json_is_true(json_object_get(json, "reads_strong"));
    table->row_by_row = bool_of(load, json, "row_by_row");
    table->reads_request = json_is_true(json_object_get(json, "reads_request"));
    table->runs_code = json_is_true(json_object_get(json, "runs_code"));
    table->set_wise = bool_of(load, json, "set_wise");

    const json_t *list = list_of(load, json, "columns", &table->n_columns);
    struct rest_column *columns = cc_arena_array(&load->catalog->arena, table->n_columns, sizeof(*columns));
    table->columns = columns;
    for (uint32_t i = 0; i < table->n_columns; i++) {
        load_column(load, json_array_get(list, i), &columns[i]);
        bool merged = table->consistency == REST_WEAK && columns[i].key_position == 0;
        columns[i].merge = merged ? columns[i].merge : REST_MERGE_LWW;
        table->has_merge_types = table->has_merge_types || columns[i].merge != REST_MERGE_LWW;
    }
    load_uniques(load, json, table, columns);
}

static int compare_table(const struct rest_table *table, const char *schema, struct cc_slice name)
{
    int order = strcmp(table->schema, schema);
    return order != 0 ? order : cc_slice_compare(cc_slice_text(table->name), name);
}

static void load_tables(struct load *load, const json_t *json)
{
    struct rest_catalog *catalog = load->catalog;
    const json_t *list = list_of(load, json, "tables", &catalog->n_tables);
    struct rest_table *tables = cc_arena_array(&catalog->arena, catalog->n_tables, sizeof(*tables));
    catalog->tables = tables;
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        load_table(load, json_array_get(list, i), &tables[i]);
        if (i > 0 && compare_table(&tables[i - 1], tables[i].schema, cc_slice_text(tables[i].name)) >= 0) {
            fail(load, "tables are not sorted");
        }
    }
}

static int32_t table_position(const struct rest_catalog *catalog, const char *schema, struct cc_slice name)
{
    uint32_t low = 0;
    uint32_t high = catalog->n_tables;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_table(&catalog->tables[middle], schema, name);
        if (order == 0) {
            return (int32_t)middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return -1;
}

bool rest_table_is_view(const struct rest_table *table)
{
    return table->kind == REST_VIEW || table->kind == REST_MATERIALIZED_VIEW;
}

const struct rest_table *rest_catalog_table(const struct rest_catalog *catalog, const char *schema,
                                            struct cc_slice name)
{
    int32_t position = table_position(catalog, schema, name);
    return position < 0 ? NULL : &catalog->tables[position];
}

// ---- foreign keys and functions

static uint32_t referenced_table(struct load *load, const json_t *json, const char *schema_key, const char *name_key)
{
    const char *schema = required_text(load, json, schema_key);
    const char *name = required_text(load, json, name_key);
    int32_t position = load->failed ? -1 : table_position(load->catalog, schema, cc_slice_text(name));
    if (position < 0) {
        fail(load, "a foreign key names an unknown table");
        return 0;
    }
    return (uint32_t)position;
}

static void load_foreign_key(struct load *load, const json_t *json, struct rest_foreign_key *key)
{
    key->name = required_text(load, json, "name");
    key->from = referenced_table(load, json, "from_schema", "from");
    key->to = referenced_table(load, json, "to_schema", "to");
    if (load->failed) {
        return;
    }
    uint32_t n_to = 0;
    key->from_columns = load_positions(load, json, "from_columns", &load->catalog->tables[key->from], &key->n_columns);
    key->to_columns = load_positions(load, json, "to_columns", &load->catalog->tables[key->to], &n_to);
    key->once = json_is_true(json_object_get(json, "once"));
    if (n_to != key->n_columns) {
        fail(load, "a foreign key has sides of different length");
    }
}

static void load_foreign_keys(struct load *load, const json_t *json)
{
    struct rest_catalog *catalog = load->catalog;
    const json_t *list = list_of(load, json, "foreign_keys", &catalog->n_foreign_keys);
    struct rest_foreign_key *keys = cc_arena_array(&catalog->arena, catalog->n_foreign_keys, sizeof(*keys));
    catalog->foreign_keys = keys;
    for (uint32_t i = 0; i < catalog->n_foreign_keys && !load->failed; i++) {
        load_foreign_key(load, json_array_get(list, i), &keys[i]);
    }
}

static const struct rest_argument *load_arguments(struct load *load, const json_t *json, const char *key, bool inputs,
                                                  uint32_t *n_out)
{
    const json_t *list = list_of(load, json, key, n_out);
    struct rest_argument *arguments = cc_arena_array(&load->catalog->arena, *n_out, sizeof(*arguments));
    for (uint32_t i = 0; i < *n_out; i++) {
        const json_t *argument = json_array_get(list, i);
        arguments[i].name = required_text(load, argument, "name");
        arguments[i].type = required_text(load, argument, "type");
        arguments[i].has_default = inputs && bool_of(load, argument, "has_default");
        arguments[i].variadic = inputs && bool_of(load, argument, "variadic");
    }
    return arguments;
}

// [["name", "value"], ...]
static const struct rest_named_value *load_settings(struct load *load, const json_t *json, uint32_t *n_out)
{
    const json_t *list = json_object_get(json, "settings");
    size_t n = json_array_size(list);
    struct rest_named_value *settings = cc_arena_array(&load->catalog->arena, n, sizeof(*settings));
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(json_array_get(list, i), 0));
        const char *value = json_string_value(json_array_get(json_array_get(list, i), 1));
        if (name == NULL || value == NULL) {
            fail(load, "settings");
            break;
        }
        settings[(*n_out)++] = (struct rest_named_value){cc_arena_text(&load->catalog->arena, name), cc_arena_text(&load->catalog->arena, value)};
    }
    return settings;
}

static enum rest_volatility volatility_of(char letter)
{
    return letter == 'i' ? REST_IMMUTABLE : letter == 's' ? REST_STABLE : REST_VOLATILE;
}

static void load_function(struct load *load, const json_t *json, struct rest_function *function)
{
    function->oid = oid_of(json);
    function->schema = required_text(load, json, "schema");
    function->name = required_text(load, json, "name");
    function->qualified = qualify(load, function->schema, function->name);
    function->volatility = volatility_of(letter_of(load, json, "volatility"));
    function->one_row = json_is_true(json_object_get(json, "one_row"));
    function->returns_set = bool_of(load, json, "returns_set");
    function->returns_void = bool_of(load, json, "returns_void");
    function->returns_row = bool_of(load, json, "returns_row");
    function->returns_record = json_is_true(json_object_get(json, "returns_record"));
    function->return_type = required_text(load, json, "return_type");
    function->return_base = text_of(load, json, "return_base");
    function->media_type = text_of(load, json, "media_type");
    const char *comment = text_of(load, json, "comment");
    if (rest_class_of_comment(comment, &function->consistency, &function->comment) != CC_OK) {
        function->consistency = REST_STRONG; // then it cannot change weak tables, and says so
        function->comment = comment;
    }
    function->arguments = load_arguments(load, json, "arguments", true, &function->n_arguments);
    function->outs = load_arguments(load, json, "outs", false, &function->n_outs);
    function->settings = load_settings(load, json, &function->n_settings);
    const char *schema = text_of(load, json, "table_schema");
    const char *table = text_of(load, json, "table");
    function->return_table =
        schema == NULL || table == NULL ? -1 : table_position(load->catalog, schema, cc_slice_text(table));
}

static void load_functions(struct load *load, const json_t *json)
{
    struct rest_catalog *catalog = load->catalog;
    const json_t *list = list_of(load, json, "functions", &catalog->n_functions);
    struct rest_function *functions = cc_arena_array(&catalog->arena, catalog->n_functions, sizeof(*functions));
    catalog->functions = functions;
    for (uint32_t i = 0; i < catalog->n_functions; i++) {
        load_function(load, json_array_get(list, i), &functions[i]);
    }
}

static void load_handlers(struct load *load, const json_t *json)
{
    struct rest_catalog *catalog = load->catalog;
    const json_t *list = json_object_get(json, "handlers");
    size_t n = json_array_size(list);
    struct rest_handler *handlers = cc_arena_array(&catalog->arena, n, sizeof(*handlers));
    catalog->handlers = handlers;
    for (size_t i = 0; i < n && !load->failed; i++) {
        const json_t *one = json_array_get(list, i);
        struct rest_handler *handler = &handlers[catalog->n_handlers++];
        handler->media_type = required_text(load, one, "media_type");
        handler->base_type = required_text(load, one, "base_type");
        handler->qualified = qualify(load, required_text(load, one, "schema"), required_text(load, one, "name"));
        handler->table = referenced_table(load, one, "table_schema", "table");
    }
}

static void load_schemas(struct load *load, const json_t *json)
{
    struct rest_catalog *catalog = load->catalog;
    const json_t *list = list_of(load, json, "schemas", &catalog->n_schemas);
    catalog->schemas = cc_arena_array(&catalog->arena, catalog->n_schemas, sizeof(*catalog->schemas));
    for (uint32_t i = 0; i < catalog->n_schemas; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name == NULL) {
            fail(load, "schemas");
            return;
        }
        catalog->schemas[i] = cc_arena_text(&catalog->arena, name);
    }
    if (catalog->n_schemas == 0) {
        fail(load, "none of the exposed schemas exists");
    }
}

static void load_superusers(struct load *load, const json_t *json)
{
    load->catalog->superusers = load_names(load, json, "superusers", &load->catalog->n_superusers);
}

static void load_roles(struct load *load, const json_t *json)
{
    struct rest_catalog *catalog = load->catalog;
    const json_t *list = json_object_get(json, "roles");
    size_t n = json_array_size(list);
    struct rest_role *roles = cc_arena_array(&catalog->arena, n, sizeof(*roles));
    catalog->roles = roles;
    for (size_t i = 0; i < n && !load->failed; i++) {
        struct rest_role *role = &roles[catalog->n_roles++];
        role->name = required_text(load, json_array_get(list, i), "name");
        role->settings = load_settings(load, json_array_get(list, i), &role->n_settings);
    }
}

static void load_catalog(struct load *load, const json_t *json)
{
    const json_t *version = json_object_get(json, "version");
    if (!json_is_integer(version)) {
        fail(load, "version");
        return;
    }
    load->catalog->version = (uint32_t)json_integer_value(version);
    load->catalog->has_deferrable = bool_of(load, json, "has_deferrable");
    load->catalog->has_sequences = bool_of(load, json, "has_sequences");
    load->catalog->writes_response = json_is_true(json_object_get(json, "writes_response"));
    load->catalog->reads_request = json_is_true(json_object_get(json, "reads_request"));
    load->catalog->geojson = text_of(load, json, "geojson");
    load_superusers(load, json);
    load_roles(load, json);
    load_schemas(load, json);
    load_tables(load, json);
    if (!load->failed) {
        load_foreign_keys(load, json);
        load_functions(load, json);
        load_handlers(load, json);
    }
}

enum cc_status rest_catalog_create(struct cc_slice json, struct rest_catalog **catalog_out, char *error_out)
{
    json_error_t error;
    json_t *document = json_loadb(json.n == 0 ? "" : (const char *)json.data, json.n, JSON_REJECT_DUPLICATES, &error);
    if (document == NULL) {
        snprintf(error_out, REST_CATALOG_ERROR_BYTES, "catalog: line %d: %s", error.line, error.text);
        return CC_MALFORMED;
    }
    struct load load = {.catalog = cc_alloc(sizeof(struct rest_catalog)), .error = error_out};
    load_catalog(&load, document);
    json_decref(document);
    if (load.failed) {
        rest_catalog_destroy(load.catalog);
        return CC_MALFORMED;
    }
    *catalog_out = load.catalog;
    return CC_OK;
}

void rest_catalog_destroy(struct rest_catalog *catalog)
{
    if (catalog == NULL) {
        return;
    }
    cc_arena_finish(&catalog->arena);
    free(catalog);
}
