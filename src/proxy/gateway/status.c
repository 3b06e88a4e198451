// What GET /_caucus/status and /_caucus/metrics say.
#include "proxy/gateway/status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#ifndef CAUCUS_VERSION
#define CAUCUS_VERSION "0.1.0"
#endif

static void put_origin(struct cc_buffer *out, struct crdt_origin origin)
{
    cc_buffer_printf(out, "%" PRIu32 ".%" PRIx32, origin.replica, origin.incarnation);
}

bool status_is_away(const struct config *config, const struct node_peer_status *peer, const struct status_shell *shell)
{
    uint64_t silent_ms = peer->heard_us_ago == UINT64_MAX ? shell->now_ms - shell->started_ms : peer->heard_us_ago / 1000;
    return !peer->reachable && silent_ms >= (uint64_t)config->weak.away_hours * 3600 * 1000;
}

static uint64_t n_away(const struct config *config, const struct node_status *status, const struct status_shell *shell)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < status->n_peers; i++) {
        n += status_is_away(config, &status->peers[i], shell);
    }
    return n;
}

static json_t *garbage_json(const struct config *config, const struct node_status *status, const struct status_shell *shell)
{
    char bound[17];
    snprintf(bound, sizeof(bound), "%016" PRIx64, shell->garbage.bound);
    json_t *away = json_array();
    for (uint32_t i = 0; i < status->n_peers; i++) {
        if (status_is_away(config, &status->peers[i], shell)) {
            json_array_append_new(away, json_integer(status->peers[i].id));
        }
    }
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "settled", bound, "tombstones_dropped", (json_int_t)shell->garbage.tombstones,
                     "history_dropped", (json_int_t)shell->garbage.sets, "history_bytes_dropped", (json_int_t)shell->garbage.set_bytes,
                     "requests_dropped", (json_int_t)shell->garbage.requests, "away", away);
}

static json_t *repair_json(const struct node_status *status)
{
    const struct node_repair_status *repair = &status->repair;
    json_t *json = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "running", repair->running, "rounds", (json_int_t)repair->n_rounds, "rows_compared",
                             (json_int_t)repair->n_compared, "rows_repaired", (json_int_t)repair->n_repaired, "rows_repaired_ever",
                             (json_int_t)repair->n_repaired_ever, "members_skipped", (json_int_t)repair->n_skipped);
    json_object_set_new(json, "catching_up", json_boolean(repair->catching_up));
    json_object_set_new(json, "caught_up", json_integer((json_int_t)repair->n_adopted));
    json_t *left = repair->left_known ? json_array() : json_null();
    for (uint32_t i = 0; i < repair->n_left; i++) {
        json_array_append_new(left, json_integer(repair->left[i]));
    }
    json_object_set_new(json, "members_left", left);
    if (repair->running && repair->table[0] != '\0') {
        json_object_set_new(json, "member", json_integer(repair->peer));
        json_object_set_new(json, "table", json_string(repair->table));
        json_object_set_new(json, "table_percent", json_integer(repair->done_percent));
    }
    return json;
}

void status_put_repair(struct cc_buffer *out, const struct node_status *status)
{
    json_t *json = repair_json(status);
    char *text = json_dumps(json, JSON_COMPACT);
    cc_buffer_append_text(out, text);
    free(text);
    json_decref(json);
}

static json_t *frontier_json(const struct crdt_frontier *frontier)
{
    json_t *object = json_object();
    for (uint32_t i = 0; i < frontier->n; i++) {
        struct cc_buffer name = {0};
        put_origin(&name, frontier->at[i].origin);
        json_object_set_new(object, cc_buffer_text(&name), json_integer((json_int_t)frontier->at[i].sequence));
        cc_buffer_finish(&name);
    }
    return object;
}

static void put_origin_status(json_t *root, const struct node_status *status)
{
    struct cc_buffer name = {0};
    put_origin(&name, status->origin);
    json_object_set_new(root, "origin", json_string(cc_buffer_text(&name)));
    json_object_set_new(root, "origin_confirmed", json_boolean(status->origin_confirmed));
    json_object_set_new(root, "origins_begun", json_integer((json_int_t)status->n_origins_begun));
    cc_buffer_finish(&name);
}

static const struct node_peer_status *find_peer(const struct node_status *status, uint32_t id)
{
    for (uint32_t i = 0; i < status->n_peers; i++) {
        if (status->peers[i].id == id) {
            return &status->peers[i];
        }
    }
    return NULL;
}

// Of the log's membership; where an old log does not tell, config.json does.
static json_t *replica_json(const struct config *config, const struct raft_member *raft_member, const struct node_status *status)
{
    struct member member;
    const struct config_replica *listed = config_find_replica(config, raft_member->id);
    bool told = member_read(raft_member, &member) == CC_OK;
    json_t *object = json_object();
    json_object_set_new(object, "id", json_integer(member.id));
    json_object_set_new(object, "http", json_string(told || listed == NULL ? member.http : listed->http.text));
    json_object_set_new(object, "peer", json_string(told || listed == NULL ? member.peer : listed->peer.text));
    char key[KEYS_TEXT_BYTES];
    keys_to_text(told || listed == NULL ? member.public_key : listed->public_key, key);
    json_object_set_new(object, "public_key", json_string(key));
    json_object_set_new(object, "voter", json_boolean(member.voter));
    if (member.id == status->replica) {
        json_object_set_new(object, "role", json_string(raft_role_name(status->role)));
        json_object_set_new(object, "reachable", json_true());
        json_object_set_new(object, "applied", json_integer((json_int_t)status->applied));
        json_object_set_new(object, "lag_ms", json_integer(0));
        json_object_set_new(object, "weak_missing", json_integer(0));
        return object;
    }
    const struct node_peer_status *peer = find_peer(status, member.id);
    bool reachable = peer != NULL && peer->reachable;
    json_object_set_new(object, "role", json_string(reachable ? raft_role_name(peer->role) : "unknown"));
    json_object_set_new(object, "reachable", json_boolean(reachable));
    json_object_set_new(object, "applied", json_integer(peer == NULL ? 0 : (json_int_t)peer->applied));
    bool heard = peer != NULL && peer->heard_us_ago != UINT64_MAX;
    json_object_set_new(object, "lag_ms", heard ? json_integer((json_int_t)(peer->heard_us_ago / 1000)) : json_null());
    json_object_set_new(object, "weak_missing", peer == NULL ? json_null() : json_integer((json_int_t)peer->weak_missing));
    if (peer != NULL && peer->reachable && peer->clock_known) {
        json_object_set_new(object, "clock_ms", json_integer((json_int_t)peer->clock_offset_ms));
    }
    if (peer != NULL && peer->refused != NULL) {
        json_object_set_new(object, "refused", json_string(peer->refused));
    }
    return object;
}

static bool is_listed(const struct status_shell *shell, uint32_t id)
{
    for (uint32_t i = 0; i < shell->n_listed; i++) {
        if (shell->listed[i].id == id) {
            return true;
        }
    }
    return false;
}

static json_t *reload_json(const struct node_status *status)
{
    static const char *const states[] = {[NODE_RELOAD_RUNNING] = "running", [NODE_RELOAD_DONE] = "done", [NODE_RELOAD_FAILED] = "failed"};
    if (status->reload.state == NODE_RELOAD_NONE) {
        return json_null();
    }
    return json_pack("{s:s, s:I, s:I, s:s}", "state", states[status->reload.state], "changes", (json_int_t)status->reload.n_steps, "left",
                     (json_int_t)status->reload.n_left, "why", status->reload.why);
}

// Where config.json says something else than the log; the log counts.
static json_t *differences_json(const struct status_shell *shell, const struct node_status *status)
{
    json_t *list = json_array();
    if (shell->config_why[0] != '\0') {
        json_array_append_new(list, json_sprintf("the file cannot be read: %s", shell->config_why));
    }
    for (size_t i = 0; i < shell->n_listed; i++) {
        const struct member *listed = &shell->listed[i];
        const struct raft_member *raft_member = raft_member_find(&status->membership, listed->id);
        struct member member;
        char text[80];
        if (raft_member == NULL) {
            snprintf(text, sizeof(text), "replica %" PRIu32 " is in the file only", listed->id);
        } else if (member_read(raft_member, &member) == CC_OK &&
                   (strcmp(member.http, listed->http) != 0 || strcmp(member.peer, listed->peer) != 0 ||
                    memcmp(member.public_key, listed->public_key, sizeof(member.public_key)) != 0)) {
            snprintf(text, sizeof(text), "replica %" PRIu32 " has another address or key in the file", listed->id);
        } else {
            continue;
        }
        json_array_append_new(list, json_string(text));
    }
    for (uint32_t i = 0; i < status->membership.n_members; i++) {
        uint32_t id = status->membership.members[i].id;
        if (!is_listed(shell, id)) {
            json_array_append_new(list, json_sprintf("replica %u is not in the file", id));
        }
    }
    return list;
}

void status_put_json(struct cc_buffer *out, const struct config *config, const struct node_status *status,
                     const struct status_shell *shell)
{
    json_t *replicas = json_array();
    for (uint32_t i = 0; i < status->membership.n_members; i++) {
        json_array_append_new(replicas, replica_json(config, &status->membership.members[i], status));
    }
    char clock[17];
    snprintf(clock, sizeof(clock), "%016" PRIx64, status->hlc);
    json_t *root = json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:o, s:{s:s, s:b, s:b, s:I}, s:s}", //
                             "cluster", config->cluster, "replica", (json_int_t)status->replica, "role",
                             raft_role_name(status->role), "term", (json_int_t)status->term, "leader",
                             (json_int_t)status->leader, "commit", (json_int_t)status->commit, "applied",
                             (json_int_t)status->applied, "applied_flushed", (json_int_t)shell->applied_flushed,
                             "schema_version", (json_int_t)status->schema_version, "frontier",
                             frontier_json(&status->frontier), "clock", clock, "replicas", replicas, "postgres", "version",
                             shell->postgres_version, "managed", shell->managed, "up",
                             status->database_up[DB_STRONG] && status->database_up[DB_WEAK], "restarts",
                             (json_int_t)shell->postgres_restarts, "version", CAUCUS_VERSION);
    if (status->space_low) {
        json_object_set_new(root, "space_low", json_true());
    }
    if (status->disk_slow) {
        json_object_set_new(root, "disk_slow", json_true());
    }
    if (status->recovering) {
        json_object_set_new(root, "recovering", json_true());
    }
    if (status->must_rejoin) {
        json_object_set_new(root, "must_rejoin", json_true());
    }
    if (status->missing_first > 0) {
        json_object_set_new(root, "changes_missing",
                            json_pack("{s:I, s:I}", "first", (json_int_t)status->missing_first, "last", (json_int_t)status->missing_last));
    }
    if (status->n_changes_lost > 0) {
        json_object_set_new(root, "changes_lost", json_integer((json_int_t)status->n_changes_lost));
    }
    if (status->n_aside + status->n_renewed + status->n_not_renewed > 0) {
        json_object_set_new(root, "renewal",
                            json_pack("{s:I, s:I, s:I}", "waiting", (json_int_t)status->n_aside, "renewed", (json_int_t)status->n_renewed, "lost",
                                      (json_int_t)status->n_not_renewed));
    }
    if (status->snapshot != NULL) {
        json_object_set_new(root, "snapshot", json_pack("{s:s, s:I, s:I, s:I}", "state", status->snapshot, "index", (json_int_t)status->snapshot_index,
                                                        "bytes", (json_int_t)status->snapshot_bytes, "total", (json_int_t)status->snapshot_total));
    }
    json_object_set_new(root, "garbage", garbage_json(config, status, shell));
    json_object_set_new(root, "repair", repair_json(status));
    json_object_set_new(root, "clock_off", json_boolean(status->clock_is_off));
    json_object_set_new(root, "clock_offset_ms", json_integer((json_int_t)status->clock_offset_ms));
    put_origin_status(root, status);
    json_object_set_new(root, "identity_alarms", json_integer((json_int_t)status->n_identity_alarms));
    json_object_set_new(root, "member", json_boolean(status->is_member));
    json_object_set_new(root, "membership_index", json_integer((json_int_t)status->membership_index));
    json_object_set_new(root, "membership_committed", json_boolean(status->membership_committed >= status->membership_index));
    json_object_set_new(root, "config_differs", differences_json(shell, status));
    json_object_set_new(root, "reload", reload_json(status));
    json_object_set_new(root, "halted", status->halted == NULL ? json_null() : json_string(status->halted));
    char *text = json_dumps(root, JSON_COMPACT);
    cc_buffer_append_text(out, text);
    free(text);
    json_decref(root);
}

static void put_stages(struct cc_buffer *out, const struct node_status *status)
{
    static const char name[] = "caucus_strong_write_stage_seconds";
    static const char *const stages[NODE_STAGES] = {
        [NODE_STAGE_QUEUE] = "queue", [NODE_STAGE_EXECUTE] = "execute", [NODE_STAGE_REPLICATE] = "replicate"};
    cc_buffer_printf(out, "# HELP %s Where strong writes spend their time at the leader\n# TYPE %s histogram\n", name, name);
    for (int i = 0; i < NODE_STAGES; i++) {
        const struct node_stage_times *times = &status->stages[i];
        uint64_t n = 0;
        for (int bucket = 0; bucket < NODE_STAGE_BUCKETS; bucket++) {
            n += times->n[bucket];
            cc_buffer_printf(out, "%s_bucket{stage=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, stages[i], node_stage_limits_us[bucket] / 1e6, n);
        }
        cc_buffer_printf(out, "%s_bucket{stage=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, stages[i], times->n_all);
        cc_buffer_printf(out, "%s_sum{stage=\"%s\"} %.6f\n", name, stages[i], (double)times->sum_us / 1e6);
        cc_buffer_printf(out, "%s_count{stage=\"%s\"} %" PRIu64 "\n", name, stages[i], times->n_all);
    }
}

static void metric(struct cc_buffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    cc_buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name, help, name, type, name, value);
}

void status_put_metrics(struct cc_buffer *out, const struct config *config, const struct node_status *status, const struct status_shell *shell)
{
    metric(out, "caucus_leader", "gauge", "1 on the leader", status->role == RAFT_LEADER);
    metric(out, "caucus_term", "gauge", "Raft term", status->term);
    metric(out, "caucus_commit_index", "gauge", "Committed log index", status->commit);
    metric(out, "caucus_applied_index", "gauge", "Log index that the database has committed", status->applied);
    metric(out, "caucus_applied_flushed_index", "gauge", "Log index that the database has on disk", shell->applied_flushed);
    metric(out, "caucus_schema_version", "gauge", "Applied migrations", status->schema_version);
    metric(out, "caucus_halted", "gauge", "1 when this replica refuses service", status->halted != NULL);
    metric(out, "caucus_database_up", "gauge", "1 when both writer connections to PostgreSQL are open",
           status->database_up[DB_STRONG] && status->database_up[DB_WEAK]);
    metric(out, "caucus_postgres_restarts_total", "counter", "Restarts of the managed PostgreSQL", shell->postgres_restarts);
    metric(out, "caucus_writes_waiting", "gauge", "Writes that wait in this replica", status->n_queued);
    metric(out, "caucus_reads_waiting", "gauge", "Linearizable reads that wait in this replica", status->n_waiting_reads);
    metric(out, "caucus_strong_writes_total", "counter", "Strong writes taken by this replica", status->counters.strong_writes);
    metric(out, "caucus_weak_writes_total", "counter", "Weak writes taken by this replica", status->counters.weak_writes);
    metric(out, "caucus_linearizable_reads_total", "counter", "Linearizable reads taken by this replica", status->counters.reads);
    metric(out, "caucus_forwards_total", "counter", "Writes forwarded to a leader", status->counters.forwards);
    metric(out, "caucus_batches_total", "counter", "Batches executed as leader", status->counters.batches);
    metric(out, "caucus_entries_total", "counter", "Log entries proposed as leader", status->counters.entries);
    uint64_t weak_missing = 0;
    for (uint32_t i = 0; i < status->n_peers; i++) {
        weak_missing = status->peers[i].weak_missing > weak_missing ? status->peers[i].weak_missing : weak_missing;
    }
    metric(out, "caucus_weak_missing_sets", "gauge", "Weak change sets held here that the replica furthest behind is not known to hold", weak_missing);
    metric(out, "caucus_members_away", "gauge", "Members not heard of for weak.away_hours: they hold garbage back", n_away(config, status, shell));
    metric(out, "caucus_tombstones_dropped_total", "counter", "Tombstones of weak rows dropped", shell->garbage.tombstones);
    metric(out, "caucus_history_dropped_total", "counter", "Change sets dropped from the histories of weak tables", shell->garbage.sets);
    metric(out, "caucus_history_dropped_bytes_total", "counter", "Their size", shell->garbage.set_bytes);
    metric(out, "caucus_requests_dropped_total", "counter", "Outcomes under an Idempotency-Key dropped", shell->garbage.requests);
    metric(out, "caucus_clock_off", "gauge", "1 when this replica's clock is too far from the others' median: it refuses weak writes", status->clock_is_off);
    metric(out, "caucus_origins_begun_total", "counter", "Origins of weak changes begun because not every member had told, since the start, what it has of the one before",
           status->n_origins_begun);
    metric(out, "caucus_origins", "gauge", "Origins of weak changes that this replica holds something of", status->frontier.n);
    metric(out, "caucus_identity_alarms_total", "counter", "Times that a number of a weak change set was found to stand for two", status->n_identity_alarms);
    metric(out, "caucus_digests_differ_total", "counter", "Times that a weak table's digest differed from another member's at the same frontier",
           status->repair.n_suspected);
    metric(out, "caucus_repair_running", "gauge", "1 while weak tables are compared with another member's", status->repair.running);
    metric(out, "caucus_repaired_rows_total", "counter", "Rows of weak tables that differed from another member's and were made equal",
           status->repair.n_repaired_ever);
    metric(out, "caucus_repair_members_left", "gauge", "Members with which a comparison of weak tables is still to be done", status->repair.n_left);
    metric(out, "caucus_changes_missing", "gauge", "Own weak change sets that PostgreSQL has lost and nobody has sent: weak writes are refused",
           status->missing_first > 0 ? status->missing_last - status->missing_first + 1 : 0);
    metric(out, "caucus_changes_lost", "gauge", "Own weak change sets that PostgreSQL had lost and no member had any more", status->n_changes_lost);
    metric(out, "caucus_changes_aside", "gauge", "Weak change sets of an earlier life that are to be written again", status->n_aside);
    metric(out, "caucus_renewed_changes_total", "counter", "Weak change sets of an earlier life of which something was written again", status->n_renewed);
    metric(out, "caucus_renewals_lost_total", "counter", "Weak change sets of an earlier life of which something had lost", status->n_not_renewed);
    metric(out, "caucus_merges_total", "counter", "Merges of remote weak changes", status->counters.merges);
    metric(out, "caucus_requeues_total", "counter", "Writes executed again after a change of leader or a crash of PostgreSQL",
           status->counters.requeues);
    metric(out, "caucus_refused_total", "counter", "Writes and reads that the node refused", status->counters.refused);
    metric(out, "caucus_log_syncs_total", "counter", "fdatasync calls of the log", shell->log_syncs);
    metric(out, "caucus_log_bytes_total", "counter", "Bytes appended to the log", shell->log_bytes);
    metric(out, "caucus_log_sync_microseconds_total", "counter", "Time spent in writing and syncing the log", shell->log_sync_us);
    metric(out, "caucus_http_requests_total", "counter", "HTTP requests", shell->http_requests);
    metric(out, "caucus_http_refused_total", "counter", "HTTP requests refused by the gate", shell->http_refused);
    metric(out, "caucus_http_connections", "gauge", "Open HTTP connections", shell->http_connections);
    put_stages(out, status);
    cc_buffer_append_text(out, "# HELP caucus_http_answers_total HTTP answers by class\n# TYPE caucus_http_answers_total counter\n");
    for (int class = 1; class <= 5; class++) {
        cc_buffer_printf(out, "caucus_http_answers_total{class=\"%dxx\"} %" PRIu64 "\n", class, shell->http_answers_by_class[class]);
    }
}
