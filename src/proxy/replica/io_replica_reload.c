// The replica's process: members from config.json, read again on SIGHUP or when an operator asks (POST /_caucus/reload).
#include "proxy/replica/io_replica_internal.h"

#include <stdio.h>
#include <string.h>

enum { RELOAD_MS = 300 * 1000 };

static void take_listed(const struct config *config, struct member members_out[static CC_REPLICAS_MAX], uint32_t *n_out)
{
    *n_out = (uint32_t)config->n_replicas;
    for (size_t i = 0; i < config->n_replicas; i++) {
        members_out[i] = replica_member(&config->replicas[i]);
    }
}

void replica_take_listed(struct replica *replica)
{
    take_listed(replica->config, replica->listed, &replica->n_listed);
}

// Only the members are taken from the file; everything else in it counts from the next start on.
static enum cc_status read_file(const struct replica *replica, struct node_reload_wish *wish, char why_out[static STATUS_WHY_BYTES])
{
    struct config config;
    struct config_error error;
    if (config_load_file(replica->options->config_path, &config, &error) != CC_OK) {
        (void)snprintf(why_out, STATUS_WHY_BYTES, "%s", error.text);
        return CC_INVALID;
    }
    enum cc_status status = strcmp(config.cluster, replica->config->cluster) == 0 ? CC_OK : CC_INVALID;
    if (status == CC_OK) {
        take_listed(&config, wish->members, &wish->n_members);
    } else {
        (void)snprintf(why_out, STATUS_WHY_BYTES, "%.300s is the file of another cluster", replica->options->config_path);
    }
    config_finish(&config);
    return status;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void replica_look_at_file(struct replica *replica)
{
    struct stat file = {0}; // which stays so when there is none
    (void)stat(replica->options->config_path, &file);
    if (is_same_file(&file, &replica->config_file)) {
        return;
    }
    struct node_reload_wish wish = {0};
    replica->config_file = file;
    replica->config_why[0] = '\0';
    if (read_file(replica, &wish, replica->config_why) == CC_OK) {
        memcpy(replica->listed, wish.members, sizeof(replica->listed));
        replica->n_listed = wish.n_members;
    }
}

void replica_reload(struct replica *replica, const struct gateway_reload *request, struct status_shell *shell)
{
    struct node_reload_wish wish = request->wish;
    shell->reload_dry_run = wish.dry_run;
    shell->reload_status = request->has_list ? CC_OK : read_file(replica, &wish, shell->reload_why);
    if (shell->reload_status != CC_OK) {
        return;
    }
    const char *why;
    shell->reload_status = node_reload(replica->node, replica_now(), &wish, &shell->reload_plan, &why);
    (void)snprintf(shell->reload_why, sizeof(shell->reload_why), "%s", why);
}

void replica_on_hangup(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct replica *replica = context;
    struct gateway_reload request = {.wish = {.wait_ms = RELOAD_MS}};
    struct status_shell shell = {0};
    if (replica->stage != REPLICA_SERVING) {
        return;
    }
    replica_reload(replica, &request, &shell);
    if (shell.reload_status != CC_OK) {
        cc_log(CC_LOG_ERROR, "reload", "state=refused changes=0 left=0 why=%s", cc_log_quote(shell.reload_why));
    } else if (shell.reload_plan.n == 0) {
        cc_log(CC_LOG_INFO, "reload", "state=done changes=0 left=0 why=-");
    }
}
