// The request gate: a byte-driven state machine over one HTTP/1.1 connection.
#include "rest/http_gate.h"

#include "base/memory.h"
#include "rest/character.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// Each state takes a run of bytes. A refusal leads from every state to REFUSED.
//
//   METHOD -> TARGET -> VERSION -> LINE_LF -> FIELD -> NAME -> VALUE -> VALUE_LF -> FIELD (next header)
//                                               |
//                                               v (CR)
//             +----------- no body ---------- HEAD_LF -- chunked --> SIZE -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF
//             |                                  |                    ^         |                             |
//             |                                  v length             |         | size 0                      |
//             |                                BODY                   +---------|-----------------------------+
//             v                                  |                              v
//          COMPLETE <----------------------------+---------------- LAST_LF <- LAST_CR
//             |
//             +-> METHOD (http_gate_next)
enum gate_state {
    GATE_METHOD,
    GATE_TARGET,
    GATE_VERSION,
    GATE_LINE_LF,
    GATE_FIELD,
    GATE_NAME,
    GATE_VALUE,
    GATE_VALUE_LF,
    GATE_HEAD_LF,
    GATE_BODY,
    GATE_SIZE,
    GATE_SIZE_LF,
    GATE_DATA,
    GATE_DATA_CR,
    GATE_DATA_LF,
    GATE_LAST_CR,
    GATE_LAST_LF,
    GATE_COMPLETE,
    GATE_REFUSED,
    GATE_STATES
};

static const unsigned gate_next[GATE_STATES] = {
    // row: now; bits: what may come next, besides REFUSED
    [GATE_METHOD] = 1u << GATE_TARGET,
    [GATE_TARGET] = 1u << GATE_VERSION,
    [GATE_VERSION] = 1u << GATE_LINE_LF,
    [GATE_LINE_LF] = 1u << GATE_FIELD,
    [GATE_FIELD] = 1u << GATE_NAME | 1u << GATE_HEAD_LF,
    [GATE_NAME] = 1u << GATE_VALUE,
    [GATE_VALUE] = 1u << GATE_VALUE_LF,
    [GATE_VALUE_LF] = 1u << GATE_FIELD,
    [GATE_HEAD_LF] = 1u << GATE_BODY | 1u << GATE_SIZE | 1u << GATE_COMPLETE,
    [GATE_BODY] = 1u << GATE_COMPLETE,
    [GATE_SIZE] = 1u << GATE_SIZE_LF,
    [GATE_SIZE_LF] = 1u << GATE_DATA | 1u << GATE_LAST_CR,
    [GATE_DATA] = 1u << GATE_DATA_CR,
    [GATE_DATA_CR] = 1u << GATE_DATA_LF,
    [GATE_DATA_LF] = 1u << GATE_SIZE,
    [GATE_LAST_CR] = 1u << GATE_LAST_LF,
    [GATE_LAST_LF] = 1u << GATE_COMPLETE,
    [GATE_COMPLETE] = 1u << GATE_METHOD,
    [GATE_REFUSED] = 0,
};

enum {
    METHOD_BYTES_MAX = 20, // longer ones are not even an unknown method
    CHUNK_DIGITS_MAX = 8,
    LENGTH_DIGITS_MAX = 18, // fits into 64 bits
    KEPT_BODY_BYTES_MAX = 64 << 10,
};

static const char version_text[] = "HTTP/1.1";

struct gate_span { // a place in gate->head, which may move while it grows
    size_t begin, end;
};

struct gate_field {
    struct gate_span name, value;
};

struct http_gate {
    struct http_limits limits;
    enum gate_state state;
    enum http_refusal refusal;
    struct cc_buffer head; // request line and headers without separators and line ends
    struct cc_buffer body;
    struct gate_span method, target;
    struct gate_field *fields;
    struct rest_header *headers; // the fields as slices, made when the head is complete
    size_t n_fields;
    size_t n_header_bytes; // counted as sent
    size_t n_version_bytes;
    size_t n_chunk_digits;
    uint64_t n_body_left; // of the body or of the chunk
    enum http_method method_code;
    bool began;
    bool close;
    bool wants_continue;
};

unsigned http_refusal_status(enum http_refusal refusal)
{
    static const unsigned statuses[HTTP_REFUSAL_COUNT] = {
#define HTTP_REFUSAL_STATUS(name, code, status, text) [name] = status,
        HTTP_REFUSALS(HTTP_REFUSAL_STATUS)
#undef HTTP_REFUSAL_STATUS
    };
    assert(refusal < HTTP_REFUSAL_COUNT);
    return statuses[refusal];
}

const char *http_refusal_code(enum http_refusal refusal)
{
    static const char *const codes[HTTP_REFUSAL_COUNT] = {
#define HTTP_REFUSAL_CODE(name, code, status, text) [name] = code,
        HTTP_REFUSALS(HTTP_REFUSAL_CODE)
#undef HTTP_REFUSAL_CODE
    };
    assert(refusal < HTTP_REFUSAL_COUNT);
    return codes[refusal];
}

const char *http_refusal_text(enum http_refusal refusal)
{
    static const char *const texts[HTTP_REFUSAL_COUNT] = {
#define HTTP_REFUSAL_TEXT(name, code, status, text) [name] = text,
        HTTP_REFUSALS(HTTP_REFUSAL_TEXT)
#undef HTTP_REFUSAL_TEXT
    };
    assert(refusal < HTTP_REFUSAL_COUNT);
    return texts[refusal];
}

struct http_limits http_limits_default(void)
{
    return (struct http_limits){
        .target_bytes_max = CC_URI_BYTES_MAX,
        .header_bytes_max = CC_HEADER_BYTES_MAX,
        .headers_max = CC_HEADERS_MAX,
        .body_bytes_max = CC_BODY_BYTES_MAX,
    };
}

// --- bytes

enum byte_class { BYTE_TOKEN = 1, BYTE_TARGET = 2, BYTE_VALUE = 4 };

static unsigned classes_of(unsigned char c)
{
    unsigned classes = 0;
    if (rest_is_token_byte(c)) {
        classes |= BYTE_TOKEN;
    }
    // Stricter would be RFC 3986; but people type {, ", | and UTF-8 into curl, and no parser of ours reads them differently.
    if (c > ' ' && c != 0x7f && c != '#') {
        classes |= BYTE_TARGET;
    }
    if ((c >= ' ' && c != 0x7f) || c == '\t') {
        classes |= BYTE_VALUE;
    }
    return classes;
}

struct byte_table {
    uint8_t classes[256];
};

static const uint8_t *byte_classes(void)
{
    static _Thread_local struct byte_table table;
    static _Thread_local bool ready;
    if (!ready) {
        for (unsigned c = 0; c < 256; c++) {
            table.classes[c] = (uint8_t)classes_of((unsigned char)c);
        }
        ready = true;
    }
    return table.classes;
}

// Length of the run of bytes of that class.
static size_t run_of(enum byte_class class, const uint8_t *data, size_t n)
{
    const uint8_t *classes = byte_classes();
    size_t i = 0;
    while (i < n && (classes[data[i]] & class) != 0) {
        i++;
    }
    return i;
}

// --- moves

static void move(struct http_gate *gate, enum gate_state next)
{
    assert((gate_next[gate->state] & 1u << next) != 0);
    gate->state = next;
}

// Every refusal takes no byte of its own: 0 is returned for the callers' sake.
static size_t refuse(struct http_gate *gate, enum http_refusal refusal)
{
    gate->state = GATE_REFUSED;
    gate->refusal = refusal;
    return 0;
}

static struct cc_slice span_slice(const struct http_gate *gate, struct gate_span span)
{
    assert(span.begin <= span.end && span.end <= gate->head.n);
    return cc_slice_of(gate->head.data + span.begin, span.end - span.begin);
}

// --- request line

static bool known_method(struct cc_slice text, enum http_method *method_out)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET",     [HTTP_HEAD] = "HEAD",     [HTTP_POST] = "POST",       [HTTP_PUT] = "PUT",
        [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (cc_slice_equal_text(text, names[i])) {
            *method_out = (enum http_method)i;
            return true;
        }
    }
    return false;
}

static size_t take_method(struct http_gate *gate, const uint8_t *data, size_t n)
{
    size_t run = run_of(BYTE_TOKEN, data, n);
    if (gate->head.n + run > METHOD_BYTES_MAX) {
        return refuse(gate, HTTP_BAD_REQUEST_LINE);
    }
    cc_buffer_append(&gate->head, data, run);
    if (run == n) {
        return run;
    }
    if (data[run] != ' ' || gate->head.n == 0) {
        return refuse(gate, HTTP_BAD_REQUEST_LINE);
    }
    gate->method = (struct gate_span){0, gate->head.n};
    if (!known_method(span_slice(gate, gate->method), &gate->method_code)) {
        return refuse(gate, HTTP_UNKNOWN_METHOD);
    }
    gate->target.begin = gate->head.n;
    move(gate, GATE_TARGET);
    return run + 1;
}

static bool has_encoded_nul(struct cc_slice target)
{
    return target.n >= 3 && memmem(target.data, target.n, "%00", 3) != NULL;
}

static size_t take_target(struct http_gate *gate, const uint8_t *data, size_t n)
{
    size_t n_before = gate->head.n - gate->target.begin;
    if (n_before == 0 && data[0] != '/') {
        return refuse(gate, HTTP_BAD_TARGET);
    }
    size_t run = run_of(BYTE_TARGET, data, n);
    if (n_before + run > gate->limits.target_bytes_max) {
        return refuse(gate, HTTP_TARGET_TOO_LONG);
    }
    cc_buffer_append(&gate->head, data, run);
    if (run == n) {
        return run;
    }
    if (data[run] == '\r' || data[run] == '\n') {
        return refuse(gate, HTTP_BAD_REQUEST_LINE); // HTTP/0.9 had no version
    }
    if (data[run] != ' ') {
        return refuse(gate, HTTP_BAD_TARGET);
    }
    gate->target.end = gate->head.n;
    if (has_encoded_nul(span_slice(gate, gate->target))) {
        return refuse(gate, HTTP_NUL_IN_TARGET);
    }
    move(gate, GATE_VERSION);
    return run + 1;
}

static size_t take_version(struct http_gate *gate, const uint8_t *data, size_t n)
{
    const size_t n_version = sizeof(version_text) - 1;
    for (size_t i = 0; i < n; i++) {
        if (gate->n_version_bytes == n_version) {
            if (data[i] == '\r') {
                move(gate, GATE_LINE_LF);
                return i + 1;
            }
            return refuse(gate, data[i] == '\n' ? HTTP_BAD_LINE_END : HTTP_BAD_REQUEST_LINE);
        }
        if (data[i] != (uint8_t)version_text[gate->n_version_bytes]) {
            bool other_number = gate->n_version_bytes >= 5 && data[i] >= '0' && data[i] <= '9';
            return refuse(gate, other_number ? HTTP_BAD_VERSION : HTTP_BAD_REQUEST_LINE);
        }
        gate->n_version_bytes++;
    }
    return n;
}

// --- headers

static size_t take_line_feed(struct http_gate *gate, const uint8_t *data, enum gate_state next)
{
    if (data[0] != '\n') {
        return refuse(gate, HTTP_BAD_LINE_END);
    }
    move(gate, next);
    return 1;
}

static bool count_header_bytes(struct http_gate *gate, size_t n)
{
    gate->n_header_bytes += n;
    return gate->n_header_bytes <= gate->limits.header_bytes_max;
}

static size_t take_field(struct http_gate *gate, const uint8_t *data)
{
    if (data[0] == '\r') {
        move(gate, GATE_HEAD_LF);
        return 1;
    }
    if (data[0] == '\n') {
        return refuse(gate, HTTP_BAD_LINE_END);
    }
    if (data[0] == ' ' || data[0] == '\t') {
        return refuse(gate, HTTP_FOLDED_HEADER);
    }
    if (gate->n_fields == gate->limits.headers_max) {
        return refuse(gate, HTTP_TOO_MANY_HEADERS);
    }
    gate->fields[gate->n_fields].name.begin = gate->head.n;
    move(gate, GATE_NAME);
    return 0;
}

static size_t take_name(struct http_gate *gate, const uint8_t *data, size_t n)
{
    struct gate_field *field = &gate->fields[gate->n_fields];
    size_t run = run_of(BYTE_TOKEN, data, n);
    if (!count_header_bytes(gate, run)) {
        return refuse(gate, HTTP_HEADERS_TOO_LARGE);
    }
    cc_buffer_append(&gate->head, data, run);
    if (run == n) {
        return run;
    }
    if (data[run] != ':' || gate->head.n == field->name.begin) {
        return refuse(gate, HTTP_BAD_HEADER_NAME);
    }
    if (!count_header_bytes(gate, 1)) {
        return refuse(gate, HTTP_HEADERS_TOO_LARGE);
    }
    field->name.end = gate->head.n;
    field->value.begin = gate->head.n;
    move(gate, GATE_VALUE);
    return run + 1;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static void trim_value(const struct http_gate *gate, struct gate_span *value)
{
    while (value->begin < value->end && is_blank(gate->head.data[value->begin])) {
        value->begin++;
    }
    while (value->end > value->begin && is_blank(gate->head.data[value->end - 1])) {
        value->end--;
    }
}

static size_t take_value(struct http_gate *gate, const uint8_t *data, size_t n)
{
    size_t run = run_of(BYTE_VALUE, data, n);
    if (!count_header_bytes(gate, run)) {
        return refuse(gate, HTTP_HEADERS_TOO_LARGE);
    }
    cc_buffer_append(&gate->head, data, run);
    if (run == n) {
        return run;
    }
    if (data[run] != '\r') {
        return refuse(gate, data[run] == '\n' ? HTTP_BAD_LINE_END : HTTP_BAD_HEADER_VALUE);
    }
    if (!count_header_bytes(gate, 2)) {
        return refuse(gate, HTTP_HEADERS_TOO_LARGE);
    }
    struct gate_field *field = &gate->fields[gate->n_fields++];
    field->value.end = gate->head.n;
    trim_value(gate, &field->value);
    move(gate, GATE_VALUE_LF);
    return run + 1;
}

// --- what the headers say together

// These decide about framing or identity: two of them would let two readers disagree.
static const char *const single_headers[] = {
    "Host",          "Content-Length",  "Transfer-Encoding", "Content-Type",   "Content-Encoding", "Expect",
    "Authorization", "Idempotency-Key", "Caucus-Session",    "Accept-Profile", "Content-Profile",  "Range",
};

static bool first_single(struct http_gate *gate, const char *name, struct cc_slice *value_out)
{
    struct cc_slice found = {0};
    size_t n_name = strlen(name); // once, not for each header
    for (size_t i = 0; i < gate->n_fields; i++) {
        if (gate->headers[i].name.n != n_name || !cc_slice_starts_with_fold(gate->headers[i].name, name)) {
            continue;
        }
        if (found.data != NULL) {
            return false;
        }
        found = gate->headers[i].value;
    }
    *value_out = found;
    return true;
}

// Also the letters that name an IPv6 address or carry a port; nothing that could start a path, a user or a second host.
static bool is_host(struct cc_slice host)
{
    for (size_t i = 0; i < host.n; i++) {
        unsigned char c = host.data[i];
        bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && (c == '\0' || strchr("-._~%:[]", c) == NULL)) {
            return false;
        }
    }
    return host.n > 0;
}

static bool parse_length(struct cc_slice text, uint64_t *length_out)
{
    uint64_t length = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        length = i < LENGTH_DIGITS_MAX ? length * 10 + (uint64_t)(text.data[i] - '0') : UINT64_MAX;
    }
    *length_out = length;
    return text.n > 0;
}

// "close" among the comma-separated words of Connection.
static bool says_close(struct cc_slice value)
{
    size_t begin = 0;
    for (size_t i = 0; i <= value.n; i++) {
        if (i < value.n && value.data[i] != ',') {
            continue;
        }
        struct cc_slice word = cc_slice_of(value.data + begin, i - begin);
        if (cc_slice_equal_fold(rest_text_trim(word), "close")) {
            return true;
        }
        begin = i + 1;
    }
    return false;
}

static void make_headers(struct http_gate *gate)
{
    gate->close = false;
    for (size_t i = 0; i < gate->n_fields; i++) {
        struct rest_header *header = &gate->headers[i];
        header->name = span_slice(gate, gate->fields[i].name);
        header->value = span_slice(gate, gate->fields[i].value);
        if (cc_slice_equal_fold(header->name, "Connection") && says_close(header->value)) {
            gate->close = true;
        }
    }
}

static void begin_body(struct http_gate *gate, struct cc_slice length_text, bool chunked)
{
    if (chunked) {
        move(gate, GATE_SIZE);
        return;
    }
    uint64_t length = 0;
    if (length_text.data != NULL && !parse_length(length_text, &length)) {
        refuse(gate, HTTP_BAD_LENGTH);
        return;
    }
    if (length > gate->limits.body_bytes_max) {
        refuse(gate, HTTP_BODY_TOO_LARGE);
        return;
    }
    gate->n_body_left = length;
    move(gate, length == 0 ? GATE_COMPLETE : GATE_BODY);
}

// The head is complete: all rules that concern several headers, then how the body is framed.
static void finish_head(struct http_gate *gate)
{
    make_headers(gate);
    struct cc_slice value;
    for (size_t i = 0; i < sizeof(single_headers) / sizeof(single_headers[0]); i++) {
        if (!first_single(gate, single_headers[i], &value)) {
            refuse(gate, i == 0 ? HTTP_BAD_HOST : HTTP_REPEATED_HEADER);
            return;
        }
    }
    struct cc_slice host, length, encoding, expect;
    bool single = first_single(gate, "Host", &host) && first_single(gate, "Content-Length", &length) &&
                  first_single(gate, "Transfer-Encoding", &encoding) && first_single(gate, "Expect", &expect);
    assert(single);
    if (!is_host(host)) {
        refuse(gate, HTTP_BAD_HOST);
        return;
    }
    if (encoding.data != NULL && length.data != NULL) {
        refuse(gate, HTTP_TWO_FRAMINGS);
        return;
    }
    if (encoding.data != NULL && !cc_slice_equal_fold(encoding, "chunked")) {
        refuse(gate, HTTP_BAD_TRANSFER_ENCODING);
        return;
    }
    if (expect.data != NULL && !cc_slice_equal_fold(expect, "100-continue")) {
        refuse(gate, HTTP_BAD_EXPECTATION);
        return;
    }
    gate->wants_continue = expect.data != NULL;
    begin_body(gate, length, encoding.data != NULL);
}

static size_t take_head_end(struct http_gate *gate, const uint8_t *data)
{
    if (data[0] != '\n') {
        return refuse(gate, HTTP_BAD_LINE_END);
    }
    finish_head(gate);
    return 1;
}

// --- body

static size_t take_bytes(struct http_gate *gate, const uint8_t *data, size_t n, enum gate_state next)
{
    size_t n_now = n < gate->n_body_left ? n : (size_t)gate->n_body_left;
    cc_buffer_append(&gate->body, data, n_now);
    gate->n_body_left -= n_now;
    if (gate->n_body_left == 0) {
        move(gate, next);
    }
    return n_now;
}

static size_t take_chunk_size(struct http_gate *gate, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\r' && gate->n_chunk_digits > 0) {
            gate->n_chunk_digits = 0;
            move(gate, GATE_SIZE_LF);
            return i + 1;
        }
        int digit = rest_hex_digit(data[i]);
        if (digit < 0 || gate->n_chunk_digits == CHUNK_DIGITS_MAX) {
            return refuse(gate, HTTP_BAD_CHUNK);
        }
        gate->n_body_left = gate->n_body_left << 4 | (uint64_t)digit;
        gate->n_chunk_digits++;
    }
    return n;
}

static size_t take_chunk_size_end(struct http_gate *gate, const uint8_t *data)
{
    if (data[0] != '\n') {
        return refuse(gate, HTTP_BAD_CHUNK);
    }
    if (gate->n_body_left > gate->limits.body_bytes_max - gate->body.n) {
        return refuse(gate, HTTP_BODY_TOO_LARGE);
    }
    move(gate, gate->n_body_left == 0 ? GATE_LAST_CR : GATE_DATA);
    return 1;
}

static size_t take_byte(struct http_gate *gate, uint8_t is, uint8_t must_be, enum gate_state next,
                        enum http_refusal refusal)
{
    if (is != must_be) {
        return refuse(gate, refusal);
    }
    move(gate, next);
    return 1;
}

// --- the machine

static size_t take(struct http_gate *gate, const uint8_t *data, size_t n)
{
    assert(n > 0);
    switch (gate->state) {
    case GATE_METHOD:
        return take_method(gate, data, n);
    case GATE_TARGET:
        return take_target(gate, data, n);
    case GATE_VERSION:
        return take_version(gate, data, n);
    case GATE_LINE_LF:
        return take_line_feed(gate, data, GATE_FIELD);
    case GATE_FIELD:
        return take_field(gate, data);
    case GATE_NAME:
        return take_name(gate, data, n);
    case GATE_VALUE:
        return take_value(gate, data, n);
    case GATE_VALUE_LF:
        return take_line_feed(gate, data, GATE_FIELD);
    case GATE_HEAD_LF:
        return take_head_end(gate, data);
    case GATE_BODY:
        return take_bytes(gate, data, n, GATE_COMPLETE);
    case GATE_SIZE:
        return take_chunk_size(gate, data, n);
    case GATE_SIZE_LF:
        return take_chunk_size_end(gate, data);
    case GATE_DATA:
        return take_bytes(gate, data, n, GATE_DATA_CR);
    case GATE_DATA_CR:
        return take_byte(gate, data[0], '\r', GATE_DATA_LF, HTTP_BAD_CHUNK);
    case GATE_DATA_LF:
        return take_byte(gate, data[0], '\n', GATE_SIZE, HTTP_BAD_CHUNK);
    case GATE_LAST_CR:
        return take_byte(gate, data[0], '\r', GATE_LAST_LF, HTTP_TRAILER);
    case GATE_LAST_LF:
        return take_byte(gate, data[0], '\n', GATE_COMPLETE, HTTP_BAD_CHUNK);
    case GATE_COMPLETE:
    case GATE_REFUSED:
    case GATE_STATES:
        break;
    }
    return 0;
}

struct http_gate *http_gate_create(const struct http_limits *limits)
{
    struct http_gate *gate = cc_alloc(sizeof(*gate));
    gate->limits = *limits;
    gate->fields = cc_alloc_array(limits->headers_max + 1, sizeof(*gate->fields));
    gate->headers = cc_alloc_array(limits->headers_max + 1, sizeof(*gate->headers));
    return gate;
}

void http_gate_destroy(struct http_gate *gate)
{
    if (gate == NULL) {
        return;
    }
    cc_buffer_finish(&gate->head);
    cc_buffer_finish(&gate->body);
    free(gate->fields);
    free(gate->headers);
    free(gate);
}

enum http_verdict http_gate_feed(struct http_gate *gate, const void *data, size_t n, size_t *n_taken_out)
{
    const uint8_t *bytes = data;
    size_t n_taken = 0;
    while (n_taken < n && gate->state != GATE_COMPLETE && gate->state != GATE_REFUSED) {
        gate->began = true;
        n_taken += take(gate, bytes + n_taken, n - n_taken);
    }
    *n_taken_out = n_taken;
    if (gate->state == GATE_COMPLETE) {
        return HTTP_COMPLETE;
    }
    return gate->state == GATE_REFUSED ? HTTP_REFUSED : HTTP_MORE;
}

struct http_request http_gate_request(const struct http_gate *gate)
{
    assert(gate->state == GATE_COMPLETE);
    struct http_request request = {
        .method = gate->method_code,
        .method_text = span_slice(gate, gate->method),
        .target = span_slice(gate, gate->target),
        .body = cc_buffer_slice(&gate->body),
        .headers = gate->headers,
        .n_headers = gate->n_fields,
        .close = gate->close,
    };
    request.path = request.target;
    const uint8_t *mark = memchr(request.target.data, '?', request.target.n);
    if (mark != NULL) {
        request.path.n = (size_t)(mark - request.target.data);
        request.query = cc_slice_of(mark + 1, request.target.n - request.path.n - 1);
    }
    return request;
}

void http_gate_next(struct http_gate *gate)
{
    assert(gate->state == GATE_COMPLETE);
    move(gate, GATE_METHOD);
    cc_buffer_clear(&gate->head);
    if (gate->body.capacity > KEPT_BODY_BYTES_MAX) {
        cc_buffer_finish(&gate->body);
    }
    cc_buffer_clear(&gate->body);
    gate->n_fields = 0;
    gate->n_header_bytes = 0;
    gate->n_version_bytes = 0;
    gate->n_chunk_digits = 0;
    gate->n_body_left = 0;
    gate->began = false;
    gate->close = false;
    gate->wants_continue = false;
}

enum http_refusal http_gate_refusal(const struct http_gate *gate)
{
    assert(gate->state == GATE_REFUSED);
    return gate->refusal;
}

bool http_gate_is_between_requests(const struct http_gate *gate)
{
    return !gate->began;
}

bool http_gate_is_in_body(const struct http_gate *gate)
{
    return gate->state > GATE_HEAD_LF && gate->state < GATE_COMPLETE;
}

bool http_gate_take_continue(struct http_gate *gate)
{
    bool at_start = (gate->state == GATE_BODY && gate->body.n == 0) ||
                    (gate->state == GATE_SIZE && gate->body.n == 0 && gate->n_chunk_digits == 0);
    bool wanted = gate->wants_continue && at_start;
    if (wanted) {
        gate->wants_continue = false;
    }
    return wanted;
}

size_t http_gate_body_bytes(const struct http_gate *gate)
{
    return gate->body.n;
}

size_t http_gate_memory_bytes(const struct http_gate *gate)
{
    return gate->body.capacity;
}
