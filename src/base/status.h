// Status codes: the one error type of Caucus, from one X-macro with its text.
#ifndef CC_STATUS_H
#define CC_STATUS_H

#define CC_STATUSES(X)                                                                   \
    X(CC_OK, "ok")                                                                       \
    X(CC_MALFORMED, "bytes or text do not follow their format")                          \
    X(CC_TOO_LARGE, "a limit is exceeded")                                               \
    X(CC_NOT_FOUND, "no such thing")                                                     \
    X(CC_EXISTS, "exists already")                                                       \
    X(CC_INVALID, "a value is out of range or contradicts another")                      \
    X(CC_CORRUPT, "stored data is damaged")                                              \
    X(CC_IO, "an input or output operation failed")                                      \
    X(CC_NO_SPACE, "the disk is full")                                                   \
    X(CC_TIMEOUT, "not finished in time")                                                \
    X(CC_REFUSED, "the other side refused")                                              \
    X(CC_NOT_LEADER, "this replica is not the leader")                                   \
    X(CC_UNAVAILABLE, "not possible now, try again later")                               \
    X(CC_UNKNOWN_OUTCOME, "may or may not have happened")                                \
    X(CC_STALE, "made under an older schema, plan it again")                             \
    X(CC_CLOCK_SKEW, "a clock is too far from the others")                               \
    X(CC_UNSUPPORTED, "not supported")

enum cc_status {
#define CC_STATUS_ENUM(name, text) name,
    CC_STATUSES(CC_STATUS_ENUM)
#undef CC_STATUS_ENUM
    CC_STATUS_COUNT
};

#define CC_CHECKED __attribute__((warn_unused_result))

// The status as a short English text; a constant, never NULL.
const char *cc_status_text(enum cc_status status);
// The name of the constant, for example "CC_CORRUPT".
const char *cc_status_name(enum cc_status status);

#endif
