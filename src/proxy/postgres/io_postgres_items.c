// Items of a batch on their way: each one's statements, or one statement for several of them (a run), and what these wrote.
#include "proxy/postgres/io_postgres_execute.h"

#include <assert.h>
#include <string.h>

enum { RUN_MAX = 64, SETTINGS_MAX = 66 };

static bool needs_capture(const struct rest_statement *statement)
{
    // What is deleted from a weak table leaves a tombstone with its stamps, which RETURNING does not tell.
    return statement->captured || (statement->weak && statement->kind == REST_DELETE);
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

bool pg_item_needs_cleaning(const struct execute *execute, uint32_t index)
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

// -- What they wrote --------------------------------------------------------------------------------------------------

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

void pg_run_take(struct execute *execute, uint32_t first, PGresult *result)
{
    if (execute->items[first].operation.statements->kind == REST_UPDATE) {
        take_updates(execute, first, result);
    } else {
        take_inserts(execute, first, result);
    }
}

void pg_item_take(struct execute *execute, uint32_t index, uint32_t number, PGresult *result)
{
    struct execute_item *item = &execute->items[index];
    bool brief = is_brief(item, number);
    item->results[number] = result;
    item->rows[number] = (struct pg_rows){
        .result = result, .n = count_rows(&item->operation.statements[number], brief, result), .brief = brief};
}

// -- Sending -----------------------------------------------------------------------------------------------------------

static void send_other(struct execute *execute, uint32_t item, const char *sql)
{
    struct io_postgres_query query = {.sql = sql};
    io_postgres_link_send(execute->lane->link, &query, pg_execute_on_result, execute, pg_execute_answer_number(item, 0, ANSWER_OTHER));
}

void pg_item_send_settings(struct execute *execute, uint32_t item, const struct rest_statement *statement, bool capture)
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
        bool zone = cc_slice_equal_fold(statement->settings[i].name, "timezone");
        if (!execute->weak || !zone) {
            settings[n++] = statement->settings[i];
        }
    }
    pg_lane_settings(execute->lane, settings, n, pg_execute_on_result, execute, pg_execute_answer_number(item, 0, ANSWER_OTHER));
}

// -- Rows: INSERT ... SELECT from arrays ------------------------------------------------------------------------------------

// The parameters of many rows of the same text, by column.
struct execute_rows {
    struct pg_array *columns; // with the stamps of weak rows behind them
    uint32_t n_columns;
    bool brief;
};

static bool takes_stamp(const struct execute *execute, const struct rest_statement *statement)
{
    return execute->weak && statement->weak;
}

static void rows_finish(struct execute_rows *rows)
{
    for (uint32_t i = 0; i < rows->n_columns; i++) {
        pg_array_finish(&rows->columns[i]);
    }
}

static void rows_init(struct execute_rows *rows, struct execute *execute, uint32_t item, uint32_t number)
{
    const struct rest_statement *statement = &execute->items[item].operation.statements[number];
    rows->brief = is_brief(&execute->items[item], number);
    rows->n_columns = statement->row_parameters + takes_stamp(execute, statement);
    rows->columns = cc_arena_array(&execute->job->arena, rows->n_columns, sizeof(*rows->columns));
    for (uint32_t i = 0; i < rows->n_columns; i++) {
        pg_array_init(&rows->columns[i], rows->brief && rest_statement_is_uuid(statement, i) ? PG_UUID : PG_TEXT);
    }
}

static void rows_add(struct execute_rows *rows, struct execute *execute, uint32_t item, const struct rest_statement *statement)
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

static void rows_send(struct execute_rows *rows, struct execute *execute, const struct rest_statement *statement, uint64_t number)
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
    io_postgres_link_send(execute->lane->link, &query, pg_execute_on_result, execute, number);
    cc_buffer_finish(&sql);
    rows_finish(rows);
}

static struct execute_rows *rows_create(struct execute *execute, uint32_t item, uint32_t number)
{
    struct execute_rows *rows = cc_arena_alloc(&execute->job->arena, sizeof(*rows));
    rows_init(rows, execute, item, number);
    rows_add(rows, execute, item, &execute->items[item].operation.statements[number]);
    return rows;
}

static struct execute_rows *take_ready(struct execute_item *item, uint32_t number)
{
    struct execute_rows *rows = item->ready == NULL ? NULL : item->ready[number];
    if (rows != NULL) {
        item->ready[number] = NULL;
    }
    return rows;
}

void pg_items_prepare(struct execute *execute)
{
    for (uint32_t i = 0; i < execute->n; i++) {
        struct execute_item *item = &execute->items[i];
        for (uint32_t s = 0; !item->settled && s < item->operation.n_statements; s++) {
            if (rest_statement_rows(&item->operation.statements[s]) > 1) {
                item->ready = item->ready == NULL ? cc_arena_array(&execute->job->arena, item->operation.n_statements, sizeof(*item->ready)) : item->ready;
                item->ready[s] = rows_create(execute, i, s);
            }
        }
    }
}

void pg_items_forget(struct execute *execute)
{
    for (uint32_t i = 0; i < execute->n; i++) {
        struct execute_item *item = &execute->items[i];
        for (uint32_t s = 0; item->ready != NULL && s < item->operation.n_statements; s++) {
            struct execute_rows *rows = take_ready(item, s);
            if (rows != NULL) {
                rows_finish(rows);
            }
        }
    }
}

static void send_sql(struct execute *execute, uint32_t item, uint32_t number, const struct rest_statement *statement)
{
    if (rest_statement_rows(statement) > 1) {
        struct execute_rows *rows = take_ready(&execute->items[item], number);
        rows = rows == NULL ? rows_create(execute, item, number) : rows;
        rows_send(rows, execute, statement, pg_execute_answer_number(item, number, ANSWER_STATEMENT));
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
    io_postgres_link_send(execute->lane->link, &query, pg_execute_on_result, execute, pg_execute_answer_number(item, number, ANSWER_STATEMENT));
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
        execute->lane->postgres->has_deferrable) {
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
uint32_t pg_run_length(const struct execute *execute, uint32_t first)
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
    io_postgres_link_send(execute->lane->link, &query, pg_execute_on_result, execute, pg_execute_answer_number(first, 0, ANSWER_STATEMENT));
    cc_buffer_finish(&sql);
}

static void send_run_of_rows(struct execute *execute, uint32_t first, uint32_t n)
{
    const struct rest_statement *statement = execute->items[first].operation.statements;
    struct execute_rows rows;
    rows_init(&rows, execute, first, 0);
    for (uint32_t i = 0; i < n; i++) {
        rows_add(&rows, execute, first + i, execute->items[first + i].operation.statements);
    }
    rows_send(&rows, execute, statement, pg_execute_answer_number(first, 0, ANSWER_STATEMENT));
}

static void add_update(struct pg_array *arrays, const struct execute *execute, uint32_t item)
{
    const struct rest_statement *statement = execute->items[item].operation.statements;
    for (uint32_t p = 0; p < statement->n_parameters; p++) {
        pg_array_put(&arrays[p], statement->parameters[p]);
    }
    if (takes_stamp(execute, statement)) {
        char stamp[CLOCK_STAMP_TEXT_BYTES];
        clock_stamp_text(&execute->job->job.stamps[item], stamp);
        pg_array_put(&arrays[statement->n_parameters], cc_slice_text(stamp));
    }
}

static void send_run_of_updates(struct execute *execute, uint32_t first, uint32_t n)
{
    const struct rest_statement *statement = execute->items[first].operation.statements;
    struct cc_arena *arena = &execute->job->arena;
    uint32_t n_arrays = statement->n_parameters + takes_stamp(execute, statement);
    struct pg_array *arrays = cc_arena_array(arena, n_arrays, sizeof(*arrays));
    struct cc_slice *parameters = cc_arena_array(arena, n_arrays, sizeof(*parameters));
    uint8_t *binary = cc_arena_array(arena, n_arrays, sizeof(*binary));
    for (uint32_t p = 0; p < n_arrays; p++) {
        pg_array_init(&arrays[p], PG_TEXT);
    }
    for (uint32_t i = 0; i < n; i++) {
        add_update(arrays, execute, first + i);
    }
    for (uint32_t p = 0; p < n_arrays; p++) {
        parameters[p] = pg_array_slice(&arrays[p]);
        binary[p] = 1;
    }
    struct io_postgres_query query = {.sql = (const char *)statement->many.data,
                                      .n_sql = statement->many.n,
                                      .n_parameters = n_arrays,
                                      .parameters = parameters,
                                      .binary = binary};
    io_postgres_link_send(execute->lane->link, &query, pg_execute_on_result, execute, pg_execute_answer_number(first, 0, ANSWER_STATEMENT));
    for (uint32_t p = 0; p < n_arrays; p++) {
        pg_array_finish(&arrays[p]);
    }
}

void pg_run_send(struct execute *execute, uint32_t first, uint32_t n)
{
    const struct rest_statement *statement = execute->items[first].operation.statements;
    execute->items[first].n_run = n;
    for (uint32_t i = 0; i < n; i++) {
        results_init(execute, &execute->items[first + i]);
    }
    pg_item_send_settings(execute, first, statement, false);
    if (statement->many.n > 0) {
        send_run_of_updates(execute, first, n);
    } else if (statement->row_parameters > 0) {
        send_run_of_rows(execute, first, n);
    } else {
        send_run_of_values(execute, first, n);
    }
}

// -- Items with statements of their own -------------------------------------------------------------------------------

static void send_clean(struct execute *execute, uint32_t item)
{
    pg_executor_clean(execute->lane, tells(&execute->items[item]), pg_execute_on_result, execute, pg_execute_answer_number(item, 0, ANSWER_CLEAN));
}

static void send_take_capture(struct execute *execute, uint32_t item, uint32_t number, bool is_clean)
{
    pg_item_send_settings(execute, item, NULL, false);
    if (!is_clean && pg_executor_has_turn(execute->lane)) { // without policies we may not look
        send_other(execute, item, "SET LOCAL row_security = on");
    }
    struct io_postgres_query query = {.sql = pg_sql_take_capture};
    io_postgres_link_send(execute->lane->link, &query, pg_execute_on_result, execute, pg_execute_answer_number(item, number, ANSWER_CAPTURE));
}

// Deferred triggers and checks act now instead of during COMMIT, when it is too late to replicate or refuse.
static void send_constraints(struct execute *execute, uint32_t item)
{
    send_other(execute, item, "SET CONSTRAINTS ALL IMMEDIATE");
    if (execute->lane->postgres->has_deferred) {
        send_other(execute, item, "SELECT caucus.defer()");
    }
}

static void send_statement(struct execute *execute, uint32_t item, uint32_t number)
{
    const struct rest_statement *statement = &execute->items[item].operation.statements[number];
    bool capture = needs_capture(statement);
    pg_item_send_settings(execute, item, statement, capture);
    if (statement->roll_back) {
        send_other(execute, item, "SAVEPOINT caucus_undo");
    }
    send_sql(execute, item, number, statement);
    if (statement->roll_back) {
        if (execute->lane->postgres->has_deferrable) {
            send_constraints(execute, item);
        }
        send_other(execute, item, "ROLLBACK TO SAVEPOINT caucus_undo");
        send_other(execute, item, "RELEASE SAVEPOINT caucus_undo");
    }
}

// What one statement's code sets holds for those behind it, as that of a function before each request must. Then the session is cleaned.
void pg_item_send(struct execute *execute, uint32_t index)
{
    struct execute_item *item = &execute->items[index];
    uint32_t n = item->operation.n_statements;
    bool clean = pg_item_needs_cleaning(execute, index);
    if (clean) {
        pg_executor_beware(execute->lane, tells(item));
    }
    results_init(execute, item);
    for (uint32_t i = 0; i < n; i++) {
        const struct rest_statement *statement = &item->operation.statements[i];
        bool ends = clean && i + 1 == n && !execute->lane->postgres->has_deferrable;
        send_statement(execute, index, i);
        if (ends) {
            send_clean(execute, index);
        }
        if (needs_capture(statement) && !statement->roll_back) {
            send_take_capture(execute, index, i, ends);
        }
    }
    if (execute->lane->postgres->has_deferrable) {
        bool capture = item_needs_capture(item);
        // Triggers that were deferred run as whom the write runs.
        pg_item_send_settings(execute, index, n == 0 ? NULL : &item->operation.statements[n - 1], capture);
        send_constraints(execute, index);
        if (clean) {
            send_clean(execute, index);
        }
        if (capture) {
            send_take_capture(execute, index, n, clean);
        }
    }
}
