// What the tests of merge types share.
#ifndef TESTS_PARTS_FIXTURE_H
#define TESTS_PARTS_FIXTURE_H

#include "crdt/parts.h"

struct cc_slice text(const char *characters);
const char *show(struct cc_slice slice, struct cc_arena *arena); // "NULL" for the NULL slice; in the arena
struct crdt_kind kind_of(enum crdt_merge merge, const char *type, struct cc_arena *arena);
bool same_parts(const struct crdt_parts *a, const struct crdt_parts *b);

#endif
