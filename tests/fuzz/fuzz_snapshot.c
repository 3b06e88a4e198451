// Fuzz: whatever a snapshot's file holds, it is read to an end without harm, and what can be read is what would be written.
// First byte even: the rest is a file. Odd: it is a list of sections {u8 kind, u16 length, body}, whose checksums are made right first.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "proxy/postgres/snapshot_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct written {
    char *bytes;
    size_t n;
    struct snapshot_writer writer;
};

static void open_writer(struct written *written)
{
    *written = (struct written){0};
    written->writer.file = open_memstream(&written->bytes, &written->n);
    assert(written->writer.file != NULL);
}

static void sections_of(struct written *written, struct cc_slice list)
{
    struct cc_reader reader = cc_reader_of(list);
    while (cc_reader_left(&reader) > 0 && cc_reader_ok(&reader)) {
        char kind = (char)cc_read_u8(&reader);
        size_t n = cc_read_u16(&reader);
        snapshot_put(&written->writer, kind, cc_read_bytes(&reader, n < cc_reader_left(&reader) ? n : cc_reader_left(&reader)));
    }
}

// What the section says is written again. False: it says nothing that we know.
static bool write_again(const struct snapshot_reader *reader, struct snapshot_writer *writer)
{
    struct snapshot_head head;
    struct cc_slice name, text;
    bool is_called;
    if (snapshot_read_head(reader, &head) == CC_OK && head.format == SNAPSHOT_FORMAT) {
        snapshot_put_head(writer, &head);
        return true;
    }
    if (snapshot_read_named(reader, &name, &text) == CC_OK) {
        snapshot_put_named(writer, reader->kind, name, text);
        return true;
    }
    if (snapshot_read_sequence(reader, &name, &text, &is_called) == CC_OK) {
        snapshot_put_sequence(writer, name, text, is_called);
        return true;
    }
    return false;
}

static void read_file(FILE *file, size_t n_bytes)
{
    struct snapshot_reader reader = {.file = file};
    while (snapshot_next(&reader) == CC_OK) {
        assert(reader.body.capacity <= 2 * (n_bytes + (2 << 20))); // not what a length claims
        struct written again;
        open_writer(&again);
        bool is_known = write_again(&reader, &again.writer);
        (void)fclose(again.writer.file);
        struct cc_slice body = cc_buffer_slice(&reader.body);
        if (is_known) {
            // Varints may be longer than they need be; whatever follows them is the same.
            assert(again.n - 9 <= body.n);
            if (again.n - 9 == body.n) {
                assert(memcmp(again.bytes + 9, body.data, body.n) == 0);
            }
        }
        free(again.bytes);
        (void)!snapshot_read_end(&reader);
    }
    cc_buffer_finish(&reader.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2) {
        return 0;
    }
    struct written made;
    open_writer(&made);
    if (data[0] % 2 == 1) {
        sections_of(&made, cc_slice_of(data + 1, n - 1));
    } else {
        (void)fwrite(data + 1, 1, n - 1, made.writer.file);
    }
    (void)fclose(made.writer.file);
    if (made.n > 0) {
        FILE *file = fmemopen(made.bytes, made.n, "r");
        assert(file != NULL);
        read_file(file, made.n);
        (void)fclose(file);
    }
    free(made.bytes);
    return 0;
}
