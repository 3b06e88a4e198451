// The replica's process: opening its parts.
#include "base/memory.h"
#include "proxy/config/io_keys.h"
#include "proxy/replica/io_replica_internal.h"
#include "proxy/postgres/login_role.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { COMMIT_NOTICE_US = 1000, QUICK_SYNC_US = 500 };

static char *path_in_data(const struct replica *replica, const char *name)
{
    return cc_path_join(replica->self->data_directory, name);
}

static void sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

void replica_set_new(const struct replica *replica, bool is_new)
{
    char *path = path_in_data(replica, "recovering");
    if (is_new) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) {
            (void)close(fd);
        }
    } else {
        (void)unlink(path);
    }
    sync_path(replica->self->data_directory);
    free(path);
}

static bool is_new(const struct replica *replica)
{
    char *path = path_in_data(replica, "recovering");
    bool found = access(path, F_OK) == 0;
    free(path);
    return found;
}

void replica_set_removed(const struct replica *replica, uint64_t index)
{
    char *path = path_in_data(replica, "removed");
    FILE *file = index > 0 ? fopen(path, "we") : NULL;
    if (index == 0) {
        (void)unlink(path);
    } else if (file == NULL || fprintf(file, "%" PRIu64 "\n", index) < 0 || fflush(file) != 0 || fsync(fileno(file)) != 0) {
        cc_log(CC_LOG_ERROR, "removed_not_noted", "path=%s why=%s", cc_log_quote(path), strerror(errno));
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    sync_path(replica->self->data_directory);
    free(path);
}

static uint64_t removed_at(const struct replica *replica)
{
    char *path = path_in_data(replica, "removed");
    FILE *file = fopen(path, "re");
    char text[32] = "";
    if (file != NULL) {
        (void)!fgets(text, sizeof(text), file);
        (void)fclose(file);
    }
    free(path);
    return strtoull(text, NULL, 10);
}

void replica_put_log_aside(const struct replica *replica)
{
    char name[64];
    snprintf(name, sizeof(name), "log.forgotten-%" PRIu64, replica_now().wall_ms);
    char *from = path_in_data(replica, "log");
    char *to = path_in_data(replica, name);
    bool done = rename(from, to) == 0;
    sync_path(replica->self->data_directory);
    cc_log(done ? CC_LOG_WARN : CC_LOG_ERROR, "log_put_aside", "to=%s why=%s", cc_log_quote(to), done ? "-" : strerror(errno));
    free(from);
    free(to);
}

struct member replica_member(const struct config_replica *listed)
{
    struct member member = {.id = listed->id, .voter = true};
    snprintf(member.http, sizeof(member.http), "%s", listed->http.text);
    snprintf(member.peer, sizeof(member.peer), "%s", listed->peer.text);
    memcpy(member.public_key, listed->public_key, sizeof(member.public_key));
    return member;
}

// As the log's configuration has it from the beginning.
static struct raft_member founder_of(const struct config_replica *replica)
{
    struct member member = replica_member(replica);
    struct raft_member founder;
    member_put(&member, &founder);
    return founder;
}

// Nobody else draws the same one, nor does an older copy of this replica.
static uint32_t draw_incarnation(void)
{
    uint32_t incarnation = 0;
    while (incarnation == 0) {
        if (getrandom(&incarnation, sizeof(incarnation), 0) < 0) {
            incarnation = (uint32_t)replica_now().now_us;
        }
    }
    return incarnation;
}

static const char *write_role(const struct replica *replica)
{
    bool is_managed = replica->self->conninfo[0] == '\0';
    const char *role = is_managed ? LOGIN_ROLE_WRITES : replica->config->postgres.write_role;
    return io_auth_is_on(replica->auth) && role[0] != '\0' ? role : NULL;
}

static struct node *make_node(const struct replica *replica)
{
    const struct config *config = replica->config;
    struct node_options options = {
        .raft = {.id = replica->self->id,
                 .election_us = config->timeouts.election_ms * 1000ull,
                 .heartbeat_us = config->timeouts.heartbeat_ms * 1000ull,
                 .notice_us = COMMIT_NOTICE_US},
        .incarnation = replica->identity.incarnation,
        .next_incarnation = draw_incarnation(),
        .is_new = is_new(replica),
        .removed_at = removed_at(replica),
        .clock_skew_ms_max = config->timeouts.clock_skew_ms_max,
        .frontier_interval_us = config->timeouts.frontier_ms * 1000ull,
        .merges_apart = write_role(replica) != NULL,
        .own_changes_bytes_max = ((size_t)config->limits.weak_memory_megabytes << 20) + 1, // 0 is the node's default
        .request_window_us = config->timeouts.request_ms * 2000ull,
        .batch_operations_max = config->limits.batch_operations,
        .log_bytes_max = (uint64_t)config->limits.log_megabytes << 20,
        .log_keep_us = config->limits.log_hours * 3600ull * 1000 * 1000,
    };
    if (getrandom(&options.raft.seed, sizeof(options.raft.seed), 0) != sizeof(options.raft.seed)) {
        options.raft.seed = replica_now().now_us;
    }
    for (size_t i = 0; i < config->n_replicas; i++) {
        const struct config_replica *other = &config->replicas[i];
        if (other != replica->self || !replica->options->join || config->n_replicas == 1) { // who is not among the founders does not vote
            options.raft.membership.members[options.raft.membership.n_members++] = founder_of(other);
        }
        // The lowest port is first in line to lead.
        options.raft.rank += other->http.port < replica->self->http.port ||
                             (other->http.port == replica->self->http.port && other->id < replica->self->id);
    }
    return node_create(&options);
}

// The log's first record says whose log it is.
static enum cc_status restore(void *context, const struct wal_record *record)
{
    struct replica *replica = context;
    if (record->kind == WAL_IDENTITY && replica->node == NULL) {
        enum cc_status status = wal_read_identity(record->body, &replica->identity);
        if (status != CC_OK) {
            return status;
        }
        bool ours = replica->identity.replica == replica->self->id && strcmp(replica->identity.cluster, replica->config->cluster) == 0;
        if (!ours) {
            return CC_REFUSED;
        }
        replica->node = make_node(replica);
    }
    return replica->node == NULL ? CC_CORRUPT : node_restore(replica->node, record);
}

// A new log, hence a new life of this replica.
static void begin_log(struct replica *replica)
{
    snprintf(replica->identity.cluster, sizeof(replica->identity.cluster), "%s", replica->config->cluster);
    replica->identity.replica = replica->self->id;
    replica->identity.incarnation = draw_incarnation();
    replica_set_new(replica, true);
    replica->node = make_node(replica);
    node_log_begun(replica->node);
    struct wal_batch batch = {0};
    wal_put_identity(&batch, &replica->identity);
    wal_put_membership(&batch, 0, raft_membership(node_raft(replica->node))); // config.json may be edited later
    io_log_append(replica->log, &batch, 0);
    wal_batch_finish(&batch);
}

static const char *log_problem(enum cc_status status, const struct wal_report *report, const char *problem, struct cc_buffer *out)
{
    switch ((int)status) {
    case CC_REFUSED:
        return "it belongs to another cluster or replica: check data_directory in config.json";
    case CC_EXISTS:
        return "another process uses it: stop that one first";
    default: // any other is said by the log itself
        cc_buffer_printf(out, "%s%s%s (segment %s, offset %" PRIu64 ")", problem == NULL ? "" : problem, problem == NULL ? "" : "; ",
                         report->reason == NULL ? cc_status_text(status) : report->reason, report->segment, report->offset);
        return cc_buffer_text(out);
    }
}

static bool make_data_directory(struct replica *replica)
{
    if (mkdir(replica->self->data_directory, 0755) != 0 && errno != EEXIST) {
        replica_fail(replica, EX_IOERR, replica->self->data_directory, strerror(errno));
        return false;
    }
    return true;
}

bool replica_open_log(struct replica *replica)
{
    if (!make_data_directory(replica)) {
        return false;
    }
    if (replica->options->join) { // the operator says that it is to be one again
        replica_set_removed(replica, 0);
    }
    replica->removed = removed_at(replica) > 0;
    struct cc_buffer directory = {0}, text = {0};
    cc_buffer_printf(&directory, "%s/log", replica->self->data_directory);
    struct io_log_options options = {.directory = cc_buffer_text(&directory), .segment_bytes = replica->config->limits.log_segment_bytes,
                                     .slow_us = replica->config->limits.log_sync_ms * UINT64_C(1000),
                                     .quick_us = QUICK_SYNC_US};
    struct wal_report report = {0};
    char *problem = NULL;
    enum cc_status status = io_log_open(&options, restore, replica, &replica->log, &report, &problem);
    if (status != CC_OK) {
        int code = status == CC_CORRUPT || status == CC_MALFORMED                            ? EX_DATAERR
                   : status == CC_REFUSED || status == CC_EXISTS || status == CC_UNSUPPORTED ? EX_CONFIG
                                                                                             : EX_IOERR;
        replica_fail(replica, code, cc_buffer_text(&directory), log_problem(status, &report, problem, &text));
    } else if (replica->node == NULL) {
        begin_log(replica);
    }
    if (status == CC_OK) {
        node_log_promises(replica->node, io_log_opened_state(replica->log)->promise_number);
        cc_log(CC_LOG_INFO, "log_opened", "records=%" PRIu64 " segments=%" PRIu64 " cut_bytes=%" PRIu64 " incarnation=%" PRIx32,
               report.n_records, report.n_segments, report.cut_bytes, replica->identity.incarnation);
    }
    free(problem);
    cc_buffer_finish(&directory);
    cc_buffer_finish(&text);
    return status == CC_OK;
}

bool replica_open_supervisor(struct replica *replica)
{
    if (replica->self->conninfo[0] != '\0') {
        replica->conninfo = replica->self->conninfo;
        return true;
    }
    const struct config *config = replica->config;
    struct supervisor_setting *settings = cc_alloc_array(config->postgres.settings.n + 1, sizeof(*settings));
    for (size_t i = 0; i < config->postgres.settings.n; i++) {
        settings[i] = (struct supervisor_setting){config->postgres.settings.list[i].name, config->postgres.settings.list[i].value};
    }
    struct supervisor_options options = {
        .base = replica->base,
        .bin_directory = config->postgres.bin_directory,
        .data_directory = replica->self->data_directory,
        .system_user = config->postgres.system_user,
        .database = config->postgres.database,
        .n_settings = config->postgres.settings.n,
        .settings = settings,
        .no_restart = !replica->options->restart_postgres,
        .on_state = replica_on_supervisor,
        .context = replica,
    };
    char error[300];
    enum cc_status status = supervisor_create(&options, &replica->supervisor, error);
    free(settings);
    if (status != CC_OK) {
        replica_fail(replica, status == CC_IO ? EX_IOERR : EX_CONFIG, "PostgreSQL cannot be managed", error);
        return false;
    }
    replica->conninfo = supervisor_conninfo(replica->supervisor);
    return true;
}

static bool open_keys(struct replica *replica, struct keys_pair *keys_out)
{
    struct io_keys_problem problem;
    if (io_keys_load(replica->self->key_file, keys_out, &problem) != CC_OK) {
        replica_fail(replica, EX_CONFIG, replica->self->key_file, problem.text);
        return false;
    }
    if (memcmp(keys_out->public_key, replica->self->public_key, KEYS_PUBLIC_BYTES) != 0) {
        replica_fail(replica, EX_CONFIG, replica->self->key_file, "it does not belong to the public_key of this replica in config.json");
        return false;
    }
    return true;
}

// Where a member is dialled: as the log says, or config.json for one of which an old log says nothing.
static bool dialled_member(const struct replica *replica, const struct raft_member *raft_member, char host[static MEMBER_ADDRESS_BYTES],
                           struct io_peer_member *member_out)
{
    struct member known;
    struct io_peer_member member = {.id = raft_member->id, .host = host};
    const struct config_replica *other = config_find_replica(replica->config, raft_member->id);
    if (member_read(raft_member, &known) == CC_OK && member_address_split(known.peer, host, &member.port) == CC_OK) {
        memcpy(member.public_key, known.public_key, sizeof(member.public_key));
    } else if (other != NULL) {
        member.host = other->peer.host;
        member.port = other->peer.port;
        memcpy(member.public_key, other->public_key, sizeof(member.public_key));
    } else {
        return false;
    }
    for (size_t i = 0; i < replica->options->n_peers; i++) {
        if (replica->options->peers[i].id == member.id) {
            member.host = replica->options->peers[i].host;
            member.port = replica->options->peers[i].port;
        }
    }
    *member_out = member;
    return true;
}

size_t replica_dialled_members(const struct replica *replica, struct io_peer_member members[static CC_REPLICAS_MAX],
                               char hosts[static CC_REPLICAS_MAX][MEMBER_ADDRESS_BYTES])
{
    const struct raft *raft = node_raft(replica->node);
    const struct raft_membership *membership = raft_membership(raft);
    size_t n = 0;
    if (replica->removed) {
        return 0; // those that are up stay so for a while
    }
    for (uint32_t i = 0; i < membership->n_members; i++) {
        n += dialled_member(replica, &membership->members[i], hosts[n], &members[n]);
    }
    // One that joins, or was away while the members changed, may not know the leader by its log.
    bool is_lost = !node_is_member(replica->node) || raft_leader(raft) == 0;
    for (size_t i = 0; is_lost && i < replica->n_listed && n < CC_REPLICAS_MAX; i++) {
        struct raft_member listed;
        member_put(&replica->listed[i], &listed);
        n += raft_member_find(membership, listed.id) == NULL && dialled_member(replica, &listed, hosts[n], &members[n]);
    }
    return n;
}

bool replica_open_peers(struct replica *replica)
{
    const struct config *config = replica->config;
    struct keys_pair keys;
    if (!open_keys(replica, &keys)) {
        return false;
    }
    struct io_peer_member members[CC_REPLICAS_MAX];
    char hosts[CC_REPLICAS_MAX][MEMBER_ADDRESS_BYTES];
    size_t n_members = replica_dialled_members(replica, members, hosts);
    struct io_peer_options options = {
        .base = replica->base,
        .cluster = config->cluster,
        .id = replica->self->id,
        .incarnation = replica->identity.incarnation,
        .keys = &keys,
        .listen_host = replica->self->peer.host,
        .listen_port = replica->self->peer.port,
        .members = members,
        .n_members = n_members,
        .connect_ms = config->timeouts.peer_connect_ms,
        .idle_ms = config->timeouts.peer_idle_ms,
        .queue_bytes_max = config->limits.peer_queue_bytes,
        .handler = {.context = replica,
                    .on_up = replica_on_peer_up,
                    .on_down = replica_on_peer_down,
                    .on_removed = replica_on_peer_removed,
                    .on_frame = replica_on_frame},
    };
    struct io_peer_problem problem;
    enum cc_status status = io_peer_create(&options, &replica->peers, &problem);
    keys_forget(&keys);
    if (status != CC_OK) {
        replica_fail(replica, status == CC_IO ? EX_IOERR : EX_CONFIG, replica->self->peer.text, problem.text);
    }
    return status == CC_OK;
}

bool replica_open_auth(struct replica *replica)
{
    struct io_auth_problem problem;
    if (io_auth_create(replica->config, replica->self, &replica->auth, &problem) != CC_OK) {
        replica_fail(replica, EX_CONFIG, "auth", problem.text);
        return false;
    }
    return true;
}

void replica_open_database(struct replica *replica)
{
    const struct config *config = replica->config;
    struct io_postgres_options options = {
        .base = replica->base,
        .conninfo = replica->conninfo,
        .search_path = config->postgres.search_path,
        .executor = write_role(replica),
        .keeps_executor = replica->supervisor != NULL,
        .cluster = config->cluster,
        .replica = replica->self->id,
        .incarnation = replica->identity.incarnation,
        .on_event = replica_on_db_event,
        .context = replica,
    };
    replica->postgres = io_postgres_create(&options);
    struct io_snapshot_options snapshot = {
        .base = replica->base,
        .search_path = config->postgres.search_path,
        .conninfo = replica->conninfo,
        .cluster = config->cluster,
        .directory = replica->self->data_directory,
        .bytes_per_s_max = (uint64_t)config->limits.snapshot_megabytes_s << 20,
        .on_event = replica_on_snapshot,
        .context = replica,
    };
    replica->snapshot = io_snapshot_create(&snapshot);
    struct io_catalog_options catalog = {
        .base = replica->base,
        .conninfo = replica->conninfo,
        .schemas = config->postgres.schemas,
        .n_schemas = config->postgres.n_schemas,
        .keeps_login_role = replica->supervisor != NULL && io_auth_is_on(replica->auth),
        .on_published = replica_on_catalog,
        .on_flushed = replica_on_flushed,
        .on_sick = replica_on_sick,
        .on_no_session_key = replica_on_no_session_key,
        .context = replica,
    };
    replica->catalog = io_catalog_create(&catalog);
    struct io_garbage_options garbage = {
        .base = replica->base,
        .conninfo = replica->conninfo,
        .history_hours = config->weak.history_hours,
        .history_megabytes = config->weak.history_megabytes,
        .request_hours = config->weak.request_hours,
        .ask = replica_on_garbage_ask,
        .collected = replica_on_garbage_collected,
        .context = replica,
    };
    replica->garbage = io_garbage_create(&garbage);
    struct io_repair_options repair = {
        .base = replica->base,
        .conninfo = replica->conninfo,
        .search_path = config->postgres.search_path,
        .on_event = replica_on_repair,
        .context = replica,
    };
    replica->repair = io_repair_create(&repair);
}

// Without tokens everybody may do everything, and Caucus asks and writes as itself.
static const char *login_role(const struct replica *replica)
{
    const char *role = replica->supervisor != NULL ? LOGIN_ROLE_READS : replica->config->postgres.login_role;
    return io_auth_is_on(replica->auth) && role[0] != '\0' ? role : NULL;
}

bool replica_open_gateway(struct replica *replica)
{
    struct io_gateway_options options = {.config = replica->config,
                                         .replica = replica->self,
                                         .conninfo = replica->conninfo,
                                         .login_role = login_role(replica),
                                         .auth = replica->auth,
                                         .catalog = replica->catalog,
                                         .inbox = replica->inbox};
    enum cc_status status = io_gateway_create(&options, &replica->gateway);
    if (status != CC_OK) {
        replica_fail(replica, status == CC_IO ? EX_IOERR : EX_CONFIG, replica->self->http.text,
             status == CC_EXISTS ? "the address is in use: is this replica running already?" : cc_status_text(status));
    }
    return status == CC_OK;
}

