// Slices borrow bytes, buffers own them, blobs share them.
#ifndef CC_SLICE_H
#define CC_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Borrowed bytes. data == NULL with n == 0 is the empty slice; where a value may be SQL NULL, data == NULL says so.
struct cc_slice {
    const uint8_t *data;
    size_t n;
};

struct cc_slice cc_slice_of(const void *data, size_t n);
// Borrows the characters of `text` without its terminator. NULL gives the NULL slice.
struct cc_slice cc_slice_text(const char *text);
// Same bytes; NULL and empty are the same here.
bool cc_slice_equal(struct cc_slice a, struct cc_slice b);
bool cc_slice_equal_text(struct cc_slice a, const char *text);
// Whatever the case of ASCII letters.
bool cc_slice_equal_fold(struct cc_slice a, const char *text);
bool cc_slice_starts_with(struct cc_slice text, const char *prefix);
bool cc_slice_starts_with_fold(struct cc_slice text, const char *prefix);
// memcmp order, then length. For sorting.
int cc_slice_compare(struct cc_slice a, struct cc_slice b);
// Takes `c` off the beginning of `text`. False: it begins with something else, and nothing changes.
bool cc_slice_take_byte(struct cc_slice *text, char c);
// Takes the decimal digits off the beginning of `text`. False: there are none, or they make more than `max`, and nothing changes.
bool cc_slice_take_number(struct cc_slice *text, uint64_t max, uint64_t *number_out);

// Owned, growing bytes. Zero-initialised is empty and valid. Out of memory aborts the process.
struct cc_buffer {
    uint8_t *data;
    size_t n;
    size_t capacity;
};

void cc_buffer_finish(struct cc_buffer *buffer); // frees; buffer is empty and valid afterwards
void cc_buffer_clear(struct cc_buffer *buffer);  // n = 0, keeps the memory
void cc_buffer_reserve(struct cc_buffer *buffer, size_t n_more);
void cc_buffer_append(struct cc_buffer *buffer, const void *data, size_t n);
void cc_buffer_append_slice(struct cc_buffer *buffer, struct cc_slice slice);
void cc_buffer_append_text(struct cc_buffer *buffer, const char *text);
void cc_buffer_printf(struct cc_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct cc_slice cc_buffer_slice(const struct cc_buffer *buffer);
// Terminates with NUL (not counted in n) and returns the text; borrowed until the next change.
const char *cc_buffer_text(struct cc_buffer *buffer);

// Shared immutable bytes with a reference count. Not thread-safe: one thread holds all references.
struct cc_blob {
    uint32_t n_references;
    size_t n;
    uint8_t data[];
};

struct cc_blob *cc_blob_create(const void *data, size_t n); // one reference, the caller's
struct cc_blob *cc_blob_ref(struct cc_blob *blob);          // NULL passes through
void cc_blob_unref(struct cc_blob *blob);                   // NULL is fine
struct cc_slice cc_blob_slice(const struct cc_blob *blob);  // NULL gives the empty slice

#endif
