// What weak rows must show, said plainly: from all change sets at once, as docs/CONSISTENCY.md words it, without merging, registers or
// parts. Columns with merge types only of rows that are never deleted (V...), for which their rules are one sentence each.
#include "sim/sim_weak.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WRITES_MAX = 4096, KEYED_OF_ONE_MAX = CRDT_KEYED_MAX - 4, SET_WRITES_MAX = 256, SET_WORDS = SET_WRITES_MAX / 64, DIGITS = 10 };

struct oracle_write { // of one row
    const struct crdt_change_set *set;
    const struct crdt_row_change *change;
    struct cc_slice id;
};

struct oracle {
    struct sim *sim;
    struct cc_slice key;
    struct oracle_write **writes; // by stamp
    size_t n, capacity;
};

static int compare_writes(const void *a, const void *b)
{
    const struct oracle_write *const *x = a, *const *y = b;
    return clock_stamp_compare(&(*x)->set->stamp, &(*y)->set->stamp);
}

static void take_set(void *context, const struct crdt_change_set *set)
{
    struct oracle *oracle = context;
    for (uint32_t i = 0; i < set->n_rows && oracle->n < WRITES_MAX; i++) {
        struct cc_slice key;
        size_t n = 0;
        if (crdt_key_read(set->rows[i].key, &key, 1, &n) != CC_OK || !cc_slice_equal(key, oracle->key)) {
            continue;
        }
        struct oracle_write *write = cc_alloc(sizeof(*write));
        write->set = set;
        write->change = &set->rows[i];
        write->id = set->rows[i].n_fields > 0 ? set->rows[i].fields[0].value : (struct cc_slice){0};
        oracle->writes = cc_grow(oracle->writes, &oracle->capacity, oracle->n + 1, sizeof(*oracle->writes));
        oracle->writes[oracle->n++] = write;
    }
}

static void check_value(const struct oracle *oracle, const struct sim_weak_row *row, uint32_t column, struct cc_slice expected)
{
    struct cc_slice value = row->registers[column].value, name = sim_weak_columns[column].name;
    bool good = (value.data == NULL) == (expected.data == NULL) && cc_slice_equal(value, expected);
    SIM_CHECK(oracle->sim, "W3", good, "row %.*s shows %.*s=%.*s, but by the rules it is %.*s", (int)oracle->key.n, (const char *)oracle->key.data,
              (int)name.n, (const char *)name.data, (int)value.n, (const char *)value.data, (int)expected.n, (const char *)expected.data);
}

// -- The last writer wins -----------------------------------------------------------------------------------------------

// The greatest stamp of those that brought the row to life, or of its deletions.
static struct clock_stamp greatest(const struct oracle *oracle, bool deletions)
{
    struct clock_stamp stamp = {0};
    for (size_t i = 0; i < oracle->n; i++) {
        enum crdt_operation operation = oracle->writes[i]->change->operation;
        if (operation != CRDT_UPDATE && (operation == CRDT_DELETE) == deletions) {
            stamp = oracle->writes[i]->set->stamp; // they are in order
        }
    }
    return stamp;
}

static struct cc_slice last_value(const struct oracle *oracle, uint32_t column, const struct clock_stamp *death)
{
    struct cc_slice value = sim_weak_columns[column].cleared;
    for (size_t i = 0; i < oracle->n; i++) {
        const struct oracle_write *write = oracle->writes[i];
        bool counts = sim_weak_columns[column].sticky || clock_stamp_compare(&write->set->stamp, death) > 0;
        for (uint32_t f = 0; counts && f < write->change->n_fields; f++) {
            if (cc_slice_equal(write->change->fields[f].column, sim_weak_columns[column].name)) {
                value = write->change->fields[f].value;
            }
        }
    }
    return value;
}

// A row cannot be shown without a value for a column that is NOT NULL and has no constant default. An upsert may lack it: then it was made
// upon a row whose insert is lost with all disks that had it.
static bool has_all_values(const struct oracle *oracle, const struct clock_stamp *death)
{
    for (uint32_t i = 1; i < SIM_WEAK_PLAIN; i++) {
        if (sim_weak_columns[i].sticky && last_value(oracle, i, death).data == NULL) {
            return false;
        }
    }
    return true;
}

// -- Merge types ----------------------------------------------------------------------------------------------------------

// Every write adds one, and those under one key one together. False: more keys than are remembered one by one.
static bool count(const struct oracle *oracle, uint64_t *sum_out)
{
    *sum_out = 0;
    size_t n_keyed = 0;
    for (size_t i = 0; i < oracle->n; i++) {
        struct cc_slice key = oracle->writes[i]->set->request_key;
        bool twin = false;
        for (size_t before = 0; key.data != NULL && before < i; before++) {
            twin = twin || cc_slice_equal(oracle->writes[before]->set->request_key, key);
        }
        n_keyed += key.data != NULL ? 1 : 0;
        *sum_out += twin ? 0 : 1;
    }
    return n_keyed <= KEYED_OF_ONE_MAX;
}

static void extremes(const struct oracle *oracle, unsigned *greatest_out, unsigned *least_out)
{
    *greatest_out = 0;
    *least_out = UINT32_MAX;
    for (size_t i = 0; i < oracle->n; i++) {
        unsigned number = sim_weak_number(oracle->writes[i]->id);
        *greatest_out = number > *greatest_out ? number : *greatest_out;
        *least_out = number < *least_out ? number : *least_out;
    }
}

// -- Sets -----------------------------------------------------------------------------------------------------------------

struct additions { // by the number of their write
    uint64_t bits[SET_WORDS];
};

struct set_writes {
    bool writes[SET_WRITES_MAX];                  // the set at all
    struct additions added[DIGITS];               // of each element
    struct additions removed[SET_WRITES_MAX];     // whose addition each write took out: of others', or confirming it of its own
};

static bool has_tags(const struct oracle_write *write)
{
    for (uint32_t f = 0; f < write->change->n_fields; f++) {
        if (cc_slice_equal(write->change->fields[f].column, sim_weak_columns[SIM_WEAK_TAGS].name)) {
            return true;
        }
    }
    return false;
}

static void take_out(struct additions *from, const struct additions *what)
{
    for (size_t w = 0; w < SET_WORDS; w++) {
        from->bits[w] &= ~what->bits[w];
    }
}

static void put_in(struct additions *to, const struct additions *what)
{
    for (size_t w = 0; w < SET_WORDS; w++) {
        to->bits[w] |= what->bits[w];
    }
}

static bool is_empty(const struct additions *additions)
{
    uint64_t any = 0;
    for (size_t w = 0; w < SET_WORDS; w++) {
        any |= additions->bits[w];
    }
    return any == 0;
}

static void add(struct additions *to, size_t write)
{
    to->bits[write / 64] |= UINT64_C(1) << write % 64;
}

// The write adds its digit unless the set has it, and takes the digit after it out.
static void write_set(const struct oracle *oracle, size_t number, struct set_writes *sets)
{
    const struct oracle_write *write = oracle->writes[number];
    struct additions seen = {0}, own = {0}, removed = {0};
    for (size_t i = 0; i < number; i++) {
        const struct crdt_change_set *earlier = oracle->writes[i]->set;
        if (sets->writes[i] && crdt_change_set_saw(write->set, earlier->origin, earlier->sequence)) {
            add(&seen, i);
            put_in(&removed, &sets->removed[i]);
            if (crdt_origin_compare(write->set->origin, earlier->origin) == 0) {
                add(&own, i);
            }
        }
    }
    unsigned digit = sim_weak_digit(write->id);
    struct additions *added = &sets->added[digit], there = *added, gone = sets->added[(digit + 1) % DIGITS];
    for (size_t w = 0; w < SET_WORDS; w++) {
        there.bits[w] &= seen.bits[w] & ~removed.bits[w];
        gone.bits[w] &= seen.bits[w] & ~removed.bits[w]; // what it does not show it does not take out once more
        sets->removed[number].bits[w] = gone.bits[w] | (removed.bits[w] & own.bits[w]);
    }
    if (is_empty(&there)) {
        add(added, number);
    }
    sets->writes[number] = true;
}

static void check_set(const struct oracle *oracle, const struct sim_weak_row *row)
{
    if (oracle->n > SET_WRITES_MAX) {
        return;
    }
    struct set_writes *sets = cc_alloc(sizeof(*sets));
    struct cc_buffer text = {0};
    for (size_t i = 0; i < oracle->n; i++) {
        if (has_tags(oracle->writes[i])) {
            write_set(oracle, i, sets);
        }
    }
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        for (size_t i = 0; i < oracle->n; i++) {
            take_out(&sets->added[digit], &sets->removed[i]);
        }
        if (!is_empty(&sets->added[digit])) {
            cc_buffer_printf(&text, "%s%u", text.n == 0 ? "{" : ",", digit);
        }
    }
    cc_buffer_append_text(&text, text.n == 0 ? "{}" : "}");
    check_value(oracle, row, SIM_WEAK_TAGS, cc_buffer_slice(&text));
    cc_buffer_finish(&text);
    free(sets);
}

// -- Comparing --------------------------------------------------------------------------------------------------------------

static void check_typed(const struct oracle *oracle, const struct sim_weak_row *row)
{
    char text[64];
    uint64_t sum;
    if (count(oracle, &sum)) {
        snprintf(text, sizeof(text), "%" PRIu64, sum);
        check_value(oracle, row, SIM_WEAK_VIEWS, cc_slice_text(text));
    }
    unsigned best, least;
    extremes(oracle, &best, &least);
    snprintf(text, sizeof(text), "%u", best);
    check_value(oracle, row, SIM_WEAK_BEST, cc_slice_text(text));
    snprintf(text, sizeof(text), "%u", least);
    check_value(oracle, row, SIM_WEAK_LEAST, cc_slice_text(text));
    if (oracle->sim->counters.rows_repaired == 0 && oracle->sim->counters.adoptions == 0) { // else writers saw more than they tell
        check_set(oracle, row);
    }
}

static void check_row(struct sim *sim, const struct crdt_frontier *frontier, const struct sim_store *store, const char *key, bool whole)
{
    struct oracle oracle = {.sim = sim, .key = cc_slice_text(key)};
    struct cc_arena arena;
    cc_arena_init(&arena);
    sim_weak_check_each(sim, frontier, &arena, take_set, &oracle);
    if (oracle.n > 0) {
        qsort(oracle.writes, oracle.n, sizeof(*oracle.writes), compare_writes);
    }
    struct sim_weak_row row;
    sim_weak_row_load(sim, store, oracle.key, &arena, &row);
    struct clock_stamp life = greatest(&oracle, false), death = greatest(&oracle, true);
    bool there = clock_stamp_compare(&life, &death) > 0 && (whole || has_all_values(&oracle, &death));
    SIM_CHECK(sim, "W3", there == row.exists, "row %s is %sthere, but by the rules it is%s", key, row.exists ? "" : "not ", there ? "" : " not");
    for (uint32_t i = 1; there && i < SIM_WEAK_PLAIN; i++) {
        check_value(&oracle, &row, i, last_value(&oracle, i, &death));
    }
    if (there && whole && key[0] == 'V' && oracle.n < WRITES_MAX) {
        check_typed(&oracle, &row);
    }
    for (size_t i = 0; i < oracle.n; i++) {
        free(oracle.writes[i]);
    }
    free(oracle.writes);
    cc_arena_finish(&arena);
}

void sim_oracle_check(struct sim *sim, const struct crdt_frontier *frontier, const struct sim_store *store, bool whole)
{
    for (uint64_t i = 1; i <= sim->knobs.n_keys; i++) {
        char key[16];
        snprintf(key, sizeof(key), "V%" PRIu64, i);
        check_row(sim, frontier, store, key, whole);
        key[0] = 'W';
        check_row(sim, frontier, store, key, whole);
    }
}
