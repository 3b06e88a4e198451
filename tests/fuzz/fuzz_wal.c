// Fuzz: a segment of the log with any content opens or is refused; what opened can be appended to, read back and opened again.
// First byte even: the rest is the segment as it stands. Odd: the rest describes records {kind, length, body}, which get right
// headers, so that what lies behind the checksum is reached.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/wal_frame.h"
#include "sim/sim_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { SEGMENT_BYTES = 16 << 10, AT_KIND = 20, N_ENTRIES = 64 };

static const char segment_name[] = "0000000000000001.log";

static void put_records(uint8_t *segment, const uint8_t *data, size_t n)
{
    size_t end = 0;
    uint64_t number = 1;
    uint64_t first = 1;
    for (size_t at = 0; at + 2 <= n; number++) {
        size_t n_body = data[at + 1];
        if (n_body > n - at - 2) {
            n_body = n - at - 2;
        }
        struct wal_batch batch = {0};
        wal_put_change(&batch, cc_slice_of(data + at + 2, n_body));
        batch.bytes.data[AT_KIND] = data[at] & 0x0f;
        struct wal_frame frame;
        wal_batch_next(&batch, 0, &frame);
        first = (data[at] & 0x80) != 0 ? number : first; // the high bit begins a new write
        frame.number = number;
        frame.first = first;
        wal_frame_seal(batch.bytes.data, &frame);
        if (end + batch.bytes.n <= SEGMENT_BYTES) {
            memcpy(segment + end, batch.bytes.data, batch.bytes.n);
        }
        end += batch.bytes.n;
        at += 2 + n_body;
        wal_batch_finish(&batch);
    }
}

static enum cc_status look(void *context, const struct wal_record *record)
{
    (void)context;
    struct raft_entry entry;
    if (record->kind == WAL_ENTRY && wal_read_entry(record->body, &entry) == CC_OK) {
        cc_blob_unref(entry.payload);
    }
    return CC_OK;
}

static void read_all_back(const struct wal *wal)
{
    const struct wal_state *state = wal_state_of(wal);
    struct raft_entry entries[N_ENTRIES];
    size_t n_entries = 0;
    if (wal_load_entries(wal, state->base_index + 1, UINT64_MAX, 1 << 20, entries, N_ENTRIES, &n_entries) == CC_OK) {
        for (size_t i = 0; i < n_entries; i++) {
            assert(entries[i].index == state->base_index + 1 + i);
            cc_blob_unref(entries[i].payload);
        }
    }
    struct wal_cursor cursor = {0};
    bool done = false;
    while (!done) {
        enum cc_status status = wal_load_changes(wal, &cursor, 1000, look, NULL, &done);
        assert(status == CC_OK);
    }
}

static void go_on(struct sim_disk *disk, const struct wal_disk *functions, struct wal *wal)
{
    read_all_back(wal);
    struct wal_batch batch = {0};
    if (!wal_state_of(wal)->has_identity) {
        wal_put_identity(&batch, &(struct wal_identity){.cluster = "c", .replica = 1});
    }
    wal_put_change(&batch, cc_slice_text("more"));
    enum cc_status status = wal_append(wal, &batch);
    assert(status == CC_OK);
    uint64_t next = wal_state_of(wal)->next_number;
    wal_batch_finish(&batch);
    wal_close(wal);
    sim_disk_crash(disk, SIM_CRASH_LOSE_ALL, NULL);
    struct wal_report report;
    struct wal_options options = {.segment_bytes = SEGMENT_BYTES};
    status = wal_open(functions, &options, look, NULL, &wal, &report);
    assert(status == CC_OK && report.cut_bytes == 0);
    assert(wal_state_of(wal)->next_number == next);
    wal_close(wal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1 || n > SEGMENT_BYTES) {
        return 0;
    }
    struct sim_disk disk;
    sim_disk_init(&disk);
    struct wal_disk functions = sim_disk_functions(&disk);
    uint8_t *segment = calloc(1, SEGMENT_BYTES);
    if (data[0] % 2 == 0) {
        memcpy(segment, data + 1, n - 1);
    } else {
        put_records(segment, data + 1, n - 1);
    }
    enum cc_status status = functions.create(&disk, segment_name, SEGMENT_BYTES);
    assert(status == CC_OK);
    status = functions.write(&disk, segment_name, 0, segment, SEGMENT_BYTES);
    assert(status == CC_OK);
    free(segment);
    struct wal *wal = NULL;
    struct wal_report report;
    struct wal_options options = {.segment_bytes = SEGMENT_BYTES};
    status = wal_open(&functions, &options, look, NULL, &wal, &report);
    if (status == CC_OK) {
        go_on(&disk, &functions, wal);
    } else {
        assert(report.reason != NULL);
    }
    sim_disk_finish(&disk);
    return 0;
}
