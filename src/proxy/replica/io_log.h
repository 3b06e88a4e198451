// The log thread: appends batches to the write-ahead log and syncs them, all that have queued up with one sync.
//
//   core thread --io_log_append--> queue --> log thread: write + fdatasync --eventfd--> core thread: io_log_drain
//                                               |  plans of loads, new segments
//                                               +--> second thread: reads back, zero-fills
//
// While the log thread has nothing to do, the core thread may write and sync in its place: io_log_append_at_once.
// All functions are called by the core thread only. A failure of the disk or damage found while reading back is final: it is
// told once, nothing is written after it, and the process must exit (74, damage: 65).
#ifndef IO_LOG_H
#define IO_LOG_H


#include "consensus/wal.h"

struct io_log_options {
    const char *directory;
    uint64_t segment_bytes; // 0: the default
    uint64_t slow_us;       // a sync that takes longer is counted as slow; 0: none is
    uint64_t quick_us;      // if the last syncs took no longer, io_log_append_at_once may wait for one; 0: never
};

struct io_log;

// Opens and replays as wal_open does; then starts the threads. CC_EXISTS: another process has this log open. *problem_out
// (may be NULL) says in words what failed; owned by the caller, free it; NULL when the report says it all.
enum cc_status io_log_open(const struct io_log_options *options, wal_visit visit, void *context, struct io_log **log_out,
                           struct wal_report *report_out, char **problem_out) CC_CHECKED;
// Syncs what is queued, then stops the threads. NULL is fine.
void io_log_close(struct io_log *log);
// What the log amounted to when it was opened.
const struct wal_state *io_log_opened_state(const struct io_log *log);
// Becomes readable when io_log_drain has something to do. Owned by the log.
int io_log_descriptor(const struct io_log *log);

// Queues a copy of the batch. io_log_handler.synced tells when it is durable. Numbers rise.
void io_log_append(struct io_log *log, const struct wal_batch *batch, uint64_t number);
// The same, but writes and syncs before it returns, so that no thread has to wake up for it, if the log thread has nothing to do, the last
// syncs were quick, and the log has rested since the last one for as long as that took. True: io_log_drain tells the outcome. False:
// nothing was done, call io_log_append.
bool io_log_append_at_once(struct io_log *log, const struct wal_batch *batch, uint64_t number) CC_CHECKED;
// Reads entries back; answered once by io_log_handler.loaded.
void io_log_load(struct io_log *log, uint32_t peer, uint64_t first, uint64_t last);
// Reads own weak changes back from the cursor on; answered once by io_log_handler.changes.
void io_log_load_changes(struct io_log *log, struct wal_cursor cursor);
// As wal_truncate. Not answered. Ignored when it names an entry that the log does not hold.
void io_log_truncate(struct io_log *log, uint64_t index, uint64_t record_number);

struct io_log_handler {
    void *context;
    // Everything appended with this number or a lower one is durable; their records have numbers up to record_number, and
    // promise_number is the log's (struct wal_state).
    void (*synced)(void *context, uint64_t number, uint64_t record_number, uint64_t promise_number);
    // Borrowed, in order from the index asked for; none: the log does not hold them (any more).
    void (*loaded)(void *context, uint32_t peer, const struct raft_entry *entries, size_t n_entries);
    // Borrowed, in order; `next` continues, unless done.
    void (*changes)(void *context, const struct wal_record *changes, size_t n_changes, struct wal_cursor next, bool done);
    void (*failed)(void *context, enum cc_status status, const char *what); // at most once
};
// Tells what has happened since the last call. Functions that are NULL are not called.
void io_log_drain(struct io_log *log, const struct io_log_handler *handler);

struct io_log_stats {
    uint64_t n_queued_bytes; // not yet durable
    uint64_t n_segment_bytes; // of all segments on disk
    uint64_t base_index;     // the log begins after this
    bool space_low;          // the next segment could not be made for want of space: stop taking writes
    uint64_t n_syncs, n_batches, n_bytes;
    uint64_t n_slow_syncs;
    uint64_t sync_us_last, sync_us_max, sync_us_total;
};
void io_log_describe(struct io_log *log, struct io_log_stats *stats_out);

#endif
