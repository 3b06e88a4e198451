// The snapshot thread.
#include "proxy/replica/io_snapshot.h"

#include "base/memory.h"
#include "base/slice.h"
#include "proxy/postgres/io_postgres_snapshot.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    PIECE_BYTES_MAX = 8 << 20,
    PACE_BYTES_MIN = 4 << 20, // a second: a piece must come before it is asked for again
    NAP_US = 50 * 1000,
    NICE = 10, // clients come first
};

struct task { // a job, then its answer
    struct task *next;
    struct snapshot_job job;
    struct cc_buffer bytes; // of WRITE, then of READ
    struct snapshot_event event;
    struct crdt_frontier frontier;
    char text[300];
};

struct tasks {
    struct task *head, **tail;
};

struct io_snapshot {
    struct io_snapshot_options options;
    char *conninfo, *cluster, *search_path, *out_path, *in_path, *directory;
    struct event *readable;
    int descriptor;
    pthread_t thread;
    pthread_mutex_t mutex; // guards what follows
    pthread_cond_t wake;
    struct tasks todo, done;
    bool stopping;
    atomic_bool cancel; // the MAKE that runs or waits
    atomic_bool quit;
    FILE *in, *out; // of the thread alone, like what follows
    uint64_t paced_until_us;
};

// -- Lists ---------------------------------------------------------------------------------------------------------------

static void tasks_init(struct tasks *tasks)
{
    *tasks = (struct tasks){.tail = &tasks->head};
}

static void tasks_add(struct tasks *tasks, struct task *task)
{
    task->next = NULL;
    *tasks->tail = task;
    tasks->tail = &task->next;
}

static struct task *tasks_take(struct tasks *tasks)
{
    struct task *task = tasks->head;
    if (task != NULL) {
        tasks->head = task->next;
        if (tasks->head == NULL) {
            tasks->tail = &tasks->head;
        }
    }
    return task;
}

static void task_free(struct task *task)
{
    cc_buffer_finish(&task->bytes);
    free(task);
}

// -- The thread's work ---------------------------------------------------------------------------------------------------

static void close_file(FILE **file)
{
    if (*file != NULL) {
        (void)fclose(*file);
        *file = NULL;
    }
}

static enum cc_status file_failed(struct task *task, const char *what)
{
    int error = errno;
    snprintf(task->text, sizeof(task->text), "%s: %s", what, strerror(error));
    return error == ENOSPC || error == EDQUOT ? CC_NO_SPACE : CC_IO;
}

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

// Sleeps until `n_bytes` more fit into the limit.
static void pace(struct io_snapshot *snapshot, size_t n_bytes, const atomic_bool *cancel)
{
    uint64_t limit = snapshot->options.bytes_per_s_max;
    if (limit == 0) {
        return;
    }
    limit = limit > PACE_BYTES_MIN ? limit : PACE_BYTES_MIN;
    uint64_t now = now_us();
    uint64_t begin = snapshot->paced_until_us > now ? snapshot->paced_until_us : now;
    snapshot->paced_until_us = begin + n_bytes * UINT64_C(1000000) / limit;
    for (; now < begin && !atomic_load(cancel); now = now_us()) {
        uint64_t us = begin - now < NAP_US ? begin - now : NAP_US;
        struct timespec nap = {.tv_nsec = (long)(us * 1000)};
        (void)nanosleep(&nap, NULL);
    }
}

// What is written goes to the disk steadily, not all at once when the log wants to sync.
static void start_writing(FILE *file)
{
    (void)sync_file_range(fileno(file), 0, 0, SYNC_FILE_RANGE_WRITE);
}

static void pace_making(void *context, size_t n_bytes)
{
    struct io_snapshot *snapshot = context;
    start_writing(snapshot->out);
    pace(snapshot, n_bytes, &snapshot->cancel);
}

static void pace_installing(void *context, size_t n_bytes)
{
    struct io_snapshot *snapshot = context;
    pace(snapshot, n_bytes, &snapshot->quit);
}

static enum cc_status make(struct io_snapshot *snapshot, struct task *task)
{
    close_file(&snapshot->out);
    (void)mkdir(snapshot->directory, 0700);
    snapshot->out = fopen(snapshot->out_path, "w+e");
    if (snapshot->out == NULL) {
        return file_failed(task, snapshot->out_path);
    }
    struct pg_snapshot_context context = {.conninfo = snapshot->conninfo, .cluster = snapshot->cluster, .cancel = &snapshot->cancel,
                                          .pace = pace_making, .pace_context = snapshot};
    struct pg_snapshot_made made;
    enum cc_status status = pg_snapshot_make(&context, snapshot->out, &made);
    if (status != CC_OK) {
        memcpy(task->text, context.error, sizeof(task->text));
        close_file(&snapshot->out);
        (void)unlink(snapshot->out_path);
        return status;
    }
    if (fflush(snapshot->out) != 0) {
        return file_failed(task, snapshot->out_path);
    }
    task->event.index = made.index;
    task->event.schema_version = made.schema_version;
    task->event.n_bytes = (uint64_t)ftello(snapshot->out);
    task->frontier = made.frontier;
    task->event.frontier = &task->frontier;
    return CC_OK;
}

static enum cc_status read_piece(struct io_snapshot *snapshot, struct task *task)
{
    size_t n = task->job.n_bytes < PIECE_BYTES_MAX ? task->job.n_bytes : PIECE_BYTES_MAX;
    if (snapshot->out == NULL) {
        return CC_NOT_FOUND;
    }
    if (fseeko(snapshot->out, (off_t)task->job.offset, SEEK_SET) != 0) {
        return file_failed(task, snapshot->out_path);
    }
    pace(snapshot, n, &snapshot->quit);
    cc_buffer_reserve(&task->bytes, n);
    task->bytes.n = fread(task->bytes.data, 1, n, snapshot->out);
    return ferror(snapshot->out) ? file_failed(task, snapshot->out_path) : CC_OK;
}

static enum cc_status write_piece(struct io_snapshot *snapshot, struct task *task)
{
    if (task->job.offset == 0) {
        close_file(&snapshot->in);
        (void)mkdir(snapshot->directory, 0700);
        snapshot->in = fopen(snapshot->in_path, "w+e");
    }
    if (snapshot->in == NULL) {
        return file_failed(task, snapshot->in_path);
    }
    bool good = fseeko(snapshot->in, (off_t)task->job.offset, SEEK_SET) == 0 &&
                fwrite(task->bytes.data, 1, task->bytes.n, snapshot->in) == task->bytes.n && fflush(snapshot->in) == 0;
    start_writing(snapshot->in);
    return good ? CC_OK : file_failed(task, snapshot->in_path);
}

static enum cc_status install(struct io_snapshot *snapshot, struct task *task)
{
    if (snapshot->in == NULL) {
        return CC_NOT_FOUND;
    }
    rewind(snapshot->in);
    struct pg_snapshot_context context = {.conninfo = snapshot->conninfo, .cluster = snapshot->cluster,
                                          .search_path = snapshot->search_path,
                                          .cancel = &snapshot->quit, .pace = pace_installing, .pace_context = snapshot};
    enum cc_status status = pg_snapshot_install(&context, snapshot->in, task->job.index);
    memcpy(task->text, context.error, sizeof(task->text));
    close_file(&snapshot->in);
    (void)unlink(snapshot->in_path);
    return status;
}

static enum cc_status forget(struct io_snapshot *snapshot)
{
    close_file(&snapshot->out);
    (void)unlink(snapshot->out_path);
    return CC_OK;
}

static enum cc_status do_task(struct io_snapshot *snapshot, struct task *task)
{
    switch (task->job.kind) {
    case SNAPSHOT_MAKE:
        return make(snapshot, task);
    case SNAPSHOT_READ:
        return read_piece(snapshot, task);
    case SNAPSHOT_WRITE:
        return write_piece(snapshot, task);
    case SNAPSHOT_INSTALL:
        return install(snapshot, task);
    case SNAPSHOT_FORGET:
        return forget(snapshot);
    }
    return CC_INVALID;
}

static struct task *await(struct io_snapshot *snapshot)
{
    pthread_mutex_lock(&snapshot->mutex);
    while (snapshot->todo.head == NULL && !snapshot->stopping) {
        pthread_cond_wait(&snapshot->wake, &snapshot->mutex);
    }
    struct task *task = snapshot->stopping ? NULL : tasks_take(&snapshot->todo);
    pthread_mutex_unlock(&snapshot->mutex);
    return task;
}

static void *run(void *argument)
{
    struct io_snapshot *snapshot = argument;
    id_t thread = (id_t)gettid();
    if (getpriority(PRIO_PROCESS, thread) < NICE) {
        (void)setpriority(PRIO_PROCESS, thread, NICE); // of this thread alone
    }
    for (struct task *task = await(snapshot); task != NULL; task = await(snapshot)) {
        enum cc_status status = do_task(snapshot, task);
        task->event.kind = task->job.kind;
        task->event.number = task->job.number;
        task->event.status = status;
        task->event.peer = task->job.peer;
        task->event.offset = task->job.offset;
        if (status != CC_OK && task->text[0] == '\0') {
            snprintf(task->text, sizeof(task->text), "%s", cc_status_text(status));
        }
        pthread_mutex_lock(&snapshot->mutex);
        tasks_add(&snapshot->done, task);
        pthread_mutex_unlock(&snapshot->mutex);
        uint64_t one = 1;
        ssize_t n = write(snapshot->descriptor, &one, sizeof(one));
        (void)n; // a full counter is readable all the same
    }
    return NULL;
}

// -- Core thread ---------------------------------------------------------------------------------------------------------

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct io_snapshot *snapshot = context;
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof(count));
    (void)n; // nothing to read is fine
    for (;;) {
        pthread_mutex_lock(&snapshot->mutex);
        struct task *task = tasks_take(&snapshot->done);
        pthread_mutex_unlock(&snapshot->mutex);
        if (task == NULL) {
            return;
        }
        task->event.text = cc_slice_text(task->text);
        task->event.bytes = task->job.kind == SNAPSHOT_READ ? cc_buffer_slice(&task->bytes) : (struct cc_slice){0};
        snapshot->options.on_event(snapshot->options.context, &task->event);
        task_free(task);
    }
}

void io_snapshot_submit(struct io_snapshot *snapshot, const struct snapshot_job *job)
{
    struct task *task = cc_alloc(sizeof(*task));
    task->job = *job;
    cc_buffer_append_slice(&task->bytes, job->bytes);
    task->job.bytes = (struct cc_slice){0};
    if (job->kind == SNAPSHOT_MAKE) {
        atomic_store(&snapshot->cancel, false);
    }
    pthread_mutex_lock(&snapshot->mutex);
    tasks_add(&snapshot->todo, task);
    pthread_cond_signal(&snapshot->wake);
    pthread_mutex_unlock(&snapshot->mutex);
}

void io_snapshot_cancel(struct io_snapshot *snapshot)
{
    atomic_store(&snapshot->cancel, true);
}

struct io_snapshot *io_snapshot_create(const struct io_snapshot_options *options)
{
    struct io_snapshot *snapshot = cc_alloc(sizeof(*snapshot));
    snapshot->options = *options;
    snapshot->conninfo = cc_strdup(options->conninfo);
    snapshot->cluster = cc_strdup(options->cluster);
    snapshot->search_path = cc_strdup(options->search_path);
    snapshot->directory = cc_path_join(options->directory, "snapshot");
    snapshot->out_path = cc_path_join(snapshot->directory, "out");
    snapshot->in_path = cc_path_join(snapshot->directory, "in");
    (void)unlink(snapshot->out_path);
    (void)unlink(snapshot->in_path);
    tasks_init(&snapshot->todo);
    tasks_init(&snapshot->done);
    atomic_init(&snapshot->cancel, false);
    atomic_init(&snapshot->quit, false);
    snapshot->descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&snapshot->mutex, NULL);
    pthread_cond_init(&snapshot->wake, NULL);
    int error = pthread_create(&snapshot->thread, NULL, run, snapshot);
    assert(snapshot->descriptor >= 0 && error == 0); // at the start of the process
    snapshot->readable = event_new(options->base, snapshot->descriptor, EV_READ | EV_PERSIST, on_readable, snapshot);
    event_add(snapshot->readable, NULL);
    return snapshot;
}

void io_snapshot_destroy(struct io_snapshot *snapshot)
{
    if (snapshot == NULL) {
        return;
    }
    atomic_store(&snapshot->cancel, true);
    atomic_store(&snapshot->quit, true);
    pthread_mutex_lock(&snapshot->mutex);
    snapshot->stopping = true;
    pthread_cond_signal(&snapshot->wake);
    pthread_mutex_unlock(&snapshot->mutex);
    pthread_join(snapshot->thread, NULL);
    event_free(snapshot->readable);
    struct tasks *lists[] = {&snapshot->todo, &snapshot->done};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (struct task *task = tasks_take(lists[i]); task != NULL; task = tasks_take(lists[i])) {
            task_free(task);
        }
    }
    close_file(&snapshot->in);
    close_file(&snapshot->out);
    close(snapshot->descriptor);
    pthread_mutex_destroy(&snapshot->mutex);
    pthread_cond_destroy(&snapshot->wake);
    free(snapshot->conninfo);
    free(snapshot->cluster);
    free(snapshot->search_path);
    free(snapshot->directory);
    free(snapshot->out_path);
    free(snapshot->in_path);
    free(snapshot);
}
