// A disk in memory that tells what is written from what is synced, crashes, tears and fails as asked.
//
// Model: a write changes what reads see (the page cache) and makes its 512-byte sectors dirty; a sync makes dirty sectors
// durable. A failed sync leaves them clean without being durable, as Linux does: reads still see them, a power cut loses them.
// create and remove are durable when they return, as struct wal_disk promises.
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "base/prng.h"
#include "consensus/wal.h"

enum { SIM_SECTOR_BYTES = 512 };

enum sim_disk_operation { SIM_DISK_READ, SIM_DISK_WRITE, SIM_DISK_CREATE, SIM_DISK_SYNC, SIM_DISK_REMOVE };
enum { SIM_DISK_OPERATIONS = SIM_DISK_REMOVE + 1 };

enum sim_crash {
    SIM_CRASH_PROCESS,  // kill -9: the page cache survives
    SIM_CRASH_LOSE_ALL, // power cut: everything that is not durable is lost
    SIM_CRASH_RANDOM,   // power cut: each dirty sector is kept, lost, or torn at any byte
};

struct sim_file;

struct sim_disk {
    struct sim_file *files;
    size_t n_files;
    size_t files_capacity;
    uint64_t n_operations[SIM_DISK_OPERATIONS];
    // The n-th next operation of this kind fails (1: the next one); 0: none does.
    uint64_t fail_in[SIM_DISK_OPERATIONS];
    enum cc_status fail_with[SIM_DISK_OPERATIONS];
    bool full; // no file can be made
};

void sim_disk_init(struct sim_disk *disk);
void sim_disk_finish(struct sim_disk *disk);
// The functions of this disk; they borrow it.
struct wal_disk sim_disk_functions(struct sim_disk *disk);
// A copy, to try several fates of one state. `copy` is not initialised before.
void sim_disk_copy(struct sim_disk *copy, const struct sim_disk *disk);

void sim_disk_fail(struct sim_disk *disk, enum sim_disk_operation operation, uint64_t nth, enum cc_status status);
// The machine or the process stops. prng is needed for SIM_CRASH_RANDOM only.
void sim_disk_crash(struct sim_disk *disk, enum sim_crash crash, struct cc_prng *prng);

// Sectors that a power cut may lose, as (file, sector) in order; at most n_max are stored, all are counted.
struct sim_sector {
    size_t file;
    size_t sector;
};
size_t sim_disk_dirty(const struct sim_disk *disk, struct sim_sector *sectors_out, size_t n_max);
// Everything written is durable: of a copy.
void sim_disk_settle(struct sim_disk *disk);
// Power cut that keeps just the dirty sectors whose bit is set (bit i: the i-th of sim_disk_dirty; sectors from 64 on are lost).
void sim_disk_crash_keeping(struct sim_disk *disk, uint64_t kept);

// For tests that damage: the bytes of a file as reads see them and as they are durable. NULL when there is no such file.
uint8_t *sim_disk_bytes(struct sim_disk *disk, const char *name, uint64_t *n_bytes_out);
// Changes one byte, durably.
void sim_disk_poke(struct sim_disk *disk, const char *name, uint64_t offset, uint8_t value);
// Cuts the file short, durably.
void sim_disk_shorten(struct sim_disk *disk, const char *name, uint64_t n_bytes);

#endif
