// What `caucus bench` asks of a cluster.
#include "cli/bench_workload.h"

#include "cli/bench_http.h"

#include <stdio.h>
#include <string.h>

const char bench_migration_name[] = "caucus_bench_1";
const char bench_migration_sql[] = "CREATE TABLE bench_strong (id uuid PRIMARY KEY, value text NOT NULL);\n"
                                   "CREATE TABLE bench_weak (id uuid PRIMARY KEY, value text);\n"
                                   "COMMENT ON TABLE bench_weak IS '@caucus weak';\n";

static const char *const verb_names[BENCH_VERBS] = {[BENCH_INSERT] = "insert",
                                                    [BENCH_BULK] = "bulk",
                                                    [BENCH_UPDATE] = "update",
                                                    [BENCH_UPSERT] = "upsert",
                                                    [BENCH_READ] = "read"};

const char *bench_table_name(bool weak)
{
    return weak ? "bench_weak" : "bench_strong";
}

// ---- the mix

static bool parse_verb(const char *name, enum bench_verb *verb_out)
{
    for (unsigned i = 0; i < BENCH_VERBS; i++) {
        if (strcmp(name, verb_names[i]) == 0) {
            *verb_out = (enum bench_verb)i;
            return true;
        }
    }
    return false;
}

static bool parse_weight(const char *text, uint32_t *weight_out)
{
    unsigned weight;
    int n_read = 0;
    if (sscanf(text, "%7u%n", &weight, &n_read) != 1 || text[n_read] != '\0' || weight == 0) {
        return false;
    }
    *weight_out = weight;
    return true;
}

// One element of the mix; `text` is taken apart.
static bool parse_operation(char *text, struct bench_operation *operation)
{
    operation->weight = 1;
    char *weight = strchr(text, '=');
    if (weight != NULL) {
        *weight = '\0';
        if (!parse_weight(weight + 1, &operation->weight)) {
            return false;
        }
    }
    snprintf(operation->name, sizeof(operation->name), "%s", text);
    char *level = strchr(text, '@');
    if (level != NULL) {
        *level = '\0';
        snprintf(operation->consistency, sizeof(operation->consistency), "%s", level + 1);
        char *duration = strchr(operation->consistency, ':');
        if (duration != NULL) {
            *duration = '=';
        }
    }
    operation->weak = strncmp(text, "weak-", 5) == 0;
    return parse_verb(operation->weak ? text + 5 : text, &operation->verb) &&
           (level == NULL || operation->verb == BENCH_READ) &&
           strspn(operation->consistency, "abcdefghijklmnopqrstuvwxyz0123456789=.") == strlen(operation->consistency);
}

enum cc_status bench_mix_parse(const char *text, struct bench_workload *workload)
{
    char copy[512];
    if (strlen(text) >= sizeof(copy)) {
        return CC_TOO_LARGE;
    }
    memcpy(copy, text, strlen(text) + 1);
    workload->n_operations = 0;
    workload->weight_sum = 0;
    char *rest = copy;
    for (char *word = strsep(&rest, ","); word != NULL; word = strsep(&rest, ",")) {
        if (workload->n_operations == BENCH_OPERATIONS_MAX ||
            strlen(word) >= sizeof(workload->operations[0].consistency)) {
            return CC_TOO_LARGE;
        }
        struct bench_operation operation = {0};
        if (!parse_operation(word, &operation)) {
            return CC_MALFORMED;
        }
        workload->weight_sum += operation.weight;
        workload->operations[workload->n_operations++] = operation;
    }
    return CC_OK;
}

static bool needs_rows(enum bench_verb verb)
{
    return verb == BENCH_UPDATE || verb == BENCH_UPSERT || verb == BENCH_READ;
}

bool bench_workload_needs_rows(const struct bench_workload *workload, bool weak)
{
    for (unsigned i = 0; i < workload->n_operations; i++) {
        if (workload->operations[i].weak == weak && needs_rows(workload->operations[i].verb)) {
            return true;
        }
    }
    return false;
}

bool bench_workload_uses(const struct bench_workload *workload, bool weak)
{
    for (unsigned i = 0; i < workload->n_operations; i++) {
        if (workload->operations[i].weak == weak) {
            return true;
        }
    }
    return false;
}

// ---- requests

static unsigned choose_operation(const struct bench_workload *workload, struct cc_prng *prng)
{
    if (workload->n_operations == 1) {
        return 0;
    }
    uint64_t at = cc_prng_below(prng, workload->weight_sum);
    unsigned i = 0;
    while (at >= workload->operations[i].weight) {
        at -= workload->operations[i++].weight;
    }
    return i;
}

static struct bench_key choose_key(const struct bench_workload *workload, struct cc_prng *prng)
{
    bool hot = workload->n_hot > 0 && cc_prng_below(prng, 100) < workload->hot_percent;
    return bench_key_at(cc_prng_below(prng, hot ? workload->n_hot : workload->n_rows));
}

void bench_workload_choose(const struct bench_workload *workload, struct bench_session *session)
{
    session->operation = choose_operation(workload, &session->prng);
    bool existing = needs_rows(workload->operations[session->operation].verb);
    struct bench_key key = existing ? choose_key(workload, &session->prng) : bench_key_random(&session->prng);
    session->key[0] = key.high;
    session->key[1] = key.low;
}

void bench_row_put_json(struct cc_buffer *out, struct bench_key key, uint32_t writer, size_t value_bytes)
{
    cc_buffer_append_text(out, "{\"id\":\"");
    bench_key_put(out, key);
    cc_buffer_append_text(out, "\",\"value\":\"");
    bench_value_put(out, key, writer, value_bytes);
    cc_buffer_append_text(out, "\"}");
}

static void put_body(const struct bench_workload *workload, struct bench_session *session, enum bench_verb verb,
                     struct cc_buffer *body)
{
    struct bench_key key = {session->key[0], session->key[1]};
    switch (verb) {
    case BENCH_INSERT:
    case BENCH_UPSERT:
        bench_row_put_json(body, key, session->number, workload->value_bytes);
        return;
    case BENCH_UPDATE:
        cc_buffer_append_text(body, "{\"value\":\"");
        bench_value_put(body, key, session->number, workload->value_bytes);
        cc_buffer_append_text(body, "\"}");
        return;
    case BENCH_BULK:
        session->n_rows = workload->bulk_rows;
        for (uint32_t i = 0; i < workload->bulk_rows; i++) {
            cc_buffer_append_text(body, i == 0 ? "[" : ",");
            bench_row_put_json(body, bench_key_random(&session->prng), session->number, workload->value_bytes);
        }
        cc_buffer_append_text(body, "]");
        return;
    case BENCH_READ:
    case BENCH_VERBS:
        return;
    }
}

static const char *method_of(enum bench_verb verb)
{
    switch (verb) {
    case BENCH_INSERT:
    case BENCH_BULK:
    case BENCH_UPSERT:
        return "POST";
    case BENCH_UPDATE:
        return "PATCH";
    case BENCH_READ:
    case BENCH_VERBS:
        break;
    }
    return "GET";
}

static void put_target(struct cc_buffer *out, const struct bench_operation *operation, struct bench_key key)
{
    cc_buffer_append_text(out, method_of(operation->verb));
    cc_buffer_append_text(out, " /");
    cc_buffer_append_text(out, bench_table_name(operation->weak));
    if (operation->verb == BENCH_UPDATE || operation->verb == BENCH_READ) {
        cc_buffer_append_text(out, "?id=eq.");
        bench_key_put(out, key);
    }
}

static void put_headers(const struct bench_workload *workload, const struct bench_operation *operation,
                        struct bench_session *session, struct cc_buffer *out)
{
    cc_buffer_append_text(out, " HTTP/1.1\r\nHost: ");
    cc_buffer_append_text(out, session->address->text);
    if (operation->verb == BENCH_UPSERT) {
        cc_buffer_append_text(out, "\r\nPrefer: resolution=merge-duplicates");
    }
    if (operation->consistency[0] != '\0') {
        cc_buffer_append_text(out, "\r\nPrefer: consistency=");
        cc_buffer_append_text(out, operation->consistency);
    }
    if (workload->sessions && session->token.n > 0) {
        cc_buffer_append_text(out, "\r\nCaucus-Session: ");
        cc_buffer_append_slice(out, cc_buffer_slice(&session->token));
    }
    if (workload->idempotency && operation->verb != BENCH_READ) {
        cc_buffer_append_text(out, "\r\nIdempotency-Key: ");
        bench_key_put(out, bench_key_random(&session->prng));
    }
}

static void put_request(const void *context, struct bench_session *session, struct cc_buffer *out)
{
    const struct bench_workload *workload = context;
    bench_workload_choose(workload, session);
    const struct bench_operation *operation = &workload->operations[session->operation];
    struct cc_buffer *body = &session->scratch;
    cc_buffer_clear(body);
    put_body(workload, session, operation->verb, body);
    put_target(out, operation, (struct bench_key){session->key[0], session->key[1]});
    put_headers(workload, operation, session, out);
    if (body->n > 0) {
        cc_buffer_printf(out, "\r\nContent-Type: application/json\r\nContent-Length: %zu", body->n);
    }
    cc_buffer_append_text(out, "\r\n\r\n");
    cc_buffer_append_slice(out, cc_buffer_slice(body));
}

// ---- answers

// The text of the last member "value" in a JSON list of one row. Our values need no unescaping.
static struct cc_slice value_in(struct cc_slice body)
{
    static const char member[] = "\"value\"";
    const uint8_t *at = memmem(body.data, body.n, member, sizeof(member) - 1);
    const uint8_t *end = body.data + body.n;
    if (at == NULL) {
        return cc_slice_of(NULL, 0);
    }
    for (at += sizeof(member) - 1; at < end && (*at == ' ' || *at == ':'); at++) {
    }
    if (at == end || *at != '"') {
        return cc_slice_of(NULL, 0);
    }
    const uint8_t *close = memchr(at + 1, '"', (size_t)(end - at - 1));
    return close == NULL ? cc_slice_of(NULL, 0) : cc_slice_of(at + 1, (size_t)(close - at - 1));
}

bool bench_workload_is_row(const struct bench_workload *workload, struct bench_key key, struct cc_slice body)
{
    struct cc_slice value = value_in(body);
    return value.data != NULL && body.data[0] == '[' && body.data[body.n - 1] == ']' &&
           bench_value_is_of(value, key, workload->value_bytes);
}

static bool names_one_row(struct cc_slice content_range)
{
    return content_range.data == NULL || (content_range.n >= 4 && memcmp(content_range.data, "0-0/", 4) == 0);
}

// Success of the right kind, with the right content?
static enum bench_outcome judge_success(const struct bench_workload *workload, const struct bench_session *session,
                                        const struct bench_http_answer *answer)
{
    switch (workload->operations[session->operation].verb) {
    case BENCH_INSERT:
    case BENCH_BULK:
        return answer->status == 201 ? BENCH_DONE : BENCH_WRONG;
    case BENCH_UPSERT:
        return answer->status == 201 || answer->status == 200 ? BENCH_DONE : BENCH_WRONG;
    case BENCH_UPDATE:
        return (answer->status == 204 || answer->status == 200) && names_one_row(answer->content_range) ? BENCH_DONE
                                                                                                        : BENCH_WRONG;
    case BENCH_READ:
        return answer->status == 200 && bench_workload_is_row(workload, (struct bench_key){session->key[0], session->key[1]}, answer->body) ? BENCH_DONE : BENCH_WRONG;
    case BENCH_VERBS:
        break;
    }
    return BENCH_WRONG;
}

static enum bench_outcome judge(const struct bench_workload *workload, const struct bench_session *session,
                                const struct bench_http_answer *answer)
{
    if (answer->status < 300) {
        return judge_success(workload, session, answer);
    }
    if (answer->status == 503 || answer->status == 429) {
        return BENCH_REFUSED;
    }
    return answer->status >= 500 || answer->status == 408 ? BENCH_UNKNOWN : BENCH_FAILED;
}

static void keep_token(struct bench_session *session, struct cc_slice token)
{
    if (token.n > 0) {
        cc_buffer_clear(&session->token);
        cc_buffer_append_slice(&session->token, token);
    }
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
    if (workload->sessions) {
        keep_token(session, answer.session);
    }
    *reply_out = (struct bench_reply){.outcome = judge(workload, session, &answer),
                                      .status = answer.status,
                                      .close = answer.close,
                                      .detail = answer.body};
    if (reply_out->detail.n == 0) {
        reply_out->detail = cc_slice_text("an answer without a body");
    }
    return BENCH_ANSWER_COMPLETE;
}

const struct bench_protocol bench_workload_protocol = {.request = put_request, .answer = take_answer};
