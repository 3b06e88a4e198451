// An authenticated, encrypted stream of records in one direction each way, after a handshake. Pure over bytes.
//
// Record: u32 length of what follows (little endian, authenticated) + secretstream message. Its plain text is a sequence of
// frames, each u32 length + bytes, so that many small frames cost one encryption. Loss, reordering, repetition or change of
// a record is noticed by the stream; the end is marked (libsodium's FINAL), so that a cut is told from an orderly end.
#ifndef PROXY_CHANNEL_H
#define PROXY_CHANNEL_H

#include "base/limits.h"
#include "base/slice.h"
#include "base/status.h"

enum {
    CHANNEL_KEY_BYTES = 32,
    CHANNEL_NONCE_BYTES = 24,
    CHANNEL_LENGTH_BYTES = 4,
    CHANNEL_OVERHEAD_BYTES = 17,
    CHANNEL_RECORD_BYTES_MAX = CC_FRAME_BYTES_MAX + CHANNEL_LENGTH_BYTES + CHANNEL_OVERHEAD_BYTES,
    CHANNEL_STATE_BYTES = 64,
};

// One direction.
struct channel {
    _Alignas(16) uint8_t state[CHANNEL_STATE_BYTES];
    uint64_t n_bytes; // since the last change of key
    bool ended;       // FINAL was sent or received
};

// Both ends derive the same key and nonce; a key is used for one direction of one connection only.
void channel_init(struct channel *channel, const uint8_t key[CHANNEL_KEY_BYTES], const uint8_t nonce[CHANNEL_NONCE_BYTES]);
void channel_forget(struct channel *channel); // wipes the key

// Appends a frame to the plain text of a record. At most CC_FRAME_BYTES_MAX.
void channel_put_frame(struct cc_buffer *plain, struct cc_slice frame);
// Appends the record with this plain text (may be empty: a sign of life). final: nothing may follow.
void channel_seal(struct channel *channel, struct cc_slice plain, bool final, struct cc_buffer *out);

// The size of the record whose first bytes these are; 0: the length is not known yet. CC_TOO_LARGE, CC_MALFORMED.
enum cc_status channel_record_size(struct cc_slice bytes, size_t *n_bytes_out) CC_CHECKED;
// Opens one whole record; appends its plain text. CC_REFUSED when it is not the peer's next record, or comes after the end.
enum cc_status channel_open(struct channel *channel, struct cc_slice record, struct cc_buffer *plain_out) CC_CHECKED;
// Takes the next frame off *plain (borrows). CC_NOT_FOUND at the end, CC_MALFORMED.
enum cc_status channel_next_frame(struct cc_slice *plain, struct cc_slice *frame_out) CC_CHECKED;

#endif
