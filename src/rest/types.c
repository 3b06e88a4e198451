// Types of TypeScript and JSDoc, written from the catalog.
#include "rest/types.h"

#include "rest/json_body.h"

#include <string.h>

enum { INDENT = 2 };

struct writer {
    struct cc_buffer *out;
    const struct rest_catalog *catalog;
    bool comments; // not inside of JSDoc, which is a comment itself
    unsigned depth;
};

// -- Text ------------------------------------------------------------------------------------------------------------

static void put(struct writer *writer, const char *text)
{
    cc_buffer_append_text(writer->out, text);
}

static void line_start(struct writer *writer)
{
    if (!writer->comments) {
        put(writer, " * ");
    }
    for (unsigned i = 0; i < writer->depth * INDENT; i++) {
        put(writer, " ");
    }
}

static void open_block(struct writer *writer, const char *bracket)
{
    put(writer, bracket);
    put(writer, "\n");
    writer->depth++;
}

static void close_block(struct writer *writer, const char *bracket)
{
    writer->depth--;
    line_start(writer);
    put(writer, bracket);
}

// A string literal, which must not end the comment that it may stand in.
static void put_literal_n(struct writer *writer, struct cc_slice text)
{
    struct cc_buffer quoted = {0};
    rest_json_put_string(&quoted, text);
    for (size_t i = 0; i < quoted.n; i++) {
        bool ends = i > 0 && quoted.data[i] == '/' && quoted.data[i - 1] == '*';
        cc_buffer_append(writer->out, ends ? "\\/" : (const char *)&quoted.data[i], ends ? 2 : 1);
    }
    cc_buffer_finish(&quoted);
}

static void put_literal(struct writer *writer, const char *text)
{
    put_literal_n(writer, cc_slice_text(text));
}

static bool is_plain_name(const char *name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return name[0] != '\0' && strchr(first, name[0]) != NULL && strspn(name, others) == strlen(name);
}

static void put_key(struct writer *writer, const char *name)
{
    if (is_plain_name(name)) {
        put(writer, name);
    } else {
        put_literal(writer, name);
    }
}

static void put_comment_text(struct writer *writer, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\r') {
            continue;
        }
        if (*c == '\n') {
            put(writer, "\n");
            line_start(writer);
            put(writer, " * ");
        } else if (c[0] == '*' && c[1] == '/') {
            put(writer, "* ");
        } else {
            cc_buffer_append(writer->out, c, 1);
        }
    }
}

static void put_comment(struct writer *writer, const char *text)
{
    if (!writer->comments || text == NULL || text[0] == '\0') {
        return;
    }
    line_start(writer);
    put(writer, "/** ");
    put_comment_text(writer, text);
    put(writer, " */\n");
}

// -- Names of types --------------------------------------------------------------------------------------------------

static const char *skip_quotes(const char *text)
{
    while (*text == '"') {
        text++;
    }
    return text;
}

// What follows `name` at the start of a type's name, which format_type() quotes where needed; NULL: another name.
static const char *skip_name(const char *type, const char *name)
{
    for (type = skip_quotes(type); *name != '\0'; name++) {
        if (*name == '"') {
            continue;
        }
        if (*type != *name) {
            return NULL;
        }
        type = skip_quotes(type + 1);
    }
    return type;
}

// The part behind "schema.", still quoted; NULL when it is of another schema.
static const char *in_schema(const char *type, const char *schema)
{
    const char *rest = skip_name(type, schema);
    return rest != NULL && *rest == '.' ? rest + 1 : NULL;
}

static bool is_row_type(const char *type, const struct rest_table *table)
{
    const char *name = in_schema(type, table->schema);
    const char *rest = name == NULL ? NULL : skip_name(name, table->name);
    return rest != NULL && *rest == '\0';
}

// -- Types of values -------------------------------------------------------------------------------------------------

static bool is_one_of(struct cc_slice name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (cc_slice_equal_text(name, names[i])) {
            return true;
        }
    }
    return false;
}

// The labels of an enum that some column has, as JSON, or NULL.
static const char *find_enum(const struct rest_catalog *catalog, struct cc_slice type)
{
    for (uint32_t t = 0; t < catalog->n_tables; t++) {
        for (uint32_t i = 0; i < catalog->tables[t].n_columns; i++) {
            const struct rest_column *column = &catalog->tables[t].columns[i];
            if (column->enum_values != NULL && cc_slice_equal_text(type, column->base_type)) {
                return column->enum_values;
            }
        }
    }
    return NULL;
}

// ["a", "b"] as "a" | "b".
static void put_labels(struct writer *writer, const char *json_text)
{
    struct cc_arena arena;
    struct rest_json json;
    const char *reason = NULL;
    uint32_t n = 0;
    struct rest_json_value *labels = NULL;
    cc_arena_init(&arena);
    if (rest_json_scan(cc_slice_text(json_text), &arena, &json, &reason) == CC_OK &&
        json.value.kind == REST_JSON_ARRAY) {
        rest_json_elements(&json.value, &arena, &n, &labels);
    }
    for (uint32_t i = 0; i < n; i++) {
        put(writer, i == 0 ? "" : " | ");
        put_literal_n(writer, rest_json_text(&labels[i], &arena));
    }
    put(writer, n == 0 ? "never" : "");
    cc_arena_finish(&arena);
}

// What PostgreSQL's JSON form of a type is. Types of pg_catalog have plain names, others a schema.
static void put_element_type(struct writer *writer, struct cc_slice type)
{
    static const char *const numbers[] = {"smallint",         "integer", "bigint", "real",
                                          "double precision", "numeric", "oid"};
    static const char *const texts[] = {".citext", ".vector", ".ltree"};
    const char *labels = find_enum(writer->catalog, type);
    size_t n_plain = 0; // a modifier: numeric(8,2)
    while (n_plain < type.n && type.data[n_plain] != '(') {
        n_plain++;
    }
    struct cc_slice plain = cc_slice_of(type.data, n_plain);
    bool foreign = type.n > 0 && (memchr(type.data, '.', type.n) != NULL || type.data[0] == '"');
    if (labels != NULL) {
        put_labels(writer, labels);
    } else if (is_one_of(plain, numbers, sizeof(numbers) / sizeof(numbers[0]))) {
        put(writer, "number");
    } else if (cc_slice_equal_text(plain, "boolean")) {
        put(writer, "boolean");
    } else if (cc_slice_equal_text(plain, "json") || cc_slice_equal_text(plain, "jsonb")) {
        put(writer, "Json");
    } else if (cc_slice_equal_text(plain, "void")) {
        put(writer, "undefined");
    } else if (cc_slice_equal_text(plain, "record")) {
        put(writer, "Record<string, unknown>");
    } else if (foreign) {
        const uint8_t *dot = memrchr(plain.data, '.', plain.n);
        struct cc_slice name = dot == NULL ? plain : cc_slice_of(dot, (size_t)(plain.data + plain.n - dot));
        put(writer, is_one_of(name, texts, sizeof(texts) / sizeof(texts[0])) ? "string" : "unknown");
    } else {
        put(writer, "string");
    }
}

static void put_type(struct writer *writer, const char *type)
{
    size_t n = strlen(type);
    bool is_array = n > 2 && strcmp(type + n - 2, "[]") == 0;
    put(writer, is_array ? "(" : "");
    put_element_type(writer, cc_slice_of(type, is_array ? n - 2 : n));
    put(writer, is_array ? ")[]" : "");
}

// -- Columns ---------------------------------------------------------------------------------------------------------

static void put_member(struct writer *writer, const char *name, bool optional, const char *type, bool nullable)
{
    line_start(writer);
    put_key(writer, name);
    put(writer, optional ? "?: " : ": ");
    put_type(writer, type);
    put(writer, nullable ? " | null;\n" : ";\n");
}

// A value, or what is to be added to the one that is there.
static void put_written_member(struct writer *writer, const struct rest_column *column, bool optional)
{
    bool counts = column->merge == REST_MERGE_COUNTER, unites = column->merge == REST_MERGE_SET;
    const char *type = column->json_in != NULL ? "json" : column->base_type;
    if (!counts && !unites) {
        put_member(writer, column->name, optional, type, !column->not_null);
        return;
    }
    line_start(writer);
    put_key(writer, column->name);
    put(writer, optional ? "?: " : ": ");
    put_type(writer, type);
    put(writer, counts ? " | { $inc: " : " | { $add?: ");
    put_type(writer, type);
    if (unites) {
        put(writer, "; $remove?: ");
        put_type(writer, type);
    }
    put(writer, column->not_null ? " };\n" : " } | null;\n");
}

static void put_never(struct writer *writer, const char *name)
{
    line_start(writer);
    put_key(writer, name);
    put(writer, "?: never;\n");
}

// A function over the table's row type is a column that `*` leaves out.
static bool computes_for(const struct rest_function *function, const struct rest_table *table)
{
    if (function->n_arguments != 1 || function->returns_set || function->returns_row || function->returns_void) {
        return false;
    }
    return is_row_type(function->arguments[0].type, table) && strcmp(function->schema, table->schema) == 0;
}

static void put_row(struct writer *writer, const struct rest_table *table)
{
    line_start(writer);
    open_block(writer, "Row: {");
    for (uint32_t i = 0; i < table->n_columns; i++) {
        const struct rest_column *column = &table->columns[i];
        put_comment(writer, column->comment);
        put_member(writer, column->name, false, column->json_out != NULL ? "json" : column->base_type, !column->not_null);
    }
    for (uint32_t i = 0; i < writer->catalog->n_functions; i++) {
        const struct rest_function *function = &writer->catalog->functions[i];
        if (computes_for(function, table)) {
            put_comment(writer, function->comment);
            put_member(writer, function->name, false, function->return_type, true);
        }
    }
    close_block(writer, "};\n");
}

static void put_written(struct writer *writer, const struct rest_table *table, const char *name, bool inserts)
{
    line_start(writer);
    put(writer, name);
    open_block(writer, ": {");
    for (uint32_t i = 0; i < table->n_columns; i++) {
        const struct rest_column *column = &table->columns[i];
        if (column->generated || column->identity_always) {
            put_never(writer, column->name);
        } else {
            bool needed = inserts && column->not_null && !column->has_default;
            put_written_member(writer, column, !needed);
        }
    }
    close_block(writer, "};\n");
}

static void put_computed_fields(struct writer *writer, const struct rest_table *table)
{
    bool any = false;
    for (uint32_t i = 0; i < writer->catalog->n_functions; i++) {
        const struct rest_function *function = &writer->catalog->functions[i];
        if (!computes_for(function, table)) {
            continue;
        }
        if (!any) {
            line_start(writer);
            put(writer, "ComputedFields: ");
        }
        put(writer, any ? " | " : "");
        put_literal(writer, function->name);
        any = true;
    }
    put(writer, any ? ";\n" : "");
}

// -- Relationships ---------------------------------------------------------------------------------------------------

static void put_columns(struct writer *writer, const struct rest_table *table, uint32_t n, const uint32_t *columns)
{
    put(writer, "[");
    for (uint32_t i = 0; i < n; i++) {
        put(writer, i == 0 ? "" : ", ");
        put_literal(writer, table->columns[columns[i]].name);
    }
    put(writer, "]");
}

// The referencing columns are unique by themselves.
static bool is_one_to_one(const struct rest_foreign_key *key, const struct rest_table *from)
{
    for (uint32_t u = 0; u < from->n_uniques; u++) {
        const struct rest_unique *unique = &from->uniques[u];
        uint32_t n_found = 0;
        for (uint32_t i = 0; i < unique->n_columns; i++) {
            for (uint32_t k = 0; k < key->n_columns; k++) {
                n_found += unique->columns[i] == key->from_columns[k];
            }
        }
        if (n_found == unique->n_columns && unique->n_columns == key->n_columns) {
            return true;
        }
    }
    return false;
}

static void put_relationship(struct writer *writer, const struct rest_foreign_key *key)
{
    const struct rest_table *from = &writer->catalog->tables[key->from], *to = &writer->catalog->tables[key->to];
    line_start(writer);
    open_block(writer, "{");
    line_start(writer);
    put(writer, "foreignKeyName: ");
    put_literal(writer, key->name);
    put(writer, ";\n");
    line_start(writer);
    put(writer, "columns: ");
    put_columns(writer, from, key->n_columns, key->from_columns);
    put(writer, ";\n");
    line_start(writer);
    put(writer, is_one_to_one(key, from) ? "isOneToOne: true;\n" : "isOneToOne: false;\n");
    line_start(writer);
    put(writer, "referencedRelation: ");
    put_literal(writer, to->name);
    put(writer, ";\n");
    line_start(writer);
    put(writer, "referencedColumns: ");
    put_columns(writer, to, key->n_columns, key->to_columns);
    put(writer, ";\n");
    close_block(writer, "},\n");
}

static void put_relationships(struct writer *writer, const struct rest_table *table)
{
    const struct rest_catalog *catalog = writer->catalog;
    bool any = false;
    line_start(writer);
    put(writer, "Relationships: [");
    for (uint32_t i = 0; i < catalog->n_foreign_keys; i++) {
        if (&catalog->tables[catalog->foreign_keys[i].from] != table) {
            continue;
        }
        if (!any) {
            open_block(writer, "");
        }
        any = true;
        put_relationship(writer, &catalog->foreign_keys[i]);
    }
    if (any) {
        close_block(writer, "];\n");
    } else {
        put(writer, "];\n");
    }
}

// -- Relations and functions of a schema -----------------------------------------------------------------------------

static void put_relation(struct writer *writer, const struct rest_table *table)
{
    put_comment(writer, table->comment);
    line_start(writer);
    put_key(writer, table->name);
    open_block(writer, ": {");
    put_row(writer, table);
    if (!rest_table_is_view(table) || table->insertable || table->updatable) {
        put_written(writer, table, "Insert", true);
        put_written(writer, table, "Update", false);
    }
    put_relationships(writer, table);
    put_computed_fields(writer, table);
    if (!rest_table_is_view(table)) {
        line_start(writer);
        put(writer, table->consistency == REST_WEAK ? "Consistency: \"weak\";\n" : "Consistency: \"strong\";\n");
    }
    close_block(writer, "};\n");
}

// A type without members, which nothing but {} fits.
static void put_nothing(struct writer *writer, bool any)
{
    if (!any) {
        line_start(writer);
        put(writer, "[_ in never]: never;\n");
    }
}

static void put_relations(struct writer *writer, const char *schema, const char *title, bool views)
{
    bool any = false;
    line_start(writer);
    put(writer, title);
    open_block(writer, ": {");
    for (uint32_t i = 0; i < writer->catalog->n_tables; i++) {
        const struct rest_table *table = &writer->catalog->tables[i];
        if (strcmp(table->schema, schema) == 0 && rest_table_is_view(table) == views) {
            put_relation(writer, table);
            any = true;
        }
    }
    put_nothing(writer, any);
    close_block(writer, "};\n");
}

static void put_row_of(struct writer *writer, const struct rest_table *table)
{
    put(writer, "Database[");
    put_literal(writer, table->schema);
    put(writer, rest_table_is_view(table) ? "][\"Views\"][" : "][\"Tables\"][");
    put_literal(writer, table->name);
    put(writer, "][\"Row\"]");
}

static const struct rest_table *row_type(const struct writer *writer, const char *type)
{
    for (uint32_t i = 0; i < writer->catalog->n_tables; i++) {
        if (is_row_type(type, &writer->catalog->tables[i])) {
            return &writer->catalog->tables[i];
        }
    }
    return NULL;
}

static void put_arguments(struct writer *writer, const struct rest_function *function)
{
    put(writer, "Args: ");
    put(writer, function->n_arguments == 0 ? "never" : "{ ");
    for (uint32_t i = 0; i < function->n_arguments; i++) {
        const struct rest_argument *argument = &function->arguments[i];
        const struct rest_table *row = row_type(writer, argument->type);
        put_key(writer, argument->name);
        put(writer, argument->has_default ? "?: " : ": ");
        if (row != NULL) {
            put_row_of(writer, row);
        } else {
            put_type(writer, argument->type);
        }
        put(writer, "; ");
    }
    put(writer, function->n_arguments == 0 ? "; " : "}; ");
}

static void put_outs(struct writer *writer, const struct rest_function *function)
{
    put(writer, "{ ");
    for (uint32_t i = 0; i < function->n_outs; i++) {
        put_key(writer, function->outs[i].name);
        put(writer, ": ");
        put_type(writer, function->outs[i].type);
        put(writer, "; ");
    }
    put(writer, "}");
}

// Of a function that returns rows of a relation, which can be embedded in. Over a row type, it belongs to that relation.
static void put_set_options(struct writer *writer, const struct rest_function *function)
{
    const struct rest_table *from = function->n_arguments == 1 ? row_type(writer, function->arguments[0].type) : NULL;
    put(writer, "; SetofOptions: { from: ");
    put_literal(writer, from == NULL ? "*" : from->name);
    put(writer, "; to: ");
    put_literal(writer, writer->catalog->tables[function->return_table].name);
    put(writer, function->one_row || !function->returns_set ? "; isOneToOne: true" : "; isOneToOne: false");
    put(writer, function->returns_set ? "; isSetofReturn: true }" : "; isSetofReturn: false }");
}

static void put_returns(struct writer *writer, const struct rest_function *function)
{
    put(writer, "Returns: ");
    put(writer, function->returns_set ? "(" : "");
    if (function->return_table >= 0) {
        put_row_of(writer, &writer->catalog->tables[function->return_table]);
    } else if (function->n_outs > 1 || (function->n_outs == 1 && function->returns_row)) {
        put_outs(writer, function);
    } else if (function->returns_row) {
        put(writer, "Record<string, unknown>");
    } else {
        put_type(writer, function->return_type);
    }
    put(writer, function->returns_set ? ")[]" : "");
    if (function->return_table >= 0) {
        put_set_options(writer, function);
    }
}

static void put_functions(struct writer *writer, const char *schema)
{
    const char *last = NULL;
    line_start(writer);
    open_block(writer, "Functions: {");
    for (uint32_t i = 0; i < writer->catalog->n_functions; i++) {
        const struct rest_function *function = &writer->catalog->functions[i];
        if (strcmp(function->schema, schema) != 0) {
            continue;
        }
        bool overload = last != NULL && strcmp(last, function->name) == 0; // sorted by name
        put(writer, overload ? " | " : last != NULL ? ";\n" : "");
        if (!overload) {
            put_comment(writer, function->comment);
            line_start(writer);
            put_key(writer, function->name);
            put(writer, ": ");
        }
        put(writer, "{ ");
        put_arguments(writer, function);
        put_returns(writer, function);
        put(writer, " }");
        last = function->name;
    }
    put(writer, last != NULL ? ";\n" : "");
    put_nothing(writer, last != NULL);
    close_block(writer, "};\n");
}

static bool was_before(const struct rest_catalog *catalog, uint32_t table, uint32_t column, const char *type)
{
    for (uint32_t t = 0; t <= table; t++) {
        for (uint32_t i = 0; i < (t == table ? column : catalog->tables[t].n_columns); i++) {
            const struct rest_column *other = &catalog->tables[t].columns[i];
            if (other->enum_values != NULL && strcmp(other->base_type, type) == 0) {
                return true;
            }
        }
    }
    return false;
}

// A name that PostgreSQL has quoted where needed.
static void put_quoted_key(struct writer *writer, const char *name)
{
    struct cc_buffer plain = {0};
    for (name = skip_quotes(name); *name != '\0'; name = skip_quotes(name + 1)) {
        cc_buffer_append(&plain, name, 1);
    }
    put_key(writer, cc_buffer_text(&plain));
    cc_buffer_finish(&plain);
}

static void put_enums(struct writer *writer, const char *schema)
{
    const struct rest_catalog *catalog = writer->catalog;
    bool any = false;
    line_start(writer);
    open_block(writer, "Enums: {");
    for (uint32_t t = 0; t < catalog->n_tables; t++) {
        for (uint32_t i = 0; i < catalog->tables[t].n_columns; i++) {
            const struct rest_column *column = &catalog->tables[t].columns[i];
            const char *name = column->enum_values == NULL ? NULL : in_schema(column->base_type, schema);
            if (name != NULL && !was_before(catalog, t, i, column->base_type)) {
                line_start(writer);
                put_quoted_key(writer, name);
                put(writer, ": ");
                put_labels(writer, column->enum_values);
                put(writer, ";\n");
                any = true;
            }
        }
    }
    put_nothing(writer, any);
    close_block(writer, "};\n");
}

static void put_schema(struct writer *writer, const char *schema)
{
    line_start(writer);
    put_key(writer, schema);
    open_block(writer, ": {");
    put_relations(writer, schema, "Tables", false);
    put_relations(writer, schema, "Views", true);
    put_functions(writer, schema);
    put_enums(writer, schema);
    line_start(writer);
    put(writer, "CompositeTypes: { [_ in never]: never };\n");
    close_block(writer, "};\n");
}

static void put_database(struct writer *writer)
{
    open_block(writer, "{");
    line_start(writer);
    put(writer, "__InternalSupabase: { PostgrestVersion: \"14\" };\n"); // which features the client offers
    for (uint32_t i = 0; i < writer->catalog->n_schemas; i++) {
        put_schema(writer, writer->catalog->schemas[i]);
    }
    close_block(writer, "}");
}

// -- The module ------------------------------------------------------------------------------------------------------

static void put_typescript(struct writer *writer)
{
    cc_buffer_printf(writer->out, "// Types of this database at schema version %u, made by GET /_caucus/types.ts\n",
                     writer->catalog->version);
    put(writer,
        "// import { PostgrestClient } from '@supabase/postgrest-js'; new "
        "PostgrestClient<Database>('http://localhost:7101')\n\n"
        "export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];\n\n"
        "/** A strong table changes through a leader and a majority; a weak one takes writes anywhere and converges. "
        "*/\n"
        "export type Consistency = \"strong\" | \"weak\";\n\n"
        "export type Database = ");
    put_database(writer);
    put(writer, ";\n\n"
                "export type SchemaName = Exclude<keyof Database, \"__InternalSupabase\">;\n"
                "/** Names of the tables of one class: TableName<\"weak\">. */\n"
                "export type TableName<C extends Consistency = Consistency, S extends SchemaName = ");
    put_literal(writer, writer->catalog->n_schemas == 0 ? "public" : writer->catalog->schemas[0]);
    put(writer,
        "> = {\n"
        "  [T in keyof Database[S][\"Tables\"]]: Database[S][\"Tables\"][T] extends { Consistency: C } ? T : never;\n"
        "}[keyof Database[S][\"Tables\"]];\n"
        "export type StrongTable = TableName<\"strong\">;\n"
        "export type WeakTable = TableName<\"weak\">;\n");
}

static void put_jsdoc(struct writer *writer)
{
    cc_buffer_printf(writer->out, "// Types of this database at schema version %u, made by GET /_caucus/types.js\n",
                     writer->catalog->version);
    put(writer, "// /** @type {import('@supabase/postgrest-js').PostgrestClient<import('./types.js').Database>} */\n\n"
                "/** @typedef {string | number | boolean | null | JsonObject | JsonArray} Json */\n"
                "/** @typedef {{ [key: string]: Json | undefined }} JsonObject */\n"
                "/** @typedef {Array<Json>} JsonArray */\n\n"
                "/** @typedef {\"strong\" | \"weak\"} Consistency */\n\n"
                "/**\n * @typedef {");
    put_database(writer);
    put(writer, "} Database\n */\n\n"
                "/** @typedef {Exclude<keyof Database, \"__InternalSupabase\">} SchemaName */\n\n"
                "export {};\n");
}

void rest_types_put(struct cc_buffer *out, const struct rest_catalog *catalog, enum rest_types_language language)
{
    struct writer writer = {.out = out, .catalog = catalog, .comments = language == REST_TYPES_TYPESCRIPT};
    switch (language) {
    case REST_TYPES_TYPESCRIPT:
        put_typescript(&writer);
        break;
    case REST_TYPES_JSDOC:
        put_jsdoc(&writer);
        break;
    }
}
