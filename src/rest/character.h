// Characters: classes of bytes that several parsers know.
#ifndef REST_CHARACTER_H
#define REST_CHARACTER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool rest_is_alphanumeric(uint8_t c) // of ASCII
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// RFC 9110 5.6.2: what methods and names of headers are made of.
static inline bool rest_is_token_byte(uint8_t c)
{
    return rest_is_alphanumeric(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

// -1: it is none.
static inline int rest_hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        return (c | 0x20) - 'a' + 10;
    }
    return -1;
}

#endif
