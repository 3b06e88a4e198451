// A private PostgreSQL for tests: unix socket only, in a temporary directory, gone afterwards.
#ifndef TESTS_PRIVATE_POSTGRES_H
#define TESTS_PRIVATE_POSTGRES_H

#include <stdbool.h>

struct private_postgres {
    char directory[64];
    char conninfo[160];
    int pid;
};

// False when there is no PostgreSQL on this machine or it does not start (the reason is on stderr). As root it runs under
// an unprivileged user. Stopped and removed at exit in any case.
bool private_postgres_start(struct private_postgres *postgres);
void private_postgres_stop(struct private_postgres *postgres);

#endif
