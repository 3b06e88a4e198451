// Filters of the query string. Two quoting regimes: a plain filter takes its value verbatim, inside lists and logic trees ',' and ')'
// are reserved and values may be "quoted".
#include "rest/query_internal.h"

#include "rest/character.h"
#include "rest/vector.h"

#include <assert.h>
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

// ---- filters

static bool take_word(struct scanner *scanner, struct cc_slice *out)
{
    const uint8_t *from = scanner->at;
    while (!scan_at_end(scanner) &&
           ((*scanner->at >= 'a' && *scanner->at <= 'z') || (*scanner->at >= 'A' && *scanner->at <= 'Z'))) {
        scanner->at++;
    }
    *out = scan_since(scanner, from);
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
    if (!scan_take(scanner, '(')) {
        return true;
    }
    if (info->form == REST_FORM_FTS) {
        const uint8_t *from = scanner->at;
        while (!scan_at_end(scanner) && !scan_next_is(scanner, ')')) {
            scanner->at++;
        }
        filter->language = scan_since(scanner, from);
        return (filter->language.n > 0 && scan_take(scanner, ')')) || scan_fail(scanner, "a language");
    }
    if (info->quantifiable && scan_text(scanner, "any)")) {
        filter->quantifier = REST_QUANTIFIER_ANY;
        return true;
    }
    if (info->quantifiable && scan_text(scanner, "all)")) {
        filter->quantifier = REST_QUANTIFIER_ALL;
        return true;
    }
    return scan_fail(scanner, "(any) or (all) after an operator that takes it");
}

// [not.]op[(modifier)].
bool query_operator(struct scanner *scanner, struct rest_filter *filter)
{
    filter->negated = scan_text(scanner, "not.");
    const uint8_t *from = scanner->at;
    struct cc_slice word;
    if (!take_word(scanner, &word) || !find_operator(word, &filter->op)) {
        scanner->at = from;
        return scan_fail(scanner, "operator (eq, gt, ...)");
    }
    return take_modifier(scanner, filter) && (scan_take(scanner, '.') || scan_fail(scanner, "'.' and a value"));
}

static bool list_item_ends(const struct scanner *scanner)
{
    return scan_at_end(scanner) || scan_next_is(scanner, ',') || scan_next_is(scanner, ')');
}

// A value in a list or tree: "quoted" if the closing quote is followed by ',' or ')', else everything up to there.
static bool take_item(struct scanner *scanner, struct cc_slice *out)
{
    const uint8_t *from = scanner->at;
    if (scan_next_is(scanner, '"') && scan_quoted(scanner, out)) {
        if (list_item_ends(scanner)) {
            return true;
        }
        scanner->at = from;
    }
    while (!list_item_ends(scanner)) {
        scanner->at++;
    }
    *out = scan_since(scanner, from);
    return true;
}

// (a,b,"c"): the items; () has none.
static bool take_items(struct scanner *scanner, struct rest_filter *filter)
{
    if (!scan_take(scanner, '(')) {
        return scan_fail(scanner, "\"(\"");
    }
    if (scan_take(scanner, ')')) {
        return true;
    }
    do {
        filter->items = rest_vector_room(scanner->arena, filter->items, filter->n_items, sizeof(*filter->items));
        if (!take_item(scanner, &filter->items[filter->n_items])) {
            return false;
        }
        filter->n_items++;
    } while (scan_take(scanner, ','));
    return scan_take(scanner, ')') || scan_fail(scanner, "\",\" or \")\"");
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
    while (!scan_at_end(scanner) && (rest_is_alphanumeric(*scanner->at) || scan_next_is(scanner, '_'))) {
        scanner->at++;
    }
    struct cc_slice word = scan_since(scanner, from);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (same_word(word, values[i].text)) {
            *out = values[i].is;
            return true;
        }
    }
    scanner->at = from;
    return scan_fail(scanner, "isVal: (null, not_null, true, false, unknown)");
}

// The value of a filter that stands alone: the rest of the text, verbatim.
bool query_plain_value(struct scanner *scanner, struct rest_filter *filter)
{
    if (filter->op == REST_IN) {
        return take_items(scanner, filter);
    }
    if (filter->op == REST_IS) {
        return take_is(scanner, &filter->is);
    }
    const uint8_t *from = scanner->at;
    scanner->at = scanner->end;
    filter->value = scan_since(scanner, from);
    return true;
}

// {...} with nested braces and quoted parts.
static bool take_braces(struct scanner *scanner, struct cc_slice *out)
{
    const uint8_t *from = scanner->at;
    unsigned depth = 0;
    bool quoted = false;
    while (!scan_at_end(scanner)) {
        uint8_t c = *scanner->at++;
        if (quoted && c == '\\' && !scan_at_end(scanner)) {
            scanner->at++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && c == '{') {
            depth++;
        } else if (!quoted && c == '}' && --depth == 0) {
            *out = scan_since(scanner, from);
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
    if (scan_next_is(scanner, '{') && take_braces(scanner, &filter->value)) {
        if (list_item_ends(scanner)) {
            return true;
        }
        scanner->at = from;
    }
    return take_item(scanner, &filter->value);
}

static bool take_condition(struct scanner *scanner, struct rest_condition *out);

// (c1,c2,...) of and, or.
bool query_members(struct scanner *scanner, struct rest_condition *tree)
{
    if (!scan_take(scanner, '(')) {
        return scan_fail(scanner, "\"(\"");
    }
    if (!scan_enter(scanner)) {
        return false;
    }
    do {
        tree->members = rest_vector_room(scanner->arena, tree->members, tree->n_members, sizeof(*tree->members));
        scan_skip_blanks(scanner);
        if (!take_condition(scanner, &tree->members[tree->n_members])) {
            return false;
        }
        tree->n_members++;
        scan_skip_blanks(scanner);
    } while (scan_take(scanner, ','));
    scanner->depth--;
    return scan_take(scanner, ')') || scan_fail(scanner, "\",\" or \")\"");
}

// and, or, not.and, not.or, followed by '('. Otherwise nothing is taken.
static bool take_tree_word(struct scanner *scanner, struct rest_condition *tree)
{
    const uint8_t *from = scanner->at;
    tree->negated = scan_text(scanner, "not.");
    tree->kind = REST_CONDITION_FILTER;
    if (scan_text(scanner, "and")) {
        tree->kind = REST_CONDITION_AND;
    } else if (scan_text(scanner, "or")) {
        tree->kind = REST_CONDITION_OR;
    }
    scan_skip_blanks(scanner);
    if (tree->kind != REST_CONDITION_FILTER && scan_next_is(scanner, '(')) {
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
        return query_members(scanner, out);
    }
    return scan_field(scanner, &out->filter.field) && (scan_take(scanner, '.') || scan_fail(scanner, "\".\" and an operator")) &&
           query_operator(scanner, &out->filter) && take_tree_value(scanner, &out->filter);
}
