// Opening the log: find the segments, check every record, tell a torn tail from damage, replay.
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "consensus/wal_internal.h"

// No segment that we make comes near: a larger file is not ours.
static const uint64_t segment_bytes_sane = 1ull << 30;

struct recovery {
    struct wal *wal;
    struct wal_report *report;
    struct cc_buffer bytes; // of the segment looked at
    uint64_t n_bytes_file;  // its size
    bool torn;              // an invalid record was found; the segment it stands in is the last one that has records
    uint64_t torn_end;      // in it, after the last byte that is not zero
    uint64_t last_first;    // number of the first record of the last write
    uint64_t last_first_at; // its offset in the last segment that has records
};

// -- Places ---------------------------------------------------------------------------------------------------------

static enum cc_status say(struct recovery *recovery, enum cc_status status, uint64_t sequence, uint64_t offset,
                          const char *reason)
{
    struct wal_report *report = recovery->report;
    wal_segment_name(sequence, report->segment);
    report->offset = offset;
    report->number = recovery->wal->state.next_number;
    report->reason = reason;
    return status;
}

// -- Which segments there are ---------------------------------------------------------------------------------------

static bool parse_name(struct cc_slice name, uint64_t *sequence_out)
{
    static const char suffix[] = ".log";
    enum { DIGITS = 16 };
    if (name.n != DIGITS + sizeof(suffix) - 1 || memcmp(name.data + DIGITS, suffix, sizeof(suffix) - 1) != 0) {
        return false;
    }
    uint64_t sequence = 0;
    for (size_t i = 0; i < DIGITS; i++) {
        uint8_t c = name.data[i];
        bool decimal = c >= '0' && c <= '9';
        bool letter = c >= 'a' && c <= 'f';
        if (!decimal && !letter) {
            return false;
        }
        sequence = sequence << 4 | (uint64_t)(decimal ? c - '0' : c - 'a' + 10);
    }
    if (sequence == 0 || sequence == UINT64_MAX) {
        return false;
    }
    *sequence_out = sequence;
    return true;
}

static int compare_sequences(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

struct sequences {
    uint64_t *items;
    size_t n;
    size_t capacity;
};

static enum cc_status list_segments(const struct wal_disk *disk, struct sequences *sequences)
{
    struct cc_buffer names = {0};
    enum cc_status status = disk->list(disk->context, &names);
    for (size_t at = 0; status == CC_OK && at < names.n;) {
        const uint8_t *end = memchr(names.data + at, '\n', names.n - at);
        size_t n = end != NULL ? (size_t)(end - names.data) - at : names.n - at;
        uint64_t sequence;
        if (parse_name(cc_slice_of(names.data + at, n), &sequence)) {
            sequences->items =
                cc_grow(sequences->items, &sequences->capacity, sequences->n + 1, sizeof(*sequences->items));
            sequences->items[sequences->n++] = sequence;
        }
        at += n + 1;
    }
    cc_buffer_finish(&names);
    if (sequences->n > 1) {
        qsort(sequences->items, sequences->n, sizeof(*sequences->items), compare_sequences);
    }
    return status;
}

// -- One segment ----------------------------------------------------------------------------------------------------

static enum cc_status read_segment(struct recovery *recovery, uint64_t sequence)
{
    const struct wal_disk *disk = recovery->wal->disk;
    char name[WAL_NAME_BYTES];
    wal_segment_name(sequence, name);
    uint64_t n_bytes;
    enum cc_status status = disk->size(disk->context, name, &n_bytes);
    if (status != CC_OK) {
        return say(recovery, status, sequence, 0, "the segment cannot be read");
    }
    if (n_bytes > segment_bytes_sane) {
        return say(recovery, CC_CORRUPT, sequence, 0, "the segment is larger than any that Caucus makes");
    }
    cc_buffer_clear(&recovery->bytes);
    cc_buffer_reserve(&recovery->bytes, (size_t)n_bytes);
    status = disk->read(disk->context, name, 0, recovery->bytes.data, (size_t)n_bytes, &recovery->bytes.n);
    if (status != CC_OK || recovery->bytes.n != n_bytes) {
        return say(recovery, status != CC_OK ? status : CC_IO, sequence, 0, "the segment cannot be read");
    }
    recovery->n_bytes_file = n_bytes;
    return CC_OK;
}

static bool is_zero(const uint8_t *data, size_t n)
{
    return n == 0 || (data[0] == 0 && memcmp(data, data + 1, n - 1) == 0);
}

static size_t end_of_content(struct cc_slice bytes)
{
    size_t n = bytes.n;
    while (n > 0 && bytes.data[n - 1] == 0) {
        n--;
    }
    return n;
}

// Something is wrong at `offset`, where record next_number should stand. Does a record after it prove that it had been synced?
// Records of the same write prove nothing: sectors of one write reach the disk in any order.
static bool was_synced(const struct recovery *recovery, size_t offset)
{
    const struct cc_buffer *bytes = &recovery->bytes;
    uint64_t expected = recovery->wal->state.next_number;
    size_t end = end_of_content(cc_buffer_slice(bytes));
    for (size_t at = offset + WAL_ALIGNMENT; at + WAL_HEADER_BYTES <= bytes->n && at < end;) {
        struct wal_frame frame;
        if (wal_frame_read(cc_slice_of(bytes->data + at, bytes->n - at), &frame) != CC_OK || frame.number <= expected) {
            at += WAL_ALIGNMENT;
            continue;
        }
        if (frame.first > expected) {
            return true;
        }
        at += frame.n_bytes;
    }
    return false;
}

static enum cc_status judge_invalid(struct recovery *recovery, uint64_t sequence, size_t offset)
{
    struct cc_slice rest = cc_slice_of(recovery->bytes.data + offset, recovery->bytes.n - offset);
    if (is_zero(rest.data, rest.n)) {
        return CC_OK;
    }
    if (was_synced(recovery, offset)) {
        return say(recovery, CC_CORRUPT, sequence, offset, "a damaged record, with valid ones after it");
    }
    recovery->torn = true;
    recovery->torn_end = offset + end_of_content(rest);
    recovery->report->cut_bytes = recovery->torn_end - offset;
    return say(recovery, CC_OK, sequence, offset, "a torn tail");
}

static enum cc_status take_record(struct recovery *recovery, uint64_t sequence, size_t offset,
                                  const struct wal_frame *frame)
{
    struct wal *wal = recovery->wal;
    bool is_first = wal->n_segments == 1 && wal_last_segment(wal)->n_records == 0;
    if (!is_first && frame->number != wal->state.next_number) {
        return say(recovery, CC_CORRUPT, sequence, offset, "records are missing");
    }
    const char *reason = NULL;
    enum cc_status status = wal_apply(wal, frame, offset, &reason);
    if (status != CC_OK) {
        return say(recovery, status, sequence, offset, reason);
    }
    if (frame->first != recovery->last_first || offset == 0) {
        recovery->last_first = frame->first;
        recovery->last_first_at = offset;
    }
    recovery->report->n_records++;
    return CC_OK;
}

static enum cc_status scan_records(struct recovery *recovery, uint64_t sequence)
{
    size_t offset = 0;
    for (;;) {
        struct wal_frame frame;
        struct cc_slice rest = cc_slice_of(recovery->bytes.data + offset, recovery->bytes.n - offset);
        enum cc_status status = wal_frame_read(rest, &frame);
        if (status == CC_UNSUPPORTED) {
            return say(recovery, status, sequence, offset, "a record that this version does not know");
        }
        if (status != CC_OK) {
            recovery->report->n_bytes += offset;
            return judge_invalid(recovery, sequence, offset);
        }
        status = take_record(recovery, sequence, offset, &frame);
        if (status != CC_OK) {
            return status;
        }
        offset += frame.n_bytes;
    }
}

// A segment after the torn one: the torn one had been synced before anything was written here.
static enum cc_status expect_unused(struct recovery *recovery)
{
    if (is_zero(recovery->bytes.data, recovery->bytes.n)) {
        return CC_OK;
    }
    recovery->report->cut_bytes = 0;
    recovery->report->reason = "a damaged record, with a later segment in use";
    return CC_CORRUPT;
}

static enum cc_status scan_segment(struct recovery *recovery, uint64_t sequence)
{
    enum cc_status status = read_segment(recovery, sequence);
    if (status != CC_OK) {
        return status;
    }
    recovery->report->n_segments++;
    if (recovery->torn) {
        return expect_unused(recovery);
    }
    struct wal *wal = recovery->wal;
    wal_add_segment(wal, sequence, recovery->n_bytes_file);
    status = scan_records(recovery, sequence);
    if (status == CC_OK && wal_last_segment(wal)->n_records == 0 && !recovery->torn && wal->n_segments > 1) {
        wal_drop_segment(wal); // prepared, not yet used
    }
    return status;
}

// -- The whole ------------------------------------------------------------------------------------------------------

static enum cc_status scan_all(struct recovery *recovery, const struct sequences *sequences)
{
    for (size_t i = 0; i < sequences->n; i++) {
        if (i > 0 && sequences->items[i] != sequences->items[i - 1] + 1) {
            return say(recovery, CC_CORRUPT, sequences->items[i - 1] + 1, 0, "a segment is missing");
        }
        enum cc_status status = scan_segment(recovery, sequences->items[i]);
        if (status != CC_OK) {
            return status;
        }
    }
    return CC_OK;
}

static uint64_t first_entry(const struct wal *wal)
{
    if (wal_index_is_empty(&wal->index)) {
        return 0;
    }
    uint64_t first = wal->index.points[0].index;
    return first > wal->state.base_index ? first : wal->state.base_index + 1;
}

// What only the end of the log can tell.
static enum cc_status check_whole(struct recovery *recovery)
{
    const struct wal *wal = recovery->wal;
    const struct wal_state *state = &wal->state;
    if (wal->n_segments == 0) {
        return CC_OK;
    }
    const struct wal_segment *last = wal_last_segment(wal);
    if (first_entry(wal) > state->base_index + 1) {
        return say(recovery, CC_CORRUPT, wal->segments[0].sequence, 0, "the log's first entries are missing");
    }
    if (state->mark.commit > state->last_index) {
        return say(recovery, CC_CORRUPT, last->sequence, last->end, "entries below the commit mark are missing");
    }
    return CC_OK;
}

static enum cc_status scan_log(struct recovery *recovery, struct sequences *sequences)
{
    struct wal *wal = recovery->wal;
    enum cc_status status = list_segments(wal->disk, sequences);
    if (status != CC_OK) {
        recovery->report->reason = "the directory of the log cannot be read";
        return status;
    }
    status = scan_all(recovery, sequences);
    recovery->report->first_index = first_entry(wal);
    recovery->report->last_index = wal->state.last_index;
    return status == CC_OK ? check_whole(recovery) : status;
}

// -- Replay ---------------------------------------------------------------------------------------------------------

static enum cc_status visit_batch(const struct wal_batch *batch, wal_visit visit, void *context)
{
    for (size_t at = 0; at < batch->bytes.n;) {
        struct wal_frame frame;
        wal_batch_next(batch, at, &frame);
        struct wal_record record = {.kind = frame.kind, .body = frame.body};
        enum cc_status status = visit(context, &record);
        if (status != CC_OK) {
            return status;
        }
        at += frame.n_bytes;
    }
    return CC_OK;
}

static enum cc_status replay_head(const struct wal_state *state, wal_visit visit, void *context)
{
    struct wal_batch batch = {0};
    wal_put_identity(&batch, &state->identity);
    wal_put_hard_state(&batch, state->hard_state);
    if (state->has_membership) {
        wal_put_membership(&batch, state->membership_index, &state->membership);
    }
    if (state->base_index > 0) {
        wal_put_base(&batch, state->base_index, state->base_term);
    }
    enum cc_status status = visit_batch(&batch, visit, context);
    wal_batch_finish(&batch);
    return status;
}

static enum cc_status replay_mark(const struct wal_state *state, wal_visit visit, void *context)
{
    struct wal_batch batch = {0};
    wal_put_mark(&batch, &state->mark);
    enum cc_status status = visit_batch(&batch, visit, context);
    wal_batch_finish(&batch);
    return status;
}

static bool is_living(const struct wal *wal, const struct wal_frame *frame)
{
    struct wal_entry_head head;
    if (frame->kind != WAL_ENTRY || wal_read_entry_head(frame->body, &head) != CC_OK) {
        return false;
    }
    return head.index > wal->state.base_index && wal_index_lives(&wal->index, head.index, frame->number);
}

static enum cc_status replay_segment(const struct wal *wal, const struct wal_segment *segment, wal_visit visit,
                                     void *context)
{
    struct wal_walk walk;
    wal_walk_start(&walk, wal->disk, segment->sequence, 0);
    enum cc_status status = CC_OK;
    while (status == CC_OK && walk.offset < segment->end) {
        struct wal_frame frame;
        status = wal_walk_next(&walk, &frame);
        if (status == CC_OK && (frame.kind == WAL_CHANGE || is_living(wal, &frame))) {
            struct wal_record record = {.kind = frame.kind, .number = frame.number, .body = frame.body};
            status = visit(context, &record);
        }
    }
    wal_walk_finish(&walk);
    return status;
}

static enum cc_status replay(const struct wal *wal, wal_visit visit, void *context, struct wal_report *report)
{
    if (visit == NULL || !wal->state.has_identity) {
        return CC_OK;
    }
    enum cc_status status = replay_head(&wal->state, visit, context);
    for (size_t i = 0; status == CC_OK && i < wal->n_segments; i++) {
        status = replay_segment(wal, &wal->segments[i], visit, context);
    }
    if (status == CC_OK) {
        status = replay_mark(&wal->state, visit, context);
    }
    if (status != CC_OK) {
        report->reason = "a record was refused while replaying";
    }
    return status;
}

// -- Repair ---------------------------------------------------------------------------------------------------------

// The last write may stand in the page cache only: its writer was killed before its sync, or its sync failed, after which
// the kernel holds the pages for clean. Written again, they are dirty again.
static enum cc_status rewrite_last(struct recovery *recovery, const char *name)
{
    const struct wal *wal = recovery->wal;
    const struct wal_segment *segment = wal_last_segment(wal);
    uint64_t from = recovery->last_first_at;
    if (segment->n_records == 0 || from >= segment->end) {
        return CC_OK;
    }
    enum cc_status status = read_segment(recovery, segment->sequence);
    if (status != CC_OK) {
        return status;
    }
    return wal->disk->write(wal->disk->context, name, from, recovery->bytes.data + from, (size_t)(segment->end - from));
}

static enum cc_status cut_tail(struct recovery *recovery, const char *name)
{
    const struct wal_disk *disk = recovery->wal->disk;
    static const uint8_t zeros[64 << 10];
    enum cc_status status = CC_OK;
    for (uint64_t at = wal_last_segment(recovery->wal)->end;
         status == CC_OK && recovery->torn && at < recovery->torn_end;) {
        uint64_t n_left = recovery->torn_end - at;
        size_t n = n_left < sizeof(zeros) ? (size_t)n_left : sizeof(zeros);
        status = disk->write(disk->context, name, at, zeros, n);
        at += n;
    }
    return status;
}

static enum cc_status make_durable(struct recovery *recovery)
{
    const struct wal_disk *disk = recovery->wal->disk;
    char name[WAL_NAME_BYTES];
    wal_segment_name(wal_last_segment(recovery->wal)->sequence, name);
    enum cc_status status = rewrite_last(recovery, name);
    if (status == CC_OK) {
        status = cut_tail(recovery, name);
    }
    if (status == CC_OK) {
        status = disk->sync(disk->context, name);
    }
    if (status != CC_OK) {
        return say(recovery, status, wal_last_segment(recovery->wal)->sequence, 0,
                   "the last segment cannot be written");
    }
    recovery->wal->state.durable_number = recovery->wal->state.next_number - 1;
    return CC_OK;
}

// Of the unused segments after the last one, the first is kept as the prepared one.
static enum cc_status settle_unused(struct recovery *recovery, const struct sequences *sequences)
{
    struct wal *wal = recovery->wal;
    uint64_t last = wal_last_segment(wal)->sequence;
    for (size_t i = sequences->n; i > 0 && sequences->items[i - 1] > last; i--) {
        char name[WAL_NAME_BYTES];
        wal_segment_name(sequences->items[i - 1], name);
        bool is_next = sequences->items[i - 1] == last + 1;
        enum cc_status status = is_next ? wal->disk->size(wal->disk->context, name, &wal->prepared_bytes)
                                        : wal->disk->remove(wal->disk->context, name);
        if (status != CC_OK) {
            return say(recovery, status, sequences->items[i - 1], 0, "an unused segment cannot be removed");
        }
        wal->prepared = is_next;
    }
    return CC_OK;
}

static enum cc_status make_first(struct recovery *recovery)
{
    struct wal *wal = recovery->wal;
    if (wal->n_segments > 0) {
        return CC_OK;
    }
    char name[WAL_NAME_BYTES];
    wal_segment_name(1, name);
    enum cc_status status = wal->disk->create(wal->disk->context, name, wal->options.segment_bytes);
    if (status != CC_OK) {
        return say(recovery, status, 1, 0, "the first segment cannot be made");
    }
    wal_add_segment(wal, 1, wal->options.segment_bytes);
    return CC_OK;
}

static enum cc_status repair(struct recovery *recovery, const struct sequences *sequences)
{
    struct wal *wal = recovery->wal;
    enum cc_status status = make_first(recovery);
    if (status == CC_OK) {
        status = make_durable(recovery);
    }
    if (status != CC_OK) {
        return status;
    }
    if (wal->n_segments > 1 && wal_last_segment(wal)->n_records == 0) {
        wal_drop_segment(wal); // its very first write was torn: unused again
    }
    return settle_unused(recovery, sequences);
}

static struct wal *wal_create(const struct wal_disk *disk, const struct wal_options *options)
{
    struct wal *wal = cc_alloc(sizeof(*wal));
    wal->disk = disk;
    if (options != NULL) {
        wal->options = *options;
    }
    if (wal->options.segment_bytes == 0) {
        wal->options.segment_bytes = WAL_SEGMENT_BYTES;
    }
    wal->state.next_number = 1;
    return wal;
}

static void recovery_finish(struct recovery *recovery, struct sequences *sequences)
{
    cc_buffer_finish(&recovery->bytes);
    free(sequences->items);
}

enum cc_status wal_open(const struct wal_disk *disk, const struct wal_options *options, wal_visit visit, void *context,
                        struct wal **wal_out, struct wal_report *report_out)
{
    *report_out = (struct wal_report){0};
    struct wal *wal = wal_create(disk, options);
    struct recovery recovery = {.wal = wal, .report = report_out};
    struct sequences sequences = {0};
    enum cc_status status = scan_log(&recovery, &sequences);
    if (status == CC_OK) {
        status = repair(&recovery, &sequences);
    }
    recovery_finish(&recovery, &sequences);
    if (status == CC_OK) {
        status = replay(wal, visit, context, report_out);
    }
    if (status != CC_OK) {
        wal_close(wal);
        return status;
    }
    *wal_out = wal;
    return CC_OK;
}

enum cc_status wal_verify(const struct wal_disk *disk, wal_visit visit, void *context, struct wal_state *state_out,
                          struct wal_report *report_out)
{
    *report_out = (struct wal_report){0};
    struct wal *wal = wal_create(disk, NULL);
    struct recovery recovery = {.wal = wal, .report = report_out};
    struct sequences sequences = {0};
    enum cc_status status = scan_log(&recovery, &sequences);
    recovery_finish(&recovery, &sequences);
    if (status == CC_OK) {
        status = replay(wal, visit, context, report_out);
    }
    if (status == CC_OK && state_out != NULL) {
        *state_out = wal->state;
    }
    wal_close(wal);
    return status;
}
