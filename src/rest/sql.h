// SQL writer: text and numbered parameters. The only way from a request into a statement: values become $n parameters,
// identifiers are quoted here (they come from the catalog; output names, which clients choose, are checked before).
#ifndef REST_SQL_H
#define REST_SQL_H

#include "base/arena.h"

struct rest_sql {
    struct cc_arena *arena;
    struct cc_buffer text;
    uint32_t n_parameters;
    struct cc_slice *parameters; // in the arena
    uint32_t *parameter_at;      // where in the text the $ of each stands; in the arena
};

void rest_sql_init(struct rest_sql *sql, struct cc_arena *arena);
void rest_sql_finish(struct rest_sql *sql);
void rest_sql_text(struct rest_sql *sql, const char *text);      // constant SQL
void rest_sql_slice(struct rest_sql *sql, struct cc_slice text); // SQL written before
void rest_sql_number(struct rest_sql *sql, uint32_t number);
void rest_sql_identifier(struct rest_sql *sql, struct cc_slice name);
void rest_sql_name(struct rest_sql *sql, const char *name); // identifier
// A string constant; only for texts of the catalog. Relies on standard_conforming_strings = on.
void rest_sql_literal(struct rest_sql *sql, const char *text);
// Binds the value (NULL slice: SQL NULL; must live in the arena) and writes $n. Returns n.
uint32_t rest_sql_parameter(struct rest_sql *sql, struct cc_slice value);

#endif
