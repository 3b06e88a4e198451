// The store under the model of PostgreSQL: keys and values, two transactions at a time that touch different keys, and commits
// that a crash may take back, the last ones first.
#ifndef SIM_STORE_H
#define SIM_STORE_H

#include "base/slice.h"

struct sim_store;

// Quick, and good enough where nobody looks for collisions.
uint64_t sim_hash_of(const void *data, size_t n);

// Keys are put together often: `prefix`, then `a`, then a slash and `b` unless that is NULL, cut to n_max - 1 characters. Returns out.
const char *sim_key(char *out, size_t n_max, const char *prefix, struct cc_slice a, struct cc_slice b);

struct sim_store *sim_store_create(void);
void sim_store_destroy(struct sim_store *store);

// As the writer sees it: uncommitted changes included. NULL: no such key. Borrowed until the next put.
const struct cc_blob *sim_store_get(const struct sim_store *store, const char *key);
const struct cc_blob *sim_store_get_committed(const struct sim_store *store, const char *key);
// In the lane's open transaction, which begins with the first put. NULL data: deletes.
void sim_store_put(struct sim_store *store, unsigned lane, const char *key, struct cc_slice value);
void sim_store_put_blob(struct sim_store *store, unsigned lane, const char *key, struct cc_blob *value); // shares it; NULL: deletes
size_t sim_store_savepoint(const struct sim_store *store, unsigned lane);
void sim_store_rollback_to(struct sim_store *store, unsigned lane, size_t savepoint);
void sim_store_rollback(struct sim_store *store, unsigned lane);
void sim_store_commit(struct sim_store *store, unsigned lane);
void sim_store_flush(struct sim_store *store);    // what is committed is durable from now on
size_t sim_store_crash(struct sim_store *store);  // rolls back both lanes and all commits that are not durable; their number

// Of all keys that begin with 's' (DB_STRONG), 'w' (DB_WEAK) or 't' (tombstones), uncommitted changes included. Equal contents, equal
// digests.
enum { SIM_STORE_TOMBSTONES = 2, SIM_STORE_DIGESTS };
uint64_t sim_store_digest(const struct sim_store *store, unsigned class);

// Keys with this prefix under which something is committed or about to be, in order.
void sim_store_scan(const struct sim_store *store, const char *prefix, void (*visit)(void *context, const char *key), void *context);

// All that is committed, and the way back: what is not in the snapshot disappears, and what is there is durable. Only without open
// transactions.
void sim_store_export(const struct sim_store *store, struct cc_buffer *out);
void sim_store_import(struct sim_store *store, struct cc_slice bytes);

#endif
