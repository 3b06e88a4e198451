// Reads HTTP/1.1 answers from a byte stream: just what a load generator needs, and strict about it. Pure.
#ifndef CLI_BENCH_HTTP_H
#define CLI_BENCH_HTTP_H

#include "base/slice.h"
#include "cli/bench_verdict.h"

enum {
    BENCH_HTTP_HEAD_BYTES_MAX = 64 << 10,
    BENCH_HTTP_BODY_BYTES_MAX = 64 << 20,
};

// All slices borrow from the input, except the body of a chunked answer, which borrows from `scratch`.
struct bench_http_answer {
    unsigned status; // 100 .. 599, never 1xx: those are skipped
    bool close;      // the connection ends with this answer
    struct cc_slice body;
    struct cc_slice session;       // Caucus-Session, NULL if absent
    struct cc_slice content_range; // NULL if absent
    struct cc_slice retry_after;   // NULL if absent
};

// Looks for one whole answer at the beginning of `input`. `scratch` is the caller's, reused between calls.
// An answer to HEAD is not understood (it would need the method); nor is a body that ends with the connection.
// Source: RFC 9112 sections 2.2, 4, 6.3, 7.1.
enum bench_verdict bench_http_answer_parse(struct cc_slice input, struct cc_buffer *scratch,
                                           struct bench_http_answer *answer_out, size_t *n_taken_out);

#endif
