// Session tokens: {u8 version: 1, or 2 of one that is shortened, u64 index, frontier, 16 bytes of authentication}, base64url.
#include "proxy/node/session.h"

#include "base/base64.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

enum { WHOLE = 1, SHORTENED = 2 }; // versions
enum { TAG_BYTES = 16 };
_Static_assert((1 + 8 + 2 + CC_ORIGINS_MAX * (4 + 4 + 9) + TAG_BYTES) * 4 / 3 < SESSION_TOKEN_BYTES_MAX, "a full frontier, numbers of up to 63 bits");

// Two SipHashes under independent keys: 128 bits, and nobody without the key can make them. `out` may be where `bytes` are.
static void put_tag(struct cc_buffer *out, struct cc_slice bytes, const uint8_t key[SESSION_KEY_BYTES])
{
    uint64_t low = cc_siphash(key, bytes.data, bytes.n);
    uint64_t high = cc_siphash(key + 16, bytes.data, bytes.n);
    cc_put_u64(out, low);
    cc_put_u64(out, high);
}

static size_t content_bytes_max(const struct session *session)
{
    return 1 + 8 + 2 + session->frontier.n * (4 + 4 + 10);
}

static void put_content(struct cc_buffer *out, const struct session *session)
{
    cc_put_u8(out, session->shortened ? SHORTENED : WHOLE);
    cc_put_u64(out, session->index);
    crdt_frontier_put(out, &session->frontier);
}

void session_put(struct cc_buffer *out, const struct session *session, const uint8_t key[SESSION_KEY_BYTES])
{
    struct cc_buffer bytes = {0};
    cc_buffer_reserve(&bytes, content_bytes_max(session) + TAG_BYTES);
    put_content(&bytes, session);
    put_tag(&bytes, cc_buffer_slice(&bytes), key);
    cc_base64url_put(out, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
}

bool session_is_long(const struct session *session, size_t n_bytes_aim)
{
    if (((content_bytes_max(session) + TAG_BYTES) * 4 + 2) / 3 <= n_bytes_aim) {
        return false;
    }
    struct cc_buffer bytes = {0};
    put_content(&bytes, session);
    size_t n = bytes.n + TAG_BYTES;
    cc_buffer_finish(&bytes);
    return (n * 4 + 2) / 3 > n_bytes_aim;
}

void session_shorten(struct session *session, const struct crdt_frontier *everywhere, size_t n_bytes_aim)
{
    if (!session_is_long(session, n_bytes_aim)) {
        return;
    }
    struct crdt_frontier *frontier = &session->frontier;
    uint32_t n = 0;
    for (uint32_t i = 0; i < frontier->n; i++) {
        if (frontier->at[i].sequence > crdt_frontier_get(everywhere, frontier->at[i].origin)) {
            frontier->at[n++] = frontier->at[i];
        }
    }
    session->shortened = session->shortened || n < frontier->n;
    frontier->n = n;
}

static bool tag_is_good(struct cc_slice bytes, const uint8_t key[SESSION_KEY_BYTES])
{
    struct cc_buffer tag = {0};
    put_tag(&tag, cc_slice_of(bytes.data, bytes.n - TAG_BYTES), key);
    const uint8_t *claimed = bytes.data + bytes.n - TAG_BYTES;
    uint8_t difference = 0;
    for (size_t i = 0; i < TAG_BYTES; i++) { // in constant time
        difference |= (uint8_t)(tag.data[i] ^ claimed[i]);
    }
    cc_buffer_finish(&tag);
    return difference == 0;
}

static enum cc_status decode(struct cc_slice bytes, const uint8_t key[SESSION_KEY_BYTES], struct session *session_out)
{
    if (bytes.n <= TAG_BYTES) {
        return CC_MALFORMED;
    }
    if (!tag_is_good(bytes, key)) {
        return CC_REFUSED;
    }
    struct session session;
    struct cc_reader reader = cc_reader_of(cc_slice_of(bytes.data, bytes.n - TAG_BYTES));
    uint8_t version = cc_read_u8(&reader);
    session.index = cc_read_u64(&reader);
    session.shortened = version == SHORTENED;
    if ((version != WHOLE && version != SHORTENED) || crdt_frontier_read(&reader, &session.frontier) != CC_OK || cc_reader_end(&reader) != CC_OK) {
        return CC_MALFORMED;
    }
    *session_out = session;
    return CC_OK;
}

enum cc_status session_read(struct cc_slice text, const uint8_t key[SESSION_KEY_BYTES], struct session *session_out)
{
    if (text.n > SESSION_TOKEN_BYTES_MAX) {
        return CC_MALFORMED;
    }
    struct cc_buffer bytes = {0};
    enum cc_status status = cc_base64url_read(text, &bytes);
    if (status == CC_OK) {
        status = decode(cc_buffer_slice(&bytes), key, session_out);
    }
    cc_buffer_finish(&bytes);
    return status;
}

enum cc_status session_saw(struct session *session, struct cc_slice position)
{
    uint64_t index;
    if (!cc_slice_take_number(&position, UINT64_MAX, &index)) {
        return CC_MALFORMED;
    }
    session_wrote(session, index);
    while (position.n > 0) {
        uint64_t replica = 0, incarnation = 0, sequence = 0;
        bool good = cc_slice_take_byte(&position, ' ') && cc_slice_take_number(&position, UINT32_MAX, &replica) &&
                    cc_slice_take_byte(&position, '.') && cc_slice_take_number(&position, UINT32_MAX, &incarnation) &&
                    cc_slice_take_byte(&position, ':') && cc_slice_take_number(&position, UINT64_MAX, &sequence) && sequence > 0;
        struct crdt_origin origin = {(uint32_t)replica, (uint32_t)incarnation};
        if (!good || session_wrote_weak(session, origin, sequence) != CC_OK) {
            return CC_MALFORMED;
        }
    }
    return CC_OK;
}

void session_wrote(struct session *session, uint64_t index)
{
    session->index = index > session->index ? index : session->index;
}

enum cc_status session_wrote_weak(struct session *session, struct crdt_origin origin, uint64_t sequence)
{
    return crdt_frontier_raise(&session->frontier, origin, sequence);
}
