// Setting up a connection of the node's PostgreSQL: settings, lock, the schema `caucus` with its functions, and what it holds.
#include "proxy/postgres/io_postgres_internal.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "base/memory.h"
#include "proxy/postgres/bootstrap_sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// Advisory locks, one per lane: a backend of an earlier connection may still be committing.
enum { LOCK_CLASS = PG_LOCK_CLASS, N_FUNCTIONS = sizeof(bootstrap_functions) / sizeof(bootstrap_functions[0]) };

static void ask_state(struct pg_lane *lane);

static bool setup_failed(struct pg_lane *lane, const char *what, PGresult *result)
{
    if (pg_result_ok(result)) {
        return false;
    }
    pg_lane_drop(lane, what, result);
    PQclear(result);
    return true;
}

static void on_facts(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (setup_failed(lane, "cannot read the server's version", result)) {
        return;
    }
    struct io_postgres *postgres = lane->postgres;
    postgres->version = PQserverVersion(io_postgres_link_connection(lane->link));
    snprintf(postgres->facts, sizeof(postgres->facts), "version=%d %s", postgres->version / 10000, PQgetvalue(result, 0, 0));
    PQclear(result);
    if (postgres->version < 150000) {
        pg_lane_drop(lane, "PostgreSQL 15 or later is required", NULL);
    }
}

static const char sql_facts[] =
    "SELECT pg_catalog.format('encoding=%s provider=%s collate=%s ctype=%s locale=%s collation_version=%s', "
    "pg_catalog.pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype, daticulocale, "
    "pg_catalog.pg_database_collation_actual_version(oid)) FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";

static void on_has_schema(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (!setup_failed(lane, "cannot look for the schema caucus", result)) {
        lane->has_schema = cc_slice_equal_text(pg_result_value(result, 0, 0), "t");
        PQclear(result);
    }
}

static uint32_t functions_crc(void)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        crc = cc_crc32c(crc, bootstrap_functions[i], strlen(bootstrap_functions[i]));
    }
    return crc;
}

static void put_functions(struct pg_lane *lane)
{
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        pg_lane_must_text(lane, bootstrap_functions[i]);
    }
    struct cc_buffer crc = {0};
    cc_buffer_printf(&crc, "%" PRIu32, functions_crc());
    struct cc_buffer format = {0};
    cc_buffer_printf(&format, "%d", (int)BOOTSTRAP_FORMAT);
    struct cc_slice parameters[2] = {cc_buffer_slice(&crc), cc_buffer_slice(&format)};
    pg_lane_must(lane, "UPDATE caucus.meta SET functions = $1::bigint, format = $2::integer", 2, parameters, NULL);
    cc_buffer_finish(&format);
    cc_buffer_finish(&crc);
}

static void bootstrap(struct pg_lane *lane)
{
    struct io_postgres *postgres = lane->postgres;
    pg_lane_must_text(lane, "BEGIN");
    pg_lane_commit_durably(lane);
    for (size_t i = 0; i < sizeof(bootstrap_tables) / sizeof(bootstrap_tables[0]); i++) {
        pg_lane_must_text(lane, bootstrap_tables[i]);
    }
    struct cc_buffer numbers = {0};
    cc_buffer_printf(&numbers, "%d", (int)BOOTSTRAP_FORMAT);
    size_t replica_at = numbers.n;
    cc_buffer_printf(&numbers, "%u", postgres->options.replica);
    size_t incarnation_at = numbers.n;
    cc_buffer_printf(&numbers, "%u", postgres->options.incarnation);
    struct cc_slice parameters[4] = {
        cc_slice_of(numbers.data, replica_at), cc_slice_text(postgres->cluster),
        cc_slice_of(numbers.data + replica_at, incarnation_at - replica_at),
        cc_slice_of(numbers.data + incarnation_at, numbers.n - incarnation_at)};
    pg_lane_must(lane,
                 "INSERT INTO caucus.meta (format, cluster, replica, incarnation) VALUES ($1::integer, $2::text, $3::bigint, $4::bigint)",
                 4, parameters, NULL);
    cc_buffer_finish(&numbers);
    put_functions(lane);
    pg_lane_must_text(lane, "COMMIT");
    cc_log(CC_LOG_INFO, "database_set_up", "format=%d", (int)BOOTSTRAP_FORMAT);
}

static void on_looked(void *context, uint64_t number)
{
    (void)number;
    struct pg_lane *lane = context;
    if (lane->state != PG_LANE_PREPARING) {
        return;
    }
    if (!lane->has_schema && lane->lane == DB_WEAK) {
        pg_lane_drop(lane, "the strong lane has not yet set the database up", NULL);
        return;
    }
    if (!lane->has_schema) {
        bootstrap(lane);
    }
    ask_state(lane);
}

static void on_state(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    struct io_postgres *postgres = lane->postgres;
    if (setup_failed(lane, "cannot read the state of the database", result)) {
        return;
    }
    lane->applied = pg_result_u64(result, 0, 0);
    lane->schema_version = (uint32_t)pg_result_u64(result, 0, 1);
    lane->schema_on_its_way = false;
    uint64_t format = pg_result_u64(result, 0, 2);
    bool ours = cc_slice_equal_text(pg_result_value(result, 0, 3), postgres->cluster) &&
                pg_result_u64(result, 0, 4) == postgres->options.replica;
    lane->functions = (uint32_t)pg_result_u64(result, 0, 5);
    PQclear(result);
    if (!ours) {
        pg_lane_drop(lane, "this database belongs to another cluster or replica (see caucus.meta)", NULL);
    } else if (format == 0 || format > BOOTSTRAP_FORMAT) {
        pg_lane_drop(lane, "this database was written by a newer version of Caucus (see caucus.meta)", NULL);
    }
}

static void on_frontier(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (setup_failed(lane, "cannot read the frontier", result)) {
        return;
    }
    lane->frontier.n = 0;
    lane->hlc_floor = 0;
    for (int i = 0; i < PQntuples(result); i++) {
        struct crdt_origin origin = {(uint32_t)pg_result_u64(result, i, 0), (uint32_t)pg_result_u64(result, i, 1)};
        struct clock_stamp stamp;
        if (crdt_frontier_raise(&lane->frontier, origin, pg_result_u64(result, i, 2)) != CC_OK ||
            clock_stamp_parse(pg_result_value(result, i, 3), &stamp) != CC_OK) {
            pg_lane_drop(lane, "the table caucus.frontier is damaged", NULL);
            break;
        }
        if (stamp.hlc > lane->hlc_floor) {
            lane->hlc_floor = stamp.hlc;
        }
    }
    lane->merged = lane->frontier;
    PQclear(result);
}

void pg_lane_tombstoned_add(struct pg_lane *lane, struct cc_slice table)
{
    if (!pg_lane_tombstoned_has(lane, table)) {
        lane->tombstoned = cc_grow(lane->tombstoned, &lane->tombstoned_capacity, lane->n_tombstoned + 1, sizeof(char *));
        lane->tombstoned[lane->n_tombstoned++] = cc_strndup(table.data, table.n);
    }
}

bool pg_lane_tombstoned_has(const struct pg_lane *lane, struct cc_slice table)
{
    for (size_t i = 0; i < lane->n_tombstoned; i++) {
        if (cc_slice_equal_text(table, lane->tombstoned[i])) {
            return true;
        }
    }
    return false;
}

void pg_lane_tombstoned_forget(struct pg_lane *lane)
{
    for (size_t i = 0; i < lane->n_tombstoned; i++) {
        free(lane->tombstoned[i]);
    }
    lane->n_tombstoned = 0;
}

static void on_collected(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (!setup_failed(lane, "cannot read what was collected", result)) {
        lane->collected = pg_result_u64(result, 0, 0);
        PQclear(result);
    }
}

static void on_tombstoned(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (setup_failed(lane, "cannot read the tombstones", result)) {
        return;
    }
    pg_lane_tombstoned_forget(lane);
    for (int i = 0; i < PQntuples(result); i++) {
        pg_lane_tombstoned_add(lane, pg_result_value(result, i, 0));
    }
    PQclear(result);
}

// From name to name: there may be millions of tombstones.
static const char sql_tombstoned[] =
    "WITH RECURSIVE t AS ((SELECT \"table\" FROM caucus.tombstones ORDER BY \"table\" LIMIT 1) UNION ALL "
    "SELECT (SELECT m.\"table\" FROM caucus.tombstones m WHERE m.\"table\" > t.\"table\" ORDER BY m.\"table\" LIMIT 1) FROM t "
    "WHERE t.\"table\" IS NOT NULL) SELECT \"table\" FROM t WHERE \"table\" IS NOT NULL";

static void on_aside(void *context, uint64_t number, PGresult *result)
{
    (void)number;
    struct pg_lane *lane = context;
    if (setup_failed(lane, "cannot read what was put aside", result)) {
        return;
    }
    lane->n_aside = pg_result_u64(result, 0, 0);
    lane->n_lost = pg_result_u64(result, 0, 1);
    crdt_frontier_of_text(PQgetvalue(result, 0, 2), &lane->aside);
    PQclear(result);
}

static void on_ready(void *context, uint64_t number)
{
    (void)number;
    pg_lane_ready(context);
}

static void prepare(struct pg_lane *lane)
{
    lane->prepared = true;
    if (lane->functions != functions_crc()) { // of an older program
        lane->functions = functions_crc();
        pg_lane_must_text(lane, "BEGIN");
        put_functions(lane);
        pg_lane_must_text(lane, "COMMIT");
        io_postgres_link_sync(lane->main, NULL, NULL, 0);
    }
    pg_executor_set_up(lane);
    io_postgres_link_sync(lane->main, on_ready, lane, 0);
}

void pg_lane_ready(struct pg_lane *lane)
{
    struct io_postgres *postgres = lane->postgres;
    if (lane->state != PG_LANE_PREPARING || io_postgres_link_connection(lane->main) == NULL) {
        return;
    }
    if (lane->lane == DB_STRONG && !lane->prepared) {
        prepare(lane);
        return;
    }
    postgres->prepared = postgres->prepared || lane->lane == DB_STRONG;
    lane->prepared = true;
    if (!postgres->prepared) {
        return; // the strong lane calls here again
    }
    if (lane->executor != NULL && !lane->executor_up) {
        pg_executor_connect(lane);
        return;
    }
    lane->state = PG_LANE_UP;
    io_postgres_link_good(lane->main);
    cc_log(CC_LOG_INFO, "database_up", "lane=%s applied=%" PRIu64 " schema=%u", pg_lane_name(lane), lane->applied,
           lane->schema_version);
    pg_lane_emit(lane, &(struct db_event){.kind = DB_UP,
                                        .hlc_floor = lane->hlc_floor,
                                        .collected = lane->collected,
                                        .n_aside = lane->n_aside,
                                        .aside = &lane->aside,
                                        .n_lost = lane->n_lost});
    if (lane->lane == DB_STRONG) { // the weak lane may be waiting for the schema or the rights to be there
        struct pg_lane *weak = &postgres->lanes[DB_WEAK];
        io_postgres_link_connect(weak->main);
        if (weak->prepared) {
            pg_lane_ready(weak);
        }
    }
    pg_lane_pump(lane);
}

static void ask_state(struct pg_lane *lane)
{
    io_postgres_link_send_text(lane->link,
                               "SELECT (SELECT applied FROM caucus.applied), (SELECT count(*) FROM caucus.migrations), format, cluster, "
                               "replica, functions FROM caucus.meta",
                               on_state, lane, 0);
    io_postgres_link_send_text(lane->link, "SELECT replica, incarnation, sequence, stamp FROM caucus.frontier", on_frontier, lane, 0);
    if (lane->lane == DB_WEAK) {
        io_postgres_link_send_text(lane->link, sql_tombstoned, on_tombstoned, lane, 0);
        io_postgres_link_send_text(lane->link, "SELECT coalesce(max(bound), 0) FROM caucus.garbage", on_collected, lane, 0);
    }
    if (lane->lane == DB_WEAK) {
        struct io_postgres_query query = {.sql = pg_sql_aside_count};
        pg_lane_must_once(lane, pg_sql_aside);
        pg_lane_must_once(lane, pg_sql_lost);
        io_postgres_link_send(lane->link, &query, on_aside, lane, 0);
    }
    struct cc_buffer incarnation = {0};
    cc_buffer_printf(&incarnation, "%u", lane->postgres->options.incarnation);
    struct cc_slice parameter = cc_buffer_slice(&incarnation);
    if (lane->lane == DB_STRONG) {
        pg_lane_must(lane, "UPDATE caucus.meta SET incarnation = $1::bigint WHERE incarnation <> $1::bigint", 1, &parameter, NULL);
    }
    cc_buffer_finish(&incarnation);
    pg_lane_ask_deferrable(lane);
    io_postgres_link_sync(lane->link, on_ready, lane, 0);
}

void pg_lane_set_up(void *context)
{
    struct pg_lane *lane = context;
    lane->state = PG_LANE_PREPARING;
    lane->link = lane->main;
    lane->prepared = lane->leaving = false;
    lane->in_transaction = false;
    lane->migrated = false;
    pg_lane_sequences_forget(lane);
    pg_lane_settings_forget(lane);
    pg_lane_pin_settings(lane);
    char lock[80];
    snprintf(lock, sizeof(lock), "SELECT pg_catalog.pg_advisory_lock(%d, %d)", (int)LOCK_CLASS, (int)lane->lane);
    pg_lane_must_text(lane, lock);
    // A snapshot that an earlier process was installing comes to its end first.
    snprintf(lock, sizeof(lock), "SELECT pg_catalog.pg_advisory_xact_lock_shared(%d, %d)", (int)LOCK_CLASS, (int)PG_LOCK_SNAPSHOT);
    pg_lane_must_text(lane, lock);
    pg_executor_end_earlier(lane);
    io_postgres_link_send_text(lane->link, sql_facts, on_facts, lane, 0);
    io_postgres_link_send_text(lane->link, "SELECT pg_catalog.to_regclass('caucus.meta') IS NOT NULL", on_has_schema, lane, 0);
    io_postgres_link_sync(lane->link, on_looked, lane, 0);
}
