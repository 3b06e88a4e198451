// Migrations: what is accepted, how each statement is replicated, and what is refused with which reason.
#include "proxy/postgres/migration.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

struct parsed {
    struct cc_arena arena;
    struct migration migration;
    struct migration_error error;
    enum cc_status status;
};

static struct parsed parse(const char *sql)
{
    struct parsed parsed = {0};
    cc_arena_init(&parsed.arena);
    parsed.status = migration_parse(cc_slice_text(sql), &parsed.arena, &parsed.migration, &parsed.error);
    return parsed;
}

static void assert_refused(const char *sql, const char *reason)
{
    struct parsed parsed = parse(sql);
    if (parsed.status != CC_UNSUPPORTED || strstr(parsed.error.message, reason) == NULL) {
        print_error("%s\n  gave %s, %s\n", sql, cc_status_name(parsed.status), parsed.error.message);
        fail();
    }
    assert_string_equal(parsed.error.code, "0A000");
    cc_arena_finish(&parsed.arena);
}

static void assert_kind(const char *sql, enum migration_kind kind)
{
    struct parsed parsed = parse(sql);
    if (parsed.status != CC_OK) {
        print_error("%s\n  gave %s, %s\n", sql, cc_status_name(parsed.status), parsed.error.message);
    }
    assert_int_equal(parsed.status, CC_OK);
    assert_int_equal(parsed.migration.n_statements, 1);
    assert_int_equal(parsed.migration.statements[0].kind, kind);
    cc_arena_finish(&parsed.arena);
}

static void assert_becomes(const char *sql, const char *text)
{
    struct parsed parsed = parse(sql);
    assert_int_equal(parsed.status, CC_OK);
    assert_int_equal(parsed.migration.statements[0].kind, MIGRATION_SET);
    struct cc_slice got = parsed.migration.statements[0].sql;
    if (!cc_slice_equal_text(got, text)) {
        print_error("%.*s\n", (int)got.n, (const char *)got.data);
    }
    assert_true(cc_slice_equal_text(got, text));
    cc_arena_finish(&parsed.arena);
}

static void statements_are_split_with_their_lines_and_without_comments(void **state)
{
    (void)state;
    struct parsed parsed = parse("-- a /* comment\n\nCREATE TABLE a (b int);\n/* nested /* ; */ */ INSERT INTO a\n "
                                 "VALUES (';');;\nselect 'é;'\n");
    assert_int_equal(parsed.status, CC_OK);
    assert_int_equal(parsed.migration.n_statements, 3);
    const struct migration_statement *statements = parsed.migration.statements;
    assert_int_equal(statements[0].line, 3);
    assert_true(cc_slice_equal_text(statements[0].sql, "CREATE TABLE a (b int)"));
    assert_int_equal(statements[1].line, 4);
    assert_true(cc_slice_equal_text(statements[1].sql, "INSERT INTO a\n VALUES (';')"));
    assert_int_equal(statements[2].line, 6);
    cc_arena_finish(&parsed.arena);
}

static void an_empty_text_has_no_statements(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "  \n", "-- nothing", ";;", "/* x */ ;"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct parsed parsed = parse(texts[i]);
        assert_int_equal(parsed.status, CC_OK);
        assert_int_equal(parsed.migration.n_statements, 0);
        cc_arena_finish(&parsed.arena);
    }
}

static void each_kind_of_statement_is_known(void **state)
{
    (void)state;
    assert_kind("CREATE TABLE a (id uuid PRIMARY KEY DEFAULT gen_random_uuid())", MIGRATION_DDL);
    assert_kind("COMMENT ON TABLE a IS '@caucus weak'", MIGRATION_DDL);
    assert_kind("CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END", MIGRATION_DDL);
    assert_kind("CREATE ROLE someone NOLOGIN", MIGRATION_DDL);
    assert_kind("GRANT SELECT ON a TO someone", MIGRATION_DDL);
    assert_kind("CREATE EXTENSION IF NOT EXISTS pgcrypto", MIGRATION_DDL);
    assert_kind("CREATE MATERIALIZED VIEW m AS SELECT 1", MIGRATION_DDL);
    assert_kind("REFRESH MATERIALIZED VIEW CONCURRENTLY m", MIGRATION_DDL);
    assert_kind("ANALYZE", MIGRATION_DDL);
    assert_kind("TRUNCATE a", MIGRATION_DDL);
    assert_kind("INSERT INTO a SELECT 1", MIGRATION_DATA);
    assert_kind("UPDATE a SET b = 1", MIGRATION_DATA);
    assert_kind("DELETE FROM a", MIGRATION_DATA);
    assert_kind("MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE", MIGRATION_DATA);
    assert_kind("SELECT setval('s', 5)", MIGRATION_DATA);
    assert_kind("WITH x AS (INSERT INTO a VALUES (1) RETURNING *) SELECT * FROM x", MIGRATION_DATA);
    assert_kind("DO $$ BEGIN NULL; END $$", MIGRATION_DO);
    assert_kind("CALL p()", MIGRATION_DO);
    assert_kind("SET CONSTRAINTS ALL IMMEDIATE", MIGRATION_SET);
    assert_kind("SET check_function_bodies = off", MIGRATION_SET);
}

static void settings_end_with_the_transaction(void **state)
{
    (void)state;
    assert_becomes("SET search_path TO app, public", "SET LOCAL search_path TO app, public");
    assert_becomes("set session timezone = 'UTC'", "SET LOCAL timezone = 'UTC'");
    assert_becomes("SET LOCAL statement_timeout = 0", "SET LOCAL statement_timeout = 0");
    assert_becomes("SET /* x */ TIME ZONE 'UTC'", "SET LOCAL TIME ZONE 'UTC'");
    assert_becomes("RESET search_path", "SET LOCAL search_path TO DEFAULT");
    assert_becomes("SELECT pg_catalog.set_config('search_path', '', false)",
                   "SELECT pg_catalog.set_config('search_path', '', true)");
    assert_becomes("SELECT set_config('a.b', 'it''s', true)", "SELECT pg_catalog.set_config('a.b', 'it''s', true)");
}

static void statements_that_cannot_run_in_a_transaction_are_refused(void **state)
{
    (void)state;
    assert_refused("CREATE INDEX CONCURRENTLY i ON a (b)", "CONCURRENTLY cannot run in a transaction");
    assert_refused("DROP INDEX CONCURRENTLY i", "CONCURRENTLY");
    assert_refused("REINDEX INDEX CONCURRENTLY i", "CONCURRENTLY");
    assert_refused("ALTER TABLE a DETACH PARTITION b CONCURRENTLY", "CONCURRENTLY");
    assert_refused("REINDEX DATABASE x", "REINDEX of a schema");
    assert_refused("VACUUM a", "VACUUM");
    assert_refused("CREATE DATABASE x", "cannot run in a transaction");
    assert_refused("DROP DATABASE x", "cannot run in a transaction");
    assert_refused("ALTER SYSTEM SET work_mem = '1GB'", "one server only");
    assert_refused("CLUSTER", "CLUSTER without a table");
}

static void transaction_control_is_refused(void **state)
{
    (void)state;
    static const char *const statements[] = {"BEGIN",
                                             "COMMIT",
                                             "ROLLBACK",
                                             "SAVEPOINT x",
                                             "RELEASE x",
                                             "START TRANSACTION",
                                             "PREPARE TRANSACTION 'x'",
                                             "COMMIT PREPARED 'x'"};
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        assert_refused(statements[i], "one transaction already");
    }
}

static void statements_of_one_connection_are_refused(void **state)
{
    (void)state;
    assert_refused("LISTEN x", "one connection");
    assert_refused("NOTIFY x", "one connection");
    assert_refused("PREPARE p AS SELECT 1", "one connection");
    assert_refused("DECLARE c CURSOR FOR SELECT 1", "one connection");
    assert_refused("DISCARD ALL", "one connection");
    assert_refused("CREATE TEMP TABLE a (b int)", "temporary");
    assert_refused("CREATE TEMPORARY VIEW a AS SELECT 1", "temporary");
    assert_refused("EXPLAIN SELECT 1", "seen by nobody");
    assert_refused("SHOW work_mem", "seen by nobody");
}

static void statements_that_would_differ_between_replicas_are_refused(void **state)
{
    (void)state;
    assert_refused("CREATE TABLE a AS SELECT random()", "anew on every replica");
    assert_refused("SELECT 1 AS x INTO a", "anew on every replica");
    assert_refused("COPY a FROM STDIN", "COPY");
    assert_refused("COPY a TO '/tmp/x'", "COPY");
    assert_refused("CREATE UNLOGGED TABLE a (b int)", "unlogged");
    assert_refused("ALTER TABLE a SET UNLOGGED", "unlogged");
    assert_refused("CREATE TABLE a (b int) TABLESPACE x", "tablespaces");
    assert_refused("ALTER TABLE a SET TABLESPACE x", "tablespaces");
    assert_refused("CREATE INDEX ON a (b) TABLESPACE x", "tablespaces");
    assert_refused("CREATE TABLESPACE x LOCATION '/x'", "tablespaces");
    assert_refused("SET default_tablespace = x", "tablespaces");
    assert_refused("IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z", "another server");
    assert_refused("CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", "past Caucus");
    assert_refused("SELECT set_config('search_path', x, false) FROM a", "constant arguments");
}

static void what_belongs_to_caucus_is_refused(void **state)
{
    (void)state;
    assert_refused("DROP SCHEMA caucus CASCADE", "schema caucus");
    assert_refused("CREATE SCHEMA caucus", "schema caucus");
    assert_refused("ALTER SCHEMA a RENAME TO caucus", "schema caucus");
    assert_refused("ALTER SCHEMA caucus OWNER TO x", "schema caucus");
    assert_refused("GRANT USAGE ON SCHEMA caucus TO x", "schema caucus");
    assert_refused("GRANT SELECT ON ALL TABLES IN SCHEMA caucus TO x", "schema caucus");
    assert_refused("UPDATE caucus.applied SET applied = 1", "schema caucus");
    assert_refused("INSERT INTO a SELECT applied FROM caucus.applied", "schema caucus");
    assert_refused("SELECT caucus.protect()", "schema caucus");
    assert_refused("DROP TABLE a, caucus.meta", "schema caucus");
    assert_refused("DROP FUNCTION caucus.protect()", "schema caucus");
    assert_refused("ALTER TABLE a SET SCHEMA caucus", "schema caucus");
    assert_refused("SET search_path = caucus", "schema caucus");
    assert_refused("CREATE TABLE a (_caucus jsonb)", "column _caucus");
    assert_refused("ALTER TABLE a DROP COLUMN _caucus", "column _caucus");
    assert_refused("UPDATE a SET _caucus = NULL", "column _caucus");
    assert_refused("ALTER TABLE a RENAME b TO _caucus", "column _caucus");
    assert_refused("DROP TRIGGER caucus_guard ON a", "caucus_");
    assert_refused("ALTER TABLE a DISABLE TRIGGER caucus_guard", "caucus_");
    assert_refused("ALTER TABLE a DISABLE TRIGGER ALL", "own triggers");
    assert_refused("ALTER TRIGGER caucus_guard ON a RENAME TO x", "caucus_");
    assert_refused("CREATE TRIGGER caucus_x AFTER INSERT ON a EXECUTE FUNCTION f()", "caucus_");
}

static void settings_that_caucus_relies_on_are_refused(void **state)
{
    (void)state;
    assert_refused("SET session_replication_role = replica", "belongs to Caucus");
    assert_refused("SET ROLE x", "belongs to Caucus");
    assert_refused("SET SESSION AUTHORIZATION x", "belongs to Caucus");
    assert_refused("SET caucus.writer = on", "belongs to Caucus");
    assert_refused("SELECT set_config('caucus.writer', 'on', true)", "belongs to Caucus");
    assert_refused("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "mode of the transaction");
    assert_refused("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "mode of the transaction");
    assert_refused("SET default_transaction_read_only = on", "mode of the transaction");
    assert_refused("RESET ALL", "RESET ALL");
    assert_refused("SET DateStyle = 'German'", "one form");
    assert_refused("SET extra_float_digits = 0", "one form");
    assert_refused("SET client_encoding = 'LATIN1'", "one form");
    assert_refused("SET standard_conforming_strings = off", "one form");
    assert_kind("SET client_encoding = 'UTF8'", MIGRATION_SET);
    assert_kind("SET standard_conforming_strings = on", MIGRATION_SET);
    assert_kind("SET default_tablespace = ''", MIGRATION_SET);
}

static void names_like_ours_in_other_places_are_accepted(void **state)
{
    (void)state;
    assert_kind("CREATE TABLE a (caucus int, b int, PRIMARY KEY (caucus, b))", MIGRATION_DDL);
    assert_kind("INSERT INTO a (caucus) VALUES ('_caucus'), ('caucus.applied')", MIGRATION_DATA);
    assert_kind("CREATE TABLE caucus (a int)", MIGRATION_DDL);
}

static void errors_name_statement_line_and_advice(void **state)
{
    (void)state;
    struct parsed parsed = parse("CREATE TABLE a (b int);\n\n-- now\nVACUUM a;\n");
    assert_int_equal(parsed.status, CC_UNSUPPORTED);
    assert_int_equal(parsed.error.statement, 2);
    assert_int_equal(parsed.error.line, 4);
    assert_string_equal(parsed.error.message, "line 4: VACUUM cannot run in a transaction");
    assert_string_equal(parsed.error.hint, "PostgreSQL vacuums by itself; ANALYZE is allowed.");
    cc_arena_finish(&parsed.arena);

    parsed = parse("SELECT 'ééé';\nCREATE TABEL a;\n");
    assert_int_equal(parsed.status, CC_MALFORMED);
    assert_string_equal(parsed.error.code, "42601");
    assert_int_equal(parsed.error.line, 2);
    assert_string_equal(parsed.error.message, "line 2: syntax error at or near \"TABEL\"");
    cc_arena_finish(&parsed.arena);

    parsed = parse("SELECT 1;\n\\connect x\n");
    assert_int_equal(parsed.status, CC_MALFORMED);
    assert_int_equal(parsed.error.line, 2);
    assert_string_equal(parsed.error.hint, "Commands of psql are not SQL: leave them out.");
    cc_arena_finish(&parsed.arena);
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"SELECT '\xff'", "\n\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "'\xe2\x82"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct parsed parsed = parse(texts[i]);
        assert_int_equal(parsed.status, CC_MALFORMED);
        assert_string_equal(parsed.error.code, "22021");
        cc_arena_finish(&parsed.arena);
    }
    struct parsed parsed = {0};
    cc_arena_init(&parsed.arena);
    assert_int_equal(migration_parse(cc_slice_of("SELECT\0 1", 9), &parsed.arena, &parsed.migration, &parsed.error),
                     CC_MALFORMED);
    cc_arena_finish(&parsed.arena);
}

static void too_large_or_too_deep_is_refused(void **state)
{
    (void)state;
    struct cc_buffer sql = {0};
    cc_buffer_append_text(&sql, "SELECT ");
    for (size_t i = 0; i < 600000; i++) {
        cc_buffer_append_text(&sql, "1,");
    }
    cc_buffer_append_text(&sql, "1");
    struct parsed parsed = parse(cc_buffer_text(&sql));
    assert_int_equal(parsed.status, CC_TOO_LARGE);
    assert_string_equal(parsed.error.code, "54000");
    cc_arena_finish(&parsed.arena);

    cc_buffer_clear(&sql);
    cc_buffer_append_text(&sql, "SELECT ");
    for (size_t i = 0; i < 100000; i++) {
        cc_buffer_append_text(&sql, "(");
    }
    parsed = parse(cc_buffer_text(&sql));
    assert_int_not_equal(parsed.status, CC_OK);
    cc_arena_finish(&parsed.arena);
    cc_buffer_finish(&sql);
}

static void assert_check(const char *sql, enum migration_check_kind kind, const char *table, const char *function)
{
    struct parsed parsed = parse(sql);
    assert_int_equal(parsed.status, CC_OK);
    const struct migration_statement *statement = &parsed.migration.statements[0];
    for (uint32_t i = 0; i < statement->n_checks; i++) {
        const struct migration_check *check = &statement->checks[i];
        if (check->kind == kind && cc_slice_equal_text(check->table, table) &&
            (function == NULL || cc_slice_equal_text(check->function, function))) {
            cc_arena_finish(&parsed.arena);
            return;
        }
    }
    print_error("%s\n", sql);
    fail();
}

static void what_depends_on_the_rows_is_left_to_the_executor(void **state)
{
    (void)state;
    assert_check("ALTER TABLE s.a ADD COLUMN c timestamptz DEFAULT now()", MIGRATION_CHECK_EMPTY, "a", NULL);
    assert_check("ALTER TABLE a ADD c timestamptz DEFAULT CURRENT_TIMESTAMP", MIGRATION_CHECK_EMPTY, "a", NULL);
    assert_check("ALTER TABLE a ADD c timestamptz DEFAULT ' Now'", MIGRATION_CHECK_EMPTY, "a", NULL);
    assert_check("ALTER TABLE a ADD c uuid DEFAULT gen_random_uuid()", MIGRATION_CHECK_EMPTY_IF_VOLATILE, "a",
                 "gen_random_uuid");
    assert_check("ALTER TABLE \"A\" ADD c serial", MIGRATION_CHECK_EMPTY, "A", NULL);
    assert_check("ALTER TABLE a ADD c bigint GENERATED ALWAYS AS IDENTITY", MIGRATION_CHECK_EMPTY, "a", NULL);
    assert_check("ALTER TABLE a ALTER c TYPE float USING c * random()", MIGRATION_CHECK_EMPTY_IF_VOLATILE, "a",
                 "random");
    assert_check("ALTER TABLE a ALTER c TYPE text", MIGRATION_CHECK_NOT_WEAK, "a", NULL);
    assert_check("ALTER TABLE a RENAME c TO d", MIGRATION_CHECK_NOT_WEAK, "a", NULL);
    assert_check("ALTER TABLE a RENAME TO b", MIGRATION_CHECK_NOT_WEAK, "a", NULL);
    assert_check("ALTER TABLE a SET SCHEMA s", MIGRATION_CHECK_NOT_WEAK, "a", NULL);
    assert_check("ALTER SCHEMA s RENAME TO t", MIGRATION_CHECK_NOT_WEAK, "", NULL);
    assert_check("TRUNCATE b, a", MIGRATION_CHECK_NOT_WEAK, "a", NULL);
    assert_check("INSERT INTO a VALUES (1)", MIGRATION_CHECK_NOT_WEAK, "a", NULL);
    struct parsed parsed = parse("ALTER TABLE a ADD c int NOT NULL DEFAULT 3, DROP d");
    assert_int_equal(parsed.migration.statements[0].n_checks, 0);
    cc_arena_finish(&parsed.arena);
}

static void the_conformance_schema_is_accepted_wholly(void **state)
{
    (void)state;
    char path[512];
    (void)snprintf(path, sizeof(path), "%.*s../../conformance/schema.sql", (int)(strrchr(__FILE__, '/') - __FILE__ + 1),
                   __FILE__);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        skip();
    }
    struct cc_buffer sql = {0};
    char part[4096];
    for (size_t n = 0; (n = fread(part, 1, sizeof(part), file)) > 0;) {
        cc_buffer_append(&sql, part, n);
    }
    (void)fclose(file);
    struct parsed parsed = parse(cc_buffer_text(&sql));
    assert_string_equal(parsed.error.message, "");
    assert_int_equal(parsed.status, CC_OK);
    assert_true(parsed.migration.n_statements > 60);
    cc_arena_finish(&parsed.arena);
    cc_buffer_finish(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_are_split_with_their_lines_and_without_comments),
        cmocka_unit_test(an_empty_text_has_no_statements),
        cmocka_unit_test(each_kind_of_statement_is_known),
        cmocka_unit_test(settings_end_with_the_transaction),
        cmocka_unit_test(statements_that_cannot_run_in_a_transaction_are_refused),
        cmocka_unit_test(transaction_control_is_refused),
        cmocka_unit_test(statements_of_one_connection_are_refused),
        cmocka_unit_test(statements_that_would_differ_between_replicas_are_refused),
        cmocka_unit_test(what_belongs_to_caucus_is_refused),
        cmocka_unit_test(settings_that_caucus_relies_on_are_refused),
        cmocka_unit_test(names_like_ours_in_other_places_are_accepted),
        cmocka_unit_test(errors_name_statement_line_and_advice),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(too_large_or_too_deep_is_refused),
        cmocka_unit_test(what_depends_on_the_rows_is_left_to_the_executor),
        cmocka_unit_test(the_conformance_schema_is_accepted_wholly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
