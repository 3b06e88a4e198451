// Change sets: codec, numbering, and the joining of several writes to one row.
//
// Bytes: head {u8 version (with DURABLE), u32 replica, u32 incarnation, u64 sequence, u64 hlc, u32 schema_version}, nullable frontier
// seen (from version 2 on), four nullable strings of the request, varint n_rows, rows. Row: u8 operation, with SAME_SHAPE set when table and columns are the row before's;
// else table, varint n_fields, column names; then key, then (value, old value) of each field, and its nullable part in a row with PARTS
// (version 3: the same as version 2 but for these rows, and used only if there are any). A renewal (version 4) is as version 3, with {u32 replica,
// u32 incarnation, u64 sequence, u64 hlc} of what it renews before n_rows, and varint n_lost, rows at the end.
#include "crdt/change.h"

#include "base/hash.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 2,
    VERSION_WITHOUT_SEEN = 1,
    VERSION_WITH_PARTS = 3,
    VERSION_OF_RENEWAL = 4,
    DURABLE = 0x80,
    SEQUENCE_OFFSET = 1 + 4 + 4,
    HEAD_BYTES = SEQUENCE_OFFSET + 8 + 8 + 4,
    SAME_SHAPE = 0x80,
    PARTS = 0x40,
    ROW_BYTES_MIN = 3, // operation, key of at least one byte
    FIELD_BYTES_MIN = 2,
};

// -- Keys -----------------------------------------------------------------------------------------------------------

void crdt_key_put(struct cc_buffer *out, const struct cc_slice *values, size_t n)
{
    assert(n > 0);
    for (size_t i = 0; i < n; i++) {
        cc_put_string(out, values[i]);
    }
}

enum cc_status crdt_key_read(struct cc_slice key, struct cc_slice *values_out, size_t n_max, size_t *n_out)
{
    struct cc_reader reader = cc_reader_of(key);
    size_t n = 0;
    while (cc_reader_ok(&reader) && cc_reader_left(&reader) > 0) {
        if (n == n_max) {
            return CC_TOO_LARGE;
        }
        values_out[n++] = cc_read_string(&reader);
    }
    if (!cc_reader_ok(&reader) || n == 0) {
        return CC_MALFORMED;
    }
    *n_out = n;
    return CC_OK;
}

// -- Writing --------------------------------------------------------------------------------------------------------

static bool same_shape(const struct crdt_row_change *a, const struct crdt_row_change *b)
{
    if (a->n_fields != b->n_fields || !cc_slice_equal(a->table, b->table)) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_fields; i++) {
        if (!cc_slice_equal(a->fields[i].column, b->fields[i].column)) {
            return false;
        }
    }
    return true;
}

static bool has_parts(const struct crdt_row_change *row)
{
    for (uint32_t i = 0; i < row->n_fields; i++) {
        if (row->fields[i].part.data != NULL) {
            return true;
        }
    }
    return false;
}

static uint8_t version_of(const struct crdt_change_set *set)
{
    if (set->renews.sequence > 0) {
        return VERSION_OF_RENEWAL;
    }
    for (uint32_t i = 0; i < set->n_rows; i++) {
        if (has_parts(&set->rows[i])) {
            return VERSION_WITH_PARTS;
        }
    }
    return VERSION;
}

static void put_row(struct cc_buffer *out, const struct crdt_row_change *row, const struct crdt_row_change *before)
{
    assert(row->operation != CRDT_DELETE || row->n_fields == 0);
    bool same = before != NULL && same_shape(row, before);
    bool parts = has_parts(row);
    cc_put_u8(out, (uint8_t)((uint8_t)row->operation | (same ? SAME_SHAPE : 0) | (parts ? PARTS : 0)));
    if (!same) {
        cc_put_string(out, row->table);
        cc_put_varint(out, row->n_fields);
        for (uint32_t i = 0; i < row->n_fields; i++) {
            cc_put_string(out, row->fields[i].column);
        }
    }
    cc_put_string(out, row->key);
    for (uint32_t i = 0; i < row->n_fields; i++) {
        cc_put_nullable(out, row->fields[i].value);
        cc_put_nullable(out, row->fields[i].old_value);
        if (parts) {
            cc_put_nullable(out, row->fields[i].part);
        }
    }
}

static void put_rows(struct cc_buffer *out, const struct crdt_row_change *rows, uint32_t n)
{
    cc_put_varint(out, n);
    for (uint32_t i = 0; i < n; i++) {
        put_row(out, &rows[i], i == 0 ? NULL : &rows[i - 1]);
    }
}

static void put_renewed(struct cc_buffer *out, const struct crdt_old_number *renews)
{
    cc_put_u32(out, renews->origin.replica);
    cc_put_u32(out, renews->origin.incarnation);
    cc_put_u64(out, renews->sequence);
    cc_put_u64(out, renews->hlc);
}

void crdt_change_set_put(struct cc_buffer *out, const struct crdt_change_set *set)
{
    bool renews = set->renews.sequence > 0;
    assert(set->stamp.hlc > 0);
    assert(renews || set->n_lost == 0);
    assert(set->stamp.replica == set->origin.replica && set->stamp.incarnation == set->origin.incarnation);
    cc_put_u8(out, (uint8_t)(version_of(set) | (set->durable ? DURABLE : 0)));
    cc_put_u32(out, set->origin.replica);
    cc_put_u32(out, set->origin.incarnation);
    cc_put_u64(out, set->sequence);
    cc_put_u64(out, set->stamp.hlc);
    cc_put_u32(out, set->schema_version);
    cc_put_nullable(out, set->seen);
    cc_put_nullable(out, set->principal);
    cc_put_nullable(out, set->request_key);
    cc_put_nullable(out, set->fingerprint);
    cc_put_nullable(out, set->outcome);
    if (renews) {
        put_renewed(out, &set->renews);
    }
    put_rows(out, set->rows, set->n_rows);
    if (renews) {
        put_rows(out, set->lost, set->n_lost);
    }
}

void crdt_change_set_number(uint8_t *bytes, size_t n, uint64_t sequence)
{
    assert(n >= HEAD_BYTES && (bytes[0] & ~DURABLE) >= VERSION); // only sets that were made just now are numbered
    for (size_t i = 0; i < 8; i++) {
        bytes[SEQUENCE_OFFSET + i] = (uint8_t)(sequence >> (8 * i));
    }
}

// -- Reading --------------------------------------------------------------------------------------------------------

static void read_head(struct cc_reader *reader, struct crdt_change_set *set)
{
    uint8_t version = cc_read_u8(reader);
    set->durable = (version & DURABLE) != 0;
    version &= (uint8_t)~DURABLE;
    set->origin.replica = cc_read_u32(reader);
    set->origin.incarnation = cc_read_u32(reader);
    set->sequence = cc_read_u64(reader);
    set->stamp.hlc = cc_read_u64(reader);
    set->stamp.replica = set->origin.replica;
    set->stamp.incarnation = set->origin.incarnation;
    set->schema_version = cc_read_u32(reader);
    bool known = (version >= VERSION && version <= VERSION_OF_RENEWAL) || (version == VERSION_WITHOUT_SEEN && !set->durable);
    if (!known || set->stamp.hlc == 0) {
        cc_reader_fail(reader);
    }
}

static void read_seen(struct cc_reader *reader, struct crdt_change_set *set)
{
    set->seen = cc_read_nullable(reader);
    struct crdt_frontier frontier;
    struct cc_reader seen = cc_reader_of(set->seen);
    if (set->seen.data != NULL && (crdt_frontier_read(&seen, &frontier) != CC_OK || cc_reader_end(&seen) != CC_OK)) {
        cc_reader_fail(reader);
    }
}

struct row_head {
    bool same;  // shape as the row before
    bool parts; // its fields have parts
};

static bool read_operation(struct cc_reader *reader, enum crdt_operation *operation_out, struct row_head *head_out)
{
    uint8_t byte = cc_read_u8(reader);
    uint8_t operation = byte & (PARTS - 1);
    if (operation < CRDT_INSERT || operation > CRDT_DELETE) {
        cc_reader_fail(reader);
        return false;
    }
    *operation_out = (enum crdt_operation)operation;
    *head_out = (struct row_head){.same = (byte & SAME_SHAPE) != 0, .parts = (byte & PARTS) != 0};
    return cc_reader_ok(reader);
}

static void read_shape(struct cc_reader *reader, struct cc_arena *arena, struct crdt_row_change *row)
{
    row->table = cc_read_string(reader);
    row->n_fields = (uint32_t)cc_read_count(reader, cc_reader_left(reader) / FIELD_BYTES_MIN);
    row->fields = cc_arena_array(arena, row->n_fields, sizeof(*row->fields));
    for (uint32_t i = 0; i < row->n_fields; i++) {
        row->fields[i].column = cc_read_string(reader);
        if (row->fields[i].column.n == 0) {
            cc_reader_fail(reader);
        }
    }
    if (row->table.n == 0) {
        cc_reader_fail(reader);
    }
}

static void copy_shape(struct cc_reader *reader, struct cc_arena *arena, const struct crdt_row_change *before,
                       struct crdt_row_change *row)
{
    if (before == NULL || before->n_fields > cc_reader_left(reader) / FIELD_BYTES_MIN) {
        cc_reader_fail(reader);
        return;
    }
    row->table = before->table;
    row->n_fields = before->n_fields;
    row->fields = cc_arena_array(arena, row->n_fields, sizeof(*row->fields));
    for (uint32_t i = 0; i < row->n_fields; i++) {
        row->fields[i].column = before->fields[i].column;
    }
}

static void read_row(struct cc_reader *reader, struct cc_arena *arena, const struct crdt_row_change *before,
                     struct crdt_row_change *row)
{
    struct row_head head;
    if (!read_operation(reader, &row->operation, &head)) {
        return;
    }
    if (head.same) {
        copy_shape(reader, arena, before, row);
    } else {
        read_shape(reader, arena, row);
    }
    row->key = cc_read_string(reader);
    if (row->key.n == 0 || (row->operation == CRDT_DELETE && row->n_fields > 0)) {
        cc_reader_fail(reader);
    }
    for (uint32_t i = 0; i < row->n_fields && cc_reader_ok(reader); i++) {
        row->fields[i].value = cc_read_nullable(reader);
        row->fields[i].old_value = cc_read_nullable(reader);
        row->fields[i].part = head.parts ? cc_read_nullable(reader) : (struct cc_slice){0};
    }
}

static struct crdt_row_change *read_rows(struct cc_reader *reader, struct cc_arena *arena, uint32_t *n_out)
{
    *n_out = (uint32_t)cc_read_count(reader, cc_reader_left(reader) / ROW_BYTES_MIN);
    struct crdt_row_change *rows = cc_arena_array(arena, *n_out, sizeof(*rows));
    for (uint32_t i = 0; i < *n_out && cc_reader_ok(reader); i++) {
        read_row(reader, arena, i == 0 ? NULL : &rows[i - 1], &rows[i]);
    }
    return rows;
}

static void read_renewed(struct cc_reader *reader, struct crdt_change_set *set)
{
    set->renews.origin.replica = cc_read_u32(reader);
    set->renews.origin.incarnation = cc_read_u32(reader);
    set->renews.sequence = cc_read_u64(reader);
    set->renews.hlc = cc_read_u64(reader);
    if (set->renews.sequence == 0 || set->renews.hlc == 0) {
        cc_reader_fail(reader);
    }
}

enum cc_status crdt_change_set_read(struct cc_slice bytes, struct cc_arena *arena, struct crdt_change_set *set_out)
{
    if (bytes.n > CC_ENTRY_BYTES_MAX) {
        return CC_TOO_LARGE;
    }
    struct cc_reader reader = cc_reader_of(bytes);
    struct crdt_change_set set = {0};
    read_head(&reader, &set);
    if (bytes.n > 0 && bytes.data[0] != VERSION_WITHOUT_SEEN) {
        read_seen(&reader, &set);
    }
    set.principal = cc_read_nullable(&reader);
    set.request_key = cc_read_nullable(&reader);
    set.fingerprint = cc_read_nullable(&reader);
    set.outcome = cc_read_nullable(&reader);
    bool renews = bytes.n > 0 && (bytes.data[0] & ~DURABLE) == VERSION_OF_RENEWAL;
    if (renews) {
        read_renewed(&reader, &set);
    }
    set.rows = read_rows(&reader, arena, &set.n_rows);
    if (renews) {
        set.lost = read_rows(&reader, arena, &set.n_lost);
    }
    enum cc_status status = cc_reader_end(&reader);
    if (status == CC_OK) {
        *set_out = set;
    }
    return status;
}

enum cc_status crdt_change_set_peek(struct cc_slice bytes, struct crdt_change_set *set_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    struct crdt_change_set set = {0};
    read_head(&reader, &set);
    if (!cc_reader_ok(&reader)) {
        return CC_MALFORMED;
    }
    *set_out = set;
    return CC_OK;
}

// -- Names and causes ------------------------------------------------------------------------------------------------

bool crdt_table_equal(struct cc_slice a, struct cc_slice b)
{
    size_t i = 0, j = 0;
    for (;;) {
        while (i < a.n && a.data[i] == '"') {
            i++;
        }
        while (j < b.n && b.data[j] == '"') {
            j++;
        }
        if (i == a.n || j == b.n) {
            return i == a.n && j == b.n;
        }
        if (a.data[i++] != b.data[j++]) {
            return false;
        }
    }
}

int64_t crdt_row_hash(struct cc_slice table, struct cc_slice key)
{
    static const uint8_t hash_key[16] = "caucus row hash"; // fixed for good: the hashes are in PostgreSQL
    uint8_t few[256]; // mostly enough
    size_t n_at_most = table.n + 1 + key.n, n = 0;
    uint8_t *bytes = n_at_most <= sizeof(few) ? few : cc_alloc(n_at_most);
    for (size_t i = 0; i < table.n; i++) {
        bytes[n] = table.data[i];
        n += table.data[i] != '"';
    }
    bytes[n++] = 0;
    if (key.n > 0) {
        memcpy(bytes + n, key.data, key.n);
    }
    uint64_t hash = cc_siphash(hash_key, bytes, n + key.n);
    if (bytes != few) {
        free(bytes);
    }
    int64_t signed_hash;
    memcpy(&signed_hash, &hash, sizeof(hash));
    return signed_hash;
}

bool crdt_change_set_saw(const struct crdt_change_set *later, struct crdt_origin origin, uint64_t sequence)
{
    if (crdt_origin_compare(later->origin, origin) == 0) {
        return sequence < later->sequence;
    }
    struct crdt_frontier seen;
    struct cc_reader reader = cc_reader_of(later->seen);
    return later->seen.data != NULL && crdt_frontier_read(&reader, &seen) == CC_OK && crdt_frontier_get(&seen, origin) >= sequence;
}

uint64_t crdt_change_set_request(const struct crdt_change_set *set)
{
    static const uint8_t hash_key[16] = "caucus increment"; // fixed for good: the hashes are in rows
    struct cc_buffer bytes = {0};
    cc_put_nullable(&bytes, set->principal);
    cc_put_nullable(&bytes, set->request_key);
    uint64_t key = cc_siphash(hash_key, bytes.data, bytes.n);
    cc_buffer_finish(&bytes);
    return key;
}

// -- Joining --------------------------------------------------------------------------------------------------------

// What one row change after another amounts to, where both have one stamp.
static enum crdt_operation joined_operation(enum crdt_operation first, enum crdt_operation second)
{
    switch (second) {
    case CRDT_INSERT:
    case CRDT_DELETE:
        return second;
    case CRDT_UPDATE:
        return first;
    case CRDT_UPSERT:
        return first == CRDT_INSERT ? CRDT_INSERT : CRDT_UPSERT;
    }
    return second;
}

static struct crdt_field *find_field(struct crdt_field *fields, uint32_t n, struct cc_slice column)
{
    for (uint32_t i = 0; i < n; i++) {
        if (cc_slice_equal(fields[i].column, column)) {
            return &fields[i];
        }
    }
    return NULL;
}

// The later value of each field, and the older old value: what the writer saw before all of it.
static void join_fields(struct cc_arena *arena, struct crdt_row_change *first, const struct crdt_row_change *second)
{
    struct crdt_field *joined = cc_arena_array(arena, (size_t)first->n_fields + second->n_fields, sizeof(*joined));
    uint32_t n = first->n_fields;
    if (n > 0) {
        memcpy(joined, first->fields, n * sizeof(*joined));
    }
    for (uint32_t i = 0; i < second->n_fields; i++) {
        struct crdt_field *known = find_field(joined, n, second->fields[i].column);
        if (known != NULL) {
            known->value = second->fields[i].value;
        } else {
            joined[n++] = second->fields[i];
        }
    }
    first->fields = joined;
    first->n_fields = n;
}

static void join_rows(struct cc_arena *arena, struct crdt_row_change *first, const struct crdt_row_change *second)
{
    bool replaces = second->operation == CRDT_INSERT;
    first->operation = joined_operation(first->operation, second->operation);
    if (first->operation == CRDT_DELETE) {
        first->fields = NULL;
        first->n_fields = 0;
        return;
    }
    if (replaces) {
        first->fields = second->fields;
        first->n_fields = second->n_fields;
        return;
    }
    join_fields(arena, first, second);
}

static uint64_t row_hash(const struct crdt_row_change *row)
{
    static const uint8_t key[16]; // order does not depend on it, and the rows are the caller's own
    return cc_siphash(key, row->table.data, row->table.n) ^ cc_siphash(key, row->key.data, row->key.n);
}

// Position + 1 of a row in a table of 2^k slots; linear probing.
static uint32_t *find_slot(uint32_t *slots, size_t n_slots, const struct crdt_row_change *rows,
                           const struct crdt_row_change *row)
{
    size_t slot = row_hash(row) & (n_slots - 1);
    while (slots[slot] != 0) {
        const struct crdt_row_change *other = &rows[slots[slot] - 1];
        if (cc_slice_equal(other->key, row->key) && cc_slice_equal(other->table, row->table)) {
            break;
        }
        slot = (slot + 1) & (n_slots - 1);
    }
    return &slots[slot];
}

void crdt_change_set_join(struct crdt_change_set *set, struct cc_arena *arena)
{
    if (set->n_rows < 2) {
        return;
    }
    size_t n_slots = 4;
    while (n_slots < 2 * (size_t)set->n_rows) {
        n_slots *= 2;
    }
    uint32_t *slots = cc_alloc_array(n_slots, sizeof(*slots));
    uint32_t n = 0;
    for (uint32_t i = 0; i < set->n_rows; i++) {
        uint32_t *slot = find_slot(slots, n_slots, set->rows, &set->rows[i]);
        if (*slot != 0) {
            join_rows(arena, &set->rows[*slot - 1], &set->rows[i]);
            continue;
        }
        set->rows[n] = set->rows[i];
        n++;
        *slot = n;
    }
    set->n_rows = n;
    free(slots);
}
