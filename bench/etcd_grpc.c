// The workload over etcd's gRPC interface: just enough of HTTP/2 (RFC 9113), HPACK (RFC 7541) and protocol buffers for unary calls,
// one at a time on a connection. Headers that the server sends are skipped: a call has succeeded when a message came.
#include "etcd_protocol.h"

#include <assert.h>
#include <string.h>

enum {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_WINDOW_UPDATE = 8,

    FLAG_ACK = 1,
    FLAG_END_STREAM = 1,
    FLAG_END_HEADERS = 4,
    FLAG_PADDED = 8,

    FRAME_HEAD_BYTES = 9,
    FRAME_BYTES_MAX = 16 << 10, // what a server may send unless we allow more
    MESSAGE_BYTES_MAX = 4 << 20,
    WINDOW_BYTES = 1 << 24,
    WINDOW_REFILL_BYTES = 1 << 22,
};

// ---- protocol buffers

static void put_varint(struct cc_buffer *out, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7) {
        bytes[n++] = (uint8_t)(value | 0x80);
    }
    bytes[n++] = (uint8_t)value;
    cc_buffer_append(out, bytes, n);
}

static bool read_varint(struct cc_slice *in, uint64_t *value_out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->n > 0; shift += 7) {
        uint8_t byte = in->data[0];
        *in = cc_slice_of(in->data + 1, in->n - 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value_out = value;
            return true;
        }
    }
    return false;
}

static bool skip(struct cc_slice *in, uint64_t n)
{
    if (n > in->n) {
        return false;
    }
    *in = cc_slice_of(in->data + n, in->n - n);
    return true;
}

// The first field of this number that has a length; false if there is none.
static bool find_field(struct cc_slice message, uint64_t number, struct cc_slice *field_out)
{
    uint64_t tag, value;
    while (read_varint(&message, &tag)) {
        switch (tag & 7) {
        case 0:
            if (!read_varint(&message, &value)) {
                return false;
            }
            break;
        case 1:
        case 5:
            if (!skip(&message, (tag & 7) == 1 ? 8 : 4)) {
                return false;
            }
            break;
        case 2: {
            if (!read_varint(&message, &value)) {
                return false;
            }
            struct cc_slice field = cc_slice_of(message.data, value);
            if (!skip(&message, value)) {
                return false;
            }
            if (tag >> 3 == number) {
                *field_out = field;
                return true;
            }
            break;
        }
        default: // no such wire type
            return false;
        }
    }
    return false;
}

// ---- frames

static void put_u32(uint8_t at[4], uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

static uint32_t read_u32(const uint8_t at[4])
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_frame(struct cc_buffer *out, uint8_t type, uint8_t flags, uint32_t stream, struct cc_slice payload)
{
    uint8_t head[FRAME_HEAD_BYTES] = {(uint8_t)(payload.n >> 16), (uint8_t)(payload.n >> 8), (uint8_t)payload.n, type,
                                      flags};
    put_u32(head + 5, stream);
    cc_buffer_append(out, head, sizeof(head));
    cc_buffer_append_slice(out, payload);
}

static void put_window_update(struct cc_buffer *out, uint32_t stream, uint32_t n_bytes)
{
    uint8_t increment[4];
    put_u32(increment, n_bytes);
    put_frame(out, FRAME_WINDOW_UPDATE, 0, stream, cc_slice_of(increment, 4));
}

static void put_open(const void *context, struct bench_session *session, struct cc_buffer *out)
{
    (void)context;
    uint8_t settings[12] = {0, 2, 0, 0, 0, 0, /* no push */ 0, 4 /* window of a stream */};
    put_u32(settings + 8, WINDOW_BYTES);
    session->user = 0;
    cc_buffer_append_text(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    put_frame(out, FRAME_SETTINGS, 0, 0, cc_slice_of(settings, sizeof(settings)));
    put_window_update(out, 0, WINDOW_BYTES);
}

// ---- requests

// A literal header field without indexing; `name` is its index in the static table and at most 4 bits, or of two bytes.
static void put_header(struct cc_buffer *out, const char *name, size_t n_name, const char *value)
{
    uint8_t n = (uint8_t)strlen(value);
    assert(strlen(value) < 127);
    cc_buffer_append(out, name, n_name);
    cc_buffer_append(out, &n, 1);
    cc_buffer_append(out, value, n);
}

static void put_headers(struct cc_buffer *out, uint32_t stream, const char *path, const char *authority)
{
    struct cc_buffer block = {0};
    cc_buffer_append(&block, "\x83\x86", 2); // :method POST, :scheme http
    put_header(&block, "\x04", 1, path);
    put_header(&block, "\x01", 1, authority);
    put_header(&block, "\x0f\x10", 2, "application/grpc"); // content-type, number 31
    put_header(&block, "\x00\x02te", 4, "trailers");
    put_frame(out, FRAME_HEADERS, FLAG_END_HEADERS, stream, cc_buffer_slice(&block));
    cc_buffer_finish(&block);
}

static void put_message(struct cc_buffer *message, const struct bench_workload *workload,
                        const struct bench_session *session)
{
    const struct bench_operation *operation = &workload->operations[session->operation];
    struct bench_key key = {session->key[0], session->key[1]};
    cc_buffer_append(message, "\x0a\x24", 2); // field 1, 36 bytes
    bench_key_put(message, key);
    if (operation->verb != BENCH_READ) {
        cc_buffer_append(message, "\x12", 1);
        put_varint(message, workload->value_bytes);
        bench_value_put(message, key, session->number, workload->value_bytes);
    } else if (operation->consistency[0] != '\0') {
        cc_buffer_append(message, "\x38\x01", 2); // field 7: serializable
    }
}

static void put_request(const void *context, struct bench_session *session, struct cc_buffer *out)
{
    const struct bench_workload *workload = context;
    bench_workload_choose(workload, session);
    bool read = workload->operations[session->operation].verb == BENCH_READ;
    uint32_t stream = 2 * session->sequence + 1;
    put_headers(out, stream, read ? "/etcdserverpb.KV/Range" : "/etcdserverpb.KV/Put", session->address->text);
    struct cc_buffer *message = &session->scratch;
    cc_buffer_clear(message);
    cc_buffer_append(message, "\0\0\0\0\0", 5); // not compressed, length follows below
    put_message(message, workload, session);
    put_u32(message->data + 1, (uint32_t)(message->n - 5));
    put_frame(out, FRAME_DATA, FLAG_END_STREAM, stream, cc_buffer_slice(message));
    cc_buffer_clear(message); // from here on: what the answer's DATA frames bring
}

// ---- answers

struct frame {
    uint8_t type, flags;
    uint32_t stream;
    struct cc_slice payload;
};

static enum bench_verdict read_frame(struct cc_slice input, struct frame *frame_out)
{
    if (input.n < FRAME_HEAD_BYTES) {
        return BENCH_ANSWER_MORE;
    }
    size_t n = (size_t)input.data[0] << 16 | (size_t)input.data[1] << 8 | input.data[2];
    if (n > FRAME_BYTES_MAX) {
        return BENCH_ANSWER_MALFORMED;
    }
    if (input.n < FRAME_HEAD_BYTES + n) {
        return BENCH_ANSWER_MORE;
    }
    *frame_out = (struct frame){.type = input.data[3],
                                .flags = input.data[4],
                                .stream = read_u32(input.data + 5) & 0x7fffffff,
                                .payload = cc_slice_of(input.data + FRAME_HEAD_BYTES, n)};
    return BENCH_ANSWER_COMPLETE;
}

static void judge(const struct bench_workload *workload, struct bench_session *session, struct bench_reply *reply_out)
{
    struct cc_slice bytes = cc_buffer_slice(&session->scratch);
    *reply_out = (struct bench_reply){.status = 200, .detail = cc_slice_text("a call that failed")};
    if (bytes.n < 5 || bytes.data[0] != 0 || read_u32(bytes.data + 1) != bytes.n - 5) {
        reply_out->outcome = BENCH_FAILED; // trailers only: the status says why, we do not read it
        reply_out->status = 500;
        return;
    }
    struct cc_slice message = cc_slice_of(bytes.data + 5, bytes.n - 5);
    bool read = workload->operations[session->operation].verb == BENCH_READ;
    struct cc_slice header, row, value;
    bool right = find_field(message, 1, &header);
    if (read) {
        right = right && find_field(message, 2, &row) && find_field(row, 5, &value) &&
                bench_value_is_of(value, (struct bench_key){session->key[0], session->key[1]}, workload->value_bytes);
    }
    reply_out->outcome = right ? BENCH_DONE : BENCH_WRONG;
    reply_out->detail = cc_slice_text("not the row that was asked for");
}

static bool take_data(struct bench_session *session, const struct frame *frame, struct cc_buffer *out)
{
    session->user += frame->payload.n;
    if (session->user >= WINDOW_REFILL_BYTES) {
        put_window_update(out, 0, (uint32_t)session->user);
        session->user = 0;
    }
    cc_buffer_append_slice(&session->scratch, frame->payload);
    return (frame->flags & FLAG_PADDED) == 0 && session->scratch.n <= MESSAGE_BYTES_MAX;
}

// MORE: the frame is dealt with, the answer is not complete.
static enum bench_verdict take_frame(struct bench_session *session, const struct frame *frame, struct cc_buffer *out)
{
    bool ours = session->sequence > 0 && frame->stream == 2 * (session->sequence - 1) + 1;
    switch (frame->type) {
    case FRAME_DATA:
        if (!ours || !take_data(session, frame, out)) {
            return BENCH_ANSWER_MALFORMED;
        }
        return (frame->flags & FLAG_END_STREAM) != 0 ? BENCH_ANSWER_COMPLETE : BENCH_ANSWER_MORE;
    case FRAME_HEADERS:
        return ours && (frame->flags & FLAG_END_STREAM) != 0 ? BENCH_ANSWER_COMPLETE : BENCH_ANSWER_MORE;
    case FRAME_SETTINGS:
        if ((frame->flags & FLAG_ACK) == 0) {
            put_frame(out, FRAME_SETTINGS, FLAG_ACK, 0, cc_slice_of("", 0));
        }
        return BENCH_ANSWER_MORE;
    case FRAME_PING:
        if ((frame->flags & FLAG_ACK) == 0) {
            put_frame(out, FRAME_PING, FLAG_ACK, 0, frame->payload);
        }
        return BENCH_ANSWER_MORE;
    case FRAME_GOAWAY:
        return BENCH_ANSWER_MALFORMED;
    case FRAME_RST_STREAM: // of a stream of ours that is complete already: the server hurries us
        return ours ? BENCH_ANSWER_MALFORMED : BENCH_ANSWER_MORE;
    default: // others may be skipped
        return BENCH_ANSWER_MORE;
    }
}

static enum bench_verdict take_answer(const void *context, struct bench_session *session, struct cc_slice input,
                                      struct cc_buffer *out, size_t *n_taken_out, struct bench_reply *reply_out)
{
    *n_taken_out = 0;
    struct frame frame;
    for (;;) {
        enum bench_verdict verdict = read_frame(cc_slice_of(input.data + *n_taken_out, input.n - *n_taken_out), &frame);
        if (verdict != BENCH_ANSWER_COMPLETE) {
            return verdict;
        }
        *n_taken_out += FRAME_HEAD_BYTES + frame.payload.n;
        verdict = take_frame(session, &frame, out);
        if (verdict == BENCH_ANSWER_COMPLETE) {
            judge(context, session, reply_out);
        }
        if (verdict != BENCH_ANSWER_MORE) {
            return verdict;
        }
    }
}

const struct bench_protocol etcd_grpc_protocol = {.open = put_open, .request = put_request, .answer = take_answer};
