// Preloaded into `caucus serve`: makes fdatasync slow or fail, as the file named by DISK_SHIM says: a number of milliseconds, or "fail".
// DISK_SHIM_MS makes every sync of every program so much slower, also those of PostgreSQL: a whole machine with a slow disk.
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int fdatasync(int fd);
int fsync(int fd);

static long told(void) // milliseconds; -1: fail
{
    const char *path = getenv("DISK_SHIM");
    FILE *file = path == NULL || strstr(program_invocation_short_name, "caucus") == NULL ? NULL : fopen(path, "re");
    char text[32] = "";
    if (file != NULL) {
        (void)!fgets(text, sizeof(text), file);
        (void)fclose(file);
    }
    return strcmp(text, "fail") == 0 ? -1 : strtol(text, NULL, 10);
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
    long ms = told();
    if (ms < 0) {
        errno = EIO;
        return -1;
    }
    pause_ms(ms);
    return sync_slowly("fdatasync", fd);
}
