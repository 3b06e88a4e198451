// An authenticated, encrypted stream of records.
#include "proxy/peer/channel.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/codec.h"

static_assert(CHANNEL_KEY_BYTES == crypto_secretstream_xchacha20poly1305_KEYBYTES, "the size of a stream's key");
static_assert(CHANNEL_NONCE_BYTES == crypto_secretstream_xchacha20poly1305_HEADERBYTES,
              "the size of a stream's header");
static_assert(CHANNEL_OVERHEAD_BYTES == crypto_secretstream_xchacha20poly1305_ABYTES, "what a message adds");
static_assert(CHANNEL_STATE_BYTES >= sizeof(crypto_secretstream_xchacha20poly1305_state), "room for the state");

// Forward secrecy within a long connection: the key is replaced by one that does not tell the old one.
static const uint64_t rekey_after_bytes = 1ull << 30;

static crypto_secretstream_xchacha20poly1305_state *state_of(struct channel *channel)
{
    return (crypto_secretstream_xchacha20poly1305_state *)(void *)channel->state;
}

void channel_init(struct channel *channel, const uint8_t key[CHANNEL_KEY_BYTES],
                  const uint8_t nonce[CHANNEL_NONCE_BYTES])
{
    *channel = (struct channel){0};
    // The same for sender and receiver: libsodium's init_push differs only in that it draws the header itself, which would
    // have to be sent. The key is fresh for each connection and direction, so the header needs not be random.
    int error = crypto_secretstream_xchacha20poly1305_init_pull(state_of(channel), nonce, key);
    assert(error == 0);
}

void channel_forget(struct channel *channel)
{
    sodium_memzero(channel, sizeof(*channel));
    channel->ended = true;
}

void channel_put_frame(struct cc_buffer *plain, struct cc_slice frame)
{
    assert(frame.n <= CC_FRAME_BYTES_MAX);
    cc_put_u32(plain, (uint32_t)frame.n);
    cc_put_bytes(plain, frame);
}

static unsigned char tag_for(struct channel *channel, size_t n_plain, bool final)
{
    channel->n_bytes += n_plain;
    if (final) {
        return crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    }
    if (channel->n_bytes < rekey_after_bytes) {
        return crypto_secretstream_xchacha20poly1305_TAG_MESSAGE;
    }
    channel->n_bytes = 0;
    return crypto_secretstream_xchacha20poly1305_TAG_REKEY;
}

void channel_seal(struct channel *channel, struct cc_slice plain, bool final, struct cc_buffer *out)
{
    assert(!channel->ended && plain.n + CHANNEL_OVERHEAD_BYTES <= CHANNEL_RECORD_BYTES_MAX);
    size_t n_cipher = plain.n + CHANNEL_OVERHEAD_BYTES;
    size_t at = out->n;
    cc_put_u32(out, (uint32_t)n_cipher);
    cc_buffer_reserve(out, n_cipher);
    int error = crypto_secretstream_xchacha20poly1305_push(state_of(channel), out->data + at + CHANNEL_LENGTH_BYTES,
                                                           NULL, plain.data, plain.n, out->data + at,
                                                           CHANNEL_LENGTH_BYTES, tag_for(channel, plain.n, final));
    assert(error == 0);
    out->n += n_cipher;
    channel->ended = final;
}

enum cc_status channel_record_size(struct cc_slice bytes, size_t *n_bytes_out)
{
    if (bytes.n < CHANNEL_LENGTH_BYTES) {
        *n_bytes_out = 0;
        return CC_OK;
    }
    struct cc_reader reader = cc_reader_of(bytes);
    uint32_t n_cipher = cc_read_u32(&reader);
    if (n_cipher < CHANNEL_OVERHEAD_BYTES) {
        return CC_MALFORMED;
    }
    if (n_cipher > CHANNEL_RECORD_BYTES_MAX) {
        return CC_TOO_LARGE;
    }
    *n_bytes_out = CHANNEL_LENGTH_BYTES + (size_t)n_cipher;
    return CC_OK;
}

enum cc_status channel_open(struct channel *channel, struct cc_slice record, struct cc_buffer *plain_out)
{
    size_t n_bytes;
    enum cc_status status = channel_record_size(record, &n_bytes);
    if (status != CC_OK || n_bytes == 0 || n_bytes != record.n) {
        return CC_MALFORMED;
    }
    if (channel->ended) {
        return CC_REFUSED;
    }
    size_t n_cipher = record.n - CHANNEL_LENGTH_BYTES;
    cc_buffer_reserve(plain_out, n_cipher);
    unsigned char tag;
    unsigned long long n_plain;
    if (crypto_secretstream_xchacha20poly1305_pull(state_of(channel), plain_out->data + plain_out->n, &n_plain, &tag,
                                                   record.data + CHANNEL_LENGTH_BYTES, n_cipher, record.data,
                                                   CHANNEL_LENGTH_BYTES) != 0) {
        return CC_REFUSED;
    }
    plain_out->n += (size_t)n_plain;
    channel->ended = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    return CC_OK;
}

enum cc_status channel_next_frame(struct cc_slice *plain, struct cc_slice *frame_out)
{
    if (plain->n == 0) {
        return CC_NOT_FOUND;
    }
    struct cc_reader reader = cc_reader_of(*plain);
    uint32_t n = cc_read_u32(&reader);
    struct cc_slice frame = cc_read_bytes(&reader, n);
    if (!cc_reader_ok(&reader) || n > CC_FRAME_BYTES_MAX) {
        return CC_MALFORMED;
    }
    *plain = cc_slice_of(reader.at, cc_reader_left(&reader));
    *frame_out = frame;
    return CC_OK;
}
