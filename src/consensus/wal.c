// The write-ahead log: appending, roll-over to new segments, truncation. wal_open.c recovers it, wal_load.c reads it back.
#include "consensus/wal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/mutant.h"
#include "consensus/wal_internal.h"

// -- Segments -------------------------------------------------------------------------------------------------------

void wal_segment_name(uint64_t sequence, char name[WAL_NAME_BYTES])
{
    static const char digits[] = "0123456789abcdef"; // once for each write: printf is slow
    for (unsigned i = 0; i < 16; i++) {
        name[i] = digits[sequence >> (60 - 4 * i) & 15];
    }
    memcpy(name + 16, ".log", sizeof(".log"));
}

struct wal_segment *wal_last_segment(const struct wal *wal)
{
    assert(wal->n_segments > 0);
    return &wal->segments[wal->n_segments - 1];
}

struct wal_segment *wal_add_segment(struct wal *wal, uint64_t sequence, uint64_t n_bytes)
{
    wal->segments = cc_grow(wal->segments, &wal->segments_capacity, wal->n_segments + 1, sizeof(*wal->segments));
    struct wal_segment *segment = &wal->segments[wal->n_segments++];
    *segment = (struct wal_segment){.sequence = sequence, .n_bytes = n_bytes};
    return segment;
}

void wal_drop_segment(struct wal *wal)
{
    assert(wal->n_segments > 0);
    wal->n_segments--;
}

void wal_close(struct wal *wal)
{
    if (wal == NULL) {
        return;
    }
    free(wal->segments);
    wal_index_finish(&wal->index);
    cc_buffer_finish(&wal->staged);
    free(wal);
}

const struct wal_state *wal_state_of(const struct wal *wal)
{
    return &wal->state;
}

uint64_t wal_bytes(const struct wal *wal)
{
    uint64_t n_bytes = wal->prepared ? wal->prepared_bytes : 0;
    for (size_t i = 0; i < wal->n_segments; i++) {
        n_bytes += wal->segments[i].n_bytes;
    }
    return n_bytes;
}

// -- What a record means --------------------------------------------------------------------------------------------

static enum cc_status refuse(const char *reason, const char **reason_out)
{
    *reason_out = reason;
    return CC_CORRUPT;
}

static enum cc_status apply_identity(struct wal *wal, struct cc_slice body, const char **reason_out)
{
    struct wal_identity identity;
    enum cc_status status = wal_read_identity(body, &identity);
    if (status == CC_UNSUPPORTED) {
        *reason_out = "the log has a format that this version does not know";
        return status;
    }
    if (status != CC_OK) {
        return refuse("an identity record cannot be read", reason_out);
    }
    const struct wal_identity *known = &wal->state.identity;
    if (wal->state.has_identity &&
        (known->replica != identity.replica || strcmp(known->cluster, identity.cluster) != 0)) {
        return refuse("two segments belong to different replicas", reason_out);
    }
    wal->state.has_identity = true;
    wal->state.identity = identity;
    return CC_OK;
}

static enum cc_status apply_hard_state(struct wal *wal, const struct wal_frame *frame, const char **reason_out)
{
    struct raft_hard_state hard_state;
    if (wal_read_hard_state(frame->body, &hard_state) != CC_OK) {
        return refuse("a hard state record cannot be read", reason_out);
    }
    if (hard_state.term < wal->state.hard_state.term) {
        return refuse("the term falls", reason_out);
    }
    const struct raft_hard_state *known = &wal->state.hard_state;
    if (hard_state.term != known->term || hard_state.vote != known->vote) { // else it is said again, as each segment's beginning does
        wal->state.promise_number = frame->number;
    }
    wal->state.hard_state = hard_state;
    return CC_OK;
}

// Term of the entry at index; 0 when the log does not hold it.
static uint64_t term_at(const struct wal *wal, uint64_t index)
{
    if (index == wal->state.base_index) {
        return wal->state.base_term;
    }
    const struct wal_point *point = wal_index_find(&wal->index, index);
    return point != NULL ? point->term : 0;
}

static enum cc_status apply_entry(struct wal *wal, const struct wal_frame *frame, uint64_t offset,
                                  const char **reason_out)
{
    struct wal_state *state = &wal->state;
    struct wal_entry_head head;
    if (wal_read_entry_head(frame->body, &head) != CC_OK) {
        return refuse("an entry record cannot be read", reason_out);
    }
    if (head.index <= state->base_index) {
        return refuse("an entry lies below the base of the log", reason_out);
    }
    // A log whose beginning was removed says only later, in its last base record, where it starts.
    bool may_start_here = wal_index_is_empty(&wal->index);
    if (!may_start_here && head.index > state->last_index + 1) {
        return refuse("entries are missing", reason_out);
    }
    if (head.term < term_at(wal, head.index - 1)) {
        return refuse("the term of an entry falls", reason_out);
    }
    struct wal_segment *segment = wal_last_segment(wal);
    struct wal_point point = {.index = head.index,
                              .term = head.term,
                              .number = frame->number,
                              .sequence = segment->sequence,
                              .offset = offset};
    if (cc_mutant(CC_MUTANT_FIRST_RECORD_WINS) && wal_index_find(&wal->index, head.index) != NULL) {
        return CC_OK;
    }
    wal_index_put(&wal->index, &point);
    state->promise_number = frame->number;
    state->last_index = head.index;
    state->last_term = head.term;
    if (head.index > segment->entry_max) {
        segment->entry_max = head.index;
    }
    return CC_OK;
}

static enum cc_status apply_base(struct wal *wal, struct cc_slice body, const char **reason_out)
{
    struct wal_state *state = &wal->state;
    uint64_t index;
    uint64_t term;
    bool readable = wal_read_base(body, &index, &term) == CC_OK;
    if (!readable || (index == 0) != (term == 0) || index > WAL_NUMBER_MAX) {
        return refuse("a base record cannot be read", reason_out);
    }
    if (index < state->base_index) {
        return refuse("the base of the log falls", reason_out);
    }
    // Figure 13 of the Raft paper: entries after a matching one are kept, else the log starts anew. Where segments were
    // removed, the matching entry may be gone: a snapshot never lies below the log, so this is a truncation, which agrees.
    bool lies_below = !wal_index_is_empty(&wal->index) && index < wal->index.points[0].index;
    if (lies_below || term_at(wal, index) == term) {
        wal_index_drop_below(&wal->index, index + 1);
    } else {
        wal_index_clear(&wal->index);
    }
    state->base_index = index;
    state->base_term = term;
    if (wal_index_is_empty(&wal->index)) {
        state->last_index = index;
        state->last_term = term;
    }
    return CC_OK;
}

static enum cc_status apply_mark(struct wal *wal, struct cc_slice body, const char **reason_out)
{
    struct wal_mark mark;
    struct wal_mark *known = &wal->state.mark;
    if (wal_read_mark(body, &mark) != CC_OK) {
        return refuse("a mark record cannot be read", reason_out);
    }
    known->commit = mark.commit > known->commit ? mark.commit : known->commit;
    known->hlc = mark.hlc > known->hlc ? mark.hlc : known->hlc;
    bool goes_on = mark.own_incarnation == known->own_incarnation && mark.own_sequence < known->own_sequence;
    known->own_sequence = goes_on ? known->own_sequence : mark.own_sequence;
    known->own_incarnation = mark.own_incarnation;
    known->n_memories = mark.n_memories;
    memcpy(known->memories, mark.memories, sizeof(known->memories));
    return CC_OK;
}

static enum cc_status apply_membership(struct wal *wal, struct cc_slice body, const char **reason_out)
{
    uint64_t index;
    struct raft_membership membership;
    if (wal_read_membership(body, &index, &membership) != CC_OK) {
        return refuse("a membership record cannot be read", reason_out);
    }
    if (index < wal->state.membership_index) {
        return refuse("the index of the membership falls", reason_out);
    }
    wal->state.has_membership = true;
    wal->state.membership_index = index;
    wal->state.membership = membership;
    return CC_OK;
}

static enum cc_status apply_kind(struct wal *wal, const struct wal_frame *frame, uint64_t offset,
                                 const char **reason_out)
{
    struct wal_segment *segment = wal_last_segment(wal);
    switch (frame->kind) {
    case WAL_IDENTITY:
        return apply_identity(wal, frame->body, reason_out);
    case WAL_HARD_STATE:
        return apply_hard_state(wal, frame, reason_out);
    case WAL_ENTRY:
        return apply_entry(wal, frame, offset, reason_out);
    case WAL_CHANGE:
        segment->change_first = segment->change_first > 0 ? segment->change_first : offset + 1;
        segment->change_last = frame->number;
        return CC_OK;
    case WAL_BASE:
        return apply_base(wal, frame->body, reason_out);
    case WAL_MARK:
        return apply_mark(wal, frame->body, reason_out);
    case WAL_MEMBERSHIP:
        return apply_membership(wal, frame->body, reason_out);
    }
    return refuse("a record of an unknown kind", reason_out);
}

enum cc_status wal_apply(struct wal *wal, const struct wal_frame *frame, uint64_t offset, const char **reason_out)
{
    struct wal_segment *segment = wal_last_segment(wal);
    if (segment->n_records == 0 && frame->kind != WAL_IDENTITY) {
        return refuse("a segment does not begin with an identity", reason_out);
    }
    enum cc_status status = apply_kind(wal, frame, offset, reason_out);
    if (status != CC_OK) {
        return status;
    }
    segment->n_records++;
    segment->end = offset + frame->n_bytes;
    wal->state.next_number = frame->number + 1;
    return CC_OK;
}

// -- Appending ------------------------------------------------------------------------------------------------------

// Writes and syncs what is staged.
static enum cc_status flush(struct wal *wal)
{
    if (wal->staged.n == 0) {
        return CC_OK;
    }
    const struct wal_segment *segment = wal_last_segment(wal);
    char name[WAL_NAME_BYTES];
    wal_segment_name(segment->sequence, name);
    const struct wal_disk *disk = wal->disk;
    enum cc_status status =
        disk->write(disk->context, name, segment->end - wal->staged.n, wal->staged.data, wal->staged.n);
    status = status == CC_NO_SPACE && cc_mutant(CC_MUTANT_NO_SPACE_IGNORED) ? CC_OK : status;
    if (status == CC_OK && !cc_mutant(CC_MUTANT_SYNC_SKIPPED)) {
        status = disk->sync(disk->context, name);
    }
    if (status != CC_OK) {
        return status;
    }
    cc_buffer_clear(&wal->staged);
    wal->state.durable_number = wal->state.next_number - 1;
    return CC_OK;
}

// Numbers, seals and stages one encoded record; it fits into the last segment.
static void stage(struct wal *wal, const struct wal_frame *encoded)
{
    struct wal_frame frame = *encoded;
    if (wal->staged.n == 0) {
        wal->batch_first = wal->state.next_number;
    }
    frame.number = wal->state.next_number;
    frame.first = wal->batch_first;
    size_t at = wal->staged.n;
    cc_buffer_append(&wal->staged, encoded->body.data - WAL_HEADER_BYTES, encoded->n_bytes);
    wal_frame_seal(wal->staged.data + at, &frame);
    const char *reason = NULL;
    enum cc_status status = wal_apply(wal, &frame, wal_last_segment(wal)->end, &reason);
    assert(status == CC_OK); // the node hands out only what continues the log
}

static void stage_all(struct wal *wal, const struct wal_batch *batch)
{
    for (size_t at = 0; at < batch->bytes.n;) {
        struct wal_frame frame;
        wal_batch_next(batch, at, &frame);
        stage(wal, &frame);
        at += frame.n_bytes;
    }
}

// What every segment begins with, so that the ones before it can be removed.
static void put_preamble(const struct wal *wal, struct wal_batch *batch)
{
    if (!wal->state.has_identity) {
        return;
    }
    wal_put_identity(batch, &wal->state.identity);
    wal_put_hard_state(batch, wal->state.hard_state);
    if (wal->state.has_membership) {
        wal_put_membership(batch, wal->state.membership_index, &wal->state.membership);
    }
    if (wal->state.base_index > 0) {
        wal_put_base(batch, wal->state.base_index, wal->state.base_term);
    }
    wal_put_mark(batch, &wal->state.mark);
}

enum { PREAMBLE_BYTES_MAX = 256 + WAL_MEMORIES_MAX * sizeof(struct wal_memory) }; // without the membership

static uint64_t preamble_bytes_max(const struct wal *wal)
{
    uint64_t n_members = wal->state.has_membership ? wal->state.membership.n_members + 1 : 0;
    return PREAMBLE_BYTES_MAX + n_members * sizeof(struct raft_member);
}

static uint64_t size_for(const struct wal *wal, size_t n_bytes)
{
    uint64_t n_needed = (uint64_t)n_bytes + preamble_bytes_max(wal);
    return n_needed > wal->options.segment_bytes ? n_needed : wal->options.segment_bytes;
}

// Makes the file after the last segment exist with room for n_bytes.
static enum cc_status make_next(struct wal *wal, size_t n_bytes)
{
    const struct wal_disk *disk = wal->disk;
    char name[WAL_NAME_BYTES];
    wal_segment_name(wal_last_segment(wal)->sequence + 1, name);
    if (wal->prepared && wal->prepared_bytes >= size_for(wal, n_bytes)) {
        return CC_OK;
    }
    if (wal->prepared) {
        enum cc_status status = disk->remove(disk->context, name);
        if (status != CC_OK) {
            return status;
        }
        wal->prepared = false;
    }
    enum cc_status status = disk->create(disk->context, name, size_for(wal, n_bytes));
    if (status != CC_OK) {
        return status;
    }
    wal->prepared = true;
    wal->prepared_bytes = size_for(wal, n_bytes);
    return CC_OK;
}

// Everything staged is synced before the next segment is touched: so a segment that has a successor is whole.
static enum cc_status roll_over(struct wal *wal, size_t n_bytes)
{
    enum cc_status status = flush(wal);
    if (status == CC_OK) {
        status = make_next(wal, n_bytes);
    }
    if (status != CC_OK) {
        return status;
    }
    wal_add_segment(wal, wal_last_segment(wal)->sequence + 1, wal->prepared_bytes);
    wal->prepared = false;
    struct wal_batch preamble = {0};
    put_preamble(wal, &preamble);
    assert(preamble.bytes.n <= preamble_bytes_max(wal));
    stage_all(wal, &preamble);
    wal_batch_finish(&preamble);
    return CC_OK;
}

static bool fits(const struct wal *wal, size_t n_bytes)
{
    const struct wal_segment *segment = wal_last_segment(wal);
    return segment->end + n_bytes <= segment->n_bytes;
}

bool wal_would_roll(const struct wal *wal, const struct wal_batch *batch)
{
    return !fits(wal, batch->bytes.n);
}

enum cc_status wal_append(struct wal *wal, const struct wal_batch *batch)
{
    for (size_t at = 0; at < batch->bytes.n;) {
        struct wal_frame frame;
        wal_batch_next(batch, at, &frame);
        if (!fits(wal, frame.n_bytes)) {
            enum cc_status status = roll_over(wal, frame.n_bytes);
            if (status != CC_OK) {
                return status;
            }
        }
        stage(wal, &frame);
        at += frame.n_bytes;
    }
    return flush(wal);
}

enum cc_status wal_seal(struct wal *wal)
{
    if (!wal->state.has_identity) {
        return CC_OK;
    }
    struct wal_batch batch = {0};
    wal_put_mark(&batch, &wal->state.mark);
    enum cc_status status = wal_append(wal, &batch);
    wal_batch_finish(&batch);
    return status;
}

// -- Next segment, old segments -------------------------------------------------------------------------------------

bool wal_wants_prepare(const struct wal *wal)
{
    const struct wal_segment *segment = wal_last_segment(wal);
    return !wal->prepared && segment->end >= segment->n_bytes / 2;
}

void wal_prepare_begin(const struct wal *wal, char name[WAL_NAME_BYTES], uint64_t *n_bytes_out)
{
    wal_segment_name(wal_last_segment(wal)->sequence + 1, name);
    *n_bytes_out = size_for(wal, 0);
}

void wal_prepared(struct wal *wal)
{
    wal->prepared = true;
    wal->prepared_bytes = size_for(wal, 0);
}

enum cc_status wal_prepare(struct wal *wal)
{
    return make_next(wal, 0);
}

static bool is_removable(const struct wal_segment *segment, uint64_t index, uint64_t record_number)
{
    bool has_changes = segment->change_last > 0 && segment->change_last >= record_number && !cc_mutant(CC_MUTANT_CHANGES_CUT);
    return segment->entry_max < index && !has_changes;
}

static enum cc_status remove_oldest(struct wal *wal)
{
    char name[WAL_NAME_BYTES];
    wal_segment_name(wal->segments[0].sequence, name);
    enum cc_status status = wal->disk->remove(wal->disk->context, name);
    if (status != CC_OK) {
        return status;
    }
    wal->n_segments--;
    memmove(wal->segments, wal->segments + 1, wal->n_segments * sizeof(*wal->segments));
    return CC_OK;
}

// Durable before the first segment goes, and the oldest goes first: a crash in between leaves a log that opens. With the new base all that a
// segment begins with is written once more: a crash may have torn that where the ones that stay begin.
static enum cc_status move_base(struct wal *wal, uint64_t index)
{
    struct wal_batch batch = {0};
    wal_put_hard_state(&batch, wal->state.hard_state);
    if (wal->state.has_membership) {
        wal_put_membership(&batch, wal->state.membership_index, &wal->state.membership);
    }
    wal_put_mark(&batch, &wal->state.mark);
    if (index > 0) {
        wal_put_base(&batch, index, term_at(wal, index));
    }
    enum cc_status status = wal_append(wal, &batch);
    wal_batch_finish(&batch);
    return status;
}

enum cc_status wal_truncate(struct wal *wal, uint64_t index, uint64_t record_number)
{
    if (index <= wal->state.base_index || index > wal->state.last_index + 1) {
        return index == 0 || index > wal->state.last_index + 1 ? CC_INVALID : CC_OK;
    }
    size_t n_remove = 0;
    while (n_remove + 1 < wal->n_segments && is_removable(&wal->segments[n_remove], index, record_number)) {
        n_remove++;
    }
    if (n_remove == 0) {
        return CC_OK;
    }
    enum cc_status status = move_base(wal, index - 1);
    for (; status == CC_OK && n_remove > 0; n_remove--) {
        status = remove_oldest(wal);
    }
    return status;
}
