// Finds the line of a key in a JSON text: a scanner that skips values without building them.
#include "proxy/config/config.h"

#include <string.h>

struct scan {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
};

static bool at_char(const struct scan *scan, char c)
{
    return scan->at < scan->end && *scan->at == (uint8_t)c;
}

static void skip_blanks(struct scan *scan)
{
    while (at_char(scan, ' ') || at_char(scan, '\t') || at_char(scan, '\r') || at_char(scan, '\n')) {
        scan->at++;
    }
}

static bool skip_char(struct scan *scan, char c)
{
    skip_blanks(scan);
    if (!at_char(scan, c)) {
        return false;
    }
    scan->at++;
    return true;
}

// The raw text between the quotes; escapes stay as they are.
static struct cc_slice skip_string(struct scan *scan)
{
    const uint8_t *first = ++scan->at;
    while (scan->at < scan->end && *scan->at != '"') {
        bool escaped = *scan->at == '\\' && scan->end - scan->at > 1;
        scan->at += escaped ? 2 : 1;
    }
    struct cc_slice content = cc_slice_of(first, (size_t)(scan->at - first));
    if (scan->at < scan->end) {
        scan->at++;
    }
    return content;
}

static bool is_open(uint8_t c)
{
    return c == '{' || c == '[';
}

static bool is_close(uint8_t c)
{
    return c == '}' || c == ']';
}

// Up to the comma or bracket that follows the value, not into it.
static void skip_value(struct scan *scan)
{
    size_t depth = 0;
    while (scan->at < scan->end) {
        uint8_t c = *scan->at;
        if (depth == 0 && (c == ',' || is_close(c))) {
            return;
        }
        if (c == '"') {
            skip_string(scan);
            continue;
        }
        depth += is_open(c);
        depth -= is_close(c);
        scan->at++;
    }
}

// Moves to the value of the key and returns where the key begins, or NULL.
static const uint8_t *enter_key(struct scan *scan, struct cc_slice name)
{
    if (!skip_char(scan, '{')) {
        return NULL;
    }
    do {
        skip_blanks(scan);
        if (!at_char(scan, '"')) {
            return NULL;
        }
        const uint8_t *begin = scan->at;
        struct cc_slice key = skip_string(scan);
        if (!skip_char(scan, ':')) {
            return NULL;
        }
        if (cc_slice_equal(key, name)) {
            return begin;
        }
        skip_value(scan);
    } while (skip_char(scan, ','));
    return NULL;
}

static const uint8_t *enter_index(struct scan *scan, size_t index)
{
    if (!skip_char(scan, '[')) {
        return NULL;
    }
    for (; index > 0; index--) {
        skip_value(scan);
        if (!skip_char(scan, ',')) {
            return NULL;
        }
    }
    skip_blanks(scan);
    return scan->at;
}

// One step of the path, "[7]" or a key; *path moves behind it.
static const uint8_t *enter_step(struct scan *scan, const char **path)
{
    const char *step = *path;
    if (*step == '[') {
        size_t index = 0;
        for (step++; *step >= '0' && *step <= '9' && index < SIZE_MAX / 100; step++) {
            index = index * 10 + (size_t)(*step - '0');
        }
        *path = step + (*step == ']');
        return enter_index(scan, index);
    }
    step += *step == '.';
    // A wrong key may itself hold dots and brackets.
    struct scan whole = *scan;
    const uint8_t *found = enter_key(&whole, cc_slice_text(step));
    if (found != NULL) {
        *path = step + strlen(step);
        return found;
    }
    size_t n = strcspn(step, ".[");
    *path = step + n;
    return enter_key(scan, cc_slice_of(step, n));
}

static size_t line_at(const struct scan *scan, const uint8_t *place)
{
    size_t line = 1;
    for (const uint8_t *at = scan->start; at < place; at++) {
        line += *at == '\n';
    }
    return line;
}

size_t config_line_of(struct cc_slice text, const char *path)
{
    if (text.n == 0) {
        return 1;
    }
    struct scan scan = {.start = text.data, .at = text.data, .end = text.data + text.n};
    skip_blanks(&scan);
    const uint8_t *place = scan.at;
    while (*path != '\0') {
        const char *before = path;
        const uint8_t *found = enter_step(&scan, &path);
        if (found == NULL || path == before) {
            break;
        }
        place = found;
    }
    return line_at(&scan, place);
}
