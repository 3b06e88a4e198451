// The load generator: threads of epoll loops that keep many connections busy, measure and count.
#include "cli/bench_engine.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 128,
    INPUT_BYTES = 16 << 10,
    INPUT_BYTES_MAX = 80 << 20,
    SWEEP_NS = 10 * 1000 * 1000,     // how often deadlines and pauses are looked at
    RECONNECT_NS = 50 * 1000 * 1000, // a client whose connection broke waits this long
};

#define SECOND_NS 1000000000ull

// PAUSED -> CONNECTING -> IDLE <-> BUSY; from everywhere back to PAUSED.
enum client_state { CLIENT_PAUSED, CLIENT_CONNECTING, CLIENT_IDLE, CLIENT_BUSY, CLIENT_STATES };

static const unsigned client_next[CLIENT_STATES] = {
    [CLIENT_PAUSED] = 1u << CLIENT_CONNECTING | 1u << CLIENT_IDLE | 1u << CLIENT_PAUSED,
    [CLIENT_CONNECTING] = 1u << CLIENT_IDLE | 1u << CLIENT_PAUSED,
    [CLIENT_IDLE] = 1u << CLIENT_BUSY | 1u << CLIENT_PAUSED,
    [CLIENT_BUSY] = 1u << CLIENT_IDLE | 1u << CLIENT_PAUSED,
};

struct client {
    enum client_state state;
    int fd; // -1: none
    uint32_t home;
    uint32_t n_failures; // in a row
    uint64_t until_ns;   // CONNECTING, BUSY: deadline; PAUSED: when it goes on
    uint64_t intended_ns;
    bool writing; // registered for EPOLLOUT
    bool queued;  // in the worker's queue of idle clients
    struct cc_buffer in;
    struct cc_buffer out;
    size_t n_sent;
    struct bench_session session;
};

struct run {
    const struct bench_load *load;
    uint64_t start_ns, begin_ns, end_ns; // measured: [begin, end)
    atomic_bool stop;
};

struct worker {
    struct run *run;
    pthread_t thread;
    int epoll_fd;
    struct client *clients;
    size_t n_clients;
    size_t n_busy;
    struct client **idle; // ring: longest idle first
    size_t idle_first, n_idle;
    double next_ns, step_ns; // open loop: the next intended start
    uint64_t next_sweep_ns;
    uint64_t end_ns;      // nothing starts at or after it
    pthread_mutex_t lock; // guards everything below while the thread runs
    struct bench_histogram interval;
    uint64_t n_interval_bad;
    struct bench_result result;
};

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void move(struct client *client, enum client_state next)
{
    assert((client_next[client->state] & 1u << next) != 0);
    client->state = next;
}

static void watch(struct worker *worker, struct client *client, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    int failed = epoll_ctl(worker->epoll_fd, operation, client->fd, &event);
    assert(failed == 0);
    client->writing = (events & EPOLLOUT) != 0;
}

static void disconnect(struct client *client)
{
    if (client->fd >= 0) {
        close(client->fd); // also leaves epoll
    }
    client->fd = -1;
    cc_buffer_clear(&client->in);
    cc_buffer_clear(&client->out);
    client->n_sent = 0;
}

static void pause_until(struct worker *worker, struct client *client, uint64_t until_ns)
{
    worker->n_busy -= client->state == CLIENT_BUSY;
    move(client, CLIENT_PAUSED);
    client->until_ns = until_ns;
}

static void make_idle(struct worker *worker, struct client *client)
{
    worker->n_busy -= client->state == CLIENT_BUSY;
    move(client, CLIENT_IDLE);
    if (!client->queued) {
        worker->idle[(worker->idle_first + worker->n_idle++) % worker->n_clients] = client;
        client->queued = true;
    }
}

static struct client *take_idle(struct worker *worker)
{
    while (worker->n_idle > 0) {
        struct client *client = worker->idle[worker->idle_first];
        worker->idle_first = (worker->idle_first + 1) % worker->n_clients;
        worker->n_idle--;
        client->queued = false;
        if (client->state == CLIENT_IDLE) { // else it lost its connection while it waited here
            return client;
        }
    }
    return NULL;
}

static bool is_measured(const struct worker *worker, uint64_t intended_ns, uint64_t now)
{
    uint64_t at = worker->run->load->rate > 0 ? intended_ns : now;
    return at >= worker->run->begin_ns && at < worker->end_ns;
}

static void keep_sample(struct bench_result *result, struct cc_slice detail)
{
    if (result->sample[0] == '\0' && detail.n > 0) {
        size_t n = detail.n < sizeof(result->sample) - 1 ? detail.n : sizeof(result->sample) - 1;
        memcpy(result->sample, detail.data, n);
        result->sample[n] = '\0';
    }
}

static void record(struct worker *worker, const struct client *client, const struct bench_reply *reply, uint64_t now)
{
    struct bench_tally *tally = &worker->result.tallies[client->session.operation];
    bool done = reply->outcome == BENCH_DONE;
    uint64_t latency = now - client->intended_ns;
    tally->n_total[reply->outcome]++;
    tally->n_rows_total += done ? client->session.n_rows : 0;
    tally->n_rows_unknown += reply->outcome == BENCH_UNKNOWN ? client->session.n_rows : 0;
    worker->result.statuses[reply->status]++;
    if (done) {
        bench_histogram_record(&worker->interval, latency);
    } else {
        worker->n_interval_bad++;
    }
    if (reply->outcome == BENCH_FAILED || reply->outcome == BENCH_WRONG) {
        keep_sample(&worker->result, reply->detail);
    }
    if (!is_measured(worker, client->intended_ns, now)) {
        return;
    }
    tally->n[reply->outcome]++;
    if (done) {
        tally->n_rows += client->session.n_rows;
        bench_histogram_record(&tally->latency, latency);
    } else if (reply->outcome == BENCH_REFUSED) {
        bench_histogram_record(&worker->result.refused, latency);
    }
}

// The connection is of no use any more. A request under way has an unknown outcome.
static void break_connection(struct worker *worker, struct client *client, uint64_t now, const char *why)
{
    bool was_busy = client->state == CLIENT_BUSY;
    if (was_busy) {
        struct bench_reply reply = {.outcome = BENCH_UNKNOWN, .detail = cc_slice_text(why)};
        record(worker, client, &reply, now);
    }
    bool was_idle = client->state == CLIENT_IDLE; // the server may end a connection that rests: no reason to wait
    client->n_failures += was_idle ? 0 : 1;
    worker->result.n_reconnects++;
    disconnect(client);
    pause_until(worker, client, was_idle ? now : now + RECONNECT_NS);
}

static void start_connecting(struct worker *worker, struct client *client, uint64_t now)
{
    const struct bench_load *load = worker->run->load;
    const struct bench_address *address = &load->addresses[(client->home + client->n_failures) % load->n_addresses];
    client->session.address = address;
    client->fd = socket(address->socket_address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool failed = client->fd < 0;
    if (!failed) {
        int on = 1;
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        failed = connect(client->fd, (const struct sockaddr *)&address->socket_address, address->n_bytes) != 0 &&
                 errno != EINPROGRESS;
    }
    if (failed) {
        client->n_failures++;
        disconnect(client);
        pause_until(worker, client, now + RECONNECT_NS);
        return;
    }
    move(client, CLIENT_CONNECTING);
    client->until_ns = now + load->timeout_ms * 1000000;
    watch(worker, client, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void send_out(struct worker *worker, struct client *client, uint64_t now)
{
    while (client->n_sent < client->out.n) {
        ssize_t n = send(client->fd, client->out.data + client->n_sent, client->out.n - client->n_sent, MSG_NOSIGNAL);
        if (n > 0) {
            client->n_sent += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            if (!client->writing) {
                watch(worker, client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            }
            return;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        break_connection(worker, client, now, "the connection broke while sending");
        return;
    }
    cc_buffer_clear(&client->out);
    client->n_sent = 0;
    if (client->writing) {
        watch(worker, client, EPOLL_CTL_MOD, EPOLLIN);
    }
}

static void finish_connecting(struct worker *worker, struct client *client, uint64_t now)
{
    int error = 0;
    socklen_t n = sizeof(error);
    if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0) {
        break_connection(worker, client, now, "cannot connect");
        return;
    }
    const struct bench_load *load = worker->run->load;
    client->n_failures = 0;
    watch(worker, client, EPOLL_CTL_MOD, EPOLLIN);
    make_idle(worker, client);
    if (load->protocol->open != NULL) {
        load->protocol->open(load->context, &client->session, &client->out);
        send_out(worker, client, now);
    }
}

static void start_request(struct worker *worker, struct client *client, uint64_t intended_ns, uint64_t now)
{
    const struct bench_load *load = worker->run->load;
    client->session.n_rows = 1;
    load->protocol->request(load->context, &client->session, &client->out);
    assert(client->session.operation < load->n_operations);
    client->session.sequence++;
    client->intended_ns = intended_ns;
    client->until_ns = now + load->timeout_ms * 1000000;
    move(client, CLIENT_BUSY);
    worker->n_busy++;
    send_out(worker, client, now);
}

// Gives work to idle clients: at once in the closed loop, at the intended times in the open one.
static void start_requests(struct worker *worker, uint64_t now)
{
    bool open = worker->run->load->rate > 0;
    while (now < worker->end_ns && worker->n_idle > 0 && (!open || worker->next_ns <= (double)now)) {
        struct client *client = take_idle(worker);
        if (client == NULL) {
            return;
        }
        uint64_t intended_ns = open ? (uint64_t)worker->next_ns : now;
        worker->next_ns += worker->step_ns;
        start_request(worker, client, intended_ns, now);
    }
}

static void complete(struct worker *worker, struct client *client, const struct bench_reply *reply, uint64_t now)
{
    record(worker, client, reply, now);
    if (reply->close) {
        disconnect(client);
        worker->result.n_reconnects++;
        pause_until(worker, client, now);
    } else if (reply->outcome == BENCH_REFUSED) {
        pause_until(worker, client, now + worker->run->load->pause_ms * 1000000);
    } else {
        make_idle(worker, client);
    }
}

// Reads what the buffered input says; returns false if the connection is gone.
static bool take_answers(struct worker *worker, struct client *client, uint64_t now)
{
    const struct bench_load *load = worker->run->load;
    size_t n_taken_all = 0;
    while (n_taken_all < client->in.n) {
        struct cc_slice input = cc_slice_of(client->in.data + n_taken_all, client->in.n - n_taken_all);
        struct bench_reply reply = {0};
        size_t n_taken = 0;
        enum bench_verdict verdict =
            load->protocol->answer(load->context, &client->session, input, &client->out, &n_taken, &reply);
        n_taken_all += n_taken;
        if (verdict == BENCH_ANSWER_MORE) {
            break;
        }
        if (verdict == BENCH_ANSWER_MALFORMED || client->state != CLIENT_BUSY) {
            break_connection(worker, client, now, "an answer that is malformed or that nobody asked for");
            return false;
        }
        complete(worker, client, &reply, now);
        if (client->fd < 0) {
            return false;
        }
    }
    memmove(client->in.data, client->in.data + n_taken_all, client->in.n - n_taken_all);
    client->in.n -= n_taken_all;
    return true;
}

static void receive(struct worker *worker, struct client *client, uint64_t now)
{
    cc_buffer_reserve(&client->in, INPUT_BYTES);
    ssize_t n = recv(client->fd, client->in.data + client->in.n, client->in.capacity - client->in.n, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0 || client->in.n + (size_t)n > INPUT_BYTES_MAX) {
        break_connection(worker, client, now, "the server closed the connection");
        return;
    }
    client->in.n += (size_t)n;
    if (take_answers(worker, client, now) && client->out.n > client->n_sent) {
        send_out(worker, client, now);
    }
}

static void handle(struct worker *worker, const struct epoll_event *event, uint64_t now)
{
    struct client *client = event->data.ptr;
    if (client->state == CLIENT_CONNECTING) {
        finish_connecting(worker, client, now);
        return;
    }
    if ((event->events & EPOLLOUT) != 0 && client->fd >= 0) {
        send_out(worker, client, now);
    }
    if ((event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && client->fd >= 0) {
        receive(worker, client, now);
    }
}

static void sweep_client(struct worker *worker, struct client *client, uint64_t now)
{
    if (client->until_ns > now) {
        return;
    }
    switch (client->state) {
    case CLIENT_PAUSED:
        if (client->fd >= 0) {
            make_idle(worker, client);
        } else if (now < worker->end_ns) {
            start_connecting(worker, client, now);
        }
        return;
    case CLIENT_CONNECTING:
    case CLIENT_BUSY:
        break_connection(worker, client, now, "no answer in time");
        return;
    case CLIENT_IDLE:
    case CLIENT_STATES:
        return;
    }
}

static void sweep(struct worker *worker, uint64_t now)
{
    for (size_t i = 0; i < worker->n_clients; i++) {
        sweep_client(worker, &worker->clients[i], now);
    }
    worker->next_sweep_ns = now + SWEEP_NS;
}

static uint64_t nanoseconds_to_wait(const struct worker *worker, uint64_t now)
{
    uint64_t until = worker->next_sweep_ns;
    if (worker->run->load->rate > 0 && worker->n_idle > 0 && worker->next_ns < (double)until && now < worker->end_ns) {
        until = (uint64_t)worker->next_ns;
    }
    return until > now ? until - now : 0;
}

// Open loop: what should have been sent by the end and was not. It counts with the time that it has waited so far.
static void count_unsent(struct worker *worker)
{
    for (; worker->run->load->rate > 0 && worker->next_ns < (double)worker->end_ns;
         worker->next_ns += worker->step_ns) {
        if (worker->next_ns >= (double)worker->run->begin_ns) {
            worker->result.n_unsent++;
            bench_histogram_record(&worker->result.unsent, worker->end_ns - (uint64_t)worker->next_ns);
        }
    }
}

static bool turn(struct worker *worker)
{
    struct epoll_event events[EVENTS];
    uint64_t wait_ns = nanoseconds_to_wait(worker, bench_now_ns());
    struct timespec timeout = {.tv_sec = (time_t)(wait_ns / SECOND_NS), .tv_nsec = (long)(wait_ns % SECOND_NS)};
    int n = epoll_pwait2(worker->epoll_fd, events, EVENTS, &timeout, NULL);
    uint64_t now = bench_now_ns();
    if (atomic_load_explicit(&worker->run->stop, memory_order_relaxed) && worker->end_ns > now) {
        worker->end_ns = now;
    }
    pthread_mutex_lock(&worker->lock);
    for (int i = 0; i < n; i++) {
        handle(worker, &events[i], bench_now_ns());
        start_requests(worker, bench_now_ns());
    }
    now = bench_now_ns();
    if (now >= worker->next_sweep_ns) {
        sweep(worker, now);
    }
    start_requests(worker, now);
    bool more = now < worker->end_ns || worker->n_busy > 0;
    if (!more) {
        count_unsent(worker);
    }
    pthread_mutex_unlock(&worker->lock);
    return more;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul);
    while (turn(worker)) {
    }
    return NULL;
}

static void worker_finish(struct worker *worker)
{
    for (size_t i = 0; i < worker->n_clients; i++) {
        struct client *client = &worker->clients[i];
        disconnect(client);
        cc_buffer_finish(&client->in);
        cc_buffer_finish(&client->out);
        cc_buffer_finish(&client->session.token);
        cc_buffer_finish(&client->session.scratch);
    }
    free(worker->clients);
    free(worker->idle);
    if (worker->epoll_fd >= 0) {
        close(worker->epoll_fd);
    }
    pthread_mutex_destroy(&worker->lock);
}

static void worker_init(struct worker *worker, struct run *run, unsigned index)
{
    const struct bench_load *load = run->load;
    size_t n = load->n_clients / load->n_threads + (index < load->n_clients % load->n_threads);
    worker->run = run;
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->clients = cc_alloc_array(n, sizeof(*worker->clients));
    worker->n_clients = n;
    worker->idle = cc_alloc_array(n, sizeof(struct client *));
    worker->end_ns = run->end_ns;
    worker->step_ns = load->rate > 0 ? (double)SECOND_NS * load->n_threads / load->rate : 0;
    worker->next_ns = (double)run->start_ns + worker->step_ns * index / load->n_threads;
    pthread_mutex_init(&worker->lock, NULL);
    for (size_t i = 0; i < n; i++) {
        struct client *client = &worker->clients[i];
        client->fd = -1;
        client->session.number = (uint32_t)(i * load->n_threads + index);
        client->home = (uint32_t)(client->session.number % load->n_addresses);
        client->session.address = &load->addresses[client->home];
        cc_prng_seed(&client->session.prng, load->seed * 1000003 + client->session.number);
    }
}

static void result_add(struct bench_result *to, const struct bench_result *from)
{
    for (unsigned i = 0; i < BENCH_OPERATIONS_MAX; i++) {
        struct bench_tally *tally = &to->tallies[i];
        for (unsigned k = 0; k < BENCH_OUTCOMES; k++) {
            tally->n[k] += from->tallies[i].n[k];
            tally->n_total[k] += from->tallies[i].n_total[k];
        }
        tally->n_rows += from->tallies[i].n_rows;
        tally->n_rows_total += from->tallies[i].n_rows_total;
        tally->n_rows_unknown += from->tallies[i].n_rows_unknown;
        bench_histogram_add(&tally->latency, &from->tallies[i].latency);
    }
    for (unsigned i = 0; i < BENCH_STATUSES; i++) {
        to->statuses[i] += from->statuses[i];
    }
    to->n_reconnects += from->n_reconnects;
    to->n_unsent += from->n_unsent;
    bench_histogram_add(&to->unsent, &from->unsent);
    bench_histogram_add(&to->refused, &from->refused);
    keep_sample(to, cc_slice_text(from->sample));
}

static double cpu_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static bool stopped(const struct bench_load *load)
{
    return load->stop != NULL && atomic_load(load->stop);
}

static void sleep_until(const struct bench_load *load, uint64_t until_ns)
{
    for (uint64_t now = bench_now_ns(); now < until_ns && !stopped(load); now = bench_now_ns()) {
        uint64_t wait_ns = until_ns - now < SECOND_NS / 10 ? until_ns - now : SECOND_NS / 10;
        nanosleep(&(struct timespec){.tv_nsec = (long)wait_ns}, NULL);
    }
}

static void report_progress(struct run *run, struct worker *workers, unsigned n_workers, const char *phase,
                            uint64_t since_ns)
{
    const struct bench_load *load = run->load;
    uint64_t now = bench_now_ns();
    struct bench_histogram *all = cc_alloc(sizeof(*all));
    struct bench_progress progress = {
        .phase = phase, .at_s = (double)(now - run->start_ns) / 1e9, .seconds = (double)(now - since_ns) / 1e9};
    for (unsigned i = 0; i < n_workers; i++) {
        pthread_mutex_lock(&workers[i].lock);
        bench_histogram_add(all, &workers[i].interval);
        bench_histogram_clear(&workers[i].interval);
        progress.n_bad += workers[i].n_interval_bad;
        workers[i].n_interval_bad = 0;
        pthread_mutex_unlock(&workers[i].lock);
    }
    progress.n_done = all->n;
    progress.p50_ns = bench_histogram_percentile(all, 50);
    progress.p99_ns = bench_histogram_percentile(all, 99);
    free(all);
    if (load->progress != NULL) {
        load->progress(load->progress_context, &progress);
    }
}

// Until `end_ns`, with a line each second.
static void accompany(struct run *run, struct worker *workers, unsigned n_workers, const char *phase, uint64_t end_ns)
{
    uint64_t since_ns = bench_now_ns();
    while (since_ns < end_ns && !stopped(run->load)) {
        uint64_t next_ns = end_ns - since_ns < 3 * SECOND_NS / 2 ? end_ns : since_ns + SECOND_NS;
        sleep_until(run->load, next_ns);
        report_progress(run, workers, n_workers, phase, since_ns);
        since_ns = bench_now_ns();
    }
}

static void measure(struct run *run, struct worker *workers, unsigned n_workers, struct bench_result *result)
{
    const struct bench_load *load = run->load;
    accompany(run, workers, n_workers, "warm-up", run->begin_ns);
    double cpu_before = cpu_us();
    uint64_t begin_ns = bench_now_ns();
    if (load->measuring != NULL) {
        load->measuring(load->progress_context, true);
    }
    accompany(run, workers, n_workers, "measure", run->end_ns);
    if (load->measuring != NULL) {
        load->measuring(load->progress_context, false);
    }
    result->cpu_us = cpu_us() - cpu_before;
    result->seconds = stopped(load) ? (double)(bench_now_ns() - begin_ns) / 1e9 : (double)load->duration_ms / 1e3;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

enum cc_status bench_engine_run(const struct bench_load *load, struct bench_result *result_out)
{
    assert(load->n_threads > 0 && load->n_threads <= load->n_clients && load->n_addresses > 0);
    assert(load->n_operations <= BENCH_OPERATIONS_MAX);
    raise_descriptor_limit();
    struct run run = {.load = load, .start_ns = bench_now_ns()};
    run.begin_ns = run.start_ns + load->warmup_ms * 1000000;
    run.end_ns = run.begin_ns + load->duration_ms * 1000000;
    memset(result_out, 0, sizeof(*result_out));
    struct worker *workers = cc_alloc_array(load->n_threads, sizeof(*workers));
    enum cc_status status = CC_OK;
    unsigned n_started = 0;
    for (unsigned i = 0; i < load->n_threads; i++) {
        worker_init(&workers[i], &run, i);
    }
    for (; n_started < load->n_threads && status == CC_OK; n_started++) {
        struct worker *worker = &workers[n_started];
        if (worker->epoll_fd < 0 || pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            status = CC_IO;
            break;
        }
    }
    if (status == CC_OK) {
        measure(&run, workers, load->n_threads, result_out);
    }
    atomic_store(&run.stop, true);
    for (unsigned i = 0; i < load->n_threads; i++) {
        if (i < n_started) {
            pthread_join(workers[i].thread, NULL);
            result_add(result_out, &workers[i].result);
        }
        worker_finish(&workers[i]);
    }
    free(workers);
    return status;
}
