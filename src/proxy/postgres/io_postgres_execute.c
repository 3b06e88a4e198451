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
#include "proxy/postgres/io_postgres_execute.h"

#include "base/hash.h"
#include "proxy/postgres/io_postgres_records.h"
#include "rest/reply.h"

#include <string.h>

enum { CHUNK_AFTER_FAILURE = 16, LIMIT_MS_MIN = 500, LIMIT_MS_DEFAULT = 30000 };

uint64_t pg_execute_answer_number(uint32_t item, uint32_t statement, enum answer what)
{
    return (uint64_t)item << 32 | (uint64_t)statement << 8 | (uint64_t)what;
}

static void send_chunk(struct execute *execute);

bool pg_slice_listed(const struct cc_slice *list, size_t n, struct cc_slice value)
{
    for (size_t i = 0; i < n; i++) {
        if (cc_slice_equal(list[i], value)) {
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
    pg_digests_finish(&execute->digests);
    effect_builder_finish(&execute->effects);
    pg_items_forget(execute);
}

// -- Answers -----------------------------------------------------------------------------------------------------------

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
    bool statement_lost = code != NULL && strcmp(code, "26000") == 0 && pg_item_needs_cleaning(execute, item);
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

void pg_execute_on_result(void *context, uint64_t number, PGresult *result)
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
        pg_run_take(execute, item, result);
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
        if (!ok && what == ANSWER_CAPTURE && pg_item_needs_cleaning(execute, item)) {
            note_unclean(execute, item, result);
            break;
        }
        if (!ok) {
            note_failure(execute, item, result);
            break;
        }
        if (what == ANSWER_STATEMENT) {
            pg_item_take(execute, item, statement, result);
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
    if (execute->failed && pg_item_needs_cleaning(execute, execute->failed_item)) {
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

// The last that the batch sends: the next one's statements may follow.
static void send_end(struct execute *execute)
{
    if (!execute->ended) {
        execute->ended = true;
        settle_twins(execute);
        pg_lane_begin(execute->lane); // nothing may have been executed, the COMMIT comes all the same
        store_requests(execute);
    }
}

// It is prepared, and has something to send.
static bool is_ready(const struct pg_job *job)
{
    const struct execute *execute = job->state;
    bool ready = false;
    for (uint32_t i = 0; execute != NULL && i < execute->n; i++) {
        ready = ready || !execute->items[i].settled;
    }
    return ready;
}

// All outcomes are known: PostgreSQL goes on with the next batch, if that is ready, while the effects of this one are made.
static void hand_over(struct execute *execute)
{
    const struct pg_job *next = execute->job->next;
    bool ready = next != NULL && next->job.kind == DB_EXECUTE && !next->started && is_ready(next);
    for (uint32_t i = execute->end; ready && i < execute->n; i++) {
        ready = execute->items[i].settled;
    }
    if (ready) {
        send_end(execute);
        execute->job->followed = true;
        pg_lane_pump(execute->lane);
    }
}

static struct cc_slice take_change(struct execute *execute, struct execute_item *item, uint32_t index, struct cc_slice *failure_out)
{
    struct pg_weak_write write = {.lane = execute->lane,
                                  .parts = &execute->parts,
                                  .digests = &execute->digests,
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

// A weak statement may have waited for the locks of a migration that is committed, though we have not heard so.
static bool may_be_out_of_date(const struct execute *execute)
{
    return execute->weak && execute->lane->postgres->lanes[DB_STRONG].schema_on_its_way;
}

static void accept_chunk(struct execute *execute)
{
    struct cc_arena *arena = &execute->job->arena;
    pg_parts_clear(&execute->parts, &execute->job->job, arena, false);
    pg_digests_finish(&execute->digests); // of an attempt that was rolled back
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
        if (failure.n > 0 && may_be_out_of_date(execute)) {
            pg_lane_drop(execute->lane, "the schema changes", NULL); // executed anew
            return;
        }
        if (failure.n > 0) {
            without(execute, i, failure);
            return;
        }
    }
    if (pg_parts_ask(&execute->parts, execute->lane, pg_execute_on_result, execute, pg_execute_answer_number(0, 0, ANSWER_TOMBSTONES))) {
        io_postgres_link_sync(execute->lane->link, on_tombstones_sync, execute, 0);
        return;
    }
    if (execute->saved) {
        pg_lane_must_text(execute->lane, "RELEASE SAVEPOINT caucus_chunk");
    }
    hand_over(execute);
    for (uint32_t i = execute->first; i < execute->end; i++) {
        struct execute_item *item = &execute->items[i];
        if (item->settled) {
            continue;
        }
        item->settled = true;
        if (execute->weak) {
            pg_weak_mend(execute->lane, arena, item->change, &item->operation, item->captured);
        } else if (put_effects(execute, item) != CC_OK) {
            pg_lane_drop(execute->lane, "a statement's result is not as its shape says", NULL);
            return;
        }
    }
    pg_digests_join(&execute->lane->digests, &execute->digests);
    pg_sequences_put(execute);
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
    if (name.n > 0 && pg_table_find(execute->lane->postgres, name) == NULL && !pg_slice_listed(execute->asked, execute->n_asked, name)) {
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

// A weak statement may have waited for the locks of a migration, and its rows may not be as it was planned.
static bool is_out_of_date(const struct execute *execute)
{
    const struct pg_lane *strong = &execute->lane->postgres->lanes[DB_STRONG];
    return execute->weak && strong->schema_version > execute->job->job.schema_version;
}

static void on_chunk(void *context, uint64_t number)
{
    (void)number;
    struct execute *execute = context;
    if (io_postgres_link_connection(execute->lane->link) == NULL || pg_lane_is_cancelling(execute->lane)) {
        return;
    }
    if (is_out_of_date(execute) || ((execute->failed || execute->run_failed) && may_be_out_of_date(execute))) {
        pg_lane_drop(execute->lane, "the schema has changed", NULL); // executed anew
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
        io_postgres_link_send(execute->lane->link, &query, pg_execute_on_result, execute, pg_execute_answer_number(0, 0, ANSWER_LOOKUP));
        cc_buffer_finish(&sql);
    }
    pg_array_finish(&principals);
    pg_array_finish(&keys);
    pg_array_finish(&numbers);
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
        n = pg_run_length(execute, i);
        if (n > 1) {
            pg_run_send(execute, i, n);
        } else if (!execute->items[i].settled) {
            pg_item_send(execute, i);
        }
    }
    pg_item_send_settings(execute, execute->end - 1, NULL, false);
    const char *sequences = execute->weak ? NULL : pg_sequences_sql(execute);
    if (sequences != NULL) {
        struct io_postgres_query query = {.sql = sequences};
        io_postgres_link_send(lane->link, &query, pg_execute_on_result, execute, pg_execute_answer_number(0, 0, ANSWER_SEQUENCES));
    }
    io_postgres_link_sync(lane->link, on_chunk, execute, 0);
    pg_job_progress(execute->job, chunk_limit_ms(execute), true);
}

// -- The end -----------------------------------------------------------------------------------------------------------

static void finish(struct execute *execute)
{
    struct pg_job *job = execute->job;
    send_end(execute);
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

static struct execute *execute_create(struct pg_job *job)
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
    job->state = execute;
    job->dispose = dispose;
    find_twins(execute);
    return execute;
}

void pg_execute_prepare(struct pg_job *job)
{
    pg_items_prepare(execute_create(job));
}

void pg_execute_start(struct pg_job *job)
{
    struct execute *execute = job->state == NULL ? execute_create(job) : job->state;
    if (execute->n == 1 && execute->items[0].operation.kind == OPERATION_MIGRATION) {
        pg_migrate_start(job);
        return;
    }
    next_chunk(execute);
}
