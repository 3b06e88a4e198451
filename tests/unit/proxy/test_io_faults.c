// Testing hooks over real sockets on loopback: two replicas' connections, faults as operators ask for them, and what arrives.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>
#include <time.h>

#include "proxy/faults/io_faults.h"
#include "proxy/peer/io_peer.h"

enum { N = 2, WAIT_MS = 60000, ARRIVED_MAX = 64 };

struct replica {
    struct io_peer *peers;
    bool up;
    uint64_t n_ups;
    uint32_t n_arrived;
    uint8_t arrived[ARRIVED_MAX]; // first byte of each frame
    uint64_t arrived_ms[ARRIVED_MAX];
};

static struct event_base *base;
static struct event *ticker;
static struct keys_pair keys[N + 1];
static struct replica replicas[N + 1];

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_up(void *context, uint32_t peer, uint32_t incarnation)
{
    (void)peer;
    (void)incarnation;
    struct replica *replica = context;
    replica->up = true;
    replica->n_ups++;
}

static void on_down(void *context, uint32_t peer)
{
    (void)peer;
    ((struct replica *)context)->up = false;
}

static void on_frame(void *context, uint32_t peer, uint32_t incarnation, struct cc_slice frame)
{
    (void)peer;
    (void)incarnation;
    struct replica *replica = context;
    assert_true(replica->n_arrived < ARRIVED_MAX);
    replica->arrived_ms[replica->n_arrived] = now_ms();
    replica->arrived[replica->n_arrived++] = frame.data[0];
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context; // only so that the loop returns to the test now and then
}

static void start(uint32_t id, uint32_t other_port)
{
    struct io_peer_member other = {.id = 3 - id, .host = "127.0.0.1", .port = other_port};
    memcpy(other.public_key, keys[3 - id].public_key, KEYS_PUBLIC_BYTES);
    struct io_peer_options options = {
        .base = base,
        .cluster = "test",
        .id = id,
        .incarnation = 1,
        .keys = &keys[id],
        .listen_host = "127.0.0.1",
        .members = &other,
        .n_members = other_port == 0 ? 0 : 1,
        .handler = {.context = &replicas[id], .on_up = on_up, .on_down = on_down, .on_frame = on_frame},
    };
    struct io_peer_problem problem;
    assert_int_equal(io_peer_create(&options, &replicas[id].peers, &problem), CC_OK);
    if (other_port == 0) {
        return;
    }
    other.id = id; // the first one learns where the second one listens
    other.port = io_peer_port(replicas[id].peers);
    memcpy(other.public_key, keys[id].public_key, KEYS_PUBLIC_BYTES);
    io_peer_set_members(replicas[3 - id].peers, &other, 1, 0);
}

static void run_until(bool (*holds)(void))
{
    uint64_t until = now_ms() + WAIT_MS;
    while (!holds()) {
        assert_true(now_ms() < until);
        event_base_loop(base, EVLOOP_ONCE);
    }
}

static bool both_up(void)
{
    return replicas[1].up && replicas[2].up;
}

static int setup(void **state)
{
    (void)state;
    memset(replicas, 0, sizeof(replicas));
    base = event_base_new();
    ticker = event_new(base, -1, EV_PERSIST, on_tick, NULL);
    struct timeval tick = {.tv_usec = 2000};
    (void)event_add(ticker, &tick);
    for (uint32_t id = 1; id <= N; id++) {
        assert_int_equal(crypto_sign_keypair(keys[id].public_key, keys[id].secret_key), 0);
    }
    start(1, 0);
    start(2, io_peer_port(replicas[1].peers));
    run_until(both_up);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (uint32_t id = 1; id <= N; id++) {
        io_peer_destroy(replicas[id].peers);
    }
    event_free(ticker);
    event_base_free(base);
    return 0;
}

static void ask(uint32_t id, enum io_faults_action action, const char *json, unsigned status)
{
    struct cc_buffer body = {0};
    unsigned found = io_faults_ask(io_peer_faults(replicas[id].peers), action, 0, cc_slice_text(json), &body);
    if (found != status) {
        print_message("%s\n", cc_buffer_text(&body));
    }
    assert_int_equal(found, status);
    assert_int_equal(cc_buffer_text(&body)[0], '{');
    cc_buffer_finish(&body);
}

static void send_letters(const char *letters)
{
    for (const char *letter = letters; *letter != '\0'; letter++) {
        assert_true(io_peer_send(replicas[1].peers, 2, cc_slice_of(letter, 1)));
        io_peer_flush(replicas[1].peers);
    }
}

static bool has_last_letter(void)
{
    return replicas[2].n_arrived > 0 && memchr(replicas[2].arrived, '.', replicas[2].n_arrived) != NULL;
}

static void assert_arrived(const char *letters)
{
    run_until(has_last_letter);
    assert_int_equal(replicas[2].n_arrived, strlen(letters));
    assert_memory_equal(replicas[2].arrived, letters, strlen(letters));
}

// -- Claims ---------------------------------------------------------------------------------------------------------

static void without_rules_everything_arrives_in_order(void **state)
{
    (void)state;
    send_letters("abc.");
    assert_arrived("abc.");
}

static void a_rule_acts_where_messages_are_sent_or_where_they_are_received(void **state)
{
    (void)state;
    ask(1, IO_FAULTS_ADD, "{\"fault\":\"drop\",\"from\":1,\"to\":2,\"nth\":1}", 201);
    ask(2, IO_FAULTS_ADD, "{\"fault\":\"drop\",\"from\":1,\"to\":2,\"nth\":2}", 201);
    send_letters("abcd.");
    assert_arrived("bd."); // a is never sent, c is the second that is received
}

static void rules_of_the_other_direction_do_nothing(void **state)
{
    (void)state;
    ask(1, IO_FAULTS_ADD, "[{\"fault\":\"drop\",\"from\":2,\"to\":1},{\"fault\":\"isolate\",\"replica\":3}]", 201);
    send_letters("ab.");
    assert_arrived("ab.");
}

static void delayed_messages_come_late_and_in_order(void **state)
{
    (void)state;
    const uint32_t at[] = {1, 2};
    for (size_t i = 0; i < 2; i++) {
        replicas[2].n_arrived = 0;
        uint64_t began = now_ms();
        ask(at[i], IO_FAULTS_ADD, "{\"fault\":\"delay\",\"to\":2,\"ms\":60,\"every\":2}", 201);
        send_letters("abc.");
        assert_arrived("abc.");
        assert_true(replicas[2].arrived_ms[1] - began >= 60);
        ask(at[i], IO_FAULTS_CLEAR, "", 200);
    }
    assert_int_equal(replicas[2].n_ups, 1); // nothing was lost
}

static void reordered_messages_are_overtaken(void **state)
{
    (void)state;
    ask(1, IO_FAULTS_ADD, "{\"fault\":\"reorder\",\"to\":2,\"ms\":100,\"nth\":4}", 201);
    send_letters("abc.de");
    assert_arrived("abcde.");
}

static bool is_made_anew(void)
{
    return both_up() && replicas[1].n_ups == 2 && replicas[2].n_ups == 2;
}

static void a_connection_that_lost_messages_is_made_anew_when_the_rules_go(void **state)
{
    (void)state;
    ask(1, IO_FAULTS_ADD, "{\"fault\":\"isolate\",\"replica\":1}", 201);
    send_letters("abc");
    ask(1, IO_FAULTS_CLEAR, "", 200);
    run_until(is_made_anew);
    send_letters("d.");
    assert_arrived("d.");
}

static void what_is_held_back_goes_with_its_connection(void **state)
{
    (void)state;
    ask(1, IO_FAULTS_ADD, "[{\"fault\":\"delay\",\"to\":2,\"ms\":100},{\"fault\":\"drop\",\"to\":2,\"nth\":1}]", 201);
    send_letters("abc");
    ask(1, IO_FAULTS_CLEAR, "", 200); // a was lost, b and c wait
    run_until(is_made_anew);
    uint64_t until = now_ms() + 150;
    while (now_ms() < until) {
        event_base_loop(base, EVLOOP_ONCE);
    }
    assert_int_equal(replicas[2].n_arrived, 0);
}

static void questions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    ask(1, IO_FAULTS_ADD, "{\"fault\":\"flood\"}", 400);
    ask(1, IO_FAULTS_ADD, "", 400);
    ask(1, IO_FAULTS_REMOVE, "", 404);
    ask(1, IO_FAULTS_LIST, "", 200);
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(without_rules_everything_arrives_in_order),
        CLAIM(a_rule_acts_where_messages_are_sent_or_where_they_are_received),
        CLAIM(rules_of_the_other_direction_do_nothing),
        CLAIM(delayed_messages_come_late_and_in_order),
        CLAIM(reordered_messages_are_overtaken),
        CLAIM(a_connection_that_lost_messages_is_made_anew_when_the_rules_go),
        CLAIM(what_is_held_back_goes_with_its_connection),
        CLAIM(questions_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
