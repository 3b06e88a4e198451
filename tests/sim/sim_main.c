// sim: runs seeds, a few after each other in a process of their own, so that one that fails or aborts does not stop the others. One
// that fails runs again, the same way, and tells what happened.
//   --seed N          one seed; with --trace every step is printed, with --twice it must run the same way again
//   --seeds A-B       many; --jobs K at a time
//   --without NAME    an invariant is not looked at: what it finds alone is then not found
//   --set KNOB=VALUE  whatever the seeds draw (sim_knobs.c); a world of one's own, for which too little may happen
//   --mutant N        in sim_mutants: plants bug N of src/base/mutant.h; succeeds when a seed fails
#include "base/mutant.h"
#include "sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JOBS_MAX = 64, SEED_SECONDS_MAX = 120, SEEDS_PER_PROCESS = 64 };

struct options {
    uint64_t first, last;
    uint64_t n_jobs;
    bool print_trace, twice;
    int mutant;
};

struct done { // by a process, as it tells us: shared memory
    uint64_t n_seeds;
    struct sim_counters counters;
};

static struct sim current;

static void usage(void)
{
    printf("usage: sim [--seed N | --seeds A-B] [--jobs K] [--trace] [--twice] [--without NAME] [--set KNOB=VALUE] [--mutant N]\n");
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
        } else if (strcmp(arguments[i], "--without") == 0 && more) {
            sim_ignored = arguments[++i];
        } else if (strcmp(arguments[i], "--set") == 0 && more && sim_knobs_fix(arguments[i + 1])) {
            i++;
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

static void add(struct sim_counters *sum, const struct sim_counters *counters)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counters;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++) {
        to[i] += from[i];
    }
}

static void run_seed(uint64_t seed, enum sim_tell tell, bool twice)
{
    alarm(SEED_SECONDS_MAX);
    sim_run(&current, seed, tell);
    if (twice) {
        uint64_t trace_hash = current.trace_hash;
        sim_run(&current, seed, SIM_TELL_FAILURE); // telling changes nothing
        if (current.trace_hash != trace_hash) {
            sim_fail(&current, "S6", "the same seed ran another way");
        }
    }
}

static void run_seeds(uint64_t first, uint64_t last, enum sim_tell tell, bool twice, struct done *done)
{
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);
    signal(SIGALRM, on_signal); // it goes round in circles
    if (tell == SIM_TELL_NOTHING && !freopen("/dev/null", "w", stderr)) { // what an assert prints is said by the second run
        exit(70);
    }
    for (uint64_t seed = first; seed <= last; seed++) {
        run_seed(seed, tell, twice);
        add(&done->counters, &current.counters);
        done->n_seeds++;
    }
    exit(0);
}

static pid_t start(uint64_t first, uint64_t last, enum sim_tell tell, bool twice, struct done *done)
{
    *done = (struct done){0};
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(71);
    }
    if (child == 0) {
        run_seeds(first, last, tell, twice, done);
    }
    return child;
}

static void print_counters(const struct sim_counters *c)
{
    printf("events %" PRIu64 ", frames %" PRIu64 ", leaders %" PRIu64 ", crashes %" PRIu64 " (power %" PRIu64 "), database crashes %" PRIu64
           " (commits lost %" PRIu64 ", replays %" PRIu64 "), lanes lost %" PRIu64 ", cuts %" PRIu64 ", resets %" PRIu64 ", pauses %" PRIu64
           ", clock jumps %" PRIu64 ", failed syncs %" PRIu64 ", loads %" PRIu64 ", truncations %" PRIu64 ", snapshots %" PRIu64 "\n",
           c->events, c->frames, c->leaders, c->crashes, c->machine_crashes, c->database_crashes, c->commits_lost, c->replays,
           c->lane_drops, c->cuts, c->resets, c->pauses, c->clock_jumps, c->disk_failures, c->loads, c->truncations, c->snapshots);
    printf("member changes %" PRIu64 ", reloads %" PRIu64 ", data lost %" PRIu64 " (older copies of logs %" PRIu64 ", noticed %" PRIu64 ", and such that nobody can notice %" PRIu64 "; origins begun %" PRIu64 ", numbers given again that nobody had %" PRIu64 "), recovered %" PRIu64
           ", full disks %" PRIu64 " (no space for records %" PRIu64 "), slow disks handed over %" PRIu64 ", frames of other versions %" PRIu64 "\n"
           "replicas of other versions %" PRIu64 " (their frames %" PRIu64 "), copies of earlier lives %" PRIu64 ", offices of who stood in %" PRIu64 "\n",
           c->member_changes, c->reloads, c->amnesias, c->copies, c->noticed, c->unnoticed, c->origins_begun, c->gone, c->recovered, c->full_disks, c->no_space, c->hand_overs, c->strangers, c->upgrades, c->skewed, c->ended_lives, c->stand_ins);
    printf("tombstones dropped %" PRIu64 ", change sets dropped %" PRIu64 ", rows changed past us %" PRIu64 ", rows joined %" PRIu64
           ", rows deleted long ago %" PRIu64 ", frontiers taken over %" PRIu64 ", replicas that began anew %" PRIu64 ", and because of changes that all had lost %" PRIu64
           " (changes renewed %" PRIu64 ", lost %" PRIu64 ")\n",
           c->tombstones_dropped, c->sets_dropped, c->tampered, c->rows_repaired, c->strays, c->adoptions, c->begun_anew, c->dead_ends, c->renewed, c->not_renewed);
    printf("operations %" PRIu64 ": acknowledged %" PRIu64 " (reads %" PRIu64 ", of sessions %" PRIu64 " with %" PRIu64 " shortened tokens, of weak tables %" PRIu64 "), unknown %" PRIu64 ", refused %" PRIu64
           "; batches executed again %" PRIu64 ", keys met again %" PRIu64 " (weak %" PRIu64 "), migrations %" PRIu64 "\n",
           c->operations, c->acknowledged, c->reads, c->session_reads, c->shortened_reads, c->weak_reads, c->unknown, c->refused, c->requeues, c->key_hits, c->weak_key_hits, c->migrations);
}

// A run in which nothing broke, or nothing was done, proves nothing.
static bool is_meaningful(const struct sim_counters *c, uint64_t n_seeds)
{
    if (n_seeds < 50) {
        return true;
    }
    return c->leaders > n_seeds && c->crashes > n_seeds && c->machine_crashes > 0 && c->database_crashes > n_seeds && c->commits_lost > 0 &&
           c->replays > 0 && c->lane_drops > 0 && c->cuts > 0 && c->resets > 0 && c->pauses > 0 && c->requeues > 0 && c->key_hits > 0 && c->weak_key_hits > 0 && c->tombstones_dropped > 0 && c->sets_dropped > 0 && c->tampered > 0 && c->rows_repaired > 0 &&
           c->disk_failures > 0 && c->loads > 0 && c->member_changes > 0 && c->amnesias > 0 && c->noticed == c->copies && c->recovered > 0 &&
           c->full_disks > 0 && c->no_space > 0 && c->hand_overs > 0 && c->strangers > 0 && c->weak_reads > 0 && (n_seeds < 200 || (c->snapshots > 0 && c->copies > 0 && c->reloads > 0 && c->skewed > 0)) &&
           (n_seeds < 1000 || (c->ended_lives > 0 && c->stand_ins > 0 && c->unnoticed > 0 && c->origins_begun > 0)) &&
           c->migrations > 0 && c->session_reads > 0 && c->shortened_reads > 0 && c->truncations > 0 && c->acknowledged > c->operations / 3;
}

struct running {
    pid_t child; // 0: none
    uint64_t first, last;
    struct done *done;
};

struct tally {
    struct running running[JOBS_MAX + 1]; // the last one tells of failures
    uint64_t n_running, n_failed, first_failed, n_done;
    struct sim_counters counters;
};

static void tally_init(struct tally *tally)
{
    *tally = (struct tally){0};
    void *shared = mmap(NULL, (JOBS_MAX + 1) * sizeof(struct done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        exit(71);
    }
    for (size_t i = 0; i <= JOBS_MAX; i++) {
        tally->running[i].done = (struct done *)shared + i;
    }
}

static void begin(struct tally *tally, const struct options *options, uint64_t first, uint64_t last)
{
    struct running *running = tally->running;
    while (running->child != 0) {
        running++;
    }
    running->first = first;
    running->last = last;
    running->child = start(first, last, options->print_trace ? SIM_TELL_ALL : SIM_TELL_NOTHING, options->twice, running->done);
    tally->n_running++;
}

// The same seed goes the same way, and now tells it.
static void tell_failure(const struct tally *tally, uint64_t seed)
{
    int status;
    pid_t child = start(seed, seed, SIM_TELL_FAILURE, false, tally->running[JOBS_MAX].done);
    if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        printf("FAILED seed %" PRIu64 " invariant S6: it failed once and not again\n", seed);
    }
}

static struct running *running_of(struct tally *tally, pid_t child)
{
    struct running *running = tally->running;
    while (running->child != child) {
        running++;
    }
    return running;
}

// Waits until one of the processes has ended. If a seed has ended it, another goes on behind that one.
static void collect(struct tally *tally, const struct options *options)
{
    int status;
    pid_t child = wait(&status);
    if (child < 0) {
        perror("wait");
        exit(71);
    }
    struct running *running = running_of(tally, child);
    running->child = 0;
    tally->n_running--;
    tally->n_done += running->done->n_seeds;
    add(&tally->counters, &running->done->counters);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return;
    }
    uint64_t seed = running->first + running->done->n_seeds;
    tally->n_failed++;
    tally->n_done++;
    tally->first_failed = tally->n_failed == 1 || seed < tally->first_failed ? seed : tally->first_failed;
    if (options->mutant != 0 && options->first != options->last) {
        return; // found; a seed alone is told
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == SIM_FAILED_UNTOLD) {
        tell_failure(tally, seed);
    } else if (WIFSIGNALED(status)) {
        printf("FAILED seed %" PRIu64 ": signal %d (%s) ended its process\n", seed, WTERMSIG(status), strsignal(WTERMSIG(status)));
    }
    if (seed < running->last) {
        begin(tally, options, seed + 1, running->last);
    }
}

static void run_all(struct tally *tally, const struct options *options)
{
    uint64_t share = (options->last - options->first) / options->n_jobs + 1;
    uint64_t n = share < SEEDS_PER_PROCESS ? share : SEEDS_PER_PROCESS;
    for (uint64_t seed = options->first; seed <= options->last; seed += n) {
        while (tally->n_running >= options->n_jobs) { // one that takes the place of one that failed counts, too
            collect(tally, options);
        }
        if (tally->n_failed > 0 && options->mutant > 0) {
            break;
        }
        begin(tally, options, seed, options->last - seed < n ? options->last : seed + n - 1);
    }
    while (tally->n_running > 0) {
        collect(tally, options);
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
    struct tally tally;
    tally_init(&tally);
    run_all(&tally, &options);
    if (options.mutant > 0) {
        return told_mutant(&options, &tally) ? 0 : 1;
    }
    print_counters(&tally.counters);
    print_speed(&tally.counters);
    bool meaningful = is_meaningful(&tally.counters, tally.n_done);
    printf("worlds %016" PRIx64 ", the same for the same seeds whatever compiler it was\n", tally.counters.world);
    printf("%" PRIu64 " seeds, %" PRIu64 " failed%s\n", tally.n_done, tally.n_failed, meaningful ? "" : "; too little happened for a verdict");
    return tally.n_failed == 0 && meaningful ? 0 : 1;
}
