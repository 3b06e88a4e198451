// Request: headers of a request.
#include "rest/request.h"

#include <string.h>

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

struct cc_slice rest_text_trim(struct cc_slice text)
{
    while (text.n > 0 && is_blank(text.data[0])) {
        text = cc_slice_of(text.data + 1, text.n - 1);
    }
    while (text.n > 0 && is_blank(text.data[text.n - 1])) {
        text.n--;
    }
    return text;
}

struct cc_slice rest_request_header(const struct rest_request *request, const char *name)
{
    size_t n_name = strlen(name); // once, not for each header
    for (uint32_t i = 0; i < request->n_headers; i++) {
        const struct rest_header *header = &request->headers[i];
        if (header->name.n == n_name && cc_slice_starts_with_fold(header->name, name)) {
            return rest_text_trim(header->value);
        }
    }
    return (struct cc_slice){0};
}
