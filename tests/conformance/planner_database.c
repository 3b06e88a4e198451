// What the proxy does around a plan, in small.
#include "conformance/planner_database.h"

#include "rest/catalog_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- PostgreSQL

void database_must(PGconn *connection, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s\n%.300s\n", PQerrorMessage(connection), sql);
        exit(1);
    }
    PQclear(result);
}

char *database_read_file(const char *directory, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, file);
    text[n] = '\0';
    fclose(file);
    return text;
}

struct cc_slice database_value(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) {
        return (struct cc_slice){0};
    }
    return cc_slice_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}

struct rest_catalog *database_catalog(PGconn *connection, const char *schemas)
{
    database_must(connection, "SET search_path TO pg_catalog");
    PGresult *result = PQexecParams(connection, rest_catalog_sql, 1, NULL, &schemas, NULL, NULL, 0);
    struct rest_catalog *catalog = NULL;
    char error[REST_CATALOG_ERROR_BYTES] = "";
    if (PQresultStatus(result) != PGRES_TUPLES_OK ||
        rest_catalog_create(database_value(result, 0, 0), &catalog, error) != CC_OK) {
        fprintf(stderr, "catalog: %s%s\n", PQerrorMessage(connection), error);
        exit(1);
    }
    PQclear(result);
    database_must(connection, "SET search_path TO public");
    return catalog;
}

static void put_element(struct cc_buffer *out, struct cc_slice value)
{
    cc_buffer_append_text(out, value.data == NULL ? "NULL" : "\"");
    for (size_t i = 0; i < value.n; i++) {
        cc_buffer_append_text(out, value.data[i] == '"' || value.data[i] == '\\' ? "\\" : "");
        cc_buffer_append(out, &value.data[i], 1);
    }
    cc_buffer_append_text(out, value.data == NULL ? "" : "\"");
}

// One parameter of all rows, as an array.
static const char *column_of(const struct rest_statement *statement, uint32_t column, struct cc_arena *arena)
{
    struct cc_buffer out = {0};
    for (uint32_t i = 0; i < rest_statement_rows(statement); i++) {
        cc_buffer_append_text(&out, i == 0 ? "{" : ",");
        bool stamp = column == statement->row_parameters;
        put_element(&out, stamp ? cc_slice_text("stamp") : statement->parameters[i * statement->row_parameters + column]);
    }
    cc_buffer_append_text(&out, "}");
    const char *text = cc_arena_text_n(arena, out.data, out.n);
    cc_buffer_finish(&out);
    return text;
}

static PGresult *run_rows(PGconn *connection, const struct rest_statement *statement, struct cc_arena *arena)
{
    uint32_t n = statement->row_parameters + statement->weak;
    const char **parameters = cc_arena_array(arena, n, sizeof(*parameters));
    for (uint32_t i = 0; i < n; i++) {
        parameters[i] = column_of(statement, i, arena);
    }
    struct cc_buffer sql = {0};
    rest_statement_put_rows(&sql, statement, false);
    PGresult *result = PQexecParams(connection, cc_arena_text_n(arena, sql.data, sql.n), (int)n, NULL, parameters, NULL, NULL, 0);
    cc_buffer_finish(&sql);
    return result;
}

// Begins a transaction with the statement's settings. NULL, or the error of one of these.
static PGresult *begin(PGconn *connection, const struct rest_statement *statement, struct cc_arena *arena)
{
    database_must(connection, statement->kind == REST_READ ? "BEGIN READ ONLY" : "BEGIN");
    for (uint32_t i = 0; i < statement->n_settings; i++) {
        const char *setting[2] = {
            cc_arena_text_n(arena, statement->settings[i].name.data, statement->settings[i].name.n),
            cc_arena_text_n(arena, statement->settings[i].value.data, statement->settings[i].value.n)};
        PGresult *set = PQexecParams(connection, "SELECT set_config($1, $2, true)", 2, NULL, setting, NULL, NULL, 0);
        if (PQresultStatus(set) != PGRES_TUPLES_OK) {
            return set;
        }
        PQclear(set);
    }
    return NULL;
}

// Each parameter n times.
static const char **arrays_of(const struct rest_statement *statement, uint32_t n, struct cc_arena *arena)
{
    const char **parameters = cc_arena_array(arena, statement->n_parameters, sizeof(*parameters));
    for (uint32_t i = 0; i < statement->n_parameters; i++) {
        struct cc_buffer array = {0};
        for (uint32_t k = 0; k < n; k++) {
            cc_buffer_append_text(&array, k == 0 ? "{" : ",");
            put_element(&array, statement->parameters[i]);
        }
        cc_buffer_append_text(&array, "}");
        parameters[i] = cc_arena_text_n(arena, array.data, array.n);
        cc_buffer_finish(&array);
    }
    return parameters;
}

PGresult *database_execute_lookups(PGconn *connection, const struct rest_statement *statement, uint32_t n, struct cc_arena *arena)
{
    PGresult *failed = begin(connection, statement, arena);
    if (failed != NULL) {
        return failed;
    }
    const char **parameters = arrays_of(statement, n, arena);
    struct cc_buffer sql = {0};
    rest_statement_put_lookups(&sql, statement);
    PGresult *result = PQexecParams(connection, cc_buffer_text(&sql), (int)statement->n_parameters, NULL, parameters, NULL, NULL, 0);
    cc_buffer_finish(&sql);
    return result;
}

PGresult *database_execute_many(PGconn *connection, const struct rest_statement *statement, struct cc_arena *arena)
{
    PGresult *failed = begin(connection, statement, arena);
    if (failed != NULL) {
        return failed;
    }
    uint32_t n = statement->n_parameters + (statement->weak ? 1 : 0);
    const char **parameters = cc_arena_array(arena, n, sizeof(*parameters));
    memcpy(parameters, arrays_of(statement, 1, arena), statement->n_parameters * sizeof(*parameters));
    if (statement->weak) {
        parameters[statement->n_parameters] = "{stamp}";
    }
    const char *sql = cc_arena_text_n(arena, statement->many.data, statement->many.n);
    return PQexecParams(connection, sql, (int)n, NULL, parameters, NULL, NULL, 0);
}

// Runs a statement inside a transaction that is begun here and left open. NULL-terminated parameters as the executor makes them.
PGresult *database_execute(PGconn *connection, const struct rest_statement *statement, struct cc_arena *arena)
{
    PGresult *failed = begin(connection, statement, arena);
    if (failed != NULL) {
        return failed;
    }
    if (rest_statement_rows(statement) > 1) {
        return run_rows(connection, statement, arena);
    }
    uint32_t n = statement->n_parameters + (statement->weak ? 1 : 0);
    const char **parameters = cc_arena_array(arena, n + 1, sizeof(*parameters));
    for (uint32_t i = 0; i < statement->n_parameters; i++) {
        const struct cc_slice parameter = statement->parameters[i];
        parameters[i] = parameter.data == NULL ? NULL : cc_arena_text_n(arena, parameter.data, parameter.n);
    }
    if (statement->weak) {
        parameters[statement->n_parameters] = "stamp";
    }
    const char *sql = cc_arena_text_n(arena, statement->sql.data, statement->sql.n);
    return PQexecParams(connection, sql, (int)n, NULL, parameters, NULL, NULL, 0);
}

// ---- the executor's part of a write

static struct cc_slice join_bodies(const struct rest_statement *statement, const PGresult *result,
                                   struct cc_arena *arena)
{
    struct cc_buffer out = {0};
    int column = PQnfields(result) - 1;
    bool any = false;
    cc_buffer_append_text(&out, statement->body_is_array ? "[" : "");
    for (int i = 0; i < PQntuples(result); i++) {
        if (!PQgetisnull(result, i, column)) {
            cc_buffer_append_text(&out, !any ? "" : statement->body_is_array ? ", \n " : "\n");
            cc_buffer_append(&out, PQgetvalue(result, i, column), (size_t)PQgetlength(result, i, column));
            any = true;
        }
    }
    cc_buffer_append_text(&out, statement->body_is_array ? "]" : "");
    struct cc_slice body =
        out.n == 0 ? (struct cc_slice){0} : cc_slice_of(cc_arena_text_n(arena, out.data, out.n), out.n);
    cc_buffer_finish(&out);
    return body;
}

bool database_keeps_contract(const struct rest_statement *statement, const PGresult *result)
{
    uint32_t n_images = statement->shape.n_columns * (statement->shape.with_old ? 2 : 1);
    return PQnfields(result) == (int)n_images + 2;
}

void database_outcome(const struct rest_statement *statement, const PGresult *result, struct cc_arena *arena,
                      struct rest_outcome *out)
{
    uint64_t n_inserted = 0;
    uint64_t n_rows = (uint64_t)PQntuples(result);
    for (int i = 0; i < PQntuples(result); i++) {
        n_inserted += strcmp(PQgetvalue(result, i, 0), "I") == 0;
    }
    *out = (struct rest_outcome){
        .kind = REST_DONE, .n_inserted = n_inserted, .body = join_bodies(statement, result, arena)};
    out->n_rows = statement->kind == REST_CALL ? rest_call_rows(out->body) : n_rows;
    (void)rest_outcome_check(statement, out->n_rows, n_inserted, arena, out); // else it is the refusal
}

void database_add(PGconn *connection, const char *directory, const char *name)
{
    char *schema = database_read_file(directory, name);
    database_must(connection, schema);
    free(schema);
}

void database_load(PGconn *connection, const char *directory, const char *name)
{
    database_add(connection, directory, name);
    database_must(
        connection,
        "CREATE SCHEMA caucus; CREATE TABLE caucus.applied (applied bigint); INSERT INTO caucus.applied VALUES (7);"
        "CREATE TABLE caucus.frontier (replica bigint, incarnation bigint, sequence bigint); GRANT SELECT ON caucus.frontier TO PUBLIC;"
        "CREATE TABLE caucus.migrations (name text); GRANT USAGE ON SCHEMA caucus TO PUBLIC; GRANT SELECT ON "
        "caucus.applied TO PUBLIC");
}
