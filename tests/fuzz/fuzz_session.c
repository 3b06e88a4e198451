// Whatever a client sends as a token is refused, or is written again the same; so is whatever authenticated bytes say. What a database
// tells as its position raises a session, or is refused.
#include "base/base64.h"
#include "base/hash.h"
#include "proxy/node/session.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const uint8_t key[SESSION_KEY_BYTES] = {1};

static void check_token(struct cc_slice text)
{
    struct session session = {0};
    if (session_read(text, key, &session) != CC_OK) {
        return;
    }
    struct session again = {0};
    struct cc_buffer token = {0};
    session_put(&token, &session, key);
    if (session_read(cc_buffer_slice(&token), key, &again) != CC_OK || again.index != session.index || again.shortened != session.shortened ||
        !crdt_frontier_equal(&again.frontier, &session.frontier)) {
        abort();
    }
    cc_buffer_finish(&token);
}

// The same bytes as if the cluster had made them.
static void check_authenticated(struct cc_slice bytes)
{
    struct cc_buffer content = {0}, text = {0};
    cc_buffer_append_slice(&content, bytes);
    cc_put_u64(&content, cc_siphash(key, bytes.data, bytes.n));
    cc_put_u64(&content, cc_siphash(key + 16, bytes.data, bytes.n));
    cc_base64url_put(&text, cc_buffer_slice(&content));
    check_token(cc_buffer_slice(&text));
    cc_buffer_finish(&content);
    cc_buffer_finish(&text);
}

static void check_position(struct cc_slice text)
{
    struct session session = {0};
    if (session_saw(&session, text) == CC_OK && session.frontier.n > 0 && session.frontier.at[0].sequence == 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    check_token(cc_slice_of(data, n));
    check_authenticated(cc_slice_of(data, n));
    check_position(cc_slice_of(data, n));
    return 0;
}
