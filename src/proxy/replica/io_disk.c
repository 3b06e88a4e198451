// Real files for the log.
#include "proxy/replica/io_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

enum { ZERO_BYTES = 16 << 10, SYNC_EVERY_BYTES = 8 << 20, PROBLEM_BYTES = 256, OPEN_FILES_MAX = 4 };

struct open_file {
    char name[NAME_MAX + 1];
    int fd;
};

struct io_disk {
    enum io_disk_mode mode;
    int directory_fd;
    int lock_fd;
    struct open_file files[OPEN_FILES_MAX]; // oldest first
    size_t n_files;
    char problem[PROBLEM_BYTES];
};

static const char lock_name[] = "lock";
static const char half_made_suffix[] = ".new";

static enum cc_status fail(struct io_disk *disk, const char *what, const char *name)
{
    int error = errno;
    char text[128];
    (void)snprintf(disk->problem, sizeof(disk->problem), "%s %.100s: %s", what, name,
                   strerror_r(error, text, sizeof(text)));
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return CC_NO_SPACE;
    case ENOENT:
        return CC_NOT_FOUND;
    default:
        return CC_IO;
    }
}

const char *io_disk_problem(const struct io_disk *disk)
{
    return disk->problem;
}

// -- Descriptors ----------------------------------------------------------------------------------------------------

void io_disk_forget(struct io_disk *disk)
{
    for (size_t i = 0; i < disk->n_files; i++) {
        (void)close(disk->files[i].fd);
    }
    disk->n_files = 0;
}

static void close_one(struct io_disk *disk, size_t i)
{
    (void)close(disk->files[i].fd);
    disk->n_files--;
    memmove(disk->files + i, disk->files + i + 1, (disk->n_files - i) * sizeof(disk->files[0]));
}

static void forget_one(struct io_disk *disk, const char *name)
{
    for (size_t i = 0; i < disk->n_files; i++) {
        if (strcmp(disk->files[i].name, name) == 0) {
            close_one(disk, i);
            return;
        }
    }
}

static enum cc_status descriptor(struct io_disk *disk, const char *name, int *fd_out)
{
    for (size_t i = 0; i < disk->n_files; i++) {
        if (strcmp(disk->files[i].name, name) == 0) {
            *fd_out = disk->files[i].fd;
            return CC_OK;
        }
    }
    int access = disk->mode == IO_DISK_OWNER ? O_RDWR : O_RDONLY;
    int fd = openat(disk->directory_fd, name, access | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return fail(disk, "open", name);
    }
    if (disk->n_files == OPEN_FILES_MAX) {
        close_one(disk, 0);
    }
    struct open_file *file = &disk->files[disk->n_files++];
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    file->fd = fd;
    *fd_out = fd;
    return CC_OK;
}

// -- The functions of struct wal_disk -------------------------------------------------------------------------------

static enum cc_status disk_list(void *context, struct cc_buffer *names_out)
{
    struct io_disk *disk = context;
    int fd = openat(disk->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    if (directory == NULL) {
        enum cc_status status = fail(disk, "list", ".");
        if (fd >= 0) {
            (void)close(fd);
        }
        return status;
    }
    const struct dirent *entry;
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.') {
            cc_buffer_append_text(names_out, entry->d_name);
            cc_buffer_append_text(names_out, "\n");
        }
    }
    enum cc_status status = errno == 0 ? CC_OK : fail(disk, "list", ".");
    (void)closedir(directory);
    return status;
}

static enum cc_status disk_read(void *context, const char *name, uint64_t offset, void *data, size_t n,
                                size_t *n_read_out)
{
    struct io_disk *disk = context;
    int fd;
    enum cc_status status = descriptor(disk, name, &fd);
    if (status != CC_OK) {
        return status;
    }
    size_t n_read = 0;
    while (n_read < n) {
        ssize_t n_now = pread(fd, (uint8_t *)data + n_read, n - n_read, (off_t)(offset + n_read));
        if (n_now < 0 && errno != EINTR) {
            return fail(disk, "read", name);
        }
        if (n_now == 0) {
            break;
        }
        n_read += n_now > 0 ? (size_t)n_now : 0;
    }
    *n_read_out = n_read;
    return CC_OK;
}

static enum cc_status write_all(struct io_disk *disk, int fd, const char *name, uint64_t offset, const void *data,
                                size_t n)
{
    size_t n_written = 0;
    while (n_written < n) {
        ssize_t n_now = pwrite(fd, (const uint8_t *)data + n_written, n - n_written, (off_t)(offset + n_written));
        if (n_now < 0 && errno != EINTR) {
            return fail(disk, "write", name);
        }
        n_written += n_now > 0 ? (size_t)n_now : 0;
    }
    return CC_OK;
}

static enum cc_status disk_write(void *context, const char *name, uint64_t offset, const void *data, size_t n)
{
    struct io_disk *disk = context;
    int fd;
    enum cc_status status = descriptor(disk, name, &fd);
    return status == CC_OK ? write_all(disk, fd, name, offset, data, n) : status;
}

static enum cc_status disk_sync(void *context, const char *name)
{
    struct io_disk *disk = context;
    int fd;
    enum cc_status status = descriptor(disk, name, &fd);
    if (status != CC_OK) {
        return status;
    }
    return fdatasync(fd) == 0 ? CC_OK : fail(disk, "sync", name);
}

static enum cc_status sync_directory(struct io_disk *disk)
{
    return fsync(disk->directory_fd) == 0 ? CC_OK : fail(disk, "sync", ".");
}

// Real zeros, not holes: a sync of allocated, written blocks need not touch the file's metadata. Synced in steps, so that
// the disk does not stall the log's own syncs behind one long queue. Small writes: what one write of ours puts into the page cache stays one
// folio there where the file system has large ones, and each later write and sync walks all blocks of the folio (1 MiB: 256 of them).
static enum cc_status fill_with_zeros(struct io_disk *disk, int fd, const char *name, uint64_t n_bytes)
{
    if (n_bytes > 0 && fallocate(fd, 0, 0, (off_t)n_bytes) != 0 && errno != EOPNOTSUPP) {
        return fail(disk, "allocate", name);
    }
    uint8_t *zeros = cc_alloc(ZERO_BYTES);
    enum cc_status status = CC_OK;
    for (uint64_t at = 0; status == CC_OK && at < n_bytes;) {
        uint64_t n_left = n_bytes - at;
        size_t n = n_left < ZERO_BYTES ? (size_t)n_left : ZERO_BYTES;
        status = write_all(disk, fd, name, at, zeros, n);
        at += n;
        if (status == CC_OK && at % SYNC_EVERY_BYTES == 0 && fdatasync(fd) != 0) {
            status = fail(disk, "sync", name);
        }
    }
    free(zeros);
    if (status == CC_OK && fsync(fd) != 0) {
        status = fail(disk, "sync", name);
    }
    return status;
}

static enum cc_status disk_create(void *context, const char *name, uint64_t n_bytes)
{
    struct io_disk *disk = context;
    char half_made[NAME_MAX + 1];
    (void)snprintf(half_made, sizeof(half_made), "%.200s%s", name, half_made_suffix);
    int fd = openat(disk->directory_fd, half_made, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return fail(disk, "create", name);
    }
    enum cc_status status = fill_with_zeros(disk, fd, name, n_bytes);
    (void)close(fd);
    if (status == CC_OK && renameat(disk->directory_fd, half_made, disk->directory_fd, name) != 0) {
        status = fail(disk, "rename", name);
    }
    if (status != CC_OK) {
        (void)unlinkat(disk->directory_fd, half_made, 0);
        return status;
    }
    return sync_directory(disk);
}

static enum cc_status disk_remove(void *context, const char *name)
{
    struct io_disk *disk = context;
    forget_one(disk, name);
    if (unlinkat(disk->directory_fd, name, 0) != 0) {
        return fail(disk, "remove", name);
    }
    return sync_directory(disk);
}

static enum cc_status disk_size(void *context, const char *name, uint64_t *n_bytes_out)
{
    struct io_disk *disk = context;
    int fd;
    enum cc_status status = descriptor(disk, name, &fd);
    if (status != CC_OK) {
        return status;
    }
    struct stat facts;
    if (fstat(fd, &facts) != 0) {
        return fail(disk, "stat", name);
    }
    *n_bytes_out = (uint64_t)facts.st_size;
    return CC_OK;
}

struct wal_disk io_disk_functions(struct io_disk *disk)
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

// -- The directory --------------------------------------------------------------------------------------------------

static enum cc_status make_directory(struct io_disk *disk, const char *path)
{
    if (mkdir(path, 0700) != 0) {
        return errno == EEXIST ? CC_OK : fail(disk, "make directory", path);
    }
    char *copy = cc_strdup(path);
    int parent = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    enum cc_status status = parent >= 0 && fsync(parent) == 0 ? CC_OK : fail(disk, "sync parent of", path);
    if (parent >= 0) {
        (void)close(parent);
    }
    return status;
}

static enum cc_status take_lock(struct io_disk *disk)
{
    disk->lock_fd = openat(disk->directory_fd, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (disk->lock_fd < 0) {
        return fail(disk, "open", lock_name);
    }
    if (flock(disk->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? CC_EXISTS : fail(disk, "lock", lock_name);
    }
    return CC_OK;
}

static bool is_half_made(const char *name, size_t n)
{
    size_t n_suffix = sizeof(half_made_suffix) - 1;
    return n > n_suffix && memcmp(name + n - n_suffix, half_made_suffix, n_suffix) == 0;
}

static enum cc_status remove_half_made(struct io_disk *disk)
{
    struct cc_buffer names = {0};
    enum cc_status status = disk_list(disk, &names);
    char *rest = NULL;
    char *text = status == CC_OK ? cc_strndup(names.data, names.n) : NULL;
    for (char *name = text != NULL ? strtok_r(text, "\n", &rest) : NULL; name != NULL;
         name = strtok_r(NULL, "\n", &rest)) {
        if (is_half_made(name, strlen(name)) && unlinkat(disk->directory_fd, name, 0) != 0) {
            status = fail(disk, "remove", name);
        }
    }
    free(text);
    cc_buffer_finish(&names);
    return status;
}

static enum cc_status open_directory(struct io_disk *disk, const char *path)
{
    if (disk->mode == IO_DISK_OWNER) {
        enum cc_status status = make_directory(disk, path);
        if (status != CC_OK) {
            return status;
        }
    }
    disk->directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk->directory_fd < 0) {
        return fail(disk, "open", path);
    }
    if (disk->mode != IO_DISK_OWNER) {
        return CC_OK;
    }
    enum cc_status status = take_lock(disk);
    return status == CC_OK ? remove_half_made(disk) : status;
}

enum cc_status io_disk_open(const char *directory, enum io_disk_mode mode, struct io_disk **disk_out)
{
    struct io_disk *disk = cc_alloc(sizeof(*disk));
    disk->mode = mode;
    disk->directory_fd = -1;
    disk->lock_fd = -1;
    enum cc_status status = open_directory(disk, directory);
    if (status != CC_OK) {
        io_disk_close(disk);
        return status;
    }
    *disk_out = disk;
    return CC_OK;
}

void io_disk_close(struct io_disk *disk)
{
    if (disk == NULL) {
        return;
    }
    io_disk_forget(disk);
    if (disk->lock_fd >= 0) {
        (void)close(disk->lock_fd);
    }
    if (disk->directory_fd >= 0) {
        (void)close(disk->directory_fd);
    }
    free(disk);
}
