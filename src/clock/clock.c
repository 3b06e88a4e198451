// Hybrid logical clock, stamp order and codec.
#include "clock/clock.h"

#include "base/mutant.h"

#include <assert.h>

enum { COUNTER_BITS = 16, HLC_DIGITS = 16, NUMBER_DIGITS_MAX = 10 };
#define MS_MAX ((UINT64_C(1) << 48) - 1)

void clock_hlc_init(struct clock_hlc *clock, uint32_t replica, uint32_t incarnation, uint64_t skew_ms_max)
{
    *clock = (struct clock_hlc){.skew_ms_max = skew_ms_max, .replica = replica, .incarnation = incarnation};
}

uint64_t clock_hlc_ms(uint64_t hlc)
{
    return hlc >> COUNTER_BITS;
}

uint64_t clock_hlc_of_ms(uint64_t ms)
{
    return (ms > MS_MAX ? MS_MAX : ms) << COUNTER_BITS;
}

static void raise_to(struct clock_hlc *clock, uint64_t hlc)
{
    if (hlc > clock->last) {
        clock->last = hlc;
    }
}

void clock_hlc_floor(struct clock_hlc *clock, uint64_t floor)
{
    if (!cc_mutant(CC_MUTANT_CLOCK_RESTARTS)) {
        raise_to(clock, floor);
    }
}

struct clock_stamp clock_hlc_tick(struct clock_hlc *clock, uint64_t wall_ms)
{
    assert(clock->last < UINT64_MAX);
    uint64_t now = clock_hlc_of_ms(wall_ms);
    bool follows = now > clock->last || cc_mutant(CC_MUTANT_CLOCK_FOLLOWS_WALL);
    clock->last = follows ? now : clock->last + 1;
    return (struct clock_stamp){.hlc = clock->last, .replica = clock->replica, .incarnation = clock->incarnation};
}

enum cc_status clock_hlc_observe(struct clock_hlc *clock, uint64_t hlc, uint64_t wall_ms)
{
    uint64_t ms = clock_hlc_ms(hlc);
    if (cc_mutant(CC_MUTANT_CLOCK_OBSERVES_NOTHING)) {
        return CC_OK;
    }
    if (ms > wall_ms && ms - wall_ms > clock->skew_ms_max && !cc_mutant(CC_MUTANT_SKEW_TAKEN)) {
        return CC_CLOCK_SKEW;
    }
    raise_to(clock, hlc);
    return CC_OK;
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

int clock_stamp_compare(const struct clock_stamp *a, const struct clock_stamp *b)
{
    if (a->hlc != b->hlc) {
        return compare_u64(a->hlc, b->hlc);
    }
    if (cc_mutant(CC_MUTANT_TIES_KEEP_MINE)) {
        return 0;
    }
    if (a->replica != b->replica) {
        return compare_u64(a->replica, b->replica);
    }
    return compare_u64(a->incarnation, b->incarnation);
}

bool clock_stamp_is_zero(const struct clock_stamp *stamp)
{
    return stamp->hlc == 0 && stamp->replica == 0 && stamp->incarnation == 0;
}

void clock_stamp_put(struct cc_buffer *out, const struct clock_stamp *stamp)
{
    cc_put_u64(out, stamp->hlc);
    cc_put_u32(out, stamp->replica);
    cc_put_u32(out, stamp->incarnation);
}

struct clock_stamp clock_stamp_read(struct cc_reader *reader)
{
    struct clock_stamp stamp = {0};
    stamp.hlc = cc_read_u64(reader);
    stamp.replica = cc_read_u32(reader);
    stamp.incarnation = cc_read_u32(reader);
    return cc_reader_ok(reader) ? stamp : (struct clock_stamp){0};
}

static char *put_dot_number(char *at, uint32_t value)
{
    char digits[10];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    *at++ = '.';
    while (n > 0) {
        *at++ = digits[--n];
    }
    return at;
}

// Without printf: every weak write needs several.
void clock_stamp_text(const struct clock_stamp *stamp, char out[CLOCK_STAMP_TEXT_BYTES])
{
    for (int i = 0; i < 16; i++) {
        out[i] = "0123456789abcdef"[stamp->hlc >> (60 - 4 * i) & 15];
    }
    *put_dot_number(put_dot_number(out + 16, stamp->replica), stamp->incarnation) = '\0';
}

static uint64_t parse_hex(struct cc_reader *reader, size_t n_digits)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n_digits; i++) {
        uint8_t c = cc_read_u8(reader);
        if (c >= '0' && c <= '9') {
            value = value << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            cc_reader_fail(reader);
        }
    }
    return value;
}

// ".number": decimal, shortest form, up to the next dot or the end.
static uint32_t parse_dot_number(struct cc_reader *reader)
{
    if (cc_read_u8(reader) != '.') {
        cc_reader_fail(reader);
    }
    uint64_t value = 0;
    size_t n_digits = 0;
    while (cc_reader_left(reader) > 0 && *reader->at != '.') {
        uint8_t c = cc_read_u8(reader);
        bool padded = n_digits > 0 && value == 0;
        if (c < '0' || c > '9' || padded || n_digits == NUMBER_DIGITS_MAX) {
            cc_reader_fail(reader);
            return 0;
        }
        value = value * 10 + (uint64_t)(c - '0');
        n_digits++;
    }
    if (n_digits == 0 || value > UINT32_MAX) {
        cc_reader_fail(reader);
        return 0;
    }
    return (uint32_t)value;
}

enum cc_status clock_stamp_parse(struct cc_slice text, struct clock_stamp *stamp_out)
{
    struct cc_reader reader = cc_reader_of(text);
    struct clock_stamp stamp = {0};
    stamp.hlc = parse_hex(&reader, HLC_DIGITS);
    stamp.replica = parse_dot_number(&reader);
    stamp.incarnation = parse_dot_number(&reader);
    enum cc_status status = cc_reader_end(&reader);
    if (status == CC_OK) {
        *stamp_out = stamp;
    }
    return status;
}
