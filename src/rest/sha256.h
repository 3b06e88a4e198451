// SHA-256 (FIPS 180-4), the same that PostgreSQL's sha256() gives: entity tags are compared inside of statements.
#ifndef REST_SHA256_H
#define REST_SHA256_H

#include "base/slice.h"

enum { REST_SHA256_BYTES = 32 };

void rest_sha256(struct cc_slice text, uint8_t digest_out[REST_SHA256_BYTES]);

#endif
