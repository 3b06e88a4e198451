// Conformance of the planner: every case of cases.json and more_cases.json is planned, its statement run on a private PostgreSQL as the proxy
// would run it, and the reply compared. No proxy, no HTTP: what fails here is the dialect itself.
//
//   conformance_planner <directory with these and schema.sql, more_schema.sql> [case]
#include "conformance/planner_database.h"
#include "conformance/private_postgres.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NO_POSTGRES = 77 };

struct run {
    PGconn *connection;
    struct rest_catalog *catalog;
    unsigned n_passed, n_failed, n_skipped, n_lookups;
};

// Wanted differences, and what the shell does around the planner.
static const char *const skipped[] = {
    "delete-or-filter",    // a table without a primary key takes inserts only
    "auth-member-allowed", // tokens are read by the shell
    "auth-lowercase-bearer", "err-auth-bad-signature", "err-auth-expired", "err-auth-malformed",
};

static struct cc_slice field_of(const PGresult *result, int code)
{
    return cc_slice_text(PQresultErrorField(result, code));
}

static bool is_skipped(const char *name)
{
    for (size_t i = 0; i < sizeof(skipped) / sizeof(skipped[0]); i++) {
        if (strcmp(skipped[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void answer_write(struct run *run, const struct rest_plan *plan, PGresult *result, struct cc_arena *arena,
                         struct rest_reply *reply)
{
    struct rest_outcome outcome;
    if (!database_keeps_contract(&plan->statement, result)) {
        fprintf(stderr, "result columns do not follow statement.h: %d\n", PQnfields(result));
        run->n_failed++;
    }
    database_outcome(&plan->statement, result, arena, &outcome);
    rest_reply_write(plan, &outcome, arena, reply);
    database_must(run->connection, outcome.kind == REST_DONE && !plan->statement.roll_back ? "COMMIT" : "ROLLBACK");
}

static void answer_explained(struct run *run, const struct rest_plan *plan, PGresult *result, struct cc_arena *arena,
                             struct rest_reply *reply)
{
    struct cc_buffer text = {0};
    for (int i = 0; i < PQntuples(result); i++) {
        cc_buffer_append_text(&text, i == 0 ? "" : "\n");
        cc_buffer_append_text(&text, PQgetvalue(result, i, 0));
    }
    rest_reply_explained(plan, cc_buffer_slice(&text), arena, reply);
    cc_buffer_finish(&text);
    database_must(run->connection, "COMMIT");
}

static struct cc_slice ask_estimate(struct run *run, const struct rest_plan *plan, struct cc_arena *arena)
{
    if (plan->estimate.sql.data == NULL) {
        return (struct cc_slice){0};
    }
    PGresult *result = database_execute(run->connection, &plan->estimate, arena);
    struct cc_slice text = cc_arena_slice(arena, database_value(result, 0, 0));
    PQclear(result);
    database_must(run->connection, "COMMIT");
    return text;
}

static struct cc_slice value_if_any(const PGresult *result, int column)
{
    return column < PQnfields(result) ? database_value(result, 0, column) : (struct cc_slice){0};
}

static void answer_read(struct run *run, const struct rest_plan *plan, PGresult *result, struct cc_slice estimate,
                        struct cc_arena *arena, struct rest_reply *reply)
{
    struct rest_read_result row = {
        .applied = database_value(result, 0, 0),
        .body = cc_arena_slice(arena, database_value(result, 0, 1)),
        .page = value_if_any(result, 2),
        .total = value_if_any(result, 3),
        .headers = value_if_any(result, 4),
        .status = value_if_any(result, 5),
        .estimate = estimate,
    };
    rest_reply_read(plan, &row, arena, reply);
    database_must(run->connection, "COMMIT");
}

static bool is_same_row(const PGresult *one, const PGresult *many, int row)
{
    bool same = PQresultStatus(many) == PQresultStatus(one);
    if (!same || PQresultStatus(one) != PGRES_TUPLES_OK) {
        return same;
    }
    same = PQntuples(many) == 2 && PQnfields(many) == PQnfields(one) + 1 && atoi(PQgetvalue(many, row, PQnfields(one))) == row + 1;
    for (int i = 0; same && i < PQnfields(one); i++) {
        struct cc_slice a = database_value(one, 0, i), b = database_value(many, row, i);
        same = cc_slice_equal(a, b) && (a.data == NULL) == (b.data == NULL);
    }
    return same;
}

// A read that may be run together with others of the same text gives the same then.
static void check_lookup(struct run *run, const struct rest_statement *statement, const PGresult *result, struct cc_arena *arena)
{
    if (statement->lookup == NULL) {
        return;
    }
    database_must(run->connection, PQresultStatus(result) == PGRES_TUPLES_OK ? "COMMIT" : "ROLLBACK");
    PGresult *twice = database_execute_lookups(run->connection, statement, 2, arena);
    bool same = is_same_row(result, twice, 0) && is_same_row(result, twice, 1);
    if (!same) {
        fprintf(stderr, "as one of two lookups it gives something else: %s\n", PQerrorMessage(run->connection));
    }
    run->n_failed += !same;
    run->n_lookups++;
    PQclear(twice);
}

static void answer(struct run *run, const struct rest_plan *plan, struct cc_arena *arena, struct rest_reply *reply)
{
    if (plan->kind == REST_PLAN_ANSWER || plan->kind == REST_PLAN_NOT_IN_CATALOG) {
        *reply = plan->answer;
        return;
    }
    struct cc_slice estimate = ask_estimate(run, plan, arena);
    PGresult *result = database_execute(run->connection, &plan->statement, arena);
    check_lookup(run, &plan->statement, result, arena);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        rest_reply_failed(plan, field_of(result, PG_DIAG_SQLSTATE), field_of(result, PG_DIAG_MESSAGE_PRIMARY),
                          field_of(result, PG_DIAG_MESSAGE_DETAIL), field_of(result, PG_DIAG_MESSAGE_HINT), arena,
                          reply);
        database_must(run->connection, "ROLLBACK");
    } else if (plan->facts.is_explained) {
        answer_explained(run, plan, result, arena, reply);
    } else if (plan->kind == REST_PLAN_READ) {
        answer_read(run, plan, result, estimate, arena, reply);
    } else {
        answer_write(run, plan, result, arena, reply);
    }
    PQclear(result);
}

// ---- requests and expectations

static void make_request(const json_t *item, struct cc_arena *arena, struct rest_request *request)
{
    const char *path = json_string_value(json_object_get(item, "path"));
    const char *mark = strchr(path, '?');
    const json_t *headers = json_object_get(item, "headers");
    const json_t *body = json_object_get(item, "body");
    *request = (struct rest_request){
        .method = cc_slice_text(json_string_value(json_object_get(item, "method"))),
        .path = mark == NULL ? cc_slice_text(path) : cc_slice_of(path, (size_t)(mark - path)),
        .query = mark == NULL ? (struct cc_slice){0} : cc_slice_text(mark + 1),
        .body = json_is_string(body) ? cc_slice_of(json_string_value(body), json_string_length(body))
                                     : (struct cc_slice){0},
        .identity = {.role = cc_slice_text("h1_anon"), .anonymous = true},
        .options = {.aggregates = true, .roll_back_allowed = true, .plans_allowed = true},
    };
    request->options.rows_max = (uint64_t)json_integer_value(json_object_get(item, "rows_max"));
    struct rest_header *list = cc_arena_array(arena, json_object_size(headers), sizeof(*list));
    const char *name;
    const json_t *text;
    json_object_foreach((json_t *)headers, name, text)
    {
        list[request->n_headers++] = (struct rest_header){cc_slice_text(name), cc_slice_text(json_string_value(text))};
    }
    request->headers = list;
}

static struct cc_slice reply_header(const struct rest_reply *reply, const char *name)
{
    for (uint32_t i = 0; i < reply->n_headers; i++) {
        if (cc_slice_equal_fold(reply->headers[i].name, name)) {
            return reply->headers[i].value;
        }
    }
    return (struct cc_slice){0};
}

static bool complain(const char *name, const char *what)
{
    fprintf(stderr, "FAIL %s: %s\n", name, what);
    return false;
}

static bool check_headers(const char *name, const json_t *expected, const struct rest_reply *reply)
{
    const char *header;
    const json_t *wanted;
    json_object_foreach((json_t *)expected, header, wanted)
    {
        struct cc_slice got = reply_header(reply, header);
        if (strcmp(header, "Content-Length") == 0) { // the server's
            continue;
        }
        bool ok = json_is_null(wanted) ? got.data == NULL
                                       : got.data != NULL && cc_slice_equal_text(got, json_string_value(wanted));
        if (!ok) {
            return complain(name, header);
        }
    }
    return true;
}

static bool is_subset(const json_t *part, const json_t *whole)
{
    const char *key;
    const json_t *wanted;
    json_object_foreach((json_t *)part, key, wanted)
    {
        if (!json_equal(wanted, json_object_get(whole, key))) {
            return false;
        }
    }
    return true;
}

static bool check_body(const char *name, const json_t *expected, const struct rest_reply *reply)
{
    const json_t *wanted = json_object_get(expected, "body");
    const json_t *subset = json_object_get(expected, "body_subset");
    const json_t *raw = json_object_get(expected, "raw");
    const json_t *parts = json_object_get(expected, "body_contains");
    json_t *got =
        json_loadb(reply->body.n == 0 ? "" : (const char *)reply->body.data, reply->body.n, JSON_DECODE_ANY, NULL);
    bool ok = wanted == NULL || json_is_null(wanted) || json_equal(wanted, got);
    ok = ok && (subset == NULL || (json_is_object(got) && is_subset(subset, got)));
    ok = ok && (raw == NULL || cc_slice_equal_text(reply->body, json_string_value(raw)));
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const char *part = json_string_value(json_array_get(parts, i));
        ok = ok && reply->body.n > 0 && memmem(reply->body.data, reply->body.n, part, strlen(part)) != NULL;
    }
    json_decref(got);
    return ok || complain(name, "body");
}

static bool check(const char *name, const json_t *expected, const struct rest_reply *reply)
{
    int status = (int)json_integer_value(json_object_get(expected, "status"));
    bool ok = status == reply->status || complain(name, "status");
    ok = check_headers(name, json_object_get(expected, "headers"), reply) && ok;
    return check_body(name, expected, reply) && ok;
}

static void show(const struct rest_plan *plan, const struct rest_reply *reply)
{
    fprintf(stderr, "  sql: %.*s\n", (int)plan->statement.sql.n,
            plan->statement.sql.n == 0 ? "" : (const char *)plan->statement.sql.data);
    for (uint32_t i = 0; i < plan->statement.n_parameters; i++) {
        const struct cc_slice parameter = plan->statement.parameters[i];
        fprintf(stderr, "  $%u: %.*s\n", i + 1, (int)parameter.n, parameter.n == 0 ? "" : (const char *)parameter.data);
    }
    fprintf(stderr, "  got: %d\n", reply->status);
    for (uint32_t i = 0; i < reply->n_headers; i++) {
        fprintf(stderr, "    %.*s: %.*s\n", (int)reply->headers[i].name.n, (const char *)reply->headers[i].name.data,
                (int)reply->headers[i].value.n, (const char *)reply->headers[i].value.data);
    }
    fprintf(stderr, "    %.*s\n", (int)reply->body.n, reply->body.n == 0 ? "" : (const char *)reply->body.data);
}

static void run_case(struct run *run, const json_t *item, bool verbose)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    if (is_skipped(name) || json_is_true(json_object_get(item, "cluster"))) { // weak tables, or what the shell does around the planner
        run->n_skipped++;
        return;
    }
    struct cc_arena arena;
    struct rest_request request;
    struct rest_plan plan;
    struct rest_reply reply = {0};
    cc_arena_init(&arena);
    make_request(item, &arena, &request);
    rest_plan_create(run->catalog, &request, &arena, &plan);
    answer(run, &plan, &arena, &reply);
    bool ok = check(name, json_object_get(item, "expect"), &reply);
    run->n_passed += ok;
    run->n_failed += !ok;
    if (!ok || verbose) {
        show(&plan, &reply);
    }
    cc_arena_finish(&arena);
}

static void run_file(struct run *run, const char *directory, const char *name, const char *only)
{
    char *text = database_read_file(directory, name);
    json_error_t error;
    json_t *cases = json_loads(text, 0, &error);
    if (!json_is_array(cases)) {
        fprintf(stderr, "%s:%d: %s\n", name, error.line, error.text);
        run->n_failed++;
    }
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        bool named = only != NULL && strcmp(only, json_string_value(json_object_get(item, "name"))) == 0;
        run_case(run, item, named);
    }
    json_decref(cases);
    free(text);
}

int main(int argc, char **argv)
{
    struct private_postgres postgres;
    if (argc < 2 || !private_postgres_start(&postgres)) {
        return NO_POSTGRES;
    }
    PGconn *first = PQconnectdb(postgres.conninfo);
    database_load(first, argv[1], "schema.sql");
    database_add(first, argv[1], "more_schema.sql");
    PQfinish(first);
    struct run run = {.connection = PQconnectdb(postgres.conninfo)}; // again: the schema sets database defaults
    run.catalog = database_catalog(run.connection, "{public,tenant2}");

    const char *only = argc > 2 ? argv[2] : NULL;
    run_file(&run, argv[1], "cases.json", only);
    run_file(&run, argv[1], "more_cases.json", only);
    printf("%u passed, %u failed, %u skipped; %u are lookups by key\n", run.n_passed, run.n_failed, run.n_skipped, run.n_lookups);

    bool ok = run.n_passed > 0 && run.n_failed == 0 && (only != NULL || run.n_lookups > 0);
    rest_catalog_destroy(run.catalog);
    PQfinish(run.connection);
    private_postgres_stop(&postgres);
    return ok ? 0 : 1;
}
