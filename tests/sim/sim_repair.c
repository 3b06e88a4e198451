// Comparing weak tables (io_repair.c and the MERGE of states) in virtual time, and what it is for: rows that somebody changed past
// Caucus, members whose changes nobody's history holds any more, operators who ask for a comparison.
//
// Rows that were joined are ahead of the frontier: what they belong to is kept under the key x, and the rows are compared with
// others again when the frontier has come there.
#include "sim/sim_weak.h"

#include "base/memory.h"
#include "crdt/digest.h"
#include "proxy/node/row_state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_PER_ANSWER = 5, ROWS_PER_LIST = 3, BUCKET_SHIFT = 52, OPERATOR_US = 3 * 1000 * 1000 };

struct sim_repair { // of one life of a replica
    uint64_t life;
    uint64_t busy_us;
    bool summed, summed_whole; // of these
    uint64_t sums[REPAIR_BUCKETS];
    uint32_t counts[REPAIR_BUCKETS];
    uint8_t owed[CC_REPLICAS_MAX * sizeof(uint32_t)]; // of all lives
    size_t n_owed;
    struct crdt_frontier told; // of all lives: what the states that it told belong to, though its database may have lost that since
};

struct task {
    struct repair_job job;
    struct cc_buffer bytes; // its table, sums, states, buckets
};

void sim_repair_destroy(struct sim_repair *repair)
{
    free(repair);
}

static void task_free(void *data)
{
    struct task *task = data;
    cc_buffer_finish(&task->bytes);
    free(task);
}

// -- Reading ------------------------------------------------------------------------------------------------------------

struct row_visit { // one transaction
    struct sim *sim;
    struct sim_replica *replica;
    const struct sim_store *store;
    struct cc_arena *arena;
    const struct repair_job *job;
    bool wanted[REPAIR_BUCKETS];
    uint32_t next, n_rows, n_listed;
    struct cc_buffer list, states;
    const struct row_state **told; // of an answer
    size_t n_told;
};

static uint64_t key_hash(const char *name)
{
    struct cc_slice key = cc_slice_text(name + 2); // behind "w/"
    return crdt_digest_key(&key, 1);
}

static uint32_t bucket_of(const char *name)
{
    return (uint32_t)(key_hash(name) >> BUCKET_SHIFT & (REPAIR_BUCKETS - 1));
}

static struct cc_slice committed(const struct row_visit *visit, const char *name)
{
    const struct cc_blob *blob = sim_store_get_committed(visit->store, name);
    return blob == NULL ? (struct cc_slice){0} : cc_arena_slice(visit->arena, cc_blob_slice(blob));
}

// The values and stamps of a live row.
static struct cc_slice read_live(struct cc_slice live, struct cc_slice values[SIM_WEAK_COLUMNS])
{
    struct cc_reader reader = cc_reader_of(live);
    for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
        values[i] = cc_read_nullable(&reader);
    }
    return cc_read_string(&reader);
}

static uint64_t digest_of(const char *name, struct cc_slice live, bool with_stamps)
{
    struct cc_slice values[SIM_WEAK_COLUMNS];
    struct cc_slice stamps = read_live(live, values);
    uint64_t key = key_hash(name), sum = key;
    for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
        sum ^= crdt_digest_field(key, sim_weak_columns[i].name, values[i]);
    }
    return with_stamps ? sum ^ crdt_digest_hash(stamps, key) : sum;
}

struct values_sum {
    const struct sim_store *store;
    uint64_t sum;
};

static void sum_values(void *context, const char *name)
{
    struct values_sum *values = context;
    const struct cc_blob *live = sim_store_get(values->store, name);
    values->sum ^= live == NULL ? 0 : digest_of(name, cc_blob_slice(live), false);
}

uint64_t sim_weak_values_digest(const struct sim_store *store)
{
    struct values_sum values = {store, 0};
    sim_store_scan(store, "w/", sum_values, &values);
    return values.sum;
}

static void sum_row(void *context, const char *name)
{
    struct row_visit *visit = context;
    struct cc_slice live = committed(visit, name);
    if (live.data != NULL) {
        visit->replica->repair->sums[bucket_of(name)] ^= digest_of(name, live, visit->job->whole);
        visit->replica->repair->counts[bucket_of(name)]++;
    }
}

static void sum_up(struct row_visit *visit)
{
    struct sim_repair *repair = visit->replica->repair;
    memset(repair->sums, 0, sizeof(repair->sums));
    memset(repair->counts, 0, sizeof(repair->counts));
    sim_store_scan(visit->store, "w/", sum_row, visit);
    repair->summed = true;
    repair->summed_whole = visit->job->whole;
}

// Raises to what the other one holds, too.
static void frontier_join(struct crdt_frontier *frontier, const struct crdt_frontier *other);

// -- States ---------------------------------------------------------------------------------------------------------------

static void end_list(struct row_visit *visit)
{
    if (visit->n_listed > 0) {
        struct cc_buffer list = {0};
        row_states_begin(&list, cc_slice_text(SIM_WEAK_TABLE), visit->n_listed);
        cc_buffer_append_slice(&list, cc_buffer_slice(&visit->list));
        cc_put_string(&visit->states, cc_buffer_slice(&list));
        cc_buffer_finish(&list);
        cc_buffer_clear(&visit->list);
        visit->n_listed = 0;
    }
}

static void add_state(struct row_visit *visit, const char *name, struct row_state *state)
{
    struct cc_buffer key = {0};
    struct cc_slice text = cc_slice_text(name + 2);
    crdt_key_put(&key, &text, 1);
    state->key = cc_buffer_slice(&key);
    row_state_put(&visit->list, state);
    cc_buffer_finish(&key);
    visit->n_rows++;
    if (++visit->n_listed == ROWS_PER_LIST) {
        end_list(visit);
    }
}

static void put_tombstone(void *context, const char *name)
{
    struct row_visit *visit = context;
    uint32_t bucket = bucket_of(name);
    bool wanted = visit->job->whole ? bucket >= visit->job->from && bucket < visit->next : visit->wanted[bucket];
    struct cc_slice tombstone = committed(visit, name);
    if (wanted && tombstone.data != NULL) {
        struct cc_reader reader = cc_reader_of(tombstone);
        struct clock_stamp stamp = clock_stamp_read(&reader);
        char death[CLOCK_STAMP_TEXT_BYTES];
        clock_stamp_text(&stamp, death);
        add_state(visit, name, &(struct row_state){.hidden = true, .death = cc_slice_text(death), .remains = cc_read_string(&reader)});
    }
}

static void put_row(void *context, const char *name)
{
    struct row_visit *visit = context;
    struct cc_slice live = committed(visit, name);
    if (!visit->wanted[bucket_of(name)] || live.data == NULL) {
        return;
    }
    struct cc_slice names[SIM_WEAK_COLUMNS], values[SIM_WEAK_COLUMNS];
    struct row_state state = {.stamps = read_live(live, values), .names = names + 1, .values = values + 1, .n_fields = SIM_WEAK_COLUMNS - 1};
    for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
        names[i] = sim_weak_columns[i].name;
    }
    add_state(visit, name, &state);
}

static void answer_states(struct row_visit *visit, struct repair_event *event, struct repair_moment *moment, uint8_t *buckets)
{
    const struct sim_repair *repair = visit->replica->repair;
    const struct repair_job *job = visit->job;
    if (job->from == 0 || !repair->summed || repair->summed_whole != job->whole) {
        sum_up(visit);
    }
    struct cc_reader theirs = cc_reader_of(job->sums);
    uint32_t n = 0, n_rows = 0, bucket = 0;
    for (; bucket < REPAIR_BUCKETS && n_rows < ROWS_PER_ANSWER; bucket++) {
        bool differs = cc_read_u64(&theirs) != repair->sums[bucket];
        if (bucket >= job->from && differs) {
            visit->wanted[bucket] = true;
            buckets[bucket / 8] |= (uint8_t)(1u << bucket % 8);
            n_rows += repair->counts[bucket] + 1;
            n++;
        }
    }
    visit->next = n == 0 && !job->whole ? REPAIR_BUCKETS : bucket;
    if (n > 0 || job->whole) {
        sim_store_scan(visit->store, "t/", put_tombstone, visit);
        sim_store_scan(visit->store, "w/", put_row, visit);
        end_list(visit);
    }
    struct sim_rows *rows = sim_database_rows(visit->replica->database);
    sim_rows_frontier(rows, &moment->frontier);
    frontier_join(&visit->replica->repair->told, &moment->frontier);
    moment->bound = sim_rows_get_u64(visit->store, "b");
    moment->schema_version = sim_rows_schema(rows);
    event->next = visit->next;
    event->n_rows = visit->n_rows;
    event->bytes = cc_buffer_slice(&visit->states);
    event->buckets = cc_slice_of(buckets, REPAIR_BITMAP_BYTES);
    event->moment = moment;
}

// -- Strays ---------------------------------------------------------------------------------------------------------------

static void collect_told(struct row_visit *visit)
{
    struct cc_reader reader = cc_reader_of(visit->job->states);
    size_t capacity = 0;
    while (cc_reader_ok(&reader) && cc_reader_left(&reader) > 0) {
        struct cc_slice table = {0};
        struct row_state *states = NULL;
        uint32_t n = 0;
        enum cc_status status = row_states_read(cc_read_string(&reader), visit->arena, &table, &states, &n);
        SIM_CHECK(visit->sim, "codec", status == CC_OK, "states of rows cannot be read");
        for (uint32_t i = 0; i < n; i++) {
            visit->told = cc_grow(visit->told, &capacity, visit->n_told + 1, sizeof(*visit->told));
            visit->told[visit->n_told++] = &states[i];
        }
    }
}

// What is told of a row that is not there, or nothing. False: it is there.
static bool find_hidden(const struct row_visit *visit, const char *name, struct row_state *state)
{
    struct cc_buffer key = {0};
    struct cc_slice text = cc_slice_text(name + 2);
    crdt_key_put(&key, &text, 1);
    bool visible = false;
    for (size_t i = 0; i < visit->n_told; i++) {
        bool same = cc_slice_equal(visit->told[i]->key, cc_buffer_slice(&key));
        visible = visible || (same && !visit->told[i]->hidden);
        *state = same ? *visit->told[i] : *state;
    }
    cc_buffer_finish(&key);
    return !visible;
}

static void put_settled(struct row_visit *visit, const char *name)
{
    struct crdt_row nothing;
    char death[CLOCK_STAMP_TEXT_BYTES];
    struct cc_buffer remains = {0};
    crdt_row_init(&nothing, NULL, 0, NULL, NULL);
    clock_stamp_text(&nothing.death, death);
    crdt_remains_put(&remains, &nothing);
    struct row_state state = {.hidden = true, .death = cc_slice_text(death), .remains = cc_buffer_slice(&remains)};
    if (find_hidden(visit, name, &state)) {
        state.settled = true;
        add_state(visit, name, &state);
        visit->sim->counters.strays++;
    }
    cc_buffer_finish(&remains);
}

static void put_stray(void *context, const char *name)
{
    struct row_visit *visit = context;
    uint32_t bucket = bucket_of(name);
    bool asked = visit->job->buckets.data[bucket / 8] >> bucket % 8 & 1;
    if (asked && committed(visit, name).data != NULL) {
        put_settled(visit, name);
    }
}

static void put_hidden(void *context, const char *name)
{
    struct row_visit *visit = context;
    uint32_t bucket = bucket_of(name);
    bool asked = bucket >= visit->job->from && bucket < visit->job->next;
    char live[SIM_KEY_BYTES];
    snprintf(live, sizeof(live), "w/%s", name + 2);
    if (asked && committed(visit, name).data != NULL && committed(visit, live).data == NULL) {
        put_settled(visit, name);
    }
}

static void answer_strays(struct row_visit *visit, struct repair_event *event)
{
    collect_told(visit);
    cc_buffer_append_slice(&visit->states, visit->job->states);
    if (visit->job->buckets.n == REPAIR_BITMAP_BYTES) {
        sim_store_scan(visit->store, "t/", put_hidden, visit);
        sim_store_scan(visit->store, "w/", put_stray, visit);
    }
    end_list(visit);
    event->bytes = cc_buffer_slice(&visit->states);
}

// -- Sifting --------------------------------------------------------------------------------------------------------------

struct truth {
    const struct sim_store *store;
    struct clock_stamp stamp;
    struct cc_slice key, column, cleared;
    struct cc_arena *arena;
    struct cc_slice value;
    bool found;
};

static void look_for_truth(void *context, const char *name)
{
    struct truth *truth = context;
    const struct cc_blob *blob = sim_store_get(truth->store, name);
    struct crdt_change_set set;
    if (blob == NULL || truth->found || crdt_change_set_read(cc_arena_slice(truth->arena, cc_blob_slice(blob)), truth->arena, &set) != CC_OK) {
        return;
    }
    for (uint32_t i = 0; i < set.n_rows; i++) {
        bool same_key = cc_slice_equal(set.rows[i].key, truth->key), same_stamp = clock_stamp_compare(&set.stamp, &truth->stamp) == 0;
        if (same_key && clock_stamp_is_zero(&truth->stamp) && set.rows[i].operation == CRDT_DELETE) {
            truth->value = truth->cleared;
            truth->found = true;
        }
        for (uint32_t f = 0; same_key && same_stamp && f < set.rows[i].n_fields; f++) {
            if (cc_slice_equal(set.rows[i].fields[f].column, truth->column)) {
                truth->value = set.rows[i].fields[f].value;
                truth->found = true;
            }
        }
    }
}

static bool is_here(const struct row_visit *visit, const struct row_state *state)
{
    struct cc_slice key;
    size_t n = 0;
    if (state->hidden || crdt_key_read(state->key, &key, 1, &n) != CC_OK) {
        return false;
    }
    char name[SIM_KEY_BYTES];
    snprintf(name, sizeof(name), "w/%.*s", (int)key.n, (const char *)key.data);
    struct cc_slice live = committed(visit, name);
    if (live.data == NULL) {
        return false;
    }
    uint64_t hash = key_hash(name), sum = hash;
    for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
        sum ^= crdt_digest_field(hash, sim_weak_columns[i].name, state->values[i - 1]);
    }
    return digest_of(name, live, true) == (sum ^ crdt_digest_hash(state->stamps, hash));
}

// What the histories tell of the row's values.
static void ask_histories(struct row_visit *visit, struct row_state *state)
{
    struct crdt_register registers[SIM_WEAK_COLUMNS] = {0};
    struct crdt_row row;
    crdt_row_init(&row, sim_weak_columns, SIM_WEAK_COLUMNS, registers, visit->arena);
    if (state->hidden || crdt_stamps_read(state->stamps, &row) != CC_OK) {
        return;
    }
    state->told = cc_arena_array(visit->arena, state->n_fields, sizeof(*state->told));
    for (uint32_t c = 1; c < SIM_WEAK_PLAIN; c++) {
        struct truth truth = {
            .store = visit->store, .stamp = registers[c].stamp, .key = state->key, .column = sim_weak_columns[c].name, .arena = visit->arena};
        if (!clock_stamp_is_zero(&truth.stamp)) {
            sim_store_scan(visit->store, "h/", look_for_truth, &truth);
        }
        if (truth.found) {
            state->values[c - 1] = truth.value;
            state->told[c - 1] = true;
        }
    }
}

static void answer_sift(struct row_visit *visit, struct repair_event *event)
{
    collect_told(visit);
    for (size_t i = 0; i < visit->n_told; i++) {
        struct row_state state = *visit->told[i];
        struct cc_slice key;
        size_t n = 0;
        enum cc_status status = crdt_key_read(state.key, &key, 1, &n);
        SIM_CHECK(visit->sim, "codec", status == CC_OK, "the key of a row cannot be read");
        if (!is_here(visit, &state)) {
            char name[SIM_KEY_BYTES];
            snprintf(name, sizeof(name), "w/%.*s", (int)key.n, (const char *)key.data);
            ask_histories(visit, &state);
            add_state(visit, name, &state);
        }
    }
    end_list(visit);
    event->bytes = cc_buffer_slice(&visit->states);
}

// -- Digests --------------------------------------------------------------------------------------------------------------

// The product keeps them up with every write; here they are of the rows as they are, so that every difference shows.
static void answer_kept(struct row_visit *visit)
{
    struct crdt_frontier frontier;
    sim_rows_frontier(sim_database_rows(visit->replica->database), &frontier);
    sum_up(visit);
    uint64_t n_rows = 0, sum = 0;
    for (uint32_t i = 0; i < REPAIR_BUCKETS; i++) {
        n_rows += visit->replica->repair->counts[i];
        sum ^= visit->replica->repair->sums[i];
    }
    crdt_frontier_put(&visit->states, &frontier);
    cc_put_varint(&visit->states, 1);
    cc_put_string(&visit->states, cc_slice_text(SIM_WEAK_TABLE));
    cc_put_u64(&visit->states, n_rows);
    cc_put_u64(&visit->states, sum);
}

// -- Tasks ----------------------------------------------------------------------------------------------------------------

static void work(struct sim *sim, struct sim_event *sim_event)
{
    const struct task *task = sim_event->data;
    const struct repair_job *job = &task->job;
    struct sim_replica *replica = sim_replica_of(sim, sim_event->replica);
    struct repair_event event = {
        .kind = job->kind, .number = job->number, .peer = job->peer, .round = job->round, .table = job->table, .from = job->from};
    event.failed = !sim_database_is_up(replica->database);
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct row_visit *visit = cc_alloc(sizeof(*visit));
    visit->sim = sim;
    visit->replica = replica;
    visit->store = sim_database_rows(replica->database)->store;
    visit->arena = &arena;
    visit->job = job;
    struct repair_moment moment;
    uint8_t buckets[REPAIR_BITMAP_BYTES] = {0};
    switch (event.failed ? REPAIR_RENEW : job->kind) {
    case REPAIR_TABLES:
        event.bytes = cc_slice_of(SIM_WEAK_TABLE, sizeof(SIM_WEAK_TABLE));
        break;
    case REPAIR_SUMS:
        sum_up(visit);
        for (uint32_t i = 0; i < REPAIR_BUCKETS; i++) {
            cc_put_u64(&visit->states, replica->repair->sums[i]);
        }
        event.bytes = cc_buffer_slice(&visit->states);
        break;
    case REPAIR_STATES:
        answer_states(visit, &event, &moment, buckets);
        break;
    case REPAIR_STRAYS:
        answer_strays(visit, &event);
        break;
    case REPAIR_SIFT:
        answer_sift(visit, &event);
        break;
    case REPAIR_KEPT:
        answer_kept(visit);
        event.bytes = cc_buffer_slice(&visit->states);
        break;
    case REPAIR_OWED:
        event.bytes = cc_slice_of(replica->repair->owed, replica->repair->n_owed);
        break;
    case REPAIR_OWE:
        assert(job->states.n <= sizeof(replica->repair->owed));
        replica->repair->n_owed = job->states.n;
        if (job->states.n > 0) {
            memcpy(replica->repair->owed, job->states.data, job->states.n);
        }
        break;
    case REPAIR_RENEW:
        break;
    }
    node_repair_event(replica->node, sim_replica_time(sim, replica), &event);
    sim_replica_settle(sim, replica);
    free(visit->told);
    cc_buffer_finish(&visit->list);
    cc_buffer_finish(&visit->states);
    free(visit);
    cc_arena_finish(&arena);
}

static struct cc_slice keep(struct cc_buffer *bytes, struct cc_slice slice)
{
    cc_buffer_append_slice(bytes, slice);
    return slice.data == NULL ? slice : cc_slice_of(bytes->data + bytes->n - slice.n, slice.n);
}

void sim_repair_submit(struct sim *sim, struct sim_replica *replica, const struct repair_job *job)
{
    struct task *task = cc_alloc(sizeof(*task));
    task->job = *job;
    cc_buffer_reserve(&task->bytes, job->table.n + job->sums.n + job->states.n + job->buckets.n); // so that it stays where it is
    task->job.table = keep(&task->bytes, job->table);
    task->job.sums = keep(&task->bytes, job->sums);
    task->job.states = keep(&task->bytes, job->states);
    task->job.buckets = keep(&task->bytes, job->buckets);
    struct sim_repair *repair = replica->repair;
    if (repair->life != replica->life) {
        repair->life = replica->life;
        repair->busy_us = 0;
        repair->summed = repair->summed_whole = false;
    }
    uint64_t begin_us = repair->busy_us > sim->now_us ? repair->busy_us : sim->now_us;
    bool is_small = job->kind == REPAIR_OWED || job->kind == REPAIR_OWE;
    repair->busy_us = begin_us + (is_small ? 0 : sim_spread(sim, sim->knobs.job_us)) + 1;
    struct sim_event *event = sim_after(sim, repair->busy_us - sim->now_us, work, replica->id);
    event->data = task;
    event->free_data = task_free;
}

// -- Joining, in the weak connection ---------------------------------------------------------------------------------------

static void frontier_join(struct crdt_frontier *frontier, const struct crdt_frontier *other)
{
    enum cc_status status = crdt_frontier_join(frontier, other);
    assert(status == CC_OK);
}

static bool same_value(struct cc_slice a, struct cc_slice b)
{
    return (a.data == NULL) == (b.data == NULL) && cc_slice_equal(a, b);
}

// One stamp, two values: the history may tell which was written. No stamp: that the row was deleted.
static bool settle_contradictions(const struct sim_rows *rows, const struct row_state *state, struct sim_weak_row *row, struct sim_weak_row *other,
                                  struct cc_arena *arena)
{
    bool changed = false;
    for (uint32_t c = 1; c < SIM_WEAK_PLAIN; c++) {
        struct crdt_register *a = &row->registers[c], *b = &other->registers[c];
        bool told = !clock_stamp_is_zero(&a->stamp) || (!sim_weak_columns[c].sticky && crdt_row_may_have_died(&row->row));
        if (!told || clock_stamp_compare(&a->stamp, &b->stamp) != 0 || same_value(a->value, b->value)) {
            continue;
        }
        const struct crdt_column *column = &sim_weak_columns[c];
        struct truth truth = {.store = rows->store, .stamp = a->stamp, .key = state->key, .column = column->name, .cleared = column->cleared, .arena = arena};
        if (state->told != NULL && !clock_stamp_is_zero(&a->stamp)) { // asked before
            truth.value = b->value;
            truth.found = state->told[c - 1];
        } else {
            sim_store_scan(rows->store, "h/", look_for_truth, &truth);
        }
        if (truth.found) {
            changed = changed || !same_value(a->value, truth.value);
            a->value = b->value = truth.value;
        }
    }
    return changed;
}

// A column with a merge type shows something else than its parts amount to.
static bool is_wrong(const struct sim_store *store, const char *name, const struct sim_weak_row *row)
{
    const struct cc_blob *live = sim_store_get(store, name);
    struct cc_slice values[SIM_WEAK_COLUMNS];
    bool wrong = false;
    if (live != NULL) {
        (void)read_live(cc_blob_slice(live), values);
        for (uint32_t i = SIM_WEAK_PLAIN; i < SIM_WEAK_COLUMNS; i++) {
            wrong = wrong || !same_value(values[i], row->registers[i].value);
        }
    }
    return wrong;
}

static bool join_row(struct sim *sim, struct sim_rows *rows, const struct row_state *state, const struct db_job *job, struct cc_arena *arena)
{
    struct sim_weak_row row, other;
    struct cc_slice key;
    size_t n = 0;
    enum cc_status status = crdt_key_read(state->key, &key, 1, &n);
    crdt_row_init(&other.row, sim_weak_columns, SIM_WEAK_COLUMNS, other.registers, arena);
    if (status == CC_OK && state->hidden) {
        status = crdt_remains_read(state->remains, &other.row) == CC_OK ? clock_stamp_parse(state->death, &other.row.death) : CC_MALFORMED;
    } else if (status == CC_OK) {
        for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
            other.registers[i].value = state->values[i - 1];
        }
        status = crdt_stamps_read(state->stamps, &other.row);
    }
    SIM_CHECK(sim, "codec", status == CC_OK, "the state of a row cannot be read");
    sim_weak_row_load(sim, rows->store, key, arena, &row);
    if (!row.exists && !row.had_tombstone && row_state_is_forgotten(state, job->dropped, arena)) {
        return false;
    }
    char name[SIM_KEY_BYTES];
    snprintf(name, sizeof(name), "w/%.*s", (int)key.n, (const char *)key.data);
    bool changed = is_wrong(rows->store, name, &row);
    changed = settle_contradictions(rows, state, &row, &other, arena) || changed;
    bool is_all = !state->hidden || state->settled;
    changed = (is_all && crdt_row_forget(&row.row, &other.row, job->bound)) || changed;
    changed = crdt_row_join(&row.row, &other.row) || changed;
    if (changed) {
        sim_weak_row_store(sim, rows->store, key, &row);
    }
    return changed;
}

// What the joined rows belong to, is held by somebody.
static void note_ahead(struct sim *sim, const struct sim_rows *rows)
{
    struct crdt_frontier ahead;
    sim_rows_ahead(rows, &ahead);
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        struct crdt_frontier held, further;
        sim_rows_frontier(sim_database_rows(sim->replicas[i].database), &held);
        sim_rows_ahead(sim_database_rows(sim->replicas[i].database), &further);
        frontier_join(&ahead, &held);
        frontier_join(&ahead, &further);
        frontier_join(&ahead, &sim->replicas[i].repair->told);
    }
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, &ahead);
    sim_store_put(rows->store, DB_WEAK, "x", cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
}

void sim_repair_adopt(struct sim *sim, struct sim_rows *rows, const struct db_job *job)
{
    struct crdt_frontier frontier, adopted;
    sim_rows_frontier(rows, &frontier);
    frontier_join(&frontier, job->adopt);
    sim_rows_put_frontier(rows, &frontier);
    sim_rows_adopted(rows, &adopted);
    frontier_join(&adopted, job->adopt);
    struct cc_buffer bytes = {0};
    crdt_frontier_put(&bytes, &adopted);
    sim_store_put(rows->store, DB_WEAK, "k", cc_buffer_slice(&bytes));
    cc_buffer_finish(&bytes);
    uint64_t greatest = sim_rows_hlc(rows);
    if (job->stamps[0].hlc > greatest) {
        sim_rows_put_u64(rows->store, DB_WEAK, "g", job->stamps[0].hlc);
    }
    sim->counters.adoptions++;
}

uint32_t sim_repair_join(struct sim *sim, struct sim_rows *rows, struct cc_slice list, const struct db_job *job)
{
    struct cc_arena arena;
    cc_arena_init(&arena);
    struct cc_slice table;
    struct row_state *states = NULL;
    uint32_t n = 0, n_changed = 0;
    enum cc_status status = row_states_read(list, &arena, &table, &states, &n);
    SIM_CHECK(sim, "codec", status == CC_OK, "states of rows cannot be read");
    for (uint32_t i = 0; i < n; i++) {
        n_changed += join_row(sim, rows, &states[i], job, &arena) ? 1 : 0;
    }
    if (n_changed > 0) {
        note_ahead(sim, rows);
    }
    sim->counters.rows_repaired += n_changed;
    cc_arena_finish(&arena);
    return n_changed;
}

// -- What makes it necessary --------------------------------------------------------------------------------------------------

struct rows_named {
    size_t n, chosen;
    char name[SIM_KEY_BYTES];
};

static void count_row(void *context, const char *name)
{
    struct rows_named *named = context;
    if (named->n++ == named->chosen) {
        snprintf(named->name, sizeof(named->name), "%s", name);
    }
}

// Somebody writes into a PostgreSQL past Caucus: a value without its stamp, or a row away.
static void tamper(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (sim->phase != SIM_FAULTS) {
        return;
    }
    struct sim_replica *replica = &sim->replicas[sim->seed % sim->n_replicas]; // the others know better
    struct sim_store *store = sim_database_rows(replica->database)->store;
    bool busy = !sim_database_is_up(replica->database) || sim_store_savepoint(store, DB_WEAK) > 0;
    struct rows_named named = {.chosen = (size_t)sim_draw(sim, 0, 2 * sim->knobs.n_keys)};
    sim_store_scan(store, "w/", count_row, &named);
    const struct cc_blob *live = named.name[0] == '\0' || busy ? NULL : sim_store_get(store, named.name);
    sim_after(sim, sim_spread(sim, sim->knobs.tamper_mean_us), tamper, 0);
    if (live == NULL) {
        return;
    }
    struct cc_slice values[SIM_WEAK_COLUMNS];
    struct cc_buffer bytes = {0};
    struct cc_slice stamps = read_live(cc_blob_slice(live), values);
    uint64_t column = sim_draw(sim, 1, SIM_WEAK_COLUMNS);
    for (uint32_t i = 1; i < SIM_WEAK_COLUMNS; i++) {
        cc_put_nullable(&bytes, i != column ? values[i] : cc_slice_text(i == SIM_WEAK_TAGS ? "{}" : "7777777"));
    }
    cc_put_string(&bytes, stamps);
    sim_store_put(store, DB_WEAK, named.name, column == SIM_WEAK_COLUMNS ? (struct cc_slice){0} : cc_buffer_slice(&bytes));
    sim_store_commit(store, DB_WEAK);
    cc_buffer_finish(&bytes);
    sim->counters.tampered++;
    sim_trace(sim, "r%u row %s is changed past us", replica->id, named.name + 2);
}

static void compare(struct sim *sim, struct sim_replica *replica)
{
    if (replica->alive && replica->paused_until_us <= sim->now_us) {
        (void)node_repair(replica->node, sim_replica_time(sim, replica));
        sim_replica_settle(sim, replica);
    }
}

// An operator asks for a comparison, now and then of one replica, in the end of all, as often as it takes.
static void operate(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (sim->phase == SIM_FAULTS) {
        compare(sim, &sim->replicas[sim_draw(sim, 0, sim->n_replicas - 1)]);
        sim_after(sim, sim_spread(sim, sim->knobs.repair_mean_us), operate, 0);
    } else if (sim->phase == SIM_HEALING && sim->counters.tampered > 0) {
        for (uint32_t i = 0; i < sim->n_replicas; i++) {
            compare(sim, &sim->replicas[i]);
        }
        sim_after(sim, OPERATOR_US, operate, 0);
    } else if (sim->phase == SIM_HEALING) {
        sim_after(sim, OPERATOR_US, operate, 0);
    }
}

void sim_repair_start(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        sim->replicas[i].repair = cc_alloc(sizeof(struct sim_repair));
    }
    if (sim->knobs.tamper_mean_us > 0) {
        sim_after(sim, sim_spread(sim, sim->knobs.tamper_mean_us), tamper, 0);
    }
    if (sim->knobs.repair_mean_us > 0) {
        sim_after(sim, sim_spread(sim, sim->knobs.repair_mean_us), operate, 0);
    }
}
