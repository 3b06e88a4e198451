// Executing and merging of weak tables with a real PostgreSQL: convergence, histories, renewal, the open transaction, migrations meanwhile.
#include "postgres_fixture.h"

#include "base/prng.h"
#include "crdt/change.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char presence_sql[] = "CREATE TABLE presence (id text PRIMARY KEY, status text, place text NOT NULL DEFAULT 'home', who text NOT NULL);"
                                   "COMMENT ON TABLE presence IS E'@caucus weak\\nWho is online.';";

static struct rest_shape_column presence_columns[] = {
    {TEXT("id"), TEXT("text"), REST_COLUMN_KEY}, {TEXT("status"), TEXT("text"), 0}, {TEXT("place"), TEXT("text"), 0}, {TEXT("who"), TEXT("text"), 0}};
static struct rest_shape_column presence_set_status[] = {{TEXT("id"), TEXT("text"), REST_COLUMN_KEY},
                                                         {TEXT("status"), TEXT("text"), REST_COLUMN_SET},
                                                         {TEXT("place"), TEXT("text"), 0},
                                                         {TEXT("who"), TEXT("text"), 0}};
static struct rest_shape_column presence_set_place[] = {{TEXT("id"), TEXT("text"), REST_COLUMN_KEY},
                                                        {TEXT("status"), TEXT("text"), 0},
                                                        {TEXT("place"), TEXT("text"), REST_COLUMN_SET},
                                                        {TEXT("who"), TEXT("text"), 0}};

static struct cc_slice weak_insert(struct fixture *fixture, const char *id, const char *status)
{
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 2, sizeof(*parameters));
    parameters[0] = cc_slice_text(id);
    parameters[1] = cc_slice_text(status);
    struct rest_statement statement = {
        .kind = REST_INSERT,
        .weak = true,
        .sql = TEXT("WITH s AS (INSERT INTO presence (id, status, who, _caucus) VALUES ($1, $2, 'w' || $1, jsonb_build_object('', $3::text)) RETURNING *) "
                    "SELECT 'I', id, status, place, who, NULL::text FROM s"),
        .n_parameters = 2,
        .parameters = parameters,
        .rows_max = UINT64_MAX,
        .shape = {.table = TEXT("\"public\".\"presence\""), .n_columns = 4, .columns = presence_columns}};
    return operation_of_statement(fixture, &statement, NULL);
}

static struct cc_slice weak_update(struct fixture *fixture, const char *id, bool status, const char *value)
{
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 2, sizeof(*parameters));
    parameters[0] = cc_slice_text(id);
    parameters[1] = cc_slice_text(value);
    const char *column = status ? "status" : "place";
    const char *sql = cc_arena_printf(&fixture->arena,
                                      "WITH o AS (SELECT * FROM presence WHERE id = $1 FOR UPDATE), s AS (UPDATE presence t SET %s = $2, _caucus = "
                                      "coalesce(t._caucus, '{}') || jsonb_build_object('%s', $3::text) FROM o WHERE t.id = o.id RETURNING t.*, o AS o) "
                                      "SELECT 'U', id, status, place, who, (o).id, (o).status, (o).place, (o).who, NULL::text FROM s",
                                      column, column);
    struct rest_statement statement = {.kind = REST_UPDATE,
                                       .weak = true,
                                       .sql = cc_slice_text(sql),
                                       .n_parameters = 2,
                                       .parameters = parameters,
                                       .rows_max = UINT64_MAX,
                                       .shape = {.table = TEXT("\"public\".\"presence\""),
                                                 .with_old = true,
                                                 .n_columns = 4,
                                                 .columns = status ? presence_set_status : presence_set_place}};
    return operation_of_statement(fixture, &statement, NULL);
}

static struct cc_slice weak_delete(struct fixture *fixture, const char *id)
{
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 1, sizeof(*parameters));
    parameters[0] = cc_slice_text(id);
    struct rest_statement statement = {.kind = REST_DELETE,
                                       .weak = true,
                                       .sql = TEXT("WITH s AS (DELETE FROM presence WHERE id = $1 AND $2::text IS NOT NULL RETURNING *) SELECT 'D', id, NULL, NULL, NULL, "
                                                   "id, status, place, who, NULL::text FROM s"),
                                       .n_parameters = 1,
                                       .parameters = parameters,
                                       .rows_max = UINT64_MAX,
                                       .shape = {.table = TEXT("\"public\".\"presence\""), .with_old = true, .n_columns = 4, .columns = presence_columns}};
    return operation_of_statement(fixture, &statement, NULL);
}

// Executes a weak write at a site under a stamp, in the open transaction; the change set, the number of which follows on those that are committed and n_before others.
static struct cc_slice weak_execute(struct site *site, struct cc_slice operation, uint64_t hlc, uint64_t n_before)
{
    struct fixture *fixture = site->fixture;
    uint32_t replica = site == &fixture->one ? 1 : 2;
    struct clock_stamp stamp = {hlc, replica, 1};
    struct db_job execute = {.kind = DB_WEAK_EXECUTE, .n_items = 1, .items = &operation, .stamps = &stamp};
    const struct db_event *event = site_run(site, DB_WEAK, &execute, DB_WEAK_EXECUTED);
    struct rest_outcome outcome;
    assert_int_equal(rest_outcome_read(event->outcomes[0], &outcome), CC_OK);
    if (outcome.kind != REST_DONE) {
        print_error("%.*s\n", (int)outcome.message.n, (const char *)outcome.message.data);
    }
    assert_int_equal(outcome.kind, REST_DONE);
    assert_true(event->changes[0].n > 0);
    uint8_t *bytes = (uint8_t *)cc_arena_slice(&fixture->arena, event->changes[0]).data;
    size_t n = event->changes[0].n;
    crdt_change_set_number(bytes, n, crdt_frontier_get(&site->frontier, (struct crdt_origin){replica, 1}) + n_before + 1);
    return (struct cc_slice){bytes, n};
}

static void weak_commit(struct site *site, struct cc_slice *changes, uint32_t n)
{
    struct db_job commit = {.kind = DB_WEAK_COMMIT, .n_items = n, .items = changes};
    (void)site_run(site, DB_WEAK, &commit, DB_WEAK_COMMITTED);
}

// The same, committed.
static struct cc_slice weak_write(struct site *site, struct cc_slice operation, uint64_t hlc)
{
    struct cc_slice change = weak_execute(site, operation, hlc, 0);
    weak_commit(site, &change, 1);
    return change;
}

// A weak update by key that may run together with others; what it answers tells whether it did.
static struct cc_slice weak_update_by_key(struct fixture *fixture, const char *id, const char *status)
{
    struct cc_slice *parameters = cc_arena_array(&fixture->arena, 2, sizeof(*parameters));
    parameters[0] = cc_slice_text(status);
    parameters[1] = cc_slice_text(id);
    struct rest_statement statement = {
        .kind = REST_UPDATE,
        .weak = true,
        .sql = TEXT("UPDATE presence AS t0 SET status = $1, _caucus = coalesce(t0._caucus, '{}') || jsonb_build_object('status', $3::text) FROM presence AS o "
                    "WHERE o.id = t0.id AND t0.id = $2 RETURNING 'U', t0.id, t0.status, t0.place, t0.who, o.id, o.status, o.place, o.who, 'alone'"),
        .n_parameters = 2,
        .parameters = parameters,
        .rows_max = UINT64_MAX,
        .shape = {.table = TEXT("\"public\".\"presence\""), .with_old = true, .n_columns = 4, .columns = presence_set_status},
        .many = TEXT("UPDATE presence AS t0 SET status = q.p1::text, _caucus = coalesce(t0._caucus, '{}') || jsonb_build_object('status', q.p3::text) "
                     "FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::text[])) WITH ORDINALITY AS q(p1, p2, p3, n), "
                     "LATERAL (SELECT k.ctid AS \"_caucus_at\", k.* FROM presence AS k WHERE k.id = q.p2::text OFFSET 0) AS o WHERE t0.ctid = o.\"_caucus_at\" "
                     "RETURNING 'U', t0.id, t0.status, t0.place, t0.who, o.id, o.status, o.place, o.who, 'together', q.n"),
        .many_key_at = 1};
    return operation_of_statement(fixture, &statement, NULL);
}

static void merge(struct site *site, struct cc_slice *changes, uint32_t n)
{
    struct db_job job = {.kind = DB_MERGE, .n_items = n, .items = changes};
    (void)site_run(site, DB_WEAK, &job, DB_MERGED);
}

static const char all_presence[] = "SELECT coalesce(json_agg(p ORDER BY id)::text, 'none') FROM presence p";
static const char shown_presence[] = "SELECT coalesce(string_agg(concat_ws('/', id, status, place, who), ' ' ORDER BY id), 'none') FROM presence";

static void replicas_that_were_apart_end_with_equal_rows(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice seen = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    merge(two, &seen, 1);
    assert_string_equal(site_query(two, shown_presence), "a/new/home/wa");
    struct cc_slice ones[3], twos[3];
    ones[0] = weak_write(one, weak_update(fixture, "a", true, "busy"), 200);
    twos[0] = weak_write(two, weak_update(fixture, "a", false, "work"), 150);
    twos[1] = weak_write(two, weak_update(fixture, "a", true, "idle"), 210);
    ones[1] = weak_write(one, weak_update(fixture, "a", false, "away"), 140);
    twos[2] = weak_write(two, weak_insert(fixture, "b", NULL), 220);
    merge(one, twos, 3);
    merge(two, ones, 2);
    assert_string_equal(site_query(one, shown_presence), "a/idle/work/wa b/home/wb");
    assert_same(fixture, all_presence);
    assert_int_equal(crdt_frontier_equal(&one->frontier, &two->frontier), true);
    merge(one, twos, 3); // once more: nothing changes
    assert_same(fixture, all_presence);
    assert_string_equal(site_query(one, "SELECT sum(sets) FROM caucus.history"), "6");
    assert_same(fixture, "SELECT json_agg(c ORDER BY replica, c)::text FROM caucus.history h, unnest(changes) c");
}

static void weak_updates_by_different_keys_are_one_statement_and_each_has_its_own_change(void **state)
{
    enum { N = 5 };
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice inserts[3], changes[N];
    static const char *const ids[3] = {"a", "b", "c"};
    for (uint32_t i = 0; i < 3; i++) {
        inserts[i] = weak_write(one, weak_insert(fixture, ids[i], "new"), 100 + i);
    }
    // The third finds no row; the fifth is of a row again.
    struct cc_slice operations[N] = {weak_update_by_key(fixture, "c", "busy"), weak_update_by_key(fixture, "a", NULL), weak_update_by_key(fixture, "z", "gone"),
                                     weak_update_by_key(fixture, "b", "idle"), weak_update_by_key(fixture, "c", "away")};
    static const char *const bodies[N] = {"together", "together", NULL, "together", "alone"};
    static const char *const old_values[N] = {"new", "new", NULL, "new", "busy"};
    struct clock_stamp stamps[N];
    for (uint32_t i = 0; i < N; i++) {
        stamps[i] = (struct clock_stamp){200 + i, 1, 1};
    }
    struct db_job execute = {.kind = DB_WEAK_EXECUTE, .n_items = N, .items = operations, .stamps = stamps};
    const struct db_event *event = site_run(one, DB_WEAK, &execute, DB_WEAK_EXECUTED);
    uint32_t n = 0;
    for (uint32_t i = 0; i < N; i++) {
        struct rest_outcome outcome;
        struct crdt_change_set set;
        assert_int_equal(rest_outcome_read(event->outcomes[i], &outcome), CC_OK);
        assert_int_equal(outcome.kind, REST_DONE);
        assert_int_equal(outcome.n_rows, bodies[i] != NULL);
        assert_true(bodies[i] == NULL ? event->changes[i].n == 0 : cc_slice_equal_text(outcome.body, bodies[i]));
        if (bodies[i] != NULL) {
            changes[n] = cc_arena_slice(&fixture->arena, event->changes[i]);
            crdt_change_set_number((uint8_t *)changes[n].data, changes[n].n, 4 + n);
            assert_int_equal(crdt_change_set_read(changes[n++], &fixture->arena, &set), CC_OK);
            assert_int_equal(set.stamp.hlc, stamps[i].hlc);
            assert_int_equal(set.rows[0].n_fields, 1);
            assert_true(cc_slice_equal_text(set.rows[0].fields[0].old_value, old_values[i]));
        }
    }
    struct db_job commit = {.kind = DB_WEAK_COMMIT, .n_items = n, .items = changes};
    (void)site_run(one, DB_WEAK, &commit, DB_WEAK_COMMITTED);
    merge(two, inserts, 3);
    merge(two, changes, n);
    assert_string_equal(site_query(two, shown_presence), "a/home/wa b/idle/home/wb c/away/home/wc");
    assert_same(fixture, "SELECT json_agg(p ORDER BY id)::text FROM presence p"); // with the stamps
    assert_same(fixture, "SELECT sum::text FROM caucus.digests");
}

static void a_delete_and_a_later_insert_meet_in_any_order(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice first = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    merge(two, &first, 1);
    struct cc_slice ones[2], twos[2];
    ones[0] = weak_write(one, weak_delete(fixture, "a"), 300);
    twos[0] = weak_write(two, weak_update(fixture, "a", true, "older than the delete"), 200);
    twos[1] = weak_write(two, weak_update(fixture, "a", false, "newer"), 400);
    merge(one, twos, 2);
    merge(two, ones, 1);
    assert_string_equal(site_query(one, all_presence), "none");
    assert_same(fixture, all_presence);
    assert_same(fixture, "SELECT json_agg(t)::text FROM caucus.tombstones t");
    ones[1] = weak_write(one, weak_insert(fixture, "a", "back"), 500);
    merge(two, &ones[1], 1);
    assert_string_equal(site_query(two, shown_presence), "a/back/home/wa");
    assert_same(fixture, all_presence);
}

// The digest that every transaction keeps up is that of the rows.
static void assert_digest_kept(struct site *site)
{
    assert_string_equal(site_query(site, "SELECT rows || ' ' || sum FROM caucus.digests"),
                        site_query(site, "SELECT rows || ' ' || sum FROM caucus.digest('presence'::regclass)"));
}

// What replica 2 has written is put aside, under its second origin from this number on, and its weak tables are empty.
static void begin_anew_from(struct fixture *fixture, uint64_t second, uint64_t n_expected)
{
    struct crdt_frontier own = {.n = 2, .at = {{{2, 1}, 1}, {{2, 2}, second}}};
    struct db_job job = {.kind = DB_BEGIN_ANEW, .own = &own};
    assert_int_equal(site_run(&fixture->two, DB_WEAK, &job, DB_BEGUN_ANEW)->n_aside, n_expected);
    assert_int_equal(fixture->two.frontier.n, 0);
}

static void begin_anew(struct fixture *fixture, uint64_t n_expected)
{
    begin_anew_from(fixture, 1, n_expected);
}

// In its new life: decides what remains, numbered from `first` on; copies that live as long as the fixture.
static uint32_t renew(struct fixture *fixture, uint64_t first, struct cc_slice *sets_out)
{
    enum { STAMPS = 8 };
    struct clock_stamp stamps[STAMPS];
    for (uint32_t i = 0; i < STAMPS; i++) {
        stamps[i] = (struct clock_stamp){1000 + first + i, 2, 2};
    }
    struct db_job job = {.kind = DB_RENEW, .stamps = stamps, .n_stamps = STAMPS};
    const struct db_event *event = site_run(&fixture->two, DB_WEAK, &job, DB_RENEWED);
    for (uint32_t i = 0; i < event->n_changes; i++) {
        sets_out[i] = cc_arena_slice(&fixture->arena, event->changes[i]);
        crdt_change_set_number((uint8_t *)(uintptr_t)sets_out[i].data, sets_out[i].n, first + i);
    }
    return event->n_changes;
}

static void assert_aside(struct fixture *fixture, const char *n)
{
    assert_string_equal(site_query(&fixture->two, "SELECT count(*) FROM caucus.aside"), n);
}

static void what_is_put_aside_is_written_again_upon_the_others_rows(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice ones[4], sets[8];
    ones[0] = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    ones[1] = weak_write(one, weak_insert(fixture, "z", "new"), 101);
    merge(two, ones, 2);
    (void)weak_write(two, weak_update(fixture, "a", true, "here"), 200);
    (void)weak_write(two, weak_update(fixture, "a", false, "here"), 201);
    (void)weak_write(two, weak_insert(fixture, "b", "here"), 202);
    (void)weak_write(two, weak_delete(fixture, "z"), 203);
    ones[2] = weak_write(one, weak_update(fixture, "a", true, "there"), 300);
    ones[3] = weak_write(one, weak_delete(fixture, "z"), 301);
    begin_anew(fixture, 4);
    assert_string_equal(site_query(two, shown_presence), "none");
    assert_digest_kept(two);
    merge(two, ones, 4);
    assert_same(fixture, all_presence);
    assert_int_equal(renew(fixture, 1, sets), 4);
    assert_int_equal(two->last.n_changed, 2);
    assert_int_equal(two->last.n_lost, 1);
    assert_same(fixture, all_presence); // it was decided, no more
    assert_aside(fixture, "4");
    merge(two, sets, 3);
    assert_aside(fixture, "1");
    merge(two, &sets[3], 1); // of which nothing is left to tell
    merge(one, sets, 4);
    assert_aside(fixture, "0");
    assert_string_equal(site_query(two, shown_presence), "a/there/here/wa b/here/home/wb");
    assert_same(fixture, all_presence);
    assert_digest_kept(two);
    assert_int_equal(renew(fixture, 5, sets), 0);
    begin_anew_from(fixture, 3, 2);
    assert_string_equal(site_query(two, "SELECT string_agg(incarnation || '/' || sequence, ' ' ORDER BY sequence) FROM caucus.aside"), "2/3 2/4");
}

static void what_cannot_be_written_again_has_lost_and_what_others_have_after_all_is_not_written_twice(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice twos[3], sets[8];
    twos[0] = weak_write(two, weak_insert(fixture, "a", "known"), 100);
    twos[1] = weak_write(two, weak_insert(fixture, "b", "poison"), 101);
    twos[2] = weak_write(two, weak_insert(fixture, "c", "fine"), 102);
    merge(one, twos, 1);
    begin_anew(fixture, 3);
    merge(two, twos, 1);
    (void)site_query(two, "ALTER TABLE presence ADD CHECK (status <> 'poison')"); // past Caucus, say
    assert_int_equal(renew(fixture, 1, sets), 1);
    assert_int_equal(two->last.n_changed, 0);
    assert_int_equal(two->last.n_lost, 1);
    merge(two, sets, 1);
    assert_int_equal(renew(fixture, 2, sets + 1), 1);
    assert_int_equal(two->last.n_changed, 1);
    merge(two, &sets[1], 1);
    merge(one, sets, 2);
    assert_aside(fixture, "0");
    assert_string_equal(site_query(two, shown_presence), "a/known/home/wa c/fine/home/wc");
    assert_same(fixture, all_presence);
}

static void what_follows_lost_changes_is_put_aside_once_and_the_rows_stay(void **state)
{
    struct fixture *fixture = *state;
    struct site *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice sets[8], aside[2];
    aside[0] = weak_write(two, weak_insert(fixture, "a", "here"), 100);
    aside[1] = weak_write(two, weak_update(fixture, "a", true, "again"), 101);
    for (uint32_t i = 0; i < 2; i++) { // as if they had been written behind a gap
        crdt_change_set_number((uint8_t *)(uintptr_t)aside[i].data, aside[i].n, 7 + i);
    }
    struct db_job job = {.kind = DB_PUT_ASIDE, .origin = {2, 1}, .sequence = 3, .n_lost = 4, .n_items = 2, .items = aside};
    for (int i = 0; i < 2; i++) { // the process ended before its log was put aside, say
        assert_int_equal(site_run(two, DB_WEAK, &job, DB_BEGUN_ANEW)->n_aside, 2);
        assert_aside(fixture, "2");
        assert_string_equal(site_query(two, "SELECT first || ' ' || sets FROM caucus.lost"), "3 4");
    }
    assert_string_equal(site_query(two, shown_presence), "a/again/home/wa");
    assert_int_equal(renew(fixture, 1, sets), 2);
    merge(two, sets, 2);
    assert_aside(fixture, "0");
    job.n_items = 0;
    assert_int_equal(site_run(two, DB_WEAK, &job, DB_BEGUN_ANEW)->n_aside, 0);
}

// Random writes at both, merged in batches of random length.
static void random_weak_writes_converge(void **state)
{
    struct fixture *fixture = *state;
    struct cc_prng prng;
    cc_prng_seed(&prng, seed_of_run());
    migrate_ok(fixture, "0001", presence_sql);
    struct site *sites[2] = {&fixture->one, &fixture->two};
    struct cc_slice changes[2][400];
    uint32_t n_changes[2] = {0}, n_merged[2] = {0}; // merged at the other one
    uint64_t hlc = 1000;
    for (int round = 0; round < 300; round++) {
        size_t at = (size_t)cc_prng_below(&prng, 2);
        hlc += cc_prng_below(&prng, 3) + 1;
        const char *id = cc_arena_printf(&fixture->arena, "k%u", (unsigned)cc_prng_below(&prng, 4));
        const char *value = cc_arena_printf(&fixture->arena, "v%d", round);
        const char *exists = site_query(sites[at], cc_arena_printf(&fixture->arena, "SELECT count(*) FROM presence WHERE id = '%s'", id));
        struct cc_slice operation;
        if (strcmp(exists, "0") == 0) {
            operation = weak_insert(fixture, id, value);
        } else if (cc_prng_below(&prng, 4) == 0) {
            operation = weak_delete(fixture, id);
        } else {
            operation = weak_update(fixture, id, cc_prng_below(&prng, 2) == 0, value);
        }
        changes[at][n_changes[at]++] = weak_write(sites[at], operation, hlc);
        size_t from = (size_t)cc_prng_below(&prng, 2);
        uint32_t waiting = n_changes[from] - n_merged[from];
        if (waiting > 0 && cc_prng_below(&prng, 4) == 0) {
            uint32_t n = 1 + (uint32_t)cc_prng_below(&prng, waiting);
            merge(sites[1 - from], &changes[from][n_merged[from]], n);
            n_merged[from] += n;
        }
        if (round % 50 == 0) {
            assert_digest_kept(sites[at]);
        }
    }
    for (size_t from = 0; from < 2; from++) {
        merge(sites[1 - from], &changes[from][n_merged[from]], n_changes[from] - n_merged[from]);
    }
    assert_digest_kept(&fixture->one);
    assert_digest_kept(&fixture->two);
    assert_same(fixture, "SELECT sum::text FROM caucus.digests");
    assert_true(crdt_frontier_equal(&fixture->one.frontier, &fixture->two.frontier));
    assert_same(fixture, "SELECT coalesce(json_agg(json_build_array(id, status, place, who) ORDER BY id)::text, 'none') FROM presence");
}

static void history_can_be_fetched_from_a_sequence_on(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice changes[3];
    for (int i = 0; i < 3; i++) {
        changes[i] = weak_write(&fixture->one, weak_insert(fixture, cc_arena_printf(&fixture->arena, "k%d", i), "x"), 100 + (uint64_t)i);
    }
    struct db_job fetch = {.kind = DB_FETCH, .origin = {1, 1}, .sequence = 2, .n_bytes_max = 1 << 20, .peer = 2};
    const struct db_event *event = site_run(&fixture->one, DB_WEAK, &fetch, DB_FETCHED);
    assert_int_equal(event->n_changes, 2);
    assert_true(cc_slice_equal(event->changes[0], changes[1]));
    assert_true(cc_slice_equal(event->changes[1], changes[2]));
    fetch.sequence = 4;
    assert_int_equal(site_run(&fixture->one, DB_WEAK, &fetch, DB_FETCHED)->n_changes, 0);
    fetch.sequence = 1;
    fetch.n_bytes_max = 1;
    assert_int_equal(site_run(&fixture->one, DB_WEAK, &fetch, DB_FETCHED)->n_changes, 1);
}

static void a_poisoned_change_holds_up_its_origin_only(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", "CREATE TABLE presence (id text PRIMARY KEY, status text CHECK (status <> 'poison'), place text NOT NULL DEFAULT 'home', who text NOT NULL);"
                                "COMMENT ON TABLE presence IS '@caucus weak'");
    struct cc_slice items[4];
    for (uint32_t i = 0; i < 4; i++) {
        struct crdt_field fields[3] = {{cc_slice_text("status"), cc_slice_text(i == 1 ? "poison" : "fine"), {0}, {0}},
                                       {cc_slice_text("place"), cc_slice_text("x"), {0}, {0}},
                                       {cc_slice_text("who"), cc_slice_text("y"), {0}, {0}}};
        struct cc_buffer key = {0}, bytes = {0};
        struct cc_slice id = cc_slice_text(cc_arena_printf(&fixture->arena, "k%u", i));
        crdt_key_put(&key, &id, 1);
        struct crdt_row_change row = {CRDT_INSERT, cc_slice_text("public.presence"), cc_buffer_slice(&key), fields, 3};
        uint32_t replica = i < 3 ? 7 : 8;
        struct crdt_change_set set = {.origin = {replica, 1}, .sequence = i < 3 ? i + 1 : 1, .stamp = {100 + i, replica, 1}, .rows = &row, .n_rows = 1};
        crdt_change_set_put(&bytes, &set);
        items[i] = cc_arena_slice(&fixture->arena, cc_buffer_slice(&bytes));
        cc_buffer_finish(&key);
        cc_buffer_finish(&bytes);
    }
    merge(&fixture->one, items, 4);
    assert_int_equal(crdt_frontier_get(&fixture->one.frontier, (struct crdt_origin){7, 1}), 1);
    assert_int_equal(crdt_frontier_get(&fixture->one.frontier, (struct crdt_origin){8, 1}), 1);
    assert_string_equal(site_query(&fixture->one, "SELECT string_agg(id, ' ' ORDER BY id) FROM presence"), "k0 k3");
}

static bool weak_write_has_ended(void *context)
{
    const struct site *site = context;
    return site->n_events[DB_WEAK_EXECUTED] == 2 || site->n_events[DB_DOWN] == 1;
}

static void a_weak_write_that_waited_for_a_migration_of_its_table_is_executed_anew(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", presence_sql);
    (void)weak_write(one, weak_insert(fixture, "a", "here"), 100);
    // It holds the table until the majority has it.
    struct operation migration = {.kind = OPERATION_MIGRATION, .migration_name = cc_slice_text("0002"),
                                  .migration_sql = cc_slice_text("ALTER TABLE presence ADD COLUMN more text DEFAULT 'x';")};
    struct cc_slice operation = operation_of(fixture, &migration);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &operation};
    (void)site_run(one, DB_STRONG, &execute, DB_EXECUTED);
    struct clock_stamp stamp = {200, 1, 1};
    struct cc_slice insert = weak_insert(fixture, "b", "here");
    struct db_job write = {.kind = DB_WEAK_EXECUTE, .schema_version = 1, .n_items = 1, .items = &insert, .stamps = &stamp};
    site_submit(one, DB_WEAK, &write);
    while (strcmp(site_query(one, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'one' AND wait_event_type = 'Lock'"), "1") != 0) {
    }
    struct db_job commit = {.kind = DB_COMMIT, .last = 2};
    site_submit(one, DB_STRONG, &commit);
    fixture_wait(fixture, weak_write_has_ended, one, "the weak write's answer, or the end of its connection");
    if (one->last.kind == DB_WEAK_EXECUTED) { // its answer came before the migration's
        struct cc_slice change = cc_arena_slice(&fixture->arena, one->last.changes[0]);
        crdt_change_set_number((uint8_t *)(uintptr_t)change.data, change.n, 2);
        struct db_job weak_commit = {.kind = DB_WEAK_COMMIT, .n_items = 1, .items = &change};
        site_submit(one, DB_WEAK, &weak_commit);
        site_wait_event(one, DB_DOWN, 1);
    } else if (one->up[DB_WEAK]) { // both in one turn
        struct db_job rollback = {.kind = DB_WEAK_ROLLBACK};
        site_submit(one, DB_WEAK, &rollback);
    }
    site_wait_up(one);
    assert_string_equal(site_query(one, "SELECT string_agg(id, ' ') FROM presence"), "a");
    assert_string_equal(site_query(one, "SELECT rows || ' ' || sum FROM caucus.digests"),
                        site_query(one, "SELECT rows || ' ' || sum FROM caucus.digest('presence'::regclass)"));
}

static void a_weak_write_that_is_not_as_planned_while_a_schema_is_on_its_way_is_executed_anew(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", presence_sql);
    (void)weak_write(one, weak_insert(fixture, "a", "here"), 100);
    struct operation migration = {.kind = OPERATION_MIGRATION, .migration_name = cc_slice_text("0002"),
                                  .migration_sql = cc_slice_text("CREATE TABLE other (id integer PRIMARY KEY);")};
    struct cc_slice operation = operation_of(fixture, &migration);
    struct db_job execute = {.kind = DB_EXECUTE, .n_items = 1, .items = &operation};
    (void)site_run(one, DB_STRONG, &execute, DB_EXECUTED);
    (void)site_query(one, "BEGIN");
    (void)site_query(one, "SELECT applied FROM caucus.applied FOR UPDATE"); // the answer to the COMMIT comes late
    struct db_job commit = {.kind = DB_COMMIT, .last = 2};
    site_submit(one, DB_STRONG, &commit);
    struct rest_shape_column columns[] = {{TEXT("id"), TEXT("text"), REST_COLUMN_KEY}, {TEXT("gone"), TEXT("text"), 0}};
    struct rest_statement statement = {.kind = REST_INSERT,
                                       .weak = true,
                                       .sql = TEXT("WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('b', 'w', jsonb_build_object('', $1::text)) "
                                                   "RETURNING *) SELECT 'I', id, who, NULL::text FROM s"),
                                       .rows_max = UINT64_MAX,
                                       .shape = {.table = TEXT("\"public\".\"presence\""), .n_columns = 2, .columns = columns}};
    struct cc_slice weak = operation_of_statement(fixture, &statement, NULL);
    struct clock_stamp stamp = {200, 1, 1};
    struct db_job write = {.kind = DB_WEAK_EXECUTE, .n_items = 1, .items = &weak, .stamps = &stamp};
    site_submit(one, DB_WEAK, &write);
    fixture_wait(fixture, weak_write_has_ended, one, "the weak write's answer, or the end of its connection");
    assert_int_equal(one->last.kind, DB_DOWN);
    (void)site_query(one, "ROLLBACK");
    site_wait_event(one, DB_COMMITTED, 2);
    site_wait_up(one);
    const struct db_event *event = site_run(one, DB_WEAK, &write, DB_WEAK_EXECUTED); // what it met is known: it is the plan that is wrong
    struct rest_outcome outcome;
    assert_int_equal(rest_outcome_read(event->outcomes[0], &outcome), CC_OK);
    assert_code(&outcome, "CC305");
}

static void a_weak_write_must_not_change_strong_tables(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", presence_sql);
    migrate_ok(fixture, "0002",
               "CREATE TABLE counts (id integer PRIMARY KEY, n integer); INSERT INTO counts VALUES (1, 0);"
               "CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE counts SET n = n + 1; RETURN NULL; END';"
               "CREATE TRIGGER count_it AFTER INSERT ON presence FOR EACH ROW EXECUTE FUNCTION count_it();");
    struct rest_statement statement = {
        .kind = REST_INSERT, .weak = true, .captured = true, .rows_max = UINT64_MAX,
        .sql = TEXT("WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('a', 'b', jsonb_build_object('', $1::text)) RETURNING *) SELECT 'I', NULL::text FROM s")};
    struct cc_slice operation = operation_of_statement(fixture, &statement, NULL);
    struct clock_stamp stamp = {100, 1, 1};
    struct db_job execute = {.kind = DB_WEAK_EXECUTE, .n_items = 1, .items = &operation, .stamps = &stamp};
    const struct db_event *event = site_run(&fixture->one, DB_WEAK, &execute, DB_WEAK_EXECUTED);
    struct rest_outcome outcome;
    assert_int_equal(rest_outcome_read(event->outcomes[0], &outcome), CC_OK);
    assert_code(&outcome, "CC303");
}

static void triggers_of_weak_tables_are_stamped_too(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice changes[2];
    changes[0] = weak_write(&fixture->one, weak_insert(fixture, "host", "x"), 100);
    migrate_ok(fixture, "0002",
               "CREATE FUNCTION welcome() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE presence SET place = ''here'' WHERE id = ''host''; RETURN NULL; END';"
               "CREATE TRIGGER welcome AFTER INSERT ON presence FOR EACH ROW EXECUTE FUNCTION welcome();");
    struct rest_statement statement = {
        .kind = REST_INSERT, .weak = true, .captured = true, .rows_max = UINT64_MAX,
        .sql = TEXT("WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('a', 'b', jsonb_build_object('', $1::text)) RETURNING *) SELECT 'I', NULL::text FROM s")};
    changes[1] = weak_write(&fixture->one, operation_of_statement(fixture, &statement, NULL), 200);
    merge(&fixture->two, changes, 2);
    assert_string_equal(site_query(&fixture->two, shown_presence), "a/home/b host/x/here/whost");
    assert_same(fixture, all_presence);
}

static void deferred_triggers_of_weak_tables_act_before_the_changes_are_taken(void **state)
{
    struct fixture *fixture = *state;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice changes[2];
    changes[0] = weak_write(&fixture->one, weak_insert(fixture, "host", "x"), 100);
    migrate_ok(fixture, "0002",
               "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE presence SET place = ''here'' WHERE id = ''host''; "
               "IF NEW.who = ''nobody'' THEN RAISE EXCEPTION ''nobody''; END IF; RETURN NULL; END';"
               "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON presence DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();");
    struct rest_statement statement = {
        .kind = REST_INSERT, .weak = true, .captured = true, .rows_max = UINT64_MAX,
        .sql = TEXT("WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('a', 'b', jsonb_build_object('', $1::text)) RETURNING *) SELECT 'I', NULL::text FROM s")};
    changes[1] = weak_write(&fixture->one, operation_of_statement(fixture, &statement, NULL), 200);
    merge(&fixture->two, changes, 2);
    assert_string_equal(site_query(&fixture->two, shown_presence), "a/home/b host/x/here/whost");
    assert_same(fixture, all_presence);
    statement.sql = (struct cc_slice)TEXT(
        "WITH s AS (INSERT INTO presence (id, who, _caucus) VALUES ('c', 'nobody', jsonb_build_object('', $1::text)) RETURNING *) SELECT 'I', NULL::text FROM s");
    struct cc_slice operation = operation_of_statement(fixture, &statement, NULL);
    struct clock_stamp stamp = {300, 1, 1};
    struct db_job execute = {.kind = DB_WEAK_EXECUTE, .n_items = 1, .items = &operation, .stamps = &stamp};
    struct rest_outcome outcome;
    assert_int_equal(rest_outcome_read(site_run(&fixture->one, DB_WEAK, &execute, DB_WEAK_EXECUTED)->outcomes[0], &outcome), CC_OK);
    assert_code(&outcome, "P0001");
}

static bool statistics_have_come(void *context)
{
    return strcmp(site_query(context, "SELECT n_tup_upd >= 10 FROM pg_stat_user_tables WHERE relname = 'presence'"), "t") == 0;
}

// A plan is made when the table is empty, and kept while it grows: rows must be looked for by key all the same.
static void merging_never_reads_the_whole_table(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    (void)site_query(two, "VACUUM ANALYZE presence"); // known to be empty: reading all of it costs nothing
    struct cc_slice change = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    merge(two, &change, 1);
    for (uint64_t i = 1; i <= 10; i++) {
        change = weak_write(one, weak_update(fixture, "a", true, i % 2 == 0 ? "even" : "odd"), 100 + i);
        merge(two, &change, 1);
    }
    site_close(two); // its backends tell their statistics when they end
    fixture_wait(fixture, statistics_have_come, two, "statistics");
    assert_string_equal(site_query(two, "SELECT seq_scan < 5 FROM pg_stat_user_tables WHERE relname = 'presence'"), "t");
    site_open(two);
}

// Sets that come together are one row of the history; each of them is found by itself.
static void sets_of_one_merge_are_told_apart_in_the_history(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    static const char *const ids[] = {"a", "b", "c", "d"};
    struct cc_slice changes[5];
    for (uint64_t i = 0; i < 4; i++) {
        changes[i] = weak_write(one, weak_insert(fixture, ids[i], "new"), 100 + i);
    }
    changes[4] = weak_write(one, weak_update(fixture, "b", true, "busy"), 200);
    merge(two, changes, 5);
    assert_string_equal(site_query(two, "SELECT string_agg(concat_ws('/', sequence, sets, cardinality(changes), cardinality(rows), left(since, 16), left(stamp, 16)), ' ') "
                                        "FROM caucus.history"),
                        "5/5/5/5/0000000000000064/00000000000000c8");
    assert_string_equal(site_query(two, "SELECT string_agg(n || ' ' || times, ', ' ORDER BY n) FROM (SELECT count(*) AS n, (SELECT string_agg(ltrim(o.stamp, '0'), ' ' ORDER BY o.stamp) "
                                        "FROM caucus.history_of(r) o) AS times FROM caucus.history h, unnest(h.rows) r GROUP BY r) t"),
                        "1 64, 1 66, 1 67, 2 65 c8");
    struct db_job fetch = {.kind = DB_FETCH, .origin = {1, 1}, .sequence = 3, .n_bytes_max = 1 << 20, .peer = 2};
    const struct db_event *event = site_run(two, DB_WEAK, &fetch, DB_FETCHED);
    assert_int_equal(event->n_changes, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(cc_slice_equal(event->changes[i], changes[2 + i]));
    }
}

static void rows_are_found_in_a_long_history_that_an_older_program_began(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    (void)site_query(one, "DROP TABLE caucus.history_blocks, caucus.history; CREATE TABLE caucus.history (replica bigint, incarnation bigint, sequence bigint, "
                          "stamp text NOT NULL, change bytea NOT NULL, rows bigint[], PRIMARY KEY (replica, incarnation, sequence)); "
                          "CREATE INDEX history_rows ON caucus.history USING gin (rows); UPDATE caucus.meta SET format = 1, functions = 0");
    site_close(one);
    (void)site_query(one, "INSERT INTO caucus.frontier VALUES (9, 1, 5000, '0000000000000001.9.1'); INSERT INTO caucus.history (replica, incarnation, sequence, stamp, change, rows) "
                          "SELECT 9, 1, g, lpad(g::text, 16, '0'), '', CASE WHEN g % 100 = 0 AND g < 2000 THEN ARRAY[g, -7] ELSE ARRAY[g] END FROM generate_series(1, 5000) g");
    site_open(one);
    assert_string_equal(site_query(one, "SELECT count(*) FROM pg_class WHERE relname = 'history_rows'"), "0");
    assert_string_equal(site_query(one, "SELECT format FROM caucus.meta"), "2");
    for (int i = 0; i < 5; i++) {
        assert_string_equal(site_query(one, "SELECT caucus.index_history()"), "1");
    }
    assert_string_equal(site_query(one, "SELECT caucus.index_history()"), "0"); // too few for a block: they are looked through
    assert_string_equal(site_query(one, "SELECT count(*) || ' ' || max(last) FROM caucus.history_blocks"), "5 4781");
    assert_string_equal(site_query(one, "SELECT string_agg(h || ' ' || (SELECT count(*) FROM caucus.history_of(h)), ', ' ORDER BY h) "
                                        "FROM unnest(ARRAY[-7, 1, 960, 961, 4781, 4782, 5001]) h"),
                        "-7 19, 1 1, 960 1, 961 1, 4781 1, 4782 1, 5001 0");
}

static void a_lost_weak_commit_is_merged_again_from_the_log(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice change = weak_write(one, weak_insert(fixture, "a", "x"), 100);
    char *before = cc_arena_text(&fixture->arena, site_query(one, all_presence));
    // As if PostgreSQL had lost the commit in a crash.
    (void)site_query(one, "SET session_replication_role = replica; DELETE FROM presence; DELETE FROM caucus.history; DELETE FROM caucus.frontier");
    site_close(one);
    site_open(one);
    assert_int_equal(one->frontier.n, 0);
    merge(one, &change, 1);
    assert_string_equal(site_query(one, all_presence), before);
    assert_int_equal(crdt_frontier_get(&one->frontier, (struct crdt_origin){1, 1}), 1);
}

static void merge_open(struct site *site, struct cc_slice *changes, uint32_t n)
{
    struct db_job job = {.kind = DB_MERGE, .n_items = n, .items = changes, .open = true};
    const struct db_event *event = site_run(site, DB_WEAK, &job, DB_MERGED);
    assert_int_equal(crdt_frontier_get(event->merged, (struct crdt_origin){1, 1}), n + crdt_frontier_get(event->frontier, (struct crdt_origin){1, 1}));
}

// Whether what is kept up of a table says what its rows do.
static const char digest_fits[] = "SELECT (d.rows = o.rows AND d.sum = o.sum)::text || ' ' || d.rows FROM caucus.digests d, caucus.digest('presence'::regclass) o";

static void merges_and_local_writes_share_one_transaction(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice theirs[3] = {weak_write(one, weak_insert(fixture, "a", "new"), 100), weak_write(one, weak_insert(fixture, "b", "new"), 101),
                                 weak_write(one, weak_update(fixture, "a", true, "busy"), 102)};
    struct cc_slice all[6]; // in the order of WEAK_COMMIT: own ones first
    all[0] = weak_execute(two, weak_insert(fixture, "c", "new"), 110, 0);
    merge_open(two, theirs, 3);
    all[1] = weak_execute(two, weak_update(fixture, "a", false, "away"), 120, 1); // upon what was merged
    all[2] = weak_execute(two, weak_delete(fixture, "b"), 130, 2);
    assert_string_equal(site_query(two, shown_presence), "none"); // nobody sees anything of it
    memcpy(all + 3, theirs, sizeof(theirs));
    weak_commit(two, all, 6);
    char *rows = cc_arena_text(&fixture->arena, site_query(two, all_presence));
    assert_int_equal(crdt_frontier_get(&two->frontier, (struct crdt_origin){1, 1}), 3);
    assert_int_equal(crdt_frontier_get(&two->frontier, (struct crdt_origin){2, 1}), 3);
    assert_string_equal(site_query(two, digest_fits), "true 2");
    assert_string_equal(site_query(two, "SELECT string_agg(replica || '/' || sequence || '/' || sets, ' ' ORDER BY replica) FROM caucus.history"), "1/3/3 2/3/3");
    merge(one, all, 3);
    assert_string_equal(site_query(one, all_presence), rows);
}

// The first attempt presumes that rows which are inserted are not there, and one is.
static void a_merge_that_fails_leaves_what_is_in_the_open_transaction(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice theirs = weak_write(one, weak_insert(fixture, "a", "theirs"), 200);
    struct cc_slice all[3] = {weak_execute(two, weak_insert(fixture, "a", "ours"), 110, 0)};
    merge_open(two, &theirs, 1);
    all[1] = weak_execute(two, weak_insert(fixture, "b", "ours"), 210, 1);
    all[2] = theirs;
    weak_commit(two, all, 3);
    char *rows = cc_arena_text(&fixture->arena, site_query(two, all_presence));
    assert_non_null(strstr(rows, "theirs"));
    assert_string_equal(site_query(two, digest_fits), "true 2");
    merge(one, all, 2);
    assert_string_equal(site_query(one, all_presence), rows);
}

static void what_was_merged_into_a_transaction_that_is_lost_can_be_merged_again(void **state)
{
    struct fixture *fixture = *state;
    struct site *one = &fixture->one, *two = &fixture->two;
    migrate_ok(fixture, "0001", presence_sql);
    struct cc_slice theirs = weak_write(one, weak_insert(fixture, "a", "new"), 100);
    merge_open(two, &theirs, 1);
    site_close(two);
    site_open(two);
    assert_string_equal(site_query(two, shown_presence), "none");
    merge(two, &theirs, 1);
    assert_string_equal(site_query(two, digest_fits), "true 1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(replicas_that_were_apart_end_with_equal_rows),
        TEST(weak_updates_by_different_keys_are_one_statement_and_each_has_its_own_change),
        TEST(a_delete_and_a_later_insert_meet_in_any_order),
        TEST(what_is_put_aside_is_written_again_upon_the_others_rows),
        TEST(what_cannot_be_written_again_has_lost_and_what_others_have_after_all_is_not_written_twice),
        TEST(what_follows_lost_changes_is_put_aside_once_and_the_rows_stay),
        TEST(random_weak_writes_converge),
        TEST(merges_and_local_writes_share_one_transaction),
        TEST(a_merge_that_fails_leaves_what_is_in_the_open_transaction),
        TEST(what_was_merged_into_a_transaction_that_is_lost_can_be_merged_again),
        TEST(history_can_be_fetched_from_a_sequence_on),
        TEST(sets_of_one_merge_are_told_apart_in_the_history),
        TEST(a_poisoned_change_holds_up_its_origin_only),
        TEST(a_weak_write_that_waited_for_a_migration_of_its_table_is_executed_anew),
        TEST(a_weak_write_that_is_not_as_planned_while_a_schema_is_on_its_way_is_executed_anew),
        TEST(a_weak_write_must_not_change_strong_tables),
        TEST(triggers_of_weak_tables_are_stamped_too),
        TEST(deferred_triggers_of_weak_tables_act_before_the_changes_are_taken),
        TEST(merging_never_reads_the_whole_table),
        TEST(rows_are_found_in_a_long_history_that_an_older_program_began),
        TEST(a_lost_weak_commit_is_merged_again_from_the_log),
    };
    return cmocka_run_group_tests(tests, fixture_group_set_up, fixture_group_tear_down);
}
