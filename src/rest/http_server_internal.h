// Of http_server.c and http_server_connection.c only: what both know of workers and connections.
#ifndef REST_HTTP_SERVER_INTERNAL_H
#define REST_HTTP_SERVER_INTERNAL_H

#include "rest/http_server.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

enum { SCRATCH_BYTES = 64 << 10 }; // one read from a socket

// accept -> READING -> HANDLING -> WRITING -> READING (next request)
//              |           |          |
//              |           +-> READING (answer sent at once)
//              +-----------+----------+--> LINGERING (the last answer is sent) -> GONE
// From every state to GONE: the client is gone or too slow, or the server stops.
enum connection_state {
    CONNECTION_READING,
    CONNECTION_HANDLING,
    CONNECTION_WRITING,
    CONNECTION_LINGERING,
    CONNECTION_GONE,
    CONNECTION_STATES
};

enum reading_phase { PHASE_FIRST, PHASE_IDLE, PHASE_HEAD, PHASE_BODY };

struct connection {
    struct http_worker *worker;
    struct connection *next_dead;
    int fd;
    uint32_t slot;
    uint32_t generation; // of its current request; part of the token
    enum connection_state state;
    enum reading_phase phase;
    uint64_t since_ms;  // the state, or while reading the phase, began
    uint64_t taken_ms;  // the client last took part of the answer
    size_t n_discarded; // while lingering
    struct event readable, writable;
    bool is_read;      // the readable event is added
    bool is_advancing; // take_input is on the stack
    bool saw_end;      // the client will send nothing more
    bool close_after;  // this answer is the last one
    enum http_method method;
    struct http_gate *gate;
    size_t n_memory;          // of its body, as counted in the server
    struct cc_buffer pending; // received behind the current request
    size_t n_pending_taken;
    struct cc_buffer out; // the rest of an answer that the socket did not take
    size_t n_out_sent;
    struct in6_addr address;
    bool is_address_counted;
    char remote[INET6_ADDRSTRLEN + 10];
};

struct post {
    void (*function)(void *context, struct http_worker *worker);
    void *context;
};

struct post_queue {
    pthread_mutex_t mutex;
    struct post *waiting, *running; // two arrays that change places
    uint32_t n_waiting;
    bool is_signalled;
    bool is_closed;
};

struct counters {
    _Atomic uint64_t requests, answers_by_class[6], refused[HTTP_REFUSAL_COUNT], answers_dropped;
    _Atomic uint64_t accepted, open, timed_out, received_bytes, sent_bytes;
};

struct http_worker {
    struct http_server *server;
    uint32_t index;
    int listen_fd; // until the listener owns it
    int wake_fd;
    pthread_t thread;
    bool has_thread;
    void *state;
    struct event_base *base;
    struct evconnlistener *listener;
    bool is_accepting;
    struct event *sweep_event, *wake_event, *reap_event;
    struct connection **connections; // by slot; NULL: free
    size_t connections_capacity;
    uint32_t n_slots, n_open;
    uint32_t *free_slots;
    size_t free_slots_capacity, n_free_slots;
    uint32_t last_generation;
    struct connection *dead;
    struct cc_buffer head; // of the answer being sent
    int64_t date_second;
    char date[30];
    bool draining; // has seen the server's `stopping`
    uint64_t stop_ms; // when what is left is closed
    struct post_queue posts;
    struct counters counters;
    uint8_t scratch[SCRATCH_BYTES];
};

struct address_count { // connections of one client address
    struct in6_addr address;
    uint32_t n;
};

struct http_server {
    struct http_server_options options;
    uint16_t port;
    struct http_worker **workers;
    _Atomic uint32_t n_open;
    _Atomic size_t n_body_memory;
    _Atomic uint32_t drain_ms;
    _Atomic bool stopping;
    pthread_mutex_t address_mutex;
    struct address_count *addresses;
    size_t n_addresses, addresses_capacity;
};

// One writer, any reader: no locked instruction needed.
static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

uint64_t http_now_ms(void);

// Takes over an accepted socket. `n_open`: connections of the server with this one.
void http_connection_open(struct http_worker *worker, int fd, const struct sockaddr *peer, uint32_t n_open);
// Closes now; the memory is freed by http_connections_free_dead, after the running callback, which may still look at it.
void http_connection_close(struct connection *connection);
void http_connections_free_dead(struct http_worker *worker);
// Closes or refuses it when a deadline has passed.
void http_connection_sweep(struct connection *connection, uint64_t now);

#endif
