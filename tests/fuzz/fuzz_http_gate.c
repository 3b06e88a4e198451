// Whatever the bytes and the pieces in which they arrive: the gate gives the same requests and the same verdict.
#include "rest/http_gate.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct account { // what came out of one pass
    struct cc_buffer text;
    enum http_verdict last;
};

static void note_request(struct account *account, const struct http_request *request)
{
    cc_buffer_printf(&account->text, "\n%d %d %zu ", (int)request->method, (int)request->close, request->n_headers);
    cc_buffer_append_slice(&account->text, request->path);
    cc_buffer_append_text(&account->text, request->query.data == NULL ? " no query" : " ?");
    cc_buffer_append_slice(&account->text, request->query);
    for (size_t i = 0; i < request->n_headers; i++) {
        cc_buffer_append_text(&account->text, "\n");
        cc_buffer_append_slice(&account->text, request->headers[i].name);
        cc_buffer_append_text(&account->text, "=");
        cc_buffer_append_slice(&account->text, request->headers[i].value);
    }
    cc_buffer_append_text(&account->text, "\n");
    cc_buffer_append_slice(&account->text, request->body);
}

static struct account pass(const uint8_t *data, size_t n, size_t piece)
{
    struct http_limits limits = {
        .target_bytes_max = 64, .header_bytes_max = 256, .headers_max = 6, .body_bytes_max = 128};
    struct http_gate *gate = http_gate_create(&limits);
    struct account account = {0};
    size_t at = 0;
    while (at < n && account.last != HTTP_REFUSED) {
        size_t n_taken;
        account.last = http_gate_feed(gate, data + at, piece < n - at ? piece : n - at, &n_taken);
        at += n_taken;
        assert(http_gate_body_bytes(gate) <= limits.body_bytes_max);
        if (account.last == HTTP_COMPLETE) {
            struct http_request request = http_gate_request(gate);
            note_request(&account, &request);
            http_gate_next(gate);
        }
    }
    if (account.last == HTTP_REFUSED) {
        cc_buffer_append_text(&account.text, http_refusal_code(http_gate_refusal(gate)));
    }
    http_gate_destroy(gate);
    return account;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct account whole = pass(data, n, n);
    static const size_t pieces[] = {1, 2, 7};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct account other = pass(data, n, pieces[i]);
        assert(other.last == whole.last);
        assert(cc_slice_equal(cc_buffer_slice(&other.text), cc_buffer_slice(&whole.text)));
        cc_buffer_finish(&other.text);
    }
    cc_buffer_finish(&whole.text);
    return 0;
}
