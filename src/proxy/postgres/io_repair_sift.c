// SIFT: what another replica has told of rows, before it is joined with ours. Rows that are here in the same way are left out; of the others
// the histories are asked, all at once, which value was written under each stamp: where two values stand under one, that decides.
//
//   READ (the answer) --> EQUAL (digests of own rows) --> STAMPS --> HISTORY --> TRUTHS --> WRITE
#include "proxy/postgres/io_repair_internal.h"

#include "base/hash.h"
#include "base/memory.h"
#include "crdt/change.h"
#include "crdt/digest.h"
#include "crdt/row.h"
#include "proxy/postgres/pg_value.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    STAMPS_PER_RANGE = 128, // of the index of the histories' stamps, which tells ranges of pages
    STAMP_TIME_CHARACTERS = 16,
};

struct sifted { // a row of the answer
    struct row_state state;
    uint64_t digest; // of what is told of it, stamps and all; 0: it is not to be seen
    bool equal;      // to the row here
    struct clock_stamp *stamps; // per field
};

struct sift {
    struct sifted *rows;
    size_t n_rows, capacity, row; // the next one
    struct cc_reader reader;      // what is left of the answer
    // Numbers of rows from 1, by digest and then by key; open addressing.
    uint32_t *slots;
    size_t n_slots;
    struct clock_stamp *stamps;
    size_t n_stamps, stamps_capacity;
    struct clock_stamp *last; // put into `stamps`, per field of a row
    uint32_t n_last;
    struct crdt_column *columns; // of one row
};

void io_repair_forget_sift(struct io_repair *repair)
{
    if (repair->sift != NULL) {
        free(repair->sift->rows);
        free(repair->sift->slots);
        free(repair->sift->stamps);
        free(repair->sift);
        repair->sift = NULL;
    }
}

// -- Rows by digest and by key -------------------------------------------------------------------------------------------

static void slots_clear(struct sift *sift)
{
    free(sift->slots);
    sift->n_slots = 2 * sift->n_rows + 1;
    sift->slots = cc_alloc_array(sift->n_slots, sizeof(*sift->slots));
}

static void slot_put(struct sift *sift, uint64_t hash, size_t row)
{
    size_t at = hash % sift->n_slots;
    while (sift->slots[at] != 0) {
        at = (at + 1) % sift->n_slots;
    }
    sift->slots[at] = (uint32_t)row + 1;
}

static uint64_t key_hash(struct cc_slice key)
{
    static const uint8_t hash_key[16] = {5};
    return cc_siphash(hash_key, key.data, key.n);
}

static struct sifted *by_key(const struct sift *sift, struct cc_slice key)
{
    for (size_t at = key_hash(key) % sift->n_slots; sift->slots[at] != 0; at = (at + 1) % sift->n_slots) {
        struct sifted *row = &sift->rows[sift->slots[at] - 1];
        if (cc_slice_equal(row->state.key, key)) {
            return row;
        }
    }
    return NULL;
}

// Some rows, then everybody else's turn; false: there are no more.
static bool some_rows(struct sift *sift, size_t *from_out, size_t *end_out)
{
    size_t left = sift->n_rows - sift->row;
    *from_out = sift->row;
    sift->row += left > REPAIR_ROWS_PER_TURN ? REPAIR_ROWS_PER_TURN : left;
    *end_out = sift->row;
    return sift->row < sift->n_rows;
}

// -- What is left: lists of states again ---------------------------------------------------------------------------------

static void write_some(struct io_repair *repair)
{
    struct sift *sift = repair->sift;
    size_t from, end;
    bool more = some_rows(sift, &from, &end);
    for (size_t i = from; i < end; i++) {
        if (!sift->rows[i].equal) {
            io_repair_add_state(repair, &sift->rows[i].state);
        }
    }
    if (more) {
        io_repair_turn(repair, write_some);
        return;
    }
    io_repair_end_list(repair);
    io_repair_finish(repair, &(struct repair_event){.bytes = cc_buffer_slice(&repair->states)});
}

static void write_rows(struct io_repair *repair)
{
    repair->sift->row = 0;
    write_some(repair);
}

// -- Truths: what was written under the stamps ---------------------------------------------------------------------------

static void take_truth(struct sifted *row, const struct clock_stamp *stamp, const struct crdt_field *field)
{
    for (uint32_t i = 0; i < row->state.n_fields; i++) {
        if (cc_slice_equal(row->state.names[i], field->column) && clock_stamp_compare(&row->stamps[i], stamp) == 0) {
            row->state.values[i] = field->value;
            row->state.told[i] = true;
        }
    }
}

static void take_change(struct io_repair *repair, const struct crdt_change_set *set)
{
    for (uint32_t r = 0; r < set->n_rows; r++) {
        const struct crdt_row_change *change = &set->rows[r];
        struct sifted *row = crdt_table_equal(change->table, repair->first->job.table) ? by_key(repair->sift, change->key) : NULL;
        for (uint32_t f = 0; row != NULL && f < change->n_fields; f++) {
            take_truth(row, &set->stamp, &change->fields[f]);
        }
    }
}

// Values stay with the result.
static void take_some(struct io_repair *repair)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    size_t n_rows = 0;
    for (; repair->row < PQntuples(repair->rows) && n_rows < REPAIR_ROWS_PER_TURN; repair->row++) {
        struct crdt_change_set set;
        if (crdt_change_set_read(io_repair_value(repair->rows, repair->row, 0), &arena, &set) == CC_OK) {
            take_change(repair, &set);
            n_rows += set.n_rows;
        }
    }
    cc_arena_finish(&arena);
    if (repair->row < PQntuples(repair->rows)) {
        io_repair_turn(repair, take_some);
    } else {
        write_rows(repair);
    }
}

static int compare_stamps(const void *a, const void *b)
{
    return clock_stamp_compare(a, b);
}

// Sorted, each once.
static void sort_stamps(struct sift *sift)
{
    qsort(sift->stamps, sift->n_stamps, sizeof(*sift->stamps), compare_stamps);
    size_t n = 0;
    for (size_t i = 0; i < sift->n_stamps; i++) {
        if (n == 0 || clock_stamp_compare(&sift->stamps[n - 1], &sift->stamps[i]) != 0) {
            sift->stamps[n++] = sift->stamps[i];
        }
    }
    sift->n_stamps = n;
}

// The index is of ranges of pages: neighbouring stamps are looked for together.
static const char sql_history[] =
    "SELECT c.change FROM unnest($1::text[], $2::text[]) AS g(low, high), caucus.history h, unnest(h.changes) AS c(change) "
    "WHERE h.since COLLATE \"C\" <= g.high AND h.stamp COLLATE \"C\" >= g.low AND (h.sets > 1 OR left(h.stamp, 16) = ANY ($3::text[])) "
    "AND caucus.time_of(c.change) = ANY ($3::text[])";

static void ask_history(struct io_repair *repair)
{
    struct sift *sift = repair->sift;
    struct pg_array arrays[3];
    char text[CLOCK_STAMP_TEXT_BYTES];
    for (size_t i = 0; i < 3; i++) {
        pg_array_init(&arrays[i], PG_TEXT);
    }
    for (size_t i = 0; i < sift->n_stamps; i++) {
        clock_stamp_text(&sift->stamps[i], text);
        pg_array_put(&arrays[2], cc_slice_of(text, STAMP_TIME_CHARACTERS));
        if (i % STAMPS_PER_RANGE == 0) {
            pg_array_put(&arrays[0], cc_slice_text(text));
        }
        if (i % STAMPS_PER_RANGE == STAMPS_PER_RANGE - 1 || i + 1 == sift->n_stamps) {
            pg_array_put(&arrays[1], cc_slice_text(text));
        }
    }
    struct cc_slice parameters[3] = {pg_array_slice(&arrays[0]), pg_array_slice(&arrays[1]), pg_array_slice(&arrays[2])};
    // No range is worth reading all of the history.
    io_repair_set(repair, "SET enable_seqscan = off");
    struct io_postgres_query query = {.sql = sql_history,
                                      .n_parameters = 3,
                                      .parameters = parameters,
                                      .binary = (const uint8_t[]){1, 1, 1},
                                      .once = true,
                                      .binary_result = true};
    io_repair_ask_query(repair, &query, take_some);
    io_repair_set(repair, "RESET enable_seqscan");
    for (size_t i = 0; i < 3; i++) {
        pg_array_finish(&arrays[i]);
    }
}

// -- Stamps --------------------------------------------------------------------------------------------------------------

static void note_stamp(struct sift *sift, uint32_t field, const struct clock_stamp *stamp)
{
    if (!clock_stamp_is_zero(stamp) && clock_stamp_compare(&sift->last[field], stamp) != 0) { // rows of one write come together
        sift->last[field] = *stamp;
        sift->stamps = cc_grow(sift->stamps, &sift->stamps_capacity, sift->n_stamps + 1, sizeof(*sift->stamps));
        sift->stamps[sift->n_stamps++] = *stamp;
    }
}

// False: nobody could join it.
static bool read_stamps(struct io_repair *repair, struct sifted *sifted)
{
    struct sift *sift = repair->sift;
    struct row_state *state = &sifted->state;
    if (state->n_fields > sift->n_last) {
        sift->last = cc_arena_array(&repair->arena, state->n_fields, sizeof(*sift->last));
        sift->columns = cc_arena_array(&repair->arena, state->n_fields, sizeof(*sift->columns));
        sift->n_last = state->n_fields;
    }
    struct crdt_register *registers = cc_arena_array(&repair->arena, state->n_fields, sizeof(*registers));
    for (uint32_t i = 0; i < state->n_fields; i++) {
        sift->columns[i].name = state->names[i];
    }
    struct crdt_row row;
    crdt_row_init(&row, sift->columns, state->n_fields, registers, &repair->arena);
    if (crdt_stamps_read(state->stamps, &row) != CC_OK) {
        return false;
    }
    sifted->stamps = cc_arena_array(&repair->arena, state->n_fields, sizeof(*sifted->stamps));
    state->told = cc_arena_array(&repair->arena, state->n_fields, sizeof(*state->told));
    for (uint32_t i = 0; i < state->n_fields; i++) {
        sifted->stamps[i] = registers[i].stamp;
        note_stamp(sift, i, &sifted->stamps[i]);
    }
    return true;
}

static void read_some_stamps(struct io_repair *repair)
{
    struct sift *sift = repair->sift;
    size_t from, end;
    bool more = some_rows(sift, &from, &end);
    for (size_t i = from; i < end; i++) {
        struct sifted *row = &sift->rows[i];
        if (!row->state.hidden && !row->equal && read_stamps(repair, row)) {
            slot_put(sift, key_hash(row->state.key), i);
        }
    }
    if (more) {
        io_repair_turn(repair, read_some_stamps);
        return;
    }
    if (sift->n_stamps == 0) {
        write_rows(repair);
        return;
    }
    sort_stamps(sift);
    ask_history(repair);
}

// -- Rows that are equal -------------------------------------------------------------------------------------------------

static void mark_equal(struct sift *sift, uint64_t digest)
{
    for (size_t at = digest % sift->n_slots; sift->slots[at] != 0; at = (at + 1) % sift->n_slots) {
        struct sifted *row = &sift->rows[sift->slots[at] - 1];
        row->equal = row->equal || row->digest == digest;
    }
}

static void mark_some(struct io_repair *repair)
{
    for (int end = repair->row + REPAIR_ROWS_PER_TURN; repair->row < end && repair->row < PQntuples(repair->rows); repair->row++) {
        mark_equal(repair->sift, (uint64_t)strtoll(PQgetvalue(repair->rows, repair->row, 0), NULL, 10));
    }
    if (repair->row < PQntuples(repair->rows)) {
        io_repair_turn(repair, mark_some);
        return;
    }
    repair->sift->row = 0;
    slots_clear(repair->sift);
    read_some_stamps(repair);
}

static void ask_for_equal(struct io_repair *repair)
{
    struct sift *sift = repair->sift;
    struct pg_array digests;
    pg_array_init(&digests, PG_INT8);
    for (size_t i = 0; i < sift->n_rows; i++) {
        if (!sift->rows[i].state.hidden) {
            pg_array_put_int8(&digests, (int64_t)sift->rows[i].digest);
        }
    }
    io_repair_put_buckets(repair);
    struct cc_buffer sql = {0};
    cc_buffer_append_text(&sql, "SELECT own.d FROM (SELECT ");
    io_repair_put_digest(&sql, repair, true);
    cc_buffer_append_text(&sql, " AS d");
    io_repair_put_from(&sql, repair, repair->first->job.table);
    cc_buffer_printf(&sql, " WHERE (k.h >> %d) & %d = ANY ($1::bigint[])) AS own JOIN unnest($2::bigint[]) AS told(d) ON told.d = own.d",
                     (int)REPAIR_BUCKET_SHIFT, REPAIR_BUCKETS - 1);
    struct cc_slice parameters[2] = {cc_buffer_slice(&repair->buckets), pg_array_slice(&digests)};
    io_repair_ask(repair, cc_buffer_text(&sql), 2, parameters, (const uint8_t[]){0, 1}, mark_some);
    cc_buffer_finish(&sql);
    pg_array_finish(&digests);
}

// -- Reading -------------------------------------------------------------------------------------------------------------

// As io_repair_put_digest. False: it is of another shape of the table.
static bool digest_of(struct io_repair *repair, const struct row_state *state, uint64_t *digest_out)
{
    uint64_t key;
    if (!io_repair_hash(repair, state->key, &key)) {
        return false;
    }
    uint64_t sum = key;
    for (uint32_t i = 0; i < state->n_fields; i++) {
        sum ^= crdt_digest_field(key, state->names[i], state->values[i]);
    }
    *digest_out = sum ^ crdt_digest_hash(state->stamps, key);
    return true;
}

static void read_list(struct io_repair *repair)
{
    struct sift *sift = repair->sift;
    struct cc_slice table = {0};
    struct row_state *states = NULL;
    uint32_t n = 0;
    if (row_states_read(cc_read_string(&sift->reader), &repair->arena, &table, &states, &n) != CC_OK) {
        cc_reader_fail(&sift->reader); // of a broken sender: what came before is of use
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct sifted row = {.state = states[i]};
        row.state.told = NULL; // it is not the sender's to say
        if (row.state.hidden || digest_of(repair, &row.state, &row.digest)) {
            sift->rows = cc_grow(sift->rows, &sift->capacity, sift->n_rows + 1, sizeof(*sift->rows));
            sift->rows[sift->n_rows++] = row;
        }
    }
}

static void read_some(struct io_repair *repair)
{
    struct sift *sift = repair->sift;
    size_t end = sift->n_rows + REPAIR_ROWS_PER_TURN;
    while (sift->n_rows < end && cc_reader_ok(&sift->reader) && cc_reader_left(&sift->reader) > 0) {
        read_list(repair);
    }
    if (cc_reader_ok(&sift->reader) && cc_reader_left(&sift->reader) > 0) {
        io_repair_turn(repair, read_some);
        return;
    }
    slots_clear(sift);
    for (size_t i = 0; i < sift->n_rows; i++) {
        if (!sift->rows[i].state.hidden) {
            slot_put(sift, sift->rows[i].digest, i);
        }
    }
    ask_for_equal(repair);
}

void io_repair_sift(struct io_repair *repair)
{
    repair->sift = cc_alloc(sizeof(*repair->sift));
    repair->sift->reader = cc_reader_of(repair->first->job.states);
    read_some(repair);
}
