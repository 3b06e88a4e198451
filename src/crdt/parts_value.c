// What parts show, and how a change that was made elsewhere changes what is shown.
#include "crdt/parts_internal.h"

#include "crdt/decimal.h"
#include "crdt/elements.h"

#include <stdlib.h>

bool parts_exceeds(const struct crdt_kind *kind, struct cc_slice a, struct cc_slice b, bool also_texts, struct cc_arena *arena)
{
    int order = crdt_value_compare(kind->order, a, b, arena);
    if (order == 0) {
        return also_texts && cc_slice_compare(a, b) > 0;
    }
    return kind->merge == CRDT_MAX ? order > 0 : order < 0;
}

// With as many digits behind the point as the type has.
static struct cc_slice zero_of(const struct crdt_kind *kind, struct cc_arena *arena)
{
    return kind->greatest.data == NULL ? cc_slice_text("0") : crdt_decimal_subtract(kind->greatest, kind->greatest, arena);
}

static struct cc_slice nothing_counted(const struct crdt_kind *kind, struct cc_arena *arena)
{
    if (kind->base.data != NULL || !kind->not_null) {
        return kind->base;
    }
    return kind->merge == CRDT_COUNTER ? zero_of(kind, arena) : kind->merge == CRDT_SET ? cc_slice_text("{}") : kind->base;
}

static int compare_keyed(const void *left, const void *right)
{
    const struct keyed *a = left, *b = right;
    return (a->key > b->key) - (a->key < b->key);
}

// Of increments under one key that of the first origin counts.
static struct cc_slice add_keyed(struct cc_slice sum, const struct counted *all, uint32_t n_parts, struct cc_arena *arena)
{
    size_t n = 0, n_max = 0;
    for (uint32_t p = 0; p < n_parts; p++) {
        n_max += all[p].n;
    }
    struct keyed *earlier = cc_arena_array(arena, n_max, sizeof(*earlier)); // those of the origins before, sorted
    for (uint32_t p = 0; p < n_parts; p++) {
        for (uint64_t i = 0; i < all[p].n; i++) {
            bool twin = n > 0 && bsearch(&all[p].at[i], earlier, n, sizeof(*earlier), compare_keyed) != NULL;
            sum = twin ? sum : crdt_decimal_add(sum, all[p].at[i].amount, arena);
        }
        for (uint64_t i = 0; p + 1 < n_parts && i < all[p].n; i++) {
            earlier[n++] = all[p].at[i];
        }
        if (n > 1) {
            qsort(earlier, n, sizeof(*earlier), compare_keyed);
        }
    }
    return sum;
}

static struct cc_slice sum_of(const struct crdt_kind *kind, const struct crdt_parts *parts, struct cc_arena *arena)
{
    struct counted *all = cc_arena_array(arena, parts->n, sizeof(*all));
    struct cc_slice sum = crdt_decimal_is_valid(kind->base) ? kind->base : zero_of(kind, arena);
    for (uint32_t p = 0; p < parts->n; p++) {
        if (parts_read_counted(&parts->at[p], arena, &all[p]) == CC_OK) {
            sum = crdt_decimal_add(sum, all[p].total, arena);
        }
    }
    sum = add_keyed(sum, all, parts->n, arena);
    if (kind->least.data != NULL && crdt_decimal_compare(sum, kind->least) < 0) {
        return kind->least;
    }
    return kind->greatest.data != NULL && crdt_decimal_compare(sum, kind->greatest) > 0 ? kind->greatest : sum;
}

static struct cc_slice extreme_of(const struct crdt_kind *kind, const struct crdt_parts *parts, struct cc_arena *arena)
{
    struct cc_slice shown = kind->base;
    for (uint32_t p = 0; p < parts->n; p++) {
        struct cc_slice value;
        if (parts_read_exceeding(parts->at[p].bytes, &value) == CC_OK &&
            (shown.data == NULL || parts_exceeds(kind, value, shown, true, arena))) {
            shown = value;
        }
    }
    return shown;
}

void parts_read_members(const struct crdt_parts *parts, struct cc_arena *arena, struct members *members)
{
    size_t n_added = 0, n_removed = 0;
    members->sets = cc_arena_array(arena, parts->n, sizeof(*members->sets));
    for (uint32_t p = 0; p < parts->n; p++) {
        if (parts_read_membership(&parts->at[p], arena, &members->sets[p]) != CC_OK) {
            members->sets[p] = (struct membership){0};
        }
        n_added += members->sets[p].n_added;
        n_removed += members->sets[p].n_removed;
    }
    struct addition *removed = cc_arena_array(arena, n_removed, sizeof(*removed));
    members->live = cc_arena_array(arena, n_added, sizeof(*members->live));
    size_t n = 0;
    for (uint32_t p = 0; p < parts->n; p++) {
        for (uint64_t i = 0; i < members->sets[p].n_removed; i++) {
            removed[n++] = members->sets[p].removed[i];
        }
    }
    parts_sort_additions(removed, n_removed);
    members->n_live = 0;
    for (uint32_t p = 0; p < parts->n; p++) {
        for (uint64_t i = 0; i < members->sets[p].n_added; i++) {
            const struct addition *added = &members->sets[p].added[i];
            if (n_removed == 0 || bsearch(added, removed, n_removed, sizeof(*removed), parts_compare_additions) == NULL) {
                members->live[members->n_live++] = *added;
            }
        }
    }
    parts_sort_additions(members->live, members->n_live);
}

static struct cc_slice elements_of(const struct crdt_parts *parts, struct cc_arena *arena)
{
    struct members members;
    parts_read_members(parts, arena, &members);
    struct crdt_elements elements = {.at = cc_arena_array(arena, members.n_live, sizeof(*elements.at))};
    for (size_t i = 0; i < members.n_live; i++) {
        if (i == 0 || !cc_slice_equal(members.live[i].element, members.live[i - 1].element)) {
            elements.at[elements.n++] = members.live[i].element;
        }
    }
    return crdt_elements_text(&elements, arena);
}

struct cc_slice crdt_parts_value(const struct crdt_kind *kind, const struct crdt_parts *parts, struct cc_arena *arena)
{
    if (parts->n == 0) {
        return nothing_counted(kind, arena);
    }
    switch (kind->merge) {
    case CRDT_LWW:
        break;
    case CRDT_COUNTER:
        return sum_of(kind, parts, arena);
    case CRDT_MAX:
    case CRDT_MIN:
        return extreme_of(kind, parts, arena);
    case CRDT_SET:
        return elements_of(parts, arena);
    }
    return kind->base;
}

// -- Changes made elsewhere -------------------------------------------------------------------------------------------

static bool move_number(const struct crdt_kind *kind, struct cc_slice shown, struct cc_slice before, struct cc_slice after,
                        struct cc_arena *arena, struct cc_slice *value_out)
{
    struct cc_slice base = crdt_decimal_is_valid(kind->base) ? kind->base : cc_slice_text("0");
    struct cc_slice from = before.data == NULL ? base : before, to = after.data == NULL ? base : after;
    if (!crdt_decimal_is_valid(from) || !crdt_decimal_is_valid(to) || (shown.data != NULL && !crdt_decimal_is_valid(shown))) {
        return false;
    }
    struct cc_slice amount = crdt_decimal_subtract(to, from, arena);
    bool nothing = shown.data == NULL && after.data == NULL;
    *value_out = nothing ? shown : crdt_decimal_add(shown.data == NULL ? base : shown, amount, arena);
    return true;
}

static bool move_members(struct cc_slice shown, struct cc_slice before, struct cc_slice after, struct cc_arena *arena,
                         struct cc_slice *value_out)
{
    const struct cc_slice texts[3] = {shown, before, after};
    struct crdt_elements sets[3] = {{0}, {0}, {0}};
    for (size_t i = 0; i < 3; i++) {
        if (texts[i].data != NULL && !crdt_elements_read(texts[i], arena, &sets[i])) {
            return false;
        }
    }
    if (shown.data == NULL && after.data == NULL) {
        *value_out = shown;
        return true;
    }
    const struct crdt_elements *was = &sets[0], *from = &sets[1], *to = &sets[2];
    struct crdt_elements all = {.at = cc_arena_array(arena, was->n + to->n + 1, sizeof(*all.at))};
    for (size_t i = 0; i < was->n; i++) { // but for what the change took out
        if (!crdt_elements_have(from, was->at[i]) || crdt_elements_have(to, was->at[i])) {
            all.at[all.n++] = was->at[i];
        }
    }
    for (size_t i = 0; i < to->n; i++) { // and what it put in
        if (!crdt_elements_have(from, to->at[i])) {
            all.at[all.n++] = to->at[i];
        }
    }
    crdt_elements_sort(&all);
    *value_out = crdt_elements_text(&all, arena);
    return true;
}

bool crdt_value_move(const struct crdt_kind *kind, struct cc_slice shown, struct cc_slice before, struct cc_slice after,
                     struct cc_arena *arena, struct cc_slice *value_out)
{
    switch (kind->merge) {
    case CRDT_COUNTER:
        return move_number(kind, shown, before, after, arena, value_out);
    case CRDT_SET:
        return move_members(shown, before, after, arena, value_out);
    case CRDT_LWW:
    case CRDT_MAX:
    case CRDT_MIN:
        break;
    }
    *value_out = after;
    return true;
}
