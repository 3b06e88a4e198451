// Strong tables of the model: rows with effects. Weak ones: sim_weak.c.
#include "sim/sim_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = SIM_KEY_BYTES, WORD_BYTES = SIM_WORD_BYTES, ROW_CHANGES_MAX = 8 };

// -- Small things ---------------------------------------------------------------------------------------------------

uint64_t sim_rows_get_u64(const struct sim_store *store, const char *key)
{
    const struct cc_blob *value = sim_store_get_committed(store, key);
    struct cc_reader reader = cc_reader_of(cc_blob_slice(value));
    return value == NULL ? 0 : cc_read_u64(&reader);
}

void sim_rows_put_u64(struct sim_store *store, unsigned lane, const char *key, uint64_t value)
{
    struct cc_buffer bytes = {0};
    cc_put_u64(&bytes, value);
    sim_store_put(store, lane, key, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
}

struct sim_words sim_split(struct cc_slice text)
{
    struct sim_words words = {0};
    size_t length = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] == ' ') {
            words.n++;
            length = 0;
            continue;
        }
        assert(words.n < SIM_WORDS_MAX && length + 1 < WORD_BYTES);
        words.at[words.n][length++] = (char)text.data[i];
    }
    words.n++;
    return words;
}

bool sim_is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

void sim_rows_put_done(struct cc_buffer *out, uint64_t n_rows, struct cc_slice body)
{
    struct rest_outcome outcome = {.kind = REST_DONE, .n_rows = n_rows, .body = body};
    rest_outcome_put(out, &outcome);
}

void sim_rows_put_failed(struct cc_buffer *out, const char *code)
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
    return sim_key(out, KEY_BYTES, "s/row/", cc_slice_text(key), cc_slice_of(NULL, 0));
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
    (void)sim_key(change->key, sizeof(change->key), key, cc_slice_of(NULL, 0), cc_slice_of(NULL, 0));
    (void)sim_key(change->old_key, sizeof(change->old_key), old_key, cc_slice_of(NULL, 0), cc_slice_of(NULL, 0));
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
    struct sim_words words = sim_split(text);
    const char *verb = words.at[0];
    const char *key = words.at[1];
    const struct cc_blob *row = words.n > 1 ? get_row(rows, key) : NULL;
    if (sim_is(verb, "append")) {
        append(rows, changes, key, words.at[2]);
    } else if (sim_is(verb, "put")) {
        change_row(rows, changes, row == NULL ? EFFECT_INSERT : EFFECT_UPDATE, key, cc_slice_text(words.at[2]), "");
    } else if (sim_is(verb, "delete")) {
        if (row != NULL) {
            change_row(rows, changes, EFFECT_DELETE, key, (struct cc_slice){0}, "");
        }
    } else if (sim_is(verb, "move")) {
        if (get_row(rows, words.at[2]) != NULL) {
            return false;
        }
        if (row != NULL) {
            struct cc_buffer value = {0};
            cc_buffer_append_slice(&value, cc_blob_slice(row));
            change_row(rows, changes, EFFECT_UPDATE, words.at[2], cc_buffer_slice(&value), key);
            cc_buffer_finish(&value);
        }
    } else if (sim_is(verb, "draw")) {
        draw(sim, rows, changes, key);
    } else {
        assert(sim_is(verb, "fail"));
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
        sim_rows_put_done(outcome_out, changes.n, (struct cc_slice){0});
    } else {
        sim_store_rollback_to(rows->store, DB_STRONG, savepoint);
        sim_rows_put_failed(outcome_out, "23505");
    }
    for (size_t i = 0; i < changes.n; i++) {
        cc_blob_unref(changes.at[i].value);
    }
}

static const char *request_name(struct cc_slice principal, struct cc_slice key, char out[KEY_BYTES])
{
    return sim_key(out, KEY_BYTES, "s/request/", principal, key);
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
    sim_rows_put_u64(rows->store, DB_STRONG, "s/schema", version == NULL ? 1 : cc_read_u64(&reader) + 1);
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
    sim_rows_put_done(outcome_out, is_new, (struct cc_slice){0});
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
    (void)sim_key(key, sizeof(key), "", row->values[0], cc_slice_of(NULL, 0));
    const struct cc_slice *old = row->old_key != NULL ? row->old_key : row->values;
    (void)sim_key(target, sizeof(target), "", *old, cc_slice_of(NULL, 0));
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
    sim_rows_put_u64(rows->store, DB_STRONG, "a", index);
}

uint64_t sim_rows_applied(const struct sim_rows *rows)
{
    return sim_rows_get_u64(rows->store, "a");
}

uint32_t sim_rows_schema(const struct sim_rows *rows)
{
    return (uint32_t)sim_rows_get_u64(rows->store, "s/schema");
}

void sim_rows_flush(struct sim_rows *rows)
{
    sim_store_flush(rows->store);
    rows->sequence_flushed = rows->sequence;
    rows->applied_flushed = sim_rows_applied(rows);
    sim_rows_frontier(rows, &rows->frontier_flushed);
}
