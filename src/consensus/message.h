// Raft's entries and messages, and their bytes.
#ifndef RAFT_MESSAGE_H
#define RAFT_MESSAGE_H

#include "base/arena.h"
#include "base/codec.h"

enum raft_entry_kind {
    RAFT_ENTRY_NOOP = 1,   // a leader's first entry of its term
    RAFT_ENTRY_DATA = 2,   // the application's
    RAFT_ENTRY_CONFIG = 3, // a membership
};

struct raft_entry {
    uint64_t index; // from 1
    uint64_t term;
    uint64_t hlc; // the leader's clock when it was proposed
    enum raft_entry_kind kind;
    struct cc_blob *payload; // NULL: empty, or not in memory (see raft_entry_at)
};

enum raft_message_kind {
    RAFT_PRE_VOTE = 1,
    RAFT_PRE_VOTE_REPLY,
    RAFT_VOTE,
    RAFT_VOTE_REPLY,
    RAFT_APPEND,
    RAFT_APPEND_REPLY,
    RAFT_HEARTBEAT,
    RAFT_HEARTBEAT_REPLY,
    RAFT_READ,        // follower asks the leader for a read index
    RAFT_READ_REPLY,
    RAFT_TIMEOUT_NOW, // leadership transfer: campaign at once
    RAFT_SNAPSHOT,        // the log no longer reaches back for this follower: it needs a snapshot
    RAFT_SNAPSHOT_REPLY,
};

struct raft_message {
    enum raft_message_kind kind;
    uint32_t from, to;
    uint64_t term;
    uint64_t log_index;  // vote: candidate's last; append: entry before the first; append reply: last stored (or hint)
    uint64_t log_term;   // vote, append: its term; append reply that rejects: the term at the hint
    uint64_t commit;     // append, heartbeat: leader's commit (a heartbeat's is capped at what the follower has)
    uint64_t context;    // heartbeat: read round; read: the asker's context; echoed in replies
    bool reject;         // heartbeat reply: the commit index is not known to be of this log: an append shall show it
    bool transfer;       // vote: the leader itself asked for this election
    const struct raft_entry *entries; // append
    size_t n_entries;
};

// Version 1 of the form: see docs/ARCHITECTURE.md. Payloads are copied into the buffer.
void raft_message_put(struct cc_buffer *out, const struct raft_message *message);
// Entries and their payload blobs are made new: release with raft_message_finish. CC_MALFORMED, CC_TOO_LARGE.
enum cc_status raft_message_read(struct cc_slice bytes, struct raft_message *message_out) CC_CHECKED;
void raft_message_finish(struct raft_message *message);

// An entry as stored in log records and append messages.
void raft_entry_put(struct cc_buffer *out, const struct raft_entry *entry);
// The payload is a new blob with one reference (NULL when empty).
enum cc_status raft_entry_read(struct cc_reader *reader, struct raft_entry *entry_out) CC_CHECKED;

#endif
