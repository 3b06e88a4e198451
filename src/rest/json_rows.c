// Rows of a JSON array of flat objects: see the header.
#include "rest/json_rows.h"

#include <assert.h>
#include <string.h>

struct walk {
    const uint8_t *at, *end;
    const char *const *names;
    uint32_t n_names;
    struct cc_arena *arena;
};

static void skip_blanks(struct walk *walk)
{
    while (*walk->at == ' ' || *walk->at == '\t' || *walk->at == '\n' || *walk->at == '\r') {
        walk->at++;
    }
}

static void take(struct walk *walk, uint8_t c)
{
    skip_blanks(walk);
    assert(*walk->at == c);
    walk->at++;
    skip_blanks(walk);
}

static bool take_comma(struct walk *walk)
{
    skip_blanks(walk);
    if (*walk->at != ',') {
        return false;
    }
    walk->at++;
    skip_blanks(walk);
    return true;
}

static struct rest_json_value take_string(struct walk *walk)
{
    const uint8_t *start = walk->at;
    const uint8_t *at = memchr(start + 1, '"', (size_t)(walk->end - start - 1));
    assert(at != NULL);
    if (memchr(start, '\\', (size_t)(at - start)) != NULL) { // the quote may be one that belongs to the text
        for (at = start + 1; *at != '"'; at += *at == '\\' ? 2 : 1) {
        }
    }
    walk->at = at + 1;
    return (struct rest_json_value){REST_JSON_STRING, cc_slice_of(start, (size_t)(walk->at - start))};
}

static enum rest_json_kind kind_of(uint8_t first)
{
    return first == 'n' ? REST_JSON_NULL : first == 't' ? REST_JSON_TRUE : first == 'f' ? REST_JSON_FALSE : REST_JSON_NUMBER;
}

static struct rest_json_value take_scalar(struct walk *walk)
{
    if (*walk->at == '"') {
        return take_string(walk);
    }
    const uint8_t *start = walk->at;
    while (strchr(",} \t\n\r", *walk->at) == NULL) {
        walk->at++;
    }
    return (struct rest_json_value){kind_of(*start), cc_slice_of(start, (size_t)(walk->at - start))};
}

// Most objects have their members in the order of the names: `likely` is tried first. n_names: none of them.
static uint32_t find_name(const struct walk *walk, const struct rest_json_value *key, uint32_t likely)
{
    struct cc_slice text = rest_json_text(key, walk->arena);
    for (uint32_t i = 0; i < walk->n_names; i++) {
        uint32_t at = (likely + i) % walk->n_names;
        if (cc_slice_equal_text(text, walk->names[at])) {
            return at;
        }
    }
    return walk->n_names;
}

static bool take_object(struct walk *walk, struct rest_json_value *values_out)
{
    take(walk, '{');
    uint32_t next = 0;
    for (bool more = *walk->at != '}'; more; more = take_comma(walk)) {
        struct rest_json_value key = take_string(walk);
        take(walk, ':');
        if (*walk->at == '{' || *walk->at == '[') {
            return false;
        }
        uint32_t name = find_name(walk, &key, next);
        struct rest_json_value value = take_scalar(walk);
        if (name < walk->n_names) {
            values_out[name] = value;
            next = name + 1;
        }
    }
    take(walk, '}');
    return true;
}

bool rest_json_rows(struct cc_slice array, const char *const *names, uint32_t n_names, uint64_t n_rows, struct cc_arena *arena,
                    struct rest_json_value *values_out)
{
    struct walk walk = {.at = array.data, .end = array.data + array.n, .names = names, .n_names = n_names, .arena = arena};
    for (uint64_t i = 0; i < n_rows * n_names; i++) {
        values_out[i] = (struct rest_json_value){.kind = REST_JSON_NULL};
    }
    take(&walk, '[');
    for (uint64_t row = 0; row < n_rows; row++) {
        if (!take_object(&walk, values_out + row * n_names)) {
            return false;
        }
        (void)take_comma(&walk);
    }
    return true;
}
