// malloc for a process with one thread that allocates and frees small things all the time: what is freed last is given next,
// by size. Replaces the one of the C library in the simulator, where it is an eighth of the work; not in builds with sanitizers.
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    STEP_BYTES = 16,
    SMALL_MAX = 1024,                     // classes in steps up to here,
    N_SMALL = SMALL_MAX / STEP_BYTES + 1, // then four for each power of two
    N_CLASSES = N_SMALL + 4 * 30,
    CHUNK_BYTES = 16 << 20,
};

struct block {
    union {
        size_t class; // while it is used,
        struct block *next; // and while it is free
    };
    _Alignas(max_align_t) uint8_t data[];
};

static struct block *free_blocks[N_CLASSES];
static uint8_t *chunk;
static size_t n_left;

void *malloc(size_t n);
void *calloc(size_t count, size_t size);
void *realloc(void *memory, size_t n);
void *aligned_alloc(size_t alignment, size_t n);
int posix_memalign(void **memory_out, size_t alignment, size_t n);
void free(void *memory);

static size_t class_of(size_t n)
{
    if (n <= SMALL_MAX) {
        return (n + STEP_BYTES - 1) / STEP_BYTES;
    }
    unsigned bits = 63u - (unsigned)__builtin_clzll(n - 1); // 2^bits <= n - 1
    return N_SMALL + (bits - 10) * 4 + (((n - 1) >> (bits - 2)) & 3);
}

static size_t bytes_of(size_t class)
{
    if (class < N_SMALL) {
        return class * STEP_BYTES;
    }
    size_t large = class - N_SMALL;
    return (large % 4 + 5) << (large / 4 + 8);
}

static struct block *block_of(void *memory)
{
    return (struct block *)((uint8_t *)memory - offsetof(struct block, data));
}

// Zeroed, as the system gives it.
static struct block *carve(size_t n)
{
    size_t needed = sizeof(struct block) + n;
    if (needed > n_left) {
        n_left = needed > CHUNK_BYTES ? needed : CHUNK_BYTES;
        chunk = mmap(NULL, n_left, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (chunk == MAP_FAILED) {
            abort();
        }
        (void)madvise(chunk, n_left, MADV_HUGEPAGE);
    }
    struct block *block = (struct block *)chunk;
    chunk += needed;
    n_left -= needed;
    return block;
}

static void *take(size_t n, bool zeroed)
{
    if (n >= (size_t)1 << 38) {
        errno = ENOMEM;
        return NULL;
    }
    size_t class = class_of(n);
    struct block *block = free_blocks[class];
    if (block == NULL) {
        block = carve(bytes_of(class));
    } else {
        free_blocks[class] = block->next;
        if (zeroed) {
            memset(block->data, 0, n);
        }
    }
    block->class = class;
    return block->data;
}

void *malloc(size_t n)
{
    return take(n, false);
}

void *calloc(size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n)) {
        errno = ENOMEM;
        return NULL;
    }
    return take(n, true);
}

void *realloc(void *memory, size_t n)
{
    if (memory == NULL) {
        return take(n, false);
    }
    size_t n_held = bytes_of(block_of(memory)->class);
    if (n <= n_held) {
        return memory;
    }
    void *moved = take(n, false);
    if (moved != NULL) {
        memcpy(moved, memory, n_held);
        free(memory);
    }
    return moved;
}

void free(void *memory)
{
    if (memory != NULL) {
        struct block *block = block_of(memory);
        size_t class = block->class;
        block->next = free_blocks[class];
        free_blocks[class] = block;
    }
}

// Libraries ask for these before main; nobody here does. More than the usual alignment is not given.
void *aligned_alloc(size_t alignment, size_t n)
{
    return alignment <= _Alignof(max_align_t) ? take(n, false) : NULL;
}

int posix_memalign(void **memory_out, size_t alignment, size_t n)
{
    *memory_out = aligned_alloc(alignment, n);
    return *memory_out == NULL ? ENOMEM : 0;
}
