// Parts of columns: which of them hold, and their stored form.
#include "crdt/parts_internal.h"

enum { PART_BYTES_MIN = 16 + 1 };

struct crdt_origin parts_origin(const struct clock_stamp *stamp)
{
    return (struct crdt_origin){stamp->replica, stamp->incarnation};
}

bool crdt_parts_take(const struct crdt_kind *kind, struct crdt_parts *parts, const struct crdt_part *part, struct cc_arena *arena)
{
    if (clock_stamp_is_zero(&part->stamp) || !parts_is_valid(kind, part, arena)) {
        return false;
    }
    uint32_t at = 0;
    while (at < parts->n && crdt_origin_compare(parts_origin(&parts->at[at].stamp), parts_origin(&part->stamp)) < 0) {
        at++;
    }
    bool held = at < parts->n && crdt_origin_compare(parts_origin(&parts->at[at].stamp), parts_origin(&part->stamp)) == 0;
    if (held) {
        int order = clock_stamp_compare(&part->stamp, &parts->at[at].stamp);
        order = order != 0 ? order : cc_slice_compare(part->bytes, parts->at[at].bytes);
        if (order > 0) {
            parts->at[at] = *part;
        }
        return order > 0;
    }
    struct crdt_part *more = cc_arena_array(arena, (size_t)parts->n + 1, sizeof(*more));
    for (uint32_t i = 0; i <= parts->n; i++) {
        more[i] = i < at ? parts->at[i] : i == at ? *part : parts->at[i - 1];
    }
    parts->at = more;
    parts->n++;
    return true;
}

bool crdt_parts_clear(struct crdt_parts *parts, const struct clock_stamp *death)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < parts->n; i++) {
        if (clock_stamp_compare(&parts->at[i].stamp, death) > 0) {
            parts->at[n++] = parts->at[i];
        }
    }
    bool any = n < parts->n;
    parts->n = n;
    return any;
}

static bool has_part(const struct crdt_parts *parts, const struct clock_stamp *stamp)
{
    bool has = false;
    for (uint32_t i = 0; i < parts->n; i++) {
        bool same = crdt_origin_compare(parts_origin(&parts->at[i].stamp), parts_origin(stamp)) == 0;
        has = has || (same && clock_stamp_compare(&parts->at[i].stamp, stamp) >= 0);
    }
    return has;
}

bool crdt_parts_forget(struct crdt_parts *parts, const struct crdt_parts *other, uint64_t bound)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < parts->n; i++) {
        if (parts->at[i].stamp.hlc > bound || has_part(other, &parts->at[i].stamp)) {
            parts->at[n++] = parts->at[i];
        }
    }
    bool any = n < parts->n;
    parts->n = n;
    return any;
}

// -- Stored form ------------------------------------------------------------------------------------------------------

void crdt_parts_put(struct cc_buffer *out, const struct crdt_parts *parts)
{
    cc_put_varint(out, parts->n);
    for (uint32_t i = 0; i < parts->n; i++) {
        clock_stamp_put(out, &parts->at[i].stamp);
        cc_put_string(out, parts->at[i].bytes);
    }
}

enum cc_status crdt_parts_read(struct cc_slice bytes, struct cc_arena *arena, struct crdt_parts *parts_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    struct crdt_parts parts = {0};
    parts.n = (uint32_t)cc_read_count(&reader, cc_reader_left(&reader) / PART_BYTES_MIN);
    if (parts.n > CC_ORIGINS_MAX) {
        return CC_TOO_LARGE;
    }
    parts.at = cc_arena_array(arena, parts.n, sizeof(*parts.at));
    for (uint32_t i = 0; i < parts.n && cc_reader_ok(&reader); i++) {
        parts.at[i].stamp = clock_stamp_read(&reader);
        parts.at[i].bytes = cc_read_string(&reader);
        bool sorted = i == 0 || crdt_origin_compare(parts_origin(&parts.at[i - 1].stamp), parts_origin(&parts.at[i].stamp)) < 0;
        if (!sorted || clock_stamp_is_zero(&parts.at[i].stamp)) {
            cc_reader_fail(&reader);
        }
    }
    if (cc_reader_end(&reader) != CC_OK) {
        return CC_MALFORMED;
    }
    *parts_out = parts;
    return CC_OK;
}
