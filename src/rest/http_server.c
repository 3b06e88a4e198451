// The HTTP server: listeners, connections, deadlines, and the queue into each worker thread.
#include "rest/http_server.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    SCRATCH_BYTES = 64 << 10,      // one read from a socket
    PENDING_BYTES_MAX = 64 << 10,  // pipelined bytes kept while a request is being answered
    LISTEN_BACKLOG = 1024,
    REFUSED_CONNECTIONS_MAX = 64,  // above the cap: these are told why, the next ones wait in the backlog
    LINGER_MS = 1000,              // after the last answer: so that it arrives before a reset
    LINGER_BYTES_MAX = 4 << 20,
    SWEEP_MS_MAX = 250,
};

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

static const unsigned connection_next[CONNECTION_STATES] = {
    [CONNECTION_READING] = 1u << CONNECTION_HANDLING | 1u << CONNECTION_WRITING | 1u << CONNECTION_LINGERING | 1u << CONNECTION_GONE,
    [CONNECTION_HANDLING] = 1u << CONNECTION_READING | 1u << CONNECTION_WRITING | 1u << CONNECTION_LINGERING | 1u << CONNECTION_GONE,
    [CONNECTION_WRITING] = 1u << CONNECTION_READING | 1u << CONNECTION_LINGERING | 1u << CONNECTION_GONE,
    [CONNECTION_LINGERING] = 1u << CONNECTION_GONE,
    [CONNECTION_GONE] = 0,
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
    bool stop;
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
    bool stopping;
    uint64_t stop_ms; // when what is left is closed
    struct post_queue posts;
    struct counters counters;
    uint8_t scratch[SCRATCH_BYTES];
};

struct address_count {
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
    pthread_mutex_t address_mutex;
    struct address_count *addresses;
    size_t n_addresses, addresses_capacity;
};

// --- small things

// One writer, any reader: no locked instruction needed.
static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *date_now(struct http_worker *worker)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != worker->date_second) {
        worker->date_second = now.tv_sec;
        http_date(now.tv_sec, worker->date);
    }
    return worker->date;
}

static uint64_t token_of(const struct connection *connection)
{
    return (uint64_t)connection->generation << 32 | connection->slot;
}

static struct connection *connection_of(const struct http_worker *worker, uint64_t token)
{
    uint32_t slot = (uint32_t)token;
    struct connection *connection = slot < worker->n_slots ? worker->connections[slot] : NULL;
    if (connection == NULL || token_of(connection) != token || connection->state != CONNECTION_HANDLING) {
        return NULL;
    }
    return connection;
}

static void move(struct connection *connection, enum connection_state next)
{
    assert((connection_next[connection->state] & 1u << next) != 0);
    connection->state = next;
    connection->since_ms = now_ms();
}

static void want_reads(struct connection *connection, bool wanted)
{
    if (wanted == connection->is_read) {
        return;
    }
    int result = wanted ? event_add(&connection->readable, NULL) : event_del(&connection->readable);
    connection->is_read = wanted && result == 0;
}

// --- connections per address

static bool is_loopback(const struct in6_addr *address)
{
    bool mapped_127 = IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == 127;
    return mapped_127 || IN6_IS_ADDR_LOOPBACK(address);
}

static struct address_count *find_address(struct http_server *server, const struct in6_addr *address)
{
    for (size_t i = 0; i < server->n_addresses; i++) {
        if (memcmp(&server->addresses[i].address, address, sizeof(*address)) == 0) {
            return &server->addresses[i];
        }
    }
    return NULL;
}

// False: that address has all the connections it may have.
static bool address_enter(struct http_server *server, const struct in6_addr *address)
{
    pthread_mutex_lock(&server->address_mutex);
    struct address_count *found = find_address(server, address);
    if (found == NULL) {
        server->addresses =
            cc_grow(server->addresses, &server->addresses_capacity, server->n_addresses + 1, sizeof(*server->addresses));
        found = &server->addresses[server->n_addresses++];
        *found = (struct address_count){.address = *address};
    }
    bool fits = found->n < server->options.connections_per_address_max;
    if (fits) {
        found->n++;
    }
    pthread_mutex_unlock(&server->address_mutex);
    return fits;
}

static void address_leave(struct http_server *server, const struct in6_addr *address)
{
    pthread_mutex_lock(&server->address_mutex);
    struct address_count *found = find_address(server, address);
    assert(found != NULL && found->n > 0);
    if (--found->n == 0) {
        *found = server->addresses[--server->n_addresses];
    }
    pthread_mutex_unlock(&server->address_mutex);
}

static bool address_is_limited(const struct http_server *server, const struct in6_addr *address)
{
    return server->options.connections_per_address_max > 0 && (server->options.limit_loopback || !is_loopback(address));
}

// --- end of a connection

static void count_memory(struct connection *connection, size_t n_memory)
{
    if (n_memory == connection->n_memory) {
        return;
    }
    // Unsigned wrap-around makes this right for shrinking, too.
    atomic_fetch_add(&connection->worker->server->n_body_memory, n_memory - connection->n_memory);
    connection->n_memory = n_memory;
}

static void connection_free(struct connection *connection)
{
    http_gate_destroy(connection->gate);
    cc_buffer_finish(&connection->pending);
    cc_buffer_finish(&connection->out);
    free(connection);
}

// Closes now; the memory is freed after the running callback, which may still look at it.
static void connection_close(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    move(connection, CONNECTION_GONE);
    event_del(&connection->readable);
    event_del(&connection->writable);
    close(connection->fd);
    count_memory(connection, 0);
    if (connection->is_address_counted) {
        address_leave(worker->server, &connection->address);
    }
    worker->connections[connection->slot] = NULL;
    worker->free_slots[worker->n_free_slots++] = connection->slot;
    worker->n_open--;
    atomic_fetch_sub(&worker->server->n_open, 1);
    atomic_store_explicit(&worker->counters.open, worker->n_open, memory_order_relaxed);
    connection->next_dead = worker->dead;
    worker->dead = connection;
    event_active(worker->reap_event, 0, 0);
}

static void free_dead(struct http_worker *worker)
{
    while (worker->dead != NULL) {
        struct connection *connection = worker->dead;
        worker->dead = connection->next_dead;
        connection_free(connection);
    }
}

static void on_reap(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    free_dead(context);
}

// The last answer is on its way: no more is sent, what still comes is thrown away until the client closes.
static void connection_linger(struct connection *connection)
{
    move(connection, CONNECTION_LINGERING);
    if (connection->saw_end || shutdown(connection->fd, SHUT_WR) != 0) {
        connection_close(connection);
        return;
    }
    want_reads(connection, true);
}

// --- sending

static void advance(struct connection *connection);

static void answer_sent(struct connection *connection)
{
    if (connection->close_after) {
        connection_linger(connection);
        return;
    }
    move(connection, CONNECTION_READING);
    connection->phase = PHASE_IDLE;
    if (!connection->is_advancing) {
        advance(connection);
    }
}

static ssize_t send_two(int fd, struct cc_slice first, struct cc_slice second)
{
    struct iovec parts[2] = {
        {.iov_base = (void *)(uintptr_t)first.data, .iov_len = first.n},
        {.iov_base = (void *)(uintptr_t)second.data, .iov_len = second.n},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = second.n > 0 ? 2 : 1};
    ssize_t n;
    do {
        n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    return n;
}

// Keeps what the socket did not take: copied, or the moved body itself once the head is out.
static void keep_rest(struct connection *connection, struct cc_slice head, struct cc_slice body, struct cc_buffer *moved,
                      size_t n_sent)
{
    assert(connection->out.n == 0);
    if (moved != NULL && n_sent >= head.n) {
        cc_buffer_finish(&connection->out);
        connection->out = *moved;
        *moved = (struct cc_buffer){0};
        connection->n_out_sent = n_sent - head.n;
        return;
    }
    size_t n_of_head = n_sent < head.n ? n_sent : head.n;
    size_t n_of_body = n_sent - n_of_head;
    cc_buffer_append(&connection->out, head.data + n_of_head, head.n - n_of_head);
    if (body.n > n_of_body) {
        cc_buffer_append(&connection->out, body.data + n_of_body, body.n - n_of_body);
    }
    connection->n_out_sent = 0;
}

static void send_answer(struct connection *connection, struct cc_slice head, struct cc_slice body, struct cc_buffer *moved)
{
    ssize_t n = send_two(connection->fd, head, body);
    if (n < 0) {
        connection_close(connection);
        return;
    }
    count(&connection->worker->counters.sent_bytes, (uint64_t)n);
    if ((size_t)n == head.n + body.n) {
        answer_sent(connection);
        return;
    }
    keep_rest(connection, head, body, moved, (size_t)n);
    move(connection, CONNECTION_WRITING);
    connection->taken_ms = connection->since_ms;
    if (event_add(&connection->writable, NULL) != 0) {
        connection_close(connection);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct connection *connection = context;
    assert(connection->state == CONNECTION_WRITING);
    struct cc_slice rest =
        cc_slice_of(connection->out.data + connection->n_out_sent, connection->out.n - connection->n_out_sent);
    ssize_t n = send_two(fd, rest, (struct cc_slice){0});
    if (n < 0) {
        connection_close(connection);
        return;
    }
    count(&connection->worker->counters.sent_bytes, (uint64_t)n);
    connection->n_out_sent += (size_t)n;
    connection->taken_ms = n > 0 ? now_ms() : connection->taken_ms;
    if (connection->n_out_sent < connection->out.n) {
        return;
    }
    event_del(&connection->writable);
    cc_buffer_finish(&connection->out);
    connection->n_out_sent = 0;
    answer_sent(connection);
}

// An answer that nobody asked the handler for; it ends the connection.
static void connection_refuse(struct connection *connection, enum http_refusal refusal)
{
    struct http_worker *worker = connection->worker;
    count(&worker->counters.refused[refusal], 1);
    count(&worker->counters.answers_by_class[http_refusal_status(refusal) / 100], 1);
    connection->close_after = true;
    cc_buffer_clear(&worker->head);
    http_refusal_put(&worker->head, refusal, date_now(worker));
    send_answer(connection, cc_buffer_slice(&worker->head), (struct cc_slice){0}, NULL);
}

void http_worker_reply(struct http_worker *worker, uint64_t token, const struct http_response *response)
{
    struct connection *connection = connection_of(worker, token);
    if (connection == NULL) {
        count(&worker->counters.answers_dropped, 1);
        if (response->moved_body != NULL) {
            cc_buffer_finish(response->moved_body);
        }
        return;
    }
    struct http_response answer = *response;
    connection->close_after = connection->close_after || answer.close || worker->stopping;
    answer.close = connection->close_after;
    cc_buffer_clear(&worker->head);
    if (http_response_put_head(&worker->head, &answer, connection->method, date_now(worker)) != CC_OK) {
        answer.status = 500;
        answer.n_headers = 0;
        answer.body = cc_slice_text("");
        if (answer.moved_body != NULL) {
            cc_buffer_finish(answer.moved_body);
            answer.moved_body = NULL;
        }
        enum cc_status status = http_response_put_head(&worker->head, &answer, connection->method, date_now(worker));
        assert(status == CC_OK);
    }
    count(&worker->counters.answers_by_class[answer.status / 100], 1);
    struct cc_slice body = answer.moved_body != NULL ? cc_buffer_slice(answer.moved_body) : answer.body;
    if (!http_response_has_body(answer.status, connection->method)) {
        body = (struct cc_slice){0};
    }
    send_answer(connection, cc_buffer_slice(&worker->head), body, body.n > 0 ? answer.moved_body : NULL);
    if (answer.moved_body != NULL) {
        cc_buffer_finish(answer.moved_body);
    }
}

bool http_worker_is_waiting(const struct http_worker *worker, uint64_t token)
{
    return connection_of(worker, token) != NULL;
}

// --- receiving

static void handle_request(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    const struct http_server_options *options = &worker->server->options;
    struct http_request request = http_gate_request(connection->gate);
    request.remote = cc_slice_text(connection->remote);
    connection->method = request.method;
    connection->close_after = request.close;
    connection->generation = ++worker->last_generation;
    move(connection, CONNECTION_HANDLING);
    count(&worker->counters.requests, 1);
    options->handle(options->context, worker, token_of(connection), &request);
    if (connection->state == CONNECTION_GONE) {
        return;
    }
    http_gate_next(connection->gate);
    count_memory(connection, http_gate_memory_bytes(connection->gate));
}

static void note_phase(struct connection *connection)
{
    enum reading_phase phase = connection->phase;
    if (http_gate_is_in_body(connection->gate)) {
        phase = PHASE_BODY;
    } else if (!http_gate_is_between_requests(connection->gate) && phase != PHASE_FIRST) {
        phase = PHASE_HEAD;
    }
    if (phase != connection->phase) {
        connection->phase = phase;
        connection->since_ms = now_ms();
    }
}

static void wait_for_more(struct connection *connection)
{
    struct http_server *server = connection->worker->server;
    note_phase(connection);
    count_memory(connection, http_gate_memory_bytes(connection->gate));
    if (atomic_load(&server->n_body_memory) > server->options.body_memory_bytes_max) {
        connection_refuse(connection, HTTP_NO_MEMORY_FOR_BODY);
        return;
    }
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct cc_slice text = cc_slice_of(go_on, sizeof(go_on) - 1);
    // While we read, nothing of ours is under way: a socket without room for these few bytes is broken.
    if (http_gate_take_continue(connection->gate) && send_two(connection->fd, text, (struct cc_slice){0}) != (ssize_t)text.n) {
        connection_close(connection);
    }
}

// Feeds the gate until the bytes are used up or a request is being answered. Returns how many it took.
static size_t take_input(struct connection *connection, const uint8_t *data, size_t n)
{
    size_t n_taken = 0;
    connection->is_advancing = true;
    while (n_taken < n && connection->state == CONNECTION_READING) {
        size_t n_now;
        switch (http_gate_feed(connection->gate, data + n_taken, n - n_taken, &n_now)) {
        case HTTP_MORE:
            wait_for_more(connection);
            break;
        case HTTP_COMPLETE:
            handle_request(connection);
            break;
        case HTTP_REFUSED:
            connection_refuse(connection, http_gate_refusal(connection->gate));
            break;
        }
        n_taken += n_now;
    }
    connection->is_advancing = false;
    return n_taken;
}

static bool has_pending(const struct connection *connection)
{
    return connection->n_pending_taken < connection->pending.n;
}

// After an answer: takes the pipelined bytes, then waits for more.
static void advance(struct connection *connection)
{
    if (has_pending(connection)) {
        connection->n_pending_taken += take_input(connection, connection->pending.data + connection->n_pending_taken,
                                                  connection->pending.n - connection->n_pending_taken);
    }
    if (connection->state != CONNECTION_READING) {
        return;
    }
    cc_buffer_finish(&connection->pending);
    connection->n_pending_taken = 0;
    if (connection->saw_end || (connection->worker->stopping && http_gate_is_between_requests(connection->gate))) {
        connection_close(connection);
        return;
    }
    want_reads(connection, true);
}

static void received(struct connection *connection, const uint8_t *data, size_t n)
{
    if (connection->state == CONNECTION_LINGERING) {
        connection->n_discarded += n;
        if (connection->n_discarded > LINGER_BYTES_MAX) {
            connection_close(connection);
        }
        return;
    }
    size_t n_taken = 0;
    if (connection->state == CONNECTION_READING) {
        assert(!has_pending(connection));
        n_taken = take_input(connection, data, n);
    }
    if (n_taken == n || connection->state == CONNECTION_GONE || connection->state == CONNECTION_LINGERING) {
        return;
    }
    cc_buffer_append(&connection->pending, data + n_taken, n - n_taken);
    if (connection->pending.n - connection->n_pending_taken > PENDING_BYTES_MAX) {
        want_reads(connection, false);
    }
}

// The client has closed its sending side; it may still wait for the answers to what it has sent.
static void received_end(struct connection *connection)
{
    connection->saw_end = true;
    want_reads(connection, false);
    if (connection->state == CONNECTION_READING || connection->state == CONNECTION_LINGERING) {
        connection_close(connection);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct connection *connection = context;
    struct http_worker *worker = connection->worker;
    ssize_t n = recv(fd, worker->scratch, sizeof(worker->scratch), MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            connection_close(connection);
        }
        return;
    }
    if (n == 0) {
        received_end(connection);
        return;
    }
    count(&worker->counters.received_bytes, (uint64_t)n);
    received(connection, worker->scratch, (size_t)n);
}

// --- deadlines

static bool is_slower_than(uint32_t rate, uint64_t n_bytes, uint64_t elapsed_ms, uint32_t grace_ms)
{
    return elapsed_ms > grace_ms && n_bytes * 1000 < (uint64_t)rate * (elapsed_ms - grace_ms);
}

static void sweep_reading(struct connection *connection, uint64_t elapsed_ms)
{
    const struct http_deadlines *deadlines = &connection->worker->server->options.deadlines;
    bool is_between = http_gate_is_between_requests(connection->gate);
    bool is_late = false;
    switch (connection->phase) {
    case PHASE_IDLE:
        is_late = elapsed_ms > deadlines->idle_ms;
        break;
    case PHASE_FIRST:
    case PHASE_HEAD:
        is_late = elapsed_ms > deadlines->head_ms;
        break;
    case PHASE_BODY:
        is_late = elapsed_ms > deadlines->body_ms ||
                  is_slower_than(deadlines->rate_bytes_per_second, http_gate_body_bytes(connection->gate), elapsed_ms,
                                 deadlines->grace_ms);
        break;
    }
    if (!is_late) {
        return;
    }
    count(&connection->worker->counters.timed_out, 1);
    if (is_between) {
        connection_close(connection);
        return;
    }
    connection_refuse(connection, HTTP_TOO_SLOW);
}

static void sweep_connection(struct connection *connection, uint64_t now)
{
    const struct http_deadlines *deadlines = &connection->worker->server->options.deadlines;
    uint64_t elapsed_ms = now - connection->since_ms;
    switch (connection->state) {
    case CONNECTION_READING:
        sweep_reading(connection, elapsed_ms);
        break;
    case CONNECTION_WRITING:
        if (now - connection->taken_ms > deadlines->write_ms ||
            is_slower_than(deadlines->rate_bytes_per_second, connection->n_out_sent, elapsed_ms, deadlines->grace_ms)) {
            count(&connection->worker->counters.timed_out, 1);
            connection_close(connection);
        }
        break;
    case CONNECTION_LINGERING:
        if (elapsed_ms > LINGER_MS) {
            connection_close(connection);
        }
        break;
    case CONNECTION_HANDLING: // the handler has deadlines of its own
    case CONNECTION_GONE:
    case CONNECTION_STATES:
        break;
    }
}

static void accept_again(struct http_worker *worker)
{
    struct http_server *server = worker->server;
    uint32_t n_allowed = server->options.connections_max + REFUSED_CONNECTIONS_MAX;
    if (!worker->is_accepting && worker->listener != NULL && atomic_load(&server->n_open) < n_allowed) {
        worker->is_accepting = evconnlistener_enable(worker->listener) == 0;
    }
}

static void stop_if_drained(struct http_worker *worker, uint64_t now)
{
    if (worker->stopping && (worker->n_open == 0 || now >= worker->stop_ms)) {
        event_base_loopbreak(worker->base);
    }
}

static void on_sweep(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct http_worker *worker = context;
    uint64_t now = now_ms();
    for (uint32_t i = 0; i < worker->n_slots; i++) {
        if (worker->connections[i] != NULL) {
            sweep_connection(worker->connections[i], now);
        }
    }
    accept_again(worker);
    stop_if_drained(worker, now);
}

// --- accepting

static void take_slot(struct http_worker *worker, struct connection *connection)
{
    if (worker->n_free_slots > 0) {
        connection->slot = worker->free_slots[--worker->n_free_slots];
    } else {
        connection->slot = worker->n_slots++;
        worker->connections = cc_grow(worker->connections, &worker->connections_capacity, worker->n_slots, sizeof(void *));
        worker->free_slots = cc_grow(worker->free_slots, &worker->free_slots_capacity, worker->n_slots, sizeof(uint32_t));
    }
    worker->connections[connection->slot] = connection;
    worker->n_open++;
    atomic_store_explicit(&worker->counters.open, worker->n_open, memory_order_relaxed);
}

static void note_peer(struct connection *connection, const struct sockaddr *peer)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (peer->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)peer;
        connection->address.s6_addr[10] = 0xff;
        connection->address.s6_addr[11] = 0xff;
        memcpy(&connection->address.s6_addr[12], &in->sin_addr, 4);
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(connection->remote, sizeof(connection->remote), "%s:%u", host, ntohs(in->sin_port));
        return;
    }
    const struct sockaddr_in6 *in6 = (const void *)peer;
    connection->address = in6->sin6_addr;
    inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
    snprintf(connection->remote, sizeof(connection->remote), "[%s]:%u", host, ntohs(in6->sin6_port));
}

static bool is_over_a_cap(struct connection *connection, uint32_t n_open)
{
    struct http_server *server = connection->worker->server;
    if (n_open > server->options.connections_max) {
        return true;
    }
    if (!address_is_limited(server, &connection->address)) {
        return false;
    }
    connection->is_address_counted = address_enter(server, &connection->address);
    return !connection->is_address_counted;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int n_peer, void *context)
{
    (void)n_peer;
    struct http_worker *worker = context;
    uint32_t n_open = 1 + atomic_fetch_add(&worker->server->n_open, 1);
    if (n_open >= worker->server->options.connections_max + REFUSED_CONNECTIONS_MAX) {
        evconnlistener_disable(listener);
        worker->is_accepting = false;
    }
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    struct connection *connection = cc_alloc(sizeof(*connection));
    connection->worker = worker;
    connection->fd = fd;
    connection->since_ms = now_ms();
    connection->gate = http_gate_create(&worker->server->options.limits);
    event_assign(&connection->readable, worker->base, fd, EV_READ | EV_PERSIST, on_readable, connection);
    event_assign(&connection->writable, worker->base, fd, EV_WRITE | EV_PERSIST, on_writable, connection);
    note_peer(connection, peer);
    take_slot(worker, connection);
    count(&worker->counters.accepted, 1);
    if (is_over_a_cap(connection, n_open)) {
        connection_refuse(connection, HTTP_TOO_MANY_CONNECTIONS);
        return;
    }
    want_reads(connection, true);
    if (!connection->is_read) {
        connection_close(connection);
    }
}

// Out of descriptors, most likely: wait a sweep instead of turning in circles.
static void on_accept_error(struct evconnlistener *listener, void *context)
{
    struct http_worker *worker = context;
    evconnlistener_disable(listener);
    worker->is_accepting = false;
}

// --- functions from other threads

bool http_worker_post(struct http_worker *worker, void (*function)(void *context, struct http_worker *worker), void *context)
{
    struct post_queue *posts = &worker->posts;
    pthread_mutex_lock(&posts->mutex);
    bool fits = !posts->is_closed && posts->n_waiting < worker->server->options.posts_max;
    bool must_wake = fits && !posts->is_signalled;
    if (fits) {
        posts->waiting[posts->n_waiting++] = (struct post){function, context};
        posts->is_signalled = true;
    }
    pthread_mutex_unlock(&posts->mutex);
    if (must_wake) {
        eventfd_write(worker->wake_fd, 1);
    }
    return fits;
}

// Runs what is waiting. True: the server wants to stop.
static bool run_posts(struct http_worker *worker, bool close_queue)
{
    struct post_queue *posts = &worker->posts;
    pthread_mutex_lock(&posts->mutex);
    struct post *running = posts->waiting;
    uint32_t n_running = posts->n_waiting;
    posts->waiting = posts->running;
    posts->running = running;
    posts->n_waiting = 0;
    posts->is_signalled = false;
    posts->is_closed = posts->is_closed || close_queue;
    bool stop = posts->stop;
    pthread_mutex_unlock(&posts->mutex);
    for (uint32_t i = 0; i < n_running; i++) {
        running[i].function(running[i].context, worker);
    }
    return stop;
}

static void begin_to_stop(struct http_worker *worker)
{
    worker->stopping = true;
    worker->stop_ms = now_ms() + atomic_load(&worker->server->drain_ms);
    evconnlistener_free(worker->listener);
    worker->listener = NULL;
    for (uint32_t i = 0; i < worker->n_slots; i++) {
        struct connection *connection = worker->connections[i];
        if (connection != NULL && connection->state == CONNECTION_READING && http_gate_is_between_requests(connection->gate)) {
            connection_close(connection);
        }
    }
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct http_worker *worker = context;
    eventfd_t n;
    eventfd_read(fd, &n);
    bool stop = run_posts(worker, false);
    if (stop && !worker->stopping) {
        begin_to_stop(worker);
    }
    stop_if_drained(worker, now_ms());
}

// --- worker threads

static void close_all(struct http_worker *worker)
{
    for (uint32_t i = 0; i < worker->n_slots; i++) {
        if (worker->connections[i] != NULL) {
            connection_close(worker->connections[i]);
        }
    }
    free_dead(worker);
}

static void *worker_main(void *context)
{
    struct http_worker *worker = context;
    const struct http_server_options *options = &worker->server->options;
    if (options->worker_began != NULL) {
        options->worker_began(options->context, worker);
    }
    event_base_dispatch(worker->base);
    run_posts(worker, true);
    close_all(worker);
    if (options->worker_ends != NULL) {
        options->worker_ends(options->context, worker);
    }
    return NULL;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// Often enough that a deadline is missed by a quarter of itself at most.
static struct timeval sweep_interval(const struct http_deadlines *deadlines)
{
    uint32_t shortest = min_u32(min_u32(deadlines->head_ms, deadlines->body_ms), min_u32(deadlines->idle_ms, deadlines->write_ms));
    uint32_t ms = min_u32(shortest / 4 + 1, SWEEP_MS_MAX);
    return (struct timeval){.tv_sec = 0, .tv_usec = (suseconds_t)ms * 1000};
}

static struct event_base *base_of_one_thread(void)
{
    struct event_config *config = event_config_new();
    if (config == NULL) {
        return NULL;
    }
    struct event_base *base = NULL;
    if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0) {
        base = event_base_new_with_config(config);
    }
    event_config_free(config);
    return base;
}

static enum cc_status worker_init(struct http_worker *worker)
{
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    worker->base = base_of_one_thread();
    if (worker->wake_fd < 0 || worker->base == NULL) {
        return CC_IO;
    }
    worker->listener = evconnlistener_new(worker->base, on_accept, worker,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, worker->listen_fd);
    if (worker->listener == NULL) {
        return CC_IO;
    }
    worker->listen_fd = -1;
    worker->is_accepting = true;
    evconnlistener_set_error_cb(worker->listener, on_accept_error);
    worker->sweep_event = event_new(worker->base, -1, EV_PERSIST, on_sweep, worker);
    worker->wake_event = event_new(worker->base, worker->wake_fd, EV_READ | EV_PERSIST, on_wake, worker);
    worker->reap_event = event_new(worker->base, -1, 0, on_reap, worker);
    if (worker->sweep_event == NULL || worker->wake_event == NULL || worker->reap_event == NULL) {
        return CC_IO;
    }
    struct timeval interval = sweep_interval(&worker->server->options.deadlines);
    bool added = event_add(worker->sweep_event, &interval) == 0 && event_add(worker->wake_event, NULL) == 0;
    return added ? CC_OK : CC_IO;
}

static void free_event(struct event *event)
{
    if (event != NULL) {
        event_free(event);
    }
}

static void close_descriptor(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void worker_destroy(struct http_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    if (worker->listener != NULL) {
        evconnlistener_free(worker->listener);
    }
    free_event(worker->sweep_event);
    free_event(worker->wake_event);
    free_event(worker->reap_event);
    if (worker->base != NULL) {
        event_base_free(worker->base);
    }
    close_descriptor(worker->listen_fd);
    close_descriptor(worker->wake_fd);
    pthread_mutex_destroy(&worker->posts.mutex);
    free(worker->posts.waiting);
    free(worker->posts.running);
    free(worker->connections);
    free(worker->free_slots);
    cc_buffer_finish(&worker->head);
    free(worker);
}

static struct http_worker *worker_create(struct http_server *server, uint32_t index)
{
    struct http_worker *worker = cc_alloc(sizeof(*worker));
    worker->server = server;
    worker->index = index;
    worker->listen_fd = -1;
    worker->wake_fd = -1;
    worker->date_second = -1;
    pthread_mutex_init(&worker->posts.mutex, NULL);
    worker->posts.waiting = cc_alloc_array(server->options.posts_max, sizeof(struct post));
    worker->posts.running = cc_alloc_array(server->options.posts_max, sizeof(struct post));
    return worker;
}

// --- listening

static int bound_socket(const struct addrinfo *address, bool shared)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int yes = 1;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0;
    ok = ok && (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) == 0);
    ok = ok && bind(fd, address->ai_addr, address->ai_addrlen) == 0;
    if (!ok) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static enum cc_status status_of_bind(void)
{
    switch (errno) {
    case EADDRINUSE:
        return CC_EXISTS;
    case EADDRNOTAVAIL:
        return CC_INVALID;
    default:
        return CC_IO;
    }
}

// A shared port could be shared with another program, too, unnoticed; binding it alone first finds that out.
static enum cc_status check_port_is_free(const struct addrinfo *address)
{
    int fd = bound_socket(address, false);
    if (fd < 0) {
        return status_of_bind();
    }
    close(fd);
    return CC_OK;
}

static void set_port(struct addrinfo *address, uint16_t port)
{
    if (address->ai_family == AF_INET6) {
        ((struct sockaddr_in6 *)(void *)address->ai_addr)->sin6_port = htons(port);
        return;
    }
    ((struct sockaddr_in *)(void *)address->ai_addr)->sin_port = htons(port);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage name = {0};
    socklen_t n_name = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &n_name) != 0) {
        return 0;
    }
    if (name.ss_family == AF_INET6) {
        return ntohs(((struct sockaddr_in6 *)(void *)&name)->sin6_port);
    }
    return ntohs(((struct sockaddr_in *)(void *)&name)->sin_port);
}

static enum cc_status listen_all(struct http_server *server, struct addrinfo *address)
{
    set_port(address, server->options.port);
    enum cc_status status = check_port_is_free(address);
    for (uint32_t i = 0; status == CC_OK && i < server->options.n_workers; i++) {
        int fd = bound_socket(address, true);
        if (fd < 0) {
            return status_of_bind();
        }
        server->workers[i]->listen_fd = fd;
        if (listen(fd, LISTEN_BACKLOG) != 0) {
            return status_of_bind();
        }
        server->port = port_of(fd);
        set_port(address, server->port); // when any port was wanted: all workers share the first one's
    }
    return status;
}

static enum cc_status server_listen(struct http_server *server)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    if (getaddrinfo(server->options.host, NULL, &hints, &addresses) != 0) {
        return CC_INVALID;
    }
    enum cc_status status = listen_all(server, addresses);
    freeaddrinfo(addresses);
    return status;
}

// --- the server

struct http_server_options http_server_options_default(void)
{
    return (struct http_server_options){
        .host = "127.0.0.1",
        .n_workers = 1,
        .connections_max = 1024,
        .connections_per_address_max = 64,
        .body_memory_bytes_max = (size_t)256 << 20,
        .posts_max = 16384,
        .limits = http_limits_default(),
        .deadlines =
            {
                .head_ms = 5000,
                .body_ms = 30000,
                .idle_ms = 60000,
                .write_ms = 30000,
                .grace_ms = 5000,
                .rate_bytes_per_second = 1024,
            },
    };
}

static enum cc_status start_threads(struct http_server *server)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); // signals are for the main thread
    enum cc_status status = CC_OK;
    for (uint32_t i = 0; i < server->options.n_workers && status == CC_OK; i++) {
        struct http_worker *worker = server->workers[i];
        worker->has_thread = pthread_create(&worker->thread, NULL, worker_main, worker) == 0;
        status = worker->has_thread ? CC_OK : CC_IO;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

enum cc_status http_server_create(const struct http_server_options *options, struct http_server **server_out)
{
    assert(options->n_workers > 0 && options->handle != NULL && options->posts_max > 0);
    struct http_server *server = cc_alloc(sizeof(*server));
    server->options = *options;
    pthread_mutex_init(&server->address_mutex, NULL);
    server->workers = cc_alloc_array(options->n_workers, sizeof(struct http_worker *));
    for (uint32_t i = 0; i < options->n_workers; i++) {
        server->workers[i] = worker_create(server, i);
    }
    enum cc_status status = server_listen(server);
    for (uint32_t i = 0; i < options->n_workers && status == CC_OK; i++) {
        status = worker_init(server->workers[i]);
    }
    if (status == CC_OK) {
        status = start_threads(server);
    }
    if (status != CC_OK) {
        http_server_destroy(server, 0);
        return status;
    }
    *server_out = server;
    return CC_OK;
}

static void tell_to_stop(struct http_worker *worker)
{
    pthread_mutex_lock(&worker->posts.mutex);
    worker->posts.stop = true;
    pthread_mutex_unlock(&worker->posts.mutex);
    eventfd_write(worker->wake_fd, 1);
}

void http_server_destroy(struct http_server *server, uint32_t drain_ms)
{
    if (server == NULL) {
        return;
    }
    atomic_store(&server->drain_ms, drain_ms);
    for (uint32_t i = 0; i < server->options.n_workers; i++) {
        if (server->workers[i]->has_thread) {
            tell_to_stop(server->workers[i]);
        }
    }
    for (uint32_t i = 0; i < server->options.n_workers; i++) {
        if (server->workers[i]->has_thread) {
            pthread_join(server->workers[i]->thread, NULL);
        }
    }
    for (uint32_t i = 0; i < server->options.n_workers; i++) {
        worker_destroy(server->workers[i]);
    }
    free(server->workers);
    free(server->addresses);
    pthread_mutex_destroy(&server->address_mutex);
    free(server);
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

uint32_t http_server_n_workers(const struct http_server *server)
{
    return server->options.n_workers;
}

struct http_worker *http_server_worker(struct http_server *server, uint32_t index)
{
    assert(index < server->options.n_workers);
    return server->workers[index];
}

struct event_base *http_worker_event_base(struct http_worker *worker)
{
    return worker->base;
}

uint32_t http_worker_index(const struct http_worker *worker)
{
    return worker->index;
}

void http_worker_set_state(struct http_worker *worker, void *state)
{
    worker->state = state;
}

void *http_worker_state(const struct http_worker *worker)
{
    return worker->state;
}

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct http_counters http_server_counters(const struct http_server *server)
{
    struct http_counters sum = {0};
    for (uint32_t i = 0; i < server->options.n_workers; i++) {
        const struct counters *counters = &server->workers[i]->counters;
        sum.requests += read_counter(&counters->requests);
        sum.answers_dropped += read_counter(&counters->answers_dropped);
        sum.connections_accepted += read_counter(&counters->accepted);
        sum.connections_open += read_counter(&counters->open);
        sum.connections_timed_out += read_counter(&counters->timed_out);
        sum.received_bytes += read_counter(&counters->received_bytes);
        sum.sent_bytes += read_counter(&counters->sent_bytes);
        for (size_t class = 0; class < 6; class++) {
            sum.answers_by_class[class] += read_counter(&counters->answers_by_class[class]);
        }
        for (size_t refusal = 0; refusal < HTTP_REFUSAL_COUNT; refusal++) {
            sum.refused[refusal] += read_counter(&counters->refused[refusal]);
        }
    }
    return sum;
}
