// The workload over etcd's HTTP gateway: JSON with keys and values in base64.
#include "etcd_protocol.h"

#include "cli/bench_http.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_base64(struct cc_buffer *out, struct cc_slice bytes)
{
    for (size_t i = 0; i < bytes.n; i += 3) {
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        bits |= i + 1 < bytes.n ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        bits |= i + 2 < bytes.n ? bytes.data[i + 2] : 0;
        char group[4] = {digits[bits >> 18], digits[bits >> 12 & 63], digits[bits >> 6 & 63], digits[bits & 63]};
        group[2] = i + 1 < bytes.n ? group[2] : '=';
        group[3] = i + 2 < bytes.n ? group[3] : '=';
        cc_buffer_append(out, group, 4);
    }
}

static bool read_base64(struct cc_buffer *out, struct cc_slice text)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < text.n && text.data[i] != '='; i++) {
        const char *digit = text.data[i] == '\0' ? NULL : strchr(digits, text.data[i]);
        if (digit == NULL) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(digit - digits);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            uint8_t byte = (uint8_t)(bits >> n_bits);
            cc_buffer_append(out, &byte, 1);
        }
    }
    return true;
}

static void put_member(struct cc_buffer *out, const char *name, struct cc_slice value)
{
    cc_buffer_append_text(out, name);
    put_base64(out, value);
    cc_buffer_append_text(out, "\"");
}

static void put_key_value(struct cc_buffer *out, struct bench_key key, uint32_t writer, size_t value_bytes)
{
    struct cc_buffer text = {0};
    bench_key_put(&text, key);
    put_member(out, "{\"key\":\"", cc_buffer_slice(&text));
    cc_buffer_clear(&text);
    bench_value_put(&text, key, writer, value_bytes);
    put_member(out, ",\"value\":\"", cc_buffer_slice(&text));
    cc_buffer_append_text(out, "}");
    cc_buffer_finish(&text);
}

static void put_head(struct cc_buffer *out, const char *path, const char *host, size_t n_body)
{
    cc_buffer_printf(out,
                     "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                     path, host, n_body);
}

void etcd_http_put_rows(struct cc_buffer *out, const struct bench_workload *workload, const char *host, uint64_t from,
                        uint64_t to)
{
    struct cc_buffer body = {0};
    cc_buffer_append_text(&body, "{\"success\":[");
    for (uint64_t i = from; i < to; i++) {
        cc_buffer_append_text(&body, i == from ? "{\"request_put\":" : ",{\"request_put\":");
        put_key_value(&body, bench_key_at(i), 0, workload->value_bytes);
        cc_buffer_append_text(&body, "}");
    }
    cc_buffer_append_text(&body, "]}");
    put_head(out, "/v3/kv/txn", host, body.n);
    cc_buffer_append_slice(out, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

static void put_request(const void *context, struct bench_session *session, struct cc_buffer *out)
{
    const struct bench_workload *workload = context;
    bench_workload_choose(workload, session);
    const struct bench_operation *operation = &workload->operations[session->operation];
    struct bench_key key = {session->key[0], session->key[1]};
    struct cc_buffer *body = &session->scratch;
    cc_buffer_clear(body);
    if (operation->verb != BENCH_READ) {
        put_key_value(body, key, session->number, workload->value_bytes);
        put_head(out, "/v3/kv/put", session->address->text, body->n);
    } else {
        struct cc_buffer text = {0};
        bench_key_put(&text, key);
        put_member(body, "{\"key\":\"", cc_buffer_slice(&text));
        cc_buffer_append_text(body, operation->consistency[0] != '\0' ? ",\"serializable\":true}" : "}");
        put_head(out, "/v3/kv/range", session->address->text, body->n);
        cc_buffer_finish(&text);
    }
    cc_buffer_append_slice(out, cc_buffer_slice(body));
}

static bool is_row(const struct bench_workload *workload, const struct bench_session *session, struct cc_slice body)
{
    static const char member[] = "\"value\":\"";
    const uint8_t *at = memmem(body.data, body.n, member, sizeof(member) - 1);
    if (at == NULL) {
        return false;
    }
    at += sizeof(member) - 1;
    const uint8_t *end = memchr(at, '"', (size_t)(body.data + body.n - at));
    struct cc_buffer value = {0};
    bool right = end != NULL && read_base64(&value, cc_slice_of(at, (size_t)(end - at))) &&
                 bench_value_is_of(cc_buffer_slice(&value), (struct bench_key){session->key[0], session->key[1]},
                                   workload->value_bytes);
    cc_buffer_finish(&value);
    return right;
}

static enum bench_verdict take_answer(const void *context, struct bench_session *session, struct cc_slice input,
                                      struct cc_buffer *out, size_t *n_taken_out, struct bench_reply *reply_out)
{
    (void)out;
    const struct bench_workload *workload = context;
    struct bench_http_answer answer;
    enum bench_verdict verdict = bench_http_answer_parse(input, &session->scratch, &answer, n_taken_out);
    if (verdict != BENCH_ANSWER_COMPLETE) {
        return verdict;
    }
    bool read = workload->operations[session->operation].verb == BENCH_READ;
    bool right = answer.status == 200 && (read ? is_row(workload, session, answer.body)
                                               : memmem(answer.body.data, answer.body.n, "\"revision\"", 10) != NULL);
    *reply_out = (struct bench_reply){.status = answer.status, .close = answer.close, .detail = answer.body};
    reply_out->outcome = right                  ? BENCH_DONE
                         : answer.status == 200 ? BENCH_WRONG
                         : answer.status >= 500 ? BENCH_UNKNOWN
                                                : BENCH_FAILED;
    return BENCH_ANSWER_COMPLETE;
}

const struct bench_protocol etcd_http_protocol = {.request = put_request, .answer = take_answer};
