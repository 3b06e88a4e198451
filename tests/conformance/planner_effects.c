// Effects: what the rows of a write say must be exactly what happened to the table. Each write of a list is run on a private
// PostgreSQL; the table before and after is compared with the images that the statement returned.
#include "conformance/planner_database.h"
#include "conformance/private_postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NO_POSTGRES = 77 };

struct write {
    const char *claim;
    const char *method, *path, *query, *prefer, *body;
    const char *table; // as the client names it
    enum rest_statement_kind kind;
    bool captured, weak, with_old;
    int n_inserted, n_updated, n_deleted;
    const char *reply;  // whole body; NULL: not checked
    const char *stamps; // SQL condition on the table's rows that must hold afterwards; NULL: none
};

#define MERGE "resolution=merge-duplicates"
#define ROWS  "return=representation"

static const struct write writes[] = {
    {"insert tells all columns, generated ones too", "POST", "/plain", "select=id", ROWS, "{\"id\":10,\"name\":\"x\"}",
     "plain", REST_INSERT, .n_inserted = 1, .reply = "[{\"id\":10}]"},
    {"bulk insert", "POST", "/plain", "", "", "[{\"id\":11,\"n\":2},{\"id\":12,\"n\":\"3.5\"}]", "plain", REST_INSERT,
     .n_inserted = 2},
    {"bulk insert of defaults where keys are missing", "POST", "/plain", "columns=id,name,n&select=id,n",
     "missing=default," ROWS, "[{\"id\":13,\"n\":2},{\"id\":14}]", "plain", REST_INSERT, .n_inserted = 2,
     .reply = "[{\"id\":13,\"n\":2.00}, \n {\"id\":14,\"n\":1.50}]"},
    {"missing keys of one row are NULL or the default", "POST", "/plain", "columns=id,n&select=n",
     "missing=default," ROWS, "[{\"id\":15}]", "plain", REST_INSERT, .n_inserted = 1, .reply = "[{\"n\":1.50}]"},
    {"defaults only", "POST", "/pair", "select=a", ROWS, "{\"a\":9,\"b\":\"z\"}", "pair", REST_INSERT, .n_inserted = 1},
    {"update of plain columns", "PATCH", "/plain", "id=eq.1", "", "{\"name\":\"uno\",\"n\":7}", "plain", REST_UPDATE,
     .n_updated = 1},
    {"update that sets what was there is told", "PATCH", "/plain", "id=eq.1", "", "{\"name\":\"uno\"}", "plain",
     REST_UPDATE, .n_updated = 1},
    {"update of the key tells the old key", "PATCH", "/plain", "id=eq.2", "", "{\"id\":22}", "plain", REST_UPDATE,
     .with_old = true, .n_updated = 1},
    {"update of part of a composite key", "PATCH", "/pair", "a=eq.1&select=a,b,note&order=b.desc", ROWS,
     "{\"a\":7,\"note\":\"moved\"}", "pair", REST_UPDATE, .with_old = true, .n_updated = 2,
     .reply = "[{\"a\":7,\"b\":\"y\",\"note\":\"moved\"}, \n {\"a\":7,\"b\":\"x\",\"note\":\"moved\"}]"},
    {"update of nothing", "PATCH", "/plain", "id=eq.999", ROWS, "{\"name\":\"x\"}", "plain", REST_UPDATE,
     .reply = "[]"},
    {"upsert inserts and updates", "POST", "/plain", "select=id", MERGE "," ROWS,
     "[{\"id\":1,\"name\":\"eins\"},{\"id\":30,\"name\":\"dreissig\"}]", "plain", REST_UPSERT, .n_inserted = 1,
     .n_updated = 1, .reply = "[{\"id\":1}, \n {\"id\":30}]"},
    {"upsert of the key alone", "POST", "/plain", "select=id", MERGE "," ROWS, "{\"id\":1}", "plain", REST_UPSERT,
     .n_updated = 1, .reply = "[{\"id\":1}]"},
    {"upsert by another unique column can change the key", "POST", "/coded", "on_conflict=code&select=id,code",
     MERGE "," ROWS, "[{\"id\":101,\"code\":\"A\"},{\"id\":102,\"code\":\"C\"}]", "coded", REST_UPSERT,
     .with_old = true, .n_inserted = 1, .n_updated = 1,
     .reply = "[{\"id\":101,\"code\":\"A\"}, \n {\"id\":102,\"code\":\"C\"}]"},
    {"ignored duplicates are not told", "POST", "/plain", "select=id", "resolution=ignore-duplicates," ROWS,
     "[{\"id\":1},{\"id\":31}]", "plain", REST_INSERT, .n_inserted = 1, .reply = "[{\"id\":31}]"},
    {"put", "PUT", "/plain", "id=eq.40", "", "{\"id\":40,\"name\":\"forty\"}", "plain", REST_UPSERT, .n_inserted = 1},
    {"delete tells keys", "DELETE", "/plain", "id=gte.11&id=lte.13", "", NULL, "plain", REST_DELETE, .n_deleted = 3},
    {"delete shows what was", "DELETE", "/plain", "id=eq.14&select=id,n", ROWS, NULL, "plain", REST_DELETE,
     .n_deleted = 1, .reply = "[{\"id\":14,\"n\":1.50}]"},
    {"a cascade is captured", "DELETE", "/parent", "id=eq.1", "", NULL, "parent", REST_DELETE, .captured = true,
     .n_deleted = 1},
    {"a referenced key's update is captured", "PATCH", "/parent", "id=eq.2", "", "{\"id\":3}", "parent", REST_UPDATE,
     .captured = true, .n_updated = 1},
    {"another column's is not", "PATCH", "/parent", "id=eq.3", "", "{\"name\":\"pp\"}", "parent", REST_UPDATE,
     .n_updated = 1},
    {"a trigger on update captures updates", "PATCH", "/touched", "id=eq.1", "", "{\"name\":\"b\"}", "touched",
     REST_UPDATE, .captured = true, .n_updated = 1},
    {"and no inserts", "POST", "/touched", "", "", "{\"id\":2,\"name\":\"b\"}", "touched", REST_INSERT,
     .n_inserted = 1},
    {"names that need quotes", "PATCH", "/Odd%20%22Names%22", "%22the,%20id%22=eq.1", ROWS, "{\"se\\\"lect\":\"w\"}",
     "Odd \"Names\"", REST_UPDATE, .n_updated = 1, .reply = "[{\"the, id\":1,\"se\\\"lect\":\"w\"}]"},
    {"a table without a key takes inserts", "POST", "/keyless", "", "", "[{\"v\":\"a\"},{\"v\":\"b\"}]", "keyless",
     REST_INSERT, .n_inserted = 2},
    {"weak insert", "POST", "/presence", "select=status,mood", ROWS, "{\"status\":\"in\",\"tags\":[\"a b\",\"c\"]}",
     "presence", REST_INSERT, .weak = true, .n_inserted = 1, .reply = "[{\"status\":\"in\",\"mood\":\"calm\"}]",
     .stamps = "_caucus = '{\"\": \"stamp\"}' OR mood IS DISTINCT FROM 'calm'"},
    {"weak bulk insert", "POST", "/weak_pair", "", "",
     "[{\"a\":\"k\",\"b\":2,\"v\":null},{\"a\":\"k\",\"b\":3,\"v\":[1]}]", "weak_pair", REST_INSERT, .weak = true,
     .n_inserted = 2, .stamps = "_caucus = '{\"\": \"stamp\"}' OR b = 1"},
    {"weak update tells both images", "PATCH", "/presence", "id=eq.00000000-0000-0000-0000-000000000001", "",
     "{\"status\":\"away\",\"mood\":null}", "presence", REST_UPDATE, .weak = true, .with_old = true, .n_updated = 1,
     .stamps = "_caucus = '{\"\": \"s0\", \"mood\": \"stamp\", \"status\": \"stamp\"}' OR status <> 'away'"},
    {"weak update of a row without stamps", "PATCH", "/presence", "status=eq.out&select=*", ROWS, "{\"mood\":\"low\"}",
     "presence", REST_UPDATE, .weak = true, .with_old = true, .n_updated = 1,
     .reply = "[{\"id\":\"00000000-0000-0000-0000-000000000002\",\"status\":\"out\",\"mood\":\"low\",\"tags\":null}]",
     .stamps = "_caucus = '{\"mood\": \"stamp\"}' OR status <> 'out'"},
    {"weak upsert inserts and merges, in order", "POST", "/weak_pair", "select=b", MERGE "," ROWS,
     "[{\"a\":\"k\",\"b\":9,\"v\":{}},{\"a\":\"k\",\"b\":1,\"v\":{\"y\":2}}]", "weak_pair", REST_UPSERT, .weak = true,
     .with_old = true, .n_inserted = 1, .n_updated = 1, .reply = "[{\"b\":9}, \n {\"b\":1}]",
     .stamps = "_caucus = '{\"\": \"s0\", \"+\": \"stamp\", \"v\": \"stamp\"}' OR b <> 1"},
    {"weak upsert of the key alone", "POST", "/weak_pair", "", MERGE, "{\"a\":\"k\",\"b\":2}", "weak_pair", REST_UPSERT,
     .weak = true, .with_old = true, .n_updated = 1,
     .stamps = "_caucus = '{\"\": \"stamp\", \"+\": \"stamp\"}' OR b <> 2"},
    {"weak delete tells what was", "DELETE", "/presence", "status=eq.out&select=mood", ROWS, NULL, "presence",
     REST_DELETE, .weak = true, .with_old = true, .n_deleted = 1, .reply = "[{\"mood\":\"low\"}]"},
};

struct run {
    PGconn *connection;
    struct rest_catalog *catalog;
    unsigned n_failed, n_many;
    const struct write *write;
};

static void complain(struct run *run, const char *what)
{
    fprintf(stderr, "FAIL %s: %s\n", run->write->claim, what);
    run->n_failed++;
}

// ---- tables before and after

static PGresult *rows_of(PGconn *connection, const struct rest_table *table)
{
    struct cc_buffer sql = {0};
    cc_buffer_append_text(&sql, "SELECT ");
    for (uint32_t i = 0; i < table->n_columns; i++) {
        char *name = PQescapeIdentifier(connection, table->columns[i].name, strlen(table->columns[i].name));
        cc_buffer_printf(&sql, "%s%s", i == 0 ? "" : ", ", name);
        PQfreemem(name);
    }
    cc_buffer_printf(&sql, " FROM %s", table->qualified);
    PGresult *result = PQexec(connection, cc_buffer_text(&sql));
    cc_buffer_finish(&sql);
    return result;
}

static bool same_value(struct cc_slice a, struct cc_slice b)
{
    return (a.data == NULL) == (b.data == NULL) && cc_slice_equal(a, b);
}

// Position of the shape's column in the table.
static uint32_t position_of(const struct rest_table *table, const struct rest_shape *shape, uint32_t i)
{
    return (uint32_t)rest_table_column(table, shape->columns[i].name);
}

// Row of `rows` whose key (all columns, when there is none) is the image's, or -1. The image starts at `column` of the result.
static int find_row(const struct rest_table *table, const struct rest_shape *shape, const PGresult *rows,
                    const PGresult *result, int row, int column)
{
    for (int i = 0; i < PQntuples(rows); i++) {
        bool same = true;
        for (uint32_t k = 0; k < shape->n_columns && same; k++) {
            bool compared = (shape->columns[k].flags & REST_COLUMN_KEY) != 0 || table->n_key == 0;
            same = !compared || same_value(database_value(rows, i, (int)position_of(table, shape, k)),
                                           database_value(result, row, column + (int)k));
        }
        if (same) {
            return i;
        }
    }
    return -1;
}

static bool same_image(const struct rest_table *table, const struct rest_shape *shape, const PGresult *rows, int at,
                       const PGresult *result, int row, int column)
{
    for (uint32_t k = 0; k < shape->n_columns; k++) {
        if (!same_value(database_value(rows, at, (int)position_of(table, shape, k)),
                        database_value(result, row, column + (int)k))) {
            return false;
        }
    }
    return true;
}

struct tables {
    const struct rest_table *table;
    PGresult *before, *after;
};

static void check_row(struct run *run, const struct tables *tables, const struct rest_shape *shape,
                      const PGresult *result, int row, char tag)
{
    int n = (int)shape->n_columns;
    int old_column = shape->with_old && tag != 'I' ? 1 + n : 1;
    int before = find_row(tables->table, shape, tables->before, result, row, old_column);
    int after = find_row(tables->table, shape, tables->after, result, row, 1);
    if (tag != 'D' && (after < 0 || !same_image(tables->table, shape, tables->after, after, result, row, 1))) {
        complain(run, "the new image is not in the table");
    }
    if (tag == 'D' && after >= 0) {
        complain(run, "a deleted row is there");
    }
    if (tag == 'I' && before >= 0 && tables->table->n_key > 0) {
        complain(run, "an inserted row was there");
    }
    if (tag != 'I' && before < 0) {
        complain(run, "the row was not there before");
    } else if (tag != 'I' && shape->with_old &&
               !same_image(tables->table, shape, tables->before, before, result, row, old_column)) {
        complain(run, "the old image is not what was");
    }
}

static void check_rows(struct run *run, const struct tables *tables, const struct rest_statement *statement,
                       const PGresult *result)
{
    int n[3] = {0};
    static const char tags[] = "IUD";
    for (int row = 0; row < PQntuples(result); row++) {
        const char *tag = strchr(tags, PQgetvalue(result, row, 0)[0]);
        if (tag == NULL || *tag == '\0') {
            complain(run, "unknown tag");
            return;
        }
        n[tag - tags]++;
        if (!statement->captured) {
            check_row(run, tables, &statement->shape, result, row, *tag);
        }
    }
    if (n[0] != run->write->n_inserted || n[1] != run->write->n_updated || n[2] != run->write->n_deleted) {
        complain(run, "other rows are told than expected");
    }
    int grown = PQntuples(tables->after) - PQntuples(tables->before);
    if (grown != n[0] - n[2]) {
        complain(run, "more or fewer rows changed than are told");
    }
}

static void check_statement(struct run *run, const struct rest_statement *statement, const PGresult *result)
{
    const struct write *write = run->write;
    if (statement->kind != write->kind || statement->captured != write->captured || statement->weak != write->weak) {
        complain(run, "kind of statement");
    }
    if (statement->shape.with_old != write->with_old || (statement->captured && statement->shape.n_columns != 0)) {
        complain(run, "shape");
    }
    if (!database_keeps_contract(statement, result)) {
        complain(run, "result columns");
    }
}

// What need not come back is what came back.
static void check_given(struct run *run, const struct rest_statement *statement, const PGresult *result)
{
    for (uint32_t i = 0; statement->given != NULL && i < statement->shape.n_columns; i++) {
        uint32_t given = statement->given[i];
        for (int row = 0; given > 0 && row < PQntuples(result); row++) {
            struct cc_slice parameter = statement->parameters[(uint32_t)row * statement->row_parameters + given - 1];
            bool null = PQgetisnull(result, row, (int)(1 + i));
            if (null != (parameter.data == NULL) || (!null && !cc_slice_equal_text(parameter, PQgetvalue(result, row, (int)(1 + i))))) {
                complain(run, "a value is not stored as it is given");
            }
        }
    }
}

// Undone, and run again by the text for many: it sets the same, and says the same.
static void check_many(struct run *run, const struct rest_statement *statement, const PGresult *result, struct cc_arena *arena)
{
    if (statement->many.n == 0) {
        return;
    }
    run->n_many++;
    database_must(run->connection, "ROLLBACK");
    PGresult *many = database_execute_many(run->connection, statement, arena);
    bool same = PQntuples(many) == PQntuples(result) && PQnfields(many) == PQnfields(result) + 1;
    for (int row = 0; same && row < PQntuples(many); row++) {
        same = strcmp(PQgetvalue(many, row, PQnfields(result)), "1") == 0;
        for (int i = 0; same && i < PQnfields(result); i++) {
            same = PQgetisnull(many, row, i) == PQgetisnull(result, row, i) && strcmp(PQgetvalue(many, row, i), PQgetvalue(result, row, i)) == 0;
        }
    }
    if (PQresultStatus(many) != PGRES_TUPLES_OK || !same) {
        complain(run, "the text for many does something else");
        fprintf(stderr, "  %.*s%s\n", (int)statement->many.n, (const char *)statement->many.data, PQerrorMessage(run->connection));
    }
    PQclear(many);
}

static void check_reply(struct run *run, const struct rest_plan *plan, const PGresult *result, struct cc_arena *arena)
{
    struct rest_outcome outcome;
    struct rest_reply reply;
    database_outcome(&plan->statement, result, arena, &outcome);
    rest_reply_write(plan, &outcome, arena, &reply);
    if (run->write->reply != NULL && !cc_slice_equal_text(reply.body, run->write->reply)) {
        complain(run, "reply");
        fprintf(stderr, "  %.*s\n", (int)reply.body.n, (const char *)reply.body.data);
    }
}

static void check_stamps(struct run *run, const struct rest_table *table)
{
    if (run->write->stamps == NULL) {
        return;
    }
    char sql[1000];
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s WHERE (%s) IS NOT TRUE", table->qualified, run->write->stamps);
    PGresult *result = PQexec(run->connection, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || strcmp(PQgetvalue(result, 0, 0), "0") != 0) {
        complain(run, "stamps");
        fprintf(stderr, "  %s%s\n", sql, PQerrorMessage(run->connection));
    }
    PQclear(result);
}

static void execute(struct run *run, const struct rest_plan *plan, struct cc_arena *arena)
{
    struct tables tables = {.table = rest_catalog_table(run->catalog, "public", cc_slice_text(run->write->table))};
    tables.before = rows_of(run->connection, tables.table);
    PGresult *result = database_execute(run->connection, &plan->statement, arena);
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        tables.after = rows_of(run->connection, tables.table);
        check_statement(run, &plan->statement, result);
        check_given(run, &plan->statement, result);
        check_rows(run, &tables, &plan->statement, result);
        check_reply(run, plan, result, arena);
        check_stamps(run, tables.table);
        check_many(run, &plan->statement, result, arena);
        check_stamps(run, tables.table);
        PQclear(tables.after);
        database_must(run->connection, "COMMIT");
    } else {
        complain(run, PQresultErrorMessage(result));
        fprintf(stderr, "  %.*s\n", (int)plan->statement.sql.n, (const char *)plan->statement.sql.data);
        database_must(run->connection, "ROLLBACK");
    }
    PQclear(tables.before);
    PQclear(result);
}

static void run_write(struct run *run, const struct write *write)
{
    struct cc_arena arena;
    struct rest_plan plan;
    cc_arena_init(&arena);
    run->write = write;
    struct rest_header headers[] = {{cc_slice_text("Prefer"), cc_slice_text(write->prefer)},
                                    {cc_slice_text("Content-Type"), cc_slice_text("application/json")}};
    struct rest_request request = {
        .method = cc_slice_text(write->method),
        .path = cc_slice_text(write->path),
        .query = cc_slice_text(write->query),
        .n_headers = 2,
        .headers = headers,
        .body = cc_slice_text(write->body),
    };
    rest_plan_create(run->catalog, &request, &arena, &plan);
    if (plan.kind != REST_PLAN_WRITE) {
        complain(run, "no write is planned");
        fprintf(stderr, "  %.*s\n", (int)plan.answer.body.n, (const char *)plan.answer.body.data);
    } else {
        execute(run, &plan, &arena);
    }
    cc_arena_finish(&arena);
}

int main(int argc, char **argv)
{
    struct private_postgres postgres;
    if (argc < 2 || !private_postgres_start(&postgres)) {
        return NO_POSTGRES;
    }
    struct run run = {.connection = PQconnectdb(postgres.conninfo)};
    database_load(run.connection, argv[1], "effects.sql");
    run.catalog = database_catalog(run.connection, "{public}");
    size_t n = sizeof(writes) / sizeof(writes[0]);
    for (size_t i = 0; i < n; i++) {
        run_write(&run, &writes[i]);
    }
    printf("%zu writes, %u by a text for many, too, %u failures\n", n, run.n_many, run.n_failed);
    rest_catalog_destroy(run.catalog);
    PQfinish(run.connection);
    private_postgres_stop(&postgres);
    return run.n_failed == 0 && run.n_many > 0 ? 0 : 1;
}
