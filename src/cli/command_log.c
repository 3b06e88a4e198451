// caucus log verify: checks a replica's log while nobody writes it.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/command.h"
#include "consensus/wal.h"
#include "proxy/replica/io_disk.h"

static const struct cli_option options[] = {
    {.name = "json", .help = "One JSON document."},
};

// The log itself, or the data directory of a replica that has it.
static void find_log(const char *directory, struct cc_buffer *out)
{
    struct stat status;
    cc_buffer_printf(out, "%s/log", directory);
    if (stat(cc_buffer_text(out), &status) != 0 || !S_ISDIR(status.st_mode)) {
        cc_buffer_clear(out);
        cc_buffer_append_text(out, directory);
    }
}

static void print_text(const char *directory, enum cc_status status, const struct wal_state *state,
                       const struct wal_report *report)
{
    (void)printf("%s: %s\n", directory, status == CC_OK ? "whole" : "damaged");
    (void)printf("%" PRIu64 " records in %" PRIu64 " segments, %" PRIu64 " bytes\n", report->n_records,
                 report->n_segments, report->n_bytes);
    if (state->has_identity) {
        (void)printf("cluster %s, replica %" PRIu32 ", incarnation %" PRIx32 "\n", state->identity.cluster,
                     state->identity.replica, state->identity.incarnation);
    }
    if (report->first_index > 0) {
        (void)printf("entries %" PRIu64 " to %" PRIu64 ", committed up to %" PRIu64 "\n", report->first_index,
                     report->last_index, state->mark.commit);
    }
    if (report->cut_bytes > 0) {
        (void)printf("%s: the last write before a crash was not finished: %" PRIu64 " bytes at %" PRIu64
                     " will be cut at the next start (%s)\n",
                     report->segment, report->cut_bytes, report->offset, report->reason == NULL ? "" : report->reason);
    }
    if (status != CC_OK) {
        (void)printf("%s, offset %" PRIu64 ", record %" PRIu64 ": %s\n", report->segment, report->offset,
                     report->number, report->reason == NULL ? cc_status_text(status) : report->reason);
    }
}

static void print_json(const char *directory, enum cc_status status, const struct wal_state *state,
                       const struct wal_report *report)
{
    json_t *json = json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:s?}", "directory", directory,
                             "whole", status == CC_OK, "records", (json_int_t)report->n_records, "segments",
                             (json_int_t)report->n_segments, "bytes", (json_int_t)report->n_bytes, "first_index",
                             (json_int_t)report->first_index, "last_index", (json_int_t)report->last_index, "commit",
                             (json_int_t)state->mark.commit, "cut_bytes", (json_int_t)report->cut_bytes, "segment",
                             report->segment, "offset", (json_int_t)report->offset, "reason", report->reason);
    char *text = json_dumps(json, JSON_INDENT(2));
    (void)puts(text == NULL ? "{}" : text);
    free(text);
    json_decref(json);
}

static enum cli_exit verify(const char *directory, bool as_json)
{
    struct io_disk *disk = NULL;
    enum cc_status status = io_disk_open(directory, IO_DISK_READER, &disk);
    if (status != CC_OK) {
        return cli_fail(CLI_IO, "%s: %s", directory, cc_status_text(status));
    }
    struct wal_disk functions = io_disk_functions(disk);
    struct wal_state state = {0};
    struct wal_report report = {0};
    status = wal_verify(&functions, NULL, NULL, &state, &report);
    enum cli_exit code = CLI_OK;
    if (status == CC_IO) {
        code = cli_fail(CLI_IO, "%s: %s", directory, io_disk_problem(disk));
    } else if (status == CC_OK && report.n_segments == 0) {
        code = cli_fail(CLI_IO, "%s: there is no log", directory);
    } else {
        (as_json ? print_json : print_text)(directory, status, &state, &report);
        code = status == CC_OK ? CLI_OK : CLI_CORRUPT;
    }
    io_disk_close(disk);
    return code;
}

static enum cli_exit run(const struct cli_arguments *arguments)
{
    if (arguments->n_positional != 2 || strcmp(arguments->positional[0], "verify") != 0) {
        return cli_fail(CLI_USAGE, "log: say what to do and where: caucus log verify DIR");
    }
    struct cc_buffer directory = {0};
    find_log(arguments->positional[1], &directory);
    enum cli_exit code = verify(cc_buffer_text(&directory), cli_is_given(arguments, "json"));
    cc_buffer_finish(&directory);
    return code;
}

const struct cli_command command_log = {
    .name = "log",
    .positional = "verify DIR",
    .summary = "Check a replica's log on disk (log verify DIR).",
    .description = "log verify DIR reads the whole log of a replica that is not running, and changes nothing. DIR is "
                   "its data directory or the\n"
                   "log directory in it. An unfinished write at the very end is what a crash leaves, and is fine.\n"
                   "Exit code 65 when the log is damaged, with the place; the replica would refuse to start.",
    .options = options,
    .n_options = sizeof(options) / sizeof(options[0]),
    .run = run,
};
