// SipHash-2-4 keyed hashing for tables and digests.
#ifndef CC_HASH_H
#define CC_HASH_H

#include "base/slice.h"

uint64_t cc_siphash(const uint8_t key[16], const void *data, size_t n);

#endif
