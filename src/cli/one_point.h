// The same question to all replicas at the same point: the same index of the log for strong tables, the same frontier for weak ones.
//
// Replicas that nobody writes to come to one point by themselves. Where clients write they do not: then new writes are asked to wait at
// all replicas for a moment, until the question has been put (POST /_caucus/pause).
#ifndef CLI_ONE_POINT_H
#define CLI_ONE_POINT_H

#include <jansson.h>

#include "cli/replicas.h"

struct cli_point_options {
    uint32_t answer_ms;  // how long one answer may take
    uint64_t give_up_ms; // as cli_now_ms: when to ask no more
    bool may_pause;      // new writes may be asked to wait
};

enum cli_point {
    CLI_POINT_SAME,
    CLI_POINT_MOVING,      // never at the same point
    CLI_POINT_UNREACHABLE, // somebody does not answer
    CLI_POINT_REFUSED,     // somebody refuses to
};

// GET path, of answers with "index" or "frontier" (/_caucus/digest). answers_out has one JSON document per replica, the caller's; NULL:
// no answer. Asks again until the answers are of one point. text_out says what is in the way, except with CLI_POINT_SAME. `tell` (may
// be NULL) is told the same while it goes on, with `about`.
enum cli_point cli_ask_at_one_point(const struct cli_replicas *replicas, const char *path, const struct cli_point_options *options,
                                    void (*tell)(const char *about, const char *text), const char *about, json_t **answers_out, char *text_out,
                                    size_t n_text);

// Whether two answers have the same under this name; also if neither has anything: a strong table has no frontier, a weak one no index.
bool cli_is_same(const json_t *a, const json_t *b, const char *name);

#endif
