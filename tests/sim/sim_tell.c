// What a failing seed tells: messages, facts and jobs in words, and at the end where everybody stands.
#include "sim/sim.h"

#include "consensus/message.h"
#include "consensus/raft_internal.h"
#include "proxy/node/node_internal.h"
#include "sim/sim_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FRAME_HEAD_BYTES = 18, FRAME_RAFT = 2 };

static const char *frame_name(uint8_t kind)
{
    static const char *const names[] = {
        [1] = "hello",   [2] = "raft",   [3] = "forward", [4] = "forward reply", [5] = "frontier", [6] = "changes",       [7] = "removed",
        [8] = "ask",     [9] = "told",   [10] = "stable", [12] = "member",       [13] = "member reply", [14] = "compare", [15] = "states",
        [16] = "digests", [17] = "gap", [19] = "forgotten", [20] = "pull",       [21] = "piece",
    };
    bool known = kind < sizeof(names) / sizeof(names[0]) && names[kind] != NULL;
    return known ? names[kind] : "of a kind that is not known";
}

static const char *message_name(enum raft_message_kind kind)
{
    static const char *const names[] = {
        [RAFT_PRE_VOTE] = "pre-vote?",       [RAFT_PRE_VOTE_REPLY] = "pre-vote",    [RAFT_VOTE] = "vote?",
        [RAFT_VOTE_REPLY] = "vote",          [RAFT_APPEND] = "append",              [RAFT_APPEND_REPLY] = "appended",
        [RAFT_HEARTBEAT] = "heartbeat",      [RAFT_HEARTBEAT_REPLY] = "heartbeat heard", [RAFT_READ] = "read?",
        [RAFT_READ_REPLY] = "read",          [RAFT_TIMEOUT_NOW] = "campaign now",   [RAFT_SNAPSHOT] = "snapshot needed",
        [RAFT_SNAPSHOT_REPLY] = "snapshot there",
    };
    return names[kind];
}

static void put_message(const struct raft_message *message, struct cc_buffer *line)
{
    cc_buffer_printf(line, "%s%s term %" PRIu64, message_name(message->kind), message->reject ? " REFUSED" : "", message->term);
    if (message->log_index > 0) {
        cc_buffer_printf(line, " log %" PRIu64, message->log_index);
    }
    if (message->log_term > 0) {
        cc_buffer_printf(line, " of term %" PRIu64, message->log_term);
    }
    if (message->n_entries > 0) {
        cc_buffer_printf(line, " entries %" PRIu64 " to %" PRIu64, message->entries[0].index, message->entries[message->n_entries - 1].index);
    }
    if (message->commit > 0) {
        cc_buffer_printf(line, " commit %" PRIu64, message->commit);
    }
    if (message->context > 0) {
        cc_buffer_printf(line, " round %" PRIx64, message->context);
    }
    cc_buffer_append_text(line, message->transfer ? " (transfer)" : "");
}

void sim_tell_frame(struct sim *sim, uint32_t from, uint32_t to, struct cc_slice frame)
{
    struct raft_message message;
    struct cc_slice body = cc_slice_of(frame.data + FRAME_HEAD_BYTES, frame.n - FRAME_HEAD_BYTES);
    bool is_raft = frame.data[1] == FRAME_RAFT && raft_message_read(body, &message) == CC_OK;
    struct cc_buffer line = {0};
    if (is_raft) {
        put_message(&message, &line);
        raft_message_finish(&message);
    } else {
        cc_buffer_append_text(&line, frame_name(frame.data[1]));
    }
    sim_trace_line(sim, "r%u <- r%u %s", to, from, cc_buffer_text(&line));
    cc_buffer_finish(&line);
}

static const char *fact_name(enum node_fact_kind kind)
{
    switch (kind) {
    case NODE_FACT_ROLE:
        return "role";
    case NODE_FACT_PEER_REFUSED:
        return "refuses peer";
    case NODE_FACT_DIVERGED:
        return "diverged";
    case NODE_FACT_SCHEMA:
        return "schema";
    case NODE_FACT_CLOCK:
        return "clock of a peer is ahead";
    case NODE_FACT_REQUEUED:
        return "executes again";
    case NODE_FACT_RECOVERED:
        return "recovered";
    case NODE_FACT_FORGOT:
        return "forgot";
    case NODE_FACT_SNAPSHOT_PULL:
        return "pulls a snapshot";
    case NODE_FACT_SNAPSHOT_MADE:
        return "made a snapshot";
    case NODE_FACT_SNAPSHOT_INSTALLED:
        return "installed a snapshot";
    case NODE_FACT_SNAPSHOT_FAILED:
        return "snapshot failed";
    case NODE_FACT_MEMBERS:
        return "members";
    case NODE_FACT_REMOVED:
        return "removed";
    case NODE_FACT_PROMOTED:
        return "promotes";
    case NODE_FACT_RELOAD:
        return "reload";
    case NODE_FACT_TWO_CONTENTS:
        return "two contents";
    case NODE_FACT_RESTORED:
        return "restored";
    case NODE_FACT_ORIGIN:
        return "begins an origin";
    case NODE_FACT_TOO_OLD:
        return "too old";
    case NODE_FACT_HISTORY_GAP:
        return "gap in the history";
    case NODE_FACT_REJOIN:
        return "must begin anew";
    case NODE_FACT_BEGIN_ANEW:
        return "begins anew";
    case NODE_FACT_CHANGES_MISSING:
        return "misses changes of its own";
    case NODE_FACT_CHANGES_LOST:
        return "has lost changes";
    case NODE_FACT_RENEWED:
        return "has renewed";
    case NODE_FACT_CATCH_UP:
        return "catches up";
    case NODE_FACT_CAUGHT_UP:
        return "caught up";
    case NODE_FACT_CATCH_UP_ENDED:
        return "catching up ended";
    case NODE_FACT_DIGESTS_DIFFER:
        return "digests differ";
    case NODE_FACT_REPAIRED:
        return "repaired";
    case NODE_FACT_REPAIR_GOES_ON:
        return "compares again";
    case NODE_FACT_REPLAY:
        return "applies again";
    }
    return "?";
}

void sim_tell_fact(struct sim *sim, const struct sim_replica *replica, const struct node_fact *fact)
{
    const char *text = fact->text == NULL ? "" : fact->text;
    if (fact->kind == NODE_FACT_ROLE) {
        sim_trace_line(sim, "r%u is %s, term %" PRIu64 ", leader r%" PRIu64, replica->id,
                       fact->a == RAFT_PRE_CANDIDATE ? "pre-candidate" : raft_role_name((enum raft_role)fact->a), fact->b, fact->c);
        return;
    }
    sim_trace_line(sim, "r%u says: %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %s", replica->id, fact_name(fact->kind), fact->a, fact->b, fact->c, text);
}

const char *sim_job_name(enum db_job_kind kind)
{
    static const char *const names[] = {
        [DB_EXECUTE] = "execute",   [DB_COMMIT] = "commit",           [DB_ROLLBACK] = "rollback",           [DB_APPLY] = "apply",
        [DB_WEAK_EXECUTE] = "execute", [DB_WEAK_COMMIT] = "commit", [DB_WEAK_ROLLBACK] = "rollback", [DB_MERGE] = "merge", [DB_FETCH] = "fetch", [DB_BEGIN_ANEW] = "begin anew", [DB_PUT_ASIDE] = "put aside", [DB_RENEW] = "renew",
    };
    return (size_t)kind < sizeof(names) / sizeof(names[0]) && names[kind] != NULL ? names[kind] : "other";
}

// -- The end ------------------------------------------------------------------------------------------------------------

static void put_members(const struct raft_membership *membership)
{
    for (uint32_t i = 0; i < membership->n_members; i++) {
        printf("%s%u%s", i == 0 ? "" : ",", membership->members[i].id, membership->members[i].voter ? "" : "(learner)");
    }
}

static void put_node(const struct sim_replica *replica)
{
    const struct raft *raft = node_raft(replica->node);
    const struct wal_state *durable = wal_state_of(replica->wal);
    printf(" %s term %" PRIu64 " vote r%u (on disk %" PRIu64 "/r%u), leader r%u, log %" PRIu64 "-%" PRIu64 " (on disk to %" PRIu64 "), commit %" PRIu64
           ", members ",
           raft_role(raft) == RAFT_PRE_CANDIDATE ? "pre-candidate" : raft_role_name(raft_role(raft)), raft_term(raft), raft->vote,
           durable->hard_state.term, durable->hard_state.vote, raft_leader(raft), raft_first_index(raft), raft_last_index(raft), durable->last_index,
           raft_commit(raft));
    put_members(raft_membership(raft));
    printf(" of entry %" PRIu64, raft_membership_index(raft));
}

static void put_replica(const struct sim *sim, const struct sim_replica *replica)
{
    printf("r%u.%u:%s%s%s%s%s%s", replica->id, replica->incarnation, replica->absent ? " absent" : replica->alive ? "" : " dead",
           replica->paused_until_us > sim->now_us ? " paused" : "", replica->is_new ? " new log" : "", replica->is_copy ? " older copy" : "",
           replica->disk.full ? " disk full" : replica->space_low ? " disk nearly full" : "", replica->told_slow ? " disk slow" : "");
    if (replica->alive) {
        put_node(replica);
    }
    const struct sim_rows *rows = sim_database_rows(replica->database);
    struct crdt_frontier frontier;
    sim_rows_frontier(rows, &frontier);
    printf("; database%s applied %" PRIu64 " (flushed %" PRIu64 "), weak", sim_database_is_up(replica->database) ? "" : " down", sim_rows_applied(rows),
           rows->applied_flushed);
    for (uint32_t i = 0; i < frontier.n; i++) {
        printf(" %u.%u/%" PRIu64, frontier.at[i].origin.replica, frontier.at[i].origin.incarnation, frontier.at[i].sequence);
    }
    printf("; clock %+" PRId64 " ms\n", replica->clock_offset_ms);
}

void sim_tell_end(const struct sim *sim)
{
    uint64_t first = sim->n_trace > SIM_TRACE_LINES ? sim->n_trace - SIM_TRACE_LINES : 0;
    for (uint64_t i = first; i < sim->n_trace && !sim->print_trace; i++) {
        printf("%s\n", sim->trace[i % SIM_TRACE_LINES]);
    }
    printf("knobs:");
#define SIM_KNOB_PRINT(name) printf(" " #name "=%" PRIu64, sim->knobs.name);
    SIM_KNOBS(SIM_KNOB_PRINT)
#undef SIM_KNOB_PRINT
    printf("\n");
    for (uint32_t i = 0; i < sim->n_replicas; i++) {
        put_replica(sim, &sim->replicas[i]);
    }
    sim_network_tell(sim);
    sim_check_tell(sim);
}
