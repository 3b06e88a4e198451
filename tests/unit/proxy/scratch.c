// See scratch.h.
#include "proxy/scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

void scratch_make(const char *name, char directory_out[SCRATCH_BYTES])
{
    (void)snprintf(directory_out, SCRATCH_BYTES, "/tmp/cc-%s-XXXXXX", name);
    assert_non_null(mkdtemp(directory_out));
    assert_int_equal(chmod(directory_out, 0755), 0);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void scratch_remove(const char *directory)
{
    (void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
