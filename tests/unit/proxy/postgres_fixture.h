// A private PostgreSQL with two databases, "one" and "two", and the lanes of a replica on each: for tests of io_postgres_*.
#ifndef TESTS_POSTGRES_FIXTURE_H
#define TESTS_POSTGRES_FIXTURE_H

#include "base/arena.h"
#include "proxy/postgres/io_postgres.h"
#include "proxy/scratch.h"

#include <libpq-fe.h>

struct event_base;

struct site { // a replica's database
    struct fixture *fixture;
    const char *name;
    struct io_postgres *postgres;
    PGconn *watcher; // the test's own look into the database
    uint64_t n_jobs, index;
    // The last event of each kind, deep copied into the fixture's arena.
    struct db_event last;
    struct db_event executed[4]; // the last of this kind, the n-th at n % 4
    uint32_t n_events[DB_DIVERGED + 1];
    bool up[DB_LANES];
    struct crdt_frontier frontier;
    uint64_t applied;
    uint32_t schema_version;
};

struct fixture {
    char directory[SCRATCH_BYTES];
    struct event_base *base;
    struct supervisor *supervisor;
    struct cc_arena arena;
    struct site one, two;
};

int fixture_group_set_up(void **state);    // starts the server, once
int fixture_group_tear_down(void **state);
int fixture_set_up(void **state);          // two fresh databases, lanes up
int fixture_tear_down(void **state);

// Runs the loop until the condition holds; fails the test after 20 seconds.
void fixture_wait(struct fixture *fixture, bool (*holds)(void *context), void *context, const char *what);
// Submits a job and waits for the event; returns the copy of it in site->last.
const struct db_event *site_run(struct site *site, enum db_lane lane, struct db_job *job, enum db_event_kind answer);
void site_submit(struct site *site, enum db_lane lane, struct db_job *job);
void site_wait_event(struct site *site, enum db_event_kind kind, uint32_t n);
void site_wait_up(struct site *site);
void site_open(struct site *site);  // a replica's lanes
void site_close(struct site *site);
// Runs SQL in the database, as the owner would; the first value of the first row (static), "" for none, or the error's SQLSTATE.
const char *site_query(struct site *site, const char *sql);

// The whole way of a migration or of operations: executed at one, logged, committed there, applied at two.
const struct rest_outcome *migrate(struct fixture *fixture, const char *name, const char *sql);
void replicate(struct fixture *fixture, struct cc_slice *operations, uint32_t n, struct rest_outcome *outcomes_out);
// Up to four batches, each submitted before the one in front of it has been answered.
struct batch {
    struct cc_slice *operations;
    uint32_t n;
    struct rest_outcome *outcomes_out;
};
void replicate_batches(struct fixture *fixture, const struct batch *batches, uint32_t n);
struct cc_slice operation_of(struct fixture *fixture, const struct operation *operation);
// Operation of one statement.
struct cc_slice operation_of_statement(struct fixture *fixture, const struct rest_statement *statement, const char *key);
struct cc_slice captured(struct fixture *fixture, const char *sql, const char *key); // of one whose effects triggers collect

void assert_same(struct fixture *fixture, const char *sql); // at both sites
void assert_code(const struct rest_outcome *outcome, const char *code);
void assert_done(const struct rest_outcome *outcome);
void migrate_ok(struct fixture *fixture, const char *name, const char *sql);
uint64_t seed_of_run(void); // CAUCUS_TEST_SEED, or 1

#define TEXT(literal) {(const uint8_t *)(literal), sizeof(literal) - 1} // a slice

#endif
