// Bodies: CSV and forms as JSON text.
#include "rest/body.h"

#include "base/limits.h"
#include "rest/json_body.h"
#include "rest/request.h"
#include "rest/syntax.h"
#include "rest/vector.h"

#include <string.h>

enum { FIELDS_MAX = 1664 }; // of a row or form: as many columns as a row can have

enum rest_body_type rest_body_type(struct cc_slice content_type)
{
    static const struct {
        const char *name;
        enum rest_body_type type;
    } types[] = {
        {"", REST_BODY_JSON},
        {"application/json", REST_BODY_JSON},
        {"application/vnd.pgrst.object+json", REST_BODY_JSON},
        {"application/vnd.pgrst.array+json", REST_BODY_JSON},
        {"text/csv", REST_BODY_CSV},
        {"application/x-www-form-urlencoded", REST_BODY_FORM},
        {"text/plain", REST_BODY_TEXT},
        {"text/xml", REST_BODY_XML},
        {"application/xml", REST_BODY_XML},
        {"application/octet-stream", REST_BODY_BYTES},
    };
    const uint8_t *end = content_type.n == 0 ? NULL : memchr(content_type.data, ';', content_type.n);
    struct cc_slice essence =
        end == NULL ? content_type : cc_slice_of(content_type.data, (size_t)(end - content_type.data));
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (cc_slice_equal_fold(rest_text_trim(essence), types[i].name)) {
            return types[i].type;
        }
    }
    return REST_BODY_OTHER;
}

const char rest_body_ragged[] = "All lines must have same number of fields";

static struct cc_slice take_buffer(struct cc_buffer *buffer, struct cc_arena *arena)
{
    struct cc_slice text = cc_slice_of(cc_arena_text_n(arena, buffer->data, buffer->n), buffer->n);
    cc_buffer_finish(buffer);
    return text;
}

// ---- CSV

struct csv {
    struct cc_arena *arena;
    struct cc_slice text; // what is left
    uint32_t n_fields;    // of the line that was read last
    struct cc_slice *fields;
    const char *reason;
};

static bool csv_fail(struct csv *csv, const char *reason)
{
    csv->reason = reason;
    return false;
}

// Behind the opening quote; "" is a quote.
static bool read_quoted(struct csv *csv, struct cc_buffer *field)
{
    size_t at = 0;
    for (;; at++) {
        if (at == csv->text.n) {
            return csv_fail(csv, "a quoted field does not end");
        }
        if (csv->text.data[at] == '"') {
            bool doubled = at + 1 < csv->text.n && csv->text.data[at + 1] == '"';
            if (!doubled) {
                break;
            }
            at++;
        }
        cc_buffer_append(field, &csv->text.data[at], 1);
    }
    csv->text = cc_slice_of(csv->text.data + at + 1, csv->text.n - at - 1);
    return true;
}

static void read_plain(struct csv *csv, struct cc_buffer *field)
{
    size_t n = 0;
    while (n < csv->text.n && csv->text.data[n] != ',' && csv->text.data[n] != '\n' && csv->text.data[n] != '\r') {
        n++;
    }
    cc_buffer_append(field, csv->text.data, n);
    csv->text = cc_slice_of(csv->text.data + n, csv->text.n - n);
}

static bool read_field(struct csv *csv)
{
    struct cc_buffer field = {0};
    bool quoted = csv->text.n > 0 && csv->text.data[0] == '"';
    cc_buffer_reserve(&field, 1);
    if (quoted) {
        csv->text = cc_slice_of(csv->text.data + 1, csv->text.n - 1);
        if (!read_quoted(csv, &field)) {
            cc_buffer_finish(&field);
            return false;
        }
    } else {
        read_plain(csv, &field);
    }
    csv->fields = rest_vector_room(csv->arena, csv->fields, csv->n_fields, sizeof(*csv->fields));
    csv->fields[csv->n_fields++] = take_buffer(&field, csv->arena);
    return true;
}

static bool skip(struct csv *csv, uint8_t c)
{
    if (csv->text.n == 0 || csv->text.data[0] != c) {
        return false;
    }
    csv->text = cc_slice_of(csv->text.data + 1, csv->text.n - 1);
    return true;
}

static bool at_line_end(const struct csv *csv)
{
    return csv->text.n == 0 || csv->text.data[0] == '\n' || csv->text.data[0] == '\r';
}

// The next line that is not empty. False at the end, or at an error.
static bool read_line(struct csv *csv)
{
    while (skip(csv, '\r') || skip(csv, '\n')) {
    }
    csv->n_fields = 0;
    csv->fields = NULL;
    if (csv->text.n == 0) {
        return false;
    }
    do {
        if (csv->n_fields == FIELDS_MAX) {
            return csv_fail(csv, "a line has too many fields");
        }
        if (!read_field(csv)) {
            return false;
        }
    } while (skip(csv, ','));
    return at_line_end(csv) || csv_fail(csv, "a quoted field goes on behind its end");
}

static void put_csv_row(struct cc_buffer *out, const struct csv *csv, uint32_t n, const struct cc_slice *names)
{
    for (uint32_t i = 0; i < n; i++) {
        cc_buffer_append_text(out, i == 0 ? "{" : ",");
        rest_json_put_string(out, names[i]);
        cc_buffer_append_text(out, ":");
        if (cc_slice_equal_text(csv->fields[i], "NULL")) {
            cc_buffer_append_text(out, "null");
        } else {
            rest_json_put_string(out, csv->fields[i]);
        }
    }
    cc_buffer_append_text(out, "}");
}

enum cc_status rest_body_of_csv(struct cc_slice text, struct cc_arena *arena, struct cc_slice *json_out,
                                const char **reason_out)
{
    struct csv csv = {.arena = arena, .text = text};
    if (!read_line(&csv)) {
        *reason_out = csv.reason == NULL ? "the header line is missing" : csv.reason;
        return CC_MALFORMED;
    }
    uint32_t n = csv.n_fields;
    struct cc_slice *names = csv.fields;
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, "[");
    while (read_line(&csv)) {
        if (csv.n_fields != n) {
            csv.reason = rest_body_ragged;
            break;
        }
        cc_buffer_append_text(&out, out.n == 1 ? "" : ",");
        put_csv_row(&out, &csv, n, names);
        if (out.n > CC_BODY_BYTES_MAX) { // every row repeats the names: a small text may be a large array
            csv.reason = "the rows are too large as JSON";
            break;
        }
    }
    cc_buffer_append_text(&out, "]");
    struct cc_slice json = take_buffer(&out, arena);
    if (csv.reason != NULL) {
        *reason_out = csv.reason;
        return CC_MALFORMED;
    }
    *json_out = json;
    return CC_OK;
}

// ---- forms

static bool read_pair(struct cc_slice part, struct cc_arena *arena, struct rest_pair *out)
{
    const uint8_t *sign = memchr(part.data, '=', part.n);
    size_t n_name = sign == NULL ? part.n : (size_t)(sign - part.data);
    struct cc_slice value = sign == NULL ? cc_slice_of("", 0) : cc_slice_of(sign + 1, part.n - n_name - 1);
    return rest_percent_decode(cc_slice_of(part.data, n_name), true, arena, &out->key) == CC_OK &&
           rest_percent_decode(value, true, arena, &out->value) == CC_OK;
}

enum cc_status rest_body_pairs(struct cc_slice text, struct cc_arena *arena, uint32_t *n_out, struct rest_pair **pairs_out,
                               const char **reason_out)
{
    struct rest_pair *pairs = NULL;
    uint32_t n = 0;
    for (size_t at = 0, end = 0; at < text.n; at = end + 1) {
        for (end = at; end < text.n && text.data[end] != '&'; end++) {
        }
        if (end == at) {
            continue;
        }
        if (n == FIELDS_MAX) {
            *reason_out = "too many fields";
            return CC_MALFORMED;
        }
        pairs = rest_vector_room(arena, pairs, n, sizeof(*pairs));
        if (!read_pair(cc_slice_of(text.data + at, end - at), arena, &pairs[n++])) {
            *reason_out = "a field is not percent-encoded UTF-8";
            return CC_MALFORMED;
        }
    }
    *n_out = n;
    *pairs_out = pairs;
    return CC_OK;
}

static bool is_repeated_later(uint32_t n, const struct rest_pair *pairs, uint32_t at)
{
    for (uint32_t i = at + 1; i < n; i++) {
        if (cc_slice_equal(pairs[i].key, pairs[at].key)) {
            return true;
        }
    }
    return false;
}

enum cc_status rest_body_of_form(struct cc_slice text, struct cc_arena *arena, struct cc_slice *json_out,
                                 const char **reason_out)
{
    struct rest_pair *pairs = NULL;
    uint32_t n = 0;
    enum cc_status status = rest_body_pairs(text, arena, &n, &pairs, reason_out);
    if (status != CC_OK) {
        return status;
    }
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, "{");
    for (uint32_t i = 0; i < n; i++) {
        if (is_repeated_later(n, pairs, i)) {
            continue;
        }
        cc_buffer_append_text(&out, out.n == 1 ? "" : ",");
        rest_json_put_string(&out, pairs[i].key);
        cc_buffer_append_text(&out, ":");
        rest_json_put_string(&out, pairs[i].value);
    }
    cc_buffer_append_text(&out, "}");
    *json_out = take_buffer(&out, arena);
    return CC_OK;
}

// ---- bytes

struct cc_slice rest_body_of_bytes(struct cc_slice bytes, struct cc_arena *arena)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *text = cc_arena_alloc(arena, 2 * bytes.n + 3);
    text[0] = '\\';
    text[1] = 'x';
    for (size_t i = 0; i < bytes.n; i++) {
        text[2 + 2 * i] = (uint8_t)digits[bytes.data[i] >> 4];
        text[3 + 2 * i] = (uint8_t)digits[bytes.data[i] & 15];
    }
    return cc_slice_of(text, 2 * bytes.n + 2);
}
