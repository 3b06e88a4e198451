// What the simulator calls its clients (sim_clients_* of sim.h) is here the test itself: requests as it asks for them, and what
// became of them. Linked instead of sim_client.c.
#include "harness/harness_internal.h"

#include "base/memory.h"
#include "sim/sim_rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SELECT_US = 100 };

struct request {
    struct harness_answer answer;
    char *text;
    struct cc_buffer value;
    bool is_weak;
    uint64_t committed_index;
};

struct sim_clients {
    struct request *requests; // token - 1
    size_t n_requests, capacity;
    size_t n_waiting;
};

static struct harness *harness_of(const struct sim *sim)
{
    return sim->hooks.context;
}

static struct request *request_of(const struct sim *sim, uint64_t token)
{
    SIM_CHECK((struct sim *)(uintptr_t)sim, "answers", token >= 1 && token <= sim->clients->n_requests,
              "no such request: %" PRIu64, token);
    return &sim->clients->requests[token - 1];
}

const char *harness_outcome_name(enum harness_outcome outcome)
{
    static const char *const names[] = {"waits", "done", "failed", "refused", "unknown"};
    return names[outcome];
}

static void finish(struct sim *sim, uint64_t token, enum harness_outcome outcome)
{
    struct request *request = request_of(sim, token);
    request->answer.kind = outcome;
    sim->clients->n_waiting--;
    sim_trace(sim, "request %" PRIu64 " %s", token, harness_outcome_name(outcome));
    const struct harness_hooks *hooks = &harness_of(sim)->hooks;
    if (hooks->answered != NULL) {
        hooks->answered(hooks->context, harness_of(sim), token);
    }
}

// -- Asking ---------------------------------------------------------------------------------------------------------

static uint64_t add(struct harness *harness, uint32_t replica, const char *text)
{
    struct sim_clients *clients = harness->sim.clients;
    clients->requests =
        cc_grow(clients->requests, &clients->capacity, clients->n_requests + 1, sizeof(*clients->requests));
    struct request *request = &clients->requests[clients->n_requests++];
    char *copy = cc_strdup(text);
    *request = (struct request){.answer = {.replica = replica, .text = copy}, .text = copy};
    clients->n_waiting++;
    sim_trace(&harness->sim, "request %zu at r%u: %s", clients->n_requests, replica, text);
    return clients->n_requests;
}

static uint64_t write_at(struct harness *harness, uint32_t replica_id, const char *text, bool weak, enum operation_durability durability)
{
    struct sim *sim = &harness->sim;
    uint64_t token = add(harness, replica_id, text);
    request_of(sim, token)->is_weak = weak;
    request_of(sim, token)->answer.asked = durability;
    struct sim_replica *replica = sim_replica_of(sim, replica_id);
    if (!replica->alive) { // connection refused
        finish(sim, token, HARNESS_REFUSED);
        return token;
    }
    struct node_status status;
    node_describe(replica->node, sim->now_us, &status);
    struct rest_statement statement = {
        .kind = REST_UPSERT, .weak = weak, .sql = cc_slice_text(text), .rows_max = UINT64_MAX};
    struct operation operation = {.timeout_ms = harness->options.timeout_ms,
                                  .kind = OPERATION_STATEMENTS,
                                  .schema_version = status.schema_version,
                                  .weak = weak,
                                  .durability = durability,
                                  .n_statements = 1,
                                  .statements = &statement};
    memcpy(operation.id, &token, sizeof(token));
    struct cc_buffer bytes = {0};
    operation_put(&bytes, &operation);
    node_submit(replica->node, sim_replica_time(sim, replica), token, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    sim_replica_settle(sim, replica);
    return token;
}

uint64_t harness_write(struct harness *harness, uint32_t replica, const char *statement)
{
    return write_at(harness, replica, statement, false, OPERATION_LOCAL);
}

uint64_t harness_write_weak(struct harness *harness, uint32_t replica, const char *statement)
{
    return write_at(harness, replica, statement, true, OPERATION_LOCAL);
}

uint64_t harness_write_weak_to(struct harness *harness, uint32_t replica, const char *statement, enum operation_durability durability)
{
    return write_at(harness, replica, statement, true, durability);
}

// Without a session: linearizable.
static uint64_t read_at(struct harness *harness, uint32_t replica_id, const char *key, bool weak, const struct harness_session *session)
{
    struct sim *sim = &harness->sim;
    uint64_t token = add(harness, replica_id, key);
    request_of(sim, token)->answer.is_read = true;
    request_of(sim, token)->is_weak = weak;
    struct sim_replica *replica = sim_replica_of(sim, replica_id);
    if (!replica->alive) {
        finish(sim, token, HARNESS_REFUSED);
        return token;
    }
    struct node_time time = sim_replica_time(sim, replica);
    if (session != NULL) {
        node_read_session(replica->node, time, token, session->index, &session->frontier, false, harness->options.timeout_ms);
    } else if (weak) {
        node_read_weak(replica->node, time, token, harness->options.timeout_ms);
    } else {
        node_read(replica->node, time, token, harness->options.timeout_ms);
    }
    sim_replica_settle(sim, replica);
    return token;
}

uint64_t harness_read(struct harness *harness, uint32_t replica, const char *key)
{
    return read_at(harness, replica, key, false, NULL);
}

uint64_t harness_read_weak(struct harness *harness, uint32_t replica, const char *key)
{
    return read_at(harness, replica, key, true, NULL);
}

void harness_see(struct harness *harness, uint32_t replica_id, struct harness_session *session)
{
    const struct sim_replica *replica = sim_replica_of(&harness->sim, replica_id);
    if (!replica->alive) {
        return;
    }
    struct node_status status;
    node_describe(replica->node, harness->sim.now_us, &status);
    session->index = status.applied > session->index ? status.applied : session->index;
    enum cc_status joined = crdt_frontier_join(&session->frontier, &status.frontier);
    SIM_CHECK(&harness->sim, "W1", joined == CC_OK, "too many origins");
}

uint64_t harness_read_session(struct harness *harness, uint32_t replica, const char *key, bool weak, const struct harness_session *session)
{
    return read_at(harness, replica, key, weak, session);
}

const struct harness_answer *harness_answer(const struct harness *harness, uint64_t token)
{
    return &request_of(&harness->sim, token)->answer;
}

// -- Answers --------------------------------------------------------------------------------------------------------

static void select_row(struct sim *sim, struct sim_event *event)
{
    struct request *request = request_of(sim, event->a);
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    struct sim_rows *rows = sim_database_rows(replica->database);
    uint64_t applied = sim_rows_applied(rows);
    if (!sim_database_is_up(replica->database) ||
        applied < event->b) { // it lost what it had: wait until it has it again
        node_read_at(replica->node, sim_replica_time(sim, replica), event->a, event->b,
                     harness_of(sim)->options.timeout_ms);
        sim_replica_settle(sim, replica);
        return;
    }
    bool found = request->is_weak ? harness_look_weak(harness_of(sim), replica->id, request->text, &request->value)
                                  : harness_look(harness_of(sim), replica->id, request->text, &request->value);
    request->answer.value = found ? cc_buffer_slice(&request->value) : cc_slice_of(NULL, 0);
    request->answer.index = applied;
    finish(sim, event->a, HARNESS_DONE);
}

static enum harness_outcome outcome_of(const struct rest_outcome *outcome)
{
    switch (outcome->kind) {
    case REST_DONE:
        return HARNESS_DONE;
    case REST_FAILED:
        return HARNESS_FAILED;
    case REST_REFUSED:
        return HARNESS_REFUSED;
    case REST_UNKNOWN:
        return HARNESS_UNKNOWN;
    }
    return HARNESS_UNKNOWN;
}

static void take_outcome(struct sim *sim, const struct node_answer *answer)
{
    struct request *request = request_of(sim, answer->token);
    struct rest_outcome outcome;
    enum cc_status status = rest_outcome_read(answer->outcome, &outcome);
    SIM_CHECK(sim, "codec", status == CC_OK, "request %" PRIu64 ": the outcome cannot be read", answer->token);
    enum harness_outcome kind = outcome_of(&outcome);
    bool strong_done = kind == HARNESS_DONE && !request->is_weak;
    SIM_CHECK(sim, "I3",
              !strong_done || (request->committed_index > 0 && request->committed_index <= sim_check_commit(sim)),
              "request %" PRIu64 " was acknowledged but is not committed", answer->token);
    SIM_CHECK(sim, "D8", kind != HARNESS_REFUSED || request->committed_index == 0,
              "request %" PRIu64 " was refused as not executed, but is committed", answer->token);
    request->answer.index = strong_done ? request->committed_index : answer->index;
    request->answer.n_rows = outcome.n_rows;
    request->answer.reached = answer->durability;
    finish(sim, answer->token, kind);
}

void sim_clients_answer(struct sim *sim, struct sim_replica *replica, const struct node_answer *answer)
{
    const struct request *request = request_of(sim, answer->token);
    SIM_CHECK(sim, "answers", request->answer.kind == HARNESS_WAITS, "request %" PRIu64 " is answered twice",
              answer->token);
    if (answer->kind == NODE_ANSWER_READ) {
        struct sim_event *event = sim_after(sim, SELECT_US, select_row, replica->id);
        event->a = answer->token;
        event->b = answer->index;
        return;
    }
    take_outcome(sim, answer);
}

void sim_clients_replica_died(struct sim *sim, struct sim_replica *replica)
{
    for (uint64_t token = 1; token <= sim->clients->n_requests; token++) {
        const struct request *request = request_of(sim, token);
        if (request->answer.kind == HARNESS_WAITS && request->answer.replica == replica->id) {
            finish(sim, token, request->answer.is_read ? HARNESS_REFUSED : HARNESS_UNKNOWN);
        }
    }
}

void sim_clients_committed(struct sim *sim, const struct entry_operation *operation, uint64_t index)
{
    uint64_t token;
    memcpy(&token, operation->id, sizeof(token));
    struct request *request = request_of(sim, token);
    SIM_CHECK(sim, "I12", request->committed_index == 0,
              "request %" PRIu64 " is committed at %" PRIu64 " and again at %" PRIu64, token, request->committed_index,
              index);
    SIM_CHECK(sim, "D8", request->answer.kind != HARNESS_REFUSED,
              "request %" PRIu64 " was refused as not executed, but is committed", token);
    request->committed_index = index;
}

// -- Life -----------------------------------------------------------------------------------------------------------

struct sim_clients *sim_clients_create(struct sim *sim)
{
    (void)sim;
    return cc_alloc(sizeof(struct sim_clients));
}

void sim_clients_destroy(struct sim_clients *clients)
{
    for (size_t i = 0; i < clients->n_requests; i++) {
        free(clients->requests[i].text);
        cc_buffer_finish(&clients->requests[i].value);
    }
    free(clients->requests);
    free(clients);
}

bool sim_clients_are_idle(const struct sim *sim)
{
    return sim->clients->n_waiting == 0;
}

void sim_clients_probe(struct sim *sim)
{
    (void)sim; // the test asks what it wants to know
}

void sim_clients_check(struct sim *sim)
{
    (void)sim; // answers are checked as they come
}
