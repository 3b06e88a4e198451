// The load generator: threads of epoll loops that keep many connections busy, measure and count. It knows no protocol.
//
// Closed loop: every client sends its next request when the last one is answered.
// Open loop: requests have intended start times at a fixed rate; one that finds no free client waits, and its latency counts from
// the intended start, so a stall of the server is seen by every request that should have been sent meanwhile.
#ifndef CLI_BENCH_ENGINE_H
#define CLI_BENCH_ENGINE_H

#include "base/prng.h"
#include "cli/bench_address.h"
#include "cli/bench_histogram.h"
#include "cli/bench_verdict.h"

#include <stdatomic.h>

enum {
    BENCH_OPERATIONS_MAX = 16,
    BENCH_CLIENTS_MAX = 20000,
    BENCH_THREADS_MAX = 64,
    BENCH_STATUSES = 600, // counted by number; 0: no answer
};

enum bench_outcome {
    BENCH_DONE,    // executed, answer as expected
    BENCH_REFUSED, // the server says: not executed, try again
    BENCH_UNKNOWN, // no answer, or the server does not know
    BENCH_FAILED,  // an error that does not belong to the workload
    BENCH_WRONG,   // success was claimed, but the content is not what it must be
    BENCH_OUTCOMES
};

// One client: what a protocol remembers between and within requests. Zeroed at the start, except number and prng.
struct bench_session {
    uint32_t number;
    struct cc_prng prng;
    unsigned operation; // of the request under way; the protocol sets it
    uint32_t n_rows;    // that the request under way writes or reads
    uint64_t key[2];
    uint32_t sequence; // requests sent
    uint64_t user;     // the protocol's own
    struct cc_buffer token;
    struct cc_buffer scratch;
    const struct bench_address *address;
};

struct bench_reply {
    enum bench_outcome outcome;
    unsigned status;        // below BENCH_STATUSES
    bool close;             // the server ends the connection
    struct cc_slice detail; // shown for the first FAILED and WRONG answers; borrows from the input or scratch
};

// How requests are written and answers read. `context` is shared by all threads: read only.
struct bench_protocol {
    // Bytes that a new connection begins with; may be NULL.
    void (*open)(const void *context, struct bench_session *session, struct cc_buffer *out);
    // Appends the next request and sets operation and n_rows.
    void (*request)(const void *context, struct bench_session *session, struct cc_buffer *out);
    // Looks for one answer at the beginning of `input`. May append bytes to `out` (flow control). *n_taken_out is set always.
    enum bench_verdict (*answer)(const void *context, struct bench_session *session, struct cc_slice input,
                                 struct cc_buffer *out, size_t *n_taken_out, struct bench_reply *reply_out);
};

// What happened in the last second, for the progress line.
struct bench_progress {
    const char *phase; // "warm-up", "measure"
    double at_s;       // since the start
    double seconds;    // the interval's
    uint64_t n_done;
    uint64_t n_bad; // everything else
    uint64_t p50_ns, p99_ns;
};

struct bench_load {
    const struct bench_protocol *protocol;
    const void *context;
    const struct bench_address *addresses; // client i is at home at address i modulo n; the others are for fail-over
    size_t n_addresses;
    unsigned n_clients;
    unsigned n_threads;
    unsigned n_operations;
    double rate; // requests per second; 0: closed loop
    uint64_t warmup_ms, duration_ms;
    uint64_t timeout_ms; // of one request, also of draining at the end
    uint64_t pause_ms;   // of a client that was refused
    uint64_t seed;
    const atomic_bool *stop; // ends the run early; may be NULL
    void (*progress)(void *context,
                     const struct bench_progress *progress); // each second, on the calling thread; may be NULL
    void (*measuring)(void *context, bool on);               // the window begins, ends; may be NULL
    void *progress_context;
};

struct bench_tally {
    uint64_t n[BENCH_OUTCOMES];       // in the measured window
    uint64_t n_rows;                  // of those that are done
    uint64_t n_total[BENCH_OUTCOMES]; // of the whole run, warm-up and draining included
    uint64_t n_rows_total;            // done
    uint64_t n_rows_unknown;          // outcome unknown, whole run
    struct bench_histogram latency;   // of those that are done in the window
};

struct bench_result {
    double seconds; // length of the window
    double cpu_us;  // of this process in the window
    struct bench_tally tallies[BENCH_OPERATIONS_MAX];
    uint64_t statuses[BENCH_STATUSES];
    uint64_t n_reconnects;
    uint64_t
        n_unsent; // open loop: in the window, never sent; they are in `unsent` with the time they had waited by then
    struct bench_histogram unsent;
    struct bench_histogram refused; // in the window: how long it took to be told
    char sample[512]; // the first answer that failed or was wrong; empty if none
};

uint64_t bench_now_ns(void); // monotonic

// Blocks until everything is done. *result_out is the caller's memory (large: from the heap), overwritten.
// CC_IO: out of descriptors or threads.
enum cc_status bench_engine_run(const struct bench_load *load, struct bench_result *result_out) CC_CHECKED;

#endif
