// Session tokens: what goes in comes out, and nothing else is accepted.
#include "base/base64.h"
#include "base/prng.h"
#include "proxy/node/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key[SESSION_KEY_BYTES] = "0123456789abcdef0123456789abcde";
static const uint8_t other_key[SESSION_KEY_BYTES] = "0123456789abcdef0123456789abcdX";

static struct session example(void)
{
    struct session session = {.index = 4711};
    assert_int_equal(session_wrote_weak(&session, (struct crdt_origin){2, 77}, 5), CC_OK);
    assert_int_equal(session_wrote_weak(&session, (struct crdt_origin){1, 9}, 12), CC_OK);
    return session;
}

static void a_token_comes_back_as_it_was(void **state)
{
    (void)state;
    struct session session = example(), back = {0};
    struct cc_buffer token = {0};
    session_put(&token, &session, key);
    assert_int_equal(session_read(cc_buffer_slice(&token), key, &back), CC_OK);
    assert_int_equal(back.index, 4711);
    assert_true(crdt_frontier_equal(&back.frontier, &session.frontier));
    assert_true(token.n < 1024);
    cc_buffer_finish(&token);
}

static void a_token_of_another_cluster_is_refused(void **state)
{
    (void)state;
    struct session session = example(), back = {0};
    struct cc_buffer token = {0};
    session_put(&token, &session, key);
    assert_int_equal(session_read(cc_buffer_slice(&token), other_key, &back), CC_REFUSED);
    assert_int_equal(back.index, 0);
    cc_buffer_finish(&token);
}

static void a_token_with_any_character_changed_cut_or_added_is_refused(void **state)
{
    (void)state;
    struct session session = example(), back = {0};
    struct cc_buffer token = {0};
    session_put(&token, &session, key);
    for (size_t i = 0; i < token.n; i++) {
        uint8_t was = token.data[i];
        token.data[i] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(session_read(cc_buffer_slice(&token), key, &back), CC_OK);
        token.data[i] = was;
        assert_int_not_equal(session_read(cc_slice_of(token.data, i), key, &back), CC_OK);
    }
    cc_buffer_append_text(&token, "A");
    assert_int_not_equal(session_read(cc_buffer_slice(&token), key, &back), CC_OK);
    cc_buffer_finish(&token);
}

static void text_that_is_no_token_is_malformed(void **state)
{
    (void)state;
    struct session back = {0};
    const char *texts[] = {"", "x", "====", "not a token", "AQ", "\xff\xfe"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(session_read(cc_slice_text(texts[i]), key, &back), CC_MALFORMED);
    }
}

static void what_a_read_saw_only_raises_the_session(void **state)
{
    (void)state;
    struct session session = example();
    assert_int_equal(session_saw(&session, cc_slice_text("12 2.77:9 3.5:1")), CC_OK);
    assert_int_equal(session.index, 4711);
    assert_int_equal(crdt_frontier_get(&session.frontier, (struct crdt_origin){2, 77}), 9);
    assert_int_equal(crdt_frontier_get(&session.frontier, (struct crdt_origin){1, 9}), 12);
    assert_int_equal(crdt_frontier_get(&session.frontier, (struct crdt_origin){3, 5}), 1);
    assert_int_equal(session_saw(&session, cc_slice_text("5000")), CC_OK);
    assert_int_equal(session.index, 5000);
}

static void a_position_that_no_read_tells_is_malformed(void **state)
{
    (void)state;
    const char *texts[] = {"", "x", "1 ", "1 2", "1 2.3", "1 2.3:", "1 2.3:0", "1  2.3:4", "1 99999999999.1:1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct session session = {0};
        assert_int_equal(session_saw(&session, cc_slice_text(texts[i])), CC_MALFORMED);
    }
}

static void base64url_keeps_bytes_and_refuses_stray_bits(void **state)
{
    (void)state;
    struct cc_buffer text = {0}, back = {0};
    for (size_t n = 0; n < 20; n++) {
        uint8_t bytes[20];
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (uint8_t)(i * 37 + n);
        }
        cc_buffer_clear(&text);
        cc_buffer_clear(&back);
        cc_base64url_put(&text, cc_slice_of(bytes, n));
        assert_int_equal(cc_base64url_read(cc_buffer_slice(&text), &back), CC_OK);
        assert_int_equal(back.n, n);
        assert_memory_equal(back.data == NULL ? bytes : back.data, bytes, n);
    }
    cc_buffer_clear(&back);
    const char *bad[] = {"A", "AB", "AAB", "A=", "AA==", "A A"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(cc_base64url_read(cc_slice_text(bad[i]), &back), CC_MALFORMED);
        assert_int_equal(back.n, 0);
    }
    cc_buffer_finish(&text);
    cc_buffer_finish(&back);
}

static struct session random_session(struct cc_prng *prng, uint32_t n)
{
    struct session session = {.index = cc_prng_below(prng, 1000000)};
    while (session.frontier.n < n) {
        struct crdt_origin origin = {.replica = 1 + (uint32_t)cc_prng_below(prng, 7)};
        origin.incarnation = (uint32_t)cc_prng_next(prng);
        assert_int_equal(session_wrote_weak(&session, origin, 1 + cc_prng_below(prng, 1000000)), CC_OK);
    }
    return session;
}

// What every member holds, and one that holds all of that and what the token names: it holds all that the session has seen.
static void a_shortened_token_asks_for_the_same(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 5);
    for (int round = 0; round < 200; round++) {
        uint32_t n = 1 + (uint32_t)cc_prng_below(&prng, CC_ORIGINS_MAX);
        struct session session = random_session(&prng, n), shortened = session, back = {0};
        struct crdt_frontier everywhere = {.n = 0};
        uint32_t n_ahead = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint64_t sequence = session.frontier.at[i].sequence;
            bool ahead = n_ahead < 20 && cc_prng_below(&prng, 10) == 0; // seen here, and not known to be everywhere
            n_ahead += ahead;
            sequence = ahead ? sequence - 1 : sequence + cc_prng_below(&prng, 2);
            assert_true(sequence == 0 || crdt_frontier_raise(&everywhere, session.frontier.at[i].origin, sequence) == CC_OK);
        }
        session_shorten(&shortened, &everywhere, SESSION_TOKEN_BYTES_AIM);
        struct cc_buffer token = {0};
        session_put(&token, &shortened, key);
        assert_true(token.n < 1024);
        assert_int_equal(shortened.shortened, session_is_long(&session, SESSION_TOKEN_BYTES_AIM));
        assert_int_equal(session_read(cc_buffer_slice(&token), key, &back), CC_OK);
        assert_int_equal(back.index, session.index);
        assert_int_equal(back.shortened, shortened.shortened);
        struct crdt_frontier held = everywhere;
        for (uint32_t i = 0; i < back.frontier.n; i++) {
            assert_int_equal(crdt_frontier_raise(&held, back.frontier.at[i].origin, back.frontier.at[i].sequence), CC_OK);
        }
        assert_true(crdt_frontier_covers(back.shortened ? &held : &back.frontier, &session.frontier));
        cc_buffer_finish(&token);
    }
}

static void what_not_everybody_holds_stays_in_the_token(void **state)
{
    (void)state;
    struct cc_prng prng;
    cc_prng_seed(&prng, 6);
    struct session session = random_session(&prng, CC_ORIGINS_MAX), shortened = session, back = {0};
    struct crdt_frontier nothing = {.n = 0};
    session_shorten(&shortened, &nothing, SESSION_TOKEN_BYTES_AIM);
    assert_false(shortened.shortened);
    struct cc_buffer token = {0};
    session_put(&token, &shortened, key);
    assert_int_equal(session_read(cc_buffer_slice(&token), key, &back), CC_OK);
    assert_true(crdt_frontier_equal(&back.frontier, &session.frontier));
    cc_buffer_finish(&token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_comes_back_as_it_was),
        cmocka_unit_test(a_token_of_another_cluster_is_refused),
        cmocka_unit_test(a_token_with_any_character_changed_cut_or_added_is_refused),
        cmocka_unit_test(text_that_is_no_token_is_malformed),
        cmocka_unit_test(what_a_read_saw_only_raises_the_session),
        cmocka_unit_test(a_position_that_no_read_tells_is_malformed),
        cmocka_unit_test(a_shortened_token_asks_for_the_same),
        cmocka_unit_test(what_not_everybody_holds_stays_in_the_token),
        cmocka_unit_test(base64url_keeps_bytes_and_refuses_stray_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
