// EXECUTE and WEAK_EXECUTE: a batch of operations in the open transaction, all in one go; when one fails, back to where the
// run began and on without it.
//
//   chunk: BEGIN or SAVEPOINT, the statements of its operations, one sync --> all well: take effects and outcomes, next chunk
//      ^                                                                  \-> one failed: its outcome is known (it failed on
//      +--- roll back; the operations before it again, then those behind it <--  the state that its neighbours left); settle it
//
// The first chunk is the whole batch; after a failure chunks are short, so that a bad neighbour costs little.
// Inserts of one row with the same text that follow each other are one statement (rest_statement.row_at), as long as none fails; so are
// updates of one row each by different keys (rest_statement.many), and so are the rows of one insert: INSERT ... SELECT from arrays where the text allows it, otherwise with several rows behind VALUES.
#include "proxy/postgres/io_postgres_internal.h"

#include "base/hash.h"
#include "base/memory.h"
#include "proxy/postgres/io_postgres_weak.h"
#include "rest/reply.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_AFTER_FAILURE = 16, RUN_MAX = 64, SETTINGS_MAX = 66, LIMIT_MS_MIN = 500, LIMIT_MS_DEFAULT = 30000 };

struct execute_item {
    struct operation operation;
    PGresult **results;  // per statement; of a run that is not weak only the first item's, for all
    struct pg_rows *rows; // per statement, what it wrote
    PGresult **captured; // per statement, and one at the end (deferred triggers)
    bool settled;        // its outcome is known, it does not run (again)
    bool stored;         // the outcome came from caucus.requests
    uint32_t n_run;      // it and those behind it that its statement speaks for; 0: itself only
    uint32_t twin;       // 1 + the item of this batch that has the same Idempotency-Key
    struct cc_slice outcome, change;
    struct pg_digests digests; // of weak tables, as far as it has changed them
};

struct execute {
    struct pg_job *job;
    struct pg_lane *lane;
    bool weak;
    uint32_t n;
    struct execute_item *items;
    uint32_t first, end, chunk_max; // the chunk: [first, end)
    bool saved;                     // it began with a savepoint
    bool looked_up;
    bool plans_forgotten;
    bool failed;
    uint32_t failed_item;
    struct cc_slice failure; // its outcome
    bool retry;              // nobody's fault: the chunk again
    bool one_by_one;         // a statement for several items has failed, or was not what it should be
    bool run_failed;
    PGresult *lookup;
    PGresult *sequences;
    struct pg_parts parts;  // of the chunk's rows in tables with merge types
    struct cc_slice *asked; // tables to be described
    size_t n_asked;
    struct effect_builder effects;
};

// What an answer is of: packed into its number.
enum answer { ANSWER_STATEMENT, ANSWER_CAPTURE, ANSWER_OTHER, ANSWER_CLEAN, ANSWER_LOOKUP, ANSWER_SEQUENCES, ANSWER_TOMBSTONES };

static uint64_t answer_number(uint32_t item, uint32_t statement, enum answer what)
{
    return (uint64_t)item << 32 | (uint64_t)statement << 8 | (uint64_t)what;
}

static void send_chunk(struct execute *execute);

static bool needs_capture(const struct rest_statement *statement)
{
    // What is deleted from a weak table leaves a tombstone with its stamps, which RETURNING does not tell.
    return statement->captured || (statement->weak && statement->kind == REST_DELETE);
}

// It may run code of users: whatever that leaves in the session must not meet the next one.
static bool item_needs_cleaning(const struct execute *execute, uint32_t index)
{
    const struct operation *operation = &execute->items[index].operation;
    for (uint32_t i = 0; pg_executor_has_turn(execute->lane) && i < operation->n_statements; i++) {
        if (operation->statements[i].captured || operation->statements[i].runs_code) {
            return true;
        }
    }
    return false;
}

// Rows that such code may have written come in the forms that it has set.
static bool tells(const struct execute_item *item)
{
    for (uint32_t i = 0; i < item->operation.n_statements; i++) {
        if (item->operation.statements[i].runs_code && !item->operation.statements[i].captured) {
            return true;
        }
    }
    return false;
}

static bool item_needs_capture(const struct execute_item *item)
{
    for (uint32_t i = 0; i < item->operation.n_statements; i++) {
        if (needs_capture(&item->operation.statements[i])) {
            return true;
        }
    }
    return false;
}

static void clear_results(struct execute *execute, struct execute_item *item)
{
    (void)execute;
    for (uint32_t i = 0; item->results != NULL && i <= item->operation.n_statements; i++) {
        PQclear(item->results[i]);
        PQclear(item->captured[i]);
        item->results[i] = NULL;
        item->captured[i] = NULL;
    }
}

static void clear_chunk(struct execute *execute)
{
    for (uint32_t i = 0; i < execute->n; i++) {
        clear_results(execute, &execute->items[i]);
    }
    PQclear(execute->sequences);
    execute->sequences = NULL;
    PQclear(execute->lookup);
    execute->lookup = NULL;
    pg_parts_clear(&execute->parts, &execute->job->job, &execute->job->arena, true);
}

static void dispose(struct pg_job *job)
{
    struct execute *execute = job->state;
    clear_chunk(execute);
    for (uint32_t i = 0; i < execute->n; i++) {
        pg_digests_finish(&execute->items[i].digests);
    }
    effect_builder_finish(&execute->effects);
}

// -- Answers -----------------------------------------------------------------------------------------------------------

// Whether its text has brief_end.
static bool is_brief(const struct execute_item *item, uint32_t number)
{
    const struct rest_statement *statement = &item->operation.statements[number];
    return statement->given != NULL && (item->n_run > 0 || rest_statement_rows(statement) > 1);
}

// As many rows as were written, also where none comes back.
static int count_rows(const struct rest_statement *statement, bool brief, const PGresult *result)
{
    return brief && statement->brief_end.n == 0 ? atoi(PQcmdTuples((PGresult *)result)) : PQntuples(result);
}

// Each row says whose it is.
static void take_updates(struct execute *execute, uint32_t first, PGresult *result)
{
    struct execute_item *items = execute->items + first;
    bool ok = pg_result_ok(result);
    for (uint32_t i = 0; i < items->n_run; i++) {
        items[i].rows[0] = (struct pg_rows){.result = result, .n_hidden = 1};
    }
    for (int row = 0; ok && row < PQntuples(result); row++) {
        uint64_t at = pg_result_u64(result, row, PQnfields(result) - 1);
        ok = at >= 1 && at <= items->n_run && items[at - 1].rows[0].n == 0;
        if (ok) {
            items[at - 1].rows[0].first = row;
            items[at - 1].rows[0].n = 1;
        }
    }
    items->results[0] = result;
    execute->run_failed = execute->run_failed || !ok;
}

// Rows of an INSERT come back in the order in which they were given.
static void take_inserts(struct execute *execute, uint32_t first, PGresult *result)
{
    struct execute_item *items = execute->items + first;
    uint32_t n = items->n_run;
    bool brief = is_brief(items, 0);
    bool ok = pg_result_ok(result) && count_rows(items->operation.statements, brief, result) == (int)n;
    for (uint32_t i = 0; ok && i < n; i++) {
        items[i].rows[0] = (struct pg_rows){.result = result, .first = (int)i, .n = 1, .brief = brief};
    }
    execute->run_failed = execute->run_failed || !ok;
    if (ok) {
        items->results[0] = result;
    } else {
        PQclear(result);
    }
}

static void take_run(struct execute *execute, uint32_t first, PGresult *result)
{
    if (execute->items[first].operation.statements->kind == REST_UPDATE) {
        take_updates(execute, first, result);
    } else {
        take_inserts(execute, first, result);
    }
}

static void take_statement(struct execute *execute, uint32_t index, uint32_t number, PGresult *result)
{
    struct execute_item *item = &execute->items[index];
    bool brief = is_brief(item, number);
    item->results[number] = result;
    item->rows[number] = (struct pg_rows){
        .result = result, .n = count_rows(&item->operation.statements[number], brief, result), .brief = brief};
}

// Its code has left the session so that it cannot be used by others: without prepared statements, read-only, ...
static void note_unclean(struct execute *execute, uint32_t item, const PGresult *result)
{
    if (!execute->failed) {
        execute->failed = true;
        execute->failed_item = item;
        const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *details = cc_arena_printf(&execute->job->arena, "PostgreSQL answers %s when the session is cleaned.", code == NULL ? "XX000" : code);
        execute->failure = pg_outcome_failed(&execute->job->arena, "CC311", "Code that this write runs has changed the session that it runs in", details,
                                             "Take DEALLOCATE, SET TRANSACTION and the like out of the function or trigger");
    }
}

static void note_failure(struct execute *execute, uint32_t item, PGresult *result)
{
    if (execute->failed) {
        return;
    }
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    bool statement_lost = code != NULL && strcmp(code, "26000") == 0 && item_needs_cleaning(execute, item);
    if (statement_lost) {
        note_unclean(execute, item, result);
        return;
    }
    execute->failed = true;
    execute->failed_item = item;
    bool stale_plan = code != NULL && message != NULL && strcmp(code, "0A000") == 0 && strstr(message, "cached plan") != NULL;
    if (stale_plan && !execute->plans_forgotten) {
        execute->plans_forgotten = true;
        execute->retry = true;
        return;
    }
    execute->failure = pg_outcome_of_error(&execute->job->arena, result, execute->weak);
}

static void on_result(void *context, uint64_t number, PGresult *result)
{
    struct execute *execute = context;
    uint32_t item = (uint32_t)(number >> 32);
    uint32_t statement = (uint32_t)(number >> 8) & 0xffffff;
    enum answer what = (enum answer)(number & 0xff);
    if (pg_result_aborted(result)) {
        PQclear(result);
        return;
    }
    if (what == ANSWER_STATEMENT && execute->items[item].n_run > 0) {
        take_run(execute, item, result);
        return;
    }
    bool ok = pg_result_ok(result);
    switch (what) {
    case ANSWER_LOOKUP:
    case ANSWER_SEQUENCES:
    case ANSWER_TOMBSTONES:
        if (!ok) {
            pg_lane_drop(execute->lane, "cannot execute", result);
            break;
        }
        *(what == ANSWER_LOOKUP      ? &execute->lookup
          : what == ANSWER_SEQUENCES ? &execute->sequences
                                     : &execute->parts.tombstones) = result;
        return;
    case ANSWER_CLEAN:
        if (!ok) {
            note_unclean(execute, item, result);
        }
        break;
    case ANSWER_STATEMENT:
    case ANSWER_CAPTURE:
    case ANSWER_OTHER:
        if (!ok && what == ANSWER_CAPTURE && item_needs_cleaning(execute, item)) {
            note_unclean(execute, item, result);
            break;
        }
        if (!ok) {
            note_failure(execute, item, result);
            break;
        }
        if (what == ANSWER_STATEMENT) {
            take_statement(execute, item, statement, result);
            return;
        }
        if (what == ANSWER_CAPTURE) {
            execute->items[item].captured[statement] = result;
            return;
        }
        break;
    }
    PQclear(result);
}

// -- Sending -----------------------------------------------------------------------------------------------------------

static void send_other(struct execute *execute, uint32_t item, const char *sql)
{
    struct io_postgres_query query = {.sql = sql};
    io_postgres_link_send(execute->lane->link, &query, on_result, execute, answer_number(item, 0, ANSWER_OTHER));
}

static void send_settings(struct execute *execute, uint32_t item, const struct rest_statement *statement, bool capture)
{
    struct rest_setting settings[SETTINGS_MAX];
    size_t n = 0;
    // First: a role that is set may not be allowed to. Where no code of users runs, nobody can make use of the session's own mode.
    bool apart = pg_executor_has_turn(execute->lane);
    if (apart && statement != NULL && (capture || statement->runs_code)) {
        settings[n++] = (struct rest_setting){cc_slice_text(PG_MODE_SETTING), cc_slice_text(capture ? PG_MODE_CAPTURED : PG_MODE_TOLD)};
    } else if (!apart && capture) {
        settings[n++] = (struct rest_setting){cc_slice_text("caucus.capture"), cc_slice_text("on")};
    }
    for (uint32_t i = 0; statement != NULL && i < statement->n_settings && n < SETTINGS_MAX; i++) {
        // The texts of weak values, keys among them, are compared between replicas: always in UTC.
        bool zone = statement->settings[i].name.n == 8 && strncasecmp((const char *)statement->settings[i].name.data, "timezone", 8) == 0;
        if (!execute->weak || !zone) {
            settings[n++] = statement->settings[i];
        }
    }
    pg_lane_settings(execute->lane, settings, n, on_result, execute, answer_number(item, 0, ANSWER_OTHER));
}

// -- Rows: INSERT ... SELECT from arrays ------------------------------------------------------------------------------------

// The parameters of many rows of the same text, by column.
struct rows {
    struct pg_array *columns; // with the stamps of weak rows behind them
    uint32_t n_columns;
    bool brief;
};

static bool takes_stamp(const struct execute *execute, const struct rest_statement *statement)
{
    return execute->weak && statement->weak;
}

static void rows_init(struct rows *rows, struct execute *execute, uint32_t item, uint32_t number)
{
    const struct rest_statement *statement = &execute->items[item].operation.statements[number];
    rows->brief = is_brief(&execute->items[item], number);
    rows->n_columns = statement->row_parameters + takes_stamp(execute, statement);
    rows->columns = cc_arena_array(&execute->job->arena, rows->n_columns, sizeof(*rows->columns));
    for (uint32_t i = 0; i < rows->n_columns; i++) {
        pg_array_init(&rows->columns[i], rows->brief && rest_statement_is_uuid(statement, i) ? PG_UUID : PG_TEXT);
    }
}

static void rows_add(struct rows *rows, struct execute *execute, uint32_t item, const struct rest_statement *statement)
{
    char stamp[CLOCK_STAMP_TEXT_BYTES] = "";
    if (takes_stamp(execute, statement)) {
        clock_stamp_text(&execute->job->job.stamps[item], stamp);
    }
    for (uint32_t at = 0; at < statement->n_parameters; at += statement->row_parameters) {
        for (uint32_t i = 0; i < rows->n_columns; i++) {
            struct cc_slice value = i < statement->row_parameters ? statement->parameters[at + i] : cc_slice_text(stamp);
            enum cc_status status = pg_array_put_value(&rows->columns[i], value);
            assert(status == CC_OK); // rest_statement_read has looked at the uuids
        }
    }
}

static void rows_send(struct rows *rows, struct execute *execute, const struct rest_statement *statement, uint64_t number)
{
    struct cc_arena *arena = &execute->job->arena;
    struct cc_slice *parameters = cc_arena_array(arena, rows->n_columns, sizeof(*parameters));
    uint8_t *binary = cc_arena_array(arena, rows->n_columns, sizeof(*binary));
    for (uint32_t i = 0; i < rows->n_columns; i++) {
        parameters[i] = pg_array_slice(&rows->columns[i]);
        binary[i] = 1;
    }
    struct cc_buffer sql = {0};
    rest_statement_put_rows(&sql, statement, rows->brief);
    struct io_postgres_query query = {
        .sql = (const char *)sql.data, .n_sql = sql.n, .n_parameters = rows->n_columns, .parameters = parameters, .binary = binary};
    io_postgres_link_send(execute->lane->link, &query, on_result, execute, number);
    cc_buffer_finish(&sql);
    for (uint32_t i = 0; i < rows->n_columns; i++) {
        pg_array_finish(&rows->columns[i]);
    }
}

static void send_sql(struct execute *execute, uint32_t item, uint32_t number, const struct rest_statement *statement)
{
    if (rest_statement_rows(statement) > 1) {
        struct rows rows;
        rows_init(&rows, execute, item, number);
        rows_add(&rows, execute, item, statement);
        rows_send(&rows, execute, statement, answer_number(item, number, ANSWER_STATEMENT));
        return;
    }
    struct cc_slice *parameters = cc_arena_array(&execute->job->arena, statement->n_parameters + 1, sizeof(*parameters));
    for (uint32_t i = 0; i < statement->n_parameters; i++) {
        parameters[i] = statement->parameters[i];
    }
    uint32_t n = statement->n_parameters;
    char stamp[CLOCK_STAMP_TEXT_BYTES];
    if (takes_stamp(execute, statement)) {
        clock_stamp_text(&execute->job->job.stamps[item], stamp);
        parameters[n++] = cc_slice_text(stamp);
    }
    struct io_postgres_query query = {
        .sql = (const char *)statement->sql.data, .n_sql = statement->sql.n, .n_parameters = n, .parameters = parameters};
    io_postgres_link_send(execute->lane->link, &query, on_result, execute, answer_number(item, number, ANSWER_STATEMENT));
}

// -- Runs: one statement for several items --------------------------------------------------------------------------------

static bool same_settings(const struct rest_statement *a, const struct rest_statement *b)
{
    for (uint32_t i = 0; a->n_settings == b->n_settings && i < a->n_settings; i++) {
        if (!cc_slice_equal(a->settings[i].name, b->settings[i].name) || !cc_slice_equal(a->settings[i].value, b->settings[i].value)) {
            return false;
        }
    }
    return a->n_settings == b->n_settings;
}

static bool same_given(const struct rest_statement *a, const struct rest_statement *b)
{
    return (a->given == NULL) == (b->given == NULL) && a->shape.n_columns == b->shape.n_columns && cc_slice_equal(a->brief_end, b->brief_end) &&
           (a->given == NULL || memcmp(a->given, b->given, a->shape.n_columns * sizeof(*a->given)) == 0);
}

static bool same_text(const struct rest_statement *a, const struct rest_statement *b)
{
    return cc_slice_equal(a->sql, b->sql) && a->n_parameters == b->n_parameters && a->row_parameters == b->row_parameters && same_given(a, b) &&
           cc_slice_equal(a->many, b->many) && a->many_key_at == b->many_key_at;
}

static bool may_run_together(const struct execute *execute, const struct execute_item *item)
{
    const struct rest_statement *statement = item->operation.statements;
    if (item->settled || item->operation.n_statements != 1 || statement->captured || statement->runs_code || statement->roll_back ||
        execute->lane->has_deferrable) {
        return false;
    }
    return statement->many.n > 0 ||
           (statement->row_n > 0 && statement->kind == REST_INSERT && rest_statement_rows(statement) == 1 &&
            (statement->row_parameters > 0 || (statement->n_parameters + 1) * RUN_MAX <= CC_PARAMETERS_MAX));
}

static bool same_many_key(const struct rest_statement *a, const struct rest_statement *b)
{
    for (uint32_t i = a->many_key_at; i < a->n_parameters; i++) {
        if (!cc_slice_equal(a->parameters[i], b->parameters[i])) {
            return false;
        }
    }
    return true;
}

// The second update of a row begins another run.
static bool is_updated_in(const struct execute *execute, uint32_t first, uint32_t n, const struct rest_statement *statement)
{
    for (uint32_t i = 0; statement->many.n > 0 && i < n; i++) {
        if (same_many_key(execute->items[first + i].operation.statements, statement)) {
            return true;
        }
    }
    return false;
}

// Of texts with VALUES a power of two, so that there are few to prepare.
static uint32_t run_length(const struct execute *execute, uint32_t first)
{
    const struct execute_item *item = &execute->items[first];
    if (execute->one_by_one || !may_run_together(execute, item)) {
        return 1;
    }
    const struct rest_statement *statement = item->operation.statements;
    bool as_rows = statement->row_parameters > 0, as_values = !as_rows && statement->many.n == 0;
    uint32_t n = 1;
    while ((as_rows || n < RUN_MAX) && first + n < execute->end) {
        const struct execute_item *other = &execute->items[first + n];
        if (!may_run_together(execute, other) || !same_text(other->operation.statements, statement) ||
            !same_settings(other->operation.statements, statement) || is_updated_in(execute, first, n, other->operation.statements)) {
            break;
        }
        n++;
    }
    while (as_values && (n & (n - 1)) != 0) {
        n &= n - 1;
    }
    return n;
}

static uint32_t put_parameters(struct execute *execute, uint32_t item, struct cc_slice *parameters)
{
    const struct rest_statement *statement = execute->items[item].operation.statements;
    uint32_t n = 0;
    for (; n < statement->n_parameters; n++) {
        parameters[n] = statement->parameters[n];
    }
    if (takes_stamp(execute, statement)) {
        char stamp[CLOCK_STAMP_TEXT_BYTES];
        clock_stamp_text(&execute->job->job.stamps[item], stamp);
        parameters[n++] = cc_slice_text(cc_arena_text_n(&execute->job->arena, stamp, strlen(stamp)));
    }
    return n;
}

static void results_init(struct execute *execute, struct execute_item *item)
{
    if (item->results == NULL) {
        item->results = cc_arena_array(&execute->job->arena, item->operation.n_statements + 1, sizeof(PGresult *));
        item->rows = cc_arena_array(&execute->job->arena, item->operation.n_statements + 1, sizeof(*item->rows));
        item->captured = cc_arena_array(&execute->job->arena, item->operation.n_statements + 1, sizeof(PGresult *));
    }
}

static void send_run_of_values(struct execute *execute, uint32_t first, uint32_t n)
{
    const struct rest_statement *statement = execute->items[first].operation.statements;
    struct cc_slice row = cc_slice_of(statement->sql.data + statement->row_at, statement->row_n);
    struct cc_slice *parameters = cc_arena_array(&execute->job->arena, (size_t)n * (statement->n_parameters + 1), sizeof(*parameters));
    uint32_t n_parameters = 0;
    struct cc_buffer sql = {0};
    cc_buffer_append(&sql, statement->sql.data, statement->row_at);
    for (uint32_t i = 0; i < n; i++) {
        cc_buffer_append_text(&sql, i == 0 ? "" : ", ");
        rest_statement_put_row(&sql, row, "$", n_parameters);
        n_parameters += put_parameters(execute, first + i, parameters + n_parameters);
    }
    cc_buffer_append(&sql, row.data + row.n, statement->sql.n - statement->row_at - row.n);
    struct io_postgres_query query = {
        .sql = (const char *)sql.data, .n_sql = sql.n, .n_parameters = n_parameters, .parameters = parameters};
    io_postgres_link_send(execute->lane->link, &query, on_result, execute, answer_number(first, 0, ANSWER_STATEMENT));
    cc_buffer_finish(&sql);
}

static void send_run_of_rows(struct execute *execute, uint32_t first, uint32_t n)
{
    const struct rest_statement *statement = execute->items[first].operation.statements;
    struct rows rows;
    rows_init(&rows, execute, first, 0);
    for (uint32_t i = 0; i < n; i++) {
        rows_add(&rows, execute, first + i, execute->items[first + i].operation.statements);
    }
    rows_send(&rows, execute, statement, answer_number(first, 0, ANSWER_STATEMENT));
}

static void send_run_of_updates(struct execute *execute, uint32_t first, uint32_t n)
{
    const struct rest_statement *statement = execute->items[first].operation.statements;
    struct cc_arena *arena = &execute->job->arena;
    struct pg_array *arrays = cc_arena_array(arena, statement->n_parameters, sizeof(*arrays));
    struct cc_slice *parameters = cc_arena_array(arena, statement->n_parameters, sizeof(*parameters));
    uint8_t *binary = cc_arena_array(arena, statement->n_parameters, sizeof(*binary));
    for (uint32_t p = 0; p < statement->n_parameters; p++) {
        pg_array_init(&arrays[p], PG_TEXT);
        for (uint32_t i = 0; i < n; i++) {
            pg_array_put(&arrays[p], execute->items[first + i].operation.statements->parameters[p]);
        }
        parameters[p] = pg_array_slice(&arrays[p]);
        binary[p] = 1;
    }
    struct io_postgres_query query = {.sql = (const char *)statement->many.data,
                                      .n_sql = statement->many.n,
                                      .n_parameters = statement->n_parameters,
                                      .parameters = parameters,
                                      .binary = binary};
    io_postgres_link_send(execute->lane->link, &query, on_result, execute, answer_number(first, 0, ANSWER_STATEMENT));
    for (uint32_t p = 0; p < statement->n_parameters; p++) {
        pg_array_finish(&arrays[p]);
    }
}

static void send_run(struct execute *execute, uint32_t first, uint32_t n)
{
    const struct rest_statement *statement = execute->items[first].operation.statements;
    execute->items[first].n_run = n;
    for (uint32_t i = 0; i < n; i++) {
        results_init(execute, &execute->items[first + i]);
    }
    send_settings(execute, first, statement, false);
    if (statement->many.n > 0) {
        send_run_of_updates(execute, first, n);
    } else if (statement->row_parameters > 0) {
        send_run_of_rows(execute, first, n);
    } else {
        send_run_of_values(execute, first, n);
    }
}

static void send_clean(struct execute *execute, uint32_t item)
{
    pg_executor_clean(execute->lane, tells(&execute->items[item]), on_result, execute, answer_number(item, 0, ANSWER_CLEAN));
}

static void send_take_capture(struct execute *execute, uint32_t item, uint32_t number, bool is_clean)
{
    send_settings(execute, item, NULL, false);
    if (!is_clean && pg_executor_has_turn(execute->lane)) { // without policies we may not look
        send_other(execute, item, "SET LOCAL row_security = on");
    }
    struct io_postgres_query query = {.sql = pg_sql_take_capture};
    io_postgres_link_send(execute->lane->link, &query, on_result, execute, answer_number(item, number, ANSWER_CAPTURE));
}

// Deferred triggers and checks act now instead of during COMMIT, when it is too late to replicate or refuse.
static void send_constraints(struct execute *execute, uint32_t item)
{
    send_other(execute, item, "SET CONSTRAINTS ALL IMMEDIATE");
    if (execute->lane->has_deferred) {
        send_other(execute, item, "SELECT caucus.defer()");
    }
}

static void send_statement(struct execute *execute, uint32_t item, uint32_t number)
{
    const struct rest_statement *statement = &execute->items[item].operation.statements[number];
    bool capture = needs_capture(statement);
    send_settings(execute, item, statement, capture);
    if (statement->roll_back) {
        send_other(execute, item, "SAVEPOINT caucus_undo");
    }
    send_sql(execute, item, number, statement);
    if (statement->roll_back) {
        if (execute->lane->has_deferrable) {
            send_constraints(execute, item);
        }
        send_other(execute, item, "ROLLBACK TO SAVEPOINT caucus_undo");
        send_other(execute, item, "RELEASE SAVEPOINT caucus_undo");
    }
}

// What one statement's code sets holds for those behind it, as that of a function before each request must. Then the session is cleaned.
static void send_item(struct execute *execute, uint32_t index)
{
    struct execute_item *item = &execute->items[index];
    uint32_t n = item->operation.n_statements;
    bool clean = item_needs_cleaning(execute, index);
    if (clean) {
        pg_executor_beware(execute->lane, tells(item));
    }
    results_init(execute, item);
    for (uint32_t i = 0; i < n; i++) {
        const struct rest_statement *statement = &item->operation.statements[i];
        bool ends = clean && i + 1 == n && !execute->lane->has_deferrable;
        send_statement(execute, index, i);
        if (ends) {
            send_clean(execute, index);
        }
        if (needs_capture(statement) && !statement->roll_back) {
            send_take_capture(execute, index, i, ends);
        }
    }
    if (execute->lane->has_deferrable) {
        bool capture = item_needs_capture(item);
        // Triggers that were deferred run as whom the write runs.
        send_settings(execute, index, n == 0 ? NULL : &item->operation.statements[n - 1], capture);
        send_constraints(execute, index);
        if (clean) {
            send_clean(execute, index);
        }
        if (capture) {
            send_take_capture(execute, index, n, clean);
        }
    }
}

static void send_lookup(struct execute *execute)
{
    struct pg_array principals, keys, numbers;
    pg_array_init(&principals, PG_TEXT);
    pg_array_init(&keys, PG_TEXT);
    pg_array_init(&numbers, PG_INT8);
    for (uint32_t i = 0; i < execute->n; i++) {
        const struct execute_item *item = &execute->items[i];
        if (item->operation.key.data != NULL && !item->settled && item->twin == 0) {
            struct cc_slice principal = item->operation.principal;
            pg_array_put(&principals, principal.data == NULL ? cc_slice_text("") : principal);
            pg_array_put(&keys, item->operation.key);
            pg_array_put_int8(&numbers, i);
        }
    }
    struct pg_array *arrays[3] = {&principals, &keys, &numbers};
    struct cc_slice parameters[3];
    uint8_t binary[3];
    if (numbers.n > 0) {
        struct cc_buffer sql = {0};
        cc_buffer_append_text(&sql, "SELECT k.n, r.fingerprint, r.outcome FROM ");
        pg_arrays_source(&sql, arrays, 3, parameters, binary);
        cc_buffer_append_text(&sql, " AS k(principal, key, n) JOIN caucus.requests r ON r.principal = k.principal AND r.key = k.key");
        struct io_postgres_query query = {.sql = cc_buffer_text(&sql), .n_parameters = 3, .parameters = parameters, .binary = binary};
        io_postgres_link_send(execute->lane->link, &query, on_result, execute, answer_number(0, 0, ANSWER_LOOKUP));
        cc_buffer_finish(&sql);
    }
    pg_array_finish(&principals);
    pg_array_finish(&keys);
    pg_array_finish(&numbers);
}

// -- Sequences ---------------------------------------------------------------------------------------------------------

static bool slice_listed(const struct cc_slice *list, size_t n, struct cc_slice value)
{
    for (size_t i = 0; i < n; i++) {
        if (cc_slice_equal(list[i], value)) {
            return true;
        }
    }
    return false;
}

static void put_literal(struct cc_buffer *sql, struct cc_slice text) // without the quotes around it
{
    for (size_t i = 0; i < text.n; i++) {
        cc_buffer_append(sql, &text.data[i], 1);
        if (text.data[i] == '\'') {
            cc_buffer_append_text(sql, "'");
        }
    }
}

// A captured write may draw from any sequence; the others name theirs.
static const char *sequences_sql(struct execute *execute)
{
    struct cc_arena *arena = &execute->job->arena;
    size_t n_max = 0;
    for (uint32_t i = execute->first; i < execute->end; i++) {
        const struct execute_item *item = &execute->items[i];
        for (uint32_t s = 0; !item->settled && s < item->operation.n_statements; s++) {
            if (item->operation.statements[s].captured) {
                return "SELECT name, last_value, true FROM caucus.sequences()";
            }
            n_max += item->operation.statements[s].n_sequences;
        }
    }
    struct cc_slice *names = cc_arena_array(arena, n_max, sizeof(*names));
    size_t n = 0;
    struct cc_buffer sql = {0};
    for (uint32_t i = execute->first; n_max > 0 && i < execute->end; i++) {
        const struct execute_item *item = &execute->items[i];
        for (uint32_t s = 0; !item->settled && s < item->operation.n_statements; s++) {
            const struct rest_statement *statement = &item->operation.statements[s];
            for (uint32_t q = 0; q < statement->n_sequences; q++) {
                struct cc_slice name = statement->sequences[q];
                if (slice_listed(names, n, name)) {
                    continue;
                }
                names[n++] = name;
                cc_buffer_append_text(&sql, n > 1 ? " UNION ALL SELECT '" : "SELECT '");
                put_literal(&sql, name);
                cc_buffer_append_text(&sql, "', s, s IS NOT NULL FROM caucus.sequence_at('");
                put_literal(&sql, name);
                cc_buffer_append_text(&sql, "') AS s");
            }
        }
    }
    const char *text = n == 0 ? NULL : cc_arena_text_n(arena, sql.data, sql.n);
    cc_buffer_finish(&sql);
    return text;
}

static void put_sequences(struct execute *execute)
{
    PGresult *result = execute->sequences;
    for (int row = 0; result != NULL && row < PQntuples(result); row++) {
        const char *name = PQgetvalue(result, row, 0);
        const char *value = PQgetvalue(result, row, 1);
        bool is_called = PQgetvalue(result, row, 2)[0] == 't';
        struct pg_sequence_memo *memo = execute->lane->sequences;
        while (memo != NULL && strcmp(memo->name, name) != 0) {
            memo = memo->next;
        }
        if (!is_called || (memo != NULL && strcmp(memo->value, value) == 0)) {
            continue;
        }
        if (memo == NULL) {
            memo = cc_alloc(sizeof(*memo));
            memo->name = cc_strdup(name);
            memo->next = execute->lane->sequences;
            execute->lane->sequences = memo;
        }
        free(memo->value);
        memo->value = cc_strdup(value);
        int64_t position = 0;
        if (pg_int8_read(cc_slice_text(value), &position) == CC_OK) {
            effect_put_sequence(&execute->effects, cc_slice_text(name), position, true);
        }
    }
}

// -- A chunk's end -----------------------------------------------------------------------------------------------------

static void settle(struct execute *execute, uint32_t index, struct cc_slice outcome)
{
    execute->items[index].settled = true;
    execute->items[index].outcome = outcome;
    execute->items[index].change = (struct cc_slice){0};
}

static void roll_back(struct execute *execute)
{
    struct pg_lane *lane = execute->lane;
    clear_chunk(execute);
    pg_lane_settings_forget(lane);
    pg_lane_sequences_forget(lane);
    if (execute->saved) { // not as prepared statements: these may be what the failed one has done away with
        pg_lane_must_once(lane, "ROLLBACK TO SAVEPOINT caucus_chunk");
        pg_lane_must_once(lane, "RELEASE SAVEPOINT caucus_chunk");
    } else {
        pg_lane_must_once(lane, "ROLLBACK");
        lane->in_transaction = false;
    }
    if (execute->failed && item_needs_cleaning(execute, execute->failed_item)) {
        pg_executor_failed(lane);
    }
    execute->failed = false;
    execute->run_failed = false;
    execute->retry = false;
}

// One item cannot be part of the run: it is settled, the run starts again without it.
static void without(struct execute *execute, uint32_t index, struct cc_slice outcome)
{
    settle(execute, index, outcome);
    roll_back(execute);
    execute->chunk_max = CHUNK_AFTER_FAILURE;
    if (index > execute->first) {
        execute->end = index;
    }
    send_chunk(execute);
}

// Items whose key was used before; true when there are any, which then are settled.
static bool take_lookup(struct execute *execute)
{
    PGresult *result = execute->lookup;
    struct cc_arena *arena = &execute->job->arena;
    bool any = false;
    for (int row = 0; result != NULL && row < PQntuples(result); row++) {
        uint64_t index = pg_result_u64(result, row, 0);
        struct cc_slice fingerprint = {0}, outcome = {0};
        if (index >= execute->n || pg_bytea_read(pg_result_value(result, row, 1), arena, &fingerprint) != CC_OK ||
            pg_bytea_read(pg_result_value(result, row, 2), arena, &outcome) != CC_OK) {
            continue;
        }
        any = true;
        struct execute_item *item = &execute->items[index];
        if (cc_slice_equal(fingerprint, item->operation.fingerprint)) {
            settle(execute, (uint32_t)index, outcome);
        } else {
            settle(execute, (uint32_t)index,
                   pg_outcome_failed(arena, "CC301", "The Idempotency-Key was used for another request", NULL,
                                     "Use a new key for each new request"));
        }
        item->stored = true;
    }
    execute->looked_up = true;
    return any;
}

static uint64_t affected_rows(const struct rest_statement *statement, const struct pg_rows *rows)
{
    return statement->kind == REST_CALL ? rest_call_rows(pg_result_value(rows->result, 0, PQnfields(rows->result) - 1)) : (uint64_t)rows->n;
}

// Outcome when the number of affected rows is not what the request allows; the empty slice when all is well.
static struct cc_slice check_rows(struct execute *execute, const struct execute_item *item)
{
    struct cc_arena *arena = &execute->job->arena;
    for (uint32_t i = 0; i < item->operation.n_statements; i++) {
        const struct rest_statement *statement = &item->operation.statements[i];
        const struct pg_rows *rows = &item->rows[i];
        struct rest_outcome refused;
        if (!rest_outcome_check(statement, affected_rows(statement, rows), pg_inserted_rows(rows), arena, &refused)) {
            return pg_outcome_encode(arena, &refused);
        }
    }
    return (struct cc_slice){0};
}

// A write has one class: what it changes must all be of that class.
static struct cc_slice check_class(struct execute *execute, const struct execute_item *item)
{
    struct io_postgres *postgres = execute->lane->postgres;
    struct cc_arena *arena = &execute->job->arena;
    for (uint32_t i = 0; i <= item->operation.n_statements; i++) {
        for (int row = 0; item->captured[i] != NULL && row < PQntuples(item->captured[i]); row++) {
            const struct pg_table *table = pg_capture_table(postgres, item->captured[i], row);
            if (table == NULL || !table->found) {
                return pg_outcome_failed(arena, "CC302", "The write changed a table that cannot be described", NULL, NULL);
            }
            if (table->weak != execute->weak) {
                const char *details = cc_arena_printf(arena, "The table %.*s is %s.", (int)table->name.n, (const char *)table->name.data,
                                                      table->weak ? "weak" : "strong");
                return pg_outcome_failed(arena, "CC303",
                                         execute->weak ? "A write to a weak table must not change strong tables"
                                                       : "A write to a strong table must not change weak tables",
                                         details, "Take the other table out of the trigger, foreign key, view or function, or write it by a request of its own");
            }
            if (table->n_key == 0 && PQgetvalue(item->captured[i], row, PG_CAPTURE_OPERATION)[0] != 'I') {
                const char *details = cc_arena_printf(arena, "The table %.*s has no primary key.", (int)table->name.n, (const char *)table->name.data);
                return pg_outcome_failed(arena, "55000", "Rows of a table without a primary key can only be inserted", details, NULL);
            }
        }
    }
    return (struct cc_slice){0};
}

static enum cc_status put_effects(struct execute *execute, const struct execute_item *item)
{
    struct pg_lane *lane = execute->lane;
    enum cc_status status = CC_OK;
    for (uint32_t i = 0; status == CC_OK && i <= item->operation.n_statements; i++) {
        if (item->captured[i] != NULL) {
            status = pg_effects_of_capture(&execute->effects, lane->postgres, item->captured[i], &execute->job->arena);
        } else if (i < item->operation.n_statements && !item->operation.statements[i].roll_back) {
            status = pg_effects_of_rows(&execute->effects, &item->operation.statements[i], &item->rows[i]);
        }
    }
    return status;
}

static void finish(struct execute *execute);

static void next_chunk(struct execute *execute)
{
    while (execute->first < execute->n && execute->items[execute->first].settled) {
        execute->first++;
    }
    if (execute->first >= execute->n) {
        finish(execute);
        return;
    }
    execute->end = execute->n - execute->first > execute->chunk_max ? execute->first + execute->chunk_max : execute->n;
    send_chunk(execute);
}

static struct cc_slice take_change(struct execute *execute, struct execute_item *item, uint32_t index, struct cc_slice *failure_out)
{
    pg_digests_finish(&item->digests); // of an attempt that was rolled back
    struct pg_weak_write write = {.lane = execute->lane,
                                  .parts = &execute->parts,
                                  .digests = &item->digests,
                                  .arena = &execute->job->arena,
                                  .operation = &item->operation,
                                  .stamp = execute->job->job.stamps[index],
                                  .outcome = item->outcome,
                                  .rows = item->rows,
                                  .captured = item->captured};
    return pg_weak_change(&write, failure_out);
}

static void accept_chunk(struct execute *execute);

static void on_tombstones_sync(void *context, uint64_t number)
{
    (void)number;
    struct execute *execute = context;
    if (io_postgres_link_connection(execute->lane->link) != NULL) {
        accept_chunk(execute); // from the beginning, with what is known now
    }
}

static void accept_chunk(struct execute *execute)
{
    struct cc_arena *arena = &execute->job->arena;
    pg_parts_clear(&execute->parts, &execute->job->job, arena, false);
    for (uint32_t i = execute->first; i < execute->end; i++) {
        struct execute_item *item = &execute->items[i];
        if (item->settled) {
            continue;
        }
        struct cc_slice failure = check_rows(execute, item);
        failure = failure.n == 0 ? check_class(execute, item) : failure;
        if (failure.n == 0) {
            item->outcome = pg_outcome_done(arena, item->operation.statements, item->rows, item->operation.n_statements);
        }
        if (failure.n == 0 && execute->weak) {
            item->change = take_change(execute, item, i, &failure);
        }
        if (failure.n > 0) {
            without(execute, i, failure);
            return;
        }
    }
    if (pg_parts_ask(&execute->parts, execute->lane, on_result, execute, answer_number(0, 0, ANSWER_TOMBSTONES))) {
        io_postgres_link_sync(execute->lane->link, on_tombstones_sync, execute, 0);
        return;
    }
    if (execute->saved) {
        pg_lane_must_text(execute->lane, "RELEASE SAVEPOINT caucus_chunk");
    }
    for (uint32_t i = execute->first; i < execute->end; i++) {
        struct execute_item *item = &execute->items[i];
        if (item->settled) {
            continue;
        }
        item->settled = true;
        if (execute->weak) {
            pg_weak_mend(execute->lane, arena, item->change, &item->operation, item->captured);
            pg_digests_join(&execute->lane->digests, &item->digests);
        } else if (put_effects(execute, item) != CC_OK) {
            pg_lane_drop(execute->lane, "a statement's result is not as its shape says", NULL);
            return;
        }
    }
    put_sequences(execute);
    pg_parts_mend(&execute->parts, execute->lane);
    clear_chunk(execute);
    execute->first = execute->end;
    next_chunk(execute);
}

static void on_described(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct execute *execute = context;
    if (!pg_result_ok(result) ||
        pg_tables_take(execute->lane->postgres, execute->asked, execute->n_asked, result) != CC_OK) {
        pg_lane_drop(execute->lane, "cannot describe tables", result);
    }
    PQclear(result);
}

static void on_described_sync(void *context, uint64_t number)
{
    (void)number;
    struct execute *execute = context;
    if (io_postgres_link_connection(execute->lane->link) != NULL) {
        accept_chunk(execute);
    }
}

static void ask_for(struct execute *execute, struct cc_slice name)
{
    if (name.n > 0 && pg_table_find(execute->lane->postgres, name) == NULL && !slice_listed(execute->asked, execute->n_asked, name)) {
        struct cc_slice *asked = cc_arena_array(&execute->job->arena, execute->n_asked + 1, sizeof(*asked));
        for (size_t i = 0; i < execute->n_asked; i++) {
            asked[i] = execute->asked[i];
        }
        asked[execute->n_asked++] = cc_arena_slice(&execute->job->arena, name);
        execute->asked = asked;
    }
}

static void collect_unknown_tables(struct execute *execute)
{
    execute->n_asked = 0;
    for (uint32_t i = execute->first; i < execute->end; i++) {
        const struct execute_item *item = &execute->items[i];
        for (uint32_t s = 0; !item->settled && s <= item->operation.n_statements; s++) {
            for (int row = 0; item->captured[s] != NULL && row < PQntuples(item->captured[s]); row++) {
                ask_for(execute, pg_result_value(item->captured[s], row, PG_CAPTURE_RELATION));
            }
            if (execute->weak && s < item->operation.n_statements) {
                ask_for(execute, item->operation.statements[s].shape.table);
            }
        }
    }
}

static void on_chunk(void *context, uint64_t number)
{
    (void)number;
    struct execute *execute = context;
    if (io_postgres_link_connection(execute->lane->link) == NULL) {
        return;
    }
    if (execute->failed && execute->retry) {
        roll_back(execute);
        io_postgres_link_forget_statements(execute->lane->link);
        send_chunk(execute);
        return;
    }
    if (take_lookup(execute)) {
        roll_back(execute);
        next_chunk(execute);
        return;
    }
    if (execute->run_failed) { // which of them it is shows when each has its own statement
        roll_back(execute);
        execute->one_by_one = true;
        send_chunk(execute);
        return;
    }
    if (execute->failed) {
        without(execute, execute->failed_item, execute->failure);
        return;
    }
    collect_unknown_tables(execute);
    if (execute->n_asked > 0) {
        pg_tables_ask(execute->lane, execute->asked, execute->n_asked, on_described, execute, 0);
        io_postgres_link_sync(execute->lane->main, on_described_sync, execute, 0);
        return;
    }
    accept_chunk(execute);
}

// As long as anybody waits for one of its operations.
static uint32_t chunk_limit_ms(const struct execute *execute)
{
    uint32_t limit = LIMIT_MS_MIN;
    for (uint32_t i = execute->first; i < execute->end; i++) {
        const struct execute_item *item = &execute->items[i];
        uint32_t timeout = item->operation.timeout_ms == 0 ? LIMIT_MS_DEFAULT : item->operation.timeout_ms;
        limit = !item->settled && timeout > limit ? timeout : limit;
    }
    return limit;
}

static bool chunk_is_empty(const struct execute *execute)
{
    for (uint32_t i = execute->first; i < execute->end; i++) {
        if (!execute->items[i].settled) {
            return false;
        }
    }
    return true;
}

static void send_chunk(struct execute *execute)
{
    struct pg_lane *lane = execute->lane;
    if (chunk_is_empty(execute)) {
        execute->first = execute->end;
        next_chunk(execute);
        return;
    }
    execute->saved = lane->in_transaction;
    if (execute->saved) {
        pg_lane_must_text(lane, "SAVEPOINT caucus_chunk");
    } else {
        pg_lane_begin(lane);
    }
    if (!execute->looked_up) {
        send_lookup(execute);
    }
    uint32_t n = 1;
    for (uint32_t i = execute->first; i < execute->end; i += n) {
        execute->items[i].n_run = 0;
        n = run_length(execute, i);
        if (n > 1) {
            send_run(execute, i, n);
        } else if (!execute->items[i].settled) {
            send_item(execute, i);
        }
    }
    send_settings(execute, execute->end - 1, NULL, false);
    const char *sequences = execute->weak ? NULL : sequences_sql(execute);
    if (sequences != NULL) {
        struct io_postgres_query query = {.sql = sequences};
        io_postgres_link_send(lane->link, &query, on_result, execute, answer_number(0, 0, ANSWER_SEQUENCES));
    }
    io_postgres_link_sync(lane->link, on_chunk, execute, 0);
    pg_job_progress(execute->job, chunk_limit_ms(execute), true);
}

// -- The end -----------------------------------------------------------------------------------------------------------

static void settle_twins(struct execute *execute)
{
    for (uint32_t i = 0; i < execute->n; i++) {
        struct execute_item *item = &execute->items[i];
        if (item->twin == 0) {
            continue;
        }
        const struct execute_item *first = &execute->items[item->twin - 1];
        item->stored = true;
        item->outcome = cc_slice_equal(first->operation.fingerprint, item->operation.fingerprint)
                            ? first->outcome
                            : pg_outcome_failed(&execute->job->arena, "CC301", "The Idempotency-Key was used for another request", NULL,
                                                "Use a new key for each new request");
    }
}

// Answers that execution gave are remembered under their keys; a refusal is not: the request may come again.
static void store_requests(struct execute *execute)
{
    struct pg_requests requests;
    pg_requests_init(&requests);
    for (uint32_t i = 0; i < execute->n; i++) {
        const struct execute_item *item = &execute->items[i];
        if (item->operation.key.data != NULL && !item->stored) {
            pg_requests_put(&requests, item->operation.principal, item->operation.key, item->operation.fingerprint, item->outcome);
        }
    }
    pg_requests_send(&requests, execute->lane);
}

static void finish(struct execute *execute)
{
    struct pg_job *job = execute->job;
    settle_twins(execute);
    pg_lane_begin(execute->lane); // nothing may have been executed, the COMMIT comes all the same
    store_requests(execute);
    struct cc_slice *outcomes = cc_arena_array(&job->arena, execute->n, sizeof(*outcomes));
    struct cc_slice *changes = cc_arena_array(&job->arena, execute->n, sizeof(*changes));
    for (uint32_t i = 0; i < execute->n; i++) {
        outcomes[i] = execute->items[i].outcome;
        changes[i] = execute->items[i].change;
    }
    struct db_event event = {.kind = execute->weak ? DB_WEAK_EXECUTED : DB_EXECUTED,
                             .number = job->job.number,
                             .n_outcomes = execute->n,
                             .outcomes = outcomes};
    if (execute->weak) {
        event.changes = changes;
    } else {
        event.effects = effect_builder_slice(&execute->effects);
    }
    pg_lane_emit(execute->lane, &event);
    pg_job_finish(job);
}

static bool same_key(const struct operation *a, const struct operation *b)
{
    return cc_slice_equal(a->key, b->key) && cc_slice_equal(a->principal, b->principal);
}

// Items that share an Idempotency-Key with an earlier one: they take its outcome.
static void find_twins(struct execute *execute)
{
    static const uint8_t hash_key[16] = {2};
    uint32_t n_slots = 2 * execute->n + 1;
    uint32_t *slots = cc_arena_array(&execute->job->arena, n_slots, sizeof(*slots)); // 1 + item
    for (uint32_t i = 0; i < execute->n; i++) {
        struct execute_item *item = &execute->items[i];
        if (item->operation.key.data == NULL) {
            continue;
        }
        uint32_t at = (uint32_t)(cc_siphash(hash_key, item->operation.key.data, item->operation.key.n) % n_slots);
        while (slots[at] != 0 && !same_key(&execute->items[slots[at] - 1].operation, &item->operation)) {
            at = (at + 1) % n_slots;
        }
        if (slots[at] == 0) {
            slots[at] = i + 1;
        } else {
            item->twin = slots[at];
            item->settled = true;
        }
    }
}

void pg_execute_start(struct pg_job *job)
{
    struct execute *execute = cc_arena_alloc(&job->arena, sizeof(*execute));
    execute->job = job;
    execute->lane = job->lane;
    execute->weak = job->job.kind == DB_WEAK_EXECUTE;
    execute->n = job->job.n_items;
    execute->chunk_max = execute->n;
    execute->items = cc_arena_array(&job->arena, execute->n, sizeof(*execute->items));
    for (uint32_t i = 0; i < execute->n; i++) {
        struct execute_item *item = &execute->items[i];
        enum cc_status status = operation_read(job->job.items[i], &job->arena, &item->operation);
        if (status != CC_OK) { // from a peer of another version, or a bug: it must not stop the others
            item->operation = (struct operation){0};
            settle(execute, i, pg_outcome_failed(&job->arena, "CC304", "The write could not be decoded", cc_status_text(status), NULL));
        }
    }
    if (execute->n == 1 && execute->items[0].operation.kind == OPERATION_MIGRATION) {
        pg_migrate_start(job);
        return;
    }
    job->state = execute;
    job->dispose = dispose;
    find_twins(execute);
    next_chunk(execute);
}
