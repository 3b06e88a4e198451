// Keys and values with undo.
#include "sim/sim_store.h"

#include "base/codec.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#define HASH_FUNCTION(key, n, hash_out) ((hash_out) = (unsigned)sim_hash_of((key), (n)))
#include <uthash.h>

enum { LANES = 2, CLASSES = 128 };

struct record {
    char *key;
    struct cc_blob *value;
    uint64_t key_hash, hash; // of the key; of key and value, 0: no value
    uint32_t n_open;         // changes in open transactions
    struct record *next_of_class;
    UT_hash_handle hh;
};

struct undo {
    struct record *record;
    struct cc_blob *before; // NULL: it was not there
};

struct undos {
    struct undo *at;
    size_t n, capacity;
};

struct sim_store {
    struct record *records; // never removed, only emptied: the order of a scan is sorted anyway
    struct record *by_class[CLASSES]; // by the first character of the key
    uint64_t digests[SIM_STORE_DIGESTS];
    struct undos open[LANES];
    struct undos *unflushed; // committed transactions, oldest first
    size_t n_unflushed, unflushed_capacity;
};

struct sim_store *sim_store_create(void)
{
    return cc_alloc(sizeof(struct sim_store));
}

static void undos_forget(struct undos *undos)
{
    for (size_t i = 0; i < undos->n; i++) {
        cc_blob_unref(undos->at[i].before);
    }
    undos->n = 0;
}

static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

static uint64_t hash_word(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ hash >> 32;
}

uint64_t sim_hash_of(const void *data, size_t n)
{
    const uint8_t *bytes = data;
    uint64_t hash = n * UINT64_C(0x9e3779b97f4a7c15);
    if (n >= 32) { // two at a time, which do not wait for each other
        uint64_t other = UINT64_C(0xc4ceb9fe1a85ec53);
        for (; n >= 16; n -= 16, bytes += 16) {
            hash = hash_word(hash, word_at(bytes));
            other = hash_word(other, word_at(bytes + 8));
        }
        hash = hash_word(hash, other);
    }
    for (; n >= 8; n -= 8, bytes += 8) {
        hash = hash_word(hash, word_at(bytes));
    }
    uint64_t rest = 0;
    for (size_t i = 0; i < n; i++) {
        rest |= (uint64_t)bytes[i] << (8 * i);
    }
    hash = (hash ^ rest) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 32;
}

static size_t key_add(char *out, size_t at, size_t n_max, struct cc_slice part)
{
    size_t n = part.n < n_max - 1 - at ? part.n : n_max - 1 - at;
    if (n > 0) {
        memcpy(out + at, part.data, n);
    }
    return at + n;
}

const char *sim_key(char *out, size_t n_max, const char *prefix, struct cc_slice a, struct cc_slice b)
{
    size_t n = key_add(out, 0, n_max, cc_slice_text(prefix));
    n = key_add(out, n, n_max, a);
    if (b.data != NULL) {
        n = key_add(out, n, n_max, cc_slice_text("/"));
        n = key_add(out, n, n_max, b);
    }
    out[n] = '\0';
    return out;
}

// Which digest the record is part of, or SIM_STORE_DIGESTS. Digests are sums, so that the order of changes does not matter.
static unsigned class_of(const struct record *record)
{
    switch (record->key[0]) {
    case 's':
        return 0;
    case 'w':
        return 1;
    case 't':
        return SIM_STORE_TOMBSTONES;
    default:
        return SIM_STORE_DIGESTS;
    }
}

static uint64_t record_hash(const struct record *record)
{
    uint64_t hash = sim_hash_of(record->value->data, record->value->n);
    return (hash ^ record->key_hash) * UINT64_C(0x9fb21c651e98df25) ^ hash >> 29;
}

// Takes over the reference on value.
static void set_value(struct sim_store *store, struct record *record, struct cc_blob *value)
{
    record->value = value;
    unsigned class = class_of(record);
    if (class < SIM_STORE_DIGESTS) {
        store->digests[class] -= record->hash;
        record->hash = value == NULL ? 0 : record_hash(record);
        store->digests[class] += record->hash;
    }
}

uint64_t sim_store_digest(const struct sim_store *store, unsigned class)
{
    return store->digests[class];
}

static void undos_apply(struct sim_store *store, struct undos *undos, size_t down_to)
{
    while (undos->n > down_to) {
        struct undo *undo = &undos->at[--undos->n];
        struct cc_blob *undone = undo->record->value;
        undo->record->n_open -= undo->record->n_open > 0 ? 1 : 0; // none: the transaction was committed
        set_value(store, undo->record, undo->before);
        cc_blob_unref(undone);
    }
}

void sim_store_destroy(struct sim_store *store)
{
    if (store == NULL) {
        return;
    }
    sim_store_flush(store);
    free(store->unflushed);
    for (unsigned lane = 0; lane < LANES; lane++) {
        undos_forget(&store->open[lane]);
        free(store->open[lane].at);
    }
    struct record *record, *next;
    HASH_ITER(hh, store->records, record, next)
    {
        HASH_DEL(store->records, record);
        cc_blob_unref(record->value);
        free(record->key);
        free(record);
    }
    free(store);
}

static struct record *find(const struct sim_store *store, const char *key)
{
    struct record *record;
    HASH_FIND_STR(store->records, key, record);
    return record;
}

const struct cc_blob *sim_store_get(const struct sim_store *store, const char *key)
{
    const struct record *record = find(store, key);
    return record == NULL ? NULL : record->value;
}

static const struct cc_blob *committed(const struct sim_store *store, const struct record *record)
{
    for (unsigned lane = 0; lane < LANES && record->n_open > 0; lane++) {
        for (size_t i = 0; i < store->open[lane].n; i++) {
            if (store->open[lane].at[i].record == record) {
                return store->open[lane].at[i].before;
            }
        }
    }
    return record->value;
}

const struct cc_blob *sim_store_get_committed(const struct sim_store *store, const char *key)
{
    const struct record *record = find(store, key);
    return record == NULL ? NULL : committed(store, record);
}

void sim_store_put(struct sim_store *store, unsigned lane, const char *key, struct cc_slice value)
{
    struct cc_blob *blob = value.data == NULL ? NULL : cc_blob_create(value.data, value.n);
    sim_store_put_blob(store, lane, key, blob);
    cc_blob_unref(blob);
}

void sim_store_put_blob(struct sim_store *store, unsigned lane, const char *key, struct cc_blob *value)
{
    struct record *record = find(store, key);
    if (record == NULL) {
        record = cc_alloc(sizeof(*record));
        record->key = cc_strdup(key);
        record->key_hash = sim_hash_of(key, strlen(key));
        HASH_ADD_KEYPTR(hh, store->records, record->key, strlen(record->key), record);
        struct record **first = &store->by_class[(unsigned char)key[0] % CLASSES];
        record->next_of_class = *first;
        *first = record;
    }
    struct undos *undos = &store->open[lane];
    undos->at = cc_grow(undos->at, &undos->capacity, undos->n + 1, sizeof(*undos->at));
    undos->at[undos->n++] = (struct undo){record, record->value};
    record->n_open++;
    set_value(store, record, cc_blob_ref(value));
}

size_t sim_store_savepoint(const struct sim_store *store, unsigned lane)
{
    return store->open[lane].n;
}

void sim_store_rollback_to(struct sim_store *store, unsigned lane, size_t savepoint)
{
    undos_apply(store, &store->open[lane], savepoint);
}

void sim_store_rollback(struct sim_store *store, unsigned lane)
{
    undos_apply(store, &store->open[lane], 0);
}

void sim_store_commit(struct sim_store *store, unsigned lane)
{
    store->unflushed =
        cc_grow(store->unflushed, &store->unflushed_capacity, store->n_unflushed + 1, sizeof(*store->unflushed));
    for (size_t i = 0; i < store->open[lane].n; i++) {
        store->open[lane].at[i].record->n_open--;
    }
    store->unflushed[store->n_unflushed++] = store->open[lane];
    store->open[lane] = (struct undos){0};
}

void sim_store_flush(struct sim_store *store)
{
    for (size_t i = 0; i < store->n_unflushed; i++) {
        undos_forget(&store->unflushed[i]);
        free(store->unflushed[i].at);
    }
    store->n_unflushed = 0;
}

size_t sim_store_crash(struct sim_store *store)
{
    // The two lanes touch different keys, so that the order between them does not matter.
    sim_store_rollback(store, 0);
    sim_store_rollback(store, 1);
    size_t n_lost = store->n_unflushed;
    while (store->n_unflushed > 0) {
        struct undos *last = &store->unflushed[--store->n_unflushed];
        undos_apply(store, last, 0);
        free(last->at);
    }
    return n_lost;
}

static int compare_keys(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

void sim_store_scan(const struct sim_store *store, const char *prefix, void (*visit)(void *context, const char *key), void *context)
{
    const char **found = NULL;
    size_t n = 0, capacity = 0, n_prefix = strlen(prefix);
    for (struct record *record = store->by_class[(unsigned char)prefix[0] % CLASSES]; record != NULL; record = record->next_of_class) {
        if (strncmp(record->key, prefix, n_prefix) == 0 && (record->value != NULL || committed(store, record) != NULL)) {
            found = cc_grow(found, &capacity, n + 1, sizeof(char *));
            found[n++] = record->key;
        }
    }
    if (n == 0) {
        return;
    }
    qsort(found, n, sizeof(char *), compare_keys);
    for (size_t i = 0; i < n; i++) {
        visit(context, found[i]);
    }
    free(found);
}

// What is aside belongs to this database, whatever else is replaced.
static bool is_local(const char *key)
{
    return key[0] == 'n';
}

void sim_store_export(const struct sim_store *store, struct cc_buffer *out)
{
    struct record *record, *next;
    HASH_ITER(hh, store->records, record, next)
    {
        const struct cc_blob *value = committed(store, record);
        if (value != NULL && !is_local(record->key)) {
            cc_put_string(out, cc_slice_text(record->key));
            cc_put_string(out, cc_blob_slice(value));
        }
    }
}

void sim_store_import(struct sim_store *store, struct cc_slice bytes)
{
    assert(store->open[0].n == 0 && store->open[1].n == 0);
    struct record *record, *next;
    HASH_ITER(hh, store->records, record, next)
    {
        if (!is_local(record->key)) {
            sim_store_put(store, 0, record->key, (struct cc_slice){0});
        }
    }
    struct cc_reader reader = cc_reader_of(bytes);
    while (cc_reader_ok(&reader) && cc_reader_left(&reader) > 0) {
        struct cc_slice key = cc_read_string(&reader);
        struct cc_slice value = cc_read_string(&reader);
        char *text = cc_strndup(key.data, key.n);
        sim_store_put(store, 0, text, value.n == 0 ? cc_slice_text("") : value);
        free(text);
    }
    assert(cc_reader_ok(&reader));
    sim_store_commit(store, 0);
    sim_store_flush(store);
}
