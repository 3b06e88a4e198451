// The replica's process: carries events to the node and its effects out, until it is told to stop.
#include "proxy/faults/io_faults.h"
#include "proxy/config/io_keys.h"
#include "proxy/replica/fact_line.h"
#include "proxy/replica/io_replica_internal.h"

#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

struct node_time replica_now(void)
{
    return (struct node_time){clock_us(CLOCK_MONOTONIC), clock_us(CLOCK_REALTIME) / 1000};
}

void replica_fail(struct replica *replica, int exit_code, const char *what, const char *why)
{
    cc_log(CC_LOG_ERROR, "fatal", "exit=%d what=%s why=%s", exit_code, what, cc_log_quote(why));
    fprintf(stderr, "caucus: replica %" PRIu32 ": %s: %s\n", replica->options->replica, what, why);
    replica->exit_code = exit_code;
    replica->stage = REPLICA_DONE;
}

// -- Effects ---------------------------------------------------------------------------------------------------------

static void log_fact(const struct node_fact *fact)
{
    struct fact_line line;
    fact_line_make(fact, &line);
    cc_log(line.level, line.event, "%s", cc_buffer_text(&line.fields));
    fact_line_finish(&line);
}

// The log of a follower is what the leader waits for, and the follower has hardly anything else to do: where the disk is quick, the core
// thread syncs it itself, since waking up another thread and being woken up by it takes half as long again.
static void write_follower_log(struct replica *replica, const struct node_effects *effects)
{
    if (!io_log_append_at_once(replica->log, effects->log, effects->log_number)) {
        io_log_append(replica->log, effects->log, effects->log_number);
    }
}

// In this order: make durable, start database jobs, send, answer: the log and PostgreSQL work while the rest is done, and PostgreSQL, which
// executes one batch at a time, waits for the next one meanwhile. What depends on durability the node holds back itself.
static void carry_out(struct replica *replica, const struct node_effects *effects)
{
    bool follows = raft_role(node_raft(replica->node)) == RAFT_FOLLOWER;
    if (effects->log_number > 0 && !follows) {
        io_log_append(replica->log, effects->log, effects->log_number);
    }
    for (int lane = 0; lane < DB_LANES; lane++) {
        if (effects->n_jobs[lane] > 0) {
            io_postgres_submit(replica->postgres, (enum db_lane)lane, effects->jobs[lane], effects->n_jobs[lane]);
        }
    }
    for (size_t i = 0; i < effects->n_sends; i++) {
        io_peer_send(replica->peers, effects->sends[i].peer, effects->sends[i].frame);
    }
    io_peer_flush(replica->peers);
    for (size_t i = 0; i < effects->n_repairs; i++) {
        io_repair_submit(replica->repair, &effects->repairs[i]);
    }
    if (replica->gateway != NULL) { // before the answers: who has one may read next
        io_gateway_set_unread(replica->gateway, node_has_unread(replica->node));
    }
    if (effects->n_answers > 0 && replica->gateway != NULL) {
        io_gateway_answers(replica->gateway, effects->answers, effects->n_answers);
    }
    if (effects->log_number > 0 && follows) {
        write_follower_log(replica, effects);
    }
    if (effects->truncate_index > 0) {
        io_log_truncate(replica->log, effects->truncate_index, effects->truncate_record);
    }
    for (size_t i = 0; i < effects->n_loads; i++) {
        io_log_load(replica->log, effects->loads[i].peer, effects->loads[i].first, effects->loads[i].last);
    }
    if (effects->load_changes != NULL) {
        io_log_load_changes(replica->log, *effects->load_changes);
    }
    if (effects->recovered) {
        replica_set_new(replica, false);
    }
    if (effects->forgot && replica->config->n_replicas > 1) {
        replica->put_log_aside = true;
        replica_fail(replica, EX_TEMPFAIL, "the log is of a life that is over", "it is put aside: the next start fetches everything from the other replicas");
    }
    if (effects->snapshot_cancel) {
        io_snapshot_cancel(replica->snapshot);
    }
    for (size_t i = 0; i < effects->n_snapshots; i++) {
        io_snapshot_submit(replica->snapshot, &effects->snapshots[i]);
    }
    for (size_t i = 0; i < effects->n_facts; i++) {
        log_fact(&effects->facts[i]);
    }
    if (effects->removed_changed) {
        replica->removed = effects->removed_at > 0;
        replica_set_removed(replica, effects->removed_at);
    }
    if (replica->gateway != NULL) {
        io_gateway_set_member(replica->gateway, node_is_member(replica->node));
    }
    if (effects->members_changed && replica->peers != NULL) {
        struct io_peer_member members[CC_REPLICAS_MAX];
        char hosts[CC_REPLICAS_MAX][MEMBER_ADDRESS_BYTES];
        size_t n_members = replica_dialled_members(replica, members, hosts);
        io_peer_set_members(replica->peers, members, n_members, node_settled_membership(replica->node));
    }
    if (effects->catalog_changed) {
        io_catalog_refresh(replica->catalog);
    }
}

static void turn(struct replica *replica)
{
    if (replica->node == NULL || replica->stage == REPLICA_DONE) {
        return;
    }
    struct node_time time = replica_now();
    if (time.now_us >= node_next_tick_us(replica->node)) {
        node_tick(replica->node, time);
    }
    struct node_effects effects;
    node_take_effects(replica->node, &effects);
    carry_out(replica, &effects);
    uint64_t next = node_next_tick_us(replica->node);
    uint64_t wait_us = next > time.now_us ? next - time.now_us : 0;
    struct timeval wait = {(time_t)(wait_us / 1000000), (suseconds_t)(wait_us % 1000000)};
    event_add(replica->timer, &wait);
}

// -- Events ----------------------------------------------------------------------------------------------------------

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)context; // the turn after this iteration of the loop does it
}

static void describe(struct replica *replica, struct node_status *status, struct status_shell *shell)
{
    node_describe(replica->node, replica_now().now_us, status);
    struct io_log_stats log;
    io_log_describe(replica->log, &log);
    replica_look_at_file(replica);
    *shell = (struct status_shell){
        .applied_flushed = io_catalog_flushed(replica->catalog),
        .managed = replica->supervisor != NULL,
        .postgres_restarts = replica->supervisor == NULL ? 0 : supervisor_restarts(replica->supervisor),
        .log_syncs = log.n_syncs,
        .log_bytes = log.n_bytes,
        .log_sync_us = log.sync_us_total,
        .started_ms = replica->started_ms,
        .now_ms = replica_now().wall_ms,
    };
    io_garbage_describe(replica->garbage, &shell->garbage);
    memcpy(shell->listed, replica->listed, sizeof(shell->listed));
    shell->n_listed = replica->n_listed;
    shell->config_why = replica->config_why;
    int version = io_postgres_version(replica->postgres);
    snprintf(shell->postgres_version, sizeof(shell->postgres_version), "%d.%d", version / 10000, version % 10000);
    if (replica->gateway != NULL) {
        io_gateway_counters(replica->gateway, shell);
    }
}

static void answer_status(struct replica *replica, uint64_t token)
{
    struct node_status status;
    struct status_shell shell;
    describe(replica, &status, &shell);
    io_gateway_status(replica->gateway, token, &status, &shell);
}

static void change_member(struct replica *replica, const struct inbox_message *message)
{
    struct node_member_change change;
    memcpy(&change, message->bytes.data, sizeof(change));
    uint64_t index;
    const char *why;
    enum cc_status result = node_member_change(replica->node, replica_now(), &change, &index, &why);
    struct node_status status;
    struct status_shell shell;
    describe(replica, &status, &shell);
    shell.member_status = result;
    shell.member_index = index;
    shell.member_why = why;
    io_gateway_status(replica->gateway, message->token, &status, &shell);
}

static void change_faults(struct replica *replica, const struct inbox_message *message)
{
    struct cc_buffer body = {0};
    unsigned status = io_faults_ask(io_peer_faults(replica->peers), (enum io_faults_action)(message->index >> 32), (uint32_t)message->index,
                                    cc_buffer_slice(&message->bytes), &body);
    io_gateway_json(replica->gateway, message->token, status, &body);
}

static void reload(struct replica *replica, const struct inbox_message *message)
{
    struct gateway_reload request;
    struct node_status status;
    struct status_shell shell;
    memcpy(&request, message->bytes.data, sizeof(request));
    describe(replica, &status, &shell);
    replica_reload(replica, &request, &shell);
    io_gateway_status(replica->gateway, message->token, &status, &shell);
}

static void read_session(struct replica *replica, const struct inbox_message *message)
{
    bool is_shortened = message->kind == INBOX_READ_SHORTENED;
    struct crdt_frontier frontier;
    struct cc_reader reader = cc_reader_of(cc_buffer_slice(&message->bytes));
    bool has_frontier = message->bytes.n > 0 && crdt_frontier_read(&reader, &frontier) == CC_OK;
    if (message->kind == INBOX_WRITE_SESSION && has_frontier) {
        node_write_session(replica->node, replica_now(), message->token, &frontier, message->timeout_ms);
        return;
    }
    node_read_session(replica->node, replica_now(), message->token, message->index, has_frontier ? &frontier : NULL, is_shortened, message->timeout_ms);
}

static void on_inbox(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct replica *replica = context;
    struct inbox_message *messages;
    size_t n = io_inbox_take(replica->inbox, &messages);
    struct node_time time = replica_now();
    for (size_t i = 0; i < n; i++) {
        struct inbox_message *message = &messages[i];
        switch (message->kind) {
        case INBOX_SUBMIT:
            node_submit(replica->node, time, message->token, cc_buffer_slice(&message->bytes));
            break;
        case INBOX_READ:
            node_read(replica->node, time, message->token, message->timeout_ms);
            break;
        case INBOX_READ_AT:
            node_read_at(replica->node, time, message->token, message->index, message->timeout_ms);
            break;
        case INBOX_READ_WEAK:
            node_read_weak(replica->node, time, message->token, message->timeout_ms);
            break;
        case INBOX_READ_OWN:
            node_read_own(replica->node, time, message->token, message->timeout_ms);
            break;
        case INBOX_READ_SESSION:
        case INBOX_WRITE_SESSION:
        case INBOX_READ_SHORTENED:
            read_session(replica, message);
            break;
        case INBOX_REPAIR:
            (void)node_repair(replica->node, time);
            answer_status(replica, message->token);
            break;
        case INBOX_STATUS:
            answer_status(replica, message->token);
            break;
        case INBOX_MEMBER:
            change_member(replica, message);
            break;
        case INBOX_FAULTS:
            change_faults(replica, message);
            break;
        case INBOX_RELOAD:
            reload(replica, message);
            break;
        }
        cc_buffer_finish(&message->bytes);
    }
}

static void on_synced(void *context, uint64_t number, uint64_t record_number, uint64_t promise_number)
{
    struct replica *replica = context;
    replica->log_number = number;
    replica->log_record = record_number;
    node_log_promises(replica->node, promise_number);
    node_log_synced(replica->node, replica_now(), number);
}

static void on_loaded(void *context, uint32_t peer, const struct raft_entry *entries, size_t n_entries)
{
    struct replica *replica = context;
    node_log_loaded(replica->node, replica_now(), peer, entries, n_entries);
}

static void on_changes(void *context, const struct wal_record *changes, size_t n_changes, struct wal_cursor next, bool done)
{
    struct replica *replica = context;
    node_changes_loaded(replica->node, replica_now(), changes, n_changes, next, done);
}

static void on_log_failed(void *context, enum cc_status status, const char *problem)
{
    // Never retried: after a failed fsync nobody knows what is on disk. A new process reads what is really there.
    replica_fail(context, status == CC_CORRUPT ? EX_DATAERR : EX_IOERR, "the log cannot be written", problem);
}

static void on_log(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct replica *replica = context;
    struct io_log_handler handler = {.context = replica, .synced = on_synced, .loaded = on_loaded, .changes = on_changes, .failed = on_log_failed};
    io_log_drain(replica->log, &handler);
}

void replica_on_frame(void *context, uint32_t peer, uint32_t incarnation, struct cc_slice frame)
{
    (void)incarnation;
    struct replica *replica = context;
    node_peer_frame(replica->node, replica_now(), peer, frame);
}

void replica_on_peer_up(void *context, uint32_t peer, uint32_t incarnation)
{
    struct replica *replica = context;
    cc_log(CC_LOG_INFO, "peer_up", "peer=%" PRIu32 " incarnation=%" PRIx32, peer, incarnation);
    node_peer_up(replica->node, replica_now(), peer, incarnation);
}

void replica_on_peer_down(void *context, uint32_t peer)
{
    struct replica *replica = context;
    cc_log(CC_LOG_INFO, "peer_down", "peer=%" PRIu32, peer);
    node_peer_down(replica->node, replica_now(), peer);
}

void replica_on_peer_removed(void *context, uint32_t peer, uint64_t index)
{
    struct replica *replica = context;
    node_peer_removed(replica->node, replica_now(), peer, index);
}

void replica_on_db_event(void *context, const struct db_event *event)
{
    struct replica *replica = context;
    if (event->kind == DB_UP) {
        node_set_facts(replica->node, io_postgres_facts(replica->postgres));
        io_catalog_connect(replica->catalog);
        io_garbage_connect(replica->garbage);
        io_repair_connect(replica->repair);
    }
    node_db_event(replica->node, replica_now(), event);
}

void replica_on_snapshot(void *context, const struct snapshot_event *event)
{
    struct replica *replica = context;
    node_snapshot_event(replica->node, replica_now(), event);
    if (event->kind == SNAPSHOT_INSTALL && event->status == CC_OK) {
        io_postgres_reconnect(replica->postgres, "a snapshot was installed");
    }
}

void replica_on_catalog(void *context, uint32_t version)
{
    struct replica *replica = context;
    if (replica->gateway != NULL) {
        io_gateway_catalog(replica->gateway, version);
    }
}

// The first leader draws the key that session tokens are authenticated with; a later one's insert does nothing.
void replica_on_no_session_key(void *context)
{
    struct replica *replica = context;
    if (raft_role(node_raft(replica->node)) != RAFT_LEADER || replica->stage != REPLICA_SERVING) {
        return;
    }
    uint8_t random[SESSION_KEY_BYTES];
    char text[KEYS_TEXT_BYTES];
    io_keys_random(random, sizeof(random));
    keys_to_text(random, text);
    struct cc_slice parameters[2] = {cc_slice_text("session_key"), cc_slice_text(text)};
    struct rest_shape_column columns[2] = {{cc_slice_text("name"), cc_slice_text("text"), REST_COLUMN_KEY},
                                           {cc_slice_text("value"), cc_slice_text("text"), 0}};
    struct rest_statement statement = {
        .kind = REST_INSERT,
        .sql = cc_slice_text("WITH i AS (INSERT INTO caucus.cluster (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"
                             " RETURNING name, value) SELECT 'I', name, value, NULL FROM i"),
        .n_parameters = 2,
        .parameters = parameters,
        .shape = {.table = cc_slice_text("\"caucus\".\"cluster\""), .n_columns = 2, .columns = columns},
        .rows_max = UINT64_MAX,
    };
    struct node_status status;
    node_describe(replica->node, replica_now().now_us, &status);
    struct operation operation = {.kind = OPERATION_STATEMENTS,
                                  .timeout_ms = replica->config->timeouts.request_ms,
                                  .schema_version = status.schema_version,
                                  .n_statements = 1,
                                  .statements = &statement};
    io_keys_random(operation.id, sizeof(operation.id));
    struct cc_buffer bytes = {0};
    operation_put(&bytes, &operation);
    node_submit(replica->node, replica_now(), UINT64_MAX, cc_buffer_slice(&bytes)); // nobody waits for the answer
    cc_buffer_finish(&bytes);
}

void replica_on_sick(void *context, bool sick)
{
    struct replica *replica = context;
    cc_log(CC_LOG_WARN, sick ? "postgres_silent" : "postgres_answers", "leader=%d", raft_role(node_raft(replica->node)) == RAFT_LEADER);
    node_set_sick(replica->node, replica_now(), sick);
}

// Before the log, or a PostgreSQL beside it, cannot be written any more.
static bool is_space_low(const struct replica *replica)
{
    struct statvfs disk;
    uint64_t least = ((uint64_t)replica->config->limits.disk_free_megabytes << 20) + 2 * (uint64_t)replica->config->limits.log_segment_bytes;
    return statvfs(replica->self->data_directory, &disk) == 0 && (uint64_t)disk.f_bavail * disk.f_frsize < least;
}

static bool is_disk_slow(struct replica *replica, const struct io_log_stats *log)
{
    bool was_slow = replica->disk_watch.slow;
    bool waits = replica->config->limits.log_sync_ms > 0 && log->n_queued_bytes > 0;
    bool slow = disk_watch_check(&replica->disk_watch, log->n_syncs, log->n_slow_syncs, waits);
    if (slow != was_slow) {
        cc_log(CC_LOG_WARN, slow ? "disk_slow" : "disk_fast", "sync_ms=%" PRIu64 " leader=%d", log->sync_us_last / 1000,
               raft_role(node_raft(replica->node)) == RAFT_LEADER);
    }
    return slow;
}

void replica_on_flushed(void *context, uint64_t applied, const struct crdt_frontier *frontier)
{
    struct replica *replica = context;
    struct io_log_stats log;
    io_log_describe(replica->log, &log);
    struct node_durable durable = {.applied = applied,
                                   .frontier = frontier,
                                   .log_number = replica->log_number,
                                   .record_number = replica->log_record,
                                   .log_base = log.base_index,
                                   .log_bytes = log.n_segment_bytes,
                                   .disk_slow = is_disk_slow(replica, &log),
                                   .space_low = log.space_low || is_space_low(replica)};
    node_durable(replica->node, replica_now(), &durable);
}

// Says so once for each that goes or returns.
static void report_away(struct replica *replica)
{
    struct node_status status;
    struct status_shell shell;
    describe(replica, &status, &shell);
    uint32_t n = 0, last = 0;
    for (uint32_t i = 0; i < status.n_peers; i++) {
        if (status_is_away(replica->config, &status.peers[i], &shell)) {
            n++;
            last = status.peers[i].id;
        }
    }
    if (n > replica->n_away) {
        cc_log(CC_LOG_WARN, "member_away", "member=%" PRIu32 " n=%" PRIu32, last, n);
    }
    replica->n_away = n;
}

void replica_on_repair(void *context, const struct repair_event *event)
{
    struct replica *replica = context;
    node_repair_event(replica->node, replica_now(), event);
}

void replica_on_garbage_ask(void *context, struct node_garbage *garbage_out)
{
    struct replica *replica = context;
    report_away(replica);
    node_garbage(replica->node, garbage_out);
    if (replica->gateway != NULL) {
        io_gateway_set_everywhere(replica->gateway, &garbage_out->history);
    }
}

void replica_on_garbage_collected(void *context, uint64_t bound)
{
    struct replica *replica = context;
    node_garbage_collected(replica->node, replica_now(), bound);
}

void replica_on_supervisor(void *context, enum supervisor_state state, const char *text)
{
    struct replica *replica = context;
    cc_log(CC_LOG_INFO, "postgres", "state=%s why=%s", supervisor_state_name(state), cc_log_quote(text));
    if (state == SUPERVISOR_RUNNING) {
        io_postgres_connect(replica->postgres);
    }
    if (state == SUPERVISOR_STOPPED && replica->stage == REPLICA_STOPPING_POSTGRES) {
        replica->stage = REPLICA_DONE;
    } else if (state == SUPERVISOR_STOPPED && replica->stage != REPLICA_DONE && replica->options->restart_postgres) {
        replica_fail(replica, EX_UNAVAILABLE, "PostgreSQL does not start", text);
    }
}

// -- Stopping: hand over, finish what runs, stop PostgreSQL ------------------------------------------------------------

static void on_signal(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct replica *replica = context;
    if (replica->stage != REPLICA_SERVING) {
        return;
    }
    cc_log(CC_LOG_INFO, "stopping", "why=signal");
    replica->stage = REPLICA_HANDING_OVER;
    replica->stop_by_us = replica_now().now_us + replica->config->timeouts.shutdown_ms * 1000ull;
    node_stop(replica->node, replica_now());
}

static void continue_stopping(struct replica *replica)
{
    if (replica->stage != REPLICA_HANDING_OVER) {
        return;
    }
    bool done = node_is_handed_over(replica->node) && node_is_idle(replica->node);
    if (!done && replica_now().now_us < replica->stop_by_us) {
        return;
    }
    io_gateway_destroy(replica->gateway, 500);
    replica->gateway = NULL;
    replica->stage = replica->supervisor == NULL ? REPLICA_DONE : REPLICA_STOPPING_POSTGRES;
    if (replica->supervisor != NULL) {
        supervisor_stop(replica->supervisor);
    }
}

static void watch(struct replica *replica)
{
    replica->timer = event_new(replica->base, -1, 0, on_timer, replica);
    replica->inbox_readable = event_new(replica->base, io_inbox_descriptor(replica->inbox), EV_READ | EV_PERSIST, on_inbox, replica);
    replica->log_readable = event_new(replica->base, io_log_descriptor(replica->log), EV_READ | EV_PERSIST, on_log, replica);
    replica->interrupt = evsignal_new(replica->base, SIGINT, on_signal, replica);
    replica->terminate = evsignal_new(replica->base, SIGTERM, on_signal, replica);
    replica->hangup = evsignal_new(replica->base, SIGHUP, replica_on_hangup, replica);
    event_add(replica->hangup, NULL);
    event_add(replica->inbox_readable, NULL);
    event_add(replica->log_readable, NULL);
    event_add(replica->interrupt, NULL);
    event_add(replica->terminate, NULL);
}

static bool start(struct replica *replica)
{
    signal(SIGPIPE, SIG_IGN);
    replica->started_ms = replica_now().wall_ms;
    replica_take_listed(replica);
    replica->base = event_base_new();
    replica->inbox = io_inbox_create();
    if (replica->base == NULL || replica->inbox == NULL) {
        replica_fail(replica, EX_OSERR, "starting", "no descriptors left");
        return false;
    }
    if (!replica_open_auth(replica) || !replica_open_log(replica) || !replica_open_supervisor(replica) || !replica_open_peers(replica)) {
        return false;
    }
    replica_open_database(replica);
    if (!replica_open_gateway(replica)) {
        return false;
    }
    watch(replica);
    node_start(replica->node, replica_now().now_us, replica_now().wall_ms);
    if (replica->supervisor != NULL) {
        supervisor_start(replica->supervisor);
    } else {
        io_postgres_connect(replica->postgres);
    }
    replica->stage = REPLICA_SERVING;
    cc_log(CC_LOG_INFO, "serving", "http=%s peer=%s", replica->self->http.text, replica->self->peer.text);
    return true;
}

static void finish(struct replica *replica)
{
    io_gateway_destroy(replica->gateway, 0);
    io_auth_destroy(replica->auth);
    io_catalog_destroy(replica->catalog);
    io_garbage_destroy(replica->garbage);
    io_repair_destroy(replica->repair);
    io_snapshot_destroy(replica->snapshot);
    io_postgres_destroy(replica->postgres);
    io_peer_destroy(replica->peers);
    supervisor_destroy(replica->supervisor);
    io_log_close(replica->log);
    if (replica->put_log_aside) {
        replica_put_log_aside(replica);
    }
    node_destroy(replica->node);
    io_inbox_destroy(replica->inbox);
    struct event *events[] = {replica->timer, replica->inbox_readable, replica->log_readable, replica->interrupt, replica->terminate, replica->hangup};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (events[i] != NULL) {
            event_free(events[i]);
        }
    }
    if (replica->base != NULL) {
        event_base_free(replica->base);
    }
}

int replica_run(const struct replica_options *options)
{
    struct replica replica = {.options = options,
                              .config = options->config,
                              .self = config_find_replica(options->config, options->replica)};
    cc_log_open(STDERR_FILENO, options->config->log.level, options->replica);
    if (start(&replica)) {
        turn(&replica);
        while (replica.stage != REPLICA_DONE) {
            event_base_loop(replica.base, EVLOOP_ONCE);
            turn(&replica);
            continue_stopping(&replica);
        }
        cc_log(CC_LOG_INFO, "stopped", "exit=%d", replica.exit_code);
    }
    finish(&replica);
    return replica.exit_code;
}
