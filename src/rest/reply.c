// Reply: status, headers and body of an answer.
#include "rest/reply.h"

#include "rest/character.h"
#include "rest/etag.h"
#include "rest/json_body.h"
#include "rest/syntax.h"
#include "rest/vector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cc_slice take_buffer(struct cc_buffer *buffer, struct cc_arena *arena)
{
    struct cc_slice text = cc_slice_of(cc_arena_text_n(arena, buffer->data, buffer->n), buffer->n);
    cc_buffer_finish(buffer);
    return text;
}

void rest_reply_add_header(struct rest_reply *reply, struct cc_arena *arena, const char *name, const char *value)
{
    reply->headers = rest_vector_room(arena, reply->headers, reply->n_headers, sizeof(*reply->headers));
    reply->headers[reply->n_headers++] = (struct rest_header){
        .name = cc_slice_text(cc_arena_text(arena, name)),
        .value = cc_slice_text(cc_arena_text(arena, value)),
    };
}

// ---- errors

// Only what may stand in a header.
static bool is_token(struct cc_slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!rest_is_token_byte(text.data[i])) {
            return false;
        }
    }
    return text.n > 0;
}

static void add_error_headers(const struct rest_error *error, struct rest_reply *reply, struct cc_arena *arena)
{
    rest_reply_add_header(reply, arena, "Content-Type", "application/json; charset=utf-8");
    if (is_token(error->code)) {
        rest_reply_add_header(
            reply, arena, "Proxy-Status",
            cc_arena_printf(arena, "caucus; error=%.*s", (int)error->code.n, (const char *)error->code.data));
    }
    if (reply->status == 401) {
        rest_reply_add_header(reply, arena, "WWW-Authenticate", "Bearer");
    }
    if (reply->status == 503) {
        rest_reply_add_header(reply, arena, "Retry-After", "1");
    }
}

void rest_reply_refuse(const struct rest_error *error, int status, struct cc_arena *arena, struct rest_reply *reply_out)
{
    struct rest_reply reply = {.status = status};
    struct cc_buffer body = {0};
    rest_error_put_body(&body, error);
    reply.body = take_buffer(&body, arena);
    add_error_headers(error, &reply, arena);
    *reply_out = reply;
}

void rest_reply_error(int status, const char *code, const char *message, const char *details, const char *hint,
                      struct cc_arena *arena, struct rest_reply *reply_out)
{
    struct rest_error error = {
        .code = cc_slice_text(code),
        .message = cc_slice_text(message),
        .details = cc_slice_text(details),
        .hint = cc_slice_text(hint),
    };
    rest_reply_refuse(&error, status, arena, reply_out);
}

static void refuse_with(enum rest_error_code code, const char *message, const char *details, struct cc_arena *arena,
                        struct rest_reply *reply_out)
{
    rest_reply_error(rest_error_code_status(code), rest_error_code_text(code), message, details, NULL, arena,
                     reply_out);
}

// ---- response.headers and response.status, and errors raised as JSON

// A header that a function sets: neither framing nor bytes that could end the line.
static bool is_allowed_header(struct cc_slice name, struct cc_slice value)
{
    static const char *const framing[] = {"content-length", "transfer-encoding", "connection", "host",
                                          "keep-alive",     "upgrade",           "trailer"};
    for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++) {
        if (cc_slice_equal_fold(name, framing[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < value.n; i++) {
        if (value.data[i] < ' ' && value.data[i] != '\t') {
            return false;
        }
    }
    return is_token(name);
}

static bool add_members(const struct rest_json_value *object, struct cc_arena *arena, struct rest_reply *reply)
{
    uint32_t n = 0;
    struct rest_json_member *members = NULL;
    if (object->kind != REST_JSON_OBJECT) {
        return false;
    }
    rest_json_members(object, arena, &n, &members);
    for (uint32_t i = 0; i < n; i++) {
        struct cc_slice value = rest_json_text(&members[i].value, arena);
        if (members[i].value.kind != REST_JSON_STRING || !is_allowed_header(members[i].key, value)) {
            return false;
        }
        rest_reply_add_header(reply, arena, cc_arena_text_n(arena, members[i].key.data, members[i].key.n),
                              cc_arena_text_n(arena, value.data, value.n));
    }
    return true;
}

// What is added goes before what is there; a name may be added several times (Set-Cookie).
static void replace_headers(const struct rest_reply *added, struct cc_arena *arena, struct rest_reply *reply)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < reply->n_headers; i++) {
        uint32_t k = 0;
        while (k < added->n_headers && !cc_slice_equal_fold(reply->headers[i].name, (const char *)added->headers[k].name.data)) {
            k++;
        }
        if (k == added->n_headers) {
            reply->headers[n++] = reply->headers[i];
        }
    }
    reply->n_headers = n;
    for (uint32_t i = 0; i < added->n_headers; i++) {
        rest_reply_add_header(reply, arena, (const char *)added->headers[i].name.data, (const char *)added->headers[i].value.data);
    }
}

// {"Name":"value", ...}
static bool add_object_headers(const struct rest_json_value *object, struct cc_arena *arena, struct rest_reply *reply)
{
    struct rest_reply added = {0};
    bool good = add_members(object, arena, &added);
    if (good) {
        replace_headers(&added, arena, reply);
    }
    return good;
}

// [{"Name":"value"}, ...]
static bool add_function_headers(struct cc_slice text, struct cc_arena *arena, struct rest_reply *reply)
{
    struct rest_json json;
    const char *reason = NULL;
    struct rest_reply added = {0};
    if (rest_json_scan(text, arena, &json, &reason) != CC_OK || json.value.kind != REST_JSON_ARRAY) {
        return false;
    }
    uint32_t n = 0;
    struct rest_json_value *values = NULL;
    rest_json_elements(&json.value, arena, &n, &values);
    for (uint32_t i = 0; i < n; i++) {
        if (!add_members(&values[i], arena, &added)) {
            return false;
        }
    }
    replace_headers(&added, arena, reply);
    return true;
}

static int status_of(struct cc_slice text)
{
    uint64_t status = 0;
    bool good = cc_slice_take_number(&text, 599, &status) && text.n == 0 && status >= 200;
    return good ? (int)status : 0;
}

struct raised {
    struct rest_error error;
    int status;
    struct rest_json_value headers;
    bool has_headers;
};

static bool scan_object(struct cc_slice text, struct cc_arena *arena, struct rest_json *json)
{
    const char *reason = NULL;
    return rest_json_scan(text, arena, json, &reason) == CC_OK && json->value.kind == REST_JSON_OBJECT;
}

static struct cc_slice member_text(const struct rest_json *json, const char *key, struct cc_arena *arena)
{
    const struct rest_json_member *member = rest_json_find(json->n_members, json->members, key);
    return member == NULL ? (struct cc_slice){0} : rest_json_text(&member->value, arena);
}

// RAISE SQLSTATE 'PGRST': MESSAGE has the body, DETAIL status and headers.
static bool read_raised(struct cc_slice message, struct cc_slice details, struct cc_arena *arena, struct raised *out)
{
    struct rest_json body;
    struct rest_json head;
    if (!scan_object(message, arena, &body) || !scan_object(details, arena, &head)) {
        return false;
    }
    *out = (struct raised){.status = status_of(member_text(&head, "status", arena))};
    out->error.code = member_text(&body, "code", arena);
    out->error.message = member_text(&body, "message", arena);
    out->error.details = member_text(&body, "details", arena);
    out->error.hint = member_text(&body, "hint", arena);
    const struct rest_json_member *headers = rest_json_find(head.n_members, head.members, "headers");
    out->has_headers = headers != NULL;
    if (headers != NULL) {
        out->headers = headers->value;
    }
    return out->status != 0 && out->error.code.data != NULL && out->error.message.data != NULL;
}

static void reply_raised(struct cc_slice message, struct cc_slice details, struct cc_arena *arena,
                         struct rest_reply *reply_out)
{
    struct raised raised;
    if (!read_raised(message, details, arena, &raised)) {
        refuse_with(REST_RAISED, "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error",
                    "MESSAGE must be an object with code and message, DETAIL one with status and headers.", arena,
                    reply_out);
        return;
    }
    rest_reply_refuse(&raised.error, raised.status, arena, reply_out);
    if (raised.has_headers && !add_object_headers(&raised.headers, arena, reply_out)) {
        refuse_with(REST_RAISED, "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error",
                    "headers must be an object of texts.", arena, reply_out);
    }
}

void rest_reply_failed(const struct rest_plan *plan, struct cc_slice code, struct cc_slice message,
                       struct cc_slice details, struct cc_slice hint, struct cc_arena *arena,
                       struct rest_reply *reply_out)
{
    if (cc_slice_equal_text(code, "PGRST")) {
        reply_raised(message, details, arena, reply_out);
        return;
    }
    struct rest_error error = {.code = code, .message = message, .details = details, .hint = hint};
    rest_reply_refuse(&error, rest_error_status(code, message, plan->facts.anonymous), arena, reply_out);
}

// ---- headers of success

static const char *content_type(enum rest_format format)
{
    switch (format) {
    case REST_FORMAT_ARRAY:
        return "application/json; charset=utf-8";
    case REST_FORMAT_OBJECT:
        return "application/vnd.pgrst.object+json; charset=utf-8";
    case REST_FORMAT_ARRAY_STRIPPED:
        return "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8";
    case REST_FORMAT_OBJECT_STRIPPED:
        return "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8";
    case REST_FORMAT_CSV:
        return "text/csv; charset=utf-8";
    case REST_FORMAT_OPENAPI:
        return "application/openapi+json; charset=utf-8";
    case REST_FORMAT_GEOJSON:
        return "application/geo+json; charset=utf-8";
    case REST_FORMAT_RAW: // see raw_type
        break;
    }
    return "";
}

static bool is_object(enum rest_format format)
{
    return format == REST_FORMAT_OBJECT || format == REST_FORMAT_OBJECT_STRIPPED;
}

static void add_common_headers(const struct rest_plan *plan, struct rest_reply *reply, struct cc_arena *arena)
{
    rest_reply_add_header(reply, arena, "Vary", "Accept, Prefer, Range");
    if (plan->facts.content_profile != NULL) {
        rest_reply_add_header(reply, arena, "Content-Profile", plan->facts.content_profile);
    }
    if (plan->facts.warning != NULL) {
        rest_reply_add_header(reply, arena, "Warning", plan->facts.warning);
    }
    const char *applied = rest_prefer_applied(&plan->facts.applied, arena);
    if (*applied != '\0') {
        rest_reply_add_header(reply, arena, "Preference-Applied", applied);
    }
}

static void add_content_type(const struct rest_plan *plan, struct rest_reply *reply, struct cc_arena *arena)
{
    if (plan->facts.format == REST_FORMAT_RAW) {
        rest_reply_add_header(reply, arena, "Content-Type", plan->facts.raw_type);
        return;
    }
    bool bare = plan->facts.is_scalar && plan->facts.format != REST_FORMAT_CSV;
    rest_reply_add_header(reply, arena, "Content-Type", content_type(bare ? REST_FORMAT_ARRAY : plan->facts.format));
}

static struct cc_slice csv_body(const struct rest_plan *plan, struct cc_slice rows, struct cc_arena *arena)
{
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, plan->facts.csv_header == NULL ? "" : plan->facts.csv_header);
    if (rows.n > 0) {
        cc_buffer_append_text(&out, "\n");
        cc_buffer_append_slice(&out, rows);
    }
    return take_buffer(&out, arena);
}

static struct cc_slice collection_body(struct cc_slice features, struct cc_arena *arena)
{
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, "{\"type\" : \"FeatureCollection\", \"features\" : ");
    cc_buffer_append_slice(&out, features);
    cc_buffer_append_text(&out, "}");
    return take_buffer(&out, arena);
}

// As PostgreSQL's encode(..., 'hex') writes it.
static struct cc_slice bytes_of_hex(struct cc_slice hex, struct cc_arena *arena)
{
    uint8_t *bytes = cc_arena_array(arena, hex.n / 2 + 1, 1);
    for (size_t i = 0; i < hex.n / 2; i++) {
        bytes[i] = (uint8_t)(rest_hex_digit(hex.data[2 * i]) << 4 | rest_hex_digit(hex.data[2 * i + 1]));
    }
    return cc_slice_of(bytes, hex.n / 2);
}

// The answer's body from what the database made for it.
static struct cc_slice body_of(const struct rest_plan *plan, struct cc_slice text, struct cc_arena *arena)
{
    switch (plan->facts.format) {
    case REST_FORMAT_CSV:
        return plan->facts.is_scalar ? text : csv_body(plan, text, arena);
    case REST_FORMAT_GEOJSON:
        return collection_body(text, arena);
    case REST_FORMAT_RAW:
        return plan->facts.raw_is_bytes ? bytes_of_hex(text, arena) : text.data == NULL ? cc_slice_of("", 0) : text;
    case REST_FORMAT_ARRAY:
    case REST_FORMAT_OBJECT:
    case REST_FORMAT_ARRAY_STRIPPED:
    case REST_FORMAT_OBJECT_STRIPPED:
    case REST_FORMAT_OPENAPI:
        break;
    }
    return text;
}

// ---- reads

static int64_t integer_of(struct cc_slice text)
{
    char digits[24] = {0};
    memcpy(digits, text.data, text.n < sizeof(digits) ? text.n : sizeof(digits) - 1);
    return strtoll(digits, NULL, 10);
}

static const char *range_of(int64_t first, int64_t n, bool counted, int64_t total, struct cc_arena *arena)
{
    const char *all = counted ? cc_arena_printf(arena, "%lld", (long long)total) : "*";
    if (n == 0) {
        return cc_arena_printf(arena, "*/%s", all);
    }
    return cc_arena_printf(arena, "%lld-%lld/%s", (long long)first, (long long)(first + n - 1), all);
}

static void reply_past_end(const struct rest_plan *plan, int64_t total, struct cc_arena *arena,
                           struct rest_reply *reply_out)
{
    refuse_with(REST_RANGE, "Requested range not satisfiable",
                cc_arena_printf(arena, "An offset of %lld was requested, but there are only %lld rows.",
                                (long long)plan->facts.offset, (long long)total),
                arena, reply_out);
    rest_reply_add_header(reply_out, arena, "Content-Range", cc_arena_printf(arena, "*/%lld", (long long)total));
}

static void apply_function_settings(const struct rest_read_result *result, struct cc_arena *arena,
                                    struct rest_reply *reply)
{
    if (result->headers.data != NULL && !add_function_headers(result->headers, arena, reply)) {
        refuse_with(
            REST_GUC_HEADERS,
            "response.headers guc must be a JSON array composed of objects with a single key and a string value", NULL,
            arena, reply);
        return;
    }
    if (result->status.data != NULL) {
        reply->status = status_of(result->status);
        if (reply->status == 0) {
            refuse_with(REST_GUC_STATUS, "response.status guc must be a valid status code", NULL, arena, reply);
        }
    }
}

static void reply_not_single(int64_t n, struct cc_arena *arena, struct rest_reply *reply_out)
{
    refuse_with(REST_SINGULAR, "Cannot coerce the result to a single JSON object",
                cc_arena_printf(arena, "The result contains %lld rows", (long long)n), arena, reply_out);
}

static bool is_refused_by_count(const struct rest_plan *plan, int64_t page, struct cc_arena *arena,
                                struct rest_reply *reply_out)
{
    bool one_object = is_object(plan->facts.format) && !plan->facts.is_scalar;
    if (one_object && page != 1) {
        reply_not_single(page, arena, reply_out);
        return true;
    }
    if (plan->facts.action == REST_ACTION_CALL && plan->facts.applied.has_max_affected &&
        (uint64_t)page > plan->facts.applied.max_affected) {
        refuse_with(REST_MAX_AFFECTED, "Query result exceeds max-affected preference constraint",
                    cc_arena_printf(arena, "The query affects %lld rows", (long long)page), arena, reply_out);
        return true;
    }
    return false;
}

// ---- entity tags

static const char *etag_of(const struct rest_plan *plan, int64_t n_rows, struct cc_slice body, struct cc_arena *arena)
{
    bool is_array = plan->facts.format == REST_FORMAT_ARRAY;
    bool has_tag = n_rows == 1 && (is_array || plan->facts.format == REST_FORMAT_OBJECT) && body.data != NULL;
    return has_tag ? rest_etag_of_body(body, is_array, arena) : NULL;
}

// RFC 9110, 13.2.2: If-Match before If-None-Match.
static void apply_preconditions(const struct rest_plan *plan, int64_t n_rows, struct cc_slice head_hash, struct cc_arena *arena,
                                struct rest_reply *reply)
{
    if (plan->facts.action != REST_ACTION_READ || reply->status >= 300) {
        return;
    }
    const char *tag = !plan->facts.head        ? etag_of(plan, n_rows, reply->body, arena)
                      : head_hash.data == NULL ? NULL
                                               : rest_etag_of_hash(head_hash, plan->facts.format == REST_FORMAT_ARRAY, arena);
    bool exists = n_rows > 0;
    struct cc_slice if_match = plan->facts.if_match;
    if (if_match.data != NULL && !(rest_etag_is_star(if_match) ? exists : rest_etag_listed(if_match, tag, false))) {
        refuse_with(REST_PRECONDITION, "The row is not as the request expects it to be", NULL, arena, reply);
        return;
    }
    if (tag != NULL) {
        rest_reply_add_header(reply, arena, "ETag", tag);
    }
    if (plan->facts.if_none_match.data != NULL && exists && rest_etag_listed(plan->facts.if_none_match, tag, true)) {
        reply->status = 304;
        reply->body = (struct cc_slice){0};
    }
}

void rest_reply_explained(const struct rest_plan *plan, struct cc_slice text, struct cc_arena *arena,
                          struct rest_reply *reply_out)
{
    *reply_out = (struct rest_reply){.status = 200, .body = cc_arena_slice(arena, text)};
    rest_reply_add_header(reply_out, arena, "Content-Type", plan->facts.plan_type);
    add_common_headers(plan, reply_out, arena);
}

// The first "Plan Rows" of an EXPLAIN in JSON is that of the whole plan; quotes inside of its strings are escaped.
static bool read_estimate(struct cc_slice text, int64_t *out)
{
    static const char key[] = "\"Plan Rows\":";
    const uint8_t *at = text.n == 0 ? NULL : memmem(text.data, text.n, key, sizeof(key) - 1);
    if (at == NULL) {
        return false;
    }
    at += sizeof(key) - 1;
    struct cc_slice rest = rest_text_trim(cc_slice_of(at, (size_t)(text.data + text.n - at)));
    *out = integer_of(rest);
    return true;
}

// The number of rows without the page: counted, or what PostgreSQL's planner thinks.
static bool read_total(const struct rest_plan *plan, const struct rest_read_result *result, int64_t *total_out)
{
    bool counted = result->total.data != NULL;
    int64_t estimate = 0;
    *total_out = counted ? integer_of(result->total) : 0;
    bool enough = counted && (uint64_t)*total_out <= plan->facts.estimate_above;
    if (!enough && read_estimate(result->estimate, &estimate)) {
        *total_out = estimate > *total_out ? estimate : *total_out;
        counted = true;
    }
    return counted;
}

// A row that comes as it is becomes the list that holds only it.
static struct cc_slice list_of(struct cc_slice row, struct cc_arena *arena)
{
    uint8_t *list = cc_arena_array(arena, row.n + 3, 1);
    list[0] = '[';
    if (row.n > 0) {
        memcpy(list + 1, row.data, row.n);
    }
    list[row.n + 1] = ']';
    return cc_slice_of(list, row.n + 2);
}

void rest_reply_read(const struct rest_plan *plan, const struct rest_read_result *result, struct cc_arena *arena,
                     struct rest_reply *reply_out)
{
    bool is_row = result->page.data == NULL;
    int64_t page = is_row ? result->body.data != NULL : integer_of(result->page);
    struct cc_slice body = is_row && plan->facts.format == REST_FORMAT_ARRAY ? list_of(result->body, arena) : result->body;
    int64_t total = 0;
    bool counted = read_total(plan, result, &total);
    bool is_estimate = plan->estimate.sql.data != NULL;
    total = is_estimate && page > 0 && total < plan->facts.offset + page ? plan->facts.offset + page : total;
    if (is_refused_by_count(plan, page, arena, reply_out)) {
        return;
    }
    if (counted && plan->facts.offset > total && !is_estimate) {
        reply_past_end(plan, total, arena, reply_out);
        return;
    }
    struct rest_reply reply = {.status = counted && page < total ? 206 : 200};
    if (plan->facts.returns_void) {
        reply.status = 204;
    } else {
        add_content_type(plan, &reply, arena);
    }
    rest_reply_add_header(&reply, arena, "Content-Range", range_of(plan->facts.offset, page, counted, total, arena));
    if (plan->facts.content_location != NULL) {
        rest_reply_add_header(&reply, arena, "Content-Location", plan->facts.content_location);
    }
    add_common_headers(plan, &reply, arena);
    if (plan->facts.wants_body) {
        reply.body = body_of(plan, body, arena);
    }
    apply_preconditions(plan, page, body, arena, &reply);
    apply_function_settings(result, arena, &reply);
    *reply_out = reply;
}

// ---- writes

static struct cc_slice take_line(struct cc_slice *text)
{
    const uint8_t *end = text->n == 0 ? NULL : memchr(text->data, '\n', text->n);
    struct cc_slice line = end == NULL ? *text : cc_slice_of(text->data, (size_t)(end - text->data));
    size_t skip = end == NULL ? text->n : line.n + 1;
    *text = cc_slice_of(text->data + skip, text->n - skip);
    return line;
}

static struct cc_slice or_null(struct cc_slice line)
{
    return line.n == 0 ? (struct cc_slice){0} : line;
}

// The lines that plan_call.c writes: page, total, status, headers, then the body.
static void read_call(struct cc_slice body, struct rest_read_result *result_out)
{
    struct cc_slice rest = body;
    struct rest_read_result result = {0};
    result.page = take_line(&rest);
    result.total = or_null(take_line(&rest));
    result.status = or_null(take_line(&rest));
    result.headers = or_null(take_line(&rest));
    result.body = rest;
    *result_out = result;
}

static void reply_call(const struct rest_plan *plan, const struct rest_outcome *outcome, struct cc_arena *arena,
                       struct rest_reply *reply_out)
{
    struct rest_read_result result;
    read_call(outcome->body, &result);
    rest_reply_read(plan, &result, arena, reply_out);
}

void rest_reply_add_said(struct cc_slice body, struct cc_arena *arena, struct rest_reply *reply)
{
    struct rest_read_result result;
    read_call(body, &result);
    apply_function_settings(&result, arena, reply);
}

uint64_t rest_call_rows(struct cc_slice body)
{
    int64_t n = integer_of(take_line(&body));
    return n < 0 ? 0 : (uint64_t)n;
}

static bool is_merge_without_insert(const struct rest_plan *plan, const struct rest_outcome *outcome)
{
    return plan->facts.applied.resolution == REST_RESOLUTION_MERGE && outcome->n_inserted == 0;
}

static int write_status(const struct rest_plan *plan, const struct rest_outcome *outcome)
{
    switch (plan->facts.action) {
    case REST_ACTION_INSERT:
        return is_merge_without_insert(plan, outcome) ? 200 : 201;
    case REST_ACTION_PUT:
        return !plan->facts.wants_body ? 204 : outcome->n_inserted > 0 ? 201 : 200;
    case REST_ACTION_UPDATE:
    case REST_ACTION_DELETE:
        return plan->facts.wants_body ? 200 : 204;
    case REST_ACTION_READ:
    case REST_ACTION_CALL:
        return 200;
    }
    return 200;
}

static void add_write_range(const struct rest_plan *plan, const struct rest_outcome *outcome, struct rest_reply *reply,
                            struct cc_arena *arena)
{
    bool counted = plan->facts.applied.count != REST_COUNT_NONE;
    bool by_position = plan->facts.action == REST_ACTION_UPDATE;
    if (plan->facts.action == REST_ACTION_PUT) {
        return;
    }
    int64_t n = (int64_t)outcome->n_rows;
    rest_reply_add_header(reply, arena, "Content-Range", range_of(0, by_position ? n : 0, counted, n, arena));
}

// ["key text", ...] of the one row as /relation?key=eq.text&...
static void add_location(const struct rest_plan *plan, struct cc_slice keys, struct rest_reply *reply,
                         struct cc_arena *arena)
{
    struct rest_json json;
    const char *reason = NULL;
    uint32_t n = 0;
    struct rest_json_value *values = NULL;
    if (rest_json_scan(keys, arena, &json, &reason) != CC_OK || json.value.kind != REST_JSON_ARRAY) {
        return;
    }
    rest_json_elements(&json.value, arena, &n, &values);
    struct cc_buffer out = {0};
    cc_buffer_printf(&out, "/%s", plan->facts.relation);
    for (uint32_t i = 0; i < n && i < plan->facts.n_location_keys; i++) {
        bool is_null = values[i].kind == REST_JSON_NULL;
        cc_buffer_printf(&out, "%s%s=%s", i == 0 ? "?" : "&", plan->facts.location_keys[i], is_null ? "is.null" : "eq.");
        rest_percent_encode(&out, rest_json_text(&values[i], arena));
    }
    rest_reply_add_header(reply, arena, "Location", (const char *)take_buffer(&out, arena).data);
}

static void add_write_body(const struct rest_plan *plan, const struct rest_outcome *outcome, struct rest_reply *reply,
                           struct cc_arena *arena)
{
    enum rest_format format = plan->facts.format;
    add_content_type(plan, reply, arena);
    bool is_empty_list = outcome->body.n == 0 && !is_object(format) && format != REST_FORMAT_CSV;
    reply->body = body_of(plan, is_empty_list ? cc_slice_text("[]") : outcome->body, arena);
    const char *tag = plan->facts.action == REST_ACTION_DELETE
                          ? NULL
                          : etag_of(plan, (int64_t)outcome->n_rows, reply->body, arena);
    if (tag != NULL) {
        rest_reply_add_header(reply, arena, "ETag", tag);
    }
}

static void reply_done(const struct rest_plan *plan, const struct rest_outcome *outcome, struct cc_arena *arena,
                       struct rest_reply *reply_out)
{
    struct rest_reply reply = {.status = write_status(plan, outcome)};
    add_write_range(plan, outcome, &reply, arena);
    bool names_row =
        plan->facts.action == REST_ACTION_INSERT && plan->facts.applied.representation == REST_RETURN_HEADERS_ONLY;
    if (names_row && outcome->n_rows == 1 && outcome->body.n > 0) {
        add_location(plan, outcome->body, &reply, arena);
    }
    add_common_headers(plan, &reply, arena);
    if (plan->facts.wants_body) {
        add_write_body(plan, outcome, &reply, arena);
    } else if (reply.status == 201 || reply.status == 200) {
        reply.body = cc_slice_of("", 0);
    }
    *reply_out = reply;
}

static int refused_status(enum cc_status status)
{
    switch (status) {
    case CC_MALFORMED:
        return 400;
    case CC_EXISTS:
        return 409;
    case CC_TOO_LARGE:
        return 413;
    case CC_INVALID:
        return 422;
    case CC_UNKNOWN_OUTCOME:
        return 504;
    case CC_NOT_FOUND:
    case CC_TIMEOUT:
    case CC_NOT_LEADER:
    case CC_UNAVAILABLE:
    case CC_STALE:
    case CC_CLOCK_SKEW:
        return 503;
    case CC_NO_SPACE:
        return 507;
    case CC_UNSUPPORTED:
        return 501;
    case CC_OK:
    case CC_CORRUPT:
    case CC_IO:
    case CC_REFUSED:
    case CC_STATUS_COUNT:
        return 500;
    }
    return 500;
}

static void reply_refused(const struct rest_outcome *outcome, int status, const char *code, const char *message,
                          struct cc_arena *arena, struct rest_reply *reply_out)
{
    struct rest_error error = {
        .code = outcome->code, .message = outcome->message, .details = outcome->details, .hint = outcome->hint};
    if (error.code.data == NULL) {
        error.code = cc_slice_text(code);
    }
    if (error.message.data == NULL) {
        error.message = cc_slice_text(message);
    }
    rest_reply_refuse(&error, status, arena, reply_out);
}

void rest_reply_write(const struct rest_plan *plan, const struct rest_outcome *outcome, struct cc_arena *arena,
                      struct rest_reply *reply_out)
{
    switch (outcome->kind) {
    case REST_DONE:
        if (plan->facts.action == REST_ACTION_CALL) {
            reply_call(plan, outcome, arena, reply_out);
        } else {
            reply_done(plan, outcome, arena, reply_out);
        }
        return;
    case REST_FAILED:
        rest_reply_failed(plan, outcome->code, outcome->message, outcome->details, outcome->hint, arena, reply_out);
        return;
    case REST_REFUSED:
        reply_refused(outcome, refused_status(outcome->status), "CC201", cc_status_text(outcome->status), arena,
                      reply_out);
        return;
    case REST_UNKNOWN:
        reply_refused(outcome, 504, "CC203", "It is not known whether the write took effect", arena, reply_out);
        return;
    }
}

// ---- outcomes of the executor's checks

static void make_failed(enum rest_error_code code, const char *message, const char *details,
                        struct rest_outcome *outcome_out)
{
    *outcome_out = (struct rest_outcome){
        .kind = REST_FAILED,
        .code = cc_slice_text(rest_error_code_text(code)),
        .message = cc_slice_text(message),
        .details = cc_slice_text(details),
    };
}

bool rest_outcome_check(const struct rest_statement *statement, uint64_t n_rows, uint64_t n_inserted,
                        struct cc_arena *arena, struct rest_outcome *outcome_out)
{
    bool inserts = statement->kind == REST_UPSERT && n_inserted > 0;
    if (statement->precondition && (n_rows != 1 || inserts)) {
        make_failed(REST_PRECONDITION, "The row is not as the request expects it to be",
                    "Its representation differs from the If-Match header, or whether it exists from If-None-Match.",
                    outcome_out);
        outcome_out->hint = cc_slice_text("Read the row again, with the same select, and decide anew");
        return false;
    }
    if (statement->single && n_rows != 1) {
        make_failed(REST_SINGULAR, "Cannot coerce the result to a single JSON object",
                    cc_arena_printf(arena, "The result contains %llu rows", (unsigned long long)n_rows), outcome_out);
        return false;
    }
    if (n_rows > statement->rows_max) {
        make_failed(REST_MAX_AFFECTED, "Query result exceeds max-affected preference constraint",
                    cc_arena_printf(arena, "The query affects %llu rows", (unsigned long long)n_rows), outcome_out);
        return false;
    }
    return true;
}
