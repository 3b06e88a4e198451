// Columns with merge types in executed weak writes.
#include "proxy/postgres/io_postgres_parts.h"

#include "base/hash.h"
#include "crdt/digest.h"
#include "proxy/postgres/apply_sql.h"
#include "proxy/postgres/io_postgres_mend.h"

#include <string.h>

struct pg_parts_row {
    const struct pg_table *table;
    struct cc_slice key;
    struct crdt_row row;
    struct cc_slice *raw; // per field: what the last statement left there
    bool inserted;        // its image was not there before: tombstones may hold parts
    bool exists;
    bool mend;
    struct pg_parts_row *next_in_slot, *next;
};

void pg_parts_clear(struct pg_parts *parts, const struct db_job *job, struct cc_arena *arena, bool all)
{
    PGresult *tombstones = parts->tombstones;
    bool asked = parts->asked;
    if (all) {
        PQclear(tombstones);
        tombstones = NULL;
        asked = false;
    }
    *parts = (struct pg_parts){.arena = arena, .settled = job->settled, .asked = asked, .tombstones = tombstones};
}

static struct pg_parts_row **find_slot(struct pg_parts *parts, const struct pg_table *table, struct cc_slice key)
{
    static const uint8_t hash_key[16] = {6};
    struct pg_parts_row **slot = &parts->slots[cc_siphash(hash_key, key.data, key.n) % PG_PARTS_SLOTS];
    // By name: a table is described once for each way in which it was asked for.
    while (*slot != NULL && (!cc_slice_equal((*slot)->key, key) || !cc_slice_equal((*slot)->table->name, table->name))) {
        slot = &(*slot)->next_in_slot;
    }
    return slot;
}

// What a deletion left, if anything.
static enum cc_status read_tombstone(struct pg_parts *parts, struct pg_parts_row *row)
{
    const PGresult *result = parts->tombstones;
    for (int i = 0; result != NULL && i < PQntuples(result); i++) {
        struct cc_slice key = {0}, remains = {0};
        if (!cc_slice_equal(pg_result_value(result, i, 0), row->table->name)) {
            continue;
        }
        enum cc_status status = pg_bytea_read(pg_result_value(result, i, 1), parts->arena, &key);
        if (status != CC_OK || !cc_slice_equal(key, row->key)) {
            continue;
        }
        status = clock_stamp_parse(pg_result_value(result, i, 2), &row->row.death);
        status = status == CC_OK ? pg_bytea_read(pg_result_value(result, i, 3), parts->arena, &remains) : status;
        return status == CC_OK ? crdt_remains_read(remains, &row->row) : status;
    }
    return CC_OK;
}

static enum cc_status read_image(struct pg_parts_row *row, const struct cc_slice *values)
{
    for (uint32_t i = 0; i < row->table->n_fields; i++) {
        row->row.registers[i].value = row->raw[i] = values[row->table->fields[i]];
    }
    return row->table->stamps < 0 ? CC_MALFORMED : crdt_stamps_read(values[row->table->stamps], &row->row);
}

enum cc_status pg_parts_note(struct pg_parts *parts, const struct pg_table *table, struct cc_slice key, const struct cc_slice *values)
{
    struct pg_parts_row **slot = find_slot(parts, table, key);
    if (*slot != NULL) {
        return CC_OK;
    }
    struct pg_parts_row *row = cc_arena_alloc(parts->arena, sizeof(*row));
    struct crdt_register *registers = cc_arena_array(parts->arena, table->n_fields, sizeof(*registers));
    row->table = table;
    row->key = key;
    row->raw = cc_arena_array(parts->arena, table->n_fields, sizeof(*row->raw));
    row->inserted = values == NULL;
    row->exists = values != NULL;
    crdt_row_init(&row->row, table->registers, table->n_fields, registers, parts->arena);
    enum cc_status status = values != NULL ? read_image(row, values) : read_tombstone(parts, row);
    if (status != CC_OK) {
        return status;
    }
    parts->n_missing += values == NULL && !parts->asked;
    *slot = row;
    if (parts->last == NULL) {
        parts->first = row;
    } else {
        parts->last->next = row;
    }
    parts->last = row;
    return CC_OK;
}

// -- A write's parts ----------------------------------------------------------------------------------------------------

static uint32_t field_position(const struct pg_table *table, struct cc_slice column)
{
    uint32_t i = 0;
    while (i < table->n_fields && !cc_slice_equal(table->registers[i].name, column)) {
        i++;
    }
    return i;
}

static bool same_value(struct cc_slice a, struct cc_slice b)
{
    return (a.data == NULL) == (b.data == NULL) && cc_slice_equal(a, b);
}

// False: the field changes nothing.
static bool change_field(struct pg_parts *parts, struct pg_parts_row *row, uint32_t position, struct crdt_field *field,
                         const struct crdt_change_set *set, enum cc_status *status_out)
{
    const struct crdt_kind *kind = &row->table->registers[position].kind;
    struct crdt_register *held = &row->row.registers[position];
    struct crdt_part_write write = {.stamp = set->stamp, .value = field->value, .settled = parts->settled, .keyed = set->request_key.data != NULL};
    write.key = write.keyed ? crdt_change_set_request(set) : 0;
    // What follows from an insert's value and stamp by itself need not be stored.
    row->mend = row->mend || !row->inserted || row->exists || held->parts.n > 0 || (write.keyed && kind->merge == CRDT_COUNTER);
    row->raw[position] = field->value;
    *status_out = crdt_part_make(kind, &held->parts, &write, parts->arena, &field->part);
    if (*status_out != CC_OK) {
        return false;
    }
    if (field->part.data != NULL) {
        (void)crdt_parts_take(kind, &held->parts, &(struct crdt_part){set->stamp, field->part}, parts->arena);
        held->value = crdt_parts_value(kind, &held->parts, parts->arena);
    }
    row->mend = row->mend || !same_value(field->value, held->value);
    field->value = held->value;
    return field->part.data != NULL;
}

bool pg_parts_change(struct pg_parts *parts, const struct pg_table *table, struct crdt_row_change *change, const struct crdt_change_set *set,
                     enum cc_status *status_out)
{
    struct pg_parts_row *row = *find_slot(parts, table, change->key);
    *status_out = row == NULL ? CC_INVALID : CC_OK;
    if (*status_out == CC_OK && change->operation == CRDT_DELETE) {
        (void)crdt_row_merge(&row->row, change, &set->stamp);
        row->exists = false;
        return false;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; *status_out == CC_OK && i < change->n_fields; i++) {
        struct crdt_field *field = &change->fields[i];
        uint32_t position = field_position(table, field->column);
        bool typed = position < table->n_fields && table->registers[position].kind.merge != CRDT_LWW;
        if (!typed || change_field(parts, row, position, field, set, status_out)) {
            change->fields[n++] = *field;
        }
    }
    if (*status_out != CC_OK) {
        return false;
    }
    row->exists = true;
    change->n_fields = n;
    return change->operation == CRDT_UPDATE && n == 0;
}

// -- Tombstones of inserted rows ------------------------------------------------------------------------------------------

bool pg_parts_ask(struct pg_parts *parts, struct pg_lane *lane, io_postgres_on_result *on_result, void *context, uint64_t number)
{
    if (parts->n_missing == 0 || parts->asked) {
        return false;
    }
    parts->asked = true;
    struct pg_array tables, keys;
    pg_array_init(&tables, PG_TEXT);
    pg_array_init(&keys, PG_BYTEA);
    for (const struct pg_parts_row *row = parts->first; row != NULL; row = row->next) {
        if (row->inserted) {
            pg_array_put(&tables, row->table->name);
            pg_array_put(&keys, row->key);
        }
    }
    struct pg_array *arrays[2] = {&tables, &keys};
    struct cc_slice parameters[2];
    uint8_t binary[2];
    struct cc_buffer sql = {0};
    cc_buffer_append_text(&sql, "SELECT m.\"table\", m.key, m.death, m.remains FROM ");
    pg_arrays_source(&sql, arrays, 2, parameters, binary);
    cc_buffer_append_text(&sql, " AS u(t, k) JOIN caucus.tombstones m ON m.\"table\" = u.t AND m.key = u.k");
    struct io_postgres_query query = {.sql = cc_buffer_text(&sql), .n_parameters = 2, .parameters = parameters, .binary = binary};
    io_postgres_link_send(lane->link, &query, on_result, context, number);
    cc_buffer_finish(&sql);
    pg_array_finish(&tables);
    pg_array_finish(&keys);
    return true;
}

// -- Rows set right -------------------------------------------------------------------------------------------------------

static void append_slice(struct cc_buffer *sql, struct cc_slice text)
{
    cc_buffer_append(sql, text.data, text.n);
}

static struct cc_slice add_text(struct pg_parts *parts, struct cc_buffer *text)
{
    struct cc_slice copy = cc_arena_slice(parts->arena, cc_buffer_slice(text));
    cc_buffer_finish(text);
    return copy;
}

static void put_set(struct pg_mend *mend, struct pg_parts *parts, const struct pg_parts_row *row)
{
    const struct pg_table *table = row->table;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct pg_column *column = &table->columns[table->fields[i]];
        if (table->registers[i].kind.merge != CRDT_LWW) {
            apply_sql_identifier(&mend->sql, column->name);
            cc_buffer_append_text(&mend->sql, " = ");
            pg_mend_put_value(mend, row->row.registers[i].value);
            cc_buffer_printf(&mend->sql, "::%.*s, ", (int)column->type.n, (const char *)column->type.data);
        }
    }
    cc_buffer_append_text(&mend->sql, "_caucus = coalesce(_caucus, '{}'::pg_catalog.jsonb) || pg_catalog.jsonb_object(ARRAY[");
    const char *before = "";
    for (uint32_t i = 0; i < table->n_fields; i++) {
        if (table->registers[i].kind.merge == CRDT_LWW) {
            continue;
        }
        struct cc_buffer name = {0}, text = {0};
        crdt_parts_name_put(&name, table->columns[table->fields[i]].name);
        crdt_parts_text_put(&text, &row->row.registers[i].parts);
        cc_buffer_append_text(&mend->sql, before);
        pg_mend_put_value(mend, add_text(parts, &name));
        cc_buffer_append_text(&mend->sql, ", ");
        pg_mend_put_value(mend, add_text(parts, &text));
        before = ", ";
    }
    cc_buffer_append_text(&mend->sql, "])");
}

static void mend_row(struct pg_parts *parts, struct pg_mend *mend, const struct pg_parts_row *row)
{
    const struct pg_table *table = row->table;
    struct cc_slice *key = cc_arena_array(parts->arena, table->n_key, sizeof(*key));
    size_t n_key = 0;
    if (crdt_key_read(row->key, key, table->n_key, &n_key) != CC_OK || n_key != table->n_key) {
        return; // keys are made from rows
    }
    cc_buffer_append_text(&mend->sql, "UPDATE ");
    append_slice(&mend->sql, table->name);
    cc_buffer_append_text(&mend->sql, " SET ");
    put_set(mend, parts, row);
    pg_mend_send(mend, table, key);
}

// Statements were counted with what they left in the row.
static void mend_digest(struct pg_lane *lane, const struct pg_parts_row *row, struct cc_slice *key)
{
    const struct pg_table *table = row->table;
    size_t n_key = 0;
    if (crdt_key_read(row->key, key, table->n_key, &n_key) != CC_OK) {
        return;
    }
    uint64_t hash = crdt_digest_key(key, n_key), sum = 0;
    for (uint32_t i = 0; i < table->n_fields; i++) {
        if (table->registers[i].kind.merge != CRDT_LWW) {
            struct cc_slice name = table->registers[i].name;
            sum ^= crdt_digest_field(hash, name, row->raw[i]) ^ crdt_digest_field(hash, name, row->row.registers[i].value);
        }
    }
    pg_digests_add(&lane->digests, table, 0, sum);
}

void pg_parts_mend(struct pg_parts *parts, struct pg_lane *lane)
{
    struct pg_mend mend;
    pg_mend_init(&mend, lane);
    for (const struct pg_parts_row *row = parts->first; row != NULL; row = row->next) {
        if (!row->mend || !row->exists) {
            continue;
        }
        if (row->table->has_triggers) {
            pg_mend_as_replica(&mend);
        }
        mend_row(parts, &mend, row);
        mend_digest(lane, row, cc_arena_array(parts->arena, row->table->n_key, sizeof(struct cc_slice)));
    }
    pg_mend_finish(&mend);
}
