// Effects: building, reading, and the payload of log entries.
//
// A part: u8 kind, then  SHAPE: shape.  ROWS: varint shape number, u8 tag, varint n_rows, rows.  SEQUENCES: varint n, then
// {string name, u64 value, u8 is_called}.  DDL: string sql.  MIGRATION: string name, string sql.
// A row: for 'U' u8 whether the old key follows; values; old key. All nullable.
#include "proxy/node/effect.h"

#include "base/limits.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENTRY_VERSION = 1,
    SEQUENCE_BYTES_MIN = 1 + 8 + 1,
    ENTRY_OPERATION_BYTES_MIN = OPERATION_ID_BYTES + 4,
    SHAPES_MIN = 8,
};

struct effect_shape_memo {
    struct cc_buffer bytes;
    uint32_t n_columns;
    uint32_t n_key;
};

static uint32_t count_key_columns(const struct rest_shape *shape)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < shape->n_columns; i++) {
        n += (shape->columns[i].flags & REST_COLUMN_KEY) != 0 ? 1 : 0;
    }
    return n;
}

// -- Building -------------------------------------------------------------------------------------------------------

void effect_builder_clear(struct effect_builder *builder)
{
    for (uint32_t i = 0; i < builder->n_shapes; i++) {
        cc_buffer_finish(&builder->memos[i].bytes);
    }
    builder->n_shapes = 0;
    builder->n_open_rows = 0;
    cc_buffer_clear(&builder->bytes);
    cc_buffer_clear(&builder->rows);
}

void effect_builder_finish(struct effect_builder *builder)
{
    effect_builder_clear(builder);
    cc_buffer_finish(&builder->bytes);
    cc_buffer_finish(&builder->rows);
    free(builder->memos);
    *builder = (struct effect_builder){0};
}

static void close_part(struct effect_builder *builder)
{
    if (builder->n_open_rows == 0) {
        return;
    }
    cc_put_u8(&builder->bytes, EFFECT_ROWS);
    cc_put_varint(&builder->bytes, builder->open_shape);
    cc_put_u8(&builder->bytes, (uint8_t)builder->open_tag);
    cc_put_varint(&builder->bytes, builder->n_open_rows);
    cc_put_bytes(&builder->bytes, cc_buffer_slice(&builder->rows));
    cc_buffer_clear(&builder->rows);
    builder->n_open_rows = 0;
}

uint32_t effect_put_shape(struct effect_builder *builder, const struct rest_shape *shape)
{
    assert(shape->n_columns > 0);
    struct effect_shape_memo memo = {.n_columns = shape->n_columns, .n_key = count_key_columns(shape)};
    rest_shape_put(&memo.bytes, shape);
    for (uint32_t i = 0; i < builder->n_shapes; i++) {
        if (cc_slice_equal(cc_buffer_slice(&builder->memos[i].bytes), cc_buffer_slice(&memo.bytes))) {
            cc_buffer_finish(&memo.bytes);
            return i;
        }
    }
    close_part(builder);
    cc_put_u8(&builder->bytes, EFFECT_SHAPE);
    cc_put_bytes(&builder->bytes, cc_buffer_slice(&memo.bytes));
    builder->memos =
        cc_grow(builder->memos, &builder->memos_capacity, (size_t)builder->n_shapes + 1, sizeof(*builder->memos));
    builder->memos[builder->n_shapes] = memo;
    return builder->n_shapes++;
}

void effect_put_row(struct effect_builder *builder, uint32_t shape, enum effect_tag tag, const struct cc_slice *values,
                    const struct cc_slice *old_key)
{
    assert(shape < builder->n_shapes);
    assert(old_key == NULL || tag == EFFECT_UPDATE);
    if (builder->n_open_rows > 0 && (builder->open_shape != shape || builder->open_tag != tag)) {
        close_part(builder);
    }
    builder->open_shape = shape;
    builder->open_tag = tag;
    builder->n_open_rows++;
    if (tag == EFFECT_UPDATE) {
        cc_put_u8(&builder->rows, old_key != NULL ? 1 : 0);
    }
    for (uint32_t i = 0; i < builder->memos[shape].n_columns; i++) {
        cc_put_nullable(&builder->rows, values[i]);
    }
    for (uint32_t i = 0; old_key != NULL && i < builder->memos[shape].n_key; i++) {
        cc_put_nullable(&builder->rows, old_key[i]);
    }
}

void effect_put_sequence(struct effect_builder *builder, struct cc_slice name, int64_t value, bool is_called)
{
    close_part(builder);
    cc_put_u8(&builder->bytes, EFFECT_SEQUENCES);
    cc_put_varint(&builder->bytes, 1);
    cc_put_string(&builder->bytes, name);
    cc_put_u64(&builder->bytes, (uint64_t)value);
    cc_put_u8(&builder->bytes, is_called ? 1 : 0);
}

void effect_put_ddl(struct effect_builder *builder, struct cc_slice sql)
{
    close_part(builder);
    cc_put_u8(&builder->bytes, EFFECT_DDL);
    cc_put_string(&builder->bytes, sql);
}

void effect_put_migration(struct effect_builder *builder, struct cc_slice name, struct cc_slice sql)
{
    close_part(builder);
    cc_put_u8(&builder->bytes, EFFECT_MIGRATION);
    cc_put_string(&builder->bytes, name);
    cc_put_string(&builder->bytes, sql);
}

struct cc_slice effect_builder_slice(struct effect_builder *builder)
{
    close_part(builder);
    return cc_buffer_slice(&builder->bytes);
}

// -- Reading --------------------------------------------------------------------------------------------------------

void effect_reader_init(struct effect_reader *reader, struct cc_slice effects, struct cc_arena *arena)
{
    *reader = (struct effect_reader){.reader = cc_reader_of(effects), .arena = arena};
}

static struct rest_shape *new_shape(struct effect_reader *reader)
{
    if (reader->n_shapes == reader->shapes_capacity) {
        size_t capacity = reader->shapes_capacity == 0 ? SHAPES_MIN : 2 * reader->shapes_capacity;
        struct rest_shape *shapes = cc_arena_array(reader->arena, capacity, sizeof(*shapes));
        if (reader->n_shapes > 0) {
            memcpy(shapes, reader->shapes, reader->n_shapes * sizeof(*shapes));
        }
        reader->shapes = shapes;
        reader->shapes_capacity = capacity;
    }
    return &reader->shapes[reader->n_shapes];
}

static enum cc_status read_shape_part(struct effect_reader *reader, struct effect_part *part)
{
    struct rest_shape *shape = new_shape(reader);
    enum cc_status status = rest_shape_read(&reader->reader, reader->arena, shape);
    if (status != CC_OK || shape->n_columns == 0) {
        return CC_MALFORMED;
    }
    part->shape_number = reader->n_shapes;
    part->shape = *shape;
    reader->n_shapes++;
    return CC_OK;
}

static const struct cc_slice *read_values(struct effect_reader *reader, uint32_t n)
{
    struct cc_slice *values = cc_arena_array(reader->arena, n, sizeof(*values));
    for (uint32_t i = 0; i < n; i++) {
        values[i] = cc_read_nullable(&reader->reader);
    }
    return values;
}

static bool read_tag(struct cc_reader *reader, enum effect_tag *tag_out)
{
    uint8_t tag = cc_read_u8(reader);
    if (tag != EFFECT_INSERT && tag != EFFECT_UPDATE && tag != EFFECT_DELETE) {
        cc_reader_fail(reader);
        return false;
    }
    *tag_out = (enum effect_tag)tag;
    return true;
}

static void read_row(struct effect_reader *reader, const struct effect_part *part, uint32_t n_key, struct effect_row *row)
{
    uint8_t has_old_key = part->tag == EFFECT_UPDATE ? cc_read_u8(&reader->reader) : 0;
    if (has_old_key > 1) {
        cc_reader_fail(&reader->reader);
    }
    row->values = read_values(reader, part->shape.n_columns);
    if (has_old_key == 1) {
        row->old_key = read_values(reader, n_key);
    }
}

static enum cc_status read_rows_part(struct effect_reader *reader, struct effect_part *part)
{
    part->shape_number = (uint32_t)cc_read_count(&reader->reader, UINT32_MAX);
    if (!read_tag(&reader->reader, &part->tag) || part->shape_number >= reader->n_shapes) {
        return CC_MALFORMED;
    }
    part->shape = reader->shapes[part->shape_number];
    uint32_t n_key = count_key_columns(&part->shape);
    // Every value has at least one byte, so that the count is bounded by what follows.
    part->n_rows = (uint32_t)cc_read_count(&reader->reader, cc_reader_left(&reader->reader) / part->shape.n_columns);
    part->rows = cc_arena_array(reader->arena, part->n_rows, sizeof(*part->rows));
    for (uint32_t i = 0; i < part->n_rows && cc_reader_ok(&reader->reader); i++) {
        read_row(reader, part, n_key, &part->rows[i]);
    }
    return part->n_rows > 0 ? CC_OK : CC_MALFORMED;
}

static enum cc_status read_sequences_part(struct effect_reader *reader, struct effect_part *part)
{
    struct cc_reader *bytes = &reader->reader;
    part->n_sequences = (uint32_t)cc_read_count(bytes, cc_reader_left(bytes) / SEQUENCE_BYTES_MIN);
    part->sequences = cc_arena_array(reader->arena, part->n_sequences, sizeof(*part->sequences));
    for (uint32_t i = 0; i < part->n_sequences; i++) {
        part->sequences[i].name = cc_read_string(bytes);
        part->sequences[i].value = (int64_t)cc_read_u64(bytes);
        uint8_t is_called = cc_read_u8(bytes);
        part->sequences[i].is_called = is_called == 1;
        if (is_called > 1) {
            cc_reader_fail(bytes);
        }
    }
    return CC_OK;
}

static enum cc_status read_part(struct effect_reader *reader, uint8_t kind, struct effect_part *part)
{
    switch (kind) {
    case EFFECT_SHAPE:
        return read_shape_part(reader, part);
    case EFFECT_ROWS:
        return read_rows_part(reader, part);
    case EFFECT_SEQUENCES:
        return read_sequences_part(reader, part);
    case EFFECT_DDL:
        part->sql = cc_read_string(&reader->reader);
        return CC_OK;
    case EFFECT_MIGRATION:
        part->name = cc_read_string(&reader->reader);
        part->sql = cc_read_string(&reader->reader);
        return CC_OK;
    default: // a byte from outside, not an enum
        return CC_MALFORMED;
    }
}

enum cc_status effect_reader_next(struct effect_reader *reader, struct effect_part *part_out)
{
    if (cc_reader_left(&reader->reader) == 0) {
        return cc_reader_ok(&reader->reader) ? CC_NOT_FOUND : CC_MALFORMED;
    }
    uint8_t kind = cc_read_u8(&reader->reader);
    struct effect_part part = {.kind = (enum effect_part_kind)kind};
    enum cc_status status = read_part(reader, kind, &part);
    if (status != CC_OK || !cc_reader_ok(&reader->reader)) {
        cc_reader_fail(&reader->reader);
        return CC_MALFORMED;
    }
    *part_out = part;
    return CC_OK;
}

// -- Entries --------------------------------------------------------------------------------------------------------

void entry_put(struct cc_buffer *out, const struct entry *entry)
{
    cc_put_u8(out, ENTRY_VERSION);
    cc_put_u64(out, entry->base_index);
    cc_put_u32(out, entry->schema_version);
    cc_put_varint(out, entry->n_operations);
    for (uint32_t i = 0; i < entry->n_operations; i++) {
        const struct entry_operation *operation = &entry->operations[i];
        cc_put_bytes(out, cc_slice_of(operation->id, OPERATION_ID_BYTES));
        cc_put_nullable(out, operation->principal);
        cc_put_nullable(out, operation->key);
        cc_put_nullable(out, operation->fingerprint);
        cc_put_string(out, operation->outcome);
    }
    cc_put_string(out, entry->effects);
}

static void read_entry_operation(struct cc_reader *reader, struct entry_operation *operation)
{
    struct cc_slice id = cc_read_bytes(reader, OPERATION_ID_BYTES);
    if (id.n == OPERATION_ID_BYTES) {
        memcpy(operation->id, id.data, OPERATION_ID_BYTES);
    }
    operation->principal = cc_read_nullable(reader);
    operation->key = cc_read_nullable(reader);
    operation->fingerprint = cc_read_nullable(reader);
    operation->outcome = cc_read_string(reader);
}

enum cc_status entry_read(struct cc_slice bytes, struct cc_arena *arena, struct entry *entry_out)
{
    if (bytes.n > CC_ENTRY_BYTES_MAX) {
        return CC_TOO_LARGE;
    }
    struct cc_reader reader = cc_reader_of(bytes);
    if (cc_read_u8(&reader) != ENTRY_VERSION) {
        return CC_MALFORMED;
    }
    struct entry entry = {0};
    entry.base_index = cc_read_u64(&reader);
    entry.schema_version = cc_read_u32(&reader);
    entry.n_operations = (uint32_t)cc_read_count(&reader, cc_reader_left(&reader) / ENTRY_OPERATION_BYTES_MIN);
    entry.operations = cc_arena_array(arena, entry.n_operations, sizeof(*entry.operations));
    for (uint32_t i = 0; i < entry.n_operations; i++) {
        read_entry_operation(&reader, &entry.operations[i]);
    }
    entry.effects = cc_read_string(&reader);
    enum cc_status status = cc_reader_end(&reader);
    if (status == CC_OK) {
        *entry_out = entry;
    }
    return status;
}
