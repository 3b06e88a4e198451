// A disk in memory that tells what is written from what is synced.
#include "sim/sim_disk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { NAME_BYTES = 64 };

enum { SECTORS_MIN = 16 };

enum sector_state {
    SECTOR_CLEAN, // what reads see is durable
    SECTOR_DIRTY, // written since: a sync will make it durable
    SECTOR_LOST,  // a sync has failed: none will
};

struct sim_file {
    char name[NAME_BYTES];
    uint64_t n_bytes;
    size_t n_held;        // sectors in memory; behind them everything is zero
    uint8_t *seen;        // what reads see
    uint8_t *durable;     // what a power cut leaves
    uint8_t *state;       // per sector
    size_t first, behind; // of the sectors that are not clean
};

static size_t n_sectors(uint64_t n_bytes)
{
    return (size_t)((n_bytes + SIM_SECTOR_BYTES - 1) / SIM_SECTOR_BYTES);
}

static void file_finish(struct sim_file *file)
{
    free(file->seen);
    free(file->durable);
    free(file->state);
}

static void *duplicate(const void *data, size_t n)
{
    void *copy = cc_alloc(n + 1);
    memcpy(copy, data, n);
    return copy;
}

static uint8_t *lengthen(uint8_t *bytes, size_t n_before, size_t n)
{
    uint8_t *longer = cc_alloc(n);
    if (n_before > 0) {
        memcpy(longer, bytes, n_before);
    }
    free(bytes);
    return longer;
}

// Memory for everything up to there.
static void hold(struct sim_file *file, uint64_t n_bytes)
{
    size_t n = file->n_held < SECTORS_MIN ? SECTORS_MIN : file->n_held;
    while (n < n_sectors(n_bytes)) {
        n *= 2;
    }
    n = n > n_sectors(file->n_bytes) ? n_sectors(file->n_bytes) : n;
    if (n <= file->n_held) {
        return;
    }
    file->seen = lengthen(file->seen, file->n_held * SIM_SECTOR_BYTES, n * SIM_SECTOR_BYTES);
    file->durable = lengthen(file->durable, file->n_held * SIM_SECTOR_BYTES, n * SIM_SECTOR_BYTES);
    file->state = lengthen(file->state, file->n_held, n);
    file->n_held = n;
}

static void mark(struct sim_file *file, size_t sector, enum sector_state state)
{
    file->state[sector] = (uint8_t)state;
    file->first = file->behind == 0 || sector < file->first ? sector : file->first;
    file->behind = sector + 1 > file->behind ? sector + 1 : file->behind;
}

static struct sim_file *find(const struct sim_disk *disk, const char *name)
{
    for (size_t i = disk->n_files; i > 0; i--) { // mostly the newest is wanted
        if (strcmp(disk->files[i - 1].name, name) == 0) {
            return &disk->files[i - 1];
        }
    }
    return NULL;
}

static size_t sector_start(size_t sector)
{
    return sector * SIM_SECTOR_BYTES;
}

static size_t sector_bytes(const struct sim_file *file, size_t sector)
{
    uint64_t n_left = file->n_bytes - sector_start(sector);
    return n_left < SIM_SECTOR_BYTES ? (size_t)n_left : SIM_SECTOR_BYTES;
}

// Counts the operation; CC_OK unless it was chosen to fail.
static enum cc_status begin(struct sim_disk *disk, enum sim_disk_operation operation)
{
    disk->n_operations[operation]++;
    if (disk->fail_in[operation] == 0) {
        return CC_OK;
    }
    disk->fail_in[operation]--;
    return disk->fail_in[operation] == 0 ? disk->fail_with[operation] : CC_OK;
}

static enum cc_status disk_list(void *context, struct cc_buffer *names_out)
{
    const struct sim_disk *disk = context;
    for (size_t i = 0; i < disk->n_files; i++) {
        cc_buffer_printf(names_out, "%s\n", disk->files[i].name);
    }
    return CC_OK;
}

static enum cc_status disk_read(void *context, const char *name, uint64_t offset, void *data, size_t n,
                                size_t *n_read_out)
{
    struct sim_disk *disk = context;
    enum cc_status status = begin(disk, SIM_DISK_READ);
    if (status != CC_OK) {
        return status;
    }
    const struct sim_file *file = find(disk, name);
    if (file == NULL) {
        return CC_NOT_FOUND;
    }
    uint64_t n_left = offset < file->n_bytes ? file->n_bytes - offset : 0;
    size_t n_read = n_left < n ? (size_t)n_left : n;
    uint64_t n_behind = (uint64_t)file->n_held * SIM_SECTOR_BYTES;
    size_t n_held = offset >= n_behind ? 0 : n_behind - offset < n_read ? (size_t)(n_behind - offset) : n_read;
    if (n_held > 0) {
        memcpy(data, file->seen + offset, n_held);
    }
    if (n_read > n_held) {
        memset((uint8_t *)data + n_held, 0, n_read - n_held);
    }
    *n_read_out = n_read;
    return CC_OK;
}

static enum cc_status disk_write(void *context, const char *name, uint64_t offset, const void *data, size_t n)
{
    struct sim_disk *disk = context;
    enum cc_status status = begin(disk, SIM_DISK_WRITE);
    if (status != CC_OK) {
        n /= 2; // a failing write has written something
    }
    struct sim_file *file = find(disk, name);
    assert(file != NULL && offset + n <= file->n_bytes);
    if (n > 0) {
        hold(file, offset + n);
        memcpy(file->seen + offset, data, n);
        for (size_t i = (size_t)offset / SIM_SECTOR_BYTES; i <= (size_t)(offset + n - 1) / SIM_SECTOR_BYTES; i++) {
            mark(file, i, SECTOR_DIRTY);
        }
    }
    return status;
}

static enum cc_status disk_create(void *context, const char *name, uint64_t n_bytes)
{
    struct sim_disk *disk = context;
    enum cc_status status = begin(disk, SIM_DISK_CREATE);
    if (status != CC_OK) {
        return status;
    }
    if (disk->full) {
        return CC_NO_SPACE;
    }
    assert(find(disk, name) == NULL && strlen(name) < NAME_BYTES);
    disk->files = cc_grow(disk->files, &disk->files_capacity, disk->n_files + 1, sizeof(*disk->files));
    struct sim_file *file = &disk->files[disk->n_files++];
    *file = (struct sim_file){.n_bytes = n_bytes};
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    return CC_OK;
}

static enum cc_status disk_sync(void *context, const char *name)
{
    struct sim_disk *disk = context;
    enum cc_status status = begin(disk, SIM_DISK_SYNC);
    struct sim_file *file = find(disk, name);
    assert(file != NULL);
    size_t behind = file->behind;
    file->behind = 0;
    for (size_t i = file->first; i < behind; i++) {
        if (file->state[i] == SECTOR_DIRTY && status == CC_OK) {
            memcpy(file->durable + sector_start(i), file->seen + sector_start(i), sector_bytes(file, i));
            file->state[i] = SECTOR_CLEAN;
        } else if (file->state[i] != SECTOR_CLEAN) {
            mark(file, i, SECTOR_LOST);
        }
    }
    return status;
}

static enum cc_status disk_remove(void *context, const char *name)
{
    struct sim_disk *disk = context;
    enum cc_status status = begin(disk, SIM_DISK_REMOVE);
    if (status != CC_OK) {
        return status;
    }
    struct sim_file *file = find(disk, name);
    if (file == NULL) {
        return CC_NOT_FOUND;
    }
    file_finish(file);
    size_t i = (size_t)(file - disk->files);
    memmove(file, file + 1, (disk->n_files - i - 1) * sizeof(*file));
    disk->n_files--;
    return CC_OK;
}

static enum cc_status disk_size(void *context, const char *name, uint64_t *n_bytes_out)
{
    const struct sim_file *file = find(context, name);
    if (file == NULL) {
        return CC_NOT_FOUND;
    }
    *n_bytes_out = file->n_bytes;
    return CC_OK;
}

void sim_disk_init(struct sim_disk *disk)
{
    *disk = (struct sim_disk){0};
}

void sim_disk_finish(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->n_files; i++) {
        file_finish(&disk->files[i]);
    }
    free(disk->files);
    *disk = (struct sim_disk){0};
}

struct wal_disk sim_disk_functions(struct sim_disk *disk)
{
    return (struct wal_disk){
        .context = disk,
        .list = disk_list,
        .read = disk_read,
        .write = disk_write,
        .create = disk_create,
        .sync = disk_sync,
        .remove = disk_remove,
        .size = disk_size,
    };
}

void sim_disk_copy(struct sim_disk *copy, const struct sim_disk *disk)
{
    *copy = *disk;
    copy->files = cc_alloc_array(disk->n_files + 1, sizeof(*disk->files));
    copy->files_capacity = disk->n_files + 1;
    for (size_t i = 0; i < disk->n_files; i++) {
        const struct sim_file *file = &disk->files[i];
        copy->files[i] = *file;
        if (file->n_held > 0) {
            copy->files[i].seen = duplicate(file->seen, file->n_held * SIM_SECTOR_BYTES);
            copy->files[i].durable = duplicate(file->durable, file->n_held * SIM_SECTOR_BYTES);
            copy->files[i].state = duplicate(file->state, file->n_held);
        }
    }
}

void sim_disk_fail(struct sim_disk *disk, enum sim_disk_operation operation, uint64_t nth, enum cc_status status)
{
    disk->fail_in[operation] = nth;
    disk->fail_with[operation] = status;
}

// -- Crashes --------------------------------------------------------------------------------------------------------

// How many of the sector's new bytes reached the platter.
static size_t kept_bytes(struct cc_prng *prng, size_t n)
{
    switch (cc_prng_below(prng, 4)) {
    case 0:
        return 0;
    case 1:
        return (size_t)cc_prng_below(prng, n + 1);
    default:
        return n;
    }
}

static void settle_sector(struct sim_file *file, size_t sector, size_t n_kept)
{
    size_t start = sector_start(sector);
    memcpy(file->durable + start, file->seen + start, n_kept);
    memcpy(file->seen + start, file->durable + start, sector_bytes(file, sector));
    file->state[sector] = SECTOR_CLEAN;
}

void sim_disk_crash(struct sim_disk *disk, enum sim_crash crash, struct cc_prng *prng)
{
    for (size_t i = 0; i < SIM_DISK_OPERATIONS; i++) {
        disk->fail_in[i] = 0;
    }
    if (crash == SIM_CRASH_PROCESS) {
        return;
    }
    for (size_t i = 0; i < disk->n_files; i++) {
        struct sim_file *file = &disk->files[i];
        for (size_t sector = file->first; sector < file->behind; sector++) {
            bool may_stay = crash == SIM_CRASH_RANDOM && file->state[sector] == SECTOR_DIRTY;
            settle_sector(file, sector, may_stay ? kept_bytes(prng, sector_bytes(file, sector)) : 0);
        }
        file->behind = 0;
    }
}

size_t sim_disk_dirty(const struct sim_disk *disk, struct sim_sector *sectors_out, size_t n_max)
{
    size_t n = 0;
    for (size_t i = 0; i < disk->n_files; i++) {
        for (size_t sector = disk->files[i].first; sector < disk->files[i].behind; sector++) {
            if (disk->files[i].state[sector] != SECTOR_DIRTY) {
                continue;
            }
            if (n < n_max) {
                sectors_out[n] = (struct sim_sector){.file = i, .sector = sector};
            }
            n++;
        }
    }
    return n;
}

void sim_disk_settle(struct sim_disk *disk)
{
    for (size_t i = 0; i < disk->n_files; i++) {
        struct sim_file *file = &disk->files[i];
        for (size_t sector = file->first; sector < file->behind; sector++) {
            settle_sector(file, sector, sector_bytes(file, sector));
        }
        file->behind = 0;
    }
}

void sim_disk_crash_keeping(struct sim_disk *disk, uint64_t kept)
{
    struct sim_sector sectors[64];
    size_t n = sim_disk_dirty(disk, sectors, 64);
    for (size_t i = 0; i < n && i < 64; i++) {
        struct sim_file *file = &disk->files[sectors[i].file];
        bool keep = (kept >> i & 1) != 0;
        settle_sector(file, sectors[i].sector, keep ? sector_bytes(file, sectors[i].sector) : 0);
    }
    sim_disk_crash(disk, SIM_CRASH_LOSE_ALL, NULL);
}

// -- Damage ---------------------------------------------------------------------------------------------------------

uint8_t *sim_disk_bytes(struct sim_disk *disk, const char *name, uint64_t *n_bytes_out)
{
    struct sim_file *file = find(disk, name);
    if (file == NULL) {
        return NULL;
    }
    hold(file, file->n_bytes);
    *n_bytes_out = file->n_bytes;
    return file->seen;
}

void sim_disk_poke(struct sim_disk *disk, const char *name, uint64_t offset, uint8_t value)
{
    struct sim_file *file = find(disk, name);
    assert(file != NULL && offset < file->n_bytes);
    hold(file, offset + 1);
    file->seen[offset] = value;
    file->durable[offset] = value;
}

void sim_disk_shorten(struct sim_disk *disk, const char *name, uint64_t n_bytes)
{
    struct sim_file *file = find(disk, name);
    assert(file != NULL && n_bytes <= file->n_bytes);
    file->n_bytes = n_bytes;
    file->behind = file->behind < n_sectors(n_bytes) ? file->behind : n_sectors(n_bytes);
}
