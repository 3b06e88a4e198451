// Query: parser of the query string. Decode first, then parse. Two quoting regimes: a plain filter takes its value verbatim,
// inside lists and logic trees ',' and ')' are reserved and values may be "quoted".
#include "rest/syntax.h"

#include "rest/utf8.h"
#include "rest/vector.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct rest_operator_info operators[] = {
    [REST_EQ] = {"eq", "=", REST_FORM_COMPARE, true},
    [REST_NEQ] = {"neq", "<>", REST_FORM_COMPARE, false},
    [REST_GT] = {"gt", ">", REST_FORM_COMPARE, true},
    [REST_GTE] = {"gte", ">=", REST_FORM_COMPARE, true},
    [REST_LT] = {"lt", "<", REST_FORM_COMPARE, true},
    [REST_LTE] = {"lte", "<=", REST_FORM_COMPARE, true},
    [REST_LIKE] = {"like", "LIKE", REST_FORM_LIKE, true},
    [REST_ILIKE] = {"ilike", "ILIKE", REST_FORM_LIKE, true},
    [REST_MATCH] = {"match", "~", REST_FORM_COMPARE, true},
    [REST_IMATCH] = {"imatch", "~*", REST_FORM_COMPARE, true},
    [REST_IN] = {"in", "= ANY", REST_FORM_IN, false},
    [REST_IS] = {"is", "IS", REST_FORM_IS, false},
    [REST_IS_DISTINCT] = {"isdistinct", "IS DISTINCT FROM", REST_FORM_COMPARE, false},
    [REST_FTS] = {"fts", "to_tsquery", REST_FORM_FTS, false},
    [REST_PLFTS] = {"plfts", "plainto_tsquery", REST_FORM_FTS, false},
    [REST_PHFTS] = {"phfts", "phraseto_tsquery", REST_FORM_FTS, false},
    [REST_WFTS] = {"wfts", "websearch_to_tsquery", REST_FORM_FTS, false},
    [REST_CONTAINS] = {"cs", "@>", REST_FORM_COMPARE, false},
    [REST_CONTAINED] = {"cd", "<@", REST_FORM_COMPARE, false},
    [REST_OVERLAPS] = {"ov", "&&", REST_FORM_COMPARE, false},
    [REST_STRICTLY_LEFT] = {"sl", "<<", REST_FORM_COMPARE, false},
    [REST_STRICTLY_RIGHT] = {"sr", ">>", REST_FORM_COMPARE, false},
    [REST_NOT_RIGHT] = {"nxr", "&<", REST_FORM_COMPARE, false},
    [REST_NOT_LEFT] = {"nxl", "&>", REST_FORM_COMPARE, false},
    [REST_ADJACENT] = {"adj", "-|-", REST_FORM_COMPARE, false},
};

const struct rest_operator_info *rest_operator_info(enum rest_operator op)
{
    assert((size_t)op < sizeof(operators) / sizeof(operators[0]));
    return &operators[op];
}

// ---- percent encoding

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

enum cc_status rest_percent_decode(struct cc_slice text, bool plus_is_space, struct cc_arena *arena,
                                   struct cc_slice *out)
{
    uint8_t *decoded = cc_arena_alloc(arena, text.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            bool complete = text.n - i > 2;
            int high = complete ? hex_digit(text.data[i + 1]) : -1;
            int low = complete ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return CC_MALFORMED;
            }
            c = (uint8_t)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        decoded[n++] = c;
    }
    struct cc_slice slice = cc_slice_of(decoded, n);
    if (!rest_utf8_ok(slice)) {
        return CC_MALFORMED;
    }
    *out = slice;
    return CC_OK;
}

static bool is_letter_or_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

void rest_percent_encode(struct cc_buffer *out, struct cc_slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.data[i];
        if (is_letter_or_digit(c) || c == '-' || c == '_' || c == '.' || c == '~') {
            cc_buffer_append(out, &c, 1);
        } else {
            cc_buffer_printf(out, "%%%02X", c);
        }
    }
}

// ---- scanner

struct scanner {
    struct cc_arena *arena;
    const uint8_t *start, *at, *end;
    const char *expected; // of the failure that counts: the first
    const uint8_t *failed_at;
    unsigned depth;
};

static struct scanner scanner_of(struct cc_slice text, struct cc_arena *arena)
{
    const uint8_t *start = text.n == 0 ? (const uint8_t *)"" : text.data;
    return (struct scanner){.arena = arena, .start = start, .at = start, .end = start + text.n};
}

static bool fail(struct scanner *scanner, const char *expected)
{
    if (scanner->expected == NULL) {
        scanner->expected = expected;
        scanner->failed_at = scanner->at;
    }
    return false;
}

static bool at_end(const struct scanner *scanner)
{
    return scanner->at == scanner->end;
}

static bool next_is(const struct scanner *scanner, char c)
{
    return scanner->at != scanner->end && *scanner->at == (uint8_t)c;
}

static bool text_is_next(const struct scanner *scanner, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(scanner->end - scanner->at) >= n && memcmp(scanner->at, text, n) == 0;
}

static bool take(struct scanner *scanner, char c)
{
    if (!next_is(scanner, c)) {
        return false;
    }
    scanner->at++;
    return true;
}

static bool take_text(struct scanner *scanner, const char *text)
{
    if (!text_is_next(scanner, text)) {
        return false;
    }
    scanner->at += strlen(text);
    return true;
}

static void skip_blanks(struct scanner *scanner)
{
    while (next_is(scanner, ' ')) {
        scanner->at++;
    }
}

static bool enter(struct scanner *scanner)
{
    if (scanner->depth == REST_DEPTH_MAX) {
        return fail(scanner, "less nesting");
    }
    scanner->depth++;
    return true;
}

static struct cc_slice since(const struct scanner *scanner, const uint8_t *from)
{
    return cc_slice_of(from, (size_t)(scanner->at - from));
}

// "..." with \" and \\; the scanner stands on the first quote. Leaves the scanner where it was on failure.
static bool take_quoted(struct scanner *scanner, struct cc_slice *out)
{
    const uint8_t *from = scanner->at;
    uint8_t *text = cc_arena_alloc(scanner->arena, (size_t)(scanner->end - from) + 1);
    size_t n = 0;
    scanner->at++;
    while (!at_end(scanner)) {
        uint8_t c = *scanner->at++;
        if (c == '"') {
            *out = cc_slice_of(text, n);
            return true;
        }
        if (c == '\\' && !at_end(scanner)) {
            c = *scanner->at++;
        }
        text[n++] = c;
    }
    scanner->at = from;
    return false;
}

static bool is_name_byte(uint8_t c)
{
    return is_letter_or_digit(c) || c == '_' || c == '$' || c == ' ' || c >= 0x80;
}

// Letters, digits, '_', '$', space, and '-' when it does not begin an arrow.
static bool take_bare_name(struct scanner *scanner, struct cc_slice *out)
{
    skip_blanks(scanner);
    const uint8_t *from = scanner->at;
    while (!at_end(scanner)) {
        bool dash = next_is(scanner, '-') && scanner->at != from && !text_is_next(scanner, "->");
        if (!dash && !is_name_byte(*scanner->at)) {
            break;
        }
        scanner->at++;
    }
    struct cc_slice name = since(scanner, from);
    while (name.n > 0 && name.data[name.n - 1] == ' ') {
        name.n--;
    }
    if (name.n == 0) {
        return fail(scanner, "a name");
    }
    *out = name;
    return true;
}

static bool take_name(struct scanner *scanner, struct cc_slice *out)
{
    skip_blanks(scanner);
    if (!next_is(scanner, '"')) {
        return take_bare_name(scanner, out);
    }
    if (!take_quoted(scanner, out) || out->n == 0) {
        return fail(scanner, "a quoted name");
    }
    skip_blanks(scanner);
    return true;
}

static bool is_index(struct cc_slice key)
{
    size_t i = key.n > 0 && key.data[0] == '-' ? 1 : 0;
    if (key.n == i || key.n - i > 9) {
        return false;
    }
    for (; i < key.n; i++) {
        if (key.data[i] < '0' || key.data[i] > '9') {
            return false;
        }
    }
    return true;
}

static bool take_path_key(struct scanner *scanner, struct rest_path_step *step)
{
    if (next_is(scanner, '"')) {
        return take_quoted(scanner, &step->key) || fail(scanner, "a quoted key");
    }
    const uint8_t *from = scanner->at;
    if (next_is(scanner, '-')) { // a negative index
        scanner->at++;
    }
    while (!at_end(scanner) && strchr("(-:.,>)", *scanner->at) == NULL) {
        scanner->at++;
    }
    step->key = since(scanner, from);
    step->is_index = is_index(step->key);
    return step->key.n > 0 || fail(scanner, "a key");
}

static bool take_path_steps(struct scanner *scanner, struct rest_field *field)
{
    while (text_is_next(scanner, "->")) {
        field->steps = rest_vector_room(scanner->arena, field->steps, field->n_steps, sizeof(*field->steps));
        struct rest_path_step *step = &field->steps[field->n_steps];
        *step = (struct rest_path_step){.as_text = text_is_next(scanner, "->>")};
        scanner->at += step->as_text ? 3 : 2;
        if (!take_path_key(scanner, step)) {
            return false;
        }
        field->n_steps++;
    }
    return true;
}

static bool take_field(struct scanner *scanner, struct rest_field *out)
{
    *out = (struct rest_field){0};
    return take_name(scanner, &out->name) && take_path_steps(scanner, out);
}

// ---- filters

static bool take_word(struct scanner *scanner, struct cc_slice *out)
{
    const uint8_t *from = scanner->at;
    while (!at_end(scanner) &&
           ((*scanner->at >= 'a' && *scanner->at <= 'z') || (*scanner->at >= 'A' && *scanner->at <= 'Z'))) {
        scanner->at++;
    }
    *out = since(scanner, from);
    return out->n > 0;
}

static bool find_operator(struct cc_slice word, enum rest_operator *out)
{
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
        if (cc_slice_equal_text(word, operators[i].name)) {
            *out = (enum rest_operator)i;
            return true;
        }
    }
    return false;
}

// (any), (all) or (language) behind an operator.
static bool take_modifier(struct scanner *scanner, struct rest_filter *filter)
{
    const struct rest_operator_info *info = rest_operator_info(filter->op);
    if (!take(scanner, '(')) {
        return true;
    }
    if (info->form == REST_FORM_FTS) {
        const uint8_t *from = scanner->at;
        while (!at_end(scanner) && !next_is(scanner, ')')) {
            scanner->at++;
        }
        filter->language = since(scanner, from);
        return (filter->language.n > 0 && take(scanner, ')')) || fail(scanner, "a language");
    }
    if (info->quantifiable && take_text(scanner, "any)")) {
        filter->quantifier = REST_QUANTIFIER_ANY;
        return true;
    }
    if (info->quantifiable && take_text(scanner, "all)")) {
        filter->quantifier = REST_QUANTIFIER_ALL;
        return true;
    }
    return fail(scanner, "(any) or (all) after an operator that takes it");
}

// [not.]op[(modifier)].
static bool take_operator(struct scanner *scanner, struct rest_filter *filter)
{
    filter->negated = take_text(scanner, "not.");
    const uint8_t *from = scanner->at;
    struct cc_slice word;
    if (!take_word(scanner, &word) || !find_operator(word, &filter->op)) {
        scanner->at = from;
        return fail(scanner, "operator (eq, gt, ...)");
    }
    return take_modifier(scanner, filter) && (take(scanner, '.') || fail(scanner, "'.' and a value"));
}

static bool list_item_ends(const struct scanner *scanner)
{
    return at_end(scanner) || next_is(scanner, ',') || next_is(scanner, ')');
}

// A value in a list or tree: "quoted" if the closing quote is followed by ',' or ')', else everything up to there.
static bool take_item(struct scanner *scanner, struct cc_slice *out)
{
    const uint8_t *from = scanner->at;
    if (next_is(scanner, '"') && take_quoted(scanner, out)) {
        if (list_item_ends(scanner)) {
            return true;
        }
        scanner->at = from;
    }
    while (!list_item_ends(scanner)) {
        scanner->at++;
    }
    *out = since(scanner, from);
    return true;
}

// (a,b,"c"): the items; () has none.
static bool take_items(struct scanner *scanner, struct rest_filter *filter)
{
    if (!take(scanner, '(')) {
        return fail(scanner, "\"(\"");
    }
    if (take(scanner, ')')) {
        return true;
    }
    do {
        filter->items = rest_vector_room(scanner->arena, filter->items, filter->n_items, sizeof(*filter->items));
        if (!take_item(scanner, &filter->items[filter->n_items])) {
            return false;
        }
        filter->n_items++;
    } while (take(scanner, ','));
    return take(scanner, ')') || fail(scanner, "\",\" or \")\"");
}

static bool same_word(struct cc_slice word, const char *text)
{
    if (word.n != strlen(text)) {
        return false;
    }
    for (size_t i = 0; i < word.n; i++) {
        if ((word.data[i] | 0x20) != (uint8_t)text[i] && word.data[i] != (uint8_t)text[i]) {
            return false;
        }
    }
    return true;
}

static bool take_is(struct scanner *scanner, enum rest_is *out)
{
    static const struct {
        const char *text;
        enum rest_is is;
    } values[] = {{"null", REST_IS_NULL},
                  {"not_null", REST_IS_NOT_NULL},
                  {"true", REST_IS_TRUE},
                  {"false", REST_IS_FALSE},
                  {"unknown", REST_IS_UNKNOWN}};
    const uint8_t *from = scanner->at;
    while (!at_end(scanner) && (is_letter_or_digit(*scanner->at) || next_is(scanner, '_'))) {
        scanner->at++;
    }
    struct cc_slice word = since(scanner, from);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (same_word(word, values[i].text)) {
            *out = values[i].is;
            return true;
        }
    }
    scanner->at = from;
    return fail(scanner, "isVal: (null, not_null, true, false, unknown)");
}

// The value of a filter that stands alone: the rest of the text, verbatim.
static bool take_plain_value(struct scanner *scanner, struct rest_filter *filter)
{
    if (filter->op == REST_IN) {
        return take_items(scanner, filter);
    }
    if (filter->op == REST_IS) {
        return take_is(scanner, &filter->is);
    }
    const uint8_t *from = scanner->at;
    scanner->at = scanner->end;
    filter->value = since(scanner, from);
    return true;
}

// {...} with nested braces and quoted parts.
static bool take_braces(struct scanner *scanner, struct cc_slice *out)
{
    const uint8_t *from = scanner->at;
    unsigned depth = 0;
    bool quoted = false;
    while (!at_end(scanner)) {
        uint8_t c = *scanner->at++;
        if (quoted && c == '\\' && !at_end(scanner)) {
            scanner->at++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && c == '{') {
            depth++;
        } else if (!quoted && c == '}' && --depth == 0) {
            *out = since(scanner, from);
            return true;
        }
    }
    scanner->at = from;
    return false;
}

static bool take_tree_value(struct scanner *scanner, struct rest_filter *filter)
{
    if (filter->op == REST_IN) {
        return take_items(scanner, filter);
    }
    if (filter->op == REST_IS) {
        return take_is(scanner, &filter->is);
    }
    const uint8_t *from = scanner->at;
    if (next_is(scanner, '{') && take_braces(scanner, &filter->value)) {
        if (list_item_ends(scanner)) {
            return true;
        }
        scanner->at = from;
    }
    return take_item(scanner, &filter->value);
}

static bool take_condition(struct scanner *scanner, struct rest_condition *out);

// (c1,c2,...) of and, or.
static bool take_members(struct scanner *scanner, struct rest_condition *tree)
{
    if (!take(scanner, '(')) {
        return fail(scanner, "\"(\"");
    }
    if (!enter(scanner)) {
        return false;
    }
    do {
        tree->members = rest_vector_room(scanner->arena, tree->members, tree->n_members, sizeof(*tree->members));
        skip_blanks(scanner);
        if (!take_condition(scanner, &tree->members[tree->n_members])) {
            return false;
        }
        tree->n_members++;
        skip_blanks(scanner);
    } while (take(scanner, ','));
    scanner->depth--;
    return take(scanner, ')') || fail(scanner, "\",\" or \")\"");
}

// and, or, not.and, not.or, followed by '('. Otherwise nothing is taken.
static bool take_tree_word(struct scanner *scanner, struct rest_condition *tree)
{
    const uint8_t *from = scanner->at;
    tree->negated = take_text(scanner, "not.");
    tree->kind = REST_CONDITION_FILTER;
    if (take_text(scanner, "and")) {
        tree->kind = REST_CONDITION_AND;
    } else if (take_text(scanner, "or")) {
        tree->kind = REST_CONDITION_OR;
    }
    skip_blanks(scanner);
    if (tree->kind != REST_CONDITION_FILTER && next_is(scanner, '(')) {
        return true;
    }
    scanner->at = from;
    *tree = (struct rest_condition){0};
    return false;
}

static bool take_condition(struct scanner *scanner, struct rest_condition *out)
{
    *out = (struct rest_condition){0};
    if (take_tree_word(scanner, out)) {
        return take_members(scanner, out);
    }
    return take_field(scanner, &out->filter.field) && (take(scanner, '.') || fail(scanner, "\".\" and an operator")) &&
           take_operator(scanner, &out->filter) && take_tree_value(scanner, &out->filter);
}

// ---- order

static bool take_order_words(struct scanner *scanner, struct rest_order *term)
{
    if (take_text(scanner, ".asc")) {
        term->direction = REST_ASCENDING;
    } else if (take_text(scanner, ".desc")) {
        term->direction = REST_DESCENDING;
    }
    if (take_text(scanner, ".nullsfirst")) {
        term->nulls = REST_NULLS_FIRST;
    } else if (take_text(scanner, ".nullslast")) {
        term->nulls = REST_NULLS_LAST;
    }
    skip_blanks(scanner);
    return at_end(scanner) || next_is(scanner, ',') ||
           fail(scanner, "asc, desc, nullsfirst, nullslast, \",\" or the end");
}

static bool take_order(struct scanner *scanner, struct rest_order *term)
{
    *term = (struct rest_order){0};
    if (!take_field(scanner, &term->field)) {
        return false;
    }
    if (term->field.n_steps == 0 && take(scanner, '(')) {
        term->relation = term->field.name;
        if (!take_field(scanner, &term->field) || !(take(scanner, ')') || fail(scanner, "\")\""))) {
            return false;
        }
    }
    return take_order_words(scanner, term);
}

static bool take_orders(struct scanner *scanner, struct rest_placed_order *order)
{
    do {
        order->terms = rest_vector_room(scanner->arena, order->terms, order->n_terms, sizeof(*order->terms));
        if (!take_order(scanner, &order->terms[order->n_terms])) {
            return false;
        }
        order->n_terms++;
    } while (take(scanner, ','));
    return at_end(scanner) || fail(scanner, "\",\" or the end");
}

// ---- select

static bool take_select_list(struct scanner *scanner, uint32_t *n_out, struct rest_select **items_out);

// ::type, one unquoted identifier.
static bool take_cast(struct scanner *scanner, struct cc_slice *cast)
{
    if (!take_text(scanner, "::")) {
        return true;
    }
    return take_bare_name(scanner, cast);
}

static bool take_aggregate(struct scanner *scanner, struct rest_select *item)
{
    static const struct {
        const char *text;
        enum rest_aggregate aggregate;
    } aggregates[] = {{".sum()", REST_SUM},
                      {".avg()", REST_AVG},
                      {".count()", REST_COUNT},
                      {".max()", REST_MAX},
                      {".min()", REST_MIN}};
    for (size_t i = 0; i < sizeof(aggregates) / sizeof(aggregates[0]); i++) {
        if (take_text(scanner, aggregates[i].text)) {
            item->aggregate = aggregates[i].aggregate;
            return take_cast(scanner, &item->aggregate_cast);
        }
    }
    return true;
}

// !hint, !inner, !left in any order, then the list of the embedded relation.
static bool take_embed(struct scanner *scanner, struct rest_select *item)
{
    item->target = item->field.name;
    while (take(scanner, '!')) {
        struct cc_slice word;
        if (!take_name(scanner, &word)) {
            return false;
        }
        if (cc_slice_equal_text(word, "inner")) {
            item->join = REST_JOIN_INNER;
        } else if (!cc_slice_equal_text(word, "left")) {
            item->hint = word;
        }
    }
    if (!take(scanner, '(') || !enter(scanner)) {
        return fail(scanner, "\"(\"");
    }
    skip_blanks(scanner);
    if (!next_is(scanner, ')') && !take_select_list(scanner, &item->n_items, &item->items)) {
        return false;
    }
    scanner->depth--;
    bool closed = take(scanner, ')');
    skip_blanks(scanner);
    return closed || fail(scanner, "\",\" or \")\"");
}

static bool take_alias(struct scanner *scanner, struct rest_select *item)
{
    const uint8_t *from = scanner->at;
    struct cc_slice name;
    bool quiet = scanner->expected == NULL;
    if (take_name(scanner, &name) && next_is(scanner, ':') && !text_is_next(scanner, "::")) {
        scanner->at++;
        item->alias = name;
        return true;
    }
    scanner->at = from;
    if (quiet) {
        scanner->expected = NULL;
    }
    return false;
}

static bool take_select_field(struct scanner *scanner, struct rest_select *item)
{
    if (take_text(scanner, "count()")) {
        item->field = (struct rest_field){0};
        item->aggregate = REST_COUNT;
        return take_cast(scanner, &item->aggregate_cast);
    }
    if (!take_field(scanner, &item->field)) {
        return false;
    }
    if (item->field.n_steps == 0 && (next_is(scanner, '(') || next_is(scanner, '!'))) {
        item->kind = REST_SELECT_EMBED;
        return take_embed(scanner, item);
    }
    return take_cast(scanner, &item->cast) && take_aggregate(scanner, item);
}

static bool take_select_item(struct scanner *scanner, struct rest_select *item)
{
    *item = (struct rest_select){.kind = REST_SELECT_FIELD};
    skip_blanks(scanner);
    if (take(scanner, '*')) {
        item->kind = REST_SELECT_ALL;
        return true;
    }
    if (take_text(scanner, "...")) {
        item->kind = REST_SELECT_SPREAD;
        take_alias(scanner, item);
        return take_name(scanner, &item->field.name) && take_embed(scanner, item);
    }
    take_alias(scanner, item);
    return take_select_field(scanner, item);
}

static bool take_select_list(struct scanner *scanner, uint32_t *n_out, struct rest_select **items_out)
{
    uint32_t n = 0;
    struct rest_select *items = NULL;
    do {
        items = rest_vector_room(scanner->arena, items, n, sizeof(*items));
        if (!take_select_item(scanner, &items[n])) {
            return false;
        }
        n++;
        skip_blanks(scanner);
    } while (take(scanner, ','));
    *n_out = n;
    *items_out = items;
    return true;
}

// ---- keys

static bool take_names(struct scanner *scanner, uint32_t *n_out, struct cc_slice **names_out)
{
    uint32_t n = 0;
    struct cc_slice *names = NULL;
    do {
        names = rest_vector_room(scanner->arena, names, n, sizeof(*names));
        if (!take_name(scanner, &names[n])) {
            return false;
        }
        n++;
    } while (take(scanner, ','));
    *n_out = n;
    *names_out = names;
    return at_end(scanner) || fail(scanner, "\",\" or the end");
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
        if (key->path.n_names == REST_DEPTH_MAX || !take_field(scanner, &field)) {
            return fail(scanner, "a column");
        }
        key->path.names = rest_vector_room(scanner->arena, key->path.names, key->path.n_names, sizeof(struct cc_slice));
        key->path.names[key->path.n_names++] = field.name;
        key->field = field;
    } while (key->field.n_steps == 0 && take(scanner, '.'));
    key->path.n_names--;
    return at_end(scanner) || fail(scanner, "\".\" or the end");
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
    struct scanner scanner = scanner_of(key, parser->arena);
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
    struct scanner scanner = scanner_of(pair->value, parser->arena);
    skip_blanks(&scanner);
    if (at_end(&scanner)) {
        return CC_OK;
    }
    if (!take_select_list(&scanner, &query->n_items, &query->items) ||
        !(at_end(&scanner) || fail(&scanner, "\",\" or the end"))) {
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
    struct scanner scanner = scanner_of(pair->value, parser->arena);
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
    struct scanner scanner = scanner_of(pair->value, parser->arena);
    if (!take_orders(&scanner, &order)) {
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
    struct scanner scanner = scanner_of(pair->value, parser->arena);
    skip_blanks(&scanner);
    bool ok = take_members(&scanner, &placed.condition);
    skip_blanks(&scanner);
    if (!ok || !(at_end(&scanner) || fail(&scanner, "the end"))) {
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
    struct scanner scanner = scanner_of(pair->value, parser->arena);
    bool is_operation = take_operator(&scanner, filter);
    if (!is_operation && parser->with_arguments) {
        add_argument(parser, pair);
        return CC_OK;
    }
    if (!is_operation || !take_plain_value(&scanner, filter) || !(at_end(&scanner) || fail(&scanner, "the end"))) {
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
