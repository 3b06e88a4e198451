// Two replicas make sure of each other and agree on keys. A pure state machine over bytes; randomness is an argument.
//
//   initiator                                      responder
//      HELLO: version, cluster, ids, incarnation, ephemeral key  ->   knows the id? the cluster?
//      <- ANSWER: version, id, incarnation, ephemeral key, signature
//      PROOF: signature, first record of the stream              ->   is it the key of that id?
//      <- READY: first record of the other stream
//
// Who is not listed any more gets, in the place of ANSWER, REMOVED: the same head, the index of the membership that does not list it, and
// a signature over that, both ids and its ephemeral key. It knows the keys of the others from the time when it was listed.
//
// Each side signs (Ed25519) a hash that binds the protocol version, the cluster's name, both ids, both incarnations, both
// ephemeral and both identity keys, and its own part in it; so nothing can be replayed, spliced or directed elsewhere. The keys
// of the streams come from the ephemeral X25519 secret and that hash: who learns an identity key later cannot read the past.
// After ISO/IEC 9798-3 three pass mutual authentication with Diffie-Hellman, as in SIGMA (Krawczyk 2003).
// All messages have fixed sizes; nothing is allocated.
#ifndef PROXY_HANDSHAKE_H
#define PROXY_HANDSHAKE_H

#include "proxy/peer/channel.h"
#include "proxy/config/keys.h"

enum {
    HANDSHAKE_VERSION = 1,
    HANDSHAKE_RANDOM_BYTES = 32,
    HANDSHAKE_HELLO_BYTES = 72,
    HANDSHAKE_ANSWER_BYTES = 116,
    HANDSHAKE_PROOF_BYTES = 64 + CHANNEL_LENGTH_BYTES + CHANNEL_OVERHEAD_BYTES,
    HANDSHAKE_READY_BYTES = CHANNEL_LENGTH_BYTES + CHANNEL_OVERHEAD_BYTES,
    HANDSHAKE_MESSAGE_BYTES_MAX = HANDSHAKE_ANSWER_BYTES,
};

#define HANDSHAKE_REFUSALS(X)                                                             \
    X(HANDSHAKE_NOT_REFUSED, "not refused")                                               \
    X(HANDSHAKE_NOT_CAUCUS, "does not speak the protocol of Caucus peers")                \
    X(HANDSHAKE_OTHER_VERSION, "speaks another version of the protocol")                  \
    X(HANDSHAKE_OTHER_CLUSTER, "belongs to another cluster")                              \
    X(HANDSHAKE_WRONG_ID, "is or looks for another replica, check the addresses")         \
    X(HANDSHAKE_UNKNOWN_ID, "is not a replica of this cluster")                           \
    X(HANDSHAKE_WRONG_KEY, "does not have the key that the configuration names")          \
    X(HANDSHAKE_REMOVED, "says that this replica was removed from the cluster")

enum handshake_refusal {
#define HANDSHAKE_REFUSAL_ENUM(name, text) name,
    HANDSHAKE_REFUSALS(HANDSHAKE_REFUSAL_ENUM)
#undef HANDSHAKE_REFUSAL_ENUM
};
const char *handshake_refusal_text(enum handshake_refusal refusal); // "the peer <text>"

struct handshake_peer {
    uint32_t id; // 0: a free place
    uint8_t public_key[KEYS_PUBLIC_BYTES];
};

// Who we are and whom we know; borrowed for the life of the handshakes.
struct handshake_site {
    const char *cluster;
    uint32_t id;
    uint32_t incarnation;
    const struct keys_pair *keys;
    const struct handshake_peer *peers;
    size_t n_peers;
    uint64_t membership_index; // `peers` are all of the committed membership there; 0: not known, strangers are told nothing
};

enum handshake_state {
    HANDSHAKE_WAIT_HELLO,  // responder
    HANDSHAKE_WAIT_PROOF,  // responder
    HANDSHAKE_WAIT_ANSWER, // initiator
    HANDSHAKE_WAIT_READY,  // initiator
    HANDSHAKE_DONE,
    HANDSHAKE_REFUSED,
};

struct handshake {
    const struct handshake_site *site;
    enum handshake_state state;
    enum handshake_refusal refusal;
    const struct handshake_peer *peer; // responder: known after HELLO
    uint32_t peer_incarnation;
    uint64_t removed_at; // HANDSHAKE_REMOVED: the membership's index
    uint8_t ephemeral_secret[32];
    uint8_t initiator_ephemeral[32], responder_ephemeral[32];
    uint32_t initiator_incarnation, responder_incarnation;
    uint8_t transcript[64];
    struct channel send, receive;
};

// Appends HELLO. CC_NOT_FOUND: the site does not know `peer`.
enum cc_status handshake_dial(struct handshake *handshake, const struct handshake_site *site, uint32_t peer,
                              const uint8_t random[HANDSHAKE_RANDOM_BYTES], struct cc_buffer *out) CC_CHECKED;
void handshake_accept(struct handshake *handshake, const struct handshake_site *site,
                      const uint8_t random[HANDSHAKE_RANDOM_BYTES]);
// How many bytes the next message has; 0 when done or refused.
size_t handshake_wants(const struct handshake *handshake);
// Takes one whole message of that size; appends the reply, if any. CC_REFUSED: see handshake->refusal; send the reply, if any, and
// close the connection.
enum cc_status handshake_receive(struct handshake *handshake, struct cc_slice message, struct cc_buffer *out) CC_CHECKED;
// After HANDSHAKE_DONE: moves the streams out and wipes the rest.
void handshake_take_channels(struct handshake *handshake, struct channel *send_out, struct channel *receive_out);
void handshake_forget(struct handshake *handshake); // wipes everything secret

#endif
