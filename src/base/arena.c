// An arena: a list of blocks, each larger than the last, filled from the front.
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES_MIN = 2048, BLOCK_BYTES_MAX = 1 << 16, BLOCK_KEPT_BYTES_MAX = 1 << 14 };

struct cc_arena_block {
    struct cc_arena_block *next;
    size_t used;
    size_t capacity;
    _Alignas(max_align_t) uint8_t data[];
};

void cc_arena_init(struct cc_arena *arena)
{
    *arena = (struct cc_arena){0};
}

static void free_blocks(struct cc_arena_block *block)
{
    while (block != NULL) {
        struct cc_arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void cc_arena_finish(struct cc_arena *arena)
{
    free_blocks(arena->head);
    cc_arena_init(arena);
}

void cc_arena_clear(struct cc_arena *arena)
{
    struct cc_arena_block *kept = arena->head;
    if (kept == NULL || kept->capacity > BLOCK_KEPT_BYTES_MAX) {
        cc_arena_finish(arena);
        return;
    }
    free_blocks(kept->next);
    kept->next = NULL;
    kept->used = 0;
    arena->n_bytes = 0;
}

static size_t next_capacity(const struct cc_arena *arena, size_t n)
{
    size_t capacity = BLOCK_BYTES_MIN;
    if (arena->head != NULL && arena->head->capacity < BLOCK_BYTES_MAX) {
        capacity = arena->head->capacity * 2;
    } else if (arena->head != NULL) {
        capacity = BLOCK_BYTES_MAX;
    }
    return n > capacity ? n : capacity;
}

static void add_block(struct cc_arena *arena, size_t n)
{
    size_t capacity = next_capacity(arena, n);
    if (capacity > SIZE_MAX - sizeof(struct cc_arena_block)) {
        abort();
    }
    struct cc_arena_block *block = malloc(sizeof(*block) + capacity); // zeroed as it is handed out
    if (block == NULL) {
        abort();
    }
    block->used = 0;
    block->capacity = capacity;
    block->next = arena->head;
    arena->head = block;
}

static void *hand_out(struct cc_arena *arena, size_t n)
{
    const size_t alignment = _Alignof(max_align_t);
    if (n > SIZE_MAX - alignment) {
        abort();
    }
    size_t rounded = (n + alignment - 1) / alignment * alignment;
    if (arena->head == NULL || rounded > arena->head->capacity - arena->head->used) {
        add_block(arena, rounded);
    }
    void *memory = arena->head->data + arena->head->used;
    arena->head->used += rounded;
    arena->n_bytes += rounded;
    return memory;
}

void *cc_arena_alloc(struct cc_arena *arena, size_t n)
{
    return memset(hand_out(arena, n), 0, n);
}

void *cc_arena_array(struct cc_arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        abort();
    }
    return cc_arena_alloc(arena, count * size);
}

char *cc_arena_text(struct cc_arena *arena, const char *text)
{
    return cc_arena_text_n(arena, text, strlen(text));
}

char *cc_arena_text_n(struct cc_arena *arena, const void *data, size_t n)
{
    if (n == SIZE_MAX) {
        abort();
    }
    char *copy = hand_out(arena, n + 1);
    if (n > 0) {
        memcpy(copy, data, n);
    }
    copy[n] = '\0';
    return copy;
}

struct cc_slice cc_arena_slice(struct cc_arena *arena, struct cc_slice slice)
{
    if (slice.data == NULL) {
        return (struct cc_slice){0};
    }
    uint8_t *copy = hand_out(arena, slice.n);
    if (slice.n > 0) {
        memcpy(copy, slice.data, slice.n);
    }
    return cc_slice_of(copy, slice.n);
}

char *cc_arena_printf(struct cc_arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(n >= 0);

    char *text = hand_out(arena, (size_t)n + 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)n + 1, format, arguments);
    va_end(arguments);
    return text;
}
