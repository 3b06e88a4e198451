// OpenAPI: relations and functions of a schema as an OpenAPI document, 2.0 or 3.1.
#include "rest/openapi.h"

#include "rest/json_body.h"
#include "rest/reply.h"
#include "rest/syntax.h"

#include <string.h>

struct writer {
    struct cc_buffer *out;
    const struct rest_catalog *catalog;
    const char *schema;
    bool is_3;
};

static void put(struct writer *writer, const char *text)
{
    cc_buffer_append_text(writer->out, text);
}

static void put_string(struct writer *writer, const char *text)
{
    rest_json_put_string(writer->out, cc_slice_text(text));
}

static void put_separator(struct writer *writer, bool *any)
{
    put(writer, *any ? "," : "");
    *any = true;
}

// -- Names -----------------------------------------------------------------------------------------------------------

// Names of components are of few characters in 3.1: others become _XX.
static void put_component(struct writer *writer, struct cc_buffer *name, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (const char *c = text; *c != '\0'; c++) {
        if (!writer->is_3 || strchr(plain, *c) != NULL) {
            cc_buffer_append(name, c, 1);
        } else {
            cc_buffer_printf(name, "_%02X", (unsigned)(uint8_t)*c);
        }
    }
}

// prefix, then the name of a table and perhaps of a column.
static void component_name(struct writer *writer, struct cc_buffer *name, const char *prefix, const char *table,
                           const char *column)
{
    cc_buffer_append_text(name, prefix);
    put_component(writer, name, table);
    if (column != NULL) {
        cc_buffer_append_text(name, ".");
        put_component(writer, name, column);
    }
}

// {"$ref": ...}: a JSON pointer in the fragment of a URI.
static void put_reference(struct writer *writer, const char *section, const char *prefix, const char *table,
                          const char *column)
{
    struct cc_buffer name = {0}, pointer = {0};
    component_name(writer, &name, prefix, table, column);
    for (size_t i = 0; i < name.n; i++) {
        const char *escape = name.data[i] == '~' ? "~0" : name.data[i] == '/' ? "~1" : NULL;
        cc_buffer_append(&pointer, escape == NULL ? (const char *)&name.data[i] : escape, escape == NULL ? 1 : 2);
    }
    put(writer, "{\"$ref\":\"#/");
    put(writer, writer->is_3 ? "components/" : "");
    put(writer, writer->is_3 && strcmp(section, "definitions") == 0 ? "schemas" : section);
    put(writer, "/");
    rest_percent_encode(writer->out, cc_buffer_slice(&pointer));
    put(writer, "\"}");
    cc_buffer_finish(&name);
    cc_buffer_finish(&pointer);
}

static void put_component_key(struct writer *writer, const char *prefix, const char *table, const char *column)
{
    struct cc_buffer name = {0};
    component_name(writer, &name, prefix, table, column);
    rest_json_put_string(writer->out, cc_buffer_slice(&name));
    put(writer, ":");
    cc_buffer_finish(&name);
}

// A comment's first line is the summary, the rest the description.
static void put_comment(struct writer *writer, const char *comment)
{
    if (comment == NULL) {
        return;
    }
    size_t n = strcspn(comment, "\n");
    put(writer, "\"summary\":");
    rest_json_put_string(writer->out, cc_slice_of(comment, n));
    put(writer, ",");
    if (comment[n] != '\0') {
        put(writer, "\"description\":");
        put_string(writer, comment + n + strspn(comment + n, "\r\n"));
        put(writer, ",");
    }
}

// -- Types -----------------------------------------------------------------------------------------------------------

// The name of a JSON type; NULL: any.
static const char *json_type(const char *base_type)
{
    static const struct {
        const char *sql, *json;
    } types[] = {
        {"smallint", "integer"},        {"integer", "integer"}, {"bigint", "integer"},
        {"numeric", "number"},          {"json", NULL},         {"real", "number"},
        {"double precision", "number"}, {"boolean", "boolean"}, {"jsonb", NULL},
    };
    size_t n = strcspn(base_type, "("); // numeric(8,2)
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strlen(types[i].sql) == n && strncmp(base_type, types[i].sql, n) == 0) {
            return types[i].json;
        }
    }
    return "string";
}

static void put_json_type(struct writer *writer, const char *json, bool nullable)
{
    if (json == NULL) {
        return;
    }
    put(writer, ",\"type\":");
    put(writer, writer->is_3 && nullable ? "[" : "");
    put_string(writer, json);
    put(writer, writer->is_3 && nullable ? ",\"null\"]" : "");
}

static void put_type(struct writer *writer, const char *type, const char *base_type, bool nullable)
{
    size_t n = strlen(base_type);
    bool is_array = n > 2 && strcmp(base_type + n - 2, "[]") == 0;
    put(writer, "\"format\":");
    put_string(writer, type);
    put_json_type(writer, is_array ? "array" : json_type(base_type), nullable);
    if (is_array) {
        struct cc_buffer element = {0};
        cc_buffer_append(&element, base_type, n - 2);
        put(writer, ",\"items\":{");
        put(writer, "\"format\":");
        rest_json_put_string(writer->out, cc_buffer_slice(&element));
        put_json_type(writer, json_type(cc_buffer_text(&element)), false);
        put(writer, "}");
        cc_buffer_finish(&element);
    }
}

static void put_default(struct writer *writer, const struct rest_column *column)
{
    const char *json = json_type(column->base_type);
    bool bare = json != NULL && strcmp(json, "string") != 0;
    bool typed = column->constant_default != NULL && bare && strchr(column->base_type, '[') == NULL;
    const char *text = column->constant_default != NULL ? column->constant_default : column->default_sql;
    struct cc_arena arena;
    struct rest_json scanned;
    const char *reason = NULL;
    if (text == NULL || (writer->is_3 && column->constant_default == NULL)) {
        return;
    }
    cc_arena_init(&arena);
    typed = typed && rest_json_scan(cc_slice_text(text), &arena, &scanned, &reason) == CC_OK;
    put(writer, ",\"default\":");
    if (typed) {
        put(writer, text);
    } else {
        put_string(writer, text);
    }
    cc_arena_finish(&arena);
}

static const struct rest_foreign_key *foreign_key_of(const struct writer *writer, const struct rest_table *table,
                                                     uint32_t column)
{
    for (uint32_t i = 0; i < writer->catalog->n_foreign_keys; i++) {
        const struct rest_foreign_key *key = &writer->catalog->foreign_keys[i];
        if (&writer->catalog->tables[key->from] == table && key->n_columns == 1 && key->from_columns[0] == column) {
            return key;
        }
    }
    return NULL;
}

// Comment and notes; tools made for PostgREST read <pk/> and <fk/>.
static void put_description(struct writer *writer, const struct rest_table *table, uint32_t position)
{
    const struct rest_column *column = &table->columns[position];
    const struct rest_foreign_key *key = foreign_key_of(writer, table, position);
    struct cc_buffer text = {0};
    cc_buffer_append_text(&text, column->comment == NULL ? "" : column->comment);
    if (column->key_position > 0 || key != NULL) {
        cc_buffer_append_text(&text, text.n == 0 ? "Note:\n" : "\n\nNote:\n");
    }
    cc_buffer_append_text(&text, column->key_position > 0 ? "This is a Primary Key.<pk/>" : "");
    if (key != NULL) {
        const struct rest_table *to = &writer->catalog->tables[key->to];
        const char *name = to->columns[key->to_columns[0]].name;
        cc_buffer_printf(&text, "%sThis is a Foreign Key to `%s.%s`.<fk table='%s' column='%s'/>",
                         column->key_position > 0 ? "\n" : "", to->name, name, to->name, name);
    }
    if (text.n > 0) {
        put(writer, ",\"description\":");
        rest_json_put_string(writer->out, cc_buffer_slice(&text));
    }
    cc_buffer_finish(&text);
}

static void put_column(struct writer *writer, const struct rest_table *table, uint32_t position)
{
    const struct rest_column *column = &table->columns[position];
    put_string(writer, column->name);
    put(writer, ":{");
    put_type(writer, column->type, column->base_type, !column->not_null);
    if (column->enum_values != NULL) {
        put(writer, ",\"enum\":");
        put(writer, column->enum_values);
        if (writer->is_3 && !column->not_null) { // the list ends with ]
            writer->out->n--;
            put(writer, ",null]");
        }
    }
    put_default(writer, column);
    if (column->merge != REST_MERGE_LWW) {
        put(writer, ",\"x-caucus-merge\":");
        put_string(writer, rest_merge_text(column->merge));
    }
    put_description(writer, table, position);
    put(writer, (column->generated || column->identity_always) ? ",\"readOnly\":true}" : "}");
}

static void put_class_name(struct writer *writer, enum rest_class consistency)
{
    put(writer, "\"x-caucus-consistency\":");
    put_string(writer, consistency == REST_WEAK ? "weak" : "strong");
    put(writer, ",");
}

static void put_class(struct writer *writer, const struct rest_table *table)
{
    if (!rest_table_is_view(table)) {
        put_class_name(writer, table->consistency);
    }
}

static void put_definition(struct writer *writer, const struct rest_table *table)
{
    bool any = false;
    put_component_key(writer, "", table->name, NULL);
    put(writer, "{\"type\":\"object\",");
    if (writer->is_3) {
        put(writer, "\"title\":");
        put_string(writer, table->name);
        put(writer, ",");
    }
    put_class(writer, table);
    if (table->comment != NULL) {
        put(writer, "\"description\":");
        put_string(writer, table->comment);
        put(writer, ",");
    }
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if (table->columns[i].not_null && !table->columns[i].has_default && !table->columns[i].generated) {
            put(writer, any ? "," : "\"required\":["); // an empty list is not allowed in 2.0
            any = true;
            put_string(writer, table->columns[i].name);
        }
    }
    put(writer, any ? "],\"properties\":{" : "\"properties\":{");
    for (uint32_t i = 0; i < table->n_columns; i++) {
        put(writer, i == 0 ? "" : ",");
        put_column(writer, table, i);
    }
    put(writer, "}}");
}

// -- Parameters ------------------------------------------------------------------------------------------------------

static const struct parameter {
    const char *key, *name, *place, *description;
} parameters[] = {
    {"preferParams", "Prefer", "header", "Preferences: return=, count=, resolution=, missing=, consistency=, ..."},
    {"select", "select", "query", "Filtering Columns"},
    {"order", "order", "query", "Ordering"},
    {"limit", "limit", "query", "Limiting and Pagination"},
    {"offset", "offset", "query", "Limiting and Pagination"},
    {"on_conflict", "on_conflict", "query", "On Conflict"},
    {"columns", "columns", "query", "Columns of the body"},
    {"range", "Range", "header", "Limiting and Pagination"},
    {"rangeUnit", "Range-Unit", "header", "Limiting and Pagination"},
    {"idempotencyKey", "Idempotency-Key", "header", "A write that is sent again under the same key takes effect once"},
    {"session", "Caucus-Session", "header",
     "The token of the last answer: what the client has seen, it sees again at any replica"},
};
enum { N_PARAMETERS = sizeof(parameters) / sizeof(parameters[0]) };

static void put_parameter(struct writer *writer, const char *name, const char *place, const char *description,
                          const char *type, bool required)
{
    put(writer, "{\"name\":");
    put_string(writer, name);
    put(writer, ",\"in\":");
    put_string(writer, place);
    if (description != NULL) {
        put(writer, ",\"description\":");
        put_string(writer, description);
    }
    put(writer, required ? ",\"required\":true" : ",\"required\":false");
    put(writer, writer->is_3 ? ",\"schema\":{\"type\":" : ",\"type\":");
    put_string(writer, type);
    put(writer, writer->is_3 ? "}}" : "}");
}

static void put_parameters(struct writer *writer)
{
    bool any = false;
    put(writer, "\"parameters\":{");
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        put_separator(writer, &any);
        put_string(writer, parameters[i].key);
        put(writer, ":");
        put_parameter(writer, parameters[i].name, parameters[i].place, parameters[i].description, "string", false);
    }
    for (uint32_t t = 0; t < writer->catalog->n_tables; t++) {
        const struct rest_table *table = &writer->catalog->tables[t];
        for (uint32_t i = 0; i < table->n_columns && strcmp(table->schema, writer->schema) == 0; i++) {
            put_separator(writer, &any);
            put_component_key(writer, "rowFilter.", table->name, table->columns[i].name);
            put_parameter(writer, table->columns[i].name, "query", table->columns[i].comment, "string", false);
        }
    }
    put(writer, "}");
}

static void put_filters(struct writer *writer, const struct rest_table *table, bool *any)
{
    for (uint32_t i = 0; i < table->n_columns; i++) {
        put_separator(writer, any);
        put_reference(writer, "parameters", "rowFilter.", table->name, table->columns[i].name);
    }
}

// Keys of the table above, with blanks between.
static void put_common(struct writer *writer, const char *keys, bool *any)
{
    while (*keys != '\0') {
        size_t n = strcspn(keys, " ");
        struct cc_buffer key = {0};
        cc_buffer_append(&key, keys, n);
        put_separator(writer, any);
        put_reference(writer, "parameters", "", cc_buffer_text(&key), NULL);
        cc_buffer_finish(&key);
        keys += n + strspn(keys + n, " ");
    }
}

// -- Paths of relations ----------------------------------------------------------------------------------------------

struct operation {
    const char *verb;
    bool filters, body;
    const char *common;
    const char *status, *said; // with the rows, or nothing
    const char *other_status, *other_said;
};

static const struct operation operations[] = {
    {"get", true, false, "select order range rangeUnit offset limit preferParams session", "200", "OK", "206",
     "Partial Content"},
    {"post", false, true, "select columns on_conflict preferParams idempotencyKey", "201", "Created", NULL, NULL},
    {"patch", true, true, "select preferParams idempotencyKey", "200", "OK", "204", "No Content"},
    {"delete", true, false, "select preferParams idempotencyKey", "200", "OK", "204", "No Content"},
};

static void put_rows_response(struct writer *writer, const struct rest_table *table, const char *status,
                              const char *said)
{
    put_string(writer, status);
    put(writer, ":{\"description\":");
    put_string(writer, said);
    if (strcmp(status, "204") != 0) {
        put(writer, writer->is_3 ? ",\"content\":{\"application/json\":{\"schema\":" : ",\"schema\":");
        put(writer, "{\"type\":\"array\",\"items\":");
        put_reference(writer, "definitions", "", table->name, NULL);
        put(writer, writer->is_3 ? "}}}" : "}");
    }
    put(writer, "}");
}

static void put_body(struct writer *writer, const struct rest_table *table, bool *any)
{
    put_separator(writer, any);
    put(writer, "{\"name\":");
    put_string(writer, table->name);
    put(writer, ",\"in\":\"body\",\"required\":false,\"schema\":");
    put_reference(writer, "definitions", "", table->name, NULL);
    put(writer, "}");
}

static void put_request_body(struct writer *writer, const struct rest_table *table, bool many)
{
    put(writer, ",\"requestBody\":{\"content\":{\"application/json\":{\"schema\":");
    put(writer, many ? "{\"anyOf\":[" : "");
    put_reference(writer, "definitions", "", table->name, NULL);
    if (many) {
        put(writer, ",{\"type\":\"array\",\"items\":");
        put_reference(writer, "definitions", "", table->name, NULL);
        put(writer, "}]}");
    }
    put(writer, "}}}");
}

static void put_operation(struct writer *writer, const struct rest_table *table, const struct operation *operation)
{
    bool any = false;
    put_string(writer, operation->verb);
    put(writer, ":{\"tags\":[");
    put_string(writer, table->name);
    put(writer, "],");
    put_comment(writer, table->comment);
    put(writer, "\"parameters\":[");
    if (operation->filters) {
        put_filters(writer, table, &any);
    }
    if (operation->body && !writer->is_3) {
        put_body(writer, table, &any);
    }
    put_common(writer, operation->common, &any);
    put(writer, "]");
    if (operation->body && writer->is_3) {
        put_request_body(writer, table, strcmp(operation->verb, "post") == 0);
    }
    put(writer, ",\"responses\":{");
    put_rows_response(writer, table, operation->status, operation->said);
    if (operation->other_status != NULL) {
        put(writer, ",");
        put_rows_response(writer, table, operation->other_status, operation->other_said);
    }
    put(writer, "}}");
}

static bool has_operation(const struct rest_table *table, const char *verb)
{
    return strcmp(verb, "post") == 0     ? table->insertable
           : strcmp(verb, "patch") == 0  ? table->updatable
           : strcmp(verb, "delete") == 0 ? table->deletable
                                         : true;
}

static void put_path(struct writer *writer, const char *prefix, const char *name)
{
    struct cc_buffer path = {0};
    cc_buffer_append_text(&path, prefix);
    cc_buffer_append_text(&path, name);
    rest_json_put_string(writer->out, cc_buffer_slice(&path));
    put(writer, ":{");
    cc_buffer_finish(&path);
}

static void put_table_path(struct writer *writer, const struct rest_table *table)
{
    bool any = false;
    put_path(writer, "/", table->name);
    put_class(writer, table);
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (has_operation(table, operations[i].verb)) {
            put_separator(writer, &any);
            put_operation(writer, table, &operations[i]);
        }
    }
    put(writer, "}");
}

// -- Paths of functions ----------------------------------------------------------------------------------------------

static void put_arguments_object(struct writer *writer, const struct rest_function *function)
{
    bool any = false, any_required = false;
    put(writer, "{\"type\":\"object\",\"properties\":{");
    for (uint32_t i = 0; i < function->n_arguments; i++) {
        put_separator(writer, &any);
        put_string(writer, function->arguments[i].name);
        put(writer, ":{");
        put_type(writer, function->arguments[i].type, function->arguments[i].type, false);
        put(writer, "}");
    }
    put(writer, "}");
    for (uint32_t i = 0; i < function->n_arguments; i++) {
        if (!function->arguments[i].has_default) {
            put(writer, any_required ? "," : ",\"required\":[");
            any_required = true;
            put_string(writer, function->arguments[i].name);
        }
    }
    put(writer, any_required ? "]}" : "}");
}

static void put_call(struct writer *writer, const struct rest_function *function, bool posts)
{
    bool any = false;
    put(writer, posts ? "\"post\":{\"tags\":[" : "\"get\":{\"tags\":[");
    struct cc_buffer tag = {0};
    cc_buffer_printf(&tag, "(rpc) %s", function->name);
    rest_json_put_string(writer->out, cc_buffer_slice(&tag));
    cc_buffer_finish(&tag);
    put(writer, "],");
    put_comment(writer, function->comment);
    put(writer, "\"parameters\":[");
    for (uint32_t i = 0; !posts && i < function->n_arguments; i++) {
        put_separator(writer, &any);
        put_parameter(writer, function->arguments[i].name, "query", NULL, "string",
                      !function->arguments[i].has_default);
    }
    if (posts && !writer->is_3) {
        put_separator(writer, &any);
        put(writer, "{\"name\":\"args\",\"in\":\"body\",\"required\":true,\"schema\":");
        put_arguments_object(writer, function);
        put(writer, "}");
    }
    put_common(writer, posts ? "preferParams idempotencyKey" : "session", &any);
    put(writer, "]");
    if (posts && writer->is_3) {
        put(writer, ",\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{\"schema\":");
        put_arguments_object(writer, function);
        put(writer, "}}}");
    }
    put(writer, ",\"responses\":{\"200\":{\"description\":\"OK\"}}}");
}

static void put_function_path(struct writer *writer, const struct rest_function *function)
{
    put_path(writer, "/rpc/", function->name);
    put_class_name(writer, function->consistency);
    put_call(writer, function, true);
    if (function->volatility != REST_VOLATILE) {
        put(writer, ",");
        put_call(writer, function, false);
    }
    put(writer, "}");
}

// -- The document ----------------------------------------------------------------------------------------------------

static void put_paths(struct writer *writer)
{
    const struct rest_catalog *catalog = writer->catalog;
    const char *last = NULL;
    put(writer,
        "\"paths\":{\"/\":{\"get\":{\"tags\":[\"Introspection\"],\"summary\":\"OpenAPI description (this document)\",");
    put(writer, writer->is_3 ? "" : "\"produces\":[\"application/openapi+json\",\"application/json\"],");
    put(writer, "\"responses\":{\"200\":{\"description\":\"OK\"}}}}");
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        if (strcmp(catalog->tables[i].schema, writer->schema) == 0) {
            put(writer, ",");
            put_table_path(writer, &catalog->tables[i]);
        }
    }
    for (uint32_t i = 0; i < catalog->n_functions; i++) {
        const struct rest_function *function = &catalog->functions[i];
        bool overload = last != NULL && strcmp(last, function->name) == 0; // sorted by name: one path for all
        if (strcmp(function->schema, writer->schema) == 0 && !overload) {
            put(writer, ",");
            put_function_path(writer, function);
            last = function->name;
        }
    }
    put(writer, "}");
}

static void put_definitions(struct writer *writer)
{
    bool any = false;
    put(writer, writer->is_3 ? "\"schemas\":{" : "\"definitions\":{");
    for (uint32_t i = 0; i < writer->catalog->n_tables; i++) {
        if (strcmp(writer->catalog->tables[i].schema, writer->schema) == 0) {
            put_separator(writer, &any);
            put_definition(writer, &writer->catalog->tables[i]);
        }
    }
    put(writer, "}");
}

static void put_document(struct writer *writer)
{
    put(writer, writer->is_3 ? "{\"openapi\":\"3.1.0\"," : "{\"swagger\":\"2.0\",");
    cc_buffer_printf(writer->out, "\"info\":{\"title\":\"Caucus\",\"description\":\"\",\"version\":\"%u\"},",
                     writer->catalog->version);
    put(writer,
        writer->is_3
            ? "\"servers\":[{\"url\":\"/\"}],"
            : "\"basePath\":\"/\",\"consumes\":[\"application/json\",\"text/csv\"],\"produces\":[\"application/json\","
              "\"application/vnd.pgrst.object+json\",\"text/csv\"],");
    put_paths(writer);
    put(writer, writer->is_3 ? ",\"components\":{" : ",");
    put_definitions(writer);
    put(writer, ",");
    put_parameters(writer);
    put(writer, writer->is_3 ? "}}" : "}");
}

void rest_openapi_reply(const struct rest_catalog *catalog, const char *schema, enum rest_openapi_version version,
                        bool head, struct cc_arena *arena, struct rest_reply *reply_out)
{
    struct cc_buffer out = {0};
    struct writer writer = {.out = &out, .catalog = catalog, .schema = schema, .is_3 = version == REST_OPENAPI_3};
    put_document(&writer);
    *reply_out = (struct rest_reply){.status = 200};
    rest_reply_add_header(reply_out, arena, "Content-Type",
                          writer.is_3 ? "application/vnd.oai.openapi+json; version=3.1; charset=utf-8"
                                      : "application/openapi+json; charset=utf-8");
    rest_reply_add_header(reply_out, arena, "Vary", "Accept");
    if (catalog->n_schemas > 1) {
        rest_reply_add_header(reply_out, arena, "Content-Profile", schema);
    }
    if (!head) {
        reply_out->body = cc_slice_of(cc_arena_text_n(arena, out.data, out.n), out.n);
    }
    cc_buffer_finish(&out);
}
