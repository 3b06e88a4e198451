// Clients: what they ask, what they are told, and whether it can have been so.
//
// Lists (append) make strong tables checkable without search: every acknowledged id is in its list exactly once, a refused one
// never, the order agrees with real time, and a read saw a prefix that has everything acknowledged before it.
#include "sim/sim.h"

#include "base/memory.h"
#include "proxy/node/node_internal.h"
#include "proxy/node/session.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ATTEMPTS_MAX = 6,
    STATEMENTS_MAX = 2,
    STATEMENT_BYTES = 64,
    KEY_BYTES = 16,
    ID_BYTES = 8,        // "0000001" and a blank in lists
    LATE_US = 120 * 1000, // answers come at the latest so long after the deadline
    SELECT_US_MAX = 500,
    HIT_PERCENT = 100,
    PROBE_MS = 10 * 1000, // a probe must not fail because the seed is an impatient one
};

enum verdict { RUNNING, DONE, FAILED, REFUSED, UNKNOWN };
static const char *const verdict_names[] = {"running", "done", "failed", "refused", "unknown"};

struct request { // one logical operation of a client
    uint32_t number;
    uint32_t client;
    bool is_read, is_session, is_weak, is_keyed, is_migration, is_probe; // a weak read: linearizable, of weak tables
    enum operation_durability durability;
    bool is_append;   // its id must be in the lists of its keys
    bool leaves_id;   // weak: its id is in a change set if it changed anything
    uint32_t at;      // probes: the replica to ask
    uint32_t n_statements;
    char statements[STATEMENTS_MAX][STATEMENT_BYTES];
    char keys[STATEMENTS_MAX][KEY_BYTES];
    char id[ID_BYTES];
    uint64_t begin_us, end_us;
    enum verdict verdict;
    bool maybe; // an attempt's outcome is unknown
    uint32_t n_attempts;
    uint64_t n_rows;
    // Reads.
    uint64_t commit_at_begin;
    struct crdt_frontier *spread_at_begin; // weak: what a majority had acknowledged
    uint64_t applied;
    struct cc_blob *value;
};

struct attempt {
    struct request *request;
    uint32_t replica;
    bool submitted, waits, refused, no_space;
    uint64_t submitted_us;
    uint64_t committed_index;
    struct cc_blob *outcome; // as committed
    bool asks_index; // read: its database was down, and it asks again when that is back
    struct crdt_frontier *wanted; // read of weak rows: what must be there
};

struct memory { // of a client
    struct session token;
    struct crdt_frontier seen; // what the token says, or would say if nothing were left out
};

struct sim_clients {
    struct memory *memories; // client - 1
    struct crdt_frontier spread; // weak writes acknowledged as held by a majority
    struct request **requests;
    size_t n_requests, requests_capacity;
    struct attempt *attempts; // token - 1
    size_t n_attempts, attempts_capacity;
    uint32_t n_running;
};

static void next_request(struct sim *sim, struct sim_event *event);
static void attempt_start(struct sim *sim, struct request *request, uint64_t delay_us);

// -- Requests -------------------------------------------------------------------------------------------------------

static bool percent(struct sim *sim, uint64_t percents)
{
    return sim_draw(sim, 0, HIT_PERCENT - 1) < percents;
}

static struct request *request_create(struct sim *sim, uint32_t client)
{
    struct sim_clients *clients = sim->clients;
    struct request *request = cc_alloc(sizeof(*request));
    clients->requests = cc_grow(clients->requests, &clients->requests_capacity, clients->n_requests + 1, sizeof(struct request *));
    clients->requests[clients->n_requests++] = request;
    request->number = (uint32_t)clients->n_requests;
    request->client = client;
    request->begin_us = sim->now_us;
    snprintf(request->id, sizeof(request->id), "%07x", request->number);
    clients->n_running++;
    sim->counters.operations++;
    return request;
}

static void draw_key(struct sim *sim, char kind, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "%c%u", kind, (unsigned)(uint32_t)sim_draw(sim, 1, sim->knobs.n_keys));
}

static void plan_append(struct sim *sim, struct request *request, uint32_t n)
{
    request->is_append = true;
    request->n_statements = n;
    for (uint32_t i = 0; i < n; i++) {
        draw_key(sim, i == 0 ? 'L' : 'M', request->keys[i]);
        snprintf(request->statements[i], STATEMENT_BYTES, "append %s %s", request->keys[i], request->id);
    }
}

static void plan_strong(struct sim *sim, struct request *request)
{
    char key[KEY_BYTES], other[KEY_BYTES];
    draw_key(sim, 'P', key);
    draw_key(sim, 'P', other);
    request->n_statements = 1;
    request->is_keyed = percent(sim, sim->knobs.keyed_percent);
    uint64_t kind = sim_draw(sim, 0, 99);
    if (percent(sim, sim->knobs.fail_percent)) {
        // The first statement must leave no trace when the second fails.
        snprintf(request->statements[0], STATEMENT_BYTES, "append L1 %s", request->id);
        snprintf(request->statements[1], STATEMENT_BYTES, "fail");
        request->n_statements = 2;
        request->is_append = true;
        snprintf(request->keys[0], KEY_BYTES, "L1");
    } else if (kind < 45) {
        plan_append(sim, request, 1);
    } else if (kind < 60) {
        plan_append(sim, request, 2);
    } else if (kind < 75) {
        snprintf(request->statements[0], STATEMENT_BYTES, "put %s %s", key, request->id);
    } else if (kind < 82) {
        snprintf(request->statements[0], STATEMENT_BYTES, "delete %s", key);
    } else if (kind < 90) {
        snprintf(request->statements[0], STATEMENT_BYTES, "move %s %s", key, other);
    } else {
        snprintf(request->statements[0], STATEMENT_BYTES, "draw %s", request->id);
    }
}

static void plan_weak(struct sim *sim, struct request *request)
{
    static const char *const names[] = {"a", "b", "n", "c"};
    char key[KEY_BYTES], other[KEY_BYTES];
    bool is_kept = sim_chance(sim, 300000); // rows that are never deleted: what must be in them follows from all writes
    draw_key(sim, is_kept ? 'V' : 'W', key);
    draw_key(sim, 'W', other);
    const char *column = names[sim_draw(sim, 0, 3)];
    request->is_weak = true;
    request->leaves_id = true;
    request->n_statements = 1;
    if (percent(sim, sim->knobs.durable_percent)) {
        request->durability = sim_chance(sim, 700000) ? OPERATION_MAJORITY : OPERATION_ALL;
    }
    request->is_keyed = percent(sim, sim->knobs.keyed_percent);
    uint64_t kind = sim_draw(sim, 0, is_kept ? 74 : 99);
    if (kind < 25) {
        snprintf(request->statements[0], STATEMENT_BYTES, "insert %s %s", key, request->id);
    } else if (kind < 55) {
        snprintf(request->statements[0], STATEMENT_BYTES, "update %s %s %s", key, column, request->id);
    } else if (kind < 75) {
        snprintf(request->statements[0], STATEMENT_BYTES, "upsert %s %s %s", key, column, request->id);
    } else if (kind < 80) {
        snprintf(request->statements[0], STATEMENT_BYTES, "sweep %s %s", column, request->id);
    } else if (kind < 86) {
        snprintf(request->statements[0], STATEMENT_BYTES, "move %s %s %s", key, other, request->id);
    } else {
        snprintf(request->statements[0], STATEMENT_BYTES, "delete %s", key);
        request->leaves_id = false;
    }
}

static void plan_read(struct sim *sim, struct request *request)
{
    request->is_read = true;
    request->is_session = !request->is_probe && percent(sim, sim->knobs.session_percent);
    request->is_weak = !request->is_session && !request->is_probe && percent(sim, sim->knobs.weak_percent / 2);
    request->commit_at_begin = request->is_session || request->is_weak ? 0 : sim_check_commit(sim);
    if (request->is_weak) {
        request->spread_at_begin = cc_alloc(sizeof(*request->spread_at_begin));
        *request->spread_at_begin = sim->clients->spread;
    }
    draw_key(sim, sim_chance(sim, 700000) ? 'L' : 'M', request->keys[0]);
}

static void next_request(struct sim *sim, struct sim_event *event)
{
    if (sim->phase != SIM_FAULTS) {
        return;
    }
    struct request *request = request_create(sim, (uint32_t)event->a);
    if (percent(sim, sim->knobs.read_percent)) {
        plan_read(sim, request);
    } else if (sim_check_commit(sim) > 0 && percent(sim, sim->knobs.weak_percent)) { // before that there is no table
        plan_weak(sim, request);
    } else if (percent(sim, sim->knobs.migrate_percent)) {
        request->is_migration = true;
        sim->counters.migrations++;
        snprintf(request->keys[0], KEY_BYTES, "m%u", (unsigned)(uint32_t)sim_draw(sim, 1, 6));
    } else {
        plan_strong(sim, request);
    }
    attempt_start(sim, request, 0);
}

static void finish(struct sim *sim, struct request *request, enum verdict verdict)
{
    assert(request->verdict == RUNNING);
    request->verdict = request->maybe && verdict == REFUSED ? UNKNOWN : verdict;
    request->end_us = sim->now_us;
    sim->clients->n_running--;
    sim->counters.acknowledged += request->verdict == DONE ? 1 : 0;
    sim->counters.unknown += request->verdict == UNKNOWN ? 1 : 0;
    sim->counters.refused += request->verdict == REFUSED ? 1 : 0;
    sim->counters.reads += request->is_read && request->verdict == DONE ? 1 : 0;
    sim_trace(sim, "client %u request %u %s", request->client, request->number, verdict_names[request->verdict]);
    SIM_CHECK(sim, "L1", !request->is_probe || request->verdict == DONE, "a request to r%u was %s although everything is whole",
              request->at, verdict_names[request->verdict]);
    sim_after(sim, sim_spread(sim, sim->knobs.think_us), next_request, 0)->a = request->client;
}

// -- Attempts -------------------------------------------------------------------------------------------------------

static void put_id(uint64_t token, uint8_t id_out[OPERATION_ID_BYTES])
{
    memset(id_out, 0, OPERATION_ID_BYTES);
    memcpy(id_out, &token, sizeof(token));
}

static uint32_t timeout_ms(const struct sim *sim, const struct request *request)
{
    return request->is_probe ? PROBE_MS : (uint32_t)sim->knobs.timeout_ms;
}

static void encode(struct sim *sim, const struct request *request, const struct sim_replica *replica, uint64_t token, struct cc_buffer *out)
{
    struct rest_statement statements[STATEMENTS_MAX] = {0};
    for (uint32_t i = 0; i < request->n_statements; i++) {
        statements[i].kind = REST_UPSERT;
        statements[i].weak = request->is_weak;
        statements[i].sql = cc_slice_text(request->statements[i]);
        statements[i].rows_max = UINT64_MAX;
    }
    struct operation operation = {
        .timeout_ms = timeout_ms(sim, request),
        .kind = request->is_migration ? OPERATION_MIGRATION : OPERATION_STATEMENTS,
        .schema_version = replica->node->strong.schema_version,
        .weak = request->is_weak,
        .durability = request->durability,
        .n_statements = request->n_statements,
        .statements = statements,
        .migration_name = cc_slice_text(request->keys[0]),
        .migration_sql = cc_slice_text("CREATE TABLE"),
    };
    if (request->is_keyed) {
        operation.principal = cc_slice_text("p");
        operation.key = cc_slice_text(request->id);
        operation.fingerprint = cc_slice_text(request->id);
    }
    put_id(token, operation.id);
    operation_put(out, &operation);
}

static struct memory *memory_of(struct sim *sim, const struct request *request)
{
    return &sim->clients->memories[request->client - 1];
}

// As the gateway of this replica does it.
static void shorten(const struct sim *sim, const struct sim_replica *replica, struct session *token)
{
    if (sim->knobs.session_bytes > 0 && session_is_long(token, sim->knobs.session_bytes)) {
        struct node_garbage garbage;
        node_garbage(replica->node, &garbage);
        session_shorten(token, &garbage.history, sim->knobs.session_bytes);
    }
}

static void ask_to_read(struct sim *sim, struct sim_replica *replica, const struct request *request, uint64_t token)
{
    struct node_time time = sim_replica_time(sim, replica);
    if (request->is_session) {
        const struct session *session = &memory_of(sim, request)->token;
        node_read_session(replica->node, time, token, session->index, &session->frontier, session->shortened, timeout_ms(sim, request));
    } else if (request->is_weak) {
        node_read_weak(replica->node, time, token, timeout_ms(sim, request));
    } else {
        node_read(replica->node, time, token, timeout_ms(sim, request));
    }
}

static void submit(struct sim *sim, struct sim_event *event)
{
    uint64_t token = event->a;
    struct attempt *attempt = &sim->clients->attempts[token - 1];
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    const struct request *request = attempt->request;
    attempt->submitted = true;
    attempt->submitted_us = sim->now_us;
    attempt->no_space = replica->told_space_low && !request->is_read;
    sim_trace(sim, "client %u request %u attempt %" PRIu64 " at r%u: %s %s; %s", request->client, request->number, token, replica->id,
              request->is_read ? "read" : request->is_migration ? "migrate" : "", request->is_read || request->is_migration ? request->keys[0] : request->statements[0],
              request->statements[1]);
    if (request->is_read) {
        ask_to_read(sim, replica, request, token);
    } else {
        struct cc_buffer bytes = {0};
        encode(sim, request, replica, token, &bytes);
        node_submit(replica->node, sim_replica_time(sim, replica), token, cc_buffer_slice(&bytes));
        cc_buffer_finish(&bytes);
    }
    sim_replica_settle(sim, replica);
}

static void retry(struct sim *sim, struct sim_event *event)
{
    attempt_start(sim, sim->clients->requests[event->a], 0);
}

// After an attempt that did not settle it: again, or the end.
static void unsettled(struct sim *sim, struct request *request, enum verdict verdict)
{
    request->maybe = request->maybe || verdict == UNKNOWN;
    bool may_retry = !request->is_read && (verdict == REFUSED ? !request->maybe || request->is_keyed : request->is_keyed);
    bool wants = request->n_attempts < ATTEMPTS_MAX && !request->is_probe && sim_chance(sim, 700000);
    if (may_retry && wants) {
        sim_after(sim, sim_draw(sim, 1000, 300000), retry, 0)->a = request->number - 1;
        return;
    }
    finish(sim, request, verdict);
}

static void attempt_start(struct sim *sim, struct request *request, uint64_t delay_us)
{
    struct sim_clients *clients = sim->clients;
    uint32_t replica = request->is_probe ? request->at : (uint32_t)sim_draw(sim, 1, sim->n_replicas);
    request->n_attempts++;
    if (!sim_replica_of(sim, replica)->alive) { // connection refused
        unsettled(sim, request, REFUSED);
        return;
    }
    clients->attempts = cc_grow(clients->attempts, &clients->attempts_capacity, clients->n_attempts + 1, sizeof(*clients->attempts));
    clients->attempts[clients->n_attempts++] = (struct attempt){.request = request, .replica = replica, .waits = true};
    sim_after(sim, delay_us + sim_draw(sim, 1, 200), submit, replica)->a = clients->n_attempts;
}

void sim_clients_replica_died(struct sim *sim, struct sim_replica *replica)
{
    for (size_t i = 0; i < sim->clients->n_attempts; i++) {
        struct attempt *attempt = &sim->clients->attempts[i];
        if (attempt->waits && attempt->replica == replica->id) {
            attempt->waits = false;
            attempt->refused = !attempt->submitted;
            unsettled(sim, attempt->request, attempt->submitted ? UNKNOWN : REFUSED);
        }
    }
}

// -- Answers --------------------------------------------------------------------------------------------------------

static void check_in_time(struct sim *sim, const struct sim_replica *replica, const struct attempt *attempt)
{
    uint64_t deadline_us = attempt->submitted_us + timeout_ms(sim, attempt->request) * UINT64_C(1000) + LATE_US;
    bool was_paused = replica->paused_until_us >= attempt->submitted_us;
    SIM_CHECK(sim, "deadline", was_paused || sim->now_us <= deadline_us, "r%u answers request %u only now", replica->id,
              attempt->request->number);
}

// Where a database was lost under a current log, a majority may be without what it had confirmed: docs/adr/amnesia.md.
static bool may_miss_confirmed(const struct sim *sim)
{
    return sim->counters.databases_lost > 0 || sim->knobs.member_mean_us > 0;
}

// What was left out of its token everybody had on disk.
static bool holds_seen(const struct sim *sim, const struct memory *memory, const struct crdt_frontier *frontier)
{
    bool may_miss = memory->token.shortened && may_miss_confirmed(sim);
    return crdt_frontier_covers(frontier, &memory->token.frontier) && (may_miss || crdt_frontier_covers(frontier, &memory->seen));
}

// As io_gateway_rows.c: where the database is down it waits for that first, then asks for all that it asked for before.
static void read_again(struct sim *sim, struct sim_replica *replica, const struct sim_event *event, bool up)
{
    struct attempt *attempt = &sim->clients->attempts[event->a - 1];
    const struct request *request = attempt->request;
    bool asks_all = request->is_session || request->is_weak;
    attempt->submitted_us = sim->now_us;
    attempt->asks_index = !up && asks_all;
    if (up && asks_all) {
        free(attempt->wanted);
        attempt->wanted = NULL;
        ask_to_read(sim, replica, request, event->a);
    } else {
        uint64_t index = event->b > 0 ? event->b : 1;
        node_read_at(replica->node, sim_replica_time(sim, replica), event->a, index, timeout_ms(sim, request));
    }
    sim_replica_settle(sim, replica);
}

static void select_row(struct sim *sim, struct sim_event *event)
{
    struct attempt *attempt = &sim->clients->attempts[event->a - 1];
    struct request *request = attempt->request;
    struct sim_replica *replica = sim_replica_of(sim, event->replica);
    if (attempt->asks_index) { // its database is back
        attempt->asks_index = false;
        attempt->submitted_us = sim->now_us;
        ask_to_read(sim, replica, request, event->a);
        sim_replica_settle(sim, replica);
        return;
    }
    struct cc_buffer value = {0};
    uint64_t applied = 0;
    struct crdt_frontier frontier;
    bool up = sim_database_read(replica->database, request->keys[0], &value, &applied);
    sim_database_frontier(replica->database, &frontier);
    struct memory *memory = request->is_session ? memory_of(sim, request) : NULL;
    bool behind = (memory != NULL && applied < memory->token.index) || (attempt->wanted != NULL && !crdt_frontier_covers(&frontier, attempt->wanted));
    if (!up || behind || applied < event->b) { // this database lost what it had: wait until it has it again
        cc_buffer_finish(&value);
        read_again(sim, replica, event, up);
        return;
    }
    SIM_CHECK(sim, "I11", applied >= request->commit_at_begin,
              "request %u read at index %" PRIu64 ", but %" PRIu64 " was committed when it began", request->number, applied,
              request->commit_at_begin);
    SIM_CHECK(sim, "W8", !request->is_weak || may_miss_confirmed(sim) || sim_weak_check_holds(sim, &frontier, request->spread_at_begin),
              "request %u read rows without changes that a majority had confirmed when it began", request->number);
    if (memory != NULL) {
        SIM_CHECK(sim, "W8", holds_seen(sim, memory, &frontier), "request %u read rows without changes that its session has seen", request->number);
        sim->counters.session_reads++;
        sim->counters.shortened_reads += memory->token.shortened;
        memory->token = (struct session){.index = applied, .frontier = frontier, .shortened = memory->token.shortened};
        memory->seen = frontier;
        shorten(sim, replica, &memory->token);
    }
    sim->counters.weak_reads += request->is_weak ? 1 : 0;
    attempt->waits = false;
    request->applied = applied;
    request->value = cc_blob_create(value.data, value.n);
    cc_buffer_finish(&value);
    finish(sim, request, DONE);
}

static void check_recorded(struct sim *sim, const struct attempt *attempt, const struct node_answer *answer)
{
    const struct request *request = attempt->request;
    SIM_CHECK(sim, "I3", attempt->committed_index > 0 && attempt->committed_index <= sim_check_commit(sim),
              "request %u was answered but is not committed", request->number);
    SIM_CHECK(sim, "I12", answer->index == 0 || answer->index == attempt->committed_index,
              "request %u was answered as of index %" PRIu64 " but is committed at %" PRIu64, request->number, answer->index,
              attempt->committed_index);
    SIM_CHECK(sim, "I12", cc_slice_equal(answer->outcome, cc_blob_slice(attempt->outcome)),
              "request %u was answered with another outcome than the committed one", request->number);
}

// An acknowledged write is part of what its client has seen.
static void take_token(struct sim *sim, const struct sim_replica *replica, const struct request *request, const struct node_answer *answer)
{
    struct memory *memory = memory_of(sim, request);
    session_wrote(&memory->token, answer->index);
    enum cc_status status = session_wrote_weak(&memory->token, answer->origin, answer->sequence);
    SIM_CHECK(sim, "W8", status == CC_OK, "too many origins in a session");
    status = crdt_frontier_raise(&memory->seen, answer->origin, answer->sequence);
    SIM_CHECK(sim, "W8", status == CC_OK, "too many origins in a session");
    struct crdt_frontier saw;
    struct cc_reader reader = cc_reader_of(answer->frontier);
    if (answer->frontier.n > 0) {
        status = crdt_frontier_read(&reader, &saw) == CC_OK ? crdt_frontier_join(&memory->token.frontier, &saw) : CC_MALFORMED;
        SIM_CHECK(sim, "W8", status == CC_OK, "a write cannot tell what it saw");
    }
    shorten(sim, replica, &memory->token);
}

// A read is let through when the replica believes that it holds what must be seen. The thread that reads looks again, in its own
// snapshot; this is about the node.
static void check_let_through(struct sim *sim, const struct sim_replica *replica, const struct request *request, uint64_t index)
{
    uint64_t applied = replica->node->strong.applied;
    const struct crdt_frontier *frontier = &replica->node->weak.frontier;
    SIM_CHECK(sim, "C3", applied >= index, "r%u lets request %u read at %" PRIu64 " before it has applied that", replica->id,
              request->number, index);
    SIM_CHECK(sim, "W8", !request->is_weak || may_miss_confirmed(sim) || crdt_frontier_covers(frontier, request->spread_at_begin),
              "r%u lets request %u read before it holds what a majority had acknowledged", replica->id, request->number);
    const struct memory *memory = memory_of(sim, request);
    bool holds = applied >= memory->token.index && holds_seen(sim, memory, frontier);
    SIM_CHECK(sim, "W8", !request->is_session || holds, "r%u lets request %u read before it holds what the session has seen",
              replica->id, request->number);
}

// What is said to be durable at others is there, and a crash of their databases leaves it.
static void check_durability(struct sim *sim, const struct request *request, const struct node_answer *answer)
{
    uint32_t n_holding = 0, n_present = 0;
    for (uint32_t id = 1; id <= sim->n_replicas && answer->durability != OPERATION_LOCAL; id++) {
        struct crdt_frontier frontier;
        if (sim_replica_of(sim, id)->absent) {
            continue;
        }
        n_present++;
        sim_database_frontier(sim_replica_of(sim, id)->database, &frontier);
        bool is_own = id == answer->origin.replica; // in its log
        n_holding += is_own || crdt_frontier_get(&frontier, answer->origin) >= answer->sequence ? 1 : 0;
    }
    bool good = answer->durability == OPERATION_LOCAL || n_holding == n_present ||
                (answer->durability == OPERATION_MAJORITY && n_holding > n_present / 2);
    good = good || sim->counters.amnesias > 0 || sim->knobs.member_mean_us > 0; // or it was, and the disk is lost
    SIM_CHECK(sim, "W5", good, "weak request %u was answered as spread, but only %u replicas hold it", request->number, n_holding);
    if (answer->durability != OPERATION_LOCAL) {
        enum cc_status status = crdt_frontier_raise(&sim->clients->spread, answer->origin, answer->sequence);
        SIM_CHECK(sim, "W5", status == CC_OK, "too many origins");
    }
}

static void take_outcome(struct sim *sim, struct attempt *attempt, const struct node_answer *answer)
{
    struct request *request = attempt->request;
    struct rest_outcome outcome;
    enum cc_status status = rest_outcome_read(answer->outcome, &outcome);
    SIM_CHECK(sim, "codec", status == CC_OK, "request %u: the outcome cannot be read", request->number);
    attempt->waits = false;
    request->n_rows = outcome.n_rows;
    SIM_CHECK(sim, "B6", !attempt->no_space || outcome.kind == REST_REFUSED, "r%u takes request %u although its disk is nearly full", attempt->replica,
              request->number);
    switch (outcome.kind) {
    case REST_DONE:
    case REST_FAILED:
        if (!request->is_weak) {
            check_recorded(sim, attempt, answer);
        } else if (answer->sequence > 0) {
            check_durability(sim, request, answer);
        }
        take_token(sim, sim_replica_of(sim, attempt->replica), request, answer);
        finish(sim, request, outcome.kind == REST_DONE ? DONE : FAILED);
        return;
    case REST_REFUSED:
        sim_trace(sim, "request %u is refused: %.*s", request->number, (int)outcome.message.n, (const char *)outcome.message.data);
        attempt->refused = true;
        SIM_CHECK(sim, "D8", attempt->committed_index == 0, "request %u was refused as not executed, but is committed", request->number);
        unsettled(sim, request, REFUSED);
        return;
    case REST_UNKNOWN:
        unsettled(sim, request, UNKNOWN);
        return;
    }
}

static void take_wanted(struct sim *sim, struct attempt *attempt, const struct node_answer *answer)
{
    struct cc_reader reader = cc_reader_of(answer->frontier);
    if (answer->frontier.n > 0) {
        struct crdt_frontier *before = attempt->wanted;
        attempt->wanted = cc_alloc(sizeof(*attempt->wanted));
        bool good = crdt_frontier_read(&reader, attempt->wanted) == CC_OK;
        for (uint32_t i = 0; before != NULL && i < before->n; i++) {
            good = crdt_frontier_raise(attempt->wanted, before->at[i].origin, before->at[i].sequence) == CC_OK && good;
        }
        free(before);
        SIM_CHECK(sim, "answers", good, "a read's frontier cannot be read");
    }
    const struct request *request = attempt->request;
    bool told = !request->is_weak || (attempt->wanted != NULL && (may_miss_confirmed(sim) || sim_weak_check_holds(sim, attempt->wanted, request->spread_at_begin)));
    SIM_CHECK(sim, "W8", told,
              "request %u may read rows without changes that a majority had confirmed when it began", request->number);
}

void sim_clients_answer(struct sim *sim, struct sim_replica *replica, const struct node_answer *answer)
{
    SIM_CHECK(sim, "answers", answer->token >= 1 && answer->token <= sim->clients->n_attempts, "an answer to nobody");
    struct attempt *attempt = &sim->clients->attempts[answer->token - 1];
    SIM_CHECK(sim, "answers", attempt->waits && attempt->submitted, "request %u is answered twice", attempt->request->number);
    check_in_time(sim, replica, attempt);
    if (answer->kind == NODE_ANSWER_READ) {
        SIM_CHECK(sim, "I11", attempt->request->is_read, "a read's answer to a write");
        if (!attempt->asks_index) {
            check_let_through(sim, replica, attempt->request, answer->index);
            take_wanted(sim, attempt, answer);
        }
        struct sim_event *event = sim_after(sim, sim_draw(sim, 1, SELECT_US_MAX), select_row, replica->id);
        event->a = answer->token;
        event->b = answer->index;
        return;
    }
    take_outcome(sim, attempt, answer);
}

void sim_clients_committed(struct sim *sim, const struct entry_operation *operation, uint64_t index)
{
    uint64_t token;
    memcpy(&token, operation->id, sizeof(token));
    SIM_CHECK(sim, "I12", token >= 1 && token <= sim->clients->n_attempts, "entry %" PRIu64 " holds an operation of nobody", index);
    struct attempt *attempt = &sim->clients->attempts[token - 1];
    SIM_CHECK(sim, "I12", attempt->committed_index == 0, "request %u is committed at %" PRIu64 " and again at %" PRIu64,
              attempt->request->number, attempt->committed_index, index);
    SIM_CHECK(sim, "D8", !attempt->refused, "request %u was refused as not executed, but is committed", attempt->request->number);
    attempt->committed_index = index;
    attempt->outcome = cc_blob_create(operation->outcome.data, operation->outcome.n);
}

// -- Life -----------------------------------------------------------------------------------------------------------

struct sim_clients *sim_clients_create(struct sim *sim)
{
    struct sim_clients *clients = cc_alloc(sizeof(*clients));
    size_t n_sessions = sim->knobs.n_clients > sim->n_replicas ? sim->knobs.n_clients : sim->n_replicas; // probes have one each
    clients->memories = cc_alloc_array(n_sessions, sizeof(*clients->memories));
    for (uint32_t client = 1; client <= sim->knobs.n_clients; client++) {
        sim_after(sim, sim_draw(sim, 0, 500 * 1000), next_request, 0)->a = client;
    }
    return clients;
}

void sim_clients_destroy(struct sim_clients *clients)
{
    for (size_t i = 0; i < clients->n_requests; i++) {
        cc_blob_unref(clients->requests[i]->value);
        free(clients->requests[i]->spread_at_begin);
        free(clients->requests[i]);
    }
    for (size_t i = 0; i < clients->n_attempts; i++) {
        cc_blob_unref(clients->attempts[i].outcome);
        free(clients->attempts[i].wanted);
    }
    free(clients->memories);
    free(clients->requests);
    free(clients->attempts);
    free(clients);
}

bool sim_clients_are_idle(const struct sim *sim)
{
    return sim->clients->n_running == 0;
}

static struct request *probe(struct sim *sim, uint32_t replica)
{
    struct request *request = request_create(sim, replica);
    request->is_probe = true;
    request->at = replica;
    return request;
}

void sim_clients_probe(struct sim *sim)
{
    for (uint32_t id = 1; id <= sim->n_replicas; id++) {
        if (sim_replica_of(sim, id)->absent) {
            continue;
        }
        struct request *request = probe(sim, id);
        plan_append(sim, request, 1);
        attempt_start(sim, request, 0);

        request = probe(sim, id);
        plan_read(sim, request);
        attempt_start(sim, request, 0);

        request = probe(sim, id);
        request->is_weak = request->leaves_id = true;
        request->n_statements = 1;
        snprintf(request->statements[0], STATEMENT_BYTES, "insert Z%u %s", id, request->id);
        attempt_start(sim, request, 0);
    }
}

// -- The end: can it have been so? ----------------------------------------------------------------------------------

// A list at the end: who wrote each element, and what follows for those who have read a part of it.
struct list {
    const char *key;
    struct cc_buffer bytes;
    size_t n;
    const struct request **at;
    uint64_t *first_end_us;  // of the acknowledged ones from here on
    uint64_t *last_begin_us; // of those before here
    uint32_t *n_times;       // by request number: how often it is in the list
};

static struct request *request_at(const struct sim *sim, const uint8_t *element)
{
    char id[ID_BYTES] = {0};
    memcpy(id, element, ID_BYTES - 1);
    unsigned long number = strtoul(id, NULL, 16);
    return number >= 1 && number <= sim->clients->n_requests ? sim->clients->requests[number - 1] : NULL;
}

static void list_init(struct sim *sim, const char *key, struct list *list)
{
    *list = (struct list){.key = key};
    uint64_t applied;
    bool up = sim_database_read(sim_present(sim)->database, key, &list->bytes, &applied);
    SIM_CHECK(sim, "linear", up, "the database is down at the end");
    list->n = list->bytes.n / ID_BYTES;
    list->at = cc_alloc_array(list->n, sizeof(*list->at));
    list->first_end_us = cc_alloc_array(list->n + 1, sizeof(uint64_t));
    list->last_begin_us = cc_alloc_array(list->n + 1, sizeof(uint64_t));
    list->n_times = cc_alloc_array(sim->clients->n_requests + 1, sizeof(uint32_t));
    for (size_t i = 0; i < list->n; i++) {
        const struct request *request = list->at[i] = request_at(sim, list->bytes.data + i * ID_BYTES);
        SIM_CHECK(sim, "linear", request != NULL, "list %s holds what nobody wrote", key);
        list->n_times[request->number]++;
        uint64_t before_us = list->last_begin_us[i];
        list->last_begin_us[i + 1] = request->begin_us > before_us ? request->begin_us : before_us;
    }
    list->first_end_us[list->n] = UINT64_MAX;
    for (size_t i = list->n; i > 0; i--) {
        uint64_t end_us = list->at[i - 1]->verdict == DONE ? list->at[i - 1]->end_us : UINT64_MAX;
        list->first_end_us[i - 1] = end_us < list->first_end_us[i] ? end_us : list->first_end_us[i];
    }
}

static void list_finish(struct list *list)
{
    cc_buffer_finish(&list->bytes);
    free(list->at);
    free(list->first_end_us);
    free(list->last_begin_us);
    free(list->n_times);
}

static void check_order(struct sim *sim, const struct list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct request *request = list->at[i];
        bool ended_before = request->verdict == DONE && request->end_us < list->last_begin_us[i];
        SIM_CHECK(sim, "linear", !ended_before, "list %s: request %u ended before one began that it comes after", list->key, request->number);
    }
}

static void check_append(struct sim *sim, const struct request *request, const struct list *list)
{
    uint32_t n = list->n_times[request->number];
    bool good = true;
    switch (request->verdict) {
    case DONE:
        good = n == 1;
        break;
    case UNKNOWN:
        good = n <= 1;
        break;
    case FAILED:
    case REFUSED:
        good = n == 0;
        break;
    case RUNNING:
        good = false;
        break;
    }
    SIM_CHECK(sim, "linear", good, "request %u was %s but is %u times in list %s", request->number, verdict_names[request->verdict],
              n, list->key);
}

static void check_read(struct sim *sim, const struct request *read, const struct list *list)
{
    struct cc_slice seen = cc_blob_slice(read->value);
    bool prefix = seen.n <= list->bytes.n && seen.n % ID_BYTES == 0 && (seen.n == 0 || memcmp(seen.data, list->bytes.data, seen.n) == 0);
    SIM_CHECK(sim, "linear", prefix, "request %u read what list %s never was", read->number, list->key);
    size_t n = seen.n / ID_BYTES;
    SIM_CHECK(sim, "linear", read->is_session || list->first_end_us[n] >= read->begin_us, "request %u did not read what had been written before",
              read->number);
    SIM_CHECK(sim, "linear", list->last_begin_us[n] <= read->end_us, "request %u read from the future", read->number);
}

static void check_list(struct sim *sim, const char *key)
{
    struct list list;
    list_init(sim, key, &list);
    check_order(sim, &list);
    uint64_t longest_end_us = 0;
    size_t longest = 0;
    for (size_t i = 0; i < sim->clients->n_requests; i++) {
        const struct request *request = sim->clients->requests[i];
        for (uint32_t s = 0; s < STATEMENTS_MAX; s++) {
            if (request->is_append && strcmp(request->keys[s], key) == 0) {
                check_append(sim, request, &list);
            }
        }
        if (request->is_read && !request->is_weak && request->verdict == DONE && strcmp(request->keys[0], key) == 0) {
            check_read(sim, request, &list);
            // Requests are in order of their beginning: what an earlier read saw is seen by those that begin after its end.
            bool later = !request->is_session && request->begin_us > longest_end_us;
            SIM_CHECK(sim, "linear", !later || request->value->n >= longest, "request %u read less than an earlier read",
                      request->number);
            if (request->value->n > longest) {
                longest = request->value->n;
                longest_end_us = request->end_us;
            }
        }
    }
    list_finish(&list);
}

static void check_weak(struct sim *sim, const struct request *request)
{
    uint32_t n = sim_check_value_count(sim, cc_slice_text(request->id));
    // Under one key it may have been executed at replicas that did not hear of each other: twins, which merge to one.
    uint32_t n_max = request->is_keyed ? request->n_attempts : 1;
    bool good = true;
    switch (request->verdict) {
    case DONE:
        good = n <= n_max && (request->n_rows > 0 ? n > 0 : request->is_keyed || n == 0);
        break;
    case UNKNOWN:
        good = n <= n_max;
        break;
    case FAILED:
        good = request->is_keyed ? n <= n_max : n == 0;
        break;
    case REFUSED:
        good = n == 0;
        break;
    case RUNNING:
        good = false;
        break;
    }
    SIM_CHECK(sim, "W5", good, "weak request %u was %s but is in %u change sets", request->number, verdict_names[request->verdict], n);
}

void sim_clients_check(struct sim *sim)
{
    for (uint64_t key = 1; key <= sim->knobs.n_keys; key++) {
        char name[KEY_BYTES];
        snprintf(name, sizeof(name), "L%u", (unsigned)key);
        check_list(sim, name);
        snprintf(name, sizeof(name), "M%u", (unsigned)key);
        check_list(sim, name);
    }
    for (size_t i = 0; i < sim->clients->n_requests; i++) {
        const struct request *request = sim->clients->requests[i];
        if (request->is_weak && !request->is_read && request->leaves_id) {
            check_weak(sim, request);
        }
    }
}
