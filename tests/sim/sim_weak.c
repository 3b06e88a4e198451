// Weak tables of the model: rows with stamps, change sets, histories and frontiers.
#include "sim/sim_rows.h"

#include "base/hash.h"
#include "crdt/decimal.h"
#include "crdt/row.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = SIM_KEY_BYTES, N_COLUMNS = 7, N_VALUES = N_COLUMNS - 1, N_PLAIN = 5 };

// -- Weak rows ------------------------------------------------------------------------------------------------------

static const struct crdt_column columns[N_COLUMNS] = {
    {.name = {(const uint8_t *)"k", 1}, .key = true},
    {.name = {(const uint8_t *)"a", 1}},
    {.name = {(const uint8_t *)"b", 1}},
    {.name = {(const uint8_t *)"n", 1}, .sticky = true},
    {.name = {(const uint8_t *)"c", 1}, .cleared = {(const uint8_t *)"0", 1}},
    // Behind N_PLAIN, with merge types: every write but a deletion adds one to `views`, and changes the elements of `tags`.
    {.name = {(const uint8_t *)"views", 5}, .kind = {.merge = CRDT_COUNTER}},
    {.name = {(const uint8_t *)"tags", 4}, .kind = {.merge = CRDT_SET}},
};

struct weak_row {
    struct crdt_row row;
    struct crdt_register registers[N_COLUMNS];
    struct cc_blob *bytes; // its values borrow from here
    struct cc_arena arena; // or from here
};

static const char *weak_name(struct cc_slice key, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "w/%.*s", (int)key.n, (const char *)key.data);
    return out;
}

// As stored: death; if visible the values and the `_caucus` text, else the remains: the forms that the product stores.
static void weak_row_load(struct sim *sim, const struct sim_store *store, struct cc_slice key, struct weak_row *row)
{
    char name[KEY_BYTES];
    const struct cc_blob *stored = sim_store_get(store, weak_name(key, name));
    cc_arena_init(&row->arena);
    crdt_row_init(&row->row, columns, N_COLUMNS, row->registers, &row->arena);
    row->bytes = NULL;
    if (stored == NULL) {
        return;
    }
    row->bytes = cc_blob_create(stored->data, stored->n);
    struct cc_reader reader = cc_reader_of(cc_blob_slice(row->bytes));
    struct clock_stamp death = clock_stamp_read(&reader);
    bool visible = cc_read_u8(&reader) == 1;
    for (uint32_t i = 1; i < N_COLUMNS && visible; i++) {
        row->registers[i].value = cc_read_nullable(&reader);
    }
    struct cc_slice rest = cc_read_string(&reader);
    enum cc_status status = visible ? crdt_stamps_read(rest, &row->row) : crdt_remains_read(rest, &row->row);
    SIM_CHECK(sim, "codec", status == CC_OK && cc_reader_end(&reader) == CC_OK, "a weak row cannot be read back");
    row->row.death = death;
}

static void weak_row_store(struct sim_store *store, struct cc_slice key, const struct weak_row *row)
{
    struct cc_buffer bytes = {0};
    struct cc_buffer rest = {0};
    bool visible = crdt_row_is_visible(&row->row);
    clock_stamp_put(&bytes, &row->row.death);
    cc_put_u8(&bytes, visible ? 1 : 0);
    for (uint32_t i = 1; i < N_COLUMNS && visible; i++) {
        cc_put_nullable(&bytes, row->registers[i].value);
    }
    if (visible) {
        crdt_stamps_put(&rest, &row->row);
    } else {
        crdt_remains_put(&rest, &row->row);
    }
    cc_put_string(&bytes, cc_buffer_slice(&rest));
    char name[KEY_BYTES];
    sim_store_put(store, DB_WEAK, weak_name(key, name), cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    cc_buffer_finish(&rest);
}

static void weak_row_finish(struct weak_row *row)
{
    cc_blob_unref(row->bytes);
    cc_arena_finish(&row->arena);
}

static struct cc_slice first_of_key(struct sim *sim, struct cc_slice key)
{
    struct cc_slice value;
    size_t n = 0;
    enum cc_status status = crdt_key_read(key, &value, 1, &n);
    SIM_CHECK(sim, "codec", status == CC_OK, "a key cannot be read");
    return value;
}

void sim_rows_merge_rows(struct sim *sim, struct sim_store *store, const struct crdt_change_set *set)
{
    for (uint32_t i = 0; i < set->n_rows; i++) {
        struct weak_row row;
        struct cc_slice key = first_of_key(sim, set->rows[i].key);
        weak_row_load(sim, store, key, &row);
        crdt_row_merge(&row.row, &set->rows[i], &set->stamp);
        weak_row_store(store, key, &row);
        weak_row_finish(&row);
    }
}

static void show_parts(struct weak_row *row, uint32_t column)
{
    row->registers[column].value = crdt_parts_value(&columns[column].kind, &row->registers[column].parts, &row->arena);
}

// "{1,4}" with an element added, and its successor taken out.
static struct cc_slice changed_set(struct weak_row *row, struct cc_slice set, unsigned digit)
{
    struct cc_buffer out = {0};
    cc_buffer_append_text(&out, "{");
    for (size_t i = 1; set.data != NULL && i + 1 < set.n; i += 2) { // elements have one digit
        unsigned held = (unsigned)(set.data[i] - '0');
        if (held != digit && held != (digit + 1) % 10) {
            cc_buffer_printf(&out, "%u,", held);
        }
    }
    cc_buffer_printf(&out, "%u}", digit);
    struct cc_slice result = cc_arena_slice(&row->arena, cc_buffer_slice(&out));
    cc_buffer_finish(&out);
    return result;
}

// The columns with merge types, of any write but a deletion: as a statement that computes them from what is there.
static void count_write(struct sim *sim, struct weak_row *row, const struct clock_stamp *stamp, struct cc_slice id, struct cc_slice key,
                        struct crdt_row_change *change)
{
    static const uint8_t hash_key[16];
    for (uint32_t i = N_PLAIN; i < N_COLUMNS; i++) {
        const struct crdt_register *held = &row->registers[i];
        struct cc_slice shown = held->value.data == NULL ? cc_slice_text("0") : held->value;
        struct crdt_part_write write = {.stamp = *stamp, .keyed = key.data != NULL, .key = cc_siphash(hash_key, key.data, key.n)};
        write.value = columns[i].kind.merge == CRDT_COUNTER ? crdt_decimal_add(shown, cc_slice_text("1"), &row->arena)
                                                            : changed_set(row, held->value, (unsigned)(id.data[id.n - 1] % 10));
        struct crdt_field field = {.column = columns[i].name, .value = write.value};
        enum cc_status status = crdt_part_make(&columns[i].kind, &held->parts, &write, &row->arena, &field.part);
        SIM_CHECK(sim, "codec", status == CC_OK, "a column with a merge type does not take a value");
        if (field.part.data != NULL) {
            change->fields[change->n_fields++] = field;
        }
    }
}

// What SQL does to the stamps of a row, without the merge: what it gives must be what merging gives.
static void write_as_sql(struct weak_row *row, const struct crdt_row_change *change, const struct clock_stamp *stamp)
{
    for (uint32_t i = 0; i < change->n_fields; i++) {
        for (uint32_t column = 1; column < N_COLUMNS; column++) {
            bool same = cc_slice_equal(change->fields[i].column, columns[column].name);
            if (same && column >= N_PLAIN) {
                struct crdt_part part = {*stamp, change->fields[i].part};
                (void)crdt_parts_take(&columns[column].kind, &row->registers[column].parts, &part, &row->arena);
                show_parts(row, column);
            } else if (same) {
                row->registers[column] = (struct crdt_register){.value = change->fields[i].value, .stamp = *stamp};
            }
        }
    }
    switch (change->operation) {
    case CRDT_INSERT:
    case CRDT_UPSERT:
        row->row.life = *stamp;
        break;
    case CRDT_UPDATE:
        break;
    case CRDT_DELETE:
        row->row.death = *stamp;
        for (uint32_t column = 1; column < N_COLUMNS; column++) {
            if (column >= N_PLAIN) {
                (void)crdt_parts_clear(&row->registers[column].parts, stamp);
                show_parts(row, column);
            } else if (!columns[column].sticky) {
                row->registers[column] = (struct crdt_register){.value = columns[column].cleared};
            }
        }
        break;
    }
}

static void check_against_merge(struct sim *sim, const struct sim_store *store, struct cc_slice key,
                                const struct crdt_row_change *change, const struct clock_stamp *stamp, const struct weak_row *written)
{
    struct weak_row row;
    weak_row_load(sim, store, key, &row);
    for (uint32_t i = 1; i < N_COLUMNS; i++) {
        SIM_CHECK(sim, "F3", clock_stamp_compare(stamp, &row.registers[i].stamp) > 0,
                  "a local write's stamp is not greater than the stamp that it overwrites");
    }
    crdt_row_merge(&row.row, change, stamp);
    bool equal = clock_stamp_compare(&row.row.life, &written->row.life) == 0 &&
                 clock_stamp_compare(&row.row.death, &written->row.death) == 0;
    for (uint32_t i = 1; i < N_COLUMNS; i++) {
        equal = equal && cc_slice_equal(row.registers[i].value, written->registers[i].value) &&
                row.registers[i].parts.n == written->registers[i].parts.n &&
                clock_stamp_compare(&row.registers[i].stamp, &written->registers[i].stamp) == 0;
    }
    SIM_CHECK(sim, "W3", equal, "a local write and the merge of its change differ");
    weak_row_finish(&row);
}

// What of a change lives in its row's arena, copied.
static void keep_parts(struct crdt_row_change *change, struct cc_buffer *out)
{
    size_t n = 0;
    for (uint32_t i = 0; i < change->n_fields; i++) {
        n += change->fields[i].part.n + change->fields[i].value.n;
    }
    cc_buffer_reserve(out, n); // so that it stays where it is
    for (uint32_t i = 0; i < change->n_fields; i++) {
        struct crdt_field *field = &change->fields[i];
        if (field->part.data == NULL) {
            continue;
        }
        const uint8_t *at = out->data + out->n;
        cc_buffer_append_slice(out, field->part);
        cc_buffer_append_slice(out, field->value);
        *field = (struct crdt_field){.column = field->column, .value = cc_slice_of(at + field->part.n, field->value.n), .part = cc_slice_of(at, field->part.n)};
    }
}

enum weak_result { WEAK_FAILED, WEAK_UNCHANGED, WEAK_CHANGED };

// Writes the row, unless the statement does not apply to it.
static enum weak_result weak_statement(struct sim *sim, struct sim_rows *rows, const struct sim_words *words, const struct clock_stamp *stamp,
                                       struct cc_slice request_key, struct cc_buffer *parts, struct crdt_row_change *change)
{
    struct cc_slice key = cc_slice_text(words->at[1]);
    struct weak_row row;
    weak_row_load(sim, rows->store, key, &row);
    bool visible = crdt_row_is_visible(&row.row);
    const char *verb = words->at[0];
    enum weak_result result = visible ? WEAK_CHANGED : WEAK_UNCHANGED;
    struct cc_slice id = cc_slice_text(words->at[words->n - 1]);
    if (sim_is(verb, "insert") || (sim_is(verb, "upsert") && !visible)) {
        result = visible ? WEAK_FAILED : WEAK_CHANGED;
        change->operation = CRDT_INSERT;
        for (uint32_t i = 1; i < N_PLAIN; i++) {
            change->fields[change->n_fields++] = (struct crdt_field){.column = columns[i].name, .value = id};
        }
    } else if (sim_is(verb, "delete")) {
        change->operation = CRDT_DELETE;
    } else {
        change->operation = sim_is(verb, "upsert") ? CRDT_UPSERT : CRDT_UPDATE;
        change->fields[change->n_fields++] = (struct crdt_field){.column = cc_slice_text(words->at[2]), .value = id};
    }
    if (result == WEAK_CHANGED && change->operation != CRDT_DELETE) {
        count_write(sim, &row, stamp, id, request_key, change);
    }
    if (result == WEAK_CHANGED) {
        write_as_sql(&row, change, stamp);
        check_against_merge(sim, rows->store, key, change, stamp, &row);
        weak_row_store(rows->store, key, &row);
        keep_parts(change, parts);
    }
    weak_row_finish(&row);
    return result;
}

void sim_rows_weak_execute(struct sim *sim, struct sim_rows *rows, struct cc_slice bytes, const struct clock_stamp *stamp,
                           struct cc_buffer *outcome_out, struct cc_buffer *change_out)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct operation operation;
    enum cc_status status = operation_read(bytes, &arena, &operation);
    SIM_CHECK(sim, "codec", status == CC_OK && operation.n_statements == 1, "r%u was given a malformed weak operation", rows->replica);
    struct sim_words words = sim_split(operation.statements[0].sql);
    struct crdt_field fields[N_VALUES] = {0};
    struct cc_buffer key = {0}, parts = {0};
    struct cc_slice key_value = cc_slice_text(words.at[1]);
    crdt_key_put(&key, &key_value, 1);
    struct crdt_row_change change = {.table = cc_slice_text("public.presence"), .key = cc_buffer_slice(&key), .fields = fields};
    enum weak_result result = weak_statement(sim, rows, &words, stamp, operation.key, &parts, &change);
    if (result == WEAK_CHANGED) {
        struct crdt_change_set set = {.origin = {stamp->replica, stamp->incarnation},
                                      .stamp = *stamp,
                                      .schema_version = operation.schema_version,
                                      .durable = operation.durability != OPERATION_LOCAL,
                                      .rows = &change,
                                      .n_rows = 1};
        crdt_change_set_put(change_out, &set);
    }
    if (result == WEAK_FAILED) {
        sim_rows_put_failed(outcome_out, "23505");
    } else {
        sim_rows_put_done(outcome_out, result == WEAK_CHANGED ? 1 : 0, (struct cc_slice){0});
    }
    cc_buffer_finish(&key);
    cc_buffer_finish(&parts);
    cc_arena_finish(&arena);
}

bool sim_rows_show_weak(struct sim *sim, const struct sim_rows *rows, const char *key, struct cc_buffer *out)
{
    struct weak_row row;
    weak_row_load(sim, rows->store, cc_slice_text(key), &row);
    bool visible = crdt_row_is_visible(&row.row);
    for (uint32_t i = 1; i < N_PLAIN && visible; i++) {
        struct cc_slice name = columns[i].name, value = row.registers[i].value;
        cc_buffer_append_text(out, i == 1 ? "" : " ");
        cc_buffer_append_slice(out, name);
        cc_buffer_append_text(out, "=");
        cc_buffer_append_slice(out, value.data == NULL ? cc_slice_text("null") : value);
    }
    weak_row_finish(&row);
    return visible;
}

// -- History and frontier -------------------------------------------------------------------------------------------

static const char *history_name(struct crdt_origin origin, uint64_t sequence, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "h/%u.%u/%012" PRIu64, origin.replica, origin.incarnation, sequence);
    return out;
}

const struct cc_blob *sim_rows_history(const struct sim_rows *rows, struct crdt_origin origin, uint64_t sequence)
{
    char name[KEY_BYTES];
    return sim_store_get(rows->store, history_name(origin, sequence, name));
}

static void read_frontier(const struct cc_blob *value, struct crdt_frontier *frontier_out)
{
    frontier_out->n = 0;
    if (value != NULL) {
        struct cc_reader reader = cc_reader_of(cc_blob_slice(value));
        enum cc_status status = crdt_frontier_read(&reader, frontier_out);
        assert(status == CC_OK);
    }
}

void sim_rows_frontier(const struct sim_rows *rows, struct crdt_frontier *frontier_out)
{
    read_frontier(sim_store_get_committed(rows->store, "f"), frontier_out);
}

uint64_t sim_rows_hlc(const struct sim_rows *rows)
{
    return sim_rows_get_u64(rows->store, "g");
}

void sim_rows_record(struct sim *sim, struct sim_rows *rows, struct cc_slice change)
{
    sim_check_change(sim, rows->replica, change);
    struct crdt_change_set set;
    enum cc_status status = crdt_change_set_peek(change, &set);
    SIM_CHECK(sim, "codec", status == CC_OK, "r%u: a change set cannot be read", rows->replica);
    struct crdt_frontier frontier;
    read_frontier(sim_store_get(rows->store, "f"), &frontier);
    uint64_t held = crdt_frontier_get(&frontier, set.origin);
    SIM_CHECK(sim, "W1", set.sequence == held + 1, "r%u: change %" PRIu64 " of r%u comes after %" PRIu64, rows->replica,
              set.sequence, set.origin.replica, held);
    status = crdt_frontier_raise(&frontier, set.origin, set.sequence);
    assert(status == CC_OK);
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, &frontier);
    sim_store_put(rows->store, DB_WEAK, "f", cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    char name[KEY_BYTES];
    sim_store_put(rows->store, DB_WEAK, history_name(set.origin, set.sequence, name), change);
    const struct cc_blob *greatest = sim_store_get(rows->store, "g");
    struct cc_reader reader = cc_reader_of(cc_blob_slice(greatest));
    if (greatest == NULL || cc_read_u64(&reader) < set.stamp.hlc) {
        sim_rows_put_u64(rows->store, DB_WEAK, "g", set.stamp.hlc);
    }
}

void sim_rows_merge(struct sim *sim, struct sim_rows *rows, struct cc_slice change)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct crdt_change_set set;
    enum cc_status status = crdt_change_set_read(change, &arena, &set);
    SIM_CHECK(sim, "codec", status == CC_OK, "r%u: a change set cannot be read", rows->replica);
    struct crdt_frontier frontier;
    read_frontier(sim_store_get(rows->store, "f"), &frontier);
    if (set.sequence > crdt_frontier_get(&frontier, set.origin)) {
        SIM_CHECK(sim, "C15", set.schema_version <= sim_rows_schema(rows), "r%u merges a change of schema %u, but has %u", rows->replica,
                  set.schema_version, sim_rows_schema(rows));
        sim_rows_record(sim, rows, change);
        sim_rows_merge_rows(sim, rows->store, &set);
    }
    cc_arena_finish(&arena);
}
