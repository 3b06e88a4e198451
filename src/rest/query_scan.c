// Scanner of the query string: names, quotes, JSON paths.
#include "rest/query_internal.h"

#include "rest/character.h"
#include "rest/vector.h"

#include <string.h>

struct scanner scan_of(struct cc_slice text, struct cc_arena *arena)
{
    const uint8_t *start = text.n == 0 ? (const uint8_t *)"" : text.data;
    return (struct scanner){.arena = arena, .start = start, .at = start, .end = start + text.n};
}

bool scan_fail(struct scanner *scanner, const char *expected)
{
    if (scanner->expected == NULL) {
        scanner->expected = expected;
        scanner->failed_at = scanner->at;
    }
    return false;
}

bool scan_at_end(const struct scanner *scanner)
{
    return scanner->at == scanner->end;
}

bool scan_next_is(const struct scanner *scanner, char c)
{
    return scanner->at != scanner->end && *scanner->at == (uint8_t)c;
}

bool scan_text_is_next(const struct scanner *scanner, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(scanner->end - scanner->at) >= n && memcmp(scanner->at, text, n) == 0;
}

bool scan_take(struct scanner *scanner, char c)
{
    if (!scan_next_is(scanner, c)) {
        return false;
    }
    scanner->at++;
    return true;
}

bool scan_text(struct scanner *scanner, const char *text)
{
    if (!scan_text_is_next(scanner, text)) {
        return false;
    }
    scanner->at += strlen(text);
    return true;
}

void scan_skip_blanks(struct scanner *scanner)
{
    while (scan_next_is(scanner, ' ')) {
        scanner->at++;
    }
}

bool scan_enter(struct scanner *scanner)
{
    if (scanner->depth == REST_DEPTH_MAX) {
        return scan_fail(scanner, "less nesting");
    }
    scanner->depth++;
    return true;
}

struct cc_slice scan_since(const struct scanner *scanner, const uint8_t *from)
{
    return cc_slice_of(from, (size_t)(scanner->at - from));
}

// "..." with \" and \\; the scanner stands on the first quote. Leaves the scanner where it was on failure.
bool scan_quoted(struct scanner *scanner, struct cc_slice *out)
{
    const uint8_t *from = scanner->at;
    uint8_t *text = cc_arena_alloc(scanner->arena, (size_t)(scanner->end - from) + 1);
    size_t n = 0;
    scanner->at++;
    while (!scan_at_end(scanner)) {
        uint8_t c = *scanner->at++;
        if (c == '"') {
            *out = cc_slice_of(text, n);
            return true;
        }
        if (c == '\\' && !scan_at_end(scanner)) {
            c = *scanner->at++;
        }
        text[n++] = c;
    }
    scanner->at = from;
    return false;
}

static bool is_name_byte(uint8_t c)
{
    return rest_is_alphanumeric(c) || c == '_' || c == '$' || c == ' ' || c >= 0x80;
}

// Letters, digits, '_', '$', space, and '-' when it does not begin an arrow.
bool scan_bare_name(struct scanner *scanner, struct cc_slice *out)
{
    scan_skip_blanks(scanner);
    const uint8_t *from = scanner->at;
    while (!scan_at_end(scanner)) {
        bool dash = scan_next_is(scanner, '-') && scanner->at != from && !scan_text_is_next(scanner, "->");
        if (!dash && !is_name_byte(*scanner->at)) {
            break;
        }
        scanner->at++;
    }
    struct cc_slice name = scan_since(scanner, from);
    while (name.n > 0 && name.data[name.n - 1] == ' ') {
        name.n--;
    }
    if (name.n == 0) {
        return scan_fail(scanner, "a name");
    }
    *out = name;
    return true;
}

bool scan_name(struct scanner *scanner, struct cc_slice *out)
{
    scan_skip_blanks(scanner);
    if (!scan_next_is(scanner, '"')) {
        return scan_bare_name(scanner, out);
    }
    if (!scan_quoted(scanner, out) || out->n == 0) {
        return scan_fail(scanner, "a quoted name");
    }
    scan_skip_blanks(scanner);
    return true;
}

static bool is_index(struct cc_slice key)
{
    size_t i = key.n > 0 && key.data[0] == '-' ? 1 : 0;
    if (key.n == i || key.n - i > 9) {
        return false;
    }
    for (; i < key.n; i++) {
        if (key.data[i] < '0' || key.data[i] > '9') {
            return false;
        }
    }
    return true;
}

static bool take_path_key(struct scanner *scanner, struct rest_path_step *step)
{
    if (scan_next_is(scanner, '"')) {
        return scan_quoted(scanner, &step->key) || scan_fail(scanner, "a quoted key");
    }
    const uint8_t *from = scanner->at;
    if (scan_next_is(scanner, '-')) { // a negative index
        scanner->at++;
    }
    while (!scan_at_end(scanner) && strchr("(-:.,>)", *scanner->at) == NULL) {
        scanner->at++;
    }
    step->key = scan_since(scanner, from);
    step->is_index = is_index(step->key);
    return step->key.n > 0 || scan_fail(scanner, "a key");
}

static bool take_path_steps(struct scanner *scanner, struct rest_field *field)
{
    while (scan_text_is_next(scanner, "->")) {
        field->steps = rest_vector_room(scanner->arena, field->steps, field->n_steps, sizeof(*field->steps));
        struct rest_path_step *step = &field->steps[field->n_steps];
        *step = (struct rest_path_step){.as_text = scan_text_is_next(scanner, "->>")};
        scanner->at += step->as_text ? 3 : 2;
        if (!take_path_key(scanner, step)) {
            return false;
        }
        field->n_steps++;
    }
    return true;
}

bool scan_field(struct scanner *scanner, struct rest_field *out)
{
    *out = (struct rest_field){0};
    return scan_name(scanner, &out->name) && take_path_steps(scanner, out);
}
