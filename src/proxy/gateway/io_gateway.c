// Gateway: threads, exchanges, and the traffic between them and the core.
#include "proxy/gateway/io_gateway_internal.h"

#include "base/memory.h"
#include "rest/cors.h"
#include "rest/error.h"
#include "rest/reply.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { NUMBER_BITS = 48, SUBMISSION_BYTES = 512, TIMER_MS = 100, LONG_READ_MS = 30 * 60 * 1000, IDLE_MAX = 64 };

static const unsigned exchange_next[EXCHANGE_STATES] = {
    [EXCHANGE_PLAN] = 1u << EXCHANGE_BARRIER | 1u << EXCHANGE_ASK_INDEX | 1u << EXCHANGE_QUERY | 1u << EXCHANGE_CORE | 1u << EXCHANGE_STATUS |
                      1u << EXCHANGE_CATALOG | 1u << EXCHANGE_PAUSED,
    [EXCHANGE_BARRIER] = 1u << EXCHANGE_CATALOG | 1u << EXCHANGE_PLAN,
    [EXCHANGE_CATALOG] = 1u << EXCHANGE_PLAN,
    [EXCHANGE_ASK_INDEX] = 1u << EXCHANGE_QUERY | 1u << EXCHANGE_CATALOG | 1u << EXCHANGE_CORE | 1u << EXCHANGE_PAUSED,
    [EXCHANGE_QUERY] = 1u << EXCHANGE_ASK_INDEX | 1u << EXCHANGE_QUERY | 1u << EXCHANGE_PLAN,
    [EXCHANGE_PAUSED] = 1u << EXCHANGE_CORE,
    [EXCHANGE_CORE] = 1u << EXCHANGE_CATALOG,
    [EXCHANGE_STATUS] = 0,
};

uint64_t gateway_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

// Where exchanges of its state wait for something of this thread; NULL: nowhere.
static struct exchange **list_of(struct exchange *exchange)
{
    return exchange->state == EXCHANGE_CATALOG ? &exchange->worker->waiting : exchange->state == EXCHANGE_PAUSED ? &exchange->worker->paused : NULL;
}

static void leave_list(struct exchange *exchange)
{
    struct exchange **list = list_of(exchange);
    if (list != NULL) {
        DL_DELETE(*list, exchange);
    }
}

void exchange_move(struct exchange *exchange, enum exchange_state state)
{
    assert(exchange_next[exchange->state] & 1u << state);
    leave_list(exchange);
    exchange->state = state;
    struct exchange **list = list_of(exchange);
    if (list != NULL) {
        DL_APPEND(*list, exchange);
    }
}

static uint32_t left_ms(const struct exchange *exchange)
{
    uint64_t now = gateway_now_us();
    return now + 1000 >= exchange->deadline_us ? 1 : (uint32_t)((exchange->deadline_us - now) / 1000);
}

// -- Life of an exchange ---------------------------------------------------------------------------------------------

static struct cc_slice keep(struct exchange *exchange, struct cc_slice slice)
{
    return cc_arena_slice(&exchange->arena, slice);
}

static void copy_request(struct exchange *exchange, const struct http_request *request)
{
    struct rest_header *headers = cc_arena_array(&exchange->arena, request->n_headers, sizeof(*headers));
    for (size_t i = 0; i < request->n_headers; i++) {
        headers[i] = (struct rest_header){keep(exchange, request->headers[i].name), keep(exchange, request->headers[i].value)};
    }
    // Where supabase-js looks for PostgREST.
    struct cc_slice path = request->path, prefix = cc_slice_text("/rest/v1/");
    if (path.n >= prefix.n && memcmp(path.data, prefix.data, prefix.n) == 0) {
        path = cc_slice_of(path.data + prefix.n - 1, path.n - prefix.n + 1);
    }
    exchange->request = (struct rest_request){
        .method = keep(exchange, request->method_text),
        .path = keep(exchange, path),
        .query = keep(exchange, request->query),
        .n_headers = (uint32_t)request->n_headers,
        .headers = headers,
        .body = keep(exchange, request->body),
        .options = exchange->worker->gateway->rest,
    };
}

static struct exchange *take_idle(struct worker *worker)
{
    struct exchange *exchange = worker->idle;
    if (exchange == NULL) {
        return cc_alloc(sizeof(*exchange));
    }
    worker->idle = exchange->next;
    worker->n_idle--;
    exchange->next = NULL;
    return exchange;
}

// Zeroed at once, so that whoever still held it would notice.
static void give_idle(struct worker *worker, struct exchange *exchange)
{
    struct cc_arena arena = exchange->arena;
    cc_arena_clear(&arena);
    *exchange = (struct exchange){.arena = arena, .next = worker->idle};
    worker->idle = exchange;
    worker->n_idle++;
}

static struct exchange *exchange_create(struct worker *worker, uint64_t token, const struct http_request *request)
{
    struct exchange *exchange = take_idle(worker);
    exchange->number = (uint64_t)http_worker_index(worker->http) << NUMBER_BITS | ++worker->next_number;
    exchange->token = token;
    exchange->worker = worker;
    exchange->deadline_us = gateway_now_us() + worker->gateway->options.config->timeouts.request_ms * 1000ull;
    copy_request(exchange, request);
    exchange->snapshot = io_catalog_acquire(worker->gateway->options.catalog);
    HASH_ADD(hh, worker->exchanges, number, sizeof(exchange->number), exchange);
    return exchange;
}

static void exchange_free(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    leave_list(exchange);
    HASH_DEL(worker->exchanges, exchange);
    catalog_snapshot_release(exchange->snapshot);
    cc_buffer_finish(&exchange->submission);
    if (worker->n_idle < IDLE_MAX) {
        give_idle(worker, exchange);
        return;
    }
    cc_arena_finish(&exchange->arena);
    free(exchange);
}

void exchange_reply(struct exchange *exchange, const struct rest_reply *reply)
{
    struct rest_reply whole = *reply;
    if (exchange_is_for_pages(exchange) && !rest_cors_is_preflight(&exchange->request)) {
        rest_cors_add(&exchange->request, exchange->worker->gateway->options.config->rest.cors_origins, &exchange->arena, &whole);
    }
    struct http_response response = {.status = (unsigned)whole.status,
                                     .headers = whole.headers,
                                     .n_headers = whole.n_headers,
                                     .body = whole.body};
    http_worker_reply(exchange->worker->http, exchange->token, &response);
    exchange_free(exchange);
}

void exchange_reply_json(struct exchange *exchange, int status, struct cc_slice body)
{
    struct rest_header headers[2] = {{cc_slice_text("Content-Type"), cc_slice_text("application/json; charset=utf-8")},
                                     {cc_slice_text("Retry-After"), cc_slice_text("1")}};
    struct rest_reply reply = {.status = status, .n_headers = status == 503 ? 2 : 1, .headers = headers, .body = body};
    exchange_reply(exchange, &reply);
}

static void reply_error(struct exchange *exchange, int status, const struct rest_error *error)
{
    struct cc_buffer body = {0};
    rest_error_put_body(&body, error);
    exchange_reply_json(exchange, status, cc_buffer_slice(&body));
    cc_buffer_finish(&body);
}

void exchange_fail(struct exchange *exchange, int status, const char *code, const char *message, const char *hint)
{
    struct rest_error error = {.code = cc_slice_text(code), .message = cc_slice_text(message), .hint = cc_slice_text(hint)};
    reply_error(exchange, status, &error);
}

void exchange_fail_outcome(struct exchange *exchange, const struct rest_outcome *outcome)
{
    struct rest_error error = {.code = outcome->code, .message = outcome->message, .details = outcome->details, .hint = outcome->hint};
    int status = rest_error_status(outcome->code, outcome->message, false);
    if (outcome->kind == REST_UNKNOWN) {
        status = 504;
    } else if (outcome->kind == REST_REFUSED) {
        status = outcome->status == CC_REFUSED ? 412 : 503; // a session that cannot be; else try again
    }
    reply_error(exchange, status, &error);
}

void exchange_fail_rows(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    if (rows->status == CC_REFUSED) {
        struct rest_error error = {.code = rows->code, .message = rows->message, .details = rows->details, .hint = rows->hint};
        reply_error(exchange, rest_error_status(rows->code, rows->message, exchange->request.identity.anonymous), &error);
    } else if (rows->status == CC_TIMEOUT) {
        exchange_fail(exchange, 504, "CC211", "The read did not finish in time", "Read fewer rows, or add an index");
    } else {
        exchange_fail(exchange, 503, "CC212", "This replica's database cannot be reached", "Try again, or use another replica");
    }
}

// -- To the core -----------------------------------------------------------------------------------------------------

void exchange_ask_core(struct exchange *exchange, enum inbox_kind kind, uint64_t index, struct cc_buffer *bytes)
{
    struct inbox_message message = {.kind = kind, .token = exchange->number, .index = index, .timeout_ms = left_ms(exchange)};
    if (bytes != NULL) {
        message.bytes = *bytes;
        *bytes = (struct cc_buffer){0};
    }
    if (!io_inbox_put(exchange->worker->gateway->options.inbox, &message)) {
        cc_buffer_finish(&message.bytes);
        exchange_fail(exchange, 503, "CC202", "Too many requests are waiting: nothing was executed", "Try again later or at a lower rate");
    }
}

static void send_submission(struct exchange *exchange)
{
    exchange_move(exchange, EXCHANGE_CORE);
    exchange_ask_core(exchange, INBOX_SUBMIT, 0, &exchange->submission);
}

static void wake_when_over(struct worker *worker)
{
    uint64_t now = gateway_now_us(), until = worker->gateway->paused_until_us;
    uint64_t left = until > now ? until - now : 0;
    struct timeval wait = {.tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000)};
    event_add(worker->go_on, &wait);
}

static void on_pause_over(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct worker *worker = context;
    if (worker->gateway->paused_until_us > gateway_now_us()) { // it was made longer
        wake_when_over(worker);
        return;
    }
    struct exchange *exchange, *next;
    DL_FOREACH_SAFE(worker->paused, exchange, next)
    {
        send_submission(exchange);
    }
}

void exchange_submit(struct exchange *exchange, struct operation *operation)
{
    uint64_t seed = exchange->worker->gateway->id_seed, number = exchange->number << 4 | (exchange->n_plans & 15);
    memcpy(operation->id, &seed, sizeof(seed));
    memcpy(operation->id + sizeof(seed), &number, sizeof(number));
    operation->timeout_ms = left_ms(exchange);
    cc_buffer_reserve(&exchange->submission, SUBMISSION_BYTES); // mostly enough
    operation_put(&exchange->submission, operation);
    if (exchange->worker->gateway->paused_until_us > gateway_now_us()) {
        exchange_move(exchange, EXCHANGE_PAUSED);
        wake_when_over(exchange->worker);
        return;
    }
    send_submission(exchange);
}

void exchange_make_current(struct exchange *exchange)
{
    exchange_move(exchange, EXCHANGE_BARRIER);
    exchange_ask_core(exchange, INBOX_READ, 0, NULL);
}

// -- To PostgreSQL ---------------------------------------------------------------------------------------------------

static void on_rows(void *context, const struct io_postgres_read_result *rows)
{
    struct exchange *exchange = context;
    exchange->on_rows(exchange, rows);
}

static void query(struct exchange *exchange, struct io_postgres_read *pool, const struct rest_statement *statement)
{
    exchange_move(exchange, EXCHANGE_QUERY);
    exchange->n_queries++;
    if (io_postgres_read_query(pool, statement, left_ms(exchange), on_rows, exchange) != CC_OK) {
        exchange_fail(exchange, 503, "CC202", "Too many reads are waiting", "Try again later or at a lower rate");
    }
}

void exchange_query(struct exchange *exchange, const struct rest_statement *statement)
{
    query(exchange, exchange->worker->reads, statement);
}

static struct io_postgres_read *open_reads(struct worker *worker, uint32_t n_connections, const char *user, uint32_t statement_ms)
{
    const struct config *config = worker->gateway->options.config;
    struct io_postgres_read_options options = {.base = http_worker_event_base(worker->http),
                                               .conninfo = worker->gateway->options.conninfo,
                                               .user = user,
                                               .n_connections = n_connections,
                                               .statement_timeout_ms = statement_ms,
                                               .search_path = config->postgres.search_path};
    return io_postgres_read_create(&options);
}

bool exchange_waits_for_own(struct exchange *exchange)
{
    if (exchange->own_asked || !exchange->worker->gateway->has_unread) {
        return false;
    }
    exchange->own_asked = true;
    if (exchange->state != EXCHANGE_ASK_INDEX) {
        exchange_move(exchange, EXCHANGE_ASK_INDEX);
    }
    exchange_ask_core(exchange, INBOX_READ_OWN, 0, NULL);
    return true;
}

static void query_as_owner(struct exchange *exchange)
{
    struct worker *worker = exchange->worker;
    exchange->is_owners = true;
    if (exchange_waits_for_own(exchange)) {
        return;
    }
    exchange->is_owners = false;
    struct io_postgres_read **pool = exchange->is_long ? &worker->long_reads : &worker->owner_reads;
    if (*pool == NULL) {
        *pool = open_reads(worker, 1, NULL, exchange->is_long ? LONG_READ_MS : worker->gateway->options.config->timeouts.statement_ms);
    }
    query(exchange, *pool, &exchange->statement);
}

void exchange_query_as_owner(struct exchange *exchange)
{
    exchange->is_long = false;
    query_as_owner(exchange);
}

void exchange_query_for_long(struct exchange *exchange)
{
    exchange->is_long = true;
    exchange->deadline_us = gateway_now_us() + LONG_READ_MS * 1000ull;
    query_as_owner(exchange);
}

// -- Requests and answers, on the worker's thread --------------------------------------------------------------------

static bool is_for_members(const struct exchange *exchange)
{
    struct cc_slice path = exchange->request.path;
    return !operator_owns(path) || operator_access(path) == ACCESS_CLIENT;
}

// With the snapshot that it holds; again when it holds a newer one.
static void begin(struct exchange *exchange)
{
    if (rest_cors_is_preflight(&exchange->request) && exchange_is_for_pages(exchange)) {
        const char *origins = exchange->worker->gateway->options.config->rest.cors_origins;
        struct rest_reply reply;
        rest_cors_preflight(&exchange->request, origins, &exchange->arena, &reply);
        exchange_reply(exchange, &reply);
    } else if (is_for_members(exchange) && !exchange->worker->gateway->is_member) {
        exchange_fail(exchange, 503, "CC220", "This replica is not a member of the cluster", "Use another replica");
    } else if (operator_owns(exchange->request.path)) {
        operator_begin(exchange);
    } else if (exchange->snapshot == NULL) {
        exchange_fail(exchange, 503, "CC213", "This replica has not read its catalog yet", "Try again in a moment, or use another replica");
    } else {
        rows_begin(exchange);
    }
}

static void handle(void *context, struct http_worker *http, uint64_t token, const struct http_request *request)
{
    (void)context;
    struct worker *worker = http_worker_state(http);
    struct exchange *exchange = exchange_create(worker, token, request);
    if (exchange_identify(exchange)) {
        begin(exchange);
    }
}

static struct exchange *find(struct worker *worker, uint64_t number)
{
    struct exchange *exchange;
    HASH_FIND(hh, worker->exchanges, &number, sizeof(number), exchange);
    return exchange;
}

struct answers { // copied for one worker
    size_t n;
    struct node_answer *at;
    struct cc_arena arena;
};

static void wait_for_catalog(struct exchange *exchange, uint32_t version)
{
    exchange->catalog_wanted = version;
    exchange_move(exchange, EXCHANGE_CATALOG);
}

// Plans again if the newest catalog is new enough.
static void try_catalog(struct exchange *exchange)
{
    struct catalog_snapshot *snapshot = io_catalog_acquire(exchange->worker->gateway->options.catalog);
    if (snapshot == NULL || snapshot->catalog->version < exchange->catalog_wanted) {
        catalog_snapshot_release(snapshot);
        return;
    }
    catalog_snapshot_release(exchange->snapshot);
    exchange->snapshot = snapshot;
    exchange_move(exchange, EXCHANGE_PLAN);
    history_begin_again(exchange);
    begin(exchange);
}

static void take_read(struct exchange *exchange, const struct node_answer *answer)
{
    if (exchange->is_owners) {
        query_as_owner(exchange);
        return;
    }
    if (exchange->state == EXCHANGE_BARRIER || answer->schema_version > exchange->snapshot->catalog->version) {
        exchange->barrier_passed = true;
        wait_for_catalog(exchange, answer->schema_version);
        try_catalog(exchange);
        return;
    }
    rows_core_read(exchange, answer);
}

static void take_outcome(struct exchange *exchange, const struct node_answer *answer)
{
    struct rest_outcome outcome;
    if (rest_outcome_read(answer->outcome, &outcome) != CC_OK) {
        exchange_fail(exchange, 500, "CC214", "The stored outcome cannot be read", "Report this as a bug");
        return;
    }
    bool stale = outcome.kind == REST_REFUSED && outcome.status == CC_STALE && exchange->state == EXCHANGE_CORE;
    if (stale && exchange->n_plans < 8 && exchange->on_outcome == NULL) {
        wait_for_catalog(exchange, (uint32_t)outcome.n_rows);
        try_catalog(exchange);
        return;
    }
    if (exchange->is_owners) {
        exchange_fail_outcome(exchange, &outcome);
        return;
    }
    if (exchange->state == EXCHANGE_BARRIER) { // nobody to ask: the name may exist where the schema is newer
        exchange_fail_outcome(exchange, &outcome);
        return;
    }
    if (exchange->on_outcome != NULL) {
        exchange->on_outcome(exchange, &outcome, answer->index);
        return;
    }
    rows_core_outcome(exchange, &outcome, answer);
}

static void take_answers(void *context, struct http_worker *http)
{
    struct answers *answers = context;
    struct worker *worker = http_worker_state(http);
    for (size_t i = 0; i < answers->n; i++) {
        const struct node_answer *answer = &answers->at[i];
        struct exchange *exchange = find(worker, answer->token);
        if (exchange == NULL) {
            continue;
        }
        switch (answer->kind) {
        case NODE_ANSWER_READ:
            take_read(exchange, answer);
            break;
        case NODE_ANSWER_OUTCOME:
            take_outcome(exchange, answer);
            break;
        }
    }
    cc_arena_finish(&answers->arena);
    free(answers);
}

static void try_waiting(struct worker *worker)
{
    struct exchange *exchange, *next;
    DL_FOREACH_SAFE(worker->waiting, exchange, next)
    {
        try_catalog(exchange);
    }
}

static void take_catalog(void *context, struct http_worker *http)
{
    (void)context;
    try_waiting(http_worker_state(http));
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct worker *worker = context;
    struct exchange *exchange, *next;
    try_waiting(worker);
    DL_FOREACH_SAFE(worker->waiting, exchange, next)
    {
        if (gateway_now_us() >= exchange->deadline_us) {
            exchange_fail(exchange, 503, "CC213", "This replica's catalog is not current: nothing was executed", "Try again, or use another replica");
        }
    }
}

static void take_pause(void *context, struct http_worker *http)
{
    (void)context;
    on_pause_over(-1, 0, http_worker_state(http));
}

void gateway_pause(struct io_gateway *gateway, uint64_t until_us)
{
    gateway->paused_until_us = until_us;
    for (uint32_t w = 0; w < gateway->n_workers; w++) {
        // A full queue is no loss: each worker's own timer ends its pause, at the time that was said before.
        (void)!http_worker_post(http_server_worker(gateway->server, w), take_pause, NULL);
    }
}

struct status_answer {
    uint64_t number;
    struct node_status status;
    struct status_shell shell;
};

static void take_status(void *context, struct http_worker *http)
{
    struct status_answer *answer = context;
    struct exchange *exchange = find(http_worker_state(http), answer->number);
    if (exchange != NULL) {
        exchange->on_status(exchange, &answer->status, &answer->shell);
    }
    free(answer);
}

// -- From the core thread --------------------------------------------------------------------------------------------

static uint32_t worker_of(uint64_t number)
{
    return (uint32_t)(number >> NUMBER_BITS);
}

void io_gateway_answers(struct io_gateway *gateway, const struct node_answer *answers, size_t n_answers)
{
    for (uint32_t w = 0; w < gateway->n_workers; w++) {
        size_t n = 0;
        for (size_t i = 0; i < n_answers; i++) {
            n += worker_of(answers[i].token) == w;
        }
        if (n == 0) {
            continue;
        }
        struct answers *mine = cc_alloc(sizeof(*mine));
        cc_arena_init(&mine->arena);
        mine->at = cc_arena_array(&mine->arena, n, sizeof(*mine->at));
        for (size_t i = 0; i < n_answers; i++) {
            if (worker_of(answers[i].token) == w) {
                mine->at[mine->n] = answers[i];
                mine->at[mine->n].frontier = cc_arena_slice(&mine->arena, answers[i].frontier);
                mine->at[mine->n++].outcome = cc_arena_slice(&mine->arena, answers[i].outcome);
            }
        }
        if (!http_worker_post(http_server_worker(gateway->server, w), take_answers, mine)) {
            cc_arena_finish(&mine->arena); // the thread has ended, its clients are gone
            free(mine);
        }
    }
}

void io_gateway_status(struct io_gateway *gateway, uint64_t token, const struct node_status *status, const struct status_shell *shell)
{
    struct status_answer *answer = cc_alloc(sizeof(*answer));
    *answer = (struct status_answer){token, *status, *shell};
    if (!http_worker_post(http_server_worker(gateway->server, worker_of(token)), take_status, answer)) {
        free(answer);
    }
}

void io_gateway_set_everywhere(struct io_gateway *gateway, const struct crdt_frontier *everywhere)
{
    pthread_mutex_lock(&gateway->lock);
    gateway->everywhere = *everywhere;
    pthread_mutex_unlock(&gateway->lock);
}

void gateway_shorten(struct io_gateway *gateway, struct session *session)
{
    if (!session_is_long(session, SESSION_TOKEN_BYTES_AIM)) {
        return;
    }
    pthread_mutex_lock(&gateway->lock);
    session_shorten(session, &gateway->everywhere, SESSION_TOKEN_BYTES_AIM);
    pthread_mutex_unlock(&gateway->lock);
}

void io_gateway_set_unread(struct io_gateway *gateway, bool has_unread)
{
    gateway->has_unread = has_unread;
}

void io_gateway_set_member(struct io_gateway *gateway, bool is_member)
{
    gateway->is_member = is_member;
}

struct json_answer {
    uint64_t number;
    unsigned status;
    struct cc_buffer body;
};

static void take_json(void *context, struct http_worker *http)
{
    struct json_answer *answer = context;
    struct exchange *exchange = find(http_worker_state(http), answer->number);
    if (exchange != NULL) {
        exchange_reply_json(exchange, (int)answer->status, cc_buffer_slice(&answer->body));
    }
    cc_buffer_finish(&answer->body);
    free(answer);
}

void io_gateway_json(struct io_gateway *gateway, uint64_t token, unsigned status, struct cc_buffer *body)
{
    struct json_answer *answer = cc_alloc(sizeof(*answer));
    *answer = (struct json_answer){token, status, *body};
    *body = (struct cc_buffer){0};
    if (!http_worker_post(http_server_worker(gateway->server, worker_of(token)), take_json, answer)) {
        cc_buffer_finish(&answer->body);
        free(answer);
    }
}

void io_gateway_catalog(struct io_gateway *gateway, uint32_t version)
{
    (void)version;
    for (uint32_t w = 0; w < gateway->n_workers; w++) {
        // A full queue is no loss: the worker's timer looks, too.
        (void)!http_worker_post(http_server_worker(gateway->server, w), take_catalog, NULL);
    }
}

void io_gateway_counters(const struct io_gateway *gateway, struct status_shell *shell)
{
    struct http_counters counters = http_server_counters(gateway->server);
    shell->http_requests = counters.requests;
    memcpy(shell->http_answers_by_class, counters.answers_by_class, sizeof(shell->http_answers_by_class));
    for (size_t i = 0; i < HTTP_REFUSAL_COUNT; i++) {
        shell->http_refused += counters.refused[i];
    }
    shell->http_connections = counters.connections_open;
}

// -- Life of the gateway ---------------------------------------------------------------------------------------------

static void worker_began(void *context, struct http_worker *http)
{
    struct io_gateway *gateway = context;
    struct worker *worker = cc_alloc(sizeof(*worker));
    worker->gateway = gateway;
    worker->http = http;
    worker->reads = open_reads(worker, gateway->options.config->http.read_connections, gateway->options.login_role,
                               gateway->options.config->timeouts.statement_ms);
    worker->auth = io_auth_cache_create(gateway->options.auth);
    worker->timer = event_new(http_worker_event_base(http), -1, EV_PERSIST, on_timer, worker);
    struct timeval interval = {0, TIMER_MS * 1000};
    event_add(worker->timer, &interval);
    worker->go_on = event_new(http_worker_event_base(http), -1, 0, on_pause_over, worker);
    http_worker_set_state(http, worker);
}

static void worker_ends(void *context, struct http_worker *http)
{
    (void)context;
    struct worker *worker = http_worker_state(http);
    io_postgres_read_destroy(worker->reads);
    io_postgres_read_destroy(worker->owner_reads);
    io_postgres_read_destroy(worker->long_reads);
    io_auth_cache_destroy(worker->auth);
    event_free(worker->timer);
    event_free(worker->go_on);
    struct exchange *exchange, *next;
    for (exchange = worker->exchanges; exchange != NULL; exchange = next) {
        next = exchange->hh.next;
        exchange_free(exchange);
    }
    for (exchange = worker->idle; exchange != NULL; exchange = next) {
        next = exchange->next;
        cc_arena_finish(&exchange->arena);
        free(exchange);
    }
    free(worker);
}

static uint32_t default_threads(void)
{
    long n_cores = sysconf(_SC_NPROCESSORS_ONLN);
    return n_cores < 4 ? 1 : (uint32_t)n_cores / 2;
}

static void give_rest_options(struct io_gateway *gateway)
{
    const struct config *config = gateway->options.config;
    const struct config_settings *app = &config->rest.app_settings;
    struct rest_setting *settings = cc_arena_array(&gateway->arena, app->n, sizeof(*settings));
    for (size_t i = 0; i < app->n; i++) {
        settings[i] = (struct rest_setting){cc_slice_text(cc_arena_printf(&gateway->arena, "app.settings.%s", app->list[i].name)),
                                            cc_slice_text(app->list[i].value)};
    }
    gateway->rest = (struct rest_options){.rows_max = config->limits.rows,
                                          .aggregates = config->rest.aggregates,
                                          .roll_back_allowed = config->rest.rollback,
                                          .plans_allowed = config->rest.plans,
                                          .pre_request = config->rest.pre_request,
                                          .n_settings = (uint32_t)app->n,
                                          .settings = settings};
}

static void gateway_free(struct io_gateway *gateway)
{
    pthread_mutex_destroy(&gateway->lock);
    cc_arena_finish(&gateway->arena);
    free(gateway);
}

enum cc_status io_gateway_create(const struct io_gateway_options *options, struct io_gateway **gateway_out)
{
    struct io_gateway *gateway = cc_alloc(sizeof(*gateway));
    gateway->options = *options;
    cc_arena_init(&gateway->arena);
    pthread_mutex_init(&gateway->lock, NULL);
    give_rest_options(gateway);
    const struct config *config = options->config;
    if (getrandom(&gateway->id_seed, sizeof(gateway->id_seed), 0) != sizeof(gateway->id_seed)) {
        gateway_free(gateway);
        return CC_IO;
    }
    gateway->is_member = true;
    gateway->n_workers = config->http.threads > 0 ? config->http.threads : default_threads();
    struct http_server_options server = http_server_options_default();
    server.host = options->replica->http.host;
    server.port = (uint16_t)options->replica->http.port;
    server.n_workers = gateway->n_workers;
    server.connections_max = config->http.connections;
    server.connections_per_address_max = config->http.connections_per_address;
    server.limits = (struct http_limits){.target_bytes_max = config->http.uri_bytes,
                                         .header_bytes_max = config->http.header_bytes,
                                         .headers_max = config->http.headers,
                                         .body_bytes_max = config->http.body_bytes};
    server.deadlines.head_ms = config->timeouts.http_header_ms;
    server.deadlines.body_ms = config->timeouts.http_body_ms;
    server.deadlines.idle_ms = config->timeouts.http_idle_ms;
    server.context = gateway;
    server.handle = handle;
    server.worker_began = worker_began;
    server.worker_ends = worker_ends;
    enum cc_status status = http_server_create(&server, &gateway->server);
    if (status != CC_OK) {
        gateway_free(gateway);
        return status;
    }
    *gateway_out = gateway;
    return CC_OK;
}

void io_gateway_destroy(struct io_gateway *gateway, uint32_t drain_ms)
{
    if (gateway == NULL) {
        return;
    }
    http_server_destroy(gateway->server, drain_ms);
    gateway_free(gateway);
}
