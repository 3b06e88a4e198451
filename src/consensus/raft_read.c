// Read indexes (thesis 6.4): a leader confirms its office with one round of heartbeats, shared by all reads that waited for it;
// a follower asks its leader, likewise one request for all reads that waited.
#include <assert.h>
#include <string.h>

#include "base/memory.h"
#include "consensus/raft_internal.h"

static void push_result(struct raft *raft, uint64_t context, uint64_t index)
{
    raft->results = cc_grow(raft->results, &raft->results_capacity, raft->n_results + 1, sizeof(*raft->results));
    raft->results[raft->n_results++] = (struct raft_read_result){.context = context, .index = index};
}

// index 0: failed.
static void answer(struct raft *raft, const struct raft_pending_read *read, uint64_t index)
{
    if (read->from == raft->options.id) {
        push_result(raft, read->context, index);
        return;
    }
    struct raft_message reply = {
        .kind = RAFT_READ_REPLY,
        .to = read->from,
        .term = raft->term,
        .log_index = index,
        .context = read->context,
        .reject = index == 0,
    };
    raft_queue(raft, &reply, 0);
    raft_tell_commit(raft, read->from);
}

static void push_read(struct raft *raft, uint32_t from, uint64_t context)
{
    struct raft_reads *reads = &raft->reads;
    if (reads->head > 0 && reads->head + reads->n == reads->capacity) {
        memmove(reads->reads, reads->reads + reads->head, reads->n * sizeof(*reads->reads));
        reads->head = 0;
    }
    reads->reads = cc_grow(reads->reads, &reads->capacity, reads->head + reads->n + 1, sizeof(*reads->reads));
    reads->reads[reads->head + reads->n++] = (struct raft_pending_read){.from = from, .context = context};
}

// Answers all reads of the oldest round.
static void pop_round(struct raft *raft, uint64_t index)
{
    struct raft_reads *reads = &raft->reads;
    size_t n = reads->rounds[0].n_reads;
    for (size_t i = 0; i < n; i++) {
        answer(raft, &reads->reads[reads->head + i], index);
    }
    reads->head = n == reads->n ? 0 : reads->head + n;
    reads->n -= n;
    reads->n_sent -= n;
    reads->n_rounds--;
    memmove(reads->rounds, reads->rounds + 1, reads->n_rounds * sizeof(reads->rounds[0]));
}

void raft_reads_fail(struct raft *raft)
{
    struct raft_reads *reads = &raft->reads;
    for (size_t i = 0; i < reads->n; i++) {
        answer(raft, &reads->reads[reads->head + i], 0);
    }
    reads->head = 0;
    reads->n = 0;
    reads->n_sent = 0;
    reads->n_rounds = 0;
}

static void accept(struct raft *raft, uint32_t from, uint64_t context)
{
    struct raft_pending_read read = {.from = from, .context = context};
    if (raft->leader == 0 || raft->reads.n >= CC_READS_WAITING_MAX) {
        answer(raft, &read, 0);
        return;
    }
    if (cc_mutant(CC_MUTANT_READ_WITHOUT_ROUND) && raft->role == RAFT_LEADER && raft_is_settled(raft)) {
        answer(raft, &read, raft->commit);
        return;
    }
    push_read(raft, from, context);
}

void raft_read(struct raft *raft, uint64_t now_us, uint64_t context)
{
    raft_advance(raft, now_us);
    accept(raft, raft->options.id, context);
}

// "If the leader has not yet marked an entry from its current term committed, it waits until it has done so" (thesis 6.4).
bool raft_reads_wait(const struct raft *raft)
{
    const struct raft_reads *reads = &raft->reads;
    bool settled = raft_is_settled(raft) || cc_mutant(CC_MUTANT_READ_BEFORE_SETTLED);
    bool may_begin = raft->role == RAFT_LEADER ? settled : raft->leader != 0;
    return may_begin && reads->n > reads->n_sent && reads->n_rounds < RAFT_READ_ROUNDS_MAX;
}

// "the leader needs to make sure it has not been superseded by a newer leader of which it is unaware: it issues a new round of
// heartbeats" (thesis 6.4). Reads that come later wait for the next round: this one may have been answered already (FAILURES A7).
void raft_reads_begin_round(struct raft *raft)
{
    if (!raft_reads_wait(raft)) {
        return;
    }
    struct raft_reads *reads = &raft->reads;
    if (cc_mutant(CC_MUTANT_READ_JOINS_ROUND) && reads->n_rounds > 0) {
        reads->rounds[reads->n_rounds - 1].n_reads += reads->n - reads->n_sent;
        reads->n_sent = reads->n;
        return;
    }
    struct raft_round *round = &reads->rounds[reads->n_rounds++];
    *round = (struct raft_round){.sent_us = raft->now_us, .n_reads = reads->n - reads->n_sent};
    reads->n_sent = reads->n;
    if (raft->role != RAFT_LEADER) {
        round->id = ++raft->read_id;
        struct raft_message message = {.kind = RAFT_READ, .to = raft->leader, .term = raft->term, .context = round->id};
        raft_queue(raft, &message, 0);
        return;
    }
    round->id = ++raft->round;
    round->index = raft->commit; // "saves the current commit index in a local variable readIndex"
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        raft->peers[i].heartbeat_due = raft->peers[i].heartbeat_due || raft->peers[i].voter;
    }
    raft->feed_due = true;
    raft_reads_confirm(raft); // a cluster of one voter
}

void raft_reads_confirm(struct raft *raft)
{
    if (raft->reads.n_rounds == 0) {
        return;
    }
    uint64_t acked[CC_REPLICAS_MAX];
    for (uint32_t i = 0; i < raft->n_peers; i++) {
        acked[i] = raft->peers[i].round_acked;
    }
    uint64_t confirmed = raft_quorum_value(raft, raft->round, acked);
    while (raft->reads.n_rounds > 0 && raft->reads.rounds[0].id <= confirmed) {
        pop_round(raft, raft->reads.rounds[0].index);
    }
}

// A request or its answer may be lost: its reads fail after an election timeout.
void raft_reads_tick(struct raft *raft)
{
    struct raft_reads *reads = &raft->reads;
    while (reads->n_rounds > 0 && raft->now_us - reads->rounds[0].sent_us >= raft->options.election_us) {
        pop_round(raft, 0);
    }
}

void raft_on_read(struct raft *raft, const struct raft_message *message)
{
    struct raft_pending_read read = {.from = message->from, .context = message->context};
    if (raft->role != RAFT_LEADER) {
        answer(raft, &read, 0);
        return;
    }
    accept(raft, message->from, message->context);
}

// An index given for a later request serves the earlier ones, too: it is no smaller than theirs would be.
void raft_on_read_reply(struct raft *raft, const struct raft_message *message)
{
    struct raft_reads *reads = &raft->reads;
    if (raft->role == RAFT_LEADER || message->from != raft->leader || reads->n_rounds == 0) {
        return;
    }
    uint64_t newest = reads->rounds[reads->n_rounds - 1].id;
    if (message->context > newest || message->context < reads->rounds[0].id) {
        return;
    }
    uint64_t index = message->reject ? 0 : message->log_index;
    while (reads->n_rounds > 0 && reads->rounds[0].id <= message->context) {
        pop_round(raft, index);
    }
}
