// EXECUTE of a migration on the leader: its statements one by one in the open transaction, what they change as effects, then
// the rules that weak tables must keep. All or nothing.
//
//   ASK (is the name known? what is there?) --> RUN (statements, each with its checks) --> RULES --> done
//      \-- known ---------------------------------> failed: roll back, outcome <--/          /
//                                                           ^-------------------------------/
#include "proxy/postgres/apply_sql.h"
#include "proxy/postgres/io_postgres_columns.h"
#include "proxy/postgres/io_postgres_internal.h"
#include "proxy/postgres/migration.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct migrate {
    struct pg_job *job;
    struct pg_lane *lane;
    struct operation operation;
    struct migration migration;
    bool saved; // within an older transaction
    bool failed;
    struct cc_slice outcome;
    PGresult *known, *before, *columns_before, *columns;
    PGresult **captured, **tables, **sequences; // per statement
    PGresult *rules;
    struct effect_builder effects;
};

enum answer {
    ANSWER_KNOWN,
    ANSWER_BEFORE,
    ANSWER_COLUMNS_BEFORE,
    ANSWER_STATEMENT,
    ANSWER_CHECK,
    ANSWER_CAPTURE,
    ANSWER_TABLES,
    ANSWER_SEQUENCES,
    ANSWER_RULES,
    ANSWER_COLUMNS,
    ANSWER_OTHER
};

static uint64_t answer_number(uint32_t statement, uint32_t check, enum answer what)
{
    return (uint64_t)statement << 32 | (uint64_t)check << 8 | (uint64_t)what;
}

static void dispose(struct pg_job *job)
{
    struct migrate *migrate = job->state;
    PQclear(migrate->known);
    PQclear(migrate->before);
    PQclear(migrate->rules);
    PQclear(migrate->columns_before);
    PQclear(migrate->columns);
    for (uint32_t i = 0; i < migrate->migration.n_statements && migrate->captured != NULL; i++) {
        PQclear(migrate->captured[i]);
        PQclear(migrate->tables[i]);
        PQclear(migrate->sequences[i]);
    }
    effect_builder_finish(&migrate->effects);
}

static void fail(struct migrate *migrate, struct cc_slice outcome)
{
    if (!migrate->failed) {
        migrate->failed = true;
        migrate->outcome = outcome;
    }
}

// "statement 3 (line 12)", in front of PostgreSQL's own message.
static void fail_with_error(struct migrate *migrate, uint32_t statement, const PGresult *result)
{
    struct cc_arena *arena = &migrate->job->arena;
    struct rest_outcome outcome;
    struct cc_slice error = pg_outcome_of_error(arena, result, false);
    if (rest_outcome_read(error, &outcome) != CC_OK) {
        return;
    }
    if (statement < migrate->migration.n_statements) {
        uint32_t line = migrate->migration.statements[statement].line;
        const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
        int64_t at = 0;
        if (position != NULL && pg_int8_read(cc_slice_text(position), &at) == CC_OK) { // the line within the statement
            struct cc_slice sql = migrate->migration.statements[statement].sql;
            for (int64_t i = 0; i < at - 1 && (size_t)i < sql.n; i++) {
                line += sql.data[i] == '\n';
            }
        }
        char *message = cc_arena_printf(arena, "statement %u (line %u): %.*s", statement + 1, line, (int)outcome.message.n,
                                        (const char *)outcome.message.data);
        outcome.message = cc_slice_text(message);
    }
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, &outcome);
    fail(migrate, cc_arena_slice(arena, cc_buffer_slice(&bytes)));
    cc_buffer_finish(&bytes);
}

static void fail_statement(struct migrate *migrate, uint32_t statement, const char *code, const char *message, const char *hint)
{
    struct cc_arena *arena = &migrate->job->arena;
    char *text = cc_arena_printf(arena, "statement %u (line %u): %s", statement + 1, migrate->migration.statements[statement].line, message);
    fail(migrate, pg_outcome_failed(arena, code, text, NULL, hint));
}

static void on_result(void *context, uint64_t number, PGresult *result)
{
    struct migrate *migrate = context;
    uint32_t statement = (uint32_t)(number >> 32);
    uint32_t check = (uint32_t)(number >> 8) & 0xffffff;
    enum answer what = (enum answer)(number & 0xff);
    if (pg_result_aborted(result) || !pg_result_ok(result)) {
        if (!pg_result_aborted(result)) {
            fail_with_error(migrate, what == ANSWER_OTHER ? UINT32_MAX : statement, result);
        }
        PQclear(result);
        return;
    }
    switch (what) {
    case ANSWER_KNOWN:
        migrate->known = result;
        return;
    case ANSWER_BEFORE:
        migrate->before = result;
        return;
    case ANSWER_COLUMNS_BEFORE:
        migrate->columns_before = result;
        return;
    case ANSWER_COLUMNS:
        migrate->columns = result;
        return;
    case ANSWER_CAPTURE:
        migrate->captured[statement] = result;
        return;
    case ANSWER_TABLES:
        migrate->tables[statement] = result;
        return;
    case ANSWER_SEQUENCES:
        migrate->sequences[statement] = result;
        return;
    case ANSWER_RULES:
        migrate->rules = result;
        return;
    case ANSWER_CHECK:
        if (PQntuples(result) > 0 && PQgetvalue(result, 0, 0)[0] == 't') {
            fail_statement(migrate, statement, "0A000", migrate->migration.statements[statement].checks[check].reason, NULL);
        }
        break;
    case ANSWER_STATEMENT:
    case ANSWER_OTHER:
        break;
    }
    PQclear(result);
}

static void send_once(struct migrate *migrate, const char *sql, uint64_t number)
{
    struct io_postgres_query query = {.sql = sql, .once = true};
    io_postgres_link_send(migrate->lane->link, &query, on_result, migrate, number);
}

static void send_other(struct migrate *migrate, const char *sql)
{
    send_once(migrate, sql, answer_number(0, 0, ANSWER_OTHER));
}

// -- The end -----------------------------------------------------------------------------------------------------------

static void answer(struct migrate *migrate, bool done)
{
    struct pg_job *job = migrate->job;
    struct db_event event = {.kind = DB_EXECUTED, .number = job->job.number, .n_outcomes = 1, .outcomes = &migrate->outcome};
    event.has_migration = done;
    if (done) {
        event.effects = effect_builder_slice(&migrate->effects);
    }
    pg_lane_emit(migrate->lane, &event);
    pg_job_finish(job);
}

static void roll_back_and_answer(struct migrate *migrate)
{
    struct pg_lane *lane = migrate->lane;
    pg_lane_settings_forget(lane);
    pg_lane_sequences_forget(lane);
    pg_lane_must_text(lane, migrate->saved ? "ROLLBACK TO SAVEPOINT caucus_migration" : "ROLLBACK");
    if (!migrate->saved) {
        lane->in_transaction = false;
        pg_lane_begin(lane); // the COMMIT comes all the same
    }
    pg_tables_forget(lane->postgres);
    answer(migrate, false);
}

static void put_sequences(struct migrate *migrate, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        int64_t value = 0;
        if (pg_int8_read(pg_result_value(result, row, 1), &value) == CC_OK) {
            effect_put_sequence(&migrate->effects, pg_result_value(result, row, 0), value, true);
        }
    }
}

// Takes the rows that a statement changed; the descriptions are those of the moment.
static bool put_rows(struct migrate *migrate, uint32_t statement)
{
    struct pg_lane *lane = migrate->lane;
    const PGresult *captured = migrate->captured[statement];
    const PGresult *tables = migrate->tables[statement];
    struct cc_arena *arena = &migrate->job->arena;
    if (PQntuples(captured) == 0) {
        return true;
    }
    struct cc_slice *asked = cc_arena_array(arena, (size_t)PQntuples(tables), sizeof(*asked));
    size_t n = 0;
    for (int row = 0; row < PQntuples(tables); row++) { // its last column names what was asked
        struct cc_slice name = pg_result_value(tables, row, PQnfields(tables) - 1);
        if (n == 0 || !cc_slice_equal(asked[n - 1], name)) {
            asked[n++] = name;
        }
    }
    pg_tables_forget(lane->postgres);
    enum cc_status status = pg_tables_take(lane->postgres, asked, n, tables);
    if (status == CC_OK) {
        status = pg_effects_of_capture(&migrate->effects, lane->postgres, captured, arena);
    }
    pg_tables_forget(lane->postgres);
    if (status == CC_UNSUPPORTED) {
        fail_statement(migrate, statement, "55000", "rows of a table without a primary key can only be inserted", "Give the table a primary key");
    } else if (status != CC_OK) {
        fail_statement(migrate, statement, "CC302", "it changed rows that cannot be described", NULL);
    }
    return status == CC_OK;
}

// Also on the other replicas before this statement: columns must come to stand in the same order everywhere.
static void put_protect(struct migrate *migrate)
{
    effect_put_ddl(&migrate->effects, cc_slice_text("SELECT caucus.protect()"));
}

static bool put_statement(struct migrate *migrate, uint32_t index)
{
    const struct migration_statement *statement = &migrate->migration.statements[index];
    switch (statement->kind) {
    case MIGRATION_DDL:
    case MIGRATION_SET:
        effect_put_ddl(&migrate->effects, statement->sql);
        return true;
    case MIGRATION_DO:
        if (PQntuples(migrate->captured[index]) > 0) {
            fail_statement(migrate, index, "0A000", "a DO block must not change rows: it runs on every replica",
                           "Write the changes as INSERT, UPDATE or DELETE statements of the migration");
            return false;
        }
        put_protect(migrate);
        effect_put_ddl(&migrate->effects, statement->sql);
        return true;
    case MIGRATION_DATA:
        put_protect(migrate);
        if (!put_rows(migrate, index)) {
            return false;
        }
        put_sequences(migrate, migrate->sequences[index]);
        return true;
    }
    return false;
}

static void on_ran(void *context, uint64_t number)
{
    (void)number;
    struct migrate *migrate = context;
    struct pg_lane *lane = migrate->lane;
    if (io_postgres_link_connection(lane->link) == NULL) {
        return;
    }
    if (!migrate->failed && PQntuples(migrate->rules) > 0) {
        const PGresult *rules = migrate->rules;
        fail(migrate, pg_outcome_failed(&migrate->job->arena, "CC307", PQgetvalue(rules, 0, 0), NULL, PQgetvalue(rules, 0, 1)));
    }
    struct pg_columns_problem problem;
    if (!migrate->failed && pg_columns_check(migrate->columns_before, migrate->columns, &migrate->job->arena, &problem)) {
        fail(migrate, pg_outcome_failed(&migrate->job->arena, "CC307", problem.message, NULL, problem.hint));
    }
    for (uint32_t i = 0; !migrate->failed && i < migrate->migration.n_statements; i++) {
        (void)put_statement(migrate, i);
    }
    if (migrate->failed) {
        roll_back_and_answer(migrate);
        return;
    }
    effect_put_migration(&migrate->effects, migrate->operation.migration_name, migrate->operation.migration_sql);
    lane->migrated = true;
    pg_lane_pin_settings(lane); // behind RESET ALL
    struct rest_outcome outcome = {.kind = REST_DONE, .n_rows = 1};
    struct cc_buffer bytes = {0};
    rest_outcome_put(&bytes, &outcome);
    migrate->outcome = cc_arena_slice(&migrate->job->arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    answer(migrate, true);
}

// -- Running -----------------------------------------------------------------------------------------------------------

// What weak tables must be like, so that merged writes cannot break what single writes kept. One row per violation:
// message, hint. $1 to $3: tables before the migration (oid, weak, columns).
static const char sql_rules[] =
    "WITH now AS (SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, caucus.is_weak(c.oid) AS weak, c.relkind, "
    "  c.relpersistence, c.relispartition, c.relhassubclass, n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "  WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'caucus') AND n.nspname !~ '^pg_'), "
    "before AS (SELECT * FROM ROWS FROM (unnest($1::text[]), unnest($2::text[]), unnest($3::text[])) AS u(oid, weak, columns)), "
    "weak AS (SELECT * FROM now WHERE weak), "
    "problems AS ("
    "SELECT 1 AS rank, w.name, 'has no primary key' AS what, 'Give it one: uuid, text or another value that the client supplies' AS hint FROM weak w "
    " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = w.oid AND i.indisprimary) "
    "UNION ALL SELECT 2, w.name, pg_catalog.format('has the unique or exclusion index %I besides its primary key', x.relname), "
    " 'Two replicas could insert the same value at the same time: drop it, or make the table strong' "
    " FROM weak w JOIN pg_catalog.pg_index i ON i.indrelid = w.oid AND NOT i.indisprimary AND (i.indisunique OR i.indisexclusion) "
    " JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid "
    "UNION ALL SELECT 3, w.name, pg_catalog.format('has the foreign key %I', k.conname), "
    " 'The row it refers to could be deleted at another replica at the same time: drop it, or make the table strong' "
    " FROM weak w JOIN pg_catalog.pg_constraint k ON k.conrelid = w.oid AND k.contype = 'f' "
    "UNION ALL SELECT 4, w.name, pg_catalog.format('is referenced by the foreign key %I of table %s', k.conname, k.conrelid::regclass), "
    " 'Its rows can be deleted at another replica at the same time: drop the foreign key, or make the table strong' "
    " FROM weak w JOIN pg_catalog.pg_constraint k ON k.confrelid = w.oid AND k.contype = 'f' "
    "UNION ALL SELECT 5, w.name, pg_catalog.format('has the check constraint %I over several columns', k.conname), "
    " 'Each column is merged by itself, so the merged row may break it: check single columns only, or make the table strong' "
    " FROM weak w JOIN pg_catalog.pg_constraint k ON k.conrelid = w.oid AND k.contype = 'c' AND pg_catalog.cardinality(k.conkey) <> 1 "
    "UNION ALL SELECT 6, w.name, pg_catalog.format('draws its key column %I from a sequence', a.attname), "
    " 'Two replicas would draw the same number: use uuid DEFAULT gen_random_uuid(), or let the client supply the key' "
    " FROM weak w JOIN pg_catalog.pg_index i ON i.indrelid = w.oid AND i.indisprimary "
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = w.oid AND a.attnum = ANY (i.indkey::smallint[]) "
    " WHERE a.attidentity <> '' OR EXISTS (SELECT FROM pg_catalog.pg_attrdef d WHERE d.adrelid = w.oid AND d.adnum = a.attnum "
    "  AND (d.adbin::text ~ '\\{NEXTVALUEEXPR ' OR pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ '\\mnextval\\(')) "
    "UNION ALL SELECT 7, w.name, pg_catalog.format('has a key column %I of type %s, whose equal values can be written differently', a.attname, "
    "  caucus.type_name(a.atttypid, a.atttypmod)), 'Use uuid, text, an integer type, date or timestamp' "
    " FROM weak w JOIN pg_catalog.pg_index i ON i.indrelid = w.oid AND i.indisprimary "
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = w.oid AND a.attnum = ANY (i.indkey::smallint[]) "
    " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
    " LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation "
    " WHERE NOT l.collisdeterministic OR (t.typtype <> 'e' AND coalesce(nullif(t.typbasetype, 0), t.oid) NOT IN "
    "  ('uuid'::regtype, 'text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, "
    "   'boolean'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype, 'bytea'::regtype, 'inet'::regtype, 'name'::regtype, 'oid'::regtype)) "
    "UNION ALL SELECT 8, w.name, pg_catalog.format('has the rule %I', r.rulename), 'Drop the rule, or make the table strong' "
    " FROM weak w JOIN pg_catalog.pg_rewrite r ON r.ev_class = w.oid "
    "UNION ALL SELECT 9, w.name, 'is partitioned or a partition', 'Make it a plain table, or make it strong' FROM weak w WHERE w.relkind = 'p' OR w.relispartition "
    "UNION ALL SELECT 10, w.name, 'has a column named \"+\"', 'Rename the column' FROM weak w "
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = w.oid AND a.attname = '+' AND NOT a.attisdropped "
    "UNION ALL SELECT 11, w.name, 'has a column renamed: replicas that have not heard of it would write the old name', "
    " 'Add a new column and copy the values in the application' "
    " FROM weak w JOIN before b ON b.oid = w.oid::text AND b.weak::boolean "
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped "
    " JOIN pg_catalog.regexp_split_to_table(b.columns, E'\\n') AS o(line) ON pg_catalog.split_part(o.line, ' ', 1) = a.attnum::text "
    " WHERE o.line <> a.attnum || ' ' || a.attname "
    "UNION ALL SELECT 12, n.name, CASE WHEN n.weak THEN 'was strong and holds rows: its class cannot be changed' "
    "  ELSE 'was weak and holds rows: its class cannot be changed' END, 'Create a new table and copy the rows in the application' "
    " FROM now n JOIN before b ON b.oid = n.oid::text AND b.weak::boolean <> n.weak "
    " WHERE caucus.has_rows(n.name) "
    "UNION ALL SELECT 13, n.name, 'is unlogged: its rows would be lost in a crash of its server', 'Create it without UNLOGGED' FROM now n WHERE n.relpersistence = 'u' "
    "UNION ALL SELECT 14, n.name, 'inherits from another table', 'Use partitions, or separate tables' FROM now n "
    " WHERE NOT n.relispartition AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = n.oid)) "
    "SELECT CASE WHEN rank <= 11 THEN 'The weak table ' ELSE 'The table ' END || name || ' ' || what, hint FROM problems ORDER BY rank, name LIMIT 1";

static void send_rules(struct migrate *migrate)
{
    struct pg_array columns[3];
    struct cc_slice parameters[3];
    for (int i = 0; i < 3; i++) {
        pg_array_init(&columns[i], PG_TEXT);
        for (int row = 0; row < PQntuples(migrate->before); row++) {
            pg_array_put(&columns[i], pg_result_value(migrate->before, row, i));
        }
        parameters[i] = pg_array_slice(&columns[i]);
    }
    struct io_postgres_query query = {.sql = sql_rules, .once = true, .n_parameters = 3, .parameters = parameters, .binary = (const uint8_t[]){1, 1, 1}};
    io_postgres_link_send(migrate->lane->link, &query, on_result, migrate, answer_number(UINT32_MAX, 0, ANSWER_RULES));
    for (int i = 0; i < 3; i++) {
        pg_array_finish(&columns[i]);
    }
}

static void send_check(struct migrate *migrate, uint32_t statement, uint32_t index)
{
    const struct migration_check *check = &migrate->migration.statements[statement].checks[index];
    struct cc_buffer name = {0};
    if (check->schema.data != NULL) {
        apply_sql_identifier(&name, check->schema);
        cc_buffer_append_text(&name, ".");
    }
    apply_sql_identifier(&name, check->table);
    struct cc_slice parameters[3] = {cc_buffer_slice(&name), check->function, {0}};
    struct io_postgres_query query = {.once = true, .n_parameters = 1, .parameters = parameters};
    switch (check->kind) {
    case MIGRATION_CHECK_EMPTY:
        query.sql = "SELECT pg_catalog.to_regclass($1::text) IS NOT NULL AND caucus.has_rows($1::text)";
        break;
    case MIGRATION_CHECK_EMPTY_IF_VOLATILE:
        query.sql = "SELECT pg_catalog.to_regclass($1::text) IS NOT NULL AND EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = $2::text "
                    "AND provolatile = 'v') AND caucus.has_rows($1::text)";
        query.n_parameters = 2;
        break;
    case MIGRATION_CHECK_NOT_WEAK:
        query.sql = "SELECT coalesce(caucus.is_weak(pg_catalog.to_regclass($1::text)::oid), false) "
                    "AND pg_catalog.to_regclass($1::text)::oid::text = ANY ($2::text[])";
        query.n_parameters = 2;
        break;
    }
    struct pg_array before;
    pg_array_init(&before, PG_TEXT);
    for (int row = 0; row < PQntuples(migrate->before); row++) {
        pg_array_put(&before, pg_result_value(migrate->before, row, 0));
    }
    static const uint8_t binary[2] = {0, 1};
    if (check->kind == MIGRATION_CHECK_NOT_WEAK) {
        parameters[1] = pg_array_slice(&before);
        query.binary = binary;
    }
    io_postgres_link_send(migrate->lane->link, &query, on_result, migrate, answer_number(statement, index, ANSWER_CHECK));
    pg_array_finish(&before);
    cc_buffer_finish(&name);
}

static void set_capture(struct migrate *migrate, bool on)
{
    send_other(migrate, on ? "SET LOCAL caucus.capture = 'on'" : "SET LOCAL caucus.capture = 'off'");
}

static void send_statement(struct migrate *migrate, uint32_t index)
{
    const struct migration_statement *statement = &migrate->migration.statements[index];
    for (uint32_t i = 0; i < statement->n_checks; i++) {
        send_check(migrate, index, i);
    }
    bool capture = statement->kind == MIGRATION_DATA || statement->kind == MIGRATION_DO;
    if (capture) {
        send_other(migrate, "SELECT caucus.protect()"); // tables made so far get their capture triggers
        set_capture(migrate, true);
    }
    struct io_postgres_query query = {.sql = (const char *)statement->sql.data, .n_sql = statement->sql.n, .once = true};
    io_postgres_link_send(migrate->lane->link, &query, on_result, migrate, answer_number(index, 0, ANSWER_STATEMENT));
    if (!capture) {
        return;
    }
    send_other(migrate, "SET CONSTRAINTS ALL IMMEDIATE");
    set_capture(migrate, false);
    pg_tables_ask_captured(migrate->lane, on_result, migrate, answer_number(index, 0, ANSWER_TABLES));
    send_once(migrate, pg_sql_take_capture, answer_number(index, 0, ANSWER_CAPTURE));
    send_once(migrate,
         "SELECT pg_catalog.format('%I.%I', schemaname, sequencename), last_value FROM pg_catalog.pg_sequences "
         "WHERE schemaname <> 'caucus' AND last_value IS NOT NULL ORDER BY 1",
         answer_number(index, 0, ANSWER_SEQUENCES));
}

static void send_all(struct migrate *migrate)
{
    struct pg_lane *lane = migrate->lane;
    for (uint32_t i = 0; i < migrate->migration.n_statements; i++) {
        send_statement(migrate, i);
    }
    send_other(migrate, "RESET ROLE");
    send_other(migrate, "RESET ALL");
    send_other(migrate, "SET LOCAL caucus.writer = 'on'");
    send_other(migrate, "SELECT caucus.protect()");
    send_rules(migrate);
    send_once(migrate, pg_columns_sql, answer_number(UINT32_MAX, 0, ANSWER_COLUMNS));
    struct cc_slice parameters[2] = {migrate->operation.migration_name, migrate->operation.migration_sql};
    struct io_postgres_query query = {
        .sql = "INSERT INTO caucus.migrations (position, name, sql) SELECT 1 + (SELECT count(*) FROM caucus.migrations), $1::text, $2::text",
        .once = true,
        .n_parameters = 2,
        .parameters = parameters};
    io_postgres_link_send(lane->link, &query, on_result, migrate, answer_number(0, 0, ANSWER_OTHER));
    io_postgres_link_sync(lane->link, on_ran, migrate, 0);
    pg_job_progress(migrate->job, migrate->operation.timeout_ms, true); // by default as long as it takes
}

// -- The beginning -----------------------------------------------------------------------------------------------------

// The name is known: the same text is done, another one is refused.
static void answer_known(struct migrate *migrate)
{
    struct cc_arena *arena = &migrate->job->arena;
    if (!cc_slice_equal(pg_result_value(migrate->known, 0, 0), migrate->operation.migration_sql)) {
        fail(migrate, pg_outcome_failed(arena, "CC306", "A migration of this name was applied with another text", NULL,
                                        "Applied migrations do not change: write a new one under a new name"));
    } else {
        struct rest_outcome outcome = {.kind = REST_DONE, .body = pg_result_value(migrate->known, 0, 1)};
        struct cc_buffer bytes = {0};
        rest_outcome_put(&bytes, &outcome);
        fail(migrate, cc_arena_slice(arena, cc_buffer_slice(&bytes)));
        cc_buffer_finish(&bytes);
    }
    roll_back_and_answer(migrate);
}

static void on_asked(void *context, uint64_t number)
{
    (void)number;
    struct migrate *migrate = context;
    if (io_postgres_link_connection(migrate->lane->link) == NULL) {
        return;
    }
    if (migrate->failed) {
        roll_back_and_answer(migrate);
        return;
    }
    if (PQntuples(migrate->known) > 0) {
        answer_known(migrate);
        return;
    }
    struct cc_arena *arena = &migrate->job->arena;
    struct migration_error error = {0};
    enum cc_status status = migration_parse(migrate->operation.migration_sql, arena, &migrate->migration, &error);
    if (status != CC_OK) {
        migrate->migration.n_statements = 0;
        fail(migrate, pg_outcome_failed(arena, error.code, error.message, NULL, error.hint[0] == '\0' ? NULL : error.hint));
        roll_back_and_answer(migrate);
        return;
    }
    size_t n = migrate->migration.n_statements;
    migrate->captured = cc_arena_array(arena, n, sizeof(*migrate->captured));
    migrate->tables = cc_arena_array(arena, n, sizeof(*migrate->tables));
    migrate->sequences = cc_arena_array(arena, n, sizeof(*migrate->sequences));
    send_all(migrate);
}

void pg_migrate_start(struct pg_job *job)
{
    struct migrate *migrate = cc_arena_alloc(&job->arena, sizeof(*migrate));
    struct pg_lane *lane = job->lane;
    migrate->job = job;
    migrate->lane = lane;
    job->state = migrate;
    job->dispose = dispose;
    enum cc_status status = operation_read(job->job.items[0], &job->arena, &migrate->operation);
    assert(status == CC_OK); // the caller has read it
    migrate->saved = lane->in_transaction;
    if (migrate->saved) {
        pg_lane_must_text(lane, "SAVEPOINT caucus_migration");
    } else {
        pg_lane_begin(lane);
    }
    struct io_postgres_query query = {.sql = "SELECT sql, index FROM caucus.migrations WHERE name = $1::text",
                                      .n_parameters = 1,
                                      .parameters = &migrate->operation.migration_name};
    io_postgres_link_send(lane->link, &query, on_result, migrate, answer_number(0, 0, ANSWER_KNOWN));
    send_once(migrate,
         "SELECT c.oid::text, caucus.is_weak(c.oid)::text, (SELECT pg_catalog.string_agg(a.attnum || ' ' || a.attname, E'\\n' ORDER BY a.attnum) "
         "FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) "
         "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') "
         "AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'caucus') AND n.nspname !~ '^pg_'",
         answer_number(UINT32_MAX, 0, ANSWER_BEFORE));
    send_once(migrate, pg_columns_sql, answer_number(UINT32_MAX, 0, ANSWER_COLUMNS_BEFORE));
    io_postgres_link_sync(lane->link, on_asked, migrate, 0);
}
