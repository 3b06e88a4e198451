// Rules for the columns of weak tables, checked at the end of a migration: merge types, and what must not change under rows.
#ifndef PROXY_IO_POSTGRES_COLUMNS_H
#define PROXY_IO_POSTGRES_COLUMNS_H

#include "base/arena.h"

#include <libpq-fe.h>

// The columns of weak tables, and all others that state a merge type. Asked before and after the statements of a migration.
extern const char pg_columns_sql[];

struct pg_columns_problem { // texts live in the arena
    const char *message, *hint;
};

// True: `after` breaks a rule.
bool pg_columns_check(const PGresult *before, const PGresult *after, struct cc_arena *arena, struct pg_columns_problem *problem_out);

#endif
