// Catalog: the schema as REST plans over it. An immutable snapshot, made from one JSON document that PostgreSQL builds
// (the query is in rest/catalog_sql.h). Pure.
#ifndef REST_CATALOG_H
#define REST_CATALOG_H

#include "base/arena.h"
#include "base/status.h"

enum rest_class { REST_STRONG, REST_WEAK };
enum rest_merge { REST_MERGE_LWW, REST_MERGE_COUNTER, REST_MERGE_MAX, REST_MERGE_MIN, REST_MERGE_SET }; // of a column of a weak table

struct rest_column {
    const char *name;
    const char *type;      // format_type() with search_path pg_catalog: may be written into SQL as a cast
    const char *base_type; // without typmod, domains resolved, for example "integer", "text[]", "jsonb"
    bool not_null;
    bool has_default;
    const char *default_sql;      // the default's expression (nextval for identities), or NULL
    const char *constant_default; // text value when the default is a constant, else NULL
    bool generated;               // GENERATED ALWAYS AS (...) STORED: never written
    bool identity_always;
    uint32_t key_position;   // 1..n in the primary key, 0 otherwise
    const char *sequence;    // qualified name of the sequence that its default draws from, or NULL
    enum rest_merge merge;
    const char *comment;     // without the line that states the merge type; NULL if none
    const char *enum_values; // JSON array text for enum types, or NULL
    // Of a column whose type is a domain with representations: qualified functions of its implicit casts, else NULL.
    const char *json_out, *text_out; // what answers show in its place, in CSV the text
    const char *json_in, *text_in;   // what makes it of values in bodies and in filters
};

struct rest_unique { // unique indexes without predicate or expression, for on_conflict and one-to-one detection
    uint32_t n_columns;
    const uint32_t *columns; // positions in table->columns
    bool primary;
};

enum rest_relation_kind { REST_TABLE, REST_VIEW, REST_MATERIALIZED_VIEW, REST_FOREIGN_TABLE, REST_PARTITIONED };

struct rest_table {
    uint32_t oid; // PostgreSQL's number of it, at this replica only
    const char *schema, *name;
    const char *qualified; // quoted for SQL: "public"."orders"
    enum rest_relation_kind kind;
    enum rest_class consistency;
    bool insertable, updatable, deletable;
    // A write of this kind may touch other rows than RETURNING tells (triggers, rules, cascading foreign keys, INSTEAD OF,
    // volatile functions in defaults and policies): use capture.
    bool capture_insert, capture_update, capture_delete;
    bool hides_inserts; // row-level security may keep from a role what it inserts
    uint32_t n_blind;
    const char **blind; // roles that may write it and not read all of it: RETURNING is not for them
    bool
        capture_key_update; // so does an update that sets columns of a unique index (foreign keys with ON UPDATE CASCADE, ...)
    bool reads_request;     // using it may run code that looks at request.method, .path, .headers or .cookies
    bool runs_code;         // using it may run code of users, besides triggers: defaults, checks, policies
    bool reads_weak, reads_strong; // VIEW: classes of the tables below it
    bool row_by_row;        // has unique or exclusion constraints besides the key: effects are applied one by one
    bool set_wise;          // what an insert writes and checks does not depend on other rows of the table: several may be one statement
    bool has_merge_types;   // of a weak table: some column has one other than lww
    uint32_t n_columns;
    const struct rest_column *columns; // without dropped ones and without _caucus
    uint32_t n_key;
    const uint32_t *key; // positions, in key order; n_key == 0: no primary key
    uint32_t n_uniques;
    const struct rest_unique *uniques;
    const char *comment;
};

struct rest_foreign_key { // of tables, and of the views that show the columns of a key
    const char *name;
    uint32_t from, to; // positions in catalog->tables
    uint32_t n_columns;
    const uint32_t *from_columns, *to_columns;
    bool once; // from_columns are unique in the table that really has the key: each row is referenced by one at most
};

enum rest_volatility { REST_IMMUTABLE, REST_STABLE, REST_VOLATILE };

struct rest_argument {
    const char *name; // "" if unnamed
    const char *type;
    bool has_default, variadic;
};

struct rest_named_value { // a setting, as ALTER ROLE and CREATE FUNCTION take it
    const char *name, *value;
};

struct rest_function {
    uint32_t oid;
    const char *schema, *name, *qualified;
    enum rest_volatility volatility;
    enum rest_class consistency; // of the tables that it reads and writes, as its comment says
    bool one_row; // ROWS 1: a computed relationship to one row
    bool returns_set, returns_void, returns_row; // row: composite, TABLE or OUT parameters
    bool returns_record;                         // rows whose columns nobody knows before
    const char *return_type;                     // format_type
    const char *return_base;                     // the same with domains resolved
    const char *media_type;                      // the domain that it returns, when its name is one: "text/html"; else NULL
    int32_t return_table;                        // position in tables when it returns that row type, else -1
    uint32_t n_arguments;                        // IN, INOUT, VARIADIC
    const struct rest_argument *arguments;
    uint32_t n_outs;
    const struct rest_argument *outs; // the columns of its rows, unless they are a table's
    uint32_t n_settings; // of its own, that must hold before it is called
    const struct rest_named_value *settings;
    const char *comment;
};

struct rest_handler { // an aggregate over a relation's rows that returns a domain called like a media type
    const char *media_type, *base_type, *qualified;
    uint32_t table; // position in catalog->tables
};

struct rest_role { // that has settings of its own
    const char *name;
    uint32_t n_settings;
    const struct rest_named_value *settings;
};

struct rest_catalog {
    struct cc_arena arena; // owns everything
    uint32_t version;      // schema version: number of applied migrations
    uint32_t n_schemas;
    const char **schemas; // exposed ones, the default first
    uint32_t n_tables;
    const struct rest_table *tables; // sorted by schema, name; exposed schemas only, all relations
    uint32_t n_foreign_keys;
    const struct rest_foreign_key *foreign_keys;
    uint32_t n_functions;
    const struct rest_function *functions;
    uint32_t n_handlers;
    const struct rest_handler *handlers;
    bool
        has_deferrable; // any deferrable constraint or constraint trigger: SET CONSTRAINTS ALL IMMEDIATE before effects are collected
    bool has_sequences;
    bool reads_request;    // something in the database does, see rest_table
    bool writes_response;  // some function says something about answers: response.status, response.headers
    const char *geojson;   // qualified name of PostGIS's function from a row to a GeoJSON feature, or NULL
    uint32_t n_superusers; // and PostgreSQL's own roles: no request runs as one of them
    const char **superusers;
    uint32_t n_roles;
    const struct rest_role *roles; // those with settings
};

enum { REST_CATALOG_ERROR_BYTES = 200 };

// CC_MALFORMED with a text in error_out (REST_CATALOG_ERROR_BYTES).
enum cc_status rest_catalog_create(struct cc_slice json, struct rest_catalog **catalog_out, char *error_out) CC_CHECKED;
void rest_catalog_destroy(struct rest_catalog *catalog); // NULL is fine
const struct rest_table *rest_catalog_table(const struct rest_catalog *catalog, const char *schema,
                                            struct cc_slice name);
bool rest_table_is_view(const struct rest_table *table); // materialized or not
int32_t rest_table_column(const struct rest_table *table, struct cc_slice name); // position or -1
// The class that a comment's first line states ("@caucus weak", "@caucus strong"; strong without such a line), and the
// comment without that line (borrowed; NULL when nothing is left). CC_INVALID: the line states something else.
enum cc_status rest_class_of_comment(const char *comment, enum rest_class *class_out, const char **rest_out) CC_CHECKED;

const char *rest_merge_text(enum rest_merge merge);

#endif
