// Migrations: SQL text into statements, each with how it is replicated, or a refusal with line and reason. Pure: PostgreSQL's
// own parser (libpg_query), no database.
#ifndef PROXY_MIGRATION_H
#define PROXY_MIGRATION_H

#include "base/arena.h"
#include "base/status.h"

enum migration_kind {
    MIGRATION_DDL = 1, // text: runs on every replica
    MIGRATION_DATA,    // runs on the leader with capture on; its rows (and all sequences) are the effects
    MIGRATION_DO,      // text: runs on every replica; refused when capture shows on the leader that it changed rows
    MIGRATION_SET,     // text: runs on every replica, holds until the end of the migration
};

// What the executor must find true in the database before it runs the statement.
enum migration_check_kind {
    // The table has no rows, if it exists: the statement would compute values that differ between replicas.
    MIGRATION_CHECK_EMPTY = 1,
    // As CHECK_EMPTY, but only if `function` is volatile: SELECT EXISTS (SELECT FROM pg_proc WHERE proname = $1 AND provolatile = 'v').
    MIGRATION_CHECK_EMPTY_IF_VOLATILE,
    // The table is not weak, or was created in this migration.
    MIGRATION_CHECK_NOT_WEAK,
};

struct migration_check {
    enum migration_check_kind kind;
    struct cc_slice schema;   // NULL slice: found through search_path
    struct cc_slice table;    // as PostgreSQL stores it (folded, unquoted)
    struct cc_slice function; // EMPTY_IF_VOLATILE: name without schema
    const char *reason;       // a sentence for the client, constant
};

struct migration_statement {
    enum migration_kind kind;
    struct cc_slice sql; // without the semicolon and leading comments; borrows from the text given
    uint32_t line;       // 1-based line of its first word
    uint32_t n_checks;
    struct migration_check *checks;
};

struct migration {
    uint32_t n_statements;
    struct migration_statement *statements;
};

struct migration_error {
    const char *code;   // SQLSTATE: 42601 syntax error, 0A000 refused, 54000 too large
    uint32_t statement; // 1-based; 0 for a syntax error
    uint32_t line;      // 1-based
    char message[400];  // "line 12: CREATE INDEX CONCURRENTLY cannot run in a transaction"
    char hint[200];     // what to do instead; empty if there is nothing to say
};

// Classifies all statements of `sql`. Arrays live in the arena, texts borrow from `sql` (checks' names live in the arena).
// An empty text gives no statements. CC_MALFORMED (syntax), CC_UNSUPPORTED (a statement is refused), CC_TOO_LARGE; the error is
// filled for each.
enum cc_status migration_parse(struct cc_slice sql, struct cc_arena *arena, struct migration *migration_out,
                               struct migration_error *error_out) CC_CHECKED;

#endif
