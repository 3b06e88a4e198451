// The session in which writes of requests execute: a login of its own, which is no superuser's. See docs/adr/write-role.md.
//
// A lane then has two sessions: "main" (applying, merging, migrations, setting up) and "executor". They take turns between transactions.
#include "proxy/postgres/io_postgres_internal.h"

#include "base/log.h"
#include "base/memory.h"
#include "proxy/config/io_keys.h"
#include "proxy/postgres/login_role.h"
#include "proxy/node/operation.h"

#include <stdio.h>
#include <string.h>

#define WEAK_NAME "caucus weak writes"

// -- Setting up ----------------------------------------------------------------------------------------------------------

// What the role has left behind in itself: a role may change its own settings and its own password.
static const char sql_clean_role[] =
    "DO $$\n"
    "DECLARE\n"
    "  r record;\n"
    "BEGIN\n"
    "  FOR r IN SELECT d.datname FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase\n"
    "    WHERE s.setrole = (SELECT oid FROM pg_roles WHERE rolname = current_setting('caucus.setup_role')) LOOP\n"
    "    EXECUTE format('ALTER ROLE %I %s RESET ALL', current_setting('caucus.setup_role'),\n"
    "      CASE WHEN r.datname IS NOT NULL THEN format('IN DATABASE %I', r.datname) END);\n"
    "  END LOOP;\n"
    "END $$";

// Functions whose text names roles of this database, and what the executor may touch. Names of operators are qualified, too: the
// search path is the session's, and code of users can set it.
static const char sql_rights[] =
    "DO $setup$\n"
    "DECLARE\n"
    "  executor text := current_setting('caucus.setup_role');\n"
    "  proof text := sha256(convert_to(current_setting('caucus.setup_token'), 'UTF8'))::text;\n"
    "  r record;\n"
    "BEGIN\n"
    // Whether a statement comes from somebody else. Conditions of our triggers are functions without arguments: PostgreSQL parses
    // the stored form of a condition at each statement, which is short then (worth 4 us per statement).
    "  EXECUTE format($f$CREATE OR REPLACE FUNCTION caucus.is_direct() RETURNS boolean LANGUAGE plpgsql STABLE AS $b$\n"
    "BEGIN\n"
    "  IF pg_catalog.current_setting('backtrace_functions') OPERATOR(pg_catalog.=) 'caucus_own' THEN\n"
    "    RETURN false;\n"
    "  END IF;\n"
    "  RETURN session_user OPERATOR(pg_catalog.<>) %L AND (session_user OPERATOR(pg_catalog.<>) %L\n"
    "    OR coalesce(pg_catalog.current_setting('caucus.writer', true), '') OPERATOR(pg_catalog.<>) 'on');\n"
    "END $b$ $f$, executor, session_user);\n"
    // Called immutable, it is evaluated once per statement instead of once per row; nothing but conditions of triggers may use it.
    "  EXECUTE format($f$CREATE OR REPLACE FUNCTION caucus.is_captured() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $b$\n"
    "BEGIN\n"
    "  IF pg_catalog.current_setting('backtrace_functions') OPERATOR(pg_catalog.=) 'caucus_own' THEN\n"
    "    RETURN false;\n"
    "  END IF;\n"
    "  IF session_user OPERATOR(pg_catalog.=) %L THEN\n"
    "    RETURN pg_catalog.current_setting('backtrace_functions') OPERATOR(pg_catalog.<>) 'caucus_told';\n"
    "  END IF;\n"
    "  RETURN coalesce(pg_catalog.current_setting('caucus.capture', true), '') OPERATOR(pg_catalog.=) 'on';\n"
    "END $b$ $f$, executor);\n"
    "  IF executor = '' THEN\n"
    "    RETURN;\n"
    "  END IF;\n"
    "  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = executor) THEN\n"
    "    RAISE EXCEPTION 'the role \"%\" of postgres.write_role does not exist', executor;\n"
    "  END IF;\n"
    "  IF EXISTS (SELECT FROM pg_roles x JOIN pg_roles s ON s.rolsuper AND pg_has_role(x.oid, s.oid, 'MEMBER') WHERE x.rolname = executor) THEN\n"
    "    RAISE EXCEPTION 'the role \"%\" of postgres.write_role is a superuser, or can become one', executor;\n"
    "  END IF;\n"

    // What the statements of a session are, in a setting that only superusers can set, and that has no effect: no function of
    // PostgreSQL has such a name. The token travels as a parameter of a statement, where no SQL can see it.
    "  EXECUTE format($f$CREATE OR REPLACE FUNCTION caucus.mode(token text, mode text, is_local boolean) RETURNS text LANGUAGE plpgsql\n"
    "SECURITY DEFINER AS $b$\n"
    "BEGIN\n"
    "  IF (pg_catalog.sha256(pg_catalog.convert_to(token, 'UTF8')) OPERATOR(pg_catalog.=) %L::pg_catalog.bytea) IS NOT TRUE THEN\n"
    "    RAISE EXCEPTION 'permission denied' USING ERRCODE = 'insufficient_privilege';\n"
    "  END IF;\n"
    "  RETURN pg_catalog.set_config('backtrace_functions', mode, is_local);\n"
    "END $b$ $f$, proof);\n"
    "  EXECUTE format($f$CREATE OR REPLACE FUNCTION caucus.is_intruder() RETURNS boolean LANGUAGE plpgsql STABLE AS $b$\n"
    "BEGIN\n"
    "  RETURN pg_catalog.current_setting('backtrace_functions') OPERATOR(pg_catalog.<>) 'caucus_own' AND session_user OPERATOR(pg_catalog.=) %L;\n"
    "END $b$ $f$, executor);\n"
    // Rows set right after a weak write, past all triggers and rights of roles.
    "  EXECUTE $f$CREATE OR REPLACE FUNCTION caucus.mend(statement text, given text[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER\n"
    "SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS $b$\n"
    "BEGIN\n"
    "  IF caucus.is_intruder() THEN\n"
    "    RAISE EXCEPTION 'permission denied' USING ERRCODE = 'insufficient_privilege';\n"
    "  END IF;\n"
    "  EXECUTE statement USING given;\n"
    "END $b$ $f$;\n"
    "  REVOKE ALL ON FUNCTION caucus.mend(text, text[]), caucus.sequences(), caucus.sequence_at(text) FROM PUBLIC;\n"
    "  EXECUTE format('GRANT EXECUTE ON FUNCTION caucus.mend(text, text[]), caucus.sequences(), caucus.sequence_at(text) TO %I', executor);\n"

    // A schema that a request changes would be changed at this replica only. Temporary tables are the session's own.
    "  EXECUTE format($f$CREATE OR REPLACE FUNCTION caucus.refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $b$\n"
    "DECLARE\n"
    "  foreign_one boolean;\n"
    "BEGIN\n"
    "  IF session_user OPERATOR(pg_catalog.<>) %L THEN\n"
    "    RETURN;\n"
    "  END IF;\n"
    "  IF TG_EVENT OPERATOR(pg_catalog.=) 'sql_drop' THEN\n"
    "    SELECT pg_catalog.bool_or(d.original AND NOT d.is_temporary) INTO foreign_one FROM pg_catalog.pg_event_trigger_dropped_objects() d;\n"
    "  ELSE\n"
    "    SELECT pg_catalog.bool_or(coalesce(d.schema_name, '') OPERATOR(pg_catalog.<>) 'pg_temp') INTO foreign_one\n"
    "    FROM pg_catalog.pg_event_trigger_ddl_commands() d;\n"
    "  END IF;\n"
    "  IF foreign_one THEN\n"
    "    RAISE EXCEPTION '%% within a write is not replicated', TG_TAG\n"
    "      USING ERRCODE = 'feature_not_supported', HINT = 'Change the schema by a migration.';\n"
    "  END IF;\n"
    "END $b$ $f$, executor);\n"
    "  IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'caucus_ddl') THEN\n"
    "    CREATE EVENT TRIGGER caucus_ddl ON ddl_command_end EXECUTE FUNCTION caucus.refuse_ddl();\n"
    "  END IF;\n"
    "  IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'caucus_drop') THEN\n"
    "    CREATE EVENT TRIGGER caucus_drop ON sql_drop EXECUTE FUNCTION caucus.refuse_ddl();\n"
    "  END IF;\n"

    // Our own tables: the rights that a batch needs, while it is our statement that uses them.
    "  EXECUTE format('GRANT SELECT, INSERT, UPDATE ON caucus.requests, caucus.tombstones TO %I', executor);\n"
    "  EXECUTE format('GRANT SELECT, INSERT ON caucus.history, caucus.cluster TO %I', executor);\n"
    "  EXECUTE format('GRANT SELECT, UPDATE ON caucus.digests TO %I', executor);\n"
    "  EXECUTE format('GRANT SELECT, DELETE ON caucus.capture TO %I', executor);\n"
    "  EXECUTE format('GRANT INSERT, UPDATE ON caucus.frontier TO %I', executor);\n"
    "  EXECUTE format('GRANT UPDATE ON caucus.applied TO %I', executor);\n"
    "  FOR r IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relnamespace = 'caucus'::regnamespace AND NOT c.relrowsecurity\n"
    "    AND c.relname IN ('requests', 'tombstones', 'history', 'cluster', 'digests', 'capture') LOOP\n"
    "    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', r.name);\n"
    "    EXECUTE format('CREATE POLICY own ON %s USING (current_setting(''backtrace_functions'') = ''caucus_own'')', r.name);\n"
    "  END LOOP;\n"
    // Reads look at these two all the time, as many roles, and would be planned anew for each.
    "  FOR r IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relnamespace = 'caucus'::regnamespace AND c.relname IN ('applied', 'frontier')\n"
    "    AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'caucus_own') LOOP\n"
    "    EXECUTE format('CREATE TRIGGER caucus_own BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT WHEN (caucus.is_intruder()) '\n"
    "      'EXECUTE FUNCTION caucus.guard()', r.name);\n"
    "  END LOOP;\n"

    // What would let one request end or take over the sessions of all others.
    "  REVOKE EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint), pg_cancel_backend(integer), pg_prepared_statement() FROM PUBLIC;\n"
    "  GRANT EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint), pg_cancel_backend(integer) TO pg_signal_backend;\n"
    "END $setup$";

// By its process. Of a process of ours that is gone only the names are known: whatever is not named as the weak lane's, the strong one ends.
static const char sql_end_sessions[] =
    "SELECT pg_catalog.pg_terminate_backend(a.pid, 10000) FROM pg_catalog.pg_stat_activity a "
    "WHERE a.usename = $1::text AND a.datname = pg_catalog.current_database() AND CASE WHEN $2::integer <> 0 THEN a.pid = $2::integer "
    "ELSE (a.application_name = '" WEAK_NAME "') = $3::boolean END";

static void on_ended(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    bool ended = pg_result_ok(result);
    for (int i = 0; ended && i < PQntuples(result); i++) {
        ended = PQgetvalue(result, i, 0)[0] == 't';
    }
    if (!ended) {
        pg_lane_drop(lane, "an earlier session of writes does not end", result);
    }
    PQclear(result);
}

void pg_executor_end_earlier(struct pg_lane *lane)
{
    if (lane->executor == NULL) {
        return;
    }
    char pid[16];
    (void)snprintf(pid, sizeof(pid), "%d", lane->executor_pid);
    struct cc_slice parameters[3] = {cc_slice_text(lane->postgres->executor), cc_slice_text(pid),
                                     cc_slice_text(lane->lane == DB_WEAK ? "true" : "false")};
    struct io_postgres_query query = {.sql = sql_end_sessions, .n_parameters = 3, .parameters = parameters, .once = true};
    io_postgres_link_send(lane->main, &query, on_ended, lane, 0);
}

static void on_granted(void *context, uint64_t number, PGresult *result)
{
    (void)context;
    (void)number;
    if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        cc_log(CC_LOG_ERROR, "login_role_failed", "role=%s why=%s", LOGIN_ROLE_WRITES, cc_log_quote(PQresultErrorMessage(result)));
    }
    PQclear(result);
}

void pg_executor_grant(struct pg_lane *lane)
{
    if (lane->postgres->options.keeps_executor) {
        io_postgres_link_sync(lane->main, NULL, NULL, 0);
        io_postgres_link_send_text(lane->main, LOGIN_ROLE_SQL(LOGIN_ROLE_WRITES), on_granted, lane, 0);
    }
}

void pg_executor_set_up(struct pg_lane *lane)
{
    struct io_postgres *postgres = lane->postgres;
    pg_executor_grant(lane);
    io_postgres_link_sync(lane->main, NULL, NULL, 0);
    struct cc_slice parameters[2] = {cc_slice_text(postgres->executor), cc_slice_text(postgres->token)};
    pg_lane_must_text(lane, "BEGIN");
    pg_lane_must(lane, "SELECT pg_catalog.set_config('caucus.setup_role', $1, true), pg_catalog.set_config('caucus.setup_token', $2, true)", 2,
                 parameters, NULL);
    pg_lane_must_text(lane, sql_clean_role);
    pg_lane_must_text(lane, sql_rights);
    pg_lane_must_text(lane, "COMMIT");
}

// -- The session -----------------------------------------------------------------------------------------------------------

static void on_mode(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (!pg_result_ok(result)) {
        pg_lane_drop(lane, "the session of writes cannot be set up", result);
    }
    PQclear(result);
}

static void on_set_up(void *context, uint64_t number)
{
    (void)number;
    struct pg_lane *lane = context;
    PGconn *connection = io_postgres_link_connection(lane->executor);
    if (connection != NULL && lane->state == PG_LANE_PREPARING) {
        lane->executor_pid = PQbackendPID(connection);
        lane->executor_up = true;
        pg_lane_ready(lane);
    }
}

static void on_connected(void *context)
{
    struct pg_lane *lane = context;
    if (lane->state != PG_LANE_PREPARING) {
        io_postgres_link_close(lane->executor, "the lane's other session is gone");
        return;
    }
    struct cc_slice token = cc_slice_text(lane->postgres->token);
    struct io_postgres_query query = {.sql = "SELECT caucus.mode($1, 'caucus_own', false)", .n_parameters = 1, .parameters = &token, .once = true};
    io_postgres_link_send(lane->executor, &query, on_mode, lane, 0);
    io_postgres_link_sync(lane->executor, on_set_up, lane, 0);
}

static void on_down(void *context, const char *why)
{
    struct pg_lane *lane = context;
    lane->executor_up = false;
    io_postgres_link_close(lane->executor, why); // it is opened again when the lane has been prepared
    if (lane->executor_wanted) {
        char text[300];
        (void)snprintf(text, sizeof(text), "session of writes: %.250s", why);
        pg_lane_drop(lane, text, NULL);
    }
}

void pg_executor_connect(struct pg_lane *lane)
{
    lane->executor_wanted = true;
    io_postgres_link_connect(lane->executor);
}

void pg_executor_close(struct pg_lane *lane, const char *why)
{
    if (lane->executor != NULL) {
        lane->executor_wanted = false;
        lane->executor_up = false;
        io_postgres_link_close(lane->executor, why);
    }
}

// "-c name=value" for all settings of our sessions: with these RESET ALL, whoever says it, goes back to them.
static void put_setting(struct cc_buffer *out, const char *name, const char *value)
{
    cc_buffer_printf(out, " -c %s=", name);
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == ' ' || *c == '\\') {
            cc_buffer_append_text(out, "\\");
        }
        cc_buffer_append(out, c, 1);
    }
}

static char *given_options(const char *conninfo)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    char *given = NULL;
    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        if (strcmp(option->keyword, "options") == 0 && option->val != NULL) {
            given = cc_strdup(option->val);
        }
    }
    PQconninfoFree(options);
    return given;
}

static void put_settings(struct cc_buffer *out, const struct pg_lane *lane, const char *conninfo)
{
    char *given = given_options(conninfo);
    cc_buffer_append_text(out, given == NULL ? "" : given);
    free(given);
    for (size_t i = 0; pg_session_settings[i][0] != NULL; i++) {
        if (pg_session_settings[i][2] == NULL) {
            put_setting(out, pg_session_settings[i][0], pg_session_settings[i][1]);
        }
    }
    put_setting(out, "search_path", lane->postgres->search_path);
}

void pg_executor_init(struct pg_lane *lane)
{
    struct io_postgres *postgres = lane->postgres;
    if (postgres->executor[0] == '\0') {
        return;
    }
    uint8_t secret[16];
    io_keys_random(secret, sizeof(secret));
    struct cc_buffer settings = {0};
    put_settings(&settings, lane, postgres->options.conninfo);
    struct io_postgres_link_options options = {
        .base = postgres->options.base,
        .conninfo = postgres->options.conninfo,
        .application_name = lane->lane == DB_STRONG ? "caucus strong writes" : WEAK_NAME,
        .user = postgres->executor,
        .settings = cc_buffer_text(&settings),
        .secret = secret,
        .on_connected = on_connected,
        .on_down = on_down,
        .context = lane,
    };
    lane->executor = io_postgres_link_create(&options);
    cc_buffer_finish(&settings);
}

// -- Turns -----------------------------------------------------------------------------------------------------------------

static bool is_migration(const struct pg_job *job)
{
    struct operation operation;
    return job->job.n_items == 1 && operation_peek(job->job.items[0], &operation) == CC_OK && operation.kind == OPERATION_MIGRATION;
}

struct io_postgres_link *pg_executor_link_for(const struct pg_lane *lane, const struct pg_job *job)
{
    if (lane->executor == NULL) {
        return lane->main;
    }
    switch (job->job.kind) {
    case DB_EXECUTE:
        return is_migration(job) ? lane->main : lane->executor;
    case DB_WEAK_EXECUTE:
        return lane->executor;
    case DB_APPLY:
    case DB_MERGE:
    case DB_BEGIN_ANEW:
    case DB_PUT_ASIDE:
    case DB_RENEW:
        return lane->main;
    case DB_COMMIT:
    case DB_ROLLBACK:
    case DB_WEAK_COMMIT:
    case DB_WEAK_ROLLBACK:
    case DB_FETCH:
        return lane->link;
    }
    return lane->link;
}

bool pg_executor_has_turn(const struct pg_lane *lane)
{
    return lane->executor != NULL && lane->link == lane->executor;
}

// -- After code of users ---------------------------------------------------------------------------------------------------

#define CLEAN(told, weak) \
    "SELECT pg_catalog.set_config('role', 'none', false), caucus.clean(" told ", " weak "), caucus.mode($1, 'caucus_own', false)"

static const char *clean_sql(const struct pg_lane *lane, bool told)
{
    return !told ? CLEAN("false", "false") : lane->lane == DB_STRONG ? CLEAN("true", "false") : CLEAN("true", "true");
}

void pg_executor_beware(struct pg_lane *lane, bool told)
{
    io_postgres_link_prepare(lane->executor, clean_sql(lane, told));
}

void pg_executor_clean(struct pg_lane *lane, bool told, io_postgres_on_result *on_result, void *context, uint64_t number)
{
    struct cc_slice token = cc_slice_text(lane->postgres->token);
    struct io_postgres_query query = {.sql = clean_sql(lane, told), .n_parameters = 1, .parameters = &token};
    io_postgres_link_send(lane->executor, &query, on_result, context, number);
    pg_lane_settings_forget(lane);
}

// A failure undoes all but what is no part of transactions: locks of the session, and prepared statements.
void pg_executor_failed(struct pg_lane *lane)
{
    pg_lane_must_once(lane, "SELECT pg_catalog.pg_advisory_unlock_all()");
    io_postgres_link_forget_statements(lane->executor);
}
