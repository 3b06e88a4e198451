// A cluster of Raft cores in one process, with checkers.
#include "scenario/raft_cluster.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"

// -- Reports --------------------------------------------------------------------------------------------------------

static void __attribute__((format(printf, 2, 3))) violate(struct cluster *cluster, const char *format, ...)
{
    if (cluster->violation[0] != '\0') {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(cluster->violation, sizeof(cluster->violation), format, arguments);
    va_end(arguments);
}

static const char *const message_names[] = {
    [RAFT_PRE_VOTE] = "PRE_VOTE",
    [RAFT_PRE_VOTE_REPLY] = "PRE_VOTE_REPLY",
    [RAFT_VOTE] = "VOTE",
    [RAFT_VOTE_REPLY] = "VOTE_REPLY",
    [RAFT_APPEND] = "APPEND",
    [RAFT_APPEND_REPLY] = "APPEND_REPLY",
    [RAFT_HEARTBEAT] = "HEARTBEAT",
    [RAFT_HEARTBEAT_REPLY] = "HEARTBEAT_REPLY",
    [RAFT_READ] = "READ",
    [RAFT_READ_REPLY] = "READ_REPLY",
    [RAFT_TIMEOUT_NOW] = "TIMEOUT_NOW",
    [RAFT_SNAPSHOT] = "SNAPSHOT",
    [RAFT_SNAPSHOT_REPLY] = "SNAPSHOT_REPLY",
};

void cluster_describe_entry(const struct raft_entry *entry, struct cc_buffer *out)
{
    cc_buffer_printf(out, "%" PRIu64 "/%" PRIu64, entry->index, entry->term);
    switch (entry->kind) {
    case RAFT_ENTRY_NOOP:
        cc_buffer_append_text(out, ":noop");
        break;
    case RAFT_ENTRY_CONFIG:
        cc_buffer_append_text(out, ":config");
        break;
    case RAFT_ENTRY_DATA:
        if (entry->payload != NULL && entry->payload->n < 32) {
            cc_buffer_append_text(out, ":");
            cc_buffer_append_slice(out, cc_blob_slice(entry->payload));
        }
        break;
    }
}

void cluster_describe(const struct raft_message *message, struct cc_buffer *out)
{
    cc_buffer_printf(out, "%u->%u %s term=%" PRIu64, message->from, message->to, message_names[message->kind],
                     message->term);
    switch (message->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        cc_buffer_printf(out, " last=%" PRIu64 "/%" PRIu64, message->log_index, message->log_term);
        cc_buffer_append_text(out, message->transfer ? " transfer" : "");
        break;
    case RAFT_APPEND:
        cc_buffer_printf(out, " after=%" PRIu64 "/%" PRIu64 " commit=%" PRIu64, message->log_index, message->log_term,
                         message->commit);
        for (size_t i = 0; i < message->n_entries; i++) {
            cc_buffer_append_text(out, " ");
            cluster_describe_entry(&message->entries[i], out);
        }
        break;
    case RAFT_APPEND_REPLY:
        if (message->reject) {
            cc_buffer_printf(out, " refused=%" PRIu64 " hint=%" PRIu64 "/%" PRIu64, message->context,
                             message->log_index, message->log_term);
            return;
        }
        cc_buffer_printf(out, " stored=%" PRIu64, message->log_index);
        return;
    case RAFT_HEARTBEAT:
        cc_buffer_printf(out, " commit=%" PRIu64 " round=%" PRIu64, message->commit, message->context);
        break;
    case RAFT_HEARTBEAT_REPLY:
        cc_buffer_printf(out, " round=%" PRIu64, message->context);
        break;
    case RAFT_READ_REPLY:
    case RAFT_SNAPSHOT:
    case RAFT_SNAPSHOT_REPLY:
        cc_buffer_printf(out, " index=%" PRIu64, message->log_index);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        cc_buffer_append_text(out, message->reject ? " refused" : " granted");
        return;
    case RAFT_READ:
    case RAFT_TIMEOUT_NOW:
        break;
    }
    cc_buffer_append_text(out, message->reject ? " refused" : "");
}

static void __attribute__((format(printf, 2, 3))) trace(struct cluster *cluster, const char *format, ...)
{
    if (cluster->trace == NULL) {
        return;
    }
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    cc_buffer_printf(cluster->trace, "%s\n", line);
}

static void trace_message(struct cluster *cluster, const char *prefix, const struct raft_message *message)
{
    if (cluster->trace != NULL) {
        cc_buffer_append_text(cluster->trace, prefix);
        cluster_describe(message, cluster->trace);
        cc_buffer_append_text(cluster->trace, "\n");
    }
}

// -- Logs with hashes -----------------------------------------------------------------------------------------------

static uint64_t log_last(const struct cluster_log *log)
{
    return log->base + log->n;
}

static const struct cluster_entry *log_entry(const struct cluster_log *log, uint64_t index)
{
    return index > log->base && index <= log_last(log) ? &log->entries[index - log->base - 1] : NULL;
}

static uint64_t log_hash(const struct cluster_log *log, uint64_t index)
{
    const struct cluster_entry *entry = log_entry(log, index);
    return entry != NULL ? entry->hash : index == log->base ? log->base_hash : 0;
}

static uint64_t hash_next(uint64_t before, const struct raft_entry *entry)
{
    static const uint8_t key[16] = "raft cluster";
    struct cc_slice payload = cc_blob_slice(entry->payload);
    uint8_t bytes[64] = {0};
    uint64_t parts[5] = {before, entry->index, entry->term, (uint64_t)entry->kind, payload.n};
    memcpy(bytes, parts, sizeof(parts));
    if (payload.n > 0) {
        memcpy(bytes + sizeof(parts), payload.data, payload.n < 24 ? payload.n : 24);
    }
    return cc_siphash(key, bytes, sizeof(bytes));
}

static void log_truncate(struct cluster_log *log, uint64_t last)
{
    while (log->n > 0 && log_last(log) > last) {
        cc_blob_unref(log->entries[--log->n].payload);
    }
}

static void log_put(struct cluster_log *log, const struct raft_entry *entry)
{
    if (entry->index <= log->base) {
        return;
    }
    log_truncate(log, entry->index - 1);
    assert(entry->index == log_last(log) + 1);
    log->entries = cc_grow(log->entries, &log->capacity, log->n + 1, sizeof(*log->entries));
    uint64_t hash = hash_next(log_hash(log, entry->index - 1), entry);
    log->entries[log->n++] = (struct cluster_entry){
        .term = entry->term,
        .hlc = entry->hlc,
        .kind = entry->kind,
        .payload = cc_blob_ref(entry->payload),
        .hash = hash,
    };
}

static void log_clear(struct cluster_log *log)
{
    log_truncate(log, log->base);
}

static struct raft_entry log_as_raft(const struct cluster_log *log, uint64_t index)
{
    const struct cluster_entry *entry = log_entry(log, index);
    return (struct raft_entry){
        .index = index, .term = entry->term, .hlc = entry->hlc, .kind = entry->kind, .payload = entry->payload};
}

static void log_copy(struct cluster_log *to, const struct cluster_log *from)
{
    log_clear(to);
    to->base = from->base;
    to->base_term = from->base_term;
    to->base_hash = from->base_hash;
    for (uint64_t index = from->base + 1; index <= log_last(from); index++) {
        struct raft_entry entry = log_as_raft(from, index);
        log_put(to, &entry);
    }
}

// The log goes on after (index, term): keeps what follows when it leads on from there.
static void log_rebase(struct cluster_log *log, uint64_t index, uint64_t term, uint64_t hash)
{
    size_t n_gone = 0;
    if (log_hash(log, index) == hash && index <= log_last(log)) {
        n_gone = (size_t)(index - log->base);
    } else {
        log_clear(log);
    }
    for (size_t i = 0; i < n_gone; i++) {
        cc_blob_unref(log->entries[i].payload);
    }
    log->n -= n_gone;
    if (n_gone > 0) {
        memmove(log->entries, log->entries + n_gone, log->n * sizeof(*log->entries));
    }
    log->base = index;
    log->base_term = term;
    log->base_hash = hash;
}

// -- Invariants -----------------------------------------------------------------------------------------------------

// I3: the same (index, term) at two servers, ever: the same log up to there.
static void check_matching(struct cluster *cluster, uint32_t id, uint64_t index, uint64_t term, uint64_t hash)
{
    for (size_t i = cluster->n_hashes; i > 0; i--) {
        const struct cluster_term_hash *known = &cluster->hashes[i - 1];
        if (known->index == index && known->term == term) {
            if (known->hash != hash) {
                violate(cluster, "I3 log matching: server %u has another log up to %" PRIu64 "/%" PRIu64, id, index,
                        term);
            }
            return;
        }
    }
    cluster->hashes =
        cc_grow(cluster->hashes, &cluster->hashes_capacity, cluster->n_hashes + 1, sizeof(*cluster->hashes));
    cluster->hashes[cluster->n_hashes++] = (struct cluster_term_hash){.index = index, .term = term, .hash = hash};
}

// The last entry that was committed before the term began; later ones a leader that comes late need not have.
static uint64_t committed_before(const struct cluster *cluster, uint64_t term)
{
    uint64_t index = cluster->n_committed;
    while (index > 0 && cluster->committed[index - 1].commit_term >= term) {
        index--;
    }
    return index;
}

// I1: one leader per term. I4: "if a log entry is committed in a given term, then that entry will be present in the logs of the leaders
// for all higher-numbered terms" (thesis figure 3.2).
static void check_leader(struct cluster *cluster, const struct cluster_server *server)
{
    uint64_t term = raft_term(server->raft);
    if (raft_role(server->raft) != RAFT_LEADER || term >= CLUSTER_TERMS_MAX || cluster->leaders[term] == server->id) {
        return;
    }
    if (cluster->leaders[term] != 0) {
        violate(cluster, "I1 two leaders in term %" PRIu64 ": %u and %u", term, cluster->leaders[term], server->id);
    }
    cluster->leaders[term] = server->id;
    uint64_t index = committed_before(cluster, term);
    if (index <= server->memory.base) {
        return;
    }
    if (log_last(&server->memory) < index || log_hash(&server->memory, index) != cluster->committed[index - 1].hash) {
        violate(cluster, "I4 leader completeness: leader %u of term %" PRIu64 " lacks the committed entry %" PRIu64,
                server->id, term, index);
    }
}

static bool majority_has(struct cluster *cluster, const struct raft_membership *membership, uint64_t index,
                         uint64_t hash)
{
    uint32_t n_voters = 0;
    uint32_t n_stored = 0;
    for (uint32_t i = 0; i < membership->n_members; i++) {
        if (!membership->members[i].voter) {
            continue;
        }
        const struct cluster_server *member = cluster_server(cluster, membership->members[i].id);
        n_voters++;
        n_stored += member->disk.base >= index || log_hash(&member->disk, index) == hash ? 1 : 0;
    }
    return n_stored >= n_voters / 2 + 1;
}

// A commit index that is new to everybody: a majority of the voters has the entry on disk (also I14: learners do not count).
// A follower may be the first to say so, when its leader and the newest membership are gone already.
static void check_quorum(struct cluster *cluster, uint32_t id, uint64_t index, uint64_t hash)
{
    bool found = !cluster->check_durability;
    for (size_t i = cluster->n_memberships; i > 0 && !found; i--) {
        found = majority_has(cluster, &cluster->memberships[i - 1], index, hash);
    }
    if (!found) {
        violate(cluster, "server %u commits %" PRIu64 " without a majority that has it on disk", id, index);
    }
}

static void note_membership(struct cluster *cluster, const struct raft_membership *membership)
{
    cluster->memberships = cc_grow(cluster->memberships, &cluster->memberships_capacity, cluster->n_memberships + 1,
                                   sizeof(*cluster->memberships));
    cluster->memberships[cluster->n_memberships++] = *membership;
}

static void check_commit(struct cluster *cluster, struct cluster_server *server, uint64_t commit)
{
    if (commit < server->commit) {
        violate(cluster, "I2 commit index of server %u fell from %" PRIu64 " to %" PRIu64, server->id, server->commit,
                commit);
    }
    for (uint64_t index = server->commit + 1; index <= commit; index++) {
        const struct cluster_entry *entry = log_entry(&server->memory, index);
        if (entry == NULL) {
            continue; // came with a snapshot
        }
        if (index <= cluster->n_committed) {
            if (cluster->committed[index - 1].hash != entry->hash) {
                violate(cluster, "I4/I7 server %u commits another entry %" PRIu64, server->id, index);
            }
            continue;
        }
        if (index != cluster->n_committed + 1) {
            violate(cluster, "server %u commits %" PRIu64 " after a gap", server->id, index);
            return;
        }
        check_quorum(cluster, server->id, index, entry->hash);
        cluster->committed = cc_grow(cluster->committed, &cluster->committed_capacity, cluster->n_committed + 1,
                                     sizeof(*cluster->committed));
        cluster->committed[cluster->n_committed] = *entry;
        cluster->committed[cluster->n_committed].commit_term = raft_term(server->raft);
        (void)cc_blob_ref(entry->payload);
        cluster->n_committed++;
    }
    server->commit = commit > server->commit ? commit : server->commit;
}

// I6: a vote or an acknowledgement that leaves is on the sender's disk.
static void check_claim(struct cluster *cluster, const struct cluster_server *server,
                        const struct raft_message *message)
{
    if (!cluster->check_durability) {
        return;
    }
    bool grants = message->kind == RAFT_VOTE_REPLY && !message->reject;
    bool newer = server->hard_state.term > message->term;
    bool voted = server->hard_state.term == message->term && server->hard_state.vote == message->to;
    if (grants && !newer && !voted) {
        violate(cluster, "I6 vote of server %u for %u in term %" PRIu64 " leaves before it is on disk", server->id,
                message->to, message->term);
    }
    bool stores = message->kind == RAFT_APPEND_REPLY && !message->reject;
    if (stores && !newer && log_last(&server->disk) < message->log_index) {
        violate(cluster, "I6 server %u acknowledges %" PRIu64 " before it is on disk", server->id, message->log_index);
    }
    if (message->kind != RAFT_PRE_VOTE && message->kind != RAFT_PRE_VOTE_REPLY &&
        server->hard_state.term < message->term) {
        violate(cluster, "I6 server %u speaks of term %" PRIu64 " before it is on disk", server->id, message->term);
    }
}

// I11: what was committed when the read began is seen.
static void check_read(struct cluster *cluster, const struct cluster_server *server,
                       const struct raft_read_result *result)
{
    for (size_t i = 0; i < cluster->n_reads; i++) {
        struct cluster_read *read = &cluster->reads[i];
        if (read->context != result->context) {
            continue;
        }
        if (read->server != server->id) {
            violate(cluster, "a read of server %u is answered at %u", read->server, server->id);
        }
        if (result->index != 0 && result->index < read->floor) {
            violate(cluster, "I11 stale read at server %u: index %" PRIu64 ", but %" PRIu64 " was committed before",
                    server->id, result->index, read->floor);
        }
        cluster->n_reads_answered += result->index != 0 ? 1 : 0;
        cluster->n_reads_failed += result->index == 0 ? 1 : 0;
        *read = cluster->reads[--cluster->n_reads];
        return;
    }
    violate(cluster, "a read is answered twice at server %u", server->id);
}

// -- Life -----------------------------------------------------------------------------------------------------------

struct cluster_server *cluster_server(struct cluster *cluster, uint32_t id)
{
    assert(id >= 1 && id <= cluster->n_servers);
    return &cluster->servers[id - 1];
}

struct raft *cluster_raft(struct cluster *cluster, uint32_t id)
{
    return cluster_server(cluster, id)->raft;
}

uint32_t cluster_leader(const struct cluster *cluster)
{
    uint32_t leader = 0;
    uint64_t term = 0;
    for (uint32_t i = 0; i < cluster->n_servers; i++) {
        const struct cluster_server *server = &cluster->servers[i];
        if (server->raft != NULL && raft_role(server->raft) == RAFT_LEADER && raft_term(server->raft) > term) {
            leader = server->id;
            term = raft_term(server->raft);
        }
    }
    return leader;
}

void cluster_start(struct cluster *cluster, const struct cluster_options *options)
{
    memset(cluster, 0, sizeof(*cluster));
    cluster->check_durability = true;
    uint32_t n_members = options->n_voters + options->n_learners;
    cluster->n_servers = n_members + options->n_outside;
    assert(cluster->n_servers <= CLUSTER_SERVERS_MAX);
    struct raft_membership membership = {.n_members = n_members};
    for (uint32_t i = 0; i < n_members; i++) {
        membership.members[i] = (struct raft_member){.id = i + 1, .voter = i < options->n_voters};
    }
    for (uint32_t i = 0; i < cluster->n_servers; i++) {
        struct cluster_server *server = &cluster->servers[i];
        server->id = i + 1;
        server->options = (struct raft_options){
            .id = i + 1,
            .membership = membership,
            .election_us = options->election_us,
            .heartbeat_us = options->heartbeat_us,
            .notice_us = options->notice_us,
            .seed = options->seed + i,
            .rank = i,
        };
        server->base_membership = membership;
        server->raft = raft_create(&server->options, server->hard_state);
    }
    note_membership(cluster, &membership);
}

static void drop_write(struct cluster_server *server, size_t at)
{
    struct cluster_write *write = &server->writes[at];
    for (size_t i = 0; i < write->n_entries; i++) {
        cc_blob_unref(write->entries[i].payload);
    }
    free(write->entries);
    server->n_writes--;
    memmove(write, write + 1, (server->n_writes - at) * sizeof(*write));
}

static void drop_reads_of(struct cluster *cluster, uint32_t id)
{
    for (size_t i = cluster->n_reads; i > 0; i--) {
        if (cluster->reads[i - 1].server == id) {
            cluster->reads[i - 1] = cluster->reads[--cluster->n_reads];
        }
    }
}

void cluster_crash(struct cluster *cluster, uint32_t id)
{
    struct cluster_server *server = cluster_server(cluster, id);
    if (server->raft == NULL) {
        return;
    }
    trace(cluster, "%u crashes", id);
    raft_destroy(server->raft);
    server->raft = NULL;
    while (server->n_writes > 0) {
        drop_write(server, server->n_writes - 1);
    }
    log_copy(&server->memory, &server->disk);
    drop_reads_of(cluster, id);
}

void cluster_restart(struct cluster *cluster, uint32_t id, uint64_t seed)
{
    struct cluster_server *server = cluster_server(cluster, id);
    if (server->raft != NULL) {
        return;
    }
    trace(cluster, "%u starts again", id);
    struct raft_options options = server->options;
    options.seed = seed;
    options.membership = server->base_membership;
    server->raft = raft_create(&options, server->hard_state);
    if (server->disk.base > 0) {
        raft_restore_base(server->raft, server->disk.base, server->disk.base_term);
    }
    for (uint64_t index = server->disk.base + 1; index <= log_last(&server->disk); index++) {
        struct raft_entry entry = log_as_raft(&server->disk, index);
        if (raft_restore_entry(server->raft, &entry) != CC_OK) {
            violate(cluster, "server %u refuses its own entry %" PRIu64, id, index);
        }
    }
    raft_restore_commit(server->raft, server->commit_durable);
    server->commit = raft_commit(server->raft);
    cluster_pump(cluster, id);
}

static void free_packet(struct cluster *cluster, size_t at)
{
    raft_message_finish(&cluster->packets[at].message);
    cluster->n_packets--;
    memmove(&cluster->packets[at], &cluster->packets[at + 1], (cluster->n_packets - at) * sizeof(*cluster->packets));
}

void cluster_finish(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->n_servers; i++) {
        struct cluster_server *server = &cluster->servers[i];
        raft_destroy(server->raft);
        while (server->n_writes > 0) {
            drop_write(server, server->n_writes - 1);
        }
        free(server->writes);
        log_clear(&server->memory);
        log_clear(&server->disk);
        free(server->memory.entries);
        free(server->disk.entries);
    }
    while (cluster->n_packets > 0) {
        free_packet(cluster, cluster->n_packets - 1);
    }
    for (size_t i = 0; i < cluster->n_committed; i++) {
        cc_blob_unref(cluster->committed[i].payload);
    }
    free(cluster->packets);
    free(cluster->committed);
    free(cluster->hashes);
    free(cluster->memberships);
    free(cluster->reads);
}

// -- Output of a core -----------------------------------------------------------------------------------------------

static struct raft_message copy_message(const struct raft_message *message)
{
    struct raft_message copy = *message;
    if (message->n_entries > 0) {
        struct raft_entry *entries = cc_alloc_array(message->n_entries, sizeof(*entries));
        for (size_t i = 0; i < message->n_entries; i++) {
            entries[i] = message->entries[i];
            (void)cc_blob_ref(entries[i].payload);
        }
        copy.entries = entries;
    }
    return copy;
}

static void push_packet(struct cluster *cluster, const struct raft_message *message)
{
    cluster->packets =
        cc_grow(cluster->packets, &cluster->packets_capacity, cluster->n_packets + 1, sizeof(*cluster->packets));
    cluster->packets[cluster->n_packets++] = (struct cluster_packet){
        .id = ++cluster->packet_last,
        .due_us = cluster->now_us + cluster->delay_us,
        .message = copy_message(message),
    };
}

static void take_write(struct cluster *cluster, struct cluster_server *server, const struct raft_output *output)
{
    if (output->persist_number == 0) {
        return;
    }
    server->writes = cc_grow(server->writes, &server->writes_capacity, server->n_writes + 1, sizeof(*server->writes));
    struct cluster_write *write = &server->writes[server->n_writes++];
    *write = (struct cluster_write){
        .number = output->persist_number,
        .has_hard_state = output->hard_state_changed,
        .hard_state = output->hard_state,
        .n_entries = output->n_entries,
    };
    if (output->n_entries == 0) {
        return;
    }
    if (output->entries[0].index <= server->commit) {
        violate(cluster, "I5 server %u replaces the committed entry %" PRIu64, server->id, output->entries[0].index);
    }
    write->entries = cc_alloc_array(output->n_entries, sizeof(*write->entries));
    for (size_t i = 0; i < output->n_entries; i++) {
        write->entries[i] = output->entries[i];
        (void)cc_blob_ref(output->entries[i].payload);
        log_put(&server->memory, &output->entries[i]);
        if (output->entries[i].kind == RAFT_ENTRY_CONFIG) {
            note_membership(cluster, raft_membership(server->raft));
        }
        check_matching(cluster, server->id, output->entries[i].index, output->entries[i].term,
                       log_hash(&server->memory, output->entries[i].index));
    }
}

static void take_messages(struct cluster *cluster, struct cluster_server *server, const struct raft_output *output)
{
    for (size_t i = 0; i < output->n_messages; i++) {
        const struct raft_message *message = &output->messages[i];
        check_claim(cluster, server, message);
        if (message->to < 1 || message->to > cluster->n_servers || message->from != server->id) {
            violate(cluster, "server %u sends to %u as %u", server->id, message->to, message->from);
            continue;
        }
        if (!cluster->cut[server->id - 1][message->to - 1]) {
            push_packet(cluster, message);
        }
    }
}

// Entries that are not in memory come from disk at once.
static void serve_load(struct cluster *cluster, struct cluster_server *server, struct raft_load load)
{
    if (load.first > load.last || load.first <= server->disk.base || load.last > log_last(&server->disk)) {
        violate(cluster, "server %u asks for entries that it does not have on disk", server->id);
        return;
    }
    size_t n = (size_t)(load.last - load.first + 1);
    struct raft_entry *entries = cc_alloc_array(n, sizeof(*entries));
    for (size_t i = 0; i < n; i++) {
        entries[i] = log_as_raft(&server->disk, load.first + i);
    }
    raft_loaded(server->raft, cluster->now_us, load.peer, entries, n);
    free(entries);
}

static void trace_role(struct cluster *cluster, const struct cluster_server *server)
{
    const struct raft *raft = server->raft;
    static const char *const names[RAFT_ROLES] = {"follower", "pre-candidate", "candidate", "leader", "learner"};
    trace(cluster, "%u is %s, term %" PRIu64 ", leader %u", server->id, names[raft_role(raft)], raft_term(raft),
          raft_leader(raft));
}

static void take_output(struct cluster *cluster, struct cluster_server *server)
{
    struct raft_output output;
    raft_take_output(server->raft, &output);
    take_write(cluster, server, &output);
    take_messages(cluster, server, &output);
    if (output.role_changed) {
        trace_role(cluster, server);
    }
    if (output.commit > server->commit) {
        trace(cluster, "%u commits %" PRIu64, server->id, output.commit);
    }
    check_commit(cluster, server, output.commit);
    for (size_t i = 0; i < output.n_reads; i++) {
        trace(cluster, "%u reads #%" PRIu64 " at %" PRIu64, server->id, output.reads[i].context, output.reads[i].index);
        check_read(cluster, server, &output.reads[i]);
    }
    struct raft_load loads[CLUSTER_SERVERS_MAX];
    size_t n_loads = output.n_loads < CLUSTER_SERVERS_MAX ? output.n_loads : CLUSTER_SERVERS_MAX;
    for (size_t i = 0; i < n_loads; i++) {
        loads[i] = output.loads[i]; // the output ends with the first call
    }
    for (size_t i = 0; i < n_loads; i++) {
        serve_load(cluster, server, loads[i]);
    }
    check_leader(cluster, server);
}

void cluster_pump(struct cluster *cluster, uint32_t id)
{
    struct cluster_server *server = cluster_server(cluster, id);
    unsigned n_turns = 0;
    while (server->raft != NULL && raft_has_output(server->raft)) {
        take_output(cluster, server);
        if (++n_turns > 1000) {
            violate(cluster, "server %u always has output", id);
            return;
        }
    }
}

// -- Events ---------------------------------------------------------------------------------------------------------

bool cluster_sync(struct cluster *cluster, uint32_t id)
{
    struct cluster_server *server = cluster_server(cluster, id);
    if (server->raft == NULL || server->n_writes == 0) {
        return false;
    }
    struct cluster_write *write = &server->writes[0];
    if (write->has_hard_state) {
        if (write->hard_state.term < server->hard_state.term) {
            violate(cluster, "I2 term of server %u falls on disk", id);
        }
        server->hard_state = write->hard_state;
    }
    for (size_t i = 0; i < write->n_entries; i++) {
        log_put(&server->disk, &write->entries[i]);
    }
    uint64_t number = write->number;
    drop_write(server, 0);
    raft_persisted(server->raft, cluster->now_us, number);
    cluster_pump(cluster, id);
    return true;
}

void cluster_deliver(struct cluster *cluster, size_t packet)
{
    assert(packet < cluster->n_packets);
    struct raft_message message = copy_message(&cluster->packets[packet].message);
    free_packet(cluster, packet);
    struct cluster_server *server = cluster_server(cluster, message.to);
    if (server->raft == NULL || cluster->cut[message.from - 1][message.to - 1]) {
        trace_message(cluster, "lost: ", &message);
    } else {
        trace_message(cluster, "", &message);
        raft_receive(server->raft, cluster->now_us, &message);
        cluster_pump(cluster, message.to);
    }
    raft_message_finish(&message);
}

void cluster_drop(struct cluster *cluster, size_t packet)
{
    trace_message(cluster, "dropped: ", &cluster->packets[packet].message);
    free_packet(cluster, packet);
}

void cluster_duplicate(struct cluster *cluster, size_t packet)
{
    struct raft_message message = copy_message(&cluster->packets[packet].message);
    push_packet(cluster, &message);
    raft_message_finish(&message);
}

void cluster_tick(struct cluster *cluster, uint32_t id)
{
    struct cluster_server *server = cluster_server(cluster, id);
    if (server->raft != NULL) {
        raft_tick(server->raft, cluster->now_us);
        cluster_pump(cluster, id);
    }
}

enum cc_status cluster_propose_blob(struct cluster *cluster, uint32_t id, enum raft_entry_kind kind,
                                    struct cc_blob *payload, uint64_t *index_out)
{
    struct cluster_server *server = cluster_server(cluster, id);
    if (server->raft == NULL) {
        return CC_UNAVAILABLE;
    }
    enum cc_status status = raft_propose(server->raft, kind, cluster->now_us, payload, index_out);
    cluster_pump(cluster, id);
    return status;
}

enum cc_status cluster_propose(struct cluster *cluster, uint32_t id, const char *text, uint64_t *index_out)
{
    struct cc_blob *payload = cc_blob_create(text, strlen(text));
    enum cc_status status = cluster_propose_blob(cluster, id, RAFT_ENTRY_DATA, payload, index_out);
    cc_blob_unref(payload);
    return status;
}

enum cc_status cluster_propose_membership(struct cluster *cluster, uint32_t id,
                                          const struct raft_membership *membership)
{
    struct cc_buffer bytes = {0};
    raft_membership_put(&bytes, membership);
    struct cc_blob *payload = cc_blob_create(bytes.data, bytes.n);
    uint64_t index = 0;
    enum cc_status status = cluster_propose_blob(cluster, id, RAFT_ENTRY_CONFIG, payload, &index);
    cc_blob_unref(payload);
    cc_buffer_finish(&bytes);
    return status;
}

void cluster_read(struct cluster *cluster, uint32_t id, unsigned n_reads)
{
    struct cluster_server *server = cluster_server(cluster, id);
    for (unsigned i = 0; i < n_reads && server->raft != NULL; i++) {
        cluster->reads =
            cc_grow(cluster->reads, &cluster->reads_capacity, cluster->n_reads + 1, sizeof(*cluster->reads));
        struct cluster_read *read = &cluster->reads[cluster->n_reads++];
        *read = (struct cluster_read){.context = ++cluster->context_last, .server = id, .floor = cluster->n_committed};
        raft_read(server->raft, cluster->now_us, read->context);
    }
    cluster_pump(cluster, id);
}

enum cc_status cluster_transfer(struct cluster *cluster, uint32_t id, uint32_t target)
{
    struct cluster_server *server = cluster_server(cluster, id);
    if (server->raft == NULL) {
        return CC_UNAVAILABLE;
    }
    enum cc_status status = raft_transfer(server->raft, cluster->now_us, target);
    cluster_pump(cluster, id);
    return status;
}

void cluster_reset_path(struct cluster *cluster, uint32_t from, uint32_t to)
{
    struct cluster_server *server = cluster_server(cluster, from);
    if (server->raft != NULL) {
        raft_peer_reset(server->raft, cluster->now_us, to);
        cluster_pump(cluster, from);
    }
}

// The membership that the committed entries up to `index` leave in force.
static struct raft_membership membership_at(const struct cluster *cluster, uint64_t index)
{
    struct raft_membership membership = cluster->servers[0].options.membership;
    for (uint64_t i = 0; i < index && i < cluster->n_committed; i++) {
        const struct cluster_entry *entry = &cluster->committed[i];
        if (entry->kind == RAFT_ENTRY_CONFIG) {
            enum cc_status status = raft_membership_read(cc_blob_slice(entry->payload), &membership);
            assert(status == CC_OK);
        }
    }
    return membership;
}

void cluster_compact(struct cluster *cluster, uint32_t id, uint64_t index)
{
    struct cluster_server *server = cluster_server(cluster, id);
    if (server->raft == NULL || index <= server->disk.base || index > server->commit) {
        return;
    }
    trace(cluster, "%u compacts to %" PRIu64, id, index);
    const struct cluster_entry *entry = &cluster->committed[index - 1];
    raft_compact(server->raft, index);
    log_rebase(&server->memory, index, entry->term, entry->hash);
    log_rebase(&server->disk, index, entry->term, entry->hash);
    server->base_membership = membership_at(cluster, index);
    server->commit_durable = server->commit_durable > index ? server->commit_durable : index;
    cluster_pump(cluster, id);
}

// A snapshot is written to disk after everything that was handed out before it.
void cluster_install(struct cluster *cluster, uint32_t id, uint64_t index)
{
    struct cluster_server *server = cluster_server(cluster, id);
    while (cluster_sync(cluster, id)) {
    }
    if (server->raft == NULL || index <= raft_commit(server->raft) || index > cluster->n_committed) {
        return;
    }
    trace(cluster, "%u installs a snapshot at %" PRIu64, id, index);
    const struct cluster_entry *entry = &cluster->committed[index - 1];
    struct raft_membership membership = membership_at(cluster, index);
    log_rebase(&server->memory, index, entry->term, entry->hash);
    log_rebase(&server->disk, index, entry->term, entry->hash);
    server->base_membership = membership;
    server->commit_durable = index;
    raft_install_snapshot(server->raft, cluster->now_us, index, entry->term, &membership);
    cluster_pump(cluster, id);
}

// -- Network and time -----------------------------------------------------------------------------------------------

void cluster_cut(struct cluster *cluster, uint32_t a, uint32_t b)
{
    cluster->cut[a - 1][b - 1] = true;
    cluster->cut[b - 1][a - 1] = true;
}

void cluster_isolate(struct cluster *cluster, uint32_t id)
{
    for (uint32_t other = 1; other <= cluster->n_servers; other++) {
        if (other != id) {
            cluster_cut(cluster, id, other);
        }
    }
}

void cluster_heal(struct cluster *cluster)
{
    memset(cluster->cut, 0, sizeof(cluster->cut));
}

void cluster_settle(struct cluster *cluster)
{
    bool busy = true;
    unsigned n_turns = 0;
    while (busy && cluster->violation[0] == '\0') {
        busy = false;
        for (uint32_t id = 1; id <= cluster->n_servers; id++) {
            while (cluster_sync(cluster, id)) {
                busy = true;
            }
        }
        if (cluster->n_packets > 0) {
            cluster_deliver(cluster, 0);
            busy = true;
        }
        if (++n_turns > 1000000) {
            violate(cluster, "the cluster does not come to rest");
        }
    }
}

void cluster_run(struct cluster *cluster, uint64_t duration_us)
{
    uint64_t end_us = cluster->now_us + duration_us;
    cluster_settle(cluster);
    while (cluster->violation[0] == '\0') {
        uint64_t next_us = UINT64_MAX;
        uint32_t next = 0;
        for (uint32_t id = 1; id <= cluster->n_servers; id++) {
            struct raft *raft = cluster_raft(cluster, id);
            if (raft != NULL && raft_next_tick_us(raft) < next_us) {
                next_us = raft_next_tick_us(raft);
                next = id;
            }
        }
        if (next == 0 || next_us > end_us) {
            break;
        }
        cluster->now_us = next_us > cluster->now_us ? next_us : cluster->now_us;
        cluster_tick(cluster, next);
        cluster_settle(cluster);
    }
    cluster->now_us = end_us;
}

bool cluster_run_until_settled(struct cluster *cluster, uint64_t limit_us)
{
    uint64_t end_us = cluster->now_us + limit_us;
    while (cluster->now_us < end_us && cluster->violation[0] == '\0') {
        uint32_t leader = cluster_leader(cluster);
        if (leader != 0 && raft_is_settled(cluster_raft(cluster, leader))) {
            return true;
        }
        cluster_run(cluster, cluster->servers[0].options.heartbeat_us);
    }
    return false;
}
