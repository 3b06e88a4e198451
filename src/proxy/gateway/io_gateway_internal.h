// Inside of the gateway: shared by io_gateway*.c only.
#ifndef PROXY_IO_GATEWAY_INTERNAL_H
#define PROXY_IO_GATEWAY_INTERNAL_H

#include "proxy/gateway/io_gateway.h"
#include "proxy/postgres/io_postgres_read.h"
#include "proxy/node/session.h"
#include "rest/http_server.h"
#include "rest/plan.h"

#include <pthread.h>
#include <uthash.h>
#include <utlist.h>

// One request under way.
//
//   PLAN --read, local--------------------> QUERY --rows--> answered
//     |  \-read, linearizable-> ASK_INDEX -->^  \--database is behind--> ASK_INDEX
//     |---write-> CORE --outcome--> answered
//     |    \-writes pause here-> PAUSED --it is over--> CORE
//     |             \--schema changed--> CATALOG --newer catalog--> PLAN
//     \---name unknown--> BARRIER --> CATALOG or PLAN
//   STATUS: an operator's question to the core
enum exchange_state {
    EXCHANGE_PLAN,
    EXCHANGE_BARRIER,
    EXCHANGE_CATALOG,
    EXCHANGE_ASK_INDEX,
    EXCHANGE_QUERY,
    EXCHANGE_PAUSED,
    EXCHANGE_CORE,
    EXCHANGE_STATUS,
};
enum { EXCHANGE_STATES = EXCHANGE_STATUS + 1 };

struct exchange {
    uint64_t number; // what the core knows it by: worker index above, counter below
    uint64_t token;  // what the HTTP server knows it by
    struct worker *worker;
    enum exchange_state state;
    uint64_t deadline_us;
    struct cc_arena arena;
    struct rest_request request; // copied
    struct cc_slice principal;   // who sent it, for Idempotency-Key
    bool sees_all;               // descriptions are not limited to what its role may use
    struct rest_plan plan;
    uint32_t n_operations;   // of a transaction: their plans, of which `plan` is the first
    struct rest_plan *plans;
    struct catalog_snapshot *snapshot;
    uint32_t n_plans, n_queries;
    bool barrier_passed;     // the catalog is known to be current
    uint32_t catalog_wanted; // CATALOG: at least this version
    struct cc_buffer submission; // PAUSED: for the core
    uint64_t read_index;
    struct cc_slice estimate; // the planner's, of the number of rows
    struct session *session; // the client's token; NULL: none
    bool session_asked;      // the core was asked to wait for it
    bool weak_asked;         // the core was asked for what a majority holds of weak tables
    uint64_t asked_us;       // when it was asked for what is newest, and has not answered yet; else 0
    bool own_asked;          // the core was asked to commit what this replica has acknowledged of weak tables
    bool is_owners;          // so that exchange->statement can run
    bool is_long;            // which reads a whole table
    struct crdt_frontier *read_frontier; // of weak tables, what must be there; NULL: nothing particular
    // An operator's request: what becomes of rows, an outcome or a status.
    void (*on_rows)(struct exchange *exchange, const struct io_postgres_read_result *rows);
    void (*on_outcome)(struct exchange *exchange, const struct rest_outcome *outcome, uint64_t index);
    void (*on_status)(struct exchange *exchange, const struct node_status *status, const struct status_shell *shell);
    struct rest_statement statement; // of an operator's query
    const char *name;                // of a migration
    struct history *history;         // a request about histories
    struct exchange *prev, *next;    // in worker->waiting while CATALOG, in worker->paused while PAUSED
    UT_hash_handle hh;
};

struct worker { // per HTTP thread
    struct io_gateway *gateway;
    struct http_worker *http;
    struct io_postgres_read *reads;       // for the row protocol: cannot become more than a role that tokens may name
    struct io_postgres_read *owner_reads; // for operators' queries; NULL until the first of them
    struct io_postgres_read *long_reads;  // for those that read whole tables; NULL until the first of them
    struct io_auth_cache *auth;
    struct exchange *exchanges; // by number
    struct exchange *waiting;   // for a catalog
    struct exchange *paused;    // until writes go on
    struct exchange *idle;      // zeroed but for their arenas, for the next requests: linked by next
    uint32_t n_idle;
    uint64_t next_number;
    struct event *timer;
    struct event *go_on; // when the pause is over
};

struct io_gateway {
    struct io_gateway_options options;
    struct cc_arena arena;
    struct rest_options rest; // of every request
    struct http_server *server;
    uint64_t id_seed; // first half of operation ids: random, of this process
    uint32_t n_workers;
    _Atomic bool is_member;
    _Atomic uint64_t paused_until_us; // no write begins before
    _Atomic bool has_unread; // acknowledged weak writes that are not committed
    pthread_mutex_t lock; // guards what follows
    struct crdt_frontier everywhere;
    struct made_sure { // what was newest when the core was asked at these times; 0: never
        uint64_t index_us, index;
        uint64_t frontier_us;
        struct crdt_frontier frontier;
    } sure;
};

// If its token would be long.
void gateway_shorten(struct io_gateway *gateway, struct session *session);
uint64_t gateway_now_us(void);
void exchange_move(struct exchange *exchange, enum exchange_state state);
// Ends the exchange with an answer.
void exchange_reply(struct exchange *exchange, const struct rest_reply *reply);
void exchange_reply_json(struct exchange *exchange, int status, struct cc_slice body);
void exchange_fail(struct exchange *exchange, int status, const char *code, const char *message, const char *hint);
void exchange_fail_outcome(struct exchange *exchange, const struct rest_outcome *outcome);
void exchange_fail_rows(struct exchange *exchange, const struct io_postgres_read_result *rows);
// Hands a question to the core; answers 503 itself when its inbox is full.
void exchange_ask_core(struct exchange *exchange, enum inbox_kind kind, uint64_t index, struct cc_buffer *bytes);
// Submits a write. The operation's identity is filled in here.
void exchange_submit(struct exchange *exchange, struct operation *operation);
// A name is unknown: begins again once this replica's catalog is known to be current (barrier_passed), or cannot be made so.
void exchange_make_current(struct exchange *exchange);
// Before a read of weak tables that the core is not asked about otherwise. True: it was asked, or the exchange is answered; once.
bool exchange_waits_for_own(struct exchange *exchange);
// Runs a statement of a request on a read connection; on_rows gets the result.
void exchange_query(struct exchange *exchange, const struct rest_statement *statement);
// The same with exchange->statement, a text of ours, as Caucus itself.
void exchange_query_as_owner(struct exchange *exchange);
// The same for a statement that reads a whole table: it may take many minutes, and other operators' queries do not wait for it.
void exchange_query_for_long(struct exchange *exchange);
// New writes at this replica wait until then; a time that has passed: those that wait go on.
void gateway_pause(struct io_gateway *gateway, uint64_t until_us);

// io_gateway_identity.c: who asks, and whether they may. False: answered.
bool exchange_identify(struct exchange *exchange);
bool exchange_is_for_pages(const struct exchange *exchange); // of other origins: CORS

// io_gateway_rows.c: the row protocol.
void rows_begin(struct exchange *exchange); // plans, with the snapshot that it holds
// Does what the plan says. A read's or write's answer comes later.
void rows_run(struct exchange *exchange);
void rows_core_read(struct exchange *exchange, const struct node_answer *answer);
void rows_core_outcome(struct exchange *exchange, const struct rest_outcome *outcome, const struct node_answer *answer);

// io_gateway_transaction.c: POST /_caucus/transaction.
void transaction_begin(struct exchange *exchange);

// io_gateway_operator.c: everything under /_caucus/.
bool operator_owns(struct cc_slice path);
enum access { ACCESS_OPEN, ACCESS_CLIENT, ACCESS_OPERATOR }; // everybody, who may use the row protocol, operators
enum access operator_access(struct cc_slice path);
void operator_begin(struct exchange *exchange);
bool operator_has_catalog(struct exchange *exchange); // false: answered
// The decoded value of the n-th query parameter of that name, or the NULL slice.
struct cc_slice operator_parameter(struct exchange *exchange, const char *name, uint32_t n);
// "name" in the first exposed schema, or "schema.name"; NULL: there is none that stores rows.
const struct rest_table *operator_table(struct exchange *exchange, struct cc_slice name);

// io_gateway_member.c: changes of the cluster's members.
void member_post(struct exchange *exchange);
void member_reload(struct exchange *exchange);

// io_gateway_faults.c, with testing hooks only: /_caucus/faults. False: there is no such endpoint.
bool faults_begin(struct exchange *exchange);

// io_gateway_history.c: histories of weak rows.
void history_get(struct exchange *exchange);
void history_get_conflicts(struct exchange *exchange);
void history_post_restore(struct exchange *exchange);
void history_begin_again(struct exchange *exchange); // before it is planned again with a newer catalog

#endif
