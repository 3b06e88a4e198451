// Reading and writing of binary records: little endian, sticky errors, bounds checked.
#ifndef CC_CODEC_H
#define CC_CODEC_H

#include "base/slice.h"
#include "base/status.h"

// Reader over borrowed bytes. A short or malformed read yields 0 or the empty slice and marks the reader failed;
// check cc_reader_ok (or cc_reader_end) once at the end, then the ranges of what was read.
struct cc_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

struct cc_reader cc_reader_of(struct cc_slice bytes);
uint8_t cc_read_u8(struct cc_reader *reader);
uint16_t cc_read_u16(struct cc_reader *reader);
uint32_t cc_read_u32(struct cc_reader *reader);
uint64_t cc_read_u64(struct cc_reader *reader);
// LEB128, at most 10 bytes, shortest form only.
uint64_t cc_read_varint(struct cc_reader *reader);
// As varint, and failed when above max. For counts and lengths, before anything is allocated.
uint64_t cc_read_count(struct cc_reader *reader, uint64_t max);
struct cc_slice cc_read_bytes(struct cc_reader *reader, size_t n);
// varint length + bytes. The slice borrows from the input.
struct cc_slice cc_read_string(struct cc_reader *reader);
// As string, where NULL is a value of its own (slice.data == NULL).
struct cc_slice cc_read_nullable(struct cc_reader *reader);
void cc_reader_fail(struct cc_reader *reader);
size_t cc_reader_left(const struct cc_reader *reader);
bool cc_reader_ok(const struct cc_reader *reader);
// CC_OK when nothing failed and nothing is left, else CC_MALFORMED.
enum cc_status cc_reader_end(const struct cc_reader *reader) CC_CHECKED;

void cc_put_u8(struct cc_buffer *out, uint8_t value);
void cc_put_u16(struct cc_buffer *out, uint16_t value);
void cc_put_u32(struct cc_buffer *out, uint32_t value);
void cc_put_u64(struct cc_buffer *out, uint64_t value);
void cc_put_varint(struct cc_buffer *out, uint64_t value);
void cc_put_bytes(struct cc_buffer *out, struct cc_slice bytes); // raw, no length
void cc_put_string(struct cc_buffer *out, struct cc_slice bytes);
void cc_put_nullable(struct cc_buffer *out, struct cc_slice bytes);

#endif
