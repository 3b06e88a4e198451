// Real files for the log: one directory, descriptors kept open, every promise of struct wal_disk kept with fsync.
#ifndef IO_DISK_H
#define IO_DISK_H

#include "consensus/wal.h"

enum io_disk_mode {
    IO_DISK_OWNER,  // makes the directory if it is missing, locks it, removes half-made files
    IO_DISK_HELPER, // the same process, another thread: may create files
    IO_DISK_READER, // never writes, does not lock
};

struct io_disk;

// CC_NOT_FOUND (reader, helper: no such directory), CC_EXISTS (owner: another process has it), CC_IO, CC_NO_SPACE.
// Not to be shared between threads: give each one its own.
enum cc_status io_disk_open(const char *directory, enum io_disk_mode mode, struct io_disk **disk_out) CC_CHECKED;
void io_disk_close(struct io_disk *disk); // NULL is fine
// Borrows the disk.
struct wal_disk io_disk_functions(struct io_disk *disk);
// Closes the descriptors kept open, so that removed files give back their space.
void io_disk_forget(struct io_disk *disk);
// What failed last, for the log of the process: "sync 0000000000000001.log: Input/output error". Never NULL.
const char *io_disk_problem(const struct io_disk *disk);

#endif
