// bench_etcd: the load of `caucus bench` on etcd, for comparison. Same generator, same rows, same checks of every answer.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/memory.h"
#include "cli/bench_call.h"
#include "cli/bench_report.h"
#include "cli/command.h"
#include "etcd_protocol.h"

enum { PRELOAD_ROWS = 100, CALL_MS = 30 * 1000 };

static const struct cli_option options[] = {
    {.name = "url", .argument = "URL", .help = "A member; may be repeated. Clients are spread over them."},
    {.name = "protocol", .argument = "NAME", .fallback = "grpc", .help = "grpc or http."},
    {.name = "mix",
     .argument = "MIX",
     .fallback = "insert",
     .help = "insert, update, read, read@local (serializable), with weights."},
    {.name = "clients", .argument = "N", .fallback = "64", .help = "Connections, each with one call under way."},
    {.name = "threads", .argument = "N", .fallback = "2", .help = "Threads of the load generator."},
    {.name = "duration",
     .argument = "MS",
     .fallback = "10000",
     .help = "Milliseconds that are measured; 0: write the rows only."},
    {.name = "warmup", .argument = "MS", .fallback = "2000", .help = "Milliseconds of load before."},
    {.name = "rate", .argument = "R", .fallback = "0", .help = "Open loop with R calls per second; 0: closed loop."},
    {.name = "rows", .argument = "N", .fallback = "10000", .help = "Rows that are there for update and read."},
    {.name = "value-bytes", .argument = "N", .fallback = "100", .help = "Size of a value."},
    {.name = "prepare", .help = "Write the rows first."},
    {.name = "json", .help = "The result as one JSON document on stdout."},
};

static bool parse_load(const struct cli_arguments *arguments, struct bench_load *load, struct bench_workload *workload)
{
    uint32_t clients, threads, duration_ms, warmup_ms, rate, rows, value_bytes;
    if (!cli_number(arguments, "clients", 1, BENCH_CLIENTS_MAX, &clients) ||
        !cli_number(arguments, "threads", 1, BENCH_THREADS_MAX, &threads) ||
        !cli_number(arguments, "duration", 0, 86400000, &duration_ms) ||
        !cli_number(arguments, "warmup", 0, 3600000, &warmup_ms) ||
        !cli_number(arguments, "rate", 0, 100000000, &rate) || !cli_number(arguments, "rows", 1, 1000000000, &rows) ||
        !cli_number(arguments, "value-bytes", BENCH_VALUE_BYTES_MIN, ETCD_GRPC_VALUE_BYTES_MAX, &value_bytes)) {
        return false;
    }
    bool known = bench_mix_parse(cli_text(arguments, "mix"), workload) == CC_OK;
    for (unsigned i = 0; known && i < workload->n_operations; i++) {
        const struct bench_operation *operation = &workload->operations[i];
        known = !operation->weak && operation->verb != BENCH_BULK && operation->verb != BENCH_UPSERT;
    }
    workload->n_rows = rows;
    workload->value_bytes = value_bytes;
    *load = (struct bench_load){.context = workload,
                                .n_clients = clients,
                                .n_threads = threads < clients ? threads : clients,
                                .n_operations = workload->n_operations,
                                .rate = rate,
                                .warmup_ms = warmup_ms,
                                .duration_ms = duration_ms,
                                .timeout_ms = 15000,
                                .pause_ms = 10};
    if (!known) {
        (void)cli_fail(CLI_USAGE, "bench_etcd: cannot do the mix %s", cli_text(arguments, "mix"));
    }
    return known;
}

static size_t parse_addresses(const struct cli_arguments *arguments, struct bench_address *addresses_out)
{
    size_t n = 0;
    for (const char *url = cli_nth(arguments, "url", 0); url != NULL && n < BENCH_ADDRESSES_MAX;
         url = cli_nth(arguments, "url", n)) {
        if (bench_address_parse(url, &addresses_out[n]) != CC_OK) {
            (void)cli_fail(CLI_USAGE, "bench_etcd: %s is not an address that resolves", url);
            return 0;
        }
        n++;
    }
    if (n == 0) {
        (void)cli_fail(CLI_USAGE, "bench_etcd: --url is missing");
    }
    return n;
}

static enum cli_exit prepare(const struct bench_address *address, const struct bench_workload *workload)
{
    struct bench_call call;
    struct cc_buffer request = {0};
    enum cc_status status = CC_OK;
    struct bench_http_answer answer = {.status = 200};
    bench_call_init(&call, address);
    for (uint64_t at = 0; at < workload->n_rows && status == CC_OK && answer.status == 200; at += PRELOAD_ROWS) {
        uint64_t to = at + PRELOAD_ROWS < workload->n_rows ? at + PRELOAD_ROWS : workload->n_rows;
        cc_buffer_clear(&request);
        etcd_http_put_rows(&request, workload, address->text, at, to);
        status = bench_call_run(&call, cc_buffer_slice(&request), CALL_MS, &answer);
    }
    cc_buffer_finish(&request);
    bench_call_finish(&call);
    bool done = status == CC_OK && answer.status == 200;
    return done ? CLI_OK
                : cli_fail(CLI_REFUSED, "bench_etcd: cannot write the rows: %s, status %u", cc_status_text(status),
                           answer.status);
}

static void report(const struct bench_load *load, const struct bench_workload *workload,
                   const struct bench_result *result, bool json)
{
    const char *names[BENCH_OPERATIONS_MAX];
    for (unsigned i = 0; i < workload->n_operations; i++) {
        names[i] = workload->operations[i].name;
    }
    if (!json) {
        bench_report_print(stdout, load, names, result);
        return;
    }
    json_t *report = bench_report_json(load, names, result);
    char *text = json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    (void)puts(text);
    free(text);
    json_decref(report);
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    struct bench_workload workload = {0};
    struct bench_load load;
    struct bench_address addresses[BENCH_ADDRESSES_MAX];
    const char *protocol = cli_text(arguments, "protocol");
    if (!parse_load(arguments, &load, &workload)) {
        return CLI_USAGE;
    }
    load.n_addresses = parse_addresses(arguments, addresses);
    load.addresses = addresses;
    load.protocol = strcmp(protocol, "http") == 0 ? &etcd_http_protocol : &etcd_grpc_protocol;
    load.progress = bench_report_progress;
    load.measuring = bench_report_measuring;
    load.progress_context = stderr;
    if (load.n_addresses == 0 || getrandom(&load.seed, sizeof(load.seed), 0) != (ssize_t)sizeof(load.seed)) {
        return CLI_USAGE;
    }
    if (cli_is_given(arguments, "prepare")) {
        enum cli_exit code = prepare(&addresses[0], &workload);
        if (code != CLI_OK) {
            return code;
        }
    }
    if (load.duration_ms == 0) {
        return CLI_OK;
    }
    struct bench_result *result = cc_alloc(sizeof(*result));
    enum cli_exit code = bench_engine_run(&load, result) == CC_OK ? CLI_OK : CLI_IO;
    struct bench_sums sums;
    bench_sum(&load, result, &sums);
    report(&load, &workload, result, cli_is_given(arguments, "json"));
    bool right = sums.n_total[BENCH_WRONG] == 0 && sums.n_total[BENCH_DONE] > 0;
    free(result);
    return code != CLI_OK ? code : right ? CLI_OK : CLI_CORRUPT;
}

int main(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "bench_etcd",
        .summary = "The load of caucus bench on etcd.",
        .description = "For bench/compare: the same generator, rows and checks as caucus bench.",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
        .run = run};
    struct cli_arguments arguments;
    char error[200];
    if (!cli_parse(&command, argc - 1, argv + 1, &arguments, error)) {
        return (int)cli_fail(CLI_USAGE, "bench_etcd: %s", error);
    }
    if (cli_wants_help(&arguments)) {
        cli_print_help(&command);
        return CLI_OK;
    }
    return (int)run(&arguments);
}
