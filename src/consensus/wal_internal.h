// The log's state, shared by wal.c (appending), wal_open.c (recovery) and wal_load.c (reading back). Internal to wal*.c.
#ifndef WAL_INTERNAL_H
#define WAL_INTERNAL_H

#include "consensus/wal_frame.h"
#include "consensus/wal_index.h"

struct wal_segment {
    uint64_t sequence;
    uint64_t n_bytes;      // size of the file
    uint64_t end;          // where the next record goes
    uint64_t n_records;
    uint64_t entry_max;    // highest index of its ENTRY records, living or not; 0: none
    uint64_t change_first; // offset of its first CHANGE record + 1; 0: none
    uint64_t change_last;  // number of its last CHANGE record
};

struct wal {
    const struct wal_disk *disk;
    struct wal_options options;
    struct wal_segment *segments; // oldest first; the last one is being written
    size_t n_segments;
    size_t segments_capacity;
    bool prepared;           // the file after the last segment exists, all zero
    uint64_t prepared_bytes; // its size
    struct wal_state state;
    struct wal_index index;
    struct cc_buffer staged; // sealed records, to be written before the last segment's end
    uint64_t batch_first;    // number of the first staged record
};

void wal_segment_name(uint64_t sequence, char name[WAL_NAME_BYTES]);
struct wal_segment *wal_last_segment(const struct wal *wal);
struct wal_segment *wal_add_segment(struct wal *wal, uint64_t sequence, uint64_t n_bytes);
void wal_drop_segment(struct wal *wal); // the last one, from memory only

// Takes a record into the state and the index; it stands at `offset` of the last segment. CC_CORRUPT with the reason when it
// contradicts what came before it, CC_UNSUPPORTED.
enum cc_status wal_apply(struct wal *wal, const struct wal_frame *frame, uint64_t offset, const char **reason_out) CC_CHECKED;

// Reads records one after the other through a window, so that the caller needs not hold a whole segment.
struct wal_walk {
    const struct wal_disk *disk;
    char name[WAL_NAME_BYTES];
    uint64_t offset;       // of the record that comes next
    uint64_t window_start; // offset of window.data[0]
    struct cc_buffer window;
};
void wal_walk_start(struct wal_walk *walk, const struct wal_disk *disk, uint64_t sequence, uint64_t offset);
// The frame borrows until the next call. CC_CORRUPT when no valid record stands there.
enum cc_status wal_walk_next(struct wal_walk *walk, struct wal_frame *frame_out) CC_CHECKED;
void wal_walk_finish(struct wal_walk *walk);

#endif
