// The configuration file: one descriptor table, from which parsing, --help and the docs table come.
// A loaded configuration is plain data that never changes. Every setting is in docs/CONFIG.md.
#ifndef PROXY_CONFIG_H
#define PROXY_CONFIG_H

#include "base/arena.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/slice.h"
#include "base/status.h"

enum { CONFIG_KEY_BYTES = 32, CONFIG_ERROR_BYTES = 512, CONFIG_REPLICA_ID_MAX = 65535 };

struct config_address {
    const char *text; // as written: "127.0.0.1:7101", "[::1]:7101"
    const char *host; // without brackets
    uint32_t port;
};

struct config_replica {
    uint32_t id;
    struct config_address http;
    struct config_address peer;
    uint8_t public_key[CONFIG_KEY_BYTES]; // Ed25519
    const char *data_directory;
    const char *key_file;
    const char *conninfo; // "": managed, the replica makes and supervises its own PostgreSQL
};

struct config_setting { // of a managed PostgreSQL
    const char *name;
    const char *value;
};

struct config_timeouts { // milliseconds
    uint32_t election_ms;
    uint32_t heartbeat_ms;
    uint32_t request_ms;
    uint32_t statement_ms; // reads; 0: none
    uint32_t peer_connect_ms;
    uint32_t peer_idle_ms;
    uint32_t frontier_ms;
    uint32_t clock_skew_ms_max;
    uint32_t http_header_ms;
    uint32_t http_body_ms;
    uint32_t http_idle_ms;
    uint32_t postgres_start_ms;
    uint32_t shutdown_ms;
};

struct config_limits {
    uint32_t batch_operations;
    uint32_t queue_operations;
    uint32_t queue_bytes;
    uint32_t log_segment_bytes;
    uint32_t weak_memory_megabytes;
    uint32_t log_sync_ms;
    uint32_t log_megabytes;
    uint32_t snapshot_megabytes_s;
    uint32_t log_hours;
    uint32_t disk_free_megabytes;
    uint32_t log_cache_bytes;
    uint32_t peer_queue_bytes;
    uint32_t rows; // in one read's answer; 0: no limit
};

struct config_http {
    uint32_t threads; // 0: half of the cores
    uint32_t read_connections;
    uint32_t connections;
    uint32_t connections_per_address; // 0: no limit
    uint32_t body_bytes;
    uint32_t header_bytes;
    uint32_t headers;
    uint32_t uri_bytes;
};

struct config_settings { // name and value each
    const struct config_setting *list;
    size_t n;
};

struct config_postgres {
    const char *conninfo;      // "": managed
    const char *login_role;    // that requests log in as at a PostgreSQL of the operator; "": as conninfo says
    const char *write_role;    // the same for writes of requests
    const char *bin_directory; // "": found by itself
    const char *system_user;   // that PostgreSQL runs as when Caucus is root
    const char *database;
    const char *const *schemas; // exposed over REST, the first is the default
    size_t n_schemas;
    const char *search_path; // the schemas and public, quoted: what names in SQL of functions and types mean
    struct config_settings settings;
};

struct config_rest {
    bool aggregates; // sum(), avg(), ... in select
    bool rollback;   // Prefer: tx=rollback
    bool plans;      // Accept: application/vnd.pgrst.plan
    const char *cors_origins;
    const char *pre_request; // a function's name, "": none
    struct config_settings app_settings;
};

struct config_weak { // how long weak tables remember
    uint32_t history_hours, history_megabytes; // 0: as soon as all have it; no limit of size
    uint32_t request_hours;
    uint32_t away_hours;
};

struct config_auth { // "": none
    const char *jwt_secret;
    const char *jwt_secret_file;
    const char *jwks_file;
    const char *jwt_audience;
    const char *jwt_issuer;
    bool require_expiry;
    const char *role_claim;
    const char *anonymous_role;
    const char *operator_role;
    bool allow_open;
};

struct config_log {
    enum cc_log_level level;
};

struct config {
    const char *cluster;
    struct config_replica *replicas; // in the order of the file
    size_t n_replicas;
    struct config_timeouts timeouts;
    struct config_limits limits;
    struct config_http http;
    struct config_postgres postgres;
    struct config_rest rest;
    struct config_weak weak;
    struct config_auth auth;
    struct config_log log;
    struct cc_arena arena; // owns all of the above
};

// What is wrong, as one line for people: "config.json:12: timeouts.election_ms: must be between 100 and 60000, is 5".
// The caller exits with 78.
struct config_error {
    char text[CONFIG_ERROR_BYTES];
};

// Reads a configuration from text; `name` is that of the file, for messages. Paths stay as they are written.
// CC_MALFORMED: not JSON. CC_INVALID: anything else that is refused.
enum cc_status config_load_text(struct cc_slice text, const char *name, struct config *config_out,
                                struct config_error *error_out) CC_CHECKED;
// The same from a file; relative paths of keys and data become relative to the file's directory.
// Also CC_IO, CC_NOT_FOUND and CC_TOO_LARGE, with the same kind of message.
enum cc_status config_load_file(const char *path, struct config *config_out, struct config_error *error_out) CC_CHECKED;
void config_finish(struct config *config);

// NULL when there is no such replica.
const struct config_replica *config_find_replica(const struct config *config, uint32_t id);

// Every key with type, range, default, unit and meaning: as text for `caucus serve --help`, and as the table of docs/CONFIG.md.
void config_put_help(struct cc_buffer *out);
void config_put_table(struct cc_buffer *out);

// Line (from 1) of a key in a JSON text; `path` as in messages: "replicas[1].postgres.conninfo". When it is not there, the
// line of the innermost part that is. Pure scanner; any bytes are allowed.
size_t config_line_of(struct cc_slice text, const char *path);

#endif
