// Database jobs: all that the node asks of the PostgreSQL it owns, and what comes back. Implemented by io_postgres_*.c over
// libpq and by the simulator's model. Two independent connections ("lanes"), each working off its jobs strictly in order:
//
//   DB_STRONG: the state machine of the log.   DB_WEAK: local weak writes and merges.
//
//   strong, leader:    EXECUTE* COMMIT   (EXECUTE opens a transaction if none is open; COMMIT or ROLLBACK ends it)
//   strong, follower:  APPLY             (a transaction of its own)
//   weak:              WEAK_EXECUTE* WEAK_COMMIT, MERGE, FETCH, BEGIN_ANEW, PUT_ASIDE, RENEW
//
// Losing a lane (DB_DOWN) forgets all its jobs and the open transaction; DB_UP says what the database really holds.
#ifndef PROXY_DATABASE_H
#define PROXY_DATABASE_H

#include "crdt/frontier.h"
#include "proxy/node/effect.h"

enum db_lane { DB_STRONG, DB_WEAK };
enum { DB_LANES = 2 };

enum db_job_kind {
    // Runs operations one after the other in the open transaction, each in its own right: one that fails changes nothing
    // and harms no neighbour (first all without savepoints; if one fails, back to the batch's savepoint and again with a
    // savepoint each). -> DB_EXECUTED. A migration comes alone in its batch.
    DB_EXECUTE = 1,
    // applied := index, COMMIT. -> DB_COMMITTED
    DB_COMMIT,
    // Rolls the open transaction back, if there is one. No answer.
    DB_ROLLBACK,
    // Applies the effects of entries [first, last] in one transaction, applied := last. -> DB_APPLIED
    DB_APPLY,
    // As EXECUTE, under one stamp per operation. -> DB_WEAK_EXECUTED
    DB_WEAK_EXECUTE,
    // Writes what the change sets that are in the open transaction leave behind, executed ones (now numbered) and merged ones: history,
    // frontier; COMMIT. -> DB_WEAK_COMMITTED
    DB_WEAK_COMMIT,
    DB_WEAK_ROLLBACK,
    // Merges change sets (crdt_row_merge decides) in one transaction and raises the frontier. Sets come in order of their
    // sequence per origin, without gaps above the frontier; those at or below it are skipped. With `states`, items are lists of states
    // of rows (row_state.h) instead, which are joined with what is there; the frontier stays. With `adopt`, the frontier is raised, and the
    // history is noted to lack what lies between. With `open`, change sets are merged into the open transaction, or into one that stays open:
    // WEAK_COMMIT, of which they are items, notes and commits them. -> DB_MERGED
    DB_MERGE,
    // Reads change sets of one origin from the history, from a sequence on. -> DB_FETCHED
    DB_FETCH,
    // For a new life of this replica, all in one transaction that is on disk when it is answered: change sets of `own` origins, which
    // nobody else has, are put aside, and weak tables are as in a new database. -> DB_BEGUN_ANEW
    DB_BEGIN_ANEW,
    // The same for own change sets that follow on some that are lost, and nothing else: items, of which there may be none. What is lost is noted.
    // -> DB_BEGUN_ANEW
    DB_PUT_ASIDE,
    // Decides what remains of the oldest change sets that were put aside (crdt_change_set_renew), up to as many as there are stamps, each under one
    // of these; nothing is written. Merging the resulting sets, once they are numbered, takes the old ones away. -> DB_RENEWED
    DB_RENEW,
};

struct db_job { // slices and arrays live until the job's answer, or the lane's DB_DOWN
    enum db_job_kind kind;
    uint64_t number; // echoed
    uint32_t schema_version; // that the node knew when it made the job
    // EXECUTE, WEAK_EXECUTE: encoded operations. APPLY: encoded entries (payloads). WEAK_COMMIT, MERGE, PUT_ASIDE: encoded change sets.
    uint32_t n_items;
    struct cc_slice *items;
    struct clock_stamp *stamps; // WEAK_EXECUTE: one per item. RENEW: n_stamps
    uint32_t n_stamps;
    uint64_t settled;           // WEAK_EXECUTE: up to this hybrid logical time all is settled among the members (crdt/stability.h)
    uint64_t first, last;       // APPLY: indexes of the items. COMMIT: last
    uint64_t *indexes;          // APPLY: index of each item (entries without payload are not items)
    struct crdt_origin origin;  // FETCH, PUT_ASIDE
    uint64_t sequence;          // FETCH: from here. PUT_ASIDE: of the first lost one
    const struct crdt_frontier *own; // BEGIN_ANEW: origins of this replica, each from which sequence on
    uint64_t n_lost;            // PUT_ASIDE: so many are lost
    uint32_t peer;              // FETCH: echoed
    bool states, open;          // MERGE
    uint64_t bound;             // MERGE of states of whoever holds every write up to this hybrid logical time, and may have dropped tombstones up to there; else 0
    uint64_t dropped;           // MERGE of states: up to here tombstones may be gone in this database
    const struct crdt_frontier *adopt; // MERGE of states, without items: all that belongs to this frontier was joined; under the stamp `stamps[0]`. Else NULL
    size_t n_bytes_max;         // FETCH
};

enum db_event_kind {
    DB_UP = 1, // the lane is open, nothing is in flight
    DB_DOWN,
    DB_EXECUTED,
    DB_COMMITTED,
    DB_APPLIED,
    DB_WEAK_EXECUTED,
    DB_WEAK_COMMITTED,
    DB_MERGED,
    DB_FETCHED,
    DB_BEGUN_ANEW,
    DB_RENEWED,
    DB_DIVERGED, // applying found rows that should not be as they are: this replica must stop serving and say so
};

struct db_event { // borrowed by the node during the call
    enum db_event_kind kind;
    enum db_lane lane;
    uint64_t number;
    // DB_UP: what the database holds. COMMITTED, APPLIED: the same, new.
    uint64_t applied;
    uint32_t schema_version;
    // DB_UP (weak), WEAK_COMMITTED, MERGED: what it holds.
    const struct crdt_frontier *frontier;
    const struct crdt_frontier *merged; // MERGED: with what the open transaction has merged; NULL: the same
    uint64_t hlc_floor;         // DB_UP: greatest stamp found
    uint64_t collected;         // DB_UP (weak): tombstones up to this stamp may be gone
    uint64_t n_aside;           // DB_UP (weak), BEGUN_ANEW: change sets that are put aside; BEGUN_ANEW: by this job
    const struct crdt_frontier *aside; // DB_UP (weak): their origins, with the last one of each; NULL: none
    // EXECUTED, WEAK_EXECUTED: one outcome per operation (rest_outcome_put form).
    uint32_t n_outcomes;
    const struct cc_slice *outcomes;
    uint32_t n_changed; // MERGED, of states: rows that are not as they were. RENEWED: sets of which something is written again
    uint64_t n_lost;    // RENEWED: sets of which something has lost. DB_UP (weak): own sets that PUT_ASIDE has noted as lost
    struct cc_slice effects;    // EXECUTED: of all operations that succeeded, in order
    bool has_migration;         // EXECUTED: effects end with a migration
    const struct cc_slice *changes; // WEAK_EXECUTED: encoded, unnumbered change set per operation; empty: changed nothing.
    // FETCHED: encoded change sets, in order, from the asked sequence on; none: the history does not reach back that far.
    // RENEWED: encoded, unnumbered; none: nothing is left.
    uint32_t n_changes;
    struct crdt_origin origin;
    uint32_t peer;
    struct cc_slice text; // DB_DIVERGED: what and where
};

#endif
