// Connections between replicas over real sockets on loopback: up, down, order, floods, stalls, altered bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sodium.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "proxy/peer/io_peer.h"

enum { N_REPLICAS = 3, WAIT_MS = 60000, FLOOD = 200 };

struct replica {
    uint32_t id;
    struct event_base *base; // shared by all unless a test says otherwise
    struct io_peer *peers;
    uint32_t port;
    uint32_t incarnation;
    bool up[N_REPLICAS + 1];
    uint32_t peer_incarnation[N_REPLICAS + 1];
    uint64_t n_ups, n_downs;
    uint64_t n_frames[N_REPLICAS + 1];   // since it came up
    uint64_t n_expected[N_REPLICAS + 1]; // the next number from that peer
    uint64_t n_bytes;
    bool greets; // sends frame 0 from within on_up
    bool replies;
    uint64_t removed_at;
};

static struct keys_pair keys[N_REPLICAS + 1];

struct world {
    struct event_base *base;
    struct event *ticker;
    struct replica replicas[N_REPLICAS + 1];
    uint32_t ports[N_REPLICAS + 1]; // where each is dialled
    const char *host;
    uint32_t connect_ms, idle_ms;
    size_t queue_bytes_max;
    uint64_t membership_index; // of set_members
};

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void send_number(struct replica *from, uint32_t to, uint64_t number, size_t n_bytes)
{
    uint8_t *frame = calloc(1, n_bytes + 8);
    memcpy(frame, &number, 8);
    (void)io_peer_send(from->peers, to, cc_slice_of(frame, n_bytes + 8));
    free(frame);
}

static void on_up(void *context, uint32_t peer, uint32_t incarnation)
{
    struct replica *replica = context;
    assert_false(replica->up[peer]);
    replica->up[peer] = true;
    replica->peer_incarnation[peer] = incarnation;
    replica->n_ups++;
    replica->n_frames[peer] = replica->n_expected[peer] = 0;
    if (replica->greets) {
        send_number(replica, peer, 0, 0);
        io_peer_flush(replica->peers);
    }
}

static void on_down(void *context, uint32_t peer)
{
    struct replica *replica = context;
    assert_true(replica->up[peer]);
    replica->up[peer] = false;
    replica->n_downs++;
}

static void on_removed(void *context, uint32_t peer, uint64_t index)
{
    struct replica *replica = context;
    assert_false(replica->up[peer]);
    replica->removed_at = index;
}

static void on_frame(void *context, uint32_t peer, uint32_t incarnation, struct cc_slice frame)
{
    struct replica *replica = context;
    assert_true(replica->up[peer]);
    assert_int_equal(incarnation, replica->peer_incarnation[peer]);
    assert_true(frame.n >= 8);
    uint64_t number;
    memcpy(&number, frame.data, 8);
    assert_int_equal(number, replica->n_expected[peer]);
    replica->n_expected[peer]++;
    replica->n_frames[peer]++;
    replica->n_bytes += frame.n;
    if (replica->replies) {
        send_number(replica, peer, number, 0);
        io_peer_flush(replica->peers);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context; // only so that the loop returns to the test now and then
}

static void world_init(struct world *w)
{
    *w = (struct world){.host = "127.0.0.1"};
    w->base = event_base_new();
    w->ticker = event_new(w->base, -1, EV_PERSIST, on_tick, NULL);
    struct timeval tick = {.tv_usec = 2000};
    (void)event_add(w->ticker, &tick);
    for (uint32_t id = 1; id <= N_REPLICAS; id++) {
        w->replicas[id] = (struct replica){.id = id, .base = w->base, .incarnation = 1000 + id};
    }
}

static enum cc_status try_start(struct world *w, uint32_t id, uint32_t n_members, const struct keys_pair *own_keys)
{
    struct replica *replica = &w->replicas[id];
    struct io_peer_member members[N_REPLICAS];
    for (uint32_t i = 0; i < n_members; i++) {
        members[i] = (struct io_peer_member){.id = i + 1, .host = w->host, .port = w->ports[i + 1]};
        memcpy(members[i].public_key, keys[i + 1].public_key, KEYS_PUBLIC_BYTES);
    }
    struct io_peer_options options = {
        .base = replica->base,
        .cluster = "shop",
        .id = id,
        .incarnation = replica->incarnation,
        .keys = own_keys,
        .listen_host = "127.0.0.1",
        .listen_port = replica->port,
        .members = members,
        .n_members = n_members,
        .connect_ms = w->connect_ms,
        .idle_ms = w->idle_ms,
        .queue_bytes_max = w->queue_bytes_max,
        .handler = {.context = replica, .on_up = on_up, .on_down = on_down, .on_removed = on_removed, .on_frame = on_frame},
    };
    struct io_peer_problem problem;
    return io_peer_create(&options, &replica->peers, &problem);
}

// Of those below what the system gives to outgoing connections (there are many of them here): nobody takes it before it is listened on.
static uint32_t free_port(void)
{
    enum { FIRST = 12000, N = 16000 };
    static uint32_t n_tried;
    for (int i = 0; i < N; i++) {
        uint32_t port = FIRST + ((uint32_t)getpid() * 31 + n_tried++) % N;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        bool is_free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
        (void)close(fd);
        if (is_free) {
            return port;
        }
    }
    fail_msg("no port is free");
    return 0;
}

static void choose_ports(struct world *w)
{
    for (uint32_t id = 1; id <= N_REPLICAS; id++) {
        w->replicas[id].port = w->ports[id] = free_port();
    }
}

static void start(struct world *w, uint32_t id, uint32_t n_members)
{
    assert_int_equal(try_start(w, id, n_members, &keys[id]), CC_OK);
    assert_int_equal(io_peer_port(w->replicas[id].peers), w->replicas[id].port);
}

static void stop(struct world *w, uint32_t id)
{
    io_peer_destroy(w->replicas[id].peers);
    w->replicas[id].peers = NULL;
    memset(w->replicas[id].up, 0, sizeof(w->replicas[id].up));
}

static void world_finish(struct world *w)
{
    for (uint32_t id = 1; id <= N_REPLICAS; id++) {
        stop(w, id);
        if (w->replicas[id].base != w->base) {
            event_base_free(w->replicas[id].base);
        }
    }
    event_free(w->ticker);
    event_base_free(w->base);
}

#define RUN_UNTIL(w, condition)                                \
    do {                                                       \
        uint64_t until_ms = now_ms() + WAIT_MS;                \
        while (!(condition)) {                                 \
            if (now_ms() > until_ms) {                         \
                fail_msg("waited in vain for %s", #condition); \
            }                                                  \
            (void)event_base_loop((w)->base, EVLOOP_ONCE);     \
        }                                                      \
    } while (0)

static bool all_up(const struct world *w, uint32_t n)
{
    for (uint32_t a = 1; a <= n; a++) {
        for (uint32_t b = 1; b <= n; b++) {
            if (a != b && !w->replicas[a].up[b]) {
                return false;
            }
        }
    }
    return true;
}

static void start_two(struct world *w)
{
    choose_ports(w);
    start(w, 1, 2);
    start(w, 2, 2);
    RUN_UNTIL(w, all_up(w, 2));
}

// -------------------------------------------------------------------------------------------------------------------

static void frames_arrive_once_and_in_order_in_both_directions(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    start_two(&w);
    assert_int_equal(w.replicas[1].peer_incarnation[2], 1002);
    for (uint64_t i = 0; i < 20000; i++) {
        send_number(&w.replicas[1], 2, i, i % 300);
        send_number(&w.replicas[2], 1, i, 0);
        if (i % 50 == 0) {
            io_peer_flush(w.replicas[1].peers);
            io_peer_flush(w.replicas[2].peers);
        }
    }
    io_peer_flush(w.replicas[1].peers);
    io_peer_flush(w.replicas[2].peers);
    RUN_UNTIL(&w, w.replicas[2].n_frames[1] == 20000 && w.replicas[1].n_frames[2] == 20000);
    assert_int_equal(w.replicas[1].n_downs, 0);
    struct io_peer_stats stats;
    assert_int_equal(io_peer_describe(w.replicas[1].peers, 2, &stats), CC_OK);
    assert_true(stats.up);
    assert_int_equal(stats.n_queued_bytes, 0);
    assert_int_equal(io_peer_describe(w.replicas[1].peers, 7, &stats), CC_NOT_FOUND);
    world_finish(&w);
}

static void the_largest_frame_passes(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    start_two(&w);
    send_number(&w.replicas[1], 2, 0, 10);
    send_number(&w.replicas[1], 2, 1, CC_FRAME_BYTES_MAX - 8);
    send_number(&w.replicas[1], 2, 2, 10);
    io_peer_flush(w.replicas[1].peers);
    RUN_UNTIL(&w, w.replicas[2].n_frames[1] == 3);
    assert_int_equal(w.replicas[2].n_bytes, CC_FRAME_BYTES_MAX + 36);
    world_finish(&w);
}

static void three_replicas_all_reach_each_other(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    choose_ports(&w);
    for (uint32_t id = 1; id <= 3; id++) {
        start(&w, id, 3);
    }
    RUN_UNTIL(&w, all_up(&w, 3));
    for (uint32_t a = 1; a <= 3; a++) {
        for (uint32_t b = 1; b <= 3; b++) {
            send_number(&w.replicas[a], b, 0, 5);
        }
        io_peer_flush(w.replicas[a].peers);
        assert_false(io_peer_send(w.replicas[a].peers, a, cc_slice_text("to itself")));
    }
    RUN_UNTIL(&w, w.replicas[1].n_bytes + w.replicas[2].n_bytes + w.replicas[3].n_bytes == 6 * 13);
    world_finish(&w);
}

static void what_is_said_at_once_is_never_lost(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.replicas[1].greets = w.replicas[2].greets = true;
    choose_ports(&w);
    start(&w, 1, 2);
    for (int i = 0; i < 50; i++) {
        start(&w, 2, 2);
        RUN_UNTIL(&w, all_up(&w, 2) && w.replicas[1].n_frames[2] == 1 && w.replicas[2].n_frames[1] == 1);
        stop(&w, 2);
        RUN_UNTIL(&w, !w.replicas[1].up[2]);
    }
    world_finish(&w);
}

static void a_replica_that_comes_back_is_up_again_quickly(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    start_two(&w);
    for (uint32_t life = 1; life <= 5; life++) {
        stop(&w, 2);
        RUN_UNTIL(&w, !w.replicas[1].up[2]);
        assert_false(io_peer_send(w.replicas[1].peers, 2, cc_slice_text("nobody hears this")));
        uint64_t gone_ms = now_ms();
        RUN_UNTIL(&w, now_ms() - gone_ms > 300); // the back-off has grown
        w.replicas[2].incarnation = 2000 + life;
        start(&w, 2, 2);
        uint64_t back_ms = now_ms();
        RUN_UNTIL(&w, all_up(&w, 2));
        assert_true(now_ms() - back_ms < 1500); // it dials, so we need not wait for our own turn
        assert_int_equal(w.replicas[1].peer_incarnation[2], 2000 + life);
        send_number(&w.replicas[1], 2, 0, 0);
        io_peer_flush(w.replicas[1].peers);
        RUN_UNTIL(&w, w.replicas[2].n_frames[1] == 1);
    }
    world_finish(&w);
}

static int dial_raw(uint32_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static bool is_cut(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static void a_flood_of_silent_connections_keeps_nobody_out(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.connect_ms = 1000;
    start_two(&w);
    int floods[FLOOD];
    for (int i = 0; i < FLOOD; i++) {
        floods[i] = dial_raw(w.ports[1]);
        if (i % 20 == 0) {
            (void)event_base_loop(w.base, EVLOOP_NONBLOCK);
        }
    }
    stop(&w, 2);
    start(&w, 2, 2);
    uint64_t start_ms = now_ms();
    RUN_UNTIL(&w, all_up(&w, 2));
    assert_true(now_ms() - start_ms < 900);
    int n_cut = 0;
    for (int i = 0; i < FLOOD; i++) {
        n_cut += is_cut(floods[i]) ? 1 : 0;
    }
    assert_true(n_cut >= FLOOD - 17); // all but the cap
    uint64_t deadline_ms = now_ms() + 3000;
    while (n_cut < FLOOD && now_ms() < deadline_ms) { // and those at their deadline
        (void)event_base_loop(w.base, EVLOOP_ONCE);
        n_cut = 0;
        for (int i = 0; i < FLOOD; i++) {
            n_cut += is_cut(floods[i]) ? 1 : 0;
        }
    }
    assert_int_equal(n_cut, FLOOD);
    assert_true(all_up(&w, 2));
    for (int i = 0; i < FLOOD; i++) {
        (void)close(floods[i]);
    }
    world_finish(&w);
}

static void garbage_is_cut_off(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    start_two(&w);
    int fd = dial_raw(w.ports[1]);
    static const char text[] = "GET / HTTP/1.1\r\nHost: wrong door\r\nAccept: everything, really everything\r\n\r\n";
    assert_int_equal(send(fd, text, sizeof(text), 0), sizeof(text));
    RUN_UNTIL(&w, is_cut(fd));
    (void)close(fd);
    assert_true(all_up(&w, 2));
    world_finish(&w);
}

static void a_reader_that_stalls_is_dropped_when_the_queue_is_full(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.queue_bytes_max = 8 << 20;
    start_two(&w);
    // Both live in this loop: while we do not return to it, replica 2 does not read.
    for (uint64_t n = 0; n < 2000; n++) {
        send_number(&w.replicas[1], 2, n, 64 << 10);
        io_peer_flush(w.replicas[1].peers);
    }
    assert_true(w.replicas[1].up[2]); // told from the loop only
    struct io_peer_stats stats;
    assert_int_equal(io_peer_describe(w.replicas[1].peers, 2, &stats), CC_OK);
    assert_true(stats.n_queued_bytes <= (8 << 20) + (256 << 10));
    RUN_UNTIL(&w, w.replicas[1].n_downs == 1);
    assert_int_equal(io_peer_describe(w.replicas[1].peers, 2, &stats), CC_OK);
    assert_non_null(strstr(stats.problem, "too far behind"));
    RUN_UNTIL(&w, all_up(&w, 2)); // and it may try again
    world_finish(&w);
}

static void a_peer_that_falls_silent_goes_down(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.idle_ms = 400;
    w.replicas[2].base = event_base_new();
    choose_ports(&w);
    start(&w, 1, 2);
    start(&w, 2, 2);
    uint64_t deadline_ms = now_ms() + WAIT_MS;
    while (!all_up(&w, 2) && now_ms() < deadline_ms) {
        (void)event_base_loop(w.base, EVLOOP_ONCE);
        (void)event_base_loop(w.replicas[2].base, EVLOOP_NONBLOCK);
    }
    assert_true(all_up(&w, 2));
    RUN_UNTIL(&w, !w.replicas[1].up[2]); // replica 2 hangs: the kernel holds its connections
    struct io_peer_stats stats;
    assert_int_equal(io_peer_describe(w.replicas[1].peers, 2, &stats), CC_OK);
    assert_non_null(strstr(stats.problem, "nothing was heard"));
    world_finish(&w);
}

// True: several times as long as silence may last. False: it was this process that did nothing for too long.
static bool idle_for_long(struct world *w)
{
    uint64_t start_ms = now_ms(), turn_ms = start_ms, pause_ms = 0;
    while (now_ms() - start_ms < 7 * w->idle_ms) {
        (void)event_base_loop(w->base, EVLOOP_ONCE);
        uint64_t pause = now_ms() - turn_ms;
        pause_ms = pause > pause_ms ? pause : pause_ms;
        turn_ms += pause;
    }
    return pause_ms < w->idle_ms / 2;
}

static void idle_connections_stay_up(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 20; n++) {
        struct world w;
        world_init(&w);
        w.idle_ms = 200;
        start_two(&w);
        bool idle = idle_for_long(&w);
        uint64_t n_downs = w.replicas[1].n_downs + w.replicas[2].n_downs;
        world_finish(&w);
        if (n_downs == 0) {
            return;
        }
        assert_false(idle);
    }
    fail_msg("the machine was never quiet for long enough");
}

static void an_impostor_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    choose_ports(&w);
    start(&w, 1, 2);
    assert_int_equal(try_start(&w, 2, 2, &keys[3]), CC_OK);
    struct io_peer_stats stats;
    RUN_UNTIL(&w, io_peer_describe(w.replicas[1].peers, 2, &stats) == CC_OK && stats.problem[0] != '\0');
    assert_false(stats.up);
    assert_non_null(strstr(stats.problem, "does not have the key"));
    assert_false(w.replicas[2].up[1]);
    world_finish(&w);
}

static void an_address_in_use_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    choose_ports(&w);
    start(&w, 1, 2);
    w.replicas[2].port = w.ports[1];
    assert_int_equal(try_start(&w, 2, 2, &keys[2]), CC_EXISTS);
    assert_null(w.replicas[2].peers);
    world_finish(&w);
}

static void names_are_resolved(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.host = "localhost";
    start_two(&w);
    world_finish(&w);
}

// -- A relay in between, which can alter a byte or cut -----------------------------------------------------------------

struct relay {
    pid_t pid;
    uint32_t port;
};

// Forwards connections to `target`, one after the other in a child each; byte `flipped` of the first ones' client side is changed.
static void relay_one(int client, uint32_t target, int64_t flipped)
{
    int server = dial_raw(target);
    (void)fcntl(client, F_SETFL, O_NONBLOCK);
    int64_t n_passed = 0;
    for (;;) {
        fd_set wait;
        FD_ZERO(&wait);
        FD_SET(client, &wait);
        FD_SET(server, &wait);
        (void)select((client > server ? client : server) + 1, &wait, NULL, NULL, NULL);
        char bytes[4096];
        for (int i = 0; i < 2; i++) {
            ssize_t n = recv(i == 0 ? client : server, bytes, sizeof(bytes), 0);
            if (n == 0 || (n < 0 && errno != EAGAIN)) {
                return;
            }
            if (i == 0 && n > 0 && flipped >= n_passed && flipped < n_passed + n) {
                bytes[flipped - n_passed] ^= 0x20;
            }
            n_passed += i == 0 && n > 0 ? n : 0;
            for (ssize_t at = 0; n > 0 && at < n;) {
                ssize_t n_sent = send(i == 0 ? server : client, bytes + at, (size_t)(n - at), MSG_NOSIGNAL);
                if (n_sent < 0 && errno != EAGAIN) {
                    return;
                }
                at += n_sent > 0 ? n_sent : 0;
            }
        }
    }
}

static struct relay relay_start(uint32_t target, int64_t flipped)
{
    struct relay relay = {.port = free_port()};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)relay.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    relay.pid = fork();
    assert_true(relay.pid >= 0);
    if (relay.pid == 0) {
        (void)alarm(60); // whatever becomes of the test
        for (int64_t i = 0;; i++) {
            int client = accept(fd, NULL, NULL);
            relay_one(client, target, i < 3 ? flipped : -1);
            (void)close(client);
        }
    }
    (void)close(fd);
    return relay;
}

static void relay_stop(const struct relay *relay)
{
    (void)kill(relay->pid, SIGKILL);
    (void)waitpid(relay->pid, NULL, 0);
}

// Wherever a byte is altered, the connection falls and nothing altered is ever told; then it is made anew.
static void an_altered_byte_costs_the_connection_and_nothing_else(void **state)
{
    (void)state;
    static const int64_t places[] = {0, 9, 20, 60, 75, 150, 170, 300, 2000, 70000, 200000};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct world w;
        world_init(&w);
        w.connect_ms = 500;
        choose_ports(&w);
        struct relay relay = relay_start(w.replicas[2].port, places[i]);
        w.ports[2] = relay.port; // replica 1 dials the relay
        start(&w, 1, 2);
        w.ports[2] = w.replicas[2].port;
        start(&w, 2, 2);
        uint64_t n = 0;
        uint64_t n_ups = 0;
        uint64_t deadline_ms = now_ms() + WAIT_MS;
        while (w.replicas[2].n_frames[1] < 1000 && now_ms() < deadline_ms) {
            if (w.replicas[1].n_ups != n_ups) {
                n_ups = w.replicas[1].n_ups;
                n = 0;
            }
            if (w.replicas[1].up[2] && n < 1000) {
                send_number(&w.replicas[1], 2, n++, 400);
                io_peer_flush(w.replicas[1].peers);
            }
            (void)event_base_loop(w.base, n < 1000 && w.replicas[1].up[2] ? EVLOOP_NONBLOCK : EVLOOP_ONCE);
        }
        assert_int_equal(w.replicas[2].n_frames[1], 1000);
        struct io_peer_stats stats;
        assert_int_equal(io_peer_describe(w.replicas[1].peers, 2, &stats), CC_OK);
        relay_stop(&relay);
        RUN_UNTIL(&w, !w.replicas[1].up[2] && !w.replicas[2].up[1]);
        world_finish(&w);
    }
}

// Members 1..n_members, with the keys and ports that the world has now.
static void set_members(struct world *w, uint32_t id, uint32_t n_members, const struct keys_pair *key_of_2)
{
    struct io_peer_member members[N_REPLICAS];
    for (uint32_t i = 0; i < n_members; i++) {
        members[i] = (struct io_peer_member){.id = i + 1, .host = w->host, .port = w->ports[i + 1]};
        memcpy(members[i].public_key, i + 1 == 2 ? key_of_2->public_key : keys[i + 1].public_key, KEYS_PUBLIC_BYTES);
    }
    io_peer_set_members(w->replicas[id].peers, members, n_members, w->membership_index);
}

static void a_new_member_is_dialled_and_one_that_goes_stays_reachable_for_a_while(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    start_two(&w);
    start(&w, 3, 3);
    struct io_peer_stats stats;
    assert_int_equal(io_peer_describe(w.replicas[1].peers, 3, &stats), CC_NOT_FOUND);
    set_members(&w, 1, 3, &keys[2]);
    RUN_UNTIL(&w, w.replicas[1].up[3] && w.replicas[3].up[1]);
    assert_false(w.replicas[3].up[2]);
    set_members(&w, 2, 3, &keys[2]);
    RUN_UNTIL(&w, all_up(&w, 3));
    set_members(&w, 1, 2, &keys[2]);
    send_number(&w.replicas[1], 3, 0, 0); // such as: you are removed
    io_peer_flush(w.replicas[1].peers);
    RUN_UNTIL(&w, w.replicas[3].n_frames[1] == 1);
    set_members(&w, 1, 3, &keys[2]); // and back before that while is over
    assert_true(w.replicas[1].up[3]);
    assert_int_equal(w.replicas[1].n_downs, 0);
    world_finish(&w);
}

static void one_that_was_away_while_it_was_removed_is_told(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.membership_index = 41;
    start_two(&w);
    set_members(&w, 1, 2, &keys[2]);
    start(&w, 3, 3);
    RUN_UNTIL(&w, w.replicas[3].removed_at == 41);
    assert_false(w.replicas[1].up[3] || w.replicas[3].up[1]);
    assert_true(w.replicas[1].up[2]);
    world_finish(&w);
}

static void another_key_costs_a_member_its_connection_and_another_address_does_not(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    start_two(&w);
    uint32_t port = w.ports[2];
    w.ports[2] = free_port(); // where it will be found after its next start
    set_members(&w, 1, 2, &keys[2]);
    assert_true(w.replicas[1].up[2]);
    w.ports[2] = port;
    set_members(&w, 1, 2, &keys[3]);
    assert_false(w.replicas[1].up[2]);
    RUN_UNTIL(&w, !w.replicas[2].up[1]);
    set_members(&w, 1, 2, &keys[2]);
    RUN_UNTIL(&w, all_up(&w, 2));
    world_finish(&w);
}

static void hand_overs_are_quick(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    start_two(&w);
    w.replicas[2].replies = true;
    uint64_t start_ms = now_ms();
    for (uint64_t i = 0; i < 2000; i++) {
        send_number(&w.replicas[1], 2, i, 100);
        io_peer_flush(w.replicas[1].peers);
        RUN_UNTIL(&w, w.replicas[1].n_frames[2] == i + 1);
    }
    print_message("          round trip: %lu us\n", (unsigned long)((now_ms() - start_ms) * 1000 / 2000));
    world_finish(&w);
}

int main(void)
{
    if (sodium_init() < 0) {
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    for (uint32_t id = 1; id <= N_REPLICAS; id++) {
        uint8_t seed[KEYS_SEED_BYTES];
        memset(seed, (int)id, sizeof(seed));
        keys_of_seed(seed, &keys[id]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_once_and_in_order_in_both_directions),
        cmocka_unit_test(the_largest_frame_passes),
        cmocka_unit_test(three_replicas_all_reach_each_other),
        cmocka_unit_test(what_is_said_at_once_is_never_lost),
        cmocka_unit_test(a_replica_that_comes_back_is_up_again_quickly),
        cmocka_unit_test(a_flood_of_silent_connections_keeps_nobody_out),
        cmocka_unit_test(garbage_is_cut_off),
        cmocka_unit_test(a_reader_that_stalls_is_dropped_when_the_queue_is_full),
        cmocka_unit_test(a_peer_that_falls_silent_goes_down),
        cmocka_unit_test(idle_connections_stay_up),
        cmocka_unit_test(an_impostor_is_refused_with_a_reason),
        cmocka_unit_test(an_address_in_use_is_refused),
        cmocka_unit_test(names_are_resolved),
        cmocka_unit_test(an_altered_byte_costs_the_connection_and_nothing_else),
        cmocka_unit_test(a_new_member_is_dialled_and_one_that_goes_stays_reachable_for_a_while),
        cmocka_unit_test(one_that_was_away_while_it_was_removed_is_told),
        cmocka_unit_test(another_key_costs_a_member_its_connection_and_another_address_does_not),
        cmocka_unit_test(hand_overs_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
