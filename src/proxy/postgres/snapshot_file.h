// The file of a snapshot, as it is written, sent and read: sections, each with its length and checksum.
//
//   {u8 kind, u32 length of the body, u32 CRC-32C of kind, length and body, body}, little endian:
//   H  u16 format, cluster, u64 index, u32 schema version, frontier
//   M  a migration: name, text; in order                       T  a table: name, columns; R sections follow
//   R  rows in COPY's text format                              S  a sequence: name, last value, u8 is_called
//   E  the end: u64 number of sections before it
//
// Strings have a varint length in front. What is read comes from another replica's disk by way of the network: it is checked.
#ifndef PROXY_SNAPSHOT_FILE_H
#define PROXY_SNAPSHOT_FILE_H

#include "crdt/frontier.h"

#include <stdio.h>

enum { SNAPSHOT_FORMAT = 1, SNAPSHOT_SECTION_BYTES_MAX = 1 << 30 }; // a single row can be large

struct snapshot_head {
    uint16_t format; // the rest only if it is SNAPSHOT_FORMAT
    struct cc_slice cluster;
    uint64_t index;
    uint32_t schema_version;
    struct crdt_frontier frontier;
};

// -- Writing ---------------------------------------------------------------------------------------------------------------

struct snapshot_writer {
    FILE *file; // borrowed
    uint64_t n_sections;
    enum cc_status status; // of the first failure: CC_IO, CC_NO_SPACE
};

void snapshot_put(struct snapshot_writer *writer, char kind, struct cc_slice body);
void snapshot_put_head(struct snapshot_writer *writer, const struct snapshot_head *head);
void snapshot_put_named(struct snapshot_writer *writer, char kind, struct cc_slice name, struct cc_slice text); // M, T
void snapshot_put_sequence(struct snapshot_writer *writer, struct cc_slice name, struct cc_slice value, bool is_called);
void snapshot_put_end(struct snapshot_writer *writer);

// -- Reading ---------------------------------------------------------------------------------------------------------------

struct snapshot_reader {
    FILE *file; // borrowed
    uint64_t n_sections;
    char kind;             // of the section at hand
    struct cc_buffer body; // the caller finishes it
};

// The next section. CC_CORRUPT: cut, altered or too long. What is reserved grows with what arrives, whatever length is claimed.
enum cc_status snapshot_next(struct snapshot_reader *reader) CC_CHECKED;
// What the section at hand says, borrowed until the next one. CC_CORRUPT: something else.
enum cc_status snapshot_read_head(const struct snapshot_reader *reader, struct snapshot_head *head_out) CC_CHECKED;
enum cc_status snapshot_read_named(const struct snapshot_reader *reader, struct cc_slice *name_out, struct cc_slice *text_out) CC_CHECKED;
enum cc_status snapshot_read_sequence(const struct snapshot_reader *reader, struct cc_slice *name_out, struct cc_slice *value_out,
                                      bool *is_called_out) CC_CHECKED;
enum cc_status snapshot_read_end(const struct snapshot_reader *reader) CC_CHECKED;

#endif
