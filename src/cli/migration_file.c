// Sending a migration file to a replica.
#include "cli/migration_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "cli/http_client.h"
#include "cli/monotonic.h"

enum { REQUEST_MS = 600 * 1000, PAUSE_MS = 300 };

static void put_name(struct cc_buffer *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    size_t n = strlen(name);
    bool sql = n > 4 && strcmp(name + n - 4, ".sql") == 0;
    cc_buffer_append(out, name, sql ? n - 4 : n);
}

static bool read_whole(const char *path, struct cc_buffer *out, struct migration_report *report)
{
    FILE *file = fopen(path, "re");
    char part[1 << 16];
    size_t n = 0;
    while (file != NULL && out->n <= CC_BODY_BYTES_MAX && (n = fread(part, 1, sizeof(part), file)) > 0) {
        cc_buffer_append(out, part, n);
    }
    bool failed = file == NULL || ferror(file) != 0;
    if (failed || out->n == 0 || out->n > CC_BODY_BYTES_MAX) {
        const char *why = failed ? strerror(errno) : out->n == 0 ? "the file is empty" : "the file is too large";
        (void)snprintf(report->text, sizeof(report->text), "%s", why);
        report->result = MIGRATION_FILE_UNREADABLE;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return report->text[0] == '\0';
}

// Nothing is decided: nobody answered, not executed (503), or the outcome is unknown (504).
static bool is_undecided(const struct http_response *response)
{
    return response->status == 0 || response->status == 503 || response->status == 504;
}

static void judge(const struct http_response *response, struct migration_report *report)
{
    bool accepted = response->status == 200 || response->status == 201;
    if (!accepted) {
        report->result = MIGRATION_FILE_REFUSED;
        (void)snprintf(report->text, sizeof(report->text), "%s", http_response_problem(response));
        return;
    }
    json_t *json = http_response_json(response);
    report->result = response->status == 201 ? MIGRATION_FILE_APPLIED : MIGRATION_FILE_THERE;
    report->index = (uint64_t)json_integer_value(json_object_get(json, "index"));
    json_decref(json);
}

void migration_file_send(const char *path, const char *url, uint32_t patience_ms, bool (*keep_going)(void *context),
                         void *context, struct cc_buffer *name_out, struct migration_report *report_out)
{
    struct cc_buffer sql = {0}, target = {0};
    struct http_response response = {0};
    *report_out = (struct migration_report){0};
    put_name(name_out, path);
    if (!read_whole(path, &sql, report_out)) {
        cc_buffer_finish(&sql);
        return;
    }
    http_put_base(&target, url);
    cc_buffer_append_text(&target, "/_caucus/migrations?name=");
    http_put_encoded(&target, cc_buffer_text(name_out));
    struct http_request request = {
        .url = cc_buffer_text(&target),
        .method = "POST",
        .body = cc_buffer_slice(&sql),
        .content_type = "application/sql",
        .timeout_ms = REQUEST_MS,
    };
    uint64_t give_up_ms = cli_now_ms() + patience_ms;
    for (;;) {
        http_fetch(&request, &response, 1, keep_going, context);
        bool again = is_undecided(&response) && cli_now_ms() < give_up_ms && (keep_going == NULL || keep_going(context));
        if (!again) {
            break;
        }
        http_response_finish(&response);
        cli_sleep_ms(PAUSE_MS);
    }
    judge(&response, report_out);
    http_response_finish(&response);
    cc_buffer_finish(&sql);
    cc_buffer_finish(&target);
}
