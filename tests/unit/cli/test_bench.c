// The load generator: histogram, answers, rows, mixes, and whole runs against a small server of this test.
#include "cli/bench_engine.h"
#include "cli/bench_http.h"
#include "cli/bench_report.h"
#include "cli/bench_workload.h"

#include "base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

// ---- histogram

static void every_value_is_known_to_one_part_in_128(void **state)
{
    (void)state;
    struct bench_histogram *histogram = cc_alloc(sizeof(*histogram));
    for (uint64_t value = 1; value < 1ull << 43; value += value / 3 + 1) {
        bench_histogram_clear(histogram);
        bench_histogram_record(histogram, value);
        bench_histogram_record(histogram, 1ull << 43);
        uint64_t found = bench_histogram_percentile(histogram, 50);
        assert_true(found >= value && found - value <= value / 128);
    }
    free(histogram);
}

static void percentiles_count_values_not_buckets(void **state)
{
    (void)state;
    struct bench_histogram *histogram = cc_alloc(sizeof(*histogram));
    for (uint64_t i = 1; i <= 100; i++) {
        bench_histogram_record(histogram, i);
    }
    assert_int_equal(bench_histogram_percentile(histogram, 50), 50);
    assert_int_equal(bench_histogram_percentile(histogram, 99), 99);
    assert_int_equal(bench_histogram_percentile(histogram, 99.9), 100);
    assert_int_equal(bench_histogram_percentile(histogram, 100), 100);
    assert_true(bench_histogram_mean(histogram) == 50.5);
    free(histogram);
}

static void values_beyond_the_range_keep_their_maximum(void **state)
{
    (void)state;
    struct bench_histogram *histogram = cc_alloc(sizeof(*histogram));
    assert_int_equal(bench_histogram_percentile(histogram, 99), 0);
    bench_histogram_record(histogram, UINT64_MAX / 4);
    assert_true(bench_histogram_percentile(histogram, 99) == UINT64_MAX / 4);
    free(histogram);
}

static void a_sum_of_histograms_is_the_histogram_of_all(void **state)
{
    (void)state;
    struct bench_histogram *parts = cc_alloc_array(3, sizeof(*parts));
    for (uint64_t i = 1; i <= 1000; i++) {
        bench_histogram_record(&parts[i % 2], i * 1000);
        bench_histogram_record(&parts[2], i * 1000);
    }
    bench_histogram_add(&parts[0], &parts[1]);
    assert_memory_equal(&parts[0], &parts[2], sizeof(*parts));
    free(parts);
}

// ---- answers

static enum bench_verdict parse(const char *text, struct bench_http_answer *answer, size_t *n_taken)
{
    static struct cc_buffer scratch;
    enum bench_verdict verdict = bench_http_answer_parse(cc_slice_text(text), &scratch, answer, n_taken);
    static char body[64];
    if (verdict == BENCH_ANSWER_COMPLETE && answer->body.n < sizeof(body)) {
        memcpy(body, answer->body.data, answer->body.n);
        answer->body = cc_slice_of(body, answer->body.n);
    }
    cc_buffer_finish(&scratch);
    return verdict;
}

static void an_answer_is_complete_with_its_last_byte_only(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCaucus-Session: tok\r\nContent-Range:  0-0/*\r\n\r\n[{}]",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nCaucus-Session: tok\r\nContent-Range:  "
        "0-0/*\r\n\r\n1\r\n[\r\n3;x=y\r\n{}]\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nCaucus-Session: tok\r\nContent-Range: "
        "0-0/*\r\nContent-Length: 4\r\n\r\n[{}]",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct bench_http_answer answer;
        size_t n_taken;
        for (size_t n = 0; n < strlen(texts[i]); n++) {
            char *part = cc_strndup(texts[i], n);
            assert_int_equal(parse(part, &answer, &n_taken), BENCH_ANSWER_MORE);
            free(part);
        }
        assert_int_equal(parse(texts[i], &answer, &n_taken), BENCH_ANSWER_COMPLETE);
        assert_int_equal(n_taken, strlen(texts[i]));
        assert_int_equal(answer.status, 200);
        assert_true(cc_slice_equal_text(answer.body, "[{}]"));
        assert_true(cc_slice_equal_text(answer.session, "tok"));
        assert_true(cc_slice_equal_text(answer.content_range, "0-0/*"));
        assert_false(answer.close);
    }
}

static void an_answer_without_content_has_no_body(void **state)
{
    (void)state;
    struct bench_http_answer answer;
    size_t n_taken;
    assert_int_equal(parse("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\nnext", &answer, &n_taken),
                     BENCH_ANSWER_COMPLETE);
    assert_int_equal(answer.status, 204);
    assert_int_equal(answer.body.n, 0);
    assert_true(answer.close);
    assert_int_equal(n_taken, strlen("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"));
}

static void what_is_no_answer_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 99 Too Low\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct bench_http_answer answer;
        size_t n_taken;
        assert_int_equal(parse(texts[i], &answer, &n_taken), BENCH_ANSWER_MALFORMED);
    }
}

// ---- rows

static void keys_are_uuids_and_differ(void **state)
{
    (void)state;
    struct cc_buffer text = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        struct bench_key a = bench_key_at(i);
        struct bench_key b = bench_key_at(i + 1);
        assert_true(a.high != b.high && a.low != b.low);
    }
    bench_key_put(&text, (struct bench_key){0x0123456789ab4def, 0x8123456789abcdef});
    assert_string_equal(cc_buffer_text(&text), "01234567-89ab-4def-8123-456789abcdef");
    cc_buffer_finish(&text);
}

static void a_value_belongs_to_its_key_alone_and_must_be_whole(void **state)
{
    (void)state;
    struct cc_buffer value = {0};
    struct bench_key key = bench_key_at(7);
    bench_value_put(&value, key, 3, 100);
    assert_int_equal(value.n, 100);
    assert_true(bench_value_is_of(cc_buffer_slice(&value), key, 100));
    assert_false(bench_value_is_of(cc_buffer_slice(&value), bench_key_at(8), 100));
    assert_false(bench_value_is_of(cc_slice_of(value.data, 99), key, 100));
    for (size_t i = 0; i < 100; i++) {
        bool names_writer = i >= 33 && i < 41;
        value.data[i] ^= 1;
        assert_true(bench_value_is_of(cc_buffer_slice(&value), key, 100) == names_writer);
        value.data[i] ^= 1;
    }
    cc_buffer_finish(&value);
}

// ---- mixes

static void a_mix_is_read_with_weights_levels_and_tables(void **state)
{
    (void)state;
    struct bench_workload workload = {0};
    assert_int_equal(bench_mix_parse("insert,read@local=80,weak-update=19,read@bounded:500ms", &workload), CC_OK);
    assert_int_equal(workload.n_operations, 4);
    assert_int_equal(workload.weight_sum, 101);
    assert_int_equal(workload.operations[0].verb, BENCH_INSERT);
    assert_string_equal(workload.operations[1].consistency, "local");
    assert_string_equal(workload.operations[1].name, "read@local");
    assert_int_equal(workload.operations[1].weight, 80);
    assert_true(workload.operations[2].weak);
    assert_string_equal(workload.operations[3].consistency, "bounded=500ms");
    assert_true(bench_workload_needs_rows(&workload, true));
    assert_int_equal(bench_mix_parse("weak-insert", &workload), CC_OK);
    assert_true(bench_workload_uses(&workload, true));
    assert_false(bench_workload_uses(&workload, false));
    assert_false(bench_workload_needs_rows(&workload, true));
}

static void a_mix_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",           "drop",      "insert,",        "insert=0",
                                        "insert=x",   "insert=1x", "insert=",        "insert@local",
                                        "read@a\r\n", "read@A\"b", "weak-weak-read", "read=99999999"};
    struct bench_workload workload = {0};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(bench_mix_parse(texts[i], &workload), CC_MALFORMED);
    }
}

// ---- whole runs

enum behaviour { ANSWER, STALL_ONCE, REFUSE_OFTEN, CLOSE_OFTEN, WRONG_ROWS, GARBAGE, SILENT };

enum { STUB_CLIENTS = 64, STALL_MS = 400 };

// Answers as Caucus would, one thread, poll.
struct stub {
    enum behaviour behaviour;
    int listener;
    pthread_t thread;
    atomic_bool stop;
    uint64_t n_requests;
    uint64_t n_rows; // inserted and answered with success
    uint64_t n_inserted_unanswered;
    size_t value_bytes;
    bool stalled;
    struct bench_address address;
    struct pollfd polls[STUB_CLIENTS + 1];
    struct cc_buffer in[STUB_CLIENTS + 1];
    size_t n_polls;
};

static struct bench_key key_in(const char *path)
{
    char hex[33] = {0};
    const char *at = strstr(path, "id=eq.");
    assert_non_null(at);
    at += 6;
    for (size_t i = 0; i < 32; at++) {
        if (*at != '-') {
            hex[i++] = *at;
        }
    }
    struct bench_key key;
    key.low = strtoull(hex + 16, NULL, 16);
    hex[16] = '\0';
    key.high = strtoull(hex, NULL, 16);
    return key;
}

static void put_row(const struct stub *stub, struct cc_buffer *out, const char *path)
{
    struct cc_buffer body = {0};
    struct bench_key key = key_in(path);
    key.low ^= stub->behaviour == WRONG_ROWS ? 1 : 0;
    cc_buffer_append_text(&body, "[");
    bench_row_put_json(&body, key, 1, stub->value_bytes);
    cc_buffer_append_text(&body, "]");
    cc_buffer_printf(out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", body.n, cc_buffer_text(&body));
    cc_buffer_finish(&body);
}

static bool put_answer(struct stub *stub, struct cc_buffer *out, const char *request)
{
    uint64_t number = stub->n_requests++;
    if (stub->behaviour == SILENT) {
        return true;
    }
    if (stub->behaviour == GARBAGE) {
        cc_buffer_append_text(out, "nonsense\r\n\r\n");
        return true;
    }
    if (stub->behaviour == CLOSE_OFTEN && number % 10 == 9) {
        stub->n_inserted_unanswered++;
        return false;
    }
    if (stub->behaviour == REFUSE_OFTEN && number % 10 == 9) {
        cc_buffer_append_text(out, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}");
        return true;
    }
    if (stub->behaviour == STALL_ONCE && number == 50 && !stub->stalled) {
        stub->stalled = true;
        nanosleep(&(struct timespec){.tv_nsec = STALL_MS * 1000000L}, NULL); // the fault itself
    }
    if (strncmp(request, "GET", 3) == 0) {
        put_row(stub, out, request);
    } else if (strncmp(request, "POST", 4) == 0) {
        stub->n_rows++;
        cc_buffer_append_text(out, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    } else {
        cc_buffer_append_text(out, "HTTP/1.1 204 No Content\r\nContent-Range: 0-0/*\r\n\r\n");
    }
    return true;
}

// All whole requests in the buffer; false when the connection is to be closed.
static bool serve(struct stub *stub, int fd, struct cc_buffer *in)
{
    struct cc_buffer out = {0};
    bool open = true;
    for (;;) {
        char *text = (char *)(uintptr_t)cc_buffer_text(in);
        char *end = strstr(text, "\r\n\r\n");
        if (end == NULL || !open) {
            break;
        }
        const char *length = strstr(text, "Content-Length: ");
        size_t n = (size_t)(end - text) + 4 + (length != NULL && length < end ? strtoul(length + 16, NULL, 10) : 0);
        if (in->n < n) {
            break;
        }
        open = put_answer(stub, &out, text);
        memmove(in->data, in->data + n, in->n - n);
        in->n -= n;
    }
    open = out.n == 0 || send(fd, out.data, out.n, MSG_NOSIGNAL) == (ssize_t)out.n ? open : false;
    cc_buffer_finish(&out);
    return open;
}

static void drop_connection(struct stub *stub, size_t i)
{
    close(stub->polls[i].fd);
    cc_buffer_finish(&stub->in[i]);
    stub->n_polls--;
    stub->polls[i] = stub->polls[stub->n_polls];
    stub->in[i] = stub->in[stub->n_polls];
    stub->in[stub->n_polls] = (struct cc_buffer){0};
}

static void *stub_main(void *argument)
{
    struct stub *stub = argument;
    while (!atomic_load(&stub->stop)) {
        if (poll(stub->polls, stub->n_polls, 20) <= 0) {
            continue;
        }
        for (size_t i = stub->n_polls; i-- > 1;) {
            if (stub->polls[i].revents == 0) {
                continue;
            }
            cc_buffer_reserve(&stub->in[i], 65536);
            ssize_t n = recv(stub->polls[i].fd, stub->in[i].data + stub->in[i].n, 65536, 0);
            stub->in[i].n += n > 0 ? (size_t)n : 0;
            if (n <= 0 || !serve(stub, stub->polls[i].fd, &stub->in[i])) {
                drop_connection(stub, i);
            }
        }
        if (stub->polls[0].revents != 0 && stub->n_polls <= STUB_CLIENTS) {
            stub->polls[stub->n_polls++] = (struct pollfd){.fd = accept(stub->listener, NULL, NULL), .events = POLLIN};
        }
    }
    while (stub->n_polls > 1) {
        drop_connection(stub, stub->n_polls - 1);
    }
    return NULL;
}

static struct stub *stub_start(enum behaviour behaviour)
{
    struct stub *stub = cc_alloc(sizeof(*stub));
    stub->behaviour = behaviour;
    stub->value_bytes = 100;
    stub->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    assert_int_equal(bind(stub->listener, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(stub->listener, STUB_CLIENTS), 0);
    assert_int_equal(getsockname(stub->listener, (struct sockaddr *)&address, &n), 0);
    char text[64];
    (void)snprintf(text, sizeof(text), "http://127.0.0.1:%u/", ntohs(address.sin_port));
    assert_int_equal(bench_address_parse(text, &stub->address), CC_OK);
    stub->polls[0] = (struct pollfd){.fd = stub->listener, .events = POLLIN};
    stub->n_polls = 1;
    assert_int_equal(pthread_create(&stub->thread, NULL, stub_main, stub), 0);
    return stub;
}

static void stub_stop(struct stub *stub)
{
    atomic_store(&stub->stop, true);
    pthread_join(stub->thread, NULL);
    close(stub->listener);
}

struct finding {
    struct bench_sums sums;
    struct bench_result *result;
    struct stub *stub;
};

static struct finding run(enum behaviour behaviour, const char *mix, struct bench_load load)
{
    struct finding finding = {.result = cc_alloc(sizeof(struct bench_result)), .stub = stub_start(behaviour)};
    struct bench_workload workload = {
        .n_rows = 100, .value_bytes = 100, .bulk_rows = 10, .sessions = true, .idempotency = true};
    assert_int_equal(bench_mix_parse(mix, &workload), CC_OK);
    load.protocol = &bench_workload_protocol;
    load.context = &workload;
    load.addresses = &finding.stub->address;
    load.n_addresses = 1;
    load.n_operations = workload.n_operations;
    load.n_clients = load.n_clients == 0 ? 8 : load.n_clients;
    load.n_threads = 2;
    load.duration_ms = load.duration_ms == 0 ? 300 : load.duration_ms;
    load.timeout_ms = load.timeout_ms == 0 ? 3000 : load.timeout_ms;
    load.seed = 1;
    assert_int_equal(bench_engine_run(&load, finding.result), CC_OK);
    stub_stop(finding.stub);
    bench_sum(&load, finding.result, &finding.sums);
    return finding;
}

static void finding_finish(struct finding *finding)
{
    free(finding->result);
    free(finding->stub);
}

static void every_acknowledged_insert_is_counted_once(void **state)
{
    (void)state;
    struct finding finding = run(ANSWER, "insert", (struct bench_load){.warmup_ms = 100});
    assert_true(finding.sums.n_total[BENCH_DONE] > 0);
    assert_int_equal(finding.sums.n_total[BENCH_DONE], finding.stub->n_rows);
    assert_true(finding.sums.n[BENCH_DONE] < finding.sums.n_total[BENCH_DONE]); // the warm-up is not measured
    assert_int_equal(finding.result->statuses[201], finding.stub->n_rows);
    assert_int_equal(finding.result->tallies[0].latency.n, finding.sums.n[BENCH_DONE]);
    finding_finish(&finding);
}

static void a_mix_of_operations_is_answered_and_checked(void **state)
{
    (void)state;
    struct finding finding = run(ANSWER, "insert,update,upsert,read@local,weak-read,bulk", (struct bench_load){0});
    assert_true(finding.sums.n_total[BENCH_DONE] > 0);
    for (unsigned i = 0; i < 6; i++) {
        assert_true(finding.result->tallies[i].n_total[BENCH_DONE] > 0);
    }
    for (unsigned i = BENCH_REFUSED; i < BENCH_OUTCOMES; i++) {
        assert_int_equal(finding.sums.n_total[i], 0);
    }
    assert_int_equal(finding.result->tallies[5].n_rows_total, 10 * finding.result->tallies[5].n_total[BENCH_DONE]);
    finding_finish(&finding);
}

static void a_row_of_another_key_is_wrong(void **state)
{
    (void)state;
    struct finding finding = run(WRONG_ROWS, "read", (struct bench_load){0});
    assert_int_equal(finding.sums.n_total[BENCH_DONE], 0);
    assert_true(finding.sums.n_total[BENCH_WRONG] > 0);
    assert_non_null(strstr(finding.result->sample, "value"));
    finding_finish(&finding);
}

static void the_open_loop_keeps_its_rate(void **state)
{
    (void)state;
    struct finding finding = run(ANSWER, "insert", (struct bench_load){.rate = 1000, .duration_ms = 1000});
    assert_int_equal(finding.sums.n[BENCH_DONE] + finding.result->n_unsent, 1000);
    finding_finish(&finding);
}

static void a_stall_is_seen_by_every_request_that_should_have_started_in_it(void **state)
{
    (void)state;
    // 1000/s for a second: during the stall of 400 ms some 400 requests are due, though only 4 clients exist.
    struct finding finding =
        run(STALL_ONCE, "insert", (struct bench_load){.rate = 1000, .duration_ms = 1000, .n_clients = 4});
    assert_true(finding.stub->stalled);
    struct bench_histogram *latency = &finding.result->tallies[0].latency;
    bench_histogram_add(latency, &finding.result->unsent);
    assert_int_equal(latency->n, 1000);
    assert_true(bench_histogram_percentile(latency, 75) > 100ull * 1000000);
    assert_true(latency->max >= 390ull * 1000000);
    finding_finish(&finding);
}

static void refusals_and_lost_answers_are_counted_apart(void **state)
{
    (void)state;
    struct finding refused = run(REFUSE_OFTEN, "insert", (struct bench_load){0});
    assert_true(refused.sums.n_total[BENCH_REFUSED] > 0);
    assert_int_equal(refused.sums.n_total[BENCH_DONE], refused.stub->n_rows);
    assert_int_equal(refused.result->tallies[0].n_rows_unknown, 0);
    finding_finish(&refused);

    struct finding lost = run(CLOSE_OFTEN, "insert", (struct bench_load){0});
    assert_true(lost.sums.n_total[BENCH_UNKNOWN] > 0);
    assert_true(lost.result->n_reconnects >= lost.sums.n_total[BENCH_UNKNOWN]);
    assert_int_equal(lost.sums.n_total[BENCH_UNKNOWN], lost.stub->n_inserted_unanswered);
    assert_int_equal(lost.result->tallies[0].n_rows_unknown, lost.stub->n_inserted_unanswered);
    finding_finish(&lost);
}

static void garbage_and_silence_end_as_unknown(void **state)
{
    (void)state;
    struct finding garbage = run(GARBAGE, "insert", (struct bench_load){0});
    assert_int_equal(garbage.sums.n_total[BENCH_DONE], 0);
    assert_true(garbage.sums.n_total[BENCH_UNKNOWN] > 0);
    finding_finish(&garbage);

    struct finding silent = run(SILENT, "insert", (struct bench_load){.timeout_ms = 100});
    assert_int_equal(silent.sums.n_total[BENCH_DONE], 0);
    assert_true(silent.sums.n_total[BENCH_UNKNOWN] >= 8);
    finding_finish(&silent);
}

static void a_server_that_is_not_there_is_no_crash(void **state)
{
    (void)state;
    struct stub *stub = stub_start(ANSWER);
    stub_stop(stub);
    struct bench_workload workload = {.n_rows = 1, .value_bytes = 100};
    assert_int_equal(bench_mix_parse("insert", &workload), CC_OK);
    struct bench_load load = {.protocol = &bench_workload_protocol,
                              .context = &workload,
                              .addresses = &stub->address,
                              .n_addresses = 1,
                              .n_clients = 3,
                              .n_threads = 1,
                              .n_operations = 1,
                              .duration_ms = 150,
                              .timeout_ms = 1000};
    struct bench_result *result = cc_alloc(sizeof(*result));
    assert_int_equal(bench_engine_run(&load, result), CC_OK);
    assert_int_equal(result->tallies[0].n_total[BENCH_DONE], 0);
    assert_int_equal(result->tallies[0].n_total[BENCH_UNKNOWN], 0); // nothing was sent
    assert_true(result->n_reconnects > 0);
    free(result);
    free(stub);
}

static void the_report_has_the_shape_that_programs_rely_on(void **state)
{
    (void)state;
    struct bench_result *result = cc_alloc(sizeof(*result));
    struct bench_load load = {.n_clients = 4, .n_threads = 2, .n_operations = 1, .n_addresses = 3};
    result->seconds = 2;
    result->tallies[0].n[BENCH_DONE] = 2;
    result->tallies[0].n_rows = 20;
    bench_histogram_record(&result->tallies[0].latency, 1000000);
    bench_histogram_record(&result->tallies[0].latency, 3000000);
    const char *names[] = {"bulk"};
    json_t *report = bench_report_json(&load, names, result);
    assert_true(json_number_value(json_object_get(report, "operations_per_second")) == 1.0);
    assert_true(json_number_value(json_object_get(report, "rows_per_second")) == 10.0);
    json_t *latency = json_object_get(json_object_get(json_object_get(report, "operations"), "bulk"), "latency_ms");
    assert_true(json_number_value(json_object_get(latency, "mean")) == 2.0);
    assert_true(json_number_value(json_object_get(latency, "p99.9")) == 3.0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(report, "outcomes"), "done")), 2);
    json_decref(report);
    free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_known_to_one_part_in_128),
        cmocka_unit_test(percentiles_count_values_not_buckets),
        cmocka_unit_test(values_beyond_the_range_keep_their_maximum),
        cmocka_unit_test(a_sum_of_histograms_is_the_histogram_of_all),
        cmocka_unit_test(an_answer_is_complete_with_its_last_byte_only),
        cmocka_unit_test(an_answer_without_content_has_no_body),
        cmocka_unit_test(what_is_no_answer_is_refused),
        cmocka_unit_test(keys_are_uuids_and_differ),
        cmocka_unit_test(a_value_belongs_to_its_key_alone_and_must_be_whole),
        cmocka_unit_test(a_mix_is_read_with_weights_levels_and_tables),
        cmocka_unit_test(a_mix_that_makes_no_sense_is_refused),
        cmocka_unit_test(every_acknowledged_insert_is_counted_once),
        cmocka_unit_test(a_mix_of_operations_is_answered_and_checked),
        cmocka_unit_test(a_row_of_another_key_is_wrong),
        cmocka_unit_test(the_open_loop_keeps_its_rate),
        cmocka_unit_test(a_stall_is_seen_by_every_request_that_should_have_started_in_it),
        cmocka_unit_test(refusals_and_lost_answers_are_counted_apart),
        cmocka_unit_test(garbage_and_silence_end_as_unknown),
        cmocka_unit_test(a_server_that_is_not_there_is_no_crash),
        cmocka_unit_test(the_report_has_the_shape_that_programs_rely_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
