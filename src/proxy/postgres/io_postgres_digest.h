// Digests of weak tables: what a transaction has changed of them, and the statement that writes it down with the rows.
#ifndef PROXY_IO_POSTGRES_DIGEST_H
#define PROXY_IO_POSTGRES_DIGEST_H

#include "base/slice.h"

#include <stddef.h>
#include <stdint.h>

struct pg_lane;
struct pg_table;

struct pg_digest {
    char *table;  // canonical name
    int64_t rows; // added less removed
    uint64_t sum; // joined by exclusive or
};

struct pg_digests { // zero-initialised is empty
    struct pg_digest *at;
    size_t n, capacity;
};

void pg_digests_finish(struct pg_digests *digests); // empty again
void pg_digests_add(struct pg_digests *digests, const struct pg_table *table, int64_t rows, uint64_t sum);
void pg_digests_join(struct pg_digests *digests, const struct pg_digests *more);
// Sends what is there and empties it.
void pg_digests_send(struct pg_digests *digests, struct pg_lane *lane);

// The part of the key, and of a whole row, from values by position in the table.
uint64_t pg_digest_key(const struct pg_table *table, const struct cc_slice *values);
uint64_t pg_digest_row(const struct pg_table *table, const struct cc_slice *values);

#endif
