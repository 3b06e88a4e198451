// UTF-8: strict checks of foreign text (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
#ifndef REST_UTF8_H
#define REST_UTF8_H

#include "base/slice.h"

// Length of the well-formed sequence at `at` (1..4), 0 when there is none.
size_t rest_utf8_step(const uint8_t *at, const uint8_t *end);
// True when the whole text is well-formed and has no NUL: PostgreSQL can hold it.
bool rest_utf8_ok(struct cc_slice text);
// Appends a code point (below 0x110000, no surrogate).
void rest_utf8_put(struct cc_buffer *out, uint32_t code_point);

#endif
