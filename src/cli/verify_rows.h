// caucus verify: which rows of a table differ, and the repair of weak ones.
#ifndef CLI_VERIFY_ROWS_H
#define CLI_VERIFY_ROWS_H

#include "cli/one_point.h"

#include <jansson.h>

// The rows that are not the same at all replicas, as [{"key": [..], "replicas": {"1": "digest" or null, ..}, "written": {..}}], at most
// so many; the last writes of weak rows with them. NULL: the replicas do not tell. The caller's.
json_t *verify_rows_find(const struct cli_replicas *replicas, const struct cli_point_options *options, const char *table, bool weak, size_t n_max);
// The same for people, one line each.
void verify_rows_print(const json_t *rows);
// Lets each replica compare its weak tables with the others', one after the other. False: a message has been printed.
bool verify_rows_repair(const struct cli_replicas *replicas);

#endif
