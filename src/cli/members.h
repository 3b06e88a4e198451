// Changes of the cluster's members, as the commands send them: to whoever leads, and again while that is not possible yet.
#ifndef CLI_MEMBERS_H
#define CLI_MEMBERS_H

#include <jansson.h>

#include "cli/replicas.h"

// The status of the replica that leads; NULL when there is none. The caller's.
json_t *members_leader_status(const struct cli_replicas *replicas);
// Sends one change ({"action", ...}) and waits until it is committed (a transfer: until another one leads). Errors are printed.
enum cli_exit members_change(const struct cli_replicas *replicas, const json_t *change, uint32_t wait_s);
// For loops that ask until something is done.
uint64_t members_now_ms(void);
void members_pause(void);

#endif
