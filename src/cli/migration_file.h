// Sending a migration file to a replica.
#ifndef CLI_MIGRATION_FILE_H
#define CLI_MIGRATION_FILE_H

#include "cli/command.h"
#include "base/slice.h"

enum migration_result {
    MIGRATION_FILE_APPLIED,
    MIGRATION_FILE_THERE,
    MIGRATION_FILE_REFUSED,
    MIGRATION_FILE_UNREADABLE
};

struct migration_report {
    enum migration_result result;
    uint64_t index;  // APPLIED, THERE
    char text[2300]; // REFUSED, UNREADABLE: why
};

// Applies the file under its name without directory and ".sql" (name_out gets it). While no replica can take it, it is sent again
// for up to `patience_ms`: a migration is applied once, whatever happens.
void migration_file_send(const char *path, const char *url, uint32_t patience_ms, bool (*keep_going)(void *context),
                         void *context, struct cc_buffer *name_out, struct migration_report *report_out);

#endif
