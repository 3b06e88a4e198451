// Inside of io_postgres_*.c: lanes, their queue of jobs, and what the job files share.
#ifndef PROXY_IO_POSTGRES_INTERNAL_H
#define PROXY_IO_POSTGRES_INTERNAL_H

#include "crdt/row.h"
#include "proxy/postgres/io_postgres.h"
#include "proxy/postgres/io_postgres_digest.h"
#include "proxy/postgres/io_postgres_link.h"
#include "proxy/config/keys.h"
#include "proxy/postgres/pg_value.h"

#include <stdlib.h>

// Advisory locks: one per lane, by its number, and this one of the installation of a snapshot.
enum { PG_LOCK_CLASS = 0x43415543, PG_LOCK_SNAPSHOT = 2 };

struct pg_lane;

// A job under way. Jobs start in order and end in order.
struct pg_job {
    struct db_job job; // copied: a rollback has no answer
    struct pg_lane *lane;
    struct cc_arena arena;
    bool started;
    bool followed; // the next job's messages may be sent behind its own: should it fail, the lane drops the connection
    // Patience: 0 is for ever. When the limit passes without progress: what runs is cancelled, if it may be, then the lane is dropped.
    uint64_t progress_us;
    uint32_t limit_ms;
    bool cancellable, cancelled, complained;
    void *state;   // of the job's kind, in the arena
    void (*dispose)(struct pg_job *job); // frees what the state owns outside of the arena; may be NULL
    struct pg_job *next;
};

// One column of a table as it is described in pg_attribute.
struct pg_column {
    struct cc_slice name, type;
    uint32_t key_position; // 1..n, 0: not of the primary key
    bool not_null;
    bool generated;
    struct cc_slice constant_default; // NULL slice: none
    struct cc_slice merge;            // merge type as its comment states it; NULL slice: none
};

struct pg_table { // lives as long as the schema stays as it is
    char *asked;      // the name or oid text it was asked by
    bool found;
    bool weak;
    bool row_by_row;
    bool has_triggers; // of users
    bool has_merge_types;
    struct cc_slice name; // canonical: quoted only where needed; of the root, when it is a partition
    uint32_t n_columns;   // without dropped ones, with _caucus
    struct pg_column *columns;
    int32_t stamps; // position of _caucus, -1: none
    uint32_t n_key;
    uint32_t *key; // positions, in key order
    uint32_t n_fields; // columns that weak changes know: all but _caucus and generated ones; with the key
    uint32_t *fields;  // positions
    struct crdt_column *registers; // one per field
    struct cc_arena arena;
    struct pg_table *next;
};

struct pg_setting {
    char *name, *value;
};

enum pg_lane_state { PG_LANE_DOWN, PG_LANE_PREPARING, PG_LANE_UP, PG_LANE_HALTED };

struct pg_lane {
    struct io_postgres *postgres;
    enum db_lane lane;
    enum pg_lane_state state;
    // Of two sessions that take turns between transactions: the one whose turn it is, see io_postgres_executor.c.
    struct io_postgres_link *link, *main, *executor; // executor: NULL when main does it all
    bool prepared, executor_wanted, executor_up, leaving;
    int executor_pid; // the last one's; 0: none in this process so far
    struct pg_job *first, *last; // started ones in front
    struct event *watch;
    bool pumping;
    bool in_transaction;
    bool as_replica; // main's session_replication_role, see pg_lane_as_replica
    // What set_config(..., true) holds in the open transaction beyond the session's settings.
    struct pg_setting *settings;
    size_t n_settings, settings_capacity;
    struct cc_arena setup_arena;
    bool has_schema; // found while connecting
    uint32_t functions; // checksum of the functions found there
    // What the database holds, committed.
    uint64_t applied;
    uint32_t schema_version;
    struct crdt_frontier frontier;
    struct crdt_frontier merged; // weak lane: the same, with what was merged into the open transaction
    uint64_t collected; // WEAK: tombstones up to this stamp may be gone
    uint64_t hlc_floor;
    uint64_t n_aside; // weak lane, when it came up: change sets of earlier lives that are to be renewed,
    struct crdt_frontier aside; // their origins, with the last one of each
    uint64_t n_lost;  // own ones that nobody had any more
    struct pg_digests digests; // weak lane: what the open transaction has changed
    uint32_t planned_for;      // the oldest schema version that a job of the transaction was made under
    // Weak lane: tables that may have tombstones, by name. A name stays until the connection ends.
    char **tombstoned;
    size_t n_tombstoned, tombstoned_capacity;
    uint32_t merges_in_doubt; // so many merges presume no rows to be new: the last that did was wrong
    // Strong lane, open transaction.
    bool migrated;      // a migration was executed in it
    bool schema_on_its_way; // a COMMIT with a migration was sent, and has not been answered
    // Last positions told of all sequences, as "name=value" texts; cleared when they may not have reached the log.
    struct pg_sequence_memo *sequences;
};

struct pg_sequence_memo {
    char *name, *value;
    struct pg_sequence_memo *next;
};

struct io_postgres {
    struct io_postgres_options options;
    char *search_path, *cluster, *executor; // executor: role; "" when there is none
    char token[KEYS_TEXT_BYTES];            // proves to functions of the schema caucus that we call them
    bool prepared;                          // schema and rights, by the strong lane, since this process began
    bool has_deferrable, has_deferred;      // constraints that can be, that are at the start of a transaction; for both lanes
    struct pg_lane lanes[DB_LANES];
    char facts[400];
    int version;
    struct pg_table *tables; // descriptions, of both lanes
    struct pg_table *retired; // of an older schema; jobs under way may still look at them
};

// -- io_postgres.c --------------------------------------------------------------------------------------------------------

void pg_lane_emit(struct pg_lane *lane, struct db_event *event); // fills lane, applied, schema_version
void pg_lane_drop(struct pg_lane *lane, const char *why, const PGresult *result); // result: may be NULL; not taken over
// The result of a COMMIT, which it takes over. False: it did not commit, and the lane is dropped.
bool pg_lane_committed(struct pg_lane *lane, PGresult *result);
// Diverged: told, and the lane stays down.
void pg_lane_halt(struct pg_lane *lane, const char *text);
// The job has been answered: frees it and starts the next one.
void pg_job_finish(struct pg_job *job);
// The job goes on: its patience starts anew.
void pg_job_progress(struct pg_job *job, uint32_t limit_ms, bool cancellable);
// Whether a cancellation could still come, which must not meet what is sent next: then the lane is dropped.
bool pg_lane_is_cancelling(struct pg_lane *lane);
// Commands whose failure drops the lane. Context of the callback is the lane only: they may outlive their job.
void pg_lane_must_text(struct pg_lane *lane, const char *sql);
void pg_lane_must_once(struct pg_lane *lane, const char *sql); // not prepared
// The open transaction will be on disk when its COMMIT answers: for what readers or peers rely on after a crash, too.
void pg_lane_commit_durably(struct pg_lane *lane);
void pg_lane_must(struct pg_lane *lane, const char *sql, uint32_t n, const struct cc_slice *parameters, const uint8_t *binary);
// "<before> <pg_arrays_source()> <after>", of at most PG_ARRAYS_MAX arrays.
enum { PG_ARRAYS_MAX = 8 };
void pg_lane_must_arrays(struct pg_lane *lane, const char *before, struct pg_array *const *arrays, uint32_t n, const char *after);
void pg_lane_begin(struct pg_lane *lane); // BEGIN, if no transaction is open
void pg_lane_sequences_forget(struct pg_lane *lane);
// After the commit of a migration: forgets what is known of the old schema, asks for what must be known of the new one. Then on_taken gets
// the job.
void pg_lane_take_schema(struct pg_job *job, io_postgres_on_sync *on_taken);
// Starts what waits and may be started.
void pg_lane_pump(struct pg_lane *lane);
const char *pg_lane_name(const struct pg_lane *lane);

// -- io_postgres_setup.c -------------------------------------------------------------------------------------------------------

void pg_lane_set_up(void *lane);          // it is connected; its state becomes PREPARING, and UP some answers later
void pg_lane_ready(struct pg_lane *lane); // goes on with setting up
void pg_lane_tombstoned_add(struct pg_lane *lane, struct cc_slice table); // from now on it may have tombstones
bool pg_lane_tombstoned_has(const struct pg_lane *lane, struct cc_slice table);
void pg_lane_tombstoned_forget(struct pg_lane *lane);

// -- io_postgres_settings.c ------------------------------------------------------------------------------------------------------

// Makes the settings of the open transaction those given; `role` and others go back to the session's. on_result NULL: must not fail.
void pg_lane_settings(struct pg_lane *lane, const struct rest_setting *settings, size_t n, io_postgres_on_result *on_result,
                      void *context, uint64_t number);
void pg_lane_settings_forget(struct pg_lane *lane);
// Between transactions: from now on without triggers and with plans that hold for all parameters (for what is applied), or
// as usual. PostgreSQL forgets all plans at each change, so it is not done per transaction.
void pg_lane_as_replica(struct pg_lane *lane, bool as_replica);
// What a statement in the executor's session is: our own, or at least without code of users; with such code, and its changes are
// captured; with such code, and it tells its changes itself.
#define PG_MODE_SETTING "caucus.mode"
#define PG_MODE_OWN "caucus_own"
#define PG_MODE_CAPTURED "caucus_captured"
#define PG_MODE_TOLD "caucus_told"
extern const char *const pg_session_settings[][3]; // name, value, and whether it is main's only; ends with NULL
// Session settings once more, after a migration that may have changed them; within its transaction.
void pg_lane_pin_settings(struct pg_lane *lane);
// Asks anew which constraints are deferrable, in the main session. Without sync.
void pg_lane_ask_deferrable(struct pg_lane *lane);

// -- io_postgres_executor.c: the session of requests' writes --------------------------------------------------------------

void pg_executor_init(struct pg_lane *lane);
void pg_executor_end_earlier(struct pg_lane *lane); // of an earlier process or connection: what it commits is told then
void pg_executor_set_up(struct pg_lane *lane);      // role, rights and functions; by the strong lane. Without sync.
void pg_executor_grant(struct pg_lane *lane);       // what roles there are now. Without sync.
void pg_executor_connect(struct pg_lane *lane);     // pg_lane_ready follows
void pg_executor_close(struct pg_lane *lane, const char *why);
struct io_postgres_link *pg_executor_link_for(const struct pg_lane *lane, const struct pg_job *job);
// True when code of users must be kept apart from what is ours in the session whose turn it is.
bool pg_executor_has_turn(const struct pg_lane *lane);
// In front of a statement that may run code of users. What is prepared here and gone there shows that the code has done it.
void pg_executor_beware(struct pg_lane *lane, bool told);
// After a statement that may have run code of users: whatever that changed in the session is undone. told: its rows are its result.
void pg_executor_clean(struct pg_lane *lane, bool told, io_postgres_on_result *on_result, void *context, uint64_t number);
void pg_executor_failed(struct pg_lane *lane); // after the ROLLBACK of one that failed

bool pg_result_ok(const PGresult *result); // neither error nor aborted
bool pg_result_aborted(const PGresult *result);
struct cc_slice pg_result_value(const PGresult *result, int row, int column); // NULL slice for SQL NULL
uint64_t pg_result_u64(const PGresult *result, int row, int column);

// -- io_postgres_describe.c -------------------------------------------------------------------------------------------------

// Known descriptions by the name (quoted, qualified) or decimal oid they were asked by; NULL: not known yet.
const struct pg_table *pg_table_find(struct io_postgres *postgres, struct cc_slice asked);
// By canonical name, whatever it was asked by; NULL: not known yet.
const struct pg_table *pg_table_by_name(struct io_postgres *postgres, struct cc_slice name);
// Sends the question for several names, in the lane's main session; the result goes to pg_tables_take.
void pg_tables_ask(struct pg_lane *lane, const struct cc_slice *asked, size_t n, io_postgres_on_result *on_result, void *context,
                   uint64_t number);
// The same for the tables that have rows in caucus.capture; the result has one column more: the name to take it by.
void pg_tables_ask_captured(struct pg_lane *lane, io_postgres_on_result *on_result, void *context, uint64_t number);
enum cc_status pg_tables_take(struct io_postgres *postgres, const struct cc_slice *asked, size_t n, const PGresult *result) CC_CHECKED;
void pg_tables_forget(struct io_postgres *postgres);       // retires them
void pg_tables_free_retired(struct io_postgres *postgres); // when no job is under way

// -- io_postgres_effects.c: what executed statements changed ----------------------------------------------------------------

// Rows that a statement wrote: `n` rows of the result from `first` on, in the columns that rest/statement.h describes. brief: the text had
// its brief_end; the rows' other columns are the statement's parameters, from its first row on.
struct pg_rows {
    const PGresult *result;
    int first, n;
    int n_hidden; // columns at the end of the result that are not the statement's
    bool brief;
};

bool pg_rows_fit(const struct rest_statement *statement, const struct pg_rows *rows); // there are as many columns as there should be
// The values of the shape's columns in a row that was told in brief.
void pg_rows_read_brief(const struct rest_statement *statement, const struct pg_rows *rows, int row, struct cc_slice *values_out);
// CC_INVALID: the columns are not as the shape says.
enum cc_status pg_effects_of_rows(struct effect_builder *effects, const struct rest_statement *statement, const struct pg_rows *rows) CC_CHECKED;
// Rows that capture triggers wrote (relation, operation, old, new), all of whose tables are known.
// CC_UNSUPPORTED: an update or delete of a table without primary key.
enum cc_status pg_effects_of_capture(struct effect_builder *effects, struct io_postgres *postgres, const PGresult *captured,
                                     struct cc_arena *arena) CC_CHECKED;

// -- io_postgres_capture.c: rows that capture triggers wrote ------------------------------------------------------------------

struct pg_captured_row {
    const struct pg_table *table;
    char operation; // 'I', 'U', 'D'
    struct cc_slice *old_values, *new_values; // per column of the table; NULL where there is no such image
};

// In the order in which the rows changed. Arrays live in the arena, values borrow from the result. CC_NOT_FOUND: a table is not described.
enum cc_status pg_capture_read(struct io_postgres *postgres, const PGresult *captured, struct cc_arena *arena,
                               struct pg_captured_row **rows_out, size_t *n_out) CC_CHECKED;
enum pg_capture_column { PG_CAPTURE_RELATION, PG_CAPTURE_OPERATION, PG_CAPTURE_OLD, PG_CAPTURE_NEW };
extern const char pg_sql_take_capture[];
const struct pg_table *pg_capture_table(struct io_postgres *postgres, const PGresult *captured, int row); // NULL: not known yet

// -- io_postgres_outcome.c ------------------------------------------------------------------------------------------------------

// Outcomes, in the arena, encoded.
struct cc_slice pg_outcome_of_error(struct cc_arena *arena, const PGresult *result, bool weak);
// Says something about the server's condition, or the statement was cancelled: what must be done in any case is done again.
bool pg_error_passes(const PGresult *result);
struct cc_slice pg_outcome_encode(struct cc_arena *arena, const struct rest_outcome *outcome);
struct cc_slice pg_outcome_failed(struct cc_arena *arena, const char *code, const char *message, const char *details, const char *hint);
struct cc_slice pg_outcome_done(struct cc_arena *arena, const struct rest_statement *statements, const struct pg_rows *rows, uint32_t n);
uint64_t pg_inserted_rows(const struct pg_rows *rows);

// -- job kinds ----------------------------------------------------------------------------------------------------------------

void pg_execute_start(struct pg_job *job);      // io_postgres_execute.c: EXECUTE, WEAK_EXECUTE
void pg_execute_prepare(struct pg_job *job);    // what can be done of that while the job waits for its turn
void pg_migrate_start(struct pg_job *job);      // io_postgres_migrate.c: EXECUTE of a migration
void pg_apply_start(struct pg_job *job);        // io_postgres_apply.c
void pg_weak_commit_start(struct pg_job *job);  // io_postgres_weak.c
void pg_fetch_start(struct pg_job *job);        // io_postgres_weak.c
void pg_merge_start(struct pg_job *job);        // io_postgres_merge.c
void pg_adopt_start(struct pg_job *job);        // io_postgres_adopt.c: MERGE with `adopt`
void pg_begin_anew_start(struct pg_job *job);   // io_postgres_renew.c
void pg_put_aside_start(struct pg_job *job);
void pg_renew_start(struct pg_job *job);        // io_postgres_renew.c

// io_postgres_renew.c: the tables of what was put aside and of what is lost; how many sets are aside, how many are lost, and the last one aside of
// each origin (crdt_frontier_of_text).
extern const char pg_sql_aside[], pg_sql_lost[], pg_sql_aside_count[];

#endif
