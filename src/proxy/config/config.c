// Reads and checks the configuration file.
#include "proxy/config/config.h"

#include "proxy/config/config_keys.h"
#include "rest/jwt.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FILE_BYTES_MAX = 1 << 20, HOST_BYTES_MAX = 253, PORT_DIGITS_MAX = 5, PORT_MAX = 65535 };

struct loader {
    struct cc_slice text;
    const char *name;
    struct config *config;
    struct config_error *error;
};

// A message is one line for a terminal, whatever a key holds, and is cut where the room ends.
static void set_error(struct config_error *error, const char *text)
{
    size_t n = 0;
    for (; text[n] != '\0' && n < sizeof(error->text) - 1; n++) {
        bool printable = (unsigned char)text[n] >= ' ' && text[n] != 0x7f;
        error->text[n] = printable ? text[n] : '?';
    }
    error->text[n] = '\0';
}

__attribute__((format(printf, 3, 4))) static enum cc_status refuse(const struct loader *loader, const char *path,
                                                                   const char *format, ...)
{
    struct cc_buffer line = {0};
    cc_buffer_printf(&line, "%s:%zu: %.128s%s", loader->name, config_line_of(loader->text, path), path,
                     path[0] == '\0' ? "" : ": ");
    char reason[CONFIG_ERROR_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    cc_buffer_append_text(&line, reason);
    set_error(loader->error, cc_buffer_text(&line));
    cc_buffer_finish(&line);
    return CC_INVALID;
}

// -- Values ----------------------------------------------------------------------------------------------------------

static enum cc_status load_number(struct loader *loader, const struct config_key *key, const json_t *value,
                                  const char *path, uint32_t *number_out)
{
    if (!json_is_integer(value)) {
        return refuse(loader, path, "must be a whole number between %u and %u", (unsigned)key->min, (unsigned)key->max);
    }
    json_int_t number = json_integer_value(value);
    if (number < key->min || number > key->max) {
        return refuse(loader, path, "must be between %u and %u, is %" JSON_INTEGER_FORMAT, (unsigned)key->min,
                      (unsigned)key->max, number);
    }
    *number_out = (uint32_t)number;
    return CC_OK;
}

static enum cc_status load_text(struct loader *loader, const json_t *value, const char *path, size_t min, size_t max,
                                const char **text_out)
{
    if (!json_is_string(value)) {
        return refuse(loader, path, "must be a text in quotes");
    }
    size_t n = json_string_length(value);
    if (n < min) {
        return refuse(loader, path, "must not be empty");
    }
    if (n > max) {
        return refuse(loader, path, "must be at most %zu bytes long, is %zu", max, n);
    }
    *text_out = cc_arena_text_n(&loader->config->arena, json_string_value(value), n);
    return CC_OK;
}

static enum cc_status load_flag(struct loader *loader, const json_t *value, const char *path, bool *flag_out)
{
    if (!json_is_boolean(value)) {
        return refuse(loader, path, "must be true or false");
    }
    *flag_out = json_is_true(value);
    return CC_OK;
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static enum cc_status load_name(struct loader *loader, const struct config_key *key, const json_t *value,
                                const char *path, const char **name_out)
{
    const char *name = NULL;
    enum cc_status status = load_text(loader, value, path, key->min, key->max, &name);
    if (status != CC_OK) {
        return status;
    }
    for (const char *c = name; *c != '\0'; c++) {
        if (!is_letter_or_digit(*c) && *c != '-' && *c != '_' && *c != '.') {
            return refuse(loader, path, "may hold letters, digits, '-', '_' and '.' only, is \"%s\"", name);
        }
    }
    *name_out = name;
    return CC_OK;
}

static enum cc_status load_log_level(struct loader *loader, const json_t *value, const char *path,
                                     enum cc_log_level *level_out)
{
    if (!json_is_string(value) || !config_log_level_parse(json_string_value(value), level_out)) {
        return refuse(loader, path, "must be \"debug\", \"info\", \"warn\" or \"error\"");
    }
    return CC_OK;
}

// The port behind the colon; 0 when it is none.
static uint32_t parse_port(const char *text)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > PORT_DIGITS_MAX || text[n] != '\0') {
        return 0;
    }
    uint32_t port = 0;
    for (; *text != '\0'; text++) {
        port = port * 10 + (uint32_t)(*text - '0');
    }
    return port <= PORT_MAX ? port : 0;
}

static bool is_host(const char *host, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_letter_or_digit(host[i]) && host[i] != '-' && host[i] != '.' && host[i] != '_') {
            return false;
        }
    }
    return n > 0 && n <= HOST_BYTES_MAX;
}

// What stands between the brackets of "[::1]". Whether it is an address is found out when it is used.
static bool is_ipv6(const char *host, size_t n)
{
    static const char allowed[] = "0123456789abcdefABCDEF:.";
    return n >= 2 && n <= HOST_BYTES_MAX && strspn(host, allowed) >= n && memchr(host, ':', n) != NULL;
}

static bool parse_address(struct cc_arena *arena, const char *text, struct config_address *address_out)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return false;
    }
    size_t n_host = (size_t)(colon - text);
    const char *host = text;
    bool bracketed = n_host >= 2 && text[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        host = text + 1;
        n_host -= 2;
    }
    uint32_t port = parse_port(colon + 1);
    bool good = bracketed ? is_ipv6(host, n_host) : is_host(host, n_host);
    if (!good || port == 0) {
        return false;
    }
    *address_out = (struct config_address){.text = text, .host = cc_arena_text_n(arena, host, n_host), .port = port};
    return true;
}

static enum cc_status load_address(struct loader *loader, const json_t *value, const char *path,
                                   struct config_address *address_out)
{
    const char *text = NULL;
    enum cc_status status = load_text(loader, value, path, 0, HOST_BYTES_MAX + 16, &text);
    if (status != CC_OK) {
        return status;
    }
    if (!parse_address(&loader->config->arena, text, address_out)) {
        return refuse(loader, path, "must be host:port or [IPv6]:port with a port from 1 to 65535, is \"%s\"", text);
    }
    return CC_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum cc_status load_public_key(struct loader *loader, const json_t *value, const char *path, uint8_t *key_out)
{
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    uint8_t key[CONFIG_KEY_BYTES];
    bool good = strlen(text) == 2 * sizeof(key);
    for (size_t i = 0; good && i < sizeof(key); i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        good = high >= 0 && low >= 0;
        key[i] = good ? (uint8_t)(high << 4 | low) : 0;
    }
    if (!good) {
        return refuse(loader, path, "must be 64 hex digits, as `caucus keygen` prints them");
    }
    memcpy(key_out, key, sizeof(key));
    return CC_OK;
}

static void put_identifier(struct cc_buffer *out, const char *name)
{
    cc_buffer_append_text(out, out->n == 0 ? "\"" : ", \"");
    for (const char *c = name; *c != '\0'; c++) {
        cc_buffer_append(out, c, 1);
        cc_buffer_append(out, "\"", *c == '"' ? 1 : 0);
    }
    cc_buffer_append_text(out, "\"");
}

static const char *search_path_of(struct cc_arena *arena, const char *const *schemas, size_t n)
{
    struct cc_buffer out = {0};
    bool has_public = false;
    for (size_t i = 0; i < n; i++) {
        put_identifier(&out, schemas[i]);
        has_public = has_public || strcmp(schemas[i], "public") == 0;
    }
    if (!has_public) {
        put_identifier(&out, "public");
    }
    const char *path = cc_arena_text(arena, cc_buffer_text(&out));
    cc_buffer_finish(&out);
    return path;
}

static enum cc_status load_schemas(struct loader *loader, const struct config_key *key, const json_t *value,
                                   const char *path, struct config_postgres *postgres)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 0;
    if (n < key->min || n > key->max) {
        return refuse(loader, path, "must be a list of %u to %u texts", (unsigned)key->min, (unsigned)key->max);
    }
    const char **schemas = cc_arena_array(&loader->config->arena, n, sizeof(*schemas));
    for (size_t i = 0; i < n; i++) {
        const char *item = cc_arena_printf(&loader->config->arena, "%s[%zu]", path, i);
        enum cc_status status = load_text(loader, json_array_get(value, i), item, 1, CC_NAME_BYTES_MAX, &schemas[i]);
        if (status != CC_OK) {
            return status;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(schemas[k], schemas[i]) == 0) {
                return refuse(loader, item, "\"%s\" is there twice", schemas[i]);
            }
        }
    }
    postgres->schemas = schemas;
    postgres->n_schemas = n;
    postgres->search_path = search_path_of(&loader->config->arena, schemas, n);
    return CC_OK;
}

static bool is_setting_name(const char *name)
{
    size_t n = strlen(name);
    bool starts_well = n > 0 && strchr("abcdefghijklmnopqrstuvwxyz_", name[0]) != NULL;
    return starts_well && n <= CC_NAME_BYTES_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.") == n;
}

// Settings on which durability, ordering or supervision rest.
static bool is_reserved_setting(const char *name)
{
    static const char *const reserved[] = {
        "config_file",       "data_directory",          "fsync", "full_page_writes",   "hba_file",
        "ident_file",        "listen_addresses",        "port",  "synchronous_commit", "session_replication_role",
        "external_pid_file", "unix_socket_directories",
    };
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (strcmp(reserved[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static enum cc_status load_settings(struct loader *loader, const struct config_key *key, json_t *value,
                                    const char *path, struct config_settings *settings_out)
{
    bool of_server = strcmp(key->path, "postgres.settings") == 0;
    if (!json_is_object(value) || json_object_size(value) > key->max) {
        return refuse(loader, path, "must be an object of at most %u settings", (unsigned)key->max);
    }
    struct cc_arena *arena = &loader->config->arena;
    struct config_setting *settings = cc_arena_array(arena, json_object_size(value), sizeof(*settings));
    size_t n = 0;
    const char *name;
    json_t *text;
    json_object_foreach(value, name, text)
    {
        const char *item = cc_arena_printf(arena, "%s.%s", path, name);
        if (!is_setting_name(name)) {
            return refuse(loader, item, "is not the name of a PostgreSQL setting");
        }
        if (of_server && is_reserved_setting(name)) {
            return refuse(loader, item, "is set by Caucus itself and cannot be changed");
        }
        settings[n].name = cc_arena_text(arena, name);
        enum cc_status status = load_text(loader, text, item, 0, 4096, &settings[n].value);
        if (status != CC_OK) {
            return status;
        }
        n++;
    }
    *settings_out = (struct config_settings){settings, n};
    return CC_OK;
}

// -- Objects ---------------------------------------------------------------------------------------------------------

static enum cc_status load_replicas(struct loader *loader, const struct config_key *key, const json_t *value,
                                    const char *path);

static enum cc_status load_value(struct loader *loader, const struct config_key *key, json_t *value, const char *path,
                                 void *base)
{
    char *place = (char *)base + key->offset;
    switch (key->kind) {
    case CONFIG_NUMBER:
        return load_number(loader, key, value, path, (uint32_t *)(void *)place);
    case CONFIG_TEXT:
        return load_text(loader, value, path, key->min, key->max, (const char **)(void *)place);
    case CONFIG_FLAG:
        return load_flag(loader, value, path, (bool *)(void *)place);
    case CONFIG_NAME:
        return load_name(loader, key, value, path, (const char **)(void *)place);
    case CONFIG_LOG_LEVEL:
        return load_log_level(loader, value, path, (enum cc_log_level *)(void *)place);
    case CONFIG_ADDRESS:
        return load_address(loader, value, path, (struct config_address *)(void *)place);
    case CONFIG_PUBLIC_KEY:
        return load_public_key(loader, value, path, (uint8_t *)place);
    case CONFIG_SCHEMAS:
        return load_schemas(loader, key, value, path, (struct config_postgres *)(void *)place);
    case CONFIG_SETTINGS:
        return load_settings(loader, key, value, path, (struct config_settings *)(void *)place);
    case CONFIG_REPLICAS:
        return load_replicas(loader, key, value, path);
    }
    return CC_INVALID;
}

static enum cc_status refuse_unknown(const struct loader *loader, const char *path, const char *prefix,
                                     const char *name)
{
    const char *nearest = config_key_nearest(prefix, name);
    if (nearest == NULL) {
        return refuse(loader, path, "no such key");
    }
    return refuse(loader, path, "no such key, did you mean %s?", nearest);
}

// Loads the keys of one object into `base`. `prefix` is what stands before the keys in the descriptor table ("replicas[].")
// and `path` what stands before them in messages ("replicas[1]."). The depth is that of the table.
static enum cc_status load_object(struct loader *loader, json_t *object, const char *prefix, const char *path,
                                  void *base)
{
    struct cc_arena *arena = &loader->config->arena;
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        const char *key_path = cc_arena_printf(arena, "%s%s", prefix, name);
        const char *full_path = cc_arena_printf(arena, "%s%s", path, name);
        const struct config_key *key = config_key_find(key_path);
        bool plain = strpbrk(name, ".[]") == NULL;
        enum cc_status status = CC_OK;
        if (plain && key != NULL) {
            status = load_value(loader, key, value, full_path, base);
        } else if (plain && config_key_is_section(key_path)) {
            status = !json_is_object(value) ? refuse(loader, full_path, "must be an object in braces")
                                            : load_object(loader, value, cc_arena_printf(arena, "%s.", key_path),
                                                          cc_arena_printf(arena, "%s.", full_path), base);
        } else {
            status = refuse_unknown(loader, full_path, prefix, name);
        }
        if (status != CC_OK) {
            return status;
        }
    }
    return CC_OK;
}

static enum cc_status check_required(const struct loader *loader, const json_t *object, bool of_replica,
                                     const char *path)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (!key->required || config_key_is_of_replica(key) != of_replica) {
            continue;
        }
        const char *name = of_replica ? key->path + strlen(CONFIG_REPLICA_PREFIX) : key->path;
        if (json_object_get(object, name) == NULL) {
            return refuse(loader, path, "the key \"%s\" is missing", name);
        }
    }
    return CC_OK;
}

static void fill_replica(struct config *config, struct config_replica *replica)
{
    if (replica->data_directory == NULL) {
        replica->data_directory = "./data";
    }
    if (replica->key_file == NULL) {
        replica->key_file = cc_arena_printf(&config->arena, "%s/key", replica->data_directory);
    }
}

static enum cc_status load_replicas(struct loader *loader, const struct config_key *key, const json_t *value,
                                    const char *path)
{
    struct config *config = loader->config;
    size_t n = json_is_array(value) ? json_array_size(value) : 0;
    if (n < key->min || n > key->max) {
        return refuse(loader, path, "must be a list of %u to %u objects", (unsigned)key->min, (unsigned)key->max);
    }
    struct config_replica *replicas = cc_arena_array(&config->arena, n, sizeof(*replicas));
    for (size_t i = 0; i < n; i++) {
        const char *item = cc_arena_printf(&config->arena, "%s[%zu]", path, i);
        json_t *object = json_array_get(value, i);
        if (!json_is_object(object)) {
            return refuse(loader, item, "must be an object in braces");
        }
        const char *prefix = cc_arena_printf(&config->arena, "%s.", item);
        enum cc_status status = load_object(loader, object, CONFIG_REPLICA_PREFIX, prefix, &replicas[i]);
        if (status != CC_OK) {
            return status;
        }
        status = check_required(loader, object, true, item);
        if (status != CC_OK) {
            return status;
        }
        fill_replica(config, &replicas[i]);
    }
    config->replicas = replicas;
    config->n_replicas = n;
    return CC_OK;
}

// -- What must hold between keys -------------------------------------------------------------------------------------

static enum cc_status refuse_twice(const struct loader *loader, size_t i, const char *key, size_t other)
{
    const char *path = cc_arena_printf(&loader->config->arena, "replicas[%zu].%s", i, key);
    return refuse(loader, path, "is the same as that of replicas[%zu]", other);
}

static bool same_address(const struct config_address *a, const struct config_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static enum cc_status check_pair(const struct loader *loader, size_t i, size_t other)
{
    const struct config_replica *a = &loader->config->replicas[i];
    const struct config_replica *b = &loader->config->replicas[other];
    if (a->id == b->id) {
        return refuse_twice(loader, i, "id", other);
    }
    if (same_address(&a->http, &b->http) || same_address(&a->http, &b->peer)) {
        return refuse_twice(loader, i, "http", other);
    }
    if (same_address(&a->peer, &b->peer) || same_address(&a->peer, &b->http)) {
        return refuse_twice(loader, i, "peer", other);
    }
    if (memcmp(a->public_key, b->public_key, CONFIG_KEY_BYTES) == 0) {
        return refuse_twice(loader, i, "public_key", other);
    }
    return CC_OK;
}

static enum cc_status check_replicas(const struct loader *loader)
{
    const struct config *config = loader->config;
    for (size_t i = 0; i < config->n_replicas; i++) {
        const struct config_replica *replica = &config->replicas[i];
        if (same_address(&replica->http, &replica->peer)) {
            return refuse(loader, cc_arena_printf(&loader->config->arena, "replicas[%zu].peer", i),
                          "must differ from http");
        }
        for (size_t other = 0; other < i; other++) {
            enum cc_status status = check_pair(loader, i, other);
            if (status != CC_OK) {
                return status;
            }
        }
    }
    return CC_OK;
}

static enum cc_status check_timeouts(const struct loader *loader)
{
    const struct config_timeouts *timeouts = &loader->config->timeouts;
    if (timeouts->heartbeat_ms > timeouts->election_ms / 2) {
        return refuse(loader, "timeouts.heartbeat_ms", "must be at most half of timeouts.election_ms, is %u of %u",
                      (unsigned)timeouts->heartbeat_ms, (unsigned)timeouts->election_ms);
    }
    if (timeouts->peer_idle_ms < 2 * timeouts->heartbeat_ms) {
        return refuse(loader, "timeouts.peer_idle_ms", "must be at least twice timeouts.heartbeat_ms, is %u of %u",
                      (unsigned)timeouts->peer_idle_ms, (unsigned)timeouts->heartbeat_ms);
    }
    return CC_OK;
}

static enum cc_status check_auth(const struct loader *loader)
{
    const struct config_auth *auth = &loader->config->auth;
    if (auth->jwt_secret[0] != '\0' && auth->jwt_secret_file[0] != '\0') {
        return refuse(loader, "auth.jwt_secret", "cannot be used together with auth.jwt_secret_file");
    }
    if (!jwt_is_claim_path(auth->role_claim)) {
        return refuse(loader, "auth.role_claim", "must be a path such as .role, .app_metadata.roles[0] or .\"https://example.org/role\"");
    }
    return CC_OK;
}

// -- The whole -------------------------------------------------------------------------------------------------------

// A default is read as if it stood in the file.
static enum cc_status load_default(struct loader *loader, const struct config_key *key, void *base)
{
    if (key->kind == CONFIG_NUMBER) {
        *(uint32_t *)(void *)((char *)base + key->offset) = key->number;
        return CC_OK;
    }
    json_t *value = json_loads(key->text, JSON_DECODE_ANY, NULL);
    assert(value != NULL);
    enum cc_status status = load_value(loader, key, value, key->path, base);
    json_decref(value);
    return status;
}

static enum cc_status load_defaults(struct loader *loader)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->required || config_key_is_of_replica(key)) {
            continue;
        }
        enum cc_status status = load_default(loader, key, loader->config);
        if (status != CC_OK) {
            return status;
        }
    }
    return CC_OK;
}

static void inherit_conninfo(struct config *config)
{
    for (size_t i = 0; i < config->n_replicas; i++) {
        if (config->replicas[i].conninfo == NULL) {
            config->replicas[i].conninfo = config->postgres.conninfo;
        }
    }
}

static enum cc_status load_root(struct loader *loader, json_t *root)
{
    if (!json_is_object(root)) {
        return refuse(loader, "", "must be an object in braces");
    }
    enum cc_status status = load_defaults(loader);
    if (status != CC_OK) {
        return status;
    }
    status = load_object(loader, root, "", "", loader->config);
    if (status != CC_OK) {
        return status;
    }
    status = check_required(loader, root, false, "");
    if (status != CC_OK) {
        return status;
    }
    status = check_replicas(loader);
    if (status != CC_OK) {
        return status;
    }
    status = check_timeouts(loader);
    return status == CC_OK ? check_auth(loader) : status;
}

static enum cc_status refuse_syntax(const char *name, const json_error_t *cause, struct config_error *error_out)
{
    struct cc_buffer line = {0};
    cc_buffer_printf(&line, "%s:%d: %s", name, cause->line < 1 ? 1 : cause->line, cause->text);
    set_error(error_out, cc_buffer_text(&line));
    cc_buffer_finish(&line);
    return CC_MALFORMED;
}

enum cc_status config_load_text(struct cc_slice text, const char *name, struct config *config_out,
                                struct config_error *error_out)
{
    json_error_t json_error;
    json_t *root = json_loadb((const char *)text.data, text.n, JSON_REJECT_DUPLICATES, &json_error);
    if (root == NULL) {
        return refuse_syntax(name, &json_error, error_out);
    }
    struct config config = {0};
    cc_arena_init(&config.arena);
    struct loader loader = {.text = text, .name = name, .config = &config, .error = error_out};
    enum cc_status status = load_root(&loader, root);
    json_decref(root);
    if (status != CC_OK) {
        cc_arena_finish(&config.arena);
        return status;
    }
    inherit_conninfo(&config);
    *config_out = config;
    return CC_OK;
}

void config_finish(struct config *config)
{
    cc_arena_finish(&config->arena);
    *config = (struct config){0};
}

const struct config_replica *config_find_replica(const struct config *config, uint32_t id)
{
    for (size_t i = 0; i < config->n_replicas; i++) {
        if (config->replicas[i].id == id) {
            return &config->replicas[i];
        }
    }
    return NULL;
}

// -- The file --------------------------------------------------------------------------------------------------------

static enum cc_status refuse_file(const char *path, const char *reason, enum cc_status status,
                                  struct config_error *error_out)
{
    struct cc_buffer line = {0};
    cc_buffer_printf(&line, "%s: %s", path, reason);
    set_error(error_out, cc_buffer_text(&line));
    cc_buffer_finish(&line);
    return status;
}

static enum cc_status read_file(const char *path, struct cc_buffer *text, struct config_error *error_out)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return refuse_file(path, strerror(errno), errno == ENOENT ? CC_NOT_FOUND : CC_IO, error_out);
    }
    uint8_t part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof(part), file)) > 0 && text->n <= FILE_BYTES_MAX) {
        cc_buffer_append(text, part, n);
    }
    bool failed = ferror(file) != 0;
    int error = errno;
    fclose(file);
    if (failed) {
        return refuse_file(path, strerror(error), CC_IO, error_out);
    }
    if (text->n > FILE_BYTES_MAX) {
        return refuse_file(path, "is larger than 1 MiB", CC_TOO_LARGE, error_out);
    }
    return CC_OK;
}

// The path as seen from the directory that holds the file `from`.
static const char *resolve(struct cc_arena *arena, const char *from, const char *path)
{
    const char *slash = strrchr(from, '/');
    if (path[0] == '/' || slash == NULL) {
        return path;
    }
    if (strncmp(path, "./", 2) == 0) {
        path += 2;
    }
    return cc_arena_printf(arena, "%.*s/%s", (int)(slash - from), from, path);
}

static const char *resolve_if_any(struct cc_arena *arena, const char *from, const char *path)
{
    return path[0] == '\0' ? path : resolve(arena, from, path);
}

enum cc_status config_load_file(const char *path, struct config *config_out, struct config_error *error_out)
{
    struct cc_buffer text = {0};
    enum cc_status status = read_file(path, &text, error_out);
    if (status == CC_OK) {
        status = config_load_text(cc_buffer_slice(&text), path, config_out, error_out);
    }
    cc_buffer_finish(&text);
    if (status != CC_OK) {
        return status;
    }
    for (size_t i = 0; i < config_out->n_replicas; i++) {
        struct config_replica *replica = &config_out->replicas[i];
        replica->data_directory = resolve(&config_out->arena, path, replica->data_directory);
        replica->key_file = resolve(&config_out->arena, path, replica->key_file);
    }
    struct config_auth *auth = &config_out->auth;
    auth->jwt_secret_file = resolve_if_any(&config_out->arena, path, auth->jwt_secret_file);
    auth->jwks_file = resolve_if_any(&config_out->arena, path, auth->jwks_file);
    return CC_OK;
}
