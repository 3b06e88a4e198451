// One connection between two replicas: socket, handshake, encrypted channel, buffers, deadlines. Used by io_peer.c only.
//
//            connected            handshake done
//   CONNECTING ------> SHAKING ------------------> OPEN
//        \________________\__________________________\____> CLOSED   (failure, refusal, deadline, end, io_link_close)
#ifndef IO_LINK_H
#define IO_LINK_H

#include <event2/event.h>
#include <sys/socket.h>

#include "proxy/peer/handshake.h"

enum io_link_state { IO_LINK_CONNECTING, IO_LINK_SHAKING, IO_LINK_OPEN, IO_LINK_CLOSED };

struct io_link;

// Called from the loop only. None may destroy the link: keep it until the loop is back (see io_peer.c).
struct io_link_handler {
    void *context;
    void (*on_open)(void *context, struct io_link *link);
    void (*on_frame)(void *context, struct io_link *link, struct cc_slice frame);
    void (*on_closed)(void *context, struct io_link *link); // once, unless io_link_close was called
};

struct io_link_settings { // shared by all links, borrowed
    struct event_base *base;
    const struct handshake_site *site;
    uint32_t connect_ms;
    uint32_t idle_ms;
    size_t queue_bytes_max;
    struct io_link_handler handler;
};

// A connection to be made to `peer` at this address. Never NULL; a failure comes as on_closed.
struct io_link *io_link_dial(const struct io_link_settings *settings, uint32_t peer, const struct sockaddr *address,
                             socklen_t n_address);
// An accepted connection; takes the (non-blocking) descriptor.
struct io_link *io_link_accept(const struct io_link_settings *settings, int fd);
// Closes without a word to the handler; with `orderly` the other side is told, as far as that is possible at once.
void io_link_close(struct io_link *link, bool orderly);
void io_link_destroy(struct io_link *link); // closes; NULL is fine

// Queue a frame, send what is queued. Neither calls the handler: a failure comes as on_closed later.
void io_link_send(struct io_link *link, struct cc_slice frame);
void io_link_flush(struct io_link *link);

// While paused, nothing is read: what arrives waits in the socket. The deadlines go on.
void io_link_pause(struct io_link *link, bool paused);

enum io_link_state io_link_state(const struct io_link *link);
bool io_link_is_dialled(const struct io_link *link);
uint32_t io_link_peer(const struct io_link *link); // 0: not known yet
uint32_t io_link_incarnation(const struct io_link *link);
bool io_link_was_refused(const struct io_link *link); // by the handshake
uint64_t io_link_removed_at(const struct io_link *link); // refused: by the membership at this index we are no member; 0: it did not say so
const char *io_link_problem(const struct io_link *link); // why it was closed
size_t io_link_queued_bytes(const struct io_link *link);
uint64_t io_link_sent_bytes(const struct io_link *link);
uint64_t io_link_received_bytes(const struct io_link *link);

// For lists of the owner.
struct io_link *io_link_next(const struct io_link *link);
void io_link_set_next(struct io_link *link, struct io_link *next);

#endif
