// Preloaded into `caucus serve`: makes fdatasync slow or fail, as the file named by DISK_SHIM says: a number of milliseconds, or "fail".
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int fdatasync(int fd);

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

int fdatasync(int fd)
{
    long ms = told();
    if (ms < 0) {
        errno = EIO;
        return -1;
    }
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&wait, NULL);
    int (*real)(int) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
