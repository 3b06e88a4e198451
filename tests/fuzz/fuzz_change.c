// Whatever bytes a peer sends as a change set: refused, or read, written back and merged without harm. The same for stored
// stamps, remains and frontiers. The first byte chooses.
#include "crdt/renew.h"
#include "crdt/row.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { N_COLUMNS = 5 };

static const struct crdt_column columns[N_COLUMNS] = {
    {.name = {(const uint8_t *)"id", 2}, .key = true},
    {.name = {(const uint8_t *)"status", 6}, .cleared = {(const uint8_t *)"x", 1}},
    {.name = {(const uint8_t *)"name", 4}, .sticky = true},
    {.name = {(const uint8_t *)"views", 5}, .kind = {.merge = CRDT_COUNTER}},
    {.name = {(const uint8_t *)"tags", 4}, .kind = {.merge = CRDT_SET}},
};

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

// What a local write makes of whatever is held.
static void write_parts(const struct crdt_row *row)
{
    static const struct cc_slice values[] = {{(const uint8_t *)"7", 1}, {(const uint8_t *)"{a,\"b c\"}", 9}};
    for (uint32_t i = N_COLUMNS - 2; i < N_COLUMNS; i++) {
        struct crdt_part_write write = {.stamp = {.hlc = UINT64_MAX, .replica = 1}, .value = values[i - (N_COLUMNS - 2)]};
        struct cc_slice bytes;
        must(crdt_part_make(&columns[i].kind, &row->registers[i].parts, &write, row->arena, &bytes) == CC_OK);
    }
}

static struct crdt_row *row_of(void *context, const struct crdt_row_change *change)
{
    return change->key.n % 8 == 0 ? NULL : context;
}

// Whatever is renewed upon whatever can be written and read.
static void check_renewal(const struct crdt_change_set *old, struct crdt_row *row, struct cc_arena *arena)
{
    static const struct clock_stamp stamp = {.hlc = UINT64_MAX, .replica = 1, .incarnation = 1};
    struct crdt_change_set set, reread;
    if (old->sequence == 0) {
        return;
    }
    crdt_change_set_renew(old, &stamp, (struct cc_slice){0}, 1, row_of, row, arena, &set);
    struct cc_buffer bytes = {0};
    crdt_change_set_put(&bytes, &set);
    must(crdt_change_set_read(cc_buffer_slice(&bytes), arena, &reread) == CC_OK && reread.n_rows == set.n_rows && reread.n_lost == set.n_lost);
    cc_buffer_finish(&bytes);
}

static void check_set(struct cc_slice bytes)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct crdt_change_set set;
    struct crdt_change_set peeked;
    if (crdt_change_set_read(bytes, &arena, &set) == CC_OK) {
        must(crdt_change_set_peek(bytes, &peeked) == CC_OK && peeked.sequence == set.sequence);
        struct cc_buffer again = {0};
        crdt_change_set_put(&again, &set);
        struct crdt_change_set reread;
        must(crdt_change_set_read(cc_buffer_slice(&again), &arena, &reread) == CC_OK && reread.n_rows == set.n_rows);
        cc_buffer_finish(&again);

        struct crdt_register registers[N_COLUMNS];
        struct crdt_row row;
        crdt_row_init(&row, columns, N_COLUMNS, registers, &arena);
        for (uint32_t i = 0; i < set.n_rows; i++) {
            crdt_row_merge(&row, &set.rows[i], &set.stamp);
            crdt_row_merge(&row, &set.rows[i], &set.stamp);
        }
        must(!crdt_row_join(&row, &row));
        write_parts(&row);
        crdt_change_set_join(&set, &arena);
        must(set.n_rows <= reread.n_rows);
        check_renewal(&set, &row, &arena);
    }
    cc_arena_finish(&arena);
}

static void check_stamps(struct cc_slice text)
{
    struct crdt_register registers[N_COLUMNS];
    struct crdt_row row;
    struct cc_arena arena;
    cc_arena_init(&arena);
    crdt_row_init(&row, columns, N_COLUMNS, registers, &arena);
    if (crdt_stamps_read(text, &row) == CC_OK) {
        struct cc_buffer again = {0};
        crdt_stamps_put(&again, &row);
        must(crdt_stamps_read(cc_buffer_slice(&again), &row) == CC_OK);
        write_parts(&row);
        cc_buffer_finish(&again);
    }
    cc_arena_finish(&arena);
}

static void check_remains(struct cc_slice bytes)
{
    struct crdt_register registers[N_COLUMNS];
    struct crdt_row row;
    struct cc_arena arena;
    cc_arena_init(&arena);
    crdt_row_init(&row, columns, N_COLUMNS, registers, &arena);
    if (crdt_remains_read(bytes, &row) == CC_OK) {
        struct cc_buffer again = {0};
        crdt_remains_put(&again, &row);
        must(crdt_remains_read(cc_buffer_slice(&again), &row) == CC_OK);
        write_parts(&row);
        cc_buffer_finish(&again);
    }
    cc_arena_finish(&arena);
}

static void check_frontier(struct cc_slice bytes)
{
    struct cc_reader reader = cc_reader_of(bytes);
    struct crdt_frontier frontier;
    if (crdt_frontier_read(&reader, &frontier) == CC_OK) {
        must(crdt_frontier_covers(&frontier, &frontier));
        struct cc_buffer again = {0};
        crdt_frontier_put(&again, &frontier);
        must(again.n == bytes.n - cc_reader_left(&reader));
        cc_buffer_finish(&again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) {
        return 0;
    }
    struct cc_slice rest = cc_slice_of(data + 1, n - 1);
    switch (data[0] % 4) {
    case 0:
        check_stamps(rest);
        check_set(cc_slice_of(data, n));
        break;
    case 1:
        check_set(cc_slice_of(data, n)); // a set's first byte is its version: 1 here, 2 and 3 below, 4 above
        break;
    case 2:
        check_remains(rest);
        check_set(cc_slice_of(data, n));
        break;
    case 3:
        check_frontier(rest);
        check_set(cc_slice_of(data, n));
        break;
    }
    return 0;
}
