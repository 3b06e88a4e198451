// Tasks of the log's threads, and lists of them. Plain data: whoever holds a list guards it.
#ifndef PROXY_IO_LOG_TASK_H
#define PROXY_IO_LOG_TASK_H

#include "consensus/wal.h"

enum task_kind { TASK_LOAD, TASK_CHANGES, TASK_TRUNCATE, TASK_CREATE };

// A request to the log thread, then a plan for the second thread, then an answer for the core thread.
struct task {
    struct task *next;
    enum task_kind kind;
    uint32_t peer;
    uint64_t first, last;       // load; truncate: index, record number
    struct wal_cursor cursor;   // changes: from here on; answered: where to go on
    struct wal_plan plan;       // load
    struct wal_stretch stretch; // changes
    bool done;                  // changes: nothing comes after
    char name[WAL_NAME_BYTES];  // create
    uint64_t n_bytes;           // create
    struct raft_entry *entries; // answer of a load
    size_t n_entries;
    struct cc_buffer bytes;     // answer of changes: their bodies, back to back
    struct wal_record *records; // bodies are set when told
    size_t *body_bytes;
    size_t n_records;
    size_t records_capacity;
    size_t body_bytes_capacity;
};

// A queue.
struct task_list {
    struct task *head;
    struct task **tail;
    size_t n;
};

void task_list_init(struct task_list *list);
void task_list_add(struct task_list *list, struct task *task); // takes it over
struct task *task_list_take(struct task_list *list);           // the first; NULL: it is empty. The caller's
void task_list_finish(struct task_list *list);
void task_destroy(struct task *task);
// Of a load or of changes, by its plan: reads back what is answered. CC_NOT_FOUND: a truncation has removed it since it was planned. Other errors:
// the log is damaged, or its disk fails.
enum cc_status task_read_back(struct task *task, const struct wal_disk *disk) CC_CHECKED;

#endif
