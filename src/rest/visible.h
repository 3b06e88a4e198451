// Visible: the part of a catalog that a role may use, for descriptions of it.
#ifndef REST_VISIBLE_H
#define REST_VISIBLE_H

#include "rest/catalog.h"

// Run as the role. One row, one text: which relations and functions it has any right to.
extern const char rest_visible_sql[];

// The catalog without the others, and without the keys between them: borrows from the catalog, lives in the arena. Not for planning.
// CC_MALFORMED: the text is not the query's.
enum cc_status rest_visible_catalog(const struct rest_catalog *catalog, struct cc_slice text, struct cc_arena *arena,
                                    struct rest_catalog *visible_out) CC_CHECKED;

#endif
