// Weak tables: the change set of an executed write, WEAK_COMMIT and FETCH.
#include "proxy/postgres/io_postgres_weak.h"

#include "base/memory.h"
#include "crdt/digest.h"
#include "proxy/postgres/io_postgres_mend.h"
#include "proxy/postgres/io_postgres_records.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CHANGE_BYTES_USUAL = 512 }; // of a set of one row

// -- Change sets of executed writes --------------------------------------------------------------------------------------

struct builder {
    const struct pg_weak_write *write;
    struct crdt_change_set set;
    size_t rows_capacity;
    struct crdt_row_change *rows; // grown; freed at the end
    struct cc_slice failure;
};

static struct crdt_row_change *add_row(struct builder *builder, enum crdt_operation operation, const struct pg_table *table)
{
    builder->rows = cc_grow(builder->rows, &builder->rows_capacity, builder->set.n_rows + 1, sizeof(*builder->rows));
    struct crdt_row_change *change = &builder->rows[builder->set.n_rows++];
    *change = (struct crdt_row_change){.operation = operation, .table = table->name};
    change->fields = cc_arena_array(builder->write->arena, table->n_fields, sizeof(*change->fields));
    return change;
}

static struct cc_slice key_of(const struct pg_table *table, const struct cc_slice *values, struct cc_arena *arena)
{
    struct cc_slice *key = cc_arena_array(arena, table->n_key, sizeof(*key));
    for (uint32_t i = 0; i < table->n_key; i++) {
        key[i] = values[table->key[i]];
    }
    struct cc_buffer bytes = {0};
    crdt_key_put(&bytes, key, table->n_key);
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return copy;
}

static bool same_value(struct cc_slice a, struct cc_slice b)
{
    return (a.data == NULL) == (b.data == NULL) && cc_slice_equal(a, b);
}

static bool changes_key(const struct pg_table *table, const struct cc_slice *new_values, const struct cc_slice *old_values)
{
    for (uint32_t i = 0; i < table->n_key; i++) {
        if (!same_value(new_values[table->key[i]], old_values[table->key[i]])) {
            return true;
        }
    }
    return false;
}

static void fail(struct builder *builder, const char *code, const char *message, const char *hint)
{
    if (builder->failure.n == 0) {
        builder->failure = pg_outcome_failed(builder->write->arena, code, message, NULL, hint);
    }
}

// Each step counts by itself, so that rows that a write changes several times come out right.
static void digest_row(struct builder *builder, enum crdt_operation operation, const struct pg_table *table,
                       const struct cc_slice *new_values, const struct cc_slice *old_values, const bool *known)
{
    struct pg_digests *digests = builder->write->digests;
    if (operation == CRDT_INSERT || operation == CRDT_DELETE) {
        bool inserted = operation == CRDT_INSERT;
        pg_digests_add(digests, table, inserted ? 1 : -1, pg_digest_row(table, inserted ? new_values : old_values));
        return;
    }
    uint64_t key = pg_digest_key(table, new_values), sum = 0;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        uint32_t at = table->fields[i];
        if (known[at] && table->columns[at].key_position == 0) {
            struct cc_slice name = table->columns[at].name;
            sum ^= crdt_digest_field(key, name, new_values[at]) ^ crdt_digest_field(key, name, old_values[at]);
        }
    }
    pg_digests_add(digests, table, 0, sum);
}

// One row: images by position in the table (NULL: there is none); set: columns named by the statement.
static void put_row(struct builder *builder, enum crdt_operation operation, const struct pg_table *table, const struct cc_slice *new_values,
                    const struct cc_slice *old_values, const bool *known, const bool *set)
{
    struct cc_arena *arena = builder->write->arena;
    if (operation != CRDT_INSERT && operation != CRDT_DELETE && changes_key(table, new_values, old_values)) {
        put_row(builder, CRDT_DELETE, table, NULL, old_values, known, set);
        put_row(builder, CRDT_INSERT, table, new_values, old_values, known, set);
        return;
    }
    digest_row(builder, operation, table, new_values, old_values, known);
    struct crdt_row_change *change = add_row(builder, operation, table);
    change->key = key_of(table, operation == CRDT_DELETE ? old_values : new_values, arena);
    bool blind = operation != CRDT_INSERT && (table->stamps < 0 || !known[table->stamps]);
    if (table->has_merge_types && blind) {
        fail(builder, "CC305", "The result of a weak write is not as its plan says", NULL);
    } else if (table->has_merge_types &&
               pg_parts_note(builder->write->parts, table, change->key, operation == CRDT_INSERT ? NULL : old_values) != CC_OK) {
        fail(builder, "CC305", "The stamps of a weak row are damaged", NULL);
    }
    for (uint32_t i = 0; i < table->n_fields && operation != CRDT_DELETE; i++) {
        uint32_t at = table->fields[i];
        if (table->columns[at].key_position > 0 || !known[at]) {
            continue;
        }
        bool named = operation == CRDT_INSERT || set[at] || !same_value(new_values[at], old_values[at]);
        if (named) {
            change->fields[change->n_fields++] =
                (struct crdt_field){.column = table->columns[at].name,
                                    .value = new_values[at],
                                    .old_value = operation == CRDT_INSERT ? (struct cc_slice){0} : old_values[at]};
        }
    }
    if (operation == CRDT_UPDATE && change->n_fields == 0) {
        builder->set.n_rows--;
    }
}

struct row_buffers {
    struct cc_slice *new_values, *old_values;
    bool *known, *set;
};

static void row_buffers_init(struct row_buffers *buffers, const struct pg_table *table, struct cc_arena *arena)
{
    buffers->new_values = cc_arena_array(arena, table->n_columns, sizeof(*buffers->new_values));
    buffers->old_values = cc_arena_array(arena, table->n_columns, sizeof(*buffers->old_values));
    buffers->known = cc_arena_array(arena, table->n_columns, sizeof(*buffers->known));
    buffers->set = cc_arena_array(arena, table->n_columns, sizeof(*buffers->set));
}

static int32_t column_position(const struct pg_table *table, struct cc_slice name)
{
    for (uint32_t i = 0; i < table->n_columns; i++) {
        if (cc_slice_equal(table->columns[i].name, name)) {
            return (int32_t)i;
        }
    }
    return -1;
}

// A row that was inserted and told in brief.
static void put_brief_row(struct builder *builder, const struct rest_statement *statement, const struct pg_table *table,
                          const int32_t *positions, const struct pg_rows *rows, int row, struct row_buffers *buffers)
{
    struct cc_slice *values = cc_arena_array(builder->write->arena, statement->shape.n_columns, sizeof(*values));
    pg_rows_read_brief(statement, rows, row, values);
    for (uint32_t i = 0; i < statement->shape.n_columns; i++) {
        buffers->new_values[positions[i]] = values[i];
    }
    put_row(builder, CRDT_INSERT, table, buffers->new_values, buffers->old_values, buffers->known, buffers->set);
}

static bool put_returned_row(struct builder *builder, const struct rest_statement *statement, const struct pg_table *table,
                             const int32_t *positions, const struct pg_rows *rows, int at, struct row_buffers *buffers)
{
    const struct rest_shape *shape = &statement->shape;
    if (rows->brief) {
        put_brief_row(builder, statement, table, positions, rows, at, buffers);
        return true;
    }
    const PGresult *result = rows->result;
    int row = rows->first + at;
    char tag = PQgetisnull(result, row, 0) ? '?' : PQgetvalue(result, row, 0)[0];
    if ((tag == 'U' || tag == 'D') && !shape->with_old) {
        return false;
    }
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        buffers->new_values[positions[i]] = pg_result_value(result, row, (int)(1 + i));
        if (shape->with_old) {
            buffers->old_values[positions[i]] = pg_result_value(result, row, (int)(1 + shape->n_columns + i));
        }
    }
    switch (tag) {
    case 'I':
        put_row(builder, CRDT_INSERT, table, buffers->new_values, buffers->old_values, buffers->known, buffers->set);
        return true;
    case 'U': {
        enum crdt_operation operation = statement->kind == REST_UPSERT ? CRDT_UPSERT : CRDT_UPDATE;
        put_row(builder, operation, table, buffers->new_values, buffers->old_values, buffers->known, buffers->set);
        return true;
    }
    case 'D':
        put_row(builder, CRDT_DELETE, table, buffers->new_values, buffers->old_values, buffers->known, buffers->set);
        return true;
    default:
        return false;
    }
}

static bool put_returned(struct builder *builder, const struct rest_statement *statement, const struct pg_rows *rows)
{
    struct cc_arena *arena = builder->write->arena;
    const struct rest_shape *shape = &statement->shape;
    if (rows->n == 0 || shape->n_columns == 0) {
        return true;
    }
    const struct pg_table *table = pg_table_find(builder->write->lane->postgres, shape->table);
    if (table == NULL || !table->found || !table->weak || !pg_rows_fit(statement, rows)) {
        return false;
    }
    int32_t *positions = cc_arena_array(arena, shape->n_columns, sizeof(*positions));
    struct row_buffers buffers;
    row_buffers_init(&buffers, table, arena);
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        positions[i] = column_position(table, shape->columns[i].name);
        if (positions[i] < 0) {
            return false;
        }
        buffers.known[positions[i]] = true;
        buffers.set[positions[i]] = (shape->columns[i].flags & REST_COLUMN_SET) != 0;
    }
    for (int row = 0; row < rows->n; row++) {
        if (!put_returned_row(builder, statement, table, positions, rows, row, &buffers)) {
            return false;
        }
    }
    return true;
}

static bool put_captured(struct builder *builder, const PGresult *captured)
{
    struct cc_arena *arena = builder->write->arena;
    struct pg_captured_row *rows = NULL;
    size_t n = 0;
    if (pg_capture_read(builder->write->lane->postgres, captured, arena, &rows, &n) != CC_OK) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct row_buffers buffers;
        row_buffers_init(&buffers, rows[i].table, arena);
        memset(buffers.known, true, rows[i].table->n_columns);
        enum crdt_operation kind = rows[i].operation == 'I' ? CRDT_INSERT : rows[i].operation == 'U' ? CRDT_UPDATE : CRDT_DELETE;
        put_row(builder, kind, rows[i].table, rows[i].new_values, rows[i].old_values, buffers.known, buffers.set);
    }
    return true;
}

static bool put_statements(struct builder *builder)
{
    const struct pg_weak_write *write = builder->write;
    for (uint32_t i = 0; i <= write->operation->n_statements; i++) {
        bool ok = true;
        if (write->captured[i] != NULL) {
            ok = put_captured(builder, write->captured[i]);
        } else if (i < write->operation->n_statements && !write->operation->statements[i].roll_back) {
            ok = put_returned(builder, &write->operation->statements[i], &write->rows[i]);
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

struct cc_slice pg_weak_seen(const struct pg_lane *lane, const struct clock_stamp *stamp, struct cc_arena *arena)
{
    const struct crdt_frontier *held = &lane->merged;
    struct crdt_frontier others;
    others.n = 0;
    for (uint32_t i = 0; i < held->n; i++) {
        if (held->at[i].origin.replica != stamp->replica || held->at[i].origin.incarnation != stamp->incarnation) {
            others.at[others.n++] = held->at[i];
        }
    }
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, &others);
    struct cc_slice seen = cc_arena_slice(arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return seen;
}

// Columns with merge types: from the values that the statements left to the parts that travel.
static void put_parts(struct builder *builder)
{
    struct crdt_change_set *set = &builder->set;
    const struct pg_weak_write *write = builder->write;
    uint32_t n = 0;
    for (uint32_t i = 0; i < set->n_rows; i++) {
        const struct pg_table *table = pg_table_by_name(write->lane->postgres, set->rows[i].table);
        enum cc_status status = CC_OK;
        bool empty = table != NULL && table->has_merge_types && pg_parts_change(write->parts, table, &set->rows[i], set, &status);
        if (status != CC_OK) {
            fail(builder, "CC309", "A column with a merge type cannot take this value",
                 "A counter takes finite numbers: a change of a value that is not one is no increment");
        }
        if (!empty) {
            set->rows[n++] = set->rows[i];
        }
    }
    set->n_rows = n;
}

static void encode(struct builder *builder, struct cc_slice *change_out)
{
    if (builder->failure.n == 0 && builder->set.n_rows > 0) {
        struct cc_buffer bytes = {0};
        cc_buffer_reserve(&bytes, CHANGE_BYTES_USUAL);
        crdt_change_set_put(&bytes, &builder->set);
        *change_out = cc_arena_slice(builder->write->arena, cc_buffer_slice(&bytes));
        cc_buffer_finish(&bytes);
    }
}

struct cc_slice pg_weak_change(const struct pg_weak_write *write, struct cc_slice *failure_out)
{
    struct builder builder = {.write = write};
    struct cc_slice change = {0};
    builder.set.origin = (struct crdt_origin){write->stamp.replica, write->stamp.incarnation};
    builder.set.stamp = write->stamp;
    builder.set.schema_version = write->operation->schema_version;
    struct cc_slice principal = write->operation->principal;
    builder.set.principal = principal;
    builder.set.seen = pg_weak_seen(write->lane, &write->stamp, write->arena);
    builder.set.durable = write->operation->durability != OPERATION_LOCAL;
    if (write->operation->key.data != NULL) {
        builder.set.principal = principal.data == NULL ? cc_slice_text("") : principal;
        builder.set.request_key = write->operation->key;
        builder.set.fingerprint = write->operation->fingerprint;
        builder.set.outcome = write->outcome;
    }
    if (!put_statements(&builder)) {
        fail(&builder, "CC305", "The result of a weak write is not as its plan says", NULL);
    }
    builder.set.rows = builder.rows;
    if (builder.failure.n == 0 && builder.set.n_rows > 0) {
        crdt_change_set_join(&builder.set, write->arena);
        put_parts(&builder);
        encode(&builder, &change);
    }
    *failure_out = builder.failure.n > 0 ? builder.failure : *failure_out;
    free(builder.rows);
    return change;
}

// -- What is left to be done after a write ---------------------------------------------------------------------------------

// A trigger wrote this row: its stamps are not what the statement gave.
static void mend_stamps(struct pg_mend *mend, struct cc_arena *arena, const struct pg_table *table, const struct crdt_row_change *change,
                        const char *stamp)
{
    struct cc_slice *key = cc_arena_array(arena, table->n_key, sizeof(*key));
    size_t n_key = 0;
    if (crdt_key_read(change->key, key, table->n_key, &n_key) != CC_OK || n_key != table->n_key) {
        return;
    }
    cc_buffer_append_text(&mend->sql, "UPDATE ");
    cc_buffer_append_slice(&mend->sql, table->name);
    bool whole = change->operation == CRDT_INSERT;
    cc_buffer_append_text(&mend->sql, whole ? " SET _caucus = pg_catalog.jsonb_build_object(''"
                                            : " SET _caucus = coalesce(_caucus, '{}'::pg_catalog.jsonb) || pg_catalog.jsonb_build_object(");
    if (whole) {
        cc_buffer_append_text(&mend->sql, ", ");
        pg_mend_put_value(mend, cc_slice_text(stamp));
    }
    if (change->operation == CRDT_UPSERT) {
        cc_buffer_append_text(&mend->sql, "'+', ");
        pg_mend_put_value(mend, cc_slice_text(stamp));
    }
    for (uint32_t i = 0; !whole && i < change->n_fields; i++) {
        cc_buffer_append_text(&mend->sql, i == 0 && change->operation != CRDT_UPSERT ? "" : ", ");
        pg_mend_put_value(mend, change->fields[i].column);
        cc_buffer_append_text(&mend->sql, ", ");
        pg_mend_put_value(mend, cc_slice_text(stamp));
    }
    cc_buffer_append_text(&mend->sql, ")");
    pg_mend_send(mend, table, key);
}

// A captured row went away under its key.
static bool has_gone(const struct pg_table *table, const PGresult *captured, int row, struct cc_arena *arena)
{
    char operation = PQgetvalue(captured, row, PG_CAPTURE_OPERATION)[0];
    struct cc_slice *old_values = cc_arena_array(arena, table->n_columns, sizeof(*old_values));
    struct cc_slice *new_values = cc_arena_array(arena, table->n_columns, sizeof(*new_values));
    if (operation != 'U') {
        return operation == 'D';
    }
    return pg_record_read(pg_result_value(captured, row, PG_CAPTURE_OLD), arena, old_values, table->n_columns) == CC_OK &&
           pg_record_read(pg_result_value(captured, row, PG_CAPTURE_NEW), arena, new_values, table->n_columns) == CC_OK &&
           changes_key(table, new_values, old_values);
}

// Row images before a deletion, as registers with their stamps.
static bool tombstone_of(struct pg_tombstones *tombstones, const struct pg_table *table, const PGresult *captured, int row,
                         const struct clock_stamp *stamp, struct cc_arena *arena)
{
    struct cc_slice *values = cc_arena_array(arena, table->n_columns, sizeof(*values));
    if (pg_record_read(pg_result_value(captured, row, PG_CAPTURE_OLD), arena, values, table->n_columns) != CC_OK) {
        return false;
    }
    struct crdt_row crdt;
    struct crdt_register *registers = cc_arena_array(arena, table->n_fields, sizeof(*registers));
    crdt_row_init(&crdt, table->registers, table->n_fields, registers, arena);
    for (uint32_t i = 0; i < table->n_fields; i++) {
        registers[i].value = values[table->fields[i]];
    }
    if (table->stamps < 0 || crdt_stamps_read(values[table->stamps], &crdt) != CC_OK) {
        return false;
    }
    struct cc_slice key = key_of(table, values, arena);
    struct crdt_row_change deletion = {.operation = CRDT_DELETE, .table = table->name, .key = key};
    (void)crdt_row_merge(&crdt, &deletion, stamp);
    pg_tombstones_put(tombstones, table->name, key, &crdt);
    return true;
}

// The row that a captured one was, is there again under its key: written by the same set, so it was not deleted.
static bool is_there(const struct crdt_change_set *set, const struct pg_table *table, const PGresult *captured, int row, struct cc_arena *arena)
{
    struct cc_slice *values = cc_arena_array(arena, table->n_columns, sizeof(*values));
    if (pg_record_read(pg_result_value(captured, row, PG_CAPTURE_OLD), arena, values, table->n_columns) != CC_OK) {
        return false;
    }
    struct cc_slice key = key_of(table, values, arena);
    for (uint32_t i = 0; i < set->n_rows; i++) {
        if (cc_slice_equal(set->rows[i].key, key) && cc_slice_equal(set->rows[i].table, table->name)) {
            return set->rows[i].operation != CRDT_DELETE;
        }
    }
    return false;
}

static bool only_deletes(const struct crdt_change_set *set)
{
    for (uint32_t i = 0; i < set->n_rows; i++) {
        if (set->rows[i].operation != CRDT_DELETE) {
            return false;
        }
    }
    return true;
}

static bool captured_anything(PGresult *const *captured, const struct operation *operation)
{
    for (uint32_t i = 0; i <= operation->n_statements; i++) {
        if (captured[i] != NULL && PQntuples(captured[i]) > 0) {
            return true;
        }
    }
    return false;
}

void pg_weak_mend(struct pg_lane *lane, struct cc_arena *arena, struct cc_slice change, const struct operation *operation,
                  PGresult *const *captured)
{
    struct crdt_change_set set;
    if (change.n == 0 || !captured_anything(captured, operation) || crdt_change_set_read(change, arena, &set) != CC_OK) {
        return;
    }
    bool by_trigger = false, deletes = only_deletes(&set);
    struct pg_tombstones tombstones;
    pg_tombstones_init(&tombstones, lane);
    for (uint32_t i = 0; i <= operation->n_statements; i++) {
        by_trigger = by_trigger || (captured[i] != NULL && (i == operation->n_statements || operation->statements[i].captured));
        for (int row = 0; captured[i] != NULL && row < PQntuples(captured[i]); row++) {
            const struct pg_table *table = pg_capture_table(lane->postgres, captured[i], row);
            if (has_gone(table, captured[i], row, arena) && (deletes || !is_there(&set, table, captured[i], row, arena)) &&
                !tombstone_of(&tombstones, table, captured[i], row, &set.stamp, arena)) {
                pg_lane_drop(lane, "the stamps of a weak row are damaged", NULL);
            }
        }
    }
    pg_tombstones_send(&tombstones);
    char stamp[CLOCK_STAMP_TEXT_BYTES];
    clock_stamp_text(&set.stamp, stamp);
    struct pg_mend mend;
    pg_mend_init(&mend, lane);
    for (uint32_t i = 0; by_trigger && i < set.n_rows; i++) {
        const struct pg_table *table = pg_table_by_name(lane->postgres, set.rows[i].table);
        if (table != NULL && set.rows[i].operation != CRDT_DELETE) {
            pg_mend_as_replica(&mend);
            mend_stamps(&mend, arena, table, &set.rows[i], stamp);
        }
    }
    pg_mend_finish(&mend);
}

// -- WEAK_COMMIT -------------------------------------------------------------------------------------------------------------

static void on_weak_commit(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    struct pg_lane *lane = job->lane;
    if (!pg_lane_committed(lane, result)) {
        return;
    }
    for (uint32_t i = 0; i < job->job.n_items; i++) {
        struct crdt_change_set set;
        if (crdt_change_set_peek(job->job.items[i], &set) != CC_OK ||
            crdt_frontier_raise(&lane->frontier, set.origin, set.sequence) != CC_OK) {
            pg_lane_drop(lane, "the frontier cannot be raised", NULL);
            return;
        }
    }
    lane->merged = lane->frontier;
    pg_lane_emit(lane, &(struct db_event){.kind = DB_WEAK_COMMITTED, .number = job->job.number});
    pg_job_finish(job);
}

void pg_weak_commit_start(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    pg_lane_begin(lane);
    struct pg_history history;
    pg_history_init(&history);
    for (uint32_t i = 0; i < job->job.n_items; i++) {
        struct crdt_change_set set;
        if (crdt_change_set_read(job->job.items[i], &job->arena, &set) != CC_OK) {
            pg_lane_drop(lane, "a change set is damaged", NULL);
            break;
        }
        pg_history_put(&history, &set, job->job.items[i]);
    }
    pg_history_send(&history, lane);
    pg_digests_send(&lane->digests, lane);
    struct io_postgres_query query = {.sql = "COMMIT"};
    io_postgres_link_send(lane->link, &query, on_weak_commit, job, 0);
    io_postgres_link_sync(lane->link, NULL, NULL, 0);
    lane->in_transaction = false;
    pg_lane_settings_forget(lane);
    job->followed = true;
}

// -- FETCH -------------------------------------------------------------------------------------------------------------------

static void on_fetched(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_job *job = context;
    if (!pg_result_ok(result)) {
        pg_lane_drop(job->lane, "cannot read the history", result);
        PQclear(result);
        return;
    }
    uint32_t n = 0;
    struct cc_slice *changes = cc_arena_array(&job->arena, (size_t)PQntuples(result) + 1, sizeof(*changes));
    for (int row = 0; row < PQntuples(result); row++) {
        struct crdt_change_set set;
        struct cc_slice change = pg_result_value(result, row, 0);
        if (crdt_change_set_peek(change, &set) != CC_OK || set.sequence != job->job.sequence + n) {
            break; // a gap: what is behind it is of no use to the asker
        }
        changes[n++] = change;
    }
    pg_lane_emit(job->lane, &(struct db_event){.kind = DB_FETCHED,
                                               .number = job->job.number,
                                               .changes = changes,
                                               .n_changes = n,
                                               .origin = job->job.origin,
                                               .peer = job->job.peer});
    PQclear(result);
    pg_job_finish(job);
}

void pg_fetch_start(struct pg_job *job)
{
    uint64_t numbers[4] = {job->job.origin.replica, job->job.origin.incarnation, job->job.sequence, job->job.n_bytes_max};
    struct cc_slice parameters[4];
    for (size_t i = 0; i < 4; i++) {
        parameters[i] = cc_slice_text(cc_arena_printf(&job->arena, "%" PRIu64, numbers[i]));
    }
    struct io_postgres_query query = {
        .sql = "SELECT c.change FROM (SELECT sequence, sets, changes, sum(bytes) OVER (ORDER BY sequence) - bytes AS before "
               "FROM (SELECT sequence, sets, bytes, changes FROM caucus.history WHERE replica = $1::bigint AND incarnation = $2::bigint "
               "AND sequence >= $3::bigint ORDER BY sequence LIMIT 1000) h) s, unnest(s.changes) WITH ORDINALITY AS c(change, n) "
               "WHERE s.before < $4::bigint AND s.sequence - s.sets + c.n >= $3::bigint ORDER BY s.sequence, c.n",
        .n_parameters = 4,
        .parameters = parameters,
        .binary_result = true};
    io_postgres_link_send(job->lane->link, &query, on_fetched, job, 0);
    io_postgres_link_sync(job->lane->link, NULL, NULL, 0);
}
