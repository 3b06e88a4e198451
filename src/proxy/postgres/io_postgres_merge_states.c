// Joining states of rows that another replica has sent, and what the histories tell where two values have one stamp.
#include "proxy/postgres/io_postgres_merge.h"

#include "base/memory.h"

#include <stdlib.h>

bool pg_merge_same_value(struct cc_slice a, struct cc_slice b)
{
    return (a.data == NULL) == (b.data == NULL) && cc_slice_equal(a, b);
}

static int compare_truths(const void *a, const void *b)
{
    const struct merge_truth *x = a, *y = b;
    return cc_slice_compare(x->row->key, y->row->key);
}

// The first truth about a row.
static size_t first_truth(const struct merge *merge, struct cc_slice key)
{
    size_t low = 0, high = merge->truths.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cc_slice_compare(merge->truths.at[middle].row->key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// The value that the write under this stamp gave the field, as the history has it. False: it does not tell.
static bool find_truth(const struct merge *merge, const struct merge_table *table, const struct merge_row *row, uint32_t column,
                       struct cc_slice *value_out)
{
    const struct clock_stamp *stamp = &row->row.registers[column].stamp;
    bool unstamped = clock_stamp_is_zero(stamp);
    for (size_t i = first_truth(merge, row->key); i < merge->truths.n && cc_slice_equal(merge->truths.at[i].row->key, row->key); i++) {
        const struct merge_truth *truth = &merge->truths.at[i];
        bool same = crdt_table_equal(truth->row->table, table->name);
        if (same && unstamped && truth->row->operation == CRDT_DELETE) {
            *value_out = row->row.columns[column].cleared;
            return true;
        }
        same = same && clock_stamp_compare(&truth->set->stamp, stamp) == 0;
        for (uint32_t f = 0; same && f < truth->row->n_fields; f++) {
            if (cc_slice_equal(truth->row->fields[f].column, row->row.columns[column].name)) {
                *value_out = truth->row->fields[f].value;
                return true;
            }
        }
    }
    return false;
}

// One stamp, two values: somebody wrote past Caucus, or a disk is failing. Without a stamp: when the history may tell of a deletion.
static bool contradicts(const struct crdt_row *row, const struct crdt_row *other, uint32_t column)
{
    const struct crdt_register *a = &row->registers[column], *b = &other->registers[column];
    bool plain = !row->columns[column].key && row->columns[column].kind.merge == CRDT_LWW;
    if (!plain || clock_stamp_compare(&a->stamp, &b->stamp) != 0 || pg_merge_same_value(a->value, b->value)) {
        return false;
    }
    return !clock_stamp_is_zero(&a->stamp) || (!row->columns[column].sticky && crdt_row_may_have_died(row));
}

static bool other_row(struct merge *merge, const struct merge_table *table, const struct row_state *state, struct crdt_row *row_out)
{
    const struct pg_table *described = table->table;
    struct crdt_register *registers = cc_arena_array(&merge->arena, described->n_fields, sizeof(*registers));
    crdt_row_init(row_out, described->registers, described->n_fields, registers, &merge->arena);
    if (state->hidden) {
        return crdt_remains_read(state->remains, row_out) == CC_OK && clock_stamp_parse(state->death, &row_out->death) == CC_OK;
    }
    for (uint32_t i = 0; i < state->n_fields; i++) {
        for (uint32_t c = 0; c < described->n_fields; c++) {
            if (!described->registers[c].key && cc_slice_equal(described->registers[c].name, state->names[i])) {
                registers[c].value = state->values[i];
            }
        }
    }
    return crdt_stamps_read(state->stamps, row_out) == CC_OK;
}

// Whether the sift (io_repair_sift.c) has asked the histories for this value's stamp.
static bool is_looked_up(const struct row_state *state, const struct crdt_row *other, uint32_t column)
{
    return state->told != NULL && !clock_stamp_is_zero(&other->registers[column].stamp);
}

static bool find_told(const struct row_state *state, struct cc_slice column, struct cc_slice *value_out)
{
    for (uint32_t i = 0; i < state->n_fields; i++) {
        if (state->told[i] && cc_slice_equal(state->names[i], column)) {
            *value_out = state->values[i];
            return true;
        }
    }
    return false;
}

void pg_merge_join_row(struct merge *merge, const struct merge_table *table, struct merge_row *row, const struct row_state *state)
{
    struct crdt_row other;
    bool is_known = row->exists || row->had_tombstone || row->changed;
    if (!is_known && row_state_is_forgotten(state, merge->job->job.dropped, &merge->arena)) {
        return;
    }
    if (!other_row(merge, table, state, &other)) {
        return; // of a broken sender
    }
    bool changed = row->wrong;
    for (uint32_t c = 0; c < row->row.n_columns; c++) {
        struct cc_slice value;
        if (!contradicts(&row->row, &other, c)) {
            continue;
        }
        bool known = is_looked_up(state, &other, c) ? find_told(state, other.columns[c].name, &value) : find_truth(merge, table, row, c, &value);
        if (known) {
            changed = changed || !pg_merge_same_value(row->row.registers[c].value, value);
            row->row.registers[c].value = other.registers[c].value = value;
        }
    }
    bool is_all = !state->hidden || state->settled;
    changed = (is_all && crdt_row_forget(&row->row, &other, merge->job->job.bound)) || changed;
    changed = crdt_row_join(&row->row, &other) || changed;
    merge->n_changed += changed && !row->changed;
    row->changed = row->changed || changed;
}

void pg_merge_contradictions(struct merge *merge, struct pg_array *stamps, struct pg_array *hashes)
{
    struct clock_stamp last = {0};
    for (uint32_t i = merge->first; i < merge->end; i++) {
        const struct merge_set *set = &merge->sets[i];
        for (uint32_t r = 0; !set->skipped && set->states != NULL && r < set->set.n_rows; r++) {
            struct merge_table *table = pg_merge_table(merge, set->set.rows[r].table);
            struct merge_row *row = table->table == NULL ? NULL : pg_merge_row(merge, table, set->set.rows[r].key);
            struct crdt_row other;
            if (row == NULL || !row->exists || !other_row(merge, table, &set->states[r], &other)) {
                continue;
            }
            bool unstamped = false;
            for (uint32_t c = 0; c < other.n_columns; c++) {
                bool contradict = contradicts(&row->row, &other, c) && !is_looked_up(&set->states[r], &other, c);
                if (contradict && clock_stamp_is_zero(&other.registers[c].stamp)) {
                    unstamped = true;
                } else if (contradict && clock_stamp_compare(&other.registers[c].stamp, &last) != 0) { // rows of one write come together
                    last = other.registers[c].stamp;
                    char text[CLOCK_STAMP_TEXT_BYTES];
                    clock_stamp_text(&other.registers[c].stamp, text);
                    pg_array_put(stamps, cc_slice_text(text));
                }
            }
            if (unstamped) {
                pg_array_put_int8(hashes, crdt_row_hash(table->name, row->key));
            }
        }
    }
}

void pg_merge_take_truths(struct merge *merge, PGresult *result)
{
    merge->truths.result = result;
    for (int i = 0; i < PQntuples(result); i++) {
        struct cc_slice change;
        struct crdt_change_set *set = cc_arena_alloc(&merge->arena, sizeof(*set));
        if (pg_bytea_read(pg_result_value(result, i, 0), &merge->arena, &change) != CC_OK ||
            crdt_change_set_read(change, &merge->arena, set) != CC_OK) {
            continue;
        }
        for (uint32_t r = 0; r < set->n_rows; r++) {
            merge->truths.at = cc_grow(merge->truths.at, &merge->truths.capacity, merge->truths.n + 1, sizeof(*merge->truths.at));
            merge->truths.at[merge->truths.n++] = (struct merge_truth){set, &set->rows[r]};
        }
    }
    if (merge->truths.n > 0) {
        qsort(merge->truths.at, merge->truths.n, sizeof(*merge->truths.at), compare_truths);
    }
}
