// Reading back from the log: entries for slow followers, own weak changes after a crash of PostgreSQL.
#include <string.h>

#include "consensus/wal_internal.h"

enum { WINDOW_BYTES = 256 << 10 };

// -- Records one after the other ------------------------------------------------------------------------------------

static void walk_seek(struct wal_walk *walk, uint64_t sequence, uint64_t offset)
{
    char name[WAL_NAME_BYTES];
    wal_segment_name(sequence, name);
    if (strcmp(name, walk->name) != 0 || offset < walk->window_start || offset > walk->window_start + walk->window.n) {
        memcpy(walk->name, name, sizeof(name));
        walk->window_start = offset;
        cc_buffer_clear(&walk->window);
    }
    walk->offset = offset;
}

void wal_walk_start(struct wal_walk *walk, const struct wal_disk *disk, uint64_t sequence, uint64_t offset)
{
    *walk = (struct wal_walk){.disk = disk};
    walk_seek(walk, sequence, offset);
}

void wal_walk_finish(struct wal_walk *walk)
{
    cc_buffer_finish(&walk->window);
}

static size_t bytes_ahead(const struct wal_walk *walk)
{
    return (size_t)(walk->window_start + walk->window.n - walk->offset);
}

static const uint8_t *here(const struct wal_walk *walk)
{
    return walk->window.data + (walk->offset - walk->window_start);
}

// Makes n bytes from the offset on stand in the window. CC_CORRUPT when the file ends before.
static enum cc_status fill(struct wal_walk *walk, size_t n)
{
    if (bytes_ahead(walk) >= n) {
        return CC_OK;
    }
    size_t n_window = n > WINDOW_BYTES ? n : WINDOW_BYTES;
    cc_buffer_clear(&walk->window);
    cc_buffer_reserve(&walk->window, n_window);
    walk->window_start = walk->offset;
    enum cc_status status =
        walk->disk->read(walk->disk->context, walk->name, walk->offset, walk->window.data, n_window, &walk->window.n);
    if (status != CC_OK) {
        return status;
    }
    return walk->window.n >= n ? CC_OK : CC_CORRUPT;
}

enum cc_status wal_walk_next(struct wal_walk *walk, struct wal_frame *frame_out)
{
    enum cc_status status = fill(walk, WAL_HEADER_BYTES);
    if (status != CC_OK) {
        return status;
    }
    size_t n_bytes;
    if (!wal_frame_size(here(walk), &n_bytes)) {
        return CC_CORRUPT;
    }
    status = fill(walk, n_bytes);
    if (status != CC_OK) {
        return status;
    }
    struct wal_frame frame;
    if (wal_frame_read(cc_slice_of(here(walk), n_bytes), &frame) != CC_OK) {
        return CC_CORRUPT;
    }
    walk->offset += frame.n_bytes;
    *frame_out = frame;
    return CC_OK;
}

// -- Entries --------------------------------------------------------------------------------------------------------

enum cc_status wal_plan_load(const struct wal *wal, uint64_t first, uint64_t last, struct wal_plan *plan_out)
{
    const struct wal_point *point = wal_index_find(&wal->index, first);
    if (point == NULL || first <= wal->state.base_index || first > last || point->number > wal->state.durable_number) {
        return CC_NOT_FOUND;
    }
    *plan_out = (struct wal_plan){.first = first, .last = last, .durable_number = wal->state.durable_number};
    if (plan_out->last > wal->index.last) {
        plan_out->last = wal->index.last;
    }
    const struct wal_point *end = wal->index.points + wal->index.n_points;
    for (; point < end && point->index <= plan_out->last; point++) {
        if (plan_out->n_points == WAL_PLAN_POINTS_MAX || point->number > plan_out->durable_number) {
            plan_out->last = point->index - 1;
            break;
        }
        plan_out->points[plan_out->n_points++] = *point;
    }
    return CC_OK;
}

// The next ENTRY record for index `wanted`, from where the walk stands. CC_NOT_FOUND: not durable yet.
static enum cc_status find_entry(struct wal_walk *walk, const struct wal_plan *plan, uint64_t wanted,
                                 struct cc_slice *body_out)
{
    for (;;) {
        struct wal_frame frame;
        enum cc_status status = wal_walk_next(walk, &frame);
        if (status != CC_OK) {
            return status;
        }
        if (frame.number > plan->durable_number) {
            return CC_NOT_FOUND;
        }
        if (frame.kind != WAL_ENTRY) {
            continue;
        }
        struct wal_entry_head head;
        if (wal_read_entry_head(frame.body, &head) != CC_OK || head.index > wanted) {
            return CC_CORRUPT;
        }
        if (head.index == wanted) {
            *body_out = frame.body;
            return CC_OK;
        }
    }
}

static void unref_all(struct raft_entry *entries, size_t n_entries)
{
    for (size_t i = 0; i < n_entries; i++) {
        cc_blob_unref(entries[i].payload);
    }
}

struct plan_progress {
    size_t n_entries;
    size_t n_bytes;
    size_t i_point;
};

// Reads entry `wanted` unless it would exceed n_bytes_max.
static enum cc_status read_planned(struct wal_walk *walk, const struct wal_plan *plan, uint64_t wanted,
                                   size_t n_bytes_max, struct plan_progress *progress, struct raft_entry *entry_out)
{
    if (progress->i_point + 1 < plan->n_points && plan->points[progress->i_point + 1].index == wanted) {
        progress->i_point++;
        const struct wal_point *point = &plan->points[progress->i_point];
        walk_seek(walk, point->sequence, point->offset);
    }
    struct cc_slice body;
    enum cc_status status = find_entry(walk, plan, wanted, &body);
    if (status != CC_OK) {
        return status;
    }
    if (progress->n_entries > 0 && progress->n_bytes + body.n > n_bytes_max) {
        return CC_TOO_LARGE;
    }
    status = wal_read_entry(body, entry_out);
    if (status != CC_OK) {
        return CC_CORRUPT;
    }
    progress->n_bytes += body.n;
    progress->n_entries++;
    return CC_OK;
}

enum cc_status wal_plan_read(const struct wal_disk *disk, const struct wal_plan *plan, size_t n_bytes_max,
                             struct raft_entry *entries_out, size_t n_entries_max, size_t *n_entries_out)
{
    struct plan_progress progress = {0};
    struct wal_walk walk;
    wal_walk_start(&walk, disk, plan->points[0].sequence, plan->points[0].offset);
    enum cc_status status = CC_OK;
    for (uint64_t wanted = plan->first; wanted <= plan->last && progress.n_entries < n_entries_max; wanted++) {
        status = read_planned(&walk, plan, wanted, n_bytes_max, &progress, &entries_out[progress.n_entries]);
        if (status != CC_OK) {
            break;
        }
    }
    wal_walk_finish(&walk);
    bool cut_short = status == CC_TOO_LARGE || (status == CC_NOT_FOUND && progress.n_entries > 0);
    if (status != CC_OK && !cut_short) {
        unref_all(entries_out, progress.n_entries);
        return status;
    }
    *n_entries_out = progress.n_entries;
    return CC_OK;
}

enum cc_status wal_load_entries(const struct wal *wal, uint64_t first, uint64_t last, size_t n_bytes_max,
                                struct raft_entry *entries_out, size_t n_entries_max, size_t *n_entries_out)
{
    struct wal_plan plan;
    enum cc_status status = wal_plan_load(wal, first, last, &plan);
    if (status != CC_OK) {
        return status;
    }
    return wal_plan_read(wal->disk, &plan, n_bytes_max, entries_out, n_entries_max, n_entries_out);
}

// -- Weak changes ---------------------------------------------------------------------------------------------------

// Where the durable records of a segment end: all of it, but for what is staged in the last one.
static uint64_t durable_end(const struct wal *wal, const struct wal_segment *segment)
{
    return segment == wal_last_segment(wal) ? segment->end - wal->staged.n : segment->end;
}

bool wal_plan_changes(const struct wal *wal, const struct wal_cursor *cursor, struct wal_stretch *stretch_out)
{
    for (size_t i = 0; i < wal->n_segments; i++) {
        const struct wal_segment *segment = &wal->segments[i];
        if (segment->change_first == 0 || segment->sequence < cursor->sequence) {
            continue;
        }
        uint64_t offset = segment->change_first - 1;
        if (segment->sequence == cursor->sequence && cursor->offset > offset) {
            offset = cursor->offset;
        }
        uint64_t end = durable_end(wal, segment);
        if (offset < end) {
            *stretch_out = (struct wal_stretch){.sequence = segment->sequence, .offset = offset, .end = end};
            return true;
        }
    }
    return false;
}

enum cc_status wal_stretch_read(const struct wal_disk *disk, const struct wal_stretch *stretch, size_t n_bytes_max,
                                wal_visit visit, void *context, struct wal_cursor *cursor_out)
{
    struct wal_walk walk;
    wal_walk_start(&walk, disk, stretch->sequence, stretch->offset);
    enum cc_status status = CC_OK;
    size_t n_bytes = 0;
    while (status == CC_OK && walk.offset < stretch->end && n_bytes < n_bytes_max) {
        struct wal_frame frame;
        status = wal_walk_next(&walk, &frame);
        if (status == CC_OK && frame.kind == WAL_CHANGE) {
            struct wal_record record = {.kind = frame.kind, .number = frame.number, .body = frame.body};
            n_bytes += frame.body.n;
            status = visit(context, &record);
        }
    }
    uint64_t offset = walk.offset;
    wal_walk_finish(&walk);
    if (status == CC_OK) {
        *cursor_out = (struct wal_cursor){.sequence = stretch->sequence, .offset = offset};
    }
    return status;
}

enum cc_status wal_load_changes(const struct wal *wal, struct wal_cursor *cursor, size_t n_bytes_max, wal_visit visit,
                                void *context, bool *done_out)
{
    struct wal_stretch stretch;
    if (wal_plan_changes(wal, cursor, &stretch)) {
        enum cc_status status = wal_stretch_read(wal->disk, &stretch, n_bytes_max, visit, context, cursor);
        if (status != CC_OK) {
            return status;
        }
    }
    *done_out = !wal_plan_changes(wal, cursor, &stretch);
    return CC_OK;
}
