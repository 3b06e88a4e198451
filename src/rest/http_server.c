// The HTTP server: worker threads, their listeners, and the queue into each of them.
#include "rest/http_server_internal.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LISTEN_BACKLOG = 1024,
    // Above the cap, at a time: these are told why, the next ones wait in the backlog for the next sweep. So a thousand hear it within a
    // second, and clients that come again at once cost no more than that.
    REFUSED_CONNECTIONS_MAX = 256,
    SWEEP_MS_MAX = 250,
};

static void on_reap(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    http_connections_free_dead(context);
}

// --- deadlines

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
    if (worker->draining && (worker->n_open == 0 || now >= worker->stop_ms)) {
        event_base_loopbreak(worker->base);
    }
}

static void on_sweep(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct http_worker *worker = context;
    uint64_t now = http_now_ms();
    for (uint32_t i = 0; i < worker->n_slots; i++) {
        if (worker->connections[i] != NULL) {
            http_connection_sweep(worker->connections[i], now);
        }
    }
    accept_again(worker);
    stop_if_drained(worker, now);
}

// --- accepting

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int n_peer,
                      void *context)
{
    (void)n_peer;
    struct http_worker *worker = context;
    uint32_t n_open = 1 + atomic_fetch_add(&worker->server->n_open, 1);
    if (n_open >= worker->server->options.connections_max + REFUSED_CONNECTIONS_MAX) {
        evconnlistener_disable(listener);
        worker->is_accepting = false;
    }
    http_connection_open(worker, fd, peer, n_open);
}

// Out of descriptors, most likely: wait a sweep instead of turning in circles.
static void on_accept_error(struct evconnlistener *listener, void *context)
{
    struct http_worker *worker = context;
    evconnlistener_disable(listener);
    worker->is_accepting = false;
}

// --- functions from other threads

bool http_worker_post(struct http_worker *worker, void (*function)(void *context, struct http_worker *worker),
                      void *context)
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

static void run_posts(struct http_worker *worker, bool close_queue)
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
    pthread_mutex_unlock(&posts->mutex);
    for (uint32_t i = 0; i < n_running; i++) {
        running[i].function(running[i].context, worker);
    }
}

static void begin_to_stop(struct http_worker *worker)
{
    worker->draining = true;
    worker->stop_ms = http_now_ms() + atomic_load(&worker->server->drain_ms);
    evconnlistener_free(worker->listener);
    worker->listener = NULL;
    for (uint32_t i = 0; i < worker->n_slots; i++) {
        struct connection *connection = worker->connections[i];
        if (connection != NULL && connection->state == CONNECTION_READING &&
            http_gate_is_between_requests(connection->gate)) {
            http_connection_close(connection);
        }
    }
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct http_worker *worker = context;
    eventfd_t n;
    eventfd_read(fd, &n);
    run_posts(worker, false);
    if (atomic_load(&worker->server->stopping) && !worker->draining) {
        begin_to_stop(worker);
    }
    stop_if_drained(worker, http_now_ms());
}

// --- worker threads

static void close_all(struct http_worker *worker)
{
    for (uint32_t i = 0; i < worker->n_slots; i++) {
        if (worker->connections[i] != NULL) {
            http_connection_close(worker->connections[i]);
        }
    }
    http_connections_free_dead(worker);
}

static void *worker_main(void *context)
{
    struct http_worker *worker = context;
    const struct http_server_options *options = &worker->server->options;
    (void)pthread_setname_np(pthread_self(), "caucus http"); // for profiles
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
    uint32_t shortest =
        min_u32(min_u32(deadlines->head_ms, deadlines->body_ms), min_u32(deadlines->idle_ms, deadlines->write_ms));
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

void http_server_destroy(struct http_server *server, uint32_t drain_ms)
{
    if (server == NULL) {
        return;
    }
    atomic_store(&server->drain_ms, drain_ms);
    atomic_store(&server->stopping, true); // before any worker wakes: from now on every answer says that it is the last one
    for (uint32_t i = 0; i < server->options.n_workers; i++) {
        if (server->workers[i]->has_thread) {
            eventfd_write(server->workers[i]->wake_fd, 1);
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
        for (size_t class = 0; class < 6; class ++) {
            sum.answers_by_class[class] += read_counter(&counters->answers_by_class[class]);
        }
        for (size_t refusal = 0; refusal < HTTP_REFUSAL_COUNT; refusal++) {
            sum.refused[refusal] += read_counter(&counters->refused[refusal]);
        }
    }
    return sum;
}
