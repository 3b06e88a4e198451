// Effects: what a batch changed, as rows: the payload of a log entry. Self-describing: applying needs no catalog.
#ifndef PROXY_EFFECT_H
#define PROXY_EFFECT_H

#include "proxy/node/operation.h"

enum effect_part_kind {
    EFFECT_SHAPE = 1,     // a shape; numbered 0, 1, ... in order of appearance within one entry
    EFFECT_ROWS = 2,      // rows of one shape and one tag, in captured order
    EFFECT_SEQUENCES = 3, // positions of sequences
    EFFECT_DDL = 4,       // text to run on every replica
    EFFECT_MIGRATION = 5, // a migration is complete: name, text; schema version + 1
};

enum effect_tag { EFFECT_INSERT = 'I', EFFECT_UPDATE = 'U', EFFECT_DELETE = 'D' };

// Building. Zero-initialised is empty, and so is it after clear. Rows of the same shape and tag that follow each other are joined into one part.
struct effect_builder {
    struct cc_buffer bytes;      // finished parts
    struct cc_buffer rows;       // of the open part
    uint64_t n_open_rows;
    uint32_t open_shape;
    enum effect_tag open_tag;
    uint32_t n_shapes;
    struct effect_shape_memo *memos; // shapes seen, by number
    size_t memos_capacity;
};
void effect_builder_finish(struct effect_builder *builder);
void effect_builder_clear(struct effect_builder *builder);
// Number of the shape (equal shapes share one).
uint32_t effect_put_shape(struct effect_builder *builder, const struct rest_shape *shape);
// One value per shape column (NULL slice: SQL NULL). old_key: values of the key columns before, one per key column in shape
// order, only for 'U' with a changed key (else NULL).
void effect_put_row(struct effect_builder *builder, uint32_t shape, enum effect_tag tag, const struct cc_slice *values,
                    const struct cc_slice *old_key);
void effect_put_sequence(struct effect_builder *builder, struct cc_slice name, int64_t value, bool is_called);
void effect_put_ddl(struct effect_builder *builder, struct cc_slice sql);
void effect_put_migration(struct effect_builder *builder, struct cc_slice name, struct cc_slice sql);
// Closes the open part. Borrowed until the next change. Empty when nothing was put.
struct cc_slice effect_builder_slice(struct effect_builder *builder);

// Reading, part by part.
struct effect_row {
    const struct cc_slice *values;
    const struct cc_slice *old_key; // NULL: key unchanged
};
struct effect_sequence {
    struct cc_slice name;
    int64_t value;
    bool is_called;
};
struct effect_part {
    enum effect_part_kind kind;
    uint32_t shape_number;
    struct rest_shape shape; // SHAPE, ROWS
    enum effect_tag tag;
    uint32_t n_rows;
    struct effect_row *rows;
    uint32_t n_sequences;
    struct effect_sequence *sequences;
    struct cc_slice name, sql; // DDL, MIGRATION
};
struct effect_reader {
    struct cc_reader reader;
    struct cc_arena *arena;
    uint32_t n_shapes;
    struct rest_shape *shapes;
    size_t shapes_capacity;
};
void effect_reader_init(struct effect_reader *reader, struct cc_slice effects, struct cc_arena *arena);
// CC_OK with a part, CC_NOT_FOUND at the end, CC_MALFORMED.
enum cc_status effect_reader_next(struct effect_reader *reader, struct effect_part *part_out) CC_CHECKED;

// The payload of a log entry: format version, what state it was computed on, the operations with their outcomes, the effects.
struct entry_operation {
    uint8_t id[OPERATION_ID_BYTES];
    struct cc_slice principal, key, fingerprint; // NULL slices: no Idempotency-Key
    struct cc_slice outcome;                     // rest_outcome_put form
};
struct entry {
    uint64_t base_index;     // effects are valid only on the state after this entry
    uint32_t schema_version; // before it
    uint32_t n_operations;
    struct entry_operation *operations;
    struct cc_slice effects;
};
void entry_put(struct cc_buffer *out, const struct entry *entry);
enum cc_status entry_read(struct cc_slice bytes, struct cc_arena *arena, struct entry *entry_out) CC_CHECKED; // slices borrow

#endif
