// The logger: lines of key=value on a descriptor; never blocks: what does not fit at once is dropped and counted.
// Only the shell logs; pure code returns facts. Form:
// time=2026-01-31T12:00:00.123Z level=info event=applied replica=2 term=7 index=41 ms=3
#ifndef CC_LOG_H
#define CC_LOG_H

#include <stdint.h>

enum cc_log_level { CC_LOG_DEBUG, CC_LOG_INFO, CC_LOG_WARN, CC_LOG_ERROR };

// Writes to descriptor `fd` (not owned), lines at `level` and above, each with "replica=<replica>" when replica != 0.
void cc_log_open(int fd, enum cc_log_level level, uint32_t replica);
// `fields` is a printf format of further key=value pairs; values with blanks are to be passed through cc_log_quote.
void cc_log(enum cc_log_level level, const char *event, const char *fields, ...) __attribute__((format(printf, 3, 4)));
// "text" quoted and escaped, cut at 400 bytes, into a per-thread ring of 8 static buffers.
const char *cc_log_quote(const char *text);
uint64_t cc_log_dropped(void); // lines dropped since the start

#endif
