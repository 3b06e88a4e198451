// One connection between two replicas.
#include "proxy/peer/io_link.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "proxy/config/io_keys.h"

enum {
    SEAL_ABOVE_BYTES = 256 << 10,  // plain text of one record, unless a single frame is larger
    READ_BYTES = 128 << 10,        // asked of the socket at once
    READ_BYTES_PER_TURN = 1 << 20, // then others have their turn
    GROW_BYTES_MAX = 1 << 20,      // reserved ahead of what has arrived, whatever length a record claims
    KEEP_BYTES_MAX = 1 << 20,      // larger buffers are given back when empty
    CHECKS_PER_IDLE = 4,           // so often in idle_ms we look for silence, and break it
    PROBLEM_BYTES = 160,
};

struct io_link {
    const struct io_link_settings *settings;
    enum io_link_state state;
    bool dialled;
    bool refused;
    bool doomed; // failed while the handler must not be called: closed when the loop comes around
    int fd;
    uint32_t peer, incarnation;
    struct event *readable, *writable, *timer;
    struct handshake handshake;
    struct channel send, receive;
    struct cc_buffer in;     // received, not yet opened
    struct cc_buffer opened; // plain text of the record being told
    struct cc_buffer plain;  // frames of the record to be sealed next
    struct cc_buffer out;    // sealed
    size_t n_out_sent;       // of out
    uint64_t n_sent, n_received;
    uint64_t checked_sent, checked_received; // at the last check
    uint64_t silent_since_ms, stuck_since_ms;
    char problem[PROBLEM_BYTES];
    struct io_link *next;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

__attribute__((format(printf, 2, 3))) static void say(struct io_link *link, const char *format, ...)
{
    if (link->problem[0] != '\0') {
        return; // the first reason is the one
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(link->problem, sizeof(link->problem), format, arguments);
    va_end(arguments);
}

static void say_errno(struct io_link *link, const char *what, int error)
{
    char text[64];
    say(link, "%s: %s", what, strerror_r(error, text, sizeof(text)));
}

// -- Closing --------------------------------------------------------------------------------------------------------

static void free_event(struct event **event)
{
    if (*event != NULL) {
        event_free(*event);
        *event = NULL;
    }
}

static void release(struct io_link *link)
{
    link->state = IO_LINK_CLOSED;
    free_event(&link->readable);
    free_event(&link->writable);
    free_event(&link->timer);
    if (link->fd >= 0) {
        (void)close(link->fd);
        link->fd = -1;
    }
    handshake_forget(&link->handshake);
    channel_forget(&link->send);
    channel_forget(&link->receive);
}

// From the loop: releases and tells.
static void fail(struct io_link *link)
{
    if (link->state == IO_LINK_CLOSED) {
        return;
    }
    release(link);
    link->settings->handler.on_closed(link->settings->handler.context, link);
}

static void doom(struct io_link *link)
{
    if (link->state != IO_LINK_CLOSED && !link->doomed) {
        link->doomed = true;
        event_active(link->timer, EV_TIMEOUT, 0);
    }
}

static bool try_send(struct io_link *link);

void io_link_close(struct io_link *link, bool orderly)
{
    if (link->state == IO_LINK_CLOSED) {
        return;
    }
    if (orderly && link->state == IO_LINK_OPEN && !link->send.ended) {
        channel_seal(&link->send, cc_buffer_slice(&link->plain), true, &link->out);
        (void)try_send(link);
    }
    release(link);
}

void io_link_destroy(struct io_link *link)
{
    if (link == NULL) {
        return;
    }
    release(link);
    cc_buffer_finish(&link->in);
    cc_buffer_finish(&link->opened);
    cc_buffer_finish(&link->plain);
    cc_buffer_finish(&link->out);
    free(link);
}

// -- Sending --------------------------------------------------------------------------------------------------------

static void give_back(struct cc_buffer *buffer)
{
    cc_buffer_clear(buffer);
    if (buffer->capacity > KEEP_BYTES_MAX) {
        cc_buffer_finish(buffer);
    }
}

// Sends as much as the socket takes. False: it is broken.
static bool try_send(struct io_link *link)
{
    while (link->n_out_sent < link->out.n) {
        ssize_t n = send(link->fd, link->out.data + link->n_out_sent, link->out.n - link->n_out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN) {
            say_errno(link, "sending", errno);
            return false;
        }
        if (n < 0) {
            return event_add(link->writable, NULL) == 0;
        }
        link->n_out_sent += (size_t)n;
        link->n_sent += (uint64_t)n;
    }
    give_back(&link->out);
    link->n_out_sent = 0;
    return true;
}

// Sealed bytes that were sent make room before more is sealed.
static void compact(struct io_link *link)
{
    if (link->n_out_sent > 0 && link->n_out_sent >= link->out.n / 2) {
        memmove(link->out.data, link->out.data + link->n_out_sent, link->out.n - link->n_out_sent);
        link->out.n -= link->n_out_sent;
        link->n_out_sent = 0;
    }
}

static void seal(struct io_link *link)
{
    compact(link);
    channel_seal(&link->send, cc_buffer_slice(&link->plain), false, &link->out);
    give_back(&link->plain);
}

size_t io_link_queued_bytes(const struct io_link *link)
{
    return link->plain.n + link->out.n - link->n_out_sent;
}

void io_link_send(struct io_link *link, struct cc_slice frame)
{
    if (link->state != IO_LINK_OPEN || link->doomed) {
        return;
    }
    size_t n_queued = io_link_queued_bytes(link);
    if (n_queued > 0 && n_queued + frame.n > link->settings->queue_bytes_max) {
        say(link, "it is too far behind: more than %zu bytes wait to be sent", link->settings->queue_bytes_max);
        doom(link);
        return;
    }
    if (link->plain.n > 0 && link->plain.n + frame.n > SEAL_ABOVE_BYTES) {
        seal(link);
    }
    channel_put_frame(&link->plain, frame);
}

void io_link_flush(struct io_link *link)
{
    if (link->state != IO_LINK_OPEN || link->doomed || link->plain.n == 0) {
        return;
    }
    seal(link);
    bool waits = event_pending(link->writable, EV_WRITE, NULL) != 0;
    if (!waits && !try_send(link)) {
        doom(link);
    }
}

// -- Handshake ------------------------------------------------------------------------------------------------------

static void arm(struct io_link *link, uint32_t ms)
{
    struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(link->timer, &wait);
}

static void open_channel(struct io_link *link)
{
    link->peer = link->handshake.peer->id;
    link->incarnation = link->handshake.peer_incarnation;
    handshake_take_channels(&link->handshake, &link->send, &link->receive);
    link->state = IO_LINK_OPEN;
    link->silent_since_ms = link->stuck_since_ms = now_ms();
    arm(link, link->settings->idle_ms / CHECKS_PER_IDLE);
    link->settings->handler.on_open(link->settings->handler.context, link);
}

// Takes what has arrived of the next message. Never more: what follows the handshake stays in the socket until then.
static void shake(struct io_link *link)
{
    size_t n_wanted = handshake_wants(&link->handshake);
    cc_buffer_reserve(&link->in, n_wanted - link->in.n);
    ssize_t n = recv(link->fd, link->in.data + link->in.n, n_wanted - link->in.n, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        say(link, "the peer closed the connection during the handshake (its log says why)");
        fail(link);
        return;
    }
    link->in.n += (size_t)n;
    if (link->in.n < n_wanted) {
        return;
    }
    enum cc_status status = handshake_receive(&link->handshake, cc_buffer_slice(&link->in), &link->out);
    cc_buffer_clear(&link->in);
    if (status != CC_OK) {
        (void)try_send(link); // why, to one that was removed
        link->refused = true;
        say(link, "the peer %s", handshake_refusal_text(link->handshake.refusal));
        fail(link);
        return;
    }
    if (!try_send(link)) {
        fail(link);
        return;
    }
    if (link->handshake.state == HANDSHAKE_DONE) {
        open_channel(link);
    }
}

// -- Receiving ------------------------------------------------------------------------------------------------------

// Tells the frames of one record. False: the link is no longer open.
static bool tell_frames(struct io_link *link)
{
    struct cc_slice rest = cc_buffer_slice(&link->opened);
    for (;;) {
        struct cc_slice frame;
        enum cc_status status = channel_next_frame(&rest, &frame);
        if (status == CC_NOT_FOUND) {
            return true;
        }
        if (status != CC_OK) {
            say(link, "the peer sent a frame that cannot be read");
            fail(link);
            return false;
        }
        link->settings->handler.on_frame(link->settings->handler.context, link, frame);
        if (link->state != IO_LINK_OPEN || link->doomed) {
            return false;
        }
    }
}

static bool take_record(struct io_link *link, struct cc_slice record)
{
    give_back(&link->opened);
    if (channel_open(&link->receive, record, &link->opened) != CC_OK) {
        say(link, "a record from the peer was altered, lost or repeated on its way");
        fail(link);
        return false;
    }
    if (!tell_frames(link)) {
        return false;
    }
    if (link->receive.ended) {
        say(link, "the peer ended the connection");
        fail(link);
        return false;
    }
    return true;
}

static void drop_front(struct cc_buffer *buffer, size_t n)
{
    if (n == 0) {
        return;
    }
    memmove(buffer->data, buffer->data + n, buffer->n - n);
    buffer->n -= n;
    if (buffer->n == 0) {
        give_back(buffer);
    }
}

// Tells all whole records that have arrived. False: the link is no longer open.
static bool take_records(struct io_link *link)
{
    size_t at = 0;
    for (;;) {
        struct cc_slice rest = cc_slice_of(link->in.data + at, link->in.n - at);
        size_t n_record = 0;
        if (channel_record_size(rest, &n_record) != CC_OK) {
            say(link, "the peer sent a record of an impossible length");
            fail(link);
            return false;
        }
        if (n_record == 0 || n_record > rest.n) {
            break;
        }
        if (!take_record(link, cc_slice_of(rest.data, n_record))) {
            return false;
        }
        at += n_record;
    }
    drop_front(&link->in, at);
    return true;
}

static size_t room_wanted(const struct io_link *link)
{
    size_t n_record = 0;
    enum cc_status status = channel_record_size(cc_buffer_slice(&link->in), &n_record);
    size_t n_missing = status == CC_OK && n_record > link->in.n ? n_record - link->in.n : 0;
    size_t n_wanted = n_missing > READ_BYTES ? n_missing : READ_BYTES;
    return n_wanted < GROW_BYTES_MAX ? n_wanted : GROW_BYTES_MAX;
}

static void receive(struct io_link *link)
{
    for (size_t n_turn = 0; n_turn < READ_BYTES_PER_TURN;) {
        size_t n_room = room_wanted(link);
        cc_buffer_reserve(&link->in, n_room);
        ssize_t n = recv(link->fd, link->in.data + link->in.n, n_room, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0) {
            if (n == 0) {
                say(link, "the connection was cut");
            } else {
                say_errno(link, "receiving", errno);
            }
            fail(link);
            return;
        }
        link->in.n += (size_t)n;
        link->n_received += (uint64_t)n;
        n_turn += (size_t)n;
        if (!take_records(link)) {
            return;
        }
        if ((size_t)n < n_room) {
            return; // the socket is empty
        }
    }
}

// -- Events ---------------------------------------------------------------------------------------------------------

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct io_link *link = context;
    if (link->doomed) {
        return;
    }
    switch (link->state) {
    case IO_LINK_SHAKING:
        shake(link);
        return;
    case IO_LINK_OPEN:
        receive(link);
        return;
    case IO_LINK_CONNECTING:
    case IO_LINK_CLOSED:
        return;
    }
}

static void connected(struct io_link *link)
{
    int error = 0;
    socklen_t n = sizeof(error);
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0) {
        say_errno(link, "connecting", error != 0 ? error : errno);
        fail(link);
        return;
    }
    uint8_t random[HANDSHAKE_RANDOM_BYTES];
    io_keys_random(random, sizeof(random));
    enum cc_status status = handshake_dial(&link->handshake, link->settings->site, link->peer, random, &link->out);
    assert(status == CC_OK); // io_peer dials members only
    link->state = IO_LINK_SHAKING;
    (void)event_add(link->readable, NULL);
    if (!try_send(link)) {
        fail(link);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct io_link *link = context;
    if (link->doomed || link->state == IO_LINK_CLOSED) {
        return;
    }
    if (link->state == IO_LINK_CONNECTING) {
        connected(link);
    } else if (!try_send(link)) {
        fail(link);
    }
}

// An accepted link hears from its peer at least now and then; nothing that we send waits forever.
static bool is_alive(struct io_link *link)
{
    uint64_t now = now_ms();
    if (link->n_received != link->checked_received || link->dialled) { // nobody speaks on what we dialled
        link->silent_since_ms = now;
    }
    if (link->n_sent != link->checked_sent || io_link_queued_bytes(link) == 0) {
        link->stuck_since_ms = now;
    }
    bool spoke = link->n_sent != link->checked_sent;
    link->checked_sent = link->n_sent;
    link->checked_received = link->n_received;
    if (now - link->silent_since_ms > link->settings->idle_ms) {
        say(link, "nothing was heard for %u ms", link->settings->idle_ms);
        return false;
    }
    if (now - link->stuck_since_ms > link->settings->idle_ms) {
        say(link, "nothing could be sent for %u ms", link->settings->idle_ms);
        return false;
    }
    if (!spoke && link->dialled && io_link_queued_bytes(link) == 0) {
        seal(link); // an empty record, as a sign of life
        return try_send(link);
    }
    return true;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct io_link *link = context;
    if (link->doomed) {
        fail(link);
        return;
    }
    if (link->state != IO_LINK_OPEN) {
        say(link, link->state == IO_LINK_CONNECTING ? "no connection within %u ms" : "no handshake within %u ms",
            link->settings->connect_ms);
        fail(link);
        return;
    }
    if (!is_alive(link)) {
        fail(link);
        return;
    }
    arm(link, link->settings->idle_ms / CHECKS_PER_IDLE);
}

// -- Making ---------------------------------------------------------------------------------------------------------

static void set_option(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value)); // better with it, works without
}

static void tune(int fd, uint32_t idle_ms)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)idle_ms);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 5);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 2);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

static struct io_link *make(const struct io_link_settings *settings, int fd)
{
    struct io_link *link = cc_alloc(sizeof(*link));
    link->settings = settings;
    link->fd = fd;
    link->timer = event_new(settings->base, -1, 0, on_timer, link);
    link->readable = event_new(settings->base, fd, EV_READ | EV_PERSIST, on_readable, link);
    link->writable = event_new(settings->base, fd, EV_WRITE, on_writable, link);
    assert(link->timer != NULL && link->readable != NULL && link->writable != NULL);
    return link;
}

struct io_link *io_link_dial(const struct io_link_settings *settings, uint32_t peer, const struct sockaddr *address,
                             socklen_t n_address)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct io_link *link = make(settings, fd);
    link->dialled = true;
    link->peer = peer;
    link->state = IO_LINK_CONNECTING;
    if (fd < 0) {
        say_errno(link, "making a socket", errno);
        doom(link);
        return link;
    }
    tune(fd, settings->idle_ms);
    if (connect(fd, address, n_address) != 0 && errno != EINPROGRESS) {
        say_errno(link, "connecting", errno);
        doom(link);
        return link;
    }
    (void)event_add(link->writable, NULL);
    arm(link, settings->connect_ms);
    return link;
}

struct io_link *io_link_accept(const struct io_link_settings *settings, int fd)
{
    struct io_link *link = make(settings, fd);
    tune(fd, settings->idle_ms);
    uint8_t random[HANDSHAKE_RANDOM_BYTES];
    io_keys_random(random, sizeof(random));
    handshake_accept(&link->handshake, settings->site, random);
    link->state = IO_LINK_SHAKING;
    (void)event_add(link->readable, NULL);
    arm(link, settings->connect_ms);
    return link;
}

void io_link_pause(struct io_link *link, bool paused)
{
    if (link->state == IO_LINK_CLOSED) {
        return;
    }
    (void)(paused ? event_del(link->readable) : event_add(link->readable, NULL));
}

// -- Questions ------------------------------------------------------------------------------------------------------

enum io_link_state io_link_state(const struct io_link *link)
{
    return link->state;
}

bool io_link_is_dialled(const struct io_link *link)
{
    return link->dialled;
}

uint32_t io_link_peer(const struct io_link *link)
{
    return link->peer;
}

uint32_t io_link_incarnation(const struct io_link *link)
{
    return link->incarnation;
}

bool io_link_was_refused(const struct io_link *link)
{
    return link->refused;
}

uint64_t io_link_removed_at(const struct io_link *link)
{
    return link->dialled ? link->handshake.removed_at : 0;
}

const char *io_link_problem(const struct io_link *link)
{
    return link->problem;
}

uint64_t io_link_sent_bytes(const struct io_link *link)
{
    return link->n_sent;
}

uint64_t io_link_received_bytes(const struct io_link *link)
{
    return link->n_received;
}

struct io_link *io_link_next(const struct io_link *link)
{
    return link->next;
}

void io_link_set_next(struct io_link *link, struct io_link *next)
{
    link->next = next;
}
