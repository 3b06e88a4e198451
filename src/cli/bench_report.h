// What the load generator found, as JSON and as text.
#ifndef CLI_BENCH_REPORT_H
#define CLI_BENCH_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "cli/bench_engine.h"

struct bench_sums {                   // over all operations of a run
    uint64_t n[BENCH_OUTCOMES];       // in the window
    uint64_t n_total[BENCH_OUTCOMES]; // whole run
    uint64_t n_rows;
};

void bench_sum(const struct bench_load *load, const struct bench_result *result, struct bench_sums *sums_out);

// {"seconds","operations_per_second","rows_per_second","latency_ms":{…},"operations":{name:{…}},"outcomes":{…},…}; the caller's.
// `names` has one text per operation of the load.
json_t *bench_report_json(const struct bench_load *load, const char *const *names, const struct bench_result *result);
void bench_report_print(FILE *out, const struct bench_load *load, const char *const *names,
                        const struct bench_result *result);

// For bench_load.progress and .measuring: a line per second, and when the window begins and ends, on the FILE * given as context.
void bench_report_progress(void *file, const struct bench_progress *progress);
void bench_report_measuring(void *file, bool on);

#endif
