// Gateway: the row protocol. Plan, then read on this thread or write through the core.
#include "proxy/gateway/io_gateway_internal.h"

#include "base/hash.h"
#include "rest/openapi.h"
#include "rest/reply.h"
#include "rest/transaction.h"
#include "rest/visible.h"

#include <stdlib.h>
#include <string.h>

enum { QUERIES_MAX = 50 }; // of one read, while its database comes back

// Two requests are the same when these bytes are.
static struct cc_slice fingerprint_create(struct exchange *exchange)
{
    const struct rest_request *request = &exchange->request;
    struct cc_buffer all = {0};
    struct cc_slice parts[] = {request->method, request->path, request->query, request->body};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        cc_put_nullable(&all, parts[i]);
    }
    static const char *const headers[] = {"Prefer", "If-Match", "If-None-Match", "Accept", "Content-Profile", "Content-Type"};
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        cc_put_nullable(&all, rest_request_header(request, headers[i]));
    }
    static const uint8_t keys[2][16] = {"caucus request 1", "caucus request 2"};
    struct cc_buffer text = {0};
    for (size_t i = 0; i < 2; i++) {
        cc_put_u64(&text, cc_siphash(keys[i], all.data, all.n));
    }
    struct cc_slice fingerprint = cc_arena_slice(&exchange->arena, cc_buffer_slice(&text));
    cc_buffer_finish(&all);
    cc_buffer_finish(&text);
    return fingerprint;
}

static enum operation_durability durability_wanted(const struct rest_plan *plan)
{
    switch (plan->facts.applied.durability) {
    case REST_DURABILITY_MAJORITY:
        return plan->statement.weak ? OPERATION_MAJORITY : OPERATION_LOCAL;
    case REST_DURABILITY_ALL:
        return plan->statement.weak ? OPERATION_ALL : OPERATION_LOCAL;
    case REST_DURABILITY_NONE:
    case REST_DURABILITY_LOCAL:
        break;
    }
    return OPERATION_LOCAL;
}

// What Preference-Applied says of durability: what was reached, and nothing when nobody asked.
static enum rest_durability durability_reached(const struct rest_plan *plan, enum operation_durability reached)
{
    enum rest_durability wanted = plan->facts.applied.durability;
    if (wanted == REST_DURABILITY_NONE) {
        return wanted;
    }
    if (!plan->statement.weak) {
        return REST_DURABILITY_MAJORITY; // every strong write
    }
    switch (reached) {
    case OPERATION_LOCAL:
        break;
    case OPERATION_MAJORITY:
        return REST_DURABILITY_MAJORITY;
    case OPERATION_ALL:
        return REST_DURABILITY_ALL;
    }
    return REST_DURABILITY_LOCAL;
}

static void submit(struct exchange *exchange)
{
    struct rest_statement *statement = &exchange->plan.statement;
    struct operation operation = {.kind = OPERATION_STATEMENTS,
                                  .schema_version = exchange->snapshot->catalog->version,
                                  .weak = statement->weak};
    bool single = exchange->n_operations == 0;
    operation.statements = rest_transaction_statements(single ? 1 : exchange->n_operations, single ? &exchange->plan : exchange->plans,
                                                       &exchange->arena, &operation.n_statements);
    struct cc_slice key = rest_request_header(&exchange->request, "Idempotency-Key");
    if (key.n > 255) {
        exchange_fail(exchange, 400, "CC215", "Idempotency-Key is longer than 255 bytes", "Use a shorter key, for example a UUID");
        return;
    }
    operation.durability = durability_wanted(&exchange->plan);
    if (statement->weak || key.n > 0) { // histories tell who wrote
        operation.principal = exchange->principal;
    }
    if (key.n > 0) {
        operation.key = key;
        operation.fingerprint = fingerprint_create(exchange);
    }
    exchange_submit(exchange, &operation);
}

// -- Sessions: what the client has seen, this database must have, too ------------------------------------------------

// False: answered.
static bool read_token(struct exchange *exchange)
{
    struct cc_slice text = rest_request_header(&exchange->request, "Caucus-Session");
    if (text.n == 0 || exchange->session != NULL) {
        return true;
    }
    uint8_t key[SESSION_KEY_BYTES];
    if (!io_catalog_session_key(exchange->worker->gateway->options.catalog, key)) {
        exchange_fail(exchange, 503, "CC213", "This replica does not know the cluster's session key yet", "Try again in a moment");
        return false;
    }
    struct session *session = cc_arena_alloc(&exchange->arena, sizeof(*session));
    enum cc_status status = session_read(text, key, session);
    if (status != CC_OK) {
        exchange_fail(exchange, 412, "CC218",
                      status == CC_REFUSED ? "The session token is not of this cluster" : "The session token is malformed",
                      "Begin a new session: send no Caucus-Session, and go on with the one in the answer");
        return false;
    }
    exchange->session = session;
    return true;
}

static bool wants_session(const struct exchange *exchange)
{
    const struct rest_plan *plan = &exchange->plan;
    if (exchange->session == NULL || plan->level == REST_LEVEL_LOCAL) {
        return false;
    }
    // The leader holds everything that a strong write could need.
    return plan->kind == REST_PLAN_READ || plan->statement.weak;
}

static void ask_session(struct exchange *exchange)
{
    const struct rest_plan *plan = &exchange->plan;
    bool reads = plan->kind == REST_PLAN_READ;
    struct cc_buffer frontier = {0};
    if (!reads || plan->touches_weak || plan->statement.kind == REST_CALL) {
        crdt_frontier_put(&frontier, &exchange->session->frontier);
    }
    if (exchange->state != EXCHANGE_ASK_INDEX) {
        exchange_move(exchange, EXCHANGE_ASK_INDEX);
    }
    exchange->session_asked = true;
    enum inbox_kind kind = exchange->session->shortened ? INBOX_READ_SHORTENED : reads ? INBOX_READ_SESSION : INBOX_WRITE_SESSION;
    exchange_ask_core(exchange, kind, reads && plan->touches_strong ? exchange->session->index : 0, &frontier);
}

static void add_token(struct exchange *exchange, struct session *session, struct rest_reply *reply)
{
    uint8_t key[SESSION_KEY_BYTES];
    if (!io_catalog_session_key(exchange->worker->gateway->options.catalog, key)) {
        return; // the cluster is seconds old
    }
    gateway_shorten(exchange->worker->gateway, session);
    struct cc_buffer token = {0};
    session_put(&token, session, key);
    rest_reply_add_header(reply, &exchange->arena, "Caucus-Session", cc_buffer_text(&token));
    cc_buffer_finish(&token);
}

static void session_of(const struct exchange *exchange, struct session *session_out)
{
    if (exchange->session != NULL) {
        *session_out = *exchange->session;
    } else {
        session_out->index = 0;
        session_out->frontier.n = 0;
        session_out->shortened = false;
    }
}

// The database that was really read holds what the client has seen, or what a majority had: it may have crashed since the core said so.
static bool covers_wanted(const struct exchange *exchange, struct cc_slice position)
{
    struct session held;
    held.index = 0;
    held.frontier.n = 0;
    if ((!wants_session(exchange) && exchange->read_frontier == NULL) || session_saw(&held, position) != CC_OK) {
        return true;
    }
    const struct rest_plan *plan = &exchange->plan;
    bool weak = plan->touches_weak || plan->statement.kind == REST_CALL;
    return (!wants_session(exchange) || !plan->touches_strong || held.index >= exchange->session->index) &&
           (!weak || exchange->read_frontier == NULL || crdt_frontier_covers(&held.frontier, exchange->read_frontier));
}

// -- Bounded reads: what any read has made sure of within the bound will do ----------------------------------------------

static bool is_within_bound(const struct exchange *exchange, uint64_t asked_us)
{
    const struct rest_preferences *applied = &exchange->plan.facts.applied;
    return applied->level == REST_LEVEL_BOUNDED && asked_us > 0 && gateway_now_us() - asked_us <= applied->bounded_ms * 1000ull;
}

// 0: the leader is to be asked.
static uint64_t bounded_index(const struct exchange *exchange)
{
    struct io_gateway *gateway = exchange->worker->gateway;
    pthread_mutex_lock(&gateway->lock);
    uint64_t index = is_within_bound(exchange, gateway->sure.index_us) ? gateway->sure.index : 0;
    pthread_mutex_unlock(&gateway->lock);
    return index;
}

// False: a majority is to be asked.
static bool put_bounded_frontier(const struct exchange *exchange, struct cc_buffer *out)
{
    struct io_gateway *gateway = exchange->worker->gateway;
    pthread_mutex_lock(&gateway->lock);
    bool good = is_within_bound(exchange, gateway->sure.frontier_us);
    if (good) {
        crdt_frontier_put(out, &gateway->sure.frontier);
    }
    pthread_mutex_unlock(&gateway->lock);
    return good;
}

static void note_answer(struct exchange *exchange, const struct node_answer *answer)
{
    struct made_sure *sure = &exchange->worker->gateway->sure;
    struct cc_reader reader = cc_reader_of(answer->frontier);
    uint64_t asked_us = exchange->asked_us;
    exchange->asked_us = 0;
    pthread_mutex_lock(&exchange->worker->gateway->lock);
    if (exchange->weak_asked && asked_us > sure->frontier_us) {
        sure->frontier_us = crdt_frontier_read(&reader, &sure->frontier) == CC_OK ? asked_us : 0;
    } else if (!exchange->weak_asked && asked_us > sure->index_us) {
        sure->index_us = asked_us;
        sure->index = answer->index;
    }
    pthread_mutex_unlock(&exchange->worker->gateway->lock);
}

// --------------------------------------------------------------------------------------------------------------------

static void ask_index(struct exchange *exchange)
{
    exchange->session_asked = exchange->weak_asked = false;
    exchange_move(exchange, EXCHANGE_ASK_INDEX);
    exchange->read_index = exchange->read_index > 0 ? exchange->read_index : bounded_index(exchange);
    exchange->asked_us = exchange->read_index == 0 ? gateway_now_us() : 0;
    exchange_ask_core(exchange, exchange->read_index == 0 ? INBOX_READ : INBOX_READ_AT, exchange->read_index, NULL);
}

// A level that must be asked for: by default a read of weak tables is local, also as part of one of strong tables.
static bool wants_majority(const struct exchange *exchange)
{
    const struct rest_plan *plan = &exchange->plan;
    bool asked_for = plan->facts.applied.level == REST_LEVEL_LINEARIZABLE || plan->facts.applied.level == REST_LEVEL_BOUNDED;
    return plan->kind == REST_PLAN_READ && plan->touches_weak && asked_for;
}

static void ask_weak(struct exchange *exchange)
{
    if (exchange->state != EXCHANGE_ASK_INDEX) {
        exchange_move(exchange, EXCHANGE_ASK_INDEX);
    }
    exchange->weak_asked = true;
    struct cc_buffer frontier = {0};
    bool bounded = put_bounded_frontier(exchange, &frontier);
    exchange->asked_us = bounded ? 0 : gateway_now_us();
    exchange_ask_core(exchange, bounded ? INBOX_READ_SESSION : INBOX_READ_WEAK, 0, bounded ? &frontier : NULL);
}

static bool wants_index(const struct rest_plan *plan)
{
    return plan->touches_strong && (plan->level == REST_LEVEL_LINEARIZABLE || plan->level == REST_LEVEL_BOUNDED);
}

static void query(struct exchange *exchange);

// Whoever was told that a weak write is done sees it here, with or without a token.
static void query_own(struct exchange *exchange)
{
    const struct rest_plan *plan = &exchange->plan;
    bool reads_weak = plan->touches_weak || plan->statement.kind == REST_CALL;
    bool knows = exchange->session_asked || exchange->weak_asked;
    if (knows || !reads_weak || !exchange_waits_for_own(exchange)) {
        query(exchange);
    }
}

// The core, for what the read needs to be there.
static void ask(struct exchange *exchange)
{
    exchange->session_asked = exchange->weak_asked = exchange->own_asked = false;
    exchange->read_frontier = NULL;
    if (wants_index(&exchange->plan)) {
        ask_index(exchange);
    } else if (wants_majority(exchange)) {
        ask_weak(exchange);
    } else if (wants_session(exchange)) {
        ask_session(exchange);
    } else {
        query_own(exchange);
    }
}

static struct cc_slice value_if_any(const struct io_postgres_read_result *rows, uint32_t column)
{
    return column < rows->n_columns ? io_postgres_read_value(rows, 0, column) : (struct cc_slice){0};
}

static void reply_rows(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    struct rest_read_result result = {
        .applied = io_postgres_read_value(rows, 0, 0),
        .body = io_postgres_read_value(rows, 0, 1),
        .page = value_if_any(rows, 2),
        .total = value_if_any(rows, 3),
        .headers = value_if_any(rows, 4),
        .status = value_if_any(rows, 5),
        .estimate = exchange->estimate,
    };
    struct rest_reply reply;
    rest_reply_read(&exchange->plan, &result, &exchange->arena, &reply);
    struct session session;
    session_of(exchange, &session);
    if (session_saw(&session, result.applied) == CC_OK) {
        add_token(exchange, &session, &reply);
    }
    exchange_reply(exchange, &reply);
}

static void on_rows(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    bool can_retry = exchange->n_queries < QUERIES_MAX && gateway_now_us() < exchange->deadline_us;
    if (rows->status == CC_UNAVAILABLE && can_retry) { // PostgreSQL restarts: wait for it
        exchange->read_index = exchange->read_index > 0 ? exchange->read_index : 1;
        ask_index(exchange);
        return;
    }
    if (rows->status == CC_REFUSED) {
        struct rest_reply reply;
        rest_reply_failed(&exchange->plan, rows->code, rows->message, rows->details, rows->hint, &exchange->arena, &reply);
        exchange_reply(exchange, &reply);
        return;
    }
    if (rows->status != CC_OK || rows->n_rows != 1 || rows->n_columns < REST_READ_COLUMNS_MIN || rows->n_columns > REST_READ_COLUMNS_MAX) {
        exchange_fail_rows(exchange, rows);
        return;
    }
    // The database that was really read may have crashed and be behind what the core knows.
    struct cc_slice position = io_postgres_read_value(rows, 0, 0);
    uint64_t applied = 0;
    bool behind = (!cc_slice_take_number(&position, UINT64_MAX, &applied) || applied < exchange->read_index) && exchange->read_index > 0;
    if (!behind && covers_wanted(exchange, io_postgres_read_value(rows, 0, 0))) {
        reply_rows(exchange, rows);
    } else if (!can_retry) {
        exchange_fail(exchange, 503, "CC212", "This replica's database has restarted and lacks what the read needs",
                      "Try again, or use another replica");
    } else if (behind) {
        ask_index(exchange);
    } else {
        ask(exchange);
    }
}

static void on_explained(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    if (rows->status != CC_OK) {
        on_rows(exchange, rows);
        return;
    }
    struct cc_buffer text = {0};
    for (uint32_t i = 0; i < rows->n_rows; i++) {
        cc_buffer_append_text(&text, i == 0 ? "" : "\n");
        cc_buffer_append_slice(&text, io_postgres_read_value(rows, i, 0));
    }
    struct rest_reply reply;
    rest_reply_explained(&exchange->plan, cc_buffer_slice(&text), &exchange->arena, &reply);
    cc_buffer_finish(&text);
    exchange_reply(exchange, &reply);
}

static void on_estimate(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    if (rows->status != CC_OK || rows->n_rows != 1) {
        on_rows(exchange, rows);
        return;
    }
    exchange->estimate = cc_arena_slice(&exchange->arena, io_postgres_read_value(rows, 0, 0));
    exchange->on_rows = on_rows;
    exchange_query(exchange, &exchange->plan.statement);
}

static void query(struct exchange *exchange)
{
    bool asks = exchange->plan.estimate.sql.data != NULL && exchange->estimate.data == NULL;
    exchange->on_rows = exchange->plan.facts.is_explained ? on_explained : asks ? on_estimate : on_rows;
    exchange_query(exchange, asks ? &exchange->plan.estimate : &exchange->plan.statement);
}

static void on_visible(struct exchange *exchange, const struct io_postgres_read_result *rows)
{
    const struct rest_reply_facts *facts = &exchange->plan.facts;
    struct rest_catalog visible;
    struct rest_reply reply;
    if (rows->status == CC_REFUSED) {
        rest_reply_failed(&exchange->plan, rows->code, rows->message, rows->details, rows->hint, &exchange->arena, &reply);
        exchange_reply(exchange, &reply);
        return;
    }
    if (rows->status != CC_OK || rows->n_rows != 1 ||
        rest_visible_catalog(exchange->snapshot->catalog, io_postgres_read_value(rows, 0, 0), &exchange->arena, &visible) != CC_OK) {
        exchange_fail_rows(exchange, rows);
        return;
    }
    rest_openapi_reply(&visible, facts->schema, facts->is_openapi_3 ? REST_OPENAPI_3 : REST_OPENAPI_2, facts->head, &exchange->arena, &reply);
    exchange_reply(exchange, &reply);
}

// The catalog is current, and `answer` made of it.
static void answer_of_catalog(struct exchange *exchange)
{
    if (!exchange->plan.facts.is_description || exchange->sees_all) {
        exchange_reply(exchange, &exchange->plan.answer);
        return;
    }
    exchange->on_rows = on_visible;
    exchange_query(exchange, &exchange->plan.statement);
}

void rows_run(struct exchange *exchange)
{
    exchange->n_plans++;
    if (!read_token(exchange)) {
        return;
    }
    switch (exchange->plan.kind) {
    case REST_PLAN_ANSWER:
        exchange_reply(exchange, &exchange->plan.answer);
        return;
    case REST_PLAN_NOT_IN_CATALOG:
        if (exchange->barrier_passed) {
            answer_of_catalog(exchange);
            return;
        }
        exchange_make_current(exchange);
        return;
    case REST_PLAN_WRITE:
        if (wants_session(exchange)) {
            ask_session(exchange);
        } else {
            submit(exchange);
        }
        return;
    case REST_PLAN_READ:
        ask(exchange);
        return;
    }
}

void rows_begin(struct exchange *exchange)
{
    rest_plan_create(exchange->snapshot->catalog, &exchange->request, &exchange->arena, &exchange->plan);
    rows_run(exchange);
}

static void want(struct exchange *exchange, struct cc_slice frontier)
{
    struct cc_reader reader = cc_reader_of(frontier);
    struct crdt_frontier *wanted = cc_arena_array(&exchange->arena, 1, sizeof(*wanted));
    if (frontier.n == 0 || crdt_frontier_read(&reader, wanted) != CC_OK) {
        return;
    }
    if (exchange->read_frontier == NULL || crdt_frontier_join(wanted, exchange->read_frontier) == CC_OK) {
        exchange->read_frontier = wanted;
    }
}

void rows_core_read(struct exchange *exchange, const struct node_answer *answer)
{
    if (exchange->asked_us > 0) {
        note_answer(exchange, answer);
    }
    want(exchange, answer->frontier);
    if (!exchange->session_asked) {
        exchange->read_index = answer->index > exchange->read_index ? answer->index : exchange->read_index;
        if (wants_majority(exchange) && !exchange->weak_asked) {
            ask_weak(exchange);
            return;
        }
        if (wants_session(exchange)) {
            ask_session(exchange);
            return;
        }
    }
    if (exchange->plan.kind == REST_PLAN_WRITE) {
        submit(exchange);
        return;
    }
    query_own(exchange);
}

// What a weak write did, or what the write did whose outcome it repeats.
static enum cc_status saw_weak(struct session *session, const struct node_answer *answer)
{
    struct crdt_frontier saw;
    struct cc_reader reader = cc_reader_of(answer->frontier);
    if (answer->sequence > 0) {
        return session_wrote_weak(session, answer->origin, answer->sequence);
    }
    if (answer->frontier.n == 0) {
        return CC_OK;
    }
    enum cc_status status = crdt_frontier_read(&reader, &saw);
    return status == CC_OK ? crdt_frontier_join(&session->frontier, &saw) : status;
}

void rows_core_outcome(struct exchange *exchange, const struct rest_outcome *outcome, const struct node_answer *answer)
{
    if (exchange->state != EXCHANGE_CORE) {
        exchange_fail_outcome(exchange, outcome);
        return;
    }
    exchange->plan.facts.applied.durability = durability_reached(&exchange->plan, answer->durability);
    struct rest_reply reply;
    if (exchange->n_operations > 0) {
        rest_transaction_reply(exchange->n_operations, exchange->plans, outcome, &exchange->arena, &reply);
    } else {
        rest_transaction_reply_single(&exchange->plan, outcome, &exchange->arena, &reply);
    }
    struct session session;
    session_of(exchange, &session);
    session_wrote(&session, answer->index);
    if (saw_weak(&session, answer) == CC_OK) {
        add_token(exchange, &session, &reply);
    }
    exchange_reply(exchange, &reply);
}
