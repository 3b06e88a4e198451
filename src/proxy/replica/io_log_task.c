// See io_log_task.h.
#include "proxy/replica/io_log_task.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/memory.h"

enum { LOAD_BYTES_MAX = 4 << 20, CHANGES_BYTES_MAX = 1 << 20 };

void task_list_init(struct task_list *list)
{
    *list = (struct task_list){.tail = &list->head};
}

void task_list_add(struct task_list *list, struct task *task)
{
    task->next = NULL;
    *list->tail = task;
    list->tail = &task->next;
    list->n++;
}

struct task *task_list_take(struct task_list *list)
{
    struct task *task = list->head;
    if (task == NULL) {
        return NULL;
    }
    list->head = task->next;
    if (list->head == NULL) {
        list->tail = &list->head;
    }
    list->n--;
    return task;
}

void task_destroy(struct task *task)
{
    for (size_t i = 0; i < task->n_entries; i++) {
        cc_blob_unref(task->entries[i].payload);
    }
    free(task->entries);
    cc_buffer_finish(&task->bytes);
    free(task->records);
    free(task->body_bytes);
    free(task);
}

void task_list_finish(struct task_list *list)
{
    for (struct task *task = task_list_take(list); task != NULL; task = task_list_take(list)) {
        task_destroy(task);
    }
}

// -- Reading back ---------------------------------------------------------------------------------------------------

static enum cc_status read_entries(struct task *task, const struct wal_disk *disk)
{
    task->entries = cc_alloc_array(CC_APPEND_ENTRIES_MAX, sizeof(*task->entries));
    size_t n = 0;
    enum cc_status status =
        wal_plan_read(disk, &task->plan, LOAD_BYTES_MAX, task->entries, CC_APPEND_ENTRIES_MAX, &n);
    task->n_entries = status == CC_OK ? n : 0;
    return status;
}

static enum cc_status take_change(void *context, const struct wal_record *record)
{
    struct task *task = context;
    size_t n = task->n_records + 1;
    task->records = cc_grow(task->records, &task->records_capacity, n, sizeof(*task->records));
    task->body_bytes = cc_grow(task->body_bytes, &task->body_bytes_capacity, n, sizeof(*task->body_bytes));
    task->records[n - 1] = (struct wal_record){.kind = record->kind, .number = record->number};
    task->body_bytes[n - 1] = record->body.n;
    cc_buffer_append_slice(&task->bytes, record->body);
    task->n_records = n;
    return CC_OK;
}

static enum cc_status read_changes(struct task *task, const struct wal_disk *disk)
{
    return wal_stretch_read(disk, &task->stretch, CHANGES_BYTES_MAX, take_change, task,
                            &task->cursor);
}

enum cc_status task_read_back(struct task *task, const struct wal_disk *disk)
{
    return task->kind == TASK_LOAD ? read_entries(task, disk) : read_changes(task, disk);
}
