// Latency histogram in the manner of HdrHistogram: buckets whose width grows with the value, so that every recorded value is
// known to 1/128 of itself, from nanoseconds to hours, in constant memory.
#ifndef CLI_BENCH_HISTOGRAM_H
#define CLI_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    BENCH_HISTOGRAM_SUB_BITS = 7, // 128 buckets for each doubling
    BENCH_HISTOGRAM_DOUBLINGS = 38,
    BENCH_HISTOGRAM_BUCKETS = (BENCH_HISTOGRAM_DOUBLINGS + 1) << BENCH_HISTOGRAM_SUB_BITS, // up to 2^44 ns = 4.9 hours
};

// Zero-initialised is empty and valid. Values in nanoseconds.
struct bench_histogram {
    uint64_t n;
    uint64_t sum;
    uint64_t max;
    uint64_t counts[BENCH_HISTOGRAM_BUCKETS];
};

// Values above the range count in the last bucket; `max` and `sum` stay exact.
void bench_histogram_record(struct bench_histogram *histogram, uint64_t value);
void bench_histogram_add(struct bench_histogram *to, const struct bench_histogram *from);
void bench_histogram_clear(struct bench_histogram *histogram);
// The smallest value that at least `percent` of the recorded ones do not exceed: the upper end of its bucket, at most `max`.
// percent in (0, 100]; 0 for an empty histogram.
uint64_t bench_histogram_percentile(const struct bench_histogram *histogram, double percent);
double bench_histogram_mean(const struct bench_histogram *histogram);

#endif
