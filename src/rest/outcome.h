// Outcome: what executing one operation gave, before it becomes an HTTP answer. It is stored for retries, so the same
// request with the same outcome always gives the same answer.
#ifndef REST_OUTCOME_H
#define REST_OUTCOME_H

#include "base/codec.h"

enum rest_outcome_kind {
    REST_DONE = 1,
    REST_FAILED,        // PostgreSQL's or Caucus's error after execution: nothing changed
    REST_REFUSED,       // not executed: status says why (CC_UNAVAILABLE -> 503, CC_STALE -> plan again, CC_TOO_LARGE, ...)
    REST_UNKNOWN,       // may or may not have happened: 504
};

struct rest_outcome {
    enum rest_outcome_kind kind;
    enum cc_status status; // REFUSED
    uint64_t n_rows;       // affected
    uint64_t n_inserted;   // of these, tag 'I'
    struct cc_slice body;  // DONE: joined bodies; the NULL slice when there are none
    // FAILED, REFUSED: PostgREST's four. code is an SQLSTATE, PGRSTnnn or CCnnn.
    struct cc_slice code, message, details, hint; // NULL slices where absent
};

void rest_outcome_put(struct cc_buffer *out, const struct rest_outcome *outcome);
enum cc_status rest_outcome_read(struct cc_slice bytes, struct rest_outcome *outcome_out) CC_CHECKED; // slices borrow

#endif
