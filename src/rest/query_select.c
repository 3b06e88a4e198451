// Lists of the query string: select and order.
#include "rest/query_internal.h"

#include "rest/vector.h"

#include <string.h>

// ---- order

static bool take_order_words(struct scanner *scanner, struct rest_order *term)
{
    if (scan_text(scanner, ".asc")) {
        term->direction = REST_ASCENDING;
    } else if (scan_text(scanner, ".desc")) {
        term->direction = REST_DESCENDING;
    }
    if (scan_text(scanner, ".nullsfirst")) {
        term->nulls = REST_NULLS_FIRST;
    } else if (scan_text(scanner, ".nullslast")) {
        term->nulls = REST_NULLS_LAST;
    }
    scan_skip_blanks(scanner);
    return scan_at_end(scanner) || scan_next_is(scanner, ',') ||
           scan_fail(scanner, "asc, desc, nullsfirst, nullslast, \",\" or the end");
}

static bool take_order(struct scanner *scanner, struct rest_order *term)
{
    *term = (struct rest_order){0};
    if (!scan_field(scanner, &term->field)) {
        return false;
    }
    if (term->field.n_steps == 0 && scan_take(scanner, '(')) {
        term->relation = term->field.name;
        if (!scan_field(scanner, &term->field) || !(scan_take(scanner, ')') || scan_fail(scanner, "\")\""))) {
            return false;
        }
    }
    return take_order_words(scanner, term);
}

bool query_orders(struct scanner *scanner, struct rest_placed_order *order)
{
    do {
        order->terms = rest_vector_room(scanner->arena, order->terms, order->n_terms, sizeof(*order->terms));
        if (!take_order(scanner, &order->terms[order->n_terms])) {
            return false;
        }
        order->n_terms++;
    } while (scan_take(scanner, ','));
    return scan_at_end(scanner) || scan_fail(scanner, "\",\" or the end");
}

// ---- select

// ::type, one unquoted identifier.
static bool take_cast(struct scanner *scanner, struct cc_slice *cast)
{
    if (!scan_text(scanner, "::")) {
        return true;
    }
    return scan_bare_name(scanner, cast);
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
        if (scan_text(scanner, aggregates[i].text)) {
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
    while (scan_take(scanner, '!')) {
        struct cc_slice word;
        if (!scan_name(scanner, &word)) {
            return false;
        }
        if (cc_slice_equal_text(word, "inner")) {
            item->join = REST_JOIN_INNER;
        } else if (!cc_slice_equal_text(word, "left")) {
            item->hint = word;
        }
    }
    if (!scan_take(scanner, '(') || !scan_enter(scanner)) {
        return scan_fail(scanner, "\"(\"");
    }
    scan_skip_blanks(scanner);
    if (!scan_next_is(scanner, ')') && !query_select_list(scanner, &item->n_items, &item->items)) {
        return false;
    }
    scanner->depth--;
    bool closed = scan_take(scanner, ')');
    scan_skip_blanks(scanner);
    return closed || scan_fail(scanner, "\",\" or \")\"");
}

static bool take_alias(struct scanner *scanner, struct rest_select *item)
{
    const uint8_t *from = scanner->at;
    struct cc_slice name;
    bool quiet = scanner->expected == NULL;
    if (scan_name(scanner, &name) && scan_next_is(scanner, ':') && !scan_text_is_next(scanner, "::")) {
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
    if (scan_text(scanner, "count()")) {
        item->field = (struct rest_field){0};
        item->aggregate = REST_COUNT;
        return take_cast(scanner, &item->aggregate_cast);
    }
    if (!scan_field(scanner, &item->field)) {
        return false;
    }
    if (item->field.n_steps == 0 && (scan_next_is(scanner, '(') || scan_next_is(scanner, '!'))) {
        item->kind = REST_SELECT_EMBED;
        return take_embed(scanner, item);
    }
    return take_cast(scanner, &item->cast) && take_aggregate(scanner, item);
}

static bool take_select_item(struct scanner *scanner, struct rest_select *item)
{
    *item = (struct rest_select){.kind = REST_SELECT_FIELD};
    scan_skip_blanks(scanner);
    if (scan_take(scanner, '*')) {
        item->kind = REST_SELECT_ALL;
        return true;
    }
    if (scan_text(scanner, "...")) {
        item->kind = REST_SELECT_SPREAD;
        take_alias(scanner, item);
        return scan_name(scanner, &item->field.name) && take_embed(scanner, item);
    }
    take_alias(scanner, item);
    return take_select_field(scanner, item);
}

bool query_select_list(struct scanner *scanner, uint32_t *n_out, struct rest_select **items_out)
{
    uint32_t n = 0;
    struct rest_select *items = NULL;
    do {
        items = rest_vector_room(scanner->arena, items, n, sizeof(*items));
        if (!take_select_item(scanner, &items[n])) {
            return false;
        }
        n++;
        scan_skip_blanks(scanner);
    } while (scan_take(scanner, ','));
    *n_out = n;
    *items_out = items;
    return true;
}
