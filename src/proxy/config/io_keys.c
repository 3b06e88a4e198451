// Private key files.
#include "proxy/config/io_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

enum { FILE_BYTES = KEYS_TEXT_BYTES }; // the digits and a line feed

__attribute__((format(printf, 2, 3))) static void say(struct io_keys_problem *problem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->text, sizeof(problem->text), format, arguments);
    va_end(arguments);
}

void io_keys_random(void *out, size_t n)
{
    if (sodium_init() < 0) {
        abort(); // no random source: nothing that follows could be safe
    }
    randombytes_buf(out, n);
}

enum cc_status io_keys_generate(struct keys_pair *pair_out)
{
    if (sodium_init() < 0) {
        return CC_IO;
    }
    uint8_t seed[KEYS_SEED_BYTES];
    randombytes_buf(seed, sizeof(seed));
    keys_of_seed(seed, pair_out);
    sodium_memzero(seed, sizeof(seed));
    return CC_OK;
}

// -- Saving ---------------------------------------------------------------------------------------------------------

static bool write_and_sync(int fd, const char *text, size_t n)
{
    return write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
}

static bool sync_parent(const char *path)
{
    char *copy = cc_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok;
}

enum cc_status io_keys_save(const char *path, const struct keys_pair *pair, struct io_keys_problem *problem_out)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        say(problem_out, "%s: %s", path, errno == EEXIST ? "a file of this name exists" : strerror(errno));
        return errno == EEXIST ? CC_EXISTS : errno == ENOENT ? CC_NOT_FOUND : CC_IO;
    }
    uint8_t seed[KEYS_SEED_BYTES];
    char text[FILE_BYTES + 1];
    keys_seed_of(pair, seed);
    keys_to_text(seed, text);
    text[FILE_BYTES - 1] = '\n';
    bool ok = fchmod(fd, 0600) == 0 && write_and_sync(fd, text, FILE_BYTES); // whatever the umask
    int error = errno;
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(text, sizeof(text));
    (void)close(fd);
    if (!ok || !sync_parent(path)) {
        say(problem_out, "%s: cannot be written: %s", path, strerror(ok ? errno : error));
        (void)unlink(path);
        return CC_IO;
    }
    return CC_OK;
}

// -- Loading --------------------------------------------------------------------------------------------------------

static enum cc_status check_owner_and_mode(int fd, const char *path, struct io_keys_problem *problem_out)
{
    struct stat facts;
    if (fstat(fd, &facts) != 0) {
        say(problem_out, "%s: %s", path, strerror(errno));
        return CC_IO;
    }
    if (!S_ISREG(facts.st_mode)) {
        say(problem_out, "%s: is not a file", path);
        return CC_REFUSED;
    }
    if ((facts.st_mode & 077) != 0) {
        say(problem_out, "%s: has mode %04o, others may use the key; run: chmod 600 %s", path,
            (unsigned)(facts.st_mode & 07777), path);
        return CC_REFUSED;
    }
    if (geteuid() != 0 && facts.st_uid != geteuid()) {
        say(problem_out, "%s: belongs to another user", path);
        return CC_REFUSED;
    }
    return CC_OK;
}

static enum cc_status parse(const char *text, size_t n, struct keys_pair *pair_out)
{
    if (n > 0 && text[n - 1] == '\n') {
        n--;
    }
    uint8_t seed[KEYS_SEED_BYTES];
    enum cc_status status = keys_from_text(cc_slice_of(text, n), seed);
    if (status == CC_OK) {
        keys_of_seed(seed, pair_out);
    }
    sodium_memzero(seed, sizeof(seed));
    return status;
}

static enum cc_status load(int fd, const char *path, struct keys_pair *pair_out, struct io_keys_problem *problem_out)
{
    enum cc_status status = check_owner_and_mode(fd, path, problem_out);
    if (status != CC_OK) {
        return status;
    }
    char text[FILE_BYTES + 1];
    ssize_t n = read(fd, text, sizeof(text));
    if (n < 0) {
        say(problem_out, "%s: %s", path, strerror(errno));
        return CC_IO;
    }
    status = parse(text, (size_t)n, pair_out);
    sodium_memzero(text, sizeof(text));
    if (status != CC_OK) {
        say(problem_out, "%s: must be one line of 64 hex digits, as `caucus keygen` writes it", path);
    }
    return status;
}

enum cc_status io_keys_load(const char *path, struct keys_pair *pair_out, struct io_keys_problem *problem_out)
{
    if (sodium_init() < 0) {
        say(problem_out, "the system's random source cannot be used");
        return CC_IO;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        say(problem_out, "%s: %s", path, strerror(errno));
        return errno == ENOENT ? CC_NOT_FOUND : CC_IO;
    }
    enum cc_status status = load(fd, path, pair_out, problem_out);
    (void)close(fd);
    return status;
}
