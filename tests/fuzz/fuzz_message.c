// Whatever bytes a peer sends as a Raft message: refused, or read and written back the same; and a follower and a leader that receive
// it go on working.
#include "consensus/raft.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void pump(struct raft *raft)
{
    struct raft_output output;
    for (unsigned i = 0; raft_has_output(raft); i++) {
        must(i < 100);
        raft_take_output(raft, &output);
        for (size_t j = 0; j < output.n_messages; j++) {
            must(output.messages[j].from == 1);
        }
        if (output.persist_number > 0) {
            raft_persisted(raft, 0, output.persist_number);
        }
    }
}

static struct raft *new_core(void)
{
    struct raft_options options = {
        .id = 1,
        .membership = {.n_members = 3, .members = {{.id = 1, .voter = true}, {.id = 2, .voter = true}, {.id = 3, .voter = true}}},
        .election_us = 1000,
        .heartbeat_us = 100,
        .seed = 1,
    };
    return raft_create(&options, (struct raft_hard_state){.term = 3});
}

static struct raft *new_leader(void)
{
    struct raft *raft = new_core();
    raft_tick(raft, 0);
    raft_tick(raft, 2000);
    struct raft_message grant = {.kind = RAFT_PRE_VOTE_REPLY, .from = 2, .to = 1, .term = 4};
    raft_receive(raft, 2000, &grant);
    pump(raft);
    grant.kind = RAFT_VOTE_REPLY;
    raft_receive(raft, 2000, &grant);
    must(raft_role(raft) == RAFT_LEADER);
    pump(raft);
    return raft;
}

static void receive(struct raft *raft, struct raft_message message)
{
    message.to = 1;
    message.from = 2 + message.from % 2;
    raft_receive(raft, 2500, &message);
    pump(raft);
    raft_tick(raft, 3500);
    pump(raft);
    must(raft_commit(raft) <= raft_last_index(raft));
    raft_destroy(raft);
}

static void check_membership(struct cc_slice bytes)
{
    struct raft_membership membership;
    if (raft_membership_read(bytes, &membership) == CC_OK) {
        struct cc_buffer again = {0};
        raft_membership_put(&again, &membership);
        must(cc_slice_equal(bytes, cc_buffer_slice(&again)));
        cc_buffer_finish(&again);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct cc_slice bytes = cc_slice_of(data, n);
    check_membership(bytes);
    struct raft_message message;
    if (raft_message_read(bytes, &message) != CC_OK) {
        return 0;
    }
    struct cc_buffer again = {0};
    raft_message_put(&again, &message);
    must(cc_slice_equal(bytes, cc_buffer_slice(&again)));
    cc_buffer_finish(&again);
    receive(new_core(), message);
    receive(new_leader(), message);
    raft_message_finish(&message);
    return 0;
}
