// Two replicas make sure of each other and agree on keys.
#include "proxy/peer/handshake.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/codec.h"

static_assert(HANDSHAKE_RANDOM_BYTES == crypto_scalarmult_SCALARBYTES, "an ephemeral secret");
static_assert(sizeof(((struct handshake *)0)->transcript) == crypto_generichash_BYTES_MAX, "a whole hash");

static const uint8_t magic[8] = {'c', 'a', 'u', 'c', 'u', 's', 'p', '\n'};
enum { CLUSTER_HASH_BYTES = 16, SIGNATURE_BYTES = crypto_sign_BYTES };
static_assert(HANDSHAKE_HELLO_BYTES == sizeof(magic) + 4 + CLUSTER_HASH_BYTES + 3 * 4 + 32, "HELLO");
static_assert(HANDSHAKE_ANSWER_BYTES == sizeof(magic) + 4 + 2 * 4 + 32 + SIGNATURE_BYTES, "ANSWER");
static_assert(HANDSHAKE_PROOF_BYTES == SIGNATURE_BYTES + HANDSHAKE_READY_BYTES, "PROOF");

const char *handshake_refusal_text(enum handshake_refusal refusal)
{
    static const char *const texts[] = {
#define HANDSHAKE_REFUSAL_TEXT(name, text) [name] = text,
        HANDSHAKE_REFUSALS(HANDSHAKE_REFUSAL_TEXT)
#undef HANDSHAKE_REFUSAL_TEXT
    };
    return texts[refusal];
}

static enum cc_status refuse(struct handshake *handshake, enum handshake_refusal refusal)
{
    handshake_forget(handshake);
    handshake->state = HANDSHAKE_REFUSED;
    handshake->refusal = refusal;
    return CC_REFUSED;
}

static const struct handshake_peer *find_peer(const struct handshake_site *site, uint32_t id)
{
    for (size_t i = 0; i < site->n_peers; i++) {
        if (site->peers[i].id == id && id != site->id && id != 0) {
            return &site->peers[i];
        }
    }
    return NULL;
}

static void hash_of_cluster(const char *cluster, uint8_t hash_out[CLUSTER_HASH_BYTES])
{
    int error = crypto_generichash(hash_out, CLUSTER_HASH_BYTES, (const uint8_t *)cluster, strlen(cluster), NULL, 0);
    assert(error == 0);
}

enum answer_kind { ANSWER_GOES_ON = 0, ANSWER_REMOVED = 1 }; // in the second half of the version

static void put_version(struct cc_buffer *out, enum answer_kind kind)
{
    cc_buffer_append(out, magic, sizeof(magic));
    cc_put_u16(out, HANDSHAKE_VERSION);
    cc_put_u16(out, (uint16_t)kind);
}

static enum handshake_refusal check_version(struct cc_reader *reader, uint16_t *kind_out)
{
    struct cc_slice start = cc_read_bytes(reader, sizeof(magic));
    uint16_t version = cc_read_u16(reader);
    *kind_out = cc_read_u16(reader);
    if (!cc_slice_equal(start, cc_slice_of(magic, sizeof(magic)))) {
        return HANDSHAKE_NOT_CAUCUS;
    }
    return version == HANDSHAKE_VERSION && *kind_out <= ANSWER_REMOVED ? HANDSHAKE_NOT_REFUSED : HANDSHAKE_OTHER_VERSION;
}

// -- Keys -----------------------------------------------------------------------------------------------------------

static bool is_initiator(const struct handshake *handshake)
{
    return handshake->state == HANDSHAKE_WAIT_ANSWER || handshake->state == HANDSHAKE_WAIT_READY;
}

static void hash_transcript(struct handshake *handshake)
{
    const struct handshake_site *site = handshake->site;
    bool initiator = is_initiator(handshake);
    struct cc_slice cluster = cc_slice_text(site->cluster);
    uint8_t fixed[4 * 5];
    const uint32_t numbers[] = {
        HANDSHAKE_VERSION,
        initiator ? site->id : handshake->peer->id,
        initiator ? handshake->peer->id : site->id,
        handshake->initiator_incarnation,
        handshake->responder_incarnation,
    };
    for (size_t i = 0; i < sizeof(fixed); i++) {
        fixed[i] = (uint8_t)(numbers[i / 4] >> (8 * (i % 4)));
    }
    crypto_generichash_state hash;
    (void)crypto_generichash_init(&hash, NULL, 0, sizeof(handshake->transcript));
    (void)crypto_generichash_update(&hash, magic, sizeof(magic));
    (void)crypto_generichash_update(&hash, fixed, sizeof(fixed));
    (void)crypto_generichash_update(&hash, initiator ? site->keys->public_key : handshake->peer->public_key, 32);
    (void)crypto_generichash_update(&hash, initiator ? handshake->peer->public_key : site->keys->public_key, 32);
    (void)crypto_generichash_update(&hash, handshake->initiator_ephemeral, 32);
    (void)crypto_generichash_update(&hash, handshake->responder_ephemeral, 32);
    (void)crypto_generichash_update(&hash, cluster.data, cluster.n); // last: the only part without a fixed size
    (void)crypto_generichash_final(&hash, handshake->transcript, sizeof(handshake->transcript));
}

// What REMOVED says, in the place of a transcript: nothing of it fits elsewhere, or to another question.
static void hash_removal(struct handshake *handshake, uint32_t removed, uint32_t member)
{
    const struct handshake_site *site = handshake->site;
    const uint64_t numbers[] = {
        HANDSHAKE_VERSION, removed, member, handshake->initiator_incarnation, handshake->responder_incarnation, handshake->removed_at,
    };
    struct cc_buffer fixed = {0};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        cc_put_u64(&fixed, numbers[i]);
    }
    crypto_generichash_state hash;
    (void)crypto_generichash_init(&hash, NULL, 0, sizeof(handshake->transcript));
    (void)crypto_generichash_update(&hash, magic, sizeof(magic));
    (void)crypto_generichash_update(&hash, fixed.data, fixed.n);
    (void)crypto_generichash_update(&hash, handshake->initiator_ephemeral, 32);
    (void)crypto_generichash_update(&hash, (const uint8_t *)site->cluster, strlen(site->cluster));
    (void)crypto_generichash_final(&hash, handshake->transcript, sizeof(handshake->transcript));
    cc_buffer_finish(&fixed);
}

enum part { PART_INITIATOR = 'i', PART_RESPONDER = 'r', PART_REMOVER = 'x' };

// What a side signs: its part and the transcript.
enum { SIGNED_BYTES = 1 + 64 };

static void signed_text(const struct handshake *handshake, enum part part, uint8_t out[SIGNED_BYTES])
{
    out[0] = (uint8_t)part;
    memcpy(out + 1, handshake->transcript, sizeof(handshake->transcript));
}

static void put_signature(const struct handshake *handshake, enum part part, struct cc_buffer *out)
{
    uint8_t text[SIGNED_BYTES];
    signed_text(handshake, part, text);
    uint8_t signature[SIGNATURE_BYTES];
    (void)crypto_sign_detached(signature, NULL, text, sizeof(text), handshake->site->keys->secret_key);
    cc_buffer_append(out, signature, sizeof(signature));
}

static bool signature_holds(const struct handshake *handshake, enum part part, struct cc_slice signature)
{
    uint8_t text[SIGNED_BYTES];
    signed_text(handshake, part, text);
    return signature.n == SIGNATURE_BYTES &&
           crypto_sign_verify_detached(signature.data, text, sizeof(text), handshake->peer->public_key) == 0;
}

// Both streams from the shared secret and the transcript. False: the other's ephemeral key is one of the few that make the
// shared secret known to anybody.
static bool derive_channels(struct handshake *handshake)
{
    bool initiator = is_initiator(handshake);
    const uint8_t *other = initiator ? handshake->responder_ephemeral : handshake->initiator_ephemeral;
    uint8_t shared[crypto_scalarmult_BYTES];
    if (crypto_scalarmult(shared, handshake->ephemeral_secret, other) != 0) {
        return false;
    }
    uint8_t keys[2 * CHANNEL_KEY_BYTES]; // initiator's, responder's
    (void)crypto_generichash(keys, sizeof(keys), handshake->transcript, sizeof(handshake->transcript), shared,
                             sizeof(shared));
    const uint8_t *nonce = handshake->transcript;
    channel_init(&handshake->send, initiator ? keys : keys + CHANNEL_KEY_BYTES, nonce);
    channel_init(&handshake->receive, initiator ? keys + CHANNEL_KEY_BYTES : keys, nonce);
    sodium_memzero(shared, sizeof(shared));
    sodium_memzero(keys, sizeof(keys));
    return true;
}

static bool opens_as_empty(struct handshake *handshake, struct cc_slice record)
{
    struct cc_buffer plain = {0};
    bool ok = channel_open(&handshake->receive, record, &plain) == CC_OK && plain.n == 0;
    cc_buffer_finish(&plain);
    return ok;
}

static void make_ephemeral(struct handshake *handshake, const uint8_t random[HANDSHAKE_RANDOM_BYTES],
                           uint8_t public_out[32])
{
    memcpy(handshake->ephemeral_secret, random, HANDSHAKE_RANDOM_BYTES);
    int error = crypto_scalarmult_base(public_out, handshake->ephemeral_secret);
    assert(error == 0);
}

// -- Messages -------------------------------------------------------------------------------------------------------

static void put_hello(const struct handshake *handshake, struct cc_buffer *out)
{
    uint8_t cluster[CLUSTER_HASH_BYTES];
    hash_of_cluster(handshake->site->cluster, cluster);
    put_version(out, ANSWER_GOES_ON);
    cc_buffer_append(out, cluster, sizeof(cluster));
    cc_put_u32(out, handshake->site->id);
    cc_put_u32(out, handshake->peer->id);
    cc_put_u32(out, handshake->site->incarnation);
    cc_buffer_append(out, handshake->initiator_ephemeral, 32);
}

static enum handshake_refusal take_hello(struct handshake *handshake, struct cc_slice message, uint32_t *from_out)
{
    struct cc_reader reader = cc_reader_of(message);
    uint16_t kind;
    enum handshake_refusal refusal = check_version(&reader, &kind);
    struct cc_slice cluster = cc_read_bytes(&reader, CLUSTER_HASH_BYTES);
    uint32_t from = cc_read_u32(&reader);
    uint32_t to = cc_read_u32(&reader);
    uint32_t incarnation = cc_read_u32(&reader);
    struct cc_slice ephemeral = cc_read_bytes(&reader, 32);
    if (refusal != HANDSHAKE_NOT_REFUSED) {
        return refusal;
    }
    uint8_t ours[CLUSTER_HASH_BYTES];
    hash_of_cluster(handshake->site->cluster, ours);
    if (cc_reader_end(&reader) != CC_OK || kind != ANSWER_GOES_ON) {
        return HANDSHAKE_NOT_CAUCUS;
    }
    if (!cc_slice_equal(cluster, cc_slice_of(ours, sizeof(ours)))) {
        return HANDSHAKE_OTHER_CLUSTER;
    }
    if (to != handshake->site->id) {
        return HANDSHAKE_WRONG_ID;
    }
    handshake->peer_incarnation = handshake->initiator_incarnation = incarnation;
    memcpy(handshake->initiator_ephemeral, ephemeral.data, 32);
    handshake->peer = find_peer(handshake->site, from);
    *from_out = from;
    return handshake->peer == NULL ? HANDSHAKE_UNKNOWN_ID : HANDSHAKE_NOT_REFUSED;
}

static const uint8_t unused[32 - 8]; // where ANSWER has the rest of a key

static void put_removed(struct handshake *handshake, uint32_t removed, struct cc_buffer *out)
{
    handshake->removed_at = handshake->site->membership_index;
    hash_removal(handshake, removed, handshake->site->id);
    put_version(out, ANSWER_REMOVED);
    cc_put_u32(out, handshake->site->id);
    cc_put_u32(out, handshake->site->incarnation);
    cc_put_u64(out, handshake->removed_at);
    cc_buffer_append(out, unused, sizeof(unused));
    put_signature(handshake, PART_REMOVER, out);
}

static enum cc_status receive_hello(struct handshake *handshake, struct cc_slice message, struct cc_buffer *out)
{
    uint32_t from = 0;
    enum handshake_refusal refusal = take_hello(handshake, message, &from);
    if (refusal == HANDSHAKE_UNKNOWN_ID && handshake->site->membership_index > 0 && from != 0 && from != handshake->site->id) {
        put_removed(handshake, from, out);
    }
    if (refusal != HANDSHAKE_NOT_REFUSED) {
        return refuse(handshake, refusal);
    }
    hash_transcript(handshake);
    if (!derive_channels(handshake)) {
        return refuse(handshake, HANDSHAKE_WRONG_KEY);
    }
    put_version(out, ANSWER_GOES_ON);
    cc_put_u32(out, handshake->site->id);
    cc_put_u32(out, handshake->site->incarnation);
    cc_buffer_append(out, handshake->responder_ephemeral, 32);
    put_signature(handshake, PART_RESPONDER, out);
    handshake->state = HANDSHAKE_WAIT_PROOF;
    return CC_OK;
}

static enum handshake_refusal take_removed(struct handshake *handshake, struct cc_slice statement, struct cc_slice signature)
{
    struct cc_reader reader = cc_reader_of(statement);
    handshake->removed_at = cc_read_u64(&reader);
    bool is_whole = cc_slice_equal(cc_read_bytes(&reader, sizeof(unused)), cc_slice_of(unused, sizeof(unused)));
    hash_removal(handshake, handshake->site->id, handshake->peer->id);
    if (!is_whole || handshake->removed_at == 0 || !signature_holds(handshake, PART_REMOVER, signature)) {
        handshake->removed_at = 0;
        return HANDSHAKE_WRONG_KEY;
    }
    return HANDSHAKE_REMOVED;
}

static enum handshake_refusal take_answer(struct handshake *handshake, struct cc_slice message)
{
    struct cc_reader reader = cc_reader_of(message);
    uint16_t kind;
    enum handshake_refusal refusal = check_version(&reader, &kind);
    uint32_t from = cc_read_u32(&reader);
    uint32_t incarnation = cc_read_u32(&reader);
    struct cc_slice ephemeral = cc_read_bytes(&reader, 32);
    struct cc_slice signature = cc_read_bytes(&reader, SIGNATURE_BYTES);
    if (refusal != HANDSHAKE_NOT_REFUSED) {
        return refusal;
    }
    if (cc_reader_end(&reader) != CC_OK) {
        return HANDSHAKE_NOT_CAUCUS;
    }
    if (from != handshake->peer->id) {
        return HANDSHAKE_WRONG_ID;
    }
    handshake->peer_incarnation = handshake->responder_incarnation = incarnation;
    if (kind == ANSWER_REMOVED) {
        return take_removed(handshake, ephemeral, signature);
    }
    memcpy(handshake->responder_ephemeral, ephemeral.data, 32);
    hash_transcript(handshake);
    bool holds = signature_holds(handshake, PART_RESPONDER, signature) && derive_channels(handshake);
    return holds ? HANDSHAKE_NOT_REFUSED : HANDSHAKE_WRONG_KEY;
}

static enum cc_status receive_answer(struct handshake *handshake, struct cc_slice message, struct cc_buffer *out)
{
    enum handshake_refusal refusal = take_answer(handshake, message);
    if (refusal != HANDSHAKE_NOT_REFUSED) {
        return refuse(handshake, refusal);
    }
    put_signature(handshake, PART_INITIATOR, out);
    channel_seal(&handshake->send, (struct cc_slice){0}, false, out);
    handshake->state = HANDSHAKE_WAIT_READY;
    return CC_OK;
}

static enum cc_status receive_proof(struct handshake *handshake, struct cc_slice message, struct cc_buffer *out)
{
    struct cc_slice signature = cc_slice_of(message.data, SIGNATURE_BYTES);
    struct cc_slice record = cc_slice_of(message.data + SIGNATURE_BYTES, message.n - SIGNATURE_BYTES);
    if (!signature_holds(handshake, PART_INITIATOR, signature) || !opens_as_empty(handshake, record)) {
        return refuse(handshake, HANDSHAKE_WRONG_KEY);
    }
    channel_seal(&handshake->send, (struct cc_slice){0}, false, out);
    handshake->state = HANDSHAKE_DONE;
    return CC_OK;
}

static enum cc_status receive_ready(struct handshake *handshake, struct cc_slice message)
{
    if (!opens_as_empty(handshake, message)) {
        return refuse(handshake, HANDSHAKE_WRONG_KEY);
    }
    handshake->state = HANDSHAKE_DONE;
    return CC_OK;
}

// -- Public ---------------------------------------------------------------------------------------------------------

enum cc_status handshake_dial(struct handshake *handshake, const struct handshake_site *site, uint32_t peer,
                              const uint8_t random[HANDSHAKE_RANDOM_BYTES], struct cc_buffer *out)
{
    const struct handshake_peer *known = find_peer(site, peer);
    if (known == NULL) {
        return CC_NOT_FOUND;
    }
    *handshake = (struct handshake){.site = site, .state = HANDSHAKE_WAIT_ANSWER, .peer = known};
    handshake->initiator_incarnation = site->incarnation;
    make_ephemeral(handshake, random, handshake->initiator_ephemeral);
    put_hello(handshake, out);
    return CC_OK;
}

void handshake_accept(struct handshake *handshake, const struct handshake_site *site,
                      const uint8_t random[HANDSHAKE_RANDOM_BYTES])
{
    *handshake = (struct handshake){.site = site, .state = HANDSHAKE_WAIT_HELLO};
    handshake->responder_incarnation = site->incarnation;
    make_ephemeral(handshake, random, handshake->responder_ephemeral);
}

size_t handshake_wants(const struct handshake *handshake)
{
    switch (handshake->state) {
    case HANDSHAKE_WAIT_HELLO:
        return HANDSHAKE_HELLO_BYTES;
    case HANDSHAKE_WAIT_PROOF:
        return HANDSHAKE_PROOF_BYTES;
    case HANDSHAKE_WAIT_ANSWER:
        return HANDSHAKE_ANSWER_BYTES;
    case HANDSHAKE_WAIT_READY:
        return HANDSHAKE_READY_BYTES;
    case HANDSHAKE_DONE:
    case HANDSHAKE_REFUSED:
        return 0;
    }
    return 0;
}

enum cc_status handshake_receive(struct handshake *handshake, struct cc_slice message, struct cc_buffer *out)
{
    if (message.n != handshake_wants(handshake)) {
        return refuse(handshake, HANDSHAKE_NOT_CAUCUS);
    }
    switch (handshake->state) {
    case HANDSHAKE_WAIT_HELLO:
        return receive_hello(handshake, message, out);
    case HANDSHAKE_WAIT_PROOF:
        return receive_proof(handshake, message, out);
    case HANDSHAKE_WAIT_ANSWER:
        return receive_answer(handshake, message, out);
    case HANDSHAKE_WAIT_READY:
        return receive_ready(handshake, message);
    case HANDSHAKE_DONE:
    case HANDSHAKE_REFUSED:
        break;
    }
    return refuse(handshake, HANDSHAKE_NOT_CAUCUS);
}

void handshake_take_channels(struct handshake *handshake, struct channel *send_out, struct channel *receive_out)
{
    assert(handshake->state == HANDSHAKE_DONE);
    *send_out = handshake->send;
    *receive_out = handshake->receive;
    handshake_forget(handshake);
}

void handshake_forget(struct handshake *handshake)
{
    sodium_memzero(handshake->ephemeral_secret, sizeof(handshake->ephemeral_secret));
    sodium_memzero(handshake->transcript, sizeof(handshake->transcript));
    channel_forget(&handshake->send);
    channel_forget(&handshake->receive);
}
