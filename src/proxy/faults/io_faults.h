// Faults of a running replica's messages, for tests of clusters: the rules of proxy/faults.h over the connections to the peers, asked
// for under /_caucus/faults. Only in builds with testing hooks; in all others io_faults_none.c stands in for it, where there are no
// faults and no way to ask for any.
#ifndef IO_FAULTS_H
#define IO_FAULTS_H

#include <event2/event.h>

#include "base/slice.h"

struct io_faults;

struct io_faults_handler { // called from the loop
    void *context;
    // A frame that was held back goes on.
    void (*release)(void *context, uint32_t from, uint32_t to, struct cc_slice frame);
    // The connection to the peer has lost frames, and the fault is over: it is to be made anew.
    void (*reset)(void *context, uint32_t peer);
};

// NULL without testing hooks. All functions take NULL.
struct io_faults *io_faults_create(struct event_base *base, uint32_t self, const struct io_faults_handler *handler);
void io_faults_destroy(struct io_faults *faults);
// Whether the frame goes on now. False: it is lost, or comes by handler.release (copied).
bool io_faults_passes(struct io_faults *faults, uint32_t from, uint32_t to, struct cc_slice frame);
// The connection is gone, and with it what is held back.
void io_faults_forget(struct io_faults *faults, uint32_t peer);

enum io_faults_action { IO_FAULTS_LIST, IO_FAULTS_ADD, IO_FAULTS_REMOVE, IO_FAULTS_CLEAR };
// Does what an operator asks: ADD takes rules as JSON, REMOVE the id of one. The HTTP status; the body is appended: all rules, or an
// error's.
unsigned io_faults_ask(struct io_faults *faults, enum io_faults_action action, uint32_t id, struct cc_slice json,
                       struct cc_buffer *body_out);

#endif
