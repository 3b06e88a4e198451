// Entity tags: hashes of rows, and lists of them.
#include "rest/etag.h"

#include "rest/request.h"
#include "rest/sha256.h"

#include <string.h>

const char *rest_etag_of_hash(struct cc_slice hash, bool is_array, struct cc_arena *arena)
{
    return cc_arena_printf(arena, "\"%.*s%s\"", (int)hash.n, (const char *)hash.data, is_array ? "-a" : "");
}

const char *rest_etag_of_body(struct cc_slice body, bool is_array, struct cc_arena *arena)
{
    struct cc_slice row = body;
    if (is_array) {
        if (body.n < 2 || body.data[0] != '[' || body.data[body.n - 1] != ']') {
            return NULL;
        }
        row = cc_slice_of(body.data + 1, body.n - 2);
    }
    if (row.n < 2 || row.data[0] != '{') {
        return NULL;
    }
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[REST_SHA256_BYTES];
    char hash[REST_ETAG_HASH_CHARS + 1] = {0};
    rest_sha256(row, digest);
    for (size_t i = 0; i < REST_ETAG_HASH_CHARS; i++) {
        hash[i] = digits[i % 2 == 0 ? digest[i / 2] >> 4 : digest[i / 2] & 15];
    }
    return rest_etag_of_hash(cc_slice_text(hash), is_array, arena);
}

// The next tag of a list, with its quotes. False at the end, or where the list is malformed.
static bool next_tag(struct cc_slice *list, struct cc_slice *tag, bool *weak)
{
    size_t at = 0;
    while (at < list->n && (list->data[at] == ' ' || list->data[at] == '\t' || list->data[at] == ',')) {
        at++;
    }
    *weak = list->n - at > 2 && list->data[at] == 'W' && list->data[at + 1] == '/';
    at += *weak ? 2 : 0;
    if (list->n - at < 2 || list->data[at] != '"') {
        return false;
    }
    const uint8_t *end = memchr(list->data + at + 1, '"', list->n - at - 1);
    if (end == NULL) {
        return false;
    }
    *tag = cc_slice_of(list->data + at, (size_t)(end + 1 - (list->data + at)));
    at += tag->n;
    *list = cc_slice_of(list->data + at, list->n - at);
    return true;
}

bool rest_etag_is_star(struct cc_slice list)
{
    return cc_slice_equal_text(rest_text_trim(list), "*");
}

bool rest_etag_listed(struct cc_slice list, const char *tag, bool weakly)
{
    if (rest_etag_is_star(list)) {
        return true;
    }
    struct cc_slice one;
    bool weak = false;
    while (tag != NULL && next_tag(&list, &one, &weak)) {
        if ((weakly || !weak) && cc_slice_equal_text(one, tag)) {
            return true;
        }
    }
    return false;
}

static bool is_hash(struct cc_slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!((text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f'))) {
            return false;
        }
    }
    return text.n == REST_ETAG_HASH_CHARS;
}

struct cc_slice rest_etag_hashes(struct cc_slice list, struct cc_arena *arena)
{
    struct cc_buffer out = {0};
    struct cc_slice tag;
    bool weak = false;
    cc_buffer_append_text(&out, "{");
    while (next_tag(&list, &tag, &weak)) {
        struct cc_slice hash = cc_slice_of(tag.data + 1, tag.n - 2);
        bool of_array = hash.n > 2 && memcmp(hash.data + hash.n - 2, "-a", 2) == 0;
        hash.n -= of_array ? 2 : 0;
        if (!weak && is_hash(hash)) {
            cc_buffer_append_text(&out, out.n > 1 ? "," : "");
            cc_buffer_append_slice(&out, hash);
        }
    }
    cc_buffer_append_text(&out, "}");
    struct cc_slice literal = cc_slice_of(cc_arena_text_n(arena, out.data, out.n), out.n);
    cc_buffer_finish(&out);
    return literal;
}
