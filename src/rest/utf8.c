// UTF-8: strict checks of foreign text.
#include "rest/utf8.h"

#include <assert.h>

static bool continues(const uint8_t *at, const uint8_t *end, size_t n)
{
    if ((size_t)(end - at) <= n) {
        return false;
    }
    for (size_t i = 1; i <= n; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    return true;
}

size_t rest_utf8_step(const uint8_t *at, const uint8_t *end)
{
    if (at == end) {
        return 0;
    }
    uint8_t first = at[0];
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        return continues(at, end, 1) ? 2 : 0;
    }
    if (first >= 0xe0 && first <= 0xef) {
        bool ok = continues(at, end, 2) && !(first == 0xe0 && at[1] < 0xa0) && !(first == 0xed && at[1] > 0x9f);
        return ok ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        bool ok = continues(at, end, 3) && !(first == 0xf0 && at[1] < 0x90) && !(first == 0xf4 && at[1] > 0x8f);
        return ok ? 4 : 0;
    }
    return 0;
}

bool rest_utf8_ok(struct cc_slice text)
{
    const uint8_t *at = text.data;
    const uint8_t *end = text.n == 0 ? at : at + text.n;
    while (at != end) {
        size_t n = rest_utf8_step(at, end);
        if (n == 0 || *at == 0) {
            return false;
        }
        at += n;
    }
    return true;
}

void rest_utf8_put(struct cc_buffer *out, uint32_t code_point)
{
    assert(code_point < 0x110000);
    uint8_t bytes[4];
    size_t n = 0;
    if (code_point < 0x80) {
        bytes[n++] = (uint8_t)code_point;
    } else if (code_point < 0x800) {
        bytes[n++] = (uint8_t)(0xc0 | code_point >> 6);
        bytes[n++] = (uint8_t)(0x80 | (code_point & 0x3f));
    } else if (code_point < 0x10000) {
        bytes[n++] = (uint8_t)(0xe0 | code_point >> 12);
        bytes[n++] = (uint8_t)(0x80 | (code_point >> 6 & 0x3f));
        bytes[n++] = (uint8_t)(0x80 | (code_point & 0x3f));
    } else {
        bytes[n++] = (uint8_t)(0xf0 | code_point >> 18);
        bytes[n++] = (uint8_t)(0x80 | (code_point >> 12 & 0x3f));
        bytes[n++] = (uint8_t)(0x80 | (code_point >> 6 & 0x3f));
        bytes[n++] = (uint8_t)(0x80 | (code_point & 0x3f));
    }
    cc_buffer_append(out, bytes, n);
}
