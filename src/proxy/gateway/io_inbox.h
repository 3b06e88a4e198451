// Inbox of the core thread: what the HTTP threads ask of the node. A bounded queue with an eventfd.
#ifndef PROXY_IO_INBOX_H
#define PROXY_IO_INBOX_H

#include "base/slice.h"

enum inbox_kind {
    INBOX_SUBMIT, // bytes: encoded operation
    INBOX_READ,
    INBOX_READ_AT, // index
    INBOX_READ_WEAK,
    INBOX_READ_OWN, // of weak tables: what this replica has acknowledged
    INBOX_READ_SESSION, // index, bytes: encoded frontier (empty: of no interest)
    INBOX_WRITE_SESSION,  // of a weak write that comes next; bytes: encoded frontier
    INBOX_READ_SHORTENED, // as INBOX_READ_SESSION of a token that is shortened
    INBOX_STATUS,
    INBOX_REPAIR, // begins to compare the weak tables with the other members', and answers as INBOX_STATUS
    INBOX_MEMBER, // bytes: struct node_member_change
    INBOX_FAULTS, // index: enum io_faults_action above, id of a rule below; bytes: JSON. Testing hooks only
    INBOX_RELOAD, // bytes: struct gateway_reload
};

struct inbox_message {
    enum inbox_kind kind;
    uint64_t token;
    uint64_t index;
    uint32_t timeout_ms;
    struct cc_buffer bytes; // moved: the receiver frees
};

struct io_inbox;

struct io_inbox *io_inbox_create(void); // NULL: no descriptor left
void io_inbox_destroy(struct io_inbox *inbox);
int io_inbox_descriptor(const struct io_inbox *inbox); // readable when there is something
// Any thread. False when it is full: the caller keeps message->bytes.
bool io_inbox_put(struct io_inbox *inbox, struct inbox_message *message);
// Core thread: takes everything. The array is borrowed until the next call.
size_t io_inbox_take(struct io_inbox *inbox, struct inbox_message **messages_out);

#endif
