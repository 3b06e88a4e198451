// Digests of weak rows: a number per row that is joined by exclusive or, so that the digest of a table follows from what a
// write changed, whatever the order. The very values that the SQL function caucus.digest computes from the table itself.
//
//   row = key + one part per field that is not NULL (key columns are in the key's part only)
//
// The hash is PostgreSQL's hashtextextended (Bob Jenkins' lookup3), so both sides can compute it. It finds faults, not forgers.
#ifndef CRDT_DIGEST_H
#define CRDT_DIGEST_H

#include "base/slice.h"

#include <stddef.h>

uint64_t crdt_digest_hash(struct cc_slice bytes, uint64_t seed);
// The part of a row's existence, by the texts of its key columns in key order; also the seed of its fields.
uint64_t crdt_digest_key(const struct cc_slice *values, size_t n);
// The part of one field. 0 for SQL NULL (the NULL slice), so that a column added without a default changes nothing.
uint64_t crdt_digest_field(uint64_t key, struct cc_slice column, struct cc_slice value);

#endif
