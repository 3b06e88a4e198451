// Comparing weak tables between replicas: what the node asks of the shell. Rows of a table are in buckets by the hash of their
// key; a bucket's sum is the digest of its rows (crdt/digest.h). Implemented by io_repair.c. Jobs are done one after the other.
#ifndef PROXY_REPAIR_H
#define PROXY_REPAIR_H

#include "crdt/frontier.h"

enum { REPAIR_BUCKETS = 4096, REPAIR_SUMS_BYTES = REPAIR_BUCKETS * 8, REPAIR_BITMAP_BYTES = REPAIR_BUCKETS / 8 };

enum repair_job_kind {
    REPAIR_TABLES, // the names of all weak tables
    REPAIR_SUMS,   // the sums of a table's buckets
    // Of the buckets from `from` on whose sums differ from those given: the states of their rows, as many buckets as fit.
    REPAIR_STATES,
    // For a whole answer of another replica: its states, and for rows of which this replica knows and that are not there: that what it told
    // of them, which may be nothing, is all that is left (row_state.settled).
    REPAIR_STRAYS,
    // For any other answer: its states without the rows that are here in the same way, and with what the histories tell (row_state.told).
    REPAIR_SIFT,
    REPAIR_KEPT,   // the digests that are kept up, and the frontier that they belong to
    REPAIR_RENEW, // the digests that are kept up (caucus.digests), from the rows: what was changed past us is not in them
    REPAIR_OWED,  // the members that the last REPAIR_OWE has written down, whichever life of the process that was in
    REPAIR_OWE,   // written down, on disk when it is answered: members with which a comparison is still to be done
};

// When the states of an answer were read, all in one transaction.
struct repair_moment {
    uint64_t bound; // hybrid logical time: the sender knew of every write up to here, and may have dropped tombstones as old as that
    uint32_t schema_version;
    struct crdt_frontier frontier; // what the sender held
};

struct repair_job { // borrowed until the next node_take_effects
    enum repair_job_kind kind;
    uint64_t number;
    struct cc_slice table;
    uint32_t peer;        // STATES: echoed
    uint64_t round;       // the same
    uint32_t from;
    uint32_t next;        // STRAYS: the answer tells of hidden rows of the buckets from `from` to before this one
    struct cc_slice sums; // little endian
    // SUMS, STATES: whoever asks wants to hold all that the other holds, not only the same values: sums are of stamps, too,
    // and the tombstones of all buckets are told.
    bool whole;
    struct cc_slice states, buckets; // STRAYS, SIFT: of the answer. OWE: `states` are ids, u32 each
    uint64_t bound;
};

struct repair_event { // borrowed during the call
    enum repair_job_kind kind;
    uint64_t number;
    bool failed;
    struct cc_slice bytes; // TABLES: names, each followed by NUL. SUMS: as above. STATES, STRAYS, SIFT: lists of row_state.h, each as cc_put_string does.
                           // KEPT: crdt_frontier_put, count, then of each table its name, u64 rows, u64 sum. OWED: ids, u32 each
    uint32_t peer;
    uint64_t round;
    struct cc_slice table;
    uint32_t from, next, n_rows; // STATES: REPAIR_BUCKETS when it was the last one
    // STATES:
    const struct repair_moment *moment; // NULL: of an older program, or there is no answer, and `next` is `from`
    struct cc_slice buckets;            // a bit for each one whose rows are told
};

#endif
