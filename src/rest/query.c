// Query: parser of the query string. Decode first, then parse each key and value.
#include "rest/query_internal.h"

#include "rest/utf8.h"
#include "rest/vector.h"

#include <stdlib.h>
#include <string.h>

// ---- keys

static bool take_names(struct scanner *scanner, uint32_t *n_out, struct cc_slice **names_out)
{
    uint32_t n = 0;
    struct cc_slice *names = NULL;
    do {
        names = rest_vector_room(scanner->arena, names, n, sizeof(*names));
        if (!scan_name(scanner, &names[n])) {
            return false;
        }
        n++;
    } while (scan_take(scanner, ','));
    *n_out = n;
    *names_out = names;
    return scan_at_end(scanner) || scan_fail(scanner, "\",\" or the end");
}

struct key {
    struct rest_embed_path path;
    struct rest_field field; // what follows the path
};

// [embed.path.]column[jsonpath]
static bool take_key(struct scanner *scanner, struct key *key)
{
    *key = (struct key){0};
    do {
        struct rest_field field;
        if (key->path.n_names == REST_DEPTH_MAX || !scan_field(scanner, &field)) {
            return scan_fail(scanner, "a column");
        }
        key->path.names = rest_vector_room(scanner->arena, key->path.names, key->path.n_names, sizeof(struct cc_slice));
        key->path.names[key->path.n_names++] = field.name;
        key->field = field;
    } while (key->field.n_steps == 0 && scan_take(scanner, '.'));
    key->path.n_names--;
    return scan_at_end(scanner) || scan_fail(scanner, "\".\" or the end");
}

enum key_kind {
    KEY_SELECT,
    KEY_COLUMNS,
    KEY_ON_CONFLICT,
    KEY_ORDER,
    KEY_LIMIT,
    KEY_OFFSET,
    KEY_AND,
    KEY_OR,
    KEY_FILTER
};

static struct cc_slice last_segment(struct cc_slice key)
{
    size_t at = key.n;
    while (at > 0 && key.data[at - 1] != '.') {
        at--;
    }
    return cc_slice_of(key.data + at, key.n - at);
}

static enum key_kind kind_of_key(struct cc_slice key)
{
    static const struct {
        const char *text;
        enum key_kind kind;
    } whole[] = {{"select", KEY_SELECT}, {"columns", KEY_COLUMNS}, {"on_conflict", KEY_ON_CONFLICT}},
      last[] = {{"order", KEY_ORDER}, {"limit", KEY_LIMIT}, {"offset", KEY_OFFSET}, {"and", KEY_AND}, {"or", KEY_OR}};
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        if (cc_slice_equal_text(key, whole[i].text)) {
            return whole[i].kind;
        }
    }
    struct cc_slice segment = last_segment(key);
    for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
        if (cc_slice_equal_text(segment, last[i].text)) {
            return last[i].kind;
        }
    }
    return KEY_FILTER;
}

// ---- the query

struct parser {
    struct cc_arena *arena;
    struct rest_query *query;
    struct rest_parse_error *error;
    bool with_arguments;
};

static enum cc_status refuse(struct parser *parser, const char *what, struct cc_slice input,
                             const struct scanner *scanner)
{
    const uint8_t *at = scanner->failed_at == NULL ? scanner->at : scanner->failed_at;
    const char *expected = scanner->expected == NULL ? "the end" : scanner->expected;
    size_t column = 1;
    for (const uint8_t *c = scanner->start; c < at; c++) {
        column += (*c & 0xc0) != 0x80;
    }
    size_t n = rest_utf8_step(at, scanner->end);
    parser->error->message = cc_arena_printf(parser->arena, "\"failed to parse %s (%.*s)\" (line 1, column %zu)", what,
                                             (int)input.n, input.n == 0 ? "" : (const char *)input.data, column);
    parser->error->details =
        n == 0 ? cc_arena_printf(parser->arena, "unexpected end of input expecting %s", expected)
               : cc_arena_printf(parser->arena, "unexpected \"%.*s\" expecting %s", (int)n, (const char *)at, expected);
    return CC_MALFORMED;
}

static enum cc_status parse_path(struct parser *parser, struct cc_slice key, struct key *out)
{
    struct scanner scanner = scan_of(key, parser->arena);
    if (!take_key(&scanner, out)) {
        return refuse(parser, "tree path", key, &scanner);
    }
    return CC_OK;
}

static enum cc_status parse_select(struct parser *parser, const struct rest_pair *pair)
{
    struct rest_query *query = parser->query;
    if (query->has_select) {
        return CC_OK;
    }
    query->has_select = true;
    struct scanner scanner = scan_of(pair->value, parser->arena);
    scan_skip_blanks(&scanner);
    if (scan_at_end(&scanner)) {
        return CC_OK;
    }
    if (!query_select_list(&scanner, &query->n_items, &query->items) ||
        !(scan_at_end(&scanner) || scan_fail(&scanner, "\",\" or the end"))) {
        return refuse(parser, "select parameter", pair->value, &scanner);
    }
    return CC_OK;
}

static enum cc_status parse_names(struct parser *parser, const struct rest_pair *pair, const char *what, bool *has,
                                  uint32_t *n, struct cc_slice **names)
{
    if (*has) {
        return CC_OK;
    }
    *has = true;
    struct scanner scanner = scan_of(pair->value, parser->arena);
    return take_names(&scanner, n, names) ? CC_OK : refuse(parser, what, pair->value, &scanner);
}

static enum cc_status parse_order(struct parser *parser, const struct rest_pair *pair)
{
    struct key key;
    enum cc_status status = parse_path(parser, pair->key, &key);
    if (status != CC_OK) {
        return status;
    }
    struct rest_query *query = parser->query;
    struct rest_placed_order order = {.path = key.path};
    struct scanner scanner = scan_of(pair->value, parser->arena);
    if (!query_orders(&scanner, &order)) {
        return refuse(parser, "order", pair->value, &scanner);
    }
    query->orders = rest_vector_room(parser->arena, query->orders, query->n_orders, sizeof(order));
    query->orders[query->n_orders++] = order;
    return CC_OK;
}

// What is no integer is ignored, as upstream does.
static bool parse_integer(struct cc_slice text, int64_t *out)
{
    char digits[24];
    if (text.n == 0 || text.n >= sizeof(digits)) {
        return false;
    }
    memcpy(digits, text.data, text.n);
    digits[text.n] = '\0';
    if (!(digits[0] == '-' || (digits[0] >= '0' && digits[0] <= '9'))) {
        return false;
    }
    char *end = NULL;
    long long value = strtoll(digits, &end, 10);
    if (*end != '\0' || end == digits || value > INT64_MAX / 4 || value < INT64_MIN / 4) {
        return false;
    }
    *out = value;
    return true;
}

static enum cc_status parse_range(struct parser *parser, const struct rest_pair *pair, bool is_limit)
{
    struct rest_query *query = parser->query;
    struct key key;
    enum cc_status status = parse_path(parser, pair->key, &key);
    struct rest_placed_range range = {.is_limit = is_limit};
    if (status != CC_OK || !parse_integer(pair->value, &range.value)) {
        return status;
    }
    range.path = key.path;
    query->ranges = rest_vector_room(parser->arena, query->ranges, query->n_ranges, sizeof(range));
    query->ranges[query->n_ranges++] = range;
    return CC_OK;
}

static void add_condition(struct parser *parser, const struct rest_placed_condition *condition)
{
    struct rest_query *query = parser->query;
    query->conditions = rest_vector_room(parser->arena, query->conditions, query->n_conditions, sizeof(*condition));
    query->conditions[query->n_conditions++] = *condition;
}

static enum cc_status parse_tree(struct parser *parser, const struct rest_pair *pair, enum rest_condition_kind kind)
{
    struct key key;
    enum cc_status status = parse_path(parser, pair->key, &key);
    if (status != CC_OK) {
        return status;
    }
    struct rest_placed_condition placed = {.path = key.path, .condition = {.kind = kind}};
    uint32_t n = placed.path.n_names;
    if (n > 0 && cc_slice_equal_text(placed.path.names[n - 1], "not")) {
        placed.condition.negated = true;
        placed.path.n_names--;
    }
    struct scanner scanner = scan_of(pair->value, parser->arena);
    scan_skip_blanks(&scanner);
    bool ok = query_members(&scanner, &placed.condition);
    scan_skip_blanks(&scanner);
    if (!ok || !(scan_at_end(&scanner) || scan_fail(&scanner, "the end"))) {
        return refuse(parser, "logic tree", pair->value, &scanner);
    }
    add_condition(parser, &placed);
    return CC_OK;
}

static void add_argument(struct parser *parser, const struct rest_pair *pair)
{
    struct rest_query *query = parser->query;
    query->arguments = rest_vector_room(parser->arena, query->arguments, query->n_arguments, sizeof(*pair));
    query->arguments[query->n_arguments++] = *pair;
}

static enum cc_status parse_filter(struct parser *parser, const struct rest_pair *pair)
{
    struct rest_placed_condition placed = {.condition = {.kind = REST_CONDITION_FILTER}};
    struct rest_filter *filter = &placed.condition.filter;
    struct scanner scanner = scan_of(pair->value, parser->arena);
    bool is_operation = query_operator(&scanner, filter);
    if (!is_operation && parser->with_arguments) {
        add_argument(parser, pair);
        return CC_OK;
    }
    if (!is_operation || !query_plain_value(&scanner, filter) || !(scan_at_end(&scanner) || scan_fail(&scanner, "the end"))) {
        return refuse(parser, "filter", pair->value, &scanner);
    }
    struct key key;
    enum cc_status status = parse_path(parser, pair->key, &key);
    if (status != CC_OK) {
        return status;
    }
    placed.path = key.path;
    filter->field = key.field;
    add_condition(parser, &placed);
    return CC_OK;
}

static enum cc_status parse_pair(struct parser *parser, const struct rest_pair *pair)
{
    struct rest_query *query = parser->query;
    switch (kind_of_key(pair->key)) {
    case KEY_SELECT:
        return parse_select(parser, pair);
    case KEY_COLUMNS:
        return parse_names(parser, pair, "columns parameter", &query->has_columns, &query->n_columns, &query->columns);
    case KEY_ON_CONFLICT:
        return parse_names(parser, pair, "on_conflict parameter", &query->has_on_conflict, &query->n_on_conflict,
                           &query->on_conflict);
    case KEY_ORDER:
        return parse_order(parser, pair);
    case KEY_LIMIT:
        return parse_range(parser, pair, true);
    case KEY_OFFSET:
        return parse_range(parser, pair, false);
    case KEY_AND:
        return parse_tree(parser, pair, REST_CONDITION_AND);
    case KEY_OR:
        return parse_tree(parser, pair, REST_CONDITION_OR);
    case KEY_FILTER:
        return parse_filter(parser, pair);
    }
    return CC_MALFORMED;
}

// One key=value; a parameter without '=' is dropped.
static enum cc_status decode_pair(struct parser *parser, struct cc_slice text)
{
    struct rest_query *query = parser->query;
    const uint8_t *equals = text.n == 0 ? NULL : memchr(text.data, '=', text.n);
    if (equals == NULL) {
        return CC_OK;
    }
    size_t n_key = (size_t)(equals - text.data);
    struct rest_pair pair;
    if (rest_percent_decode(cc_slice_of(text.data, n_key), true, parser->arena, &pair.key) != CC_OK ||
        rest_percent_decode(cc_slice_of(equals + 1, text.n - n_key - 1), true, parser->arena, &pair.value) != CC_OK) {
        parser->error->message = "\"failed to parse query string\" (line 1, column 1)";
        parser->error->details = "a percent-encoded character is incomplete, NUL, or not UTF-8";
        return CC_MALFORMED;
    }
    query->pairs = rest_vector_room(parser->arena, query->pairs, query->n_pairs, sizeof(pair));
    query->pairs[query->n_pairs++] = pair;
    return parse_pair(parser, &pair);
}

enum cc_status rest_query_parse(struct cc_slice text, bool with_arguments, struct cc_arena *arena,
                                struct rest_query *query_out, struct rest_parse_error *error_out)
{
    *query_out = (struct rest_query){0};
    struct parser parser = {.arena = arena, .query = query_out, .error = error_out, .with_arguments = with_arguments};
    size_t from = 0;
    for (size_t i = 0; i <= text.n; i++) {
        if (i < text.n && text.data[i] != '&' && text.data[i] != ';') {
            continue;
        }
        enum cc_status status = i == from ? CC_OK : decode_pair(&parser, cc_slice_of(text.data + from, i - from));
        if (status != CC_OK) {
            return status;
        }
        from = i + 1;
    }
    return CC_OK;
}
