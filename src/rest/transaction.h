// Transaction: several row operations in one request, all or none (POST /_caucus/transaction).
//
//   {"operations": [{"method": "POST", "path": "/orders?select=id", "headers": {"Prefer": "return=representation"}, "body": {...}}, ...]}
//   -> 200 [{"status": 201, "headers": {...}, "body": [...]}, ...]
#ifndef REST_TRANSACTION_H
#define REST_TRANSACTION_H

#include "rest/outcome.h"
#include "rest/plan.h"

enum { REST_TRANSACTION_OPERATIONS_MAX = 128 };

// The operations as requests of their own, with identity and options of the outer one. They live in the arena and borrow from
// the outer request's body. CC_MALFORMED, CC_TOO_LARGE: refused, answer_out says why.
enum cc_status rest_transaction_read(const struct rest_request *outer, struct cc_arena *arena, uint32_t *n_out,
                                     struct rest_request **requests_out, struct rest_reply *answer_out) CC_CHECKED;
// Plans all of them; each must be a write of the same class. Fills plans_out[n]. REST_PLAN_WRITE when all can be run together;
// otherwise the kind of the first that cannot, with the whole transaction's answer in answer_out.
enum rest_plan_kind rest_transaction_plan(const struct rest_catalog *catalog, uint32_t n,
                                          const struct rest_request *requests, struct cc_arena *arena,
                                          struct rest_plan *plans_out, struct rest_reply *answer_out);
// The statements of one operation: the plans', each with what is to be called before and behind it. Borrowed from the plans.
struct rest_statement *rest_transaction_statements(uint32_t n, const struct rest_plan *plans, struct cc_arena *arena, uint32_t *n_out);
// The answer of a single write, whose operation was made by the same function.
void rest_transaction_reply_single(const struct rest_plan *plan, const struct rest_outcome *outcome, struct cc_arena *arena,
                                   struct rest_reply *reply_out);
// The answers in order. outcome is of the whole: when done, its body holds each statement's outcome as a string
// (rest_outcome_put form), or is that of the only one.
void rest_transaction_reply(uint32_t n, const struct rest_plan *plans, const struct rest_outcome *outcome,
                            struct cc_arena *arena, struct rest_reply *reply_out);

#endif
