// The directory of a development cluster.
#include "cli/up_directory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "proxy/config/io_keys.h"

static enum cli_exit make_directory(const char *path)
{
    struct stat status;
    if (mkdir(path, 0755) == 0 || (errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))) {
        return CLI_OK;
    }
    return cli_fail(CLI_IO, "%s: %s", path, strerror(errno));
}

static enum cli_exit take_lock(struct up_directory *directory)
{
    char *path = cc_path_join(directory->path, "lock");
    directory->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    enum cli_exit code = CLI_OK;
    if (directory->lock < 0) {
        code = cli_fail(CLI_IO, "%s: %s", path, strerror(errno));
    } else if (flock(directory->lock, LOCK_EX | LOCK_NB) != 0) {
        code = cli_fail(CLI_REFUSED, "another `caucus up` runs on %s", directory->path);
    }
    free(path);
    return code;
}

// -- A new cluster -------------------------------------------------------------------------------------------------------

// Without config.json there must be no data: it would belong to a cluster that nobody knows any more.
static enum cli_exit refuse_orphans(const char *directory, uint32_t id)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%u/log", directory, id);
    return access(path, F_OK) == 0 ? cli_fail(CLI_REFUSED, "%s has data, but config.json is missing", directory)
                                   : CLI_OK;
}

// Writes the key of a replica; one of an attempt that was interrupted is used.
static enum cli_exit make_key(const char *directory, uint32_t id, char public_key_out[KEYS_TEXT_BYTES])
{
    char path[PATH_MAX];
    struct keys_pair pair;
    struct io_keys_problem problem = {{0}};
    (void)snprintf(path, sizeof(path), "%s/%u", directory, id);
    enum cli_exit code = make_directory(path);
    if (code != CLI_OK) {
        return code;
    }
    (void)snprintf(path, sizeof(path), "%s/%u/key", directory, id);
    enum cc_status status = io_keys_load(path, &pair, &problem);
    if (status == CC_NOT_FOUND) {
        status = io_keys_generate(&pair);
        status = status == CC_OK ? io_keys_save(path, &pair, &problem) : status;
    }
    if (status != CC_OK) {
        return cli_fail(CLI_IO, "%s", problem.text[0] != '\0' ? problem.text : path);
    }
    keys_to_text(pair.public_key, public_key_out);
    keys_forget(&pair);
    return CLI_OK;
}

static json_t *replica_json(uint32_t id, uint32_t port, const char *public_key)
{
    char http[32], peer[32], data[16], key[32];
    (void)snprintf(http, sizeof(http), "127.0.0.1:%u", port + id);
    (void)snprintf(peer, sizeof(peer), "127.0.0.1:%u", port + UP_PEER_OFFSET + id);
    (void)snprintf(data, sizeof(data), "%u", id);
    (void)snprintf(key, sizeof(key), "%u/key", id);
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "id", (json_int_t)id, "http", http, "peer", peer, "public_key",
                     public_key, "data_directory", data, "key_file", key);
}

// Complete or not there at all.
static enum cli_exit write_config(const char *path, const json_t *json)
{
    struct cc_buffer fresh = {0};
    cc_buffer_printf(&fresh, "%s.new", path);
    bool done =
        json_dump_file(json, cc_buffer_text(&fresh), JSON_INDENT(2)) == 0 && rename(cc_buffer_text(&fresh), path) == 0;
    cc_buffer_finish(&fresh);
    return done ? CLI_OK : cli_fail(CLI_IO, "%s: %s", path, strerror(errno));
}

static enum cli_exit make_cluster(const struct up_directory *directory, uint32_t n_replicas, uint32_t port)
{
    uint32_t number = 0;
    char name[16];
    io_keys_random(&number, sizeof(number)); // so that replicas of two clusters never take each other for their own
    (void)snprintf(name, sizeof(name), "dev-%08x", number);
    json_t *replicas = json_array();
    enum cli_exit code = CLI_OK;
    for (uint32_t id = 1; id <= n_replicas && code == CLI_OK; id++) {
        char public_key[KEYS_TEXT_BYTES];
        code = refuse_orphans(directory->path, id);
        code = code == CLI_OK ? make_key(directory->path, id, public_key) : code;
        if (code == CLI_OK) {
            json_array_append_new(replicas, replica_json(id, port, public_key));
        }
    }
    json_t *json = json_pack("{s:s, s:o}", "cluster", name, "replicas", replicas);
    code = code == CLI_OK ? write_config(directory->config_path, json) : code;
    json_decref(json);
    return code;
}

// -- One that is there ---------------------------------------------------------------------------------------------------

static enum cli_exit check_wish(const struct up_wish *wish, const struct up_directory *directory)
{
    const struct config *config = &directory->config;
    if (wish->n_replicas != 0 && wish->n_replicas != config->n_replicas) {
        return cli_fail(CLI_REFUSED, "%s has %zu replicas, not %u: leave --replicas out, or take another --dir",
                        directory->path, config->n_replicas, wish->n_replicas);
    }
    if (wish->port != 0 && config->replicas[0].http.port != wish->port + config->replicas[0].id) {
        return cli_fail(CLI_REFUSED,
                        "%s listens on port %u, not %u: leave --port out, edit config.json, or take another --dir",
                        directory->path, config->replicas[0].http.port, wish->port + config->replicas[0].id);
    }
    return CLI_OK;
}

static enum cli_exit load(struct up_directory *directory)
{
    struct config_error error;
    if (config_load_file(directory->config_path, &directory->config, &error) != CC_OK) {
        return cli_fail(CLI_CONFIG, "%s", error.text);
    }
    return CLI_OK;
}

static enum cli_exit open_or_make(const struct up_wish *wish, struct up_directory *directory)
{
    enum cli_exit code = take_lock(directory);
    if (code != CLI_OK) {
        return code;
    }
    bool exists = access(directory->config_path, F_OK) == 0;
    if (!exists) {
        code = make_cluster(directory, wish->n_replicas == 0 ? UP_REPLICAS_DEFAULT : wish->n_replicas,
                            wish->port == 0 ? UP_PORT_DEFAULT : wish->port);
    }
    code = code == CLI_OK ? load(directory) : code;
    return code == CLI_OK && exists ? check_wish(wish, directory) : code;
}

enum cli_exit up_directory_open(const struct up_wish *wish, struct up_directory *directory_out)
{
    char real[PATH_MAX];
    struct up_directory directory = {.lock = -1};
    enum cli_exit code = make_directory(wish->directory);
    if (code != CLI_OK) {
        return code;
    }
    if (realpath(wish->directory, real) == NULL) {
        return cli_fail(CLI_IO, "%s: %s", wish->directory, strerror(errno));
    }
    directory.path = cc_strdup(real);
    directory.config_path = cc_path_join(real, "config.json");
    code = open_or_make(wish, &directory);
    if (code != CLI_OK) {
        up_directory_close(&directory);
        return code;
    }
    *directory_out = directory;
    return CLI_OK;
}

void up_directory_close(struct up_directory *directory)
{
    free(directory->path);
    free(directory->config_path);
    if (directory->lock >= 0) {
        (void)close(directory->lock);
    }
    if (directory->config.n_replicas > 0) {
        config_finish(&directory->config);
    }
    *directory = (struct up_directory){.lock = -1};
}

// -- Ports ---------------------------------------------------------------------------------------------------------------

static bool is_free(const struct config_address *address)
{
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t)address->port)};
    if (inet_pton(AF_INET, address->host, &target.sin_addr) != 1) {
        return true; // an edited configuration: the replica will say
    }
    int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    bool bound = bind(fd, (const struct sockaddr *)&target, sizeof(target)) == 0;
    bool taken = !bound && errno == EADDRINUSE;
    (void)close(fd);
    return !taken;
}

enum cli_exit up_directory_check_ports(const struct up_directory *directory)
{
    for (size_t i = 0; i < directory->config.n_replicas; i++) {
        const struct config_replica *replica = &directory->config.replicas[i];
        const struct config_address *taken = !is_free(&replica->http)   ? &replica->http
                                             : !is_free(&replica->peer) ? &replica->peer
                                                                        : NULL;
        if (taken != NULL) {
            return cli_fail(
                CLI_REFUSED,
                "%s is in use: does another cluster run? Take another --port (and --dir), or stop what listens there",
                taken->text);
        }
    }
    return CLI_OK;
}
