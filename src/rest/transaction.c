// Transaction: several row operations in one request.
#include "rest/transaction.h"

#include "rest/body.h"
#include "rest/json_body.h"
#include "rest/reply.h"

#include <string.h>

struct reading {
    struct cc_arena *arena;
    const struct rest_request *outer;
    const char *reason; // of the refusal
    uint32_t at;        // number of the operation, from 0
};

static bool refuse(struct reading *reading, const char *reason)
{
    if (reading->reason == NULL) {
        reading->reason = reason;
    }
    return false;
}

// ---- reading

static bool read_text(struct reading *reading, uint32_t n, const struct rest_json_member *members, const char *key,
                      struct cc_slice *out)
{
    const struct rest_json_member *member = rest_json_find(n, members, key);
    if (member == NULL || member->value.kind != REST_JSON_STRING) {
        return refuse(reading, "an operation needs the texts method and path");
    }
    *out = rest_json_text(&member->value, reading->arena);
    return true;
}

static bool read_headers(struct reading *reading, const struct rest_json_value *value, struct rest_request *request)
{
    uint32_t n = 0;
    struct rest_json_member *members = NULL;
    if (value->kind != REST_JSON_OBJECT) {
        return refuse(reading, "headers must be an object of texts");
    }
    rest_json_members(value, reading->arena, &n, &members);
    struct rest_header *headers = cc_arena_array(reading->arena, n, sizeof(*headers));
    for (uint32_t i = 0; i < n; i++) {
        if (members[i].value.kind != REST_JSON_STRING) {
            return refuse(reading, "headers must be an object of texts");
        }
        headers[i] =
            (struct rest_header){.name = members[i].key, .value = rest_json_text(&members[i].value, reading->arena)};
    }
    request->n_headers = n;
    request->headers = headers;
    return true;
}

static bool is_known_key(struct cc_slice key)
{
    static const char *const keys[] = {"method", "path", "headers", "body"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (cc_slice_equal_text(key, keys[i])) {
            return true;
        }
    }
    return false;
}

static void split_path(struct cc_slice path, struct rest_request *request)
{
    const uint8_t *mark = path.n == 0 ? NULL : memchr(path.data, '?', path.n);
    request->path = mark == NULL ? path : cc_slice_of(path.data, (size_t)(mark - path.data));
    if (mark != NULL) {
        request->query = cc_slice_of(mark + 1, path.n - request->path.n - 1);
    }
}

static bool read_operation(struct reading *reading, const struct rest_json_value *value, struct rest_request *out)
{
    uint32_t n = 0;
    struct rest_json_member *members = NULL;
    struct cc_slice path = {0};
    if (value->kind != REST_JSON_OBJECT) {
        return refuse(reading, "an operation must be an object");
    }
    rest_json_members(value, reading->arena, &n, &members);
    for (uint32_t i = 0; i < n; i++) {
        if (!is_known_key(members[i].key)) {
            return refuse(reading, "an operation has the keys method, path, headers and body only");
        }
    }
    *out = (struct rest_request){.identity = reading->outer->identity, .options = reading->outer->options};
    if (!read_text(reading, n, members, "method", &out->method) || !read_text(reading, n, members, "path", &path)) {
        return false;
    }
    split_path(path, out);
    const struct rest_json_member *headers = rest_json_find(n, members, "headers");
    const struct rest_json_member *body = rest_json_find(n, members, "body");
    out->body = body == NULL ? (struct cc_slice){0} : body->value.raw;
    return headers == NULL || read_headers(reading, &headers->value, out);
}

static bool read_list(struct reading *reading, const struct rest_json *json, uint32_t *n_out,
                      struct rest_request **requests_out)
{
    const struct rest_json_member *list = NULL;
    if (json->value.kind == REST_JSON_OBJECT && json->n_members == 1) {
        list = rest_json_find(json->n_members, json->members, "operations");
    }
    if (list == NULL || list->value.kind != REST_JSON_ARRAY) {
        return refuse(reading, "the body must be an object with the list operations");
    }
    struct rest_json_value *values = NULL;
    rest_json_elements(&list->value, reading->arena, n_out, &values);
    if (*n_out == 0 || *n_out > REST_TRANSACTION_OPERATIONS_MAX) {
        return refuse(reading, "a transaction has 1 to 128 operations");
    }
    *requests_out = cc_arena_array(reading->arena, *n_out, sizeof(**requests_out));
    for (reading->at = 0; reading->at < *n_out; reading->at++) {
        if (!read_operation(reading, &values[reading->at], &(*requests_out)[reading->at])) {
            return false;
        }
    }
    return true;
}

enum cc_status rest_transaction_read(const struct rest_request *outer, struct cc_arena *arena, uint32_t *n_out,
                                     struct rest_request **requests_out, struct rest_reply *answer_out)
{
    struct reading reading = {.arena = arena, .outer = outer};
    struct rest_json json;
    enum cc_status status = rest_json_scan(outer->body, arena, &json, &reading.reason);
    if (status == CC_OK && !read_list(&reading, &json, n_out, requests_out)) {
        status = CC_MALFORMED;
    }
    if (status != CC_OK) {
        const char *details = reading.at == 0
                                  ? reading.reason
                                  : cc_arena_printf(arena, "operation %u: %s", reading.at + 1, reading.reason);
        rest_reply_error(400, rest_error_code_text(REST_BODY), "The transaction is malformed", details, NULL, arena,
                         answer_out);
    }
    return status;
}

// ---- planning

static enum rest_plan_kind refuse_plan(uint32_t at, const char *what, struct cc_arena *arena,
                                       struct rest_reply *answer_out)
{
    rest_reply_error(400, rest_error_code_text(REST_BODY), "The operations cannot run as one transaction",
                     cc_arena_printf(arena, "operation %u: %s", at + 1, what), NULL, arena, answer_out);
    return REST_PLAN_ANSWER;
}

// A write that has nothing to do (an empty array) answers at once; it has no place among statements.
static bool is_success(const struct rest_plan *plan)
{
    return plan->kind == REST_PLAN_ANSWER && plan->answer.status < 300;
}

enum rest_plan_kind rest_transaction_plan(const struct rest_catalog *catalog, uint32_t n,
                                          const struct rest_request *requests, struct cc_arena *arena,
                                          struct rest_plan *plans_out, struct rest_reply *answer_out)
{
    for (uint32_t i = 0; i < n; i++) {
        rest_plan_create(catalog, &requests[i], arena, &plans_out[i]);
        const struct rest_plan *plan = &plans_out[i];
        if (plan->kind == REST_PLAN_READ || is_success(plan)) {
            return refuse_plan(i, "only writes that change something are possible in a transaction", arena, answer_out);
        }
        if (plan->kind != REST_PLAN_WRITE) {
            *answer_out = plan->answer;
            return plan->kind;
        }
        if (plan->statement.weak != plans_out[0].statement.weak) {
            return refuse_plan(i, "a transaction writes strong tables or weak tables, not both", arena, answer_out);
        }
        if (plan->statement.roll_back) {
            return refuse_plan(i, "Prefer: tx=rollback is not possible in a transaction", arena, answer_out);
        }
    }
    return REST_PLAN_WRITE;
}

// ---- statements

static bool has(const struct rest_statement *statement)
{
    return statement->sql.data != NULL;
}

static uint32_t count_statements(uint32_t n, const struct rest_plan *plans)
{
    uint32_t n_statements = n;
    for (uint32_t i = 0; i < n; i++) {
        n_statements += has(&plans[i].pre_request) + has(&plans[i].said);
    }
    return n_statements;
}

struct rest_statement *rest_transaction_statements(uint32_t n, const struct rest_plan *plans, struct cc_arena *arena, uint32_t *n_out)
{
    struct rest_statement *statements = cc_arena_array(arena, count_statements(n, plans), sizeof(*statements));
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (has(&plans[i].pre_request)) {
            statements[k++] = plans[i].pre_request;
        }
        statements[k++] = plans[i].statement;
        if (has(&plans[i].said)) {
            statements[k++] = plans[i].said;
        }
    }
    *n_out = k;
    return statements;
}

// ---- replies

static void put_headers(struct cc_buffer *out, const struct rest_reply *reply)
{
    cc_buffer_append_text(out, "{");
    for (uint32_t i = 0; i < reply->n_headers; i++) {
        cc_buffer_append_text(out, i == 0 ? "" : ",");
        rest_json_put_string(out, reply->headers[i].name);
        cc_buffer_append_text(out, ":");
        rest_json_put_string(out, reply->headers[i].value);
    }
    cc_buffer_append_text(out, "}");
}

static bool is_json(const struct rest_plan *plan)
{
    return plan->facts.format != REST_FORMAT_CSV && plan->facts.format != REST_FORMAT_RAW;
}

// Bytes in JSON: as PostgreSQL writes a bytea there.
static struct cc_slice text_of_body(const struct rest_plan *plan, struct cc_slice body, struct cc_arena *arena)
{
    bool bytes = plan->facts.format == REST_FORMAT_RAW && plan->facts.raw_is_bytes;
    return bytes ? rest_body_of_bytes(body, arena) : body;
}

static void put_reply(struct cc_buffer *out, const struct rest_plan *plan, const struct rest_reply *reply, struct cc_arena *arena)
{
    cc_buffer_printf(out, "{\"status\":%d,\"headers\":", reply->status);
    put_headers(out, reply);
    cc_buffer_append_text(out, ",\"body\":");
    if (reply->body.n == 0) {
        cc_buffer_append_text(out, "null");
    } else if (is_json(plan)) {
        cc_buffer_append_slice(out, reply->body);
    } else {
        rest_json_put_string(out, text_of_body(plan, reply->body, arena));
    }
    cc_buffer_append_text(out, "}");
}

// The outcome of each statement. False: the body is not what the executor writes.
static bool split(const struct rest_outcome *whole, uint32_t n, struct rest_outcome *outcomes)
{
    if (n == 1) {
        outcomes[0] = *whole;
        return true;
    }
    struct cc_reader reader = cc_reader_of(whole->body);
    for (uint32_t i = 0; i < n; i++) {
        struct cc_slice one = cc_read_string(&reader);
        if (!cc_reader_ok(&reader) || rest_outcome_read(one, &outcomes[i]) != CC_OK) {
            return false;
        }
    }
    return cc_reader_end(&reader) == CC_OK;
}

// The answer of one plan, whose outcomes begin at `outcomes`; how many they are.
static uint32_t reply_one(const struct rest_plan *plan, const struct rest_outcome *outcomes, struct cc_arena *arena, struct rest_reply *reply_out)
{
    uint32_t n = has(&plan->pre_request);
    rest_reply_write(plan, &outcomes[n++], arena, reply_out);
    if (has(&plan->said)) {
        rest_reply_add_said(outcomes[n++].body, arena, reply_out);
    }
    return n;
}

static void reply_damaged(struct cc_arena *arena, struct rest_reply *reply_out)
{
    rest_reply_error(500, "XX000", "The answers of a transaction are damaged", "It took effect.", NULL, arena, reply_out);
}

void rest_transaction_reply_single(const struct rest_plan *plan, const struct rest_outcome *outcome, struct cc_arena *arena,
                                   struct rest_reply *reply_out)
{
    struct rest_outcome outcomes[3];
    uint32_t n = count_statements(1, plan);
    if (outcome->kind != REST_DONE || n == 1) {
        rest_reply_write(plan, outcome, arena, reply_out);
    } else if (!split(outcome, n, outcomes)) {
        reply_damaged(arena, reply_out);
    } else {
        (void)reply_one(plan, outcomes, arena, reply_out);
    }
}

void rest_transaction_reply(uint32_t n, const struct rest_plan *plans, const struct rest_outcome *outcome,
                            struct cc_arena *arena, struct rest_reply *reply_out)
{
    uint32_t n_outcomes = count_statements(n, plans);
    struct rest_outcome *outcomes = cc_arena_array(arena, n_outcomes, sizeof(*outcomes));
    if (outcome->kind != REST_DONE) { // none was done: the error is the transaction's
        rest_reply_write(&plans[0], outcome, arena, reply_out);
        return;
    }
    if (!split(outcome, n_outcomes, outcomes)) {
        reply_damaged(arena, reply_out);
        return;
    }
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, "[");
    for (uint32_t i = 0, k = 0; i < n; i++) {
        struct rest_reply reply;
        k += reply_one(&plans[i], &outcomes[k], arena, &reply);
        cc_buffer_append_text(&out, i == 0 ? "" : ",\n ");
        put_reply(&out, &plans[i], &reply, arena);
    }
    cc_buffer_append_text(&out, "]");
    *reply_out = (struct rest_reply){.status = 200};
    reply_out->body = cc_slice_of(cc_arena_text_n(arena, out.data, out.n), out.n);
    cc_buffer_finish(&out);
    rest_reply_add_header(reply_out, arena, "Content-Type", "application/json; charset=utf-8");
}
