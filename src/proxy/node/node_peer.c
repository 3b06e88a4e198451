// Other replicas: their connections, and the frames between nodes: {u8 version, u8 kind, u64 hlc, u64 wall ms, body}. Every frame carries
// the clock of its sender.
#include "proxy/node/node_internal.h"

static const char other_version[] = "it speaks another version of the protocol between replicas";

enum { LENGTH_BYTES_MAX = 10 }; // of a string

enum frame_kind {
    FRAME_HELLO = 1,         // facts of the database, incarnation
    FRAME_RAFT = 2,          // raft_message
    FRAME_FORWARD = 3,       // u8 forward_flag, operation
    FRAME_FORWARD_REPLY = 4, // id, u64 index, outcome
    FRAME_FRONTIER = 5,      // applied, schema version, role, flags, what the log holds, term, frontier, u32 incarnation of the sender's origin,
                             // u64 index of its membership, what it has received of the receiver's own changes as a frontier
    FRAME_CHANGES = 6,       // count, change sets
    FRAME_REMOVED = 7,       // index: the membership committed there does not have the receiver
    FRAME_ASK = 8,           // u64 context
    FRAME_TOLD = 9,          // u64 context, frontier of what was acknowledged
    FRAME_STABLE = 10,       // u32 incarnation of the sender's origin, crdt_claim, frontier of what is on disk in PostgreSQL
    FRAME_MEMBER = 12,       // u64 request, u8 action, member: a step of a reload, for the leader
    FRAME_MEMBER_REPLY = 13, // u64 request, u8 verdict, why
    FRAME_COMPARE = 14,      // u64 round, table, u32 first bucket, sums of the asker's buckets, u8 whole
    FRAME_STATES = 15,       // u64 round, table, u32 first bucket, u32 bucket to go on from, u32 rows, states, u8 whole, then: u64 bound,
                             // u32 schema version, buckets, frontier
    FRAME_DIGESTS = 16,      // frontier, digests of the weak tables there
    FRAME_GAP = 17,          // origin, u64 sequence: the history there has this change set no longer
    FRAME_TOO_OLD = 18,      // u32 incarnation, u64 sequence: this change set of an origin of the receiver comes too late
    FRAME_FORGOTTEN = 19,    // u64 index, u64 promise: your log had at least these; index UINT64_MAX: you are a copy of an earlier life
    FRAME_PULL = 20,         // snapshot_pull
    FRAME_PIECE = 21,        // snapshot_piece
};

struct peer *peer_find(struct node *node, uint32_t id)
{
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].id == id) {
            return &node->peers[i];
        }
    }
    return NULL;
}

static struct cc_buffer frame_begin(struct node *node, enum frame_kind kind)
{
    struct cc_buffer frame = {0};
    cc_put_u8(&frame, NODE_FRAME_VERSION);
    cc_put_u8(&frame, (uint8_t)kind);
    cc_put_u64(&frame, node->clock.last);
    cc_put_u64(&frame, node->time.wall_ms);
    return frame;
}

static void frame_send(struct node *node, uint32_t peer, struct cc_buffer *frame)
{
    node_send(node, peer, cc_buffer_slice(frame));
    cc_buffer_finish(frame);
}

// -- Sending ---------------------------------------------------------------------------------------------------------

void peer_send_raft(struct node *node, const struct raft_message *message)
{
    struct peer *peer = peer_find(node, message->to);
    if (peer == NULL || !peer->up || peer->refused != NULL) {
        return;
    }
    struct cc_buffer frame = frame_begin(node, FRAME_RAFT);
    raft_message_put(&frame, message);
    frame_send(node, peer->id, &frame);
}

void peer_send_hello(struct node *node, struct peer *peer)
{
    struct cc_buffer frame = frame_begin(node, FRAME_HELLO);
    cc_put_u32(&frame, node->options.incarnation);
    cc_put_string(&frame, cc_buffer_slice(&node->facts_of_database));
    frame_send(node, peer->id, &frame);
}

void peer_send_frontier(struct node *node, struct peer *peer)
{
    struct cc_buffer frame = frame_begin(node, FRAME_FRONTIER);
    cc_put_u64(&frame, node->strong.applied);
    cc_put_u32(&frame, node->strong.schema_version);
    cc_put_u8(&frame, (uint8_t)raft_role(node->raft));
    bool has_database = node->strong.state == STRONG_FOLLOW || node->strong.state == STRONG_LEAD;
    bool may_lead = has_database && !node->stopping && !node->sick && !disk_is_sick(node) && !office_declines(node) && recovery_is_over(node);
    cc_put_u8(&frame, (uint8_t)((node->weak.up ? FRONTIER_HELD : 0) | (node->stopping ? FRONTIER_STOPPING : 0) |
                                (may_lead ? FRONTIER_MAY_LEAD : 0) | (forward_relays(node) ? FRONTIER_RELAYS : 0) |
                                (peer->told_deaf ? FRONTIER_DEAF : 0) | recovery_flags(node)));
    cc_put_u64(&frame, raft_last_index(node->raft));
    cc_put_u64(&frame, node->log_promise);
    cc_put_u64(&frame, raft_term(node->raft));
    weak_put_frontier(node, &frame);
    cc_put_u32(&frame, node->weak.self.incarnation);
    cc_put_u64(&frame, raft_membership_index(node->raft));
    weak_put_received(node, peer, &frame);
    recovery_told(node, peer);
    frame_send(node, peer->id, &frame);
}

void peer_tell_deaf(struct node *node)
{
    for (uint32_t i = 0; i < node->n_peers; i++) {
        struct peer *peer = &node->peers[i];
        bool deaf = raft_role(node->raft) == RAFT_LEADER && node->time.now_us - peer->heard_us >= node->options.raft.election_us;
        if (peer->up && peer->member && deaf != peer->told_deaf) {
            peer->told_deaf = deaf;
            peer_send_frontier(node, peer);
        }
    }
}

void peer_send_stable(struct node *node, struct peer *peer, const struct crdt_claim *claim, const struct crdt_frontier *flushed)
{
    struct cc_buffer frame = frame_begin(node, FRAME_STABLE);
    cc_put_u32(&frame, node->weak.self.incarnation);
    cc_put_u64(&frame, claim->sequence);
    cc_put_u64(&frame, claim->hlc);
    cc_put_u64(&frame, claim->held);
    crdt_frontier_put(&frame, flushed);
    frame_send(node, peer->id, &frame);
}

void peer_send_compare(struct node *node, const struct peer *peer, const struct repair_job *question)
{
    struct cc_buffer frame = frame_begin(node, FRAME_COMPARE);
    cc_put_u64(&frame, question->round);
    cc_put_string(&frame, question->table);
    cc_put_u32(&frame, question->from);
    cc_put_string(&frame, question->sums);
    cc_put_u8(&frame, question->whole);
    frame_send(node, peer->id, &frame);
}

void peer_send_states(struct node *node, const struct peer *peer, const struct repair_event *states)
{
    struct cc_buffer frame = frame_begin(node, FRAME_STATES);
    cc_put_u64(&frame, states->round);
    cc_put_string(&frame, states->table);
    cc_put_u32(&frame, states->from);
    cc_put_u32(&frame, states->next);
    cc_put_u32(&frame, states->n_rows);
    cc_put_string(&frame, states->bytes);
    cc_put_u8(&frame, states->moment != NULL);
    if (states->moment != NULL) {
        cc_put_u64(&frame, states->moment->bound);
        cc_put_u32(&frame, states->moment->schema_version);
        cc_put_string(&frame, states->buckets);
        crdt_frontier_put(&frame, &states->moment->frontier);
    }
    frame_send(node, peer->id, &frame);
}

void peer_send_gap(struct node *node, const struct peer *peer, struct crdt_origin origin, uint64_t sequence)
{
    struct cc_buffer frame = frame_begin(node, FRAME_GAP);
    cc_put_u32(&frame, origin.replica);
    cc_put_u32(&frame, origin.incarnation);
    cc_put_u64(&frame, sequence);
    frame_send(node, peer->id, &frame);
}

void peer_send_too_old(struct node *node, const struct peer *peer, struct crdt_origin origin, uint64_t sequence)
{
    struct cc_buffer frame = frame_begin(node, FRAME_TOO_OLD);
    cc_put_u32(&frame, origin.replica);
    cc_put_u32(&frame, origin.incarnation);
    cc_put_u64(&frame, sequence);
    frame_send(node, peer->id, &frame);
}

void peer_send_digests(struct node *node, const struct peer *peer, struct cc_slice digests)
{
    struct cc_buffer frame = frame_begin(node, FRAME_DIGESTS);
    cc_put_bytes(&frame, digests);
    frame_send(node, peer->id, &frame);
}

void peer_send_removed(struct node *node, uint32_t id, uint64_t index)
{
    struct cc_buffer frame = frame_begin(node, FRAME_REMOVED);
    cc_put_u64(&frame, index);
    frame_send(node, id, &frame);
}

void peer_send_member(struct node *node, uint32_t id, uint64_t request, const struct node_member_change *change)
{
    struct cc_buffer frame = frame_begin(node, FRAME_MEMBER);
    struct raft_member member = {.id = change->member.id};
    if (change->action == NODE_MEMBER_ADD) {
        member_put(&change->member, &member);
    }
    cc_put_u64(&frame, request);
    cc_put_u8(&frame, (uint8_t)change->action);
    cc_put_u32(&frame, member.id);
    cc_put_string(&frame, cc_slice_of(member.details, member.n_details));
    frame_send(node, id, &frame);
}

void peer_send_member_reply(struct node *node, uint32_t id, uint64_t request, uint8_t verdict, const char *why)
{
    struct cc_buffer frame = frame_begin(node, FRAME_MEMBER_REPLY);
    cc_put_u64(&frame, request);
    cc_put_u8(&frame, verdict);
    cc_put_string(&frame, cc_slice_text(why));
    frame_send(node, id, &frame);
}

void peer_tell_frontier(struct node *node)
{
    node->weak.frontier_told_us = node->time.now_us;
    node->weak.frontier_moved = false;
    for (uint32_t i = 0; i < node->n_peers; i++) {
        if (node->peers[i].up) {
            peer_send_frontier(node, &node->peers[i]);
        }
    }
}

void peer_ask_frontier(struct node *node, struct peer *peer, uint64_t context)
{
    struct cc_buffer frame = frame_begin(node, FRAME_ASK);
    cc_put_u64(&frame, context);
    frame_send(node, peer->id, &frame);
}

void peer_send_forward(struct node *node, struct peer *peer, const struct pending *pending)
{
    struct cc_buffer frame = frame_begin(node, FRAME_FORWARD);
    cc_put_u8(&frame, (uint8_t)((pending->uncertain ? FORWARD_UNCERTAIN : 0) | (pending->relayed ? FORWARD_RELAYED : 0)));
    cc_put_bytes(&frame, cc_blob_slice(pending->operation));
    frame_send(node, peer->id, &frame);
}

void peer_send_forward_reply(struct node *node, uint32_t id, const uint8_t operation[OPERATION_ID_BYTES], uint64_t index,
                             struct cc_slice outcome)
{
    struct peer *peer = peer_find(node, id);
    if (peer == NULL || !peer->up) {
        return;
    }
    struct cc_buffer frame = frame_begin(node, FRAME_FORWARD_REPLY);
    cc_put_bytes(&frame, cc_slice_of(operation, OPERATION_ID_BYTES));
    cc_put_u64(&frame, index);
    cc_put_string(&frame, outcome);
    frame_send(node, peer->id, &frame);
    raft_tell_commit(node->raft, id); // its client may read there next
}

void peer_send_changes(struct node *node, struct peer *peer, const struct cc_slice *sets, size_t n_sets)
{
    struct cc_buffer frame = frame_begin(node, FRAME_CHANGES);
    size_t n_bytes = 0;
    for (size_t i = 0; i < n_sets; i++) {
        n_bytes += sets[i].n + LENGTH_BYTES_MAX;
    }
    cc_buffer_reserve(&frame, n_bytes);
    cc_put_varint(&frame, n_sets);
    for (size_t i = 0; i < n_sets; i++) {
        cc_put_string(&frame, sets[i]);
    }
    frame_send(node, peer->id, &frame);
}

void peer_send_forgotten(struct node *node, const struct peer *peer, struct log_extent had)
{
    struct cc_buffer frame = frame_begin(node, FRAME_FORGOTTEN);
    cc_put_u64(&frame, had.index);
    cc_put_u64(&frame, had.promise);
    frame_send(node, peer->id, &frame);
}

void peer_send_pull(struct node *node, uint32_t id, const struct snapshot_pull *pull)
{
    struct cc_buffer frame = frame_begin(node, FRAME_PULL);
    cc_put_u64(&frame, pull->id);
    cc_put_u64(&frame, pull->offset);
    cc_put_u64(&frame, pull->above);
    crdt_frontier_put(&frame, &pull->frontier);
    frame_send(node, id, &frame);
}

void peer_send_piece(struct node *node, uint32_t id, const struct snapshot_piece *piece)
{
    struct peer *peer = peer_find(node, id);
    if (peer == NULL || !peer->up) {
        return;
    }
    struct cc_buffer frame = frame_begin(node, FRAME_PIECE);
    cc_put_u64(&frame, piece->id);
    cc_put_u64(&frame, piece->index);
    cc_put_u64(&frame, piece->term);
    cc_put_u32(&frame, piece->schema_version);
    struct cc_buffer membership = {0};
    if (piece->bytes.n > 0) {
        raft_membership_put(&membership, &piece->membership);
    }
    cc_put_string(&frame, cc_buffer_slice(&membership));
    cc_buffer_finish(&membership);
    cc_put_u64(&frame, piece->total);
    cc_put_u64(&frame, piece->offset);
    cc_put_bytes(&frame, piece->bytes);
    frame_send(node, id, &frame);
}

// -- Receiving -------------------------------------------------------------------------------------------------------

static void receive_hello(struct node *node, struct peer *peer, struct cc_reader *reader)
{
    uint32_t incarnation = cc_read_u32(reader);
    struct cc_slice facts = cc_read_string(reader);
    if (cc_reader_end(reader) != CC_OK || incarnation != peer->incarnation) {
        return;
    }
    struct cc_slice own = cc_buffer_slice(&node->facts_of_database);
    if (facts.n == 0 || own.n == 0) {
        return; // one of the databases is not up yet; it will say hello again
    }
    if (cc_slice_equal(facts, own)) {
        peer->refused = NULL;
        return;
    }
    peer->refused = "its PostgreSQL differs in version, encoding or collation";
    struct cc_buffer text = {0};
    cc_buffer_printf(&text, "ours: %.*s; its: %.*s", (int)own.n, (const char *)own.data, (int)facts.n, (const char *)facts.data);
    node_fact(node, NODE_FACT_PEER_REFUSED, peer->id, 0, 0, cc_buffer_text(&text));
    cc_buffer_finish(&text);
}

static void receive_raft(struct node *node, struct peer *peer, struct cc_slice body)
{
    struct raft_message message;
    if (raft_message_read(body, &message) != CC_OK) {
        return;
    }
    if (message.from == peer->id && message.to == node->options.raft.id) {
        raft_receive(node->raft, node->time.now_us, &message);
    }
    raft_message_finish(&message);
}

static void receive_forward(struct node *node, struct peer *peer, struct cc_reader *reader)
{
    uint8_t flags = cc_read_u8(reader);
    struct cc_slice bytes = cc_read_bytes(reader, cc_reader_left(reader));
    struct operation operation;
    if (!cc_reader_ok(reader) || operation_peek(bytes, &operation) != CC_OK || operation.weak) {
        return;
    }
    forward_submit(node, 0, peer->id, flags, &operation, bytes);
    strong_pump(node);
}

static void receive_frontier(struct node *node, struct peer *peer, struct cc_reader *reader)
{
    struct crdt_frontier frontier, received;
    uint64_t applied = cc_read_u64(reader);
    uint32_t schema_version = cc_read_u32(reader);
    uint8_t role = cc_read_u8(reader);
    uint8_t flags = cc_read_u8(reader);
    struct log_extent log = {.index = cc_read_u64(reader)};
    log.promise = cc_read_u64(reader);
    uint64_t term = cc_read_u64(reader);
    if (crdt_frontier_read(reader, &frontier) != CC_OK) {
        return;
    }
    uint32_t writes_as = cc_read_u32(reader);
    uint64_t membership_index = cc_read_u64(reader);
    if (crdt_frontier_read(reader, &received) != CC_OK || cc_reader_end(reader) != CC_OK || role >= RAFT_ROLES) {
        return;
    }
    peer->applied = applied;
    peer->schema_version = schema_version;
    peer->term = term;
    peer->role = (enum raft_role)role;
    peer->stopping = flags & FRONTIER_STOPPING;
    peer->may_lead = flags & FRONTIER_MAY_LEAD;
    peer->relays = flags & FRONTIER_RELAYS;
    peer->deaf = flags & FRONTIER_DEAF;
    peer->database_up = flags & FRONTIER_HELD;
    peer->writes_as = writes_as;
    peer->membership_index = membership_index;
    peer->received = crdt_frontier_get(&received, node->weak.self);
    if (peer->deaf) {
        forward_peer_lost(node, peer->id); // what was sent to it goes another way
        forward_pump(node);
    }
    recovery_heard(node, peer, flags, log);
    if (flags & FRONTIER_HELD) {
        struct crdt_origin self = node->weak.self;
        uint64_t theirs = crdt_frontier_get(&frontier, self);
        if (theirs < crdt_frontier_get(&peer->frontier, self)) {
            peer->pushed = theirs; // its PostgreSQL crashed and lost what it had merged
        }
        peer->frontier = frontier;
        weak_peer_frontier(node, peer);
    }
}

static void receive_ask(struct node *node, struct peer *peer, struct cc_reader *reader)
{
    uint64_t context = cc_read_u64(reader);
    bool knows = recovery_is_over(node) || cc_mutant(CC_MUTANT_FORGOTTEN_COUNTS); // what it has forgotten may be what is asked for
    if (cc_reader_end(reader) != CC_OK || !node->weak.up || !knows) {
        return;
    }
    struct crdt_frontier frontier;
    weak_acknowledged(node, &frontier);
    struct cc_buffer frame = frame_begin(node, FRAME_TOLD);
    cc_put_u64(&frame, context);
    crdt_frontier_put(&frame, &frontier);
    frame_send(node, peer->id, &frame);
}

static void receive_told(struct node *node, struct peer *peer, struct cc_reader *reader)
{
    struct crdt_frontier frontier;
    uint64_t context = cc_read_u64(reader);
    if (crdt_frontier_read(reader, &frontier) == CC_OK && cc_reader_end(reader) == CC_OK) {
        read_told(node, peer->id, context, &frontier);
    }
}

static void receive_stable(struct node *node, const struct peer *peer, struct cc_reader *reader)
{
    struct crdt_frontier flushed;
    struct crdt_origin member = {.replica = peer->id, .incarnation = cc_read_u32(reader)};
    struct crdt_claim claim = {.sequence = cc_read_u64(reader)};
    claim.hlc = cc_read_u64(reader);
    claim.held = cc_read_u64(reader);
    if (crdt_frontier_read(reader, &flushed) == CC_OK && cc_reader_end(reader) == CC_OK) {
        stable_received(node, member, &claim, &flushed);
    }
}

static void receive_compare(struct node *node, const struct peer *peer, struct cc_reader *reader)
{
    struct repair_job question = {.round = cc_read_u64(reader)};
    question.table = cc_read_string(reader);
    question.from = cc_read_u32(reader);
    question.sums = cc_read_string(reader);
    question.whole = cc_read_u8(reader) != 0;
    if (cc_reader_end(reader) == CC_OK) {
        repair_compared(node, peer, &question);
    }
}

static void receive_states(struct node *node, const struct peer *peer, struct cc_reader *reader)
{
    struct repair_event answer = {.kind = REPAIR_STATES, .round = cc_read_u64(reader)};
    answer.table = cc_read_string(reader);
    answer.from = cc_read_u32(reader);
    answer.next = cc_read_u32(reader);
    answer.n_rows = cc_read_u32(reader);
    answer.bytes = cc_read_string(reader);
    struct repair_moment moment;
    if (cc_read_u8(reader) != 0) {
        moment.bound = cc_read_u64(reader);
        moment.schema_version = cc_read_u32(reader);
        answer.buckets = cc_read_string(reader);
        answer.moment = &moment;
        if (crdt_frontier_read(reader, &moment.frontier) != CC_OK || answer.buckets.n != REPAIR_BITMAP_BYTES) {
            return;
        }
    }
    if (cc_reader_end(reader) == CC_OK) {
        repair_states(node, peer, &answer);
    }
}

static void receive_gap(struct node *node, const struct peer *peer, struct cc_reader *reader)
{
    struct crdt_origin origin = {.replica = cc_read_u32(reader)};
    origin.incarnation = cc_read_u32(reader);
    uint64_t sequence = cc_read_u64(reader);
    if (cc_reader_end(reader) == CC_OK) {
        repair_gap(node, peer, origin, sequence);
    }
}

static void receive_too_old(struct node *node, struct peer *peer, struct cc_reader *reader)
{
    struct crdt_origin origin = {.replica = cc_read_u32(reader)};
    origin.incarnation = cc_read_u32(reader);
    uint64_t sequence = cc_read_u64(reader);
    if (cc_reader_end(reader) == CC_OK && peer->member) {
        weak_too_old(node, peer, origin, sequence);
    }
}

static void receive_pull(struct node *node, struct peer *peer, struct cc_reader *reader)
{
    struct snapshot_pull pull = {.id = cc_read_u64(reader)};
    pull.offset = cc_read_u64(reader);
    pull.above = cc_read_u64(reader);
    if (crdt_frontier_read(reader, &pull.frontier) == CC_OK && cc_reader_end(reader) == CC_OK) {
        snapshot_pulled(node, peer, &pull);
    }
}

static void receive_piece(struct node *node, const struct peer *peer, struct cc_reader *reader)
{
    struct snapshot_piece piece = {.id = cc_read_u64(reader)};
    piece.index = cc_read_u64(reader);
    piece.term = cc_read_u64(reader);
    piece.schema_version = cc_read_u32(reader);
    struct cc_slice membership = cc_read_string(reader);
    piece.total = cc_read_u64(reader);
    piece.offset = cc_read_u64(reader);
    piece.bytes = cc_read_bytes(reader, cc_reader_left(reader));
    bool good = cc_reader_ok(reader) && (piece.bytes.n == 0 || raft_membership_read(membership, &piece.membership) == CC_OK);
    if (good) {
        snapshot_piece(node, peer, &piece);
    }
}

static void receive_forgotten(struct node *node, const struct peer *peer, struct cc_reader *reader)
{
    struct log_extent had = {.index = cc_read_u64(reader)};
    had.promise = cc_read_u64(reader);
    if (cc_reader_end(reader) == CC_OK) {
        recovery_reminded(node, peer, had);
    }
}

static void receive_removed(struct node *node, struct cc_reader *reader)
{
    uint64_t index = cc_read_u64(reader);
    if (cc_reader_end(reader) == CC_OK) {
        membership_removed(node, index);
    }
}

// Only what a reload asks for: the rest is for operators of the leader itself.
static void receive_member(struct node *node, const struct peer *peer, struct cc_reader *reader)
{
    uint64_t request = cc_read_u64(reader);
    uint8_t action = cc_read_u8(reader);
    struct raft_member raft_member = {.id = cc_read_u32(reader)};
    struct cc_slice details = cc_read_string(reader);
    if (cc_reader_end(reader) != CC_OK || details.n > RAFT_DETAILS_BYTES_MAX || raft_member.id == 0 || !peer->member) {
        return;
    }
    if (details.n > 0) {
        memcpy(raft_member.details, details.data, details.n);
    }
    raft_member.n_details = (uint8_t)details.n;
    struct node_member_change change = {.action = NODE_MEMBER_REMOVE, .member = {.id = raft_member.id}};
    if (action == NODE_MEMBER_ADD && member_read(&raft_member, &change.member) == CC_OK) {
        change.action = NODE_MEMBER_ADD;
    } else if (action != NODE_MEMBER_REMOVE) {
        return;
    }
    reload_asked(node, peer->id, request, &change);
}

static void receive_member_reply(struct node *node, struct cc_reader *reader)
{
    uint64_t request = cc_read_u64(reader);
    uint8_t verdict = cc_read_u8(reader);
    struct cc_slice why = cc_read_string(reader);
    if (cc_reader_end(reader) == CC_OK) {
        reload_answered(node, request, verdict, why);
    }
}

// Nothing but frames of another version has come over this connection: whoever sends them does not understand ours either. One
// such frame among others says nothing.
static void refuse_version(struct node *node, struct peer *peer)
{
    if (!peer->understood && peer->refused == NULL && !cc_mutant(CC_MUTANT_VERSION_REACHABLE)) {
        peer->refused = other_version;
        node_fact(node, NODE_FACT_PEER_REFUSED, peer->id, 0, 0, other_version);
    }
}

static void accept_version(struct peer *peer)
{
    peer->understood = true;
    peer->refused = peer->refused == other_version ? NULL : peer->refused;
}

static void receive(struct node *node, struct peer *peer, uint8_t kind, struct cc_reader *reader)
{
    struct cc_slice body = cc_slice_of(reader->at, cc_reader_left(reader));
    switch (kind) {
    case FRAME_RAFT:
        receive_raft(node, peer, body);
        break;
    case FRAME_FORWARD:
        receive_forward(node, peer, reader);
        break;
    case FRAME_FORWARD_REPLY:
        forward_reply(node, peer->id, body);
        break;
    case FRAME_FRONTIER:
        receive_frontier(node, peer, reader);
        break;
    case FRAME_CHANGES:
        weak_changes(node, peer, reader);
        break;
    case FRAME_ASK:
        receive_ask(node, peer, reader);
        break;
    case FRAME_TOLD:
        receive_told(node, peer, reader);
        break;
    case FRAME_DIGESTS:
        repair_digests(node, peer, body);
        break;
    case FRAME_COMPARE:
        receive_compare(node, peer, reader);
        break;
    case FRAME_STATES:
        receive_states(node, peer, reader);
        break;
    case FRAME_TOO_OLD:
        receive_too_old(node, peer, reader);
        break;
    case FRAME_GAP:
        receive_gap(node, peer, reader);
        break;
    case FRAME_STABLE:
        receive_stable(node, peer, reader);
        break;
    case FRAME_MEMBER:
        receive_member(node, peer, reader);
        break;
    case FRAME_MEMBER_REPLY:
        receive_member_reply(node, reader);
        break;
    case FRAME_FORGOTTEN:
        receive_forgotten(node, peer, reader);
        break;
    case FRAME_PULL:
        receive_pull(node, peer, reader);
        break;
    case FRAME_PIECE:
        receive_piece(node, peer, reader);
        break;
    case FRAME_REMOVED:
        receive_removed(node, reader);
        break;
    default:
        break; // of a later version: not for us
    }
}

void node_peer_frame(struct node *node, struct node_time time, uint32_t id, struct cc_slice bytes)
{
    node->time = time;
    struct peer *peer = peer_find(node, id);
    struct cc_reader reader = cc_reader_of(bytes);
    uint8_t version = cc_read_u8(&reader);
    uint8_t kind = cc_read_u8(&reader);
    uint64_t hlc = cc_read_u64(&reader);
    uint64_t wall_ms = cc_read_u64(&reader);
    if (peer == NULL || !peer->up || !cc_reader_ok(&reader)) {
        return;
    }
    if (version != NODE_FRAME_VERSION && !cc_mutant(CC_MUTANT_VERSION_IGNORED)) {
        refuse_version(node, peer);
        return;
    }
    accept_version(peer);
    peer->heard_us = time.now_us;
    peer_clock_heard(node, peer, hlc, wall_ms);
    if (kind == FRAME_HELLO) {
        receive_hello(node, peer, &reader);
        return;
    }
    if (peer->refused == NULL) {
        receive(node, peer, kind, &reader);
    }
}

// -- Connections -------------------------------------------------------------------------------------------------------

// It was a member, or is one and our log does not say so yet.
static struct peer *peer_add_stranger(struct node *node, uint32_t id)
{
    if (node->n_peers == NODE_PEERS_MAX) {
        return NULL;
    }
    node->peers[node->n_peers] = (struct peer){.id = id};
    return &node->peers[node->n_peers++];
}

void node_peer_up(struct node *node, struct node_time time, uint32_t id, uint32_t incarnation)
{
    node->time = time;
    struct peer *peer = peer_find(node, id);
    if (peer == NULL) {
        peer = peer_add_stranger(node, id);
    }
    if (peer == NULL) {
        return;
    }
    if (peer->incarnation != 0 && peer->incarnation != incarnation) {
        raft_peer_forget(node->raft, time.now_us, id);
    }
    struct peer before = *peer;
    *peer = (struct peer){.id = id, .member = before.member, .up = true, .incarnation = incarnation, .writes_as = incarnation,
                           .origin_told = before.origin_told && before.incarnation == incarnation, .heard_us = time.now_us, .applied = before.applied,
                           .remembered_incarnation = before.remembered_incarnation, .remembered = before.remembered};
    memcpy(peer->over, before.over, sizeof(peer->over));
    raft_peer_reset(node->raft, time.now_us, id);
    peer_send_hello(node, peer);
    peer_send_frontier(node, peer);
    if (!peer->member && membership_has_self(node)) {
        peer_send_removed(node, id, node->members.committed);
    }
    forward_pump(node);
}

void node_peer_down(struct node *node, struct node_time time, uint32_t id)
{
    node->time = time;
    struct peer *peer = peer_find(node, id);
    if (peer == NULL || !peer->up) {
        return;
    }
    peer->up = false;
    raft_peer_lost(node->raft, time.now_us, id);
    forward_peer_lost(node, id);
    if (!peer->member) {
        *peer = node->peers[--node->n_peers];
    }
}

void node_peer_removed(struct node *node, struct node_time time, uint32_t id, uint64_t index)
{
    node->time = time;
    if (peer_find(node, id) != NULL && raft_last_index(node->raft) > 0) { // else it is about to join: it is not a member yet
        membership_removed(node, index);
    }
}
