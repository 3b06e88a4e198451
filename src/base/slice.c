// Slices, buffers and blobs.
#include "base/slice.h"

#include "base/memory.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES_MIN = 64 };

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool cc_slice_starts_with_fold(struct cc_slice text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (text.n < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (lower(text.data[i]) != lower((uint8_t)prefix[i])) {
            return false;
        }
    }
    return true;
}

int cc_slice_compare(struct cc_slice a, struct cc_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    if (order != 0) {
        return order;
    }
    return (a.n > b.n) - (a.n < b.n);
}

bool cc_slice_take_byte(struct cc_slice *text, char c)
{
    if (text->n == 0 || text->data[0] != (uint8_t)c) {
        return false;
    }
    *text = cc_slice_of(text->data + 1, text->n - 1);
    return true;
}

bool cc_slice_take_number(struct cc_slice *text, uint64_t max, uint64_t *number_out)
{
    uint64_t number = 0;
    size_t n = 0;
    for (; n < text->n && text->data[n] >= '0' && text->data[n] <= '9'; n++) {
        uint64_t digit = (uint64_t)(text->data[n] - '0');
        if (digit > max || number > (max - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    if (n == 0) {
        return false;
    }
    *text = cc_slice_of(text->data + n, text->n - n);
    *number_out = number;
    return true;
}

void cc_buffer_finish(struct cc_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct cc_buffer){0};
}

void cc_buffer_reserve(struct cc_buffer *buffer, size_t n_more)
{
    if (n_more > SIZE_MAX - buffer->n) {
        abort();
    }
    size_t n = buffer->n + n_more;
    buffer->data = cc_grow(buffer->data, &buffer->capacity, n < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : n, 1);
}

void cc_buffer_printf(struct cc_buffer *buffer, const char *format, ...)
{
    cc_buffer_reserve(buffer, BUFFER_BYTES_MIN); // mostly enough
    size_t n_left = buffer->capacity - buffer->n;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf((char *)buffer->data + buffer->n, n_left, format, arguments);
    va_end(arguments);
    assert(n >= 0);
    if ((size_t)n >= n_left) {
        cc_buffer_reserve(buffer, (size_t)n + 1);
        va_start(arguments, format);
        vsnprintf((char *)buffer->data + buffer->n, (size_t)n + 1, format, arguments);
        va_end(arguments);
    }
    buffer->n += (size_t)n;
}

const char *cc_buffer_text(struct cc_buffer *buffer)
{
    cc_buffer_reserve(buffer, 1);
    buffer->data[buffer->n] = '\0';
    return (const char *)buffer->data;
}

struct cc_blob *cc_blob_create(const void *data, size_t n)
{
    if (n > SIZE_MAX - sizeof(struct cc_blob)) {
        abort();
    }
    struct cc_blob *blob = malloc(sizeof(*blob) + n); // not zeroed: filled at once
    if (blob == NULL) {
        abort();
    }
    blob->n_references = 1;
    blob->n = n;
    if (n > 0) {
        memcpy(blob->data, data, n);
    }
    return blob;
}

struct cc_blob *cc_blob_ref(struct cc_blob *blob)
{
    if (blob != NULL) {
        assert(blob->n_references < UINT32_MAX);
        blob->n_references++;
    }
    return blob;
}

void cc_blob_unref(struct cc_blob *blob)
{
    if (blob == NULL) {
        return;
    }
    assert(blob->n_references > 0);
    blob->n_references--;
    if (blob->n_references == 0) {
        free(blob);
    }
}

struct cc_slice cc_blob_slice(const struct cc_blob *blob)
{
    return blob == NULL ? (struct cc_slice){0} : cc_slice_of(blob->data, blob->n);
}
