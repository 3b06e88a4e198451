// Latency histogram: buckets whose width grows with the value.
#include "cli/bench_histogram.h"

#include <string.h>

// Values below 2^(bits + 1) have a bucket each; above, the top `bits` bits after the leading one choose it.
static unsigned bucket_of(uint64_t value)
{
    unsigned leading = 63 - (unsigned)__builtin_clzll(value | 1);
    if (leading < BENCH_HISTOGRAM_SUB_BITS) {
        return (unsigned)value;
    }
    unsigned shift = leading - BENCH_HISTOGRAM_SUB_BITS;
    unsigned bucket = ((shift + 1) << BENCH_HISTOGRAM_SUB_BITS) +
                      (unsigned)((value >> shift) & ((1u << BENCH_HISTOGRAM_SUB_BITS) - 1));
    return bucket < BENCH_HISTOGRAM_BUCKETS ? bucket : BENCH_HISTOGRAM_BUCKETS - 1;
}

// The greatest value that falls into the bucket.
static uint64_t bucket_end(unsigned bucket)
{
    unsigned doubling = bucket >> BENCH_HISTOGRAM_SUB_BITS;
    uint64_t within = bucket & ((1u << BENCH_HISTOGRAM_SUB_BITS) - 1);
    if (doubling == 0) {
        return within;
    }
    unsigned shift = doubling - 1;
    return (((1ull << BENCH_HISTOGRAM_SUB_BITS) + within + 1) << shift) - 1;
}

void bench_histogram_record(struct bench_histogram *histogram, uint64_t value)
{
    histogram->n++;
    histogram->sum += value;
    histogram->max = value > histogram->max ? value : histogram->max;
    histogram->counts[bucket_of(value)]++;
}

void bench_histogram_add(struct bench_histogram *to, const struct bench_histogram *from)
{
    to->n += from->n;
    to->sum += from->sum;
    to->max = from->max > to->max ? from->max : to->max;
    for (unsigned i = 0; i < BENCH_HISTOGRAM_BUCKETS; i++) {
        to->counts[i] += from->counts[i];
    }
}

void bench_histogram_clear(struct bench_histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

uint64_t bench_histogram_percentile(const struct bench_histogram *histogram, double percent)
{
    double wanted = percent / 100.0 * (double)histogram->n;
    uint64_t seen = 0;
    for (unsigned i = 0; i + 1 < BENCH_HISTOGRAM_BUCKETS && histogram->n > 0; i++) {
        seen += histogram->counts[i];
        if (histogram->counts[i] > 0 && (double)seen >= wanted) {
            uint64_t end = bucket_end(i);
            return end < histogram->max ? end : histogram->max;
        }
    }
    return histogram->max;
}

double bench_histogram_mean(const struct bench_histogram *histogram)
{
    return histogram->n == 0 ? 0 : (double)histogram->sum / (double)histogram->n;
}
