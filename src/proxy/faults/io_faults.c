// Faults of a running replica's messages. A frame that is held back waits here, in the order in which frames go on.
#include "proxy/faults/io_faults.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#include "base/log.h"
#include "base/memory.h"
#include "proxy/faults/faults_json.h"
#include "proxy/config/io_keys.h"
#include "rest/error.h"

enum { HELD_BYTES_MAX = 256 << 20 };

struct held {
    uint64_t until_us;
    uint32_t from, to;
    struct cc_blob *frame;
    struct held *prev, *next;
};

struct io_faults {
    struct faults faults;
    uint32_t self;
    struct io_faults_handler handler;
    struct event *timer;
    struct held *held; // by until_us
    size_t n_held_bytes;
};

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

// -- Frames that are held back --------------------------------------------------------------------------------------

static void drop(struct io_faults *faults, struct held *held)
{
    DL_DELETE(faults->held, held);
    faults->n_held_bytes -= held->frame->n;
    cc_blob_unref(held->frame);
    free(held);
}

static void set_timer(struct io_faults *faults)
{
    if (faults->held == NULL) {
        return;
    }
    uint64_t now = now_us();
    uint64_t wait_us = faults->held->until_us > now ? faults->held->until_us - now : 0;
    struct timeval wait = {(time_t)(wait_us / 1000000), (suseconds_t)(wait_us % 1000000)};
    (void)event_add(faults->timer, &wait);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct io_faults *faults = context;
    while (faults->held != NULL && faults->held->until_us <= now_us()) {
        struct held *held = faults->held;
        struct cc_blob *frame = cc_blob_ref(held->frame);
        uint32_t from = held->from, to = held->to;
        drop(faults, held); // the handler may lose the connection
        faults->handler.release(faults->handler.context, from, to, cc_blob_slice(frame));
        cc_blob_unref(frame);
    }
    set_timer(faults);
}

static void hold(struct io_faults *faults, uint32_t from, uint32_t to, struct cc_slice frame, uint64_t until_us)
{
    struct held *held = cc_alloc(sizeof(*held));
    *held = (struct held){.until_us = until_us, .from = from, .to = to, .frame = cc_blob_create(frame.data, frame.n)};
    faults->n_held_bytes += frame.n;
    struct held *after = faults->held == NULL ? NULL : faults->held->prev; // the last one: mostly the right place
    while (after != NULL && after->until_us > until_us) {
        after = after == faults->held ? NULL : after->prev;
    }
    if (after == NULL) {
        DL_PREPEND(faults->held, held);
    } else {
        DL_APPEND_ELEM(faults->held, after, held);
    }
    set_timer(faults);
}

bool io_faults_passes(struct io_faults *faults, uint32_t from, uint32_t to, struct cc_slice frame)
{
    if (faults == NULL) {
        return true;
    }
    uint64_t now = now_us();
    struct faults_decision decision = faults_decide(&faults->faults, from, to, now);
    bool waits = decision.verdict == FAULTS_HOLD && faults->n_held_bytes + frame.n <= HELD_BYTES_MAX;
    if (waits) {
        hold(faults, from, to, frame, now + decision.delay_us);
    }
    return decision.verdict == FAULTS_DELIVER;
}

void io_faults_forget(struct io_faults *faults, uint32_t peer)
{
    struct held *held, *next;
    for (held = faults == NULL ? NULL : faults->held; held != NULL; held = next) {
        next = held->next;
        if (held->from == peer || held->to == peer) {
            drop(faults, held);
        }
    }
}

// -- Questions ------------------------------------------------------------------------------------------------------

// Connections do not lose single frames: what is lost by them was lost with them.
static void make_good(struct io_faults *faults)
{
    uint32_t from, to;
    while (faults_take_lost(&faults->faults, &from, &to)) {
        faults->handler.reset(faults->handler.context, from == faults->self ? to : from);
    }
}

static unsigned refuse(unsigned status, const char *message, const char *hint, struct cc_buffer *body_out)
{
    struct rest_error error = {
        .code = cc_slice_text("CC250"), .message = cc_slice_text(message), .hint = cc_slice_text(hint)};
    rest_error_put_body(body_out, &error);
    return status;
}

unsigned io_faults_ask(struct io_faults *faults, enum io_faults_action action, uint32_t id, struct cc_slice json,
                       struct cc_buffer *body_out)
{
    const char *why = NULL;
    switch (action) {
    case IO_FAULTS_LIST:
        break;
    case IO_FAULTS_ADD:
        if (faults_add_json(&faults->faults, json, &why) != CC_OK) {
            return refuse(400, "This rule of message faults is not possible", why, body_out);
        }
        break;
    case IO_FAULTS_REMOVE:
        if (faults_remove(&faults->faults, id) != CC_OK) {
            return refuse(404, "There is no such rule of message faults", "GET /_caucus/faults lists them", body_out);
        }
        make_good(faults);
        break;
    case IO_FAULTS_CLEAR:
        faults_clear(&faults->faults);
        make_good(faults);
        break;
    }
    faults_put_json(body_out, &faults->faults);
    return action == IO_FAULTS_ADD ? 201 : 200;
}

// -- Life -----------------------------------------------------------------------------------------------------------

struct io_faults *io_faults_create(struct event_base *base, uint32_t self, const struct io_faults_handler *handler)
{
    cc_log(CC_LOG_WARN, "testing_hooks", "faults=/_caucus/faults");
    struct io_faults *faults = cc_alloc(sizeof(*faults));
    uint64_t seed;
    io_keys_random(&seed, sizeof(seed));
    faults_init(&faults->faults, seed);
    faults->self = self;
    faults->handler = *handler;
    faults->timer = event_new(base, -1, 0, on_timer, faults);
    assert(faults->timer != NULL);
    return faults;
}

void io_faults_destroy(struct io_faults *faults)
{
    if (faults == NULL) {
        return;
    }
    while (faults->held != NULL) {
        drop(faults, faults->held);
    }
    event_free(faults->timer);
    free(faults);
}
