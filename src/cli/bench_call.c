// One blocking keep-alive connection.
#include "cli/bench_call.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 16 << 10 };

void bench_call_init(struct bench_call *call, const struct bench_address *address)
{
    *call = (struct bench_call){.fd = -1, .address = *address};
}

static void disconnect(struct bench_call *call)
{
    if (call->fd >= 0) {
        close(call->fd);
    }
    call->fd = -1;
    cc_buffer_clear(&call->in);
}

void bench_call_finish(struct bench_call *call)
{
    disconnect(call);
    cc_buffer_finish(&call->in);
    cc_buffer_finish(&call->scratch);
}

static enum cc_status wait_for(struct bench_call *call, short events, int timeout_ms)
{
    struct pollfd wait = {.fd = call->fd, .events = events};
    int n = poll(&wait, 1, timeout_ms);
    return n == 1 ? CC_OK : n == 0 ? CC_TIMEOUT : errno == EINTR ? CC_OK : CC_IO;
}

static enum cc_status send_all(struct bench_call *call, struct cc_slice request, int timeout_ms)
{
    size_t n_sent = 0;
    while (n_sent < request.n) {
        ssize_t n = send(call->fd, request.data + n_sent, request.n - n_sent, MSG_NOSIGNAL);
        n_sent += n > 0 ? (size_t)n : 0;
        enum cc_status status = n >= 0                              ? CC_OK
                                : errno == EAGAIN || errno == EINTR ? wait_for(call, POLLOUT, timeout_ms)
                                                                    : CC_IO;
        if (status != CC_OK) {
            return status;
        }
    }
    return CC_OK;
}

static enum cc_status receive_answer(struct bench_call *call, int timeout_ms, struct bench_http_answer *answer_out)
{
    cc_buffer_clear(&call->in);
    for (;;) {
        size_t n_taken;
        switch (bench_http_answer_parse(cc_buffer_slice(&call->in), &call->scratch, answer_out, &n_taken)) {
        case BENCH_ANSWER_COMPLETE:
            return n_taken == call->in.n ? CC_OK : CC_MALFORMED;
        case BENCH_ANSWER_MALFORMED:
            return CC_MALFORMED;
        case BENCH_ANSWER_MORE:
            break;
        }
        enum cc_status status = wait_for(call, POLLIN, timeout_ms);
        if (status != CC_OK) {
            return status;
        }
        cc_buffer_reserve(&call->in, READ_BYTES);
        ssize_t n = recv(call->fd, call->in.data + call->in.n, READ_BYTES, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            return CC_IO;
        }
        call->in.n += n > 0 ? (size_t)n : 0;
    }
}

enum cc_status bench_call_run(struct bench_call *call, struct cc_slice request, int timeout_ms,
                              struct bench_http_answer *answer_out)
{
    enum cc_status status = CC_OK;
    if (call->fd < 0) {
        status = bench_address_connect(&call->address, timeout_ms, &call->fd);
    }
    if (status == CC_OK) {
        status = send_all(call, request, timeout_ms);
    }
    if (status == CC_OK) {
        status = receive_answer(call, timeout_ms, answer_out);
    }
    if (status != CC_OK) {
        disconnect(call);
    } else if (answer_out->close) {
        close(call->fd); // the answer still borrows from the buffer
        call->fd = -1;
    }
    return status;
}
