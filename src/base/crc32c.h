// CRC-32C (Castagnoli), RFC 3720 appendix B.4.
#ifndef CC_CRC32C_H
#define CC_CRC32C_H

#include "base/slice.h"

// Continues from `crc`; start with 0. crc32c("123456789") == 0xe3069283.
uint32_t cc_crc32c(uint32_t crc, const void *data, size_t n);
// The same without special instructions; public so that tests can compare the two.
uint32_t cc_crc32c_portable(uint32_t crc, const void *data, size_t n);

#endif
