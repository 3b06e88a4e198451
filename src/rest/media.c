// Media types: what the Accept header admits.
#include "rest/plan_internal.h"

#include <stdlib.h>
#include <string.h>

struct offer {
    struct cc_slice type; // without parameters
    bool stripped;        // ;nulls=stripped
    double quality;
};

static struct cc_slice next_part(struct cc_slice *text, uint8_t separator)
{
    size_t n = 0;
    while (n < text->n && text->data[n] != separator) {
        n++;
    }
    struct cc_slice part = rest_text_trim(cc_slice_of(text->data, n));
    size_t skip = n < text->n ? n + 1 : n;
    *text = cc_slice_of(text->data + skip, text->n - skip);
    return part;
}

static double read_quality(struct cc_slice text)
{
    char digits[8] = {0};
    memcpy(digits, text.data, text.n < sizeof(digits) ? text.n : sizeof(digits) - 1);
    char *end = NULL;
    double quality = strtod(digits, &end);
    return end == digits || quality < 0 || quality > 1 ? 0 : quality;
}

static void read_offer(struct cc_slice text, struct offer *offer)
{
    *offer = (struct offer){.quality = 1};
    offer->type = next_part(&text, ';');
    while (text.n > 0) {
        struct cc_slice parameter = next_part(&text, ';');
        if (rest_text_equal_fold(parameter, "nulls=stripped")) {
            offer->stripped = true;
        } else if (parameter.n > 2 && (parameter.data[0] | 0x20) == 'q' && parameter.data[1] == '=') {
            offer->quality = read_quality(cc_slice_of(parameter.data + 2, parameter.n - 2));
        }
    }
}

static bool format_of(const struct offer *offer, bool is_root, enum rest_format *out)
{
    static const struct {
        const char *type;
        enum rest_format plain, stripped;
    } formats[] = {
        {"application/json", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY},
        {"*/*", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY},
        {"application/*", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY},
        {"application/vnd.pgrst.object+json", REST_FORMAT_OBJECT, REST_FORMAT_OBJECT_STRIPPED},
        {"application/vnd.pgrst.object", REST_FORMAT_OBJECT, REST_FORMAT_OBJECT_STRIPPED},
        {"application/vnd.pgrst.array+json", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY_STRIPPED},
        {"application/vnd.pgrst.array", REST_FORMAT_ARRAY, REST_FORMAT_ARRAY_STRIPPED},
        {"text/csv", REST_FORMAT_CSV, REST_FORMAT_CSV},
    };
    if (is_root) {
        *out = REST_FORMAT_OPENAPI;
        return rest_text_equal_fold(offer->type, "application/openapi+json") ||
               rest_text_equal_fold(offer->type, "application/json") || rest_text_equal_fold(offer->type, "*/*") ||
               rest_text_equal_fold(offer->type, "application/*");
    }
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (rest_text_equal_fold(offer->type, formats[i].type)) {
            *out = offer->stripped ? formats[i].stripped : formats[i].plain;
            return true;
        }
    }
    return false;
}

bool plan_negotiate(struct planner *planner)
{
    struct cc_slice accept = rest_request_header(planner->request, "Accept");
    bool is_root = planner->relation.data == NULL;
    struct cc_slice rest = accept;
    double best = 0;
    if (accept.n == 0) {
        planner->plan->facts.format = is_root ? REST_FORMAT_OPENAPI : REST_FORMAT_ARRAY;
        return true;
    }
    while (rest.n > 0) {
        struct offer offer;
        enum rest_format format = REST_FORMAT_ARRAY;
        read_offer(next_part(&rest, ','), &offer);
        if (offer.quality > best && format_of(&offer, is_root, &format)) {
            best = offer.quality;
            planner->plan->facts.format = format;
        }
    }
    if (best > 0) {
        return true;
    }
    return plan_refuse(
        planner, REST_MEDIA_TYPE,
        plan_text(planner, "None of these media types are available: %.*s", (int)accept.n, (const char *)accept.data),
        NULL, NULL);
}
