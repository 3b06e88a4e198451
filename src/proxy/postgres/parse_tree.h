// Parse trees of SQL, as libpg_query writes them (JSON), in memory that is small for large statements. Pure.
#ifndef PROXY_PARSE_TREE_H
#define PROXY_PARSE_TREE_H

#include "base/arena.h"
#include "base/status.h"

enum parse_node_kind { PARSE_OBJECT, PARSE_ARRAY, PARSE_TEXT, PARSE_NUMBER, PARSE_TRUE, PARSE_FALSE, PARSE_NULL };

struct parse_node {
    enum parse_node_kind kind;
    struct cc_slice key;      // within an object
    struct cc_slice text;     // TEXT: decoded; NUMBER: as written
    struct parse_node *first; // OBJECT, ARRAY: members
    struct parse_node *next;  // the next member of the same parent
};

// Nodes and decoded texts live in the arena; other slices borrow from json. CC_MALFORMED, CC_TOO_LARGE (nested too deeply).
enum cc_status parse_tree_read(struct cc_slice json, struct cc_arena *arena,
                               const struct parse_node **root_out) CC_CHECKED;

// Member by key; NULL if there is none or `node` is NULL or no object.
const struct parse_node *parse_node_get(const struct parse_node *node, const char *key);
// Text of a member; the NULL slice if there is none.
struct cc_slice parse_node_text(const struct parse_node *node, const char *key);
bool parse_node_is(const struct parse_node *node, const char *key, const char *text); // the member's text equals
bool parse_node_true(const struct parse_node *node, const char *key);
// The value of a {"String":{"sval":...}} node; the NULL slice for other nodes.
struct cc_slice parse_node_string(const struct parse_node *node);
// Last String of an array of names ("public"."f" -> f); the NULL slice if there is none.
struct cc_slice parse_node_last_string(const struct parse_node *array);

#endif
