// One blocking keep-alive connection, for what the load generator does before and after the load.
#ifndef CLI_BENCH_CALL_H
#define CLI_BENCH_CALL_H

#include "cli/bench_address.h"
#include "cli/bench_http.h"

struct bench_call {
    int fd; // -1: not connected
    struct bench_address address;
    struct cc_buffer in;
    struct cc_buffer scratch;
};

void bench_call_init(struct bench_call *call, const struct bench_address *address);
void bench_call_finish(struct bench_call *call);

// Sends `request` (a whole HTTP request) and waits for its answer, which borrows from `call` until the next call.
// Connects first if need be. CC_TIMEOUT, CC_REFUSED, CC_IO, CC_MALFORMED; then the connection is closed and the outcome unknown.
enum cc_status bench_call_run(struct bench_call *call, struct cc_slice request, int timeout_ms,
                              struct bench_http_answer *answer_out) CC_CHECKED;

#endif
