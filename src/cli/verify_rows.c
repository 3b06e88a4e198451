// Rows that differ between replicas: found by buckets, then by rows; repaired by the replicas themselves.
#include "cli/verify_rows.h"

#include "cli/http_client.h"
#include "cli/monotonic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ASK_MS = 120 * 1000, POLL_MS = 100, ROUNDS_MAX = 4, BUCKETS_MAX = 64, HISTORY_MS = 5000 };

// -- Finding ---------------------------------------------------------------------------------------------------------

// The member `name` of the answers to one question at one point; NULL where there is none. True when all have answered.
static bool ask_all(const struct cli_replicas *replicas, const struct cli_point_options *options, const char *path, const char *name, json_t **answers_out)
{
    char why[600];
    json_t *answers[CC_REPLICAS_MAX] = {0};
    bool all = cli_ask_at_one_point(replicas, path, options, NULL, NULL, answers, why, sizeof(why)) == CLI_POINT_SAME;
    for (size_t i = 0; i < replicas->n; i++) {
        answers_out[i] = json_incref(json_object_get(answers[i], name));
        all = all && answers_out[i] != NULL;
        json_decref(answers[i]);
    }
    return all;
}

static void forget_all(const struct cli_replicas *replicas, json_t **answers)
{
    for (size_t i = 0; i < replicas->n; i++) {
        json_decref(answers[i]);
    }
}

static void put_path(struct cc_buffer *path, const char *table, const char *more)
{
    cc_buffer_append_text(path, "/_caucus/digest?table=");
    http_put_encoded(path, table);
    cc_buffer_append_text(path, more);
}

// "1,5,9": buckets whose sums are not the same everywhere.
static size_t differing_buckets(const struct cli_replicas *replicas, json_t *const *sums, struct cc_buffer *list)
{
    json_t *all = json_object();
    for (size_t i = 0; i < replicas->n; i++) {
        json_object_update(all, sums[i]);
    }
    size_t n = 0;
    const char *bucket;
    json_t *unused;
    json_object_foreach(all, bucket, unused)
    {
        bool same = true;
        for (size_t i = 1; i < replicas->n; i++) {
            const json_t *a = json_object_get(sums[0], bucket), *b = json_object_get(sums[i], bucket);
            same = same && (a == b || (a != NULL && b != NULL && json_equal(a, b)));
        }
        if (!same && n < BUCKETS_MAX) {
            cc_buffer_printf(list, "%s%s", n++ == 0 ? "" : ",", bucket);
        }
    }
    json_decref(all);
    return n;
}

static json_t *new_row(const struct cli_replicas *replicas, json_t *key)
{
    json_t *digests = json_object();
    for (size_t i = 0; i < replicas->n; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", replicas->ids[i]);
        json_object_set_new(digests, id, json_null());
    }
    return json_pack("{s:O, s:o}", "key", key, "replicas", digests);
}

// {key as text: {"key": [..], "replicas": {id: digest, or null where it is missing}}}
static json_t *rows_by_key(const struct cli_replicas *replicas, json_t *const *rows)
{
    json_t *by_key = json_object();
    for (size_t i = 0; i < replicas->n; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%u", replicas->ids[i]);
        for (size_t r = 0; r < json_array_size(rows[i]); r++) {
            json_t *key = json_array_get(json_array_get(rows[i], r), 0);
            char *text = json_dumps(key, JSON_COMPACT);
            if (json_object_get(by_key, text) == NULL) {
                json_object_set_new(by_key, text, new_row(replicas, key));
            }
            json_object_set(json_object_get(json_object_get(by_key, text), "replicas"), id, json_array_get(json_array_get(rows[i], r), 1));
            free(text);
        }
    }
    return by_key;
}

static bool is_same_everywhere(const json_t *row)
{
    const json_t *first = NULL;
    bool same = true;
    const char *id;
    json_t *digest;
    json_object_foreach(json_object_get(row, "replicas"), id, digest)
    {
        same = same && (first == NULL || json_equal(first, digest));
        first = digest;
    }
    return same;
}

// The newest entry of a weak row's history, from the first replica that has one.
static void add_history(const struct cli_replicas *replicas, const char *table, json_t *row)
{
    struct cc_buffer path = {0};
    cc_buffer_append_text(&path, "/_caucus/history?limit=1&table=");
    http_put_encoded(&path, table);
    for (size_t i = 0; i < json_array_size(json_object_get(row, "key")); i++) {
        cc_buffer_append_text(&path, "&key=");
        http_put_encoded(&path, json_string_value(json_array_get(json_object_get(row, "key"), i)));
    }
    struct http_response responses[CC_REPLICAS_MAX];
    cli_replicas_get(replicas, cc_buffer_text(&path), HISTORY_MS, responses);
    for (size_t i = 0; i < replicas->n; i++) {
        json_t *json = responses[i].status == 200 ? http_response_json(&responses[i]) : NULL;
        json_t *entry = json_array_get(json_object_get(json, "entries"), 0);
        if (entry != NULL && json_object_get(row, "written") == NULL) {
            json_object_set(row, "written", entry);
        }
        json_decref(json);
        http_response_finish(&responses[i]);
    }
    cc_buffer_finish(&path);
}

static json_t *differing_rows(const struct cli_replicas *replicas, const char *table, bool weak, json_t *const *answers, size_t n_max)
{
    json_t *by_key = rows_by_key(replicas, answers), *list = json_array();
    const char *key;
    json_t *row;
    json_object_foreach(by_key, key, row)
    {
        if (json_array_size(list) < n_max && !is_same_everywhere(row)) {
            if (weak) {
                add_history(replicas, table, row);
            }
            json_array_append(list, row);
        }
    }
    json_decref(by_key);
    return list;
}

json_t *verify_rows_find(const struct cli_replicas *replicas, const struct cli_point_options *options, const char *table, bool weak, size_t n_max)
{
    json_t *answers[CC_REPLICAS_MAX] = {0};
    struct cc_buffer path = {0}, list = {0};
    put_path(&path, table, "&buckets=true");
    bool known = ask_all(replicas, options, cc_buffer_text(&path), "buckets", answers);
    size_t n = known ? differing_buckets(replicas, answers, &list) : 0;
    forget_all(replicas, answers);
    json_t *rows = known ? json_array() : NULL;
    if (n > 0) {
        cc_buffer_clear(&path);
        put_path(&path, table, "&rows=");
        cc_buffer_append_slice(&path, cc_buffer_slice(&list));
        json_decref(rows);
        rows = ask_all(replicas, options, cc_buffer_text(&path), "rows", answers) ? differing_rows(replicas, table, weak, answers, n_max) : NULL;
        forget_all(replicas, answers);
    }
    cc_buffer_finish(&path);
    cc_buffer_finish(&list);
    return rows;
}

// -- Printing --------------------------------------------------------------------------------------------------------

static void print_row(const json_t *row)
{
    char *key = json_dumps(json_object_get(row, "key"), JSON_COMPACT);
    (void)printf("    %s:", key);
    free(key);
    const char *id;
    json_t *digest;
    json_object_foreach(json_object_get(row, "replicas"), id, digest)
    {
        (void)printf(" %s=%s", id, json_is_null(digest) ? "missing" : json_string_value(digest));
    }
    const json_t *written = json_object_get(row, "written");
    if (written != NULL) {
        const char *column = json_string_value(json_object_get(written, "column"));
        (void)printf("; last written by replica %lld at %s (%s%s%s)", (long long)json_integer_value(json_object_get(written, "replica")),
                     json_string_value(json_object_get(written, "time")), json_string_value(json_object_get(written, "operation")),
                     column == NULL ? "" : " of ", column == NULL ? "" : column);
    }
    (void)puts("");
}

void verify_rows_print(const json_t *rows)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        print_row(json_array_get(rows, i));
    }
}

// -- Repair ----------------------------------------------------------------------------------------------------------

static json_t *ask_one(const struct cli_replicas *replicas, size_t i, const char *path, const char *method)
{
    struct cc_buffer whole = {0};
    cc_buffer_printf(&whole, "%s%s", replicas->urls[i], path);
    struct http_request request = {.url = cc_buffer_text(&whole), .method = method, .timeout_ms = ASK_MS};
    struct http_response response;
    http_fetch(&request, &response, 1, NULL, NULL);
    json_t *json = response.status == 200 || response.status == 202 ? http_response_json(&response) : NULL;
    if (json == NULL) {
        (void)cli_fail(CLI_REFUSED, "replica %u (%s): %s", replicas->ids[i], replicas->urls[i], http_response_problem(&response));
    }
    http_response_finish(&response);
    cc_buffer_finish(&whole);
    return json;
}

static void show_progress(uint32_t id, const json_t *repair)
{
    const char *table = json_string_value(json_object_get(repair, "table"));
    if (isatty(STDERR_FILENO) && table != NULL) {
        (void)fprintf(stderr, "\r\033[Kreplica %u with %lld: %s %lld %%", id, (long long)json_integer_value(json_object_get(repair, "member")), table,
                      (long long)json_integer_value(json_object_get(repair, "table_percent")));
        (void)fflush(stderr);
    }
}

// What follows the answer to the first question; NULL with a message: no answer.
static json_t *ask_for_progress(const struct cli_replicas *replicas, size_t i)
{
    cli_sleep_ms(POLL_MS);
    json_t *status = ask_one(replicas, i, "/_caucus/status", NULL);
    json_t *repair = json_incref(json_object_get(status, "repair"));
    if (repair != NULL) {
        json_object_set(repair, "replicas", json_object_get(status, "replicas"));
        show_progress(replicas->ids[i], repair);
    }
    json_decref(status);
    return repair;
}

static bool is_reachable(const json_t *repair, json_int_t member)
{
    size_t i;
    json_t *replica;
    json_array_foreach(json_object_get(repair, "replicas"), i, replica)
    {
        if (json_integer_value(json_object_get(replica, "id")) == member) {
            return json_is_true(json_object_get(replica, "reachable"));
        }
    }
    return false;
}

// Whether it is worth waiting: it compares, or will do so with members that it can reach and that could not answer.
static bool goes_on(const json_t *repair, json_int_t first_round)
{
    size_t i;
    json_t *member;
    bool reachable = json_object_get(repair, "replicas") == NULL;
    json_array_foreach(json_object_get(repair, "members_left"), i, member)
    {
        reachable = reachable || is_reachable(repair, json_integer_value(member));
    }
    bool left = json_array_size(json_object_get(repair, "members_left")) > 0;
    return json_is_true(json_object_get(repair, "running")) ||
           (left && reachable && json_integer_value(json_object_get(repair, "rounds")) < first_round + ROUNDS_MAX);
}

static bool tell_members_left(uint32_t id, const json_t *repair)
{
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(repair, "members_left"), i, member)
    {
        long long left = json_integer_value(member);
        (void)cli_fail(CLI_REFUSED, "replica %u has not been compared with replica %lld, which %s; replica %u does that by itself when it can: run this again then", id,
                       left, is_reachable(repair, left) ? "cannot answer now (its log says why)" : "it cannot reach", id);
    }
    return i == 0;
}

static bool repair_one(const struct cli_replicas *replicas, size_t i)
{
    json_t *repair = ask_one(replicas, i, "/_caucus/repair", "POST");
    json_int_t first_round = json_integer_value(json_object_get(repair, "rounds"));
    while (repair != NULL && goes_on(repair, first_round)) {
        json_decref(repair);
        repair = ask_for_progress(replicas, i);
    }
    if (isatty(STDERR_FILENO)) {
        (void)fprintf(stderr, "\r\033[K");
    }
    bool good = repair != NULL;
    if (good) {
        (void)fprintf(stderr, "replica %u: %lld rows compared with other replicas', %lld made equal\n", replicas->ids[i],
                      (long long)json_integer_value(json_object_get(repair, "rows_compared")),
                      (long long)json_integer_value(json_object_get(repair, "rows_repaired")));
        good = tell_members_left(replicas->ids[i], repair);
    }
    json_decref(repair);
    return good;
}

bool verify_rows_repair(const struct cli_replicas *replicas)
{
    bool good = true;
    for (size_t i = 0; i < replicas->n; i++) {
        good = repair_one(replicas, i) && good;
    }
    return good;
}
