// caucus bench: load on a cluster, measured and checked.
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/bench_cluster.h"
#include "cli/bench_report.h"

enum { SETTLE_MS = 30 * 1000 };

static const struct cli_option options[] = {
    CLI_REPLICAS_OPTIONS,
    {.name = "mix", .argument = "MIX", .fallback = "insert", .help = "What to do: operations with weights, see below."},
    {.name = "clients", .argument = "N", .fallback = "64", .help = "Connections; each has one request under way."},
    {.name = "rate",
     .argument = "R",
     .fallback = "0",
     .help = "Open loop: R requests per second in all, latency counted from the intended start. 0: closed loop."},
    {.name = "duration",
     .argument = "S",
     .fallback = "10",
     .help = "Seconds that are measured; 0: prepare the tables and rows only."},
    {.name = "warmup", .argument = "S", .fallback = "2", .help = "Seconds of load before."},
    {.name = "to",
     .argument = "WHERE",
     .fallback = "all",
     .help = "Replicas that get the load: all (round robin), leader, followers."},
    {.name = "rows", .argument = "N", .fallback = "10000", .help = "Rows that are there for update, upsert and read."},
    {.name = "value-bytes", .argument = "N", .fallback = "100", .help = "Size of a row's value."},
    {.name = "bulk-rows", .argument = "N", .fallback = "1000", .help = "Rows in one bulk request."},
    {.name = "hot-keys",
     .argument = "N",
     .fallback = "0",
     .help = "The first N rows are hot; 0: all rows are chosen alike."},
    {.name = "hot-percent",
     .argument = "P",
     .fallback = "90",
     .help = "Share of updates, upserts and reads that go to hot rows."},
    {.name = "timeout", .argument = "S", .fallback = "15", .help = "Seconds that one request may take."},
    {.name = "pause",
     .argument = "S",
     .fallback = "0.01",
     .help = "Seconds that a refused client (503) waits before its next request."},
    {.name = "threads",
     .argument = "N",
     .fallback = "0",
     .help = "Threads of the load generator; 0: half of the cores."},
    {.name = "seed",
     .argument = "N",
     .fallback = "0",
     .help = "Of the keys; 0: another one each time. The same seed inserts the same keys."},
    {.name = "idempotency", .help = "Send an Idempotency-Key with each write."},
    {.name = "sessions", .help = "Each client sends back its session token."},
    {.name = "no-verify", .help = "Do not count the rows before and after."},
    {.name = "quiet", .help = "No progress lines."},
    {.name = "json", .help = "The result as one JSON document on stdout."},
};

static atomic_bool interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    atomic_store(&interrupted, true);
}

enum target { TARGET_ALL, TARGET_LEADER, TARGET_FOLLOWERS, TARGETS };
static const char *const target_names[TARGETS] = {
    [TARGET_ALL] = "all", [TARGET_LEADER] = "leader", [TARGET_FOLLOWERS] = "followers"};

struct plan {
    struct bench_workload workload;
    struct bench_address addresses[CC_REPLICAS_MAX]; // that get the load
    struct bench_load load;
    enum target target;
    bool verify, json, quiet;
};

struct verification {
    bool checked, upheld;
    double settled_ms;
    struct {
        bool used, upheld;
        struct bench_counts before, after;
        uint64_t n_acknowledged, n_unknown;
    } tables[2]; // strong, weak
};

// ---- the command line

// Seconds or a rate with decimals, in [0, max].
static bool decimal(const struct cli_arguments *arguments, const char *name, double max, double *out)
{
    const char *text = cli_text(arguments, name);
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value < 0 || value > max) {
        (void)cli_fail(CLI_USAGE, "bench: --%s must be a number from 0 to %.0f, not %s", name, max, text);
        return false;
    }
    *out = value;
    return true;
}

static bool parse_times(const struct cli_arguments *arguments, struct bench_load *load)
{
    double duration_s, warmup_s, timeout_s, pause_s;
    if (!decimal(arguments, "duration", 86400, &duration_s) || !decimal(arguments, "warmup", 3600, &warmup_s) ||
        !decimal(arguments, "timeout", 3600, &timeout_s) || !decimal(arguments, "pause", 3600, &pause_s) || !decimal(arguments, "rate", 1e8, &load->rate)) {
        return false;
    }
    load->duration_ms = (uint64_t)(duration_s * 1e3);
    load->warmup_ms = (uint64_t)(warmup_s * 1e3);
    load->pause_ms = (uint64_t)(pause_s * 1e3);
    load->timeout_ms = timeout_s < 0.001 ? 1 : (uint64_t)(timeout_s * 1e3);
    return true;
}

static bool parse_workload(const struct cli_arguments *arguments, struct bench_workload *workload)
{
    uint32_t rows, value_bytes, bulk_rows, hot_keys, hot_percent;
    if (!cli_number(arguments, "rows", 1, 1000000000, &rows) ||
        !cli_number(arguments, "value-bytes", BENCH_VALUE_BYTES_MIN, BENCH_VALUE_BYTES_MAX, &value_bytes) ||
        !cli_number(arguments, "bulk-rows", 1, 100000, &bulk_rows) ||
        !cli_number(arguments, "hot-keys", 0, rows, &hot_keys) ||
        !cli_number(arguments, "hot-percent", 0, 100, &hot_percent)) {
        return false;
    }
    if (bench_mix_parse(cli_text(arguments, "mix"), workload) != CC_OK) {
        (void)cli_fail(CLI_USAGE, "bench: cannot understand the mix %s. See: caucus bench --help",
                       cli_text(arguments, "mix"));
        return false;
    }
    workload->n_rows = rows;
    workload->value_bytes = value_bytes;
    workload->bulk_rows = bulk_rows;
    workload->n_hot = hot_keys;
    workload->hot_percent = hot_percent;
    workload->idempotency = cli_is_given(arguments, "idempotency");
    workload->sessions = cli_is_given(arguments, "sessions");
    return true;
}

static bool parse_target(const struct cli_arguments *arguments, enum target *target_out)
{
    for (unsigned i = 0; i < TARGETS; i++) {
        if (strcmp(cli_text(arguments, "to"), target_names[i]) == 0) {
            *target_out = (enum target)i;
            return true;
        }
    }
    (void)cli_fail(CLI_USAGE, "bench: --to must be all, leader or followers, not %s", cli_text(arguments, "to"));
    return false;
}

static unsigned threads_for(uint32_t given, uint32_t clients)
{
    long n_cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = given > 0 ? given : n_cores > 1 ? (unsigned)n_cores / 2 : 1;
    n = n > BENCH_THREADS_MAX ? BENCH_THREADS_MAX : n;
    return n > clients ? clients : n;
}

static bool parse_plan(const struct cli_arguments *arguments, struct plan *plan)
{
    uint32_t clients, threads, seed;
    if (!cli_number(arguments, "clients", 1, BENCH_CLIENTS_MAX, &clients) ||
        !cli_number(arguments, "threads", 0, BENCH_THREADS_MAX, &threads) ||
        !cli_number(arguments, "seed", 0, UINT32_MAX, &seed) || !parse_times(arguments, &plan->load) ||
        !parse_workload(arguments, &plan->workload) || !parse_target(arguments, &plan->target)) {
        return false;
    }
    plan->load.n_clients = clients;
    plan->load.n_threads = threads_for(threads, clients);
    plan->load.seed = seed;
    if (seed == 0 && getrandom(&plan->load.seed, sizeof(plan->load.seed), 0) != (ssize_t)sizeof(plan->load.seed)) {
        plan->load.seed = bench_now_ns();
    }
    plan->verify = !cli_is_given(arguments, "no-verify");
    plan->json = cli_is_given(arguments, "json");
    plan->quiet = cli_is_given(arguments, "quiet");
    return true;
}

// ---- which replicas get the load

static size_t choose_addresses(const struct bench_cluster *cluster, enum target target,
                               struct bench_address *addresses_out)
{
    size_t n = 0;
    for (size_t i = 0; i < cluster->replicas.n; i++) {
        bool leads = i == cluster->leader;
        bool chosen = target == TARGET_ALL || (target == TARGET_LEADER) == leads;
        if (chosen) {
            addresses_out[n++] = cluster->addresses[i];
        }
    }
    if (n == 0) { // a cluster of one has no followers
        addresses_out[n++] = cluster->addresses[cluster->leader];
    }
    return n;
}

// ---- was everything kept that was acknowledged?

static enum cli_exit count_tables(const struct bench_cluster *cluster, const struct plan *plan,
                                  struct verification *verification, bool after)
{
    enum cli_exit code = bench_cluster_settle(cluster, SETTLE_MS, &verification->settled_ms);
    for (unsigned weak = 0; weak < 2 && code == CLI_OK; weak++) {
        verification->tables[weak].used = bench_workload_uses(&plan->workload, weak == 1);
        if (verification->tables[weak].used) {
            code = bench_cluster_count(cluster, weak == 1,
                                       after ? &verification->tables[weak].after : &verification->tables[weak].before);
        }
    }
    return code;
}

// Rows that must be new, and rows that may be.
static void count_acknowledged(const struct bench_workload *workload, const struct bench_result *result,
                               struct verification *verification)
{
    for (unsigned i = 0; i < workload->n_operations; i++) {
        const struct bench_operation *operation = &workload->operations[i];
        if (operation->verb == BENCH_INSERT || operation->verb == BENCH_BULK) {
            verification->tables[operation->weak].n_acknowledged += result->tallies[i].n_rows_total;
            verification->tables[operation->weak].n_unknown += result->tallies[i].n_rows_unknown;
        }
    }
}

static void judge(const struct bench_cluster *cluster, struct verification *verification)
{
    verification->checked = true;
    verification->upheld = true;
    for (unsigned weak = 0; weak < 2; weak++) {
        if (!verification->tables[weak].used) {
            continue;
        }
        bool upheld = verification->tables[weak].after.equal;
        for (size_t i = 0; i < cluster->replicas.n; i++) {
            uint64_t n_new = verification->tables[weak].after.rows[i] - verification->tables[weak].before.rows[i];
            uint64_t n_least = verification->tables[weak].n_acknowledged;
            upheld = upheld && n_new >= n_least && n_new <= n_least + verification->tables[weak].n_unknown;
        }
        verification->tables[weak].upheld = upheld;
        verification->upheld = verification->upheld && upheld;
    }
}

static json_t *verification_json(const struct verification *verification)
{
    if (!verification->checked) {
        return json_null();
    }
    json_t *json = json_pack("{s:b, s:f}", "upheld", verification->upheld, "settled_ms", verification->settled_ms);
    for (unsigned weak = 0; weak < 2; weak++) {
        if (verification->tables[weak].used) {
            json_object_set_new(json, bench_table_name(weak == 1),
                                json_pack("{s:b, s:b, s:I, s:I, s:I, s:I}", "upheld", verification->tables[weak].upheld,
                                          "replicas_equal", verification->tables[weak].after.equal, "rows_before",
                                          (json_int_t)verification->tables[weak].before.rows[0], "rows_after",
                                          (json_int_t)verification->tables[weak].after.rows[0], "rows_acknowledged",
                                          (json_int_t)verification->tables[weak].n_acknowledged, "rows_unknown",
                                          (json_int_t)verification->tables[weak].n_unknown));
        }
    }
    return json;
}

static void print_verification(const struct verification *verification)
{
    for (unsigned weak = 0; weak < 2; weak++) {
        if (!verification->checked || !verification->tables[weak].used) {
            continue;
        }
        (void)printf("%s: %s: %llu rows before, %llu after, %llu acknowledged, %llu unknown; replicas %s, at the same "
                     "point after %.0f ms\n",
                     bench_table_name(weak == 1),
                     verification->tables[weak].upheld ? "all there" : "ROWS ARE MISSING OR TOO MANY",
                     (unsigned long long)verification->tables[weak].before.rows[0],
                     (unsigned long long)verification->tables[weak].after.rows[0],
                     (unsigned long long)verification->tables[weak].n_acknowledged,
                     (unsigned long long)verification->tables[weak].n_unknown,
                     verification->tables[weak].after.equal ? "equal" : "DIFFERENT", verification->settled_ms);
    }
}

// ---- running

static void report(const struct plan *plan, const struct bench_result *result, const struct verification *verification)
{
    const char *names[BENCH_OPERATIONS_MAX];
    for (unsigned i = 0; i < plan->workload.n_operations; i++) {
        names[i] = plan->workload.operations[i].name;
    }
    if (!plan->json) {
        bench_report_print(stdout, &plan->load, names, result);
        print_verification(verification);
        return;
    }
    json_t *json = bench_report_json(&plan->load, names, result);
    json_object_set_new(json, "to", json_string(target_names[plan->target]));
    json_object_set_new(json, "value_bytes", json_integer((json_int_t)plan->workload.value_bytes));
    json_object_set_new(json, "verification", verification_json(verification));
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    (void)puts(text);
    free(text);
    json_decref(json);
}

static enum cli_exit run_load(const struct bench_cluster *cluster, struct plan *plan, struct bench_result *result,
                              struct verification *verification)
{
    plan->load.n_addresses = choose_addresses(cluster, plan->target, plan->addresses);
    plan->load.addresses = plan->addresses;
    plan->load.protocol = &bench_workload_protocol;
    plan->load.context = &plan->workload;
    plan->load.n_operations = plan->workload.n_operations;
    plan->load.stop = &interrupted;
    plan->load.progress = plan->quiet ? NULL : bench_report_progress;
    plan->load.measuring = plan->quiet ? NULL : bench_report_measuring;
    plan->load.progress_context = stderr;
    enum cli_exit code = plan->verify ? count_tables(cluster, plan, verification, false) : CLI_OK;
    if (code != CLI_OK) {
        return code;
    }
    if (bench_engine_run(&plan->load, result) != CC_OK) {
        return cli_fail(CLI_IO, "bench: out of threads or descriptors");
    }
    if (plan->verify) {
        code = count_tables(cluster, plan, verification, true);
        if (code == CLI_OK) {
            count_acknowledged(&plan->workload, result, verification);
            judge(cluster, verification);
        }
    }
    report(plan, result, verification);
    return code;
}

static enum cli_exit verdict(const struct plan *plan, const struct bench_result *result,
                             const struct verification *verification)
{
    struct bench_sums sums;
    bench_sum(&plan->load, result, &sums);
    if ((verification->checked && !verification->upheld) || sums.n_total[BENCH_WRONG] > 0) {
        return cli_fail(CLI_CORRUPT, "bench: answers were wrong or rows are not as acknowledged");
    }
    return sums.n_total[BENCH_DONE] > 0 ? CLI_OK : cli_fail(CLI_REFUSED, "bench: not one request succeeded");
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    struct plan plan = {0};
    if (!parse_plan(arguments, &plan)) {
        return CLI_USAGE;
    }
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
    struct bench_cluster cluster;
    struct bench_result *result = cc_alloc(sizeof(*result));
    struct verification verification = {0};
    enum cli_exit code = bench_cluster_open(arguments, &cluster);
    if (code == CLI_OK) {
        code = bench_cluster_prepare(&cluster, &plan.workload);
    }
    if (code == CLI_OK && plan.load.duration_ms > 0) {
        code = run_load(&cluster, &plan, result, &verification);
        code = code == CLI_OK ? verdict(&plan, result, &verification) : code;
    }
    bench_cluster_finish(&cluster);
    free(result);
    return code;
}

static void print_mixes(void)
{
    (void)puts("\nmix: operations with commas between, each with an optional weight: read=95,update=5\n"
               "  insert            one row with a new key into bench_strong\n"
               "  bulk              --bulk-rows rows with new keys in one request\n"
               "  update            one of the --rows rows, by key\n"
               "  upsert            the same, as an insert that merges\n"
               "  read              one of the --rows rows, by key; the content is checked\n"
               "  read@LEVEL        the same at a level: linearizable, session, local, bounded:500ms\n"
               "  weak-insert, weak-bulk, weak-update, weak-upsert, weak-read, weak-read@LEVEL   on bench_weak");
}

const struct cli_command command_bench = {
    .name = "bench",
    .summary = "Load on a cluster, measured and checked.",
    .description =
        "Makes the tables bench_strong and bench_weak if they are missing, writes the rows that the mix needs, then "
        "keeps\n"
        "the clients busy and prints throughput and latency: percentiles of all requests in the measured window, "
        "counted\n"
        "from the intended start in the open loop. Every answer is checked; afterwards the rows at every replica must "
        "be as\n"
        "many as were acknowledged. Ctrl-C ends early with what was measured so "
        "far.\n"
        "Exit code 65 when an answer or the number of rows was wrong, 69 when the cluster cannot be reached.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .more_help = print_mixes,
    .run = run,
};
