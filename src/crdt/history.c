// Histories: which write to a field won, and why.
#include "crdt/history.h"

#include "base/memory.h"

#include <stdlib.h>

struct reference { // one row of one set
    const struct crdt_change_set *set;
    const struct crdt_row_change *change;
};

static int compare_places(const struct reference *a, const struct reference *b)
{
    int order = cc_slice_compare(a->change->table, b->change->table);
    return order != 0 ? order : cc_slice_compare(a->change->key, b->change->key);
}

// By row; within a row by stamp.
static int compare_references(const void *left, const void *right)
{
    const struct reference *a = left, *b = right;
    int order = compare_places(a, b);
    return order != 0 ? order : clock_stamp_compare(&a->set->stamp, &b->set->stamp);
}

static int compare_entries(const void *left, const void *right)
{
    const struct crdt_history_entry *a = left, *b = right;
    int order = clock_stamp_compare(&b->set->stamp, &a->set->stamp);
    if (order == 0) {
        order = cc_slice_compare(a->change->table, b->change->table);
    }
    if (order == 0) {
        order = cc_slice_compare(a->change->key, b->change->key);
    }
    if (order == 0 && (a->field == NULL || b->field == NULL)) {
        order = (a->field != NULL) - (b->field != NULL);
    } else if (order == 0) {
        order = cc_slice_compare(a->field->column, b->field->column);
    }
    return order;
}

static bool writes_field(const struct crdt_row_change *change, struct cc_slice column)
{
    for (uint32_t i = 0; i < change->n_fields; i++) {
        if (cc_slice_equal(change->fields[i].column, column)) {
            return true;
        }
    }
    return false;
}

// The next write after row[at] that took the place of this field's (NULL: of the row's existence); n: there is none. What was written to
// a column with a merge type is not overwritten but counted, until the row is deleted.
static size_t find_next(const struct reference *row, size_t n, size_t at, const struct crdt_field *field)
{
    for (size_t i = at + 1; i < n; i++) {
        const struct crdt_row_change *change = row[i].change;
        bool deletes = change->operation == CRDT_DELETE;
        bool counted = field != NULL && field->part.data != NULL;
        bool writes = field == NULL ? change->operation != CRDT_UPDATE : !counted && writes_field(change, field->column);
        if (deletes || writes) {
            return i;
        }
    }
    return n;
}

static enum crdt_fate fate_under(const struct crdt_change_set *set, const struct reference *next)
{
    bool saw = crdt_change_set_saw(next->set, set->origin, set->sequence);
    bool tells = next->set->seen.data != NULL || crdt_origin_compare(next->set->origin, set->origin) == 0;
    if (next->change->operation == CRDT_DELETE) {
        return saw || !tells ? CRDT_FATE_DELETED : CRDT_FATE_LOST_DELETED;
    }
    if (saw) {
        return CRDT_FATE_OVERWRITTEN;
    }
    return tells ? CRDT_FATE_LOST : CRDT_FATE_SUPERSEDED;
}

struct row_state {
    bool visible;
    const struct reference *death; // the last deletion, or NULL
};

static struct row_state state_of(const struct reference *row, size_t n)
{
    struct row_state state = {0};
    for (size_t i = 0; i < n; i++) { // in order of stamps
        switch (row[i].change->operation) {
        case CRDT_INSERT:
        case CRDT_UPSERT:
            state.visible = true;
            break;
        case CRDT_UPDATE:
            break;
        case CRDT_DELETE:
            state.visible = false;
            state.death = &row[i];
            break;
        }
    }
    // Updated, and its insert is not among the sets: it was there.
    state.visible = state.visible || (state.death == NULL && n > 0);
    return state;
}

static struct crdt_history_entry entry_of(const struct reference *row, size_t n, size_t at, const struct crdt_field *field,
                                          const struct row_state *state)
{
    struct crdt_history_entry entry = {
        .set = row[at].set, .change = row[at].change, .field = field, .fate = CRDT_FATE_CURRENT, .row_visible = state->visible};
    size_t next = find_next(row, n, at, field);
    if (next < n) {
        entry.fate = fate_under(row[at].set, &row[next]);
        entry.by = row[next].set;
        entry.by_operation = row[next].change->operation;
    } else if (!state->visible && row[at].change->operation != CRDT_DELETE && state->death != NULL) {
        entry.fate = CRDT_FATE_HIDDEN;
        entry.by = state->death->set;
        entry.by_operation = CRDT_DELETE;
    }
    return entry;
}

static size_t put_row(const struct reference *row, size_t n, struct crdt_history_entry *entries)
{
    struct row_state state = state_of(row, n);
    size_t n_entries = 0;
    for (size_t i = 0; i < n; i++) {
        const struct crdt_row_change *change = row[i].change;
        if (change->operation != CRDT_UPDATE) {
            entries[n_entries++] = entry_of(row, n, i, NULL, &state);
        }
        for (uint32_t f = 0; f < change->n_fields; f++) {
            entries[n_entries++] = entry_of(row, n, i, &change->fields[f], &state);
        }
    }
    return n_entries;
}

static bool is_wanted(const struct crdt_row_change *change, struct cc_slice table, struct cc_slice key)
{
    return (table.data == NULL || crdt_table_equal(table, change->table)) && (key.data == NULL || cc_slice_equal(key, change->key));
}

// What renewals tell of the changes whose place they take.
static size_t put_lost(const struct crdt_change_set *sets, size_t n_sets, struct cc_slice table, struct cc_slice key,
                       struct crdt_history_entry *entries)
{
    size_t n = 0;
    for (size_t i = 0; i < n_sets; i++) {
        for (uint32_t r = 0; r < sets[i].n_lost; r++) {
            const struct crdt_row_change *change = &sets[i].lost[r];
            struct crdt_history_entry entry = {.set = &sets[i], .change = change, .fate = CRDT_FATE_NOT_RENEWED};
            if (is_wanted(change, table, key) && change->operation != CRDT_UPDATE) {
                entries[n++] = entry;
            }
            for (uint32_t f = 0; is_wanted(change, table, key) && f < change->n_fields; f++) {
                entry.field = &change->fields[f];
                entries[n++] = entry;
            }
        }
    }
    return n;
}

void crdt_history_create(const struct crdt_change_set *sets, size_t n_sets, struct cc_slice table, struct cc_slice key,
                         struct cc_arena *arena, struct crdt_history_entry **entries_out, size_t *n_out)
{
    size_t n = 0, n_rows = 0, n_entries = 0;
    for (size_t i = 0; i < n_sets; i++) {
        n_rows += sets[i].n_rows;
    }
    struct reference *references = cc_alloc_array(n_rows + 1, sizeof(*references));
    for (size_t i = 0; i < n_sets; i++) {
        for (uint32_t r = 0; r < sets[i].n_rows; r++) {
            const struct crdt_row_change *change = &sets[i].rows[r];
            if (is_wanted(change, table, key)) {
                references[n++] = (struct reference){&sets[i], change};
                n_entries += change->n_fields + 1;
            }
        }
        for (uint32_t r = 0; r < sets[i].n_lost; r++) {
            n_entries += sets[i].lost[r].n_fields + 1;
        }
    }
    qsort(references, n, sizeof(*references), compare_references);
    struct crdt_history_entry *entries = cc_arena_array(arena, n_entries + 1, sizeof(*entries));
    n_entries = 0;
    n_entries += put_lost(sets, n_sets, table, key, entries);
    for (size_t first = 0, end; first < n; first = end) {
        end = first + 1;
        while (end < n && compare_places(&references[first], &references[end]) == 0) {
            end++;
        }
        n_entries += put_row(references + first, end - first, entries + n_entries);
    }
    free(references);
    qsort(entries, n_entries, sizeof(*entries), compare_entries);
    *entries_out = entries;
    *n_out = n_entries;
}

static const struct crdt_change_set *find_set(const struct crdt_history_entry *entries, size_t n, const struct clock_stamp *stamp)
{
    for (size_t i = 0; i < n; i++) {
        if (entries[i].fate != CRDT_FATE_NOT_RENEWED && clock_stamp_compare(&entries[i].set->stamp, stamp) == 0) {
            return entries[i].set;
        }
    }
    return NULL;
}

// Whoever did not tell what it knew is taken to have known everything earlier.
static bool knew(const struct crdt_change_set *writer, const struct crdt_history_entry *entry)
{
    if (entry->fate == CRDT_FATE_NOT_RENEWED || clock_stamp_compare(&entry->set->stamp, &writer->stamp) > 0) {
        return false;
    }
    return entry->set == writer || writer->seen.data == NULL || crdt_change_set_saw(writer, entry->set->origin, entry->set->sequence);
}

static bool has_field(const struct crdt_field *const *fields, size_t n, struct cc_slice column)
{
    for (size_t i = 0; i < n; i++) {
        if (cc_slice_equal(fields[i]->column, column)) {
            return true;
        }
    }
    return false;
}

bool crdt_history_row_at(const struct crdt_history_entry *entries, size_t n, const struct clock_stamp *stamp, struct cc_arena *arena,
                         const struct crdt_field ***fields_out, size_t *n_fields_out)
{
    const struct crdt_change_set *writer = find_set(entries, n, stamp);
    const struct crdt_field **fields = cc_arena_array(arena, n + 1, sizeof(*fields));
    size_t n_fields = 0;
    bool lives = false, dies = false;
    for (size_t i = 0; i < n && writer != NULL && !dies; i++) { // newest first
        const struct crdt_history_entry *entry = &entries[i];
        if (!knew(writer, entry)) {
            continue;
        }
        dies = entry->change->operation == CRDT_DELETE;
        lives = lives || entry->change->operation == CRDT_INSERT || entry->change->operation == CRDT_UPSERT;
        if (entry->field != NULL && !has_field(fields, n_fields, entry->field->column)) {
            fields[n_fields++] = entry->field;
        }
    }
    if (writer == NULL || (dies && !lives)) { // updated, and its insert is not among the entries: it was there
        return false;
    }
    *fields_out = fields;
    *n_fields_out = n_fields;
    return true;
}

bool crdt_fate_is_conflict(enum crdt_fate fate)
{
    return fate == CRDT_FATE_NOT_RENEWED || fate == CRDT_FATE_LOST || fate == CRDT_FATE_LOST_DELETED || fate == CRDT_FATE_HIDDEN;
}

const char *crdt_fate_text(enum crdt_fate fate)
{
    switch (fate) {
    case CRDT_FATE_CURRENT:
        return "current";
    case CRDT_FATE_OVERWRITTEN:
        return "overwritten";
    case CRDT_FATE_LOST:
        return "concurrent_greater_stamp";
    case CRDT_FATE_SUPERSEDED:
        return "greater_stamp";
    case CRDT_FATE_DELETED:
        return "deleted";
    case CRDT_FATE_LOST_DELETED:
        return "concurrent_delete";
    case CRDT_FATE_HIDDEN:
        return "row_deleted";
    case CRDT_FATE_NOT_RENEWED:
        return "not_renewed";
    }
    return "unknown";
}

const char *crdt_operation_text(enum crdt_operation operation)
{
    switch (operation) {
    case CRDT_INSERT:
        return "insert";
    case CRDT_UPDATE:
        return "update";
    case CRDT_UPSERT:
        return "upsert";
    case CRDT_DELETE:
        return "delete";
    }
    return "unknown";
}
