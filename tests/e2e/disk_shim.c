// Preloaded into `caucus serve`: makes fdatasync slow or fail, as the file named by DISK_SHIM says: a number of milliseconds, or "fail", which
// may be followed by a part of the path: "fail /2/log/".
// DISK_SHIM_MS makes every sync of every program so much slower, also those of PostgreSQL: a whole machine with a slow disk.
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int is_named(int fd, const char *part)
{
    char link[64], path[4096] = "";
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, part) != NULL;
}

static long told(int fd) // milliseconds; -1: fail
{
    const char *path = getenv("DISK_SHIM");
    FILE *file = path == NULL || strstr(program_invocation_short_name, "caucus") == NULL ? NULL : fopen(path, "re");
    char text[256] = "";
    if (file != NULL) {
        (void)!fgets(text, sizeof(text), file);
        (void)fclose(file);
    }
    int fails = strncmp(text, "fail", 4) == 0 && (text[4] == '\0' || is_named(fd, text + 5));
    return fails ? -1 : strtol(text, NULL, 10);
}

static void pause_ms(long ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&wait, NULL);
}

static int sync_slowly(const char *name, int fd)
{
    const char *ms = getenv("DISK_SHIM_MS");
    pause_ms(ms == NULL ? 0 : strtol(ms, NULL, 10));
    int (*real)(int) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd)
{
    return sync_slowly("fsync", fd);
}

int fdatasync(int fd)
{
    long ms = told(fd);
    if (ms < 0) {
        errno = EIO;
        return -1;
    }
    pause_ms(ms);
    return sync_slowly("fdatasync", fd);
}
