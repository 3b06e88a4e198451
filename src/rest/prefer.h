// Prefer: the preferences of a request (RFC 7240), with PostgREST's and Caucus's names.
#ifndef REST_PREFER_H
#define REST_PREFER_H

#include "base/arena.h"
#include "rest/request.h"

enum rest_return { REST_RETURN_NONE, REST_RETURN_MINIMAL, REST_RETURN_HEADERS_ONLY, REST_RETURN_REPRESENTATION };
enum rest_resolution { REST_RESOLUTION_NONE, REST_RESOLUTION_MERGE, REST_RESOLUTION_IGNORE };
enum rest_missing { REST_MISSING_NONE, REST_MISSING_DEFAULT, REST_MISSING_NULL };
enum rest_count { REST_COUNT_NONE, REST_COUNT_EXACT, REST_COUNT_PLANNED, REST_COUNT_ESTIMATED };
enum rest_tx { REST_TX_NONE, REST_TX_COMMIT, REST_TX_ROLLBACK };
enum rest_handling { REST_HANDLING_NONE, REST_HANDLING_STRICT, REST_HANDLING_LENIENT };

// Of a weak write: where it is on disk before the answer.
enum rest_durability { REST_DURABILITY_NONE, REST_DURABILITY_LOCAL, REST_DURABILITY_MAJORITY, REST_DURABILITY_ALL };

// Read levels, from weak to strong promises.
enum rest_level { REST_LEVEL_NONE, REST_LEVEL_LOCAL, REST_LEVEL_BOUNDED, REST_LEVEL_SESSION, REST_LEVEL_LINEARIZABLE };

struct rest_preferences {
    enum rest_return representation;
    enum rest_resolution resolution;
    enum rest_missing missing;
    enum rest_count count;
    enum rest_tx tx;
    enum rest_handling handling;
    enum rest_durability durability; // applied: what was reached; the shell says it
    enum rest_level level;
    uint32_t bounded_ms; // of REST_LEVEL_BOUNDED
    bool has_max_affected;
    uint64_t max_affected;
    struct cc_slice timezone; // NULL slice: none
    const char *unknown;      // joined by ", " for the error of handling=strict; NULL: none
};

// All Prefer headers; the first value of a kind wins.
void rest_prefer_read(const struct rest_request *request, struct cc_arena *arena, struct rest_preferences *out);
// The value of Preference-Applied, "" when nothing was applied.
const char *rest_prefer_applied(const struct rest_preferences *applied, struct cc_arena *arena);

#endif
