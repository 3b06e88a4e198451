// Tables of the model: strong rows with effects, weak rows with change sets.
#include "sim/sim_rows.h"

#include "base/hash.h"
#include "crdt/decimal.h"
#include "crdt/row.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 120, WORDS_MAX = 4, WORD_BYTES = 24, ROW_CHANGES_MAX = 8, N_COLUMNS = 7, N_VALUES = N_COLUMNS - 1, N_PLAIN = 5 };

// -- Small things ---------------------------------------------------------------------------------------------------

static uint64_t get_u64(const struct sim_store *store, const char *key)
{
    const struct cc_blob *value = sim_store_get_committed(store, key);
    struct cc_reader reader = cc_reader_of(cc_blob_slice(value));
    return value == NULL ? 0 : cc_read_u64(&reader);
}

static void put_u64(struct sim_store *store, unsigned lane, const char *key, uint64_t value)
{
    struct cc_buffer bytes = {0};
    cc_put_u64(&bytes, value);
    sim_store_put(store, lane, key, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
}

struct words {
    size_t n;
    char at[WORDS_MAX][WORD_BYTES];
};

static struct words split(struct cc_slice text)
{
    struct words words = {0};
    size_t length = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] == ' ') {
            words.n++;
            length = 0;
            continue;
        }
        assert(words.n < WORDS_MAX && length + 1 < WORD_BYTES);
        words.at[words.n][length++] = (char)text.data[i];
    }
    words.n++;
    return words;
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static void put_done(struct cc_buffer *out, uint64_t n_rows, struct cc_slice body)
{
    struct rest_outcome outcome = {.kind = REST_DONE, .n_rows = n_rows, .body = body};
    rest_outcome_put(out, &outcome);
}

static void put_failed(struct cc_buffer *out, const char *code)
{
    struct rest_outcome outcome = {.kind = REST_FAILED, .code = cc_slice_text(code), .message = cc_slice_text("failed as asked")};
    rest_outcome_put(out, &outcome);
}

// -- Strong rows ----------------------------------------------------------------------------------------------------

struct row_change {
    enum effect_tag tag;
    char key[WORD_BYTES], old_key[WORD_BYTES];
    struct cc_blob *value; // NULL: deleted
};

struct row_changes {
    struct row_change at[ROW_CHANGES_MAX];
    size_t n;
    bool drew;
};

static struct rest_shape_column shape_columns[2] = {
    {{(const uint8_t *)"k", 1}, {(const uint8_t *)"text", 4}, REST_COLUMN_KEY},
    {{(const uint8_t *)"v", 1}, {(const uint8_t *)"text", 4}, 0},
};

static struct rest_shape items_shape(void)
{
    return (struct rest_shape){.table = cc_slice_text("public.items"), .n_columns = 2, .columns = shape_columns};
}

static const char *row_key(const char *key, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "s/row/%s", key);
    return out;
}

static const struct cc_blob *get_row(const struct sim_rows *rows, const char *key)
{
    char name[KEY_BYTES];
    return sim_store_get(rows->store, row_key(key, name));
}

static void put_row(struct sim_rows *rows, const char *key, struct cc_slice value)
{
    char name[KEY_BYTES];
    sim_store_put(rows->store, DB_STRONG, row_key(key, name), value);
}

static void change_row(struct sim_rows *rows, struct row_changes *changes, enum effect_tag tag, const char *key,
                       struct cc_slice value, const char *old_key)
{
    assert(changes->n < ROW_CHANGES_MAX);
    struct row_change *change = &changes->at[changes->n++];
    *change = (struct row_change){.tag = tag};
    snprintf(change->key, sizeof(change->key), "%s", key);
    snprintf(change->old_key, sizeof(change->old_key), "%s", old_key);
    change->value = value.data == NULL ? NULL : cc_blob_create(value.data, value.n);
    if (old_key[0] != '\0') {
        put_row(rows, old_key, (struct cc_slice){0});
    }
    put_row(rows, key, value);
}

static void append(struct sim_rows *rows, struct row_changes *changes, const char *key, const char *id)
{
    const struct cc_blob *before = get_row(rows, key);
    struct cc_buffer value = {0};
    cc_buffer_append_slice(&value, cc_blob_slice(before));
    cc_buffer_append_text(&value, id);
    cc_buffer_append_text(&value, " ");
    change_row(rows, changes, before == NULL ? EFFECT_INSERT : EFFECT_UPDATE, key, cc_buffer_slice(&value), "");
    cc_buffer_finish(&value);
}

static void draw(struct sim *sim, struct sim_rows *rows, struct row_changes *changes, const char *id)
{
    char key[WORD_BYTES];
    snprintf(key, sizeof(key), "Q%" PRId64, ++rows->sequence);
    SIM_CHECK(sim, "I7", get_row(rows, key) == NULL, "r%u drew %s from the sequence, which was used before", rows->replica, key);
    changes->drew = true;
    change_row(rows, changes, EFFECT_INSERT, key, cc_slice_text(id), "");
}

// False: the statement failed.
static bool run_statement(struct sim *sim, struct sim_rows *rows, struct cc_slice text, struct row_changes *changes)
{
    struct words words = split(text);
    const char *verb = words.at[0];
    const char *key = words.at[1];
    const struct cc_blob *row = words.n > 1 ? get_row(rows, key) : NULL;
    if (is(verb, "append")) {
        append(rows, changes, key, words.at[2]);
    } else if (is(verb, "put")) {
        change_row(rows, changes, row == NULL ? EFFECT_INSERT : EFFECT_UPDATE, key, cc_slice_text(words.at[2]), "");
    } else if (is(verb, "delete")) {
        if (row != NULL) {
            change_row(rows, changes, EFFECT_DELETE, key, (struct cc_slice){0}, "");
        }
    } else if (is(verb, "move")) {
        if (get_row(rows, words.at[2]) != NULL) {
            return false;
        }
        if (row != NULL) {
            struct cc_buffer value = {0};
            cc_buffer_append_slice(&value, cc_blob_slice(row));
            change_row(rows, changes, EFFECT_UPDATE, words.at[2], cc_buffer_slice(&value), key);
            cc_buffer_finish(&value);
        }
    } else if (is(verb, "draw")) {
        draw(sim, rows, changes, key);
    } else {
        assert(is(verb, "fail"));
        return false;
    }
    return true;
}

static void put_effects(const struct sim_rows *rows, const struct row_changes *changes, struct effect_builder *effects)
{
    struct rest_shape shape = items_shape();
    for (size_t i = 0; i < changes->n; i++) {
        const struct row_change *change = &changes->at[i];
        struct cc_slice values[2] = {cc_slice_text(change->key), cc_blob_slice(change->value)};
        struct cc_slice old_key = cc_slice_text(change->old_key);
        effect_put_row(effects, effect_put_shape(effects, &shape), change->tag, values, old_key.n == 0 ? NULL : &old_key);
    }
    if (changes->drew) {
        effect_put_sequence(effects, cc_slice_text("public.items_q"), rows->sequence, true);
    }
}

static void run_statements(struct sim *sim, struct sim_rows *rows, const struct operation *operation,
                           struct effect_builder *effects, struct cc_buffer *outcome_out)
{
    struct row_changes changes = {0};
    size_t savepoint = sim_store_savepoint(rows->store, DB_STRONG);
    bool good = true;
    for (uint32_t i = 0; i < operation->n_statements && good; i++) {
        good = run_statement(sim, rows, operation->statements[i].sql, &changes);
    }
    if (good) {
        put_effects(rows, &changes, effects);
        put_done(outcome_out, changes.n, (struct cc_slice){0});
    } else {
        sim_store_rollback_to(rows->store, DB_STRONG, savepoint);
        put_failed(outcome_out, "23505");
    }
    for (size_t i = 0; i < changes.n; i++) {
        cc_blob_unref(changes.at[i].value);
    }
}

static const char *request_name(struct cc_slice principal, struct cc_slice key, char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "s/request/%.*s/%.*s", (int)principal.n, (const char *)principal.data, (int)key.n,
             (const char *)key.data);
    return out;
}

static void put_request(struct sim_rows *rows, struct cc_slice principal, struct cc_slice key, struct cc_slice outcome)
{
    char name[KEY_BYTES];
    request_name(principal, key, name);
    if (sim_store_get(rows->store, name) == NULL) {
        sim_store_put(rows->store, DB_STRONG, name, outcome);
    }
}

static void note_migration(struct sim_rows *rows, struct cc_slice name)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof(key), "s/migration/%.*s", (int)name.n, (const char *)name.data);
    sim_store_put(rows->store, DB_STRONG, key, cc_slice_text("done"));
    const struct cc_blob *version = sim_store_get(rows->store, "s/schema");
    struct cc_reader reader = cc_reader_of(cc_blob_slice(version));
    put_u64(rows->store, DB_STRONG, "s/schema", version == NULL ? 1 : cc_read_u64(&reader) + 1);
}

static bool migrate(struct sim_rows *rows, const struct operation *operation, struct effect_builder *effects,
                    struct cc_buffer *outcome_out)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof(key), "s/migration/%.*s", (int)operation->migration_name.n,
             (const char *)operation->migration_name.data);
    bool is_new = sim_store_get(rows->store, key) == NULL;
    if (is_new) {
        note_migration(rows, operation->migration_name);
        effect_put_ddl(effects, operation->migration_sql);
        effect_put_migration(effects, operation->migration_name, operation->migration_sql);
    }
    put_done(outcome_out, is_new, (struct cc_slice){0});
    return is_new;
}

bool sim_rows_execute(struct sim *sim, struct sim_rows *rows, struct cc_slice bytes, struct effect_builder *effects,
                      struct cc_buffer *outcome_out)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct operation operation;
    enum cc_status status = operation_read(bytes, &arena, &operation);
    SIM_CHECK(sim, "codec", status == CC_OK, "r%u was given an operation that cannot be read", rows->replica);
    char name[KEY_BYTES];
    const struct cc_blob *known =
        operation.key.data == NULL ? NULL : sim_store_get(rows->store, request_name(operation.principal, operation.key, name));
    bool is_migration = false;
    if (known != NULL) {
        sim->counters.key_hits++;
        cc_buffer_append_slice(outcome_out, cc_blob_slice(known));
    } else if (operation.kind == OPERATION_MIGRATION) {
        is_migration = migrate(rows, &operation, effects, outcome_out);
    } else {
        const struct cc_blob *schema = sim_store_get(rows->store, "s/schema");
        struct cc_reader reader = cc_reader_of(cc_blob_slice(schema));
        uint64_t version = schema == NULL ? 0 : cc_read_u64(&reader);
        SIM_CHECK(sim, "C15", operation.schema_version == version, "r%u executes upon schema %" PRIu64 " what was planned for %u",
                  rows->replica, version, operation.schema_version);
        run_statements(sim, rows, &operation, effects, outcome_out);
        if (operation.key.data != NULL) {
            put_request(rows, operation.principal, operation.key, cc_buffer_slice(outcome_out));
        }
    }
    cc_arena_finish(&arena);
    return is_migration;
}

// -- Applying -------------------------------------------------------------------------------------------------------

static void apply_row(struct sim *sim, struct sim_rows *rows, uint64_t index, enum effect_tag tag, const struct effect_row *row)
{
    char key[WORD_BYTES], target[WORD_BYTES];
    snprintf(key, sizeof(key), "%.*s", (int)row->values[0].n, (const char *)row->values[0].data);
    const struct cc_slice *old = row->old_key != NULL ? row->old_key : row->values;
    snprintf(target, sizeof(target), "%.*s", (int)old->n, (const char *)old->data);
    bool exists = get_row(rows, target) != NULL;
    SIM_CHECK(sim, "I7", exists == (tag != EFFECT_INSERT), "r%u entry %" PRIu64 ": effect %c on row %s, which %s", rows->replica,
              index, (char)tag, target, exists ? "exists" : "does not exist");
    if (row->old_key != NULL) {
        put_row(rows, target, (struct cc_slice){0});
    }
    put_row(rows, key, tag == EFFECT_DELETE ? (struct cc_slice){0} : row->values[1]);
}

static void apply_part(struct sim *sim, struct sim_rows *rows, uint64_t index, const struct effect_part *part)
{
    switch (part->kind) {
    case EFFECT_SHAPE:
    case EFFECT_DDL:
        break;
    case EFFECT_ROWS:
        for (uint32_t i = 0; i < part->n_rows; i++) {
            apply_row(sim, rows, index, part->tag, &part->rows[i]);
        }
        break;
    case EFFECT_SEQUENCES:
        for (uint32_t i = 0; i < part->n_sequences; i++) {
            rows->sequence = part->sequences[i].value;
        }
        break;
    case EFFECT_MIGRATION:
        note_migration(rows, part->name);
        break;
    }
}

void sim_rows_apply(struct sim *sim, struct sim_rows *rows, uint64_t index, struct cc_slice payload)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct entry entry;
    enum cc_status status = entry_read(payload, &arena, &entry);
    SIM_CHECK(sim, "codec", status == CC_OK, "r%u entry %" PRIu64 " cannot be read", rows->replica, index);
    struct effect_reader reader;
    struct effect_part part;
    effect_reader_init(&reader, entry.effects, &arena);
    while ((status = effect_reader_next(&reader, &part)) == CC_OK) {
        apply_part(sim, rows, index, &part);
    }
    SIM_CHECK(sim, "codec", status == CC_NOT_FOUND, "r%u entry %" PRIu64 ": malformed effects", rows->replica, index);
    for (uint32_t i = 0; i < entry.n_operations; i++) {
        if (entry.operations[i].key.data != NULL) {
            put_request(rows, entry.operations[i].principal, entry.operations[i].key, entry.operations[i].outcome);
        }
    }
    cc_arena_finish(&arena);
}

void sim_rows_set_applied(struct sim_rows *rows, uint64_t index)
{
    put_u64(rows->store, DB_STRONG, "a", index);
}

uint64_t sim_rows_applied(const struct sim_rows *rows)
{
    return get_u64(rows->store, "a");
}

uint32_t sim_rows_schema(const struct sim_rows *rows)
{
    return (uint32_t)get_u64(rows->store, "s/schema");
}

void sim_rows_flush(struct sim_rows *rows)
{
    sim_store_flush(rows->store);
    rows->sequence_flushed = rows->sequence;
    rows->applied_flushed = sim_rows_applied(rows);
    sim_rows_frontier(rows, &rows->frontier_flushed);
}

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
static enum weak_result weak_statement(struct sim *sim, struct sim_rows *rows, const struct words *words, const struct clock_stamp *stamp,
                                       struct cc_slice request_key, struct cc_buffer *parts, struct crdt_row_change *change)
{
    struct cc_slice key = cc_slice_text(words->at[1]);
    struct weak_row row;
    weak_row_load(sim, rows->store, key, &row);
    bool visible = crdt_row_is_visible(&row.row);
    const char *verb = words->at[0];
    enum weak_result result = visible ? WEAK_CHANGED : WEAK_UNCHANGED;
    struct cc_slice id = cc_slice_text(words->at[words->n - 1]);
    if (is(verb, "insert") || (is(verb, "upsert") && !visible)) {
        result = visible ? WEAK_FAILED : WEAK_CHANGED;
        change->operation = CRDT_INSERT;
        for (uint32_t i = 1; i < N_PLAIN; i++) {
            change->fields[change->n_fields++] = (struct crdt_field){.column = columns[i].name, .value = id};
        }
    } else if (is(verb, "delete")) {
        change->operation = CRDT_DELETE;
    } else {
        change->operation = is(verb, "upsert") ? CRDT_UPSERT : CRDT_UPDATE;
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
    struct words words = split(operation.statements[0].sql);
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
        put_failed(outcome_out, "23505");
    } else {
        put_done(outcome_out, result == WEAK_CHANGED ? 1 : 0, (struct cc_slice){0});
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
    return get_u64(rows->store, "g");
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
        put_u64(rows->store, DB_WEAK, "g", set.stamp.hlc);
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
