// What the proxy does around a plan, in small: for tests of the planner against a real PostgreSQL.
#ifndef TESTS_PLANNER_DATABASE_H
#define TESTS_PLANNER_DATABASE_H

#include "rest/plan.h"
#include "rest/reply.h"

#include <libpq-fe.h>

void database_must(PGconn *connection, const char *sql); // exits when it fails
char *database_read_file(const char *directory, const char *name);
// Runs a file of SQL and makes what every Caucus database has.
void database_add(PGconn *connection, const char *directory, const char *name); // runs a file
void database_load(PGconn *connection, const char *directory, const char *name);
struct rest_catalog *database_catalog(PGconn *connection, const char *schemas);
struct cc_slice database_value(const PGresult *result, int row, int column); // NULL slice: SQL NULL
// Begins a transaction, applies the settings, runs the statement. The transaction stays open.
PGresult *database_execute(PGconn *connection, const struct rest_statement *statement, struct cc_arena *arena);
// The text for many, of one only, in a transaction that is begun here and left open. Only where there is one.
PGresult *database_execute_many(PGconn *connection, const struct rest_statement *statement, struct cc_arena *arena);
// The same as n lookups at once, all with the statement's parameters.
PGresult *database_execute_lookups(PGconn *connection, const struct rest_statement *statement, uint32_t n, struct cc_arena *arena);
// The rows have the columns that statement.h promises.
bool database_keeps_contract(const struct rest_statement *statement, const PGresult *result);
void database_outcome(const struct rest_statement *statement, const PGresult *result, struct cc_arena *arena,
                      struct rest_outcome *out);

#endif
