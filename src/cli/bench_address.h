// Where a replica answers: an address resolved once, and its text.
#ifndef CLI_BENCH_ADDRESS_H
#define CLI_BENCH_ADDRESS_H

#include "base/slice.h"
#include "base/status.h"

#include <sys/socket.h>

enum { BENCH_ADDRESSES_MAX = 64 };

struct bench_address {
    char text[128]; // "host:port", also the Host header
    struct sockaddr_storage socket_address;
    socklen_t n_bytes;
};

// "http://host:port", "host:port" or "[::1]:port"; a path after it is ignored. Resolves names (blocks).
// CC_MALFORMED; CC_NOT_FOUND: the name does not resolve.
enum cc_status bench_address_parse(const char *text, struct bench_address *address_out) CC_CHECKED;

// A connected, non-blocking socket with TCP_NODELAY; the caller closes it. CC_TIMEOUT, CC_REFUSED.
enum cc_status bench_address_connect(const struct bench_address *address, int timeout_ms, int *fd_out) CC_CHECKED;

#endif
