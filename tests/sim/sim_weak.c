// Weak tables of the model: rows with stamps, change sets, histories and frontiers. Rows and tombstones are stored in the forms in
// which the product stores them, and merged by the product's crdt_row_merge.
#include "sim/sim_weak.h"

#include "base/hash.h"
#include "crdt/decimal.h"
#include "proxy/node/row_state.h"
#include "sim/sim_states.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = SIM_KEY_BYTES, ROWS_MAX = 16 };

const struct crdt_column sim_weak_columns[SIM_WEAK_COLUMNS] = {
    {.name = {(const uint8_t *)"k", 1}, .key = true},
    {.name = {(const uint8_t *)"a", 1}},
    {.name = {(const uint8_t *)"b", 1}},
    {.name = {(const uint8_t *)"n", 1}, .sticky = true},
    {.name = {(const uint8_t *)"c", 1}, .cleared = {(const uint8_t *)"0", 1}},
    {.name = {(const uint8_t *)"views", 5}, .kind = {.merge = CRDT_COUNTER}},
    {.name = {(const uint8_t *)"tags", 4}, .kind = {.merge = CRDT_SET}},
    {.name = {(const uint8_t *)"best", 4}, .kind = {.merge = CRDT_MAX, .order = CRDT_ORDER_NUMBER}},
    {.name = {(const uint8_t *)"least", 5}, .kind = {.merge = CRDT_MIN, .order = CRDT_ORDER_NUMBER}},
};
static const struct crdt_column *const columns = sim_weak_columns;

// -- Rows as they are stored ----------------------------------------------------------------------------------------

static const char *name_of(char class, struct cc_slice key, char out[KEY_BYTES])
{
    const char prefix[] = {class, '/', '\0'};
    return sim_key(out, KEY_BYTES, prefix, key, cc_slice_of(NULL, 0));
}

static const struct sim_state *state_of(struct sim *sim, const struct sim_store *store, struct cc_slice key)
{
    char name[KEY_BYTES];
    const struct cc_blob *live = sim_store_get(store, name_of('w', key, name));
    return sim_states_find(sim, live, sim_store_get(store, name_of('t', key, name)));
}

void sim_weak_row_read(struct sim *sim, struct cc_slice live, struct cc_slice tombstone, struct cc_arena *arena, struct sim_weak_row *row_out)
{
    struct sim_weak_row *row = row_out;
    crdt_row_init(&row->row, columns, SIM_WEAK_COLUMNS, row->registers, arena);
    row->exists = live.data != NULL;
    row->had_tombstone = tombstone.data != NULL;
    struct clock_stamp death = {0};
    enum cc_status status = CC_OK;
    if (row->had_tombstone) {
        struct cc_reader reader = cc_reader_of(tombstone);
        death = clock_stamp_read(&reader);
        struct cc_slice remains = cc_read_string(&reader);
        status = row->exists ? CC_OK : crdt_remains_read(remains, &row->row);
    }
    if (row->exists) {
        struct cc_reader reader = cc_reader_of(live);
        for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
            row->registers[i].value = cc_read_nullable(&reader);
        }
        status = crdt_stamps_read(cc_read_string(&reader), &row->row);
        SIM_CHECK(sim, "codec", cc_reader_end(&reader) == CC_OK, "a weak row cannot be read back");
    }
    SIM_CHECK(sim, "codec", status == CC_OK, "a weak row cannot be read back");
    row->row.death = death;
}

void sim_weak_row_load(struct sim *sim, const struct sim_store *store, struct cc_slice key, struct cc_arena *arena, struct sim_weak_row *row_out)
{
    sim_state_copy(state_of(sim, store, key), arena, row_out);
}

static void put_state(struct sim_store *store, struct cc_slice key, const struct sim_weak_row *before, const struct sim_state *state)
{
    char name[KEY_BYTES];
    if (state->live != NULL || before->exists) {
        sim_store_put_blob(store, DB_WEAK, name_of('w', key, name), state->live);
    }
    if (state->tombstone != NULL || before->had_tombstone) {
        sim_store_put_blob(store, DB_WEAK, name_of('t', key, name), state->tombstone);
    }
}

void sim_weak_row_store(struct sim *sim, struct sim_store *store, struct cc_slice key, const struct sim_weak_row *row)
{
    put_state(store, key, row, sim_states_of_row(sim, row));
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
        struct cc_slice key = first_of_key(sim, set->rows[i].key);
        const struct sim_state *before = state_of(sim, store, key);
        put_state(store, key, &before->row, sim_states_merge(sim, before, &set->rows[i], &set->stamp));
    }
}

// -- Local writes -----------------------------------------------------------------------------------------------------

struct write { // one operation under execution
    struct sim *sim;
    struct sim_rows *rows;
    struct clock_stamp stamp;
    uint64_t settled;
    struct cc_slice id, request_key; // what it writes
    struct cc_arena *arena;
    struct crdt_row_change changes[ROWS_MAX];
    uint32_t n;
};

static void show_parts(struct sim_weak_row *row, uint32_t column, struct cc_arena *arena)
{
    row->registers[column].value = crdt_parts_value(&columns[column].kind, &row->registers[column].parts, arena);
}

// "{1,4}" with an element added, and its successor taken out.
static struct cc_slice changed_set(struct cc_slice set, unsigned digit, struct cc_arena *arena)
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
    struct cc_slice result = cc_arena_slice(arena, cc_buffer_slice(&out));
    cc_buffer_finish(&out);
    return result;
}

unsigned sim_weak_digit(struct cc_slice id)
{
    return (unsigned)(id.data[id.n - 1] % 10);
}

unsigned sim_weak_number(struct cc_slice id)
{
    static const uint8_t key[16];
    return (unsigned)(cc_siphash(key, id.data, id.n) % 100000);
}

static struct cc_slice typed_value(const struct write *write, uint32_t column, struct cc_slice shown)
{
    switch (columns[column].kind.merge) {
    case CRDT_COUNTER:
        return crdt_decimal_add(shown.data == NULL ? cc_slice_text("0") : shown, cc_slice_text("1"), write->arena);
    case CRDT_SET:
        return changed_set(shown, sim_weak_digit(write->id), write->arena);
    case CRDT_MAX:
    case CRDT_MIN:
        return cc_slice_text(cc_arena_printf(write->arena, "%u", (unsigned)sim_weak_number(write->id)));
    case CRDT_LWW:
        break;
    }
    return (struct cc_slice){0};
}

// The columns with merge types, of any write but a deletion: as a statement that computes them from what is there.
static void put_typed(struct write *write, struct sim_weak_row *row, struct crdt_row_change *change)
{
    static const uint8_t hash_key[16];
    struct cc_slice key = write->request_key;
    for (uint32_t i = SIM_WEAK_PLAIN; i < SIM_WEAK_COLUMNS; i++) {
        const struct crdt_register *held = &row->registers[i];
        struct crdt_part_write part = {.stamp = write->stamp, .settled = write->settled, .keyed = key.data != NULL, .key = cc_siphash(hash_key, key.data, key.n)};
        part.value = typed_value(write, i, held->value);
        struct crdt_field field = {.column = columns[i].name, .value = part.value};
        enum cc_status status = crdt_part_make(&columns[i].kind, &held->parts, &part, write->arena, &field.part);
        SIM_CHECK(write->sim, "codec", status == CC_OK, "a column with a merge type does not take a value");
        if (field.part.data != NULL) {
            change->fields[change->n_fields++] = field;
        }
    }
}

// What SQL does to the stamps of a row, without the merge: what it gives must be what merging gives.
static void write_as_sql(struct sim_weak_row *row, const struct crdt_row_change *change, const struct clock_stamp *stamp, struct cc_arena *arena)
{
    for (uint32_t i = 0; i < change->n_fields; i++) {
        for (uint32_t column = 1; column < SIM_WEAK_COLUMNS; column++) {
            bool same = cc_slice_equal(change->fields[i].column, columns[column].name);
            if (same && column >= SIM_WEAK_PLAIN) {
                struct crdt_part part = {*stamp, change->fields[i].part};
                (void)crdt_parts_take(&columns[column].kind, &row->registers[column].parts, &part, arena);
                show_parts(row, column, arena);
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
        for (uint32_t column = 1; column < SIM_WEAK_COLUMNS; column++) {
            if (column >= SIM_WEAK_PLAIN) {
                (void)crdt_parts_clear(&row->registers[column].parts, stamp);
                show_parts(row, column, arena);
            } else if (!columns[column].sticky) {
                row->registers[column] = (struct crdt_register){.value = columns[column].cleared};
            }
        }
        break;
    }
}

// What merging the change makes of the row as it is stored still.
static const struct sim_state *merge_instead(struct write *write, struct cc_slice key, const struct crdt_row_change *change)
{
    const struct sim_state *before = state_of(write->sim, write->rows->store, key);
    for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
        SIM_CHECK(write->sim, "F3", clock_stamp_compare(&write->stamp, &before->row.registers[i].stamp) > 0,
                  "a local write's stamp is not greater than the stamp that it overwrites");
    }
    return sim_states_merge(write->sim, before, change, &write->stamp);
}

static struct crdt_row_change *add_change(struct write *write, enum crdt_operation operation, struct cc_slice key)
{
    assert(write->n < ROWS_MAX);
    struct crdt_row_change *change = &write->changes[write->n++];
    struct cc_buffer bytes = {0};
    crdt_key_put(&bytes, &key, 1);
    *change = (struct crdt_row_change){.operation = operation,
                                       .table = cc_slice_text(SIM_WEAK_TABLE),
                                       .key = cc_arena_slice(write->arena, cc_buffer_slice(&bytes)),
                                       .fields = cc_arena_array(write->arena, SIM_WEAK_COLUMNS, sizeof(struct crdt_field))};
    cc_buffer_finish(&bytes);
    return change;
}

static void put_field(const struct write *write, struct crdt_row_change *change, struct cc_slice column, struct cc_slice value)
{
    change->fields[change->n_fields++] = (struct crdt_field){.column = column, .value = cc_arena_slice(write->arena, value)};
}

static void finish_row(struct write *write, struct cc_slice key, struct sim_weak_row *row, struct crdt_row_change *change)
{
    if (change->operation != CRDT_DELETE) {
        put_typed(write, row, change);
    }
    write_as_sql(row, change, &write->stamp, write->arena);
    const struct sim_state *merged = merge_instead(write, key, change);
    bool equal = sim_weak_rows_equal(&merged->row, row);
    SIM_CHECK(write->sim, "W3", equal, "a local write and the merge of its change differ");
    put_state(write->rows->store, key, row, equal ? merged : sim_states_of_row(write->sim, row));
}

static void insert_row(struct write *write, struct cc_slice key, struct sim_weak_row *row)
{
    struct crdt_row_change *change = add_change(write, CRDT_INSERT, key);
    for (uint32_t i = 1; i < SIM_WEAK_PLAIN; i++) {
        put_field(write, change, columns[i].name, write->id);
    }
    finish_row(write, key, row, change);
}

static void change_row(struct write *write, struct cc_slice key, struct sim_weak_row *row, enum crdt_operation operation, const char *column)
{
    struct crdt_row_change *change = add_change(write, operation, key);
    if (operation != CRDT_DELETE) {
        put_field(write, change, cc_slice_text(column), write->id);
    }
    finish_row(write, key, row, change);
}

// UPDATE that gives another key: the row goes, and comes under the other key with all its values, one of them new. The columns with
// merge types begin again there.
static bool move_row(struct write *write, struct cc_slice key, struct sim_weak_row *row, struct cc_slice other)
{
    struct sim_weak_row target;
    sim_weak_row_load(write->sim, write->rows->store, other, write->arena, &target);
    if (crdt_row_is_visible(&target.row)) {
        return false;
    }
    struct cc_slice values[SIM_WEAK_PLAIN];
    for (uint32_t i = 2; i < SIM_WEAK_PLAIN; i++) {
        values[i] = row->registers[i].value;
    }
    change_row(write, key, row, CRDT_DELETE, NULL);
    struct crdt_row_change *change = add_change(write, CRDT_INSERT, other);
    put_field(write, change, columns[1].name, write->id);
    for (uint32_t i = 2; i < SIM_WEAK_PLAIN; i++) {
        change->fields[change->n_fields++] = (struct crdt_field){.column = columns[i].name, .value = values[i]};
    }
    finish_row(write, other, &target, change);
    return true;
}

struct keys {
    struct cc_arena *arena;
    struct cc_slice at[ROWS_MAX];
    size_t n;
};

static void collect_key(void *context, const char *name)
{
    struct keys *keys = context;
    if (keys->n < ROWS_MAX) {
        keys->at[keys->n++] = cc_arena_slice(keys->arena, cc_slice_text(name + 2));
    }
}

// UPDATE of all rows: one change set.
static void sweep(struct write *write, const char *column)
{
    struct keys keys = {.arena = write->arena};
    sim_store_scan(write->rows->store, "w/W", collect_key, &keys);
    for (size_t i = 0; i < keys.n; i++) {
        struct sim_weak_row row;
        sim_weak_row_load(write->sim, write->rows->store, keys.at[i], write->arena, &row);
        if (crdt_row_is_visible(&row.row)) {
            change_row(write, keys.at[i], &row, CRDT_UPDATE, column);
        }
    }
}

// False: the statement failed.
static bool run_statement(struct write *write, const struct sim_words *words)
{
    const char *verb = words->at[0];
    if (sim_is(verb, "sweep")) {
        sweep(write, words->at[1]);
        return true;
    }
    struct cc_slice key = cc_slice_text(words->at[1]);
    struct sim_weak_row row;
    sim_weak_row_load(write->sim, write->rows->store, key, write->arena, &row);
    bool visible = crdt_row_is_visible(&row.row);
    if (sim_is(verb, "insert") && visible) {
        return false;
    }
    if (sim_is(verb, "insert") || (sim_is(verb, "upsert") && !visible)) {
        insert_row(write, key, &row);
    } else if (visible && sim_is(verb, "move")) {
        return move_row(write, key, &row, cc_slice_text(words->at[2]));
    } else if (visible && sim_is(verb, "delete")) {
        change_row(write, key, &row, CRDT_DELETE, NULL);
    } else if (visible) {
        change_row(write, key, &row, sim_is(verb, "upsert") ? CRDT_UPSERT : CRDT_UPDATE, words->at[2]);
    }
    return true;
}

// -- Outcomes under keys ------------------------------------------------------------------------------------------------

static const char *request_name(struct cc_slice principal, struct cc_slice key, char out[KEY_BYTES])
{
    return sim_key(out, KEY_BYTES, "q/", principal, key);
}

// The first one stays.
static void put_request(const struct sim_rows *rows, struct cc_slice principal, struct cc_slice key, struct cc_slice outcome)
{
    char name[KEY_BYTES];
    request_name(principal, key, name);
    if (sim_store_get(rows->store, name) == NULL) {
        sim_store_put(rows->store, DB_WEAK, name, outcome);
    }
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

// What this database holds of other origins, as the product puts it into a change set.
static struct cc_slice seen_by(const struct write *write)
{
    struct crdt_frontier held, others;
    sim_rows_merged(write->rows, &held);
    others.n = 0;
    for (uint32_t i = 0; i < held.n; i++) {
        if (held.at[i].origin.replica != write->stamp.replica || held.at[i].origin.incarnation != write->stamp.incarnation) {
            others.at[others.n++] = held.at[i];
        }
    }
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, &others);
    struct cc_slice seen = cc_arena_slice(write->arena, cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    return seen;
}

static void put_change_set(const struct write *write, const struct operation *operation, struct cc_slice outcome, struct cc_buffer *change_out)
{
    struct crdt_change_set set = {.origin = {write->stamp.replica, write->stamp.incarnation},
                                  .stamp = write->stamp,
                                  .schema_version = operation->schema_version,
                                  .durable = operation->durability != OPERATION_LOCAL,
                                  .seen = seen_by(write),
                                  .rows = (struct crdt_row_change *)write->changes,
                                  .n_rows = write->n};
    if (operation->key.data != NULL) {
        set.principal = operation->principal;
        set.request_key = operation->key;
        set.fingerprint = operation->fingerprint;
        set.outcome = outcome;
    }
    crdt_change_set_put(change_out, &set);
}

static void execute(struct write *write, const struct operation *operation, struct cc_buffer *outcome_out, struct cc_buffer *change_out)
{
    struct sim_words words = sim_split(operation->statements[0].sql);
    write->id = cc_arena_slice(write->arena, cc_slice_text(words.at[words.n - 1]));
    write->request_key = operation->key;
    if (operation->key.data != NULL) {
        sim_weak_check_key(write->sim, write->rows, operation->key);
    }
    if (!run_statement(write, &words)) {
        sim_rows_put_failed(outcome_out, "23505");
    } else {
        sim_rows_put_done(outcome_out, write->n, (struct cc_slice){0});
    }
    if (write->n > 0) {
        put_change_set(write, operation, cc_buffer_slice(outcome_out), change_out);
    }
    if (operation->key.data != NULL) {
        put_request(write->rows, operation->principal, operation->key, cc_buffer_slice(outcome_out));
    }
}

void sim_rows_weak_execute(struct sim *sim, struct sim_rows *rows, struct cc_slice bytes, const struct clock_stamp *stamp, uint64_t settled,
                           struct cc_buffer *outcome_out, struct cc_buffer *change_out)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct operation operation;
    enum cc_status status = operation_read(bytes, &arena, &operation);
    SIM_CHECK(sim, "codec", status == CC_OK && operation.n_statements == 1, "r%u was given a malformed weak operation", rows->replica);
    char name[KEY_BYTES];
    const struct cc_blob *known =
        operation.key.data == NULL ? NULL : sim_store_get(rows->store, request_name(operation.principal, operation.key, name));
    if (known != NULL) {
        sim->counters.weak_key_hits++;
        cc_buffer_append_slice(outcome_out, cc_blob_slice(known));
    } else {
        struct write write = {.sim = sim, .rows = rows, .stamp = *stamp, .settled = settled, .arena = &arena};
        execute(&write, &operation, outcome_out, change_out);
    }
    cc_arena_finish(&arena);
}

bool sim_rows_show_weak(struct sim *sim, const struct sim_rows *rows, const char *key, struct cc_buffer *out)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct sim_weak_row row;
    sim_weak_row_load(sim, rows->store, cc_slice_text(key), &arena, &row);
    bool visible = crdt_row_is_visible(&row.row);
    for (uint32_t i = 1; i < SIM_WEAK_PLAIN && visible; i++) {
        struct cc_slice value = row.registers[i].value;
        cc_buffer_append_text(out, i == 1 ? "" : " ");
        cc_buffer_append_slice(out, columns[i].name);
        cc_buffer_append_text(out, "=");
        cc_buffer_append_slice(out, value.data == NULL ? cc_slice_text("null") : value);
    }
    cc_arena_finish(&arena);
    return visible;
}

// -- History and frontier -------------------------------------------------------------------------------------------

// The text and the number, with at least so many digits. Returns the end.
static char *put_digits(char *out, const char *text, uint64_t number, unsigned n_min)
{
    char digits[20];
    unsigned n = 0;
    while (*text != '\0') {
        *out++ = *text++;
    }
    for (; number > 0 || n < n_min; number /= 10) {
        digits[n++] = (char)('0' + number % 10);
    }
    while (n > 0) {
        *out++ = digits[--n];
    }
    return out;
}

static const char *history_name(struct crdt_origin origin, uint64_t sequence, char out[KEY_BYTES])
{
    char *end = put_digits(out, "h/", origin.replica, 1);
    end = put_digits(end, ".", origin.incarnation, 1);
    *put_digits(end, "/", sequence, 12) = '\0'; // so that they sort
    return out;
}

const struct cc_blob *sim_rows_history(const struct sim_rows *rows, struct crdt_origin origin, uint64_t sequence)
{
    char name[KEY_BYTES];
    return sim_store_get(rows->store, history_name(origin, sequence, name));
}

void sim_rows_drop_history(const struct sim_rows *rows, struct crdt_origin origin, uint64_t sequence)
{
    char name[KEY_BYTES];
    sim_store_put(rows->store, DB_WEAK, history_name(origin, sequence, name), (struct cc_slice){0});
}

void sim_rows_frontier(const struct sim_rows *rows, struct crdt_frontier *frontier_out)
{
    read_frontier(sim_store_get_committed(rows->store, "f"), frontier_out);
}

void sim_rows_merged(const struct sim_rows *rows, struct crdt_frontier *frontier_out)
{
    struct crdt_frontier merged;
    read_frontier(sim_store_get(rows->store, "f"), frontier_out);
    read_frontier(sim_store_get(rows->store, "o"), &merged);
    enum cc_status status = crdt_frontier_join(frontier_out, &merged);
    assert(status == CC_OK);
}

static void put_merged(const struct sim_rows *rows, const struct crdt_change_set *set)
{
    struct crdt_frontier merged;
    read_frontier(sim_store_get(rows->store, "o"), &merged);
    enum cc_status status = crdt_frontier_raise(&merged, set->origin, set->sequence);
    assert(status == CC_OK);
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, &merged);
    sim_store_put(rows->store, DB_WEAK, "o", cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
}

void sim_rows_ahead(const struct sim_rows *rows, struct crdt_frontier *frontier_out)
{
    read_frontier(sim_store_get_committed(rows->store, "x"), frontier_out);
}

void sim_rows_adopted(const struct sim_rows *rows, struct crdt_frontier *frontier_out)
{
    read_frontier(sim_store_get(rows->store, "k"), frontier_out);
}

void sim_rows_put_frontier(const struct sim_rows *rows, const struct crdt_frontier *frontier)
{
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, frontier);
    sim_store_put(rows->store, DB_WEAK, "f", cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
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
    sim_rows_put_frontier(rows, &frontier);
    char name[KEY_BYTES];
    sim_store_put(rows->store, DB_WEAK, history_name(set.origin, set.sequence, name), change);
    const struct cc_blob *greatest = sim_store_get(rows->store, "g");
    struct cc_reader reader = cc_reader_of(cc_blob_slice(greatest));
    if (greatest == NULL || cc_read_u64(&reader) < set.stamp.hlc) {
        sim_rows_put_u64(rows->store, DB_WEAK, "g", set.stamp.hlc);
    }
}

void sim_rows_merge(struct sim *sim, struct sim_rows *rows, struct cc_slice change, bool open)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct crdt_change_set set;
    enum cc_status status = crdt_change_set_read(change, &arena, &set);
    SIM_CHECK(sim, "codec", status == CC_OK, "r%u: a change set cannot be read", rows->replica);
    struct crdt_frontier merged;
    sim_rows_merged(rows, &merged);
    uint64_t held = crdt_frontier_get(&merged, set.origin);
    if (set.sequence > held) {
        SIM_CHECK(sim, "W1", set.sequence == held + 1, "r%u: change %" PRIu64 " of r%u is merged after %" PRIu64, rows->replica,
                  set.sequence, set.origin.replica, held);
        SIM_CHECK(sim, "C15", set.schema_version <= sim_rows_schema(rows), "r%u merges a change of schema %u, but has %u", rows->replica,
                  set.schema_version, sim_rows_schema(rows));
        if (open) {
            put_merged(rows, &set);
        } else {
            sim_rows_record(sim, rows, change);
        }
        sim_rows_merge_rows(sim, rows->store, &set);
        if (set.request_key.data != NULL) {
            put_request(rows, set.principal, set.request_key, set.outcome);
        }
        if (set.renews.sequence > 0) {
            sim_rows_renewed(rows, &set.renews);
        }
    }
    cc_arena_finish(&arena);
}
