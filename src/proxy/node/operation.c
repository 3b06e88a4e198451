// Operation codec: a head of everything that routing needs, then the statements or the migration.
//
// Bytes: u8 version, id, u64 after, u32 timeout_ms, u8 kind, u8 weak (1 + durability), u32 schema_version, nullable principal, key, fingerprint;
// then varint n_statements and statements, or string migration name and SQL.
#include "proxy/node/operation.h"

#include "base/limits.h"

#include <assert.h>
#include <string.h>

enum { VERSION = 1, AFTER_OFFSET = 1 + OPERATION_ID_BYTES, HEAD_BYTES_MIN = AFTER_OFFSET + 8, STATEMENT_BYTES_MIN = 10 };

void operation_put(struct cc_buffer *out, const struct operation *operation)
{
    cc_put_u8(out, VERSION);
    cc_put_bytes(out, cc_slice_of(operation->id, OPERATION_ID_BYTES));
    cc_put_u64(out, operation->after);
    cc_put_u32(out, operation->timeout_ms);
    cc_put_u8(out, (uint8_t)operation->kind);
    cc_put_u8(out, (uint8_t)(operation->weak ? 1 + operation->durability : 0));
    cc_put_u32(out, operation->schema_version);
    cc_put_nullable(out, operation->principal);
    cc_put_nullable(out, operation->key);
    cc_put_nullable(out, operation->fingerprint);
    switch (operation->kind) {
    case OPERATION_STATEMENTS:
        cc_put_varint(out, operation->n_statements);
        for (uint32_t i = 0; i < operation->n_statements; i++) {
            rest_statement_put(out, &operation->statements[i]);
        }
        break;
    case OPERATION_MIGRATION:
        cc_put_string(out, operation->migration_name);
        cc_put_string(out, operation->migration_sql);
        break;
    }
}

void operation_set_after(uint8_t *bytes, size_t n, uint64_t index)
{
    assert(n >= HEAD_BYTES_MIN && bytes[0] == VERSION);
    for (size_t i = 0; i < 8; i++) {
        bytes[AFTER_OFFSET + i] = (uint8_t)(index >> (8 * i));
    }
}

static void read_id(struct cc_reader *reader, uint8_t id_out[OPERATION_ID_BYTES])
{
    struct cc_slice bytes = cc_read_bytes(reader, OPERATION_ID_BYTES);
    if (bytes.n == OPERATION_ID_BYTES) {
        memcpy(id_out, bytes.data, OPERATION_ID_BYTES);
    }
}

static void read_head(struct cc_reader *reader, struct operation *operation)
{
    uint8_t version = cc_read_u8(reader);
    read_id(reader, operation->id);
    operation->after = cc_read_u64(reader);
    operation->timeout_ms = cc_read_u32(reader);
    uint8_t kind = cc_read_u8(reader);
    uint8_t weak = cc_read_u8(reader);
    operation->schema_version = cc_read_u32(reader);
    operation->principal = cc_read_nullable(reader);
    operation->key = cc_read_nullable(reader);
    operation->fingerprint = cc_read_nullable(reader);
    bool known = kind == OPERATION_STATEMENTS || kind == OPERATION_MIGRATION;
    if (version != VERSION || !known || weak > 1 + OPERATION_ALL) {
        cc_reader_fail(reader);
        return;
    }
    operation->kind = (enum operation_kind)kind;
    operation->weak = weak > 0;
    operation->durability = weak > 0 ? (enum operation_durability)(weak - 1) : OPERATION_LOCAL;
}

static enum cc_status read_statements(struct cc_reader *reader, struct cc_arena *arena, struct operation *operation)
{
    operation->n_statements = (uint32_t)cc_read_count(reader, cc_reader_left(reader) / STATEMENT_BYTES_MIN);
    operation->statements = cc_arena_array(arena, operation->n_statements, sizeof(*operation->statements));
    for (uint32_t i = 0; i < operation->n_statements; i++) {
        enum cc_status status = rest_statement_read(reader, arena, &operation->statements[i]);
        if (status != CC_OK) {
            return status;
        }
    }
    return operation->n_statements > 0 ? CC_OK : CC_MALFORMED;
}

enum cc_status operation_read(struct cc_slice bytes, struct cc_arena *arena, struct operation *operation_out)
{
    if (bytes.n > CC_ENTRY_BYTES_MAX) {
        return CC_TOO_LARGE;
    }
    struct cc_reader reader = cc_reader_of(bytes);
    struct operation operation = {0};
    read_head(&reader, &operation);
    if (!cc_reader_ok(&reader)) {
        return CC_MALFORMED;
    }
    switch (operation.kind) {
    case OPERATION_STATEMENTS: {
        enum cc_status status = read_statements(&reader, arena, &operation);
        if (status != CC_OK) {
            return status;
        }
        break;
    }
    case OPERATION_MIGRATION:
        operation.migration_name = cc_read_string(&reader);
        operation.migration_sql = cc_read_string(&reader);
        break;
    }
    enum cc_status status = cc_reader_end(&reader);
    if (status == CC_OK) {
        *operation_out = operation;
    }
    return status;
}

enum cc_status operation_peek(struct cc_slice bytes, struct operation *operation_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    struct operation operation = {0};
    read_head(&reader, &operation);
    if (!cc_reader_ok(&reader)) {
        return CC_MALFORMED;
    }
    *operation_out = operation;
    return CC_OK;
}
