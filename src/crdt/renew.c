// Renewing what nobody took in.
#include "crdt/renew.h"

#include <string.h>

struct renewing {
    const struct crdt_change_set *old;
    struct clock_stamp old_stamp;
    struct crdt_part_write as; // the new stamp, and the request's key
    struct cc_arena *arena;
    struct crdt_change_set *set;
};

enum fate { FATE_RENEWED, FATE_LOST, FATE_MOOT };

// What was written under this stamp comes before the old change: it is older, or was renewed just now.
static bool is_before(const struct renewing *renewing, const struct clock_stamp *stamp)
{
    bool ours = stamp->replica == renewing->as.stamp.replica && stamp->incarnation == renewing->as.stamp.incarnation;
    return ours || clock_stamp_compare(stamp, &renewing->old_stamp) < 0;
}

// -- Fields -----------------------------------------------------------------------------------------------------------

static enum fate renew_typed(const struct renewing *renewing, struct crdt_row *row, uint32_t column, bool inserted, struct crdt_field *field)
{
    const struct crdt_kind *kind = &row->columns[column].kind;
    struct crdt_register *held = &row->registers[column];
    struct crdt_part_write write = renewing->as;
    struct cc_slice before = inserted ? (struct cc_slice){0} : field->old_value;
    struct cc_slice shown = held->value;
    struct cc_slice bytes = {0};
    bool exceeds = kind->merge == CRDT_MAX || kind->merge == CRDT_MIN;
    if (!crdt_value_move(kind, shown, before, field->value, renewing->arena, &write.value) ||
        crdt_part_make(kind, &held->parts, &write, renewing->arena, &bytes) != CC_OK) {
        return FATE_LOST;
    }
    if (bytes.data == NULL) {
        return exceeds && field->value.data != NULL ? FATE_LOST : FATE_MOOT;
    }
    (void)crdt_parts_take(kind, &held->parts, &(struct crdt_part){write.stamp, bytes}, renewing->arena);
    held->value = crdt_parts_value(kind, &held->parts, renewing->arena);
    field->part = bytes;
    field->old_value = shown;
    field->value = held->value;
    return FATE_RENEWED;
}

static enum fate renew_field(const struct renewing *renewing, struct crdt_row *row, bool inserted, struct crdt_field *field)
{
    uint32_t column = 0;
    while (column < row->n_columns && !cc_slice_equal(row->columns[column].name, field->column)) {
        column++;
    }
    if (column == row->n_columns || row->columns[column].key) {
        return FATE_LOST; // dropped since
    }
    if (row->columns[column].kind.merge != CRDT_LWW) {
        return renew_typed(renewing, row, column, inserted, field);
    }
    const struct crdt_register *held = &row->registers[column];
    if (!is_before(renewing, &held->stamp)) {
        return FATE_LOST;
    }
    field->part = (struct cc_slice){0}; // from when the column had a merge type
    field->old_value = held->value;
    return FATE_RENEWED;
}

// -- Rows -------------------------------------------------------------------------------------------------------------

static void lose(struct renewing *renewing, const struct crdt_row_change *change)
{
    renewing->set->lost[renewing->set->n_lost++] = *change;
}

// A row that comes to life by this change has a value where there must be one.
static bool can_show(const struct crdt_row *row, const struct crdt_row_change *change)
{
    for (uint32_t i = 0; i < row->n_columns; i++) {
        const struct crdt_column *column = &row->columns[i];
        bool has = column->key || !column->sticky || column->kind.merge != CRDT_LWW || row->registers[i].value.data != NULL;
        for (uint32_t f = 0; !has && f < change->n_fields; f++) {
            has = cc_slice_equal(change->fields[f].column, column->name) && change->fields[f].value.data != NULL;
        }
        if (!has) {
            return false;
        }
    }
    return true;
}

static void renew_delete(struct renewing *renewing, struct crdt_row *row, const struct crdt_row_change *change)
{
    if (!crdt_row_is_visible(row)) {
        return; // it is done
    }
    if (!is_before(renewing, &row->life)) {
        lose(renewing, change);
        return;
    }
    renewing->set->rows[renewing->set->n_rows++] = *change;
    (void)crdt_row_merge(row, change, &renewing->as.stamp);
}

static struct crdt_row_change with_room(const struct renewing *renewing, const struct crdt_row_change *change)
{
    struct crdt_row_change copy = *change;
    copy.n_fields = 0;
    copy.fields = cc_arena_array(renewing->arena, change->n_fields, sizeof(*copy.fields));
    return copy;
}

static void renew_write(struct renewing *renewing, struct crdt_row *row, const struct crdt_row_change *change)
{
    bool lives = crdt_row_is_visible(row), updates = change->operation == CRDT_UPDATE;
    bool can_live = lives || (!updates && can_show(row, change));
    if (!can_live || !is_before(renewing, &row->death)) {
        lose(renewing, change);
        return;
    }
    bool raises = !updates && is_before(renewing, &row->life);
    struct crdt_row_change renewed = with_room(renewing, change), lost = with_room(renewing, change);
    for (uint32_t i = 0; i < change->n_fields; i++) {
        struct crdt_field field = change->fields[i];
        switch (renew_field(renewing, row, change->operation == CRDT_INSERT, &field)) {
        case FATE_RENEWED:
            renewed.fields[renewed.n_fields++] = field;
            break;
        case FATE_LOST:
            lost.fields[lost.n_fields++] = field;
            break;
        case FATE_MOOT:
            break;
        }
    }
    if (!raises) { // the row lives anyhow; it is not to outlive a deletion that it would not have outlived
        renewed.operation = CRDT_UPDATE;
    }
    if (raises || renewed.n_fields > 0) {
        renewing->set->rows[renewing->set->n_rows++] = renewed;
        (void)crdt_row_merge(row, &renewed, &renewing->as.stamp);
    }
    if (lost.n_fields > 0) {
        lost.operation = CRDT_UPDATE;
        lose(renewing, &lost);
    }
}

// -- Sets -------------------------------------------------------------------------------------------------------------

static struct renewing begin(const struct crdt_change_set *old, const struct clock_stamp *stamp, struct cc_slice seen, uint32_t schema_version,
                             struct cc_arena *arena, struct crdt_change_set *set)
{
    *set = *old;
    set->renews = (struct crdt_old_number){old->origin, old->sequence, old->stamp.hlc};
    set->origin = (struct crdt_origin){stamp->replica, stamp->incarnation};
    set->sequence = 0;
    set->stamp = *stamp;
    set->schema_version = schema_version;
    set->seen = seen;
    set->durable = false; // nobody waits any more
    set->rows = cc_arena_array(arena, old->n_rows, sizeof(*set->rows));
    set->lost = cc_arena_array(arena, (size_t)old->n_rows + old->n_lost, sizeof(*set->lost));
    set->n_rows = 0;
    for (uint32_t i = 0; i < old->n_lost; i++) { // of what it renewed itself: nobody has heard of that either
        set->lost[i] = old->lost[i];
    }
    bool keyed = old->request_key.data != NULL;
    return (struct renewing){.old = old,
                             .old_stamp = old->stamp,
                             .as = {.stamp = *stamp, .keyed = keyed, .key = keyed ? crdt_change_set_request(old) : 0},
                             .arena = arena,
                             .set = set};
}

void crdt_change_set_renew(const struct crdt_change_set *old, const struct clock_stamp *stamp, struct cc_slice seen, uint32_t schema_version,
                           struct crdt_row *(*row_of)(void *context, const struct crdt_row_change *change), void *context, struct cc_arena *arena, struct crdt_change_set *set_out)
{
    struct renewing renewing = begin(old, stamp, seen, schema_version, arena, set_out);
    for (uint32_t i = 0; i < old->n_rows; i++) {
        struct crdt_row *row = row_of(context, &old->rows[i]);
        if (row == NULL) {
            lose(&renewing, &old->rows[i]);
        } else if (old->rows[i].operation == CRDT_DELETE) {
            renew_delete(&renewing, row, &old->rows[i]);
        } else {
            renew_write(&renewing, row, &old->rows[i]);
        }
    }
}

void crdt_change_set_renounce(const struct crdt_change_set *old, const struct clock_stamp *stamp, struct cc_slice seen,
                              uint32_t schema_version, struct cc_arena *arena, struct crdt_change_set *set_out)
{
    struct renewing renewing = begin(old, stamp, seen, schema_version, arena, set_out);
    for (uint32_t i = 0; i < old->n_rows; i++) {
        lose(&renewing, &old->rows[i]);
    }
}
