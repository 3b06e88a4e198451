// Merge types: parts of columns, and what they show.
//
// Part of a counter: string total, varint n = 0; or an empty string, string total, varint n, n times (u64 key, u64 hlc, string amount),
// ascending in time. An older form, without the empty string and the times, is read.
// Of max and min: string value. Of a set: varint n, n times (string element, u64 hlc): additions of this origin, elements
// ascending; varint n, n times (string element, u32 replica, u32 incarnation, u64 hlc): additions of others that it removed.
#include "crdt/parts.h"

#include "base/mutant.h"
#include "crdt/decimal.h"

#include <stdlib.h>
#include <string.h>

enum { KEYED_BYTES_MIN = 8 + 2, ADDED_BYTES_MIN = 1 + 8, REMOVED_BYTES_MIN = 1 + 16, PART_BYTES_MIN = 16 + 1 };

// Whether a column shows `a` rather than `b`. Equal values that are written differently: the greater text, everywhere.
static bool exceeds(const struct crdt_kind *kind, struct cc_slice a, struct cc_slice b, bool also_texts, struct cc_arena *arena)
{
    int order = crdt_value_compare(kind->order, a, b, arena);
    if (order == 0) {
        return also_texts && cc_slice_compare(a, b) > 0;
    }
    return kind->merge == CRDT_MAX ? order > 0 : order < 0;
}

// -- Parts ------------------------------------------------------------------------------------------------------------

static struct crdt_origin origin_of(const struct clock_stamp *stamp)
{
    return (struct crdt_origin){stamp->replica, stamp->incarnation};
}

struct keyed {
    uint64_t key, hlc;
    struct cc_slice amount;
};

struct counted {
    struct cc_slice total;
    uint64_t n;
    struct keyed *at;
};

static enum cc_status read_counted(const struct crdt_part *part, struct cc_arena *arena, struct counted *counted_out)
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

static struct cc_slice put_counted(const struct counted *counted, struct cc_arena *arena)
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

struct addition { // an element as one origin's write put it in
    struct cc_slice element;
    struct clock_stamp stamp;
};

struct membership { // a set's part
    uint64_t n_added, n_removed;
    struct addition *added, *removed;
};

static int compare_additions(const void *left, const void *right)
{
    const struct addition *a = left, *b = right;
    int order = cc_slice_compare(a->element, b->element);
    return order != 0 ? order : clock_stamp_compare(&a->stamp, &b->stamp);
}

static void sort_additions(struct addition *additions, size_t n)
{
    if (n > 1) {
        qsort(additions, n, sizeof(*additions), compare_additions);
    }
}

static enum cc_status read_membership(const struct crdt_part *part, struct cc_arena *arena, struct membership *set_out)
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

static struct cc_slice put_membership(struct membership *set, struct cc_arena *arena)
{
    struct cc_buffer bytes = {0};
    sort_additions(set->added, set->n_added);
    sort_additions(set->removed, set->n_removed);
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

static enum cc_status read_exceeding(struct cc_slice bytes, struct cc_slice *value_out)
{
    struct cc_reader reader = cc_reader_of(bytes);
    struct cc_slice value = cc_read_string(&reader);
    if (cc_reader_end(&reader) != CC_OK) {
        return CC_MALFORMED;
    }
    *value_out = value;
    return CC_OK;
}

static bool is_valid(const struct crdt_kind *kind, const struct crdt_part *part, struct cc_arena *arena)
{
    struct counted counted;
    struct membership set;
    struct cc_slice value;
    switch (kind->merge) {
    case CRDT_LWW:
        break;
    case CRDT_COUNTER:
        return read_counted(part, arena, &counted) == CC_OK;
    case CRDT_MAX:
    case CRDT_MIN:
        return read_exceeding(part->bytes, &value) == CC_OK;
    case CRDT_SET:
        return read_membership(part, arena, &set) == CC_OK;
    }
    return false;
}

bool crdt_parts_take(const struct crdt_kind *kind, struct crdt_parts *parts, const struct crdt_part *part, struct cc_arena *arena)
{
    if (clock_stamp_is_zero(&part->stamp) || !is_valid(kind, part, arena)) {
        return false;
    }
    uint32_t at = 0;
    while (at < parts->n && crdt_origin_compare(origin_of(&parts->at[at].stamp), origin_of(&part->stamp)) < 0) {
        at++;
    }
    bool held = at < parts->n && crdt_origin_compare(origin_of(&parts->at[at].stamp), origin_of(&part->stamp)) == 0;
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
        bool same = crdt_origin_compare(origin_of(&parts->at[i].stamp), origin_of(stamp)) == 0;
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

// -- What parts show --------------------------------------------------------------------------------------------------

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
        if (read_counted(&parts->at[p], arena, &all[p]) == CC_OK) {
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
        if (read_exceeding(parts->at[p].bytes, &value) == CC_OK &&
            (shown.data == NULL || exceeds(kind, value, shown, true, arena))) {
            shown = value;
        }
    }
    return shown;
}

// As array_out writes an element.
static void put_element(struct cc_buffer *out, struct cc_slice element)
{
    bool quoted = element.n == 0;
    bool null = element.n == 4;
    for (size_t i = 0; i < element.n; i++) {
        uint8_t c = element.data[i];
        quoted = quoted || c == '"' || c == '\\' || c == '{' || c == '}' || c == ',' || c == ' ' || (c >= '\t' && c <= '\r');
        null = null && (c | 0x20) == (uint8_t)"null"[i];
    }
    if (!quoted && !null) {
        cc_buffer_append_slice(out, element);
        return;
    }
    cc_put_u8(out, '"');
    for (size_t i = 0; i < element.n; i++) {
        if (element.data[i] == '"' || element.data[i] == '\\') {
            cc_put_u8(out, '\\');
        }
        cc_put_u8(out, element.data[i]);
    }
    cc_put_u8(out, '"');
}

// All memberships, and of them the additions that nobody who saw them has removed.
struct members {
    struct membership *sets; // per part
    struct addition *live;   // sorted by element, then stamp
    size_t n_live;
};

static void read_members(const struct crdt_parts *parts, struct cc_arena *arena, struct members *members)
{
    size_t n_added = 0, n_removed = 0;
    members->sets = cc_arena_array(arena, parts->n, sizeof(*members->sets));
    for (uint32_t p = 0; p < parts->n; p++) {
        if (read_membership(&parts->at[p], arena, &members->sets[p]) != CC_OK) {
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
    sort_additions(removed, n_removed);
    members->n_live = 0;
    for (uint32_t p = 0; p < parts->n; p++) {
        for (uint64_t i = 0; i < members->sets[p].n_added; i++) {
            const struct addition *added = &members->sets[p].added[i];
            if (n_removed == 0 || bsearch(added, removed, n_removed, sizeof(*removed), compare_additions) == NULL) {
                members->live[members->n_live++] = *added;
            }
        }
    }
    sort_additions(members->live, members->n_live);
}

static struct cc_slice elements_of(const struct crdt_parts *parts, struct cc_arena *arena)
{
    struct members members;
    read_members(parts, arena, &members);
    struct cc_buffer text = {0};
    cc_put_u8(&text, '{');
    for (size_t i = 0; i < members.n_live; i++) {
        if (i == 0 || !cc_slice_equal(members.live[i].element, members.live[i - 1].element)) {
            cc_buffer_append_text(&text, i == 0 ? "" : ",");
            put_element(&text, members.live[i].element);
        }
    }
    cc_put_u8(&text, '}');
    struct cc_slice copy = cc_arena_slice(arena, cc_buffer_slice(&text));
    cc_buffer_finish(&text);
    return copy;
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

// -- Writes -----------------------------------------------------------------------------------------------------------

static const struct crdt_part *own_part(const struct crdt_parts *parts, const struct clock_stamp *stamp)
{
    for (uint32_t i = 0; i < parts->n; i++) {
        if (crdt_origin_compare(origin_of(&parts->at[i].stamp), origin_of(stamp)) == 0) {
            return &parts->at[i];
        }
    }
    return NULL;
}

static bool is_counted_elsewhere(const struct crdt_parts *parts, const struct crdt_part *own, uint64_t key, struct cc_arena *arena)
{
    for (uint32_t p = 0; p < parts->n; p++) {
        struct counted other;
        if (&parts->at[p] == own || read_counted(&parts->at[p], arena, &other) != CC_OK) {
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
    if (own == NULL || read_counted(own, arena, &counted) != CC_OK) {
        counted = (struct counted){.total = zero, .at = cc_arena_array(arena, 1, sizeof(*counted.at))};
    }
    fold_settled(&counted, before, own, write->settled, arena);
    if (write->keyed && !cc_mutant(CC_MUTANT_KEYS_COUNT_TWICE)) {
        counted.at[counted.n++] = (struct keyed){write->key, write->stamp.hlc, amount};
    } else {
        counted.total = crdt_decimal_add(counted.total, amount, arena);
    }
    *bytes_out = put_counted(&counted, arena);
    return CC_OK;
}

static void exceed(const struct crdt_kind *kind, const struct crdt_parts *before, const struct crdt_part_write *write,
                   struct cc_arena *arena, struct cc_slice *bytes_out)
{
    struct cc_slice shown = crdt_parts_value(kind, before, arena);
    *bytes_out = (struct cc_slice){0};
    if (write->value.data != NULL && (shown.data == NULL || exceeds(kind, write->value, shown, false, arena))) {
        struct cc_buffer bytes = {0};
        cc_put_string(&bytes, write->value);
        *bytes_out = cc_arena_slice(arena, cc_buffer_slice(&bytes));
        cc_buffer_finish(&bytes);
    }
}

static int compare_elements(const void *left, const void *right)
{
    return cc_slice_compare(*(const struct cc_slice *)left, *(const struct cc_slice *)right);
}

static size_t sort_elements(struct cc_slice *elements, size_t n)
{
    size_t n_kept = 0;
    if (n > 0) {
        qsort(elements, n, sizeof(*elements), compare_elements);
    }
    for (size_t i = 0; i < n; i++) {
        if (n_kept == 0 || !cc_slice_equal(elements[n_kept - 1], elements[i])) {
            elements[n_kept++] = elements[i];
        }
    }
    return n_kept;
}

// Elements of an array's text, sorted, each once. Dimensions do not matter, NULLs are left out. n_out: SIZE_MAX if it is no array.
static struct cc_slice *read_elements(struct cc_slice text, struct cc_arena *arena, size_t *n_out)
{
    struct cc_slice *elements = cc_arena_array(arena, text.n / 2 + 1, sizeof(*elements)); // each takes a delimiter, too
    uint8_t *out = cc_arena_alloc(arena, text.n + 1);
    size_t n = 0;
    const uint8_t *at = memchr(text.data, '{', text.n), *end = text.data + text.n;
    *n_out = SIZE_MAX;
    if (at == NULL) {
        return elements;
    }
    while (at < end) {
        if (*at == '{' || *at == '}' || *at == ',') {
            at++;
            continue;
        }
        uint8_t *begin = out;
        bool quoted = *at == '"';
        at += quoted ? 1 : 0;
        while (at < end && (quoted ? *at != '"' : *at != ',' && *at != '}')) {
            at += *at == '\\' && at + 1 < end ? 1 : 0;
            *out++ = *at++;
        }
        at += quoted && at < end ? 1 : 0;
        struct cc_slice element = cc_slice_of(begin, (size_t)(out - begin));
        if (quoted || !cc_slice_equal_text(element, "NULL")) {
            elements[n++] = element;
        }
    }
    *n_out = sort_elements(elements, n);
    return elements;
}

struct wanted { // sorted, each once
    struct cc_slice *elements;
    size_t n;
};

static bool is_wanted(const struct wanted *wanted, struct cc_slice element)
{
    return wanted->n > 0 && bsearch(&element, wanted->elements, wanted->n, sizeof(element), compare_elements) != NULL;
}

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
        if (compare_additions(&set->added[i], addition) == 0) {
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
static bool differs(const struct members *members, const struct wanted *wanted)
{
    for (size_t i = 0; i < wanted->n; i++) {
        if (!is_live(members, wanted->elements[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < members->n_live; i++) {
        if (!is_wanted(wanted, members->live[i].element)) {
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

static struct cc_slice change_members(const struct crdt_parts *before, const struct members *members, const struct wanted *wanted,
                                      const struct clock_stamp *stamp, uint64_t settled, struct cc_arena *arena)
{
    struct crdt_origin self = origin_of(stamp);
    const struct crdt_part *own = own_part(before, stamp);
    const struct membership *held = own == NULL ? NULL : &members->sets[own - before->at];
    struct membership set = {.added = cc_arena_array(arena, members->n_live + wanted->n, sizeof(*set.added)),
                             .removed = cc_arena_array(arena, members->n_live + (held == NULL ? 0 : held->n_removed), sizeof(*set.removed))};
    for (size_t i = 0; i < members->n_live; i++) { // own additions stay or go; those of others are removed, or not touched
        const struct addition *live = &members->live[i];
        bool mine = crdt_origin_compare(origin_of(&live->stamp), self) == 0;
        bool stays = is_wanted(wanted, live->element);
        if (mine && stays) {
            set.added[set.n_added++] = *live;
        } else if (!mine && !stays) {
            set.removed[set.n_removed++] = *live;
        }
    }
    for (size_t i = 0; i < wanted->n; i++) {
        if (!is_live(members, wanted->elements[i])) {
            set.added[set.n_added++] = (struct addition){wanted->elements[i], *stamp};
        }
    }
    if (held != NULL) {
        keep_removals(before, members, own, settled, arena, &set);
    }
    return put_membership(&set, arena);
}

static enum cc_status change_set(const struct crdt_parts *before, const struct crdt_part_write *write, bool is_shown, struct cc_arena *arena,
                                 struct cc_slice *bytes_out)
{
    struct members members;
    struct wanted wanted = {0};
    read_members(before, arena, &members);
    if (write->value.data != NULL) {
        wanted.elements = read_elements(write->value, arena, &wanted.n);
    }
    if (wanted.n == SIZE_MAX) {
        return CC_INVALID;
    }
    bool changes = differs(&members, &wanted) || (!is_shown && write->value.data != NULL);
    *bytes_out = changes ? change_members(before, &members, &wanted, &write->stamp, write->settled, arena) : (struct cc_slice){0};
    return CC_OK;
}

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
    struct wanted sets[3] = {{0}, {0}, {0}};
    for (size_t i = 0; i < 3; i++) {
        if (texts[i].data != NULL) {
            sets[i].elements = read_elements(texts[i], arena, &sets[i].n);
        }
        if (sets[i].n == SIZE_MAX) {
            return false;
        }
    }
    if (shown.data == NULL && after.data == NULL) {
        *value_out = shown;
        return true;
    }
    struct cc_slice *all = cc_arena_array(arena, sets[0].n + sets[2].n + 1, sizeof(*all));
    size_t n = 0;
    for (size_t i = 0; i < sets[0].n; i++) { // but for what the change took out
        if (!is_wanted(&sets[1], sets[0].elements[i]) || is_wanted(&sets[2], sets[0].elements[i])) {
            all[n++] = sets[0].elements[i];
        }
    }
    for (size_t i = 0; i < sets[2].n; i++) { // and what it put in
        if (!is_wanted(&sets[1], sets[2].elements[i])) {
            all[n++] = sets[2].elements[i];
        }
    }
    n = sort_elements(all, n);
    struct cc_buffer text = {0};
    cc_put_u8(&text, '{');
    for (size_t i = 0; i < n; i++) {
        cc_buffer_append_text(&text, i == 0 ? "" : ",");
        put_element(&text, all[i]);
    }
    cc_put_u8(&text, '}');
    *value_out = cc_arena_slice(arena, cc_buffer_slice(&text));
    cc_buffer_finish(&text);
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
        bool sorted = i == 0 || crdt_origin_compare(origin_of(&parts.at[i - 1].stamp), origin_of(&parts.at[i].stamp)) < 0;
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
