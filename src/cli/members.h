// Changes of the cluster's members, as the commands send them: to whoever leads, and again while that is not possible yet.
#ifndef CLI_MEMBERS_H
#define CLI_MEMBERS_H

#include <jansson.h>

#include "cli/replicas.h"

enum { MEMBERS_POLL_MS = 100 }; // for loops that ask until something is done

// The status of the replica that leads; NULL when there is none. The caller's.
json_t *members_leader_status(const struct cli_replicas *replicas);
// Sends one change ({"action", ...}) and waits until it is committed (a transfer: until another one leads). Errors are printed.
enum cli_exit members_change(const struct cli_replicas *replicas, const json_t *change, uint32_t wait_s);

#endif
