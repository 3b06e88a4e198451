// Inside of the planner: what its files share.
#ifndef REST_PLAN_INTERNAL_H
#define REST_PLAN_INTERNAL_H

#include "rest/error.h"
#include "rest/json_body.h"
#include "rest/plan.h"
#include "rest/sql.h"
#include "rest/syntax.h"

enum plan_cardinality { PLAN_MANY_TO_ONE, PLAN_ONE_TO_ONE, PLAN_ONE_TO_MANY, PLAN_MANY_TO_MANY };

// How a node hangs on its parent: pairs of equal columns, directly or through a junction table.
struct plan_relationship {
    enum plan_cardinality cardinality;
    const struct rest_table *target;
    const struct rest_foreign_key *key;    // junction -> parent for MANY_TO_MANY
    const struct rest_foreign_key *second; // junction -> target
    const struct rest_table *junction;
    const struct rest_function *function; // computed: in the place of the target's rows; no keys then
    bool forward; // the parent holds the key
    bool by_table_name;
};

// One relation of the answer: the root, or an embedded one.
struct plan_node {
    const struct rest_table *table;
    uint32_t number; // alias t<number>; its join is e<number>
    struct plan_node *parent;
    struct cc_slice name;   // in the answer
    struct cc_slice target; // as the client wrote it
    bool spread;
    enum rest_join join;
    struct plan_relationship relationship; // not of the root
    uint32_t n_items;
    const struct rest_select *items; // none: all columns, if is_star
    bool is_star;
    uint32_t n_children;
    struct plan_node **children; // in the order of the EMBED and SPREAD items
    uint32_t n_conditions;
    const struct rest_condition **conditions;
    uint32_t n_orders;
    const struct rest_order **orders;
    bool has_limit;
    int64_t limit, offset;
};

enum plan_explain_option {
    PLAN_EXPLAIN_ANALYZE = 1,
    PLAN_EXPLAIN_VERBOSE = 2,
    PLAN_EXPLAIN_SETTINGS = 4,
    PLAN_EXPLAIN_BUFFERS = 8,
    PLAN_EXPLAIN_WAL = 16
};

struct planner {
    const struct rest_catalog *catalog;
    const struct rest_request *request;
    struct cc_arena *arena;
    struct rest_plan *plan;
    struct rest_preferences preferences;
    const char *schema;
    struct cc_slice relation; // decoded name: of a table or function
    struct rest_query query;
    struct rest_sql sql;
    uint32_t n_nodes;
    struct plan_node *root;
    const struct rest_table *table; // of the root
    struct cc_slice source;         // SQL of a function call in the place of the root's table; NULL slice: the table
    const struct rest_handler *handler; // makes the body; NULL: as facts.format says
    bool explain_json;
    unsigned explain_options; // of enum plan_explain_option
    uint32_t n_stamps;              // places in the SQL text where the number of the stamp's parameter belongs
    size_t *stamps;
    bool openapi_3;     // the description at / is wanted as OpenAPI 3.1, not 2.0
    bool reads_request; // the statement may run code that looks at the request
    bool may_say;       // it is a write of rows that may run code which says something about the answer
    bool runs_code;     // the statement may run code of users, besides triggers
};

// Both always give false, for `return plan_refuse(...)`. Texts may be NULL where the answer has null.
bool plan_refuse(struct planner *planner, enum rest_error_code code, const char *message, const char *details,
                 const char *hint);
bool plan_missing(struct planner *planner, enum rest_error_code code, const char *message, const char *details,
                  const char *hint);
bool plan_undefined_column(struct planner *planner, const struct rest_table *table, struct cc_slice name);
const char *plan_text(struct planner *planner, const char *format, ...) __attribute__((format(printf, 2, 3)));
void plan_take_sql(struct planner *planner);  // moves the written SQL and parameters to the statement
void plan_put_stamp(struct planner *planner); // the parameter behind all others that the executor adds to weak writes
bool plan_answer_options(struct planner *planner, const char *allow); // false
bool plan_is_singular(const struct planner *planner);

// plan_settings.c
bool plan_add_identity(struct planner *planner);         // role, its settings, claims, time zone, app.settings.*; false: refused
void plan_add_request_settings(struct planner *planner); // request.method, .path, .headers, .cookies
void plan_add_function_settings(struct planner *planner, const struct rest_function *function);
bool plan_has_pre_request(const struct planner *planner);
void plan_add_pre_request(struct planner *planner); // behind all settings

// plan_tree.c: the select list and everything placed on it, over the catalog.
bool plan_tree_create(struct planner *planner, const struct rest_table *table);
bool plan_is_to_many(const struct plan_node *node);
struct plan_node *plan_child(const struct plan_node *node, struct cc_slice name); // NULL: none

// plan_relationship.c
bool plan_relationship_find(struct planner *planner, const struct rest_table *origin, const struct rest_select *item,
                            struct plan_relationship *out);

// Whether a function's argument is the table's row type.
bool plan_takes_row(const struct rest_function *function, const struct rest_table *table);
// plan_filter.c: conditions and orders as SQL.
bool plan_put_field(struct planner *planner, const struct plan_node *node, const struct rest_field *field);
bool plan_put_conditions(struct planner *planner, const struct plan_node *node,
                         const char *before); // before: " WHERE " or " AND "
bool plan_put_order(struct planner *planner, const struct plan_node *node);
bool plan_put_order_key(struct planner *planner, const struct plan_node *node, const struct rest_order *order);
void plan_put_direction(struct planner *planner, const struct rest_order *order);
void plan_put_column(struct planner *planner, const struct plan_node *node, uint32_t column);

// plan_cast.c: the type of that name: a built-in one by its usual name, that of an exposed column, or an array as PostgreSQL calls it (_int4).
// NULL: no other type may be named.
const char *plan_cast_type(struct planner *planner, struct cc_slice name);

// plan_select.c
void plan_put_presence(struct planner *planner, const struct plan_node *child); // a column that is NULL when the child has no rows
void plan_put_source(struct planner *planner, const struct plan_node *node); // what its rows come from
bool plan_put_select(struct planner *planner,
                     const struct plan_node *node); // SELECT ... FROM ... LIMIT ..., below a node's alias
bool plan_put_countable(struct planner *planner,
                        const struct plan_node *node); // SELECT 1 FROM ...: the rows without limit
bool plan_put_count(struct planner *planner,
                    const struct plan_node *node); // (SELECT count(*) ...): the rows without limit
void plan_put_aggregate(struct planner *planner);  // the body over rows r
bool plan_put_row_body(struct planner *planner,
                       const struct plan_node *node); // the row t<number> as JSON text (or CSV)
bool plan_put_head(struct planner *planner); // of HEAD, in the place of the body: the hash of the only row, else NULL
// The hash that the row's entity tag has, see etag.h.
bool plan_put_row_hash(struct planner *planner, const struct plan_node *node);
const char *plan_csv_header(struct planner *planner, const struct plan_node *node);

// plan_operator.c: what a value says instead of a value.
enum plan_operator_kind { PLAN_VALUE, PLAN_INCREMENT, PLAN_ELEMENTS };
struct plan_operator {
    enum plan_operator_kind kind;
    const struct rest_json_value *amount;
    const struct rest_json_value *added, *removed; // arrays, NULL: none
};
// PLAN_VALUE when it is a plain value. False: refused.
bool plan_operator_read(struct planner *planner, const struct rest_column *column, const struct rest_json_value *value,
                        struct plan_operator *out);
// The expression. alias: of the row as it is, NULL: there is none. is_set: the column has the merge type.
void plan_put_operator(struct planner *planner, const struct rest_column *column, const struct plan_operator *operator, const char *alias,
                       bool is_set);
// Around the expression of a plain value for a column with a merge type: what the row shows once that is written, so that the
// answer shows the same. alias: of the row as it is, NULL: there is none.
void plan_open_merged(struct planner *planner, const struct rest_column *column, const char *alias);
void plan_close_merged(struct planner *planner, const struct rest_column *column, const char *alias);

// payload.c: the rows of a write.
struct plan_payload {
    bool bulk; // more than one row: json_to_recordset or parameters for each of them, else the members as parameters
    uint64_t n_rows;
    struct cc_slice raw; // of bulk
    uint32_t n_members;  // of the one row, or the first
    const struct rest_json_member *members;
    uint32_t n_columns; // positions in the table
    uint32_t *columns;
    struct plan_operator *operators; // of the one row, per column
    bool has_operators;
    bool missing_default;
};
bool plan_payload_read(struct planner *planner, const struct rest_table *table, struct plan_payload *out);
bool plan_body_scan(struct planner *planner, struct rest_json *out); // PGRST102 when it is no JSON
// A value of the one row as an expression for `type`; base_type tells whether JSON is kept as it is.
void plan_put_value(struct planner *planner, const char *type, const char *base_type,
                    const struct rest_json_value *value);
// The parameter that a value is, neither array nor object unless base_type is text or JSON.
struct cc_slice plan_value_text(struct planner *planner, const char *base_type, const struct rest_json_value *value);
void plan_put_payload_value(struct planner *planner, const struct rest_table *table, const struct plan_payload *payload,
                            uint32_t column);

// media.c. What an Accept header admits, of the root or a relation, or of a function's result; false: refused.
bool plan_negotiate(struct planner *planner, const struct rest_function *function);
void plan_explain(struct planner *planner); // the planned statement becomes the question for its plan

// The kinds of requests. False: the plan is an answer.
bool plan_read(struct planner *planner);
// The condition that the root's column is equal to something; NULL: there is none.
const struct rest_filter *plan_equal_filter(const struct planner *planner, const char *column);
bool plan_insert(struct planner *planner);
bool plan_put(struct planner *planner);
bool plan_update(struct planner *planner);
bool plan_delete(struct planner *planner);
bool plan_call(struct planner *planner);
void plan_put_position(struct planner *planner, bool with_frontier);
// What functions have said about the answer. The name is a constant.
#define PLAN_RESPONSE_SETTING(name) "nullif(current_setting('" name "', true), '')"
// The transaction goes on with writes of others. Gives the empty text.
#define PLAN_FORGET_RESPONSE "left(set_config('response.status', '', true) || set_config('response.headers', '', true), 0)"
bool plan_read_range(struct planner *planner, struct plan_node *root); // Range header, rows_max, signs of limits

#endif
