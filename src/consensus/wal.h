// The write-ahead log of a replica: one append-only sequence of records in segment files, for Raft entries, hard state and weak
// changes alike. Pure over a disk of a few functions (struct wal_disk), so that tests and the simulator run the very same code.
//
// Segment: <sequence as 16 hex digits>.log, pre-zeroed to its full size before use, sequences without gaps. Record: header
// {crc32c u32 over everything after it, length u32 of the body, number u64, position u32, kind u8, version u8, 0 u16} + body + zero
// padding to 8 bytes. Records are numbered without gaps over all segments. Position says how many records before this one were
// written together with it: everything before those had been synced when this record was written.
// Every segment begins with the identity, the hard state, the membership, the base and the mark again, so that old segments can be
// removed.
// A later ENTRY record for an index replaces the earlier one and everything above it.
//
// Opening: the log ends at the first invalid record. When what follows proves that it had been synced (a valid record of a later
// write, or anything at all in a later segment), it is damage: CC_CORRUPT with the place. Else it is a torn tail: it is
// cut (zeroed, synced). What remains is written and synced once more before anybody is told of it, because a process that
// was killed between write and sync, or whose sync failed, leaves records that only the page cache holds.
#ifndef WAL_H
#define WAL_H

#include "base/limits.h"
#include "consensus/message.h"
#include "consensus/raft.h"

// Files by name in one directory. Every function: CC_OK, CC_IO, CC_NO_SPACE; read, size and remove of a missing file: CC_NOT_FOUND.
// No function buffers.
struct wal_disk {
    void *context;
    // Names of all files, '\n'-terminated each.
    enum cc_status (*list)(void *context, struct cc_buffer *names_out);
    // Short only at the end of the file.
    enum cc_status (*read)(void *context, const char *name, uint64_t offset, void *data, size_t n, size_t *n_read_out);
    enum cc_status (*write)(void *context, const char *name, uint64_t offset, const void *data, size_t n); // within the size
    // Zero-filled, synced, and the directory synced. After a crash the file is there wholly or not at all.
    enum cc_status (*create)(void *context, const char *name, uint64_t n_bytes);
    enum cc_status (*sync)(void *context, const char *name); // fdatasync
    enum cc_status (*remove)(void *context, const char *name); // and the directory synced
    enum cc_status (*size)(void *context, const char *name, uint64_t *n_bytes_out);
};

enum { WAL_NAME_BYTES = 24, WAL_FORMAT = 1 };

enum wal_record_kind {
    WAL_IDENTITY = 1,   // first record of every log and segment: format version, cluster name, replica, incarnation
    WAL_HARD_STATE = 2, // term, vote
    WAL_ENTRY = 3,      // index, term, clock, kind, payload
    WAL_CHANGE = 4,     // a weak change set of this replica's own (crdt codec)
    WAL_BASE = 5,       // the log starts after this (index, term): a snapshot is installed, or the log was truncated
    WAL_MARK = 6,       // commit index and clock floor, written now and then, not waited for
    WAL_MEMBERSHIP = 7, // the members at the beginning (index 0), or as committed at index
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

// How far another replica's log was, in that life of it: should it come back with less, it has lost what it promised.
struct wal_memory {
    uint32_t replica, incarnation;
    uint64_t index;   // UINT64_MAX: that life is over, another one has begun
    uint64_t promise; // as wal_state.promise_number; 0: not known
};
enum { WAL_MEMORIES_MAX = 4 * CC_REPLICAS_MAX };

// What is known now and then, and stands at the head of every segment: nothing here ever falls.
struct wal_mark {
    uint64_t commit;
    uint64_t hlc;
    uint64_t own_sequence; // of the last weak change of this log: it is not given again, though the change itself was cut off
    uint32_t own_incarnation; // of its origin; 0: that of the log
    uint32_t n_memories;
    struct wal_memory memories[WAL_MEMORIES_MAX]; // the last ones written
};

// Records to be appended, encoded with room for what only the log knows (number, position, crc). Zero-initialised is empty.
// A MARK or MEMBERSHIP must follow the entries that its commit index speaks of.
struct wal_batch {
    struct cc_buffer bytes;
    uint32_t n_records;
};
void wal_batch_finish(struct wal_batch *batch);
void wal_batch_clear(struct wal_batch *batch);
void wal_batch_append(struct wal_batch *batch, const struct wal_batch *more);
void wal_put_identity(struct wal_batch *batch, const struct wal_identity *identity);
void wal_put_hard_state(struct wal_batch *batch, struct raft_hard_state hard_state);
void wal_put_entry(struct wal_batch *batch, const struct raft_entry *entry);
void wal_put_change(struct wal_batch *batch, struct cc_slice change);
void wal_put_base(struct wal_batch *batch, uint64_t index, uint64_t term);
void wal_put_mark(struct wal_batch *batch, const struct wal_mark *mark);
void wal_put_membership(struct wal_batch *batch, uint64_t index, const struct raft_membership *membership);

// CC_MALFORMED; the identity of another format version: CC_UNSUPPORTED.
enum cc_status wal_read_identity(struct cc_slice body, struct wal_identity *identity_out) CC_CHECKED;
enum cc_status wal_read_hard_state(struct cc_slice body, struct raft_hard_state *hard_state_out) CC_CHECKED;
// The payload is a new blob with one reference (NULL when empty).
enum cc_status wal_read_entry(struct cc_slice body, struct raft_entry *entry_out) CC_CHECKED;
enum cc_status wal_read_base(struct cc_slice body, uint64_t *index_out, uint64_t *term_out) CC_CHECKED;
enum cc_status wal_read_mark(struct cc_slice body, struct wal_mark *mark_out) CC_CHECKED; // also of older versions, which say less
enum cc_status wal_read_membership(struct cc_slice body, uint64_t *index_out, struct raft_membership *membership_out) CC_CHECKED;

struct wal;
// Called while opening with what the log amounts to, in this order: IDENTITY, HARD_STATE, MEMBERSHIP, BASE (each at most once, the last one
// written), then ENTRY and CHANGE in the order of their records, MARK (the last one). Entries that were replaced, or lie at or
// below the base, are left out: indexes follow each other from the base on. A status other than CC_OK ends the opening with it.
typedef enum cc_status (*wal_visit)(void *context, const struct wal_record *record);

struct wal_options {
    uint64_t segment_bytes; // 0: WAL_SEGMENT_BYTES; a larger record gets a larger segment
};

enum { WAL_SEGMENT_BYTES = 64 << 20 };

// What the log amounts to, kept up to date.
struct wal_state {
    bool has_identity;
    struct wal_identity identity;
    struct raft_hard_state hard_state;
    uint64_t base_index, base_term; // 0: the log starts at index 1
    uint64_t last_index, last_term; // of the entries; those of the base when there are none
    struct wal_mark mark;           // the highest of all
    bool has_membership;
    uint64_t membership_index;
    struct raft_membership membership; // the last one written
    uint64_t next_number;           // of the next record
    uint64_t durable_number;        // records up to here are synced
    uint64_t promise_number;        // of the last record of an entry, or of a term or vote that was new: unlike the index of the last
                                    // entry it never falls, and two states of one log that differ in what they promise differ in it
};

// Where and why opening was refused, or what was cut.
struct wal_report {
    uint64_t n_records, n_segments, n_bytes;
    uint64_t first_index, last_index; // entries found whole; first 0: none
    uint64_t cut_bytes;               // > 0: a torn tail of this length was cut (wal_verify: would be)
    char segment[WAL_NAME_BYTES];     // place of the damage or the cut
    uint64_t offset;
    uint64_t number;                  // of the record that should be there
    const char *reason;               // constant text; NULL: nothing to say
};

// Opens and replays. An empty directory gives an empty log. CC_CORRUPT, CC_UNSUPPORTED (written by a newer version), CC_IO,
// CC_NO_SPACE or the visitor's status; report is always filled. visit may be NULL. The disk must outlive the wal.
enum cc_status wal_open(const struct wal_disk *disk, const struct wal_options *options, wal_visit visit, void *context,
                        struct wal **wal_out, struct wal_report *report_out) CC_CHECKED;
void wal_close(struct wal *wal); // NULL is fine. Does not sync.
// Read-only check of everything, for `caucus log verify`. visit (may be NULL) as in wal_open; state_out may be NULL.
enum cc_status wal_verify(const struct wal_disk *disk, wal_visit visit, void *context, struct wal_state *state_out,
                          struct wal_report *report_out) CC_CHECKED;
const struct wal_state *wal_state_of(const struct wal *wal);

// Writes the batch and syncs it: durable when it returns CC_OK. Any failure is final for this process (never retried on the same
// pages): the caller must exit. The first record of an empty log must be the identity. Rolls over to a new segment as needed.
enum cc_status wal_append(struct wal *wal, const struct wal_batch *batch) CC_CHECKED;

// Before an orderly end: writes the mark again, so that the last write before it is known to have been synced, and damage to
// it is told from a torn tail.
enum cc_status wal_seal(struct wal *wal) CC_CHECKED;

// The next segment is made ahead of time, because zero-filling takes long. In one step:
bool wal_wants_prepare(const struct wal *wal); // the current segment is half full and no next one exists
enum cc_status wal_prepare(struct wal *wal) CC_CHECKED;
// Or, to make it in another thread: create `name` with n_bytes there, then call wal_prepared. No roll-over may meet a half-made
// segment: while it is made and wal_would_roll says so of a batch, wait.
void wal_prepare_begin(const struct wal *wal, char name[WAL_NAME_BYTES], uint64_t *n_bytes_out);
void wal_prepared(struct wal *wal);
bool wal_would_roll(const struct wal *wal, const struct wal_batch *batch);

uint64_t wal_bytes(const struct wal *wal); // size of all segments

// Entries [first, last], at most n_bytes_max of payload (at least one), perhaps fewer than asked for. CC_NOT_FOUND when the log
// does not hold `first` durably (any more). Payloads are new blobs: the caller unrefs each.
enum cc_status wal_load_entries(const struct wal *wal, uint64_t first, uint64_t last, size_t n_bytes_max,
                                struct raft_entry *entries_out, size_t n_entries_max, size_t *n_entries_out) CC_CHECKED;

// The same in two steps, so that the reading can be done in another thread: the plan is plain data.
struct wal_point { // where an entry stands; those that follow it without gap in the same segment need no point of their own
    uint64_t index, term;
    uint64_t number;
    uint64_t sequence; // segment
    uint64_t offset;
};
enum { WAL_PLAN_POINTS_MAX = 64 };
struct wal_plan {
    uint64_t first, last;
    uint64_t durable_number;
    uint32_t n_points;
    struct wal_point points[WAL_PLAN_POINTS_MAX];
};
enum cc_status wal_plan_load(const struct wal *wal, uint64_t first, uint64_t last, struct wal_plan *plan_out) CC_CHECKED;
enum cc_status wal_plan_read(const struct wal_disk *disk, const struct wal_plan *plan, size_t n_bytes_max,
                             struct raft_entry *entries_out, size_t n_entries_max, size_t *n_entries_out) CC_CHECKED;

// Own weak changes in record order, used after a crash of PostgreSQL. A zeroed cursor begins at the oldest. Visits at most
// n_bytes_max of bodies (at least one) and moves the cursor; *done_out when there are no more durable ones.
struct wal_cursor {
    uint64_t sequence, offset;
};
enum cc_status wal_load_changes(const struct wal *wal, struct wal_cursor *cursor, size_t n_bytes_max, wal_visit visit,
                                void *context, bool *done_out) CC_CHECKED;
// In two steps: the stretch of one segment that may hold the next changes (false: there are none), then the reading.
struct wal_stretch {
    uint64_t sequence, offset, end;
};
bool wal_plan_changes(const struct wal *wal, const struct wal_cursor *cursor, struct wal_stretch *stretch_out);
enum cc_status wal_stretch_read(const struct wal_disk *disk, const struct wal_stretch *stretch, size_t n_bytes_max,
                                wal_visit visit, void *context, struct wal_cursor *cursor_out) CC_CHECKED;

// Moves the base to the entry before `index` and removes the oldest segments that hold nothing but what the caller no longer
// needs: entries below `index`, and weak changes that are durable in PostgreSQL (records below `record_number`). Does nothing
// when no segment would go. CC_INVALID when index - 1 is not in the log; failures of the disk are final as in wal_append.
enum cc_status wal_truncate(struct wal *wal, uint64_t index, uint64_t record_number) CC_CHECKED;

#endif
