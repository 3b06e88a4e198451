// Fuzz: records of a channel. First byte even: the rest is what arrives, as it is; odd: the rest is the plain text of a record
// that is sealed properly, so that the frames in it are reached.
#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "proxy/peer/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void init_both(struct channel *sender, struct channel *receiver)
{
    uint8_t key[CHANNEL_KEY_BYTES] = {1};
    uint8_t nonce[CHANNEL_NONCE_BYTES] = {2};
    channel_init(sender, key, nonce);
    channel_init(receiver, key, nonce);
}

static void take_frames(struct cc_slice plain)
{
    const uint8_t *end = plain.data + plain.n;
    struct cc_slice frame;
    while (channel_next_frame(&plain, &frame) == CC_OK) {
        assert(frame.data >= end - plain.n - frame.n && frame.data + frame.n <= end);
    }
}

static void receive_sealed(struct cc_slice plain)
{
    struct channel sender, receiver;
    init_both(&sender, &receiver);
    struct cc_buffer record = {0};
    struct cc_buffer opened = {0};
    channel_seal(&sender, plain, false, &record);
    enum cc_status status = channel_open(&receiver, cc_buffer_slice(&record), &opened);
    assert(status == CC_OK && cc_slice_equal(cc_buffer_slice(&opened), plain));
    take_frames(cc_buffer_slice(&opened));
    cc_buffer_finish(&record);
    cc_buffer_finish(&opened);
}

static void receive_raw(struct cc_slice bytes)
{
    struct channel sender, receiver;
    init_both(&sender, &receiver);
    for (;;) {
        size_t n_record;
        if (channel_record_size(bytes, &n_record) != CC_OK || n_record == 0 || n_record > bytes.n) {
            return;
        }
        struct cc_buffer opened = {0};
        enum cc_status status = channel_open(&receiver, cc_slice_of(bytes.data, n_record), &opened);
        assert((status == CC_OK) || opened.n == 0);
        take_frames(cc_buffer_slice(&opened));
        cc_buffer_finish(&opened);
        if (status != CC_OK) {
            return;
        }
        bytes = cc_slice_of(bytes.data + n_record, bytes.n - n_record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1 || sodium_init() < 0) {
        return 0;
    }
    struct cc_slice rest = cc_slice_of(data + 1, n - 1);
    if (data[0] % 2 == 0) {
        receive_raw(rest);
    } else {
        receive_sealed(rest);
    }
    return 0;
}
