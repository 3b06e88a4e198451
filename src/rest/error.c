// Error: codes, their HTTP statuses and the body.
#include "rest/error.h"

#include "rest/json_body.h"

#include <stdlib.h>
#include <string.h>

struct known {
    const char *code;
    int status;
};

static const struct known errors[] = {
#define REST_ERROR_KNOWN(name, code, status) [name] = {code, status},
    REST_ERRORS(REST_ERROR_KNOWN)
#undef REST_ERROR_KNOWN
};

// SQLSTATEs by prefix; the first that fits counts.
static const struct known sqlstates[] = {
    {"08", 503},
    {"09", 500},
    {"0L", 403},
    {"0P", 403},
    {"28", 403},
    {"23503", 409},
    {"23505", 409},
    {"25006", 405},
    {"25", 500},
    {"21000", 500},
    {"22023", 400},
    {"2D", 500},
    {"38", 500},
    {"39", 500},
    {"3B", 500},
    {"40", 500},
    {"42883", 404},
    {"42P01", 404},
    {"42P17", 500},
    {"53400", 500},
    {"53", 503},
    {"54", 500},
    {"55", 500},
    {"57P01", 503},
    {"57", 500},
    {"58", 500},
    {"F0", 500},
    {"HV", 500},
    {"P0001", 400},
    {"P0", 500},
    {"XX", 500},
    // Caucus's own: all of CC1 are the gate's (http_gate.h).
    {"CC203", 504},
    {"CC207", 413},
    {"CC211", 504},
    {"CC214", 500},
    {"CC215", 400},
    {"CC216", 400},
    {"CC217", 400},
    {"CC200", 400},
    {"CC2", 503},
    {"CC301", 422},
    {"CC302", 500},
    {"CC304", 500},
    {"CC305", 500},
    {"CC306", 409},
    {"CC308", 412},
    {"CC3", 400},
};

const char *rest_error_code_text(enum rest_error_code code)
{
    return errors[code].code;
}

int rest_error_code_status(enum rest_error_code code)
{
    return errors[code].status;
}

static bool contains(struct cc_slice text, const char *part)
{
    return text.n > 0 && memmem(text.data, text.n, part, strlen(part)) != NULL;
}

// RAISE with SQLSTATE PTnnn: nnn is the status.
static int status_of_pt(struct cc_slice code)
{
    struct cc_slice digits = cc_slice_of(code.data + 2, code.n - 2);
    uint64_t status = 0;
    bool good = cc_slice_take_number(&digits, 599, &status) && digits.n == 0 && status >= 200;
    return good ? (int)status : 500;
}

int rest_error_status(struct cc_slice code, struct cc_slice message, bool anonymous)
{
    if (cc_slice_equal_text(code, "42501")) {
        return anonymous ? 401 : 403;
    }
    if (cc_slice_equal_text(code, "21000") && contains(message, "requires a WHERE clause")) {
        return 400;
    }
    if (cc_slice_equal_text(code, "22023") && cc_slice_starts_with(message, "role \"")) {
        return 401;
    }
    if (code.n == 5 && cc_slice_starts_with(code, "PT")) {
        return status_of_pt(code);
    }
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (cc_slice_starts_with(code, "PGRST") && cc_slice_equal_text(code, errors[i].code)) {
            return errors[i].status;
        }
    }
    for (size_t i = 0; i < sizeof(sqlstates) / sizeof(sqlstates[0]); i++) {
        if (cc_slice_starts_with(code, sqlstates[i].code)) {
            return sqlstates[i].status;
        }
    }
    return 400;
}

static void put_nullable(struct cc_buffer *out, struct cc_slice text)
{
    if (text.data == NULL) {
        cc_buffer_append_text(out, "null");
    } else {
        rest_json_put_string(out, text);
    }
}

void rest_error_put_body(struct cc_buffer *out, const struct rest_error *error)
{
    cc_buffer_append_text(out, "{\"code\":");
    rest_json_put_string(out, error->code);
    cc_buffer_append_text(out, ",\"details\":");
    if (error->details_is_json) {
        cc_buffer_append_slice(out, error->details);
    } else {
        put_nullable(out, error->details);
    }
    cc_buffer_append_text(out, ",\"hint\":");
    put_nullable(out, error->hint);
    cc_buffer_append_text(out, ",\"message\":");
    rest_json_put_string(out, error->message);
    cc_buffer_append_text(out, "}");
}
