// The logger. One line is one write of at most PIPE_BUF bytes, made only when the descriptor takes it at once.
#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = PIPE_BUF, QUOTED_BYTES_MAX = 400, QUOTE_BUFFERS = 8 };

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int log_fd = STDERR_FILENO;
static _Atomic uint32_t log_level = CC_LOG_INFO;
static _Atomic uint32_t log_replica;
static _Atomic uint64_t n_dropped;

static const char *level_name(enum cc_log_level level)
{
    switch (level) {
    case CC_LOG_DEBUG:
        return "debug";
    case CC_LOG_INFO:
        return "info";
    case CC_LOG_WARN:
        return "warn";
    case CC_LOG_ERROR:
        return "error";
    }
    return "unknown";
}

void cc_log_open(int fd, enum cc_log_level level, uint32_t replica)
{
    atomic_store(&log_fd, fd);
    atomic_store(&log_level, (uint32_t)level);
    atomic_store(&log_replica, replica);
}

uint64_t cc_log_dropped(void)
{
    return atomic_load(&n_dropped);
}

// The length of what snprintf left in `room` bytes when it reports `n`.
static size_t fitted(int n, size_t room)
{
    if (n < 0) {
        return 0;
    }
    return (size_t)n < room ? (size_t)n : room - 1;
}

static size_t put_prefix(char *line, size_t room, enum cc_log_level level, const char *event)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t n = strftime(line, room, "time=%Y-%m-%dT%H:%M:%S", &parts);
    n += fitted(snprintf(line + n, room - n, ".%03dZ level=%s event=%s", (int)(now.tv_nsec / 1000000),
                         level_name(level), event),
                room - n);
    uint32_t replica = atomic_load(&log_replica);
    if (replica != 0) {
        n += fitted(snprintf(line + n, room - n, " replica=%u", (unsigned)replica), room - n);
    }
    return n;
}

// A foreign text may hold line breaks in spite of cc_log_quote: one event stays one line.
static void flatten(char *line, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)line[i] < ' ') {
            line[i] = ' ';
        }
    }
}

static void write_line(const char *line, size_t n)
{
    struct pollfd target = {.fd = atomic_load(&log_fd), .events = POLLOUT};
    // Other threads of this process must not fill the pipe between poll and write.
    pthread_mutex_lock(&writing);
    bool ready = poll(&target, 1, 0) == 1 && (target.revents & POLLOUT) != 0;
    bool written = ready && write(target.fd, line, n) == (ssize_t)n;
    pthread_mutex_unlock(&writing);
    if (!written) {
        atomic_fetch_add(&n_dropped, 1);
    }
}

void cc_log(enum cc_log_level level, const char *event, const char *fields, ...)
{
    if ((uint32_t)level < atomic_load(&log_level)) {
        return;
    }
    char line[LINE_BYTES_MAX];
    size_t room = sizeof(line) - 1; // the line break always has its place
    size_t n = put_prefix(line, room, level, event);
    if (fields[0] != '\0' && n + 1 < room) {
        line[n++] = ' ';
        va_list arguments;
        va_start(arguments, fields);
        n += fitted(vsnprintf(line + n, room - n, fields, arguments), room - n);
        va_end(arguments);
    }
    flatten(line, n);
    line[n++] = '\n';
    write_line(line, n);
}

// Appends one character, escaped when it must be, and returns the new length.
static size_t put_escaped(char *out, size_t n, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
        out[n++] = '\\';
        out[n++] = (char)c;
    } else if (c == '\n') {
        out[n++] = '\\';
        out[n++] = 'n';
    } else if (c < ' ' || c == 0x7f) {
        out[n++] = '\\';
        out[n++] = 'x';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    } else {
        out[n++] = (char)c;
    }
    return n;
}

const char *cc_log_quote(const char *text)
{
    static _Thread_local char ring[QUOTE_BUFFERS][QUOTED_BYTES_MAX + 8];
    static _Thread_local unsigned next;
    char *out = ring[next++ % QUOTE_BUFFERS];
    size_t n = 0;
    out[n++] = '"';
    for (; text != NULL && *text != '\0' && n <= QUOTED_BYTES_MAX; text++) {
        n = put_escaped(out, n, (unsigned char)*text);
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}
