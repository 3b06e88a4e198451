// Inside of the query's parser: the scanner, and what its files share.
#ifndef REST_QUERY_INTERNAL_H
#define REST_QUERY_INTERNAL_H

#include "rest/syntax.h"

struct scanner {
    struct cc_arena *arena;
    const uint8_t *start, *at, *end;
    const char *expected; // of the failure that counts: the first
    const uint8_t *failed_at;
    unsigned depth;
};

// query_scan.c. Functions that give bool: false, the scanner has failed; or it stands where it was, when they only look.
struct scanner scan_of(struct cc_slice text, struct cc_arena *arena);
bool scan_fail(struct scanner *scanner, const char *expected);
bool scan_at_end(const struct scanner *scanner);
bool scan_next_is(const struct scanner *scanner, char c);
bool scan_text_is_next(const struct scanner *scanner, const char *text);
bool scan_take(struct scanner *scanner, char c); // false: something else is next, which is no failure
bool scan_text(struct scanner *scanner, const char *text); // the same
void scan_skip_blanks(struct scanner *scanner);
bool scan_enter(struct scanner *scanner); // one level of nesting more; the caller leaves it by depth--
struct cc_slice scan_since(const struct scanner *scanner, const uint8_t *from); // what was taken since
bool scan_quoted(struct scanner *scanner, struct cc_slice *out); // "..." with \" and \\; stands on the first quote
bool scan_bare_name(struct scanner *scanner, struct cc_slice *out); // without quotes
bool scan_name(struct scanner *scanner, struct cc_slice *out);
bool scan_field(struct scanner *scanner, struct rest_field *out); // a column with its JSON path

// query_filter.c
bool query_operator(struct scanner *scanner, struct rest_filter *filter);
bool query_plain_value(struct scanner *scanner, struct rest_filter *filter);
bool query_members(struct scanner *scanner, struct rest_condition *tree);

// query_select.c
bool query_orders(struct scanner *scanner, struct rest_placed_order *order);
bool query_select_list(struct scanner *scanner, uint32_t *n_out, struct rest_select **items_out);

#endif
