// MERGE: change sets of other replicas (and own ones that PostgreSQL has lost) into the weak tables. The rows as they are and
// their tombstones are read, crdt_row_merge decides, what has changed is written; one transaction.
//
//   DESCRIBE (unknown tables) --> READ (BEGIN, rows, tombstones) --> WRITE (rows, tombstones, history, COMMIT) --> done
//                                   ^                                  \-- error: roll back, once more, then set by set; a set that
//                                   +------------------------------------- fails alone holds up its origin
//
// Into the transaction of local writes: SAVEPOINT in place of BEGIN; history, digests and frontier are left to WEAK_COMMIT.
//
// Rows that a set inserts are presumed to be new, and not read: INSERT fails where one is there, and then all are read.
#include "proxy/postgres/io_postgres_merge.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>

enum { MERGES_IN_DOUBT = 64 };

static void attempt(struct merge *merge);

// Plans are made once. One that was made while the table was small would read all of it when it is large: by key always.
static const char sql_settings[] = "SELECT pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true), "
                                   "pg_catalog.set_config('enable_hashjoin', 'off', true), pg_catalog.set_config('enable_mergejoin', 'off', true), "
                                   "pg_catalog.set_config('enable_seqscan', 'off', true)";
static const char sql_settings_back[] = "SELECT pg_catalog.set_config('plan_cache_mode', 'auto', true), "
                                        "pg_catalog.set_config('enable_hashjoin', 'on', true), pg_catalog.set_config('enable_mergejoin', 'on', true), "
                                        "pg_catalog.set_config('enable_seqscan', 'on', true)";

static void clear_attempt(struct merge *merge)
{
    for (size_t i = 0; i < merge->n_row_results; i++) {
        PQclear(merge->row_results[i]);
    }
    merge->n_row_results = 0;
    merge->row_results = NULL;
    PQclear(merge->tombstones);
    merge->tombstones = NULL;
    PQclear(merge->truths.result);
    free(merge->truths.at);
    merge->truths = (struct merge_truths){0};
    for (struct merge_table *table = merge->tables; table != NULL; table = table->next) {
        free(table->rows);
    }
    merge->tables = NULL;
    pg_digests_finish(&merge->digests);
    cc_arena_finish(&merge->arena);
    cc_arena_init(&merge->arena);
    merge->failed = false;
}

static void dispose(struct pg_job *job)
{
    struct merge *merge = job->state;
    clear_attempt(merge);
    cc_arena_finish(&merge->arena);
}

void pg_merge_note_error(struct merge *merge, const PGresult *result)
{
    if (!merge->failed) {
        const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        snprintf(merge->error, sizeof(merge->error), "%s %.250s", code == NULL ? "" : code, message == NULL ? "" : message);
        merge->passing = pg_error_passes(result);
    }
    merge->failed = true;
}

static void on_written(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    if (!pg_result_ok(result) && !pg_result_aborted(result)) {
        pg_merge_note_error(context, result);
    }
    PQclear(result);
}

void pg_merge_send(struct merge *merge, const char *sql, uint32_t n, const struct cc_slice *parameters, const uint8_t *binary)
{
    struct io_postgres_query query = {.sql = sql, .n_parameters = n, .parameters = parameters, .binary = binary};
    io_postgres_link_send(merge->lane->link, &query, on_written, merge, 0);
}

// -- The end of an attempt -----------------------------------------------------------------------------------------------

static void skip_origin(struct merge *merge, struct crdt_origin origin, uint32_t from)
{
    for (uint32_t i = from; i < merge->n; i++) {
        if (crdt_origin_compare(merge->sets[i].set.origin, origin) == 0) {
            merge->sets[i].skipped = true;
        }
    }
}

static void finish(struct merge *merge)
{
    struct pg_job *job = merge->job;
    pg_lane_emit(merge->lane, &(struct db_event){.kind = DB_MERGED, .number = job->job.number, .n_changed = merge->n_changed});
    pg_job_finish(job);
}

static void next_attempt(struct merge *merge)
{
    clear_attempt(merge);
    while (merge->first < merge->n && merge->sets[merge->first].skipped) {
        merge->first++;
    }
    if (merge->first == merge->n) {
        finish(merge);
        return;
    }
    merge->end = merge->one_by_one ? merge->first + 1 : merge->n;
    attempt(merge);
}

static void roll_back(struct merge *merge)
{
    struct pg_lane *lane = merge->lane;
    if (merge->saved) {
        pg_lane_must_text(lane, "ROLLBACK TO SAVEPOINT caucus_merge");
        pg_lane_must_text(lane, "RELEASE SAVEPOINT caucus_merge");
        return;
    }
    pg_lane_must_text(lane, "ROLLBACK");
    lane->in_transaction = false;
}

static void attempt_failed(struct merge *merge)
{
    roll_back(merge);
    merge->n_changed = 0;
    if (merge->presumes) {
        merge->presumes = false;
        merge->lane->merges_in_doubt = MERGES_IN_DOUBT;
        next_attempt(merge);
        return;
    }
    if (!merge->one_by_one) {
        merge->one_by_one = true;
        next_attempt(merge);
        return;
    }
    if (merge->passing) {
        pg_lane_drop(merge->lane, cc_arena_printf(&merge->arena, "cannot merge now: %s", merge->error), NULL);
        return;
    }
    if (merge->renewed != NULL) {
        pg_renew_failed(merge);
        return;
    }
    // This one can never be merged as things stand: its origin's stream waits, the others go on.
    const struct crdt_change_set *set = &merge->sets[merge->first].set;
    cc_log(CC_LOG_ERROR, "merge_failed", "origin=%u.%u sequence=%" PRIu64 " text=%s", set->origin.replica, set->origin.incarnation,
           set->sequence, cc_log_quote(merge->error));
    if (merge->sets[merge->first].states != NULL) { // a list by itself
        merge->sets[merge->first].skipped = true;
    } else {
        skip_origin(merge, set->origin, merge->first);
    }
    next_attempt(merge);
}

// After a sync. False: the connection is gone, or the attempt has failed and the next one begins.
static bool goes_on(struct merge *merge)
{
    if (io_postgres_link_connection(merge->lane->link) == NULL) {
        return false;
    }
    if (merge->failed) {
        attempt_failed(merge);
        return false;
    }
    return true;
}

static bool note_merged(const struct merge *merge, struct crdt_frontier *frontier)
{
    for (uint32_t i = merge->first; i < merge->end; i++) {
        const struct crdt_change_set *set = &merge->sets[i].set;
        if (!merge->sets[i].skipped && merge->sets[i].states == NULL && crdt_frontier_raise(frontier, set->origin, set->sequence) != CC_OK) {
            pg_lane_drop(merge->lane, "the frontier cannot be raised", NULL);
            return false;
        }
    }
    return true;
}

static void on_merge_commit(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct merge *merge = context;
    struct pg_lane *lane = merge->lane;
    if (merge->failed || pg_result_aborted(result)) {
        PQclear(result); // on_merge_end rolls back
        return;
    }
    if (!pg_lane_committed(lane, result)) {
        return;
    }
    if (note_merged(merge, &lane->frontier)) {
        lane->merged = lane->frontier;
    }
}

static void on_merge_end(void *context, uint64_t number)
{
    (void)number;
    struct merge *merge = context;
    if (!goes_on(merge)) {
        return;
    }
    if (merge->job->job.open) {
        pg_digests_join(&merge->lane->digests, &merge->digests);
        if (!note_merged(merge, &merge->lane->merged)) {
            return;
        }
    }
    merge->first = merge->end;
    next_attempt(merge);
}

static void on_tried(void *context, uint64_t number)
{
    (void)number;
    struct merge *merge = context;
    if (goes_on(merge)) {
        pg_renew_answer(merge, merge->end);
    }
}

// -- Writing ---------------------------------------------------------------------------------------------------------------

// What was put aside here and is renewed by these sets is in the tables with them.
static void drop_renewed(struct merge *merge)
{
    struct pg_array columns[3];
    struct pg_array *arrays[3] = {&columns[0], &columns[1], &columns[2]};
    for (size_t i = 0; i < 3; i++) {
        pg_array_init(&columns[i], PG_INT8);
    }
    for (uint32_t i = merge->first; i < merge->end; i++) {
        const struct crdt_old_number *old = &merge->sets[i].set.renews;
        if (!merge->sets[i].skipped && old->sequence > 0) {
            pg_array_put_int8(&columns[0], old->origin.replica);
            pg_array_put_int8(&columns[1], old->origin.incarnation);
            pg_array_put_int8(&columns[2], (int64_t)old->sequence);
        }
    }
    if (columns[0].n > 0) {
        pg_lane_must_arrays(merge->lane, "DELETE FROM caucus.aside a USING ", arrays, 3,
                            " AS u(r, i, q) WHERE a.replica = u.r AND a.incarnation = u.i AND a.sequence = u.q");
    }
    for (size_t i = 0; i < 3; i++) {
        pg_array_finish(&columns[i]);
    }
}

static void note_sets(struct merge *merge)
{
    struct pg_lane *lane = merge->lane;
    struct pg_history history;
    struct pg_requests requests;
    pg_history_init(&history);
    pg_requests_init(&requests);
    bool durable = false, open = merge->job->job.open;
    for (uint32_t i = merge->first; i < merge->end; i++) {
        const struct merge_set *set = &merge->sets[i];
        if (set->skipped || set->states != NULL) {
            continue;
        }
        durable = durable || set->set.durable;
        if (!open) {
            pg_history_put(&history, &set->set, set->bytes);
        }
        if (set->set.request_key.data != NULL) {
            pg_requests_put(&requests, set->set.principal, set->set.request_key, set->set.fingerprint, set->set.outcome);
        }
    }
    pg_history_send(&history, lane);
    pg_requests_send(&requests, lane);
    drop_renewed(merge);
    if (durable) { // a client waits for what the frontier will say: it must be true after a crash, too
        pg_lane_commit_durably(lane);
    }
}

// The transaction goes on, with statements of requests.
static void leave_open(struct merge *merge)
{
    struct pg_lane *lane = merge->lane;
    if (merge->has_settings) {
        pg_lane_must_text(lane, sql_settings_back);
    }
    if (merge->as_replica) {
        pg_lane_must_text(lane, "SET LOCAL session_replication_role = origin");
    }
    if (merge->saved) {
        pg_lane_must_text(lane, "RELEASE SAVEPOINT caucus_merge");
    }
}

static void write_all(struct merge *merge)
{
    struct pg_lane *lane = merge->lane;
    struct pg_tombstones tombstones;
    pg_tombstones_init(&tombstones, merge->lane);
    for (const struct merge_table *table = merge->tables; table != NULL; table = table->next) {
        if (table->table != NULL) {
            pg_merge_write_table(merge, table, &tombstones);
        }
    }
    pg_tombstones_send(&tombstones);
    if (merge->renewed != NULL) { // it can be written; that is done when it is in the log
        pg_lane_must_text(lane, "ROLLBACK");
        io_postgres_link_sync(lane->link, on_tried, merge, 0);
        return;
    }
    if (merge->job->job.open) {
        note_sets(merge);
        leave_open(merge);
    } else {
        pg_digests_send(&merge->digests, lane);
        note_sets(merge);
        struct io_postgres_query query = {.sql = "COMMIT"};
        io_postgres_link_send(lane->link, &query, on_merge_commit, merge, 0);
    }
    io_postgres_link_sync(lane->link, on_merge_end, merge, 0);
}

// -- Merging ---------------------------------------------------------------------------------------------------------------

struct merge_table *pg_merge_table(struct merge *merge, struct cc_slice name)
{
    for (struct merge_table *table = merge->tables; table != NULL; table = table->next) {
        if (cc_slice_equal(table->name, name)) {
            return table;
        }
    }
    struct merge_table *table = cc_arena_alloc(&merge->arena, sizeof(*table));
    table->name = name;
    const struct pg_table *described = pg_table_by_name(merge->lane->postgres, name);
    bool usable = described != NULL && described->found && described->weak && described->stamps >= 0 && described->n_key > 0;
    table->table = usable ? described : NULL;
    table->next = merge->tables;
    merge->tables = table;
    return table;
}

static size_t row_slot(const struct merge *merge, struct cc_slice key)
{
    static const uint8_t hash_key[16] = {4};
    return cc_siphash(hash_key, key.data, key.n) % merge->n_slots;
}

struct merge_row *pg_merge_row(struct merge *merge, struct merge_table *table, struct cc_slice key)
{
    size_t at = row_slot(merge, key);
    for (; merge->slots[at] != NULL; at = (at + 1) % merge->n_slots) {
        struct merge_row *row = merge->slots[at];
        if (row->row.columns == table->table->registers && cc_slice_equal(row->key, key)) {
            return row;
        }
    }
    struct cc_slice *values = cc_arena_array(&merge->arena, table->table->n_key, sizeof(*values));
    size_t n = 0;
    if (crdt_key_read(key, values, table->table->n_key, &n) != CC_OK || n != table->table->n_key) {
        return NULL;
    }
    struct merge_row *row = cc_arena_alloc(&merge->arena, sizeof(*row));
    row->key = key;
    row->values = values;
    struct crdt_register *registers = cc_arena_array(&merge->arena, table->table->n_fields, sizeof(*registers));
    crdt_row_init(&row->row, table->table->registers, table->table->n_fields, registers, &merge->arena);
    table->rows = cc_grow(table->rows, &table->capacity, table->n_rows + 1, sizeof(struct merge_row *));
    table->rows[table->n_rows++] = row;
    merge->slots[at] = row;
    return row;
}

static void collect_rows(struct merge *merge)
{
    size_t n = 0;
    for (uint32_t i = merge->first; i < merge->end; i++) {
        n += merge->sets[i].skipped ? 0 : merge->sets[i].set.n_rows;
    }
    merge->n_slots = 2 * n + 1;
    merge->slots = cc_arena_array(&merge->arena, merge->n_slots, sizeof(struct merge_row *));
    for (uint32_t i = merge->first; i < merge->end; i++) {
        const struct crdt_change_set *set = &merge->sets[i].set;
        for (uint32_t r = 0; !merge->sets[i].skipped && r < set->n_rows; r++) {
            struct merge_table *table = pg_merge_table(merge, set->rows[r].table);
            struct merge_row *row = table->table == NULL ? NULL : pg_merge_row(merge, table, set->rows[r].key);
            if (row != NULL) {
                enum crdt_operation operation = set->rows[r].operation;
                row->inserted = row->inserted || operation == CRDT_INSERT;
                row->not_new = row->not_new || operation == CRDT_DELETE || merge->sets[i].states != NULL;
            }
        }
    }
}

static void on_truths(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct merge *merge = context;
    if (!pg_result_ok(result)) {
        pg_merge_note_error(merge, result);
        PQclear(result);
        return;
    }
    pg_merge_take_truths(merge, result);
}

static void merge_and_write(struct merge *merge);

static void on_truths_sync(void *context, uint64_t number)
{
    (void)number;
    struct merge *merge = context;
    if (!goes_on(merge)) {
        return;
    }
    merge_and_write(merge);
}

// The change sets under these stamps, and those of these rows. The index is of ranges of pages, and knows nothing of the newest ones: it is asked once, for all from the
// first stamp to the last, which are neighbours as a repair sends its rows.
static const char sql_truths[] =
    "SELECT c.change FROM caucus.history h, unnest(h.changes) AS c(change) "
    "WHERE h.since COLLATE \"C\" <= (SELECT max(s COLLATE \"C\") FROM unnest($1::text[]) AS s) AND h.stamp COLLATE \"C\" >= (SELECT min(s COLLATE \"C\") FROM unnest($1::text[]) AS s) "
    "AND EXISTS (SELECT FROM unnest($1::text[]) AS s WHERE s COLLATE \"C\" >= h.since AND s COLLATE \"C\" <= h.stamp) "
    "AND caucus.time_of(c.change) = ANY (ARRAY(SELECT left(s, 16) FROM unnest($1::text[]) AS s)) "
    "UNION ALL SELECT c.change FROM unnest($2::bigint[]) AS r(hash), caucus.history_of(r.hash) AS c";

// False: there is nothing to ask for.
static bool ask_for_truths(struct merge *merge)
{
    struct pg_array stamps, hashes;
    pg_array_init(&stamps, PG_TEXT);
    pg_array_init(&hashes, PG_INT8);
    pg_merge_contradictions(merge, &stamps, &hashes);
    bool any = stamps.n + hashes.n > 0;
    if (any) {
        struct cc_slice parameters[] = {pg_array_slice(&stamps), pg_array_slice(&hashes)};
        struct io_postgres_query query = {.sql = sql_truths,
                                          .n_parameters = 2,
                                          .parameters = parameters,
                                          .binary = (const uint8_t[]){1, 1}};
        io_postgres_link_send(merge->lane->link, &query, on_truths, merge, 0);
        io_postgres_link_sync(merge->lane->link, on_truths_sync, merge, 0);
    }
    pg_array_finish(&stamps);
    pg_array_finish(&hashes);
    return any;
}

static void merge_sets(struct merge *merge)
{
    for (uint32_t i = merge->first; i < merge->end; i++) {
        const struct crdt_change_set *set = &merge->sets[i].set;
        for (uint32_t r = 0; !merge->sets[i].skipped && r < set->n_rows; r++) {
            struct merge_table *table = pg_merge_table(merge, set->rows[r].table);
            struct merge_row *row = table->table == NULL ? NULL : pg_merge_row(merge, table, set->rows[r].key);
            if (row != NULL && merge->sets[i].states != NULL) {
                pg_merge_join_row(merge, table, row, &merge->sets[i].states[r]);
            } else if (row != NULL) {
                struct crdt_outcome outcome = crdt_row_merge(&row->row, &set->rows[r], &set->stamp);
                row->changed = row->changed || outcome.changed || row->wrong;
            }
        }
    }
}

// -- Reading -----------------------------------------------------------------------------------------------------------------

static void merge_and_write(struct merge *merge)
{
    if (merge->renewed != NULL) {
        pg_renew_decide(merge);
    } else {
        merge_sets(merge);
    }
    write_all(merge);
}

static void on_read(void *context, uint64_t number)
{
    (void)number;
    struct merge *merge = context;
    if (!goes_on(merge)) {
        return;
    }
    if (!pg_merge_take_read(merge)) {
        pg_lane_drop(merge->lane, "stamps or tombstones of a weak table are damaged", NULL);
        return;
    }
    if (!ask_for_truths(merge)) {
        merge_and_write(merge);
    }
}

static void begin(struct merge *merge)
{
    struct pg_lane *lane = merge->lane;
    merge->saved = lane->in_transaction;
    if (merge->saved) {
        pg_lane_must_text(lane, "SAVEPOINT caucus_merge");
    } else if (merge->job->job.open) {
        pg_lane_begin(lane);
    } else {
        pg_lane_must_text(lane, "BEGIN");
    }
}

static void read_all(struct merge *merge)
{
    struct pg_lane *lane = merge->lane;
    collect_rows(merge);
    begin(merge);
    bool triggers = false;
    for (const struct merge_table *table = merge->tables; table != NULL; table = table->next) {
        triggers = triggers || (table->table != NULL && table->table->has_triggers);
    }
    bool reads = pg_merge_needs_reading(merge);
    merge->has_settings = reads;
    merge->as_replica = triggers;
    if (reads) {
        pg_lane_must_text(lane, sql_settings);
    }
    if (triggers) { // only where it must be: PostgreSQL forgets all plans at each change of the role
        pg_lane_must_text(lane, "SET LOCAL session_replication_role = replica");
    }
    if (!reads) {
        merge_and_write(merge);
        return;
    }
    pg_merge_send_reads(merge);
    io_postgres_link_sync(lane->link, on_read, merge, 0);
}

// -- Descriptions --------------------------------------------------------------------------------------------------------------

static void on_described(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct merge *merge = context;
    if (!pg_result_ok(result) || pg_tables_take(merge->lane->postgres, merge->asked, merge->n_asked, result) != CC_OK) {
        pg_lane_drop(merge->lane, "cannot describe tables", result);
    }
    PQclear(result);
}

static void on_described_sync(void *context, uint64_t number)
{
    (void)number;
    struct merge *merge = context;
    if (io_postgres_link_connection(merge->lane->link) != NULL) {
        read_all(merge);
    }
}

static void attempt(struct merge *merge)
{
    size_t capacity = 0;
    struct cc_slice *asked = NULL;
    size_t n = 0;
    for (uint32_t i = merge->first; i < merge->end; i++) {
        const struct crdt_change_set *set = &merge->sets[i].set;
        for (uint32_t r = 0; !merge->sets[i].skipped && r < set->n_rows; r++) {
            struct cc_slice name = set->rows[r].table;
            bool known = pg_table_by_name(merge->lane->postgres, name) != NULL;
            for (size_t a = 0; !known && a < n; a++) {
                known = cc_slice_equal(asked[a], name);
            }
            if (!known) {
                asked = cc_grow(asked, &capacity, n + 1, sizeof(*asked));
                asked[n++] = name;
            }
        }
    }
    merge->asked = cc_arena_array(&merge->arena, n, sizeof(*merge->asked));
    for (size_t i = 0; i < n; i++) {
        merge->asked[i] = asked[i];
    }
    merge->n_asked = n;
    free(asked);
    if (n == 0) {
        read_all(merge);
        return;
    }
    pg_tables_ask(merge->lane, merge->asked, n, on_described, merge, 0);
    io_postgres_link_sync(merge->lane->link, on_described_sync, merge, 0);
}

// -- The beginning ---------------------------------------------------------------------------------------------------------------

// As a set without number, of rows without fields.
static void read_states(struct merge *merge, uint32_t index)
{
    struct merge_set *set = &merge->sets[index];
    struct cc_arena *arena = &merge->job->arena;
    struct cc_slice table = {0};
    set->bytes = merge->job->job.items[index];
    if (row_states_read(set->bytes, arena, &table, &set->states, &set->set.n_rows) != CC_OK || set->set.n_rows == 0) {
        cc_log(CC_LOG_ERROR, "merge_failed", "text=%s", cc_log_quote("states of rows cannot be decoded"));
        set->skipped = true;
        return;
    }
    set->set.rows = cc_arena_array(arena, set->set.n_rows, sizeof(*set->set.rows));
    for (uint32_t i = 0; i < set->set.n_rows; i++) {
        set->set.rows[i] = (struct crdt_row_change){.operation = CRDT_UPDATE, .table = table, .key = set->states[i].key};
    }
}

static void read_set(struct merge *merge, uint32_t index, struct crdt_frontier *frontier)
{
    struct merge_set *set = &merge->sets[index];
    set->bytes = merge->job->job.items[index];
    if (crdt_change_set_read(set->bytes, &merge->job->arena, &set->set) != CC_OK) {
        cc_log(CC_LOG_ERROR, "merge_failed", "text=%s", cc_log_quote("a change set cannot be decoded"));
        set->set = (struct crdt_change_set){0};
        set->skipped = true;
        return;
    }
    // Held already, or not the next one of its origin.
    set->skipped = set->set.sequence != crdt_frontier_get(frontier, set->set.origin) + 1 ||
                   crdt_frontier_raise(frontier, set->set.origin, set->set.sequence) != CC_OK;
}

struct merge *pg_merge_create(struct pg_job *job, uint32_t n)
{
    struct pg_lane *lane = job->lane;
    struct merge *merge = cc_arena_alloc(&job->arena, sizeof(*merge));
    merge->job = job;
    merge->lane = lane;
    merge->n = n;
    merge->sets = cc_arena_array(&job->arena, n, sizeof(*merge->sets));
    cc_arena_init(&merge->arena);
    job->state = merge;
    job->dispose = dispose;
    if (lane->in_transaction && !job->job.open) { // executed writes that changed nothing may have left one
        pg_lane_must_text(lane, "COMMIT");
        lane->in_transaction = false;
        pg_lane_settings_forget(lane);
    }
    return merge;
}

void pg_merge_begin(struct merge *merge)
{
    next_attempt(merge);
}

void pg_merge_start(struct pg_job *job)
{
    struct pg_lane *lane = job->lane;
    if (job->job.adopt != NULL) {
        pg_adopt_start(job);
        return;
    }
    struct merge *merge = pg_merge_create(job, job->job.n_items);
    struct crdt_frontier frontier = lane->merged;
    merge->presumes = lane->merges_in_doubt == 0;
    lane->merges_in_doubt -= lane->merges_in_doubt > 0;
    for (uint32_t i = 0; i < merge->n; i++) {
        if (job->job.states) {
            read_states(merge, i);
        } else {
            read_set(merge, i, &frontier);
        }
    }
    next_attempt(merge);
}
