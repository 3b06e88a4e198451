// Tests of the query string's parser.
#include "rest/syntax.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct parsed {
    struct cc_arena arena;
    struct rest_query query;
    struct rest_parse_error error;
    enum cc_status status;
};

static void parse(struct parsed *parsed, const char *text)
{
    cc_arena_init(&parsed->arena);
    parsed->error = (struct rest_parse_error){0};
    parsed->status = rest_query_parse(cc_slice_text(text), false, &parsed->arena, &parsed->query, &parsed->error);
}

static void finish(struct parsed *parsed)
{
    cc_arena_finish(&parsed->arena);
}

static void assert_slice(struct cc_slice slice, const char *text)
{
    assert_int_equal(slice.n, strlen(text));
    assert_memory_equal(slice.data, text, slice.n);
}

static void refuses(const char *text, const char *part_of_message)
{
    struct parsed parsed;
    parse(&parsed, text);
    assert_int_equal(parsed.status, CC_MALFORMED);
    assert_non_null(strstr(parsed.error.message, part_of_message));
    assert_non_null(parsed.error.details);
    finish(&parsed);
}

static void a_filter_takes_its_value_verbatim(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, "name=eq.Spoke,%20(North)&n=not.gt.\"5\"&e=eq.");
    assert_int_equal(parsed.status, CC_OK);
    assert_int_equal(parsed.query.n_conditions, 3);
    assert_slice(parsed.query.conditions[0].condition.filter.value, "Spoke, (North)");
    assert_int_equal(parsed.query.conditions[1].condition.filter.op, REST_GT);
    assert_true(parsed.query.conditions[1].condition.filter.negated);
    assert_slice(parsed.query.conditions[1].condition.filter.value, "\"5\"");
    assert_slice(parsed.query.conditions[2].condition.filter.value, "");
    finish(&parsed);
}

static void decoding_comes_before_parsing(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, "select=id%2Cname&id=in.%281%2C4%29&order=id%2Easc&b=eq.a+b%2Bc");
    assert_int_equal(parsed.status, CC_OK);
    assert_int_equal(parsed.query.n_items, 2);
    assert_int_equal(parsed.query.conditions[0].condition.filter.n_items, 2);
    assert_int_equal(parsed.query.orders[0].terms[0].direction, REST_ASCENDING);
    assert_slice(parsed.query.conditions[1].condition.filter.value, "a b+c");
    finish(&parsed);
}

static void list_items_may_be_quoted_and_a_bare_quote_is_literal(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, "c=in.(x,\"a,b\",\"c(d)\",q\"q,\"e\\\"f\",)&d=in.()");
    assert_int_equal(parsed.status, CC_OK);
    const struct rest_filter *filter = &parsed.query.conditions[0].condition.filter;
    const char *items[] = {"x", "a,b", "c(d)", "q\"q", "e\"f", ""};
    assert_int_equal(filter->n_items, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_slice(filter->items[i], items[i]);
    }
    assert_int_equal(parsed.query.conditions[1].condition.filter.n_items, 0);
    finish(&parsed);
}

static void trees_nest_and_quote_by_their_own_rules(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed,
          "not.or=( id.eq.2 , and(city.eq.\"Os,lo\",rating.not.gt.4.6),tags.cs.{a,\"b}\"},id.in.(1,2),or.eq.5)");
    assert_int_equal(parsed.status, CC_OK);
    const struct rest_condition *tree = &parsed.query.conditions[0].condition;
    assert_int_equal(tree->kind, REST_CONDITION_OR);
    assert_true(tree->negated);
    assert_int_equal(tree->n_members, 5);
    assert_slice(tree->members[0].filter.value, "2 ");
    assert_int_equal(tree->members[1].kind, REST_CONDITION_AND);
    assert_slice(tree->members[1].members[0].filter.value, "Os,lo");
    assert_slice(tree->members[1].members[1].filter.value, "4.6");
    assert_true(tree->members[1].members[1].filter.negated);
    assert_slice(tree->members[2].filter.value, "{a,\"b}\"}");
    assert_int_equal(tree->members[3].filter.n_items, 2);
    assert_slice(tree->members[4].filter.field.name, "or");
    finish(&parsed);
}

static void select_knows_aliases_casts_paths_and_embeddings(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, "select=*,o:id::text,\"my "
                   "col\",data->a->>\"b.c\",n:x.sum()::int,r:rel!hint!inner(id,deep(*)),...flat(a),count()");
    assert_int_equal(parsed.status, CC_OK);
    const struct rest_select *items = parsed.query.items;
    assert_int_equal(parsed.query.n_items, 8);
    assert_int_equal(items[0].kind, REST_SELECT_ALL);
    assert_slice(items[1].alias, "o");
    assert_slice(items[1].cast, "text");
    assert_slice(items[2].field.name, "my col");
    assert_int_equal(items[3].field.n_steps, 2);
    assert_true(items[3].field.steps[1].as_text);
    assert_slice(items[3].field.steps[1].key, "b.c");
    assert_int_equal(items[4].aggregate, REST_SUM);
    assert_slice(items[4].aggregate_cast, "int");
    assert_int_equal(items[5].kind, REST_SELECT_EMBED);
    assert_slice(items[5].hint, "hint");
    assert_int_equal(items[5].join, REST_JOIN_INNER);
    assert_int_equal(items[5].items[1].kind, REST_SELECT_EMBED);
    assert_int_equal(items[6].kind, REST_SELECT_SPREAD);
    assert_int_equal(items[7].aggregate, REST_COUNT);
    finish(&parsed);
}

static void keys_carry_the_path_of_an_embedding(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, "a.b.col=eq.1&a.order=x.desc.nullslast,rel(y)&a.limit=3&a.or=(x.eq.1)&not.and=(x.eq.1)&a.not.or=(x."
                   "eq.1)&offset=5");
    assert_int_equal(parsed.status, CC_OK);
    assert_int_equal(parsed.query.conditions[0].path.n_names, 2);
    assert_slice(parsed.query.conditions[0].condition.filter.field.name, "col");
    assert_int_equal(parsed.query.orders[0].path.n_names, 1);
    assert_int_equal(parsed.query.orders[0].terms[0].nulls, REST_NULLS_LAST);
    assert_slice(parsed.query.orders[0].terms[1].relation, "rel");
    assert_int_equal(parsed.query.ranges[0].value, 3);
    assert_int_equal(parsed.query.conditions[1].path.n_names, 1);
    assert_int_equal(parsed.query.conditions[2].path.n_names, 0);
    assert_true(parsed.query.conditions[2].condition.negated);
    assert_int_equal(parsed.query.conditions[3].path.n_names, 1);
    assert_true(parsed.query.conditions[3].condition.negated);
    assert_false(parsed.query.ranges[1].is_limit);
    finish(&parsed);
}

static void what_is_no_filter_is_an_argument_of_a_function(void **state)
{
    (void)state;
    struct parsed parsed;
    cc_arena_init(&parsed.arena);
    enum cc_status status = rest_query_parse(cc_slice_text("a=1&b=eq.2&c=hi+there;d&select=x"), true, &parsed.arena,
                                             &parsed.query, &parsed.error);
    assert_int_equal(status, CC_OK);
    assert_int_equal(parsed.query.n_arguments, 2);
    assert_slice(parsed.query.arguments[1].value, "hi there");
    assert_int_equal(parsed.query.n_conditions, 1);
    finish(&parsed);
}

static void what_is_no_integer_is_no_limit(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, "limit=x&offset=1.5&limit=&limit=99999999999999999999999");
    assert_int_equal(parsed.status, CC_OK);
    assert_int_equal(parsed.query.n_ranges, 0);
    finish(&parsed);
}

static void malformed_queries_are_refused_with_their_place(void **state)
{
    (void)state;
    refuses("a=5", "failed to parse filter (5)\" (line 1, column 1)");
    refuses("a=is.maybe", "(line 1, column 4)");
    refuses("a=in.(1,2", "failed to parse filter");
    refuses("a=in.1", "failed to parse filter");
    refuses("a=neq(any).{1}", "failed to parse filter");
    refuses("or=()", "failed to parse logic tree");
    refuses("or=(a.eq.1", "failed to parse logic tree");
    refuses("or=(a.eq.1)x", "failed to parse logic tree");
    refuses("select=a,", "failed to parse select parameter");
    refuses("select=a(b", "failed to parse select parameter");
    refuses("select=a)", "failed to parse select parameter");
    refuses("order=id.sideways", "failed to parse order");
    refuses("columns=a,,b", "failed to parse columns parameter");
    refuses("a=eq.%zz", "failed to parse query string");
    refuses("a=eq.%00", "failed to parse query string");
    refuses("a=eq.%ff", "failed to parse query string");
    refuses("a=eq.%ed%a0%80", "failed to parse query string");
    refuses("a=eq.%4", "failed to parse query string");
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    char text[4096] = "select=";
    for (int i = 0; i < 500; i++) {
        strcat(text, "a(");
    }
    refuses(text, "failed to parse select parameter");
    strcpy(text, "or=(");
    for (int i = 0; i < 500; i++) {
        strcat(text, "and(");
    }
    refuses(text, "failed to parse logic tree");
}

static void names_are_percent_encoded_for_headers(void **state)
{
    (void)state;
    struct cc_buffer out = {0};
    rest_percent_encode(&out, cc_slice_text("a b,c\r\n\xc3\xa9~"));
    assert_slice(cc_buffer_slice(&out), "a%20b%2Cc%0D%0A%C3%A9~");
    cc_buffer_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_takes_its_value_verbatim),
        cmocka_unit_test(decoding_comes_before_parsing),
        cmocka_unit_test(list_items_may_be_quoted_and_a_bare_quote_is_literal),
        cmocka_unit_test(trees_nest_and_quote_by_their_own_rules),
        cmocka_unit_test(select_knows_aliases_casts_paths_and_embeddings),
        cmocka_unit_test(keys_carry_the_path_of_an_embedding),
        cmocka_unit_test(what_is_no_filter_is_an_argument_of_a_function),
        cmocka_unit_test(what_is_no_integer_is_no_limit),
        cmocka_unit_test(malformed_queries_are_refused_with_their_place),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(names_are_percent_encoded_for_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
