// Gateway: who sends a request, and whether they may use what they ask for.
#include "proxy/gateway/io_gateway_internal.h"

#include "rest/cors.h"
#include "rest/reply.h"

#include <time.h>

bool exchange_is_for_pages(const struct exchange *exchange)
{
    struct cc_slice path = exchange->request.path;
    return !operator_owns(path) || operator_access(path) != ACCESS_OPERATOR;
}

static void refuse(struct exchange *exchange, const struct io_auth_answer *answer)
{
    struct rest_error error = {.code = cc_slice_text(answer->code), .message = cc_slice_text(answer->message)};
    struct rest_reply reply;
    rest_reply_refuse(&error, answer->status, &exchange->arena, &reply);
    for (uint32_t i = 0; answer->challenge != NULL && i < reply.n_headers; i++) {
        if (cc_slice_equal_text(reply.headers[i].name, "WWW-Authenticate")) {
            reply.headers[i].value = cc_slice_text(answer->challenge);
        }
    }
    exchange_reply(exchange, &reply);
}

static void refuse_operator(struct exchange *exchange, bool anonymous)
{
    struct rest_reply reply;
    rest_reply_error(anonymous ? 401 : 403, "CC230", "This endpoint is for operators", NULL,
                     "Send a token whose role is what auth.operator_role names in config.json", &exchange->arena,
                     &reply);
    exchange_reply(exchange, &reply);
}

bool exchange_identify(struct exchange *exchange)
{
    struct rest_request *request = &exchange->request;
    enum access access = operator_owns(request->path) ? operator_access(request->path) : ACCESS_CLIENT;
    exchange->principal = cc_slice_text("");
    if (access == ACCESS_OPEN || rest_cors_is_preflight(request)) {
        return true;
    }
    // Nobody means to let a page of the web run SQL: for operators' endpoints no origin is allowed.
    const char *origins = access == ACCESS_OPERATOR ? "" : exchange->worker->gateway->options.config->rest.cors_origins;
    if (!rest_cors_permits(request, origins)) {
        exchange_fail(exchange, 403, "CC231", "Pages of this origin may not change anything here",
                      "Name the origin in rest.cors_origins of config.json; operators' endpoints take no pages at all");
        return false;
    }
    struct io_auth_answer answer;
    io_auth_identify(exchange->worker->auth, request, (int64_t)time(NULL), &exchange->arena, &answer);
    if (answer.status != 0) {
        refuse(exchange, &answer);
        return false;
    }
    if (access == ACCESS_OPERATOR && !answer.is_operator) {
        refuse_operator(exchange, answer.identity.anonymous);
        return false;
    }
    request->identity = answer.identity;
    exchange->principal = answer.principal;
    exchange->sees_all = answer.is_operator;
    return true;
}
