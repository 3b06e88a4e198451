// One Raft core, server 1, whose messages and writes the test handles by hand.
#ifndef RAFT_FIXTURE_H
#define RAFT_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "consensus/raft.h"

enum { FIXTURE_MESSAGES_MAX = 512, FIXTURE_ELECTION_US = 1000, FIXTURE_HEARTBEAT_US = 100 };

struct fixture {
    struct raft *raft;
    uint64_t now_us;
    bool persist;                                   // writes become durable at once
    struct raft_message sent[FIXTURE_MESSAGES_MAX]; // of the last pump; entries are not kept
    size_t n_sent;
    struct raft_read_result reads[64]; // of the last pump
    size_t n_reads;
    uint64_t persist_number; // the last one handed out
};

static inline void fixture_pump(struct fixture *fixture)
{
    fixture->n_sent = 0;
    fixture->n_reads = 0;
    struct raft_output output;
    while (raft_has_output(fixture->raft)) {
        raft_take_output(fixture->raft, &output);
        for (size_t i = 0; i < output.n_messages && fixture->n_sent < FIXTURE_MESSAGES_MAX; i++) {
            fixture->sent[fixture->n_sent] = output.messages[i];
            fixture->sent[fixture->n_sent++].entries = NULL;
        }
        for (size_t i = 0; i < output.n_reads; i++) {
            fixture->reads[fixture->n_reads++] = output.reads[i];
        }
        if (output.persist_number > 0) {
            fixture->persist_number = output.persist_number;
            if (fixture->persist) {
                raft_persisted(fixture->raft, fixture->now_us, output.persist_number);
            }
        }
    }
}

static inline struct raft_options fixture_options(uint32_t n_voters)
{
    struct raft_options options = {
        .id = 1,
        .membership = {.n_members = n_voters},
        .election_us = FIXTURE_ELECTION_US,
        .heartbeat_us = FIXTURE_HEARTBEAT_US,
        .seed = 1,
    };
    for (uint32_t i = 0; i < n_voters; i++) {
        options.membership.members[i] = (struct raft_member){.id = i + 1, .voter = true};
    }
    return options;
}

// A follower with `terms[i]` at index i + 1.
static inline struct fixture fixture_make_with(struct raft_options options, struct raft_hard_state hard_state, const uint64_t *terms,
                                               size_t n_terms)
{
    struct fixture fixture = {.raft = raft_create(&options, hard_state), .persist = true};
    for (size_t i = 0; i < n_terms; i++) {
        struct raft_entry entry = {.index = i + 1, .term = terms[i], .kind = RAFT_ENTRY_DATA};
        assert_int_equal(raft_restore_entry(fixture.raft, &entry), CC_OK);
    }
    raft_tick(fixture.raft, 0);
    fixture_pump(&fixture);
    return fixture;
}

static inline struct fixture fixture_make(uint32_t n_voters, struct raft_hard_state hard_state, const uint64_t *terms,
                                          size_t n_terms)
{
    return fixture_make_with(fixture_options(n_voters), hard_state, terms, n_terms);
}

static inline void fixture_receive(struct fixture *fixture, struct raft_message message)
{
    message.to = 1;
    raft_receive(fixture->raft, fixture->now_us, &message);
    fixture_pump(fixture);
}

static inline void fixture_tick(struct fixture *fixture, uint64_t us)
{
    fixture->now_us += us;
    raft_tick(fixture->raft, fixture->now_us);
    fixture_pump(fixture);
}

static inline void fixture_grant(struct fixture *fixture, enum raft_message_kind kind, uint32_t from, uint64_t term)
{
    fixture_receive(fixture, (struct raft_message){.kind = kind, .from = from, .term = term});
}

// Server 1 becomes leader of the next term with the votes of all others; its first entry is not acknowledged by anybody.
static inline struct fixture fixture_leader_with(struct raft_options options, struct raft_hard_state hard_state, const uint64_t *terms,
                                                 size_t n_terms)
{
    struct fixture fixture = fixture_make_with(options, hard_state, terms, n_terms);
    fixture_tick(&fixture, 2 * FIXTURE_ELECTION_US);
    for (uint32_t id = 2; id <= options.membership.n_members; id++) {
        fixture_grant(&fixture, RAFT_PRE_VOTE_REPLY, id, hard_state.term + 1);
    }
    for (uint32_t id = 2; id <= options.membership.n_members; id++) {
        fixture_grant(&fixture, RAFT_VOTE_REPLY, id, hard_state.term + 1);
    }
    assert_int_equal(raft_role(fixture.raft), RAFT_LEADER);
    return fixture;
}

static inline struct fixture fixture_leader(uint32_t n_voters, struct raft_hard_state hard_state, const uint64_t *terms,
                                            size_t n_terms)
{
    return fixture_leader_with(fixture_options(n_voters), hard_state, terms, n_terms);
}

static inline void fixture_ack(struct fixture *fixture, uint32_t from, uint64_t index)
{
    fixture_receive(fixture,
                    (struct raft_message){
                        .kind = RAFT_APPEND_REPLY, .from = from, .term = raft_term(fixture->raft), .log_index = index});
}

// The first message of the kind to the server in the last pump; NULL: none. to == 0: to anybody.
static inline const struct raft_message *fixture_sent(const struct fixture *fixture, enum raft_message_kind kind,
                                                      uint32_t to)
{
    for (size_t i = 0; i < fixture->n_sent; i++) {
        if (fixture->sent[i].kind == kind && (to == 0 || fixture->sent[i].to == to)) {
            return &fixture->sent[i];
        }
    }
    return NULL;
}

static inline size_t fixture_count(const struct fixture *fixture, enum raft_message_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < fixture->n_sent; i++) {
        n += fixture->sent[i].kind == kind ? 1 : 0;
    }
    return n;
}

static inline enum cc_status fixture_propose(struct fixture *fixture, const char *text)
{
    struct cc_blob *payload = cc_blob_create(text, strlen(text));
    uint64_t index = 0;
    enum cc_status status = raft_propose(fixture->raft, RAFT_ENTRY_DATA, 0, payload, &index);
    cc_blob_unref(payload);
    return status;
}

#endif
