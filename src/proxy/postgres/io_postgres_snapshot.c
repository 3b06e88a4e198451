// Snapshots of a database: all rows by COPY in one REPEATABLE READ transaction; back in one transaction that replaces everything.
#include "proxy/postgres/io_postgres_snapshot.h"

#include "base/arena.h"
#include "proxy/postgres/io_postgres_internal.h"
#include "proxy/postgres/migration.h"
#include "proxy/postgres/snapshot_file.h"

#include <inttypes.h>
#include <string.h>

enum { ROWS_BYTES = 256 << 10 }; // of one section, unless a single row is larger

// Text forms that do not depend on the server's settings. Both directions. What is written goes to the disk bit by bit: a sync of somebody
// else's on that disk would have to wait for all of it.
static const char sql_session[] =
    "SELECT pg_catalog.set_config(n, v, false) FROM (VALUES ('client_encoding', 'UTF8'), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), "
    "('TimeZone', 'UTC'), ('extra_float_digits', '1'), ('bytea_output', 'hex'), ('xmloption', 'content'), ('lc_monetary', 'C'), "
    "('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), ('row_security', 'off'), "
    "('default_transaction_read_only', 'off'), ('standard_conforming_strings', 'on'), ('client_min_messages', 'error'), "
    "('check_function_bodies', 'on'), ('default_table_access_method', 'heap'), ('default_tablespace', ''), "
    "('backend_flush_after', '512kB'), ('caucus.writer', 'on'), ('caucus.capture', 'off')) AS s(n, v)";

// What a snapshot holds: tables of users and our own, but for what belongs to this one database. Partitioned tables by their parts.
static const char sql_tables[] =
    "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) "
    "FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' "
    "AND NOT (n.nspname = 'caucus' AND c.relname IN ('meta', 'applied', 'aside', 'lost')) "
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e') "
    "ORDER BY 1";

static const char sql_sequences[] =
    "SELECT pg_catalog.format('%I.%I', schemaname, sequencename) FROM pg_catalog.pg_sequences WHERE schemaname <> 'caucus' AND schemaname !~ '^pg_' ORDER BY 1";

// -- Statements ------------------------------------------------------------------------------------------------------------

static enum cc_status fail(struct pg_snapshot_context *context, enum cc_status status, const char *what, const char *why)
{
    if (context->error[0] == '\0') {
        size_t n = strcspn(why, "\n");
        snprintf(context->error, sizeof(context->error), "%.80s: %.*s", what, (int)(n < 200 ? n : 200), why);
    }
    return status;
}

// Its result, or NULL. `what` names it in the message.
static PGresult *ask(struct pg_snapshot_context *context, PGconn *connection, const char *what, const char *sql)
{
    PGresult *result = PQexec(connection, sql);
    if (pg_result_ok(result)) {
        return result;
    }
    (void)fail(context, CC_IO, what, PQerrorMessage(connection));
    PQclear(result);
    return NULL;
}

static bool run(struct pg_snapshot_context *context, PGconn *connection, const char *what, const char *sql)
{
    PGresult *result = ask(context, connection, what, sql);
    PQclear(result);
    return result != NULL;
}

static PGconn *open_connection(struct pg_snapshot_context *context)
{
    PGconn *connection = PQconnectdb(context->conninfo);
    bool good = PQstatus(connection) == CONNECTION_OK && run(context, connection, "session", sql_session);
    if (good) {
        return connection;
    }
    (void)fail(context, CC_IO, "connection", PQerrorMessage(connection));
    PQfinish(connection);
    return NULL;
}

// -- Making ------------------------------------------------------------------------------------------------------------------

// "a, b, c" of the first column.
static void put_names(struct cc_buffer *out, const PGresult *tables)
{
    for (int i = 0; i < PQntuples(tables); i++) {
        cc_buffer_printf(out, "%s%s", i == 0 ? "" : ", ", PQgetvalue(tables, i, 0));
    }
}

static bool same_rows(const PGresult *a, const PGresult *b)
{
    bool same = PQntuples(a) == PQntuples(b);
    for (int i = 0; same && i < PQntuples(a); i++) {
        same = strcmp(PQgetvalue(a, i, 0), PQgetvalue(b, i, 0)) == 0 && strcmp(PQgetvalue(a, i, 1), PQgetvalue(b, i, 1)) == 0;
    }
    return same;
}

// Begins the transaction with locks that keep tables as they are, before its snapshot is taken: a migration that is under way, or
// comes between, would be seen by half.
static enum cc_status begin_reading(struct pg_snapshot_context *context, PGconn *connection, PGresult **tables_out)
{
    PGresult *before = ask(context, connection, "tables", sql_tables);
    if (before == NULL || !run(context, connection, "begin", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")) {
        PQclear(before);
        return CC_IO;
    }
    struct cc_buffer sql = {0};
    cc_buffer_append_text(&sql, "LOCK TABLE ");
    put_names(&sql, before);
    cc_buffer_append_text(&sql, " IN ACCESS SHARE MODE NOWAIT");
    bool locked = run(context, connection, "a table is locked", cc_buffer_text(&sql));
    cc_buffer_finish(&sql);
    PGresult *tables = locked ? ask(context, connection, "tables", sql_tables) : NULL;
    enum cc_status status = CC_OK;
    if (tables == NULL) {
        status = CC_UNAVAILABLE;
    } else if (!same_rows(before, tables)) {
        status = fail(context, CC_UNAVAILABLE, "snapshot", "the schema has changed");
    }
    PQclear(before);
    if (status != CC_OK) {
        PQclear(tables);
        return status;
    }
    *tables_out = tables;
    return CC_OK;
}

static bool read_frontier(const PGresult *result, struct crdt_frontier *frontier_out)
{
    frontier_out->n = 0;
    for (int i = 0; i < PQntuples(result); i++) {
        struct crdt_origin origin = {(uint32_t)pg_result_u64(result, i, 0), (uint32_t)pg_result_u64(result, i, 1)};
        if (crdt_frontier_raise(frontier_out, origin, pg_result_u64(result, i, 2)) != CC_OK) {
            return false;
        }
    }
    return true;
}

static enum cc_status put_header(struct pg_snapshot_context *context, PGconn *connection, struct snapshot_writer *writer, struct pg_snapshot_made *made)
{
    PGresult *state = ask(context, connection, "state", "SELECT (SELECT applied FROM caucus.applied), (SELECT count(*) FROM caucus.migrations)");
    PGresult *frontier = state == NULL ? NULL : ask(context, connection, "frontier", "SELECT replica, incarnation, sequence FROM caucus.frontier");
    bool good = frontier != NULL && read_frontier(frontier, &made->frontier);
    if (good) {
        made->index = pg_result_u64(state, 0, 0);
        made->schema_version = (uint32_t)pg_result_u64(state, 0, 1);
        snapshot_put_head(writer, &(struct snapshot_head){.cluster = cc_slice_text(context->cluster),
                                                          .index = made->index,
                                                          .schema_version = made->schema_version,
                                                          .frontier = made->frontier});
    }
    PQclear(state);
    PQclear(frontier);
    return good ? CC_OK : CC_IO;
}

static enum cc_status put_migrations(struct pg_snapshot_context *context, PGconn *connection, struct snapshot_writer *writer)
{
    PGresult *result = ask(context, connection, "migrations", "SELECT name, sql FROM caucus.migrations ORDER BY position");
    for (int i = 0; result != NULL && i < PQntuples(result); i++) {
        snapshot_put_named(writer, 'M', pg_result_value(result, i, 0), pg_result_value(result, i, 1));
    }
    PQclear(result);
    return result != NULL ? CC_OK : CC_IO;
}

static void put_rows(struct pg_snapshot_context *context, struct snapshot_writer *writer, struct cc_buffer *rows)
{
    snapshot_put(writer, 'R', cc_buffer_slice(rows));
    if (context->pace != NULL) {
        context->pace(context->pace_context, rows->n);
    }
    cc_buffer_clear(rows);
}

static enum cc_status copy_out(struct pg_snapshot_context *context, PGconn *connection, struct snapshot_writer *writer)
{
    struct cc_buffer rows = {0};
    char *line = NULL;
    int n;
    while ((n = PQgetCopyData(connection, &line, 0)) > 0) {
        cc_buffer_append(&rows, line, (size_t)n);
        PQfreemem(line);
        if (rows.n >= ROWS_BYTES) {
            put_rows(context, writer, &rows);
        }
        if (atomic_load(context->cancel) || writer->status != CC_OK) { // the connection is closed with the COPY open
            cc_buffer_finish(&rows);
            return fail(context, writer->status != CC_OK ? writer->status : CC_UNAVAILABLE, "snapshot", "given up");
        }
    }
    if (rows.n > 0) {
        put_rows(context, writer, &rows);
    }
    cc_buffer_finish(&rows);
    PGresult *result = PQgetResult(connection);
    bool good = n == -1 && pg_result_ok(result);
    PQclear(result);
    while ((result = PQgetResult(connection)) != NULL) {
        PQclear(result);
    }
    return good ? CC_OK : fail(context, CC_IO, "COPY", PQerrorMessage(connection));
}

static enum cc_status put_table(struct pg_snapshot_context *context, PGconn *connection, struct snapshot_writer *writer, const char *name, const char *columns)
{
    struct cc_buffer sql = {0};
    snapshot_put_named(writer, 'T', cc_slice_text(name), cc_slice_text(columns));
    cc_buffer_printf(&sql, "COPY %s%s%s%s TO STDOUT", name, columns[0] == '\0' ? "" : " (", columns, columns[0] == '\0' ? "" : ")");
    PGresult *result = PQexec(connection, cc_buffer_text(&sql));
    enum cc_status status = PQresultStatus(result) == PGRES_COPY_OUT ? copy_out(context, connection, writer)
                                                                     : fail(context, CC_IO, name, PQerrorMessage(connection));
    PQclear(result);
    cc_buffer_finish(&sql);
    return status;
}

// Positions are not those of the transaction's snapshot but later ones: harmless, entries set them again.
static enum cc_status put_sequences(struct pg_snapshot_context *context, PGconn *connection, struct snapshot_writer *writer)
{
    PGresult *names = ask(context, connection, "sequences", sql_sequences);
    enum cc_status status = names == NULL ? CC_IO : CC_OK;
    for (int i = 0; status == CC_OK && i < PQntuples(names); i++) {
        struct cc_buffer sql = {0};
        cc_buffer_printf(&sql, "SELECT last_value, is_called FROM %s", PQgetvalue(names, i, 0));
        PGresult *value = ask(context, connection, "sequence", cc_buffer_text(&sql));
        if (value == NULL) {
            status = CC_IO;
        } else {
            snapshot_put_sequence(writer, pg_result_value(names, i, 0), pg_result_value(value, 0, 0), PQgetvalue(value, 0, 1)[0] == 't');
        }
        PQclear(value);
        cc_buffer_finish(&sql);
    }
    PQclear(names);
    return status;
}

static enum cc_status make(struct pg_snapshot_context *context, PGconn *connection, struct snapshot_writer *writer, struct pg_snapshot_made *made)
{
    PGresult *tables = NULL;
    // Names of types and tables in text forms are written out in full.
    if (!run(context, connection, "session", "SET search_path = pg_catalog")) {
        return CC_IO;
    }
    enum cc_status status = begin_reading(context, connection, &tables);
    if (status == CC_OK) {
        status = put_header(context, connection, writer, made);
    }
    if (status == CC_OK) {
        status = put_migrations(context, connection, writer);
    }
    for (int i = 0; status == CC_OK && i < PQntuples(tables); i++) {
        status = put_table(context, connection, writer, PQgetvalue(tables, i, 0), PQgetvalue(tables, i, 1));
    }
    if (status == CC_OK) {
        status = put_sequences(context, connection, writer);
    }
    snapshot_put_end(writer);
    PQclear(tables);
    return status != CC_OK ? status : writer->status;
}

enum cc_status pg_snapshot_make(struct pg_snapshot_context *context, FILE *out, struct pg_snapshot_made *made_out)
{
    PGconn *connection = open_connection(context);
    if (connection == NULL) {
        return CC_IO;
    }
    struct snapshot_writer writer = {.file = out};
    enum cc_status status = make(context, connection, &writer, made_out);
    PQfinish(connection);
    return status;
}

// -- Installing ----------------------------------------------------------------------------------------------------------------

struct installer {
    struct pg_snapshot_context *context;
    PGconn *connection;
    struct snapshot_reader reader;
    struct cc_buffer sql;
};

static bool run_now(struct installer *installer, const char *what, const char *sql)
{
    return run(installer->context, installer->connection, what, sql);
}

static bool apply_settings(struct installer *installer)
{
    cc_buffer_clear(&installer->sql);
    cc_buffer_printf(&installer->sql, "SET search_path = %s", installer->context->search_path);
    return run_now(installer, "session", sql_session) && run_now(installer, "session", cc_buffer_text(&installer->sql)) &&
           run_now(installer, "session", "SET session_replication_role = replica");
}

static enum cc_status check_header(struct installer *installer, uint64_t index)
{
    struct snapshot_head head;
    if (snapshot_next(&installer->reader) != CC_OK || snapshot_read_head(&installer->reader, &head) != CC_OK) {
        return CC_CORRUPT;
    }
    if (head.format != SNAPSHOT_FORMAT || !cc_slice_equal_text(head.cluster, installer->context->cluster)) {
        return fail(installer->context, CC_REFUSED, "snapshot", "it is of another version or another cluster");
    }
    return head.index == index ? CC_OK : CC_CORRUPT;
}

// Nothing of ours or the users' has rows afterwards. Whatever refers to a table is emptied with it.
static bool empty_tables(struct installer *installer)
{
    PGresult *tables = ask(installer->context, installer->connection, "tables", sql_tables);
    if (tables == NULL) {
        return false;
    }
    cc_buffer_clear(&installer->sql);
    cc_buffer_append_text(&installer->sql, "TRUNCATE ");
    put_names(&installer->sql, tables);
    cc_buffer_append_text(&installer->sql, " CASCADE");
    PQclear(tables);
    return run_now(installer, "emptying tables", cc_buffer_text(&installer->sql));
}

static bool run_ddl(struct installer *installer, struct cc_slice sql)
{
    cc_buffer_clear(&installer->sql);
    cc_buffer_append_slice(&installer->sql, sql);
    return run_now(installer, "session", "SET LOCAL session_replication_role = origin") &&
           run_now(installer, "migration", cc_buffer_text(&installer->sql)) &&
           run_now(installer, "session", "SET LOCAL session_replication_role = replica");
}

// As a follower that applies the migration's entry, without its rows: those come with the tables.
static enum cc_status run_migration(struct installer *installer, struct cc_slice text)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct migration migration;
    struct migration_error error = {0};
    enum cc_status status = migration_parse(text, &arena, &migration, &error);
    if (status != CC_OK) {
        status = fail(installer->context, CC_REFUSED, "migration", error.message);
    }
    bool good = status == CC_OK;
    for (uint32_t i = 0; good && i < migration.n_statements; i++) {
        const struct migration_statement *statement = &migration.statements[i];
        switch (statement->kind) {
        case MIGRATION_DATA:
            good = run_now(installer, "migration", "SELECT caucus.protect()");
            break;
        case MIGRATION_DO:
            good = run_now(installer, "migration", "SELECT caucus.protect()") && run_ddl(installer, statement->sql);
            break;
        case MIGRATION_DDL:
        case MIGRATION_SET:
            good = run_ddl(installer, statement->sql);
            break;
        }
    }
    cc_arena_finish(&arena);
    good = good && run_now(installer, "migration", "RESET ROLE") && run_now(installer, "migration", "RESET ALL") && apply_settings(installer) &&
           run_now(installer, "migration", "SELECT caucus.protect()");
    return good ? CC_OK : status != CC_OK ? status : CC_IO;
}

// The migrations that this database has must be the first ones of the snapshot's. Runs the others.
static enum cc_status take_migrations(struct installer *installer)
{
    PGresult *known = ask(installer->context, installer->connection, "migrations", "SELECT name, sql FROM caucus.migrations ORDER BY position");
    if (known == NULL || !empty_tables(installer)) {
        PQclear(known);
        return CC_IO;
    }
    int n = 0;
    enum cc_status status = snapshot_next(&installer->reader);
    for (; status == CC_OK && installer->reader.kind == 'M'; n++) {
        struct cc_slice name, sql;
        status = snapshot_read_named(&installer->reader, &name, &sql);
        if (status != CC_OK) {
            break;
        }
        if (n >= PQntuples(known)) {
            status = run_migration(installer, sql);
        } else if (!cc_slice_equal(name, pg_result_value(known, n, 0)) || !cc_slice_equal(sql, pg_result_value(known, n, 1))) {
            status = fail(installer->context, CC_REFUSED, "migrations", "this database has had others: empty it, and start again");
        }
        if (status == CC_OK) {
            status = snapshot_next(&installer->reader);
        }
    }
    if (status == CC_OK && n < PQntuples(known)) {
        status = fail(installer->context, CC_REFUSED, "migrations", "this database has had more: empty it, and start again");
    }
    PQclear(known);
    return status != CC_OK ? status : empty_tables(installer) ? CC_OK : CC_IO;
}

static enum cc_status end_copy(struct installer *installer)
{
    bool good = PQputCopyEnd(installer->connection, NULL) == 1;
    PGresult *result;
    while ((result = PQgetResult(installer->connection)) != NULL) {
        good = good && pg_result_ok(result);
        PQclear(result);
    }
    return good ? CC_OK : fail(installer->context, CC_IO, "COPY", PQerrorMessage(installer->connection));
}

// A table and its rows; leaves the section after them.
static enum cc_status take_table(struct installer *installer)
{
    struct snapshot_reader *reader = &installer->reader;
    struct cc_slice name, columns;
    if (snapshot_read_named(reader, &name, &columns) != CC_OK) {
        return CC_CORRUPT;
    }
    cc_buffer_clear(&installer->sql);
    cc_buffer_printf(&installer->sql, "COPY %.*s", (int)name.n, (const char *)name.data);
    if (columns.n > 0) {
        cc_buffer_printf(&installer->sql, " (%.*s)", (int)columns.n, (const char *)columns.data);
    }
    cc_buffer_append_text(&installer->sql, " FROM STDIN");
    PGresult *result = PQexec(installer->connection, cc_buffer_text(&installer->sql));
    bool open = PQresultStatus(result) == PGRES_COPY_IN;
    PQclear(result);
    if (!open) {
        return fail(installer->context, CC_IO, cc_buffer_text(&installer->sql), PQerrorMessage(installer->connection));
    }
    enum cc_status status = snapshot_next(reader);
    while (status == CC_OK && reader->kind == 'R' && !atomic_load(installer->context->cancel)) {
        if (PQputCopyData(installer->connection, (const char *)reader->body.data, (int)reader->body.n) != 1) {
            return fail(installer->context, CC_IO, "COPY", PQerrorMessage(installer->connection));
        }
        if (installer->context->pace != NULL) {
            installer->context->pace(installer->context->pace_context, reader->body.n);
        }
        status = snapshot_next(reader);
    }
    if (status != CC_OK || reader->kind == 'R') { // the connection is closed with the COPY open
        return status != CC_OK ? status : CC_UNAVAILABLE;
    }
    return end_copy(installer);
}

static enum cc_status take_sequence(struct installer *installer)
{
    struct cc_slice name, value;
    bool called;
    if (snapshot_read_sequence(&installer->reader, &name, &value, &called) != CC_OK) {
        return CC_CORRUPT;
    }
    struct cc_buffer texts = {0};
    cc_buffer_append_slice(&texts, name);
    cc_buffer_append(&texts, "", 1);
    cc_buffer_append_slice(&texts, value);
    cc_buffer_append(&texts, "", 1);
    const char *const parameters[3] = {(const char *)texts.data, (const char *)texts.data + name.n + 1, called ? "t" : "f"};
    PGresult *result = PQexecParams(installer->connection, "SELECT pg_catalog.setval($1::pg_catalog.regclass, $2::bigint, $3::boolean)", 3, NULL, parameters,
                                    NULL, NULL, 0);
    enum cc_status status = pg_result_ok(result) ? CC_OK : fail(installer->context, CC_IO, "sequence", PQerrorMessage(installer->connection));
    PQclear(result);
    cc_buffer_finish(&texts);
    return status == CC_OK ? snapshot_next(&installer->reader) : status;
}

static enum cc_status take_rows(struct installer *installer)
{
    for (;;) {
        enum cc_status status = CC_CORRUPT;
        if (installer->reader.kind == 'T') {
            status = take_table(installer);
        } else if (installer->reader.kind == 'S') {
            status = take_sequence(installer);
        } else if (installer->reader.kind == 'E') {
            return snapshot_read_end(&installer->reader);
        }
        if (status != CC_OK) {
            return status;
        }
    }
}

static bool refresh_views(struct installer *installer)
{
    PGresult *views = ask(installer->context, installer->connection, "views",
                          "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                          "WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid");
    bool good = views != NULL;
    for (int i = 0; good && i < PQntuples(views); i++) {
        cc_buffer_clear(&installer->sql);
        cc_buffer_printf(&installer->sql, "REFRESH MATERIALIZED VIEW %s", PQgetvalue(views, i, 0));
        good = run_now(installer, "materialized view", cc_buffer_text(&installer->sql));
    }
    PQclear(views);
    return good;
}

static enum cc_status install(struct installer *installer, uint64_t index)
{
    char lock[80];
    snprintf(lock, sizeof(lock), "SELECT pg_catalog.pg_advisory_xact_lock(%d, %d)", (int)PG_LOCK_CLASS, (int)PG_LOCK_SNAPSHOT);
    bool begun = run_now(installer, "begin", "BEGIN") && run_now(installer, "lock", lock) && apply_settings(installer) &&
                 run_now(installer, "session", "SET LOCAL synchronous_commit = on");
    enum cc_status status = begun ? check_header(installer, index) : CC_IO;
    if (status == CC_OK) {
        status = take_migrations(installer);
    }
    if (status == CC_OK) {
        status = take_rows(installer);
    }
    if (status != CC_OK) {
        return status;
    }
    cc_buffer_clear(&installer->sql);
    cc_buffer_printf(&installer->sql, "UPDATE caucus.applied SET applied = %" PRIu64, index);
    bool done = refresh_views(installer) && run_now(installer, "applied index", cc_buffer_text(&installer->sql)) &&
                run_now(installer, "session", "SET LOCAL synchronous_commit = on") && run_now(installer, "COMMIT", "COMMIT");
    return done ? CC_OK : CC_IO;
}

enum cc_status pg_snapshot_install(struct pg_snapshot_context *context, FILE *in, uint64_t index)
{
    struct installer installer = {.context = context, .reader = {.file = in}};
    installer.connection = open_connection(context);
    if (installer.connection == NULL) {
        return CC_IO;
    }
    enum cc_status status = install(&installer, index);
    if (status == CC_CORRUPT) {
        (void)fail(context, status, "snapshot", "the file is damaged");
    }
    PQfinish(installer.connection); // rolls back what was not committed
    cc_buffer_finish(&installer.sql);
    cc_buffer_finish(&installer.reader.body);
    return status;
}
