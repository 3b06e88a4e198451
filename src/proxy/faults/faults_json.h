// Rules of message faults as JSON: what testing hooks take and tell under /_caucus/faults.
//
//   {"fault": "drop", "from": 1, "to": 2}            without from or to: any replica
//   {"fault": "drop", "to": 3, "every": 4}           or "nth": 2, or "percent": 10.5; also of delay and reorder
//   {"fault": "delay", "ms": 50, "jitter_ms": 20}
//   {"fault": "reorder", "ms": 30, "percent": 20}
//   {"fault": "isolate", "replica": 2}
//   {"fault": "split", "segments": [[1, 2], [3]]}
//   "seed" in any of them: chance goes on from there
#ifndef PROXY_FAULTS_JSON_H
#define PROXY_FAULTS_JSON_H

#include "base/slice.h"
#include "proxy/faults/faults.h"

// Adds the rule, or all rules of an array, to a copy, which takes the place of `faults` when all are good. CC_INVALID,
// CC_MALFORMED, CC_TOO_LARGE: nothing was added; why_out is constant text.
enum cc_status faults_add_json(struct faults *faults, struct cc_slice json, const char **why_out) CC_CHECKED;
// {"rules": [...], "dropped": n, "delayed": n}; rules as above, and with "id", "seen" and "hit".
void faults_put_json(struct cc_buffer *out, const struct faults *faults);

#endif
