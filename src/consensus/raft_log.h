// The log in memory: the terms of all entries as a run-length list, the entries themselves from a cache start on.
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include "consensus/message.h"

struct raft_term_run { // entries from `first` on have this term, up to the next run
    uint64_t first;
    uint64_t term;
};

// The entries [cache_first, cache_first + n) are in memory, contiguous; the cache is a suffix of the log, perhaps an empty one.
struct raft_log {
    uint64_t base_index, base_term; // the log begins after this
    struct raft_term_run *runs;
    size_t n_runs, runs_capacity;
    struct raft_entry *entries; // the cache begins at entries[head]
    size_t head, n, capacity;
    uint64_t cache_first;
    size_t cache_bytes;
};

void raft_log_init(struct raft_log *log);
void raft_log_finish(struct raft_log *log);

uint64_t raft_log_last(const struct raft_log *log);
// 0 when the log does not reach to the index (also for the index 0).
uint64_t raft_log_term_at(const struct raft_log *log, uint64_t index);
// The log holds (index, term), or begins after it.
bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term);
// NULL when it is not in memory. Valid until the log changes.
const struct raft_entry *raft_log_entry(const struct raft_log *log, uint64_t index);
// What an entry counts in the cache.
size_t raft_log_entry_bytes(const struct raft_entry *entry);

// entry->index must be the last index plus one, its term at least the last one. Takes a reference on the payload.
void raft_log_append(struct raft_log *log, const struct raft_entry *entry);
// Removes everything above `last`.
void raft_log_truncate(struct raft_log *log, uint64_t last);
// Drops the first entry of the cache from memory; its term stays known.
void raft_log_evict_first(struct raft_log *log);
// The log begins after `index` now, which it holds.
void raft_log_compact(struct raft_log *log, uint64_t index);
// Empties the log; it begins after (index, term).
void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term);
// The greatest index at or below `index` whose term is at most `term`: above it two logs, of which one has `term` at
// `index`, cannot agree (thesis 3.5, at the end). May fall just below the base, where nothing is known.
uint64_t raft_log_agreement(const struct raft_log *log, uint64_t index, uint64_t term);

#endif
