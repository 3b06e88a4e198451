// What a write makes of the writer's own part.
#include "crdt/parts_internal.h"

#include "base/mutant.h"
#include "crdt/decimal.h"
#include "crdt/elements.h"

#include <stdlib.h>

static const struct crdt_part *own_part(const struct crdt_parts *parts, const struct clock_stamp *stamp)
{
    for (uint32_t i = 0; i < parts->n; i++) {
        if (crdt_origin_compare(parts_origin(&parts->at[i].stamp), parts_origin(stamp)) == 0) {
            return &parts->at[i];
        }
    }
    return NULL;
}

// -- Counters ---------------------------------------------------------------------------------------------------------

static bool is_counted_elsewhere(const struct crdt_parts *parts, const struct crdt_part *own, uint64_t key, struct cc_arena *arena)
{
    for (uint32_t p = 0; p < parts->n; p++) {
        struct counted other;
        if (&parts->at[p] == own || parts_read_counted(&parts->at[p], arena, &other) != CC_OK) {
            continue;
        }
        for (uint64_t i = 0; i < other.n; i++) {
            if (other.at[i].key == key) {
                return true;
            }
        }
    }
    return false;
}

// Whoever counts under a settled key from now on knows that it was used; and who did before, without knowing, has a twin that is
// here. Without a twin it can be counted like any other.
static void fold_settled(struct counted *counted, const struct crdt_parts *parts, const struct crdt_part *own, uint64_t settled,
                         struct cc_arena *arena)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < counted->n; i++) {
        const struct keyed *keyed = &counted->at[i];
        if (keyed->hlc <= settled && !is_counted_elsewhere(parts, own, keyed->key, arena)) {
            counted->total = crdt_decimal_add(counted->total, keyed->amount, arena);
        } else {
            counted->at[n++] = *keyed;
        }
    }
    counted->n = n;
}

static enum cc_status count(const struct crdt_kind *kind, const struct crdt_parts *before, const struct crdt_part_write *write,
                            struct cc_arena *arena, struct cc_slice *bytes_out)
{
    struct cc_slice zero = cc_slice_text("0");
    struct cc_slice shown = crdt_parts_value(kind, before, arena);
    struct cc_slice value = write->value.data != NULL ? write->value : kind->base.data != NULL ? kind->base : zero;
    if (!crdt_decimal_is_valid(value)) {
        return CC_INVALID;
    }
    struct cc_slice amount = crdt_decimal_subtract(value, crdt_decimal_is_valid(shown) ? shown : zero, arena);
    bool first = shown.data == NULL && write->value.data != NULL; // 0 is something, too
    bool same = shown.data == NULL || cc_slice_equal(crdt_decimal_add(shown, amount, arena), shown); // digits behind the point, too
    if (crdt_decimal_compare(amount, zero) == 0 && same && !first) {
        *bytes_out = (struct cc_slice){0};
        return CC_OK;
    }
    struct counted counted = {.total = zero};
    const struct crdt_part *own = own_part(before, &write->stamp);
    if (own == NULL || parts_read_counted(own, arena, &counted) != CC_OK) {
        counted = (struct counted){.total = zero, .at = cc_arena_array(arena, 1, sizeof(*counted.at))};
    }
    fold_settled(&counted, before, own, write->settled, arena);
    if (write->keyed && !cc_mutant(CC_MUTANT_KEYS_COUNT_TWICE)) {
        counted.at[counted.n++] = (struct keyed){write->key, write->stamp.hlc, amount};
    } else {
        counted.total = crdt_decimal_add(counted.total, amount, arena);
    }
    *bytes_out = parts_put_counted(&counted, arena);
    return CC_OK;
}

// -- max, min -----------------------------------------------------------------------------------------------------------

static void exceed(const struct crdt_kind *kind, const struct crdt_parts *before, const struct crdt_part_write *write,
                   struct cc_arena *arena, struct cc_slice *bytes_out)
{
    struct cc_slice shown = crdt_parts_value(kind, before, arena);
    bool takes = write->value.data != NULL && (shown.data == NULL || parts_exceeds(kind, write->value, shown, false, arena));
    *bytes_out = takes ? parts_put_exceeding(write->value, arena) : (struct cc_slice){0};
}

// -- Sets ---------------------------------------------------------------------------------------------------------------

static int compare_element_of(const void *element, const void *addition)
{
    return cc_slice_compare(*(const struct cc_slice *)element, ((const struct addition *)addition)->element);
}

static bool is_live(const struct members *members, struct cc_slice element)
{
    return members->n_live > 0 && bsearch(&element, members->live, members->n_live, sizeof(*members->live), compare_element_of) != NULL;
}

static bool lists(const struct membership *set, const struct addition *addition)
{
    for (uint64_t i = 0; i < set->n_added; i++) {
        if (parts_compare_additions(&set->added[i], addition) == 0) {
            return true;
        }
    }
    return false;
}

enum need { NEED_NONE, NEED_LISTED, NEED_UNSETTLED };

// A removal is needed as long as a part that lists the addition may be shown somewhere: until the part that does not list it any more
// is at all members; or, where that part is gone, the deletion of the row that took it, which is older than our own part.
static enum need needed(const struct crdt_parts *parts, const struct members *members, const struct addition *removed,
                        const struct crdt_part *own, uint64_t settled)
{
    const struct crdt_part *from = own_part(parts, &removed->stamp);
    if (from != NULL && lists(&members->sets[from - parts->at], removed)) {
        return NEED_LISTED;
    }
    bool may_be_shown = (from != NULL ? from : own)->stamp.hlc > settled && !cc_mutant(CC_MUTANT_REMOVALS_FORGOTTEN);
    return may_be_shown ? NEED_UNSETTLED : NEED_NONE;
}

static int compare_times(const void *left, const void *right)
{
    const struct addition *a = left, *b = right;
    return clock_stamp_compare(&a->stamp, &b->stamp);
}

// True: something differs from what is shown.
static bool differs(const struct members *members, const struct crdt_elements *wanted)
{
    for (size_t i = 0; i < wanted->n; i++) {
        if (!is_live(members, wanted->at[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < members->n_live; i++) {
        if (!crdt_elements_have(wanted, members->live[i].element)) {
            return true;
        }
    }
    return false;
}

// Of what the own part has removed, what others may still show. `set` has room for all of it.
static void keep_removals(const struct crdt_parts *before, const struct members *members, const struct crdt_part *own, uint64_t settled,
                          struct cc_arena *arena, struct membership *set)
{
    const struct membership *held = &members->sets[own - before->at];
    struct addition *unsettled = cc_arena_array(arena, held->n_removed, sizeof(*unsettled));
    size_t n = 0;
    for (uint64_t i = 0; i < held->n_removed; i++) {
        switch (needed(before, members, &held->removed[i], own, settled)) {
        case NEED_NONE:
            break;
        case NEED_LISTED:
            set->removed[set->n_removed++] = held->removed[i];
            break;
        case NEED_UNSETTLED:
            unsettled[n++] = held->removed[i];
            break;
        }
    }
    if (n > 1) {
        qsort(unsettled, n, sizeof(*unsettled), compare_times);
    }
    for (size_t i = n > CRDT_REMOVED_MAX ? n - CRDT_REMOVED_MAX : 0; i < n; i++) {
        set->removed[set->n_removed++] = unsettled[i];
    }
}

static struct cc_slice change_members(const struct crdt_parts *before, const struct members *members, const struct crdt_elements *wanted,
                                      const struct clock_stamp *stamp, uint64_t settled, struct cc_arena *arena)
{
    struct crdt_origin self = parts_origin(stamp);
    const struct crdt_part *own = own_part(before, stamp);
    const struct membership *held = own == NULL ? NULL : &members->sets[own - before->at];
    struct membership set = {.added = cc_arena_array(arena, members->n_live + wanted->n, sizeof(*set.added)),
                             .removed = cc_arena_array(arena, members->n_live + (held == NULL ? 0 : held->n_removed), sizeof(*set.removed))};
    for (size_t i = 0; i < members->n_live; i++) { // own additions stay or go; those of others are removed, or not touched
        const struct addition *live = &members->live[i];
        bool mine = crdt_origin_compare(parts_origin(&live->stamp), self) == 0;
        bool stays = crdt_elements_have(wanted, live->element);
        if (mine && stays) {
            set.added[set.n_added++] = *live;
        } else if (!mine && !stays) {
            set.removed[set.n_removed++] = *live;
        }
    }
    for (size_t i = 0; i < wanted->n; i++) {
        if (!is_live(members, wanted->at[i])) {
            set.added[set.n_added++] = (struct addition){wanted->at[i], *stamp};
        }
    }
    if (held != NULL) {
        keep_removals(before, members, own, settled, arena, &set);
    }
    return parts_put_membership(&set, arena);
}

static enum cc_status change_set(const struct crdt_parts *before, const struct crdt_part_write *write, bool is_shown, struct cc_arena *arena,
                                 struct cc_slice *bytes_out)
{
    struct members members;
    struct crdt_elements wanted = {0};
    if (write->value.data != NULL && !crdt_elements_read(write->value, arena, &wanted)) {
        return CC_INVALID;
    }
    parts_read_members(before, arena, &members);
    bool changes = differs(&members, &wanted) || (!is_shown && write->value.data != NULL);
    *bytes_out = changes ? change_members(before, &members, &wanted, &write->stamp, write->settled, arena) : (struct cc_slice){0};
    return CC_OK;
}

// -----------------------------------------------------------------------------------------------------------------------

enum cc_status crdt_part_make(const struct crdt_kind *kind, const struct crdt_parts *before, const struct crdt_part_write *write,
                              struct cc_arena *arena, struct cc_slice *bytes_out)
{
    switch (kind->merge) {
    case CRDT_LWW:
        return CC_INVALID;
    case CRDT_COUNTER:
        return count(kind, before, write, arena, bytes_out);
    case CRDT_MAX:
    case CRDT_MIN:
        exceed(kind, before, write, arena, bytes_out);
        return CC_OK;
    case CRDT_SET:
        return change_set(before, write, crdt_parts_value(kind, before, arena).data != NULL, arena, bytes_out);
    }
    return CC_INVALID;
}
