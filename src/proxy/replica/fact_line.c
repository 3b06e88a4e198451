// See fact_line.h.
#include "proxy/replica/fact_line.h"

#include <inttypes.h>

// In the fields, %a %b %c stand for the fact's numbers and %t for its text; %A %B %C for numbers in hexadecimal digits, %T for a text that is
// one word, %r for a as a role, %s for a as the state of a reload, %y for b as true or false.
static const struct form {
    enum cc_log_level level;
    const char *event, *fields;
} forms[] = {
    [NODE_FACT_ROLE] = {CC_LOG_INFO, "role", "role=%r term=%b leader=%c"},
    [NODE_FACT_PEER_REFUSED] = {CC_LOG_ERROR, "peer_refused", "peer=%a why=%t"},
    [NODE_FACT_DIVERGED] = {CC_LOG_ERROR, "halted", "applied=%a why=%t"},
    [NODE_FACT_SCHEMA] = {CC_LOG_INFO, "schema", "version=%a index=%b"},
    [NODE_FACT_CLOCK] = {CC_LOG_WARN, "clock_ahead", "peer=%a ms=%b"},
    [NODE_FACT_REQUEUED] = {CC_LOG_INFO, "requeued", "operations=%a"},
    [NODE_FACT_RECOVERED] = {CC_LOG_INFO, "recovered", "index=%a"},
    [NODE_FACT_FORGOT] = {CC_LOG_ERROR, "amnesia", "last_index=%a applied=%b why=%t"},
    [NODE_FACT_SNAPSHOT_PULL] = {CC_LOG_INFO, "snapshot_pull", "peer=%a applied=%b log_base=%c"},
    [NODE_FACT_SNAPSHOT_MADE] = {CC_LOG_INFO, "snapshot_made", "index=%a bytes=%b"},
    [NODE_FACT_SNAPSHOT_INSTALLED] = {CC_LOG_INFO, "snapshot_installed", "index=%a bytes=%b"},
    [NODE_FACT_SNAPSHOT_FAILED] = {CC_LOG_WARN, "snapshot_failed", "index=%a why=%t"},
    [NODE_FACT_MEMBERS] = {CC_LOG_INFO, "members", "n=%a committed=%b in_force=%c"},
    [NODE_FACT_REMOVED] = {CC_LOG_ERROR, "removed", "index=%a"},
    [NODE_FACT_PROMOTED] = {CC_LOG_INFO, "promoted", "member=%a index=%b"},
    [NODE_FACT_RELOAD] = {CC_LOG_INFO, "reload", "state=%s changes=%b left=%c why=%t"},
    [NODE_FACT_TWO_CONTENTS] = {CC_LOG_ERROR, "two_contents", "origin=%a.%B sequence=%c"},
    [NODE_FACT_RESTORED] = {CC_LOG_ERROR, "restored_copy", "peer=%a its_last=%b our_last=%c"},
    [NODE_FACT_ORIGIN] = {CC_LOG_WARN, "origin_begun", "before=%A its_last=%b origin=%C"},
    [NODE_FACT_TOO_OLD] = {CC_LOG_ERROR, "change_too_old", "origin=%a.%B sequence=%c"},
    [NODE_FACT_HISTORY_GAP] = {CC_LOG_WARN, "history_gap", "peer=%a origin=%b.%C"},
    [NODE_FACT_REJOIN] = {CC_LOG_ERROR, "must_rejoin", "peer=%a first=%b last=%c"},
    [NODE_FACT_BEGIN_ANEW] = {CC_LOG_WARN, "begin_anew", "changes=%a"},
    [NODE_FACT_CHANGES_MISSING] = {CC_LOG_ERROR, "changes_missing", "first=%a last=%b silent=%c"},
    [NODE_FACT_CHANGES_LOST] = {CC_LOG_ERROR, "changes_lost", "first=%a sets=%b kept=%c"},
    [NODE_FACT_RENEWED] = {CC_LOG_WARN, "renewed", "changes=%a lost=%b"},
    [NODE_FACT_CATCH_UP] = {CC_LOG_WARN, "catch_up", "peer=%a origin=%b.%C"},
    [NODE_FACT_CAUGHT_UP] = {CC_LOG_INFO, "caught_up", "peer=%a rows=%b compared=%c"},
    [NODE_FACT_CATCH_UP_ENDED] = {CC_LOG_WARN, "catch_up_ended", "peer=%a why=%t"},
    [NODE_FACT_DIGESTS_DIFFER] = {CC_LOG_ERROR, "digests_differ", "peer=%a table=%t"},
    [NODE_FACT_REPAIRED] = {CC_LOG_INFO, "repaired", "rows=%a compared=%b members_skipped=%c"},
    [NODE_FACT_REPAIR_GOES_ON] = {CC_LOG_INFO, "repair_goes_on", "members=%a restarted=%y"},
    [NODE_FACT_REPLAY] = {CC_LOG_INFO, "replay", "log=%T first=%a last=%b"},
};

static const char *reload_text(enum node_reload_state state)
{
    switch (state) {
    case NODE_RELOAD_NONE:
    case NODE_RELOAD_RUNNING:
        return "running";
    case NODE_RELOAD_DONE:
        return "done";
    case NODE_RELOAD_FAILED:
        return "failed";
    }
    return "";
}

static void put_value(struct cc_buffer *out, char letter, const struct node_fact *fact)
{
    const uint64_t numbers[] = {fact->a, fact->b, fact->c};
    if (letter >= 'a' && letter <= 'c') {
        cc_buffer_printf(out, "%" PRIu64, numbers[letter - 'a']);
    } else if (letter >= 'A' && letter <= 'C') {
        cc_buffer_printf(out, "%" PRIx64, numbers[letter - 'A']);
    } else if (letter == 't') {
        cc_buffer_append_text(out, cc_log_quote(fact->text == NULL || fact->text[0] == '\0' ? "-" : fact->text));
    } else if (letter == 'T') {
        cc_buffer_append_text(out, fact->text);
    } else if (letter == 'r') {
        cc_buffer_append_text(out, raft_role_name((enum raft_role)fact->a));
    } else if (letter == 's') {
        cc_buffer_append_text(out, reload_text((enum node_reload_state)fact->a));
    } else if (letter == 'y') {
        cc_buffer_append_text(out, fact->b != 0 ? "true" : "false");
    }
}

// Some kinds tell of good and of bad ends.
static enum cc_log_level level_of(const struct node_fact *fact)
{
    if (fact->kind == NODE_FACT_RELOAD && fact->a == NODE_RELOAD_FAILED) {
        return CC_LOG_ERROR;
    }
    if (fact->kind == NODE_FACT_REPAIRED && fact->a > 0) {
        return CC_LOG_WARN;
    }
    return forms[fact->kind].level;
}

void fact_line_make(const struct node_fact *fact, struct fact_line *line_out)
{
    const struct form *form = &forms[fact->kind];
    *line_out = (struct fact_line){.level = level_of(fact), .event = form->event};
    for (const char *at = form->fields; *at != '\0'; at++) {
        if (*at == '%') {
            put_value(&line_out->fields, *++at, fact);
        } else {
            cc_buffer_append(&line_out->fields, at, 1);
        }
    }
}

void fact_line_finish(struct fact_line *line)
{
    cc_buffer_finish(&line->fields);
}
