// Tests of transactions over REST.
#include "rest/catalog_fixture.h"

#include "rest/transaction.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fixture {
    struct rest_catalog *catalog;
    struct cc_arena arena;
    uint32_t n;
    struct rest_request *requests;
    struct rest_plan plans[8];
    struct rest_reply answer;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->catalog = fixture_catalog_create();
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    cc_arena_finish(&fixture->arena);
    rest_catalog_destroy(fixture->catalog);
    free(fixture);
    return 0;
}

static enum rest_plan_kind plan(struct fixture *fixture, const char *body)
{
    struct rest_request outer = {.body = cc_slice_text(body)};
    if (rest_transaction_read(&outer, &fixture->arena, &fixture->n, &fixture->requests, &fixture->answer) != CC_OK) {
        return REST_PLAN_ANSWER;
    }
    return rest_transaction_plan(fixture->catalog, fixture->n, fixture->requests, &fixture->arena, fixture->plans,
                                 &fixture->answer);
}

static bool answer_contains(const struct fixture *fixture, const char *part)
{
    return fixture->answer.body.n > 0 &&
           memmem(fixture->answer.body.data, fixture->answer.body.n, part, strlen(part)) != NULL;
}

static void operations_become_plans_of_their_own(void **state)
{
    struct fixture *fixture = *state;
    enum rest_plan_kind kind = plan(
        fixture,
        "{\"operations\":[{\"method\":\"POST\",\"path\":\"/shops?select=id\",\"headers\":{\"prefer\":"
        "\"return=representation\"},\"body\":{\"id\":1}},{\"method\":\"DELETE\",\"path\":\"/mechanics?id=eq.2\"}]}");
    assert_int_equal(kind, REST_PLAN_WRITE);
    assert_int_equal(fixture->n, 2);
    assert_int_equal(fixture->plans[0].statement.kind, REST_INSERT);
    assert_true(fixture->plans[0].statement.body_is_array);
    assert_int_equal(fixture->plans[1].statement.kind, REST_DELETE);
}

static void what_cannot_run_together_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const bodies[] = {
        "",
        "[]",
        "{\"operations\":[]}",
        "{\"operations\":{}}",
        "{\"operations\":[],\"x\":1}",
        "{\"operations\":[1]}",
        "{\"operations\":[{\"method\":\"POST\"}]}",
        "{\"operations\":[{\"method\":\"DELETE\",\"path\":\"/shops?id=eq.1\",\"x\":1}]}",
        "{\"operations\":[{\"method\":\"DELETE\",\"path\":\"/shops?id=eq.1\",\"headers\":{\"a\":1}}]}",
        "{\"operations\":[{\"method\":\"GET\",\"path\":\"/shops\"}]}",
        "{\"operations\":[{\"method\":\"POST\",\"path\":\"/shops\",\"body\":[]}]}",
        ("{\"operations\":[{\"method\":\"DELETE\",\"path\":\"/shops?id=eq.1\"},{\"method\":\"DELETE\",\"path\":\"/"
        "presence?id=eq.1\"}]}"),
        "{\"operations\":[{\"method\":\"DELETE\",\"path\":\"/shops\"}]}",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_int_equal(plan(fixture, bodies[i]), REST_PLAN_ANSWER);
        assert_int_equal(fixture->answer.status, 400);
    }
    plan(fixture, bodies[11]);
    assert_true(answer_contains(fixture, "operation 2: "));
    assert_int_equal(plan(fixture, "{\"operations\":[{\"method\":\"DELETE\",\"path\":\"/nope?id=eq.1\"}]}"),
                     REST_PLAN_NOT_IN_CATALOG);
}

static void answers_come_in_order(void **state)
{
    struct fixture *fixture = *state;
    plan(fixture, "{\"operations\":[{\"method\":\"POST\",\"path\":\"/"
                  "shops\",\"headers\":{\"Prefer\":\"return=representation\"},\"body\":{\"id\":1}},"
                  "{\"method\":\"DELETE\",\"path\":\"/mechanics?id=eq.2\"}]}");
    struct cc_buffer one = {0};
    struct cc_buffer body = {0};
    rest_outcome_put(&one, &(struct rest_outcome){
                               .kind = REST_DONE, .n_rows = 1, .n_inserted = 1, .body = cc_slice_text("[{\"id\":1}]")});
    cc_put_string(&body, cc_buffer_slice(&one));
    cc_buffer_clear(&one);
    rest_outcome_put(&one, &(struct rest_outcome){.kind = REST_DONE, .n_rows = 1});
    cc_put_string(&body, cc_buffer_slice(&one));
    struct rest_outcome whole = {.kind = REST_DONE, .n_rows = 2, .body = cc_buffer_slice(&body)};
    rest_transaction_reply(fixture->n, fixture->plans, &whole, &fixture->arena, &fixture->answer);
    assert_int_equal(fixture->answer.status, 200);
    assert_true(answer_contains(fixture, "[{\"status\":201,"));
    assert_true(answer_contains(fixture, "\"body\":[{\"id\":1}]},\n {\"status\":204,"));
    whole.body.n--;
    rest_transaction_reply(fixture->n, fixture->plans, &whole, &fixture->arena, &fixture->answer);
    assert_int_equal(fixture->answer.status, 500);
    cc_buffer_finish(&one);
    cc_buffer_finish(&body);
}

static void a_failure_is_the_whole_transactions(void **state)
{
    struct fixture *fixture = *state;
    plan(fixture, "{\"operations\":[{\"method\":\"POST\",\"path\":\"/shops\",\"body\":{\"id\":1}}]}");
    struct rest_outcome failed = {.kind = REST_FAILED, .code = cc_slice_text("23505"), .message = cc_slice_text("m")};
    rest_transaction_reply(fixture->n, fixture->plans, &failed, &fixture->arena, &fixture->answer);
    assert_int_equal(fixture->answer.status, 409);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(operations_become_plans_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_run_together_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_come_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_is_the_whole_transactions, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
