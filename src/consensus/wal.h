// The write-ahead log of a replica: one append-only sequence of records in segment files, for Raft entries, hard state and weak
// changes alike. Pure over a disk of a few functions (struct wal_disk), so that tests and the simulator run the very same code.
//
// A segment: <first record number as 16 hex digits>.log, pre-zeroed to its full size before use. Record: header
// {crc32c u32 over everything after it, length u32, number u64, kind u8} + body. Records are numbered without gaps over all segments.
// A later ENTRY record for an index replaces the earlier one and everything above it.
//
// Opening: every segment but the last must be whole. In the last one the log ends at the first invalid record, and only
// if nothing valid follows it (else CC_CORRUPT with the place): a torn tail is cut (zeroed, synced), damage is refused.
#ifndef WAL_H
#define WAL_H

#include "base/limits.h"
#include "consensus/message.h"
#include "consensus/raft.h"

// Files by name in one directory. Every function: CC_OK, CC_IO, CC_NO_SPACE. No function buffers.
struct wal_disk {
    void *context;
    // Names of all files, '\n'-terminated each.
    enum cc_status (*list)(void *context, struct cc_buffer *names_out);
    enum cc_status (*read)(void *context, const char *name, uint64_t offset, void *data, size_t n, size_t *n_read_out);
    enum cc_status (*write)(void *context, const char *name, uint64_t offset, const void *data, size_t n); // file exists
    enum cc_status (*create)(void *context, const char *name, uint64_t n_bytes); // zero-filled, synced, and the directory synced
    enum cc_status (*sync)(void *context, const char *name); // fdatasync
    enum cc_status (*remove)(void *context, const char *name);
    enum cc_status (*size)(void *context, const char *name, uint64_t *n_bytes_out);
};

enum wal_record_kind {
    WAL_IDENTITY = 1,   // first record of every log: cluster name, replica, incarnation, format version
    WAL_HARD_STATE = 2, // term, vote
    WAL_ENTRY = 3,      // raft_entry
    WAL_CHANGE = 4,     // a weak change set of this replica's own (crdt codec)
    WAL_BASE = 5,       // the log starts after this (index, term): a snapshot is installed
    WAL_MARK = 6,       // commit index and clock floor, written now and then, not waited for
};

struct wal_identity {
    char cluster[CC_NAME_BYTES_MAX + 1];
    uint32_t replica;
    uint32_t incarnation;
};

struct wal_record { // bodies borrow
    enum wal_record_kind kind;
    uint64_t number;
    struct cc_slice body;
};

// Encoding, for the node: appends one record *body with its kind* to a batch (see wal_append).
struct wal_batch {
    struct cc_buffer bytes; // u8 kind, u32 length, body, ...
    uint32_t n_records;
};
void wal_batch_finish(struct wal_batch *batch);
void wal_batch_clear(struct wal_batch *batch);
void wal_put_identity(struct wal_batch *batch, const struct wal_identity *identity);
void wal_put_hard_state(struct wal_batch *batch, struct raft_hard_state hard_state);
void wal_put_entry(struct wal_batch *batch, const struct raft_entry *entry);
void wal_put_change(struct wal_batch *batch, struct cc_slice change);
void wal_put_base(struct wal_batch *batch, uint64_t index, uint64_t term);
void wal_put_mark(struct wal_batch *batch, uint64_t commit, uint64_t hlc);

enum cc_status wal_read_identity(struct cc_slice body, struct wal_identity *identity_out) CC_CHECKED;
enum cc_status wal_read_hard_state(struct cc_slice body, struct raft_hard_state *hard_state_out) CC_CHECKED;
enum cc_status wal_read_entry(struct cc_slice body, struct raft_entry *entry_out) CC_CHECKED;
enum cc_status wal_read_base(struct cc_slice body, uint64_t *index_out, uint64_t *term_out) CC_CHECKED;
enum cc_status wal_read_mark(struct cc_slice body, uint64_t *commit_out, uint64_t *hlc_out) CC_CHECKED;

struct wal;
// Called for every record in order while opening. A status other than CC_OK ends the opening with it.
typedef enum cc_status (*wal_visit)(void *context, const struct wal_record *record);

struct wal_options {
    uint64_t segment_bytes; // default 64 MB; must hold the largest record
};

// Where and why opening was refused, or what was cut.
struct wal_report {
    uint64_t n_records, n_segments, n_bytes;
    uint64_t cut_bytes;       // > 0: a torn tail was cut
    char segment[32];         // place of the damage or the cut
    uint64_t offset;
    const char *reason;       // constant text
};

// Opens and replays. An empty directory gives an empty log. CC_CORRUPT, CC_IO, CC_NO_SPACE or the visitor's status; report is
// always filled. The disk must outlive the wal.
enum cc_status wal_open(const struct wal_disk *disk, const struct wal_options *options, wal_visit visit, void *context,
                        struct wal **wal_out, struct wal_report *report_out) CC_CHECKED;
void wal_close(struct wal *wal); // NULL is fine
// Read-only check of everything, for `caucus log verify`.
enum cc_status wal_verify(const struct wal_disk *disk, wal_visit visit, void *context, struct wal_report *report_out) CC_CHECKED;

// Writes the batch and syncs it: durable when it returns CC_OK. Any failure is final for this process (never retried on the same
// pages): the caller must exit. Rolls over to a new segment as needed; wal_prepare makes the next segment ahead of time.
enum cc_status wal_append(struct wal *wal, const struct wal_batch *batch) CC_CHECKED;
bool wal_wants_prepare(const struct wal *wal); // the current segment is half full and no next one exists
enum cc_status wal_prepare(struct wal *wal) CC_CHECKED;
// Entries [first, last], at most n_bytes_max of payload (at least one). CC_NOT_FOUND when the log no longer holds them.
// Payloads are new blobs: the caller unrefs each.
enum cc_status wal_load_entries(struct wal *wal, uint64_t first, uint64_t last, size_t n_bytes_max, struct raft_entry *entries_out,
                                size_t n_entries_max, size_t *n_entries_out) CC_CHECKED;
// Own weak changes with record order, from the given sequence on (sequence is the caller's: it parses); used after a crash of PostgreSQL.
enum cc_status wal_load_changes(struct wal *wal, wal_visit visit, void *context) CC_CHECKED;
// Removes segments that hold nothing but records the caller no longer needs: entries below `index`, and weak changes that are durable
// in PostgreSQL (records below `record_number`). Keeps identity, hard state and base by writing them again. CC_IO.
enum cc_status wal_truncate(struct wal *wal, uint64_t index, uint64_t record_number) CC_CHECKED;

#endif
