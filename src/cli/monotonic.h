// Time for commands that wait: the monotonic clock in milliseconds.
#ifndef CLI_MONOTONIC_H
#define CLI_MONOTONIC_H

#include <stdint.h>

uint64_t cli_now_ms(void);
void cli_sleep_ms(uint32_t ms); // or until a signal comes

#endif
