// Fuzz: whatever arrives during a handshake, it is refused in order, and nobody without the key gets through.
// First byte even: we are the responder; odd: the initiator, which may have been removed. The rest arrives message by message. Randomness is fixed, so the
// corpus holds real sessions: only their exact bytes may succeed.
#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "proxy/peer/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct side {
    struct keys_pair keys;
    struct handshake_site site;
};

static struct handshake_peer peers[2];
static struct side sides[2];

static void prepare(void)
{
    if (sides[0].site.cluster != NULL) {
        return;
    }
    assert(sodium_init() >= 0);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t seed[KEYS_SEED_BYTES];
        memset(seed, (int)i + 1, sizeof(seed));
        keys_of_seed(seed, &sides[i].keys);
        peers[i].id = i + 1;
        memcpy(peers[i].public_key, sides[i].keys.public_key, KEYS_PUBLIC_BYTES);
        sides[i].site = (struct handshake_site){
            .cluster = "shop", .id = i + 1, .incarnation = 7, .keys = &sides[i].keys, .peers = peers, .n_peers = 2};
    }
}

static void begin(struct handshake *handshake, bool initiator, struct cc_buffer *out)
{
    uint8_t random[HANDSHAKE_RANDOM_BYTES];
    memset(random, initiator ? 11 : 22, sizeof(random));
    if (initiator) {
        enum cc_status status = handshake_dial(handshake, &sides[0].site, 2, random, out);
        assert(status == CC_OK);
    } else {
        handshake_accept(handshake, &sides[1].site, random);
    }
}

// What the other side says when the initiator is no member any more.
static void removal(struct cc_buffer *bytes_out)
{
    struct handshake_site site = sides[1].site;
    site.n_peers = 0;
    site.membership_index = 41;
    struct handshake initiator, responder;
    uint8_t random[HANDSHAKE_RANDOM_BYTES] = {22};
    struct cc_buffer hello = {0};
    begin(&initiator, true, &hello);
    handshake_accept(&responder, &site, random);
    enum cc_status status = handshake_receive(&responder, cc_buffer_slice(&hello), bytes_out);
    assert(status == CC_REFUSED);
    cc_buffer_finish(&hello);
}

// The bytes that the real other side would send, message after message.
static void real_bytes(bool to_initiator, struct cc_buffer *bytes_out)
{
    struct handshake initiator, responder;
    struct cc_buffer message = {0};
    struct cc_buffer reply = {0};
    begin(&responder, false, &reply);
    begin(&initiator, true, &message);
    struct handshake *receiver = &responder;
    for (int i = 0; i < 4; i++) {
        if ((receiver == &initiator) == to_initiator) {
            cc_buffer_append(bytes_out, message.data, message.n);
        }
        enum cc_status status = handshake_receive(receiver, cc_buffer_slice(&message), &reply);
        assert(status == CC_OK);
        receiver = receiver == &responder ? &initiator : &responder;
        cc_buffer_clear(&message);
        cc_buffer_append(&message, reply.data, reply.n);
        cc_buffer_clear(&reply);
    }
    cc_buffer_finish(&message);
    cc_buffer_finish(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1) {
        return 0;
    }
    prepare();
    bool initiator = data[0] % 2 == 1;
    struct handshake handshake;
    struct cc_buffer out = {0};
    begin(&handshake, initiator, &out);
    size_t at = 1;
    enum cc_status status = CC_OK;
    for (size_t n_wanted = handshake_wants(&handshake); status == CC_OK && n_wanted > 0 && n_wanted <= n - at;
         n_wanted = handshake_wants(&handshake)) {
        status = handshake_receive(&handshake, cc_slice_of(data + at, n_wanted), &out);
        at += n_wanted;
        assert((status == CC_OK) == (handshake.state != HANDSHAKE_REFUSED));
    }
    if (handshake.state == HANDSHAKE_DONE) {
        struct cc_buffer real = {0};
        real_bytes(initiator, &real);
        assert(cc_slice_equal(cc_slice_of(data + 1, at - 1), cc_buffer_slice(&real)));
        cc_buffer_finish(&real);
    }
    if (handshake.refusal == HANDSHAKE_REMOVED) {
        struct cc_buffer real = {0};
        removal(&real);
        assert(cc_slice_equal(cc_slice_of(data + 1, at - 1), cc_buffer_slice(&real)));
        cc_buffer_finish(&real);
    }
    cc_buffer_finish(&out);
    return 0;
}
