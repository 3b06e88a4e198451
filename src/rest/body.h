// Bodies that are not JSON, as JSON: the rest of the planner knows only that.
#ifndef REST_BODY_H
#define REST_BODY_H

#include "base/arena.h"
#include "base/status.h"

enum rest_body_type { REST_BODY_JSON, REST_BODY_CSV, REST_BODY_FORM, REST_BODY_TEXT, REST_BODY_XML, REST_BODY_BYTES, REST_BODY_OTHER };

// Of a Content-Type; without one it is JSON.
enum rest_body_type rest_body_type(struct cc_slice content_type);
// RFC 4180, with LF or CR LF: a header line, then rows -> an array of objects of strings. The word NULL is null. Lines
// without anything are skipped. CC_MALFORMED with a reason (a constant).
extern const char rest_body_ragged[]; // as PostgREST says it
enum cc_status rest_body_of_csv(struct cc_slice text, struct cc_arena *arena, struct cc_slice *json_out,
                                const char **reason_out) CC_CHECKED;
// application/x-www-form-urlencoded as it is, in order. CC_MALFORMED.
struct rest_pair;
enum cc_status rest_body_pairs(struct cc_slice text, struct cc_arena *arena, uint32_t *n_out, struct rest_pair **pairs_out,
                               const char **reason_out) CC_CHECKED;
// application/x-www-form-urlencoded -> an object of strings; of a repeated name the last value counts.
enum cc_status rest_body_of_form(struct cc_slice text, struct cc_arena *arena, struct cc_slice *json_out,
                                 const char **reason_out) CC_CHECKED;
// Bytes as PostgreSQL's hex text of bytea: \x0001
struct cc_slice rest_body_of_bytes(struct cc_slice bytes, struct cc_arena *arena);

#endif
