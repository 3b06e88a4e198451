// Percent encoding of URLs.
#include "rest/syntax.h"

#include "rest/character.h"
#include "rest/utf8.h"

enum cc_status rest_percent_decode(struct cc_slice text, bool plus_is_space, struct cc_arena *arena,
                                   struct cc_slice *out)
{
    uint8_t *decoded = cc_arena_alloc(arena, text.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            bool complete = text.n - i > 2;
            int high = complete ? rest_hex_digit(text.data[i + 1]) : -1;
            int low = complete ? rest_hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return CC_MALFORMED;
            }
            c = (uint8_t)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        decoded[n++] = c;
    }
    struct cc_slice slice = cc_slice_of(decoded, n);
    if (!rest_utf8_ok(slice)) {
        return CC_MALFORMED;
    }
    *out = slice;
    return CC_OK;
}

void rest_percent_encode(struct cc_buffer *out, struct cc_slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.data[i];
        if (rest_is_alphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '~') {
            cc_buffer_append(out, &c, 1);
        } else {
            cc_buffer_printf(out, "%%%02X", c);
        }
    }
}
