// The log thread.
#include "proxy/replica/io_log.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "proxy/replica/io_disk.h"
#include "proxy/replica/io_log_task.h"

enum {
    TASKS_MAX = 256, // reads asked for and not yet done: more are answered with nothing
    SPACE_RETRY_MS = 1000,
    QUICK_SYNCS_MIN = 16, // in a row, before one is done on the core thread
};

struct io_log {
    // Of the log thread; while it waits and has nothing to do, of the core thread.
    struct io_disk *disk;
    struct wal_disk functions;
    struct wal *wal;
    bool making_segment;
    uint64_t retry_create_ms; // 0: the last attempt did not fail
    struct wal_batch writing;
    bool blocked; // it waits for space
    uint64_t slow_us, quick_us; // io_log_options
    uint32_t n_quick;           // syncs since the last one that was not quick
    uint64_t synced_us, synced_for_us; // when the last one ended, how long it took

    // Of the second thread alone.
    struct io_disk *helper_disk;
    struct wal_disk helper_functions;

    // Of the core thread alone.
    struct wal_state opened_state;
    bool failure_told;

    int event_fd;
    pthread_t log_thread, helper_thread;
    pthread_mutex_t mutex; // guards all below
    pthread_cond_t log_wake, helper_wake;
    bool log_waits, helper_waits;
    bool stopping, helper_stopping;
    bool signalled; // event_fd was written and not drained since
    struct wal_batch pending;
    bool has_pending;
    uint64_t pending_number;
    struct task_list requests; // for the log thread
    struct task_list plans;    // for the second thread
    struct task_list answers;  // for the core thread
    bool segment_made;         // by the second thread
    enum cc_status segment_status;
    size_t n_tasks;
    uint64_t synced_number, synced_record, synced_promise, told_number;
    enum cc_status failure;
    char failure_text[256];
    struct io_log_stats stats;
};

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

// -- Telling each other ---------------------------------------------------------------------------------------------

static void lock(struct io_log *log)
{
    int error = pthread_mutex_lock(&log->mutex);
    assert(error == 0);
}

static void unlock(struct io_log *log)
{
    int error = pthread_mutex_unlock(&log->mutex);
    assert(error == 0);
}

// With the mutex held. True: the caller writes the eventfd after unlocking.
static bool must_signal(struct io_log *log)
{
    bool first = !log->signalled;
    log->signalled = true;
    return first;
}

static void signal_core(const struct io_log *log)
{
    uint64_t one = 1;
    ssize_t n = write(log->event_fd, &one, sizeof(one));
    (void)n; // cannot fail but by overflow, and then it is readable anyway
}

// With the mutex held. True: the caller signals log_wake after unlocking, or the log thread would wake up only to wait for the mutex.
static bool must_wake(struct io_log *log)
{
    bool waits = log->log_waits;
    log->log_waits = false;
    return waits;
}

static void wake_log(struct io_log *log)
{
    (void)pthread_cond_signal(&log->log_wake);
}

static void give_to_helper(struct io_log *log, struct task *task)
{
    lock(log);
    task_list_add(&log->plans, task);
    if (log->helper_waits) {
        log->helper_waits = false;
        (void)pthread_cond_signal(&log->helper_wake);
    }
    unlock(log);
}

static void answer(struct io_log *log, struct task *task)
{
    lock(log);
    task_list_add(&log->answers, task);
    log->n_tasks--;
    bool tell = must_signal(log);
    unlock(log);
    if (tell) {
        signal_core(log);
    }
}

static void fail(struct io_log *log, enum cc_status status, const char *text)
{
    lock(log);
    if (log->failure == CC_OK) {
        log->failure = status;
        (void)snprintf(log->failure_text, sizeof(log->failure_text), "%s", text);
    }
    bool tell = must_signal(log);
    bool wake = must_wake(log);
    unlock(log);
    if (wake) {
        wake_log(log);
    }
    if (tell) {
        signal_core(log);
    }
}

// -- Second thread: reads back, makes segments ----------------------------------------------------------------------

static void read_back(struct io_log *log, struct task *task)
{
    enum cc_status status = task_read_back(task, &log->helper_functions);
    io_disk_forget(log->helper_disk);
    if (status != CC_OK && status != CC_NOT_FOUND) { // not found: removed by a truncation since it was planned
        char text[200];
        (void)snprintf(text, sizeof(text), "reading the log back: %s %s", cc_status_text(status),
                       io_disk_problem(log->helper_disk));
        fail(log, status, text);
    }
    answer(log, task);
}

static void make_segment(struct io_log *log, struct task *task)
{
    enum cc_status status = log->helper_functions.create(log->helper_functions.context, task->name, task->n_bytes);
    task_destroy(task);
    lock(log);
    log->segment_made = true;
    log->segment_status = status;
    bool wake = must_wake(log);
    unlock(log);
    if (wake) {
        wake_log(log);
    }
}

static struct task *await_plan(struct io_log *log)
{
    lock(log);
    while (log->plans.head == NULL && !log->helper_stopping) {
        log->helper_waits = true;
        (void)pthread_cond_wait(&log->helper_wake, &log->mutex);
    }
    log->helper_waits = false;
    struct task *task = task_list_take(&log->plans);
    unlock(log);
    return task;
}

static void *run_helper(void *argument)
{
    struct io_log *log = argument;
    (void)pthread_setname_np(pthread_self(), "caucus log 2");
    for (struct task *task = await_plan(log); task != NULL; task = await_plan(log)) {
        if (task->kind == TASK_CREATE) {
            make_segment(log, task);
        } else {
            read_back(log, task);
        }
    }
    return NULL;
}

// -- Log thread -----------------------------------------------------------------------------------------------------

struct work {
    bool has_append;
    uint64_t number; // of the last append in log->writing
    struct task_list requests;
    bool segment_made;
    enum cc_status segment_status;
    bool stop;
};

static bool has_work(const struct io_log *log)
{
    return log->has_pending || log->requests.head != NULL || log->segment_made || log->stopping ||
           log->failure != CC_OK;
}

static void take_pending(struct io_log *log, struct work *work)
{
    if (log->blocked) { // what could not be written for want of space comes first
        wal_batch_append(&log->writing, &log->pending);
        wal_batch_clear(&log->pending);
    } else {
        struct wal_batch empty = log->writing;
        log->writing = log->pending;
        log->pending = empty;
    }
    work->number = log->pending_number;
    work->has_append = log->has_pending || log->blocked;
    log->has_pending = false;
}

// True when it is time to try again to make a segment.
static bool wait_for_work(struct io_log *log)
{
    if (log->retry_create_ms == 0) {
        (void)pthread_cond_wait(&log->log_wake, &log->mutex);
        return false;
    }
    struct timespec until = {.tv_sec = (time_t)(log->retry_create_ms / 1000),
                             .tv_nsec = (long)(log->retry_create_ms % 1000) * 1000000};
    return pthread_cond_timedwait(&log->log_wake, &log->mutex, &until) == ETIMEDOUT;
}

static void take_work(struct io_log *log, struct work *work)
{
    task_list_init(&work->requests);
    lock(log);
    bool timed_out = false;
    while (!has_work(log) && !timed_out) {
        log->log_waits = true;
        timed_out = wait_for_work(log);
    }
    log->log_waits = false;
    take_pending(log, work);
    for (struct task *task = task_list_take(&log->requests); task != NULL; task = task_list_take(&log->requests)) {
        task_list_add(&work->requests, task);
    }
    work->segment_made = log->segment_made;
    work->segment_status = log->segment_status;
    log->segment_made = false;
    work->stop = log->stopping || log->failure != CC_OK;
    unlock(log);
}

static void note_segment(struct io_log *log, enum cc_status status)
{
    log->making_segment = false;
    if (status == CC_OK) {
        log->retry_create_ms = 0;
        wal_prepared(log->wal);
    } else {
        log->retry_create_ms = now_us() / 1000 + SPACE_RETRY_MS;
    }
    lock(log);
    log->stats.space_low = status == CC_NO_SPACE;
    unlock(log);
    if (status != CC_OK && status != CC_NO_SPACE) {
        fail(log, status, "making a segment of the log");
    }
}

// A batch is about to need the segment that the second thread is making.
static void await_segment(struct io_log *log)
{
    lock(log);
    while (!log->segment_made) {
        log->log_waits = true;
        (void)pthread_cond_wait(&log->log_wake, &log->mutex);
    }
    log->segment_made = false;
    enum cc_status status = log->segment_status;
    unlock(log);
    note_segment(log, status);
}

static void want_segment(struct io_log *log)
{
    if (log->making_segment || !wal_wants_prepare(log->wal) || now_us() / 1000 < log->retry_create_ms) {
        return;
    }
    struct task *task = cc_alloc(sizeof(*task));
    task->kind = TASK_CREATE;
    wal_prepare_begin(log->wal, task->name, &task->n_bytes);
    log->making_segment = true;
    give_to_helper(log, task);
}

// With the mutex held.
static void note_extent(struct io_log *log)
{
    log->stats.n_segment_bytes = wal_bytes(log->wal);
    log->stats.base_index = wal_state_of(log->wal)->base_index;
}

static void note_synced(struct io_log *log, uint64_t number, uint64_t n_bytes, uint64_t start_us)
{
    log->synced_us = now_us();
    uint64_t spent_us = log->synced_us - start_us;
    log->synced_for_us = spent_us;
    log->n_quick = spent_us <= log->quick_us ? log->n_quick + 1 : 0;
    lock(log);
    log->synced_number = number;
    log->synced_record = wal_state_of(log->wal)->durable_number;
    log->synced_promise = wal_state_of(log->wal)->promise_number;
    struct io_log_stats *stats = &log->stats;
    note_extent(log);
    stats->n_syncs++;
    stats->n_bytes += n_bytes;
    stats->n_queued_bytes -= n_bytes;
    stats->n_slow_syncs += log->slow_us > 0 && spent_us > log->slow_us;
    stats->sync_us_last = spent_us;
    stats->sync_us_total += spent_us;
    stats->sync_us_max = spent_us > stats->sync_us_max ? spent_us : stats->sync_us_max;
    bool tell = must_signal(log);
    unlock(log);
    if (tell) {
        signal_core(log);
    }
}

// Writes and syncs. False: it failed, which was told.
static bool write_batch(struct io_log *log, const struct wal_batch *batch, uint64_t number)
{
    uint64_t start_us = now_us();
    enum cc_status status = wal_append(log->wal, batch);
    if (status != CC_OK) {
        fail(log, status, io_disk_problem(log->disk));
        return false;
    }
    note_synced(log, number, batch->bytes.n, start_us);
    return true;
}

static bool write_pending(struct io_log *log, const struct work *work)
{
    if (!work->has_append) {
        return true;
    }
    bool rolls = wal_would_roll(log->wal, &log->writing);
    if (rolls) {
        want_segment(log);
    }
    if (rolls && log->making_segment) {
        await_segment(log);
    }
    log->blocked = rolls && log->retry_create_ms > 0;
    if (log->blocked) { // no space for the next segment: nothing is acknowledged until there is, or the log has been cut
        return true;
    }
    if (!write_batch(log, &log->writing, work->number)) {
        return false;
    }
    wal_batch_clear(&log->writing);
    return true;
}

static bool truncate_log(struct io_log *log, const struct task *task)
{
    if (log->making_segment) {
        return true; // truncation may append, and an append may roll over: the next request will do
    }
    enum cc_status status = wal_truncate(log->wal, task->first, task->last);
    lock(log);
    note_extent(log);
    unlock(log);
    if (status == CC_OK || status == CC_INVALID || status == CC_NO_SPACE) { // it is asked for again
        return true;
    }
    fail(log, status, io_disk_problem(log->disk));
    return false;
}

// Plans the request; what needs no reading is answered at once.
static bool handle_request(struct io_log *log, struct task *task)
{
    switch (task->kind) {
    case TASK_LOAD:
        if (wal_plan_load(log->wal, task->first, task->last, &task->plan) == CC_OK) {
            give_to_helper(log, task);
        } else {
            answer(log, task);
        }
        return true;
    case TASK_CHANGES:
        if (wal_plan_changes(log->wal, &task->cursor, &task->stretch)) {
            give_to_helper(log, task);
        } else {
            task->done = true;
            answer(log, task);
        }
        return true;
    case TASK_TRUNCATE: {
        bool ok = truncate_log(log, task);
        task_destroy(task);
        return ok;
    }
    case TASK_CREATE:
        break;
    }
    assert(false);
    return false;
}

static bool do_work(struct io_log *log, struct work *work)
{
    if (work->segment_made) {
        note_segment(log, work->segment_status);
    }
    bool ok = write_pending(log, work);
    for (struct task *task = task_list_take(&work->requests); task != NULL; task = task_list_take(&work->requests)) {
        if (ok) {
            ok = handle_request(log, task);
        } else {
            task_destroy(task);
        }
    }
    if (ok) {
        want_segment(log);
    }
    return ok;
}

// Nobody waits for it, and a log without it opens as well: a failure does no harm.
static void end_orderly(struct io_log *log)
{
    lock(log);
    bool failed = log->failure != CC_OK;
    unlock(log);
    if (!failed && !log->making_segment && !log->blocked && wal_seal(log->wal) != CC_OK) {
        fail(log, CC_IO, io_disk_problem(log->disk));
    }
}

static void *run_log(void *argument)
{
    struct io_log *log = argument;
    (void)pthread_setname_np(pthread_self(), "caucus log"); // for profiles
    for (;;) {
        struct work work;
        take_work(log, &work);
        bool ok = do_work(log, &work);
        if (ok && work.stop) {
            end_orderly(log);
        }
        if (!ok || work.stop) {
            return NULL;
        }
    }
}

// -- Core thread ----------------------------------------------------------------------------------------------------

void io_log_append(struct io_log *log, const struct wal_batch *batch, uint64_t number)
{
    lock(log);
    wal_batch_append(&log->pending, batch);
    log->pending_number = number;
    log->has_pending = true;
    log->stats.n_batches++;
    log->stats.n_queued_bytes += batch->bytes.n;
    bool wake = must_wake(log);
    unlock(log);
    if (wake) {
        wake_log(log);
    }
}

// Whether the log thread sleeps, and nothing but this thread can give it work: what is its own may be used meanwhile.
static bool is_at_rest(struct io_log *log)
{
    lock(log);
    bool rests = log->log_waits && !has_work(log) && !log->making_segment && !log->blocked && log->retry_create_ms == 0;
    unlock(log);
    return rests;
}

// Whoever writes often leaves it to the log thread, and does something else during the syncs.
static bool may_append_at_once(struct io_log *log, const struct wal_batch *batch)
{
    return log->quick_us > 0 && is_at_rest(log) && log->n_quick >= QUICK_SYNCS_MIN && now_us() - log->synced_us >= log->synced_for_us &&
           !wal_would_roll(log->wal, batch);
}

bool io_log_append_at_once(struct io_log *log, const struct wal_batch *batch, uint64_t number)
{
    if (!may_append_at_once(log, batch)) {
        return false;
    }
    lock(log);
    log->stats.n_batches++;
    log->stats.n_queued_bytes += batch->bytes.n;
    unlock(log);
    if (write_batch(log, batch, number)) {
        want_segment(log);
    }
    return true;
}

static void ask(struct io_log *log, const struct task *request)
{
    struct task *task = cc_alloc(sizeof(*task));
    *task = *request;
    lock(log);
    bool too_many = log->n_tasks >= TASKS_MAX;
    task_list_add(too_many ? &log->answers : &log->requests, task);
    bool tell = too_many && must_signal(log);
    bool wake = !too_many && must_wake(log);
    if (!too_many) {
        log->n_tasks += task->kind == TASK_TRUNCATE ? 0 : 1;
    }
    unlock(log);
    if (wake) {
        wake_log(log);
    }
    if (tell) {
        signal_core(log);
    }
}

void io_log_load(struct io_log *log, uint32_t peer, uint64_t first, uint64_t last)
{
    ask(log, &(struct task){.kind = TASK_LOAD, .peer = peer, .first = first, .last = last});
}

void io_log_load_changes(struct io_log *log, struct wal_cursor cursor)
{
    ask(log, &(struct task){.kind = TASK_CHANGES, .cursor = cursor});
}

void io_log_truncate(struct io_log *log, uint64_t index, uint64_t record_number)
{
    ask(log, &(struct task){.kind = TASK_TRUNCATE, .first = index, .last = record_number});
}

static void tell_changes(struct task *task, const struct io_log_handler *handler)
{
    size_t at = 0;
    for (size_t i = 0; i < task->n_records; i++) {
        task->records[i].body = cc_slice_of(task->bytes.data + at, task->body_bytes[i]);
        at += task->body_bytes[i];
    }
    handler->changes(handler->context, task->records, task->n_records, task->cursor, task->done);
}

static void tell_answer(struct task *task, const struct io_log_handler *handler)
{
    if (task->kind == TASK_LOAD && handler->loaded != NULL) {
        handler->loaded(handler->context, task->peer, task->entries, task->n_entries);
    }
    if (task->kind == TASK_CHANGES && handler->changes != NULL) {
        tell_changes(task, handler);
    }
    task_destroy(task);
}

void io_log_drain(struct io_log *log, const struct io_log_handler *handler)
{
    uint64_t ignored;
    ssize_t n = read(log->event_fd, &ignored, sizeof(ignored));
    (void)n; // nothing to read: called without a signal
    struct task_list answers;
    task_list_init(&answers);
    lock(log);
    log->signalled = false;
    uint64_t number = log->synced_number;
    uint64_t record_number = log->synced_record;
    uint64_t promise_number = log->synced_promise;
    bool is_new = number > log->told_number;
    log->told_number = number;
    for (struct task *task = task_list_take(&log->answers); task != NULL; task = task_list_take(&log->answers)) {
        task_list_add(&answers, task);
    }
    bool failed = log->failure != CC_OK && !log->failure_told;
    log->failure_told = log->failure != CC_OK;
    unlock(log);

    if (is_new && handler->synced != NULL) {
        handler->synced(handler->context, number, record_number, promise_number);
    }
    for (struct task *task = task_list_take(&answers); task != NULL; task = task_list_take(&answers)) {
        tell_answer(task, handler);
    }
    if (failed && handler->failed != NULL) {
        handler->failed(handler->context, log->failure, log->failure_text);
    }
}

void io_log_describe(struct io_log *log, struct io_log_stats *stats_out)
{
    lock(log);
    *stats_out = log->stats;
    unlock(log);
}

int io_log_descriptor(const struct io_log *log)
{
    return log->event_fd;
}

const struct wal_state *io_log_opened_state(const struct io_log *log)
{
    return &log->opened_state;
}

// -- Opening and closing --------------------------------------------------------------------------------------------

static void destroy(struct io_log *log)
{
    wal_close(log->wal);
    io_disk_close(log->disk);
    io_disk_close(log->helper_disk);
    wal_batch_finish(&log->pending);
    wal_batch_finish(&log->writing);
    task_list_finish(&log->requests);
    task_list_finish(&log->plans);
    task_list_finish(&log->answers);
    if (log->event_fd >= 0) {
        (void)close(log->event_fd);
    }
    (void)pthread_cond_destroy(&log->log_wake);
    (void)pthread_cond_destroy(&log->helper_wake);
    (void)pthread_mutex_destroy(&log->mutex);
    free(log);
}

static struct io_log *make(void)
{
    struct io_log *log = cc_alloc(sizeof(*log));
    task_list_init(&log->requests);
    task_list_init(&log->plans);
    task_list_init(&log->answers);
    log->event_fd = -1;
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    error |= pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    error |= pthread_mutex_init(&log->mutex, NULL);
    error |= pthread_cond_init(&log->log_wake, &attributes);
    error |= pthread_cond_init(&log->helper_wake, &attributes);
    error |= pthread_condattr_destroy(&attributes);
    assert(error == 0);
    return log;
}

static enum cc_status open_disks(struct io_log *log, const char *directory)
{
    enum cc_status status = io_disk_open(directory, IO_DISK_OWNER, &log->disk);
    if (status == CC_OK) {
        status = io_disk_open(directory, IO_DISK_HELPER, &log->helper_disk);
    }
    if (status != CC_OK) {
        return status;
    }
    log->functions = io_disk_functions(log->disk);
    log->helper_functions = io_disk_functions(log->helper_disk);
    return CC_OK;
}

static enum cc_status start_threads(struct io_log *log)
{
    log->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (log->event_fd < 0 || pthread_create(&log->helper_thread, NULL, run_helper, log) != 0) {
        return CC_IO;
    }
    if (pthread_create(&log->log_thread, NULL, run_log, log) != 0) {
        lock(log);
        log->helper_stopping = true;
        (void)pthread_cond_signal(&log->helper_wake);
        unlock(log);
        (void)pthread_join(log->helper_thread, NULL);
        return CC_IO;
    }
    return CC_OK;
}

static char *describe_problem(const struct io_log *log, enum cc_status status, const char *directory)
{
    struct cc_buffer text = {0};
    if (status == CC_EXISTS) {
        cc_buffer_printf(&text, "another process has the log in %s open", directory);
    } else if (log->disk != NULL && io_disk_problem(log->disk)[0] != '\0') {
        cc_buffer_append_text(&text, io_disk_problem(log->disk));
    } else if (status == CC_IO || status == CC_NO_SPACE || status == CC_NOT_FOUND) {
        cc_buffer_printf(&text, "the log directory %s cannot be made or opened", directory);
    }
    return text.n > 0 ? (char *)(uintptr_t)cc_buffer_text(&text) : NULL;
}

enum cc_status io_log_open(const struct io_log_options *options, wal_visit visit, void *context,
                           struct io_log **log_out, struct wal_report *report_out, char **problem_out)
{
    *report_out = (struct wal_report){0};
    struct io_log *log = make();
    log->slow_us = options->slow_us;
    log->quick_us = options->quick_us;
    enum cc_status status = open_disks(log, options->directory);
    if (status == CC_OK) {
        struct wal_options wal_options = {.segment_bytes = options->segment_bytes};
        status = wal_open(&log->functions, &wal_options, visit, context, &log->wal, report_out);
        io_disk_forget(log->disk); // opening has touched every segment
    }
    if (status == CC_OK) {
        log->opened_state = *wal_state_of(log->wal);
        note_extent(log);
        status = start_threads(log);
    }
    if (status != CC_OK) {
        if (problem_out != NULL) {
            *problem_out = describe_problem(log, status, options->directory);
        }
        destroy(log);
        return status;
    }
    *log_out = log;
    return CC_OK;
}

void io_log_close(struct io_log *log)
{
    if (log == NULL) {
        return;
    }
    lock(log);
    log->stopping = true;
    wake_log(log);
    unlock(log);
    (void)pthread_join(log->log_thread, NULL);
    lock(log);
    log->helper_stopping = true;
    (void)pthread_cond_signal(&log->helper_wake);
    unlock(log);
    (void)pthread_join(log->helper_thread, NULL);
    destroy(log);
}
