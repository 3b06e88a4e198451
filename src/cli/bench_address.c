// Where a replica answers.
#include "cli/bench_address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// Cuts "host:port" into its parts; host without brackets.
static enum cc_status split(const char *text, char host[128], char port[8])
{
    const char *begin = strncmp(text, "http://", 7) == 0 ? text + 7 : text;
    size_t n = strcspn(begin, "/");
    const char *colon = memrchr(begin, ':', n);
    if (colon == NULL || n >= 128 || colon == begin) {
        return CC_MALFORMED;
    }
    size_t n_host = (size_t)(colon - begin);
    size_t n_port = n - n_host - 1;
    if (begin[0] == '[' && begin[n_host - 1] == ']') {
        begin++;
        n_host -= 2;
    }
    if (n_port == 0 || n_port > 5 || strspn(colon + 1, "0123456789") < n_port) {
        return CC_MALFORMED;
    }
    memcpy(host, begin, n_host);
    host[n_host] = '\0';
    memcpy(port, colon + 1, n_port);
    port[n_port] = '\0';
    return CC_OK;
}

enum cc_status bench_address_parse(const char *text, struct bench_address *address_out)
{
    char host[128];
    char port[8];
    enum cc_status status = split(text, host, port);
    if (status != CC_OK) {
        return status;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0 || found == NULL) {
        return CC_NOT_FOUND;
    }
    *address_out = (struct bench_address){.n_bytes = found->ai_addrlen};
    memcpy(&address_out->socket_address, found->ai_addr, found->ai_addrlen);
    snprintf(address_out->text, sizeof(address_out->text), strchr(host, ':') == NULL ? "%s:%s" : "[%s]:%s", host, port);
    freeaddrinfo(found);
    return CC_OK;
}

static enum cc_status wait_connected(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    if (poll(&wait, 1, timeout_ms) != 1) {
        return CC_TIMEOUT;
    }
    int error = 0;
    socklen_t n = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0 ? CC_OK : CC_REFUSED;
}

enum cc_status bench_address_connect(const struct bench_address *address, int timeout_ms, int *fd_out)
{
    int fd = socket(address->socket_address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return CC_IO;
    }
    enum cc_status status = CC_OK;
    if (connect(fd, (const struct sockaddr *)&address->socket_address, address->n_bytes) != 0) {
        status = errno == EINPROGRESS ? wait_connected(fd, timeout_ms) : CC_REFUSED;
    }
    if (status != CC_OK) {
        close(fd);
        return status;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *fd_out = fd;
    return CC_OK;
}
