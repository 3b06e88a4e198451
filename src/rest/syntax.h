// Syntax: a query string as a tree. Names are what the client wrote; nothing is looked up here.
// Everything lives in the arena given to rest_query_parse.
#ifndef REST_SYNTAX_H
#define REST_SYNTAX_H

#include "base/arena.h"
#include "base/status.h"

enum { REST_DEPTH_MAX = 32 }; // nested embeddings, logic trees, array literals

enum rest_operator {
    REST_EQ,
    REST_NEQ,
    REST_GT,
    REST_GTE,
    REST_LT,
    REST_LTE,
    REST_LIKE,
    REST_ILIKE,
    REST_MATCH,
    REST_IMATCH,
    REST_IN,
    REST_IS,
    REST_IS_DISTINCT,
    REST_FTS,
    REST_PLFTS,
    REST_PHFTS,
    REST_WFTS,
    REST_CONTAINS,
    REST_CONTAINED,
    REST_OVERLAPS,
    REST_STRICTLY_LEFT,
    REST_STRICTLY_RIGHT,
    REST_NOT_RIGHT,
    REST_NOT_LEFT,
    REST_ADJACENT,
};

enum rest_operator_form { REST_FORM_COMPARE, REST_FORM_LIKE, REST_FORM_IN, REST_FORM_IS, REST_FORM_FTS };

struct rest_operator_info {
    const char *name; // in the query string
    const char *sql;  // operator, or the function that makes the tsquery
    enum rest_operator_form form;
    bool quantifiable; // op(any), op(all)
};
const struct rest_operator_info *rest_operator_info(enum rest_operator op);

enum rest_quantifier { REST_QUANTIFIER_NONE, REST_QUANTIFIER_ANY, REST_QUANTIFIER_ALL };

struct rest_path_step { // ->key, ->>key, ->0
    struct cc_slice key;
    bool is_index;
    bool as_text; // ->>
};

struct rest_field {
    struct cc_slice name;
    uint32_t n_steps;
    struct rest_path_step *steps;
};

enum rest_is { REST_IS_NULL, REST_IS_NOT_NULL, REST_IS_TRUE, REST_IS_FALSE, REST_IS_UNKNOWN };

struct rest_filter {
    struct rest_field field;
    enum rest_operator op;
    bool negated;
    enum rest_quantifier quantifier;
    struct cc_slice language; // of full text operators; NULL slice: none
    struct cc_slice value;
    enum rest_is is;  // REST_IS
    uint32_t n_items; // REST_IN
    struct cc_slice *items;
};

enum rest_condition_kind { REST_CONDITION_FILTER, REST_CONDITION_AND, REST_CONDITION_OR };

struct rest_condition {
    enum rest_condition_kind kind;
    bool negated; // of AND, OR
    struct rest_filter filter;
    uint32_t n_members;
    struct rest_condition *members;
};

enum rest_direction { REST_DIRECTION_DEFAULT, REST_ASCENDING, REST_DESCENDING };
enum rest_nulls { REST_NULLS_DEFAULT, REST_NULLS_FIRST, REST_NULLS_LAST };

struct rest_order {
    struct cc_slice relation; // order=rel(col); NULL slice: a column of the relation itself
    struct rest_field field;
    enum rest_direction direction;
    enum rest_nulls nulls;
};

enum rest_aggregate { REST_AGGREGATE_NONE, REST_SUM, REST_AVG, REST_COUNT, REST_MAX, REST_MIN };
enum rest_select_kind { REST_SELECT_ALL, REST_SELECT_FIELD, REST_SELECT_EMBED, REST_SELECT_SPREAD };
enum rest_join { REST_JOIN_LEFT, REST_JOIN_INNER };

struct rest_select {
    enum rest_select_kind kind;
    struct cc_slice alias;   // NULL slice: none
    struct rest_field field; // FIELD; name NULL for count()
    struct cc_slice cast;    // NULL slice: none
    enum rest_aggregate aggregate;
    struct cc_slice aggregate_cast;
    struct cc_slice target, hint; // EMBED, SPREAD; hint NULL: none
    enum rest_join join;
    uint32_t n_items;
    struct rest_select *items;
};

// Where a filter, order or limit belongs: names of embeddings from the outside in.
struct rest_embed_path {
    uint32_t n_names;
    struct cc_slice *names;
};

struct rest_placed_condition {
    struct rest_embed_path path;
    struct rest_condition condition;
};

struct rest_placed_order {
    struct rest_embed_path path;
    uint32_t n_terms;
    struct rest_order *terms;
};

struct rest_placed_range {
    struct rest_embed_path path;
    bool is_limit; // else offset
    int64_t value;
};

struct rest_pair { // decoded
    struct cc_slice key, value;
};

struct rest_query {
    uint32_t n_pairs; // everything, in order of arrival
    struct rest_pair *pairs;
    bool has_select;
    uint32_t n_items;
    struct rest_select *items;
    bool has_columns;
    uint32_t n_columns;
    struct cc_slice *columns;
    bool has_on_conflict;
    uint32_t n_on_conflict;
    struct cc_slice *on_conflict;
    uint32_t n_conditions;
    struct rest_placed_condition *conditions;
    uint32_t n_orders;
    struct rest_placed_order *orders;
    uint32_t n_ranges;
    struct rest_placed_range *ranges;
    uint32_t n_arguments; // of a function: pairs whose value is no filter
    struct rest_pair *arguments;
};

struct rest_parse_error {
    const char *message; // in the arena
    const char *details;
};

// Parses an undecoded query string. with_arguments: pairs that are no filters are arguments (GET /rpc/f), else an error.
// CC_MALFORMED fills error_out.
enum cc_status rest_query_parse(struct cc_slice text, bool with_arguments, struct cc_arena *arena,
                                struct rest_query *query_out, struct rest_parse_error *error_out) CC_CHECKED;

// Percent-decodes ('+' is a space when plus_is_space). CC_MALFORMED: bad escape, invalid UTF-8, NUL.
enum cc_status rest_percent_decode(struct cc_slice text, bool plus_is_space, struct cc_arena *arena,
                                   struct cc_slice *out) CC_CHECKED;
// Encodes all but letters, digits and -_.~
void rest_percent_encode(struct cc_buffer *out, struct cc_slice text);

#endif
