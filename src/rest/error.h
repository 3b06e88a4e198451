// Error: refusals in PostgREST's form, and which HTTP status a code has. One table.
#ifndef REST_ERROR_H
#define REST_ERROR_H

#include "base/slice.h"

#define REST_ERRORS(X)                          \
    X(REST_PARSE, "PGRST100", 400)              \
    X(REST_VERB_OF_FUNCTION, "PGRST101", 405)   \
    X(REST_BODY, "PGRST102", 400)               \
    X(REST_RANGE, "PGRST103", 416)              \
    X(REST_PUT_FILTERS, "PGRST105", 405)        \
    X(REST_SCHEMA, "PGRST106", 406)             \
    X(REST_MEDIA_TYPE, "PGRST107", 406)         \
    X(REST_NOT_EMBEDDED, "PGRST108", 400)       \
    X(REST_GUC_HEADERS, "PGRST111", 500)        \
    X(REST_GUC_STATUS, "PGRST112", 500)         \
    X(REST_PUT_LIMIT, "PGRST114", 400)          \
    X(REST_PUT_KEY, "PGRST115", 400)            \
    X(REST_SINGULAR, "PGRST116", 406)           \
    X(REST_VERB, "PGRST117", 405)               \
    X(REST_ORDER_BY_MANY, "PGRST118", 400)      \
    X(REST_EMBED_FILTER, "PGRST120", 400)       \
    X(REST_RAISED, "PGRST121", 500)             \
    X(REST_STRICT, "PGRST122", 400)             \
    X(REST_AGGREGATES_OFF, "PGRST123", 400)     \
    X(REST_MAX_AFFECTED, "PGRST124", 400)       \
    X(REST_PATH, "PGRST125", 404)               \
    X(REST_SPREAD_AGGREGATE, "PGRST127", 400)   \
    X(REST_MAX_AFFECTED_CALL, "PGRST128", 400)  \
    X(REST_NO_RELATIONSHIP, "PGRST200", 400)    \
    X(REST_MANY_RELATIONSHIPS, "PGRST201", 300) \
    X(REST_NO_FUNCTION, "PGRST202", 404)        \
    X(REST_MANY_FUNCTIONS, "PGRST203", 300)     \
    X(REST_NO_COLUMN, "PGRST204", 400)          \
    X(REST_NO_TABLE, "PGRST205", 404)           \
    X(REST_UNDEFINED_COLUMN, "42703", 400)      \
    X(REST_UNDEFINED_TYPE, "42704", 400)        \
    X(REST_NO_CONFLICT_TARGET, "42P10", 400)    \
    X(REST_GENERATED_ALWAYS, "428C9", 400)      \
    X(REST_NO_WHERE, "21000", 400)              \
    X(REST_NO_KEY, "55000", 400)                \
    X(REST_ROLE_REFUSED, "42501", 403)          \
    X(REST_READ_ONLY, "25006", 405)             \
    X(REST_TOO_MANY_PARAMETERS, "54000", 413)   \
    X(REST_PRECONDITION, "CC308", 412)          \
    X(REST_OPERATOR, "CC310", 400)

enum rest_error_code {
#define REST_ERROR_ENUM(name, code, status) name,
    REST_ERRORS(REST_ERROR_ENUM)
#undef REST_ERROR_ENUM
};

struct rest_error {
    struct cc_slice code, message;
    struct cc_slice details, hint; // NULL slices: null
    bool details_is_json;          // details is JSON text, not a string
};

const char *rest_error_code_text(enum rest_error_code code);
int rest_error_code_status(enum rest_error_code code);
// HTTP status of an SQLSTATE, a PGRST code or a Caucus code (CCnnn). The message decides in a few cases.
int rest_error_status(struct cc_slice code, struct cc_slice message, bool anonymous);
void rest_error_put_body(struct cc_buffer *out,
                         const struct rest_error *error); // {"code":..,"details":..,"hint":..,"message":..}

#endif
