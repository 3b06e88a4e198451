// What the load generator found, as JSON and as text.
#include "cli/bench_report.h"

#include <inttypes.h>

#include "base/memory.h"

#include <stdlib.h>

static const char *const outcome_names[BENCH_OUTCOMES] = {[BENCH_DONE] = "done",
                                                          [BENCH_REFUSED] = "refused",
                                                          [BENCH_UNKNOWN] = "unknown",
                                                          [BENCH_FAILED] = "failed",
                                                          [BENCH_WRONG] = "wrong"};
static const double percents[] = {50, 90, 99, 99.9};
static const char *const percent_names[] = {"p50", "p90", "p99", "p99.9"};
enum { PERCENTS = sizeof(percents) / sizeof(percents[0]) };

void bench_sum(const struct bench_load *load, const struct bench_result *result, struct bench_sums *sums_out)
{
    *sums_out = (struct bench_sums){0};
    for (unsigned i = 0; i < load->n_operations; i++) {
        sums_out->n_rows += result->tallies[i].n_rows;
        for (unsigned k = 0; k < BENCH_OUTCOMES; k++) {
            sums_out->n[k] += result->tallies[i].n[k];
            sums_out->n_total[k] += result->tallies[i].n_total[k];
        }
    }
}

static json_t *latency_json(const struct bench_histogram *histogram)
{
    json_t *latency = json_object();
    json_object_set_new(latency, "mean", json_real(bench_histogram_mean(histogram) / 1e6));
    for (unsigned i = 0; i < PERCENTS; i++) {
        json_object_set_new(latency, percent_names[i],
                            json_real((double)bench_histogram_percentile(histogram, percents[i]) / 1e6));
    }
    json_object_set_new(latency, "max", json_real((double)histogram->max / 1e6));
    return latency;
}

static json_t *outcomes_json(const uint64_t n[BENCH_OUTCOMES])
{
    json_t *outcomes = json_object();
    for (unsigned i = 0; i < BENCH_OUTCOMES; i++) {
        json_object_set_new(outcomes, outcome_names[i], json_integer((json_int_t)n[i]));
    }
    return outcomes;
}

static json_t *operations_json(const struct bench_load *load, const char *const *names,
                               const struct bench_result *result)
{
    json_t *operations = json_object();
    for (unsigned i = 0; i < load->n_operations; i++) {
        const struct bench_tally *tally = &result->tallies[i];
        json_object_set_new(operations, names[i],
                            json_pack("{s:f, s:o, s:o}", "per_second", (double)tally->n[BENCH_DONE] / result->seconds,
                                      "latency_ms", latency_json(&tally->latency), "outcomes",
                                      outcomes_json(tally->n)));
    }
    return operations;
}

static json_t *statuses_json(const struct bench_result *result)
{
    json_t *statuses = json_object();
    for (unsigned i = 0; i < BENCH_STATUSES; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%u", i);
        if (result->statuses[i] > 0) {
            json_object_set_new(statuses, i == 0 ? "none" : name, json_integer((json_int_t)result->statuses[i]));
        }
    }
    return statuses;
}

// Latency of all operations, those never sent included.
static struct bench_histogram *whole_latency(const struct bench_load *load, const struct bench_result *result)
{
    struct bench_histogram *all = cc_alloc(sizeof(*all));
    for (unsigned i = 0; i < load->n_operations; i++) {
        bench_histogram_add(all, &result->tallies[i].latency);
    }
    bench_histogram_add(all, &result->unsent);
    return all;
}

json_t *bench_report_json(const struct bench_load *load, const char *const *names, const struct bench_result *result)
{
    struct bench_sums sums;
    bench_sum(load, result, &sums);
    struct bench_histogram *all = whole_latency(load, result);
    uint64_t n_done = sums.n[BENCH_DONE];
    json_t *report = json_object();
    json_object_set_new(report, "clients", json_integer(load->n_clients));
    json_object_set_new(report, "threads", json_integer(load->n_threads));
    json_object_set_new(report, "addresses", json_integer((json_int_t)load->n_addresses));
    json_object_set_new(report, "rate_target", load->rate > 0 ? json_real(load->rate) : json_null());
    json_object_set_new(report, "seconds", json_real(result->seconds));
    json_object_set_new(report, "operations_per_second", json_real((double)n_done / result->seconds));
    json_object_set_new(report, "rows_per_second", json_real((double)sums.n_rows / result->seconds));
    json_object_set_new(report, "latency_ms", latency_json(all));
    json_object_set_new(report, "refused_latency_ms", latency_json(&result->refused));
    json_object_set_new(report, "operations", operations_json(load, names, result));
    json_object_set_new(report, "outcomes", outcomes_json(sums.n));
    json_object_set_new(report, "outcomes_total", outcomes_json(sums.n_total));
    json_object_set_new(report, "statuses", statuses_json(result));
    json_object_set_new(report, "unsent", json_integer((json_int_t)result->n_unsent));
    json_object_set_new(report, "reconnects", json_integer((json_int_t)result->n_reconnects));
    json_object_set_new(report, "client_cpu_us_per_operation",
                        json_real(n_done == 0 ? 0 : result->cpu_us / (double)n_done));
    json_object_set_new(report, "sample_of_failure",
                        result->sample[0] == '\0' ? json_null() : json_string(result->sample));
    free(all);
    return report;
}

static void print_line(FILE *out, const char *name, double seconds, const uint64_t n[BENCH_OUTCOMES],
                       const struct bench_histogram *latency)
{
    (void)fprintf(out, "%-22s %11.1f", name, (double)n[BENCH_DONE] / seconds);
    for (unsigned i = 0; i < PERCENTS; i++) {
        (void)fprintf(out, " %9.3f", (double)bench_histogram_percentile(latency, percents[i]) / 1e6);
    }
    (void)fprintf(out, " %9.3f ", (double)latency->max / 1e6);
    for (unsigned i = 0; i < BENCH_OUTCOMES; i++) {
        (void)fprintf(out, " %9" PRIu64, n[i]);
    }
    (void)fputs("\n", out);
}

void bench_report_print(FILE *out, const struct bench_load *load, const char *const *names,
                        const struct bench_result *result)
{
    struct bench_sums sums;
    bench_sum(load, result, &sums);
    (void)fprintf(out, "%u clients on %u threads, ", load->n_clients, load->n_threads);
    if (load->rate > 0) {
        (void)fprintf(out, "open loop at %.1f/s (latency from the intended start)", load->rate);
    } else {
        (void)fputs("closed loop", out);
    }
    (void)fprintf(out, ", %zu addresses, %.1f s measured after %.1f s of warm-up\n", load->n_addresses, result->seconds,
                  (double)load->warmup_ms / 1e3);
    (void)fprintf(out, "%-22s %11s %9s %9s %9s %9s %9s ", "operation", "per second", "p50 ms", "p90 ms", "p99 ms",
                  "p99.9 ms", "max ms");
    for (unsigned i = 0; i < BENCH_OUTCOMES; i++) {
        (void)fprintf(out, " %9s", outcome_names[i]);
    }
    (void)fputs("\n", out);
    for (unsigned i = 0; i < load->n_operations; i++) {
        print_line(out, names[i], result->seconds, result->tallies[i].n, &result->tallies[i].latency);
    }
    if (load->n_operations > 1 || result->n_unsent > 0) {
        struct bench_histogram *all = whole_latency(load, result);
        print_line(out, "all", result->seconds, sums.n, all);
        free(all);
    }
    if (sums.n_rows != sums.n[BENCH_DONE]) {
        (void)fprintf(out, "%.1f rows per second\n", (double)sums.n_rows / result->seconds);
    }
    if (result->n_unsent > 0) {
        (void)fprintf(
            out,
            "%" PRIu64
            " requests that should have started in the window were never sent: too few clients, or too slow\n",
            result->n_unsent);
    }
    if (result->sample[0] != '\0') {
        (void)fprintf(out, "first failure: %s\n", result->sample);
    }
    (void)fprintf(out, "load generator: %.1f us of CPU per operation, %" PRIu64 " reconnects\n",
                  sums.n[BENCH_DONE] == 0 ? 0 : result->cpu_us / (double)sums.n[BENCH_DONE], result->n_reconnects);
}

void bench_report_progress(void *file, const struct bench_progress *progress)
{
    (void)fprintf(file, "%6.1f s  %-8s %10.1f/s  p50 %8.3f ms  p99 %8.3f ms  not done %" PRIu64 "\n", progress->at_s,
                  progress->phase, (double)progress->n_done / progress->seconds, (double)progress->p50_ns / 1e6,
                  (double)progress->p99_ns / 1e6, progress->n_bad);
    (void)fflush(file);
}

void bench_report_measuring(void *file, bool on)
{
    (void)fputs(on ? "measuring begins\n" : "measuring ends\n", file);
    (void)fflush(file);
}
