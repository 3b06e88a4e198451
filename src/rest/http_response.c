// Answers on the wire.
#include "rest/http_response.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const char *const day_names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct status_name {
    unsigned status;
    const char *text;
};

static const struct status_name status_names[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_status_text(unsigned status)
{
    for (size_t i = 0; i < sizeof(status_names) / sizeof(status_names[0]); i++) {
        if (status_names[i].status == status) {
            return status_names[i].text;
        }
    }
    return "Unknown";
}

// Days since 1970-01-01 to year, month 1..12, day 1..31 (the usual calendar arithmetic on eras of 400 years).
static void civil_date(int64_t days, int64_t *year_out, unsigned *month_out, unsigned *day_out)
{
    int64_t shifted = days + 719468; // days since 0000-03-01
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    *day_out = (unsigned)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *month_out = (unsigned)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *year_out = year_of_era + era * 400 + (*month_out <= 2 ? 1 : 0);
}

void http_date(int64_t seconds, char out[30])
{
    const int64_t last_second = 253402300799; // of the year 9999
    int64_t now = seconds < 0 ? 0 : seconds > last_second ? last_second : seconds;
    int64_t days = now / 86400;
    unsigned second_of_day = (unsigned)(now % 86400);
    int64_t year;
    unsigned month, day;
    civil_date(days, &year, &month, &day);
    char text[64];
    int n = snprintf(text, sizeof(text), "%s, %02u %s %04u %02u:%02u:%02u GMT", day_names[(days + 4) % 7], day,
                     month_names[month - 1], (unsigned)year, second_of_day / 3600, second_of_day / 60 % 60,
                     second_of_day % 60);
    assert(n == 29);
    memcpy(out, text, 30);
}

static bool is_clean(struct cc_slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((text.data[i] < ' ' && text.data[i] != '\t') || text.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool is_header_clean(const struct rest_header *header)
{
    bool name_ok = header->name.n > 0 && is_clean(header->name) &&
                   memchr(header->name.data, ':', header->name.n) == NULL &&
                   memchr(header->name.data, ' ', header->name.n) == NULL;
    return name_ok && is_clean(header->value);
}

bool http_response_has_body(unsigned status, enum http_method method)
{
    return method != HTTP_HEAD && status != 204 && status != 304;
}

static size_t body_bytes(const struct http_response *response)
{
    return response->moved_body != NULL ? response->moved_body->n : response->body.n;
}

// Hot: one call per answer, hence no printf.
static void put_number(struct cc_buffer *out, size_t number)
{
    char digits[24];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    cc_buffer_append(out, digits + i, sizeof(digits) - i);
}

enum cc_status http_response_put_head(struct cc_buffer *out, const struct http_response *response,
                                      enum http_method method, const char *date)
{
    assert(response->status >= 200 && response->status <= 599);
    for (size_t i = 0; i < response->n_headers; i++) {
        if (!is_header_clean(&response->headers[i])) {
            return CC_INVALID;
        }
    }
    cc_buffer_reserve(out, 512);
    cc_buffer_append_text(out, "HTTP/1.1 ");
    put_number(out, response->status);
    cc_buffer_append_text(out, " ");
    cc_buffer_append_text(out, http_status_text(response->status));
    cc_buffer_append_text(out, "\r\nServer: caucus\r\nDate: ");
    cc_buffer_append_text(out, date);
    cc_buffer_append_text(out, "\r\nX-Content-Type-Options: nosniff\r\n");
    for (size_t i = 0; i < response->n_headers; i++) {
        cc_buffer_append_slice(out, response->headers[i].name);
        cc_buffer_append_text(out, ": ");
        cc_buffer_append_slice(out, response->headers[i].value);
        cc_buffer_append_text(out, "\r\n");
    }
    if (http_response_has_body(response->status, method)) {
        cc_buffer_append_text(out, "Content-Length: ");
        put_number(out, body_bytes(response));
        cc_buffer_append_text(out, "\r\n");
    }
    if (response->close) {
        cc_buffer_append_text(out, "Connection: close\r\n");
    }
    cc_buffer_append_text(out, "\r\n");
    return CC_OK;
}

static struct rest_header header_of(const char *name, const char *value)
{
    return (struct rest_header){cc_slice_text(name), cc_slice_text(value)};
}

void http_refusal_put(struct cc_buffer *out, enum http_refusal refusal, const char *date)
{
    struct cc_buffer body = {0};
    cc_buffer_printf(&body, "{\"code\":\"%s\",\"message\":\"%s\",\"details\":null,\"hint\":null}",
                     http_refusal_code(refusal), http_refusal_text(refusal));
    struct rest_header headers[3];
    size_t n_headers = 0;
    headers[n_headers++] = header_of("Content-Type", "application/json; charset=utf-8");
    if (http_refusal_status(refusal) == 405) {
        headers[n_headers++] = header_of("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    if (http_refusal_status(refusal) == 503) {
        headers[n_headers++] = header_of("Retry-After", "1");
    }
    struct http_response response = {
        .status = http_refusal_status(refusal),
        .headers = headers,
        .n_headers = n_headers,
        .body = cc_buffer_slice(&body),
        .close = true,
    };
    enum cc_status status = http_response_put_head(out, &response, HTTP_GET, date);
    assert(status == CC_OK);
    cc_buffer_append_slice(out, response.body);
    cc_buffer_finish(&body);
}
