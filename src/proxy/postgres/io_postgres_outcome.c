// Outcomes: what executed statements answered, or PostgreSQL's error.
#include "proxy/postgres/io_postgres_internal.h"

#include <string.h>

struct cc_slice pg_outcome_encode(struct cc_arena *arena, const struct rest_outcome *outcome)
{
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, outcome);
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return copy;
}

struct cc_slice pg_outcome_failed(struct cc_arena *arena, const char *code, const char *message, const char *details, const char *hint)
{
    return pg_outcome_encode(arena, &(struct rest_outcome){.kind = REST_FAILED,
                                                .code = cc_slice_text(code),
                                                .message = cc_slice_text(message),
                                                .details = cc_slice_text(details),
                                                .hint = cc_slice_text(hint)});
}

// Errors that say something about the server's condition, not about the request: nothing was executed, another time it may be.
static bool is_passing(const char *sqlstate)
{
    static const char *const classes[] = {"08", "40", "53", "57", "58"};
    if (strcmp(sqlstate, "57014") == 0) { // cancelled: it would take too long another time, too
        return false;
    }
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (strncmp(sqlstate, classes[i], 2) == 0) {
            return true;
        }
    }
    return strcmp(sqlstate, "55P03") == 0; // a lock was not available
}

bool pg_error_passes(const PGresult *result)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return code != NULL && (is_passing(code) || strcmp(code, "57014") == 0);
}

// "Failing row contains (...)" shows all columns: of a weak row its stamps, too, which nobody is to see.
static const char *details_of(const PGresult *result, bool weak)
{
    const char *details = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool shows_row = code != NULL && (strcmp(code, "23502") == 0 || strcmp(code, "23514") == 0);
    return weak && shows_row ? NULL : details;
}

struct cc_slice pg_outcome_of_error(struct cc_arena *arena, const PGresult *result, bool weak)
{
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    code = code == NULL ? "XX000" : code;
    if (strcmp(code, "57014") == 0) {
        message = "The write took longer than its time limit: it was cancelled and changed nothing";
    }
    struct rest_outcome outcome = {.kind = is_passing(code) ? REST_REFUSED : REST_FAILED,
                                   .code = cc_slice_text(code),
                                   .message = cc_slice_text(message == NULL ? "unknown error" : message),
                                   .details = cc_slice_text(details_of(result, weak)),
                                   .hint = cc_slice_text(PQresultErrorField(result, PG_DIAG_MESSAGE_HINT))};
    if (outcome.kind == REST_REFUSED) {
        outcome.status = CC_UNAVAILABLE;
    }
    return pg_outcome_encode(arena, &outcome);
}

uint64_t pg_inserted_rows(const struct pg_rows *rows)
{
    uint64_t n = rows->brief ? (uint64_t)rows->n : 0;
    for (int i = 0; !rows->brief && i < rows->n; i++) {
        n += cc_slice_equal_text(pg_result_value(rows->result, rows->first + i, 0), "I");
    }
    return n;
}

static void join_bodies(const struct rest_statement *statement, const struct pg_rows *rows, struct cc_buffer *body_out, bool *has_body_out)
{
    int column = PQnfields(rows->result) - rows->n_hidden - 1;
    bool array = statement->body_is_array;
    *has_body_out = array;
    if (array) {
        cc_buffer_append_text(body_out, "[");
    }
    size_t n = 0;
    for (int i = 0; column >= 0 && i < rows->n; i++) { // without columns nothing was asked back
        struct cc_slice body = pg_result_value(rows->result, rows->first + i, column);
        if (body.data == NULL) {
            continue;
        }
        if (n++ > 0) {
            cc_buffer_append_text(body_out, array ? ", \n " : "\n"); // as json_agg writes it
        }
        cc_buffer_append_slice(body_out, body);
        *has_body_out = true;
    }
    if (array) {
        cc_buffer_append_text(body_out, "]");
    }
}

static void put_one(struct cc_buffer *out, const struct rest_statement *statement, const struct pg_rows *rows, uint64_t *n_rows,
                    uint64_t *n_inserted)
{
    struct rest_outcome outcome = {.kind = REST_DONE, .n_rows = (uint64_t)rows->n, .n_inserted = pg_inserted_rows(rows)};
    struct cc_buffer body = {0};
    bool has_body = false;
    join_bodies(statement, rows, &body, &has_body);
    if (has_body) {
        cc_buffer_reserve(&body, 1); // empty is not NULL
        outcome.body = cc_buffer_slice(&body);
    }
    rest_outcome_put(out, &outcome);
    cc_buffer_finish(&body);
    *n_rows += outcome.n_rows;
    *n_inserted += outcome.n_inserted;
}

struct cc_slice pg_outcome_done(struct cc_arena *arena, const struct rest_statement *statements, const struct pg_rows *rows, uint32_t n)
{
    struct rest_outcome all = {.kind = REST_DONE};
    struct cc_buffer one = {0};
    struct cc_buffer body = {0}; // of several: each one's outcome, as a string
    for (uint32_t i = 0; i < n; i++) {
        cc_buffer_clear(&one);
        put_one(&one, &statements[i], &rows[i], &all.n_rows, &all.n_inserted);
        if (n > 1) {
            cc_put_string(&body, cc_buffer_slice(&one));
        }
    }
    struct cc_slice outcome;
    if (n == 1) {
        outcome = cc_arena_slice(arena, cc_buffer_slice(&one));
    } else {
        all.body = cc_buffer_slice(&body);
        outcome = pg_outcome_encode(arena, &all);
    }
    cc_buffer_finish(&one);
    cc_buffer_finish(&body);
    return outcome;
}
