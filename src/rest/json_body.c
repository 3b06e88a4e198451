// JSON body: an iterative scanner with an explicit stack, so that depth costs no C stack.
//
//            value                 ','                  value
//   VALUE ----------> AFTER_VALUE -----> VALUE | KEY    (END when the stack is empty)
//     | '[' FIRST_VALUE | '{' FIRST_KEY         KEY --string--> COLON --':'--> VALUE
#include "rest/json_body.h"

#include "base/limits.h"
#include "base/memory.h"
#include "rest/character.h"
#include "rest/utf8.h"
#include "rest/vector.h"

#include <assert.h>
#include <stdlib.h>

enum state { VALUE, FIRST_VALUE, KEY, FIRST_KEY, COLON, AFTER_VALUE };

struct level {
    bool is_object;
    const uint8_t *start;
    size_t first_key; // in keys
};

struct scan {
    struct cc_arena *arena;
    const uint8_t *at, *end;
    const char *reason;
    bool too_deep, is_strict;
    size_t depth;
    struct level levels[CC_JSON_DEPTH_MAX];
    size_t n_keys, keys_capacity; // of all open objects; heap
    struct cc_slice *keys;
    struct rest_json *json;
    // Members of the open object that the caller wants: at level 1, or at level 2 below an array. Heap.
    uint32_t n_members;
    size_t members_capacity;
    struct rest_json_member *members;
};

static void scan_finish(struct scan *scan)
{
    free(scan->keys);
    free(scan->members);
}

static bool refuse(struct scan *scan, const char *reason)
{
    if (scan->reason == NULL) {
        scan->reason = reason;
    }
    return false;
}

// What others take.
static bool refuse_more(struct scan *scan, const char *reason)
{
    scan->is_strict = true;
    return refuse(scan, reason);
}

static void skip_blanks(struct scan *scan)
{
    while (scan->at != scan->end && (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r')) {
        scan->at++;
    }
}

// ---- strings

// Four hexadecimal digits at `at`, or -1.
static int32_t unit_at(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 4) {
        return -1;
    }
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = rest_hex_digit(at[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

// \uXXXX, with a second one for a surrogate pair; `*at` stands behind "\u". -1: malformed, lone surrogate or NUL.
static int32_t code_point_at(const uint8_t **at, const uint8_t *end)
{
    int32_t unit = unit_at(*at, end);
    if (unit <= 0 || (unit >= 0xdc00 && unit <= 0xdfff)) {
        return -1;
    }
    *at += 4;
    if (unit < 0xd800 || unit > 0xdbff) {
        return unit;
    }
    if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u') {
        return -1;
    }
    int32_t low = unit_at(*at + 2, end);
    if (low < 0xdc00 || low > 0xdfff) {
        return -1;
    }
    *at += 6;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

static bool scan_escape(struct scan *scan)
{
    scan->at++;
    if (scan->at == scan->end) {
        return refuse(scan, "the text ends inside a string");
    }
    uint8_t c = *scan->at++;
    if (c == 'u') {
        return code_point_at(&scan->at, scan->end) >= 0 ||
               refuse_more(scan, "a \\u escape is malformed, NUL or a lone surrogate");
    }
    return (c != 0 && strchr("\"\\/bfnrt", c) != NULL) || refuse(scan, "unknown escape in a string");
}

// How many bytes from here on, in steps of eight, are plain: ASCII, no quote, no backslash, no control character. What is not
// plain may be looked at byte by byte.
static size_t plain_bytes(const uint8_t *at, const uint8_t *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    const uint8_t *from = at;
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        uint64_t quotes = word ^ ones * '"', backslashes = word ^ ones * '\\'; // the byte that is looked for has become 0
        uint64_t found = word | (word - ones * 0x20) | ((quotes - ones) & ~quotes) | ((backslashes - ones) & ~backslashes);
        if (found & highs) {
            break;
        }
    }
    return (size_t)(at - from);
}

// The scanner stands on the opening quote. escaped_out: the text has escapes.
static bool scan_string(struct scan *scan, bool *escaped_out)
{
    *escaped_out = false;
    scan->at++;
    while (scan->at != scan->end) {
        scan->at += plain_bytes(scan->at, scan->end);
        if (scan->at == scan->end) {
            break;
        }
        uint8_t c = *scan->at;
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c < 0x20) {
            return refuse(scan, "control character in a string");
        }
        if (c == '\\') {
            *escaped_out = true;
            if (!scan_escape(scan)) {
                return false;
            }
            continue;
        }
        size_t n = rest_utf8_step(scan->at, scan->end);
        if (n == 0) {
            return refuse(scan, "a string is not UTF-8");
        }
        scan->at += n;
    }
    return refuse(scan, "the text ends inside a string");
}

static uint32_t simple_escape(uint8_t c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

// The raw form with quotes was scanned before.
static struct cc_slice decode_string(struct cc_slice raw, struct cc_arena *arena)
{
    assert(raw.n >= 2);
    const uint8_t *at = raw.data + 1;
    const uint8_t *end = raw.data + raw.n - 1;
    struct cc_buffer out = {0};
    cc_buffer_reserve(&out, raw.n);
    while (at != end) {
        if (*at != '\\') {
            cc_buffer_append(&out, at++, 1);
        } else if (at[1] != 'u') {
            rest_utf8_put(&out, simple_escape(at[1]));
            at += 2;
        } else {
            at += 2;
            int32_t code_point = code_point_at(&at, end);
            assert(code_point > 0);
            rest_utf8_put(&out, (uint32_t)code_point);
        }
    }
    struct cc_slice text = cc_slice_of(cc_arena_text_n(arena, out.data, out.n), out.n);
    cc_buffer_finish(&out);
    return text;
}

// ---- numbers and words

static bool take_digits(struct scan *scan)
{
    const uint8_t *from = scan->at;
    while (scan->at != scan->end && *scan->at >= '0' && *scan->at <= '9') {
        scan->at++;
    }
    return scan->at != from;
}

static bool take(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != (uint8_t)c) {
        return false;
    }
    scan->at++;
    return true;
}

static bool scan_number(struct scan *scan)
{
    take(scan, '-');
    bool whole = take(scan, '0') || take_digits(scan);
    bool fraction = whole && (!take(scan, '.') || take_digits(scan));
    if (!fraction) {
        return refuse(scan, "malformed number");
    }
    if (take(scan, 'e') || take(scan, 'E')) {
        bool sign = take(scan, '+') || take(scan, '-');
        (void)sign;
        return take_digits(scan) || refuse(scan, "malformed number");
    }
    return true;
}

static bool scan_word(struct scan *scan, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(scan->end - scan->at) < n || memcmp(scan->at, word, n) != 0) {
        return refuse(scan, "unexpected character");
    }
    scan->at += n;
    return true;
}

// ---- objects

// True when the members of the innermost open object are to be kept.
static bool is_wanted(const struct scan *scan)
{
    return scan->depth == 1 || (scan->depth == 2 && !scan->levels[0].is_object);
}

static void keep_value(struct scan *scan, const struct rest_json_value *value)
{
    if (scan->depth == 0) {
        scan->json->value = *value;
        return;
    }
    if (scan->levels[scan->depth - 1].is_object) {
        if (is_wanted(scan)) {
            scan->members[scan->n_members - 1].value = *value;
        }
        return;
    }
    if (scan->depth == 1) {
        if (scan->json->n_elements++ == 0) {
            scan->json->first = *value;
        }
        scan->json->objects_only = scan->json->objects_only && value->kind == REST_JSON_OBJECT;
    }
}

static void keep_key(struct scan *scan, struct cc_slice key)
{
    scan->keys = cc_grow(scan->keys, &scan->keys_capacity, scan->n_keys + 1, sizeof(*scan->keys));
    scan->keys[scan->n_keys++] = key;
    if (is_wanted(scan)) {
        scan->members = cc_grow(scan->members, &scan->members_capacity, scan->n_members + 1, sizeof(*scan->members));
        scan->members[scan->n_members++] = (struct rest_json_member){.key = key};
    }
}

static int compare_keys(const void *a, const void *b)
{
    return cc_slice_compare(*(const struct cc_slice *)a, *(const struct cc_slice *)b);
}

static bool keys_are_distinct(struct cc_slice *keys, size_t n)
{
    enum { SMALL = 12 };
    if (n <= SMALL) {
        for (size_t i = 1; i < n; i++) {
            for (size_t j = 0; j < i; j++) {
                if (cc_slice_equal(keys[i], keys[j])) {
                    return false;
                }
            }
        }
        return true;
    }
    qsort(keys, n, sizeof(*keys), compare_keys); // no hashing: nobody can choose colliding keys
    for (size_t i = 1; i < n; i++) {
        if (cc_slice_equal(keys[i - 1], keys[i])) {
            return false;
        }
    }
    return true;
}

static bool same_keys(const struct rest_json *json, const struct rest_json_member *members, uint32_t n)
{
    if (n != json->n_members) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (cc_slice_equal(members[i].key, json->members[i].key)) { // the usual case: same order
            continue;
        }
        uint32_t j = 0;
        while (j < n && !cc_slice_equal(members[i].key, json->members[j].key)) {
            j++;
        }
        if (j == n) {
            return false;
        }
    }
    return true;
}

// The innermost object is complete.
static void finish_members(struct scan *scan)
{
    struct rest_json *json = scan->json;
    if (scan->depth == 1 || json->n_elements == 0) {
        json->n_members = scan->n_members;
        json->members = cc_arena_array(scan->arena, scan->n_members, sizeof(*json->members));
        if (scan->n_members > 0) {
            memcpy(json->members, scan->members, scan->n_members * sizeof(*json->members));
        }
    } else if (json->uniform) {
        json->uniform = same_keys(json, scan->members, scan->n_members);
    }
    scan->n_members = 0;
}

static bool open_level(struct scan *scan, bool is_object)
{
    if (scan->depth == CC_JSON_DEPTH_MAX) {
        scan->too_deep = true;
        return refuse(scan, "nested too deeply");
    }
    scan->levels[scan->depth++] = (struct level){.is_object = is_object, .start = scan->at, .first_key = scan->n_keys};
    scan->at++;
    return true;
}

static bool close_level(struct scan *scan)
{
    const struct level *level = &scan->levels[scan->depth - 1];
    size_t n_keys = scan->n_keys - level->first_key;
    if (n_keys > 1 && !keys_are_distinct(scan->keys + level->first_key, n_keys)) {
        return refuse_more(scan, "duplicate key in an object");
    }
    if (level->is_object && is_wanted(scan)) {
        finish_members(scan);
    }
    scan->n_keys = level->first_key;
    scan->at++;
    struct rest_json_value value = {
        .kind = level->is_object ? REST_JSON_OBJECT : REST_JSON_ARRAY,
        .raw = cc_slice_of(level->start, (size_t)(scan->at - level->start)),
    };
    scan->depth--;
    keep_value(scan, &value);
    return true;
}

// ---- the machine

static bool scan_scalar(struct scan *scan)
{
    const uint8_t *from = scan->at;
    struct rest_json_value value = {0};
    bool ok = false;
    bool escaped = false;
    switch (*from) {
    case '"':
        value.kind = REST_JSON_STRING;
        ok = scan_string(scan, &escaped);
        break;
    case 't':
        value.kind = REST_JSON_TRUE;
        ok = scan_word(scan, "true");
        break;
    case 'f':
        value.kind = REST_JSON_FALSE;
        ok = scan_word(scan, "false");
        break;
    case 'n':
        value.kind = REST_JSON_NULL;
        ok = scan_word(scan, "null");
        break;
    default:
        value.kind = REST_JSON_NUMBER;
        ok = scan_number(scan);
        break;
    }
    value.raw = cc_slice_of(from, (size_t)(scan->at - from));
    if (ok) {
        keep_value(scan, &value);
    }
    return ok;
}

static bool scan_value(struct scan *scan, enum state *state)
{
    if (*scan->at == '{') {
        *state = FIRST_KEY;
        return open_level(scan, true);
    }
    if (*scan->at == '[') {
        *state = FIRST_VALUE;
        return open_level(scan, false);
    }
    *state = AFTER_VALUE;
    return scan_scalar(scan);
}

static bool scan_key(struct scan *scan, enum state *state)
{
    if (*scan->at != '"') {
        return refuse(scan, "an object's key must be a string");
    }
    const uint8_t *from = scan->at;
    bool escaped = false;
    if (!scan_string(scan, &escaped)) {
        return false;
    }
    struct cc_slice raw = cc_slice_of(from, (size_t)(scan->at - from));
    keep_key(scan, escaped ? decode_string(raw, scan->arena) : cc_slice_of(raw.data + 1, raw.n - 2));
    *state = COLON;
    return true;
}

static bool scan_after_value(struct scan *scan, enum state *state)
{
    bool is_object = scan->levels[scan->depth - 1].is_object;
    if (*scan->at == (is_object ? '}' : ']')) {
        return close_level(scan);
    }
    *state = is_object ? KEY : VALUE;
    return take(scan, ',') || refuse(scan, "',' or the end of an array or object is missing");
}

static bool scan_step(struct scan *scan, enum state *state)
{
    switch (*state) {
    case VALUE:
        return scan_value(scan, state);
    case FIRST_VALUE:
        *state = *scan->at == ']' ? AFTER_VALUE : VALUE;
        return true;
    case KEY:
        return scan_key(scan, state);
    case FIRST_KEY:
        *state = *scan->at == '}' ? AFTER_VALUE : KEY;
        return true;
    case COLON:
        *state = VALUE;
        return take(scan, ':') || refuse(scan, "':' is missing");
    case AFTER_VALUE:
        return scan_after_value(scan, state);
    }
    return false;
}

enum cc_status rest_json_scan(struct cc_slice text, struct cc_arena *arena, struct rest_json *json_out,
                              const char **reason_out)
{
    struct rest_json json = {.objects_only = true, .uniform = true};
    struct scan scan = {
        .arena = arena, .at = text.data, .end = text.n == 0 ? text.data : text.data + text.n, .json = &json};
    enum state state = VALUE;
    bool ok = true;
    do {
        skip_blanks(&scan);
        ok = scan.at != scan.end ? scan_step(&scan, &state) : refuse(&scan, "the text ends too early");
    } while (ok && !(state == AFTER_VALUE && scan.depth == 0));
    skip_blanks(&scan);
    if (ok && scan.at != scan.end) {
        ok = refuse(&scan, "something follows the value");
    }
    scan_finish(&scan);
    if (!ok) {
        *reason_out = scan.reason;
        return scan.too_deep ? CC_TOO_LARGE : scan.is_strict ? CC_REFUSED : CC_MALFORMED;
    }
    *json_out = json;
    return CC_OK;
}

struct cc_slice rest_json_text(const struct rest_json_value *value, struct cc_arena *arena)
{
    if (value->kind == REST_JSON_NULL) {
        return (struct cc_slice){0};
    }
    if (value->kind != REST_JSON_STRING) {
        return value->raw;
    }
    if (memchr(value->raw.data, '\\', value->raw.n) == NULL) {
        return cc_slice_of(value->raw.data + 1, value->raw.n - 2);
    }
    return decode_string(value->raw, arena);
}

void rest_json_members(const struct rest_json_value *object, struct cc_arena *arena, uint32_t *n_out,
                       struct rest_json_member **members_out)
{
    assert(object->kind == REST_JSON_OBJECT);
    struct rest_json json;
    const char *reason = NULL;
    enum cc_status status = rest_json_scan(object->raw, arena, &json, &reason);
    assert(status == CC_OK);
    *n_out = json.n_members;
    *members_out = json.members;
}

void rest_json_elements(const struct rest_json_value *array, struct cc_arena *arena, uint32_t *n_out,
                        struct rest_json_value **values_out)
{
    assert(array->kind == REST_JSON_ARRAY);
    struct rest_json ignored = {0};
    struct scan scan = {
        .arena = arena, .at = array->raw.data + 1, .end = array->raw.data + array->raw.n, .json = &ignored};
    uint32_t n = 0;
    struct rest_json_value *values = NULL;
    enum state state = VALUE;
    skip_blanks(&scan);
    while (*scan.at != ']') {
        ignored = (struct rest_json){0};
        state = VALUE;
        do {
            skip_blanks(&scan);
            bool ok = scan_step(&scan, &state);
            assert(ok);
        } while (!(state == AFTER_VALUE && scan.depth == 0));
        values = rest_vector_room(arena, values, n, sizeof(*values));
        values[n++] = ignored.value;
        skip_blanks(&scan);
        take(&scan, ',');
        skip_blanks(&scan);
    }
    scan_finish(&scan);
    *n_out = n;
    *values_out = values;
}

const struct rest_json_member *rest_json_find(uint32_t n, const struct rest_json_member *members, const char *key)
{
    for (uint32_t i = 0; i < n; i++) {
        if (cc_slice_equal_text(members[i].key, key)) {
            return &members[i];
        }
    }
    return NULL;
}

static void put_escaped(struct cc_buffer *out, uint8_t c)
{
    switch (c) {
    case '"':
        cc_buffer_append_text(out, "\\\"");
        return;
    case '\\':
        cc_buffer_append_text(out, "\\\\");
        return;
    case '\n':
        cc_buffer_append_text(out, "\\n");
        return;
    case '\r':
        cc_buffer_append_text(out, "\\r");
        return;
    case '\t':
        cc_buffer_append_text(out, "\\t");
        return;
    default:
        cc_buffer_printf(out, "\\u%04x", c);
        return;
    }
}

void rest_json_put_string(struct cc_buffer *out, struct cc_slice text)
{
    const uint8_t *at = text.data;
    const uint8_t *end = text.n == 0 ? at : at + text.n;
    cc_buffer_append_text(out, "\"");
    while (at != end) {
        size_t n = rest_utf8_step(at, end);
        if (n == 0) {
            rest_utf8_put(out, 0xfffd);
            n = 1;
        } else if (*at < 0x20 || *at == '"' || *at == '\\') {
            put_escaped(out, *at);
        } else {
            cc_buffer_append(out, at, n);
        }
        at += n;
    }
    cc_buffer_append_text(out, "\"");
}
