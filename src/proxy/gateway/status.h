// What GET /_caucus/status and /_caucus/metrics say: texts made from the node's description. Pure.
#ifndef PROXY_STATUS_H
#define PROXY_STATUS_H

#include "proxy/config/config.h"
#include "proxy/postgres/io_garbage.h"
#include "proxy/node/node.h"

enum { STATUS_WHY_BYTES = CONFIG_ERROR_BYTES };

// What the shell knows besides the node.
struct status_shell {
    uint64_t applied_flushed; // entries up to here are on disk in PostgreSQL; 0: not known yet
    char postgres_version[64];
    bool managed;
    uint32_t postgres_restarts;
    uint64_t log_syncs, log_bytes, log_sync_us; // since the start
    uint64_t started_ms, now_ms; // wall time
    struct io_garbage_stats garbage;
    enum cc_status member_status; // of the change that was asked for, if any
    uint64_t member_index;
    const char *member_why;
    struct member listed[CC_REPLICAS_MAX]; // in config.json
    uint32_t n_listed;
    const char *config_why; // it cannot be read; "": it can
    enum cc_status reload_status; // of the reload that was asked for, if any
    bool reload_dry_run;
    struct node_reload_plan reload_plan;
    char reload_why[STATUS_WHY_BYTES];
    uint64_t http_requests, http_answers_by_class[6], http_refused, http_connections;
};

// One JSON object, as DESIGN's shape; appended.
void status_put_json(struct cc_buffer *out, const struct config *config, const struct node_status *status,
                     const struct status_shell *shell);
// Prometheus text format 0.0.4; appended.
void status_put_metrics(struct cc_buffer *out, const struct config *config, const struct node_status *status,
                        const struct status_shell *shell);
// A member that was not heard of for weak.away_hours; what it does not have is kept for it meanwhile.
bool status_is_away(const struct config *config, const struct node_peer_status *peer, const struct status_shell *shell);
// What is being compared with other members, or was last: one JSON object; appended.
void status_put_repair(struct cc_buffer *out, const struct node_status *status);

#endif
