// Change set: everything that one weak write did, and its bytes. The unit of numbering, gossip and merging: a replica
// shows all of it or none.
#ifndef CRDT_CHANGE_H
#define CRDT_CHANGE_H

#include "base/arena.h"
#include "crdt/frontier.h"

enum crdt_operation {
    CRDT_INSERT = 1, // writes the row's existence and all its fields
    CRDT_UPDATE = 2, // writes the named fields; does not bring a deleted row back
    CRDT_UPSERT = 3, // writes the row's existence and the named fields
    CRDT_DELETE = 4, // writes the row's existence
};

struct crdt_field {
    struct cc_slice column;
    struct cc_slice value;     // PostgreSQL's text form; NULL slice is SQL NULL
    struct cc_slice old_value; // what the writer saw; for histories
    struct cc_slice part;      // of a column with a merge type (parts.h): its writer's part; NULL slice: the value is what is written
};

struct crdt_row_change {
    enum crdt_operation operation;
    struct cc_slice table;  // "schema.table", both as in the catalog, joined by '.', each quoted as an SQL identifier if it needs to be
    struct cc_slice key;    // crdt_key_put form
    struct crdt_field *fields;
    uint32_t n_fields;
};

struct crdt_change_set {
    struct crdt_origin origin;
    uint64_t sequence;        // 0 until numbered
    struct clock_stamp stamp; // one for all rows of the set, hlc > 0; its replica and incarnation are the origin's
    uint32_t schema_version;  // made under
    bool durable;             // its writer waits until others have it on disk: to be committed synchronously
    struct cc_slice seen;     // crdt_frontier_put form: what the writer held of other origins; NULL slice: not told
    // Optional (NULL slices when absent): a client's idempotency key, so that a retry at any replica finds it.
    struct cc_slice principal, request_key, fingerprint, outcome;
    struct crdt_row_change *rows;
    uint32_t n_rows;
    // Of a renewal (renew.h): the change set whose place it takes, and what of that lost: told by histories, never merged.
    struct crdt_old_number {
        struct crdt_origin origin;
        uint64_t sequence; // 0: this is no renewal
        uint64_t hlc;      // of its stamp, which is the origin's
    } renews;
    struct crdt_row_change *lost;
    uint32_t n_lost;
};

// A row's key: the texts of its key columns in key order.
void crdt_key_put(struct cc_buffer *out, const struct cc_slice *values, size_t n);
// Borrows from the key. CC_MALFORMED, CC_TOO_LARGE (more than n_max columns).
enum cc_status crdt_key_read(struct cc_slice key, struct cc_slice *values_out, size_t n_max, size_t *n_out) CC_CHECKED;

// Names a row in indexes: the same for every spelling of the table's name (with or without quotes).
int64_t crdt_row_hash(struct cc_slice table, struct cc_slice key);
// The same table, however its name is quoted.
bool crdt_table_equal(struct cc_slice a, struct cc_slice b);

// Whether the writer of `later` held the change set (origin, sequence) when it wrote. False also when it did not tell.
bool crdt_change_set_saw(const struct crdt_change_set *later, struct crdt_origin origin, uint64_t sequence);

// Names the request of a set with an idempotency key, wherever it is executed: increments under one key count once.
uint64_t crdt_change_set_request(const struct crdt_change_set *set);

// Joins rows of the same table and key, so that each row is in the set once: all rows of a set have one stamp, and between
// equal stamps there is no "later". To be called by whoever builds a set from several statements. A row that an upsert
// inserted is an INSERT with all its fields here; UPSERT is its conflict path.
void crdt_change_set_join(struct crdt_change_set *set, struct cc_arena *arena);

// Encoding: the head (origin, sequence, stamp) is at a fixed place, so that a set can be numbered after it was encoded.
void crdt_change_set_put(struct cc_buffer *out, const struct crdt_change_set *set);
void crdt_change_set_number(uint8_t *bytes, size_t n, uint64_t sequence); // writes the sequence into encoded bytes
// Rows and fields live in the arena, slices borrow from `bytes`. CC_MALFORMED, CC_TOO_LARGE.
enum cc_status crdt_change_set_read(struct cc_slice bytes, struct cc_arena *arena, struct crdt_change_set *set_out) CC_CHECKED;
// Only origin, sequence, stamp and schema version.
enum cc_status crdt_change_set_peek(struct cc_slice bytes, struct crdt_change_set *set_out) CC_CHECKED;

#endif
