// The bytes of parts. See parts_internal.h.
#include "crdt/parts_internal.h"

#include "crdt/decimal.h"

#include <stdlib.h>

enum { KEYED_BYTES_MIN = 8 + 2, ADDED_BYTES_MIN = 1 + 8, REMOVED_BYTES_MIN = 1 + 16 };

enum cc_status parts_read_counted(const struct crdt_part *part, struct cc_arena *arena, struct counted *counted_out)
{
    struct cc_reader reader = cc_reader_of(part->bytes);
    struct counted counted = {.total = cc_read_string(&reader)};
    bool dated = cc_reader_ok(&reader) && counted.total.n == 0;
    counted.total = dated ? cc_read_string(&reader) : counted.total;
    counted.n = cc_read_count(&reader, cc_reader_left(&reader) / KEYED_BYTES_MIN);
    counted.at = cc_arena_array(arena, counted.n + 1, sizeof(*counted.at)); // one more can be added
    bool valid = crdt_decimal_is_valid(counted.total);
    for (uint64_t i = 0; i < counted.n; i++) {
        counted.at[i].key = cc_read_u64(&reader);
        counted.at[i].hlc = dated ? cc_read_u64(&reader) : part->stamp.hlc; // not later
        counted.at[i].amount = cc_read_string(&reader);
        valid = valid && crdt_decimal_is_valid(counted.at[i].amount);
    }
    if (cc_reader_end(&reader) != CC_OK || !valid) {
        return CC_MALFORMED;
    }
    *counted_out = counted;
    return CC_OK;
}

struct cc_slice parts_put_counted(const struct counted *counted, struct cc_arena *arena)
{
    struct cc_buffer bytes = {0};
    uint64_t first = counted->n > CRDT_KEYED_MAX ? counted->n - CRDT_KEYED_MAX : 0;
    struct cc_slice total = counted->total;
    for (uint64_t i = 0; i < first; i++) {
        total = crdt_decimal_add(total, counted->at[i].amount, arena);
    }
    if (counted->n > first) {
        cc_put_string(&bytes, (struct cc_slice){0});
    }
    cc_put_string(&bytes, total);
    cc_put_varint(&bytes, counted->n - first);
    for (uint64_t i = first; i < counted->n; i++) {
        cc_put_u64(&bytes, counted->at[i].key);
        cc_put_u64(&bytes, counted->at[i].hlc);
        cc_put_string(&bytes, counted->at[i].amount);
    }
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return copy;
}

int parts_compare_additions(const void *left, const void *right)
{
    const struct addition *a = left, *b = right;
    int order = cc_slice_compare(a->element, b->element);
    return order != 0 ? order : clock_stamp_compare(&a->stamp, &b->stamp);
}

void parts_sort_additions(struct addition *additions, size_t n)
{
    if (n > 1) {
        qsort(additions, n, sizeof(*additions), parts_compare_additions);
    }
}

enum cc_status parts_read_membership(const struct crdt_part *part, struct cc_arena *arena, struct membership *set_out)
{
    struct cc_reader reader = cc_reader_of(part->bytes);
    struct membership set = {0};
    set.n_added = cc_read_count(&reader, cc_reader_left(&reader) / ADDED_BYTES_MIN);
    set.added = cc_arena_array(arena, set.n_added, sizeof(*set.added));
    for (uint64_t i = 0; i < set.n_added; i++) {
        set.added[i] = (struct addition){.element = cc_read_string(&reader), .stamp = part->stamp};
        set.added[i].stamp.hlc = cc_read_u64(&reader);
    }
    set.n_removed = cc_read_count(&reader, cc_reader_left(&reader) / REMOVED_BYTES_MIN);
    set.removed = cc_arena_array(arena, set.n_removed, sizeof(*set.removed));
    for (uint64_t i = 0; i < set.n_removed; i++) {
        set.removed[i].element = cc_read_string(&reader);
        set.removed[i].stamp.replica = cc_read_u32(&reader);
        set.removed[i].stamp.incarnation = cc_read_u32(&reader);
        set.removed[i].stamp.hlc = cc_read_u64(&reader);
    }
    if (cc_reader_end(&reader) != CC_OK) {
        return CC_MALFORMED;
    }
    *set_out = set;
    return CC_OK;
}

struct cc_slice parts_put_membership(struct membership *set, struct cc_arena *arena)
{
    struct cc_buffer bytes = {0};
    parts_sort_additions(set->added, set->n_added);
    parts_sort_additions(set->removed, set->n_removed);
    cc_put_varint(&bytes, set->n_added);
    for (uint64_t i = 0; i < set->n_added; i++) {
        cc_put_string(&bytes, set->added[i].element);
        cc_put_u64(&bytes, set->added[i].stamp.hlc);
    }
    cc_put_varint(&bytes, set->n_removed);
    for (uint64_t i = 0; i < set->n_removed; i++) {
        cc_put_string(&bytes, set->removed[i].element);
        cc_put_u32(&bytes, set->removed[i].stamp.replica);
        cc_put_u32(&bytes, set->removed[i].stamp.incarnation);
        cc_put_u64(&bytes, set->removed[i].stamp.hlc);
    }
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return copy;
}

enum cc_status parts_read_exceeding(struct cc_slice bytes, struct cc_slice *value_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    struct cc_slice value = cc_read_string(&reader);
    if (cc_reader_end(&reader) != CC_OK) {
        return CC_MALFORMED;
    }
    *value_out = value;
    return CC_OK;
}

struct cc_slice parts_put_exceeding(struct cc_slice value, struct cc_arena *arena)
{
    struct cc_buffer bytes = {0};
    cc_put_string(&bytes, value);
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return copy;
}

bool parts_is_valid(const struct crdt_kind *kind, const struct crdt_part *part, struct cc_arena *arena)
{
    struct counted counted;
    struct membership set;
    struct cc_slice value;
    switch (kind->merge) {
    case CRDT_LWW:
        break;
    case CRDT_COUNTER:
        return parts_read_counted(part, arena, &counted) == CC_OK;
    case CRDT_MAX:
    case CRDT_MIN:
        return parts_read_exceeding(part->bytes, &value) == CC_OK;
    case CRDT_SET:
        return parts_read_membership(part, arena, &set) == CC_OK;
    }
    return false;
}
