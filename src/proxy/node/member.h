// A member of the cluster as the committed configuration tells it: where it is reached, and its key. Plain data.
#ifndef PROXY_MEMBER_H
#define PROXY_MEMBER_H

#include "consensus/raft.h"
#include "proxy/config/keys.h"

enum { MEMBER_ADDRESS_BYTES = 104 }; // with the terminator

struct member {
    uint32_t id;
    bool voter; // false: learner
    char http[MEMBER_ADDRESS_BYTES]; // "127.0.0.1:7101", "[::1]:7101"
    char peer[MEMBER_ADDRESS_BYTES];
    uint8_t public_key[KEYS_PUBLIC_BYTES];
};

void member_put(const struct member *member, struct raft_member *out);
// CC_NOT_FOUND: it has no details (written by an older version). CC_MALFORMED, CC_UNSUPPORTED. The id and the role are always filled in.
enum cc_status member_read(const struct raft_member *raft_member, struct member *member_out) CC_CHECKED;

// An address as operators write it. CC_INVALID: no host, no port between 1 and 65535, or too long.
enum cc_status member_address_split(const char *address, char host_out[static MEMBER_ADDRESS_BYTES], uint32_t *port_out) CC_CHECKED;

#endif
