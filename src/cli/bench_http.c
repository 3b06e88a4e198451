// Reads HTTP/1.1 answers from a byte stream.
#include "cli/bench_http.h"

#include <string.h>

struct head {
    struct bench_http_answer answer;
    bool chunked;
    bool has_length;
    uint64_t length;
    size_t n_bytes; // up to the body
};

// The line at *at without its CRLF; false if it has not ended yet.
static bool take_line(struct cc_slice input, size_t *at, struct cc_slice *line_out)
{
    const uint8_t *from = input.data + *at;
    const uint8_t *end = memchr(from, '\n', input.n - *at);
    if (end == NULL) {
        return false;
    }
    *at += (size_t)(end - from) + 1;
    size_t n = (size_t)(end - from);
    *line_out = cc_slice_of(from, n > 0 && from[n - 1] == '\r' ? n - 1 : n);
    return true;
}

static struct cc_slice trimmed(struct cc_slice text)
{
    while (text.n > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = cc_slice_of(text.data + 1, text.n - 1);
    }
    while (text.n > 0 && (text.data[text.n - 1] == ' ' || text.data[text.n - 1] == '\t')) {
        text.n--;
    }
    return text;
}

static bool parse_number(struct cc_slice text, unsigned base, uint64_t max, uint64_t *number_out)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.data[i];
        unsigned digit = c >= '0' && c <= '9'                 ? c - 48u
                         : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10u
                                                              : 16;
        if (digit >= base || number > max) {
            return false;
        }
        number = number * base + digit;
    }
    *number_out = number;
    return text.n > 0 && number <= max;
}

static bool parse_status_line(struct cc_slice line, struct head *head)
{
    uint64_t status;
    if (line.n < 12 || memcmp(line.data, "HTTP/1.", 7) != 0 || line.data[8] != ' ' ||
        !parse_number(cc_slice_of(line.data + 9, 3), 10, 599, &status) || status < 100) {
        return false;
    }
    head->answer.status = (unsigned)status;
    head->answer.close = line.data[7] == '0';
    return line.data[7] == '0' || line.data[7] == '1';
}

static bool parse_header(struct cc_slice line, struct head *head)
{
    const uint8_t *colon = memchr(line.data, ':', line.n);
    if (colon == NULL) {
        return false;
    }
    struct cc_slice name = cc_slice_of(line.data, (size_t)(colon - line.data));
    struct cc_slice value = trimmed(cc_slice_of(colon + 1, line.n - name.n - 1));
    if (cc_slice_equal_fold(name, "content-length")) {
        bool repeated = head->has_length;
        head->has_length = true;
        return !repeated && parse_number(value, 10, BENCH_HTTP_BODY_BYTES_MAX, &head->length);
    }
    if (cc_slice_equal_fold(name, "transfer-encoding")) {
        head->chunked = true;
        return cc_slice_equal_fold(value, "chunked");
    }
    if (cc_slice_equal_fold(name, "connection")) {
        head->answer.close = cc_slice_equal_fold(value, "close");
    } else if (cc_slice_equal_fold(name, "caucus-session")) {
        head->answer.session = value;
    } else if (cc_slice_equal_fold(name, "content-range")) {
        head->answer.content_range = value;
    } else if (cc_slice_equal_fold(name, "retry-after")) {
        head->answer.retry_after = value;
    }
    return true;
}

static enum bench_verdict parse_head(struct cc_slice input, struct head *head)
{
    size_t at = 0;
    struct cc_slice line;
    enum bench_verdict short_of = input.n > BENCH_HTTP_HEAD_BYTES_MAX ? BENCH_ANSWER_MALFORMED : BENCH_ANSWER_MORE;
    if (!take_line(input, &at, &line)) {
        return short_of;
    }
    if (!parse_status_line(line, head)) {
        return BENCH_ANSWER_MALFORMED;
    }
    while (take_line(input, &at, &line)) {
        if (line.n == 0) {
            head->n_bytes = at;
            return at <= BENCH_HTTP_HEAD_BYTES_MAX ? BENCH_ANSWER_COMPLETE : BENCH_ANSWER_MALFORMED;
        }
        if (!parse_header(line, head)) {
            return BENCH_ANSWER_MALFORMED;
        }
    }
    return short_of;
}

// Chunks up to and with the last one and its trailers.
static enum bench_verdict parse_chunks(struct cc_slice input, size_t at, struct cc_buffer *scratch,
                                       size_t *end_out)
{
    cc_buffer_clear(scratch);
    struct cc_slice line;
    while (take_line(input, &at, &line)) {
        const uint8_t *extension = memchr(line.data, ';', line.n);
        uint64_t n;
        struct cc_slice digits =
            trimmed(extension == NULL ? line : cc_slice_of(line.data, (size_t)(extension - line.data)));
        if (!parse_number(digits, 16, BENCH_HTTP_BODY_BYTES_MAX, &n) || scratch->n + n > BENCH_HTTP_BODY_BYTES_MAX) {
            return BENCH_ANSWER_MALFORMED;
        }
        if (n == 0) {
            while (take_line(input, &at, &line)) {
                if (line.n == 0) {
                    *end_out = at;
                    return BENCH_ANSWER_COMPLETE;
                }
            }
            return BENCH_ANSWER_MORE;
        }
        if (input.n - at < n + 2) {
            return BENCH_ANSWER_MORE;
        }
        if (memcmp(input.data + at + n, "\r\n", 2) != 0) {
            return BENCH_ANSWER_MALFORMED;
        }
        cc_buffer_append(scratch, input.data + at, n);
        at += n + 2;
    }
    return BENCH_ANSWER_MORE;
}

static enum bench_verdict parse_one(struct cc_slice input, struct cc_buffer *scratch,
                                    struct bench_http_answer *answer_out, size_t *n_taken_out)
{
    struct head head = {0};
    enum bench_verdict verdict = parse_head(input, &head);
    if (verdict != BENCH_ANSWER_COMPLETE) {
        return verdict;
    }
    size_t end = head.n_bytes;
    unsigned status = head.answer.status;
    if (status == 204 || status == 304 || status < 200) {
        head.answer.body = cc_slice_of(input.data + end, 0);
    } else if (head.chunked) {
        verdict = head.has_length ? BENCH_ANSWER_MALFORMED : parse_chunks(input, end, scratch, &end);
        head.answer.body = cc_buffer_slice(scratch);
    } else if (!head.has_length) {
        verdict = BENCH_ANSWER_MALFORMED;
    } else if (input.n - end < head.length) {
        verdict = BENCH_ANSWER_MORE;
    } else {
        head.answer.body = cc_slice_of(input.data + end, head.length);
        end += head.length;
    }
    if (verdict == BENCH_ANSWER_COMPLETE) {
        *answer_out = head.answer;
        *n_taken_out = end;
    }
    return verdict;
}

enum bench_verdict bench_http_answer_parse(struct cc_slice input, struct cc_buffer *scratch,
                                           struct bench_http_answer *answer_out, size_t *n_taken_out)
{
    size_t n_skipped = 0;
    while (n_skipped < input.n) {
        struct bench_http_answer answer;
        size_t n_taken;
        struct cc_slice rest = cc_slice_of(input.data + n_skipped, input.n - n_skipped);
        enum bench_verdict verdict = parse_one(rest, scratch, &answer, &n_taken);
        if (verdict != BENCH_ANSWER_COMPLETE) {
            return verdict;
        }
        n_skipped += n_taken;
        if (answer.status >= 200) {
            *answer_out = answer;
            *n_taken_out = n_skipped;
            return BENCH_ANSWER_COMPLETE;
        }
    }
    return BENCH_ANSWER_MORE;
}
