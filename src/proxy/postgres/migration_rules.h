// What each kind of SQL statement means in a migration: one table, from which migration.c decides.
#ifndef PROXY_MIGRATION_RULES_H
#define PROXY_MIGRATION_RULES_H

#include "proxy/postgres/migration.h"
#include "proxy/postgres/parse_tree.h"

struct migration_refusal {
    const char *reason; // "... cannot run in a transaction"
    const char *hint;   // what to do instead, or ""
};

struct migration_rule {
    const char *tag; // of libpg_query: "IndexStmt"
    enum migration_kind kind;
    const struct migration_refusal *refusal; // not NULL: always refused
};

// NULL: a kind of statement that Caucus does not know.
const struct migration_rule *migration_rule_find(struct cc_slice tag);
// What refuses a statement for something in it (schema caucus, tablespaces, temporary tables, settings, ...), or NULL.
const struct migration_refusal *migration_refusal_find(struct cc_slice tag, const struct parse_node *statement);
// Name and value of a SELECT set_config('name', 'value', ...) that does nothing else.
bool migration_is_set_config(const struct parse_node *select, struct cc_slice *name_out, struct cc_slice *value_out);

#endif
