// Gateway: POST /_caucus/transaction, several writes of the row protocol as one operation.
#include "proxy/gateway/io_gateway_internal.h"

#include "rest/transaction.h"

void transaction_begin(struct exchange *exchange)
{
    struct rest_request *requests = NULL;
    struct rest_reply answer;
    uint32_t n = 0;
    if (!operator_has_catalog(exchange)) {
        return;
    }
    if (rest_transaction_read(&exchange->request, &exchange->arena, &n, &requests, &answer) != CC_OK) {
        exchange_reply(exchange, &answer);
        return;
    }
    struct rest_plan *plans = cc_arena_array(&exchange->arena, n, sizeof(*plans));
    const struct rest_catalog *catalog = exchange->snapshot->catalog;
    exchange->plan = (struct rest_plan){.kind = rest_transaction_plan(catalog, n, requests, &exchange->arena, plans, &answer)};
    if (exchange->plan.kind == REST_PLAN_WRITE) {
        exchange->plan = plans[0];
        exchange->n_operations = n;
        exchange->plans = plans;
    } else {
        exchange->plan.answer = answer;
    }
    rows_run(exchange);
}
