// Reading and writing of binary records.
#include "base/codec.h"

#include <assert.h>

enum { VARINT_BYTES_MAX = 10 };

struct cc_reader cc_reader_of(struct cc_slice bytes)
{
    static const uint8_t nothing[1];
    const uint8_t *at = bytes.data == NULL ? nothing : bytes.data;
    return (struct cc_reader){.at = at, .end = at + bytes.n};
}

void cc_reader_fail(struct cc_reader *reader)
{
    reader->failed = true;
    reader->at = reader->end;
}

size_t cc_reader_left(const struct cc_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

bool cc_reader_ok(const struct cc_reader *reader)
{
    return !reader->failed;
}

enum cc_status cc_reader_end(const struct cc_reader *reader)
{
    return reader->failed || reader->at != reader->end ? CC_MALFORMED : CC_OK;
}

// The next n bytes, or NULL with the reader failed.
static inline const uint8_t *take(struct cc_reader *reader, size_t n)
{
    if (reader->failed || n > cc_reader_left(reader)) {
        cc_reader_fail(reader);
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += n;
    return bytes;
}

// Written out, because compilers make one load or store of this, and not of a loop.
static inline uint32_t load_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static inline void store_u32(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
    bytes[2] = (uint8_t)(value >> 16);
    bytes[3] = (uint8_t)(value >> 24);
}

uint8_t cc_read_u8(struct cc_reader *reader)
{
    if (reader->at == reader->end) { // also when it has failed
        cc_reader_fail(reader);
        return 0;
    }
    return *reader->at++;
}

uint16_t cc_read_u16(struct cc_reader *reader)
{
    const uint8_t *bytes = take(reader, 2);
    return bytes == NULL ? 0 : (uint16_t)(bytes[0] | bytes[1] << 8);
}

uint32_t cc_read_u32(struct cc_reader *reader)
{
    const uint8_t *bytes = take(reader, 4);
    return bytes == NULL ? 0 : load_u32(bytes);
}

uint64_t cc_read_u64(struct cc_reader *reader)
{
    const uint8_t *bytes = take(reader, 8);
    return bytes == NULL ? 0 : (uint64_t)load_u32(bytes) | (uint64_t)load_u32(bytes + 4) << 32;
}

uint64_t cc_read_varint(struct cc_reader *reader)
{
    if (reader->at < reader->end && *reader->at < 0x80) { // most of them
        return *reader->at++;
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX && reader->at < reader->end; i++) {
        uint8_t byte = *reader->at++;
        bool overflow = i == VARINT_BYTES_MAX - 1 && byte > 1;
        bool padded = i > 0 && byte == 0;
        if (overflow || padded) {
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            return value;
        }
    }
    cc_reader_fail(reader);
    return 0;
}

uint64_t cc_read_count(struct cc_reader *reader, uint64_t max)
{
    uint64_t value = cc_read_varint(reader);
    if (value > max) {
        cc_reader_fail(reader);
        return 0;
    }
    return value;
}

struct cc_slice cc_read_bytes(struct cc_reader *reader, size_t n)
{
    const uint8_t *bytes = take(reader, n);
    return bytes == NULL ? (struct cc_slice){0} : cc_slice_of(bytes, n);
}

struct cc_slice cc_read_string(struct cc_reader *reader)
{
    uint64_t n = cc_read_count(reader, SIZE_MAX);
    return cc_read_bytes(reader, (size_t)n);
}

// Encoded as length + 1, so that 0 is NULL.
struct cc_slice cc_read_nullable(struct cc_reader *reader)
{
    uint64_t n = cc_read_count(reader, SIZE_MAX);
    if (n == 0) {
        return (struct cc_slice){0};
    }
    return cc_read_bytes(reader, (size_t)(n - 1));
}

// Where the next n bytes go.
static inline uint8_t *give(struct cc_buffer *out, size_t n)
{
    if (n > out->capacity - out->n) {
        cc_buffer_reserve(out, n);
    }
    uint8_t *bytes = out->data + out->n;
    out->n += n;
    return bytes;
}

void cc_put_u8(struct cc_buffer *out, uint8_t value)
{
    *give(out, 1) = value;
}

void cc_put_u16(struct cc_buffer *out, uint16_t value)
{
    uint8_t *bytes = give(out, 2);
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

void cc_put_u32(struct cc_buffer *out, uint32_t value)
{
    store_u32(give(out, 4), value);
}

void cc_put_u64(struct cc_buffer *out, uint64_t value)
{
    uint8_t *bytes = give(out, 8);
    store_u32(bytes, (uint32_t)value);
    store_u32(bytes + 4, (uint32_t)(value >> 32));
}

void cc_put_varint(struct cc_buffer *out, uint64_t value)
{
    if (value < 0x80) { // most of them
        *give(out, 1) = (uint8_t)value;
        return;
    }
    uint8_t bytes[VARINT_BYTES_MAX];
    size_t n = 0;
    while (value >= 0x80) {
        bytes[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (uint8_t)value;
    cc_buffer_append(out, bytes, n);
}

void cc_put_bytes(struct cc_buffer *out, struct cc_slice bytes)
{
    cc_buffer_append_slice(out, bytes);
}

void cc_put_string(struct cc_buffer *out, struct cc_slice bytes)
{
    cc_put_varint(out, bytes.n);
    cc_put_bytes(out, bytes);
}

void cc_put_nullable(struct cc_buffer *out, struct cc_slice bytes)
{
    if (bytes.data == NULL) {
        assert(bytes.n == 0);
        cc_put_varint(out, 0);
        return;
    }
    assert(bytes.n < SIZE_MAX);
    cc_put_varint(out, (uint64_t)bytes.n + 1);
    cc_put_bytes(out, bytes);
}
