// Connections between replicas: each dials each other one and sends on the connection that it dialled, so two per pair. Both
// are authenticated and encrypted (handshake.h, channel.h). A peer is up when both directions are; when one is lost, the other
// is dropped with it. While it is up, frames arrive once and in order; those under way when it goes down are lost, never
// repeated: the node's protocols repair that.
//
// Everything runs on the core thread's event_base. Handlers are called from the loop only, never from within io_peer_send or
// io_peer_flush; they may call those two, not io_peer_destroy.
#ifndef IO_PEER_H
#define IO_PEER_H

#include <event2/event.h>

#include "proxy/config/keys.h"

struct io_peer_member {
    uint32_t id;
    const char *host; // name or number; where to dial (after any --peer override)
    uint32_t port;
    uint8_t public_key[KEYS_PUBLIC_BYTES];
};

struct io_peer_handler {
    void *context;
    void (*on_up)(void *context, uint32_t peer, uint32_t incarnation);
    void (*on_down)(void *context, uint32_t peer);
    // It does not talk to us: by the membership that is committed at `index` we are no member.
    void (*on_removed)(void *context, uint32_t peer, uint64_t index);
    // The frame is borrowed for the call. Comes only while the peer is up.
    void (*on_frame)(void *context, uint32_t peer, uint32_t incarnation, struct cc_slice frame);
};

struct io_peer_options {
    struct event_base *base;
    const char *cluster;
    uint32_t id;
    uint32_t incarnation;
    const struct keys_pair *keys; // copied
    const char *listen_host;
    uint32_t listen_port; // 0: any free one, see io_peer_port
    const struct io_peer_member *members; // copied; this replica itself may be among them
    size_t n_members;
    uint32_t connect_ms;   // connection and handshake; 0: 2000
    uint32_t idle_ms;      // silence, or no progress in sending; 0: 10000
    size_t queue_bytes_max; // unsent bytes per peer, above it the connection is dropped; 0: 128 MB
    struct io_peer_handler handler;
};

struct io_peer;

enum { IO_PEER_PROBLEM_BYTES = 256 };
struct io_peer_problem {
    char text[IO_PEER_PROBLEM_BYTES];
};

// Listens, and dials as soon as the loop runs. CC_EXISTS: the address is in use; CC_INVALID: it is none of ours, or cannot be
// resolved; CC_IO. All with words.
enum cc_status io_peer_create(const struct io_peer_options *options, struct io_peer **peers_out,
                              struct io_peer_problem *problem_out) CC_CHECKED;
// Ends all connections in order. NULL is fine. Not from within a handler.
void io_peer_destroy(struct io_peer *peers);
uint32_t io_peer_port(const struct io_peer *peers); // where it listens

// Queues a frame (copied) for io_peer_flush. False: the peer is not up, or unknown; the frame is dropped.
bool io_peer_send(struct io_peer *peers, uint32_t peer, struct cc_slice frame);
// Sends what was queued: the small frames of one turn go together.
void io_peer_flush(struct io_peer *peers);

// Other members from now on: new ones are dialled, those with another address dialled there, those with another key
// dropped first. Who is no longer among them stays reachable for a while, so that it can be told; later it is told when it asks,
// if these are the committed members at `membership_index` (0: they are not, or this replica is none). Not from within a handler.
void io_peer_set_members(struct io_peer *peers, const struct io_peer_member *members, size_t n_members, uint64_t membership_index);

// The faults of its messages, for testing hooks. NULL: a build without them.
struct io_faults *io_peer_faults(struct io_peer *peers);

struct io_peer_stats {
    bool up;
    uint32_t incarnation; // 0: not heard of
    size_t n_queued_bytes;
    uint64_t n_sent_bytes, n_received_bytes; // encrypted
    uint64_t n_ups;                          // how often it came up
    char problem[160];                       // why it is not up, as far as known; "" if it is
};
// CC_NOT_FOUND: no such peer.
enum cc_status io_peer_describe(const struct io_peer *peers, uint32_t peer, struct io_peer_stats *stats_out) CC_CHECKED;

#endif
