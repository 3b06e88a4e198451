// Slices borrow bytes, buffers own them, blobs share them. What every request does hundreds of times is inline: of literals, lengths are
// constants then.
#ifndef CC_SLICE_H
#define CC_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Borrowed bytes. data == NULL with n == 0 is the empty slice; where a value may be SQL NULL, data == NULL says so.
struct cc_slice {
    const uint8_t *data;
    size_t n;
};

static inline struct cc_slice cc_slice_of(const void *data, size_t n)
{
    return (struct cc_slice){.data = data, .n = n};
}

// Borrows the characters of `text` without its terminator. NULL gives the NULL slice.
static inline struct cc_slice cc_slice_text(const char *text)
{
    return cc_slice_of(text, text == NULL ? 0 : strlen(text));
}

// Same bytes; NULL and empty are the same here.
static inline bool cc_slice_equal(struct cc_slice a, struct cc_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0);
}

static inline bool cc_slice_equal_text(struct cc_slice a, const char *text)
{
    return cc_slice_equal(a, cc_slice_text(text));
}

static inline bool cc_slice_starts_with(struct cc_slice text, const char *prefix)
{
    size_t n = strlen(prefix);
    return text.n >= n && cc_slice_equal(cc_slice_of(text.data, n), cc_slice_of(prefix, n));
}

// Whatever the case of ASCII letters.
bool cc_slice_starts_with_fold(struct cc_slice text, const char *prefix);
static inline bool cc_slice_equal_fold(struct cc_slice a, const char *text)
{
    return a.n == strlen(text) && cc_slice_starts_with_fold(a, text);
}

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
void cc_buffer_reserve(struct cc_buffer *buffer, size_t n_more);
// n = 0, keeps the memory
static inline void cc_buffer_clear(struct cc_buffer *buffer)
{
    buffer->n = 0;
}

static inline void cc_buffer_append(struct cc_buffer *buffer, const void *data, size_t n)
{
    if (n == 0) {
        return;
    }
    if (n > buffer->capacity - buffer->n) {
        cc_buffer_reserve(buffer, n);
    }
    memcpy(buffer->data + buffer->n, data, n);
    buffer->n += n;
}

static inline void cc_buffer_append_slice(struct cc_buffer *buffer, struct cc_slice slice)
{
    cc_buffer_append(buffer, slice.data, slice.n);
}

static inline void cc_buffer_append_text(struct cc_buffer *buffer, const char *text)
{
    cc_buffer_append(buffer, text, strlen(text));
}

void cc_buffer_printf(struct cc_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline struct cc_slice cc_buffer_slice(const struct cc_buffer *buffer)
{
    return cc_slice_of(buffer->data, buffer->n);
}

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
