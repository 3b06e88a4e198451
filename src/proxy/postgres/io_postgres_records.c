// What is written beside the rows, in the schema caucus: requests, tombstones, histories and the frontier.
#include "proxy/postgres/io_postgres_records.h"

#include "base/memory.h"

#include <stdlib.h>

enum { HISTORY_ROW_BYTES_MAX = 3900 }; // two to a page

static struct cc_slice or_empty(struct cc_slice slice)
{
    return slice.data == NULL ? cc_slice_text("") : slice;
}

// -- Requests ----------------------------------------------------------------------------------------------------------

void pg_requests_init(struct pg_requests *requests)
{
    pg_array_init(&requests->principals, PG_TEXT);
    pg_array_init(&requests->keys, PG_TEXT);
    pg_array_init(&requests->fingerprints, PG_BYTEA);
    pg_array_init(&requests->outcomes, PG_BYTEA);
}

void pg_requests_put(struct pg_requests *requests, struct cc_slice principal, struct cc_slice key, struct cc_slice fingerprint,
                     struct cc_slice outcome)
{
    struct rest_outcome read;
    if (rest_outcome_read(outcome, &read) != CC_OK || read.kind == REST_REFUSED || read.kind == REST_UNKNOWN) {
        return;
    }
    pg_array_put(&requests->principals, or_empty(principal));
    pg_array_put(&requests->keys, key);
    pg_array_put(&requests->fingerprints, or_empty(fingerprint));
    pg_array_put(&requests->outcomes, outcome);
}

void pg_requests_send(struct pg_requests *requests, struct pg_lane *lane)
{
    struct pg_array *arrays[4] = {&requests->principals, &requests->keys, &requests->fingerprints, &requests->outcomes};
    if (requests->keys.n > 0) { // an old outcome is one that another replica has dropped already: the key is used anew
        pg_lane_must_arrays(lane,
                    "INSERT INTO caucus.requests (principal, key, fingerprint, outcome) SELECT DISTINCT ON (u.p, u.k) u.p, u.k, u.f, u.o FROM "
                    "(SELECT *, row_number() OVER () FROM ",
                    arrays, 4,
                    " AS s) AS u(p, k, f, o, n) ORDER BY u.p, u.k, u.n ON CONFLICT (principal, key) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, outcome = EXCLUDED.outcome, "
                    "at = EXCLUDED.at WHERE requests.at < EXCLUDED.at - interval '15 minutes'");
    }
    pg_requests_finish(requests);
}

void pg_requests_finish(struct pg_requests *requests)
{
    pg_array_finish(&requests->principals);
    pg_array_finish(&requests->keys);
    pg_array_finish(&requests->fingerprints);
    pg_array_finish(&requests->outcomes);
}

// -- Tombstones --------------------------------------------------------------------------------------------------------

void pg_tombstones_init(struct pg_tombstones *tombstones, struct pg_lane *lane)
{
    tombstones->lane = lane;
    pg_array_init(&tombstones->tables, PG_TEXT);
    pg_array_init(&tombstones->keys, PG_BYTEA);
    pg_array_init(&tombstones->deaths, PG_TEXT);
    pg_array_init(&tombstones->remains, PG_BYTEA);
    pg_array_init(&tombstones->turns, PG_INT8);
}

void pg_tombstones_put(struct pg_tombstones *tombstones, struct cc_slice table, struct cc_slice key, const struct crdt_row *row)
{
    static const struct crdt_row nothing = {0};
    char death[CLOCK_STAMP_TEXT_BYTES];
    clock_stamp_text(&row->death, death);
    struct cc_buffer remains = {0};
    crdt_remains_put(&remains, crdt_row_is_visible(row) ? &nothing : row);
    pg_lane_tombstoned_add(tombstones->lane, table);
    pg_array_put(&tombstones->tables, table);
    pg_array_put(&tombstones->keys, key);
    pg_array_put(&tombstones->deaths, cc_slice_text(death));
    pg_array_put(&tombstones->remains, or_empty(cc_buffer_slice(&remains)));
    pg_array_put_int8(&tombstones->turns, tombstones->turns.n);
    cc_buffer_finish(&remains);
}

void pg_tombstones_send(struct pg_tombstones *tombstones)
{
    struct pg_lane *lane = tombstones->lane;
    struct pg_array *arrays[5] = {&tombstones->tables, &tombstones->keys, &tombstones->deaths, &tombstones->remains, &tombstones->turns};
    if (tombstones->keys.n > 0) { // the last of one row counts: within one write a row may be deleted twice
        pg_lane_must_arrays(lane,
                    "INSERT INTO caucus.tombstones (\"table\", key, death, remains) SELECT DISTINCT ON (u.t, u.k) u.t, u.k, u.d, u.r FROM ", arrays, 5,
                    " AS u(t, k, d, r, n) ORDER BY u.t, u.k, u.n DESC ON CONFLICT (\"table\", key) DO UPDATE SET death = EXCLUDED.death, "
                    "remains = EXCLUDED.remains");
    }
    for (size_t i = 0; i < 5; i++) {
        pg_array_finish(arrays[i]);
    }
}

// -- History and frontier ----------------------------------------------------------------------------------------------

void pg_history_init(struct pg_history *history)
{
    *history = (struct pg_history){0};
    pg_array_init(&history->changes, PG_BYTEA);
    pg_array_init(&history->hashes, PG_INT8);
}

static void note_last(struct pg_history *history, const struct crdt_change_set *set)
{
    size_t i = 0;
    while (i < history->n_lasts && crdt_origin_compare(history->lasts[i].origin, set->origin) != 0) {
        i++;
    }
    if (i == history->n_lasts) {
        history->lasts = cc_grow(history->lasts, &history->lasts_capacity, i + 1, sizeof(*history->lasts));
        history->n_lasts++;
    }
    history->lasts[i] = (struct pg_history_last){set->origin, set->sequence, set->stamp};
}

// Whether the set goes into the history's last row. There each of several sets has one row, so that hashes and sets are as many.
static bool joins_row(const struct pg_history *history, const struct crdt_change_set *set, size_t n_bytes)
{
    if (history->n_rows == 0) {
        return false;
    }
    const struct pg_history_row *row = &history->rows[history->n_rows - 1];
    return set->n_rows == 1 && set->n_lost == 0 && row->n_rows == row->n_sets && row->n_bytes + n_bytes <= HISTORY_ROW_BYTES_MAX &&
           crdt_origin_compare(row->origin, set->origin) == 0 && row->sequence + 1 == set->sequence;
}

void pg_history_put(struct pg_history *history, const struct crdt_change_set *set, struct cc_slice bytes)
{
    if (!joins_row(history, set, bytes.n)) {
        history->rows = cc_grow(history->rows, &history->rows_capacity, history->n_rows + 1, sizeof(*history->rows));
        history->rows[history->n_rows++] = (struct pg_history_row){.origin = set->origin, .since = set->stamp};
    }
    struct pg_history_row *row = &history->rows[history->n_rows - 1];
    row->sequence = set->sequence;
    row->stamp = set->stamp;
    row->n_sets++;
    row->n_rows += set->n_rows + set->n_lost;
    row->n_bytes += bytes.n;
    pg_array_put(&history->changes, bytes);
    for (uint32_t i = 0; i < set->n_rows; i++) {
        pg_array_put_int8(&history->hashes, crdt_row_hash(set->rows[i].table, set->rows[i].key));
    }
    for (uint32_t i = 0; i < set->n_lost; i++) {
        pg_array_put_int8(&history->hashes, crdt_row_hash(set->lost[i].table, set->lost[i].key));
    }
    note_last(history, set);
}

static void send_frontier(const struct pg_history *history, struct pg_lane *lane)
{
    struct pg_array columns[4];
    struct pg_array *arrays[4];
    for (size_t i = 0; i < 4; i++) {
        pg_array_init(&columns[i], i < 3 ? PG_INT8 : PG_TEXT);
        arrays[i] = &columns[i];
    }
    for (size_t i = 0; i < history->n_lasts; i++) {
        const struct pg_history_last *last = &history->lasts[i];
        char stamp[CLOCK_STAMP_TEXT_BYTES];
        clock_stamp_text(&last->stamp, stamp);
        pg_array_put_int8(&columns[0], last->origin.replica);
        pg_array_put_int8(&columns[1], last->origin.incarnation);
        pg_array_put_int8(&columns[2], (int64_t)last->sequence);
        pg_array_put(&columns[3], cc_slice_text(stamp));
    }
    pg_lane_must_arrays(lane, "INSERT INTO caucus.frontier (replica, incarnation, sequence, stamp) SELECT * FROM ", arrays, 4,
                " AS u(r, i, q, s) ON CONFLICT (replica, incarnation) DO UPDATE SET sequence = EXCLUDED.sequence, stamp = EXCLUDED.stamp");
    for (size_t i = 0; i < 4; i++) {
        pg_array_finish(&columns[i]);
    }
}

enum history_column { H_REPLICA, H_INCARNATION, H_SEQUENCE, H_SETS, H_BYTES, H_CHANGES_END, H_HASHES, H_HASHES_END, H_SINCE, H_STAMP, H_COLUMNS };

static void put_history_row(struct pg_array *columns, const struct pg_history_row *row, uint64_t sets_before, uint64_t hashes_before)
{
    const uint64_t numbers[] = {[H_REPLICA] = row->origin.replica,
                                [H_INCARNATION] = row->origin.incarnation,
                                [H_SEQUENCE] = row->sequence,
                                [H_SETS] = row->n_sets,
                                [H_BYTES] = row->n_bytes,
                                [H_CHANGES_END] = sets_before + row->n_sets,
                                [H_HASHES] = row->n_rows,
                                [H_HASHES_END] = hashes_before + row->n_rows};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        pg_array_put_int8(&columns[i], (int64_t)numbers[i]);
    }
    char stamp[CLOCK_STAMP_TEXT_BYTES];
    clock_stamp_text(&row->since, stamp);
    pg_array_put(&columns[H_SINCE], cc_slice_text(stamp));
    clock_stamp_text(&row->stamp, stamp);
    pg_array_put(&columns[H_STAMP], cc_slice_text(stamp));
}

// Arrays of arrays of different lengths there are not: the rows are cut out of two long ones.
static void send_rows(struct pg_history *history, struct pg_lane *lane)
{
    struct pg_array columns[H_COLUMNS];
    struct pg_array *arrays[H_COLUMNS];
    for (size_t i = 0; i < H_COLUMNS; i++) {
        pg_array_init(&columns[i], i < H_SINCE ? PG_INT8 : PG_TEXT);
        arrays[i] = &columns[i];
    }
    uint64_t n_sets = 0, n_hashes = 0;
    for (size_t i = 0; i < history->n_rows; i++) {
        put_history_row(columns, &history->rows[i], n_sets, n_hashes);
        n_sets += history->rows[i].n_sets;
        n_hashes += history->rows[i].n_rows;
    }
    struct cc_slice parameters[H_COLUMNS + 2] = {[H_COLUMNS] = pg_array_slice(&history->changes), [H_COLUMNS + 1] = pg_array_slice(&history->hashes)};
    uint8_t binary[H_COLUMNS + 2] = {[H_COLUMNS] = 1, [H_COLUMNS + 1] = 1};
    struct cc_buffer sql = {0};
    cc_buffer_printf(&sql,
                     "INSERT INTO caucus.history (replica, incarnation, sequence, sets, bytes, since, stamp, changes, rows) SELECT u.r, u.i, u.q, u.n, u.b, u.s, u.t, "
                     "($%d::bytea[])[u.c - u.n + 1 : u.c], ($%d::bigint[])[u.h - u.m + 1 : u.h] FROM ",
                     H_COLUMNS + 1, H_COLUMNS + 2);
    pg_arrays_source(&sql, arrays, H_COLUMNS, parameters, binary);
    cc_buffer_append_text(&sql, " AS u(r, i, q, n, b, c, m, h, s, t)");
    pg_lane_must(lane, cc_buffer_text(&sql), H_COLUMNS + 2, parameters, binary);
    cc_buffer_finish(&sql);
    for (size_t i = 0; i < H_COLUMNS; i++) {
        pg_array_finish(&columns[i]);
    }
}

void pg_history_send(struct pg_history *history, struct pg_lane *lane)
{
    if (history->n_rows > 0) {
        send_rows(history, lane);
        send_frontier(history, lane);
    }
    pg_array_finish(&history->changes);
    pg_array_finish(&history->hashes);
    free(history->rows);
    free(history->lasts);
}
