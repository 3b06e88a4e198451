// Types of TypeScript and JSDoc, OpenAPI, and what of them a role may see.
#include "rest/openapi.h"
#include "rest/reply.h"
#include "rest/types.h"
#include "rest/visible.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COLUMN(name, type, more) \
    "{\"name\":\"" name "\",\"type\":\"" type "\",\"base_type\":\"" type "\",\"generated\":false,\"identity\":\"\"," more "}"
#define NULLABLE "\"not_null\":false"
#define NOT_NULL "\"not_null\":true"
#define TABLE(oid, name, kind, comment, columns, uniques)                                                                    \
    "{\"oid\":" oid ",\"schema\":\"public\",\"name\":\"" name "\",\"kind\":\"" kind "\",\"comment\":" comment                \
    ",\"insertable\":true,\"updatable\":true,\"deletable\":true,\"capture_insert\":false,\"capture_update\":false,"          \
    "\"capture_delete\":false,\"capture_key_update\":false,\"row_by_row\":false,\"set_wise\":true,\"columns\":[" columns     \
    "],\"uniques\":[" uniques "]}"
#define KEY "{\"primary\":true,\"columns\":[\"id\"]}"
#define FUNCTION(oid, name, more)                                                                              \
    "{\"oid\":" oid ",\"schema\":\"public\",\"name\":\"" name "\",\"volatility\":\"s\",\"returns_void\":false," more "}"
#define NO_OUTS "\"outs\":[]"

static const char document[] =
    "{\"version\":7,\"schemas\":[\"public\"],\"has_deferrable\":false,\"has_sequences\":false,\"tables\":["
    TABLE("11", "Odd \\\"Name\\\"", "r", "\"A */ comment\"", COLUMN("id", "integer", NOT_NULL) "," COLUMN("two words", "text", NULLABLE), KEY) ","
    TABLE("12", "orders", "r", "\"Of customers.\"",
          COLUMN("id", "bigint", NOT_NULL) "," COLUMN("mood", "public.mood", NULLABLE ",\"enum_values\":[\"glad\",\"s'ad\"]") ","
          COLUMN("people_id", "uuid", NOT_NULL) "," COLUMN("at", "timestamp with time zone", NOT_NULL ",\"default_sql\":\"now()\"") ","
          COLUMN("tags", "text[]", NULLABLE) "," COLUMN("extra", "jsonb", NULLABLE), KEY) ","
    TABLE("13", "people", "r", "\"@caucus weak\\nWho.\"", COLUMN("id", "uuid", NOT_NULL) "," COLUMN("seen", "boolean", NULLABLE) ","
          COLUMN("visits", "bigint", NOT_NULL ",\"comment\":\"@caucus counter\\nHow often.\"") ","
          COLUMN("tags", "text[]", NULLABLE ",\"comment\":\"@caucus set\""), KEY) ","
    TABLE("14", "totals", "v", "null", COLUMN("n", "bigint", NULLABLE), "")
    "],\"foreign_keys\":[{\"name\":\"orders_people\",\"from_schema\":\"public\",\"from\":\"orders\",\"to_schema\":\"public\",\"to\":\"people\","
    "\"from_columns\":[\"people_id\"],\"to_columns\":[\"id\"]}],\"functions\":["
    FUNCTION("21", "find", "\"returns_set\":true,\"returns_row\":true,\"return_type\":\"public.people\",\"table_schema\":\"public\",\"table\":\"people\","
             "\"arguments\":[{\"name\":\"a\",\"type\":\"integer\",\"has_default\":false,\"variadic\":false},"
             "{\"name\":\"b c\",\"type\":\"text\",\"has_default\":true,\"variadic\":false}]," NO_OUTS) ","
    FUNCTION("22", "pair", "\"returns_set\":false,\"returns_row\":true,\"return_type\":\"record\",\"arguments\":[],"
             "\"outs\":[{\"name\":\"x\",\"type\":\"integer\"},{\"name\":\"y\",\"type\":\"text\"}]")
    "]}";

struct fixture {
    struct rest_catalog *catalog;
    struct cc_arena arena;
    struct cc_buffer text;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    char error[REST_CATALOG_ERROR_BYTES] = "";
    enum cc_status status = rest_catalog_create(cc_slice_text(document), &fixture->catalog, error);
    if (status != CC_OK) {
        fail_msg("%s", error);
    }
    cc_arena_init(&fixture->arena);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    rest_catalog_destroy(fixture->catalog);
    cc_arena_finish(&fixture->arena);
    cc_buffer_finish(&fixture->text);
    free(fixture);
    return 0;
}

static const char *types_of(struct fixture *fixture, const struct rest_catalog *catalog, enum rest_types_language language)
{
    cc_buffer_clear(&fixture->text);
    rest_types_put(&fixture->text, catalog, language);
    return cc_buffer_text(&fixture->text);
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no `%s` in\n%s", part, text);
    }
}

static void has_not(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) {
        fail_msg("`%s` in\n%s", part, text);
    }
}

static void what_may_be_null_and_what_may_be_left_out_is_told(void **state)
{
    struct fixture *fixture = *state;
    const char *text = types_of(fixture, fixture->catalog, REST_TYPES_TYPESCRIPT);
    has(text, "people_id: string;");
    has(text, "at: string;");  // of a row
    has(text, "at?: string;"); // of an insert: it has a default
    has(text, "tags: (string)[] | null;");
    has(text, "extra: Json | null;");
    has(text, "\"glad\" | \"s'ad\"");
}

static void tables_say_their_class_and_views_have_none(void **state)
{
    struct fixture *fixture = *state;
    const char *text = types_of(fixture, fixture->catalog, REST_TYPES_TYPESCRIPT);
    const char *people = strstr(text, "people: {");
    const char *orders = strstr(text, "orders: {");
    const char *totals = strstr(text, "totals: {");
    assert_true(orders != NULL && people > orders && totals > people);
    const char *strong = strstr(orders, "Consistency: \"strong\"");
    const char *weak = strstr(people, "Consistency: \"weak\"");
    assert_true(strong != NULL && strong < people);
    assert_true(weak != NULL && weak < totals);
    has_not(totals, "Consistency: \"");
}

static void what_is_merged_takes_what_is_added(void **state)
{
    struct fixture *fixture = *state;
    const char *text = types_of(fixture, fixture->catalog, REST_TYPES_TYPESCRIPT);
    has(text, "visits: number;");                        // of a row
    has(text, "visits: number | { $inc: number };");     // of an insert
    has(text, "visits?: number | { $inc: number };");    // of an update
    has(text, "tags?: (string)[] | { $add?: (string)[]; $remove?: (string)[] } | null;");
    has(text, "How often.");
    has_not(text, "@caucus");
    struct rest_reply reply;
    rest_openapi_reply(fixture->catalog, "public", REST_OPENAPI_3, false, &fixture->arena, &reply);
    has(cc_arena_text_n(&fixture->arena, reply.body.data, reply.body.n), "\"x-caucus-merge\":\"counter\"");
}

static void names_and_comments_cannot_break_out(void **state)
{
    struct fixture *fixture = *state;
    const char *text = types_of(fixture, fixture->catalog, REST_TYPES_TYPESCRIPT);
    has(text, "\"Odd \\\"Name\\\"\": {");
    has(text, "\"two words\": string | null;");
    has_not(text, "A */ comment");
    has(text, "\"b c\"?: string;");
}

static void functions_have_arguments_and_results(void **state)
{
    struct fixture *fixture = *state;
    const char *text = types_of(fixture, fixture->catalog, REST_TYPES_TYPESCRIPT);
    has(text, "find: { Args: { a: number; \"b c\"?: string; }; Returns: (Database[\"public\"][\"Tables\"][\"people\"][\"Row\"])[]");
    has(text, "pair: { Args: never; Returns: { x: number; y: string; } }");
}

static void jsdoc_has_the_same_inside_of_one_comment(void **state)
{
    struct fixture *fixture = *state;
    const char *text = types_of(fixture, fixture->catalog, REST_TYPES_JSDOC);
    has(text, "@typedef {");
    has(text, "people_id: string;");
    has_not(text, "Of customers."); // a comment in a comment would end it
}

static void a_role_sees_what_it_may_use(void **state)
{
    struct fixture *fixture = *state;
    struct rest_catalog visible;
    assert_int_equal(rest_visible_catalog(fixture->catalog, cc_slice_text("{\"tables\":[12,14,99],\"functions\":[21]}"), &fixture->arena, &visible),
                     CC_OK);
    assert_int_equal(visible.n_tables, 2);
    assert_int_equal(visible.n_foreign_keys, 0); // it leads to what is not seen
    const char *text = types_of(fixture, &visible, REST_TYPES_TYPESCRIPT);
    has(text, "orders: {");
    has(text, "totals: {");
    has_not(text, "people: {");
    has_not(text, "[\"people\"]"); // not as the result of a function either
    has_not(text, "pair: {");
    has(text, "find: {");
}

static void a_key_between_visible_tables_stays(void **state)
{
    struct fixture *fixture = *state;
    struct rest_catalog visible;
    assert_int_equal(rest_visible_catalog(fixture->catalog, cc_slice_text("{\"tables\":[12,13],\"functions\":[]}"), &fixture->arena, &visible), CC_OK);
    assert_int_equal(visible.n_foreign_keys, 1);
    has(types_of(fixture, &visible, REST_TYPES_TYPESCRIPT), "referencedRelation: \"people\"");
}

static void another_text_than_the_query_gives_is_malformed(void **state)
{
    struct fixture *fixture = *state;
    static const char *const texts[] = {"", "[]", "{}", "{\"tables\":[1]}", "{\"tables\":[\"a\"],\"functions\":[]}", "{\"tables\":[2,1],\"functions\":[]}",
                                        "{\"tables\":[-1],\"functions\":[]}", "{\"tables\":[4294967296],\"functions\":[]}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct rest_catalog visible;
        assert_int_equal(rest_visible_catalog(fixture->catalog, cc_slice_text(texts[i]), &fixture->arena, &visible), CC_MALFORMED);
    }
}

static void descriptions_are_json_with_every_visible_table(void **state)
{
    struct fixture *fixture = *state;
    static const enum rest_openapi_version versions[] = {REST_OPENAPI_2, REST_OPENAPI_3};
    for (size_t i = 0; i < 2; i++) {
        struct rest_reply reply;
        rest_openapi_reply(fixture->catalog, "public", versions[i], false, &fixture->arena, &reply);
        json_error_t error;
        json_t *json = json_loadb((const char *)reply.body.data, reply.body.n, JSON_REJECT_DUPLICATES, &error);
        assert_non_null(json);
        json_t *paths = json_object_get(json, "paths");
        assert_non_null(json_object_get(paths, "/people"));
        assert_non_null(json_object_get(paths, "/Odd \"Name\""));
        assert_non_null(json_object_get(paths, "/rpc/find"));
        json_decref(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_may_be_null_and_what_may_be_left_out_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_say_their_class_and_views_have_none, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_merged_takes_what_is_added, setup, teardown),
        cmocka_unit_test_setup_teardown(names_and_comments_cannot_break_out, setup, teardown),
        cmocka_unit_test_setup_teardown(functions_have_arguments_and_results, setup, teardown),
        cmocka_unit_test_setup_teardown(jsdoc_has_the_same_inside_of_one_comment, setup, teardown),
        cmocka_unit_test_setup_teardown(a_role_sees_what_it_may_use, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_between_visible_tables_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(another_text_than_the_query_gives_is_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptions_are_json_with_every_visible_table, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
