// The bytes of Raft's entries and messages, version 1.
#include "consensus/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/memory.h"

enum {
    MESSAGE_VERSION = 1,
    FLAG_REJECT = 1 << 0,
    FLAG_TRANSFER = 1 << 1,
    ENTRY_BYTES_MIN = 1 + 1 + 8 + 1 + 1, // index, term, hlc, kind, length of the payload
};

void raft_entry_put(struct cc_buffer *out, const struct raft_entry *entry)
{
    cc_put_varint(out, entry->index);
    cc_put_varint(out, entry->term);
    cc_put_u64(out, entry->hlc);
    cc_put_u8(out, (uint8_t)entry->kind);
    cc_put_string(out, cc_blob_slice(entry->payload));
}

static bool entry_kind_is_known(uint8_t kind)
{
    return kind >= RAFT_ENTRY_NOOP && kind <= RAFT_ENTRY_CONFIG;
}

enum cc_status raft_entry_read(struct cc_reader *reader, struct raft_entry *entry_out)
{
    uint64_t index = cc_read_varint(reader);
    uint64_t term = cc_read_varint(reader);
    uint64_t hlc = cc_read_u64(reader);
    uint8_t kind = cc_read_u8(reader);
    struct cc_slice payload = cc_read_string(reader);
    if (!cc_reader_ok(reader) || index == 0 || term == 0 || !entry_kind_is_known(kind)) {
        cc_reader_fail(reader);
        return CC_MALFORMED;
    }
    if (payload.n > CC_ENTRY_BYTES_MAX) {
        cc_reader_fail(reader);
        return CC_TOO_LARGE;
    }
    *entry_out = (struct raft_entry){
        .index = index,
        .term = term,
        .hlc = hlc,
        .kind = (enum raft_entry_kind)kind,
        .payload = payload.n > 0 ? cc_blob_create(payload.data, payload.n) : NULL,
    };
    return CC_OK;
}

void raft_message_put(struct cc_buffer *out, const struct raft_message *message)
{
    uint8_t flags = (uint8_t)((message->reject ? FLAG_REJECT : 0) | (message->transfer ? FLAG_TRANSFER : 0));
    cc_put_u8(out, MESSAGE_VERSION);
    cc_put_u8(out, (uint8_t)message->kind);
    cc_put_u8(out, flags);
    cc_put_varint(out, message->from);
    cc_put_varint(out, message->to);
    cc_put_varint(out, message->term);
    cc_put_varint(out, message->log_index);
    cc_put_varint(out, message->log_term);
    cc_put_varint(out, message->commit);
    cc_put_varint(out, message->context);
    cc_put_varint(out, message->n_entries);
    for (size_t i = 0; i < message->n_entries; i++) {
        raft_entry_put(out, &message->entries[i]);
    }
}

static enum cc_status read_entries(struct cc_reader *reader, struct raft_message *message, size_t n)
{
    if (n == 0) {
        return CC_OK;
    }
    struct raft_entry *entries = cc_alloc_array(n, sizeof(*entries));
    message->entries = entries;
    for (size_t i = 0; i < n; i++) {
        enum cc_status status = raft_entry_read(reader, &entries[i]);
        if (status != CC_OK) {
            return status;
        }
        message->n_entries = i + 1;
    }
    return CC_OK;
}

enum cc_status raft_message_read(struct cc_slice bytes, struct raft_message *message_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    uint8_t version = cc_read_u8(&reader);
    uint8_t kind = cc_read_u8(&reader);
    uint8_t flags = cc_read_u8(&reader);
    struct raft_message message = {0};
    message.from = (uint32_t)cc_read_count(&reader, UINT32_MAX);
    message.to = (uint32_t)cc_read_count(&reader, UINT32_MAX);
    message.term = cc_read_varint(&reader);
    message.log_index = cc_read_varint(&reader);
    message.log_term = cc_read_varint(&reader);
    message.commit = cc_read_varint(&reader);
    message.context = cc_read_varint(&reader);
    uint64_t n_entries = cc_read_varint(&reader);
    if (!cc_reader_ok(&reader) || version != MESSAGE_VERSION || (flags & ~(FLAG_REJECT | FLAG_TRANSFER)) != 0) {
        return CC_MALFORMED;
    }
    if (kind < RAFT_PRE_VOTE || kind > RAFT_SNAPSHOT_REPLY || message.from == 0 || message.to == 0) {
        return CC_MALFORMED;
    }
    if (n_entries > CC_APPEND_ENTRIES_MAX) {
        return CC_TOO_LARGE;
    }
    if ((n_entries > 0 && kind != RAFT_APPEND) || n_entries * ENTRY_BYTES_MIN > cc_reader_left(&reader)) {
        return CC_MALFORMED;
    }
    message.kind = (enum raft_message_kind)kind;
    message.reject = (flags & FLAG_REJECT) != 0;
    message.transfer = (flags & FLAG_TRANSFER) != 0;
    enum cc_status status = read_entries(&reader, &message, (size_t)n_entries);
    if (status == CC_OK) {
        status = cc_reader_end(&reader);
    }
    if (status != CC_OK) {
        raft_message_finish(&message);
        return status;
    }
    *message_out = message;
    return CC_OK;
}

void raft_message_finish(struct raft_message *message)
{
    for (size_t i = 0; i < message->n_entries; i++) {
        cc_blob_unref(message->entries[i].payload);
    }
    free((void *)message->entries); // made by raft_message_read
    message->entries = NULL;
    message->n_entries = 0;
}
