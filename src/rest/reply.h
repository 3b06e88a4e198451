// Reply: from what PostgreSQL gave to an HTTP answer. Pure. Texts live in the arena or borrow from the result.
#ifndef REST_REPLY_H
#define REST_REPLY_H

#include "rest/error.h"
#include "rest/outcome.h"
#include "rest/plan.h"

enum { REST_READ_COLUMNS_MIN = 2, REST_READ_COLUMNS_MAX = 6 };

// The one row of a read, columns in this order (text format; NULL slices are SQL NULL). There are at least two; what is missing is NULL.
struct rest_read_result {
    struct cc_slice applied; // index that the database has applied, in the same snapshot; then, if weak tables are read,
                             // what it holds of weak changes: " <replica>.<incarnation>:<sequence>" each
    struct cc_slice body;    // the JSON text; of HEAD the hash of the only row, see etag.h, or NULL
    struct cc_slice page;    // rows in the body; NULL: the body is the only row, NULL when there is none
    struct cc_slice total;   // NULL unless counted
    struct cc_slice headers; // response.headers set by a function, or NULL
    struct cc_slice status;  // response.status set by a function, or NULL
    struct cc_slice estimate; // what plan.estimate gave, or NULL. Not a column
};

void rest_reply_read(const struct rest_plan *plan, const struct rest_read_result *result, struct cc_arena *arena,
                     struct rest_reply *reply_out);
// The lines of an EXPLAIN (plan.facts.is_explained), joined by '\n'.
void rest_reply_explained(const struct rest_plan *plan, struct cc_slice text, struct cc_arena *arena,
                          struct rest_reply *reply_out);
void rest_reply_write(const struct rest_plan *plan, const struct rest_outcome *outcome, struct cc_arena *arena,
                      struct rest_reply *reply_out);
// An error of a statement of this plan: PostgreSQL's SQLSTATE and texts (NULL slices where absent).
void rest_reply_failed(const struct rest_plan *plan, struct cc_slice code, struct cc_slice message,
                       struct cc_slice details, struct cc_slice hint, struct cc_arena *arena,
                       struct rest_reply *reply_out);
// An error with a status of the caller's choice, for answers that no plan made. details, hint: NULL where absent.
void rest_reply_error(int status, const char *code, const char *message, const char *details, const char *hint,
                      struct cc_arena *arena, struct rest_reply *reply_out);
void rest_reply_refuse(const struct rest_error *error, int status, struct cc_arena *arena,
                       struct rest_reply *reply_out);
void rest_reply_add_header(struct rest_reply *reply, struct cc_arena *arena, const char *name,
                           const char *value); // value is copied

// What a call (its one body) has said about the answer: response.status and response.headers.
void rest_reply_add_said(struct cc_slice body, struct cc_arena *arena, struct rest_reply *reply);

// Affected rows of a REST_CALL: its one result row (tag 'C') has them in the first line of the body. For single and rows_max.
uint64_t rest_call_rows(struct cc_slice body);

// What the executor asks after it has run a statement and before it lets it stand: whether the numbers of rows, and of these
// with tag 'I', are what the request allows (single, rows_max, precondition). False: the outcome says why, nothing may change.
bool rest_outcome_check(const struct rest_statement *statement, uint64_t n_rows, uint64_t n_inserted,
                        struct cc_arena *arena, struct rest_outcome *outcome_out);

#endif
