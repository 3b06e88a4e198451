// What a build without testing hooks has instead of io_faults.c and io_gateway_faults.c: no faults, and no way to ask for any.
#include "proxy/faults/io_faults.h"
#include "proxy/gateway/io_gateway_internal.h"

struct io_faults *io_faults_create(struct event_base *base, uint32_t self, const struct io_faults_handler *handler)
{
    (void)base;
    (void)self;
    (void)handler;
    return NULL;
}

void io_faults_destroy(struct io_faults *faults)
{
    (void)faults;
}

bool io_faults_passes(struct io_faults *faults, uint32_t from, uint32_t to, struct cc_slice frame)
{
    (void)faults;
    (void)from;
    (void)to;
    (void)frame;
    return true;
}

void io_faults_forget(struct io_faults *faults, uint32_t peer)
{
    (void)faults;
    (void)peer;
}

unsigned io_faults_ask(struct io_faults *faults, enum io_faults_action action, uint32_t id, struct cc_slice json,
                       struct cc_buffer *body_out)
{
    (void)faults;
    (void)action;
    (void)id;
    (void)json;
    cc_buffer_append_text(body_out, "{}");
    return 404; // nobody asks: faults_begin says that there is no such endpoint
}

bool faults_begin(struct exchange *exchange)
{
    (void)exchange;
    return false;
}
