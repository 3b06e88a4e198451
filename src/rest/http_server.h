// The HTTP server: worker threads, each with its own event loop and listening socket, behind the request gate.
//
// A request is handed to the handler on its worker's thread and answered, at once or later, through a token on that
// same thread. Tokens are numbers: a client that has left in the meantime makes its token stale and the answer is
// dropped silently, so nobody holds a pointer to a request. Requests of one connection are answered one after the other.
//
// No evhttp: see docs/adr/http-without-evhttp.md.
#ifndef REST_HTTP_SERVER_H
#define REST_HTTP_SERVER_H

#include "base/status.h"
#include "rest/http_gate.h"
#include "rest/http_response.h"

struct event_base; // of libevent
struct http_server;
struct http_worker;

struct http_deadlines { // milliseconds
    uint32_t head_ms;   // from the first byte of a request (of the first one: from accept) to the end of its headers
    uint32_t body_ms;   // from there to the end of the body
    uint32_t idle_ms;   // between requests
    uint32_t write_ms;  // an answer of which the client takes nothing
    uint32_t grace_ms;  // before the minimum rate counts
    uint32_t rate_bytes_per_second; // minimum of bodies and of answers being taken; 0: none
};

struct http_server_options {
    const char *host; // address to listen on: "127.0.0.1", "::1", "0.0.0.0"
    uint16_t port;    // 0: any free one, see http_server_port
    uint32_t n_workers;
    uint32_t connections_max;
    uint32_t connections_per_address_max; // 0: no limit
    bool limit_loopback;                  // else the limit per address does not count for loopback addresses
    size_t body_memory_bytes_max;         // of all request bodies together
    uint32_t posts_max;                   // functions waiting in one worker
    struct http_limits limits;
    struct http_deadlines deadlines;

    void *context; // for the functions below
    // Runs on the worker's thread for each complete request; everything in `request` is borrowed until it returns.
    void (*handle)(void *context, struct http_worker *worker, uint64_t token, const struct http_request *request);
    // On the worker's thread before its first request and after its last one; NULL is fine. See http_worker_set_state.
    void (*worker_began)(void *context, struct http_worker *worker);
    void (*worker_ends)(void *context, struct http_worker *worker);
};

// Defaults from base/limits.h and FAILURES J2; address, n_workers and handler are the caller's to fill in.
struct http_server_options http_server_options_default(void);

// Listens and starts the threads. CC_INVALID: bad address; CC_EXISTS: the address is in use; CC_IO.
enum cc_status http_server_create(const struct http_server_options *options,
                                  struct http_server **server_out) CC_CHECKED;
uint16_t http_server_port(const struct http_server *server);
struct http_worker *http_server_worker(struct http_server *server, uint32_t index);

// Stops accepting, lets running requests be answered for at most drain_ms, then closes what is left, joins the threads
// and frees everything. NULL is fine. Not from a worker's thread.
void http_server_destroy(struct http_server *server, uint32_t drain_ms);

// --- on the worker's own thread

struct event_base *http_worker_event_base(struct http_worker *worker);
uint32_t http_worker_index(const struct http_worker *worker);
void http_worker_set_state(struct http_worker *worker, void *state); // what the user keeps per thread
void *http_worker_state(const struct http_worker *worker);

// Answers. A stale token is fine: dropped. Slices are copied, moved_body is taken over in any case.
// A header that would break the framing makes the answer a plain 500.
void http_worker_reply(struct http_worker *worker, uint64_t token, const struct http_response *response);
// False: the client has left (as far as known) or is answered; work for it can be spared.
bool http_worker_is_waiting(const struct http_worker *worker, uint64_t token);

// --- from any thread

// Runs function(context, worker) on the worker's thread. False: the queue is full or the worker has ended; the caller
// still owns what context points to. What was accepted is run before the worker ends.
bool http_worker_post(struct http_worker *worker, void (*function)(void *context, struct http_worker *worker),
                      void *context) CC_CHECKED;

struct http_counters {
    uint64_t requests;                    // handed to the handler
    uint64_t answers_by_class[6];         // [2]: 2xx; refusals included
    uint64_t refused[HTTP_REFUSAL_COUNT]; // by reason
    uint64_t answers_dropped;             // the client had left
    uint64_t connections_accepted;
    uint64_t connections_open; // now
    uint64_t connections_timed_out;
    uint64_t received_bytes, sent_bytes;
};
// The sum over all workers.
struct http_counters http_server_counters(const struct http_server *server);

#endif
