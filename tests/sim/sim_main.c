// sim: runs seeds. Each seed runs in a process of its own, so that one that fails or aborts does not stop the others. One that
// fails runs again, the same way, and tells what happened.
//   --seed N          one seed; with --trace every step is printed, with --twice it must run the same way again
//   --seeds A-B       many; --jobs K at a time
//   --mutant N        in sim_mutants: plants bug N of src/base/mutant.h; succeeds when a seed fails
#include "base/mutant.h"
#include "sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 64, SEED_SECONDS_MAX = 120 };

struct options {
    uint64_t first, last;
    uint64_t n_jobs;
    bool print_trace, twice;
    int mutant;
};

struct report { // from a seed's process to us
    uint64_t seed;
    struct sim_counters counters;
    uint64_t trace_hash;
};

static struct sim current;

static void usage(void)
{
    printf("usage: sim [--seed N | --seeds A-B] [--jobs K] [--trace] [--twice] [--mutant N]\n");
    exit(64);
}

static uint64_t number(const char *text, char **end)
{
    errno = 0;
    uint64_t value = strtoull(text, end, 10);
    if (errno != 0 || *end == text) {
        usage();
    }
    return value;
}

static void parse_range(const char *text, struct options *options)
{
    char *end;
    options->first = options->last = number(text, &end);
    if (*end == '-') {
        options->last = number(end + 1, &end);
    }
    if (*end != '\0' || options->last < options->first) {
        usage();
    }
}

static struct options parse(int n, char **arguments)
{
    struct options options = {.first = 1, .last = 1, .n_jobs = 1, .mutant = (int)cc_mutant_chosen};
    for (int i = 1; i < n; i++) {
        bool more = i + 1 < n;
        char *end;
        if ((strcmp(arguments[i], "--seed") == 0 || strcmp(arguments[i], "--seeds") == 0) && more) {
            parse_range(arguments[++i], &options);
        } else if (strcmp(arguments[i], "--jobs") == 0 && more) {
            options.n_jobs = number(arguments[++i], &end);
        } else if (strcmp(arguments[i], "--trace") == 0) {
            options.print_trace = true;
        } else if (strcmp(arguments[i], "--twice") == 0) {
            options.twice = true;
        } else if (strcmp(arguments[i], "--mutant") == 0 && more) {
            options.mutant = (int)number(arguments[++i], &end);
        } else {
            usage();
        }
    }
    if (options.n_jobs < 1 || options.n_jobs > JOBS_MAX) {
        usage();
    }
    if (!cc_mutant_choose(options.mutant)) {
        printf("this build does not have that planted bug: use sim_mutants\n");
        exit(64);
    }
    return options;
}

// An assert of the product failed, or worse: say where the simulation was.
static void on_signal(int signal_number)
{
    sim_fail(&current, "assert", "the program %s", signal_number == SIGALRM ? "does not come to an end" : "aborted");
}

static void run_seed(uint64_t seed, enum sim_tell tell, bool twice, int report_to)
{
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    signal(SIGALRM, on_signal); // it goes round in circles
    alarm(SEED_SECONDS_MAX);
    if (tell == SIM_TELL_NOTHING && !freopen("/dev/null", "w", stderr)) { // what an assert prints is said by the second run
        exit(70);
    }
    sim_run(&current, seed, tell);
    struct report report = {.seed = seed, .counters = current.counters, .trace_hash = current.trace_hash};
    if (twice) {
        sim_run(&current, seed, SIM_TELL_FAILURE); // telling changes nothing
        if (current.trace_hash != report.trace_hash) {
            sim_fail(&current, "S6", "the same seed ran another way");
        }
    }
    if (write(report_to, &report, sizeof(report)) != (ssize_t)sizeof(report)) {
        exit(70);
    }
    exit(0);
}

static pid_t start(uint64_t seed, enum sim_tell tell, bool twice, int report_to)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(71);
    }
    if (child == 0) {
        run_seed(seed, tell, twice, report_to);
    }
    return child;
}

static void add(struct sim_counters *sum, const struct sim_counters *counters)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counters;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++) {
        to[i] += from[i];
    }
}

static void print_counters(const struct sim_counters *c)
{
    printf("events %" PRIu64 ", frames %" PRIu64 ", leaders %" PRIu64 ", crashes %" PRIu64 " (power %" PRIu64 "), database crashes %" PRIu64
           " (commits lost %" PRIu64 ", replays %" PRIu64 "), lanes lost %" PRIu64 ", cuts %" PRIu64 ", resets %" PRIu64 ", pauses %" PRIu64
           ", clock jumps %" PRIu64 ", failed syncs %" PRIu64 ", loads %" PRIu64 ", truncations %" PRIu64 ", snapshots %" PRIu64 "\n",
           c->events, c->frames, c->leaders, c->crashes, c->machine_crashes, c->database_crashes, c->commits_lost, c->replays,
           c->lane_drops, c->cuts, c->resets, c->pauses, c->clock_jumps, c->disk_failures, c->loads, c->truncations, c->snapshots);
    printf("member changes %" PRIu64 ", data lost %" PRIu64 " (older copies of logs %" PRIu64 ", noticed %" PRIu64 "), recovered %" PRIu64
           ", full disks %" PRIu64 "\n",
           c->member_changes, c->amnesias, c->copies, c->noticed, c->recovered, c->full_disks);
    printf("operations %" PRIu64 ": acknowledged %" PRIu64 " (reads %" PRIu64 ", of sessions %" PRIu64 ", of weak tables %" PRIu64 "), unknown %" PRIu64 ", refused %" PRIu64
           "; batches executed again %" PRIu64 ", keys met again %" PRIu64 " (weak %" PRIu64 "), migrations %" PRIu64 "\n",
           c->operations, c->acknowledged, c->reads, c->session_reads, c->weak_reads, c->unknown, c->refused, c->requeues, c->key_hits, c->weak_key_hits, c->migrations);
}

// A run in which nothing broke, or nothing was done, proves nothing.
static bool is_meaningful(const struct sim_counters *c, uint64_t n_seeds)
{
    if (n_seeds < 50) {
        return true;
    }
    return c->leaders > n_seeds && c->crashes > n_seeds && c->machine_crashes > 0 && c->database_crashes > n_seeds && c->commits_lost > 0 &&
           c->replays > 0 && c->lane_drops > 0 && c->cuts > 0 && c->resets > 0 && c->pauses > 0 && c->requeues > 0 && c->key_hits > 0 && c->weak_key_hits > 0 &&
           c->disk_failures > 0 && c->loads > 0 && c->member_changes > 0 && c->amnesias > 0 && c->noticed == c->copies && c->recovered > 0 &&
           c->full_disks > 0 && c->weak_reads > 0 && (n_seeds < 200 || (c->snapshots > 0 && c->copies > 0)) &&
           c->migrations > 0 && c->session_reads > 0 && c->truncations > 0 && c->acknowledged > c->operations / 3;
}

struct running {
    pid_t child;
    uint64_t seed;
};

struct tally {
    struct running running[JOBS_MAX];
    uint64_t n_running, n_failed, first_failed;
    struct sim_counters counters;
};

static uint64_t ended(struct tally *tally, pid_t child)
{
    for (uint64_t i = 0; i < tally->n_running; i++) {
        if (tally->running[i].child == child) {
            uint64_t seed = tally->running[i].seed;
            tally->running[i] = tally->running[--tally->n_running];
            return seed;
        }
    }
    exit(70);
}

// The same seed goes the same way, and now tells it.
static void tell_failure(uint64_t seed, int report_to)
{
    int status;
    pid_t child = start(seed, SIM_TELL_FAILURE, false, report_to);
    if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        printf("FAILED seed %" PRIu64 " invariant S6: it failed once and not again\n", seed);
    }
}

static void collect(struct tally *tally, const struct options *options, const int report[2])
{
    int status;
    pid_t child = wait(&status);
    if (child < 0) {
        perror("wait");
        exit(71);
    }
    uint64_t seed = ended(tally, child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        tally->n_failed++;
        tally->first_failed = tally->n_failed == 1 || seed < tally->first_failed ? seed : tally->first_failed;
        if (options->mutant == 0 && WIFEXITED(status) && WEXITSTATUS(status) == SIM_FAILED_UNTOLD) {
            tell_failure(seed, report[1]);
        }
        return;
    }
    struct report heard;
    if (read(report[0], &heard, sizeof(heard)) == (ssize_t)sizeof(heard)) {
        add(&tally->counters, &heard.counters);
    }
}

static void print_speed(const struct sim_counters *c)
{
    struct rusage usage;
    if (getrusage(RUSAGE_CHILDREN, &usage) == 0) {
        double cpu_s = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
        double simulated_s = (double)c->simulated_us / 1e6;
        printf("%.0f simulated seconds in %.1f seconds of one core: %.0f to 1\n", simulated_s, cpu_s, cpu_s > 0 ? simulated_s / cpu_s : 0);
    }
}

static bool told_mutant(const struct options *options, const struct tally *tally)
{
    static const struct {
        int number;
        const char *class, *name, *text;
    } mutants[] = {
#define SIM_MUTANT(number, name, class, text) {number, class, #name, text},
        CC_MUTANTS(SIM_MUTANT)
#undef SIM_MUTANT
    };
    for (size_t i = 0; i < sizeof(mutants) / sizeof(mutants[0]); i++) {
        if (mutants[i].number == options->mutant) {
            printf("mutant %d %s (%s: %s): ", mutants[i].number, mutants[i].name, mutants[i].class, mutants[i].text);
        }
    }
    if (tally->n_failed == 0) {
        printf("NOT FOUND in %" PRIu64 " seeds\n", options->last - options->first + 1);
        return false;
    }
    printf("found by seed %" PRIu64 "\n", tally->first_failed);
    return true;
}

int main(int n_arguments, char **arguments)
{
    struct options options = parse(n_arguments, arguments);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30); // memory stays with the process: it lives for a moment only
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
    (void)mallopt(M_TOP_PAD, 4 << 20);
    int ends[2];
    if (pipe(ends) != 0) {
        perror("pipe");
        return 71;
    }
    struct tally tally = {0};
    uint64_t n_seeds = 0;
    enum sim_tell tell = options.print_trace ? SIM_TELL_ALL : SIM_TELL_NOTHING;
    for (uint64_t seed = options.first; seed <= options.last; seed++) {
        if (tally.n_running == options.n_jobs) {
            collect(&tally, &options, ends);
        }
        if (tally.n_failed > 0 && options.mutant > 0) {
            break;
        }
        tally.running[tally.n_running++] = (struct running){start(seed, tell, options.twice, ends[1]), seed};
        n_seeds++;
    }
    while (tally.n_running > 0) {
        collect(&tally, &options, ends);
    }
    if (options.mutant > 0) {
        return told_mutant(&options, &tally) ? 0 : 1;
    }
    print_counters(&tally.counters);
    print_speed(&tally.counters);
    bool meaningful = is_meaningful(&tally.counters, n_seeds);
    printf("%" PRIu64 " seeds, %" PRIu64 " failed%s\n", n_seeds, tally.n_failed, meaningful ? "" : "; too little happened for a verdict");
    return tally.n_failed == 0 && meaningful ? 0 : 1;
}
