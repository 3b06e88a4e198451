// The HTTP server over real loopback sockets: order, limits, deadlines, clients that leave, shutdown.
#include "rest/http_server.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

struct site { // the server under test and what its handler has seen
    struct http_server *server;
    _Atomic uint32_t n_handled, n_smuggled, n_began, n_ended;
    pthread_mutex_t mutex;
    pthread_cond_t is_held;
    uint64_t held_token;
    struct http_worker *held_worker;
};

static void reply_text(struct http_worker *worker, uint64_t token, unsigned status, struct cc_slice body)
{
    struct http_response response = {.status = status, .body = body};
    http_worker_reply(worker, token, &response);
}

struct later {
    uint64_t token;
    struct cc_buffer body;
};

static void reply_later(void *context, struct http_worker *worker)
{
    struct later *later = context;
    struct http_response response = {.status = 200, .moved_body = &later->body};
    http_worker_reply(worker, later->token, &response);
    assert_int_equal(later->body.n, 0);
    free(later);
}

static void handle_later(struct http_worker *worker, uint64_t token, struct cc_slice path)
{
    struct later *later = calloc(1, sizeof(*later));
    later->token = token;
    cc_buffer_append_slice(&later->body, path);
    assert_true(http_worker_post(worker, reply_later, later));
}

static void handle_big(struct http_worker *worker, uint64_t token, struct cc_slice query)
{
    size_t n = strtoull((const char *)query.data + 2, NULL, 10);
    struct cc_buffer body = {0};
    cc_buffer_reserve(&body, n);
    memset(body.data, 'x', n);
    body.n = n;
    struct http_response response = {.status = 200};
    if (query.data[0] == 'm') {
        response.moved_body = &body;
    } else {
        response.body = cc_buffer_slice(&body);
    }
    http_worker_reply(worker, token, &response);
    cc_buffer_finish(&body);
}

static void handle_bad_header(struct http_worker *worker, uint64_t token)
{
    struct rest_header header = {cc_slice_text("Location"), cc_slice_text("/a\r\nSet-Cookie: b")};
    struct http_response response = {
        .status = 201, .headers = &header, .n_headers = 1, .body = cc_slice_text("secret")};
    http_worker_reply(worker, token, &response);
}

static void hold(struct site *site, struct http_worker *worker, uint64_t token)
{
    pthread_mutex_lock(&site->mutex);
    site->held_token = token;
    site->held_worker = worker;
    pthread_cond_signal(&site->is_held);
    pthread_mutex_unlock(&site->mutex);
}

static void handle(void *context, struct http_worker *worker, uint64_t token, const struct http_request *request)
{
    struct site *site = context;
    site->n_handled++;
    assert_true(http_worker_is_waiting(worker, token));
    assert_true(request->remote.n > strlen("127.0.0.1:"));
    if (cc_slice_equal_text(request->path, "/echo")) {
        reply_text(worker, token, 200, request->body);
    } else if (cc_slice_equal_text(request->path, "/size")) {
        char text[32];
        snprintf(text, sizeof(text), "%zu", request->body.n);
        reply_text(worker, token, 200, cc_slice_text(text));
    } else if (cc_slice_equal_text(request->path, "/none")) {
        reply_text(worker, token, 204, cc_slice_text(""));
    } else if (cc_slice_equal_text(request->path, "/big")) {
        handle_big(worker, token, request->query);
    } else if (cc_slice_equal_text(request->path, "/bad-header")) {
        handle_bad_header(worker, token);
    } else if (cc_slice_equal_text(request->path, "/hold")) {
        hold(site, worker, token);
    } else if (request->path.n >= 6 && memcmp(request->path.data, "/later", 6) == 0) {
        handle_later(worker, token, request->path);
    } else {
        site->n_smuggled += cc_slice_equal_text(request->path, "/smuggled") ? 1 : 0;
        reply_text(worker, token, 200, request->path);
    }
}

static void worker_began(void *context, struct http_worker *worker)
{
    struct site *site = context;
    http_worker_set_state(worker, &site->n_began);
    site->n_began++;
}

static void worker_ends(void *context, struct http_worker *worker)
{
    struct site *site = context;
    assert_ptr_equal(http_worker_state(worker), &site->n_began);
    site->n_ended++;
}

static struct http_server_options options_for(struct site *site)
{
    struct http_server_options options = http_server_options_default();
    options.n_workers = 2;
    options.context = site;
    options.handle = handle;
    options.worker_began = worker_began;
    options.worker_ends = worker_ends;
    return options;
}

static struct site *site_open(const struct http_server_options *wanted)
{
    struct site *site = calloc(1, sizeof(*site));
    pthread_mutex_init(&site->mutex, NULL);
    pthread_cond_init(&site->is_held, NULL);
    struct http_server_options options = wanted != NULL ? *wanted : options_for(site);
    options.context = site;
    assert_int_equal(http_server_create(&options, &site->server), CC_OK);
    return site;
}

static void site_close(struct site *site)
{
    http_server_destroy(site->server, 0);
    assert_int_equal(site->n_began, site->n_ended);
    pthread_mutex_destroy(&site->mutex);
    pthread_cond_destroy(&site->is_held);
    free(site);
}

static uint64_t wait_until_held(struct site *site, struct http_worker **worker_out)
{
    pthread_mutex_lock(&site->mutex);
    while (site->held_token == 0) {
        pthread_cond_wait(&site->is_held, &site->mutex);
    }
    uint64_t token = site->held_token;
    site->held_token = 0;
    *worker_out = site->held_worker;
    pthread_mutex_unlock(&site->mutex);
    return token;
}

static void release(struct site *site)
{
    struct http_worker *worker;
    struct later *later = calloc(1, sizeof(*later));
    later->token = wait_until_held(site, &worker);
    cc_buffer_append_text(&later->body, "released");
    assert_true(http_worker_post(worker, reply_later, later));
}

static int dial(const struct site *site)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(http_server_port(site->server))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    struct timeval limit = {.tv_sec = 60};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

// False: the server has closed.
static bool say_bytes(int fd, const void *data, size_t n)
{
    const char *bytes = data;
    while (n > 0) {
        ssize_t n_sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (n_sent < 0) {
            return false;
        }
        bytes += n_sent;
        n -= (size_t)n_sent;
    }
    return true;
}

static void say(int fd, const char *text)
{
    assert_true(say_bytes(fd, text, strlen(text)));
}

// Everything until the server closes. A reset counts as the end.
static char *hear_all(int fd, struct cc_buffer *heard)
{
    char bytes[65536];
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
        cc_buffer_append(heard, bytes, (size_t)n);
    }
    assert_true(n == 0 || errno == ECONNRESET); // not a time-out
    cc_buffer_text(heard);
    return (char *)heard->data;
}

// Bytes of the first answer, by its Content-Length (or without a body, when there can be none); 0: its header is not complete.
static size_t answer_bytes(const char *text, bool has_body)
{
    const char *end = strstr(text, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }
    const char *length = strstr(text, "Content-Length: ");
    bool counts = has_body && length != NULL && length < end;
    return (size_t)(end + 4 - text) + (counts ? strtoull(length + 16, NULL, 10) : 0);
}

// One answer; leaves the rest in `heard`.
static size_t hear_one(int fd, struct cc_buffer *heard, bool has_body)
{
    char bytes[65536];
    size_t wanted = answer_bytes(cc_buffer_text(heard), has_body);
    while (wanted == 0 || heard->n < wanted) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n <= 0) {
            fail_msg("no complete answer, but: %s", cc_buffer_text(heard));
        }
        cc_buffer_append(heard, bytes, (size_t)n);
        wanted = wanted > 0 ? wanted : answer_bytes(cc_buffer_text(heard), has_body); // looked for once: answers may be large
    }
    return wanted;
}

static void forget(struct cc_buffer *heard, size_t n)
{
    memmove(heard->data, heard->data + n, heard->n - n);
    heard->n -= n;
}

static void expect_answer(int fd, unsigned status, const char *body)
{
    struct cc_buffer heard = {0};
    size_t n = hear_one(fd, &heard, true);
    assert_int_equal(n, heard.n);
    char line[32];
    snprintf(line, sizeof(line), "HTTP/1.1 %u ", status);
    const char *text = cc_buffer_text(&heard);
    assert_memory_equal(text, line, strlen(line));
    assert_string_equal(strstr(text, "\r\n\r\n") + 4, body);
    cc_buffer_finish(&heard);
}

static unsigned count_text(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

// --- the tests

static void hostile_requests_get_one_answer_and_smuggle_nothing(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 60\r\n\r\nhello",
        "POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "POST /size HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
        "POST /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "POST /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
        "GET /size HTTP/1.1\nHost: a\n\n",
        "GET /size HTTP/1.1\r\n\r\n",
        "GET /size HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "get /size HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /size HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET /size\r\n",
        "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /size HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET /size HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
    };
    const size_t n_hostile = sizeof(hostile) / sizeof(hostile[0]);
    struct site *site = site_open(NULL);
    for (size_t i = 0; i < n_hostile; i++) {
        int fd = dial(site);
        say(fd, hostile[i]);
        say_bytes(fd, GET("/smuggled"), strlen(GET("/smuggled")));
        struct cc_buffer heard = {0};
        char *text = hear_all(fd, &heard);
        assert_int_equal(count_text(text, "\r\nServer: "), heard.n == 0 ? 0 : 1);
        assert_true(heard.n == 0 || strstr(text, "HTTP/1.1 4") != NULL || strstr(text, "HTTP/1.1 505") != NULL);
        cc_buffer_finish(&heard);
        close(fd);
    }
    assert_int_equal(site->n_handled, 0);
    assert_int_equal(site->n_smuggled, 0);
    struct http_counters counters = http_server_counters(site->server);
    assert_int_equal(counters.answers_by_class[4] + counters.answers_by_class[5], n_hostile);
    assert_int_equal(counters.refused[HTTP_BAD_HOST], 2);
    site_close(site);
}

static void a_refusal_waits_for_the_answers_before_it(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    int fd = dial(site);
    say(fd, GET("/hold") "nonsense\r\n\r\n");
    release(site);
    struct cc_buffer heard = {0};
    char *text = hear_all(fd, &heard);
    const char *refusal = strstr(text, "HTTP/1.1 400 ");
    assert_non_null(refusal);
    assert_true(strstr(text, "released") < refusal);
    cc_buffer_finish(&heard);
    close(fd);
    site_close(site);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    enum { N = 2000 };
    struct site *site = site_open(NULL);
    int fd = dial(site);
    struct cc_buffer requests = {0};
    for (unsigned i = 0; i < N; i++) { // some are answered at once, some later; more bytes than are kept
        cc_buffer_printf(&requests, "GET /%s%u HTTP/1.1\r\nHost: a\r\nX: %060u\r\n\r\n", i % 3 == 0 ? "later" : "now",
                         i, i);
    }
    pid_t child = fork(); // sends while we read
    assert_true(child >= 0);
    if (child == 0) {
        _exit(say_bytes(fd, requests.data, requests.n) ? 0 : 1);
    }
    struct cc_buffer heard = {0};
    for (unsigned i = 0; i < N; i++) {
        size_t n = hear_one(fd, &heard, true);
        char path[32];
        int n_path = snprintf(path, sizeof(path), "/%s%u", i % 3 == 0 ? "later" : "now", i);
        assert_memory_equal(heard.data + n - n_path, path, (size_t)n_path);
        forget(&heard, n);
    }
    assert_int_equal(heard.n, 0);
    int child_status;
    assert_int_equal(waitpid(child, &child_status, 0), child);
    assert_int_equal(child_status, 0);
    cc_buffer_finish(&heard);
    cc_buffer_finish(&requests);
    close(fd);
    site_close(site);
}

static void a_connection_is_kept_until_the_client_says_close(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    int fd = dial(site);
    for (unsigned i = 0; i < 20; i++) {
        say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        expect_answer(fd, 200, "hi");
    }
    assert_int_equal(http_server_counters(site->server).connections_accepted, 1);
    say(fd, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/y"));
    struct cc_buffer heard = {0};
    char *text = hear_all(fd, &heard);
    assert_int_equal(count_text(text, "HTTP/1.1 200"), 1);
    assert_non_null(strstr(text, "Connection: close\r\n"));
    cc_buffer_finish(&heard);
    close(fd);
    site_close(site);
}

static void answers_without_a_body_do_not_disturb_the_next_one(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    int fd = dial(site);
    say(fd, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n" GET("/last"));
    struct cc_buffer heard = {0};
    forget(&heard, hear_one(fd, &heard, false));
    forget(&heard, hear_one(fd, &heard, false));
    size_t n = hear_one(fd, &heard, true);
    assert_int_equal(n, heard.n);
    assert_string_equal(strstr(cc_buffer_text(&heard), "\r\n\r\n") + 4, "/last");
    cc_buffer_finish(&heard);
    close(fd);
    site_close(site);
}

static void a_handler_cannot_split_the_answer(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    int fd = dial(site);
    say(fd, GET("/bad-header"));
    struct cc_buffer heard = {0};
    hear_one(fd, &heard, true);
    assert_non_null(strstr(cc_buffer_text(&heard), "HTTP/1.1 500 "));
    assert_null(strstr(cc_buffer_text(&heard), "Set-Cookie"));
    assert_null(strstr(cc_buffer_text(&heard), "secret"));
    cc_buffer_finish(&heard);
    close(fd);
    site_close(site);
}

static void bodies_are_taken_up_to_the_limit(void **state)
{
    (void)state;
    const size_t limit = (size_t)3 << 20;
    struct http_server_options options = options_for(NULL);
    options.limits.body_bytes_max = limit;
    struct site *site = site_open(&options);
    char *body = calloc(1, limit + 1);
    for (size_t n = limit - 1; n <= limit + 1; n++) {
        int fd = dial(site);
        char head[128], expected[32];
        snprintf(head, sizeof(head), "POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", n);
        say(fd, head);
        if (n <= limit) {
            assert_true(say_bytes(fd, body, n));
            snprintf(expected, sizeof(expected), "%zu", n);
            expect_answer(fd, 200, expected);
        } else {
            struct cc_buffer heard = {0};
            assert_non_null(strstr(hear_all(fd, &heard), "HTTP/1.1 413 "));
            cc_buffer_finish(&heard);
        }
        close(fd);
    }
    free(body);
    site_close(site);
}

static void too_many_large_bodies_at_once_are_refused_until_memory_is_back(void **state)
{
    (void)state;
    struct http_server_options options = options_for(NULL);
    options.body_memory_bytes_max = (size_t)2 << 20;
    struct site *site = site_open(&options);
    const char *head = "POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n";
    char *body = calloc(1, 3000000);
    int fd = dial(site);
    say(fd, head);
    say_bytes(fd, body, 3000000);
    struct cc_buffer heard = {0};
    char *text = hear_all(fd, &heard);
    assert_true(heard.n == 0 || strstr(text, "HTTP/1.1 503 ") != NULL);
    assert_int_equal(http_server_counters(site->server).refused[HTTP_NO_MEMORY_FOR_BODY], 1);
    cc_buffer_finish(&heard);
    close(fd);
    while (http_server_counters(site->server).connections_open > 0) {
        poll(NULL, 0, 1);
    }
    fd = dial(site);
    say(fd, "POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    assert_true(say_bytes(fd, body, 1000000));
    expect_answer(fd, 200, "1000000");
    close(fd);
    free(body);
    site_close(site);
}

static void large_answers_arrive_whole(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    static const char *const requests[] = {GET("/big?m=30000000"), GET("/big?c=30000000")};
    for (size_t i = 0; i < 2; i++) {
        int fd = dial(site);
        say(fd, requests[i]);
        say(fd, GET("/next"));
        struct cc_buffer heard = {0};
        size_t n = hear_one(fd, &heard, true);
        assert_true(n > 30000000);
        assert_int_equal(heard.data[n - 1], 'x');
        forget(&heard, n);
        n = hear_one(fd, &heard, true);
        assert_memory_equal(heard.data + n - 5, "/next", 5);
        cc_buffer_finish(&heard);
        close(fd);
    }
    site_close(site);
}

static void a_client_that_expects_to_go_on_is_told_so(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    int fd = dial(site);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    struct cc_buffer heard = {0};
    size_t n = hear_one(fd, &heard, false);
    assert_int_equal(n, heard.n);
    assert_string_equal(cc_buffer_text(&heard), "HTTP/1.1 100 Continue\r\n\r\n");
    cc_buffer_finish(&heard);
    say(fd, "body");
    expect_answer(fd, 200, "body");
    close(fd);
    site_close(site);
}

static void a_half_closed_client_still_gets_its_answers(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    int fd = dial(site);
    say(fd, GET("/hold") GET("/last"));
    shutdown(fd, SHUT_WR);
    release(site);
    struct cc_buffer heard = {0};
    char *text = hear_all(fd, &heard);
    assert_int_equal(count_text(text, "HTTP/1.1 200 "), 2);
    assert_non_null(strstr(text, "/last"));
    cc_buffer_finish(&heard);
    close(fd);
    site_close(site);
}

static void the_answer_to_a_client_that_has_left_is_dropped(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    for (unsigned i = 0; i < 20; i++) {
        int fd = dial(site);
        say(fd, GET("/hold"));
        struct http_worker *worker;
        uint64_t token = wait_until_held(site, &worker);
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(fd);
        while (http_server_counters(site->server).connections_open > 0) {
            poll(NULL, 0, 1);
        }
        struct later *later = calloc(1, sizeof(*later));
        later->token = token;
        cc_buffer_append_text(&later->body, "too late");
        assert_true(http_worker_post(worker, reply_later, later));
    }
    while (http_server_counters(site->server).answers_dropped < 20) {
        poll(NULL, 0, 1);
    }
    site_close(site);
}

static void a_client_that_closes_politely_before_its_answer_harms_nobody(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    for (unsigned i = 0; i < 20; i++) {
        int fd = dial(site);
        say(fd, GET("/hold") GET("/later"));
        struct http_worker *worker;
        struct later *later = calloc(1, sizeof(*later));
        later->token = wait_until_held(site, &worker);
        close(fd);
        assert_true(http_worker_post(worker, reply_later, later));
    }
    while (http_server_counters(site->server).connections_open > 0) {
        poll(NULL, 0, 1);
    }
    site_close(site);
}

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

// Sends `first`, then one 'a' every 20 ms, until the server closes. Returns what it said; *ms_out: after how long.
static char *drip(struct site *site, const char *first, struct cc_buffer *heard, uint64_t *ms_out)
{
    uint64_t begin = clock_ms();
    int fd = dial(site);
    say(fd, first);
    for (;;) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        if (poll(&poller, 1, 20) > 0) {
            break;
        }
        say_bytes(fd, "a", 1);
        assert_true(clock_ms() - begin < 20000);
    }
    char *text = hear_all(fd, heard);
    *ms_out = clock_ms() - begin;
    close(fd);
    return text;
}

static struct http_server_options impatient(void)
{
    struct http_server_options options = options_for(NULL);
    options.deadlines = (struct http_deadlines){
        .head_ms = 300,
        .body_ms = 600,
        .idle_ms = 300,
        .write_ms = 300,
        .grace_ms = 200,
        .rate_bytes_per_second = 1024,
    };
    return options;
}

static void drips_do_not_prolong_a_deadline(void **state)
{
    (void)state;
    static const char *const beginnings[] = {
        "GET /",
        "GET / HTTP/1.1\r\nHost: a\r\nX: ",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
    };
    struct http_server_options options = impatient();
    struct site *site = site_open(&options);
    for (size_t i = 0; i < 3; i++) {
        struct cc_buffer heard = {0};
        uint64_t ms;
        char *text = drip(site, beginnings[i], &heard, &ms);
        assert_non_null(strstr(text, "HTTP/1.1 408 "));
        assert_true(ms >= 200);
        cc_buffer_finish(&heard);
    }
    assert_int_equal(http_server_counters(site->server).refused[HTTP_TOO_SLOW], 3);
    assert_int_equal(site->n_handled, 0);
    site_close(site);
}

static void silent_clients_are_let_go(void **state)
{
    (void)state;
    struct http_server_options options = impatient();
    struct site *site = site_open(&options);
    struct cc_buffer heard = {0};
    int fd = dial(site); // never says anything
    hear_all(fd, &heard);
    assert_int_equal(heard.n, 0);
    close(fd);
    fd = dial(site); // says nothing more after an answer
    say(fd, GET("/x"));
    assert_int_equal(count_text(hear_all(fd, &heard), "HTTP/1.1 "), 1);
    close(fd);
    cc_buffer_finish(&heard);
    site_close(site);
}

static void a_client_that_does_not_read_its_answer_is_cut_off(void **state)
{
    (void)state;
    struct http_server_options options = impatient();
    struct site *site = site_open(&options);
    int fd = dial(site);
    say(fd, GET("/big?m=50000000"));
    while (http_server_counters(site->server).connections_timed_out == 0) {
        poll(NULL, 0, 1);
    }
    close(fd);
    site_close(site);
}

static void slow_handlers_are_not_the_clients_fault(void **state)
{
    (void)state;
    struct http_server_options options = impatient();
    struct site *site = site_open(&options);
    int fd = dial(site);
    say(fd, GET("/hold"));
    int silent = dial(site); // its end shows that all deadlines have passed
    struct cc_buffer heard = {0};
    hear_all(silent, &heard);
    cc_buffer_finish(&heard);
    release(site);
    expect_answer(fd, 200, "released");
    close(silent);
    close(fd);
    site_close(site);
}

static void connections_above_the_cap_are_told_to_come_back(void **state)
{
    (void)state;
    for (unsigned per_address = 0; per_address < 2; per_address++) {
        struct http_server_options options = options_for(NULL);
        options.limit_loopback = true;
        options.connections_max = per_address == 1 ? 1024 : 10;
        options.connections_per_address_max = per_address == 1 ? 10 : 0;
        struct site *site = site_open(&options);
        int fds[10];
        for (size_t i = 0; i < 10; i++) {
            fds[i] = dial(site);
            say(fds[i], GET("/x"));
            expect_answer(fds[i], 200, "/x");
        }
        int fd = dial(site);
        struct cc_buffer heard = {0};
        char *text = hear_all(fd, &heard);
        assert_non_null(strstr(text, "HTTP/1.1 503 "));
        assert_non_null(strstr(text, "Retry-After: 1\r\n"));
        cc_buffer_finish(&heard);
        close(fd);
        for (size_t i = 0; i < 10; i++) {
            close(fds[i]);
        }
        while (http_server_counters(site->server).connections_open > 0) {
            poll(NULL, 0, 1);
        }
        fd = dial(site);
        say(fd, GET("/again"));
        expect_answer(fd, 200, "/again");
        close(fd);
        site_close(site);
    }
}

static void many_connections_at_once_are_served(void **state)
{
    (void)state;
    enum { N = 256, ROUNDS = 10 };
    struct site *site = site_open(NULL);
    int fds[N];
    for (size_t i = 0; i < N; i++) {
        fds[i] = dial(site);
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < N; i++) {
            say(fds[i], i % 2 == 0 ? GET("/later") : GET("/now"));
        }
        for (size_t i = 0; i < N; i++) {
            expect_answer(fds[i], 200, i % 2 == 0 ? "/later" : "/now");
        }
    }
    struct http_counters counters = http_server_counters(site->server);
    assert_int_equal(counters.requests, N * ROUNDS);
    assert_int_equal(counters.connections_open, N);
    for (size_t i = 0; i < N; i++) {
        close(fds[i]);
    }
    site_close(site);
}

static void *stop_server(void *context)
{
    http_server_destroy(context, 10000);
    return NULL;
}

static void a_stopping_server_answers_what_it_has_taken(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    int idle = dial(site);
    say(idle, GET("/x"));
    expect_answer(idle, 200, "/x");
    int busy = dial(site);
    say(busy, GET("/hold"));
    struct http_worker *worker;
    struct later *later = calloc(1, sizeof(*later));
    later->token = wait_until_held(site, &worker);
    cc_buffer_append_text(&later->body, "released");
    pthread_t stopper;
    assert_int_equal(pthread_create(&stopper, NULL, stop_server, site->server), 0);
    struct cc_buffer heard = {0};
    hear_all(idle, &heard); // closed at once
    assert_int_equal(heard.n, 0);
    assert_true(http_worker_post(worker, reply_later, later));
    char *text = hear_all(busy, &heard);
    assert_non_null(strstr(text, "Connection: close\r\n"));
    assert_non_null(strstr(text, "released"));
    close(idle);
    close(busy);
    pthread_join(stopper, NULL);
    cc_buffer_finish(&heard);
    site->server = NULL;
    site_close(site);
}

static void an_address_in_use_is_reported(void **state)
{
    (void)state;
    struct site *site = site_open(NULL);
    struct http_server_options options = options_for(site);
    options.port = http_server_port(site->server);
    struct http_server *other = NULL;
    assert_int_equal(http_server_create(&options, &other), CC_EXISTS);
    assert_null(other);
    options.host = "not an address";
    assert_int_equal(http_server_create(&options, &other), CC_INVALID);
    options.host = "192.0.2.1"; // of nobody
    assert_int_equal(http_server_create(&options, &other), CC_INVALID);
    site_close(site);
}

static void wait_for_gate(void *context, struct http_worker *worker)
{
    (void)worker;
    struct site *site = context;
    pthread_mutex_lock(&site->mutex);
    pthread_mutex_unlock(&site->mutex);
}

static void count_run(void *context, struct http_worker *worker)
{
    (void)worker;
    _Atomic uint32_t *n_run = context;
    (*n_run)++;
}

static void a_full_queue_refuses_and_what_it_took_is_run(void **state)
{
    (void)state;
    struct http_server_options options = options_for(NULL);
    options.posts_max = 8;
    struct site *site = site_open(&options);
    struct http_worker *worker = http_server_worker(site->server, 1);
    _Atomic uint32_t n_run = 0;
    uint32_t n_accepted = 0;
    pthread_mutex_lock(&site->mutex);
    assert_true(http_worker_post(worker, wait_for_gate, site)); // the worker stands still
    while (http_worker_post(worker, count_run, &n_run)) {
        n_accepted++;
        assert_true(n_accepted <= 16);
    }
    assert_true(n_accepted >= 7);
    pthread_mutex_unlock(&site->mutex);
    site_close(site);
    assert_int_equal(n_run, n_accepted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_requests_get_one_answer_and_smuggle_nothing),
        cmocka_unit_test(a_refusal_waits_for_the_answers_before_it),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_connection_is_kept_until_the_client_says_close),
        cmocka_unit_test(answers_without_a_body_do_not_disturb_the_next_one),
        cmocka_unit_test(a_handler_cannot_split_the_answer),
        cmocka_unit_test(bodies_are_taken_up_to_the_limit),
        cmocka_unit_test(too_many_large_bodies_at_once_are_refused_until_memory_is_back),
        cmocka_unit_test(large_answers_arrive_whole),
        cmocka_unit_test(a_client_that_expects_to_go_on_is_told_so),
        cmocka_unit_test(a_half_closed_client_still_gets_its_answers),
        cmocka_unit_test(the_answer_to_a_client_that_has_left_is_dropped),
        cmocka_unit_test(a_client_that_closes_politely_before_its_answer_harms_nobody),
        cmocka_unit_test(drips_do_not_prolong_a_deadline),
        cmocka_unit_test(silent_clients_are_let_go),
        cmocka_unit_test(a_client_that_does_not_read_its_answer_is_cut_off),
        cmocka_unit_test(slow_handlers_are_not_the_clients_fault),
        cmocka_unit_test(connections_above_the_cap_are_told_to_come_back),
        cmocka_unit_test(many_connections_at_once_are_served),
        cmocka_unit_test(a_stopping_server_answers_what_it_has_taken),
        cmocka_unit_test(an_address_in_use_is_reported),
        cmocka_unit_test(a_full_queue_refuses_and_what_it_took_is_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
