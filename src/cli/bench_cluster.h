// What `caucus bench` does with a cluster around the load: its tables and rows, and the check that what was acknowledged is there.
#ifndef CLI_BENCH_CLUSTER_H
#define CLI_BENCH_CLUSTER_H

#include "cli/bench_workload.h"
#include "cli/replicas.h"

struct bench_cluster {
    struct cli_replicas replicas;
    struct bench_address addresses[CC_REPLICAS_MAX];
    size_t leader; // index
};

struct bench_counts {
    uint64_t rows[CC_REPLICAS_MAX];
    bool equal; // same digest everywhere
};

// All of these: CLI_OK, or an error that is already printed.

// Finds the replicas and the leader; waits for one up to 10 s. bench_cluster_finish also after a failure.
enum cli_exit bench_cluster_open(const struct cli_arguments *arguments, struct bench_cluster *cluster_out);
void bench_cluster_finish(struct bench_cluster *cluster);

// Makes the tables that are missing, waits until all replicas have them, and writes the rows that the mix needs.
enum cli_exit bench_cluster_prepare(struct bench_cluster *cluster, const struct bench_workload *workload);

// Waits until every replica has applied the same entries and holds the same changes; *ms_out is how long that took.
enum cli_exit bench_cluster_settle(const struct bench_cluster *cluster, uint32_t patience_ms, double *ms_out);

enum cli_exit bench_cluster_count(const struct bench_cluster *cluster, bool weak, struct bench_counts *counts_out);

#endif
