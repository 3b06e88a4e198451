// base64url without padding.
#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void cc_base64url_put(struct cc_buffer *out, struct cc_slice bytes)
{
    cc_buffer_reserve(out, bytes.n + bytes.n / 3 + 2);
    uint8_t *to = out->data + out->n;
    size_t i = 0;
    for (; i + 3 <= bytes.n; i += 3, to += 4) {
        uint32_t bits = (uint32_t)bytes.data[i] << 16 | (uint32_t)bytes.data[i + 1] << 8 | bytes.data[i + 2];
        to[0] = (uint8_t)digits[bits >> 18];
        to[1] = (uint8_t)digits[bits >> 12 & 63];
        to[2] = (uint8_t)digits[bits >> 6 & 63];
        to[3] = (uint8_t)digits[bits & 63];
    }
    if (i < bytes.n) { // one byte is two digits, two are three
        uint32_t bits = (uint32_t)bytes.data[i] << 16 | (i + 1 < bytes.n ? (uint32_t)bytes.data[i + 1] << 8 : 0);
        *to++ = (uint8_t)digits[bits >> 18];
        *to++ = (uint8_t)digits[bits >> 12 & 63];
        if (i + 1 < bytes.n) {
            *to++ = (uint8_t)digits[bits >> 6 & 63];
        }
    }
    out->n = (size_t)(to - out->data);
}

enum { NO_DIGIT = 64 };

static uint8_t value_of(uint8_t c)
{
    if (c >= 'a' && c <= 'z') {
        return (uint8_t)(c - 'a' + 26);
    }
    if (c >= 'A' && c <= 'Z') {
        return (uint8_t)(c - 'A');
    }
    if (c >= '0' && c <= '9') {
        return (uint8_t)(c - '0' + 52);
    }
    return c == '-' ? 62 : c == '_' ? 63 : NO_DIGIT;
}

// Four digits are three bytes.
static size_t read_fours(struct cc_slice text, struct cc_buffer *out)
{
    size_t at = 0;
    for (; at + 4 <= text.n; at += 4) {
        uint32_t a = value_of(text.data[at]), b = value_of(text.data[at + 1]), c = value_of(text.data[at + 2]), d = value_of(text.data[at + 3]);
        if (((a | b | c | d) & NO_DIGIT) != 0) {
            break;
        }
        uint32_t bits = a << 18 | b << 12 | c << 6 | d;
        out->data[out->n++] = (uint8_t)(bits >> 16);
        out->data[out->n++] = (uint8_t)(bits >> 8);
        out->data[out->n++] = (uint8_t)bits;
    }
    return at;
}

enum cc_status cc_base64url_read(struct cc_slice text, struct cc_buffer *out)
{
    size_t n_before = out->n;
    cc_buffer_reserve(out, text.n);
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = read_fours(text, out); i < text.n; i++) {
        uint8_t value = value_of(text.data[i]);
        if (value == NO_DIGIT) {
            out->n = n_before;
            return CC_MALFORMED;
        }
        bits = bits << 6 | value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out->data[out->n++] = (uint8_t)(bits >> n_bits & 255);
        }
    }
    bool stray = n_bits >= 6 || (bits & ((1u << n_bits) - 1)) != 0;
    if (stray) {
        out->n = n_before;
        return CC_MALFORMED;
    }
    return CC_OK;
}
