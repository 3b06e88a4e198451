// libcaucus against scripted replicas on loopback: when it goes on, when it repeats, when it gives up and what it says then.
#include "caucus.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STEPS_MAX = 8, REQUESTS_MAX = 64, REPLICAS_MAX = 3 };

#define HANG_UP "hang up" // reads the request, then closes without an answer
#define CUT_OFF "cut off" // sends half an answer, then closes
#define SILENCE "silence" // reads the request and never answers

struct replica { // plays its script, one step per request; the last step is repeated
    int listen_fd;
    pthread_t thread;
    char url[64];
    const char *script[STEPS_MAX];
    size_t n_steps;
    pthread_mutex_t mutex;
    bool stop;
    int connection_fd;
    char *requests[REQUESTS_MAX];
    size_t n_requests;
};

struct cluster {
    struct replica replicas[REPLICAS_MAX];
    size_t n;
    struct caucus *client;
};

// One request with its body, NUL-terminated, or NULL when the client is gone.
static char *read_request(int fd)
{
    char *text = calloc(1, 65536);
    size_t n = 0;
    for (;;) {
        char *end = strstr(text, "\r\n\r\n");
        if (end != NULL) {
            char *length = strcasestr(text, "\r\nContent-Length:");
            size_t n_body = length != NULL && length < end ? strtoull(length + 17, NULL, 10) : 0;
            if (n >= (size_t)(end + 4 - text) + n_body) {
                return text;
            }
        }
        ssize_t n_now = recv(fd, text + n, 65535 - n, 0);
        if (n_now <= 0) {
            free(text);
            return NULL;
        }
        n += (size_t)n_now;
    }
}

static const char *next_step(struct replica *replica, char *request)
{
    pthread_mutex_lock(&replica->mutex);
    assert_true(replica->n_requests < REQUESTS_MAX);
    size_t step = replica->n_requests < replica->n_steps ? replica->n_requests : replica->n_steps - 1;
    replica->requests[replica->n_requests++] = request;
    pthread_mutex_unlock(&replica->mutex);
    return replica->script[step];
}

// The scripts leave the length of the body to us.
static void send_answer(int fd, const char *step)
{
    const char *end = strstr(step, "\r\n\r\n");
    char answer[1024];
    int n = snprintf(answer, sizeof(answer), "%.*s\r\nContent-Length: %zu%s", (int)(end - step), step, strlen(end + 4),
                     end);
    send(fd, answer, (size_t)n, MSG_NOSIGNAL);
}

static void serve(struct replica *replica, int fd)
{
    for (char *request = read_request(fd); request != NULL; request = read_request(fd)) {
        const char *step = next_step(replica, request);
        if (strcmp(step, HANG_UP) == 0) {
            return;
        }
        if (strcmp(step, SILENCE) == 0) {
            char byte;
            while (recv(fd, &byte, 1, 0) > 0) { // until the client gives up
            }
            return;
        }
        if (strcmp(step, CUT_OFF) == 0) {
            static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
            send(fd, half, sizeof(half) - 1, MSG_NOSIGNAL);
            return;
        }
        send_answer(fd, step);
    }
}

static void *replica_main(void *context)
{
    struct replica *replica = context;
    for (;;) {
        int fd = accept(replica->listen_fd, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        pthread_mutex_lock(&replica->mutex);
        bool stop = replica->stop;
        replica->connection_fd = fd;
        pthread_mutex_unlock(&replica->mutex);
        if (!stop) {
            serve(replica, fd);
        }
        pthread_mutex_lock(&replica->mutex);
        replica->connection_fd = -1;
        close(fd);
        pthread_mutex_unlock(&replica->mutex);
        if (stop) {
            return NULL;
        }
    }
}

static int listen_somewhere(char url[64])
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    snprintf(url, 64, "http://127.0.0.1:%u", ntohs(address.sin_port));
    return fd;
}

// Each script ends with NULL; a script without steps is a replica that is down.
static void cluster_open(struct cluster *cluster, size_t n, const char *const scripts[][STEPS_MAX], uint32_t timeout_ms)
{
    *cluster = (struct cluster){.n = n};
    const char *urls[REPLICAS_MAX];
    for (size_t i = 0; i < n; i++) {
        struct replica *replica = &cluster->replicas[i];
        pthread_mutex_init(&replica->mutex, NULL);
        replica->connection_fd = -1;
        replica->listen_fd = listen_somewhere(replica->url);
        urls[i] = replica->url;
        while (replica->n_steps < STEPS_MAX && scripts[i][replica->n_steps] != NULL) {
            replica->script[replica->n_steps] = scripts[i][replica->n_steps];
            replica->n_steps++;
        }
        if (replica->n_steps == 0) {
            close(replica->listen_fd);
            replica->listen_fd = -1;
            continue;
        }
        assert_int_equal(pthread_create(&replica->thread, NULL, replica_main, replica), 0);
    }
    struct caucus_options options = {.urls = urls, .n_urls = n, .timeout_ms = timeout_ms, .attempt_ms = 300};
    char message[256];
    cluster->client = caucus_open(&options, message);
    assert_non_null(cluster->client);
}

static void replica_stop(struct replica *replica)
{
    pthread_mutex_lock(&replica->mutex);
    replica->stop = true;
    if (replica->connection_fd >= 0) {
        shutdown(replica->connection_fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&replica->mutex);
    shutdown(replica->listen_fd, SHUT_RDWR);
    pthread_join(replica->thread, NULL);
    close(replica->listen_fd);
    for (size_t i = 0; i < replica->n_requests; i++) {
        free(replica->requests[i]);
    }
}

static void cluster_close(struct cluster *cluster)
{
    caucus_close(cluster->client);
    for (size_t i = 0; i < cluster->n; i++) {
        if (cluster->replicas[i].n_steps > 0) {
            replica_stop(&cluster->replicas[i]);
        }
        pthread_mutex_destroy(&cluster->replicas[i].mutex);
    }
}

static size_t n_requests_at(struct cluster *cluster, size_t replica)
{
    pthread_mutex_lock(&cluster->replicas[replica].mutex);
    size_t n = cluster->replicas[replica].n_requests;
    pthread_mutex_unlock(&cluster->replicas[replica].mutex);
    return n;
}

static const char *request_of(struct cluster *cluster, size_t replica, size_t i)
{
    assert_true(i < n_requests_at(cluster, replica));
    return cluster->replicas[replica].requests[i];
}

// The value of a header of the i-th request that a replica got; "" when absent.
static const char *header_of(struct cluster *cluster, size_t replica, size_t i, const char *name)
{
    static char values[4][512];
    static size_t turn;
    char *value = values[turn++ % 4];
    value[0] = '\0';
    char start[64];
    snprintf(start, sizeof(start), "\r\n%s: ", name);
    const char *at = strcasestr(request_of(cluster, replica, i), start);
    if (at != NULL) {
        sscanf(at + strlen(start), "%511[^\r]", value);
    }
    return value;
}

#define ANSWER(status, headers, body) "HTTP/1.1 " status "\r\n" headers "\r\n" body
#define OK_ANSWER                     ANSWER("200 OK", "", "[{\"id\":1}]")
#define CREATED_ANSWER                ANSWER("201 Created", "Caucus-Session: s41\r\n", "[{\"id\":1}]")
#define NOT_EXECUTED \
    ANSWER("503 Service Unavailable", "Retry-After: 1\r\n", "{\"code\":\"CC201\",\"message\":\"no leader\"}")
#define DISK_FULL       ANSWER("507 Insufficient Storage", "", "{\"code\":\"CC219\",\"message\":\"nearly full\"}")
#define TOO_SLOW        ANSWER("408 Request Timeout", "", "{\"code\":\"CC122\",\"message\":\"did not arrive in time\"}")
#define OUTCOME_UNKNOWN ANSWER("504 Gateway Timeout", "", "{\"code\":\"CC203\",\"message\":\"unknown\"}")
#define STILL_RUNNING   ANSWER("409 Conflict", "Retry-After: 1\r\n", "{}")
#define DUPLICATE \
    ANSWER("409 Conflict", "", "{\"code\":\"23505\",\"message\":\"duplicate\",\"details\":\"Key (id)\",\"hint\":null}")

static void an_answer_is_handed_over(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {
        {ANSWER("206 Partial Content", "Content-Range: 0-9/57\r\nCaucus-Session: s7\r\n", "[1]")}};
    struct cluster cluster;
    cluster_open(&cluster, 1, scripts, 5000);
    struct caucus_response response;
    assert_int_equal(caucus_get(cluster.client, "/orders?id=eq.1", &response), CAUCUS_OK);
    assert_int_equal(response.status, 206);
    assert_string_equal(response.body, "[1]");
    assert_int_equal(response.n_body, 3);
    assert_string_equal(response.content_range, "0-9/57");
    assert_string_equal(response.idempotency_key, "");
    assert_string_equal(response.url, cluster.replicas[0].url);
    assert_string_equal(caucus_session(cluster.client), "s7");
    assert_memory_equal(request_of(&cluster, 0, 0), "GET /orders?id=eq.1 HTTP/1.1\r\n", 30);
    caucus_response_finish(&response);
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void the_session_token_is_sent_back(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{CREATED_ANSWER, OK_ANSWER}};
    struct cluster cluster;
    cluster_open(&cluster, 1, scripts, 5000);
    struct caucus_response response;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(caucus_insert(cluster.client, "/orders", "{\"id\":1}", &response), CAUCUS_OK);
        caucus_response_finish(&response);
    }
    assert_string_equal(header_of(&cluster, 0, 0, "Caucus-Session"), "");
    assert_string_equal(header_of(&cluster, 0, 1, "Caucus-Session"), "s41");
    assert_string_equal(header_of(&cluster, 0, 0, "Prefer"), "return=representation");
    cluster_close(&cluster);
}

static void each_write_has_a_key_of_its_own_and_reads_have_none(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{OK_ANSWER}};
    struct cluster cluster;
    cluster_open(&cluster, 1, scripts, 5000);
    struct caucus_response response;
    assert_int_equal(caucus_update(cluster.client, "/orders?id=eq.1", "{\"a\":1}", &response), CAUCUS_OK);
    assert_string_equal(header_of(&cluster, 0, 0, "Idempotency-Key"), response.idempotency_key);
    assert_int_equal(strlen(response.idempotency_key), 36);
    caucus_response_finish(&response);
    assert_int_equal(caucus_delete(cluster.client, "/orders?id=eq.1", &response), CAUCUS_OK);
    caucus_response_finish(&response);
    assert_string_not_equal(header_of(&cluster, 0, 0, "Idempotency-Key"), header_of(&cluster, 0, 1, "Idempotency-Key"));
    assert_int_equal(caucus_get(cluster.client, "/orders", &response), CAUCUS_OK);
    caucus_response_finish(&response);
    assert_string_equal(header_of(&cluster, 0, 2, "Idempotency-Key"), "");
    cluster_close(&cluster);
}

// All attempts of a write, wherever they arrive, must carry the same key: else it could be applied twice.
static void a_write_goes_on_at_the_next_replica_with_the_same_key(void **state)
{
    (void)state;
    static const char *const first_steps[] = {NOT_EXECUTED, OUTCOME_UNKNOWN, HANG_UP, SILENCE,
                                              ANSWER("502 Bad Gateway", "", "")};
    for (size_t i = 0; i < sizeof(first_steps) / sizeof(first_steps[0]); i++) {
        const char *const scripts[][STEPS_MAX] = {{first_steps[i]}, {CREATED_ANSWER}};
        struct cluster cluster;
        cluster_open(&cluster, 2, scripts, 5000);
        struct caucus_response response;
        assert_int_equal(caucus_insert(cluster.client, "/orders", "{\"id\":1}", &response), CAUCUS_OK);
        assert_int_equal(response.status, 201);
        assert_int_equal(response.n_attempts, 2);
        assert_string_equal(response.url, cluster.replicas[1].url);
        assert_string_equal(header_of(&cluster, 0, 0, "Idempotency-Key"), response.idempotency_key);
        assert_string_equal(header_of(&cluster, 1, 0, "Idempotency-Key"), response.idempotency_key);
        caucus_response_finish(&response);
        cluster_close(&cluster);
    }
}

static void a_replica_that_is_down_is_passed_over_and_then_avoided(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{NULL}, {NULL}, {OK_ANSWER}};
    struct cluster cluster;
    cluster_open(&cluster, 3, scripts, 5000);
    struct caucus_response response;
    assert_int_equal(caucus_get(cluster.client, "/orders", &response), CAUCUS_OK);
    assert_int_equal(response.n_attempts, 3);
    caucus_response_finish(&response);
    assert_int_equal(caucus_get(cluster.client, "/orders", &response), CAUCUS_OK);
    assert_int_equal(response.n_attempts, 1);
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void a_write_that_still_runs_is_asked_for_again(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{STILL_RUNNING, STILL_RUNNING, CREATED_ANSWER}, {OK_ANSWER}};
    struct cluster cluster;
    cluster_open(&cluster, 2, scripts, 5000);
    struct caucus_response response;
    assert_int_equal(caucus_insert(cluster.client, "/orders", "{\"id\":1}", &response), CAUCUS_OK);
    assert_int_equal(response.status, 201);
    assert_int_equal(n_requests_at(&cluster, 0), 3);
    assert_int_equal(n_requests_at(&cluster, 1), 0);
    assert_string_equal(header_of(&cluster, 0, 0, "Idempotency-Key"), header_of(&cluster, 0, 2, "Idempotency-Key"));
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void a_refusal_is_final_and_taken_apart(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{DUPLICATE}, {OK_ANSWER}};
    struct cluster cluster;
    cluster_open(&cluster, 2, scripts, 5000);
    struct caucus_response response;
    assert_int_equal(caucus_insert(cluster.client, "/orders", "{\"id\":1}", &response), CAUCUS_REFUSED);
    assert_int_equal(response.status, 409);
    assert_string_equal(response.code, "23505");
    assert_string_equal(response.message, "duplicate");
    assert_string_equal(response.details, "Key (id)");
    assert_string_equal(response.hint, "");
    assert_int_equal(response.n_attempts, 1);
    assert_int_equal(n_requests_at(&cluster, 1), 0);
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void a_refusal_without_a_json_body_still_says_something(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {
        {ANSWER("404 Not Found", "", ""), ANSWER("500 Internal Server Error", "", "sorry")}};
    struct cluster cluster;
    cluster_open(&cluster, 1, scripts, 5000);
    struct caucus_response response;
    assert_int_equal(caucus_get(cluster.client, "/orders", &response), CAUCUS_REFUSED);
    assert_string_equal(response.message, "HTTP status 404");
    caucus_response_finish(&response);
    assert_int_equal(caucus_get(cluster.client, "/orders", &response), CAUCUS_REFUSED);
    assert_string_equal(response.message, "sorry");
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void a_write_goes_on_at_the_next_replica_when_the_disk_of_one_is_full(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{DISK_FULL}, {CREATED_ANSWER}};
    struct cluster cluster;
    cluster_open(&cluster, 2, scripts, 5000);
    struct caucus_response response;
    assert_int_equal(caucus_insert(cluster.client, "/presence", "{\"id\":1}", &response), CAUCUS_OK);
    assert_int_equal(response.n_attempts, 2);
    assert_string_equal(response.url, cluster.replicas[1].url);
    assert_string_equal(header_of(&cluster, 0, 0, "Idempotency-Key"), header_of(&cluster, 1, 0, "Idempotency-Key"));
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void a_write_that_did_not_arrive_as_a_whole_is_sent_again(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{TOO_SLOW}, {CREATED_ANSWER}};
    struct cluster cluster;
    cluster_open(&cluster, 2, scripts, 5000);
    struct caucus_response response;
    assert_int_equal(caucus_insert(cluster.client, "/orders", "{\"id\":1}", &response), CAUCUS_OK);
    assert_int_equal(response.n_attempts, 2);
    assert_string_equal(header_of(&cluster, 0, 0, "Idempotency-Key"), header_of(&cluster, 1, 0, "Idempotency-Key"));
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void nothing_was_changed_when_nobody_could_execute_it(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{NOT_EXECUTED}, {NULL}};
    struct cluster cluster;
    cluster_open(&cluster, 2, scripts, 400);
    struct caucus_response response;
    assert_int_equal(caucus_insert(cluster.client, "/orders", "{\"id\":1}", &response), CAUCUS_UNAVAILABLE);
    assert_true(response.n_attempts > 2);
    assert_string_equal(response.code, "CC201");
    assert_non_null(strstr(response.message, "503"));
    assert_non_null(strstr(response.message, cluster.replicas[1].url));
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void an_unknown_outcome_stays_unknown_whatever_comes_later(void **state)
{
    (void)state;
    static const char *const first_steps[] = {OUTCOME_UNKNOWN, HANG_UP, SILENCE};
    for (size_t i = 0; i < 3; i++) {
        const char *const scripts[][STEPS_MAX] = {{first_steps[i], NOT_EXECUTED}, {NOT_EXECUTED}};
        struct cluster cluster;
        cluster_open(&cluster, 2, scripts, 700);
        struct caucus_response response;
        assert_int_equal(caucus_insert(cluster.client, "/orders", "{\"id\":1}", &response), CAUCUS_UNKNOWN);
        assert_non_null(strstr(response.message, "unknown"));
        assert_int_equal(strlen(response.idempotency_key), 36); // so that the caller can repeat it
        caucus_response_finish(&response);
        assert_int_equal(caucus_get(cluster.client, "/orders", &response), CAUCUS_UNAVAILABLE); // a read never is
        caucus_response_finish(&response);
        cluster_close(&cluster);
    }
}

static void a_later_refusal_at_the_door_does_not_hide_an_unknown_outcome(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{HANG_UP}, {ANSWER("401 Unauthorized", "", "{}")}};
    struct cluster cluster;
    cluster_open(&cluster, 2, scripts, 2000);
    struct caucus_response response;
    assert_int_equal(caucus_insert(cluster.client, "/orders", "{\"id\":1}", &response), CAUCUS_UNKNOWN);
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void a_cut_answer_to_a_read_is_asked_for_elsewhere(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{CUT_OFF}, {OK_ANSWER}};
    struct cluster cluster;
    cluster_open(&cluster, 2, scripts, 5000);
    struct caucus_response response;
    assert_int_equal(caucus_get(cluster.client, "/orders", &response), CAUCUS_OK);
    assert_string_equal(response.body, "[{\"id\":1}]");
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void wrong_arguments_send_nothing(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{OK_ANSWER}};
    static const char *const bad_header[] = {"If-Match: 1\r\nX: y"};
    const struct caucus_request requests[] = {
        {.method = "GET", .path = "orders"},
        {.method = "GET", .path = "/orders HTTP/1.1\r\nX: y"},
        {.method = "GET", .path = "/a b"},
        {.method = "BREW", .path = "/orders"},
        {.method = NULL, .path = "/orders"},
        {.method = "GET", .path = NULL},
        {.method = "GET", .path = "/orders", .prefer = "a\r\nX: y"},
        {.method = "POST", .path = "/orders", .idempotency_key = "a\nb"},
        {.method = "GET", .path = "/orders", .headers = bad_header, .n_headers = 1},
    };
    struct cluster cluster;
    cluster_open(&cluster, 1, scripts, 1000);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct caucus_response response;
        assert_int_equal(caucus_send(cluster.client, &requests[i], &response), CAUCUS_USAGE);
        assert_true(strlen(response.message) > 10);
        caucus_response_finish(&response);
    }
    assert_int_equal(n_requests_at(&cluster, 0), 0);
    cluster_close(&cluster);
}

static void wrong_options_open_nothing(void **state)
{
    (void)state;
    static const char *const bad_urls[] = {"127.0.0.1:7101", "ftp://a", "http://a b", "", NULL};
    char message[256] = "";
    struct caucus_options none = {0};
    assert_null(caucus_open(&none, message));
    assert_true(strlen(message) > 10);
    for (size_t i = 0; i < 5; i++) {
        struct caucus_options options = {.urls = &bad_urls[i], .n_urls = 1};
        assert_null(caucus_open(&options, NULL));
    }
}

static void too_large_answers_are_not_kept(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{OK_ANSWER}};
    struct cluster cluster;
    cluster_open(&cluster, 1, scripts, 1000);
    const char *urls[] = {cluster.replicas[0].url};
    struct caucus_options options = {.urls = urls, .n_urls = 1, .response_bytes_max = 9};
    caucus_close(cluster.client);
    cluster.client = caucus_open(&options, NULL);
    struct caucus_response response;
    assert_int_equal(caucus_get(cluster.client, "/orders", &response), CAUCUS_REFUSED);
    assert_string_equal(response.body, "");
    caucus_response_finish(&response);
    assert_int_equal(caucus_insert(cluster.client, "/orders", "{}", &response), CAUCUS_UNKNOWN);
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void further_headers_and_a_bearer_are_sent(void **state)
{
    (void)state;
    static const char *const scripts[][STEPS_MAX] = {{OK_ANSWER}};
    static const char *const headers[] = {"If-Match: \"7\""};
    struct cluster cluster;
    cluster_open(&cluster, 1, scripts, 1000);
    const char *urls[] = {cluster.replicas[0].url};
    struct caucus_options options = {.urls = urls, .n_urls = 1, .bearer = "token", .session = "s1"};
    caucus_close(cluster.client);
    cluster.client = caucus_open(&options, NULL);
    struct caucus_request request = {.method = "PATCH",
                                     .path = "/orders?id=eq.1",
                                     .body = "{}",
                                     .headers = headers,
                                     .n_headers = 1,
                                     .idempotency_key = "mine",
                                     .accept = "text/csv"};
    struct caucus_response response;
    assert_int_equal(caucus_send(cluster.client, &request, &response), CAUCUS_OK);
    assert_string_equal(header_of(&cluster, 0, 0, "If-Match"), "\"7\"");
    assert_string_equal(header_of(&cluster, 0, 0, "Authorization"), "Bearer token");
    assert_string_equal(header_of(&cluster, 0, 0, "Idempotency-Key"), "mine");
    assert_string_equal(header_of(&cluster, 0, 0, "Accept"), "text/csv");
    assert_string_equal(header_of(&cluster, 0, 0, "Caucus-Session"), "s1");
    caucus_response_finish(&response);
    cluster_close(&cluster);
}

static void values_are_escaped(void **state)
{
    (void)state;
    char *escaped = caucus_escape("a&b=c d/\xc3\xa4,\"(%)~");
    assert_string_equal(escaped, "a%26b%3Dc%20d%2F%C3%A4%2C%22%28%25%29~");
    free(escaped);
    escaped = caucus_escape("");
    assert_string_equal(escaped, "");
    free(escaped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_handed_over),
        cmocka_unit_test(the_session_token_is_sent_back),
        cmocka_unit_test(each_write_has_a_key_of_its_own_and_reads_have_none),
        cmocka_unit_test(a_write_goes_on_at_the_next_replica_with_the_same_key),
        cmocka_unit_test(a_replica_that_is_down_is_passed_over_and_then_avoided),
        cmocka_unit_test(a_write_that_still_runs_is_asked_for_again),
        cmocka_unit_test(a_refusal_is_final_and_taken_apart),
        cmocka_unit_test(a_refusal_without_a_json_body_still_says_something),
        cmocka_unit_test(a_write_goes_on_at_the_next_replica_when_the_disk_of_one_is_full),
        cmocka_unit_test(a_write_that_did_not_arrive_as_a_whole_is_sent_again),
        cmocka_unit_test(nothing_was_changed_when_nobody_could_execute_it),
        cmocka_unit_test(an_unknown_outcome_stays_unknown_whatever_comes_later),
        cmocka_unit_test(a_later_refusal_at_the_door_does_not_hide_an_unknown_outcome),
        cmocka_unit_test(a_cut_answer_to_a_read_is_asked_for_elsewhere),
        cmocka_unit_test(wrong_arguments_send_nothing),
        cmocka_unit_test(wrong_options_open_nothing),
        cmocka_unit_test(too_large_answers_are_not_kept),
        cmocka_unit_test(further_headers_and_a_bearer_are_sent),
        cmocka_unit_test(values_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
