// Records of the log: their bodies and how they are framed.
#include "consensus/wal_frame.h"

#include <assert.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mutant.h"

enum { AT_LENGTH = 4, AT_NUMBER = 8, AT_POSITION = 16, AT_KIND = 20, AT_VERSION = 21, AT_RESERVED = 22 };

static uint32_t load_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t load_u64(const uint8_t *at)
{
    return (uint64_t)load_u32(at) | (uint64_t)load_u32(at + 4) << 32;
}

static void store_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static void store_u64(uint8_t *at, uint64_t value)
{
    store_u32(at, (uint32_t)value);
    store_u32(at + 4, (uint32_t)(value >> 32));
}

static size_t padded(size_t n)
{
    return (n + WAL_ALIGNMENT - 1) / WAL_ALIGNMENT * WAL_ALIGNMENT;
}

bool wal_frame_size(const uint8_t *header, size_t *n_bytes_out)
{
    size_t n_body = load_u32(header + AT_LENGTH);
    uint64_t number = load_u64(header + AT_NUMBER);
    if (n_body > CC_RECORD_BYTES_MAX || number == 0 || number > WAL_NUMBER_MAX) {
        return false;
    }
    *n_bytes_out = padded(WAL_HEADER_BYTES + n_body);
    return true;
}

enum cc_status wal_frame_read(struct cc_slice bytes, struct wal_frame *frame_out)
{
    size_t n_bytes;
    if (bytes.n < WAL_HEADER_BYTES || !wal_frame_size(bytes.data, &n_bytes) || n_bytes > bytes.n) {
        return CC_MALFORMED;
    }
    const uint8_t *header = bytes.data;
    uint64_t number = load_u64(header + AT_NUMBER);
    uint32_t position = load_u32(header + AT_POSITION);
    if (position >= number) { // records are numbered from 1
        return CC_MALFORMED;
    }
    bool right = cc_crc32c(0, header + AT_LENGTH, n_bytes - AT_LENGTH) == load_u32(header);
    if (!right && !cc_mutant(CC_MUTANT_RECORDS_UNCHECKED)) {
        return CC_MALFORMED;
    }
    uint8_t kind = header[AT_KIND];
    bool known = kind >= WAL_IDENTITY && kind <= WAL_MEMBERSHIP;
    if (!known || header[AT_VERSION] != WAL_RECORD_VERSION || header[AT_RESERVED] != 0 ||
        header[AT_RESERVED + 1] != 0) {
        return CC_UNSUPPORTED;
    }
    *frame_out = (struct wal_frame){
        .kind = (enum wal_record_kind)kind,
        .number = number,
        .first = number - position,
        .body = cc_slice_of(header + WAL_HEADER_BYTES, load_u32(header + AT_LENGTH)),
        .n_bytes = n_bytes,
    };
    return CC_OK;
}

void wal_batch_next(const struct wal_batch *batch, size_t at, struct wal_frame *frame_out)
{
    assert(at + WAL_HEADER_BYTES <= batch->bytes.n);
    const uint8_t *header = batch->bytes.data + at;
    size_t n_body = load_u32(header + AT_LENGTH);
    *frame_out = (struct wal_frame){
        .kind = (enum wal_record_kind)header[AT_KIND],
        .body = cc_slice_of(header + WAL_HEADER_BYTES, n_body),
        .n_bytes = padded(WAL_HEADER_BYTES + n_body),
    };
}

void wal_frame_seal(uint8_t *record, const struct wal_frame *frame)
{
    store_u64(record + AT_NUMBER, frame->number);
    store_u32(record + AT_POSITION, (uint32_t)(frame->number - frame->first));
    store_u32(record, cc_crc32c(0, record + AT_LENGTH, frame->n_bytes - AT_LENGTH));
}

// -- Encoding -------------------------------------------------------------------------------------------------------

static size_t record_begin(struct wal_batch *batch, enum wal_record_kind kind)
{
    uint8_t header[WAL_HEADER_BYTES] = {0};
    header[AT_KIND] = (uint8_t)kind;
    header[AT_VERSION] = WAL_RECORD_VERSION;
    size_t start = batch->bytes.n;
    cc_buffer_append(&batch->bytes, header, sizeof(header));
    return start;
}

static void record_end(struct wal_batch *batch, size_t start)
{
    size_t n_body = batch->bytes.n - start - WAL_HEADER_BYTES;
    assert(n_body <= CC_RECORD_BYTES_MAX);
    store_u32(batch->bytes.data + start + AT_LENGTH, (uint32_t)n_body);
    static const uint8_t zeros[WAL_ALIGNMENT];
    cc_buffer_append(&batch->bytes, zeros, padded(n_body) - n_body);
    batch->n_records++;
}

void wal_batch_finish(struct wal_batch *batch)
{
    cc_buffer_finish(&batch->bytes);
    batch->n_records = 0;
}

void wal_batch_clear(struct wal_batch *batch)
{
    cc_buffer_clear(&batch->bytes);
    batch->n_records = 0;
}

void wal_batch_append(struct wal_batch *batch, const struct wal_batch *more)
{
    cc_buffer_append(&batch->bytes, more->bytes.data, more->bytes.n);
    batch->n_records += more->n_records;
}

void wal_put_identity(struct wal_batch *batch, const struct wal_identity *identity)
{
    size_t start = record_begin(batch, WAL_IDENTITY);
    cc_put_u16(&batch->bytes, WAL_FORMAT);
    cc_put_string(&batch->bytes, cc_slice_text(identity->cluster));
    cc_put_u32(&batch->bytes, identity->replica);
    cc_put_u32(&batch->bytes, identity->incarnation);
    record_end(batch, start);
}

void wal_put_hard_state(struct wal_batch *batch, struct raft_hard_state hard_state)
{
    size_t start = record_begin(batch, WAL_HARD_STATE);
    cc_put_u64(&batch->bytes, hard_state.term);
    cc_put_u32(&batch->bytes, hard_state.vote);
    record_end(batch, start);
}

void wal_put_entry(struct wal_batch *batch, const struct raft_entry *entry)
{
    size_t start = record_begin(batch, WAL_ENTRY);
    cc_put_u64(&batch->bytes, entry->index);
    cc_put_u64(&batch->bytes, entry->term);
    cc_put_u64(&batch->bytes, entry->hlc);
    cc_put_u8(&batch->bytes, (uint8_t)entry->kind);
    cc_put_bytes(&batch->bytes, cc_blob_slice(entry->payload));
    record_end(batch, start);
}

void wal_put_change(struct wal_batch *batch, struct cc_slice change)
{
    size_t start = record_begin(batch, WAL_CHANGE);
    cc_put_bytes(&batch->bytes, change);
    record_end(batch, start);
}

static void put_pair(struct wal_batch *batch, enum wal_record_kind kind, uint64_t a, uint64_t b)
{
    size_t start = record_begin(batch, kind);
    cc_put_u64(&batch->bytes, a);
    cc_put_u64(&batch->bytes, b);
    record_end(batch, start);
}

void wal_put_base(struct wal_batch *batch, uint64_t index, uint64_t term)
{
    put_pair(batch, WAL_BASE, index, term);
}

void wal_put_mark(struct wal_batch *batch, const struct wal_mark *mark)
{
    size_t start = record_begin(batch, WAL_MARK);
    cc_put_u64(&batch->bytes, mark->commit);
    cc_put_u64(&batch->bytes, mark->hlc);
    cc_put_u64(&batch->bytes, mark->own_sequence);
    cc_put_u8(&batch->bytes, (uint8_t)mark->n_memories);
    for (uint32_t i = 0; i < mark->n_memories; i++) {
        cc_put_u32(&batch->bytes, mark->memories[i].replica);
        cc_put_u32(&batch->bytes, mark->memories[i].incarnation);
        cc_put_u64(&batch->bytes, mark->memories[i].index);
    }
    for (uint32_t i = 0; i < mark->n_memories; i++) { // after them: earlier versions have none
        cc_put_u64(&batch->bytes, mark->memories[i].promise);
    }
    cc_put_u32(&batch->bytes, mark->own_incarnation);
    record_end(batch, start);
}

void wal_put_membership(struct wal_batch *batch, uint64_t index, const struct raft_membership *membership)
{
    size_t start = record_begin(batch, WAL_MEMBERSHIP);
    cc_put_u64(&batch->bytes, index);
    raft_membership_put(&batch->bytes, membership);
    record_end(batch, start);
}

// -- Decoding -------------------------------------------------------------------------------------------------------

enum cc_status wal_read_identity(struct cc_slice body, struct wal_identity *identity_out)
{
    struct cc_reader reader = cc_reader_of(body);
    uint16_t format = cc_read_u16(&reader);
    if (cc_reader_ok(&reader) && format != WAL_FORMAT) {
        return CC_UNSUPPORTED;
    }
    struct cc_slice cluster = cc_read_string(&reader);
    uint32_t replica = cc_read_u32(&reader);
    uint32_t incarnation = cc_read_u32(&reader);
    enum cc_status status = cc_reader_end(&reader);
    if (status != CC_OK) {
        return status;
    }
    if (cluster.n == 0 || cluster.n > CC_NAME_BYTES_MAX || memchr(cluster.data, 0, cluster.n) != NULL || replica == 0) {
        return CC_MALFORMED;
    }
    *identity_out = (struct wal_identity){.replica = replica, .incarnation = incarnation};
    memcpy(identity_out->cluster, cluster.data, cluster.n);
    return CC_OK;
}

enum cc_status wal_read_hard_state(struct cc_slice body, struct raft_hard_state *hard_state_out)
{
    struct cc_reader reader = cc_reader_of(body);
    uint64_t term = cc_read_u64(&reader);
    uint32_t vote = cc_read_u32(&reader);
    enum cc_status status = cc_reader_end(&reader);
    if (status != CC_OK) {
        return status;
    }
    *hard_state_out = (struct raft_hard_state){.term = term, .vote = vote};
    return CC_OK;
}

static bool is_entry_kind(uint8_t kind)
{
    return kind == RAFT_ENTRY_NOOP || kind == RAFT_ENTRY_DATA || kind == RAFT_ENTRY_CONFIG;
}

enum cc_status wal_read_entry(struct cc_slice body, struct raft_entry *entry_out)
{
    struct cc_reader reader = cc_reader_of(body);
    struct raft_entry entry = {0};
    entry.index = cc_read_u64(&reader);
    entry.term = cc_read_u64(&reader);
    entry.hlc = cc_read_u64(&reader);
    uint8_t kind = cc_read_u8(&reader);
    struct cc_slice payload = cc_read_bytes(&reader, cc_reader_left(&reader));
    enum cc_status status = cc_reader_end(&reader);
    if (status != CC_OK) {
        return status;
    }
    if (entry.index == 0 || entry.index > WAL_NUMBER_MAX || entry.term == 0 || !is_entry_kind(kind)) {
        return CC_MALFORMED;
    }
    entry.kind = (enum raft_entry_kind)kind;
    entry.payload = payload.n > 0 ? cc_blob_create(payload.data, payload.n) : NULL;
    *entry_out = entry;
    return CC_OK;
}

enum cc_status wal_read_entry_head(struct cc_slice body, struct wal_entry_head *head_out)
{
    struct cc_reader reader = cc_reader_of(body);
    uint64_t index = cc_read_u64(&reader);
    uint64_t term = cc_read_u64(&reader);
    (void)cc_read_u64(&reader); // clock
    uint8_t kind = cc_read_u8(&reader);
    if (!cc_reader_ok(&reader) || index == 0 || index > WAL_NUMBER_MAX || term == 0 || !is_entry_kind(kind)) {
        return CC_MALFORMED;
    }
    *head_out = (struct wal_entry_head){.index = index, .term = term};
    return CC_OK;
}

static enum cc_status read_pair(struct cc_slice body, uint64_t *a_out, uint64_t *b_out)
{
    struct cc_reader reader = cc_reader_of(body);
    uint64_t a = cc_read_u64(&reader);
    uint64_t b = cc_read_u64(&reader);
    enum cc_status status = cc_reader_end(&reader);
    if (status != CC_OK) {
        return status;
    }
    *a_out = a;
    *b_out = b;
    return CC_OK;
}

enum cc_status wal_read_base(struct cc_slice body, uint64_t *index_out, uint64_t *term_out)
{
    return read_pair(body, index_out, term_out);
}

enum cc_status wal_read_mark(struct cc_slice body, struct wal_mark *mark_out)
{
    struct cc_reader reader = cc_reader_of(body);
    struct wal_mark mark = {.commit = cc_read_u64(&reader)};
    mark.hlc = cc_read_u64(&reader);
    mark.own_sequence = cc_reader_left(&reader) > 0 ? cc_read_u64(&reader) : 0;
    mark.n_memories = cc_reader_left(&reader) > 0 ? cc_read_u8(&reader) : 0;
    if (mark.n_memories > WAL_MEMORIES_MAX) {
        return CC_MALFORMED;
    }
    for (uint32_t i = 0; i < mark.n_memories; i++) {
        mark.memories[i].replica = cc_read_u32(&reader);
        mark.memories[i].incarnation = cc_read_u32(&reader);
        mark.memories[i].index = cc_read_u64(&reader);
    }
    bool has_promises = cc_reader_left(&reader) >= mark.n_memories * sizeof(uint64_t);
    for (uint32_t i = 0; has_promises && i < mark.n_memories; i++) {
        mark.memories[i].promise = cc_read_u64(&reader);
    }
    mark.own_incarnation = cc_reader_left(&reader) > 0 ? cc_read_u32(&reader) : 0;
    enum cc_status status = cc_reader_end(&reader);
    if (status == CC_OK) {
        *mark_out = mark;
    }
    return status;
}

enum cc_status wal_read_membership(struct cc_slice body, uint64_t *index_out, struct raft_membership *membership_out)
{
    struct cc_reader reader = cc_reader_of(body);
    uint64_t index = cc_read_u64(&reader);
    struct cc_slice payload = cc_read_bytes(&reader, cc_reader_left(&reader));
    if (!cc_reader_ok(&reader) || index > WAL_NUMBER_MAX) {
        return CC_MALFORMED;
    }
    enum cc_status status = raft_membership_read(payload, membership_out);
    if (status == CC_OK) {
        *index_out = index;
    }
    return status;
}
