// The file of a snapshot.
#include "proxy/postgres/snapshot_file.h"

#include "base/codec.h"
#include "base/crc32c.h"

#include <errno.h>

enum { HEAD_BYTES = 9, GROW_BYTES = 1 << 20 };

// -- Writing ---------------------------------------------------------------------------------------------------------------

static void put_head(struct cc_buffer *out, char kind, struct cc_slice body)
{
    cc_put_u8(out, (uint8_t)kind);
    cc_put_u32(out, (uint32_t)body.n);
    cc_put_u32(out, cc_crc32c(cc_crc32c(0, out->data, out->n), body.data, body.n));
}

void snapshot_put(struct snapshot_writer *writer, char kind, struct cc_slice body)
{
    struct cc_buffer head = {0};
    put_head(&head, kind, body);
    bool good = fwrite(head.data, 1, head.n, writer->file) == head.n && (body.n == 0 || fwrite(body.data, 1, body.n, writer->file) == body.n);
    if (!good && writer->status == CC_OK) {
        writer->status = errno == ENOSPC || errno == EDQUOT ? CC_NO_SPACE : CC_IO;
    }
    writer->n_sections++;
    cc_buffer_finish(&head);
}

static void put_and_finish(struct snapshot_writer *writer, char kind, struct cc_buffer *body)
{
    snapshot_put(writer, kind, cc_buffer_slice(body));
    cc_buffer_finish(body);
}

void snapshot_put_head(struct snapshot_writer *writer, const struct snapshot_head *head)
{
    struct cc_buffer body = {0};
    cc_put_u16(&body, SNAPSHOT_FORMAT);
    cc_put_string(&body, head->cluster);
    cc_put_u64(&body, head->index);
    cc_put_u32(&body, head->schema_version);
    crdt_frontier_put(&body, &head->frontier);
    put_and_finish(writer, 'H', &body);
}

void snapshot_put_named(struct snapshot_writer *writer, char kind, struct cc_slice name, struct cc_slice text)
{
    struct cc_buffer body = {0};
    cc_put_string(&body, name);
    cc_put_string(&body, text);
    put_and_finish(writer, kind, &body);
}

void snapshot_put_sequence(struct snapshot_writer *writer, struct cc_slice name, struct cc_slice value, bool is_called)
{
    struct cc_buffer body = {0};
    cc_put_string(&body, name);
    cc_put_string(&body, value);
    cc_put_u8(&body, is_called ? 1 : 0);
    put_and_finish(writer, 'S', &body);
}

void snapshot_put_end(struct snapshot_writer *writer)
{
    struct cc_buffer body = {0};
    cc_put_u64(&body, writer->n_sections);
    put_and_finish(writer, 'E', &body);
}

// -- Reading ---------------------------------------------------------------------------------------------------------------

static bool read_body(struct snapshot_reader *reader, size_t n)
{
    struct cc_buffer *body = &reader->body;
    cc_buffer_clear(body);
    while (body->n < n) {
        size_t n_wanted = n - body->n < GROW_BYTES ? n - body->n : GROW_BYTES;
        cc_buffer_reserve(body, n_wanted);
        size_t n_read = fread(body->data + body->n, 1, n_wanted, reader->file);
        body->n += n_read;
        if (n_read < n_wanted) {
            return false;
        }
    }
    return true;
}

enum cc_status snapshot_next(struct snapshot_reader *reader)
{
    uint8_t bytes[HEAD_BYTES];
    if (fread(bytes, 1, sizeof(bytes), reader->file) != sizeof(bytes)) {
        return CC_CORRUPT;
    }
    struct cc_reader head = cc_reader_of(cc_slice_of(bytes, sizeof(bytes)));
    reader->kind = (char)cc_read_u8(&head);
    uint32_t n = cc_read_u32(&head);
    uint32_t crc = cc_read_u32(&head);
    if (n > SNAPSHOT_SECTION_BYTES_MAX || !read_body(reader, n)) {
        return CC_CORRUPT;
    }
    reader->n_sections++;
    return cc_crc32c(cc_crc32c(0, bytes, HEAD_BYTES - sizeof(crc)), reader->body.data, n) == crc ? CC_OK : CC_CORRUPT;
}

static struct cc_reader begin(const struct snapshot_reader *reader)
{
    return cc_reader_of(cc_buffer_slice(&reader->body));
}

enum cc_status snapshot_read_head(const struct snapshot_reader *reader, struct snapshot_head *head_out)
{
    struct cc_reader body = begin(reader);
    struct snapshot_head head = {.format = cc_read_u16(&body)};
    if (reader->kind != 'H' || !cc_reader_ok(&body)) {
        return CC_CORRUPT;
    }
    if (head.format == SNAPSHOT_FORMAT) {
        head.cluster = cc_read_string(&body);
        head.index = cc_read_u64(&body);
        head.schema_version = cc_read_u32(&body);
        if (crdt_frontier_read(&body, &head.frontier) != CC_OK || cc_reader_end(&body) != CC_OK) {
            return CC_CORRUPT;
        }
    }
    *head_out = head;
    return CC_OK;
}

enum cc_status snapshot_read_named(const struct snapshot_reader *reader, struct cc_slice *name_out, struct cc_slice *text_out)
{
    struct cc_reader body = begin(reader);
    struct cc_slice name = cc_read_string(&body);
    struct cc_slice text = cc_read_string(&body);
    if ((reader->kind != 'M' && reader->kind != 'T') || cc_reader_end(&body) != CC_OK) {
        return CC_CORRUPT;
    }
    *name_out = name;
    *text_out = text;
    return CC_OK;
}

enum cc_status snapshot_read_sequence(const struct snapshot_reader *reader, struct cc_slice *name_out, struct cc_slice *value_out,
                                      bool *is_called_out)
{
    struct cc_reader body = begin(reader);
    struct cc_slice name = cc_read_string(&body);
    struct cc_slice value = cc_read_string(&body);
    uint8_t is_called = cc_read_u8(&body);
    if (reader->kind != 'S' || cc_reader_end(&body) != CC_OK || is_called > 1) {
        return CC_CORRUPT;
    }
    *name_out = name;
    *value_out = value;
    *is_called_out = is_called == 1;
    return CC_OK;
}

enum cc_status snapshot_read_end(const struct snapshot_reader *reader)
{
    struct cc_reader body = begin(reader);
    uint64_t n_before = cc_read_u64(&body);
    bool good = reader->kind == 'E' && cc_reader_end(&body) == CC_OK && n_before == reader->n_sections - 1;
    return good ? CC_OK : CC_CORRUPT;
}
