// Inbox of the core thread.
#include "proxy/gateway/io_inbox.h"

#include "base/limits.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { INBOX_MESSAGES_MAX = CC_QUEUE_OPERATIONS_MAX + CC_READS_WAITING_MAX };

struct list {
    struct inbox_message *at;
    size_t n, capacity;
};

struct io_inbox {
    pthread_mutex_t lock;
    struct list lists[2]; // one fills while the other is worked off
    int filling;
    int descriptor;
};

struct io_inbox *io_inbox_create(void)
{
    int descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (descriptor < 0) {
        return NULL;
    }
    struct io_inbox *inbox = cc_alloc(sizeof(*inbox));
    pthread_mutex_init(&inbox->lock, NULL);
    inbox->descriptor = descriptor;
    return inbox;
}

void io_inbox_destroy(struct io_inbox *inbox)
{
    if (inbox == NULL) {
        return;
    }
    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; i < inbox->lists[l].n; i++) {
            cc_buffer_finish(&inbox->lists[l].at[i].bytes);
        }
        free(inbox->lists[l].at);
    }
    close(inbox->descriptor);
    pthread_mutex_destroy(&inbox->lock);
    free(inbox);
}

int io_inbox_descriptor(const struct io_inbox *inbox)
{
    return inbox->descriptor;
}

bool io_inbox_put(struct io_inbox *inbox, struct inbox_message *message)
{
    pthread_mutex_lock(&inbox->lock);
    struct list *list = &inbox->lists[inbox->filling];
    bool fits = list->n < INBOX_MESSAGES_MAX;
    bool was_empty = list->n == 0;
    if (fits) {
        list->at = cc_grow(list->at, &list->capacity, list->n + 1, sizeof(*list->at));
        list->at[list->n++] = *message;
        message->bytes = (struct cc_buffer){0};
    }
    pthread_mutex_unlock(&inbox->lock);
    if (fits && was_empty) {
        uint64_t one = 1;
        ssize_t n = write(inbox->descriptor, &one, sizeof(one));
        (void)n; // a full counter is readable all the same
    }
    return fits;
}

size_t io_inbox_take(struct io_inbox *inbox, struct inbox_message **messages_out)
{
    uint64_t count;
    ssize_t n_read = read(inbox->descriptor, &count, sizeof(count));
    (void)n_read; // nothing to read is fine
    pthread_mutex_lock(&inbox->lock);
    struct list *full = &inbox->lists[inbox->filling];
    inbox->filling = 1 - inbox->filling;
    inbox->lists[inbox->filling].n = 0; // worked off since the last call
    pthread_mutex_unlock(&inbox->lock);
    size_t n = full->n;
    *messages_out = full->at;
    return n;
}
