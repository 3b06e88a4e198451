// What is written beside the rows: the tables caucus.{requests,tombstones,history,frontier}. Each is gathered in arrays and sent as one
// statement of the open transaction; whatever it is, an error of it ends the connection (pg_lane_must).
#ifndef PROXY_IO_POSTGRES_RECORDS_H
#define PROXY_IO_POSTGRES_RECORDS_H

#include "proxy/postgres/io_postgres_internal.h"

// Outcomes under their Idempotency-Keys, sent as one statement.
struct pg_requests {
    struct pg_array principals, keys, fingerprints, outcomes;
};
void pg_requests_init(struct pg_requests *requests);
void pg_requests_put(struct pg_requests *requests, struct cc_slice principal, struct cc_slice key, struct cc_slice fingerprint,
                     struct cc_slice outcome); // a refusal is left out
void pg_requests_send(struct pg_requests *requests, struct pg_lane *lane); // and finishes it
void pg_requests_finish(struct pg_requests *requests);

// Rows that are not to be seen any more; of one that is back, only its death.
struct pg_tombstones {
    struct pg_lane *lane;
    struct pg_array tables, keys, deaths, remains, turns;
};
void pg_tombstones_init(struct pg_tombstones *tombstones, struct pg_lane *lane);
void pg_tombstones_put(struct pg_tombstones *tombstones, struct cc_slice table, struct cc_slice key, const struct crdt_row *row);
void pg_tombstones_send(struct pg_tombstones *tombstones); // and finishes it

// Numbered change sets, in order per origin: history and frontier. A row of the history takes sets that follow each other.
struct pg_history_last {
    struct crdt_origin origin;
    uint64_t sequence;
    struct clock_stamp stamp;
};
struct pg_history_row {
    struct crdt_origin origin;
    uint64_t sequence; // of its last set
    uint32_t n_sets, n_rows;
    size_t n_bytes;
    struct clock_stamp since, stamp;
};
struct pg_history {
    struct pg_array changes, hashes; // of all rows, one behind the other: sets, and what names the rows that they are of
    struct pg_history_row *rows;
    size_t n_rows, rows_capacity;
    struct pg_history_last *lasts; // of each origin
    size_t n_lasts, lasts_capacity;
};
void pg_history_init(struct pg_history *history);
void pg_history_put(struct pg_history *history, const struct crdt_change_set *set, struct cc_slice bytes); // the whole set was read
void pg_history_send(struct pg_history *history, struct pg_lane *lane); // and finishes it

#endif
