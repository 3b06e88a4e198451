// How one record of the log stands on disk: header, body, padding. Internal to wal*.c.
#ifndef WAL_FRAME_H
#define WAL_FRAME_H

#include "consensus/wal.h"

enum { WAL_HEADER_BYTES = 24, WAL_ALIGNMENT = 8, WAL_RECORD_VERSION = 1 };

// Of record numbers and entry indexes: nothing that is added to them overflows.
#define WAL_NUMBER_MAX (UINT64_MAX / 2)

struct wal_frame {
    enum wal_record_kind kind;
    uint64_t number;
    uint64_t first; // number of the first record written together with it: everything below was synced before
    struct cc_slice body;
    size_t n_bytes; // header, body and padding
};

// The record at the start of `bytes`. CC_MALFORMED: none there. CC_UNSUPPORTED: whole, but of an unknown kind or version.
enum cc_status wal_frame_read(struct cc_slice bytes, struct wal_frame *frame_out) CC_CHECKED;
// The size that a header claims, bounded; false when the header cannot be one. `header` has WAL_HEADER_BYTES.
bool wal_frame_size(const uint8_t *header, size_t *n_bytes_out);

// Steps through the records of a batch as encoded by wal_put_*: the next record's kind, body and size at *at.
void wal_batch_next(const struct wal_batch *batch, size_t at, struct wal_frame *frame_out);
// Completes the record at `record` (frame->n_bytes, as encoded by wal_put_*) with number, position and checksum.
void wal_frame_seal(uint8_t *record, const struct wal_frame *frame);

struct wal_entry_head {
    uint64_t index, term;
};
enum cc_status wal_read_entry_head(struct cc_slice body, struct wal_entry_head *head_out) CC_CHECKED;

#endif
