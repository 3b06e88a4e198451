// Every limit of Caucus. Reaching one is an error for that one request, never growth. Sizes in bytes, times in milliseconds.
#ifndef CC_LIMITS_H
#define CC_LIMITS_H

#include <assert.h>

enum {
    CC_REPLICAS_MAX = 15,
    CC_NAME_BYTES_MAX = 63, // PostgreSQL identifiers

    CC_ENTRY_BYTES_MAX = 32 << 20,     // one log entry's payload
    CC_RECORD_BYTES_MAX = 33 << 20,    // one record of the log on disk
    CC_FRAME_BYTES_MAX = 34 << 20,     // one frame between peers
    CC_APPEND_BYTES_MAX = 1 << 20,     // entries in one append message, unless a single one is larger
    CC_APPEND_ENTRIES_MAX = 1024,      // entries in one append message
    CC_APPEND_IN_FLIGHT_MAX = 64,      // append messages not yet answered, per follower
    CC_LOG_CACHE_BYTES_MAX = 256 << 20, // entries kept in memory for slow followers

    CC_BATCH_OPERATIONS_MAX = 1000,
    CC_BATCH_BYTES_MAX = 8 << 20,
    CC_QUEUE_OPERATIONS_MAX = 16384, // writes waiting in one replica
    CC_QUEUE_BYTES_MAX = 256 << 20,
    CC_READS_WAITING_MAX = 65536,
    CC_REQUEST_WINDOW = 1 << 20, // executed request ids remembered for internal retries

    CC_CHANGES_HELD_MAX = 65536, // weak changes that arrived before their predecessors, per origin
    CC_ORIGINS_MAX = 256,        // (replica, incarnation) pairs in a frontier

    CC_BODY_BYTES_MAX = 16 << 20,
    CC_HEADER_BYTES_MAX = 16 << 10,
    CC_HEADERS_MAX = 64,
    CC_URI_BYTES_MAX = 16 << 10,
    CC_JSON_DEPTH_MAX = 64,
    CC_PARAMETERS_MAX = 65535,
};

static_assert(CC_BODY_BYTES_MAX < CC_ENTRY_BYTES_MAX, "one request must fit into one entry");
static_assert(CC_ENTRY_BYTES_MAX < CC_RECORD_BYTES_MAX, "an entry must fit into a record");
static_assert(CC_RECORD_BYTES_MAX < CC_FRAME_BYTES_MAX, "a record must fit into a frame");

#endif
