// What the tests of the log share: a log on a simulated disk, batches made from short descriptions, what was replayed.
#ifndef WAL_FIXTURE_H
#define WAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consensus/wal.h"
#include "sim/sim_disk.h"

enum { SEEN_MAX = 4096 };

// What opening told: the living entries and changes, in order.
struct seen {
    bool identity;
    struct raft_hard_state hard_state;
    uint64_t base_index, base_term;
    struct wal_mark mark;
    uint64_t membership_index;
    struct raft_membership membership;
    size_t n_entries;
    struct raft_entry entries[SEEN_MAX]; // payloads are not kept
    size_t payload_bytes[SEEN_MAX];
    size_t n_changes;
    uint32_t changes[SEEN_MAX]; // as put_change wrote them
};

static inline enum cc_status see(void *context, const struct wal_record *record)
{
    struct seen *seen = context;
    struct wal_identity identity;
    struct raft_entry *entry = &seen->entries[seen->n_entries];
    switch (record->kind) {
    case WAL_IDENTITY:
        seen->identity = true;
        return wal_read_identity(record->body, &identity);
    case WAL_HARD_STATE:
        return wal_read_hard_state(record->body, &seen->hard_state);
    case WAL_ENTRY:
        assert_int_equal(wal_read_entry(record->body, entry), CC_OK);
        seen->payload_bytes[seen->n_entries] = entry->payload != NULL ? entry->payload->n : 0;
        cc_blob_unref(entry->payload);
        entry->payload = NULL;
        seen->n_entries++;
        return CC_OK;
    case WAL_CHANGE:
        assert_true(record->body.n >= 4);
        memcpy(&seen->changes[seen->n_changes++], record->body.data, 4);
        return CC_OK;
    case WAL_BASE:
        return wal_read_base(record->body, &seen->base_index, &seen->base_term);
    case WAL_MARK:
        return wal_read_mark(record->body, &seen->mark);
    case WAL_MEMBERSHIP:
        return wal_read_membership(record->body, &seen->membership_index, &seen->membership);
    }
    return CC_MALFORMED;
}

static inline void put_identity(struct wal_batch *batch)
{
    wal_put_identity(batch, &(struct wal_identity){.cluster = "shop", .replica = 2, .incarnation = 7});
}

static inline void put_entry(struct wal_batch *batch, uint64_t index, uint64_t term, size_t n_payload)
{
    struct raft_entry entry = {.index = index, .term = term, .hlc = index * 10, .kind = RAFT_ENTRY_DATA};
    uint8_t *payload = malloc(n_payload + 1);
    memset(payload, (int)(index & 0xff), n_payload);
    entry.payload = n_payload > 0 ? cc_blob_create(payload, n_payload) : NULL;
    wal_put_entry(batch, &entry);
    cc_blob_unref(entry.payload);
    free(payload);
}

static inline void put_change(struct wal_batch *batch, uint32_t value, size_t n_bytes)
{
    uint8_t *body = calloc(1, n_bytes + 4);
    memcpy(body, &value, 4);
    wal_put_change(batch, cc_slice_of(body, n_bytes + 4));
    free(body);
}

struct fixture {
    struct sim_disk disk;
    struct wal_disk functions;
    struct wal_options options;
    struct wal *wal;
    struct wal_report report;
    struct seen *seen;
};

static inline void fixture_init(struct fixture *fixture, uint64_t segment_bytes)
{
    *fixture = (struct fixture){.options = {.segment_bytes = segment_bytes}};
    sim_disk_init(&fixture->disk);
    fixture->functions = sim_disk_functions(&fixture->disk);
    fixture->seen = calloc(1, sizeof(*fixture->seen));
}

static inline enum cc_status fixture_open(struct fixture *fixture)
{
    wal_close(fixture->wal);
    fixture->wal = NULL;
    *fixture->seen = (struct seen){0};
    return wal_open(&fixture->functions, &fixture->options, see, fixture->seen, &fixture->wal, &fixture->report);
}

static inline void fixture_finish(struct fixture *fixture)
{
    wal_close(fixture->wal);
    sim_disk_finish(&fixture->disk);
    free(fixture->seen);
}

static inline void fixture_append(struct fixture *fixture, struct wal_batch *batch)
{
    assert_int_equal(wal_append(fixture->wal, batch), CC_OK);
    wal_batch_clear(batch);
}

// An open log with its identity and entries 1..n of term 1, each appended (and synced) on its own.
static inline void fixture_with_entries(struct fixture *fixture, uint64_t segment_bytes, uint64_t n_entries,
                                        size_t n_payload)
{
    fixture_init(fixture, segment_bytes);
    assert_int_equal(fixture_open(fixture), CC_OK);
    struct wal_batch batch = {0};
    put_identity(&batch);
    wal_put_hard_state(&batch, (struct raft_hard_state){.term = 1, .vote = 2});
    fixture_append(fixture, &batch);
    for (uint64_t i = 1; i <= n_entries; i++) {
        put_entry(&batch, i, 1, n_payload);
        fixture_append(fixture, &batch);
    }
    wal_batch_finish(&batch);
}

// The same state of the disk in a fixture of its own, with the log not open.
static inline void fixture_fork(struct fixture *fork, const struct fixture *fixture)
{
    *fork = (struct fixture){.options = fixture->options};
    sim_disk_copy(&fork->disk, &fixture->disk);
    fork->functions = sim_disk_functions(&fork->disk);
    fork->seen = calloc(1, sizeof(*fork->seen));
}

#endif
