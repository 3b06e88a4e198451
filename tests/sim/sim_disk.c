// A disk in memory that tells what is written from what is synced.
#include "sim/sim_disk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { NAME_BYTES = 64 };

struct sim_file {
    char name[NAME_BYTES];
    uint64_t n_bytes;
    uint8_t *seen;    // what reads see
    uint8_t *durable; // what a power cut leaves
    uint8_t *dirty;   // per sector: written since, a sync will make it durable
};

static size_t n_sectors(uint64_t n_bytes)
{
    return (size_t)((n_bytes + SIM_SECTOR_BYTES - 1) / SIM_SECTOR_BYTES);
}

static void file_finish(struct sim_file *file)
{
    free(file->seen);
    free(file->durable);
    free(file->dirty);
}

static void *duplicate(const void *data, size_t n)
{
    void *copy = cc_alloc(n + 1);
    memcpy(copy, data, n);
    return copy;
}

static struct sim_file *find(const struct sim_disk *disk, const char *name)
{
    for (size_t i = 0; i < disk->n_files; i++) {
        if (strcmp(disk->files[i].name, name) == 0) {
            return &disk->files[i];
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
    if (n_read > 0) {
        memcpy(data, file->seen + offset, n_read);
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
        memcpy(file->seen + offset, data, n);
        for (size_t i = (size_t)offset / SIM_SECTOR_BYTES; i <= (size_t)(offset + n - 1) / SIM_SECTOR_BYTES; i++) {
            file->dirty[i] = 1;
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
    assert(find(disk, name) == NULL && strlen(name) < NAME_BYTES);
    disk->files = cc_grow(disk->files, &disk->files_capacity, disk->n_files + 1, sizeof(*disk->files));
    struct sim_file *file = &disk->files[disk->n_files++];
    *file = (struct sim_file){.n_bytes = n_bytes};
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    file->seen = cc_alloc((size_t)n_bytes + 1);
    file->durable = cc_alloc((size_t)n_bytes + 1);
    file->dirty = cc_alloc(n_sectors(n_bytes) + 1);
    return CC_OK;
}

static enum cc_status disk_sync(void *context, const char *name)
{
    struct sim_disk *disk = context;
    enum cc_status status = begin(disk, SIM_DISK_SYNC);
    struct sim_file *file = find(disk, name);
    assert(file != NULL);
    for (size_t i = 0; i < n_sectors(file->n_bytes); i++) {
        if (file->dirty[i] && status == CC_OK) {
            memcpy(file->durable + sector_start(i), file->seen + sector_start(i), sector_bytes(file, i));
        }
        file->dirty[i] = 0;
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
        copy->files[i].seen = duplicate(file->seen, (size_t)file->n_bytes);
        copy->files[i].durable = duplicate(file->durable, (size_t)file->n_bytes);
        copy->files[i].dirty = duplicate(file->dirty, n_sectors(file->n_bytes));
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
    file->dirty[sector] = 0;
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
        for (size_t sector = 0; sector < n_sectors(file->n_bytes); sector++) {
            bool may_stay = crash == SIM_CRASH_RANDOM && file->dirty[sector];
            settle_sector(file, sector, may_stay ? kept_bytes(prng, sector_bytes(file, sector)) : 0);
        }
    }
}

size_t sim_disk_dirty(const struct sim_disk *disk, struct sim_sector *sectors_out, size_t n_max)
{
    size_t n = 0;
    for (size_t i = 0; i < disk->n_files; i++) {
        for (size_t sector = 0; sector < n_sectors(disk->files[i].n_bytes); sector++) {
            if (!disk->files[i].dirty[sector]) {
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
        for (size_t sector = 0; sector < n_sectors(file->n_bytes); sector++) {
            settle_sector(file, sector, sector_bytes(file, sector));
        }
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
    *n_bytes_out = file->n_bytes;
    return file->seen;
}

void sim_disk_poke(struct sim_disk *disk, const char *name, uint64_t offset, uint8_t value)
{
    struct sim_file *file = find(disk, name);
    assert(file != NULL && offset < file->n_bytes);
    file->seen[offset] = value;
    file->durable[offset] = value;
}

void sim_disk_shorten(struct sim_disk *disk, const char *name, uint64_t n_bytes)
{
    struct sim_file *file = find(disk, name);
    assert(file != NULL && n_bytes <= file->n_bytes);
    file->n_bytes = n_bytes;
}
