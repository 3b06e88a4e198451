// Handshake and channel: who is let in, who is refused and why, and that no altered byte passes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>

#include "base/prng.h"
#include "proxy/peer/handshake.h"

struct replica {
    struct keys_pair keys;
    struct handshake_site site;
};

// Replicas 1, 2 and 3 of cluster "shop"; 9 is somebody else.
struct world {
    struct replica replicas[4];
    struct handshake_peer peers[3];
};

static const uint32_t ids[] = {1, 2, 3, 9};

static void world_init(struct world *world)
{
    for (size_t i = 0; i < 4; i++) {
        uint8_t seed[KEYS_SEED_BYTES];
        memset(seed, (int)(40 + i), sizeof(seed));
        keys_of_seed(seed, &world->replicas[i].keys);
        if (i < 3) {
            world->peers[i].id = ids[i];
            memcpy(world->peers[i].public_key, world->replicas[i].keys.public_key, KEYS_PUBLIC_BYTES);
        }
        world->replicas[i].site = (struct handshake_site){
            .cluster = "shop",
            .id = ids[i],
            .incarnation = 100 + ids[i],
            .keys = &world->replicas[i].keys,
            .peers = world->peers,
            .n_peers = 3,
        };
    }
}

// One try of `initiator` to reach `target` at the address where `responder` listens, message by message.
struct session {
    struct handshake initiator, responder;
    struct cc_buffer messages[4]; // HELLO, ANSWER, PROOF, READY as sent
    size_t n_messages;
};

enum { NO_MESSAGE = 99 };

static void flip(struct cc_buffer *message, size_t bit)
{
    message->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void draw(struct cc_prng *prng, uint8_t random[HANDSHAKE_RANDOM_BYTES])
{
    cc_prng_bytes(prng, random, HANDSHAKE_RANDOM_BYTES);
}

// Message i_flipped has `bit` flipped on its way. Runs until done or refused.
static void run(struct session *s, const struct handshake_site *from, uint32_t target, const struct handshake_site *at,
                uint64_t seed, size_t i_flipped, size_t bit)
{
    *s = (struct session){0};
    struct cc_prng prng;
    cc_prng_seed(&prng, seed);
    uint8_t random[HANDSHAKE_RANDOM_BYTES];
    draw(&prng, random);
    assert_int_equal(handshake_dial(&s->initiator, from, target, random, &s->messages[0]), CC_OK);
    draw(&prng, random);
    handshake_accept(&s->responder, at, random);
    for (size_t i = 0; i < 4; i++) {
        if (i == i_flipped) {
            flip(&s->messages[i], bit);
        }
        struct handshake *receiver = i % 2 == 0 ? &s->responder : &s->initiator;
        struct cc_buffer *reply = i < 3 ? &s->messages[i + 1] : NULL;
        s->n_messages = i + 1;
        assert_int_equal(s->messages[i].n, handshake_wants(receiver));
        struct cc_buffer nothing = {0};
        enum cc_status status =
            handshake_receive(receiver, cc_buffer_slice(&s->messages[i]), reply != NULL ? reply : &nothing);
        assert_int_equal(nothing.n, 0);
        cc_buffer_finish(&nothing);
        if (status != CC_OK) {
            assert_int_equal(status, CC_REFUSED);
            assert_int_equal(receiver->state, HANDSHAKE_REFUSED);
            assert_int_equal(handshake_wants(receiver), 0);
            return;
        }
    }
}

static void session_finish(struct session *s)
{
    for (size_t i = 0; i < 4; i++) {
        cc_buffer_finish(&s->messages[i]);
    }
}

static void expect_refused(const struct handshake_site *from, uint32_t target, const struct handshake_site *at,
                           bool by_responder, enum handshake_refusal why)
{
    struct session s;
    run(&s, from, target, at, 1, NO_MESSAGE, 0);
    const struct handshake *refuser = by_responder ? &s.responder : &s.initiator;
    const struct handshake *other = by_responder ? &s.initiator : &s.responder;
    assert_int_equal(refuser->state, HANDSHAKE_REFUSED);
    assert_string_equal(handshake_refusal_text(refuser->refusal), handshake_refusal_text(why));
    assert_int_not_equal(other->state, HANDSHAKE_DONE);
    session_finish(&s);
}

static void two_members_find_each_other(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct session s;
    run(&s, &w.replicas[0].site, 2, &w.replicas[1].site, 7, NO_MESSAGE, 0);
    assert_int_equal(s.initiator.state, HANDSHAKE_DONE);
    assert_int_equal(s.responder.state, HANDSHAKE_DONE);
    assert_int_equal(s.responder.peer->id, 1);
    assert_int_equal(s.responder.peer_incarnation, 101);
    assert_int_equal(s.initiator.peer_incarnation, 102);
    session_finish(&s);
}

static void no_message_before_authentication_is_large(void **state)
{
    (void)state;
    assert_true(HANDSHAKE_MESSAGE_BYTES_MAX <= 4096);
    assert_true(sizeof(struct handshake) <= 4096);
}

static void a_wrong_key_is_refused_on_both_sides(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct handshake_site impostor = w.replicas[0].site; // says that it is 1, has the key of 9
    impostor.keys = &w.replicas[3].keys;
    expect_refused(&impostor, 2, &w.replicas[1].site, false, HANDSHAKE_WRONG_KEY); // 2 signs for the real 1
    impostor = w.replicas[1].site;                                                 // listens as 2 without its key
    impostor.keys = &w.replicas[3].keys;
    expect_refused(&w.replicas[0].site, 2, &impostor, false, HANDSHAKE_WRONG_KEY);
}

// An impostor would not care what the other side signed.
static void an_initiator_that_cannot_sign_is_refused_by_the_responder(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct session s;
    run(&s, &w.replicas[0].site, 2, &w.replicas[1].site, 3, 2, 5); // a PROOF with a bad signature
    assert_int_equal(s.responder.state, HANDSHAKE_REFUSED);
    assert_int_equal(s.responder.refusal, HANDSHAKE_WRONG_KEY);
    session_finish(&s);
}

static void a_right_key_with_the_wrong_id_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct handshake_site as_three = w.replicas[0].site; // has the key of 1, says that it is 3
    as_three.id = 3;
    struct session s;
    run(&s, &as_three, 2, &w.replicas[1].site, 1, NO_MESSAGE, 0);
    assert_int_not_equal(s.responder.state, HANDSHAKE_DONE);
    assert_int_equal(s.initiator.refusal, HANDSHAKE_WRONG_KEY);
    session_finish(&s);
}

static void somebody_unknown_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    expect_refused(&w.replicas[3].site, 2, &w.replicas[1].site, true, HANDSHAKE_UNKNOWN_ID);
    struct handshake_site removed = w.replicas[2].site;
    struct handshake_site smaller = w.replicas[1].site;
    smaller.n_peers = 2; // 3 was removed from the cluster
    expect_refused(&removed, 2, &smaller, true, HANDSHAKE_UNKNOWN_ID);
}

static void another_cluster_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct handshake_site other = w.replicas[0].site;
    other.cluster = "shop2";
    expect_refused(&other, 2, &w.replicas[1].site, true, HANDSHAKE_OTHER_CLUSTER);
}

static void the_wrong_replica_at_an_address_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    expect_refused(&w.replicas[0].site, 2, &w.replicas[2].site, true, HANDSHAKE_WRONG_ID);
    struct handshake handshake;
    uint8_t random[HANDSHAKE_RANDOM_BYTES] = {1};
    struct cc_buffer out = {0};
    assert_int_equal(handshake_dial(&handshake, &w.replicas[0].site, 9, random, &out), CC_NOT_FOUND);
    assert_int_equal(handshake_dial(&handshake, &w.replicas[0].site, 1, random, &out), CC_NOT_FOUND); // itself
    cc_buffer_finish(&out);
}

static void other_protocols_and_versions_are_told_apart(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct session s;
    run(&s, &w.replicas[0].site, 2, &w.replicas[1].site, 1, 0, 0);
    assert_int_equal(s.responder.refusal, HANDSHAKE_NOT_CAUCUS);
    session_finish(&s);
    run(&s, &w.replicas[0].site, 2, &w.replicas[1].site, 1, 0, 8 * 8 + 1); // the version
    assert_int_equal(s.responder.refusal, HANDSHAKE_OTHER_VERSION);
    session_finish(&s);
    run(&s, &w.replicas[0].site, 2, &w.replicas[1].site, 1, 1, 8 * 8 + 1);
    assert_int_equal(s.initiator.refusal, HANDSHAKE_OTHER_VERSION);
    session_finish(&s);
}

static void any_flipped_bit_of_any_message_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    static const size_t sizes[] = {HANDSHAKE_HELLO_BYTES, HANDSHAKE_ANSWER_BYTES, HANDSHAKE_PROOF_BYTES,
                                   HANDSHAKE_READY_BYTES};
    for (size_t i = 0; i < 4; i++) {
        for (size_t bit = 0; bit < sizes[i] * 8; bit++) {
            struct session s;
            run(&s, &w.replicas[0].site, 2, &w.replicas[1].site, 7, i, bit);
            // The top bit of an X25519 key does not count in the secret, but it is signed.
            assert_false(s.initiator.state == HANDSHAKE_DONE && s.responder.state == HANDSHAKE_DONE);
            if (i < 3) {
                assert_int_not_equal(s.responder.state, HANDSHAKE_DONE);
            }
            session_finish(&s);
        }
    }
}

static void a_recorded_session_cannot_be_replayed(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct session recorded;
    run(&recorded, &w.replicas[0].site, 2, &w.replicas[1].site, 7, NO_MESSAGE, 0);
    struct handshake responder;
    uint8_t random[HANDSHAKE_RANDOM_BYTES];
    memset(random, 77, sizeof(random)); // a new connection: a new ephemeral key
    handshake_accept(&responder, &w.replicas[1].site, random);
    struct cc_buffer out = {0};
    assert_int_equal(handshake_receive(&responder, cc_buffer_slice(&recorded.messages[0]), &out), CC_OK);
    assert_int_equal(handshake_receive(&responder, cc_buffer_slice(&recorded.messages[2]), &out), CC_REFUSED);
    assert_int_equal(responder.refusal, HANDSHAKE_WRONG_KEY);

    struct handshake initiator; // and an answer recorded from the real responder
    cc_buffer_clear(&out);
    assert_int_equal(handshake_dial(&initiator, &w.replicas[0].site, 2, random, &out), CC_OK);
    assert_int_equal(handshake_receive(&initiator, cc_buffer_slice(&recorded.messages[1]), &out), CC_REFUSED);
    cc_buffer_finish(&out);
    session_finish(&recorded);
}

static void an_answer_cannot_be_reflected(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct session s;
    run(&s, &w.replicas[0].site, 2, &w.replicas[1].site, 7, NO_MESSAGE, 0);
    struct handshake again;
    uint8_t random[HANDSHAKE_RANDOM_BYTES] = {5};
    struct cc_buffer out = {0};
    assert_int_equal(handshake_dial(&again, &w.replicas[0].site, 2, random, &out), CC_OK);
    struct cc_buffer reflected = {0}; // its own HELLO, padded to the size of an ANSWER
    cc_buffer_append(&reflected, out.data, out.n);
    while (reflected.n < HANDSHAKE_ANSWER_BYTES) {
        cc_buffer_append(&reflected, "x", 1);
    }
    assert_int_equal(handshake_receive(&again, cc_buffer_slice(&reflected), &out), CC_REFUSED);
    cc_buffer_finish(&reflected);
    cc_buffer_finish(&out);
    session_finish(&s);
}

static void an_ephemeral_key_of_low_order_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    struct handshake initiator;
    struct handshake responder;
    uint8_t random[HANDSHAKE_RANDOM_BYTES] = {5};
    struct cc_buffer hello = {0};
    struct cc_buffer out = {0};
    assert_int_equal(handshake_dial(&initiator, &w.replicas[0].site, 2, random, &hello), CC_OK);
    memset(hello.data + HANDSHAKE_HELLO_BYTES - 32, 0, 32);
    handshake_accept(&responder, &w.replicas[1].site, random);
    assert_int_equal(handshake_receive(&responder, cc_buffer_slice(&hello), &out), CC_REFUSED);
    assert_int_equal(out.n, 0);
    cc_buffer_finish(&hello);
    cc_buffer_finish(&out);
}

// -- Channel --------------------------------------------------------------------------------------------------------

struct pipe {
    struct channel sender, receiver, back_sender, back_receiver;
};

static void pipe_init(struct pipe *pipe)
{
    struct world w;
    world_init(&w);
    struct session s;
    run(&s, &w.replicas[0].site, 2, &w.replicas[1].site, 7, NO_MESSAGE, 0);
    handshake_take_channels(&s.initiator, &pipe->sender, &pipe->back_receiver);
    handshake_take_channels(&s.responder, &pipe->back_sender, &pipe->receiver);
    session_finish(&s);
}

static struct cc_buffer seal_text(struct channel *channel, const char *a, const char *b, bool final)
{
    struct cc_buffer plain = {0};
    struct cc_buffer out = {0};
    channel_put_frame(&plain, cc_slice_text(a));
    channel_put_frame(&plain, cc_slice_text(b));
    channel_seal(channel, cc_buffer_slice(&plain), final, &out);
    cc_buffer_finish(&plain);
    return out;
}

static void frames_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_init(&pipe);
    for (int i = 0; i < 100; i++) {
        struct cc_buffer record = seal_text(&pipe.sender, "one", "", false);
        size_t n;
        assert_int_equal(channel_record_size(cc_slice_of(record.data, 3), &n), CC_OK);
        assert_int_equal(n, 0);
        assert_int_equal(channel_record_size(cc_slice_of(record.data, 4), &n), CC_OK);
        assert_int_equal(n, record.n);
        struct cc_buffer plain = {0};
        assert_int_equal(channel_open(&pipe.receiver, cc_buffer_slice(&record), &plain), CC_OK);
        struct cc_slice rest = cc_buffer_slice(&plain);
        struct cc_slice frame;
        assert_int_equal(channel_next_frame(&rest, &frame), CC_OK);
        assert_true(cc_slice_equal_text(frame, "one"));
        assert_int_equal(channel_next_frame(&rest, &frame), CC_OK);
        assert_int_equal(frame.n, 0);
        assert_int_equal(channel_next_frame(&rest, &frame), CC_NOT_FOUND);
        cc_buffer_finish(&plain);
        cc_buffer_finish(&record);
    }
}

static void any_flipped_bit_of_a_record_is_refused(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_init(&pipe);
    struct cc_buffer record = seal_text(&pipe.sender, "a longer frame of text", "two", false);
    for (size_t bit = 0; bit < record.n * 8; bit++) {
        struct channel receiver = pipe.receiver;
        flip(&record, bit);
        struct cc_buffer plain = {0};
        assert_int_not_equal(channel_open(&receiver, cc_buffer_slice(&record), &plain), CC_OK);
        assert_int_equal(plain.n, 0);
        cc_buffer_finish(&plain);
        flip(&record, bit);
    }
    cc_buffer_finish(&record);
}

static void lost_repeated_swapped_and_misdirected_records_are_refused(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_init(&pipe);
    struct cc_buffer first = seal_text(&pipe.sender, "first", "", false);
    struct cc_buffer second = seal_text(&pipe.sender, "second", "", false);
    struct cc_buffer plain = {0};
    struct channel receiver = pipe.receiver;
    assert_int_equal(channel_open(&receiver, cc_buffer_slice(&second), &plain), CC_REFUSED); // the first is lost
    receiver = pipe.receiver;
    assert_int_equal(channel_open(&receiver, cc_buffer_slice(&first), &plain), CC_OK);
    assert_int_equal(channel_open(&receiver, cc_buffer_slice(&first), &plain), CC_REFUSED); // repeated
    receiver = pipe.back_receiver;
    assert_int_equal(channel_open(&receiver, cc_buffer_slice(&first), &plain), CC_REFUSED); // sent back
    cc_buffer_finish(&plain);
    cc_buffer_finish(&first);
    cc_buffer_finish(&second);
}

static void a_record_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_init(&pipe);
    struct cc_buffer record = seal_text(&pipe.sender, "some", "text", false);
    for (size_t n = 0; n < record.n; n++) {
        struct channel receiver = pipe.receiver;
        struct cc_buffer plain = {0};
        assert_int_equal(channel_open(&receiver, cc_slice_of(record.data, n), &plain), CC_MALFORMED);
        cc_buffer_finish(&plain);
    }
    cc_buffer_finish(&record);
}

static void an_orderly_end_is_told_from_a_cut_and_nothing_follows_it(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_init(&pipe);
    struct channel fork = pipe.sender;
    struct cc_buffer last = seal_text(&pipe.sender, "last", "", true);
    struct cc_buffer plain = {0};
    assert_false(pipe.receiver.ended);
    assert_int_equal(channel_open(&pipe.receiver, cc_buffer_slice(&last), &plain), CC_OK);
    assert_true(pipe.receiver.ended);
    struct cc_buffer more = seal_text(&fork, "more", "", false);
    assert_int_equal(channel_open(&pipe.receiver, cc_buffer_slice(&more), &plain), CC_REFUSED);
    cc_buffer_finish(&plain);
    cc_buffer_finish(&last);
    cc_buffer_finish(&more);
}

static void the_key_changes_after_a_gigabyte(void **state)
{
    (void)state;
    struct pipe pipe;
    pipe_init(&pipe);
    pipe.sender.n_bytes = (1ull << 30) - 1;
    for (int i = 0; i < 3; i++) {
        struct cc_buffer record = seal_text(&pipe.sender, "text", "", false);
        struct cc_buffer plain = {0};
        assert_int_equal(channel_open(&pipe.receiver, cc_buffer_slice(&record), &plain), CC_OK);
        cc_buffer_finish(&plain);
        cc_buffer_finish(&record);
        assert_true(pipe.sender.n_bytes < 100);
    }
}

static void impossible_lengths_are_refused_before_anything_is_reserved(void **state)
{
    (void)state;
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t small[] = {16, 0, 0, 0};
    size_t n;
    assert_int_equal(channel_record_size(cc_slice_of(huge, 4), &n), CC_TOO_LARGE);
    assert_int_equal(channel_record_size(cc_slice_of(small, 4), &n), CC_MALFORMED);
    static const uint8_t frames[] = {9, 0, 0, 0, 'x'};
    struct cc_slice plain = cc_slice_of(frames, sizeof(frames));
    struct cc_slice frame;
    assert_int_equal(channel_next_frame(&plain, &frame), CC_MALFORMED);
}

static void keys_are_read_as_they_were_written(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    char text[KEYS_TEXT_BYTES];
    uint8_t bytes[32];
    keys_to_text(w.replicas[0].keys.public_key, text);
    assert_int_equal(strlen(text), 64);
    assert_int_equal(keys_from_text(cc_slice_text(text), bytes), CC_OK);
    assert_memory_equal(bytes, w.replicas[0].keys.public_key, 32);
    assert_int_equal(keys_from_text(cc_slice_of(text, 63), bytes), CC_MALFORMED);
    text[5] = 'g';
    assert_int_equal(keys_from_text(cc_slice_text(text), bytes), CC_MALFORMED);
    uint8_t seed[KEYS_SEED_BYTES];
    struct keys_pair again;
    keys_seed_of(&w.replicas[0].keys, seed);
    keys_of_seed(seed, &again);
    assert_memory_equal(&again, &w.replicas[0].keys, sizeof(again));
    keys_forget(&again);
    assert_int_equal(again.secret_key[0], 0);
}

// Replica 3 was removed by the membership at index 41, and does not know.
static void removed_world_init(struct world *world)
{
    world_init(world);
    world->replicas[0].site.n_peers = 2;
    world->replicas[0].site.membership_index = 41;
}

static void one_that_was_removed_is_told_by_which_membership(void **state)
{
    (void)state;
    struct world w;
    removed_world_init(&w);
    struct session s;
    run(&s, &w.replicas[2].site, 1, &w.replicas[0].site, 1, NO_MESSAGE, 0);
    assert_int_equal(s.responder.refusal, HANDSHAKE_UNKNOWN_ID);
    assert_int_equal(handshake_receive(&s.initiator, cc_buffer_slice(&s.messages[1]), &s.messages[2]), CC_REFUSED);
    assert_int_equal(s.initiator.refusal, HANDSHAKE_REMOVED);
    assert_int_equal(s.initiator.removed_at, 41);
    session_finish(&s);
}

static void strangers_are_told_nothing_by_one_whose_members_may_change(void **state)
{
    (void)state;
    struct world w;
    removed_world_init(&w);
    w.replicas[0].site.membership_index = 0;
    struct session s;
    run(&s, &w.replicas[2].site, 1, &w.replicas[0].site, 1, NO_MESSAGE, 0);
    assert_int_equal(s.messages[1].n, 0);
    session_finish(&s);
}

static void nobody_is_removed_by_altered_or_old_words_or_those_of_another(void **state)
{
    (void)state;
    struct world w;
    removed_world_init(&w);
    struct session s, other;
    for (size_t bit = 0; bit < 8 * HANDSHAKE_ANSWER_BYTES; bit++) {
        run(&s, &w.replicas[2].site, 1, &w.replicas[0].site, 1, NO_MESSAGE, 0);
        flip(&s.messages[1], bit);
        assert_int_equal(handshake_receive(&s.initiator, cc_buffer_slice(&s.messages[1]), &s.messages[2]), CC_REFUSED);
        assert_int_not_equal(s.initiator.refusal, HANDSHAKE_REMOVED);
        assert_int_equal(s.initiator.removed_at, 0);
        session_finish(&s);
    }
    run(&s, &w.replicas[2].site, 1, &w.replicas[0].site, 1, NO_MESSAGE, 0);
    run(&other, &w.replicas[2].site, 1, &w.replicas[0].site, 2, NO_MESSAGE, 0); // what was said to another question
    assert_int_equal(handshake_receive(&other.initiator, cc_buffer_slice(&s.messages[1]), &other.messages[2]), CC_REFUSED);
    assert_int_equal(other.initiator.refusal, HANDSHAKE_WRONG_KEY);
    session_finish(&s);
    session_finish(&other);
    w.replicas[0].site.keys = &w.replicas[3].keys; // not the key of replica 1
    run(&s, &w.replicas[2].site, 1, &w.replicas[0].site, 1, NO_MESSAGE, 0);
    assert_int_equal(handshake_receive(&s.initiator, cc_buffer_slice(&s.messages[1]), &s.messages[2]), CC_REFUSED);
    assert_int_equal(s.initiator.refusal, HANDSHAKE_WRONG_KEY);
    session_finish(&s);
}

int main(void)
{
    if (sodium_init() < 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_members_find_each_other),
        cmocka_unit_test(no_message_before_authentication_is_large),
        cmocka_unit_test(a_wrong_key_is_refused_on_both_sides),
        cmocka_unit_test(an_initiator_that_cannot_sign_is_refused_by_the_responder),
        cmocka_unit_test(a_right_key_with_the_wrong_id_is_refused),
        cmocka_unit_test(somebody_unknown_is_refused),
        cmocka_unit_test(one_that_was_removed_is_told_by_which_membership),
        cmocka_unit_test(strangers_are_told_nothing_by_one_whose_members_may_change),
        cmocka_unit_test(nobody_is_removed_by_altered_or_old_words_or_those_of_another),
        cmocka_unit_test(another_cluster_is_refused),
        cmocka_unit_test(the_wrong_replica_at_an_address_is_refused),
        cmocka_unit_test(other_protocols_and_versions_are_told_apart),
        cmocka_unit_test(any_flipped_bit_of_any_message_is_refused),
        cmocka_unit_test(a_recorded_session_cannot_be_replayed),
        cmocka_unit_test(an_answer_cannot_be_reflected),
        cmocka_unit_test(an_ephemeral_key_of_low_order_is_refused),
        cmocka_unit_test(frames_come_out_as_they_went_in),
        cmocka_unit_test(any_flipped_bit_of_a_record_is_refused),
        cmocka_unit_test(lost_repeated_swapped_and_misdirected_records_are_refused),
        cmocka_unit_test(a_record_cut_anywhere_is_refused),
        cmocka_unit_test(an_orderly_end_is_told_from_a_cut_and_nothing_follows_it),
        cmocka_unit_test(the_key_changes_after_a_gigabyte),
        cmocka_unit_test(impossible_lengths_are_refused_before_anything_is_reserved),
        cmocka_unit_test(keys_are_read_as_they_were_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
