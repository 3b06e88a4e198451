// OpenAPI: relations and functions of a schema as an OpenAPI 2.0 document.
#include "rest/openapi.h"

#include "rest/json_body.h"
#include "rest/reply.h"

#include <string.h>

static void put(struct cc_buffer *out, const char *text)
{
    cc_buffer_append_text(out, text);
}

static void put_string(struct cc_buffer *out, const char *text)
{
    rest_json_put_string(out, cc_slice_text(text));
}

// A comment's first line is the summary, the rest the description.
static void put_comment(struct cc_buffer *out, const char *comment)
{
    if (comment == NULL) {
        return;
    }
    size_t n = strcspn(comment, "\n");
    put(out, "\"summary\":");
    rest_json_put_string(out, cc_slice_of(comment, n));
    put(out, ",");
    if (comment[n] != '\0') {
        put(out, "\"description\":");
        put_string(out, comment + n + strspn(comment + n, "\r\n"));
        put(out, ",");
    }
}

static const char *json_type(const char *base_type)
{
    static const struct {
        const char *sql, *json;
    } types[] = {
        {"smallint", "integer"}, {"integer", "integer"},         {"bigint", "integer"},  {"numeric", "number"},
        {"real", "number"},      {"double precision", "number"}, {"boolean", "boolean"},
    };
    size_t n = strlen(base_type);
    if (n > 2 && strcmp(base_type + n - 2, "[]") == 0) {
        return "array";
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(base_type, types[i].sql) == 0) {
            return types[i].json;
        }
    }
    return "string";
}

static void put_type(struct cc_buffer *out, const char *type, const char *base_type)
{
    const char *json = json_type(base_type);
    bool any = strcmp(base_type, "json") == 0 || strcmp(base_type, "jsonb") == 0;
    put(out, "\"format\":");
    put_string(out, type);
    if (!any) {
        put(out, ",\"type\":");
        put_string(out, json);
    }
    if (strcmp(json, "array") == 0) {
        put(out, ",\"items\":{\"type\":\"string\"}");
    }
}

static void put_column(struct cc_buffer *out, const struct rest_column *column)
{
    put_string(out, column->name);
    put(out, ":{");
    put_type(out, column->type, column->base_type);
    if (column->key_position > 0 || column->comment != NULL) {
        struct cc_buffer text = {0};
        put(&text, column->comment == NULL ? "" : column->comment);
        put(&text, column->key_position > 0
                       ? (text.n == 0 ? "Note:\nThis is a Primary Key.<pk/>" : "\n\nNote:\nThis is a Primary Key.<pk/>")
                       : "");
        put(out, ",\"description\":");
        rest_json_put_string(out, cc_buffer_slice(&text));
        cc_buffer_finish(&text);
    }
    if (column->enum_values != NULL) {
        put(out, ",\"enum\":");
        put(out, column->enum_values);
    }
    if (column->constant_default != NULL) {
        put(out, ",\"default\":");
        put_string(out, column->constant_default);
    }
    put(out, "}");
}

static void put_definition(struct cc_buffer *out, const struct rest_table *table)
{
    put_string(out, table->name);
    put(out, ":{\"type\":\"object\",");
    if (table->comment != NULL) {
        put(out, "\"description\":");
        put_string(out, table->comment);
        put(out, ",");
    }
    put(out, "\"required\":[");
    bool first = true;
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if (table->columns[i].not_null && !table->columns[i].has_default) {
            put(out, first ? "" : ",");
            put_string(out, table->columns[i].name);
            first = false;
        }
    }
    put(out, "],\"properties\":{");
    for (uint32_t i = 0; i < table->n_columns; i++) {
        put(out, i == 0 ? "" : ",");
        put_column(out, &table->columns[i]);
    }
    put(out, "}}");
}

static void put_operation(struct cc_buffer *out, const char *verb, const char *tag, const char *comment,
                          const char *responses, bool first)
{
    put(out, first ? "" : ",");
    put_string(out, verb);
    put(out, ":{\"tags\":[");
    put_string(out, tag);
    put(out, "],");
    put_comment(out, comment);
    put(out, "\"responses\":");
    put(out, responses);
    put(out, "}");
}

static void put_table_path(struct cc_buffer *out, const struct rest_table *table)
{
    struct cc_buffer path = {0};
    cc_buffer_printf(&path, "/%s", table->name);
    rest_json_put_string(out, cc_buffer_slice(&path));
    cc_buffer_finish(&path);
    put(out, ":{");
    put_operation(out, "get", table->name, table->comment,
                  "{\"200\":{\"description\":\"OK\"},\"206\":{\"description\":\"Partial Content\"}}", true);
    if (table->insertable) {
        put_operation(out, "post", table->name, table->comment, "{\"201\":{\"description\":\"Created\"}}", false);
    }
    if (table->updatable) {
        put_operation(out, "patch", table->name, table->comment, "{\"204\":{\"description\":\"No Content\"}}", false);
    }
    if (table->deletable) {
        put_operation(out, "delete", table->name, table->comment, "{\"204\":{\"description\":\"No Content\"}}", false);
    }
    put(out, "}");
}

static void put_function_path(struct cc_buffer *out, const struct rest_function *function)
{
    struct cc_buffer path = {0};
    cc_buffer_printf(&path, "/rpc/%s", function->name);
    rest_json_put_string(out, cc_buffer_slice(&path));
    put(out, ":{");
    const char *tag = cc_buffer_text(&path) + 1;
    put_operation(out, "post", tag, function->comment, "{\"200\":{\"description\":\"OK\"}}", true);
    if (function->volatility != REST_VOLATILE) {
        put_operation(out, "get", tag, function->comment, "{\"200\":{\"description\":\"OK\"}}", false);
    }
    put(out, "}");
    cc_buffer_finish(&path);
}

static void put_paths(struct cc_buffer *out, const struct rest_catalog *catalog, const char *schema)
{
    const char *last = NULL;
    put(out, "\"paths\":{\"/\":{\"get\":{\"tags\":[\"Introspection\"],\"summary\":\"OpenAPI description (this "
             "document)\",\"produces\":"
             "[\"application/openapi+json\",\"application/json\"],\"responses\":{\"200\":{\"description\":\"OK\"}}}}");
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        if (strcmp(catalog->tables[i].schema, schema) == 0) {
            put(out, ",");
            put_table_path(out, &catalog->tables[i]);
        }
    }
    for (uint32_t i = 0; i < catalog->n_functions; i++) {
        const struct rest_function *function = &catalog->functions[i];
        bool overload = last != NULL && strcmp(last, function->name) == 0; // sorted by name: one path for all
        if (strcmp(function->schema, schema) == 0 && !overload) {
            put(out, ",");
            put_function_path(out, function);
            last = function->name;
        }
    }
    put(out, "}");
}

static void put_definitions(struct cc_buffer *out, const struct rest_catalog *catalog, const char *schema)
{
    bool first = true;
    put(out, "\"definitions\":{");
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        if (strcmp(catalog->tables[i].schema, schema) == 0) {
            put(out, first ? "" : ",");
            put_definition(out, &catalog->tables[i]);
            first = false;
        }
    }
    put(out, "}");
}

void rest_openapi_reply(const struct rest_catalog *catalog, const char *schema, bool head, struct cc_arena *arena,
                        struct rest_reply *reply_out)
{
    struct cc_buffer out = {0};
    cc_buffer_printf(&out,
                     "{\"swagger\":\"2.0\",\"info\":{\"title\":\"Caucus\",\"description\":\"\",\"version\":\"%u\"},"
                     "\"basePath\":\"/\",",
                     catalog->version);
    put(&out, "\"consumes\":[\"application/json\"],\"produces\":[\"application/json\",\"application/"
              "vnd.pgrst.object+json\",\"text/csv\"],");
    put_paths(&out, catalog, schema);
    put(&out, ",");
    put_definitions(&out, catalog, schema);
    put(&out, "}");
    *reply_out = (struct rest_reply){.status = 200};
    rest_reply_add_header(reply_out, arena, "Content-Type", "application/openapi+json; charset=utf-8");
    if (catalog->n_schemas > 1) {
        rest_reply_add_header(reply_out, arena, "Content-Profile", schema);
    }
    if (!head) {
        reply_out->body = cc_slice_of(cc_arena_text_n(arena, out.data, out.n), out.n);
    }
    cc_buffer_finish(&out);
}
