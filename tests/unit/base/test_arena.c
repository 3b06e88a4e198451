// The arena: aligned, zeroed, copying.
#include "base/arena.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void memory_is_aligned_and_zeroed_across_blocks(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    for (size_t i = 0; i < 2000; i++) {
        size_t n = i % 97;
        uint8_t *memory = cc_arena_alloc(&arena, n);
        assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(memory[k], 0);
        }
        if (n > 0) {
            memset(memory, 0xee, n);
        }
    }
    assert_true(arena.n_bytes >= 2000 / 97 * (96 * 97 / 2));
    cc_arena_finish(&arena);
    assert_null(arena.head);
}

static void an_allocation_larger_than_a_block_works(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    char *small = cc_arena_text(&arena, "small");
    uint8_t *large = cc_arena_array(&arena, 1000, 1000);
    large[999999] = 1;
    assert_string_equal(small, "small");
    cc_arena_finish(&arena);
}

static void what_is_cleared_keeps_a_block_and_hands_it_out_zeroed_again(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    cc_arena_clear(&arena);
    assert_null(arena.head);
    for (size_t i = 0; i < 5; i++) {
        memset(cc_arena_alloc(&arena, 1000), 0xee, 1000);
    }
    struct cc_arena_block *kept = arena.head;
    cc_arena_clear(&arena);
    assert_ptr_equal(arena.head, kept);
    assert_int_equal(arena.n_bytes, 0);
    const uint8_t *memory = cc_arena_alloc(&arena, 4000);
    assert_ptr_equal(arena.head, kept);
    for (size_t k = 0; k < 4000; k++) {
        assert_int_equal(memory[k], 0);
    }
    cc_arena_finish(&arena);
}

static void a_large_block_is_not_kept(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    cc_arena_alloc(&arena, 100000);
    cc_arena_clear(&arena);
    assert_null(arena.head);
    cc_arena_finish(&arena);
}

static void copies_do_not_depend_on_their_source(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    char source[] = "stock";
    char *text = cc_arena_text(&arena, source);
    char *part = cc_arena_text_n(&arena, source, 2);
    struct cc_slice slice = cc_arena_slice(&arena, cc_slice_text(source));
    char *printed = cc_arena_printf(&arena, "%s.%d", source, 5);
    memset(source, 'x', 5);
    assert_string_equal(text, "stock");
    assert_string_equal(part, "st");
    assert_true(cc_slice_equal_text(slice, "stock"));
    assert_string_equal(printed, "stock.5");
    cc_arena_finish(&arena);
}

static void null_stays_null_and_empty_stays_empty(void **state)
{
    (void)state;
    struct cc_arena arena;
    cc_arena_init(&arena);
    assert_null(cc_arena_slice(&arena, cc_slice_text(NULL)).data);
    assert_non_null(cc_arena_slice(&arena, cc_slice_text("")).data);
    cc_arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_zeroed_across_blocks),
        cmocka_unit_test(an_allocation_larger_than_a_block_works),
        cmocka_unit_test(what_is_cleared_keeps_a_block_and_hands_it_out_zeroed_again),
        cmocka_unit_test(a_large_block_is_not_kept),
        cmocka_unit_test(copies_do_not_depend_on_their_source),
        cmocka_unit_test(null_stays_null_and_empty_stays_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
