// See elements.h.
#include "crdt/elements.h"

#include "base/codec.h"

#include <stdlib.h>
#include <string.h>

static int compare_elements(const void *left, const void *right)
{
    return cc_slice_compare(*(const struct cc_slice *)left, *(const struct cc_slice *)right);
}

void crdt_elements_sort(struct crdt_elements *elements)
{
    size_t n_kept = 0;
    if (elements->n > 0) {
        qsort(elements->at, elements->n, sizeof(*elements->at), compare_elements);
    }
    for (size_t i = 0; i < elements->n; i++) {
        if (n_kept == 0 || !cc_slice_equal(elements->at[n_kept - 1], elements->at[i])) {
            elements->at[n_kept++] = elements->at[i];
        }
    }
    elements->n = n_kept;
}

bool crdt_elements_have(const struct crdt_elements *elements, struct cc_slice element)
{
    return elements->n > 0 && bsearch(&element, elements->at, elements->n, sizeof(element), compare_elements) != NULL;
}

bool crdt_elements_read(struct cc_slice text, struct cc_arena *arena, struct crdt_elements *elements_out)
{
    const uint8_t *at = text.n == 0 ? NULL : memchr(text.data, '{', text.n), *end = text.data + text.n;
    if (at == NULL) {
        return false;
    }
    struct crdt_elements elements = {.at = cc_arena_array(arena, text.n / 2 + 1, sizeof(*elements.at))}; // each takes a delimiter, too
    uint8_t *out = cc_arena_alloc(arena, text.n + 1);
    while (at < end) {
        if (*at == '{' || *at == '}' || *at == ',') {
            at++;
            continue;
        }
        uint8_t *begin = out;
        bool quoted = *at == '"';
        at += quoted ? 1 : 0;
        while (at < end && (quoted ? *at != '"' : *at != ',' && *at != '}')) {
            at += *at == '\\' && at + 1 < end ? 1 : 0;
            *out++ = *at++;
        }
        at += quoted && at < end ? 1 : 0;
        struct cc_slice element = cc_slice_of(begin, (size_t)(out - begin));
        if (quoted || !cc_slice_equal_text(element, "NULL")) {
            elements.at[elements.n++] = element;
        }
    }
    crdt_elements_sort(&elements);
    *elements_out = elements;
    return true;
}

// As array_out writes an element.
static void put_element(struct cc_buffer *out, struct cc_slice element)
{
    bool quoted = element.n == 0;
    bool null = element.n == 4;
    for (size_t i = 0; i < element.n; i++) {
        uint8_t c = element.data[i];
        quoted = quoted || c == '"' || c == '\\' || c == '{' || c == '}' || c == ',' || c == ' ' || (c >= '\t' && c <= '\r');
        null = null && (c | 0x20) == (uint8_t)"null"[i];
    }
    if (!quoted && !null) {
        cc_buffer_append_slice(out, element);
        return;
    }
    cc_put_u8(out, '"');
    for (size_t i = 0; i < element.n; i++) {
        if (element.data[i] == '"' || element.data[i] == '\\') {
            cc_put_u8(out, '\\');
        }
        cc_put_u8(out, element.data[i]);
    }
    cc_put_u8(out, '"');
}

struct cc_slice crdt_elements_text(const struct crdt_elements *elements, struct cc_arena *arena)
{
    struct cc_buffer text = {0};
    cc_put_u8(&text, '{');
    for (size_t i = 0; i < elements->n; i++) {
        cc_buffer_append_text(&text, i == 0 ? "" : ",");
        put_element(&text, elements->at[i]);
    }
    cc_put_u8(&text, '}');
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&text));
    cc_buffer_finish(&text);
    return copy;
}
