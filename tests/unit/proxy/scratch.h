// A directory of a test's own, which other users may enter.
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

enum { SCRATCH_BYTES = 64 };

// Fails the test if it cannot.
void scratch_make(const char *name, char directory_out[SCRATCH_BYTES]);
void scratch_remove(const char *directory); // with all that is in it

#endif
