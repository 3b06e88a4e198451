// The gateway's part of testing hooks: GET, POST and DELETE /_caucus/faults. The core answers: it owns the connections.
#include "proxy/faults/io_faults.h"
#include "proxy/gateway/io_gateway_internal.h"

#include <stdlib.h>

static bool read_id(struct exchange *exchange, uint32_t *id_out)
{
    struct cc_slice text = operator_parameter(exchange, "id", 0);
    uint64_t id = 0;
    bool good = cc_slice_take_number(&text, UINT32_MAX, &id) && text.n == 0 && id > 0;
    *id_out = (uint32_t)id;
    return good;
}

static void ask(struct exchange *exchange, enum io_faults_action action, uint32_t id, struct cc_slice body)
{
    struct cc_buffer bytes = {0};
    cc_buffer_append_slice(&bytes, body);
    exchange_move(exchange, EXCHANGE_STATUS);
    exchange_ask_core(exchange, INBOX_FAULTS, (uint64_t)action << 32 | id, &bytes);
}

bool faults_begin(struct exchange *exchange)
{
    struct cc_slice method = exchange->request.method, none = cc_slice_of(NULL, 0);
    uint32_t id = 0;
    if (cc_slice_equal_text(method, "GET")) {
        ask(exchange, IO_FAULTS_LIST, 0, none);
    } else if (cc_slice_equal_text(method, "POST")) {
        ask(exchange, IO_FAULTS_ADD, 0, exchange->request.body);
    } else if (!cc_slice_equal_text(method, "DELETE")) {
        exchange_fail(exchange, 405, "PGRST117", "This endpoint does not take this method", "GET, POST or DELETE");
    } else if (operator_parameter(exchange, "id", 0).data == NULL) {
        ask(exchange, IO_FAULTS_CLEAR, 0, none);
    } else if (read_id(exchange, &id)) {
        ask(exchange, IO_FAULTS_REMOVE, id, none);
    } else {
        exchange_fail(exchange, 400, "CC250", "This rule of message faults is not possible",
                      "id is the number of one of GET /_caucus/faults");
    }
    return true;
}
