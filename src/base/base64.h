// base64url without padding (RFC 4648 section 5), as tokens use it.
#ifndef CC_BASE64_H
#define CC_BASE64_H

#include "base/slice.h"
#include "base/status.h"

void cc_base64url_put(struct cc_buffer *out, struct cc_slice bytes);
// Appends the bytes. Strict: no padding, no blanks, no stray bits at the end. CC_MALFORMED: nothing is appended.
enum cc_status cc_base64url_read(struct cc_slice text, struct cc_buffer *out) CC_CHECKED;

#endif
