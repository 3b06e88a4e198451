// What `caucus bench` does with a cluster around the load.
#include "cli/bench_cluster.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "cli/bench_call.h"
#include "cli/monotonic.h"

enum {
    PATIENCE_MS = 10 * 1000,
    STATUS_MS = 3000,
    CALL_MS = 60 * 1000,
    COUNT_MS = 30 * 60 * 1000, // reads whole tables
    POLL_MS = 5,
    RETRY_MS = 100,
    PRELOAD_BYTES = 4 << 20, // of one request, roughly
    PRELOAD_ROWS = 1000,
    PRELOAD_TRIES = 20,
    PRELOAD_THREADS = 4,
};

static bool before(uint64_t deadline_ns)
{
    return bench_now_ns() < deadline_ns;
}

static uint64_t deadline_in(uint32_t ms)
{
    return bench_now_ns() + (uint64_t)ms * 1000000;
}

// ---- status

struct statuses {
    size_t n;
    json_t *of[CC_REPLICAS_MAX]; // NULL: no answer
};

static void statuses_finish(struct statuses *statuses)
{
    for (size_t i = 0; i < statuses->n; i++) {
        json_decref(statuses->of[i]);
    }
    statuses->n = 0;
}

static void statuses_get(const struct bench_cluster *cluster, struct statuses *statuses_out)
{
    struct http_response responses[CC_REPLICAS_MAX];
    cli_replicas_get(&cluster->replicas, "/_caucus/status", STATUS_MS, responses);
    statuses_out->n = cluster->replicas.n;
    for (size_t i = 0; i < cluster->replicas.n; i++) {
        statuses_out->of[i] = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        http_response_finish(&responses[i]);
    }
}

static uint64_t number(const json_t *status, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(status, name));
}

static bool same_everywhere(const struct statuses *statuses, const char *name)
{
    for (size_t i = 0; i < statuses->n; i++) {
        if (statuses->of[i] == NULL ||
            json_equal(json_object_get(statuses->of[0], name), json_object_get(statuses->of[i], name)) != 1) {
            return false;
        }
    }
    return true;
}

static bool find_leader(const struct statuses *statuses, size_t *leader_out)
{
    for (size_t i = 0; i < statuses->n; i++) {
        const char *role = json_string_value(json_object_get(statuses->of[i], "role"));
        if (role != NULL && strcmp(role, "leader") == 0) {
            *leader_out = i;
            return true;
        }
    }
    return false;
}

// Polls until `holds` says so.
static bool wait_until(const struct bench_cluster *cluster, uint32_t patience_ms,
                       bool (*holds)(const struct statuses *statuses, void *context), void *context)
{
    uint64_t deadline_ns = deadline_in(patience_ms);
    for (;;) {
        struct statuses statuses;
        statuses_get(cluster, &statuses);
        bool done = holds(&statuses, context);
        statuses_finish(&statuses);
        if (done || !before(deadline_ns)) {
            return done;
        }
        cli_sleep_ms(POLL_MS);
    }
}

static bool has_leader(const struct statuses *statuses, void *leader)
{
    return find_leader(statuses, leader);
}

static bool is_settled(const struct statuses *statuses, void *context)
{
    (void)context;
    uint64_t commit_max = 0;
    for (size_t i = 0; i < statuses->n; i++) {
        uint64_t commit = number(statuses->of[i], "commit");
        commit_max = commit > commit_max ? commit : commit_max;
    }
    return statuses->n > 0 && same_everywhere(statuses, "applied") && same_everywhere(statuses, "frontier") &&
           number(statuses->of[0], "applied") == commit_max;
}

// ---- the cluster

enum cli_exit bench_cluster_open(const struct cli_arguments *arguments, struct bench_cluster *cluster_out)
{
    *cluster_out = (struct bench_cluster){0};
    enum cli_exit code = cli_replicas_find(arguments, &cluster_out->replicas);
    for (size_t i = 0; code == CLI_OK && i < cluster_out->replicas.n; i++) {
        const char *url = cluster_out->replicas.urls[i];
        if (bench_address_parse(url, &cluster_out->addresses[i]) != CC_OK) {
            code = cli_fail(CLI_REFUSED, "bench: %s is not an address that resolves", url);
        }
    }
    if (code == CLI_OK && !wait_until(cluster_out, PATIENCE_MS, has_leader, &cluster_out->leader)) {
        code = cli_fail(CLI_REFUSED, "bench: no replica says that it leads");
    }
    return code;
}

void bench_cluster_finish(struct bench_cluster *cluster)
{
    cli_replicas_finish(&cluster->replicas);
}

static const char *digest_path(bool weak)
{
    return weak ? "/_caucus/digest?table=bench_weak" : "/_caucus/digest?table=bench_strong";
}

static enum cli_exit migrate(struct bench_cluster *cluster)
{
    struct cc_buffer url = {0};
    cc_buffer_printf(&url, "%s/_caucus/migrations?name=%s", cluster->replicas.urls[cluster->leader],
                     bench_migration_name);
    struct http_request request = {.url = cc_buffer_text(&url),
                                   .method = "POST",
                                   .body = cc_slice_text(bench_migration_sql),
                                   .content_type = "application/sql",
                                   .timeout_ms = CALL_MS};
    struct http_response response = {0};
    for (uint64_t deadline_ns = deadline_in(PATIENCE_MS); before(deadline_ns); cli_sleep_ms(RETRY_MS)) {
        http_response_finish(&response);
        http_fetch(&request, &response, 1, NULL, NULL);
        if (response.status != 503 && response.status != 504) {
            break;
        }
    }
    bool there = response.status == 200 || response.status == 201;
    enum cli_exit code =
        there ? CLI_OK : cli_fail(CLI_REFUSED, "bench: cannot make the tables: %s", http_response_problem(&response));
    http_response_finish(&response);
    cc_buffer_finish(&url);
    return code;
}

static void put_upsert(struct cc_buffer *out, const struct bench_address *address,
                       const struct bench_workload *workload, bool weak, uint64_t from, uint64_t to)
{
    struct cc_buffer body = {0};
    for (uint64_t i = from; i < to; i++) {
        cc_buffer_append_text(&body, i == from ? "[" : ",");
        bench_row_put_json(&body, bench_key_at(i), 0, workload->value_bytes);
    }
    cc_buffer_append_text(&body, "]");
    cc_buffer_clear(out);
    cc_buffer_printf(out,
                     "POST /%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                     "Prefer: resolution=merge-duplicates\r\nContent-Length: %zu\r\n\r\n",
                     bench_table_name(weak), address->text, body.n);
    cc_buffer_append_slice(out, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

// An upsert may be sent again whatever became of it.
static enum cli_exit send_upsert(struct bench_call *call, struct cc_slice request)
{
    struct bench_http_answer answer = {0};
    enum cc_status status = CC_OK;
    for (unsigned i = 0; i < PRELOAD_TRIES; i++) {
        status = bench_call_run(call, request, CALL_MS, &answer);
        if (status == CC_OK && answer.status < 300) {
            return CLI_OK;
        }
        if (status == CC_OK && answer.status < 500) {
            break;
        }
        cli_sleep_ms(RETRY_MS);
    }
    if (status != CC_OK) {
        return cli_fail(CLI_REFUSED, "bench: cannot write the first rows: %s", cc_status_text(status));
    }
    return cli_fail(CLI_REFUSED, "bench: cannot write the first rows: status %u: %.*s", answer.status,
                    (int)(answer.body.n < 500 ? answer.body.n : 500), (const char *)answer.body.data);
}

// Of the rows that are to be there before the load, those that a request writes.
static uint64_t rows_per_request(const struct bench_workload *workload)
{
    uint64_t step = PRELOAD_BYTES / (workload->value_bytes + 100);
    return step < 1 ? 1 : step > PRELOAD_ROWS ? PRELOAD_ROWS : step;
}

// Threads that write parts of the rows, each what comes next.
struct preload {
    const struct bench_address *address;
    const struct bench_workload *workload;
    bool weak;
    _Atomic uint64_t next;
    _Atomic enum cli_exit code;
};

static void *preload_some(void *context)
{
    struct preload *preload = context;
    const struct bench_workload *workload = preload->workload;
    uint64_t step = rows_per_request(workload);
    struct bench_call call;
    struct cc_buffer request = {0};
    bench_call_init(&call, preload->address);
    for (uint64_t at = preload->next; at < workload->n_rows && preload->code == CLI_OK;) {
        at = atomic_fetch_add(&preload->next, step);
        uint64_t to = at + step < workload->n_rows ? at + step : workload->n_rows;
        if (at < to) {
            put_upsert(&request, preload->address, workload, preload->weak, at, to);
            enum cli_exit code = send_upsert(&call, cc_buffer_slice(&request));
            if (code != CLI_OK) {
                preload->code = code;
            }
        }
    }
    cc_buffer_finish(&request);
    bench_call_finish(&call);
    return NULL;
}

static bool is_there(struct bench_call *call, const struct bench_workload *workload, bool weak, uint64_t position)
{
    struct bench_key key = bench_key_at(position);
    struct cc_buffer request = {0};
    struct bench_http_answer answer = {0};
    cc_buffer_printf(&request, "GET /%s?id=eq.", bench_table_name(weak));
    bench_key_put(&request, key);
    cc_buffer_printf(&request, " HTTP/1.1\r\nHost: %s\r\n\r\n", call->address.text);
    bool there = bench_call_run(call, cc_buffer_slice(&request), CALL_MS, &answer) == CC_OK && answer.status == 200 &&
                 bench_workload_is_row(workload, key, answer.body);
    cc_buffer_finish(&request);
    return there;
}

// The last of the rows before that one that is not there, looking so far back as threads that failed may have left a gap; else that one.
static uint64_t last_gap(struct bench_call *call, const struct bench_workload *workload, bool weak, uint64_t before)
{
    uint64_t step = rows_per_request(workload), half = step / 2 + step % 2, found = before;
    for (uint64_t back = half; back <= before && back <= (PRELOAD_THREADS + 1) * step; back += half) {
        found = is_there(call, workload, weak, before - back) ? found : before - back;
    }
    return found == before ? before : found < step ? 0 : found - step;
}

// Rows that an earlier run has written need not be written again. They were written in order, but for what threads do at the same time.
static uint64_t first_missing(const struct bench_address *address, const struct bench_workload *workload, bool weak)
{
    struct bench_call call;
    uint64_t from = 0, to = workload->n_rows;
    bench_call_init(&call, address);
    while (from < to) {
        uint64_t middle = from + (to - from) / 2;
        if (is_there(&call, workload, weak, middle)) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    from = last_gap(&call, workload, weak, from);
    bench_call_finish(&call);
    return from;
}

static enum cli_exit preload(struct bench_cluster *cluster, const struct bench_workload *workload, bool weak)
{
    struct preload preload = {.address = &cluster->addresses[cluster->leader], .workload = workload, .weak = weak, .code = CLI_OK};
    pthread_t threads[PRELOAD_THREADS];
    size_t n = 0;
    preload.next = first_missing(preload.address, workload, weak);
    while (n < PRELOAD_THREADS && pthread_create(&threads[n], NULL, preload_some, &preload) == 0) {
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
    }
    return n == 0 ? cli_fail(CLI_IO, "bench: cannot start a thread") : preload.code;
}

static bool lists(const json_t *tables, const char *name)
{
    bool found = false;
    for (size_t i = 0; i < json_array_size(tables); i++) {
        const char *listed = json_string_value(json_object_get(json_array_get(tables, i), "name"));
        found = found || (listed != NULL && strcmp(listed, name) == 0);
    }
    return found;
}

// Every replica must know both tables: one that has not heard of the migration yet would answer 404.
static bool has_tables(const struct bench_cluster *cluster)
{
    struct http_response responses[CC_REPLICAS_MAX];
    bool known = true;
    cli_replicas_get(&cluster->replicas, "/_caucus/tables", CALL_MS, responses);
    for (size_t i = 0; i < cluster->replicas.n; i++) {
        json_t *tables = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        known = known && lists(tables, "bench_strong") && lists(tables, "bench_weak");
        json_decref(tables);
        http_response_finish(&responses[i]);
    }
    return known;
}

static enum cli_exit wait_for_tables(const struct bench_cluster *cluster)
{
    for (uint64_t deadline_ns = deadline_in(PATIENCE_MS); before(deadline_ns); cli_sleep_ms(POLL_MS)) {
        if (has_tables(cluster)) {
            return CLI_OK;
        }
    }
    return cli_fail(CLI_REFUSED, "bench: the tables do not appear at every replica");
}

enum cli_exit bench_cluster_prepare(struct bench_cluster *cluster, const struct bench_workload *workload)
{
    enum cli_exit code = migrate(cluster);
    code = code == CLI_OK ? wait_for_tables(cluster) : code;
    for (unsigned weak = 0; weak < 2; weak++) {
        if (code == CLI_OK && bench_workload_needs_rows(workload, weak == 1)) {
            code = preload(cluster, workload, weak == 1);
        }
    }
    return code;
}

enum cli_exit bench_cluster_settle(const struct bench_cluster *cluster, uint32_t patience_ms, double *ms_out)
{
    uint64_t begin_ns = bench_now_ns();
    if (!wait_until(cluster, patience_ms, is_settled, NULL)) {
        return cli_fail(CLI_REFUSED, "bench: the replicas did not come to the same point within %u ms", patience_ms);
    }
    *ms_out = (double)(bench_now_ns() - begin_ns) / 1e6;
    return CLI_OK;
}

enum cli_exit bench_cluster_count(const struct bench_cluster *cluster, bool weak, struct bench_counts *counts_out)
{
    struct http_response responses[CC_REPLICAS_MAX];
    json_t *first = NULL;
    enum cli_exit code = CLI_OK;
    cli_replicas_get(&cluster->replicas, digest_path(weak), COUNT_MS, responses);
    *counts_out = (struct bench_counts){.equal = true};
    for (size_t i = 0; i < cluster->replicas.n; i++) {
        json_t *digest = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        if (digest == NULL && code == CLI_OK) {
            code = cli_fail(CLI_REFUSED, "bench: digest of %s: %s", cluster->replicas.urls[i],
                            http_response_problem(&responses[i]));
        }
        first = i == 0 ? json_incref(digest) : first;
        counts_out->rows[i] = number(digest, "rows");
        counts_out->equal =
            counts_out->equal && json_equal(json_object_get(first, "digest"), json_object_get(digest, "digest")) == 1;
        json_decref(digest);
        http_response_finish(&responses[i]);
    }
    json_decref(first);
    return code;
}
