// The table of all configuration keys, and what is generated from it.
#include "proxy/config/config_keys.h"

#include <stddef.h>
#include <string.h>

enum { KIB = 1 << 10, MIB = 1 << 20, EDIT_NAME_BYTES_MAX = 48, EDIT_DISTANCE_MAX = 3 };

#define NUMBER(name, least, greatest, value, unit_, help_)                                             \
    {                                                                                                  \
        .path = #name, .kind = CONFIG_NUMBER, .offset = offsetof(struct config, name), .min = (least), \
        .max = (greatest), .number = (value), .unit = (unit_), .help = (help_)                         \
    }
#define TEXT(name, kind_, greatest, value, help_)                                                                    \
    {                                                                                                                \
        .path = #name, .kind = (kind_), .offset = offsetof(struct config, name), .max = (greatest), .text = (value), \
        .help = (help_)                                                                                              \
    }
#define FLAG(name, value, help_)                                                                                  \
    {                                                                                                             \
        .path = #name, .kind = CONFIG_FLAG, .offset = offsetof(struct config, name), .text = (value), .help = (help_) \
    }
#define REPLICA(name, kind_, required_, least, greatest, value, help_)                                         \
    {                                                                                                          \
        .path = CONFIG_REPLICA_PREFIX #name, .kind = (kind_), .offset = offsetof(struct config_replica, name), \
        .required = (required_), .min = (least), .max = (greatest), .text = (value), .help = (help_)           \
    }

const struct config_key config_keys[] = {
    {.path = "cluster",
     .kind = CONFIG_NAME,
     .offset = offsetof(struct config, cluster),
     .required = true,
     .min = 1,
     .max = CC_NAME_BYTES_MAX,
     .help = "Name of the cluster. Replicas of another cluster are refused."},
    {.path = "replicas",
     .kind = CONFIG_REPLICAS,
     .offset = offsetof(struct config, replicas),
     .required = true,
     .min = 1,
     .max = CC_REPLICAS_MAX,
     .help = "The replicas. Three survive the loss of one, five the loss of two."},

    REPLICA(id, CONFIG_NUMBER, true, 1, CONFIG_REPLICA_ID_MAX, NULL,
            "Number of the replica. Never give it to another machine."),
    REPLICA(http, CONFIG_ADDRESS, true, 0, 0, NULL, "Where clients reach it, host:port."),
    REPLICA(peer, CONFIG_ADDRESS, true, 0, 0, NULL, "Where the other replicas reach it, host:port."),
    REPLICA(public_key, CONFIG_PUBLIC_KEY, true, 0, 0, NULL,
            "Its Ed25519 public key, 64 hex digits, from `caucus keygen`."),
    REPLICA(data_directory, CONFIG_TEXT, false, 1, 4096, "\"./data\"",
            "Its log, its key and its managed PostgreSQL. A relative path starts at this file's directory."),
    REPLICA(key_file, CONFIG_TEXT, false, 1, 4096, "\"<data_directory>/key\"", "Its private key, a file of mode 0600."),
    {.path = CONFIG_REPLICA_PREFIX "postgres.conninfo",
     .kind = CONFIG_TEXT,
     .offset = offsetof(struct config_replica, conninfo),
     .max = 4096,
     .text = "postgres.conninfo",
     .help = "Its PostgreSQL, when it differs from postgres.conninfo."},

    NUMBER(timeouts.election_ms, 100, 60000, 1000, "ms",
           "A follower that hears nothing from a leader for this long asks for an election. At least twice the "
           "heartbeat."),
    NUMBER(timeouts.heartbeat_ms, 10, 30000, 100, "ms", "How often a leader is heard at least."),
    NUMBER(timeouts.request_ms, 100, 600000, 10000, "ms",
           "A request that is not done by then is answered with 503 (not executed) or 504 (outcome unknown)."),
    NUMBER(timeouts.statement_ms, 0, 600000, 30000, "ms", "Longest SQL statement of a read; 0: no limit."),
    NUMBER(timeouts.peer_connect_ms, 100, 60000, 2000, "ms", "Connection and handshake with a peer."),
    NUMBER(timeouts.peer_idle_ms, 500, 600000, 10000, "ms",
           "A peer connection that says nothing for this long is closed."),
    NUMBER(timeouts.frontier_ms, 50, 60000, 1000, "ms", "How often replicas compare what weak changes they hold."),
    NUMBER(timeouts.clock_skew_ms_max, 1, 3600000, 500, "ms",
           "A replica whose clock is further off from the others' refuses weak writes."),
    NUMBER(timeouts.http_header_ms, 100, 600000, 5000, "ms", "A request's header must be complete by then."),
    NUMBER(timeouts.http_body_ms, 100, 3600000, 30000, "ms", "A request's body must be complete by then."),
    NUMBER(timeouts.http_idle_ms, 100, 3600000, 60000, "ms", "An idle client connection is closed after this."),
    NUMBER(timeouts.postgres_start_ms, 1000, 3600000, 60000, "ms", "A managed PostgreSQL must answer by then."),
    NUMBER(timeouts.shutdown_ms, 100, 600000, 10000, "ms", "An orderly stop takes at most this long."),

    NUMBER(limits.batch_operations, 1, CC_BATCH_OPERATIONS_MAX, CC_BATCH_OPERATIONS_MAX, "",
           "Writes joined into one log entry."),
    NUMBER(limits.queue_operations, 1, CC_QUEUE_OPERATIONS_MAX, CC_QUEUE_OPERATIONS_MAX, "",
           "Writes waiting in one replica; more are answered with 503."),
    NUMBER(limits.queue_bytes, MIB, CC_QUEUE_BYTES_MAX, CC_QUEUE_BYTES_MAX, "bytes", "Size of the waiting writes."),
    NUMBER(limits.log_segment_bytes, MIB, 1024 * MIB, 64 * MIB, "bytes", "Size of one file of the log."),
    NUMBER(limits.log_sync_ms, 0, 60000, 500, "ms",
           "When most syncs of the log take longer for five seconds, the disk is slow: a leader hands over to a replica whose disk is not; 0: never."),
    NUMBER(limits.snapshot_megabytes_s, 0, 100000, 16, "MiB/s",
           "A snapshot is made, sent and installed no faster, so that clients do not notice; below 4 as 4; 0: no limit."),
    NUMBER(limits.log_megabytes, 4, 1 << 20, 1024, "MiB",
           "A log that is larger is cut, though a replica may still need it: that one gets a snapshot."),
    NUMBER(limits.log_hours, 1, 8760, 24, "h", "The log is kept for a replica that is not reachable for at most so long."),
    NUMBER(limits.disk_free_megabytes, 0, 1 << 24, 64, "MiB",
           "With less free space in the data directory, besides two log segments, writes are refused with 507."),
    NUMBER(limits.log_cache_bytes, MIB, CC_LOG_CACHE_BYTES_MAX, 64 * MIB, "bytes",
           "Log entries kept in memory for slow followers."),
    NUMBER(limits.weak_memory_megabytes, 0, 1 << 14, 64, "MiB",
           "This replica's weak change sets that are kept in memory for others; older ones are read from the histories, or from the log."),
    NUMBER(limits.peer_queue_bytes, MIB, 1024 * MIB, 128 * MIB, "bytes",
           "Unsent bytes per peer; a peer that is further behind is disconnected."),
    NUMBER(limits.rows, 0, 1000000000, 0, "", "Rows in the answer to one read; 0: no limit."),

    NUMBER(http.threads, 0, 256, 0, "", "Threads for HTTP and reads; 0: half of the cores."),
    NUMBER(http.read_connections, 1, 64, 2, "", "PostgreSQL connections for reads, per thread."),
    NUMBER(http.connections, 1, 65536, 1024, "", "Client connections of one replica."),
    NUMBER(http.connections_per_address, 0, 65536, 0, "", "The same from one address; 0: no limit."),
    NUMBER(http.body_bytes, KIB, CC_BODY_BYTES_MAX, CC_BODY_BYTES_MAX, "bytes", "Largest request body."),
    NUMBER(http.header_bytes, KIB, CC_HEADER_BYTES_MAX, CC_HEADER_BYTES_MAX, "bytes", "Largest request header."),
    NUMBER(http.headers, 8, CC_HEADERS_MAX, CC_HEADERS_MAX, "", "Header lines of one request."),
    NUMBER(http.uri_bytes, 256, CC_URI_BYTES_MAX, CC_URI_BYTES_MAX, "bytes", "Longest request target."),

    TEXT(postgres.conninfo, CONFIG_TEXT, 4096, "\"\"",
         "libpq connection string of a PostgreSQL that the operator runs; \"\": each replica makes and supervises its "
         "own."),
    TEXT(postgres.login_role, CONFIG_TEXT, CC_NAME_BYTES_MAX, "\"\"",
         "With conninfo: the role as which reads log in, a member of all roles that tokens name, and of no other; \"\": as "
         "conninfo says. A managed PostgreSQL has caucus_authenticator for this."),
    TEXT(postgres.write_role, CONFIG_TEXT, CC_NAME_BYTES_MAX, "\"\"",
         "With conninfo: the role as which writes of requests log in, another one than login_role, a member of the same roles; "
         "\"\": as conninfo says, which lets code of functions become that role. A managed PostgreSQL has caucus_executor for this."),
    TEXT(postgres.bin_directory, CONFIG_TEXT, 4096, "\"\"", "Where initdb and postgres are; \"\": found by itself."),
    TEXT(postgres.system_user, CONFIG_TEXT, 32, "\"postgres\"",
         "Who runs a managed PostgreSQL when Caucus is started by root."),
    {.path = "postgres.database",
     .kind = CONFIG_NAME,
     .offset = offsetof(struct config, postgres.database),
     .min = 1,
     .max = CC_NAME_BYTES_MAX,
     .text = "\"caucus\"",
     .help = "Database of a managed PostgreSQL."},
    {.path = "postgres.schemas",
     .kind = CONFIG_SCHEMAS,
     .offset = offsetof(struct config, postgres),
     .min = 1,
     .max = 64,
     .text = "[\"public\"]",
     .help = "Schemas that REST shows; the first is the default."},
    {.path = "postgres.settings",
     .kind = CONFIG_SETTINGS,
     .offset = offsetof(struct config, postgres.settings),
     .max = 256,
     .text = "{}",
     .help = "Settings of a managed PostgreSQL, such as {\"shared_buffers\": \"1GB\"}."},

    NUMBER(weak.history_hours, 0, 876000, 168, "h",
           "Histories of weak tables are kept for so long at least. What a member has not yet got is never dropped."),
    NUMBER(weak.history_megabytes, 0, 1 << 24, 4096, "MiB",
           "Histories larger than this lose their oldest entries earlier, if every member has them; 0: no limit."),
    NUMBER(weak.request_hours, 1, 876000, 168, "h", "Outcomes under an Idempotency-Key, of both kinds of tables, are kept for so long."),
    NUMBER(weak.away_hours, 0, 876000, 24, "h",
           "A member that is not reachable for so long is reported: it holds back what can be dropped until it returns or is removed. 0: at once."),

    FLAG(rest.aggregates, "false", "Clients may use sum(), avg(), count(), max() and min() in `select`; they can make reads expensive."),
    FLAG(rest.rollback, "false", "Clients may send `Prefer: tx=rollback`: a write is tried and undone."),
    FLAG(rest.plans, "false",
         "Clients may ask for PostgreSQL's plan of a request with `Accept: application/vnd.pgrst.plan`."),
    TEXT(rest.cors_origins, CONFIG_TEXT, 4096, "\"*\"",
         "Web pages of these origins may use the row protocol: `*` is all, else origins with blanks between; \"\" is none."),
    TEXT(rest.pre_request, CONFIG_TEXT, 2 * CC_NAME_BYTES_MAX + 1, "\"\"",
         "Function, as schema.name, that is called before each request in its transaction, as the request's role: it may refuse by raising an error; \"\": none."),
    {.path = "rest.app_settings",
     .kind = CONFIG_SETTINGS,
     .offset = offsetof(struct config, rest.app_settings),
     .max = 16,
     .text = "{}",
     .help = "What SQL reads as current_setting('app.settings.<name>'), such as {\"environment\": \"test\"}."},

    TEXT(auth.jwt_secret, CONFIG_TEXT, 4096, "\"\"",
         "Secret of tokens signed with HS256, at least 32 bytes. This file is then a secret, too; better jwt_secret_file."),
    TEXT(auth.jwt_secret_file, CONFIG_TEXT, 4096, "\"\"", "File with that secret; a line feed at its end does not count."),
    TEXT(auth.jwks_file, CONFIG_TEXT, 4096, "\"\"",
         "JSON Web Key Set (RFC 7517) with the keys of tokens signed with EdDSA, RS256, ES256 or HS256."),
    TEXT(auth.jwt_audience, CONFIG_TEXT, 4096, "\"\"", "Tokens must name this audience (`aud`); \"\": any or none."),
    TEXT(auth.jwt_issuer, CONFIG_TEXT, 4096, "\"\"", "Tokens must be of this issuer (`iss`); \"\": any or none."),
    FLAG(auth.require_expiry, "false", "Tokens without `exp` are refused."),
    TEXT(auth.role_claim, CONFIG_TEXT, 256, "\".role\"",
         "Where a token names the PostgreSQL role, such as .app_metadata.roles[0] or .\\\"https://example.org/role\\\"."),
    TEXT(auth.anonymous_role, CONFIG_TEXT, CC_NAME_BYTES_MAX, "\"\"",
         "PostgreSQL role of requests without a token; \"\": a token is needed."),
    TEXT(auth.operator_role, CONFIG_TEXT, CC_NAME_BYTES_MAX, "\"caucus_operator\"",
         "Once tokens or an anonymous role are configured: the role that a token must name for the operators' endpoints, such as "
         "/_caucus/status, metrics and migrations. It need not exist in PostgreSQL."),
    FLAG(auth.allow_open, "false",
         "Serve everybody on an address that is not a loopback one, although neither tokens nor an anonymous role are "
         "configured."),

    {.path = "log.level",
     .kind = CONFIG_LOG_LEVEL,
     .offset = offsetof(struct config, log.level),
     .text = "\"info\"",
     .help = "Which lines are logged: debug, info, warn or error, and above."},
};
const size_t config_n_keys = sizeof(config_keys) / sizeof(config_keys[0]);

const struct config_key *config_key_find(const char *path)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        if (strcmp(config_keys[i].path, path) == 0) {
            return &config_keys[i];
        }
    }
    return NULL;
}

bool config_key_is_section(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < config_n_keys; i++) {
        if (strncmp(config_keys[i].path, path, n) == 0 && config_keys[i].path[n] == '.') {
            return true;
        }
    }
    return false;
}

bool config_key_is_of_replica(const struct config_key *key)
{
    return strncmp(key->path, CONFIG_REPLICA_PREFIX, strlen(CONFIG_REPLICA_PREFIX)) == 0;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Levenshtein's distance; both texts are at most EDIT_NAME_BYTES_MAX long.
static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t row[EDIT_NAME_BYTES_MAX + 1];
    for (size_t k = 0; k <= n_b; k++) {
        row[k] = k;
    }
    for (size_t i = 0; i < n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < n_b; k++) {
            size_t replaced = diagonal + (a[i] != b[k]);
            diagonal = row[k + 1];
            row[k + 1] = least(replaced, least(row[k], row[k + 1]) + 1);
        }
    }
    return row[n_b];
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot == NULL ? path : dot + 1;
}

// Keys in the same place count as nearer than keys elsewhere.
static size_t key_distance(const struct config_key *key, const char *prefix, const char *name, size_t n_name)
{
    const char *part = last_part(key->path);
    size_t n_prefix = strlen(prefix);
    bool same_place = (size_t)(part - key->path) == n_prefix && strncmp(key->path, prefix, n_prefix) == 0;
    size_t n_part = strlen(part);
    if (n_part > EDIT_NAME_BYTES_MAX) {
        return SIZE_MAX;
    }
    return 2 * edit_distance(part, n_part, name, n_name) + (same_place ? 0 : 1);
}

const char *config_key_nearest(const char *prefix, const char *name)
{
    size_t n_name = strlen(name);
    if (n_name > EDIT_NAME_BYTES_MAX) {
        return NULL;
    }
    const char *nearest = NULL;
    size_t distance = 2 * least(EDIT_DISTANCE_MAX, n_name / 2) + 2;
    for (size_t i = 0; i < config_n_keys; i++) {
        size_t now = key_distance(&config_keys[i], prefix, name, n_name);
        if (now < distance) {
            distance = now;
            nearest = config_keys[i].path;
        }
    }
    return nearest;
}

bool config_log_level_parse(const char *name, enum cc_log_level *level_out)
{
    static const struct {
        const char *name;
        enum cc_log_level level;
    } levels[] = {
        {"debug", CC_LOG_DEBUG},
        {"info", CC_LOG_INFO},
        {"warn", CC_LOG_WARN},
        {"error", CC_LOG_ERROR},
    };
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(levels[i].name, name) == 0) {
            *level_out = levels[i].level;
            return true;
        }
    }
    return false;
}

static void put_type(struct cc_buffer *out, const struct config_key *key)
{
    switch (key->kind) {
    case CONFIG_NUMBER:
        cc_buffer_printf(out, "%u to %u", (unsigned)key->min, (unsigned)key->max);
        break;
    case CONFIG_TEXT:
        cc_buffer_append_text(out, "text");
        break;
    case CONFIG_FLAG:
        cc_buffer_append_text(out, "true, false");
        break;
    case CONFIG_NAME:
        cc_buffer_append_text(out, "name");
        break;
    case CONFIG_LOG_LEVEL:
        cc_buffer_append_text(out, "debug, info, warn, error");
        break;
    case CONFIG_ADDRESS:
        cc_buffer_append_text(out, "host:port");
        break;
    case CONFIG_PUBLIC_KEY:
        cc_buffer_append_text(out, "64 hex digits");
        break;
    case CONFIG_SCHEMAS:
        cc_buffer_append_text(out, "list of texts");
        break;
    case CONFIG_SETTINGS:
        cc_buffer_append_text(out, "object of texts");
        break;
    case CONFIG_REPLICAS:
        cc_buffer_printf(out, "list of %u to %u objects", (unsigned)key->min, (unsigned)key->max);
        break;
    }
    if (key->unit != NULL && key->unit[0] != '\0') {
        cc_buffer_printf(out, " %s", key->unit);
    }
}

static void put_default(struct cc_buffer *out, const struct config_key *key)
{
    if (key->required) {
        cc_buffer_append_text(out, "required");
    } else if (key->kind == CONFIG_NUMBER) {
        cc_buffer_printf(out, "%u", (unsigned)key->number);
    } else {
        cc_buffer_append_text(out, key->text);
    }
}

void config_put_help(struct cc_buffer *out)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        cc_buffer_printf(out, "  %s  (", key->path);
        put_type(out, key);
        cc_buffer_append_text(out, key->required ? "; " : "; default ");
        put_default(out, key);
        cc_buffer_printf(out, ")\n      %s\n", key->help);
    }
}

void config_put_table(struct cc_buffer *out)
{
    cc_buffer_append_text(out, "| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        cc_buffer_printf(out, "| `%s` | ", key->path);
        put_type(out, key);
        cc_buffer_append_text(out, key->required ? " | " : " | `");
        put_default(out, key);
        cc_buffer_printf(out, "%s | %s |\n", key->required ? "" : "`", key->help);
    }
}
