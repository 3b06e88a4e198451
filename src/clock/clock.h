// Hybrid logical clock (Kulkarni et al. 2014): a Lamport clock that stays close to wall time.
// A clock value is 64 bits: 48 of wall milliseconds since 1970, 16 of counter; counter overflow carries into the milliseconds.
#ifndef CLOCK_H
#define CLOCK_H

#include "base/codec.h"

// A stamp: totally ordered, never repeated. Order: hlc, then replica, then incarnation.
struct clock_stamp {
    uint64_t hlc; // 0 with replica 0 is "never", less than every other stamp
    uint32_t replica;
    uint32_t incarnation;
};

struct clock_hlc {
    uint64_t last;             // greatest value given out or taken over
    uint64_t skew_ms_max;      // values further than this ahead of wall time are not taken over
    uint32_t replica;
    uint32_t incarnation;
};

void clock_hlc_init(struct clock_hlc *clock, uint32_t replica, uint32_t incarnation, uint64_t skew_ms_max);
// Durable floor: no stamp at or below `floor` is given out again (after a restart, with the greatest stamp found on disk).
void clock_hlc_floor(struct clock_hlc *clock, uint64_t floor);
// A new stamp, greater than every one given out or observed. wall_ms: milliseconds since 1970, may jump.
struct clock_stamp clock_hlc_tick(struct clock_hlc *clock, uint64_t wall_ms);
// Takes over a value heard from a peer. CC_CLOCK_SKEW when it is more than skew_ms_max ahead of wall_ms: nothing is taken over.
enum cc_status clock_hlc_observe(struct clock_hlc *clock, uint64_t hlc, uint64_t wall_ms) CC_CHECKED;

uint64_t clock_hlc_ms(uint64_t hlc); // the wall milliseconds of a value
uint64_t clock_hlc_of_ms(uint64_t ms);

int clock_stamp_compare(const struct clock_stamp *a, const struct clock_stamp *b); // <0, 0, >0
bool clock_stamp_is_zero(const struct clock_stamp *stamp);

void clock_stamp_put(struct cc_buffer *out, const struct clock_stamp *stamp); // 16 bytes
struct clock_stamp clock_stamp_read(struct cc_reader *reader);
// Text form, also what `_caucus` columns hold: 16 hex digits, '.', replica, '.', incarnation (decimal). Needs 40 bytes.
enum { CLOCK_STAMP_TEXT_BYTES = 40 };
void clock_stamp_text(const struct clock_stamp *stamp, char out[CLOCK_STAMP_TEXT_BYTES]);
enum cc_status clock_stamp_parse(struct cc_slice text, struct clock_stamp *stamp_out) CC_CHECKED;

#endif
