// Private key files: one line of 64 hex digits (the seed), mode 0600. `caucus keygen` makes them.
#ifndef IO_KEYS_H
#define IO_KEYS_H

#include "proxy/config/keys.h"

enum { IO_KEYS_PROBLEM_BYTES = 512 };

// Says in words what is wrong with a key file.
struct io_keys_problem {
    char text[IO_KEYS_PROBLEM_BYTES];
};

// A new pair from the system's random source. CC_IO when it cannot be used.
enum cc_status io_keys_generate(struct keys_pair *pair_out) CC_CHECKED;
// Writes a new file, synced with its directory. CC_EXISTS, CC_IO, CC_NOT_FOUND (no such directory).
enum cc_status io_keys_save(const char *path, const struct keys_pair *pair,
                            struct io_keys_problem *problem_out) CC_CHECKED;
// CC_NOT_FOUND; CC_REFUSED: others may read or write it, or it belongs to another user; CC_MALFORMED; CC_IO.
enum cc_status io_keys_load(const char *path, struct keys_pair *pair_out,
                            struct io_keys_problem *problem_out) CC_CHECKED;
// From the system's random source, for handshakes and seeds.
void io_keys_random(void *out, size_t n);

#endif
