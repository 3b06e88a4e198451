// Gateway: what the HTTP threads do with a request, from the bytes to the answer. Each request is an exchange on its thread,
// known to the core by a number.
#ifndef PROXY_IO_GATEWAY_H
#define PROXY_IO_GATEWAY_H

#include "proxy/config/config.h"
#include "proxy/gateway/io_auth.h"
#include "proxy/gateway/io_catalog.h"
#include "proxy/gateway/io_inbox.h"
#include "proxy/node/node.h"
#include "proxy/gateway/status.h"

struct io_gateway;

struct gateway_reload { // bytes of INBOX_RELOAD, within this process
    bool has_list;      // else the members are those of this replica's config.json
    struct node_reload_wish wish;
};

struct io_gateway_options { // borrowed, outlive the gateway
    const struct config *config;
    const struct config_replica *replica;
    const char *conninfo;
    const char *login_role; // that requests read as, when tokens are; NULL: as conninfo says
    const struct io_auth *auth;
    struct io_catalog *catalog;
    struct io_inbox *inbox;
};

// Listens and serves. CC_INVALID, CC_EXISTS (the address is in use), CC_IO.
enum cc_status io_gateway_create(const struct io_gateway_options *options, struct io_gateway **gateway_out) CC_CHECKED;
// Answers what runs, then ends the threads. NULL is fine.
void io_gateway_destroy(struct io_gateway *gateway, uint32_t drain_ms);

// -- From the core thread --------------------------------------------------------------------------------------------

// Hands answers to their threads; everything is copied.
void io_gateway_answers(struct io_gateway *gateway, const struct node_answer *answers, size_t n_answers);
// The answer to INBOX_STATUS, INBOX_MEMBER and INBOX_RELOAD.
void io_gateway_status(struct io_gateway *gateway, uint64_t token, const struct node_status *status, const struct status_shell *shell);
// Whether this replica is a member of the cluster; one that is not refuses all but operators' questions.
void io_gateway_set_member(struct io_gateway *gateway, bool is_member);
// Whether there are weak writes that were acknowledged, though the database that is read has not committed them: reads wait for that.
void io_gateway_set_unread(struct io_gateway *gateway, bool has_unread);
// The changes of weak tables that every member has on disk, as far as this replica knows: session tokens may leave them out.
void io_gateway_set_everywhere(struct io_gateway *gateway, const struct crdt_frontier *everywhere);
// The answer to INBOX_FAULTS: a JSON body, taken over.
void io_gateway_json(struct io_gateway *gateway, uint64_t token, unsigned status, struct cc_buffer *body);
// A catalog was published: requests that wait for it go on.
void io_gateway_catalog(struct io_gateway *gateway, uint32_t version);
// Adds what the HTTP threads counted.
void io_gateway_counters(const struct io_gateway *gateway, struct status_shell *shell);

#endif
