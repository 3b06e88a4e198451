// Entity tags of single rows (RFC 9110, 8.8.3 and 13.1): a hash of the row's JSON text, the same on every replica.
//
// "<hash>" is the row as an object, "<hash>-a" the array that holds only it. The hash can be computed by PostgreSQL, too, so
// that If-Match is decided inside of the statement that writes.
#ifndef REST_ETAG_H
#define REST_ETAG_H

#include "base/arena.h"
#include "base/slice.h"

enum { REST_ETAG_HASH_CHARS = 32 };

// The tag of the row with this hash.
const char *rest_etag_of_hash(struct cc_slice hash, bool is_array, struct cc_arena *arena);
// The tag of a body with one row, or NULL: it has none. is_array: the body is "[row]".
const char *rest_etag_of_body(struct cc_slice body, bool is_array, struct cc_arena *arena);
// Whether a list of tags (the value of If-Match or If-None-Match) has this one, or is "*". tag: NULL matches only "*".
// weakly: W/"x" counts as "x" (If-None-Match).
bool rest_etag_listed(struct cc_slice list, const char *tag, bool weakly);
bool rest_etag_is_star(struct cc_slice list);
// The hashes of a list of strong tags as a PostgreSQL array literal; others are left out, for they match nothing.
struct cc_slice rest_etag_hashes(struct cc_slice list, struct cc_arena *arena);

#endif
