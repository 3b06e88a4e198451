// Session: what a client has seen, as the opaque text of the Caucus-Session header. Authenticated with the cluster's session
// key (a row of caucus.cluster, drawn once, replicated like any strong row), so a token of another cluster, or of this one
// before it was restored from a copy under a new key, is refused. Pure.
//
// Every life of a replica is an origin for ever, so a frontier grows. A token stays below 1 KB by leaving out what every member
// has on disk. Who reads such a token asks a majority what it holds, and waits for that: it may have become a member since,
// and not hold yet what all held before.
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include "crdt/frontier.h"

enum {
    SESSION_KEY_BYTES = 32,
    SESSION_TOKEN_BYTES_AIM = 1023,
    SESSION_TOKEN_BYTES_MAX = 6144, // of a frontier that is full, of which nothing can be left out: a member is not heard
};

struct session {
    uint64_t index;                // of the log
    struct crdt_frontier frontier; // of the weak tables
    bool shortened;                // it has seen more: what every member has on disk
};

void session_put(struct cc_buffer *out, const struct session *session, const uint8_t key[SESSION_KEY_BYTES]);
// Leaves out what `everywhere` covers, if the token would be longer than `n_bytes_aim` otherwise (SESSION_TOKEN_BYTES_AIM).
void session_shorten(struct session *session, const struct crdt_frontier *everywhere, size_t n_bytes_aim);
// Whether it is that long.
bool session_is_long(const struct session *session, size_t n_bytes_aim);
// CC_MALFORMED: not a token. CC_REFUSED: not of this cluster.
enum cc_status session_read(struct cc_slice text, const uint8_t key[SESSION_KEY_BYTES], struct session *session_out) CC_CHECKED;

// Takes over what a read saw: "<index>" or "<index> <replica>.<incarnation>:<sequence> ...", as reads tell it. CC_MALFORMED.
enum cc_status session_saw(struct session *session, struct cc_slice position) CC_CHECKED;
// Takes over what a write did.
void session_wrote(struct session *session, uint64_t index);
enum cc_status session_wrote_weak(struct session *session, struct crdt_origin origin, uint64_t sequence) CC_CHECKED;

#endif
