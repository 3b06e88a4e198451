// What `caucus bench` asks of a cluster: a weighted mix of operations on two tables, as HTTP requests, and what each answer must be.
// Pure: chance comes from the session's generator.
#ifndef CLI_BENCH_WORKLOAD_H
#define CLI_BENCH_WORKLOAD_H

#include "cli/bench_engine.h"
#include "cli/bench_row.h"

enum bench_verb {
    BENCH_INSERT, // one row with a new key
    BENCH_BULK,   // many rows with new keys in one request
    BENCH_UPDATE, // one existing row, by key
    BENCH_UPSERT, // one existing row, as an insert that merges
    BENCH_READ,   // one existing row, by key
    BENCH_VERBS
};

struct bench_operation {
    char name[64]; // as written in the mix: "weak-insert", "read@local"
    enum bench_verb verb;
    bool weak;            // on bench_weak, else on bench_strong
    char consistency[32]; // of a read; empty: the table's default
    uint32_t weight;
};

struct bench_workload {
    struct bench_operation operations[BENCH_OPERATIONS_MAX];
    unsigned n_operations;
    uint32_t weight_sum;
    uint64_t n_rows;      // keys 0 .. n_rows - 1 are there when the run begins
    uint64_t n_hot;       // of these, the first n_hot get ...
    uint32_t hot_percent; // ... this share of updates, upserts and reads
    uint32_t bulk_rows;
    size_t value_bytes;
    bool idempotency; // each write carries an Idempotency-Key
    bool sessions;    // each client sends back its session token
};

// Migration that makes the tables, and its name.
extern const char bench_migration_name[];
extern const char bench_migration_sql[];
const char *bench_table_name(bool weak);

// "insert", "read@local=80,update=20": operations with weights (default 1), comma between them; sets operations and the sum.
// Names: insert, bulk, update, upsert, read, each also with "weak-" in front; "@level" behind a read, "bounded:500ms" for bounded.
// CC_MALFORMED, CC_TOO_LARGE.
enum cc_status bench_mix_parse(const char *text, struct bench_workload *workload) CC_CHECKED;
// Does the mix touch rows of this table that must be there before?
bool bench_workload_needs_rows(const struct bench_workload *workload, bool weak);
// Whether the body is a list of that one row, as the workload writes it.
bool bench_workload_is_row(const struct bench_workload *workload, struct bench_key key, struct cc_slice body);
bool bench_workload_uses(const struct bench_workload *workload, bool weak);

// Sets the session's operation and key for its next request.
void bench_workload_choose(const struct bench_workload *workload, struct bench_session *session);

// {"id":…,"value":…}
void bench_row_put_json(struct cc_buffer *out, struct bench_key key, uint32_t writer, size_t value_bytes);

// For bench_engine_run, with the workload as its context.
extern const struct bench_protocol bench_workload_protocol;

#endif
