// Outcome codec: u8 version, u8 kind, u8 status, varint n_rows, varint n_inserted, then nullable body, code, message, details, hint.
#include "rest/outcome.h"

enum { VERSION = 1 };

void rest_outcome_put(struct cc_buffer *out, const struct rest_outcome *outcome)
{
    cc_put_u8(out, VERSION);
    cc_put_u8(out, (uint8_t)outcome->kind);
    cc_put_u8(out, (uint8_t)outcome->status);
    cc_put_varint(out, outcome->n_rows);
    cc_put_varint(out, outcome->n_inserted);
    cc_put_nullable(out, outcome->body);
    cc_put_nullable(out, outcome->code);
    cc_put_nullable(out, outcome->message);
    cc_put_nullable(out, outcome->details);
    cc_put_nullable(out, outcome->hint);
}

enum cc_status rest_outcome_read(struct cc_slice bytes, struct rest_outcome *outcome_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    uint8_t version = cc_read_u8(&reader);
    uint8_t kind = cc_read_u8(&reader);
    uint8_t status = cc_read_u8(&reader);
    if (version != VERSION || kind < REST_DONE || kind > REST_UNKNOWN || status >= CC_STATUS_COUNT) {
        return CC_MALFORMED;
    }
    struct rest_outcome outcome = {.kind = (enum rest_outcome_kind)kind, .status = (enum cc_status)status};
    outcome.n_rows = cc_read_varint(&reader);
    outcome.n_inserted = cc_read_varint(&reader);
    outcome.body = cc_read_nullable(&reader);
    outcome.code = cc_read_nullable(&reader);
    outcome.message = cc_read_nullable(&reader);
    outcome.details = cc_read_nullable(&reader);
    outcome.hint = cc_read_nullable(&reader);
    enum cc_status ended = cc_reader_end(&reader);
    if (ended == CC_OK) {
        *outcome_out = outcome;
    }
    return ended;
}
