// One HTTP connection: bytes through the gate to the handler, answers in order, deadlines, the end.
#include "rest/http_server_internal.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    PENDING_BYTES_MAX = 64 << 10, // pipelined bytes kept while a request is being answered
    LINGER_MS = 1000,             // after the last answer: so that it arrives before a reset
    LINGER_BYTES_MAX = 4 << 20,
};

static const unsigned connection_next[CONNECTION_STATES] = {
    [CONNECTION_READING] =
        1u << CONNECTION_HANDLING | 1u << CONNECTION_WRITING | 1u << CONNECTION_LINGERING | 1u << CONNECTION_GONE,
    [CONNECTION_HANDLING] =
        1u << CONNECTION_READING | 1u << CONNECTION_WRITING | 1u << CONNECTION_LINGERING | 1u << CONNECTION_GONE,
    [CONNECTION_WRITING] = 1u << CONNECTION_READING | 1u << CONNECTION_LINGERING | 1u << CONNECTION_GONE,
    [CONNECTION_LINGERING] = 1u << CONNECTION_GONE,
    [CONNECTION_GONE] = 0,
};

uint64_t http_now_ms(void)
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
    connection->since_ms = http_now_ms();
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
        server->addresses = cc_grow(server->addresses, &server->addresses_capacity, server->n_addresses + 1,
                                    sizeof(*server->addresses));
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

void http_connection_close(struct connection *connection)
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

void http_connections_free_dead(struct http_worker *worker)
{
    while (worker->dead != NULL) {
        struct connection *connection = worker->dead;
        worker->dead = connection->next_dead;
        connection_free(connection);
    }
}

// The last answer is on its way: no more is sent, what still comes is thrown away until the client closes.
static void connection_linger(struct connection *connection)
{
    move(connection, CONNECTION_LINGERING);
    if (connection->saw_end || shutdown(connection->fd, SHUT_WR) != 0) {
        http_connection_close(connection);
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
static void keep_rest(struct connection *connection, struct cc_slice head, struct cc_slice body,
                      struct cc_buffer *moved, size_t n_sent)
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

static void send_answer(struct connection *connection, struct cc_slice head, struct cc_slice body,
                        struct cc_buffer *moved)
{
    ssize_t n = send_two(connection->fd, head, body);
    if (n < 0) {
        http_connection_close(connection);
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
        http_connection_close(connection);
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
        http_connection_close(connection);
        return;
    }
    count(&connection->worker->counters.sent_bytes, (uint64_t)n);
    connection->n_out_sent += (size_t)n;
    connection->taken_ms = n > 0 ? http_now_ms() : connection->taken_ms;
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
    connection->close_after = connection->close_after || answer.close || atomic_load(&worker->server->stopping);
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
        connection->since_ms = http_now_ms();
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
    if (http_gate_take_continue(connection->gate) &&
        send_two(connection->fd, text, (struct cc_slice){0}) != (ssize_t)text.n) {
        http_connection_close(connection);
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
    if (connection->saw_end || (atomic_load(&connection->worker->server->stopping) && http_gate_is_between_requests(connection->gate))) {
        http_connection_close(connection);
        return;
    }
    want_reads(connection, true);
}

static void received(struct connection *connection, const uint8_t *data, size_t n)
{
    if (connection->state == CONNECTION_LINGERING) {
        connection->n_discarded += n;
        if (connection->n_discarded > LINGER_BYTES_MAX) {
            http_connection_close(connection);
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
        http_connection_close(connection);
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
            http_connection_close(connection);
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
        http_connection_close(connection);
        return;
    }
    connection_refuse(connection, HTTP_TOO_SLOW);
}

void http_connection_sweep(struct connection *connection, uint64_t now)
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
            http_connection_close(connection);
        }
        break;
    case CONNECTION_LINGERING:
        if (elapsed_ms > LINGER_MS) {
            http_connection_close(connection);
        }
        break;
    case CONNECTION_HANDLING: // the handler has deadlines of its own
    case CONNECTION_GONE:
    case CONNECTION_STATES:
        break;
    }
}

// --- accepting

static void take_slot(struct http_worker *worker, struct connection *connection)
{
    if (worker->n_free_slots > 0) {
        connection->slot = worker->free_slots[--worker->n_free_slots];
    } else {
        connection->slot = worker->n_slots++;
        worker->connections =
            cc_grow(worker->connections, &worker->connections_capacity, worker->n_slots, sizeof(void *));
        worker->free_slots =
            cc_grow(worker->free_slots, &worker->free_slots_capacity, worker->n_slots, sizeof(uint32_t));
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

void http_connection_open(struct http_worker *worker, int fd, const struct sockaddr *peer, uint32_t n_open)
{
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    struct connection *connection = cc_alloc(sizeof(*connection));
    connection->worker = worker;
    connection->fd = fd;
    connection->since_ms = http_now_ms();
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
        http_connection_close(connection);
    }
}
