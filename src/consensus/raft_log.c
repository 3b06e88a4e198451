// The log in memory: a run-length list of terms, and a cache of the newest entries.
#include "consensus/raft_log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void raft_log_init(struct raft_log *log)
{
    memset(log, 0, sizeof(*log));
    log->cache_first = 1;
}

static void release_payloads(struct raft_log *log, size_t from)
{
    for (size_t i = from; i < log->n; i++) {
        const struct raft_entry *entry = &log->entries[log->head + i];
        log->cache_bytes -= raft_log_entry_bytes(entry);
        cc_blob_unref(entry->payload);
    }
}

void raft_log_finish(struct raft_log *log)
{
    release_payloads(log, 0);
    free(log->entries);
    free(log->runs);
    raft_log_init(log);
}

uint64_t raft_log_last(const struct raft_log *log)
{
    return log->cache_first + log->n - 1;
}

// The run that holds `index`, which lies in (base, last].
static size_t run_of(const struct raft_log *log, uint64_t index)
{
    size_t low = 0;
    size_t high = log->n_runs;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (log->runs[middle].first <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

uint64_t raft_log_term_at(const struct raft_log *log, uint64_t index)
{
    if (index == log->base_index) {
        return log->base_term;
    }
    if (index < log->base_index || index > raft_log_last(log)) {
        return 0;
    }
    if (log->runs[log->n_runs - 1].first <= index) { // nearly always
        return log->runs[log->n_runs - 1].term;
    }
    return log->runs[run_of(log, index)].term;
}

bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term)
{
    return index >= log->base_index && index <= raft_log_last(log) && raft_log_term_at(log, index) == term;
}

const struct raft_entry *raft_log_entry(const struct raft_log *log, uint64_t index)
{
    if (index < log->cache_first || index - log->cache_first >= log->n) {
        return NULL;
    }
    return &log->entries[log->head + (size_t)(index - log->cache_first)];
}

size_t raft_log_entry_bytes(const struct raft_entry *entry)
{
    return sizeof(*entry) + cc_blob_slice(entry->payload).n;
}

// Room for one more entry at the end: moves the cache to the front when half of the array is unused, else grows it.
static void make_room(struct raft_log *log)
{
    if (log->head + log->n < log->capacity) {
        return;
    }
    if (log->head > 0 && log->head >= log->n) {
        memmove(log->entries, log->entries + log->head, log->n * sizeof(*log->entries));
        log->head = 0;
        return;
    }
    log->entries = cc_grow(log->entries, &log->capacity, log->head + log->n + 1, sizeof(*log->entries));
}

static void add_run(struct raft_log *log, uint64_t first, uint64_t term)
{
    if (log->n_runs > 0 && log->runs[log->n_runs - 1].term == term) {
        return;
    }
    log->runs = cc_grow(log->runs, &log->runs_capacity, log->n_runs + 1, sizeof(*log->runs));
    log->runs[log->n_runs++] = (struct raft_term_run){.first = first, .term = term};
}

void raft_log_append(struct raft_log *log, const struct raft_entry *entry)
{
    uint64_t last = raft_log_last(log);
    assert(entry->index == last + 1);
    assert(entry->term >= raft_log_term_at(log, last));
    make_room(log);
    struct raft_entry *place = &log->entries[log->head + log->n];
    *place = *entry;
    (void)cc_blob_ref(place->payload);
    log->n++;
    log->cache_bytes += raft_log_entry_bytes(place);
    add_run(log, entry->index, entry->term);
}

void raft_log_truncate(struct raft_log *log, uint64_t last)
{
    assert(last >= log->base_index);
    if (last >= raft_log_last(log)) {
        return;
    }
    size_t n_kept = last >= log->cache_first ? (size_t)(last - log->cache_first + 1) : 0;
    release_payloads(log, n_kept);
    log->n = n_kept;
    if (log->cache_first > last + 1) {
        log->cache_first = last + 1;
    }
    while (log->n_runs > 0 && log->runs[log->n_runs - 1].first > last) {
        log->n_runs--;
    }
}

void raft_log_evict_first(struct raft_log *log)
{
    assert(log->n > 0);
    const struct raft_entry *entry = &log->entries[log->head];
    log->cache_bytes -= raft_log_entry_bytes(entry);
    cc_blob_unref(entry->payload);
    log->head++;
    log->n--;
    log->cache_first++;
}

void raft_log_compact(struct raft_log *log, uint64_t index)
{
    assert(index >= log->base_index && index <= raft_log_last(log));
    if (index == log->base_index) {
        return;
    }
    uint64_t term = raft_log_term_at(log, index);
    while (log->cache_first <= index) {
        raft_log_evict_first(log);
    }
    log->base_index = index;
    log->base_term = term;
    size_t n_gone = 0;
    while (n_gone + 1 < log->n_runs && log->runs[n_gone + 1].first <= index + 1) {
        n_gone++;
    }
    if (index == raft_log_last(log)) {
        n_gone = log->n_runs;
    }
    log->n_runs -= n_gone;
    memmove(log->runs, log->runs + n_gone, log->n_runs * sizeof(*log->runs));
    if (log->n_runs > 0 && log->runs[0].first <= index) {
        log->runs[0].first = index + 1;
    }
}

void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term)
{
    release_payloads(log, 0);
    log->head = 0;
    log->n = 0;
    log->n_runs = 0;
    log->cache_first = index + 1;
    log->base_index = index;
    log->base_term = term;
}

// The first run with a greater term, or n_runs.
static size_t run_above(const struct raft_log *log, uint64_t term)
{
    size_t low = 0;
    size_t high = log->n_runs;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (log->runs[middle].term <= term) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint64_t raft_log_agreement(const struct raft_log *log, uint64_t index, uint64_t term)
{
    size_t above = run_above(log, term);
    uint64_t agreed = above < log->n_runs ? log->runs[above].first - 1 : raft_log_last(log);
    agreed = index < agreed ? index : agreed;
    bool base_is_above = log->base_term > term && log->base_index > 0;
    return agreed == log->base_index && base_is_above ? agreed - 1 : agreed;
}
