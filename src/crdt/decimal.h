// Exact decimals in the text form that PostgreSQL gives them: sums for counters, order for greatest and smallest values. Pure.
#ifndef CRDT_DECIMAL_H
#define CRDT_DECIMAL_H

#include "base/arena.h"

// [+-] digits [. digits], with at least one digit: what smallint, integer, bigint and numeric show of a finite number.
bool crdt_decimal_is_valid(struct cc_slice text);
// a + b and a - b, both valid. As many digits behind the point as the longer of the two; never "-0". Lives in the arena.
struct cc_slice crdt_decimal_add(struct cc_slice a, struct cc_slice b, struct cc_arena *arena);
struct cc_slice crdt_decimal_subtract(struct cc_slice a, struct cc_slice b, struct cc_arena *arena);
// By value: "1.50" and "1.5" are equal. Both valid.
int crdt_decimal_compare(struct cc_slice a, struct cc_slice b);

#endif
