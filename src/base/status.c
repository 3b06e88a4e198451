// Names and texts of the status codes.
#include "base/status.h"

#include <assert.h>

static const char *const status_texts[CC_STATUS_COUNT] = {
#define STATUS_TEXT(name, text) [name] = (text),
    CC_STATUSES(STATUS_TEXT)
#undef STATUS_TEXT
};

static const char *const status_names[CC_STATUS_COUNT] = {
#define STATUS_NAME(name, text) [name] = #name,
    CC_STATUSES(STATUS_NAME)
#undef STATUS_NAME
};

const char *cc_status_text(enum cc_status status)
{
    assert(status < CC_STATUS_COUNT);
    return status_texts[status];
}

const char *cc_status_name(enum cc_status status)
{
    assert(status < CC_STATUS_COUNT);
    return status_names[status];
}
