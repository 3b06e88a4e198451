// Operation: a write on its way through the cluster: who asked, under which identity it takes effect once, and the statement.
#ifndef PROXY_OPERATION_H
#define PROXY_OPERATION_H

#include "rest/outcome.h"
#include "rest/statement.h"

enum { OPERATION_ID_BYTES = 16 };

enum operation_kind {
    OPERATION_STATEMENTS = 1, // one or more, all or none (/_caucus/transaction)
    OPERATION_MIGRATION = 2,
};

// What an answer to a weak write waits for, besides this replica: others that have the change on disk.
enum operation_durability { OPERATION_LOCAL, OPERATION_MAJORITY, OPERATION_ALL };

struct operation {
    uint8_t id[OPERATION_ID_BYTES]; // drawn by the replica that took the request; internal retries keep it
    uint64_t after;                 // its entry can only come after this index of the log; the node that takes it sets it
    uint32_t timeout_ms;            // how long the asker waits
    enum operation_kind kind;
    uint32_t schema_version;        // of the catalog it was planned over
    bool weak;
    enum operation_durability durability; // weak only
    // Client's Idempotency-Key; NULL slices when absent.
    struct cc_slice principal, key, fingerprint;
    uint32_t n_statements;
    struct rest_statement *statements;
    struct cc_slice migration_name, migration_sql;
};

void operation_put(struct cc_buffer *out, const struct operation *operation);
void operation_set_after(uint8_t *bytes, size_t n, uint64_t index); // in encoded bytes
// Arrays live in the arena, slices borrow from bytes. CC_MALFORMED, CC_TOO_LARGE.
enum cc_status operation_read(struct cc_slice bytes, struct cc_arena *arena, struct operation *operation_out) CC_CHECKED;
// Only what the node needs to route it (no statements): id, after, timeout, kind, schema_version, weak, principal, key.
enum cc_status operation_peek(struct cc_slice bytes, struct operation *operation_out) CC_CHECKED;

#endif
